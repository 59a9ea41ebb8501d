//! Mails of the Certificate Monitor, taken by somebody else's SMTP server.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::lab::{PATIENCE, Running, free_port, resetstorm, run, turn};

const SINK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/mail_sink.py");
const SCENARIO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/forty-seven-days.toml");

#[test]
#[ignore = "needs aiosmtpd"]
fn an_smtp_server_gets_the_alarms_as_they_stand_in_the_log() {
    let _turn = turn();
    let port = free_port().to_string();
    let mut sink = Running::start(Command::new("/usr/bin/python3").args([SINK, &port]));
    let lines = sink.stderr();
    assert_eq!(lines.recv().as_deref(), Ok("ready"));
    let out = tempfile::tempdir().unwrap();
    let ended = run(resetstorm()
        .args(["sim", SCENARIO, "--phones", "20", "--sensitivity=never", "--out"])
        .arg(out.path())
        .args(["--smtp", &format!("127.0.0.1:{port}"), "--mail-to", "ops@example.com"]));
    let told = String::from_utf8(ended.stderr).unwrap();
    assert!(told.contains("mailed 100 of "), "{told}");
    let log = fs::read_to_string(out.path().join("latest/alarms.log")).unwrap();
    let mails: Vec<Value> =
        lines.iter().take(100).map(|line| serde_json::from_str(&line).unwrap()).collect();
    for (mail, expected) in mails.iter().zip(log.split("\n\n")) {
        assert_eq!(mail["to"], serde_json::json!(["ops@example.com"]));
        assert_eq!(mail["subject"], "[RTMT-ALERT-StandAloneCluster] SyslogSeverityMatchFound");
        let got = mail["text"].as_str().unwrap().replace("\r\n", "\n");
        assert_eq!(got.trim_end(), expected.trim_end());
        assert!(got.contains("%UC_CERT-2-CertValidfor7days"));
    }
}

/// `serve` mails when the monitor's hour comes by the clock, with nobody typing anything.
#[test]
#[ignore = "needs aiosmtpd"]
fn an_smtp_server_gets_what_a_served_cluster_warns_of_when_its_hour_comes() {
    let _turn = turn();
    let port = free_port().to_string();
    let mut sink = Running::start(Command::new("/usr/bin/python3").args([SINK, &port]));
    let lines = sink.stderr();
    assert_eq!(lines.recv().as_deref(), Ok("ready"));
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("soon.toml");
    // The monitor looks six seconds after midnight.
    fs::write(
        &scenario,
        "schema=1\nname='soon'\n[[cluster.node]]\nname='pub'\nexpires={TVS='5d'}\n\
         ports={tftp=0,tvs=0,capf=0}\n[fleet]\nphones=2\n[run]\nepoch='2026-11-28T00:00:03Z'\n",
    )
    .unwrap();
    let _serve = Running::start(resetstorm().arg("serve").arg(&scenario).args([
        "--smtp",
        &format!("127.0.0.1:{port}"),
        "--mail-to",
        "ops@example.com",
    ]));
    let mail = lines.recv_timeout(PATIENCE).expect("a mail when the hour has come");
    let mail: Value = serde_json::from_str(&mail).unwrap();
    assert_eq!(mail["to"], serde_json::json!(["ops@example.com"]));
    let text = mail["text"].as_str().unwrap();
    assert!(text.contains("TVS") && text.contains("CertValidfor7days"), "{text}");
}
