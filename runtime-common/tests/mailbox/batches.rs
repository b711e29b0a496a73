//! Events that are put in all at once.

use shardwright_runtime::{Batch, Room};

use super::hand::{draw, shown};
use super::*;

fn poll(boxes: &Mailboxes) -> String {
    match boxes.poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(event)) => shown(&event),
        other => format!("{other:?}"),
    }
}

/// Puts events in, one by one or as a batch. True if reading shall pause.
fn put(
    boxes: &Mailboxes,
    slot: Slot,
    events: Vec<Event<'static>>,
    batch: Option<&mut Batch>,
) -> bool {
    let Some(batch) = batch else {
        return events
            .into_iter()
            .fold(false, |pause, event| pause | boxes.push(slot, event));
    };
    events.into_iter().for_each(|event| _ = batch.push(event));
    let room = boxes.push_all(slot, batch, true);
    assert!(batch.is_empty());
    room.pause
}

/// Nobody may be able to tell.
#[test]
fn a_batch_is_what_its_events_are_one_by_one() {
    let mut seen = [0; 4];
    for seed in 0..300 {
        let mut state = seed;
        let limit = [8, 63, 4096][seed as usize % 3];
        let overflow = [Overflow::Pause, Overflow::DropNewest][seed as usize / 3 % 2];
        let boxes = [(); 2].map(|()| new(limit, overflow));
        let slots = boxes
            .each_ref()
            .map(|boxes| [add(boxes, 0), boxes.add_muted(ShardId::new(1, 3).unwrap())]);
        let stream = |number| sessions(number, &[300, 300]).into_iter();
        let mut streams = [(); 2].map(|()| [stream(0), stream(1)]);
        let mut batches = [None, Some(Batch::default())];
        for step in 0..500 {
            let op = draw(&mut state, 40);
            let which = draw(&mut state, 2) as usize;
            let more = draw(&mut state, 20);
            let mut results = Vec::new();
            for (index, boxes) in boxes.iter().enumerate() {
                let slot = slots[index][which];
                let stream = &mut streams[index][which];
                let batch = batches[index].as_mut();
                results.push(match op {
                    0..10 => {
                        let mut events: Vec<_> = stream.take(more as usize).collect();
                        if more.is_multiple_of(7) {
                            events.push(heartbeat());
                        }
                        if events.is_empty() {
                            continue;
                        }
                        let pause = put(boxes, slot, events, batch);
                        // A batch says so too if it was full before.
                        let full = !has_room(boxes, slot, Waker::noop());
                        format!("{}", pause || full)
                    }
                    10..32 => poll(boxes),
                    32..34 => {
                        boxes.push_bot(Event::ConnectedAllShards { shards: step });
                        String::new()
                    }
                    34 => format!("{:?} {}", boxes.handled(slot), boxes.dropped()),
                    35 => format!("{}", has_room(boxes, slot, Waker::noop())),
                    36 if more == 0 => format!("{:?}", boxes.withdraw(slot)),
                    37 if more < 4 => {
                        boxes.prepare_swap();
                        String::new()
                    }
                    38 if more < 4 => {
                        boxes.swap();
                        String::new()
                    }
                    39 if more == 0 && step > 300 => {
                        boxes.retire(slot);
                        String::new()
                    }
                    _ => String::new(),
                });
            }
            let Ok([one_by_one, batch]) = <[String; 2]>::try_from(results) else {
                continue;
            };
            assert_eq!(one_by_one, batch, "seed {seed}, step {step}, op {op}");
            seen[0] += usize::from(batch.contains("ession"));
            seen[1] += usize::from(batch.contains("Connected"));
            seen[2] += usize::from(batch == "true");
            seen[3] += usize::from(op == 34 && boxes[0].dropped() > 0);
        }
    }
    assert!(seen.iter().all(|count| *count > 300), "{seen:?}");
}

#[test]
fn a_batch_says_how_much_room_is_left() {
    let boxes = Mailboxes::new(10, 10_000, Overflow::Pause, Acknowledge::OnNext);
    let slot = add(&boxes, 0);
    let mut events = dispatches(0, 12).into_iter();
    let mut batch = Batch::default();
    let mut sizes = 0;
    let mut put = |count: usize| {
        for event in events.by_ref().take(count) {
            sizes += batch.push(event);
        }
        assert_eq!((batch.len(), batch.is_empty()), (count, count == 0));
        let room = boxes.push_all(slot, &mut batch, false);
        let Room {
            events,
            bytes,
            pause,
            ..
        } = room;
        assert_eq!(bytes, 10_000 - sizes);
        (events, pause)
    };
    assert_eq!(put(0), (10, false));
    assert_eq!(put(7), (3, false));
    assert_eq!(put(2), (1, false));
    // What has been read already is taken all the same.
    assert_eq!(put(3), (0, true));
    for seq in 1..=12 {
        assert_eq!(taken(&boxes), (0, seq));
    }
    assert!(is_empty(&boxes));
    let room = boxes.push_all(slot, &mut batch, false);
    assert_eq!((room.events, room.bytes, room.pause), (10, 10_000, false));
}
