//! [twilight](https://twilight.rs), in this process. Its transport compression is chosen with this
//! crate's features.

use std::cell::Cell;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use futures_util::StreamExt;
use futures_util::future::join_all;
use serde_json::Value;
use shardwright_testkit::emulator::Emulator;
use twilight_gateway::{
    CloseFrame, ConfigBuilder, EventTypeFlags, Intents, Message, MessageSender, Shard, ShardId,
    ShardState,
};
use twilight_model::gateway::event::{DispatchEvent, GatewayEvent};
use twilight_model::gateway::payload::outgoing::{
    RequestGuildMembers, UpdatePresence, UpdateVoiceState,
};
use twilight_model::gateway::presence::{ActivityType, MinimalActivity, Status};
use twilight_model::id::Id;

use crate::{Ask, Options, Peer, Record, Report};

/// Twilight, running on a thread of its own.
#[derive(Debug)]
pub struct Twilight {
    record: Record,
    senders: Vec<MessageSender>,
    stopped: Arc<AtomicBool>,
}

impl Twilight {
    /// Starts it.
    ///
    /// # Panics
    /// When there is no thread to be had.
    #[must_use]
    pub fn start(emulator: &Emulator, options: Options) -> Self {
        let record = Record::default();
        let url = emulator.gateway_url();
        let (give, take) = mpsc::channel();
        let stopped = Arc::new(AtomicBool::new(false));
        let (of_thread, until) = (record.clone(), Arc::clone(&stopped));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let config = ConfigBuilder::new("twilight.token".to_owned(), Intents::all())
                    .proxy_url(url)
                    .build();
                let shards: Vec<_> = (0..options.shards)
                    .map(|n| Shard::with_config(ShardId::new(n, options.shards), config.clone()))
                    .collect();
                let senders = shards.iter().map(Shard::sender).collect();
                let to_come = Cell::new(shards.len());
                give.send(senders).expect("the starter waits");
                join_all(
                    shards
                        .into_iter()
                        .map(|shard| watch(shard, &of_thread, &to_come, &until)),
                )
                .await;
            });
            of_thread.push(Report::Ended);
        });
        let senders = take.recv().expect("the thread starts");
        Self {
            record,
            senders,
            stopped,
        }
    }
}

/// Reports what a shard yields until it was closed on request.
async fn watch(mut shard: Shard, record: &Record, to_come: &Cell<usize>, stopped: &AtomicBool) {
    let mut members = Vec::new();
    let mut up = false;
    while let Some(item) = shard.next().await {
        if shard.state() == ShardState::Active && !std::mem::replace(&mut up, true) {
            to_come.set(to_come.get() - 1);
            if to_come.get() == 0 {
                record.push(Report::Ready);
            }
        }
        match item {
            Ok(Message::Text(text)) => read(text, record, &mut members),
            Ok(Message::Close(_)) if stopped.load(Ordering::Relaxed) => return,
            Ok(Message::Close(_)) => {}
            Err(error) => record.push(Report::Complaint(with_causes(&error))),
        }
    }
    record.push(Report::Complaint("closed for good".to_owned()));
}

/// Reads a payload as twilight's users get it, and reports it.
fn read(text: String, record: &Record, members: &mut Vec<u64>) {
    let envelope: Value = match serde_json::from_str(&text) {
        Ok(envelope) => envelope,
        Err(error) => return record.push(Report::Complaint(format!("no JSON: {error}"))),
    };
    let parsed = twilight_gateway::parse(text, EventTypeFlags::all());
    if let (Some(seq), Some(name)) = (envelope["s"].as_u64(), envelope["t"].as_str()) {
        record.push(Report::Dispatch {
            seq,
            name: name.to_owned(),
            known: !matches!(parsed, Ok(None)),
        });
    } else {
        record.push(Report::Op(envelope["op"].as_u64().unwrap_or(u64::MAX)));
    }
    match parsed {
        Ok(Some(GatewayEvent::Dispatch(_, DispatchEvent::MemberChunk(chunk)))) => {
            members.extend(chunk.members.iter().map(|member| member.user.id.get()));
            if chunk.chunk_index + 1 == chunk.chunk_count {
                record.push(Report::Members(std::mem::take(members)));
            }
        }
        Ok(Some(GatewayEvent::Dispatch(_, DispatchEvent::GuildCreate(guild)))) => {
            record.push(Report::Guild(guild.id().get()));
        }
        Ok(_) => {}
        Err(error) => {
            let what = format!("{}: {}", envelope["t"], with_causes(&error));
            record.push(Report::Complaint(what));
        }
    }
}

/// An error and what led to it, without the event, which may be megabytes.
fn with_causes(error: &dyn Error) -> String {
    let mut text: String = error.to_string().chars().take(100).collect();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

impl Peer for Twilight {
    fn record(&self) -> &Record {
        &self.record
    }

    fn ask(&self, what: &Ask) {
        let first = &self.senders[0];
        let sent = match what {
            Ask::Members { guild } => first.command(
                &RequestGuildMembers::builder(Id::new(*guild))
                    .presences(true)
                    .nonce("whole")
                    .query("", None),
            ),
            Ask::Prefix {
                guild,
                prefix,
                limit,
            } => first.command(
                &RequestGuildMembers::builder(Id::new(*guild)).query(*prefix, Some(*limit)),
            ),
            Ask::Ids { guild, ids } => {
                let ids: Vec<_> = ids.iter().map(|id| Id::new(*id)).collect();
                first.command(
                    &RequestGuildMembers::builder(Id::new(*guild))
                        .user_ids(ids)
                        .expect("not too many"),
                )
            }
            Ask::Presence => {
                let activity = MinimalActivity {
                    kind: ActivityType::Watching,
                    name: "the wire".to_owned(),
                    url: None,
                };
                first.command(
                    &UpdatePresence::new([activity.into()], false, None, Status::Idle)
                        .expect("there is an activity"),
                )
            }
            Ask::Voice { guild, channel } => first.command(&UpdateVoiceState::new(
                Id::new(*guild),
                channel.map(Id::new),
                false,
                true,
            )),
        };
        sent.expect("the shard runs");
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        for sender in &self.senders {
            // One that ended by itself has said so in the record.
            let _ = sender.close(CloseFrame::NORMAL);
        }
    }
}
