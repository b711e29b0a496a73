//! What can happen to a shard, in a form that bytes are read into.

use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use shardwright_core::TransportFault;

use crate::time::Step;

/// One thing that happens. `back` counts connections, sequences or commands from the newest.
#[derive(Debug)]
pub enum Op {
    Pass(Step),
    Tick {
        wall: Option<i16>,
    },
    /// What brings the shard nearer to READY or RESUMED in the state it is in.
    Onward,
    Start,
    Opened {
        back: u8,
    },
    Payload {
        back: u8,
        payload: Payload,
        wrap: Wrap,
    },
    Bytes {
        back: u8,
        text: bool,
        bytes: Vec<u8>,
    },
    Closed {
        back: u8,
        code: Option<u16>,
    },
    Failed {
        back: u8,
        why: TransportFault,
    },
    Flushed {
        back: u8,
    },
    Granted {
        back: u8,
    },
    Command {
        kind: Kind,
        queue: bool,
    },
    /// So many at once: the gateway asks for beats, or raw commands.
    Burst {
        count: u8,
        beats: bool,
    },
    /// Members are asked for, through the collector.
    Collect {
        guild: u8,
        who: Who,
        time: u8,
        room: u8,
    },
    Acknowledged {
        back: u8,
    },
    AckAhead {
        by: u8,
    },
    CatchUp,
    Congested(bool),
    Stop {
        last: bool,
    },
}

/// What a gateway says.
#[derive(Debug)]
pub enum Payload {
    Hello {
        millis: Vec<u8>,
    },
    Ready {
        seq: Seq,
        guilds: u8,
        url: u8,
    },
    Resumed {
        seq: Seq,
    },
    Event {
        name: u8,
        seq: Seq,
    },
    /// A dispatch with any body.
    Body {
        seq: Seq,
        body: Vec<u8>,
    },
    Guild {
        id: u8,
        gone: bool,
        seq: Seq,
    },
    /// Part of an answer to a collector's request, counted from the newest.
    Chunk {
        back: u8,
        index: u8,
        count: u8,
        items: u8,
        seq: Seq,
    },
    /// Such a request was too frequent.
    Limited {
        back: u8,
        after: u8,
        seq: Seq,
    },
    Beat,
    Ack,
    Reconnect,
    Invalid {
        data: u8,
    },
    Other {
        op: u8,
    },
}

#[derive(Clone, Copy, Debug)]
pub enum Seq {
    Next,
    None,
    Ahead(u8),
    Old(u8),
    Huge,
}

/// How a payload travels.
#[derive(Clone, Copy, Debug)]
pub enum Wrap {
    /// As the compression that was asked for says.
    Usual,
    Text,
    Binary,
    /// Together with the next one.
    Held,
    /// In two messages.
    Cut(u16),
    /// A byte is changed.
    Damaged(u16),
    AfterEmpty,
}

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Presence(u8),
    Voice { guild: u8 },
    Members { guild: u8 },
    Soundboard { guild: u8 },
    Channels { guild: u8 },
    Raw { op: u8 },
}

/// Whose members are asked for.
#[derive(Clone, Copy, Debug)]
pub enum Who {
    All,
    Prefix(u8),
    Ids(u16),
}

impl Op {
    /// What the fuzzer has written itself.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes { bytes, .. } => bytes,
            Self::Payload {
                payload: Payload::Body { body, .. },
                ..
            } => body,
            _ => &[],
        }
    }
}

impl<'a> Arbitrary<'a> for Op {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=35_u8)? {
            0..=3 => Self::Onward,
            4..=7 => Self::Pass(u.arbitrary()?),
            8 => Self::Tick { wall: None },
            9 => Self::Tick {
                wall: Some(u.arbitrary()?),
            },
            10..=16 => Self::Payload {
                back: back(u)?,
                payload: u.arbitrary()?,
                wrap: u.arbitrary()?,
            },
            17 => Self::Bytes {
                back: back(u)?,
                text: u.arbitrary()?,
                bytes: bytes(u)?,
            },
            18 => Self::Start,
            19 => Self::Opened { back: back(u)? },
            20 => Self::Closed {
                back: back(u)?,
                code: close_code(u)?,
            },
            21 => Self::Failed {
                back: back(u)?,
                why: fault(u)?,
            },
            22 => Self::Flushed { back: back(u)? },
            23 => Self::Granted { back: back(u)? },
            24 => Self::Burst {
                count: u.arbitrary()?,
                beats: u.arbitrary()?,
            },
            25 | 26 => Self::Command {
                kind: u.arbitrary()?,
                queue: u.arbitrary()?,
            },
            27 | 28 => Self::Acknowledged {
                back: u.arbitrary()?,
            },
            29 => Self::AckAhead { by: u.arbitrary()? },
            30 => Self::Congested(u.arbitrary()?),
            31 => Self::Stop {
                last: u.arbitrary()?,
            },
            35 => Self::CatchUp,
            _ => Self::Collect {
                guild: u.arbitrary::<u8>()? % 4,
                who: u.arbitrary()?,
                time: u.arbitrary()?,
                room: u.arbitrary()?,
            },
        })
    }
}

