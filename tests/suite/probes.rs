//! What bad certificates do beside phones: trunks, media, AXL, UCCX, phone VPN and voicemail
//! (CERT-18, CERT-20, CERT-24, CERT-26), and what LSCs decide (CERT-21, CERT-27, CAPF-06).

use std::path::Path;

use resetstorm::base::{ClusterId, PhoneId, Time};
use resetstorm::cluster::{
    Cluster, Genesis, IssuedLsc, IssuerId, PeerTrust, Probe, ProbeFault, ProbeKind, Stored, WrapKey,
};
use resetstorm::crypto::{DeviceSpec, KeySource, KeySpec, issue_to_device, pooled_key};
use resetstorm::forecast::broken_rules;
use resetstorm::live::{self, LiveOptions, Observer};
use resetstorm::measure::{Ledger, Summary, known_paths};
use resetstorm::scenario::{Plan, load, to_toml};
use resetstorm::sim::{SimOptions, World};
use resetstorm::wire::Dialogue;

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
    assert_eq!(courses(&tomcat).iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 2, 2]);
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

const SETTLED: &str = "when='fleet-settled'";
const NEXT: &str = "after='previous'";

/// A step that is due at `when`.
fn step(when: &str, what: &str) -> String {
    format!("[[event]]\n{when}\n{what}\n")
}

fn cause(summary: &Summary, probe: usize) -> &str {
    summary.probes[probe].cause.as_deref().unwrap_or("it works")
}

#[test]
fn vpn_and_voicemail_take_what_is_in_their_store_and_nothing_else() {
    let probes = [
        probe("phone-vpn", "peer='asa'"),
        probe("visual-voicemail", "peer='unity'\ntrusted=false"),
        probe("visual-voicemail", "peer='unity'\nunit='phone-ctl-trust'\ntrusted=false"),
    ];
    let import = "import-trust={unit='phone-trust',node='pub',name='unity'}";
    let summary = sim(&plan("", &[&step(SETTLED, import), &probes.concat()[..]].concat()));
    assert_eq!(courses(&summary), [vec![true], vec![false, true], vec![false]]);
    assert!(cause(&summary, 2).contains("phone-ctl-trust on pub has no certificate unity"));
    assert_eq!(summary.probes[2].probe, "visual-voicemail of unity at pub by phone-ctl-trust");
    // A deletion, and a certificate of the same name that another has made.
    let delete = "delete-certificate={node='pub',unit='phone-vpn-trust',name='asa'}";
    let deleted = sim(&plan("", &[step(SETTLED, delete), probes[0].clone()].concat()));
    assert_eq!(courses(&deleted), [[true, false]]);
    let back = "import-trust={unit='phone-vpn-trust',node='pub',name='asa'}";
    let repaired = [step(SETTLED, delete), step(NEXT, back), probes[0].clone()].concat();
    assert_eq!(courses(&sim(&plan("", &repaired))), [[true, false, true]]);
}

#[test]
fn a_peer_that_renews_its_certificate_is_refused_by_its_signature_until_somebody_imports_it() {
    let vpn = probe("phone-vpn", "peer='asa'");
    let renewal = step(SETTLED, "renew-peer='asa'");
    let import = step(NEXT, "import-trust={unit='phone-vpn-trust',node='pub',name='asa'}");
    let broken = sim(&plan("", &[&renewal[..], &vpn].concat()));
    assert_eq!(courses(&broken), [[true, false]]);
    // The subject is the same; it is the signature that does not fit.
    assert!(cause(&broken, 0).contains("holds another certificate asa (serial "), "{broken:?}");
    let repaired = sim(&plan("", &[&renewal[..], &import, &vpn].concat()));
    assert_eq!(courses(&repaired), [[true, false, true]]);
    assert_eq!((repaired.cluster.probes_failed, repaired.cluster.probe_outages), (0, 1));
    // Into another store it helps nobody.
    let elsewhere = import.replace("phone-vpn", "phone");
    assert_eq!(
        courses(&sim(&plan("", &[&renewal[..], &elsewhere, &vpn].concat()))),
        [[true, false]]
    );
    // With another name it is trusted and refused all the same.
    let renamed = step(SETTLED, "renew-peer={peer='asa',name='asa-2'}");
    let import = import.replace("name='asa'", "name='asa-2'");
    let renamed = sim(&plan("", &[&renamed[..], &import, &vpn].concat()));
    assert!(cause(&renamed, 0).contains("names asa-2, and pub expects asa"), "{renamed:?}");
}

