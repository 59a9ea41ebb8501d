use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::base::{Stop, parse_span};
use crate::measure::{COVERS, Summary, Verdict};
use crate::net::signals::{self, Signal};
use crate::report::{
    Compared, comparison_csv, comparison_html, comparison_of_orders, comparison_table, covers_text,
};
use crate::scenario::{Plan, procedures};
use crate::sim::{Axis, combinations, largest, play_all, ranked};

use super::args::{CliError, Format, GlobalArgs, ScenarioArgs, ScenarioFlags};
use super::sim::load_plan;
use super::{ExitCode, output};

/// Play scenarios, their procedures and variants in virtual time and rank them
///
/// Several scenarios, the [[procedure]]s that they name and every --vary make a grid. All share
/// their random numbers, so that differences are those of the orders and values. Ranked by stuck
/// phones, then failed ones, then time until 99 % ready.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = WHATIF_EXAMPLES)]
pub struct WhatifArgs {
    /// Scenario files; of one that names procedures each is played
    #[arg(value_name = "SCENARIO", required = true)]
    pub scenarios: Vec<PathBuf>,
    /// What the command line changes in all of them.
    #[command(flatten)]
    pub flags: ScenarioFlags,
    /// A key and its values, such as cluster.sign-cache=off,lazy,prewarm
    #[arg(long, value_name = "KEY=A,B,C", value_parser = axis)]
    pub vary: Vec<Axis>,
    /// Take the costs of work from this file
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// Write the table as CSV, too
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Write the table as a page of HTML, with heat maps of the first two --vary
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

const WHATIF_EXAMPLES: &str = "\
Examples:
  resetstorm whatif scenarios/callmanager-regen.toml --vary cluster.sign-cache=off,lazy,prewarm
  resetstorm whatif scenarios/callmanager-and-tvs.toml scenarios/one-type-at-a-time.toml
  resetstorm whatif scenarios/storm-all-at-once.toml --phones 20000 \\
      --vary cluster.cost.cores=1,2,4,8 --vary event.reset-1.reset-phones.spread=0s,30s,2m --report report.html";

/// Variants at most: each is a whole world.
const VARIANTS_MAX: usize = 10_000;

fn axis(text: &str) -> Result<Axis, String> {
    let (key, values) = text.split_once('=').ok_or("written KEY=A,B,C")?;
    let values: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
    if key.trim().is_empty() || values.iter().any(String::is_empty) {
        return Err("written KEY=A,B,C, without empty parts".to_owned());
    }
    Ok(Axis { key: key.trim().to_owned(), values })
}

/// What is compared: each row is a scenario, what is set in it, and its values in the table.
struct Grid {
    /// What stands above the values.
    keys: Vec<String>,
    rows: Vec<(PathBuf, Vec<String>, Vec<String>)>,
    /// Whether whole orders of steps are compared, not values of keys alone.
    has_orders: bool,
}

/// The key of a scenario that says which of its procedures is played.
const USE: &str = "use";

impl Grid {
    fn of(args: &WhatifArgs) -> Result<Grid, CliError> {
        let chosen = args.vary.iter().any(|axis| axis.key == USE);
        let named = |path: &PathBuf| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            if chosen { Vec::new() } else { procedures(&text) }
        };
        let named: Vec<Vec<String>> = args.scenarios.iter().map(named).collect();
        let (is_many, has_named) =
            (args.scenarios.len() > 1, named.iter().any(|names| !names.is_empty()));
        let size: usize = args.vary.iter().map(|axis| axis.values.len()).product();
        let size = size * named.iter().map(|names| names.len().max(1)).sum::<usize>();
        if size > VARIANTS_MAX {
            let what = format!("{size} variants are more than {VARIANTS_MAX}");
            return Err(CliError::usage(what, "fewer values, or fewer --vary"));
        }
        if !is_many && !has_named && args.vary.is_empty() {
            let help = "--vary KEY=A,B,C, a second scenario, or [[procedure]]s in this one";
            return Err(CliError::usage("there is nothing to compare it with", help));
        }
        let heads = [is_many.then_some("scenario"), has_named.then_some("procedure")];
        let mut keys: Vec<String> = heads.iter().flatten().map(|&key| key.to_owned()).collect();
        keys.extend(args.vary.iter().map(|axis| axis.key.clone()));
        let mut rows = Vec::new();
        for (path, names) in args.scenarios.iter().zip(&named) {
            let mut uses: Vec<Option<&String>> = names.iter().map(Some).collect();
            if uses.is_empty() {
                uses.push(None);
            }
            for name in uses {
                for set in combinations(&args.vary) {
                    let mut values = Vec::new();
                    values.extend(is_many.then(|| label(path, &args.scenarios)));
                    values.extend(has_named.then(|| name.map_or("-", String::as_str).to_owned()));
                    values.extend(set.iter().map(|text| value_of(text)));
                    let mut set = set;
                    set.extend(name.map(|name| format!("{USE}={name}")));
                    rows.push((path.clone(), set, values));
                }
            }
        }
        Ok(Grid { keys, rows, has_orders: is_many || has_named })
    }
}

