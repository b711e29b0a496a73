//! A collector of members beside the shard, driven as a runtime does, and what must hold of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use shardwright_core::{
    Action, Answer, CollectAction, Command, CommandId, Event, GuildId, GuildMembers,
    GuildMembersRequest, MemberCollector, ShardId, UserId,
};

use super::ops::Who;

/// More have not left at any time.
const UNSENT: usize = 8;
/// Discord's: a whole list of one guild in this time.
const APART: Duration = Duration::from_secs(30);
/// A nonce is no longer.
const NONCE: usize = 32;

/// A request without its end.
#[derive(Debug)]
struct Open {
    /// When its time is over; `None`: never.
    until: Option<Instant>,
    most: usize,
}

pub(super) struct Desk {
    collector: MemberCollector,
    twin: MemberCollector,
    asked: u64,
    open: BTreeMap<u64, Open>,
    /// Its commands without a last answer, and whose whole list they ask for.
    unsent: BTreeMap<CommandId, Option<String>>,
    newest: Option<CommandId>,
    /// When a guild's whole list was last asked for.
    whole_lists: BTreeMap<String, Instant>,
    congested: bool,
    stopped: bool,
}

impl Desk {
    pub(super) fn new(shard: ShardId, seed: u64) -> Self {
        Self {
            collector: MemberCollector::new(shard, seed),
            twin: MemberCollector::new(shard, seed),
            asked: 0,
            open: BTreeMap::new(),
            unsent: BTreeMap::new(),
            newest: None,
            whole_lists: BTreeMap::new(),
            congested: false,
            stopped: false,
        }
    }

    fn both(&mut self, tell: impl Fn(&mut MemberCollector)) {
        tell(&mut self.collector);
        tell(&mut self.twin);
    }

    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.collector.wake_at()
    }

    /// Somebody asks for members. A shard that has ended is asked for nothing.
    pub(super) fn ask(&mut self, now: Instant, guild: GuildId, who: Who, time: u8, room: u8) {
        if self.stopped {
            return;
        }
        let request = match who {
            Who::All => GuildMembersRequest::everyone(guild),
            Who::Prefix(limit) => GuildMembersRequest::by_prefix(guild, "a", limit.into()),
            Who::Ids(count) => {
                GuildMembersRequest::by_ids(guild, (0..u64::from(count) % 1000).map(UserId::new))
            }
        };
        let request = request
            .presences(room & 128 != 0)
            .time_allowed(match time % 8 {
                0 => Duration::ZERO,
                1 => Duration::from_millis(1),
                2 => Duration::MAX,
                3 => Duration::from_secs(3600),
                _ => Duration::from_secs(60),
            })
            .max_bytes(match room % 8 {
                0 => 0,
                1 => 100,
                2 => usize::MAX,
                _ => 100_000,
            });
        self.asked += 1;
        let open = Open {
            until: now.checked_add(request.time_allowed),
            most: request.max_bytes,
        };
        let id = self.asked;
        self.open.insert(id, open);
        self.both(|collector| collector.request(now, CommandId(id), request.clone()));
    }

    /// Another command goes to the shard.
    pub(super) fn notice(&mut self, now: Instant, command: &Command) {
        self.both(|collector| collector.notice(now, command));
    }

    pub(super) fn congested(&mut self, now: Instant, congested: bool) {
        self.congested = congested;
        self.both(|collector| collector.congested(now, congested));
    }

    pub(super) fn tick(&mut self, now: Instant) {
        self.both(|collector| collector.handle_tick(now));
        if let Some(at) = self.wake_at() {
            assert!(at > now, "a tick that leads to the next at once");
        }
    }

    /// What the shard does.
    pub(super) fn see(&mut self, now: Instant, action: &Action<'_>) {
        match action {
            Action::Emit(event) => {
                if let Event::Dispatch(dispatch) = event
                    && dispatch.name() == "RATE_LIMITED"
                {
                    // Discord names the next time, perhaps before it is reported that the last one left.
                    self.whole_lists.clear();
                    self.unsent.values_mut().for_each(|guild| *guild = None);
                }
                self.stopped |= matches!(event, Event::ShardStopped { .. });
                self.both(|collector| collector.observe(now, event));
            }
            Action::Answer { id, answer } => {
                if *answer != Answer::Accepted
                    && let Some(Some(guild)) = self.unsent.remove(id)
                    && *answer == Answer::Sent
                {
                    self.whole_lists.insert(guild, now);
                }
                self.both(|collector| collector.answered(now, *id, answer));
            }
            _ => {}
        }
    }

    /// The next command that it has for the shard, if it has any.
    pub(super) fn next(&mut self, now: Instant) -> Option<(CommandId, Command)> {
        loop {
            match (self.collector.poll(), self.twin.poll()) {
                (
                    CollectAction::Send { id, command },
                    CollectAction::Send { command: twin, .. },
                ) => {
                    assert_eq!(command.json(), twin.json());
                    self.sends(now, id, &command);
                    return Some((id, command));
                }
                (
                    CollectAction::Done { id, result },
                    CollectAction::Done {
                        id: twin,
                        result: same,
                    },
                ) => {
                    assert_eq!((id, &result), (twin, &same));
                    let open = self.open.remove(&id.0).expect("one end for each request");
                    if let Ok(members) = result {
                        assert!(size(&members) <= open.most, "more than was allowed");
                        assert!(members.nonces.len() <= 10, "batches of a hundred");
                    }
                }
                (CollectAction::Wait(at), CollectAction::Wait(twin)) => {
                    assert_eq!(at, twin);
                    self.settled();
                    return None;
                }
                (one, other) => panic!("{one:?} and {other:?}"),
            }
        }
    }

    fn sends(&mut self, now: Instant, id: CommandId, command: &Command) {
        assert!(!self.congested, "nothing is asked for that is not read");
        assert!(MemberCollector::owns(id));
        assert!(self.newest < Some(id), "a number of its own");
        self.newest = Some(id);
        let json: Value = serde_json::from_str(command.json()).expect("JSON");
        let d = &json["d"];
        assert!(
            d["nonce"]
                .as_str()
                .is_some_and(|nonce| nonce.len() <= NONCE)
        );
        let whole = d["query"] == "" && d["limit"] == 0;
        let guild = whole.then(|| d["guild_id"].to_string());
        if let Some(guild) = &guild {
            let under_way = self.unsent.values().flatten().any(|other| other == guild);
            assert!(!under_way, "two whole lists of a guild at once");
            if let Some(at) = self.whole_lists.get(guild) {
                assert!(now >= *at + APART, "a whole list too soon");
            }
        }
        self.unsent.insert(id, guild);
        assert!(self.unsent.len() <= UNSENT, "more than have left");
    }

    fn settled(&self) {
        assert_eq!(self.collector.pending(), self.open.len());
        let most = self
            .open
            .values()
            .fold(0, |sum: usize, open| sum.saturating_add(open.most));
        assert!(self.collector.memory() <= most);
        assert!(
            !self.congested || self.open.is_empty(),
            "nothing waits for what is not read"
        );
        self.end();
        if let Some(at) = self.open.values().filter_map(|open| open.until).min() {
            assert!(
                self.wake_at().is_some_and(|wake| wake <= at),
                "a deadline is missed"
            );
        }
    }

    /// A shard that has ended leaves nobody waiting.
    pub(super) fn end(&self) {
        assert!(
            !self.stopped || self.open.is_empty(),
            "never answered: {:?}",
            self.open
        );
    }
}

fn size(members: &GuildMembers) -> usize {
    let lists = members.members.iter().chain(&members.presences);
    lists.map(|raw| raw.get().len()).sum()
}
