use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::args::{CliError, Format};
use super::files::{parse_signed, read, read_all, read_certificate, server_pin, trust_lists};
use super::lab::{ServerArgs, milliseconds};
use super::{ExitCode, output};
use crate::base::printable;
use crate::crypto::Certificate;
use crate::listing::{role_text, unhex, upper_hex};
use crate::toolbox::{TvsAnswer, TvsFault, ask_tvs, inspect};
use crate::wire::{ROLE_TVS, tvs};

/// Port of TVS (`spec/tvs.md`).
const TVS_PORT: u16 = 2445;
/// First session id of a phone.
const SESSION_ID: u32 = 1_001;

/// Ask a Trust Verification Service one question
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  resetstorm tvs query 10.0.0.1 --allow-target 10.0.0.1 --signer-of ITLFile.tlv --trust old.tlv
  resetstorm tvs verify 127.0.0.1:2445 tomcat.pem --insecure

The server is admitted by --certificate or by the TVS records of --trust, as a phone does it;
--insecure takes any server and shows its certificate. The serial number that the server presents
is shown beside those of the TVS records of --trust.
Exit codes: 0 known, 1 not known or another server, 4 no answer.")]
pub struct TvsArgs {
    #[command(subcommand)]
    command: TvsCommand,
}

#[derive(Debug, Subcommand)]
enum TvsCommand {
    /// Ask for the certificate with this issuer and serial number, as for signers of files
    Query(QueryArgs),
    /// Ask whether this certificate is known, as for HTTPS servers
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
struct QueryArgs {
    #[command(flatten)]
    ask: AskArgs,
    /// List or signed file whose signer is asked for
    #[arg(long, value_name = "FILE", required_unless_present = "serial")]
    signer_of: Option<PathBuf>,
    /// Subject that is asked for
    #[arg(long, value_name = "NAME", default_value = "", conflicts_with = "signer_of")]
    subject: String,
    /// Issuer that is asked for
    #[arg(long, value_name = "NAME", requires = "serial")]
    issuer: Option<String>,
    /// Serial number that is asked for, hex
    #[arg(long, value_name = "HEX", requires = "issuer", conflicts_with = "signer_of")]
    serial: Option<String>,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    #[command(flatten)]
    ask: AskArgs,
    /// Certificate that is asked about
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, Args)]
struct AskArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Certificate of the TVS server
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// CTL or ITL with a record of the TVS server
    #[arg(long, value_name = "FILE")]
    trust: Vec<PathBuf>,
    /// Take any server and show its certificate
    #[arg(long, conflicts_with_all = ["certificate", "trust"])]
    insecure: bool,
    /// Device name in the request
    #[arg(long, value_name = "NAME", default_value = "CP-8841-SEP001122334455")]
    device_name: String,
}

/// Runs `tvs`.
pub fn run(args: &TvsArgs, format: Format) -> Result<ExitCode, CliError> {
    match &args.command {
        TvsCommand::Query(args) => query(args, format),
        TvsCommand::Verify(args) => verify(args, format),
    }
}

fn query(args: &QueryArgs, format: Format) -> Result<ExitCode, CliError> {
    let bytes = args.signer_of.as_ref().map(|path| read(path)).transpose()?;
    let signed = match (&args.signer_of, &bytes) {
        (Some(path), Some(bytes)) => Some(parse_signed(path, bytes)?),
        _ => None,
    };
    let serial = unhex(args.serial.as_deref().unwrap_or_default()).ok_or_else(|| {
        CliError::misuse("the serial number is no hex", "as 21:00:2D:17 or 21002d17")
    })?;
    let question = match &signed {
        Some(file) => tvs::Question::Query {
            subject: file.header.signer_name,
            issuer: file.header.issuer,
            serial: file.header.serial,
        },
        None => tvs::Question::Query {
            subject: &args.subject,
            issuer: args.issuer.as_deref().unwrap_or_default(),
            serial: &serial,
        },
    };
    ask(&args.ask, question, format)
}

fn verify(args: &VerifyArgs, format: Format) -> Result<ExitCode, CliError> {
    let certificate = read_certificate(&args.file, "")?;
    ask(&args.ask, tvs::Question::Verify { certificate: certificate.der() }, format)
}

