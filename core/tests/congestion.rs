//! A consumer without room: the heart goes on, nothing is judged, and what it cannot take is left
//! with Discord until it can.

mod play;

use std::time::SystemTime;

use play::{Did, IDENTIFY, Play, R1, beat, dispatch_text, ms, resume, secs};
use shardwright_core::{Input, Phase, Wait, WaitFor};

/// A play that reads nothing while congested: no acknowledgement, no close answered.
fn up(seed: u64, interval: u64) -> Play {
    let mut play = Play::up_with(Play::seeded(seed), interval);
    play.ack = false;
    play.answer_close = false;
    play
}

#[test]
fn a_congested_shard_beats_closes_after_one_interval_parks_and_resumes() {
    for seed in 0..20 {
        let mut play = up(seed, 5000);
        let conn = play.conn();
        play.tell(Input::Congested(true));
        assert!(!play.machine.wants_to_read());
        play.pass(ms(4999));
        assert_eq!(play.closes(), Vec::<u16>::new());
        assert_eq!(play.sent(conn)[1..], [beat(1)]);
        play.pass(ms(1));
        assert_eq!(play.closes(), [4000]);
        assert_eq!(play.notices("ConsumerStalled").len(), 1);
        // What still comes is read and discarded until the close is answered.
        assert_eq!(play.phase(), Phase::Closing);
        assert!(play.machine.wants_to_read());
        play.text(conn, &dispatch_text(2, "MESSAGE_CREATE"));
        assert_eq!(play.seqs(), [1]);
        play.pass(secs(2));
        play.close(conn, Some(4000));
        assert_eq!(play.phase(), Phase::Parked);
        assert_eq!(play.machine.wait(), Wait::For(WaitFor::Consumer));
        play.pass(secs(300));
        assert_eq!(play.dials().len(), 1);

        play.tell(Input::Congested(false));
        assert_eq!(play.dials()[1..], [(play.elapsed(), R1.to_owned())]);
        let second = play.conn();
        play.open(second);
        play.hello(second, 5000);
        assert_eq!(play.sent(second), [resume("A", 1)]);
        play.dispatch(second, 2, "MESSAGE_CREATE");
        play.resumed(second, 3);
        assert_eq!(play.seqs(), [1, 2, 3]);
        assert_eq!(play.phase(), Phase::Live);
        assert_eq!(play.identifies(), 1);
    }
}

#[test]
fn a_close_that_is_never_answered_is_cut_off_and_the_shard_parks() {
    let mut play = up(1, 5000);
    play.tell(Input::Congested(true));
    play.pass(secs(5));
    assert_eq!(play.phase(), Phase::Closing);
    play.pass(secs(5));
    assert_eq!(play.phase(), Phase::Parked);
    assert!(
        play.done
            .iter()
            .any(|(at, did)| { *at == secs(10) && matches!(did, Did::Abort(1)) })
    );
    assert_eq!(play.dials().len(), 1);
}

#[test]
fn room_within_the_interval_lets_the_connection_live_and_excuses_the_pause() {
    for seed in 0..50 {
        let mut play = up(seed, 1000);
        let conn = play.conn();
        // Mostly congested, never for a whole interval; what was acknowledged is never read.
        for _ in 0..20 {
            play.tell(Input::Congested(true));
            play.pass(ms(950));
            play.tell(Input::Congested(false));
            play.pass(ms(5));
        }
        assert_eq!(play.closes(), Vec::<u16>::new(), "seed {seed}");
        let beats = play.sent(conn).len() - 1;
        assert!((19..=20).contains(&beats), "{beats}");
        // But once it is read, silence is silence.
        play.pass(ms(2000));
        assert_eq!(play.closes(), [4000], "seed {seed}");
        assert_eq!(play.notices("Zombie").len(), 1);
    }
}

#[test]
fn a_deadline_for_something_to_arrive_does_not_run_while_nothing_is_read() {
    // READY is there, but unread for nearly an interval of ten minutes.
    let mut play = Play::started();
    let conn = play.conn();
    play.open(conn);
    play.hello(conn, 600_000);
    assert_eq!(play.sent(conn)[0], IDENTIFY);
    play.tell(Input::Congested(true));
    play.pass(secs(599));
    assert_eq!(play.phase(), Phase::Identifying);
    play.tell(Input::Congested(false));
    play.pass(secs(59));
    assert_eq!(play.phase(), Phase::Identifying);
    play.ready(conn, "A", "ws://r1.example", 1);
    assert_eq!(play.phase(), Phase::Live);
    // And it runs again afterwards.
    let mut play = Play::started();
    let conn = play.conn();
    play.open(conn);
    play.hello(conn, 600_000);
    play.tell(Input::Congested(true));
    play.pass(secs(100));
    play.tell(Input::Congested(false));
    play.pass(secs(60));
    assert_eq!(play.notices("ReadyTimeout").len(), 1);
}

#[test]
fn a_shard_in_backoff_parks_and_dials_once_there_is_room() {
    let mut play = up(2, 5000);
    let conn = play.conn();
    play.fin(conn);
    assert_eq!(play.phase(), Phase::Backoff);
    play.tell(Input::Congested(true));
    play.pass(secs(2));
    assert_eq!(play.phase(), Phase::Parked);
    play.tell(Input::Congested(true));
    assert_eq!(play.phase(), Phase::Parked);
    play.tell(Input::Congested(false));
    assert_eq!(play.phase(), Phase::Connecting);
    assert_eq!(play.dials().len(), 2);
}

