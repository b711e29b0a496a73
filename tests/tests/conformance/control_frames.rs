//! Websocket control frames, and frames that break the rules.

use shardwright_core::{CloseCode, Command, DisconnectReason, Next, TransportFault};
use shardwright_testkit::ws;

use crate::harness::{Harness, cases};
use crate::play::Play;
use crate::raw::{self, Line, Raw, frame};

cases![
    pings_before_hello_are_answered,
    pings_between_fragments_are_answered,
    pings_are_answered_while_the_consumer_is_blocked,
    pings_are_answered_while_the_send_limit_is_spent,
    a_pong_that_nobody_asked_for_is_ignored,
    a_close_frame_is_answered,
    a_close_frame_between_fragments_is_obeyed,
    a_masked_frame_is_a_lost_connection,
    a_reserved_bit_is_a_lost_connection,
    a_close_frame_of_one_byte_is_a_lost_connection,
];

/// A bot with READY on a connection of our own.
fn up(harness: &dyn Harness) -> (Raw, Play, Line) {
    let raw = Raw::new();
    let mut play = raw.bot(harness, |_| {});
    let line = raw.accept_ready(40_000);
    play.ready();
    (raw, play, line)
}

/// Pings of 0, 4 and 125 bytes come back with the same bytes.
fn ping(line: &mut Line) {
    for length in [0, 4, 125] {
        let bytes: Vec<u8> = (0..length).collect();
        line.frame(true, ws::PING, &bytes);
        assert_eq!(line.pong(), bytes);
    }
}

/// The upgrade is all a ping needs.
fn pings_before_hello_are_answered(harness: &dyn Harness) {
    let raw = Raw::new();
    let mut play = raw.bot(harness, |_| {});
    let mut line = raw.accept();
    ping(&mut line);
    line.hello(40_000);
    line.payload(2);
    line.text(&raw.ready());
    play.ready();
    assert_eq!(play.gone, 0);
    line.stop(play);
}

/// A ping between the fragments of a message is answered before the message is whole, and the message is
/// not harmed.
fn pings_between_fragments_are_answered(harness: &dyn Harness) {
    let (_raw, mut play, mut line) = up(harness);
    let text = raw::dispatch(2, "FRAGMENTS");
    let (start, rest) = text.as_bytes().split_at(5);
    let (middle, end) = rest.split_at(10);
    line.frame(false, ws::TEXT, start);
    ping(&mut line);
    line.frame(false, ws::CONTINUATION, middle);
    ping(&mut line);
    line.frame(true, ws::CONTINUATION, end);
    play.dispatch("FRAGMENTS");
    assert_eq!(play.gone, 0);
    line.stop(play);
}

/// Nobody takes events, and the mailbox still has room.
fn pings_are_answered_while_the_consumer_is_blocked(harness: &dyn Harness) {
    let (_raw, mut play, mut line) = up(harness);
    for seq in 2..100 {
        line.text(&raw::dispatch(seq, "WAITING"));
    }
    line.text(&raw::dispatch(100, "LAST"));
    ping(&mut line);
    play.dispatch("LAST");
    assert_eq!(play.gone, 0);
    line.stop(play);
}

/// A pong is no payload: the limit of 120 is not its concern.
fn pings_are_answered_while_the_send_limit_is_spent(harness: &dyn Harness) {
    let (_raw, play, mut line) = up(harness);
    let command = r#"{"op":8,"d":{"guild_id":"41771983423143937","query":"a","limit":1}}"#;
    for _ in 0..300 {
        let command = Command::raw(command).expect("a command");
        play.bot.send_raw(0, command).expect("it waits");
    }
    for _ in 0..50 {
        ping(&mut line);
    }
    line.stop(play);
}

/// An unasked pong means nothing.
fn a_pong_that_nobody_asked_for_is_ignored(harness: &dyn Harness) {
    let (_raw, mut play, mut line) = up(harness);
    line.frame(true, ws::PONG, b"");
    line.frame(true, ws::PONG, b"unasked");
    line.text(&raw::dispatch(2, "AFTER"));
    play.dispatch("AFTER");
    assert_eq!(play.gone, 0);
    line.stop(play);
}

/// A close frame comes back with its code, and the client ends the line.
fn closed(harness: &dyn Harness, before: &[u8]) {
    let (raw, mut play, mut line) = up(harness);
    line.bytes(before);
    line.frame(true, ws::CLOSE, &ws::close_payload(Some(4000), "bye"));
    assert_eq!(line.until_end(), Some(4000));
    let gone = play.gone();
    assert_eq!(gone.code, Some(CloseCode::new(4000)));
    let mut new = raw.accept_resume(40_000, 1);
    new.text(&raw::dispatch(2, "RESUMED"));
    play.resumed();
    assert_eq!(play.gone, 1);
    new.stop(play);
}

/// The handshake of a close is completed.
fn a_close_frame_is_answered(harness: &dyn Harness) {
    closed(harness, b"");
}

/// Also in the middle of a message.
fn a_close_frame_between_fragments_is_obeyed(harness: &dyn Harness) {
    closed(harness, &frame(false, ws::TEXT, b"{"));
}

/// Bytes that break the framing rules: the connection is lost, the session is not.
fn broken(harness: &dyn Harness, bytes: &[u8]) {
    let (raw, mut play, mut line) = up(harness);
    line.bytes(bytes);
    let gone = play.gone();
    assert!(
        matches!(
            gone.reason,
            DisconnectReason::Lost(TransportFault::Protocol(_))
        ),
        "{:?}",
        gone.reason
    );
    assert_eq!(gone.next, Next::Resume);
    let code = line.until_end();
    assert!(!matches!(code, Some(1000 | 1001)), "{code:?}");
    let mut new = raw.accept_resume(40_000, 1);
    new.text(&raw::dispatch(2, "RESUMED"));
    play.resumed();
    assert_eq!(play.gone, 1);
    new.stop(play);
}

/// Only clients mask.
fn a_masked_frame_is_a_lost_connection(harness: &dyn Harness) {
    // "{}", masked with 1, 2, 3, 4.
    broken(harness, &[0x81, 0x82, 1, 2, 3, 4, 0x7A, 0x7F]);
}

/// No extension was agreed on that could give the bit a meaning.
fn a_reserved_bit_is_a_lost_connection(harness: &dyn Harness) {
    let mut bytes = frame(true, ws::TEXT, b"{}");
    bytes[0] |= 0x40;
    broken(harness, &bytes);
}

/// A close frame has no code or two bytes of it.
fn a_close_frame_of_one_byte_is_a_lost_connection(harness: &dyn Harness) {
    broken(harness, &frame(true, ws::CLOSE, &[3]));
}
