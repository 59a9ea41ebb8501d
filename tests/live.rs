//! Every shipped scenario on real loopback sockets, with ports from the operating system.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use resetstorm::base::{ClusterId, PhoneId, Span, Time};
use resetstorm::cluster::operator::certificates::Regenerate;
use resetstorm::cluster::operator::lsc::{LscPace, RollOutLsc};
use resetstorm::cluster::operator::parameters::SetParameter;
use resetstorm::cluster::operator::phones::{EraseLists, MovePhones, ResetPhones, Visits};
use resetstorm::cluster::operator::services::Services;
use resetstorm::cluster::{
    CertificateKind, Cluster, FleetSpec, Genesis, OperatorAction, ServiceKind,
};
use resetstorm::crypto::KeySource;
use resetstorm::live::{self, LiveOptions, LiveRun, Observer, Wish};
use resetstorm::measure::{Ledger, StepKind, Summary, known_paths};
use resetstorm::net::Clock;
use resetstorm::net::fleet::phone_address;
use resetstorm::phone::{
    BlockSizeRule, FamilyValue, Message, Outcome, Trust, TrustList, TrustLists, TvsFault, Varied,
    family_index,
};
use resetstorm::scenario::{Plan, TimelineEntry, Trigger, load};
use resetstorm::serve::{Bound, ServeSettings, Servers};
use resetstorm::sim::{SimOptions, World};
use resetstorm::swarm::{DialogueClient, DialogueJob, DialogueLimits, Fault, Ticket, Turn};
use resetstorm::toolbox::fetch;
use resetstorm::transfer::DownloadRequest;
use resetstorm::wire::tftp::Options;
use resetstorm::wire::tvs::{Question, Request, Response};
use resetstorm::wire::{Dialogue, ROLE_TVS, SignedFile};

struct Silent;

/// A question to TVS of a phone with these lists.
fn message(server: SocketAddr, request: &[u8], lists: &TrustLists) -> Message {
    let trust = Trust { lists: lists.clone(), roles: &[ROLE_TVS], date_s: None };
    let bytes = request.to_vec();
    Message { dialogue: Dialogue::Tvs, server, bytes, trust, shows: None, stays: false }
}

impl Observer for Silent {
    fn started(&mut self, _: &[String]) {}
    fn tick(&mut self, _: &Ledger, _: Time) {}
    fn operator(&mut self, _: &str, _: Time) {}
}

/// The plan of a shipped scenario with ports from the operating system and a short reset wave.
fn plan(name: &str, overrides: &[&str]) -> Plan {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    let mut all: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
    let first = load(&path, &text, &all, &known_paths()).unwrap();
    for node in 0..first.topology.nodes.len() {
        let ports = first.topology.nodes[node].ports;
        let http = ports.http.map_or("", |_| ", http = 0");
        let https = ports.https.map_or("", |_| ", https = 0");
        let any = format!("{{ tftp = 0, tvs = 0, capf = 0{http}{https} }}");
        all.push(format!("cluster.node.{}.ports={any}", node + 1));
    }
    let mut plan = load(&path, &text, &all, &known_paths()).unwrap();
    for entry in &mut plan.timeline {
        if let Some(faster) = faster(&entry.action) {
            entry.action = faster;
        }
    }
    plan
}

/// The same action, in less time than people would take.
fn faster(action: &OperatorAction) -> Option<OperatorAction> {
    let second = Span::from_secs(1);
    if let Some(&ResetPhones { spread }) = action.get() {
        return (spread > second).then(|| ResetPhones { spread: second }.into());
    }
    if let Some(&SetParameter { parameter, .. }) = action.get() {
        return Some(SetParameter { parameter, spread: second }.into());
    }
    if let Some(roll_out) = action.get::<RollOutLsc>() {
        let pace = roll_out.pace.map(|pace| LscPace { every: second, ..pace });
        return Some(RollOutLsc { pace, ..roll_out.clone() }.into());
    }
    let EraseLists { visits } = *action.get()?;
    let (per_phone, per_restricted) = (Span::from_millis(20), Span::from_millis(60));
    Some(EraseLists { visits: Visits { per_phone, per_restricted, ..visits } }.into())
}

async fn run_with(plan: &Plan, options: &LiveOptions) -> (Summary, LiveRun) {
    let run = Box::pin(live::run(plan, options, &mut Silent)).await.unwrap();
    let summary = Summary::new(&run.ledger, run.facts.clone(), &plan.slos, run.finish);
    (summary, run)
}

