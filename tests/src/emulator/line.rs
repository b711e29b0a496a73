//! One websocket line: bytes in, bytes out, and its end.

use std::fmt::Write;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_rustls::server::TlsStream;

use super::http;
use super::hub::{Hub, Line, Order};
use crate::server::{ConnId, Frame, HowDropped, Input, Outgoing};
use crate::ws::{self, FromClient};

/// As many bytes are put together before they are written.
const BATCH: usize = 64 << 10;
/// How long the last bytes may take once a line is to end.
const LAST_BYTES: Duration = Duration::from_secs(2);
/// How long an ended line is read until the client ends it too.
const LINGER: Duration = Duration::from_secs(5);

/// A TCP connection, with TLS or without.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_mut().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }
}

/// Runs a line from the upgrade request to its end.
pub(super) async fn run(hub: Arc<Hub>, line: Line, stream: Stream, early: &[u8], accept: &str) {
    let Line {
        id,
        mut orders,
        reads,
        dropped,
    } = line;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let how = {
        let write = write_orders(&hub, id, &mut writer, &mut orders, accept);
        let read = read_frames(&hub, id, &mut reader, reads, early);
        tokio::pin!(write, read);
        tokio::select! {
            how = &mut write => how,
            () = &mut read => {
                hub.lost(id);
                tokio::time::timeout(LAST_BYTES, &mut write).await.ok().flatten()
            }
            () = dropped.notified() => {
                tokio::time::timeout(LAST_BYTES, &mut write).await.ok().flatten()
            }
        }
    };
    hub.lost(id);
    end(reader.unsplit(writer), how.unwrap_or(HowDropped::Rst)).await;
}

/// Reads until the client's line ends, breaks the framing rules, or closes.
async fn read_frames(
    hub: &Hub,
    id: ConnId,
    line: &mut ReadHalf<Stream>,
    mut reads: watch::Receiver<bool>,
    early: &[u8],
) {
    let mut frames = ws::Reader::default();
    frames.feed(early);
    let mut chunk = vec![0; 16 << 10];
    let mut broken = false;
    loop {
        loop {
            let input = match frames.read() {
                _ if broken => break,
                Ok(None) => break,
                Ok(Some(frame)) => input(id, frame),
                Err(fault) => {
                    broken = true;
                    Input::Misframed { conn: id, fault }
                }
            };
            hub.feed(input);
        }
        if reads.wait_for(|on| *on).await.is_err() {
            // The machine is done with the line; the writer ends it.
            return std::future::pending().await;
        }
        let read = tokio::select! {
            read = line.read(&mut chunk) => read,
            changed = reads.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return std::future::pending().await,
            },
        };
        match read {
            Ok(0) | Err(_) => return,
            Ok(count) if !broken => frames.feed(&chunk[..count]),
            Ok(_) => {}
        }
    }
}

fn input(conn: ConnId, frame: FromClient) -> Input {
    let frame = match frame {
        FromClient::Text(bytes) => Frame::Text(bytes),
        FromClient::Binary(bytes) => Frame::Binary(bytes),
        FromClient::Ping(bytes) => Frame::Ping(bytes),
        FromClient::Pong(bytes) => Frame::Pong(bytes),
        FromClient::Close(code) => {
            let code = Some(code.unwrap_or(1005));
            return Input::Closed { conn, code };
        }
    };
    Input::Received { conn, frame }
}

/// Writes what it is told to, until it is told to end the line; none when the line broke.
async fn write_orders(
    hub: &Hub,
    id: ConnId,
    line: &mut WriteHalf<Stream>,
    orders: &mut mpsc::UnboundedReceiver<Order>,
    accept: &str,
) -> Option<HowDropped> {
    let mut buffer = Vec::with_capacity(BATCH);
    loop {
        // No order can come any more: the client ended the line.
        let Some(order) = orders.recv().await else {
            return Some(HowDropped::InOrder);
        };
        let mut next = Some(order);
        let mut messages = 0;
        let mut end = None;
        while let Some(order) = next {
            match order {
                Order::Send(outgoing) => {
                    messages += outgoing.message.bytes().len();
                    if outgoing.writes.is_empty() {
                        outgoing.wire(&mut buffer);
                    } else {
                        put(line, &mut buffer).await?;
                        write_pieces(line, &outgoing).await?;
                    }
                }
                order => end = simple(order, &mut buffer, accept),
            }
            if end.is_some() || buffer.len() >= BATCH {
                break;
            }
            next = orders.try_recv().ok();
        }
        put(line, &mut buffer).await?;
        if end.is_some() {
            return end;
        }
        if messages > 0 {
            hub.feed(Input::Flushed {
                conn: id,
                bytes: messages,
            });
        }
    }
}

/// Appends what needs no more than bytes; says how the line ends if it does.
fn simple(order: Order, buffer: &mut Vec<u8>, accept: &str) -> Option<HowDropped> {
    match order {
        Order::Accept => {
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            buffer.extend_from_slice(head.as_bytes());
        }
        Order::Refuse {
            status,
            retry_after,
            location,
        } => {
            let mut headers = String::new();
            if let Some(seconds) = retry_after {
                let _ = write!(headers, "Retry-After: {seconds}\r\n");
            }
            if let Some(location) = location.filter(|to| !to.contains(['\r', '\n'])) {
                let _ = write!(headers, "Location: {location}\r\n");
            }
            let head = http::plain(status, http::phrase(status), &headers);
            buffer.extend_from_slice(head.as_bytes());
            return Some(HowDropped::InOrder);
        }
        Order::Control { opcode, payload } => ws::write_frame(buffer, true, opcode, &payload),
        Order::Wire(bytes) => buffer.extend_from_slice(&bytes),
        Order::Drop(how) => return Some(how),
        Order::Send(outgoing) => outgoing.wire(buffer),
    }
    None
}

async fn put(line: &mut WriteHalf<Stream>, buffer: &mut Vec<u8>) -> Option<()> {
    if !buffer.is_empty() {
        line.write_all(buffer).await.ok()?;
        line.flush().await.ok()?;
        buffer.clear();
    }
    Some(())
}

/// Writes one message in several writes, with a chance for the client to run between them.
async fn write_pieces(line: &mut WriteHalf<Stream>, outgoing: &Outgoing) -> Option<()> {
    let mut wire = Vec::new();
    outgoing.wire(&mut wire);
    let mut rest = wire.as_slice();
    for size in outgoing.writes.iter().map(|size| (*size).max(1)).cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at(size.min(rest.len()));
        line.write_all(piece).await.ok()?;
        line.flush().await.ok()?;
        rest = after;
        tokio::task::yield_now().await;
    }
    Some(())
}

/// Ends a line. One that ends in order is read until the client ends it too: a socket closed with
/// unread bytes would be reset instead.
pub(super) async fn end(mut stream: Stream, how: HowDropped) {
    match how {
        HowDropped::Rst => {
            let _ = stream.tcp().set_zero_linger();
            return;
        }
        HowDropped::Fin => {
            let _ = stream.tcp().shutdown().await;
        }
        HowDropped::InOrder => {
            let _ = tokio::time::timeout(LAST_BYTES, stream.shutdown()).await;
        }
    }
    let _ = tokio::time::timeout(LINGER, discard(stream.tcp())).await;
}

/// Keeps a line open without a word until the client leaves.
pub(super) async fn hold(mut stream: Stream) {
    discard(stream.tcp()).await;
}

async fn discard(tcp: &mut TcpStream) {
    let mut chunk = [0; 4096];
    while let Ok(1..) = tcp.read(&mut chunk).await {}
}
