//! What the fuzz targets check: each target is one `check` over the bytes it was given.
//!
//! The checkers know the protocol, not the code: what must hold is worked out from inputs and actions
//! alone.

pub mod decode;
pub mod fleet;
pub mod gateway_info;
pub mod header;
pub mod machine;
mod pack;
mod plot;
mod secret;
mod time;
pub mod trace;
