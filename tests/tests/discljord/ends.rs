//! Beginnings and ends.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use shardwright_testkit::server::Seen;
use shardwright_tokio::{
    Event, Events, FleetError, ShardFilter, ShardId, ShardState, StopReason, connect_bot,
    connect_shards, gateway_info,
};

use crate::{
    close_codes, emulator, identifies, in_time, options, shard, token, until, until_connected,
};

/// Checks that nothing is missing among what a shard has delivered, event by event.
#[derive(Default)]
struct Whole(BTreeMap<ShardId, u64>);

impl Whole {
    fn check(&mut self, event: &Event<'_>) {
        if let Event::Dispatch(event) = event {
            let last = self.0.entry(event.id().shard).or_default();
            assert_eq!(event.id().seq, *last + 1);
            *last += 1;
        }
    }
}

/// There a stop while events flowed could be left unread: the socket stayed open, nobody read it, and
/// what was read to find the stop was lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s04_a_stop_under_a_stream_closes_every_socket_and_loses_nothing_that_came() {
    let emulator = emulator(|config| {
        config.shards = 2;
        config.rate = 300.0;
    });
    let (bot, mut events) = connect_bot(token(), options(&emulator)).await.unwrap();
    let mut whole = Whole::default();
    let mut count = 0;
    until(&mut events, "the stream", |event| {
        whole.check(event);
        count += 1;
        count > 200
    })
    .await;
    // One shard goes while the events of both are taken.
    let removing = tokio::spawn({
        let bot = bot.clone();
        async move { bot.remove_shards(ShardFilter::from(shard(0, 2))).await }
    });
    let mut after = 0;
    until(&mut events, "the other's events", |event| {
        whole.check(event);
        let of_the_other = event.shard() == Some(shard(1, 2));
        after += u32::from(removing.is_finished() && of_the_other);
        after > 200
    })
    .await;
    let gone = removing.await.unwrap();
    assert_eq!(gone[0].seq, whole.0.get(&shard(0, 2)).copied());
    assert_eq!(close_codes(&emulator), [4000]);
    // Then the bot.
    let stopping = tokio::spawn(async move { bot.disconnect().await });
    let mut last = None;
    let rest = async {
        while let Some(event) = events.next().await {
            whole.check(&event);
            last = Some(event);
        }
    };
    in_time("the end", rest).await;
    in_time("the stop", stopping).await.unwrap();
    assert!(matches!(last, Some(Event::Stopped { .. })), "{last:?}");
    assert_eq!(close_codes(&emulator), [4000, 1000]);
    emulator.with_machine(|machine| {
        assert_eq!(machine.log().count(|seen| *seen == Seen::Lost), 0);
        assert!(machine.log().violations().is_empty());
    });
}

/// There the end was said twice, and that all were connected after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s10_the_end_is_said_once_and_last_whenever_it_comes() {
    for taken in 0..12 {
        let emulator = emulator(|config| config.shards = 3);
        let (bot, mut events) = connect_bot(token(), options(&emulator)).await.unwrap();
        for _ in 0..taken {
            events.next().await.unwrap();
        }
        let stops = [0, 1, 2].map(|way| {
            let bot = bot.clone();
            tokio::spawn(async move {
                match way {
                    0 => bot.disconnect().await,
                    _ => drop(bot.disconnect_keeping_sessions().await),
                }
            })
        });
        let all: Vec<_> = in_time("the end", events.by_ref().collect()).await;
        let ends = all
            .iter()
            .filter(|event| matches!(event, Event::Stopped { .. }));
        assert_eq!(ends.count(), 1, "after {taken}");
        let Some(Event::Stopped { why, states }) = all.last() else {
            panic!("{:?} comes last", all.last());
        };
        assert_eq!((why, states.len()), (&StopReason::Requested, 3));
        for stop in stops {
            in_time("a stop", stop).await.unwrap();
        }
    }
}

/// There a bot without shards ended at once, one whose last shard was removed did too, and what was
/// added later was ignored without a word.
#[tokio::test]
async fn s26_a_bot_lives_without_shards_until_it_is_told_to_stop() {
    let emulator = emulator(|_| {});
    let options = options(&emulator);
    let info = gateway_info(&token(), &options).await.unwrap();
    let (bot, mut events) = connect_shards(token(), options, info, []).await.unwrap();
    assert!(bot.shard_states(ShardFilter::all()).await.is_empty());
    let one = shard(1, 3);
    bot.add_shards([ShardState::fresh(one)]).await.unwrap();
    let ready = |event: &Event<'_>| matches!(event, Event::Ready { shard, .. } if *shard == one);
    until(&mut events, "READY", ready).await;
    let states = in_time("the removal", bot.remove_shards(one.into())).await;
    assert!(bot.shard_states(ShardFilter::all()).await.is_empty());
    bot.add_shards(states).await.unwrap();
    let resumed = |event: &Event<'_>| {
        assert!(!matches!(event, Event::Stopped { .. }), "too early");
        matches!(event, Event::Resumed { .. })
    };
    until(&mut events, "RESUMED", resumed).await;
    assert_eq!(identifies(&emulator), 1);
    bot.disconnect().await;
    let ended = |event: &Event<'_>| matches!(event, Event::Stopped { .. });
    until(&mut events, "the end", ended).await;
    let late = bot.add_shards([ShardState::fresh(one)]).await;
    assert_eq!(late, Err(FleetError::Stopped));
}

/// There a loop over a channel that was closed called its handler with nothing, a million times a second.
#[test]
fn s29_events_end_with_the_bot_and_with_its_runtime() {
    let emulator = emulator(|_| {});
    let connected = || -> (tokio::runtime::Runtime, shardwright_tokio::Bot, Events) {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let (bot, mut events) = runtime.block_on(async {
            let bot = connect_bot(token(), options(&emulator)).await;
            bot.unwrap()
        });
        runtime.block_on(until_connected(&mut events));
        (runtime, bot, events)
    };
    let end_of = |mut events: Events| {
        let (mut handled, mut last) = (0, None);
        block_on(async {
            while let Some(event) = events.next().await {
                handled += 1;
                last = Some(event);
            }
            // It stays so.
            for _ in 0..1000 {
                assert!(events.next().await.is_none());
            }
        });
        assert!(handled < 100, "{handled} events of a quiet bot");
        match last {
            Some(Event::Stopped { why, .. }) => why,
            other => panic!("{other:?} comes last"),
        }
    };
    let (runtime, bot, events) = connected();
    runtime.block_on(bot.disconnect());
    assert_eq!(end_of(events), StopReason::Requested);
    // A runtime that is gone takes no consumer with it: it is told.
    let (runtime, _bot, events) = connected();
    drop(runtime);
    assert_eq!(end_of(events), StopReason::Abandoned);
}

/// Waits without any runtime of tokio's.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        let mut context = std::task::Context::from_waker(&waker);
        if let std::task::Poll::Ready(result) = future.as_mut().poll(&mut context) {
            return result;
        }
        std::thread::park();
    }
}
