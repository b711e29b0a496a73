//! A session's bytes, made before anyone connects: so that what is measured never waits for what makes it.

use std::io;

use flate2::{Compress, Compression as Level, FlushCompress};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shardwright_testkit::corpus::Corpus;
use shardwright_testkit::rng::Rng;
use shardwright_testkit::ws;
use shardwright_tokio::Compression;
use zstd::stream::raw::{CParameter, Encoder as ZstdEncoder, Operation, OutBuffer};

/// What a port plays to everyone who connects.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Play {
    pub(super) compression: Compression,
    /// Guilds in READY, and as many GUILD_CREATEs behind it.
    pub(super) guilds: u32,
    /// Events after those, for each connection.
    pub(super) events: u64,
    /// Events a second on each connection; none: as fast as they are taken.
    pub(super) rate: Option<f64>,
    /// READY is filled up to so many bytes.
    pub(super) ready_bytes: usize,
    /// The events begin when so many connections are up.
    pub(super) shards: u32,
    /// Speak TLS.
    #[serde(default)]
    pub(super) tls: bool,
    /// Say when each event was sent.
    #[serde(default)]
    pub(super) stamps: bool,
}

/// The dispatches before the events: READY and the guilds.
pub(super) fn opening(guilds: u32) -> u64 {
    1 + u64::from(guilds)
}

/// The frames of a connection, in one piece.
#[derive(Debug)]
pub(super) struct Prepared {
    bytes: Vec<u8>,
    /// Where the frames end: Hello, READY and guilds, then each event.
    ends: Vec<usize>,
    /// A heartbeat's acknowledgement, which fits behind everything else, any number of times.
    pub(super) beat: Vec<u8>,
    /// The end of an empty replay, which fits behind Hello.
    pub(super) resumed: Vec<u8>,
    /// How many of the events are MESSAGE_CREATE; the last one always is.
    pub(super) messages: u64,
    /// The mean size of an event in bytes, before compression.
    pub(super) mean: u64,
}

