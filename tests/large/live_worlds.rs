//! Small worlds, each drawn from its number, on real loopback sockets and in virtual time: every
//! count of both must be the same, and the same phones must be ready, stuck and failed.
//!
//! `RESETSTORM_WORLD=17 cargo test --test large live_worlds -- --nocapture` plays one of them and shows
//! its scenario; `RESETSTORM_WORLDS=300` plays more, `RESETSTORM_WORLDS=100..300` those.

use std::fmt::Write;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use crate::worlds::live_scenario;
use rayon::prelude::*;
use resetstorm::base::Time;
use resetstorm::live::{self, LiveOptions, LiveRun, Observer};
use resetstorm::measure::{Ledger, Summary, known_paths};
use resetstorm::phone::{Failure, Outcome};
use resetstorm::scenario::{Plan, load};
use resetstorm::sim::{SimOptions, SimRun, World};
use resetstorm::transfer::TransferFault;
use resetstorm::wire::Dialogue;
use serde_json::Value;

/// Worlds that `cargo test` plays; a build with optimisation takes half the time for each.
const WORLDS: u64 = if cfg!(debug_assertions) { 5 } else { 20 };

/// Keeps what the servers say of themselves: their ports.
#[derive(Default)]
struct Ear(Vec<String>);

impl Observer for Ear {
    fn started(&mut self, lines: &[String]) {
        self.0 = lines.to_vec();
    }
    fn tick(&mut self, _: &Ledger, _: Time) {}
    fn operator(&mut self, _: &str, _: Time) {}
}

/// The plan with the ports that the live run got: configurations hold them, so that bytes agree.
fn with_ports(plan: &Plan, lines: &[String]) -> Plan {
    let mut plan = plan.clone();
    for node in &mut plan.topology.nodes {
        let begin = format!("cluster   {} on ", node.name);
        let line = lines.iter().find(|line| line.starts_with(&begin)).expect("each node is listed");
        let port = |service: &str| {
            let text = line.split(&format!(" {service} ")).nth(1)?.split(' ').next()?;
            text.parse::<u16>().ok()
        };
        let ports = &mut node.ports;
        ports.tftp = port("tftp").unwrap_or(0);
        *ports = ports.with(Dialogue::Tvs, port("tvs").unwrap_or(0));
        ports.http = ports.http.map(|any| port("http").unwrap_or(any));
        ports.https = ports.https.map(|any| port("https").unwrap_or(any));
    }
    plan
}

/// Every number of a summary that does not depend on time, by its path.
fn counts(summary: &Summary) -> Vec<(String, Value)> {
    let whole = summary.to_json();
    let mut found = Vec::new();
    let mut keep = |path: String, value: &Value| found.push((path, value.clone()));
    for part in ["phones", "config", "tvs", "trust"] {
        keep(part.to_owned(), &whole[part]);
    }
    let parts: [(&str, &[&str]); 5] = [
        ("signatures", &["made", "made_before", "verified", "cache_hits", "cache_misses"]),
        // Not how many were in flight at once.
        ("tftp", &["transfers", "bytes", "retransmits", "not_found", "errors", "failovers"]),
        ("http", &["requests", "connections", "bytes", "not_found", "errors", "fallbacks"]),
        ("https", &["requests", "connections", "bytes", "not_found", "errors", "fallbacks"]),
        (
            "serve",
            &[
                "tftp_requests",
                "http_requests",
                "http_connections",
                "https_requests",
                "https_handshakes_ok",
                "https_handshakes_failed",
                "tvs_handshakes_ok",
                "tvs_handshakes_failed",
                "tvs_answers",
            ],
        ),
    ];
    for (part, names) in parts {
        for name in names {
            keep(format!("{part}.{name}"), &whole[part][name]);
        }
    }
    // What a server sends again, because it waits for a busy phone, is no part of it.
    let sent = |name: &str| whole["serve"][name].as_u64().unwrap();
    let first = Value::from(sent("tftp_datagrams_out") - sent("tftp_retransmits"));
    keep("serve.tftp_datagrams_out but for retransmits".to_owned(), &first);
    for step in whole["steps"].as_array().unwrap() {
        for name in ["count", "ok", "not_found", "stuck", "retry", "failed"] {
            keep(format!("steps.{}.{name}", step["step"].as_str().unwrap()), &step[name]);
        }
    }
    found
}

