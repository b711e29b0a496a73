//! An event of a shard that is no dispatch, without the shard's own name, while it waits to be
//! handed over.

use std::time::Duration;

use crate::{
    CloseCode, ConnId, DisconnectReason, Event, GuildId, Next, Problem, SessionLoss, ShardId,
    ShardState, StopReason,
};

#[derive(Clone, Debug)]
pub(crate) enum Notice {
    Connecting {
        conn: ConnId,
        url: String,
    },
    Hello {
        conn: ConnId,
        heartbeat_interval: Duration,
    },
    Identifying {
        conn: ConnId,
    },
    Resuming {
        conn: ConnId,
        seq: u64,
    },
    Ready {
        conn: ConnId,
        session: u32,
        session_id: String,
    },
    Resumed {
        conn: ConnId,
        session: u32,
        replayed: u64,
    },
    Heartbeat {
        latency: Duration,
    },
    Disconnected {
        conn: ConnId,
        code: Option<CloseCode>,
        reason: DisconnectReason,
        next: Next,
        delay: Duration,
    },
    SessionLost {
        session: u32,
        last_seq: u64,
        why: SessionLoss,
    },
    Problem {
        conn: Option<ConnId>,
        problem: Problem,
    },
    GuildsLoaded {
        guilds: usize,
        missing: Vec<GuildId>,
    },
    ShardStopped {
        why: StopReason,
        state: ShardState,
    },
}

impl Event<'static> {
    pub(crate) fn from_notice(shard: ShardId, notice: Notice) -> Self {
        match notice {
            Notice::Connecting { conn, url } => Self::Connecting { shard, conn, url },
            Notice::Hello {
                conn,
                heartbeat_interval,
            } => Self::Hello {
                shard,
                conn,
                heartbeat_interval,
            },
            Notice::Identifying { conn } => Self::Identifying { shard, conn },
            Notice::Resuming { conn, seq } => Self::Resuming { shard, conn, seq },
            Notice::Ready {
                conn,
                session,
                session_id,
            } => Self::Ready {
                shard,
                conn,
                session,
                session_id,
            },
            Notice::Resumed {
                conn,
                session,
                replayed,
            } => Self::Resumed {
                shard,
                conn,
                session,
                replayed,
            },
            Notice::Heartbeat { latency } => Self::Heartbeat { shard, latency },
            Notice::Disconnected {
                conn,
                code,
                reason,
                next,
                delay,
            } => Self::Disconnected {
                shard,
                conn,
                code,
                reason,
                next,
                delay,
            },
            Notice::SessionLost {
                session,
                last_seq,
                why,
            } => Self::SessionLost {
                shard,
                session,
                last_seq,
                why,
            },
            Notice::Problem { conn, problem } => Self::Problem {
                shard,
                conn,
                problem,
            },
            Notice::GuildsLoaded { guilds, missing } => Self::GuildsLoaded {
                shard,
                guilds,
                missing,
            },
            Notice::ShardStopped { why, state } => Self::ShardStopped {
                shard,
                why,
                state: Box::new(state),
            },
        }
    }
}
