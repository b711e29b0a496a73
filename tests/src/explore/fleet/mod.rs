//! The fleet of two shards in one bucket, and everything that may happen to it.

mod checker;
mod subject;
#[cfg(test)]
mod tests;

pub use checker::{Checker, Told};
pub use subject::Fleet;

use shardwright_core::Stop;

use super::Subject as _;

/// One thing that may happen to a fleet. `Of(n, …)` is a report of the shard that was started `n`th of those
/// that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Letter {
    /// The runtime starts it.
    Start,
    /// The gateway's address is known: two shards, one bucket.
    Fetched,
    /// The request was answered with 429.
    FetchLimited,
    /// The request was answered with 401.
    FetchRefused,
    /// A running shard says something.
    Of(usize, Says),
    /// A shard that nobody knows says something.
    OfAnother(Says),
    /// The user's gate lets the first that waits there pass.
    GateOpened,
    /// The user's gate fails for the first that waits there.
    GateFailed,
    /// A command for all shards.
    Command,
    /// The states are asked for.
    AskForStates,
    /// A shard of another layout comes.
    AddShard,
    /// The first shard comes back, with a session.
    BringBack,
    /// The first shard that runs shall go.
    RemoveShard,
    /// All shards shall go.
    RemoveAll,
    /// Three shards instead.
    ReShard,
    /// The end.
    Stop(Stop),
    /// A tick at the deadline.
    TickDue,
    /// A tick an hour after the deadline.
    TickLate,
}

/// What a shard says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Says {
    /// It wants to identify on its first or second connection.
    Want(usize),
    /// It no longer wants to, or its connection is gone.
    Withdraw,
    /// Its Identify has left. Only of one that was permitted.
    Sent,
    /// READY or RESUMED.
    Up,
    /// Its connection is lost.
    Down,
    /// It has ended as asked.
    Stopped,
    /// It was closed with this code.
    Fatal(u16),
    /// It was closed with 4011.
    NeedsMoreShards,
    /// Its driver is gone.
    Vanished,
    /// Its state.
    State,
    /// The last command has left.
    CommandSent,
    /// Its guilds are loaded.
    Loaded,
    /// All has arrived that was sent when it was asked. Only of one that was.
    CaughtUp,
}

impl Says {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Want(0),
        Self::Want(1),
        Self::Withdraw,
        Self::Sent,
        Self::Up,
        Self::Down,
        Self::Stopped,
        Self::Fatal(4004),
        Self::Fatal(4010),
        Self::NeedsMoreShards,
        Self::Vanished,
        Self::State,
        Self::CommandSent,
        Self::Loaded,
        Self::CaughtUp,
    ];
}

use Letter::{Fetched, Of, Start};

/// The ways to begin with any fleet.
#[must_use]
pub fn stories() -> Vec<(&'static str, Vec<Letter>)> {
    let running = [Start, Fetched];
    let asked = [
        running.as_slice(),
        &[Of(0, Says::Want(0)), Of(1, Says::Want(0))],
    ]
    .concat();
    let one_up = [asked.as_slice(), &[Of(0, Says::Sent), Of(0, Says::Up)]].concat();
    let up = [
        one_up.as_slice(),
        &[Letter::TickDue, Of(1, Says::Sent), Of(1, Says::Up)],
    ]
    .concat();
    let then = |first: &[Letter], last| [first, &[last]].concat();
    vec![
        ("idle", vec![]),
        ("fetching", vec![Start]),
        ("asked again later", vec![Start, Letter::FetchLimited]),
        ("running", running.to_vec()),
        ("both ask", asked),
        ("one is up", one_up),
        ("fallen", then(&up, Of(1, Says::Vanished))),
        ("removing", then(&up, Letter::RemoveShard)),
        (
            "told to go",
            [
                up.as_slice(),
                &[Letter::RemoveShard, Of(0, Says::State), Of(1, Says::State)],
            ]
            .concat(),
        ),
        (
            "given up",
            [
                up.as_slice(),
                &[
                    Letter::RemoveShard,
                    Of(0, Says::State),
                    Of(1, Says::State),
                    Letter::TickDue,
                    Letter::TickDue,
                ],
            ]
            .concat(),
        ),
        ("re-sharding", then(&up, Letter::ReShard)),
        ("stopping", then(&up, Letter::Stop(Stop::Keep))),
        ("both are up", up),
        ("stopped", vec![Letter::Stop(Stop::Keep)]),
    ]
}

/// A fleet whose new layout starts before the old one ends, and the way to where it is.
struct Way {
    fleet: Fleet,
    letters: Vec<Letter>,
    /// Who is told to stop is stuck.
    stuck: bool,
}

impl Way {
    fn new(stuck: bool) -> Self {
        let fleet = Fleet::new(1000, false).swapping();
        let letters = Vec::new();
        let mut way = Self {
            fleet,
            letters,
            stuck,
        };
        way.on(&[Start], &|fleet| fleet.checker.up() == 2);
        way
    }

    /// These letters, and then all behave until something is so. The whole way.
    fn on(&mut self, given: &[Letter], until: &dyn Fn(&Fleet) -> bool) -> Vec<Letter> {
        for letter in given {
            self.fleet.apply(*letter).expect("it is a way to go on");
            self.letters.push(*letter);
        }
        let said = self.fleet.behave_until(self.stuck, until);
        self.letters.extend(said);
        self.letters.clone()
    }
}

/// The ways to begin with a fleet whose new layout starts before the old one ends.
#[must_use]
pub fn stories_of_a_swap() -> Vec<(&'static str, Vec<Letter>)> {
    let re_shard = [Letter::ReShard, Fetched];
    let mut way = Way::new(false);
    let built = way.on(&re_shard, &|_| true);
    let mut stories = vec![
        ("a new layout is built", built),
        (
            "all but one of it are up",
            way.on(&[], &|fleet| fleet.checker.up() == 4),
        ),
        (
            "both layouts are up",
            way.on(&[], &|fleet| fleet.checker.both_up_since().is_some()),
        ),
        (
            "the old one is asked",
            way.on(&[], &|fleet| fleet.checker.asked().next().is_some()),
        ),
        (
            "one has answered",
            way.on(&[], &|fleet| fleet.checker.asked().count() == 1),
        ),
        (
            "the new one has taken over",
            way.on(&[], &|fleet| !fleet.checker.is_prepared()),
        ),
    ];
    let mut way = Way::new(true);
    way.on(&re_shard, &|_| true);
    let ticks = [Letter::TickLate, Letter::TickDue, Letter::TickDue];
    stories.push(("a new layout was given up", way.on(&ticks, &|_| true)));
    stories.push(("and is built again", way.on(&re_shard, &|_| true)));
    let mut way = Way::new(true);
    let leaves = [Letter::RemoveShard, Of(0, Says::State), Of(1, Says::State)];
    way.on(&leaves, &|fleet| !fleet.checker.is_asked());
    way.on(&[Letter::BringBack], &|_| true);
    stories.push((
        "both are up, and one is to come back",
        way.on(&re_shard, &|fleet| fleet.checker.both_up_since().is_some()),
    ));
    stories
}
