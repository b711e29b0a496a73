//! A new layout of shards takes over from an old one in the mailboxes of a world, by the rules of the real
//! ones.

use std::collections::VecDeque;
use std::time::Instant;

use shardwright_core::{Dispatch, Event, Overlap};

/// Where a change of layouts is.
#[derive(Debug, Default)]
pub(super) enum Swap {
    #[default]
    None,
    /// What the old layout delivers is remembered.
    Prepared(Overlap),
    /// The new layout has taken over.
    Done(Overlap, Instant),
}

impl Swap {
    /// Whether the other layout has delivered this.
    pub(super) fn leaves_out(&mut self, now: Instant, event: &Dispatch<'_>, is_new: bool) -> bool {
        match self {
            Self::None => false,
            Self::Prepared(overlap) => {
                overlap.delivered(now, event);
                false
            }
            Self::Done(_, at) if now.saturating_duration_since(*at) > Overlap::WINDOW => {
                *self = Self::None;
                false
            }
            Self::Done(overlap, _) => is_new && overlap.matches(now, event),
        }
    }

    /// Whether the old layout, still heard, has delivered this. Each time it did counts once.
    fn has_delivered(&mut self, now: Instant, event: &Dispatch<'_>) -> bool {
        match self {
            Self::Prepared(overlap) => overlap.matches(now, event),
            Self::None | Self::Done(..) => false,
        }
    }
}

/// The latest dispatches of a shard that is not heard yet.
#[derive(Debug, Default)]
pub(super) struct Muted {
    kept: VecDeque<(Instant, Event<'static>, usize)>,
    bytes: usize,
    pub(super) loaded: bool,
}

impl Muted {
    /// Whether this dispatch may have to be delivered.
    pub(super) fn wants(&self, now: Instant, dispatch: &Dispatch<'_>, swap: &mut Swap) -> bool {
        let of_its_start = matches!(dispatch.name(), "READY" | "RESUMED")
            || (dispatch.name() == "GUILD_CREATE" && !self.loaded);
        !of_its_start && !swap.has_delivered(now, dispatch)
    }

    pub(super) fn keep(&mut self, now: Instant, event: Event<'static>, size: usize, most: usize) {
        self.bytes += size;
        self.kept.push_back((now, event, size));
        while let Some((at, _, size)) = self.kept.front()
            && (self.bytes > most || now.saturating_duration_since(*at) > Overlap::KEPT)
        {
            self.bytes -= size;
            self.kept.pop_front();
        }
    }

    /// What it heard lately, the oldest first.
    pub(super) fn latest(self, now: Instant) -> impl Iterator<Item = (Event<'static>, usize)> {
        let recent = move |at: &Instant| now.saturating_duration_since(*at) <= Overlap::KEPT;
        let kept = self.kept.into_iter();
        kept.filter(move |(at, ..)| recent(at))
            .map(|(_, event, size)| (event, size))
    }
}
