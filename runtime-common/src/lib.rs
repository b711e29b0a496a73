//! What every shardwright runtime needs and the pure core may not hold: the REST call, trust roots,
//! mailboxes, the bot's handle and events, the fleet's owner, a shard's seat. There is no async runtime
//! in its tree.
//!
//! Internal: use a runtime crate such as `shardwright-tokio` instead. A runtime of one's own dials, and
//! gives turns to what is here: to the [`Owner`] of [`prepare`], and to a [`Driver`] for each [`Seat`] that it
//! hands out.

mod bodies;
mod bot;
mod bursts;
mod collecting;
mod connect;
mod delivery;
mod dial;
mod driver;
mod events;
mod framing;
mod gate;
mod http;
mod https;
mod inbox;
mod keeping;
mod mailbox;
mod options;
mod owner;
mod pace;
mod permit;
mod rush;
mod saver;
mod seat;
mod seed;
mod store;
mod stream_socket;
pub mod surface;
mod swap;
pub mod threads;
mod tls;
mod trace_file;
mod tunnel;
mod upgrade;

pub use bot::{Accepted, Bot};
pub use bursts::Bursts;
pub use connect::{Connecting, Inquiry, prepare, prepare_shards};
pub use delivery::InPlace;
pub use dial::{Target, fault, io_fault};
pub use driver::{Dial, Dialler, Driver, Socket};
pub use events::Events;
pub use framing::{Ended, Framing, Incoming, write_bytes};
pub use gate::IdentifyGate;
pub use http::{fetch, fetch_on_thread};
pub use mailbox::{Acknowledge, AcknowledgeError, Batch, Mailboxes, Overflow, Room, Slot};
pub use options::{ConnectError, Options};
pub use owner::{Owner, Turn};
pub use pace::Consumer;
pub use seat::{Seat, Wire};
pub use seed::random_seed;
pub use store::{FileStore, SavedRun, SavedStarts, SessionStore, StoreError};
pub use stream_socket::{ByteStream, StreamSocket};
pub use tls::{TlsError, TlsOptions};
pub use trace_file::{TraceFile, TraceFileError};
pub use tunnel::{Network, tunnel, unreached};
pub use upgrade::UpgradeReader;
