//! Disaster recovery: DRS backup, restore, a node that is installed anew, and what `CSCtn50405` makes
//! of it (`spec/domain.md` section 9.5).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use resetstorm::base::{ClusterId, NodeId, Time};
use resetstorm::cluster::operator::certificates::Regenerate;
use resetstorm::cluster::operator::recovery::{BackUp, Rebuild, Restore};
use resetstorm::cluster::operator::services::Services;
use resetstorm::cluster::{
    Backup, CertificateKind, Cluster, Effect, Genesis, OperatorAction, Stored,
};
use resetstorm::crypto::{KeySource, verify_file};
use resetstorm::forecast::warnings;
use resetstorm::listing::{ListName, ShowOptions, show};
use resetstorm::measure::{Summary, known_paths};
use resetstorm::scenario::{Plan, load};
use resetstorm::sim::{SimOptions, World};
use resetstorm::vault::{load_backups, load_cluster, save_backup, save_cluster};
use resetstorm::wire::SignedFile;

/// Phones of each world.
const PHONES: u64 = 20;

const PUB: NodeId = ClusterId::FIRST.node(0);

/// A cluster of one node, or of two that serve files and TVS.
fn plan(release: &str, faults: &[&str], nodes: usize, events: &str) -> Plan {
    let tables: Vec<String> =
        faults.iter().map(|id| format!("[[cluster.fault]]\nid = \"{id}\"\n")).collect();
    let sub = "[[cluster.node]]\nname = \"sub\"\naddress = \"127.0.0.2\"\n\
               services = [\"callmanager\", \"tftp\", \"tvs\"]\n";
    let text = format!(
        "schema = 1\nname = \"recovery\"\nseed = 1\n[cluster]\nrelease = \"{release}\"\n{}\
         [[cluster.node]]\nname = \"pub\"\n{}[fleet]\nphones = {PHONES}\ntftp = \"pub\"\n{events}",
        tables.concat(),
        if nodes > 1 { sub } else { "" },
    );
    load(Path::new("recovery.toml"), &text, &[], &known_paths()).unwrap()
}

/// Steps that follow each other; a reset waits for the phones.
fn steps(actions: &[&str]) -> String {
    let step = |action: &&str| format!("[[event]]\nwhen = \"fleet-settled\"\n{action}\n");
    actions.iter().map(step).collect::<Vec<_>>().concat()
}

fn play(plan: &Plan) -> Summary {
    World::new(plan, SimOptions::default()).run().summary(plan)
}

fn cluster(plan: &Plan, seed: u64, backups: Vec<Backup>) -> Cluster {
    Cluster::new(Genesis {
        topology: plan.topology.clone(),
        fleet: plan.fleet_spec(),
        source: KeySource::bank(seed),
        epoch_s: 1_700_000_000,
        stored: Stored { backups, ..Stored::default() },
    })
}

fn act(cluster: &mut Cluster, action: impl Into<OperatorAction>) -> Vec<Effect> {
    cluster.apply(&*action.into(), Time::ZERO).unwrap()
}

fn backup_of(cluster: &mut Cluster) -> Backup {
    let [Effect::BackedUp(backup)] = &act(cluster, BackUp)[..] else { panic!("one backup") };
    Backup::clone(backup)
}

/// What a cluster of this release serves after a restore without certificates.
fn restored_without_certificates(release: &str) -> Cluster {
    let mut cluster = cluster(&plan(release, &["CSCtn50405"], 1, ""), 1, Vec::new());
    act(&mut cluster, BackUp);
    act(&mut cluster, Rebuild { node: PUB });
    act(&mut cluster, Restore { node: PUB, from: None });
    cluster
}

fn listing(cluster: &Cluster) -> String {
    let list = cluster.tftp(PUB).unwrap().signed_list();
    let options = ShowOptions { list: ListName::Itl, modified: "now", checksum: false };
    show(Some(&list), &options).text
}

const BACKUP: &str = "backup = {}";
const REBUILD: &str = "rebuild = { node = \"pub\" }";
const RESTORE: &str = "restore = { node = \"pub\" }";
const RESET: &str = "reset-phones = { spread = \"1s\" }";
const REGENERATE: &str = "regenerate = { certificate = \"CallManager\", node = \"pub\" }";
const RESTART: &str = "restart = { node = \"pub\" }";

