use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use tokio::runtime::Runtime;

use crate::base::{Span, Time};
use crate::live::{self, LiveError, LiveOptions, LiveRun, Observer};
use crate::measure::{Recorder, Summary};
use crate::net::signals::Signal;
use crate::report::{RunDir, exit_code, text};
use crate::scenario::Plan;

use super::args::{CliError, Format, GlobalArgs, ScenarioArgs, duration};
use super::progress::ProgressView;
use super::{ExitCode, output};

/// Run a scenario live: phones over real sockets against our cluster or a target
///
/// Without a target the cluster is embedded and everything stays on loopback. With --target the
/// phones boot from the factory state and ask those servers; operator actions that change the
/// cluster are then left to whoever runs it.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = RUN_EXAMPLES)]
pub struct RunArgs {
    /// The scenario and what the command line changes in it.
    #[command(flatten)]
    pub scenario: ScenarioArgs,
    /// Folder of run directories
    #[arg(long, value_name = "DIR", default_value = "runs", env = "RESETSTORM_OUT")]
    pub out: PathBuf,
    /// Keep certificates and keys in this folder from run to run
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Answer Prometheus at this address while the run lasts
    #[arg(long, value_name = "IP:PORT")]
    pub metrics_listen: Option<SocketAddr>,
    /// Answer Prometheus for so long after the run, for the final numbers
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = duration,
        requires = "metrics_listen"
    )]
    pub metrics_linger: Option<Span>,
}

const RUN_EXAMPLES: &str = "\
Examples:
  resetstorm run scenarios/callmanager-regen.toml
  resetstorm run scenarios/callmanager-regen.toml --phones 20000 --set cluster.sign-cache=prewarm
  resetstorm run scenarios/callmanager-regen.toml --target tftp=127.0.0.1:6969,tvs=127.0.0.1:2445";

/// Runs the scenario and says how the program ends.
pub fn run(args: &RunArgs, global: &GlobalArgs) -> ExitCode {
    output::end(try_run(args, global), global.stderr_colour())
}

fn try_run(args: &RunArgs, global: &GlobalArgs) -> Result<ExitCode, CliError> {
    let plan = args.scenario.load_for_traffic()?;
    let options = LiveOptions {
        files: None,
        allowed: args.scenario.flags.allow_target.clone(),
        state: args.state.clone(),
        metrics: args.metrics_listen,
        metrics_linger: args.metrics_linger.unwrap_or_default(),
    };
    let directory = RunDir::create(&args.out, &plan, "live")?;
    output::watch_over(&directory);
    let mut view = ProgressView::new(global, &plan);
    let outcome = runtime()?.block_on(live::run(&plan, &options, &mut view));
    view.clear();
    let run = outcome.map_err(|error| live_error(&error))?;
    let signal = run.signal;
    let summary = summarise(&plan, run);
    let code = signal.map_or_else(|| exit_code(&summary), Signal::exit_code);
    directory.finish(&summary, code)?;
    print(&summary, &directory, code, global)?;
    Ok(code)
}

fn summarise(plan: &Plan, run: LiveRun) -> Summary {
    Summary::new(&run.recorder, run.facts, &plan.slos, run.finish)
}

fn print(
    summary: &Summary,
    directory: &RunDir,
    code: ExitCode,
    global: &GlobalArgs,
) -> Result<(), CliError> {
    let path = directory.path().display();
    let document = match global.format {
        Format::Json => format!("{:#}\n", summary.to_json()),
        Format::Text => format!("{}output: {path}\n", text(summary, code)),
    };
    output::print(&document)
}

/// The runtime of the driver; servers and phones have threads of their own.
pub(super) fn runtime() -> Result<Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("driver")
        .enable_all()
        .build()
        .map_err(|error| CliError::environment(format!("no runtime: {error}"), "check ulimit -u"))
}

pub(super) fn live_error(error: &LiveError) -> CliError {
    let text = error.to_string();
    let (what, help) = text.split_once("; ").unwrap_or((&text, "see the message above"));
    match error {
        LiveError::Action(_) => CliError::usage(what, help),
        _ => CliError::environment(what, help),
    }
}

impl Observer for ProgressView {
    fn started(&mut self, lines: &[String]) {
        self.header(lines);
    }

    fn tick(&mut self, recorder: &Recorder, now: Time) {
        self.show(recorder, now);
    }

    fn operator(&mut self, text: &str, now: Time) {
        self.event(text, now);
    }
}
