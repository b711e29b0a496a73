//! Decides where a payload ends in a zlib stream.
//!
//! `zlib-stream` is one RFC 1950 stream for the whole connection, flushed after each payload, which
//! leaves the bytes `00 00 FF FF`. They are looked for at the end of all that was gathered, not of the
//! last message, and they prove nothing alone: the same bytes may stand inside compressed data. So a
//! payload is whole when the marker is there *and* the text ends like a JSON object. If the marker was
//! seen more than once, the text is read to find out how many payloads it is.
//!
//! The stream never ends, so the checksum at its end (RFC 1950) is never reached. It is not computed either,
//! which would take a sixth of the time: the header is read here, and only what follows it, as RFC 1951 has
//! it, by the library.

use flate2::{Decompress, FlushDecompress, Status};
use memchr::memmem::Finder;

use super::buffer::Buffer;
use super::error::{DecodeError, TooLarge};
use super::{Found, is_whole};

const MARKER: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// What one inflate context holds on the heap, roughly: the window and the tables.
pub(super) const CONTEXT_SIZE: usize = 48 * 1024;

/// The context of `zlib-stream`: one a connection.
#[derive(Debug)]
pub(super) struct ZlibStream {
    context: Decompress,
    header: Header,
    // Compressed bytes of messages that did not end in the marker.
    pub(super) input: Buffer,
    marker: Finder<'static>,
    // Markers among the bytes inflated for the text that is still to be completed.
    markers: usize,
}

impl ZlibStream {
    pub(super) fn new() -> Self {
        Self {
            context: Decompress::new(false),
            header: Header::default(),
            input: Buffer::default(),
            marker: Finder::new(&MARKER).into_owned(),
            markers: 0,
        }
    }

    pub(super) fn reset(&mut self) {
        self.context.reset(false);
        self.header = Header::default();
        self.input.forget();
        self.markers = 0;
    }

    pub(super) fn is_untouched(&self) -> bool {
        self.header.read == 0 && self.input.bytes.is_empty()
    }

    pub(super) fn feed(
        &mut self,
        message: &[u8],
        output: &mut Buffer,
        limit: usize,
    ) -> Result<Found, DecodeError> {
        // What is left in the output is the start of a payload, whose markers were counted when others were found
        // before it.
        self.markers = self.markers.max(usize::from(!output.bytes.is_empty()));
        if self.input.bytes.is_empty() && message.ends_with(&MARKER) {
            self.inflate(message, output, limit)?;
        } else {
            self.input.append(message, limit)?;
            if !self.input.bytes.ends_with(&MARKER) {
                return Ok(Found::Nothing);
            }
            let input = std::mem::take(&mut self.input.bytes);
            let result = self.inflate(&input, output, limit);
            let used = input.len();
            self.input.bytes = input;
            self.input.release(used);
            result?;
        }
        if output.bytes.is_empty() {
            self.markers = 0;
        }
        if !is_whole(&output.bytes) {
            return Ok(Found::Nothing);
        }
        let found = match self.markers {
            1 => Found::One,
            _ => Found::Some,
        };
        self.markers = 0;
        Ok(found)
    }

    fn inflate(
        &mut self,
        input: &[u8],
        output: &mut Buffer,
        limit: usize,
    ) -> Result<(), DecodeError> {
        self.markers += self.marker.find_iter(input).count();
        let input = self.header.skip(input)?;
        let (ended, left) = inflate(&mut self.context, input, output, limit)?;
        self.header.ended |= ended;
        // What may follow the end is the checksum.
        if left > CHECKSUM {
            return Err(DecodeError::corrupt("data after the end of the stream"));
        }
        Ok(())
    }
}

/// How long a checksum is, in bytes.
const CHECKSUM: usize = 4;

/// What RFC 1950 puts around the compressed data.
#[derive(Debug, Default)]
struct Header {
    bytes: [u8; 2],
    read: usize,
    ended: bool,
}

impl Header {
    /// Takes the header off the front of a stream, and gives what follows it.
    #[inline]
    fn skip<'i>(&mut self, mut input: &'i [u8]) -> Result<&'i [u8], DecodeError> {
        if self.ended && !input.is_empty() {
            return Err(DecodeError::corrupt("data after the end of the stream"));
        }
        while let Some(place) = self.bytes.get_mut(self.read) {
            let [first, rest @ ..] = input else {
                return Ok(input);
            };
            (*place, input) = (*first, rest);
            self.read += 1;
            if self.read == self.bytes.len() {
                self.check()?;
            }
        }
        Ok(input)
    }

    /// RFC 1950, 2.2: deflate, a window of at most 32 KiB, no dictionary, divisible by 31.
    fn check(&self) -> Result<(), DecodeError> {
        let [method, flags] = self.bytes;
        let sum = u16::from_be_bytes(self.bytes);
        if method & 0x0F != 8 || method >> 4 > 7 || flags & 0x20 != 0 || !sum.is_multiple_of(31) {
            return Err(DecodeError::corrupt("not a zlib stream"));
        }
        Ok(())
    }
}

/// Inflates a message that is a whole stream of its own.
pub(super) fn inflate_whole(
    context: &mut Decompress,
    message: &[u8],
    output: &mut Buffer,
    limit: usize,
) -> Result<Found, DecodeError> {
    context.reset(true);
    match inflate(context, message, output, limit)? {
        (true, 0) => Ok(Found::One),
        (true, _) => Err(DecodeError::corrupt("data after the end of the stream")),
        (false, _) => Err(DecodeError::Truncated),
    }
}

/// Inflates until the input is used up and the output was not filled: a full output may hide more.
/// Returns whether the stream has ended, and how many bytes were left over then.
fn inflate(
    context: &mut Decompress,
    mut input: &[u8],
    output: &mut Buffer,
    limit: usize,
) -> Result<(bool, usize), DecodeError> {
    loop {
        output.make_room(limit)?;
        let in_before = context.total_in();
        let out_before = output.bytes.len();
        let status = context
            .decompress_vec(input, &mut output.bytes, FlushDecompress::Sync)
            .map_err(|error| match error.message() {
                Some(message) => DecodeError::corrupt(message.to_owned()),
                None => DecodeError::corrupt("not a zlib stream"),
            })?;
        let taken = usize::try_from(context.total_in() - in_before).unwrap_or(usize::MAX);
        input = input.get(taken..).unwrap_or_default();
        output.check(limit)?;
        if status == Status::StreamEnd {
            return Ok((true, input.len()));
        }
        let filled = output.bytes.len() == output.bytes.capacity();
        let stuck = taken == 0 && output.bytes.len() == out_before;
        match input {
            [] if !filled || stuck => return Ok((false, 0)),
            [_, ..] if stuck => return Err(DecodeError::corrupt("no progress")),
            _ => {}
        }
    }
}

impl Buffer {
    /// Adds to what waits for its end.
    fn append(&mut self, message: &[u8], limit: usize) -> Result<(), DecodeError> {
        let len = self.bytes.len();
        if message.len() > limit.saturating_sub(len) {
            return Err(DecodeError::TooLarge {
                limit,
                what: TooLarge::Compressed,
            });
        }
        let needed = len + message.len();
        if needed > self.bytes.capacity() {
            let wanted = needed.max(limit.min(len.saturating_mul(2)));
            self.bytes.reserve_exact(wanted - len);
        }
        self.bytes.extend_from_slice(message);
        Ok(())
    }
}
