use std::path::{Path, PathBuf};

use clap::Args;
use nix::sys::resource::{Resource, getrlimit};
use serde_json::{Value, json};

use crate::report::Budget;
use crate::scenario::Plan;

use super::args::{CliError, Format, GlobalArgs, ScenarioFlags};
use super::{ExitCode, output};

/// Validate scenarios and print each resolved plan with its budget
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// Scenario files; all of them are checked, whatever is wrong with one
    #[arg(value_name = "SCENARIO", required = true)]
    pub scenarios: Vec<PathBuf>,
    /// What the command line changes in them.
    #[command(flatten)]
    pub flags: ScenarioFlags,
}

/// Checks every scenario: budgets on stdout, errors and warnings on stderr.
pub fn check(args: &CheckArgs, global: &GlobalArgs) -> ExitCode {
    let results: Vec<(&Path, Result<Plan, CliError>)> =
        args.scenarios.iter().map(|path| (path.as_path(), args.flags.load(path))).collect();
    let limit = getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(_, hard)| hard);
    let good = || results.iter().filter_map(|(path, plan)| Some((*path, plan.as_ref().ok()?)));
    let printed = output::print(&match global.format {
        Format::Json => format!("{:#}\n", json_document(good(), limit)),
        Format::Text => {
            let texts: Vec<String> = good().map(|(_, plan)| Budget::of(plan).text(limit)).collect();
            texts.join("\n")
        }
    });
    for (_, plan) in good() {
        warn(plan, &args.flags, limit);
    }
    let errors =
        results.iter().filter_map(|(_, plan)| plan.as_ref().err()).chain(printed.as_ref().err());
    errors.fold(ExitCode::Ok, |worst, error| worst.max(error.print(global.stderr_colour())))
}

fn json_document<'a>(
    plans: impl Iterator<Item = (&'a Path, &'a Plan)>,
    limit: Option<u64>,
) -> Value {
    let plan = |(path, plan): (&Path, &Plan)| {
        let mut budget = serde_json::to_value(Budget::of(plan)).expect("a budget is plain data");
        budget["file"] = path.display().to_string().into();
        budget
    };
    json!({
        "schema": 1,
        "descriptor_limit": limit,
        "plans": plans.map(plan).collect::<Vec<_>>(),
    })
}

fn warn(plan: &Plan, flags: &ScenarioFlags, limit: Option<u64>) {
    let descriptors = Budget::of(plan).descriptor_warning(limit);
    let nodes = flags.permit_nodes(plan).err().map(|_| {
        format!(
            "{} has nodes outside loopback\nhelp: `run` wants --allow-target for each of them",
            plan.name
        )
    });
    for warning in descriptors.into_iter().chain(nodes) {
        output::message(&format!("warning: {warning}"));
    }
}
