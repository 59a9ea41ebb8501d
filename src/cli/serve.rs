use std::path::PathBuf;

use clap::Args;

use crate::cluster::operator::lsc::{COMPLETES_IN, KEYS, LscPhones, RollOutLsc, key_name};
use crate::cluster::{LscOperation, OperatorAction};
use crate::crypto::KeySpec;
use crate::live::{self, ADMIN_SOCKET, LiveOptions};
use crate::wire::{AuthMode, Dialogue};

use super::ExitCode;
use super::args::{CliError, Format, GlobalArgs, ScenarioArgs};
use super::listen::ListenArgs;
use super::mail::MailArgs;
use super::progress::ProgressView;
use super::run::{live_error, runtime};

/// Serve the cluster of a scenario, without phones, until interrupted
///
/// The operator's timeline is not played. With --state the certificates lie in that folder as PEM
/// files named like pub/CallManager.pem and pub/TVS.pem, for other tools. With --format json one
/// document on standard output has the addresses and ports of each node, as soon as they listen.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = SERVE_EXAMPLES)]
pub struct ServeArgs {
    /// The scenario and what the command line changes in it.
    #[command(flatten)]
    pub scenario: ScenarioArgs,
    /// Keep certificates and keys in this folder from run to run
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// The socket of the `admin` consoles; DIR/admin.sock with --state if not given
    #[arg(long, value_name = "PATH")]
    pub admin: Option<PathBuf>,
    /// Serve the files of this folder, too, over TFTP and HTTP, by their names in it
    ///
    /// They are read when the servers start, as they are and of any size; names of the cluster's own
    /// files stay those of the cluster.
    #[arg(long, value_name = "DIR")]
    pub files: Option<PathBuf>,
    /// Write the files of each TFTP node into a folder of this one, for a server that is not ours
    ///
    /// DIR/NODE has the lists and, with and without signature, the configurations of all phones.
    #[arg(long, value_name = "DIR")]
    pub write_files: Option<PathBuf>,
    /// Set an operation for every phone, as `roll-out-lsc` does: an LSC with a key of this kind, such
    /// as rsa-2048 or ec-256, by null string
    ///
    /// For phones that are not ours, and for `capacity --capf`: nobody resets them.
    #[arg(long, value_name = "KEY", value_parser = lsc_key)]
    pub roll_out_lsc: Option<KeySpec>,
    /// Where Prometheus may ask.
    #[command(flatten)]
    pub listen: ListenArgs,
    /// Whom the Certificate Monitor mails while it serves.
    #[command(flatten)]
    pub mail: MailArgs,
}

fn lsc_key(text: &str) -> Result<KeySpec, String> {
    let found = KEYS.into_iter().find(|key| key_name(*key) == text);
    found.ok_or_else(|| format!("one of {}", KEYS.map(key_name).join(", ")))
}

/// The operation for every phone.
fn roll_out(key: KeySpec) -> OperatorAction {
    RollOutLsc {
        operation: LscOperation::Install,
        mode: AuthMode::NullString,
        key,
        string: None,
        completes_in: COMPLETES_IN,
        phones: LscPhones::ALL,
        pace: None,
        checks_capf: false,
    }
    .into()
}

const SERVE_EXAMPLES: &str = "\
Examples:
  resetstorm serve scenarios/callmanager-regen.toml --state lab
  resetstorm serve scenarios/callmanager-regen.toml --phones 50 --write-files tree
  resetstorm serve scenarios/callmanager-regen.toml --files firmware
  resetstorm serve scenarios/callmanager-regen.toml --set cluster.node.pub.ports.tftp=0";

/// Serves until interrupted and says how the program ends; an interrupt is the normal end.
pub fn serve(args: &ServeArgs, global: &GlobalArgs) -> Result<ExitCode, CliError> {
    let plan = args.scenario.load_for_traffic()?;
    let metrics = args.listen.permitted()?;
    args.mail.check(&args.scenario.flags)?;
    let options = LiveOptions {
        state: args.state.clone(),
        files: args.files.clone(),
        written: args.write_files.clone(),
        admin: args.admin.clone().or_else(|| Some(args.state.as_ref()?.join(ADMIN_SOCKET))),
        mail: args.mail.mailing(),
        metrics,
        ..LiveOptions::default()
    };
    let mut view = ProgressView::new(global, &plan);
    view.announces = global.format == Format::Json;
    let runtime = runtime()?;
    let (operator, commands) = tokio::sync::mpsc::channel(1);
    if let Some(key) = args.roll_out_lsc {
        operator.try_send(roll_out(key)).expect("there is room for one");
    }
    let outcome = runtime.block_on(live::serve(&plan, &options, commands, &mut view));
    drop(runtime);
    let counts = outcome.map_err(|error| live_error(&error))?;
    view.console.say(&format!(
        "served    {} TFTP requests, {} HTTP requests, {} HTTPS requests, {} TVS answers, {} CAPF \
         answers",
        counts.tftp.requests,
        counts.http.requests,
        counts.https.requests,
        counts.dialogue(Dialogue::Tvs).answers,
        counts.dialogue(Dialogue::Capf).answers
    ));
    view.printed.map(|()| ExitCode::Ok)
}
