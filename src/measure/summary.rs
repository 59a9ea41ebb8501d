use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::Serialize;
use serde_json::Value;

use crate::base::Lack;
use crate::cluster::{Defect, SignCounts};
use crate::phone::{Failure, Outcome};
use crate::scenario::{ANY, Doubt, Slo, SloResult, SloVerdict};

use super::finish::Finish;
use super::generator::{Account, Bounds, GeneratorVerdict, Queue};
use super::host::HostLog;
use super::incident::StepKind;
use super::ledger::{ItlChecksum, Ledger};
use super::metrics::{
    CapfNumbers, ClusterCounts, ConfigCounts, CpuSeconds, FirmwareCounts, FleetReady, HttpCounts,
    LscCounts, MachineSummary, Metric, NodeRegistrations, PercentilesS, Phones, PressCounts,
    PressEnds, PressesByButton, RegistrationCounts, ServeSummary, Signatures, TftpCounts,
    TrustPaths, TvsCounts,
};
use super::phones::Slice;
use super::row::{Join, Label, Section};
use super::stranded::{Attribution, OperatorStep, Presented, ProbeSummary, Stranded};
use super::times::Times;
use super::verdict::{GeneratorState, Mode, Verdict};

/// `summary.json`, schema 1: all aggregates of a run and its verdict.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Version of this format.
    pub schema: u32,
    /// Name of the scenario.
    pub scenario: String,
    /// How it was played.
    pub mode: Mode,
    /// Seed of the run.
    pub seed: u64,
    /// What is said of it as a whole.
    pub verdict: Verdict,
    /// What the result covers, and what it does not: [`COVERS`].
    pub covers: String,
    /// The services that ran, such as `tftp on pub`.
    pub services: Vec<String>,
    /// Known defects that the cluster had, and what comes of each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultSummary>,
    /// What ended the run before everything had happened: `run.max-wall`, `events` (the bound on
    /// events of virtual time) or `signal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_by: Option<&'static str>,
    /// Phones by outcome.
    pub phones: Phones,
    /// Phones that are not ready by reason, with what helps them.
    pub stranded: Vec<Stranded>,
    /// What the operator did.
    pub operator: Vec<OperatorStep>,
    /// Which certificate each service presented or signed with from when on.
    pub presented: Vec<Presented>,
    /// What works beside phones, in the order of the scenario's probes.
    pub probes: Vec<ProbeSummary>,
    /// Configurations.
    pub config: ConfigCounts,
    /// Firmware loads.
    pub firmware: FirmwareCounts,
    /// Phones at CAPF, as they saw it.
    pub lsc: LscCounts,
    /// CAPF and its database at the end, if the cluster is ours.
    pub capf: CapfNumbers,
    /// ITLs at the end, each with the phones that hold it and the TFTP nodes that serve it.
    pub itls: Vec<ItlChecksum>,
    /// Registrations at the CallManager services.
    pub registration: Registrations,
    /// Questions to TVS.
    pub tvs: TvsCounts,
    /// By which path files were accepted.
    pub trust: Trust,
    /// Presses of buttons that lead to services.
    pub presses: Presses,
    /// Transfers as the phones saw them.
    pub tftp: TftpCounts,
    /// Files over HTTP as the phones saw them.
    pub http: HttpCounts,
    /// Files over HTTPS as the phones saw them.
    pub https: HttpCounts,
    /// The cluster at the end, if it is ours.
    pub cluster: ClusterCounts,
    /// Signatures made by the cluster and verified by phones.
    pub signatures: Signatures,
    /// Seconds from the storm's first reset until a share of the fleet was ready.
    pub fleet_ready_s: FleetReady,
    /// Seconds from the storm's first reset until a share of the fleet was registered, where
    /// phones register.
    pub fleet_registered_s: FleetReady,
    /// Seconds from planned start to ready, by phone.
    pub boot_time_s: PercentilesS,
    /// Seconds from the planned start of a boot until the phone was registered, by boot.
    pub registration_time_s: PercentilesS,
    /// Seconds from the loss of a connection to a node until another one had registered the phone.
    pub failover_time_s: PercentilesS,
    /// Seconds from when an earlier member could be reached again until the phone had fallen back
    /// to it.
    pub fallback_time_s: PercentilesS,
    /// Times and results of each step.
    pub steps: Vec<StepSummary>,
    /// Where the time of all boots went; empty where it was not kept.
    pub attribution: Vec<Attribution>,
    /// CPU time by side, where the sides can be told apart.
    pub cpu_s: CpuSeconds,
    /// CPU seconds by kind of thread since the storm's first reset; in virtual time, of the work
    /// that such a thread does.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub cpu_by_thread_s: BTreeMap<String, f64>,
    /// What the machine was worth meanwhile.
    pub machine: MachineSummary,
    /// The load generator itself.
    pub generator: Generator,
    /// What the servers counted; all zero against a target that is not ours.
    pub serve: ServeSummary,
    /// What is only there in virtual time; `null` in a live run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sim: Option<SimSummary>,
    /// The SLOs of the scenario.
    pub slos: Vec<SloResult>,
    /// Things that a reader of the numbers must know.
    pub notes: Vec<String>,
}

