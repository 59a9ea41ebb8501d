//! Rollouts of LSCs: phones and CAPF against each other, in virtual time and on sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use resetstorm::base::{ClusterId, DeviceName, PhoneId, Time};
use resetstorm::cluster::operator::calendar::Advance;
use resetstorm::cluster::operator::lsc::{COMPLETES_IN, LscPhones, RollOutLsc};
use resetstorm::cluster::{Cluster, Genesis, IssuedLsc, LscOperation, ServiceKind, Stored};
use resetstorm::crypto::envelope::{self, EnvelopeFault};
use resetstorm::crypto::{
    Certificate, DeviceSpec, KeyKind, KeySource, KeySpec, device, device_of, hash_text,
    issue_to_device, pooled_key, pooled_rsa,
};
use resetstorm::live::{self, LiveOptions, Observer};
use resetstorm::measure::{Ledger, Summary, known_paths};
use resetstorm::scenario::{Plan, load};
use resetstorm::sim::{SimOptions, SimRun, World};
use resetstorm::wire::{AuthMode, Dialogue, FileName, Seal, SignedFile};

/// One publisher on 11.5 and `phones` phones; `more` is the rest of the scenario.
fn plan(phones: u32, cluster: &str, more: &str) -> Plan {
    let text = format!(
        "schema=1\nname='t'\n[cluster]\nrelease='11.5'\n{cluster}\n[[cluster.node]]\nname='pub'\n\
         services=['callmanager','tftp','tvs','capf']\nports={{tftp=0,tvs=0,capf=0}}\n\
         [fleet]\nphones={phones}\nstart='itl-current'\n{more}"
    );
    load(Path::new("t.toml"), &text, &[], &known_paths()).unwrap_or_else(|error| panic!("{error}"))
}

fn events(events: &[&str]) -> String {
    let event = |event: &&str| format!("[[event]]\nwhen='fleet-settled'\n{event}\n");
    events.iter().map(event).collect()
}

fn sim(plan: &Plan) -> (Summary, SimRun) {
    let run = World::new(plan, SimOptions::default()).run();
    assert_eq!(run.ledger.counts().unexpected, 0);
    (run.summary(plan), run)
}

fn statuses(summary: &Summary) -> Vec<(&str, u64)> {
    summary.capf.statuses.iter().map(|(text, &phones)| (text.as_str(), phones)).collect()
}

/// What phones showed: no server, connection failed, failed, installed.
fn shown(summary: &Summary) -> [u64; 4] {
    let lsc = &summary.lsc;
    [lsc.no_server, lsc.connection_failed, lsc.failed, lsc.installed]
}

const ROLL_OUT: &str = "roll-out-lsc={completes-in='5h', spread='10s'}";
const N: u32 = 60;

#[test]
fn each_cause_of_a_failed_rollout_shows_its_text_and_leaves_its_status() {
    const PENDING: &str = "Operation Pending";
    let stop = "stop={service='capf', node='pub'}";
    let regenerate = "regenerate={certificate='CAPF', node='pub'}";
    let restart = "restart={service='capf', node='pub'}";
    let fault = "[[cluster.fault]]\nid='CSCuj78330'\n";
    let profile =
        "[[cluster.phone-security-profile]]\nname='p'\nshare=1.0\nauth-mode='existing-lsc'\n";
    let domain = "domain='cucm.example'\n";
    let by_lsc = "roll-out-lsc={mode='existing-lsc', completes-in='5h', spread='10s'}";
    let cases: [(&str, &str, &[&str], [u64; 4]); 7] = [
        // CAPF-18: CAPF is stopped; another certificate than that of the ITL.
        ("stopped", "", &[stop, ROLL_OUT], [0, 60, 0, 0]),
        ("another certificate", "", &[regenerate, restart, ROLL_OUT], [0, 60, 0, 0]),
        // CAPF-17, DEF-05: the ITL has no CAPF record.
        ("no record", fault, &[ROLL_OUT], [60, 0, 0, 0]),
        // CAPF-27: the profile's mode is another than that of the operation.
        ("another mode", profile, &[ROLL_OUT], [0, 60, 0, 0]),
        // CAPF-21: a MIC, and the operation wants an LSC.
        ("a MIC", "", &[by_lsc], [0, 60, 0, 0]),
        // CAPF-24: no DNS record of the publisher.
        ("no name", domain, &["remove-record={node='pub'}", ROLL_OUT], [0, 60, 0, 0]),
        ("nothing", "", &[ROLL_OUT], [0, 0, 0, 60]),
    ];
    for (name, cluster, steps, expected) in cases {
        let (summary, _) = sim(&plan(N, cluster, &events(steps)));
        assert_eq!(shown(&summary), expected, "{name}");
        let status = if expected[3] > 0 { "Upgrade Success" } else { PENDING };
        assert_eq!(statuses(&summary), [(status, 60)], "{name}");
        assert_eq!((summary.phones.ready, summary.phones.stuck), (60, 0), "{name}");
    }
    let late = ["roll-out-lsc={completes-in='1h', apply=false}", "advance='2h'", RESET];
    let (summary, _) = sim(&plan(N, "", &events(&late)));
    assert_eq!(shown(&summary), [0, 0, 60, 0]);
    let text = "Upgrade Failed: User Initiated Request Late/Timedout";
    assert_eq!(statuses(&summary), [(text, 60)]);
}

