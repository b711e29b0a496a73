use proptest::prelude::*;

use super::*;

fn proxy(text: &str) -> Proxy {
    Proxy::parse(text).unwrap()
}

/// Says these answers in pieces that are cut there, followed by bytes of somebody else's; what was
/// written, what came of it, and how many bytes were taken.
fn talk(
    text: &str,
    host: &str,
    answers: &[u8],
    cut: usize,
) -> (Vec<u8>, Result<usize, ProxyFault>) {
    let mut dialogue = ProxyDialogue::new(&proxy(text), host, 443).unwrap();
    let (mut written, mut at) = (Vec::new(), 0);
    loop {
        match dialogue.poll() {
            ProxyStep::Write(bytes) => written.extend(bytes),
            ProxyStep::Done => return (written, Ok(at)),
            ProxyStep::Read(most) => {
                assert!(most > 0);
                let end = if at < cut { cut } else { answers.len() };
                match dialogue.handle(&answers[at..end]) {
                    Ok(taken) => {
                        assert!(taken > 0, "{at} of {}", answers.len());
                        at += taken;
                    }
                    Err(fault) => {
                        assert_eq!(dialogue.handle(b"x"), Err(fault.clone()));
                        return (written, Err(fault));
                    }
                }
            }
        }
    }
}

/// The same, cut at every position, and by the number of bytes that is asked for.
fn always(text: &str, host: &str, answers: &[u8], said: &[u8], end: &Result<(), ProxyFault>) {
    let expected = end.clone().map(|()| answers.len());
    let with_more = [answers, b"\x16\x03more"].concat();
    for cut in 0..=answers.len() {
        let (written, ended) = talk(text, host, &with_more, cut);
        assert_eq!(
            (written.as_slice(), ended),
            (said, expected.clone()),
            "{cut}"
        );
    }
    let mut dialogue = ProxyDialogue::new(&proxy(text), host, 443).unwrap();
    let mut at = 0;
    let ended = loop {
        match dialogue.poll() {
            ProxyStep::Write(_) => {}
            ProxyStep::Done => break Ok(at),
            ProxyStep::Read(most) => {
                let piece = &with_more[at..at + most];
                match dialogue.handle(piece) {
                    Ok(taken) => assert_eq!(taken, most, "not more than belongs to it"),
                    Err(fault) => break Err(fault),
                }
                at += most;
            }
        }
    };
    assert_eq!(ended, expected);
}

#[test]
fn connect_is_asked_for_and_answered() {
    let said = b"CONNECT gateway.example:443 HTTP/1.1\r\nHost: gateway.example:443\r\n\r\n";
    for (answer, end) in [
        (&b"HTTP/1.1 200 Connection established\r\n\r\n"[..], Ok(())),
        (
            b"HTTP/1.0 204\r\nVia: x\r\nContent-Length: 5\r\n\r\n",
            Ok(()),
        ),
        (b"HTTP/1.1 200 OK\nVia: x\n\n", Ok(())),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            Ok(()),
        ),
        (
            b"HTTP/1.1 407 Auth\r\nX: y\r\n\r\n",
            Err(ProxyFault::LoginNeeded),
        ),
        (b"HTTP/1.1 502 Bad\r\n\r\n", Err(ProxyFault::Status(502))),
        (b"HTTP/1.1 101 Odd\r\n\r\n", Err(ProxyFault::Status(101))),
        (b"HTTP/1.1 302 Found\r\n\r\n", Err(ProxyFault::Status(302))),
        (b"HTTP/2.0 200 OK\r\n\r\n", Err(ProxyFault::Garbage)),
        (b"SSH-2.0-x\r\n\r\n\r\n", Err(ProxyFault::Garbage)),
    ] {
        always("http://p:1", "gateway.example", answer, said, &end);
    }
}

#[test]
fn connect_with_a_login() {
    // RFC 7617's example, percent-encoded.
    let text = "http://Aladdin:open%20sesame@p";
    let said = b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\
        Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n";
    always(
        text,
        "2001:db8::1",
        b"HTTP/1.1 200 OK\r\n\r\n",
        said,
        &Ok(()),
    );
    let refused = Err(ProxyFault::LoginRefused);
    always(
        text,
        "2001:db8::1",
        b"HTTP/1.1 407 No\r\n\r\n",
        said,
        &refused,
    );
}

