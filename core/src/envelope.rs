//! Reads the four outer fields of a payload without reading its body.
//!
//! The gateway writes every dispatch in one order: `{"t":"NAME","s":123,"op":0,"d":…}`. A payload of
//! exactly this shape is taken apart by position, and its body is whatever stands between `"d":` and the
//! last `}`, not looked at: who parses it will see whether it is JSON. Any other payload is walked through
//! field by field.
//!
//! Both ways give the same answer for every JSON object in which no key appears twice and nothing follows
//! `d`. If a key appears twice, the last one counts. If something follows `d` in a payload that otherwise
//! has the usual shape, the body is reported with it and won't parse; the gateway sends no such payload.
//!
//! Text that is not UTF-8 is no obstacle in the body. Nesting costs no stack.

use std::borrow::Cow;
use std::ops::Range;

use serde::de::IgnoredAny;

use crate::span::{self, Span};

/// A longer event name is refused.
const NAME_LIMIT: usize = 256;

/// The outer fields of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope<'a> {
    /// `op`: what kind of payload this is.
    pub op: u64,
    /// `s`: the sequence number, `None` if null or left out.
    pub seq: Option<u64>,
    /// `t`: the event's name, `None` if null or left out.
    pub name: Option<Cow<'a, str>>,
    /// Where in the payload the body `d` is, as raw JSON; empty if there is none.
    pub data: Range<usize>,
    // Where the name is written as it is; 0 if nowhere.
    name_at: usize,
}

/// Why a payload has no usable envelope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The payload is not one JSON object and nothing else.
    #[error("the payload is no JSON object (at byte {at})")]
    Json {
        /// The offset near which it goes wrong.
        at: usize,
    },
    /// There is no `op`.
    #[error("the payload has no opcode")]
    NoOpcode,
    /// `op` is not a non-negative integer.
    #[error("the payload's opcode is no non-negative integer")]
    BadOpcode,
    /// `s` is neither null nor a non-negative integer.
    #[error("the payload's sequence number is no non-negative integer")]
    BadSequence,
    /// `t` is neither null nor a string of Unicode text.
    #[error("the payload's event name is no text")]
    BadName,
    /// `t` is longer than any event's name.
    #[error("the payload's event name is longer than {NAME_LIMIT} bytes")]
    NameTooLong,
}

impl<'a> Envelope<'a> {
    /// Reads the envelope of a payload.
    ///
    /// Numbers may be written in any way JSON allows as long as they are non-negative integers (`5`,
    /// `5.0` and `5e0` are the same; those with a fraction or an exponent up to 2^53). Unknown keys are
    /// skipped.
    ///
    /// # Errors
    ///
    /// If the payload is no JSON object, has no `op`, or one of `op`, `s` and `t` is of no use. A broken
    /// body is an error only if the payload does not have the usual shape.
    #[inline]
    pub fn scan(payload: &'a [u8]) -> Result<Self, EnvelopeError> {
        match Usual::scan(payload).and_then(|usual| usual.envelope(payload)) {
            Some(envelope) => Ok(envelope),
            None => walk(payload),
        }
    }

    /// Where in the payload the name is written, if it is written there as it is, without escapes.
    /// With it the name can be found again without a borrow of the payload in the meantime.
    pub fn name_range(&self) -> Option<Range<usize>> {
        let len = self.name.as_ref()?.len();
        (self.name_at > 0).then_some(self.name_at..self.name_at + len)
    }
}

/// An envelope of the usual shape, its name not looked at beyond its letters.
#[derive(Clone, Debug)]
pub(crate) struct Usual {
    pub(crate) op: u64,
    pub(crate) seq: Option<u64>,
    /// Where the name is; empty if there is none.
    pub(crate) name: Span,
    pub(crate) data: Span,
}

