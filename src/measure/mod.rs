//! Incidents → ledgers → summary and Prometheus text: one number, one source. No I/O, no clock.

mod capacity;
mod finish;
mod frames;
mod generator;
mod host;
mod incident;
mod journal;
mod ledger;
mod load;
mod metrics;
mod openmetrics;
mod phones;
mod prometheus;
mod row;
mod schema;
mod stranded;
mod summary;
mod thread_kind;
mod times;
mod traces;
mod verdict;

pub use capacity::{
    Capacity, CapacitySummary, Confidence, GeneratorFacts, LimitFacts, LoadFacts, LoadPercentiles,
    LoadStep, UncheckedAnswers, WrongAnswers, capacity_paths,
};
pub use finish::Finish;
pub use frames::{Frames, Second, Sparse, States, StepFrame};
pub use generator::{
    Account, Bounds, GeneratorCounts, GeneratorVerdict, LAG_P99_MAX_S, OTHERS_MAX, Queue,
    SILENCE_MIN, Silence, Waits,
};
pub use host::{HostFacts, HostLog, HostSample, PAUSE_MIN, Pause};
pub use incident::{Incident, Listen, Notice, StepEnd, StepKind};
pub use journal::{Journal, PhoneNote, STATES, Spent};
pub use ledger::{ItlChecksum, Ledger};
pub use load::{Ended, LoadFault, LoadRecorder, StartCounts, TrafficCounts};
pub use metrics::{
    ByCommand, CapfNumbers, ClusterCounts, ConfigCounts, Counts, CpuSeconds, FirmwareCounts,
    FleetReady, HttpCounts, LscCounts, MachineSummary, Metric, NodeRegistrations, PercentilesS,
    PhoneCounts, Phones, PressCounts, PressEnds, PressesByButton, RegistrationCounts, ServeSummary,
    Signatures, TftpCounts, TrustPaths, TvsCounts,
};
pub use openmetrics::{Frame, open_metrics};
pub use phones::{PhoneRecord, Registration, Slice, Symptoms};
pub use prometheus::{
    LoadInfo, OPERATOR_STEPS, RunInfo, StepMark, encode, encode_load, encode_servers,
};
pub use row::{Family, Label, Pair, Row, Said, Section, Trend, Unit};
pub use schema::summary_schema;
pub use stranded::{
    Attribution, OperatorStep, Presented, ProbeChange, ProbeSummary, Remedy, Stranded,
};
pub use summary::{
    COVERS, FaultSummary, Generator, GuessSummary, Presses, QueueSummary, Registrations, RunFacts,
    SimSummary, StepSummary, Summary, TriedValue, Trust, known_paths,
};
pub use thread_kind::ThreadKind;
pub use times::Times;
pub use traces::Trace;
pub use verdict::{CapacityVerdict, GeneratorState, LevelKind, LevelVerdict, Mode, Verdict};
