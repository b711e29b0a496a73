//! Dialling: what can go wrong before READY or RESUMED, and how long is waited then.

use std::io::Write;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use shardwright_core::{DisconnectReason, Next, Problem, SessionLoss, TransportFault};
use shardwright_runtime::ConnectError;
use shardwright_testkit::scenario::{Effect, Listener, ListenerMode, Selector, Step, Times, When};
use shardwright_testkit::server::{Seen, Tokens};
use shardwright_testkit::ws;

use crate::harness::{Harness, cases};
use crate::play::{Gone, PATIENCE, Play, beating, gateway, ms, options, token};
use crate::raw::{self, Line, Raw};

cases![
    an_outage_is_sat_out_with_growing_pauses,
    a_host_that_accepts_and_hangs_is_given_up,
    an_upgrade_that_hangs_is_given_up,
    no_hello_is_given_up_and_the_session_kept,
    no_ready_is_given_up,
    no_resumed_is_given_up,
    a_replay_that_moves_is_left_alone,
    pauses_grow_until_a_session_stands,
    a_name_that_cannot_be_looked_up_is_tried_again,
    http_errors_at_the_upgrade_are_said_and_sat_out,
    retry_after_is_kept,
    a_redirect_is_not_followed,
    the_upgrade_asks_for_what_is_needed_and_no_more,
    an_ipv6_address_is_dialled,
    every_address_of_a_name_is_tried,
    hello_may_come_with_the_upgrade,
    an_upgrade_may_come_in_pieces,
    an_upgrade_without_the_right_key_is_refused,
    an_upgrade_that_drips_is_given_up,
    an_upgrade_without_end_is_given_up,
    op_7_before_hello_is_come_back_to_more_slowly,
    a_refused_token_is_an_error_at_once,
];

fn could_not(gone: &Gone) -> &TransportFault {
    match &gone.reason {
        DisconnectReason::CouldNotConnect(fault) => fault,
        other => panic!("{other:?}"),
    }
}

/// Both hosts refuse: the pauses grow to the cap and no further, the session is kept, and the bot is back
/// soon after the hosts are.
fn an_outage_is_sat_out_with_growing_pauses(harness: &dyn Harness) {
    let mut play = Play::up(harness, gateway([]));
    for which in [Listener::Main, Listener::Resume] {
        play.emulator().set_listener(which, ListenerMode::Closed);
    }
    play.play([Effect::Fin]);
    let mut cap = ms(20);
    assert!(play.gone().delay <= cap);
    let mut longest = Duration::ZERO;
    for _ in 0..12 {
        let gone = play.gone();
        assert_eq!(could_not(&gone), &TransportFault::Refused);
        assert_eq!(gone.next, Next::Resume);
        cap = (cap * 2).min(ms(200));
        assert!(gone.delay <= cap, "{gone:?}");
        longest = longest.max(gone.delay);
    }
    assert!(longest > ms(40), "{longest:?}");
    for which in [Listener::Main, Listener::Resume] {
        play.emulator().set_listener(which, ListenerMode::Open);
    }
    play.resumed();
    assert_eq!(play.log(|log| log.identifies()), 1);
    play.end();
}

/// Dials that must end by their own deadline. The session outlives them, and the main host is tried too.
fn hanging(harness: &dyn Harness, hang: impl FnOnce(&Play), steps: Vec<Step>) {
    let mut play = Play::up_with(harness, gateway(steps), |options| {
        options.limits.dial_timeout = ms(800);
    });
    hang(&play);
    play.play([Effect::Fin]);
    play.gone();
    let gone = play.gone();
    assert_eq!(could_not(&gone), &TransportFault::TimedOut);
    assert_eq!(gone.next, Next::Resume);
    play.resumed();
    assert!(play.gone <= 4, "{}", play.gone);
    play.end();
}

