use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};

use crate::base::{Span, Stop, Time};
use crate::forecast::warnings;
use crate::measure::{Finish, Mode, OPERATOR_STEPS, Summary, Verdict, open_metrics};
use crate::net::limits::resident_bytes;
use crate::net::signals;
use crate::report::{RunDir, exit_code};
use crate::scenario::{AVAILABLE_MIN, CostModel, Plan};
use crate::sim::{Recorded, SimOptions, SimRun, World, try_guesses};

use super::ExitCode;
use super::args::{CliError, Format, GlobalArgs, ScenarioArgs};
use super::check::warn_of;
use super::course::{self, Course};
use super::diff;
use super::mail::MailArgs;
use super::output;
use super::past::{load_run, read_summary};

/// Play a scenario in virtual time: the same phones and cluster, no sockets
///
/// The same outcomes and counts as `run` in a fraction of the time, for any number of phones and
/// with links, server limits and paces that a live run does not have. The same scenario gives
/// the same digest on every machine and with any number of threads.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = SIM_EXAMPLES)]
pub struct SimArgs {
    /// The scenario and what the command line changes in it.
    #[command(flatten)]
    pub scenario: ScenarioArgs,
    /// Folder of run directories
    #[arg(long, value_name = "DIR", default_value = "runs", env = "RESETSTORM_OUT")]
    pub out: PathBuf,
    /// Take the costs of work from this file, such as `calibrate` writes
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// Play on a machine as fast and as busy with other programs as in this live run
    #[arg(long, value_name = "RUN", requires = "calibration")]
    pub machine_of: Option<PathBuf>,
    /// Write metrics.prom, too: the run from second to second for promtool, several megabytes
    #[arg(long)]
    pub openmetrics: bool,
    /// Run twice and end with 5 if the digests differ
    #[arg(long)]
    pub check_determinism: bool,
    /// Halve and double each guess and show how the result moves
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        num_args = 0..=1,
        require_equals = true,
        default_value = "auto",
        default_missing_value = "always"
    )]
    pub sensitivity: Sensitivity,
    /// Compare with this earlier run: exit code 1 if this one is worse
    #[arg(long, value_name = "RUN")]
    pub baseline: Option<PathBuf>,
    /// Who is told of certificates that expire.
    #[command(flatten)]
    pub mail: MailArgs,
}

/// When guesses are halved and doubled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sensitivity {
    /// For any fleet: every guess takes two more runs
    Always,
    /// For fleets of up to 2,000 phones
    Auto,
    /// Guesses are only named
    Never,
}

/// Largest fleet whose guesses are varied unasked: a few seconds (choice).
const SENSITIVITY_PHONES_MAX: u32 = 2_000;

impl Sensitivity {
    const fn applies(self, phones: u32) -> bool {
        match self {
            Sensitivity::Always => true,
            Sensitivity::Auto => phones <= SENSITIVITY_PHONES_MAX,
            Sensitivity::Never => false,
        }
    }
}

const SIM_EXAMPLES: &str = "\
Examples:
  resetstorm sim scenarios/callmanager-regen.toml --phones 100000
  resetstorm sim scenarios/callmanager-regen.toml --check-determinism --format json
  resetstorm sim scenarios/mixed-fleet.toml --calibration scenarios/calibration/loopback-2core.toml";

/// Plays the scenario and says how the program ends.
pub fn sim(args: &SimArgs, global: &GlobalArgs) -> Result<ExitCode, CliError> {
    let mut plan = load_plan(&args.scenario, args.calibration.as_deref())?;
    if let Some(run) = &args.machine_of {
        put_on_machine_of(run, &mut plan)?;
    }
    warn_of(&plan.name, &warnings(&plan));
    args.mail.check(&args.scenario.flags)?;
    if let Some(base) = &args.baseline {
        diff::check_baseline(base, &plan, Mode::Sim)?;
    }
    // Before the directory is there: a signal that comes as soon as it is leaves results in it.
    let stop = signals::stop();
    let directory = output::begin(|| RunDir::create(&args.out, &plan, "sim"))?;
    let (run, mut summary) = play(&plan, sampled(args, &plan), &stop);
    if args.check_determinism {
        check_determinism(&plan, &run, &mut summary, &stop)?;
    }
    if let (Some(facts), true) = (&mut summary.sim, args.sensitivity.applies(plan.fleet.phones)) {
        facts.guesses = try_guesses(&plan, &run, &stop);
    }
    args.mail.send(&run.facts.alarms);
    let code = code(&mut summary, run.finish);
    let code = output::leave_summary((&directory, &summary), code, global.format, |directory| {
        directory.write_consoles(&run.facts.consoles)?;
        output::leave_alarms(directory, &run.facts.alarms.join("\n"))?;
        if let Some(records) = &run.records {
            let course = Course { plan: &plan, ledger: &run.ledger, records, ended: run.ended };
            course::leave(directory, &course, &summary)?;
        }
        if !args.openmetrics {
            return Ok(());
        }
        directory.write_text("metrics.prom", &back_filled(&run))
    })?;
    let code = match &args.baseline {
        Some(base) => diff::with_baseline(base, &directory, global, code)?,
        None => code,
    };
    // The report is made of files: of a million phones both at once are half a gigabyte.
    drop(run);
    course::leave_report(&directory);
    Ok(code)
}

