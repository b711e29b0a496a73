//! Compressed streams: cut, joined, damaged, too large.

use shardwright_core::{
    Compression, DecodeError, DisconnectReason, Event, Next, Problem, SessionLoss,
};
use shardwright_testkit::scenario::{Damage, Effect, Level, Listener, Selector, Step, When};
use shardwright_testkit::ws;

use crate::harness::{Harness, cases};
use crate::play::{Play, beating, dispatch, gateway, ms, stray};
use crate::raw::{self, Line, Raw, Zlib};

cases![
    messages_of_one_byte_are_put_together,
    messages_of_1024_bytes_are_put_together,
    continuation_frames_are_joined_with_zlib,
    continuation_frames_are_joined_with_zstd,
    writes_of_one_byte_are_put_together,
    several_payloads_may_share_a_message,
    a_marker_may_be_cut_anywhere_and_stand_anywhere,
    output_of_every_length_is_whole_with_zlib,
    output_of_every_length_is_whole_with_zstd,
    frames_of_the_old_socket_stay_out_of_the_new_stream_with_zlib,
    frames_of_the_old_socket_stay_out_of_the_new_stream_with_zstd,
    one_flipped_bit_costs_one_resume,
    a_payload_that_is_always_damaged_costs_the_session,
    a_payload_without_its_end_is_no_sign_of_life,
    an_endless_payload_is_cut_off,
];

/// READY and fifty events, cut in some way: they come as if uncut.
fn cut(harness: &dyn Harness, compression: Compression, level: Level, sizes: &[usize]) {
    let split = Effect::Split {
        sizes: sizes.to_vec(),
        level,
        count: None,
    };
    let step = Step::new(When::Opened, [split]).always();
    let mut play = Play::up_with(harness, gateway([step]), |options| {
        options.compression = compression;
    });
    play.play([Effect::Events(50), dispatch("LAST")]);
    play.dispatch("LAST");
    assert_eq!((play.seq(), play.gone), (52, 0));
    play.end();
}

/// A payload over as many websocket messages as it has bytes.
fn messages_of_one_byte_are_put_together(harness: &dyn Harness) {
    cut(harness, Compression::Zlib, Level::Messages, &[1]);
}

/// A payload over messages of 1024 bytes.
fn messages_of_1024_bytes_are_put_together(harness: &dyn Harness) {
    cut(harness, Compression::Zlib, Level::Messages, &[1024]);
}

/// A message over continuation frames.
fn continuation_frames_are_joined_with_zlib(harness: &dyn Harness) {
    cut(harness, Compression::Zlib, Level::Frames, &[7, 1, 90]);
}

/// zstd-stream knows whole messages only, so the frames have to be joined.
fn continuation_frames_are_joined_with_zstd(harness: &dyn Harness) {
    cut(harness, Compression::Zstd, Level::Frames, &[7, 1, 90]);
}

/// A frame over writes of one byte, header included.
fn writes_of_one_byte_are_put_together(harness: &dyn Harness) {
    cut(harness, Compression::Zstd, Level::Writes, &[1]);
}

/// Three payloads in one message.
fn several_payloads_may_share_a_message(harness: &dyn Harness) {
    let mut play = Play::up(harness, gateway([]));
    play.play([
        Effect::Merge(3),
        dispatch("TWO"),
        dispatch("THREE"),
        dispatch("FOUR"),
        dispatch("FIVE"),
    ]);
    play.dispatch("FIVE");
    assert_eq!((play.seq(), play.gone), (5, 0));
    play.end();
}

/// Sends one payload in these pieces of its compressed form, each a message.
fn pieces(line: &mut Line, message: &[u8], ends: &[usize]) {
    let mut start = 0;
    for &end in ends.iter().chain([&message.len()]) {
        line.frame(true, ws::BINARY, &message[start..end]);
        start = end;
    }
}

