use crate::base::{PhoneId, Span, Time};
use crate::cluster::{Cluster, Contents};
use crate::measure::{Finish, Ledger, RunFacts, StepMark, Summary};
use crate::phone::Phone;
use crate::play::Records;
use crate::scenario::Plan;

/// How a world is played; the plan says which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimOptions {
    /// Whether one configuration of a group and model stands for all of them. Outcomes, counts
    /// and times are the same; a million phones need it.
    pub contents: Contents,
    /// How often the metrics are sampled; `None` takes no sample. When there are many, every
    /// second one is dropped and the span doubled.
    pub sample_every: Option<Span>,
    /// Most events that are handled; `None` takes a bound that no world which comes to rest
    /// reaches.
    pub events_max: Option<u64>,
    /// What is kept of the run beside its sums.
    pub records: Recorded,
}

/// What is kept of a run beside its sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recorded {
    /// Nothing.
    #[default]
    Nothing,
    /// What happened from second to second, boots of some phones, and what the end has found of each.
    Course,
    /// Every boot of this phone.
    Phone(PhoneId),
}

impl Default for SimOptions {
    fn default() -> SimOptions {
        SimOptions {
            contents: Contents::OfEachModel,
            sample_every: None,
            events_max: None,
            records: Recorded::Nothing,
        }
    }
}

/// What came out of a run in virtual time.
#[derive(Debug)]
pub struct SimRun {
    /// Everything that was counted.
    pub ledger: Ledger,
    /// SHA-256 over the operator's steps, what was served and all facts, in their order,
    /// hexadecimal: the same plan gives the same digest.
    pub digest: String,
    /// Random numbers that were drawn.
    pub draws: u64,
    /// Everything else that belongs into the summary.
    pub facts: RunFacts,
    /// Metrics as Prometheus text, by the time at which they were sampled.
    pub samples: Vec<(Time, String)>,
    /// When the operator carried out which step.
    pub steps: Vec<StepMark>,
    /// The phones as they are at the end, by number.
    pub phones: Vec<Phone>,
    /// The cluster as it is at the end.
    pub cluster: Cluster,
    /// When the run ended.
    pub ended: Time,
    /// Why it ended.
    pub finish: Finish,
    /// What was kept beside the sums, if anything.
    pub records: Option<Records>,
}

impl SimRun {
    /// The summary of this run of `plan`.
    pub fn summary(&self, plan: &Plan) -> Summary {
        Summary::new(&self.ledger, self.facts.clone(), &plan.slos, self.finish)
    }
}
