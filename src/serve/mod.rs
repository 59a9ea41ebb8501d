//! The cluster on real sockets: TFTP datagram pumps, HTTP and TVS servers, and the signing pool.
//!
//! [`Bound::bind`] opens the sockets and tells the real ports, the cluster is built with them, and
//! [`Servers::start`] serves it; [`Servers::carry_out`] follows the operator. What is served and
//! when lives in `cluster`, how a transfer runs in `transfer`.

mod bound;
mod counts;
mod http;
mod pump;
mod servers;
mod settings;
mod signing;
pub mod state;
mod tree;
mod tvs;

pub use bound::{BindError, Bound};
pub use counts::{HttpCounts, ServeCounts, TftpCounts, TvsCounts};
pub use servers::Servers;
pub use settings::{ServeError, ServeSettings};
pub use tree::{TreeError, write_files};
