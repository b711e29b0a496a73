//! How a bot begins: from a token and options to an owner, a handle and events.

use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use shardwright_core::trace::RecordedFleet;
use shardwright_core::{
    FetchFault, FetchMachine, FetchNext, FleetConfig, GatewayInfo, GatewayRequest, ShardId,
    ShardPlan, Token,
};

use crate::inbox::{Inbox, inbox};
use crate::owner::{Helpers, Turn};
use crate::saver::Saver;
use crate::{
    Bot, ConnectError, Events, Mailboxes, Network, Options, Owner, TraceFile, fetch_on_thread,
    random_seed,
};

/// A bot on its way. The runtime gives the owner its turns meanwhile.
#[derive(Debug)]
pub struct Connecting {
    bot: Bot,
    events: Events,
    started: Inbox<Result<(), FetchFault>>,
}

/// A bot of this token, not started yet: turn the owner and wait for the rest.
///
/// # Errors
/// If TLS cannot be set up, or the stored run cannot be read.
pub fn prepare(token: Token, options: &Options) -> Result<(Owner, Connecting), ConnectError> {
    let fleet = options.fleet(token);
    prepare_fleet(fleet, options)
}

/// The same with exactly these shards, and a gateway that is known.
///
/// # Errors
/// If TLS cannot be set up, or the stored run cannot be read.
pub fn prepare_shards(
    token: Token,
    options: &Options,
    gateway: GatewayInfo,
    shards: impl IntoIterator<Item = ShardId>,
) -> Result<(Owner, Connecting), ConnectError> {
    let mut fleet = options.fleet(token);
    fleet.plan = ShardPlan::Exactly(shards.into_iter().collect());
    fleet.gateway = Some(gateway);
    prepare_fleet(fleet, options)
}

fn prepare_fleet(
    mut fleet: FleetConfig,
    options: &Options,
) -> Result<(Owner, Connecting), ConnectError> {
    let network = options.network()?;
    let seed = options.seed.unwrap_or_else(random_seed);
    let store = options.store.clone();
    let last = store.as_ref().map(|store| store.load()).transpose();
    let last = last.map_err(|error| ConnectError::Store(Arc::new(error)))?;
    let last = last.flatten();
    if let Some(last) = &last {
        // What the caller says goes before what was stored.
        let said: Vec<_> = fleet.states.iter().map(|state| state.shard).collect();
        let stored = last
            .shards
            .iter()
            .filter(|state| !said.contains(&state.shard));
        fleet.states.extend(stored.cloned());
        fleet.careful |= !last.ended_in_order;
        let known = last.known_starts(SystemTime::now());
        fleet.known_starts = fleet.known_starts.or(known);
    }
    let record = options.record.as_ref().map(TraceFile::begin).transpose()?;
    let record = record.map(|sink| (sink, Some(SystemTime::now())));
    tracing::info!(seed, "starting");
    let mailboxes = Mailboxes::new(
        options.mailbox_events,
        options.mailbox_bytes,
        options.overflow,
        options.acknowledge,
    );
    let helpers = Helpers {
        network,
        mailboxes: mailboxes.clone(),
        in_place: options.in_place.clone(),
        gate: options.identify_when.clone(),
        saver: Saver::new(store, last.as_ref()),
    };
    let (orders, from_handles) = inbox();
    let (has_started, started) = inbox();
    let end = Arc::new(OnceLock::new());
    let owner = Owner::new(
        RecordedFleet::new(fleet, seed, Instant::now(), record),
        helpers,
        from_handles,
        has_started,
        Arc::clone(&end),
    );
    let connecting = Connecting {
        bot: Bot {
            orders: orders.clone(),
            end,
        },
        events: Events { mailboxes, orders },
        started,
    };
    Ok((owner, connecting))
}

impl Connecting {
    /// Waits for the first answer of Discord's API. May be dropped, and the bot with it.
    ///
    /// # Errors
    /// If Discord refuses for good, or the tries are used up.
    pub async fn done(mut self) -> Result<(Bot, Events), ConnectError> {
        match self.started.next().await {
            Some(Ok(())) => Ok((self.bot, self.events)),
            Some(Err(fault)) => Err(ConnectError::Fetch(fault)),
            None => Err(ConnectError::Stopped),
        }
    }
}

/// A question to Discord's API: address, recommended shards, session starts left.
#[derive(Debug)]
pub struct Inquiry {
    request: GatewayRequest,
    network: Network,
    machine: FetchMachine,
    answer: Option<Inbox<Result<GatewayInfo, FetchFault>>>,
    retry_at: Option<Instant>,
}

impl Inquiry {
    /// A question that has not been asked yet.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(token: &Token, options: &Options) -> Result<Self, ConnectError> {
        let seed = options.seed.unwrap_or_else(random_seed);
        Ok(Self {
            request: GatewayRequest::new(&options.api, token),
            network: options.network()?,
            machine: FetchMachine::new(options.start_tries, seed),
            answer: None,
            retry_at: None,
        })
    }

    /// Asks, and asks again after passing faults.
    pub fn turn(&mut self, cx: &mut Context<'_>) -> Turn<Result<GatewayInfo, ConnectError>> {
        loop {
            if let Some(at) = self.retry_at {
                if Instant::now() < at {
                    return Turn::Wait(Some(at));
                }
                self.retry_at = None;
            }
            let Some(answer) = &mut self.answer else {
                let (reply, answer) = inbox();
                self.answer = Some(answer);
                let network = self.network.clone();
                fetch_on_thread(self.request.clone(), network, move |result| {
                    // Nobody listens if the question was dropped.
                    reply.send(result);
                });
                continue;
            };
            let result = match answer.poll(cx) {
                Poll::Ready(Some(result)) => result,
                Poll::Ready(None) => return Turn::Done(Err(ConnectError::Stopped)),
                Poll::Pending => return Turn::Wait(None),
            };
            self.answer = None;
            match self.machine.on_result(Instant::now(), result) {
                FetchNext::Done(info) => return Turn::Done(Ok(info)),
                FetchNext::Failed(fault) => return Turn::Done(Err(fault.into())),
                FetchNext::RetryAt(at) => self.retry_at = Some(at),
            }
        }
    }
}
