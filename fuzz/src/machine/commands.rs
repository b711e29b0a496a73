//! What holds of commands: each is answered, once for all, before the shard ends.

use std::collections::BTreeMap;

use shardwright_core::{
    Answer, ChannelInfoField, Command, CommandId, GuildId, Nonce, RequestGuildMembers,
    VoiceStateUpdate,
};

use super::ops::Kind;
use super::setup;

#[derive(Debug, PartialEq, Eq)]
enum Fate {
    New,
    Accepted,
    Final,
}

#[derive(Debug)]
struct Entry {
    json: String,
    raw: bool,
    sent: usize,
    fate: Fate,
}

#[derive(Debug, Default)]
pub(super) struct Commands {
    all: BTreeMap<u64, Entry>,
    newest: u64,
}

impl Commands {
    /// A new command with a number of its own.
    pub(super) fn make(&mut self, kind: Kind) -> (CommandId, Command) {
        let number = self.all.len() as u64;
        let guild = |guild: u8| GuildId::new(u64::from(guild) << 22);
        let command = match kind {
            Kind::Presence(number) => Command::status_update(setup::presence(number)),
            Kind::Voice { guild: id } => Command::voice_state_update(VoiceStateUpdate {
                guild: guild(id),
                channel: None,
                self_mute: false,
                self_deaf: id > 127,
            }),
            Kind::Members { guild: id } => {
                let nonce = Nonce::new(number.to_string()).expect("a short text");
                Command::request_guild_members(
                    RequestGuildMembers::everyone(guild(id)).nonce(nonce),
                )
            }
            Kind::Soundboard { guild: id } => {
                Command::request_soundboard_sounds([guild(id), guild(1)])
            }
            Kind::Channels { guild: id } => {
                Command::request_channel_info(guild(id), [ChannelInfoField::Status])
            }
            Kind::Raw { op } => {
                let raw = |op| Command::raw(&format!(r#"{{"op":{op},"d":{number}}}"#));
                raw(op).or_else(|_| raw(99))
            }
        };
        let command = command.expect("a command that Discord takes");
        self.add(
            CommandId(number),
            &command,
            matches!(kind, Kind::Raw { .. }),
        );
        (CommandId(number), command)
    }

    pub(super) fn add(&mut self, id: CommandId, command: &Command, raw: bool) {
        let entry = Entry {
            json: command.json().to_owned(),
            raw,
            sent: 0,
            fate: Fate::New,
        };
        self.newest = id.0;
        self.all.insert(id.0, entry);
    }

    pub(super) fn answered(&mut self, id: CommandId, answer: &Answer) {
        let entry = self.all.get_mut(&id.0).expect("a command that was given");
        let next = match answer {
            Answer::Accepted => Fate::Accepted,
            _ => Fate::Final,
        };
        match (&entry.fate, &next) {
            (Fate::New, _) => assert_ne!(*answer, Answer::Sent, "sent before it was accepted"),
            (Fate::Accepted, Fate::Final) => {}
            (fate, _) => panic!("{answer:?} after {fate:?} of {id:?}"),
        }
        entry.fate = next;
    }

    pub(super) fn sent(&mut self, op: u8, text: &str) {
        let open = self
            .all
            .values_mut()
            .filter(|entry| entry.fate == Fate::Accepted);
        match open.into_iter().find(|entry| entry.json == text) {
            Some(entry) => {
                entry.sent += 1;
                assert!(
                    !entry.raw || entry.sent == 1,
                    "a raw command is never repeated"
                );
            }
            // The presence of the configuration goes out alone if it does not fit into an Identify.
            None => assert_eq!(op, 3, "nobody asked for {text}"),
        }
    }

    /// After a drain: nothing is left without an answer.
    pub(super) fn drained(&self) {
        if let Some(newest) = self.all.get(&self.newest) {
            assert_ne!(newest.fate, Fate::New, "no answer");
        }
    }

    /// The shard ends: what was accepted has its last answer. What comes just now gets one after this.
    pub(super) fn stopped(&self) {
        let open = self
            .all
            .iter()
            .find(|(_, entry)| entry.fate == Fate::Accepted);
        assert!(open.is_none(), "never answered: {open:?}");
    }
}
