//! The mailboxes: order, turns, limits, and what counts as handled.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use shardwright_core::{
    Action, Compression, Event, EventId, Frame, Input, Intents, ShardConfig, ShardId, ShardMachine,
    StopReason, Token,
};
use shardwright_runtime::{Acknowledge, AcknowledgeError, Mailboxes, Overflow, Slot};

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

#[test]
fn a_noisy_shard_stops_no_other() {
    let boxes = new(100, Overflow::Pause);
    let (noisy, quiet) = (add(&boxes, 0), add(&boxes, 1));
    for event in dispatches(0, 50) {
        boxes.push(noisy, event);
    }
    for event in dispatches(1, 2) {
        boxes.push(quiet, event);
    }
    let order: Vec<_> = (0..5).map(|_| taken(&boxes)).collect();
    assert_eq!(order, [(0, 1), (1, 1), (0, 2), (1, 2), (0, 3)]);
}

#[test]
fn full_is_an_answer_and_half_full_is_room() {
    let boxes = new(4, Overflow::Pause);
    let slot = add(&boxes, 0);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let pauses: Vec<_> = dispatches(0, 6)
        .into_iter()
        .map(|event| boxes.push(slot, event))
        .collect();
    assert_eq!(pauses, [false, false, false, true, true, true]);
    assert!(!has_room(&boxes, slot, &waker));
    for seq in 1..=3 {
        assert_eq!(taken(&boxes), (0, seq), "what came when full is kept");
        assert_eq!(bell.rung(), 0);
    }
    taken(&boxes);
    assert_eq!(bell.rung(), 1, "two of four are left");
    assert!(has_room(&boxes, slot, &waker));
}

#[test]
fn bytes_count_too() {
    let boxes = Mailboxes::new(100, 600, Overflow::Pause, Acknowledge::OnNext);
    let slot = add(&boxes, 0);
    let pauses: Vec<_> = dispatches(0, 3)
        .into_iter()
        .map(|event| boxes.push(slot, event))
        .collect();
    assert_eq!(pauses, [false, false, true]);
    taken(&boxes);
    assert!(!has_room(&boxes, slot, Waker::noop()));
    taken(&boxes);
    assert!(has_room(&boxes, slot, Waker::noop()));
}

#[test]
fn dropping_counts_exactly_and_keeps_what_is_no_dispatch() {
    let boxes = new(2, Overflow::DropNewest);
    let slot = add(&boxes, 0);
    for event in dispatches(0, 5) {
        assert!(!boxes.push(slot, event), "reading never pauses");
    }
    assert_eq!(boxes.dropped(), 3);
    boxes.push(slot, Event::ReShard { from: 1, to: None });
    boxes.push(slot, heartbeat());
    assert_eq!(boxes.dropped(), 3);
    assert_eq!((taken(&boxes), taken(&boxes)), ((0, 1), (0, 2)));
    assert!(matches!(take(&boxes), Some(Event::ReShard { .. })));
    assert!(is_empty(&boxes), "an old heartbeat is of no interest");
}

#[test]
fn asking_for_more_says_that_the_last_is_handled() {
    let boxes = new(10, Overflow::Pause);
    let (slot, other) = (add(&boxes, 0), add(&boxes, 1));
    for event in dispatches(0, 2) {
        boxes.push(slot, event);
    }
    let handled = || boxes.handled(slot).map(|id| id.seq);
    taken(&boxes);
    assert_eq!(handled(), None, "still in the consumer's hands");
    boxes.push(other, heartbeat());
    taken(&boxes);
    assert_eq!(handled(), Some(1));
    take(&boxes);
    assert_eq!(handled(), Some(2), "whatever came next");
    assert!(is_empty(&boxes));
    assert_eq!(boxes.handled(other), None);
}

#[test]
fn asking_in_vain_says_so_too() {
    let boxes = new(10, Overflow::Pause);
    let slot = add(&boxes, 0);
    for event in dispatches(0, 1) {
        boxes.push(slot, event);
    }
    taken(&boxes);
    assert!(is_empty(&boxes));
    assert_eq!(boxes.handled(slot).map(|id| id.seq), Some(1));
}

