//! Turns websocket messages into payloads.
//!
//! Which bytes are a payload follows from the compression that was asked for and from the kind of each
//! message, never from a guess at its content, with one exception: a binary message that starts with
//! `{` where a compressed stream would have to start can only be JSON, so a server that ignores the
//! wish for compression is understood.
//!
//! | mode | text message | binary message |
//! | --- | --- | --- |
//! | [`Plain`](DecoderMode::Plain) | a payload | a payload |
//! | [`ZlibStream`](DecoderMode::ZlibStream) | a payload | a piece of the connection's stream; payloads end at `00 00 FF FF` |
//! | `ZstdStream` | a payload | one payload, a piece of the connection's stream |
//! | [`Payload`](DecoderMode::Payload) | a payload | one payload, a zlib stream of its own |
//!
//! Only payload compression has a checksum that is ever reached. In the two streams damage is noticed when
//! it breaks the format; a flipped bit may as well come out as other text, valid JSON even. TLS is what
//! keeps that from happening.
//!
//! Memory is bounded: neither what waits to be completed nor what a payload inflates to may pass the
//! limit, and no buffer is made larger in advance.

mod buffer;
mod error;
mod frame;
mod held;
mod zlib;
#[cfg(feature = "zstd")]
mod zstd;

use std::collections::VecDeque;
use std::fmt;

use flate2::Decompress;

use self::buffer::Buffer;
use self::held::{Current, Found, Held};
use self::zlib::ZlibStream;
#[cfg(feature = "zstd")]
use self::zstd::ZstdStream;

use crate::span;

pub use self::error::{DecodeError, TooLarge};
pub use self::frame::Frame;
pub use self::held::PayloadBuf;

/// The usual cap on a payload, compressed or not: 64 MiB. The READY of a shard with thousands of large
/// guilds may reach 40 MB.
pub const DEFAULT_PAYLOAD_LIMIT: usize = 64 * 1024 * 1024;

/// How the messages of a connection are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum DecoderMode {
    /// Not at all.
    #[default]
    Plain,
    /// Transport compression with zlib: one stream for the whole connection.
    ZlibStream,
    /// Transport compression with zstd: one frame for the whole connection.
    #[cfg(feature = "zstd")]
    ZstdStream,
    /// Payload compression: some payloads are binary messages, each a zlib stream of its own.
    Payload,
}

/// Turns the websocket messages of a shard into payloads.
///
/// One decoder serves all connections of a shard, one after the other: [`reset`](Self::reset) it for
/// each. Give it a message with [`push`](Self::push), then call [`advance`](Self::advance) until it
/// returns `false`; after each `true` there is a payload to look at.
///
/// ```
/// # use shardwright_core::{DecoderMode, FrameDecoder, Frame, DEFAULT_PAYLOAD_LIMIT};
/// let mut decoder = FrameDecoder::new(DecoderMode::Plain, DEFAULT_PAYLOAD_LIMIT);
/// decoder.push(Frame::Text(r#"{"op":11}"#.into()));
/// while decoder.advance()? {
///     assert_eq!(decoder.payload(), br#"{"op":11}"#);
/// }
/// # Ok::<(), shardwright_core::DecodeError>(())
/// ```
///
/// After an error the rest of the connection can't be read: every further message gives
/// [`DecodeError::Poisoned`] until the reset.
pub struct FrameDecoder {
    mode: DecoderMode,
    limit: usize,
    // None until the first message that needs it, so that a shard that waits or dials holds no window: when a
    // thousand start, what their handshakes need is given back before.
    codec: Option<Codec>,
    // The message to decode next, and those behind it: as a rule none.
    next: Option<Frame>,
    frames: VecDeque<Frame>,
    held: Held,
    poisoned: bool,
    empty_frames: u64,
}

enum Codec {
    ZlibStream(Box<ZlibStream>),
    #[cfg(feature = "zstd")]
    ZstdStream(ZstdStream),
    Payload(Box<Decompress>),
}

