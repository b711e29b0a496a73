//! Opens a websocket: TCP, TLS, upgrade.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use shardwright_core::{ProxyDialogue, ProxyStep, TransportFault};
use shardwright_runtime::{Bursts, StreamSocket, Target, fault, io_fault, unreached};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// A byte stream, encrypted or not.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A TCP stream, read ahead while it is busy.
struct Line(Bursts<TcpStream>);

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.0.poll_read(into.initialize_unfilled(), |tcp, buffer| {
            let mut buffer = ReadBuf::new(buffer);
            let read = Pin::new(tcp).poll_read(cx, &mut buffer);
            read.map_ok(|()| buffer.filled().len())
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

type Socket = WebSocketStream<Box<dyn Io>>;

pub(crate) async fn dial(target: Target) -> Result<StreamSocket<Socket>, TransportFault> {
    let tcp = connect(&target).await;
    let mut tcp = tcp.map_err(|why| target.unreached(why))?;
    // Frames are small and complete; waiting to fill packets only delays beats.
    let _ = tcp.set_nodelay(true);
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
    client_async_with_config(target.request, stream, Some(target.config))
        .await
        .map(|(socket, _)| StreamSocket::new(socket, write_bytes))
        .map_err(|error| fault(&error))
}

fn write_bytes(socket: &mut Socket, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    Pin::new(socket.get_mut()).poll_write(cx, bytes)
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
