//! Reads ahead while a line is busy.
//!
//! A websocket keeps its read buffer for as long as it lives, so a small one is all that thousands of shards
//! at rest can afford; but a busy line read in small pieces costs a system call for each. So there is a
//! large buffer for a line that fills the small one, until it rests, and only for so many lines at a time.

use std::io;
use std::sync::atomic::AtomicUsize;
use std::task::Poll;

use crate::permit::Permit;

/// What is read at once from a busy line.
const AHEAD: usize = 16 * 1024;
/// What is read at once from one that has been busy for long.
const FAR_AHEAD: usize = 64 * 1024;
/// How much more often than not the one is filled before it becomes the other: the guilds of a session that starts
/// fit into less, and all shards of a bot may start together.
const LONG: u8 = 32;
/// A line that gives less than this at once is not busy any more.
const BUSY: usize = 4 * 1024;
/// A buffer smaller than this says nothing when it is full.
const SMALL: usize = 1024;

/// So many lines of a process may read ahead at a time.
const MOST_AHEAD: usize = 32;

/// How many do.
static AHEAD_NOW: AtomicUsize = AtomicUsize::new(0);

/// A byte stream under a websocket.
#[derive(Debug)]
pub struct Bursts<S> {
    stream: S,
    /// Empty unless the line has been busy since it rested.
    ahead: Box<[u8]>,
    permit: Option<Permit>,
    permits: &'static AtomicUsize,
    /// What of it is still to be given.
    from: usize,
    until: usize,
    busy: bool,
    /// How much more often than not the large buffer was filled.
    filled: u8,
}

impl<S> Bursts<S> {
    /// This stream, not busy.
    pub fn new(stream: S) -> Self {
        Self::among(&AHEAD_NOW, stream)
    }

    fn among(permits: &'static AtomicUsize, stream: S) -> Self {
        Self {
            stream,
            ahead: Box::default(),
            permit: None,
            permits,
            from: 0,
            until: 0,
            busy: false,
            filled: 0,
        }
    }

    /// The stream itself.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The stream itself, to write to.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Reads: from what is there, or from the stream with `read`, which says how many bytes it has put into
    /// the buffer.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn poll_read(
        &mut self,
        into: &mut [u8],
        read: impl FnOnce(&mut S, &mut [u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.from == self.until {
            if self.busy && self.permit.is_none() {
                self.permit = Permit::take(self.permits, MOST_AHEAD);
            }
            if !self.busy || self.permit.is_none() {
                let result = read(&mut self.stream, into);
                let full = matches!(result, Poll::Ready(Ok(count)) if count == into.len());
                self.busy = full && into.len() >= SMALL;
                if !self.busy {
                    // Others may want to read ahead.
                    match self.filled.checked_sub(1) {
                        Some(less) => self.filled = less,
                        None => self.rest(),
                    }
                }
                return result;
            }
            if self.ahead.is_empty() {
                self.ahead = vec![0; AHEAD].into_boxed_slice();
            } else if self.filled == LONG && self.ahead.len() < FAR_AHEAD {
                self.ahead = vec![0; FAR_AHEAD].into_boxed_slice();
            }
            let count = match read(&mut self.stream, &mut self.ahead) {
                Poll::Ready(Ok(count)) => count,
                nothing => return nothing,
            };
            (self.from, self.until) = (0, count);
            self.busy = count >= BUSY;
            self.filled = match count < self.ahead.len() {
                true => self.filled.saturating_sub(1),
                false => self.filled.saturating_add(1).min(LONG),
            };
        }
        let there = self.ahead.get(self.from..self.until).unwrap_or_default();
        let count = there.len().min(into.len());
        into[..count].copy_from_slice(&there[..count]);
        self.from += count;
        Poll::Ready(Ok(count))
    }

    /// Gives the large buffer back, if nothing is in it: nothing more has come.
    pub fn rest(&mut self) {
        if self.from < self.until {
            return;
        }
        self.busy = false;
        self.filled = 0;
        self.ahead = Box::default();
        self.permit = None;
    }
}

/// For streams that do not wait.
impl<S: io::Read> io::Read for Bursts<S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.poll_read(into, |stream, buffer| Poll::Ready(stream.read(buffer)));
        match read {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl<S: io::Write> io::Write for Bursts<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io::Read;
    use std::sync::atomic::Ordering;

    use super::*;

    /// Gives these pieces, then would block; says how much was asked for at once.
    struct Line {
        pieces: VecDeque<Vec<u8>>,
        asked: Vec<usize>,
    }

    impl Read for Line {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.asked.push(into.len());
            let Some(mut piece) = self.pieces.pop_front() else {
                return Err(io::ErrorKind::WouldBlock.into());
            };
            let count = piece.len().min(into.len());
            into[..count].copy_from_slice(&piece[..count]);
            if count < piece.len() {
                self.pieces.push_front(piece.split_off(count));
            }
            Ok(count)
        }
    }