#[test]
fn withdrawn_dispatches_are_not_delivered() {
    let boxes = new(4, Overflow::Pause);
    let (slot, other) = (add(&boxes, 0), add(&boxes, 1));
    let mut events = dispatches(0, 5).into_iter();
    let late = events.next_back().unwrap();
    for event in events {
        boxes.push(slot, event);
    }
    boxes.push(slot, Event::ReShard { from: 1, to: None });
    for event in dispatches(1, 1) {
        boxes.push(other, event);
    }
    assert_eq!(taken(&boxes), (0, 1));
    assert!(!has_room(&boxes, slot, Waker::noop()));
    let given = boxes.withdraw(slot).map(|id| id.seq);
    assert_eq!(given, Some(1), "what is in hand is given");
    assert!(has_room(&boxes, slot, Waker::noop()));
    boxes.push(slot, late);
    assert_eq!(taken(&boxes), (1, 1), "the other shard's stay");
    assert!(matches!(take(&boxes), Some(Event::ReShard { .. })));
    assert!(is_empty(&boxes));
    assert_eq!(boxes.withdraw(slot).map(|id| id.seq), Some(1));
    assert_eq!(boxes.withdraw(add(&boxes, 1)), None);
}

/// Sequence numbers of the dispatches that can be taken; 0 for all else.
fn rest(boxes: &Mailboxes) -> Vec<u64> {
    let mut rest = Vec::new();
    while let Poll::Ready(Some(event)) = boxes.poll_next(&mut Context::from_waker(Waker::noop())) {
        rest.push(match event {
            Event::Dispatch(dispatch) => dispatch.id().seq,
            _ => 0,
        });
    }
    rest
}

#[test]
fn what_is_left_of_a_lost_session_is_not_withdrawn() {
    let boxes = new(100, Overflow::Pause);
    let slot = add(&boxes, 0);
    for event in sessions(0, &[3, 2]) {
        boxes.push(slot, event);
    }
    assert_eq!(taken(&boxes), (0, 1));
    assert_eq!(
        boxes.withdraw(slot).map(|id| (id.session, id.seq)),
        Some((1, 1))
    );
    boxes.retire(slot);
    assert_eq!(rest(&boxes), [2, 3, 0]);
}

#[test]
fn what_was_withdrawn_comes_back_when_its_session_is_lost() {
    for (overflow, wanted) in [
        (Overflow::Pause, &[2, 3, 4, 5, 0][..]),
        (Overflow::DropNewest, &[2, 3, 4, 0]),
    ] {
        let boxes = new(3, overflow);
        let slot = add(&boxes, 0);
        let mut events = sessions(0, &[5, 1]).into_iter();
        let mut push = || boxes.push(slot, events.next().unwrap());
        push();
        push();
        assert_eq!(taken(&boxes), (0, 1));
        boxes.withdraw(slot);
        assert!(!push(), "two of three");
        assert!(!push(), "three of three");
        assert_eq!(push(), overflow == Overflow::Pause);
        assert!(is_empty(&boxes));
        assert_eq!(boxes.dropped(), 0, "whoever resumes gets it");
        push();
        assert_eq!(rest(&boxes), wanted);
        assert_eq!(boxes.dropped(), u64::from(overflow == Overflow::DropNewest));
        push();
        assert!(is_empty(&boxes), "the next session can be resumed");
    }
}

#[test]
fn the_end_comes_once_and_last_and_always_fits() {
    let boxes = new(1, Overflow::Pause);
    let slot = add(&boxes, 0);
    for event in dispatches(0, 2) {
        boxes.push(slot, event);
    }
    boxes.push_bot(Event::ConnectedAllShards { shards: 1 });
    boxes.push_bot(stopped());
    assert_eq!((taken(&boxes), taken(&boxes)), ((0, 1), (0, 2)));
    let connected = take(&boxes);
    assert!(matches!(connected, Some(Event::ConnectedAllShards { .. })));
    assert!(matches!(take(&boxes), Some(Event::Stopped { .. })));
    assert!(take(&boxes).is_none());
    boxes.push(slot, heartbeat());
    boxes.push_bot(Event::ConnectedAllShards { shards: 1 });
    assert!(take(&boxes).is_none(), "nothing comes after the end");
}

