//! Everything goes through the proxy that is configured, or nowhere.

use shardwright_core::{FetchFault, NoProxy, ProxyFault, ProxyRules, TransportFault};
use shardwright_runtime::ConnectError;
use shardwright_testkit::emulator::Builder;
use shardwright_testkit::scenario::Effect;
use socket2::{Domain, Socket, Type};

use crate::connecting::could_not;
use crate::forwarder::{Forwarder, Manner, rules};
use crate::harness::{Harness, cases};
use crate::play::{Play, gateway, ms, options, token};
use crate::raw::Raw;

cases![
    connect_carries_all_connections,
    connect_with_a_login,
    socks_carries_all_connections,
    socks_with_a_login,
    tls_goes_within_the_tunnel,
    names_are_left_to_the_proxy,
    a_login_that_is_missing_or_wrong_is_named,
    a_proxy_that_is_down_is_never_passed_by,
    garbage_is_named,
    a_proxy_that_hangs_is_given_up,
    exceptions_are_dialled_directly,
    loopback_is_dialled_directly_unless_asked,
];

/// The request, the first connection and the one that resumes: all three through the proxy.
fn carries(harness: &dyn Harness, builder: Builder, manner: Manner, login: &str) {
    let proxy = Forwarder::new(manner);
    let mut play = Play::with(harness, builder, |options| {
        options.proxy = proxy.rules(login);
    });
    play.ready();
    play.play([Effect::Op7]);
    play.resumed();
    assert_eq!(play.gone, 1);
    let emulator = play.emulator();
    let port = |url: String| {
        let address = url.split("://").nth(1).expect("a host").to_owned();
        address.split('/').next().expect("a host").to_owned()
    };
    assert_eq!(proxy.asked(), port(emulator.api_base()));
    assert_eq!(proxy.asked(), port(emulator.gateway_url()));
    assert_eq!(proxy.asked(), port(emulator.resume_url()));
    assert_eq!(play.dials().len(), 2, "none but through the proxy");
    play.end();
    assert!(proxy.is_idle());
}

fn connect_carries_all_connections(harness: &dyn Harness) {
    carries(harness, gateway([]), Manner::Connect, "");
}

fn connect_with_a_login(harness: &dyn Harness) {
    let manner = Manner::ConnectWithLogin("Basic dXNlcjpwQHNz");
    carries(harness, gateway([]), manner, "user:p%40ss@");
}

fn socks_carries_all_connections(harness: &dyn Harness) {
    carries(harness, gateway([]), Manner::Socks, "");
}

fn socks_with_a_login(harness: &dyn Harness) {
    let manner = Manner::SocksWithLogin("user", "p@ss");
    carries(harness, gateway([]), manner, "user:p%40ss@");
}

/// `https://` and `wss://`, through both kinds of proxy.
fn tls_goes_within_the_tunnel(harness: &dyn Harness) {
    carries(harness, gateway([]).tls(), Manner::Connect, "");
    carries(harness, gateway([]).tls(), Manner::Socks, "");
}

/// A name that nobody knows: the proxy is asked for it all the same.
fn names_are_left_to_the_proxy(harness: &dyn Harness) {
    for manner in [Manner::Connect, Manner::Socks] {
        let proxy = Forwarder::new(manner);
        let mut options = options("http://api.invalid/api/v10");
        options.start_tries = Some(1);
        options.proxy = proxy.rules("");
        harness
            .gateway_info(&token(), &options)
            .expect_err("no host");
        assert_eq!(proxy.asked(), "api.invalid:80");
    }
}

