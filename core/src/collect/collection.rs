//! One caller's request: which of its batches are asked for, and when the next may be.

use std::collections::BTreeMap;
use std::time::Instant;

use super::part::Part;
use super::{GuildMembersRequest, RequestMembersError};
use crate::CommandId;

#[derive(Debug)]
pub(super) struct Collection {
    pub(super) id: CommandId,
    pub(super) request: GuildMembersRequest,
    /// `None`: never.
    pub(super) deadline: Option<Instant>,
    /// Those batches that were handed over, in order.
    pub(super) parts: Vec<Part>,
    /// How many of them are.
    pub(super) complete: usize,
    /// Those that Discord refused, and when they may be sent again.
    pub(super) again: BTreeMap<usize, Instant>,
    /// What has been gathered.
    pub(super) bytes: usize,
}

impl Collection {
    pub(super) fn new(now: Instant, id: CommandId, request: GuildMembersRequest) -> Self {
        Self {
            id,
            deadline: now.checked_add(request.time_allowed),
            request,
            parts: Vec::new(),
            complete: 0,
            again: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// The batch that may be asked for now.
    pub(super) fn next(&self, now: Instant) -> Option<usize> {
        let again = self.again.iter().find(|(_, at)| **at <= now);
        let fresh = (self.parts.len() < self.request.batches()).then_some(self.parts.len());
        again.map(|(index, _)| *index).or(fresh)
    }

    pub(super) fn wants_more(&self) -> bool {
        !self.again.is_empty() || self.parts.len() < self.request.batches()
    }

    pub(super) fn timed_out(&self) -> RequestMembersError {
        let all_asked = self.parts.len() == self.request.batches();
        // Counts are the gateway's word: they may add up to anything.
        let add = |sum: u32, part: &Part| Some(sum.saturating_add(part.expected()?));
        let expected = self.parts.iter().try_fold(0, add);
        let received = self.parts.iter().map(Part::received);
        RequestMembersError::TimedOut {
            received: received.fold(0, u32::saturating_add),
            expected: expected.filter(|_| all_asked),
        }
    }
}
