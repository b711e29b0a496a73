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
        Self {
            boxes,
            old: slot,
            new: muted,
        }
    }

    /// The old shard has ended, as it does soon.
    fn old_is_gone(self) -> Self {
        self.boxes.retire(self.old);
        self
    }

    fn withdrawn(&self) -> Option<u64> {
        self.boxes.withdraw(self.new).map(|id| id.seq)
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
    let both = Both::new(Acknowledge::OnNext, 4, 2, 4).old_is_gone();
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
        let both = Both::new(Acknowledge::OnNext, old, before, after).old_is_gone();
        for seq in 1..=old {
            assert_eq!(taken(&both.boxes), (0, seq));
            assert_eq!(both.handled(), None);
        }
        assert!(is_empty(&both.boxes));
        let all = Some(before + after);
        assert_eq!(both.handled(), all, "{old}, {before}, {after}");
        assert_eq!(both.settled(), Poll::Ready(all));
        assert_eq!(both.withdrawn(), all);
    }
}

#[test]
fn by_hand_the_new_layout_waits_for_what_the_old_one_has_given() {
    let id = |number, seq| EventId {
        shard: ShardId::new(number, 3).unwrap(),
        session: 1,
        seq,
    };
    let both = Both::new(Acknowledge::Manual, 4, 2, 4).old_is_gone();
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
fn who_resumes_gets_what_the_consumer_has_not_had_of_the_old_layout() {
    type Ends = [fn(&Both) -> Option<u64>; 2];
    let settled = |both: &Both| match both.settled() {
        Poll::Ready(seq) => seq,
        Poll::Pending => panic!("nothing has to be waited for"),
    };
    let ends: [Ends; 2] = [[Both::withdrawn, settled], [settled, Both::withdrawn]];
    for first in [None, Some(())] {
        for [one, other] in ends {
            let both = Both::new(Acknowledge::OnNext, 4, 4, 0).old_is_gone();
            taken(&both.boxes);
            if first.is_some() {
                both.boxes.abandon();
            }
            assert_eq!((one(&both), both.handled()), (None, None));
            both.boxes.abandon();
            assert_eq!(other(&both), None);
        }
    }
}

#[test]
fn by_hand_too() {
    let both = Both::new(Acknowledge::Manual, 4, 2, 4).old_is_gone();
    for _ in 1..=5 {
        taken(&both.boxes);
    }
    let last = EventId {
        shard: ShardId::new(1, 3).unwrap(),
        session: 1,
        seq: 5,
    };
    both.boxes.acknowledge(last).unwrap();
    assert_eq!((both.settled(), both.handled()), (Poll::Pending, None));
    both.boxes.abandon();
    for _ in 0..2 {
        assert_eq!((both.settled(), both.handled()), (Poll::Ready(None), None));
    }
    assert_eq!(both.withdrawn(), None);
}

#[test]
fn by_hand_a_shard_that_is_withdrawn_goes_on_after_what_it_left_out() {
    let both = Both::new(Acknowledge::Manual, 4, 4, 0).old_is_gone();
    for seq in 1..=4 {
        assert_eq!(taken(&both.boxes), (0, seq));
    }
    assert_eq!((both.withdrawn(), both.settled()), (None, Poll::Pending));
    let last = EventId {
        shard: ShardId::new(0, 3).unwrap(),
        session: 1,
        seq: 4,
    };
    both.boxes.acknowledge(last).unwrap();
    assert_eq!(both.settled(), Poll::Ready(Some(4)));
    // And on the fly: the last one is in the consumer's hands while it waits for the end.
    let both = Both::new(Acknowledge::OnNext, 4, 4, 0).old_is_gone();
    for seq in 1..=4 {
        assert_eq!(taken(&both.boxes), (0, seq));
    }
    assert_eq!(
        (both.handled(), both.settled()),
        (None, Poll::Ready(Some(4)))
    );
    both.boxes.abandon();
    assert_eq!(both.settled(), Poll::Ready(Some(4)));
}

/// What is left out behind a dispatch that waits says nothing of that.
#[test]
fn what_is_left_out_behind_what_waits_does_not_count() {
    for acknowledge in [Acknowledge::OnNext, Acknowledge::Manual] {
        for is_at_hand in [false, true] {
            for abandons in [false, true] {
                let boxes = Mailboxes::new(4096, 1 << 20, Overflow::Pause, acknowledge);
                let old = add(&boxes, 0);
                let new = boxes.add_muted(ShardId::new(1, 3).unwrap());
                boxes.prepare_swap();
                let mut olds = dispatches(0, 5);
                // The old one has delivered 1, 2 and 5 of what the new one will have.
                for seq in [5, 2, 1] {
                    boxes.push(old, olds.remove(seq - 1));
                }
                boxes.swap();
                for _ in 0..3 {
                    assert_eq!(taken(&boxes).0, 0);
                }
                if acknowledge == Acknowledge::Manual {
                    let shard = ShardId::new(0, 3).unwrap();
                    let id = |seq| EventId {
                        shard,
                        session: 1,
                        seq,
                    };
                    boxes.acknowledge(id(1)).unwrap();
                }
                assert!(is_empty(&boxes));
                boxes.retire(old);
                for event in dispatches(1, 4) {
                    boxes.push(new, event);
                }
                let mut wanted = 2;
                if is_at_hand {
                    assert_eq!(taken(&boxes), (1, 3));
                    wanted = 3;
                }
                boxes.push(new, dispatches(1, 5).remove(4));
                if abandons {
                    boxes.abandon();
                }
                let what = format!("{acknowledge:?} {is_at_hand} {abandons}");
                let handled = boxes.handled(new).map(|id| id.seq);
                assert!(
                    handled <= Some(wanted) && (is_at_hand || handled == Some(2)),
                    "{what}"
                );
                let withdrawn = boxes.withdraw(new).map(|id| id.seq);
                assert_eq!(withdrawn, Some(wanted), "{what}");
                let settled = boxes.poll_settled(new, &mut Context::from_waker(Waker::noop()));
                if let Poll::Ready(id) = settled {
                    assert!(id.map(|id| id.seq) <= Some(wanted), "{what}");
                }
            }
        }
    }
}

#[test]
fn what_is_at_hand_of_the_old_layout_comes_first_too() {
    let boxes = new(8192, Overflow::Pause);
    let (old, new) = (add(&boxes, 0), boxes.add_muted(ShardId::new(1, 3).unwrap()));
    // The new one has something in its mailbox before the old one has.
    boxes.push(new, heartbeat());
    boxes.prepare_swap();
    for event in dispatches(0, 40) {
        boxes.push(old, event);
    }
    boxes.swap();
    assert_eq!(taken(&boxes), (0, 1));
    assert!(matches!(
        take_after(&boxes, 39),
        Some(Event::Heartbeat { .. })
    ));
    // All of the old one is at hand, much or little, when its box gets something else.
    for count in [10, 60] {
        let boxes = Mailboxes::new(8192, 1 << 30, Overflow::Pause, Acknowledge::OnNext);
        let (old, new) = (add(&boxes, 0), boxes.add_muted(ShardId::new(1, 3).unwrap()));
        boxes.prepare_swap();
        for event in dispatches(0, count) {
            boxes.push(old, event);
        }
        boxes.swap();
        assert_eq!(taken(&boxes), (0, 1));
        for event in dispatches(1, count + 3).into_iter().skip(count as usize) {
            boxes.push(new, event);
        }
        boxes.push(old, heartbeat());
        assert_eq!(boxes.handled(new), None);
        for seq in 2..=count {
            assert_eq!(taken(&boxes), (0, seq));
        }
    }
}

/// Takes so many dispatches, then one more event.
fn take_after(boxes: &Mailboxes, dispatches: usize) -> Option<Event<'static>> {
    for _ in 0..dispatches {
        taken(boxes);
    }
    take(boxes)
}

