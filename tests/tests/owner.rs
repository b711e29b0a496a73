//! What every runtime shares, turned by hand: a shard whose driver ends, and a runtime that shuts down.

use std::pin::pin;
use std::task::{Context, Waker};

use shardwright_core::{ApiBase, Event, Intents, Problem, ShardFilter, StopReason, Token};
use shardwright_runtime::threads::{turns, wait};
use shardwright_runtime::{Bot, Events, Options, Owner, Seat, Turn, prepare};
use shardwright_testkit::emulator::Emulator;

/// A bot of one shard that nobody drives.
fn bot(emulator: &Emulator) -> (Owner, Vec<Seat>, Bot, Events) {
    let mut options = Options::new(Intents::default());
    options.api = ApiBase::parse(&emulator.api_base()).unwrap();
    let (mut owner, connecting) = prepare(Token::new("t").unwrap(), &options).unwrap();
    let mut seats: Vec<Seat> = Vec::new();
    turns(|cx| {
        let turn = owner.turn(cx, |seat| seats.push(seat));
        assert!(matches!(turn, Turn::Wait(_)));
        if seats.is_empty() {
            turn
        } else {
            Turn::Done(())
        }
    });
    let (bot, events) = wait(connecting.done()).unwrap();
    (owner, seats, bot, events)
}

#[test]
fn a_driver_that_ends_is_reported_and_so_is_a_runtime_that_does() {
    let emulator = Emulator::builder().start().unwrap();
    let (mut owner, mut seats, bot, mut events) = bot(&emulator);
    let first = wait(events.next());
    assert!(matches!(
        first,
        Some(Event::Starting {
            shards: 1,
            total: 1,
            ..
        })
    ));
    seats.clear();
    let mut cx = Context::from_waker(Waker::noop());
    let turn = owner.turn(&mut cx, |_| panic!("not at once"));
    assert!(
        matches!(turn, Turn::Wait(Some(_))),
        "it is started again later"
    );
    let Some(Event::Problem { problem, .. }) = wait(events.next()) else {
        panic!("not told");
    };
    assert!(matches!(problem, Problem::DriverEnded { .. }), "{problem}");
    drop(owner);
    let last = wait(events.next());
    let Some(Event::Stopped { why, .. }) = last else {
        panic!("{last:?}")
    };
    assert_eq!(why, StopReason::Abandoned);
    assert!(wait(events.next()).is_none());
    wait(bot.disconnect());
}

#[test]
fn a_bot_that_is_ending_gives_each_state_once() {
    let emulator = Emulator::builder().start().unwrap();
    let (mut owner, seats, bot, _events) = bot(&emulator);
    let mut cx = Context::from_waker(Waker::noop());
    let mut stop = pin!(bot.disconnect_keeping_sessions());
    assert!(stop.as_mut().poll(&mut cx).is_pending());
    let mut removal = pin!(bot.remove_shards(ShardFilter::all()));
    assert!(removal.as_mut().poll(&mut cx).is_pending());
    let turn = owner.turn(&mut cx, |_| panic!("nothing starts"));
    assert!(matches!(turn, Turn::Wait(Some(_))), "its shard is closing");
    drop(seats);
    let turn = owner.turn(&mut cx, |_| panic!("nothing starts"));
    assert_eq!(turn, Turn::Done(()));
    drop(owner);
    assert!(wait(removal).is_empty(), "none has gone");
    assert_eq!(wait(stop).len(), 1);
    assert!(wait(bot.remove_shards(ShardFilter::all())).is_empty());
}
