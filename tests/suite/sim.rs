//! Virtual time: the same digest again and again, what stands for many phones changes nothing, and
//! what links, limits and paces do.

use std::path::Path;

use resetstorm::base::{ClusterId, PhoneId, Span};
use resetstorm::cluster::operator::phones::MovePhones;
use resetstorm::cluster::operator::services::Services;
use resetstorm::cluster::{Contents, ServiceKind};
use resetstorm::measure::{PhoneRecord, Summary, known_paths};
use resetstorm::scenario::{CostModel, Plan, TimelineEntry, Trigger, load};
use resetstorm::sim::{SimOptions, SimRun, World};

fn plan(name: &str, overrides: &[&str]) -> Plan {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
    load(&path, &text, &overrides, &known_paths()).unwrap_or_else(|error| panic!("{error}"))
}

fn run(plan: &Plan) -> SimRun {
    World::new(plan, SimOptions::default()).run()
}

fn summary(name: &str, overrides: &[&str]) -> Summary {
    let plan = plan(name, overrides);
    run(&plan).summary(&plan)
}

/// Name, the first half of the digest and the number of draws of each shipped scenario with 300 phones.
/// A change here is a change of behaviour: say in the commit which one.
const GOLDEN: [(&str, &str, u64); 12] = [
    ("callmanager-and-tvs.toml", "c37b2b38958edc21906daf7631e74761", 300),
    ("callmanager-regen.toml", "3832e21750d06324ac59a3395c08fcbf", 300),
    ("dns-record-missing.toml", "9b71e4ad3c49030005683d671d34a71b", 600),
    ("https-provisioning.toml", "b9445122127bddd7877b5bdc1dad6b38", 600),
    ("mixed-fleet.toml", "837e4fc6cd50fb7d3ba29e9b91e7fd37", 600),
    ("rename-all-three.toml", "6d2a5ea8f93753d14191924ed621fd5c", 300),
    ("rename-one-of-three.toml", "41d63978e1776bedd859da3c77ce2a72", 300),
    ("sign-cache.toml", "4494ba5ac4a1b77dee1aef70cc5a0f44", 300),
    ("single-member-group.toml", "aafc98b7982941d359d2c0f334632bea", 300),
    ("storm-all-at-once.toml", "be3357bdf78056d3309c0deae2bd3b88", 300),
    ("tvs-regen.toml", "7b07a4cc39bc9f004a8422e6e2ae37f0", 300),
    ("whole-cluster.toml", "e817a04d6486e38a11cc16b6dd66b581", 300),
];

#[test]
fn the_digests_of_the_shipped_scenarios_stay() {
    let seen: Vec<(&str, String, u64)> = GOLDEN
        .iter()
        .map(|&(name, _, _)| {
            let run = run(&plan(name, &["fleet.phones=300"]));
            (name, run.digest[..32].to_owned(), run.draws)
        })
        .collect();
    let expected: Vec<(&str, String, u64)> =
        GOLDEN.iter().map(|&(name, digest, draws)| (name, digest.to_owned(), draws)).collect();
    assert_eq!(seen, expected);
}

#[test]
fn one_configuration_for_many_changes_no_fact_and_no_count() {
    for (name, _, _) in GOLDEN {
        let plan = plan(name, &["fleet.phones=120", "fleet.models={8841=0.5,7962=0.5}"]);
        let of_each = SimOptions { contents: Contents::OfEachPhone, ..SimOptions::default() };
        let (one, each) = (run(&plan), World::new(&plan, of_each).run());
        assert_eq!((&one.digest, one.draws), (&each.digest, each.draws));
        let (one, each) = (one.summary(&plan).to_json(), each.summary(&plan).to_json());
        assert_eq!(one, each, "{name}");
    }
}

