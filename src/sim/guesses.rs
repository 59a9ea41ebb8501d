use crate::base::Span;
use crate::measure::{GuessSummary, Ledger, RunFacts, StepKind};
use crate::phone::{BlockSizeRule, BootTime, FamilyValue, PhoneProfile, families, family_index};
use crate::scenario::{CostModel, Link, Plan};
use crate::wire::tftp::BLOCK_SIZE_DEFAULT;

use super::knob::Knob;

/// A value that a result in virtual time rests on and no public source gives.
#[derive(Clone, Debug)]
pub(super) struct Guess {
    /// Its key in the scenario, such as `phone.tvs-timeout`, or its place in the profiles of
    /// phone models.
    key: String,
    /// Its value in this plan.
    value: String,
    /// Where the value is from.
    source: String,
    knob: Knob,
}

/// What a run has made use of.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
struct Used {
    tftp: bool,
    http: bool,
    tvs: bool,
    /// TLS handshakes of TVS or HTTPS.
    tls: bool,
    signatures: bool,
}

impl Used {
    fn of(ledger: &Ledger, facts: &RunFacts) -> Used {
        let counts = ledger.counts();
        let asked = ledger.step_record(StepKind::TVS);
        let (tvs, https) = (asked.ok + asked.failed > 0, counts.https.requests > 0);
        Used {
            tftp: counts.tftp.requests > 0,
            http: https || counts.http.requests > 0,
            tvs,
            tls: tvs || https,
            signatures: facts.signed.made > facts.signed_before.made,
        }
    }
}

/// The guesses that can have acted on the result of a run (`field-facts.md`, sections 3, 18, 19).
pub(super) fn guesses(plan: &Plan, ledger: &Ledger, facts: &RunFacts) -> Vec<Guess> {
    let used = Used::of(ledger, facts);
    let mut guesses = of_phones(plan, used);
    guesses.extend(of_families(plan, used));
    guesses.extend(of_work(&plan.cost, used));
    guesses.extend(of_limits(&plan.cost));
    if plan.fleet.sites.is_empty() && !plan.cost.shared_host {
        let rtt = Link::default().rtt.to_string();
        guesses.push(Guess::new("rtt without [[fleet.site]]", rtt, "guess: a LAN", Knob::Lan));
    }
    guesses
}

impl Guess {
    fn new(key: &str, value: impl Into<String>, source: &str, knob: Knob) -> Guess {
        Guess { key: key.to_owned(), value: value.into(), source: source.to_owned(), knob }
    }

    /// The half or double of it and the plan with that; `None` where there is none.
    pub(super) fn turn(&self, plan: &Plan, doubled: bool) -> Option<(String, Plan)> {
        self.knob.turn(plan, doubled)
    }

    /// The guess, not tried with another value.
    pub(super) fn summary(&self) -> GuessSummary {
        GuessSummary {
            key: self.key.clone(),
            value: self.value.clone(),
            source: self.source.clone(),
            halved: None,
            doubled: None,
        }
    }
}

/// Whether a value is the default, which is a guess, or was put in by somebody.
fn source<T: PartialEq>(value: &T, default: &T) -> &'static str {
    if value == default { "guess" } else { "scenario" }
}

