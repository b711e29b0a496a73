//! `shardwright gateway`.

use std::io::{IsTerminal, Write};

use shardwright_tokio::{ConnectError, Intents, Options, gateway_info};

use crate::Outcome;
use crate::args::{Format, GatewayArgs};

/// How often to ask, unless told otherwise.
const TRIES: u32 = 3;

pub(crate) async fn run(args: GatewayArgs) -> Outcome {
    let token = match args.access.token_or_placeholder() {
        Ok(token) => token,
        Err(error) => {
            eprintln!("shardwright: {}", error.0);
            return Outcome::Usage;
        }
    };
    let mut options = Options::new(Intents::empty());
    options.tls = match args.access.tls() {
        Ok(tls) => tls,
        Err(error) => {
            eprintln!("shardwright: {}", error.0);
            return Outcome::Usage;
        }
    };
    options.proxy = match args.access.proxy() {
        Ok(proxy) => proxy,
        Err(error) => {
            eprintln!("shardwright: {}", error.0);
            return Outcome::Usage;
        }
    };
    options.start_tries = Some(args.access.tries.unwrap_or(TRIES));
    if let Some(api) = args.access.api {
        options.api = api;
    }
    let info = match gateway_info(&token, &options).await {
        Ok(info) => info,
        Err(error) => {
            eprintln!("shardwright: {error}");
            return failed(&error);
        }
    };
    let pretty = std::io::stdout().is_terminal();
    let format = args
        .format
        .unwrap_or(if pretty { Format::Pretty } else { Format::Json });
    let limit = &info.session_start_limit;
    let text = match format {
        Format::Json => match serde_json::to_string(&info) {
            Ok(text) => text,
            Err(_) => return Outcome::Internal,
        },
        Format::Pretty => {
            // One Identify a bucket in five seconds; the first is free.
            let rounds = info
                .shards
                .div_ceil(limit.max_concurrency.max(1))
                .saturating_sub(1);
            [
                format!("gateway          {}", info.url),
                format!("shards           {} recommended", info.shards),
                format!(
                    "session starts   {} of {} left",
                    limit.remaining, limit.total
                ),
                format!(
                    "                 new ones in {} min",
                    limit.reset_after.as_secs().div_ceil(60)
                ),
                format!("max_concurrency  {}", limit.max_concurrency),
                format!("starting all     about {} s", u64::from(rounds) * 5),
            ]
            .join("\n")
        }
        Format::None => return Outcome::Done,
    };
    // A reader that has gone is no fault.
    let _ = writeln!(std::io::stdout(), "{text}");
    Outcome::Done
}

/// What a failed start means for the exit code.
pub(crate) fn failed(error: &ConnectError) -> Outcome {
    match error {
        ConnectError::Fetch(fault) if fault.is_fatal() => Outcome::Refused,
        ConnectError::Fetch(_) => Outcome::Unreachable,
        _ => Outcome::Internal,
    }
}
