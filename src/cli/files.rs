//! What the tools for single files share: reading, writing, keys and failures.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};

use super::args::CliError;
use super::{ExitCode, output};
use crate::base::printable;
use crate::crypto::{Certificate, Identity, KeyStore, KeyStoreError, LockFault, SigningKey};
use crate::listing::List;
use crate::report::write_whole;
use crate::toolbox::{self, Kind, ReadFault, ServerPin, Signer, Style, TrustLists};
use crate::wire::{DIGEST_SHA1, DIGEST_SHA512, ROLE_CALLMANAGER, ROLE_CAPF, SignedFile};

/// Reads a file; `-` is standard input. One that cannot be read was named wrongly, as a scenario.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let read = if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    read.map_err(|error| CliError::malformed(path, &error))
}

/// Writes a file, or standard output if none is named.
pub(super) fn write(path: Option<&Path>, bytes: &[u8]) -> Result<(), CliError> {
    let Some(path) = path.filter(|path| path.as_os_str() != "-") else {
        return output::print(bytes);
    };
    write_whole(path, bytes).map_err(|error| {
        CliError::new(ExitCode::Environment, format!("{}: {error}", path.display()))
    })
}

/// Unix seconds now.
pub(super) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Keys and certificates of a PEM, DER or PKCS#12 file.
pub(super) fn read_store(path: &Path, password: &str) -> Result<KeyStore, CliError> {
    toolbox::read_store(&read(path)?, password).map_err(|fault| match password_help(&fault) {
        Some(help) => CliError::misuse(format!("{}: {fault}", path.display()), help),
        None => CliError::malformed(path, &fault),
    })
}

/// How a store is opened that did not open for want of the right password.
pub(super) const fn password_help(fault: &ReadFault) -> Option<&'static str> {
    match fault {
        ReadFault::Store(KeyStoreError::Pkcs12(
            LockFault::NoMacPassword | LockFault::NoPassword | LockFault::Password,
        )) => Some("--password gives the password of the file"),
        _ => None,
    }
}

/// The certificate that a file is about: of its key, or at the end of its chain. Says which, if it
/// is not the only one, and what could not be read.
pub(super) fn read_certificate(path: &Path, password: &str) -> Result<Certificate, CliError> {
    let store = read_store(path, password)?;
    let place = path.display();
    let taken = end_certificate(&store, path)?;
    let warn = |text: &str| output::message(&format!("warning: {place}: {}", printable(text)));
    store.problems().iter().for_each(|problem| warn(problem));
    let number = store.certificates.len();
    if store.end_certificates().len() > 1 {
        warn(&format!(
            "{number} certificates that do not belong together; {} is taken",
            taken.subject()
        ));
    } else if store.certificates.first() != Some(taken) {
        warn(&format!(
            "{number} certificates; the end of the chain, {}, is taken",
            taken.subject()
        ));
    }
    Ok(taken.clone())
}

fn end_certificate<'a>(store: &'a KeyStore, path: &Path) -> Result<&'a Certificate, CliError> {
    store.end_certificate().map_err(|error| {
        CliError::misuse(format!("{}: {error}", path.display()), "name a file with a certificate")
    })
}

/// The private key of a file: that of its certificate, or the first.
pub(super) fn read_key(path: &Path, password: &str) -> Result<SigningKey, CliError> {
    read_store(path, password)?.signing_key().map_err(|error| key_failure(path, &error))
}

fn key_failure(path: &Path, error: &KeyStoreError) -> CliError {
    let help = match error {
        KeyStoreError::LockedKey(LockFault::NoPassword | LockFault::Password) => {
            "--password gives the password of the key"
        }
        KeyStoreError::LockedKey(_) => "openssl can write the key with another cipher",
        _ => "name a PEM, DER or PKCS#12 file with an RSA private key",
    };
    CliError::misuse(format!("{}: {error}", path.display()), help)
}

/// Files of the lists that a phone holds, as bytes.
pub(super) fn read_all(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, CliError> {
    paths.iter().map(|path| read(path)).collect()
}

/// The lists in `files`: at most one CTL and one ITL.
pub(super) fn trust_lists<'a>(
    paths: &[PathBuf],
    files: &'a [Vec<u8>],
) -> Result<TrustLists<'a>, CliError> {
    let mut lists = TrustLists::default();
    for (path, bytes) in paths.iter().zip(files) {
        let list = List::parse(bytes).map_err(|error| CliError::malformed(path, &error))?;
        let is_ctl = Kind::of_file(&list.file) == Kind::Ctl;
        let place = if is_ctl { &mut lists.ctl } else { &mut lists.itl };
        if place.replace(list).is_some() {
            let what = format!("{}: a second list of its kind", path.display());
            return Err(CliError::misuse(what, "a phone holds at most one CTL and one ITL"));
        }
    }
    Ok(lists)
}

