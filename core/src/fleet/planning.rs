//! From nothing to a plan: asks for the gateway's address and decides which shards there are.

use std::collections::BTreeSet;

use super::{
    ABSURD_TOTAL, Event, FleetAction, FleetMachine, IdentifyTurns, ShardPlan, State, StopReason,
};
use crate::{
    FetchFault, FetchNext, GatewayInfo, GatewayRequest, SessionStartLimit, ShardId, ShardIdError,
};

impl FleetMachine {
    pub(super) fn begin(&mut self) {
        match self.config.gateway.take() {
            Some(info) => self.plan(info),
            None => self.ask(),
        }
    }

    pub(super) fn ask(&mut self) {
        self.state = State::Fetching { retry_at: None };
        self.fetch_now();
    }

    pub(super) fn fetch_now(&mut self) {
        let request = GatewayRequest::new(&self.config.api, &self.config.token);
        self.out.push_back(FleetAction::Fetch(request));
    }

    pub(super) fn fetched(&mut self, result: Result<GatewayInfo, FetchFault>) {
        match self.state {
            State::Fetching { retry_at: None } => {}
            State::Running => return self.fetched_while_running(result),
            _ => return,
        }
        match self.fetch.on_result(self.now, result) {
            FetchNext::Done(info) => self.plan(info),
            FetchNext::RetryAt(at) => self.state = State::Fetching { retry_at: Some(at) },
            FetchNext::Failed(fault) => self.finish(StopReason::Fetch(fault)),
        }
    }

    fn plan(&mut self, mut info: GatewayInfo) {
        let (total, shards) = match self.planned(&info) {
            Ok(planned) => planned,
            Err(problem) => {
                let fault = FetchFault::NotAGateway { problem };
                return self.finish(StopReason::Fetch(fault));
            }
        };
        self.count_known_starts(&mut info.session_start_limit);
        let limit = info.session_start_limit;
        self.total = total;
        let turns = IdentifyTurns::new(&limit, self.config.careful, self.now);
        self.turns = Some(turns.gated(self.config.gated));
        self.url = Some(info.url);
        self.state = State::Running;
        let place = self.out.len();
        let states = std::mem::take(&mut self.config.states);
        for shard in shards {
            let state = states.iter().find(|state| state.shard == shard);
            self.enlist(shard, state.cloned(), false);
        }
        // Before the shards' own actions.
        let shards = self.planned_here();
        self.out.insert(
            place,
            FleetAction::Emit(Event::Starting {
                shards,
                total,
                limit,
            }),
        );
        self.start_what_is_near();
        self.say_if_all_up();
    }

    /// The bot's total, and which shards run here.
    fn planned(&self, info: &GatewayInfo) -> Result<(u32, BTreeSet<ShardId>), String> {
        let (total, ids) = match &self.config.plan {
            ShardPlan::Recommended => (info.shards, None),
            ShardPlan::Total(total) => (*total, None),
            ShardPlan::Ids { ids, total } => (total.unwrap_or(info.shards), Some(ids)),
            ShardPlan::Exactly(shards) => {
                let total = shards.iter().map(|shard| shard.total()).max();
                return Ok((
                    total.unwrap_or(info.shards),
                    shards.iter().copied().collect(),
                ));
            }
        };
        if total > ABSURD_TOTAL {
            return Err(format!("{total} shards are not possible"));
        }
        let shard = |id| ShardId::new(id, total);
        let shards: Result<_, ShardIdError> = match ids {
            Some(ids) => ids.iter().copied().map(shard).collect(),
            None if total == 0 => Err(ShardIdError::NoShards),
            None => (0..total).map(shard).collect(),
        };
        shards
            .map(|shards| (total, shards))
            .map_err(|error| error.to_string())
    }

    /// What an earlier run left of the same window counts, if Discord's answer has not caught up with it.
    fn count_known_starts(&self, limit: &mut SessionStartLimit) {
        if let Some(known) = self.config.known_starts {
            let apart = known.reset_after.abs_diff(limit.reset_after);
            if apart <= super::SAME_WINDOW {
                limit.remaining = limit.remaining.min(known.remaining);
            }
        }
    }
}
