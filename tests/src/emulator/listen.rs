//! The two listeners: open, closed or hanging, as the machine wants them.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::http;
use super::hub::Hub;
use super::line::Stream;
use crate::scenario::{Listener, ListenerMode};

/// How long a client may take for its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// Between two tries to get a port back.
const REBIND: Duration = Duration::from_millis(20);
/// How many dials wait to be taken.
const BACKLOG: u32 = 1024;
/// How many hanging dials are kept open.
const MAX_HANGING: usize = 1024;

/// One listener.
pub(super) struct Door {
    pub(super) which: Listener,
    pub(super) listener: StdListener,
    pub(super) acceptor: Option<TlsAcceptor>,
}

/// Runs the emulator until it is stopped.
pub(super) async fn run(hub: Arc<Hub>, doors: [Door; 2]) {
    for door in doors {
        tokio::spawn(attend(Arc::clone(&hub), door));
    }
    hub.keep_time().await;
}

async fn attend(hub: Arc<Hub>, door: Door) {
    let Door {
        which,
        listener,
        acceptor,
    } = door;
    let mut modes = hub.mode(which);
    let Ok(address) = listener.local_addr() else {
        return;
    };
    let mut listener = TcpListener::from_std(listener).ok();
    loop {
        let mode = *modes.borrow_and_update();
        if mode == ListenerMode::Closed {
            drop(listener.take());
            let closed = keep(address).await;
            hub.door_is(which, mode);
            if modes.changed().await.is_err() {
                return;
            }
            listener = closed.listen(BACKLOG).ok();
            continue;
        }
        let Some(open) = listener.take() else {
            return;
        };
        hub.door_is(which, mode);
        let served = if mode == ListenerMode::Hang {
            hang(&open, &mut modes).await
        } else {
            serve(&hub, which, &open, acceptor.as_ref(), &mut modes).await
        };
        if served.is_err() {
            return;
        }
        listener = Some(open);
    }
}

/// Keeps a port without listening there, so that dials are refused and nobody else is given it meanwhile. It
/// was ours a moment ago; connections of then may still hold it for an instant.
async fn keep(address: SocketAddr) -> TcpSocket {
    let bound = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        // On Windows this would let others have it, and there what is left of connections does not hold it.
        #[cfg(not(windows))]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        io::Result::Ok(socket)
    };
    loop {
        match bound() {
            Ok(socket) => return socket,
            Err(_) => tokio::time::sleep(REBIND).await,
        }
    }
}

type Changed = Result<(), watch::error::RecvError>;

async fn hang(listener: &TcpListener, modes: &mut watch::Receiver<ListenerMode>) -> Changed {
    let mut held = Vec::new();
    loop {
        tokio::select! {
            changed = modes.changed() => return changed,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if held.len() < MAX_HANGING => held.push(stream),
                Ok(_) => {}
                Err(error) => pause_if_full(&error).await,
            },
        }
    }
}

async fn serve(
    hub: &Arc<Hub>,
    which: Listener,
    listener: &TcpListener,
    acceptor: Option<&TlsAcceptor>,
    modes: &mut watch::Receiver<ListenerMode>,
) -> Changed {
    loop {
        tokio::select! {
            changed = modes.changed() => return changed,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let hub = Arc::clone(hub);
                    tokio::spawn(greet(hub, which, stream, acceptor.cloned()));
                }
                Err(error) => pause_if_full(&error).await,
            },
        }
    }
}

/// Out of descriptors is no reason to spin.
async fn pause_if_full(error: &io::Error) {
    if !matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    ) {
        tokio::time::sleep(REBIND).await;
    }
}

async fn greet(hub: Arc<Hub>, which: Listener, tcp: TcpStream, acceptor: Option<TlsAcceptor>) {
    // Small writes must leave at once: a scenario may count on their edges.
    let _ = tcp.set_nodelay(true);
    let stream = match acceptor {
        None => Stream::Plain(tcp),
        Some(acceptor) => match tokio::time::timeout(HANDSHAKE, acceptor.accept(tcp)).await {
            Ok(Ok(tls)) => Stream::Tls(Box::new(tls)),
            _ => return,
        },
    };
    http::serve(hub, which, stream).await;
}