const RESET: &str = "reset-phones={spread='10s'}";

#[test]
fn a_wrong_authentication_string_is_refused_and_the_right_one_is_not() {
    let string = "roll-out-lsc={mode='string', string='12345', completes-in='5h'}";
    let phones = |typed: &str| {
        let phone = format!("[phone]\nauthentication-string='{typed}'\n");
        sim(&plan(N, "", &(phone + &events(&[string])))).0
    };
    assert_eq!(statuses(&phones("12345")), [("Upgrade Success", 60)]);
    let refused = phones("54321");
    assert_eq!(statuses(&refused), [("Upgrade Failed: Invalid Authentication String", 60)]);
    assert_eq!(shown(&refused), [0, 0, 60, 0]);
}

#[test]
fn what_a_failed_rollout_needs_is_done_and_it_goes_on() {
    // CAPF-19: CAPF runs, TFTP is restarted, the phones are reset.
    let regenerate = "regenerate={certificate='CAPF', node='pub'}";
    let [capf, tftp] =
        ["capf", "tftp"].map(|service| format!("restart={{service='{service}', node='pub'}}"));
    let steps = [regenerate, &capf, ROLL_OUT, &tftp, RESET];
    let (summary, _) = sim(&plan(N, "", &events(&steps)));
    assert_eq!((summary.capf.done, summary.capf.stale), (60, 0));
    // CAPF-17: it is activated, TFTP is restarted, the phones are reset.
    let text = "schema=1\nname='t'\n[[cluster.node]]\nname='pub'\n\
        services=['callmanager','tftp','tvs']\n[fleet]\nphones=60\nstart='itl-current'\n";
    let activate = "activate={service='capf', node='pub'}";
    let steps = events(&[ROLL_OUT, activate, &capf, &tftp, RESET]);
    let plan = load(Path::new("t.toml"), &(text.to_owned() + &steps), &[], &[]).unwrap();
    let (summary, _) = sim(&plan);
    assert_eq!((summary.lsc.installed, summary.capf.done), (60, 60));
    assert!(summary.notes.iter().any(|note| note.contains("CAPF is not active on pub")));
}

#[test]
fn an_existing_certificate_proves_who_a_phone_is_mic_first_and_then_its_lsc() {
    let by =
        |mode: &str| format!("roll-out-lsc={{mode='{mode}', key='ec-256', completes-in='5h'}}");
    let (mic, lsc) = (by("existing-mic"), by("existing-lsc"));
    let (summary, run) = sim(&plan(6, "", &events(&[&mic, &lsc])));
    assert_eq!((summary.lsc.installed, summary.capf.done), (12, 6));
    for phone in &run.phones {
        let lsc = &phone.lsc().unwrap().certificate;
        assert_eq!(KeyKind::of(lsc.public_key()), Some(KeyKind::Ec(256)));
    }
    // The cluster no longer knows the manufacturer (CERT-08).
    let delete = "delete-certificate={unit='CAPF-trust', node='pub', \
        name='Cisco Manufacturing CA SHA2'}";
    let restart = "restart={service='capf', node='pub'}";
    let (summary, _) = sim(&plan(6, "", &events(&[delete, restart, &mic])));
    assert_eq!(statuses(&summary), [("Upgrade Failed: Invalid MIC", 6)]);
    // CIPC has none (CAPF-04).
    let soft = events(&[&mic]);
    let text = "schema=1\nname='t'\n[[cluster.node]]\nname='pub'\n[fleet]\nphones=6\n\
        models={'CIPC'=1.0}\nstart='itl-current'\n";
    let plan = load(Path::new("t.toml"), &(text.to_owned() + &soft), &[], &[]).unwrap();
    assert_eq!(statuses(&sim(&plan).0), [("Upgrade Failed: Invalid Credentials", 6)]);
}

#[test]
fn an_lsc_of_an_earlier_capf_still_proves_who_a_phone_is_until_that_expires() {
    let install = "roll-out-lsc={key='ec-256', completes-in='5h'}";
    let regenerate = "regenerate={certificate='CAPF', node='pub'}";
    let [capf, tftp] =
        ["capf", "tftp"].map(|service| format!("restart={{service='{service}', node='pub'}}"));
    let by_lsc = "roll-out-lsc={mode='existing-lsc', key='ec-256', completes-in='5h'}";
    let steps = [install, regenerate, &capf, &tftp, by_lsc];
    let (summary, _) = sim(&plan(6, "", &events(&steps)));
    assert_eq!((summary.lsc.installed, summary.capf.stale), (12, 0), "CERT-10");
    let expires = "[[cluster.node]]\nname='pub'\nexpires={CAPF='30d'}\n\
        services=['callmanager','tftp','tvs','capf']\n";
    let text = format!("schema=1\nname='t'\n[cluster]\nrelease='11.5'\n{expires}");
    let fleet = "[fleet]\nphones=6\nstart='itl-current'\n";
    let steps = [install, "advance='31d'", regenerate, &capf, &tftp, by_lsc];
    let text = text + fleet + &events(&steps);
    let plan = load(Path::new("t.toml"), &text, &[], &[]).unwrap();
    let (summary, _) = sim(&plan);
    assert_eq!(statuses(&summary), [("Upgrade Failed: Invalid LSC", 6)], "CAPF-10");
}

