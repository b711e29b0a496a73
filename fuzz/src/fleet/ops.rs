//! What can happen to a fleet, in a form that bytes are read into.

use arbitrary::{Arbitrary, Result, Unstructured};
use shardwright_core::ShardId;

use crate::time::Step;

/// One thing that happens. A `life` is one of the shards that were started, counted from the newest.
#[derive(Debug)]
pub enum Op {
    Pass(Step),
    Tick,
    Start,
    /// The answer to a request, if one is out.
    Fetched(Answer),
    /// A shard does what it would do next.
    Onward {
        life: u8,
    },
    /// All of them do.
    AllOnward,
    /// All of them do, again and again, and time passes.
    Settle,
    Report {
        life: u8,
        report: Report,
    },
    /// A report of a shard that may never have been.
    Stray {
        shard: ShardId,
        report: Report,
    },
    Command {
        to: To,
        queue: bool,
    },
    Collect {
        guild: u8,
    },
    AskForStates {
        which: Which,
    },
    AddShards {
        shards: Vec<ShardId>,
        resumable: bool,
    },
    RemoveShards {
        which: Which,
    },
    ReShard {
        to: Option<u32>,
    },
    GateOpened {
        back: u8,
    },
    GateFailed {
        back: u8,
    },
    Stop {
        last: bool,
    },
}

/// What Discord says to a request.
#[derive(Clone, Debug)]
pub enum Answer {
    Info {
        shards: u32,
        limits: Limits,
    },
    /// Any body, with any status.
    Body {
        status: u16,
        body: Vec<u8>,
    },
    Unavailable,
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub(super) total: u32,
    pub(super) remaining: u32,
    pub(super) reset_after: u64,
    pub(super) max_concurrency: u32,
}

#[derive(Clone, Copy, Debug)]
pub enum Report {
    Want,
    Withdraw,
    Sent,
    Up,
    Down,
    Loaded,
    /// It has delivered what there was, when it was asked for the last time or before.
    CaughtUp,
    /// The oldest command that it was given: accepted, sent, replaced or refused.
    Command(u8),
    Members(bool),
    State,
    Vanished,
    /// By itself, for various reasons.
    Stopped(u8),
}

#[derive(Clone, Debug)]
pub enum To {
    All,
    Only(Vec<u32>),
    Guild(u8),
}

#[derive(Clone, Debug)]
pub enum Which {
    All,
    None,
    One(ShardId),
    Life(u8),
}

impl Op {
    /// What the fuzzer has written itself.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Fetched(Answer::Body { body, .. }) => body,
            _ => &[],
        }
    }
}

impl<'a> Arbitrary<'a> for Op {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=31_u8)? {
            0..=2 => Self::AllOnward,
            3 => Self::Settle,
            4..=7 => Self::Onward {
                life: u.arbitrary()?,
            },
            8..=10 => Self::Pass(u.arbitrary()?),
            11 | 12 => Self::Tick,
            13..=16 => Self::Report {
                life: u.arbitrary()?,
                report: u.arbitrary()?,
            },
            17 | 18 => Self::Fetched(u.arbitrary()?),
            19 => Self::Stray {
                shard: shard(u)?,
                report: u.arbitrary()?,
            },
            20 => Self::Start,
            21 | 22 => Self::Command {
                to: u.arbitrary()?,
                queue: u.arbitrary()?,
            },
            23 => Self::Collect {
                guild: u.arbitrary()?,
            },
            24 => Self::AskForStates {
                which: u.arbitrary()?,
            },
            25 => Self::AddShards {
                shards: several(u, shard)?,
                resumable: u.arbitrary()?,
            },
            26 => Self::RemoveShards {
                which: u.arbitrary()?,
            },
            27 | 28 => Self::ReShard {
                to: maybe(u, total)?,
            },
            29 => Self::GateOpened {
                back: u.arbitrary()?,
            },
            30 => Self::GateFailed {
                back: u.arbitrary()?,
            },
            _ => Self::Stop {
                last: u.arbitrary()?,
            },
        })
    }
}

