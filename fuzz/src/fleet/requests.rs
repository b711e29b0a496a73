//! What holds of requests: each gets one last answer, before the bot has ended.

use std::collections::BTreeMap;

use shardwright_core::{Answer, CommandId};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Command,
    Members,
    States,
    Removal,
    Change,
}

#[derive(Debug, Default)]
pub(super) struct Requests {
    given: u64,
    open: BTreeMap<u64, (Kind, bool)>,
}

impl Requests {
    pub(super) fn new_id(&mut self, kind: Kind) -> CommandId {
        self.given += 1;
        self.open.insert(self.given, (kind, false));
        CommandId(self.given)
    }

    pub(super) fn answered(&mut self, id: CommandId, answer: &Answer) {
        let (kind, accepted) = self.open.get_mut(&id.0).expect("a command that waits");
        assert_eq!(*kind, Kind::Command);
        if *answer == Answer::Accepted {
            assert!(!std::mem::replace(accepted, true), "accepted twice");
        } else {
            self.open.remove(&id.0);
        }
    }

    /// The one answer of a request that is no command.
    pub(super) fn done(&mut self, id: CommandId, kinds: &[Kind]) -> Kind {
        let (kind, _) = self.open.remove(&id.0).expect("a request that waits");
        assert!(kinds.contains(&kind), "{kind:?}");
        kind
    }

    pub(super) fn stopped(&self) {
        assert!(self.open.is_empty(), "never answered: {:?}", self.open);
    }
}
