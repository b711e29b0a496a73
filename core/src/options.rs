//! How a shard is configured: what it says to Discord, and every deadline, size and delay.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Compression, GatewayUrl, Intents, ShardId, StatusUpdate, Token};

/// Known when compiled; nothing is read from the environment.
pub(crate) const OS: &str = std::env::consts::OS;

/// Everything one [`ShardMachine`](crate::ShardMachine) needs to know. Cheap to clone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ShardConfig {
    /// Which shard of how many.
    pub shard: ShardId,
    /// The bot's token; shows itself in nothing but Identify and Resume.
    pub token: Token,
    /// Which events Discord sends.
    pub intents: Intents,
    /// Where new sessions begin: the `url` of `/gateway/bot`.
    pub gateway_url: GatewayUrl,
    /// How the gateway compresses what it sends.
    pub compression: Compression,
    /// The presence of a new session.
    pub presence: Option<StatusUpdate>,
    /// Above how many members a guild is "large" (50 to 250); Discord's default is 50.
    pub large_threshold: Option<u8>,
    /// Identify's `capabilities` bit field, for those who test what Discord is about to change.
    pub capabilities: Option<u64>,
    /// Identify's `os` property; the system this was built for.
    pub os: Box<str>,
    /// Resume on `gateway_url` even when READY names another host: for a bot behind a reverse proxy.
    pub stay_on_host: bool,
    /// Which events are handed over.
    pub filter: EventFilter,
    /// Say when the guilds of a new session are loaded ([`Event::GuildsLoaded`](crate::Event)).
    pub track_guilds: bool,
    /// Deadlines, sizes and delays.
    pub limits: ShardLimits,
}

impl ShardConfig {
    /// A configuration with the defaults: zlib-stream, no presence, all events.
    #[must_use]
    pub fn new(shard: ShardId, token: Token, intents: Intents, gateway_url: GatewayUrl) -> Self {
        Self {
            shard,
            token,
            intents,
            gateway_url,
            compression: Compression::default(),
            presence: None,
            large_threshold: None,
            capabilities: None,
            os: OS.into(),
            stay_on_host: false,
            filter: EventFilter::default(),
            track_guilds: false,
            limits: ShardLimits::default(),
        }
    }
}

/// Which dispatches are handed over. The others still move the sequence and count as acknowledged
/// once all before them are.
#[derive(Clone, Debug, Default)]
pub struct EventFilter(Option<Arc<BTreeSet<Box<str>>>>);

impl Serialize for EventFilter {
    /// The names, or null for everything.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_deref().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for EventFilter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(
            Option::<BTreeSet<_>>::deserialize(deserializer)?.map(Arc::new),
        ))
    }
}

impl EventFilter {
    /// Everything (the default).
    #[must_use]
    pub fn all() -> Self {
        Self(None)
    }

    /// Only the events of these names, as Discord spells them (`MESSAGE_CREATE`).
    pub fn only<N: Into<Box<str>>>(names: impl IntoIterator<Item = N>) -> Self {
        Self(Some(Arc::new(names.into_iter().map(Into::into).collect())))
    }

    /// Whether nothing is left out.
    #[must_use]
    #[inline]
    pub fn is_all(&self) -> bool {
        self.0.is_none()
    }

    /// These events too, if it leaves any out.
    #[must_use]
    pub fn and<N: Into<Box<str>>>(self, names: impl IntoIterator<Item = N>) -> Self {
        let Some(wanted) = self.0 else { return self };
        let mut wanted = (*wanted).clone();
        wanted.extend(names.into_iter().map(Into::into));
        Self(Some(Arc::new(wanted)))
    }

    /// Whether events of this name are handed over.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|names| names.contains(name))
    }
}

/// Every deadline, size and delay of a shard. None of them is documented by Discord; the defaults
/// come from what long-lived clients use. A time of more than a year counts as a year.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "used with struct update syntax")]
pub struct ShardLimits {
    /// TCP, TLS and the websocket upgrade together: 10 s.
    pub dial_timeout: Duration,
    /// From the upgrade to Hello: 20 s.
    pub hello_timeout: Duration,
    /// From Identify to READY: 60 s.
    pub ready_timeout: Duration,
    /// From Resume, or the last replayed event, to the next one or RESUMED: 60 s.
    pub resumed_timeout: Duration,
    /// How long after READY, or after the last guild that came, the rest is waited for: 15 s.
    pub guilds_timeout: Duration,
    /// From our close frame to the peer's: 5 s.
    pub close_timeout: Duration,
    /// The first reconnect waits a random part of this; each failure in a row doubles it: 1 s.
    pub backoff_base: Duration,
    /// No reconnect waits longer than this: 60 s.
    pub backoff_cap: Duration,
    /// A connection that was live for less than this counts as a flap: 60 s.
    pub stable_after: Duration,
    /// A session that could not be reached for this long is given up: one hour.
    pub session_patience: Duration,
    /// After how many failed new sessions in a row the next one is put off further: 10. A READY
    /// that cannot be decoded counts as three.
    pub identify_breaker: u32,
    /// The longest such pause: 30 minutes, so that a day of failures costs about 60 session starts.
    pub identify_breaker_cap: Duration,
    /// The largest payload, compressed or not, in bytes: 64 MiB, room for a READY of 40 MB.
    pub payload_limit: usize,
    /// How many commands may wait: 1,024.
    pub command_queue: usize,
}

/// Whatever is asked for, a deadline stays a time that a clock can show.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl ShardLimits {
    /// With no time above [`LONGEST`].
    pub(crate) fn bounded(mut self) -> Self {
        for time in [
            &mut self.dial_timeout,
            &mut self.hello_timeout,
            &mut self.ready_timeout,
            &mut self.resumed_timeout,
            &mut self.guilds_timeout,
            &mut self.close_timeout,
            &mut self.backoff_base,
            &mut self.backoff_cap,
            &mut self.stable_after,
            &mut self.session_patience,
            &mut self.identify_breaker_cap,
        ] {
            *time = LONGEST.min(*time);
        }
        self
    }
}

impl Default for ShardLimits {
    fn default() -> Self {
        Self {
            dial_timeout: Duration::from_secs(10),
            hello_timeout: Duration::from_secs(20),
            ready_timeout: Duration::from_secs(60),
            resumed_timeout: Duration::from_secs(60),
            guilds_timeout: Duration::from_secs(15),
            close_timeout: Duration::from_secs(5),
            backoff_base: Duration::from_secs(1),
            backoff_cap: Duration::from_secs(60),
            stable_after: Duration::from_secs(60),
            session_patience: Duration::from_secs(60 * 60),
            identify_breaker: 10,
            identify_breaker_cap: Duration::from_secs(30 * 60),
            payload_limit: 64 * 1024 * 1024,
            command_queue: 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_lets_through_what_it_names() {
        assert!(EventFilter::all().is_all() && EventFilter::all().wants("A"));
        let some = EventFilter::only(["A"]).and(["B"]);
        assert!(!some.is_all());
        assert_eq!(["A", "B", "C"].map(|n| some.wants(n)), [true, true, false]);
        assert!(EventFilter::all().and(["A"]).is_all());
        assert!(!EventFilter::only(Vec::<&str>::new()).wants("A"));
    }
}
