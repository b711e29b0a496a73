//! The one who owns a bot's fleet: carries messages between its machine, its shards and its handles.
//! Which runtime turns it does not matter.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Instant;

use rustls::ClientConfig;
use shardwright_core::{
    Answer, Command, CommandError, CommandId, Event, FetchFault, FleetAction, FleetInput,
    FleetMachine, GuildMembers, GuildMembersRequest, IfNotReady, RequestMembersError, ShardFilter,
    ShardId, ShardState, Shards, Stop, StopReason, ToShard, Wait,
};

use crate::inbox::{Inbox, Sender, inbox};
use crate::{Mailboxes, Seat, fetch_on_thread};

/// How a request for members ended.
pub(crate) type Members = Result<GuildMembers, RequestMembersError>;

/// What the handles of a bot want of it.
pub(crate) enum Order {
    Command {
        to: Shards,
        command: Command,
        /// [`Answer::Accepted`] and how it ended, or only how it ended.
        reply: Sender<Answer>,
    },
    Members {
        request: GuildMembersRequest,
        reply: Sender<Members>,
    },
    States {
        filter: ShardFilter,
        reply: Sender<Vec<ShardState>>,
    },
    Stop {
        how: Stop,
        reply: Option<Sender<Vec<ShardState>>>,
    },
}

/// Owns the fleet of one bot. A runtime gives it turns, and drives the shards it hands out.
#[derive(Debug)]
pub struct Owner {
    fleet: FleetMachine,
    tls: Arc<ClientConfig>,
    mailboxes: Mailboxes,
    orders: Inbox<Order>,
    /// What shards report, and what requests bring.
    inputs: Inbox<FleetInput>,
    to_fleet: Sender<FleetInput>,
    shards: BTreeMap<ShardId, Sender<ToShard>>,
    last_id: u64,
    replies: BTreeMap<CommandId, Sender<Answer>>,
    questions: BTreeMap<CommandId, Sender<Vec<ShardState>>>,
    collections: BTreeMap<CommandId, Sender<Members>>,
    ends: Vec<Sender<Vec<ShardState>>>,
    started: Option<Sender<Result<(), FetchFault>>>,
    end: Arc<OnceLock<Vec<ShardState>>>,
    wait: Option<Wait>,
    /// Nobody can give orders any more.
    alone: bool,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum Turn<T> {
    /// It is over.
    Done(T),
    /// Give the next turn when the waker is woken, and no later than this.
    Wait(Option<Instant>),
}

impl Owner {
    pub(crate) fn new(
        fleet: FleetMachine,
        tls: Arc<ClientConfig>,
        mailboxes: Mailboxes,
        orders: Inbox<Order>,
        started: Sender<Result<(), FetchFault>>,
        end: Arc<OnceLock<Vec<ShardState>>>,
    ) -> Self {
        let (to_fleet, inputs) = inbox();
        Self {
            fleet,
            tls,
            mailboxes,
            orders,
            inputs,
            to_fleet,
            shards: BTreeMap::new(),
            last_id: 0,
            replies: BTreeMap::new(),
            questions: BTreeMap::new(),
            collections: BTreeMap::new(),
            ends: Vec::new(),
            started: Some(started),
            end,
            wait: None,
            alone: false,
        }
    }