#[test]
fn a_bulk_operation_is_for_a_model_a_group_a_share_or_who_has_a_stale_lsc() {
    let groups = "[[cluster.group]]\nname='a'\nmembers=['pub']\nshare=0.25\n\
        [[cluster.group]]\nname='b'\nmembers=['pub']\nshare=0.75\n";
    let models = "models={'8841'=0.5,'7841'=0.5}\n";
    let pending = |step: &str| {
        let text = format!(
            "schema=1\nname='t'\n[[cluster.node]]\nname='pub'\n{groups}[fleet]\nphones=400\n\
             {models}start='itl-current'\n{}",
            events(&[step])
        );
        let plan = load(Path::new("t.toml"), &text, &[], &[]).unwrap();
        let fleet = plan.fleet_spec();
        let of_model = (0..400).filter(|&n| fleet.model(PhoneId(n)) == 7841.into()).count() as u64;
        (sim(&plan).0.capf.done, of_model)
    };
    assert_eq!(pending("roll-out-lsc={group='a'}").0, 100);
    let (done, of_model) = pending("roll-out-lsc={model='7841'}");
    assert_eq!(done, of_model);
    let half = pending("roll-out-lsc={share='50%'}").0;
    assert!((160..=240).contains(&half), "{half}");
    let twice = events(&[
        "roll-out-lsc={share='50%', completes-in='2h'}",
        "roll-out-lsc={only-stale=true, completes-in='2h'}",
    ]);
    let (summary, _) = sim(&plan(400, "", &twice));
    assert_eq!((summary.lsc.installed, summary.capf.installed), (400, 400), "each one once");
}

#[test]
fn a_ca_in_the_place_of_capf_signs_lscs_that_prove_who_a_phone_is() {
    let of_ca = "[cluster.capf]\nissuer='Lab-CA'\n";
    let regenerate = "regenerate={certificate='CAPF', node='pub'}";
    let [capf, tftp] =
        ["capf", "tftp"].map(|service| format!("restart={{service='{service}', node='pub'}}"));
    let by_lsc = "roll-out-lsc={mode='existing-lsc', completes-in='5h', spread='10s'}";
    let steps = events(&[ROLL_OUT, regenerate, &capf, &tftp, by_lsc]);
    let (summary, run) = sim(&plan(6, of_ca, &steps));
    // A new CAPF makes no LSC stale that it has not signed.
    assert_eq!((summary.lsc.installed, summary.capf.stale), (12, 0), "{:#}", summary.to_json());
    let (_, ca) = run.cluster.authorities().find(|(name, _)| *name == "Lab-CA").unwrap();
    for phone in &run.phones {
        let lsc = &phone.lsc().unwrap().certificate;
        assert!(lsc.is_signed_by(&ca.certificate) && lsc.issuer().contains("CN=Lab-CA"));
    }
    let only_stale = "roll-out-lsc={only-stale=true, completes-in='5h'}";
    let (summary, _) = sim(&plan(6, of_ca, &events(&[ROLL_OUT, regenerate, only_stale])));
    assert_eq!((summary.lsc.installed, summary.capf.pending), (6, 0), "none is stale");
}

/// A million LSCs are no million certificates.
#[test]
fn the_database_of_virtual_time_keeps_each_certificate_once() {
    let (_, run) = sim(&plan(N, "", &events(&[ROLL_OUT])));
    let rows = run.cluster.devices().rows();
    let kept = || rows.iter().map(|(_, row)| &row.lsc.as_ref().unwrap().der);
    let places: BTreeSet<*const u8> = kept().map(|der| der.as_ptr()).collect();
    let different: BTreeSet<&[u8]> = kept().map(|der| &der[..]).collect();
    assert_eq!((rows.len(), places.len()), (60, different.len()));
    assert!(different.len() <= 8, "one for each key of the pool: {}", different.len());
}

#[test]
fn people_who_choose_update_at_each_phone_enrol_it_and_nobody_else_resets_it() {
    // CAPF-30: five people, three minutes a phone.
    let step = "roll-out-lsc={technicians=5, per-phone='3m', completes-in='5h'}";
    let (summary, run) = sim(&plan(N, "", &events(&[step])));
    assert_eq!((summary.capf.done, summary.lsc.installed, summary.lsc.resets), (60, 60, 60));
    assert_eq!(run.ledger.counts().phones.boots, 60, "each was visited once");
    let minutes = summary.capf.took_s.unwrap() / 60.0;
    assert!((35.9..36.5).contains(&minutes), "{minutes}: 12 rounds of 3 minutes");
    assert!(summary.operator[0].what.contains("5 technicians choose Update at each phone (**#)"));
    // Whom they reach after the operation's time, they reach too late.
    let late = "roll-out-lsc={technicians=1, per-phone='3m', completes-in='1h'}";
    let (summary, _) = sim(&plan(N, "", &events(&[late])));
    let text = "Upgrade Failed: User Initiated Request Late/Timedout";
    let of = |text: &str| summary.capf.statuses.get(text).copied().unwrap_or(0);
    assert_eq!((of("Upgrade Success"), of(text)), (20, 40), "{:?}", summary.capf.statuses);
}

