//! The bot's handle, its events, and the task that owns the fleet.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_core::Stream;
use shardwright_core::{
    Answer, ChannelInfoField, Command, CommandError, CommandId, Event, FetchFault, FetchMachine,
    FetchNext, FleetAction, FleetInput, FleetMachine, GatewayInfo, GatewayRequest, GuildId,
    IfNotReady, RequestGuildMembers, ShardId, ShardReport, ShardState, Shards, StatusUpdate, Stop,
    StopReason, ToShard, Token, VoiceStateUpdate, Wait,
};
use shardwright_runtime::{ConnectError, Mailboxes, Options, fetch_on_thread, random_seed};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_rustls::rustls::ClientConfig;

use crate::driver::Driver;

/// What is told to the task that owns the fleet.
enum Order {
    Command {
        id: CommandId,
        to: Shards,
        command: Command,
        reply: oneshot::Sender<Result<(), CommandError>>,
    },
    Fetched(Result<GatewayInfo, FetchFault>),
    Stop(Stop),
}

/// A running bot: a handle to give it commands. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bot {
    orders: mpsc::UnboundedSender<Order>,
    next_id: Arc<AtomicU64>,
    end: watch::Receiver<Option<Vec<ShardState>>>,
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Order")
    }
}

/// The events of a bot, in order for each shard. The last is [`Event::Stopped`], then `None`.
///
/// Asking for the next event says that the one before has been handled.
#[derive(Debug)]
pub struct Events {
    mailboxes: Mailboxes,
    orders: mpsc::UnboundedSender<Order>,
}

/// Connects a bot: asks Discord for the gateway's address and starts its shards.
///
/// Resolves when the first answer is in; shards come up meanwhile. Passing faults are retried
/// ([`Options::start_tries`]); the future may be dropped, and the bot with it.
///
/// # Errors
/// If Discord refuses the token or the request for good, or the tries are used up.
pub async fn connect_bot(token: Token, options: Options) -> Result<(Bot, Events), ConnectError> {
    let tls = options.tls.client_config()?;
    let seed = options.seed.unwrap_or_else(random_seed);
    tracing::info!(seed, "starting");
    let mailboxes = Mailboxes::new(
        options.mailbox_events,
        options.mailbox_bytes,
        options.overflow,
    );
    let (orders, from_bot) = mpsc::unbounded_channel();
    let (to_fleet, from_shards) = mpsc::unbounded_channel();
    let (end_says, end) = watch::channel(None);
    let (started, has_started) = oneshot::channel();
    let owner = Owner {
        fleet: FleetMachine::new(options.fleet(token), seed, Instant::now()),
        tls,
        mailboxes: mailboxes.clone(),
        orders: orders.downgrade(),
        from_bot,
        to_fleet,
        from_shards,
        shards: BTreeMap::new(),
        replies: BTreeMap::new(),
        started: Some(started),
        end: end_says,
        alone: false,
    };
    let events = Events {
        mailboxes,
        orders: orders.clone(),
    };
    let bot = Bot {
        orders,
        next_id: Arc::default(),
        end,
    };
    tokio::spawn(owner.run());
    match has_started.await {
        Ok(Ok(())) => Ok((bot, events)),
        Ok(Err(fault)) => Err(ConnectError::Fetch(fault)),
        Err(_) => Err(ConnectError::Stopped),
    }
}

/// What Discord says of the gateway: address, recommended shards, session starts left.
///
/// # Errors
/// If Discord refuses for good, or [`Options::start_tries`] are used up.
pub async fn gateway_info(token: &Token, options: &Options) -> Result<GatewayInfo, ConnectError> {
    let tls = options.tls.client_config()?;
    let seed = options.seed.unwrap_or_else(random_seed);
    let mut machine = FetchMachine::new(options.start_tries, seed);
    loop {
        let request = GatewayRequest::new(&options.api, token);
        let (reply, answer) = oneshot::channel();
        fetch_on_thread(request, Arc::clone(&tls), |result| {
            // Nobody listens if the future was dropped.
            let _ = reply.send(result);
        });
        let result = answer.await.map_err(|_| ConnectError::Stopped)?;
        match machine.on_result(Instant::now(), result) {
            FetchNext::Done(info) => return Ok(info),
            FetchNext::Failed(fault) => return Err(fault.into()),
            FetchNext::RetryAt(at) => tokio::time::sleep_until(at.into()).await,
        }
    }
}

