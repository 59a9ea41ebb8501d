//! Certificates and keys of a cluster in files, so that a later run has the same ones.
//!
//! `<node>/<Kind>.pem` is the certificate, `<node>/<Kind>.key` its key (PKCS#8), `.etokens/` holds
//! those of tokens, `CTLFile.tlv` is the CTL, `trust.pem` what the nodes trust; the owner alone may
//! read them.

use std::fmt::Display;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cluster::{
    CERTIFICATES, CertificateKind, Cluster, CtlFile, NodeSet, Source, Stored, StoredTrust,
    TRUST_STORES, Topology, TrustStore,
};
use crate::crypto::{Certificate, Credential, EcIdentity, Identity, KeyStore, KeyStoreError};

const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// Longest file that is read: keys and certificates have a few kilobytes, and 64 nodes trust some
/// hundred.
const FILE_LENGTH_MAX: u64 = 4 * 1_024 * 1_024;

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

/// Writes the certificates and keys of all nodes and tokens, and the CTL, below `dir`.
pub fn save_cluster(dir: &Path, cluster: &Cluster) -> Result<(), StateError> {
    make_directory(dir)?;
    for (node, kind, own) in cluster.stores().identities() {
        let pair = paths(dir, &cluster.topology().node(node).name, kind.name())?;
        save_pair(dir, pair, &own.key_pem(), own.certificate())?;
    }
    for (name, token) in cluster.etokens() {
        save_pair(dir, paths(dir, ETOKENS, name)?, &token.key.to_pem(), &token.certificate)?;
    }
    write_private(&dir.join(TRUST), trust_text(cluster).as_bytes())?;
    let mismatches = cluster.mismatches();
    for (id, node) in cluster.topology().ids().zip(&cluster.topology().nodes) {
        let recorded = paths(dir, &node.name, RECORDED)?.0;
        match mismatches.iter().find(|mismatch| mismatch.node == id) {
            Some(mismatch) => write_private(&recorded, mismatch.recorded.to_pem().as_bytes())?,
            None => remove(&recorded)?,
        }
    }
    match cluster.ctl() {
        Some(ctl) => write_private(&dir.join(CTL), ctl.bytes()),
        None => Ok(()),
    }
}

fn save_pair(
    dir: &Path,
    (certificate, key): (PathBuf, PathBuf),
    key_pem: &str,
    public: &Certificate,
) -> Result<(), StateError> {
    make_directory(certificate.parent().unwrap_or(dir))?;
    // The key first: a certificate without its key is noticed, as is a key without it.
    write_private(&key, key_pem.as_bytes())?;
    write_private(&certificate, public.to_pem().as_bytes())
}

/// Reads what was saved below `dir` for the nodes of `topology`; what was not saved is left out.
pub fn load_cluster(dir: &Path, topology: &Topology) -> Result<Stored, StateError> {
    let mut stored = Stored::default();
    for name in &topology.security.etokens {
        let (certificate, key) = paths(dir, ETOKENS, name)?;
        // A token signs with RSA, as CallManager does.
        let token = load_pair(CertificateKind::CallManager, certificate, key)?;
        let token = token.as_ref().and_then(Credential::rsa).cloned();
        stored.etokens.extend(token.map(|token| (name.clone(), token)));
    }
    let ctl = dir.join(CTL);
    if let Some(bytes) = read(&ctl)? {
        let file = CtlFile::from_bytes(bytes);
        stored.ctl = Some(file.ok_or_else(|| unusable(&ctl, "it is no signed list"))?);
    }
    let trust = dir.join(TRUST);
    if let Some(text) = read_text(&trust)? {
        let trusted = read_trust(&text, topology);
        stored.trust = Some(trusted.map_err(|cause| unusable(&trust, cause))?);
    }
    for (id, node) in topology.ids().zip(&topology.nodes) {
        for kind in CERTIFICATES {
            let (certificate, key) = paths(dir, &node.name, kind.name())?;
            if let Some(own) = load_pair(kind, certificate, key)? {
                stored.own.insert((id, kind), own);
            }
        }
        let recorded = paths(dir, &node.name, RECORDED)?.0;
        if let Some(pem) = read_text(&recorded)? {
            let certificate = KeyStore::from_pem(&pem);
            let certificate = certificate.and_then(|store| store.first_certificate().cloned());
            let certificate = certificate.map_err(|cause| unusable(&recorded, cause))?;
            stored.recorded.insert(id, certificate);
        }
    }
    Ok(stored)
}

/// The name of what the database of a node has, where its CallManager.pem is another one (BKP-06).
const RECORDED: &str = "CallManager-recorded";

/// The folder of the tokens: no node has a name that begins so.
const ETOKENS: &str = ".etokens";

/// The file of what the nodes trust.
const TRUST: &str = "trust.pem";

/// Every trusted certificate behind a line with its store and how it came there, such as
/// `CallManager-trust copy CallManager pub`.
fn trust_text(cluster: &Cluster) -> String {
    let topology = cluster.topology();
    let names = |set: NodeSet| -> String {
        let nodes = topology.ids().filter(|&node| set.contains(node));
        nodes.map(|node| topology.node(node).name.as_str()).collect::<Vec<_>>().join(",")
    };
    let item = |(store, certificate, source): (TrustStore, &Certificate, Source)| {
        let source = match source {
            Source::Preloaded => "preloaded".to_owned(),
            Source::Copy(kind, nodes) => format!("copy {} {}", kind.name(), names(nodes)),
            Source::Imported(node) => format!("imported {}", topology.node(node).name),
        };
        format!("{} {source}\n{}", store.name(), certificate.to_pem())
    };
    cluster.stores().settled().map(item).collect()
}

