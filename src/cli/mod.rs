//! The command line: one file per subcommand, the order of calls and no logic.
//!
//! Result on stdout; progress, warnings and errors on stderr. Nobody imports this floor.

pub mod args;
mod check;
mod exit;
mod progress;
mod run;
mod serve;

use clap::{Parser, Subcommand};

pub use exit::{EXIT_CODES_HELP, ExitCode};

/// Rehearse the reset storm of a Cisco Unified CM cluster before Saturday night
#[derive(Debug, Parser)]
#[command(name = "resetstorm", version, after_help = EXIT_CODES_HELP, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: args::GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::CheckArgs),
    Run(run::RunArgs),
    Serve(serve::ServeArgs),
}

/// Parses the command line, runs the command and says how the program ends.
pub fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    let code: ExitCode = match &cli.command {
        Command::Check(args) => check::check(args, &cli.global),
        Command::Run(args) => run::run(args, &cli.global),
        Command::Serve(args) => serve::serve(args, &cli.global),
    };
    code.into()
}