/// Three orders of an operator's steps that end alike for every phone.
#[test]
fn three_orders_of_steps_have_three_digests() {
    let regenerate = |what: &str| {
        format!("{{when='fleet-settled', regenerate={{certificate='{what}', node='pub'}}}}")
    };
    let restart =
        |what: &str| format!("{{after='previous', restart={{service='{what}', node='pub'}}}}");
    let reset = "{when='fleet-settled', reset-phones={spread='5s'}}".to_owned();
    let orders = [
        vec![regenerate("CallManager"), restart("tftp"), reset.clone()],
        vec![regenerate("CallManager"), restart("tftp"), restart("tftp"), reset.clone()],
        vec![regenerate("CAPF"), regenerate("CallManager"), restart("tftp"), reset.clone()],
        vec![restart("tvs"), regenerate("CallManager"), restart("tftp"), reset.clone()]
            .into_iter()
            .map(|step| step.replacen("after='previous'", "at='0s'", 1))
            .collect(),
    ];
    let runs: Vec<SimRun> = orders
        .iter()
        .map(|steps| {
            let set = format!("event=[{}]", steps.join(","));
            run(&plan("callmanager-regen.toml", &["fleet.phones=40", "slo=[]", &set]))
        })
        .collect();
    assert!(runs.iter().all(|run| run.ledger.tallies().ready == 40));
    let mut digests: Vec<_> = runs.iter().map(|run| run.digest.as_str()).collect();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), orders.len());
}

/// Nobody is reset, so that only what the cluster serves tells the worlds apart.
#[test]
fn the_digest_sees_what_is_served() {
    let digest = |more: &[&str]| {
        let all = [&["fleet.phones=5", "event=[]", "slo=[]"], more].concat();
        run(&plan("callmanager-regen.toml", &all)).digest
    };
    let plain = digest(&[]);
    assert_eq!(plain, digest(&["phone.think=3s"]), "what nobody does is not in it");
    for other in ["cluster.release=12.5", "cluster.key-bits=4096", "cluster.domain=cucm.example"] {
        assert_ne!(plain, digest(&[other]), "{other}");
    }
}

#[test]
fn one_more_draw_for_one_phone_moves_no_other_phone() {
    // Another fleet around the first 100 phones: their own times stay what they were.
    let jitter =
        "fleet.site=[{name=\"wan\",share=1.0,link={rtt=\"38ms\",jitter=\"9ms\",loss=\"1%\"}}]";
    let free =
        "cluster.cost={ tftp-request=\"0s\", tftp-block=\"0s\", sign=\"0s\", handshake=\"0s\" }";
    let times = |phones: &str| {
        let run = run(&plan("callmanager-regen.toml", &[phones, jitter, free, "slo=[]"]));
        run.ledger.phones()[..100].iter().map(PhoneRecord::ready).collect::<Vec<_>>()
    };
    assert_eq!(times("fleet.phones=100"), times("fleet.phones=250"));
}

#[test]
fn threads_beside_it_change_nothing() {
    let plan = plan("mixed-fleet.toml", &["fleet.phones=200"]);
    let alone = run(&plan).digest;
    let digests: Vec<_> = std::thread::scope(|scope| {
        let worlds: Vec<_> = (0..4).map(|_| scope.spawn(|| run(&plan).digest)).collect();
        worlds.into_iter().map(|world| world.join().unwrap()).collect()
    });
    assert!(digests.iter().all(|digest| *digest == alone));
}

#[test]
fn a_long_way_makes_boots_long_and_changes_no_count() {
    let far = "fleet.site=[{name=\"wan\",share=1.0,link={rtt=\"80ms\"}}]";
    let near = summary("callmanager-regen.toml", &["fleet.phones=100"]);
    let far = summary("callmanager-regen.toml", &["fleet.phones=100", far]);
    assert_eq!(far.verdict.name(), "pass");
    let median = |summary: &Summary| summary.boot_time_s.p50.unwrap();
    // CTL, 6 blocks of the list, 3 round trips to TVS, 15 blocks of the configuration.
    assert!(median(&far) > 1.6 && median(&near) < 0.1, "{} {}", median(&far), median(&near));
    assert_eq!(far.trust.lists.accepted_by_tvs, near.trust.lists.accepted_by_tvs);
}

#[test]
fn lost_datagrams_are_sent_again_and_nobody_is_lost() {
    let lossy =
        "fleet.site=[{name=\"wan\",share=1.0,link={rtt=\"20ms\",jitter=\"4ms\",loss=\"1%\"}}]";
    for name in ["callmanager-regen.toml", "mixed-fleet.toml"] {
        let summary = summary(name, &["fleet.phones=400", lossy, "phone.transport=model"]);
        assert_eq!((summary.phones.ready, summary.phones.failed), (400, 0), "{name}");
        assert!(summary.tftp.retransmits > 0, "{name}: {:?}", summary.tftp);
    }
}

