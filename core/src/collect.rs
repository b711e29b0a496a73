//! Asks for members and gathers the chunks of the answers, beside the machine of a shard.
//!
//! Whoever drives the machine shows the collector every event ([`MemberCollector::observe`]) and the answers
//! to its commands ([`MemberCollector::answered`]), gives its commands to the machine, and wakes it in time.
//! The chunks reach the consumer as ordinary events all the same.

mod collection;
mod part;
mod raw_json;
mod request;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use self::collection::Collection;
use self::part::{ChunkBody, Part, RateLimited, Stage, Taken};
pub use self::raw_json::RawJson;
pub use self::request::{GuildMembers, GuildMembersRequest, RequestMembersError};
use crate::rng::Rng;
use crate::{
    Answer, Command, CommandError, CommandId, CommandKind, Event, GuildId, Nonce, ShardId,
};

/// Discord answers a request for a whole list once in 30 seconds for a guild; a margin for what travels
/// faster than the one before.
const WHOLE_LIST_PAUSE: Duration = Duration::from_millis(30_150);
/// How many requests the machine has at one time that have not left: more would only take the places of
/// other commands.
const UNSENT: usize = 8;
/// How many collections may be open.
const OPEN: usize = 1024;
/// The commands of a collector are numbered from here up.
const FIRST_ID: u64 = 1 << 63;
/// The opcode that a refusal names.
const OP: u64 = 8;

/// Gathers the answers to requests for members, for one shard.
///
/// Same contract as the machines: tell it what happened, then [`poll`](Self::poll) until it waits. The filter
/// of the shard must let [`MemberCollector::EVENTS`] pass.
#[derive(Debug)]
pub struct MemberCollector {
    /// Makes its nonces unlike those of other shards and of other runs.
    salt: u64,
    open: BTreeMap<u64, Collection>,
    last_key: u64,
    last_id: u64,
    /// Its commands that have not left yet.
    unsent: BTreeMap<CommandId, Unsent>,
    /// When a guild's whole list may be asked for again; `None` while a request for it is on its way out.
    whole_lists: BTreeMap<GuildId, Option<Instant>>,
    congested: bool,
    out: VecDeque<CollectAction>,
    wake_at: Option<Instant>,
}

/// One thing to do for a [`MemberCollector`].
#[derive(Debug)]
#[non_exhaustive]
pub enum CollectAction {
    /// Give this command to the shard's machine, to be queued if the shard is not ready, and its answers to
    /// [`MemberCollector::answered`].
    Send {
        /// Its number: one of those that [`MemberCollector::owns`].
        id: CommandId,
        /// The checked payload.
        command: Command,
    },
    /// A request has ended: exactly one for each.
    Done {
        /// The caller's number for it.
        id: CommandId,
        /// The whole answer.
        result: Result<GuildMembers, RequestMembersError>,
    },
    /// Nothing more to do for now: ends the drain. [`MemberCollector::handle_tick`] is due then.
    Wait(Option<Instant>),
}

#[derive(Debug)]
struct Unsent {
    key: u64,
    part: usize,
    whole_list_of: Option<GuildId>,
}

impl MemberCollector {
    /// The dispatches that it lives on.
    pub const EVENTS: [&'static str; 2] = ["GUILD_MEMBERS_CHUNK", "RATE_LIMITED"];

    /// A collector for one shard. The seed decides its nonces.
    #[must_use]
    pub fn new(shard: ShardId, seed: u64) -> Self {
        let shard = u64::from(shard.number()) << 32 | u64::from(shard.total());
        Self {
            salt: Rng::new(seed ^ shard).next_u64() >> 16,
            open: BTreeMap::new(),
            last_key: 0,
            last_id: FIRST_ID,
            unsent: BTreeMap::new(),
            whole_lists: BTreeMap::new(),
            congested: false,
            out: VecDeque::new(),
            wake_at: None,
        }
    }

    /// Whether a command of this number is a collector's. Other commands of the same machine are numbered
    /// below.
    #[must_use]
    pub const fn owns(id: CommandId) -> bool {
        id.0 >= FIRST_ID
    }

    /// How many collections are open.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.open.len()
    }

