//! The set of shards: many at once, fewer and more of them, another bot, another runtime, another total.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shardwright_core::{
    Event, EventId, FleetError, ReShardPolicy, ShardFilter, ShardId, ShardPlan, ShardState,
    StopReason,
};
use shardwright_testkit::emulator::{Builder, DONE, Emulator};
use shardwright_testkit::scenario::Effect;
use shardwright_testkit::server::{Log, Seen, Shard, Target};

use crate::harness::{Harness, cases};
use crate::harnesses;
use crate::play::{PATIENCE, Play, gateway, no_fault};

cases![
    sixty_four_shards_resume_after_op_7_to_all,
    shards_leave_and_come_back_while_events_flow,
    kept_sessions_go_on_in_every_other_runtime,
    shards_move_between_runtimes_while_events_flow,
    a_fleet_may_begin_empty,
    a_new_layout_takes_over_without_a_gap_or_a_double,
    a_new_layout_waits_for_what_the_old_one_has_not_delivered,
    a_demand_for_more_shards_is_met,
    who_runs_chosen_shards_is_told_of_the_demand,
];

/// A gateway for so many shards, which may all identify at once.
pub(crate) fn fleet(shards: u32) -> Builder {
    gateway([]).configure(|config| {
        config.shards = u64::from(shards);
        config.max_concurrency = 512;
    })
}

/// The same, without a guild: a new layout need not wait for any.
pub(crate) fn without_guilds(shards: u32) -> Builder {
    fleet(shards).configure(|config| config.guilds_per_shard = 0)
}

fn identifies(emulator: &Emulator) -> usize {
    emulator.with_machine(|machine| machine.log().identifies())
}

fn resumed(event: &Event<'_>) -> bool {
    assert!(!matches!(event, Event::SessionLost { .. }), "{event:?}");
    matches!(event, Event::Resumed { .. })
}

fn is_done(event: &Event<'_>) -> bool {
    matches!(event, Event::Dispatch(event) if event.name() == DONE)
}

/// Takes events until so many are what is wanted.
fn count(play: &mut Play, what: &str, times: usize, wanted: fn(&Event<'_>) -> bool) {
    let mut count = 0;
    play.until(what, |event| {
        count += usize::from(wanted(event));
        (count == times).then_some(())
    });
}

/// All are told to reconnect at the same instant, with events on their way: each resumes.
fn sixty_four_shards_resume_after_op_7_to_all(harness: &dyn Harness) {
    let mut play = Play::start(harness, fleet(64).configure(|config| config.rate = 5.0));
    play.connected(64);
    play.play([Effect::Op7]);
    count(&mut play, "64 resumes", 64, resumed);
    play.emulator().set_rate(0.0);
    play.emulator().push_event(&Target::All, DONE, "{}");
    count(&mut play, "the last events", 64, is_done);
    assert_eq!((play.gone, play.dropped()), (64, 0));
    assert_eq!(play.log(|log| (log.identifies(), log.resumed())), (64, 64));
    play.end();
}

/// Two of four shards are removed and added again. What they miss is replayed, and nobody else notices.
fn shards_leave_and_come_back_while_events_flow(harness: &dyn Harness) {
    let mut play = Play::start(harness, fleet(4).configure(|config| config.rate = 100.0));
    play.connected(4);
    let odd = [1, 3].map(|number| ShardId::new(number, 4).expect("a shard"));
    let states = play.bot.remove_shards(ShardFilter::none().or_shards(odd));
    assert!(states.iter().map(|state| state.shard).eq(odd));
    assert!(states.iter().all(ShardState::is_resumable));
    let left = play.bot.shard_states(ShardFilter::all());
    assert!(left.iter().map(|state| state.shard.number()).eq([0, 2]));
    play.bot.add_shards(states.clone()).expect("room");
    let twice = play.bot.add_shards(states);
    assert_eq!(twice, Err(FleetError::AlreadyHere { shard: odd[0] }));
    count(&mut play, "both resumes", 2, resumed);
    play.emulator().set_rate(0.0);
    play.emulator().push_event(&Target::All, DONE, "{}");
    count(&mut play, "the last events", 4, is_done);
    assert_eq!(play.gone, 2);
    assert_eq!(play.log(|log| (log.identifies(), log.resumed())), (4, 2));
    play.end();
}

/// The runtimes in turn: this one, another, this one, the next, and so on, back to this one. Over all
/// runtimes every one hands over to every other.
fn tour(harness: &dyn Harness) -> Vec<Arc<dyn Harness>> {
    let all = harnesses();
    let (own, others): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|other| other.name() == harness.name());
    let own = &own[0];
    let legs = others.into_iter();
    let mut tour: Vec<_> = legs.flat_map(|other| [Arc::clone(own), other]).collect();
    tour.push(Arc::clone(own));
    tour
}