#[test]
fn a_rebuilt_server_strands_its_phones_and_the_restore_saves_them() {
    let of = |actions: &[&str]| play(&plan("8.6", &[], 1, &steps(actions)));
    let rebuilt = of(&[BACKUP, REBUILD, RESET]);
    assert_eq!((rebuilt.phones.stuck, rebuilt.trust.configs.refused), (PHONES, PHONES));
    let restored = of(&[BACKUP, REBUILD, RESET, RESTORE, RESET]);
    assert_eq!((restored.phones.ready, restored.phones.stuck), (PHONES, 0));
    assert_eq!((restored.tvs.lookups, restored.trust.lists.accepted_by_itl), (0, PHONES));
    // A restore in time, and nobody notices anything.
    let in_time = of(&[BACKUP, REBUILD, RESTORE, RESET]);
    assert_eq!((in_time.phones.ready, in_time.phones.list_alarms), (PHONES, 0));
}

#[test]
fn a_rebuilt_server_is_another_cluster_unless_a_tvs_of_the_old_one_answers() {
    let sub = "rebuild = { node = \"sub\" }";
    let of = |actions: &[&str]| play(&plan("8.6", &[], 2, &steps(actions)));
    let one = of(&[BACKUP, REBUILD, RESET]);
    assert_eq!((one.phones.ready, one.tvs.lookups), (PHONES, PHONES), "sub vouches (BKP-04)");
    let both = of(&[BACKUP, REBUILD, sub, RESET]);
    assert_eq!((both.phones.stuck, both.tvs.lookups), (PHONES, 0), "{:?}", both.phones);
    // What the lists of both nodes hold is known again when the backup has both.
    let back = "restore = { node = \"sub\", from = 1 }";
    let restored = of(&[BACKUP, REBUILD, sub, RESET, RESTORE, back, RESTART, RESET]);
    assert_eq!((restored.phones.ready, restored.tvs.lookups), (PHONES, 0));
}

/// With `CSCts01319` the list that the phones trust comes back with its keys (BKP-07, DEF-12); a node
/// that is installed anew has none, and neither has another version.
#[test]
fn tac_restores_the_itl_that_a_fixed_version_keeps() {
    let tac = "restore-trusted-itl = { node = \"pub\" }";
    let tvs = "regenerate = { certificate = \"TVS\", node = \"pub\" }";
    let of = |faults: &[&str], actions: &[&str]| play(&plan("8.6", faults, 1, &steps(actions)));
    let fixed = &["CSCts01319"];
    let stuck = of(fixed, &[REGENERATE, tvs, RESTART, RESET]);
    assert_eq!(stuck.phones.stuck, PHONES);
    let offered: Vec<&str> =
        stuck.stranded[0].remedies.iter().map(|remedy| remedy.what.as_str()).collect();
    assert!(offered[0].starts_with("erase ITL at"), "{offered:?}");
    assert!(offered[1].starts_with("ask the users of"), "{offered:?}");
    assert_eq!(offered[2], "let TAC restore the ITL that pub keeps: these phones trust it");
    let saved = of(fixed, &[REGENERATE, tvs, RESTART, RESET, tac, RESET]);
    assert_eq!((saved.phones.ready, saved.trust.lists.accepted_by_itl), (PHONES, PHONES));
    // The other order of restarts: what is kept is the list before the other CallManager.pem.
    let twice = of(fixed, &[REGENERATE, RESTART, tvs, RESTART, RESET, tac, RESET]);
    assert_eq!((twice.phones.ready, twice.cluster.failed_actions), (PHONES, 0));
    for (faults, actions, why) in [
        (&[][..], &[REGENERATE, tvs, RESTART, RESET, tac, RESET][..], "only versions with CSCts"),
        (fixed, &[tac, RESET], "keeps no earlier ITL"),
        (fixed, &[REGENERATE, RESTART, REBUILD, RESET, tac, RESET], "keeps no earlier ITL"),
    ] {
        let summary = of(faults, actions);
        assert_eq!(summary.cluster.failed_actions, 1, "{actions:?}");
        assert!(summary.notes.iter().any(|note| note.contains(why)), "{:?}", summary.notes);
    }
}

