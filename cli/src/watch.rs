//! `shardwright watch`: connect and stream events.

use std::io::{BufRead, IsTerminal, Write};
use std::pin::pin;
use std::time::{Duration, Instant};

use serde_json::json;
use shardwright_tokio::{
    Bot, Event, EventFilter, Options, Status, StatusUpdate, StopReason, connect_bot,
};
use tokio::sync::mpsc;

use crate::args::{Format, Until, WatchArgs};
use crate::commands::{self, Order};
use crate::lines::{json_line, pretty_line};
use crate::usage::usage;
use crate::{INTERRUPTED, Outcome, emulate, gateway};

/// Completes at Ctrl-C, or SIGTERM where there is one.
pub(crate) async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

pub(crate) async fn run(args: WatchArgs, verbose: u8) -> Outcome {
    let usage_error = |what: &str| {
        eprintln!("shardwright: {what}");
        Outcome::Usage
    };
    let mut options = Options::new(args.intents);
    options.shards = args.plan();
    options.compression = args.compress;
    options.overflow = args.overflow.into();
    options.stay_on_host = args.stay_on_host;
    options.start_tries = args.access.tries;
    if !args.only.is_empty() {
        options.filter = EventFilter::only(
            args.only
                .iter()
                .map(|name| name.trim().to_ascii_uppercase()),
        );
    }
    if args.presence.is_some() || args.activity.is_some() {
        let mut presence = StatusUpdate::new(args.presence.unwrap_or(Status::Online));
        if let Some(activity) = args.activity.clone() {
            presence = presence.activity(activity);
        }
        if let Err(error) = presence.check() {
            return usage_error(&error.to_string());
        }
        options.presence = Some(presence);
    }
    let given = match args.access.token() {
        Ok(given) => given,
        Err(error) => return usage_error(&error.0),
    };
    let terminal = std::io::stdout().is_terminal();
    let format = args.format.unwrap_or(if terminal {
        Format::Pretty
    } else {
        Format::Json
    });
    // Kept until the end: it stops when dropped.
    let mut _emulator = None;
    let token = match (given, &args.access.api) {
        (Some(token), api) => {
            if let Some(api) = api {
                options.api = api.clone();
            }
            token
        }
        (None, Some(api)) => {
            options.api = api.clone();
            match args.access.token_or_placeholder() {
                Ok(token) => token,
                Err(error) => return usage_error(&error.0),
            }
        }
        (None, None) => {
            let emulator = match emulate::for_newcomers() {
                Ok(emulator) => emulator,
                Err(error) => {
                    eprintln!("shardwright: {error}");
                    return Outcome::Internal;
                }
            };
            eprintln!(
                "no DISCORD_TOKEN: streaming from an emulated gateway at {}",
                emulator.api_base()
            );
            let (api, token) = (
                shardwright_tokio::ApiBase::parse(&emulator.api_base()),
                shardwright_tokio::Token::new("emulated"),
            );
            _emulator = Some(emulator);
            match (api, token) {
                (Ok(api), Ok(token)) => {
                    options.api = api;
                    token
                }
                _ => return Outcome::Internal,
            }
        }
    };
    let began = Instant::now();
    let connecting = connect_bot(token, options);
    let (bot, events) = tokio::select! {
        connected = connecting => match connected {
            Ok(connected) => connected,
            Err(error) => {
                eprintln!("shardwright: {error}");
                return gateway::failed(&error);
            }
        },
        () = interrupted() => return Outcome::Done,
    };
    let screen = Screen {
        format,
        data: args.data,
        verbose: verbose > 0,
        began,
        closed: false,
    };
    stream(bot, events, screen, args.until, args.stdin).await
}

/// Where lines go.
struct Screen {
    format: Format,
    data: bool,
    verbose: bool,
    began: Instant,
    /// Nobody reads standard output any more.
    closed: bool,
}

impl Screen {
    fn show(&mut self, event: &Event<'_>) {
        let at = self.began.elapsed();
        let line = match self.format {
            Format::Json => json_line(event, at, self.data, self.verbose),
            Format::Pretty => pretty_line(event, at, self.data, self.verbose),
            Format::None => None,
        };
        if let Some(line) = line {
            self.line(&line);
        }
    }

    fn line(&mut self, line: &str) {
        let mut out = std::io::stdout().lock();
        if writeln!(out, "{line}").is_err() {
            self.closed = true;
        }
    }

    fn json(&mut self, mut value: serde_json::Value) {
        if self.format == Format::Json {
            let t = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            value["t"] = t.into();
            self.line(&value.to_string());
        } else if self.format == Format::Pretty {
            self.line(&value.to_string());
        }
    }
}

#[derive(Default)]
struct Counts {
    events: u64,
    bytes: u64,
    reconnects: u64,
    resumes: u64,
    identifies: u64,
}

