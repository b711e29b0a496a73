//! A gateway that plays prepared sessions, in a process of its own.
//!
//! The emulator makes each payload when it is due, and so would be the slower side; what it cannot show is
//! how fast a client could be.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use shardwright_testkit::ws::{FromClient, Reader};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::prepared::{Play, Prepared};

/// How many events are written at once.
const BATCH: usize = 256;

/// What one port plays.
struct Stage {
    play: Play,
    prepared: Prepared,
    /// How many connections are up.
    up: watch::Sender<u32>,
}

/// Plays until standard input ends, which it does with the process that started this one.
pub(super) async fn run(plays: Vec<Play>) -> io::Result<()> {
    for play in plays {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("ws://{}", listener.local_addr()?);
        let prepared = Prepared::new(&play, &url)?;
        let ready = serde_json::json!({
            "url": url, "messages": prepared.messages, "mean": prepared.mean,
        });
        println!("{ready}");
        let stage = Arc::new(Stage {
            play,
            prepared,
            up: watch::Sender::new(0),
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

async fn serve(mut stream: TcpStream, stage: &Stage, number: u32) -> io::Result<()> {
    stream.set_nodelay(true)?;
    upgrade(&mut stream).await?;
    let (reader, mut writer) = stream.into_split();
    writer.write_all(stage.prepared.hello()).await?;
    let (beats, identified) = (Semaphore::new(0), Notify::new());
    tokio::select! {
        read = read(reader, &beats, &identified) => read,
        write = write(&mut writer, stage, number, &beats, &identified) => write,
    }
}

async fn upgrade(stream: &mut TcpStream) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let byte = stream.read_u8().await?;
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
    stream.write_all(answer.as_bytes()).await
}

/// Counts what has to be answered.
async fn read(mut reader: OwnedReadHalf, beats: &Semaphore, identified: &Notify) -> io::Result<()> {
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
                        Some(1) => beats.add_permits(1),
                        Some(2) => identified.notify_one(),
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

async fn write(
    writer: &mut OwnedWriteHalf,
    stage: &Stage,
    number: u32,
    beats: &Semaphore,
    identified: &Notify,
) -> io::Result<()> {
    let Stage { play, prepared, up } = stage;
    identified.notified().await;
    writer.write_all(prepared.start()).await?;
    up.send_modify(|up| *up += 1);
    let _up = Up(up);
    let mut others = up.subscribe();
    // The sender outlives every connection.
    let _ = others.wait_for(|up| *up >= play.shards).await;
    let events = usize::try_from(play.events).unwrap_or(usize::MAX);
    match play.rate {
        None => {
            for from in (0..events).step_by(BATCH) {
                writer.write_all(prepared.events(from, BATCH)).await?;
            }
        }
        Some(rate) => {
            let pause = Duration::from_secs_f64(1.0 / rate);
            // Spread, so that no two shards are always due at the same time.
            let first = pause.mul_f64(f64::from(number % 997) / 997.0);
            let mut due = interval_at(Instant::now() + first, pause);
            due.set_missed_tick_behavior(MissedTickBehavior::Burst);
            for event in 0..events {
                due.tick().await;
                writer.write_all(prepared.events(event, 1)).await?;
            }
        }
    }
    // Not before: what is compressed refers to what came before it, by distance. Nothing lasts so long that
    // a beat would be missed.
    while let Ok(beat) = beats.acquire().await {
        beat.forget();
        writer.write_all(&prepared.beat).await?;
    }
    Ok(())
}
