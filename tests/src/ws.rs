//! Websocket frames as bytes: what the emulator writes, and what it reads from clients.
//!
//! Written by hand because the emulator must be able to cut, split and misframe at an exact byte.
//! The rules are those of RFC 6455, section 5, for the server's side: its frames are not masked,
//! the client's always are.

use bytes::{Buf, Bytes, BytesMut};

/// Opcode of a continuation frame.
pub const CONTINUATION: u8 = 0;
/// Opcode of a text frame.
pub const TEXT: u8 = 1;
/// Opcode of a binary frame.
pub const BINARY: u8 = 2;
/// Opcode of a close frame.
pub const CLOSE: u8 = 8;
/// Opcode of a ping.
pub const PING: u8 = 9;
/// Opcode of a pong.
pub const PONG: u8 = 10;

/// Appends one unmasked frame to `out`.
pub fn write_frame(out: &mut Vec<u8>, fin: bool, opcode: u8, payload: &[u8]) {
    out.push(if fin { 0x80 } else { 0 } | opcode);
    match payload.len() {
        short @ 0..=125 => out.push(short as u8),
        medium @ 126..=0xFFFF => {
            out.push(126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// The payload of a close frame; empty without a code.
#[must_use]
pub fn close_payload(code: Option<u16>, reason: &str) -> Vec<u8> {
    let mut payload = Vec::new();
    if let Some(code) = code {
        payload.extend_from_slice(&code.to_be_bytes());
        let mut end = reason.len().min(123);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        payload.extend_from_slice(&reason.as_bytes()[..end]);
    }
    payload
}

/// What a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum FromClient {
    /// A whole text message.
    Text(Bytes),
    /// A whole binary message.
    Binary(Bytes),
    /// A ping.
    Ping(Bytes),
    /// A pong.
    Pong(Bytes),
    /// A close frame, with its code if it had one.
    Close(Option<u16>),
}

/// How a client broke the framing rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misframed {
    /// A frame was not masked.
    #[error("a client's frame was not masked")]
    Unmasked,
    /// A reserved bit was set.
    #[error("a reserved bit was set")]
    ReservedBit,
    /// The opcode is not one of RFC 6455.
    #[error("unknown frame opcode {0}")]
    Opcode(u8),
    /// A control frame was cut or had more than 125 bytes.
    #[error("a control frame was too long or fragmented")]
    Control,
    /// A continuation without a start, or a start inside a message.
    #[error("fragments out of order")]
    Order,
    /// A message longer than any client payload may be.
    #[error("a message of more than {MAX_MESSAGE} bytes")]
    TooLong,
    /// A close frame with one byte.
    #[error("a close frame with a broken payload")]
    ClosePayload,
}

/// The longest message read from a client; far above the 4096 bytes a payload may have.
pub const MAX_MESSAGE: usize = 1 << 20;

/// Puts a client's frames together.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: BytesMut,
    started: Option<(u8, Vec<u8>)>,
}

impl Reader {
    /// Takes bytes from the line.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next message or control frame; none until more bytes come.
    ///
    /// # Errors
    /// When the client broke a framing rule; nothing after that can be read.
    pub fn read(&mut self) -> Result<Option<FromClient>, Misframed> {
        loop {
            let Some((fin, opcode, payload)) = self.frame()? else {
                return Ok(None);
            };
            match opcode {
                TEXT | BINARY if self.started.is_some() => return Err(Misframed::Order),
                TEXT | BINARY if fin => return Ok(Some(message(opcode, payload.into()))),
                TEXT | BINARY => self.started = Some((opcode, payload)),
                CONTINUATION => {
                    let (opcode, mut text) = self.started.take().ok_or(Misframed::Order)?;
                    if text.len() + payload.len() > MAX_MESSAGE {
                        return Err(Misframed::TooLong);
                    }
                    text.extend_from_slice(&payload);
                    if fin {
                        return Ok(Some(message(opcode, text.into())));
                    }
                    self.started = Some((opcode, text));
                }
                PING => return Ok(Some(FromClient::Ping(payload.into()))),
                PONG => return Ok(Some(FromClient::Pong(payload.into()))),
                _ => {
                    return match payload.as_slice() {
                        [] => Ok(Some(FromClient::Close(None))),
                        [a, b, ..] => {
                            Ok(Some(FromClient::Close(Some(u16::from_be_bytes([*a, *b])))))
                        }
                        _ => Err(Misframed::ClosePayload),
                    };
                }
            }
        }
    }

    fn frame(&mut self) -> Result<Option<(bool, u8, Vec<u8>)>, Misframed> {
        let [first, second, ..] = self.buffer[..] else {
            return Ok(None);
        };
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0F);
        if first & 0x70 != 0 {
            return Err(Misframed::ReservedBit);
        }
        if second & 0x80 == 0 {
            return Err(Misframed::Unmasked);
        }
        match opcode {
            CONTINUATION | TEXT | BINARY => {}
            CLOSE | PING | PONG if fin && second & 0x7F <= 125 => {}
            CLOSE | PING | PONG => return Err(Misframed::Control),
            other => return Err(Misframed::Opcode(other)),
        }
        let (length, start) = match second & 0x7F {
            126 => match self.buffer.get(2..4) {
                Some(bytes) => (u64::from(u16::from_be_bytes([bytes[0], bytes[1]])), 4),
                None => return Ok(None),
            },
            127 => match self.buffer.get(2..10) {
                Some(bytes) => (
                    bytes.iter().fold(0, |sum, b| (sum << 8) | u64::from(*b)),
                    10,
                ),
                None => return Ok(None),
            },
            short => (u64::from(short), 2),
        };
        if length > MAX_MESSAGE as u64 {
            return Err(Misframed::TooLong);
        }
        let end = start + 4 + length as usize;
        if self.buffer.len() < end {
            return Ok(None);
        }
        let mask = [
            self.buffer[start],
            self.buffer[start + 1],
            self.buffer[start + 2],
            self.buffer[start + 3],
        ];
        let payload = self.buffer[start + 4..end]
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask)
            .collect();
        self.buffer.advance(end);
        Ok(Some((fin, opcode, payload)))
    }
}

