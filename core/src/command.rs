//! What a caller can have sent: checked, encoded, and ready for the wire.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::command_error::{CommandError, check_size};
use crate::ids::{ChannelId, GuildId};
use crate::members::{Nonce, RequestGuildMembers};
use crate::presence::StatusUpdate;
use crate::raw_payload;

/// A payload that Discord will not refuse for its form: every constructor checks what the
/// documentation limits, and that the encoded text has at most 4096 bytes. So does reading one with serde.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Command {
    op: u8,
    json: Box<str>,
    kind: CommandKind,
    guilds: Vec<GuildId>,
    status: Option<Box<StatusUpdate>>,
}

/// A command as it is read, before it is checked.
#[derive(Deserialize)]
struct Stored {
    json: String,
    kind: CommandKind,
    guilds: Vec<GuildId>,
    status: Option<Box<StatusUpdate>>,
}

impl TryFrom<Stored> for Command {
    type Error = CommandError;

    fn try_from(stored: Stored) -> Result<Self, CommandError> {
        let (op, json) = raw_payload::check(&stored.json)?;
        Ok(Self {
            op,
            json,
            kind: stored.kind,
            guilds: stored.guilds,
            status: stored.status,
        })
    }
}

/// What a command is about, as far as its way to the gateway depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CommandKind {
    /// The presence of a shard. A newer one replaces it.
    Presence,
    /// The bot's voice state in a guild. A newer one of that guild replaces it.
    VoiceState(GuildId),
    /// A request for members.
    Members {
        /// The guild asked about.
        guild: GuildId,
        /// The mark of the answer, if there is one.
        nonce: Option<Nonce>,
        /// Whether all members were asked for: once in 30 seconds for a guild.
        whole_list: bool,
    },
    /// A request for soundboard sounds.
    Soundboard,
    /// A request about the channels of a guild.
    ChannelInfo(GuildId),
    /// A payload that the caller wrote. It is not repeated when its connection is lost.
    Raw,
}

/// Joins, moves within, or leaves voice in a guild. Discord takes the full state each time.
///
/// Complete by nature: these are the four fields of the gateway's opcode 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct VoiceStateUpdate {
    /// The guild.
    #[serde(rename = "guild_id")]
    pub guild: GuildId,
    /// The voice channel to be in; `None` leaves.
    #[serde(rename = "channel_id")]
    pub channel: Option<ChannelId>,
    /// Whether the bot is muted.
    pub self_mute: bool,
    /// Whether the bot is deaf.
    pub self_deaf: bool,
}

/// What can be asked about channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChannelInfoField {
    /// The status text of a voice channel.
    Status,
    /// Since when somebody is in a voice channel, in seconds of the Unix epoch.
    VoiceStartTime,
}

impl Command {
    /// Shows another presence (opcode 3).
    ///
    /// # Errors
    /// A name or text is empty, the address of a stream is not one that Discord takes, or it is
    /// all too long.
    pub fn status_update(status: StatusUpdate) -> Result<Self, CommandError> {
        status.check()?;
        let mut command = Self::encode(3, &status, CommandKind::Presence, Vec::new())?;
        command.status = Some(Box::new(status));
        Ok(command)
    }

    /// Joins, moves within, or leaves voice (opcode 4).
    ///
    /// The answer is two events, `VOICE_STATE_UPDATE` and `VOICE_SERVER_UPDATE`, or none at all:
    /// a channel that is full is not reported. Wait with a deadline.
    ///
    /// # Errors
    /// None at present; the type is that of all commands.
    pub fn voice_state_update(voice: VoiceStateUpdate) -> Result<Self, CommandError> {
        let kind = CommandKind::VoiceState(voice.guild);
        Self::encode(4, &voice, kind, vec![voice.guild])
    }

    /// Asks for members (opcode 8).
    ///
    /// # Errors
    /// There are no ids or more than 100, or a prefix with a limit outside 1 to 100, or it is all
    /// too long.
    pub fn request_guild_members(request: RequestGuildMembers) -> Result<Self, CommandError> {
        request.check()?;
        let guild = request.guild;
        let kind = CommandKind::Members {
            guild,
            nonce: request.nonce.clone(),
            whole_list: request.is_whole_list(),
        };
        Self::encode(8, &request, kind, vec![guild])
    }