/// A known defect of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FaultSummary {
    /// Its id.
    pub id: &'static str,
    /// What comes of it.
    pub consequence: &'static str,
}

impl From<Defect> for FaultSummary {
    fn from(defect: Defect) -> FaultSummary {
        FaultSummary { id: defect.name(), consequence: defect.rules().consequence }
    }
}

impl fmt::Display for FaultSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id, self.consequence)
    }
}

/// By which path files were accepted.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Trust {
    /// CTL and ITL.
    pub lists: TrustPaths,
    /// Configurations.
    pub configs: TrustPaths,
    /// Files of the network locale.
    pub locales: TrustPaths,
    /// Ring lists.
    pub ring_lists: TrustPaths,
}

/// Presses of buttons that lead to services.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Presses {
    /// All together.
    #[serde(flatten)]
    pub counts: PressCounts,
    /// Presses after which the phone showed the page, of those that came to a page or an error, 0 to
    /// 1; `null` without any.
    pub shown_ratio: Option<f64>,
    /// By button.
    #[serde(flatten)]
    pub buttons: PressesByButton,
    /// By the node that was asked for the page, or its address if it is none of ours.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_node: BTreeMap<String, PressEnds>,
}

impl Presses {
    fn of(ledger: &Ledger, nodes: &BTreeMap<IpAddr, String>) -> Presses {
        let (counts, buttons) = (ledger.counts().presses, ledger.counts().buttons);
        let ended = counts.shown + counts.failed;
        Presses {
            counts,
            buttons,
            shown_ratio: (ended > 0).then(|| counts.shown as f64 / ended as f64),
            by_node: by_node(ledger.presses_by_server(), nodes),
        }
    }
}

/// Registrations at the CallManager services.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Registrations {
    /// All together.
    #[serde(flatten)]
    pub counts: RegistrationCounts,
    /// By the node that was asked, or its address if it is none of ours.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_node: BTreeMap<String, NodeRegistrations>,
}

impl Registrations {
    fn of(ledger: &Ledger, nodes: &BTreeMap<IpAddr, String>) -> Registrations {
        Registrations {
            counts: ledger.counts().registration,
            by_node: by_node(&ledger.registrations_by_server(), nodes),
        }
    }
}

/// Counts by the names of all of `nodes`, asked or not, and by the addresses of other servers.
fn by_node<T: Copy + Default>(
    counts: &BTreeMap<IpAddr, T>,
    nodes: &BTreeMap<IpAddr, String>,
) -> BTreeMap<String, T> {
    let unasked = nodes.values().map(|name| (name.clone(), T::default()));
    let asked = counts.iter().map(|(server, &counts)| {
        (nodes.get(server).cloned().unwrap_or_else(|| server.to_string()), counts)
    });
    unasked.chain(asked).collect()
}

