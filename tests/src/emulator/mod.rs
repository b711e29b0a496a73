//! The emulated gateway on real sockets, on a thread of its own.
//!
//! Everything is decided by the [`ServerMachine`]; this module moves bytes and waits. REST and
//! websocket share a port; a second port is what READY names as `resume_gateway_url`.

mod builder;
mod http;
mod hub;
mod line;
mod listen;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::scenario::{Effect, Listener, ListenerMode};
use crate::server::{Log, ServerMachine, Target};

pub use builder::{Builder, EmulatorError};
pub use tls::Identity;

use hub::Hub;

/// The name of the dispatch that ends a [`flood`](Emulator::flood).
pub const DONE: &str = "EMULATOR_DONE";

/// A running emulated gateway; it stops when dropped.
#[derive(Debug)]
pub struct Emulator {
    hub: Arc<Hub>,
    thread: Option<JoinHandle<()>>,
    main: SocketAddr,
    resume: SocketAddr,
    host: String,
    ca_pem: Option<String>,
}

impl Emulator {
    /// How to start one.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The base of the REST API, as in `http://127.0.0.1:8080/api/v10`.
    #[must_use]
    pub fn api_base(&self) -> String {
        let scheme = if self.ca_pem.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}:{}/api/v10", self.host, self.main.port())
    }

    /// The websocket address for new sessions.
    #[must_use]
    pub fn gateway_url(&self) -> String {
        self.with_machine(|machine| machine.config().main_url.clone())
    }

    /// The websocket address READY names.
    #[must_use]
    pub fn resume_url(&self) -> String {
        self.with_machine(|machine| machine.config().resume_url.clone())
    }

    /// Where it listens for new sessions and REST.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.main
    }

    /// Where it listens for resumes.
    #[must_use]
    pub fn resume_address(&self) -> SocketAddr {
        self.resume
    }

    /// The certificate authority clients must trust, when it speaks TLS.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// Looks at the machine, or tells it something, between two of its steps. Keep it short: the
    /// server waits meanwhile.
    pub fn with_machine<T>(&self, look: impl FnOnce(&mut ServerMachine) -> T) -> T {
        self.hub.with(look)
    }

    /// Waits until the log satisfies a condition; false if that takes too long.
    #[must_use]
    pub fn wait_for(&self, wanted: impl FnMut(&Log) -> bool, at_most: Duration) -> bool {
        self.hub.wait_for(wanted, at_most)
    }

    /// Gives a dispatch to the sessions the target names; says how many there were.
    pub fn push_event(&self, target: &Target, name: &str, d: &str) -> usize {
        self.with_machine(|machine| machine.push_event(Instant::now(), target, name, d))
    }

    /// Sends each session so many events as fast as its line takes them, then [`DONE`]. Memory
    /// stays bounded: an event is made when there is room for it on its line.
    pub fn flood(&self, target: &Target, events: u64) {
        self.with_machine(|machine| machine.flood(Instant::now(), target, events, Some(DONE)));
    }

    /// Each session gets so many events a second from now on.
    pub fn set_rate(&self, rate: f64) {
        self.with_machine(|machine| machine.set_rate(Instant::now(), rate));
    }

    /// Plays effects now.
    pub fn play(&self, target: &Target, effects: &[Effect]) {
        self.with_machine(|machine| machine.play(Instant::now(), target, effects));
    }

    /// What dials to a listener meet from now on. When this returns a
    /// [closed](ListenerMode::Closed) listener refuses connections.
    pub fn set_listener(&self, which: Listener, mode: ListenerMode) {
        self.play(
            &Target::All,
            &[Effect::Listener {
                which,
                mode,
                ms: None,
            }],
        );
        self.hub.wait_for_listener(which, mode);
    }

    /// Stops: all lines are dropped and the thread ends.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.hub.stop();
        if let Some(thread) = self.thread.take() {
            // The thread's own panic was printed already; a stop must not bring a second one.
            let _ = thread.join();
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.end();
    }
}
