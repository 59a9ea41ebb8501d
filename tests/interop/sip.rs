//! Other people's SIP: our phones at Kamailio, and `SIPp` at our node.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use resetstorm::base::{DeviceName, PhoneId};
use resetstorm::crypto::manufacturers;
use serde_json::Value;

use crate::lab::{PATIENCE, Running, free_port, line_with, resetstorm, run, text, turn};

const PHONES: u32 = 2_000;

/// A cluster whose phones register at a node that is not ours: `sip` and `sips` are its ports.
fn scenario(sip: u16, sips: u16, secure: bool) -> String {
    // Its one process of TLS drops connections when handshakes outrun it on a busy machine.
    let (mode, device, spread) =
        if secure { ("mixed", "encrypted", "40s") } else { ("non-secure", "non-secure", "10s") };
    format!(
        "schema = 1\nname = \"kamailio\"\n[cluster]\nsecurity-mode = \"{mode}\"\n\
         [[cluster.node]]\nname = \"pub\"\nservices = [\"tftp\", \"tvs\", \"callmanager\"]\n\
         ports = {{ tftp = 0, tvs = 0, sip = 0, sips = 0 }}\n\
         [[cluster.node]]\nname = \"kam\"\naddress = \"127.0.0.9\"\nservices = [\"tftp\", \"tvs\"]\n\
         ports = {{ tftp = 0, tvs = 0, sip = {sip}, sips = {sips} }}\n\
         [[cluster.group]]\nname = \"all\"\nmembers = [\"kam\"]\nshare = 1.0\n\
         [[cluster.phone-security-profile]]\nname = \"p\"\nshare = 1.0\n\
         device-security-mode = \"{device}\"\n\
         [fleet]\nphones = {PHONES}\ntftp = \"pub\"\n[registration]\n\
         [[event]]\nwhen = \"fleet-settled\"\nreset-phones = {{ spread = \"{spread}\" }}\n"
    )
}

/// The summary that our program prints as JSON, whatever its exit code.
fn told(command: &mut Command, dir: &Path) -> Value {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {said}\n{}", Kamailio::log(dir)))
}

/// Kamailio as a registrar over TCP and over TLS with certificates of both sides.
struct Kamailio {
    process: Running,
    control: String,
}

