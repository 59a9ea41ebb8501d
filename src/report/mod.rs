//! What a run leaves behind: the run directory, the text for people, the exit code. May ask the
//! system for the date and write files.

mod both;
mod capacity;
mod capacity_comparison;
mod capacity_page;
mod comparison;
mod comparison_page;
mod diagnosis;
mod diff;
mod guesses;
mod junit;
mod ladder;
mod noise;
mod page;
mod phone_rows;
mod phones_csv;
mod plots;
mod regression;
mod run_dir;
mod run_files;
mod table;
mod text;
mod timeline;
mod trace;
mod whole_file;

pub use both::Both;
pub use capacity::{
    capacity_exit_code, capacity_mix, capacity_step, capacity_target, capacity_text,
};
pub use capacity_comparison::{
    ComparisonError, carries_less, comparable_capacity, compare_capacity, ended_too_low,
};
pub use capacity_page::{capacity_html, capacity_md};
pub use comparison::{comparison_csv, comparison_of_orders, comparison_table};
pub use comparison_page::{Compared, comparison_html};
pub use diagnosis::Diagnosis;
pub use diff::{Diff, DiffRow};
pub use junit::junit;
pub use ladder::{KeysShown, Ladder};
pub use noise::Noise;
pub use page::{report_html, report_md};
pub use phone_rows::{PhoneRow, PhoneRows};
pub use phones_csv::{PHONE_COLUMNS, PHONES_NEEDED, phones_csv};
pub use regression::{Change, Regression, RegressionRow};
pub use run_dir::{ReportError, RunDir};
pub use run_files::{Interval, RunFiles, RunFilesError};
pub use table::{Table, TableRow};
pub use text::{LiveLine, covers_text, exit_code, text};
pub use timeline::{TIMELINE_COLUMNS, latency_log, timeline_csv};
pub use trace::{Words, trace_text, traces_jsonl};
pub use whole_file::write_whole;
