use std::process;

use super::text::wrapped;

/// How the program ends. Every exit code comes from this table, and so do `--help` and the guide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ExitCode {
    /// Ran to its end and every SLO held; a file is accepted.
    Ok = 0,
    /// Ran to its end and an SLO failed; a file is refused.
    Failed = 1,
    /// Bad command line or scenario, nothing was run; a file is malformed.
    Usage = 2,
    /// Inconclusive: the generator was the bottleneck, or an SLO had no data.
    Inconclusive = 3,
    /// Could not start or lost its environment: bind, connect, descriptors, disk.
    Environment = 4,
    /// A fault of this program.
    Internal = 5,
    /// Ended by SIGHUP.
    HungUp = 129,
    /// Ended by SIGINT.
    Interrupted = 130,
    /// Ended by SIGTERM.
    Terminated = 143,
}

impl ExitCode {
    /// Every code, in order.
    pub const ALL: [ExitCode; 9] = [
        ExitCode::Ok,
        ExitCode::Failed,
        ExitCode::Usage,
        ExitCode::Inconclusive,
        ExitCode::Environment,
        ExitCode::Internal,
        ExitCode::HungUp,
        ExitCode::Interrupted,
        ExitCode::Terminated,
    ];

    /// What it says after a run, and what it says after a command about single files and messages
    /// (`inspect`, `show`, `make`, `sign`, `tftp`, `tvs` and their like); empty where it never comes.
    pub const fn meaning(self) -> (&'static str, &'static str) {
        match self {
            ExitCode::Ok => (
                "ran to its end and every SLO held; `serve` was told to end",
                "done; the file is accepted, the certificate is known",
            ),
            ExitCode::Failed => (
                "ran to its end and an SLO failed; `diff` found a regression, `lint` phones that would be \
                 lost",
                "refused, a bad signature, not there, not known",
            ),
            ExitCode::Usage => (
                "bad command line or scenario; nothing was run",
                "bad command line; the file cannot be read or is malformed",
            ),
            ExitCode::Inconclusive => (
                "inconclusive: the generator or its host lacked something, an SLO had no data, or \
                 virtual time was cut",
                "",
            ),
            ExitCode::Environment => (
                "could not start, lost the environment or could not write the result: bind, \
                 connect, descriptors, disk",
                "the same",
            ),
            ExitCode::Internal => ("internal fault; please report it with the seed", "the same"),
            ExitCode::HungUp => ("the terminal was closed (SIGHUP); as 130", "the same"),
            ExitCode::Interrupted => {
                ("interrupted (SIGINT); what there is by then is printed and written", "the same")
            }
            ExitCode::Terminated => ("terminated (SIGTERM); as 130", "the same"),
        }
    }

    /// The number that the parent of this process sees.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Whether a signal ended the program.
    pub const fn is_signal(self) -> bool {
        matches!(self, ExitCode::HungUp | ExitCode::Interrupted | ExitCode::Terminated)
    }

    /// The table for `--help`.
    pub fn table() -> String {
        /// Columns of a terminal, less those of the numbers.
        const WIDTH: usize = 80 - 7;
        let row = |code: &ExitCode| {
            let (run, file) = code.meaning();
            let mut lines = wrapped(run, WIDTH);
            if !["", "the same"].contains(&file) {
                lines.extend(wrapped(&format!("files and messages: {file}"), WIDTH));
            }
            format!("  {:<5}{}", code.number(), lines.join("\n       "))
        };
        let rows: Vec<String> = ExitCode::ALL.iter().map(row).collect();
        format!("Exit codes:\n{}", rows.join("\n"))
    }
}

impl From<ExitCode> for process::ExitCode {
    fn from(code: ExitCode) -> process::ExitCode {
        process::ExitCode::from(code.number())
    }
}
