//! What the decoder's tests share: the sending side of each compression, and ways to read it all.
#![allow(dead_code, reason = "each test crate uses its own part")]

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};
use shardwright_core::{DecodeError, Frame, FrameDecoder};

/// The server's end of `zlib-stream`.
pub(crate) struct ZlibServer(Compress);

impl ZlibServer {
    pub(crate) fn new() -> Self {
        Self::with_level(6)
    }

    pub(crate) fn with_level(level: u32) -> Self {
        Self(Compress::new(Compression::new(level), true))
    }

    /// One payload as it goes out, with its marker.
    pub(crate) fn payload(&mut self, text: impl AsRef<[u8]>) -> Vec<u8> {
        self.flush(text.as_ref(), FlushCompress::Sync)
    }

    pub(crate) fn flush(&mut self, text: &[u8], flush: FlushCompress) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() / 2 + 64);
        let start = self.0.total_in();
        loop {
            let done = (self.0.total_in() - start) as usize;
            self.0.compress_vec(&text[done..], &mut out, flush).unwrap();
            if out.len() < out.capacity() {
                return out;
            }
            out.reserve(out.capacity());
        }
    }
}

/// What the decoder of a connection that has begun holds when nothing comes: its context.
pub(crate) fn at_rest(decoder: &mut FrameDecoder, server: &mut ZlibServer) -> usize {
    let first = server.payload("{}");
    assert_eq!(feed(decoder, binary(first)).unwrap(), [b"{}"]);
    decoder.rest();
    decoder.memory()
}

/// A stored deflate block: the bytes as they are.
pub(crate) fn stored(data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).unwrap();
    let mut block = vec![0];
    block.extend_from_slice(&len.to_le_bytes());
    block.extend_from_slice(&(!len).to_le_bytes());
    block.extend_from_slice(data);
    block
}

/// A whole zlib stream in one message.
pub(crate) fn zlib_whole(text: impl AsRef<[u8]>) -> Vec<u8> {
    ZlibServer::new().flush(text.as_ref(), FlushCompress::Finish)
}

/// The server's end of `zstd-stream`.
#[cfg(feature = "zstd")]
pub(crate) struct ZstdServer(zstd::stream::raw::Encoder<'static>);

#[cfg(feature = "zstd")]
impl ZstdServer {
    pub(crate) fn new() -> Self {
        Self(zstd::stream::raw::Encoder::new(3).unwrap())
    }

    pub(crate) fn with_window(log: u32) -> Self {
        let mut encoder = zstd::stream::raw::Encoder::new(1).unwrap();
        let window = zstd::stream::raw::CParameter::WindowLog(log);
        encoder.set_parameter(window).unwrap();
        Self(encoder)
    }

    pub(crate) fn payload(&mut self, text: impl AsRef<[u8]>) -> Vec<u8> {
        use zstd::stream::raw::{InBuffer, Operation, OutBuffer};
        let text = text.as_ref();
        let mut input = InBuffer::around(text);
        let mut out = Vec::new();
        let mut piece = vec![0; 1 << 17];
        while input.pos() < text.len() {
            let mut room = OutBuffer::around(&mut piece[..]);
            self.0.run(&mut input, &mut room).unwrap();
            out.extend_from_slice(room.as_slice());
        }
        loop {
            let mut room = OutBuffer::around(&mut piece[..]);
            let left = self.0.flush(&mut room).unwrap();
            out.extend_from_slice(room.as_slice());
            if left == 0 {
                return out;
            }
        }
    }
}

pub(crate) fn text(bytes: impl Into<Vec<u8>>) -> Frame {
    Frame::Text(Bytes::from(bytes.into()))
}

pub(crate) fn binary(bytes: impl Into<Vec<u8>>) -> Frame {
    Frame::Binary(Bytes::from(bytes.into()))
}

/// Feeds one message and returns the payloads it completes.
pub(crate) fn feed(decoder: &mut FrameDecoder, frame: Frame) -> Result<Vec<Vec<u8>>, DecodeError> {
    decoder.push(frame);
    let mut payloads = Vec::new();
    while decoder.advance()? {
        let payload = decoder.payload().to_vec();
        assert_eq!(decoder.lend().as_bytes(), payload);
        payloads.push(payload);
    }
    assert!(decoder.payload().is_empty());
    Ok(payloads)
}

/// Feeds messages that must all be fine.
pub(crate) fn feed_all(
    decoder: &mut FrameDecoder,
    frames: impl IntoIterator<Item = Frame>,
) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    for frame in frames {
        payloads.extend(feed(decoder, frame).unwrap());
    }
    payloads
}

/// A small generator with a fixed seed, for texts that don't compress to nothing.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// A dispatch whose text is exactly `len` bytes long, of repeated text.
pub(crate) fn repeated(len: usize) -> String {
    let (head, tail) = (
        r#"{"t":"MESSAGE_CREATE","s":7,"op":0,"d":{"content":""#,
        "\"}}",
    );
    let fill = len - head.len() - tail.len();
    let mut text = String::with_capacity(len);
    text.push_str(head);
    while text.len() < head.len() + fill {
        let left = head.len() + fill - text.len();
        text.push_str(&"lorem ipsum dolor "[..left.min(18)]);
    }
    text.push_str(tail);
    text
}

/// A READY of about `len` bytes with guilds that differ from each other.
pub(crate) fn ready(len: usize) -> String {
    let mut random = Random(0x5EED);
    let mut text = String::with_capacity(len + 256);
    text.push_str(r#"{"t":"READY","s":1,"op":0,"d":{"v":10,"guilds":["#);
    while text.len() < len {
        let id = random.next();
        text.push_str(&format!(
            r#"{{"id":"{id}","unavailable":false,"name":"guild {}","roles":[]}},"#,
            id % 1000
        ));
    }
    text.push_str(r#"null],"session_id":"s","resume_gateway_url":"wss://r.invalid"}}"#);
    text
}

/// A few dispatches, small and larger.
pub(crate) fn dispatches(count: usize) -> Vec<String> {
    let mut random = Random(42);
    (0..count)
        .map(|s| {
            let body: String = (0..random.next() % 60)
                .map(|_| format!("{:x} ", random.next() % 5000))
                .collect();
            format!(r#"{{"t":"MESSAGE_CREATE","s":{s},"op":0,"d":{{"content":"{body}"}}}}"#)
        })
        .collect()
}

pub(crate) fn bytes_of(texts: &[String]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.clone().into_bytes()).collect()
}
