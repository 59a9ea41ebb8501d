//! What other people's servers carry, and where they end, without having been told.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use serde_json::Value;
use tempfile::TempDir;

use crate::lab::{
    Lab, Namespace, Running, free_port, line_with, resetstorm, summary, turn, until_served,
};

/// A tree with one file of 8 KB that everybody may read, and the list of its name.
struct Tree {
    folder: TempDir,
}

const FILE: &str = "SEP001122334455.cnf.xml.sgn";

impl Tree {
    fn new() -> Tree {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        let content: Vec<u8> = (0..8_192u32).map(|at| (at * 7 / 3) as u8).collect();
        fs::write(root.join(FILE), content).unwrap();
        fs::write(folder.path().join("names"), FILE).unwrap();
        fs::set_permissions(root.join(FILE), Permissions::from_mode(0o644)).unwrap();
        for path in [folder.path(), &root] {
            fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        }
        Tree { folder }
    }

    fn root(&self) -> std::path::PathBuf {
        self.folder.path().join("root")
    }

    /// Measures; gives the exit, all that was said and the summary.
    fn measure(&self, program: Command, server: &[&str], more: &[&str]) -> (Output, String, Value) {
        let mut program = program;
        program.arg("capacity").args(server).args(more);
        program.arg("--names").arg(self.folder.path().join("names"));
        program.arg("--out").arg(self.folder.path().join("runs")).stdin(Stdio::null());
        let output = program.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        let summary = summary(&self.folder.path().join("runs"));
        // The figures are what a reader of the test's output wants.
        eprintln!("{text}");
        (output, text, summary)
    }
}

/// Coarse and short: a figure for the report of the test, not for an argument.
const SHORT: [&str; 10] = [
    "--hold",
    "1500ms",
    "--hold-max",
    "1500ms",
    "--warm-up",
    "300ms",
    "--percentile",
    "95%",
    "--resolution",
    "10%",
];

fn atftpd(root: &Path, port: u16) -> Running {
    let mut server = Command::new("atftpd");
    server.args(["--daemon", "--no-fork", "--user", "root.root", "--logfile", "/dev/null"]);
    server.args(["--maxthread", "100000"]);
    server.args(["--bind-address", "127.0.0.1", "--port", &port.to_string()]).arg(root);
    Running::start(&mut server)
}

#[test]
#[ignore = "needs tftpd-hpa"]
fn the_low_knee_of_tftpd_hpa_is_found() {
    let _turn = turn();
    let (tree, port) = (Tree::new(), free_port());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut server = Command::new("in.tftpd");
    server.args(["-L", "-u", "root", "-a", &address.to_string(), "-s"]).arg(tree.root());
    let _server = Running::start(&mut server);
    until_served(address, FILE);
    let server = ["--tftp", &address.to_string(), "--start", "100", "--recover", "20s"];
    let (output, text, summary) = tree.measure(resetstorm(), &server, &SHORT);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let knee = summary["capacity"]["knee"].as_f64().expect("a knee");
    // A process for each transfer: about 1,000 a second on a core of its own.
    assert!((100.0..2_500.0).contains(&knee), "{knee}");
    let steps = summary["capacity"]["steps"].as_array().unwrap();
    // A level below the knee may have been seen broken once and was outvoted: what bounds the knee
    // is one above it.
    let is_above = |step: &&Value| step["offered"].as_f64() > Some(knee);
    assert!(steps.iter().filter(is_above).any(|step| step["verdict"] == "broken"), "{text}");
}

/// Threads that take every core until the value ends.
struct Burners {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Burners {
    fn start() -> Burners {
        let (over, cores) = (Arc::<AtomicBool>::default(), std::thread::available_parallelism());
        let burn = |over: Arc<AtomicBool>| {
            move || {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            }
        };
        let threads = (0..cores.map_or(1, usize::from))
            .map(|_| std::thread::spawn(burn(Arc::clone(&over))))
            .collect();
        Burners { over, threads }
    }
}

impl Drop for Burners {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap_or_default());
    }
}

