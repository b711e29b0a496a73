//! What must have come of an input by the end of its drain.

use shardwright_core::Next;

use super::super::did::Did;
use super::{Checker, Due, Line, Step, Turn, Verdict, rule};

impl Checker {
    /// How many actions a drain may have.
    const LONGEST: usize = 64;

    pub(super) fn settle(&mut self, step: &Step<'_>, due: &Due) -> Verdict {
        rule(step.did.len() <= Self::LONGEST, "a drain is short")?;
        rule(
            !due.nothing || step.did.is_empty(),
            "nothing comes of what is known, old or not asked for",
        )?;
        if let Some(missing) = due.events.front() {
            return Err(format!("{missing:?} did not come out"));
        }
        rule(due.ready.is_none(), "READY begins a session")?;
        rule(!due.resumed, "RESUMED makes a shard live")?;
        rule(
            !due.close,
            "a connection that cannot go on is closed at once",
        )?;
        rule(!due.beat, "a heartbeat that is asked for is sent at once")?;
        rule(
            due.caught_up.is_none(),
            "who asks whether all has arrived is told",
        )?;
        rule(!due.identify, "who may identify does")?;
        rule(
            !due.greeting,
            "Hello is answered by a Resume, or the wish to identify",
        )?;
        rule(!due.reported, "an Identify that has left is reported")?;
        let used = self.live && self.turn == Turn::Used;
        rule(!used, "an Identify that READY answers is reported")?;
        rule(due.sent == 0, "a command that has left is answered")?;
        rule(due.answer.is_none(), "a command is answered at once")?;
        rule(due.code.is_none(), "a fatal close code stops the shard")?;
        rule(
            !due.session_ends || self.session.is_none(),
            "a session that is over is given up",
        )?;
        self.settle_stop(due)?;
        self.settle_line(step, due)
    }

    fn settle_stop(&self, due: &Due) -> Verdict {
        rule(
            !due.stop || self.line == Line::Closing,
            "a stop closes what is open and ends the rest at once",
        )
    }

    fn settle_line(&mut self, step: &Step<'_>, due: &Due) -> Verdict {
        let up = matches!(self.line, Line::Dialling | Line::Open);
        rule(
            self.announced.is_some() == up,
            "one Disconnected for each Connecting",
        )?;
        if up {
            return Ok(());
        }
        let settled = matches!(self.turn, Turn::NotWanted | Turn::Settled);
        rule(settled, "a turn goes back with its connection")?;
        self.unflushed = 0;
        self.question = None;
        let Some(next) = due.next else { return Ok(()) };
        if self.opened && !self.live {
            self.fruitless += 1;
        }
        self.live = false;
        let lost = step
            .did
            .iter()
            .any(|did| matches!(did, Did::SessionLost { .. }));
        rule(
            !due.session_stays || !lost,
            "a session survives a lost connection",
        )?;
        let expected = match (&self.session, self.stop.is_some() || self.stopped) {
            (_, true) => Next::Stop,
            (Some(_), false) => Next::Resume,
            (None, false) => Next::Identify,
        };
        rule(
            next == expected,
            "what is announced to come next is what fits",
        )
    }
}