#[test]
fn a_slow_link_is_shared_by_its_phones() {
    let slow = "fleet.site=[{name=\"wan\",share=1.0,link={rtt=\"20ms\",down=\"1Mbit/s\"}}]";
    let summary = summary("storm-all-at-once.toml", &["fleet.phones=100", slow]);
    assert_eq!(summary.phones.ready, 100);
    // 100 lists and configurations of about 11 kB are 9 Mbit.
    let last = summary.fleet_ready_s.last.unwrap();
    assert!((7.0..14.0).contains(&last), "{last}");
}

#[test]
fn a_site_whose_dns_fails_now_and_then_loses_some_phones_and_a_round_trip() {
    let site = |failure: &str| {
        format!(
            "fleet.site=[{{name=\"wan\",share=1.0,link={{rtt=\"80ms\",dns-failure=\"{failure}\"}}}}]"
        )
    };
    let named = ["fleet.phones=400", "cluster.domain=\"cucm.example\"", "slo=[]"];
    let played = |more: &[&str]| summary("callmanager-regen.toml", &[&named[..], more].concat());
    let calm = played(&[&site("0%")]);
    assert_eq!((calm.phones.ready, calm.tvs.unresolved), (400, 0));
    // The list fails with one query of ten, and then the configuration asks once more: its answer
    // vouches for the signer, but the list is the old one.
    let bad = played(&[&site("10%")]);
    assert!((20..70).contains(&bad.phones.failed), "{:?}", bad.phones);
    assert!(bad.tvs.unresolved >= bad.phones.failed && bad.phones.stuck == 0, "{:?}", bad.tvs);
    let by_address =
        summary("callmanager-regen.toml", &["fleet.phones=400", "slo=[]", &site("10%")]);
    assert_eq!((by_address.phones.ready, by_address.tvs.unresolved), (400, 0));
    let median = |summary: &Summary| summary.boot_time_s.p50.unwrap();
    let longer = median(&calm) - median(&by_address);
    assert!((0.079..0.082).contains(&longer), "one round trip to the DNS: {longer}");
}

#[test]
fn a_full_server_answers_503_and_drops_datagrams() {
    let full = "cluster.cost.serving-count=3";
    let http = ["fleet.phones=60", "phone.transport=http", full, "slo=[]", "seed=3"];
    let storm = ["event.reset-1.reset-phones.spread=0s"];
    let summary_http = summary("mixed-fleet.toml", &[&http[..], &storm].concat());
    assert!(summary_http.http.errors > 0 && summary_http.http.fallbacks > 0);
    let tftp = ["fleet.phones=60", full, "slo=[]"];
    let dropped = summary("storm-all-at-once.toml", &tftp);
    assert!(dropped.tftp.retransmits > 60, "{:?}", dropped.tftp);
    assert_eq!(dropped.phones.ready + dropped.phones.failed, 60);
}

#[test]
fn resets_leave_at_the_pace_of_the_node_and_registrations_follow_it() {
    let paced = ["fleet.phones=200", "cluster.cost.resets-per-second=20.0"];
    let summary_paced = summary("storm-all-at-once.toml", &paced);
    let last = summary_paced.fleet_ready_s.last.unwrap();
    assert!((9.9..11.0).contains(&last), "{last}");
    let step = ["fleet.phones=200", "cluster.cost.registrations-per-second=10.0"];
    let registered = summary("storm-all-at-once.toml", &step);
    assert_eq!(registered.phones.ready, 200);
    let facts = registered.sim.unwrap();
    let last = facts.registered_s.last.unwrap();
    assert!((19.9..21.0).contains(&last), "{last}");
    assert!(
        facts
            .guesses
            .iter()
            .any(|guess| guess.key.ends_with("registrations-per-second") && guess.value == "10.0")
    );
}

