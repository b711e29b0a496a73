//! What every shardwright runtime needs and the pure core may not hold: the REST call, trust roots,
//! mailboxes and options. There is no async runtime in its tree.
//!
//! Internal: use a runtime crate such as `shardwright-tokio` instead.

mod http;
mod https;
mod mailbox;
mod options;
mod seed;
mod tls;

pub use http::{fetch, fetch_on_thread};
pub use mailbox::{Mailboxes, Overflow, Slot};
pub use options::{ConnectError, Options};
pub use seed::random_seed;
pub use tls::{TlsError, TlsOptions};
