//! Files that phones fetch, on real loopback sockets and in virtual time: the same counts.

use std::path::Path;

use resetstorm::base::{PhoneId, Time};
use resetstorm::cluster::Contents;
use resetstorm::forecast::Budget;
use resetstorm::live::{self, LiveOptions, Observer};
use resetstorm::measure::{Ledger, Summary, known_paths};
use resetstorm::scenario::{FleetPlan, FleetStart, Plan, load};
use resetstorm::sim::{SimOptions, World};
use serde_json::Value;

const PHONES: u64 = 40;
/// The operator at once, ports from the operating system.
const SHORT: [&str; 3] = [
    "fleet.phones=40",
    "event.reset-1.reset-phones.spread=1s",
    "cluster.node.pub.ports={ tftp = 0, tvs = 0 }",
];

struct Silent;

impl Observer for Silent {
    fn started(&mut self, _: &[String]) {}
    fn tick(&mut self, _: &Ledger, _: Time) {}
    fn operator(&mut self, _: &str, _: Time) {}
}

fn plan(name: &str, overrides: &[&str]) -> Plan {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("scenarios/{name}.toml"));
    let text = std::fs::read_to_string(&path).unwrap();
    let all: Vec<String> = SHORT.iter().chain(overrides).map(ToString::to_string).collect();
    load(&path, &text, &all, &known_paths()).unwrap()
}

/// The same with one more step of the operator before the reset.
fn plan_with(name: &str, step: &str, overrides: &[&str]) -> Plan {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("scenarios/{name}.toml"));
    let text = std::fs::read_to_string(&path).unwrap();
    let at = text.find("[[event]]\nafter        = \"previous\"\nreset-phones").unwrap();
    let text = format!("{}[[event]]\nafter = \"previous\"\n{step}\n{}", &text[..at], &text[at..]);
    let all: Vec<String> = SHORT.iter().chain(overrides).map(ToString::to_string).collect();
    load(&path, &text, &all, &known_paths()).unwrap()
}

/// Every count that does not depend on time or on the digits of ports.
fn counts(summary: &Summary) -> Vec<(String, Value)> {
    let whole = summary.to_json();
    let part = |part: &str| (part.to_owned(), whole[part].clone());
    let mut found: Vec<_> = ["phones", "config", "firmware", "tvs", "trust"].map(part).into();
    for (part, name) in [
        ("signatures", "made"),
        ("signatures", "verified"),
        ("signatures", "cache_hits"),
        ("tftp", "transfers"),
        ("tftp", "not_found"),
        ("tftp", "errors"),
    ] {
        found.push((format!("{part}.{name}"), whole[part][name].clone()));
    }
    for step in whole["steps"].as_array().unwrap() {
        for name in ["count", "ok", "not_found", "stuck", "failed"] {
            found.push((format!("steps.{}.{name}", step["step"]), step[name].clone()));
        }
    }
    found
}

/// Plays a scenario both ways and holds them equal; what came of it.
async fn both(plan: &Plan) -> Summary {
    let live = Box::pin(live::run(plan, &LiveOptions::default(), &mut Silent)).await.unwrap();
    assert_eq!(live.ledger.counts().unexpected, 0);
    let live = Summary::new(&live.ledger, live.facts, &[], live.finish);
    let sim = World::new(plan, SimOptions::default()).run();
    for ((path, live), (_, sim)) in counts(&live).into_iter().zip(counts(&sim.summary(plan))) {
        assert_eq!(live, sim, "{path}");
    }
    live
}

const FURTHER: &str = "phone.further-files=[\"ring-list\", \"locale\"]";

#[tokio::test(flavor = "multi_thread")]
async fn phones_fetch_ring_list_and_locale_signed_live_as_in_virtual_time() {
    let summary = both(&plan("callmanager-regen", &[FURTHER])).await;
    assert_eq!(summary.phones.ready, PHONES);
    assert_eq!(summary.trust.ring_lists.accepted_by_itl, PHONES);
    assert_eq!(summary.trust.locales.accepted_by_itl, PHONES);
    assert_eq!(summary.signatures.made, PHONES + 3, "one list, one locale, one ring list");
    assert_eq!(summary.tftp.transfers, 4 * PHONES);
}

#[tokio::test(flavor = "multi_thread")]
async fn stuck_phones_refuse_ring_list_and_locale_each_counted_by_its_kind() {
    let summary = both(&plan("callmanager-and-tvs", &[FURTHER])).await;
    assert_eq!((summary.phones.stuck, summary.phones.config_alarms), (PHONES, PHONES));
    assert_eq!(summary.trust.ring_lists.refused, PHONES);
    assert_eq!(summary.trust.locales.refused, PHONES);
    assert_eq!(summary.tvs.failed, 4 * PHONES, "each file is asked about");
}

const UPGRADE: &str = "upgrade-firmware = { load = \"sip88xx.14-3-1-0001-23\" }";

