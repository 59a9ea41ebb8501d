//! One CUCM cluster without I/O: certificate stores, trust lists, file catalogue, sign cache,
//! operator actions, request → reply.
//!
//! Must not read a clock, open a socket or know a phone. `serve` and `sim` drive it.

mod action;
mod topology;

pub use action::OperatorAction;
pub use topology::{
    CERTIFICATES, CertificateKind, GroupSpec, NodeSpec, Ports, RELEASES, Release, SERVICES,
    SIGN_CACHE_MODES, ServiceKind, SignCacheMode, Topology,
};
