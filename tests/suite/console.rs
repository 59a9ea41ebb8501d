//! The `admin:` console: its texts to the character, what it does and does not do, and that a line in
//! a scenario does what the native verb does.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use resetstorm::base::{ClusterId, NodeId, Time};
use resetstorm::cluster::operator::certificates::Regenerate;
use resetstorm::cluster::operator::ctl::{ResetList, ResetLocalKey, UpdateCtl};
use resetstorm::cluster::operator::parameters::{Parameter, SetParameter};
use resetstorm::cluster::operator::recovery::{Rebuild, Restore};
use resetstorm::cluster::operator::services::Services;
use resetstorm::cluster::{CertificateKind, Cluster, Genesis, SecurityMode, ServiceKind, Stored};
use resetstorm::console::{Answer, PROMPT, Session, Typed, View, parse};
use resetstorm::crypto::KeySource;
use resetstorm::measure::known_paths;
use resetstorm::scenario::{Plan, load, to_toml};
use resetstorm::sim::{SimOptions, SimRun, World};

const PUB: NodeId = ClusterId::FIRST.node(0);
const SUB: NodeId = ClusterId::FIRST.node(1);

/// A cluster of two nodes; `settings` stand under `[cluster]`.
fn plan_with(settings: &str, events: &str) -> Result<Plan, String> {
    let text = format!(
        "schema=1\nname='console'\nseed=7\n[cluster]\n{settings}\n\
         [[cluster.node]]\nname='pub'\nservices=['callmanager','capf','tftp','tvs']\n\
         [[cluster.node]]\nname='sub'\nservices=['tftp','tvs']\naddress='127.0.0.2'\n\
         [fleet]\nphones=6\nstart='itl-current'\n{events}"
    );
    load(Path::new("console.toml"), &text, &[], &known_paths()).map_err(|error| error.to_string())
}

fn cluster(settings: &str) -> Cluster {
    let plan = plan_with(settings, "").unwrap();
    Cluster::new(Genesis {
        topology: plan.topology.clone(),
        fleet: plan.fleet_spec(),
        source: KeySource::bank(7),
        epoch_s: 1_311_776_184,
        stored: Stored::default(),
    })
}

/// What stands on a terminal where these lines were typed.
fn screen(cluster: &Cluster, node: NodeId, lines: &[&str]) -> String {
    let lines = lines.iter().map(ToString::to_string).collect();
    Typed { node, lines }.transcript(&View::of(cluster, Time::ZERO)).text
}

/// What the last of these lines is answered with.
fn answer(cluster: &Cluster, node: NodeId, lines: &[&str]) -> Answer {
    let mut session = Session::new(node);
    lines
        .iter()
        .fold(Answer::default(), |_, line| session.line(line, &View::of(cluster, Time::ZERO)))
}

const R10: &str = "release='10.5'";
const MIXED: &str = "release='10.5'\nsecurity-mode='mixed'";

#[test]
fn a_regeneration_warns_asks_and_says_what_to_restart() {
    let cluster = cluster("release='9.1'");
    assert_eq!(
        screen(&cluster, PUB, &["set cert regen CAPF", "yes"]),
        "admin:set cert regen CAPF\n\
         WARNING: This operation will overwrite any CA signed certificate previously imported\n\
         for CAPF\n\
         Proceed with regeneration (yes|no)? yes\n\
         Successfully Regenerated Certificate for CAPF.\n\
         You must restart services related to CAPF for the regenerated certificates to become \
         active.\n"
    );
    let certificate = CertificateKind::Capf;
    let done = answer(&cluster, PUB, &["set cert regen capf", "yes"]).action.unwrap();
    assert_eq!(done, Regenerate { certificate, node: PUB });
}

#[test]
fn older_releases_confirm_a_regeneration_in_their_words() {
    let text = screen(&cluster("release='8.0'"), PUB, &["set cert regen TVS", "yes"]);
    assert!(
        text.ends_with(
            "\nSuccessfully regenerated certificate for TVS. Please restart services related to \
             TVS for the new certificate to become active.\n"
        ),
        "{text}"
    );
}

#[test]
fn an_answer_other_than_yes_does_nothing() {
    let cluster = cluster(MIXED);
    for (line, answers) in [
        ("set cert regen CAPF", &["no", "", "y", "yess", "\u{1b}[A"][..]),
        ("utils ctl update CTLFile", &["n", "", "j"]),
        ("utils ctl set-cluster non-secure-mode", &["n", "yep"]),
        ("utils itl reset localkey", &["", "  "]),
    ] {
        for other in answers {
            let mut session = Session::new(PUB);
            session.line(line, &View::of(&cluster, Time::ZERO));
            assert!(!session.is_ready(), "{line} asks");
            assert_eq!(
                session.line(other, &View::of(&cluster, Time::ZERO)).action,
                None,
                "{line}: {other}"
            );
            assert_eq!(session.prompt(), PROMPT);
        }
    }
}

#[test]
fn units_are_those_of_the_node_and_its_release() {
    let cluster = cluster(R10);
    let units = ["CAPF", "CallManager", "ipsec", "tomcat", "TVS", "ITLRecovery", "callmanager"];
    for unit in units {
        assert!(!answer(&cluster, PUB, &[&format!("set cert regen {unit}")]).is_refused, "{unit}");
    }
    for unit in ["capf-trust", "LSC", "CallManager-ECDSA", "CAPF.pem"] {
        assert!(answer(&cluster, PUB, &[&format!("set cert regen {unit}")]).is_refused, "{unit}");
    }
    assert!(answer(&cluster, SUB, &["set cert regen ITLRecovery"]).is_refused, "publisher only");
}

#[test]
fn a_ctl_update_is_that_of_the_documents() {
    let cluster = cluster(MIXED);
    assert_eq!(
        screen(&cluster, PUB, &["utils ctl update CTLfile", "y"]),
        "admin:utils ctl update CTLfile\n\
         This operation updates the CTLFile. Do you want to continue? (y/n):y\n\
         \n\
         Updating CTL file\n\
         CTL file Updated\n\
         Please Restart the TFTP and Cisco CallManager services on all nodes in the cluster that \
         run these services\n"
    );
    let done = answer(&cluster, PUB, &["utils ctl update CTLFile", "y"]).action.unwrap();
    assert_eq!(done, UpdateCtl::AS_EVER);
    assert!(answer(&cluster, SUB, &["utils ctl update CTLFile"]).is_refused);
}

