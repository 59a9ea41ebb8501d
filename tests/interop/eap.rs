//! 802.1X: what an LSC is worth at a RADIUS server that is not ours (EAP-TLS, RFC 5216).

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;

use resetstorm::base::{ClusterId, DeviceName};
use resetstorm::cluster::ServiceKind;
use resetstorm::crypto::pooled_key;
use resetstorm::measure::known_paths;
use resetstorm::scenario::load;
use resetstorm::sim::{SimOptions, World};

use crate::lab::{Running, line_with, run, text, turn};

const SECRET: &str = "between-switch-and-server";

/// A RADIUS server that lets in whoever shows a certificate of one of `ca.pem` with the name that it
/// gives.
struct Radius {
    _process: Running,
    port: u16,
}

impl Radius {
    fn start(dir: &Path) -> Radius {
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let at = dir.display();
        let make = [
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=radius",
            "-days",
            "2",
            "-keyout",
            "radius.key",
            "-out",
            "radius.pem",
        ];
        run(Command::new("openssl").args(make).current_dir(dir));
        fs::write(dir.join("dictionary"), "$INCLUDE /usr/share/freeradius/dictionary\n").unwrap();
        let config = format!(
            "prefix = {at}\nlogdir = {at}\nrun_dir = {at}\nlibdir = /usr/lib/freeradius\n\
             max_requests = 1024\n\
             modules {{\n eap {{\n  default_eap_type = tls\n  tls-config common {{\n\
             private_key_file = {at}/radius.key\n   certificate_file = {at}/radius.pem\n\
             ca_file = {at}/ca.pem\n   check_cert_cn = %{{User-Name}}\n\
             tls_min_version = \"1.2\"\n   tls_max_version = \"1.2\"\n  }}\n\
             tls {{\n   tls = common\n  }}\n }}\n}}\n\
             client switch {{\n ipaddr = 127.0.0.1\n secret = {SECRET}\n}}\n\
             server default {{\n listen {{\n  type = auth\n  ipaddr = 127.0.0.1\n  port = {port}\n }}\n\
             authorize {{\n  eap\n }}\n authenticate {{\n  eap\n }}\n}}\n"
        );
        fs::write(dir.join("radiusd.conf"), config).unwrap();
        let mut command = Command::new("freeradius");
        command.args(["-f", "-X", "-d"]).arg(dir);
        let mut process = Running::start(&mut command);
        line_with(&process.stdout(), "Ready to process requests");
        Radius { _process: process, port }
    }

    /// Whether a phone is let in with the certificate `name`.pem and the key `name`.key.
    fn lets_in(&self, dir: &Path, name: &str, identity: &str) -> bool {
        let at = dir.display();
        let network = format!(
            "network={{\n key_mgmt=IEEE8021X\n eap=TLS\n identity=\"{identity}\"\n\
             ca_cert=\"{at}/radius.pem\"\n client_cert=\"{at}/{name}.pem\"\n\
             private_key=\"{at}/{name}.key\"\n eapol_flags=0\n}}\n"
        );
        fs::write(dir.join("network.conf"), network).unwrap();
        let output = Command::new("eapol_test")
            .current_dir(dir)
            .args(["-c", "network.conf", "-a", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-s", SECRET, "-t", "20"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let is_in = said.lines().last() == Some("SUCCESS");
        assert_eq!(is_in, output.status.success(), "{said}");
        assert!(
            said.contains("CTRL-EVENT-EAP-METHOD EAP vendor 0 method 13 (TLS) selected"),
            "{said}"
        );
        is_in
    }
}

/// A phone's LSC on disk as `name`.pem and `name`.key, made `ago` before today by a CAPF whose
/// certificate lasts so long and is in `ca.pem`; its common name.
fn enrolled(dir: &Path, name: &str, key: &str, ago: &str, capf: &str) -> String {
    let day = text(Command::new("date").args(["-u", "+%F", "-d", ago]));
    let scenario = format!(
        "schema=1\nname='t'\n[cluster]\nrelease='11.5'\n[[cluster.node]]\nname='pub'\n\
         expires={{CAPF='{capf}'}}\n[fleet]\nphones=1\nstart='itl-current'\n\
         [[event]]\nwhen='fleet-settled'\nroll-out-lsc={{key='{key}', completes-in='2h'}}\n\
         [run]\nepoch='{}'\n",
        day.trim()
    );
    let plan = load(Path::new("t.toml"), &scenario, &[], &known_paths()).unwrap();
    let world = World::new(&plan, SimOptions::default()).run();
    let lsc = world.phones[0].lsc().unwrap();
    fs::write(dir.join(format!("{name}.pem")), lsc.certificate.to_pem()).unwrap();
    let key = pooled_key(lsc.spec, usize::from(lsc.number)).unwrap().pkcs8();
    fs::write(dir.join(format!("{name}.der")), key).unwrap();
    let (from, to) = (format!("{name}.der"), format!("{name}.key"));
    let read = ["pkey", "-inform", "DER", "-in", &from, "-out", &to];
    run(Command::new("openssl").args(read).current_dir(dir));
    let capf = world.cluster.presented(ClusterId::FIRST.node(0), ServiceKind::Capf).unwrap();
    fs::write(dir.join("ca.pem"), capf.to_pem()).unwrap();
    lsc.certificate.common_name().to_owned()
}

#[test]
#[ignore = "needs freeradius, eapol_test and openssl"]
fn freeradius_lets_in_an_lsc_and_none_that_is_changed_of_another_or_over() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let cases = [
        ("rsa", "rsa-2048", "today", "1800d", true),
        ("ec", "ec-256", "today", "1800d", true),
        // An LSC lasts for 1,825 days, and CAPF no longer (CAPF-10).
        ("over", "rsa-2048", "1900 days ago", "5y", false),
        ("capf-over", "rsa-2048", "60 days ago", "30d", false),
    ];
    for (name, key, ago, capf, expected) in cases {
        let dir = &dir.join(name);
        fs::create_dir(dir).unwrap();
        let identity = enrolled(dir, name, key, ago, capf);
        let device = DeviceName::of_phone(resetstorm::base::PhoneId(0)).to_string();
        assert!(identity.contains(&device), "{identity}");
        assert_eq!(Radius::start(dir).lets_in(dir, name, &identity), expected, "{name}");
    }
    let identity = enrolled(dir, "rsa", "rsa-2048", "today", "1800d");
    let radius = Radius::start(dir);
    assert!(radius.lets_in(dir, "rsa", &identity));
    assert!(!radius.lets_in(dir, "rsa", "SEP0C75BD999999"), "another phone's name");
    // A byte of it is another one, and its key fits as before.
    let read = ["x509", "-in", "rsa.pem", "-outform", "DER"];
    let der = run(Command::new("openssl").args(read).current_dir(dir)).stdout;
    let is_date = |part: &[u8]| part[..12].iter().all(u8::is_ascii_digit) && part[12] == b'Z';
    let date = der.windows(13).position(is_date).unwrap() + 11;
    for (at, name) in [(der.len() - 20, "signature"), (date, "a second of its first day")] {
        let mut changed = der.clone();
        changed[at] ^= 1;
        fs::write(dir.join("changed.der"), &changed).unwrap();
        let to_pem = ["x509", "-inform", "DER", "-in", "changed.der", "-out", "changed.pem"];
        run(Command::new("openssl").args(to_pem).current_dir(dir));
        fs::copy(dir.join("rsa.key"), dir.join("changed.key")).unwrap();
        assert!(!radius.lets_in(dir, "changed", &identity), "{name}");
    }
}