async fn expect_pass(name: &str) -> Summary {
    let plan = plan(name, &["fleet.phones=300"]);
    let (summary, run) = run_with(&plan, &LiveOptions::default()).await;
    assert_eq!(summary.verdict.name(), "pass", "{name}: {:#}", summary.to_json());
    assert_eq!(summary.phones.total, 300);
    assert_eq!(run.ledger.counts().unexpected, 0, "{name}");
    summary
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn regenerated_call_manager_ends_in_its_counts() {
    let summary = expect_pass("callmanager-regen.toml").await;
    assert_eq!(summary.trust.lists.accepted_by_tvs, 300);
    assert_eq!(summary.trust.configs.accepted_by_itl, 300);
    assert_eq!((summary.signatures.made, summary.signatures.cache_hits), (301, 299));
    assert_eq!(summary.signatures.verified, 600);
    let tftp = &summary.tftp;
    assert_eq!((tftp.requests, tftp.transfers, tftp.not_found), (1_200, 600, 600));
    assert_eq!((summary.serve.tftp_requests, summary.serve.tvs_answers), (1_200, 300));
    // How much it is only a process knows that plays nothing else (`cli_run`).
    assert!(summary.cpu_s.serve.is_some() && summary.cpu_s.swarm.is_some());
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
async fn a_mixed_fleet_loads_over_both_transports_and_ends_in_the_same_counts() {
    let summary = expect_pass("mixed-fleet.toml").await;
    let (http, tftp) = (summary.http, summary.tftp);
    assert_eq!(http.requests + tftp.requests, 1_200, "{http:?} {tftp:?}");
    assert_eq!(http.not_found + tftp.not_found, 600);
    assert!((800..1_120).contains(&http.requests), "about 80 %: {http:?}");
    assert_eq!((http.errors, http.fallbacks, tftp.errors), (0, 0, 0));
    // One before the question to TVS, one after it.
    assert_eq!(http.connections * 2, http.requests);
    assert_eq!(summary.serve.http_requests, http.requests);
    assert_eq!(summary.serve.http_connections, http.connections);
    assert_eq!((summary.signatures.made, summary.signatures.cache_hits), (301, 299));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phones_of_a_14_cluster_load_their_configs_over_https_from_both_nodes() {
    let summary = expect_pass("https-provisioning.toml").await;
    let (http, https, tftp) = (summary.http, summary.https, summary.tftp);
    assert!((200..280).contains(&https.requests), "about 80 %: {https:?}");
    assert_eq!(http.requests, 3 * https.requests, "CTLs and ITL: their signatures are enough");
    assert_eq!(tftp.requests, 4 * (300 - https.requests));
    assert_eq!((https.connections, https.fallbacks), (https.requests, 0));
    assert_eq!(summary.serve.https_requests, https.requests);
    assert_eq!(summary.serve.https_handshakes_ok, https.requests);
    assert_eq!(summary.signatures.made, 302, "a list of each node, and every config");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_scenario_of_the_sign_cache_ends_in_its_counts() {
    let summary = expect_pass("sign-cache.toml").await;
    assert_eq!((summary.signatures.made, summary.signatures.cache_hits), (301, 299));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phones_of_a_node_without_http_fall_back_and_are_ready() {
    // Nobody listens on port 6970 of this address.
    let address = "cluster.node.1.address=127.0.0.77";
    let plan =
        plan("callmanager-regen.toml", &["fleet.phones=50", "phone.transport=http", address]);
    let (summary, _) = run_with(&plan, &LiveOptions::default()).await;
    assert_eq!((summary.verdict.name(), summary.phones.ready), ("pass", 50));
    let http = summary.http;
    assert_eq!((http.requests, http.errors, http.fallbacks), (50, 50, 50), "one a boot");
    assert_eq!((http.connections, summary.tftp.requests), (0, 200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_places_for_connections_are_enough_for_every_phone_in_turn() {
    let few = "run.connections-in-flight=3";
    let overrides = ["fleet.phones=100", "phone.transport=http", few, "slo=[]"];
    let plan = plan("mixed-fleet.toml", &overrides);
    let (summary, run) = run_with(&plan, &LiveOptions::default()).await;
    assert_eq!((summary.phones.ready, summary.http.requests), (100, 400));
    assert_eq!((summary.http.errors, run.ledger.counts().unexpected), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_in_the_middle_of_a_boot_starts_again_and_leaves_nothing_behind() {
    let text = std::fs::read_to_string("scenarios/mixed-fleet.toml").unwrap();
    let again = "[[event]]\nafter = \"previous\"\ndelay = \"40ms\"\n\
                 reset-phones = { spread = \"0s\" }\n[[slo]]";
    let scenario = text.replace("30s", "0s").replacen("[[slo]]", again, 1);
    let overrides = [
        "fleet.phones=300".to_owned(),
        "phone.transport=http".to_owned(),
        "run.connections-in-flight=20".to_owned(),
        "cluster.node.1.ports={ tftp = 0, tvs = 0, capf = 0, http = 0 }".to_owned(),
        "slo=[]".to_owned(),
    ];
    let plan = load(Path::new("x.toml"), &scenario, &overrides, &known_paths()).unwrap();
    let (summary, run) = run_with(&plan, &LiveOptions::default()).await;
    assert_eq!((summary.phones.ready, run.ledger.counts().phones.boots), (300, 600));
    assert!(summary.http.requests > 900, "files of both boots: {:?}", summary.http);
    assert_eq!((summary.http.errors, run.ledger.counts().unexpected), (0, 0));
}

/// Every second of the shipped scenarios, from the `first` on in the order of their names.
async fn every_second_scenario_agrees(first: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    // Those whose clock is the point are played live, and compared, in tests/suite/registration.rs and
    // tests/suite/services_live.rs.
    names.retain(|name| !["node-failover.toml", "tomcat-regen.toml"].contains(&&name[..]));
    names.sort();
    assert!(names.len() >= 30, "{names:?}");
    for name in names.iter().skip(first).step_by(2) {
        let mut plan = plan(name, &["fleet.phones=200"]);
        let rolls_out = |event: &TimelineEntry| event.action.get::<RollOutLsc>().is_some();
        if plan.timeline.iter().any(rolls_out) {
            // Each phone makes a key of its own, which takes a processor a good part of a second.
            plan.fleet.phones = 30;
        }
        let (live, _) = run_with(&plan, &LiveOptions::default()).await;
        let sim = World::new(&plan, SimOptions::default()).run().summary(&plan);
        agree(name, &live, &sim);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_and_virtual_time_agree_on_every_count_of_every_scenario() {
    every_second_scenario_agrees(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_and_virtual_time_agree_on_every_count_of_every_other_scenario() {
    every_second_scenario_agrees(1).await;
}

fn agree(name: &str, live: &Summary, sim: &Summary) {
    let (live, sim) = (live.to_json(), sim.to_json());
    for part in ["phones", "config", "tvs", "trust"] {
        assert_eq!(live[part], sim[part], "{name}: {part}");
    }
    for count in ["made", "made_before", "verified", "cache_hits", "cache_misses"] {
        assert_eq!(live["signatures"][count], sim["signatures"][count], "{name}: {count}");
    }
    // Not the bytes: configurations carry the port of TVS, whose digits differ.
    for count in ["requests", "connections", "transfers", "not_found", "errors", "fallbacks"] {
        assert_eq!(live["http"][count], sim["http"][count], "{name}: {count}");
        assert_eq!(live["https"][count], sim["https"][count], "{name}: {count}");
    }
    for count in ["requests", "transfers", "not_found", "errors"] {
        assert_eq!(live["tftp"][count], sim["tftp"][count], "{name}: {count}");
    }
    for count in ["probes_failed", "probe_outages"] {
        assert_eq!(live["cluster"][count], sim["cluster"][count], "{name}: {count}");
    }
    assert_eq!((&live["covers"], &live["services"]), (&sim["covers"], &sim["services"]));
    for count in ["tvs_handshakes_ok", "tvs_handshakes_failed", "tvs_answers"] {
        assert_eq!(live["serve"][count], sim["serve"][count], "{name}: {count}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moved_phones_ask_their_new_node_and_count_as_in_virtual_time() {
    use resetstorm::sim::{SimOptions, World};
    let mut plan = plan("https-provisioning.toml", &["fleet.phones=60", "slo=[]"]);
    let (one, two) = (ClusterId::FIRST.node(0), ClusterId::FIRST.node(1));
    // Phones with even numbers belong to the first node, which is stopped: one of them stays there.
    let phones = (1..30).map(|half| PhoneId(2 * half)).collect();
    let trigger = Trigger::AfterPrevious { delay: Span::ZERO };
    let does = |name: &str, action| TimelineEntry {
        name: name.into(),
        trigger,
        action,
        then: None,
        typed: None,
    };
    let end = plan.timeline.len() - 1;
    let to = [two].into();
    plan.timeline.insert(end, does("move", MovePhones { phones, to }.into()));
    let stop = Services::stop(one, Some(ServiceKind::Tftp));
    plan.timeline.insert(end + 1, does("stop", stop.into()));
    let (live, run) = run_with(&plan, &LiveOptions::default()).await;
    let sim = World::new(&plan, SimOptions::default()).run().summary(&plan);
    assert_eq!((live.phones.ready, live.phones.failed), (59, 1), "{:?}", live.phones);
    assert_eq!(run.ledger.phones()[0].outcome.map(|end| end == Outcome::Ready), Some(false));
    assert!(live.https.requests > 20 && live.tftp.requests > 20, "over each transport");
    assert_eq!(run.ledger.counts().unexpected, 0);
    agree("moved", &live, &sim);
}

/// Datagrams of the servers of a live run and in virtual time.
async fn datagrams(plan: &Plan) -> [u64; 2] {
    use resetstorm::sim::{SimOptions, World};
    let (live, _) = run_with(plan, &LiveOptions::default()).await;
    let mut plan = plan.clone();
    // A port of as many digits as those that the operating system chooses: files of one length.
    let ports = &mut plan.topology.nodes[0].ports;
    *ports = ports.with(Dialogue::Tvs, 40_000);
    let sim = World::new(&plan, SimOptions::default()).run().summary(&plan);
    for summary in [&live, &sim] {
        assert_eq!((summary.verdict.name(), summary.tftp.retransmits), ("pass", 0));
    }
    [live.serve.tftp_datagrams_out, sim.serve.tftp_datagrams_out]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn larger_blocks_mean_fewer_datagrams_and_as_many_live_as_in_virtual_time() {
    let mixed = "fleet.models={ 8841 = 0.5, 7962 = 0.5 }";
    let block = |size: &str| {
        let size = format!("phone.tftp-block-size={size}");
        plan("callmanager-regen.toml", &["fleet.phones=60", mixed, &size])
    };
    let mut of_one = Vec::new();
    for size in ["512", "1024", "1428", "\"model\""] {
        let [live, sim] = datagrams(&block(size)).await;
        assert_eq!((live, live % 60), (sim, 0), "{size}");
        of_one.push(live / 60);
    }
    let [small, double, large, none] = of_one[..] else { unreachable!("four sizes") };
    // The answer to the option of list and configuration; "not found" for the CTL is one in any case.
    assert_eq!(small, none + 2, "512 is the size without options, which all models have");
    // Blocks of a list of 5 kB and a configuration of 8 kB, each rounded up.
    assert!((none / 2..=none / 2 + 3).contains(&double), "{of_one:?}");
    assert!((none * 512 / 1_428..=none * 512 / 1_428 + 4).contains(&large), "{of_one:?}");
    // One family asks for 1,024 bytes, the other for nothing.
    let (family, value) = (family_index(8841), FamilyValue::TftpBlock);
    let varied = Some(Varied { family, value, doubled: true });
    let mut by_model = block("\"model\"");
    by_model.phone.tftp_block_size = BlockSizeRule::Model { varied };
    let fleet = FleetSpec {
        phones: 60,
        models: by_model.fleet.models.clone(),
        seed: 42,
        ..FleetSpec::default()
    };
    let newer = (0..60).filter(|&phone| fleet.model(PhoneId(phone)) == 8841.into()).count() as u64;
    let [live, sim] = datagrams(&by_model).await;
    let expected = newer * double + (60 - newer) * none;
    assert_eq!((live, sim), (expected, expected), "{newer} of 60");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_tftp_service_is_refused_by_the_host_and_the_phones_fail() {
    let text = std::fs::read_to_string("scenarios/callmanager-regen.toml").unwrap();
    let stop = "[[event]]\nafter = \"previous\"\nstop = { service = \"tftp\", node = \"pub\" }\n";
    let at = text.rfind("[[event]]").unwrap();
    let scenario = format!("{}{stop}{}", &text[..at], &text[at..]).replace("30s", "0s");
    let overrides = [
        "fleet.phones=20".to_owned(),
        "cluster.node.1.ports={ tftp = 0, tvs = 0, capf = 0 }".to_owned(),
    ];
    let plan = load(Path::new("x.toml"), &scenario, &overrides, &known_paths()).unwrap();
    let (summary, _) = run_with(&plan, &LiveOptions::default()).await;
    assert_eq!((summary.phones.failed, summary.tftp.errors), (20, 60));
    assert!(summary.phones.failures.keys().all(|why| why.contains("nobody listens")));
    assert_eq!(summary.verdict.name(), "fail");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phones_whose_tvs_names_lead_nowhere_fail_alike_live_and_in_virtual_time() {
    use resetstorm::sim::{SimOptions, World};
    let mut plan = plan("dns-record-missing.toml", &["fleet.phones=60", "slo=[]"]);
    plan.timeline.truncate(4);
    let (live, run) = run_with(&plan, &LiveOptions::default()).await;
    let sim = World::new(&plan, SimOptions::default()).run().summary(&plan);
    for summary in [&live, &sim] {
        let phones = &summary.phones;
        assert_eq!((phones.ready, phones.failed, phones.stuck), (30, 30, 0));
        assert_eq!(phones.failures.keys().collect::<Vec<_>>(), ["TVS unreachable"]);
        let tvs = &summary.tvs;
        assert_eq!((tvs.lookups, tvs.unresolved, tvs.failed, tvs.failovers), (30, 90, 90, 30));
        assert_eq!((tvs.names_asked, tvs.names_from_cache), (120, 0));
        assert_eq!(summary.serve.tvs_handshakes_ok, 30, "nobody is asked whose name is unknown");
    }
    assert_eq!(run.ledger.counts().unexpected, 0);
}

/// Phones whose CTL and ITL both have a signer that is in no list of theirs.
const TWO_SIGNERS: &str = r#"
schema = 1
name = "two-signers"
[cluster]
release = "11.5"
security-mode = "mixed"
[[cluster.node]]
name = "pub"
address = "127.0.0.1"
services = ["callmanager", "tftp", "tvs"]
ports = { tftp = 0, tvs = 0 }
[[cluster.node]]
name = "sub"
address = "127.0.0.2"
services = ["callmanager", "tftp", "tvs"]
ports = { tftp = 0, tvs = 0 }
[[cluster.group]]
name = "all"
members = ["sub", "pub"]
share = 1.0
[fleet]
phones = 40
models = { "7962" = 0.5, "8841" = 0.5 }
tftp = "sub"
start = "itl-current"
[[event]]
when = "fleet-settled"
regenerate = { certificate = "CallManager", node = "pub" }
[[event]]
after = "previous"
update-ctl = {}
[[event]]
after = "previous"
regenerate = { certificate = "CallManager", node = "sub" }
[[event]]
after = "previous"
restart = { service = "tftp", node = "pub" }
[[event]]
after = "previous"
restart = { service = "tftp", node = "sub" }
[[event]]
after = "previous"
reset-phones = { spread = "1s" }
"#;

/// TVS-19: several questions share a session, of phones that keep it: with this seed 16 are a 7962.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_79xx_asks_tvs_twice_over_one_session_live_and_in_virtual_time() {
    let path = Path::new("two-signers.toml");
    for (session, handshakes) in [("model", 64), ("kept", 40), ("each", 80)] {
        let kept = [format!("phone.tvs-session={session}")];
        let plan = load(path, TWO_SIGNERS, &kept, &known_paths()).unwrap();
        let (live, run) = run_with(&plan, &LiveOptions::default()).await;
        let sim = World::new(&plan, SimOptions::default()).run().summary(&plan);
        for summary in [&live, &sim] {
            assert_eq!((summary.phones.ready, summary.tvs.lookups), (40, 80), "{session}");
            assert_eq!(summary.tvs.failed, 0, "{session}");
            let serve = &summary.serve;
            assert_eq!((serve.tvs_handshakes_ok, serve.tvs_answers), (handshakes, 80), "{session}");
        }
        assert_eq!(run.ledger.counts().unexpected, 0);
        agree(session, &live, &sim);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_is_ready_if_the_tvs_that_it_asks_has_heard_of_the_signer() {
    use resetstorm::sim::{SimOptions, World};
    let groups = "cluster.group=[{name='a',members=['pub'],share=0.5},\
                  {name='b',members=['sub1'],share=0.5}]";
    let events = "event=[\
        {when='fleet-settled',regenerate={certificate='CallManager',node='pub'}},\
        {after='previous',restart={service='tftp',node='pub'}},\
        {after='previous',reset-phones={spread='1s'}}]";
    for (delay, ready) in [("0s", 60), ("1h", 30)] {
        let delay = format!("cluster.replication-delay='{delay}'");
        let overrides = ["fleet.phones=60", "slo=[]", groups, events, &delay];
        let plan = plan("single-member-group.toml", &overrides);
        let (live, run) = run_with(&plan, &LiveOptions::default()).await;
        let sim = World::new(&plan, SimOptions::default()).run().summary(&plan);
        assert_eq!(live.phones.ready, ready, "{delay}: {:?}", live.phones);
        // Phones of group b ask again for the configuration, whose signer is unknown as well.
        assert_eq!(live.tvs.lookups, 60 + (60 - ready), "{delay}");
        for summary in [&live, &sim] {
            // The cache of a phone is asked before its servers, and theirs say what they lack.
            assert_eq!((summary.tvs.cache_misses, summary.tvs.cache_hits), (live.tvs.lookups, 0));
            assert_eq!(summary.tvs.not_found, 2 * (60 - ready), "{delay}");
        }
        agree(&delay, &live, &sim);
        assert_eq!(run.ledger.counts().unexpected, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repaired_record_is_not_seen_before_its_negative_time_to_live_is_over() {
    use resetstorm::sim::{SimOptions, World};
    let of = |ttl: &str, boot_time: &str| {
        let phone = format!("phone={{dns-negative-ttl=\"{ttl}\",boot-time=\"{boot_time}\"}}");
        let plan = plan("dns-record-missing.toml", &["fleet.phones=60", "slo=[]", &phone]);
        let sim = World::new(&plan, SimOptions::default()).run().summary(&plan);
        (plan, sim)
    };
    let (plan, sim) = of("1h", "0s");
    let (live, run) = run_with(&plan, &LiveOptions::default()).await;
    for summary in [&live, &sim] {
        let (phones, tvs) = (&summary.phones, &summary.tvs);
        assert_eq!((phones.ready, phones.failed, phones.stuck), (30, 30, 0));
        // Each phone asks for sub1 once, those of both groups for sub2 once; those that know sub1
        // only would have asked for the configuration, and twice more after the repair.
        assert_eq!((tvs.names_asked, tvs.names_from_cache), (60 + 30, 3 * 30));
        assert_eq!((tvs.unresolved, tvs.lookups), (60 + 3 * 30, 30));
    }
    assert_eq!(run.ledger.counts().unexpected, 0);
    let (_, sim) = of("10s", "20s");
    let tvs = &sim.tvs;
    assert_eq!((sim.phones.ready, tvs.lookups), (60, 60), "they boot for longer than that");
    assert_eq!((tvs.names_asked, tvs.names_from_cache), (60 + 30 + 30, 30));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prewarmed_signatures_are_made_before_the_reset() {
    let plan = plan("callmanager-regen.toml", &["fleet.phones=60", "cluster.sign-cache=prewarm"]);
    let (summary, _) = run_with(&plan, &LiveOptions::default()).await;
    assert_eq!(summary.verdict.name(), "pass");
    assert_eq!((summary.signatures.made, summary.signatures.cache_hits), (0, 120));
    assert_eq!(summary.signatures.made_before, 122, "two generations of list and configs");
}

/// A scenario with 60 phones on sockets and in virtual time: the counts of both, and that both end as
/// the scenario says.
async fn alike(name: &str) -> Summary {
    let plan = plan(name, &["fleet.phones=60"]);
    let (live, run) = run_with(&plan, &LiveOptions::default()).await;
    let sim = World::new(&plan, SimOptions::default()).run().summary(&plan);
    assert_eq!((live.verdict.name(), sim.verdict.name()), ("pass", "pass"), "{:#}", live.to_json());
    assert_eq!(run.ledger.counts().unexpected, 0, "{name}");
    let counts = |summary: &Summary| {
        let (phones, tftp) = (&summary.phones, &summary.tftp);
        (
            [phones.ready, phones.stuck, phones.failed, phones.list_alarms, phones.config_alarms],
            [tftp.requests, tftp.transfers, tftp.not_found, tftp.errors, tftp.failovers],
            [summary.tvs.lookups, summary.tvs.failed, summary.tvs.failovers],
            [summary.serve.tftp_requests, summary.signatures.made, summary.config.applied],
            (summary.trust.lists, summary.trust.configs),
        )
    };
    assert_eq!(counts(&live), counts(&sim), "{name}");
    live
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phones_find_the_second_tftp_server_as_in_virtual_time() {
    let summary = alike("two-tftp-order.toml").await;
    let tftp = &summary.tftp;
    assert_eq!((tftp.failovers, tftp.errors, tftp.transfers), (60, 60, 240));
    assert_eq!(summary.serve.tftp_requests, 480, "the stopped server saw none");
    let summary = alike("two-tftp-short-group.toml").await;
    assert_eq!((summary.phones.stuck, summary.tftp.failovers), (6, 60));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_whose_first_address_is_dead_is_asked_at_its_second() {
    let served = plan("callmanager-regen.toml", &["fleet.phones=30", "event=[]", "slo=[]"]);
    let (bound, port) = tokio::sync::oneshot::channel();
    let (told, _telling) = tokio::sync::mpsc::unbounded_channel();
    let (_operator, commands) = tokio::sync::mpsc::channel(1);
    let mut watching = Watching { port: Some(bound), told };
    let options = LiveOptions::default();
    let phones = async {
        // Nobody has bound the same port of another address.
        let port = port.await.unwrap();
        let target = format!("target={{tftp=['127.0.0.77:{port}', '127.0.0.1:{port}']}}");
        let overrides = ["fleet.phones=30", "fleet.arrival.within=1s", &target];
        let aimed = plan("callmanager-regen.toml", &overrides);
        run_with(&aimed, &LiveOptions::default()).await.0
    };
    let summary = tokio::select! {
        served = live::serve(&served, &options, commands, &mut watching) => {
            panic!("nobody ends it: {served:?}")
        }
        summary = phones => summary,
    };
    assert_eq!((summary.phones.ready, summary.phones.failed), (30, 0), "{:#}", summary.to_json());
    let tftp = &summary.tftp;
    // From the reset on: the power-on before it is not counted.
    assert_eq!((tftp.failovers, tftp.errors, tftp.transfers), (30, 30, 60));
}

/// A registrar that registers whoever asks; what it has heard goes to `heard`.
async fn registrar(
    listener: tokio::net::TcpListener,
    heard: tokio::sync::mpsc::UnboundedSender<String>,
) {
    use resetstorm::wire::sip::{Contact, PONG, Registered, SipMessage};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    loop {
        let (mut stream, from) = listener.accept().await.unwrap();
        let heard = heard.clone();
        tokio::spawn(async move {
            let (mut message, mut piece) = (Vec::new(), [0; 2_048]);
            while let Ok(read @ 1..) = stream.read(&mut piece).await {
                message.extend_from_slice(&piece[..read]);
                if !message.ends_with(b"\r\n\r\n") {
                    continue;
                }
                let answer = if message.len() == 4 {
                    PONG.to_vec()
                } else {
                    let request = SipMessage::parse(&message).unwrap();
                    let _ = heard.send(Contact::of(&request).unwrap().device);
                    Registered::Ok { expires_s: 60 }.encode(&request, Some(from.ip()))
                };
                message.clear();
                let _ = stream.write_all(&answer).await;
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registrar_that_is_a_target_stands_for_every_callmanager() {
    let overrides = ["fleet.phones=30", "event=[]", "slo=[]", "registration.enabled=false"];
    let served = plan("registration-storm.toml", &overrides);
    let (bound, port) = tokio::sync::oneshot::channel();
    let (told, _telling) = tokio::sync::mpsc::unbounded_channel();
    let (_operator, commands) = tokio::sync::mpsc::channel(1);
    let mut watching = Watching { port: Some(bound), told };
    let options = LiveOptions::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.9:0").await.unwrap();
    let sip = listener.local_addr().unwrap();
    let (heard, mut names) = tokio::sync::mpsc::unbounded_channel();
    let registrar = tokio::spawn(registrar(listener, heard));
    let phones = async {
        let port = port.await.unwrap();
        let target = format!("target={{tftp='127.0.0.1:{port}', sip='{sip}'}}");
        let overrides = ["fleet.phones=30", "fleet.arrival.within=1s", "slo=[]", &target];
        let aimed = plan("registration-storm.toml", &overrides);
        run_with(&aimed, &LiveOptions::default()).await.0
    };
    let summary = tokio::select! {
        served = live::serve(&served, &options, commands, &mut watching) => {
            panic!("nobody ends it: {served:?}")
        }
        summary = phones => summary,
    };
    registrar.abort();
    let counts = &summary.registration.counts;
    assert_eq!((summary.phones.registered, counts.accepted), (30, 30), "{:#}", summary.to_json());
    assert_eq!((counts.unanswered, counts.by_later, counts.lost), (0, 0, 0), "{counts:?}");
    let mut devices: Vec<String> = std::iter::from_fn(|| names.try_recv().ok()).collect();
    assert_eq!(devices.len(), 60, "with those of the power-on");
    devices.sort();
    devices.dedup();
    assert_eq!(devices.len(), 30);
}

/// A server of one node whose TVS presents a certificate of its own, and a list that holds it.
async fn tvs_server(seed: u64) -> (Servers, SocketAddr, TrustLists, Vec<u8>) {
    let plan = plan("callmanager-regen.toml", &["fleet.phones=2"]);
    let bound = Bound::bind(&plan.topology).unwrap();
    let topology = bound.topology().clone();
    let cluster = Cluster::new(Genesis {
        topology,
        fleet: FleetSpec {
            phones: 2,
            models: vec![(8841.into(), 1.0)],
            seed,
            ..FleetSpec::default()
        },
        source: KeySource::System,
        epoch_s: 1_800_000_000,
        stored: resetstorm::cluster::Stored::default(),
    });
    let servers =
        Servers::start(bound, &cluster, Clock::start(), ServeSettings::default()).await.unwrap();
    let port = cluster.topology().node(ClusterId::FIRST.node(0)).ports.of(Dialogue::Tvs);
    let service = cluster.tftp(ClusterId::FIRST.node(0)).unwrap();
    let list = TrustList::parse(&service.signed_list()).unwrap();
    let certificate = &service.signer().certificate;
    let question = Question::Query {
        subject: certificate.subject(),
        issuer: certificate.issuer(),
        serial: certificate.serial(),
    };
    let device_name = "CP-8841-SEP0C75BD000000";
    let request = Request { session_id: 1_001, device_name, question }.encode();
    let lists = TrustLists { ctl: None, itl: Some(std::sync::Arc::new(list)) };
    (servers, ([127, 0, 0, 1], port).into(), lists, request)
}

const fn limits(in_flight: usize) -> DialogueLimits {
    DialogueLimits { lookups: in_flight, registrations: in_flight }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_refuses_a_server_that_its_neighbour_has_just_accepted() {
    let (servers, server, mine, request) = tvs_server(1).await;
    let (others, _, theirs, _) = tvs_server(2).await;
    let client = DialogueClient::new(
        Clock::start(),
        limits(4),
        Span::from_secs(10),
        BTreeMap::new(),
        Vec::new(),
        std::sync::Arc::default(),
    );
    let (sender, mut results) = tokio::sync::mpsc::unbounded_channel();
    let ask = |phone: usize, lists: &TrustLists| DialogueJob {
        turn: Turn::default(),
        kept: None,
        ticket: Ticket { phone, token: 1, planned: Time::ZERO },
        message: message(server, &request, lists),
        source: phone_address(PhoneId(phone as u32)),
    };
    for (phone, lists, accepted) in
        [(0, &mine, true), (1, &theirs, false), (0, &mine, true), (0, &theirs, false)]
    {
        client.clone().ask(ask(phone, lists), sender.clone()).await;
        let answer = results.recv().await.unwrap().1.answer;
        match answer {
            Ok((bytes, _)) => assert!(accepted && Response::parse(&bytes).unwrap().known.is_some()),
            Err(fault) => {
                assert_eq!((accepted, fault), (false, Fault::Theirs(TvsFault::CertificateRefused)));
            }
        }
    }
    servers.shutdown().await;
    others.shutdown().await;
}

/// Our server ends a session with its sixteenth question.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_the_server_has_ended_is_opened_anew_and_no_question_fails() {
    let (servers, server, lists, request) = tvs_server(3).await;
    let (clock, patience) = (Clock::start(), Span::from_secs(10));
    let hosts = std::sync::Arc::default();
    let client =
        DialogueClient::new(clock, limits(1), patience, BTreeMap::new(), Vec::new(), hosts);
    let (sender, mut results) = tokio::sync::mpsc::unbounded_channel();
    let mut kept = None;
    for question in 1..=40 {
        let mut message = message(server, &request, &lists);
        message.stays = true;
        let job = DialogueJob {
            turn: Turn::default(),
            kept: kept.take(),
            ticket: Ticket { phone: 0, token: question, planned: Time::ZERO },
            message,
            source: phone_address(PhoneId(0)),
        };
        client.clone().ask(job, sender.clone()).await;
        let (bytes, session) = results.recv().await.unwrap().1.answer.unwrap();
        assert!(Response::parse(&bytes).unwrap().known.is_some(), "{question}");
        kept = session;
    }
    let counts = servers.shutdown().await.dialogue(Dialogue::Tvs);
    assert_eq!((counts.handshakes_ok, counts.answers), (3, 40));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_a_place_counts_as_response_time_and_as_our_own_lag() {
    let bounds = ["fleet.phones=60", "run.transfers-in-flight=1", "run.lookups-in-flight=1"];
    let plan = plan("storm-all-at-once.toml", &bounds);
    let (summary, run) = run_with(&plan, &LiveOptions::default()).await;
    assert_eq!((summary.verdict.name(), summary.tftp.in_flight_max), ("pass", 1));
    let total = |step: StepKind| {
        let record = run.ledger.step_record(step);
        let sum = |histogram: &hdrhistogram::Histogram<u64>| histogram.mean() * 60.0;
        (sum(&record.service), sum(&record.response))
    };
    // All want their first file at once. When they want a lookup depends on how fast their files
    // come: a few may find the place free.
    for (step, times) in [(StepKind::Ctl, 2.0), (StepKind::TVS, 1.0)] {
        let (service, response) = total(step);
        assert!(response > times * service, "{step:?}: {service} us against {response} us");
    }
    // The first request and the lookup of each of sixty phones, and of three more requests each those
    // that found the place taken.
    let samples = run.ledger.lag().len();
    assert!((241..=300).contains(&samples), "{samples}");
}

/// On one thread: nothing comes between the end of a question and the time that it notes.
#[tokio::test]
async fn of_ten_questions_and_one_place_each_starts_when_the_one_before_has_ended() {
    let (servers, server, lists, request) = tvs_server(4).await;
    let (clock, patience) = (Clock::start(), Span::from_secs(10));
    let hosts = std::sync::Arc::default();
    let client =
        DialogueClient::new(clock, limits(1), patience, BTreeMap::new(), Vec::new(), hosts);
    let (sender, mut results) = tokio::sync::mpsc::unbounded_channel();
    for phone in 0..10_usize {
        let job = DialogueJob {
            turn: Turn::default(),
            kept: None,
            ticket: Ticket { phone, token: 1, planned: Time::ZERO },
            message: message(server, &request, &lists),
            source: phone_address(PhoneId(phone as u32)),
        };
        tokio::spawn(client.clone().ask(job, sender.clone()));
    }
    let mut free = Time::ZERO;
    for _ in 0..10 {
        let answer = results.recv().await.unwrap().1;
        assert!(answer.answer.is_ok(), "{:?}", answer.answer);
        assert!(answer.started >= free, "{:?} before {free:?}", answer.started);
        free = answer.ended;
    }
    servers.shutdown().await;
}

/// Presents one certificate and signs with the key of another.
#[derive(Debug)]
struct Impostor(std::sync::Arc<rustls::sign::CertifiedKey>);

impl rustls::server::ResolvesServerCert for Impostor {
    fn resolve(
        &self,
        _: rustls::server::ClientHello<'_>,
    ) -> Option<std::sync::Arc<rustls::sign::CertifiedKey>> {
        Some(std::sync::Arc::clone(&self.0))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copied_certificate_without_its_key_is_no_identity() {
    use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
    let (servers, member, lists, request) = tvs_server(1).await;
    let stolen = {
        let (sender, receiver) = std::sync::mpsc::channel();
        let judge = Box::new(move |der: &[u8]| {
            sender.send(der.to_vec()).unwrap();
            true
        });
        let (config, _) = resetstorm::net::TlsClients::default().config(judge);
        let stream = tokio::net::TcpStream::connect(member).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
        tokio_rustls::TlsConnector::from(config).connect(name, stream).await.unwrap();
        receiver.recv().unwrap()
    };
    assert!(
        lists.judge_server(&[21], &resetstorm::crypto::Certificate::from_der(&stolen).unwrap())
    );
    let key = KeySource::System.signing_key(2048);
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivatePkcs8KeyDer::from(key.pkcs8().to_vec());
    let signing = provider.key_provider.load_private_key(key.into()).unwrap();
    let certified = rustls::sign::CertifiedKey::new(vec![CertificateDer::from(stolen)], signing);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let resolver = Impostor(std::sync::Arc::new(certified.clone()));
        let config = rustls::ServerConfig::builder_with_provider(std::sync::Arc::clone(&provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(std::sync::Arc::new(resolver));
        let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let impostor = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            acceptor.accept(stream).await.is_err()
        });
        let client = DialogueClient::new(
            Clock::start(),
            limits(1),
            Span::from_secs(10),
            BTreeMap::new(),
            Vec::new(),
            std::sync::Arc::default(),
        );
        let (sender, mut results) = tokio::sync::mpsc::unbounded_channel();
        let job = DialogueJob {
            turn: Turn::default(),
            kept: None,
            ticket: Ticket { phone: 0, token: 1, planned: Time::ZERO },
            message: message(([127, 0, 0, 1], port).into(), &request, &lists),
            source: phone_address(PhoneId(0)),
        };
        client.ask(job, sender).await;
        let answer = results.recv().await.unwrap().1.answer;
        let fault = Fault::Theirs(TvsFault::Connection);
        assert_eq!(answer.map(|(bytes, _)| bytes), Err(fault), "{version:?}");
        assert!(impostor.await.unwrap(), "the server sees the alert");
    }
    servers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ipv6_cluster_is_asked_from_one_address_with_a_socket_per_transfer() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        // A host without IPv6.
        return;
    }
    let overrides =
        ["fleet.phones=100", "cluster.node.1.address=\"::1\"", "run.transfers-in-flight=16"];
    let plan = plan("storm-all-at-once.toml", &overrides);
    let (summary, run) = run_with(&plan, &LiveOptions::default()).await;
    assert_eq!(summary.verdict.name(), "pass", "{:#}", summary.to_json());
    assert_eq!((summary.tftp.in_flight_max, run.ledger.counts().unexpected), (16, 0));
    assert!(summary.notes.iter().any(|note| note.contains("share this host's address")));
}

/// Somebody who watches: what is wished at which look, and what happened in which order.
struct Hand {
    wishes: Vec<(u32, Wish)>,
    looks: u32,
    /// Whether looks count from the reset of the phones on.
    from_reset: bool,
    events: Vec<String>,
}

impl Hand {
    fn new(wishes: &[(u32, Wish)], from_reset: bool) -> Hand {
        Hand { wishes: wishes.to_vec(), looks: 0, from_reset, events: Vec::new() }
    }
}

impl Observer for Hand {
    fn started(&mut self, _: &[String]) {}
    fn tick(&mut self, _: &Ledger, _: Time) {}
    fn operator(&mut self, text: &str, _: Time) {
        self.events.push(text.to_owned());
    }
    fn told(&mut self, text: &str, _: Time) {
        self.events.push(text.to_owned());
    }
    fn wish(&mut self) -> Option<Wish> {
        if self.from_reset && !self.events.iter().any(|event| event.contains("reset")) {
            return None;
        }
        self.looks += 1;
        let due = self.wishes.iter().find(|(look, _)| *look == self.looks);
        due.map(|(_, wish)| *wish)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_run_takes_no_step_and_ends_in_the_same_counts() {
    let mut plan = plan("callmanager-regen.toml", &["fleet.phones=40"]);
    plan.timeline.last_mut().unwrap().trigger = Trigger::At(Time::ZERO + Span::from_secs(6));
    let mut hand = Hand::new(&[(1, Wish::Pause), (40, Wish::Pause)], false);
    let run = Box::pin(live::run(&plan, &LiveOptions::default(), &mut hand)).await.unwrap();
    let at = |text: &str| hand.events.iter().position(|event| event.contains(text)).unwrap();
    assert!(at("goes on") == at("paused") + 1, "{:?}", hand.events);
    assert!(at("reset") > at("goes on"), "{:?}", hand.events);
    let summary = Summary::new(&run.ledger, run.facts, &plan.slos, run.finish);
    assert_eq!(summary.verdict.name(), "pass", "{:#}", summary.to_json());
    assert!(summary.notes.iter().any(|note| note.starts_with("paused by hand from ")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_run_begins_no_boot_and_ends_when_the_others_have_ended() {
    let mut plan = plan("callmanager-regen.toml", &["fleet.phones=400"]);
    let last = plan.timeline.last_mut().unwrap();
    last.action = ResetPhones { spread: Span::from_secs(40) }.into();
    let mut hand = Hand::new(&[(60, Wish::Drain)], true);
    let run = Box::pin(live::run(&plan, &LiveOptions::default(), &mut hand)).await.unwrap();
    let summary = Summary::new(&run.ledger, run.facts, &plan.slos, run.finish);
    let phones = &summary.phones;
    assert!(phones.ready > 0 && phones.not_reset > 200, "{phones:?}");
    assert_eq!((phones.ready + phones.not_reset, phones.booting), (400, 0), "{phones:?}");
    assert!(run.ended < Time::ZERO + Span::from_secs(30), "it does not wait for their turn");
    assert_eq!(run.signal.map(|signal| signal.exit_code().number()), Some(130));
    assert!(summary.notes.iter().any(|note| note.starts_with("drained by hand at ")));
}

/// Tells what is served where, and what the operator does.
struct Watching {
    port: Option<tokio::sync::oneshot::Sender<u16>>,
    told: tokio::sync::mpsc::UnboundedSender<String>,
}

impl Observer for Watching {
    fn started(&mut self, _: &[String]) {}
    fn listening(&mut self, bound: &serde_json::Value) {
        let port = bound["nodes"][0]["tftp"].as_u64().unwrap() as u16;
        self.port.take().unwrap().send(port).unwrap();
    }
    fn tick(&mut self, _: &Ledger, _: Time) {}
    fn operator(&mut self, text: &str, _: Time) {
        let _ = self.told.send(text.to_owned());
    }
}

/// The serial number of the signer of the list that is served at `port`.
async fn list_signer(port: u16) -> Vec<u8> {
    let request = DownloadRequest {
        file: "ITLFile.tlv".into(),
        options: Options::default(),
        size_max: 1 << 20,
        timeout: Span::from_secs(4),
        tries: 5,
    };
    let server = SocketAddr::from(([127, 0, 0, 1], port));
    let fetched = tokio::task::spawn_blocking(move || fetch(server, request)).await.unwrap();
    let Ok(fetched) = fetched else { panic!("the list is not served") };
    SignedFile::parse(&fetched.data).unwrap().header.serial.to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_enters_while_it_serves_is_carried_out_and_a_bad_one_is_told() {
    let plan = plan("callmanager-regen.toml", &["fleet.phones=1"]);
    let node = plan.topology.ids().next().unwrap();
    let (port, bound) = tokio::sync::oneshot::channel();
    let (told, mut telling) = tokio::sync::mpsc::unbounded_channel();
    let (operator, commands) = tokio::sync::mpsc::channel(8);
    let mut watching = Watching { port: Some(port), told };
    let options = LiveOptions::default();
    let script = async {
        let port = bound.await.unwrap();
        let before = list_signer(port).await;
        let regenerate = |certificate| Regenerate { certificate, node }.into();
        let actions: [OperatorAction; 4] = [
            regenerate(CertificateKind::ItlRecovery),
            regenerate(CertificateKind::CallManager),
            Services::restart(node, Some(ServiceKind::Tftp)).into(),
            Services::restart(node, Some(ServiceKind::Tvs)).into(),
        ];
        let mut texts = Vec::new();
        for action in actions {
            operator.send(action).await.unwrap();
            texts.push(telling.recv().await.unwrap());
        }
        // One thing at a time: what was told before the last one is in force.
        assert!(texts[0].contains("no ITLRecovery certificate"), "{texts:?}");
        assert_eq!(texts[2], "restart tftp on pub");
        assert_ne!(list_signer(port).await, before);
    };
    tokio::select! {
        served = live::serve(&plan, &options, commands, &mut watching) => {
            panic!("nobody ends it: {served:?}")
        }
        () = script => {}
    }
}
