//! `report`: the report of a run, written again.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::measure::Mode;
use crate::report::{RunFiles, capacity_html, capacity_md, report_html, report_md};

use super::ExitCode;
use super::args::{CliError, Format, GlobalArgs};
use super::output;
use super::past::{NAME_A_RUN, read_json, read_summary};

/// Write the report of a run again: HTML and Markdown
///
/// `run` and `sim` leave a report in their directory; this makes it anew from the files beside it,
/// and one of a capacity measurement: offered against achieved load, latency by level.
/// The page needs no network and no script; the Markdown is for the ticket of a change.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = REPORT_EXAMPLES)]
pub struct ReportArgs {
    /// Run directory
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Write report.html and report.md into this folder instead
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

const REPORT_EXAMPLES: &str = "\
Examples:
  resetstorm report runs/latest
  resetstorm report runs/latest --out /srv/tickets/4711";

/// Writes the report.
pub fn report(args: &ReportArgs, global: &GlobalArgs) -> Result<ExitCode, CliError> {
    let (page, text) = pages(&args.run)?;
    let folder = args.out.as_ref().unwrap_or(&args.run);
    let [html, markdown] = ["report.html", "report.md"].map(|name| folder.join(name));
    output::write_file(&html, page.as_bytes())?;
    output::write_file(&markdown, text.as_bytes())?;
    let [html, markdown] = [html, markdown].map(|path| path.display().to_string());
    output::print(match global.format {
        Format::Json => {
            format!("{:#}\n", json!({ "schema": 1, "html": html, "markdown": markdown }))
        }
        Format::Text => format!("report: {html}\n        {markdown}\n"),
    })?;
    Ok(ExitCode::Ok)
}

/// The report of a run, or of a capacity measurement: HTML and Markdown.
fn pages(run: &Path) -> Result<(String, String), CliError> {
    let summary = read_summary(run)?;
    if summary["mode"] == Mode::Capacity.name() {
        let manifest = read_json(&run.join("run.json"), NAME_A_RUN)?;
        return Ok((capacity_html(&summary, &manifest), capacity_md(&summary, &manifest)));
    }
    let files = RunFiles::read(run).map_err(|error| CliError::advised(&error, ExitCode::Usage))?;
    Ok((report_html(&files), report_md(&files)))
}
