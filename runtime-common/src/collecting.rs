//! Gathers members beside a shard's machine: what the collector has to know of the shard's life, and what it
//! wants of it.

use std::time::Instant;

use shardwright_core::{
    Action, CollectAction, CommandId, Event, EventFilter, GuildMembersRequest, IfNotReady, Input,
    MemberCollector, ShardReport, ShardStart, ToShard,
};

/// The collector of a seat.
#[derive(Debug)]
pub(crate) struct Collecting {
    collector: MemberCollector,
    /// What the consumer wants, which may be less than the collector needs.
    wanted: EventFilter,
}

/// What the collector wants.
pub(crate) enum Wanted {
    /// Tell the machine.
    Tell(Input),
    /// Tell the fleet.
    Report(ShardReport),
}

impl Collecting {
    /// Lets what the collector needs through the shard's filter.
    pub(crate) fn beside(start: &mut ShardStart) -> Self {
        let wanted = start.config.filter.clone();
        start.config.filter = wanted.clone().and(MemberCollector::EVENTS);
        Self {
            collector: MemberCollector::new(start.config.shard, start.seed),
            wanted,
        }
    }

    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.collector.wake_at()
    }

    pub(crate) fn begin(&mut self, id: CommandId, request: GuildMembersRequest) {
        self.collector.request(Instant::now(), id, request);
    }

    pub(crate) fn tick(&mut self) {
        self.collector.handle_tick(Instant::now());
    }

    pub(crate) fn congested(&mut self, congested: bool) {
        self.collector.congested(Instant::now(), congested);
    }

    /// Looks at a message for the machine.
    pub(crate) fn notice(&mut self, message: &ToShard) {
        if let ToShard::Command { command, .. } = message {
            self.collector.notice(Instant::now(), command);
        }
    }

    /// Nobody asks for members, and nothing is left to do for who did.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.collector.is_idle()
    }

    /// Looks at an action of the machine. True if it is for nobody else.
    pub(crate) fn look_at(&mut self, action: &Action<'_>) -> bool {
        match action {
            Action::Emit(event) => self.keeps(event),
            Action::Answer { id, answer } if MemberCollector::owns(*id) => {
                self.collector.answered(Instant::now(), *id, answer);
                true
            }
            _ => false,
        }
    }

    /// Every event is for the consumer alone.
    #[inline]
    pub(crate) fn is_aside(&self) -> bool {
        self.collector.pending() == 0 && self.wanted.is_all()
    }

    /// Looks at an event. True if it is for nobody else.
    #[inline]
    pub(crate) fn keeps(&mut self, event: &Event<'_>) -> bool {
        if self.is_aside() {
            return false;
        }
        if self.collector.pending() > 0 {
            self.collector.observe(Instant::now(), event);
        }
        !self.wanted.is_all()
            && matches!(event, Event::Dispatch(event) if !self.wanted.wants(event.name()))
    }

    /// One thing that the collector wants.
    pub(crate) fn next(&mut self) -> Option<Wanted> {
        Some(match self.collector.poll() {
            CollectAction::Send { id, command } => Wanted::Tell(Input::Command {
                id,
                command,
                if_not_ready: IfNotReady::Queue,
            }),
            CollectAction::Done { id, result } => {
                Wanted::Report(ShardReport::Members { id, result })
            }
            _ => return None,
        })
    }
}
