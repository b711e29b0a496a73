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
