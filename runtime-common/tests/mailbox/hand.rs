//! What the consumer has at hand.

use super::*;

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
pub(crate) fn shown(event: &Event<'_>) -> String {
    match event {
        Event::Dispatch(event) => format!("{:?}", event.id()),
        other => format!("{other:?}"),
    }
}

/// A number below `below`, of a sequence that is the same each time.
pub(crate) fn draw(state: &mut u64, below: u64) -> u64 {
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