/// What can be done for stuck phones is told from the least to the last resort (SAFE-16).
#[test]
fn a_restore_is_the_last_remedy() {
    let tvs = "regenerate = { certificate = \"TVS\", node = \"pub\" }";
    let summary = play(&plan("11.5", &[], 1, &steps(&[BACKUP, REGENERATE, tvs, RESTART, RESET])));
    assert_eq!(summary.phones.stuck, PHONES);
    let ways: Vec<&str> =
        summary.stranded[0].remedies.iter().map(|remedy| remedy.what.as_str()).collect();
    let begins = [
        "sign the ITL with ITLRecovery",
        "erase ITL",
        "ask the users of",
        "restore pub from backup 1, as the last",
    ];
    assert_eq!(ways.len(), begins.len(), "{ways:?}");
    assert!(ways.iter().zip(begins).all(|(way, begin)| way.starts_with(begin)), "{ways:?}");
    // Each of those that can be rehearsed helps.
    for remedy in &summary.stranded[0].remedies {
        let night = steps(&[BACKUP, REGENERATE, tvs, RESTART, RESET]) + &remedy.steps;
        let phones = play(&plan("11.5", &[], 1, &night)).phones;
        // Users cannot help where settings are locked.
        let locked = if remedy.mail.is_empty() { 0 } else { phones.stuck };
        assert_eq!(phones.ready, PHONES - locked, "{}", remedy.what);
        assert!(locked < PHONES / 2, "{}", remedy.what);
    }
}

/// A restore of one node helps nobody where the keys of several are gone: the advice names them all.
#[test]
fn a_restore_that_is_advised_names_every_node_that_it_takes() {
    const TFTP: [&str; 2] = ["tftp-a", "tftp-b"];
    let regenerate = |kind: &str, node: &str| {
        format!("regenerate = {{ certificate = \"{kind}\", node = \"{node}\" }}")
    };
    for (release, changed, first) in
        [("12.5", &[("ITLRecovery", "pub")][..], "pub, "), ("9.1", &[], "")]
    {
        let mut actions = vec![BACKUP.to_owned()];
        actions.extend(changed.iter().map(|(kind, node)| regenerate(kind, node)));
        actions.extend(TFTP.map(|node| regenerate("CallManager", node)));
        actions.push(regenerate("TVS", "pub"));
        actions.extend(
            ["pub", TFTP[0], TFTP[1]].map(|node| format!("restart = {{ node = \"{node}\" }}")),
        );
        actions.push(RESET.to_owned());
        let night = steps(&actions.iter().map(String::as_str).collect::<Vec<_>>());
        let of = |more: &str| {
            let text = format!(
                "schema = 1\nname = \"t\"\n[cluster]\nrelease = \"{release}\"\n\
                 [[cluster.node]]\nname = \"pub\"\nservices = [\"callmanager\", \"tvs\"]\n\
                 [[cluster.node]]\nname = \"tftp-a\"\naddress = \"127.0.0.2\"\n\
                 services = [\"tftp\"]\n\
                 [[cluster.node]]\nname = \"tftp-b\"\naddress = \"127.0.0.3\"\n\
                 services = [\"tftp\"]\n[fleet]\n\
                 phones = {PHONES}\n\
                 tftp = [[\"tftp-a\", \"tftp-b\"], [\"tftp-b\", \"tftp-a\"]]\n{night}{more}"
            );
            play(&load(Path::new("t.toml"), &text, &[], &known_paths()).unwrap())
        };
        let lost = of("");
        assert_eq!(lost.phones.stuck, PHONES, "{release}");
        let mut all = String::new();
        for (reason, tftp) in lost.stranded.iter().zip(TFTP) {
            let restores = reason.remedies.iter().filter(|way| way.what.starts_with("restore "));
            let [restore] = restores.collect::<Vec<_>>()[..] else { panic!("{release}: one") };
            let what = format!("restore {first}{tftp} from backup 1");
            assert!(restore.what.starts_with(&what), "{release}: {}", restore.what);
            assert_eq!(of(&restore.steps).phones.ready, reason.phones, "{release}: {what}");
            all += &restore.steps;
        }
        assert_eq!(of(&all).phones.ready, PHONES, "{release}: {all}");
    }
}

#[test]
fn a_rebuilt_publisher_has_a_new_itl_recovery_as_well() {
    let local_key = "reset-itl-localkey = {}";
    let of = |actions: &[&str]| play(&plan("11.5", &[], 1, &steps(actions)));
    assert_eq!(of(&[BACKUP, REBUILD, local_key, RESET]).phones.stuck, PHONES);
    assert_eq!(of(&[BACKUP, REBUILD, RESTORE, local_key, RESET]).phones.ready, PHONES);
}

