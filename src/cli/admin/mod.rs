//! `admin`: the console of a node, on a terminal or for a script.

mod desk;
mod terminal;

use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;

use clap::Args;

use crate::base::printable;
use crate::live::AdminReply;

use super::args::{CliError, GlobalArgs, ScenarioFlags};
use super::{ExitCode, output};
use desk::Desk;

/// Type at the admin console of a node, as its administrator does
///
/// On the socket of a running `serve` commands act on what it serves. On a scenario file they act
/// on its cluster in memory, and what they would mean for servers and phones is told on stderr.
/// Lines that do not come from a terminal are printed behind their prompts, so that the output is
/// that of a session; the exit code is 1 if one of them was refused.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = ADMIN_EXAMPLES)]
pub struct AdminArgs {
    /// A scenario, or the socket or --state folder of a `serve` that runs
    #[arg(value_name = "SCENARIO|STATE|SOCKET")]
    pub place: PathBuf,
    /// The node; the publisher if not given
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub node: String,
    /// What the command line changes in a scenario.
    #[command(flatten)]
    pub flags: ScenarioFlags,
}

const ADMIN_EXAMPLES: &str = "\
Examples:
  resetstorm admin scenarios/callmanager-regen.toml
  resetstorm admin lab --node sub
  echo 'show itl' | resetstorm admin lab/admin.sock";

/// Runs a session and says how the program ends.
pub fn admin(args: &AdminArgs, global: &GlobalArgs) -> Result<ExitCode, CliError> {
    let (mut desk, opened) = Desk::open(args)?;
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let mut lines: Box<dyn Lines> =
        if is_terminal { Box::new(terminal::Terminal::new()?) } else { Box::new(Piped) };
    let (mut last, mut code) = (opened, ExitCode::Ok);
    tell(&last, global)?;
    while !last.is_over {
        let Some(line) = lines.next(&last)? else { break };
        last = desk.take(&line)?;
        tell(&last, global)?;
        if last.is_refused && !is_terminal {
            code = ExitCode::Failed;
        }
    }
    if last.is_over && last.prompt.is_empty() && last.is_refused {
        return Ok(ExitCode::Failed);
    }
    Ok(code)
}

/// What the console says goes to stdout, what has come of it to stderr.
fn tell(reply: &AdminReply, global: &GlobalArgs) -> Result<(), CliError> {
    output::print(&reply.text)?;
    if !global.quiet {
        reply.notes.iter().for_each(|note| output::message(&format!("note: {note}")));
    }
    Ok(())
}

/// Where lines come from.
trait Lines {
    /// The next line after its prompt was shown; `None` at the end.
    fn next(&mut self, last: &AdminReply) -> Result<Option<String>, CliError>;
}

/// Standard input that is no terminal.
struct Piped;

impl Lines for Piped {
    fn next(&mut self, last: &AdminReply) -> Result<Option<String>, CliError> {
        let mut bytes = Vec::new();
        let read = io::stdin().lock().read_until(b'\n', &mut bytes);
        read.map_err(|error| {
            CliError::environment(format!("standard input: {error}"), "send lines of text")
        })?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned();
        let shown = if last.hides { String::new() } else { printable(&line) };
        output::print(format!("{}{shown}\n", last.prompt))?;
        Ok(Some(line))
    }
}