impl Prepared {
    pub(super) fn new(play: &Play, url: &str) -> io::Result<Self> {
        let mut writer = Writer::new(play.compression)?;
        let mut ends = Vec::new();
        writer.write(br#"{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250,"_trace":["[\"bench\",{\"micros\":0.0}]"]}}"#)?;
        ends.push(writer.bytes.len());
        writer.write(ready(play, url).as_bytes())?;
        let corpus = Corpus::builtin();
        let guild = corpus.get("guild_create_small");
        let guild = guild.ok_or_else(|| io::Error::other("the corpus has no guild"))?;
        for number in 0..play.guilds {
            // The id is what comes first.
            let rest = guild.body().splitn(4, '"').last().unwrap_or_default();
            let (_, rest) = rest.split_once('"').unwrap_or_default();
            let body = format!(r#"{{"id":"{}"{rest}"#, 1 + number);
            writer.write(dispatch("GUILD_CREATE", 2 + u64::from(number), &body).as_bytes())?;
        }
        ends.push(writer.bytes.len());
        let draw = corpus.draw_from(|name| !matches!(name, "READY" | "RESUMED" | "GUILD_CREATE"));
        let only_messages = corpus.draw_from(|name| name == "MESSAGE_CREATE");
        let mut rng = Rng::new(1);
        let (mut messages, mut total) = (0, 0);
        for number in 0..play.events {
            let from = if number + 1 == play.events {
                &only_messages
            } else {
                &draw
            };
            let Some(payload) = from.next(&mut rng) else {
                return Err(io::Error::other("the corpus has no events"));
            };
            let seq = opening(play.guilds) + 1 + number;
            let text = dispatch(payload.name(), seq, payload.body());
            messages += u64::from(&**payload.name() == "MESSAGE_CREATE");
            total += text.len() as u64;
            writer.write(text.as_bytes())?;
            ends.push(writer.bytes.len());
        }
        Ok(Self {
            beat: writer.alone(br#"{"t":null,"s":null,"op":11,"d":null}"#),
            resumed: writer.alone(
                dispatch("RESUMED", opening(play.guilds) + 1 + play.events, "{}").as_bytes(),
            ),
            bytes: writer.bytes,
            ends,
            messages,
            mean: total / play.events.max(1),
        })
    }

    pub(super) fn hello(&self) -> &[u8] {
        self.between(0, self.end(0))
    }

    /// READY and the guilds.
    pub(super) fn start(&self) -> &[u8] {
        self.between(self.end(0), self.end(1))
    }

    /// So many events from this one on, fewer at the end.
    pub(super) fn events(&self, from: usize, count: usize) -> &[u8] {
        let last = self.ends.len() - 1;
        let until = (from + 1).saturating_add(count).min(last);
        self.between(self.end((from + 1).min(last)), self.end(until))
    }

    fn end(&self, index: usize) -> usize {
        self.ends.get(index).copied().unwrap_or(self.bytes.len())
    }

    fn between(&self, from: usize, until: usize) -> &[u8] {
        self.bytes.get(from..until).unwrap_or_default()
    }
}

fn dispatch(name: &str, seq: u64, body: &str) -> String {
    format!(r#"{{"t":"{name}","s":{seq},"op":0,"d":{body}}}"#)
}

fn ready(play: &Play, url: &str) -> String {
    let guilds: Vec<_> = (0..play.guilds)
        .map(|number| json!({"id": format!("{}", 1 + number), "unavailable": true}))
        .collect();
    let body = json!({
        "v": 10, "user_settings": {}, "session_type": "normal", "session_id": "0".repeat(32),
        "resume_gateway_url": url, "relationships": [], "private_channels": [], "presences": [],
        "guilds": guilds, "guild_join_requests": [], "geo_ordered_rtc_regions": [], "auth": {},
        "application": {"id": "80351110224678912", "flags": 0},
        "user": {
            "verified": true, "username": "bench", "mfa_enabled": false, "id": "80351110224678912",
            "flags": 0, "email": null, "discriminator": "0000", "bot": true, "avatar": null,
            "global_name": null,
        },
        "filler": filler(play.ready_bytes),
    });
    dispatch("READY", 1, &body.to_string())
}

/// Text that compresses about as well as JSON does.
fn filler(bytes: usize) -> String {
    let mut rng = Rng::new(2);
    let mut text = String::with_capacity(bytes + 64);
    while text.len() < bytes {
        text.push_str("'permissions_new': '");
        text.push_str(&rng.hex(8));
        text.push_str("', 'unavailable': true, ");
    }
    text.truncate(bytes);
    text
}

/// Compresses payloads and puts them into frames.
struct Writer {
    bytes: Vec<u8>,
    encoder: Encoder,
}

enum Encoder {
    None,
    Zlib(Compress),
    Zstd(ZstdEncoder<'static>),
}

impl Writer {
    fn new(compression: Compression) -> io::Result<Self> {
        let encoder = match compression {
            Compression::None => Encoder::None,
            Compression::Zlib => Encoder::Zlib(Compress::new(Level::new(6), true)),
            Compression::Zstd => {
                let mut encoder = ZstdEncoder::new(3)?;
                encoder.set_parameter(CParameter::WindowLog(18))?;
                encoder.set_parameter(CParameter::ContentSizeFlag(false))?;
                Encoder::Zstd(encoder)
            }
            other => return Err(io::Error::other(format!("no benchmark of {other:?}"))),
        };
        let bytes = Vec::new();
        Ok(Self { bytes, encoder })
    }

    fn write(&mut self, payload: &[u8]) -> io::Result<()> {
        let compressed = match &mut self.encoder {
            Encoder::None => {
                ws::write_frame(&mut self.bytes, true, ws::TEXT, payload);
                return Ok(());
            }
            Encoder::Zlib(context) => deflate(context, payload)?,
            Encoder::Zstd(context) => zstd(context, payload)?,
        };
        ws::write_frame(&mut self.bytes, true, ws::BINARY, &compressed);
        Ok(())
    }

    /// A payload of less than 64 KiB. Both formats are sequences of blocks, and one that refers to nothing
    /// before it fits at the end of any.
    fn alone(&self, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        let length = payload.len() as u16;
        match self.encoder {
            Encoder::None => ws::write_frame(&mut frame, true, ws::TEXT, payload),
            Encoder::Zlib(_) => {
                // RFC 1951, 3.2.4: a stored block, and an empty one as every flush leaves it.
                let mut block = vec![0];
                block.extend(length.to_le_bytes());
                block.extend((!length).to_le_bytes());
                block.extend(payload);
                block.extend([0, 0, 0, 0xFF, 0xFF]);
                ws::write_frame(&mut frame, true, ws::BINARY, &block);
            }
            Encoder::Zstd(_) => {
                // RFC 8878, 3.1.1.2: a raw block that is not the last.
                let mut block = (u32::from(length) << 3).to_le_bytes()[..3].to_vec();
                block.extend(payload);
                ws::write_frame(&mut frame, true, ws::BINARY, &block);
            }
        }
        frame
    }
}

fn deflate(context: &mut Compress, payload: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(payload.len() + 64);
    let start = context.total_in();
    loop {
        let done = (context.total_in() - start) as usize;
        let rest = payload.get(done..).unwrap_or_default();
        context.compress_vec(rest, &mut out, FlushCompress::Sync)?;
        let all_in = (context.total_in() - start) as usize == payload.len();
        if all_in && out.len() < out.capacity() {
            return Ok(out);
        }
        out.reserve(out.capacity());
    }
}

fn zstd(context: &mut ZstdEncoder<'static>, payload: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = vec![0; payload.len() + 1024];
    let mut done = 0;
    let mut at = 0;
    loop {
        let mut room = OutBuffer::around_pos(&mut out[..], at);
        if done < payload.len() {
            let mut input = zstd::stream::raw::InBuffer::around(&payload[done..]);
            context.run(&mut input, &mut room)?;
            done += input.pos();
            at = room.pos();
        } else {
            let left = context.flush(&mut room)?;
            at = room.pos();
            if left == 0 {
                out.truncate(at);
                return Ok(out);
            }
        }
        if at == out.len() {
            out.resize(out.len() * 2, 0);
        }
    }
}
