//! Decides when to ask for the gateway again, and when to give up.
//!
//! What is refused for good ends it at once. A rate limit is waited out. Everything else is tried
//! again after a random part of a pause that doubles, from one second up to a minute.

use std::time::{Duration, Instant};

use crate::fetch_fault::{FetchFault, LONGEST_WAIT};
use crate::gateway_info::GatewayInfo;
use crate::rng::Rng;

/// The pause after the first fault, before chance takes its part.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The shortest wait before any further try, so that no answer makes a tight loop.
const SHORTEST_WAIT: Duration = Duration::from_millis(250);

/// What is added, at most, to the wait that a rate limit asks for: processes that were limited
/// together should not come back together.
const LIMIT_JITTER: Duration = Duration::from_secs(1);

/// The retry policy of the gateway request, without a clock: results go in, times come out.
#[derive(Debug, Clone)]
pub struct FetchMachine {
    tries: Option<u32>,
    done: u32,
    rng: Rng,
    last_fault: Option<FetchFault>,
}

/// What to do after a try.
///
/// Complete by nature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchNext {
    /// The data is here.
    Done(GatewayInfo),
    /// Try again at this time, not earlier.
    RetryAt(Instant),
    /// Give up, for this reason.
    Failed(FetchFault),
}

impl FetchMachine {
    /// A policy that gives up after `tries` faults (0 counts as 1), or never if it is `None`. The
    /// seed decides the pauses.
    pub const fn new(tries: Option<u32>, seed: u64) -> Self {
        Self {
            tries,
            done: 0,
            rng: Rng::new(seed),
            last_fault: None,
        }
    }

    /// Takes the result of a try that ended at `now`. After `Done` the count begins anew.
    pub fn on_result(
        &mut self,
        now: Instant,
        result: Result<GatewayInfo, FetchFault>,
    ) -> FetchNext {
        let fault = match result {
            Ok(info) => {
                self.done = 0;
                self.last_fault = None;
                return FetchNext::Done(info);
            }
            Err(fault) => fault,
        };
        let before = self.done;
        self.done = before.saturating_add(1);
        if fault.is_fatal() || self.tries.is_some_and(|tries| self.done >= tries) {
            self.last_fault = Some(fault.clone());
            return FetchNext::Failed(fault);
        }
        let wait = match fault {
            FetchFault::RateLimited { retry_after, .. } => {
                retry_after.min(LONGEST_WAIT) + self.rng.duration_up_to(LIMIT_JITTER)
            }
            _ => self.rng.duration_up_to(pause(before)),
        };
        self.last_fault = Some(fault);
        FetchNext::RetryAt(now + wait.max(SHORTEST_WAIT))
    }

    /// What went wrong at the last try, for telling a person who waits.
    pub const fn last_fault(&self) -> Option<&FetchFault> {
        self.last_fault.as_ref()
    }

    /// How many tries have failed since the last success.
    pub const fn failures(&self) -> u32 {
        self.done
    }
}

/// The whole pause after so many earlier faults.
fn pause(earlier: u32) -> Duration {
    // 2^6 s is over a minute already.
    (FIRST_PAUSE * 2_u32.pow(earlier.min(6))).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> GatewayInfo {
        let body = r#"{"url":"wss://g","shards":1,"session_start_limit":{"total":1,"remaining":1,"reset_after":1,"max_concurrency":1}}"#;
        serde_json::from_str(body).unwrap()
    }

    /// A time to count from; the tests' own clock.
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
    fn start() -> Instant {
        Instant::now()
    }

    fn wait(machine: &mut FetchMachine, now: Instant, fault: FetchFault) -> Duration {
        match machine.on_result(now, Err(fault)) {
            FetchNext::RetryAt(at) => at - now,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_never_vanish() {
        let now = start();
        let mut longest = [Duration::ZERO; 9];
        for seed in 0..300 {
            let mut machine = FetchMachine::new(None, seed);
            for (n, seconds) in [1, 2, 4, 8, 16, 32, 60, 60, 60].into_iter().enumerate() {
                let wait = wait(&mut machine, now, FetchFault::Unavailable { status: 502 });
                assert!(wait >= Duration::from_millis(250));
                assert!(wait <= Duration::from_secs(seconds), "{n}: {wait:?}");
                longest[n] = longest[n].max(wait);
            }
        }
        // The range is used, not only its beginning.
        assert!(longest[0] > Duration::from_millis(900));
        assert!(longest[8] > Duration::from_secs(55));
    }

    #[test]
    fn a_rate_limit_is_waited_out() {
        let now = start();
        let limited = |seconds| FetchFault::RateLimited {
            retry_after: Duration::from_secs(seconds),
            global: false,
        };
        for seed in 0..100 {
            let mut machine = FetchMachine::new(None, seed);
            for seconds in [0, 5, 82_800] {
                let wait = wait(&mut machine, now, limited(seconds));
                assert!(wait >= Duration::from_secs(seconds).max(Duration::from_millis(250)));
                assert!(wait <= Duration::from_secs(seconds + 1));
            }
            let wait = wait(&mut machine, now, limited(u64::MAX));
            assert!(wait <= Duration::from_secs(86_401));
        }
    }

    #[test]
    fn fatal_faults_end_it_at_once() {
        let now = start();
        let fault = GatewayInfo::from_response(401, None, b"").unwrap_err();
        let mut machine = FetchMachine::new(None, 1);
        assert_eq!(
            machine.on_result(now, Err(fault.clone())),
            FetchNext::Failed(fault.clone())
        );
        assert_eq!(machine.last_fault(), Some(&fault));
    }

    #[test]
    fn it_gives_up_after_so_many_tries() {
        let now = start();
        let fault = FetchFault::network("refused");
        for (tries, retries) in [(0, 0), (1, 0), (3, 2)] {
            let mut machine = FetchMachine::new(Some(tries), 1);
            for _ in 0..retries {
                wait(&mut machine, now, fault.clone());
            }
            assert_eq!(
                machine.on_result(now, Err(fault.clone())),
                FetchNext::Failed(fault.clone())
            );
        }
        let mut endless = FetchMachine::new(None, 1);
        for _ in 0..1000 {
            wait(&mut endless, now, fault.clone());
        }
        assert_eq!(endless.failures(), 1000);
    }

    #[test]
    fn success_begins_the_count_anew() {
        let now = start();
        let mut machine = FetchMachine::new(Some(2), 1);
        wait(&mut machine, now, FetchFault::network("x"));
        assert_eq!(machine.on_result(now, Ok(info())), FetchNext::Done(info()));
        assert_eq!((machine.failures(), machine.last_fault()), (0, None));
        wait(&mut machine, now, FetchFault::network("x"));
    }

    #[test]
    fn the_same_seed_gives_the_same_times() {
        let now = start();
        let times = |seed| {
            let mut machine = FetchMachine::new(None, seed);
            [(); 5].map(|()| wait(&mut machine, now, FetchFault::network("x")))
        };
        assert_eq!(times(3), times(3));
        assert_ne!(times(3), times(4));
    }
}
