//! The command line: one file per subcommand, the order of calls and no logic.
//!
//! Result on stdout; progress, warnings and errors on stderr. Nobody imports this floor.

pub mod args;
mod assemble;
mod calibrate;
mod capacity;
mod check;
mod diff;
mod doctor;
mod files;
mod inspect;
mod lab;
mod make;
mod output;
mod progress;
mod run;
mod seal;
mod serve;
mod show;
mod sim;
mod tftp;
mod tvs;
mod whatif;

use std::io::{self, IsTerminal, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use clap::{Parser, Subcommand};

pub use crate::base::ExitCode;
use crate::net::signals;

/// Rehearse the reset storm of a Cisco Unified CM cluster before Saturday night
#[derive(Debug, Parser)]
#[command(name = "resetstorm", version, after_help = ExitCode::table(), max_term_width = 100)]
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
    Sim(sim::SimArgs),
    Replay(sim::ReplayArgs),
    Whatif(whatif::WhatifArgs),
    Limit(whatif::LimitArgs),
    Calibrate(calibrate::CalibrateArgs),
    Diff(diff::DiffArgs),
    Capacity(Box<capacity::CapacityArgs>),
    Doctor(doctor::DoctorArgs),
    Inspect(inspect::InspectArgs),
    Show(show::ShowArgs),
    Make(make::MakeArgs),
    Sign(seal::SignArgs),
    Unsign(seal::UnsignArgs),
    Encrypt(seal::EncryptArgs),
    Decrypt(seal::DecryptArgs),
    Assemble(assemble::AssembleArgs),
    Tvs(tvs::TvsArgs),
    Tftp(tftp::TftpArgs),
}

/// Parses the command line, runs the command and says how the program ends.
pub fn main() -> std::process::ExitCode {
    signals::take_over();
    let code = match Cli::try_parse() {
        Ok(cli) => catch_unwind(AssertUnwindSafe(|| carry_out(&cli))).unwrap_or_else(|_| {
            output::message(
                "error: internal fault\nhelp: please report it with the scenario and its seed",
            );
            signals::last_words(ExitCode::Internal);
            ExitCode::Internal
        }),
        Err(answer) => answer_of_clap(&answer),
    };
    code.into()
}

/// Prints help or version, which are results, or what is wrong with the command line.
fn answer_of_clap(answer: &clap::Error) -> ExitCode {
    if answer.use_stderr() {
        // Nobody reads stderr: the exit code is all that is left to say.
        let _ = answer.print();
        return ExitCode::Usage;
    }
    let printed = if io::stdout().is_terminal() {
        answer.print().and_then(|()| io::stdout().flush()).map_err(|error| error.to_string())
    } else {
        output::print_bytes(answer.render().to_string().as_bytes())
            .map_err(|error| error.to_string())
    };
    let ended = printed.map(|()| ExitCode::Ok);
    ended.unwrap_or_else(|error| {
        output::message(&format!("error: standard output: {error}"));
        ExitCode::Environment
    })
}

fn carry_out(cli: &Cli) -> ExitCode {
    match &cli.command {
        Command::Check(args) => check::check(args, &cli.global),
        Command::Run(args) => run::run(args, &cli.global),
        Command::Serve(args) => serve::serve(args, &cli.global),
        Command::Sim(args) => sim::sim(args, &cli.global),
        Command::Replay(args) => sim::replay(args, &cli.global),
        Command::Whatif(args) => whatif::whatif(args, &cli.global),
        Command::Limit(args) => whatif::limit(args, &cli.global),
        Command::Calibrate(args) => calibrate::calibrate(args, &cli.global),
        Command::Diff(args) => diff::diff(args, &cli.global),
        Command::Capacity(args) => capacity::run(args, &cli.global),
        Command::Doctor(args) => doctor::run(args, &cli.global),
        Command::Inspect(args) => inspect::run(args, cli.global.format),
        Command::Show(args) => show::run(args),
        Command::Make(args) => make::run(args),
        Command::Sign(args) => seal::run_sign(args),
        Command::Unsign(args) => seal::run_unsign(args),
        Command::Encrypt(args) => seal::run_encrypt(args),
        Command::Decrypt(args) => seal::run_decrypt(args),
        Command::Assemble(args) => assemble::run(args),
        Command::Tvs(args) => tvs::run(args, cli.global.format),
        Command::Tftp(args) => tftp::run(args, cli.global.format),
    }
}
