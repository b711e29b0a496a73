//! Compresses payloads as a gateway does.

use std::io::Write;

use bytes::Bytes;
use flate2::write::ZlibEncoder;
use flate2::{Compress, Compression, FlushCompress};

/// The server's side of a zlib stream.
pub(crate) struct ZlibStream(Compress);

impl ZlibStream {
    pub(crate) fn new() -> Self {
        Self(Compress::new(Compression::fast(), true))
    }

    /// The next piece of the stream, flushed.
    pub(crate) fn message(&mut self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() * 2 + 64);
        self.0
            .compress_vec(text, &mut out, FlushCompress::Sync)
            .expect("there is room");
        out
    }
}

/// The server's side of a zstd stream.
pub(crate) struct ZstdStream(zstd::stream::write::Encoder<'static, Vec<u8>>);

impl ZstdStream {
    pub(crate) fn new() -> Self {
        let encoder = zstd::stream::write::Encoder::new(Vec::new(), 1);
        Self(encoder.expect("there is memory"))
    }

    /// The next piece of the stream, flushed.
    pub(crate) fn message(&mut self, text: &[u8]) -> Vec<u8> {
        self.0.write_all(text).expect("a Vec takes all");
        self.0.flush().expect("a Vec takes all");
        std::mem::take(self.0.get_mut())
    }
}

/// A zlib stream of its own.
pub(crate) fn zlib_whole(text: &[u8]) -> Bytes {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).expect("a Vec takes all");
    Bytes::from(encoder.finish().expect("a Vec takes all"))
}
