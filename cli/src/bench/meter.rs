//! What a process has used, and the span of events it is measured over.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// CPU and real time at a moment.
#[derive(Clone, Copy, Debug)]
struct Moment {
    cpu: Duration,
    real: Instant,
}

impl Moment {
    fn now() -> Self {
        Self {
            cpu: cpu(),
            real: Instant::now(),
        }
    }
}

/// CPU time of this process, of all threads, user and system.
pub(super) fn cpu() -> Duration {
    let time = |value: TimeVal| {
        let seconds = Duration::from_secs(value.tv_sec().unsigned_abs());
        seconds + Duration::from_micros(value.tv_usec().unsigned_abs())
    };
    getrusage(UsageWho::RUSAGE_SELF).map_or(Duration::ZERO, |usage| {
        time(usage.user_time()) + time(usage.system_time())
    })
}

/// The time on the clock that all processes share, in nanoseconds.
pub(super) fn shared_clock() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| nanos(time.into()))
}

/// Memory of this process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub(super) resident: u64,
    pub(super) peak: u64,
    pub(super) threads: u64,
}

impl Memory {
    pub(super) fn now() -> io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        let missing = || io::Error::other("this system does not tell a process's memory");
        Ok(Self {
            resident: field("VmRSS:").ok_or_else(missing)? * 1024,
            peak: field("VmHWM:").ok_or_else(missing)? * 1024,
            threads: field("Threads:").ok_or_else(missing)?,
        })
    }
}

/// Counts events over all shards of a process, and notes what was used between two of them.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    /// These come before the measurement.
    before: u64,
    until: u64,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    count: AtomicU64,
    moments: Mutex<Option<(Moment, Option<Moment>)>>,
    /// When each event of the measurement was there, if that is wanted.
    stamps: Option<Mutex<Vec<u64>>>,
}

impl Meter {
    pub(super) fn new(before: u64, events: u64) -> Self {
        Self {
            before,
            until: before + events,
            shared: Arc::default(),
        }
    }

    /// One that notes when each event was there.
    pub(super) fn stamping(self) -> Self {
        Self {
            shared: Arc::new(Shared {
                stamps: Some(Mutex::default()),
                ..Shared::default()
            }),
            ..self
        }
    }

    /// When each event of the measurement was there.
    pub(super) fn stamps(&self) -> Vec<u64> {
        let stamps = self.shared.stamps.as_ref();
        stamps.map_or_else(Vec::new, |stamps| {
            let mut stamps = stamps.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *stamps)
        })
    }

    #[inline]
    fn stamp(&self, count: u64) {
        if let Some(stamps) = &self.shared.stamps
            && count > self.before
        {
            let mut stamps = stamps.lock().unwrap_or_else(PoisonError::into_inner);
            stamps.push(shared_clock());
        }
    }

    /// For one consumer: counts without sharing.
    pub(super) fn alone(&self) -> Alone {
        Alone {
            meter: self.clone(),
            count: 0,
        }
    }

    /// One more event, of any shard. True for the last.
    pub(super) fn count(&self) -> bool {
        let count = self.shared.count.fetch_add(1, Ordering::Relaxed) + 1;
        self.stamp(count);
        (count == self.before + 1 || count == self.until) && self.note(count)
    }

    pub(super) fn counted(&self) -> u64 {
        self.shared.count.load(Ordering::Relaxed)
    }

    #[cold]
    fn note(&self, count: u64) -> bool {
        let mut moments = self.lock();
        if count == self.until {
            if let Some((_, end)) = &mut *moments {
                *end = Some(Moment::now());
            }
            return true;
        }
        *moments = Some((Moment::now(), None));
        false
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Moment, Option<Moment>)>> {
        self.shared
            .moments
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// What was used between the first event and the last; none if there was no last.
    pub(super) fn used(&self) -> Option<Used> {
        match *self.lock() {
            Some((begin, Some(end))) => Some(Used {
                cpu_ns: nanos(end.cpu.saturating_sub(begin.cpu)),
                real_ns: nanos(end.real.saturating_duration_since(begin.real)),
            }),
            _ => None,
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The only one who counts.
#[derive(Debug)]
pub(super) struct Alone {
    meter: Meter,
    count: u64,
}

impl Alone {
    /// One more event. True for the last.
    #[inline]
    pub(super) fn count(&mut self) -> bool {
        self.count += 1;
        self.meter.stamp(self.count);
        (self.count == self.meter.before + 1 || self.count == self.meter.until)
            && self.meter.note(self.count)
    }
}

/// What a client says of itself when it is done: one line of JSON.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Used {
    /// CPU time of the span.
    pub(super) cpu_ns: u64,
    /// Its real time.
    pub(super) real_ns: u64,
}
