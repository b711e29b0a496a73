//! Asks Discord how many session starts are left once those of a window that it has not told of seem
//! spent: when a window is over, its length and number of starts are assumed to be the next one's, less what left
//! in it.

use std::time::Instant;

use super::FleetMachine;
use crate::{FetchFault, FetchMachine, FetchNext, GatewayInfo};

/// One question, until it is answered or refused for good.
#[derive(Clone, Debug)]
pub(super) struct Recount {
    fetch: FetchMachine,
    /// `None` while Discord is being asked.
    ask_at: Option<Instant>,
}

impl Recount {
    pub(super) fn next_time(&self) -> Option<Instant> {
        self.ask_at
    }
}

impl FleetMachine {
    /// Asks if that may help those that wait. True while there is no answer.
    pub(super) fn recounts(&mut self) -> bool {
        if self.recount.is_none()
            && let Some(turns) = &self.turns
            && turns.may_have_more(self.now)
        {
            self.recount = Some(Recount {
                fetch: FetchMachine::new(None, self.rng.next_u64()),
                // Then the answer counts all that was sent.
                ask_at: Some(turns.all_arrived_at().unwrap_or(self.now)),
            });
        }
        let Some(recount) = &mut self.recount else {
            return false;
        };
        if recount.ask_at.is_some_and(|at| at <= self.now) {
            recount.ask_at = None;
            self.fetch_now();
        }
        true
    }

    pub(super) fn recounted(&mut self, result: Result<GatewayInfo, FetchFault>) {
        let Some(recount) = &mut self.recount else {
            return;
        };
        match recount.fetch.on_result(self.now, result) {
            FetchNext::RetryAt(at) => recount.ask_at = Some(at),
            FetchNext::Done(info) => {
                self.recount = None;
                self.url = Some(info.url);
                self.refresh_turns(&info.session_start_limit);
                self.start_what_is_near();
            }
            FetchNext::Failed(_) => {
                self.recount = None;
                if let Some(turns) = &mut self.turns {
                    turns.take_as_told();
                }
            }
        }
    }
}
