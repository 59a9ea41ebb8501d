//! The cluster on real sockets: TFTP datagram pumps, one kind of listener
//! for all that speaks TCP (HTTP, HTTPS, dialogues), and the signing pool.
//!
//! [`Bound::bind`] opens the sockets and tells the real ports, the cluster is built with them, and
//! [`Servers::start`] serves it; [`Servers::follow`] follows the operator. What is served and
//! when lives in `cluster`, how a transfer runs in `transfer`.

mod bound;
mod counts;
mod dialogue;
mod http;
mod listener;
mod pump;
mod servers;
mod settings;
mod signing;
mod tree;
mod web;

pub use bound::{BindError, Bound};
pub use counts::{DialogueCounts, ServeCounts, TcpCounts, TftpCounts};
pub use servers::Servers;
pub use settings::{ServeError, ServeSettings};
pub use tree::{FolderError, TreeError, read_files, write_files};