impl Usual {
    /// The fast way. `None` says nothing about the payload but that it looks different.
    #[inline(always)]
    pub(crate) fn scan(payload: &[u8]) -> Option<Self> {
        const NAME_AT: usize = br#"{"t":""#.len();
        if payload.len() > span::LONGEST {
            return None;
        }
        let (mut rest, name) = match payload.strip_prefix(br#"{"t":""#) {
            Some(rest) => {
                let len = plain(rest);
                if len == 0 || len > 64 {
                    return None;
                }
                let rest = rest.get(len..)?.strip_prefix(br#"","s":"#)?;
                (rest, NAME_AT..NAME_AT + len)
            }
            None => (payload.strip_prefix(br#"{"t":null,"s":"#)?, 0..0),
        };
        let seq = match rest.strip_prefix(b"null") {
            Some(after) => {
                rest = after;
                None
            }
            None => Some(digits(&mut rest)?),
        };
        let op = match rest.strip_prefix(br#","op":0,"d":"#) {
            Some(after) => {
                rest = after;
                0
            }
            None => {
                rest = rest.strip_prefix(br#","op":"#)?;
                let op = digits(&mut rest)?;
                rest = rest.strip_prefix(br#","d":"#)?;
                op
            }
        };
        let [body @ .., b'}'] = rest else {
            return None;
        };
        // Surrounding white space belongs to no value.
        if body.first()?.is_ascii_whitespace() || body.last()?.is_ascii_whitespace() {
            return None;
        }
        let end = payload.len() - 1;
        Some(Self {
            op,
            seq,
            name: name.into(),
            data: (end - body.len()..end).into(),
        })
    }

    fn envelope(self, payload: &[u8]) -> Option<Envelope<'_>> {
        let name = match self.name.of(payload) {
            b"" => None,
            name => Some(Cow::Borrowed(str::from_utf8(name).ok()?)),
        };
        Some(Envelope {
            op: self.op,
            seq: self.seq,
            name,
            data: self.data.range(),
            name_at: self.name.range().start,
        })
    }
}

/// A byte in all eight places of a word.
const fn eight(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// How many bytes at the front are plain text: ASCII that stands for itself in a JSON string.
#[inline]
fn plain(text: &[u8]) -> usize {
    // Eight at a time. What is subtracted borrows from bytes further on only, and only where one is found, so
    // the first that is found is right.
    let holds_zero = |word: u64| word.wrapping_sub(eight(1)) & !word;
    let mut len = 0;
    while let Some((word, _)) = text.get(len..).and_then(<[u8]>::split_first_chunk) {
        let word = u64::from_le_bytes(*word);
        let quote = holds_zero(word ^ eight(b'"'));
        let backslash = holds_zero(word ^ eight(b'\\'));
        let control = word.wrapping_sub(eight(b' ')) & !word;
        let found = (quote | backslash | control | word) & eight(0x80);
        if found != 0 {
            return len + found.trailing_zeros() as usize / 8;
        }
        len += 8;
    }
    let rest = text.get(len..).unwrap_or_default();
    let is_plain = |byte: &&u8| matches!(byte, b' '..=0x7f) && !matches!(byte, b'"' | b'\\');
    len + rest.iter().take_while(is_plain).count()
}

/// Takes a number in plain digits off the front, if it is one that always fits.
#[inline(always)]
fn digits(rest: &mut &[u8]) -> Option<u64> {
    let Some((word, _)) = rest.split_first_chunk() else {
        return digits_one_by_one(rest);
    };
    // Eight at a time: which are digits, then pairs, fours and eights of them.
    let word = u64::from_le_bytes(*word);
    let high = |word: u64| (word & eight(0xf0)) ^ eight(b'0');
    let others = high(word) | high(word.wrapping_add(eight(6)));
    let len = others.trailing_zeros() / 8;
    if len == 0 || (len > 1 && word as u8 == b'0') {
        return None;
    }
    if len == 8 {
        return digits_one_by_one(rest);
    }
    let ones = (word << (64 - 8 * len)) & eight(0x0f);
    let pairs = (ones.wrapping_mul(10 << 8 | 1) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100 << 16 | 1) >> 16) & 0x0000_ffff_0000_ffff;
    let number = fours.wrapping_mul(10_000 << 32 | 1) >> 32;
    *rest = rest.get(len as usize..)?;
    Some(number)
}

#[cold]
fn digits_one_by_one(rest: &mut &[u8]) -> Option<u64> {
    const ALWAYS_FIT: usize = 19;
    let mut number = 0u64;
    let mut len = 0;
    while let Some(digit @ b'0'..=b'9') = rest.get(len) {
        if len == ALWAYS_FIT {
            return None;
        }
        number = number * 10 + u64::from(digit - b'0');
        len += 1;
    }
    if len == 0 || (len > 1 && rest.first() == Some(&b'0')) {
        return None;
    }
    *rest = rest.get(len..)?;
    Some(number)
}

/// The slow way: field by field.
#[cold]
fn walk(payload: &[u8]) -> Result<Envelope<'_>, EnvelopeError> {
    let mut walker = Walker { payload, at: 0 };
    let (mut op, mut seq, mut name, mut data) = (None, None, None, 0..0);
    walker.expect(b'{')?;
    if walker.peek() == Some(b'}') {
        return Err(EnvelopeError::NoOpcode);
    }
    loop {
        let key = walker.value()?;
        let Some(key) = text(&payload[key.clone()]) else {
            return Err(EnvelopeError::Json { at: key.start });
        };
        walker.expect(b':')?;
        let value = walker.value()?;
        match &*key {
            "op" => op = Some(value),
            "s" => seq = Some(value),
            "t" => name = Some(value),
            "d" => data = value,
            _ => {}
        }
        if walker.peek() == Some(b',') {
            walker.at += 1;
        } else {
            walker.expect(b'}')?;
            break;
        }
    }
    if walker.peek().is_some() {
        return Err(EnvelopeError::Json { at: walker.at });
    }

    let op = &payload[op.ok_or(EnvelopeError::NoOpcode)?];
    let mut envelope = Envelope {
        op: integer(op).ok_or(EnvelopeError::BadOpcode)?,
        seq: None,
        name: None,
        data,
        name_at: 0,
    };
    if let Some(seq) = seq.map(|seq| &payload[seq]).filter(|seq| seq != b"null") {
        envelope.seq = Some(integer(seq).ok_or(EnvelopeError::BadSequence)?);
    }
    if let Some(at) = name.filter(|name| &payload[name.clone()] != b"null") {
        // An escape takes at most six bytes for one; more than this need not even be unescaped.
        if at.len() > 6 * NAME_LIMIT + 2 {
            return Err(EnvelopeError::NameTooLong);
        }
        let name = text(&payload[at.clone()]).ok_or(EnvelopeError::BadName)?;
        if name.len() > NAME_LIMIT {
            return Err(EnvelopeError::NameTooLong);
        }
        if matches!(name, Cow::Borrowed(_)) {
            envelope.name_at = at.start + 1;
        }
        envelope.name = Some(name);
    }
    Ok(envelope)
}

struct Walker<'a> {
    payload: &'a [u8],
    at: usize,
}

impl Walker<'_> {
    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.payload.get(self.at) {
            self.at += 1;
        }
        self.payload.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), EnvelopeError> {
        if self.peek() != Some(byte) {
            return Err(EnvelopeError::Json { at: self.at });
        }
        self.at += 1;
        Ok(())
    }