fn value_of(text: &str) -> String {
    text.split_once('=').map_or("", |(_, value)| value).to_owned()
}

/// The name of a file without its ending, or all of it where that is not enough.
fn label(path: &Path, all: &[PathBuf]) -> String {
    let alike = all.iter().filter(|other| other.file_stem() == path.file_stem()).count();
    match path.file_stem() {
        Some(stem) if alike == 1 => stem.to_string_lossy().into_owned(),
        _ => path.display().to_string(),
    }
}

/// Plays the variants and prints the table.
pub fn whatif(args: &WhatifArgs, global: &GlobalArgs) -> Result<ExitCode, CliError> {
    let Grid { keys, rows, has_orders } = Grid::of(args)?;
    let mut flags = args.flags.clone();
    let mut plans: Vec<Plan> = Vec::with_capacity(rows.len());
    for (path, set, _) in &rows {
        let scenario = ScenarioArgs { scenario: path.clone(), flags: flags.clone() };
        let plan = varied(&scenario, set, args.calibration.as_deref())?;
        if !set.iter().any(|text| text.starts_with("seed=")) {
            // All have the luck of the first one.
            flags.seed.get_or_insert(plan.seed);
        }
        plans.push(plan);
    }
    warn_of_fleets(&plans, &args.vary);
    let size = rows.len();
    let (rows, summaries) = played(rows, play_all(&plans, &signals::stop()));
    let order = ranked(&summaries);
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let table: Vec<(Vec<String>, &Summary)> =
        order.iter().map(|&at| (rows[at].2.clone(), &summaries[at])).collect();
    let document = match global.format {
        Format::Json => format!(
            "{:#}\n",
            json!({ "schema": 1, "covers": COVERS, "planned": size,
            "variants": as_json(&keys, &table) })
        ),
        Format::Text => {
            let text = if has_orders { comparison_of_orders } else { comparison_table };
            format!("{}{}", covers_text(), text(&keys, &table))
        }
    };
    output::print(&document)?;
    if let Some(path) = &args.csv {
        output::write_file(path, comparison_csv(&keys, &table).as_bytes())?;
    }
    if let Some(path) = &args.report {
        let names: Vec<String> =
            args.scenarios.iter().map(|path| label(path, &args.scenarios)).collect();
        let axes: Vec<(&str, &[String])> =
            args.vary.iter().map(|axis| (axis.key.as_str(), axis.values.as_slice())).collect();
        let title = format!("what if: {}", names.join(", "));
        let compared = Compared { title: &title, keys: &keys, axes: &axes, planned: size };
        output::write_file(path, comparison_html(&compared, &table).as_bytes())?;
    }
    Ok(interrupted(table.len(), size).unwrap_or(ExitCode::Ok))
}

/// Counts of fleets of different sizes do not rank plans, unless somebody has asked for that.
fn warn_of_fleets(plans: &[Plan], vary: &[Axis]) {
    let sizes: BTreeSet<u32> = plans.iter().map(|plan| plan.fleet.phones).collect();
    if sizes.len() > 1 && vary.iter().all(|axis| axis.key != "fleet.phones") {
        output::message(
            "warning: the scenarios have fleets of different sizes, and counts of phones rank them\n\
             help: --phones N gives all of them the same",
        );
    }
}