#[test]
fn a_profile_that_changes_its_mode_restarts_its_members() {
    let profiles = "[[cluster.phone-security-profile]]\nname='a'\nshare=0.5\n\
        auth-mode='existing-lsc'\n[[cluster.phone-security-profile]]\nname='b'\nshare=0.5\n";
    let set = "set-profile={name='a', auth-mode='null-string', spread='10s'}";
    let (summary, run) = sim(&plan(200, profiles, &events(&[ROLL_OUT, set])));
    assert_eq!(summary.capf.done, 200, "members come again with the right mode");
    let members = summary.lsc.connection_failed;
    assert!((70..=130).contains(&members), "{members}");
    // Every phone boots for the operation, members again for the profile (CAPF-28).
    assert_eq!(run.ledger.counts().phones.boots, 200 + members);
}

#[test]
fn deleted_and_fetched_lsc_are_what_the_database_says() {
    let install = "roll-out-lsc={completes-in='5h'}";
    let fetch = "roll-out-lsc={operation='fetch', completes-in='5h'}";
    let delete = "roll-out-lsc={operation='delete', completes-in='5h'}";
    let (summary, _) = sim(&plan(N, "", &events(&[install, fetch])));
    assert_eq!(statuses(&summary), [("Troubleshoot Success", 60)]);
    assert_eq!((summary.lsc.fetched, summary.capf.installed), (60, 60));
    let (summary, run) = sim(&plan(N, "", &events(&[install, delete])));
    assert_eq!(statuses(&summary), [("Delete Success", 60)]);
    assert_eq!((summary.lsc.deleted, summary.lsc.resets, summary.capf.installed), (60, 120, 0));
    assert!(run.phones.iter().all(|phone| phone.lsc().is_none()));
}

#[test]
fn a_rollout_takes_what_its_sessions_carry_and_its_forecast_is_near_it() {
    let phone = "[phone]\nkey-generation='30s'\n";
    let capf = "[cluster.capf]\nsessions=50\n";
    let step = "roll-out-lsc={completes-in='20h', spread='60s'}";
    let (summary, _) = sim(&plan(6_000, capf, &(phone.to_owned() + &events(&[step]))));
    assert_eq!((summary.capf.done, summary.lsc.installed), (6_000, 6_000));
    let hours = summary.capf.took_s.unwrap() / 3_600.0;
    assert!((1.0..=1.05).contains(&hours), "{hours}");
    let forecast = summary.capf.forecast_early_s.unwrap() / 3_600.0;
    assert!((forecast / hours - 1.0).abs() < 0.1, "{forecast} of {hours}");
    assert!(summary.lsc.postponed < 4 * 6_000, "{}", summary.lsc.postponed);
}

const ENCRYPTED: &str = "[[cluster.phone-security-profile]]\nname='secret'\nshare=1.0\n\
                         encrypted-config=true\n";

/// The bytes: for whose key a configuration is encrypted, before an LSC, with one, and when its time is
/// over.
#[test]
fn a_configuration_is_encrypted_for_the_lsc_of_its_phone_as_long_as_that_is_good() {
    let plan = plan(4, ENCRYPTED, "");
    let mut cluster = Cluster::new(Genesis {
        topology: plan.topology.clone(),
        fleet: plan.fleet_spec(),
        source: KeySource::bank(3),
        epoch_s: 1_790_000_000,
        stored: Stored::default(),
    });
    let (node, phone) = (ClusterId::FIRST.node(0), PhoneId(2));
    let name = |seal| FileName::Config(Some(DeviceName::of_phone(phone)), seal);
    let served = |cluster: &Cluster, seal| cluster.tftp(node).unwrap().whole(name(seal));
    let opened = |cluster: &Cluster, key| -> Result<String, EnvelopeFault> {
        let bytes = served(cluster, Seal::Encrypted).expect("it is served");
        let content = envelope::open(&SignedFile::parse(&bytes).unwrap(), key)?;
        Ok(String::from_utf8(content).unwrap())
    };
    let (mic, key) = (&*device(device_of(phone)).key, pooled_rsa(5));
    assert!(opened(&cluster, mic).is_ok() && opened(&cluster, key).is_err());
    let roll_out = RollOutLsc {
        operation: LscOperation::Install,
        mode: AuthMode::NullString,
        key: KeySpec::Rsa(2_048),
        string: None,
        completes_in: COMPLETES_IN,
        phones: LscPhones::ALL,
        pace: None,
        checks_capf: false,
    };
    cluster.apply(&roll_out, Time::ZERO).unwrap();
    assert!(opened(&cluster, mic).is_ok(), "it has none yet");
    let store = |cluster: &Cluster, spec, number, days: u64| {
        let capf = &cluster.dialogue(node, Dialogue::Capf).unwrap().identity;
        let spec = DeviceSpec {
            common_name: "CP-8841-SEP0C75BD000002",
            device_name: "SEP0C75BD000002",
            public_key_info: &pooled_key(spec, number).unwrap().public_key_info(),
            serial: [7; 16],
            not_before_s: 1_790_000_000,
            valid_s: days * 86_400,
        };
        let lsc = issue_to_device(&spec, capf).unwrap();
        cluster.devices().stored(phone, IssuedLsc::new(&lsc), Time::ZERO);
        lsc
    };
    let lsc = store(&cluster, KeySpec::Rsa(2_048), 5, 10);
    let content = opened(&cluster, key).expect("it is for the LSC now");
    assert!(opened(&cluster, mic).is_err());
    // Stub and content name the LSC by its hash.
    let hash = hash_text(lsc.der());
    let stub = served(&cluster, Seal::Signed).unwrap();
    let stub = String::from_utf8(SignedFile::parse(&stub).unwrap().body.to_vec()).unwrap();
    assert!(content.contains(&hash) && stub.contains(&hash), "{stub}");
    // Nothing is encrypted for EC keys: the MIC has to do.
    store(&cluster, KeySpec::Ec(256), 1, 10);
    assert!(opened(&cluster, mic).is_ok());
    store(&cluster, KeySpec::Rsa(2_048), 5, 10);
    let advance = Advance { by: resetstorm::base::Span::from_secs(11 * 86_400) };
    cluster.apply(&advance, Time::ZERO).unwrap();
    assert_eq!(served(&cluster, Seal::Encrypted), None, "CERT-21: its time is over");
    assert!(served(&cluster, Seal::Signed).is_some(), "what is in the clear goes on");
    store(&cluster, KeySpec::Rsa(2_048), 6, 100);
    assert!(opened(&cluster, pooled_rsa(6)).is_ok());
}