/// TCP is accepted and nothing more is said.
fn a_host_that_accepts_and_hangs_is_given_up(harness: &dyn Harness) {
    let hang = |play: &Play| {
        play.emulator()
            .set_listener(Listener::Resume, ListenerMode::Hang);
    };
    hanging(harness, hang, Vec::new());
}

/// The upgrade is asked for and never answered.
fn an_upgrade_that_hangs_is_given_up(harness: &dyn Harness) {
    let step = Step::new(When::Dialled, [Effect::Hang])
        .on(Selector::listener(Listener::Resume))
        .always();
    hanging(harness, |_| {}, vec![step]);
}

/// The upgrade is answered, pings too, and Hello never comes: left with nothing sent, three times on the
/// resume host, then the main host.
fn no_hello_is_given_up_and_the_session_kept(harness: &dyn Harness) {
    let step = Step::new(When::Opened, [Effect::Ping(4)])
        .instead()
        .on(Selector::listener(Listener::Resume))
        .always();
    let mut play = Play::up_with(harness, gateway([step]), |options| {
        options.limits.hello_timeout = ms(600);
    });
    play.play([Effect::Fin]);
    play.gone();
    for _ in 0..3 {
        let gone = play.gone();
        assert_eq!(gone.reason, DisconnectReason::HelloTimeout);
        assert_eq!(gone.next, Next::Resume);
    }
    play.resumed();
    let dials: Vec<_> = play.dials().into_iter().map(|(at, _)| at).collect();
    let (main, resume) = (Listener::Main, Listener::Resume);
    assert_eq!(dials, [main, resume, resume, resume, main]);
    assert_eq!(play.close_codes(), [4000; 3]);
    assert_eq!(play.sent(6).len(), 1);
    play.end();
}

/// Beats are answered, READY never comes: another Identify, through the queue.
fn no_ready_is_given_up(harness: &dyn Harness) {
    let step = Step::new(When::Identify, []).instead();
    let mut play = Play::with(harness, beating(ms(1000), [step]), |options| {
        options.limits.ready_timeout = ms(1500);
    });
    let gone = play.gone();
    assert_eq!(gone.reason, DisconnectReason::ReadyTimeout);
    assert_eq!(gone.next, Next::Identify);
    assert!(!play.sent(1).is_empty(), "it beats while it waits");
    play.ready();
    assert_eq!(play.log(|log| log.identifies()), 2);
    play.end();
}

/// Neither a replayed event nor RESUMED: a bounded number of Resumes, then a new session.
fn no_resumed_is_given_up(harness: &dyn Harness) {
    let step = Step::new(When::Resume, []).instead().always();
    let mut play = Play::up_with(harness, gateway([step]), |options| {
        options.limits.resumed_timeout = ms(300);
    });
    play.play([Effect::Fin]);
    play.gone();
    assert_eq!(play.gone().reason, DisconnectReason::ResumedTimeout);
    play.ready();
    assert_eq!(play.lost, [SessionLoss::ResumeRefused]);
    assert!(play.resumes().len() <= 6);
    play.end();
}

/// A replay that takes longer than the deadline but moves: the deadline counts from the last event.
fn a_replay_that_moves_is_left_alone(harness: &dyn Harness) {
    let raw = Raw::new();
    let mut play = raw.bot(harness, |options| {
        options.limits.resumed_timeout = ms(1500);
    });
    raw.accept_ready(40_000).reset();
    play.ready();
    let mut line = raw.accept_resume(40_000, 1);
    let since = Instant::now();
    let mut seq = 1;
    while since.elapsed() < ms(2000) {
        seq += 1;
        line.text(&raw::dispatch(seq, "MISSED"));
        // The pace is what is tested, not waited for.
        std::thread::sleep(ms(250));
    }
    line.text(&raw::dispatch(seq + 1, "RESUMED"));
    assert_eq!(play.resumed(), seq - 1);
    assert_eq!(play.gone, 1);
    line.stop(play);
}