/// What the request for the gateway's address ends with.
fn fetch_fault(harness: &dyn Harness, proxy: ProxyRules) -> ProxyFault {
    let emulator = gateway([]).start().expect("an emulator");
    let mut options = options(&emulator.api_base());
    options.start_tries = Some(1);
    options.proxy = proxy;
    let error = harness.gateway_info(&token(), &options);
    let error = error.expect_err("a fault of the proxy");
    assert!(
        !format!("{error} {error:?}").contains("s3cret"),
        "{error:?}"
    );
    let seen = emulator.with_machine(|machine| machine.log().entries().len());
    assert_eq!(seen, 0, "a direct request");
    match error {
        ConnectError::Fetch(FetchFault::Proxy(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// A bot whose API is reached directly and whose gateway through this proxy: it comes back again and again
/// with growing pauses, and never dials the gateway itself.
fn dials_fail(harness: &dyn Harness, proxy: ProxyRules, wanted: &TransportFault) {
    let api = gateway([]).start().expect("an emulator");
    let other = gateway([]).start().expect("an emulator");
    api.with_machine(|machine| machine.set_urls(other.gateway_url(), other.resume_url()));
    let base = api.api_base();
    let direct = base
        .split("://")
        .nth(1)
        .and_then(|rest| rest.split('/').next());
    let direct = NoProxy::new(direct.expect("a host"));
    let mut play = Play::on(harness, api, |options| {
        options.limits.dial_timeout = ms(800);
        options.proxy = proxy;
        options.proxy.no_proxy = direct;
    });
    let mut cap = ms(20);
    for _ in 0..4 {
        let gone = play.gone();
        assert_eq!(could_not(&gone), wanted);
        cap = (cap * 2).min(ms(200));
        assert!(gone.delay <= cap, "{gone:?}");
    }
    play.end();
    let seen = other.with_machine(|machine| machine.log().entries().len());
    assert_eq!(seen, 0, "a direct dial");
}

fn a_login_that_is_missing_or_wrong_is_named(harness: &dyn Harness) {
    let wrong = "user:s3cret@";
    for (login, fault) in [
        ("", ProxyFault::LoginNeeded),
        (wrong, ProxyFault::LoginRefused),
    ] {
        for manner in [
            Manner::ConnectWithLogin("Basic dXNlcjpwQHNz"),
            Manner::SocksWithLogin("user", "p@ss"),
        ] {
            let proxy = Forwarder::new(manner);
            assert_eq!(fetch_fault(harness, proxy.rules(login)), fault);
            dials_fail(harness, proxy.rules(login), &fault.clone().into());
        }
    }
    assert!(
        ProxyFault::LoginNeeded
            .to_string()
            .contains("give the proxy a login")
    );
}

fn a_proxy_that_is_down_is_never_passed_by(harness: &dyn Harness) {
    // A port that is taken and that nobody listens on.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).expect("a port");
    let address = socket.local_addr().expect("an address").as_socket();
    let port = address.expect("of the internet").port();
    for scheme in ["http", "socks5"] {
        let rules = rules(&format!("{scheme}://127.0.0.1:{port}"));
        let down = ProxyFault::Unreached(Box::new(TransportFault::Refused));
        assert_eq!(fetch_fault(harness, rules.clone()), down);
        dials_fail(harness, rules, &down.into());
    }
    let unknown = rules("http://proxy.invalid");
    let down = ProxyFault::Unreached(Box::new(TransportFault::NameLookup));
    dials_fail(harness, unknown, &down.into());
}

fn garbage_is_named(harness: &dyn Harness) {
    for (says, fault) in [
        (&b"220 mail.example ESMTP\r\n"[..], ProxyFault::Garbage),
        (b"HTTP/1.1 503 Busy\r\n\r\n", ProxyFault::Status(503)),
    ] {
        let proxy = Forwarder::new(Manner::Says(says));
        assert_eq!(fetch_fault(harness, proxy.rules("")), fault);
        dials_fail(harness, proxy.rules(""), &fault.into());
    }
    let ends = Forwarder::new(Manner::Says(b"HTTP/1.1 2"));
    let fault = ProxyFault::Unreached(Box::new(TransportFault::UnexpectedEnd));
    dials_fail(harness, ends.rules(""), &fault.into());
}

fn a_proxy_that_hangs_is_given_up(harness: &dyn Harness) {
    let proxy = Forwarder::new(Manner::Hangs);
    dials_fail(harness, proxy.rules(""), &TransportFault::TimedOut);
}

/// The gateway's port is excepted, the API's is not.
fn exceptions_are_dialled_directly(harness: &dyn Harness) {
    let raw = Raw::new();
    let proxy = Forwarder::new(Manner::Connect);
    let url = raw.url();
    let excepted = NoProxy::new(url.strip_prefix("ws://").expect("a host"));
    let mut play = raw.bot(harness, |options| {
        options.proxy = proxy.rules("");
        options.proxy.no_proxy = excepted;
    });
    let line = raw.accept_ready(40_000);
    play.ready();
    assert!(raw.emulator.api_base().contains(&proxy.asked()));
    line.stop(play);
    assert!(proxy.is_idle());
}

fn loopback_is_dialled_directly_unless_asked(harness: &dyn Harness) {
    let proxy = Forwarder::new(Manner::Hangs);
    let mut play = Play::up_with(harness, gateway([]), |options| {
        options.proxy = proxy.rules("");
        options.proxy.loopback = false;
    });
    play.play([Effect::Op7]);
    play.resumed();
    play.end();
    assert!(proxy.is_idle());
}
