//! Placeholder.

// --- bytes to payloads ---
mod decode;
mod envelope;

pub use decode::{
    DEFAULT_PAYLOAD_LIMIT, DecodeError, DecoderMode, Frame, FrameDecoder, PayloadBuf, TooLarge,
};
pub use envelope::{Envelope, EnvelopeError};

// --- the protocol's data types ---
mod activity;
mod address;
mod close_code;
mod command;
mod command_error;
mod compression;
mod fetch;
mod fetch_fault;
mod gateway_info;
mod gateway_request;
mod gateway_url;
mod ids;
mod intents;
mod intents_text;
mod members;
#[cfg_attr(not(test), expect(dead_code, reason = "the machines build on it"))]
mod payload;
mod presence;
mod raw_payload;
#[cfg_attr(not(test), expect(dead_code, reason = "the machines build on it"))]
mod rng;
mod shard_id;
mod token;

pub use activity::{Activity, ActivityKind, ParseActivityKindError};
pub use address::UrlError;
pub use close_code::{CloseAction, CloseCode};
pub use command::{ChannelInfoField, Command, CommandKind, VoiceStateUpdate};
pub use command_error::CommandError;
pub use compression::{Compression, ParseCompressionError};
pub use fetch::{FetchMachine, FetchNext};
pub use fetch_fault::FetchFault;
pub use gateway_info::{GatewayInfo, SessionStartLimit};
pub use gateway_request::{ApiBase, GatewayRequest};
pub use gateway_url::GatewayUrl;
pub use ids::{ChannelId, GuildId, IdError, UserId};
pub use intents::Intents;
pub use intents_text::ParseIntentsError;
pub use members::{Members, Nonce, RequestGuildMembers};
pub use presence::{ParseStatusError, Status, StatusUpdate};
pub use shard_id::{ShardId, ShardIdError};
pub use token::{Token, TokenError};

// --- the machines ---