    /// Steps over a value. Skipping keeps no stack and does not check that text is UTF-8.
    fn value(&mut self) -> Result<Range<usize>, EnvelopeError> {
        self.peek();
        let start = self.at;
        let rest = self.payload.get(start..).unwrap_or_default();
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<IgnoredAny>();
        match values.next() {
            Some(Ok(IgnoredAny)) => {
                self.at += values.byte_offset();
                Ok(start..self.at)
            }
            Some(Err(_)) | None => Err(EnvelopeError::Json { at: start }),
        }
    }
}

/// The text of a JSON string, borrowed if it has no escapes. `None` if it is no string or not Unicode.
fn text(json: &[u8]) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if inner.contains(&b'\\') {
        serde_json::from_slice(json).ok().map(Cow::Owned)
    } else {
        str::from_utf8(inner).ok().map(Cow::Borrowed)
    }
}

/// A JSON number that is a non-negative integer.
fn integer(json: &[u8]) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if let Ok(number) = serde_json::from_slice::<u64>(json) {
        return Some(number);
    }
    let number = serde_json::from_slice::<f64>(json).ok()?;
    // A cast of an integer in this range loses nothing.
    (number.fract() == 0.0 && (0.0..=EXACT).contains(&number)).then_some(number as u64)
}

#[cfg(test)]
mod tests;
