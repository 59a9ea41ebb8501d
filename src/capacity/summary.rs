use std::net::SocketAddr;

use crate::measure::{
    Capacity, CapacitySummary, CapacityVerdict, Confidence, GeneratorFacts, LevelVerdict,
    LoadFacts, LoadStep, Mode,
};
use crate::net::limits;
use crate::scenario::{Doubt, Slo};

use super::engine::Target;
use super::plan::{CapacityPlan, Task};
use super::run::Measured;
use super::schedule::{Arrival, Shape};
use super::weigh::DRIFT_MAX;
use super::workload::Part;

impl CapacityPlan {
    /// Whom the load is sent to, and what it is.
    pub fn load_facts(&self) -> LoadFacts {
        let text = |server: Option<SocketAddr>| server.map(|server| server.to_string());
        let mix = self.workload.mix.iter().map(|(part, share)| (part.name().to_owned(), *share));
        let tcp = &self.target.tcp;
        LoadFacts {
            tftp: text(self.target.tftp),
            http: text(tcp.http),
            tvs: text(tcp.tvs.as_ref().map(|tvs| tvs.0)),
            capf: text(tcp.capf.as_ref().map(|capf| capf.address)),
            sip: text(tcp.sip.as_ref().filter(|sip| sip.pin.is_none()).map(|sip| sip.address)),
            sips: text(tcp.sip.as_ref().filter(|sip| sip.pin.is_some()).map(|sip| sip.address)),
            key_time_s: tcp.capf.as_ref().map(|capf| capf.key_time.as_secs_f64()),
            addresses: if self.target.has_addresses() { "per-phone" } else { "shared" }.to_owned(),
            mix: mix.collect(),
            names: self.workload.names.len() as u64,
            devices: self.workload.devices.len() as u64,
            references: 0,
            requests_per_start: None,
        }
    }

    /// What levels are, such as `transfers/s`.
    pub fn unit(&self) -> String {
        let unit = self.start_name();
        match self.task {
            Task::Spike(_) => format!("{unit} at once"),
            Task::Search(plan) if plan.whole => format!("{unit} at once"),
            Task::Search(_) | Task::Rate(_) => format!("{unit}/s"),
        }
    }

