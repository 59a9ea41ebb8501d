//! Known defects of a cluster (`[[cluster.fault]]`): what each turns on, and that its absence turns
//! it off.

use std::path::Path;

use resetstorm::base::{ClusterId, ExitCode, Span, Time};
use resetstorm::cluster::operator::certificates::DeleteCertificate;
use resetstorm::cluster::{Cluster, Defect, Genesis, Stored, TRUST_STORES, TrustStore, Unit};
use resetstorm::crypto::KeySource;
use resetstorm::forecast::{Budget, warnings};
use resetstorm::listing::{ListName, ShowOptions, show};
use resetstorm::measure::{Summary, known_paths};
use resetstorm::report::text;
use resetstorm::scenario::{Plan, load};
use resetstorm::sim::{SimOptions, World};
use resetstorm::wire::{ROLE_CAPF, Records, SignedFile};

/// Phones of each world.
const PHONES: u64 = 20;

fn try_plan(release: &str, faults: &[&str], events: &str) -> Result<Plan, String> {
    let tables: Vec<String> =
        faults.iter().map(|id| format!("[[cluster.fault]]\nid = \"{id}\"\n")).collect();
    let faults = tables.concat();
    let text = format!(
        "schema = 1\nname = \"faults\"\nseed = 1\n[cluster]\nrelease = \"{release}\"\n{faults}\
         [[cluster.node]]\nname = \"pub\"\n[[cluster.node]]\nname = \"sub\"\n\
         address = \"127.0.0.2\"\nservices = [\"callmanager\", \"tftp\", \"tvs\"]\n\
         [fleet]\nphones = {PHONES}\n{events}\n"
    );
    load(Path::new("faults.toml"), &text, &[], &known_paths()).map_err(|error| error.to_string())
}

fn plan(release: &str, faults: &[&str], events: &str) -> Plan {
    try_plan(release, faults, events).unwrap_or_else(|error| panic!("{error}"))
}

fn cluster(plan: &Plan) -> Cluster {
    Cluster::new(Genesis {
        topology: plan.topology.clone(),
        fleet: plan.fleet_spec(),
        source: KeySource::bank(1),
        epoch_s: 1_700_000_000,
        stored: Stored::default(),
    })
}

fn play(plan: &Plan) -> Summary {
    World::new(plan, SimOptions::default()).run().summary(plan)
}

const REGENERATE_TVS: &str =
    "[[event]]\nat = \"1s\"\nregenerate = { certificate = \"TVS\", node = \"sub\" }";

#[test]
fn a_silent_reset_boots_every_phone_and_no_step_says_so() {
    let sound = plan("11.5", &[], REGENERATE_TVS);
    let summary = play(&sound);
    assert_eq!(summary.phones.not_reset, PHONES);
    let faulty = plan("11.5", &["CSCue55353"], REGENERATE_TVS);
    let summary = play(&faulty);
    assert_eq!((summary.phones.ready, summary.phones.not_reset), (PHONES, 0));
    let told = |word: &str| summary.notes.iter().any(|note| note.contains(word));
    assert!(told("regeneration of TVS on sub resets all phones") && told("CSCue55353"));
    // The plan's own words are those of the command, which warns of nothing.
    let budget = Budget::of(&faulty);
    assert_eq!(budget.timeline, Budget::of(&sound).timeline);
    assert_eq!((budget.waves.len(), Budget::of(&sound).waves.len()), (1, 0));
    // ITLRecovery is none of the three.
    let other = REGENERATE_TVS.replace("TVS", "ITLRecovery").replace("sub", "pub");
    assert_eq!(play(&plan("11.5", &["CSCue55353"], &other)).phones.not_reset, PHONES);
}

#[test]
fn a_deletion_from_three_stores_restarts_every_phone_and_no_step_says_so() {
    let delete = |unit: &str| {
        format!(
            "[[event]]\nat = \"1s\"\n\
             delete-certificate = {{ node = \"pub\", unit = \"{unit}\", name = \"CAP-RTP-001\" }}"
        )
    };
    let capf = delete("CAPF-trust");
    assert_eq!(play(&plan("10.5", &[], &capf)).phones.not_reset, PHONES);
    let faulty = plan("10.5", &["CSCut58407"], &capf);
    let summary = play(&faulty);
    assert_eq!((summary.phones.ready, summary.phones.not_reset), (PHONES, 0));
    let told = "the deletion from CAPF-trust on pub restarts all phones";
    assert!(summary.notes.iter().any(|note| note.contains(told)), "{:?}", summary.notes);
    assert!(!Budget::of(&faulty).timeline[0].contains("restart"), "nobody is told");
    // The documents name three stores.
    let restarts = TRUST_STORES.map(|store| faulty.topology.restart_by_deletion(store).is_some());
    assert_eq!(restarts, [true, true, false, false, true, false, false, false, false]);
}