impl<'a> Arbitrary<'a> for Answer {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=7_u8)? {
            0..=4 => Self::Info {
                shards: total(u)?,
                limits: u.arbitrary()?,
            },
            5 => Self::Unavailable,
            _ => {
                let status =
                    [200, 200, 401, 403, 429, 500, 302, 404][usize::from(u.arbitrary::<u8>()? % 8)];
                let len = usize::from(u.arbitrary::<u8>()?).min(u.len());
                Self::Body {
                    status,
                    body: u.bytes(len)?.to_vec(),
                }
            }
        })
    }
}

impl<'a> Arbitrary<'a> for Limits {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            total: number(u, 1000)?,
            remaining: number(u, 1000)?,
            reset_after: match u.arbitrary::<u8>()? {
                255 => u64::MAX,
                n => u64::from(n) * 400_000,
            },
            max_concurrency: number(u, 1)?,
        })
    }
}

impl<'a> Arbitrary<'a> for Report {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=12_u8)? {
            0 => Self::Want,
            1 => Self::Withdraw,
            2 => Self::Sent,
            3 | 4 => Self::Up,
            5 => Self::Down,
            6 => Self::Loaded,
            7 => Self::Command(u.arbitrary()?),
            8 => Self::Members(u.arbitrary()?),
            9 => Self::State,
            10 => Self::Vanished,
            11 => Self::CaughtUp,
            _ => Self::Stopped(u.arbitrary()?),
        })
    }
}

impl<'a> Arbitrary<'a> for To {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=3_u8)? {
            0 | 1 => Self::All,
            2 => Self::Only(several(u, |u| Ok(u32::from(u.arbitrary::<u8>()? % 8)))?),
            _ => Self::Guild(u.arbitrary()?),
        })
    }
}

impl<'a> Arbitrary<'a> for Which {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=3_u8)? {
            0 => Self::All,
            1 => Self::None,
            2 => Self::One(shard(u)?),
            _ => Self::Life(u.arbitrary()?),
        })
    }
}

/// One of the numbers that are likely, or one that is absurd.
pub(super) fn number(u: &mut Unstructured<'_>, usual: u32) -> Result<u32> {
    Ok(match u.arbitrary::<u8>()? {
        n @ 0..=40 => n.into(),
        41..=240 => usual,
        241..=245 => 100,
        246..=248 => u32::MAX,
        249..=251 => 1 << 31,
        _ => 1_000_000,
    })
}

/// A number of shards: few, or more than there can be.
pub(super) fn total(u: &mut Unstructured<'_>) -> Result<u32> {
    Ok(match u.arbitrary::<u8>()? {
        n @ 0..=200 => u32::from(n % 9),
        201..=240 => 64,
        241..=247 => 100_001,
        248..=250 => u32::MAX - 1,
        _ => u32::MAX,
    })
}

/// A shard of a small bot, or one of the largest bots that can be.
pub(super) fn shard(u: &mut Unstructured<'_>) -> Result<ShardId> {
    let [total, number] = u.arbitrary::<[u8; 2]>()?;
    let shard = match total {
        255 => ShardId::new(u32::MAX - 1, u32::MAX),
        total => {
            let total = u32::from(total % 9) + 1;
            ShardId::new(u32::from(number) % total, total)
        }
    };
    Ok(shard.expect("a number below the total"))
}

pub(super) fn several<T>(
    u: &mut Unstructured<'_>,
    one: impl Fn(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    (0..u.arbitrary::<u8>()? % 5).map(|_| one(u)).collect()
}

pub(super) fn maybe<T>(
    u: &mut Unstructured<'_>,
    one: impl Fn(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Option<T>> {
    Ok(if u.arbitrary()? { Some(one(u)?) } else { None })
}
