//! A clock that jumps.

use std::time::{Duration, Instant, SystemTime};

use arbitrary::{Arbitrary, Result, Unstructured};

/// How the clocks move before an input.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Millis(u16),
    /// By an odd number of nanoseconds.
    Odd(u16),
    Seconds(u16),
    /// To the time that the machine waits for, give or take some milliseconds.
    ToDeadline(i8),
    Back(u16),
    Hours(u8),
}

impl<'a> Arbitrary<'a> for Step {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=5_u8)? {
            0 => Self::ToDeadline(u.arbitrary()?),
            1 => Self::Millis(u.arbitrary()?),
            2 => Self::Odd(u.arbitrary()?),
            3 => Self::Seconds(u.arbitrary()?),
            4 => Self::Back(u.arbitrary()?),
            _ => Self::Hours(u.arbitrary()?),
        })
    }
}

pub(crate) struct Clock {
    now: Instant,
    /// The latest time shown so far: what a machine goes by.
    latest: Instant,
    pub(crate) wall: SystemTime,
}

impl Clock {
    pub(crate) fn new() -> Self {
        // Far enough from the origin of the real clock to go back.
        let now = Instant::now() + Duration::from_secs(1_000_000);
        Self {
            now,
            latest: now,
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        }
    }

    /// Shows a machine the time, which may lie before what it was shown.
    pub(crate) fn show(&mut self) -> Instant {
        self.latest = self.latest.max(self.now);
        self.now
    }

    pub(crate) fn latest(&self) -> Instant {
        self.latest
    }

    /// What [`latest`](Self::latest) is once a machine is shown the time.
    pub(crate) fn next(&self) -> Instant {
        self.latest.max(self.now)
    }

    pub(crate) fn step(&mut self, step: Step, deadline: Option<Instant>) {
        let by = match step {
            Step::Millis(n) => Duration::from_millis(n.into()),
            Step::Odd(n) => Duration::from_nanos(u64::from(n).pow(2) * 7 + 1),
            Step::Seconds(n) => Duration::from_secs(n.into()),
            Step::Hours(n) => Duration::from_secs(3600 * u64::from(n)),
            Step::Back(n) => {
                let back = Duration::from_millis(n.into());
                self.now = self.now.checked_sub(back).unwrap_or(self.now);
                return;
            }
            Step::ToDeadline(off) => {
                let Some(deadline) = deadline else { return };
                let off = i64::from(off);
                let millis = Duration::from_millis(off.unsigned_abs());
                let to = if off < 0 {
                    deadline.checked_sub(millis).unwrap_or(deadline)
                } else {
                    deadline + millis
                };
                to.saturating_duration_since(self.now)
            }
        };
        self.now += by;
        self.wall += by;
    }
}
