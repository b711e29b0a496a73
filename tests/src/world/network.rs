//! What lies between a client and the server: how long things take, what gets lost, what stands still.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::queue::Queued;
use crate::rng::Rng;
use crate::scenario::{Ending, Listener};

/// What the network is like while nothing is wrong with it.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_structs)]
pub struct Network {
    /// One way, at least.
    pub latency: Duration,
    /// What chance adds to it, at most. Order is kept.
    pub jitter: Duration,
    /// Bytes a second, each way and connection; none: no limit.
    pub bandwidth: Option<u64>,
    /// From the dial to the upgrade request's arrival at the server (TCP and TLS), beside the latency.
    pub dial: Duration,
    /// How long a look-up takes that fails.
    pub look_up: Duration,
    /// After so long without an answer a REST request is given up.
    pub rest_patience: Duration,
}

impl Default for Network {
    /// 40 to 70 ms each way, no limit of bandwidth, dials of a tenth of a second.
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(40),
            jitter: Duration::from_millis(30),
            bandwidth: None,
            dial: Duration::from_millis(100),
            look_up: Duration::from_millis(50),
            rest_patience: Duration::from_secs(10),
        }
    }
}

impl Network {
    pub(super) fn delay(&self, rng: &mut Rng) -> Duration {
        let jitter = u64::try_from(self.jitter.as_nanos()).unwrap_or(u64::MAX);
        self.latency + Duration::from_nanos(rng.below(jitter))
    }
}

/// One way of a connection, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::exhaustive_enums)]
pub enum Way {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
    /// Both.
    Both,
}

impl Way {
    pub(super) fn up(self) -> bool {
        self != Self::ToClient
    }

    pub(super) fn down(self) -> bool {
        self != Self::ToServer
    }
}

/// What dials meet, before any listener of the server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::exhaustive_enums)]
pub enum DialFate {
    /// The connection is refused.
    Refused,
    /// There is no way to the host.
    Unreachable,
    /// Nothing answers.
    Hangs,
    /// The host's name cannot be looked up.
    NoName,
}

/// A fate that lasts.
#[derive(Clone, Debug)]
pub(super) struct DialRule {
    pub(super) listener: Option<Listener>,
    pub(super) fate: DialFate,
    pub(super) until: Instant,
}

/// One way of one line.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// When the last thing put on it arrives: order is kept.
    last: Option<Instant>,
    /// Until when the bytes before take up the bandwidth.
    busy: Option<Instant>,
    /// How many bytes were put on it.
    pub(super) position: u64,
    /// Past which byte nothing arrives, and how the line ends there.
    pub(super) cut: Option<(u64, Ending)>,
    /// Nothing more can be put on it.
    pub(super) shut: bool,
    /// Nothing arrives until it is released.
    pub(super) stalled: bool,
    /// Nor before this.
    pub(super) stalled_until: Option<Instant>,
    /// The far end does not read.
    pub(super) unread: bool,
    /// What came meanwhile.
    pub(super) held: Vec<Queued>,
}

/// When something arrives that is put on a pipe.
pub(super) enum Passage {
    At(Instant),
    /// It is past the cut: the line ends so at this time instead.
    Cut(Instant, Ending),
    Never,
}

impl Pipe {
    pub(super) fn put(
        &mut self,
        now: Instant,
        bytes: usize,
        network: &Network,
        rng: &mut Rng,
    ) -> Passage {
        if self.shut {
            return Passage::Never;
        }
        let mut left = self.busy.map_or(now, |busy| busy.max(now));
        if let Some(bandwidth) = network.bandwidth {
            left += Duration::from_secs_f64(bytes as f64 / bandwidth.max(1) as f64);
        }
        self.busy = Some(left);
        let arrives = left + network.delay(rng);
        let arrives = self.last.map_or(arrives, |last| last.max(arrives));
        self.last = Some(arrives);
        self.position += bytes as u64;
        match self.cut {
            Some((at, ending)) if self.position > at => {
                self.shut = true;
                Passage::Cut(arrives, ending)
            }
            _ => Passage::At(arrives),
        }
    }

    /// Whether nothing arrives now.
    pub(super) fn blocked(&self, now: Instant) -> bool {
        self.stalled || self.unread || self.stalled_until.is_some_and(|until| until > now)
    }

    /// Keeps what cannot arrive yet; nothing overtakes what is kept. Gives back what arrives.
    pub(super) fn hold(&mut self, now: Instant, queued: Queued) -> Option<Queued> {
        if !self.blocked(now) && self.held.is_empty() {
            return Some(queued);
        }
        self.held.push(queued);
        None
    }
}
