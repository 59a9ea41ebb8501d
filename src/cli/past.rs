//! Runs that are over: what their directories say.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::scenario::Plan;

use super::args::{CliError, ScenarioFlags};

/// The resolved plan of a run directory.
pub(super) fn load_run(run: &Path) -> Result<Plan, CliError> {
    let path = run.join("scenario.toml");
    ScenarioFlags::default().load(&path)
}

/// The `summary.json` of a run directory.
pub(super) fn read_summary(run: &Path) -> Result<Value, CliError> {
    let path = run.join("summary.json");
    if !path.exists()
        && let Ok(manifest) = read_json(&run.join("run.json"), NAME_A_RUN)
    {
        let word = |key: &str| manifest[key].as_str().map(str::to_owned);
        let state = word("state").unwrap_or_else(|| "-".to_owned());
        let why = word("error").map(|error| format!(": {error}")).unwrap_or_default();
        let what = format!("{}: no summary, the run is {state}{why}", run.display());
        return Err(CliError::usage(what, "name the directory of a finished run"));
    }
    read_json(&path, NAME_A_RUN)
}

/// A JSON document of a run directory.
pub(super) fn read_json(path: &Path, help: &str) -> Result<Value, CliError> {
    let unusable = |what: String| CliError::usage(format!("{}: {what}", path.display()), help);
    let text = fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| unusable(error.to_string()))
}

/// What helps where a run directory has not what is looked for.
pub(super) const NAME_A_RUN: &str = "name the directory of a finished run, such as runs/latest";
