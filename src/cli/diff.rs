//! `diff`: two runs of any kind side by side.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::measure::{LevelKind, Mode};
use crate::report::{
    Both, Diff, DiffRow, Noise, Regression, RegressionRow, RunDir, compare_capacity,
};
use crate::scenario::{CostModel, Plan};

use super::args::{CliError, Format, GlobalArgs};
use super::past::{load_run, read_summary};
use super::{ExitCode, output};

/// Compare two runs of one kind, or a live run and its prediction
///
/// Two live runs, two runs in virtual time or two capacity measurements: exit code 1 if the second
/// is worse. More phones stuck or failed, a longer time until 50, 90 or 99 % are ready, more CPU
/// time of the servers, less capacity or a broken SLO that held are worse.
/// The noise of times is that of three or more runs of the same scenario beside the first, else of a
/// bootstrap over its seconds (15 % at least); it says which.
/// A live run and one in virtual time: exit code 1 if they do not agree; counts must be equal,
/// times within the tolerance.
/// Runs of different scenarios are refused; costs of virtual time may differ.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = DIFF_EXAMPLES)]
pub struct DiffArgs {
    /// Run directory that is compared with
    #[arg(value_name = "BASE")]
    pub base: PathBuf,
    /// Run directory that is compared
    #[arg(value_name = "CANDIDATE")]
    pub candidate: PathBuf,
    /// How far judged times may lie apart, in percent; unless given: the noise of runs, 5 for
    /// capacity
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true, value_parser = tolerance)]
    pub tolerance: Option<f64>,
    /// Compare runs of different scenarios or loads, too
    #[arg(long)]
    pub anyway: bool,
}

const DIFF_EXAMPLES: &str = "\
Examples:
  resetstorm diff runs/monday runs/latest
  resetstorm diff runs/live runs/sim
  resetstorm diff runs/capacity-before runs/capacity-after --tolerance 10";

/// A percentage with or without its sign.
fn tolerance(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches('%').trim_end().parse::<f64>().ok();
    let sound = number.filter(|percent| percent.is_finite() && *percent >= 0.0);
    sound.ok_or_else(|| "a percentage from 0, such as 10 or 10%".to_owned())
}

/// How far times of two runs may lie apart (choice).
const TOLERANCE: f64 = 15.0;
/// How far two capacities may lie apart: what two measurements of one server differ by (choice).
const CAPACITY_TOLERANCE: f64 = 5.0;

/// Compares and says how the program ends.
pub fn diff(args: &DiffArgs, global: &GlobalArgs) -> Result<ExitCode, CliError> {
    let (base, candidate) = (read_summary(&args.base)?, read_summary(&args.candidate)?);
    let (document, is_well) = match (mode(&args.base, &base)?, mode(&args.candidate, &candidate)?) {
        (Mode::Capacity, Mode::Capacity) => capacities(args, &base, &candidate)?,
        (one, other) if one == other => {
            refuse_different(args)?;
            same_kind(args, one, &base, &candidate)
        }
        (Mode::Live, Mode::Sim) | (Mode::Sim, Mode::Live) => {
            refuse_different(args)?;
            prediction(args, &base, &candidate)
        }
        (one, other) => {
            let what = format!("{} cannot be compared with {}", words(one), words(other));
            return Err(CliError::usage(what, "name two runs of one kind"));
        }
    };
    let document = match global.format {
        Format::Json => format!("{:#}\n", document.json),
        Format::Text => document.text,
    };
    output::print(&document)?;
    Ok(if is_well { ExitCode::Ok } else { ExitCode::Failed })
}

/// Compares a run that has just ended with an earlier one, leaves `diff.json` beside it, and says how
/// the program ends if it ended with `code` before.
pub(super) fn with_baseline(
    base: &Path,
    run: &RunDir,
    global: &GlobalArgs,
    code: ExitCode,
) -> Result<ExitCode, CliError> {
    let (base, candidate, tolerance) = (base.to_owned(), run.path().to_owned(), None);
    let args = DiffArgs { base, candidate, tolerance, anyway: false };
    let (base, candidate) = (read_summary(&args.base)?, read_summary(&args.candidate)?);
    let kind = mode(&args.candidate, &candidate)?;
    let (document, is_well) = same_kind(&args, kind, &base, &candidate);
    run.write_json("diff.json", &document.json)?;
    match global.format {
        Format::Json => output::message(document.text.trim_end()),
        Format::Text => {
            output::print(format!("\nagainst {}\n{}", args.base.display(), document.text))?;
        }
    }
    Ok(if is_well || code != ExitCode::Ok { code } else { ExitCode::Failed })
}

/// Refuses a baseline that a run of `plan` could not be compared with, before it runs.
pub(super) fn check_baseline(base: &Path, plan: &Plan, kind: Mode) -> Result<(), CliError> {
    let found = mode(base, &read_summary(base)?)?;
    if found != kind {
        let what = format!("{}: {}, not {}", base.display(), words(found), words(kind));
        return Err(CliError::usage(what, "name a run of the same kind as baseline"));
    }
    if comparable(base)? != stripped(plan.clone()) {
        let what = format!("{}: of another scenario, seed or size", base.display());
        return Err(CliError::usage(what, "name a run of this scenario as baseline"));
    }
    Ok(())
}

/// What is printed.
struct Document {
    text: String,
    json: Value,
}

/// What made a run directory, in words.
const fn words(mode: Mode) -> &'static str {
    match mode {
        Mode::Capacity => "a capacity measurement",
        Mode::Live => "a live run",
        Mode::Sim => "a run in virtual time",
    }
}

