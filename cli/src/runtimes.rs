//! The same bot on each runtime. Its handle and events can be awaited anywhere, so the command itself stays on
//! tokio.

use shardwright_tokio::{Bot, ConnectError, Events, Options, Token};
use tokio::sync::oneshot;

use crate::args::Runtime;

pub(crate) async fn connect(
    runtime: Runtime,
    token: Token,
    options: Options,
) -> Result<(Bot, Events), ConnectError> {
    match runtime {
        Runtime::Tokio => shardwright_tokio::connect_bot(token, options).await,
        Runtime::AsyncStd => shardwright_async_std::async_std::connect_bot(token, options).await,
        Runtime::Smol => shardwright_async_std::smol::connect_bot(token, options).await,
        Runtime::Blocking => {
            let (connected, connects) = oneshot::channel();
            // Not one of tokio's own, which the end of the command would wait for.
            std::thread::spawn(move || {
                let result = shardwright_blocking::connect_bot(token, options);
                // Nobody waits if the command was interrupted.
                let _ = connected.send(result);
            });
            let (bot, events) = connects.await.unwrap_or(Err(ConnectError::Stopped))?;
            Ok((bot.into_async(), events.into_async()))
        }
    }
}
