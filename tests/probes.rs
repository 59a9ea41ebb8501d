//! What bad certificates do beside phones: trunks, media, AXL, UCCX, phone VPN and voicemail
//! (CERT-18, CERT-20, CERT-24, CERT-26).

use std::path::Path;

use resetstorm::base::Time;
use resetstorm::live::{self, LiveOptions, Observer};
use resetstorm::measure::{Ledger, Summary, known_paths};
use resetstorm::scenario::{Plan, load, to_toml};
use resetstorm::sim::{SimOptions, World};

const ADVANCE: &str = "[[event]]\nwhen='fleet-settled'\nadvance='40d'\n";
const RENEW: &str = "[[event]]\nwhen='fleet-settled'\n\
                     regenerate={certificate='CallManager',node='pub'}\n";
const RESTART: &str =
    "[[event]]\nafter='previous'\nname='back'\nrestart={service='callmanager',node='pub'}\n";

fn text(expires: &str, rest: &str) -> String {
    format!(
        "schema=1\nname='probed'\n[cluster]\nrelease='8.6'\n\
         [[cluster.node]]\nname='pub'\naddress='127.0.0.1'\n\
         services=['callmanager','tftp','tvs','capf']\nports={{tftp=0,tvs=0,capf=0}}\n\
         expires={{{expires}}}\n[[cluster.group]]\nname='all'\nmembers=['pub']\nshare=1.0\n\
         [fleet]\nphones=5\ntftp='pub'\n[run]\nepoch='2026-11-28'\n{rest}"
    )
}

fn plan(expires: &str, rest: &str) -> Plan {
    load(Path::new("probed.toml"), &text(expires, rest), &[], &known_paths())
        .unwrap_or_else(|error| panic!("{error}"))
}

fn sim(plan: &Plan) -> Summary {
    World::new(plan, SimOptions::default()).run().summary(plan)
}

fn probe(kind: &str, more: &str) -> String {
    format!("[[probe]]\nkind='{kind}'\nnode='pub'\n{more}\n")
}

/// Whether each probe worked, in the order of its changes.
fn courses(summary: &Summary) -> Vec<Vec<bool>> {
    let course = |probe: &resetstorm::measure::ProbeSummary| {
        probe.course.iter().map(|change| change.works).collect()
    };
    summary.probes.iter().map(course).collect()
}

fn all_four() -> String {
    ["sip-trunk", "conference-bridge", "axl", "uccx-login"].map(|kind| probe(kind, "")).concat()
}

#[test]
fn an_expired_call_manager_ends_trunks_media_and_axl_and_no_login() {
    let late = plan("CallManager='30d'", &[ADVANCE, &all_four()].concat());
    let summary = sim(&late);
    let broken = vec![true, false];
    assert_eq!(courses(&summary), [broken.clone(), broken.clone(), broken, vec![true]]);
    assert_eq!((summary.cluster.probes_failed, summary.cluster.probe_outages), (3, 3));
    let cause = summary.probes[0].cause.as_ref().unwrap();
    assert!(cause.starts_with("CallManager.pem of pub is valid from"), "{cause}");
    assert!(cause.contains("to 2026-12-28"), "{cause}");
    let in_time = sim(&plan("CallManager='50d'", &[ADVANCE, &all_four()].concat()));
    assert_eq!(courses(&in_time), vec![vec![true]; 4], "ten days are left");
    let tomcat = sim(&plan("tomcat='30d'", &[ADVANCE, &all_four()].concat()));
    assert_eq!(courses(&tomcat).iter().map(|one| one.len()).collect::<Vec<_>>(), [1, 1, 2, 2]);
}

#[test]
fn a_peer_refuses_a_new_certificate_from_the_restart_until_it_imports_it() {
    let trunk = |imports| probe("sip-trunk", imports);
    let not_yet = sim(&plan("", &[RENEW, &trunk("")].concat()));
    assert_eq!(courses(&not_yet), [[true]], "the old one is presented until the restart");
    let never = sim(&plan("", &[RENEW, RESTART, &trunk("")].concat()));
    assert_eq!(courses(&never), [[true, false]]);
    assert!(never.probes[0].cause.as_ref().unwrap().contains("not trusted by the peer"));
    let imported = sim(&plan("", &[RENEW, RESTART, &trunk("imports=['start','back']")].concat()));
    assert_eq!(imported.cluster.probes_failed, 0);
}

#[test]
fn a_login_at_uccx_fails_until_tomcat_is_imported_there() {
    let login = |imports| probe("uccx-login", imports);
    let never = sim(&plan("", &[RENEW, RESTART, &login("imports=[]")].concat()));
    assert_eq!(courses(&never), [[false]]);
    let later = sim(&plan("", &[RENEW, RESTART, &login("imports=['back']")].concat()));
    assert_eq!(courses(&later), [[false, true]]);
}

