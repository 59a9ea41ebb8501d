//! Orders of an operator's steps on two TFTP nodes, in virtual time: the outcome follows from
//! which certificates changed between two resets, not from the name of the procedure.

use std::path::Path;

use resetstorm::measure::{Summary, known_paths};
use resetstorm::scenario::load;
use resetstorm::sim::{SimOptions, World};

/// Two TFTP nodes; a tenth of the phones know the TVS of `pub` only.
const HEAD: &str = r#"
schema = 1
name   = "orders"
about  = "two TFTP nodes"
seed   = 42

[cluster]
release = "8.6"

[[cluster.node]]
name     = "pub"
address  = "127.0.0.1"
services = ["callmanager", "tftp", "tvs", "capf"]
ports    = { tftp = 6969, tvs = 2445 }

[[cluster.node]]
name     = "sub"
address  = "127.0.0.2"
services = ["callmanager", "tftp", "tvs"]
ports    = { tftp = 6969, tvs = 2445 }

[[cluster.group]]
name    = "both"
members = ["pub", "sub"]
share   = 0.9

[[cluster.group]]
name    = "short"
members = ["pub"]
share   = 0.1

[fleet]
phones = 200
models = { "8841" = 1.0 }
tftp   = ["pub", "sub"]
start  = "itl-current"
"#;

fn regenerate(certificate: &str, node: &str, trigger: &str) -> String {
    step(trigger, &format!("regenerate = {{ certificate = \"{certificate}\", node = \"{node}\" }}"))
}

fn restart(service: &str, node: &str) -> String {
    step(
        "after = \"previous\"",
        &format!("restart = {{ service = \"{service}\", node = \"{node}\" }}"),
    )
}

fn step(trigger: &str, action: &str) -> String {
    format!("[[event]]\n{trigger}\n{action}\n")
}

/// The certificates of these kinds change on these nodes, TVS and TFTP are restarted on both, and
/// all phones are reset.
fn wave(kinds: &[&str], nodes: &[&str]) -> String {
    let mut text = String::new();
    for kind in kinds {
        for node in nodes {
            let first = text.is_empty();
            let trigger = if first { "when = \"fleet-settled\"" } else { "after = \"previous\"" };
            text += &regenerate(kind, node, trigger);
        }
    }
    for service in ["tvs", "tftp"] {
        for node in ["pub", "sub"] {
            text += &restart(service, node);
        }
    }
    text + &step("after = \"previous\"", "reset-phones = { spread = \"5s\" }")
}

fn play(events: &str) -> Summary {
    let text = format!("{HEAD}{events}");
    let plan = load(Path::new("orders.toml"), &text, &[], &known_paths()).unwrap();
    World::new(&plan, SimOptions::default()).run().summary(&plan)
}

#[test]
fn one_certificate_type_at_a_time_on_two_tftp_nodes_strands_nobody() {
    let both = ["pub", "sub"];
    let events = ["CallManager", "TVS"].map(|kind| wave(&[kind], &both)).concat()
        + &wave(&["CAPF"], &["pub"]);
    let phones = play(&events).phones;
    assert_eq!((phones.ready, phones.stuck, phones.failed), (200, 0, 0));
}

#[test]
fn both_types_on_both_nodes_between_two_resets_strand_everybody() {
    let phones = play(&wave(&["CallManager", "TVS"], &["pub", "sub"])).phones;
    assert_eq!((phones.ready, phones.stuck, phones.failed), (0, 200, 0));
}

#[test]
fn a_single_member_group_is_stuck_when_both_certificates_of_its_node_change_and_not_when_one_does()
{
    // Phones of `sub` keep a signer that they know; of those of `pub` who may ask `sub` recovers.
    let stuck = play(&wave(&["CallManager", "TVS"], &["pub"])).phones.stuck;
    assert_eq!(stuck, 10, "of the 20 phones of the short group, those whose files `pub` signs");
    let one = play(&wave(&["CallManager"], &["pub", "sub"]));
    assert_eq!((one.phones.ready, one.phones.stuck), (200, 0));
    assert_eq!(one.tvs.lookups, 200, "TVS vouches for every new signer");
}
