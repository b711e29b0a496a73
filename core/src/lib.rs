//! Placeholder.

// --- bytes to payloads ---
mod decode;
mod envelope;

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
