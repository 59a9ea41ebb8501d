//! Other people's HTTPS clients at the Tomcat of our node.

use std::fs;
use std::process::Command;

use crate::lab::{Running, SCENARIO, line_with, resetstorm, run, text, turn};

const PORTS: &str =
    "cluster.node.pub.ports={ tftp = 0, tvs = 0, capf = 0, tomcat = 0, tomcat-http = 0 }";

/// A node with pages: its process, the folder of its certificates, and its ports.
struct Tomcat {
    _server: Running,
    folder: tempfile::TempDir,
    https: String,
    http: String,
}

impl Tomcat {
    fn start() -> Tomcat {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Running::start(
            resetstorm()
                .args(["serve", SCENARIO, "--progress", "lines", "--set", PORTS])
                .args(["--phones", "8", "--state"])
                .arg(folder.path().join("state")),
        );
        let line = line_with(&server.stderr(), "cluster   pub on 127.0.0.1");
        let port = |service: &str| {
            let after = line.split(&format!(" {service} ")).nth(1);
            after.and_then(|rest| rest.split(' ').next()).unwrap_or_else(|| panic!("{line}")).into()
        };
        let (https, http) = (port("tomcat"), port("tomcat-http"));
        Tomcat { _server: server, folder, https, http }
    }

    /// Its certificate, wherever the state of the run keeps it.
    fn pem(&self) -> String {
        let mut folders = vec![self.folder.path().join("state")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.file_name().is_some_and(|name| name == "tomcat.pem") {
                    return path.to_string_lossy().into_owned();
                }
            }
        }
        panic!("no tomcat.pem below {}", self.folder.path().display());
    }

    /// What curl gets of a page when it trusts this certificate only.
    fn page(&self, target: &str, trusted: &str) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-f", "-m", "30", "--cacert", trusted, "--resolve"]);
        curl.arg(format!("pub:{}:127.0.0.1", self.https));
        curl.arg(format!("https://pub:{}{target}", self.https));
        curl
    }
}

#[test]
#[ignore = "needs curl"]
fn curl_reads_the_directory_and_trusts_the_certificate_of_tomcat_only() {
    let _turn = turn();
    let tomcat = Tomcat::start();
    let pem = tomcat.pem();
    let menu = text(&mut tomcat.page("/ccmcip/xmldirectory.jsp", &pem));
    assert!(menu.contains("<CiscoIPPhoneMenu>") && menu.contains("Corporate Directory"), "{menu}");
    let input = "/ccmcip/xmldirectoryinput.jsp?name=SEP0C75BD000003";
    assert!(
        menu.contains(&format!("https://127.0.0.1:{}/ccmcip/xmldirectoryinput.jsp", tomcat.https))
    );
    assert!(text(&mut tomcat.page(input, &pem)).contains("<CiscoIPPhoneInput>"));
    let other = pem.replace("tomcat.pem", "CallManager.pem");
    assert!(!tomcat.page(input, &other).output().unwrap().status.success(), "another certificate");
    let plain = format!("http://127.0.0.1:{}/ccmcip/getservicesmenu.jsp", tomcat.http);
    let menu = text(Command::new("curl").args(["-sS", "-f", "-m", "30", &plain]));
    assert!(menu.contains("Extension Mobility"), "{menu}");
    let missing = tomcat.page("/etc/passwd", &pem).output().unwrap();
    assert!(String::from_utf8_lossy(&missing.stderr).contains("404"), "{missing:?}");
}

#[test]
#[ignore = "needs openssl"]
fn openssl_verifies_the_chain_of_tomcat_over_both_versions_of_tls() {
    let _turn = turn();
    let tomcat = Tomcat::start();
    let pem = tomcat.pem();
    run(Command::new("openssl").args(["verify", "-CAfile", &pem, &pem]));
    for (flag, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let shown = text(Command::new("openssl").args([
            "s_client",
            flag,
            "-verify_return_error",
            "-verify",
            "3",
            "-CAfile",
            &pem,
            "-connect",
            &format!("127.0.0.1:{}", tomcat.https),
        ]));
        assert!(shown.contains("Verify return code: 0 (ok)"), "{shown}");
        assert!(shown.contains(name) && shown.contains("CN = pub"), "{shown}");
    }
}
