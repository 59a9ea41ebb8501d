use std::process;

/// How the program ends; documented in `--help`, the README and here, and nowhere else decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ExitCode {
    /// Ran to its end and every SLO held; `inspect`: the file is accepted.
    Ok = 0,
    /// Ran to its end and an SLO failed; `inspect`: refused or bad signature.
    Failed = 1,
    /// Bad command line or scenario, nothing was run; `inspect`: malformed.
    Usage = 2,
    /// Inconclusive: the generator was the bottleneck, or an SLO had no data.
    Inconclusive = 3,
    /// Could not start or lost its environment: bind, connect, descriptors, disk.
    Environment = 4,
    /// Internal fault: please report it with the seed.
    Internal = 5,
    /// Interrupted by SIGINT; partial results were written.
    Interrupted = 130,
    /// Interrupted by SIGTERM; partial results were written.
    Terminated = 143,
}

/// The table of exit codes for `--help`.
pub const EXIT_CODES_HELP: &str = "\
Exit codes:
  0    ran to its end and every SLO held
  1    ran to its end and an SLO failed
  2    bad command line or scenario; nothing was run
  3    inconclusive: the generator was the bottleneck, or an SLO had no data
  4    could not start or lost the environment (bind, connect, descriptors, disk)
  5    internal fault; please report it, the seed is printed
  130  interrupted (143: terminated); partial results are written";

impl ExitCode {
    /// The exit code with this number; an unknown one is an internal fault.
    pub const fn from_number(number: u8) -> ExitCode {
        match number {
            0 => ExitCode::Ok,
            1 => ExitCode::Failed,
            2 => ExitCode::Usage,
            3 => ExitCode::Inconclusive,
            4 => ExitCode::Environment,
            130 => ExitCode::Interrupted,
            143 => ExitCode::Terminated,
            _ => ExitCode::Internal,
        }
    }
}

impl From<ExitCode> for process::ExitCode {
    fn from(code: ExitCode) -> process::ExitCode {
        process::ExitCode::from(code as u8)
    }
}