impl FrameDecoder {
    /// A decoder that takes payloads of at most `limit` bytes, and none of 4 GiB or more.
    pub fn new(mode: DecoderMode, limit: usize) -> Self {
        Self {
            mode,
            limit: limit.min(span::LONGEST),
            codec: None,
            next: None,
            frames: VecDeque::new(),
            held: Held::default(),
            poisoned: false,
            empty_frames: 0,
        }
    }

    /// A copy, if nothing is inflated.
    pub(crate) fn try_clone(&self) -> Option<Self> {
        if self.mode != DecoderMode::Plain {
            return None;
        }
        Some(Self {
            codec: None,
            next: self.next.clone(),
            frames: self.frames.clone(),
            held: self.held.clone(),
            ..*self
        })
    }

    /// How the messages are expected to be compressed.
    pub fn mode(&self) -> DecoderMode {
        self.mode
    }

    /// Makes ready for a new connection: nothing of the last one is left, whatever state it was in.
    pub fn reset(&mut self) {
        self.forget();
        self.poisoned = false;
        match &mut self.codec {
            None | Some(Codec::Payload(_)) => {}
            Some(Codec::ZlibStream(stream)) => stream.reset(),
            #[cfg(feature = "zstd")]
            Some(Codec::ZstdStream(stream)) => stream.reset(),
        }
    }

    /// Takes a message of the connection. Call [`advance`](Self::advance) until it returns `false`
    /// before the next one; otherwise messages queue up here.
    pub fn push(&mut self, frame: Frame) {
        if self.next.is_none() {
            self.next = Some(frame);
        } else {
            self.frames.push_back(frame);
        }
    }

    fn pop(&mut self) -> Option<Frame> {
        let frame = self.next.take()?;
        if !self.frames.is_empty() {
            self.next = self.frames.pop_front();
        }
        Some(frame)
    }

    /// Whether the buffer that a large payload needed, of up to 1 MiB, is kept after it: worth it while messages
    /// come all the time. It is not, at first.
    pub fn keep_large(&mut self, keep: bool) {
        self.held.output.keep(keep);
    }

    /// Gives memory back that nothing is in: worth it when no message has come for a while.
    pub fn rest(&mut self) {
        self.held.output.rest();
        if let Some(Codec::ZlibStream(stream)) = &mut self.codec {
            stream.input.rest();
        }
    }

    /// Leaves the current payload and moves to the next. Returns whether there is one.
    ///
    /// # Errors
    ///
    /// If the messages can't be decoded, or are too large. All of it is over then, until
    /// [`reset`](Self::reset).
    pub fn advance(&mut self) -> Result<bool, DecodeError> {
        if let Some(span) = self.held.ready.pop_front() {
            self.held.current = Current::Inflated(span);
            return Ok(true);
        }
        self.held.release();
        while let Some(frame) = self.pop() {
            if self.poisoned {
                self.next = None;
                self.frames.clear();
                return Err(DecodeError::Poisoned);
            }
            if frame.is_empty() {
                self.empty_frames += 1;
                continue;
            }
            if self.decode(frame)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// [`push`](Self::push) and [`advance`](Self::advance) in one step.
    #[inline]
    pub(crate) fn take(&mut self, frame: Frame) -> Result<bool, DecodeError> {
        if self.next.is_some() || !self.held.ready.is_empty() || self.poisoned || frame.is_empty() {
            self.push(frame);
            return self.advance();
        }
        self.held.release();
        self.decode(frame)
    }

    /// Leaves the current payload if it was the last: what [`advance`](Self::advance) does then, which need not
    /// be called any more. False if there may be more.
    #[inline]
    pub(crate) fn finish(&mut self) -> bool {
        if self.next.is_some() || !self.held.ready.is_empty() {
            return false;
        }
        self.held.release();
        true
    }

    /// The current payload: empty before the first and after the last one, and once
    /// [`PayloadBuf::into_bytes`] took its buffer.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.held.payload()
    }

    /// Lends the current payload together with the buffer it lies in, so that a large one can be kept
    /// without a copy.
    #[inline]
    pub fn lend(&mut self) -> PayloadBuf<'_> {
        self.held.lend()
    }

    /// How many messages without any content came in since the decoder was made. They are skipped;
    /// a first one is worth a warning.
    pub fn empty_frames(&self) -> u64 {
        self.empty_frames
    }

