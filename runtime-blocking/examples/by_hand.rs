//! The machine of one shard, driven by hand: one thread, one `TcpStream`, no runtime at all.
//! `GATEWAY=ws://127.0.0.1:PORT cargo run -p shardwright-blocking --example by_hand`, with the address at which
//! `shardwright emulate` listens. A real driver also speaks TLS and does not wait while it writes.

use std::collections::VecDeque;
use std::error::Error;
use std::io::ErrorKind;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant, SystemTime};

use shardwright_core::{
    Action, ConnId, Event, Frame, Input, Intents, ShardConfig, ShardId, ShardMachine, Token,
    TransportFault, Wait,
};
use tungstenite::protocol::CloseFrame;
use tungstenite::{Message, WebSocket};

/// The one connection that there is at a time.
type Line = Option<(ConnId, WebSocket<TcpStream>)>;

fn main() -> Result<(), Box<dyn Error>> {
    let config = ShardConfig::new(
        ShardId::SINGLE,
        Token::new(std::env::var("DISCORD_TOKEN").unwrap_or_else(|_| "any".to_owned()))?,
        Intents::GUILDS | Intents::GUILD_MESSAGES,
        std::env::var("GATEWAY")?.parse()?,
    );
    // A real one takes its seed from somewhere random: it spreads delays.
    let mut shard = ShardMachine::new(config, None, 1, Instant::now());
    shard.handle(Instant::now(), Input::Start)?;
    let mut line: Line = None;
    let mut inputs = VecDeque::new();
    loop {
        // All that it wants is done before it is told how that went.
        match shard.poll() {
            Action::Emit(event) => print(&event),
            Action::Connect {
                conn,
                url,
                time_allowed,
            } => inputs.push_back(match dial(&url, time_allowed) {
                Ok(socket) => {
                    line = Some((conn, socket));
                    Input::Opened { conn }
                }
                Err(why) => Input::Failed { conn, why },
            }),
            Action::Send { conn, text } => {
                let message = Message::text(text.into_string());
                inputs.push_back(send(&mut line, conn, message));
            }
            Action::Close { conn, code, reason } => {
                let (code, reason) = (code.get().into(), reason.into());
                let message = Message::Close(Some(CloseFrame { code, reason }));
                inputs.push_back(send(&mut line, conn, message));
            }
            Action::Abort { .. } => line = None,
            // The only shard is always next in turn; with more of them this is the fleet's to say.
            Action::WantIdentify { conn } => inputs.push_back(Input::IdentifyGranted { conn }),
            Action::Wait(Wait::Stopped) => return Ok(()),
            Action::Wait(wait) => {
                let input = match (inputs.pop_front(), wait) {
                    (Some(input), _) => input,
                    (None, Wait::Until(at)) => wait_for_something(&mut line, Some(at))?,
                    (None, _) => wait_for_something(&mut line, None)?,
                };
                shard.handle(Instant::now(), input)?;
            }
            _ => {}
        }
    }
}

/// Opens a websocket, and TLS not at all.
fn dial(url: &str, time_allowed: Duration) -> Result<WebSocket<TcpStream>, TransportFault> {
    let fault = |error: &dyn Error| TransportFault::Other(error.to_string());
    let authority = url
        .strip_prefix("ws://")
        .and_then(|rest| rest.split('/').next());
    let address = authority.unwrap_or_default().to_socket_addrs();
    let address = address.ok().and_then(|mut all| all.next());
    let address = address.ok_or(TransportFault::NameLookup)?;
    let tcp = TcpStream::connect_timeout(&address, time_allowed).map_err(|error| fault(&error))?;
    tcp.set_read_timeout(Some(time_allowed))
        .map_err(|error| fault(&error))?;
    let (socket, _) = tungstenite::client(url, tcp).map_err(|error| fault(&error))?;
    Ok(socket)
}

/// Sends a message; says that it is out, or that the connection is broken.
fn send(line: &mut Line, conn: ConnId, message: Message) -> Input {
    let sent = match line {
        Some((open, socket)) if *open == conn => socket.send(message),
        _ => Err(tungstenite::Error::AlreadyClosed),
    };
    match sent {
        Ok(()) => Input::Flushed { conn },
        Err(error) => failed(line, conn, &error),
    }
}

/// Waits until something arrives or it is time.
fn wait_for_something(line: &mut Line, until: Option<Instant>) -> Result<Input, Box<dyn Error>> {
    let tick = || Input::Tick {
        wall: Some(SystemTime::now()),
    };
    let left = until.map(|at| at.saturating_duration_since(Instant::now()));
    if left == Some(Duration::ZERO) {
        return Ok(tick());
    }
    let Some((conn, socket)) = line else {
        std::thread::sleep(left.ok_or("nothing to wait for")?);
        return Ok(tick());
    };
    let conn = *conn;
    socket.get_ref().set_read_timeout(left)?;
    Ok(match socket.read() {
        Ok(Message::Text(text)) => received(conn, Frame::Text(text.into())),
        Ok(Message::Binary(bytes)) => received(conn, Frame::Binary(bytes)),
        Ok(Message::Close(frame)) => {
            *line = None;
            let code = frame.map(|frame| frame.code.into());
            Input::Closed { conn, code }
        }
        // A ping, answered by the library.
        Ok(_) => tick(),
        Err(tungstenite::Error::Io(error))
            if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
        {
            tick()
        }
        Err(error) => failed(line, conn, &error),
    })
}

fn received(conn: ConnId, frame: Frame) -> Input {
    Input::Received { conn, frame }
}

fn failed(line: &mut Line, conn: ConnId, error: &tungstenite::Error) -> Input {
    *line = None;
    let why = TransportFault::Other(error.to_string());
    Input::Failed { conn, why }
}

fn print(event: &Event<'_>) {
    match event {
        Event::Dispatch(event) => println!("{} {} bytes", event.name(), event.data().len()),
        other => println!("{other:?}"),
    }
}
