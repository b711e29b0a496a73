//! A new layout of shards takes over from an old one without a gap: until then its dispatches are kept
//! back, afterwards those that the old one has delivered are left out.

use std::collections::VecDeque;
use std::time::Instant;

use shardwright_core::{Dispatch, Event, EventId, Overlap};

/// Where a change of layouts is.
#[derive(Debug, Default)]
pub(crate) enum Swap {
    /// There is none.
    #[default]
    None,
    /// What the old layout delivers is remembered.
    Prepared(Overlap),
    /// The new layout has taken over.
    Done { overlap: Overlap, at: Instant },
}

/// What is to be done with a dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Deliver,
    /// The other layout delivers it.
    LeaveOut,
}

impl Swap {
    /// A dispatch of a shard that is heard, old or new.
    pub(crate) fn judge(&mut self, event: &Dispatch<'_>, is_new: bool) -> Verdict {
        match self {
            Self::None => Verdict::Deliver,
            Self::Prepared(overlap) => {
                overlap.delivered(Instant::now(), event);
                Verdict::Deliver
            }
            Self::Done { overlap, at } => {
                let now = Instant::now();
                if now.saturating_duration_since(*at) > Overlap::WINDOW {
                    *self = Self::None;
                    return Verdict::Deliver;
                }
                if is_new && overlap.matches(now, event) {
                    return Verdict::LeaveOut;
                }
                Verdict::Deliver
            }
        }
    }

    /// Whether the old layout, still heard, has delivered this. Each time it did counts once.
    fn has_delivered(&mut self, event: &Dispatch<'_>) -> bool {
        match self {
            Self::Prepared(overlap) => overlap.matches(Instant::now(), event),
            Self::None | Self::Done { .. } => false,
        }
    }
}

/// The latest dispatches of a shard that is not heard yet.
#[derive(Debug, Default)]
pub(crate) struct Muted {
    kept: VecDeque<(Instant, Event<'static>, usize)>,
    bytes: usize,
    loaded: bool,
    /// The last dispatch that need not be delivered, with all before it.
    passed_over: Option<EventId>,
}

impl Muted {
    /// Whether this dispatch may have to be delivered. One that the old layout has delivered already is not
    /// kept: it would be remembered here for longer than there.
    pub(crate) fn wants(&mut self, dispatch: &Dispatch<'_>, swap: &mut Swap) -> bool {
        let wants = !self.is_of_its_own_start(dispatch.name()) && !swap.has_delivered(dispatch);
        if !wants && self.kept.is_empty() {
            self.passed_over = Some(dispatch.id());
        }
        wants
    }

    /// Keeps a dispatch, at most so many bytes of them, and drops what is too old to matter.
    pub(crate) fn keep(&mut self, event: Event<'static>, size: usize, at_most: usize) {
        let now = Instant::now();
        self.bytes += size;
        self.kept.push_back((now, event, size));
        while let Some((at, event, size)) = self.kept.front()
            && (self.bytes > at_most || now.saturating_duration_since(*at) > Overlap::KEPT)
        {
            self.bytes -= size;
            if let Event::Dispatch(dispatch) = event {
                self.passed_over = Some(dispatch.id());
            }
            self.kept.pop_front();
        }
    }

    pub(crate) fn set_loaded(&mut self) {
        self.loaded = true;
    }

    /// The last dispatch before all that is kept.
    pub(crate) fn passed_over(&self) -> Option<EventId> {
        self.passed_over
    }

    /// What was kept, the oldest first.
    pub(crate) fn into_events(self) -> impl Iterator<Item = Event<'static>> {
        let now = Instant::now();
        self.kept
            .into_iter()
            .filter(move |(at, ..)| now.saturating_duration_since(*at) <= Overlap::KEPT)
            .map(|(_, event, _)| event)
    }

    /// What only says that a new session begins is no news for a bot that runs: the old layout has all of
    /// these guilds.
    fn is_of_its_own_start(&self, name: &str) -> bool {
        matches!(name, "READY" | "RESUMED") || (name == "GUILD_CREATE" && !self.loaded)
    }
}
