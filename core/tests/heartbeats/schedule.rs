//! When a connection beats by itself.

use shardwright_core::{Input, Phase, Stop, Wait};

use crate::play::{IDENTIFY, Play, beat, config, ms, ready_text, resume, secs, text_frame};
use crate::{beats, next_beat};

#[test]
fn a_shard_comes_up_and_beats() {
    let mut play = Play::up();
    play.pass(secs(165));
    let sent = play.sent(play.conn());
    assert_eq!(sent[0], IDENTIFY);
    // 165 s are four intervals of 41.25 s: with the first beat after a random part, four beats.
    assert_eq!(sent[1..], [beat(1), beat(1), beat(1), beat(1)]);
    assert_eq!(play.phase(), Phase::Live);
}

#[test]
fn the_first_beat_is_spread_over_the_whole_interval() {
    let firsts: Vec<_> = (0..200)
        .map(|seed| {
            let mut play = Play::up_with(Play::seeded(seed), 40_000);
            next_beat(&mut play)
        })
        .collect();
    assert!(firsts.iter().all(|at| *at < secs(40)), "{firsts:?}");
    for quarter in 0..4 {
        let range = secs(quarter * 10)..secs(quarter * 10 + 10);
        let count = firsts.iter().filter(|at| range.contains(at)).count();
        assert!((25..=75).contains(&count), "{count} of 200 in {range:?}");
    }
}

#[test]
fn nothing_is_sent_before_hello_nor_after_the_close() {
    let mut play = Play::up_with(Play::new(), 1000);
    play.pass(secs(3));
    let first = play.conn();
    play.answer_close = false;
    play.op7(first);
    let left = play.elapsed();
    let (second, _) = play.next_dial();
    play.open(second);
    play.pass(secs(5));
    // The gateway may even ask for a beat.
    play.text(second, r#"{"op":1,"d":null}"#);
    assert_eq!(play.sent(second), Vec::<String>::new());
    assert!(play.sent_at(first).iter().all(|(at, _)| *at <= left));
    play.hello(second, 1000);
    assert_eq!(play.sent(second), [resume("A", 1)]);
}

#[test]
fn each_connection_has_one_schedule() {
    let mut play = Play::up_with(Play::new(), 1000);
    for seq in 2..=6 {
        let conn = play.conn();
        play.op7(conn);
        let (conn, _) = play.reconnect(1000);
        play.resumed(conn, seq);
    }
    play.pass(secs(20));
    assert!((19..=21).contains(&beats(&play).len()));
    assert_eq!(play.conns.len(), 6);
}

#[test]
fn a_second_hello_changes_the_interval_and_adds_no_schedule() {
    for seed in 0..20 {
        let mut play = Play::up_with(Play::seeded(seed), 1000);
        let conn = play.conn();
        play.hello(conn, 2000);
        play.pass(secs(20));
        let sent = beats(&play);
        assert_eq!(sent.len(), 10, "{sent:?}");
        for pair in sent.windows(2) {
            assert_eq!(pair[1] - pair[0], secs(2));
        }
        assert_eq!(play.identifies(), 1);
        assert_eq!(play.dials().len(), 1);
    }
}

#[test]
fn a_stopped_shard_has_no_timer_left() {
    let mut play = Play::started();
    let conn = play.conn();
    play.open(conn);
    play.hello(conn, 60_000);
    play.pass(ms(10));
    play.stop(Stop::Final);
    assert_eq!(play.machine.wait(), Wait::Stopped);
    let sent = play.sent(conn).len();
    play.pass(secs(3600));
    assert_eq!(play.sent(conn).len(), sent);
    assert_eq!(play.closes(), [1000]);
}

#[test]
fn a_resumed_connection_beats_within_one_interval_and_steadily() {
    for seed in 0..20 {
        let mut play = Play::up_with(Play::seeded(seed), 41_250);
        let first = play.conn();
        play.op7(first);
        let (second, _) = play.reconnect(1000);
        let greeted = play.elapsed();
        play.resumed(second, 2);
        play.pass(secs(10));
        let sent = beats(&play);
        assert!(sent[0] - greeted < secs(1));
        for pair in sent.windows(2) {
            assert_eq!(pair[1] - pair[0], secs(1));
        }
        assert_eq!(sent.len(), 10);
    }
}

#[test]
fn a_late_ready_is_waited_for_with_null_beats() {
    let mut play = Play::started();
    let conn = play.conn();
    play.open(conn);
    play.hello(conn, 1000);
    play.pass(secs(20));
    let sent = play.sent(conn);
    assert_eq!(sent[0], IDENTIFY);
    assert_eq!(sent[1..], vec![r#"{"op":1,"d":null}"#; 20]);
    play.ready(conn, "A", "ws://r1.example", 1);
    assert_eq!(play.phase(), Phase::Live);
    play.pass(secs(1));
    assert_eq!(play.sent(conn).pop().unwrap(), beat(1));
    assert_eq!(play.dials().len(), 1);
}

#[test]
fn a_beat_that_goes_a_little_late_moves_no_schedule() {
    let mut play = Play::up_with(Play::new(), 10_000);
    let first = next_beat(&mut play);
    play.now += secs(10) + ms(300);
    play.tell(Input::Tick { wall: None });
    assert_eq!(next_beat(&mut play), first + secs(20));
}

#[test]
fn the_interval_is_that_of_the_connections_own_hello() {
    let mut play = Play::with(config(), None, 5);
    play.tell(Input::Start);
    let conn = play.conn();
    play.open(conn);
    play.hello(conn, 1000);
    play.tell(Input::Received {
        conn,
        frame: text_frame(&ready_text("A", "ws://r1.example", 1)),
    });
    play.op7(conn);
    let (second, _) = play.reconnect(7000);
    play.resumed(second, 2);
    play.pass(secs(70));
    let sent = beats(&play);
    assert_eq!(sent.len(), 10);
    for pair in sent.windows(2) {
        assert_eq!(pair[1] - pair[0], secs(7));
    }
}
