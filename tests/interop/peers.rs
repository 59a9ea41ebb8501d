//! Other people's TFTP clients and servers, and OpenSSL, against ours.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use resetstorm::base::{DeviceName, PhoneId};
use resetstorm::wire::SignedFile;

use crate::lab::{
    Lab, Namespace, Running, SCENARIO, free_port, resetstorm, run, summary, text, tftp_target,
    tree, turn, until_served,
};

const LIST: &str = "ITLFile.tlv";

fn config() -> String {
    format!("{}.cnf.xml.sgn", DeviceName::of_phone(PhoneId(3)))
}

/// Fetches list and config with a client, and compares both with what our own client got.
fn same_bytes(lab: &Lab, what: &str, fetch: impl Fn(&str, &Path)) {
    for file in [LIST, &config()] {
        let expected = lab.file(file);
        assert!(expected.len() > 2_000, "{file}: {}", expected.len());
        let path = lab.scratch("fetched");
        let _ = fs::remove_file(&path);
        fetch(file, &path);
        let got = fs::read(&path).unwrap_or_else(|error| panic!("{what} left no {file}: {error}"));
        assert!(got == expected, "{what}: {file} has {} bytes, not {}", got.len(), expected.len());
    }
}

#[test]
#[ignore = "needs curl"]
fn curl_gets_every_byte_with_and_without_options() {
    let _turn = turn();
    let lab = Lab::start(8);
    let options: [&[&str]; 4] =
        [&[], &["--tftp-no-options"], &["--tftp-blksize", "1428"], &["--tftp-blksize", "8"]];
    for options in options {
        same_bytes(&lab, &format!("curl {options:?}"), |file, to| {
            let url = format!("tftp://{}/{file}", lab.tftp);
            run(Command::new("curl")
                .args(["-sS", "-m", "30"])
                .args(options)
                .arg(url)
                .arg("-o")
                .arg(to));
        });
    }
}

#[test]
#[ignore = "needs tftp-hpa"]
fn tftp_hpa_gets_every_byte() {
    let _turn = turn();
    let lab = Lab::start(8);
    same_bytes(&lab, "tftp-hpa", |file, to| {
        let (ip, port) = (lab.tftp.ip().to_string(), lab.tftp.port().to_string());
        run(Command::new("tftp").args(["-m", "binary", &ip, &port, "-c", "get", file]).arg(to));
    });
}

#[test]
#[ignore = "needs atftp"]
fn atftp_gets_every_byte_with_every_option() {
    let _turn = turn();
    let lab = Lab::start(8);
    let options: [&[&str]; 6] = [
        &[],
        &["blksize 1428"],
        &["tsize 0", "timeout 3"],
        &["windowsize 1"],
        &["blksize 512", "windowsize 8"],
        &["blksize 100", "tsize 0", "timeout 2", "windowsize 32"],
    ];
    for options in options {
        same_bytes(&lab, &format!("atftp {options:?}"), |file, to| {
            let mut client = Command::new("atftp");
            for option in options {
                client.args(["--option", option]);
            }
            client.args(["-g", "-r", file, "-l"]).arg(to);
            run(client.arg(lab.tftp.ip().to_string()).arg(lab.tftp.port().to_string()));
        });
    }
}

/// The lines between the marks of a PEM text, joined.
fn pem_body(text: &str) -> String {
    let body = text.lines().skip_while(|line| !line.starts_with("-----BEGIN CERTIFICATE"));
    body.skip(1).take_while(|line| !line.starts_with("-----END")).collect()
}

#[test]
#[ignore = "needs openssl"]
fn openssl_sees_the_tvs_certificate_over_both_versions_of_tls() {
    let _turn = turn();
    let lab = Lab::start(8);
    let expected = pem_body(&fs::read_to_string(lab.pem("TVS.pem")).unwrap());
    assert!(expected.len() > 400);
    for (flag, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let shown = text(Command::new("openssl").args([
            "s_client",
            flag,
            "-connect",
            &lab.tvs.to_string(),
        ]));
        assert_eq!(pem_body(&shown), expected, "{name}");
        assert!(shown.contains(name), "{shown}");
    }
}

#[test]
#[ignore = "needs openssl"]
fn openssl_verifies_our_signatures_over_the_covered_bytes() {
    let _turn = turn();
    // From 12 on ITLRecovery signs the list; from 14 on signatures are SHA-512.
    signatures_verify("8.6", "-sha1", ["CallManager.pem", "CallManager.pem"]);
    signatures_verify("14", "-sha512", ["ITLRecovery.pem", "CallManager.pem"]);
}

