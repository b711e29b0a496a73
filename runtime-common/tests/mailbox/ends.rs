//! The end, those that are gone, and what belongs to no shard.

use super::*;

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
