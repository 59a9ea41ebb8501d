//! Safe orders as named procedures: the steps that they stand for, and what comes of those.

use std::path::Path;

use resetstorm::measure::{Summary, known_paths};
use resetstorm::scenario::{Plan, Trigger, load, to_toml};
use resetstorm::sim::{SimOptions, World};

const HEAD: &str = "schema = 1\nname = \"procedure\"\nseed = 1\n";
const NODES: &str = "[[cluster.node]]\nname = \"pub\"\n[[cluster.node]]\nname = \"sub\"\n\
    address = \"127.0.0.2\"\nservices = [\"callmanager\", \"tftp\", \"tvs\"]\n\
    [fleet]\nphones = 20\ntftp = [\"pub\", \"sub\"]\n";

fn text(cluster: &str, procedure: &str) -> String {
    let event = format!("[[event]]\nwhen = \"fleet-settled\"\nprocedure = {procedure}\n");
    format!("{HEAD}[cluster]\n{cluster}\n{NODES}{event}")
}

fn plan(cluster: &str, procedure: &str) -> Plan {
    let text = text(cluster, procedure);
    load(Path::new("p.toml"), &text, &[], &known_paths()).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(text: &str) -> String {
    load(Path::new("p.toml"), text, &[], &known_paths()).unwrap_err().to_string()
}

/// The steps as they are shown: `*` where one waits for the fleet.
fn steps(plan: &Plan) -> Vec<String> {
    let shown = |entry: &resetstorm::scenario::TimelineEntry| {
        let waits = if entry.trigger == Trigger::FleetSettled { "* " } else { "" };
        format!("{waits}{}: {}", entry.name, entry.action.words(&plan.topology))
    };
    plan.timeline.iter().map(shown).collect()
}

fn play(plan: &Plan) -> Summary {
    World::new(plan, SimOptions::default()).run().summary(plan)
}

const MIXED: &str = "release = \"11.5\"\nsecurity-mode = \"mixed\"";

#[test]
fn one_type_at_a_time_is_a_change_with_its_restarts_and_a_reset_for_each_type() {
    let expected = [
        "* one-type-at-a-time-1-regenerate-1: regenerate CallManager on pub",
        "one-type-at-a-time-1-regenerate-2: regenerate CallManager on sub",
        "one-type-at-a-time-1-restart-1: restart callmanager on pub",
        "one-type-at-a-time-1-restart-2: restart callmanager on sub",
        "one-type-at-a-time-1-restart-3: restart ctimanager on pub",
        "one-type-at-a-time-1-restart-4: restart ctimanager on sub",
        "one-type-at-a-time-1-restart-5: restart tvs on pub",
        "one-type-at-a-time-1-restart-6: restart tvs on sub",
        "one-type-at-a-time-1-restart-7: restart tftp on pub",
        "one-type-at-a-time-1-restart-8: restart tftp on sub",
        "one-type-at-a-time-1-reset-1: reset phones within 30s",
        "* one-type-at-a-time-1-regenerate-3: regenerate TVS on pub",
        "one-type-at-a-time-1-regenerate-4: regenerate TVS on sub",
        "one-type-at-a-time-1-restart-9: restart tvs on pub",
        "one-type-at-a-time-1-restart-10: restart tvs on sub",
        "one-type-at-a-time-1-restart-11: restart tftp on pub",
        "one-type-at-a-time-1-restart-12: restart tftp on sub",
        "one-type-at-a-time-1-reset-2: reset phones within 30s",
        "* one-type-at-a-time-1-regenerate-5: regenerate CAPF on pub",
        "one-type-at-a-time-1-regenerate-6: regenerate CAPF on sub",
        "one-type-at-a-time-1-restart-13: restart tftp on pub",
        "one-type-at-a-time-1-restart-14: restart tftp on sub",
        "one-type-at-a-time-1-restart-15: restart capf on pub",
        "one-type-at-a-time-1-reset-3: reset phones within 30s",
    ];
    assert_eq!(steps(&plan("", "\"one-type-at-a-time\"")), expected);
}

#[test]
fn two_tftp_order_stops_the_first_node_while_it_changes() {
    let text = "{ name = \"two-tftp-order\", nodes = [\"sub\", \"pub\"], spread = \"5s\" }";
    let expected = [
        "* two-tftp-order-1-stop-1: stop tftp on sub",
        "two-tftp-order-1-regenerate-1: regenerate CallManager on sub",
        "two-tftp-order-1-restart-1: restart callmanager on sub",
        "two-tftp-order-1-restart-2: restart ctimanager on sub",
        "two-tftp-order-1-restart-3: restart tvs on sub",
        "two-tftp-order-1-reset-1: reset phones within 5s",
        "* two-tftp-order-1-start-1: start tftp on sub",
        "two-tftp-order-1-regenerate-2: regenerate CallManager on pub",
        "two-tftp-order-1-restart-4: restart callmanager on pub",
        "two-tftp-order-1-restart-5: restart ctimanager on pub",
        "two-tftp-order-1-restart-6: restart tvs on pub",
        "two-tftp-order-1-restart-7: restart tftp on pub",
        "two-tftp-order-1-reset-2: reset phones within 5s",
    ];
    assert_eq!(steps(&plan("", text)), expected);
    let primary = steps(&plan("", "\"two-tftp-order\""));
    assert!(primary[0].ends_with("stop tftp on pub"), "as the phones have it: {}", primary[0]);
}

#[test]
fn rollback_empties_the_lists_around_the_change() {
    let expected = [
        "* rollback-1-set-parameter-1: set rollback-to-pre-8.0 to true, which resets all phones \
         within 30s",
        "* rollback-1-restart-1: restart tftp on pub",
        "rollback-1-restart-2: restart tftp on sub",
        "rollback-1-reset-1: reset phones within 30s",
        "* rollback-1-regenerate-1: regenerate TVS on sub",
        "rollback-1-restart-3: restart tvs on pub",
        "rollback-1-restart-4: restart tvs on sub",
        "rollback-1-restart-5: restart tftp on pub",
        "rollback-1-restart-6: restart tftp on sub",
        "rollback-1-set-parameter-2: set rollback-to-pre-8.0 to false, which resets all phones \
         within 30s",
        "* rollback-1-restart-7: restart tftp on pub",
        "rollback-1-restart-8: restart tftp on sub",
        "rollback-1-reset-2: reset phones within 30s",
    ];
    let text = "{ name = \"rollback\", nodes = \"sub\", certificates = \"TVS\" }";
    assert_eq!(steps(&plan("", text)), expected);
}

#[test]
fn in_mixed_mode_a_procedure_ends_with_the_update_of_the_ctl() {
    let text = "{ name = \"one-type-at-a-time\", certificates = [\"CAPF\"] }";
    let all = steps(&plan(MIXED, text));
    let end = [
        "* one-type-at-a-time-1-update-ctl-1: update the CTL",
        "one-type-at-a-time-1-restart-4: restart callmanager on pub",
        "one-type-at-a-time-1-restart-5: restart callmanager on sub",
        "one-type-at-a-time-1-restart-6: restart tftp on pub",
        "one-type-at-a-time-1-restart-7: restart tftp on sub",
        "one-type-at-a-time-1-reset-2: reset phones within 30s",
    ];
    assert_eq!(all[all.len() - 6..], end, "{all:#?}");
}

#[test]
fn each_procedure_leaves_nobody_behind_and_survives_being_written() {
    let all = ["\"one-type-at-a-time\"", "\"two-tftp-order\"", "\"rollback\""];
    let cases = all.map(|text| ("", text)).into_iter().chain([(MIXED, all[0]), (MIXED, all[1])]);
    for (cluster, text) in cases {
        let plan = plan(cluster, text);
        let summary = play(&plan);
        let phones = &summary.phones;
        assert_eq!((phones.ready, phones.stuck), (20, 0), "{text} {cluster}: {summary:#?}");
        assert_eq!(summary.cluster.restarts_due, 0, "{text} {cluster}");
        assert_eq!(phones.counts.stale_ctl, 0, "{text} {cluster}");
        let written = to_toml(&plan);
        let again = load(Path::new("p.toml"), &written, &[], &known_paths()).unwrap();
        assert_eq!(again, plan, "{written}");
    }
}

#[test]
fn a_rollback_without_one_of_its_first_steps_leaves_everybody_stuck() {
    for name in ["rollback-1-set-parameter-1", "rollback-1-reset-1"] {
        let mut plan = plan("", "\"rollback\"");
        let count = plan.timeline.len();
        plan.timeline.retain(|entry| entry.name != name);
        assert_eq!(plan.timeline.len(), count - 1);
        assert_eq!(play(&plan).phones.stuck, 20, "without {name}");
    }
}

#[test]
fn what_a_procedure_cannot_do_is_refused_with_a_way_out() {
    let of = |cluster: &str, procedure: &str| refused(&text(cluster, procedure));
    let mixed = of(MIXED, "\"rollback\"");
    assert!(mixed.contains("does not help a cluster in mixed mode (SAFE-10)"), "{mixed}");
    assert!(mixed.contains("one-type-at-a-time is the procedure for it"), "{mixed}");
    let unknown = of("", "\"roll-back\"");
    assert!(unknown.contains("unknown procedure `roll-back`"), "{unknown}");
    assert!(unknown.contains("did you mean `rollback`?"), "{unknown}");
    let kind = of("", "{ name = \"rollback\", certificates = [\"ITLRecovery\"] }");
    assert!(kind.contains("ITLRecovery is no certificate of a service"), "{kind}");
    let one = of("", "{ name = \"two-tftp-order\", nodes = [\"pub\"] }");
    assert!(one.contains("the two-TFTP order has two nodes, not 1"), "{one}");
    let alone = text("", "\"two-tftp-order\"")
        .replace("tftp = [\"pub\", \"sub\"]", "tftp = \"pub\"")
        .replace("\"callmanager\", \"tftp\", \"tvs\"", "\"tvs\"");
    assert!(refused(&alone).contains("needs two nodes with TFTP"), "{}", refused(&alone));
    let taken = text("", "\"rollback\"")
        + "[[event]]\nafter = \"previous\"\nname = \"rollback-1-reset-1\"\nreset-phones = {}\n";
    assert!(refused(&taken).contains("step `rollback-1-reset-1` comes twice"));
}

#[test]
fn a_procedure_is_changed_by_its_own_name_and_its_steps_are_not() {
    let set = |key: &str| {
        let text = text("", "{ name = \"rollback\", spread = \"9s\" }");
        load(Path::new("p.toml"), &text, &[key.to_owned()], &known_paths())
    };
    let changed = set("event.rollback-1.procedure.spread=3s").unwrap();
    assert!(steps(&changed)[3].ends_with("reset phones within 3s"), "{:?}", steps(&changed));
    let error = set("event.rollback-1-reset-1.reset-phones.spread=3s").unwrap_err().to_string();
    assert!(error.contains("no step `rollback-1-reset-1` here"), "{error}");
    assert!(error.contains("steps: rollback-1"), "{error}");
}
