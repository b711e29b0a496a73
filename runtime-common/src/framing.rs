//! Messages on a byte stream that does not wait, by the websocket library, and what it holds given back when
//! nothing comes.

use std::io::{self, ErrorKind, Read, Write};
use std::task::Poll;

use shardwright_core::{Frame, TransportFault};
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

use crate::fault;

/// What a connection has brought.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum Incoming {
    /// A message.
    Frame(Frame),
    /// It is over.
    Ended(Box<Ended>),
}

/// How a connection has ended.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum Ended {
    /// The peer has closed the connection, perhaps with a code, or ended the stream.
    Closed(Option<u16>),
    /// It is broken.
    Failed(TransportFault),
}

/// The messages of one connection, apart from its stream.
#[derive(Debug)]
pub struct Framing {
    /// `None` at rest, as most are most of the time.
    context: Option<Box<WebSocketContext>>,
    config: WebSocketConfig,
    /// What was read with the upgrade's answer, and how much of it has been given.
    early: (Vec<u8>, usize),
    /// What the library has read and not returned, headers included. More than there is if messages come in
    /// fragments, whose headers are not seen here, and never less.
    inside: usize,
}

/// A stream of which is counted what is read.
struct Counted<'a, S> {
    stream: &'a mut S,
    early: &'a mut (Vec<u8>, usize),
    count: usize,
}

impl<S: Read> Read for Counted<'_, S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let (early, given) = &mut *self.early;
        let count = match early.get(*given..) {
            Some(mut rest @ [_, ..]) => {
                let count = rest.read(into)?;
                *given += count;
                if *given == early.len() {
                    *self.early = Default::default();
                }
                count
            }
            _ => self.stream.read(into)?,
        };
        self.count += count;
        Ok(count)
    }
}

impl<S: Write> Write for Counted<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Framing {
    /// The messages of a stream that has been upgraded, and what was read of it beyond that.
    #[must_use]
    pub fn new(early: Vec<u8>, config: WebSocketConfig) -> Self {
        Self {
            context: None,
            config,
            early: (early, 0),
            inside: 0,
        }
    }

    /// What comes next that is no matter of the library's alone.
    #[inline]
    pub fn read<S: Read + Write>(&mut self, stream: &mut S) -> Poll<Incoming> {
        loop {
            // Never with what was read early: the library would take its length for that of its buffer.
            let config = self.config;
            let context = self.context.get_or_insert_with(|| context(config));
            let mut counted = Counted {
                stream,
                early: &mut self.early,
                count: 0,
            };
            let message = next(context, &mut counted);
            self.inside += counted.count;
            let frame = match message {
                Ok(Message::Text(text)) => Frame::Text(text.into()),
                Ok(Message::Binary(bytes)) => Frame::Binary(bytes),
                Err(error) if would_block(&error) => return Poll::Pending,
                other => match self.other(stream, other) {
                    None => continue,
                    Some(how) => return Poll::Ready(Incoming::Ended(Box::new(how))),
                },
            };
            self.inside = self.inside.saturating_sub(size_on_the_line(frame.len()));
            return Poll::Ready(Incoming::Frame(frame));
        }
    }

    /// What is no data: whether and how the connection has ended.
    #[cold]
    fn other<S: Read + Write>(
        &mut self,
        stream: &mut S,
        message: Result<Message, Error>,
    ) -> Option<Ended> {
        if let Ok(message) = &message {
            self.inside = self.inside.saturating_sub(size_on_the_line(message.len()));
        }
        match message {
            Ok(Message::Close(frame)) => {
                // The library has queued the echo; it is sent if that takes no waiting.
                if let Some(context) = &mut self.context {
                    let _ = context.flush(stream);
                }
                Some(Ended::Closed(frame.map(|frame| frame.code.into())))
            }
            // Answered by the library.
            Ok(_) => None,
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => Some(Ended::Closed(None)),
            Err(error) => Some(Ended::Failed(fault(&error))),
        }
    }

    /// Takes a message.
    ///
    /// # Errors
    /// If the connection is broken.
    pub fn write<S: Read + Write>(
        &mut self,
        stream: &mut S,
        message: Message,
    ) -> Result<(), Error> {
        let config = self.config;
        let context = self.context.get_or_insert_with(|| context(config));
        match context.write(stream, message) {
            // It is in the library's buffer.
            Err(error) if would_block(&error) => Ok(()),
            other => other,
        }
    }

