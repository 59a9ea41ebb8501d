//! The cost model of virtual time from what live runs have measured.
//!
//! Reads summaries as values and plays worlds; no clock, no file, no socket.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::base::Span;
use crate::measure::{GeneratorState, ThreadKind};
use crate::scenario::{AVAILABLE_MIN, CostModel, IDLE_MAX, Plan};
use crate::sim::{SimOptions, World};

/// Why a run cannot be calibrated from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalibrateError {
    /// Not a live run.
    #[error("the run was not live; virtual time cannot be measured")]
    NotLive,
    /// The generator was the bottleneck, so that its times are not the servers'.
    #[error("the generator was late in this run; use fewer phones or a longer reset wave")]
    Saturated,
    /// The summary has no CPU time by thread.
    #[error("the run has no CPU time by kind of thread; run it again, without --target")]
    NoThreads,
    /// No boot was timed.
    #[error("the run has no median boot time; use 20 phones or more")]
    NoBoots,
}

/// A cost model and how each of its values was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// The costs.
    pub cost: CostModel,
    /// One line for each fitted value: from what, or that it was left alone.
    pub origins: Vec<String>,
}

/// One live run: its plan and its `summary.json`.
#[derive(Clone, Debug)]
pub struct CalibrationRun {
    /// What was played.
    pub plan: Plan,
    /// What came of it.
    pub summary: Value,
}

/// Fits the costs of work on one host of `cores` cores to a live run.
///
/// Plays the run in virtual time and changes each cost until every kind of thread works as long as
/// it did in reality; then the latency of the host until the median boot takes as long. How much
/// more work costs on a core that was idle cannot be seen in one run: `others`, at another load,
/// tell it (they may be saturated); without them a value from the reference machine stands.
pub fn calibrate(
    run: &CalibrationRun,
    others: &[CalibrationRun],
    cores: u32,
) -> Result<Calibration, CalibrateError> {
    if run.summary["generator"]["verdict"] == GeneratorState::Saturated.name() {
        return Err(CalibrateError::Saturated);
    }
    let first = Measured::new(run)?;
    let boot = run.summary["boot_time_s"]["p50"].as_f64().ok_or(CalibrateError::NoBoots)?;
    let others = others.iter().map(Measured::new).collect::<Result<Vec<_>, _>>()?;
    let mut fit = Fit::new(&first, cores);
    fit.work(&first);
    fit.latency(&first, boot);
    if others.is_empty() {
        let CostModel { idle_yardstick, idle_keys, idle_packets, .. } = fit.cost;
        fit.origins.push(format!(
            "idle-yardstick, idle-keys, idle-packets: {idle_yardstick}, {idle_keys} and \
             {idle_packets} (guess: not of this machine; give calibrate a second run, at another \
             load, to measure them)"
        ));
    } else {
        fit.idle(&first, &others);
        fit.latency(&first, boot);
    }
    // A host that notices later has more idle cores, and the other way round.
    fit.work(&first);
    Ok(fit.finish(&first, boot))
}

/// Extra cost of a core that was idle, as fitted to five runs on the reference machine: the
/// yardstick, work with private keys, and work with packets, of which many are done in one go when
/// the machine is busy.
const IDLE_DEFAULT: [f64; 3] = [0.25, 0.5, 1.3];
/// What the phones' part costs before anything was measured: any value that is not zero will do,
/// the fit scales it.
const PHONE_BLOCK: Span = Span::from_micros(8);
const PHONE_HTTP: Span = Span::from_micros(60);
const PHONE_HANDSHAKE: Span = Span::from_micros(300);
/// A check of a file by a phone, in blocks (`performance.md`: 26 us and more against 3.7 us,
/// and the file is parsed).
const CHECK_IN_BLOCKS: u64 = 15;

/// What a live run measured.
#[derive(Debug)]
struct Measured<'a> {
    plan: &'a Plan,
    /// CPU seconds by group of costs; groups that did nothing are left out.
    work: BTreeMap<Group, f64>,
    yardstick: Option<f64>,
    available: f64,
}

