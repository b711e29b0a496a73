//! Machines that are recorded, if anybody wants it. They do nothing else than those inside them.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::lines::Header;
use super::tape::{self, FleetTape, ShardTape, TraceSink};
use crate::{
    Action, ConnId, Event, FleetAction, FleetConfig, FleetInput, FleetMachine, Frame, Input,
    Misuse, ShardMachine, ShardStart,
};

/// A [`FleetMachine`] and, perhaps, the tape that it is recorded on.
#[derive(Debug)]
pub struct RecordedFleet {
    machine: FleetMachine,
    tape: Option<FleetTape>,
}

impl RecordedFleet {
    /// A fleet that waits for [`FleetInput::Start`], recorded if there is somewhere to record it to. The time
    /// of day is for people who read the trace.
    #[must_use]
    pub fn new(
        config: FleetConfig,
        seed: u64,
        now: Instant,
        record: Option<(Arc<dyn TraceSink>, Option<SystemTime>)>,
    ) -> Self {
        let tape = record.map(|(sink, wall)| {
            let header = tape::header(&config, seed, wall);
            FleetTape::new(sink, header, Some(&config.token), now)
        });
        Self {
            machine: FleetMachine::new(config, seed, now),
            tape,
        }
    }

    /// The fleet of a trace, recorded anew.
    pub(super) fn copy(sink: Arc<dyn TraceSink>, header: Header, now: Instant) -> Self {
        Self {
            machine: FleetMachine::new(header.config.clone(), header.seed, now),
            tape: Some(FleetTape::new(sink, header, None, now)),
        }
    }

    /// The tape for the shard that was started last, if this is recorded.
    #[must_use]
    pub fn tape(&self) -> Option<ShardTape> {
        self.tape.as_ref().map(FleetTape::shard)
    }

    /// See [`FleetMachine::handle`].
    ///
    /// # Errors
    /// [`Misuse`] as there.
    pub fn handle(&mut self, now: Instant, input: FleetInput) -> Result<(), Misuse> {
        let Some(tape) = &mut self.tape else {
            return self.machine.handle(now, input);
        };
        tape.heard(now, &input);
        self.machine
            .handle(now, input)
            .inspect_err(|misuse| tape.refused(misuse))
    }

    /// See [`FleetMachine::poll`].
    pub fn poll(&mut self) -> FleetAction {
        let action = self.machine.poll();
        if let Some(tape) = &mut self.tape {
            tape.did(&action);
        }
        action
    }
}

/// The machine can be asked everything.
impl Deref for RecordedFleet {
    type Target = FleetMachine;

    fn deref(&self) -> &FleetMachine {
        &self.machine
    }
}

/// A [`ShardMachine`] and, perhaps, the tape that it is recorded on.
#[derive(Debug)]
pub struct RecordedShard {
    machine: ShardMachine,
    tape: Option<ShardTape>,
}

impl RecordedShard {
    /// The machine of a shard that a fleet starts.
    #[must_use]
    pub fn new(start: ShardStart, now: Instant, tape: Option<ShardTape>) -> Self {
        if let Some(tape) = &tape {
            tape.begins(now, start.config.shard, &start.config.filter);
        }
        Self {
            machine: ShardMachine::new(start.config, start.state, start.seed, now),
            tape,
        }
    }

    /// See [`ShardMachine::handle`].
    ///
    /// # Errors
    /// [`Misuse`] as there.
    #[inline]
    pub fn handle(&mut self, now: Instant, input: Input) -> Result<(), Misuse> {
        let Some(tape) = &mut self.tape else {
            return self.machine.handle(now, input);
        };
        tape.heard(now, &input);
        self.machine
            .handle(now, input)
            .inspect_err(|misuse| tape.refused(misuse))
    }

    /// See [`ShardMachine::receive`]. While it is recorded, everything that comes of the message is to be polled.
    ///
    /// # Errors
    /// [`Misuse`] as there.
    #[inline(always)]
    pub fn receive<R>(
        &mut self,
        now: Instant,
        conn: ConnId,
        frame: Frame,
        take: impl FnOnce(Event<'_>) -> R,
    ) -> Result<Option<R>, Misuse> {
        if self.tape.is_none() {
            return self.machine.receive(now, conn, frame, take);
        }
        self.handle(now, Input::Received { conn, frame })?;
        Ok(None)
    }

    /// See [`ShardMachine::settle`]. While it is recorded, the end of a drain is to be polled.
    #[inline]
    pub fn settle(&mut self) -> bool {
        self.tape.is_none() && self.machine.settle()
    }

    /// See [`ShardMachine::keep_large`].
    pub fn keep_large(&mut self, keep: bool) {
        self.machine.keep_large(keep);
    }

    /// See [`ShardMachine::rest`].
    pub fn rest(&mut self) {
        self.machine.rest();
    }

    /// See [`ShardMachine::poll`].
    #[inline]
    pub fn poll(&mut self) -> Action<'_> {
        // An action is large; as a rule it is not moved here.
        let Some(tape) = &mut self.tape else {
            return self.machine.poll();
        };
        let action = self.machine.poll();
        tape.did(&action);
        action
    }
}

/// The machine can be asked everything.
impl Deref for RecordedShard {
    type Target = ShardMachine;

    #[inline]
    fn deref(&self) -> &ShardMachine {
        &self.machine
    }
}
