//! Opens a websocket: TCP, TLS, upgrade.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Instant;

use async_tungstenite::client_async_with_config;
use futures_io::{AsyncRead, AsyncWrite};
use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use shardwright_core::{ProxyDialogue, ProxyStep, TransportFault};
use shardwright_runtime::{
    Bursts, ByteStream, StreamSocket, Target, UpgradeReader, fault, io_fault, unreached,
};

use crate::turns::Runtime;

/// A byte stream, encrypted or not.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {
    /// Whether something has been decrypted that nobody has read yet.
    fn holds(&self) -> bool;
    /// Gives memory back that nothing is in.
    fn rest(&mut self);
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Io for Line<S> {
    fn holds(&self) -> bool {
        false
    }

    fn rest(&mut self) {
        self.0.rest();
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Io for TlsStream<Line<S>> {
    fn holds(&self) -> bool {
        // Then, and at the end of the stream, no more is wanted.
        !self.get_ref().1.wants_read()
    }

    fn rest(&mut self) {
        self.get_mut().0.rest();
    }
}

/// A TCP stream, read ahead while it is busy.
struct Line<S>(Bursts<S>);

impl<S: AsyncRead + Unpin> AsyncRead for Line<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.0
            .poll_read(into, |tcp, buffer| Pin::new(tcp).poll_read(cx, buffer))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Line<S> {
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

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.0.get_mut()).poll_close(cx)
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
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, answer } = &mut *self;
        answer.poll_read(into, |buffer| Pin::new(stream).poll_read(cx, buffer))
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

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// A stream that has been upgraded.
pub(crate) struct Upgraded(Box<dyn Io>);

impl ByteStream for Upgraded {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, into)
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

pub(crate) async fn dial<R: Runtime>(
    target: Target,
) -> Result<StreamSocket<Upgraded>, TransportFault> {
    let tcp = connect::<R>(&target).await;
    let mut tcp = tcp.map_err(|why| target.unreached(why))?;
    if let Some(dialogue) = target.tunnel {
        tunnel(&mut tcp, dialogue).await?;
    }
    let tcp = Line(Bursts::new(tcp));
    let stream: Box<dyn Io> = match target.tls {
        Some((config, name)) => {
            let tls = TlsConnector::from(config).connect(name, tcp).await;
            Box::new(tls.map_err(|error| io_fault(&error))?)
        }
        None => Box::new(tcp),
    };
    let answer = UpgradeReader::default();
    let upgrading = Upgrading { stream, answer };
    client_async_with_config(target.request, upgrading, Some(target.config))
        .await
        .map(|(socket, _)| {
            let Upgrading { stream, answer } = socket.into_inner();
            StreamSocket::new(Upgraded(stream), answer.rest(), target.config)
        })
        .map_err(|error| fault(&error))
}

/// Talks with the proxy until it forwards, and reads not a byte more.
async fn tunnel(
    tcp: &mut (impl AsyncRead + AsyncWrite + Unpin),
    mut dialogue: ProxyDialogue,
) -> Result<(), TransportFault> {
    let broken = |error| unreached(io_fault(&error));
    let ended = || unreached(TransportFault::UnexpectedEnd);
    let mut buffer = [0; 64];
    loop {
        match dialogue.poll() {
            ProxyStep::Done => return Ok(()),
            ProxyStep::Write(bytes) => {
                let mut left = bytes.as_slice();
                while !left.is_empty() {
                    let write = poll_fn(|cx| Pin::new(&mut *tcp).poll_write(cx, left)).await;
                    match write.map_err(broken)? {
                        0 => return Err(ended()),
                        count => left = left.get(count..).unwrap_or_default(),
                    }
                }
            }
            ProxyStep::Read(most) => {
                let buffer = &mut buffer[..most.min(64)];
                let read = poll_fn(|cx| Pin::new(&mut *tcp).poll_read(cx, buffer)).await;
                match read.map_err(broken)? {
                    0 => return Err(ended()),
                    count => dialogue.handle(&buffer[..count])?,
                };
            }
        }
    }
}

/// Tries the addresses in order.
async fn connect<R: Runtime>(target: &Target) -> Result<R::Tcp, TransportFault> {
    let addresses = R::resolve(target.host.clone(), target.port)
        .await
        .map_err(|_| TransportFault::NameLookup)?;
    let time = target.time_for_each(addresses.len());
    let mut fault = TransportFault::NameLookup;
    for address in addresses {
        let mut late = R::sleep_until(Instant::now() + time);
        let mut connecting = pin!(R::connect(address));
        let connected = poll_fn(|cx| match connecting.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => late.as_mut().poll(cx).map(|()| None),
        });
        match connected.await {
            Some(Ok(tcp)) => return Ok(tcp),
            Some(Err(error)) => fault = io_fault(&error),
            None => fault = TransportFault::TimedOut,
        }
    }
    Err(fault)
}
