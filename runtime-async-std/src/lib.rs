#![doc = include_str!("../README.md")]

mod dial;
mod turns;

#[cfg(feature = "async-std")]
pub mod async_std;
#[cfg(feature = "smol")]
pub mod smol;
