//! Beats among all that a connection may send.

use std::time::Duration;

use shardwright_core::{Command, Input};

use crate::beats;
use crate::play::{IDENTIFY, Play, resume, secs};

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
