//! The gateway of a play: puts payloads together and packs them as the connection asks.

use bytes::Bytes;
use shardwright_core::{Compression, Frame};

use super::ops::{Payload, Seq, Wrap};
use crate::pack::{ZlibStream, ZstdStream, zlib_whole};

const NAMES: [&str; 4] = [
    "MESSAGE_CREATE",
    "TYPING_START",
    "GUILD_CREATE",
    "GUILD_DELETE",
];

enum Packer {
    Plain,
    Zlib(ZlibStream),
    Zstd(ZstdStream),
    Whole,
}

pub(super) struct Gateway {
    packer: Packer,
    /// The last sequence sent in the session.
    seq: u64,
    sessions: u32,
    held: Vec<u8>,
    /// Of the requests for members that it got.
    pub(super) nonces: Vec<String>,
    /// The newest connection has got bytes that no server sends: what comes of it may be anything.
    pub(super) spoilt: bool,
}

impl Gateway {
    pub(super) fn new(seq: u64) -> Self {
        Self {
            packer: Packer::Plain,
            seq,
            sessions: 0,
            held: Vec::new(),
            nonces: Vec::new(),
            spoilt: false,
        }
    }

    /// A connection has opened.
    pub(super) fn opened(&mut self, compression: Compression) {
        self.packer = match compression {
            Compression::Zlib => Packer::Zlib(ZlibStream::new()),
            Compression::Zstd => Packer::Zstd(ZstdStream::new()),
            Compression::Payload => Packer::Whole,
            _ => Packer::Plain,
        };
        self.held.clear();
        self.spoilt = false;
    }

    /// The messages that carry a payload.
    pub(super) fn frames(&mut self, payload: &Payload, wrap: Wrap) -> Vec<Frame> {
        let text = self.text(payload);
        match wrap {
            Wrap::Text => return vec![Frame::Text(text.into())],
            // Read as a piece of a stream if one has begun.
            Wrap::Binary => {
                self.spoilt = true;
                return vec![Frame::Binary(text.into())];
            }
            Wrap::Held if matches!(self.packer, Packer::Zlib(_)) => {
                self.held.extend(text);
                return Vec::new();
            }
            _ => {}
        }
        let mut packed = self.pack(text);
        match (wrap, &mut packed) {
            (Wrap::Cut(at), Frame::Binary(bytes)) => {
                let at = usize::from(at) % (bytes.len() + 1);
                // Only a zlib stream may be cut.
                self.spoilt |= !matches!(self.packer, Packer::Zlib(_));
                let rest = bytes.split_off(at);
                vec![Frame::Binary(bytes.clone()), Frame::Binary(rest)]
            }
            (Wrap::Damaged(how), Frame::Binary(bytes) | Frame::Text(bytes)) => {
                let mut damaged = bytes.to_vec();
                let at = usize::from(how) % damaged.len().max(1);
                if let Some(byte) = damaged.get_mut(at) {
                    *byte ^= (how >> 8) as u8 | 1;
                }
                self.spoilt = true;
                vec![Frame::Binary(damaged.into())]
            }
            (Wrap::AfterEmpty, _) => vec![Frame::Binary(Bytes::new()), packed],
            _ => vec![packed],
        }
    }

    fn pack(&mut self, text: Vec<u8>) -> Frame {
        match &mut self.packer {
            Packer::Plain => Frame::Text(text.into()),
            Packer::Zlib(stream) => {
                self.held.extend(text);
                Frame::Binary(stream.message(&std::mem::take(&mut self.held)).into())
            }
            Packer::Zstd(stream) => Frame::Binary(stream.message(&text).into()),
            Packer::Whole if text.len().is_multiple_of(2) => Frame::Text(text.into()),
            Packer::Whole => Frame::Binary(zlib_whole(&text)),
        }
    }

