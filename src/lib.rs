//! resetstorm rehearses the reset storm of a Cisco Unified Communications Manager cluster.
//!
//! The house has floors, and imports go down only: `ARCHITECTURE.md` draws them, and
//! `tests/suite/architecture.rs` holds both to it.

pub mod advice;
pub mod base;
pub mod calibrate;
pub mod capacity;
pub mod cli;
pub mod cluster;
pub mod console;
pub mod crypto;
pub mod forecast;
pub mod listing;
pub mod live;
pub mod measure;
pub mod net;
pub mod phone;
pub mod play;
pub mod report;
pub mod scenario;
pub mod serve;
pub mod sim;
pub mod swarm;
pub mod toolbox;
pub mod transfer;
pub mod vault;
pub mod wire;
