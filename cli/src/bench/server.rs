//! A gateway that plays prepared sessions, in a process of its own.
//!
//! The emulator makes each payload when it is due, and so would be the slower side; what it cannot show is
//! how fast a client could be.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use shardwright_testkit::emulator::Identity;
use shardwright_testkit::ws::{FromClient, Reader};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::meter::shared_clock;
use super::prepared::{Play, Prepared};

/// How many events are written at once.
const BATCH: usize = 256;

/// All shards of a large bot may come at once.
const BACKLOG: u32 = 16_384;

/// What one port plays.
struct Stage {
    play: Play,
    prepared: Prepared,
    /// With whose certificate it speaks TLS, if it does.
    identity: Option<Identity>,
    /// How many connections are up.
    up: watch::Sender<u32>,
    /// How often all lines have been dropped.
    dropped: watch::Sender<u32>,
}

/// Plays until standard input ends, which it does with the process that started this one.
pub(super) async fn run(plays: Vec<Play>) -> io::Result<()> {
    for play in plays {
        let socket = TcpSocket::new_v4()?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        let listener = socket.listen(BACKLOG)?;
        let identity = match play.tls {
            true => {
                let identity = Identity::new(&["localhost".to_owned()]);
                Some(identity.map_err(io::Error::other)?)
            }
            false => None,
        };
        let address = listener.local_addr()?;
        let url = match identity {
            Some(_) => format!("wss://localhost:{}", address.port()),
            None => format!("ws://{address}"),
        };
        let prepared = Prepared::new(&play, &url)?;
        let ready = serde_json::json!({
            "url": url, "messages": prepared.messages, "mean": prepared.mean,
            "authority": identity.as_ref().map(|identity| &identity.ca_pem),
        });
        println!("{ready}");
        let stage = Arc::new(Stage {
            play,
            prepared,
            identity,
            up: watch::Sender::new(0),
            dropped: watch::Sender::new(0),
        });
        tokio::spawn(accept(listener, stage));
    }
    let mut nothing = [0; 64];
    while tokio::io::stdin().read(&mut nothing).await? > 0 {}
    Ok(())
}

async fn accept(listener: TcpListener, stage: Arc<Stage>) {
    let number = AtomicU32::new(0);
    loop {
        // Out of descriptors, for example: the client sees that nobody answers.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let stage = Arc::clone(&stage);
        let number = number.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            // Whatever ends a line is the client's affair.
            let _ = serve(stream, &stage, number).await;
        });
    }
}

type Source = Pin<Box<dyn AsyncRead + Send>>;
type Sink = Pin<Box<dyn AsyncWrite + Send>>;

async fn serve(stream: TcpStream, stage: &Stage, number: u32) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer): (Source, Sink) = match &stage.identity {
        Some(identity) => {
            let stream = identity.acceptor.accept(stream).await?;
            let (reader, writer) = tokio::io::split(stream);
            (Box::pin(reader), Box::pin(writer))
        }
        None => {
            let (reader, writer) = stream.into_split();
            (Box::pin(reader), Box::pin(writer))
        }
    };
    upgrade(&mut reader, &mut writer).await?;
    write_out(&mut writer, stage.prepared.hello()).await?;
    let said = Said::default();
    let mut dropped = stage.dropped.subscribe();
    dropped.mark_unchanged();
    tokio::select! {
        read = read(reader, stage, &said) => read,
        write = write(&mut writer, stage, number, &said) => write,
        _ = dropped.changed() => Ok(()),
    }
}

async fn write_out(writer: &mut Sink, bytes: &[u8]) -> io::Result<()> {
    writer.write_all(bytes).await?;
    // Nothing to do without TLS.
    writer.flush().await
}

async fn upgrade(reader: &mut Source, writer: &mut Sink) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let byte = reader.read_u8().await?;
        request.push(byte);
    }
    let request = String::from_utf8_lossy(&request);
    let mut headers = request.lines().filter_map(|line| line.split_once(':'));
    let key = headers.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
    let (_, key) = key.ok_or(io::ErrorKind::InvalidData)?;
    let accept = tungstenite::handshake::derive_accept_key(key.trim().as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    write_out(writer, answer.as_bytes()).await
}

