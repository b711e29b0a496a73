//! The shards that a fleet has started, each a life of its own, and what holds of them: no shard runs
//! twice, none is forgotten, and each identifies only when told to.

use std::collections::VecDeque;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use shardwright_core::{
    Action, CommandId, ConnId, Event, GatewayUrl, Input, Intents, Overlap, ShardConfig, ShardId,
    ShardMachine, Stop, ToShard, TransportFault,
};

use crate::secret;

/// Only a machine makes numbers of connections.
static CONNS: LazyLock<Vec<ConnId>> = LazyLock::new(|| {
    let url: GatewayUrl = "wss://h".parse().expect("an address");
    let shard = ShardId::new(0, 1).expect("the only one");
    let config = ShardConfig::new(shard, secret::token(), Intents::empty(), url);
    let mut now = Instant::now();
    let mut machine = ShardMachine::new(config, None, 0, now);
    machine.handle(now, Input::Start).expect("the first");
    let mut conns = Vec::new();
    while conns.len() < 32 {
        match machine.poll() {
            Action::Emit(Event::Connecting { conn, .. }) => conns.push(conn),
            Action::Wait(_) => {
                now += Duration::from_secs(60);
                let input = match conns.last() {
                    Some(conn) if machine.phase() == shardwright_core::Phase::Connecting => {
                        Input::Failed {
                            conn: *conn,
                            why: TransportFault::Refused,
                        }
                    }
                    _ => Input::Tick { wall: None },
                };
                machine.handle(now, input).expect("drained");
            }
            _ => {}
        }
    }
    conns
});

/// How far a shard is on its way to an Identify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    None,
    Wanted,
    /// At the gate of the user.
    AtGate,
    Granted,
}

#[derive(Debug)]
pub(super) struct Life {
    pub(super) shard: ShardId,
    pub(super) resumes: bool,
    pub(super) muted: bool,
    /// Told to end, when first.
    pub(super) told: Option<Instant>,
    pub(super) ended: bool,
    pub(super) up: bool,
    /// It has one that it would resume.
    pub(super) session: bool,
    /// Whether it has caught up is to be said, and since when.
    pub(super) asked: Option<(u64, Instant)>,
    /// When it was asked that, if it has said so.
    pub(super) caught_up: Option<Instant>,
    pub(super) turn: Turn,
    /// On the newest connection.
    pub(super) identified: bool,
    dials: usize,
    pub(super) commands: VecDeque<CommandId>,
    pub(super) collections: VecDeque<CommandId>,
}

impl Life {
    /// The newest connection.
    pub(super) fn conn(&self) -> ConnId {
        CONNS[self.dials % CONNS.len()]
    }

    pub(super) fn dials(&mut self) {
        self.dials += 1;
    }
}

#[derive(Debug, Default)]
pub(super) struct Lives(pub(super) Vec<Life>);

impl Lives {
    pub(super) fn started(
        &mut self,
        shard: ShardId,
        resumes: bool,
        muted: bool,
        now: Instant,
        patience: Duration,
    ) {
        if let Some(old) = self.running(shard) {
            // One that never reports its end is given up.
            let told = old.told.expect("a shard runs twice");
            assert!(
                now.saturating_duration_since(told) >= patience,
                "a shard runs twice"
            );
            old.ended = true;
        }
        self.0.push(Life {
            shard,
            resumes,
            muted,
            told: None,
            ended: false,
            up: false,
            session: resumes,
            asked: None,
            caught_up: None,
            turn: Turn::None,
            identified: false,
            dials: 0,
            commands: VecDeque::new(),
            collections: VecDeque::new(),
        });
    }

    pub(super) fn pick(&mut self, back: u8) -> Option<&mut Life> {
        let count = self.0.len();
        let at = (count).checked_sub(1 + usize::from(back) % count.max(1))?;
        self.0.get_mut(at)
    }

    pub(super) fn running(&mut self, shard: ShardId) -> Option<&mut Life> {
        self.0
            .iter_mut()
            .rfind(|life| life.shard == shard && !life.ended)
    }

    pub(super) fn told(&mut self, shard: ShardId, message: &ToShard, now: Instant) {
        // One that has just ended may still be told something.
        let Some(life) = self.running(shard) else {
            return;
        };
        match message {
            ToShard::Stop(Stop::Keep | Stop::Final) => life.told = life.told.or(Some(now)),
            ToShard::Command { id, .. } => life.commands.push_back(*id),
            ToShard::CollectMembers { id, .. } => life.collections.push_back(*id),
            ToShard::CatchUp { mark } => {
                assert!(!life.muted && life.up, "it has nothing to catch up with");
                life.asked = Some((*mark, now));
            }
            _ => {}
        }
    }

    /// The new layout is heard: what each old shard was sent more than the last few seconds ago is delivered.
    pub(super) fn swapped(&mut self, now: Instant) {
        let old = |life: &&Life| !life.muted && !life.ended && life.told.is_none() && life.session;
        for life in self.0.iter().filter(old) {
            let fresh = life.caught_up.is_some_and(|at| now <= at + Overlap::KEPT);
            assert!(life.up && fresh, "it has not caught up: {life:?}");
        }
        self.0.iter_mut().for_each(|life| life.muted = false);
    }

    /// The bot ends: every shard has been told.
    pub(super) fn stopped(&self) {
        let forgotten = self
            .0
            .iter()
            .find(|life| !life.ended && life.told.is_none());
        assert!(forgotten.is_none(), "left running: {forgotten:?}");
    }
}