#[test]
fn events_of_the_bot_keep_their_place() {
    let boxes = new(10, Overflow::Pause);
    let slot = add(&boxes, 0);
    let mut events = dispatches(0, 2).into_iter();
    boxes.push(slot, events.next().unwrap());
    boxes.push_bot(Event::ConnectedAllShards { shards: 1 });
    boxes.push(slot, events.next().unwrap());
    assert_eq!(taken(&boxes), (0, 1));
    let connected = take(&boxes);
    assert!(matches!(connected, Some(Event::ConnectedAllShards { .. })));
    assert_eq!(taken(&boxes), (0, 2));
}

#[test]
fn a_waiting_consumer_is_woken_and_an_abandoned_producer_too() {
    let boxes = new(1, Overflow::Pause);
    let slot = add(&boxes, 0);
    let (consumer, producer) = (Arc::new(Bell::default()), Arc::new(Bell::default()));
    let waker = Waker::from(Arc::clone(&consumer));
    let next = boxes.poll_next(&mut Context::from_waker(&waker));
    assert!(next.is_pending());
    for event in dispatches(0, 1) {
        boxes.push(slot, event);
    }
    assert_eq!(consumer.rung(), 0, "once a turn is enough");
    boxes.announce();
    boxes.announce();
    assert_eq!(consumer.rung(), 1);
    let waker = Waker::from(Arc::clone(&producer));
    assert!(!has_room(&boxes, slot, &waker));
    boxes.abandon();
    assert_eq!(producer.rung(), 1);
    for event in dispatches(0, 3) {
        assert!(!boxes.push(slot, event), "thrown away");
    }
    assert!(is_empty(&boxes));
}

fn id(seq: u64) -> EventId {
    EventId {
        shard: ShardId::new(0, 3).unwrap(),
        session: 1,
        seq,
    }
}

#[test]
fn by_hand_only_what_is_acknowledged_is_handled() {
    let boxes = Mailboxes::new(10, 1 << 20, Overflow::Pause, Acknowledge::Manual);
    let slot = add(&boxes, 0);
    for event in dispatches(0, 4) {
        boxes.push(slot, event);
    }
    for _ in 0..3 {
        taken(&boxes);
    }
    assert_eq!(boxes.handled(slot), None);
    assert_eq!(boxes.acknowledge(id(2)), Ok(()));
    assert_eq!(boxes.handled(slot), Some(id(2)));
    assert_eq!(boxes.acknowledge(id(1)), Ok(()), "an older one is harmless");
    assert_eq!(boxes.handled(slot), Some(id(2)));
    let ahead = boxes.acknowledge(id(4));
    assert_eq!(ahead, Err(AcknowledgeError::NotGiven(id(4))));
    let elsewhere = EventId {
        shard: ShardId::new(1, 3).unwrap(),
        ..id(1)
    };
    let gone = boxes.acknowledge(elsewhere);
    assert_eq!(gone, Ok(()), "of a shard that is no longer here");
    assert_eq!(boxes.handled(slot), Some(id(2)));
}

#[test]
fn by_hand_a_withdrawn_shard_waits_for_what_was_given() {
    let boxes = Mailboxes::new(10, 1 << 20, Overflow::Pause, Acknowledge::Manual);
    let slot = add(&boxes, 0);
    for event in dispatches(0, 4) {
        boxes.push(slot, event);
    }
    taken(&boxes);
    taken(&boxes);
    boxes.withdraw(slot);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let settled = || boxes.poll_settled(slot, &mut Context::from_waker(&waker));
    assert_eq!(settled(), Poll::Pending);
    boxes.acknowledge(id(1)).unwrap();
    assert_eq!((bell.rung(), settled()), (0, Poll::Pending));
    boxes.acknowledge(id(2)).unwrap();
    assert_eq!((bell.rung(), settled()), (1, Poll::Ready(Some(id(2)))));
}