#[test]
fn a_deleted_certificate_comes_back_when_the_stores_have_replicated() {
    let counts = |faults: &[&str]| {
        let mut plan = plan("10.5", faults, "");
        plan.topology.replication_delay = Span::from_secs(10);
        let mut cluster = cluster(&plan);
        let (node, store) = (ClusterId::FIRST.node(0), TrustStore::Capf);
        let delete = DeleteCertificate { node, store, name: "CAP-RTP-001".into() };
        let at = |seconds| Time::ZERO + Span::from_secs(seconds);
        cluster.apply(&delete, at(100)).unwrap();
        let on = |node, seconds| {
            let page = cluster.stores().inventory(node, at(seconds)).into_iter();
            let there = page.filter(|item| item.unit == Unit::Trust(store));
            there.filter(|item| item.file_name() == "CAP-RTP-001.pem").count()
        };
        let sub = ClusterId::FIRST.node(1);
        [99, 101, 109, 110].map(|seconds| (on(node, seconds), on(sub, seconds)))
    };
    assert_eq!(counts(&[]), [(1, 1), (0, 1), (0, 1), (0, 0)]);
    assert_eq!(counts(&["CSCto86463"]), [(1, 1), (0, 1), (0, 1), (1, 1)]);
}

#[test]
fn an_itl_without_capf_names_none_although_capf_is_active() {
    let capf = |faults: &[&str]| {
        let plan = plan("11.5", faults, "");
        let cluster = cluster(&plan);
        let list = cluster.tftp(ClusterId::FIRST.node(0)).unwrap().signed_list();
        let file = SignedFile::parse(&list).unwrap();
        let roles = Records::new(file.body, 0).map(|record| record.unwrap().role);
        roles.filter(|role| *role == Some(ROLE_CAPF)).count()
    };
    assert_eq!((capf(&[]), capf(&["CSCuj78330"])), (1, 0));
}

#[test]
fn listings_have_checksums_unless_the_release_or_a_defect_is_without_them() {
    let first_line = |release, faults: &[&str]| {
        let plan = plan(release, faults, "");
        let checksum = plan.topology.lists_have_checksums();
        let cluster = cluster(&plan);
        let list = cluster.tftp(ClusterId::FIRST.node(0)).unwrap().signed_list();
        let options = ShowOptions { list: ListName::Itl, modified: "now", checksum };
        let text = show(Some(&list), &options).text;
        text.lines().next().unwrap().split(':').next().unwrap().to_owned()
    };
    assert_eq!(first_line("9.1", &[]), "The checksum value of the ITL file");
    assert_eq!(first_line("9.1", &["CSCto60209"]), "Length of ITL file");
    assert_eq!(first_line("8.6", &[]), "Length of ITL file");
}

#[test]
fn a_local_key_is_taken_while_no_itl_is_broken() {
    // Nothing is broken here, so that the defect of the command does not show.
    let reset = "[[event]]\nat = \"1s\"\nreset-itl-localkey = {}\n\
                 [[event]]\nafter = \"previous\"\nreset-phones = { spread = \"1s\" }";
    let summary = play(&plan("11.5", &["CSCus33755"], reset));
    assert_eq!((summary.phones.ready, summary.cluster.failed_actions), (PHONES, 0));
}

#[test]
fn faults_stand_in_check_text_and_json_with_their_consequences() {
    let both = ["CSCuj78330", "CSCto60209"];
    let plan = plan("8.6", &both, "[[event]]\nat = \"1s\"\nreset-phones = {}");
    let summary = play(&plan);
    let told = text(&summary, ExitCode::Ok);
    let of = |id: &str| {
        let line = told.lines().position(|line| line.contains(id));
        told.lines().nth(line.unwrap_or_else(|| panic!("{id} in {told}"))).unwrap().to_owned()
    };
    assert_eq!(
        of("CSCuj78330"),
        "faults        CSCuj78330: ITLs have no CAPF record although CAPF is active: no"
    );
    assert!(of("CSCto60209").starts_with("              CSCto60209: show itl"), "{told}");
    let json = summary.to_json();
    assert_eq!(json["faults"][0]["id"], "CSCuj78330");
    assert_eq!(json["faults"][1]["consequence"], Defect::NoChecksums.rules().consequence);
    assert!(Budget::of(&plan).text(None).contains("faults        CSCuj78330: ITLs have no CAPF"));
}

#[test]
fn a_release_that_is_not_known_to_have_a_defect_is_warned_about() {
    let told = |release: &str| {
        let all = warnings(&plan(release, &["CSCto60209"], ""));
        all.into_iter().filter(|text| text.contains("CSCto60209")).collect::<Vec<_>>()
    };
    assert!(told("8.6").is_empty());
    let [warning] = &told("12.5")[..] else { panic!("one warning") };
    assert!(warning.starts_with("CSCto60209 is not known of release 12.5, but of 8.0, 8.6"));
    assert!(warning.contains("is a guess)\nhelp: "), "{warning}");
}

#[test]
fn unknown_ids_and_those_that_turn_nothing_on_are_errors_that_say_why() {
    let fault = |ids: &[&str]| try_plan("8.6", ids, "").unwrap_err();
    assert!(fault(&["CSCue5535"]).contains("did you mean `CSCue55353`?"));
    let why = fault(&["CSCto47052"]);
    assert!(why.contains("`CSCto47052` turns nothing on: it asks for a remote deletion"), "{why}");
    assert!(fault(&["CSCto87262"]).contains("which is not played"));
    assert!(fault(&["CSCue55353", "CSCue55353"]).contains("fault `CSCue55353` comes twice"));
}
