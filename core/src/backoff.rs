//! Decides how long a shard waits before it dials again.
//!
//! Full jitter over `[0, base · 2^n]`, capped, where `n` grows with every connection that failed
//! before READY or RESUMED, and with every one that was live only shortly (a flap). So nothing loops
//! without a delay, whatever the gateway does, and a thousand shards told to reconnect do not dial
//! at once.
//!
//! Dials that failed are counted apart and forgotten when one succeeds: an outage says nothing about what
//! the gateway answers once it is back. A gateway that accepts and then closes is no success: those
//! connections go on counting.

use std::time::Duration;

use crate::rng::Rng;

#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    base: Duration,
    cap: Duration,
    dials: u32,
    failures: u32,
    flaps: u32,
}

impl Backoff {
    pub(crate) fn new(base: Duration, cap: Duration) -> Self {
        Self {
            base,
            cap,
            dials: 0,
            failures: 0,
            flaps: 0,
        }
    }

    /// READY or RESUMED came.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// A dial failed.
    pub(crate) fn dial_failed(&mut self) {
        self.dials = self.dials.saturating_add(1);
    }

    /// A dial succeeded.
    pub(crate) fn opened(&mut self) {
        self.dials = 0;
    }

    /// A connection that had opened ended before READY or RESUMED.
    pub(crate) fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// A live connection ended; `stable` if it had been live long enough.
    pub(crate) fn was_live(&mut self, stable: bool) {
        self.flaps = if stable {
            0
        } else {
            self.flaps.saturating_add(1)
        };
    }

    /// How long to wait now.
    pub(crate) fn delay(&self, rng: &mut Rng) -> Duration {
        let flaps = self.flaps.saturating_sub(1);
        let doublings = self.dials.max(self.failures).max(flaps).min(30);
        rng.duration_up_to(self.base.saturating_mul(1 << doublings).min(self.cap))
    }
}
