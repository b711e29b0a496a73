//! The set of shards on tokio, over real sockets: many shards, hand-over, another number of them.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Waker};
use std::time::Duration;

use shardwright_core::{CloseCode, ShardId};
use shardwright_testkit::emulator::{DONE, Emulator};
use shardwright_testkit::scenario::Effect;
use shardwright_testkit::server::{Log, Seen, ServerConfig, Shard, Target};
use shardwright_tokio::{
    Acknowledge, ApiBase, Event, Events, FleetError, GuildId, GuildMembersRequest, IdentifyGate,
    InPlace, Intents, Options, ReShardPolicy, ShardFilter, ShardPlan, ShardState, Shards,
    StatusUpdate, StopReason, Token, connect_bot, connect_shards, gateway_info,
};

/// The longest any of these may take on a busy machine; nothing waits for it.
const PATIENCE: Duration = Duration::from_secs(180);

fn emulator(change: impl FnOnce(&mut ServerConfig)) -> Emulator {
    Emulator::builder()
        .configure(|config| config.max_concurrency = 512)
        .configure(change)
        .start()
        .unwrap()
}

fn options(emulator: &Emulator) -> Options {
    let mut options = Options::new(Intents::default());
    options.api = ApiBase::parse(&emulator.api_base()).unwrap();
    options.seed = Some(1);
    options
}

fn token() -> Token {
    Token::new("a-token").unwrap()
}

async fn in_time<T>(what: &str, doing: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, doing).await {
        Ok(result) => result,
        Err(_) => panic!("{what} takes too long"),
    }
}

fn identifies(emulator: &Emulator) -> usize {
    emulator.with_machine(|machine| machine.log().identifies())
}

fn assert_no_violations(emulator: &Emulator) {
    emulator.with_machine(|machine| {
        let violations = machine.log().violations();
        assert!(violations.is_empty(), "{violations:?}");
    });
}

/// What came, by shard: sequence numbers in the order in which they were delivered.
type Delivered = Arc<Mutex<BTreeMap<ShardId, Vec<u64>>>>;

/// Takes events until one satisfies; the dispatches are written down.
async fn until(
    events: &mut Events,
    delivered: &Delivered,
    mut wanted: impl FnMut(&Event<'_>) -> bool,
) {
    let taking = async {
        while let Some(event) = events.next().await {
            if let Event::Dispatch(event) = &event {
                let id = event.id();
                let mut delivered = delivered.lock().unwrap();
                delivered.entry(id.shard).or_default().push(id.seq);
            }
            if wanted(&event) {
                return;
            }
        }
        panic!("the bot has ended");
    };
    in_time("an event", taking).await;
}

async fn until_connected(events: &mut Events) {
    let delivered = Delivered::default();
    let connected = |event: &Event<'_>| matches!(event, Event::ConnectedAllShards { .. });
    until(events, &delivered, connected).await;
}

/// Goes on taking until the end, in the background.
fn take_all(mut events: Events, delivered: &Delivered) -> tokio::task::JoinHandle<()> {
    let delivered = Arc::clone(delivered);
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let Event::Dispatch(event) = &event {
                let id = event.id();
                let mut delivered = delivered.lock().unwrap();
                delivered.entry(id.shard).or_default().push(id.seq);
            }
        }
    })
}