/// A bot stops and keeps its sessions; a bot of another runtime goes on after the last event that was taken,
/// though many more were on their way.
fn kept_sessions_go_on_in_every_other_runtime(harness: &dyn Harness) {
    const SHARDS: u32 = 4;
    const EACH: u64 = 50;
    let builder = fleet(SHARDS).configure(|config| config.rate = 200.0);
    let emulator = builder.start().expect("an emulator");
    let mut states = Vec::new();
    for (leg, runtime) in tour(harness).iter().enumerate() {
        let mut play = Play::at(runtime.as_ref(), &emulator.api_base(), |options| {
            options.states.clone_from(&states);
        });
        play.going_on_from(&states);
        let from = play.seqs();
        loop {
            play.next();
            let seqs = play.seqs();
            let taken = |(shard, seq): (&ShardId, &u64)| seq - from.get(shard).unwrap_or(&0);
            if seqs.len() == SHARDS as usize && seqs.iter().map(taken).all(|taken| taken >= EACH) {
                break;
            }
        }
        assert!(play.lost.is_empty());
        let seqs = play.seqs();
        states = play.bot.disconnect_keeping_sessions();
        let kept = states
            .iter()
            .map(|state| (state.shard, state.seq.unwrap_or(0)));
        assert_eq!(kept.collect::<BTreeMap<_, _>>(), seqs, "leg {leg}");
        play.ended();
        assert_eq!(play.seqs(), seqs, "what was not taken is withdrawn");
    }
    emulator.with_machine(|machine| no_fault(machine.log()));
    assert_eq!(identifies(&emulator), SHARDS as usize);
}

/// A dispatch somebody took, and whether it was the last of its session.
type Taken = (EventId, bool);

/// Takes a bot's events until its end, and passes them on.
fn take_all(mut play: Play, taken: &Sender<Taken>) {
    play.expect_gaps();
    while let Some(event) = play.take() {
        if let Event::Dispatch(dispatch) = &event {
            let _ = taken.send((dispatch.id(), dispatch.name() == DONE));
        }
    }
    assert!(play.lost.is_empty());
}

/// Four bots, one of each runtime. Half of the shards at a time wander from one to the next, around and back
/// home, while events flow: every event comes once, to one of the bots.
fn shards_move_between_runtimes_while_events_flow(harness: &dyn Harness) {
    const SHARDS: u32 = 8;
    let builder = fleet(SHARDS).configure(|config| config.rate = 100.0);
    let emulator = builder.start().expect("an emulator");
    let api = emulator.api_base();
    let (taken, all) = mpsc::channel();
    std::thread::scope(|scope| {
        let mut home = Play::at(harness, &api, |_| {});
        let early = Mutex::new(Vec::new());
        home.until("all shards", |event| {
            if let Event::Dispatch(event) = event {
                early.lock().expect("no panic").push((event.id(), false));
            }
            matches!(event, Event::ConnectedAllShards { .. }).then_some(())
        });
        let early = early.into_inner().expect("no panic");
        early
            .into_iter()
            .for_each(|got| taken.send(got).expect("a receiver"));
        let others = harnesses().into_iter();
        let others = others.filter(|other| other.name() != harness.name());
        let mut plays = vec![home];
        plays.extend(others.map(|other| Play::shards(other.as_ref(), &emulator, [], |_| {})));
        let bots: Vec<_> = plays.iter().map(|play| Arc::clone(&play.bot)).collect();
        let takers: Vec<_> = plays
            .into_iter()
            .map(|play| {
                let taken = taken.clone();
                scope.spawn(move || take_all(play, &taken))
            })
            .collect();
        for parity in [0, 1] {
            for (from, bot) in bots.iter().enumerate() {
                let to = &bots[(from + 1) % bots.len()];
                let shards = (0..SHARDS).filter(|number| number % 2 == parity);
                let shards = shards.map(|number| ShardId::new(number, SHARDS).expect("a shard"));
                let states = bot.remove_shards(ShardFilter::none().or_shards(shards));
                assert_eq!(states.len(), SHARDS as usize / 2);
                assert!(states.iter().all(ShardState::is_resumable));
                to.add_shards(states).expect("room");
                let resumes = (usize::try_from(parity).expect("small") * bots.len() + from + 1)
                    * (SHARDS as usize / 2);
                let seen = emulator.wait_for(|log| log.resumed() >= resumes, PATIENCE);
                assert!(seen, "the shards never resumed");
            }
        }
        emulator.set_rate(0.0);
        emulator.push_event(&Target::All, DONE, "{}");
        every_event_once(&all, SHARDS);
        for bot in &bots {
            bot.disconnect();
        }
        for taker in takers {
            taker.join().expect("no fault");
        }
    });
    assert!(all.try_recv().is_err(), "an event after the last");
    assert_eq!(identifies(&emulator), SHARDS as usize);
    emulator.with_machine(|machine| no_fault(machine.log()));
}

