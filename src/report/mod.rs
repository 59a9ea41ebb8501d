//! What a run leaves behind: the run directory, the text for people, the exit code. May ask the
//! system for the date and write files.

mod both;
mod capacity;
mod capacity_comparison;
mod comparison;
mod diff;
mod guesses;
mod regression;
mod run_dir;
mod text;
mod whole_file;

pub use both::Both;
pub use capacity::{
    capacity_exit_code, capacity_mix, capacity_step, capacity_target, capacity_text,
};
pub use capacity_comparison::{
    ComparisonError, carries_less, comparable_capacity, compare_capacity, ended_too_low,
};
pub use comparison::{comparison_csv, comparison_of_orders, comparison_table};
pub use diff::{Diff, DiffRow};
pub use regression::{Change, Regression, RegressionRow};
pub use run_dir::{ReportError, RunDir};
pub use text::{LiveLine, covers_text, exit_code, text};
pub use whole_file::write_whole;