#[test]
fn a_connection_that_opens_while_congested_waits_one_hello_timeout() {
    let mut play = Play::started();
    let conn = play.conn();
    play.tell(Input::Congested(true));
    play.open(conn);
    play.pass(ms(19_999));
    assert_eq!(play.phase(), Phase::AwaitingHello);
    play.pass(ms(1));
    assert_eq!(play.closes(), [4000]);
    play.pass(secs(60));
    assert_eq!(play.phase(), Phase::Parked);
}

#[test]
fn congestion_does_not_hold_up_a_stop() {
    for parked in [false, true] {
        let mut play = up(3, 5000);
        play.answer_close = true;
        play.tell(Input::Congested(true));
        if parked {
            play.pass(secs(60));
            assert_eq!(play.phase(), Phase::Parked);
        }
        play.stop(shardwright_core::Stop::Keep);
        assert_eq!(play.machine.wait(), Wait::Stopped);
        let state = play.machine.state();
        assert_eq!(state.session_id.as_deref(), Some("A"));
        assert_eq!(state.seq, Some(1));
    }
}

#[test]
fn no_verdict_is_passed_on_an_acknowledgement_that_nobody_could_read() {
    for seed in 0..20 {
        let mut play = up(seed, 5000);
        // A beat leaves; its acknowledgement arrives in a socket that is not read any more.
        while play.sent(play.conn()).len() < 2 {
            play.pass(ms(1));
        }
        play.pass(ms(1));
        play.tell(Input::Congested(true));
        play.pass(ms(4999));
        assert_eq!(play.closes(), Vec::<u16>::new(), "seed {seed}");
        assert_eq!(play.sent(play.conn()).len(), 3, "the next beat is on time");
        play.pass(ms(1));
        assert_eq!(play.notices("Zombie").len(), 0);
        assert_eq!(play.notices("ConsumerStalled").len(), 1);
    }
}

#[test]
fn room_after_the_time_to_dial_ends_the_close_handshake_and_room_before_it_does_not() {
    // The peer never answers the close frame; its time is up after 5 s.
    let closing = || {
        let mut play = up(1, 60_000);
        play.answer_close = false;
        play.tell(Input::Congested(true));
        play.op7(play.conn());
        assert_eq!(play.phase(), Phase::Closing);
        let (_, delay) = play.delays[0];
        (play, delay)
    };
    let (mut play, delay) = closing();
    play.pass(delay + ms(1));
    assert_eq!(play.phase(), Phase::Closing, "there is no room to dial");
    play.tell(Input::Congested(false));
    assert_eq!(play.phase(), Phase::Connecting);
    assert!(play.done.contains(&(play.elapsed(), Did::Abort(1))));

    let (mut play, delay) = closing();
    assert!(delay > ms(2), "{delay:?}");
    play.tell(Input::Congested(false));
    assert_eq!(play.phase(), Phase::Closing);
    play.pass(delay);
    assert_eq!(play.phase(), Phase::Connecting);
}

#[test]
fn with_room_again_hello_and_resumed_have_their_whole_time() {
    let mut play = Play::started();
    let conn = play.conn();
    play.open(conn);
    play.tell(Input::Congested(true));
    play.pass(secs(15));
    play.tell(Input::Congested(false));
    play.pass(ms(19_900));
    assert_eq!(play.phase(), Phase::AwaitingHello);
    play.pass(ms(200));
    assert_eq!(play.notices("HelloTimeout").len(), 1);

    let mut play = Play::up_with(Play::new(), 600_000);
    play.fin(play.conn());
    play.reconnect(600_000);
    play.tell(Input::Congested(true));
    play.pass(secs(200));
    play.tell(Input::Congested(false));
    play.pass(ms(59_900));
    assert_eq!(play.phase(), Phase::Resuming);
    play.pass(ms(200));
    assert_eq!(play.notices("ResumedTimeout").len(), 1);
}

#[test]
fn a_pause_excuses_a_beat_sent_before_it() {
    let mut play = up(1, 10_000);
    let conn = play.conn();
    while play.sent(conn).len() < 2 {
        play.pass(ms(100));
    }
    // Its acknowledgement is there, unread.
    play.tell(Input::Congested(true));
    play.pass(ms(9_500));
    play.tell(Input::Congested(false));
    play.pass(ms(1_000));
    assert_eq!(play.closes(), Vec::<u16>::new());
}

#[test]
fn a_host_that_slept_while_nothing_was_read_is_not_probed() {
    let mut play = up(1, 60_000);
    let wall = SystemTime::UNIX_EPOCH + secs(1_700_000_000);
    play.tell(Input::Tick { wall: Some(wall) });
    play.tell(Input::Congested(true));
    let woken = wall + secs(3600);
    play.tell(Input::Tick { wall: Some(woken) });
    assert_eq!(play.notices("HostSlept"), Vec::<String>::new());
    play.pass(secs(30));
    assert_eq!(play.closes(), Vec::<u16>::new());
}