#[test]
fn a_restore_without_certificates_signs_with_a_key_that_is_not_of_the_named_certificate() {
    let mut cluster = restored_without_certificates("8.6");
    let list = cluster.tftp(PUB).unwrap().signed_list();
    let file = SignedFile::parse(&list).unwrap();
    let [mismatch] = &cluster.mismatches()[..] else { panic!("one node") };
    assert_eq!(file.header.serial, mismatch.recorded.serial());
    assert_ne!(mismatch.recorded, mismatch.file);
    let signed_by = |key: &[u8]| verify_file(&file, key, &mut Vec::new()).is_ok();
    assert!(!signed_by(mismatch.recorded.public_key()), "that is what broken means");
    assert!(signed_by(mismatch.file.public_key()), "it is the key of the file");
    let own = cluster.stores().own(PUB, CertificateKind::CallManager).unwrap();
    assert_eq!(*own.certificate(), mismatch.file, "the OS page has the file");
    // A new CallManager.pem mends it.
    act(&mut cluster, Regenerate { certificate: CertificateKind::CallManager, node: PUB });
    act(&mut cluster, Services::restart(PUB, None));
    assert!(cluster.mismatches().is_empty());
    assert!(cluster.tftp(PUB).unwrap().list_fits_its_signer());
}

#[test]
fn a_broken_itl_is_listed_with_the_texts_of_the_documents() {
    let mut cluster = restored_without_certificates("8.6");
    let broken = listing(&cluster);
    assert!(broken.ends_with("\nVerification of the ITL file failed.\n"), "{broken}");
    assert_eq!(broken.matches("This etoken was used to sign the ITL file.").count(), 1);
    act(&mut cluster, Regenerate { certificate: CertificateKind::CallManager, node: PUB });
    act(&mut cluster, Services::restart(PUB, None));
    assert!(listing(&cluster).ends_with("\nThe ITL file was verified successfully.\n"));
}

#[test]
fn phones_refuse_a_broken_list_and_are_stuck_when_it_is_mended() {
    let of = |nodes, actions: &[&str]| play(&plan("8.6", &["CSCtn50405"], nodes, &steps(actions)));
    let broken = of(1, &[BACKUP, REBUILD, RESTORE, RESET]);
    assert_eq!(broken.phones.failures.get("wrong signature"), Some(&PHONES));
    assert_eq!((broken.trust.lists.refused, broken.trust.configs.refused), (PHONES, PHONES));
    let note = |summary: &Summary| {
        summary.notes.iter().any(|note| note.contains("Authentication and Authorization\" of pub"))
    };
    assert!(note(&broken), "{:?}", broken.notes);
    let mended = of(1, &[BACKUP, REBUILD, RESTORE, REGENERATE, RESTART, RESET]);
    assert_eq!(mended.phones.stuck, PHONES, "no other healthy TFTP: erase the lists (BKP-05)");
    assert!(!note(&mended));
    let erase = "erase-lists = { technicians = 20, per-phone = \"1s\" }";
    let erased = of(1, &[BACKUP, REBUILD, RESTORE, REGENERATE, RESTART, RESET, erase]);
    assert_eq!((erased.phones.ready, erased.trust.lists.accepted_first), (PHONES, PHONES));
    // A TVS of another node vouches for the new certificate.
    let helped = of(2, &[BACKUP, REBUILD, RESTORE, REGENERATE, RESTART, RESET]);
    assert_eq!((helped.phones.ready, helped.tvs.lookups), (PHONES, PHONES));
}

