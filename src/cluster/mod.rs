//! One CUCM cluster without I/O: certificate stores, trust lists, file catalogue, sign cache,
//! operator actions, request → reply.
//!
//! Must not read a clock, open a socket or know a phone. `serve` and `sim` drive it.

mod action;
mod catalogue;
mod itl;
mod knowledge;
mod sign_cache;
mod state;
mod tftp_service;
mod topology;

pub use action::OperatorAction;
pub use catalogue::{Catalogue, Contents, FleetSpec};
pub use knowledge::Knowledge;
pub use sign_cache::{CacheKey, Claim, SignCache, SignCounts, Waiter};
pub use state::{ActionError, Cluster, Effect, Genesis, TvsService};
pub use tftp_service::{FileReply, PendingFile, ServedFile, SignJob, Signed, Signers, TftpService};
pub use topology::{
    CERTIFICATES, CertificateKind, FILE_SIGNATURES, FileSignature, GroupSpec, HTTP_PORT,
    HTTPS_PORT, NodeSpec, Ports, RELEASES, Release, SERVICES, SIGN_CACHE_MODES, ServiceKind,
    SignCacheMode, Topology,
};