fn message(opcode: u8, payload: Bytes) -> FromClient {
    if opcode == TEXT {
        FromClient::Text(payload)
    } else {
        FromClient::Binary(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first, 0x80 | payload.len() as u8, 1, 2, 3, 4];
        frame.extend(
            payload
                .iter()
                .zip([1, 2, 3, 4].iter().cycle())
                .map(|(a, b)| a ^ b),
        );
        frame
    }

    #[test]
    fn fragments_are_joined_with_a_ping_between_them() {
        let mut reader = Reader::default();
        let mut bytes = masked(TEXT, b"ab");
        bytes.extend(masked(0x80 | PING, b""));
        bytes.extend(masked(0x80, b"cd"));
        let mut seen = Vec::new();
        for byte in bytes {
            reader.feed(&[byte]);
            seen.extend(reader.read().unwrap());
        }
        assert_eq!(
            seen,
            [
                FromClient::Ping(Bytes::new()),
                FromClient::Text("abcd".into())
            ]
        );
    }

    #[test]
    fn broken_frames_are_told_apart() {
        for (bytes, fault) in [
            (vec![0x81, 0x01, b'a'], Misframed::Unmasked),
            (masked(0xC1, b"a"), Misframed::ReservedBit),
            (masked(0x83, b"a"), Misframed::Opcode(3)),
            (masked(PING, b"a"), Misframed::Control),
            (masked(0x80, b"a"), Misframed::Order),
            (masked(0x88, b"a"), Misframed::ClosePayload),
            (
                vec![0x81, 0xFF, 255, 0, 0, 0, 0, 0, 0, 0],
                Misframed::TooLong,
            ),
        ] {
            let mut reader = Reader::default();
            reader.feed(&bytes);
            assert_eq!(reader.read(), Err(fault));
        }
    }

    #[test]
    fn lengths_are_written_in_the_shortest_form() {
        for (length, header) in [(125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let mut out = Vec::new();
            write_frame(&mut out, true, BINARY, &vec![0; length]);
            assert_eq!(out.len(), header + length);
        }
    }
}
