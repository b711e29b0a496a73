//! Every input in every state: where it leads, and that nothing else happens.

mod play;

use play::{Play, secs, text_frame};
use shardwright_core::{
    Command, CommandId, ConnId, EventId, IfNotReady, Input, Misuse, Phase, ShardId, Stop,
    TransportFault, Wait,
};

use Phase::{
    AwaitingHello, AwaitingPermit, Backoff, Closing, Connecting, Identifying, Idle, Live, Parked,
    Resuming, Stopped,
};

const INPUTS: [&str; 13] = [
    "Start",
    "Opened",
    "Received",
    "Closed",
    "Failed",
    "Flushed",
    "Granted",
    "Command",
    "Acknowledged",
    "Congested",
    "Room",
    "Stop",
    "Tick",
];

/// Where each input leads. In `Parked` the consumer is congested, elsewhere it is not.
#[rustfmt::skip]
const TABLE: [(Phase, [Phase; 13]); 11] = [
    //                Start           Opened          Received        Closed   Failed   Flushed         Granted         Command         Acknowledged    Congested       Room            Stop     Tick
    (Idle,           [Connecting,     Idle,           Idle,           Idle,    Idle,    Idle,           Idle,           Idle,           Idle,           Idle,           Idle,           Stopped, Idle]),
    (Connecting,     [Connecting,     AwaitingHello,  Connecting,     Backoff, Backoff, Connecting,     Connecting,     Connecting,     Connecting,     Connecting,     Connecting,     Stopped, Connecting]),
    (AwaitingHello,  [AwaitingHello,  AwaitingHello,  AwaitingHello,  Backoff, Backoff, AwaitingHello,  AwaitingHello,  AwaitingHello,  AwaitingHello,  AwaitingHello,  AwaitingHello,  Closing, AwaitingHello]),
    (AwaitingPermit, [AwaitingPermit, AwaitingPermit, AwaitingPermit, Backoff, Backoff, AwaitingPermit, Identifying,    AwaitingPermit, AwaitingPermit, AwaitingPermit, AwaitingPermit, Closing, AwaitingPermit]),
    (Identifying,    [Identifying,    Identifying,    Identifying,    Backoff, Backoff, Identifying,    Identifying,    Identifying,    Identifying,    Identifying,    Identifying,    Closing, Identifying]),
    (Resuming,       [Resuming,       Resuming,       Resuming,       Backoff, Backoff, Resuming,       Resuming,       Resuming,       Resuming,       Resuming,       Resuming,       Closing, Resuming]),
    (Live,           [Live,           Live,           Live,           Backoff, Backoff, Live,           Live,           Live,           Live,           Live,           Live,           Closing, Live]),
    (Closing,        [Closing,        Closing,        Closing,        Backoff, Backoff, Closing,        Closing,        Closing,        Closing,        Closing,        Closing,        Closing, Closing]),
    (Backoff,        [Backoff,        Backoff,        Backoff,        Backoff, Backoff, Backoff,        Backoff,        Backoff,        Backoff,        Backoff,        Backoff,        Stopped, Backoff]),
    (Parked,         [Parked,         Parked,         Parked,         Parked,  Parked,  Parked,         Parked,         Parked,         Parked,         Parked,         Connecting,     Stopped, Parked]),
    (Stopped,        [Stopped,        Stopped,        Stopped,        Stopped, Stopped, Stopped,        Stopped,        Stopped,        Stopped,        Stopped,        Stopped,        Stopped, Stopped]),
];

/// A machine in this state that nobody answers any more.
fn at(phase: Phase) -> Play {
    let lost = || {
        let mut play = Play::up();
        let conn = play.conn();
        play.fin(conn);
        play
    };
    let mut play = match phase {
        Idle => Play::new(),
        Connecting | AwaitingHello | AwaitingPermit | Identifying => Play::started(),
        Live | Closing | Stopped => Play::up(),
        _ => lost(),
    };
    play.flush = false;
    play.ack = false;
    play.answer_close = false;
    play.grant = phase == Identifying;
    match phase {
        AwaitingHello => {
            let conn = play.conn();
            play.open(conn);
        }
        AwaitingPermit | Identifying => {
            let conn = play.conn();
            play.open(conn);
            play.hello(conn, 41_250);
        }
        Resuming => {
            play.reconnect(41_250);
        }
        Closing => {
            let conn = play.conn();
            play.op7(conn);
        }
        Parked => {
            play.handle(Input::Congested(true));
            play.drain();
            play.pass(secs(2));
        }
        Stopped => {
            play.answer_close = true;
            play.stop(Stop::Keep);
        }
        _ => {}
    }
    play.grant = false;
    assert_eq!(play.phase(), phase);
    play
}

/// The connection of a play, or another shard's first.
fn conn_of(play: &Play) -> ConnId {
    let last = play.conns.last().copied();
    last.unwrap_or_else(|| Play::started().conn())
}