#[test]
#[ignore = "needs tftpd-hpa"]
fn no_answer_of_tftpd_hpa_is_wrong_on_a_busy_machine() {
    let _turn = turn();
    let (tree, port) = (Tree::new(), free_port());
    // The bytes of one file must never count as those of another.
    let other: Vec<u8> = (0..8_192u32).map(|at| (at * 5 / 3 + 9) as u8).collect();
    fs::write(tree.root().join("other"), other).unwrap();
    fs::set_permissions(tree.root().join("other"), Permissions::from_mode(0o644)).unwrap();
    fs::write(tree.folder.path().join("names"), format!("{FILE}\nother\n")).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut server = Command::new("in.tftpd");
    server.args(["-L", "-u", "root", "-a", &address.to_string(), "-s"]).arg(tree.root());
    let _server = Running::start(&mut server);
    until_served(address, FILE);
    let _burners = Burners::start();
    let address = address.to_string();
    let coarse = ["--tftp", &address, "--start", "300", "--growth", "3", "--max-rate", "3000"];
    let short = ["--hold", "500ms", "--hold-max", "500ms", "--warm-up", "100ms", "--repeats", "1"];
    let limits = ["--percentile", "90%", "--latency", "400ms", "--resolution", "40%"];
    let flags = [&coarse[..], &short, &limits, &["--recover", "3s"]].concat();
    // Where addresses are few each comes again while the server still sends to who has gone.
    for sources in [&[][..], &["--sources", "127.77.0.0/22"]] {
        let (_, text, summary) = tree.measure(resetstorm(), &flags, sources);
        assert_eq!(summary["wrong"]["count"], 0, "{text}");
        let steps = summary["capacity"]["steps"].as_array().unwrap();
        let is_overload = |step: &Value| step["verdict"] != "carried";
        assert!(steps.iter().any(is_overload), "transfers are given up: {text}");
    }
}

#[test]
#[ignore = "needs atftpd"]
fn the_end_of_atftpd_near_a_thousand_transfers_at_once_is_found() {
    let _turn = turn();
    let (tree, port) = (Tree::new(), free_port());
    let _server = atftpd(&tree.root(), port);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    until_served(address, FILE);
    // Beyond what it serves its transfers pile up, a descriptor each, until select() has no room.
    let server = ["--tftp", &address.to_string(), "--start", "800", "--growth", "1.25"];
    let flags = [&SHORT[..], &["--recover", "3s"]].concat();
    let (output, text, summary) = tree.measure(resetstorm(), &server, &flags);
    assert_eq!(output.status.code(), Some(4), "{text}");
    assert_eq!(summary["verdict"], "lost");
    assert!(text.contains("the server was LOST at"), "{text}");
    let steps = summary["capacity"]["steps"].as_array().unwrap();
    let (last, before) = steps.split_last().expect("levels");
    assert!(before.iter().any(|step| step["verdict"] == "carried"), "{text}");
    // It may end just after a level: then the next one finds nobody and has little in flight.
    let in_flight = steps.iter().filter_map(|step| step["in_flight_max"].as_u64()).max();
    assert!((200..4_096).contains(&in_flight.unwrap()), "{in_flight:?}");
    assert!(last["errors"]["refused"].as_u64() > Some(0), "nobody listens any more: {last:#}");
}

#[test]
#[ignore = "needs dnsmasq and root"]
fn requests_that_dnsmasq_loses_when_two_thousand_start_at_once_are_counted() {
    let _turn = turn();
    let tree = Tree::new();
    // dnsmasq knows port 69 only, so that it gets a network of its own.
    let namespace = Namespace::new("capacity");
    let mut server = namespace.command("dnsmasq");
    server.args(["--no-daemon", "--conf-file=/dev/null", "--port=0", "--user=root"]);
    server.args(["--enable-tftp", "--tftp-max=5000"]);
    server.args(["--listen-address=127.0.0.1", "--log-facility=-"]);
    let mut server = Running::start(server.arg(format!("--tftp-root={}", tree.root().display())));
    line_with(&server.stderr(), "TFTP root is");
    let program = || namespace.command(env!("CARGO_BIN_EXE_resetstorm"));
    let target = ["--tftp", "127.0.0.1:69", "--timeout", "1s"];
    let (_, text, spike) = tree.measure(program(), &target, &["--spike", "2000"]);
    let step = &spike["capacity"]["steps"][0];
    assert!(step["sent_again"].as_u64() > Some(100), "{text}");
    assert!(step["response_s"]["p99"].as_f64() > Some(1.0), "who is lost waits: {step:#}");
    // At a rate it carries thousands, so that only the one instant is the trouble.
    let rate = ["--rate", "500", "--hold", "2s", "--percentile", "95%"];
    let (output, text, steady) = tree.measure(program(), &target, &rate);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!(steady["verdict"], "carried", "{text}");
}

