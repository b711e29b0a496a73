//! The Discord Gateway as pure state machines: no socket, no clock, no thread, no randomness of its
//! own. Time, bytes and a seed come in as arguments; what to do comes out as actions.
//!
//! # The drain rule
//!
//! 1. Tell the machine what happened: [`ShardMachine::handle`].
//! 2. Do what it says until it waits: [`ShardMachine::poll`] down to [`Action::Wait`].
//! 3. Wait for the next thing to happen, no longer than the `Wait` allows, and begin again.
//!
//! An [`Event`] may borrow the machine's buffers until the next call; [`Event::into_owned`] keeps it.
//! What the network sends can never make `handle` fail: its only error is [`Misuse`], which follows
//! from the caller's own calls.
//!
//! # A whole life
//!
//! The walk below drives one shard through connect, Hello, Identify, READY, a lost line, Resume,
//! replay, op 9 and a stop, byte for byte.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use shardwright_core::*;
//!
//! // A driver's drain: collect what is to be sent, dialled and handed over.
//! fn drain(machine: &mut ShardMachine) -> Vec<String> {
//!     let mut done = Vec::new();
//!     loop {
//!         done.push(match machine.poll() {
//!             Action::Wait(_) => return done,
//!             Action::Connect { url, .. } => format!("dial {url}"),
//!             Action::Send { text, .. } => text.as_str().to_owned(),
//!             Action::Close { code, .. } => format!("close {}", code.get()),
//!             Action::Abort { .. } => "abort".to_owned(),
//!             Action::WantIdentify { .. } => "may I identify?".to_owned(),
//!             Action::IdentifySent { .. } => "identified".to_owned(),
//!             Action::Emit(Event::Dispatch(event)) => format!("{} {}", event.id().seq, event.name()),
//!             Action::Emit(Event::SessionLost { .. }) => "session lost".to_owned(),
//!             Action::Emit(Event::ShardStopped { .. }) => "stopped".to_owned(),
//!             _ => continue,
//!         });
//!     }
//! }
//! let text = |text: &str| Frame::Text(text.to_owned().into());
//!
//! let mut now = Instant::now();
//! let mut config = ShardConfig::new(
//!     ShardId::new(0, 1)?,
//!     Token::new("token")?,
//!     Intents::GUILDS | Intents::GUILD_MESSAGES,
//!     "wss://gateway.example".parse()?,
//! );
//! config.compression = Compression::None;
//! config.os = "linux".into();
//! let mut shard = ShardMachine::new(config, None, 7, now);
//!
//! // Dial. Every connection has a number; what comes late for an old one is ignored.
//! shard.handle(now, Input::Start)?;
//! let first = match shard.poll() { Action::Emit(Event::Connecting { conn, .. }) => conn, _ => unreachable!() };
//! assert_eq!(drain(&mut shard), ["dial wss://gateway.example/?v=10&encoding=json"]);
//! shard.handle(now, Input::Opened { conn: first })?;
//! assert!(drain(&mut shard).is_empty(), "nothing is sent before Hello");
//!
//! // Hello, permission, Identify, READY.
//! let hello = text(r#"{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250}}"#);
//! shard.handle(now, Input::Received { conn: first, frame: hello.clone() })?;
//! assert_eq!(drain(&mut shard), ["may I identify?"]);
//! shard.handle(now, Input::IdentifyGranted { conn: first })?;
//! assert_eq!(drain(&mut shard), [
//!     r#"{"op":2,"d":{"token":"token","properties":{"os":"linux","browser":"shardwright","device":"shardwright"},"shard":[0,1],"intents":513}}"#,
//! ]);
//! shard.handle(now, Input::Flushed { conn: first })?;
//! assert_eq!(drain(&mut shard), ["identified"]);
//! let ready = r#"{"t":"READY","s":1,"op":0,"d":{"v":10,"session_id":"abc","resume_gateway_url":"wss://resume.example","guilds":[]}}"#;
//! shard.handle(now, Input::Received { conn: first, frame: text(ready) })?;
//! assert_eq!(drain(&mut shard), ["1 READY"]);
//!
//! // The heart beats after a random part of the interval, with the last sequence.
//! let Wait::Until(deadline) = shard.wait() else { unreachable!() };
//! assert!(deadline < now + Duration::from_millis(41250));
//! now = deadline;
//! shard.handle(now, Input::Tick { wall: None })?;
//! assert_eq!(drain(&mut shard), [r#"{"op":1,"d":1}"#]);
//! shard.handle(now, Input::Received { conn: first, frame: text(r#"{"op":11}"#) })?;
//! drain(&mut shard);
//!
//! // The line breaks. The shard dials where READY said, resumes, and the missed event is replayed.
//! shard.handle(now, Input::Closed { conn: first, code: None })?;
//! drain(&mut shard);
//! let Wait::Until(deadline) = shard.wait() else { unreachable!() };
//! assert!(deadline < now + Duration::from_secs(1));
//! now = deadline;
//! shard.handle(now, Input::Tick { wall: None })?;
//! let second = match shard.poll() { Action::Emit(Event::Connecting { conn, .. }) => conn, _ => unreachable!() };
//! assert_eq!(drain(&mut shard), ["dial wss://resume.example/?v=10&encoding=json"]);
//! shard.handle(now, Input::Opened { conn: second })?;
//! drain(&mut shard);
//! shard.handle(now, Input::Received { conn: second, frame: hello })?;
//! assert_eq!(drain(&mut shard), [r#"{"op":6,"d":{"token":"token","session_id":"abc","seq":1}}"#]);
//! let missed = text(r#"{"t":"MESSAGE_CREATE","s":2,"op":0,"d":{"content":"hi"}}"#);
//! shard.handle(now, Input::Received { conn: second, frame: missed })?;
//! assert_eq!(drain(&mut shard), ["2 MESSAGE_CREATE"]);
//! let resumed = text(r#"{"t":"RESUMED","s":3,"op":0,"d":null}"#);
//! shard.handle(now, Input::Received { conn: second, frame: resumed })?;
//! assert_eq!(drain(&mut shard), ["3 RESUMED"]);
//!
//! // Op 9 with false ends the session: close, a pause, a fresh start on the first address.
//! let invalid = text(r#"{"op":9,"d":false}"#);
//! shard.handle(now, Input::Received { conn: second, frame: invalid })?;
//! assert_eq!(drain(&mut shard), ["close 4000", "session lost"]);
//! shard.handle(now, Input::Closed { conn: second, code: Some(4000) })?;
//! drain(&mut shard);
//! let Wait::Until(deadline) = shard.wait() else { unreachable!() };
//! assert!(deadline >= now + Duration::from_secs(1) && deadline <= now + Duration::from_secs(5));
//! shard.handle(deadline, Input::Tick { wall: None })?;
//! assert_eq!(drain(&mut shard), ["dial wss://gateway.example/?v=10&encoding=json"]);
//!
//! // A stop is the end.
//! shard.handle(deadline, Input::Stop(Stop::Keep))?;
//! assert_eq!(drain(&mut shard), ["abort", "stopped"]);
//! assert_eq!(shard.wait(), Wait::Stopped);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod manual;
pub mod trace;

