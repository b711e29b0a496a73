//! Discord's Gateway on tokio: sharded, compressed, always reconnecting.
//!
//! ```no_run
//! use shardwright_tokio::{Activity, Event, Intents, Options, Shards, StatusUpdate, Token, connect_bot};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let token = Token::new(std::env::var("DISCORD_TOKEN")?)?;
//! let options = Options::new(Intents::GUILDS | Intents::GUILD_MESSAGES);
//! let (bot, mut events) = connect_bot(token, options).await?;
//! bot.status_update(StatusUpdate::online().activity(Activity::playing("chess")), Shards::All).await?;
//! while let Some(event) = events.next().await {
//!     match event {
//!         Event::Dispatch(event) => println!("{} {} bytes", event.name(), event.data().len()),
//!         Event::Stopped { why, .. } => println!("{why}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Everything that decides is in [`shardwright_core`]; this crate moves bytes and waits. Dropping the
//! [`Events`] stops the bot in a way that its sessions can be resumed; dropping the last [`Bot`] changes
//! nothing.

mod bot;
mod dial;
mod driver;

pub use bot::{Bot, Events, connect_bot, gateway_info};
pub use shardwright_core::{
    Activity, ActivityKind, ApiBase, ChannelId, ChannelInfoField, CloseCode, Command, CommandError,
    Compression, ConnId, DisconnectReason, Dispatch, Event, EventFilter, EventId, FetchFault,
    GatewayInfo, GuildId, Intents, Members, Next, Nonce, ParseActivityKindError, ParseStatusError,
    Problem, RequestGuildMembers, SessionLoss, SessionStartLimit, ShardId, ShardLimits, ShardPlan,
    ShardState, Shards, Status, StatusUpdate, StopReason, Token, TransportFault, UserId,
    VoiceStateUpdate,
};
pub use shardwright_runtime::{ConnectError, Options, Overflow, TlsError, TlsOptions};