impl Counts {
    fn count(&mut self, event: &Event<'_>) {
        match event {
            Event::Dispatch(event) => {
                self.events += 1;
                self.bytes += event.payload_size() as u64;
            }
            Event::Disconnected { next, .. } if *next != shardwright_tokio::Next::Stop => {
                self.reconnects += 1
            }
            Event::Resumed { .. } => self.resumes += 1,
            Event::Identifying { .. } => self.identifies += 1,
            _ => {}
        }
    }
}

fn reached(until: &Option<Until>, event: &Event<'_>, counts: &Counts) -> bool {
    match (until, event) {
        (Some(Until::Ready), Event::ConnectedAllShards { .. }) => true,
        (Some(Until::Events(n)), Event::Dispatch(_)) => counts.events >= *n,
        (Some(Until::Event(name)), Event::Dispatch(event)) => event.name() == name,
        _ => false,
    }
}

async fn stream(
    bot: Bot,
    mut events: shardwright_tokio::Events,
    mut screen: Screen,
    until: Option<Until>,
    stdin: bool,
) -> Outcome {
    let mut counts = Counts::default();
    let mut outcome = Outcome::Done;
    let seconds = match &until {
        Some(Until::Seconds(seconds)) => Duration::from_secs(*seconds),
        _ => Duration::from_secs(u64::from(u32::MAX)),
    };
    let mut time_is_up = pin!(tokio::time::sleep(seconds));
    let mut interrupt = pin!(interrupted());
    let (says, mut lines) = mpsc::channel::<String>(64);
    if stdin {
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines() {
                let Ok(line) = line else { break };
                if says.blocking_send(line).is_err() {
                    break;
                }
            }
        });
    } else {
        drop(says);
    }
    let (tell, mut answers) = mpsc::unbounded_channel::<serde_json::Value>();
    let mut listening = stdin;
    let mut stopping = false;
    loop {
        let mut stop = None;
        tokio::select! {
            biased;
            () = &mut interrupt, if !stopping => stop = Some(false),
            () = &mut time_is_up, if !stopping => stop = Some(false),
            Some(answer) = answers.recv() => screen.json(answer),
            line = lines.recv(), if listening => match line {
                None => listening = false,
                Some(line) if line.trim().is_empty() => {}
                Some(line) => match commands::read(&line) {
                    Err(why) => screen.json(json!({"type":"rejected","what":line,"why":why})),
                    Ok(Order::Disconnect { keep }) => stop = Some(keep),
                    Ok(Order::Send { op, nonce, command, to }) => {
                        let (bot, tell) = (bot.clone(), tell.clone());
                        tokio::spawn(async move {
                            let answer = match commands::give(bot, command, to).await {
                                Ok(()) => json!({"type":"sent","op":op,"nonce":nonce}),
                                Err(why) => json!({"type":"rejected","what":format!("op {op}"),"why":why}),
                            };
                            let _ = tell.send(answer);
                        });
                    }
                },
            },
            event = events.next() => {
                let Some(event) = event else { break };
                counts.count(&event);
                screen.show(&event);
                if let Event::ShardStopped { why: StopReason::Fatal { .. }, .. } = &event {
                    outcome = Outcome::Refused;
                }
                if let Event::Stopped { why: StopReason::Fatal { .. } | StopReason::ReShardRequired, .. } = &event {
                    outcome = Outcome::Refused;
                }
                if !stopping && (screen.closed || reached(&until, &event, &counts)) {
                    stop = Some(false);
                }
            }
        }
        if let Some(keep) = stop
            && !stopping
        {
            stopping = true;
            let bot = bot.clone();
            tokio::spawn(async move {
                if keep {
                    bot.disconnect_keeping_sessions().await;
                } else {
                    bot.disconnect().await;
                }
            });
            // A second Ctrl-C leaves at once.
            tokio::spawn(async {
                interrupted().await;
                std::process::exit(INTERRUPTED);
            });
        }
    }
    summary(&mut screen, &counts, events.dropped());
    outcome
}

fn summary(screen: &mut Screen, counts: &Counts, dropped: u64) {
    let (cpu, rss) = usage();
    let wall = screen.began.elapsed().as_secs_f64();
    let Counts {
        events,
        bytes,
        reconnects,
        resumes,
        identifies,
    } = counts;
    let line = if screen.format == Format::Json {
        json!({
            "t": u64::try_from(screen.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            "type": "summary", "events": events, "bytes": bytes, "wall_s": wall, "cpu_s": cpu,
            "max_rss_kb": rss, "reconnects": reconnects, "resumes": resumes,
            "identifies": identifies, "dropped": dropped,
        })
        .to_string()
    } else {
        format!(
            "{events} events, {:.1} MB in {wall:.1} s; {reconnects} reconnects, {resumes} resumes, \
             {identifies} identifies, {dropped} dropped; {cpu:.2} s of CPU, {} MB of memory",
            *bytes as f64 / 1e6,
            rss / 1024,
        )
    };
    screen.line(&line);
}
