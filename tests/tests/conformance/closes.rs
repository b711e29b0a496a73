//! What the end of a connection means.

use shardwright_core::{
    CloseCode, DisconnectReason, Event, Next, ReShardPolicy, SessionLoss, StopReason,
    TransportFault,
};
use shardwright_testkit::scenario::{Damage, Effect, Ending, Listener, Nth, Selector, Step, When};
use shardwright_testkit::server::Seen;

use crate::harness::{Harness, cases};
use crate::play::{Play, beating, dispatch, gateway, ms};

cases![
    codes_that_keep_the_session_are_followed_by_resume,
    close_4001_ends_the_session,
    close_4003_ends_the_session,
    close_4007_ends_the_session,
    close_4009_ends_the_session,
    fatal_codes_stop_the_bot,
    a_server_that_closes_with_1000_is_come_back_to,
    op_7_is_obeyed_at_once,
    no_close_of_ours_ends_a_session,
    fin_inside_a_frame_header_is_one_loss,
    a_close_frame_then_a_reset_is_one_loss,
    what_follows_a_close_frame_is_void,
    ; close_1014_is_named = "the websocket library hands it over as 1002"
];

/// Unknown codes, codes of the server's own trouble, and none at all: the session goes on.
fn codes_that_keep_the_session_are_followed_by_resume(harness: &dyn Harness) {
    let codes = [
        Some(4000),
        Some(4002),
        Some(4005),
        Some(4008),
        None,
        Some(1001),
        Some(1011),
        Some(1012),
        Some(1013),
        Some(3000),
        Some(4099),
        Some(4999),
    ];
    let mut play = Play::up(harness, gateway([]));
    for code in codes {
        play.play([Effect::Close(code)]);
        let gone = play.gone();
        assert_eq!(gone.next, Next::Resume, "{code:?}");
        assert_eq!(gone.code, code.map(CloseCode::new));
        assert_eq!(gone.reason, DisconnectReason::ClosedByGateway);
        play.resumed();
    }
    assert_eq!(play.log(|log| log.identifies()), 1);
    play.end();
}

/// 1014 (a proxy got no good answer) keeps the session, and the event names it.
fn close_1014_is_named(harness: &dyn Harness) {
    let mut play = Play::up(harness, gateway([]));
    play.play([Effect::Close(Some(1014))]);
    let gone = play.gone();
    assert_eq!(gone.next, Next::Resume);
    assert_eq!(gone.code, Some(CloseCode::BAD_GATEWAY));
    play.resumed();
    play.end();
}

fn ends_the_session(harness: &dyn Harness, code: u16) {
    let mut play = Play::up(harness, gateway([]));
    play.play([dispatch("TWO"), Effect::Close(Some(code))]);
    let gone = play.gone();
    assert_eq!(gone.next, Next::Identify);
    play.ready();
    assert_eq!(play.lost, [SessionLoss::Closed(CloseCode::new(code))]);
    assert!(play.resumes().is_empty());
    assert_eq!(play.dials(), [(Listener::Main, Some(101)); 2]);
    play.end();
}

/// Unknown opcode: never resumable.
fn close_4001_ends_the_session(harness: &dyn Harness) {
    ends_the_session(harness, 4001);
}

/// Not authenticated, or the session was invalidated.
fn close_4003_ends_the_session(harness: &dyn Harness) {
    ends_the_session(harness, 4003);
}

/// Invalid sequence.
fn close_4007_ends_the_session(harness: &dyn Harness) {
    ends_the_session(harness, 4007);
}

/// Session timed out.
fn close_4009_ends_the_session(harness: &dyn Harness) {
    ends_the_session(harness, 4009);
}

/// A refusal for good stops the bot with its code, and nothing is dialled any more.
fn fatal_codes_stop_the_bot(harness: &dyn Harness) {
    for code in [4004, 4010, 4011, 4012, 4013, 4014] {
        let step = Step::new(When::Identify, [Effect::Close(Some(code))]).instead();
        let mut play = Play::with(harness, gateway([step]), |options| {
            options.re_shard = ReShardPolicy::Report;
        });
        assert_eq!(play.gone().next, Next::Stop, "{code}");
        let (why, _) = play.ended();
        match why {
            StopReason::Fatal { code: said } => assert_eq!(said, CloseCode::new(code)),
            // Another layout is wanted, or it was the only shard.
            other => assert!(matches!(code, 4010 | 4011), "{code}: {other}"),
        }
        assert_eq!(play.dials().len(), 1, "{code}");
        play.well_behaved();
    }
}

