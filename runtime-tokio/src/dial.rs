//! Opens a websocket: TCP, TLS, upgrade.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use shardwright_core::{ProxyDialogue, ProxyStep, TransportFault};
use shardwright_runtime::{
    Bursts, ByteStream, StreamSocket, Target, UpgradeReader, fault, io_fault, unreached,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::client_async_with_config;

/// A byte stream, encrypted or not.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {
    /// Whether something has been decrypted that nobody has read yet.
    fn holds(&self) -> bool;
    /// Gives memory back that nothing is in.
    fn rest(&mut self);
}

impl Io for Line {
    fn holds(&self) -> bool {
        false
    }

    fn rest(&mut self) {
        self.0.rest();
    }
}

impl Io for TlsStream<Line> {
    fn holds(&self) -> bool {
        // Then, and at the end of the stream, no more is wanted.
        !self.get_ref().1.wants_read()
    }

    fn rest(&mut self) {
        self.get_mut().0.rest();
    }
}

/// A TCP stream, read ahead while it is busy.
struct Line(Bursts<TcpStream>);

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.0.poll_read(into.initialize_unfilled(), |tcp, buffer| {
            read(tcp, cx, buffer)
        });
        read.map_ok(|count| into.advance(count))
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.0.get_mut()).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.0.get_mut()).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.0.get_mut()).poll_shutdown(cx)
    }
}

/// A stream that is being upgraded.
struct Upgrading {
    stream: Box<dyn Io>,
    answer: UpgradeReader,
}

impl AsyncRead for Upgrading {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, answer } = &mut *self;
        let read = answer.poll_read(into.initialize_unfilled(), |buffer| {
            read(stream, cx, buffer)
        });
        read.map_ok(|count| into.advance(count))
    }
}

impl AsyncWrite for Upgrading {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A stream that has been upgraded.
pub(crate) struct Upgraded(Box<dyn Io>);

impl ByteStream for Upgraded {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        read(&mut self.0, cx, into)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn holds(&self) -> bool {
        self.0.holds()
    }

    fn rest(&mut self) {
        self.0.rest();
    }
}

/// Reads into a plain buffer; says how many bytes.
fn read(
    stream: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    into: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut into = ReadBuf::new(into);
    let read = Pin::new(stream).poll_read(cx, &mut into);
    read.map_ok(|()| into.filled().len())
}

/// Opens a websocket. Each step has memory of its own while it lasts: a thousand shards dial at once, and what a
/// dial leaves behind is what their windows have to fit around.
pub(crate) async fn dial(target: Box<Target>) -> Result<StreamSocket<Upgraded>, TransportFault> {
    let tcp = Box::pin(connect(&target)).await;
    let mut tcp = tcp.map_err(|why| target.unreached(why))?;
    // Frames are small and complete; waiting to fill packets only delays beats.
    let _ = tcp.set_nodelay(true);
    let target = *target;
    if let Some(dialogue) = target.tunnel {
        Box::pin(tunnel(&mut tcp, dialogue)).await?;
    }
    let tcp = Line(Bursts::new(tcp));
    let stream: Box<dyn Io> = match target.tls {
        Some((config, name)) => {
            let tls = Box::pin(TlsConnector::from(config).connect(name, tcp)).await;
            Box::new(tls.map_err(|error| io_fault(&error))?)
        }
        None => Box::new(tcp),
    };
    let answer = UpgradeReader::default();
    let upgrading = Upgrading { stream, answer };
    let (request, config) = (target.request, target.config);
    Box::pin(client_async_with_config(request, upgrading, Some(config)))
        .await
        .map(|(socket, _)| {
            let Upgrading { stream, answer } = socket.into_inner();
            StreamSocket::new(Upgraded(stream), answer.rest(), config)
        })
        .map_err(|error| fault(&error))
}

/// Talks with the proxy until it forwards, and reads not a byte more.
async fn tunnel(tcp: &mut TcpStream, mut dialogue: ProxyDialogue) -> Result<(), TransportFault> {
    let broken = |error| unreached(io_fault(&error));
    let mut buffer = [0; 64];
    loop {
        match dialogue.poll() {
            ProxyStep::Done => return Ok(()),
            ProxyStep::Write(bytes) => tcp.write_all(&bytes).await.map_err(broken)?,
            ProxyStep::Read(most) => {
                let most = most.min(buffer.len());
                let count = tcp.read(&mut buffer[..most]).await.map_err(broken)?;
                if count == 0 {
                    return Err(unreached(TransportFault::UnexpectedEnd));
                }
                dialogue.handle(&buffer[..count])?;
            }
        }
    }
}

/// Tries the addresses in order.
async fn connect(target: &Target) -> Result<TcpStream, TransportFault> {
    let addresses: Vec<_> = tokio::net::lookup_host((target.host.as_str(), target.port))
        .await
        .map_err(|_| TransportFault::NameLookup)?
        .collect();
    let time = target.time_for_each(addresses.len());
    let mut fault = TransportFault::NameLookup;
    for address in addresses {
        match tokio::time::timeout(time, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => return Ok(tcp),
            Ok(Err(error)) => fault = io_fault(&error),
            Err(_) => fault = TransportFault::TimedOut,
        }
    }
    Err(fault)
}
