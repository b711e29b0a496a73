//! What a bot costs while nothing happens: threads, and time of the CPU. Linux only.
//! `DISCORD_API=… cargo run --release -p shardwright-blocking --example idle`, with the base that
//! `shardwright emulate --shards 200 --max-concurrency 200 --rate 0` prints.

use std::time::{Duration, Instant};

use shardwright_blocking::{ApiBase, Event, Intents, Options, RecvTimeout, Token, connect_bot};

const MEASURED: Duration = Duration::from_secs(20);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut options = Options::new(Intents::GUILDS);
    options.api = ApiBase::parse(&std::env::var("DISCORD_API")?)?;
    let (bot, mut events) = connect_bot(Token::new("any")?, options)?;
    for event in &mut events {
        if let Event::ConnectedAllShards { shards } = event {
            println!("{shards} shards are up");
            break;
        }
    }
    let (before, since) = (ticks()?, Instant::now());
    let mut beats = 0;
    while let Some(left) = MEASURED.checked_sub(since.elapsed()) {
        match events.recv_timeout(left) {
            RecvTimeout::Event(Event::Heartbeat { .. }) => beats += 1,
            RecvTimeout::Event(_) | RecvTimeout::TimedOut => {}
            RecvTimeout::Ended => return Err("the bot has ended".into()),
        }
    }
    let (user, system) = ticks()?;
    println!("{} threads", std::fs::read_dir("/proc/self/task")?.count());
    println!("{beats} heartbeats in {MEASURED:?}");
    println!(
        "{} ms in the program, {} ms in the kernel",
        10 * (user - before.0),
        10 * (system - before.1)
    );
    bot.disconnect();
    Ok(())
}

/// Hundredths of a second of the CPU's time that this process has used.
fn ticks() -> Result<(u64, u64), Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name before the last parenthesis may hold blanks.
    let (_, rest) = stat.rsplit_once(')').ok_or("no stat")?;
    let mut times = rest.split_whitespace().skip(11);
    let mut next = || times.next().ok_or("too short");
    Ok((next()?.parse()?, next()?.parse()?))
}
