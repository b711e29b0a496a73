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

mod dial;
mod turns;

pub use shardwright_runtime::surface::*;
pub use shardwright_runtime::{Accepted, Bot, Events};
use shardwright_runtime::{Connecting, Consumer, Driver, Inquiry, Owner, prepare, prepare_shards};

use tokio::runtime::{Handle, RuntimeFlavor};

use crate::dial::dial;
use crate::turns::turns;

/// Connects a bot: asks Discord for the gateway's address and starts its shards.
///
/// Resolves when the first answer is in; shards come up meanwhile. Passing faults are retried
/// ([`Options::start_tries`]); the future may be dropped, and the bot with it.
///
/// # Errors
/// If Discord refuses the token or the request for good, or the tries are used up.
pub async fn connect_bot(token: Token, options: Options) -> Result<(Bot, Events), ConnectError> {
    run(prepare(token, &options)?).await
}

/// Connects exactly these shards, of whatever totals, through a gateway that is known already
/// ([`gateway_info`]). The list may be empty: shards can be added later, and the bot lives until it is told
/// to stop. Meant for bots of several processes: see [`Options::identify_when`].
///
/// # Errors
/// If TLS cannot be set up.
pub async fn connect_shards(
    token: Token,
    options: Options,
    gateway: GatewayInfo,
    shards: impl IntoIterator<Item = ShardId>,
) -> Result<(Bot, Events), ConnectError> {
    run(prepare_shards(token, &options, gateway, shards)?).await
}

async fn run((mut owner, connecting): (Owner, Connecting)) -> Result<(Bot, Events), ConnectError> {
    let consumer = match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => Consumer::SameThread,
        _ => Consumer::AnyThread,
    };
    tokio::spawn(turns(move |cx| {
        owner.turn(cx, |seat| {
            let mut driver = Driver::new(seat, consumer, |target| Box::pin(dial(Box::new(target))));
            tokio::spawn(turns(move |cx| driver.turn(cx)));
        })
    }));
    connecting.done().await
}

/// What Discord says of the gateway: address, recommended shards, session starts left.
///
/// # Errors
/// If Discord refuses for good, or [`Options::start_tries`] are used up.
pub async fn gateway_info(token: &Token, options: &Options) -> Result<GatewayInfo, ConnectError> {
    let mut inquiry = Inquiry::new(token, options)?;
    turns(move |cx| inquiry.turn(cx)).await
}

/// The examples of the guide, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/coming-from-discljord.md")]
struct ComingFromDiscljord;

/// The examples of the page on traces, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/traces.md")]
struct Traces;