/// Costs that are told apart by the threads that do the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Sign,
    Handshake,
    Tftp,
    Http,
    PhoneHandshake,
    PhoneHttp,
    PhonePackets,
}

impl Group {
    const ALL: [Group; 7] = [
        Group::Sign,
        Group::Handshake,
        Group::Tftp,
        Group::Http,
        Group::PhoneHandshake,
        Group::PhoneHttp,
        Group::PhonePackets,
    ];

    /// Whether its work is done with private keys.
    const fn has_keys(self) -> bool {
        matches!(self, Group::Sign | Group::Handshake | Group::PhoneHandshake)
    }

    const fn keys(self) -> &'static str {
        match self {
            Group::Sign => "sign",
            Group::Handshake => "handshake",
            Group::Tftp => "tftp-request, tftp-block",
            Group::Http => "http-connection, http-request",
            Group::PhoneHandshake => "phone-handshake",
            Group::PhoneHttp => "phone-http",
            Group::PhonePackets => "phone-block, phone-check",
        }
    }

    /// CPU seconds of its threads.
    fn seconds(self, threads: &dyn Fn(ThreadKind) -> f64) -> f64 {
        use ThreadKind::{ServeHttp, ServeSign, ServeTftp, ServeTvs, Swarm, SwarmHttp, SwarmTvs};
        match self {
            Group::Sign => threads(ServeSign),
            Group::Handshake => threads(ServeTvs),
            Group::Tftp => threads(ServeTftp),
            Group::Http => threads(ServeHttp),
            Group::PhoneHandshake => threads(SwarmTvs),
            Group::PhoneHttp => threads(SwarmHttp),
            Group::PhonePackets => threads(Swarm) - threads(SwarmTvs) - threads(SwarmHttp),
        }
    }

    fn scale(self, cost: &mut CostModel, factor: f64) {
        let spans: &mut [&mut Span] = match self {
            Group::Sign => &mut [&mut cost.sign],
            Group::Handshake => &mut [&mut cost.handshake],
            Group::Tftp => &mut [&mut cost.tftp_request, &mut cost.tftp_block],
            Group::Http => &mut [&mut cost.http_connection, &mut cost.http_request],
            Group::PhoneHandshake => &mut [&mut cost.phone_handshake],
            Group::PhoneHttp => &mut [&mut cost.phone_http],
            Group::PhonePackets => &mut [&mut cost.phone_block, &mut cost.phone_check],
        };
        spans.iter_mut().for_each(|span| **span = span.scaled(factor));
    }
}

