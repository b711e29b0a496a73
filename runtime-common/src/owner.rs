//! The one who owns a bot's fleet: carries messages between its machine, its shards and its handles.
//! Which runtime turns it does not matter.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use shardwright_core::trace::RecordedFleet;
use shardwright_core::{
    Answer, Command, CommandError, CommandId, Event, FetchFault, FleetAction, FleetError,
    FleetInput, GuildMembers, GuildMembersRequest, IfNotReady, RequestMembersError, ShardFilter,
    ShardId, ShardReport, ShardState, Shards, Stop, StopReason, ToShard, Wait,
};

use crate::delivery::InPlace;
use crate::gate::{Gatekeeper, IdentifyGate};
use crate::inbox::{Inbox, Sender, inbox};
use crate::saver::Saver;
use crate::{Mailboxes, Network, Seat, fetch_on_thread};

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
    AddShards {
        states: Vec<ShardState>,
        reply: Sender<Result<(), FleetError>>,
    },
    RemoveShards {
        filter: ShardFilter,
        reply: Sender<Vec<ShardState>>,
    },
    ReShard {
        to: Option<u32>,
        reply: Sender<Result<(), FleetError>>,
    },
    Stop {
        how: Stop,
        reply: Option<Sender<Vec<ShardState>>>,
    },
}

/// Owns the fleet of one bot. A runtime gives it turns, and drives the shards it hands out.
#[derive(Debug)]
pub struct Owner {
    fleet: RecordedFleet,
    network: Network,
    mailboxes: Mailboxes,
    in_place: Option<InPlace>,
    orders: Inbox<Order>,
    /// What shards report, and what requests bring.
    inputs: Inbox<FleetInput>,
    to_fleet: Sender<FleetInput>,
    shards: BTreeMap<ShardId, Sender<ToShard>>,
    last_id: u64,
    replies: BTreeMap<CommandId, Sender<Answer>>,
    questions: BTreeMap<CommandId, Sender<Vec<ShardState>>>,
    changes: BTreeMap<CommandId, Sender<Result<(), FleetError>>>,
    collections: BTreeMap<CommandId, Sender<Members>>,
    ends: Vec<Sender<Vec<ShardState>>>,
    gatekeeper: Gatekeeper,
    started: Option<Sender<Result<(), FetchFault>>>,
    end: Arc<OnceLock<Vec<ShardState>>>,
    saver: Saver,
    /// The states are being asked for, to be stored.
    asks_for_saver: bool,
    ending: Option<Ending>,
    wait: Option<Wait>,
    /// Nobody can give orders any more.
    alone: bool,
}

/// The last event waits until it is stored what it says, for a while.
#[derive(Debug)]
struct Ending {
    event: Event<'static>,
    stored: bool,
    give_up_at: Instant,
}

/// A store that takes longer does not hold up the end.
const PATIENCE_FOR_STORE: Duration = Duration::from_secs(5);
/// The number of the owner's own questions.
const OWN: CommandId = CommandId(0);

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum Turn<T> {
    /// It is over.
    Done(T),
    /// There is more to do: give the next turn once all others that wait for one have had theirs.
    Again,
    /// Give the next turn when the waker is woken, and no later than this.
    Wait(Option<Instant>),
}

impl Owner {
    pub(crate) fn new(
        fleet: RecordedFleet,
        helpers: Helpers,
        orders: Inbox<Order>,
        started: Sender<Result<(), FetchFault>>,
        end: Arc<OnceLock<Vec<ShardState>>>,
    ) -> Self {
        let Helpers {
            network,
            mailboxes,
            in_place,
            gate,
            saver,
        } = helpers;
        let (to_fleet, inputs) = inbox();
        Self {
            fleet,
            network,
            mailboxes,
            in_place,
            orders,
            inputs,
            to_fleet,
            shards: BTreeMap::new(),
            last_id: 0,
            replies: BTreeMap::new(),
            questions: BTreeMap::new(),
            changes: BTreeMap::new(),
            collections: BTreeMap::new(),
            ends: Vec::new(),
            gatekeeper: Gatekeeper::new(gate),
            started: Some(started),
            end,
            saver,
            asks_for_saver: false,
            ending: None,
            wait: None,
            alone: false,
        }
    }

    /// Does all there is to do now. `drive` gets each shard that shall run from now on.
    pub fn turn(&mut self, cx: &mut Context<'_>, mut drive: impl FnMut(Seat)) -> Turn<()> {
        loop {
            let now = Instant::now();
            if self.ending.is_some() {
                match self.end_or_wait(now, cx) {
                    Some(turn) => return turn,
                    None => continue,
                }
            }
            let input = match self.wait {
                None => FleetInput::Start,
                Some(Wait::Stopped) => return Turn::Done(()),
                Some(Wait::Until(at)) if at <= now => FleetInput::Tick,
                Some(wait) => match self.poll_input(now, cx) {
                    Poll::Ready(input) => input,
                    Poll::Pending => {
                        let fleet = match wait {
                            Wait::Until(at) => Some(at),
                            _ => None,
                        };
                        return Turn::Wait(fleet.into_iter().chain(self.save_at()).min());
                    }
                },
            };
            if matters_after_a_crash(&input) {
                self.saver.soon();
            }
            if let Err(misuse) = self.fleet.handle(now, input) {
                tracing::error!(%misuse, "fleet fault");
            }
            self.wait = Some(self.drain(&mut drive));
        }
    }

