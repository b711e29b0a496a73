//! The heart: what is sent when, and when silence means a dead link.

mod play;

use play::{IDENTIFY, Play, beat, ms, resume, secs};
use shardwright_core::{Command, Input, Phase, TransportFault};

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
fn a_silent_link_is_left_within_two_intervals_and_resumed() {
    for seed in 0..20 {
        let mut play = Play::up_with(Play::seeded(seed), 1000);
        play.ack = false;
        play.answer_close = false;
        play.pass(ms(2001));
        assert_eq!(play.closes(), [4000]);
        let (conn, _) = play.reconnect(1000);
        assert_eq!(play.sent(conn), [resume("A", 1)]);
        assert_eq!(play.identifies(), 1);
    }
}

#[test]
fn a_flood_of_dispatches_is_no_dead_link() {
    let mut play = Play::up_with(Play::new(), 1000);
    play.ack = false;
    let conn = play.conn();
    for seq in 2..40 {
        play.pass(ms(100));
        play.dispatch(conn, seq, "GUILD_CREATE");
    }
    assert_eq!(play.dials().len(), 1);
}

#[test]
fn stray_acknowledgements_give_no_credit() {
    let mut play = Play::up_with(Play::new(), 1000);
    play.ack = false;
    let conn = play.conn();
    for _ in 0..3 {
        play.text(conn, r#"{"op":11}"#);
    }
    play.pass(ms(2001));
    assert_eq!(play.closes(), [4000]);
}

#[test]
fn what_was_not_acknowledged_is_not_held_against_the_next_connection() {
    let mut play = Play::up_with(Play::new(), 1000);
    play.ack = false;
    play.pass(ms(999));
    play.fin(play.conn());
    play.ack = true;
    let (conn, _) = play.reconnect(1000);
    play.resumed(conn, 2);
    play.pass(secs(10));
    assert_eq!(play.dials().len(), 2);
}

#[test]
fn an_absurd_hello_is_left_with_a_pause() {
    for interval in [
        "0",
        "-1",
        "1",
        "9007199254740992",
        "\"41250\"",
        "null",
        "1.5",
    ] {
        let mut play = Play::started();
        let conn = play.conn();
        play.open(conn);
        play.text(
            conn,
            &format!(r#"{{"op":10,"d":{{"heartbeat_interval":{interval}}}}}"#),
        );
        assert_eq!(play.closes(), [4000], "{interval}");
        play.pass(secs(600));
        assert!(play.dials().len() < 100, "no tight loop");
        assert_eq!(play.identifies(), 0);
    }
}

#[test]
fn beats_are_on_time_and_the_limit_holds_under_a_flood_of_commands() {
    let mut play = Play::up_with(Play::new(), 5000);
    let conn = play.conn();
    for n in 0..400 {
        play.command(n, Command::raw(r#"{"op":31,"d":{}}"#).unwrap());
    }
    play.pass(secs(300));
    let sent = play.sent_at(conn);
    let beats: Vec<_> = sent
        .iter()
        .filter(|(_, text)| *text == beat(1))
        .map(|(at, _)| *at)
        .collect();
    for pair in beats.windows(2) {
        assert_eq!(pair[1] - pair[0], ms(5000));
    }
    for (index, (at, _)) in sent.iter().enumerate() {
        let in_window = sent[index..]
            .iter()
            .take_while(|(later, _)| *later < *at + secs(60))
            .count();
        assert!(in_window <= 120, "{in_window} in the minute after {at:?}");
    }
    assert!(sent.len() > 400, "all commands leave in the end");
}

#[test]
fn a_stalled_consumer_costs_the_connection_and_no_event() {
    let mut play = Play::up_with(Play::new(), 5000);
    play.tell(Input::Congested(true));
    play.pass(secs(60));
    assert_eq!(play.closes(), [4000]);
    assert_eq!(play.phase(), Phase::Parked);
    assert_eq!(
        play.dials().len(),
        1,
        "nothing is dialled while there is no room"
    );
    play.tell(Input::Congested(false));
    let conn = play.conn();
    play.open(conn);
    play.hello(conn, 5000);
    assert_eq!(play.sent(conn), [resume("A", 1)]);
}

#[test]
fn an_outage_is_waited_out_with_few_dials() {
    for seed in 0..20 {
        let mut play = Play::up_with(Play::seeded(seed), 41250);
        play.fin(play.conn());
        let end = play.now + secs(600);
        let mut dials = 0;
        while play.now < end {
            let (conn, _) = play.next_dial();
            dials += 1;
            play.fail(conn, TransportFault::Refused);
        }
        // Full jitter to a cap of a minute: half a minute on average once it has grown.
        assert!((10..=45).contains(&dials), "{dials} dials in ten minutes");
        let at = play.now;
        let (conn, _) = play.reconnect(41250);
        assert!(play.now - at <= secs(60));
        assert_eq!(play.sent(conn), [resume("A", 1)]);
    }
}
