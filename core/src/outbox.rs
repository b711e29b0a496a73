//! Keeps commands that cannot be sent yet: bounded, in order, the newest presence and the newest
//! voice state of a guild in place of an older one.

use std::collections::VecDeque;

use crate::{Command, CommandError, CommandId, CommandKind};

/// A command that waits, or that was sent and not yet flushed.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    /// `None` for what the machine itself wants sent.
    pub(crate) id: Option<CommandId>,
    pub(crate) command: Command,
}

#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    waiting: VecDeque<Waiting>,
    limit: usize,
}

/// Where a new command went.
#[derive(Debug)]
pub(crate) enum Queued {
    /// To the end.
    Added,
    /// In the place of this one, which it makes void.
    Replaced(Option<CommandId>),
}

impl Outbox {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            limit,
        }
    }

    pub(crate) fn push(&mut self, new: Waiting) -> Result<Queued, CommandError> {
        if let Some(old) = self
            .waiting
            .iter_mut()
            .find(|old| replaces(&new.command, &old.command))
        {
            let old = std::mem::replace(old, new);
            return Ok(Queued::Replaced(old.id));
        }
        if self.waiting.len() >= self.limit {
            return Err(CommandError::QueueFull { limit: self.limit });
        }
        self.waiting.push_back(new);
        Ok(Queued::Added)
    }

    /// Puts back what was not flushed before its connection was lost, in front and in order, unless
    /// something newer makes it void: those come back.
    pub(crate) fn put_back(&mut self, unsent: Vec<Waiting>) -> Vec<Option<CommandId>> {
        let mut void = Vec::new();
        for command in unsent.into_iter().rev() {
            if self
                .waiting
                .iter()
                .any(|newer| replaces(&newer.command, &command.command))
            {
                void.push(command.id);
            } else {
                self.waiting.push_front(command);
            }
        }
        void
    }

    /// Takes the first command; with `presence` false, the first that is no presence update.
    pub(crate) fn take(&mut self, presence: bool) -> Option<Waiting> {
        let position = self
            .waiting
            .iter()
            .position(|waiting| presence || waiting.command.op() != 3)?;
        self.waiting.remove(position)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Drops a waiting presence update: an Identify has just said it.
    pub(crate) fn take_presence(&mut self) -> Option<Waiting> {
        let position = self
            .waiting
            .iter()
            .position(|waiting| matches!(waiting.command.kind(), CommandKind::Presence))?;
        self.waiting.remove(position)
    }

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Waiting> + '_ {
        self.waiting.drain(..)
    }
}

fn replaces(new: &Command, old: &Command) -> bool {
    match (new.kind(), old.kind()) {
        (CommandKind::Presence, CommandKind::Presence) => true,
        (CommandKind::VoiceState(new), CommandKind::VoiceState(old)) => new == old,
        _ => false,
    }
}