#[test]
#[ignore = "needs nginx"]
fn nginx_carries_boots_over_http() {
    let _turn = turn();
    let tree = Tree::new();
    let path = |name: &str| tree.folder.path().join(name).display().to_string();
    let port = free_port();
    let config = format!(
        "daemon off; master_process off; error_log {}; pid {};\nevents {{ worker_connections 8192; }}\n\
         http {{ access_log off; client_body_temp_path {};\nproxy_temp_path {}; fastcgi_temp_path {};\n\
         uwsgi_temp_path {}; scgi_temp_path {};\n\
         server {{ listen 127.0.0.1:{port} backlog=4096; root {}; }} }}\n",
        path("error.log"),
        path("pid"),
        path("body"),
        path("proxy"),
        path("fastcgi"),
        path("uwsgi"),
        path("scgi"),
        tree.root().display()
    );
    fs::write(tree.folder.path().join("nginx.conf"), config).unwrap();
    let _server = Running::start(Command::new("nginx").args(["-c", &path("nginx.conf")]));
    let deadline = std::time::Instant::now() + crate::lab::PATIENCE;
    while std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(std::time::Instant::now() < deadline, "nginx does not listen");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    fs::write(tree.folder.path().join("phones.csv"), "MAC,model\n001122334455,8841\n").unwrap();
    let server = format!("127.0.0.1:{port}");
    let devices = path("phones.csv");
    let flags = ["--devices", &devices, "--mix", "boot=0.5,known=0.25,unknown=0.25"];
    let rate = ["--rate", "300", "--hold", "2s", "--percentile", "95%"];
    let flags = [&flags[..], &rate].concat();
    let (output, text, summary) = tree.measure(resetstorm(), &["--http", &server], &flags);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!((&summary["verdict"], &summary["wrong"]["count"]), (&"carried".into(), &0.into()));
    // CTL, own list, list of all and config: three of them are not there, and that is right.
    let mean = summary["load"]["requests_per_start"].as_f64().unwrap();
    assert!((mean - 2.5).abs() < 0.01, "{mean}");
}

#[test]
#[ignore = "judges rates of a whole second: beside the other real servers, not in `cargo test`"]
fn our_own_servers_carry_files_with_good_signatures_and_lookups() {
    let _turn = turn();
    let lab = Lab::start(20);
    let list = lab.scratch("ITLFile.tlv");
    fs::write(&list, lab.file("ITLFile.tlv")).unwrap();
    let devices = lab.scratch("phones.csv");
    fs::write(&devices, "MAC\n0C75BD000003\n0C75BD000004\n").unwrap();
    let run = |flags: &[&str]| {
        let out = lab.scratch("runs");
        let mut program = resetstorm();
        program.arg("capacity").args(flags).arg("--out").arg(&out).arg("--trust").arg(&list);
        program.args(["--hold", "2s", "--percentile", "95%"]);
        let output = program.stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        summary(&out)
    };
    let tftp = lab.tftp.to_string();
    let boots = run(&[
        "--tftp",
        &tftp,
        "--devices",
        devices.to_str().unwrap(),
        "--mix",
        "boot",
        "--rate",
        "150",
    ]);
    assert_eq!(
        (&boots["verdict"], &boots["capacity"]["unit"]),
        (&"carried".into(), &"boots/s".into())
    );
    let (tvs, pem) = (lab.tvs.to_string(), lab.pem("CallManager.pem"));
    let pem = pem.to_str().unwrap();
    let mix = "verify=0.4,query=0.4,random=0.2";
    let lookups = run(&["--tvs", &tvs, "--ask", pem, "--mix", mix, "--rate", "100"]);
    assert_eq!(lookups["verdict"], "carried");
    assert_eq!(lookups["wrong"]["count"], 0);
}
