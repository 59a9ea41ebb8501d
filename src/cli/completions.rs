use clap::{Args, Command};
use clap_complete::Shell;

use super::args::CliError;
use super::{ExitCode, output};

/// Print completions for a shell
///
/// bash: `resetstorm completions bash > ~/.local/share/bash-completion/completions/resetstorm`
#[derive(Args, Clone, Debug)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// Prints the completions of `command`.
pub fn completions(args: &CompletionsArgs, mut command: Command) -> Result<ExitCode, CliError> {
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    output::print(script)?;
    Ok(ExitCode::Ok)
}
