use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::args::{CliError, Format};
use super::files::{now_s, password_help, read, read_all, read_certificate, read_key, trust_lists};
use super::{ExitCode, output};
use crate::base::{printable, printable_json};
use crate::toolbox::{InspectOptions, ReadFault, inspect, reencode, to_text};

/// Explain and check trust lists, signed files, messages and certificates
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  resetstorm inspect ITLFile.tlv
  resetstorm inspect --trust old-ITLFile.tlv new-ITLFile.tlv
  resetstorm inspect --format json --certificate CallManager.pem SEP001122334455.cnf.xml.sgn

Exit codes: 0 accepted or nothing to check, 1 refused or bad signature, 2 malformed.")]
pub struct InspectArgs {
    /// Files of any kind; the kind is told from the content
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// CTL or ITL that a phone holds: would it accept the file, and by which path?
    #[arg(long, value_name = "FILE")]
    trust: Vec<PathBuf>,
    /// Certificate of the signer: check the signature with it
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Private key of the device: open an encrypted file
    #[arg(long, value_name = "FILE")]
    device: Option<PathBuf>,
    /// Password of PKCS#12 files and encrypted keys
    #[arg(long, value_name = "TEXT", default_value = "")]
    password: String,
    /// Write what our encoder makes of our parse, as bytes
    #[arg(long)]
    reencode: bool,
}

/// Runs `inspect`.
pub fn run(args: &InspectArgs, format: Format) -> Result<ExitCode, CliError> {
    if args.reencode { write_again(args) } else { explain(args, format) }
}

fn write_again(args: &InspectArgs) -> Result<ExitCode, CliError> {
    for path in &args.files {
        let bytes = reencode(&read(path)?).map_err(|error| CliError::malformed(path, &error))?;
        output::print(&bytes)?;
    }
    Ok(ExitCode::Ok)
}

fn explain(args: &InspectArgs, format: Format) -> Result<ExitCode, CliError> {
    let trusted = read_all(&args.trust)?;
    let trust = trust_lists(&args.trust, &trusted)?;
    let certificate = args.certificate.as_ref();
    let device = args.device.as_ref();
    let options = InspectOptions {
        trust: (!args.trust.is_empty()).then_some(trust),
        certificate: certificate.map(|path| read_certificate(path, &args.password)).transpose()?,
        device: device.map(|path| read_key(path, &args.password)).transpose()?,
        password: &args.password,
        now_s: now_s(),
    };
    let mut worst = ExitCode::Ok;
    let mut values = Vec::new();
    for path in &args.files {
        let (mut value, code) = match inspect(&read(path)?, &options) {
            Ok(found) if found.is_accepted() => (found.value, ExitCode::Ok),
            Ok(found) => (found.value, ExitCode::Failed),
            Err(error) => {
                let text = printable(&error.to_string());
                output::message(&format!("error: {}: {text}", path.display()));
                let help = password_help(&error);
                help.iter().for_each(|help| output::message(&format!("help: {help}")));
                (error_json(&error), ExitCode::Usage)
            }
        };
        worst = worst.max(code);
        if args.files.len() > 1 {
            value["file"] = path.display().to_string().into();
        }
        values.push(value);
    }
    output::print(render(&values, format))?;
    Ok(worst)
}

fn error_json(fault: &ReadFault) -> Value {
    match fault {
        ReadFault::Malformed(error) => json!({
            "error": { "what": error.what, "offset": error.offset, "expected": error.expected }
        }),
        ReadFault::Store(error) => json!({ "error": { "what": error.to_string() } }),
    }
}

/// One document: about one file, or with a list of `files`.
fn render(values: &[Value], format: Format) -> String {
    if format == Format::Json {
        let mut document = match values {
            [one] => one.clone(),
            more => json!({ "files": more }),
        };
        document["schema"] = 1.into();
        return printable_json(&format!("{document:#}")) + "\n";
    }
    let texts = values.iter().map(|value| {
        let heading = match value["file"].as_str() {
            Some(name) => format!("{name}\n"),
            None => String::new(),
        };
        match value.get("error") {
            Some(_) => format!("{heading}{value}\n"),
            None => heading + &to_text(value),
        }
    });
    texts.collect::<Vec<_>>().join("\n")
}
