//! `capacity`: what was typed becomes a plan; the plan is measured and reported.

mod args;
mod lists;
mod load;
mod numbers;
mod target;
mod view;

use std::path::Path;

use serde_json::Value;

use crate::capacity::{self, CapacityError, CapacityPlan};
use crate::measure::{CapacitySummary, capacity_paths};
use crate::net::signals::Signal;
use crate::report::{
    ComparisonError, RunDir, capacity_exit_code, capacity_text, carries_less, comparable_capacity,
    compare_capacity, ended_too_low,
};

use super::ExitCode;
use super::args::{CliError, Format, GlobalArgs, check_slos};
use super::course;
use super::output::{self, Finished};
use super::past::read_json;
use super::run::runtime;
use view::View;

pub use args::CapacityArgs;

/// Measures and says how the program ends.
pub fn run(args: &CapacityArgs, global: &GlobalArgs) -> Result<ExitCode, CliError> {
    let plan = args.plan()?;
    check_slos(&args.slo, &capacity_paths())?;
    let baseline = args.baseline.as_deref().map(read_summary).transpose()?;
    if let Some(baseline) = &baseline {
        comparable_capacity(baseline, &plan.outline().to_json())
            .map_err(|error| incomparable(&error))?;
    }
    let settings = settings(&plan);
    let name = (&*args.label, plan.seed);
    let settings = ("capacity.toml", &*settings);
    let directory = output::begin(|| RunDir::create_named(&args.out, "capacity", name, settings))?;
    let mut view = View::new(global);
    view.banner(&plan, directory.path());
    let outcome = runtime()?.block_on(capacity::run(&plan, &mut view));
    view.console.clear();
    let measured = match outcome {
        Ok(measured) => measured,
        Err(CapacityError::Interrupted(signal)) => {
            let error = capacity_error(&CapacityError::Interrupted(signal));
            return Ok(output::say_error(&error, global.stderr_colour()));
        }
        Err(error) => return Err(capacity_error(&error)),
    };
    let code = measured.signal.map(Signal::exit_code);
    let summary = plan.summarise(&measured, &args.slo);
    let mut code = code.unwrap_or_else(|| capacity_exit_code(&summary));
    if let (ExitCode::Ok, Some(base)) = (code, &baseline) {
        code = compared_with(base, &summary.to_json());
    }
    let compared = baseline.map(|base| compare_capacity(&base, &summary.to_json()));
    let compared = compared.transpose().map_err(|error| incomparable(&error))?;
    let path = directory.path();
    let verdict = summary.verdict.name();
    let finished = Finished { run: &directory, summary: summary.to_json(), verdict, code };
    let document = |code| document(&summary, compared.as_deref(), path, code, global);
    let code = finished.leave(document, |_| Ok(()))?;
    course::leave_capacity_report(&directory, &summary.to_json());
    Ok(code)
}

/// The exit code of a measurement by what another one of the same load carried.
fn compared_with(base: &Value, summary: &Value) -> ExitCode {
    if carries_less(base, summary) {
        ExitCode::Failed
    } else if ended_too_low(base, summary) {
        ExitCode::Inconclusive
    } else {
        ExitCode::Ok
    }
}

fn incomparable(error: &ComparisonError) -> CliError {
    CliError::usage(error.to_string(), "name a run directory of the same kind of load and limits")
}

fn capacity_error(error: &CapacityError) -> CliError {
    let code = match error {
        CapacityError::Nothing | CapacityError::NotThere { .. } => ExitCode::Usage,
        CapacityError::Interrupted(signal) => signal.exit_code(),
        _ => ExitCode::Environment,
    };
    CliError::advised(error, code)
}

/// `summary.json` of a run directory, or of the file itself.
fn read_summary(path: &Path) -> Result<Value, CliError> {
    let file = if path.is_dir() { path.join("summary.json") } else { path.to_owned() };
    read_json(&file, "name a run directory of capacity, such as runs/latest")
}

fn document(
    summary: &CapacitySummary,
    compared: Option<&str>,
    run: &Path,
    code: ExitCode,
    global: &GlobalArgs,
) -> String {
    match global.format {
        Format::Json => format!("{:#}\n", summary.to_json()),
        Format::Text => {
            let compared = compared.map(|text| format!("\n{text}")).unwrap_or_default();
            format!("{}{compared}output: {}\n", capacity_text(summary, code), run.display())
        }
    }
}

/// The settings of a run as TOML, for its run directory.
fn settings(plan: &CapacityPlan) -> String {
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX).into();
    let mut table = toml::Table::new();
    let mut put = |key: &str, value: toml::Value| {
        table.insert(key.to_owned(), value);
    };
    let facts = plan.load_facts();
    let named = [
        ("tftp", facts.tftp),
        ("http", facts.http),
        ("tvs", facts.tvs),
        ("capf", facts.capf),
        ("sip", facts.sip),
        ("sips", facts.sips),
    ];
    for (key, server) in named {
        if let Some(server) = server {
            put(key, server.into());
        }
    }
    put("addresses", facts.addresses.into());
    put("mix", toml::Value::Table(facts.mix.into_iter().map(|(k, v)| (k, v.into())).collect()));
    put("names", whole(facts.names));
    put("devices", whole(facts.devices));
    if let Some(key_time_s) = facts.key_time_s {
        put("key-time-s", key_time_s.into());
    }
    put("unit", plan.unit().into());
    put("task", format!("{:?}", plan.task).into());
    put("hold", plan.pace.hold.to_string().into());
    put("warm-up", plan.pace.warm_up.to_string().into());
    put("latency", plan.limits.latency.to_string().into());
    put("percentile", plan.limits.percentile.into());
    put("errors", plan.limits.errors.into());
    put("in-flight", whole(plan.places as u64));
    put("workers", whole(plan.workers.into()));
    put("seed", whole(plan.seed));
    put("method", plan.method().join("; ").into());
    table.to_string()
}