/// 1000 from the server is no goodbye: a Resume, and if that is refused a new session.
fn a_server_that_closes_with_1000_is_come_back_to(harness: &dyn Harness) {
    let step = Step::new(When::Resume, [Effect::Op9(false.into())])
        .instead()
        .on(Selector::conn(3));
    let mut play = Play::up(harness, gateway([step]));
    play.play([Effect::Close(Some(1000))]);
    assert_eq!(play.gone().next, Next::Resume);
    play.resumed();
    play.play([Effect::Close(Some(1000))]);
    assert_eq!(play.gone().next, Next::Resume);
    assert_eq!(play.gone().next, Next::Identify);
    play.ready();
    play.end();
}

/// Op 7 while the server keeps the old connection open: closed without waiting, and resumed at once.
fn op_7_is_obeyed_at_once(harness: &dyn Harness) {
    let mut play = Play::up_with(harness, gateway([]), |options| {
        // If the close handshake were waited for, the case would run into its patience.
        options.limits.close_timeout = crate::play::PATIENCE * 2;
    });
    play.play([Effect::Deaf, Effect::Op7]);
    let gone = play.gone();
    assert_eq!(gone.reason, DisconnectReason::ReconnectRequested);
    assert!(gone.delay <= ms(20), "{:?}", gone.delay);
    play.resumed();
    let dials = [(Listener::Main, Some(101)), (Listener::Resume, Some(101))];
    assert_eq!(play.dials(), dials);
    play.bot.disconnect();
    play.ended();
}

/// Op 7, a dead link, a broken payload, op 9 with `true`: none of our close frames has a code that ends
/// the session at Discord.
fn no_close_of_ours_ends_a_session(harness: &dyn Harness) {
    let dead =
        Step::new(When::Beat(Nth::Only(1)), [Effect::WithholdAcks(None)]).on(Selector::conn(2));
    let mut play = Play::up(harness, beating(ms(1000), [dead]));
    play.play([Effect::Op7]);
    play.resumed();
    assert_eq!(play.gone().reason, DisconnectReason::Zombie);
    play.resumed();
    let broken = Effect::Damage {
        how: Damage::Unfinished,
        seq: None,
        count: Some(1),
    };
    play.play([broken, Effect::Text(r#"{"op":11}"#.to_owned())]);
    // A payload that ends too early is only seen when the next one follows.
    assert_eq!(play.gone().next, Next::Resume);
    play.resumed();
    play.play([Effect::Op9(true.into())]);
    play.resumed();
    let codes = play.close_codes();
    assert_eq!(codes.len(), 4, "{codes:?}");
    assert!(codes.iter().all(|code| *code == 4000), "{codes:?}");
    let sessions: std::collections::BTreeSet<_> = play
        .resumes()
        .into_iter()
        .map(|(session, _)| session)
        .collect();
    assert_eq!(sessions.len(), 1);
    assert_eq!(play.log(|log| log.identifies()), 1);
    play.end();
}

/// The stream ends after one byte of a frame: one lost connection, one reconnect.
fn fin_inside_a_frame_header_is_one_loss(harness: &dyn Harness) {
    let mut play = Play::up(harness, gateway([]));
    let cut = Effect::Cut {
        after: 1,
        then: Ending::Fin,
    };
    play.play([cut, dispatch("CUT")]);
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
    assert_eq!(play.resumed(), 1);
    assert_eq!(play.gone, 1);
    assert_eq!(play.dials().len(), 2);
    play.end();
}

/// A close frame and a reset right after it: the code of the frame, once.
fn a_close_frame_then_a_reset_is_one_loss(harness: &dyn Harness) {
    let mut play = Play::up(harness, gateway([]));
    play.play([Effect::Close(Some(4000)), Effect::Rst]);
    let gone = play.gone();
    assert_eq!(gone.code, Some(CloseCode::new(4000)));
    assert_eq!(gone.next, Next::Resume);
    play.resumed();
    assert_eq!(play.gone, 1);
    assert_eq!(play.dials().len(), 2);
    play.end();
}

/// Frames after the close frame are not looked at.
fn what_follows_a_close_frame_is_void(harness: &dyn Harness) {
    let mut play = Play::up_with(harness, gateway([]), |options| {
        options.compression = shardwright_core::Compression::None;
    });
    // {"op":0,"s":2,"t":"VOID","d":1}
    let void = "817b226f70223a302c2273223a322c2274223a22564f4944222c2264223a317d";
    let void = void.replacen("817b", "811f7b", 1);
    play.play([Effect::Close(Some(4000)), Effect::Wire(void), Effect::Fin]);
    let gone = play.gone();
    assert_eq!(gone.code, Some(CloseCode::new(4000)));
    play.until("RESUMED", |event| match event {
        Event::Dispatch(event) => {
            assert_ne!(event.name(), "VOID");
            None
        }
        Event::Resumed { .. } => Some(()),
        _ => None,
    });
    assert_eq!(play.gone, 1);
    assert_eq!(play.resumes()[0].1, Some(1));
    play.log(|log| assert_eq!(log.count(|seen| matches!(seen, Seen::Resume { .. })), 1));
    play.end();
}
