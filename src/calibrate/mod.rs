//! The cost model of virtual time from what a live run has measured.
//!
//! Reads a summary as a value and plays worlds; no clock, no file, no socket.

use serde_json::Value;

use crate::base::Span;
use crate::cluster::FileSignature;
use crate::scenario::{CostModel, Plan};
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

/// What a live run counted and measured.
struct Measured<'a>(&'a Value);

impl Measured<'_> {
    fn number(&self, path: &str) -> f64 {
        let found = path.split('.').try_fold(self.0, |value, key| value.get(key));
        found.and_then(Value::as_f64).unwrap_or(0.0)
    }

    /// CPU seconds of a kind of thread.
    fn cpu(&self, kind: &str) -> f64 {
        self.0["cpu_by_thread_s"][kind].as_f64().unwrap_or(0.0)
    }
}

/// Fits the costs of work on one host of `cores` cores to a live run of `plan` whose
/// `summary.json` is `summary`.
///
/// Costs come from CPU time by kind of thread over what those threads did. The latency of the host
/// is what is missing between the median boot of the run and the same run in virtual time.
///
/// # Errors
/// If the run does not hold what is needed.
pub fn calibrate(plan: &Plan, summary: &Value, cores: u32) -> Result<Calibration, CalibrateError> {
    if summary["mode"] != "live" {
        return Err(CalibrateError::NotLive);
    }
    if summary["generator"]["verdict"] != "ok" {
        return Err(CalibrateError::Saturated);
    }
    if summary["cpu_by_thread_s"].is_null() {
        return Err(CalibrateError::NoThreads);
    }
    let boot = summary["boot_time_s"]["p50"].as_f64().ok_or(CalibrateError::NoBoots)?;
    let measured = Measured(summary);
    let mut fit = Fit {
        cost: CostModel { cores, shared_host: true, ..plan.cost.clone() },
        origins: Vec::new(),
    };
    fit.servers(&measured, plan);
    fit.phones(&measured);
    fit.latency(plan, boot);
    Ok(Calibration { cost: fit.cost, origins: fit.origins })
}

struct Fit {
    cost: CostModel,
    origins: Vec<String>,
}

/// Work of a request beyond that of a block, and of a connection beside a request: the ratios of
/// the defaults, because one sum of CPU time does not tell two costs apart.
const REQUEST_IN_BLOCKS: f64 = 2.7;
const CONNECTION_IN_REQUESTS: f64 = 0.67;
/// A check of a file by a phone, in blocks (`performance.md`: 26 us and more against 3.7 us,
/// and the file is parsed).
const CHECK_IN_BLOCKS: f64 = 15.0;
/// Private-key operations of RSA-4096 against RSA-2048, as in the model.
const LARGE_KEY_FACTOR: f64 = 7.0;
/// A signature with SHA-1 against one with SHA-512, as in the model.
const SHA1_FACTOR: f64 = 2.9;

impl Fit {
    fn set(&mut self, key: &str, cpu: f64, units: f64, what: &str) -> Option<Span> {
        if units < 1.0 || cpu <= 0.0 {
            self.origins.push(format!("{key}: not in this run, left as it was"));
            return None;
        }
        let each = Span::from_nanos((cpu / units * 1e9).round() as u64);
        self.origins.push(format!("{key}: {cpu:.3} CPU s over {units:.0} {what}"));
        Some(each)
    }

    fn servers(&mut self, run: &Measured<'_>, plan: &Plan) {
        let large = if plan.topology.key_bits > 2_048 { LARGE_KEY_FACTOR } else { 1.0 };
        let digest = match plan.topology.file_signature {
            FileSignature::Sha1 => SHA1_FACTOR,
            FileSignature::Sha512 => 1.0,
        };
        let made = run.number("signatures.made") * large * digest;
        if let Some(each) = self.set("sign", run.cpu("serve-sign"), made, "signatures") {
            self.cost.sign = each;
        }
        let shaken =
            run.number("serve.tvs_handshakes_ok") + run.number("serve.tvs_handshakes_failed");
        let shaken = shaken * large;
        if let Some(each) = self.set("handshake", run.cpu("serve-tvs"), shaken, "handshakes") {
            self.cost.handshake = each;
        }
        let requests = run.number("serve.tftp_requests");
        let further = (run.number("serve.tftp_datagrams_out") - requests).max(0.0);
        let units = requests * REQUEST_IN_BLOCKS + further;
        let what = "blocks, a request as 2.7 of them";
        if let Some(each) = self.set("tftp-block", run.cpu("serve-tftp"), units, what) {
            self.cost.tftp_block = each;
            self.cost.tftp_request = scaled(each, REQUEST_IN_BLOCKS);
        }
        let connections = run.number("serve.http_connections");
        let units = run.number("serve.http_requests") + connections * CONNECTION_IN_REQUESTS;
        let units = if run.number("serve.http_requests") > 0.0 { units } else { 0.0 };
        let what = "requests, a connection as 0.67 of them";
        if let Some(each) = self.set("http-request", run.cpu("serve-http"), units, what) {
            self.cost.http_request = each;
            self.cost.http_connection = scaled(each, CONNECTION_IN_REQUESTS);
        }
    }