#[test]
fn an_answer_without_end_is_given_up() {
    let mut dialogue = ProxyDialogue::new(&proxy("http://p"), "h", 1).unwrap();
    dialogue.poll();
    dialogue.handle(b"HTTP/1.1 200 OK\r\n").unwrap();
    let line = [b'x'; 1024];
    let fault = (0..17).find_map(|_| dialogue.handle(&line).err());
    assert_eq!(fault, Some(ProxyFault::TooLong));
    let answer = |len: usize| {
        let filler = "x".repeat(len - "HTTP/1.1 200 \r\n\r\n".len());
        let answer = format!("HTTP/1.1 200 {filler}\r\n\r\n");
        talk("http://p", "h", answer.as_bytes(), 0).1
    };
    assert_eq!(answer(16 * 1024), Ok(16 * 1024));
    assert_eq!(answer(16 * 1024 + 1), Err(ProxyFault::TooLong));
}

/// How many bytes it reads at a time, if the proxy says all that is asked for.
fn reads(text: &str, answers: &[u8]) -> Vec<usize> {
    let mut dialogue = ProxyDialogue::new(&proxy(text), "a.b", 443).unwrap();
    let (mut reads, mut at) = (Vec::new(), 0);
    loop {
        match dialogue.poll() {
            ProxyStep::Write(_) => {}
            ProxyStep::Read(most) => {
                dialogue.handle(&answers[at..at + most]).unwrap();
                at += most;
                reads.push(most);
            }
            ProxyStep::Done => return reads,
        }
    }
}

#[test]
fn as_much_is_read_at_once_as_comes_for_certain() {
    // The shortest answer ends its lines with a line feed alone.
    let shortest = b"HTTP/1.1 200\n\n";
    assert_eq!(reads("http://p", shortest), [shortest.len()]);
    let four = b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50";
    // A refusal may end after its code.
    assert_eq!(reads("socks5://p", four), [2, 2, 2, 6]);
    let name = b"\x05\x00\x05\x00\x00\x03\x02ab\x00\x50";
    assert_eq!(reads("socks5://p", name), [2, 2, 2, 1, 4]);
}

const ASKED: &[u8] = b"\x05\x01\x00\x03\x03a.b\x01\xbb";

#[test]
fn socks_without_a_login() {
    let said = [b"\x05\x01\x00", ASKED].concat();
    for answer in [
        &b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"[..],
        b"\x05\x00\x05\x00\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x50",
        b"\x05\x00\x05\x00\x00\x03\x02ab\x00\x50",
        b"\x05\x00\x05\x00\x00\x03\x00\x00\x50",
    ] {
        always("socks5h://p", "a.b", answer, &said, &Ok(()));
    }
    let four = b"\x05\x01\x00\x05\x01\x00\x01\x01\x02\x03\x04\x01\xbb";
    let answer = b"\x05\x00\x05\x00\x00\x01\0\0\0\0\0\0";
    always("socks5://p", "1.2.3.4", answer, four, &Ok(()));
    let six = b"\x05\x01\x00\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb";
    always("socks5://p", "::1", answer, six, &Ok(()));
    for (code, reply) in [
        (1, SocksReply::GeneralFailure),
        (2, SocksReply::NotAllowed),
        (3, SocksReply::NetworkUnreachable),
        (4, SocksReply::HostUnreachable),
        (5, SocksReply::ConnectionRefused),
        (6, SocksReply::TtlExpired),
        (7, SocksReply::CommandNotSupported),
        (8, SocksReply::AddressTypeNotSupported),
        (9, SocksReply::Other(9)),
    ] {
        let end = Err(ProxyFault::Socks(reply));
        always("socks5://p", "a.b", &[5, 0, 5, code], &said, &end);
    }
    let greeting = b"\x05\x01\x00";
    for (answer, fault) in [
        (b"\x05\xff", ProxyFault::LoginNeeded),
        (b"\x05\x02", ProxyFault::Garbage),
        (b"\x05\x01", ProxyFault::Garbage),
        (b"HT", ProxyFault::Garbage),
        (b"\x04\x00", ProxyFault::Garbage),
    ] {
        always("socks5://p", "a.b", answer, greeting, &Err(fault));
    }
    for odd in [b"\x05\x00\x05\x00\x00\x02", b"\x05\x00\x04\x00\x00\x01"] {
        always("socks5://p", "a.b", odd, &said, &Err(ProxyFault::Garbage));
    }
}