    /// Ready once all messages are out.
    ///
    /// # Errors
    /// If the connection is broken.
    pub fn flush<S: Read + Write>(&mut self, stream: &mut S) -> Poll<Result<(), Error>> {
        let flushed = match &mut self.context {
            Some(context) => context.flush(stream),
            // At rest the library has nothing to send; the stream itself may.
            None => stream.flush().map_err(Error::Io),
        };
        match flushed {
            Err(error) if would_block(&error) => Poll::Pending,
            other => Poll::Ready(other),
        }
    }

    /// Gives the memory back that nothing is in. The library keeps its buffers for as long as the connection
    /// lives, and one that was grown by a message of some size with it; but between two messages all that
    /// there is to know is that the connection is open.
    pub fn rest<S: Read + Write>(&mut self, stream: &mut S) {
        if self.inside == 0
            && self.context.as_ref().is_some_and(|context| context.can_write())
            // An answer to a ping may still be to be sent.
            && matches!(self.flush(stream), Poll::Ready(Ok(())))
        {
            self.context = None;
        }
    }
}

/// A call of its own: what it returns would be moved byte by byte.
#[inline(never)]
fn next<S: Read + Write>(context: &mut WebSocketContext, stream: &mut S) -> Result<Message, Error> {
    context.read(stream)
}

#[cold]
fn context(config: WebSocketConfig) -> Box<WebSocketContext> {
    Box::new(WebSocketContext::new(Role::Client, Some(config)))
}

/// The least that a message from a server takes. A fragmented one takes more.
#[inline]
fn size_on_the_line(len: usize) -> usize {
    let header = match len {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => 10,
    };
    header + len
}

/// Writes bytes past the messages of a stream that does not wait.
///
/// # Errors
/// If the connection is broken.
pub fn write_bytes(stream: &mut impl Write, bytes: &[u8]) -> Poll<io::Result<usize>> {
    match stream.write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
        other => Poll::Ready(other),
    }
}

