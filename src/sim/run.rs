use std::collections::BTreeMap;

use crate::base::{Span, Time};
use crate::cluster::{Cluster, Contents};
use crate::measure::{
    CpuSeconds, Finish, FleetReady, Ledger, MachineSummary, RunFacts, ServeSummary, SimSummary,
    Summary,
};
use crate::phone::Phone;
use crate::scenario::Plan;

use super::guesses::{guesses, notes};

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
}

impl Default for SimOptions {
    fn default() -> SimOptions {
        SimOptions { contents: Contents::OfEachModel, sample_every: None, events_max: None }
    }
}

/// What came out of a run in virtual time.
#[derive(Debug)]
pub struct SimRun {
    /// Everything that was counted.
    pub ledger: Ledger,
    /// SHA-256 over the operator's steps, what was served and all facts, in their order: the same
    /// plan gives the same digest.
    pub digest: [u8; 32],
    /// Random numbers that were drawn.
    pub draws: u64,
    /// Events that were handled.
    pub events: u64,
    /// What the play knows of it.
    pub facts: RunFacts,
    /// What the servers counted.
    pub serve: ServeSummary,
    /// Core time of phones and servers by the cost model since the storm began.
    pub cpu_s: CpuSeconds,
    /// The same by the kind of thread that does this work in a live run.
    pub cpu_by_thread_s: BTreeMap<String, f64>,
    /// Share of the work, from 0 to 1, that began on a core that was idle.
    pub woken: f64,
    /// When each ready phone was registered, if the plan has that step: nanoseconds of the run.
    pub registered: Vec<Time>,
    /// Metrics as Prometheus text, by the time at which they were sampled.
    pub samples: Vec<(Time, String)>,
    /// The phones as they are at the end, by number.
    pub phones: Vec<Phone>,
    /// The cluster as it is at the end.
    pub cluster: Cluster,
    /// When the run ended.
    pub ended: Time,
    /// Why it ended.
    pub finish: Finish,
}

impl SimRun {
    /// The summary of this run of `plan`.
    pub fn summary(&self, plan: &Plan) -> Summary {
        let facts = RunFacts {
            cpu_s: self.cpu_s,
            cpu_by_thread_s: self.cpu_by_thread_s.clone(),
            machine: MachineSummary {
                yardstick_s: (!plan.cost.yardstick.is_zero()).then(|| {
                    let slower = 1.0 + plan.cost.idle_yardstick * self.woken;
                    plan.cost.yardstick.as_secs_f64() * slower
                }),
                available: Some(plan.cost.available),
            },
            serve: self.serve,
            sim: Some(self.sim_facts(plan)),
            notes: notes(plan),
            ..self.facts.clone()
        };
        Summary::new(&self.ledger, facts, &plan.slos, self.finish)
    }

    fn sim_facts(&self, plan: &Plan) -> SimSummary {
        let since = |at: &Time| at.since(self.ledger.storm()).as_secs_f64();
        let registered: Vec<f64> = self.registered.iter().map(since).collect();
        SimSummary {
            digest: self.digest_hex(),
            draws: self.draws,
            events: self.events,
            virtual_s: self.ended.as_secs_f64(),
            registered_s: FleetReady::of(&registered, self.ledger.phones().len()),
            events_per_s: None,
            bytes_per_phone: None,
            guesses: guesses(plan, &self.ledger, &self.facts)
                .into_iter()
                .map(|(guess, _)| guess)
                .collect(),
        }
    }

    /// The digest as text.
    pub fn digest_hex(&self) -> String {
        self.digest
            .iter()
            .fold(String::with_capacity(64), |text, byte| text + &format!("{byte:02x}"))
    }
}
