//! The flags, and what they mean.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use shardwright_tokio::{
    Activity, ApiBase, Compression, Intents, NoProxy, Overflow, Proxy, ProxyRules, ShardPlan,
    Status, TlsOptions, Token,
};

/// Watch, inspect and emulate the Discord Gateway.
#[derive(Debug, Parser)]
#[command(version, about, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
    /// Log to standard error; twice for more (RUST_LOG overrides)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Connect and stream events
    #[command(after_help = "Examples:
  shardwright watch                                       an emulated gateway, nothing to set up
  DISCORD_TOKEN=… shardwright watch --intents guilds,guild-messages
  DISCORD_TOKEN=… shardwright watch --shards 4 --format json --until ready
  shardwright watch --api http://127.0.0.1:8080/api/v10 --only MESSAGE_CREATE --data
  HTTPS_PROXY=http://user:password@proxy:3128 DISCORD_TOKEN=… shardwright watch")]
    Watch(Box<WatchArgs>),
    /// Show what Discord says of the gateway: address, shards, session starts left
    #[command(after_help = "Examples:
  DISCORD_TOKEN=… shardwright gateway
  DISCORD_TOKEN=… shardwright gateway --format json | jq .shards")]
    Gateway(GatewayArgs),
    /// Run the emulated gateway for any bot library
    #[command(after_help = "Examples:
  shardwright emulate --listen 127.0.0.1:8080 --rate 100
  shardwright emulate --scenario stormy --shards 16 --max-concurrency 16")]
    Emulate(EmulateArgs),
    /// The same as watch --record: connect, stream events and record everything
    #[command(after_help = "Example:
  DISCORD_TOKEN=… shardwright record bot.trace --until seconds:3600")]
    Record(Box<RecordArgs>),
    /// Have a recorded run happen again, and compare every action
    #[command(after_help = "Examples:
  shardwright replay bot.trace                       says whether all came out the same
  shardwright replay bot.trace --print | less        what happened, step by step
  shardwright replay bot.trace --until 0:4711        how it stood at shard 0's event 4711
  shardwright replay bot.trace --drop-bodies public.trace")]
    Replay(ReplayArgs),
    /// Play bots against the emulated gateway in virtual time while everything goes wrong
    #[command(after_help = "Examples:
  shardwright simulate                                    an hour of a small bot, in a moment
  shardwright simulate --seed 1 --shards 1000 --hours 24 --faults high
  shardwright simulate --faults high --seconds 60         fresh seeds for a minute
  shardwright simulate --play storm-7.json                a schedule that broke a rule")]
    Simulate(crate::simulate::SimulateArgs),
    /// Measure all runtimes beside the floor: reading a websocket and inflating, nothing else
    #[command(after_help = "Examples:
  shardwright bench                             all rows, about ten minutes
  shardwright bench zlib zstd --runs 3          the rows whose name has one of these in it
  shardwright bench --events 20000 --runs 1     a quick look")]
    Bench(crate::bench::BenchArgs),
    /// Print a shell's completions of this command
    #[command(after_help = "Example:
  shardwright completions bash > ~/.local/share/bash-completion/completions/shardwright")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Access {
    /// The base of the REST API; Discord itself unless given
    #[arg(long, env = "DISCORD_API", value_name = "URL", value_parser = |text: &str| ApiBase::parse(text))]
    pub(crate) api: Option<ApiBase>,
    /// Read the token from this file instead of DISCORD_TOKEN
    #[arg(long, value_name = "PATH")]
    pub(crate) token_file: Option<PathBuf>,
    /// Trust the certificates in this file too
    #[arg(long, value_name = "PEM")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Reach the API and the gateway through http://HOST:PORT or socks5://HOST:PORT
    ///
    /// A login goes before the host, user:password@, percent-encoded; keep it out of the command line and
    /// use HTTPS_PROXY or https_proxy, which say the same. Names are looked up by the proxy. The hosts in
    /// NO_PROXY or no_proxy are dialled directly; this machine too, unless --proxy is given. An empty value
    /// overrules the environment.
    #[arg(long, value_name = "URL")]
    pub(crate) proxy: Option<Hidden>,
    /// Give up after so many failed requests for the gateway's address
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) tries: Option<u32>,
}