#[test]
fn nobody_is_waited_for_who_is_gone() {
    let boxes = Mailboxes::new(10, 1 << 20, Overflow::Pause, Acknowledge::Manual);
    let slot = add(&boxes, 0);
    for event in dispatches(0, 2) {
        boxes.push(slot, event);
    }
    taken(&boxes);
    boxes.withdraw(slot);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let settled = || boxes.poll_settled(slot, &mut Context::from_waker(&waker));
    assert_eq!(settled(), Poll::Pending);
    boxes.abandon();
    assert_eq!((bell.rung(), settled()), (1, Poll::Ready(None)));
}

#[test]
fn the_box_of_a_shard_that_is_gone_goes_with_its_last_event() {
    let boxes = new(10, Overflow::Pause);
    let slot = add(&boxes, 0);
    for event in dispatches(0, 2) {
        boxes.push(slot, event);
    }
    boxes.retire(slot);
    assert_eq!(taken(&boxes), (0, 1));
    let other = add(&boxes, 1);
    assert_ne!(
        format!("{slot:?}"),
        format!("{other:?}"),
        "one event is left"
    );
    assert_eq!(taken(&boxes), (0, 2));
    let third = add(&boxes, 0);
    assert_eq!(
        format!("{slot:?}"),
        format!("{third:?}"),
        "its place is used again"
    );
    assert_eq!(boxes.handled(third), None);
    assert!(is_empty(&boxes));
}

/// What a swap delivers of two layouts that have these events; `N` names the body.
fn swapped(old: &[u64], new: &[u64], new_later: &[u64]) -> Vec<(u32, u64)> {
    let boxes = new_boxes();
    let (before, after) = (add(&boxes, 0), boxes.add_muted(ShardId::new(1, 3).unwrap()));
    boxes.prepare_swap();
    let bodies = |number, seqs: &[u64]| {
        let all = dispatches(number, 20);
        let wanted: Vec<_> = all
            .into_iter()
            .filter(
                |event| matches!(event, Event::Dispatch(event) if seqs.contains(&event.id().seq)),
            )
            .collect();
        assert_eq!(wanted.len(), seqs.len());
        wanted
    };
    for event in bodies(0, old) {
        boxes.push(before, event);
    }
    for event in bodies(1, new) {
        boxes.push(after, event);
    }
    boxes.swap();
    for event in bodies(1, new_later) {
        boxes.push(after, event);
    }
    // Heard no longer.
    for event in bodies(0, &[19, 20]) {
        boxes.push(before, event);
    }
    let mut out = Vec::new();
    while let Poll::Ready(event) = boxes.poll_next(&mut Context::from_waker(Waker::noop())) {
        match event {
            Some(Event::Dispatch(event)) => out.push((event.id().shard.number(), event.id().seq)),
            other => panic!("{other:?}"),
        }
    }
    out
}

fn new_boxes() -> Mailboxes {
    new(100, Overflow::Pause)
}

#[test]
fn a_swap_has_neither_gap_nor_double() {
    // The new layout is ahead: what the old one has not had comes from the new one.
    assert_eq!(
        swapped(&[2, 3], &[2, 3, 4, 5], &[6]),
        [(0, 2), (1, 4), (0, 3), (1, 5), (1, 6)]
    );
    // The new layout is behind: what the old one has had already is left out when it comes.
    assert_eq!(
        swapped(&[2, 3, 4], &[2], &[3, 4, 5]),
        [(0, 2), (1, 5), (0, 3), (0, 4)]
    );
    // READY of the new layout is no news.
    assert_eq!(swapped(&[2], &[1, 2], &[]), [(0, 2)]);
}

