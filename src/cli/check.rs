use std::path::{Path, PathBuf};

use clap::Args;
use nix::sys::resource::{Resource, getrlimit};
use serde_json::{Value, json};

use crate::advice::Lint;
use crate::base::Stop;
use crate::base::lines::row;
use crate::forecast::Budget;
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
    let mut results: Vec<Checked<'_>> = Vec::new();
    for path in &args.scenarios {
        match args.flags.load_each(path) {
            Ok(plans) => results.extend(plans.into_iter().map(|plan| (path.as_path(), Ok(plan)))),
            Err(error) => results.push((path, Err(error))),
        }
    }
    let limit = getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(_, hard)| hard);
    let good = || results.iter().filter_map(|(path, plan)| Some((*path, plan.as_ref().ok()?)));
    let printed = output::print(&match global.format {
        Format::Json => format!("{:#}\n", json_document(&results, limit)),
        Format::Text => {
            let text = |plan: &Plan| {
                let lint = linted(plan).map_or_else(too_large, |lint| lint.text());
                Budget::of(plan).text(limit) + &lint
            };
            let texts: Vec<String> = good().map(|(_, plan)| text(plan)).collect();
            texts.join("\n")
        }
    });
    for (_, plan) in good() {
        warn(plan, &args.flags, limit);
    }
    let errors =
        results.iter().filter_map(|(_, plan)| plan.as_ref().err()).chain(printed.as_ref().err());
    errors.fold(ExitCode::Ok, |worst, error| {
        worst.max(output::say_error(error, global.stderr_colour()))
    })
}

/// Largest fleet that is linted on the way: what is asked for by itself may take longer (choice).
const LINTED_MAX: u32 = 100_000;

/// What the linter says of a plan, if that takes no time worth speaking of.
fn linted(plan: &Plan) -> Option<Lint> {
    let is_small = plan.fleet.phones <= LINTED_MAX;
    is_small.then(|| Lint::of(plan, &Stop::default())).flatten()
}

fn too_large() -> String {
    let mut text = String::new();
    row(&mut text, "lint", "so many phones take a while: resetstorm lint SCENARIO");
    text
}

/// A scenario file and its plan, or what is wrong with it.
type Checked<'a> = (&'a Path, Result<Plan, CliError>);

fn json_document(results: &[Checked<'_>], limit: Option<u64>) -> Value {
    let plan = |(path, plan): &Checked<'_>| {
        let plan = plan.as_ref().ok()?;
        let mut budget = serde_json::to_value(Budget::of(plan)).expect("a budget is plain data");
        budget["file"] = path.display().to_string().into();
        budget["lint"] = serde_json::to_value(linted(plan)).expect("what is found is plain data");
        Some(budget)
    };
    let errors = |(path, plan): &Checked<'_>| match plan {
        Ok(_) => Vec::new(),
        Err(error) => as_json(path, error),
    };
    json!({
        "schema": 1,
        "descriptor_limit": limit,
        "plans": results.iter().filter_map(plan).collect::<Vec<_>>(),
        "errors": results.iter().flat_map(errors).collect::<Vec<_>>(),
    })
}

/// Everything that is wrong with a file.
fn as_json(path: &Path, error: &CliError) -> Vec<Value> {
    let file = path.display().to_string();
    match error {
        CliError::Scenario(first) => std::iter::once(first)
            .chain(&first.more)
            .map(|one| {
                json!({ "file": file, "place": one.path, "line": one.line,
                    "column": one.column, "what": one.what, "help": one.help })
            })
            .collect(),
        CliError::Plain { what, help, .. } => {
            vec![json!({ "file": file, "place": null, "line": null, "column": null,
                "what": what, "help": help })]
        }
    }
}

fn warn(plan: &Plan, flags: &ScenarioFlags, limit: Option<u64>) {
    let budget = Budget::of(plan);
    let descriptors = budget.descriptor_warning(limit);
    let nodes = flags.permit_nodes(plan).err().map(|_| {
        format!(
            "{} has nodes outside loopback\nhelp: `run` wants --allow-target for each of them",
            plan.name
        )
    });
    descriptors.into_iter().chain(nodes).for_each(|warning| say(&warning));
    warn_of(&plan.name, &budget.warnings);
}

/// Says what is likely not meant in a scenario.
pub(super) fn warn_of(scenario: &str, warnings: &[String]) {
    warnings.iter().for_each(|warning| say(&format!("{scenario}: {warning}")));
}

fn say(warning: &str) {
    output::message(&format!("warning: {warning}"));
}
