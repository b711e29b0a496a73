//! A bot that shows something else every twenty seconds.
//! `DISCORD_TOKEN=… cargo run -p shardwright-blocking --example blocking_presence_rotator`; with `DISCORD_API` it talks to another gateway, such
//! as `shardwright emulate`.

use std::time::{Duration, Instant};

use shardwright_blocking::{
    Activity, ApiBase, Event, Intents, Options, Shards, StatusUpdate, Token, connect_bot,
};

/// A shard may change its presence five times in twenty seconds.
const EVERY: Duration = Duration::from_secs(20);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let token = Token::new(std::env::var("DISCORD_TOKEN")?)?;
    let mut options = Options::new(Intents::GUILDS);
    if let Ok(api) = std::env::var("DISCORD_API") {
        options.api = ApiBase::parse(&api)?;
    }
    let (bot, events) = connect_bot(token, options)?;
    let shown = [
        Activity::playing("chess"),
        Activity::listening("the rain"),
        Activity::watching("the clock"),
    ];
    let mut shown = shown.into_iter().cycle();
    let mut change_at = Instant::now();
    // Heartbeats are events too, so that this goes round even where nobody says a word.
    for event in events {
        if let Event::Stopped { why, .. } = event {
            println!("{why}");
        } else if change_at <= Instant::now()
            && let Some(activity) = shown.next()
        {
            println!("{}", activity.name());
            let status = StatusUpdate::online().activity(activity);
            bot.status_update(status, Shards::All)?;
            change_at = Instant::now() + EVERY;
        }
    }
    Ok(())
}