/// Waits for the last event of so many shards, and checks that each shard's events came once.
fn every_event_once(all: &Receiver<Taken>, shards: u32) {
    let mut seqs: BTreeMap<ShardId, Vec<u64>> = BTreeMap::new();
    let mut done = 0;
    while done < shards {
        let (id, last) = all.recv_timeout(PATIENCE).expect("an event");
        seqs.entry(id.shard).or_default().push(id.seq);
        done += u32::from(last);
    }
    assert_eq!(seqs.len(), shards as usize);
    for (shard, mut seqs) in seqs {
        seqs.sort_unstable();
        let last = seqs.len() as u64;
        assert!(seqs.iter().copied().eq(1..=last), "shard {shard}: {seqs:?}");
    }
}

/// A bot without a shard lives; one is added later, and none after the end.
fn a_fleet_may_begin_empty(harness: &dyn Harness) {
    let emulator = fleet(1).start().expect("an emulator");
    let mut play = Play::shards(harness, &emulator, [], |_| {});
    play.connected(0);
    assert_eq!(identifies(&emulator), 0);
    let fresh = || vec![ShardState::fresh(ShardId::new(1, 3).expect("a shard"))];
    play.bot.add_shards(fresh()).expect("room");
    play.connected(1);
    assert_eq!(identifies(&emulator), 1);
    play.bot.disconnect();
    assert_eq!(play.bot.add_shards(fresh()), Err(FleetError::Stopped));
    assert_eq!(play.ended().0, StopReason::Requested);
}

/// An event of its own, of guild `n`, at the shards of each total that serve it.
pub(crate) fn push_numbered(emulator: &Emulator, n: u64, totals: &[u64]) {
    for &total in totals {
        let number = n % total;
        let d = format!(r#"{{"n":{n}}}"#);
        emulator.push_event(&Target::Shard(Shard { number, total }), "NUMBERED", &d);
    }
}

pub(crate) fn number_of(event: &Event<'_>) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Numbered {
        n: u64,
    }
    match event {
        Event::Dispatch(event) if event.name() == "NUMBERED" => {
            Some(event.parse::<Numbered>().expect("a number").n)
        }
        _ => None,
    }
}

/// From one shard to three while events flow that both layouts get.
fn a_new_layout_takes_over_without_a_gap_or_a_double(harness: &dyn Harness) {
    let emulator = without_guilds(1).start().expect("an emulator");
    let mut play = Play::at(harness, &emulator.api_base(), |options| {
        options.re_shard = ReShardPolicy::StartThenSwap;
    });
    play.connected(1);
    // New shards begin with what the old ones have not delivered.
    play.expect_gaps();
    let mut numbers = Vec::new();
    std::thread::scope(|scope| {
        let bot = Arc::clone(&play.bot);
        let re_sharding = scope.spawn(move || bot.re_shard(Some(3)));
        let (mut n, mut after) = (0, 0);
        while after < 100 {
            after += u32::from(re_sharding.is_finished());
            push_numbered(&emulator, n, &[1, 3]);
            n += 1;
            numbers.push(play.until("a number", number_of));
        }
        re_sharding.join().expect("no fault").expect("a new layout");
        numbers.sort_unstable();
        let wrong = numbers
            .iter()
            .zip(0..)
            .find(|(got, wanted)| **got != *wanted);
        assert!(wrong.is_none(), "each once: {wrong:?} of {n}");
    });
    let states = play.bot.shard_states(ShardFilter::all());
    let three = [0, 1, 2].map(|number| ShardId::new(number, 3).expect("a shard"));
    assert!(states.iter().map(|state| state.shard).eq(three));
    assert_eq!(identifies(&emulator), 4);
    play.bot.disconnect();
    play.ended();
}

