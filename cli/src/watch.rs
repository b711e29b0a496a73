//! `shardwright watch`: connect and stream events.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, IsTerminal};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use shardwright_tokio::{
    Acknowledge, Bot, Command, CommandError, ConnectError, Event, EventFilter, EventId, Events,
    FileStore, Options, ShardId, Shards, Status, StatusUpdate, StopReason, TraceFile,
};
use tokio::sync::mpsc;

use crate::args::{Format, Until, WatchArgs};
use crate::commands::{self, Order};
use crate::screen::{Counts, Screen};
use crate::signals::Interrupts;
use crate::{INTERRUPTED, Outcome, emulate, gateway, lines, runtimes, status};

pub(crate) async fn run(args: WatchArgs, verbose: u8) -> Outcome {
    let usage_error = |what: &str| {
        eprintln!("shardwright: {what}");
        Outcome::Usage
    };
    let mut options = Options::new(args.intents);
    options.shards = args.plan();
    options.compression = args.compress;
    options.overflow = args.overflow.into();
    // Either by command, or once the line of an event has left.
    options.acknowledge = Acknowledge::Manual;
    if let Some(path) = &args.state {
        options.store = Some(Arc::new(FileStore::new(path)));
    }
    let trace = match args.record.as_ref().map(TraceFile::create).transpose() {
        Ok(trace) => trace,
        Err(error) => return usage_error(&format!("cannot write the trace: {error}")),
    };
    options.record.clone_from(&trace);
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
    options.tls = match args.access.tls() {
        Ok(tls) => tls,
        Err(error) => return usage_error(&error.0),
    };
    options.proxy = match args.access.proxy() {
        Ok(proxy) => proxy,
        Err(error) => return usage_error(&error.0),
    };
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
                    // It is in this process.
                    options.proxy = Default::default();
                    token
                }
                _ => return Outcome::Internal,
            }
        }
    };
    let mut screen = Screen::new(format, args.data, verbose > 0);
    let mut interrupts = Interrupts::new();
    let seconds = match &args.until {
        Some(Until::Seconds(seconds)) => Duration::from_secs(*seconds),
        _ => Duration::from_secs(u64::from(u32::MAX)),
    };
    let mut time_is_up = pin!(tokio::time::sleep(seconds));
    let connected = tokio::select! {
        connected = runtimes::connect(args.runtime, token, options) => connected,
        () = interrupts.next() => Err(ConnectError::Stopped),
        () = &mut time_is_up => Err(ConnectError::Stopped),
    };
    let (bot, events) = match connected {
        Ok(connected) => connected,
        Err(error) => {
            let (why, outcome) = match &error {
                ConnectError::Fetch(fault) => {
                    eprintln!("shardwright: {error}");
                    (StopReason::Fetch(fault.clone()), gateway::failed(&error))
                }
                ConnectError::Stopped => (StopReason::Requested, Outcome::Done),
                ConnectError::Store(_) => return usage_error(&error.to_string()),
                _ => {
                    eprintln!("shardwright: {error}");
                    return Outcome::Internal;
                }
            };
            let states = Vec::new();
            screen.show(&Event::Stopped { why, states });
            screen.summary(&Counts::default(), 0);
            return outcome;
        }
    };
    let watch = Watch {
        bot,
        events,
        screen,
        until: args.until,
        counts: Counts::default(),
        shards: BTreeSet::new(),
        keep: args.state.is_some(),
        manual_ack: args.manual_ack,
        unflushed: BTreeMap::new(),
        outcome: Outcome::Done,
    };
    let outcome = watch.run(interrupts, time_is_up, args.stdin).await;
    let unfinished = trace.and_then(|trace| trace.finish().err());
    match unfinished {
        Some(error) if outcome == Outcome::Done => {
            eprintln!("shardwright: {error}");
            Outcome::Internal
        }
        Some(error) => {
            eprintln!("shardwright: {error}");
            outcome
        }
        None => outcome,
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

/// A bot that is being watched.
struct Watch {
    bot: Bot,
    events: Events,
    screen: Screen,
    until: Option<Until>,
    counts: Counts,
    /// Those that have shown themselves.
    shards: BTreeSet<ShardId>,
    /// Whether a stop keeps the sessions, unless it says otherwise.
    keep: bool,
    /// Events are acknowledged by command.
    manual_ack: bool,
    /// The last dispatch of each shard whose line has not left yet.
    unflushed: BTreeMap<ShardId, EventId>,
    outcome: Outcome,
}

impl Watch {
    async fn run(
        mut self,
        mut interrupts: Interrupts,
        mut time_is_up: std::pin::Pin<&mut tokio::time::Sleep>,
        stdin: bool,
    ) -> Outcome {
        let mut lines = lines_of_stdin(stdin);
        let mut listening = stdin;
        let (tell, mut answers) = mpsc::unbounded_channel();
        let mut every_second = tokio::time::interval(status::EVERY);
        let mut interrupted = false;
        let mut stopping = false;
        loop {
            let mut stop = None;
            tokio::select! {
                biased;
                () = interrupts.next() => {
                    if interrupted {
                        self.screen.flush();
                        std::process::exit(INTERRUPTED);
                    }
                    interrupted = true;
                    stop = Some(self.keep);
                }
                () = &mut time_is_up, if !stopping => stop = Some(self.keep),
                Some(answer) = answers.recv() => self.screen.json(answer),
                line = lines.recv(), if listening => match line {
                    // The end of the input is no disconnect.
                    None => listening = false,
                    Some(line) => stop = self.command(&line, &tell),
                },
                event = self.events.next() => {
                    let Some(event) = event else { break };
                    if self.event(&event) {
                        stop = Some(self.keep);
                    }
                }
                _ = every_second.tick(), if self.screen.has_status() => self.screen.tick(),
                // Only when nothing else is ready.
                () = std::future::ready(()), if self.has_unflushed() => self.flush(),
            }
            if self.screen.is_closed() {
                stop = stop.or(Some(self.keep));
            }
            if let Some(keep) = stop
                && !stopping
            {
                stopping = true;
                let bot = self.bot.clone();
                tokio::spawn(async move {
                    if keep {
                        bot.disconnect_keeping_sessions().await;
                    } else {
                        bot.disconnect().await;
                    }
                });
            }
        }
        self.screen.summary(&self.counts, self.events.dropped());
        self.outcome
    }

    fn has_unflushed(&self) -> bool {
        self.screen.is_waiting() || !self.unflushed.is_empty()
    }

    /// Lets the lines out; what they show has been handled then.
    fn flush(&mut self) {
        self.screen.flush();
        let flushed = std::mem::take(&mut self.unflushed);
        if self.manual_ack || self.screen.is_closed() {
            return;
        }
        for id in flushed.into_values() {
            // All of them were given out.
            let _ = self.events.acknowledge(id);
        }
    }

    /// Shows an event. True if it is the one to stop at.
    fn event(&mut self, event: &Event<'_>) -> bool {
        self.counts.count(event);
        self.screen.show(event);
        if let Event::Dispatch(event) = event {
            self.unflushed.insert(event.id().shard, event.id());
        }
        self.shards.extend(event.shard());
        if let Event::ShardStopped {
            why: StopReason::Fatal { .. },
            ..
        }
        | Event::Stopped {
            why: StopReason::Fatal { .. } | StopReason::ReShardRequired,
            ..
        } = event
        {
            self.outcome = Outcome::Refused;
        }
        reached(&self.until, event, &self.counts)
    }

    /// Carries out a line of standard input; how to stop, if that is what it says.
    fn command(
        &mut self,
        line: &str,
        tell: &mpsc::UnboundedSender<serde_json::Value>,
    ) -> Option<bool> {
        if line.trim().is_empty() {
            return None;
        }
        match commands::read(line) {
            Err(why) => self.screen.json(rejected(line, &why)),
            Ok(Order::Disconnect { keep }) => return Some(keep),
            Ok(Order::Send {
                op,
                nonce,
                command,
                to,
            }) => {
                let shards = self.numbers(&to);
                let sent = move |shard| json!({"type":"sent","shard":shard,"op":op,"nonce":nonce});
                self.then_tell(tell, |bot| async move {
                    match give(&bot, command, to).await {
                        Ok(()) => shards.into_iter().map(sent).collect(),
                        Err(error) => vec![rejected(&format!("op {op}"), &error)],
                    }
                });
            }
            Ok(Order::Collect { nonce, request }) => {
                let shard = self.numbers(&Shards::Guild(request.guild)).pop().flatten();
                self.then_tell(tell, |bot| async move {
                    let guild = request.guild;
                    let members = bot.request_members(request).await;
                    Some(lines::members_line(shard, guild, nonce, &members))
                });
            }
            Ok(Order::States(filter)) => self.then_tell(tell, |bot| async move {
                let states = bot.shard_states(filter).await;
                Some(json!({"type":"shard_states","states":states}))
            }),
            Ok(Order::AddShards(states)) => {
                let line = line.to_owned();
                self.then_tell(tell, |bot| async move {
                    let result = bot.add_shards(states).await;
                    result.err().map(|error| rejected(&line, &error))
                });
            }
            Ok(Order::RemoveShards(filter)) => self.then_tell(tell, |bot| async move {
                let states = bot.remove_shards(filter).await;
                Some(json!({"type":"shard_states","states":states}))
            }),
            Ok(Order::ReShard(to)) => {
                let line = line.to_owned();
                self.then_tell(tell, |bot| async move {
                    let result = bot.re_shard(to).await;
                    result.err().map(|error| rejected(&line, &error))
                });
            }
            Ok(Order::Acknowledge {
                shard,
                session,
                seq,
            }) => {
                if let Err(why) = self.acknowledge(shard, session, seq) {
                    self.screen.json(rejected(line, &why));
                }
            }
        }
        None
    }

    /// Does something that takes time, and shows what comes of it.
    fn then_tell<Answers, Doing>(
        &self,
        tell: &mpsc::UnboundedSender<serde_json::Value>,
        what: impl FnOnce(Bot) -> Doing,
    ) where
        Answers: IntoIterator<Item = serde_json::Value> + Send,
        Doing: Future<Output = Answers> + Send + 'static,
    {
        let doing = what(self.bot.clone());
        let tell = tell.clone();
        tokio::spawn(async move {
            let answers: Vec<_> = doing.await.into_iter().collect();
            for answer in answers {
                // Nobody listens any more once the bot has ended.
                let _ = tell.send(answer);
            }
        });
    }

    fn acknowledge(&self, number: u32, session: u32, seq: u64) -> Result<(), String> {
        let shard = self.shards.iter().find(|shard| shard.number() == number);
        let shard = *shard.ok_or_else(|| format!("no shard {number} runs here"))?;
        let id = EventId {
            shard,
            session,
            seq,
        };
        self.events
            .acknowledge(id)
            .map_err(|error| error.to_string())
    }

    /// The numbers of the shards that a command goes to; those that are not up yet are not known.
    fn numbers(&self, to: &Shards) -> Vec<Option<u32>> {
        let known = match to {
            Shards::Only(numbers) => numbers.clone(),
            Shards::Guild(guild) => {
                let owner = self.shards.iter().find(|shard| shard.owns(*guild));
                owner.iter().map(|shard| shard.number()).collect()
            }
            _ => self.shards.iter().map(|shard| shard.number()).collect(),
        };
        if known.is_empty() {
            return vec![None];
        }
        known.into_iter().map(Some).collect()
    }
}

/// Gives a command to the bot and waits until it has left.
async fn give(bot: &Bot, command: Command, to: Shards) -> Result<(), CommandError> {
    bot.send(command, to).await?.sent().await
}

fn rejected(what: &str, why: &impl ToString) -> serde_json::Value {
    json!({"type":"rejected","what":what,"why":why.to_string()})
}

/// Lines of standard input, read by a thread of its own: such a read cannot be given up.
fn lines_of_stdin(wanted: bool) -> mpsc::Receiver<String> {
    let (says, lines) = mpsc::channel(64);
    if wanted {
        std::thread::spawn(move || {
            let mut input = std::io::stdin().lock();
            let mut line = Vec::new();
            while matches!(input.read_until(b'\n', &mut line), Ok(1..)) {
                // What is not UTF-8 is refused like any other bad line.
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                if says.blocking_send(text).is_err() {
                    break;
                }
                line.clear();
            }
        });
    }
    lines
}
