//! PKCS#12 files as openssl, `GnuTLS` and NSS write them today, with every style that their
//! commands have. Files of Java's keytool are committed in `tests/stores`: a Java only for this is
//! too large to install.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::lab::{resetstorm, run, text, turn};

/// A key, its certificate and stores of both; the password is `lab`.
struct Zoo {
    folder: TempDir,
}

impl Zoo {
    fn new() -> Zoo {
        let zoo = Zoo { folder: tempfile::tempdir().unwrap() };
        let mut openssl = zoo.program("openssl");
        openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=zoo"]);
        run(openssl.args(["-days", "30", "-keyout", "key.pem", "-out", "cert.pem"]));
        zoo
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.current_dir(self.folder.path());
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn openssl(&self, options: &[&str]) -> PathBuf {
        let mut openssl = self.program("openssl");
        openssl.args(["pkcs12", "-export", "-inkey", "key.pem", "-in", "cert.pem"]);
        run(openssl.args(["-name", "zoo", "-passout", "pass:lab", "-out", "store"]).args(options));
        self.path("store")
    }

    fn gnutls(&self, options: &[&str]) -> PathBuf {
        let mut certtool = self.program("certtool");
        certtool.args(["--to-p12", "--load-privkey", "key.pem", "--load-certificate", "cert.pem"]);
        certtool.args(["--p12-name", "zoo", "--password", "lab", "--outder"]);
        run(certtool.args(["--outfile", "store"]).args(options));
        self.path("store")
    }

    fn ours(&self, words: &[&str], store: &Path) -> Output {
        let mut ours = resetstorm();
        ours.current_dir(self.folder.path()).args(words).arg(store);
        ours.args(["--password", "lab"]).output().unwrap()
    }

    /// `inspect` shows the certificate, `sign` signs with the key, and openssl agrees.
    fn opens(&self, what: &str, store: &Path) {
        let shown = self.ours(&["inspect", "--format", "json"], store);
        let error = String::from_utf8_lossy(&shown.stderr);
        assert_eq!(shown.status.code(), Some(0), "{what}: {error}");
        let value: Value = serde_json::from_slice(&shown.stdout).unwrap();
        let subject = &value["certificates"][0]["subject"];
        assert_eq!((&value["kind"], subject), (&"pkcs12".into(), &"CN=zoo".into()), "{what}");
        fs::write(self.path("text"), "<device/>").unwrap();
        let signed = self.ours(&["sign", "text", "-o", "signed", "--key"], store);
        let error = String::from_utf8_lossy(&signed.stderr);
        assert_eq!(signed.status.code(), Some(0), "{what}: {error}");
        let mut inspect = resetstorm();
        inspect.current_dir(self.folder.path()).args(["inspect", "--format", "json"]);
        let judged = text(inspect.args(["--certificate", "cert.pem", "signed"]));
        assert!(judged.contains("\"valid\""), "{what}: {judged}");
        fs::remove_file(store).unwrap();
        fs::remove_file(self.path("signed")).unwrap();
    }

    /// `sign` refuses the store and names the algorithm.
    fn is_refused(&self, store: &Path, algorithm: &str) {
        let refused = self.ours(&["sign", "text", "-o", "signed", "--key"], store);
        let error = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{algorithm}: {error}");
        let named = error.contains(algorithm) && error.contains("is not supported");
        assert!(named && !error.contains("password"), "{algorithm}: {error}");
        assert!(!self.path("signed").exists());
    }
}

/// Ciphers of PKCS#12's own, which openssl 3 keeps in its legacy provider.
const OLD_CIPHERS: [&str; 6] = [
    "PBE-SHA1-RC2-40",
    "PBE-SHA1-RC2-128",
    "PBE-SHA1-RC4-40",
    "PBE-SHA1-RC4-128",
    "PBE-SHA1-2DES",
    "PBE-SHA1-3DES",
];

#[test]
#[ignore = "needs openssl"]
fn key_stores_of_openssl_open_in_every_style() {
    let _turn = turn();
    let zoo = Zoo::new();
    for options in [
        &[][..],
        &["-legacy"],
        &["-keypbe", "NONE"],
        &["-certpbe", "NONE"],
        &["-keypbe", "NONE", "-certpbe", "NONE"],
        &["-keypbe", "aes-128-cbc", "-certpbe", "des-ede3-cbc"],
        &["-macalg", "sha1"],
        &["-macalg", "sha384"],
        &["-macalg", "sha512"],
        &["-nomac"],
        &["-nomaciter", "-noiter"],
    ] {
        zoo.opens(&format!("{options:?}"), &zoo.openssl(options));
    }
    for cipher in OLD_CIPHERS {
        let options = ["-legacy", "-keypbe", cipher, "-certpbe", cipher];
        zoo.opens(cipher, &zoo.openssl(&options));
    }
}

#[test]
#[ignore = "needs gnutls-bin"]
fn key_stores_of_gnutls_open_with_every_cipher() {
    let _turn = turn();
    let zoo = Zoo::new();
    zoo.opens("GnuTLS", &zoo.gnutls(&[]));
    for cipher in ["3des", "arcfour", "aes-128", "aes-192", "aes-256", "rc2-40"] {
        zoo.opens(cipher, &zoo.gnutls(&["--pkcs-cipher", cipher]));
    }
}

#[test]
#[ignore = "needs openssl and libnss3-tools"]
fn key_stores_that_nss_has_written_again_open() {
    let _turn = turn();
    let zoo = Zoo::new();
    zoo.openssl(&[]);
    fs::create_dir(zoo.path("db")).unwrap();
    run(zoo.program("certutil").args(["-N", "-d", "db", "--empty-password"]));
    run(zoo.program("pk12util").args(["-i", "store", "-d", "db", "-W", "lab", "-K", ""]));
    for options in [
        &[][..],
        &["-c", "AES-128-CBC", "-C", "AES-128-CBC"],
        &["-c", "PKCS #12 V2 PBE With SHA-1 And 3KEY Triple DES-CBC", "-C", "none"],
        &["-C", "PKCS #12 V2 PBE With SHA-1 And 40 Bit RC2 CBC"],
        &["-M", "SHA-1"],
        &["-M", "SHA-512"],
    ] {
        let mut export = zoo.program("pk12util");
        export.args(["-o", "store", "-n", "zoo", "-d", "db", "-W", "lab", "-K", ""]);
        run(export.args(options));
        zoo.opens(&format!("{options:?}"), &zoo.path("store"));
    }
}

#[test]
#[ignore = "needs openssl and gnutls-bin"]
fn what_does_not_open_is_refused_by_the_name_of_its_algorithm() {
    let _turn = turn();
    let zoo = Zoo::new();
    fs::write(zoo.path("text"), "<device/>").unwrap();
    for (options, algorithm) in [
        (&["-keypbe", "aria-128-cbc"][..], "ARIA-128-CBC (1.2.410.200046.1.1.2)"),
        (&["-keypbe", "camellia-256-cbc"], "Camellia-256-CBC (1.2.392.200011.61.1.1.1.4)"),
        (&["-macalg", "ripemd160"], "RIPEMD-160 (1.3.36.3.2.1)"),
    ] {
        zoo.is_refused(&zoo.openssl(options), algorithm);
    }
    let gost = zoo.gnutls(&["--pkcs-cipher", "gost28147-tc26z"]);
    zoo.is_refused(&gost, "GOST 28147-89 (1.2.643.2.2.21)");
}