impl<'a> Arbitrary<'a> for Payload {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=20_u8)? {
            0..=4 => Self::Event {
                name: u.arbitrary()?,
                seq: u.arbitrary()?,
            },
            5 => Self::Body {
                seq: u.arbitrary()?,
                body: bytes(u)?,
            },
            6 => Self::Guild {
                id: u.arbitrary()?,
                gone: u.arbitrary()?,
                seq: u.arbitrary()?,
            },
            7 => Self::Hello {
                millis: interval(u)?,
            },
            8 => Self::Ready {
                seq: u.arbitrary()?,
                guilds: u.arbitrary()?,
                url: u.arbitrary()?,
            },
            9 => Self::Resumed {
                seq: u.arbitrary()?,
            },
            10 => Self::Beat,
            11 | 12 => Self::Ack,
            13 => Self::Reconnect,
            14 => Self::Invalid {
                data: u.arbitrary()?,
            },
            15 => Self::Other { op: u.arbitrary()? },
            16 => Self::Limited {
                back: back(u)?,
                after: u.arbitrary()?,
                seq: u.arbitrary()?,
            },
            _ => Self::Chunk {
                back: back(u)?,
                index: u.arbitrary()?,
                count: u.arbitrary()?,
                items: u.arbitrary()?,
                seq: u.arbitrary()?,
            },
        })
    }
}

impl<'a> Arbitrary<'a> for Seq {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=7_u8)? {
            0..=3 => Self::Next,
            4 => Self::None,
            5 => Self::Ahead(u.arbitrary()?),
            6 => Self::Old(u.arbitrary()?),
            _ => Self::Huge,
        })
    }
}

impl<'a> Arbitrary<'a> for Wrap {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=11_u8)? {
            0..=5 => Self::Usual,
            6 => Self::Text,
            7 => Self::Binary,
            8 => Self::Held,
            9 => Self::Cut(u.arbitrary()?),
            10 => Self::Damaged(u.arbitrary()?),
            _ => Self::AfterEmpty,
        })
    }
}

impl<'a> Arbitrary<'a> for Kind {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=5_u8)? {
            0 => Self::Presence(u.arbitrary()?),
            1 => Self::Voice {
                guild: u.arbitrary()?,
            },
            2 => Self::Members {
                guild: u.arbitrary()?,
            },
            3 => Self::Soundboard {
                guild: u.arbitrary()?,
            },
            4 => Self::Channels {
                guild: u.arbitrary()?,
            },
            _ => Self::Raw { op: u.arbitrary()? },
        })
    }
}

impl<'a> Arbitrary<'a> for Who {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=3_u8)? {
            0 | 1 => Self::All,
            2 => Self::Prefix(u.arbitrary()?),
            _ => Self::Ids(u.arbitrary()?),
        })
    }
}

/// Mostly the newest.
fn back(u: &mut Unstructured<'_>) -> Result<u8> {
    Ok(u.arbitrary::<u8>()?.saturating_sub(250))
}

/// Any bytes, written one after the other behind their number.
fn bytes(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let len: u16 = u.arbitrary()?;
    let len = usize::from(len % 2048).min(u.len());
    Ok(u.bytes(len)?.to_vec())
}

fn interval(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let text: &[u8] = match u.int_in_range(0..=9_u8)? {
        0..=3 => b"41250",
        4 => b"200",
        5 => b"600000",
        6 => b"5e3",
        7 => b"199",
        8 => b"18446744073709551615",
        _ => return Ok(u.arbitrary::<u32>()?.to_string().into_bytes()),
    };
    Ok(text.to_vec())
}

fn close_code(u: &mut Unstructured<'_>) -> Result<Option<u16>> {
    Ok(match u.int_in_range(0..=20_u8)? {
        n @ 0..=14 => Some(4000 + u16::from(n)),
        15 => Some(1000),
        16 => Some(1001),
        17 => Some(u.arbitrary()?),
        _ => None,
    })
}

fn fault(u: &mut Unstructured<'_>) -> Result<TransportFault> {
    Ok(match u.int_in_range(0..=9_u8)? {
        0 => TransportFault::NameLookup,
        1 => TransportFault::Refused,
        2 => TransportFault::Unreachable,
        3 => TransportFault::TimedOut,
        4 => TransportFault::Reset,
        5 => TransportFault::UnexpectedEnd,
        6 => TransportFault::Tls("bad certificate".to_owned()),
        7 => TransportFault::Upgrade {
            status: u.arbitrary()?,
            retry_after: match u.arbitrary::<u8>()? {
                255 => Some(Duration::MAX),
                n if n % 2 == 0 => None,
                n => Some(Duration::from_secs(u64::from(n) * 60)),
            },
        },
        8 => TransportFault::Protocol("bad frame".to_owned()),
        _ => TransportFault::TooLarge,
    })
}
