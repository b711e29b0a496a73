//! Compression towards the client: one context a connection, or one a payload.

use std::io;

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, Status};
use zstd::stream::raw::{Encoder as ZstdEncoder, Operation, OutBuffer};

use super::io::WsMessage;

/// Which compression a connection asked for in its address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Transport {
    /// None.
    #[default]
    Plain,
    /// `zlib-stream`.
    Zlib,
    /// `zstd-stream`.
    Zstd,
}

pub(super) enum Encoder {
    Plain,
    /// `compress: true` in Identify: long payloads as zlib documents of their own.
    Payload(u32),
    Zlib(Box<Compress>),
    Zstd(Box<ZstdEncoder<'static>>),
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain => "Plain",
            Self::Payload(_) => "Payload",
            Self::Zlib(_) => "Zlib",
            Self::Zstd(_) => "Zstd",
        })
    }
}

/// Payloads shorter than this stay text under payload compression.
const WORTH_IT: usize = 512;

impl Encoder {
    pub(super) fn new(transport: Transport, level: u32) -> io::Result<Self> {
        Ok(match transport {
            Transport::Plain => Self::Plain,
            Transport::Zlib => Self::Zlib(Box::new(Compress::new(Compression::new(level), true))),
            Transport::Zstd => {
                let mut encoder = ZstdEncoder::new(level.min(9) as i32)?;
                encoder.set_parameter(zstd::stream::raw::CParameter::WindowLog(18))?;
                encoder.set_parameter(zstd::stream::raw::CParameter::ContentSizeFlag(false))?;
                Self::Zstd(Box::new(encoder))
            }
        })
    }

    /// One payload as a websocket message.
    pub(super) fn encode(&mut self, payload: Bytes) -> io::Result<WsMessage> {
        Ok(match self {
            Self::Plain => WsMessage::Text(payload),
            Self::Payload(_) if payload.len() < WORTH_IT => WsMessage::Text(payload),
            Self::Payload(level) => {
                let mut context = Compress::new(Compression::new(*level), true);
                WsMessage::Binary(deflate(&mut context, &payload, FlushCompress::Finish)?.into())
            }
            Self::Zlib(context) => {
                WsMessage::Binary(deflate(context, &payload, FlushCompress::Sync)?.into())
            }
            Self::Zstd(context) => WsMessage::Binary(zstd(context, &payload)?.into()),
        })
    }
}

/// What a bomb is made of.
const BRICK: &[u8] = &[b'x'; 64 << 10];

impl Encoder {
    /// A payload of `head`, so many letters and `tail`, never held as a whole; none without a
    /// stream.
    pub(super) fn bomb(
        &mut self,
        head: &[u8],
        letters: u64,
        tail: &[u8],
    ) -> io::Result<Option<WsMessage>> {
        let mut out = Vec::new();
        let mut feed = |part: &[u8], last: bool| -> io::Result<bool> {
            out.extend(match self {
                Self::Zlib(context) if last => deflate(context, part, FlushCompress::Sync)?,
                Self::Zlib(context) => deflate(context, part, FlushCompress::None)?,
                Self::Zstd(context) => zstd(context, part)?,
                Self::Plain | Self::Payload(_) => return Ok(false),
            });
            Ok(true)
        };
        if !feed(head, false)? {
            return Ok(None);
        }
        let brick = BRICK.len() as u64;
        for _ in 0..letters / brick {
            feed(BRICK, false)?;
        }
        feed(&BRICK[..(letters % brick) as usize], false)?;
        feed(tail, true)?;
        Ok(Some(WsMessage::Binary(out.into())))
    }
}

fn deflate(context: &mut Compress, input: &[u8], flush: FlushCompress) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(input.len() / 3 + 64);
    let start = context.total_in();
    loop {
        let done = (context.total_in() - start) as usize;
        let status = context.compress_vec(&input[done..], &mut out, flush)?;
        let all_in = (context.total_in() - start) as usize == input.len();
        match status {
            Status::StreamEnd => return Ok(out),
            // A flush is over when the input is used up and the output had room to spare.
            _ if all_in && out.len() < out.capacity() && flush != FlushCompress::Finish => {
                return Ok(out);
            }
            _ => out.reserve(out.capacity().max(64)),
        }
    }
}

fn zstd(context: &mut ZstdEncoder<'static>, input: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = vec![0; 256 + input.len() / 2];
    let mut filled = 0;
    let mut used = 0;
    while used < input.len() {
        let mut buffer = OutBuffer::around(&mut out[filled..]);
        let mut source = zstd::stream::raw::InBuffer::around(&input[used..]);
        context.run(&mut source, &mut buffer)?;
        used += source.pos();
        filled += buffer.pos();
        grow(&mut out, filled);
    }
    loop {
        let mut buffer = OutBuffer::around(&mut out[filled..]);
        let left = context.flush(&mut buffer)?;
        filled += buffer.pos();
        if left == 0 {
            out.truncate(filled);
            return Ok(out);
        }
        grow(&mut out, filled);
    }
}

fn grow(out: &mut Vec<u8>, filled: usize) {
    if out.len() - filled < 128 {
        out.resize(out.len() * 2, 0);
    }
}
