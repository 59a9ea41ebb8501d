//! `speed`: what this machine can sign, verify and shake hands.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::base::Span;
use crate::crypto::Provider;
use crate::scenario::load;
use crate::toolbox::{SpeedRow, speed, speed_table};

use super::ExitCode;
use super::args::{CliError, Format, GlobalArgs, duration};
use super::output;

/// Measure how fast this machine signs, verifies, shakes hands and serves
///
/// Per core and by key type and size, as `openssl speed` prints: signatures of files and their
/// checks, TLS handshakes as those of TVS, the cache of signatures, and a whole configuration.
#[derive(Args, Clone, Debug)]
#[command(
    after_long_help = "Examples:\n  resetstorm speed\n  resetstorm speed --each 3s --format json"
)]
pub struct SpeedArgs {
    /// How long each thing is done
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    pub each: Span,
}

/// A cluster of one node that serves files.
const SMALLEST: &str = "schema=1\nname='speed'\n[[cluster.node]]\nname='pub'\n[fleet]\nphones=1\n";

/// Measures and prints.
pub fn speed_of_this_machine(args: &SpeedArgs, global: &GlobalArgs) -> Result<ExitCode, CliError> {
    let plan = load(std::path::Path::new("speed"), SMALLEST, &[], &[])
        .map_err(|error| CliError::internal(error.to_string()))?;
    let each: Duration = args.each.as_duration();
    let told = !global.quiet;
    let rows = speed(each, &plan.topology, |row: &SpeedRow| {
        if told {
            let (what, with, count) = (row.what, &row.with, row.count);
            output::message(&format!("Doing {what} {with}: {count} in {:.2}s", row.seconds));
        }
    });
    output::print(match global.format {
        Format::Text => speed_table(&rows),
        Format::Json => {
            let row = |row: &SpeedRow| {
                json!({ "what": row.what, "with": row.with, "count": row.count,
                    "seconds": row.seconds, "per_second": row.per_second() })
            };
            let rows: Vec<_> = rows.iter().map(row).collect();
            let provider = Provider::chosen().to_string();
            format!("{:#}\n", json!({ "schema": 1, "provider": provider, "rows": rows }))
        }
    })?;
    Ok(ExitCode::Ok)
}