/// Whether metrics are sampled, and how often: a sample looks at every phone.
fn sampled(args: &SimArgs, plan: &Plan) -> SimOptions {
    let every = SAMPLE_EVERY.times(1 + u64::from(plan.fleet.phones / 100_000));
    let sample_every = args.openmetrics.then_some(every);
    SimOptions { sample_every, records: Recorded::Course, ..SimOptions::default() }
}

/// The exit code of a run; one that a signal has ended after the world had come to its end is
/// interrupted, too, and says what is whole.
fn code(summary: &mut Summary, finish: Finish) -> ExitCode {
    let Some(signal) = signals::first() else { return exit_code(summary) };
    if finish != Finish::Interrupted {
        summary.verdict = Verdict::Interrupted;
        summary.notes.push(
            "the signal came when all phones had been played: the counts are whole, guesses that \
             were not varied are only named"
                .into(),
        );
    }
    signal.exit_code()
}

/// Plays the world again and compares.
fn check_determinism(
    plan: &Plan,
    run: &SimRun,
    summary: &mut Summary,
    stop: &Stop,
) -> Result<(), CliError> {
    let again = World::until(plan, SimOptions::default(), stop).run();
    if run.finish == Finish::Interrupted || again.finish == Finish::Interrupted {
        return Ok(());
    }
    if (&again.digest, again.draws) != (&run.digest, run.draws) {
        return Err(CliError::internal(format!("two runs of seed {} differ", plan.seed)));
    }
    summary.notes.push("deterministic: a second run had the same digest and draws".into());
    Ok(())
}

/// The plan of a scenario with the costs of a calibration in it; `--set` outweighs them.
pub(super) fn load_plan(
    scenario: &ScenarioArgs,
    calibration: Option<&Path>,
) -> Result<Plan, CliError> {
    let mut scenario = scenario.clone();
    if let Some(path) = calibration {
        scenario.flags.set.splice(0..0, cost_overrides(path)?);
    }
    scenario.load()
}

/// Plays the plan on a machine as fast and as free as that of a live run was.
fn put_on_machine_of(run: &Path, plan: &mut Plan) -> Result<(), CliError> {
    let machine = &read_summary(run)?["machine"];
    let (Some(yardstick), Some(available)) =
        (machine["yardstick_s"].as_f64(), machine["available"].as_f64())
    else {
        let what = format!("{}: says nothing about its machine", run.display());
        return Err(CliError::usage(what, "name a live run of this version"));
    };
    plan.cost.available = available.clamp(AVAILABLE_MIN, 1.0);
    // What the yardstick takes depends on the load: a first run tells it.
    let expected = World::new(plan, SimOptions::default()).run().summary(plan).machine.yardstick_s;
    let Some(expected) = expected else {
        let what = "the calibration does not say how fast its machine was";
        return Err(CliError::usage(what, "calibrate again from a live run of this version"));
    };
    plan.cost.scale_work(yardstick / expected);
    Ok(())
}