fn of_phones(plan: &Plan, used: Used) -> Vec<Guess> {
    let (phone, default) = (&plan.phone, PhoneProfile::default());
    let mut guesses = Vec::new();
    let mut length = |key, value: Span, default: Span, knob| {
        guesses.push(Guess::new(
            key,
            value.to_string(),
            source(&value, &default),
            Knob::Length(knob),
        ));
    };
    length("phone.think", phone.think, default.think, |plan| &mut plan.phone.think);
    if used.tftp {
        let (value, default) = (phone.tftp_timeout, default.tftp_timeout);
        length("phone.tftp-timeout", value, default, |plan| &mut plan.phone.tftp_timeout);
    }
    if used.http {
        let (value, default) = (phone.http_timeout, default.http_timeout);
        length("phone.http-timeout", value, default, |plan| &mut plan.phone.http_timeout);
    }
    if used.tvs {
        let (value, default) = (phone.tvs_timeout, default.tvs_timeout);
        length("phone.tvs-timeout", value, default, |plan| &mut plan.phone.tvs_timeout);
    }
    if let BootTime::Fixed(time) = phone.boot_time {
        let source = source(&phone.boot_time, &default.boot_time);
        guesses.push(Guess::new("phone.boot-time", time.to_string(), source, Knob::Boot));
    }
    if used.tftp {
        let (tries, usual) = (phone.tftp_tries, default.tftp_tries);
        guesses.push(Guess::new(
            "phone.tftp-tries",
            tries.to_string(),
            source(&tries, &usual),
            Knob::Tries,
        ));
    }
    if let (BlockSizeRule::Fixed(size), true) = (phone.tftp_block_size, used.tftp) {
        let source = source(&size, &None);
        let size = size.unwrap_or(BLOCK_SIZE_DEFAULT);
        guesses.push(Guess::new(
            "phone.tftp-block-size",
            size.to_string(),
            source,
            Knob::BlockSize,
        ));
    }
    guesses
}

