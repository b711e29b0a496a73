//! What counts as handled, and what becomes of the rest.

use super::*;

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
