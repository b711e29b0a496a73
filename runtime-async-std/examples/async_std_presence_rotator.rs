//! A bot that shows something else every twenty seconds.
//! `DISCORD_TOKEN=… cargo run -p shardwright-async-std --features async-std --example async_std_presence_rotator`; with `DISCORD_API` it talks to another gateway, such
//! as `shardwright emulate`.

use std::time::{Duration, Instant};

use shardwright_async_std::async_std::{
    Activity, ApiBase, Event, Intents, Options, Shards, StatusUpdate, Token, connect_bot,
};

/// A shard may change its presence five times in twenty seconds.
const EVERY: Duration = Duration::from_secs(20);

#[async_std::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let token = Token::new(std::env::var("DISCORD_TOKEN")?)?;
    let mut options = Options::new(Intents::GUILDS);
    if let Ok(api) = std::env::var("DISCORD_API") {
        options.api = ApiBase::parse(&api)?;
    }
    let (bot, mut events) = connect_bot(token, options).await?;
    let shown = [
        Activity::playing("chess"),
        Activity::listening("the rain"),
        Activity::watching("the clock"),
    ];
    let mut shown = shown.into_iter().cycle();
    let mut change_at = Instant::now();
    // Heartbeats are events too, so that this goes round even where nobody says a word.
    while let Some(event) = events.next().await {
        if let Event::Stopped { why, .. } = event {
            println!("{why}");
        } else if change_at <= Instant::now()
            && let Some(activity) = shown.next()
        {
            println!("{}", activity.name());
            let status = StatusUpdate::online().activity(activity);
            bot.status_update(status, Shards::All).await?;
            change_at = Instant::now() + EVERY;
        }
    }
    Ok(())
}