fn mode(run: &Path, summary: &Value) -> Result<Mode, CliError> {
    Mode::ALL.into_iter().find(|mode| summary["mode"] == mode.name()).ok_or_else(|| {
        let what = format!("{}: its summary does not say what it is of", run.display());
        CliError::usage(what, "name a run directory of `run`, `sim` or `capacity`")
    })
}

fn same_kind(args: &DiffArgs, kind: Mode, base: &Value, candidate: &Value) -> (Document, bool) {
    let noise = args.tolerance.map_or_else(
        || Noise::of_run(&args.base, TOLERANCE / 100.0),
        |percent| Noise::fixed(percent / 100.0),
    );
    let compared = Regression::of_runs(base, candidate, noise);
    let machine = machine(base, candidate);
    let text = format!("{}{machine}\n{}", compared.table(), compared.conclusion());
    (Document { text, json: as_json(kind, &compared) }, compared.worse() == 0)
}

/// A line about the machine, if it was another.
fn machine(base: &Value, candidate: &Value) -> String {
    let what = Diff::new(base, candidate).machine();
    what.map_or_else(String::new, |what| format!("\nmachine: in the second run {what}\n"))
}

fn capacities(
    args: &DiffArgs,
    base: &Value,
    candidate: &Value,
) -> Result<(Document, bool), CliError> {
    if !args.anyway && load_of(base) != load_of(candidate) {
        let what = "the measurements are of different loads, limits or kinds of search";
        return Err(CliError::usage(what, "compare them all the same with --anyway"));
    }
    let table = compare_capacity(base, candidate).map_err(|error| {
        CliError::usage(error.to_string(), "name two measurements of the same kind of load")
    })?;
    let tolerance = args.tolerance.unwrap_or(CAPACITY_TOLERANCE) / 100.0;
    let compared = Regression::of_capacity(base, candidate, tolerance);
    let text = format!("{table}\n{}", compared.conclusion());
    let document = Document { text, json: as_json(Mode::Capacity, &compared) };
    Ok((document, compared.worse() == 0))
}

/// What two capacity measurements must share.
fn load_of(summary: &Value) -> Value {
    let steps = summary["capacity"]["steps"].as_array();
    let words = steps.into_iter().flatten().filter_map(|step| step["step"].as_str());
    let given = words.filter(|word| LevelKind::of(word).is_some_and(LevelKind::is_given));
    let fixed: Vec<&str> = given.take(1).collect();
    json!([summary["load"]["mix"], summary["limits"], summary["capacity"]["unit"], fixed])
}

fn as_json(kind: Mode, compared: &Regression) -> Value {
    let row = |row: &RegressionRow| {
        let Both { path, base, candidate, .. } = &row.number;
        json!({ "path": path, "base": base, "candidate": candidate,
            "verdict": row.change.name() })
    };
    json!({
        "schema": 1,
        "kind": kind.name(),
        "verdict": compared.verdict().name(),
        "regression": compared.worse() > 0,
        "noise": {
            "source": compared.noise.source,
            "of": compared.noise.of,
            "otherwise": compared.noise.otherwise,
        },
        "broken_slos": compared.broken,
        "caveats": compared.caveats,
        "rows": compared.rows.iter().map(row).collect::<Vec<_>>(),
    })
}

fn prediction(args: &DiffArgs, base: &Value, candidate: &Value) -> (Document, bool) {
    let within = args.tolerance.unwrap_or(TOLERANCE);
    let tolerance = within / 100.0;
    let diff = Diff::new(base, candidate);
    let agrees = diff.agrees(tolerance);
    let mode = |summary: &Value| summary["mode"].as_str().unwrap_or("-").to_owned();
    let table = diff.text([&mode(base), &mode(candidate)], tolerance);
    let verdict = if agrees { "agree" } else { "differ" };
    let machine = diff.machine().map_or(String::new(), |what| {
        format!("\nmachine: in the second run {what}; `sim --machine-of` allows for it\n")
    });
    let row = |row: &DiffRow| {
        let Both { path, base, candidate, .. } = &row.number;
        json!({ "path": path, "base": base, "candidate": candidate,
            "change": row.number.change(), "judged": row.is_judged })
    };
    let rows: Vec<Value> = diff.rows.iter().map(row).collect();
    let text = format!("{table}{machine}\nverdict: the runs {verdict} (times within {within} %)\n");
    let json = json!({ "schema": 1, "kind": "prediction", "verdict": verdict, "agrees": agrees,
        "tolerance": tolerance, "rows": rows });
    (Document { text, json }, agrees)
}

fn refuse_different(args: &DiffArgs) -> Result<(), CliError> {
    if args.anyway || comparable(&args.base)? == comparable(&args.candidate)? {
        return Ok(());
    }
    let what = "the runs are of different scenarios, seeds or sizes";
    Err(CliError::usage(what, "compare them all the same with --anyway"))
}

/// What two runs must share to be compared: everything but conditions, names of steps, costs,
/// links, ports and time limits.
fn comparable(run: &Path) -> Result<Plan, CliError> {
    load_run(run).map(stripped)
}

fn stripped(mut plan: Plan) -> Plan {
    plan.cost = CostModel::default();
    plan.slos.clear();
    plan.timeline.iter_mut().for_each(|entry| entry.name.clear());
    plan.fleet.sites.clear();
    (plan.limits.max_wall, plan.limits.max_wall_is_set) = (crate::base::Span::ZERO, false);
    for node in &mut plan.topology.nodes {
        let (http, https) = (node.ports.http.map(|_| 0), node.ports.https.map(|_| 0));
        node.ports = crate::cluster::Ports { http, https, ..crate::cluster::Ports::ANY };
    }
    plan
}
