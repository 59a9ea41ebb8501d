//! The command line: one file per subcommand, the order of calls and no logic.
//!
//! Result on stdout; progress, warnings and errors on stderr. Nobody imports this floor.

mod admin;
pub mod args;
mod assemble;
mod calibrate;
mod capacity;
mod check;
mod completions;
mod course;
mod diff;
mod doctor;
mod files;
mod guide;
mod init;
mod inspect;
mod keys;
mod lab;
mod lint;
mod listen;
mod mail;
mod make;
mod man;
mod output;
mod past;
mod progress;
mod report;
mod run;
mod schema;
mod seal;
mod serve;
mod show;
mod sim;
mod speed;
mod tftp;
mod trace;
mod tvs;
mod whatif;

use std::io::{self, IsTerminal, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use clap::{CommandFactory, Parser, Subcommand};

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
    Init(Box<init::InitArgs>),
    Check(check::CheckArgs),
    Lint(lint::LintArgs),
    Admin(admin::AdminArgs),
    Run(run::RunArgs),
    Serve(serve::ServeArgs),
    Sim(sim::SimArgs),
    Replay(sim::ReplayArgs),
    Whatif(whatif::WhatifArgs),
    Limit(whatif::LimitArgs),
    Calibrate(calibrate::CalibrateArgs),
    Diff(diff::DiffArgs),
    Report(report::ReportArgs),
    Trace(trace::TraceArgs),
    Diagnose(trace::DiagnoseArgs),
    Capacity(Box<capacity::CapacityArgs>),
    Doctor(doctor::DoctorArgs),
    Speed(speed::SpeedArgs),
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
    Guide(guide::GuideArgs),
    Schema(schema::SchemaArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
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
        answer.print().and_then(|()| io::stdout().flush())
    } else {
        output::print_bytes(answer.render().to_string().as_bytes())
    };
    let Err(error) = printed else { return ExitCode::Ok };
    output::message(&format!("error: standard output: {error}"));
    ExitCode::Environment
}

fn carry_out(cli: &Cli) -> ExitCode {
    let (global, format) = (&cli.global, cli.global.format);
    // Nothing was signed yet: it is the one of the program.
    global.crypto.choose();
    let ended = match &cli.command {
        Command::Init(args) => init::init(args, global),
        Command::Check(args) => Ok(check::check(args, global)),
        Command::Lint(args) => lint::lint(args, global),
        Command::Admin(args) => admin::admin(args, global),
        Command::Run(args) => run::run(args, global),
        Command::Serve(args) => serve::serve(args, global),
        Command::Sim(args) => sim::sim(args, global),
        Command::Replay(args) => sim::replay(args, global),
        Command::Whatif(args) => whatif::whatif(args, global),
        Command::Limit(args) => whatif::limit(args, global),
        Command::Calibrate(args) => calibrate::calibrate(args, global),
        Command::Diff(args) => diff::diff(args, global),
        Command::Report(args) => report::report(args, global),
        Command::Trace(args) => trace::trace(args, global),
        Command::Diagnose(args) => trace::diagnose(args, global),
        Command::Capacity(args) => capacity::run(args, global),
        Command::Speed(args) => speed::speed_of_this_machine(args, global),
        Command::Doctor(args) => doctor::run(args, global),
        Command::Inspect(args) => inspect::run(args, format),
        Command::Show(args) => show::run(args),
        Command::Make(args) => make::run(args),
        Command::Sign(args) => seal::sign(args),
        Command::Unsign(args) => seal::unsign(args),
        Command::Encrypt(args) => seal::encrypt(args),
        Command::Decrypt(args) => seal::decrypt(args),
        Command::Assemble(args) => assemble::run(args),
        Command::Tvs(args) => tvs::run(args, format),
        Command::Tftp(args) => tftp::run(args, format),
        Command::Guide(args) => guide::guide(args),
        Command::Schema(args) => schema::schema(args),
        Command::Completions(args) => completions::completions(args, Cli::command()),
        Command::Man(args) => man::man(args, Cli::command()),
    };
    output::end(ended, global.stderr_colour())
}