/// A list or signed file of that path.
pub(super) fn parse_signed<'a>(path: &Path, bytes: &'a [u8]) -> Result<SignedFile<'a>, CliError> {
    SignedFile::parse(bytes).map_err(|error| CliError::malformed(path, &error))
}

/// Whom a client takes for the server of a role, TVS or CAPF: holders of this certificate or of one
/// that records of this role in the lists name, or anybody.
pub(super) fn server_pin(
    role: u16,
    anybody: bool,
    certificate: Option<&Path>,
    lists: &[PathBuf],
) -> Result<ServerPin, CliError> {
    if anybody {
        return Ok(ServerPin::Anybody);
    }
    let mut hashes = Vec::new();
    if let Some(path) = certificate {
        hashes.push(read_certificate(path, "")?.sha1());
    }
    let files = read_all(lists)?;
    hashes.extend(trust_lists(lists, &files)?.certificate_hashes(role));
    if hashes.is_empty() {
        let server = match role {
            ROLE_CAPF => "CAPF",
            ROLE_CALLMANAGER => "registrar",
            _ => "TVS server",
        };
        return Err(CliError::usage(
            format!("nothing says which {server} to trust"),
            "give --certificate FILE, --trust LIST with a record of it, or --insecure",
        ));
    }
    Ok(ServerPin::Sha1(hashes.into()))
}

/// Digest of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum DigestName {
    /// Weak, and the only one that old phones know
    Sha1,
    /// Current
    Sha512,
}

/// Whose files are imitated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum StyleName {
    /// Names `CN=..;OU=..`, hashes instead of certificates in TVS and CAPF records of an ITL
    Cucm,
    /// Names `CN=..,O=..`, a certificate in every record
    Compact,
}

/// Who signs, and how.
#[derive(Debug, Args)]
pub(super) struct SignerArgs {
    /// Private key of the signer: PEM, DER or PKCS#12; may hold the certificate too
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Certificate of the signer, if the key's file does not hold it
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Password of PKCS#12 files and encrypted keys
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(super) password: String,
    /// Digest of the signature
    #[arg(long, value_enum, default_value_t = DigestName::Sha512)]
    digest: DigestName,
    /// Whose files are imitated
    #[arg(long, value_enum, default_value_t = StyleName::Cucm)]
    style: StyleName,
    /// Time in the header, Unix seconds; now if not given
    #[arg(long, value_name = "SECONDS")]
    timestamp: Option<u32>,
}

impl SignerArgs {
    pub(super) fn load(&self) -> Result<Signer, CliError> {
        let store = read_store(&self.key, &self.password)?;
        let keys = store.signing_keys().map_err(|error| key_failure(&self.key, &error))?;
        let identity = match &self.certificate {
            Some(path) => fitting(keys, &read_store(path, &self.password)?, path)?,
            None if store.certificates.is_empty() => {
                let what = "the key's file holds no certificate";
                return Err(CliError::misuse(what, "add --certificate FILE"));
            }
            None => fitting(keys, &store, &self.key)?,
        };
        let digest = match self.digest {
            DigestName::Sha1 => DIGEST_SHA1,
            DigestName::Sha512 => DIGEST_SHA512,
        };
        let style = match self.style {
            StyleName::Cucm => Style::Cucm,
            StyleName::Compact => Style::Compact,
        };
        let timestamp = self.timestamp.unwrap_or(now_s() as u32);
        Ok(Signer { identity, style, digest, timestamp })
    }
}

/// The first of `keys` with a certificate in the store.
fn fitting(keys: Vec<SigningKey>, store: &KeyStore, path: &Path) -> Result<Identity, CliError> {
    let number = keys.len();
    for key in keys {
        if let Some(certificate) = store.certificate_of(&key) {
            return Ok(Identity { certificate: certificate.clone(), key: Arc::new(key) });
        }
    }
    let place = path.display();
    let first = end_certificate(store, path)?;
    let keys = if number == 1 { "the key" } else { "any of the keys" };
    let what = format!("{place}: the certificate {} does not belong to {keys}", first.subject());
    Err(CliError::misuse(what, "--certificate names the certificate of the signer"))
}

/// The last part of a path, for the name in a header.
pub(super) fn base_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