#[test]
fn socks_with_a_login() {
    let text = "socks5://us%40er:pw@p";
    let greeting = b"\x05\x02\x00\x02";
    let login = b"\x01\x05us@er\x02pw";
    let done = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50";
    let said = [greeting, &login[..], ASKED].concat();
    let answer = [&b"\x05\x02\x01\x00"[..], done].concat();
    always(text, "a.b", &answer, &said, &Ok(()));
    // It need not ask.
    let said = [greeting, ASKED].concat();
    always(
        text,
        "a.b",
        &[&b"\x05\x00"[..], done].concat(),
        &said,
        &Ok(()),
    );
    let said = [greeting, &login[..]].concat();
    let refused = Err(ProxyFault::LoginRefused);
    always(text, "a.b", b"\x05\x02\x01\x01", &said, &refused);
    always(text, "a.b", b"\x05\xff", greeting, &refused);
    let garbage = Err(ProxyFault::Garbage);
    always(text, "a.b", b"\x05\x02\x05\x00", &said, &garbage);
}

#[test]
fn odd_hosts_are_refused() {
    let long = "x".repeat(256);
    for host in ["", "a\r\nX: y", "a b", "\u{e9}", &long] {
        let dialogue = ProxyDialogue::new(&proxy("http://p"), host, 1);
        assert_eq!(dialogue.err(), Some(ProxyFault::HostName), "{host:?}");
    }
}

#[test]
fn addresses_are_read() {
    for (text, shown) in [
        ("HTTP://Proxy", "http://proxy:80"),
        ("http://proxy:8080/", "http://proxy:8080"),
        ("socks5://[::1]", "socks5://[::1]:1080"),
        ("socks5h://u:p%3A@1.2.3.4:9", "socks5://1.2.3.4:9"),
        ("http://u@h", "http://h:80"),
    ] {
        assert_eq!(proxy(text).to_string(), shown, "{text}");
    }
    for (text, host, port) in [
        ("http://Proxy", "proxy", 80),
        ("socks5://u:p@[::1]", "::1", 1080),
        ("socks5h://1.2.3.4:9", "1.2.3.4", 9),
    ] {
        let proxy = proxy(text);
        assert_eq!((proxy.host(), proxy.port()), (host, port), "{text}");
    }
    let mut longest = "http://".to_owned();
    longest.push_str(&"h".repeat(2048 - longest.len()));
    assert!(Proxy::parse(&longest).is_ok());
    longest.push('h');
    assert_eq!(Proxy::parse(&longest), Err(UrlError::TooLong.into()));
    for (text, error) in [
        ("", ProxyError::Scheme),
        ("proxy:80", ProxyError::Scheme),
        ("socks4://h", ProxyError::Scheme),
        ("https://h", ProxyError::Tls),
        ("http://", UrlError::NoHost.into()),
        ("http://u:p@", UrlError::NoHost.into()),
        ("http://h:0", UrlError::BadPort.into()),
        ("http://a b", UrlError::BadHost.into()),
        ("http://h/x", ProxyError::Path),
        ("http://h?x", ProxyError::Path),
        ("http://u:%zz@h", ProxyError::Encoding),
        ("http://u:%4@h", ProxyError::Encoding),
        ("http://:p@h", ProxyError::Login),
        ("http://u%3a:p@h", ProxyError::Login),
        ("http://u:%0d@h", ProxyError::Login),
    ] {
        assert_eq!(Proxy::parse(text), Err(error), "{text}");
    }
    let long = format!("http://{}:p@h", "u".repeat(256));
    assert_eq!(Proxy::parse(&long), Err(ProxyError::Login));
}