#[test]
fn a_ca_in_the_store_vouches_for_every_certificate_that_it_signs() {
    let trunk = probe("sip-trunk", "peer='gw'");
    let renew = |when, chain: &str| step(when, &format!("renew-peer={{peer='gw',{chain}}}"));
    let import = |name: &str| {
        step(NEXT, &format!("import-trust={{unit='CallManager-trust',node='pub',name='{name}'}}"))
    };
    let by_root = "issuer='Root'";
    let by_issuing = "issuer='Root',intermediate='Issuing'";
    for (steps, course) in [
        (vec![renew(SETTLED, by_root)], vec![true, false]),
        (vec![renew(SETTLED, by_root), import("Root")], vec![true, false, true]),
        (
            // Renewals of one CA need no further import, with a CA between that is sent along.
            vec![
                renew(SETTLED, by_issuing),
                import("Root"),
                renew(NEXT, by_root),
                renew(NEXT, by_issuing),
            ],
            vec![true, false, true],
        ),
        // The one between is another each time: who trusts only that one is refused later.
        (
            vec![renew(SETTLED, by_issuing), import("Issuing"), renew(NEXT, by_issuing)],
            vec![true, false, true, false],
        ),
        // Another CA of another name has signed nothing.
        (vec![renew(SETTLED, by_root), import("Other")], vec![true, false]),
    ] {
        let summary = sim(&plan("", &[steps.concat(), trunk.clone()].concat()));
        assert_eq!(courses(&summary), [course], "{steps:?}");
    }
}

#[test]
fn an_end_between_two_steps_is_seen_at_its_very_instant() {
    let probes =
        [probe("sip-trunk", "peer='gw'"), probe("axl", ""), probe("phone-vpn", "peer='asa'")];
    let steps = [
        step(SETTLED, "renew-peer={peer='gw',issuer='Root',valid='2160h'}"),
        step(NEXT, "import-trust={unit='CallManager-trust',node='pub',name='Root'}"),
        step("after='previous'\ndelay='1440h'", "reset-phones={spread='1s'}"),
    ];
    let summary = sim(&plan("tomcat='30d'", &[steps.concat(), probes.concat()].concat()));
    assert_eq!(courses(&summary), [vec![true, false, true], vec![true, false], vec![true]]);
    let ended = summary.probes[1].course[1].at_s;
    // The certificate is valid up to and with its last second.
    assert!((ended - 30.0 * 86_400.0 - 1.0).abs() < 1e-6, "not at the reset on day 60: {ended}");
    assert!((summary.probes[1].failed_s - 30.0 * 86_400.0).abs() < 60.0, "{summary:?}");
    let one_day = summary.probes[1].cause.as_ref().unwrap();
    assert!(one_day.starts_with("tomcat.pem of pub is valid from"), "{one_day}");
    // Time that is skipped is not the time of the run.
    let skipped = [
        step(SETTLED, "advance='29d'"),
        step("after='previous'\ndelay='48h'", "reset-phones={spread='1s'}"),
    ];
    let summary = sim(&plan("tomcat='30d'", &[skipped.concat(), probes[1].clone()].concat()));
    let at_s = summary.probes[0].course[1].at_s;
    assert!((86_400.0..86_402.0).contains(&at_s), "{at_s}");
}