    /// How many bytes of memory are held: buffers, messages not decoded yet and, from the first compressed
    /// message on, the compression context (of zlib's, an estimate).
    pub fn memory(&self) -> usize {
        let current = match &self.held.current {
            Current::Frame(bytes) => bytes.len(),
            _ => 0,
        };
        let context = match &self.codec {
            None => 0,
            Some(Codec::ZlibStream(stream)) => zlib::CONTEXT_SIZE + stream.input.bytes.capacity(),
            #[cfg(feature = "zstd")]
            Some(Codec::ZstdStream(stream)) => stream.memory(),
            Some(Codec::Payload(_)) => zlib::CONTEXT_SIZE,
        };
        let queued = self.next.iter().chain(&self.frames);
        let queued: usize = queued.map(Frame::len).sum();
        self.held.output.bytes.capacity() + current + context + queued
    }

    #[inline]
    fn decode(&mut self, frame: Frame) -> Result<bool, DecodeError> {
        self.try_to_decode(frame).inspect_err(|_| {
            self.forget();
            self.poisoned = true;
        })
    }

    #[inline]
    fn try_to_decode(&mut self, frame: Frame) -> Result<bool, DecodeError> {
        let limit = self.limit;
        // Not moved as long as it is only looked at.
        if let Frame::Binary(bytes) = &frame {
            if self.codec.is_none() {
                self.codec = Codec::new(self.mode);
            }
            if let Some(codec) = &mut self.codec
                && !codec.is_bypassed_by(bytes)
            {
                let found = codec.feed(bytes, &mut self.held.output, limit)?;
                return self.held.found(found);
            }
        }
        let (Frame::Text(bytes) | Frame::Binary(bytes)) = frame;
        if bytes.len() > limit {
            return Err(DecodeError::TooLarge {
                limit,
                what: TooLarge::Payload,
            });
        }
        self.held.current = Current::Frame(bytes);
        Ok(true)
    }

    fn forget(&mut self) {
        self.next = None;
        self.frames.clear();
        self.held.forget();
        if let Some(Codec::ZlibStream(stream)) = &mut self.codec {
            stream.input.forget();
        }
    }
}

impl Codec {
    #[cold]
    fn new(mode: DecoderMode) -> Option<Self> {
        match mode {
            DecoderMode::Plain => None,
            DecoderMode::ZlibStream => Some(Self::ZlibStream(Box::new(ZlibStream::new()))),
            #[cfg(feature = "zstd")]
            DecoderMode::ZstdStream => Some(Self::ZstdStream(ZstdStream::new())),
            DecoderMode::Payload => Some(Self::Payload(Box::new(Decompress::new(true)))),
        }
    }

    /// Whether a binary message is JSON although the mode says compressed.
    fn is_bypassed_by(&self, message: &[u8]) -> bool {
        let at_start = match self {
            Self::ZlibStream(stream) => stream.is_untouched(),
            #[cfg(feature = "zstd")]
            Self::ZstdStream(stream) => stream.is_untouched(),
            Self::Payload(_) => true,
        };
        at_start && message.first() == Some(&b'{')
    }

    fn feed(
        &mut self,
        message: &[u8],
        output: &mut Buffer,
        limit: usize,
    ) -> Result<Found, DecodeError> {
        if message.len() > limit {
            return Err(DecodeError::TooLarge {
                limit,
                what: TooLarge::Compressed,
            });
        }
        match self {
            Self::ZlibStream(stream) => stream.feed(message, output, limit),
            #[cfg(feature = "zstd")]
            Self::ZstdStream(stream) => stream.feed(message, output, limit),
            Self::Payload(context) => zlib::inflate_whole(context, message, output, limit),
        }
    }
}

impl fmt::Debug for FrameDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameDecoder")
            .field("mode", &self.mode)
            .field("limit", &self.limit)
            .field("memory", &self.memory())
            .field("poisoned", &self.poisoned)
            .finish_non_exhaustive()
    }
}

/// Whether text that was inflated ends where a JSON object could end.
fn is_whole(text: &[u8]) -> bool {
    text.trim_ascii_end().last() == Some(&b'}')
}
