//! The one way out: what a command prints, and what is left of its run when it ends otherwise.

use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use serde_json::Value;

use crate::measure::Summary;
use crate::net::signals;
use crate::report::{ReportError, RunDir, text, write_whole};

use super::ExitCode;
use super::args::{CliError, Format};

/// The run directory that is open, if the command has one.
static OPEN: Mutex<Option<RunDir>> = Mutex::new(None);

/// Prints the result of a command. A reader that has gone away, such as `head`, is no fault.
pub(super) fn print(text: impl AsRef<[u8]>) -> Result<(), CliError> {
    print_bytes(text.as_ref()).map_err(|error| {
        let help = "make room where standard output goes to, or send it elsewhere";
        CliError::environment(format!("standard output: {error}"), help)
    })
}

/// Like [`print`], for whoever words the fault of the system himself.
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

/// Writes a file that the user has named, whole or not at all.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    write_whole(path, bytes).map_err(|error| {
        let what = format!("{}: cannot be written: {error}", path.display());
        CliError::environment(what, "check space and permissions, or name another file")
    })
}

/// Prints `error: …` and `help: …` to standard error and says how the program ends.
pub(super) fn say_error(error: &CliError, colour: bool) -> ExitCode {
    message(&error.rendered(colour));
    error.exit_code()
}

/// Writes lines to standard error. Where nobody reads it the exit code is all that is left to say.
pub(super) fn message(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Makes the directory of a run that is closed however the program ends: `run.json` says how.
pub(super) fn begin(
    make: impl FnOnce() -> Result<RunDir, ReportError>,
) -> Result<RunDir, ReportError> {
    let run = signals::begin_with_last_words(make, |run| {
        let run = run.clone();
        move |code| {
            // Nobody is left to tell; the run then says that it is running.
            let _ = run.leave("the program left at once", code);
        }
    })?;
    *OPEN.lock().unwrap_or_else(PoisonError::into_inner) = Some(run.clone());
    if let Some(warning) = run.warning() {
        message(&format!("warning: {warning}"));
    }
    Ok(run)
}

/// The result of a run that is over.
pub(super) struct Finished<'a> {
    pub(super) run: &'a RunDir,
    /// `summary.json`.
    pub(super) summary: Value,
    pub(super) verdict: &'static str,
    /// The exit code, unless something cannot be written.
    pub(super) code: ExitCode,
}

impl Finished<'_> {
    /// Leaves the result: the small `summary.json` first, so that what is printed (`document`) names
    /// the exit code that is the truth, then the further, larger files, and at last `run.json`,
    /// which has its room. Nothing that cannot be written keeps the rest from being written.
    ///
    /// # Errors
    /// The first thing that could not be written; the program then ends with 4.
    pub(super) fn leave(
        self,
        document: impl FnOnce(ExitCode) -> String,
        further: impl FnOnce(&RunDir) -> Result<(), ReportError>,
    ) -> Result<ExitCode, CliError> {
        let written = self.run.write_json("summary.json", &self.summary).map_err(CliError::from);
        let code = if written.is_err() { ExitCode::Environment } else { self.code };
        let printed = print(document(code));
        let added = further(self.run).map_err(CliError::from);
        let faults = [written, printed, added].into_iter().filter_map(Result::err);
        let faults: Vec<CliError> = faults.collect();
        let code = if faults.is_empty() { self.code } else { ExitCode::Environment };
        let why: Vec<&str> = faults.iter().filter_map(CliError::what).collect();
        self.run.close(self.verdict, &why.join("; "), code)?;
        let mut faults = faults.into_iter();
        let first = faults.next();
        faults.for_each(|fault| message(&fault.to_string()));
        first.map_or(Ok(code), Err)
    }
}

/// Leaves the summary of a scenario that was played, as [`Finished::leave`] does it.
pub(super) fn leave_summary(
    (run, summary): (&RunDir, &Summary),
    code: ExitCode,
    format: Format,
    further: impl FnOnce(&RunDir) -> Result<(), ReportError>,
) -> Result<ExitCode, CliError> {
    let document = |code| match format {
        Format::Json => format!("{:#}\n", summary.to_json()),
        Format::Text => {
            let path = run.path().display();
            let next = match summary.stranded.first() {
                Some(_) => format!("next: resetstorm trace {path} --worst 5\n"),
                None => String::new(),
            };
            let report = format!("report: {path}/report.html\n");
            format!("{}output: {path}\n{report}{next}", text(summary, code))
        }
    };
    Finished { run, summary: summary.to_json(), verdict: summary.verdict.name(), code }
        .leave(document, further)
}

/// Leaves the mails of the Certificate Monitor beside the summary, if there are any.
pub(super) fn leave_alarms(run: &RunDir, mails: &str) -> Result<(), ReportError> {
    if mails.is_empty() { Ok(()) } else { run.write_text("alarms.log", mails) }
}

/// Ends a command: prints its error, if there is one, and closes the run that is still open.
pub(super) fn end(result: Result<ExitCode, CliError>, colour: bool) -> ExitCode {
    let (code, why) = match result {
        Ok(code) => (code, String::new()),
        Err(error) => (say_error(&error, colour), error.what().unwrap_or_default().to_owned()),
    };
    let open = OPEN.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(Err(error)) = open.map(|run| run.leave(&why, code)) {
        message(&format!("error: {error}"));
        return ExitCode::Environment;
    }
    code
}