    /// Does all there is to do now. `drive` gets each shard that shall run from now on.
    pub fn turn(&mut self, cx: &mut Context<'_>, mut drive: impl FnMut(Seat)) -> Turn<()> {
        loop {
            let now = Instant::now();
            let input = match self.wait {
                None => FleetInput::Start,
                Some(Wait::Stopped) => return Turn::Done(()),
                Some(Wait::Until(at)) if at <= now => FleetInput::Tick,
                Some(wait) => match self.poll_input(cx) {
                    Poll::Ready(input) => input,
                    Poll::Pending => {
                        return Turn::Wait(match wait {
                            Wait::Until(at) => Some(at),
                            _ => None,
                        });
                    }
                },
            };
            if let Err(misuse) = self.fleet.handle(now, input) {
                tracing::error!(%misuse, "fleet fault");
            }
            self.wait = Some(self.drain(&mut drive));
        }
    }

    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<FleetInput> {
        // It holds a sender of this one itself, so it never ends.
        if let Poll::Ready(Some(input)) = self.inputs.poll(cx) {
            return Poll::Ready(input);
        }
        if self.alone {
            return Poll::Pending;
        }
        let Poll::Ready(order) = self.orders.poll(cx) else {
            return Poll::Pending;
        };
        self.last_id += 1;
        let id = CommandId(self.last_id);
        Poll::Ready(match order {
            Some(Order::Command { to, command, reply }) => {
                self.replies.insert(id, reply);
                let if_not_ready = IfNotReady::Queue;
                FleetInput::Command {
                    id,
                    to,
                    command,
                    if_not_ready,
                }
            }
            Some(Order::Members { request, reply }) => {
                self.collections.insert(id, reply);
                FleetInput::CollectMembers { id, request }
            }
            Some(Order::States { filter, reply }) => {
                self.questions.insert(id, reply);
                FleetInput::AskForStates { id, filter }
            }
            Some(Order::Stop { how, reply }) => {
                self.ends.extend(reply);
                FleetInput::Stop(how)
            }
            None => {
                self.alone = true;
                FleetInput::Stop(Stop::Keep)
            }
        })
    }

    fn drain(&mut self, drive: &mut impl FnMut(Seat)) -> Wait {
        loop {
            match self.fleet.poll() {
                FleetAction::Fetch(request) => {
                    let to_fleet = self.to_fleet.clone();
                    fetch_on_thread(request, Arc::clone(&self.tls), move |result| {
                        to_fleet.send(FleetInput::Fetched(result));
                    });
                }
                FleetAction::StartShard(start) => {
                    let (to_shard, messages) = inbox();
                    self.shards.insert(start.config.shard, to_shard);
                    drive(Seat::new(
                        *start,
                        Arc::clone(&self.tls),
                        self.mailboxes.clone(),
                        messages,
                        self.to_fleet.clone(),
                    ));
                }
                FleetAction::Tell { shard, message } => {
                    if let Some(to_shard) = self.shards.get(&shard) {
                        // A shard that has ended has said so.
                        to_shard.send(message);
                    }
                }
                FleetAction::Answer { id, answer } => self.answer(id, answer),
                FleetAction::Members { id, result } => {
                    if let Some(reply) = self.collections.remove(&id) {
                        reply.send(result);
                    }
                }
                FleetAction::States { id, states } => {
                    if let Some(reply) = self.questions.remove(&id) {
                        reply.send(states);
                    }
                }
                FleetAction::Emit(event) => self.emit(event),
                FleetAction::Wait(wait) => {
                    if self.fleet.total().is_some()
                        && let Some(started) = self.started.take()
                    {
                        started.send(Ok(()));
                    }
                    return wait;
                }
                _ => {}
            }
        }
    }

    fn answer(&mut self, id: CommandId, answer: Answer) {
        // Whoever asked may have gone.
        if answer == Answer::Accepted {
            if let Some(reply) = self.replies.get(&id) {
                reply.send(answer);
            }
        } else if let Some(reply) = self.replies.remove(&id) {
            reply.send(answer);
        }
    }

    fn emit(&mut self, event: Event<'static>) {
        if let Event::Stopped { why, states } = &event {
            if let (StopReason::Fetch(fault), Some(started)) = (why, self.started.take()) {
                started.send(Err(fault.clone()));
            }
            self.end.get_or_init(|| states.clone());
            for end in self.ends.drain(..) {
                end.send(states.clone());
            }
        }
        self.mailboxes.push_bot(event);
    }
}

impl Drop for Owner {
    /// A runtime that shuts down takes the owner with it: whoever waits for an event must not wait for
    /// ever.
    fn drop(&mut self) {
        if self.end.get().is_some() {
            return;
        }
        let states = self.fleet.states();
        let why = StopReason::Abandoned;
        self.emit(Event::Stopped { why, states });
    }
}

/// How a bot is told that a command was answered: [`CommandError::Stopped`] if nobody answers any more.
pub(crate) fn outcome(answer: Option<Answer>) -> Result<(), CommandError> {
    match answer {
        Some(Answer::Refused(error)) => Err(error),
        Some(_) => Ok(()),
        None => Err(CommandError::Stopped),
    }
}
