//! What live runs share: the one clock, host limits, listening sockets and the metrics listener.
//!
//! Only `serve`, `swarm` and `cli` import this floor.

mod clock;
pub mod http;
pub mod limits;
pub mod listen;
pub mod tls_server;

pub use clock::Clock;
