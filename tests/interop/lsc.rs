//! LSCs before a judge who knows nothing of this program.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use resetstorm::cluster::CertificateKind;
use resetstorm::crypto::Certificate;
use resetstorm::measure::known_paths;
use resetstorm::scenario::load;
use resetstorm::sim::{SimOptions, World};
use rusqlite::Connection;

use crate::lab::{ANY_PORTS, resetstorm, run, summary, turn};

/// The LSCs of a rollout with this kind of keys, and the certificate of CAPF, as files.
fn enrolled(key: &str, folder: &Path) -> Vec<String> {
    let text = format!(
        "schema=1\nname='t'\n[cluster]\nrelease='11.5'\n[[cluster.node]]\nname='pub'\n[fleet]\n\
         phones=6\nstart='itl-current'\n[[event]]\nwhen='fleet-settled'\n\
         roll-out-lsc={{key='{key}', completes-in='2h'}}"
    );
    let plan = load(Path::new("t.toml"), &text, &[], &known_paths()).unwrap();
    let played = World::new(&plan, SimOptions::default()).run();
    let is_capf = |kind| kind == CertificateKind::Capf;
    let capf = played.cluster.stores().identities().find(|(_, kind, _)| is_capf(*kind)).unwrap().2;
    fs::write(folder.join("capf.pem"), capf.certificate().to_pem()).unwrap();
    let write = |(at, phone): (usize, &resetstorm::phone::Phone)| {
        let name = format!("{key}-{at}.pem");
        fs::write(folder.join(&name), phone.lsc().unwrap().certificate.to_pem()).unwrap();
        name
    };
    played.phones.iter().enumerate().map(write).collect()
}

fn openssl(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.success(), said)
}

#[test]
#[ignore = "needs openssl"]
fn openssl_verifies_every_lsc_and_refuses_a_changed_one() {
    let folder = tempfile::tempdir().unwrap();
    for key in ["rsa-2048", "ec-256"] {
        for name in enrolled(key, folder.path()) {
            // Dates are those of virtual time.
            let verify = ["verify", "-no_check_time", "-CAfile", "capf.pem", &name];
            let (good, said) = openssl(folder.path(), &verify);
            assert!(good && said.contains(": OK"), "{said}");
            let (_, text) = openssl(folder.path(), &["x509", "-in", &name, "-noout", "-text"]);
            for part in ["CA:FALSE", "TLS Web Client Authentication", "sha256WithRSAEncryption"] {
                assert!(text.contains(part), "{part}: {text}");
            }
            let pem = fs::read_to_string(folder.path().join(&name)).unwrap();
            let at = pem.len() - 120;
            let other = if pem.as_bytes()[at] == b'A' { "B" } else { "A" };
            let changed = format!("{}{other}{}", &pem[..at], &pem[at + 1..]);
            fs::write(folder.path().join("changed.pem"), changed).unwrap();
            let changed = ["verify", "-no_check_time", "-CAfile", "capf.pem", "changed.pem"];
            assert!(!openssl(folder.path(), &changed).0, "a changed byte is found out");
        }
    }
}

/// Phones of a live rollout whose LSCs are all verified, unless `RESETSTORM_LSC_PHONES` says how many.
const ENROLLED: usize = 500;
/// Files that one call of openssl verifies.
const FILES: usize = 500;

/// Every LSC that a live rollout has left in the database, each in a file, and the certificate of
/// CAPF.
fn extract(database: &Path, folder: &Path) -> Vec<String> {
    let connection = Connection::open(database).unwrap();
    let pem = |der: &[u8]| Certificate::from_der(der).unwrap().to_pem();
    let own = "SELECT certificate FROM own WHERE node = 'pub' AND kind = 'CAPF'";
    let capf: Vec<u8> = connection.query_row(own, [], |row| row.get(0)).unwrap();
    fs::write(folder.join("capf.pem"), pem(&capf)).unwrap();
    let mut lscs = connection.prepare("SELECT phone, certificate FROM lsc").unwrap();
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let all = lscs.query_map([], read).unwrap().map(Result::unwrap);
    let write = |(phone, der): (u32, Vec<u8>)| {
        let name = format!("{phone}.pem");
        fs::write(folder.join(&name), pem(&der)).unwrap();
        (name, der)
    };
    let (names, ders): (Vec<String>, BTreeSet<Vec<u8>>) = all.map(write).unzip();
    assert_eq!(names.len(), ders.len(), "each phone has its own");
    names
}

#[test]
#[ignore = "needs openssl"]
fn openssl_verifies_all_lscs_of_a_live_rollout() {
    let _turn = turn();
    let asked = std::env::var("RESETSTORM_LSC_PHONES").ok().map(|text| text.parse().unwrap());
    let phones: usize = asked.unwrap_or(ENROLLED);
    for key in ["rsa-2048", "ec-256"] {
        let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let begun = Instant::now();
        run(resetstorm()
            .args(["run", "scenarios/lsc-rollout.toml", "--phones", &phones.to_string()])
            .args(["--set", ANY_PORTS, "--set", &format!("event.lsc-1.roll-out-lsc.key='{key}'")])
            .arg("--state")
            .arg(state.path())
            .arg("--out")
            .arg(folder.path()));
        let took = begun.elapsed();
        let summary = summary(folder.path());
        let numbers = ["capf.done", "lsc.installed", "capf.failed", "lsc.connection_failed"];
        let of = |path: &str| path.split('.').fold(&summary, |value, key| &value[key]).as_u64();
        let all = Some(phones as u64);
        assert_eq!(numbers.map(of), [all, all, Some(0), Some(0)], "{key}");

        let names = extract(&state.path().join("cluster.db"), folder.path());
        assert_eq!(names.len(), phones);
        for some in names.chunks(FILES) {
            // Dates are those of now: they are checked, too.
            let verify = ["verify", "-CAfile", "capf.pem"];
            let arguments: Vec<&str> =
                verify.into_iter().chain(some.iter().map(String::as_str)).collect();
            let (good, said) = openssl(folder.path(), &arguments);
            assert!(good, "{key}: {said}");
            assert_eq!(said.matches(": OK").count(), some.len(), "{key}: {said}");
        }
        println!("{key}: {phones} phones in {:.1} s, all verified", took.as_secs_f64());
    }
}