/// Times and results of one step.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StepSummary {
    /// Name of the step.
    pub step: String,
    /// How often it ended.
    pub count: u64,
    /// Ended with what was asked for: a file, an answer, a phone that is ready.
    pub ok: u64,
    /// Ended with the answer that there is no such file; `null` where none is asked for.
    pub not_found: Option<u64>,
    /// Boots of phones that ended stuck; `null` for the parts of a boot.
    pub stuck: Option<u64>,
    /// Sent again, or another server asked.
    pub retry: u64,
    /// Ended without an answer.
    pub failed: u64,
    /// From the actual start.
    pub service_time_s: PercentilesS,
    /// From the planned start.
    pub response_time_s: PercentilesS,
}

/// The load generator itself.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Generator {
    /// 99th percentile of its lateness in seconds.
    pub lag_p99_s: Option<f64>,
    /// Whether it did what was planned.
    pub verdict: GeneratorState,
    /// Why, in words; empty if it is `ok`.
    pub reasons: Vec<String>,
    /// Waits for a place in flight.
    pub waits: BTreeMap<Queue, QueueSummary>,
    /// How often the host refused a descriptor, a port and so on.
    pub lacks: BTreeMap<&'static str, u64>,
    /// Phones that failed for what the generator lacked.
    pub given_up: u64,
    /// Phones that failed after a time-out that the host may have caused.
    pub doubtful: u64,
    /// CPU time that the program used, as a part of what it could use.
    pub cpu_ratio: Option<f64>,
    /// Seconds in which the host did not let the program run at all.
    pub paused_s: f64,
}

/// Waits for a place in one queue that were longer than a tenth of a second.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct QueueSummary {
    /// Places there are.
    pub places: u64,
    /// How many had to wait.
    pub waits: u64,
    /// The longest wait in seconds.
    pub longest_s: f64,
    /// Phones that still waited at the end.
    pub at_end: u64,
}

/// What is only there in virtual time.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SimSummary {
    /// SHA-256 over the operator's steps, the lists and configurations that were served and all
    /// facts, in their order, hexadecimal: the same plan, the same digest.
    pub digest: String,
    /// Random numbers that were drawn.
    pub draws: u64,
    /// Events that were handled.
    pub events: u64,
    /// Virtual seconds from the start of the run to its end.
    pub virtual_s: f64,
    /// Seconds from the first reset until a share of the fleet was registered, where that step
    /// is played.
    pub registered_s: FleetReady,
    /// Events handled per second of wall-clock time here.
    pub events_per_s: Option<f64>,
    /// Resident bytes of the program at the end of the run per phone.
    pub bytes_per_phone: Option<f64>,
    /// Values that the result rests on and no public source gives.
    pub guesses: Vec<GuessSummary>,
}

/// A value that a result in virtual time rests on and no public source gives.
#[derive(Clone, Debug, Serialize)]
pub struct GuessSummary {
    /// Its key in the scenario, or its place in the profiles of phone models.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Where it is from.
    pub source: String,
    /// What becomes of the result with half of it; `None` if that was not tried or is impossible.
    pub halved: Option<TriedValue>,
    /// What becomes of the result with twice as much.
    pub doubled: Option<TriedValue>,
}

/// The result with another value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TriedValue {
    /// The value.
    pub value: String,
    /// Seconds from the first reset until 99 % of the fleet were ready.
    pub fleet_ready_p99_s: Option<f64>,
    /// Phones that were stuck at the end.
    pub stuck: u64,
    /// Phones that failed for another reason.
    pub failed: u64,
}

/// What results cover, and what they do not.
pub const COVERS: &str = "trust lists (CTL, ITL), TVS, signed configurations, LSCs (CAPF), HTTPS \
                          services and, where [registration] says so, registration (SIP); no calls";

