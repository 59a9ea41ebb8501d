use std::collections::BTreeSet;

use crate::measure::{GuessSummary, Ledger, RegistrationCounts, RunFacts, StepKind};
use crate::phone::{FamilyValue, PhoneProfile, families, family_index};
use crate::scenario::{CostModel, Plan};

use super::knob::Knob;

/// A value that a result in virtual time rests on and no public source gives, not tried with
/// another one yet, and by what it is changed.
pub(super) type Guess = (GuessSummary, Knob);

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
    /// A name that a phone knew to have no record.
    names: bool,
    registration: bool,
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
            names: counts.tvs.names_from_cache > 0,
            registration: counts.registration != RegistrationCounts::default(),
        }
    }
}

/// A key of the scenario, by what its value is found, and whether the run has used it.
type Row = (bool, &'static str, Knob);

/// The guesses that can have acted on the result of a run (`field-facts.md`, sections 3, 18, 19).
pub(super) fn guesses(plan: &Plan, ledger: &Ledger, facts: &RunFacts) -> Vec<Guess> {
    let (used, mut plan) = (Used::of(ledger, facts), plan.clone());
    let (phone, cost) = (PhoneProfile::default(), CostModel::default());
    let mut usual = Plan { cost, phone, ..plan.clone() };
    let families = of_families(&mut plan, used);
    let is_lan = plan.fleet.sites.is_empty() && !plan.cost.shared_host;
    // The default is a guess; another value was put in by somebody.
    let guessed = |is_usual: bool| Some(if is_usual { "guess" } else { "scenario" });
    let mut of = |rows: &[Row], source: &dyn Fn(bool) -> Option<&'static str>| {
        let guess = |&(is_used, key, knob): &Row| {
            let value = knob.value(&mut plan).filter(|_| is_used)?;
            let source = source(knob.value(&mut usual).as_ref() == Some(&value))?;
            Some(guess(key.to_owned(), value, source, knob))
        };
        rows.iter().filter_map(guess).collect::<Vec<Guess>>()
    };
    let cores = (true, "cluster.cost.cores", Knob::Count(|plan| &mut plan.cost.cores));
    let lan = (is_lan, "rtt without [[fleet.site]]", Knob::Lan);
    let all = [
        of(&of_phones(used), &guessed),
        families,
        of(&of_work(used), &|usual| usual.then_some("default: measured on another host")),
        of(&[cores], &guessed),
        of(&LIMITS, &|usual| (!usual).then_some("scenario")),
        of(&[lan], &|_| Some("guess: a LAN")),
    ];
    all.concat()
}

fn guess(key: String, value: String, source: &str, knob: Knob) -> Guess {
    let source = source.to_owned();
    (GuessSummary { key, value, source, halved: None, doubled: None }, knob)
}

fn of_phones(used: Used) -> [Row; 11] {
    let Used { tftp, http, tvs, names, registration, .. } = used;
    let rate = Knob::Rate(|plan| Some(&mut plan.topology.registrar.as_mut()?.rate_per_node));
    let monitor = Knob::Length(|plan| Some(&mut plan.phone.registration.monitor));
    let retry = Knob::Length(|plan| Some(&mut plan.phone.registration.retry));
    let negative_ttl = Knob::Length(|plan| Some(&mut plan.phone.dns_negative_ttl));
    [
        (true, "phone.think", Knob::Length(|plan| Some(&mut plan.phone.think))),
        (tftp, "phone.tftp-timeout", Knob::Length(|plan| Some(&mut plan.phone.tftp_timeout))),
        (http, "phone.http-timeout", Knob::Length(|plan| Some(&mut plan.phone.http_timeout))),
        (tvs, "phone.tvs-timeout", Knob::Length(|plan| Some(&mut plan.phone.tvs_timeout))),
        (names, "phone.dns-negative-ttl", negative_ttl),
        (true, "phone.boot-time", Knob::Length(|plan| plan.phone.boot_time.fixed_mut())),
        (tftp, "phone.tftp-tries", Knob::Tries),
        (tftp, "phone.tftp-block-size", Knob::BlockSize),
        (registration, "registration.rate-per-node", rate),
        (registration, "registration.monitor", monitor),
        (registration, "registration.retry", retry),
    ]
}

/// What the profiles of phone models say, as far as this plan asks them.
fn of_families(plan: &mut Plan, used: Used) -> Vec<Guess> {
    let models = plan.fleet.models.iter();
    let numbers: BTreeSet<usize> = models.map(|&(model, _)| family_index(model)).collect();
    let mut guesses = Vec::new();
    for number in numbers {
        let family = &families()[number];
        let (boot, block) = (&family.boot.source, &family.tftp_block.source);
        for (is_used, value, name, source) in [
            (true, FamilyValue::BootMedian, "boot median", boot),
            (true, FamilyValue::BootSigma, "boot sigma", boot),
            (used.tftp, FamilyValue::TftpBlock, "tftp-block", block),
        ] {
            let knob = Knob::Family(number, value);
            let key = format!("profile {}: {name}", family.models);
            let text = knob.value(plan).filter(|_| is_used);
            guesses.extend(text.map(|text| guess(key, text, source, knob)));
        }
    }
    guesses
}

/// Costs of work, which are guesses where nobody has calibrated them.
fn of_work(used: Used) -> [Row; 6] {
    let Used { tftp, http, tls, signatures, .. } = used;
    let cost = Knob::Length;
    [
        (signatures, "cluster.cost.sign", cost(|plan| Some(&mut plan.cost.sign))),
        (tls, "cluster.cost.handshake", cost(|plan| Some(&mut plan.cost.handshake))),
        (tftp, "cluster.cost.tftp-request", cost(|plan| Some(&mut plan.cost.tftp_request))),
        (tftp, "cluster.cost.tftp-block", cost(|plan| Some(&mut plan.cost.tftp_block))),
        (http, "cluster.cost.http-connection", cost(|plan| Some(&mut plan.cost.http_connection))),
        (http, "cluster.cost.http-request", cost(|plan| Some(&mut plan.cost.http_request))),
    ]
}

/// Limits that are none unless somebody puts them in.
const LIMITS: [Row; 5] = [
    (true, "cluster.cost.build-time", Knob::Length(|plan| Some(&mut plan.cost.build_time))),
    (true, "cluster.cost.serving-count", Knob::Count(|plan| &mut plan.cost.serving_count)),
    (true, "cluster.cost.tvs-connections", Knob::Count(|plan| &mut plan.cost.tvs_connections)),
    (
        true,
        "cluster.cost.resets-per-second",
        Knob::Rate(|plan| Some(&mut plan.cost.resets_per_second)),
    ),
    (
        true,
        "cluster.cost.registrations-per-second",
        Knob::Rate(|plan| Some(&mut plan.cost.registrations_per_second)),
    ),
];

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
        let digest = run.digest.clone();
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
