//! HTTPS services of phones in virtual time: whose certificate is found where, what TVS is asked,
//! and what becomes of it when certificates, lists and parameters change.

use std::collections::BTreeSet;
use std::path::Path;

use resetstorm::base::{PhoneId, Span, Time};
use resetstorm::measure::{Summary, known_paths};
use resetstorm::play::Presses;
use resetstorm::scenario::{Plan, load};
use resetstorm::sim::{SimOptions, World};

fn scenario(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name);
    std::fs::read_to_string(path).unwrap()
}

fn plan_of(text: &str, overrides: &[&str]) -> Plan {
    let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
    load(Path::new("x.toml"), text, &overrides, &known_paths())
        .unwrap_or_else(|error| panic!("{error}"))
}

fn plan(name: &str, overrides: &[&str]) -> Plan {
    plan_of(&scenario(name), overrides)
}

fn run(plan: &Plan) -> Summary {
    World::new(plan, SimOptions::default()).run().summary(plan)
}

/// A fleet that nobody resets, used like this.
fn used(phones: u32, uses: &str, more: &[&str]) -> Plan {
    let (phones, uses) = (format!("fleet.phones={phones}"), format!("fleet.use=[{uses}]"));
    let overrides = [&[phones.as_str(), uses.as_str(), "event=[]", "slo=[]", "run={}"], more];
    plan("tomcat-regen.toml", &overrides.concat())
}

/// Phones with a press at which they are at rest in this part of a run.
fn pressed(plan: &Plan, from: Span, until: Span) -> BTreeSet<usize> {
    let phones = (0..plan.fleet.phones).map(PhoneId);
    let mut presses = Presses::new(plan.seed, &plan.fleet.uses, Time::ZERO, phones);
    let (mut next, mut seen) = (presses.first(), BTreeSet::new());
    while let Some(press) = next.pop() {
        if (Time::ZERO + from..Time::ZERO + until).contains(&press.at) {
            seen.insert(press.place);
        }
        next.extend(presses.next(press.place, press.of));
    }
    seen
}

const HOUR: u64 = 3_600;

#[test]
fn a_phone_asks_tvs_once_a_day_and_server_under_100_000_presses() {
    let plan = used(1_000, "{kind='directory',rate='4.4/h',for='23h'}", &[]);
    let summary = run(&plan);
    let (presses, tvs) = (summary.presses.counts, summary.tvs);
    let phones = pressed(&plan, Span::ZERO, Span::from_secs(23 * HOUR)).len() as u64;
    assert!(presses.total > 100_000, "{presses:?}");
    assert_eq!(phones, 1_000, "each was pressed");
    assert_eq!((presses.lookups, tvs.by_command.verify, tvs.by_command.query), (1_000, 1_000, 0));
    assert_eq!((presses.by_tvs, presses.failed), (1_000, 0));
    assert_eq!(presses.by_cache, presses.shown - 1_000);
    assert_eq!(presses.total, presses.shown + presses.busy);
}

#[test]
fn the_answer_of_tvs_is_forgotten_after_a_day() {
    let plan = used(100, "{kind='directory',rate='6/h',for='47h'}", &[]);
    let lookups = run(&plan).presses.counts.lookups;
    assert_eq!(lookups, 200, "two days, two lookups");
}

#[test]
fn after_a_regeneration_of_tomcat_exactly_the_phones_that_are_used_ask_again() {
    let plan = plan("tomcat-regen.toml", &["fleet.phones=1000"]);
    let summary = run(&plan);
    assert_eq!(summary.verdict.name(), "pass", "{:#}", summary.to_json());
    let at = Span::from_secs;
    let (before, behind) = (pressed(&plan, at(0), at(25)), pressed(&plan, at(25), at(60)));
    assert!(before.len() < 1_000 && behind.len() < 1_000, "some are not used");
    let lookups = (before.len() + behind.len()) as u64;
    assert_eq!(summary.presses.counts.lookups, lookups);
    // A phone that has to ask first refuses the server, which sees its alert.
    assert_eq!(summary.serve.page_handshakes_failed, lookups);
    assert_eq!(summary.serve.tvs_handshakes_ok, lookups);
    assert_eq!(summary.presses.by_node["pub"].shown, summary.presses.counts.shown);
}

