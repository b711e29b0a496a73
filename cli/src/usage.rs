//! What the process has used: CPU time and memory.

use nix::sys::resource::{UsageWho, getrusage};

/// CPU seconds (user and system) and the largest resident size in KB.
pub(crate) fn usage() -> (f64, i64) {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return (0.0, 0);
    };
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1_000_000.0;
    (
        seconds(usage.user_time()) + seconds(usage.system_time()),
        usage.max_rss(),
    )
}