fn until_seen(emulator: &Emulator, what: &str, wanted: impl FnMut(&Log) -> bool) {
    let seen = tokio::task::block_in_place(|| emulator.wait_for(wanted, PATIENCE));
    assert!(seen, "the gateway never saw {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_shards_resume_and_move_to_another_bot_without_a_gap_or_a_double() {
    const SHARDS: u32 = 200;
    let emulator = emulator(|config| {
        config.shards = u64::from(SHARDS);
        config.replay_events = 100_000;
        config.rate = 2.0;
    });
    let delivered = Delivered::default();
    let (old, mut events) = connect_bot(token(), options(&emulator)).await.unwrap();
    until(&mut events, &delivered, |event| {
        matches!(event, Event::ConnectedAllShards { shards: SHARDS })
    })
    .await;
    // All are told to reconnect at once.
    emulator.play(&Target::All, &[Effect::Op7]);
    let mut resumed = 0;
    until(&mut events, &delivered, |event| {
        resumed += usize::from(matches!(event, Event::Resumed { .. }));
        resumed == SHARDS as usize
    })
    .await;
    assert_eq!(identifies(&emulator), SHARDS as usize);
    // A quarter at a time goes to another bot, while events flow.
    let mut no_shard = options(&emulator);
    no_shard.shards = ShardPlan::Ids {
        ids: Vec::new(),
        total: Some(SHARDS),
    };
    let (new, new_events) = connect_bot(token(), no_shard).await.unwrap();
    let old_taker = take_all(events, &delivered);
    let new_taker = take_all(new_events, &delivered);
    for quarter in 0..4 {
        let numbers = (0..SHARDS).filter(|number| number % 4 == quarter);
        let shards = numbers.map(|number| ShardId::new(number, SHARDS).unwrap());
        let filter = ShardFilter::none().or_shards(shards);
        let states = in_time("the removal", old.remove_shards(filter)).await;
        assert_eq!(states.len(), SHARDS as usize / 4);
        assert!(states.iter().all(ShardState::is_resumable));
        new.add_shards(states).await.unwrap();
    }
    assert!(old.shard_states(ShardFilter::all()).await.is_empty());
    let resumes = 2 * SHARDS as usize;
    until_seen(&emulator, "all resume twice", |log| {
        log.count(|seen| matches!(seen, Seen::Resume { .. })) >= resumes
    });
    // A last event for each, so that what came before it has come.
    emulator.set_rate(0.0);
    emulator.push_event(&Target::All, DONE, "{}");
    let states = in_time("the end", async {
        loop {
            let states = new.shard_states(ShardFilter::all()).await;
            let last = emulator.with_machine(|machine| {
                let sessions = machine.sessions();
                sessions
                    .iter()
                    .map(|session| session.seq)
                    .collect::<Vec<_>>()
            });
            let mut got: Vec<u64> = states.iter().filter_map(|state| state.seq).collect();
            let mut last = last;
            got.sort_unstable();
            last.sort_unstable();
            if got == last {
                return states;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(states.len(), SHARDS as usize);
    old.disconnect().await;
    new.disconnect().await;
    old_taker.await.unwrap();
    new_taker.await.unwrap();
    let delivered = delivered.lock().unwrap();
    for (shard, seqs) in &*delivered {
        let whole = seqs.iter().copied().eq(1..=seqs.len() as u64);
        assert!(whole, "shard {shard}: {seqs:?}");
    }
    assert_eq!(delivered.len(), SHARDS as usize);
    assert_eq!(identifies(&emulator), SHARDS as usize, "one session each");
    assert_no_violations(&emulator);
}

/// An event of its own, of guild `n`, at the shards that serve it.
fn push_numbered(emulator: &Emulator, n: u64, totals: &[u64]) {
    for total in totals {
        let shard = Shard {
            number: n % total,
            total: *total,
        };
        let d = format!(r#"{{"n":{n}}}"#);
        emulator.push_event(&Target::Shard(shard), "NUMBERED", &d);
    }
}

fn number_of(event: &Event<'_>) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Numbered {
        n: u64,
    }
    match event {
        Event::Dispatch(event) if event.name() == "NUMBERED" => {
            Some(event.parse::<Numbered>().unwrap().n)
        }
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_layout_takes_over_without_a_gap_or_a_double() {
    let emulator = emulator(|config| config.shards = 1);
    let mut options = options(&emulator);
    options.re_shard = ReShardPolicy::StartThenSwap;
    let (bot, mut events) = connect_bot(token(), options).await.unwrap();
    until_connected(&mut events).await;
    let re_sharding = tokio::spawn({
        let bot = bot.clone();
        async move { bot.re_shard(Some(2)).await }
    });
    let mut numbers = Vec::new();
    let mut n = 0;
    let mut after = 0;
    // A stream of events that does not stop for the swap, each to both layouts.
    in_time("the swap", async {
        while after < 200 {
            push_numbered(&emulator, n, &[1, 2]);
            n += 1;
            loop {
                match tokio::time::timeout(Duration::from_millis(2), events.next()).await {
                    Ok(Some(event)) => {
                        numbers.extend(number_of(&event));
                        assert!(!matches!(event, Event::Stopped { .. }), "{event:?}");
                    }
                    Ok(None) => panic!("the bot has ended"),
                    Err(_) => break,
                }
            }
            after += u32::from(re_sharding.is_finished());
        }
        while numbers.len() < n as usize {
            let event = events.next().await.unwrap();
            numbers.extend(number_of(&event));
        }
    })
    .await;
    re_sharding.await.unwrap().unwrap();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..n), "each once");
    let states = bot.shard_states(ShardFilter::all()).await;
    let shards: Vec<_> = states.iter().map(|state| state.shard).collect();
    assert_eq!(
        shards,
        [0, 1].map(|number| ShardId::new(number, 2).unwrap())
    );
    assert_eq!(identifies(&emulator), 3);
    bot.disconnect().await;
    assert_no_violations(&emulator);
}

/// Each at least once: what was taken and not yet acknowledged may come again.
#[test]
fn a_process_that_crashes_after_a_swap_loses_nothing() {
    const LEFT: u64 = 200;
    const TAKEN: u64 = 60;
    let emulator = emulator(|config| config.shards = 1);
    let process = || {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.worker_threads(2).enable_all().build().unwrap()
    };
    let first = process();
    let (mut n, mut numbers, states, gateway) = first.block_on(async {
        let mut options = options(&emulator);
        options.re_shard = ReShardPolicy::StartThenSwap;
        let (bot, mut events) = connect_bot(token(), options).await.unwrap();
        until_connected(&mut events).await;
        let mut re_sharding = tokio::spawn({
            let bot = bot.clone();
            async move { bot.re_shard(Some(2)).await }
        });
        let mut n = 0;
        let mut numbers = std::collections::BTreeSet::new();
        let mut ready = 0;
        // From when the new layout's sessions have begun nothing is taken any more, as by a consumer that is busy.
        let re_sharded = async {
            let mut more = 1;
            loop {
                for _ in 0..more {
                    push_numbered(&emulator, n, &[1, 2]);
                    n += 1;
                }
                let was_ready = ready;
                let pause = Duration::from_millis(2);
                while ready < 2
                    && let Ok(event) = tokio::time::timeout(pause, events.next()).await
                {
                    let event = event.unwrap();
                    numbers.extend(number_of(&event));
                    ready += u32::from(
                        matches!(event, Event::Ready { shard, .. } if shard.total() == 2),
                    );
                }
                more = if ready > was_ready { LEFT } else { 1 };
                if more == 1
                    && let Ok(done) = tokio::time::timeout(pause, &mut re_sharding).await
                {
                    return done;
                }
            }
        };
        in_time("the swap", re_sharded).await.unwrap().unwrap();
        let taken = numbers.len() as u64;
        for _ in 0..20 {
            push_numbered(&emulator, n, &[2]);
            n += 1;
        }
        let gateway = gateway_info(&token(), &self::options(&emulator))
            .await
            .unwrap();
        until(&mut events, &Delivered::default(), |event| {
            numbers.extend(number_of(event));
            numbers.len() as u64 >= taken + TAKEN
        })
        .await;
        // What a store has of it.
        let states = bot.shard_states(ShardFilter::all()).await;
        std::mem::forget((bot, events));
        (n, numbers, states, gateway)
    });
    assert!(states.iter().all(ShardState::is_resumable), "{states:?}");
    first.shutdown_background();
    let second = process();
    second.block_on(async {
        let connecting = connect_shards(token(), options(&emulator), gateway, []);
        let (bot, mut events) = connecting.await.unwrap();
        bot.add_shards(states).await.unwrap();
        push_numbered(&emulator, n, &[2]);
        n += 1;
        until(&mut events, &Delivered::default(), |event| {
            numbers.extend(number_of(event));
            numbers.len() as u64 == n
        })
        .await;
        bot.disconnect().await;
    });
    assert_eq!(identifies(&emulator), 3, "all resumed");
}

#[tokio::test]
async fn a_demand_for_more_shards_is_met() {
    let emulator = emulator(|config| {
        config.shards = 2;
        config.total_guilds = Some(4000);
    });
    let mut options = options(&emulator);
    options.shards = ShardPlan::Total(1);
    let (bot, mut events) = connect_bot(token(), options).await.unwrap();
    let mut re_shards = Vec::new();
    until(&mut events, &Delivered::default(), |event| {
        if let Event::ReShard { from, to } = event {
            re_shards.push((*from, *to));
        }
        matches!(event, Event::ConnectedAllShards { shards: 2 })
    })
    .await;
    assert_eq!(re_shards, [(1, Some(2))]);
    bot.disconnect().await;
}

#[tokio::test]
async fn who_runs_chosen_shards_is_told_of_the_demand() {
    let emulator = emulator(|config| config.total_guilds = Some(4000));
    let options = options(&emulator);
    let info = gateway_info(&token(), &options).await.unwrap();
    let (_bot, mut events) = connect_shards(token(), options, info, [ShardId::SINGLE])
        .await
        .unwrap();
    let mut told = false;
    let why = in_time("the end", async {
        loop {
            match events.next().await {
                Some(Event::ReShard { from: 1, to: None }) => told = true,
                Some(Event::Stopped { why, .. }) => return why,
                Some(_) => {}
                None => panic!("no end"),
            }
        }
    })
    .await;
    assert!(told);
    assert_eq!(why, StopReason::ReShardRequired);
}

#[tokio::test]
async fn a_fleet_may_begin_empty() {
    let emulator = emulator(|_| {});
    let options = options(&emulator);
    let info = gateway_info(&token(), &options).await.unwrap();
    let (bot, mut events) = connect_shards(token(), options, info, []).await.unwrap();
    until_connected(&mut events).await;
    assert_eq!(identifies(&emulator), 0);
    let shard = ShardId::new(1, 3).unwrap();
    bot.add_shards([ShardState::fresh(shard)]).await.unwrap();
    until_connected(&mut events).await;
    let twice = bot.add_shards([ShardState::fresh(shard)]).await;
    assert_eq!(twice, Err(FleetError::AlreadyHere { shard }));
    assert_eq!(identifies(&emulator), 1);
    bot.disconnect().await;
    let late = bot.add_shards([ShardState::fresh(shard)]).await;
    assert_eq!(late, Err(FleetError::Stopped));
}

#[tokio::test]
async fn the_gate_decides_who_identifies() {
    let emulator = emulator(|config| config.shards = 3);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (open, opens) = tokio::sync::watch::channel(false);
    let mut options = options(&emulator);
    options.label = "mine".to_owned();
    options.identify_when = Some(IdentifyGate::new({
        let asked = Arc::clone(&asked);
        move |turn| {
            asked
                .lock()
                .unwrap()
                .push((turn.shard.number(), turn.label));
            let mut opens = opens.clone();
            async move {
                opens.wait_for(|open| *open).await.unwrap();
            }
        }
    }));
    let (bot, mut events) = connect_bot(token(), options).await.unwrap();
    let mut hellos = 0;
    until(&mut events, &Delivered::default(), |event| {
        hellos += usize::from(matches!(event, Event::Hello { .. }));
        hellos == 3
    })
    .await;
    in_time("the turns", async {
        while asked.lock().unwrap().len() < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(identifies(&emulator), 0, "nobody before the gate opens");
    open.send(true).unwrap();
    until_connected(&mut events).await;
    let mut asked = asked.lock().unwrap().clone();
    asked.sort();
    let once = [0, 1, 2].map(|number| (number, "mine".to_owned()));
    assert_eq!(asked, once);
    bot.disconnect().await;
}

#[tokio::test]
async fn a_gate_that_panics_takes_nothing_along() {
    let emulator = emulator(|_| {});
    let mut options = options(&emulator);
    options.identify_when = Some(IdentifyGate::blocking(|_| panic!("as it must")));
    let (bot, mut events) = connect_bot(token(), options).await.unwrap();
    let problem = |event: &Event<'_>| matches!(event, Event::Problem { .. });
    until(&mut events, &Delivered::default(), problem).await;
    bot.disconnect().await;
    assert_eq!(identifies(&emulator), 0);
}

#[tokio::test]
async fn what_is_acknowledged_by_hand_is_what_a_kept_session_goes_on_after() {
    let emulator = emulator(|_| {});
    let mut manual = options(&emulator);
    manual.acknowledge = Acknowledge::Manual;
    let (bot, mut events) = connect_bot(token(), manual).await.unwrap();
    until_connected(&mut events).await;
    for name in ["ONE", "TWO", "THREE"] {
        emulator.push_event(&Target::All, name, "{}");
    }
    let mut ids = BTreeMap::new();
    until(&mut events, &Delivered::default(), |event| {
        if let Event::Dispatch(event) = event {
            ids.insert(event.name().to_owned(), event.id());
        }
        ids.contains_key("THREE")
    })
    .await;
    events.acknowledge(ids["TWO"]).unwrap();
    let leaving = tokio::spawn({
        let bot = bot.clone();
        async move { bot.disconnect_keeping_sessions().await }
    });
    // The last one is waited for, for a while.
    events.acknowledge(ids["THREE"]).unwrap();
    let states = in_time("the stop", leaving).await.unwrap();
    assert_eq!(states[0].seq, Some(ids["THREE"].seq));
}

/// Drops the bot's handle and its events in every way at every moment: nothing hangs, and nothing ends
/// with 1000 that was not meant to.
#[tokio::test]
async fn futures_may_be_dropped_at_any_point() {
    let emulator = emulator(|config| config.shards = 2);
    for polls in 0..40 {
        let its_options = options(&emulator);
        let of_token = token();
        if let Some(info) = polled(gateway_info(&of_token, &its_options), polls).await {
            // Its owner and events are dropped with it.
            polled(connect_shards(token(), options(&emulator), info, []), polls).await;
        }
        let connecting = connect_bot(token(), options(&emulator));
        if let Some((bot, mut events)) = polled(connecting, polls).await {
            polled(bot.shard_states(ShardFilter::all()), polls % 3).await;
            let status = StatusUpdate::online();
            if let Some(accepted) = polled(bot.status_update(status, Shards::All), polls % 6).await
            {
                polled(accepted.sent(), polls % 2).await;
            }
            let request = GuildMembersRequest::everyone(GuildId::new(41_771_983_423_143_937));
            polled(bot.request_members(request), polls % 3).await;
            let twice = [ShardState::fresh(ShardId::new(0, 2).unwrap())];
            polled(bot.add_shards(twice), polls % 4).await;
            polled(bot.re_shard(Some(2)), polls % 2).await;
            polled(events.next(), polls % 4).await;
            polled(bot.remove_shards(ShardFilter::all()), polls % 5).await;
            polled(bot.disconnect_keeping_sessions(), polls % 2).await;
            in_time("the end", async { while events.next().await.is_some() {} }).await;
        }
    }
    let codes = emulator.with_machine(|machine| {
        let entries = machine.log().entries().iter();
        let codes = entries.filter_map(|entry| match entry.what {
            Seen::ClosedByClient { code, .. } => Some(CloseCode::new(code)),
            _ => None,
        });
        codes.collect::<Vec<_>>()
    });
    assert!(codes.iter().all(|code| code.get() != 1000), "{codes:?}");
}

/// Polls a future so often and then drops it; its result if it was done by then.
async fn polled<T, F: Future<Output = T>>(future: F, times: usize) -> Option<<T as Outcome>::Good>
where
    T: Outcome,
{
    let mut future = Box::pin(future);
    for _ in 0..=times {
        let once = std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx)));
        if let std::task::Poll::Ready(result) = once.await {
            return result.good();
        }
        tokio::task::yield_now().await;
    }
    None
}

trait Outcome {
    type Good;
    fn good(self) -> Option<Self::Good>;
}

impl<T, E> Outcome for Result<T, E> {
    type Good = T;
    fn good(self) -> Option<T> {
        self.ok()
    }
}

impl<T> Outcome for Vec<T> {
    type Good = Self;
    fn good(self) -> Option<Self> {
        Some(self)
    }
}

impl<T> Outcome for Option<T> {
    type Good = T;
    fn good(self) -> Self {
        self
    }
}

/// A handler in place keeps its shard from ending after it was told to, so the removal gives it up. Added again,
/// it starts when the handler has returned: until then the old one may still be connected.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_shard_that_comes_back_waits_for_its_stuck_handler() {
    let emulator = emulator(|config| {
        config.shards = 2;
        config.send_guilds = false;
    });
    let (tell, has) = mpsc::channel();
    let gates = [mpsc::channel::<()>(), mpsc::channel::<()>()];
    let (release, released): (Vec<_>, Vec<_>) = gates.into_iter().unzip();
    let released: Arc<Vec<_>> = Arc::new(released.into_iter().map(Mutex::new).collect());
    let mut options = options(&emulator);
    options.limits.close_timeout = Duration::from_millis(100);
    options.in_place = Some(InPlace::new(move |shard| {
        let (tell, released) = (tell.clone(), Arc::clone(&released));
        move |event: Event<'_>| {
            let Event::Dispatch(event) = event else {
                return;
            };
            if let "STUCK" | "LAST" = event.name() {
                tell.send(event.name().to_owned()).unwrap();
            }
            if event.name() == "STUCK" {
                let gate = &released[usize::try_from(shard.number()).unwrap()];
                gate.lock().unwrap().recv().unwrap();
            }
        }
    }));
    let (bot, mut events) = connect_bot(token(), options).await.unwrap();
    until_connected(&mut events).await;
    let push = |number, name| {
        emulator.push_event(&Target::Number(number), name, "{}");
        let got = tokio::task::block_in_place(|| has.recv_timeout(PATIENCE));
        assert_eq!(got.unwrap(), name);
    };
    // The removal asks both for their states. The second is stuck; the first has answered, and is stuck then.
    push(1, "STUCK");
    let zero = ShardId::new(0, 2).unwrap();
    let mut removal = pin!(bot.remove_shards(ShardFilter::from(zero)));
    let waker = Waker::noop();
    assert!(
        removal
            .as_mut()
            .poll(&mut Context::from_waker(waker))
            .is_pending()
    );
    let status = bot.status_update(StatusUpdate::online(), Shards::Only(vec![0]));
    in_time("a command", async {
        status.await.unwrap().sent().await.unwrap()
    })
    .await;
    push(0, "STUCK");
    release[1].send(()).unwrap();
    let states = in_time("the removal", removal).await;
    assert_eq!(states.len(), 1);
    assert!(states[0].is_resumable());
    bot.add_shards(states).await.unwrap();
    let resumes = |log: &Log| log.count(|seen| matches!(seen, Seen::Resume { .. }));
    let dials = |log: &Log| log.count(|seen| matches!(seen, Seen::Upgrade { .. }));
    // Meanwhile the other one goes through a reconnect.
    emulator.play(&Target::Number(1), &[Effect::Op7]);
    until_seen(&emulator, "the other resumes", |log| resumes(log) == 1);
    assert_eq!(emulator.with_machine(|machine| dials(machine.log())), 3);
    release[0].send(()).unwrap();
    until_seen(&emulator, "the shard resumes", |log| resumes(log) == 2);
    // It goes on after what the handler was stuck in.
    push(0, "LAST");
    assert_eq!(emulator.with_machine(|machine| dials(machine.log())), 4);
    assert_no_violations(&emulator);
    in_time("the end", bot.disconnect()).await;
}
