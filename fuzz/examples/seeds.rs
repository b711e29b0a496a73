//! Makes seeds for the fuzz targets out of a folder of payloads.
//!
//! `cargo run --example seeds -- ../tests/corpus corpus 100000` takes payloads of up to so many bytes.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// The kinds of `decode` inputs that take payloads, one a line.
const DECODE: [(&str, u8); 5] = [
    ("plain", 0),
    ("zlib", 4),
    ("damaged", 5),
    ("zstd", 6),
    ("whole", 7),
];
/// Compressions of `machine` inputs.
const MACHINE: [(&str, u8); 4] = [("plain", 0), ("zlib", 1), ("zstd", 2), ("whole", 3)];
/// Seven operations of `machine` that do what comes next: dial, open, Hello, grant, READY, two events.
const UP: &[u8] = &[0; 7];
/// A text message on the newest connection.
const TEXT: [u8; 3] = [17, 0, 1];

/// Plots that chance finds late: what it takes to lose a session for good, to be without room in every
/// state, to meet the send budget, to gather members, and to swap layouts.
const PLOTS: [(&str, &str, &[&[u8]]); 5] = [
    (
        "machine",
        "fruitless",
        &[
            SHARD, UP, FRUITLESS, FRUITLESS, FRUITLESS, FRUITLESS, FRUITLESS, FRUITLESS,
        ],
    ),
    (
        "machine",
        "no_room",
        &[
            SHARD,
            &[0],
            NO_ROOM,
            &[0, 0],
            NO_ROOM,
            &[0, 0, 0],
            NO_ROOM,
            &[0, 0, 0, 0],
            NO_ROOM,
            UP,
            NO_ROOM,
        ],
    ),
    (
        "machine",
        "bursts",
        &[
            SHARD,
            UP,
            &[24, 130, 1, 0, 24, 200, 0],
            SEND,
            &[24, 200, 0],
            SEND,
            SEND,
        ],
    ),
    (
        "machine",
        "members",
        &[
            SHARD, UP, SOME, FLUSHED, CHUNK, EVERYONE, FLUSHED, TOO_OFTEN, SEND, SEND, FLUSHED,
            CHUNK, EVERYONE, SEND, SEND,
        ],
    ),
    (
        "fleet",
        "swap",
        &[BOT, &[20, 3, 3, 27, 1, 3], INFO, &[3, 3, 3, 3]],
    ),
];
/// An uncompressed shard that waits for guilds.
const SHARD: &[u8] = &[0, 1, 0x23, 7];
/// Closed without a code, then dialled and opened once more.
const FRUITLESS: &[u8] = &[20, 0, 20, 0, 0, 0];
/// Congested for a moment, then closed and dialled again.
const NO_ROOM: &[u8] = &[30, 1, 30, 0, 20, 0, 20, 0];
/// To the next deadline, and a tick.
const SEND: &[u8] = &[4, 0, 1, 8];
/// Five members are asked for, or everyone.
const SOME: &[u8] = &[32, 1, 2, 5, 4, 3];
const EVERYONE: &[u8] = &[32, 1, 0, 4, 3];
/// All that was sent has left.
const FLUSHED: &[u8] = &[22, 0];
/// The only chunk of the newest answer, with three members.
const CHUNK: &[u8] = &[10, 0, 17, 0, 0, 0, 3, 0, 0];
/// The newest request is to be repeated a quarter of a second later.
const TOO_OFTEN: &[u8] = &[10, 0, 16, 0, 1, 0, 0];
/// Two shards that swap, with the gateway known.
const BOT: &[u8] = &[64, 128, 7, 0, 0, 2, 100, 100, 9, 1];
/// Discord answers.
const INFO: &[u8] = &[17, 0, 3, 100, 100, 9, 1];

const GOOD: &str = r#"{"url":"wss://gateway.discord.gg","shards":9,"session_start_limit":{"total":1000,"remaining":999,"reset_after":14400000,"max_concurrency":1}}"#;
const ANSWERS: [(&str, u16, &str, &str); 6] = [
    ("good", 200, "", GOOD),
    ("cut", 200, "", r#"{"url":"wss://gateway.discord.gg","shar"#),
    ("page", 502, "", "<html>bad gateway</html>"),
    (
        "unauthorized",
        401,
        "",
        r#"{"message":"401: Unauthorized \u0001","code":0}"#,
    ),
    (
        "echo",
        403,
        "",
        "{\"message\":\"bad header: Bot \u{1} or \u{2}\",\"code\":50001}",
    ),
    (
        "limited",
        429,
        "82800.5",
        r#"{"message":"slow","retry_after":1.5,"global":true}"#,
    ),
];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [payloads, out, most] = &arguments[..] else {
        return Err(
            "give a folder of payloads, a folder for the seeds, and a number of bytes".into(),
        );
    };
    let (out, most) = (Path::new(out), most.parse()?);
    let mut files: Vec<PathBuf> = fs::read_dir(payloads)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|file| {
        file.extension().is_some_and(|ending| ending == "json") && !file.ends_with("mix.json")
    });
    files.sort();
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for file in files {
        let payload = fs::read(&file)?.trim_ascii().to_vec();
        if payload.len() > most {
            continue;
        }
        let name = file
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default();
        write(out, "header", &name, &payload)?;
        let len = u16::try_from(payload.len() % 2048)?.to_le_bytes();
        let (compression, kind) = MACHINE[lines.len() % MACHINE.len()];
        let setup = [kind, 1, 0x23, 7];
        write(
            out,
            "machine",
            &format!("{compression}-{name}"),
            &[&setup[..], UP, &TEXT, &len, &payload].concat(),
        )?;
        lines.push(payload);
    }
    for (chunk, several) in lines.chunks(6).enumerate() {
        let (name, kind) = DECODE[chunk % DECODE.len()];
        let stream = several.join(&b'\n');
        write(
            out,
            "decode",
            &format!("{name}-{chunk}"),
            &[&[kind, 2, 0, 9, 1, 7][..], &stream].concat(),
        )?;
    }
    for (target, name, parts) in PLOTS {
        write(out, target, name, &parts.concat())?;
    }
    for (name, status, header, body) in ANSWERS {
        let length = if header.is_empty() {
            0
        } else {
            u8::try_from(header.len() + 1)?
        };
        let head = [&status.to_be_bytes()[..], &[length], header.as_bytes()].concat();
        write(
            out,
            "gateway_info",
            name,
            &[&head[..], body.as_bytes()].concat(),
        )?;
    }
    Ok(())
}

fn write(out: &Path, target: &str, name: &str, seed: &[u8]) -> std::io::Result<()> {
    let folder = out.join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), seed)
}