#[test]
fn mixed_mode_is_entered_and_left_as_in_the_documents() {
    let plain = cluster(R10);
    assert_eq!(
        screen(&plain, PUB, &["utils ctl set-cluster mixed-mode", "y"]),
        "admin:utils ctl set-cluster mixed-mode\n\
         This operation sets the cluster to Mixed mode. Do you want to continue? (y/n):y\n\
         \n\
         Moving Cluster to Mixed Mode\n\
         Cluster set to Mixed Mode\n\
         Please Restart the TFTP and Cisco CallManager services on all nodes in the cluster that \
         run these services\n"
    );
    let mode = |cluster: &Cluster, line: &str| answer(cluster, PUB, &[line, "y"]).action;
    let to = |mode| {
        let spread = resetstorm::base::Span::ZERO;
        Some(SetParameter { parameter: Parameter::SecurityMode(mode), spread }.into())
    };
    assert_eq!(mode(&plain, "utils ctl set-cluster mixed-mode"), to(SecurityMode::Mixed));
    assert_eq!(mode(&plain, "utils ctl set-cluster non-secure-mode"), None);
    let mixed = cluster(MIXED);
    let left = mode(&mixed, "utils ctl set-cluster non-secure-mode");
    assert_eq!(left, to(SecurityMode::NonSecure));
}

#[test]
fn a_reset_of_the_local_key_is_that_of_the_documents_and_for_the_publisher_only() {
    let cluster = cluster(MIXED);
    assert_eq!(
        screen(&cluster, PUB, &["utils itl reset localkey", "secret"]),
        "admin:utils itl reset localkey\n\
         Enter CCM Administrator password :\n\
         Name is None\n\
         Generating the reset ITL file.....\n\
         The reset ITL file was generated successfully\n\
         Locating active Tftp servers in the cluster.....\n\
         Following is the list of Active tftp servers in the cluster\n\
         ===========================================================\n\
         pub\n\
         sub\n\
         ===========================================================\n\
         Number of Active TFTP servers in the cluster : 2\n\
         Transferring new reset ITL file to the TFTP server nodes in the cluster.........\n\
         Successfully transferred reset ITL to node pub\n\
         Successfully transferred reset ITL to node sub\n"
    );
    for (word, list) in [("itl", ResetList::Itl), ("ctl", ResetList::Ctl)] {
        let line = format!("utils {word} reset localkey");
        let done = answer(&cluster, PUB, &[&line, "secret"]).action.unwrap();
        assert_eq!(done, ResetLocalKey { list });
        assert!(answer(&cluster, SUB, &[&line]).is_refused, "{word} on the subscriber");
    }
    let older = self::cluster("release='9.1'");
    assert!(answer(&older, PUB, &["utils itl reset localkey"]).is_refused, "no such key yet");
}

#[test]
fn the_lists_are_printed_as_the_node_has_them() {
    let older = cluster("release='8.6'");
    let itl = screen(&older, PUB, &["show itl"]);
    let length = older.tftp(PUB).unwrap().signed_list().len();
    let start = format!(
        "admin:show itl\nLength of ITL file: {length}\n\
         The ITL File was last modified on Wed Jul 27 14:16:24 UTC 2011\n\n\
         \tParse ITL File\n\t----------------\n\nVersion:\t1.2\nHeaderLength:\t"
    );
    assert!(itl.starts_with(&start), "{itl}");
    assert_eq!(itl.matches("This etoken was used to sign the ITL file.").count(), 1, "{itl}");
    assert!(itl.ends_with("\nThe ITL file was verified successfully.\n"), "{itl}");
    assert_eq!(
        screen(&older, PUB, &["show ctl"]),
        "admin:show ctl\n\
         Length of CTL file: 0\n\
         CTL File not found . Please run CTLClient plugin or run the CLI - utils ctl.. to generate \
         the CTL file.\n\
         Error parsing the CTL File.\n"
    );
    let mixed = cluster(MIXED);
    let ctl = screen(&mixed, SUB, &["show ctl"]);
    assert!(ctl.starts_with("admin:show ctl\nThe checksum value of the CTL file:\n"), "{ctl}");
    assert!(ctl.contains("(MD5)\n") && ctl.contains("(SHA1)\n\nLength of CTL file: "), "{ctl}");
    assert!(ctl.ends_with("\nThe CTL file was verified successfully.\n"), "{ctl}");
    let itl = screen(&mixed, PUB, &["show itl"]);
    let recovery = "This etoken was not used to sign the ITL file.";
    assert!(itl.contains(recovery) && itl.contains("(MD5)"), "{itl}");
}

#[test]
fn services_are_restarted_by_their_names_in_serviceability() {
    let cluster = cluster(R10);
    let screen = |node, line: &str| screen(&cluster, node, &[line]);
    assert_eq!(
        screen(PUB, "utils service restart Cisco Tftp"),
        "admin:utils service restart Cisco Tftp\n\
         Do not press Ctrl+C while the service is restarting. If the service has not restarted \
         properly, execute the same command again.\n\
         Service Manager is running\n\
         Cisco Tftp[STOPPING]\nCisco Tftp[STOPPED]\nCisco Tftp[STARTING]\nCisco Tftp[STARTED]\n"
    );
    let stop = answer(&cluster, SUB, &["utils service stop cisco trust verification service"]);
    assert_eq!(stop.action.unwrap(), Services::stop(SUB, Some(ServiceKind::Tvs)));
    let list = screen(SUB, "utils service list");
    assert!(list.contains("\nCisco CallManager[STOPPED]  Service Not Activated\n"), "{list}");
    assert!(list.contains("\nCisco Tftp[STARTED]\n"), "{list}");
    assert!(list.ends_with("\nPrimary Node =false\n"), "{list}");
    for name in ["Cisco Tomcat", "Cisco DRF Local", "Cisco DRF Master"] {
        let stages = ["[STOPPING]", "[STOPPED]", "[STARTING]", "[STARTED]"];
        let stages: String = stages.map(|stage| format!("{name}{stage}\n")).concat();
        let text = screen(PUB, &format!("utils service restart {name}"));
        assert!(text.ends_with(&format!("\nService Manager is running\n{stages}")), "{text}");
        assert!(list.contains(&format!("\n{name}[ST")), "{list}");
    }
    assert!(answer(&cluster, SUB, &["utils service restart Cisco DRF Master"]).is_refused);
    assert!(answer(&cluster, SUB, &["utils service start Cisco CallManager"]).is_refused);
    assert!(answer(&cluster, SUB, &["utils service start sshd"]).is_refused);
}