/// The list and a configuration of a release carry signatures by these keys.
fn signatures_verify(release: &str, digest: &str, signers: [&str; 2]) {
    let lab = Lab::of(release, 8);
    let key = lab.scratch("key.pub");
    let (covered, signature) = (lab.scratch("covered"), lab.scratch("signature"));
    let verify = || {
        let mut openssl = Command::new("openssl");
        openssl.args(["dgst", digest, "-verify"]).arg(&key).arg("-signature").arg(&signature);
        let output = openssl.arg(&covered).output().unwrap();
        String::from_utf8_lossy(&output.stdout).contains("Verified OK")
    };
    for (file, signer) in [LIST, &config()].into_iter().zip(signers) {
        let mut x509 = Command::new("openssl");
        let public = text(x509.args(["x509", "-noout", "-pubkey", "-in"]).arg(lab.pem(signer)));
        fs::write(&key, public).unwrap();
        let bytes = lab.file(file);
        let parsed = SignedFile::parse(&bytes).unwrap();
        // Covered is the whole file without the signature element: tag, length, value.
        let (start, value) = (parsed.header.signature_offset, parsed.header.signature);
        assert_eq!(bytes[start], 12, "the tag of a signature");
        let mut rest = [&bytes[..start], &bytes[start + 3 + value.len()..]].concat();
        fs::write(&signature, value).unwrap();
        fs::write(&covered, &rest).unwrap();
        assert!(verify(), "{file}");
        let last = rest.len() - 1;
        rest[last] ^= 1;
        fs::write(&covered, &rest).unwrap();
        assert!(!verify(), "{file} with one bit changed");
    }
}

const PHONES: u32 = 20;

/// Phones from the factory boot from a server that is not ours; counts must be exact.
fn boots_from(mut program: Command, port: u16) {
    let out = tempfile::tempdir().unwrap();
    let target = tftp_target(Ipv4Addr::LOCALHOST, port);
    run(program
        .args(["run", SCENARIO, "--phones", &PHONES.to_string(), "--progress", "none"])
        .args(["--set", "slo=[]", "--set", "event=[]", "--set", "fleet.arrival.within=1s"])
        .args(["--max-wall", "1m"])
        .args(["--target", &target, "--out"])
        .arg(out.path()));
    let summary = summary(out.path());
    assert_eq!(summary["phones"]["ready"], PHONES, "{summary:#}");
    assert_eq!(summary["trust"]["lists"]["accepted_first"], PHONES);
    assert_eq!(summary["trust"]["configs"]["accepted_by_itl"], PHONES);
    let tftp = &summary["tftp"];
    // No CTL, the list, the config.
    assert_eq!(tftp["transfers"], PHONES * 2);
    assert_eq!(
        (&tftp["requests"], &tftp["not_found"]),
        (&(PHONES * 4).into(), &(PHONES * 2).into())
    );
    assert_eq!(tftp["errors"], 0);
}

#[test]
#[ignore = "needs tftpd-hpa"]
fn our_phones_boot_from_tftpd_hpa() {
    let _turn = turn();
    let (tree, port) = (tree(PHONES), free_port());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut server = Command::new("in.tftpd");
    server.args(["-L", "-u", "root", "-a", &address.to_string(), "-s"]).arg(tree.path());
    let _server = Running::start(&mut server);
    until_served(address, LIST);
    boots_from(resetstorm(), port);
}

#[test]
#[ignore = "needs atftpd"]
fn our_phones_boot_from_atftpd() {
    let _turn = turn();
    let (tree, port) = (tree(PHONES), free_port());
    let mut server = Command::new("atftpd");
    server.args(["--daemon", "--no-fork", "--user", "root.root", "--logfile", "/dev/null"]);
    server.args(["--bind-address", "127.0.0.1", "--port", &port.to_string()]).arg(tree.path());
    let _server = Running::start(&mut server);
    until_served((Ipv4Addr::LOCALHOST, port).into(), LIST);
    boots_from(resetstorm(), port);
}

#[test]
#[ignore = "needs dnsmasq and root"]
fn our_phones_boot_from_dnsmasq() {
    let _turn = turn();
    let tree = tree(PHONES);
    // dnsmasq knows port 69 only, so that it gets a network of its own.
    let namespace = Namespace::new("dnsmasq");
    let mut server = namespace.command("dnsmasq");
    server.args(["--no-daemon", "--conf-file=/dev/null", "--port=0", "--user=root"]);
    server.args(["--enable-tftp", "--listen-address=127.0.0.1", "--log-facility=-"]);
    let mut server = Running::start(server.arg(format!("--tftp-root={}", tree.path().display())));
    let lines = server.stderr();
    crate::lab::line_with(&lines, "TFTP root is");
    boots_from(namespace.command(env!("CARGO_BIN_EXE_resetstorm")), 69);
}
