use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::args::CliError;
use super::files::{SignerArgs, read_certificate, write};
use super::{ExitCode, output};
use crate::listing::parse_role;
use crate::toolbox::{ListEntry, ListSpec, make_list, size_warning};
use crate::wire::{FileName, ROLE_SAST};

/// Make a signed trust list from certificates
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  resetstorm make itl --key sast.pem --record tftp=tftp.pem --record tvs=tvs.pem -o ITLFile.tlv
  resetstorm make ctl --key sast.pem --record ccm+tftp=pub.pem,dns=pub,ip=10.0.0.1 -o CTLFile.tlv

A record is ROLE=FILE[,dns=NAME][,ip=ADDRESS]; roles: sast, ccm, ccm+tftp, tftp, capf, app-server,
tvs, or a number. The signer becomes the first SAST record unless --no-signer-record is given.")]
pub struct MakeArgs {
    #[command(subcommand)]
    list: MakeList,
}

#[derive(Debug, Subcommand)]
enum MakeList {
    /// Make an identity trust list
    Itl(MakeFile),
    /// Make a certificate trust list
    Ctl(MakeFile),
}

#[derive(Debug, Args)]
struct MakeFile {
    #[command(flatten)]
    signer: SignerArgs,
    /// One record: ROLE=FILE[,dns=NAME][,ip=ADDRESS]
    #[arg(long, value_name = "RECORD", value_parser = parse_record)]
    record: Vec<RecordArg>,
    /// Do not add the signer as SAST record
    #[arg(long)]
    no_signer_record: bool,
    /// Signer version: 1.1 says SHA-512 and HTTPS, 1.0 not
    #[arg(long, value_name = "VERSION", value_parser = parse_version)]
    signer_version: Option<(u8, u8)>,
    /// Name in the header; `ITLFile.tlv` or `CTLFile.tlv` if not given
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// File to write; standard output if not given
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// One record as typed.
#[derive(Clone, Debug)]
struct RecordArg {
    role: u16,
    file: PathBuf,
    dns_name: Option<String>,
    address: Option<Ipv4Addr>,
}

/// Runs `make`.
pub fn run(args: &MakeArgs) -> Result<ExitCode, CliError> {
    match &args.list {
        MakeList::Itl(file) => make(FileName::Itl(None), file),
        MakeList::Ctl(file) => make(FileName::Ctl(None), file),
    }
}

fn make(default: FileName, args: &MakeFile) -> Result<ExitCode, CliError> {
    let signer = args.signer.load()?;
    let mut entries = Vec::new();
    if !args.no_signer_record {
        let certificate = signer.identity.certificate.clone();
        entries.push(ListEntry { role: ROLE_SAST, certificate, dns_name: None, address: None });
    }
    for record in &args.record {
        entries.push(ListEntry {
            role: record.role,
            certificate: read_certificate(&record.file, &args.signer.password)?,
            dns_name: record.dns_name.clone(),
            address: record.address,
        });
    }
    let name = args.name.clone().unwrap_or_else(|| default.to_string());
    let spec = ListSpec {
        is_ctl: matches!(default, FileName::Ctl(_)),
        file_name: &name,
        signer_version: args.signer_version,
        entries: &entries,
    };
    let bytes = make_list(&spec, &signer).map_err(|error| CliError::new(ExitCode::Usage, error))?;
    write(args.out.as_deref(), &bytes)?;
    let warning = size_warning(bytes.len());
    warning.iter().for_each(|text| output::message(&format!("warning: {text}")));
    Ok(ExitCode::Ok)
}

fn parse_record(text: &str) -> Result<RecordArg, String> {
    let (role, rest) = text.split_once('=').ok_or("expected ROLE=FILE")?;
    let role = parse_role(role).ok_or_else(|| format!("unknown role {role}"))?;
    let mut parts = rest.split(',');
    let file = parts.next().filter(|file| !file.is_empty()).ok_or("expected a file")?;
    let mut record = RecordArg { role, file: file.into(), dns_name: None, address: None };
    for part in parts {
        match part.split_once('=') {
            Some(("dns", name)) => record.dns_name = Some(name.to_owned()),
            Some(("ip", address)) => {
                let what = || format!("{address} is no IPv4 address; a record has no others");
                record.address = Some(address.parse().map_err(|_| what())?);
            }
            _ => return Err(format!("expected dns=NAME or ip=ADDRESS, not {part}")),
        }
    }
    Ok(record)
}

fn parse_version(text: &str) -> Result<(u8, u8), String> {
    let parts = text
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    parts.ok_or_else(|| "expected a version such as 1.1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_and_versions_are_read_as_typed() {
        let record = parse_record("ccm+tftp=pub.pem,dns=pub,ip=10.0.0.1").unwrap();
        assert_eq!((record.role, record.file), (2, PathBuf::from("pub.pem")));
        assert_eq!(record.dns_name.as_deref(), Some("pub"));
        assert_eq!(record.address, Some(Ipv4Addr::new(10, 0, 0, 1)));
        let six = parse_record("tftp=x,ip=::1").unwrap_err();
        assert_eq!(six, "::1 is no IPv4 address; a record has no others");
        for bad in ["tftp", "nobody=x", "tftp=", "tftp=x,ip=1", "tftp=x,y=1"] {
            assert!(parse_record(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_version("1.1"), Ok((1, 1)));
        assert!(parse_version("1").is_err() && parse_version("1.999").is_err());
    }
}
