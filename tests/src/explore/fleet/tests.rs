//! The checker can fail: each rule against actions that break it.

use std::time::{Duration, Instant};

use shardwright_core::{
    Answer, CommandId, ConnId, Event, FleetAction, ShardId, ShardState, StopReason, ToShard, Wait,
    WaitFor,
};

use super::checker::Told;
use super::{Checker, Fleet, Letter, Says, stories, stories_of_a_swap};
use crate::explore::play;

#[derive(Clone)]
struct Trial {
    checker: Checker,
    now: Instant,
    shards: [ShardId; 2],
    conns: [ConnId; 2],
}

/// Two shards run, with so many starts left.
fn trial(starts: u32) -> Trial {
    let fleet = play(
        || Fleet::new(starts, false),
        &[Letter::Start, Letter::Fetched],
    )
    .unwrap_or_else(|found| panic!("{found}"));
    let shards: Vec<ShardId> = fleet.checker.shards.keys().copied().collect();
    Trial {
        checker: fleet.checker.clone(),
        now: fleet.now,
        shards: [shards[0], shards[1]],
        conns: fleet.conns,
    }
}

impl Trial {
    fn hear(&mut self, told: Told) -> &mut Self {
        self.checker.hear(self.now, told);
        self
    }

    fn fine(&mut self, action: &FleetAction) -> &mut Self {
        self.checker.act(self.now, Told::Other, action).unwrap();
        self
    }

    fn breaks(&mut self, words: &str, action: &FleetAction) {
        let what = self
            .checker
            .act(self.now, Told::Other, action)
            .expect_err(words);
        assert!(what.contains(words), "{what}");
    }

    fn grant(&self, which: usize) -> FleetAction {
        let message = ToShard::IdentifyGranted {
            conn: self.conns[0],
        };
        FleetAction::Tell {
            shard: self.shards[which],
            message,
        }
    }

    fn want(&mut self, which: usize) -> &mut Self {
        let told = Told::Wants(self.shards[which], self.conns[0]);
        self.hear(told)
    }
}

#[test]
fn turns_are_given_one_by_one_to_those_who_want_them() {
    let mut it = trial(1000);
    let (first, second) = (it.grant(0), it.grant(1));
    it.breaks("that wants it", &first);
    it.want(0).want(1).fine(&first);
    it.breaks("given once", &first);
    it.breaks("one turn of a bucket", &second);
    let shard = it.shards[0];
    it.hear(Told::Sent(shard));
    it.now += Duration::from_millis(4_999);
    it.breaks("five seconds", &second);
    it.now += Duration::from_millis(1);
    it.fine(&second);
}

#[test]
fn turns_are_taken_back() {
    let mut it = trial(1000);
    let (shard, grant) = (it.shards[0], it.grant(0));
    it.want(0)
        .hear(Told::Withdraws(shard))
        .breaks("that wants it", &grant);
    it.want(0)
        .hear(Told::Ended(shard))
        .breaks("told nothing", &grant);
}

#[test]
fn starts_are_limited() {
    let mut it = trial(1);
    let (shard, first, second) = (it.shards[0], it.grant(0), it.grant(1));
    it.want(0).want(1).fine(&first).hear(Told::Sent(shard));
    it.now += Duration::from_secs(60);
    it.breaks("session starts", &second);
    it.now += Duration::from_secs(24 * 60 * 60);
    it.fine(&second);
}

#[test]
fn the_gate_is_waited_for() {
    let mut it = trial(1000);
    let (shard, conn, grant) = (it.shards[0], it.conns[0], it.grant(0));
    let story = [Letter::Start, Letter::Fetched, Letter::Of(0, Says::Want(0))];
    let gated = play(|| Fleet::new(1000, true), &story).unwrap_or_else(|found| panic!("{found}"));
    it.checker = gated.checker.clone();
    it.breaks("until it opens", &grant);
    let opened = Told::GateOpened(shard, conn);
    it.hear(opened);
    it.checker.act(it.now, opened, &grant).unwrap();
}

#[test]
fn a_shard_runs_once_and_the_end_is_the_end() {
    let mut it = trial(1000);
    let grant = it.grant(0);
    it.breaks("once at a time", &Fleet::first_start());
    it.breaks(
        "all shards are up",
        &FleetAction::Emit(Event::ConnectedAllShards { shards: 2 }),
    );
    let end = FleetAction::Emit(Event::Stopped {
        why: StopReason::Requested,
        states: vec![],
    });
    let id = CommandId(1);
    it.hear(Told::Asked(id)).breaks("before the end", &end);
    let mut it = trial(1000);
    it.want(0).fine(&end);
    it.breaks("only answers", &grant);
    assert!(
        it.checker
            .settle(it.now, Wait::For(WaitFor::Shards))
            .is_err()
    );
    assert!(it.checker.settle(it.now, Wait::Stopped).is_ok());
}