#[test]
fn files_that_are_not_built_yet_are_waited_for() {
    let build = ["fleet.phones=50", "cluster.cost.build-time=6s"];
    let summary = summary("storm-all-at-once.toml", &build);
    assert_eq!(summary.phones.ready, 50);
    assert!(summary.tftp.retransmits >= 100, "two tries of each: {:?}", summary.tftp);
    assert!(summary.fleet_ready_s.p50.unwrap() >= 6.0);
}

#[test]
fn a_machine_with_less_cores_is_later_by_its_work() {
    let costs = |cores: u32| format!("cluster.cost={{ cores={cores}, handshake=\"100ms\" }}");
    let last = |cores: u32| {
        let overrides = ["fleet.phones=200".to_owned(), costs(cores)];
        let overrides: Vec<&str> = overrides.iter().map(String::as_str).collect();
        let summary = summary("storm-all-at-once.toml", &overrides);
        assert_eq!(summary.phones.ready, 200);
        summary.fleet_ready_s.last.unwrap()
    };
    // 200 handshakes of 100 ms on 4 and on 8 cores; nobody's 10 s are over.
    let (four, eight) = (last(4), last(8));
    assert!((4.9..5.6).contains(&four) && (2.4..2.9).contains(&eight), "{four} {eight}");
}

#[test]
fn a_server_that_stops_in_the_middle_leaves_nobody_waiting_for_ever() {
    let text = std::fs::read_to_string("scenarios/storm-all-at-once.toml").unwrap();
    let stop = "[[event]]\nafter = \"previous\"\ndelay = \"40ms\"\n\
                stop = { service = \"tftp\", node = \"pub\", for = \"3s\" }\n[[slo]]";
    let scenario = text.replacen("[[slo]]", stop, 1);
    let link = "fleet.site=[{name=\"wan\",share=1.0,link={rtt=\"10ms\",jitter=\"5ms\"}}]";
    let overrides = ["fleet.phones=100".to_owned(), "slo=[]".to_owned(), link.to_owned()];
    let plan = load(Path::new("x.toml"), &scenario, &overrides, &known_paths()).unwrap();
    let run = run(&plan);
    let summary = run.summary(&plan);
    assert_eq!(summary.phones.ready + summary.phones.failed, 100);
    assert!(summary.phones.failed > 0, "transfers in flight were cut off");
    assert_eq!(run.ledger.counts().unexpected, 0);
}

#[test]
fn phones_that_are_moved_in_the_middle_of_a_boot_end_it_where_they_began_it() {
    let link = "fleet.site=[{name=\"wan\",share=1.0,link={rtt=\"10ms\",jitter=\"5ms\"}}]";
    let overrides = ["fleet.phones=100", "slo=[]", "event.5.reset-phones.spread='0s'", link];
    let still = plan("https-provisioning.toml", &overrides);
    let (one, two) = (ClusterId::FIRST.node(0), ClusterId::FIRST.node(1));
    let reset = still.timeline.last().unwrap();
    let does = |name: &str, trigger, action| TimelineEntry {
        name: name.to_owned(),
        trigger,
        action,
        then: None,
        typed: None,
    };
    let mid_boot = Trigger::AfterPrevious { delay: Span::from_millis(40) };
    let (phones, to) = ((0..100).step_by(2).map(PhoneId).collect(), [two].into());
    let mut moved = still.clone();
    moved.timeline.push(does("move", mid_boot, MovePhones { phones, to }.into()));
    let twice = [
        &moved.timeline[..],
        &[
            does(
                "stop",
                Trigger::FleetSettled,
                Services::stop(one, Some(ServiceKind::Tftp)).into(),
            ),
            TimelineEntry { name: "again".to_owned(), ..reset.clone() },
        ],
    ]
    .concat();
    let (still, only_moved) = (run(&still), run(&moved));
    let twice = run(&Plan { timeline: twice, ..moved });
    assert_eq!(still.facts.known.serve, only_moved.facts.known.serve, "asked where they were");
    let ready = |run: &SimRun| run.ledger.tallies().ready;
    assert_eq!([ready(&still), ready(&only_moved), ready(&twice)], [100, 50, 100]);
    assert_eq!(twice.ledger.counts().unexpected, 0);
}

