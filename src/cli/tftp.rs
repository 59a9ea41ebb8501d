use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::args::{CliError, Format};
use super::files::write;
use super::lab::{ServerArgs, milliseconds};
use super::{ExitCode, output};
use crate::toolbox::{FetchFault, Fetched, fetch};
use crate::transfer::DownloadRequest;
use crate::wire::tftp::Options;

/// Port of TFTP (RFC 1350).
const TFTP_PORT: u16 = 69;
/// Longest file that is read; phones stop at 550,001 bytes (`spec/phone-boot.md` section 2).
const SIZE_MAX: usize = 64 << 20;

/// Read one file from a TFTP server
#[derive(Debug, Args)]
#[command(after_long_help = "\
Example:
  resetstorm tftp get 10.0.0.1 ITLFile.tlv --allow-target 10.0.0.1 -o ITLFile.tlv

Exit codes: 0 read, 1 the server has no such file or refused, 4 no answer, half a file, or an
answer that is no TFTP.")]
pub struct TftpArgs {
    #[command(subcommand)]
    command: TftpCommand,
}

#[derive(Debug, Subcommand)]
enum TftpCommand {
    /// Read one file
    Get(GetArgs),
}

#[derive(Debug, Args)]
struct GetArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Name of the file on the server
    #[arg(value_name = "FILE")]
    file: String,
    /// Ask for blocks of this size (RFC 2348); phones ask for nothing
    #[arg(long, value_name = "BYTES")]
    block_size: Option<u16>,
    /// How often a datagram is sent
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    tries: u8,
    /// File to write; standard output if not given
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs `tftp`.
pub fn run(args: &TftpArgs, format: Format) -> Result<ExitCode, CliError> {
    let TftpCommand::Get(args) = &args.command;
    let (address, resolve) = args.server.resolve(TFTP_PORT)?;
    let request = DownloadRequest {
        file: args.file.as_str().into(),
        options: Options { block_size: args.block_size.map(u64::from), ..Options::default() },
        size_max: SIZE_MAX,
        timeout: args.server.timeout().into(),
        tries: args.tries,
    };
    let fetched = fetch(address, request).map_err(|fault| {
        let code = match fault {
            FetchFault::Refused { .. } => ExitCode::Failed,
            FetchFault::Io(_) | FetchFault::Transfer { .. } => ExitCode::Environment,
        };
        CliError::new(code, format!("{}: {fault}", args.file))
    })?;
    let resolve = milliseconds(resolve);
    report(args, format, resolve, &fetched)?;
    Ok(ExitCode::Ok)
}

/// The file goes to its place, the times to standard error, so that a pipe gets the file only;
/// JSON goes to standard output if the file does not.
fn report(
    args: &GetArgs,
    format: Format,
    resolve_ms: f64,
    fetched: &Fetched,
) -> Result<(), CliError> {
    write(args.out.as_deref(), &fetched.data)?;
    let first = milliseconds(fetched.first_answer);
    let total = milliseconds(fetched.total);
    if format == Format::Json && args.out.is_some() {
        let value = json!({
            "schema": 1,
            "file": args.file,
            "bytes": fetched.data.len(),
            "resolve_ms": resolve_ms,
            "first_answer_ms": first,
            "total_ms": total,
            "retransmitted": fetched.retransmitted,
        });
        return output::print(format!("{value:#}\n"));
    }
    output::message(&format!(
        "{}: {} bytes; resolve {resolve_ms} ms, first answer {first} ms, total {total} ms, \
         {} sent again",
        args.file,
        fetched.data.len(),
        fetched.retransmitted
    ));
    Ok(())
}