/// A gateway that opens and closes again and again is come back to more and more slowly. Once a session
/// stands, its first loss costs a short pause again.
fn pauses_grow_until_a_session_stands(harness: &dyn Harness) {
    const TIMES: u32 = 10;
    let mut step = Step::new(When::Opened, [Effect::Close(Some(1011))]).instead();
    step.times = Times::AtMost(TIMES);
    let mut play = Play::with(harness, gateway([step]), |options| {
        options.limits.backoff_cap = ms(320);
    });
    let mut cap = ms(20);
    let mut longest = Duration::ZERO;
    for _ in 0..TIMES {
        let gone = play.gone();
        cap = (cap * 2).min(ms(320));
        assert!(gone.delay <= cap, "{gone:?} over {cap:?}");
        longest = longest.max(gone.delay);
    }
    assert!(longest > ms(80), "{longest:?}");
    play.ready();
    play.play([Effect::Fin]);
    let gone = play.gone();
    assert!(gone.delay <= ms(20), "{gone:?}");
    play.resumed();
    play.end();
}

/// The name of the gateway is not known: tried again with growing pauses, and a stop is obeyed meanwhile.
fn a_name_that_cannot_be_looked_up_is_tried_again(harness: &dyn Harness) {
    let emulator = gateway([]).start().expect("an emulator");
    emulator.with_machine(|machine| {
        let nowhere = "ws://gateway.invalid".to_owned();
        machine.set_urls(nowhere.clone(), nowhere);
    });
    let mut play = Play::on(harness, emulator, |_| {});
    for _ in 0..5 {
        let gone = play.gone();
        assert_eq!(could_not(&gone), &TransportFault::NameLookup);
        assert_eq!(gone.next, Next::Identify);
        assert!(gone.delay <= ms(200), "{gone:?}");
    }
    play.end();
}

fn refusing(status: u16, retry_after: Option<u64>, location: Option<String>) -> Step {
    let refuse = Effect::Refuse {
        status,
        retry_after,
        location,
    };
    Step::new(When::Dialled, [refuse])
}

/// 520 three times, then 400, then all is well: each is named with its status, and the start succeeds.
fn http_errors_at_the_upgrade_are_said_and_sat_out(harness: &dyn Harness) {
    let statuses = [520, 520, 520, 400];
    let steps: Vec<_> = (1..)
        .zip(statuses)
        .map(|(n, status)| refusing(status, None, None).on(Selector::conn(n)))
        .collect();
    let mut play = Play::start(harness, gateway(steps));
    for wanted in statuses {
        let (status, advice) = play.problem(|problem| match problem {
            Problem::UpgradeRefused { status, advice } => Some((*status, *advice)),
            _ => None,
        });
        assert_eq!(status, wanted);
        if status == 400 {
            assert!(advice.contains("query is wrong"), "{advice}");
        }
    }
    play.ready();
    assert_eq!(play.gone, 4);
    play.end();
}

/// A host that says when to come back is not dialled earlier.
fn retry_after_is_kept(harness: &dyn Harness) {
    let step = refusing(429, Some(1), None);
    let mut play = Play::start(harness, gateway([step]));
    let gone = play.gone();
    assert!(gone.delay >= Duration::from_secs(1), "{gone:?}");
    play.ready();
    let between = play.log(|log| {
        let entries = log.entries().iter();
        let dials = entries.filter(|entry| matches!(entry.what, Seen::Upgrade { .. }));
        let at: Vec<_> = dials.map(|entry| entry.at).collect();
        at[1] - at[0]
    });
    assert!(between >= Duration::from_secs(1), "{between:?}");
    play.end();
}

/// The token goes to the configured host and nowhere else.
fn a_redirect_is_not_followed(harness: &dyn Harness) {
    let elsewhere = gateway([]).start().expect("an emulator");
    let step = refusing(301, None, Some(elsewhere.gateway_url()));
    let mut play = Play::start(harness, gateway([step]));
    let gone = play.gone();
    assert!(
        matches!(
            could_not(&gone),
            TransportFault::Upgrade { status: 301, .. }
        ),
        "{gone:?}"
    );
    play.ready();
    assert_eq!(
        elsewhere.with_machine(|machine| machine.log().entries().len()),
        0
    );
    play.end();
}

