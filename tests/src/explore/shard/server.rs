//! What can only be seen by going on: that a shard comes up again once the gateway behaves, that it stops
//! when it is told to, and that late news of an old connection and early ticks change nothing.

use std::time::Duration;

use shardwright_core::{Stop, Wait};

use super::checker::{Line, Turn};
use super::{Did, Letter, Shard};
use crate::explore::Subject;

/// A shard is up again after this long: the longest backoff, the longest pause of op 9, and a dead link
/// that has first to be noticed.
const PATIENCE: Duration = Duration::from_secs(5 * 60);
const MOST_LETTERS: usize = 200;
/// How many deadlines it has to stay up for.
const STEADY: u32 = 3;
/// A close that nobody answers takes 5 s.
const STOPPING: Duration = Duration::from_secs(6);

pub(super) fn probe(shard: &Shard) -> Result<(), String> {
    if shard.checker.stop.is_none() && !shard.checker.stopped {
        let plain = come_up(shard, |shard| {
            shard.pass_half();
            Ok(())
        })?;
        let disturbed = come_up(shard, |shard| {
            shard.say_old_things()?;
            shard.apply(Letter::TickEarly)?;
            shard
                .did
                .is_empty()
                .then_some(())
                .ok_or_else(|| format!("an early tick gave {:?}", shard.did))
        })?;
        if plain != disturbed {
            return Err(format!(
                "what an old connection said, or an early tick, changed {plain:?} to {disturbed:?}"
            ));
        }
    } else {
        shard.fork().say_old_things()?;
    }
    stop(shard, Stop::Keep)?;
    stop(shard, Stop::Final)
}

/// Nobody answers any more; it stops all the same.
fn stop(shard: &Shard, how: Stop) -> Result<(), String> {
    let mut shard = shard.fork();
    let began = shard.world.now;
    shard.apply(Letter::Stop(how))?;
    while !shard.checker.stopped {
        shard.apply(Letter::TickDue)?;
        if shard.world.now > began + STOPPING {
            return Err(format!("it has not stopped {STOPPING:?} after {how:?}"));
        }
    }
    Ok(())
}

/// The gateway, the fleet and the consumer do as they should from here on. Everything the shard does then.
fn come_up(
    shard: &Shard,
    first: impl Fn(&mut Shard) -> Result<(), String>,
) -> Result<Vec<Did>, String> {
    let mut shard = shard.fork();
    first(&mut shard)?;
    let began = shard.world.now;
    let mut done = Vec::new();
    let mut steady = 0;
    for _ in 0..MOST_LETTERS {
        let letter = next(&shard);
        steady = match (shard.checker.live, letter) {
            (true, Letter::TickDue) => steady + 1,
            (true, _) => steady,
            (false, _) => 0,
        };
        let known = &shard.checker;
        if steady > STEADY && known.commands.is_empty() && known.question.is_none() {
            return Ok(done);
        }
        if steady == 0 && shard.world.now > began + PATIENCE {
            break;
        }
        shard
            .apply(letter)
            .map_err(|what| format!("while the gateway behaves, {what}"))?;
        done.append(&mut shard.did);
    }
    Err(format!(
        "the gateway behaves and the shard does not come up: {:?} after {done:?}",
        shard.phase()
    ))
}

/// What a gateway, fleet and consumer do that behave.
fn next(shard: &Shard) -> Letter {
    let known = &shard.checker;
    match known.line {
        _ if !known.started => Letter::Start,
        _ if known.congested => Letter::Congested(false),
        Line::Gone => Letter::TickDue,
        Line::Dialling => Letter::Opened,
        Line::Closing => Letter::Closed(Some(4000)),
        Line::Open if !known.hello => Letter::Hello,
        Line::Open if known.turn == Turn::Wanted => Letter::IdentifyGranted,
        Line::Open if known.turn == Turn::Used || known.unflushed > 0 => Letter::Flushed,
        Line::Open if !known.live && known.resume_sent => Letter::Resumed,
        Line::Open if !known.live => Letter::Ready,
        Line::Open if known.beats > 0 => Letter::BeatAck,
        Line::Open if matches!(shard.wait(), Wait::Until(_)) => Letter::TickDue,
        Line::Open => Letter::Empty,
    }
}
