//! A message told in the short way leads to the same as in the long one.

mod play;

use std::time::Instant;

use bytes::Bytes;
use flate2::{Compress, Compression as Level, FlushCompress};
use play::{Play, config, dispatch_text, ready_text, secs};
use shardwright_core::{
    Action, Compression, ConnId, Event, Frame, Input, Misuse, ShardMachine, Wait,
};

fn shown(action: &Action<'_>) -> String {
    match action {
        Action::Emit(Event::Dispatch(event)) => {
            let body = String::from_utf8_lossy(event.data());
            format!(
                "{:?} {} {body} {}",
                event.id(),
                event.name(),
                event.payload_size()
            )
        }
        Action::Send { conn, text } => format!("{conn} {}", text.as_str()),
        other => format!("{other:?}"),
    }
}

fn drain(machine: &mut ShardMachine, done: &mut Vec<String>) {
    loop {
        let action = machine.poll();
        done.push(shown(&action));
        if matches!(action, Action::Wait(_)) {
            return;
        }
    }
}

fn long(machine: &mut ShardMachine, now: Instant, conn: ConnId, frame: Frame) -> Vec<String> {
    let mut done = Vec::new();
    machine
        .handle(now, Input::Received { conn, frame })
        .unwrap();
    drain(machine, &mut done);
    done
}

fn short(machine: &mut ShardMachine, now: Instant, conn: ConnId, frame: Frame) -> Vec<String> {
    let mut done = Vec::new();
    let took = machine.receive(now, conn, frame, |event| shown(&Action::Emit(event)));
    done.extend(took.unwrap());
    match machine.settle() {
        true => done.push(shown(&Action::Wait(machine.wait()))),
        false => drain(machine, &mut done),
    }
    done
}

fn text(text: impl Into<String>) -> Frame {
    Frame::Text(Bytes::from(text.into()))
}

/// Every three of these messages, one after the other, on a live connection: on time, and with a beat due.
#[test]
fn any_messages_lead_to_the_same() {
    let live = Play::up();
    let conn = live.conn();
    let messages: Vec<Frame> = [
        dispatch_text(2, "A"),
        dispatch_text(3, "B"),
        dispatch_text(5, "LATER"),
        dispatch_text(1, "AGAIN"),
        ready_text("B", "ws://r2.example", 1),
        r#"{"d":{},"op":0,"s":2,"t":"OTHER_ORDER"}"#.to_owned(),
        r#"{"t":null,"s":null,"op":0,"d":1}"#.to_owned(),
        r#"{"op":1,"d":null}"#.to_owned(),
        r#"{"op":7,"d":null}"#.to_owned(),
        r#"{"op":9,"d":true}"#.to_owned(),
        r#"{"op":11}"#.to_owned(),
        r#"{"op":99}"#.to_owned(),
        "garbage".to_owned(),
        String::new(),
    ]
    .map(text)
    .into();
    let mut compared = 0;
    for late in [secs(0), secs(42), secs(7200)] {
        let now = live.now + late;
        for first in &messages {
            for second in &messages {
                for third in &messages {
                    let mut one = live.machine.try_clone().unwrap();
                    let mut other = live.machine.try_clone().unwrap();
                    for frame in [first, second, third] {
                        let expected = long(&mut one, now, conn, frame.clone());
                        let got = short(&mut other, now, conn, frame.clone());
                        assert_eq!(got, expected, "{first:?} {second:?} {third:?}");
                        compared += expected.len();
                    }
                    assert_eq!(format!("{one:?}"), format!("{other:?}"));
                }
            }
        }
    }
    assert!(compared > 3 * messages.len().pow(3), "they did something");
}

/// Pieces of a compressed stream: payloads one by one, together, and in two parts; then damage.
#[test]
fn messages_that_hold_any_number_of_payloads_lead_to_the_same() {
    let mut stream = Compress::new(Level::default(), true);
    let mut message = |texts: &[String]| {
        let mut out = Vec::with_capacity(4096);
        for text in texts {
            let flush = FlushCompress::Sync;
            stream
                .compress_vec(text.as_bytes(), &mut out, flush)
                .unwrap();
        }
        out
    };
    let hello = message(&[r#"{"op":10,"d":{"heartbeat_interval":41250}}"#.to_owned()]);
    let ready = message(&[ready_text("A", "ws://r1.example", 1)]);
    let one = message(&[dispatch_text(2, "ONE")]);
    let three = message(&[3, 4, 5].map(|seq| dispatch_text(seq, "OF_THREE")));
    let halves = message(&[dispatch_text(6, "HALVES")]);
    let (left, right) = halves.split_at(halves.len() / 2);
    let last = message(&[dispatch_text(7, "LAST")]);
    let both = || {
        let mut config = config();
        config.compression = Compression::Zlib;
        let mut play = Play::with(config, None, 1);
        play.tell(Input::Start);
        let conn = play.conn();
        play.open(conn);
        for bytes in [&hello, &ready] {
            let frame = Frame::Binary(Bytes::copy_from_slice(bytes));
            play.tell(Input::Received { conn, frame });
        }
        play
    };
    let (mut one_way, mut other) = (both(), both());
    let conn = one_way.conn();
    let mut dispatches = 0;
    for bytes in [&one[..], &three, left, right, &last, b"damage", &last] {
        let frame = || Frame::Binary(Bytes::copy_from_slice(bytes));
        let (now, its) = (one_way.now, other.now);
        let expected = long(&mut one_way.machine, now, conn, frame());
        let got = short(&mut other.machine, its, conn, frame());
        // Their clocks began one after the other.
        let without_times = |done: &[String]| {
            let known = done.iter().filter(|done| !done.starts_with("Wait"));
            known.cloned().collect::<Vec<_>>()
        };
        assert_eq!(without_times(&got), without_times(&expected));
        assert_eq!(got.len(), expected.len());
        dispatches += got.iter().filter(|did| did.starts_with("EventId")).count();
    }
    assert_eq!(dispatches, 6);
}

#[test]
fn a_drain_that_has_not_ended_is_ended_first() {
    let mut play = Play::up();
    let (now, conn) = (play.now, play.conn());
    let machine = &mut play.machine;
    let next = |seq| text(dispatch_text(seq, "A"));
    let seq = |event: Event<'_>| match event {
        Event::Dispatch(dispatch) => dispatch.id().seq,
        other => panic!("{other:?}"),
    };
    assert_eq!(machine.receive(now, conn, next(2), seq), Ok(Some(2)));
    let misuse = machine.receive(now, conn, next(3), seq).err();
    assert_eq!(misuse, Some(Misuse::OutputPending));
    let congested = machine.handle(now, Input::Congested(true));
    assert_eq!(congested, Err(Misuse::OutputPending));
    assert!(machine.settle());
    assert!(matches!(machine.wait(), Wait::Until(_)));
    // The one that came too early was not taken.
    assert_eq!(machine.receive(now, conn, next(3), seq), Ok(Some(3)));
    // What is to be done is not passed over.
    drain(machine, &mut Vec::new());
    let leave = text(r#"{"op":7}"#);
    assert_eq!(machine.receive(now, conn, leave, seq), Ok(None));
    assert!(!machine.settle());
    let mut done = Vec::new();
    drain(machine, &mut done);
    assert!(done.iter().any(|did| did.starts_with("Close")), "{done:?}");
    assert!(machine.settle(), "twice is once");
}