#[test]
fn what_a_replication_brings_is_seen_when_it_arrives() {
    let two = text("", "").replacen(
        "[[cluster.group]]",
        "[[cluster.node]]\nname='sub'\naddress='127.0.0.2'\nservices=['callmanager','tftp','tvs']\n\
         ports={tftp=0,tvs=0}\n[[cluster.group]]",
        1,
    );
    let two = two.replacen("release='8.6'\n", "release='8.6'\nreplication-delay='90s'\n", 1);
    let steps = [
        step(SETTLED, "renew-peer='asa'"),
        step(NEXT, "import-trust={unit='phone-vpn-trust',node='sub',name='asa'}"),
        step("after='previous'\ndelay='10m'", "reset-phones={spread='1s'}"),
    ];
    let vpn = ["pub", "sub"]
        .map(|node| format!("[[probe]]\nkind='phone-vpn'\npeer='asa'\nnode='{node}'\n"));
    let all = [two, steps.concat(), vpn.concat()].concat();
    let plan = load(Path::new("x.toml"), &all, &[], &known_paths()).unwrap();
    let summary = sim(&plan);
    assert_eq!(courses(&summary), [[true, false, true]; 2], "{summary:?}");
    let back = [0, 1].map(|one: usize| summary.probes[one].course[2].at_s);
    assert!(((back[0] - back[1]) - 90.0).abs() < 1e-6, "{back:?}");
}

#[test]
fn a_run_without_a_probe_is_the_same_run() {
    let steps = [RENEW, RESTART, &step(NEXT, "reset-phones={spread='1s'}")].concat();
    let digest = |probes: &str| {
        let plan = plan("", &[&steps, probes].concat());
        World::new(&plan, SimOptions::default()).run().digest
    };
    let probes = [probe("axl", ""), probe("sip-trunk", "")].concat();
    assert_eq!(digest(""), digest(&probes), "who only looks changes nothing");
}

#[test]
fn a_probe_that_cannot_be_is_refused_and_others_survive_being_written() {
    for (bad, why) in [
        (probe("phone-vpn", ""), "needs its peer"),
        (probe("axl", "peer='x'"), "has no peer"),
        (probe("sip-trunk", "unit='CallManager-trust'"), "`unit` goes with `peer` only"),
        (probe("sip-trunk", "trusted=false"), "`trusted` goes with `peer` only"),
        (probe("phone-vpn", "peer='x'\nimports=[]"), "imports nothing"),
        (probe("phone-vpn", "peer='a,CN=b'"), "is not a host name"),
        (probe("sip-trunk", "imports=['bakc']"), "unknown step `bakc`"),
        (probe("sip-trnk", ""), "unknown probe `sip-trnk`"),
        (probe("axl", "phone='SEP0C75BD000000'"), "judges no phone"),
        (probe("sip-trunk", "mics=true"), "has no `mics`"),
        (probe("802.1x", "phone='SEP0C75BD000005'"), "no phone `SEP0C75BD000005`"),
        (probe("802.1x", "peer='radius'"), "has no peer"),
        (probe("axl", "").repeat(2), "comes twice"),
        (
            [step(NEXT, "renew-peer='asb'"), probe("phone-vpn", "peer='asa'")].concat(),
            "unknown peer",
        ),
        (step(NEXT, "renew-peer={peer='a',intermediate='b'}"), "goes with `issuer` only"),
    ] {
        let all = text("", &[RENEW, RESTART, &bad].concat());
        let error = load(Path::new("x.toml"), &all, &[], &known_paths()).unwrap_err();
        let all: Vec<_> = std::iter::once(&error).chain(&error.more).map(|one| &one.what).collect();
        assert!(all.iter().any(|what| what.contains(why)), "{all:?}");
    }
    let good = [
        step(NEXT, "renew-peer={peer='asa',name='asb',issuer='R',intermediate='I',valid='1h'}"),
        step(NEXT, "import-trust={unit='phone-vpn-trust',node='pub',name='R'}"),
        probe("sip-trunk", "peer='gw'\nunit='CallManager-trust'\nimports=['back']"),
        probe("phone-vpn", "peer='asa'\ntrusted=false\nname='vpn'"),
        probe("phone-vpn-lsc", "peer='asc'\nphone='SEP0C75BD000003'\nmics=true"),
        probe("802.1x", "imports=['start','back']"),
        probe("axl", "").repeat(2).replacen("[[probe]]", "[[probe]]\nname='axl-2'", 1),
    ];
    let plan = plan("", &[RENEW, RESTART, &good.concat()].concat());
    let again = load(Path::new("again.toml"), &to_toml(&plan), &[], &known_paths()).unwrap();
    assert_eq!(again, plan);
}

