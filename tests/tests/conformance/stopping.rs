//! The end of a bot: when it comes, what is said, and what is kept.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use shardwright_core::{CommandError, Event, Shards, StatusUpdate, StopReason};
use shardwright_testkit::emulator::{DONE, Emulator};
use shardwright_testkit::scenario::{Effect, Listener, ListenerMode, Nth, Step, When};
use shardwright_testkit::server::{Seen, Target};

use crate::harness::{Harness, cases};
use crate::play::{PATIENCE, Play, beating, gateway, ms};

cases![
    the_end_is_said_once_and_last,
    a_stop_in_a_long_pause_is_prompt,
    a_stop_while_dialling_is_prompt,
    a_stop_before_ready_ends_the_stream,
    nothing_is_dialled_after_a_stop_that_crosses_op_7,
    nothing_is_dialled_after_a_stop_that_crosses_op_9,
    nothing_is_dialled_after_a_stop_that_crosses_a_close,
    nothing_is_dialled_after_a_stop_that_crosses_a_lost_line,
    a_hundred_shards_say_goodbye_before_a_stop_returns,
    kept_sessions_are_resumed_by_the_next_bot,
    kept_sessions_go_on_after_the_last_event_that_was_taken,
    two_stops_at_once_both_return,
    a_stop_by_the_consumer_itself_returns,
    a_peer_that_never_answers_the_close_does_not_hold_up_a_stop,
    a_stopped_bot_refuses_commands,
    dropping_the_events_stops_resumably,
];

/// Two shards, one end: after it nothing.
fn the_end_is_said_once_and_last(harness: &dyn Harness) {
    let builder = gateway([]).configure(|config| {
        config.shards = 2;
        config.max_concurrency = 2;
    });
    let mut play = Play::start(harness, builder);
    play.until("both shards", |event| {
        matches!(event, Event::ConnectedAllShards { shards: 2 }).then_some(())
    });
    play.end();
}

/// In the middle of a pause of a minute: over at once, and nothing is dialled later.
fn a_stop_in_a_long_pause_is_prompt(harness: &dyn Harness) {
    let refuse = Effect::Refuse {
        status: 503,
        retry_after: Some(600),
        location: None,
    };
    let step = Step::new(When::Dialled, [refuse]);
    let mut play = Play::start(harness, gateway([step]));
    assert!(play.gone().delay >= Duration::from_secs(600));
    let since = Instant::now();
    play.bot.disconnect();
    assert!(since.elapsed() < PATIENCE, "the pause was sat out");
    play.ended();
    assert_eq!(play.dials().len(), 1);
}

/// While a host that hangs is dialled: over at once.
fn a_stop_while_dialling_is_prompt(harness: &dyn Harness) {
    let mut play = Play::up_with(harness, gateway([]), |options| {
        options.limits.dial_timeout = PATIENCE * 2;
    });
    play.emulator()
        .set_listener(Listener::Resume, ListenerMode::Hang);
    play.play([Effect::Fin]);
    play.until("a dial", |event| {
        matches!(event, Event::Connecting { .. }).then_some(())
    });
    let since = Instant::now();
    play.bot.disconnect();
    assert!(since.elapsed() < PATIENCE, "the dial was sat out");
    play.ended();
    play.well_behaved();
}

/// Before READY, with nobody having taken an event yet.
fn a_stop_before_ready_ends_the_stream(harness: &dyn Harness) {
    let step = Step::new(When::Identify, []).instead();
    let mut play = Play::start(harness, gateway([step]));
    play.bot.disconnect();
    assert_eq!(play.ended().0, StopReason::Requested);
    play.well_behaved();
}

/// The emulator has seen what reached it before: a dial that was under way when a stop returned counts as one
/// before it.
fn all_is_seen(emulator: &Emulator) {
    for url in [emulator.gateway_url(), emulator.resume_url()] {
        let host = url.trim_start_matches("ws://").trim_end_matches('/');
        let mut line = TcpStream::connect(host).expect("a listener");
        line.write_all(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .expect("a request");
        let answer = line.read(&mut [0; 16]).expect("an answer");
        assert!(answer > 0);
    }
}

/// A stop and something that asks for a reconnect meet on the way. Whichever is first: when the stop has
/// returned nothing is dialled any more.
fn crossing(harness: &dyn Harness, effect: &Effect) {
    let builder = beating(ms(1000), []).configure(|config| config.identify_pause = Duration::ZERO);
    let emulator = Arc::new(builder.start().expect("an emulator"));
    for _ in 0..4 {
        let dials = || emulator.with_machine(|machine| machine.log().connections());
        let mut play = Play::at(harness, &emulator.api_base(), |_| {});
        play.ready();
        let barrier = Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                barrier.wait();
                emulator.play(&Target::All, std::slice::from_ref(effect));
            });
            barrier.wait();
            play.bot.disconnect();
        });
        all_is_seen(&emulator);
        let before = dials();
        assert_eq!(play.ended().0, StopReason::Requested);
        // Another bot's heart gives the first one time to come back, if it were to.
        let mut other = Play::at(harness, &emulator.api_base(), |_| {});
        other.ready();
        other.heartbeats(1);
        assert_eq!(dials(), before + 1);
        other.bot.disconnect();
        other.ended();
    }
}

/// Op 7.
fn nothing_is_dialled_after_a_stop_that_crosses_op_7(harness: &dyn Harness) {
    crossing(harness, &Effect::Op7);
}

/// Op 9.
fn nothing_is_dialled_after_a_stop_that_crosses_op_9(harness: &dyn Harness) {
    crossing(harness, &Effect::Op9(false.into()));
}

