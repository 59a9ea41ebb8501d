//! TFTP transfer state machines, client and server side, without I/O (RFC 1350, 2347–2349, 7440).
//!
//! Datagrams and the time go in; datagrams and outcomes come out. `serve`, `swarm` and `sim` drive
//! them, so that the same rules hold live and in virtual time. [`Download`] and [`Upload`] are the
//! two ends of one transfer, [`Uploads`] all transfers of a server.

mod download;
mod fault;
#[cfg(test)]
mod simulation;
mod table;
mod upload;
mod uploads;

pub use download::{Download, DownloadOutcome, DownloadRequest, Progress};
pub use fault::{Breach, Reached, TransferFault};
pub use table::{Line, TRANSFER_SOCKETS};
pub use upload::{Content, Reply, Upload, UploadLimits};
pub use uploads::{Found, Offer, Step, Transmit, UploadCounts, Uploads};
