//! What live runs share: the one clock, host limits, sockets, TLS and the metrics listener.
//!
//! Only `serve`, `swarm`, `live` and `cli` import this floor.

mod clock;
pub mod host;
pub mod http;
pub mod limits;
pub mod listen;
mod pktinfo;
mod tls_client;
pub mod tls_server;

pub use clock::Clock;
pub use pktinfo::{Arrival, FleetSocket};
pub use tls_client::{Judge, TlsClients};