/// The end marker 00 00 FF FF cut between any two of its bytes, and one in the middle of a payload: the
/// output is then simply not whole yet.
fn a_marker_may_be_cut_anywhere_and_stand_anywhere(harness: &dyn Harness) {
    let raw = Raw::new();
    let mut play = raw.bot(harness, |options| options.compression = Compression::Zlib);
    let mut line = raw.accept();
    let mut zlib = Zlib::new();
    line.frame(true, ws::BINARY, &zlib.piece(raw::hello(40_000).as_bytes()));
    line.payload(2);
    line.frame(true, ws::BINARY, &zlib.piece(raw.ready().as_bytes()));
    let mut seq = 1;
    for cut in 1..=4 {
        seq += 1;
        let message = zlib.piece(raw::dispatch(seq, "CUT").as_bytes());
        pieces(&mut line, &message, &[message.len() - cut]);
    }
    // A flush in the middle: the first message ends like a payload and is none.
    seq += 1;
    let text = raw::dispatch(seq, "HALVES");
    let (one, two) = text.as_bytes().split_at(text.len() / 2);
    line.frame(true, ws::BINARY, &zlib.piece(one));
    line.frame(true, ws::BINARY, &zlib.piece(two));
    // The same within one message.
    seq += 1;
    let text = raw::dispatch(seq, "WHOLE");
    let (one, two) = text.as_bytes().split_at(text.len() / 2);
    let both = [zlib.piece(one), zlib.piece(two)].concat();
    line.frame(true, ws::BINARY, &both);
    // Three in one TCP segment.
    let mut segment = Vec::new();
    for name in ["A", "B", "C"] {
        seq += 1;
        let message = zlib.piece(raw::dispatch(seq, name).as_bytes());
        segment.extend(raw::frame(true, ws::BINARY, &message));
    }
    line.bytes(&segment);
    play.dispatch("C");
    assert_eq!((play.seq(), play.gone), (seq, 0));
    line.stop(play);
}