const ROLL_OUT: &str = "roll-out-lsc={key='ec-256', completes-in='5h', spread='1s'}";

/// CAPF is regenerated and restarted (this step is called `new-capf`), and TFTP is restarted.
fn new_capf(when: &str) -> String {
    step(when, "regenerate={certificate='CAPF',node='pub'}")
        + &step(NEXT, "name='new-capf'\nrestart={service='capf',node='pub'}")
        + &step(NEXT, "restart={service='tftp',node='pub'}")
}

fn by_lsc(more: &str) -> String {
    ["802.1x", "phone-vpn-lsc", "phone-proxy"].map(|kind| probe(kind, more)).concat()
}

#[test]
fn a_phone_gets_in_from_its_first_lsc_on_and_with_another_ones_when_the_server_knows_it() {
    let first = step(SETTLED, ROLL_OUT);
    let summary = sim(&plan("", &[&first, &by_lsc("")[..]].concat()));
    assert_eq!(courses(&summary), [[false, true]; 3], "{:?}", summary.probes);
    let cause = summary.probes[0].course[0].cause.as_ref().unwrap();
    assert_eq!(cause, "SEP0C75BD000000 has no LSC; roll-out-lsc installs one");
    // It is seen when CAPF has the phone's word for it: after the step, before the run is over.
    let (works, acted) = (summary.probes[0].course[1].at_s, summary.operator[0].at_s);
    assert!(works > acted && works < acted + 60.0, "{works} after {acted}");
    assert!((summary.probes[0].failed_s - works).abs() < 1e-6, "{:?}", summary.probes[0]);
    // The LSC of the old CAPF stays good; the one of the new CAPF is good where that is known.
    let again = [first.clone(), new_capf(SETTLED)].concat();
    let stale = sim(&plan("", &[&again, &by_lsc("")[..]].concat()));
    assert_eq!(courses(&stale), [[false, true]; 3], "CERT-10");
    let again = [again, step(NEXT, ROLL_OUT)].concat();
    let unknown = sim(&plan("", &[&again, &by_lsc("")[..]].concat()));
    assert_eq!(courses(&unknown), [[false, true, false]; 3]);
    assert_eq!((unknown.cluster.probes_failed, unknown.cluster.probe_outages), (3, 6));
    let cause = cause_of(&unknown);
    assert!(cause.starts_with("the LSC of SEP0C75BD000000 names CAPF-"), "{cause}");
    let known = by_lsc("imports=['start','new-capf']");
    assert_eq!(courses(&sim(&plan("", &[&again, &known[..]].concat()))), [[false, true]; 3]);
}

fn cause_of(summary: &Summary) -> &str {
    cause(summary, 0)
}

