//! The one way out: what a command prints, and what is left of its run when it ends otherwise.

use std::io::{self, ErrorKind, Write};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;

use crate::net::signals;
use crate::report::RunDir;

use super::ExitCode;
use super::args::CliError;

/// The run directory that is open, if the command has one.
static OPEN: Mutex<Option<RunDir>> = Mutex::new(None);

/// Prints the result of a command to standard output.
///
/// # Errors
/// If it cannot be written. A reader that has gone away, such as `head`, is no fault.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    print_bytes(text.as_bytes()).map_err(|error| {
        let help = "make room where standard output goes to, or send it elsewhere";
        CliError::environment(format!("standard output: {error}"), help)
    })
}

/// Like [`print`], for bytes.
///
/// # Errors
/// What the system said.
pub(super) fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    match write_all(bytes) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// How long a reader that shares its end without blocking is left alone.
const READER_WAITS: Duration = Duration::from_millis(10);

/// Writes past the buffer of the library, which takes a closed descriptor for success.
fn write_all(mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match nix::unistd::write(io::stdout(), bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => thread::sleep(READER_WAITS),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Writes lines to standard error. Where nobody reads it the exit code is all that is left to say.
pub(super) fn message(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// From now on this run is closed however the program ends: `run.json` says how.
pub(super) fn watch_over(run: &RunDir) {
    *OPEN.lock().unwrap_or_else(PoisonError::into_inner) = Some(run.clone());
    let run = run.clone();
    signals::set_last_words(move |code| {
        // Nobody is left to tell; the run then says that it is running.
        let _ = run.leave("the program left at once", code);
    });
}

/// Ends a command: prints its error, if there is one, and closes the run that is still open.
pub(super) fn end(result: Result<ExitCode, CliError>, colour: bool) -> ExitCode {
    let (code, why) = match result {
        Ok(code) => (code, String::new()),
        Err(error) => (error.print(colour), error.to_string()),
    };
    let open = OPEN.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(Err(error)) = open.map(|run| run.leave(&why, code)) {
        message(&format!("error: {error}"));
        return code.max(ExitCode::Environment);
    }
    code
}