#[test]
fn with_cscus33755_a_broken_itl_can_neither_be_shown_nor_signed_with_the_local_key() {
    let actions = [BACKUP, REBUILD, RESTORE, "reset-itl-localkey = {}", RESET];
    let of = |faults: &[&str], actions: &[&str]| play(&plan("11.5", faults, 1, &steps(actions)));
    let stuck = of(&["CSCtn50405", "CSCus33755"], &actions);
    assert_eq!(stuck.cluster.failed_actions, 1);
    let told = "step 4, reset-itl-localkey-1: utils itl reset localkey fails: the ITL of pub";
    assert!(stuck.notes.iter().any(|note| note.starts_with(told)), "{:?}", stuck.notes);
    assert_eq!(stuck.phones.ready, 0, "the night went on");
    assert_eq!(of(&["CSCtn50405"], &actions).cluster.failed_actions, 0);
    let mended = [BACKUP, REBUILD, RESTORE, REGENERATE, RESTART, "reset-itl-localkey = {}"];
    let mended = of(&["CSCtn50405", "CSCus33755"], &mended);
    assert_eq!(mended.cluster.failed_actions, 0);
    let shown = |faults: &[&str]| {
        let mut cluster = cluster(&plan("11.5", faults, 1, ""), 1, Vec::new());
        act(&mut cluster, BackUp);
        act(&mut cluster, Rebuild { node: PUB });
        act(&mut cluster, Restore { node: PUB, from: None });
        !cluster.itl_is_stuck(PUB)
    };
    assert!(shown(&["CSCtn50405"]) && shown(&["CSCus33755"]));
    assert!(!shown(&["CSCtn50405", "CSCus33755"]));
}

/// What the console of pub says to `show itl` at the end of these steps.
fn show_itl(release: &str, faults: &[&str], actions: &[&str]) -> String {
    let actions = [actions, &["console = [\"show itl\"]"]].concat();
    let run = World::new(&plan(release, faults, 1, &steps(&actions)), SimOptions::default()).run();
    let [(node, text)] = &run.facts.consoles[..] else { panic!("one console") };
    assert_eq!(node, "pub");
    text.clone()
}

#[test]
fn the_console_lists_a_broken_itl_in_the_words_of_the_documents_or_with_a_defect_not_at_all() {
    let broken = [BACKUP, REBUILD, RESTORE, RESET];
    let text = show_itl("9.1", &["CSCtn50405"], &broken);
    assert!(text.starts_with("admin:show itl\nThe checksum value of the ITL file:\n"), "{text}");
    assert!(text.contains("\nVerification of the ITL file failed.\n"), "{text}");
    let text = show_itl("9.1", &["CSCtn50405", "CSCto60209"], &broken);
    assert!(text.starts_with("admin:show itl\nLength of ITL file: "), "{text}");
    let text = show_itl("9.1", &[], &broken);
    assert!(text.contains("\nThe ITL file was verified successfully.\n"), "{text}");
    let text = show_itl("11.5", &["CSCtn50405", "CSCus33755"], &broken);
    assert!(text.starts_with("admin:show itl\nError parsing the ITL file!!\n"), "{text}");
}

#[test]
fn drf_works_only_with_the_ipsec_certificates_of_its_nodes() {
    let ipsec = "regenerate = { certificate = \"ipsec\", node = \"sub\" }";
    let restart = ["pub", "sub"].map(|node| format!("restart = {{ node = \"{node}\" }}"));
    let of = |actions: &[&str]| play(&plan("8.6", &[], 2, &steps(actions)));
    let bad = of(&[ipsec, BACKUP, RESTORE, RESET]);
    assert_eq!((bad.cluster.failed_actions, bad.phones.ready), (2, PHONES));
    let told = |word: &str| bad.notes.iter().any(|note| note.contains(word));
    assert!(told("the backup fails: drf-local on") && told("the restore fails"), "{:?}", bad.notes);
    let good = of(&[ipsec, &restart[0], &restart[1], BACKUP, RESTORE, RESET]);
    assert_eq!((good.cluster.failed_actions, good.phones.ready), (0, PHONES));
    let expired = play(&plan("8.6", &[], 1, &steps(&["advance = \"2000d\"", BACKUP])));
    assert_eq!(expired.cluster.failed_actions, 1);
    let told = "the backup fails: the IPsec certificate of pub has expired";
    assert!(expired.notes.iter().any(|note| note.contains(told)), "{:?}", expired.notes);
}

#[test]
fn a_backup_that_is_not_there_fails_the_restore_and_the_plan_is_warned_about() {
    let third = "restore = { node = \"pub\", from = 3 }";
    let plan = plan("8.6", &[], 1, &steps(&[BACKUP, third, RESET]));
    let summary = play(&plan);
    assert_eq!((summary.cluster.failed_actions, summary.phones.ready), (1, PHONES));
    assert!(summary.notes.iter().any(|note| note.contains("there is no backup 3")));
    let told = warnings(&plan);
    assert!(told.iter().any(|text| text.contains("from backup 3, which no step before makes")));
}