/// What a run knows beside its ledgers.
#[derive(Clone, Debug, Default)]
pub struct RunFacts {
    /// The parts of the summary that need no ledger: what was played and where, CPU time, servers,
    /// virtual time and notes.
    pub known: Summary,
    /// Signatures made before the storm.
    pub signed_before: SignCounts,
    /// Signatures made at the end.
    pub signed: SignCounts,
    /// What the host gave the program from moment to moment.
    pub host: HostLog,
    /// What the driver knows of the generator's account: places and their bounds, CPU time, lacks of
    /// servers in this process.
    pub account: Account,
    /// CPU seconds of a signature, the mean over the whole run.
    pub sign_mean_s: Option<f64>,
    /// The nodes that have pages for phones, by their addresses.
    pub web_nodes: BTreeMap<IpAddr, String>,
    /// The nodes at which phones register, by their addresses.
    pub sip_nodes: BTreeMap<IpAddr, String>,
    /// What was typed at the consoles of nodes and what they said, by the names of the nodes.
    pub consoles: Vec<(String, String)>,
    /// The mails of the Certificate Monitor, in their order; the first 10,000 of them.
    pub alarms: Vec<String>,
}

impl Summary {
    /// Whether the steps have reset no phone at all: what they do to phones has not been seen.
    pub fn has_reset_nobody(&self) -> bool {
        let phones = &self.phones;
        phones.not_reset > 0 && phones.ready + phones.stuck + phones.failed == 0
    }

    /// Puts the summary of a run together and judges its SLOs.
    pub fn new(ledger: &Ledger, facts: RunFacts, slos: &[Slo], finish: Finish) -> Summary {
        let account = account(ledger, &facts);
        let generator = account.verdict(Bounds::RUN);
        let (doubt, lacks_host) = (generator.doubt, generator.lacks_host);
        let boot = ledger.step_record(StepKind::Boot);
        let times = |step| PercentilesS::of(&ledger.step_record(step).response);
        let (before, mean) = (&facts.signed_before, facts.sign_mean_s);
        let mut summary = Summary {
            schema: 1,
            covers: COVERS.into(),
            cut_by: finish.cut_by(),
            signatures: Signatures::new(ledger, before, &facts.signed, mean),
            fleet_ready_s: fleet_ready(ledger),
            fleet_registered_s: FleetReady::of(&ledger.registered_times_s(), ledger.phones().len()),
            boot_time_s: PercentilesS::of(&boot.response),
            registration_time_s: times(StepKind::Registration),
            failover_time_s: times(StepKind::Failover),
            fallback_time_s: times(StepKind::Fallback),
            steps: steps(ledger),
            generator: Generator::of(&account, generator),
            presses: Presses::of(ledger, &facts.web_nodes),
            registration: Registrations::of(ledger, &facts.sip_nodes),
            ..facts.known.with(ledger)
        };
        let document = summary.to_json();
        let mut results: Vec<_> = slos.iter().map(|slo| slo.evaluate(&document, doubt)).collect();
        let settled = finish == Finish::Complete && summary.phones.not_reset == 0;
        if settled && doubt == Doubt::default() {
            judge_never_reached(&mut results, slos, &summary.fleet_ready_s);
        }
        summary.verdict = match verdict(&results, finish) {
            Verdict::Pass if lacks_host => Verdict::Inconclusive,
            verdict => verdict,
        };
        summary.slos = results;
        summary
    }

    /// The same with what phones were heard of.
    pub(super) fn with(self, ledger: &Ledger) -> Summary {
        let counts = ledger.counts();
        let mut lists = counts.ctls;
        lists.join(&counts.itls);
        Summary {
            phones: ledger.tallies(),
            config: counts.config,
            firmware: counts.firmware,
            lsc: counts.lsc,
            itls: ledger.itls().to_vec(),
            registration: Registrations::of(ledger, &BTreeMap::new()),
            tvs: counts.tvs,
            presses: Presses::of(ledger, &BTreeMap::new()),
            trust: Trust {
                lists,
                configs: counts.configs,
                locales: counts.locales,
                ring_lists: counts.ring_lists,
            },
            tftp: counts.tftp,
            http: counts.http,
            https: counts.https,
            ..self
        }
    }