/// How each phone ended, by its number.
fn outcomes(ledger: &Ledger) -> impl Iterator<Item = Option<Outcome>> {
    ledger.phones().iter().map(|phone| phone.outcome)
}

/// Plays a scenario both ways.
async fn both(text: &str) -> (Plan, LiveRun, SimRun) {
    let plan = load(Path::new("world.toml"), text, &[], &known_paths())
        .unwrap_or_else(|error| panic!("the scenario is none: {error}\n{text}"));
    let mut ear = Ear::default();
    let live = Box::pin(live::run(&plan, &LiveOptions::default(), &mut ear)).await.unwrap();
    assert!(live.signal.is_none(), "stopped from outside");
    let plan = with_ports(&plan, &ear.0);
    let sim = World::new(&plan, SimOptions::default()).run();
    (plan, live, sim)
}

/// Where live and virtual time differ; empty if they agree.
async fn differences(text: &str) -> String {
    let (plan, live, sim) = both(text).await;
    let mut found = String::new();
    let summary = Summary::new(&live.ledger, live.facts, &plan.slos, live.finish);
    for ((path, live), (_, sim)) in counts(&summary).into_iter().zip(counts(&sim.summary(&plan))) {
        if live != sim {
            writeln!(found, "  {path}: live {live}, sim {sim}").unwrap();
        }
    }
    let ended = outcomes(&live.ledger).zip(outcomes(&sim.ledger));
    for (phone, (live, sim)) in ended.enumerate() {
        if live != sim {
            writeln!(found, "  phone {phone}: live {live:?}, sim {sim:?}").unwrap();
            break;
        }
    }
    if live.ledger.counts().unexpected > 0 {
        writeln!(found, "  {} inputs unexpected", live.ledger.counts().unexpected).unwrap();
    }
    found
}