impl<'a> Measured<'a> {
    fn new(run: &'a CalibrationRun) -> Result<Measured<'a>, CalibrateError> {
        let summary = &run.summary;
        if summary["mode"] != "live" {
            return Err(CalibrateError::NotLive);
        }
        let threads = summary["cpu_by_thread_s"].as_object().ok_or(CalibrateError::NoThreads)?;
        let seconds =
            |kind: ThreadKind| threads.get(kind.name()).and_then(Value::as_f64).unwrap_or(0.0);
        let machine = &summary["machine"];
        Ok(Measured {
            plan: &run.plan,
            work: by_group(&seconds),
            yardstick: machine["yardstick_s"].as_f64().filter(|seconds| *seconds > 0.0),
            available: machine["available"].as_f64().unwrap_or(1.0).clamp(AVAILABLE_MIN, 1.0),
        })
    }

    /// The run in virtual time with these costs, on a machine as busy with others as it was.
    fn play(&self, cost: &CostModel) -> Played {
        let mut plan = self.plan.clone();
        plan.cost = CostModel { available: self.available, ..cost.clone() };
        let summary = World::new(&plan, SimOptions::default()).run().summary(&plan);
        let threads = &summary.cpu_by_thread_s;
        let work = by_group(&|kind| threads.get(kind.name()).copied().unwrap_or(0.0));
        let (boot, yardstick) = (summary.boot_time_s.p50, summary.machine.yardstick_s);
        Played { work, boot, yardstick }
    }

    /// How much slower the machine was than `played` says, by the yardstick.
    fn slowness(&self, played: &Played) -> f64 {
        self.yardstick.zip(played.yardstick).map_or(1.0, |(measured, played)| measured / played)
    }
}

/// What came of a run in virtual time.
#[derive(Debug)]
struct Played {
    work: BTreeMap<Group, f64>,
    /// Median boot in seconds.
    boot: Option<f64>,
    /// CPU seconds of one signature of the yardstick.
    yardstick: Option<f64>,
}

fn by_group(threads: &dyn Fn(ThreadKind) -> f64) -> BTreeMap<Group, f64> {
    let seconds = Group::ALL.into_iter().map(|group| (group, group.seconds(threads)));
    seconds.filter(|(_, seconds)| *seconds > 0.0).collect()
}

struct Fit {
    cost: CostModel,
    origins: Vec<String>,
}

/// Rounds until the work is as long as it was: each ends within a per cent or so of the next.
const ROUNDS: u32 = 4;
/// Halvings on the way to an extra cost of idle cores: to a hundredth.
const IDLE_STEPS: u32 = 8;
/// Longest latency of a host that is looked for: 20 ms each way.
const LATENCY_MAX: Span = Span::from_millis(20);
/// Halvings on the way to the latency: to within five microseconds.
const LATENCY_STEPS: u32 = 12;

impl Fit {
    fn new(run: &Measured<'_>, cores: u32) -> Fit {
        let mut cost = CostModel { cores, shared_host: true, ..run.plan.cost.clone() };
        (cost.available, cost.latency) = (1.0, Span::ZERO);
        cost.yardstick =
            run.yardstick.map_or(Span::ZERO, |seconds| Span::from_secs(1).scaled(seconds));
        let or = |span: &mut Span, start: Span| {
            if span.is_zero() {
                *span = start;
            }
        };
        or(&mut cost.phone_block, PHONE_BLOCK);
        or(&mut cost.phone_http, PHONE_HTTP);
        or(&mut cost.phone_handshake, PHONE_HANDSHAKE);
        cost.phone_check = cost.phone_block.times(CHECK_IN_BLOCKS);
        if cost.idle_packets <= 0.0 {
            [cost.idle_yardstick, cost.idle_keys, cost.idle_packets] = IDLE_DEFAULT;
        }
        Fit { cost, origins: Vec::new() }
    }

    /// Each cost so that its threads work as long as they did.
    fn work(&mut self, run: &Measured<'_>) {
        for _ in 0..ROUNDS {
            let played = run.play(&self.cost);
            for (group, measured) in &run.work {
                if let Some(played) = played.work.get(group) {
                    group.scale(&mut self.cost, measured / played);
                }
            }
            self.cost.yardstick = self.cost.yardstick.scaled(run.slowness(&played));
        }
    }