#[test]
fn the_calibration_of_the_reference_machine_can_be_used() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/calibration/loopback-2core.toml");
    let cost = CostModel::from_toml(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(cost.shared_host && cost.cores == 2);
    let mut plan = plan("mixed-fleet.toml", &["fleet.phones=200"]);
    plan.cost = cost;
    let summary = run(&plan).summary(&plan);
    assert_eq!(summary.verdict.name(), "pass");
    // A signature, a handshake and the files of 200 phones: some milliseconds each.
    let seconds = summary.cpu_s.serve.unwrap();
    assert!((0.2..2.0).contains(&seconds), "{seconds}");
    assert!(summary.cpu_s.swarm.unwrap() > 0.02);
}

#[test]
fn one_host_for_all_has_no_wire_and_few_places_and_counts_stay() {
    let host = ["fleet.phones=60", "cluster.cost.shared-host=true"];
    let run = |name: &str, more: &[&str]| summary(name, &[&host[..], more].concat());
    let step = |summary: &Summary, name: &str| {
        let found = summary.steps.iter().find(|step| step.step == name).unwrap();
        (found.service_time_s.p50.unwrap(), found.response_time_s.p50.unwrap())
    };
    let many = run("storm-all-at-once.toml", &[]);
    let few = run("storm-all-at-once.toml", &["run.lookups-in-flight=1"]);
    assert_eq!((many.phones.ready, few.phones.ready), (60, 60));
    assert_eq!((many.tvs.lookups, few.tvs.lookups), (60, 60));
    let (service, response) = step(&few, "tvs");
    assert!(service < step(&many, "tvs").0 / 2.0, "alone at the server: {service}");
    assert!(response > 10.0 * service, "those before it are waited for: {response}");

    let http = ["phone.transport=http", "event.reset-1.reset-phones.spread=0s"];
    let few = ["run.connections-in-flight=1"];
    let many = run("mixed-fleet.toml", &http);
    let few = run("mixed-fleet.toml", &[&http[..], &few].concat());
    assert_eq!((many.http.requests, many.http.connections), (few.http.requests, 120));
    assert_eq!((few.phones.ready, few.http.connections, few.http.errors), (60, 120, 0));
    assert!(few.fleet_ready_s.p50 > many.fleet_ready_s.p50, "one after the other");

    let wire = summary("callmanager-regen.toml", &["fleet.phones=20"]);
    let none = summary("callmanager-regen.toml", &["fleet.phones=20", host[1]]);
    let (with, without) = (wire.boot_time_s.p50.unwrap(), none.boot_time_s.p50.unwrap());
    assert!((with - without - 0.015).abs() < 0.001, "30 round trips: {with} against {without}");
}

#[test]
fn a_busy_machine_takes_longer_and_works_as_much() {
    let busy = |share: &str| {
        let share = format!("cluster.cost.available={share}");
        summary("storm-all-at-once.toml", &["fleet.phones=200", "cluster.cost.cores=1", &share])
    };
    let (free, half) = (busy("1.0"), busy("0.5"));
    assert_eq!(free.cpu_s.serve, half.cpu_s.serve);
    let (alone, shared) = (free.fleet_ready_s.p99.unwrap(), half.fleet_ready_s.p99.unwrap());
    assert!((shared / alone - 2.0).abs() < 0.1, "{alone} against {shared}");
}

#[test]
fn an_idle_core_makes_work_dearer_and_a_busy_one_does_not() {
    let cost = |spread: &str, share: &str| {
        let overrides = [
            "fleet.phones=200".to_owned(),
            format!("event.reset-1.reset-phones.spread={spread}"),
            format!("cluster.cost.idle-keys={share}"),
            format!("cluster.cost.idle-packets={share}"),
        ];
        let overrides: Vec<&str> = overrides.iter().map(String::as_str).collect();
        summary("callmanager-regen.toml", &overrides).cpu_s.serve.unwrap()
    };
    let calm = cost("100s", "0.5") / cost("100s", "0.0");
    assert!((calm - 1.5).abs() < 0.01, "every job finds a core idle: {calm}");
    let storm = cost("0s", "0.5") / cost("0s", "0.0");
    assert!((1.0..1.2).contains(&storm), "hardly any does: {storm}");
}
