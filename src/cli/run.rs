use std::path::PathBuf;

use clap::Args;

use crate::forecast::Budget;
use crate::live::{self, LiveError, LiveOptions};
use crate::measure::{Mode, Summary};
use crate::net::signals::Signal;
use crate::net::threads::{OwnRuntime, StartError};
use crate::net::{limits, remedy};
use crate::report::{RunDir, exit_code};
use crate::scenario::Plan;

use super::ExitCode;
use super::args::{CliError, GlobalArgs, ScenarioArgs};
use super::check::warn_of;
use super::course::{self, Course};
use super::diff;
use super::listen::MetricsArgs;
use super::mail::MailArgs;
use super::output;
use super::progress::ProgressView;

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
    /// Where Prometheus may ask, and for how long.
    #[command(flatten)]
    pub metrics: MetricsArgs,
    /// Compare with this earlier run: exit code 1 if this one is worse
    #[arg(long, value_name = "RUN")]
    pub baseline: Option<PathBuf>,
    /// Who is told of certificates that expire.
    #[command(flatten)]
    pub mail: MailArgs,
}

const RUN_EXAMPLES: &str = "\
Examples:
  resetstorm run scenarios/callmanager-regen.toml
  resetstorm run scenarios/callmanager-regen.toml --phones 20000 --set cluster.sign-cache=prewarm
  resetstorm run scenarios/callmanager-regen.toml --target tftp=127.0.0.1:6969,tvs=127.0.0.1:2445";

/// Runs the scenario and says how the program ends.
pub fn run(args: &RunArgs, global: &GlobalArgs) -> Result<ExitCode, CliError> {
    let plan = args.scenario.load_for_traffic()?;
    let metrics = args.metrics.listen.permitted()?;
    args.mail.check(&args.scenario.flags)?;
    let options = LiveOptions {
        allowed: args.scenario.flags.allow_target.clone(),
        state: args.state.clone(),
        metrics,
        metrics_linger: args.metrics.linger(),
        ..LiveOptions::default()
    };
    warn(&plan);
    if let Some(base) = &args.baseline {
        diff::check_baseline(base, &plan, Mode::Live)?;
    }
    let directory = output::begin(|| RunDir::create(&args.out, &plan, "live"))?;
    let mut view = ProgressView::new(global, &plan).with_ladder();
    let runtime = runtime()?;
    let outcome = runtime.block_on(live::run(&plan, &options, &mut view));
    // What was begun when a signal came, such as making keys, is waited for by nobody.
    drop(runtime);
    view.close();
    let run = outcome.map_err(|error| live_error(&error))?;
    args.mail.send(&run.facts.alarms);
    let (consoles, alarms) = (run.facts.consoles.clone(), run.facts.alarms.join("\n"));
    let live::LiveRun { ledger, facts, finish, signal, records, ended, phones: _ } = run;
    let summary = Summary::new(&ledger, facts, &plan.slos, finish);
    let code = signal.map_or_else(|| exit_code(&summary), Signal::exit_code);
    let code = output::leave_summary((&directory, &summary), code, global.format, |directory| {
        directory.write_consoles(&consoles)?;
        output::leave_alarms(directory, &alarms)?;
        let course = Course { plan: &plan, ledger: &ledger, records: &records, ended };
        course::leave(directory, &course, &summary)
    })?;
    let code = match &args.baseline {
        Some(base) => diff::with_baseline(base, &directory, global, code)?,
        None => code,
    };
    course::leave_report(&directory);
    Ok(code)
}

/// The runtime of the driver; servers and phones have threads of their own.
pub(super) fn runtime() -> Result<OwnRuntime, CliError> {
    OwnRuntime::with_threads("driver", 1).map_err(|error| {
        let StartError { thread, cause } = &error;
        CliError::environment(format!("cannot start thread {thread}: {cause}"), remedy(cause))
    })
}

/// Says what `check` would say of this plan on this host, before anything runs.
fn warn(plan: &Plan) {
    // A host that refuses keeps its limit.
    let limit = limits::raise_descriptor_limit().or_else(|_| limits::descriptor_limit()).ok();
    let budget = Budget::of(plan);
    if let Some(warning) = budget.descriptor_warning(limit) {
        output::message(&format!("warning: {warning}"));
    }
    warn_of(&plan.name, &budget.warnings);
}

pub(super) fn live_error(error: &LiveError) -> CliError {
    let is_usage = matches!(error, LiveError::Action(_));
    CliError::advised(error, if is_usage { ExitCode::Usage } else { ExitCode::Environment })
}