#[test]
fn a_service_that_was_stopped_is_listed_so() {
    let mut cluster = cluster(R10);
    let stop = answer(&cluster, PUB, &["utils service stop Cisco Tftp"]).action.unwrap();
    cluster.apply(&*stop, Time::ZERO).unwrap();
    act(&mut cluster, &["utils service stop Cisco Tomcat"]);
    let list = screen(&cluster, PUB, &["utils service list"]);
    for service in ["Cisco Tftp", "Cisco Tomcat"] {
        let line = format!("\n{service}[STOPPED]  Commanded Out of Service\n");
        assert!(list.contains(&line), "{list}");
    }
    act(&mut cluster, &["utils service start Cisco Tomcat"]);
    let list = screen(&cluster, PUB, &["utils service list"]);
    assert!(list.contains("\nCisco Tomcat[STARTED]\n"), "{list}");
    let reset = screen(&cluster, PUB, &["utils itl reset localkey", "secret"]);
    assert!(reset.contains("TFTP servers in the cluster : 1\n"), "{reset}");
}

#[test]
fn own_certificates_are_listed_and_printed() {
    let cluster = cluster(R10);
    let list = screen(&cluster, PUB, &["show cert list own"]);
    for unit in ["CallManager", "CAPF", "TVS", "ITLRecovery"] {
        let line = format!("\n{unit}/{unit}.pem: Self-signed certificate generated by system\n");
        assert!(list.contains(&line), "{list}");
    }
    let own = cluster.stores().own(PUB, CertificateKind::Tvs).unwrap().certificate();
    let text = screen(&cluster, PUB, &["show cert own TVS"]);
    assert!(text.contains("\n  SignatureAlgorithm: SHA256withRSA (1.2.840.113549.1.1.11)\n"));
    let serial = resetstorm::listing::upper_hex(own.serial(), "");
    assert!(text.contains(&format!("\n  Serial Number: {serial}\n")), "{text}");
    assert!(text.contains("\n  Validity From: Wed Jul 27 14:16:24 UTC 2011\n"), "{text}");
    assert_eq!(text, screen(&cluster, PUB, &["show cert own TVS"]));
    assert!(answer(&cluster, PUB, &["show cert own nobody"]).is_refused);
}

#[test]
fn the_days_left_of_every_certificate_of_the_node_are_listed_the_first_to_end_first() {
    use resetstorm::base::Span;
    use resetstorm::cluster::operator::calendar::Advance;
    let mut cluster = cluster(R10);
    let days = |cluster: &Cluster| -> Vec<String> {
        let text = screen(cluster, SUB, &["show cert days"]);
        text.lines().skip(1).map(str::to_owned).collect()
    };
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let new = days(&cluster);
    assert_eq!(words(&new[0]), ["certificate", "valid", "to", "days", "left"]);
    let is_page = |name: &str| {
        let own = screen(&cluster, SUB, &["show cert list own"]);
        let trusted = screen(&cluster, SUB, &["show cert list trust"]);
        [own, trusted].iter().any(|list| list.contains(&format!("\n{name}: ")))
    };
    assert!(new[1..].iter().all(|line| is_page(&words(line)[0])), "{new:#?}");
    let own = new.iter().find(|line| line.starts_with("CallManager/CallManager.pem ")).unwrap();
    assert!(own.ends_with("  Mon Jul 25 14:16:24 UTC 2016  1825"), "{own}");
    let by = Span::from_secs(1_825 * 86_400 + 1);
    cluster.apply(&Advance { by }, Time::ZERO).unwrap();
    let old = days(&cluster);
    assert_eq!(old.len(), new.len());
    let left: Vec<i64> = old[1..].iter().map(|line| words(line)[7].parse().unwrap()).collect();
    assert!(left.is_sorted() && left.last() > Some(&0), "those of the manufacturer: {left:?}");
    let own = old.iter().find(|line| line.starts_with("CallManager/CallManager.pem ")).unwrap();
    assert!(own.ends_with("  -1 (expired)"), "{own}");
}

#[test]
fn a_regeneration_that_resets_the_phones_says_so_before() {
    let warns = |settings: &str, unit: &str| {
        let asked = answer(&cluster(settings), PUB, &[&format!("set cert regen {unit}")]);
        assert!(asked.action.is_none());
        asked.text.contains(&format!("The regeneration of {unit} resets all phones"))
    };
    for unit in ["CAPF", "CallManager", "TVS"] {
        assert!(warns("release='11.5'\nauto-reset='5s'", unit), "{unit}: CAPF-08");
        assert!(!warns("release='11.5'", unit), "{unit}: nobody asked for it");
        let silent = "release='11.5'\nauto-reset='5s'\n[[cluster.fault]]\nid='CSCue55353'";
        assert!(!warns(silent, unit), "{unit}: DEF-04");
    }
    assert!(!warns("release='11.5'\nauto-reset='5s'", "tomcat"));
}

#[test]
fn operations_that_the_pages_of_cucm_refuse_are_refused() {
    let cluster = cluster(R10);
    let (sub, cases) = (
        answer(&cluster, SUB, &["set capf operation install"]),
        [
            ("", "Unknown operation"),
            ("upgrade", "Unknown operation upgrade: install, delete, fetch"),
            ("install completes-in=59m", "must be at least one hour in the future"),
            ("install completes-in=soon", "`soon` is not a length of time"),
            ("install mode=string", "4 to 10 digits"),
            ("install mode=string string=12a4", "4 to 10 digits"),
            ("install string=1234", "4 to 10 digits"),
            ("install mode=none", "Unknown authentication mode"),
            ("install model=7841", "no phone of model 7841"),
            ("install device=SEPFF", "no device SEPFF"),
            ("install group=nobody", "Invalid group: nobody"),
            ("install share=0%", "Invalid share: 0%"),
            ("install batch=0", "Invalid number: 0"),
            ("install every=1m", "every without a batch"),
            ("install batch=5 spread=1m", "batch and every, or spread"),
            ("install everything", "Incorrect parameters entered"),
            ("install colour=red", "Unknown field colour"),
        ],
    );
    assert!(sub.is_refused && sub.text.contains("publisher only"), "{}", sub.text);
    for (rest, why) in cases {
        let said = answer(&cluster, PUB, &[&format!("set capf operation {rest}")]);
        assert!(said.is_refused && said.action.is_none(), "{rest}: {}", said.text);
        assert!(said.text.contains(why), "{rest}: {}", said.text);
    }
    let good = answer(&cluster, PUB, &["set capf operation install batch=2 every=1m"]);
    assert!(
        good.text.starts_with("Update of 6 phones: install LSCs on all phones"),
        "{}",
        good.text
    );
    assert!(good.action.is_some());
    let report = answer(&cluster, PUB, &["show capf report colour=red"]);
    assert!(report.is_refused && report.text.contains("Unknown field colour"), "{}", report.text);
    assert!(answer(&cluster, SUB, &["show capf phones"]).is_refused);
}