/// Which worlds the environment asks for: their numbers, and whether it is one to look at.
fn asked_for() -> (Range<u64>, bool) {
    let text = |name: &str| std::env::var(name).ok();
    if let Some(seed) = text("RESETSTORM_WORLD").and_then(|text| text.parse().ok()) {
        return (seed..seed + 1, true);
    }
    let Some(worlds) = text("RESETSTORM_WORLDS") else { return (0..WORLDS, false) };
    let (from, to) = worlds.split_once("..").unwrap_or(("0", &worlds));
    (from.parse().unwrap()..to.parse().unwrap(), false)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_worlds_come_out_alike_on_sockets_and_in_virtual_time() {
    let _turn = crate::TURN.lock().await;
    let (worlds, look) = asked_for();
    let asked = worlds != (0..WORLDS);
    let mut differ = Vec::new();
    for seed in worlds.clone() {
        let text = live_scenario(seed);
        if look {
            println!("{text}");
        }
        let begun = Instant::now();
        let found = differences(&text).await;
        if asked {
            println!("world {seed}: {:.2?}", begun.elapsed());
        }
        if !found.is_empty() {
            let again = "cargo test --test large live_worlds -- --nocapture";
            println!("RESETSTORM_WORLD={seed} {again}\n{found}");
            differ.push(seed);
        }
    }
    assert!(differ.is_empty(), "{} of worlds {worlds:?} differ: {differ:?}", differ.len());
}

/// An event in a few words, such as `new TVS c` or `stop tftp a`; `all` services of a node.
fn event(words: &str) -> String {
    let words: Vec<&str> = words.split(' ').collect();
    match words[..] {
        ["reset"] => "reset-phones = {}".to_owned(),
        ["reset", "over", spread] => format!("reset-phones = {{ spread = \"{spread}\" }}"),
        ["new", kind, node] => {
            format!("regenerate = {{ certificate = \"{kind}\", node = \"{node}\" }}")
        }
        ["rename", node, to] => format!("rename = {{ node = \"{node}\", to = \"{to}\" }}"),
        [what, "all", node] => format!("{what} = {{ node = \"{node}\" }}"),
        [what, service, node] => {
            format!("{what} = {{ service = \"{service}\", node = \"{node}\" }}")
        }
        _ => panic!("{words:?}"),
    }
}

/// A cluster of three nodes, of which the phones of one group know the last one only, and what
/// its operator does, event by event.
fn three_nodes(cluster: &str, fleet: &str, events: &str) -> String {
    let mut out = format!("schema = 1\nname = \"hard\"\nseed = 5\n[cluster]\n{cluster}\n");
    for (node, services) in [
        ("a", "'callmanager', 'capf', 'tftp', 'tvs'"),
        ("b", "'callmanager', 'tftp', 'tvs'"),
        ("c", "'callmanager', 'tvs'"),
    ] {
        writeln!(
            out,
            "[[cluster.node]]\nname = '{node}'\naddress = '127.0.0.250'\n\
             services = [{services}]\n\
             ports = {{ tftp = 0, tvs = 0, capf = 0, http = 0, https = 0 }}"
        )
        .unwrap();
    }
    for (group, members, share) in [("all", "'a', 'b', 'c'", 0.6), ("lone", "'c'", 0.4)] {
        writeln!(
            out,
            "[[cluster.group]]\nname = '{group}'\nmembers = [{members}]\nshare = {share}"
        )
        .unwrap();
    }
    writeln!(out, "[fleet]\nmodels = {{ 8841 = 0.5, 7962 = 0.5 }}\n{fleet}").unwrap();
    let mut before = "reset";
    for words in events.split(", ") {
        // What is done while phones boot depends on how fast they are.
        let at_rest = "when = 'fleet-settled'";
        let trigger = if before == "reset" { at_rest } else { "after = 'previous'" };
        writeln!(out, "[[event]]\n{trigger}\n{}", event(words)).unwrap();
        before = words;
    }
    out
}

const OLD: &str = "release = '8.6'";
const MIDDLE: &str = "release = '11.5'\nsign-cache = 'prewarm'";
const SHA512: &str = "release = '12.5'\nsign-cache = 'off'\nfile-signature = 'sha512'";
const NEW: &str = "release = '14'";
/// Keys of this length take twenty seconds to make without optimisation.
const LONG: &str = if cfg!(debug_assertions) { OLD } else { "key-bits = 4096" };

const ONE: &str = "phones = 1\ntftp = 'a'";
const SOME: &str = "phones = 30\ntftp = 'a'";
const BOTH: &str = "phones = 30\ntftp = ['a', 'b']\n[phone]\ntransport = 'http'";
const LISTS: &str = "phones = 60\ntftp = [['a', 'b'], ['b', 'a']]";
const LISTS_HTTP: &str = "phones = 30\ntftp = [['a', 'b']]\n[phone]\ntransport = 'http'";
const UNBORN: &str = "phones = 30\ntftp = 'b'\nstart = 'factory'\narrival.within = '99ms'\n[phone]\ntransport = 'model'";

/// What people do, and what they had better not do.
const HARD: [(&str, &str, &str); 25] = [
    (OLD, SOME, "new CallManager a, new CallManager a, restart tftp a, reset"),
    (OLD, SOME, "new CallManager a, restart tftp a, new CallManager a, restart tftp a, reset"),
    (
        OLD,
        SOME,
        "new CallManager a, restart tftp a, reset, new CallManager a, restart tftp a, reset",
    ),
    (OLD, SOME, "new TVS c, restart tvs c, new CallManager a, restart tftp a, reset, reset"),
    (OLD, SOME, "new TVS c, restart tftp a, reset, new CallManager a, restart tftp a, reset"),
    (NEW, BOTH, "new TVS c, restart tvs c, new ITLRecovery a, reset"),
    (
        NEW,
        BOTH,
        "new ITLRecovery a, new CallManager a, new CallManager b, restart all a, restart all b, reset",
    ),
    // What is renamed back has its old name and new certificates.
    (OLD, SOME, "rename a z, restart all z, reset, rename z a, restart all a, reset"),
    (SHA512, BOTH, "rename a z, rename z a, restart tftp a, reset"),
    (MIDDLE, ONE, "new CallManager a, restart tftp a, reset, reset"),
    (NEW, UNBORN, "reset, new ITLRecovery a, restart all b, reset"),
    (NEW, UNBORN, "new CallManager a, new CallManager b, new ITLRecovery a, restart tftp b, reset"),
    (OLD, UNBORN, "stop all b, reset, start all b, reset"),
    (SHA512, SOME, "stop tftp a, reset, start tftp a, reset"),
    (NEW, BOTH, "stop tftp a, reset, reset"),
    (MIDDLE, SOME, "stop tvs a, stop tvs b, stop tvs c, new CallManager a, restart tftp a, reset"),
    (OLD, BOTH, "stop tvs c, new CallManager a, restart tftp a, reset"),
    (MIDDLE, SOME, "new CallManager a, stop tftp a, start tftp a, reset, reset"),
    // The first server of the list is silent, comes back, and at last both are.
    (OLD, LISTS, "stop tftp a, reset, start tftp a, reset"),
    (OLD, LISTS, "stop tftp a, stop tftp b, reset, start tftp b, reset"),
    (
        OLD,
        LISTS,
        "stop tftp a, new CallManager a, new TVS a, restart tvs a, restart tftp b, reset, start tftp a, new CallManager b, restart tftp b, reset",
    ),
    (NEW, LISTS_HTTP, "stop tftp a, new CallManager a, reset, start tftp a, reset"),
    (MIDDLE, LISTS_HTTP, "stop all a, reset, start all a, reset"),
    (LONG, ONE, "new CallManager a, restart tftp a, reset"),
    // Ten hours are more than the run has.
    (OLD, "phones = 20\ntftp = 'a'\n[run]\nmax-wall = '1s'", "reset over 10h"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worlds_that_are_hard_on_purpose_come_out_alike() {
    let _turn = crate::TURN.lock().await;
    let mut differ = String::new();
    for (cluster, fleet, events) in HARD {
        let found = differences(&three_nodes(cluster, fleet, events)).await;
        if !found.is_empty() {
            writeln!(differ, "{cluster}, {fleet}, {events}:\n{found}").unwrap();
        }
    }
    assert!(differ.is_empty(), "{differ}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_with_ipv6_comes_out_alike() {
    let _turn = crate::TURN.lock().await;
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        // A host without IPv6.
        return;
    }
    let text = three_nodes(
        OLD,
        BOTH,
        "new CallManager a, restart tftp a, reset, new TVS a, restart all a, reset",
    );
    let found = differences(&text.replace("127.0.0.250", "::1")).await;
    assert!(found.is_empty(), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_tftp_service_refuses_in_virtual_time_as_it_does_on_sockets() {
    let _turn = crate::TURN.lock().await;
    let (_, live, sim) = both(&three_nodes(OLD, SOME, "stop tftp a, reset")).await;
    let refused = Some(Outcome::Failed(Failure::Transfer(TransferFault::Refused)));
    for ledger in [&live.ledger, &sim.ledger] {
        assert!(ledger.phones().iter().all(|phone| phone.outcome == refused));
        assert_eq!(ledger.counts().tftp.errors, 90);
    }
    assert!(sim.ended.as_secs_f64() < 1.0, "nobody waits for a time-out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signatures_of_before_the_run_are_the_same_in_virtual_time() {
    let _turn = crate::TURN.lock().await;
    // Prewarmed at the start; and none of a list that no phone is given.
    for (cluster, fleet, made) in [(MIDDLE, SOME, 62), (SHA512, UNBORN, 60)] {
        let (_, live, sim) = both(&three_nodes(cluster, fleet, "reset")).await;
        assert_eq!((live.facts.signed_before.made, sim.facts.signed_before.made), (made, made));
    }
}

#[test]
fn live_worlds_differ_in_what_comes_of_them() {
    let outcomes: Vec<[bool; 5]> = (0..24)
        .into_par_iter()
        .map(|seed| {
            // Long keys change no outcome and take twenty seconds to make without optimisation.
            let text = live_scenario(seed).replace("key-bits = 4096\n", "");
            let plan = load(Path::new("world.toml"), &text, &[], &known_paths()).unwrap();
            let ledger = World::new(&plan, SimOptions::default()).run().ledger;
            let tallies = ledger.tallies();
            let unresolved = ledger.counts().tvs.unresolved > 0;
            [
                tallies.ready > 0,
                tallies.stuck > 0,
                tallies.failed > 0,
                tallies.list_alarms > 0,
                unresolved,
            ]
        })
        .collect();
    for (at, what) in ["ready", "stuck", "failed", "alarmed", "nameless"].into_iter().enumerate() {
        let count = outcomes.iter().filter(|outcome| outcome[at]).count();
        assert!((1..24).contains(&count), "{count} of 24 worlds have {what} phones");
    }
}