/// The request names host, version and key; no extension is offered, and no token is in it.
fn the_upgrade_asks_for_what_is_needed_and_no_more(harness: &dyn Harness) {
    let raw = Raw::new();
    let mut play = raw.bot(harness, |_| {});
    let mut stream = raw.accept_tcp();
    let head = raw::read_head(&mut stream);
    let host = raw.url().replace("ws://", "");
    assert!(
        head.starts_with("GET /?v=10&encoding=json HTTP/1.1\r\n"),
        "{head}"
    );
    let lines: Vec<_> = head.lines().map(str::to_ascii_lowercase).collect();
    for wanted in [
        &format!("host: {host}"),
        "upgrade: websocket",
        "connection: upgrade",
        "sec-websocket-version: 13",
    ] {
        assert_eq!(
            lines.iter().filter(|line| *line == wanted).count(),
            1,
            "{head}"
        );
    }
    let head = head.to_ascii_lowercase();
    assert!(!head.contains("sec-websocket-extensions"), "{head}");
    assert!(!head.contains("a-token"), "{head}");
    drop(stream);
    play.gone();
    let line = raw.accept_ready(40_000);
    play.ready();
    line.stop(play);
}

/// `ws://[::1]:port`, with TLS and without.
fn an_ipv6_address_is_dialled(harness: &dyn Harness) {
    let address = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    if TcpListener::bind(address).is_err() {
        // A machine without IPv6.
        return;
    }
    for names in [None, Some(["::1"])] {
        let mut builder = gateway([]).listen(address).resume_listen(address);
        if let Some(names) = names {
            builder = builder.tls_for(names);
        }
        let mut play = Play::up(harness, builder);
        play.play([Effect::Op7]);
        play.resumed();
        assert_eq!(play.gone, 1);
        play.end();
    }
}

/// `localhost` may be two addresses, of which only one listens.
fn every_address_of_a_name_is_tried(harness: &dyn Harness) {
    let emulator = gateway([]).start().expect("an emulator");
    let named = |url: String| url.replace("127.0.0.1", "localhost");
    let (main, resume) = (emulator.gateway_url(), emulator.resume_url());
    emulator.with_machine(|machine| machine.set_urls(named(main), named(resume)));
    let mut play = Play::on(harness, emulator, |_| {});
    play.ready();
    play.play([Effect::Op7]);
    play.resumed();
    assert_eq!(play.gone, 1);
    play.end();
}

/// The answer to the upgrade and Hello in one TCP segment: Hello is not swallowed with the former.
fn hello_may_come_with_the_upgrade(harness: &dyn Harness) {
    let raw = Raw::new();
    let mut play = raw.bot(harness, |_| {});
    let mut stream = raw.accept_tcp();
    let mut bytes = raw::accept(&raw::read_head(&mut stream)).into_bytes();
    bytes.extend(raw::frame(true, ws::TEXT, raw::hello(40_000).as_bytes()));
    let mut line = Line::over(stream);
    line.bytes(&bytes);
    line.payload(2);
    line.text(&raw.ready());
    play.ready();
    assert_eq!(play.gone, 0);
    line.stop(play);
}

/// The answer in small writes.
fn an_upgrade_may_come_in_pieces(harness: &dyn Harness) {
    let raw = Raw::new();
    let mut play = raw.bot(harness, |_| {});
    let mut stream = raw.accept_tcp();
    let answer = raw::accept(&raw::read_head(&mut stream));
    let mut line = Line::over(stream);
    for piece in answer.as_bytes().chunks(5) {
        line.bytes(piece);
        std::thread::yield_now();
    }
    line.hello(40_000);
    line.payload(2);
    line.text(&raw.ready());
    play.ready();
    assert_eq!(play.gone, 0);
    line.stop(play);
}

