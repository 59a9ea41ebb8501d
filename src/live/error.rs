use std::io;
use std::path::PathBuf;

use crate::cluster::ActionError;
use crate::net::http::MetricsError;
use crate::net::threads::StartError;
use crate::serve::{BindError, FolderError, ServeError, TreeError};
use crate::vault::StateError;

/// Why a live run cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The operator's action does not fit the cluster.
    #[error(transparent)]
    Action(#[from] ActionError),
    /// A server's socket cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A server cannot start.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Stored certificates cannot be used or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The files to serve beside those of the cluster cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The served files cannot be written.
    #[error(transparent)]
    Files(#[from] TreeError),
    /// The metrics listener cannot start.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The socket of the consoles cannot be opened.
    #[error("cannot open the console at {}: {cause}; name another place with --admin", path.display())]
    Admin {
        /// Where.
        path: PathBuf,
        /// What the host said.
        cause: io::Error,
    },
    /// A thread cannot be started, or what it needs cannot be opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The host permits too few descriptors for even one phone at a time.
    #[error(
        "this host permits {limit} descriptors and {least} are needed for one phone at a time; \
         raise the limit (ulimit -n, LimitNOFILE= of the service)"
    )]
    Descriptors {
        /// What the host permits.
        limit: u64,
        /// What is needed at least.
        least: u64,
    },
}
