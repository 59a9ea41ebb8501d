use clap::{Args, ValueEnum};

use crate::measure::summary_schema;
use crate::scenario::scenario_schema;

use super::args::CliError;
use super::{ExitCode, output};

/// Print the JSON schema of scenario files or of summary.json
///
/// Editors that know TOML complete and check scenarios by it: save it and name it in a first line
/// `#:schema ./scenario.schema.json`.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct SchemaArgs {
    /// Of what
    #[arg(value_name = "WHAT", default_value = "scenario")]
    pub what: SchemaOf,
}

const EXAMPLES: &str = "\
Examples:
  resetstorm schema > scenario.schema.json
  resetstorm schema summary";

/// What has a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// Scenario files
    Scenario,
    /// The file summary.json of a run
    Summary,
}

/// Prints a schema.
pub fn schema(args: &SchemaArgs) -> Result<ExitCode, CliError> {
    let schema = match args.what {
        SchemaOf::Scenario => scenario_schema(),
        SchemaOf::Summary => summary_schema(),
    };
    output::print(format!("{schema:#}\n"))?;
    Ok(ExitCode::Ok)
}
