//! Cuts, splits, merges and damages messages on their way out.

use bytes::Bytes;

use crate::scenario::{Damage, Level};

/// Cuts `bytes` into pieces of these sizes, over and over; at least one piece.
pub(super) fn pieces<'a>(bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    let mut sizes = sizes.iter().map(|size| (*size).max(1)).cycle();
    while !rest.is_empty() {
        let size = sizes.next().unwrap_or(rest.len()).min(rest.len());
        let (piece, after) = rest.split_at(size);
        pieces.push(piece);
        rest = after;
    }
    if pieces.is_empty() {
        pieces.push(bytes);
    }
    pieces
}

/// The payload with one kind of damage that happens before compression.
pub(super) fn damage_payload(payload: &Bytes, how: Damage) -> Bytes {
    let mut bytes = payload.to_vec();
    match how {
        Damage::BadUtf8 => {
            // The last letter that stands between letters is inside a string or a key of it.
            let at = (1..bytes.len().saturating_sub(1))
                .rev()
                .find(|at| bytes[at - 1..=at + 1].iter().all(u8::is_ascii_alphabetic));
            if let Some(at) = at {
                bytes[at] = 0xFF;
            }
        }
        Damage::Unfinished => {
            bytes.pop();
        }
        Damage::Flip | Damage::NoSuffix => {}
    }
    bytes.into()
}

/// The message's bytes with one kind of damage that happens after compression.
pub(super) fn damage_message(message: &Bytes, how: Damage) -> Bytes {
    let mut bytes = message.to_vec();
    match how {
        Damage::Flip => {
            let middle = bytes.len() / 2;
            if let Some(byte) = bytes.get_mut(middle) {
                *byte ^= 0x10;
            }
        }
        Damage::NoSuffix => bytes.truncate(bytes.len().saturating_sub(4)),
        Damage::BadUtf8 | Damage::Unfinished => {}
    }
    bytes.into()
}

/// How the next messages of a connection are cut.
#[derive(Clone, Debug)]
pub(super) struct Split {
    pub(super) sizes: Vec<usize>,
    pub(super) level: Level,
    pub(super) left: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_put_together_are_the_whole() {
        for sizes in [vec![1], vec![3, 1], vec![0], vec![100], vec![]] {
            assert_eq!(pieces(b"abcdefgh", &sizes).concat(), b"abcdefgh");
        }
        assert_eq!(
            pieces(b"abcdefgh", &[3, 1]),
            [&b"abc"[..], b"d", b"efg", b"h"]
        );
        assert_eq!(pieces(b"", &[3]), [b""]);
    }

    #[test]
    fn damage_is_where_it_should_be() {
        let payload = Bytes::from_static(br#"{"t":"X","d":{"name":"words"}}"#);
        let bad = damage_payload(&payload, Damage::BadUtf8);
        assert!(std::str::from_utf8(&bad).is_err());
        assert_eq!(bad.len(), payload.len());
        assert_eq!(
            damage_payload(&payload, Damage::Unfinished).len() + 1,
            payload.len()
        );
        assert_ne!(damage_message(&payload, Damage::Flip), payload);
        assert_eq!(
            damage_message(&payload, Damage::NoSuffix).len() + 4,
            payload.len()
        );
    }
}
