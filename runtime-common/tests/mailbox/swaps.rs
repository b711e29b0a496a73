//! Two layouts, one behind the other.

use super::*;

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
        [(0, 2), (0, 3), (1, 4), (1, 5), (1, 6)]
    );
    // The new layout is behind: what the old one has had already is left out when it comes.
    assert_eq!(
        swapped(&[2, 3, 4], &[2], &[3, 4, 5]),
        [(0, 2), (0, 3), (0, 4), (1, 5)]
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

/// Two layouts: the old one has these events in its mailbox, the new one has had its own before and after it took over.
struct Both {
    boxes: Mailboxes,
    old: Slot,
    new: Slot,
}

impl Both {
    fn new(acknowledge: Acknowledge, old: u64, before: u64, after: u64) -> Self {
        let boxes = Mailboxes::new(100, 1 << 20, Overflow::Pause, acknowledge);
        let (slot, muted) = (add(&boxes, 0), boxes.add_muted(ShardId::new(1, 3).unwrap()));
        boxes.prepare_swap();
        for event in dispatches(0, old) {
            boxes.push(slot, event);
        }
        let mut news = dispatches(1, before + after).into_iter();
        for event in news.by_ref().take(before as usize) {
            boxes.push(muted, event);
        }
        boxes.swap();
        for event in news {
            boxes.push(muted, event);
        }
        boxes.retire(slot);
        Self {
            boxes,
            old: slot,
            new: muted,
        }
    }

    /// What of the new layout's session is done with, for whoever resumes it after a crash.
    fn handled(&self) -> Option<u64> {
        self.boxes.handled(self.new).map(|id| id.seq)
    }

    fn settled(&self) -> Poll<Option<u64>> {
        let settled = self
            .boxes
            .poll_settled(self.new, &mut Context::from_waker(Waker::noop()));
        settled.map(|id| id.map(|id| id.seq))
    }
}

#[test]
fn a_crash_after_a_swap_loses_nothing_that_only_the_old_layout_has() {
    // Sequences 2 to 4 of the new one are what the old one has delivered.
    let both = Both::new(Acknowledge::OnNext, 4, 2, 4);
    for seq in 1..=4 {
        assert_eq!(taken(&both.boxes), (0, seq));
        assert_eq!(both.handled(), None, "{seq} is in the consumer's hands");
    }
    assert_eq!(taken(&both.boxes), (1, 5));
    assert!(both.handled() <= Some(4));
    assert_eq!(taken(&both.boxes), (1, 6));
    assert_eq!(both.handled(), Some(5));
    assert!(is_empty(&both.boxes));
    assert_eq!(both.handled(), Some(6));
}

#[test]
fn what_the_old_layout_has_delivered_does_not_come_again_after_a_crash() {
    // All of it before the swap, some of it before and some after, and nothing that counts.
    for (old, before, after) in [(6, 6, 0), (6, 3, 3), (6, 0, 6), (1, 1, 0)] {
        let both = Both::new(Acknowledge::OnNext, old, before, after);
        for seq in 1..=old {
            assert_eq!(taken(&both.boxes), (0, seq));
            assert_eq!(both.handled(), None);
        }
        assert!(is_empty(&both.boxes));
        let all = Some(before + after);
        assert_eq!(both.handled(), all, "{old}, {before}, {after}");
        assert_eq!(both.settled(), Poll::Ready(all));
        assert_eq!(both.boxes.withdraw(both.new).map(|id| id.seq), all);
    }
}

#[test]
fn by_hand_the_new_layout_waits_for_what_the_old_one_has_given() {
    let id = |number, seq| EventId {
        shard: ShardId::new(number, 3).unwrap(),
        session: 1,
        seq,
    };
    let both = Both::new(Acknowledge::Manual, 4, 2, 4);
    for seq in 1..=4 {
        assert_eq!(taken(&both.boxes), (0, seq));
    }
    assert_eq!(taken(&both.boxes), (1, 5));
    both.boxes.acknowledge(id(1, 5)).unwrap();
    assert_eq!((both.handled(), both.settled()), (None, Poll::Pending));
    both.boxes.acknowledge(id(0, 3)).unwrap();
    assert_eq!((both.handled(), both.settled()), (None, Poll::Pending));
    assert_eq!(both.boxes.handled(both.old), Some(id(0, 3)));
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let settled = both
        .boxes
        .poll_settled(both.new, &mut Context::from_waker(&waker));
    assert!(settled.is_pending());
    both.boxes.acknowledge(id(0, 4)).unwrap();
    assert_eq!(bell.rung(), 1);
    assert_eq!(
        (both.handled(), both.settled()),
        (Some(5), Poll::Ready(Some(5)))
    );
    // Its box is gone.
    assert_eq!(both.boxes.handled(both.old), None);
    assert_eq!(both.boxes.acknowledge(id(0, 9)), Ok(()));
}

#[test]
fn who_resumes_after_the_consumer_is_gone_gets_what_it_has_not_had_of_the_old_layout() {
    let both = Both::new(Acknowledge::OnNext, 4, 4, 0);
    taken(&both.boxes);
    both.boxes.abandon();
    assert_eq!(both.boxes.withdraw(both.new), None);
    assert_eq!(both.settled(), Poll::Ready(None));
}