/// Whoever cannot derive the key is no websocket server, but perhaps a cache.
fn an_upgrade_without_the_right_key_is_refused(harness: &dyn Harness) {
    let raw = Raw::new();
    let mut play = raw.bot(harness, |_| {});
    let mut stream = raw.accept_tcp();
    raw::read_head(&mut stream);
    let other = "GET / HTTP/1.1\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    Line::over(stream).bytes(raw::accept(other).as_bytes());
    let gone = play.gone();
    assert!(
        matches!(could_not(&gone), TransportFault::Protocol(_)),
        "{gone:?}"
    );
    let line = raw.accept_ready(40_000);
    play.ready();
    line.stop(play);
}

/// A byte now and then is no progress: the deadline is for the dial as a whole.
fn an_upgrade_that_drips_is_given_up(harness: &dyn Harness) {
    let raw = Raw::new();
    let mut play = raw.bot(harness, |options| options.limits.dial_timeout = ms(800));
    let mut stream = raw.accept_tcp();
    raw::read_head(&mut stream);
    let drip = std::thread::spawn(move || {
        // Until the client has left; the pace is what is tested.
        let head = b"HTTP/1.1 101 Switching Protocols\r\nX: ".iter();
        for byte in head.chain(b"x".iter().cycle()) {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            std::thread::sleep(ms(20));
        }
    });
    assert_eq!(could_not(&play.gone()), &TransportFault::TimedOut);
    drip.join().expect("the client left");
    let line = raw.accept_ready(40_000);
    play.ready();
    line.stop(play);
}

/// Headers without end: given up long before the deadline of the dial, and not kept.
fn an_upgrade_without_end_is_given_up(harness: &dyn Harness) {
    let raw = Raw::new();
    let mut play = raw.bot(harness, |options| {
        options.limits.dial_timeout = PATIENCE * 2;
    });
    let mut stream = raw.accept_tcp();
    raw::read_head(&mut stream);
    let mut sent = 0;
    let header = format!("X: {}\r\n", "x".repeat(1020));
    if stream
        .write_all(b"HTTP/1.1 101 Switching Protocols\r\n")
        .is_ok()
    {
        while stream.write_all(header.as_bytes()).is_ok() {
            sent += header.len();
            assert!(sent < 64 << 20, "it is read without end");
        }
    }
    could_not(&play.gone());
    let line = raw.accept_ready(40_000);
    play.ready();
    line.stop(play);
}

/// Op 7 in place of Hello again and again: no tight loop.
fn op_7_before_hello_is_come_back_to_more_slowly(harness: &dyn Harness) {
    let mut step = Step::new(When::Opened, [Effect::Op7]).instead();
    step.times = Times::AtMost(10);
    let mut play = Play::start(harness, gateway([step]));
    let mut cap = ms(20);
    let mut longest = Duration::ZERO;
    for _ in 0..10 {
        let gone = play.gone();
        assert_eq!(gone.reason, DisconnectReason::ReconnectRequested);
        cap = (cap * 2).min(ms(200));
        assert!(gone.delay <= cap, "{gone:?}");
        longest = longest.max(gone.delay);
    }
    assert!(longest > ms(80), "{longest:?}");
    play.ready();
    assert_eq!(
        play.sent(1).len() + play.sent(2).len(),
        1,
        "nothing before Hello"
    );
    play.end();
}

/// No use in trying again: an error at the start, without the token in it.
fn a_refused_token_is_an_error_at_once(harness: &dyn Harness) {
    let builder = gateway([]).configure(|config| {
        config.tokens = Tokens::These(["another".to_owned()].into());
    });
    let emulator = builder.start().expect("an emulator");
    let refused = harness.connect(token(), options(&emulator.api_base()));
    let Err(error) = refused else {
        panic!("it was taken")
    };
    assert!(
        matches!(&error, ConnectError::Fetch(fault) if fault.is_fatal()),
        "{error}"
    );
    assert!(!error.to_string().contains("a-token"));
}