/// What the profiles of phone models say, as far as this plan asks them.
fn of_families(plan: &Plan, used: Used) -> Vec<Guess> {
    let (phone, mut guesses) = (&plan.phone, Vec::new());
    let models = plan.fleet.models.clone();
    let mut numbers: Vec<usize> = models.iter().map(|&(model, _)| family_index(model)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    for number in numbers {
        let family = &families()[number];
        let mut add = |value: FamilyValue, name: &str, text: String, source: &str| {
            let key = format!("profile {}: {name}", family.models);
            guesses.push(Guess::new(&key, text, source, Knob::Family(number, value)));
        };
        if matches!(phone.boot_time, BootTime::Model { .. }) {
            let boot = &family.boot;
            let [median, sigma] = [boot.median_s, boot.sigma_s].map(|time| format!("{time}s"));
            add(FamilyValue::BootMedian, "boot median", median, &boot.source);
            add(FamilyValue::BootSigma, "boot sigma", sigma, &boot.source);
        }
        if matches!(phone.tftp_block_size, BlockSizeRule::Model { .. }) && used.tftp {
            let block = &family.tftp_block;
            add(FamilyValue::TftpBlock, "tftp-block", block.size.to_string(), &block.source);
        }
    }
    guesses
}

/// Finds a value in a plan.
type Find<T> = fn(&mut Plan) -> &mut T;

/// Costs of work that nobody has calibrated.
fn of_work(cost: &CostModel, used: Used) -> Vec<Guess> {
    let rows: [(bool, &str, Find<Span>); 6] = [
        (used.signatures, "sign", |plan| &mut plan.cost.sign),
        (used.tls, "handshake", |plan| &mut plan.cost.handshake),
        (used.tftp, "tftp-request", |plan| &mut plan.cost.tftp_request),
        (used.tftp, "tftp-block", |plan| &mut plan.cost.tftp_block),
        (used.http, "http-connection", |plan| &mut plan.cost.http_connection),
        (used.http, "http-request", |plan| &mut plan.cost.http_request),
    ];
    let (mut cost, mut default) = (cost.clone(), CostModel::default());
    let mut of = |name: &str| {
        let find = |(key, span): (&str, &mut Span)| (key == name).then_some(*span);
        let value = cost.spans_mut().into_iter().find_map(find)?;
        let usual = default.spans_mut().into_iter().find_map(find)?;
        (value == usual).then_some(value)
    };
    let guess = |(is_used, name, knob): (bool, &str, Find<Span>)| {
        let value = of(name).filter(|_| is_used)?;
        let key = format!("cluster.cost.{name}");
        Some(Guess::new(
            &key,
            value.to_string(),
            "default: measured on another host",
            Knob::Length(knob),
        ))
    };
    rows.into_iter().filter_map(guess).collect()
}

fn of_limits(cost: &CostModel) -> Vec<Guess> {
    let default = CostModel::default();
    let cores = source(&cost.cores, &default.cores);
    let knob = Knob::Count(|plan| &mut plan.cost.cores);
    let mut guesses = vec![Guess::new("cluster.cost.cores", cost.cores.to_string(), cores, knob)];
    if !cost.build_time.is_zero() {
        let knob = Knob::Length(|plan| &mut plan.cost.build_time);
        guesses.push(Guess::new(
            "cluster.cost.build-time",
            cost.build_time.to_string(),
            "scenario",
            knob,
        ));
    }
    let counts: [(&str, u32, Find<u32>); 2] = [
        ("cluster.cost.serving-count", cost.serving_count, |plan| &mut plan.cost.serving_count),
        ("cluster.cost.tvs-connections", cost.tvs_connections, |plan| {
            &mut plan.cost.tvs_connections
        }),
    ];
    for (key, value, find) in counts.into_iter().filter(|(_, value, _)| *value > 0) {
        guesses.push(Guess::new(key, value.to_string(), "scenario", Knob::Count(find)));
    }
    let rates: [(&str, f64, Find<f64>); 2] = [
        ("cluster.cost.resets-per-second", cost.resets_per_second, |plan| {
            &mut plan.cost.resets_per_second
        }),
        ("cluster.cost.registrations-per-second", cost.registrations_per_second, |plan| {
            &mut plan.cost.registrations_per_second
        }),
    ];
    for (key, value, find) in rates.into_iter().filter(|(_, value, _)| *value > 0.0) {
        guesses.push(Guess::new(key, format!("{value:?}"), "scenario", Knob::Rate(find)));
    }
    guesses
}

/// What a reader of the numbers must know.
pub(super) fn notes(plan: &Plan) -> Vec<String> {
    let mut notes = vec![
        "ready means: list and config in force".to_owned(),
        "virtual time: outcomes and counts follow from bytes, signatures and lists as in a live \
         run; times and CPU seconds follow from [cluster.cost] and the links"
            .to_owned(),
    ];
    if plan.target.is_some() {
        notes.push("the target is left alone: this run played the cluster of the scenario".into());
    }
    if plan.fleet.sites.is_empty() {
        notes.push("all phones are in one LAN with the cluster (no [[fleet.site]])".into());
    }
    notes
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::explore::try_guesses;
    use super::super::run::SimOptions;
    use super::super::world::World;
    use super::*;
    use crate::base::Stop;
    use crate::scenario::load;

    fn plan(more: &str) -> Plan {
        let text = format!(
            "schema=1\nname='t'\nseed=7\n[[cluster.node]]\nname='pub'\nports={{http=6970}}\n\
             [fleet]\nphones=40\nmodels={{8841=0.5,7962=0.5}}\n{more}\
             [[event]]\nwhen='fleet-settled'\nregenerate={{certificate='CallManager',node='pub'}}\n\
             [[event]]\nafter='previous'\nrestart={{node='pub'}}\n\
             [[event]]\nafter='previous'\nreset-phones={{spread='5s'}}\n"
        );
        load(Path::new("t.toml"), &text, &[], &[]).unwrap_or_else(|error| panic!("{error}"))
    }

    fn tried(plan: &Plan) -> Vec<GuessSummary> {
        try_guesses(plan, &World::new(plan, SimOptions::default()).run(), &Stop::default())
    }

    fn keys(guesses: &[GuessSummary]) -> Vec<&str> {
        guesses.iter().map(|guess| guess.key.as_str()).collect()
    }

    #[test]
    fn every_guess_that_a_run_has_used_is_named_and_no_other() {
        let over_tftp = tried(&plan(""));
        let expected = [
            "phone.think",
            "phone.tftp-timeout",
            "phone.tvs-timeout",
            "phone.boot-time",
            "phone.tftp-tries",
            "phone.tftp-block-size",
            "cluster.cost.sign",
            "cluster.cost.handshake",
            "cluster.cost.tftp-request",
            "cluster.cost.tftp-block",
            "cluster.cost.cores",
            "rtt without [[fleet.site]]",
        ];
        assert_eq!(keys(&over_tftp), expected);
        let nothing = &over_tftp[0];
        assert_eq!((&nothing.halved, &nothing.doubled), (&None, &None), "twice 0 s is 0 s");
        let by_model =
            tried(&plan("[phone]\ntransport='http'\nboot-time='model'\ntftp-block-size='model'\n"));
        let keys = keys(&by_model);
        for key in ["profile 88xx: boot median", "profile 79xx: boot sigma", "phone.http-timeout"] {
            assert!(keys.contains(&key), "{key} in {keys:?}");
        }
        assert!(keys.contains(&"cluster.cost.http-request"));
        assert!(!keys.iter().any(|key| key.contains("tftp")), "nobody asked over TFTP: {keys:?}");
        assert!(by_model.iter().all(|guess| !guess.source.is_empty()));
    }

    #[test]
    fn what_was_calibrated_is_no_guess() {
        let costs = "[cluster.cost]\nsign='451us'\ncores=2\n";
        let mut plan = plan("");
        plan.cost = CostModel::from_toml(&costs.replace("[cluster.cost]", "[cost]")).unwrap();
        let tried = tried(&plan);
        assert!(!keys(&tried).contains(&"cluster.cost.sign"));
        assert!(keys(&tried).contains(&"cluster.cost.handshake"));
        let cores = tried.iter().find(|guess| guess.key == "cluster.cost.cores").unwrap();
        assert_eq!((cores.value.as_str(), cores.source.as_str()), ("2", "scenario"));
        let values = [&cores.halved, &cores.doubled];
        let values = values.map(|tried| tried.as_ref().unwrap().value.as_str());
        assert_eq!(values, ["1", "4"]);
    }

    #[test]
    fn a_longer_boot_of_one_family_makes_the_fleet_late_and_its_spread_hardly() {
        let plan = plan("[phone]\nboot-time='model'\n");
        let run = World::new(&plan, SimOptions::default()).run();
        let digest = run.digest;
        let base = run.summary(&plan).fleet_ready_s.p99.unwrap();
        let guesses = try_guesses(&plan, &run, &Stop::default());
        let of = |key: &str| guesses.iter().find(|guess| guess.key == key).unwrap();
        let doubled = |key: &str| of(key).doubled.as_ref().unwrap().fleet_ready_p99_s.unwrap();
        assert_eq!(of("profile 79xx: boot median").value, "120s");
        let later = doubled("profile 79xx: boot median") - base;
        assert!((110.0..130.0).contains(&later), "{later}");
        let later = doubled("profile 79xx: boot sigma") - base;
        assert!((0.0..30.0).contains(&later), "{later}");
        let again = World::new(&plan, SimOptions::default()).run();
        assert_eq!(again.digest, digest, "other worlds leave no trace");
    }

    #[test]
    fn a_block_size_is_tried_for_all_phones_or_for_a_family() {
        let far = "[[fleet.site]]\nname='far'\nshare=1.0\nlink={rtt='80ms'}\n";
        for (phone, key) in [
            ("", "phone.tftp-block-size"),
            ("[phone]\ntftp-block-size='model'\n", "profile 79xx: tftp-block"),
        ] {
            let guesses = tried(&plan(&format!("{far}{phone}")));
            assert!(!keys(&guesses).contains(&"rtt without [[fleet.site]]"));
            let guess = guesses.iter().find(|guess| guess.key == key).unwrap();
            assert_eq!(guess.value, "512");
            let [halved, doubled] = [&guess.halved, &guess.doubled].map(|tried| {
                let tried = tried.as_ref().unwrap();
                (tried.value.clone(), tried.fleet_ready_p99_s.unwrap())
            });
            assert_eq!((halved.0.as_str(), doubled.0.as_str()), ("256", "1024"));
            assert!(halved.1 > doubled.1, "more round trips: {halved:?} {doubled:?}");
        }
    }
}