#[test]
fn an_lsc_whose_time_or_whose_capfs_time_is_over_lets_nobody_in() {
    let steps = [step(SETTLED, ROLL_OUT), step(SETTLED, "advance='40d'")].concat();
    let of_capf = sim(&plan("CAPF='30d'", &[&steps, &by_lsc("")[..]].concat()));
    assert_eq!(courses(&of_capf), [[false, true, false]; 3], "CERT-21");
    let cause = cause_of(&of_capf);
    assert!(cause.starts_with("CAPF-"), "{cause}");
    assert!(cause.contains("vouches for the LSC of SEP0C75BD000000, is valid from"), "{cause}");
    let short = "[cluster.capf]\nvalid-days=20\n";
    let of_lsc = sim(&plan("", &[short, &steps, &by_lsc("")].concat()));
    assert_eq!(courses(&of_lsc), [[false, true, false]; 3], "CERT-27");
    assert!(cause_of(&of_lsc).starts_with("the LSC of SEP0C75BD000000 is valid from"));
    let in_time = sim(&plan("", &[&steps, &by_lsc("")[..]].concat()));
    assert_eq!(courses(&in_time), [[false, true]; 3]);
}

#[test]
fn a_server_that_takes_mics_lets_in_any_phone_that_has_one() {
    let mics = probe("802.1x", "mics=true");
    let only_lsc = probe("802.1x", "phone='SEP0C75BD000001'");
    let both = [mics.clone(), only_lsc].concat();
    assert_eq!(courses(&sim(&plan("", &both))), [[true], [false]], "CAPF-06");
    // A phone with an LSC shows that, whatever it is worth.
    let steps = [step(SETTLED, ROLL_OUT), step(SETTLED, "advance='40d'")].concat();
    let expired = sim(&plan("CAPF='30d'", &[&steps, &mics[..]].concat()));
    assert_eq!(courses(&expired), [[true, false]]);
    // Soft phones have neither.
    let soft = text("", &mics).replacen("phones=5", "phones=5\nmodels={'CIPC'=1.0}", 1);
    let soft = load(Path::new("x.toml"), &soft, &[], &known_paths()).unwrap();
    assert_eq!(courses(&sim(&soft)), [[false]]);
}

/// Nobody's word is taken for it: each changed byte of an LSC is noticed.
#[test]
fn an_lsc_with_any_byte_changed_is_refused() {
    let plan = plan("", "");
    let cluster = Cluster::new(Genesis {
        topology: plan.topology.clone(),
        fleet: plan.fleet_spec(),
        source: KeySource::bank(3),
        epoch_s: 1_790_000_000,
        stored: Stored::default(),
    });
    let (node, phone) = (ClusterId::FIRST.node(0), PhoneId(2));
    let capf = &cluster.dialogue(node, Dialogue::Capf).unwrap().identity;
    let key = pooled_key(KeySpec::Ec(256), 1).unwrap().public_key_info();
    let spec = DeviceSpec {
        common_name: "CP-8841-SEP0C75BD000002",
        device_name: "SEP0C75BD000002",
        public_key_info: &key,
        serial: [7; 16],
        not_before_s: 1_790_000_000,
        valid_s: 86_400,
    };
    let lsc = issue_to_device(&spec, capf).unwrap();
    let (kind, peer) = (ProbeKind::Dot1x, None);
    let probe = Probe { kind, node, peer, store: None, phone: Some(phone), takes_mics: false };
    let mut radius = PeerTrust::default();
    probe.import(&cluster, &mut radius, Time::ZERO);
    let judge = |der: &[u8]| {
        let issuer = IssuerId::of(lsc.issuer());
        let (not_after_s, wrap) = (i64::MAX, WrapKey::None);
        let lsc = IssuedLsc { der: der.into(), issuer, not_after_s, wrap };
        cluster.devices().stored(phone, lsc, Time::ZERO);
        probe.judge(&cluster, &radius, Time::ZERO)
    };
    assert_eq!(judge(lsc.der()), Ok(()));
    for at in 0..lsc.der().len() {
        let mut changed = lsc.der().to_vec();
        changed[at] ^= 1;
        let fault = judge(&changed).expect_err(&format!("byte {at}"));
        assert!(
            matches!(
                fault,
                ProbeFault::Unreadable { .. }
                    | ProbeFault::OtherIssuer { .. }
                    | ProbeFault::Dates { .. }
            ),
            "byte {at}: {fault}"
        );
    }
}