#[test]
fn phones_read_configurations_for_their_lscs_and_none_when_capf_has_expired() {
    let rsa = "roll-out-lsc={completes-in='5h', spread='1s'}";
    let steps = [rsa, RESET];
    let (summary, _) = sim(&plan(N, ENCRYPTED, &events(&steps)));
    // What counts is what phones get in the reset behind the rollout.
    assert_eq!((summary.capf.done, summary.config.applied), (60, 60), "{:#}", summary.to_json());
    assert_eq!((summary.config.unreadable, summary.phones.ready), (0, 60));
    let expiring = |days: u32| {
        let steps = [rsa, "advance='40d'", RESET];
        let text = format!(
            "schema=1\nname='t'\n[cluster]\nrelease='11.5'\n{ENCRYPTED}[[cluster.node]]\nname='pub'\n\
             expires={{CAPF='{days}d'}}\nservices=['callmanager','tftp','tvs','capf']\n\
             [fleet]\nphones=60\nstart='itl-current'\n{}",
            events(&steps)
        );
        sim(&load(Path::new("t.toml"), &text, &[], &[]).unwrap()).0
    };
    let (good, over) = (expiring(50), expiring(30));
    assert_eq!((good.config.applied, good.phones.ready), (60, 60));
    assert_eq!((over.config.applied, over.phones.ready, over.phones.failed), (0, 0, 60), "CERT-21");
    assert!(over.tftp.not_found >= 60, "{:?}", over.tftp);
}