    /// Every number that has a row, in the order of `summary.json`.
    pub fn metrics(&self) -> Vec<Metric> {
        let sections: [(&'static str, &'static [Label], &dyn Section); 31] = [
            ("phones", &[], &self.phones),
            ("phones", &[], &self.phones.counts),
            ("config", &[], &self.config),
            ("firmware", &[], &self.firmware),
            ("lsc", &[], &self.lsc),
            ("capf", &[], &self.capf),
            ("registration", &[], &self.registration.counts),
            ("tvs", &[], &self.tvs),
            ("tvs.by_command", &[], &self.tvs.by_command),
            ("trust.lists", &[], &self.trust.lists),
            ("trust.configs", &[], &self.trust.configs),
            ("trust.locales", &[], &self.trust.locales),
            ("trust.ring_lists", &[], &self.trust.ring_lists),
            ("presses", &[], &self.presses.counts),
            ("presses.directory", &[("button", "directory")], &self.presses.buttons.directory),
            (
                "presses.extension_mobility",
                &[("button", "extension-mobility")],
                &self.presses.buttons.extension_mobility,
            ),
            ("presses.emcc", &[("button", "emcc")], &self.presses.buttons.emcc),
            ("tftp", &[], &self.tftp),
            ("http", &[("scheme", "http")], &self.http),
            ("https", &[("scheme", "https")], &self.https),
            ("cluster", &[], &self.cluster),
            ("signatures", &[], &self.signatures),
            ("fleet_ready_s", &[], &self.fleet_ready_s),
            ("fleet_registered_s", &[], &self.fleet_registered_s),
            ("boot_time_s", &[], &self.boot_time_s),
            ("registration_time_s", &[], &self.registration_time_s),
            ("failover_time_s", &[], &self.failover_time_s),
            ("fallback_time_s", &[], &self.fallback_time_s),
            ("cpu_s", &[], &self.cpu_s),
            ("machine", &[], &self.machine),
            ("serve", &[], &self.serve),
        ];
        sections
            .into_iter()
            .flat_map(|(section, labels, numbers)| {
                let metric = move |(row, value)| Metric { section, labels, row, value };
                numbers.numbers().into_iter().map(metric)
            })
            .collect()
    }

    /// The summary as a JSON document.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("a summary is plain data")
    }
}

impl Signatures {
    /// Those that the cluster made after `before`, each of which took so many CPU seconds.
    pub(super) fn new(
        ledger: &Ledger,
        before: &SignCounts,
        now: &SignCounts,
        mean_cpu_s: Option<f64>,
    ) -> Signatures {
        let cache_hits = now.hits - before.hits;
        Signatures {
            made: now.made - before.made,
            made_before: before.made,
            verified: ledger.counts().verified,
            cache_hits,
            cache_misses: now.misses - before.misses,
            mean_cpu_s,
            saved_cpu_s: mean_cpu_s.map(|mean| mean * cache_hits as f64),
        }
    }
}

/// What the generator had and lacked since the storm began.
fn account(ledger: &Ledger, facts: &RunFacts) -> Account {
    let (counts, mut host) = (ledger.generator(), facts.host.clone());
    let whole = host.facts_since(ledger.storm());
    host.add_pauses(&counts.stalls);
    let mut given_up: BTreeMap<Lack, u64> = BTreeMap::new();
    let (mut doubtful_phones, mut doubtful_attempts) = (0, 0);
    let any_lack = !counts.lacks.is_empty() || facts.account.server_lacks > 0;
    for phone in ledger.phones() {
        if let Some(Outcome::Failed(Failure::Generator(lack))) = phone.outcome {
            *given_up.entry(lack).or_default() += 1;
        }
    }
    for (phone, step, silence) in ledger.silences() {
        if matches!(phone.outcome, Some(Outcome::Failed(Failure::Generator(_)))) {
            continue;
        }
        let any_answer = ledger.step_record(step).ok > 0;
        if any_lack || host.may_have_ended(silence.from, silence.to, any_answer) {
            doubtful_attempts += 1;
            doubtful_phones += u64::from(matches!(phone.outcome, Some(Outcome::Failed(_))));
        }
    }
    Account {
        lag_p99_s: ledger.lag().at_s(0.99),
        waits: counts.waits.clone(),
        lacks: counts.lacks.clone(),
        given_up,
        host: whole,
        doubtful_phones,
        doubtful_attempts,
        ..facts.account.clone()
    }
}

