//! The shard that a play is about.

use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use shardwright_core::{
    Activity, Compression, EventFilter, Intents, ShardConfig, ShardId, ShardLimits, ShardState,
    StatusUpdate,
};

use crate::secret;

/// No payload is larger.
pub(super) const LIMIT: usize = 1 << 16;
/// The kind of limits that are all zero.
const NO_TIME: u8 = 0;

#[derive(Debug)]
pub struct Setup {
    pub(super) config: ShardConfig,
    pub(super) state: Option<ShardState>,
    pub(super) seed: u64,
    /// No deadline lies in the present: some of no length would be due again and again.
    pub(super) waits: bool,
}

impl<'a> Arbitrary<'a> for Setup {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let [transport, taste, more, seed] = u.arbitrary::<[u8; 4]>()?;
        let shard = ShardId::new(1, 4).expect("1 of 4");
        let url = if transport & 8 == 0 {
            "wss://gateway.example"
        } else {
            "ws://127.0.0.1:8080/?x=y"
        };
        let url = url.parse().expect("an address");
        let mut config = ShardConfig::new(shard, secret::token(), Intents::all(), url);
        config.compression = match transport & 3 {
            0 => Compression::None,
            1 => Compression::Zlib,
            2 => Compression::Zstd,
            _ => Compression::Payload,
        };
        config.stay_on_host = transport & 16 != 0;
        config.track_guilds = taste & 1 != 0;
        if taste & 6 == 6 {
            config.filter = EventFilter::only(["MESSAGE_CREATE", "GUILD_CREATE"]);
        }
        config.presence = match taste >> 3 & 3 {
            0 | 1 => None,
            2 => Some(presence(1)),
            // Too long for an Identify.
            _ => Some(large_presence()),
        };
        config.large_threshold = (taste & 32 != 0).then_some(250);
        config.capabilities = (taste & 64 != 0).then_some(u64::MAX);
        config.limits = limits(more & 7);
        let state = match more >> 3 & 7 {
            0 => Some(state(
                shard,
                "old-session",
                u64::from(more),
                "wss://resume.example",
            )),
            1 => Some(state(shard, "old-session", u64::MAX, "https://no")),
            2 => Some(state(
                ShardId::new(1, 5).expect("1 of 5"),
                "other",
                7,
                "wss://resume.example",
            )),
            3 => Some(state(shard, "", 7, "")),
            _ => None,
        };
        Ok(Self {
            config,
            state,
            seed: seed.into(),
            waits: more & 7 != NO_TIME,
        })
    }
}

fn limits(kind: u8) -> ShardLimits {
    let usual = ShardLimits {
        payload_limit: LIMIT,
        command_queue: 16,
        ..ShardLimits::default()
    };
    match kind {
        NO_TIME => ShardLimits {
            dial_timeout: Duration::ZERO,
            hello_timeout: Duration::ZERO,
            ready_timeout: Duration::ZERO,
            resumed_timeout: Duration::ZERO,
            guilds_timeout: Duration::ZERO,
            close_timeout: Duration::ZERO,
            backoff_base: Duration::ZERO,
            identify_breaker: 0,
            command_queue: 0,
            ..usual
        },
        1 => ShardLimits {
            dial_timeout: Duration::MAX,
            hello_timeout: Duration::MAX,
            ready_timeout: Duration::MAX,
            resumed_timeout: Duration::MAX,
            guilds_timeout: Duration::MAX,
            close_timeout: Duration::MAX,
            backoff_base: Duration::MAX,
            backoff_cap: Duration::MAX,
            identify_breaker_cap: Duration::MAX,
            ..usual
        },
        2 => ShardLimits {
            identify_breaker: 2,
            session_patience: Duration::from_secs(60),
            ..usual
        },
        _ => usual,
    }
}

fn state(shard: ShardId, session: &str, seq: u64, url: &str) -> ShardState {
    ShardState {
        session_id: Some(session.to_owned()),
        seq: Some(seq),
        resume_gateway_url: Some(url.to_owned()),
        ..ShardState::fresh(shard)
    }
}

pub(super) fn presence(number: u8) -> StatusUpdate {
    StatusUpdate::online().activity(Activity::playing(format!("round {number}")))
}

fn large_presence() -> StatusUpdate {
    let text = "x".repeat(120);
    (0..24).fold(StatusUpdate::dnd(), |status, _| {
        status.activity(Activity::playing(text.clone()).state(text.clone()))
    })
}
