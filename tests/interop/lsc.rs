//! LSCs before a judge who knows nothing of this program.

use std::fs;
use std::path::Path;
use std::process::Command;

use resetstorm::cluster::CertificateKind;
use resetstorm::measure::known_paths;
use resetstorm::scenario::load;
use resetstorm::sim::{SimOptions, World};

/// The LSCs of a rollout with this kind of keys, and the certificate of CAPF, as files.
fn enrolled(key: &str, folder: &Path) -> Vec<String> {
    let text = format!(
        "schema=1\nname='t'\n[cluster]\nrelease='11.5'\n[[cluster.node]]\nname='pub'\n[fleet]\n\
         phones=6\nstart='itl-current'\n[[event]]\nwhen='fleet-settled'\n\
         roll-out-lsc={{key='{key}', completes-in='2h'}}"
    );
    let plan = load(Path::new("t.toml"), &text, &[], &known_paths()).unwrap();
    let run = World::new(&plan, SimOptions::default()).run();
    let is_capf = |kind| kind == CertificateKind::Capf;
    let capf = run.cluster.stores().identities().find(|(_, kind, _)| is_capf(*kind)).unwrap().2;
    fs::write(folder.join("capf.pem"), capf.certificate().to_pem()).unwrap();
    let write = |(at, phone): (usize, &resetstorm::phone::Phone)| {
        let name = format!("{key}-{at}.pem");
        fs::write(folder.join(&name), phone.lsc().unwrap().certificate.to_pem()).unwrap();
        name
    };
    run.phones.iter().enumerate().map(write).collect()
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