    fn text(&mut self, payload: &Payload) -> Vec<u8> {
        let text = match payload {
            Payload::Hello { millis } => {
                let millis = String::from_utf8_lossy(millis);
                format!(r#"{{"t":null,"s":null,"op":10,"d":{{"heartbeat_interval":{millis}}}}}"#)
            }
            Payload::Ready { seq, guilds, url } => self.ready(*seq, *guilds, *url),
            Payload::Resumed { seq } => self.dispatch("RESUMED", *seq, ""),
            Payload::Event { name, seq } => {
                let name = NAMES[usize::from(*name) % NAMES.len()];
                self.dispatch(name, *seq, "")
            }
            Payload::Guild { id, gone, seq } => {
                let name = if *gone {
                    "GUILD_DELETE"
                } else {
                    "GUILD_CREATE"
                };
                let unavailable = id & 64 != 0;
                self.dispatch(
                    name,
                    *seq,
                    &format!(r#","id":"{}","unavailable":{unavailable}"#, id % 8),
                )
            }
            Payload::Body { seq, body } => {
                let seq = self.number(*seq);
                let head = format!(r#"{{"t":"MESSAGE_CREATE","s":{},"op":0,"d":"#, json(seq));
                self.spoilt |= serde_json::from_slice::<serde_json::Value>(body).is_err();
                return [head.as_bytes(), body, b"}"].concat();
            }
            Payload::Chunk {
                back,
                index,
                count,
                items,
                seq,
            } => self.chunk(*back, *index, *count, *items, *seq),
            Payload::Limited { back, after, seq } => self.limited(*back, *after, *seq),
            Payload::Beat => r#"{"op":1,"d":null}"#.to_owned(),
            Payload::Ack => r#"{"t":null,"s":null,"op":11,"d":null}"#.to_owned(),
            Payload::Reconnect => r#"{"op":7,"d":null}"#.to_owned(),
            Payload::Invalid { data } => {
                let data = ["false", "true", "null", "{}"][usize::from(*data % 4)];
                format!(r#"{{"op":9,"d":{data}}}"#)
            }
            Payload::Other { op } => format!(r#"{{"d":{{}},"op":{op}}}"#),
        };
        text.into_bytes()
    }

    /// Mostly one of few, and one that there is.
    fn chunk(&mut self, back: u8, index: u8, count: u8, items: u8, seq: Seq) -> String {
        let count = match count {
            0..=200 => u32::from(count % 3) + 1,
            201..=250 => u32::from(count),
            _ => u32::MAX,
        };
        let index = if index > 250 {
            u32::MAX
        } else {
            u32::from(index) % count.min(4)
        };
        let member = r#"{"user":{"id":"5"},"roles":[]}"#;
        let members = vec![member; usize::from(items % 8)].join(",");
        let missing = vec![r#""7""#; usize::from(items / 64)].join(",");
        let nonce = self.nonce(back);
        let more = format!(
            r#","guild_id":"1",{nonce}"chunk_index":{index},"chunk_count":{count},"members":[{members}],"not_found":[{missing}]"#
        );
        self.dispatch("GUILD_MEMBERS_CHUNK", seq, &more)
    }

    fn limited(&mut self, back: u8, after: u8, seq: Seq) -> String {
        let nonce = self.nonce(back);
        let op = if after > 240 { 4 } else { 8 };
        let after = ["0", "0.25", "25.5", "1e300", "-1"][usize::from(after) % 5];
        let more =
            format!(r#","opcode":{op},"retry_after":{after},"meta":{{{nonce}"guild_id":"1"}}"#);
        self.dispatch("RATE_LIMITED", seq, &more)
    }

    fn nonce(&self, back: u8) -> String {
        let nonce = self.nonces.iter().rev().nth(back.into());
        nonce.map_or_else(String::new, |nonce| format!(r#""nonce":{nonce},"#))
    }

    fn ready(&mut self, seq: Seq, guilds: u8, url: u8) -> String {
        self.sessions += 1;
        self.seq = 0;
        let seq = self.number(seq);
        let guilds: Vec<_> = (0..guilds % 8)
            .map(|id| format!(r#"{{"id":"{id}","unavailable":true}}"#))
            .collect();
        let url = match url % 5 {
            0..=1 => r#","resume_gateway_url":"wss://resume.example""#,
            2 => r#","resume_gateway_url":"ws://weak.example""#,
            3 => r#","resume_gateway_url":7"#,
            _ => "",
        };
        let id = match url.len() % 7 {
            0 if self.sessions % 5 == 4 => String::new(),
            _ => format!("session-{}", self.sessions),
        };
        format!(
            r#"{{"t":"READY","s":{},"op":0,"d":{{"v":10,"session_id":"{id}","guilds":[{}]{url},"mark":{}}}}}"#,
            json(seq),
            guilds.join(","),
            json(seq),
        )
    }

    /// A dispatch whose body repeats its sequence, so that what is handed over can be told apart.
    fn dispatch(&mut self, name: &str, seq: Seq, more: &str) -> String {
        let seq = json(self.number(seq));
        format!(r#"{{"t":"{name}","s":{seq},"op":0,"d":{{"mark":{seq}{more}}}}}"#)
    }

    fn number(&mut self, seq: Seq) -> Option<u64> {
        let number = match seq {
            Seq::None => return None,
            Seq::Next => self.seq.saturating_add(1),
            Seq::Ahead(by) => self.seq.saturating_add(2 + u64::from(by)),
            Seq::Old(by) => return Some(self.seq.saturating_sub(by.into())),
            Seq::Huge => return Some(u64::MAX - 1),
        };
        self.seq = number;
        Some(number)
    }
}

fn json(seq: Option<u64>) -> String {
    seq.map_or_else(|| "null".to_owned(), |seq| seq.to_string())
}