#[test]
fn an_abandoned_swap_changes_nothing() {
    let boxes = new_boxes();
    let (before, after) = (add(&boxes, 0), boxes.add_muted(ShardId::new(1, 3).unwrap()));
    boxes.prepare_swap();
    for event in dispatches(1, 3) {
        boxes.push(after, event);
    }
    boxes.abandon_swap();
    boxes.retire(after);
    boxes.swap();
    for event in dispatches(0, 2) {
        boxes.push(before, event);
    }
    assert_eq!((taken(&boxes), taken(&boxes)), ((0, 1), (0, 2)));
    assert!(is_empty(&boxes));
}

/// READY and one event whose body has so many bytes.
fn large(number: u32, bytes: usize) -> Vec<Event<'static>> {
    let body = "x".repeat(bytes);
    let mut events = played(number, &[1], Some(&body));
    events.retain(|event| matches!(event, Event::Dispatch(_)));
    assert_eq!(events.len(), 2);
    events
}

#[test]
fn all_together_hold_only_so_much_and_who_has_nothing_there_is_not_held_up() {
    let megabyte = 1024 * 1024;
    let boxes = Mailboxes::new(100, 1 << 40, Overflow::Pause, Acknowledge::OnNext);
    let slots: Vec<Slot> = (0..3).map(|number| add(&boxes, number)).collect();
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let push = |number: usize, bytes| -> Vec<bool> {
        let events = large(number as u32, bytes).into_iter();
        events
            .map(|event| boxes.push(slots[number], event))
            .collect()
    };
    assert_eq!(push(0, 40 * megabyte), [false, false]);
    assert_eq!(push(1, 23 * megabyte), [false, false], "63 MB");
    assert!(has_room(&boxes, slots[2], &waker));
    assert_eq!(push(2, megabyte), [false, true], "64 MB and a little");
    assert!(has_room(&boxes, slots[0], &waker), "until it brings more");
    assert_eq!(push(0, 10), [true, true]);
    assert!(!has_room(&boxes, slots[0], &waker) && !has_room(&boxes, slots[2], &waker));
    // Their READYs, in turn; then what is large.
    for _ in 0..3 {
        taken(&boxes);
    }
    assert_eq!(bell.rung(), 0);
    assert_eq!(taken(&boxes), (0, 2));
    assert_eq!(bell.rung(), 2, "24 MB are left: both are told");
    assert!(has_room(&boxes, slots[0], &waker) && has_room(&boxes, slots[2], &waker));
}

#[test]
fn who_has_nothing_there_any_more_reads_on_whatever_the_others_hold() {
    let megabyte = 1024 * 1024;
    let boxes = Mailboxes::new(100, 1 << 40, Overflow::Pause, Acknowledge::OnNext);
    let (noisy, quiet) = (add(&boxes, 0), add(&boxes, 1));
    for _ in 0..2 {
        for event in large(0, 40 * megabyte) {
            boxes.push(noisy, event);
        }
    }
    for event in large(1, 10) {
        assert!(boxes.push(quiet, event), "80 MB");
    }
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    assert!(!has_room(&boxes, quiet, &waker));
    let order: Vec<_> = (0..4).map(|_| taken(&boxes)).collect();
    assert_eq!(order, [(0, 1), (1, 1), (0, 2), (1, 2)]);
    assert_eq!(bell.rung(), 1, "40 MB are left, none of them its own");
    // Nobody takes what is withdrawn: it could never be what another waits for.
    boxes.withdraw(noisy);
    assert!(is_empty(&boxes));
    assert!(has_room(&boxes, quiet, &waker));
}

/// A waker may run its task on the spot.
struct OnTheSpot(Mailboxes, Slot, AtomicUsize);

