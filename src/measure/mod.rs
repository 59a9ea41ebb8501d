//! Facts → recorders → snapshot → summary and Prometheus: one number, one source.
//!
//! Each worker owns a [`Recorder`] and nothing else counts. No I/O, no clock; used by `sim`,
//! `swarm` and everything above.

mod prometheus;
mod recorder;
mod summary;

pub use prometheus::{RunInfo, encode};
pub use recorder::{Counts, GeneratorLag, PhoneRecord, Recorder, StepKind, Tallies};
pub use summary::{
    CpuSeconds, Finish, LAG_P99_MAX_S, PercentilesS, RunFacts, ServeSummary, Summary, known_paths,
    slo_rows,
};