#[test]
fn before_the_restart_tomcat_presents_a_certificate_that_tvs_knows_no_longer() {
    let uses = "fleet.use=[{kind='directory',rate='6/m',for='30s'}]";
    let event = "event=[{at='10s',regenerate={certificate='tomcat',node='pub'}}]";
    let plan = plan("tomcat-regen.toml", &["fleet.phones=300", "slo=[]", uses, event]);
    let summary = run(&plan);
    let presses = summary.presses.counts;
    let before = pressed(&plan, Span::ZERO, Span::from_secs(10));
    assert_eq!(presses.by_tvs, before.len() as u64, "who asked before goes on");
    assert_eq!(presses.not_vouched, presses.failed);
    assert!(presses.by_cache > 100 && presses.not_vouched > 50, "{presses:?}");
    assert_eq!(summary.phones.services_lost, {
        let behind = pressed(&plan, Span::from_secs(10), Span::from_secs(30));
        behind.difference(&before).count() as u64
    });
    assert_eq!(summary.cluster.restarts_due, 1);
}

#[test]
fn with_the_rollback_parameter_true_no_https_request_of_a_phone_succeeds() {
    let summary = run(&plan("rollback-services.toml", &["fleet.phones=500"]));
    assert_eq!(summary.verdict.name(), "pass", "{:#}", summary.to_json());
    assert_eq!(summary.presses.buttons.directory.shown, 0);
    assert_eq!(summary.phones.ready, 500, "basic service goes on");
}

#[test]
fn in_mixed_mode_the_parameter_takes_the_services_and_leaves_the_ctl() {
    let overrides = ["fleet.phones=200", "cluster.security-mode=mixed", "slo=[]"];
    let summary = run(&plan("rollback-services.toml", &overrides));
    assert_eq!(summary.presses.buttons.directory.shown, 0);
    assert_eq!((summary.phones.ready, summary.phones.stuck), (200, 0));
    assert_eq!(summary.trust.lists.accepted_blank, 0, "files are judged by the CTL all the time");
    assert_eq!(summary.presses.buttons.extension_mobility.failed, 0);
}

#[test]
fn what_tvs_said_before_counts_no_longer_with_a_blank_list() {
    let uses = "fleet.use=[{kind='directory',rate='6/m',for='36s'}]";
    let text = scenario("rollback-services.toml");
    let (head, _) = text.split_once("# And back.").unwrap();
    let late = head.replacen("when          = \"fleet-settled\"", "at = \"10s\"", 1);
    let plan = plan_of(&late, &["fleet.phones=300", uses]);
    let summary = run(&plan);
    let presses = summary.presses.counts;
    assert!(presses.no_tvs > 100 && presses.by_cache > 0, "{presses:?}");
    let blank = pressed(&plan, Span::from_secs(21), Span::from_secs(36)).len() as u64;
    assert!(summary.phones.services_lost >= blank, "{blank}: {presses:?}");
}

#[test]
fn urls_of_http_ask_tvs_nothing() {
    let uses = "{kind='directory',rate='4/h',for='2h'},{kind='emcc',rate='4/h',for='2h'}";
    let summary = run(&used(100, uses, &["cluster.secured-phone-url=http"]));
    let presses = summary.presses.counts;
    assert!(presses.shown > 1_000, "{presses:?}");
    assert_eq!((presses.lookups, presses.failed, presses.unchecked), (0, 0, presses.shown));
    assert_eq!((summary.tvs.lookups, summary.serve.page_handshakes_ok), (0, 0));
    assert!(summary.presses.buttons.emcc.shown > 500);
}

#[test]
fn the_parameter_takes_phones_to_http_with_their_next_configuration() {
    let text = scenario("tomcat-regen.toml");
    let (head, _) = text.split_once("[[event]]").unwrap();
    let text = format!(
        "{head}[[event]]\nat='25s'\nset-parameter={{name='secured-phone-url',value='http'}}\n\
         [[event]]\nafter='previous'\nreset-phones={{spread='0s'}}\n"
    );
    let summary = run(&plan_of(&text, &["fleet.phones=100"]));
    let presses = summary.presses.counts;
    assert!(presses.shown > 100, "since the reset: {presses:?}");
    assert_eq!((presses.unchecked, presses.lookups), (presses.shown, 0));
    assert_eq!(summary.phones.ready, 100);
}

#[test]
fn a_stuck_phone_shows_all_three_symptoms() {
    let uses = "fleet.use=[{kind='directory',rate='20/m',from='200s',for='60s'}]";
    let summary = run(&plan("callmanager-and-tvs.toml", &["fleet.phones=300", uses]));
    let phones = &summary.phones;
    assert_eq!(phones.stuck, 300);
    let symptoms = [phones.show_list_failed, phones.config_frozen, phones.services_lost];
    assert_eq!(symptoms, [300; 3], "list failed, config frozen, secure URLs fail");
    assert_eq!(summary.presses.counts.shown, 0);
    assert_eq!(summary.presses.counts.no_tvs, summary.presses.counts.failed);
}