fn input(name: &str, conn: ConnId) -> Input {
    match name {
        "Start" => Input::Start,
        "Opened" => Input::Opened { conn },
        "Received" => Input::Received {
            conn,
            frame: text_frame(r#"{"op":11}"#),
        },
        "Closed" => Input::Closed { conn, code: None },
        "Failed" => Input::Failed {
            conn,
            why: TransportFault::Reset,
        },
        "Flushed" => Input::Flushed { conn },
        "Granted" => Input::IdentifyGranted { conn },
        "Command" => Input::Command {
            id: CommandId(1),
            command: Command::raw(r#"{"op":31,"d":1}"#).unwrap(),
            if_not_ready: IfNotReady::Queue,
        },
        "Acknowledged" => Input::Acknowledged(EventId {
            shard: ShardId::new(0, 1).unwrap(),
            session: 1,
            seq: 1,
        }),
        "Congested" => Input::Congested(true),
        "Room" => Input::Congested(false),
        "Stop" => Input::Stop(Stop::Final),
        "Tick" => Input::Tick { wall: None },
        other => panic!("{other}"),
    }
}

#[test]
fn each_input_leads_where_the_table_says() {
    for (phase, row) in TABLE {
        for (name, expected) in INPUTS.into_iter().zip(row) {
            let mut play = at(phase);
            let conn = conn_of(&play);
            let told = play.machine.handle(play.now, input(name, conn));
            let misuse = name == "Start" && !matches!(phase, Idle | Stopped);
            let wanted = if misuse {
                Err(Misuse::AlreadyStarted)
            } else {
                Ok(())
            };
            assert_eq!(told, wanted, "{phase:?}, {name}");
            play.drain();
            assert_eq!(play.phase(), expected, "{phase:?}, {name}");
        }
    }
}

#[test]
fn what_comes_for_another_connection_does_nothing() {
    for (phase, _) in TABLE {
        for name in [
            "Opened", "Received", "Closed", "Failed", "Flushed", "Granted",
        ] {
            let mut play = at(phase);
            // A number that this shard has not reached.
            let mut other = Play::up();
            for _ in 0..3 {
                let conn = other.conn();
                other.fin(conn);
                other.next_dial();
            }
            let before = play.done.len();
            play.tell(input(name, other.conn()));
            assert_eq!(play.done[before..], [], "{phase:?}, {name}");
            assert_eq!(play.phase(), phase);
        }
    }
}

#[test]
fn a_refused_input_leaves_the_machine_ready_for_the_next() {
    for (phase, _) in TABLE {
        let mut play = at(phase);
        if play.machine.handle(play.now, Input::Start).is_err() {
            let next = play.machine.handle(play.now, Input::Tick { wall: None });
            assert_eq!(next, Ok(()), "{phase:?}");
        }
    }
}

#[test]
fn a_start_is_repeated_by_no_one_and_a_stop_by_anyone() {
    for (phase, _) in TABLE {
        for (first, second) in [(Stop::Keep, Stop::Final), (Stop::Final, Stop::Keep)] {
            let mut play = at(phase);
            play.stop(first);
            play.stop(second);
            play.pass(secs(5));
            assert_eq!(play.machine.wait(), Wait::Stopped, "{phase:?}");
            assert_eq!(play.notices("ShardStopped").len(), 1, "{phase:?}");
            if first == Stop::Final && phase != Stopped {
                assert_eq!(play.machine.state().session_id, None, "{phase:?}");
            }
            let before = play.done.len();
            for name in INPUTS {
                if name != "Command" {
                    let conn = conn_of(&play);
                    play.tell(input(name, conn));
                }
            }
            play.pass(secs(3600));
            assert_eq!(play.done[before..], [], "{phase:?}");
        }
    }
}

#[test]
fn any_two_inputs_and_a_long_sleep_break_no_state() {
    for (phase, _) in TABLE {
        for first in INPUTS {
            for second in INPUTS {
                let mut play = at(phase);
                for name in [first, second] {
                    let conn = conn_of(&play);
                    let _ = play.machine.handle(play.now, input(name, conn));
                    play.drain();
                }
                // A month later, at once.
                play.now += secs(30 * 24 * 3600);
                play.tell(Input::Tick { wall: None });
                match play.machine.wait() {
                    Wait::Until(at) => assert!(at >= play.now, "{phase:?}, {first}, {second}"),
                    Wait::For(_) => assert!(matches!(play.phase(), Idle | Parked)),
                    Wait::Stopped => assert_eq!(play.phase(), Stopped),
                    other => panic!("{other:?}"),
                }
                assert!(play.closes().iter().all(|code| {
                    *code == 4000 || (*code == 1000 && [first, second].contains(&"Stop"))
                }));
            }
        }
    }
}
