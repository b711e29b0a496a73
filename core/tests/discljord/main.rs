//! What users of discljord's gateway layer have run into, each told once more and played to its good
//! end here. The numbers are those of `docs/coming-from-discljord.md`; the stories that need sockets are
//! in the testkit's tests.

#[path = "../common/mod.rs"]
mod common;
#[path = "../play/mod.rs"]
mod play;

mod bytes;
mod commands;
mod connection;
mod crew;
mod fleet;
mod pace;
