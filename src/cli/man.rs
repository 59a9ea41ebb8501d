use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;

use super::args::CliError;
use super::{ExitCode, output};

/// Print the manual page, or write those of all commands
#[derive(Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct ManArgs {
    /// The command whose page is printed; without it, that of the program
    #[arg(value_name = "COMMAND")]
    pub command: Option<String>,
    /// Write the pages of the program and of all commands into this folder
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub out: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  resetstorm man | man -l -
  resetstorm man lint | man -l -
  resetstorm man --out ~/.local/share/man/man1";

/// Prints or writes manual pages of `program`.
pub fn man(args: &ManArgs, mut program: Command) -> Result<ExitCode, CliError> {
    program.build();
    if let Some(folder) = &args.out {
        fs::create_dir_all(folder).map_err(|error| {
            let what = format!("{}: cannot be made: {error}", folder.display());
            CliError::environment(what, "name a folder that you may write to")
        })?;
        write(folder, program.get_name(), &program)?;
        for command in program.get_subcommands().filter(|one| one.get_name() != "help") {
            write(folder, &format!("{}-{}", program.get_name(), command.get_name()), command)?;
        }
        return Ok(ExitCode::Ok);
    }
    let page = match &args.command {
        None => page(program.get_name(), &program)?,
        Some(name) => {
            let command = program.find_subcommand(name).ok_or_else(|| {
                let names: Vec<&str> = program.get_subcommands().map(Command::get_name).collect();
                let help = format!("commands: {}", names.join(", "));
                CliError::usage(format!("there is no command `{name}`"), help)
            })?;
            page(&format!("{}-{name}", program.get_name()), command)?
        }
    };
    output::print(page)?;
    Ok(ExitCode::Ok)
}

fn write(folder: &Path, name: &str, command: &Command) -> Result<(), CliError> {
    output::write_file(&folder.join(format!("{name}.1")), &page(name, command)?)
}

fn page(name: &str, command: &Command) -> Result<Vec<u8>, CliError> {
    let mut page = Vec::new();
    let man = Man::new(command.clone()).title(name);
    man.render(&mut page).map_err(|error| CliError::internal(error.to_string()))?;
    Ok(page)
}