#[test]
fn models_without_lists_check_nothing_and_never_break() {
    let uses = "fleet.use=[{kind='directory',rate='20/m',from='200s',for='60s'}]";
    let models = "fleet.models={7960=0.5,8841=0.5}";
    let summary = run(&plan("callmanager-and-tvs.toml", &["fleet.phones=300", uses, models]));
    let presses = summary.presses.counts;
    assert_eq!(summary.phones.services_lost, summary.phones.stuck);
    assert!(summary.phones.stuck > 100 && presses.unchecked > 1_000, "{presses:?}");
    assert_eq!((presses.shown, presses.failed), (presses.unchecked, presses.no_tvs));
}

#[test]
fn an_expired_certificate_of_tomcat_takes_the_services_of_its_node_and_no_other() {
    let node = "[[cluster.node]]\nname='sub'\naddress='127.0.0.2'\n\
                services=['callmanager','tftp','tvs']\n[[cluster.group]]\nname='two'\n\
                members=['sub']\nshare=0.5\n[[cluster.group]]";
    let text = scenario("tomcat-regen.toml").replacen("[[cluster.group]]", node, 1).replacen(
        "share   = 1.0",
        "share = 0.5",
        1,
    );
    let overrides = [
        "fleet.phones=200",
        "event=[]",
        "slo=[]",
        "cluster.node.sub.expires={tomcat='1s'}",
        "fleet.use=[{kind='directory',rate='4/h',from='1h',for='2h'}]",
        "run={}",
    ];
    let summary = run(&plan_of(&text, &overrides));
    let (of_first, of_second) = (summary.presses.by_node["pub"], summary.presses.by_node["sub"]);
    assert_eq!((of_first.failed, of_second.shown), (0, 0));
    assert_eq!(summary.presses.counts.expired, of_second.failed);
    assert!(of_first.shown > 500 && of_second.failed > 500, "{of_first:?} {of_second:?}");
}

#[test]
fn without_tvs_or_tomcat_services_fail_for_other_reasons_than_trust() {
    let with = |stop: &str| {
        let text = scenario("tomcat-regen.toml");
        let (head, _) = text.split_once("[[event]]").unwrap();
        let text = format!("{head}[[event]]\nat='0s'\nstop={{service='{stop}',node='pub'}}\n");
        run(&plan_of(&text, &["fleet.phones=100"]))
    };
    let (tvs, tomcat) = (with("tvs"), with("tomcat"));
    let presses = tvs.presses.counts;
    assert_eq!((presses.shown, presses.tvs_unreachable), (0, presses.failed));
    let presses = tomcat.presses.counts;
    assert_eq!((presses.shown, presses.unreachable), (0, presses.failed));
    assert_eq!((tvs.phones.services_lost, tomcat.phones.services_lost), (0, 0));
}

#[test]
fn a_press_at_a_phone_that_boots_comes_to_nothing_and_a_reset_ends_one() {
    let overrides = [
        "fleet.phones=400",
        "fleet.use=[{kind='directory',rate='30/m',for='90s'}]",
        "phone.boot-time=10s",
        "slo=[]",
    ];
    let summary = run(&plan("callmanager-regen.toml", &overrides));
    let presses = summary.presses.counts;
    assert!(presses.busy > 400, "{presses:?}");
    assert_eq!(summary.phones.ready, 400);
    assert_eq!(summary.verdict.name(), "pass", "{:#}", summary.to_json());
    let ended = presses.shown + presses.failed + presses.busy + presses.cancelled;
    assert_eq!(presses.total, ended);
}

#[test]
fn registered_phones_are_used_and_stay_registered() {
    let overrides = [
        "fleet.phones=200",
        "fleet.use=[{kind='directory',rate='6/m',from='120s',for='60s'}]",
        "registration.enabled=true",
        "slo=[]",
    ];
    let plan = plan("callmanager-regen.toml", &overrides);
    let summary = run(&plan);
    let presses = summary.presses.counts;
    assert_eq!((summary.phones.registered, summary.phones.ready), (200, 200));
    assert_eq!((presses.failed, presses.cancelled), (0, 0), "{presses:?}");
    let phones = pressed(&plan, Span::ZERO, Span::from_secs(600)).len() as u64;
    assert_eq!((presses.by_tvs, presses.lookups), (phones, phones));
}

#[test]
fn a_fleet_that_is_used_boots_as_one_that_is_not() {
    let of = |uses: &str| {
        let plan = plan("callmanager-regen.toml", &["fleet.phones=200", uses]);
        let summary = run(&plan);
        (summary.phones.ready, summary.trust.lists, summary.fleet_ready_s)
    };
    assert_eq!(of("fleet.use=[]"), of("fleet.use=[{kind='emcc',rate='6/m',for='2m'}]"));
}