/// The values of a calibration file as overrides of a scenario.
fn cost_overrides(path: &Path) -> Result<Vec<String>, CliError> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| {
        let help = "calibrations lie in scenarios/calibration/; `calibrate RUN` makes one";
        CliError::usage(format!("{shown}: cannot be read: {error}"), help)
    })?;
    let table = CostModel::from_toml(&text)
        .map_err(|error| error.to_string())
        .and_then(|_| toml::from_str::<toml::Table>(&text).map_err(|error| error.to_string()));
    let table = table.map_err(|error| {
        let what = format!("{shown}: {}", error.trim_end());
        CliError::usage(what, "a [cost] table as `calibrate` writes it")
    })?;
    // What no run measures is not there to measure: a limit that is off leaves the scenario's alone.
    let is_off = |key: &str, value: &toml::Value| {
        let zero = value.as_float() == Some(0.0)
            || value.as_integer() == Some(0)
            || value.as_str() == Some("0s");
        zero && LIMITS.contains(&key)
    };
    let cost = table["cost"].as_table().into_iter().flatten();
    let cost = cost.filter(|(key, value)| !is_off(key, value));
    Ok(cost.map(|(key, value)| format!("cluster.cost.{key}={value}")).collect())
}

/// Keys of a calibration that are limits of the cluster and not costs of work.
const LIMITS: [&str; 5] = [
    "build-time",
    "registrations-per-second",
    "resets-per-second",
    "serving-count",
    "tvs-connections",
];

/// Plays a plan once; the summary says how fast that was.
fn play(plan: &Plan, options: SimOptions, stop: &Stop) -> (SimRun, Summary) {
    let begun = Instant::now();
    let run = World::until(plan, options, stop).run();
    let seconds = begun.elapsed().as_secs_f64();
    let mut summary = run.summary(plan);
    if let Some(facts) = &mut summary.sim {
        facts.events_per_s = (seconds > 0.0).then(|| facts.events as f64 / seconds);
        let phones = f64::from(plan.fleet.phones);
        facts.bytes_per_phone = resident_bytes().map(|bytes| bytes as f64 / phones);
    }
    (run, summary)
}

/// How often metrics are sampled in virtual time.
const SAMPLE_EVERY: Span = Span::from_secs(1);

/// The samples of a run as `OpenMetrics`, as if it had ended just now.
fn back_filled(run: &SimRun) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let began = now - run.ended.as_secs_f64();
    let frame =
        |(at, text): &(Time, String)| (began + at.as_secs_f64(), step_times_from(began, text));
    open_metrics(&run.samples.iter().map(frame).collect::<Vec<_>>())
}

/// Metrics with the operator's steps, which are in seconds of the run, in Unix seconds.
fn step_times_from(began: f64, text: &str) -> String {
    let line = |line: &str| {
        let step = line.strip_prefix(OPERATOR_STEPS).and_then(|_| line.rsplit_once(' '));
        match step.and_then(|(name, at)| Some((name, at.parse::<f64>().ok()?))) {
            Some((name, at)) => format!("{name} {}\n", began + at),
            None => format!("{line}\n"),
        }
    };
    text.lines().map(line).collect()
}

/// Prove that a run in virtual time comes out the same again
///
/// Plays the resolved scenario of the run directory and compares digest and number of draws.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = "Examples:\n  resetstorm replay runs/latest")]
pub struct ReplayArgs {
    /// Run directory of `sim`
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
}

/// Replays a run: 0 if digest and draws are the same, else 1.
pub fn replay(args: &ReplayArgs, global: &GlobalArgs) -> Result<ExitCode, CliError> {
    let recorded = read_summary(&args.run)?;
    let Some(facts) = recorded.get("sim") else {
        let what = format!("{}: not a run in virtual time", args.run.display());
        return Err(CliError::usage(what, "only runs of `sim` can be replayed to the digest"));
    };
    let plan = load_run(&args.run)?;
    let run = World::new(&plan, SimOptions::default()).run();
    let (digest, draws) = (run.digest, run.draws);
    let same = facts["digest"] == digest.as_str() && facts["draws"] == draws;
    let document = match global.format {
        Format::Json => {
            format!(
                "{:#}\n",
                serde_json::json!({ "schema": 1, "same": same, "digest": digest, "draws": draws })
            )
        }
        Format::Text if same => format!("same: digest {digest}, {draws} draws\n"),
        Format::Text => format!(
            "differs: digest {digest}, {draws} draws; recorded {}, {} draws\n",
            facts["digest"].as_str().unwrap_or("-"),
            facts["draws"]
        ),
    };
    output::print(&document)?;
    Ok(if same { ExitCode::Ok } else { ExitCode::Failed })
}
