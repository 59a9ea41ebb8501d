use std::io;
use std::path::PathBuf;

/// Why certificates and keys cannot be kept or used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The host refuses a file.
    #[error("cannot {what} {}: {cause}; check that the directory is yours and has space", path.display())]
    File {
        /// What was to be done.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the host said.
        cause: io::Error,
    },
    /// The database refuses.
    #[error(
        "cannot {what} {}: {cause}; check that the file is yours, whole and not held by another \
         program, or take it away to begin anew",
        path.display()
    )]
    Database {
        /// What was to be done.
        what: &'static str,
        /// Its file.
        path: PathBuf,
        /// What `SQLite` said.
        cause: rusqlite::Error,
    },
    /// The database is not of this program, or of a later one.
    #[error("{} is {what}; name another directory or take the file away", path.display())]
    Foreign {
        /// Its file.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// A key lies beside a database that does not hold it.
    #[error(
        "{} is another key than that in cluster.db; take the file away to go on with the database, \
         or the database to begin with the files",
        key.display()
    )]
    Beside {
        /// The file with the key.
        key: PathBuf,
    },
    /// Something in the database cannot be used.
    #[error(
        "cannot use {what} in {}: {cause}; restore the file from a copy or take it away to begin anew",
        path.display()
    )]
    Row {
        /// What.
        what: String,
        /// The file of the database.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A file holds something else than it should.
    #[error("cannot use {}: {cause}; put the right file there or delete it with its partner", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// Certificate and key do not belong together.
    #[error(
        "{} is not the key of {}; put the matching pair there or delete both",
        key.display(),
        certificate.display()
    )]
    Mismatch {
        /// The file with the certificate.
        certificate: PathBuf,
        /// The file with the key.
        key: PathBuf,
    },
    /// One of a pair of files is not there.
    #[error(
        "{} is missing, but {} is there; put it back or delete both",
        missing.display(),
        present.display()
    )]
    Missing {
        /// The file that is not there.
        missing: PathBuf,
        /// Its partner.
        present: PathBuf,
    },
    /// The name of a node is no name for a directory.
    #[error("node name {0:?} cannot name a directory; use letters, digits, '-', '_' and '.'")]
    NodeName(String),
}
