//! While events flow: a consumer that is slow, a shard that moves.

use std::time::Duration;

use shardwright_testkit::emulator::DONE;
use shardwright_testkit::server::{Seen, Target};
use shardwright_tokio::{
    DisconnectReason, Event, Events, ShardFilter, ShardId, Shards, StatusUpdate, connect_bot,
    connect_shards, gateway_info,
};

use crate::{emulator, identifies, in_time, options, token, until, until_connected, until_seen};

/// There a consumer that was 1,024 events behind killed the bot without a word: no state was answered
/// any more and no event came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s02_a_consumer_that_takes_nothing_is_waited_for() {
    const EVENTS: u64 = 3000;
    let emulator = emulator(|config| {
        config.heartbeat_interval = Duration::from_secs(2);
        // Unoptimized, it is slow itself.
        config.heartbeat_patience = 20.0;
        config.replay_events = 2 * EVENTS as usize;
        config.replay_bytes = 256 << 20;
    });
    let mut options = options(&emulator);
    options.mailbox_events = 64;
    let (bot, mut events) = connect_bot(token(), options).await.unwrap();
    let mut last = until_connected(&mut events).await;
    emulator.flood(&Target::All, EVENTS);
    // Nobody takes anything. The heart goes on; after an interval the connection is left in order.
    let was_left = |seen: &Seen| matches!(seen, Seen::ClosedByClient { code: 4000, .. });
    until_seen(&emulator, "the close", |log| log.count(was_left) == 1);
    let beats = emulator.with_machine(|machine| {
        let entries = machine.log().entries().iter();
        let before = entries.take_while(|entry| !was_left(&entry.what));
        let beats = before.filter(|entry| matches!(entry.what, Seen::Received { op: Some(1), .. }));
        beats.count()
    });
    assert!(beats > 0);
    // The bot answers.
    let states = in_time("the states", bot.shard_states(ShardFilter::all())).await;
    assert_eq!(states[0].seq, Some(last), "what was taken, and no more");
    let presence = bot.status_update(StatusUpdate::dnd(), Shards::All);
    in_time("the acceptance", presence).await.unwrap();
    // And everything is there as soon as somebody takes it.
    let mut reasons = Vec::new();
    let (mut is_done, mut is_resumed) = (false, false);
    until(&mut events, "the rest", |event| {
        match event {
            Event::Dispatch(event) => {
                assert_eq!(event.id().seq, last + 1, "no gap, no double");
                last = event.id().seq;
                is_done |= event.name() == DONE;
            }
            Event::Disconnected { reason, .. } => reasons.push(reason.clone()),
            Event::Resumed { .. } => is_resumed = true,
            _ => {}
        }
        // The last of what was missed comes before RESUMED.
        is_done && is_resumed
    })
    .await;
    assert_eq!(reasons.first(), Some(&DisconnectReason::ConsumerStalled));
    assert!(last > EVENTS);
    assert_eq!((events.dropped(), identifies(&emulator)), (0, 1));
    bot.disconnect().await;
}

/// Takes so many dispatches; which shards they named, and whether each followed on the one before.
async fn take(events: &mut Events, last: &mut u64, mut count: usize) {
    until(events, "an event", |event| {
        if let Event::Dispatch(event) = event {
            assert_eq!(event.id().shard, ShardId::SINGLE);
            assert_eq!(event.id().seq, *last + 1, "no gap, no double");
            *last += 1;
            count = count.saturating_sub(1);
        }
        count == 0
    })
    .await;
}

/// There an event named neither its shard nor its number, and between the look at the state and the
/// removal more came, to come again elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s20_a_shard_moves_without_a_gap_or_a_double() {
    let emulator = emulator(|config| {
        config.rate = 400.0;
        config.replay_events = 100_000;
    });
    let options = options(&emulator);
    let (old, mut events) = connect_bot(token(), options.clone()).await.unwrap();
    let mut last = 0;
    take(&mut events, &mut last, 100).await;
    // What is still in hand is not handled: after a crash now it comes again.
    let states = old.shard_states(ShardFilter::all()).await;
    assert_eq!(states[0].seq, Some(last - 1));

    let info = gateway_info(&token(), &options).await.unwrap();
    let nothing = connect_shards(token(), options, info, []).await.unwrap();
    let (new, mut new_events) = nothing;
    // The old one's events are taken all the while, up to the end.
    let taking = tokio::spawn(async move {
        let mut last = last;
        let mut more = 0_u32;
        while let Some(event) = events.next().await {
            if let Event::Dispatch(event) = event {
                assert_eq!(event.id().seq, last + 1);
                last += 1;
                more += 1;
            }
        }
        (last, more)
    });
    let states = in_time("the removal", old.remove_shards(ShardFilter::all())).await;
    assert_eq!(states.len(), 1);
    new.add_shards(states.clone()).await.unwrap();
    old.disconnect().await;
    let (mut last, _) = in_time("the old one's end", taking).await.unwrap();
    assert_eq!(states[0].seq, Some(last), "it ends where the state says");
    take(&mut new_events, &mut last, 100).await;
    assert_eq!(identifies(&emulator), 1, "one session all along");
    new.disconnect().await;
}
