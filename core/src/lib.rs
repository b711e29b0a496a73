//! Placeholder.

// --- bytes to payloads ---
mod decode;
mod envelope;

// --- the protocol's data types ---
mod address;
mod close_code;
mod command;
mod compression;
mod gateway_info;
mod gateway_url;
mod ids;
mod intents;
mod intents_text;
mod presence;
mod shard_id;
mod token;

pub use address::UrlError;
pub use close_code::{CloseAction, CloseCode};
pub use compression::{Compression, ParseCompressionError};
pub use gateway_url::GatewayUrl;
pub use ids::{ChannelId, GuildId, IdError, UserId};
pub use intents::Intents;
pub use intents_text::ParseIntentsError;
pub use shard_id::{ShardId, ShardIdError};
pub use token::{Token, TokenError};

// --- the machines ---
