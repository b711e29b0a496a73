//! Where a session is resumed.

use shardwright_core::{Event, Next, SessionLoss};
use shardwright_testkit::scenario::{Effect, Listener, ListenerMode};

use crate::harness::{Harness, cases};
use crate::play::{Play, beating, gateway, ms};

cases![
    a_dead_resume_host_is_given_up_for_the_main_one,
    a_name_that_cannot_be_looked_up_is_given_up_for_the_main_host,
    query_is_added_to_a_bare_address,
    query_is_added_after_a_slash,
    query_is_added_to_a_path,
    query_is_added_to_a_foreign_query,
    resumes_go_where_ready_said,
    a_new_session_begins_on_the_main_host,
    configured_host_is_kept_when_asked_for,
    ready_without_an_address_resumes_on_the_main_host,
];

/// A resume host that refuses every dial costs a bounded number of tries; then the session goes on at the
/// main host. When the session is gone its address goes with it.
fn a_dead_resume_host_is_given_up_for_the_main_one(harness: &dyn Harness) {
    let mut play = Play::up(harness, gateway([]));
    play.emulator()
        .set_listener(Listener::Resume, ListenerMode::Closed);
    play.play([Effect::Fin]);
    let mut refused = 0;
    play.until("RESUMED", |event| match event {
        Event::Disconnected { next, .. } => {
            assert_eq!(*next, Next::Resume);
            refused += 1;
            None
        }
        Event::Resumed { .. } => Some(()),
        _ => None,
    });
    // The lost line, then the dials.
    assert!((2..=6).contains(&refused), "{refused} disconnects");
    play.play([Effect::Op9(false.into())]);
    play.ready();
    assert_eq!(play.lost, [SessionLoss::Invalidated]);
    assert_eq!(play.dials(), [(Listener::Main, Some(101)); 3]);
    play.end();
}

/// The same when the name of the resume host is not known.
fn a_name_that_cannot_be_looked_up_is_given_up_for_the_main_host(harness: &dyn Harness) {
    let play = gateway([]).configure(|config| {
        config.ready_resume_url = Some("ws://resume.gateway.invalid".into());
    });
    let mut play = Play::up(harness, play);
    play.play([Effect::Op7]);
    play.resumed();
    assert_eq!(play.dials(), [(Listener::Main, Some(101)); 2]);
    assert!(play.gone >= 2, "{}", play.gone);
    play.end();
}

/// Version, encoding and compression are added once, with one slash before the question mark; path and
/// foreign parameters stay. The gateway refuses anything else.
fn query_is_added(harness: &dyn Harness, suffix: &str, target: &str) {
    let mut play = Play::up(harness, gateway([]).suffix(Listener::Resume, suffix));
    play.play([Effect::Op7]);
    play.resumed();
    let targets = play.log(|log| log.targets()[1..].iter().map(|&t| t.to_owned()).collect());
    let targets: Vec<String> = targets;
    assert_eq!(targets, [target]);
    play.end();
}

/// `ws://host:port`
fn query_is_added_to_a_bare_address(harness: &dyn Harness) {
    query_is_added(harness, "", "/?v=10&encoding=json&compress=zlib-stream");
}

/// `ws://host:port/`
fn query_is_added_after_a_slash(harness: &dyn Harness) {
    query_is_added(harness, "/", "/?v=10&encoding=json&compress=zlib-stream");
}

/// `ws://host:port/edge`
fn query_is_added_to_a_path(harness: &dyn Harness) {
    let target = "/edge?v=10&encoding=json&compress=zlib-stream";
    query_is_added(harness, "/edge", target);
}

/// `ws://host:port/?x=1`
fn query_is_added_to_a_foreign_query(harness: &dyn Harness) {
    let target = "/?x=1&v=10&encoding=json&compress=zlib-stream";
    query_is_added(harness, "/?x=1", target);
}

/// A resume goes to READY's address: on the main host it would work too, and be cut off soon.
fn resumes_go_where_ready_said(harness: &dyn Harness) {
    let builder =
        beating(ms(1000), []).configure(|config| config.resume_on_main_lives = Some(ms(100)));
    let mut play = Play::up(harness, builder);
    play.play([Effect::Op7]);
    play.resumed();
    play.heartbeats(3);
    let dials = [(Listener::Main, Some(101)), (Listener::Resume, Some(101))];
    assert_eq!(play.dials(), dials);
    play.end();
}

/// A new session does not begin on the resume host of the old one, and brings an address of its own.
fn a_new_session_begins_on_the_main_host(harness: &dyn Harness) {
    let mut play = Play::up(harness, gateway([]));
    play.play([Effect::Op7]);
    play.resumed();
    play.play([Effect::Op9(false.into())]);
    let second = play.ready();
    play.play([Effect::Op7]);
    play.resumed();
    let (main, resume) = (Listener::Main, Listener::Resume);
    let dials: Vec<_> = play.dials().into_iter().map(|(at, _)| at).collect();
    assert_eq!(dials, [main, resume, main, resume]);
    let resumes = play.resumes();
    assert_eq!(resumes[1], (second, Some(1)));
    play.end();
}

/// Behind a reverse proxy the configured host is the only one that may be dialled.
fn configured_host_is_kept_when_asked_for(harness: &dyn Harness) {
    let mut play = Play::up_with(harness, gateway([]), |options| options.stay_on_host = true);
    play.play([Effect::Op7]);
    play.resumed();
    assert_eq!(play.dials(), [(Listener::Main, Some(101)); 2]);
    play.end();
}

/// A READY that names no address is resumed on the main host.
fn ready_without_an_address_resumes_on_the_main_host(harness: &dyn Harness) {
    let builder = gateway([]).configure(|config| config.ready_resume_url = Some("absent".into()));
    let mut play = Play::up(harness, builder);
    play.play([Effect::Op7]);
    play.resumed();
    assert_eq!(play.dials(), [(Listener::Main, Some(101)); 2]);
    play.end();
}