#[test]
fn lines_in_a_scenario_do_what_the_native_verbs_do() {
    let at = |action: &str| format!("[[event]]\nat='10s'\n{action}\n");
    let then = |action: &str| format!("[[event]]\nafter='previous'\n{action}\n");
    let typed =
        at("console=['set cert regen CallManager','yes','utils service restart Cisco Tftp',\
         'utils ctl set-cluster mixed-mode','y','utils ctl update CTLFile','y']")
            + &then("console={node='sub',lines=['set cert regen TVS','yes']}")
            + &then("reset-phones={}");
    let native = at("regenerate={certificate='CallManager',node='pub'}")
        + &then("restart={service='tftp',node='pub'}")
        + &then("set-parameter={name='security-mode',value='mixed'}")
        + &then("update-ctl={}")
        + &then("regenerate={certificate='TVS',node='sub'}")
        + &then("reset-phones={}");
    let (typed, native) = (play(&typed), play(&native));
    assert_eq!(typed.digest, native.digest);
    assert!(native.facts.consoles.is_empty());
    let [(first, primary), (second, secondary)] = typed.facts.consoles.as_slice() else {
        panic!("two consoles: {:?}", typed.facts.consoles);
    };
    assert_eq!([first, second], ["pub", "sub"]);
    assert!(primary.starts_with("admin:set cert regen CallManager\nWARNING: "), "{primary}");
    assert!(primary.contains("\nCluster set to Mixed Mode\n"), "{primary}");
    assert!(
        secondary.ends_with(
            "\nYou must restart services related to TVS for the regenerated \
                              certificates to become active.\n"
        ),
        "{secondary}"
    );
}

fn play(events: &str) -> SimRun {
    let plan = plan_with(R10, events).unwrap();
    World::new(&plan, SimOptions::default()).run()
}

#[test]
fn a_look_in_a_scenario_sees_the_cluster_as_it_is_then() {
    let run = play(
        "[[event]]\nat='1s'\nconsole=['utils service stop Cisco Tftp','utils service list',\
         'utils service start Cisco Tftp','utils service list']\n",
    );
    let text = &run.facts.consoles[0].1;
    let states: Vec<&str> = text.lines().filter(|line| line.starts_with("Cisco Tftp[")).collect();
    assert_eq!(
        states,
        [
            "Cisco Tftp[STOPPING]",
            "Cisco Tftp[STOPPED]  Commanded Out of Service",
            "Cisco Tftp[STOPPED]  Commanded Out of Service",
            "Cisco Tftp[STARTING]",
            "Cisco Tftp[STARTED]",
            "Cisco Tftp[STARTED]"
        ]
    );
}

#[test]
fn a_wrong_line_is_an_error_of_the_scenario_at_its_place() {
    let error = |console: &str| {
        plan_with(R10, &format!("[[event]]\nat='1s'\nconsole={console}\n")).unwrap_err()
    };
    let cases = [
        ("['show itl',\n 'shoe itl']", ":19:2", "refuses `shoe itl`: No valid command entered"),
        ("['set cert regen LSC','yes']", ":18:10", "Invalid unit name: LSC"),
        ("['set cert regen CAPF']", ":18:10", "asks `Proceed with regeneration (yes|no)?`"),
        ("['utils ctl update CTLFile','y']", ":18:10", "Cluster is not in Mixed mode"),
        ("{lines=['utils itl reset localkey','x'],node='sub'}", ":18:17", "publisher only"),
        ("['exit','show itl']", ":18:17", "the session is over"),
        ("[]", ":16:1", "nothing is typed"),
        ("{lines=['show itl'],node='nobody'}", ":18:", "unknown node"),
    ];
    for (console, place, what) in cases {
        let error = error(console);
        assert!(error.contains(place) && error.contains(what), "{console}: {error}");
    }
}

#[test]
fn a_typed_plan_is_written_as_it_was_typed() {
    let events = "[[event]]\nname='night'\nat='1s'\n\
                  console=['set cert regen CAPF','yes','show itl']\n\
                  [[event]]\nafter='previous'\nconsole={lines=['show ctl'],node='sub'}\n";
    let plan = plan_with(R10, events).unwrap();
    let names: Vec<&str> = plan.timeline.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["night-regenerate-1", "night-console-1", "console-2"]);
    let written = to_toml(&plan);
    assert_eq!(load(Path::new("written.toml"), &written, &[], &[]).unwrap(), plan);
}

proptest! {
    #[test]
    fn whatever_is_typed_nothing_changes_without_a_command_that_was_confirmed(
        lines in prop::collection::vec(line(), 0..12)
    ) {
        let cluster = SMALL.with(Clone::clone);
        let mut session = Session::new(SUB);
        for line in lines {
            let was_asked = !session.is_ready();
            let answer = session.line(&line, &View::of(&cluster, Time::ZERO));
            let confirms = ["yes", "y"].iter().any(|yes| line.trim().eq_ignore_ascii_case(yes));
            let words = line.trim_start().to_ascii_lowercase();
            let begins = ["utils", "set csr gen", "set cert delete", "set capf operation"].iter().any(|begun| words.starts_with(begun));
            prop_assert!(answer.action.is_none() || confirms && was_asked || begins, "{line:?}");
            prop_assert!(!(answer.is_refused && answer.action.is_some()));
            let steers = |c: char| c.is_control() && !['\n', '\t'].contains(&c);
            prop_assert!(!answer.text.contains(steers), "{line:?}: {:?}", answer.text);
        }
    }
}

thread_local! {
    static SMALL: std::rc::Rc<Cluster> = std::rc::Rc::new(cluster(R10));
}

