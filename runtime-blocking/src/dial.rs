//! Opens websockets on a few short-lived threads: looks a name up, connects, encrypts, upgrades, and hands
//! the socket over to its shard's thread.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};
use shardwright_core::TransportFault;
use shardwright_runtime::{Bursts, Framing, Target, UpgradeReader, fault, io_fault, tunnel};
use socket2::SockRef;
use tungstenite::HandshakeError;
use tungstenite::client::client_with_config;

/// So many dials go on at one time, for all shards of a bot.
const AT_ONCE: usize = 16;

/// A TCP stream that gives up at its deadline while it still blocks.
pub(crate) struct Tcp {
    pub(crate) stream: Bursts<mio::net::TcpStream>,
    deadline: Option<Instant>,
}

/// A byte stream, encrypted or not.
pub(crate) enum Bytes {
    Plain(Tcp),
    Tls(Box<StreamOwned<ClientConnection, Tcp>>),
}

impl Tcp {
    fn new(stream: TcpStream, deadline: Instant) -> Self {
        Self {
            stream: Bursts::new(mio::net::TcpStream::from_std(stream)),
            deadline: Some(deadline),
        }
    }

    /// How long one call may still wait.
    fn set_patience(&self) -> io::Result<()> {
        let Some(deadline) = self.deadline else {
            return Ok(());
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let socket = SockRef::from(self.stream.get_ref());
        socket.set_read_timeout(Some(left))?;
        socket.set_write_timeout(Some(left))
    }

    /// A wait that ended at the deadline.
    fn too_late<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock if self.deadline.is_some() => io::ErrorKind::TimedOut.into(),
            _ => error,
        })
    }
}

impl Read for Tcp {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.set_patience()?;
        let read = self.stream.read(buffer);
        self.too_late(read)
    }
}

impl Write for Tcp {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.set_patience()?;
        let written = self.stream.write(buffer);
        self.too_late(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Bytes {
    pub(crate) fn tcp(&mut self) -> &mut Tcp {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => &mut tls.sock,
        }
    }

    /// Whether something has been decrypted that nobody has read yet.
    pub(crate) fn holds(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            // Then, and at the end of the stream, no more is wanted.
            Self::Tls(tls) => !tls.conn.wants_read(),
        }
    }
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Bytes {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(buffer),
            Self::Tls(tls) => tls.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}

/// A stream that is being upgraded.
struct Upgrading {
    bytes: Bytes,
    answer: UpgradeReader,
}

impl Read for Upgrading {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Self { bytes, answer } = self;
        match answer.poll_read(into, |buffer| Poll::Ready(bytes.read(buffer))) {
            Poll::Ready(read) => read,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Upgrading {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.bytes.flush()
    }
}

type Opened = Result<(Bytes, Framing), TransportFault>;

/// A dial that somebody waits for.
struct Job {
    target: Target,
    deadline: Instant,
    reply: Reply,
}

struct Reply {
    opened: Sender<Opened>,
    waker: Waker,
}

/// The dials of one bot.
#[derive(Clone, Default)]
pub(crate) struct Diallers(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
}

impl Diallers {
    /// Dials; the waker is woken when the result can be received.
    pub(crate) fn dial(&self, target: Target, waker: Waker) -> std::sync::mpsc::Receiver<Opened> {
        let (opened, receiver) = channel();
        let mut queue = self.lock();
        queue.jobs.push_back(Job {
            deadline: Instant::now() + target.time_allowed,
            target,
            reply: Reply { opened, waker },
        });
        if queue.threads < AT_ONCE {
            let diallers = self.clone();
            let thread = thread::Builder::new().name("shardwright-dial".to_owned());
            match thread.spawn(move || diallers.work()) {
                Ok(_) => queue.threads += 1,
                Err(error) if queue.threads == 0 => {
                    // Nobody will take it: the shard tries again later.
                    if let Some(job) = queue.jobs.pop_back() {
                        let fault = TransportFault::Other(format!("no thread: {error}"));
                        job.reply.send(Err(fault));
                    }
                }
                Err(_) => {}
            }
        }
        receiver
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread does: one dial after the other, until there are none.
    fn work(&self) {
        loop {
            let job = {
                let mut queue = self.lock();
                let Some(job) = queue.jobs.pop_front() else {
                    queue.threads -= 1;
                    return;
                };
                job
            };
            job.reply.send(open(job.target, job.deadline));
        }
    }
}

impl Reply {
    fn send(self, result: Opened) {
        // Its shard may have given it up.
        let _ = self.opened.send(result);
        self.waker.wake();
    }
}

fn open(target: Target, deadline: Instant) -> Opened {
    let tcp = connect(&target, deadline).map_err(|why| target.unreached(why))?;
    let mut tcp = Tcp::new(tcp, deadline);
    if let Some(dialogue) = target.tunnel {
        tunnel(&mut tcp, dialogue)?;
    }
    let bytes = match target.tls {
        Some((config, name)) => {
            let tls = ClientConnection::new(config, name)
                .map_err(|error| TransportFault::Tls(error.to_string()))?;
            Bytes::Tls(Box::new(StreamOwned::new(tls, tcp)))
        }
        None => Bytes::Plain(tcp),
    };
    let answer = UpgradeReader::default();
    let upgrading = Upgrading { bytes, answer };
    let upgrade = client_with_config(target.request, upgrading, Some(target.config));
    let (socket, _) = upgrade.map_err(|error| match error {
        HandshakeError::Failure(error) => fault(&error),
        HandshakeError::Interrupted(_) => TransportFault::TimedOut,
    })?;
    let Upgrading { mut bytes, answer } = socket.into_inner();
    let tcp = bytes.tcp();
    tcp.deadline = None;
    // From here on it waits in its shard's poll.
    let ready = SockRef::from(tcp.stream.get_ref()).set_nonblocking(true);
    ready.map_err(|error| io_fault(&error))?;
    Ok((bytes, Framing::new(answer.rest(), target.config)))
}

/// Tries the addresses in order.
fn connect(target: &Target, deadline: Instant) -> Result<TcpStream, TransportFault> {
    let addresses: Vec<SocketAddr> = (target.host.as_str(), target.port)
        .to_socket_addrs()
        .map_err(|_| TransportFault::NameLookup)?
        .collect();
    let time = target.time_for_each(addresses.len());
    let mut fault = TransportFault::NameLookup;
    for address in addresses {
        let left = deadline.saturating_duration_since(Instant::now());
        match TcpStream::connect_timeout(&address, time.min(left).max(Duration::from_millis(1))) {
            Ok(tcp) => {
                // Frames are small and complete; waiting to fill packets only delays beats.
                let _ = tcp.set_nodelay(true);
                return Ok(tcp);
            }
            Err(error) => fault = io_fault(&error),
        }
    }
    Err(fault)
}
