use std::path::PathBuf;

use clap::Args;

use super::args::{GlobalArgs, ScenarioFlags};
use super::exit::ExitCode;

/// Validate scenarios and print the resolved plan with its budget
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// Scenario files
    #[arg(value_name = "SCENARIO", required = true)]
    pub scenarios: Vec<PathBuf>,
    /// What the command line changes in them.
    #[command(flatten)]
    pub flags: ScenarioFlags,
}

/// Checks every scenario and says how the program ends.
pub fn check(args: &CheckArgs, global: &GlobalArgs) -> ExitCode {
    let mut code = ExitCode::Ok;
    for path in &args.scenarios {
        if let Err(error) = args.flags.load(path) {
            code = error.print(global.stderr_colour());
        }
    }
    code
}
