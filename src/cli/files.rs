//! What the tools for single files share: reading, writing, keys and failures.

use std::fmt::Display;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};

use super::{ExitCode, output};
use crate::crypto::{Certificate, KeyStore, SigningKey};
use crate::toolbox::{self, Kind, List, Signer, Style, TrustLists};
use crate::wire::{DIGEST_SHA1, DIGEST_SHA512, WireError};

/// A tool stops: what happened, how to repair it, and the exit code.
#[derive(Debug)]
pub(super) struct Failure {
    code: ExitCode,
    what: String,
    help: Option<&'static str>,
}

impl Failure {
    pub(super) fn new(code: ExitCode, what: impl Display) -> Failure {
        Failure { code, what: what.to_string(), help: None }
    }

    pub(super) fn usage(what: impl Display, help: &'static str) -> Failure {
        Failure { code: ExitCode::Usage, what: what.to_string(), help: Some(help) }
    }

    pub(super) fn malformed(path: &Path, error: &WireError) -> Failure {
        Failure::new(ExitCode::Usage, format!("{}: {error}", path.display()))
    }
}

/// Prints a failure, if there is one, and gives the exit code.
pub(super) fn finish(result: Result<ExitCode, Failure>) -> ExitCode {
    result.unwrap_or_else(|failure| {
        output::message(&format!("error: {}", failure.what));
        failure.help.into_iter().for_each(|help| output::message(&format!("help: {help}")));
        failure.code
    })
}

/// Reads a file; `-` is standard input.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let read = if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    read.map_err(|error| {
        Failure::new(ExitCode::Environment, format!("{}: {error}", path.display()))
    })
}

/// Writes a file, or standard output if none is named.
pub(super) fn write(path: Option<&Path>, bytes: &[u8]) -> Result<(), Failure> {
    let Some(path) = path.filter(|path| path.as_os_str() != "-") else { return print(bytes) };
    std::fs::write(path, bytes).map_err(|error| {
        Failure::new(ExitCode::Environment, format!("{}: {error}", path.display()))
    })
}

/// Writes to standard output; a reader that has gone is no fault of ours.
pub(super) fn print(bytes: &[u8]) -> Result<(), Failure> {
    output::print_bytes(bytes)
        .map_err(|error| Failure::new(ExitCode::Environment, format!("standard output: {error}")))
}

/// Unix seconds now.
pub(super) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

pub(super) use super::args::Format;

/// Keys and certificates of a PEM, DER or PKCS#12 file.
pub(super) fn read_store(path: &Path, password: &str) -> Result<KeyStore, Failure> {
    toolbox::read_store(&read(path)?, password).map_err(|error| Failure::malformed(path, &error))
}

/// The first certificate of a file.
pub(super) fn read_certificate(path: &Path, password: &str) -> Result<Certificate, Failure> {
    let store = read_store(path, password)?;
    store.certificates.into_iter().next().ok_or_else(|| {
        let what = format!("{}: no certificate in the file", path.display());
        Failure::usage(what, "name a PEM, DER or PKCS#12 file with a certificate")
    })
}

/// The first private key of a file.
pub(super) fn read_key(path: &Path, password: &str) -> Result<SigningKey, Failure> {
    read_store(path, password)?.signing_key().map_err(|error| {
        let what = format!("{}: {error}", path.display());
        Failure::usage(what, "name a PEM, DER or PKCS#12 file with an RSA private key")
    })
}

/// Files of the lists that a phone holds, as bytes.
pub(super) fn read_all(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, Failure> {
    paths.iter().map(|path| read(path)).collect()
}

/// The lists in `files`: at most one CTL and one ITL.
pub(super) fn trust_lists<'a>(
    paths: &[PathBuf],
    files: &'a [Vec<u8>],
) -> Result<TrustLists<'a>, Failure> {
    let mut lists = TrustLists::default();
    for (path, bytes) in paths.iter().zip(files) {
        let list = List::parse(bytes).map_err(|error| Failure::malformed(path, &error))?;
        let is_ctl = Kind::of_file(&list.file) == Kind::Ctl;
        let place = if is_ctl { &mut lists.ctl } else { &mut lists.itl };
        if place.replace(list).is_some() {
            let what = format!("{}: a second list of its kind", path.display());
            return Err(Failure::usage(what, "a phone holds at most one CTL and one ITL"));
        }
    }
    Ok(lists)
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
    /// Password of PKCS#12 files
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

/// A signer with its key and certificate loaded.
pub(super) struct LoadedSigner {
    pub(super) key: SigningKey,
    pub(super) certificate: Certificate,
    style: Style,
    digest: u8,
    timestamp: u32,
}

impl SignerArgs {
    pub(super) fn load(&self) -> Result<LoadedSigner, Failure> {
        let key = read_key(&self.key, &self.password)?;
        let certificate = match &self.certificate {
            Some(path) => read_certificate(path, &self.password)?,
            None => read_store(&self.key, &self.password)?
                .certificate_of(&key)
                .cloned()
                .ok_or_else(|| {
                    Failure::usage("the key's file holds no certificate", "add --certificate FILE")
                })?,
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
        Ok(LoadedSigner { key, certificate, style, digest, timestamp })
    }
}

impl LoadedSigner {
    pub(super) fn signer(&self) -> Signer<'_> {
        Signer {
            key: &self.key,
            certificate: &self.certificate,
            style: self.style,
            digest: self.digest,
            timestamp: self.timestamp,
        }
    }
}

/// The last part of a path, for the name in a header.
pub(super) fn base_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