/// Random text, and words of commands in any order.
fn line() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "show",
        "itl",
        "ctl",
        "cert",
        "list",
        "own",
        "trust",
        "set",
        "regen",
        "CAPF",
        "TVS",
        "utils",
        "service",
        "restart",
        "stop",
        "Cisco",
        "Tftp",
        "yes",
        "no",
        "y",
        "exit",
        "?",
        "help",
        "reset",
        "localkey",
        "CallManager",
        "CAPF/CAPF.pem",
        "delete",
        "CAP-RTP-001.pem",
        "file",
        "search",
        "activelog",
        "syslog/CiscoSyslog",
        "csr",
        "gen",
        "import",
        "-----BEGIN CERTIFICATE-----",
        "-----END CERTIFICATE-----",
        "run",
        "sql",
        "\u{1b}[2J",
        "\u{202e}",
    ]);
    prop_oneof![
        any::<String>(),
        prop::collection::vec(word, 0..6).prop_map(|words| words.join(" ")),
        Just("set cert regen TVS".to_owned()),
        Just("yes".to_owned()),
    ]
}

#[test]
fn the_run_directory_has_the_transcript_of_each_console() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan_with(R10, "[[event]]\nat='1s'\nconsole=['show itl']\n").unwrap();
    let file = folder.path().join("plan.toml");
    fs::write(&file, to_toml(&plan)).unwrap();
    let out = folder.path().join("runs");
    let mut command = assert_cmd::Command::cargo_bin("resetstorm").unwrap();
    command.args(["sim", "--quiet", "--out"]).arg(&out).arg(&file).assert().success();
    let log = fs::read_to_string(out.join("latest/console-pub.log")).unwrap();
    assert!(log.starts_with("admin:show itl\nThe checksum value of the ITL file:\n"), "{log}");
    let mut command = assert_cmd::Command::cargo_bin("resetstorm").unwrap();
    let checked = command.arg("check").arg(&file).assert().success();
    let text = String::from_utf8_lossy(&checked.get_output().stdout).into_owned();
    assert!(text.contains("console-1 · at 1.000s: `show itl` on pub changes nothing"), "{text}");
}