/// What a client has said that has to be answered.
struct Said {
    beats: Semaphore,
    begun: Notify,
    resumes: AtomicBool,
}

impl Default for Said {
    fn default() -> Self {
        Self {
            beats: Semaphore::new(0),
            begun: Notify::new(),
            resumes: AtomicBool::new(false),
        }
    }
}

async fn read(mut reader: Source, stage: &Stage, said: &Said) -> io::Result<()> {
    let mut frames = Reader::default();
    let mut bytes = [0; 4096];
    loop {
        let count = reader.read(&mut bytes).await?;
        if count == 0 {
            return Ok(());
        }
        frames.feed(&bytes[..count]);
        loop {
            match frames.read() {
                Ok(Some(FromClient::Text(text) | FromClient::Binary(text))) => {
                    match opcode(&text) {
                        Some(1) => said.beats.add_permits(1),
                        Some(2) => said.begun.notify_one(),
                        // A presence is the sign to drop all lines at once.
                        Some(3) => stage.dropped.send_modify(|dropped| *dropped += 1),
                        Some(6) => {
                            said.resumes.store(true, Ordering::Relaxed);
                            said.begun.notify_one();
                        }
                        _ => {}
                    }
                }
                Ok(Some(FromClient::Close(_))) | Err(_) => return Ok(()),
                Ok(Some(_)) => {}
                Ok(None) => break,
            }
        }
    }
}

fn opcode(text: &[u8]) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Op {
        op: u64,
    }
    serde_json::from_slice(text).ok().map(|Op { op }| op)
}

/// A connection that is up, until it is dropped.
struct Up<'s>(&'s watch::Sender<u32>);

impl Drop for Up<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|up| *up -= 1);
    }
}

async fn write(writer: &mut Sink, stage: &Stage, number: u32, said: &Said) -> io::Result<()> {
    let Stage {
        play, prepared, up, ..
    } = stage;
    said.begun.notified().await;
    if said.resumes.load(Ordering::Relaxed) {
        write_out(writer, &prepared.resumed).await?;
    } else {
        write_out(writer, prepared.start()).await?;
    }
    up.send_modify(|up| *up += 1);
    let _up = Up(up);
    if play.events > 0 {
        let mut others = up.subscribe();
        // The sender outlives every connection.
        let _ = others.wait_for(|up| *up >= play.shards).await;
        let sent = write_events(writer, play, prepared, number).await?;
        if play.stamps {
            println!("{}", serde_json::json!({ "sent": sent }));
        }
    }
    // Not before: what is compressed refers to what came before it, by distance. Nothing lasts so long that
    // a beat would be missed.
    while let Ok(beat) = said.beats.acquire().await {
        beat.forget();
        write_out(writer, &prepared.beat).await?;
    }
    Ok(())
}

/// When each was sent, if that is wanted.
async fn write_events(
    writer: &mut Sink,
    play: &Play,
    prepared: &Prepared,
    number: u32,
) -> io::Result<Vec<u64>> {
    let mut sent = Vec::new();
    let events = usize::try_from(play.events).unwrap_or(usize::MAX);
    let Some(rate) = play.rate else {
        for from in (0..events).step_by(BATCH) {
            write_out(writer, prepared.events(from, BATCH)).await?;
        }
        return Ok(sent);
    };
    let pause = Duration::from_secs_f64(1.0 / rate);
    // Spread, so that no two shards are always due at the same time.
    let first = pause.mul_f64(f64::from(number % 997) / 997.0);
    let mut due = interval_at(Instant::now() + first, pause);
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for event in 0..events {
        due.tick().await;
        if play.stamps {
            sent.push(shared_clock());
        }
        write_out(writer, prepared.events(event, 1)).await?;
    }
    Ok(sent)
}
