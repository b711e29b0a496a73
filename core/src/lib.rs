//! Placeholder.

// --- bytes to payloads ---
mod decode;
mod envelope;

pub use decode::{
    DEFAULT_PAYLOAD_LIMIT, DecodeError, DecoderMode, Frame, FrameDecoder, PayloadBuf, TooLarge,
};
pub use envelope::{Envelope, EnvelopeError};

// --- the protocol's data types ---
mod close_code;
mod command;
mod gateway_info;
mod gateway_url;
mod intents;
mod presence;
mod shard_id;
mod token;

// --- the machines ---
