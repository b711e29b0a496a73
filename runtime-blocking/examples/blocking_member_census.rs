//! A bot that counts the members of each guild it is in; it needs the members intent.
//! `DISCORD_TOKEN=… cargo run -p shardwright-blocking --example blocking_member_census`; with `DISCORD_API` it talks to another gateway, such
//! as `shardwright emulate`.

use std::thread;

use shardwright_blocking::{
    ApiBase, Bot, Event, GuildId, GuildMembersRequest, Intents, Options, Token, connect_bot,
};

#[derive(serde::Deserialize)]
struct Guild {
    id: GuildId,
    #[serde(default)]
    name: String,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let token = Token::new(std::env::var("DISCORD_TOKEN")?)?;
    let mut options = Options::new(Intents::GUILDS | Intents::GUILD_MEMBERS);
    if let Ok(api) = std::env::var("DISCORD_API") {
        options.api = ApiBase::parse(&api)?;
    }
    let (bot, events) = connect_bot(token, options)?;
    for event in events {
        match event {
            // The answer comes while events are taken, so somebody else waits for it.
            Event::Dispatch(event) if event.name() == "GUILD_CREATE" => {
                let (bot, guild) = (bot.clone(), event.parse()?);
                thread::spawn(move || count(bot, guild));
            }
            Event::Stopped { why, .. } => println!("{why}"),
            _ => {}
        }
    }
    Ok(())
}

fn count(bot: Bot, guild: Guild) {
    let everyone = GuildMembersRequest::everyone(guild.id);
    match bot.request_members(everyone) {
        Ok(found) => println!("{}: {} members", guild.name, found.members.len()),
        Err(error) => println!("{}: {error}", guild.name),
    }
}