#[tokio::test(flavor = "multi_thread")]
async fn phones_that_accept_their_config_take_the_load_that_it_names() {
    let summary = both(&plan_with("callmanager-regen", UPGRADE, &[])).await;
    let firmware = summary.firmware;
    assert_eq!((firmware.taken, firmware.rolled_out, firmware.behind), (PHONES, PHONES, 0));
    assert_eq!(summary.phones.ready, PHONES);
    assert_eq!(summary.phones.config_frozen, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn stuck_phones_show_it_keep_their_config_and_take_no_load() {
    let summary = both(&plan_with("callmanager-and-tvs", UPGRADE, &[])).await;
    let (phones, firmware) = (&summary.phones, summary.firmware);
    assert_eq!((firmware.taken, firmware.rolled_out, firmware.behind), (0, 0, PHONES));
    assert_eq!(phones.stuck, PHONES);
    assert_eq!(phones.show_list_failed, PHONES);
    assert_eq!(phones.show_failed, PHONES);
    assert_eq!(phones.config_frozen, PHONES);
}

#[tokio::test(flavor = "multi_thread")]
async fn checksums_say_which_phones_hold_another_itl_than_their_tftp_serves() {
    let good = both(&plan("callmanager-regen", &[])).await;
    let [only] = &good.itls[..] else { panic!("{:?}", good.itls) };
    assert_eq!((only.phones, &only.served_by[..]), (PHONES, &["pub".to_owned()][..]));
    assert_eq!(only.checksum.as_ref().unwrap().len(), 32);
    assert_eq!(good.phones.counts.itl_mismatch, 0);
    let stuck = both(&plan("callmanager-and-tvs", &[])).await;
    assert_eq!(stuck.phones.counts.itl_mismatch, PHONES);
    let held = |served: bool| {
        let of = stuck.itls.iter().filter(|itl| itl.served_by.is_empty() != served);
        of.map(|itl| itl.phones).collect::<Vec<_>>()
    };
    assert_eq!((held(true), held(false)), (vec![0], vec![PHONES]));
}

/// A phone that has recovered shows nothing any more, while the alarms of the storm stay counted.
#[test]
fn symptoms_are_those_of_the_last_boot_and_alarms_of_all() {
    let again = "[[event]]\nwhen = \"fleet-settled\"\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/callmanager-and-tvs.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let end = text.find("# What must come out").unwrap();
    let erase = "erase-lists = { per-phone = \"1s\" }";
    let text = format!("{}{again}{erase}\n", &text[..end]);
    let plan = load(&path, &text, &["fleet.phones=20".to_owned()], &known_paths()).unwrap();
    let summary = World::new(&plan, SimOptions::default()).run().summary(&plan);
    assert_eq!((summary.phones.ready, summary.phones.list_alarms), (20, 20));
    assert_eq!((summary.phones.show_list_failed, summary.phones.show_failed), (0, 0));
    assert_eq!((summary.phones.config_frozen, summary.phones.counts.itl_mismatch), (0, 0));
}

/// Every phone has "TFTP Encrypted Config"; of so many the cluster knows an old certificate.
fn encrypted(stale: &str) -> String {
    format!(
        "cluster.phone-security-profile=[{{ name = \"secret\", share = 1.0, \
         encrypted-config = true, stale-keys = \"{stale}\" }}]"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn encrypted_configs_are_asked_for_by_their_name_and_read_with_the_phones_key() {
    let summary = both(&plan("callmanager-regen", &[&encrypted("0%")])).await;
    assert_eq!((summary.phones.ready, summary.config.unreadable), (PHONES, 0));
    assert_eq!(summary.trust.configs.accepted_by_itl, PHONES);
    assert_eq!(summary.signatures.made, PHONES + 1, "one for each config and one list");
    assert_eq!(summary.tftp.transfers, 2 * PHONES, "a phone that knows of it asks at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn phones_from_the_factory_learn_of_encryption_from_a_stub() {
    let new = ["fleet.start=factory", "event=[]"];
    let short = "fleet.arrival.within=1s";
    let text = std::fs::read_to_string("scenarios/callmanager-regen.toml").unwrap();
    let (encrypted, all) = (encrypted("0%"), SHORT);
    let overrides = [all[0], all[2], new[0], new[1], short, "slo=[]", &encrypted];
    let overrides = overrides.map(str::to_owned);
    let plan = load(Path::new("x.toml"), &text, &overrides, &known_paths()).unwrap();
    let summary = both(&plan).await;
    assert_eq!((summary.phones.ready, summary.tftp.transfers), (PHONES, 3 * PHONES));
    assert_eq!(summary.config.applied, PHONES, "a stub is no configuration");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_leaves_a_config_unreadable_whose_signature_is_right() {
    let summary = both(&plan("callmanager-regen", &[&encrypted("30%")])).await;
    let unreadable = summary.config.unreadable;
    assert!((4..25).contains(&unreadable), "{unreadable} of 40 drawn with 30 %");
    assert_eq!((summary.phones.ready, summary.phones.failed), (PHONES - unreadable, unreadable));
    assert_eq!(summary.phones.failures["encrypted for another key"], unreadable);
    assert_eq!((summary.trust.configs.refused, summary.phones.config_alarms), (0, 0));
    assert_eq!((summary.phones.config_frozen, summary.phones.show_failed), (unreadable, 0));
    assert_eq!(summary.signatures.verified, 2 * PHONES, "each signature was judged");
}

/// In virtual time one file stands for the phones of a group, model and key.
#[test]
fn encrypted_configs_of_many_phones_come_to_the_same_as_those_of_each() {
    for mode in ["off", "lazy", "prewarm"] {
        let cache = format!("cluster.sign-cache={mode}");
        let plan = plan("callmanager-regen", &[&encrypted("30%"), &cache]);
        let run = |contents| {
            let options = SimOptions { contents, ..SimOptions::default() };
            let run = World::new(&plan, options).run();
            (run.digest.clone(), counts(&run.summary(&plan)))
        };
        let (many, each) = (run(Contents::OfEachModel), run(Contents::OfEachPhone));
        assert_eq!(many, each, "{mode}");
    }
}

#[test]
fn profiles_are_for_the_share_of_phones_that_they_name() {
    let half = "cluster.phone-security-profile=[{ name = \"clear\", share = 0.5 }, \
                { name = \"secret\", share = 0.5, encrypted-config = true }]";
    let plan = plan("callmanager-regen", &[half, "fleet.phones=1000"]);
    let fleet = plan.fleet_spec();
    let encrypted = (0..1_000).filter(|&phone| fleet.encrypts_for(PhoneId(phone)).is_some());
    let encrypted = encrypted.count();
    assert!((430..570).contains(&encrypted), "{encrypted} of 1,000");
    let summary = World::new(&plan, SimOptions::default()).run().summary(&plan);
    assert_eq!((summary.phones.ready, summary.config.unreadable), (1_000, 0));
}

#[test]
fn the_documented_think_time_makes_three_fetches_of_about_a_second() {
    let plan = plan(
        "callmanager-and-tvs",
        &["phone.think=documented", "phone.ctl-generic=false", "event=[]", "slo=[]"],
    );
    let plan = Plan { fleet: FleetPlan { start: FleetStart::Factory, ..plan.fleet }, ..plan };
    let summary = World::new(&plan, SimOptions::default()).run().summary(&plan);
    assert_eq!(summary.phones.ready, PHONES);
    let last = summary.boot_time_s.max.unwrap();
    assert!((1.0..1.2).contains(&last), "{last} s");
}

#[test]
fn the_documented_pause_makes_a_question_to_tvs_take_0_4_s_on_the_phone() {
    let summary = |pause: &str| {
        let pause = format!("phone.tvs-think={pause}");
        let plan = plan("callmanager-regen", &[&pause, "slo=[]"]);
        World::new(&plan, SimOptions::default()).run().summary(&plan)
    };
    let (documented, none, own) = (summary("documented"), summary("0s"), summary("1s"));
    for summary in [&documented, &none, &own] {
        assert_eq!((summary.phones.ready, summary.tvs.lookups), (PHONES, PHONES));
    }
    let more = |than: &Summary| {
        let [with, without] = [&documented, than].map(|one| one.boot_time_s.p50.unwrap());
        with - without
    };
    let tvs = documented.steps.iter().find(|step| step.step == "tvs").unwrap();
    let whole = more(&none) + tvs.service_time_s.p50.unwrap();
    assert!((0.35..0.42).contains(&whole), "{whole} s from the pause to the answer");
    assert!((-0.66..-0.64).contains(&more(&own)), "one question for each phone");
}

#[test]
fn a_budget_knows_of_encryption_and_further_files() {
    for start in ["factory", "itl-current"] {
        let text = std::fs::read_to_string("scenarios/callmanager-regen.toml").unwrap();
        let mut overrides = vec![SHORT[0].to_owned(), format!("fleet.start={start}")];
        overrides.extend([FURTHER.to_owned(), encrypted("0%"), "slo=[]".to_owned()]);
        if start == "factory" {
            overrides.push("event=[]".to_owned());
        }
        let plan = load(Path::new("x.toml"), &text, &overrides, &known_paths()).unwrap();
        let wave = Budget::of(&plan).waves.remove(0);
        let tftp = World::new(&plan, SimOptions::default()).run().summary(&plan).tftp;
        assert_eq!((wave.requests, wave.transfers), (tftp.requests, tftp.transfers), "{start}");
        let error = wave.bytes as f64 / tftp.bytes as f64 - 1.0;
        assert!(error.abs() < 0.01, "{start}: {} against {}", wave.bytes, tftp.bytes);
    }
}
