//! TFTP transfer state machines, client and server side, without I/O (RFC 1350, 2347–2349, 7440).
//!
//! Datagrams and the time go in; datagrams and outcomes come out. `serve`, `swarm` and `sim` drive
//! them, so that the same rules hold live and in virtual time.

mod download;
mod fault;
mod upload;

pub use download::{Download, DownloadOutcome, DownloadRequest, Progress};
pub use fault::{Breach, Reached, TransferFault};
pub use upload::{Content, Reply, Upload, UploadLimits, write_not_found};
