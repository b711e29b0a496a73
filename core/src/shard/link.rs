//! One open connection: how far it has come, its heartbeat, its send budget.

use std::time::Instant;

use crate::heartbeat::Heart;
use crate::outbox::Waiting;
use crate::send_budget::SendBudget;
use crate::{ConnId, SentKind};

/// How far an open connection has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The upgrade is done, nothing may be sent yet.
    AwaitingHello,
    /// Beating, and waiting for the fleet's permission to identify.
    AwaitingPermit,
    /// Identify is sent; `flushed` once it has left.
    Identifying { flushed: bool },
    /// Resume is sent; `replayed` missed events have come so far.
    Resuming { replayed: u64 },
    /// READY or RESUMED came.
    Live { since: Instant },
}

/// All that the gateway has sent by now comes ahead of its answer to a beat that is sent now.
#[derive(Clone, Debug)]
pub(crate) struct CatchUp {
    pub(crate) mark: u64,
    /// Answers to beats, up to that one; not known until it is sent.
    pub(crate) answers_left: Option<usize>,
}

/// What belongs to one connection and is made anew for the next.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) conn: ConnId,
    pub(crate) stage: Stage,
    /// From Hello on.
    pub(crate) heart: Option<Heart>,
    pub(crate) budget: SendBudget,
    /// Commands sent and not yet flushed.
    pub(crate) unflushed: Vec<Waiting>,
    /// The last thing sent that the gateway may complain about.
    pub(crate) last_command: Option<SentKind>,
    /// The gateway asked for a beat that the budget had no room for.
    pub(crate) owes_beat: bool,
    /// Who wants to know when all that was sent so far has arrived.
    pub(crate) catch_up: Option<CatchUp>,
    /// Oddities that are reported once a connection.
    pub(crate) reported_opcode: bool,
    pub(crate) reported_empty: bool,
}

impl Link {
    pub(crate) fn new(conn: ConnId) -> Self {
        Self {
            conn,
            stage: Stage::AwaitingHello,
            heart: None,
            budget: SendBudget::default(),
            unflushed: Vec::new(),
            last_command: None,
            owes_beat: false,
            catch_up: None,
            reported_opcode: false,
            reported_empty: false,
        }
    }

    /// When the budget has room for a beat. Before Identify one send is kept for it: it goes the
    /// moment it is granted.
    pub(crate) fn beat_at(&mut self, now: Instant) -> Instant {
        let keep = usize::from(self.stage == Stage::AwaitingPermit);
        self.budget.beat_at(now, keep)
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(self.stage, Stage::Live { .. })
    }
}
