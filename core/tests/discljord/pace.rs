//! Time: heartbeats, pauses between connections, the send limit.

use std::collections::BTreeSet;
use std::time::Duration;

use shardwright_core::{
    Activity, Answer, Command, CommandError, Input, Phase, StatusUpdate, TransportFault,
};

use crate::play::{Did, Play, beat, dispatch_text, ms, secs, text_frame};

fn raw(n: u64) -> Command {
    Command::raw(&format!(r#"{{"op":31,"d":{n}}}"#)).unwrap()
}

fn beats(play: &Play) -> Vec<Duration> {
    let beats = play.all_sent(r#"{"op":1,"#);
    beats.into_iter().map(|(at, _)| at).collect()
}

/// The most of these in any stretch of time so long.
fn busiest(times: &[Duration], stretch: Duration) -> usize {
    let within = |first: usize| {
        let rest = times[first..].iter();
        rest.take_while(|at| **at < times[first] + stretch).count()
    };
    (0..times.len()).map(within).max().unwrap_or(0)
}

/// There every shard beat at once at Hello, and a beat the gateway asked for while one was under way
/// killed the connection.
#[test]
fn s14_the_first_beat_is_spread_and_one_that_is_asked_for_is_always_sent() {
    let mut firsts = BTreeSet::new();
    for seed in 0..50 {
        let mut play = Play::up_with(Play::seeded(seed), 41_250);
        play.pass(ms(3 * 41_250));
        let times = beats(&play);
        assert!(times[0] <= ms(41_250));
        assert_eq!(times[1] - times[0], ms(41_250));
        firsts.insert(times[0]);
    }
    assert!(firsts.len() > 45, "no two alike");
    assert!(*firsts.first().unwrap() < secs(8) && *firsts.last().unwrap() > secs(33));

    let mut play = Play::up();
    let conn = play.conn();
    play.ack = false;
    play.pass(ms(41_250));
    assert_eq!(beats(&play).len(), 1, "not answered yet");
    play.text(conn, r#"{"op":1,"d":null}"#);
    assert_eq!(
        play.sent(conn)[1..],
        [beat(1), beat(1)],
        "sent all the same"
    );
    play.text(conn, r#"{"op":11}"#);
    // The answer to the one that was asked for stays away: that is no missed beat.
    play.text(conn, r#"{"op":11}"#);
    play.text(conn, r#"{"op":1,"d":null}"#);
    play.pass(ms(41_250));
    assert_eq!((play.closes(), play.dials().len()), (vec![], 1));
    assert_eq!(play.phase(), Phase::Live);
}

/// There beats came last, so that they starved while events or commands came in.
#[test]
fn s15_a_beat_that_is_due_goes_before_whatever_comes_next() {
    let mut play = Play::up_with(Play::new(), 1000);
    let conn = play.conn();
    for seq in 2..=2000 {
        // The clock moves and nobody ticks: events and commands are all the machine hears.
        play.now += ms(10);
        play.command(seq, raw(seq));
        let frame = text_frame(&dispatch_text(seq, "MESSAGE_CREATE"));
        play.tell(Input::Received { conn, frame });
    }
    assert_eq!(play.seqs().len(), 2000);
    let times = beats(&play);
    assert_eq!(times.len(), 20, "one a second");
    for pair in times.windows(2) {
        let apart = pair[1] - pair[0];
        assert!(apart >= ms(990) && apart <= ms(1010), "{apart:?}");
    }
    for time in times {
        let mut at_that_time = play.done.iter().filter(|(at, _)| *at == time);
        let (_, first) = at_that_time.next().unwrap();
        assert!(
            matches!(first, Did::Send(_, text) if text.starts_with(r#"{"op":1,"#)),
            "{first:?}"
        );
    }
    assert_eq!(play.dials().len(), 1);
}

/// There commands were let go all at once, and more than 1,124 of them killed the bot.
#[test]
fn s17_sends_are_paced_presences_coalesce_and_the_queue_has_an_end() {
    let mut play = Play::up();
    let conn = play.conn();
    for id in 0..400 {
        play.command(id, raw(id));
    }
    play.pass(secs(240));
    let times: Vec<_> = play.sent_at(conn).into_iter().map(|(at, _)| at).collect();
    assert!(times.len() >= 400, "{}", times.len());
    assert!(busiest(&times, secs(60)) <= 120);
    let at = beats(&play);
    for pair in at.windows(2) {
        assert_eq!(pair[1] - pair[0], ms(41_250), "none is late");
    }

    // What is kept for beats is theirs, and 120 are 120 even so.
    let mut play = Play::up();
    let conn = play.conn();
    for id in 0..400 {
        play.command(id, raw(id));
    }
    let without = play.sent(conn).len();
    assert!((105..120).contains(&without), "{without}");
    for _ in 0..20 {
        play.text(conn, r#"{"op":1,"d":null}"#);
    }
    assert_eq!(play.sent(conn).len(), 120);
    assert_eq!(beats(&play).len(), 120 - without);

    let mut play = Play::up();
    for id in 0..30 {
        let status = StatusUpdate::online().activity(Activity::playing(format!("game {id}")));
        play.command(id, Command::status_update(status).unwrap());
    }
    play.pass(secs(60));
    let presences = play.all_sent(r#"{"op":3,"#);
    assert_eq!(presences.len(), 6, "five, and the newest of the rest");
    let times: Vec<_> = presences.iter().map(|(at, _)| *at).collect();
    assert!(busiest(&times, secs(20)) <= 5);
    assert!(presences[5].1.contains("game 29"));
    assert_eq!(
        play.answers(20),
        [Answer::Accepted, Answer::Refused(CommandError::Replaced)]
    );

    let mut play = Play::started();
    for id in 0..1024 {
        play.command(id, raw(id));
        assert_eq!(play.answers(id), [Answer::Accepted]);
    }
    for id in 1024..1200 {
        play.command(id, raw(id));
        let full = CommandError::QueueFull { limit: 1024 };
        assert_eq!(play.answers(id), [Answer::Refused(full)]);
    }
    let conn = play.conn();
    play.open(conn);
    play.hello(conn, 41_250);
    play.ready(conn, "A", "ws://r1.example", 1);
    assert_eq!(play.phase(), Phase::Live);
    play.pass(secs(15 * 60));
    assert_eq!(play.answers(1023), [Answer::Accepted, Answer::Sent]);
}

/// There all shards came back in step, and one that was closed after each READY came back at once.
#[test]
fn s19_pauses_grow_differ_and_are_not_forgotten_at_each_ready() {
    let mut thirds = BTreeSet::new();
    for seed in 0..40 {
        let mut play = Play::seeded(seed);
        play.tell(Input::Start);
        for n in 0..10 {
            play.fail(play.conn(), TransportFault::Refused);
            let pause = play.delays.last().unwrap().1;
            assert!(pause <= secs(60).min(secs(2 << n)), "{n}: {pause:?}");
            if n == 2 {
                thirds.insert(pause);
            }
            play.next_dial();
        }
    }
    assert!(thirds.len() > 35, "no two alike");

    // READY and then closed, again and again, for an hour; sessions kept, and sessions lost.
    for (code, at_most) in [(1011, 250), (4009, 100)] {
        let mut play = Play::started();
        let mut lost = 0;
        while play.elapsed() < secs(3600) {
            let conn = play.conn();
            play.open(conn);
            play.hello(conn, 41_250);
            if play.phase() == Phase::Resuming {
                play.resumed(conn, 2 + lost);
            } else {
                play.ready(conn, "A", "ws://r1.example", 1);
            }
            assert_eq!(play.phase(), Phase::Live);
            play.pass(ms(500));
            play.close(conn, Some(code));
            lost += 1;
            play.next_dial();
        }
        assert!(lost <= at_most, "{code}: {lost} connections in an hour");

        // Once a connection has lasted, a pause is short again.
        let conn = play.conn();
        play.open(conn);
        play.hello(conn, 41_250);
        if play.phase() == Phase::Resuming {
            play.resumed(conn, 2 + lost);
        } else {
            play.ready(conn, "A", "ws://r1.example", 1);
        }
        play.pass(secs(61));
        play.close(conn, Some(1011));
        assert!(play.delays.last().unwrap().1 <= secs(1));
    }
}