// --- bytes to payloads ---
mod decode;
mod envelope;

pub use decode::{
    DEFAULT_PAYLOAD_LIMIT, DecodeError, DecoderMode, Frame, FrameDecoder, PayloadBuf, TooLarge,
};
pub use envelope::{Envelope, EnvelopeError};

// --- the protocol's data types ---
mod activity;
mod address;
mod close_code;
mod command;
mod command_error;
mod compression;
mod fetch;
mod fetch_fault;
mod gateway_info;
mod gateway_request;
mod gateway_url;
mod guild_tracker;
mod ids;
mod intents;
mod intents_text;
mod members;
mod payload;
mod presence;
mod proxy;
mod raw_payload;
mod rng;
mod shard_filter;
mod shard_id;
mod span;
mod token;

pub use activity::{Activity, ActivityKind, ParseActivityKindError};
pub use address::UrlError;
pub use close_code::{CloseAction, CloseCode};
pub use command::{ChannelInfoField, Command, CommandKind, VoiceStateUpdate};
pub use command_error::CommandError;
pub use compression::{Compression, ParseCompressionError};
pub use fetch::{FetchMachine, FetchNext};
pub use fetch_fault::FetchFault;
pub use gateway_info::{GatewayInfo, SessionStartLimit};
pub use gateway_request::{ApiBase, GatewayRequest};
pub use gateway_url::GatewayUrl;
pub use ids::{ChannelId, GuildId, IdError, UserId};
pub use intents::Intents;
pub use intents_text::ParseIntentsError;
pub use members::{Members, Nonce, RequestGuildMembers};
pub use presence::{ParseStatusError, Status, StatusUpdate};
pub use proxy::{
    NoProxy, Proxy, ProxyDialogue, ProxyError, ProxyFault, ProxyRules, ProxyStep, SocksReply,
};
pub use shard_filter::ShardFilter;
pub use shard_id::{ShardId, ShardIdError};
pub use token::{Token, TokenError};

// --- the machines ---
mod ack_log;
mod action;
mod backoff;
mod collect;
mod dispatch;
mod event;
mod fleet;
mod heartbeat;
mod input;
mod options;
mod outbox;
mod outgoing;
mod overlap;
mod send_budget;
mod session;
mod shard;
mod timer;

pub(crate) use ack_log::AckLog;
pub use action::{Action, Answer, Misuse, Wait, WaitFor};
pub use collect::{
    CollectAction, GuildMembers, GuildMembersRequest, MemberCollector, RawJson, RequestMembersError,
};
pub use dispatch::Dispatch;
pub use event::{
    DisconnectReason, Event, EventId, Next, Problem, SentKind, SessionLoss, StopReason,
};
pub use fleet::{
    FleetAction, FleetConfig, FleetError, FleetInput, FleetMachine, GateRequest, KnownStarts,
    ReShardPolicy, ShardPlan, ShardReport, ShardStart, ShardTemplate, Shards, ToShard,
};
pub use input::{CommandId, ConnId, IfNotReady, Input, Stop, TransportFault};
pub use options::{EventFilter, ShardConfig, ShardLimits};
pub use outgoing::OutgoingText;
pub use overlap::Overlap;
pub use session::ShardState;
pub use shard::{Phase, ShardMachine};
