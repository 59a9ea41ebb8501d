use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use clap::{Args, Subcommand};

use super::args::CliError;
use super::{ExitCode, output};
use crate::listing::{ListName, ShowOptions, Verdict, show};
use crate::toolbox::Kind;

/// Print the admin console's listing of a trust list
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  resetstorm show itl ITLFile.tlv
  resetstorm show ctl CTLFile.tlv --modified 'Fri Mar 06 21:56:07 CET 2015'

Exit codes: 0 verified, 1 verification failed, 2 no list or not readable as one.")]
pub struct ShowArgs {
    #[command(subcommand)]
    list: ShowList,
}

#[derive(Debug, Subcommand)]
enum ShowList {
    /// Listing of `show itl`
    Itl(ShowFile),
    /// Listing of `show ctl`
    Ctl(ShowFile),
}

#[derive(Debug, Args)]
struct ShowFile {
    /// The list; a file that does not exist is a cluster without it
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// When the file was last modified, as the listing prints it; the file's own time if not given
    #[arg(long, value_name = "TEXT")]
    modified: Option<String>,
    /// Leave out the checksums, as releases 8.x do
    #[arg(long)]
    no_checksum: bool,
}

/// Runs `show`.
pub fn run(args: &ShowArgs) -> Result<ExitCode, CliError> {
    let (list, file) = match &args.list {
        ShowList::Itl(file) => (ListName::Itl, file),
        ShowList::Ctl(file) => (ListName::Ctl, file),
    };
    let bytes = match std::fs::read(&file.file) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(CliError::malformed(&file.file, &error)),
    };
    let other = match (list, bytes.as_deref().map(Kind::of)) {
        (ListName::Ctl, Some(Ok(Kind::Itl))) => Some("an ITL, not a CTL"),
        (ListName::Itl, Some(Ok(Kind::Ctl))) => Some("a CTL, not an ITL"),
        _ => None,
    };
    if let Some(what) = other {
        output::message(&format!("warning: {}: it is {what}", file.file.display()));
    }
    let modified = file.modified.clone().unwrap_or_else(|| modified(&file.file));
    let options = ShowOptions { list, modified: &modified, checksum: !file.no_checksum };
    let listing = show(bytes.as_deref(), &options);
    output::print(&listing.text)?;
    Ok(match listing.verdict {
        Verdict::Valid => ExitCode::Ok,
        Verdict::Malformed => ExitCode::Usage,
        _ => ExitCode::Failed,
    })
}

/// The time of the file as a console prints it: `Wed Jul 27 10:16:24 EDT 2011`.
fn modified(path: &Path) -> String {
    let time = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or_default();
    let stamp = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    stamp.to_zoned(jiff::tz::TimeZone::system()).strftime("%a %b %d %H:%M:%S %Z %Y").to_string()
}
