//! Certificates and keys of a cluster in files, so that a later run has the same ones.
//!
//! `<node>/<Kind>.pem` is the certificate, `<node>/<Kind>.key` its key (PKCS#8); the owner alone
//! may read either.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::NodeId;
use crate::cluster::{CERTIFICATES, CertificateKind, Cluster, Topology};
use crate::crypto::{Certificate, Credential, EcIdentity, Identity, KeyStore, KeyStoreError};

const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// Longest file that is read: keys and certificates have a few kilobytes.
const FILE_LENGTH_MAX: u64 = 64 * 1_024;

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

/// Writes the certificates and keys of all nodes below `dir`.
pub fn save_identities(dir: &Path, cluster: &Cluster) -> Result<(), StateError> {
    make_directory(dir)?;
    for (node, kind, own) in cluster.stores().identities() {
        let (certificate, key) = paths(dir, &cluster.topology().node(node).name, kind)?;
        make_directory(certificate.parent().unwrap_or(dir))?;
        // The key first: a certificate without its key is noticed, as is a key without it.
        write_private(&key, &own.key_pem())?;
        write_private(&certificate, &own.certificate().to_pem())?;
    }
    Ok(())
}

/// Reads the certificates and keys that were saved below `dir` for the nodes of `topology`; those
/// that were not saved are left out.
pub fn load_identities(
    dir: &Path,
    topology: &Topology,
) -> Result<BTreeMap<(NodeId, CertificateKind), Credential>, StateError> {
    let mut identities = BTreeMap::new();
    for (id, node) in topology.ids().zip(&topology.nodes) {
        for kind in CERTIFICATES {
            let (certificate, key) = paths(dir, &node.name, kind)?;
            if let Some(own) = load_pair(kind, certificate, key)? {
                identities.insert((id, kind), own);
            }
        }
    }
    Ok(identities)
}

fn paths(dir: &Path, node: &str, kind: CertificateKind) -> Result<(PathBuf, PathBuf), StateError> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if node.is_empty() || node.len() > 255 || node.starts_with('.') || !node.bytes().all(good) {
        return Err(StateError::NodeName(node.to_owned()));
    }
    let file = |extension| dir.join(node).join(format!("{}.{extension}", kind.name()));
    Ok((file("pem"), file("key")))
}

fn load_pair(
    kind: CertificateKind,
    certificate: PathBuf,
    key: PathBuf,
) -> Result<Option<Credential>, StateError> {
    let (certificate_pem, key_pem) = match (read(&certificate)?, read(&key)?) {
        (Some(certificate_pem), Some(key_pem)) => (certificate_pem, key_pem),
        (None, None) => return Ok(None),
        (None, Some(_)) => {
            return Err(StateError::Missing { missing: certificate, present: key });
        }
        (Some(_), None) => {
            return Err(StateError::Missing { missing: key, present: certificate });
        }
    };
    let private = KeyStore::from_pem(&key_pem).map_err(|cause| unusable(&key, cause))?;
    let public = KeyStore::from_pem(&certificate_pem);
    let public = public.and_then(|store| store.first_certificate().cloned());
    let public = public.map_err(|cause| unusable(&certificate, cause))?;
    let own = credential(kind, public, &private).map_err(|cause| unusable(&key, cause))?;
    if own.certificate().public_key() != own.public_key() {
        return Err(StateError::Mismatch { certificate, key });
    }
    Ok(Some(own))
}

/// A certificate of this kind with its key.
fn credential(
    kind: CertificateKind,
    certificate: Certificate,
    private: &KeyStore,
) -> Result<Credential, KeyStoreError> {
    Ok(if kind.is_ec() {
        EcIdentity { certificate, key: Arc::new(private.ec_key()?) }.into()
    } else {
        Identity { certificate, key: Arc::new(private.signing_key()?) }.into()
    })
}

fn unusable(path: &Path, cause: impl Display) -> StateError {
    StateError::Content { path: path.to_owned(), cause: cause.to_string() }
}

/// The text of a file, or `None` if it is not there.
fn read(path: &Path) -> Result<Option<String>, StateError> {
    let length = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(file_error("read", path, cause)),
    };
    if length > FILE_LENGTH_MAX {
        return Err(unusable(path, format_args!("longer than {FILE_LENGTH_MAX} bytes")));
    }
    fs::read_to_string(path).map(Some).map_err(|cause| file_error("read", path, cause))
}

fn make_directory(path: &Path) -> Result<(), StateError> {
    let made = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path);
    // A directory that was there before may be open to others.
    made.and_then(|()| fs::set_permissions(path, Permissions::from_mode(DIRECTORY_MODE)))
        .map_err(|cause| file_error("make the directory", path, cause))
}

/// Writes a file that the owner alone may read, from its first instant on, and never half.
fn write_private(path: &Path, text: &str) -> Result<(), StateError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    // One that a run of the same number left behind; whether it is there does not matter.
    let _ = fs::remove_file(&temporary);
    let write = || {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(FILE_MODE).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|cause| {
        let _ = fs::remove_file(&temporary);
        file_error("write", path, cause)
    })
}

fn file_error(what: &'static str, path: &Path, cause: io::Error) -> StateError {
    StateError::File { what, path: path.to_owned(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_names_never_leave_the_directory() {
        for name in ["", ".", "..", "../x", "a/b", ".hidden", "a\0b", "ä", &"a".repeat(256)] {
            let paths = paths(Path::new("state"), name, CertificateKind::Tvs);
            assert!(matches!(paths, Err(StateError::NodeName(_))), "{name:?}");
        }
        let (certificate, key) =
            paths(Path::new("state"), "cucm-1.example_net", CertificateKind::Tvs).unwrap();
        assert_eq!(certificate, Path::new("state/cucm-1.example_net/TVS.pem"));
        assert_eq!(key, Path::new("state/cucm-1.example_net/TVS.key"));
    }

    #[test]
    fn a_file_is_private_replaced_whole_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        write_private(&path, "first").unwrap();
        write_private(&path, "second").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, FILE_MODE);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