impl Generator {
    fn of(account: &Account, verdict: GeneratorVerdict) -> Generator {
        let queue = |queue: Queue| {
            let waits = account.waits.get(&queue).copied().unwrap_or_default();
            let summary = QueueSummary {
                places: account.places.get(&queue).copied().unwrap_or(0),
                waits: waits.count,
                longest_s: waits.longest.as_secs_f64(),
                at_end: waits.at_end,
            };
            (queue, summary)
        };
        let lack = |&lack: &Lack| (lack.name(), account.lacks.get(&lack).copied().unwrap_or(0));
        Generator {
            lag_p99_s: account.lag_p99_s,
            verdict: verdict.state,
            reasons: verdict.reasons,
            waits: Queue::ALL.iter().map(|&name| queue(name)).collect(),
            lacks: Lack::ALL.iter().map(lack).collect(),
            given_up: account.given_up.values().sum(),
            doubtful: account.doubtful_phones,
            cpu_ratio: account.cpu_ratio,
            paused_s: account.host.paused.as_secs_f64(),
        }
    }
}

/// Once all phones have settled, a share of the fleet that is not ready never will be: that is later
/// than any time. A share that no phone can reach because the fleet is empty has no time.
fn judge_never_reached(results: &mut [SloResult], slos: &[Slo], ready: &FleetReady) {
    for (result, slo) in results.iter_mut().zip(slos) {
        let path = slo.left.split_once('.').filter(|(head, _)| FLEET_READY.contains(head));
        let Some((_, key)) = path else { continue };
        let reached = ready.numbers().into_iter().find(|(row, _)| row.key == key);
        if let (Some((_, None)), Some(bound)) = (reached, result.bound) {
            let holds = slo.compares(f64::INFINITY, bound);
            result.verdict = if holds { SloVerdict::Pass } else { SloVerdict::Fail };
        }
    }
}

/// The spellings of the times of the fleet in an SLO.
const FLEET_READY: [&str; 2] = ["fleet_ready", "fleet_ready_s"];

/// A broken SLO outweighs those that could not be judged; no data is never a pass, nor is a run
/// that was cut short.
fn verdict(results: &[SloResult], finish: Finish) -> Verdict {
    let any = |wanted: SloVerdict| results.iter().any(|result| result.verdict == wanted);
    if finish == Finish::Interrupted {
        Verdict::Interrupted
    } else if finish == Finish::EventLimit {
        Verdict::Inconclusive
    } else if any(SloVerdict::Fail) {
        Verdict::Fail
    } else if results.iter().all(|result| result.verdict == SloVerdict::Pass)
        && finish == Finish::Complete
    {
        Verdict::Pass
    } else {
        Verdict::Inconclusive
    }
}

/// Every path into `summary.json` that an SLO may name; [`Plan::paths`](crate::scenario::Plan::paths) says what stands for the
/// names of nodes.
pub fn known_paths() -> Vec<String> {
    let ledger = Ledger::new(Slice::whole(0));
    let mut summary = Summary::new(&ledger, RunFacts::default(), &[], Finish::Complete);
    // Those that few scenarios have, too.
    summary.steps = StepKind::ALL.map(|step| step_summary(&ledger, step)).into();
    summary.registration.by_node = [(ANY.to_owned(), NodeRegistrations::default())].into();
    summary.presses.by_node = [(ANY.to_owned(), PressEnds::default())].into();
    let mut paths = Vec::new();
    collect(&summary.to_json(), "", &mut paths);
    paths
}

pub(super) fn collect(value: &Value, path: &str, paths: &mut Vec<String>) {
    let under = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                collect(field, &under(key), paths);
            }
        }
        Value::Array(rows) => {
            for row in rows {
                if let Some(step) = row.get("step").and_then(Value::as_str) {
                    collect(row, &under(step), paths);
                }
            }
        }
        Value::Null | Value::Number(_) => paths.push(path.to_owned()),
        Value::Bool(_) | Value::String(_) => {}
    }
}

fn fleet_ready(ledger: &Ledger) -> FleetReady {
    FleetReady::of(&ledger.ready_times_s(), ledger.phones().len())
}