    /// The extra costs of idle cores with which the other runs come out, too.
    fn idle(&mut self, first: &Measured<'_>, others: &[Measured<'_>]) {
        // What one of them costs moves the others little: twice is enough.
        let blind = first.yardstick.is_none() || others.iter().any(|run| run.yardstick.is_none());
        for what in [Idle::ALL, Idle::ALL].concat() {
            if blind && what == Idle::Yardstick {
                continue;
            }
            let (mut low, mut high) = (0.0, what.most());
            let busier = self.misses(first, others, what, low) > 0.0;
            for _ in 0..IDLE_STEPS {
                let middle = f64::midpoint(low, high);
                if (self.misses(first, others, what, middle) > 0.0) == busier {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            what.set(&mut self.cost, low);
        }
        let CostModel { idle_yardstick, idle_keys, idle_packets, .. } = self.cost;
        self.origins.push(format!(
            "idle-yardstick, idle-keys, idle-packets: {idle_yardstick:.2}, {idle_keys:.2} and \
             {idle_packets:.2}, so that {} other runs come out",
            others.len()
        ));
        self.work(first);
    }

    /// By how much the other runs are overestimated with this extra cost, as the mean of the
    /// logarithms, when the first run comes out.
    fn misses(
        &mut self,
        first: &Measured<'_>,
        others: &[Measured<'_>],
        what: Idle,
        share: f64,
    ) -> f64 {
        what.set(&mut self.cost, share);
        self.work(first);
        let miss = |run: &Measured<'_>| {
            let played = run.play(&self.cost);
            let slowness = run.slowness(&played);
            if what == Idle::Yardstick {
                return -slowness.ln();
            }
            // A machine that was slower worked longer.
            let sum = |work: &BTreeMap<Group, f64>| -> f64 {
                let keys = what == Idle::Keys;
                let chosen = work.iter().filter(|(group, _)| group.has_keys() == keys);
                chosen.map(|(_, seconds)| seconds).sum()
            };
            (sum(&played.work) * slowness / sum(&run.work)).ln()
        };
        let misses: Vec<f64> = others.iter().map(miss).filter(|miss| miss.is_finite()).collect();
        misses.iter().sum::<f64>() / misses.len().max(1) as f64
    }

    /// The latency with which the median boot takes `boot` seconds in virtual time, too.
    fn latency(&mut self, run: &Measured<'_>, boot: f64) {
        let (mut low, mut high) = (Span::ZERO, LATENCY_MAX);
        for _ in 0..LATENCY_STEPS {
            let middle = Span::from_nanos(low.as_nanos().midpoint(high.as_nanos()));
            let played = run.play(&CostModel { latency: middle, ..self.cost.clone() });
            if played.boot.unwrap_or(0.0) < boot { low = middle } else { high = middle }
        }
        self.cost.latency = low;
    }

    fn finish(mut self, run: &Measured<'_>, boot: f64) -> Calibration {
        for group in Group::ALL {
            let line = run.work.get(&group).map_or_else(
                || format!("{}: not in this run, left as it was", group.keys()),
                |seconds| format!("{}: {seconds:.3} CPU s of its threads", group.keys()),
            );
            self.origins.push(line);
        }
        self.origins.push(format!("latency: so that the median boot takes {boot:.4} s"));
        if run.available < 1.0 {
            let taken = (1.0 - run.available) * 100.0;
            self.origins.push(format!("other programs took {taken:.1} % of the machine meanwhile"));
        }
        Calibration { cost: self.cost, origins: self.origins }
    }
}

/// What is dearer on a core that was idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Idle {
    /// Everything, the yardstick, too: the host slows such cores down.
    Yardstick,
    Keys,
    Packets,
}

impl Idle {
    const ALL: [Idle; 3] = [Idle::Yardstick, Idle::Keys, Idle::Packets];

    /// Largest extra cost that is looked for: work with keys is mostly arithmetic.
    const fn most(self) -> f64 {
        match self {
            Idle::Yardstick | Idle::Keys => 2.0,
            Idle::Packets => IDLE_MAX,
        }
    }

