//! Asks shards for what their next lives would go on from.

use std::collections::BTreeSet;

use super::{FleetAction, FleetMachine, Life, ToShard};
use crate::{CommandId, ShardFilter, ShardId, ShardState};

/// A question that running shards have still to answer.
#[derive(Debug)]
pub(super) struct Question {
    filter: ShardFilter,
    open: BTreeSet<u32>,
    states: Vec<ShardState>,
}

impl FleetMachine {
    pub(super) fn ask_for_states(&mut self, id: CommandId, filter: ShardFilter) {
        let states = self.states();
        let is_running = |id: &u32| matches!(self.shards.get(id), Some(Life::Running { .. }));
        let (running, known): (Vec<_>, Vec<_>) = states
            .into_iter()
            .partition(|state| is_running(&state.shard.number()));
        for state in &running {
            let shard = state.shard;
            let message = ToShard::ReportState;
            self.out.push_back(FleetAction::Tell { shard, message });
        }
        let question = Question {
            filter,
            open: running.iter().map(|state| state.shard.number()).collect(),
            states: known,
        };
        self.questions.insert(id, question);
        self.answer_questions(|question| question.open.is_empty());
    }

    /// A shard's state has become known: it was asked for, or is its last.
    pub(super) fn state_known(&mut self, shard: ShardId, state: &ShardState) {
        for question in self.questions.values_mut() {
            if question.open.remove(&shard.number()) {
                question.states.push(state.clone());
            }
        }
        self.answer_questions(|question| question.open.is_empty());
    }

    pub(super) fn answer_questions(&mut self, which: impl Fn(&Question) -> bool) {
        let (answered, open) = std::mem::take(&mut self.questions)
            .into_iter()
            .partition(|(_, question)| which(question));
        self.questions = open;
        let answered: std::collections::BTreeMap<_, _> = answered;
        for (id, mut question) in answered {
            question
                .states
                .retain(|state| question.filter.matches(state));
            question.states.sort_by_key(|state| state.shard);
            let states = question.states;
            self.out.push_back(FleetAction::States { id, states });
        }
    }
}
