//! One HTTP request: a REST call, or the upgrade to a websocket.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::hub::Hub;
use super::line::{self, Stream};
use crate::scenario::Listener;
use crate::server::{Delivery, HowDropped, Input, RestResponse};

/// The longest request head.
const MAX_HEAD: usize = 16 << 10;
/// How long a client may take for its request.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request head.
struct Head {
    method: String,
    target: String,
    authorization: Option<String>,
    /// `Sec-WebSocket-Key`, if it asks for a websocket.
    key: Option<String>,
    upgrade: bool,
    version_13: bool,
}

pub(super) async fn serve(hub: Arc<Hub>, which: Listener, mut stream: Stream) {
    let mut buffer = Vec::new();
    let head = tokio::time::timeout(PATIENCE, read_head(&mut stream, &mut buffer)).await;
    let Ok(Some(head)) = head else { return };
    if !head.upgrade {
        let response = hub.rest(&head.method, &head.target, head.authorization.as_deref());
        return answer(stream, response).await;
    }
    let (Some(key), true, "GET") = (head.key, head.version_13, head.method.as_str()) else {
        let text = plain(400, "Bad Request", "");
        return finish(stream, text.as_bytes()).await;
    };
    let line = hub.open_line();
    hub.feed(Input::Opened {
        conn: line.id,
        listener: which,
        target: head.target,
    });
    line::run(
        hub,
        line,
        stream,
        &buffer,
        &derive_accept_key(key.as_bytes()),
    )
    .await;
}

/// Reads a head and leaves in the buffer what follows it.
async fn read_head(stream: &mut Stream, buffer: &mut Vec<u8>) -> Option<Head> {
    loop {
        let mut chunk = [0; 2048];
        let read = stream.read(&mut chunk).await.ok()?;
        if read == 0 || buffer.len() + read > MAX_HEAD {
            return None;
        }
        buffer.extend_from_slice(&chunk[..read]);
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        let length = match request.parse(buffer) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => continue,
            Err(_) => {
                let text = plain(400, "Bad Request", "");
                let _ = stream.write_all(text.as_bytes()).await;
                return None;
            }
        };
        let value = |name: &str| {
            let header = request
                .headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case(name))?;
            Some(String::from_utf8_lossy(header.value).into_owned())
        };
        let head = Head {
            method: request.method.unwrap_or_default().to_owned(),
            target: request.path.unwrap_or_default().to_owned(),
            authorization: value("authorization"),
            key: value("sec-websocket-key"),
            upgrade: value("upgrade").is_some_and(|to| to.eq_ignore_ascii_case("websocket")),
            version_13: value("sec-websocket-version").as_deref() == Some("13"),
        };
        buffer.drain(..length);
        return Some(head);
    }
}

async fn answer(stream: Stream, response: RestResponse) {
    if response.delivery == Delivery::Never {
        return line::hold(stream).await;
    }
    let mut text = format!(
        "HTTP/1.1 {} {}\r\n",
        response.status,
        phrase(response.status)
    );
    for (name, value) in &response.headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    let length = response.body.len();
    let _ = write!(
        text,
        "Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    let mut bytes = text.into_bytes();
    let sent = match response.delivery {
        Delivery::Cut(bytes) => bytes.min(length),
        _ => length,
    };
    bytes.extend_from_slice(&response.body.as_bytes()[..sent]);
    finish(stream, &bytes).await;
}

async fn finish(mut stream: Stream, bytes: &[u8]) {
    if stream.write_all(bytes).await.is_ok() && stream.flush().await.is_ok() {
        line::end(stream, HowDropped::InOrder).await;
    }
}

/// An answer without a body.
pub(super) fn plain(status: u16, phrase: &str, headers: &str) -> String {
    format!("HTTP/1.1 {status} {phrase}\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n")
}

/// The words after a status.
pub(super) fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        301 => "Moved Permanently",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Status",
    }
}
