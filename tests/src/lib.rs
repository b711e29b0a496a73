//! An emulated Discord Gateway to test bots and gateway clients against.
//!
//! * [`emulator`]: the gateway on real sockets, on a thread of its own.
//! * [`server`]: the same gateway as a pure machine, for tests in virtual time.
//! * [`scenario`]: what it does to its clients, as data.
//! * [`corpus`]: the events it streams.
//! * [`explore`]: every sequence of inputs to a machine, up to a length.
//! * [`storm`]: schedules of faults made from a seed, played in a world, and shrunk when they break a rule.
//! * [`world`]: bots and that gateway face to face in virtual time, on a network that fails on demand.

pub mod corpus;
pub mod emulator;
pub mod explore;
pub mod rng;
pub mod scenario;
pub mod server;
pub mod storm;
pub mod world;
pub mod ws;

/// Its example is run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/world.md")]
struct PageAboutWorlds;