    fn save_at(&self) -> Option<Instant> {
        self.saver.due().filter(|_| !self.asks_for_saver)
    }

    /// Nothing is left but to store the end.
    fn end_or_wait(&mut self, now: Instant, cx: &mut Context<'_>) -> Option<Turn<()>> {
        let mut ending = self.ending.take()?;
        if self.saver.is_under_way() && now < ending.give_up_at {
            let wait = ending.give_up_at;
            let done = self.saver.poll(cx).is_ready();
            self.ending = Some(ending);
            return (!done).then_some(Turn::Wait(Some(wait)));
        }
        if !std::mem::replace(&mut ending.stored, true)
            && let Event::Stopped { why, states } = &ending.event
        {
            let starts = self.fleet.starts_left();
            self.saver.save_the_end(states.clone(), starts, why);
            self.ending = Some(ending);
            return None;
        }
        self.emit(ending.event);
        Some(Turn::Done(()))
    }

    fn poll_input(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<FleetInput> {
        if let Poll::Ready(Some(why)) = self.saver.poll(cx) {
            self.mailboxes.push_bot(Event::StoreFailed { why });
        }
        if self.save_at().is_some_and(|at| at <= now) {
            self.asks_for_saver = true;
            let filter = ShardFilter::all();
            return Poll::Ready(FleetInput::AskForStates { id: OWN, filter });
        }
        // It holds a sender of this one itself, so it never ends.
        if let Poll::Ready(Some(input)) = self.inputs.poll(cx) {
            return Poll::Ready(input);
        }
        if let Poll::Ready(input) = self.gatekeeper.poll(cx) {
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
            Some(Order::AddShards { states, reply }) => {
                self.changes.insert(id, reply);
                FleetInput::AddShards { id, states }
            }
            Some(Order::RemoveShards { filter, reply }) => {
                self.questions.insert(id, reply);
                FleetInput::RemoveShards { id, filter }
            }
            Some(Order::ReShard { to, reply }) => {
                self.changes.insert(id, reply);
                FleetInput::ReShard { id, to }
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
                    fetch_on_thread(request, self.network.clone(), move |result| {
                        to_fleet.send(FleetInput::Fetched(result));
                    });
                }
                FleetAction::StartShard(start) => {
                    let (to_shard, messages) = inbox();
                    self.shards.insert(start.config.shard, to_shard);
                    drive(Seat::new(
                        *start,
                        self.fleet.tape(),
                        self.network.clone(),
                        self.mailboxes.clone(),
                        self.in_place.as_ref(),
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
                FleetAction::AskGate(request) => self.gatekeeper.ask(request, &self.to_fleet),
                FleetAction::LeaveGate { shard, conn } => self.gatekeeper.leave(shard, conn),
                FleetAction::PrepareSwap => self.mailboxes.prepare_swap(),
                FleetAction::Swap => {
                    self.mailboxes.swap();
                    // What there is of the old layout cannot be resumed any more.
                    self.saver.soon();
                }
                FleetAction::AbandonSwap => self.mailboxes.abandon_swap(),
                FleetAction::Done { id, result } => {
                    if let Some(reply) = self.changes.remove(&id) {
                        reply.send(result);
                    }
                }
                FleetAction::States { id: OWN, states } => {
                    self.asks_for_saver = false;
                    self.saver.save(states, self.fleet.starts_left());
                }
                FleetAction::States { id, states } => {
                    if let Some(reply) = self.questions.remove(&id) {
                        reply.send(states);
                    }
                }
                FleetAction::Emit(event @ Event::Stopped { .. })
                    if self.saver.due().is_some() || self.saver.is_under_way() =>
                {
                    self.ending = Some(Ending {
                        event,
                        stored: false,
                        give_up_at: Instant::now() + PATIENCE_FOR_STORE,
                    });
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

/// Whether the next run should know, even if this one crashes soon.
fn matters_after_a_crash(input: &FleetInput) -> bool {
    use ShardReport as Report;
    match input {
        FleetInput::Report { report, .. } => matches!(
            report,
            Report::Up | Report::IdentifySent { .. } | Report::Stopped { .. }
        ),
        _ => false,
    }
}

/// What an owner works with.
#[derive(Debug)]
pub(crate) struct Helpers {
    pub(crate) network: Network,
    pub(crate) mailboxes: Mailboxes,
    pub(crate) in_place: Option<InPlace>,
    pub(crate) gate: Option<IdentifyGate>,
    pub(crate) saver: Saver,
}

/// How a bot is told that a command was answered: [`CommandError::Stopped`] if nobody answers any more.
pub(crate) fn outcome(answer: Option<Answer>) -> Result<(), CommandError> {
    match answer {
        Some(Answer::Refused(error)) => Err(error),
        Some(_) => Ok(()),
        None => Err(CommandError::Stopped),
    }
}
