//! Every shipped scenario on real loopback sockets, with ports from the operating system.

use std::path::Path;

use resetstorm::base::Time;
use resetstorm::live::{self, LiveOptions, LiveRun, Observer};
use resetstorm::measure::{Recorder, Summary, known_paths};
use resetstorm::scenario::{Plan, load};

struct Silent;

impl Observer for Silent {
    fn started(&mut self, _: &[String]) {}
    fn tick(&mut self, _: &Recorder, _: Time) {}
    fn operator(&mut self, _: &str, _: Time) {}
}

/// The plan of a shipped scenario with ports from the operating system and a short reset wave.
fn plan(name: &str, overrides: &[&str]) -> Plan {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    let mut all: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
    let first = load(&path, &text, &all, &known_paths()).unwrap();
    for node in 0..first.topology.nodes.len() {
        all.push(format!("cluster.node.{node}.ports={{ tftp = 0, tvs = 0, capf = 0 }}"));
    }
    if text.contains("spread = \"30s\"") {
        let at = first.timeline.len() - 1;
        all.push(format!("event.{at}.reset-phones.spread=1s"));
    }
    load(&path, &text, &all, &known_paths()).unwrap()
}

async fn run_with(plan: &Plan, options: &LiveOptions) -> (Summary, LiveRun) {
    let run = live::run(plan, options, &mut Silent).await.unwrap();
    let summary = Summary::new(&run.recorder, run.facts.clone(), &plan.slos, run.finish);
    (summary, run)
}

async fn expect_pass(name: &str) -> Summary {
    let plan = plan(name, &["fleet.phones=300"]);
    let (summary, run) = run_with(&plan, &LiveOptions::default()).await;
    assert_eq!(summary.verdict, "pass", "{name}: {:#}", summary.to_json());
    assert_eq!(summary.phones.total, 300);
    assert_eq!(run.recorder.counts.unexpected, 0, "{name}");
    summary
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn regenerated_call_manager_ends_in_its_counts() {
    let summary = expect_pass("callmanager-regen.toml").await;
    assert_eq!(summary.trust.lists.accepted_by_tvs, 300);
    assert_eq!(summary.trust.configs.accepted_by_itl, 300);
    assert_eq!((summary.signatures.made, summary.signatures.cache_hits), (301, 299));
    assert_eq!(summary.signatures.verified, 600);
    assert_eq!((summary.tftp.transfers, summary.tftp.not_found), (900, 300));
    assert_eq!((summary.serve.tftp_requests, summary.serve.tvs_answers), (900, 300));
    assert!(summary.cpu_s.serve.is_some_and(|seconds| seconds > 0.0));
    assert!(summary.cpu_s.swarm.is_some_and(|seconds| seconds > 0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn regenerated_tvs_needs_no_lookup() {
    let summary = expect_pass("tvs-regen.toml").await;
    assert_eq!(summary.trust.lists.accepted_by_itl, 300);
    assert_eq!(summary.serve.tvs_handshakes_ok, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_manager_and_tvs_together_leave_every_phone_stuck() {
    let summary = expect_pass("callmanager-and-tvs.toml").await;
    assert_eq!(summary.phones.stuck, 300);
    assert_eq!((summary.phones.list_alarms, summary.phones.config_alarms), (300, 300));
    assert_eq!((summary.tvs.failed, summary.serve.tvs_handshakes_ok), (600, 0));
    assert_eq!(summary.serve.tvs_handshakes_failed, 600, "the server sees each refusal");
    assert_eq!(summary.config.applied, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_renamed_node_of_three_costs_a_failover_per_phone() {
    let summary = expect_pass("rename-one-of-three.toml").await;
    assert_eq!((summary.tvs.failovers, summary.tvs.lookups), (300, 300));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_renamed_together_leave_every_phone_stuck() {
    let summary = expect_pass("rename-all-three.toml").await;
    assert_eq!((summary.phones.stuck, summary.tvs.lookups), (300, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_member_groups_are_stuck_and_nobody_else() {
    let summary = expect_pass("single-member-group.toml").await;
    assert_eq!((summary.phones.stuck, summary.phones.ready), (30, 270));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_phones_at_once_end_in_the_same_counts() {
    let summary = expect_pass("storm-all-at-once.toml").await;
    assert_eq!(summary.trust.lists.accepted_by_tvs, 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_scenario_of_the_sign_cache_ends_in_its_counts() {
    let summary = expect_pass("sign-cache.toml").await;
    assert_eq!((summary.signatures.made, summary.signatures.cache_hits), (301, 299));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_and_virtual_time_agree_on_every_count() {
    use resetstorm::measure::{Finish, RunFacts};
    use resetstorm::sim::{Delays, World};
    for name in ["rename-one-of-three.toml", "single-member-group.toml"] {
        let plan = plan(name, &["fleet.phones=100"]);
        let (live, _) = run_with(&plan, &LiveOptions::default()).await;
        let run = World::new(&plan, Delays::default()).run();
        let facts = RunFacts::default();
        let sim = Summary::new(&run.recorder, facts, &plan.slos, Finish::Complete);
        let (live, sim) = (live.to_json(), sim.to_json());
        for part in ["phones", "config", "tvs", "trust"] {
            assert_eq!(live[part], sim[part], "{name}: {part}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_tftp_service_is_refused_by_the_host_and_the_phones_fail() {
    let text = std::fs::read_to_string("scenarios/callmanager-regen.toml").unwrap();
    let stop = "[[event]]\nafter = \"previous\"\nstop = { service = \"tftp\", node = \"pub\" }\n";
    let at = text.rfind("[[event]]").unwrap();
    let scenario = format!("{}{stop}{}", &text[..at], &text[at..]).replace("30s", "0s");
    let overrides = [
        "fleet.phones=20".to_owned(),
        "cluster.node.0.ports={ tftp = 0, tvs = 0, capf = 0 }".to_owned(),
    ];
    let plan = load(Path::new("x.toml"), &scenario, &overrides, &known_paths()).unwrap();
    let (summary, _) = run_with(&plan, &LiveOptions::default()).await;
    assert_eq!((summary.phones.failed, summary.tftp.errors), (20, 60));
    assert!(summary.phones.failures.keys().all(|why| why.contains("nobody listens")));
    assert_eq!(summary.verdict, "fail");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prewarmed_signatures_are_made_before_the_reset() {
    let plan = plan("callmanager-regen.toml", &["fleet.phones=60", "cluster.sign-cache=prewarm"]);
    let (summary, _) = run_with(&plan, &LiveOptions::default()).await;
    assert_eq!(summary.verdict, "pass");
    assert_eq!((summary.signatures.made, summary.signatures.cache_hits), (0, 120));
    assert_eq!(summary.signatures.made_before, 122, "two generations of list and configs");
}