    fn line(sizes: &[usize]) -> (Bursts<Line>, Vec<u8>) {
        let all: Vec<u8> = (0..sizes.iter().sum())
            .map(|at: usize| (at % 251) as u8)
            .collect();
        let mut rest = all.as_slice();
        let mut pieces = VecDeque::new();
        for size in sizes {
            let (piece, after) = rest.split_at(*size);
            pieces.push_back(piece.to_vec());
            rest = after;
        }
        let asked = Vec::new();
        (Bursts::new(Line { pieces, asked }), all)
    }

    fn drain(line: &mut Bursts<Line>) -> Vec<u8> {
        let mut got = Vec::new();
        let mut buffer = [0; 8192];
        while let Ok(count) = line.read(&mut buffer) {
            got.extend_from_slice(&buffer[..count]);
        }
        line.rest();
        got
    }

    #[test]
    fn everything_comes_in_order_whatever_the_pieces() {
        for sizes in [
            &[1, 2, 3][..],
            &[8192],
            &[300_000],
            &[8192, 100, 8192, 8192, 65_536, 65_537, 1],
            &[100_000, 5, 100_000, 5],
        ] {
            let (mut line, all) = line(sizes);
            assert!(drain(&mut line) == all, "{sizes:?}");
            assert!(line.ahead.is_empty(), "nothing is held by a line at rest");
        }
    }

    #[test]
    fn only_a_busy_line_is_read_in_large_pieces() {
        let (mut at_rest, _) = line(&[500, 8191, 20]);
        drain(&mut at_rest);
        assert_eq!(at_rest.stream.asked, [8192; 4]);
        let (mut busy, _) = line(&[8192, AHEAD + 4464, 300]);
        drain(&mut busy);
        assert_eq!(busy.stream.asked, [8192, AHEAD, AHEAD, AHEAD, 8192]);
    }

    #[test]
    fn one_that_does_not_rest_keeps_what_it_has() {
        let (mut line, _) = line(&[8192, 9000]);
        let mut buffer = [0; 8192];
        while line.read(&mut buffer).is_ok() {}
        assert_eq!(line.ahead.len(), AHEAD);
        // A small read goes past it, and it is there when much comes again.
        line.stream.pieces.extend([vec![1; 100], vec![1; 20]]);
        while line.read(&mut buffer).is_ok() {}
        line.stream.pieces.extend([vec![1; 8192], vec![1; 9000]]);
        while line.read(&mut buffer).is_ok() {}
        assert_eq!(
            line.stream.asked,
            [8192, AHEAD, AHEAD, AHEAD, 8192, 8192, 8192, AHEAD, AHEAD]
        );
        line.rest();
        assert!(line.ahead.is_empty() && line.permit.is_none());
    }

    #[test]
    fn one_that_is_not_busy_any_more_lets_others_read_ahead() {
        let (mut line, _) = line(&[8192 + 40 * AHEAD]);
        let mut buffer = [0; 8192];
        while line.read(&mut buffer).is_ok() {}
        assert_eq!(line.ahead.len(), FAR_AHEAD);
        for reads in 0..=u32::from(LONG) {
            assert!(line.permit.is_some(), "after {reads} small reads");
            line.stream.pieces.push_back(vec![1; 100]);
            assert_eq!(line.read(&mut buffer).unwrap(), 100);
        }
        assert!(line.permit.is_none() && line.ahead.is_empty());
    }

    #[test]
    fn one_that_is_busy_for_long_is_read_in_larger_ones() {
        let (mut busy, _) = line(&[8192 + 40 * AHEAD]);
        drain(&mut busy);
        let asked = &busy.stream.asked;
        assert_eq!(asked[1..33], [AHEAD; 32]);
        assert_eq!(asked[33..], [FAR_AHEAD; 3]);
    }

    #[test]
    fn only_so_many_lines_read_ahead_at_a_time() {
        static NOW: AtomicUsize = AtomicUsize::new(0);
        let mut lines: Vec<_> = (0..2 * MOST_AHEAD)
            .map(|_| Bursts::among(&NOW, line(&[8192, 60_000]).0.stream))
            .collect();
        let mut buffer = [0; 8192];
        for line in &mut lines {
            for _ in 0..2 {
                assert_eq!(line.read(&mut buffer).unwrap(), 8192);
            }
        }
        let ahead = |line: &&Bursts<Line>| !line.ahead.is_empty();
        assert_eq!(lines.iter().filter(ahead).count(), MOST_AHEAD);
        // Those that may not get all the same.
        for line in &mut lines {
            assert_eq!(drain(line).len(), 60_000 - 8192);
        }
        assert_eq!(NOW.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_broken_line_says_so_and_holds_nothing() {
        struct Broken(bool);
        impl Read for Broken {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                match std::mem::replace(&mut self.0, true) {
                    false => Ok(into.len()),
                    true => Err(io::ErrorKind::ConnectionReset.into()),
                }
            }
        }
        let mut line = Bursts::new(Broken(false));
        let mut buffer = [0; 8192];
        assert_eq!(line.read(&mut buffer).unwrap(), 8192);
        let error = line.read(&mut buffer).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        line.rest();
        assert!(line.ahead.is_empty());
    }
}
