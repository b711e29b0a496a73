//! A bot that prints what people write. `DISCORD_TOKEN=… cargo run -p shardwright-tokio --example ping`

use shardwright_tokio::{Event, Intents, Options, Token, connect_bot};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let token = Token::new(std::env::var("DISCORD_TOKEN")?)?;
    let intents = Intents::GUILDS | Intents::GUILD_MESSAGES | Intents::MESSAGE_CONTENT;
    let (_bot, mut events) = connect_bot(token, Options::new(intents)).await?;
    while let Some(event) = events.next().await {
        match event {
            Event::Dispatch(event) if event.name() == "MESSAGE_CREATE" => {
                println!("{}", event.text()?);
            }
            Event::ConnectedAllShards { shards } => println!("{shards} shards are up"),
            Event::Stopped { why, .. } => println!("{why}"),
            _ => {}
        }
    }
    Ok(())
}
