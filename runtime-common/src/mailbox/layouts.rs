//! One layout of shards takes over from another.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Instant;

use shardwright_core::{Event, Overlap, ShardId};

use super::{Acknowledge, Mailboxes, Slot, State, size_of, wake};
use crate::swap::{Muted, Swap, Verdict};

impl Mailboxes {
    /// A mailbox for a shard whose dispatches are kept back until [`swap`](Self::swap).
    #[must_use]
    pub fn add_muted(&self, shard: ShardId) -> Slot {
        let slot = self.add(shard);
        if let Some(mailbox) = self.lock().at(slot.0) {
            mailbox.muted = Some(Muted::default());
        }
        slot
    }

    /// From now on what is delivered is remembered, for a swap.
    pub fn prepare_swap(&self) {
        let mut state = self.lock();
        // With the lock: who has it may be about to say the contrary of an earlier one.
        self.hints.swapping.store(true, Ordering::Relaxed);
        state.swap = Swap::Prepared(Overlap::new());
    }

    /// There will be no swap.
    pub fn abandon_swap(&self) {
        let mut state = self.lock();
        self.hints.swapping.store(false, Ordering::Relaxed);
        state.swap = Swap::None;
    }

    /// The shards that were muted take over: what the others have not delivered of their last seconds is
    /// delivered, and the others deliver nothing more but what is in their mailboxes, which comes before
    /// anything of the new ones.
    pub fn swap(&self) {
        let mut state = self.settled();
        let Swap::Prepared(overlap) = std::mem::take(&mut state.swap) else {
            return;
        };
        let at = Instant::now();
        state.swap = Swap::Done { overlap, at };
        // What was thrown away of the old one is for whoever resumes.
        let abandoned = state.abandoned;
        let owes_until = match self.acknowledge {
            // Asking for the next says it.
            Acknowledge::OnNext => u64::MAX,
            Acknowledge::Manual => state.taken.saturating_add(self.events as u64),
        };
        let mut kept = Vec::new();
        let mut producers = Vec::new();
        for (index, mailbox) in state.boxes.iter_mut().enumerate() {
            let Some(mailbox) = mailbox else { continue };
            match mailbox.muted.take() {
                Some(muted) => {
                    mailbox.is_new = true;
                    producers.push(mailbox.producer.take());
                    mailbox.passed_over = muted.passed_over().filter(|_| !abandoned);
                    kept.extend(muted.into_events().map(|event| (index, event)));
                }
                None => {
                    mailbox.silenced = true;
                    mailbox.owes_until = owes_until;
                }
            }
        }
        let State {
            boxes,
            silenced,
            turns,
            ..
        } = &mut *state;
        *silenced = boxes
            .iter()
            .flatten()
            .filter(|mailbox| mailbox.silenced)
            .count();
        // What was delivered before comes first.
        let is_silenced =
            |&index: &usize| matches!(boxes.get(index), Some(Some(mailbox)) if mailbox.silenced);
        let (mut first, then): (VecDeque<_>, VecDeque<_>) = turns.drain(..).partition(is_silenced);
        first.extend(then);
        *turns = first;
        for (index, event) in kept {
            if let Event::Dispatch(dispatch) = &event
                && state.swap.judge(dispatch, true) == Verdict::LeaveOut
            {
                if let Some(mailbox) = state.at(index).filter(|_| !abandoned) {
                    mailbox.pass_over(dispatch.id());
                }
                continue;
            }
            let size = size_of(&event);
            state.put(index, event, size);
        }
        let consumer = state.consumer.take();
        drop(state);
        producers.into_iter().for_each(wake);
        wake(consumer);
    }
}