/// The rows that were played to their end, and what came of them.
fn played<R>(rows: Vec<R>, summaries: Vec<Option<Summary>>) -> (Vec<R>, Vec<Summary>) {
    rows.into_iter().zip(summaries).filter_map(|(row, summary)| Some((row, summary?))).unzip()
}

/// Says how far it came if a signal has ended the command before all was played.
fn interrupted(played: usize, planned: usize) -> Option<ExitCode> {
    let signal = signals::first().filter(|_| played < planned)?;
    output::message(&format!("interrupted: {played} of {planned} variants were played"));
    Some(signal.exit_code())
}

fn as_json(keys: &[&str], table: &[(Vec<String>, &Summary)]) -> Value {
    let row = |(values, summary): &(Vec<String>, &Summary)| {
        let pairs = keys.iter().map(|&key| key.to_owned()).zip(values.iter().cloned());
        let set: serde_json::Map<String, Value> =
            pairs.map(|(key, value)| (key, Value::String(value))).collect();
        json!({ "set": set, "summary": summary.to_json() })
    };
    Value::Array(table.iter().map(row).collect())
}

fn varied(
    scenario: &ScenarioArgs,
    overrides: &[String],
    calibration: Option<&Path>,
) -> Result<Plan, CliError> {
    let mut scenario = scenario.clone();
    scenario.flags.set.extend_from_slice(overrides);
    load_plan(&scenario, calibration)
}

/// Find the largest value of a key with which every SLO of a scenario holds
///
/// Plays the scenario in virtual time with values of --between. The SLOs must hold
/// below the limit and not above it.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = LIMIT_EXAMPLES)]
pub struct LimitArgs {
    /// The scenario and what the command line changes in it.
    #[command(flatten)]
    pub scenario: ScenarioArgs,
    /// The key whose value is looked for, such as fleet.phones
    #[arg(long, value_name = "KEY")]
    pub vary: String,
    /// Smallest and largest value: whole numbers or lengths of time
    #[arg(long, value_name = "A..B", value_parser = between)]
    pub between: (Point, Point),
    /// How close to the limit, in percent of the largest value
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0)]
    pub within: f64,
    /// Take the costs of work from this file
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
}

const LIMIT_EXAMPLES: &str = "\
Examples:
  resetstorm limit scenarios/callmanager-regen.toml --vary fleet.phones --between 1000..200000 \\
      --slo 'fleet_ready.p99 <= 60s'";

/// A value on the way to a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// A length of time in microseconds.
    Length(u64),
    /// A whole number.
    Number(u64),
}

impl Point {
    const fn size(self) -> u64 {
        match self {
            Point::Length(size) | Point::Number(size) => size,
        }
    }

    const fn with(self, size: u64) -> Point {
        match self {
            Point::Length(_) => Point::Length(size),
            Point::Number(_) => Point::Number(size),
        }
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Point::Length(micros) => write!(f, "{}", crate::base::Span::from_micros(*micros)),
            Point::Number(number) => write!(f, "{number}"),
        }
    }
}

fn value(text: &str) -> Result<Point, String> {
    if let Ok(number) = text.replace('_', "").parse() {
        return Ok(Point::Number(number));
    }
    let length = parse_span(text).map_err(|error| format!("{error}; such as 5000 or 30s"))?;
    Ok(Point::Length(length.as_micros()))
}

/// Reads `A..B`.
fn between(text: &str) -> Result<(Point, Point), String> {
    let (from, to) = text.split_once("..").ok_or("two values, such as 1000..200000")?;
    Ok((value(from)?, value(to)?))
}

/// Looks for the limit and prints it.
pub fn limit(args: &LimitArgs, global: &GlobalArgs) -> Result<ExitCode, CliError> {
    let (from, to) = args.between;
    if from.with(0) != to.with(0) || from.size() >= to.size() {
        let help = "two numbers or two lengths of time, the smaller one first";
        return Err(CliError::usage(format!("nothing between {from} and {to}"), help));
    }
    let mut search = Search { args, stop: signals::stop(), tried: Vec::new() };
    let width = (to.size() as f64 * args.within / 100.0) as u64;
    let (found, halt) = match largest(from.size(), to.size(), width, |points| search.hold(points)) {
        Err(Halt::Cli(error)) => return Err(error),
        Err(halt) => (None, Some(halt)),
        Ok(found) => (found, None),
    };
    output::print(search.document(found, halt.as_ref(), global.format))?;
    Ok(match halt {
        Some(halt) => {
            output::message(&halt.to_string());
            signals::first().map_or(ExitCode::Inconclusive, Signal::exit_code)
        }
        None if found.is_some() => ExitCode::Ok,
        None => ExitCode::Failed,
    })
}

