//! One emulator and one peer, and what must hold at their end.

use std::time::Duration;

use shardwright_testkit::emulator::{Builder, Emulator};
use shardwright_testkit::scenario::Effect;
use shardwright_testkit::server::{Log, Seen, Target};

use crate::checks::Start;
use crate::{Ask, Options, Peer, Report};

/// Nothing here takes that long; it only ends a test that would hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// An emulator and a peer at work.
pub(crate) struct Run {
    pub(crate) emulator: Emulator,
    pub(crate) peer: Box<dyn Peer>,
}

impl Run {
    /// Waits until the peer has READY and the guilds, and says so itself.
    pub(crate) fn start(builder: Builder, start: Start<'_>) -> Self {
        let emulator = builder.start().expect("the emulator starts");
        let peer = start(&emulator, Options::default());
        let run = Self { emulator, peer };
        run.wait("READY", |log| log.readies() == 1);
        run.caught_up();
        run.peer
            .record()
            .wait_for("its word", |reports| reports.contains(&Report::Ready));
        run
    }

    pub(crate) fn log<T>(&self, look: impl FnOnce(&Log) -> T) -> T {
        self.emulator.with_machine(|machine| look(machine.log()))
    }

    pub(crate) fn wait(&self, what: &str, wanted: impl Fn(&Log) -> bool) {
        if !self.emulator.wait_for(&wanted, PATIENCE) {
            let seen = self.log(|log| {
                let entries = log.entries();
                format!("{:#?}", &entries[entries.len().saturating_sub(20)..])
            });
            let complaints = self.peer.record().complaints();
            panic!("waited in vain for {what}; {complaints:?}; the emulator's last: {seen}");
        }
    }

    pub(crate) fn play(&self, effects: &[Effect]) {
        self.emulator.play(&Target::All, effects);
    }

    /// The number of the last dispatch of the only session.
    pub(crate) fn last_seq(&self) -> u64 {
        self.emulator.with_machine(|machine| {
            let sessions = machine.sessions();
            sessions.last().expect("a session").seq
        })
    }

    /// Waits until the peer has got all there is.
    fn caught_up(&self) {
        let last = self.last_seq();
        self.peer.record().wait_for("the last dispatch", |reports| {
            latest(reports).is_some_and(|seq| seq >= last)
        });
    }

    /// The first guild the peer heard of.
    pub(crate) fn guild(&self) -> u64 {
        let reports = self.peer.record().reports();
        let first = reports.iter().find_map(|report| match report {
            Report::Guild(id) => Some(*id),
            _ => None,
        });
        first.expect("the peer has a guild")
    }

    /// Has the peer ask for members, and waits for the answer.
    pub(crate) fn members(&self, what: &Ask) -> Vec<u64> {
        let answers = |reports: &[Report]| -> Vec<Vec<u64>> {
            let answers = reports.iter().filter_map(|report| match report {
                Report::Members(ids) => Some(ids.clone()),
                _ => None,
            });
            answers.collect()
        };
        let before = answers(&self.peer.record().reports()).len();
        self.peer.ask(what);
        self.peer
            .record()
            .wait_for("members", |reports| answers(reports).len() > before);
        answers(&self.peer.record().reports()).remove(before)
    }

    /// Asks the peer for a beat, and waits until it came and its acknowledgement arrived.
    pub(crate) fn ask_for_beat(&self) {
        let acks = |reports: &[Report]| {
            let acks = reports.iter().filter(|report| **report == Report::Op(11));
            acks.count()
        };
        let (beats, before) = (self.log(beats_of), acks(&self.peer.record().reports()));
        self.play(&[Effect::Op1("absent".into())]);
        self.wait("the beat asked for", |log| beats_of(log) > beats);
        self.peer
            .record()
            .wait_for("its acknowledgement", |reports| acks(reports) > before);
    }

    /// Ends both: the peer got every dispatch of each of its sessions once and in order and
    /// complained about nothing, and the emulator saw no violation.
    pub(crate) fn end(self, identifies: usize, resumes: usize) -> Vec<Report> {
        self.emulator.set_rate(0.0);
        self.caught_up();
        let last = self.last_seq();
        self.peer.stop();
        self.peer
            .record()
            .wait_for("the end", |reports| reports.contains(&Report::Ended));
        let reports = self.peer.record().reports();
        assert_eq!(self.peer.record().complaints(), Vec::<String>::new());
        let sessions = sessions(&reports);
        assert_eq!(sessions.len(), identifies, "READYs at the peer");
        for session in &sessions {
            let expected: Vec<u64> = (1..=session.len() as u64).collect();
            assert_eq!(*session, expected, "a gap, or something came twice");
        }
        assert_eq!(sessions.last().map(|seqs| seqs.len() as u64), Some(last));
        self.log(|log| {
            assert_eq!(log.violations(), Vec::<&_>::new());
            assert_eq!(log.identifies(), identifies);
            let asked = log.count(|what| matches!(what, Seen::Resume { .. }));
            assert_eq!((asked, log.resumed()), (resumes, resumes));
        });
        reports
    }
}

pub(crate) fn beats_of(log: &Log) -> usize {
    log.count(|what| matches!(what, Seen::Received { op: Some(1), .. }))
}

/// The sequence numbers a peer got, parted where a READY came.
pub(crate) fn sessions(reports: &[Report]) -> Vec<Vec<u64>> {
    let mut sessions: Vec<Vec<u64>> = Vec::new();
    for report in reports {
        if let Report::Dispatch { seq, name, .. } = report {
            if name == "READY" || sessions.is_empty() {
                sessions.push(Vec::new());
            }
            sessions.last_mut().expect("one was pushed").push(*seq);
        }
    }
    sessions
}

/// The last sequence number of the last session.
pub(crate) fn latest(reports: &[Report]) -> Option<u64> {
    sessions(reports).last()?.last().copied()
}