fn read_trust(text: &str, topology: &Topology) -> Result<Vec<StoredTrust>, String> {
    const END: &str = "-----END CERTIFICATE-----";
    let blocks = text.split_inclusive(END).filter(|block| block.ends_with(END));
    blocks.map(|block| read_trusted(block.trim_start(), topology)).collect()
}

fn read_trusted(block: &str, topology: &Topology) -> Result<StoredTrust, String> {
    let head = block.lines().next().unwrap_or_default();
    let bad = || format!("{head:?} does not say where a certificate belongs");
    let words: Vec<&str> = head.split(' ').collect();
    let (store, source) = words.split_first().ok_or_else(bad)?;
    let store = TRUST_STORES.into_iter().find(|known| known.name() == *store).ok_or_else(bad)?;
    let node = |name: &str| topology.node_named(name);
    let elsewhere = Source::Imported(topology.cluster.node(0));
    let source = match source {
        ["preloaded"] => Source::Preloaded,
        // Of a node that is no longer there it is the certificate of another server.
        ["imported", name] => node(name).map_or(elsewhere, Source::Imported),
        ["copy", kind, names] => {
            let kind = CERTIFICATES.into_iter().find(|known| known.name() == *kind);
            let nodes: Vec<_> = names.split(',').filter_map(node).collect();
            let copy = Source::Copy(kind.ok_or_else(bad)?, NodeSet::of(&nodes));
            if nodes.is_empty() { elsewhere } else { copy }
        }
        _ => return Err(bad()),
    };
    let certificate = KeyStore::from_pem(block).and_then(|keys| keys.first_certificate().cloned());
    Ok((store, certificate.map_err(|cause| cause.to_string())?, source))
}

/// The file of the CTL.
const CTL: &str = "CTLFile.tlv";

/// Where certificate and key of an owner are.
fn paths(dir: &Path, owner: &str, name: &str) -> Result<(PathBuf, PathBuf), StateError> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_file = |name: &str| {
        !name.is_empty() && name.len() <= 250 && !name.starts_with('.') && name.bytes().all(good)
    };
    for part in [owner, name] {
        if part != ETOKENS && !is_file(part) {
            return Err(StateError::NodeName(part.to_owned()));
        }
    }
    let file = |extension| dir.join(owner).join(format!("{name}.{extension}"));
    Ok((file("pem"), file("key")))
}

fn load_pair(
    kind: CertificateKind,
    certificate: PathBuf,
    key: PathBuf,
) -> Result<Option<Credential>, StateError> {
    let (certificate_pem, key_pem) = match (read_text(&certificate)?, read_text(&key)?) {
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
pub(super) fn credential(
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

pub(super) fn unusable(path: &Path, cause: impl Display) -> StateError {
    StateError::Content { path: path.to_owned(), cause: cause.to_string() }
}

/// The text of a file, or `None` if it is not there.
fn read_text(path: &Path) -> Result<Option<String>, StateError> {
    let text = |bytes| String::from_utf8(bytes).map_err(|cause| unusable(path, cause));
    read(path)?.map(text).transpose()
}

/// The bytes of a file, or `None` if it is not there.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    let length = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(file_error("read", path, cause)),
    };
    if length > FILE_LENGTH_MAX {
        return Err(unusable(path, format_args!("longer than {FILE_LENGTH_MAX} bytes")));
    }
    fs::read(path).map(Some).map_err(|cause| file_error("read", path, cause))
}

fn make_directory(path: &Path) -> Result<(), StateError> {
    let made = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path);
    // A directory that was there before may be open to others.
    made.and_then(|()| fs::set_permissions(path, Permissions::from_mode(DIRECTORY_MODE)))
        .map_err(|cause| file_error("make the directory", path, cause))
}

/// Writes a file that the owner alone may read, from its first instant on, and never half.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    // One that a run of the same number left behind; whether it is there does not matter.
    let _ = fs::remove_file(&temporary);
    let write = || {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(FILE_MODE).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|cause| {
        let _ = fs::remove_file(&temporary);
        file_error("write", path, cause)
    })
}

/// Removes a file that may not be there.
fn remove(path: &Path) -> Result<(), StateError> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(file_error("remove", path, cause))
        }
        _ => Ok(()),
    }
}

pub(super) fn file_error(what: &'static str, path: &Path, cause: io::Error) -> StateError {
    StateError::File { what, path: path.to_owned(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_names_never_leave_the_directory() {
        for name in ["", ".", "..", "../x", "a/b", ".hidden", "a\0b", "ä", &"a".repeat(256)] {
            let paths = paths(Path::new("state"), name, "TVS");
            assert!(matches!(paths, Err(StateError::NodeName(_))), "{name:?}");
        }
        let (certificate, key) = paths(Path::new("state"), "cucm-1.example_net", "TVS").unwrap();
        assert_eq!(certificate, Path::new("state/cucm-1.example_net/TVS.pem"));
        assert_eq!(key, Path::new("state/cucm-1.example_net/TVS.key"));
    }

    #[test]
    fn a_file_is_private_replaced_whole_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        write_private(&path, b"first").unwrap();
        write_private(&path, b"second").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, FILE_MODE);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
