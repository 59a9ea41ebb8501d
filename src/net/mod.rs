//! What live runs share: the one clock, host limits, sockets and addresses of phones, TLS, signals
//! and the metrics listener.
//!
//! Only `serve`, `swarm`, `live`, `capacity` and `cli` import this floor.

mod clock;
mod datagrams;
pub mod fleet;
pub mod host;
pub mod http;
mod lack;
mod late;
pub mod limits;
pub mod listen;
pub mod mail;
mod messages;
mod pktinfo;
mod provider;
pub mod signals;
pub mod threads;
mod tls_client;
pub mod tls_server;
mod watch;

pub use clock::Clock;
pub use datagrams::{Incoming, Outgoing, Sent};
pub use lack::{lack_of, remedy};
pub use late::{LateListener, LateStream};
pub use messages::{ReadFault, read_message};
pub use pktinfo::{Arrival, FleetSocket};
pub use tls_client::{Judge, Talk, TlsClients, TlsFault};
pub use watch::Watch;
