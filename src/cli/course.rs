//! What a run leaves beside its summary: its course, for people and for other programs.

use serde_json::Value;

use crate::base::Time;
use crate::measure::{Ledger, Summary};
use crate::play::Records;
use crate::report::{
    ReportError, RunDir, RunFiles, capacity_html, capacity_md, junit, latency_log, phones_csv,
    report_html, report_md, timeline_csv, traces_jsonl,
};
use crate::scenario::Plan;

use super::output;
use super::past::{NAME_A_RUN, read_json};

/// A run that is over.
pub(super) struct Course<'a> {
    pub(super) plan: &'a Plan,
    pub(super) ledger: &'a Ledger,
    pub(super) records: &'a Records,
    pub(super) ended: Time,
}

/// Writes the files of a run into its directory.
pub(super) fn leave(
    directory: &RunDir,
    course: &Course<'_>,
    summary: &Summary,
) -> Result<(), ReportError> {
    let Course { plan, ledger, records, ended } = *course;
    directory.write_text("junit.xml", &junit(summary))?;
    directory.write_text("timeline.csv", &timeline_csv(&records.journal))?;
    directory.write_text("latency.hlog", &latency_log(ledger, &records.journal, ended))?;
    directory.write_text("trace.jsonl", &traces_jsonl(plan, summary, records))?;
    directory.write_by("phones.csv", |out| phones_csv(plan, ledger, records, out))
}

/// Writes the report of a run that has its other files.
pub(super) fn leave_report(directory: &RunDir) {
    match RunFiles::read(directory.path()) {
        Ok(files) => {
            let written = directory
                .write_text("report.md", &report_md(&files))
                .and_then(|()| directory.write_text("report.html", &report_html(&files)));
            if let Err(error) = written {
                output::message(&format!("warning: no report: {error}"));
            }
        }
        Err(error) => output::message(&format!("warning: no report: {error}")),
    }
}

/// Writes the report of a capacity measurement that has its other files.
pub(super) fn leave_capacity_report(directory: &RunDir, summary: &Value) {
    let written = read_json(&directory.path().join("run.json"), NAME_A_RUN)
        .map_err(|error| error.to_string())
        .and_then(|manifest| {
            let written =
                directory.write_text("report.md", &capacity_md(summary, &manifest)).and_then(
                    |()| directory.write_text("report.html", &capacity_html(summary, &manifest)),
                );
            written.map_err(|error| error.to_string())
        });
    if let Err(error) = written {
        output::message(&format!("warning: no report: {error}"));
    }
}