fn would_block(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tungstenite::protocol::frame::Frame as WebSocketFrame;
    use tungstenite::protocol::frame::coding::{Data, OpCode};

    use super::*;
    use crate::dial::READ_BUFFER;

    /// Gives these bytes, at most so many at once, and would block after each piece; takes what is written
    /// unless it is blocked.
    struct Line {
        to_read: VecDeque<u8>,
        piece: usize,
        ready: bool,
        written: Vec<u8>,
        blocked: bool,
    }

    impl Read for Line {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            if !std::mem::replace(&mut self.ready, true) || self.to_read.is_empty() {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.ready = false;
            let most = self.piece.min(into.len());
            self.to_read.make_contiguous();
            let count = self.to_read.as_slices().0.len().min(most);
            for (to, byte) in into.iter_mut().zip(self.to_read.drain(..count)) {
                *to = byte;
            }
            Ok(count)
        }
    }

    impl Write for Line {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.blocked {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.written.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            match self.blocked {
                true => Err(ErrorKind::WouldBlock.into()),
                false => Ok(()),
            }
        }
    }

    fn line(bytes: Vec<u8>, piece: usize) -> Line {
        Line {
            to_read: bytes.into(),
            piece,
            ready: true,
            written: Vec::new(),
            blocked: false,
        }
    }

    fn frame(payload: &[u8], opcode: OpCode, last: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        let frame = WebSocketFrame::message(payload.to_vec(), opcode, last);
        frame.format(&mut bytes).unwrap();
        bytes
    }

    fn ping() -> Vec<u8> {
        let mut bytes = Vec::new();
        WebSocketFrame::ping(b"p".to_vec())
            .format(&mut bytes)
            .unwrap();
        bytes
    }

    fn binary(len: usize) -> Vec<u8> {
        frame(&vec![len as u8; len], OpCode::Data(Data::Binary), true)
    }

    fn config() -> WebSocketConfig {
        WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
    }

    /// What comes if the line rests whenever nothing is there, and how often buffers were given back.
    fn read_all(framing: &mut Framing, line: &mut Line) -> (Vec<Frame>, usize) {
        let (mut messages, mut rests) = (Vec::new(), 0);
        loop {
            match framing.read(line) {
                Poll::Ready(Incoming::Frame(message)) => messages.push(message),
                Poll::Ready(other) => panic!("{other:?}"),
                Poll::Pending => {
                    framing.rest(line);
                    rests += usize::from(framing.context.is_none());
                    if line.to_read.is_empty() {
                        return (messages, rests);
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_is_lost_by_resting_whatever_the_pieces() {
        let sizes = [0, 1, 125, 126, 5000, 65_535, 65_536, 3, 20_000, 7];
        let bytes: Vec<u8> = sizes.into_iter().flat_map(binary).collect();
        for piece in [1, 2, 3, 11, 4096, 4097, 1_000_000] {
            for early in [0, 1, 300] {
                let mut line = line(bytes[early..].to_vec(), piece);
                let mut framing = Framing::new(bytes[..early].to_vec(), config());
                let (messages, rests) = read_all(&mut framing, &mut line);
                assert_eq!(messages.len(), sizes.len(), "{piece}");
                for (got, size) in messages.iter().map(Frame::as_bytes).zip(sizes) {
                    assert!(got.len() == size && got.iter().all(|byte| *byte == size as u8));
                }
                assert!(rests > 0, "{piece}: at the end nothing is inside");
                assert_eq!(framing.inside, 0);
            }
        }
    }

    #[test]
    fn what_comes_in_fragments_is_never_cut() {
        let bytes = [
            binary(5000),
            frame(&[1; 5000], OpCode::Data(Data::Binary), false),
            ping(),
            frame(&[1; 70_000], OpCode::Data(Data::Continue), true),
            binary(5000),
        ]
        .concat();
        for piece in [1, 100, 5004, 5005, 10_008, 1_000_000] {
            let mut line = line(bytes.clone(), piece);
            let mut framing = Framing::new(Vec::new(), config());
            let (messages, _) = read_all(&mut framing, &mut line);
            let sizes: Vec<usize> = messages.iter().map(Frame::len).collect();
            assert_eq!(sizes, [5000, 75_000, 5000], "{piece}");
            // The pong is masked: two bytes, the mask, its content.
            assert_eq!(line.written.len(), 7, "{piece}");
        }
    }

    #[test]
    fn what_is_not_returned_yet_is_no_reason_to_rest() {
        let mut line = line([binary(10), binary(20), binary(30)].concat(), 1_000_000);
        let mut framing = Framing::new(Vec::new(), config());
        assert!(framing.read(&mut line).is_ready());
        framing.rest(&mut line);
        let (messages, _) = read_all(&mut framing, &mut line);
        let sizes: Vec<usize> = messages.iter().map(Frame::len).collect();
        assert_eq!(sizes, [20, 30]);
    }

    #[test]
    fn an_answer_to_a_ping_is_sent_first() {
        let bytes = [binary(5000), ping()].concat();
        let mut line = line(bytes, 1_000_000);
        line.blocked = true;
        let mut framing = Framing::new(Vec::new(), config());
        let (messages, rests) = read_all(&mut framing, &mut line);
        assert_eq!((messages.len(), rests), (1, 0));
        line.blocked = false;
        framing.rest(&mut line);
        assert_eq!(line.written.len(), 7);
        assert!(framing.context.is_none());
    }

    /// What goes past the library, over TLS for example, may still be under way.
    #[test]
    fn at_rest_too_a_stream_that_cannot_be_flushed_yet_is_waited_for() {
        let mut line = line(Vec::new(), 1);
        let mut framing = Framing::new(Vec::new(), config());
        line.blocked = true;
        assert!(framing.flush(&mut line).is_pending());
        line.blocked = false;
        assert!(matches!(framing.flush(&mut line), Poll::Ready(Ok(()))));
    }

    #[test]
    fn a_line_that_is_being_closed_keeps_its_state() {
        let mut line = line(binary(5000), 1_000_000);
        let mut framing = Framing::new(Vec::new(), config());
        let (messages, _) = read_all(&mut framing, &mut line);
        assert_eq!(messages.len(), 1);
        framing.write(&mut line, Message::Close(None)).unwrap();
        framing.rest(&mut line);
        let again = framing.write(&mut line, Message::Ping(Default::default()));
        assert!(again.is_err(), "nothing goes out behind a close frame");
    }
}
