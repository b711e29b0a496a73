//! A bot that counts the members of each guild it is in; it needs the members intent.
//! `DISCORD_TOKEN=… cargo run -p shardwright-async-std --features smol --example smol_member_census`; with `DISCORD_API` it talks to another gateway, such
//! as `shardwright emulate`.

use shardwright_async_std::smol::{
    ApiBase, Bot, Event, GuildId, GuildMembersRequest, Intents, Options, Token, connect_bot,
};

#[derive(serde::Deserialize)]
struct Guild {
    id: GuildId,
    #[serde(default)]
    name: String,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    smol::block_on(run())
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let token = Token::new(std::env::var("DISCORD_TOKEN")?)?;
    let mut options = Options::new(Intents::GUILDS | Intents::GUILD_MEMBERS);
    if let Ok(api) = std::env::var("DISCORD_API") {
        options.api = ApiBase::parse(&api)?;
    }
    let (bot, mut events) = connect_bot(token, options).await?;
    while let Some(event) = events.next().await {
        match event {
            // The answer comes while events are taken, so somebody else waits for it.
            Event::Dispatch(event) if event.name() == "GUILD_CREATE" => {
                smol::spawn(count(bot.clone(), event.parse()?)).detach();
            }
            Event::Stopped { why, .. } => println!("{why}"),
            _ => {}
        }
    }
    Ok(())
}

async fn count(bot: Bot, guild: Guild) {
    let everyone = GuildMembersRequest::everyone(guild.id);
    match bot.request_members(everyone).await {
        Ok(found) => println!("{}: {} members", guild.name, found.members.len()),
        Err(error) => println!("{}: {error}", guild.name),
    }
}