impl Bot {
    async fn command(&self, to: Shards, command: Command) -> Result<(), CommandError> {
        let id = CommandId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let (reply, answer) = oneshot::channel();
        self.orders
            .send(Order::Command {
                id,
                to,
                command,
                reply,
            })
            .map_err(|_| CommandError::Stopped)?;
        answer.await.unwrap_or(Err(CommandError::Stopped))
    }

    /// Sets the presence. Shards that are not up yet say it when they are; the last one is repeated in
    /// each new session.
    ///
    /// # Errors
    /// A value that Discord refuses, or a shard that does not run here.
    pub async fn status_update(
        &self,
        status: StatusUpdate,
        to: Shards,
    ) -> Result<(), CommandError> {
        self.command(to, Command::status_update(status)?).await
    }

    /// Joins, moves in or leaves a voice channel.
    ///
    /// # Errors
    /// A guild of a shard that does not run here, or a stopped bot.
    pub async fn voice_state_update(&self, update: VoiceStateUpdate) -> Result<(), CommandError> {
        self.for_its_guild(Command::voice_state_update(update)?)
            .await
    }

    /// Asks for members of a guild; they come as `GUILD_MEMBERS_CHUNK` events.
    ///
    /// # Errors
    /// A value that Discord refuses, or a guild of a shard that does not run here.
    pub async fn guild_request_members(
        &self,
        request: RequestGuildMembers,
    ) -> Result<(), CommandError> {
        self.for_its_guild(Command::request_guild_members(request)?)
            .await
    }

    /// Asks for the soundboard sounds of guilds, all of one shard; they come as `SOUNDBOARD_SOUNDS` events.
    ///
    /// # Errors
    /// No guild or too many, or guilds of a shard that does not run here.
    pub async fn request_soundboard_sounds(
        &self,
        guilds: impl IntoIterator<Item = GuildId>,
    ) -> Result<(), CommandError> {
        self.for_its_guild(Command::request_soundboard_sounds(guilds)?)
            .await
    }

    /// Asks for the state of a guild's voice channels; it comes as one `CHANNEL_INFO` event.
    ///
    /// # Errors
    /// No field, or a guild of a shard that does not run here.
    pub async fn request_channel_info(
        &self,
        guild: GuildId,
        fields: impl IntoIterator<Item = ChannelInfoField>,
    ) -> Result<(), CommandError> {
        self.for_its_guild(Command::request_channel_info(guild, fields)?)
            .await
    }

    /// Sends a command of one's own making, such as [`Command::raw`], to one shard.
    ///
    /// # Errors
    /// A shard that does not run here, a full queue, or a stopped bot.
    pub async fn send_raw(&self, shard: u32, command: Command) -> Result<(), CommandError> {
        self.command(Shards::Only(vec![shard]), command).await
    }

    /// Sends a command of one's own making to a shard, or to those of `to`.
    ///
    /// # Errors
    /// A shard that does not run here, a full queue, or a stopped bot.
    pub async fn send(&self, command: Command, to: Shards) -> Result<(), CommandError> {
        self.command(to, command).await
    }

    /// Sends a command to the shard of this guild.
    ///
    /// # Errors
    /// A guild of a shard that does not run here, a full queue, or a stopped bot.
    pub async fn send_to_guild(
        &self,
        command: Command,
        guild: GuildId,
    ) -> Result<(), CommandError> {
        self.command(Shards::Guild(guild), command).await
    }

    async fn for_its_guild(&self, command: Command) -> Result<(), CommandError> {
        let guild = command.guilds().first().copied();
        let to = guild.map_or(Shards::All, Shards::Guild);
        self.command(to, command).await
    }

    /// Ends the bot and its sessions at Discord: it goes offline at once. Returns when the close frames
    /// are answered, or after a few seconds.
    pub async fn disconnect(&self) {
        self.stop(Stop::Final).await;
    }

    /// Ends the bot and keeps its sessions: what is returned resumes them, here or in another process,
    /// within a few minutes.
    ///
    /// Each goes on after the last event that was taken; those that still waited come to whoever resumes.
    pub async fn disconnect_keeping_sessions(&self) -> Vec<ShardState> {
        self.stop(Stop::Keep).await
    }

    async fn stop(&self, how: Stop) -> Vec<ShardState> {
        let _ = self.orders.send(Order::Stop(how));
        let mut end = self.end.clone();
        let states = end.wait_for(Option::is_some).await;
        states
            .ok()
            .and_then(|states| states.clone())
            .unwrap_or_default()
    }
}