impl Wake for OnTheSpot {
    fn wake(self: Arc<Self>) {
        let _ = self.0.handled(self.1);
        has_room(&self.0, self.1, Waker::noop());
        self.2.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn whoever_is_woken_may_ask_at_once() {
    for limit in [4, 256] {
        let boxes = new(limit, Overflow::Pause);
        let slot = add(&boxes, 0);
        let spot = Arc::new(OnTheSpot(boxes.clone(), slot, AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&spot));
        for event in dispatches(0, limit as u64) {
            boxes.push(slot, event);
        }
        assert!(!has_room(&boxes, slot, &waker));
        for _ in 0..limit {
            taken(&boxes);
        }
        assert_eq!(spot.2.load(Ordering::SeqCst), 1);
        assert!(
            boxes
                .poll_next(&mut Context::from_waker(&waker))
                .is_pending()
        );
        boxes.announce();
        boxes.push_bot(stopped());
        assert_eq!(spot.2.load(Ordering::SeqCst), 2);
        assert!(boxes.poll_next(&mut Context::from_waker(&waker)).is_ready());
        boxes.abandon();
    }
}

/// What an event is, to be compared.
fn shown(event: &Event<'_>) -> String {
    match event {
        Event::Dispatch(event) => format!("{:?}", event.id()),
        other => format!("{other:?}"),
    }
}

/// A number below `below`, of a sequence that is the same each time.
fn draw(state: &mut u64, below: u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % below
}

/// With large limits the consumer takes several events at a time, with small ones each alone. Nobody may be
/// able to tell.
#[test]
fn what_the_consumer_has_at_hand_is_still_in_its_mailbox_for_all_others() {
    let all = sessions(0, &[400, 400, 400]);
    assert_eq!(all.len(), 1202);
    for seed in 0..200 {
        let mut state = seed;
        let limits = [4096, 63];
        let boxes = limits.map(|limit| new(limit, Overflow::Pause));
        let slots = boxes.each_ref().map(|boxes| add(boxes, 0));
        let mut streams = [(); 2].map(|()| sessions(0, &[400, 400, 400]).into_iter());
        let mut waiting = 0_u32;
        for step in 0..400 {
            let op = draw(&mut state, 40);
            let more = draw(&mut state, 20);
            let mut results = Vec::new();
            for ((boxes, slot), stream) in boxes.iter().zip(slots).zip(&mut streams) {
                results.push(match op {
                    0..12 if waiting < 40 => {
                        let some = stream.by_ref().take(more as usize);
                        some.for_each(|event| _ = boxes.push(slot, event));
                        String::new()
                    }
                    0..30 => match boxes.poll_next(&mut Context::from_waker(Waker::noop())) {
                        Poll::Ready(Some(event)) => shown(&event),
                        other => format!("{other:?}"),
                    },
                    30..33 => {
                        boxes.push_bot(Event::ConnectedAllShards { shards: step });
                        String::new()
                    }
                    33..37 => format!("{:?}", boxes.handled(slot)),
                    37 => format!("{}", has_room(boxes, slot, Waker::noop())),
                    38 if more == 0 => format!("{:?}", boxes.withdraw(slot)),
                    39 if more == 0 && step > 300 => {
                        boxes.retire(slot);
                        String::new()
                    }
                    _ => {
                        let settled =
                            boxes.poll_settled(slot, &mut Context::from_waker(Waker::noop()));
                        format!("{settled:?}")
                    }
                });
            }
            assert_eq!(results[0], results[1], "seed {seed}, step {step}, op {op}");
            match op {
                0..12 if waiting < 40 => waiting += more as u32,
                0..30 if results[0].contains("ession") => waiting -= 1,
                _ => {}
            }
        }
    }
}

#[test]
fn no_shard_waits_for_more_than_a_few_events_of_others() {
    let boxes = new(4096, Overflow::Pause);
    let slots = [0, 1, 2].map(|number| add(&boxes, number));
    for (number, slot) in (0..2).zip(slots) {
        for event in dispatches(number, 300) {
            boxes.push(slot, event);
        }
    }
    for event in dispatches(2, 3) {
        // Wherever the others are with theirs.
        for _ in 0..29 {
            assert_ne!(taken(&boxes).0, 2);
        }
        boxes.push(slots[2], event);
        let others = (0..).take_while(|_| taken(&boxes).0 != 2).count();
        assert!(others <= 16, "{others}");
    }
}