/// Payloads that end around the sizes of usual buffers, and far beyond.
fn every_length(harness: &dyn Harness, compression: Compression) {
    let mut play = Play::up_with(harness, gateway([]), |options| {
        options.compression = compression;
    });
    let big = |bytes| Effect::Big {
        t: "BIG".to_owned(),
        bytes,
        count: 1,
    };
    // Past the ninth dispatch, so that all sequence numbers have two digits.
    play.play(vec![dispatch("ONE"); 9]);
    play.play([big(1000)]);
    let around = play.dispatch("BIG").payload_size() - 1000;
    let lengths = [16, 32, 64, 128]
        .into_iter()
        .flat_map(|k| [k * 1024 - 1, k * 1024, k * 1024 + 1])
        .chain([5 << 20, 20 << 20]);
    for length in lengths {
        play.play([big(length - around)]);
        let event = play.dispatch("BIG");
        assert_eq!(event.payload_size(), length);
        let filler = event.data().strip_prefix(br#"{"filler":""#);
        let filler = filler.and_then(|rest| rest.strip_suffix(br#""}"#));
        let mut chunks = filler.expect("a whole body").chunks(16);
        assert!(chunks.all(|chunk| b"abcdefghijklmnop".starts_with(chunk)));
    }
    assert_eq!(play.gone, 0);
    play.end();
}

/// With zlib-stream.
fn output_of_every_length_is_whole_with_zlib(harness: &dyn Harness) {
    every_length(harness, Compression::Zlib);
}

/// With zstd-stream.
fn output_of_every_length_is_whole_with_zstd(harness: &dyn Harness) {
    every_length(harness, Compression::Zstd);
}

/// The old connection still sends compressed frames while the new one is dialled: none of them is
/// delivered, and the new stream starts clean.
fn old_frames(harness: &dyn Harness, compression: Compression) {
    let slow =
        Step::new(When::Dialled, [Effect::Wait(200)]).on(Selector::listener(Listener::Resume));
    let mut play = Play::up_with(harness, gateway([slow]), |options| {
        options.compression = compression;
    });
    let mut effects = vec![Effect::Deaf, Effect::Op7];
    for _ in 0..20 {
        effects.extend([stray("OLD", 99), Effect::Wait(10)]);
    }
    play.play(effects);
    play.until("RESUMED", |event| match event {
        Event::Dispatch(event) => {
            assert_ne!(event.name(), "OLD");
            None
        }
        Event::Resumed { .. } => Some(()),
        _ => None,
    });
    play.play([dispatch("NEW")]);
    play.dispatch("NEW");
    assert_eq!((play.seq(), play.gone), (3, 1));
    play.bot.disconnect();
    play.ended();
}

/// With zlib-stream.
fn frames_of_the_old_socket_stay_out_of_the_new_stream_with_zlib(harness: &dyn Harness) {
    old_frames(harness, Compression::Zlib);
}

/// With zstd-stream.
fn frames_of_the_old_socket_stay_out_of_the_new_stream_with_zstd(harness: &dyn Harness) {
    old_frames(harness, Compression::Zstd);
}

/// Damages the dispatch with number 6, and checks that it is left in order.
fn damaged(harness: &dyn Harness, how: Damage, count: Option<u32>) -> Play {
    let mut play = Play::up(harness, gateway([]));
    play.play(vec![dispatch("GOOD"); 4]);
    play.play([
        Effect::Damage {
            how,
            seq: Some(6),
            count,
        },
        Effect::Big {
            t: "DAMAGED".to_owned(),
            bytes: 3000,
            count: 1,
        },
        dispatch("AFTER"),
    ]);
    let after = play.problem(|problem| match problem {
        Problem::Undecodable { after, .. } | Problem::Malformed { after, .. } => Some(*after),
        _ => None,
    });
    assert_eq!(after, Some(5));
    let gone = play.gone();
    assert_eq!(gone.reason, DisconnectReason::Undecodable);
    assert_eq!(gone.next, Next::Resume);
    play
}

/// A damaged stream is left with a code that keeps the session, and resumed after the last good event.
fn one_flipped_bit_costs_one_resume(harness: &dyn Harness) {
    let mut play = damaged(harness, Damage::Flip, Some(1));
    assert_eq!(play.resumed(), 2);
    assert_eq!(play.seq(), 8);
    assert_eq!(play.resumes()[0].1, Some(5));
    assert_eq!(play.close_codes(), [4000]);
    play.end();
}

/// The same event damaged on every replay: the session is given up rather than asked for for ever.
fn a_payload_that_is_always_damaged_costs_the_session(harness: &dyn Harness) {
    let mut play = damaged(harness, Damage::NoSuffix, None);
    assert_eq!(play.session_lost(), SessionLoss::Poisoned);
    play.ready();
    assert_eq!(play.resumes().len(), 1);
    play.end();
}

/// A payload whose last four bytes never come, and then silence: the dead link is seen all the same.
fn a_payload_without_its_end_is_no_sign_of_life(harness: &dyn Harness) {
    let mut play = Play::up(harness, beating(ms(600), []));
    play.play([
        Effect::Damage {
            how: Damage::NoSuffix,
            seq: None,
            count: Some(1),
        },
        dispatch("UNFINISHED"),
        Effect::Silent,
    ]);
    let gone = play.gone();
    assert_eq!(gone.reason, DisconnectReason::Zombie);
    assert_eq!(play.resumed(), 1);
    assert_eq!(play.resumes()[0].1, Some(1));
    play.end();
}

/// Messages without end marker, one after the other: what is kept of them has a limit.
fn an_endless_payload_is_cut_off(harness: &dyn Harness) {
    let mut play = Play::up_with(harness, gateway([]), |options| {
        options.limits.payload_limit = 64 * 1024;
    });
    let piece = Effect::Raw {
        hex: "2a".repeat(1024),
        binary: true,
    };
    play.play(vec![piece; 70]);
    let error = play.problem(|problem| match problem {
        Problem::Undecodable { error, .. } => Some(error.clone()),
        _ => None,
    });
    assert!(
        matches!(error, DecodeError::TooLarge { limit: 65_536, .. }),
        "{error}"
    );
    assert_eq!(play.gone().next, Next::Resume);
    play.resumed();
    assert_eq!(play.close_codes(), [4000]);
    play.end();
}