impl Events {
    /// The next event; `None` after the last.
    pub async fn next(&mut self) -> Option<Event<'static>> {
        poll_fn(|cx| self.mailboxes.poll_next(cx)).await
    }

    /// How many dispatches were dropped because nobody took them fast enough; always 0 under
    /// [`Overflow::Pause`](crate::Overflow::Pause).
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.mailboxes.dropped()
    }
}

impl Stream for Events {
    type Item = Event<'static>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.mailboxes.poll_next(cx)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.mailboxes.abandon();
        let _ = self.orders.send(Order::Stop(Stop::Keep));
    }
}

/// The task that owns the fleet.
struct Owner {
    fleet: FleetMachine,
    tls: Arc<ClientConfig>,
    mailboxes: Mailboxes,
    orders: mpsc::WeakUnboundedSender<Order>,
    from_bot: mpsc::UnboundedReceiver<Order>,
    to_fleet: mpsc::UnboundedSender<(ShardId, ShardReport)>,
    from_shards: mpsc::UnboundedReceiver<(ShardId, ShardReport)>,
    shards: BTreeMap<ShardId, mpsc::UnboundedSender<ToShard>>,
    replies: BTreeMap<CommandId, oneshot::Sender<Result<(), CommandError>>>,
    started: Option<oneshot::Sender<Result<(), FetchFault>>>,
    end: watch::Sender<Option<Vec<ShardState>>>,
    /// Nobody can give orders any more.
    alone: bool,
}

impl Owner {
    async fn run(mut self) {
        let mut input = FleetInput::Start;
        loop {
            if let Err(misuse) = self.fleet.handle(Instant::now(), input) {
                tracing::error!(%misuse, "fleet fault");
            }
            let wait = self.drain();
            let until = match wait {
                Wait::Stopped => return,
                Wait::Until(at) => at,
                _ => Instant::now() + Duration::from_secs(3600),
            };
            input = tokio::select! {
                biased;
                () = tokio::time::sleep_until(until.into()) => FleetInput::Tick,
                Some((shard, report)) = self.from_shards.recv() => FleetInput::Report { shard, report },
                order = self.from_bot.recv(), if !self.alone => match order {
                    Some(Order::Command { id, to, command, reply }) => {
                        self.replies.insert(id, reply);
                        FleetInput::Command { id, to, command, if_not_ready: IfNotReady::Queue }
                    }
                    Some(Order::Fetched(result)) => FleetInput::Fetched(result),
                    Some(Order::Stop(how)) => FleetInput::Stop(how),
                    None => {
                        self.alone = true;
                        FleetInput::Stop(Stop::Keep)
                    }
                },
            };
        }
    }

    fn drain(&mut self) -> Wait {
        loop {
            match self.fleet.poll() {
                FleetAction::Fetch(request) => {
                    let orders = self.orders.clone();
                    fetch_on_thread(request, Arc::clone(&self.tls), move |result| {
                        if let Some(orders) = orders.upgrade() {
                            let _ = orders.send(Order::Fetched(result));
                        }
                    });
                }
                FleetAction::StartShard(start) => {
                    let shard = start.config.shard;
                    let (to_shard, from_fleet) = mpsc::unbounded_channel();
                    self.shards.insert(shard, to_shard);
                    let tls = Arc::clone(&self.tls);
                    let mailboxes = self.mailboxes.clone();
                    let driver =
                        Driver::new(*start, tls, mailboxes, from_fleet, self.to_fleet.clone());
                    tokio::spawn(driver.run());
                }
                FleetAction::Tell { shard, message } => {
                    if let Some(to_shard) = self.shards.get(&shard) {
                        // A shard that has ended has said so.
                        let _ = to_shard.send(message);
                    }
                }
                FleetAction::Answer { id, answer } => {
                    let result = match answer {
                        Answer::Refused(error) => Err(error),
                        _ => Ok(()),
                    };
                    if let Some(reply) = self.replies.remove(&id) {
                        let _ = reply.send(result);
                    }
                }
                FleetAction::Emit(event) => self.emit(event),
                FleetAction::Wait(wait) => {
                    if self.fleet.total().is_some()
                        && let Some(started) = self.started.take()
                    {
                        let _ = started.send(Ok(()));
                    }
                    return wait;
                }
                _ => {}
            }
        }
    }

    fn emit(&mut self, event: Event<'static>) {
        if let Event::Stopped { why, states } = &event {
            if let (StopReason::Fetch(fault), Some(started)) = (why, self.started.take()) {
                let _ = started.send(Err(fault.clone()));
            }
            self.end.send_replace(Some(states.clone()));
        }
        self.mailboxes.push_bot(event);
    }
}