#[test]
fn a_mailbox_may_be_as_large_as_a_number_can_say() {
    for acknowledge in [Acknowledge::OnNext, Acknowledge::Manual] {
        let boxes = Mailboxes::new(usize::MAX, usize::MAX, Overflow::Pause, acknowledge);
        let slot = add(&boxes, 0);
        boxes.prepare_swap();
        for event in dispatches(0, 3) {
            boxes.push(slot, event);
        }
        assert_eq!(taken(&boxes), (0, 1));
        boxes.swap();
        assert_eq!((taken(&boxes), taken(&boxes)), ((0, 2), (0, 3)));
    }
}

#[test]
fn what_a_layout_that_is_over_has_delivered_is_not_taken_back() {
    // It is told to keep its session while it ends.
    let both = Both::new(Acknowledge::OnNext, 4, 4, 0);
    assert_eq!(taken(&both.boxes), (0, 1));
    assert_eq!(both.boxes.withdraw(both.old).map(|id| id.seq), Some(1));
    let both = both.old_is_gone();
    for seq in 2..=4 {
        assert_eq!((taken(&both.boxes), both.handled()), ((0, seq), None));
    }
    assert!(is_empty(&both.boxes));
    assert_eq!(both.handled(), Some(4));
}

#[test]
fn by_hand_what_nobody_acknowledges_is_not_waited_for_for_ever() {
    // A mailbox holds a hundred, and the old one was full.
    let both = Both::new(Acknowledge::Manual, 100, 100, 150).old_is_gone();
    for seq in 1..=100 {
        assert_eq!((taken(&both.boxes), both.handled()), ((0, seq), None));
    }
    for seq in 101..=250 {
        assert_eq!(taken(&both.boxes), (1, seq));
        let id = EventId {
            shard: ShardId::new(1, 3).unwrap(),
            session: 1,
            seq,
        };
        both.boxes.acknowledge(id).unwrap();
        let is_over = seq >= 200;
        assert_eq!(both.handled(), is_over.then_some(seq), "{seq}");
    }
}

