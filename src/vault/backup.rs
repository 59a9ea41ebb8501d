//! Backups in files, `backup-<n>.drs`: sealed with the security password of the cluster, which is in
//! the file `security-password` and made when the first backup is. Who carries a backup off cannot
//! read its keys without that password.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use crate::cluster::{Backup, CERTIFICATES, CertificateKind, NodeBackup, Topology};
use crate::crypto::{Certificate, Credential, KeyStore, seal, unseal};
use crate::listing::hex;

use super::error::StateError;
use super::files::{file_error, read, unusable, write_private};
use super::pem::credential;

/// Longest backup that is read: 64 nodes with eight certificates of some kilobytes each.
const BACKUP_LENGTH_MAX: u64 = 16 * 1_024 * 1_024;

/// The file of the password.
const PASSWORD: &str = "security-password";

/// A backup as it is written.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    schema: u32,
    number: u32,
    nodes: Vec<WrittenNode>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WrittenNode {
    name: String,
    recorded: String,
    own: Vec<WrittenPair>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WrittenPair {
    kind: String,
    certificate: String,
    key: String,
}

/// Writes a backup into `dir`, for its owner only; takes about half a second of a core.
///
/// # Errors
/// If the host refuses a file.
pub fn save_backup(dir: &Path, backup: &Backup) -> Result<PathBuf, StateError> {
    let password = match read(&dir.join(PASSWORD))? {
        Some(password) => password,
        None => new_password(dir)?,
    };
    let written = Written {
        schema: 1,
        number: backup.number,
        nodes: backup.nodes.values().map(written).collect(),
    };
    let content = serde_json::to_vec(&written).expect("a backup is plain data");
    let path = dir.join(format!("backup-{}.drs", backup.number));
    write_private(&path, &seal(&password, fresh(), &content))?;
    Ok(path)
}

fn new_password(dir: &Path) -> Result<Vec<u8>, StateError> {
    let password = hex(&fresh::<16>()).into_bytes();
    write_private(&dir.join(PASSWORD), &password)?;
    Ok(password)
}

fn fresh<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the operating system has randomness");
    bytes
}

fn written(node: &NodeBackup) -> WrittenNode {
    let pair = |(kind, own): (&CertificateKind, &Credential)| WrittenPair {
        kind: kind.name().to_owned(),
        certificate: own.certificate().to_pem(),
        key: own.key_pem(),
    };
    WrittenNode {
        name: node.name.clone(),
        recorded: node.recorded.to_pem(),
        own: node.own.iter().map(pair).collect(),
    }
}

/// Reads the backups in `dir`, the oldest first; nodes that the cluster no longer has are left out.
///
/// # Errors
/// If a file cannot be read, the password does not open it, or its content is not a backup.
pub fn load_backups(dir: &Path, topology: &Topology) -> Result<Vec<Backup>, StateError> {
    let mut backups = Vec::new();
    for path in files(dir)? {
        let password = read(&dir.join(PASSWORD))?;
        let password = password.ok_or_else(|| StateError::Missing {
            missing: dir.join(PASSWORD),
            present: path.clone(),
        })?;
        let length = fs::metadata(&path).map_err(|cause| file_error("read", &path, cause))?.len();
        if length > BACKUP_LENGTH_MAX {
            return Err(unusable(&path, format_args!("longer than {BACKUP_LENGTH_MAX} bytes")));
        }
        let file = fs::read(&path).map_err(|cause| file_error("read", &path, cause))?;
        let content = unseal(&password, &file).map_err(|cause| unusable(&path, cause))?;
        let written: Written =
            serde_json::from_slice(&content).map_err(|cause| unusable(&path, cause))?;
        backups.push(backup(written, topology).map_err(|cause| unusable(&path, cause))?);
    }
    backups.sort_by_key(|backup| backup.number);
    Ok(backups)
}

/// The files of backups in a directory that may not be there.
fn files(dir: &Path) -> Result<Vec<PathBuf>, StateError> {
    let is_backup = |path: &PathBuf| {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let has_ending = path.extension().is_some_and(|ending| ending == "drs");
        has_ending && stem.strip_prefix("backup-").is_some_and(|n| n.parse::<u32>().is_ok())
    };
    match fs::read_dir(dir) {
        Ok(entries) => {
            let paths = entries.map(|entry| entry.map(|entry| entry.path()));
            let paths: Result<Vec<PathBuf>, _> = paths.collect();
            let paths = paths.map_err(|cause| file_error("read", dir, cause))?;
            Ok(paths.into_iter().filter(is_backup).collect())
        }
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(cause) => Err(file_error("read", dir, cause)),
    }
}

fn backup(written: Written, topology: &Topology) -> Result<Backup, String> {
    if written.schema != 1 {
        return Err(format!("schema {} is not known here", written.schema));
    }
    let mut backup = Backup { number: written.number, nodes: BTreeMap::new() };
    for node in written.nodes {
        let Some(id) = topology.node_named(&node.name) else { continue };
        let mut own = BTreeMap::new();
        for pair in &node.own {
            let (kind, credential) = read_pair(pair)?;
            own.insert(kind, credential);
        }
        let recorded = certificate(&node.recorded)?;
        backup.nodes.insert(id, NodeBackup { name: node.name, own, recorded });
    }
    Ok(backup)
}

fn read_pair(pair: &WrittenPair) -> Result<(CertificateKind, Credential), String> {
    let known = CERTIFICATES.into_iter().find(|kind| kind.name() == pair.kind);
    let kind = known.ok_or_else(|| format!("unknown certificate {}", pair.kind))?;
    let private = KeyStore::from_pem(&pair.key).map_err(|cause| cause.to_string())?;
    let own = credential(kind, certificate(&pair.certificate)?, &private)
        .map_err(|cause| cause.to_string())?;
    if own.certificate().public_key() != own.public_key() {
        return Err(format!("certificate and key of {} do not belong together", pair.kind));
    }
    Ok((kind, own))
}

fn certificate(pem: &str) -> Result<Certificate, String> {
    let store = KeyStore::from_pem(pem);
    let certificate = store.and_then(|store| store.first_certificate().cloned());
    certificate.map_err(|cause| cause.to_string())
}