    fn phones(&mut self, run: &Measured<'_>) {
        let shaken =
            run.number("serve.tvs_handshakes_ok") + run.number("serve.tvs_handshakes_failed");
        if let Some(each) = self.set("phone-handshake", run.cpu("swarm-tvs"), shaken, "handshakes")
        {
            self.cost.phone_handshake = each;
        }
        let requests = run.number("http.requests");
        let http = if requests > 0.0 { run.cpu("swarm-http") } else { 0.0 };
        if let Some(each) = self.set("phone-http", http, requests, "requests") {
            self.cost.phone_http = each;
        }
        let pump = run.cpu("swarm") - run.cpu("swarm-http") - run.cpu("swarm-tvs");
        let checks = run.number("signatures.verified");
        let units = run.number("serve.tftp_datagrams_out") + checks * CHECK_IN_BLOCKS;
        let what = "blocks, a check of a file as 15 of them";
        if let Some(each) = self.set("phone-block", pump, units, what) {
            self.cost.phone_block = each;
            self.cost.phone_check = scaled(each, CHECK_IN_BLOCKS);
        }
    }

    /// The latency with which the median boot takes `boot` seconds in virtual time, too.
    fn latency(&mut self, plan: &Plan, boot: f64) {
        let median = |latency: Span| {
            let mut plan = plan.clone();
            plan.cost = CostModel { latency, ..self.cost.clone() };
            // A tenth of the fleet in a tenth of the time would be another load: all of it.
            let run = World::new(&plan, SimOptions::default()).run();
            run.summary(&plan).boot_time_s.p50.unwrap_or(0.0)
        };
        let (mut low, mut high) = (Span::ZERO, LATENCY_MAX);
        for _ in 0..LATENCY_STEPS {
            let middle = Span::from_nanos(low.as_nanos().midpoint(high.as_nanos()));
            if median(middle) < boot { low = middle } else { high = middle }
        }
        self.cost.latency = low;
        self.origins.push(format!("latency: so that the median boot takes {boot:.4} s"));
    }
}

/// Longest latency of a host that is looked for: 20 ms each way.
const LATENCY_MAX: Span = Span::from_millis(20);
/// Halvings on the way to the latency: to within a third of a microsecond.
const LATENCY_STEPS: u32 = 16;

fn scaled(span: Span, factor: f64) -> Span {
    Span::from_nanos((span.as_nanos() as f64 * factor).round() as u64)
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

    fn plan() -> Plan {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/callmanager-regen.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let overrides = ["fleet.phones=100", "cluster.file-signature=sha512"].map(str::to_owned);
        load(&path, &text, &overrides, &[]).unwrap()
    }

    /// A "live" run whose truth is known: one in virtual time with these costs.
    fn measured(truth: &CostModel) -> Value {
        let mut plan = plan();
        plan.cost = truth.clone();
        let summary = World::new(&plan, SimOptions::default()).run().summary(&plan);
        let mut value = summary.to_json();
        let cpu = |count: f64, span: Span| count * span.as_secs_f64();
        let serve = &value["serve"];
        let (requests, datagrams) = (
            serve["tftp_requests"].as_f64().unwrap(),
            serve["tftp_datagrams_out"].as_f64().unwrap(),
        );
        let threads = json!({
            "serve-sign": cpu(value["signatures"]["made"].as_f64().unwrap(), truth.sign),
            "serve-tvs": cpu(serve["tvs_handshakes_ok"].as_f64().unwrap(), truth.handshake),
            "serve-tftp": cpu(requests, truth.tftp_request)
                + cpu(datagrams - requests, truth.tftp_block),
            "swarm": 0.1,
            "swarm-tvs": 0.02,
        });
        value["mode"] = "live".into();
        value["cpu_by_thread_s"] = threads;
        value
    }

    #[test]
    fn costs_that_are_known_are_found_again() {
        let truth = CostModel {
            cores: 2,
            shared_host: true,
            latency: Span::from_micros(180),
            sign: Span::from_micros(700),
            handshake: Span::from_micros(900),
            tftp_block: Span::from_micros(9),
            tftp_request: scaled(Span::from_micros(9), REQUEST_IN_BLOCKS),
            ..CostModel::default()
        };
        let fitted = calibrate(&plan(), &measured(&truth), 2).unwrap();
        let near = |name: &str, found: Span, wanted: Span| {
            let ratio = found.as_secs_f64() / wanted.as_secs_f64();
            assert!((0.97..1.03).contains(&ratio), "{name}: {found} for {wanted}");
        };
        near("sign", fitted.cost.sign, truth.sign);
        near("handshake", fitted.cost.handshake, truth.handshake);
        near("block", fitted.cost.tftp_block, truth.tftp_block);
        // What the phones did here was none of the truth, and makes boots longer by itself.
        assert!(fitted.cost.latency < truth.latency, "{}", fitted.cost.latency);
        assert!(fitted.origins.iter().any(|line| line.starts_with("http-request: not in")));
        let text = fitted.to_toml(&["about".to_owned()]);
        assert_eq!(CostModel::from_toml(&text).unwrap(), fitted.cost, "{text}");
    }

    #[test]
    fn runs_that_do_not_fit_are_refused() {
        let good = measured(&CostModel::default());
        let with = |key: &str, value: Value| {
            let mut run = good.clone();
            run[key] = value;
            calibrate(&plan(), &run, 2).unwrap_err()
        };
        assert_eq!(with("mode", "sim".into()), CalibrateError::NotLive);
        assert_eq!(with("cpu_by_thread_s", Value::Null), CalibrateError::NoThreads);
        let late = json!({ "verdict": "saturated" });
        assert_eq!(with("generator", late), CalibrateError::Saturated);
        assert_eq!(with("boot_time_s", json!({ "p50": null })), CalibrateError::NoBoots);
    }
}