/// The consumer stands still while a new layout comes up: what only the old shard was sent is not lost.
fn a_new_layout_waits_for_what_the_old_one_has_not_delivered(harness: &dyn Harness) {
    const OLD: u64 = 2000;
    const BOTH: u64 = 100;
    // Its first beat comes much later than the one that asks whether the shard has caught up.
    let builder = without_guilds(1).configure(|config| {
        config.heartbeat_interval = Duration::from_secs(600);
    });
    let emulator = builder.start().expect("an emulator");
    let mut play = Play::at(harness, &emulator.api_base(), |options| {
        options.re_shard = ReShardPolicy::StartThenSwap;
        options.mailbox_events = 50;
    });
    play.connected(1);
    play.expect_gaps();
    (0..OLD).for_each(|n| push_numbered(&emulator, n, &[1]));
    std::thread::scope(|scope| {
        let bot = Arc::clone(&play.bot);
        let re_sharding = scope.spawn(move || bot.re_shard(Some(3)));
        let built = emulator.wait_for(|log| log.identifies() == 4, PATIENCE);
        assert!(built, "the new shards never identified");
        let beats =
            |log: &Log| log.count(|seen| matches!(seen, Seen::Received { op: Some(1), .. }));
        let asked = emulator.wait_for(|log| beats(log) > 0, PATIENCE);
        assert!(
            asked,
            "the old shard was not asked whether it has caught up"
        );
        (OLD..OLD + BOTH).for_each(|n| push_numbered(&emulator, n, &[1, 3]));
        assert!(!re_sharding.is_finished(), "it has not delivered them");
        let mut numbers: Vec<_> = (0..OLD + BOTH)
            .map(|_| play.until("a number", number_of))
            .collect();
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..OLD + BOTH), "each once");
        re_sharding.join().expect("no fault").expect("a new layout");
    });
    let states = play.bot.shard_states(ShardFilter::all());
    assert!(states.iter().all(|state| state.shard.total() == 3));
    play.bot.disconnect();
    play.ended();
}

/// Discord closes with 4011: a bot that runs all shards starts as many as it should.
fn a_demand_for_more_shards_is_met(harness: &dyn Harness) {
    let builder = fleet(2).configure(|config| config.total_guilds = Some(4000));
    let mut play = Play::with(harness, builder, |options| {
        options.shards = ShardPlan::Total(1);
    });
    let said = play.until("the change", |event| match event {
        Event::ReShard { from, to } => Some((*from, *to)),
        _ => None,
    });
    assert_eq!(said, (1, Some(2)));
    play.connected(2);
    play.log(|log| {
        let closed = |seen: &Seen| {
            matches!(
                seen,
                Seen::Closed {
                    code: Some(4011),
                    ..
                }
            )
        };
        assert_eq!(log.count(closed), 1);
    });
    play.bot.disconnect();
    assert_eq!(play.ended().0, StopReason::Requested);
}

/// The same with chosen shards: whoever chose them is told, and the bot ends.
fn who_runs_chosen_shards_is_told_of_the_demand(harness: &dyn Harness) {
    let builder = fleet(2).configure(|config| config.total_guilds = Some(4000));
    let emulator = builder.start().expect("an emulator");
    let mut play = Play::shards(harness, &emulator, [ShardId::SINGLE], |_| {});
    let said = play.until("the demand", |event| match event {
        Event::ReShard { from, to } => Some((*from, *to)),
        _ => None,
    });
    assert_eq!(said, (1, None));
    assert_eq!(play.ended().0, StopReason::ReShardRequired);
}
