//! The mailboxes: order, turns, limits, and what counts as handled.

mod batches;
mod ends;
mod hand;
mod handled;
mod limits;
mod swaps;

use shardwright_core::{
    Action, Compression, Event, EventId, Frame, Input, Intents, ShardConfig, ShardId, ShardMachine,
    StopReason, Token,
};
use shardwright_runtime::{Acknowledge, AcknowledgeError, Mailboxes, Overflow, Slot};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// Real dispatches: READY and `count - 1` more, of sequences 1 to `count`.
fn dispatches(number: u32, count: u64) -> Vec<Event<'static>> {
    let mut events = sessions(number, &[count]);
    events.retain(|event| matches!(event, Event::Dispatch(_)));
    assert_eq!(events.len() as u64, count);
    events
}

/// The dispatches of sessions of these lengths, READY among them, and what says that all but the last of
/// them are lost.
fn sessions(number: u32, lengths: &[u64]) -> Vec<Event<'static>> {
    played(number, lengths, None)
}

/// The same, with one more event at the end that has this text in it.
fn played(number: u32, lengths: &[u64], more: Option<&str>) -> Vec<Event<'static>> {
    let mut now = Instant::now();
    let shard = ShardId::new(number, 3).unwrap();
    let url = "wss://gateway.example".parse().unwrap();
    let mut config = ShardConfig::new(shard, Token::new("t").unwrap(), Intents::empty(), url);
    config.compression = Compression::None;
    let mut machine = ShardMachine::new(config, None, 1, now);
    let mut out = Vec::new();
    let mut conn = None;
    let mut step = |now: Instant, input: Input| {
        machine.handle(now, input).unwrap();
        loop {
            match machine.poll() {
                Action::Wait(_) => return conn,
                Action::Connect { conn: new, .. } => conn = Some(new),
                Action::Emit(event @ (Event::Dispatch(_) | Event::SessionLost { .. })) => {
                    out.push(event.into_owned());
                }
                _ => {}
            }
        }
    };
    step(now, Input::Start);
    for (index, length) in lengths.iter().enumerate() {
        if index > 0 {
            // Longer than any wait before a dial.
            now += Duration::from_secs(10);
        }
        let conn = step(now, Input::Tick { wall: None }).unwrap();
        let text = |text: String| Input::Received {
            conn,
            frame: Frame::Text(text.into()),
        };
        step(now, Input::Opened { conn });
        let hello = r#"{"op":10,"d":{"heartbeat_interval":41250}}"#;
        step(now, text(hello.to_owned()));
        step(now, Input::IdentifyGranted { conn });
        step(now, Input::Flushed { conn });
        let ready = r#"{"t":"READY","s":1,"op":0,"d":{"v":10,"session_id":"a","resume_gateway_url":"wss://r.example","guilds":[]}}"#;
        step(now, text(ready.to_owned()));
        for seq in 2..=*length {
            let event = format!(r#"{{"t":"X","s":{seq},"op":0,"d":{{"n":{seq}}}}}"#);
            step(now, text(event));
        }
        if let Some(more) = more {
            let seq = length + 1;
            let event = format!(r#"{{"t":"X","s":{seq},"op":0,"d":"{more}"}}"#);
            step(now, text(event));
        }
        if index + 1 < lengths.len() {
            step(now, text(r#"{"op":9,"d":false}"#.to_owned()));
            step(
                now,
                Input::Closed {
                    conn,
                    code: Some(4000),
                },
            );
        }
    }
    out
}

#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Bell {
    fn rung(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn take(boxes: &Mailboxes) -> Option<Event<'static>> {
    match boxes.poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(event) => event,
        Poll::Pending => panic!("nothing to take"),
    }
}

fn is_empty(boxes: &Mailboxes) -> bool {
    boxes
        .poll_next(&mut Context::from_waker(Waker::noop()))
        .is_pending()
}

/// Shard and sequence of the next event.
fn taken(boxes: &Mailboxes) -> (u32, u64) {
    match take(boxes) {
        Some(Event::Dispatch(event)) => (event.id().shard.number(), event.id().seq),
        other => panic!("{other:?}"),
    }
}

fn has_room(boxes: &Mailboxes, slot: Slot, waker: &Waker) -> bool {
    boxes
        .poll_room(slot, &mut Context::from_waker(waker))
        .is_ready()
}

fn stopped() -> Event<'static> {
    Event::Stopped {
        why: StopReason::Requested,
        states: Vec::new(),
    }
}

fn heartbeat() -> Event<'static> {
    Event::Heartbeat {
        shard: ShardId::new(0, 3).unwrap(),
        latency: Duration::ZERO,
    }
}

fn new(events: usize, overflow: Overflow) -> Mailboxes {
    Mailboxes::new(events, 1 << 20, overflow, Acknowledge::OnNext)
}

fn add(boxes: &Mailboxes, number: u32) -> Slot {
    boxes.add(ShardId::new(number, 3).unwrap())
}