impl Kamailio {
    fn start(dir: &Path, sip: u16, sips: u16) -> Kamailio {
        let path = |name: &str| dir.join(name).display().to_string();
        let authorities: String =
            manufacturers().iter().map(|ca| ca.certificate.to_pem()).collect();
        fs::write(dir.join("ca.pem"), authorities).unwrap();
        let tls = format!(
            "[server:default]\nmethod = TLSv1.2+\nverify_certificate = yes\n\
             require_certificate = yes\nprivate_key = {}\ncertificate = {}\nca_list = {}\n",
            path("kam.key"),
            path("kam.pem"),
            path("ca.pem")
        );
        fs::write(dir.join("tls.cfg"), tls).unwrap();
        let mut config = format!(
            "#!KAMAILIO\ndebug=2\nlog_stderror=yes\nchildren=1\ntcp_children=1\nenable_tls=yes\n\
             tcp_max_connections=8192\ntls_max_connections=8192\n\
             listen=tcp:127.0.0.9:{sip}\nlisten=tls:127.0.0.9:{sips}\n"
        );
        for module in [
            "tls",
            "sl",
            "tm",
            "rr",
            "pv",
            "maxfwd",
            "textops",
            "siputils",
            "xlog",
            "kex",
            "ctl",
            "usrloc",
            "registrar",
        ] {
            writeln!(config, "loadmodule \"{module}.so\"").unwrap();
        }
        let control = format!("unix:{}", path("ctl"));
        write!(
            config,
            "modparam(\"tls\", \"config\", \"{}\")\nmodparam(\"ctl\", \"binrpc\", \"{control}\")\n\
             modparam(\"usrloc\", \"db_mode\", 0)\n\
             request_route {{\n  if (is_method(\"REGISTER\")) {{ save(\"location\"); exit; }}\n  \
             sl_send_reply(\"405\", \"Method Not Allowed\");\n}}\n",
            path("tls.cfg")
        )
        .unwrap();
        fs::write(dir.join("kamailio.cfg"), config).unwrap();
        let log = fs::File::create(dir.join("log")).unwrap();
        let child = Command::new("kamailio")
            .args(["-DD", "-E", "-m", "128", "-M", "8", "-f"])
            .arg(dir.join("kamailio.cfg"))
            .arg("-Y")
            .arg(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let kamailio =
            Kamailio { process: Running(child.expect("kamailio is installed")), control };
        let deadline = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(("127.0.0.9", sips)).is_err() {
            assert!(Instant::now() < deadline, "{}", Kamailio::log(dir));
            std::thread::sleep(Duration::from_millis(50));
        }
        kamailio
    }

    fn log(dir: &Path) -> String {
        let text = fs::read_to_string(dir.join("log")).unwrap_or_default();
        text.chars().rev().take(2_000).collect::<Vec<_>>().into_iter().rev().collect()
    }

    /// Users that are registered, as it counts them.
    fn users(&self) -> String {
        let answer = text(Command::new("kamcmd").args([
            "-s",
            &self.control,
            "stats.get_statistics",
            "usrloc:",
        ]));
        let line = answer.lines().find(|line| line.contains("registered_users"));
        line.unwrap_or_default().rsplit(' ').next().unwrap_or_default().to_owned()
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        // It forks; its main process ends the others.
        self.process.signal("TERM");
        let _ = self.process.ended();
    }
}

/// A certificate for Kamailio and its key, in `kam.pem` and `kam.key`.
fn certify(dir: &Path) {
    run(Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=kam"])
        .arg("-keyout")
        .arg(dir.join("kam.key"))
        .arg("-out")
        .arg(dir.join("kam.pem")));
}

fn expect_registered(secure: bool) {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    certify(dir);
    // Its certificate is the CallManager certificate of the node, so that the CTL names it.
    fs::create_dir_all(dir.join("state/kam")).unwrap();
    for (from, to) in [("kam.key", "CallManager.key"), ("kam.pem", "CallManager.pem")] {
        fs::copy(dir.join(from), dir.join("state/kam").join(to)).unwrap();
    }
    let (sip, sips) = (free_port(), free_port());
    fs::write(dir.join("kamailio.toml"), scenario(sip, sips, secure)).unwrap();
    let kamailio = Kamailio::start(dir, sip, sips);
    let mut command = resetstorm();
    command
        .arg("run")
        .arg(dir.join("kamailio.toml"))
        .arg("--state")
        .arg(dir.join("state"))
        .args(["--format", "json"]);
    let summary = told(&mut command, dir);
    let registered = &summary["phones"]["registered"];
    assert_eq!(*registered, PHONES, "{:#}\n{}", summary["registration"], Kamailio::log(dir));
    assert_eq!(summary["registration"]["accepted"], PHONES);
    assert_eq!(kamailio.users(), PHONES.to_string());
}

#[test]
#[ignore = "needs kamailio"]
fn two_thousand_phones_register_at_kamailio_over_tcp() {
    expect_registered(false);
}

#[test]
#[ignore = "needs kamailio"]
fn two_thousand_phones_register_at_kamailio_with_mutual_tls() {
    expect_registered(true);
}

#[test]
#[ignore = "needs kamailio"]
fn capacity_registers_every_phone_of_a_list_at_kamailio_over_tcp_and_tls() {
    const LISTED: u32 = 60;
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    certify(dir);
    let (sip, sips) = (free_port(), free_port());
    let names = (0..LISTED).map(|phone| DeviceName::of_phone(PhoneId(phone)).to_string());
    fs::write(dir.join("phones.csv"), names.collect::<Vec<_>>().join("\n")).unwrap();
    let certificate = dir.join("kam.pem").display().to_string();
    let tcp = [format!("--sip=127.0.0.9:{sip}")];
    let tls = [format!("--sips=127.0.0.9:{sips}"), format!("--certificate={certificate}")];
    for flags in [&tcp[..], &tls[..]] {
        let kamailio = Kamailio::start(dir, sip, sips);
        let mut command = resetstorm();
        command
            .arg("capacity")
            .args(flags)
            .arg("--devices")
            .arg(dir.join("phones.csv"))
            .args(["--rate", "40", "--hold", "3s", "--warm-up", "500ms", "--format", "json"])
            .arg("--out")
            .arg(dir.join("runs"));
        let summary = told(&mut command, dir);
        let step = &summary["capacity"]["steps"][0];
        assert_eq!(step["failed"], 0, "{summary:#}\n{}", Kamailio::log(dir));
        assert_eq!(summary["capacity"]["unit"], "registrations/s");
        assert_eq!(kamailio.users(), LISTED.to_string(), "{step:#}");
    }
}

#[test]
#[ignore = "needs kamailio"]
fn two_thousand_phones_of_a_run_register_at_kamailio_as_the_target_of_all() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    certify(dir);
    let (sip, sips) = (free_port(), free_port());
    let tftp = free_port();
    // The configurations name the node of the scenario, where no CallManager runs.
    fs::write(dir.join("served.toml"), scenario(1, 2, false)).unwrap();
    let port = format!("cluster.node.pub.ports={{ tftp = {tftp}, tvs = 0, sip = 0, sips = 0 }}");
    let mut server = Running::start(resetstorm().arg("serve").arg(dir.join("served.toml")).args([
        "--progress",
        "lines",
        "--set",
        &port,
    ]));
    line_with(&server.stderr(), &format!("tftp {tftp}"));
    let kamailio = Kamailio::start(dir, sip, sips);
    let mut command = resetstorm();
    command
        .arg("run")
        .arg(dir.join("served.toml"))
        .args(["--target", &format!("tftp=127.0.0.1:{tftp},sip=127.0.0.9:{sip}")])
        .args(["--format", "json", "--out"])
        .arg(dir.join("runs"));
    let summary = told(&mut command, dir);
    assert_eq!(summary["phones"]["registered"], PHONES, "{:#}", summary["registration"]);
    assert_eq!(kamailio.users(), PHONES.to_string());
    server.signal("TERM");
    server.ended();
}

