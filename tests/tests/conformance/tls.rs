//! Encrypted connections, and how they fail.

use shardwright_core::{DisconnectReason, Event, Next, TransportFault};
use shardwright_runtime::Options;
use shardwright_testkit::emulator::Emulator;
use shardwright_testkit::scenario::{Effect, Listener, ListenerMode};

use crate::harness::{Harness, cases};
use crate::play::{Play, dispatch, gateway, ms, options, token};

cases![
    roots_that_are_given_are_trusted_and_no_others,
    a_stream_that_ends_without_farewell_is_a_lost_line,
    a_reset_is_a_lost_line,
    a_handshake_that_hangs_is_given_up,
    a_certificate_for_another_host_is_refused,
    a_certificate_by_nobody_is_refused,
];

/// Without the root not even the address is asked for; with it all works.
fn roots_that_are_given_are_trusted_and_no_others(harness: &dyn Harness) {
    let emulator = gateway([]).tls().start().expect("an emulator");
    let mut options = options(&emulator.api_base());
    options.start_tries = Some(1);
    let error = harness
        .gateway_info(&token(), &options)
        .expect_err("no root");
    assert!(error.to_string().contains("certificate"), "{error}");
    let pem = emulator.ca_pem().expect("a root").to_owned();
    options.tls.add_roots(pem.as_bytes()).expect("a root");
    let info = harness.gateway_info(&token(), &options).expect("an answer");
    assert_eq!(info.shards, 1);
    let mut play = Play::on(harness, emulator, |_| {});
    play.ready();
    play.end();
}

fn lost(harness: &dyn Harness, effect: Effect) {
    let mut play = Play::up(harness, gateway([]).tls());
    play.play([dispatch("TWO"), effect]);
    let gone = play.gone();
    assert_eq!((gone.code, gone.next), (None, Next::Resume));
    assert!(
        matches!(
            gone.reason,
            DisconnectReason::Lost(TransportFault::UnexpectedEnd | TransportFault::Reset)
        ),
        "{:?}",
        gone.reason
    );
    play.resumed();
    assert_eq!(play.gone, 1);
    play.end();
}

/// TCP ends without TLS's own farewell: no error of TLS, but a lost line.
fn a_stream_that_ends_without_farewell_is_a_lost_line(harness: &dyn Harness) {
    lost(harness, Effect::Fin);
}

/// The same with a reset.
fn a_reset_is_a_lost_line(harness: &dyn Harness) {
    lost(harness, Effect::Rst);
}

/// TCP is accepted and TLS is never answered: the dial ends by its own deadline.
fn a_handshake_that_hangs_is_given_up(harness: &dyn Harness) {
    let mut play = Play::up_with(harness, gateway([]).tls(), |options| {
        options.limits.dial_timeout = ms(1000);
    });
    play.emulator()
        .set_listener(Listener::Resume, ListenerMode::Hang);
    play.play([Effect::Fin]);
    play.gone();
    let gone = play.gone();
    let timed_out = DisconnectReason::CouldNotConnect(TransportFault::TimedOut);
    assert_eq!((gone.reason, gone.next), (timed_out, Next::Resume));
    play.resumed();
    play.end();
}

/// A bot whose REST side is in order and whose gateway is this one.
fn refused(harness: &dyn Harness, gateway: &Emulator, trust: impl FnOnce(&mut Options)) {
    let api = Emulator::builder().start().expect("an emulator");
    api.with_machine(|machine| machine.set_urls(gateway.gateway_url(), gateway.resume_url()));
    let mut play = Play::on(harness, api, trust);
    for _ in 0..4 {
        play.until("a dial", |event| match event {
            Event::Connecting { url, .. } => {
                assert!(url.starts_with("wss://"), "no try in the clear: {url}");
                Some(())
            }
            _ => None,
        });
        let gone = play.gone();
        match &gone.reason {
            DisconnectReason::CouldNotConnect(TransportFault::Tls(why)) => {
                assert!(why.contains("certificate"), "{why}");
            }
            other => panic!("{other:?}"),
        }
        assert!(gone.delay <= ms(200), "{gone:?}");
    }
    play.end();
    let seen = gateway.with_machine(|machine| machine.log().entries().len());
    assert_eq!(seen, 0, "not a request in the clear");
}

/// A certificate of a trusted authority for another name.
fn a_certificate_for_another_host_is_refused(harness: &dyn Harness) {
    let other = gateway([]).tls_for(["gateway.example"]).start();
    let other = other.expect("an emulator");
    let pem = other.ca_pem().expect("a root").to_owned();
    refused(harness, &other, |options| {
        options.tls.add_roots(pem.as_bytes()).expect("a root");
    });
}

/// A certificate of an authority that nobody trusts.
fn a_certificate_by_nobody_is_refused(harness: &dyn Harness) {
    let unknown = gateway([]).tls().start().expect("an emulator");
    refused(harness, &unknown, |_| {});
}