/// A close frame: the server's and ours in the same instant.
fn nothing_is_dialled_after_a_stop_that_crosses_a_close(harness: &dyn Harness) {
    crossing(harness, &Effect::Close(Some(4000)));
}

/// The end of the stream.
fn nothing_is_dialled_after_a_stop_that_crosses_a_lost_line(harness: &dyn Harness) {
    crossing(harness, &Effect::Fin);
}

/// When a stop has returned the process may end: the gateway has had every close frame.
fn a_hundred_shards_say_goodbye_before_a_stop_returns(harness: &dyn Harness) {
    let builder = gateway([]).configure(|config| {
        config.shards = 100;
        config.max_concurrency = 100;
    });
    let mut play = Play::start(harness, builder);
    play.until("all shards", |event| {
        matches!(event, Event::ConnectedAllShards { shards: 100 }).then_some(())
    });
    play.bot.disconnect();
    assert_eq!(play.close_codes(), [1000; 100]);
    play.log(|log| assert_eq!(log.count(|seen| *seen == Seen::Lost), 0));
    play.ended();
    play.well_behaved();
}

/// A stop that keeps sessions closes with another code than 1000 and 1001; what it returns is resumed by
/// the next bot. A final stop ends them.
fn kept_sessions_are_resumed_by_the_next_bot(harness: &dyn Harness) {
    let emulator = gateway([]).start().expect("an emulator");
    let api = emulator.api_base();
    let closed = |code| {
        let at = emulator.wait_for(
            |log| {
                log.count(
                    |seen| matches!(seen, Seen::ClosedByClient { code: with, .. } if *with == code),
                ) == 1
            },
            PATIENCE,
        );
        assert!(at, "no close with {code}");
    };
    let mut play = Play::at(harness, &api, |_| {});
    play.ready();
    let states = play.bot.disconnect_keeping_sessions();
    assert_eq!(states.len(), 1);
    assert!(states[0].is_resumable());
    let url = states[0].resume_gateway_url.clone();
    assert_eq!(url, Some(emulator.resume_url()));
    closed(4000);
    let (_, said) = play.ended();
    assert_eq!(said, states);
    let mut next = Play::at(harness, &api, |options| options.states = states);
    next.resuming_after(1);
    next.resumed();
    next.bot.disconnect();
    closed(1000);
    let (_, states) = next.ended();
    assert!(!states[0].is_resumable());
    emulator.with_machine(|machine| {
        assert_eq!(machine.log().identifies(), 1);
        assert!(machine.sessions().is_empty());
    });
}

/// Events that nobody took are left for whoever resumes.
fn kept_sessions_go_on_after_the_last_event_that_was_taken(harness: &dyn Harness) {
    let emulator = gateway([]).start().expect("an emulator");
    let api = emulator.api_base();
    let mut play = Play::at(harness, &api, |_| {});
    play.ready();
    emulator.flood(&Target::All, 1000);
    while play.seq() < 100 {
        play.next();
    }
    let states = play.bot.disconnect_keeping_sessions();
    assert_eq!(states[0].seq, Some(100));
    play.ended();
    assert_eq!(play.seq(), 100, "withdrawn");
    let mut next = Play::at(harness, &api, |options| options.states = states);
    next.resuming_after(100);
    next.dispatch(DONE);
    assert!(next.lost.is_empty());
    next.bot.disconnect();
    next.ended();
}

/// Twice at once, and a third time when it is over.
fn two_stops_at_once_both_return(harness: &dyn Harness) {
    let mut play = Play::up(harness, gateway([]));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let bot = Arc::clone(&play.bot);
            scope.spawn(move || bot.disconnect());
        }
    });
    play.ended();
    play.bot.disconnect();
    assert_eq!(play.close_codes(), [1000]);
    play.well_behaved();
}

/// From where events are handled, with the mailbox full of more of them.
fn a_stop_by_the_consumer_itself_returns(harness: &dyn Harness) {
    let mut play = Play::up_with(harness, gateway([]), |options| options.mailbox_events = 4);
    play.emulator().flood(&Target::All, 1000);
    while play.seq() < 20 {
        play.next();
    }
    play.bot.disconnect();
    play.ended();
    play.well_behaved();
}

/// The peer reads nothing any more: the close handshake has a deadline.
fn a_peer_that_never_answers_the_close_does_not_hold_up_a_stop(harness: &dyn Harness) {
    let mut play = Play::up_with(harness, gateway([]), |options| {
        options.limits.close_timeout = ms(300);
    });
    play.play([Effect::Deaf]);
    play.bot.disconnect();
    play.ended();
    assert_eq!(play.gone, 1);
    assert_eq!(play.dials().len(), 1);
}

/// After the end a command is answered, not lost.
fn a_stopped_bot_refuses_commands(harness: &dyn Harness) {
    let step = Step::new(When::Beat(Nth::Only(1)), [Effect::Close(Some(4004))]);
    let mut play = Play::up(harness, beating(ms(300), [step]));
    let (why, _) = play.ended();
    assert!(matches!(why, StopReason::Fatal { .. }), "{why}");
    let refused = play.bot.status_update(StatusUpdate::online(), Shards::All);
    assert_eq!(refused, Err(CommandError::Stopped));
    play.bot.disconnect();
    assert!(play.take().is_none());
}

/// Whoever drops the events wants no more of them; the session is left for another process.
fn dropping_the_events_stops_resumably(harness: &dyn Harness) {
    let mut play = Play::up(harness, gateway([]));
    play.drop_events();
    play.seen("a close frame", |log| {
        log.count(|seen| matches!(seen, Seen::ClosedByClient { .. })) > 0
    });
    assert_eq!(play.close_codes(), [4000]);
    play.well_behaved();
}
