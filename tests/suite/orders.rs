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
    play_on(HEAD, events)
}

fn play_on(head: &str, events: &str) -> Summary {
    let text = format!("{head}{events}");
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

/// Certificates of these kinds change on the primary while its TFTP is stopped, then on the
/// secondary; all phones are reset after each. `told` says whether the secondary serves a list
/// that knows the new TVS of the primary before the first reset (SAFE-02).
fn two_tftp_order(kinds: &[&str], told: bool) -> String {
    let (settled, then) = ("when = \"fleet-settled\"", "after = \"previous\"");
    let reset = step(then, "reset-phones = { spread = \"5s\" }");
    let service =
        |verb: &str, node: &str| format!("{verb} = {{ service = \"tftp\", node = \"{node}\" }}");
    let change = |node: &str| {
        let new = kinds.iter().map(|kind| regenerate(kind, node, then)).collect::<String>();
        new + &restart("tvs", node)
    };
    step(settled, &service("stop", "pub"))
        + &change("pub")
        + if told { restart("tftp", "sub") } else { String::new() }.as_str()
        + &reset
        + &step(settled, &service("start", "pub"))
        + &change("sub")
        + &restart("tftp", "sub")
        + &restart("tftp", "pub")
        + &reset
}

/// Option 150 names both servers, `pub` first; all phones know the TVS of both nodes, or a tenth
/// that of `pub` only.
fn lists(short: bool) -> String {
    let head = HEAD.replace("tftp   = [\"pub\", \"sub\"]", "tftp   = [[\"pub\", \"sub\"]]");
    let share = if short { ["0.9", "0.1"] } else { ["1.0", "0.0"] };
    head.replace("share   = 0.9", &format!("share   = {}", share[0]))
        .replace("share   = 0.1", &format!("share   = {}", share[1]))
}

#[test]
fn the_two_tftp_order_strands_nobody_who_has_two_tvs_servers() {
    let summary = play_on(&lists(false), &two_tftp_order(&["CallManager", "TVS"], true));
    let phones = &summary.phones;
    assert_eq!((phones.ready, phones.stuck, phones.failed), (200, 0, 0));
    assert_eq!((summary.tftp.failovers, summary.tftp.errors), (200, 200), "one file of each phone");
    assert_eq!((summary.tvs.lookups, summary.tvs.failovers), (400, 200), "one question a list");
    let files = &summary.trust;
    assert_eq!((files.lists.accepted_by_tvs, files.configs.accepted_by_itl), (400, 400));
}

#[test]
fn a_secondary_that_does_not_know_the_new_tvs_of_the_primary_strands_everybody() {
    let summary = play_on(&lists(false), &two_tftp_order(&["CallManager", "TVS"], false));
    assert_eq!((summary.phones.ready, summary.phones.stuck), (0, 200));
    assert_eq!(summary.config.applied, 200, "the first reset went well");
    let summary = play_on(&lists(false), &two_tftp_order(&["CallManager"], false));
    assert_eq!((summary.phones.ready, summary.phones.stuck), (200, 0));
}

#[test]
fn the_two_tftp_order_strands_the_short_group_if_tvs_changes_too_and_nobody_if_not() {
    let summary = play_on(&lists(true), &two_tftp_order(&["CallManager", "TVS"], true));
    assert_eq!((summary.phones.ready, summary.phones.stuck), (180, 20));
    assert_eq!((summary.tftp.failovers, summary.tvs.lookups), (200, 360), "they do find a server");
    let summary = play_on(&lists(true), &two_tftp_order(&["CallManager"], true));
    assert_eq!((summary.phones.ready, summary.phones.stuck), (200, 0));
    assert_eq!((summary.tvs.lookups, summary.tvs.failed), (400, 0));
}

#[test]
fn phones_with_one_server_fail_while_it_is_silent_and_those_with_two_do_not() {
    let events = step("when = \"fleet-settled\"", "stop = { service = \"tftp\", node = \"pub\" }")
        + &step("after = \"previous\"", "reset-phones = { spread = \"5s\" }");
    let summary = play(&events);
    assert_eq!((summary.phones.ready, summary.phones.failed), (100, 100), "turns, not lists");
    let summary = play_on(&lists(false), &events);
    assert_eq!((summary.phones.ready, summary.phones.failed), (200, 0));
    assert_eq!((summary.tftp.failovers, summary.tftp.transfers), (200, 400), "all from `sub`");
    // A group has a list of its own, which does not name the primary.
    let own = HEAD.replacen("share   = 0.1", "share   = 0.1\ntftp    = \"sub\"", 1);
    let summary = play_on(&own.replace("[\"pub\", \"sub\"]\nstart", "\"pub\"\nstart"), &events);
    assert_eq!((summary.phones.ready, summary.phones.failed), (20, 180), "the short group");
}

/// Mixed mode with two tokens on one node: CallManager and TVS change, then `update` and a reset.
fn with_tokens(update: &str) -> Summary {
    let head = HEAD.replace(
        "release = \"8.6\"",
        "release = \"8.6\"\nsecurity-mode = \"mixed\"\netokens = [\"A\", \"B\"]",
    );
    let events = regenerate("CallManager", "pub", "when = \"fleet-settled\"")
        + &regenerate("CallManager", "sub", "after = \"previous\"")
        + update
        + &["pub", "sub"].map(|node| restart("tvs", node) + &restart("tftp", node)).concat()
        + &step("after = \"previous\"", "reset-phones = { spread = \"5s\" }");
    play_on(&head, &events)
}

#[test]
fn a_ctl_is_updated_by_a_token_whose_password_somebody_knows_and_that_is_still_trusted() {
    let update = |how: &str| step("after = \"previous\"", &format!("update-ctl = {{ {how} }}"));
    let delete = |token: &str| {
        let what = format!("node = \"pub\", unit = \"phone-sast-trust\", name = \"{token}\"");
        step("after = \"previous\"", &format!("delete-certificate = {{ {what} }}"))
    };
    let ends = |steps: &str| {
        let summary = with_tokens(steps);
        (summary.phones.counts.stale_ctl, summary.cluster.failed_actions)
    };
    assert_eq!(ends(""), (200, 0), "the CTL names the old certificates");
    assert_eq!(ends(&update("")), (0, 0));
    assert_eq!(ends(&update("password-known = false")), (200, 1));
    assert_eq!(ends(&update("token = \"B\", password-known = false")), (200, 1));
    assert_eq!(ends(&(delete("A") + &update(""))), (200, 1), "token A signed before");
    assert_eq!(ends(&(delete("B") + &update(""))), (0, 0));
    assert_eq!(ends(&(delete("A") + &update("token = \"B\""))), (0, 0), "a second one");
}
