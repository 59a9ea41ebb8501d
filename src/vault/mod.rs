//! What a cluster is on disk, between two runs.
//!
//! Reads and writes files below a directory that the user names; no clock, no socket.

mod backup;
mod pem;

pub use backup::{load_backups, save_backup};
pub use pem::{StateError, load_cluster, save_cluster};
