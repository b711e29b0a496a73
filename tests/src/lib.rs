//! An emulated Discord Gateway to test bots and gateway clients against.
//!
//! * [`server`]: the gateway as a pure machine, for tests in virtual time.
//! * [`scenario`]: what it does to its clients, as data.
//! * [`corpus`]: the events it streams.

pub mod corpus;
pub mod rng;
pub mod scenario;
pub mod server;
pub mod ws;
