//! Which case passed on which runtime, and how long it took.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

#[derive(Default)]
pub(crate) struct Table(Mutex<BTreeMap<String, BTreeMap<&'static str, Option<Duration>>>>);

/// One run of a case: failed, unless it says otherwise.
pub(crate) struct Entry<'t> {
    table: &'t Table,
    case: String,
    runtime: &'static str,
    since: Instant,
}

impl Table {
    pub(crate) fn entry(&self, case: String, runtime: &'static str) -> Entry<'_> {
        let entry = Entry {
            table: self,
            case,
            runtime,
            since: Instant::now(),
        };
        entry.note(None);
        entry
    }
}

impl Entry<'_> {
    pub(crate) fn set(self) {
        self.note(Some(self.since.elapsed()));
    }

    fn note(&self, passed: Option<Duration>) {
        let mut rows = self.table.0.lock().unwrap_or_else(PoisonError::into_inner);
        let row = rows.entry(self.case.clone()).or_default();
        row.insert(self.runtime, passed);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let runtimes: BTreeSet<_> = rows.values().flat_map(BTreeMap::keys).collect();
        let width = rows.keys().map(String::len).max().unwrap_or(0);
        write!(f, "{:width$}", "")?;
        for runtime in &runtimes {
            write!(f, "  {runtime:>9}")?;
        }
        writeln!(f)?;
        for (case, row) in rows.iter() {
            write!(f, "{case:width$}")?;
            for runtime in &runtimes {
                let word = match row.get(*runtime) {
                    Some(Some(time)) => format!("{:.1} s", time.as_secs_f32()),
                    Some(None) => "FAILED".to_owned(),
                    None => "-".to_owned(),
                };
                write!(f, "  {word:>9}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
