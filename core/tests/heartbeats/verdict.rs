//! Which silence means a dead link, and what follows from that.

use shardwright_core::{Phase, TransportFault, Wait};

use crate::play::{Did, Play, R1, dispatch_text, ms, resume, secs};
use crate::{ACK, beats, next_beat, unacknowledged};

#[test]
fn a_missing_acknowledgement_is_not_held_against_the_next_connection() {
    for seed in 0..20 {
        let mut play = Play::up_with(unacknowledged(seed), 1000);
        play.pass(ms(999));
        assert_eq!(beats(&play).len(), 1);
        let first = play.conn();
        play.fin(first);
        play.ack = true;
        let (second, _) = play.reconnect(1000);
        play.resumed(second, 2);
        play.pass(secs(10));
        assert_eq!(play.dials().len(), 2, "seed {seed}");
        assert_eq!(play.phase(), Phase::Live);
    }
}

#[test]
fn acknowledgements_nobody_waits_for_count_for_nothing() {
    for seed in 0..20 {
        let mut play = Play::up_with(unacknowledged(seed), 41_250);
        let conn = play.conn();
        for _ in 0..3 {
            play.text(conn, ACK);
        }
        assert!(play.notices("Heartbeat").is_empty());
        next_beat(&mut play);
        play.pass(ms(120));
        play.text(conn, ACK);
        play.text(conn, ACK);
        let heartbeats = play.notices("Heartbeat");
        assert_eq!(heartbeats.len(), 1);
        assert!(heartbeats[0].contains("latency: 120ms"), "{heartbeats:?}");
        // Then silence: one more beat, and the verdict when the next is due.
        let last = next_beat(&mut play);
        play.pass(ms(41_249));
        assert_eq!(play.closes(), Vec::<u16>::new(), "seed {seed}");
        play.pass(ms(1));
        assert_eq!(play.closes(), [4000]);
        assert_eq!(play.elapsed(), last + ms(41_250));
    }
}

#[test]
fn a_stream_of_events_keeps_a_link_alive_whose_acknowledgements_are_late() {
    for seed in 0..5 {
        let mut play = Play::up_with(unacknowledged(seed), 1000);
        let conn = play.conn();
        let mut seq = 1;
        let mut acknowledged = 0;
        for _ in 0..500 {
            play.pass(ms(10));
            for _ in 0..6 {
                seq += 1;
                play.dispatch(conn, seq, "GUILD_CREATE");
            }
            let due = beats(&play)
                .iter()
                .filter(|at| **at + ms(2500) <= play.elapsed())
                .count();
            while acknowledged < due {
                play.text(conn, ACK);
                acknowledged += 1;
            }
        }
        let sent = beats(&play);
        assert!((5..=6).contains(&sent.len()), "{sent:?}");
        for pair in sent.windows(2) {
            assert_eq!(pair[1] - pair[0], secs(1));
        }
        while acknowledged < sent.len() {
            play.text(conn, ACK);
            acknowledged += 1;
        }
        play.ack = true;
        play.pass(secs(10));
        assert_eq!(play.dials().len(), 1, "seed {seed}");
        assert_eq!(play.seqs(), (1..=3001).collect::<Vec<_>>());
    }
}

#[test]
fn events_do_not_excuse_four_intervals_without_an_acknowledgement() {
    let mut play = Play::up_with(unacknowledged(3), 1000);
    let conn = play.conn();
    let first = next_beat(&mut play);
    let mut seq = 1;
    while play.closes().is_empty() {
        assert!(play.elapsed() < secs(10), "no verdict comes");
        seq += 1;
        play.dispatch(conn, seq, "TYPING_START");
        play.pass(ms(100));
    }
    let at = play
        .done
        .iter()
        .find(|(_, did)| matches!(did, Did::Close(..)));
    assert_eq!(at.unwrap().0, first + secs(4));
}

#[test]
fn a_dead_link_is_left_without_waiting_for_its_close_handshake() {
    for seed in 0..20 {
        let mut play = Play::seeded(seed);
        play.answer_close = false;
        play.ack = false;
        let mut play = Play::up_with(play, 1000);
        let first = play.conn();
        let silent_since = play.elapsed();
        play.next_dial();
        let dialled = play.elapsed() - silent_since;
        assert!(dialled <= secs(2) + secs(5), "{dialled:?}");
        let position = |wanted: &Did| play.done.iter().position(|(_, did)| did == wanted).unwrap();
        assert!(position(&Did::Abort(first.get())) < position(&Did::Dial(2, R1.into())));
        assert_eq!(play.closes(), [4000]);
        let closed = play.done[position(&Did::Close(1, 4000))].0;
        let aborted = play.done[position(&Did::Abort(1))].0;
        assert!(aborted - closed <= secs(5));
    }
}

#[test]
fn a_verdict_and_a_reset_at_the_same_instant_are_one_loss() {
    for seed in 0..200_u64 {
        let mut play = Play::up_with(unacknowledged(seed), 1000);
        play.answer_close = false;
        let conn = play.conn();
        next_beat(&mut play);
        let Wait::Until(verdict) = play.machine.wait() else {
            panic!("no deadline");
        };
        play.now = verdict + ms(seed % 5) - ms(2);
        play.fail(conn, TransportFault::Reset);
        play.fin(conn);
        play.pass(secs(3));
        assert_eq!(play.dials().len(), 2, "seed {seed}");
        assert_eq!(play.notices("Disconnected").len(), 1, "seed {seed}");
    }
}

#[test]
fn an_acknowledgement_within_the_interval_is_in_time() {
    for (interval, late, run) in [(200, 150, secs(20)), (41_250, 900, secs(600))] {
        for seed in 0..50 {
            let mut play = Play::up_with(unacknowledged(seed), interval);
            let conn = play.conn();
            let end = play.elapsed() + run;
            while play.elapsed() < end {
                next_beat(&mut play);
                play.pass(ms(late));
                play.text(conn, ACK);
            }
            assert_eq!(play.dials().len(), 1, "{interval} ms, seed {seed}");
            assert_eq!(play.phase(), Phase::Live);
        }
    }
}

#[test]
fn a_dead_link_costs_no_session() {
    for seed in 0..20 {
        let mut play = Play::up_with(unacknowledged(seed), 1000);
        let (second, url) = play.next_dial();
        assert_eq!(url, R1);
        assert_eq!(play.closes(), [4000]);
        assert_eq!(play.notices("Zombie").len(), 1);
        play.open(second);
        play.hello(second, 1000);
        assert_eq!(play.resumes(), [resume("A", 1)]);
        play.resumed(second, 2);
        assert_eq!(play.phase(), Phase::Live);
        assert_eq!(play.identifies(), 1);
    }
}

#[test]
fn the_verdict_comes_before_what_arrives_at_the_same_time() {
    // A flood cannot starve the heart: due timers run before the frame is looked at.
    let mut play = Play::up_with(unacknowledged(1), 1000);
    let conn = play.conn();
    next_beat(&mut play);
    play.now += secs(1);
    play.text(conn, &dispatch_text(2, "MESSAGE_CREATE"));
    assert_eq!(play.closes(), [4000]);
    assert_eq!(play.seqs(), [1]);
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
