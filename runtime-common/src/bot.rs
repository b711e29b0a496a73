//! The handle of a running bot.

use std::fmt;
use std::sync::{Arc, OnceLock};

use shardwright_core::{
    Answer, ChannelInfoField, Command, CommandError, FleetError, GuildId, GuildMembers,
    GuildMembersRequest, RequestGuildMembers, RequestMembersError, ShardFilter, ShardState, Shards,
    StatusUpdate, Stop, VoiceStateUpdate,
};

use crate::inbox::{Inbox, Sender, inbox};
use crate::owner::{Order, outcome};

/// A running bot: a handle to give it commands. Cheap to clone; dropping the last one changes nothing.
#[derive(Clone)]
pub struct Bot {
    pub(crate) orders: Sender<Order>,
    pub(crate) end: Arc<OnceLock<Vec<ShardState>>>,
}

impl fmt::Debug for Bot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bot").finish_non_exhaustive()
    }
}

/// A command that every shard it is for has accepted: it waits its turn there, over a reconnect if need
/// be. Dropping this changes nothing.
#[derive(Debug)]
pub struct Accepted {
    /// None if it was sent at once.
    rest: Option<Inbox<Answer>>,
}

impl Accepted {
    /// Waits until it has left for the network, on every shard.
    ///
    /// # Errors
    /// If it will not be sent: the bot has stopped, or a raw command was under way when its connection
    /// ended. A presence or a voice state that a newer one has replaced counts as sent.
    pub async fn sent(self) -> Result<(), CommandError> {
        match self.rest {
            Some(mut rest) => outcome(rest.next().await),
            None => Ok(()),
        }
    }
}

impl Bot {
    /// Sends a command of one's own making, such as [`Command::raw`], to these shards. Returns when all
    /// of them have accepted it: those without a session send it once they have one.
    ///
    /// # Errors
    /// A shard that does not run here, a full queue, or a stopped bot.
    pub async fn send(&self, command: Command, to: Shards) -> Result<Accepted, CommandError> {
        let (reply, mut answers) = inbox();
        if !self.orders.send(Order::Command { to, command, reply }) {
            return Err(CommandError::Stopped);
        }
        let first = answers.next().await;
        let rest = (first == Some(Answer::Accepted)).then_some(answers);
        outcome(first).map(|()| Accepted { rest })
    }

    /// Sends a command of one's own making to the shard of this guild.
    ///
    /// # Errors
    /// A guild of a shard that does not run here, a full queue, or a stopped bot.
    pub async fn send_to_guild(
        &self,
        command: Command,
        guild: GuildId,
    ) -> Result<Accepted, CommandError> {
        self.send(command, Shards::Guild(guild)).await
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
    ) -> Result<Accepted, CommandError> {
        self.send(Command::status_update(status)?, to).await
    }

    /// Joins, moves in or leaves a voice channel.
    ///
    /// # Errors
    /// A guild of a shard that does not run here, or a stopped bot.
    pub async fn voice_state_update(
        &self,
        update: VoiceStateUpdate,
    ) -> Result<Accepted, CommandError> {
        self.for_its_guild(Command::voice_state_update(update)?)
            .await
    }

    /// Asks for members of a guild; they come as `GUILD_MEMBERS_CHUNK` events. For the whole answer in one
    /// piece use [`request_members`](Self::request_members).
    ///
    /// # Errors
    /// A value that Discord refuses, or a guild of a shard that does not run here.
    pub async fn guild_request_members(
        &self,
        request: RequestGuildMembers,
    ) -> Result<Accepted, CommandError> {
        self.for_its_guild(Command::request_guild_members(request)?)
            .await
    }

    /// Asks for members of a guild and waits for the whole answer: all of them
    /// ([`GuildMembersRequest::everyone`]), those whose user name begins with a prefix, or those with these
    /// ids, any number of them. Each member is [JSON](shardwright_core::RawJson) as Discord wrote it, to be
    /// parsed into whatever one likes.
    ///
    /// It waits no longer than [`GuildMembersRequest::time_allowed`] (60 s); waiting for a connection, for
    /// room in the send limit (120 requests a minute and shard) and for its turn counts. The whole list of a
    /// guild has one turn in 30 s. A lost connection that is resumed does not matter.
    ///
    /// The chunks come as `GUILD_MEMBERS_CHUNK` events all the same, unless the filter leaves them out, so go
    /// on taking events while this waits: a task that does both at once ends in
    /// [`ConsumerStalled`](RequestMembersError::ConsumerStalled) once its mailbox is full. Dropping the future
    /// ends only the waiting.
    ///
    /// # Errors
    /// Each says what to do about it: a value that Discord refuses or a guild of a shard that does not run
    /// here ([`Refused`](RequestMembersError::Refused)), the end of the time, of the session or of the shard,
    /// Discord's rate limit, a full mailbox, or more than [`GuildMembersRequest::max_bytes`].
    pub async fn request_members(
        &self,
        request: GuildMembersRequest,
    ) -> Result<GuildMembers, RequestMembersError> {
        let (reply, mut result) = inbox();
        self.orders.send(Order::Members { request, reply });
        // None: the bot has ended, and nobody answers any more.
        let result = result.next().await;
        result.unwrap_or(Err(RequestMembersError::ShardStopped))
    }