#[test]
fn what_a_ca_makes_of_the_last_request_becomes_the_nodes_own() {
    let mut cluster = cluster(R10);
    let kind = CertificateKind::CallManager;
    assert!(answer(&cluster, PUB, &["show csr own CallManager"]).is_refused, "none yet");
    act(&mut cluster, &["set csr gen CallManager"]);
    let first = request(&cluster);
    act(&mut cluster, &["set csr gen CallManager"]);
    let second = request(&cluster);
    assert_ne!(first, second);
    let paste = |signed: &str| -> Vec<String> {
        let head = "set cert import own CallManager".to_owned();
        std::iter::once(head).chain(signed.lines().map(str::to_owned)).collect()
    };
    let lines = paste(&sign(&first));
    let refused = answer(&cluster, PUB, &lines.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(refused.is_refused && refused.text.contains("does not match the CSR"), "{refused:?}");
    let lines = paste(&sign(&second));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let screen = screen(&cluster, PUB, &lines);
    let asked = "admin:set cert import own CallManager\nPaste the Certificate and Hit Enter\n";
    assert!(screen.starts_with(asked), "{screen}");
    assert!(screen.contains("\nImport of CallManager certificate is successful\n"), "{screen}");
    act(&mut cluster, &lines);
    let own = cluster.stores().own(PUB, kind).unwrap().certificate();
    assert!(own.issuer().starts_with("CN=Lab-CA"), "{}", own.issuer());
    assert!(answer(&cluster, PUB, &lines).is_refused, "a request is signed once");
    act(&mut cluster, &["set cert regen CallManager", "yes"]);
    let own = cluster.stores().own(PUB, kind).unwrap().certificate();
    assert!(own.was_issued_by(own), "CERT-31");
}

/// A request and the import that answers it as steps of a scenario: the CA signs the key of the
/// request, and the phones take what it signs as any other regeneration.
#[test]
fn a_request_in_a_scenario_is_what_the_next_import_answers() {
    let what = "certificate='CallManager', node='pub'";
    let step = |verb: &str| format!("[[event]]\nwhen='fleet-settled'\n{verb}\n");
    let night = [
        step(&format!("csr={{{what}}}")),
        step(&format!("import={{{what}, issuer='Lab-CA'}}")),
        step("restart={service='tftp', node='pub'}"),
        step("reset-phones={spread='1s'}"),
    ]
    .concat();
    let plan = plan_with(R10, &night).unwrap();
    let text = to_toml(&plan);
    assert!(text.contains("csr = { certificate = \"CallManager\", node = \"pub\" }"), "{text}");
    assert_eq!(load(Path::new("again.toml"), &text, &[], &known_paths()).unwrap(), plan);
    let mut cluster = cluster(R10);
    let own = |cluster: &Cluster| {
        let own = cluster.stores().own(PUB, CertificateKind::CallManager).unwrap();
        own.certificate().clone()
    };
    let before = own(&cluster);
    cluster.apply(&*plan.timeline[0].action, Time::ZERO).unwrap();
    assert_eq!(own(&cluster), before, "what is in force stays");
    let requested = cluster.requests().next().unwrap().2.public_key().to_vec();
    cluster.apply(&*plan.timeline[1].action, Time::ZERO).unwrap();
    let signed = own(&cluster);
    assert_eq!((signed.public_key(), cluster.requests().count()), (&requested[..], 0));
    assert!(signed.issuer().contains("CN=Lab-CA"), "{}", signed.issuer());
    let run = World::new(&plan, SimOptions::default()).run();
    let summary = run.summary(&plan);
    assert_eq!((summary.phones.ready, summary.tvs.lookups > 0), (6, true));
    for (verb, why) in [
        ("csr={certificate='ITLRecovery', node='pub'}", "ITLRecovery is never signed by a CA"),
        ("csr={certificate='CAPF', node='nobody'}", "nobody"),
    ] {
        let refused = plan_with(R10, &step(verb)).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn only_a_certificate_is_taken_for_one() {
    let cluster = cluster(R10);
    for lines in [
        &["set cert import own TVS", "yes"][..],
        &["set cert import own TVS", ""],
        &[
            "set cert import own TVS",
            "-----BEGIN CERTIFICATE-----",
            "AAAA",
            "-----END CERTIFICATE-----",
        ],
        &["set cert import own TVS", "-----BEGIN CERTIFICATE-----", ""],
        &["set cert import own ITLRecovery"],
    ] {
        let answer = answer(&cluster, PUB, lines);
        assert!(answer.is_refused && answer.action.is_none(), "{lines:?}: {answer:?}");
    }
    let mut session = Session::new(PUB);
    session.line("set cert import own TVS", &View::of(&cluster, Time::ZERO));
    session.line("-----BEGIN CERTIFICATE-----", &View::of(&cluster, Time::ZERO));
    let long = "A".repeat(4_000);
    let lines = (0..100).map(|_| session.line(&long, &View::of(&cluster, Time::ZERO)));
    let ended = lines.filter(|answer| answer.text.contains("too large")).count();
    assert!(ended == 1 && session.is_ready(), "a paste has its bound");
}

fn act(cluster: &mut Cluster, lines: &[&str]) {
    let action = answer(cluster, PUB, lines).action.unwrap();
    cluster.apply(&*action, Time::ZERO).unwrap();
}

fn request(cluster: &Cluster) -> String {
    answer(cluster, PUB, &["show csr own CallManager"]).text
}

/// What a CA makes of a request, as PEM.
fn sign(request: &str) -> String {
    use x509_cert::builder::{Builder, CertificateBuilder, profile::cabf::Root};
    use x509_cert::der::{DecodePem, EncodePem, pem::LineEnding};
    let request = x509_cert::request::CertReq::from_pem(request).unwrap();
    let ca = KeySource::bank(3).signing_key(2048);
    let key = <rsa::RsaPrivateKey as rsa::pkcs8::DecodePrivateKey>::from_pkcs8_der(ca.pkcs8());
    let signer = rsa::pkcs1v15::SigningKey::<sha2::Sha256>::new(key.unwrap());
    let profile = Root::new(false, "CN=Lab-CA,O=Lab,C=US".parse().unwrap()).unwrap();
    let serial = x509_cert::serial_number::SerialNumber::new(&[7]).unwrap();
    let until = std::time::UNIX_EPOCH + std::time::Duration::from_secs(2_000_000_000);
    let dates = x509_cert::time::Validity::new(
        std::time::UNIX_EPOCH.try_into().unwrap(),
        until.try_into().unwrap(),
    );
    let builder = CertificateBuilder::new(profile, serial, dates, request.info.public_key).unwrap();
    let made = builder.build::<_, rsa::pkcs1v15::Signature>(&signer).unwrap();
    made.to_pem(LineEnding::LF).unwrap()
}

/// A new certificate is active when the services that the documents name for it were restarted.
#[test]
fn tomcat_and_ipsec_are_regenerated_and_their_services_restarted() {
    let mut cluster = cluster(R10);
    for (unit, services) in
        [("tomcat", &["Cisco Tomcat"][..]), ("ipsec", &["Cisco DRF Local", "Cisco DRF Master"])]
    {
        let text = screen(&cluster, PUB, &[&format!("set cert regen {unit}"), "yes"]);
        assert!(text.contains(&format!("\nfor {unit}\nProceed with regeneration")), "{text}");
        act(&mut cluster, &[&format!("set cert regen {unit}"), "yes"]);
        let due = cluster.restarts_due().filter(|(node, _)| *node == PUB).count();
        assert_eq!(due, services.len(), "{unit}");
        for service in services {
            act(&mut cluster, &[&format!("utils service restart {service}")]);
        }
        assert!(cluster.restarts_due().all(|(node, _)| node != PUB), "{unit}");
    }
}

/// The files of a trust store that the console lists.
fn listed(cluster: &Cluster, node: NodeId, store: &str) -> Vec<String> {
    let text = screen(cluster, node, &["show cert list trust"]);
    let file = |line: &str| {
        let name = line.strip_suffix(": Trust Certificate")?;
        name.strip_prefix(store)?.strip_prefix('/').map(str::to_owned)
    };
    text.lines().filter_map(file).collect()
}

#[test]
fn earlier_certificates_of_capf_stay_until_they_are_deleted() {
    let mut cluster = cluster(R10);
    let is_capf = |file: &String| file.starts_with("CAPF-");
    let of_capf = |cluster: &Cluster, node, store| -> Vec<String> {
        listed(cluster, node, store).into_iter().filter(is_capf).collect()
    };
    let first = of_capf(&cluster, PUB, "CAPF-trust");
    act(&mut cluster, &["set cert regen CAPF", "yes"]);
    act(&mut cluster, &["set cert regen CAPF", "yes"]);
    let mut all = of_capf(&cluster, SUB, "CAPF-trust");
    assert_eq!(all.len(), first.len() + 2, "{all:?}");
    assert_eq!(of_capf(&cluster, SUB, "CallManager-trust"), all);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), first.len() + 2, "subjects of their own");
    let old = &first[0];
    let line = format!("set cert delete CAPF {old}");
    assert_eq!(
        screen(&cluster, PUB, &[&line]),
        format!("admin:{line}\nSuccessfully deleted {old} from CAPF-trust\n")
    );
    act(&mut cluster, &[&line]);
    assert!(!listed(&cluster, SUB, "CAPF-trust").contains(old), "it replicates");
    assert!(listed(&cluster, SUB, "CallManager-trust").contains(old), "of this store only");
    let again = answer(&cluster, PUB, &[&line]);
    assert!(again.is_refused && again.action.is_none());
    let said = format!("Certificate {old} not found in CAPF-trust\n");
    assert!(again.text.ends_with(&said), "{}", again.text);
}

#[test]
fn service_certificates_are_never_deleted_and_those_of_the_manufacturer_with_a_warning() {
    let mut cluster = cluster(R10);
    for line in ["CAPF CAPF.pem", "tomcat tomcat.pem", "TVS tvs", "CallManager-trust CAPF.PEM"] {
        let answer = answer(&cluster, PUB, &[&format!("set cert delete {line}")]);
        assert!(answer.text.contains("is a service certificate"), "{line}: {}", answer.text);
        assert!(answer.is_refused && answer.action.is_none(), "{line}");
    }
    let unknown = answer(&cluster, PUB, &["set cert delete LSC old.pem"]);
    assert!(unknown.text.contains("Invalid unit name: LSC. Units: CallManager, CAPF, tomcat"));
    let line = "set cert delete CAPF Cisco_Manufacturing_CA.pem";
    assert!(listed(&cluster, PUB, "CAPF-trust").contains(&"Cisco_Manufacturing_CA.pem".into()));
    let text = screen(&cluster, PUB, &[line]);
    let warning = "\nWARNING: Cisco_Manufacturing_CA.pem is a certificate of the manufacturer: ";
    assert!(text.contains(warning), "{text}");
    act(&mut cluster, &[line]);
    assert!(!listed(&cluster, SUB, "CAPF-trust").contains(&"Cisco_Manufacturing_CA.pem".into()));
}

/// The certificate of another server, as PEM.
fn of_a_server() -> String {
    use resetstorm::crypto::{CertificateSpec, Identity};
    let spec = CertificateSpec { common_name: "ccx", not_before_s: 1_300_000_000, key_bits: 2048 };
    Identity::self_signed(&spec, &mut KeySource::bank(9)).certificate.to_pem()
}

#[test]
fn the_certificate_of_another_server_is_pasted_into_a_trust_store() {
    let mut cluster = cluster(R10);
    let pem = of_a_server();
    let lines: Vec<&str> =
        std::iter::once("set cert import trust tomcat").chain(pem.lines()).collect();
    let text = screen(&cluster, SUB, &lines);
    let asked =
        "admin:set cert import trust tomcat\nPaste the Certificate and Hit Enter\n-----BEGIN";
    assert!(text.starts_with(asked), "{text}");
    assert!(text.ends_with("-----\nImport of trust certificate is successful\n"), "{text}");
    act(&mut cluster, &lines);
    for node in [PUB, SUB] {
        assert!(listed(&cluster, node, "tomcat-trust").contains(&"ccx.pem".to_owned()));
    }
    for name in ["tomcat-trust/ccx.pem", "ccx.pem", "CCX.pem"] {
        let text = screen(&cluster, PUB, &[&format!("show cert trust {name}")]);
        let dates = "\n  Validity From: Sun Mar 13 07:06:40 UTC 2011\n           \
                     To:   Fri Mar 11 07:06:40 UTC 2016\n  Subject Name: CN=ccx";
        assert!(text.contains(dates), "{text}");
    }
    act(&mut cluster, &["set cert delete tomcat ccx.pem"]);
    assert!(answer(&cluster, SUB, &["show cert trust ccx.pem"]).is_refused);
}

#[test]
fn trust_is_changed_in_a_scenario_as_on_a_terminal() {
    let at = |action: &str| format!("[[event]]\nat='10s'\n{action}\n");
    let reset = "[[event]]\nafter='previous'\nreset-phones={}\n";
    let file = "Cisco_Root_CA_M2.pem";
    let typed = play(&(at(&format!("console=['set cert delete CallManager {file}']")) + reset));
    let native =
        format!("delete-certificate={{node='pub',unit='CallManager-trust',name='{file}'}}");
    let native = play(&(at(&native) + reset));
    assert_eq!(typed.digest, native.digest);
    let text = &typed.facts.consoles[0].1;
    assert!(text.ends_with(&format!("\nSuccessfully deleted {file} from CallManager-trust\n")));

    let pem = of_a_server();
    let lines: Vec<String> = pem.lines().map(|line| format!("'{line}'")).collect();
    let import = at(&format!(
        "console=['set cert import trust tomcat',{},'show cert trust ccx.pem',\
         'set cert delete tomcat ccx.pem','set cert delete tomcat ccx.pem','show cert trust ccx.pem']",
        lines.join(",")
    ));
    let plan = plan_with(R10, &import).unwrap();
    assert_eq!(load(Path::new("written.toml"), &to_toml(&plan), &[], &[]).unwrap(), plan);
    let run = play(&import);
    let text = &run.facts.consoles[0].1;
    assert_eq!(text.matches("Subject Name: CN=ccx").count(), 1, "{text}");
    assert_eq!(text.matches("Successfully deleted ccx.pem from tomcat-trust").count(), 1, "{text}");
    // What the plan could not foresee is refused when it is typed, and told.
    let notes: Vec<&String> =
        run.facts.known.notes.iter().filter(|note| note.contains("has refused")).collect();
    assert_eq!(
        notes,
        [
            "the console of pub has refused `set cert delete tomcat ccx.pem`: Certificate ccx.pem \
             not found in tomcat-trust",
            "the console of pub has refused `show cert trust ccx.pem`: Certificate ccx.pem not found"
        ]
    );
}

#[test]
fn the_log_of_a_node_has_the_messages_of_its_certificate_monitor() {
    use resetstorm::base::Span;
    use resetstorm::cluster::operator::calendar::Advance;
    let mut cluster = cluster(R10);
    let look = |cluster: &Cluster, line: &str| {
        let text = screen(cluster, SUB, &[line]);
        text.split_once('\n').unwrap().1.to_owned()
    };
    let (view, list) = ("file view activelog syslog/CiscoSyslog", "file list activelog");
    assert_eq!(look(&cluster, view), "", "nothing ends yet");
    assert_eq!(look(&cluster, list), "<dir>   syslog\ndir count = 1, file count = 0\n");
    for path in ["syslog", "/syslog/*", "syslog/Cisco*"] {
        let listed = look(&cluster, &format!("{list} {path}"));
        assert_eq!(listed, "CiscoSyslog\ndir count = 0, file count = 1\n", "{path}");
    }
    let years = Advance { by: Span::from_secs(5 * 365 * 86_400) };
    cluster.apply(&years, Time::ZERO).unwrap();
    let log = look(&cluster, view);
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines.len() > 10, "{log}");
    let first = "Jul 19 00:00:06 sub local7 2 : 1: sub.localdomain: Jul 19 2016 00:00:06.433 UTC : \
                 %UC_CERT-2-CertValidfor7days: %[Message=Certificate expiration Notification. \
                 Certificate name:";
    assert!(lines[0].starts_with(first), "{}", lines[0]);
    assert!(lines.iter().all(|line| line.contains("[NodeID=sub]")), "of this node only");
    let tail = look(&cluster, "file tail activelog syslog/CiscoSyslog 3");
    assert_eq!(tail.lines().collect::<Vec<_>>(), lines[lines.len() - 3..]);
    let found = look(&cluster, "file search activelog syslog/CiscoSyslog \"name:TVS.*own-cert\"");
    let of_tvs = lines.iter().filter(|line| line.contains("Certificate name:TVS.der")).count();
    assert!(of_tvs > 0 && found.lines().count() == of_tvs + 3, "{found}");
    assert!(found.starts_with("Searching path: /var/log/active/syslog/CiscoSyslog\n"), "{found}");
    for line in [
        "file view activelog syslog/messages",
        "file list activelog cm/trace",
        "file tail activelog ../../etc/passwd",
        "file search activelog",
    ] {
        let said = answer(&cluster, SUB, &[line]);
        let none = "unsuccessfully\nno such file or directory can be found\n";
        assert!(said.is_refused && said.text.ends_with(none), "{line}: {}", said.text);
    }
    for line in
        ["file tail activelog syslog/CiscoSyslog x", "file view activelog syslog/CiscoSyslog 1"]
    {
        assert!(answer(&cluster, SUB, &[line]).text.ends_with("\nIncorrect parameters entered\n"));
    }
}