#[test]
fn plans_that_back_up_too_late_or_never_are_warned_about() {
    let told = |actions: &[&str], word: &str| {
        let all = warnings(&plan("8.6", &[], 2, &steps(actions)));
        all.iter().filter(|text| text.contains(word)).count()
    };
    assert_eq!(told(&[REGENERATE, RESTART, RESET, BACKUP], "SAFE-15"), 1);
    assert_eq!(told(&[BACKUP, REGENERATE, RESTART, RESET, BACKUP], "SAFE-15"), 0);
    assert_eq!((told(&[REBUILD, RESET], "BKP-01"), told(&[BACKUP, REBUILD], "BKP-01")), (1, 0));
}

#[test]
fn a_backup_in_a_file_is_sealed_private_and_restores_another_run() {
    let plan = plan("11.5", &[], 2, "");
    let (dir, mut first) = (tempfile::tempdir().unwrap(), cluster(&plan, 1, Vec::new()));
    let backup = backup_of(&mut first);
    let path = save_backup(dir.path(), &backup).unwrap();
    assert_eq!(path.file_name().unwrap(), "backup-1.drs");
    for file in [path.as_path(), &dir.path().join("security-password")] {
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let bytes = fs::read(&path).unwrap();
    for hidden in [&b"PRIVATE KEY"[..], b"CallManager", b"\"pub\""] {
        assert!(!bytes.windows(hidden.len()).any(|window| window == hidden));
    }
    // Another run of the cluster, with keys of its own.
    let backups = load_backups(dir.path(), &plan.topology).unwrap();
    let mut second = cluster(&plan, 2, backups);
    let own = |cluster: &Cluster| {
        let all = cluster.stores().identities().filter(|&(node, ..)| node == PUB);
        all.map(|(_, _, own)| (own.certificate().clone(), own.key_pem())).collect::<Vec<_>>()
    };
    assert_ne!(own(&first), own(&second));
    act(&mut second, Restore { node: PUB, from: Some(1) });
    assert_eq!(own(&first), own(&second));
    assert_eq!(backup_of(&mut second).number, 2, "numbers go on");
}

#[test]
fn a_broken_node_stays_broken_from_run_to_run_until_it_is_mended() {
    let (dir, plan) = (tempfile::tempdir().unwrap(), plan("8.6", &["CSCtn50405"], 1, ""));
    let again = |cluster: &Cluster| {
        save_cluster(dir.path(), cluster).unwrap();
        let stored = load_cluster(dir.path(), &plan.topology).unwrap();
        Cluster::new(Genesis {
            topology: plan.topology.clone(),
            fleet: plan.fleet_spec(),
            source: KeySource::bank(9),
            epoch_s: 1_700_000_000,
            stored,
        })
    };
    let first = restored_without_certificates("8.6");
    let mut second = again(&first);
    assert_eq!(second.mismatches(), first.mismatches());
    assert!(!second.tftp(PUB).unwrap().list_fits_its_signer());
    act(&mut second, Regenerate { certificate: CertificateKind::CallManager, node: PUB });
    let third = again(&second);
    assert!(third.mismatches().is_empty() && third.tftp(PUB).unwrap().list_fits_its_signer());
}

#[test]
fn a_backup_opens_with_its_password_only_and_not_if_it_was_changed() {
    let plan = plan("8.6", &[], 1, "");
    let (dir, mut ours) = (tempfile::tempdir().unwrap(), cluster(&plan, 1, Vec::new()));
    let path = save_backup(dir.path(), &backup_of(&mut ours)).unwrap();
    let fault = || load_backups(dir.path(), &plan.topology).unwrap_err().to_string();
    let (whole, password) = (fs::read(&path).unwrap(), dir.path().join("security-password"));
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(&path, &changed).unwrap();
    assert!(fault().contains("the password is another one, or the file was changed"));
    fs::write(&path, &whole).unwrap();
    let right = fs::read(&password).unwrap();
    fs::write(&password, b"guess").unwrap();
    assert!(fault().contains("the password is another one, or the file was changed"));
    fs::remove_file(&password).unwrap();
    assert!(fault().contains("security-password is missing"), "{}", fault());
    fs::write(&password, right).unwrap();
    assert_eq!(load_backups(dir.path(), &plan.topology).unwrap().len(), 1);
}
