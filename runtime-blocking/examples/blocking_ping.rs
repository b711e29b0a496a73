//! A bot that prints what people write and answers nothing.
//! `DISCORD_TOKEN=… cargo run -p shardwright-blocking --example blocking_ping`; with `DISCORD_API` it talks to another gateway, such
//! as `shardwright emulate`.

use shardwright_blocking::{ApiBase, Event, Intents, Options, Token, connect_bot};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let token = Token::new(std::env::var("DISCORD_TOKEN")?)?;
    let intents = Intents::GUILDS | Intents::GUILD_MESSAGES | Intents::MESSAGE_CONTENT;
    let mut options = Options::new(intents);
    if let Ok(api) = std::env::var("DISCORD_API") {
        options.api = ApiBase::parse(&api)?;
    }
    let (_bot, events) = connect_bot(token, options)?;
    for event in events {
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
