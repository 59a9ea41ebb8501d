//! Registration as the true end of a boot: live and in virtual time the same counts.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use resetstorm::base::{ClusterId, DeviceName, NodeId, PhoneId, Span, Time};
use resetstorm::cluster::{Cluster, Genesis, Peer, PeerRefusal, Stored};
use resetstorm::crypto::{CertificateSpec, Identity, KeySource, Manufacturer, mic};
use resetstorm::live::{self, LiveOptions, Observer};
use resetstorm::measure::{Ledger, Summary, known_paths};
use resetstorm::net::Clock;
use resetstorm::scenario::{Plan, load};
use resetstorm::serve::{Bound, ServeSettings, Servers};
use resetstorm::sim::{Recorded, SimOptions, World};
use resetstorm::wire::Dialogue;
use resetstorm::wire::sip::{Contact, PONG, Registered, Registration, SipMessage, parse_answer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

fn plan(name: &str, overrides: &[&str]) -> Plan {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    let mut all: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
    let nodes = load(&path, &text, &all, &known_paths()).unwrap().topology.nodes.len();
    for node in 1..=nodes {
        let ports = "{ tftp = 0, tvs = 0, capf = 0, sip = 0, sips = 0 }";
        all.push(format!("cluster.node.{node}.ports={ports}"));
    }
    load(&path, &text, &all, &known_paths()).unwrap()
}

struct Silent;

impl Observer for Silent {
    fn started(&mut self, _: &[String]) {}
    fn tick(&mut self, _: &Ledger, _: Time) {}
    fn operator(&mut self, _: &str, _: Time) {}
}

async fn run(plan: &Plan) -> Summary {
    let run = Box::pin(live::run(plan, &LiveOptions::default(), &mut Silent)).await.unwrap();
    assert_eq!(run.ledger.counts().unexpected, 0);
    Summary::new(&run.ledger, run.facts.clone(), &plan.slos, run.finish)
}

fn sim(plan: &Plan) -> Summary {
    World::new(plan, SimOptions::default()).run().summary(plan)
}

#[test]
fn a_storm_ends_with_every_phone_registered_and_repeats_its_digest() {
    let plan = plan("registration-storm.toml", &["fleet.phones=400", "slo=[]"]);
    let summary = sim(&plan);
    assert_eq!(summary.phones.registered, 400, "{:#?}", summary.to_json());
    assert_eq!(summary.registration.counts.accepted, 400);
    assert_eq!(summary.registration.counts.unanswered, 0);
    assert!(summary.fleet_registered_s.last >= summary.fleet_ready_s.last);
    assert_eq!(sim(&plan).sim.unwrap().digest, summary.sim.unwrap().digest);
}

#[test]
fn a_node_that_is_full_says_when_to_come_again_and_the_phones_obey() {
    let overrides = ["fleet.phones=400", "slo=[]", "registration.rate-per-node=10.0"];
    let summary = sim(&plan("registration-storm.toml", &overrides));
    assert_eq!(summary.phones.registered, 400);
    assert!(summary.registration.counts.full >= 300, "{:?}", summary.registration);
    // 200 phones of each node at 10 a second, one second's worth at once.
    let last = summary.fleet_registered_s.last.unwrap();
    assert!((18.0..32.0).contains(&last), "{last}");
    let nodes = &summary.registration.by_node;
    assert_eq!(nodes.keys().collect::<Vec<_>>(), ["sub1", "sub2"]);
    assert_eq!(nodes.values().map(|node| node.full).sum::<u64>(), summary.registration.counts.full);
    for node in nodes.values() {
        assert_eq!((node.registered, node.accepted, node.failed_over), (200, 200, 0), "{node:?}");
        assert!(node.full >= 150, "{node:?}");
    }
}

/// Where nodes are full, the median may lie where hardly a phone is registered for seconds: one phone
/// in a hundred moves it by two. The shares of phones that are registered by then are what must agree.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_phones_are_registered_by_then_live_as_in_virtual_time() {
    let overrides = [
        "fleet.phones=200",
        "slo=[]",
        "registration.rate-per-node=10.0",
        "event.3.reset-phones.spread=4s",
    ];
    let plan = plan("registration-storm.toml", &overrides);
    let shares = |ledger: &Ledger| {
        let taken = |phone| {
            let record = ledger.phone(PhoneId(phone)).unwrap();
            record.registration.since().unwrap().since(record.planned).as_secs_f64()
        };
        let taken: Vec<f64> = (0..200).map(taken).collect();
        [0.5, 1.5, 2.5, 3.5, 4.5, 5.5].map(|bound| {
            taken.iter().filter(|&&taken| taken < bound).count() as f64 / taken.len() as f64
        })
    };
    let run = Box::pin(live::run(&plan, &LiveOptions::default(), &mut Silent)).await.unwrap();
    let live = shares(&run.ledger);
    let sim = shares(&World::new(&plan, SimOptions::default()).run().ledger);
    assert!(sim[0] > 0.2 && sim[0] < 0.8, "some are told to come again: {sim:?}");
    // A busy host is late; other models differ by more.
    let differ = |(live, sim): (&f64, &f64)| (live - sim).abs() > 0.2;
    assert!(!live.iter().zip(&sim).any(differ), "live {live:?}, virtual {sim:?}");
}

