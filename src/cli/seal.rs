//! `sign`, `unsign`, `encrypt` and `decrypt`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::args::CliError;
use super::files::{SignerArgs, base_name, parse_signed, read, read_certificate, read_key, write};
use super::{ExitCode, output};
use crate::crypto::{Certificate, KeySource};
use crate::listing::{Verdict, check_file, open_envelope};
use crate::toolbox::{Kind, encrypt_file, make_stub, sign_file};
use crate::wire::{Seal, SignedFile};

/// Sign a file: header, signature, content unchanged
#[derive(Debug, Args)]
#[command(after_long_help = "\
Example:
  resetstorm sign XMLDefault.cnf.xml --key tftp.pem --digest sha1 -o XMLDefault.cnf.xml.sgn")]
pub struct SignArgs {
    /// File to sign
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    signer: SignerArgs,
    /// Name in the header; the file's name and `.sgn` if not given
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// File to write; standard output if not given
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Write the content of a signed file, without its header
#[derive(Debug, Args)]
#[command(after_long_help = "\
Example:
  resetstorm unsign XMLDefault.cnf.xml.sgn --certificate tftp.pem -o XMLDefault.cnf.xml

Exit codes: 0 written, 1 the signature is wrong (nothing is written), 2 malformed.")]
pub struct UnsignArgs {
    /// Signed file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Certificate of the signer; without it the signature is not checked
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// File to write; standard output if not given
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Encrypt a configuration for one device and sign it
#[derive(Debug, Args)]
#[command(after_long_help = "\
Example:
  resetstorm encrypt SEP001122334455.cnf.xml --key tftp.pem --device lsc.pem \\
      --stub SEP001122334455.cnf.xml.sgn -o SEP001122334455.cnf.xml.enc.sgn")]
pub struct EncryptArgs {
    /// Configuration to encrypt
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    signer: SignerArgs,
    /// Certificate of the device (RSA)
    #[arg(long, value_name = "FILE")]
    device: PathBuf,
    /// Write the signed stub that announces the encrypted file, too
    #[arg(long, value_name = "FILE")]
    stub: Option<PathBuf>,
    /// Name in the header; the file's name and `.enc.sgn` if not given
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// File to write; standard output if not given
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Decrypt an encrypted configuration with the device's key
#[derive(Debug, Args)]
#[command(after_long_help = "\
Example:
  resetstorm decrypt SEP001122334455.cnf.xml.enc.sgn --key lsc.pem --certificate tftp.pem

Exit codes: 0 written, 1 wrong signature, key or digest (nothing is written), 2 malformed.")]
pub struct DecryptArgs {
    /// Encrypted file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Private key of the device: PEM, DER or PKCS#12
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Certificate of the signer; without it the signature is not checked
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Password of PKCS#12 files and encrypted keys
    #[arg(long, value_name = "TEXT", default_value = "")]
    password: String,
    /// File to write; standard output if not given
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs `sign`.
pub fn sign(args: &SignArgs) -> Result<ExitCode, CliError> {
    let signer = args.signer.load()?;
    let name = args.name.clone().unwrap_or_else(|| base_name(&args.file) + Seal::Signed.suffix());
    let bytes = sign_file(&read(&args.file)?, &name, &signer)
        .map_err(|error| CliError::new(ExitCode::Usage, error))?;
    write(args.out.as_deref(), &bytes)?;
    Ok(ExitCode::Ok)
}

/// Runs `unsign`.
pub fn unsign(args: &UnsignArgs) -> Result<ExitCode, CliError> {
    let bytes = read(&args.file)?;
    let file = parse_signed(&args.file, &bytes)?;
    let certificate = args.certificate.as_ref().map(|path| read_certificate(path, ""));
    check(&args.file, &file, certificate.transpose()?.as_ref())?;
    write(args.out.as_deref(), file.body)?;
    Ok(ExitCode::Ok)
}

/// Runs `encrypt`.
pub fn encrypt(args: &EncryptArgs) -> Result<ExitCode, CliError> {
    let signer = args.signer.load()?;
    let device = read_certificate(&args.device, &args.signer.password)?;
    let content = read(&args.file)?;
    let fault = |error| CliError::new(ExitCode::Usage, error);
    let base = base_name(&args.file);
    let name = args.name.clone().unwrap_or_else(|| base.clone() + Seal::Encrypted.suffix());
    let mut source = KeySource::System;
    let sealed = encrypt_file(&content, &name, &device, &signer, &mut source);
    let sealed = sealed.map_err(fault)?;
    if let Some(path) = &args.stub {
        let stub = make_stub(&content, &(base + Seal::Signed.suffix()), &device, &signer);
        let stub = stub.map_err(|error| {
            let what = format!("{}: {error}", args.file.display());
            CliError::misuse(what, "--stub copies elements of the configuration; leave it out")
        })?;
        write(Some(path), &stub)?;
    }
    write(args.out.as_deref(), &sealed)?;
    Ok(ExitCode::Ok)
}

/// Runs `decrypt`.
pub fn decrypt(args: &DecryptArgs) -> Result<ExitCode, CliError> {
    let bytes = read(&args.file)?;
    let file = parse_signed(&args.file, &bytes)?;
    if Kind::of_file(&file) != Kind::Encrypted {
        let what = format!("{}: not encrypted", args.file.display());
        return Err(CliError::misuse(what, "`unsign` writes the content of a signed file"));
    }
    let device = read_key(&args.key, &args.password)?;
    let certificate = args.certificate.as_ref();
    let certificate = certificate.map(|path| read_certificate(path, &args.password)).transpose()?;
    check(&args.file, &file, certificate.as_ref())?;
    match open_envelope(&file, &device) {
        (_, Some(content)) => {
            write(args.out.as_deref(), &content)?;
            Ok(ExitCode::Ok)
        }
        (verdict, None) => Err(refused(&args.file, verdict)),
    }
}

/// Checks the signature if the signer is given; says so if not.
fn check(path: &Path, file: &SignedFile<'_>, signer: Option<&Certificate>) -> Result<(), CliError> {
    let Some(signer) = signer else {
        output::message("warning: the signature was not checked; --certificate names the signer");
        return Ok(());
    };
    match check_file(file, signer.public_key()) {
        Verdict::Valid => Ok(()),
        verdict => Err(refused(path, verdict)),
    }
}

fn refused(path: &Path, verdict: Verdict) -> CliError {
    let code = if verdict == Verdict::Malformed { ExitCode::Usage } else { ExitCode::Failed };
    CliError::new(code, format!("{}: {}", path.display(), verdict.name()))
}
