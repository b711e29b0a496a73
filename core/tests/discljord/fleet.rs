//! The shards of a bot together: who identifies when, what the end of one means, other numbers of them.

use std::time::Duration;

use shardwright_core::{
    Activity, Answer, CloseCode, Command, CommandError, CommandId, Event, FetchFault, FleetError,
    FleetInput, GuildId, IfNotReady, Input, ReShardPolicy, ShardPlan, Shards, StatusUpdate, Stop,
    StopReason,
};

use crate::crew::{Crew, config, limit, shard};
use crate::play::secs;

fn online() -> Command {
    Command::status_update(StatusUpdate::online()).unwrap()
}

impl Crew {
    fn command(&mut self, id: u64, to: Shards, command: Command) -> Vec<Answer> {
        self.tell(FleetInput::Command {
            id: CommandId(id),
            to,
            command,
            if_not_ready: IfNotReady::Queue,
        });
        self.answers_to(CommandId(id))
    }
}

/// There a connection that was lost while its shard waited to identify blocked every later Identify.
#[test]
fn s05_a_turn_to_identify_ends_with_its_connection() {
    let mut crew = Crew::new(config(ShardPlan::Total(3)), limit(1000, 3600, 1));
    let [zero, one, two] = [0, 1, 2].map(|number| shard(number, 3));
    crew.unanswered.insert(zero);
    crew.tell(FleetInput::Start);
    assert_eq!(crew.identified(zero), [Duration::ZERO]);
    // The next one is connected and waits for its turn; then its line breaks, and it stays away.
    crew.pass(secs(2));
    let waiting = crew.conns[&one];
    crew.unreachable.insert(one);
    crew.close(one, None);
    crew.pass(secs(40));
    assert_ne!(crew.conns[&one], waiting, "dialled anew");
    assert_eq!(crew.identified(two).len(), 1, "its turn is the next one's");
    // A turn that comes late for the connection that is gone is no turn.
    crew.tell_shard(one, Input::IdentifyGranted { conn: waiting });
    assert!(crew.identified(one).is_empty());
    crew.unreachable.clear();
    crew.pass(secs(100));
    assert_eq!(crew.identified(one).len(), 1, "once it is back");
    crew.unanswered.clear();
    crew.pass(secs(300));
    assert_eq!(crew.all_connected().len(), 1, "none is stuck");
}

