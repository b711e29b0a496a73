//! The answer to an upgrade request, read to its end and not a byte further than the library is given.

use std::io;
use std::task::Poll;

/// How much is read at once: a usual answer.
const AT_ONCE: usize = 1024;

/// Stands between a byte stream and the library that upgrades it. What has come behind the answer stays
/// here, for whoever reads messages.
#[derive(Debug, Default)]
pub struct UpgradeReader {
    bytes: Vec<u8>,
    /// What of it the library has had.
    given: usize,
    /// The last line feed ended a line, and nothing has followed it.
    at_line_start: bool,
    ended: bool,
}

impl UpgradeReader {
    /// Gives bytes of the answer, reading with `read` if there are none, which says how many bytes it has
    /// put into the buffer.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn poll_read(
        &mut self,
        into: &mut [u8],
        read: impl FnOnce(&mut [u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.given == self.bytes.len() {
            self.bytes.resize(AT_ONCE, 0);
            let count = match read(&mut self.bytes) {
                Poll::Ready(Ok(count)) => count,
                nothing => {
                    self.bytes.clear();
                    self.given = 0;
                    return nothing;
                }
            };
            self.bytes.truncate(count);
            self.given = 0;
        }
        let there = self.bytes.get(self.given..).unwrap_or_default();
        let there = there.get(..into.len()).unwrap_or(there);
        let mut count = there.len();
        if !self.ended {
            for (index, byte) in there.iter().enumerate() {
                match byte {
                    b'\n' if self.at_line_start => {
                        self.ended = true;
                        count = index + 1;
                        break;
                    }
                    b'\n' => self.at_line_start = true,
                    b'\r' => {}
                    _ => self.at_line_start = false,
                }
            }
        }
        into[..count].copy_from_slice(&there[..count]);
        self.given += count;
        Poll::Ready(Ok(count))
    }

    /// What has come behind the answer.
    #[must_use]
    pub fn rest(mut self) -> Vec<u8> {
        self.bytes.split_off(self.given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads an answer that comes in pieces of this size, with a buffer of that one, as a library does: it
    /// stops at the end. Gives what it was given and what is left.
    fn read(all: &[u8], piece: usize, buffer: usize) -> (Vec<u8>, Vec<u8>) {
        let mut reader = UpgradeReader::default();
        let (mut line, mut got) = (all, Vec::new());
        let mut into = vec![0; buffer];
        while !got.ends_with(b"\r\n\r\n") && !got.ends_with(b"\n\n") {
            let read = reader.poll_read(&mut into, |into| {
                let count = piece.min(into.len()).min(line.len());
                into[..count].copy_from_slice(&line[..count]);
                line = &line[count..];
                Poll::Ready(Ok(count))
            });
            match read {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) | Poll::Pending => break,
                Poll::Ready(Ok(count)) => got.extend_from_slice(&into[..count]),
            }
        }
        let mut rest = reader.rest();
        rest.extend_from_slice(line);
        (got, rest)
    }

    #[test]
    fn what_follows_the_answer_is_left() {
        for end in ["\r\n\r\n", "\n\n"] {
            let answer = format!("HTTP/1.1 101 Switching\r\nA: b{end}");
            for behind in ["", "\n\r\n\r\n", "\u{1}frames\n\n"] {
                let all = [answer.as_bytes(), behind.as_bytes()].concat();
                for piece in [1, 2, 3, 7, 2000] {
                    for buffer in [1, 5, 4096] {
                        let (got, rest) = read(&all, piece, buffer);
                        assert_eq!(got, answer.as_bytes(), "{piece} {buffer}");
                        assert_eq!(rest, behind.as_bytes(), "{piece} {buffer}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_answer_without_an_end_is_all_given() {
        let (got, rest) = read(b"HTTP/1.1 200 OK\r\n", 3, 8);
        assert_eq!(
            (got.as_slice(), rest.as_slice()),
            (&b"HTTP/1.1 200 OK\r\n"[..], &[][..])
        );
    }

    #[test]
    fn a_line_that_breaks_or_waits_loses_nothing() {
        let mut reader = UpgradeReader::default();
        let mut into = [0; 8];
        assert!(reader.poll_read(&mut into, |_| Poll::Pending).is_pending());
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        let broken = reader.poll_read(&mut into, |_| Poll::Ready(Err(reset())));
        assert!(matches!(broken, Poll::Ready(Err(_))));
        assert!(reader.rest().is_empty());
    }
}
