use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::advice::Lint;
use crate::net::signals::{self, Signal};
use crate::scenario::{Plan, to_toml};

use super::args::{CliError, Format, GlobalArgs, ScenarioFlags};
use super::{ExitCode, output};

/// Say before anything runs whom which step strands, and a safer order
///
/// Plays one phone of each kind (group, model, site, TFTP nodes) in virtual time, says which rules
/// of the documents the steps break and what comes of each, and looks for an order of the same
/// steps that loses fewer phones. Whether servers carry the load is not judged: `sim` says that.
/// Exit code 1 if any phone would be lost.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct LintArgs {
    /// Scenario files; of one that names procedures each is judged
    #[arg(value_name = "SCENARIO", required = true)]
    pub scenarios: Vec<PathBuf>,
    /// What the command line changes in them.
    #[command(flatten)]
    pub flags: ScenarioFlags,
    /// Write the safer order as a scenario
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  resetstorm lint scenarios/callmanager-and-tvs.toml
  resetstorm lint scenarios/callmanager-and-tvs.toml --write safer.toml
  resetstorm whatif scenarios/callmanager-and-tvs.toml safer.toml";

/// Judges every plan and says how the program ends.
pub fn lint(args: &LintArgs, global: &GlobalArgs) -> Result<ExitCode, CliError> {
    let mut plans: Vec<Plan> = Vec::new();
    for path in &args.scenarios {
        plans.extend(args.flags.load_each(path)?);
    }
    if args.write.is_some() && plans.len() > 1 {
        let help = "name one scenario; of several procedures one by --set use=NAME";
        return Err(CliError::usage("--write is for the order of one plan", help));
    }
    let stop = signals::stop();
    let mut lints = Vec::with_capacity(plans.len());
    for plan in &plans {
        match Lint::of(plan, &stop) {
            Some(lint) => lints.push(lint),
            None => return Ok(signals::first().map_or(ExitCode::Interrupted, Signal::exit_code)),
        }
    }
    let document = match global.format {
        Format::Json => format!("{:#}\n", json!({ "schema": 1, "plans": lints })),
        Format::Text => lints.iter().map(Lint::text).collect::<Vec<_>>().join("\n"),
    };
    output::print(&document)?;
    if let Some(path) = &args.write {
        write(path, &lints[0], global)?;
    }
    let is_bad = |lint: &Lint| !lint.is_safe && lint.played > 0;
    Ok(if lints.iter().any(is_bad) { ExitCode::Failed } else { ExitCode::Ok })
}

fn write(path: &std::path::Path, lint: &Lint, global: &GlobalArgs) -> Result<(), CliError> {
    let Some(safer) = &lint.safer else {
        if !global.quiet {
            output::message("nothing was written: no safer order was found or is needed");
        }
        return Ok(());
    };
    output::write_file(path, to_toml(&safer.plan).as_bytes())?;
    if !global.quiet {
        output::message(&format!("the safer order is in {}", path.display()));
    }
    Ok(())
}
