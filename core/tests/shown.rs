//! What is shown of connections, commands and faults.

mod play;

use play::{Play, ready_text, text_frame};
use shardwright_core::{
    Action, Command, CommandId, DecodeError, DecoderMode, Event, FrameDecoder, GuildMembers, Input,
    Next, ProxyStep, RawJson, SentKind, ShardFilter, ShardId, ShardState, Stop, TooLarge,
};

#[test]
fn texts_name_what_they_are_of() {
    for (next, text) in [
        (Next::Resume, "resume"),
        (Next::Identify, "identify"),
        (Next::Stop, "stop"),
    ] {
        assert_eq!(next.to_string(), text);
    }
    let typed = SentKind::Typed(3).to_string();
    assert_eq!(typed, "a command of opcode 3");
    let raw = SentKind::Raw(99).to_string();
    assert_eq!(raw, "a raw command of opcode 99");
    for (what, text) in [
        (TooLarge::Compressed, "unfinished compressed data larger"),
        (TooLarge::Payload, "a payload larger"),
        (TooLarge::Window, "a zstd window larger"),
    ] {
        let error = DecodeError::TooLarge { limit: 9, what };
        assert_eq!(error.to_string(), format!("{text} than 9 bytes"));
    }
    let step = ProxyStep::Write(b"login".to_vec());
    assert_eq!(format!("{step:?}"), "Write(5 bytes)");
    let mut play = Play::new();
    play.handle(Input::Start);
    play.drain();
    assert_eq!(play.conn().to_string(), "1");
}

#[test]
fn only_what_holds_the_token_is_secret() {
    let mut play = Play::up();
    let command = Command::raw(r#"{"op":99,"d":"plain"}"#).unwrap();
    play.handle(Input::Command {
        id: CommandId(1),
        command,
        if_not_ready: Default::default(),
    });
    let mut seen = 0;
    loop {
        match play.machine.poll() {
            Action::Send { text, .. } => {
                assert!(!text.is_secret());
                assert!(format!("{text:?}").contains("plain"));
                seen += 1;
            }
            Action::Wait(_) => break,
            _ => {}
        }
    }
    assert_eq!(seen, 1);
}

#[test]
fn every_event_of_a_shard_names_it() {
    let mut play = Play::new();
    let shard = ShardId::new(0, 1).unwrap();
    let mut seen = 0;
    let mut named = |play: &mut Play, input: Input| {
        play.machine.handle(play.now, input).unwrap();
        loop {
            match play.machine.poll() {
                Action::Emit(Event::Dispatch(dispatch)) => assert_eq!(dispatch.id().shard, shard),
                Action::Emit(event) => {
                    assert_eq!(event.shard(), Some(shard), "{event:?}");
                    seen += 1;
                }
                Action::Connect { conn, .. } => play.conns.push(conn),
                Action::Wait(_) => break,
                _ => {}
            }
        }
    };
    named(&mut play, Input::Start);
    let conn = play.conn();
    named(&mut play, Input::Opened { conn });
    named(
        &mut play,
        Input::Received {
            conn,
            frame: text_frame(r#"{"op":10,"d":{"heartbeat_interval":41250}}"#),
        },
    );
    named(&mut play, Input::IdentifyGranted { conn });
    let ready = ready_text("a", "ws://r1.example", 1);
    named(
        &mut play,
        Input::Received {
            conn,
            frame: text_frame(&ready),
        },
    );
    named(&mut play, Input::Stop(Stop::Final));
    named(
        &mut play,
        Input::Closed {
            conn,
            code: Some(1000),
        },
    );
    assert!(seen >= 6, "{seen}");
}

#[test]
fn what_may_be_large_is_shown_by_its_size() {
    let mut play = Play::up();
    let conn = play.conn();
    assert_eq!(format!("{conn:?}"), "conn 1");
    let payload = r#"{"t":"MESSAGE_CREATE","s":2,"op":0,"d":{"content":"hello"}}"#;
    let frame = text_frame(payload);
    play.machine
        .handle(play.now, Input::Received { conn, frame })
        .unwrap();
    let mut shown = loop {
        match play.machine.poll() {
            Action::Emit(Event::Dispatch(dispatch)) => break format!("{dispatch:?}"),
            Action::Wait(_) => panic!("no dispatch"),
            _ => {}
        }
    };
    for part in ["MESSAGE_CREATE", &format!("bytes: {}", payload.len())] {
        assert!(shown.contains(part), "{shown}");
    }
    let raw: RawJson = serde_json::from_str(r#""hello""#).unwrap();
    assert_eq!(format!("{raw:?}"), "RawJson(7 bytes)");
    let members =
        r#"{"guild":"7","members":["hello",2,3],"presences":["hello"],"not_found":[],"nonces":[]}"#;
    let members: GuildMembers = serde_json::from_str(members).unwrap();
    let members = format!("{members:?}");
    assert!(members.contains("members: 3, presences: 1"), "{members}");
    let mut decoder = FrameDecoder::new(DecoderMode::Plain, 1000);
    decoder.push(text_frame(payload));
    assert_eq!(decoder.advance(), Ok(true));
    let buffer = format!("{:?}", decoder.lend());
    assert!(buffer.contains(&payload.len().to_string()), "{buffer}");
    let decoder = format!("{decoder:?}");
    assert!(decoder.contains("Plain, limit: 1000"), "{decoder}");
    shown += &(members + &buffer + &decoder);
    assert!(!shown.contains("hello"), "{shown}");
}

#[test]
fn an_empty_filter_names_no_shard() {
    let zero = ShardState::fresh(ShardId::new(0, 2).unwrap());
    assert!(!ShardFilter::none().matches(&zero));
    assert!(!ShardFilter::default().matches(&zero));
}
