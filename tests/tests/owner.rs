//! What every runtime shares, turned by hand: a shard whose driver ends, and a runtime that shuts down.

use std::task::{Context, Waker};

use shardwright_core::{ApiBase, Event, Intents, Problem, StopReason, Token};
use shardwright_runtime::threads::{turns, wait};
use shardwright_runtime::{Options, Seat, Turn, prepare};
use shardwright_testkit::emulator::Emulator;

#[test]
fn a_driver_that_ends_is_reported_and_so_is_a_runtime_that_does() {
    let emulator = Emulator::builder().start().unwrap();
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
    let (bot, mut events) = wait(connecting.done()).unwrap();
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