impl FleetReady {
    /// The shares of a fleet of `total` phones by the times of those that got there, in order.
    pub fn of(times: &[f64], total: usize) -> FleetReady {
        let reached = |percent: usize| {
            let needed = (total * percent).div_ceil(100).max(1);
            times.get(needed - 1).copied()
        };
        FleetReady { p50: reached(50), p90: reached(90), p99: reached(99), last: reached(100) }
    }
}

impl PercentilesS {
    fn of(times: &Times) -> PercentilesS {
        let [p50, p90, p99] = [500, 900, 990].map(|per_mille| times.percentile_s(per_mille));
        PercentilesS { p50, p90, p99, max: times.max_s() }
    }
}

/// Every step; those that few scenarios have only if they were made.
fn steps(ledger: &Ledger) -> Vec<StepSummary> {
    let is_told = |step: &StepSummary, kind: StepKind| step.count > 0 || !kind.is_of_registration();
    let all = StepKind::ALL.into_iter().map(|step| (step_summary(ledger, step), step));
    all.filter(|(summary, step)| is_told(summary, *step)).map(|(summary, _)| summary).collect()
}

fn step_summary(ledger: &Ledger, step: StepKind) -> StepSummary {
    let record = ledger.step_record(step);
    StepSummary {
        step: step.name().into(),
        count: record.ok + record.not_found + record.stuck + record.failed,
        ok: record.ok,
        not_found: step.is_file().then_some(record.not_found),
        stuck: (step == StepKind::Boot).then_some(record.stuck),
        retry: record.retry,
        failed: record.failed,
        service_time_s: PercentilesS::of(&record.service),
        response_time_s: PercentilesS::of(&record.response),
    }
}

#[cfg(test)]
mod tests {
    use super::super::incident::{Incident, Listen};
    use super::*;
    use crate::base::{PhoneId, Span, Time};
    use crate::phone::Fact;

    fn settle(ledger: &mut Ledger, phone: u32, now: Time, outcome: Outcome) {
        ledger.hear(PhoneId(phone), now, &Incident::Phone(Fact::Settled { outcome }));
    }

    fn be_late(ledger: &mut Ledger, millis: u64) {
        ledger.hear(PhoneId(0), Time::ZERO, &Incident::Late(Span::from_millis(millis)));
    }

    fn ready_fleet(total: u32, ready: u32) -> Ledger {
        let mut ledger = Ledger::new(Slice::whole(total));
        for phone in 0..ready {
            let now = Time::ZERO + Span::from_secs(u64::from(phone) + 1);
            settle(&mut ledger, phone, now, Outcome::Ready);
        }
        ledger
    }

    fn summary(ledger: &Ledger, slos: &[&str], finish: Finish) -> Summary {
        let slos: Vec<Slo> = slos.iter().map(|text| text.parse().unwrap()).collect();
        Summary::new(ledger, RunFacts::default(), &slos, finish)
    }

    #[test]
    fn fleet_ready_is_over_the_whole_fleet_and_null_when_not_reached() {
        let all = fleet_ready(&ready_fleet(100, 100));
        assert_eq!((all.p50, all.p90), (Some(50.0), Some(90.0)));
        assert_eq!((all.p99, all.last), (Some(99.0), Some(100.0)));
        let some = fleet_ready(&ready_fleet(100, 98));
        assert_eq!((some.p90, some.p99, some.last), (Some(90.0), None, None));
        assert_eq!(fleet_ready(&ready_fleet(100, 99)).last, None);
        assert_eq!(fleet_ready(&ready_fleet(3, 2)).p50, Some(2.0));
    }

    #[test]
    fn latency_percentiles_need_enough_samples() {
        let mut times = Times::default();
        let mut after = |more: usize| {
            (0..more).for_each(|_| times.record(Span::from_secs(1)));
            PercentilesS::of(&times)
        };
        assert_eq!(after(0), PercentilesS::default());
        assert!(after(19).p50.is_none());
        assert!(after(1).p50.is_some());
        assert!(after(79).p90.is_none());
        assert!(after(1).p90.is_some());
        assert!(after(899).p99.is_none());
        assert!(after(1).p99.is_some());
    }

