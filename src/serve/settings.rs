use crate::base::{NodeId, Span};
use crate::cluster::ServiceKind;
use crate::net::threads::StartError;
use crate::transfer::UploadLimits;

use super::bound::BindError;

/// Bounds and deadlines of the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeSettings {
    /// Limits of one TFTP transfer.
    pub upload: UploadLimits,
    /// TFTP transfers of one node at the same time; requests beyond get no answer.
    pub transfers_max: usize,
    /// Threads that sign files.
    pub sign_threads: usize,
    /// Signatures that may wait; requests beyond get no answer.
    pub sign_queue_max: usize,
    /// Threads that serve TVS.
    pub tvs_threads: usize,
    /// TVS connections at the same time, all nodes together; those beyond are closed at once.
    pub tvs_connections_max: usize,
    /// Threads that serve HTTP. One answers 30,000 connections a second (measured), and a second one
    /// takes a fifth of that for waking each other.
    pub http_threads: usize,
    /// Threads that serve HTTPS, where handshakes are the work.
    pub https_threads: usize,
    /// HTTP connections at the same time, all nodes together; those beyond are closed at once. As
    /// many for HTTPS.
    pub http_connections_max: usize,
    /// Longest wait for the head of an HTTP request, on a new connection or after an answer.
    pub header_deadline: Span,
    /// Longest TLS handshake.
    pub handshake_deadline: Span,
    /// Longest wait for a request, and for the peer to take its answer.
    pub request_deadline: Span,
}

impl Default for ServeSettings {
    fn default() -> ServeSettings {
        ServeSettings {
            upload: UploadLimits::default(),
            // Below 1 KB each: a fleet of 50,000 and as many that only seem to be.
            transfers_max: 100_000,
            sign_threads: 2,
            sign_queue_max: 100_000,
            tvs_threads: 2,
            tvs_connections_max: 4_096,
            http_threads: 1,
            https_threads: 2,
            http_connections_max: 4_096,
            header_deadline: Span::from_secs(5),
            // As patient as the phones: what lingers gives way when its place is needed.
            handshake_deadline: Span::from_secs(10),
            request_deadline: Span::from_secs(5),
        }
    }
}

/// Why the servers cannot do what they are told.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A socket cannot be opened.
    #[error(transparent)]
    Bind(BindError),
    /// The host gives no more threads.
    #[error(transparent)]
    Thread(#[from] StartError),
    /// TLS cannot present a certificate.
    #[error(
        "the {certificate} certificate of node {node} cannot be presented: {cause}; regenerate it"
    )]
    Identity {
        /// Which certificate.
        certificate: &'static str,
        /// Name of the node.
        node: String,
        /// What TLS said.
        cause: rustls::Error,
    },
    /// The servers have been shut down, or the node has no such service.
    #[error("no {} server of node number {} is there; activate it in the scenario", service.name(), node.node)]
    Absent {
        /// Which service.
        service: ServiceKind,
        /// Which node.
        node: NodeId,
    },
}
