//! What a mailbox holds, what all hold, and whose turn it is.

use super::*;

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

#[test]
fn what_was_taken_at_once_while_nobody_else_waited_is_given_back_when_somebody_does() {
    let boxes = new(4096, Overflow::Pause);
    let [noisy, quiet] = [0, 1].map(|number| add(&boxes, number));
    for event in dispatches(0, 120) {
        boxes.push(noisy, event);
    }
    assert_eq!(taken(&boxes), (0, 1));
    let mut events = dispatches(1, 2).into_iter();
    boxes.push(quiet, events.next().unwrap());
    let order: Vec<_> = (0..20).map(|_| taken(&boxes)).collect();
    let others = order.iter().take_while(|(number, _)| *number == 0);
    assert!(others.count() <= 16, "{order:?}");
    let mut taken_of_noisy = 1 + order.iter().filter(|(number, _)| *number == 0).count() as u64;
    // What comes of the bot follows all that came before it.
    boxes.push_bot(Event::ReShard { from: 1, to: None });
    boxes.push(quiet, events.next().unwrap());
    boxes.push_bot(stopped());
    let mut of_bot = 0;
    loop {
        match take(&boxes).unwrap() {
            Event::Dispatch(event) if event.id().shard.number() == 0 => {
                taken_of_noisy += 1;
                assert_eq!((event.id().seq, of_bot), (taken_of_noisy, 0));
            }
            Event::Dispatch(event) => assert_eq!(event.id().seq, 2),
            Event::ReShard { .. } => of_bot += 1,
            event => break assert!(matches!(event, Event::Stopped { .. })),
        }
    }
    assert_eq!((taken_of_noisy, of_bot), (120, 1));
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