    const fn set(self, cost: &mut CostModel, share: f64) {
        match self {
            Idle::Yardstick => cost.idle_yardstick = share,
            Idle::Keys => cost.idle_keys = share,
            Idle::Packets => cost.idle_packets = share,
        }
    }
}

impl Calibration {
    /// The file that `sim --calibration` reads; `about` says where it comes from, line by line.
    pub fn to_toml(&self, about: &[String]) -> String {
        let comments = about.iter().chain(&self.origins).map(|line| format!("# {line}\n"));
        format!("{}\n[cost]\n{}", comments.collect::<String>(), self.cost.to_toml())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::scenario::load;

    fn plan(overrides: &[&str]) -> Plan {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/callmanager-regen.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut all = vec!["fleet.phones=100".to_owned()];
        all.extend(overrides.iter().map(|&text| text.to_owned()));
        load(&path, &text, &all, &[]).unwrap()
    }

    /// A "live" run whose truth is known: one in virtual time with these costs.
    fn measured(truth: &CostModel, overrides: &[&str]) -> CalibrationRun {
        let plan = plan(overrides);
        let real = Plan { cost: truth.clone(), ..plan.clone() };
        let mut summary = World::new(&real, SimOptions::default()).run().summary(&real).to_json();
        summary["mode"] = "live".into();
        CalibrationRun { plan, summary }
    }

    fn truth() -> CostModel {
        CostModel {
            cores: 2,
            shared_host: true,
            latency: Span::from_micros(180),
            sign: Span::from_micros(700),
            handshake: Span::from_micros(900),
            tftp_request: Span::from_nanos(24_324),
            tftp_block: Span::from_micros(9),
            phone_block: Span::from_micros(6),
            phone_handshake: Span::from_micros(250),
            phone_check: Span::from_micros(90),
            yardstick: Span::from_micros(500),
            idle_yardstick: 0.2,
            idle_keys: 0.3,
            idle_packets: 0.9,
            ..CostModel::default()
        }
    }

    fn near(name: &str, found: f64, wanted: f64, within: f64) {
        assert!((found / wanted - 1.0).abs() < within, "{name}: {found} for {wanted}");
    }

    #[test]
    fn costs_that_are_known_are_found_again() {
        let truth = truth();
        let run = measured(
            &truth,
            &[
                "cluster.cost.idle-yardstick=0.2",
                "cluster.cost.idle-keys=0.3",
                "cluster.cost.idle-packets=0.9",
            ],
        );
        let fitted = calibrate(&run, &[], 2).unwrap();
        let cost = &fitted.cost;
        for (name, found, wanted) in [
            ("sign", cost.sign, truth.sign),
            ("handshake", cost.handshake, truth.handshake),
            ("request", cost.tftp_request, truth.tftp_request),
            ("block", cost.tftp_block, truth.tftp_block),
            ("phone's block", cost.phone_block, truth.phone_block),
            ("phone's check", cost.phone_check, truth.phone_check),
            ("phone's handshake", cost.phone_handshake, truth.phone_handshake),
            ("latency", cost.latency, truth.latency),
            ("yardstick", cost.yardstick, truth.yardstick),
        ] {
            near(name, found.as_secs_f64(), wanted.as_secs_f64(), 0.03);
        }
        assert!(fitted.origins.iter().any(|line| line.starts_with("http-connection, http")));
        let text = fitted.to_toml(&["about".to_owned()]);
        assert_eq!(CostModel::from_toml(&text).unwrap(), fitted.cost, "{text}");
    }

    #[test]
    fn a_second_run_tells_what_idle_cores_cost() {
        let (truth, phones) = (truth(), "fleet.phones=400");
        let storm = [phones, "event.reset-1.reset-phones.spread=100ms"];
        let (run, busy) = (measured(&truth, &[phones]), measured(&truth, &storm));
        let alone = calibrate(&run, &[], 2).unwrap().cost;
        let idle = [alone.idle_yardstick, alone.idle_keys, alone.idle_packets];
        assert_eq!(format!("{idle:?}"), format!("{IDLE_DEFAULT:?}"), "the reference machine's");
        let both = calibrate(&run, &[busy], 2).unwrap().cost;
        near("keys", both.idle_keys, truth.idle_keys, 0.15);
        near("packets", both.idle_packets, truth.idle_packets, 0.15);
        near("yardstick", both.idle_yardstick, truth.idle_yardstick, 0.15);
        near("sign", both.sign.as_secs_f64(), truth.sign.as_secs_f64(), 0.05);
    }

    #[test]
    fn runs_that_do_not_fit_are_refused() {
        let good = measured(&truth(), &[]);
        let with = |key: &str, value: Value| {
            let mut run = good.clone();
            run.summary[key] = value;
            calibrate(&run, &[], 2).unwrap_err()
        };
        assert_eq!(with("mode", "sim".into()), CalibrateError::NotLive);
        assert_eq!(with("cpu_by_thread_s", Value::Null), CalibrateError::NoThreads);
        let late = json!({ "verdict": "saturated" });
        assert_eq!(with("generator", late), CalibrateError::Saturated);
        assert_eq!(with("boot_time_s", json!({ "p50": null })), CalibrateError::NoBoots);
    }
}