#[test]
fn an_lsc_that_ends_during_a_reset_is_over_for_the_phones_that_come_later() {
    let short = format!("{ENCRYPTED}[cluster.capf]\nvalid-days=1\n");
    let steps = ["roll-out-lsc={completes-in='5h', spread='1s'}", "reset-phones={spread='2d'}"];
    let (summary, run) = sim(&plan(N, &short, &events(&steps)));
    assert_eq!(summary.capf.done, 60, "{:#}", summary.to_json());
    assert!(run.ended > Time::ZERO + resetstorm::base::Span::from_secs(86_400));
    let early = summary.config.applied;
    assert!((15..45).contains(&early), "{early} have come within the day");
    // CERT-21: nothing is encrypted for the others.
    let none = &summary.phones.failures["no configuration on the server"];
    assert_eq!(*none, 60 - early, "{:?}", summary.phones.failures);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phones_read_configurations_for_their_lscs_live() {
    let rsa = "roll-out-lsc={completes-in='5h', spread='1s'}";
    let plan = plan(20, ENCRYPTED, &events(&[rsa, "reset-phones={spread='1s'}"]));
    let (summary, _) = live(&plan, &LiveOptions::default()).await;
    assert_eq!((summary.capf.done, summary.config.applied), (20, 20), "{:#}", summary.to_json());
    assert_eq!((summary.config.unreadable, summary.phones.ready), (0, 20));
}

/// Causes of "Operation Pending" that lie in the lists of phones (CAPF-21).
#[test]
fn phones_whose_list_differs_or_whose_tvs_is_silent_leave_their_operation_pending() {
    let two = |steps: &[&str]| {
        let text = format!(
            "schema=1\nname='t'\n[cluster]\nrelease='11.5'\n[[cluster.node]]\nname='pub'\n\
             services=['callmanager','tftp','tvs','capf']\n[[cluster.node]]\nname='sub'\n\
             address='127.0.0.2'\nservices=['callmanager','tftp','tvs']\n\
             [fleet]\nphones=60\nstart='itl-current'\ntftp=['pub','sub']\n{}",
            events(steps)
        );
        sim(&load(Path::new("t.toml"), &text, &[], &[]).unwrap()).0
    };
    let regenerate = "regenerate={certificate='CAPF', node='pub'}";
    let [capf, tftp] =
        ["capf", "tftp"].map(|service| format!("restart={{service='{service}', node='pub'}}"));
    // TFTP was restarted on one node only: the phones of the other one hold another list than that.
    let summary = two(&[regenerate, &capf, &tftp, ROLL_OUT]);
    assert_eq!(shown(&summary), [0, 30, 0, 30]);
    assert_eq!(statuses(&summary), [("Operation Pending", 30), ("Upgrade Success", 30)]);
    // A TVS that does not answer: the configuration that tells them is refused, so that nobody goes
    // to CAPF at all.
    let signer = "regenerate={certificate='CallManager', node='pub'}";
    let stop = "stop={service='tvs', node='pub'}";
    let before_12 = plan(N, "", &events(&[signer, &tftp, stop, ROLL_OUT]));
    let (summary, _) = sim(&before_12);
    assert_eq!((shown(&summary), summary.config.applied), ([0; 4], 0));
    assert_eq!(statuses(&summary), [("Operation Pending", 60)]);
}

#[test]
fn phones_whose_itl_is_corrupted_enrol_when_the_local_key_has_signed_another() {
    // CAPF-21, CAPF-22: a restore without CallManager.pem leaves a list that nobody can verify.
    let of = |steps: &[&str]| {
        let text = format!(
            "schema=1\nname='t'\n[cluster]\nrelease='11.5'\n[[cluster.fault]]\nid='CSCtn50405'\n\
             [[cluster.node]]\nname='pub'\nservices=['callmanager','tvs','capf']\n\
             [[cluster.node]]\nname='sub'\nservices=['tftp']\n\
             [fleet]\nphones=60\nstart='itl-current'\n{}",
            events(steps)
        );
        sim(&load(Path::new("t.toml"), &text, &[], &[]).unwrap()).0
    };
    let corrupted = ["backup={}", "rebuild={node='sub'}", "restore={node='sub'}", ROLL_OUT];
    let summary = of(&corrupted);
    assert_eq!((shown(&summary), summary.config.applied), ([0; 4], 0));
    assert_eq!(statuses(&summary), [("Operation Pending", 60)]);
    let night = [
        &corrupted[..],
        &[
            "regenerate={certificate='CallManager', node='sub'}",
            "restart={service='tftp', node='sub'}",
            "stop={service='tvs', node='pub'}",
        ],
    ]
    .concat();
    let lost = of(&[&night[..], &[RESET]].concat());
    assert_eq!((lost.lsc.installed, lost.phones.ready), (0, 0), "nobody knows the new signer");
    let saved = of(&[&night[..], &["reset-itl-localkey={}", RESET]].concat());
    assert_eq!((shown(&saved), saved.phones.ready), ([0, 0, 0, 60], 60), "all of them");
    assert_eq!(statuses(&saved), [("Upgrade Success", 60)]);
}

#[test]
fn a_capf_of_another_ca_comes_after_its_own_and_all_lscs_are_deployed_again() {
    // CAPF-34, CERT-32: tested with the certificate that CAPF made itself, then with one of a CA.
    let import = "import={certificate='CAPF', node='pub', issuer='Lab-CA'}";
    let [capf, tftp] =
        ["capf", "tftp"].map(|service| format!("restart={{service='{service}', node='pub'}}"));
    let of = |steps: &[&str]| sim(&plan(6, "", &events(steps)));
    let (before, after) = (of(&[ROLL_OUT]), of(&[ROLL_OUT, import, &capf, &tftp, ROLL_OUT]));
    assert_eq!([before.0.lsc.installed, after.0.lsc.installed], [6, 12]);
    assert_eq!(after.0.capf.stale, 0);
    let roots: Vec<Certificate> =
        after.1.cluster.authorities().map(|(_, root)| root.certificate.clone()).collect();
    for (run, is_of_the_ca) in [(&before.1, false), (&after.1, true)] {
        let capf = run.cluster.presented(ClusterId::FIRST.node(0), ServiceKind::Capf).unwrap();
        let date_s = run.cluster.calendar().date_s(run.ended);
        for phone in &run.phones {
            let lsc = &phone.lsc().unwrap().certificate;
            assert!(lsc.is_signed_by(capf));
            let verdict = lsc.judge_chain(std::slice::from_ref(capf), &roots, date_s);
            assert_eq!(verdict.is_ok(), is_of_the_ca, "{verdict:?}");
        }
    }
}

#[test]
fn a_new_capf_certificate_resets_the_phones_by_itself_where_the_cluster_is_set_so() {
    let regenerate = "regenerate={certificate='CAPF', node='pub'}";
    let import = "import={certificate='CAPF', node='pub', issuer='Lab-CA'}";
    for step in [regenerate, import] {
        for (auto, boots) in [("auto-reset='5s'\n", 60), ("", 0)] {
            let (summary, run) = sim(&plan(N, auto, &events(&[step])));
            assert_eq!(run.ledger.counts().phones.boots, boots, "{auto}{step}: CAPF-08");
            assert_eq!(summary.phones.stuck, 0);
        }
    }
    let (summary, _) = sim(&plan(N, "auto-reset='5s'\n", &events(&[regenerate])));
    assert!(summary.operator[0].what.contains("which resets all phones within 5s"));
    let silent = "auto-reset='5s'\n[[cluster.fault]]\nid='CSCue55353'\n";
    let (summary, run) = sim(&plan(N, silent, &events(&[regenerate])));
    assert_eq!(run.ledger.counts().phones.boots, 60);
    assert!(summary.notes.iter().any(|note| note.contains("the cluster told nobody")));
}

/// One publisher whose CAPF certificate has so long to live.
fn with_capf_ending_in(days: u32, steps: &[&str]) -> (Summary, SimRun) {
    let text = format!(
        "schema=1\nname='t'\n[[cluster.node]]\nname='pub'\nexpires={{CAPF='{days}d'}}\n\
         services=['callmanager','tftp','tvs','capf']\n[fleet]\nphones=6\nstart='itl-current'\n{}",
        events(steps)
    );
    sim(&load(Path::new("t.toml"), &text, &[], &[]).unwrap())
}

#[test]
fn no_rollout_begins_with_a_capf_certificate_near_its_end_where_somebody_looks() {
    let checked = "roll-out-lsc={completes-in='5h', check-capf=true}";
    let typed = "console=['set capf operation install completes-in=5h']";
    for step in [checked, typed] {
        let (summary, run) = with_capf_ending_in(30, &[step]);
        assert_eq!((statuses(&summary), summary.lsc.installed), (vec![], 0), "{step}");
        assert_eq!(run.ledger.counts().phones.boots, 0, "nobody is reset for nothing");
        let said = summary.notes.join("\n")
            + &run.facts.consoles.iter().map(|(_, text)| text.as_str()).collect::<String>();
        assert!(said.contains("the CAPF certificate expires in "), "{step}: {said}");
    }
    assert_eq!(with_capf_ending_in(30, &[checked]).0.cluster.failed_actions, 1);
    // Regenerated first, nothing stands against it; nor where nobody looks.
    let regenerate = "regenerate={certificate='CAPF', node='pub'}";
    let [capf, tftp] =
        ["capf", "tftp"].map(|service| format!("restart={{service='{service}', node='pub'}}"));
    let (summary, _) = with_capf_ending_in(30, &[regenerate, &capf, &tftp, RESET, checked]);
    assert_eq!((summary.capf.done, summary.cluster.failed_actions), (6, 0));
    let (summary, _) = with_capf_ending_in(30, &["roll-out-lsc={completes-in='5h'}"]);
    assert_eq!(summary.capf.done, 6);
    let (summary, _) = with_capf_ending_in(1_000, &[checked]);
    assert_eq!(summary.capf.done, 6);
}

/// CTL-19: Cisco CTL Provider and CAPF run on the publisher before a rollout.
#[test]
fn no_rollout_begins_without_a_ctl_provider_where_somebody_looks() {
    let stop = "stop={service='ctl-provider', node='pub'}";
    let start = "start={service='ctl-provider', node='pub'}";
    let checked = "roll-out-lsc={completes-in='5h', check-capf=true}";
    let (summary, _) = with_capf_ending_in(1_000, &[stop, checked]);
    assert_eq!((summary.capf.done, summary.cluster.failed_actions), (0, 1));
    let told = "Cisco CTL Provider does not run on pub";
    assert!(summary.notes.iter().any(|note| note.contains(told)), "{:?}", summary.notes);
    let (summary, _) = with_capf_ending_in(1_000, &[stop, start, checked]);
    assert_eq!((summary.capf.done, summary.cluster.failed_actions), (6, 0));
}

#[test]
fn an_operation_typed_at_the_console_is_that_of_the_scenario() {
    let play = |step: &str| {
        let models = "models={'8841'=0.5,'7841'=0.5}\n";
        sim(&plan(N, "", &(models.to_owned() + &events(&[step]))))
    };
    let (_, native) = play(
        "roll-out-lsc={model='7841', key='ec-256', completes-in='5h', spread='10s', \
         check-capf=true}",
    );
    let (summary, typed) = play(
        "console=['set capf operation install model=7841 key=ec-256 completes-in=5h spread=10s']",
    );
    assert_eq!(typed.digest, native.digest);
    let count = summary.capf.done;
    assert!((15..=45).contains(&count), "{count}");
    let begins = format!("Update of {count} phones: install LSCs on the phones of model 7841 (ec-");
    let text = &typed.facts.consoles[0].1;
    assert!(text.contains(&begins), "{text}");
    // One phone, by its name.
    let name = DeviceName::of_phone(PhoneId(3)).to_string().to_ascii_lowercase();
    let (summary, run) = play(&format!("console=['set capf operation install device={name}']"));
    assert_eq!(summary.capf.done, 1);
    assert!(
        run.phones
            .iter()
            .all(|phone| phone.lsc().is_some() == (phone.name().phone() == Some(PhoneId(3))))
    );
}

#[test]
fn the_capf_report_has_status_issuer_and_end_of_each_lsc() {
    let steps = [
        "roll-out-lsc={share='50%', completes-in='5h'}",
        "roll-out-lsc={share='20%', mode='string', string='4711', completes-in='5h', apply=false}",
        "console=['show capf phones','show capf report','show capf report status=Upgrade limit=2',\
         'show capf report string=4711','show capf report expires-within=1d',\
         'show capf report expires-within=6y']",
    ];
    let (summary, run) = sim(&plan(N, "", &events(&steps)));
    let text = &run.facts.consoles[0].1;
    let answers: Vec<&str> = text.split("admin:").skip(1).collect();
    let [phones, all, two, with_string, soon, later] = answers[..] else { panic!("{text}") };
    let of = |status: &str| {
        let line = phones.lines().find(|line| line.starts_with(status)).unwrap_or_default();
        line.split_whitespace().last().and_then(|count| count.parse::<u64>().ok()).unwrap_or(0)
    };
    let (pending, done) = (summary.capf.pending, summary.capf.done);
    assert!(pending > 0 && done > 0, "{text}");
    assert_eq!((of("Operation Pending"), of("Upgrade Success")), (pending, done), "{phones}");
    assert_eq!(of("None "), u64::from(N) - pending - done, "{phones}");
    assert_eq!((of("LSCs "), of("LSCs that have expired")), (summary.capf.installed, 0));
    let rows = |answer: &str| answer.lines().filter(|line| line.starts_with("SEP")).count() as u64;
    assert_eq!((rows(all), rows(two), rows(with_string)), (pending + done, 2, pending), "{text}");
    let more = format!("{done} phones; {} are not printed (limit=2)", done - 2);
    assert!(two.contains(&more), "{two}");
    assert_eq!((rows(soon), rows(later)), (0, summary.capf.installed), "{text}");
    // Each row says of its phone what that has.
    for phone in run.phones.iter().filter(|phone| phone.lsc().is_some()) {
        let (name, lsc) = (phone.name().to_string(), &phone.lsc().unwrap().certificate);
        let row =
            all.lines().find(|line| line.starts_with(&name)).unwrap_or_else(|| panic!("{name}"));
        let issuer = lsc.issuer().split(';').find_map(|part| part.strip_prefix("CN=")).unwrap();
        assert!(issuer.starts_with("CAPF-") && row.contains(issuer), "{row}");
        let year = jiff_year(lsc.validity_s().1.unwrap());
        assert!(row.contains(&format!(" UTC {year}")), "{row}: {year}");
    }
}

/// The year of an instant.
fn jiff_year(at_s: i64) -> i16 {
    jiff::Timestamp::from_second(at_s).unwrap().to_zoned(jiff::tz::TimeZone::UTC).year()
}

struct Silent;

impl Observer for Silent {
    fn started(&mut self, _: &[String]) {}
    fn tick(&mut self, _: &Ledger, _: Time) {}
    fn operator(&mut self, _: &str, _: Time) {}
}

async fn live(plan: &Plan, options: &LiveOptions) -> (Summary, live::LiveRun) {
    let run = Box::pin(live::run(plan, options, &mut Silent)).await.unwrap();
    (Summary::new(&run.ledger, run.facts.clone(), &plan.slos, run.finish), run)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phones_enrol_on_sockets_as_in_virtual_time() {
    let regenerate = "regenerate={certificate='CAPF', node='pub'}";
    let [capf, tftp] =
        ["capf", "tftp"].map(|service| format!("restart={{service='{service}', node='pub'}}"));
    let rsa = "roll-out-lsc={completes-in='5h', spread='1s'}";
    let ec = "roll-out-lsc={key='ec-256', only-stale=true, completes-in='5h', spread='1s'}";
    let plan = plan(60, "", &events(&[rsa, regenerate, &capf, &tftp, ec]));
    let (live, run) = live(&plan, &LiveOptions::default()).await;
    let (sim, _) = sim(&plan);
    assert_eq!(run.ledger.counts().unexpected, 0);
    for summary in [&live, &sim] {
        assert_eq!(shown(summary), [0, 0, 0, 120], "{:#}", summary.to_json());
        assert_eq!((summary.lsc.resets, summary.config.applied), (120, 240));
        assert_eq!((summary.capf.done, summary.capf.installed, summary.capf.stale), (60, 60, 0));
        assert_eq!((summary.phones.ready, summary.tftp.transfers), (60, 480));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lscs_of_a_live_run_are_signed_by_capf_and_kept_for_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let options = LiveOptions { state: Some(folder.path().to_owned()), ..LiveOptions::default() };
    let first = plan(20, "", &events(&["roll-out-lsc={completes-in='5h', spread='1s'}"]));
    let (summary, _) = live(&first, &options).await;
    assert_eq!(summary.capf.installed, 20, "{:#}", summary.to_json());
    // The next run asks phones to show their LSCs: they are new phones, and have none.
    let fetch = "roll-out-lsc={operation='fetch', completes-in='5h', spread='1s'}";
    let (again, _) = live(&plan(20, "", &events(&[fetch])), &options).await;
    assert_eq!(statuses(&again), [("Troubleshoot Failed", 20)]);
    assert_eq!((again.capf.installed, again.capf.stale), (20, 0), "as they were kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_phone_of_a_live_run_has_its_own_lsc() {
    let (_, run) = live(&plan(20, "", &events(&[ROLL_OUT])), &LiveOptions::default()).await;
    let mut names: BTreeMap<String, u64> = BTreeMap::new();
    for phone in &run.phones {
        let lsc: &Certificate = &phone.lsc().unwrap().certificate;
        assert!(lsc.names_device(&phone.name().to_string()));
        *names.entry(lsc.common_name().to_owned()).or_default() += 1;
    }
    assert_eq!(names.len(), 20);
}