/// The search for a limit: what was asked for, and the worlds that were played.
struct Search<'a> {
    args: &'a LimitArgs,
    stop: Stop,
    /// Values, by their size, and what came of them.
    tried: Vec<(u64, Summary)>,
}

impl Search<'_> {
    fn point(&self, size: u64) -> Point {
        self.args.between.0.with(size)
    }

    fn plan(&self, size: u64) -> Result<Plan, CliError> {
        let set = [format!("{}={}", self.args.vary, self.point(size))];
        varied(&self.args.scenario, &set, self.args.calibration.as_deref())
    }

    /// Plays a world for each value and says whether its SLOs hold.
    fn hold(&mut self, points: &[u64]) -> Result<Vec<bool>, Halt> {
        let plans = points.iter().map(|&size| self.plan(size)).collect::<Result<Vec<_>, _>>()?;
        if plans.iter().any(|plan| plan.slos.is_empty()) {
            let help = "add one, such as --slo 'fleet_ready.p99 <= 60s'";
            return Err(CliError::usage("the scenario has no SLO that could break", help).into());
        }
        let (points, summaries) = played(points.to_vec(), play_all(&plans, &self.stop));
        let verdicts = summaries.iter().map(|summary| summary.verdict == Verdict::Pass).collect();
        let cut = summaries
            .iter()
            .zip(&points)
            .find_map(|(summary, &point)| Some(Halt::Cut(self.point(point), summary.cut_by?)));
        self.tried.extend(points.into_iter().zip(summaries));
        match cut {
            _ if self.stop.is_set() => Err(Halt::Stopped),
            Some(cut) => Err(cut),
            None => Ok(verdicts),
        }
    }

    /// What is printed at the end.
    fn document(mut self, found: Option<u64>, halt: Option<&Halt>, format: Format) -> String {
        self.tried.sort_by_key(|(size, _)| *size);
        let key: &str = &self.args.vary;
        let shown = |size: u64| vec![self.point(size).to_string()];
        let rows: Vec<(Vec<String>, &Summary)> =
            self.tried.iter().map(|(size, summary)| (shown(*size), summary)).collect();
        if format == Format::Json {
            let document = json!({ "schema": 1, "covers": COVERS, "key": key,
                "limit": found.map(|size| self.point(size).to_string()),
                "unfinished": halt.map(ToString::to_string),
                "tried": as_json(&[key], &rows) });
            return format!("{document:#}\n");
        }
        let table = comparison_table(&[key], &rows);
        format!("{}{table}\n{}\n", covers_text(), self.verdict(found, halt))
    }

    fn verdict(&self, found: Option<u64>, halt: Option<&Halt>) -> String {
        let (from, to) = self.args.between;
        match found {
            _ if halt.is_some() => "limit         not found".to_owned(),
            None => format!("limit         none: SLOs break at {from} already"),
            Some(size) if size == to.size() => format!("limit         above {to}: every SLO held"),
            Some(size) => {
                let (key, value) = (&self.args.vary, self.point(size));
                format!("limit         {key} = {value} keeps every SLO")
            }
        }
    }
}

/// Why the search for a limit cannot go on.
#[derive(Debug, thiserror::Error)]
enum Halt {
    /// The plan or a condition has a fault.
    #[error(transparent)]
    Cli(#[from] CliError),
    /// A world was cut short: whether its conditions hold is not known.
    #[error("{0} was cut by {1}: whether its SLOs hold is not known\nhelp: {help}", help = repair(.1))]
    Cut(Point, &'static str),
    /// A signal came.
    #[error("interrupted before the limit was found")]
    Stopped,
}

fn repair(cut_by: &str) -> &'static str {
    match cut_by {
        "run.max-wall" => "virtual time needs no run.max-wall: leave it out or set it higher",
        _ => "please report the scenario: its world does not come to rest",
    }
}