/// There one dead shard made every later command to the whole bot throw, the disconnect too.
#[test]
fn s06_a_shard_that_has_stopped_is_known_and_in_nobodys_way() {
    let mut crew = Crew::started(ShardPlan::Total(2), limit(1000, 3600, 16));
    let [zero, one] = [0, 1].map(|number| shard(number, 2));
    crew.close(one, Some(4010));
    let why = StopReason::Fatal {
        code: CloseCode::INVALID_SHARD,
    };
    assert_eq!(crew.shard_stops(), [(one, &why)]);
    assert!(crew.stops().is_empty());
    let stopped = [Answer::Refused(CommandError::Stopped)];
    assert_eq!(crew.command(1, Shards::Only(vec![1]), online()), stopped);
    // Guild 1 << 22 is served by shard 1 of 2.
    let guild = Shards::Guild(GuildId::new(1 << 22));
    assert_eq!(crew.command(2, guild, online()), stopped);
    assert_eq!(
        crew.command(3, Shards::All, online()),
        [Answer::Accepted, Answer::Sent]
    );
    assert_eq!(crew.when(&format!(r#"send {zero} {{"op":3,"#)).len(), 1);
    crew.tell(FleetInput::Stop(Stop::Final));
    assert_eq!(crew.stops(), [&StopReason::Requested]);
    assert_eq!(crew.when(&format!("close {zero} 1000")).len(), 1);
    let Some((_, Event::Stopped { states, .. })) = crew.events.last() else {
        panic!("{:?}", crew.events.last());
    };
    let shards: Vec<_> = states.iter().map(|state| state.shard).collect();
    assert_eq!(shards, [zero, one]);
}

/// There a wrong token, a wrong shard and a version that is no longer served were tried for ever.
#[test]
fn s07_what_is_refused_for_good_stops_with_a_reason_that_says_what_to_do() {
    for (code, whole_bot, advice) in [
        (4004, true, "check the token"),
        (4010, false, "check the shard ids and the total"),
        (4012, true, "update this library"),
    ] {
        let mut crew = Crew::started(ShardPlan::Total(2), limit(1000, 3600, 16));
        let [zero, one] = [0, 1].map(|number| shard(number, 2));
        crew.close(one, Some(code));
        let why = StopReason::Fatal {
            code: CloseCode::new(code),
        };
        assert!(why.to_string().contains(advice), "{why}");
        assert!(crew.shard_stops().contains(&(one, &why)), "{code}");
        let stops: &[&StopReason] = if whole_bot { &[&why] } else { &[] };
        assert_eq!(crew.stops(), stops, "{code}");
        crew.forget();
        crew.pass(secs(24 * 3600));
        assert_eq!(crew.when(&format!("dial {one}")).len(), 0, "{code}");
        assert_eq!(crew.when(&format!("dial {zero}")).len(), 0, "{code}");
        let lives = !crew.when(&format!(r#"send {zero} {{"op":1,"#)).is_empty();
        assert_eq!(lives, !whole_bot, "{code}");
    }
}

/// There it was a timer: it went off with no shard connected, and before the last READY.
#[test]
fn s09_all_shards_are_connected_when_all_shards_are_connected() {
    let mut crew = Crew::new(config(ShardPlan::Total(3)), limit(1000, 3600, 16));
    let [zero, one, two] = [0, 1, 2].map(|number| shard(number, 3));
    crew.unreachable.insert(one);
    crew.unanswered.insert(two);
    crew.tell(FleetInput::Start);
    crew.pass(secs(1000));
    assert!(crew.all_connected().is_empty(), "two are missing");
    let ready = crew.events.iter().filter_map(|(_, event)| match event {
        Event::Ready { shard, .. } => Some(*shard),
        _ => None,
    });
    assert_eq!(ready.collect::<Vec<_>>(), [zero], "each says so by itself");
    crew.unreachable.clear();
    crew.pass(secs(1000));
    assert!(crew.all_connected().is_empty(), "one is missing");
    crew.unanswered.clear();
    let from = crew.events.len();
    crew.pass(secs(1000));
    let last_ready = crew.events[from..]
        .iter()
        .find_map(|(at, event)| match event {
            Event::Ready { shard, .. } if *shard == two => Some(*at),
            _ => None,
        });
    assert_eq!(crew.all_connected(), [(last_ready.unwrap(), 3)]);
    crew.pass(secs(1000));
    assert_eq!(crew.all_connected().len(), 1);
}

/// There `max_concurrency` was ignored and the day's starts were never counted.
#[test]
fn s18_buckets_identify_side_by_side_and_the_days_starts_are_counted() {
    let mut crew = Crew::started(ShardPlan::Total(32), limit(1000, 3600, 16));
    crew.pass(secs(12));
    for number in 0..16 {
        assert_eq!(crew.identified(shard(number, 32)), [secs(0)], "{number}");
        let second = crew.identified(shard(number + 16, 32));
        assert!(
            second.len() == 1 && second[0] >= secs(5) && second[0] < secs(6),
            "{second:?}"
        );
    }

    // Three starts: two for the shards, one for a session that is lost; then none until the reset.
    let mut crew = Crew::started(ShardPlan::Total(2), limit(3, 600, 16));
    let zero = shard(0, 2);
    crew.pass(secs(100));
    crew.close(zero, Some(4009));
    crew.pass(secs(100));
    assert_eq!(crew.identified(zero).len(), 2);
    crew.close(zero, Some(4009));
    crew.pass(secs(390));
    assert_eq!(crew.identified(zero).len(), 2, "nothing is left to spend");
    let spent = crew.events.iter().find_map(|(at, event)| match event {
        Event::IdentifyBudgetSpent {
            reset_after,
            waiting,
            ..
        } => Some((*at + *reset_after, *waiting)),
        _ => None,
    });
    assert_eq!(spent, Some((secs(600), 1)));
    crew.pass(secs(20));
    assert_eq!(crew.identified(zero).len(), 3, "after the reset");
}

/// There a command said whether it had been put into a queue, and nothing more.
#[test]
fn s22_a_command_says_what_became_of_it() {
    let plan = ShardPlan::Ids {
        ids: vec![0],
        total: Some(2),
    };
    let mut crew = Crew::started(plan, limit(1000, 3600, 16));
    let sent = [Answer::Accepted, Answer::Sent];
    assert_eq!(crew.command(1, Shards::Only(vec![0]), online()), sent);
    assert_eq!(
        crew.command(2, Shards::Only(vec![1]), online()),
        [Answer::Refused(CommandError::NoSuchShard { shard: 1 })]
    );
    let guild = GuildId::new(1 << 22);
    assert_eq!(
        crew.command(3, Shards::Guild(guild), online()),
        [Answer::Refused(CommandError::NotMyGuild { guild })]
    );
    let long = StatusUpdate::online().activity(Activity::playing("x".repeat(5000)));
    assert!(matches!(
        Command::status_update(long),
        Err(CommandError::TooLarge { bytes: 5093 })
    ));
    // Without a connection it is accepted, and sent when there is one.
    crew.close(shard(0, 2), None);
    assert_eq!(crew.command(4, Shards::All, online()), [Answer::Accepted]);
    crew.pass(secs(5));
    assert_eq!(crew.answers_to(CommandId(4)), sent);
    crew.tell(FleetInput::Stop(Stop::Final));
    assert_eq!(
        crew.command(5, Shards::All, online()),
        [Answer::Refused(CommandError::Stopped)]
    );
}

/// There the first shard's total was taken for all, and what was for a guild elsewhere was a line in the
/// log.
#[test]
fn s25_a_guild_is_served_by_a_shard_of_its_own_total() {
    let plan = ShardPlan::Exactly(vec![shard(1, 2), shard(2, 3)]);
    let mut crew = Crew::started(plan, limit(1000, 3600, 16));
    crew.pass(secs(10));
    let at = |number: u64| GuildId::new(number << 22);
    for (id, number, wanted) in [
        // 1 mod 2 is 1, and 1 mod 3 is 1.
        (1, 1, Some(shard(1, 2))),
        // 2 mod 2 is 0, and 2 mod 3 is 2.
        (2, 2, Some(shard(2, 3))),
        // 4 mod 2 is 0, and 4 mod 3 is 1.
        (3, 4, None),
        // 8 mod 2 is 0, and 8 mod 3 is 2.
        (4, 8, Some(shard(2, 3))),
    ] {
        crew.forget();
        let answers = crew.command(id, Shards::Guild(at(number)), online());
        let sent = |to| crew.when(&format!(r#"send {to} {{"op":3,"#)).len();
        match wanted {
            Some(shard) => {
                assert_eq!(answers, [Answer::Accepted, Answer::Sent], "{number}");
                assert_eq!(sent(shard), 1, "{number}");
                assert_eq!(crew.when("send").len(), 1, "to it alone");
            }
            None => {
                let guild = at(number);
                let foreign = Answer::Refused(CommandError::NotMyGuild { guild });
                assert_eq!(answers, [foreign]);
                assert!(crew.when("send").is_empty());
            }
        }
    }
}

/// There a demand for more shards took the whole bot offline before anything was planned, and a failed
/// request ended it.
#[test]
fn s27_a_re_shard_is_planned_first_and_a_failure_keeps_what_there_is() {
    // Demanded, and Discord does not answer at first: the other shard goes on.
    let mut crew = Crew::started(ShardPlan::Total(2), limit(1000, 3600, 16));
    let [zero, one] = [0, 1].map(|number| shard(number, 2));
    crew.info.shards = 3;
    crew.faults = vec![FetchFault::network("down"); 3].into();
    crew.forget();
    crew.close(one, Some(4011));
    assert_eq!(crew.when("fetch").len(), 1);
    assert!(crew.when("close").is_empty() && crew.when("stop").is_empty());
    crew.pass(secs(60));
    assert_eq!(crew.when("fetch").len(), 4);
    assert_eq!(crew.when(&format!("close {zero}")).len(), 1, "then it ends");
    assert!(crew.when("fetch")[3] <= crew.when("close")[0]);
    assert_eq!(crew.all_connected().last().unwrap().1, 3);
    assert!(crew.stops().is_empty());

    // Asked for, and refused: nothing has changed, and whoever asked is told.
    let mut config = config(ShardPlan::Total(1));
    config.re_shard = ReShardPolicy::StartThenSwap;
    let mut crew = Crew::new(config, limit(1000, 3600, 16));
    crew.tell(FleetInput::Start);
    let old = shard(0, 1);
    crew.faults = vec![FetchFault::network("down"); 9].into();
    crew.forget();
    let re_shard = |id, to| FleetInput::ReShard {
        id: CommandId(id),
        to: Some(to),
    };
    crew.tell(re_shard(1, 2));
    crew.pass(secs(120));
    assert!(
        matches!(
            crew.done[..],
            [(1, Err(FleetError::Fetch(FetchFault::Network { .. })))]
        ),
        "{:?}",
        crew.done
    );
    assert!(crew.when("start").is_empty() && crew.when("close").is_empty());

    // And with an answer: the old one is there until the new ones are.
    crew.faults.clear();
    crew.unanswered.insert(shard(1, 2));
    crew.forget();
    crew.tell(re_shard(2, 2));
    crew.pass(secs(30));
    assert_eq!(crew.when("start").len(), 2);
    assert!(crew.when("swap").is_empty());
    assert!(crew.when(&format!("close {old}")).is_empty());
    crew.unanswered.clear();
    crew.pass(secs(300));
    assert_eq!(crew.when("swap").len(), 1);
    assert_eq!(crew.when(&format!("close {old} 1000")).len(), 1);
    assert!(crew.when("swap")[0] <= crew.when("close [0, 1]")[0]);
    assert_eq!(crew.done.last(), Some(&(2, Ok(()))));
}
