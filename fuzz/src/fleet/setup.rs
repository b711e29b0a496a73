//! The bot that a play is about.

use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use shardwright_core::{
    FleetConfig, GatewayInfo, Intents, KnownStarts, ReShardPolicy, SessionStartLimit, ShardId,
    ShardPlan, ShardState,
};

use super::ops::{self, Limits};
use crate::secret;

#[derive(Debug)]
pub struct Setup {
    pub(super) config: FleetConfig,
    pub(super) seed: u64,
}

impl<'a> Arbitrary<'a> for Setup {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let [taste, known, seed] = u.arbitrary::<[u8; 3]>()?;
        let mut config = FleetConfig::new(secret::token(), Intents::GUILDS);
        config.plan = match u.int_in_range(0..=7_u8)? {
            0..=2 => ShardPlan::Recommended,
            3 | 4 => ShardPlan::Total(ops::total(u)?),
            5 => ShardPlan::Ids {
                ids: ops::several(u, |u| Ok(u32::from(u.arbitrary::<u8>()? % 8)))?,
                total: ops::maybe(u, ops::total)?,
            },
            _ => ShardPlan::Exactly(ops::several(u, ops::shard)?),
        };
        config.states = ops::several(u, ops::shard)?
            .into_iter()
            .map(resumable)
            .collect();
        config.tries = (taste & 1 != 0).then_some(2);
        config.re_shard = match taste >> 1 & 3 {
            0 | 1 => ReShardPolicy::StartThenSwap,
            2 => ReShardPolicy::StopThenStart,
            _ => ReShardPolicy::Report,
        };
        config.gated = taste & 8 != 0;
        config.careful = taste & 16 != 0;
        config.template.limits.close_timeout = match taste >> 5 & 7 {
            0 => Duration::MAX,
            1 => Duration::ZERO,
            _ => Duration::from_secs(5),
        };
        config.known_starts = match known {
            0..=9 => Some(KnownStarts {
                remaining: known.into(),
                reset_after: Duration::from_secs(3600),
            }),
            10 => Some(KnownStarts {
                remaining: 5,
                reset_after: Duration::MAX,
            }),
            _ => None,
        };
        if known >= 128 {
            config.gateway = Some(info(ops::total(u)?, u.arbitrary()?));
        }
        Ok(Self {
            config,
            seed: seed.into(),
        })
    }
}

pub(super) fn info(shards: u32, limits: Limits) -> GatewayInfo {
    let reset_after = Duration::from_millis(limits.reset_after);
    let limit = SessionStartLimit::new(
        limits.total,
        limits.remaining,
        reset_after,
        limits.max_concurrency,
    );
    let url = "wss://gateway.example".parse().expect("an address");
    GatewayInfo::new(url, shards, limit)
}

/// A session to resume.
pub(super) fn resumable(shard: ShardId) -> ShardState {
    ShardState {
        session_id: Some(format!("session-{shard}")),
        seq: Some(7),
        ..ShardState::fresh(shard)
    }
}