#[test]
fn questions_have_one_answer() {
    let mut it = trial(1000);
    let id = CommandId(1);
    let done = FleetAction::Done { id, result: Ok(()) };
    let accepted = FleetAction::Answer {
        id,
        answer: Answer::Accepted,
    };
    it.breaks("one answer", &done);
    it.hear(Told::Asked(id)).fine(&accepted);
    it.breaks("accepted once", &accepted);
    it.fine(&done);
    it.breaks("one answer", &done);
    let now = it.now;
    assert!(it.checker.settle(now, Wait::Until(now)).is_err());
}

#[test]
fn each_state_is_given_out_once() {
    let mut it = trial(1000);
    let (first, second) = (it.shards[0], it.shards[1]);
    let states = |id, shard| FleetAction::States {
        id,
        states: vec![ShardState::fresh(shard)],
    };
    let [asked, one, other] = [1, 2, 3].map(CommandId);
    // A question gives nothing away.
    it.hear(Told::Asked(asked)).fine(&states(asked, first));
    it.hear(Told::Removes(one)).fine(&states(one, first));
    it.hear(Told::Removes(other)).fine(&states(other, second));
    let again = CommandId(4);
    it.hear(Told::Removes(again))
        .breaks("given out once", &states(again, first));
    let end = |shard| {
        FleetAction::Emit(Event::Stopped {
            why: StopReason::Requested,
            states: vec![ShardState::fresh(shard)],
        })
    };
    // One that came back is the fleet's again.
    let added = CommandId(5);
    let done = FleetAction::Done {
        id: added,
        result: Ok(()),
    };
    it.hear(Told::Adds(added, second, true)).fine(&done);
    it.clone().fine(&end(second));
    it.breaks("given out once", &end(first));
}

/// A fleet on the way to another layout, and its old shards.
fn swapping(story: &str) -> (Fleet, Vec<ShardId>) {
    let stories = stories_of_a_swap();
    let (_, letters) = stories
        .into_iter()
        .find(|(name, _)| *name == story)
        .expect("it is one of the stories");
    let fleet = play(|| Fleet::new(1000, false).swapping(), &letters);
    let fleet = fleet.unwrap_or_else(|found| panic!("{found}"));
    let shards = fleet.checker.shards.keys();
    let old = shards.filter(|shard| shard.total() == 2).copied().collect();
    (fleet, old)
}

#[test]
fn a_layout_takes_over_when_it_is_complete_and_the_old_one_has_delivered_all() {
    let verdict = |fleet: &Fleet, later, told: &[Told], action: &FleetAction| {
        let mut checker = fleet.checker.clone();
        let now = fleet.now + Duration::from_secs(later);
        told.iter().for_each(|told| checker.hear(now, *told));
        checker
            .act(now, Told::Other, action)
            .err()
            .unwrap_or_default()
    };
    let swap = FleetAction::Swap;
    let (built, _) = swapping("a new layout is built");
    assert!(verdict(&built, 0, &[], &swap).contains("all of them"));
    assert!(verdict(&built, 0, &[], &FleetAction::PrepareSwap).contains("one new layout"));
    let (overlap, old) = swapping("both layouts are up");
    assert!(verdict(&overlap, 60, &[], &swap).contains("has delivered"));
    let ask = FleetAction::Tell {
        shard: old[0],
        message: ToShard::CatchUp { mark: 9 },
    };
    assert!(verdict(&overlap, 2, &[], &ask).contains("a while after"));
    assert_eq!(verdict(&overlap, 3, &[], &ask), "");
    assert!(verdict(&overlap, 3, &[Told::Down(old[0])], &ask).contains("a while after"));
    let (asked, _) = swapping("one has answered");
    let last = asked.checker.asked().next().unwrap();
    assert!(verdict(&asked, 0, &[], &swap).contains("has delivered"));
    let done = Told::CaughtUp(last);
    assert_eq!(verdict(&asked, 6, &[done], &swap), "");
    assert!(verdict(&asked, 7, &[done], &swap).contains("has delivered"));
    assert!(verdict(&asked, 6, &[done, Told::Down(old[0])], &swap).contains("has delivered"));
    assert!(verdict(&asked, 6, &[done, Told::Vanished(old[0])], &swap).contains("come back"));
    // What it had is lost; what a new session of it has heard, the new layout has heard as well.
    let lost = [Told::Wants(last, asked.conns[0]), Told::Up(last)];
    assert_eq!(verdict(&asked, 6, &lost, &swap), "");
    let (over, _) = swapping("the new one has taken over");
    for action in [swap, FleetAction::AbandonSwap] {
        assert!(verdict(&over, 0, &[], &action).contains("prepared"));
    }
}

#[test]
fn every_story_can_be_played() {
    for (name, story) in stories_of_a_swap() {
        let fleet = play(|| Fleet::new(1000, false).swapping(), &story);
        let fleet = fleet.unwrap_or_else(|found| panic!("{name}: {found}"));
        assert!(!fleet.has_stopped(), "{name}");
    }
    for (name, story) in stories() {
        let fleet = play(|| Fleet::new(1000, false), &story);
        let fleet = fleet.unwrap_or_else(|found| panic!("{name}: {found}"));
        assert_eq!(fleet.has_stopped(), name == "stopped", "{name}");
    }
}