    /// What one start is, in the plural.
    fn start_name(&self) -> &'static str {
        let parts: Vec<Part> = self.workload.mix.iter().map(|(part, _)| *part).collect();
        let all = |wanted: fn(&Part) -> bool| parts.iter().all(wanted);
        if all(|part| *part == Part::Boot) {
            "boots"
        } else if all(|part| part.is_tvs()) {
            "lookups"
        } else if all(|part| *part == Part::Enrol) {
            "enrolments"
        } else if all(|part| *part == Part::Register) {
            "registrations"
        } else if !all(|part| part.is_file()) {
            "starts"
        } else if self.target.tftp.is_some() {
            "transfers"
        } else {
            "requests"
        }
    }

    fn task_name(&self) -> String {
        match self.task {
            Task::Search(_) => "search".to_owned(),
            Task::Rate(per_s) => format!("fixed {per_s}/s"),
            Task::Spike(count) => format!("fixed {count} at once"),
        }
    }

    /// What a comparison looks at, before anything was measured.
    pub fn outline(&self) -> CapacitySummary {
        CapacitySummary {
            mode: Mode::Capacity,
            load: self.load_facts(),
            limits: self.limits.facts(),
            capacity: Capacity { unit: self.unit(), task: self.task_name(), ..Capacity::default() },
            ..CapacitySummary::default()
        }
    }

    /// How it is measured, in three lines.
    pub fn method(&self) -> Vec<String> {
        let arrival = match (self.arrival, self.shape) {
            (Arrival::Constant, Shape::Constant) => "at equal distances".to_owned(),
            (Arrival::Poisson, Shape::Constant) => "as independent callers (Poisson)".to_owned(),
            (_, shape) => format!("by the profile {}", shape.name()),
        };
        let levels = match self.task {
            Task::Search(plan) => format!(
                "levels rise by x{} until one is not carried, then bisection to {} %, majority of \
                 {} at both ends, and a run at {} %",
                plan.growth,
                plan.resolution * 100.0,
                plan.repeats,
                plan.confirm * 100.0
            ),
            Task::Rate(_) => "one level of load".to_owned(),
            Task::Spike(_) => "all starts in one instant".to_owned(),
        };
        vec![
            format!("open model: starts are planned {arrival} and never wait for the server"),
            levels,
            format!(
                "times run from the planned start; carried means: percentile and failures within \
                 their limits, and response times grow by less than {:.0} ms a second",
                DRIFT_MAX * 1e3
            ),
        ]
    }

    /// The summary of a measurement, with the user's conditions judged.
    pub fn summarise(&self, measured: &Measured, slos: &[Slo]) -> CapacitySummary {
        let load = LoadFacts {
            references: measured.references,
            requests_per_start: measured.requests_per_start,
            ..self.load_facts()
        };
        let mut summary = CapacitySummary {
            schema: 1,
            seed: self.seed,
            verdict: verdict(measured),
            load,
            capacity: self.capacity(measured),
            wrong: measured.wrong.clone(),
            unchecked: measured.unchecked.clone(),
            generator: generator(measured, self.workers),
            method: self.method(),
            notes: self.notes(measured),
            ..self.outline()
        };
        let document = summary.to_json();
        let doubt = Doubt { knee_min: summary.knee_min(), ..Doubt::default() };
        summary.slos = slos.iter().map(|slo| slo.evaluate(&document, doubt)).collect();
        summary
    }

    fn capacity(&self, measured: &Measured) -> Capacity {
        let (unit, task) = (self.unit(), self.task_name());
        let (knee, at_least, confidence) = if let Some(found) = measured.found {
            (measured.knee(), found.low, found.confidence(unit.ends_with("at once")))
        } else {
            let offered = carried(&measured.steps).map(|step| step.offered);
            (None, offered.max_by(f64::total_cmp), Confidence::default())
        };
        Capacity { knee, at_least, unit, task, confidence, steps: measured.steps.clone() }
    }

    fn notes(&self, measured: &Measured) -> Vec<String> {
        let mut notes = measured.notes.clone();
        if !self.target.has_addresses() {
            notes.push("a server that limits or caches by address sees one client".to_owned());
        }
        if self.target.tcp.capf.as_ref().is_some_and(|capf| capf.key_time.is_zero()) {
            let why = "phones have their keys at once here, from a pool made before; real ones take \
                       long and keep a place of CAPF meanwhile: --key-time 30s";
            notes.push(why.to_owned());
        }
        let both = |target: &Target| target.tftp.is_some() && target.tcp.http.is_some();
        if both(&self.target) {
            notes.push("files come from TFTP; the HTTP server was not asked".to_owned());
        }
        notes
    }
}

fn verdict(measured: &Measured) -> CapacityVerdict {
    if measured.signal.is_some() {
        return CapacityVerdict::Interrupted;
    }
    if let Some(found) = measured.found {
        return found.outcome;
    }
    match measured.steps.last().map(|step| step.verdict) {
        Some(LevelVerdict::Broken) => CapacityVerdict::NotCarried,
        Some(LevelVerdict::Carried) => CapacityVerdict::Carried,
        Some(LevelVerdict::GeneratorBound) => CapacityVerdict::GeneratorBound,
        Some(LevelVerdict::Lost) => CapacityVerdict::Lost,
        Some(LevelVerdict::Interrupted) | None => CapacityVerdict::Interrupted,
    }
}

fn carried(steps: &[LoadStep]) -> impl Iterator<Item = &LoadStep> {
    steps.iter().filter(|step| step.verdict == LevelVerdict::Carried)
}

fn generator(measured: &Measured, workers: u32) -> GeneratorFacts {
    let carried = carried(&measured.steps);
    GeneratorFacts {
        workers,
        in_flight_max: measured.places as u64,
        lag_p99_s: carried.filter_map(|step| step.lag_p99_s).max_by(f64::total_cmp),
        cpu_ratio: measured.steps.iter().filter_map(|step| step.cpu_ratio).max_by(f64::total_cmp),
        descriptors: limits::descriptor_limit().ok(),
    }
}