#[test]
fn an_lsc_that_capf_has_fetched_is_a_file_of_its_trace() {
    use resetstorm::base::{DeviceName, PhoneId};
    use resetstorm::cluster::{IssuedLsc, LscJob, LscOperation};
    use resetstorm::wire::AuthMode;
    let cluster = cluster(R10);
    let look = |line: &str| {
        let text = screen(&cluster, PUB, &[line]);
        text.split_once('\n').unwrap().1.to_owned()
    };
    let list = "file list activelog cm/trace/capf/sdi";
    assert_eq!(look(list), "dir count = 0, file count = 0\n");
    // What the phone shows in the dialogue of "Troubleshoot"; an LSC that it was given is no file.
    let (_, _, own) = cluster.stores().identities().next().unwrap();
    let lsc = IssuedLsc::new(own.certificate());
    let begin = |operation| {
        let mode = AuthMode::NullString;
        let job = LscJob {
            operation,
            mode,
            key: resetstorm::crypto::KeySpec::Rsa(2_048),
            password: None,
            completes_by_s: 1_400_000_000,
        };
        let phone = std::iter::once(PhoneId(0));
        cluster.devices().schedule(phone, &std::sync::Arc::new(job), |_| mode, Time::ZERO);
    };
    begin(LscOperation::Install);
    cluster.devices().stored(PhoneId(0), lsc.clone(), Time::ZERO);
    assert_eq!(look(list), "dir count = 0, file count = 0\n");
    begin(LscOperation::Fetch);
    cluster.devices().fetched(PhoneId(0), lsc, Time::ZERO);
    let file = format!("{}-L1.cer", DeviceName::of_phone(PhoneId(0)));
    for path in ["", "/*", "/SEP*", &format!("/{file}")] {
        let listed = look(&format!("{list}{path}"));
        assert_eq!(listed, format!("{file}\ndir count = 0, file count = 1\n"), "{path}");
    }
    let pem = look(&format!("file view activelog cm/trace/capf/sdi/{file}"));
    assert_eq!(pem, own.certificate().to_pem());
    assert_eq!(look("file list activelog cm"), "<dir>   trace\ndir count = 1, file count = 0\n");
    let missing = "file view activelog cm/trace/capf/sdi/SEP000000000000-L1.cer";
    assert!(answer(&cluster, PUB, &[missing]).is_refused);
    assert!(answer(&cluster, SUB, &[list]).is_refused, "CAPF runs on the publisher");
}