/// What is wrong with what was given.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

/// A text that may have a password in it, and is checked where no message repeats it.
#[derive(Clone)]
pub(crate) struct Hidden(String);

impl From<&str> for Hidden {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hidden")
    }
}

/// The first of these variables that is set to something.
fn variable(names: [&'static str; 2]) -> Option<(&'static str, String)> {
    let mut set = names
        .into_iter()
        .filter_map(|name| Some((name, std::env::var_os(name)?)));
    set.find(|(_, text)| !text.is_empty())
        // What is not UTF-8 is no address, and is said to be none.
        .map(|(name, text)| (name, text.to_string_lossy().into_owned()))
}

impl Access {
    /// Which hosts are reached through which proxy.
    pub(crate) fn proxy(&self) -> Result<ProxyRules, UsageError> {
        let given = match &self.proxy {
            Some(Hidden(text)) => Some(("--proxy", text.clone())),
            None => variable(["HTTPS_PROXY", "https_proxy"]),
        };
        let Some((name, text)) = given.filter(|(_, text)| !text.is_empty()) else {
            return Ok(ProxyRules::default());
        };
        let proxy = Proxy::parse(&text).map_err(|error| UsageError(format!("{name}: {error}")))?;
        let mut rules = ProxyRules::through(proxy);
        rules.loopback = self.proxy.is_some();
        if let Some((_, list)) = variable(["NO_PROXY", "no_proxy"]) {
            rules.no_proxy = NoProxy::new(&list);
        }
        Ok(rules)
    }

    /// The token, if one is given. It comes from the environment or a file; argv is public.
    pub(crate) fn token(&self) -> Result<Option<Token>, UsageError> {
        let text = match &self.token_file {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| UsageError(format!("cannot read {}: {error}", path.display())))?,
            None => match std::env::var("DISCORD_TOKEN") {
                Ok(text) => text,
                Err(std::env::VarError::NotPresent) => return Ok(None),
                Err(error) => {
                    return Err(UsageError(
                        format!("DISCORD_TOKEN: {error}").replace(char::is_control, "?"),
                    ));
                }
            },
        };
        Token::new(text)
            .map(Some)
            .map_err(|error| UsageError(error.to_string()))
    }

    /// Whom to trust.
    pub(crate) fn tls(&self) -> Result<TlsOptions, UsageError> {
        let mut tls = TlsOptions::default();
        if let Some(path) = &self.ca_file {
            let pem = std::fs::read(path)
                .map_err(|error| UsageError(format!("cannot read {}: {error}", path.display())))?;
            tls.add_roots(&pem)
                .map_err(|error| UsageError(format!("{}: {error}", path.display())))?;
        }
        Ok(tls)
    }

    /// An emulator on this machine needs no secret.
    pub(crate) fn token_or_placeholder(&self) -> Result<Token, UsageError> {
        if let Some(token) = self.token()? {
            return Ok(token);
        }
        if self.api.as_ref().is_some_and(ApiBase::is_loopback) {
            return Token::new("emulated").map_err(|error| UsageError(error.to_string()));
        }
        Err(UsageError(
            "no token: set DISCORD_TOKEN or give --token-file".to_owned(),
        ))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Readable lines
    Pretty,
    /// JSON lines
    Json,
    /// Only the summary
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Runtime {
    /// Tokio
    Tokio,
    /// The async-std executor, which is no longer developed
    AsyncStd,
    /// A smol executor with a thread for each core
    Smol,
    /// A plain thread for each shard
    Blocking,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WhenFull {
    /// Stop reading; nothing is lost
    Pause,
    /// Go on and drop new events
    DropNewest,
}

impl From<WhenFull> for Overflow {
    fn from(when: WhenFull) -> Self {
        match when {
            WhenFull::Pause => Self::Pause,
            WhenFull::DropNewest => Self::DropNewest,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    pub(crate) access: Access,
    /// What drives the shards
    #[arg(long, default_value = "tokio")]
    pub(crate) runtime: Runtime,
    /// Compression: zlib, zstd, none or payload
    #[arg(long, default_value = "zlib", value_name = "KIND")]
    pub(crate) compress: Compression,
    /// Intents: names in any spelling, `all`, `default` (all unprivileged) or a number
    #[arg(long, default_value = "default", value_name = "LIST")]
    pub(crate) intents: Intents,
    /// How many shards in all [default: what Discord recommends]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) shards: Option<u32>,
    /// Only these shards, such as 0-3,7
    #[arg(long, value_name = "LIST", value_parser = parse_ids)]
    pub(crate) shard_ids: Option<Ids>,
    /// Deliver only these events, such as MESSAGE_CREATE,READY
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// How to show events [default: pretty on a terminal, else json]
    #[arg(long)]
    pub(crate) format: Option<Format>,
    /// Add `d` to dispatch lines
    #[arg(long)]
    pub(crate) data: bool,
    /// Stop at: ready, events:N, event:NAME or seconds:N
    #[arg(long, value_name = "WHEN", value_parser = parse_until)]
    pub(crate) until: Option<Until>,
    /// Resume from the sessions stored there, and store them there, at the end and every few seconds
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// Read commands as JSON lines from standard input
    ///
    /// Such as {"do":"status_update","status":"idle"}. A guild_request_members with "collect":true is
    /// answered with one `members` line when all chunks are in.
    #[arg(long)]
    pub(crate) stdin: bool,
    /// Events count as handled only by the `ack` command, not when their line has left
    #[arg(long, requires = "stdin")]
    pub(crate) manual_ack: bool,
    /// What happens when nobody reads fast enough
    #[arg(long, default_value = "pause")]
    pub(crate) overflow: WhenFull,
    /// Write a trace of this run for `replay`
    ///
    /// It never holds the token. It does hold what events carry, interaction and voice tokens included;
    /// `replay --drop-bodies` makes a copy without.
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Resume on the configured host even when READY names another
    #[arg(long)]
    pub(crate) stay_on_host: bool,
    /// The presence: online, idle, dnd or invisible
    #[arg(long, value_name = "STATUS")]
    pub(crate) presence: Option<Status>,
    /// The activity, such as watching:you
    #[arg(long, value_name = "KIND:TEXT", value_parser = parse_activity)]
    pub(crate) activity: Option<Activity>,
}

impl WatchArgs {
    pub(crate) fn plan(&self) -> ShardPlan {
        match (&self.shard_ids, self.shards) {
            (Some(Ids(ids)), total) => ShardPlan::Ids {
                ids: ids.clone(),
                total,
            },
            (None, Some(total)) => ShardPlan::Total(total),
            (None, None) => ShardPlan::Recommended,
        }
    }
}

/// Shard numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ids(pub(crate) Vec<u32>);

/// More numbers than this in one list are a slip of the finger.
const MOST_IDS: usize = 100_000;

fn parse_ids(text: &str) -> Result<Ids, String> {
    let mut ids = Vec::new();
    for part in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let number = |text: &str| {
            text.trim()
                .parse::<u32>()
                .map_err(|_| format!("`{text}` is no shard number; write 0-3,7"))
        };
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if first > last {
            return Err(format!(
                "`{part}` runs backwards; write the lower number first"
            ));
        }
        if (last - first) as usize + ids.len() >= MOST_IDS {
            return Err(format!("more than {MOST_IDS} shards"));
        }
        ids.extend(first..=last);
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(Ids(ids))
}

/// When to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    Ready,
    Events(u64),
    Event(String),
    Seconds(u64),
}

fn parse_until(text: &str) -> Result<Until, String> {
    let number = |text: &str| {
        text.parse::<u64>()
            .ok()
            .filter(|n| *n > 0)
            .ok_or_else(|| format!("`{text}` is no positive number"))
    };
    match text.split_once(':') {
        None if text == "ready" => Ok(Until::Ready),
        Some(("events", n)) => Ok(Until::Events(number(n)?)),
        Some(("seconds", n)) => Ok(Until::Seconds(number(n)?)),
        Some(("event", name)) if !name.is_empty() => Ok(Until::Event(name.to_ascii_uppercase())),
        _ => Err("write ready, events:N, event:NAME or seconds:N".to_owned()),
    }
}

fn parse_activity(text: &str) -> Result<Activity, String> {
    let (kind, name) = text
        .split_once(':')
        .ok_or("write KIND:TEXT, such as playing:chess")?;
    if name.trim().is_empty() {
        return Err("the text is empty; write KIND:TEXT, such as playing:chess".to_owned());
    }
    Ok(Activity::new(
        name,
        kind.parse()
            .map_err(|error: shardwright_tokio::ParseActivityKindError| error.to_string())?,
    ))
}

#[derive(Debug, Args)]
pub(crate) struct GatewayArgs {
    #[command(flatten)]
    pub(crate) access: Access,
    /// pretty or json [default: pretty on a terminal, else json]
    #[arg(long)]
    pub(crate) format: Option<Format>,
}

#[derive(Debug, Args)]
pub(crate) struct EmulateArgs {
    /// Where to listen for REST and new sessions
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// Where to listen for resumes, so that a restart can keep its ports
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR")]
    pub(crate) resume_listen: SocketAddr,
    /// How many shards to recommend
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) shards: u64,
    /// How many may identify in five seconds
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_concurrency: u64,
    /// Events a second, a shard
    #[arg(long, default_value_t = 5.0, value_name = "EVENTS/S")]
    pub(crate) rate: f64,
    /// A folder of payloads instead of the built-in ones
    #[arg(long, value_name = "DIR")]
    pub(crate) corpus: Option<PathBuf>,
    /// What goes wrong: a built-in scenario (quiet, newcomer, stormy, random_cuts:N) or a file
    #[arg(long, default_value = "quiet", value_name = "NAME|FILE")]
    pub(crate) scenario: String,
    /// After READY send this many events as fast as they are taken, then EMULATOR_DONE
    #[arg(long, value_name = "N")]
    pub(crate) flood: Option<u64>,
    /// Speak TLS with a certificate made for the occasion
    #[arg(long)]
    pub(crate) tls: bool,
    /// Write the certificate authority here
    #[arg(long, value_name = "PEM", requires = "tls")]
    pub(crate) ca_out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RecordArgs {
    /// The trace to write
    #[arg(value_name = "FILE", conflicts_with = "record")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) watch: WatchArgs,
}

impl RecordArgs {
    pub(crate) fn into_watch(self) -> WatchArgs {
        WatchArgs {
            record: Some(self.file),
            ..self.watch
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// A trace that `watch --record` wrote
    pub(crate) file: PathBuf,
    /// Stop at a sequence number, of a shard if given, and say how the shards stand
    #[arg(long, value_name = "[SHARD:]SEQ", value_parser = parse_until_seq)]
    pub(crate) until: Option<UntilSeq>,
    /// Show every input and what was done about it
    #[arg(long)]
    pub(crate) print: bool,
    /// How to show it [default: pretty on a terminal, else json]
    #[arg(long)]
    pub(crate) format: Option<Format>,
    /// Write a copy to be shown to others: of events only names and sizes
    #[arg(long, value_name = "FILE", conflicts_with_all = ["until", "print", "format"])]
    pub(crate) drop_bodies: Option<PathBuf>,
}

/// Where a replay stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UntilSeq {
    pub(crate) shard: Option<u32>,
    pub(crate) seq: u64,
}

fn parse_until_seq(text: &str) -> Result<UntilSeq, String> {
    let wrong = |_| "write a sequence number, such as 4711, or shard and number: 0:4711".to_owned();
    let (shard, seq) = match text.split_once(':') {
        Some((shard, seq)) => (Some(shard.parse().map_err(wrong)?), seq),
        None => (None, text),
    };
    let seq = seq.parse().map_err(wrong)?;
    Ok(UntilSeq { shard, seq })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shard_lists_are_read() {
        assert_eq!(parse_ids("0-3,7"), Ok(Ids(vec![0, 1, 2, 3, 7])));
        assert_eq!(parse_ids(""), Ok(Ids(vec![])));
        assert!(parse_ids("3-1").is_err());
        assert!(parse_ids("a").is_err());
        assert!(parse_ids("0-4294967295").is_err());
    }

    #[test]
    fn ends_are_read() {
        assert_eq!(parse_until("ready"), Ok(Until::Ready));
        assert_eq!(parse_until("events:5"), Ok(Until::Events(5)));
        assert_eq!(parse_until("event:ready"), Ok(Until::Event("READY".into())));
        assert!(parse_until("events:0").is_err());
        assert!(parse_until("never").is_err());
    }

    #[test]
    fn the_flags_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
