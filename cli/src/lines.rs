//! One event as one line, for people or for programs.

use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use shardwright_tokio::{Event, GuildId, GuildMembers, RequestMembersError, StopReason};

/// A JSON line of an event; `None` for those that are shown only with `-v`.
pub(crate) fn json_line(
    event: &Event<'_>,
    at: Duration,
    data: bool,
    verbose: bool,
) -> Option<String> {
    let t = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
    let value = match event {
        Event::Dispatch(event) => {
            let id = event.id();
            let mut line = format!(
                r#"{{"t":{t},"type":"dispatch","shard":{},"session":{},"seq":{},"name":{},"bytes":{}"#,
                id.shard.number(),
                id.session,
                id.seq,
                Value::from(event.name()),
                event.payload_size(),
            );
            if data {
                // Checked, so that one broken body cannot break the stream of lines.
                let text = String::from_utf8_lossy(event.data());
                match serde_json::from_str::<&RawValue>(&text) {
                    Ok(d) => line.push_str(&format!(r#","d":{}"#, one_line(d.get()))),
                    Err(_) => {
                        line.push_str(&format!(r#","d_text":{}"#, Value::from(text.as_ref())))
                    }
                }
            }
            line.push('}');
            return Some(line);
        }
        Event::Connecting { shard, conn, url } => {
            json!({"t":t,"type":"connecting","shard":shard.number(),"conn":conn.get(),"url":url})
        }
        Event::Hello {
            shard,
            conn,
            heartbeat_interval,
        } => json!({"t":t,"type":"hello",
            "shard":shard.number(),"conn":conn.get(),
            "heartbeat_interval_ms":u64::try_from(heartbeat_interval.as_millis()).unwrap_or(u64::MAX)}),
        Event::Identifying { shard, conn } => {
            json!({"t":t,"type":"identifying","shard":shard.number(),"conn":conn.get()})
        }
        Event::Resuming { shard, conn, seq } => {
            json!({"t":t,"type":"resuming","shard":shard.number(),"conn":conn.get(),"seq":seq})
        }
        Event::Ready {
            shard,
            conn,
            session,
            session_id,
        } => json!({"t":t,"type":"ready",
            "shard":shard.number(),"conn":conn.get(),"session":session,"session_id":session_id}),
        Event::Resumed {
            shard,
            conn,
            session,
            replayed,
        } => json!({"t":t,"type":"resumed",
            "shard":shard.number(),"conn":conn.get(),"session":session,"replayed":replayed}),
        Event::Heartbeat { shard, latency } => {
            if !verbose {
                return None;
            }
            json!({"t":t,"type":"heartbeat","shard":shard.number(),
                "latency_ms":latency.as_secs_f64() * 1000.0})
        }
        Event::Disconnected {
            shard,
            conn,
            code,
            reason,
            next,
            delay,
        } => json!({"t":t,
            "type":"disconnected","shard":shard.number(),"conn":conn.get(),
            "code":code.map(|code| code.get()),"reason":reason.to_string(),"next":next.to_string(),
            "delay_ms":u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)}),
        Event::SessionLost {
            shard,
            session,
            last_seq,
            why,
        } => json!({"t":t,"type":"session_lost",
            "shard":shard.number(),"session":session,"last_seq":last_seq,"why":why.to_string()}),
        Event::Problem {
            shard,
            conn,
            problem,
        } => json!({"t":t,"type":"problem",
            "shard":shard.number(),"conn":conn.map(|conn| conn.get()),"what":problem.to_string()}),
        Event::ShardStopped { shard, why, .. } => json!({"t":t,"type":"shard_stopped",
            "shard":shard.number(),"why":why.to_string(),"code":code_of(why)}),
        Event::Starting { .. } | Event::GuildsLoaded { .. } => return None,
        Event::ConnectedAllShards { shards } => {
            json!({"t":t,"type":"connected_all_shards","shards":shards})
        }
        Event::ReShard { from, to } => json!({"t":t,"type":"re_shard","from":from,"to":to}),
        Event::IdentifyBudgetSpent {
            reset_after,
            waiting,
            kept_back,
        } => json!({"t":t,"type":"problem",
            "shard":null,"conn":null,"what":starts_spent(*reset_after, *waiting, *kept_back)}),
        Event::StoreFailed { why } => json!({"t":t,"type":"problem",
            "shard":null,"conn":null,"what":format!("the state could not be stored: {why}")}),
        Event::ReShardFailed { why, .. } => json!({"t":t,"type":"problem",
            "shard":null,"conn":null,"what":format!("re-shard failed: {why}")}),
        Event::Stopped { why, states } => json!({"t":t,"type":"stopped","why":why.to_string(),
            "code":code_of(why),"states":states}),
        other => {
            json!({"t":t,"type":"problem","shard":null,"conn":null,"what":format!("{other:?}")})
        }
    };
    Some(value.to_string())
}

fn starts_spent(reset_after: Duration, waiting: u32, kept_back: u32) -> String {
    let seconds = reset_after.as_secs();
    let kept = match kept_back {
        0 => String::new(),
        kept => format!(" ({kept} are kept back: starts look like a crash loop)"),
    };
    format!("no session starts left{kept}: {waiting} shards wait {seconds} s for the reset")
}

/// The answer to a request for members, in one piece. `nonce` is the caller's; without one, that of the
/// first chunks.
pub(crate) fn members_line(
    shard: Option<u32>,
    guild: GuildId,
    nonce: Option<String>,
    result: &Result<GuildMembers, RequestMembersError>,
) -> Value {
    let mut line = json!({"type":"members","shard":shard,"guild_id":guild,"nonce":nonce,
        "complete":result.is_ok(),"members":[],"not_found":[]});
    match result {
        Ok(found) => {
            if nonce.is_none() {
                line["nonce"] = json!(found.nonces.first());
            }
            line["members"] = json!(found.members);
            line["not_found"] = json!(found.not_found);
            if !found.presences.is_empty() {
                line["presences"] = json!(found.presences);
            }
        }
        Err(error) => line["why"] = error.to_string().into(),
    }
    line
}

fn code_of(why: &StopReason) -> Option<u16> {
    match why {
        StopReason::Fatal { code } => Some(code.get()),
        StopReason::ReShardRequired => Some(4011),
        _ => None,
    }
}

/// Raw JSON may hold line breaks between its tokens, never inside them.
fn one_line(json: &str) -> std::borrow::Cow<'_, str> {
    if json.contains(['\n', '\r']) {
        json.replace(['\n', '\r'], " ").into()
    } else {
        json.into()
    }
}

/// The same for people.
pub(crate) fn pretty_line(
    event: &Event<'_>,
    at: Duration,
    data: bool,
    verbose: bool,
) -> Option<String> {
    let text = match event {
        Event::Dispatch(event) => {
            let mut line = format!(
                "{:<34} #{:<7} {:>8} B",
                printable(event.name()),
                event.id().seq,
                event.payload_size()
            );
            if data {
                line.push_str("  ");
                line.push_str(&printable(&String::from_utf8_lossy(event.data())));
            }
            line
        }
        Event::Connecting { url, .. } => format!("connecting to {}", printable(url)),
        Event::Hello {
            heartbeat_interval, ..
        } => {
            format!(
                "hello: a heartbeat every {:.1} s",
                heartbeat_interval.as_secs_f64()
            )
        }
        Event::Identifying { .. } => "identifying".to_owned(),
        Event::Resuming { seq, .. } => format!("resuming after #{seq}"),
        Event::Ready { session_id, .. } => format!("ready: session {}", printable(session_id)),
        Event::Resumed { replayed, .. } => format!("resumed: {replayed} missed events replayed"),
        Event::Heartbeat { latency, .. } => {
            if !verbose {
                return None;
            }
            format!(
                "heartbeat answered in {:.1} ms",
                latency.as_secs_f64() * 1000.0
            )
        }
        Event::Disconnected {
            code,
            reason,
            next,
            delay,
            ..
        } => {
            let code = code.map(|code| format!(" with {code}")).unwrap_or_default();
            format!(
                "disconnected: {reason}{code}; {next} in {:.1} s",
                delay.as_secs_f64()
            )
        }
        Event::SessionLost { last_seq, why, .. } => {
            format!("session lost after #{last_seq}: {why}")
        }
        Event::Problem { problem, .. } => format!("problem: {}", printable(&problem.to_string())),
        Event::ShardStopped { why, .. } => format!("shard stopped: {why}"),
        Event::Starting {
            shards,
            total,
            limit,
        } => format!(
            "starting {shards} of {total} shards; {} of {} session starts left today",
            limit.remaining, limit.total
        ),
        Event::ConnectedAllShards { shards } => format!("all {shards} shards are connected"),
        Event::ReShard { from, to: Some(to) } => format!("from {from} shards to {to}"),
        Event::ReShard { from, to: None } => format!("Discord demands more than {from} shards"),
        Event::IdentifyBudgetSpent {
            reset_after,
            waiting,
            kept_back,
        } => starts_spent(*reset_after, *waiting, *kept_back),
        Event::StoreFailed { why } => format!("problem: the state could not be stored: {why}"),
        Event::ReShardFailed { why, .. } => format!("re-shard failed: {why}"),
        Event::GuildsLoaded {
            guilds, missing, ..
        } => format!("{guilds} guilds loaded, {} missing", missing.len()),
        Event::Stopped { why, .. } => format!("stopped: {why}"),
        other => format!("{other:?}"),
    };
    let shard = event
        .shard()
        .map(|shard| format!("{:>4}", shard.number()))
        .unwrap_or_else(|| "   -".to_owned());
    Some(format!("{:>9.3} {shard}  {text}", at.as_secs_f64()))
}

/// What came from the network must not steer a terminal.
pub(crate) fn printable(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains(char::is_control) {
        text.replace(char::is_control, "\u{fffd}").into()
    } else {
        text.into()
    }
}
