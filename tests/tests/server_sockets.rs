//! The emulator on real sockets, with a plain websocket client.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream as StdStream;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use shardwright_testkit::emulator::{DONE, Emulator};
use shardwright_testkit::scenario::{
    Effect, Ending, Level, Listener, ListenerMode, Scenario, Step, When,
};
use shardwright_testkit::server::{Seen, Target, Violation};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

const LONG: Duration = Duration::from_secs(20);
const QUERY: &str = "/?v=10&encoding=json";

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async { tokio::time::timeout(LONG, test).await.expect("in time") })
}

async fn dial(url: &str, query: &str) -> Result<WebSocketStream<TcpStream>, Error> {
    let address = url.strip_prefix("ws://").unwrap();
    let tcp = TcpStream::connect(address).await.map_err(Error::Io)?;
    Ok(client_async(format!("{url}{query}"), tcp).await?.0)
}

async fn next<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) -> Value {
    loop {
        match socket.next().await.expect("a message").expect("a good one") {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn send<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>, value: Value) {
    socket.send(Message::text(value.to_string())).await.unwrap();
}

fn identify() -> Value {
    json!({"op": 2, "d": {"token": "t", "intents": 53_608_447,
           "properties": {"os": "linux", "browser": "b", "device": "d"}}})
}

fn get(emulator: &Emulator, path: &str, auth: &str) -> String {
    let mut tcp = StdStream::connect(emulator.address()).unwrap();
    write!(
        tcp,
        "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {auth}\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    tcp.read_to_string(&mut text).unwrap();
    text
}

fn raw_upgrade(emulator: &Emulator) -> StdStream {
    let mut tcp = StdStream::connect(emulator.address()).unwrap();
    tcp.set_read_timeout(Some(LONG)).unwrap();
    write!(
        tcp,
        "GET {QUERY} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .unwrap();
    tcp
}

/// What follows the head of the upgrade's answer.
fn after_head(bytes: &[u8]) -> &[u8] {
    let head = bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    &bytes[head + 4..]
}

#[test]
fn rest_identify_close_and_resume() {
    let emulator = Emulator::builder().start().unwrap();
    let answer = get(&emulator, "/api/v10/gateway/bot", "Bot t");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let body: Value = serde_json::from_slice(after_head(answer.as_bytes())).unwrap();
    assert_eq!(body["url"], emulator.gateway_url());
    assert!(get(&emulator, "/api/v10/gateway/bot", "t").starts_with("HTTP/1.1 401"));
    run(async {
        let mut socket = dial(&emulator.gateway_url(), QUERY).await.unwrap();
        assert_eq!(next(&mut socket).await["op"], 10);
        send(&mut socket, identify()).await;
        let ready = next(&mut socket).await;
        let session = ready["d"]["session_id"].clone();
        let url = ready["d"]["resume_gateway_url"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(url, emulator.resume_url());
        let frame = CloseFrame {
            code: CloseCode::Library(4000),
            reason: "".into(),
        };
        socket.close(Some(frame)).await.unwrap();
        while socket.next().await.is_some() {}

        emulator.push_event(&Target::All, "TYPING_START", r#"{"x":1}"#);
        let mut socket = dial(&url, QUERY).await.unwrap();
        next(&mut socket).await;
        let d = json!({"token": "t", "session_id": session, "seq": 4});
        send(&mut socket, json!({"op": 6, "d": d})).await;
        assert_eq!(next(&mut socket).await["d"]["x"], 1);
        assert_eq!(next(&mut socket).await["t"], "RESUMED");
    });
    assert!(emulator.wait_for(|log| log.resumed() == 1, LONG));
    emulator.with_machine(|machine| {
        assert!(machine.log().violations().is_empty());
        let closed = |what: &Seen| matches!(what, Seen::ClosedByClient { code: 4000, .. });
        assert_eq!(machine.log().count(closed), 1);
    });
    emulator.stop();
}

#[test]
fn tls_is_spoken_with_an_authority_of_its_own() {
    let emulator = Emulator::builder().tls().start().unwrap();
    assert!(emulator.api_base().starts_with("https://127.0.0.1:"));
    let mut roots = RootCertStore::empty();
    let pem = emulator.ca_pem().unwrap();
    roots
        .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    run(async {
        let tcp = TcpStream::connect(emulator.address()).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let tls = connector.connect(name, tcp).await.unwrap();
        let url = format!("{}{QUERY}", emulator.gateway_url());
        let (mut socket, _) = client_async(url, tls).await.unwrap();
        assert_eq!(next(&mut socket).await["op"], 10);
        send(&mut socket, identify()).await;
        assert_eq!(next(&mut socket).await["t"], "READY");
        emulator.play(&Target::All, &[Effect::Fin]);
        // No close frame and no farewell of TLS: the line is torn.
        let mut last = None;
        while let Some(message) = socket.next().await {
            last = Some(message);
        }
        assert!(last.unwrap().is_err());
    });
}

#[test]
fn a_message_is_cut_at_the_byte_and_the_line_ends_as_asked() {
    for (then, reset) in [(Ending::Fin, false), (Ending::Rst, true)] {
        let cut = Effect::Cut { after: 17, then };
        let scenario = Scenario::of([Step::new(When::Opened, [cut])]);
        let emulator = Emulator::builder().scenario(scenario).start().unwrap();
        let mut tcp = raw_upgrade(&emulator);
        assert!(emulator.wait_for(
            |log| log.count(|w| matches!(w, Seen::Dropped { .. })) == 1,
            LONG
        ));
        let mut bytes = Vec::new();
        let end = tcp.read_to_end(&mut bytes);
        match end {
            Ok(_) => {
                assert!(!reset);
                assert!(bytes.starts_with(b"HTTP/1.1 101 "));
                assert_eq!(after_head(&bytes).len(), 17);
            }
            // A reset may also take what was not read yet.
            Err(error) => assert!(reset && error.kind() == ErrorKind::ConnectionReset),
        }
    }
}

#[test]
fn frames_and_single_byte_writes_come_out_whole() {
    for level in [Level::Frames, Level::Writes] {
        let split = Effect::Split {
            sizes: vec![1],
            level,
            count: None,
        };
        let scenario = Scenario::of([Step::new(When::Opened, [split])]);
        let emulator = Emulator::builder().scenario(scenario).start().unwrap();
        run(async {
            let mut socket = dial(&emulator.gateway_url(), QUERY).await.unwrap();
            assert_eq!(next(&mut socket).await["op"], 10);
            send(&mut socket, identify()).await;
            assert_eq!(next(&mut socket).await["t"], "READY");
        });
    }
}

#[test]
fn refused_upgrades_and_closed_listeners() {
    let refuse = Effect::Refuse {
        status: 429,
        retry_after: Some(7),
        location: None,
    };
    let scenario = Scenario::of([Step::new(When::Dialled, [refuse])]);
    let emulator = Emulator::builder().scenario(scenario).start().unwrap();
    run(async {
        let url = emulator.gateway_url();
        let Err(Error::Http(answer)) = dial(&url, QUERY).await else {
            panic!("not refused");
        };
        assert_eq!(answer.status(), 429);
        assert_eq!(answer.headers()["Retry-After"], "7");
        let Err(Error::Http(answer)) = dial(&url, "/?v=10").await else {
            panic!("not refused");
        };
        assert_eq!(answer.status(), 400);

        emulator.set_listener(Listener::Main, ListenerMode::Closed);
        let Err(Error::Io(error)) = dial(&url, QUERY).await else {
            panic!("not closed");
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert!(dial(&emulator.resume_url(), QUERY).await.is_ok());
        emulator.set_listener(Listener::Main, ListenerMode::Open);
        assert!(dial(&url, QUERY).await.is_ok());
    });
}

#[test]
fn broken_framing_ends_in_1002() {
    let emulator = Emulator::builder().start().unwrap();
    let mut tcp = raw_upgrade(&emulator);
    tcp.write_all(&[0x81, 0x02, b'{', b'}']).unwrap();
    assert!(emulator.wait_for(|log| log.violations().len() == 1, LONG));
    let found = emulator.with_machine(|m| m.log().violations()[0].clone());
    assert!(matches!(found, Violation::Framing(_)));
    let closed = |what: &Seen| {
        matches!(
            what,
            Seen::Closed {
                code: Some(1002),
                ..
            }
        )
    };
    assert!(emulator.wait_for(|log| log.count(closed) == 1, LONG));
}

#[test]
fn pings_are_answered_and_a_silent_server_keeps_answering_them() {
    let scenario = Scenario::of([Step::new(When::Opened, [Effect::Silent]).always()]);
    let emulator = Emulator::builder().scenario(scenario).start().unwrap();
    run(async {
        let mut socket = dial(&emulator.gateway_url(), QUERY).await.unwrap();
        let ping = Message::Ping(b"abcd".to_vec().into());
        socket.send(ping).await.unwrap();
        let answer = socket.next().await.unwrap().unwrap();
        assert_eq!(answer, Message::Pong(b"abcd".to_vec().into()));
    });
}

#[test]
fn a_flood_arrives_whole_and_in_order() {
    const EVENTS: u64 = 5_000;
    let emulator = Emulator::builder().start().unwrap();
    run(async {
        let mut socket = dial(&emulator.gateway_url(), QUERY).await.unwrap();
        next(&mut socket).await;
        send(&mut socket, identify()).await;
        assert_eq!(next(&mut socket).await["s"], 1);
        assert!(emulator.wait_for(|log| log.readies() == 1, LONG));
        emulator.flood(&Target::All, EVENTS);
        let mut seq = 1;
        loop {
            let Message::Text(text) = socket.next().await.unwrap().unwrap() else {
                panic!("not a text");
            };
            seq += 1;
            let start = text.as_str().get(..60).unwrap_or(&text);
            assert!(start.contains(&format!(r#""s":{seq},"#)), "{start}");
            if start.contains(DONE) {
                break;
            }
        }
        assert_eq!(seq, 4 + EVENTS + 1);
    });
}

#[test]
fn a_hanging_upgrade_is_never_answered() {
    let scenario = Scenario::of([Step::new(When::Dialled, [Effect::Hang])]);
    let emulator = Emulator::builder().scenario(scenario).start().unwrap();
    let tcp = raw_upgrade(&emulator);
    assert!(emulator.wait_for(|log| log.connections() == 1, LONG));
    drop(tcp);
    assert!(emulator.wait_for(|log| log.count(|w| *w == Seen::Lost) == 1, LONG));
    // The next dial is answered.
    run(async { dial(&emulator.gateway_url(), QUERY).await.unwrap() });
}
