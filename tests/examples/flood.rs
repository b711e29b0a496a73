//! Measures the emulator: floods one plain client with events and prints how many came a second.
//!
//! `cargo run --release -p shardwright-testkit --example flood -- 100000 zlib-stream`

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use shardwright_testkit::emulator::Emulator;
use shardwright_testkit::server::{Seen, Target};
use shardwright_testkit::ws;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let events: u64 = args.next().map_or(Ok(100_000), |text| text.parse())?;
    let compress = args.next().map(|c| format!("&compress={c}"));
    let emulator = Emulator::builder().start()?;
    let mut tcp = TcpStream::connect(emulator.address())?;
    write!(
        tcp,
        "GET /?v=10&encoding=json{} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        compress.unwrap_or_default()
    )?;
    let identify = br#"{"op":2,"d":{"token":"t","intents":53608447,"properties":{"os":"","browser":"","device":""}}}"#;
    let mut frame = Vec::new();
    ws::write_frame(&mut frame, true, ws::TEXT, identify);
    // A mask of zeroes leaves the payload as it is.
    frame[1] |= 0x80;
    frame.splice(2..2, [0; 4]);
    tcp.write_all(&frame)?;
    let mut reader = tcp.try_clone()?;
    std::thread::spawn(move || {
        let mut chunk = vec![0; 1 << 20];
        while matches!(reader.read(&mut chunk), Ok(1..)) {}
    });
    assert!(emulator.wait_for(|log| log.readies() == 1, Duration::from_secs(10)));
    let start = Instant::now();
    emulator.flood(&Target::All, events);
    let ended = |what: &Seen| *what == Seen::FloodEnded;
    assert!(emulator.wait_for(|log| log.count(ended) == 1, Duration::from_secs(600)));
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{events} events in {seconds:.2} s: {:.0}/s",
        events as f64 / seconds
    );
    Ok(())
}
