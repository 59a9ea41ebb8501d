//! Files that we write verify in implementations that are not ours: Python (`cryptography`,
//! `asn1crypto`, a small TLV reader) and OpenSSL.
//!
//! Needs Python 3 with both packages, and openssl.

use std::path::{Path, PathBuf};
use std::process::Command;

use resetstorm::wire::SignedFile;
use tempfile::TempDir;

use crate::lab::turn;

#[test]
#[ignore = "needs python3 with cryptography and asn1crypto"]
fn python_reads_what_we_write() {
    let _turn = turn();
    let folder = TempDir::new().unwrap();
    let files = written_files(folder.path());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/read_formats.py");
    let output = Command::new(python())
        .arg(script)
        .args([key("device.pem"), key("tftp.pem")])
        .args(&files)
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{out}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(out.lines().filter(|line| line.starts_with("ok ")).count(), files.len(), "{out}");
}

/// A Python that has both packages: the one on the path, or the system's.
pub fn python() -> &'static str {
    let has = |python: &&str| {
        let check = Command::new(python).args(["-c", "import cryptography, asn1crypto"]).output();
        check.is_ok_and(|output| output.status.success())
    };
    let found = ["python3", "/usr/bin/python3"].into_iter().find(has);
    found.expect("python3 with cryptography and asn1crypto is installed")
}

#[test]
#[ignore = "needs openssl"]
fn openssl_verifies_the_signature_over_the_right_bytes() {
    let _turn = turn();
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    for file in written_files(folder.path()) {
        let bytes = std::fs::read(&file).unwrap();
        let signed = SignedFile::parse(&bytes).unwrap();
        let mut covered = Vec::new();
        signed.signed_bytes(&mut covered);
        std::fs::write(path("covered"), &covered).unwrap();
        std::fs::write(path("signature"), signed.header.signature).unwrap();
        // Lists have version 1.2.
        let is_list = signed.header.version == (1, 2);
        let holder = if is_list { "sast.pem" } else { "tftp.pem" };
        let public = run("openssl", &["x509", "-noout", "-pubkey", "-in", &text(&key(holder))]);
        std::fs::write(path("public.pem"), public).unwrap();
        let digest = if signed.header.digest == 1 { "-sha1" } else { "-sha512" };
        let (public, signature) = (text(&path("public.pem")), text(&path("signature")));
        let covered = text(&path("covered"));
        let args = ["dgst", digest, "-verify", &public, "-signature", &signature, &covered];
        let out = run("openssl", &args);
        assert_eq!(String::from_utf8_lossy(&out).trim(), "Verified OK", "{}", file.display());
    }
}

/// Lists, signed, stub and encrypted files, in both styles with both digests.
fn written_files(folder: &Path) -> Vec<PathBuf> {
    let config = vectors().join("encrypted/sha1-pad16/SEP001122334455.cnf.xml");
    let (sast, tftp, device) =
        (text(&key("sast.pem")), text(&key("tftp.pem")), text(&key("device.pem")));
    let config = text(&config);
    let mut files = Vec::new();
    for style in ["cucm", "compact"] {
        for digest in ["sha1", "sha512"] {
            let mut write = |name: &str, args: &[&str]| {
                let path = folder.join(format!("{style}-{digest}-{name}"));
                let common = ["--style", style, "--digest", digest, "-o", &text(&path)];
                run(env!("CARGO_BIN_EXE_resetstorm"), &[args, &common].concat());
                files.push(path);
            };
            let roles = [format!("tftp={tftp}"), format!("tvs={}", text(&key("tvs.pem")))];
            let records = ["--record", roles[0].as_str(), "--record", roles[1].as_str()];
            for list in ["itl", "ctl"] {
                write(list, &[&["make", list, "--key", &sast][..], &records].concat());
            }
            write("sgn", &["sign", &config, "--key", &tftp]);
            write("enc", &["encrypt", &config, "--key", &tftp, "--device", &device]);
        }
    }
    files
}

fn run(program: &str, args: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(args).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {err}");
    output.stdout
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn key(name: &str) -> PathBuf {
    vectors().join("keys").join(name)
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