    /// Asks for the soundboard sounds of guilds (opcode 31). Each guild answers with one
    /// `SOUNDBOARD_SOUNDS`; nothing marks the end.
    ///
    /// All guilds must be of the shard that it is sent on.
    ///
    /// # Errors
    /// No guild is given, or more than fit into 4096 bytes (about 180).
    pub fn request_soundboard_sounds(
        guilds: impl IntoIterator<Item = GuildId>,
    ) -> Result<Self, CommandError> {
        #[derive(Serialize)]
        struct Body<'c> {
            guild_ids: &'c [GuildId],
        }
        let guilds: Vec<_> = guilds.into_iter().collect();
        if guilds.is_empty() {
            return Err(CommandError::bad_value(
                "guild_ids",
                "no guild is given; give at least one",
            ));
        }
        let body = Body { guild_ids: &guilds };
        let json = encode(31, &body)?;
        Ok(Self {
            op: 31,
            json,
            kind: CommandKind::Soundboard,
            guilds,
            status: None,
        })
    }

    /// Asks for the status or the start time of a guild's voice channels (opcode 43). The answer
    /// is one `CHANNEL_INFO`.
    ///
    /// # Errors
    /// No field is given.
    pub fn request_channel_info(
        guild: GuildId,
        fields: impl IntoIterator<Item = ChannelInfoField>,
    ) -> Result<Self, CommandError> {
        #[derive(Serialize)]
        struct Body<'c> {
            guild_id: GuildId,
            fields: &'c [ChannelInfoField],
        }
        let mut unique = Vec::new();
        for field in fields {
            if !unique.contains(&field) {
                unique.push(field);
            }
        }
        if unique.is_empty() {
            return Err(CommandError::bad_value(
                "fields",
                "no field is given; ask for at least one",
            ));
        }
        let body = Body {
            guild_id: guild,
            fields: &unique,
        };
        Self::encode(43, &body, CommandKind::ChannelInfo(guild), vec![guild])
    }

    /// Sends a payload that the caller wrote: a JSON object with the keys `op` and `d`.
    ///
    /// For what this crate does not know yet. Discord closes the connection on a payload that it
    /// does not understand; such a command is not repeated.
    ///
    /// # Errors
    /// The text is no such object, is too long or nested more than 64 deep, or has an opcode that
    /// callers cannot send: 1, 2 and 6 are the library's own, 0, 7, 9, 10 and 11 the gateway's.
    pub fn raw(payload: &str) -> Result<Self, CommandError> {
        let (op, json) = raw_payload::check(payload)?;
        Ok(Self {
            op,
            json,
            kind: CommandKind::Raw,
            guilds: Vec::new(),
            status: None,
        })
    }

    /// The opcode.
    pub const fn op(&self) -> u8 {
        self.op
    }

    /// The text for the wire, `{"op":…,"d":…}`.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// What it is about.
    pub const fn kind(&self) -> &CommandKind {
        &self.kind
    }

    /// The guild whose shard must send it, if it is about exactly one.
    pub fn guild(&self) -> Option<GuildId> {
        match self.guilds[..] {
            [guild] => Some(guild),
            _ => None,
        }
    }

    /// The guilds it is about: several only in a request for soundboard sounds.
    pub fn guilds(&self) -> &[GuildId] {
        &self.guilds
    }

    /// The presence, if it is one.
    pub fn status(&self) -> Option<&StatusUpdate> {
        self.status.as_deref()
    }

    fn encode(
        op: u8,
        body: &impl Serialize,
        kind: CommandKind,
        guilds: Vec<GuildId>,
    ) -> Result<Self, CommandError> {
        Ok(Self {
            op,
            json: encode(op, body)?,
            kind,
            guilds,
            status: None,
        })
    }
}

impl fmt::Debug for Command {
    /// Short on purpose: opcode and size, no content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command(op {}, {} bytes)", self.op, self.json.len())
    }
}

/// The text of a payload, if it is not over the limit.
fn encode(op: u8, d: &impl Serialize) -> Result<Box<str>, CommandError> {
    #[derive(Serialize)]
    struct Payload<'c, T> {
        op: u8,
        d: &'c T,
    }
    // Cannot fail for the types here: their keys are strings and they write no errors.
    let json = serde_json::to_string(&Payload { op, d })
        .map_err(|error| CommandError::Malformed(error.to_string()))?;
    check_size(json.len())?;
    Ok(json.into_boxed_str())
}

#[cfg(test)]
mod tests;
