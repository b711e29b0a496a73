//! Placeholder.

// --- bytes to payloads ---
mod decode;
mod envelope;

// --- the protocol's data types ---
mod close_code;
mod command;
mod gateway_info;
mod gateway_url;
mod ids;
mod intents;
mod intents_text;
mod presence;
mod shard_id;
mod token;

pub use close_code::{CloseAction, CloseCode};
pub use ids::{ChannelId, GuildId, IdError, UserId};
pub use intents::Intents;
pub use intents_text::ParseIntentsError;
pub use shard_id::{ShardId, ShardIdError};
pub use token::{Token, TokenError};

// --- the machines ---