#[test]
fn nothing_shows_a_login() {
    let proxy = proxy("http://user:s3cret@h");
    let rules = ProxyRules::through(proxy.clone());
    let mut dialogue = ProxyDialogue::new(&proxy, "a", 1).unwrap();
    let mut shown = format!(
        "{proxy} {proxy:?} {rules:?} {dialogue:?} {:?}",
        dialogue.poll()
    );
    for text in [
        "ftp://user:s3cret@h",
        "http://user:s3cret@h:x",
        "http://user:s3cret%@h",
    ] {
        let error = Proxy::parse(text).unwrap_err();
        shown.push_str(&format!("{error} {error:?}"));
    }
    assert!(
        !shown.contains("s3cret") && !shown.contains("user:"),
        "{shown}"
    );
    for part in [
        "Proxy(http://h:80, login redacted)",
        "done: false",
        "Write(",
    ] {
        assert!(shown.contains(part), "{shown}");
    }
}

#[test]
fn exceptions_are_found() {
    let mut rules = ProxyRules::through(proxy("http://p"));
    let mut direct = |list: &str, host: &str| {
        rules.no_proxy = NoProxy::new(list);
        rules.for_host(host, 443).is_none()
    };
    for (list, host) in [
        ("*", "a.b"),
        (" x , A.b ", "a.B."),
        (".b", "a.b"),
        (".b", "b"),
        ("*.b", "x.a.b"),
        ("a.b:443", "a.b"),
        ("1.2.3.4", "1.2.3.4"),
        ("1.2.3.4:443", "1.2.3.4"),
        ("10.0.0.0/8", "10.9.9.9"),
        ("0.0.0.0/0", "8.8.8.8"),
        ("2001:db8::1", "2001:db8:0::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::/32", "2001:db8:9::9"),
        ("10.0.0.1", "::ffff:10.0.0.1"),
        ("", "localhost"),
        ("", "x.localhost"),
        ("", "127.9.9.9"),
        ("", "::1"),
    ] {
        assert!(direct(list, host), "{list} {host}");
    }
    for (list, host) in [
        ("", "a.b"),
        (",", "a.b"),
        ("b", "a.b"),
        (".b", "ab"),
        ("a.b:80", "a.b"),
        ("a.b:x", "a.b"),
        ("10.0.0.0/33", "10.0.0.1"),
        ("10.0.0.0/8", "11.0.0.1"),
        ("10.0.0.0/8", "name"),
        ("::/0", "10.0.0.1"),
        ("[::1", "a.b"),
        ("[2001:db8::1]443", "2001:db8::1"),
        (".0.0.1", "10.0.0.1"),
    ] {
        assert!(!direct(list, host), "{list} {host}");
    }
    rules.no_proxy = NoProxy::default();
    rules.loopback = true;
    assert!(rules.for_host("127.0.0.1", 1).is_some());
    assert!(ProxyRules::default().for_host("a.b", 1).is_none());
}

proptest! {
    #[test]
    fn nothing_a_proxy_says_breaks_it(
        answers in prop::collection::vec(any::<u8>(), 0..600),
        beginning in 0..4_usize,
        socks in any::<bool>(),
        piece in 1..9_usize,
    ) {
        let beginnings = [&b""[..], b"HTTP/1.1 200", b"\x05\x02\x01\x00\x05\x00\x00", b"\x05\x00\x05\0\0"];
        let text = if socks { "socks5://u:p@h" } else { "http://u:p@h" };
        let mut dialogue = ProxyDialogue::new(&proxy(text), "a.b", 1).unwrap();
        let answers = [beginnings[beginning], &answers].concat();
        let mut left = answers.as_slice();
        while !left.is_empty() {
            match dialogue.poll() {
                ProxyStep::Write(bytes) => prop_assert!(!bytes.is_empty()),
                ProxyStep::Done => break,
                ProxyStep::Read(most) => {
                    let bytes = &left[..piece.min(most).min(left.len())];
                    match dialogue.handle(bytes) {
                        Ok(taken) => prop_assert_eq!(taken, bytes.len()),
                        Err(_) => break,
                    }
                    left = &left[bytes.len()..];
                }
            }
        }
    }

    #[test]
    fn no_text_breaks_the_rules(text in ".{0,60}", host in ".{0,20}", port in any::<u16>()) {
        if let Ok(proxy) = Proxy::parse(&text) {
            prop_assert_eq!(Proxy::parse(&proxy.to_string()).map(|p| p.port()), Ok(proxy.port()));
        }
        let mut rules = ProxyRules::through(proxy("http://p"));
        rules.no_proxy = NoProxy::new(&text);
        rules.for_host(&host, port);
    }
}
