//! What a cluster is on disk, between two runs, and what its database answers.
//!
//! Reads and writes files below a directory that the user names; no clock, no socket. `SQLite` is met
//! here and nowhere else.

mod backup;
mod database;
mod error;
mod files;
mod kept;
mod lsc;
mod origin;
mod pem;
mod sql;
mod tables;

pub use backup::{load_backups, save_backup};
pub use database::{load_cluster, save_cluster};
pub use error::StateError;
pub use sql::{KeptSql, MemorySql};
