use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::calibrate::{CalibrationRun, calibrate as fit};
use crate::scenario::Plan;

use super::args::{CliError, Format, GlobalArgs};
use super::past::{NAME_A_RUN, load_run, read_json, read_summary};
use super::{ExitCode, output};

/// Fit the costs of virtual time to a live run on this machine
///
/// Plays the run in virtual time and changes each cost until every kind of thread works as long as
/// it did; the latency of the host comes from the median boot. Further runs at another load, which
/// may be saturated, tell how much more work costs on a core that was idle. The result lies in the
/// first run's directory as calibration.toml, for `sim --calibration`.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = CALIBRATE_EXAMPLES)]
pub struct CalibrateArgs {
    /// Run directory of `run`
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Run directories of runs at another load on the same machine
    #[arg(value_name = "OTHER")]
    pub others: Vec<PathBuf>,
    /// Write the calibration here instead of into the run directory
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

const CALIBRATE_EXAMPLES: &str = "\
Examples:
  resetstorm run scenarios/mixed-fleet.toml --phones 5000
  resetstorm calibrate runs/latest
  resetstorm sim scenarios/callmanager-regen.toml --calibration runs/latest/calibration.toml";

/// Calibrates and says how the program ends.
pub fn calibrate(args: &CalibrateArgs, global: &GlobalArgs) -> Result<ExitCode, CliError> {
    let read = |run: &PathBuf| -> Result<CalibrationRun, CliError> {
        Ok(CalibrationRun { plan: load_run(run)?, summary: read_summary(run)? })
    };
    let run = read(&args.run)?;
    let others = args.others.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let manifest = read_json(&args.run.join("run.json"), NAME_A_RUN)?;
    let cores = manifest["host"]["cores"].as_u64().unwrap_or(1) as u32;
    let calibration = fit(&run, &others, cores).map_err(|error| {
        CliError::usage(format!("{}: {error}", args.run.display()), "a run of `run` that passed")
    })?;
    let about = about(&run.plan, &manifest);
    let text = calibration.to_toml(&about);
    let path = args.output.clone().unwrap_or_else(|| args.run.join("calibration.toml"));
    output::write_file(&path, text.as_bytes())?;
    let document = match global.format {
        Format::Text => format!("{text}\noutput: {}\n", path.display()),
        Format::Json => format!(
            "{:#}\n",
            json!({ "schema": 1, "cost": calibration.cost,
            "origins": calibration.origins, "output": path })
        ),
    };
    output::print(&document)?;
    Ok(ExitCode::Ok)
}

/// Where a calibration comes from.
fn about(plan: &Plan, manifest: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    vec![
        format!("Costs of work in virtual time, fitted to a live run of {}.", plan.name),
        format!(
            "{} phones, seed {}, started {}, {} cores, Linux {}.",
            plan.fleet.phones,
            plan.seed,
            text(&manifest["started_at"]),
            manifest["host"]["cores"],
            text(&manifest["host"]["kernel"])
        ),
    ]
}
