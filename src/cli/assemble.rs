use std::path::PathBuf;

use clap::Args;

use super::ExitCode;
use super::args::CliError;
use super::files::{read, read_key, write};
use crate::toolbox::assemble;

/// Build a trust list or message from the JSON of inspect
#[derive(Debug, Args)]
#[command(after_long_help = "\
Example:
  resetstorm inspect --format json ITLFile.tlv > itl.json
  (edit itl.json: change a function, drop a record, replace an element)
  resetstorm assemble itl.json --key sast.pem -o ITLFile.tlv

Lengths are computed. Where a readable field (function, subject, serial, ...) differs from its
element, the field wins; delete the field to edit the element's bytes. Without --key the signature
stays as it is, which is how to make files that phones refuse.")]
pub struct AssembleArgs {
    /// JSON of one list or message; `-` is standard input
    #[arg(value_name = "FILE.json")]
    file: PathBuf,
    /// Sign again with this private key: PEM, DER or PKCS#12
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Password of PKCS#12 files and encrypted keys
    #[arg(long, value_name = "TEXT", default_value = "")]
    password: String,
    /// File to write; standard output if not given
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs `assemble`.
pub fn run(args: &AssembleArgs) -> Result<ExitCode, CliError> {
    let place = args.file.display();
    let json = serde_json::from_slice(&read(&args.file)?)
        .map_err(|error| CliError::new(ExitCode::Usage, format!("{place}: {error}")))?;
    let key = args.key.as_ref().map(|path| read_key(path, &args.password)).transpose()?;
    let bytes = assemble(&json, key.as_ref()).map_err(|error| {
        CliError::misuse(format!("{place}: {error}"), "start from `inspect --format json`")
    })?;
    write(args.out.as_deref(), &bytes)?;
    Ok(ExitCode::Ok)
}