#[test]
#[ignore = "needs openssl"]
fn openssl_is_told_by_an_alert_what_a_callmanager_thinks_of_its_certificate() {
    let _turn = turn();
    let (folder, sips) = (tempfile::tempdir().unwrap(), free_port());
    let dir = folder.path();
    certify(dir);
    let node = |name: &str, sips: u16| {
        format!(
            "cluster.node.{name}.ports={{ tftp = 0, tvs = 0, capf = 0, sip = 0, sips = {sips} }}"
        )
    };
    let mut server = Running::start(
        resetstorm()
            .args(["serve", "scenarios/registration-storm.toml", "--phones", "5"])
            .args(["--progress", "lines", "--set", &node("sub1", sips)])
            .args(["--set", &node("pub", 0), "--set", &node("sub2", 0)]),
    );
    line_with(&server.stderr(), &format!("sips {sips}"));
    let at = format!("127.0.0.2:{sips}");
    for version in ["-tls1_2", "-tls1_3"] {
        let told = |own: &[&str]| {
            let output = Command::new("openssl")
                .args(["s_client", "-connect", &at, version, "-ign_eof"])
                .args(own)
                .current_dir(dir)
                .stdin(Stdio::null())
                .output()
                .unwrap();
            String::from_utf8_lossy(&output.stderr).into_owned()
        };
        let stranger = told(&["-cert", "kam.pem", "-key", "kam.key"]);
        assert!(stranger.contains("alert unknown ca"), "{version}: {stranger}");
        let nobody = told(&[]);
        assert!(nobody.contains("alert certificate required"), "{version}: {nobody}");
    }
    server.signal("TERM");
    server.ended();
}

/// What `SIPp` says for each line of a list of devices.
const SIPP: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<scenario name="register"><send retrans="500"><![CDATA[
REGISTER sip:[remote_ip] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:[field0]@[remote_ip]>;tag=[call_number]
To: <sip:[field0]@[remote_ip]>
Call-ID: [call_id]
CSeq: 1 REGISTER
Contact: <sip:[field0]@[local_ip]:[local_port]>;+u.sip!devicename.ccm.cisco.com="[field0]"
Max-Forwards: 70
Expires: 60
Content-Length: 0

]]></send><recv response="STATUS"/></scenario>
"#;

#[test]
#[ignore = "needs sip-tester"]
fn sipp_registers_devices_of_the_database_and_no_others() {
    let _turn = turn();
    let (folder, sip) = (tempfile::tempdir().unwrap(), free_port());
    let dir = folder.path();
    let ports =
        format!("cluster.node.sub1.ports={{ tftp = 0, tvs = 0, capf = 0, sip = {sip}, sips = 0 }}");
    let any = |node: &str| {
        format!("cluster.node.{node}.ports={{ tftp = 0, tvs = 0, capf = 0, sip = 0, sips = 0 }}")
    };
    let mut server = Running::start(
        resetstorm()
            .args(["serve", "scenarios/registration-storm.toml", "--phones", "500"])
            .args(["--progress", "lines", "--set", &ports])
            .args(["--set", &any("pub"), "--set", &any("sub2")]),
    );
    line_with(&server.stderr(), &format!("sip {sip}"));
    for (first, status) in [(0, "200"), (500, "404")] {
        fs::write(dir.join("scenario.xml"), SIPP.replace("STATUS", status)).unwrap();
        let mut names = "SEQUENTIAL\n".to_owned();
        for phone in first..first + 500 {
            writeln!(names, "{};", DeviceName::of_phone(PhoneId(phone))).unwrap();
        }
        fs::write(dir.join("names.csv"), names).unwrap();
        run(Command::new("sipp")
            .current_dir(dir)
            .arg(format!("127.0.0.2:{sip}"))
            .args(["-sf", "scenario.xml", "-inf", "names.csv", "-t", "t1", "-i", "127.0.0.1"])
            .args([
                "-m",
                "500",
                "-r",
                "90",
                "-nd",
                "-nostdin",
                "-timeout",
                "60",
                "-timeout_error",
            ]));
    }
    server.signal("TERM");
    server.ended();
}