    /// Asks for the soundboard sounds of guilds, all of one shard; they come as `SOUNDBOARD_SOUNDS` events.
    ///
    /// # Errors
    /// No guild or too many, or guilds of a shard that does not run here.
    pub async fn request_soundboard_sounds(
        &self,
        guilds: impl IntoIterator<Item = GuildId>,
    ) -> Result<Accepted, CommandError> {
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
    ) -> Result<Accepted, CommandError> {
        self.for_its_guild(Command::request_channel_info(guild, fields)?)
            .await
    }

    async fn for_its_guild(&self, command: Command) -> Result<Accepted, CommandError> {
        let guild = command.guilds().first().copied();
        let to = guild.map_or(Shards::All, Shards::Guild);
        self.send(command, to).await
    }

    /// The states of these shards, from which they could go on elsewhere: each up to the last dispatch
    /// that has been handled. After the end, the last ones.
    pub async fn shard_states(&self, filter: ShardFilter) -> Vec<ShardState> {
        let (reply, mut states) = inbox();
        let wanted = filter.clone();
        if self.orders.send(Order::States { filter, reply })
            && let Some(states) = states.next().await
        {
            return states;
        }
        let last = self.end.get().into_iter().flatten();
        last.filter(|state| wanted.matches(state))
            .cloned()
            .collect()
    }

    /// Runs these shards here too. Those with a session resume it at once; the others identify in turn.
    /// Their total may be another than that of the shards that are here. One whose handler keeps it from ending
    /// since it was removed starts again once it has: two of one name never run at once.
    ///
    /// # Errors
    /// If one of them is here already or named twice: nothing changes then.
    pub async fn add_shards(
        &self,
        states: impl IntoIterator<Item = ShardState>,
    ) -> Result<(), FleetError> {
        let states = states.into_iter().collect();
        self.change(|reply| Order::AddShards { states, reply })
            .await
    }

    /// Runs these shards here no longer and returns what they go on from elsewhere: each after the last
    /// dispatch that was handled (see [`disconnect_keeping_sessions`](Self::disconnect_keeping_sessions)).
    /// Returns when their connections are closed; the bot lives on, even without a shard.
    ///
    /// A bot that is about to end, or has ended, lets none go: their states are those of
    /// [`Event::Stopped`](shardwright_core::Event::Stopped). Each is given out once, so whoever gets it may go on from it.
    pub async fn remove_shards(&self, filter: ShardFilter) -> Vec<ShardState> {
        let (reply, mut states) = inbox();
        if !self.orders.send(Order::RemoveShards { filter, reply }) {
            return Vec::new();
        }
        states.next().await.unwrap_or_default()
    }

    /// Changes to another number of shards: as many as Discord recommends, if none is named. Returns when
    /// the new shards have taken over ([`StartThenSwap`](shardwright_core::ReShardPolicy::StartThenSwap)) or start.
    ///
    /// # Errors
    /// If that is not possible, or fails. The old shards go on then.
    pub async fn re_shard(&self, to: Option<u32>) -> Result<(), FleetError> {
        self.change(|reply| Order::ReShard { to, reply }).await
    }

    async fn change(
        &self,
        order: impl FnOnce(Sender<Result<(), FleetError>>) -> Order,
    ) -> Result<(), FleetError> {
        let (reply, mut result) = inbox();
        if !self.orders.send(order(reply)) {
            return Err(FleetError::Stopped);
        }
        result.next().await.unwrap_or(Err(FleetError::Stopped))
    }

    /// Ends the bot and its sessions at Discord: it goes offline at once. Returns when the close frames
    /// are answered, or after a few seconds.
    pub async fn disconnect(&self) {
        self.stop(Stop::Final).await;
    }

    /// Ends the bot and keeps its sessions: what is returned resumes them, here or in another process,
    /// within a few minutes.
    ///
    /// Each goes on after the last event that was taken, or under [`Acknowledge::Manual`] after the last
    /// that was acknowledged, for which it waits at most 5 s. Those that still waited come to whoever
    /// resumes. Right after a change of layouts more may: see [`ReShardPolicy::StartThenSwap`].
    ///
    /// [`ReShardPolicy::StartThenSwap`]: shardwright_core::ReShardPolicy::StartThenSwap
    /// [`Acknowledge::Manual`]: crate::Acknowledge::Manual
    pub async fn disconnect_keeping_sessions(&self) -> Vec<ShardState> {
        self.stop(Stop::Keep).await
    }

    async fn stop(&self, how: Stop) -> Vec<ShardState> {
        let (reply, mut states) = inbox();
        let reply = Some(reply);
        if self.orders.send(Order::Stop { how, reply })
            && let Some(states) = states.next().await
        {
            return states;
        }
        // It had ended before.
        self.end.get().cloned().unwrap_or_default()
    }
}
