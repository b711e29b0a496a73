//! The heart: what is sent when, and when silence means a dead link.

mod play;

use std::time::{Duration, SystemTime};

use play::{
    Did, IDENTIFY, Play, R1, beat, config, dispatch_text, ms, ready_text, resume, secs, text_frame,
};
use shardwright_core::{Command, Input, Phase, Stop, TransportFault, Wait};

const ACK: &str = r#"{"op":11}"#;

/// A play whose beats nobody acknowledges.
fn unacknowledged(seed: u64) -> Play {
    let mut play = Play::seeded(seed);
    play.ack = false;
    play
}

/// Passes time until another beat is sent; its time.
fn next_beat(play: &mut Play) -> Duration {
    let before = play.all_sent(r#"{"op":1,"#).len();
    loop {
        let Wait::Until(at) = play.machine.wait() else {
            panic!("no beat comes");
        };
        play.pass(at.saturating_duration_since(play.now));
        if let Some((at, _)) = play.all_sent(r#"{"op":1,"#).get(before) {
            return *at;
        }
    }
}

/// When beats were sent on the newest connection.
fn beats(play: &Play) -> Vec<Duration> {
    play.sent_at(play.conn())
        .into_iter()
        .filter(|(_, text)| text.starts_with(r#"{"op":1,"#))
        .map(|(at, _)| at)
        .collect()
}

/// The most sends on any connection in any 60 s.
fn busiest_minute(play: &Play) -> usize {
    let minute = |times: Vec<Duration>| {
        (0..times.len())
            .map(|first| {
                let end = times[first] + secs(60);
                times[first..].iter().take_while(|at| **at < end).count()
            })
            .max()
            .unwrap_or(0)
    };
    let conns = play.conns.iter();
    conns
        .map(|conn| minute(play.sent_at(*conn).into_iter().map(|(at, _)| at).collect()))
        .max()
        .unwrap_or(0)
}

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
fn a_beat_asked_for_is_sent_at_once_with_the_last_sequence() {
    let mut play = Play::up();
    let conn = play.conn();
    for seq in 2..=12 {
        play.dispatch(conn, seq, "MESSAGE_CREATE");
    }
    play.text(conn, r#"{"t":null,"s":null,"op":1,"d":null}"#);
    let asked = play.elapsed();
    assert_eq!(play.sent_at(conn).pop(), Some((asked, beat(12))));
}

#[test]
fn beats_asked_for_neither_move_the_schedule_nor_trip_the_verdict() {
    let mut play = Play::up_with(unacknowledged(4), 1000);
    let conn = play.conn();
    let first = next_beat(&mut play);
    play.text(conn, ACK);
    play.pass(ms(500));
    play.text(conn, r#"{"op":1,"d":null}"#);
    // The asked-for beat stays unanswered; the scheduled ones are acknowledged... to it first.
    let second = next_beat(&mut play);
    assert_eq!(second - first, secs(1));
    play.text(conn, ACK);
    play.text(conn, ACK);
    assert_eq!(next_beat(&mut play) - second, secs(1));
    assert_eq!(play.closes(), Vec::<u16>::new());
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
fn more_beats_than_may_be_sent_are_put_off_and_no_verdict_follows() {
    let mut play = Play::up_with(Play::new(), 200);
    play.pass(secs(300));
    assert_eq!(busiest_minute(&play), 120);
    assert_eq!(play.dials().len(), 1);
    assert!(play.all_sent(r#"{"op":1,"#).len() > 500);
    assert_eq!(play.notices("HostSlept"), Vec::<String>::new());
}

#[test]
fn an_identify_that_waited_long_still_fits_the_budget() {
    for interval in [200, 300, 500] {
        let mut play = Play::new();
        play.grant = false;
        play.tell(Input::Start);
        let conn = play.conn();
        play.open(conn);
        play.hello(conn, interval);
        play.pass(secs(58));
        play.tell(Input::IdentifyGranted { conn });
        assert_eq!(play.sent(conn).pop().unwrap(), IDENTIFY);
        play.ready(conn, "A", "ws://r1.example", 1);
        play.pass(secs(70));
        assert!(busiest_minute(&play) <= 120, "{interval} ms");
    }
}

#[test]
fn beats_are_on_time_while_hundreds_of_commands_wait() {
    let mut play = Play::up_with(Play::new(), 5000);
    for id in 0..400 {
        let command = Command::raw(&format!(r#"{{"op":31,"d":{id}}}"#)).unwrap();
        play.command(id, command);
    }
    play.pass(secs(150));
    let sent = beats(&play);
    assert_eq!(sent.len(), 30);
    for pair in sent.windows(2) {
        assert_eq!(pair[1] - pair[0], secs(5));
    }
    // A Resume is not delayed either.
    let conn = play.conn();
    play.op7(conn);
    let (second, _) = play.reconnect(5000);
    assert_eq!(play.sent_at(second), [(play.elapsed(), resume("A", 1))]);
    play.resumed(second, 2);
    play.pass(secs(200));
    assert!(busiest_minute(&play) <= 120);
    assert_eq!(play.all_sent(r#"{"op":31,"#).len(), 400);
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
fn jumps_of_the_wall_clock_move_no_beat() {
    let run = |jumps: bool| {
        let mut play = Play::up_with(Play::seeded(9), 5000);
        let epoch = SystemTime::UNIX_EPOCH + secs(1_700_000_000);
        for second in 0..120_u64 {
            let wall = match (jumps, second) {
                (true, 40..80) => epoch - secs(3600),
                (true, 80..) => epoch + secs(3600),
                _ => epoch,
            };
            play.tell(Input::Tick {
                wall: Some(wall + secs(second)),
            });
            play.pass(secs(1));
        }
        assert_eq!(play.dials().len(), 1);
        beats(&play)
    };
    let (steady, jumping) = (run(false), run(true));
    assert_eq!(steady.len(), 24);
    // The jump ahead looks like a sleep: one extra beat, at once.
    let extra: Vec<_> = jumping.iter().filter(|at| !steady.contains(at)).collect();
    assert_eq!(extra, [&secs(80)]);
    assert_eq!(jumping.len(), 25);
}

#[test]
fn after_a_sleep_one_beat_decides_whether_the_link_lives() {
    for answered in [true, false] {
        let mut play = Play::up_with(Play::new(), 41_250);
        play.pass(secs(100));
        let before = beats(&play).len();
        play.ack = answered;
        play.now += secs(3600);
        play.tell(Input::Tick { wall: None });
        assert_eq!(beats(&play).len(), before + 1, "not the backlog");
        assert_eq!(play.closes(), Vec::<u16>::new());
        play.pass(secs(11));
        if answered {
            assert_eq!(play.dials().len(), 1);
        } else {
            assert_eq!(play.closes(), [4000]);
            play.reconnect(41_250);
            assert_eq!(play.resumes(), [resume("A", 1)]);
        }
    }
}

#[test]
fn a_timer_half_an_interval_late_means_that_the_host_slept_and_one_a_little_late_does_not() {
    for (late, closes) in [(4_999, vec![4000]), (5_000, vec![])] {
        let mut play = Play::up_with(unacknowledged(1), 10_000);
        next_beat(&mut play);
        play.now += secs(10) + ms(late);
        play.tell(Input::Tick { wall: None });
        assert_eq!(play.closes(), closes, "{late} ms late");
    }
}

#[test]
fn a_beat_that_was_asked_for_may_wait_four_intervals_too() {
    let mut play = Play::up_with(unacknowledged(1), 1000);
    let conn = play.conn();
    let first = next_beat(&mut play);
    play.text(conn, ACK);
    play.text(conn, r#"{"op":1,"d":null}"#);
    let mut seq = 1;
    while play.closes().is_empty() {
        seq += 1;
        play.dispatch(conn, seq, "MESSAGE_CREATE");
        play.pass(ms(100));
    }
    assert_eq!(play.elapsed() - first, secs(4));
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
fn what_was_unanswered_when_the_host_slept_is_not_held_against_the_link() {
    let mut play = Play::up_with(unacknowledged(1), 41_250);
    let conn = play.conn();
    let wall = SystemTime::UNIX_EPOCH + secs(1_700_000_000);
    let beat = next_beat(&mut play);
    play.tell(Input::Tick { wall: Some(wall) });
    play.pass(secs(41));
    // The monotonic clock has stood still meanwhile.
    let woken = wall + secs(41 + 3600);
    play.tell(Input::Tick { wall: Some(woken) });
    assert_eq!(play.notices("HostSlept").len(), 1);
    play.pass(ms(250));
    assert_eq!(beats(&play).last(), Some(&(beat + ms(41_250))), "it is due");
    assert_eq!(play.closes(), Vec::<u16>::new());
    play.text(conn, ACK);
    play.pass(secs(20));
    assert_eq!(play.phase(), Phase::Live);
}

#[test]
fn the_acknowledgement_of_a_beat_that_was_asked_for_tells_its_latency() {
    let mut play = Play::up_with(unacknowledged(1), 600_000);
    let conn = play.conn();
    play.text(conn, r#"{"op":1,"d":null}"#);
    play.pass(ms(70));
    play.text(conn, ACK);
    let told = play.notices("Heartbeat {");
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("latency: 70ms"), "{told:?}");
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