/// A reset of 300 phones, half of which prefer a node that stops and returns.
const FAILOVER: [&str; 6] = [
    "fleet.phones=300",
    "slo=[]",
    "registration.monitor=2s",
    "registration.rate-per-node=0.0",
    "event.1.reset-phones.spread=1s",
    "event.2.stop.for=3s",
];

fn expect_failover(summary: &Summary) {
    let (phones, counts) = (&summary.phones, &summary.registration.counts);
    assert_eq!((phones.registered, phones.ready), (300, 300), "{:#}", summary.to_json());
    assert_eq!((counts.lost, counts.fallbacks), (150, 150), "{counts:?}");
    assert_eq!(counts.failovers, 150, "straight to the other node: {counts:?}");
    assert_eq!((counts.accepted, counts.by_later), (600, 150), "{counts:?}");
    assert_eq!((counts.unanswered, counts.fallbacks_failed, counts.refused), (0, 0, 0));
    let node = |name: &str| summary.registration.by_node[name];
    let [one, two] = [node("sub1"), node("sub2")];
    assert_eq!((one.registered, one.accepted, one.lost), (150, 300, 150), "{one:?}");
    assert_eq!((one.failed_over, one.fallen_back), (150, 150), "{one:?}");
    assert_eq!((two.registered, two.accepted, two.lost), (150, 300, 0), "{two:?}");
    assert_eq!((two.failed_over, two.fallen_back, two.full), (0, 0, 0), "{two:?}");
    expect_waves(summary);
}

/// Each wave has its times: of the reset, of the loss of a node, of its return.
fn expect_waves(summary: &Summary) {
    let step = |name: &str| summary.steps.iter().find(|step| step.step == name).unwrap();
    for (name, count, times) in [
        ("registration", 300, summary.registration_time_s),
        ("fail-over", 150, summary.failover_time_s),
        ("fall-back", 150, summary.fallback_time_s),
    ] {
        let step = step(name);
        assert_eq!((step.ok, step.failed), (count, 0), "{name}");
        assert_eq!(step.response_time_s, times, "{name}");
    }
    assert!(summary.registration_time_s.p50 >= summary.boot_time_s.p50, "it follows the boot");
    // They wait for so long after the node is there again.
    assert!(summary.fallback_time_s.p50 >= Some(2.0), "{:?}", summary.fallback_time_s);
    assert!(summary.failover_time_s.max < Some(2.0), "{:?}", summary.failover_time_s);
}

#[test]
fn phones_of_a_node_that_stops_fail_over_and_fall_back_when_it_is_there_for_long_enough() {
    let plan = plan("node-failover.toml", &FAILOVER);
    let summary = sim(&plan);
    expect_failover(&summary);
    assert_eq!(sim(&plan).sim.unwrap().digest, summary.sim.unwrap().digest);
}