fn ask(args: &AskArgs, question: tvs::Question<'_>, format: Format) -> Result<ExitCode, CliError> {
    let pin = server_pin(ROLE_TVS, args.insecure, args.certificate.as_deref(), &args.trust)?;
    let (address, resolve) = args.server.resolve(TVS_PORT)?;
    let request = tvs::Request { session_id: SESSION_ID, device_name: &args.device_name, question };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(ExitCode::Environment, error))?;
    let asked = runtime.block_on(ask_tvs(address, &request.encode(), pin, args.server.timeout()));
    let listed = listed_serials(&args.trust)?;
    let answer = asked.map_err(|fault| match fault {
        TvsFault::OtherServer(shown) if !listed.is_empty() => other_server(&shown, &listed),
        fault => no_answer(&fault, question),
    })?;
    report(format, milliseconds(resolve), &answer, &listed)
}

/// The serial numbers of the TVS records of lists.
fn listed_serials(lists: &[PathBuf]) -> Result<Vec<String>, CliError> {
    let files = read_all(lists)?;
    let serials = trust_lists(lists, &files)?.serials(ROLE_TVS);
    Ok(serials.iter().map(|serial| upper_hex(serial, ":")).collect())
}

/// The server is none of the lists (TOOL-04).
fn other_server(shown: &Certificate, listed: &[String]) -> CliError {
    let serial = upper_hex(shown.serial(), ":");
    let what = format!("{}, serial {serial}", TvsFault::OtherServer(shown.clone()));
    let help = format!(
        "the TVS records of --trust have serial {}; was TVS.pem regenerated since?",
        listed.join(", ")
    );
    CliError::Plain { what: printable(&what), help: Some(help), code: ExitCode::Failed }
}

fn no_answer(fault: &TvsFault, question: tvs::Question<'_>) -> CliError {
    let code = match fault {
        TvsFault::OtherServer(_) | TvsFault::Malformed(_) | TvsFault::Text(_) => ExitCode::Failed,
        _ => ExitCode::Environment,
    };
    let asked_by_name = matches!(question, tvs::Question::Query { .. });
    if asked_by_name && fault.is_about_the_answer() {
        let help = "some servers do not know this question; `tvs verify` asks with a certificate";
        return CliError::Plain {
            what: printable(&fault.to_string()),
            help: Some(help.into()),
            code,
        };
    }
    CliError::new(code, fault)
}

fn report(
    format: Format,
    resolve_ms: f64,
    answer: &TvsAnswer,
    listed: &[String],
) -> Result<ExitCode, CliError> {
    let response = tvs::Response::parse(&answer.message)
        .map_err(|error| CliError::new(ExitCode::Failed, error))?;
    let server = answer.server.as_ref().map(|certificate| certificate.subject().to_owned());
    let serial = answer.server.as_ref().map(|certificate| upper_hex(certificate.serial(), ":"));
    let roles = response.known.map(|known| {
        known.roles.iter().map(|&role| role_text(u16::from(role))).collect::<Vec<_>>()
    });
    let value = json!({
        "schema": 1,
        "known": response.known.is_some(),
        "roles": roles,
        "ttl_s": response.known.map(|known| known.ttl_s),
        "server": server,
        "server_serial": serial,
        "listed_serials": listed,
        "times_ms": {
            "resolve": resolve_ms,
            "connect": milliseconds(answer.connect),
            "handshake": milliseconds(answer.handshake),
            "answer": milliseconds(answer.answer),
        },
        "message": message_json(&answer.message),
    });
    let text = match format {
        Format::Json => format!("{value:#}\n"),
        Format::Text => to_text(&value),
    };
    output::print(text)?;
    Ok(if response.known.is_some() { ExitCode::Ok } else { ExitCode::Failed })
}

fn message_json(message: &[u8]) -> Value {
    inspect(message, &crate::toolbox::InspectOptions::default())
        .map(|found| found.value)
        .unwrap_or_default()
}

fn to_text(value: &Value) -> String {
    let times = &value["times_ms"];
    let answer = if value["known"] == true {
        let roles = value["roles"].as_array().into_iter().flatten().filter_map(Value::as_str);
        format!("known, roles {}", roles.collect::<Vec<_>>().join(", "))
    } else {
        "not known".to_owned()
    };
    let kept = value["ttl_s"]
        .as_u64()
        .map_or_else(String::new, |seconds| format!("kept for        {seconds} s\n"));
    let listed = value["listed_serials"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let listed = match listed.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => none,
        serials => format!("in the list     {serials}\n"),
    };
    format!(
        "answer          {answer}\n{kept}server          {}\nserial          {}\n{listed}\
         times           resolve {} ms, connect {} ms, handshake {} ms, answer {} ms\n",
        value["server"],
        value["server_serial"].as_str().unwrap_or("-"),
        times["resolve"],
        times["connect"],
        times["handshake"],
        times["answer"]
    )
}
