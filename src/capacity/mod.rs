//! Capacity: what a TFTP, HTTP or TVS server, CAPF or a registrar carries, ours or anybody's.
//!
//! Open model: starts are planned before they happen and never wait for the server. Knows requests
//! and their right answers, no rule of a phone or a cluster. Imported by `cli` only.

mod engine;
mod enrol;
mod exposition;
mod faults;
mod generator;
mod guard;
mod learn;
mod pace;
mod plan;
mod register;
mod run;
mod schedule;
mod search;
#[cfg(test)]
mod simulation;
mod summary;
mod tcp;
mod weigh;
mod workload;

pub use engine::{Sources, Target};
pub use enrol::CapfTarget;
pub use guard::{Guard, GuardLimits, Sample};
pub use pace::Pace;
pub use plan::{CapacityError, CapacityPlan, MetricsPlan, Task, TrustCheck};
pub use register::SipTarget;
pub use run::{CapacityObserver, Measured, run};
pub use schedule::{Arrival, Offer, Shape, Starts};
pub use search::{Found, Next, Search, SearchPlan};
pub use tcp::TcpClient;
pub use weigh::{Circumstances, Limits, weigh};
pub use workload::{Ask, Caller, Device, Op, Part, What, Workload, WorkloadSpec};
