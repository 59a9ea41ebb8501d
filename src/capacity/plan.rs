use std::net::SocketAddr;
use std::sync::Arc;

use crate::base::Span;
use crate::measure::LoadFault;
use crate::net::http::MetricsError;
use crate::net::signals::Signal;
use crate::net::threads::StartError;

use super::engine::Target;
use super::guard::GuardLimits;
use super::pace::Pace;
use super::schedule::{Arrival, Shape};
use super::search::SearchPlan;
use super::weigh::Limits;
use super::workload::{Part, WorkloadSpec};

/// What is to be measured.
#[derive(Clone)]
pub struct CapacityPlan {
    /// Whom to load.
    pub target: Target,
    /// With what.
    pub workload: WorkloadSpec,
    /// Judges the signatures of files.
    pub trust: Option<TrustCheck>,
    /// How the levels follow each other.
    pub task: Task,
    /// How long levels are.
    pub pace: Pace,
    /// How starts follow each other.
    pub arrival: Arrival,
    /// How the rate goes on within a level.
    pub shape: Shape,
    /// When a level counts as carried.
    pub limits: Limits,
    /// When the load is stopped at once.
    pub guard: GuardLimits,
    /// Most starts in flight.
    pub places: usize,
    /// Threads of the generator.
    pub workers: u32,
    /// How long a server may take to come back after a level that it did not carry.
    pub recover: Span,
    /// Seed of every choice.
    pub seed: u64,
    /// Where Prometheus may ask.
    pub metrics: MetricsPlan,
}

/// Where Prometheus may ask during a measurement.
#[derive(Clone, Debug, Default)]
pub struct MetricsPlan {
    /// The address; `None` is nowhere.
    pub listen: Option<SocketAddr>,
    /// How long it may ask for the final numbers.
    pub linger: Span,
    /// What the measurement is called there.
    pub label: String,
}

/// How the levels follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Task {
    /// Up to the knee: rates, or numbers at once where levels are whole.
    Search(SearchPlan),
    /// One rate per second.
    Rate(f64),
    /// So many at once.
    Spike(u64),
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum CapacityError {
    /// Threads or sockets cannot be made.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Prometheus cannot ask.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The server did not answer before any load.
    #[error("{what}: {fault}{said} before any load; check address and names")]
    Unreachable {
        /// What was asked for.
        what: String,
        /// Why there is no answer.
        fault: LoadFault,
        /// What the server said, in brackets behind a blank; may be empty.
        said: String,
    },
    /// The server has nothing of what is to be asked for.
    #[error("{said}: nothing is left of {} in the mix; check the list, or ask for what no server \
             has by --mix unknown", part.name())]
    NotThere {
        /// The part of the mix of which nothing is left.
        part: Part,
        /// What is not there, with examples.
        said: String,
    },
    /// Nothing could be asked.
    #[error("the load asks for nothing that the server answers; check names and mix")]
    Nothing,
    /// A signal came before the first level.
    #[error("interrupted before the first level; nothing was measured")]
    Interrupted(Signal),
}

/// Judges a file by its name and content: why a phone with certain lists does not accept it.
pub type TrustCheck = Arc<dyn Fn(&str, &[u8]) -> Result<(), String> + Send + Sync>;