#[test]
fn a_peer_that_trusts_the_ca_takes_its_renewals_and_no_other_name() {
    let import = |name: &str| {
        format!(
            "[[event]]\nwhen='fleet-settled'\nimport={{certificate='CallManager',node='pub',\
             issuer='Root',intermediate='Issuing',valid='90d'}}\n\
             [[event]]\nafter='previous'\nname='{name}'\n\
             restart={{service='callmanager',node='pub'}}\n"
        )
    };
    let trunk = probe("sip-trunk", "imports=['first']");
    let renewed = sim(&plan("", &[import("first"), import("second"), trunk.clone()].concat()));
    assert_eq!(courses(&renewed), [[false, true]]);
    let rename = "[[event]]\nwhen='fleet-settled'\nrename={node='pub',to='pub-new'}\n".to_owned();
    let renamed = sim(&plan("", &[import("first"), rename, import("second"), trunk].concat()));
    let cause = renamed.probes[0].cause.as_ref().unwrap();
    assert!(cause.contains("names pub-new, and the peer expects pub"), "{cause}");
}

#[test]
fn vpn_and_voicemail_need_the_certificate_of_their_peer_in_its_time() {
    let import = |store: &str, name: &str| {
        format!(
            "[[event]]\nwhen='fleet-settled'\n\
             import-trust={{unit='{store}',node='pub',name='{name}',valid='30d'}}\n"
        )
    };
    let probes = [
        probe("phone-vpn", "peer='asa'"),
        probe("visual-voicemail", "peer='unity'"),
        probe("visual-voicemail", "peer='unity'\nunit='phone-ctl-trust'"),
    ];
    let steps = [import("phone-vpn-trust", "asa"), import("phone-trust", "unity")].concat();
    let summary = sim(&plan("", &[&steps, &probes.concat()[..]].concat()));
    assert_eq!(courses(&summary), [vec![false, true], vec![false, true], vec![false]]);
    let missing = summary.probes[2].cause.as_ref().unwrap();
    assert!(missing.contains("phone-ctl-trust on pub has no certificate unity"), "{missing}");
    let late = sim(&plan("", &[&steps, ADVANCE, &probes.concat()].concat()));
    assert_eq!(courses(&late)[..2], [[false, true, false], [false, true, false]]);
    assert!(late.probes[0].cause.as_ref().unwrap().contains("asa in phone-vpn-trust on pub"));
}

#[test]
fn a_probe_that_cannot_be_is_refused_and_others_survive_being_written() {
    for (bad, why) in [
        (probe("phone-vpn", ""), "needs its peer"),
        (probe("axl", "peer='x'"), "has no peer"),
        (probe("sip-trunk", "unit='CallManager-trust'"), "goes with `peer` only"),
        (probe("phone-vpn", "peer='x'\nimports=[]"), "imports nothing"),
        (probe("sip-trunk", "imports=['bakc']"), "unknown step `bakc`"),
        (probe("sip-trnk", ""), "unknown probe `sip-trnk`"),
    ] {
        let all = text("", &[RENEW, RESTART, &bad].concat());
        let error = load(Path::new("x.toml"), &all, &[], &known_paths()).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    let good = [
        probe("sip-trunk", "peer='gw'\nunit='CallManager-trust'\nimports=['back']"),
        probe("phone-vpn", "peer='asa'"),
    ];
    let plan = plan("", &[RENEW, RESTART, &good.concat()].concat());
    let again = load(Path::new("again.toml"), &to_toml(&plan), &[], &known_paths()).unwrap();
    assert_eq!(again, plan);
}

struct Silent;

impl Observer for Silent {
    fn started(&mut self, _: &[String]) {}
    fn tick(&mut self, _: &Ledger, _: Time) {}
    fn operator(&mut self, _: &str, _: Time) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_come_out_alike_live_and_in_virtual_time() {
    let plan = plan("CallManager='30d'", &[ADVANCE, &all_four()].concat());
    let run = Box::pin(live::run(&plan, &LiveOptions::default(), &mut Silent)).await.unwrap();
    let live = Summary::new(&run.ledger, run.facts, &plan.slos, run.finish);
    let sim = sim(&plan);
    let causes = |summary: &Summary| -> Vec<Option<String>> {
        summary.probes.iter().map(|probe| probe.cause.clone()).collect()
    };
    assert_eq!((courses(&live), live.cluster), (courses(&sim), sim.cluster));
    let dates = |cause: Option<String>| {
        cause.map(|cause| cause.split(" is valid").next().unwrap().to_owned())
    };
    let kinds = |summary: &Summary| causes(summary).into_iter().map(dates).collect::<Vec<_>>();
    assert_eq!(kinds(&live), kinds(&sim));
}