#[test]
fn other_events_of_both_layouts_change_nothing() {
    let both = Both::new(Acknowledge::OnNext, 4, 1, 0);
    both.boxes.push(both.new, heartbeat());
    for event in dispatches(1, 3).into_iter().skip(1) {
        both.boxes.push(both.new, event);
    }
    // Some of the old one's are at hand when it gets something else.
    assert_eq!(taken(&both.boxes), (0, 1));
    both.boxes.push(both.old, heartbeat());
    assert_eq!(both.handled(), None);
    let both = both.old_is_gone();
    for seq in 2..=4 {
        assert_eq!((taken(&both.boxes), both.handled()), ((0, seq), None));
    }
    for _ in 0..2 {
        assert!(matches!(take(&both.boxes), Some(Event::Heartbeat { .. })));
    }
    assert!(is_empty(&both.boxes));
    assert_eq!(both.handled(), Some(3));
    // Left out, and another behind it that waits.
    for event in dispatches(1, 6).into_iter().skip(3) {
        both.boxes.push(both.new, event);
    }
    assert_eq!(both.handled(), Some(4));
    both.boxes.push(both.new, heartbeat());
    assert_eq!(taken(&both.boxes), (1, 5));
    assert_eq!(both.withdrawn(), Some(5));
}

#[test]
fn one_swap_after_another_keeps_the_order() {
    let both = Both::new(Acknowledge::OnNext, 3, 3, 2);
    let third = both.boxes.add_muted(ShardId::new(2, 3).unwrap());
    both.boxes.prepare_swap();
    both.boxes.swap();
    for event in dispatches(2, 2) {
        both.boxes.push(third, event);
    }
    both.boxes.retire(both.new);
    both.boxes.retire(both.old);
    for of in [(0, 1), (0, 2), (0, 3), (1, 4), (1, 5)] {
        assert_eq!(taken(&both.boxes), of);
        assert_eq!(both.boxes.handled(third), None);
    }
    assert_eq!((taken(&both.boxes), taken(&both.boxes)), ((2, 1), (2, 2)));
    assert!(is_empty(&both.boxes));
    assert_eq!(both.boxes.handled(third).map(|id| id.seq), Some(2));
}