#[test]
fn the_time_of_boots_has_nothing_of_what_phones_do_behind_them() {
    let plan = plan("node-failover.toml", &FAILOVER);
    let options = SimOptions { records: Recorded::Course, ..SimOptions::default() };
    let summary = World::new(&plan, options).run().summary(&plan);
    let spent: f64 = summary.attribution.iter().map(|part| part.seconds).sum();
    let boots = 300.0 * summary.boot_time_s.max.unwrap();
    assert!(spent > 0.0 && spent <= boots, "{spent} s of {boots}");
}

/// Phones that ask for ten seconds and something to do a minute later.
fn with_refreshes(overrides: &[&str]) -> Plan {
    let own = ["fleet.phones=40", "slo=[]", "registration.expires=10s", "event=[]"];
    let text = resetstorm::scenario::to_toml(&plan(
        "registration-storm.toml",
        &[&own[..], overrides].concat(),
    ));
    let events = "[[event]]\nat = '0s'\nreset-phones = { spread = '1s' }\n\
                  [[event]]\nat = '64s'\nrestart = { service = 'tvs', node = 'sub1' }\n";
    load(Path::new("x.toml"), &(text + events), &[], &known_paths()).unwrap()
}

#[test]
fn registrations_are_renewed_before_their_time_is_over_as_long_as_the_node_is_there() {
    let summary = sim(&with_refreshes(&["registration.rate-per-node=0.0"]));
    let counts = &summary.registration.counts;
    assert_eq!((summary.phones.registered, counts.accepted), (40, 40), "{counts:?}");
    // Five seconds before the end of ten: twelve times in what is left of the minute.
    assert!((40 * 11..=40 * 13).contains(&counts.refreshed), "{counts:?}");
    assert_eq!((counts.lost, counts.failovers, counts.unanswered), (0, 0, 0), "{counts:?}");
    let nodes = summary.registration.by_node.values();
    assert_eq!(nodes.map(|node| node.refreshed).sum::<u64>(), counts.refreshed);
    let sip = summary.steps.iter().find(|step| step.step == "sip").unwrap();
    assert_eq!(sip.ok, counts.accepted + counts.refreshed);
    // A node that is full says when to come again; the phones stay registered meanwhile.
    let full = sim(&with_refreshes(&["registration.rate-per-node=5.0"]));
    let counts = &full.registration.counts;
    assert!(counts.full >= 10 && counts.refreshed > 400, "{counts:?}");
    assert_eq!((full.phones.registered, counts.lost), (40, 0), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_renews_no_registration_has_lost_its_phones() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(renews_nothing(listener));
    let overrides = ["fleet.phones=10", "slo=[]", "registration.expires=2s", "event=[]"];
    let text = resetstorm::scenario::to_toml(&plan("registration-storm.toml", &overrides));
    let events = "[[event]]\nat = '0s'\nreset-phones = { spread = '1s' }\n\
                  [[event]]\nat = '8s'\nrestart = { service = 'tvs', node = 'sub1' }\n";
    let mut plan = load(Path::new("x.toml"), &(text + events), &[], &known_paths()).unwrap();
    for node in &mut plan.topology.nodes {
        node.services.retain(|&service| service != resetstorm::cluster::ServiceKind::CallManager);
        node.ports = node.ports.with(Dialogue::Sip, port);
        node.address = [127, 0, 0, 1].into();
    }
    let summary = run(&plan).await;
    server.abort();
    let (phones, counts) = (&summary.phones, &summary.registration.counts);
    assert_eq!(
        (counts.accepted, counts.lost, counts.refreshed),
        (10, 10, 0),
        "{:#}",
        summary.to_json()
    );
    assert_eq!((phones.registered, phones.unregistered_refused), (0, 10), "{phones:?}");
}

/// Registers each device once.
async fn renews_nothing(listener: TcpListener) {
    let known: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { return };
        let known = Arc::clone(&known);
        tokio::spawn(async move {
            let message = read_answer(&mut stream).await;
            if message.len() <= 4 {
                let _ = stream.write_all(PONG).await;
                let _ = read_answer(&mut stream).await;
                return;
            }
            let Ok(request) = SipMessage::parse(&message) else { return };
            let device = Contact::of(&request).unwrap().device;
            let is_new = known.lock().unwrap().insert(device);
            let answer = if is_new {
                Registered::Ok { expires_s: 2 }
            } else {
                Registered::No { status: 403, reason: "Forbidden" }
            };
            let _ = stream.write_all(&answer.encode(&request, None)).await;
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_live() {
    expect_failover(&run(&plan("node-failover.toml", &FAILOVER)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_live_has_the_counts_of_virtual_time() {
    let overrides = ["fleet.phones=300", "slo=[]", "registration.rate-per-node=0.0"];
    let plan = plan("registration-storm.toml", &overrides);
    let (live, sim) = (run(&plan).await, sim(&plan));
    for summary in [&live, &sim] {
        let (phones, counts) = (&summary.phones, &summary.registration.counts);
        assert_eq!((phones.registered, phones.registered_frozen), (300, 0));
        assert_eq!((counts.accepted, counts.by_later, counts.full), (300, 0, 0), "{counts:?}");
    }
}

#[test]
fn stuck_phones_stay_registered_with_what_they_had() {
    let overrides = [
        "fleet.phones=300",
        "slo=[]",
        "event.1.regenerate.certificate=TVS",
        "cluster.group.1.members=[\"pub\"]",
        "cluster.group.2.members=[\"pub\"]",
    ];
    // Both certificates of the only node at once: nobody vouches for anybody.
    let mut plan = plan("registration-storm.toml", &overrides);
    let again = load(
        Path::new("x.toml"),
        &resetstorm::scenario::to_toml(&plan).replacen(
            "[[event]]",
            "[[event]]\nwhen = \"fleet-settled\"\n\
                regenerate = { certificate = \"CallManager\", node = \"pub\" }\n[[event]]",
            1,
        ),
        &[],
        &known_paths(),
    );
    plan = again.unwrap();
    let summary = sim(&plan);
    assert_eq!((summary.phones.stuck, summary.phones.registered), (300, 300));
    assert_eq!(summary.phones.registered_frozen, 300);
}

#[test]
fn without_the_table_nobody_registers_and_no_callmanager_listens() {
    let plan = plan(
        "registration-storm.toml",
        &["fleet.phones=50", "slo=[]", "registration.enabled=false"],
    );
    assert!(plan.topology.registrar.is_none());
    let summary = sim(&plan);
    assert_eq!((summary.phones.ready, summary.phones.registered), (50, 0));
    assert!(summary.steps.iter().all(|step| !step.step.starts_with("sip")));
}

#[test]
fn a_group_without_a_running_member_leaves_its_phones_unregistered_and_the_run_ends() {
    let text = std::fs::read_to_string("scenarios/registration-storm.toml").unwrap();
    let stop = |node: &str| {
        format!(
            "[[event]]\nwhen = \"fleet-settled\"\n\
             stop = {{ service = \"callmanager\", node = \"{node}\" }}\n"
        )
    };
    let at = text.find("[[event]]").unwrap();
    let text = format!("{}{}{}{}", &text[..at], stop("sub1"), stop("sub2"), &text[at..]);
    let overrides = ["fleet.phones=40".to_owned(), "slo=[]".to_owned()];
    let plan = load(Path::new("x.toml"), &text, &overrides, &known_paths()).unwrap();
    let summary = sim(&plan);
    assert_eq!((summary.phones.registered, summary.phones.unregistered_no_answer), (0, 40));
    assert_eq!(summary.registration.counts.unanswered, 80, "each asks both once");
    for (name, node) in &summary.registration.by_node {
        assert_eq!((node.registered, node.unanswered), (0, 40), "{name}: {node:?}");
    }
    let mut steps = summary.steps.iter();
    let whole = steps.find(|step| step.step == "registration").unwrap();
    assert_eq!((whole.ok, whole.failed, whole.response_time_s.max), (0, 40, None));
    assert_eq!(summary.verdict.name(), "pass");
}

const SUB1: NodeId = NodeId { cluster: ClusterId::FIRST, node: 1 };
const PATIENCE: Duration = Duration::from_secs(30);

/// The plan of a scenario in mixed mode whose phones register over TLS.
fn secure(name: &str, overrides: &[&str]) -> Plan {
    let plan = plan(name, overrides);
    let text = resetstorm::scenario::to_toml(&plan)
        .replacen("security-mode = \"non-secure\"", "security-mode = \"mixed\"", 1)
        .replacen(
            "\n[fleet]",
            "\n[[cluster.phone-security-profile]]\nname = \"p\"\nshare = 1.0\n\
             device-security-mode = \"encrypted\"\n\n[fleet]",
            1,
        );
    let plan = load(Path::new("x.toml"), &text, &[], &known_paths());
    plan.unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn registrations_wait_for_a_place_of_their_own_and_lookups_for_theirs() {
    let slow = |bound: &str| {
        let bound = format!("run.{bound}=1");
        let overrides =
            ["fleet.phones=60", "slo=[]", "event.1.reset-phones.spread=0s", "event.2.stop.for=1s"];
        let host = ["cluster.cost.shared-host=true", "registration.rate-per-node=0.0", &bound];
        let summary = sim(&secure("node-failover.toml", &[&overrides[..], &host].concat()));
        assert_eq!((summary.phones.registered, summary.registration.counts.fallbacks), (60, 30));
        let step = summary.steps.into_iter().find(|step| step.step == "sips").unwrap();
        (step.service_time_s.p50.unwrap(), step.response_time_s.p50.unwrap())
    };
    let (alone, waited) = slow("registrations-in-flight");
    assert!(waited > 5.0 * alone, "those before it are waited for: {alone}, {waited}");
    let (shared, together) = slow("lookups-in-flight");
    assert!((together - shared).abs() < 1e-9, "nobody waits: {shared}, {together}");
}

#[test]
fn secure_phones_fail_over_and_fall_back_over_tls() {
    expect_failover(&sim(&secure("node-failover.toml", &FAILOVER)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secure_phones_do_the_same_live() {
    expect_failover(&run(&secure("node-failover.toml", &FAILOVER)).await);
}

/// Soft phones come without a certificate of a manufacturer (CAPF-04).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soft_phone_without_lsc_has_nothing_to_show_and_is_refused_over_tls() {
    let mixed = ["fleet.phones=40", "slo=[]", "fleet.models={'8841'=0.5,'CIPC'=0.5}"];
    let plan = secure("registration-storm.toml", &mixed);
    let fleet = plan.fleet_spec();
    let soft = (0..40).filter(|&phone| fleet.model(PhoneId(phone)).as_str() == "CIPC").count();
    assert!((10..30).contains(&soft));
    let counts = |summary: Summary| {
        let counts = summary.registration.counts;
        (summary.phones.ready, summary.phones.registered, counts.accepted, counts.refused)
    };
    let live = counts(run(&plan).await);
    let hard = 40 - soft as u64;
    assert_eq!((live.0, live.1, live.2), (40, hard, hard));
    assert!(live.3 > 0, "{live:?}");
    assert_eq!(counts(sim(&plan)), live);
}

#[test]
fn a_callmanager_certificate_that_no_list_holds_leaves_secure_phones_unregistered() {
    let plan = secure("registration-storm.toml", &["fleet.phones=40", "slo=[]"]);
    let text = resetstorm::scenario::to_toml(&plan);
    // Both nodes show new certificates, and nobody updates the CTL.
    let change = |node: &str| {
        format!(
            "[[event]]\nwhen = \"fleet-settled\"\n\
             regenerate = {{ certificate = \"CallManager\", node = \"{node}\" }}\n\
             [[event]]\nafter = \"previous\"\n\
             restart = {{ service = \"callmanager\", node = \"{node}\" }}\n"
        )
    };
    let at = text.find("[[event]]").unwrap();
    let text = format!("{}{}{}{}", &text[..at], change("sub1"), change("sub2"), &text[at..]);
    let plan = load(Path::new("x.toml"), &text, &[], &known_paths()).unwrap();
    let summary = sim(&plan);
    let phones = &summary.phones;
    assert_eq!((phones.registered, phones.unregistered_certificate), (0, 40), "{phones:?}");
    assert_eq!(summary.registration.counts.certificate_refused, 80);
}

fn register(phone: u32, secure: bool, server: SocketAddr) -> Vec<u8> {
    let registration = Registration {
        server,
        device: DeviceName::of_phone(PhoneId(phone)),
        model: "8841",
        load: "",
        secure,
        number: 1,
        expires: Span::from_secs(60),
    };
    registration.encode()
}

const ROLL_OUT: &str =
    "when = 'fleet-settled'\nroll-out-lsc = { key = 'ec-256', completes-in = '5h', spread = '1s' }";
const LATER: &str = "when = 'fleet-settled'\nadvance = '40d'";
const RESET: &str = "when = 'fleet-settled'\nreset-phones = { spread = '1s' }";

/// Secure phones of a cluster whose CAPF certificate ends in thirty days, and these steps.
fn with_lscs(phones: u32, steps: &[&str]) -> Plan {
    let phones = format!("fleet.phones={phones}");
    let overrides = [&phones, "slo=[]", "event=[]", "cluster.node.pub.expires={CAPF='30d'}"];
    let text = resetstorm::scenario::to_toml(&secure("registration-storm.toml", &overrides));
    let event = |step: &&str| format!("[[event]]\n{step}\n");
    let steps: String = steps.iter().map(event).collect();
    load(Path::new("x.toml"), &(text + &steps), &[], &known_paths()).unwrap()
}

#[test]
fn phones_register_with_their_lsc_until_capf_has_expired_and_with_a_new_one_again() {
    let registered = |steps: &[&str]| {
        let summary = sim(&with_lscs(40, steps));
        (summary.phones.registered, summary.capf.installed, summary.capf.stale)
    };
    assert_eq!(registered(&[ROLL_OUT, RESET]), (40, 40, 0));
    // Nobody has an LSC: the MICs are good for longer.
    assert_eq!(registered(&[LATER, RESET]), (40, 0, 0));
    assert_eq!(registered(&[ROLL_OUT, LATER, RESET]), (0, 40, 0), "CAPF-10");
    // A new CAPF certificate, in the ITL and in CallManager-trust, and new LSCs (CAPF-11).
    let renew = "when = 'fleet-settled'\nregenerate = { certificate = 'CAPF', node = 'pub' }";
    let restarts = ["pub", "sub1", "sub2"]
        .map(|node| format!("after = 'previous'\nrestart = {{ node = '{node}' }}"));
    let [first, second, third] = &restarts;
    let expired = [ROLL_OUT, LATER, RESET, renew, first, second, third];
    assert_eq!(registered(&[&expired[..], &[ROLL_OUT]].concat()), (40, 40, 0));
    assert_eq!(registered(&[&expired[..], &[RESET]].concat()), (0, 40, 40), "the old LSCs stay");
    // The phones do not trust who signs the new ITL: they never learn of the new CAPF.
    let signer =
        "when = 'fleet-settled'\nregenerate = { certificate = 'CallManager', node = 'pub' }";
    let silent = ["pub", "sub1", "sub2"]
        .map(|node| format!("after = 'previous'\nstop = {{ service = 'tvs', node = '{node}' }}"));
    let [one, two, three] = &silent;
    let untrusted = [ROLL_OUT, LATER, RESET, renew, signer, first, second, third, one, two, three];
    assert_eq!(registered(&[&untrusted[..], &[ROLL_OUT]].concat()), (0, 40, 40));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lscs_decide_live_what_they_decide_in_virtual_time() {
    for (steps, registered) in [(vec![ROLL_OUT, RESET], 8), (vec![ROLL_OUT, LATER, RESET], 0)] {
        let summary = run(&with_lscs(8, &steps)).await;
        let phones = &summary.phones;
        assert_eq!((phones.registered, summary.capf.installed), (registered, 8), "{phones:?}");
        // The node has ended the handshake with an alert: a phone at sub1, and then at sub2.
        let refused = 8 - registered;
        assert_eq!(phones.unregistered_refused, refused, "{phones:?}");
        assert_eq!(summary.registration.counts.refused, 2 * refused);
        assert_eq!(sim(&with_lscs(8, &steps)).registration, summary.registration);
    }
}

#[test]
fn certificates_that_have_expired_or_are_of_others_are_refused() {
    let plan = secure("registration-storm.toml", &["fleet.phones=4", "slo=[]"]);
    let cluster = cluster(&plan, plan.topology.clone());
    let server = SocketAddr::from(([127, 0, 0, 2], 5061));
    let judge = |certificate: Option<&[u8]>, now| {
        cluster.dialogue(SUB1, Dialogue::Sips).unwrap().judge(certificate, now)
    };
    let ask_at = |dialogue, certificate: Option<Vec<u8>>, phone, now| {
        let service = cluster.dialogue(SUB1, dialogue).unwrap();
        let mut conversation = service.open(&Peer { address: None, certificate });
        let request = register(phone, dialogue == Dialogue::Sips, server);
        parse_answer(&conversation.on(&request, now).unwrap().reply, 1).unwrap().status
    };
    let ask = |certificate, phone| ask_at(Dialogue::Sips, certificate, phone, Time::ZERO);
    let by = Manufacturer::ManufacturingCaSha2;
    let mic = |phone| Some(mic(PhoneId(phone), 8841.into(), by).0.der().to_vec());
    assert_eq!(ask(mic(1), 1), 200);
    assert_eq!(ask(mic(2), 1), 403, "of another device");
    let shown = mic(1).unwrap();
    assert_eq!(judge(Some(&shown), Time::ZERO), Ok(()));
    assert_eq!(judge(None, Time::ZERO), Err(PeerRefusal::Missing));
    assert_eq!(judge(Some(&[0x30, 0]), Time::ZERO), Err(PeerRefusal::Malformed));
    let spec = CertificateSpec {
        common_name: "CP-8841-SEP0C75BD000001",
        not_before_s: 1_700_000_000,
        key_bits: 2048,
    };
    let own = Identity::self_signed(&spec, &mut KeySource::bank(9));
    assert_eq!(judge(Some(own.certificate.der()), Time::ZERO), Err(PeerRefusal::UnknownCa));
    let later = Time::ZERO + Span::from_secs(20 * 365 * 86_400);
    assert_eq!(judge(Some(&shown), later), Err(PeerRefusal::Expired));
    let over_tcp = cluster.dialogue(SUB1, Dialogue::Sip).unwrap();
    assert_eq!(over_tcp.judge(None, later), Ok(()), "nobody is asked");
    assert_eq!(ask(mic(7), 7), 404, "not in the database");
    assert_eq!(ask_at(Dialogue::Sip, None, 1, Time::ZERO), 403, "its profile says TLS");
}

fn cluster(plan: &Plan, topology: resetstorm::cluster::Topology) -> Cluster {
    Cluster::new(Genesis {
        topology,
        fleet: plan.fleet_spec(),
        source: KeySource::bank(1),
        epoch_s: 1_700_000_000,
        stored: Stored::default(),
    })
}

async fn read_answer(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = vec![0; 4_096];
    let read = timeout(PATIENCE, stream.read(&mut bytes)).await.expect("in time").unwrap_or(0);
    bytes.truncate(read);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_sip_clients_get_an_error_or_the_end_and_phones_still_register() {
    let plan = plan("registration-storm.toml", &["fleet.phones=40", "slo=[]"]);
    let bound = Bound::bind(&plan.topology).unwrap();
    let topology = bound.topology().clone();
    let address = topology.dialogue_socket(SUB1, Dialogue::Sip);
    let cluster = cluster(&plan, topology);
    let settings = ServeSettings::default();
    let servers = Servers::start(bound, &cluster, Clock::start(), settings).await.unwrap();
    let long = format!("REGISTER sip:a SIP/2.0\r\n{}", "X: y\r\n".repeat(3_000));
    let closed: [&[u8]; 8] = [
        b"\x16\x03\x01\x02\0\x01\0\x01\xFC\x03\x03",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\0",
        b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"REGISTER sip:a SIP/2.0\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"REGISTER sip:a SIP/2.0\r\nContent-Length: -1\r\n\r\n",
        b"REGISTER sip:a SIP/2.0\r\nl: 1\r\nContent-Length: 2\r\n\r\nxx",
        long.as_bytes(),
    ];
    for bytes in closed {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // It may be closed before all is written.
        let _ = stream.write_all(bytes).await;
        assert_eq!(read_answer(&mut stream).await, b"", "{:?}", String::from_utf8_lossy(bytes));
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    let refused: [(&[u8], &str); 3] = [
        (b"REGISTER sip:a SIP/2.0\r\n\r\n", "SIP/2.0 400 "),
        (b"INVITE sip:a SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\n", "SIP/2.0 405 "),
        (b"\r\n\r\n", "\r\n"),
    ];
    for (bytes, expected) in refused {
        stream.write_all(bytes).await.unwrap();
        let answer = read_answer(&mut stream).await;
        assert!(answer.starts_with(expected.as_bytes()), "{}", String::from_utf8_lossy(&answer));
    }
    // Two at once, in pieces.
    let two = [register(3, false, address), register(99, false, address)].concat();
    for piece in two.chunks(100) {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
    }
    let mut answers = Vec::new();
    while !String::from_utf8_lossy(&answers).contains("404 Not Found") {
        let more = read_answer(&mut stream).await;
        assert!(!more.is_empty(), "{}", String::from_utf8_lossy(&answers));
        answers.extend(more);
    }
    assert!(answers.starts_with(b"SIP/2.0 200 OK\r\n"));
    assert!(servers.shutdown().await.dialogue(Dialogue::Sip).malformed >= 6);
}

/// Answers every request with these bytes; closes the connection without a word if there are none.
async fn answers(listener: TcpListener, bytes: &'static [u8]) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { return };
        tokio::spawn(async move {
            let _ = read_answer(&mut stream).await;
            let _ = stream.write_all(bytes).await;
        });
    }
}

async fn gives_a_cause(bytes: &'static [u8]) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(answers(listener, bytes));
    let mut plan = plan("registration-storm.toml", &["fleet.phones=20", "slo=[]"]);
    let topology = &mut plan.topology;
    for node in &mut topology.nodes {
        node.services.retain(|&service| service != resetstorm::cluster::ServiceKind::CallManager);
        node.ports = node.ports.with(Dialogue::Sip, port);
    }
    for node in &mut topology.nodes[1..] {
        node.address = [127, 0, 0, 1].into();
    }
    let summary = run(&plan).await;
    let phones = &summary.phones;
    assert_eq!((phones.registered, phones.unregistered_no_answer), (0, 20), "{bytes:?}");
    server.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_sip_servers_leave_phones_unregistered_with_a_cause_and_the_run_ends() {
    tokio::join!(
        gives_a_cause(b""),
        gives_a_cause(b"HTTP/1.1 200 OK\r\n\r\n"),
        gives_a_cause(b"SIP/2.0 200 OK\r\nCSeq: 1 REGISTER\r\nContent-Length: 0\r\n\r\n"),
        gives_a_cause(b"SIP/2.0 200 OK\r\nContent-Length: 70000\r\n\r\n"),
        gives_a_cause(b"SIP/2.0 503 Busy\r\nCSeq: CSEQ\r\nContent-Length: 0\r\n\r\n"),
    );
}
