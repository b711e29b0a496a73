//! Asks shards for what their next lives would go on from.

use std::collections::BTreeSet;

use super::roster::Shard;
use super::{FleetAction, FleetMachine, State, ToShard};
use crate::{CommandId, ShardFilter, ShardId, ShardState};

/// A question that running shards have still to answer.
#[derive(Clone, Debug)]
pub(super) struct Question {
    filter: ShardFilter,
    open: BTreeSet<ShardId>,
    states: Vec<ShardState>,
    /// The shards it is about shall go.
    remove: bool,
}

impl FleetMachine {
    pub(super) fn ask_for_states(&mut self, id: CommandId, filter: ShardFilter, remove: bool) {
        // After the end nobody is asked, not even a shard that never reported its own.
        let ended = matches!(self.state, State::Stopped);
        let runs =
            |shard: &ShardId| !ended && self.shards.get(shard).is_some_and(Shard::is_running);
        let (running, states): (Vec<_>, Vec<_>) = self
            .states()
            .into_iter()
            .partition(|state| runs(&state.shard));
        let open: BTreeSet<ShardId> = running.iter().map(|state| state.shard).collect();
        for shard in open.iter().copied() {
            let message = ToShard::ReportState;
            self.out.push_back(FleetAction::Tell { shard, message });
        }
        let question = Question {
            filter,
            open,
            states,
            remove,
        };
        self.questions.insert(id, question);
        self.answer_questions(|question| question.open.is_empty());
    }

    /// A shard's state has become known: it was asked for, or is its last.
    pub(super) fn state_known(&mut self, shard: ShardId, state: &ShardState) {
        for question in self.questions.values_mut() {
            if question.open.remove(&shard) {
                question.states.push(state.clone());
            }
        }
        self.answer_questions(|question| question.open.is_empty());
    }

    /// This shard was given up: who asked for states gets those of the others.
    pub(super) fn no_longer_asked(&mut self, shard: ShardId) {
        for question in self.questions.values_mut() {
            question.open.remove(&shard);
        }
        self.answer_questions(|question| question.open.is_empty());
    }

    pub(super) fn answer_questions(&mut self, which: impl Fn(&Question) -> bool) {
        let answered: Vec<CommandId> = self
            .questions
            .iter()
            .filter(|(_, question)| which(question))
            .map(|(id, _)| *id)
            .collect();
        for id in answered {
            let Some(mut question) = self.questions.remove(&id) else {
                continue;
            };
            question
                .states
                .retain(|state| question.filter.matches(state));
            question.states.sort_by_key(|state| state.shard);
            let states = question.states;
            if !question.remove {
                self.out.push_back(FleetAction::States { id, states });
            } else if matches!(self.state, State::Running) {
                self.remove_shards(id, states);
            } else {
                // Nothing goes: these are still to start, or the last event tells of them.
                let states = Vec::new();
                self.out.push_back(FleetAction::States { id, states });
            }
        }
    }
}
