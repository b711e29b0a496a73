//! The least that a client can do: read websocket messages and inflate them.

use std::net::SocketAddr;

use flate2::{Decompress, FlushDecompress};
use futures_util::{SinkExt, StreamExt};
use shardwright_tokio::Compression;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tungstenite::{Bytes, Message};
use zstd::zstd_safe::{DCtx, InBuffer, OutBuffer};

use super::BenchError;

/// One connection, and its context.
pub(super) struct Floor {
    socket: WebSocketStream<TcpStream>,
    inflate: Inflate,
    text: Vec<u8>,
}

enum Inflate {
    None,
    Zlib(Decompress),
    Zstd(DCtx<'static>),
}

impl Floor {
    /// Connects, and identifies without having read Hello.
    pub(super) async fn connect(url: &str, compression: Compression) -> Result<Self, BenchError> {
        let address = url.trim_start_matches("ws://");
        let address: SocketAddr = address
            .parse()
            .map_err(|_| BenchError::new(format!("{url} is no address of a benchmark's server")))?;
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let url = format!("{url}/?v=10&encoding=json");
        let (mut socket, _) = tokio_tungstenite::client_async(url, tcp)
            .await
            .map_err(BenchError::new)?;
        let identify = r#"{"op":2,"d":{}}"#;
        socket
            .send(Message::text(identify))
            .await
            .map_err(BenchError::new)?;
        Ok(Self {
            socket,
            inflate: match compression {
                Compression::Zlib => Inflate::Zlib(Decompress::new(true)),
                Compression::Zstd => Inflate::Zstd(DCtx::create()),
                _ => Inflate::None,
            },
            text: Vec::with_capacity(1 << 16),
        })
    }

    /// Reads one payload and forgets it.
    pub(super) async fn read(&mut self) -> Result<(), BenchError> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(_))) => return Ok(()),
                Some(Ok(Message::Binary(bytes))) => return self.inflate(&bytes),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(BenchError::new(error)),
                None => return Err(BenchError::new("the server ended the line")),
            }
        }
    }

    fn inflate(&mut self, bytes: &Bytes) -> Result<(), BenchError> {
        self.text.clear();
        match &mut self.inflate {
            Inflate::None => {}
            Inflate::Zlib(context) => {
                let start = context.total_in();
                loop {
                    let done = (context.total_in() - start) as usize;
                    let rest = bytes.get(done..).unwrap_or_default();
                    context
                        .decompress_vec(rest, &mut self.text, FlushDecompress::Sync)
                        .map_err(BenchError::new)?;
                    if self.text.len() < self.text.capacity() {
                        break;
                    }
                    self.text.reserve(self.text.capacity());
                }
            }
            Inflate::Zstd(context) => {
                let mut input = InBuffer::around(bytes);
                loop {
                    let at = self.text.len();
                    let mut output = OutBuffer::around_pos(&mut self.text, at);
                    context
                        .decompress_stream(&mut output, &mut input)
                        .map_err(|code| BenchError::new(zstd::zstd_safe::get_error_name(code)))?;
                    if self.text.len() < self.text.capacity() {
                        break;
                    }
                    self.text.reserve(self.text.capacity());
                }
            }
        }
        Ok(())
    }
}