    /// How many bytes the open collections have gathered.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.open.values().map(|open| open.bytes).sum()
    }

    /// Begins a collection; `id` is the caller's number for it.
    pub fn request(&mut self, now: Instant, id: CommandId, request: GuildMembersRequest) {
        let request = request.without_doubles();
        // The one that is tried is like all others.
        let refused = request.batch(0, "n".to_owned()).err().map(Into::into);
        let refused = refused.or_else(|| {
            if self.congested {
                Some(RequestMembersError::ConsumerStalled)
            } else if self.open.len() >= OPEN {
                Some(CommandError::QueueFull { limit: OPEN }.into())
            } else {
                None
            }
        });
        if let Some(error) = refused {
            let result = Err(error);
            return self.out.push_back(CollectAction::Done { id, result });
        }
        self.last_key += 1;
        let collection = Collection::new(now, id, request);
        self.open.insert(self.last_key, collection);
        self.advance(now);
    }

    /// Looks at an event of the shard. Without an open collection this costs nothing; with one, other events
    /// cost a comparison of their name.
    pub fn observe(&mut self, now: Instant, event: &Event<'_>) {
        if self.open.is_empty() {
            return;
        }
        match event {
            Event::Dispatch(dispatch) => match dispatch.name() {
                "GUILD_MEMBERS_CHUNK" => {
                    let Ok(body) = dispatch.parse::<ChunkBody<'_>>() else {
                        return;
                    };
                    self.chunk(&body);
                }
                "RATE_LIMITED" => {
                    let Ok(body) = dispatch.parse::<RateLimited>() else {
                        return;
                    };
                    self.rate_limited(now, &body);
                }
                _ => return,
            },
            Event::SessionLost { .. } | Event::Ready { .. } => {
                self.end_all(&RequestMembersError::SessionLost, |open| {
                    open.parts.iter().any(Part::is_owed)
                });
            }
            Event::ShardStopped { .. } => {
                self.end_all(&RequestMembersError::ShardStopped, |_| true);
            }
            _ => return,
        }
        self.advance(now);
    }

    /// What became of one of its commands. Others are ignored.
    pub fn answered(&mut self, now: Instant, id: CommandId, answer: &Answer) {
        if *answer == Answer::Accepted {
            return;
        }
        let Some(Unsent {
            key,
            part,
            whole_list_of,
        }) = self.unsent.remove(&id)
        else {
            return;
        };
        if let Answer::Refused(error) = answer {
            if let Some(guild) = whole_list_of {
                self.turn_after(guild, now);
            }
            let error = match error {
                CommandError::Stopped => RequestMembersError::ShardStopped,
                error => error.clone().into(),
            };
            self.end(key, Err(error));
        } else {
            if let Some(guild) = whole_list_of {
                self.turn_after(guild, now + WHOLE_LIST_PAUSE);
            }
            let open = self.open.get_mut(&key);
            if let Some(part) = open.and_then(|open| open.parts.get_mut(part))
                && part.stage == Stage::Handed
            {
                part.stage = Stage::Sent;
            }
        }
        self.advance(now);
    }

    /// Another command goes to the machine: if it asks for a whole list, the next one waits for its turn.
    pub fn notice(&mut self, now: Instant, command: &Command) {
        if let CommandKind::Members {
            guild,
            whole_list: true,
            ..
        } = command.kind()
        {
            let turn = self.whole_lists.entry(*guild).or_insert(Some(now));
            if turn.is_some() {
                *turn = Some(now + WHOLE_LIST_PAUSE);
            }
            self.advance(now);
        }
    }

    /// Reading from the gateway is paused (`true`), or goes on (`false`). A pause ends all collections.
    pub fn congested(&mut self, now: Instant, congested: bool) {
        self.congested = congested;
        if congested {
            self.end_all(&RequestMembersError::ConsumerStalled, |_| true);
        }
        self.advance(now);
    }

    /// Time has passed. Early, late and doubled ticks are harmless.
    pub fn handle_tick(&mut self, now: Instant) {
        let late: Vec<u64> = self
            .open
            .iter()
            .filter(|(_, open)| open.deadline.is_some_and(|at| at <= now))
            .map(|(key, _)| *key)
            .collect();
        for key in late {
            if let Some(open) = self.open.get(&key) {
                let error = open.timed_out();
                self.end(key, Err(error));
            }
        }
        self.advance(now);
    }

    /// What to do next.
    pub fn poll(&mut self) -> CollectAction {
        self.out
            .pop_front()
            .unwrap_or(CollectAction::Wait(self.wake_at))
    }

    /// Whether nothing is open, and [`poll`](Self::poll) has nothing but [`CollectAction::Wait`].
    #[must_use]
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.open.is_empty() && self.out.is_empty()
    }

    /// When [`handle_tick`](Self::handle_tick) is due.
    #[must_use]
    pub fn wake_at(&self) -> Option<Instant> {
        self.wake_at
    }

    fn chunk(&mut self, body: &ChunkBody<'_>) {
        let Some((key, index)) = body
            .nonce
            .as_deref()
            .and_then(|nonce| self.read_nonce(nonce))
        else {
            return;
        };
        let Some(open) = self.open.get_mut(&key) else {
            return;
        };
        let limit = open.request.max_bytes;
        let room = limit.saturating_sub(open.bytes);
        let Some(part) = open.parts.get_mut(index) else {
            return;
        };
        match part.take(body, room) {
            Taken::Ignored => {}
            Taken::TooLarge => self.end(key, Err(RequestMembersError::TooLarge { limit })),
            Taken::Kept(bytes) => {
                open.bytes += bytes;
                if part.stage == Stage::Complete {
                    open.again.remove(&index);
                    open.complete += 1;
                }
                if open.complete == open.request.batches() {
                    self.complete(key);
                }
            }
        }
    }

    fn rate_limited(&mut self, now: Instant, body: &RateLimited) {
        let Some((key, index)) = body
            .meta
            .nonce
            .as_deref()
            .and_then(|nonce| self.read_nonce(nonce))
        else {
            return;
        };
        let Some(open) = self.open.get_mut(&key).filter(|_| body.opcode == OP) else {
            return;
        };
        let Some(part) = open.parts.get_mut(index) else {
            return;
        };
        // It may have left twice, over a lost connection: then the first one counts.
        if part.has_any() || matches!(part.stage, Stage::Again(_)) {
            return;
        }
        let retry_after = body.retry_after();
        let at = now.checked_add(retry_after);
        if at.is_some() && open.request.is_whole_list() {
            self.whole_lists.insert(open.request.guild, at);
        }
        match at {
            Some(at) if !part.retried && open.deadline.is_none_or(|deadline| at < deadline) => {
                part.stage = Stage::Again(at);
                part.retried = true;
                open.again.insert(index, at);
            }
            _ => self.end(key, Err(RequestMembersError::RateLimited { retry_after })),
        }
    }

    /// Hands over what may go now, and finds out when to look again.
    fn advance(&mut self, now: Instant) {
        self.whole_lists
            .retain(|_, at| at.is_none_or(|at| at > now));
        while self.unsent.len() < UNSENT {
            // Whoever has had the fewest turns is next, so that a long list of ids holds up nobody.
            let next = self
                .open
                .iter()
                .filter(|(_, open)| self.may_ask(open))
                .filter_map(|(key, open)| Some((open.parts.len(), *key, open.next(now)?)))
                .min();
            let Some((_, key, part)) = next else { break };
            self.hand_over(key, part);
        }
        let times = self.open.values().flat_map(|open| {
            let turn = self.whole_lists.get(&open.request.guild).copied().flatten();
            let turn = turn.filter(|_| open.request.is_whole_list() && open.wants_more());
            let again = open.again.values().min().copied();
            let again = again.into_iter().chain(turn).filter(|at| *at > now);
            open.deadline.into_iter().chain(again)
        });
        self.wake_at = times.min();
    }

    /// A request for a guild's whole list is no longer on its way out, unless Discord has refused it already.
    fn turn_after(&mut self, guild: GuildId, at: Instant) {
        if let Some(turn @ None) = self.whole_lists.get_mut(&guild) {
            *turn = Some(at);
        }
    }

    fn may_ask(&self, open: &Collection) -> bool {
        !open.request.is_whole_list() || !self.whole_lists.contains_key(&open.request.guild)
    }

    fn hand_over(&mut self, key: u64, part: usize) {
        let nonce = self.nonce(key, part);
        let Some(open) = self.open.get_mut(&key) else {
            return;
        };
        let command = match open.request.batch(part, nonce) {
            Ok(command) => command,
            Err(error) => return self.end(key, Err(error.into())),
        };
        open.again.remove(&part);
        match open.parts.get_mut(part) {
            Some(part) => part.stage = Stage::Handed,
            None => open.parts.push(Part::new()),
        }
        let whole_list_of = open.request.is_whole_list().then_some(open.request.guild);
        if let Some(guild) = whole_list_of {
            self.whole_lists.insert(guild, None);
        }
        let id = CommandId(self.last_id);
        self.last_id = self.last_id.checked_add(1).unwrap_or(FIRST_ID);
        let unsent = Unsent {
            key,
            part,
            whole_list_of,
        };
        self.unsent.insert(id, unsent);
        self.out.push_back(CollectAction::Send { id, command });
    }

    /// At most 32 bytes: 12 digits, 11 for more collections than a shard ever has, 7 for the batch.
    fn nonce(&self, key: u64, part: usize) -> String {
        format!("{:012x}.{key:x}.{part:x}", self.salt)
    }

    fn read_nonce(&self, nonce: &str) -> Option<(u64, usize)> {
        let mut words = nonce.split('.');
        let mut number = || u64::from_str_radix(words.next()?, 16).ok();
        let (salt, key, part) = (number()?, number()?, number()?);
        let part = usize::try_from(part).ok()?;
        // Written anew, so that only one spelling counts.
        (salt == self.salt && self.nonce(key, part) == nonce).then_some((key, part))
    }

    fn complete(&mut self, key: u64) {
        let Some(open) = self.open.get_mut(&key) else {
            return;
        };
        let parts = std::mem::take(&mut open.parts);
        let mut answer = GuildMembers {
            guild: open.request.guild,
            members: Vec::new(),
            presences: Vec::new(),
            not_found: Vec::new(),
            nonces: Vec::new(),
        };
        for (index, part) in parts.into_iter().enumerate() {
            answer.nonces.extend(Nonce::new(self.nonce(key, index)));
            part.pour_into(&mut answer);
        }
        self.end(key, Ok(answer));
    }

    fn end_all(&mut self, error: &RequestMembersError, which: impl Fn(&Collection) -> bool) {
        let wanted = self.open.iter().filter(|(_, open)| which(open));
        let keys: Vec<u64> = wanted.map(|(key, _)| *key).collect();
        for key in keys {
            self.end(key, Err(error.clone()));
        }
    }

    fn end(&mut self, key: u64, result: Result<GuildMembers, RequestMembersError>) {
        if let Some(open) = self.open.remove(&key) {
            let id = open.id;
            self.out.push_back(CollectAction::Done { id, result });
        }
    }
}
