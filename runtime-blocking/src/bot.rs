//! The handle of a running bot, for threads: each method waits for its answer.

use shardwright_runtime::surface::*;
use shardwright_runtime::threads::wait;

/// A running bot: a handle to give it commands. Cheap to clone; dropping the last one changes nothing.
#[derive(Clone, Debug)]
pub struct Bot(shardwright_runtime::Bot);

/// A command that every shard it is for has accepted: it waits its turn there, over a reconnect if need
/// be. Dropping this changes nothing.
#[derive(Debug)]
pub struct Accepted(shardwright_runtime::Accepted);

impl Accepted {
    /// Waits until it has left for the network, on every shard.
    ///
    /// # Errors
    /// If it will not be sent: the bot has stopped, or a raw command was under way when its connection
    /// ended. A presence or a voice state that a newer one has replaced counts as sent.
    pub fn sent(self) -> Result<(), CommandError> {
        wait(self.0.sent())
    }
}

impl Bot {
    pub(crate) fn new(bot: shardwright_runtime::Bot) -> Self {
        Self(bot)
    }

    /// The same handle with answers to be awaited, for a program that has an executor beside this runtime's
    /// threads.
    #[must_use]
    pub fn into_async(self) -> shardwright_runtime::Bot {
        self.0
    }

    /// Sends a command of one's own making, such as [`Command::raw`], to these shards. Returns when all
    /// of them have accepted it: those without a session send it once they have one.
    ///
    /// # Errors
    /// A shard that does not run here, a full queue, or a stopped bot.
    pub fn send(&self, command: Command, to: Shards) -> Result<Accepted, CommandError> {
        wait(self.0.send(command, to)).map(Accepted)
    }

    /// Sends a command of one's own making to the shard of this guild.
    ///
    /// # Errors
    /// A guild of a shard that does not run here, a full queue, or a stopped bot.
    pub fn send_to_guild(
        &self,
        command: Command,
        guild: GuildId,
    ) -> Result<Accepted, CommandError> {
        wait(self.0.send_to_guild(command, guild)).map(Accepted)
    }

    /// Sets the presence. Shards that are not up yet say it when they are; the last one is repeated in
    /// each new session.
    ///
    /// # Errors
    /// A value that Discord refuses, or a shard that does not run here.
    pub fn status_update(
        &self,
        status: StatusUpdate,
        to: Shards,
    ) -> Result<Accepted, CommandError> {
        wait(self.0.status_update(status, to)).map(Accepted)
    }

    /// Joins, moves in or leaves a voice channel.
    ///
    /// # Errors
    /// A guild of a shard that does not run here, or a stopped bot.
    pub fn voice_state_update(&self, update: VoiceStateUpdate) -> Result<Accepted, CommandError> {
        wait(self.0.voice_state_update(update)).map(Accepted)
    }

    /// Asks for members of a guild; they come as `GUILD_MEMBERS_CHUNK` events. For the whole answer in one
    /// piece use [`request_members`](Self::request_members).
    ///
    /// # Errors
    /// A value that Discord refuses, or a guild of a shard that does not run here.
    pub fn guild_request_members(
        &self,
        request: RequestGuildMembers,
    ) -> Result<Accepted, CommandError> {
        wait(self.0.guild_request_members(request)).map(Accepted)
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
    pub fn request_members(
        &self,
        request: GuildMembersRequest,
    ) -> Result<GuildMembers, RequestMembersError> {
        wait(self.0.request_members(request))
    }

    /// Asks for the soundboard sounds of guilds, all of one shard; they come as `SOUNDBOARD_SOUNDS` events.
    ///
    /// # Errors
    /// No guild or too many, or guilds of a shard that does not run here.
    pub fn request_soundboard_sounds(
        &self,
        guilds: impl IntoIterator<Item = GuildId>,
    ) -> Result<Accepted, CommandError> {
        wait(self.0.request_soundboard_sounds(guilds)).map(Accepted)
    }

    /// Asks for the state of a guild's voice channels; it comes as one `CHANNEL_INFO` event.
    ///
    /// # Errors
    /// No field, or a guild of a shard that does not run here.
    pub fn request_channel_info(
        &self,
        guild: GuildId,
        fields: impl IntoIterator<Item = ChannelInfoField>,
    ) -> Result<Accepted, CommandError> {
        wait(self.0.request_channel_info(guild, fields)).map(Accepted)
    }

    /// The states of these shards, from which they could go on elsewhere: each up to the last dispatch
    /// that has been handled. After the end, the last ones.
    pub fn shard_states(&self, filter: ShardFilter) -> Vec<ShardState> {
        wait(self.0.shard_states(filter))
    }

    /// Runs these shards here too. Those with a session resume it at once; the others identify in turn.
    /// Their total may be another than that of the shards that are here.
    ///
    /// # Errors
    /// If one of them is here already or named twice: nothing changes then.
    pub fn add_shards(
        &self,
        states: impl IntoIterator<Item = ShardState>,
    ) -> Result<(), FleetError> {
        wait(self.0.add_shards(states))
    }

    /// Runs these shards here no longer and returns what they go on from elsewhere: each after the last
    /// dispatch that was handled (see [`disconnect_keeping_sessions`](Self::disconnect_keeping_sessions)).
    /// Returns when their connections are closed; the bot lives on, even without a shard.
    ///
    /// A bot that is about to end, or has ended, lets none go: their states are those of
    /// [`Event::Stopped`]. Each is given out once, so whoever gets it may go on from it.
    pub fn remove_shards(&self, filter: ShardFilter) -> Vec<ShardState> {
        wait(self.0.remove_shards(filter))
    }

    /// Changes to another number of shards: as many as Discord recommends, if none is named. Returns when
    /// the new shards have taken over ([`StartThenSwap`](crate::ReShardPolicy::StartThenSwap)) or start.
    ///
    /// # Errors
    /// If that is not possible, or fails. The old shards go on then.
    pub fn re_shard(&self, to: Option<u32>) -> Result<(), FleetError> {
        wait(self.0.re_shard(to))
    }

    /// Ends the bot and its sessions at Discord: it goes offline at once. Returns when the close frames
    /// are answered, or after a few seconds.
    pub fn disconnect(&self) {
        wait(self.0.disconnect())
    }

    /// Ends the bot and keeps its sessions: what is returned resumes them, here or in another process,
    /// within a few minutes.
    ///
    /// Each goes on after the last event that was taken, or under [`Acknowledge::Manual`] after the last
    /// that was acknowledged, for which it waits at most 5 s. Those that still waited come to whoever
    /// resumes.
    ///
    /// [`Acknowledge::Manual`]: crate::Acknowledge::Manual
    pub fn disconnect_keeping_sessions(&self) -> Vec<ShardState> {
        wait(self.0.disconnect_keeping_sessions())
    }
}
