//! Starts an emulator.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Instant;

use super::hub::Hub;
use super::listen::{self, Door};
use super::{Emulator, Identity};
use crate::corpus::Corpus;
use crate::scenario::{Listener, Scenario};
use crate::server::{ServerConfig, ServerMachine};

/// Why an emulator could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmulatorError {
    /// An address could not be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The thread or its runtime could not be started.
    #[error("cannot start the emulator's thread: {0}")]
    Thread(std::io::Error),
    /// The certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(String),
}

/// What an emulator is to be like.
#[derive(Debug)]
#[must_use]
pub struct Builder {
    config: ServerConfig,
    scenario: Scenario,
    corpus: Option<Corpus>,
    seed: u64,
    main: SocketAddr,
    resume: SocketAddr,
    suffixes: [String; 2],
    tls: Option<Vec<String>>,
}

impl Default for Builder {
    fn default() -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            config: ServerConfig::default(),
            scenario: Scenario::default(),
            corpus: None,
            seed: 0,
            main: any,
            resume: any,
            suffixes: [String::new(), String::new()],
            tls: None,
        }
    }
}

impl Builder {
    /// The server's settings; addresses and flow control are the emulator's own.
    pub fn config(mut self, config: ServerConfig) -> Self {
        self.config = config;
        self
    }

    /// Changes single settings.
    pub fn configure(mut self, change: impl FnOnce(&mut ServerConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// What it does to its clients (nothing).
    pub fn scenario(mut self, scenario: Scenario) -> Self {
        self.scenario = scenario;
        self
    }

    /// Which events it streams (the built-in ones).
    pub fn corpus(mut self, corpus: Corpus) -> Self {
        self.corpus = Some(corpus);
        self
    }

    /// What its dice are thrown with (0).
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Where it listens for new sessions and REST (a free port of 127.0.0.1).
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.main = address;
        self
    }

    /// Where it listens for resumes (a free port of 127.0.0.1).
    pub fn resume_listen(mut self, address: SocketAddr) -> Self {
        self.resume = address;
        self
    }

    /// What follows the port in a listener's websocket address: a path, a query, both (nothing).
    pub fn suffix(mut self, which: Listener, suffix: &str) -> Self {
        self.suffixes[which as usize] = suffix.to_owned();
        self
    }

    /// Speak TLS, with a certificate for `localhost` and 127.0.0.1 by an authority of its own.
    pub fn tls(self) -> Self {
        self.tls_for(["localhost", "127.0.0.1"])
    }

    /// Speak TLS, with a certificate for these names.
    pub fn tls_for<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.tls = Some(names.into_iter().map(str::to_owned).collect());
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// When an address cannot be listened on, or there is no thread or no certificate to be had.
    pub fn start(self) -> Result<Emulator, EmulatorError> {
        let identity = self.tls.map(|names| Identity::new(&names)).transpose()?;
        let (main, main_at) = bind(self.main)?;
        let (resume, resume_at) = bind(self.resume)?;
        let scheme = if identity.is_some() { "wss" } else { "ws" };
        let host = host_of(main_at);
        let mut config = self.config;
        config.flow_control = true;
        let [main_suffix, resume_suffix] = &self.suffixes;
        config.main_url = format!("{scheme}://{host}:{}{main_suffix}", main_at.port());
        config.resume_url = format!(
            "{scheme}://{}:{}{resume_suffix}",
            host_of(resume_at),
            resume_at.port()
        );
        let corpus = Arc::new(self.corpus.unwrap_or_else(Corpus::builtin));
        let now = Instant::now();
        let machine = ServerMachine::with(config, self.scenario, corpus, self.seed, now);
        let hub = Arc::new(Hub::new(machine));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(EmulatorError::Thread)?;
        let (acceptor, ca_pem) = match identity {
            Some(identity) => (Some(identity.acceptor), Some(identity.ca_pem)),
            None => (None, None),
        };
        let doors =
            [(Listener::Main, main), (Listener::Resume, resume)].map(|(which, listener)| Door {
                which,
                listener,
                acceptor: acceptor.clone(),
            });
        let of_thread = Arc::clone(&hub);
        let thread = std::thread::Builder::new()
            .name("gateway-emulator".to_owned())
            .spawn(move || runtime.block_on(listen::run(of_thread, doors)))
            .map_err(EmulatorError::Thread)?;
        Ok(Emulator {
            hub,
            thread: Some(thread),
            main: main_at,
            resume: resume_at,
            host,
            ca_pem,
        })
    }
}

fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), EmulatorError> {
    let bound = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let at = listener.local_addr()?;
        Ok((listener, at))
    };
    bound().map_err(|source| EmulatorError::Listen { address, source })
}

/// The host clients on this machine reach the address at.
fn host_of(address: SocketAddr) -> String {
    match address {
        address if address.ip().is_unspecified() => "127.0.0.1".to_owned(),
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    }
}
