//! [twilight](https://twilight.rs), as its users drive it: a shard is a stream of texts.

use std::hint::black_box;
use std::time::Duration;

use futures_util::StreamExt;
use shardwright_tokio::Compression;
use twilight_gateway::queue::InMemoryQueue;
use twilight_gateway::{ConfigBuilder, EventTypeFlags, Intents, Message, Shard, ShardId};
use twilight_model::gateway::event::GatewayEvent;

use crate::{Args, Count, End, Failure, Kept};

/// It is chosen when twilight is built; zstd is taken if there are both.
pub(crate) const COMPRESSION: Compression = if cfg!(feature = "zstd") {
    Compression::Zstd
} else if cfg!(feature = "zlib") {
    Compression::Zlib
} else {
    Compression::None
};

pub(crate) async fn connect(
    args: &Args,
    count: &Count,
    typed: bool,
    end: End,
) -> Result<Kept, Failure> {
    // No concurrency stands for no queue: all identify at once.
    let queue = InMemoryQueue::new(0, 0, Duration::ZERO, 0);
    let config = ConfigBuilder::new("bench".to_owned(), Intents::all())
        .proxy_url(args.url.clone())
        .queue(queue)
        .build();
    let shards = (0..args.shards)
        .map(|number| Shard::with_config(ShardId::new(number, args.shards), config.clone()));
    if args.alone() {
        let mut shards: Vec<_> = shards.collect();
        for shard in &mut shards {
            let mut own = count.meter.alone();
            while !(next(shard, typed, count).await? && own.count()) {}
        }
        // The receiver is only gone when all is over.
        let _ = end.send(Ok(()));
        return Ok(Box::new(shards));
    }
    for mut shard in shards {
        let (count, end) = (count.clone(), end.clone());
        tokio::spawn(async move {
            loop {
                let over = match next(&mut shard, typed, &count).await {
                    Ok(dispatch) => dispatch && count.event(),
                    Err(failure) => {
                        let _ = end.send(Err(failure));
                        return;
                    }
                };
                if over {
                    let _ = end.send(Ok(()));
                }
            }
        });
    }
    Ok(Box::new(()))
}

/// Takes a shard's next message. True if it is a dispatch.
async fn next(
    shard: &mut Shard<InMemoryQueue>,
    typed: bool,
    count: &Count,
) -> Result<bool, Failure> {
    let text = match shard.next().await.ok_or("closed for good")?? {
        Message::Text(text) => text,
        Message::Close(frame) => return Err(format!("closed: {frame:?}").into()),
    };
    if typed {
        return read(text, count);
    }
    let dispatch = is_dispatch(&text);
    black_box(text);
    Ok(dispatch)
}

/// All else has no name, and the name comes first.
fn is_dispatch(text: &str) -> bool {
    !text.starts_with(r#"{"t":null,"#)
}

/// Reads a payload with twilight's own parser. True if it is a dispatch.
pub(crate) fn read(text: String, count: &Count) -> Result<bool, Failure> {
    let dispatch = is_dispatch(&text);
    match twilight_gateway::parse(text, EventTypeFlags::all())? {
        Some(GatewayEvent::Dispatch(_, event)) => {
            black_box(event);
        }
        Some(_) => {}
        None if dispatch => count.skip(),
        None => {}
    }
    Ok(dispatch)
}