    #[test]
    fn a_broken_slo_outweighs_missing_data_and_a_cut_run_never_passes() {
        let ledger = ready_fleet(10, 10);
        let judge = |slos: &[&str]| summary(&ledger, slos, Finish::Complete).verdict.name();
        assert_eq!(judge(&["phones.ready == phones.total"]), "pass");
        assert_eq!(judge(&["phones.ready == 9"]), "fail");
        assert_eq!(judge(&["phones.ready == 9", "steps.tvs.service_time.p50 <= 1s"]), "fail");
        assert_eq!(
            judge(&["phones.ready == 10", "steps.tvs.service_time.p50 <= 1s"]),
            "inconclusive"
        );
        let cut = |slos: &[&str], finish| summary(&ledger, slos, finish).verdict.name();
        assert_eq!(cut(&[], Finish::Interrupted), "interrupted");
        assert_eq!(cut(&["phones.ready == 9"], Finish::Interrupted), "interrupted");
        assert_eq!(cut(&["phones.ready == 9"], Finish::TimeLimit), "fail");
        assert_eq!(cut(&["phones.ready == 10"], Finish::TimeLimit), "inconclusive");
        assert_eq!(cut(&["phones.ready == 9"], Finish::EventLimit), "inconclusive");
    }

    #[test]
    fn a_time_of_the_fleet_that_settled_phones_can_no_longer_reach_is_failed() {
        let mut stuck = ready_fleet(100, 90);
        for phone in 90..100 {
            let now = Time::ZERO + Span::from_secs(100);
            settle(&mut stuck, phone, now, Outcome::Stuck);
        }
        let judge = |slo: &str, finish| summary(&stuck, &[slo], finish).slos[0].verdict.name();
        for slo in ["fleet_ready.p99 <= 60s", "fleet_ready_s.last < 1h"] {
            assert_eq!(judge(slo, Finish::Complete), "fail", "{slo}");
            assert_eq!(judge(slo, Finish::TimeLimit), "no-data", "{slo}: it might have come");
            assert_eq!(judge(slo, Finish::Interrupted), "no-data", "{slo}");
        }
        assert_eq!(judge("fleet_ready.p99 > 60s", Finish::Complete), "pass", "later than ever");
        assert_eq!(judge("fleet_ready.p90 <= 90s", Finish::Complete), "pass");
        let nobody_reset = ready_fleet(10, 0);
        let judged = summary(&nobody_reset, &["fleet_ready.p99 <= 60s"], Finish::Complete);
        assert_eq!(judged.slos[0].verdict.name(), "no-data", "no phone was reset");
    }

    #[test]
    fn a_late_generator_makes_times_inconclusive_and_leaves_counts() {
        let mut ledger = ready_fleet(100, 100);
        be_late(&mut ledger, 150);
        let late = summary(&ledger, &["phones.ready == 100"], Finish::Complete);
        assert_eq!((late.verdict.name(), late.generator.verdict.name()), ("pass", "saturated"));
        let timed = summary(&ledger, &["fleet_ready.p99 <= 1000s"], Finish::Complete);
        assert_eq!(timed.verdict.name(), "inconclusive");
        let mut punctual = ready_fleet(100, 100);
        be_late(&mut punctual, 99);
        assert_eq!(
            summary(&punctual, &["fleet_ready.p99 <= 1000s"], Finish::Complete).verdict.name(),
            "pass"
        );
    }

    #[test]
    fn known_paths_name_what_an_slo_may_use() {
        let paths = known_paths();
        for path in [
            "phones.stuck",
            "phones.failed_ratio",
            "config.applied",
            "tvs.by_command.query",
            "trust.lists.accepted_by_tvs",
            "tftp.in_flight_max",
            "http.fallbacks",
            "signatures.cache_hits",
            "fleet_ready_s.last",
            "steps.tvs.response_time_s.p99",
            "steps.fail-over.response_time_s.p99",
            "registration_time_s.p99",
            "registration.by_node.*.accepted",
            "presses.by_node.*.shown",
            "cpu_s.serve",
            "generator.lag_p99_s",
        ] {
            assert!(paths.iter().any(|known| known == path), "{path} in {paths:?}");
        }
    }
}