#[test]
fn what_fails_from_the_start_is_said_before_the_run() {
    let said = |rest: &str| {
        let broken = broken_rules(&plan("", rest));
        broken.into_iter().map(|rule| rule.what).filter(|what| what.starts_with("probe ")).collect()
    };
    let none: Vec<String> = Vec::new();
    let lsc: Vec<String> = said(&probe("802.1x", ""));
    assert_eq!(
        lsc,
        ["probe `802.1x of SEP0C75BD000000 at pub` fails from the start: no phone has an LSC and \
          no step installs one"]
    );
    assert_eq!(said(&probe("802.1x", "mics=true")), none);
    assert_eq!(said(&[step(SETTLED, ROLL_OUT), probe("802.1x", "")].concat()), none);
    let late = [RENEW, RESTART, &probe("axl", "imports=['back']")].concat();
    assert!(said(&late)[0].ends_with("its peer imports nothing before the first step"));
    let distrust = said(&probe("phone-vpn", "peer='asa'\ntrusted=false"));
    assert!(distrust[0].ends_with("the node does not trust its peer then"));
    assert_eq!(said(&[all_four(), probe("phone-vpn", "peer='asa'")].concat()), none);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lscs_are_judged_alike_live_and_in_virtual_time() {
    let steps = [step(SETTLED, ROLL_OUT), new_capf(SETTLED), step(NEXT, ROLL_OUT)].concat();
    let last = probe("802.1x", "phone='SEP0C75BD000004'\nimports=['start','new-capf']");
    let plan = plan("", &[steps, by_lsc(""), last].concat());
    let (options, mut told) = (LiveOptions::default(), Told::default());
    let run = Box::pin(live::run(&plan, &options, &mut told)).await.unwrap();
    let live = Summary::new(&run.ledger, run.facts, &plan.slos, run.finish);
    let sim = sim(&plan);
    let broken = vec![false, true, false];
    for summary in [&live, &sim] {
        let expected = [broken.clone(), broken.clone(), broken.clone(), vec![false, true]];
        assert_eq!(courses(summary), expected, "{:?}", summary.probes);
    }
    let causes = |of: &Summary| of.probes.iter().map(|one| one.cause.is_some()).collect::<Vec<_>>();
    assert_eq!(causes(&live), causes(&sim));
}

/// What an observer was told of probes.
#[derive(Default)]
struct Told(Vec<String>);

impl Observer for Told {
    fn started(&mut self, _: &[String]) {}
    fn tick(&mut self, _: &Ledger, _: Time) {}
    fn operator(&mut self, _: &str, _: Time) {}
    fn told(&mut self, text: &str, _: Time) {
        self.0.push(text.to_owned());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_come_out_alike_live_and_in_virtual_time() {
    let vpn = probe("phone-vpn", "peer='asa'");
    let steps = [
        step(SETTLED, "renew-peer={peer='asa',valid='2s'}"),
        step(NEXT, "import-trust={unit='phone-vpn-trust',node='pub',name='asa'}"),
        step("after='previous'\ndelay='5s'", "advance='40d'"),
    ];
    let plan = plan("CallManager='30d'", &[steps.concat(), all_four(), vpn].concat());
    let mut told = Told::default();
    let run = Box::pin(live::run(&plan, &LiveOptions::default(), &mut told)).await.unwrap();
    let live = Summary::new(&run.ledger, run.facts, &plan.slos, run.finish);
    let sim = sim(&plan);
    let counts = |of: &Summary| (of.cluster.probes_failed, of.cluster.probe_outages);
    assert_eq!((courses(&live), counts(&live)), (courses(&sim), (4, 5)));
    assert_eq!(counts(&sim), (4, 5));
    assert_eq!(courses(&sim)[4], [true, false, true, false]);
    for summary in [&live, &sim] {
        // The end between two steps, at a whole second of the calendar, and not at the next step.
        let course = &summary.probes[4].course;
        let (imported, end, next) = (course[2].at_s, course[3].at_s, summary.operator[2].at_s);
        assert!(imported < end && end < next - 1.0, "{course:?}");
        assert!(end.fract().abs() < 1e-9, "{course:?}");
    }
    let failing = told.0.iter().filter(|text| text.contains(" FAILS: ")).count();
    let works = told.0.iter().filter(|text| text.contains(" works again")).count();
    assert_eq!((failing, works), (5, 1), "{:?}", told.0);
    let kinds = |summary: &Summary| -> Vec<Option<String>> {
        let causes = summary.probes.iter().map(|probe| probe.cause.clone());
        causes.map(|cause| Some(cause?.split(" is valid").next()?.to_owned())).collect()
    };
    assert_eq!(kinds(&live), kinds(&sim));
}

#[test]
fn a_certificate_that_is_not_for_an_end_of_the_connection_fails_there_only() {
    let probes = [
        probe("sip-trunk", "imports=['start','back']"),
        probe("conference-bridge", "imports=['start','back']"),
    ];
    let import = |only: &str| {
        let import = format!("import={{certificate='CallManager',node='pub',only='{only}'}}");
        sim(&plan("", &[&step(SETTLED, &import), RESTART, &probes.concat()].concat()))
    };
    let server = import("server");
    assert_eq!(courses(&server), [vec![true, false], vec![true]], "a trunk calls, too");
    let words = "CallManager.pem of pub is not for a TLS client by its extensions";
    assert!(cause(&server, 0).starts_with(words), "{}", cause(&server, 0));
    assert_eq!(courses(&import("client")), vec![vec![true, false]; 2]);

    // Peers: a public CA that has stopped to issue for clients takes the trunk and the bridge.
    let kinds = ["sip-trunk", "conference-bridge", "phone-vpn", "visual-voicemail"];
    let peers = kinds.map(|kind| probe(kind, "peer='sbc'")).concat();
    let renewed = |only: &str| {
        let issued = "issuer='Public-CA',valid='47d'";
        let first = format!("renew-peer={{peer='sbc',{issued}}}");
        let trusted = ["CallManager-trust", "phone-vpn-trust", "phone-trust"].map(|unit| {
            let import = format!("import-trust={{unit='{unit}',node='pub',name='Public-CA'}}");
            step(NEXT, &import)
        });
        let next = format!("renew-peer={{peer='sbc',{issued}{only}}}");
        let steps = [step(SETTLED, &first), trusted.concat(), step(NEXT, &next)].concat();
        sim(&plan("", &[&peers[..], &steps].concat()))
    };
    assert_eq!(renewed("").cluster.probes_failed, 0);
    let server = renewed(",only='server'");
    let fails: Vec<bool> = server.probes.iter().map(|probe| probe.cause.is_some()).collect();
    assert_eq!(fails, [true, true, false, false]);
    let words = "the certificate of sbc is not for a TLS client by its extensions";
    assert!(cause(&server, 1).starts_with(words), "{}", cause(&server, 1));
    let client = renewed(",only='client'");
    let fails: Vec<bool> = client.probes.iter().map(|probe| probe.cause.is_some()).collect();
    assert_eq!(fails, [true, false, true, true]);
    let odd = "renew-peer={peer='sbc',only='both'}";
    let text = text("", &[&peers[..], &step(SETTLED, odd)].concat());
    let error = load(Path::new("probed.toml"), &text, &[], &known_paths()).unwrap_err();
    assert!(error.to_string().contains("unknown end of a TLS connection `both`"), "{error}");
}
