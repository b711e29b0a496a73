//! Drivers that are late, and configurations that ask for more than a clock can show.

mod play;

use std::time::Duration;

use play::{Did, Play, config, dispatch_text, secs, text_frame};
use shardwright_core::{
    Action, Compression, Frame, Input, Phase, ShardLimits, ShardMachine, Stop, Wait,
};

#[test]
fn a_ready_before_the_flush_is_reported_says_that_the_identify_has_left() {
    let mut play = Play::started();
    play.flush = false;
    let conn = play.conn();
    play.open(conn);
    play.hello(conn, 41_250);
    play.ready(conn, "A", "ws://r1.example", 1);
    play.tell(Input::Flushed { conn });
    let reported = |(_, did): &&(Duration, Did)| *did == Did::IdentifySent(1);
    assert_eq!(play.done.iter().filter(reported).count(), 1);
    play.fin(conn);
    assert_eq!(play.done.iter().filter(reported).count(), 1);
}

#[test]
fn no_time_is_too_long() {
    let mut config = config();
    config.limits = ShardLimits {
        dial_timeout: Duration::MAX,
        hello_timeout: Duration::MAX,
        ready_timeout: Duration::MAX,
        resumed_timeout: Duration::MAX,
        guilds_timeout: Duration::MAX,
        close_timeout: Duration::MAX,
        backoff_base: Duration::MAX,
        backoff_cap: Duration::MAX,
        stable_after: Duration::MAX,
        session_patience: Duration::MAX,
        identify_breaker_cap: Duration::MAX,
        identify_breaker: 0,
        ..ShardLimits::default()
    };
    let mut play = Play::up_with(Play::with(config, None, 1), 41_250);
    let conn = play.conn();
    play.close(conn, Some(4009));
    assert_eq!(play.phase(), Phase::Backoff);
    assert!(matches!(play.machine.wait(), Wait::Until(at) if at > play.now + secs(3600)));
    play.stop(Stop::Keep);
    assert_eq!(play.phase(), Phase::Stopped);
}

#[test]
fn a_copy_goes_its_own_way_from_the_same_place() {
    let mut play = Play::up();
    let conn = play.conn();
    let mut copy = play.machine.try_clone().expect("nothing is compressed");
    let drain = |machine: &mut ShardMachine| {
        let mut actions = Vec::new();
        loop {
            match machine.poll() {
                Action::Wait(_) => return actions,
                action => actions.push(format!("{action:?}")),
            }
        }
    };
    let frame = text_frame(&dispatch_text(2, "MESSAGE_CREATE"));
    let received = |frame: &Frame| Input::Received {
        conn,
        frame: frame.clone(),
    };
    copy.handle(play.now, received(&frame)).unwrap();
    let first = drain(&mut copy);
    assert!(!first.is_empty());
    // The original has heard nothing of it, and does the same when it does.
    play.machine.handle(play.now, received(&frame)).unwrap();
    assert_eq!(drain(&mut play.machine), first);

    let mut config = config();
    config.compression = Compression::Zlib;
    assert!(Play::with(config, None, 1).machine.try_clone().is_none());
}
