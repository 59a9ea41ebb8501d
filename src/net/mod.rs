//! What live runs share: the one clock, host limits, sockets, TLS, signals and the
//! metrics listener.
//!
//! Only `serve`, `swarm`, `live`, `capacity` and `cli` import this floor.

mod clock;
pub mod host;
pub mod http;
pub mod limits;
pub mod listen;
mod pktinfo;
pub mod signals;
mod tls_client;
pub mod tls_server;

pub use clock::Clock;
pub use pktinfo::{Arrival, FleetSocket};
pub use tls_client::{Judge, TlsClients};
