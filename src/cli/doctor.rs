use clap::Args;
use serde_json::json;

use crate::net::host::{Finding, findings};

use super::args::{CliError, Format, GlobalArgs};
use super::{ExitCode, output};

/// Say what this host allows a load generator, and how to raise it
#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Example:
  resetstorm doctor

Exit codes: 0 nothing stands in the way of 20,000 starts in flight, 1 something does.")]
pub struct DoctorArgs {}

/// Prints the limits of this host.
pub fn run(_: &DoctorArgs, global: &GlobalArgs) -> Result<ExitCode, CliError> {
    let findings = findings();
    let low = findings.iter().any(|finding| finding.is_low);
    let document = match global.format {
        Format::Json => json_text(&findings),
        Format::Text => text(&findings),
    };
    let code = if low { ExitCode::Failed } else { ExitCode::Ok };
    output::print(&document).map(|()| code)
}

fn json_text(findings: &[Finding]) -> String {
    let row = |finding: &Finding| {
        json!({
            "name": finding.name,
            "value": finding.value,
            "wanted": finding.wanted,
            "low": finding.is_low,
            "why": finding.why,
            "raise": finding.raise,
        })
    };
    let rows: Vec<_> = findings.iter().map(row).collect();
    format!("{:#}\n", json!({ "schema": 1, "limits": rows }))
}

fn text(findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        let word = if finding.is_low { "LOW" } else { "ok" };
        let value = finding.value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        let (name, why) = (finding.name, finding.why);
        out.push_str(&format!("{word:<4} {name:<34} {value:>10}  {why}\n"));
        if finding.is_low {
            let (wanted, raise) = (finding.wanted, finding.raise);
            out.push_str(&format!("     help: {raise} (wanted: {wanted})\n"));
        }
    }
    out
}
