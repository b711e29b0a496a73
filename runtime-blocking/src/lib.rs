#![doc = include_str!("../README.md")]

mod bot;
mod dial;
mod events;
mod shard;
mod socket;

use std::thread;

pub use shardwright_runtime::surface::*;
use shardwright_runtime::threads::{turns, wait};
use shardwright_runtime::{Connecting, Inquiry, Owner, prepare, prepare_shards};

pub use crate::bot::{Accepted, Bot};
use crate::dial::Diallers;
pub use crate::events::{Events, RecvTimeout};

/// Connects a bot: asks Discord for the gateway's address and starts its shards.
///
/// Returns when the first answer is in; shards come up meanwhile. Passing faults are retried
/// ([`Options::start_tries`]).
///
/// # Errors
/// If Discord refuses the token or the request for good, or the tries are used up.
pub fn connect_bot(token: Token, options: Options) -> Result<(Bot, Events), ConnectError> {
    run(prepare(token, &options)?)
}

/// Connects exactly these shards, of whatever totals, through a gateway that is known already
/// ([`gateway_info`]). The list may be empty: shards can be added later, and the bot lives until it is told
/// to stop. Meant for bots of several processes: see [`Options::identify_when`].
///
/// # Errors
/// If TLS cannot be set up, or the stored run cannot be read.
pub fn connect_shards(
    token: Token,
    options: Options,
    gateway: GatewayInfo,
    shards: impl IntoIterator<Item = ShardId>,
) -> Result<(Bot, Events), ConnectError> {
    run(prepare_shards(token, &options, gateway, shards)?)
}

fn run((mut owner, connecting): (Owner, Connecting)) -> Result<(Bot, Events), ConnectError> {
    let diallers = Diallers::default();
    let drive = move |seat: shardwright_runtime::Seat| {
        let diallers = diallers.clone();
        let thread = thread::Builder::new().name(format!("shardwright-{}", seat.shard()));
        // A shard whose thread does not start, or ends too early, says so itself and is started again.
        let _ = thread.spawn(move || shard::run(seat, diallers));
    };
    // Without a thread the owner is dropped, and whoever waits is told.
    let _ = thread::Builder::new()
        .name("shardwright-bot".to_owned())
        .spawn(move || turns(|cx| owner.turn(cx, &drive)));
    let (bot, events) = wait(connecting.done())?;
    Ok((Bot::new(bot), Events::new(events)))
}

/// What Discord says of the gateway: address, recommended shards, session starts left.
///
/// # Errors
/// If Discord refuses for good, or [`Options::start_tries`] are used up.
pub fn gateway_info(token: &Token, options: &Options) -> Result<GatewayInfo, ConnectError> {
    let mut inquiry = Inquiry::new(token, options)?;
    turns(|cx| inquiry.turn(cx))
}
