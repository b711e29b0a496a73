//! Our tokio runtime with handlers on the spot, and twilight's types.

use std::hint::black_box;
use std::time::Duration;

use serde::de::DeserializeSeed;
use shardwright_tokio::{
    Dispatch, Event, GatewayInfo, InPlace, Intents, Options, SessionStartLimit, ShardId, Token,
};
use twilight_model::gateway::event::{DispatchEventWithTypeDeserializer, EventType};

use crate::{Args, Count, End, Failure, Kept};

pub(crate) async fn connect(args: &Args, count: &Count, end: End) -> Result<Kept, Failure> {
    let token = Token::new("bench")?;
    let limit = SessionStartLimit::new(100_000, 100_000, Duration::ZERO, 100_000);
    let gateway = GatewayInfo::new(args.url.parse()?, args.shards, limit);
    let shards = (0..args.shards).map(|number| ShardId::new(number, args.shards));
    let shards: Vec<_> = shards.collect::<Result<_, _>>()?;
    let mut options = Options::new(Intents::all());
    options.compression = args.compress;
    let (alone, count) = (args.alone(), count.clone());
    options.in_place = Some(InPlace::new(move |_| {
        let (count, end) = (count.clone(), end.clone());
        let mut own = count.meter.alone();
        move |event: Event<'_>| {
            let over = match event {
                Event::Dispatch(event) => match typed(&event, &count) {
                    Ok(()) if alone => own.count(),
                    Ok(()) => count.event(),
                    Err(failure) => {
                        // The receiver is only gone when all is over.
                        let _ = end.send(Err(failure));
                        return;
                    }
                },
                Event::Disconnected { .. } | Event::Stopped { .. } => {
                    let _ = end.send(Err(format!("{event:?}").into()));
                    return;
                }
                _ => false,
            };
            if over {
                let _ = end.send(Ok(()));
            }
        }
    }));
    let connected = shardwright_tokio::connect_shards(token, options, gateway, shards).await?;
    Ok(Box::new(connected))
}

fn typed(event: &Dispatch<'_>, count: &Count) -> Result<(), Failure> {
    read(event.name(), event.text()?, count)
}

/// Reads a body in the type that goes with the name.
pub(crate) fn read(name: &str, body: &str, count: &Count) -> Result<(), Failure> {
    let mut json = serde_json::Deserializer::from_str(body);
    match DispatchEventWithTypeDeserializer::new(name).deserialize(&mut json) {
        Ok(event) => {
            black_box(event);
        }
        // What twilight's own parser passes over.
        Err(_) if EventType::try_from(name).is_err() => count.skip(),
        Err(error) => return Err(format!("{name}: {error}").into()),
    }
    Ok(())
}
