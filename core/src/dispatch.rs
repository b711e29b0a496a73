//! One event from Discord: its name, its identity and its body as raw JSON.

use std::fmt;
use std::str::Utf8Error;

use bytes::Bytes;
use serde::Deserialize;

use crate::envelope::Usual;
use crate::span::Span;
use crate::{Envelope, EventId, PayloadBuf};

/// An event from Discord. Its body is raw JSON, parsed only when asked, into whatever the consumer
/// likes.
pub struct Dispatch<'m> {
    id: EventId,
    name: Name,
    data: Span,
    size: u32,
    payload: PayloadBuf<'m>,
}

/// Where the name stands: in the payload, or on its own when JSON escapes had to be resolved.
#[derive(Clone, Debug)]
enum Name {
    InPayload(Span),
    Unescaped(Box<str>),
}

impl<'m> Dispatch<'m> {
    #[inline(always)]
    pub(crate) fn new(id: EventId, header: DispatchHeader, payload: PayloadBuf<'m>) -> Self {
        let size = Span::from(0..payload.as_bytes().len()).len() as u32;
        Self {
            id,
            name: header.name,
            data: header.data,
            size,
            payload,
        }
    }

    /// Its identity, for [`Acknowledged`](crate::Input::Acknowledged).
    #[must_use]
    #[inline]
    pub fn id(&self) -> EventId {
        self.id
    }

    /// Discord's name for it, such as `MESSAGE_CREATE`.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.name {
            Name::InPayload(span) => {
                std::str::from_utf8(span.of(self.payload.as_bytes())).unwrap_or_default()
            }
            Name::Unescaped(name) => name,
        }
    }

    /// The body (`d`) as it came: JSON text that nobody has verified yet. Empty if there was none.
    #[must_use]
    #[inline]
    pub fn data(&self) -> &[u8] {
        self.data.of(self.payload.as_bytes())
    }

    /// The body as text.
    ///
    /// # Errors
    /// If it is not UTF-8, which Discord should never send.
    pub fn text(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(self.data())
    }

    /// Parses the body; what is borrowed points into the payload.
    ///
    /// # Errors
    /// If the body is not valid JSON or does not fit the type. The error concerns this event alone:
    /// the connection goes on.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(self.data())
    }

    /// The size of the whole payload in bytes, decompressed, as it came.
    #[must_use]
    pub fn payload_size(&self) -> usize {
        self.size as usize
    }

    /// Makes it independent of the machine's buffers: below 64 KiB its bytes are copied, above the
    /// buffer itself is handed over.
    #[must_use]
    #[inline]
    pub fn into_owned(self) -> Dispatch<'static> {
        self.into_owned_with(Bytes::copy_from_slice)
    }

    /// The same, with a way of one's own to copy what is not handed over: many events into one allocation, for
    /// example, which then lives as long as any of them.
    #[must_use]
    #[inline]
    pub fn into_owned_with(self, copy: impl FnOnce(&[u8]) -> Bytes) -> Dispatch<'static> {
        let Self {
            id,
            name,
            data,
            size,
            payload,
        } = self;
        let (keep, name, data) = match name {
            Name::InPayload(name) => {
                let keep = name.with(data);
                (keep, Name::InPayload(name.within(keep)), data.within(keep))
            }
            name @ Name::Unescaped(_) => (data, name, data.within(data)),
        };
        let bytes: Bytes = payload.into_bytes_with(keep.range(), copy);
        Dispatch {
            id,
            name,
            data,
            size,
            payload: PayloadBuf::from(bytes),
        }
    }
}

impl Dispatch<'static> {
    /// Copies it into an allocation of its own, whatever it shares one with: worth it for a small event that is
    /// kept for long.
    #[must_use]
    pub fn compact(self) -> Self {
        let bytes = Bytes::copy_from_slice(self.payload.as_bytes());
        Self {
            payload: PayloadBuf::from(bytes),
            ..self
        }
    }
}

impl fmt::Debug for Dispatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatch")
            .field("id", &self.id)
            .field("name", &self.name())
            .field("bytes", &self.size)
            .finish()
    }
}

/// Where name and body stand in a payload.
#[derive(Clone, Debug)]
pub(crate) struct DispatchHeader {
    name: Name,
    data: Span,
}

impl DispatchHeader {
    pub(crate) fn of(envelope: &Envelope<'_>) -> Self {
        let name = match (envelope.name_range(), &envelope.name) {
            (Some(range), _) => Name::InPayload(range.into()),
            (None, Some(name)) => Name::Unescaped(name.as_ref().into()),
            (None, None) => Name::Unescaped(Box::default()),
        };
        Self {
            name,
            data: envelope.data.clone().into(),
        }
    }

    /// Of an envelope whose name stands in the payload as it is.
    #[inline]
    pub(crate) fn of_usual(usual: &Usual) -> Self {
        Self {
            name: Name::InPayload(usual.name),
            data: usual.data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ShardId;

    fn event(text: &str) -> Dispatch<'static> {
        let header = DispatchHeader::of(&Envelope::scan(text.as_bytes()).unwrap());
        let id = EventId {
            shard: ShardId::new(0, 1).unwrap(),
            session: 1,
            seq: 7,
        };
        Dispatch::new(id, header, PayloadBuf::from(Bytes::from(text.to_owned())))
    }

    #[test]
    fn an_event_that_is_kept_says_the_same() {
        for text in [
            r#"{"t":"TYPING_START","s":7,"op":0,"d":{"a":1}}"#,
            r#"{"d":{"a":1},"op":0,"s":7,"t":"TYPING_START"}"#,
            r#"{"op":0,"d":{"a":1},"t":"TYPING_\u0053TART","s":7}"#,
        ] {
            for event in [event(text), event(text).into_owned()] {
                assert_eq!(event.name(), "TYPING_START", "{text}");
                assert_eq!(event.data(), br#"{"a":1}"#, "{text}");
                assert_eq!(event.text(), Ok(r#"{"a":1}"#));
                assert_eq!(event.payload_size(), text.len());
            }
        }
    }

    #[test]
    fn a_compact_event_shares_nothing() {
        let text = r#"{"t":"TYPING_START","s":7,"op":0,"d":{"a":1}}"#;
        let others = Bytes::from(format!("{text}{text}"));
        let header = DispatchHeader::of(&Envelope::scan(text.as_bytes()).unwrap());
        let id = event(text).id();
        let shared = PayloadBuf::from(others.slice(text.len()..));
        let compact = Dispatch::new(id, header, shared).compact();
        assert!(others.is_unique());
        assert_eq!((compact.id(), compact.name()), (id, "TYPING_START"));
        assert_eq!(
            (compact.data(), compact.payload_size()),
            (&br#"{"a":1}"#[..], text.len())
        );
    }
}
