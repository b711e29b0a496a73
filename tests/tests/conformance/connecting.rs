//! Dialling: what can go wrong before READY or RESUMED, and how long is waited then.

use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use shardwright_core::{DisconnectReason, Next, SessionLoss, TransportFault};
use shardwright_runtime::ConnectError;
use shardwright_testkit::scenario::{Effect, Listener, ListenerMode, Selector, Step, Times, When};
use shardwright_testkit::server::Tokens;

use crate::harness::{Harness, cases};
use crate::play::{Gone, Play, beating, gateway, ms, options, token};
use crate::raw::{self, Raw};

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
    an_ipv6_address_is_dialled,
    every_address_of_a_name_is_tried,
    op_7_before_hello_is_come_back_to_more_slowly,
    a_refused_token_is_an_error_at_once,
];

/// Why a dial failed.
pub(crate) fn could_not(gone: &Gone) -> &TransportFault {
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
    // Its beats set the pace: eight of them take longer than the deadline.
    let mut line = raw.accept_resume(250, 1);
    let mut seq = 1;
    for _ in 0..8 {
        line.payload(1);
        seq += 1;
        line.text(&raw::dispatch(seq, "MISSED"));
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
