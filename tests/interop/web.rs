//! HTTP with programs that are not ours: curl asks our server, nginx answers our phones.

use std::process::Command;
use std::time::Instant;

use crate::lab::{
    Lab, Namespace, PATIENCE, Running, SCENARIO, line_with, resetstorm, run, summary, text, tree,
    turn,
};

/// The list and one phone's signed configuration.
const FILES: [&str; 2] = ["ITLFile.tlv", "SEP0C75BD000000.cnf.xml.sgn"];

#[test]
#[ignore = "needs curl"]
fn curl_gets_the_bytes_of_tftp_over_http_and_the_answers_of_a_phone() {
    let _turn = turn();
    let ports = "cluster.node.pub.ports={ tftp = 0, tvs = 0, capf = 0, http = 0 }";
    let mut server = Running::start(resetstorm().args([
        "serve",
        SCENARIO,
        "--progress",
        "lines",
        "--phones",
        "2",
        "--set",
        ports,
    ]));
    let line = line_with(&server.stderr(), "cluster   pub on 127.0.0.1");
    let port = |service: &str| {
        let (_, rest) = line.split_once(service).unwrap_or_else(|| panic!("{service}: {line}"));
        rest.split_whitespace().next().unwrap().parse::<u16>().unwrap()
    };
    let (tftp, http) = (port("tftp "), port("http "));
    for file in FILES {
        let over_http =
            run(Command::new("curl").args(["-sSf", &format!("http://127.0.0.1:{http}/{file}")]));
        let over_tftp =
            run(Command::new("curl").args(["-sS", &format!("tftp://127.0.0.1:{tftp}/{file}")]));
        assert!(!over_http.stdout.is_empty());
        assert_eq!(over_http.stdout, over_tftp.stdout, "{file}");
    }
    let url = format!("http://127.0.0.1:{http}/{}", FILES[0]);
    // Two files on one connection, then what is not there.
    let reused = text(Command::new("curl").args([
        "-sS",
        "-o",
        "/dev/null",
        "-o",
        "/dev/null",
        "-w",
        "%{num_connects} ",
        &url,
        &url,
    ]));
    assert_eq!(reused, "1 0 ", "the second request uses the first connection");
    let status = |more: &[&str], path: &str| {
        let url = format!("http://127.0.0.1:{http}{path}");
        let words = ["-sS", "-o", "/dev/null", "--path-as-is", "-w", "%{http_code}", &url];
        text(Command::new("curl").args(words).args(more))
    };
    assert_eq!(status(&[], "/CTLSEP0C75BD000000.tlv"), "404");
    assert_eq!(status(&[], "/../../etc/passwd"), "404");
    assert_eq!(status(&["-X", "POST"], "/ITLFile.tlv"), "405");
}

#[test]
#[ignore = "needs curl and openssl"]
fn curl_and_openssl_see_the_same_files_and_the_call_manager_certificate_over_https() {
    let _turn = turn();
    let lab = Lab::of("14", 8);
    for file in FILES {
        let url = format!("https://{}/{file}", lab.https);
        for version in ["1.2", "1.3"] {
            let fetched = lab.scratch("fetched");
            let mut curl = Command::new("curl");
            // The certificate is judged by the lists of phones, which curl does not have: below.
            run(curl
                .args(["-sSk", "-m", "30", "--fail", "--tls-max", version, &url, "-o"])
                .arg(&fetched));
            assert_eq!(
                std::fs::read(&fetched).unwrap(),
                lab.file(file),
                "{file} over TLS {version}"
            );
        }
    }
    let expected = std::fs::read_to_string(lab.pem("CallManager.pem")).unwrap();
    let mut client = Command::new("openssl");
    let shown = text(client.args(["s_client", "-connect", &lab.https.to_string()]));
    let body = |text: &str| {
        let begin = text.find("-----BEGIN CERTIFICATE-----").unwrap();
        text[begin..text.find("-----END CERTIFICATE-----").unwrap()].trim().to_owned()
    };
    assert_eq!(body(&shown), body(&expected));
    assert!(!shown.contains("Reused, TLS"), "no session is resumed: {shown}");
}

#[test]
#[ignore = "needs nginx, iproute2 and root"]
fn our_phones_boot_from_nginx_over_http() {
    let _turn = turn();
    let (tree, folder) = (tree(20), tempfile::tempdir().unwrap());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let config = format!(
        "daemon off; master_process off; error_log {}; pid {};\nevents {{}}\nhttp {{\n\
         access_log {}; client_body_temp_path {};\nproxy_temp_path {}; fastcgi_temp_path {};\n\
         uwsgi_temp_path {}; scgi_temp_path {};\n\
         server {{ listen 127.0.0.1:6970; root {}; }} }}\n",
        path("error.log"),
        path("pid"),
        path("access.log"),
        path("body"),
        path("proxy"),
        path("fastcgi"),
        path("uwsgi"),
        path("scgi"),
        tree.path().display()
    );
    std::fs::write(folder.path().join("nginx.conf"), config).unwrap();
    // Phones ask port 6970 of the target, so that nginx gets a network of its own.
    let namespace = Namespace::new("nginx");
    let _server = Running::start(namespace.command("nginx").args(["-c", &path("nginx.conf")]));
    until_open(&namespace);
    let out = path("out");
    let mut phones = namespace.command(env!("CARGO_BIN_EXE_resetstorm"));
    phones.args(["run", SCENARIO, "--phones", "20", "--target", "tftp=127.0.0.1:6969"]);
    phones.args(["--set", "phone.transport=http", "--set", "fleet.arrival.within=100ms"]);
    phones.args(["--set", "event=[]", "--set", "slo=[]", "--out", &out]);
    run(phones.args(["--slo", "phones.ready == phones.total", "--progress", "none"]));
    let summary = summary(out.as_ref());
    assert_eq!((&summary["http"]["errors"], &summary["http"]["fallbacks"]), (&0.into(), &0.into()));
    assert_eq!(summary["http"]["requests"], 80, "two CTLs, ITL and config of each phone");
    assert_eq!(
        (&summary["http"]["not_found"], &summary["tftp"]["requests"]),
        (&40.into(), &0.into())
    );
    let log = std::fs::read_to_string(path("access.log")).unwrap();
    // Apart from our own look whether it listens.
    let asked: Vec<&str> = log.lines().filter(|line| line.contains("SEP0C75BD")).collect();
    assert_eq!(asked.len(), 60, "nginx has counted the same, but for CTLFile.tlv");
    assert_eq!(asked.iter().filter(|line| line.contains("\" 404 ")).count(), 20);
}

/// Waits until something listens on port 6970 of the namespace.
fn until_open(namespace: &Namespace) {
    let deadline = Instant::now() + PATIENCE;
    let url = "http://127.0.0.1:6970/";
    while Instant::now() < deadline {
        let asked = namespace.command("curl").args(["-s", "-o", "/dev/null", url]).status();
        if asked.is_ok_and(|status| status.success()) {
            return;
        }
        std::thread::yield_now();
    }
    panic!("nginx does not listen");
}
