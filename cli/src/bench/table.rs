//! Medians, ratios, and how they are printed.

use serde_json::{Value, json};

use super::BenchArgs;
use super::plan::{Group, Kind};
use crate::args::Format;

/// What one client has cost, over all its runs.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    /// Nanoseconds an event, or bytes a shard: the least, the median, the most.
    cost: [f64; 3],
    /// Of shards at rest: milliseconds of CPU a second, for a thousand of them.
    at_rest: Option<f64>,
    /// Bytes a shard at its peak.
    peak: Option<f64>,
    /// Nanoseconds from when an event is sent until it is there: the median, and what one in a hundred exceeds.
    late: Option<[f64; 2]>,
    /// Seconds of real and of CPU time, to start and to resume.
    scale: Option<[[f64; 2]; 2]>,
}

pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) aim: Option<(f64, &'static str)>,
    pub(super) measured: Measured,
}

impl Measured {
    pub(super) fn new(reports: &[Value], group: &Group) -> Self {
        let all = |key: &str| -> Vec<f64> {
            let values = reports.iter().filter_map(|report| report[key].as_f64());
            let mut values: Vec<_> = values.collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let spread = |values: &[f64], by: f64| {
            let at = |index: usize| values.get(index).map_or(f64::NAN, |value| value / by);
            let last = values.len().saturating_sub(1);
            [at(0), at(last / 2), at(last)]
        };
        let median = |key: &str| spread(&all(key), 1.0)[1];
        let shards = f64::from(group.play.shards);
        if group.events > 0 {
            let late = || ["late_p50_ns", "late_p99_ns"].map(median);
            return Self {
                cost: spread(
                    &all(match group.kind {
                        Kind::Throughput => "real_ns",
                        _ => "cpu_ns",
                    }),
                    group.events as f64,
                ),
                at_rest: None,
                peak: None,
                late: (group.kind == Kind::Late).then(late),
                scale: None,
            };
        }
        let scale = || {
            ["connect", "resume"]
                .map(|of| ["_s", "_cpu_s"].map(|what| median(&format!("{of}{what}"))))
        };
        let busy = median("rest_cpu_s") / median("rest_s");
        Self {
            cost: spread(&all("memory"), shards),
            at_rest: Some(busy * 1000.0 * 1000.0 / shards),
            peak: Some(spread(&all("peak"), shards)[1]),
            late: None,
            scale: matches!(group.kind, Kind::Scale(_)).then(scale),
        }
    }

    fn median(&self) -> f64 {
        self.cost[1]
    }
}

/// What a row should cost at most, and whether it does; none if what it is compared with was not run.
fn verdict(row: &Row, rows: &[Row]) -> Option<(f64, &'static str, bool)> {
    let (at_most, of) = row.aim?;
    let other = rows.iter().find(|row| row.name == of)?;
    let reached = row.measured.median() <= at_most * other.measured.median();
    Some((at_most, of, reached))
}

/// What the ratios of a group are to: the floor, or for memory twilight if it is there.
fn base(kind: Kind, rows: &[Row]) -> Option<&Row> {
    let name = match kind {
        Kind::Events | Kind::Late => "floor",
        Kind::Throughput => "tokio, events, one thread",
        Kind::Rest | Kind::Scale(_) => "twilight, raw",
    };
    rows.iter().find(|row| row.name == name)
}

pub(super) fn print(group: &Group, mean: u64, args: &BenchArgs, rows: &[Row]) {
    let base = base(group.kind, rows);
    let ratio = |row: &Row| base.map(|base| row.measured.median() / base.measured.median());
    if !pretty(args) {
        for row in rows {
            let Measured {
                cost: [least, median, most],
                at_rest,
                peak,
                late,
                scale,
            } = row.measured;
            let unit = match group.kind {
                Kind::Events | Kind::Late | Kind::Throughput => "ns an event",
                Kind::Rest | Kind::Scale(_) => "bytes a shard",
            };
            let line = json!({
                "group": group.name, "client": row.name, "unit": unit, "runs": args.runs,
                "median": median, "least": least, "most": most, "ratio": ratio(row),
                "cpu_at_rest_ms_a_second_1000_shards": at_rest, "peak_bytes_a_shard": peak,
                "late_ns_p50_p99": late, "connect_resume_s_and_cpu_s": scale,
                "aim": verdict(row, rows).map(|(at_most, of, reached)| json!({
                    "at_most": at_most, "of": of, "reached": reached,
                })),
            });
            println!("{line}");
        }
        return;
    }
    match group.kind {
        Kind::Events | Kind::Late | Kind::Throughput => {
            println!("\n{} ({} events of {mean} bytes)", group.name, group.events);
            print!(
                "  {:32} {:>12} {:>19} {:>8}",
                "", "ns an event", "least … most", "ratio"
            );
            match group.kind {
                Kind::Late => println!(" {:>8} {:>8}", "p50 µs", "p99 µs"),
                _ => println!(),
            }
        }
        Kind::Scale(at_once) => {
            let rounds = group.play.shards.div_ceil(at_once);
            println!(
                "\n{} ({at_once} may identify at once, so in {rounds} rounds)",
                group.name
            );
            println!(
                "  {:32} {:>12} {:>19} {:>8} {:>10} {:>22} {:>22} {:>22}",
                "",
                "KB a shard",
                "least … most",
                "",
                "peak KB",
                "CPU ms/s, 1,000 shards",
                "start s (CPU s)",
                "resume s (CPU s)"
            );
        }
        Kind::Rest => {
            println!("\n{} ({} shards)", group.name, group.play.shards);
            println!(
                "  {:32} {:>12} {:>19} {:>8} {:>10} {:>22}",
                "", "KB a shard", "least … most", "ratio", "peak KB", "CPU ms/s, 1,000 shards"
            );
        }
    }
    let unit = match group.kind {
        Kind::Events | Kind::Late | Kind::Throughput => 1.0,
        Kind::Rest | Kind::Scale(_) => 1000.0,
    };
    for row in rows {
        let [least, median, most] = row.measured.cost.map(|cost| cost / unit);
        let ratio = ratio(row).map_or_else(String::new, |ratio| format!("{ratio:.3}"));
        let spread = format!("{least:.0} … {most:.0}");
        print!("  {:32} {median:>12.0} {spread:>19} {ratio:>8}", row.name);
        if let (Some(peak), Some(at_rest)) = (row.measured.peak, row.measured.at_rest) {
            print!(" {:>10.0} {at_rest:>22.2}", peak / 1000.0);
        }
        if let Some([p50, p99]) = row.measured.late {
            print!(" {:>8.0} {:>8.0}", p50 / 1000.0, p99 / 1000.0);
        }
        for [real, cpu] in row.measured.scale.into_iter().flatten() {
            let text = format!("{real:.2} ({cpu:.2})");
            print!(" {text:>22}");
        }
        match verdict(row, rows) {
            Some((at_most, of, true)) => println!("   reached (at most {at_most} × {of})"),
            Some((at_most, of, false)) => println!("   NOT reached (at most {at_most} × {of})"),
            None => println!(),
        }
    }
}

fn pretty(args: &BenchArgs) -> bool {
    use std::io::IsTerminal;
    match args.format {
        Some(format) => format == Format::Pretty,
        None => std::io::stdout().is_terminal(),
    }
}