/// What an administrator clicks has a command or a verb, and both are taken as the guide has them.
#[test]
fn the_pages_of_the_documents_are_commands_and_verbs() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/guide/console.md");
    let readme = fs::read_to_string(readme).unwrap();
    let table =
        readme.split("| in the documents | at the console | in a scenario |").nth(1).unwrap();
    let table = table.split("\n\n").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| ") && !line.contains("---"));
    let quoted = |cell: &str| -> Vec<String> {
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let (mut commands, mut verbs) = (0, 0);
    for row in rows {
        let [_, _, console, scenario, _] = row.split('|').collect::<Vec<_>>()[..] else {
            panic!("{row}");
        };
        for line in quoted(console) {
            assert!(parse(&line).is_ok_and(|read| read.is_some()), "{line}");
            commands += 1;
        }
        let events = quoted(scenario);
        for verb in events.iter().filter(|text| text.contains(" = {") || text.contains("= [\"")) {
            plan_with(MIXED, &format!("[[event]]\nat='1s'\n{verb}\n")).unwrap();
            verbs += 1;
        }
    }
    assert!(commands >= 14 && verbs >= 12, "{commands} commands, {verbs} verbs");
}

#[test]
fn check_says_which_models_know_security_by_default() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan_with(R10, "[[event]]\nat='1s'\nreset-phones={}\n").unwrap();
    let file = folder.path().join("plan.toml");
    fs::write(&file, to_toml(&plan)).unwrap();
    let mut command = assert_cmd::Command::cargo_bin("resetstorm").unwrap();
    command.args(["check", "--set", "fleet.models={'7940'=0.5,'8841'=0.5}"]).arg(&file);
    let text = String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap();
    let profile = |model: &str| {
        let is_it = |line: &&str| line.contains(&format!(" of model {model}: "));
        text.lines().find(is_it).unwrap_or_else(|| panic!("{text}"))
    };
    assert!(profile("7940").contains("no trust lists"), "{text}");
    assert!(!profile("8841").contains("no trust lists"), "{text}");
}

#[test]
fn a_backup_from_the_console_of_the_publisher_can_be_restored() {
    let mut cluster = cluster(R10);
    let status =
        |cluster: &Cluster| screen(cluster, PUB, &["utils disaster_recovery status backup"]);
    assert!(status(&cluster).contains("No backup has been made"));
    let before = cluster.tftp(PUB).unwrap().signer().certificate.clone();
    let back_up = "utils disaster_recovery backup network CUCM /backups sftp.example.com ops";
    assert!(screen(&cluster, PUB, &[back_up]).contains("Backup initiated successfully"));
    act(&mut cluster, &[back_up]);
    assert!(status(&cluster).contains("Backup 1 completed"));
    cluster.apply(&Rebuild { node: PUB }, Time::ZERO).unwrap();
    assert_ne!(cluster.tftp(PUB).unwrap().signer().certificate, before);
    cluster.apply(&Restore { node: PUB, from: None }, Time::ZERO).unwrap();
    assert_eq!(cluster.tftp(PUB).unwrap().signer().certificate, before, "of the backup");
    assert!(answer(&cluster, SUB, &[back_up]).is_refused, "DRF Master is on the publisher");
    assert!(answer(&cluster, PUB, &["utils disaster_recovery"]).is_refused);
}
