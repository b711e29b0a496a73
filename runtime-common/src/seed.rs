//! A seed for a bot's random delays.

use std::hash::{BuildHasher, RandomState};

/// A different number at each call, from the randomness that the standard library takes from the
/// operating system.
#[must_use]
pub fn random_seed() -> u64 {
    RandomState::new().hash_one(std::process::id())
}
