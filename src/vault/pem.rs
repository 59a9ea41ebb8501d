//! Certificates and keys of a cluster in files: what `resetstorm` kept before it had a database, what
//! a user may put there instead, and the copies of certificates for other programs.
//!
//! `<node>/<Kind>.pem` is the certificate, `<node>/<Kind>.key` its key (PKCS#8), `.etokens/` holds
//! those of tokens, `CTLFile.tlv` is the CTL, `trust.pem` what the nodes trust.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cluster::{
    CERTIFICATES, CertificateKind, Cluster, CtlFile, Stored, StoredTrust, TRUST_STORES, Topology,
};
use crate::crypto::{Certificate, Credential, EcIdentity, Identity, KeyStore, KeyStoreError};

use super::error::StateError;
use super::files::{make_directory, read, read_text, remove, unusable, write_private};
use super::origin::source_of;

/// Writes the certificates of all nodes below `dir`, without their keys: copies for other programs,
/// which nothing reads back.
pub(super) fn copy_certificates(dir: &Path, cluster: &Cluster) -> Result<(), StateError> {
    for (node, kind, own) in cluster.stores().identities() {
        let (path, _) = paths(dir, &cluster.topology().node(node).name, kind.name())?;
        let text = own.certificate().to_pem();
        // Most of them are there already.
        if fs::read(&path).is_ok_and(|there| there == text.as_bytes()) {
            continue;
        }
        make_directory(path.parent().unwrap_or(dir))?;
        write_private(&path, text.as_bytes())?;
    }
    Ok(())
}

/// Removes what has gone into the database: keys, tokens, the CTL and what nodes trust.
pub(super) fn remove_migrated(dir: &Path, topology: &Topology) -> Result<(), StateError> {
    for node in &topology.nodes {
        for kind in CERTIFICATES {
            remove(&paths(dir, &node.name, kind.name())?.1)?;
        }
        remove(&paths(dir, &node.name, RECORDED)?.0)?;
    }
    for name in &topology.security.etokens {
        let (certificate, key) = paths(dir, ETOKENS, name)?;
        remove(&key)?;
        remove(&certificate)?;
    }
    // One that holds tokens of another scenario stays.
    let _ = fs::remove_dir(dir.join(ETOKENS));
    remove(&dir.join(TRUST))?;
    remove(&dir.join(CTL))
}

/// Looks for key files beside a database: one that it has was left by somebody who was killed while
/// it was taken over, and goes; another one is nobody's to choose.
pub(super) fn settle(dir: &Path, topology: &Topology, stored: &Stored) -> Result<(), StateError> {
    for (id, node) in topology.ids().zip(&topology.nodes) {
        for kind in CERTIFICATES {
            let (_, key) = paths(dir, &node.name, kind.name())?;
            let Some(text) = read_text(&key)? else { continue };
            if stored.own.get(&(id, kind)).is_none_or(|own| own.key_pem() != text) {
                return Err(StateError::Beside { key });
            }
            remove(&key)?;
        }
    }
    Ok(())
}

/// Reads what lies in files below `dir` for the nodes of `topology`; what does not is left out.
pub(super) fn load(dir: &Path, topology: &Topology) -> Result<Stored, StateError> {
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
        if !has_keys(dir, &node.name)? {
            continue;
        }
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

/// Whether any key of a node lies here: certificates without any are copies.
fn has_keys(dir: &Path, node: &str) -> Result<bool, StateError> {
    let there = |kind: CertificateKind| Ok(paths(dir, node, kind.name())?.1.exists());
    let there: Result<Vec<bool>, StateError> = CERTIFICATES.into_iter().map(there).collect();
    Ok(there?.contains(&true))
}

/// The name of what the database of a node has, where its CallManager.pem is another one (BKP-06).
const RECORDED: &str = "CallManager-recorded";

/// The folder of the tokens: no node has a name that begins so.
const ETOKENS: &str = ".etokens";

/// The file of what the nodes trust: each certificate behind a line with its store and how it came
/// there, such as `CallManager-trust copy CallManager pub`.
const TRUST: &str = "trust.pem";

fn read_trust(text: &str, topology: &Topology) -> Result<Vec<StoredTrust>, String> {
    const END: &str = "-----END CERTIFICATE-----";
    let blocks = text.split_inclusive(END).filter(|block| block.ends_with(END));
    blocks.map(|block| read_trusted(block.trim_start(), topology)).collect()
}

fn read_trusted(block: &str, topology: &Topology) -> Result<StoredTrust, String> {
    let head = block.lines().next().unwrap_or_default();
    let bad = || format!("{head:?} does not say where a certificate belongs");
    let (store, source) = head.split_once(' ').ok_or_else(bad)?;
    let store = TRUST_STORES.into_iter().find(|known| known.name() == store).ok_or_else(bad)?;
    let source = source_of(source, topology).ok_or_else(bad)?;
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
}
