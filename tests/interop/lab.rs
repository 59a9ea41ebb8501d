//! What the tests share: child processes that end with the test, our own server, and a reference
//! download by our own client.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use resetstorm::base::{Span, Time};
use resetstorm::transfer::{Download, DownloadOutcome, DownloadRequest, Progress};
use resetstorm::wire::tftp::Options;
use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_mins(1);
/// The scenario of all tests.
pub const SCENARIO: &str = "scenarios/callmanager-regen.toml";
/// Ports that the host chooses.
pub const ANY_PORTS: &str =
    "cluster.node.pub.ports={ tftp = 0, tvs = 0, capf = 0, http = 0, https = 0 }";

/// The machine for one test at a time: a knee, a storm and a capture are judged by how the machine
/// does, and two of them share its cores.
static MACHINE: Mutex<()> = Mutex::new(());

/// Waits for a test's turn, which lasts as long as the value.
pub fn turn() -> MutexGuard<'static, ()> {
    // A test that has failed has had its turn.
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A child process that is killed with the value.
pub struct Running(pub Child);

impl Running {
    /// Starts a program without input; its output is piped.
    pub fn start(command: &mut Command) -> Running {
        let spawned = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Running(spawned)
    }

    /// The lines that the program writes to stdout, as they come.
    pub fn stdout(&mut self) -> Receiver<String> {
        lines(self.0.stdout.take().expect("stdout is piped and taken once"))
    }

    /// The lines that the program writes to stderr, as they come.
    pub fn stderr(&mut self) -> Receiver<String> {
        lines(self.0.stderr.take().expect("stderr is piped and taken once"))
    }

    /// Waits for the end of a program that is about to end.
    pub fn ended(&mut self) -> ExitStatus {
        self.0.wait().expect("a child of ours can be waited for")
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        run(Command::new("kill").arg(format!("-{name}")).arg(self.0.id().to_string()));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            // A reader that has seen enough is gone; the pipe is drained all the same.
            let _ = sender.send(line);
        }
    });
    receiver
}

/// The first line that contains `part`.
pub fn line_with(lines: &Receiver<String>, part: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) if line.contains(part) => return line,
            Ok(line) => seen.push(line),
            Err(error) => panic!("no line with {part:?}: {error}; {seen:#?}"),
        }
    }
}

/// Runs a program that must succeed.
pub fn run(command: &mut Command) -> Output {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; .ci/run installs it"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// What a program that must succeed writes to stdout.
pub fn text(command: &mut Command) -> String {
    String::from_utf8_lossy(&run(command).stdout).into_owned()
}

/// Our own program.
pub fn resetstorm() -> Command {
    Command::new(env!("CARGO_BIN_EXE_resetstorm"))
}

/// A port of 127.0.0.1, free for UDP and TCP, of those that the host gives to nobody who asks for
/// any: it is still free when the program that it is for gets there.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 20_000 + (std::process::id() % 100) as u16 * 100;
    (0..100)
        .map(|_| base + NEXT.fetch_add(1, Ordering::Relaxed) % 100)
        .find(|&port| {
            let address = (Ipv4Addr::LOCALHOST, port);
            UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok()
        })
        .expect("one of a hundred ports is free")
}

/// Our `serve`, as a process of its own.
pub struct Lab {
    /// Where it listens for TFTP.
    pub tftp: SocketAddr,
    /// Where it listens for TVS.
    pub tvs: SocketAddr,
    /// Where it listens for HTTPS.
    pub https: SocketAddr,
    folder: TempDir,
    _server: Running,
}

impl Lab {
    /// Serves `phones` phones' files as release 8.6 does.
    pub fn start(phones: u32) -> Lab {
        Lab::of("8.6", phones)
    }

    /// Serves `phones` phones' files as this release does.
    pub fn of(release: &str, phones: u32) -> Lab {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Running::start(
            resetstorm()
                .args(["serve", SCENARIO, "--progress", "lines", "--set", ANY_PORTS])
                .args(["--set", &format!("cluster.release={release:?}")])
                .args(["--phones", &phones.to_string(), "--state"])
                .arg(folder.path().join("state")),
        );
        let line = line_with(&server.stderr(), "cluster   pub on 127.0.0.1");
        let port = |service: &str| {
            let after =
                line.split(&format!(" {service} ")).nth(1).unwrap_or_else(|| panic!("{line}"));
            let digits = after.split(' ').next().unwrap_or(after);
            SocketAddr::from(([127, 0, 0, 1], digits.parse().unwrap()))
        };
        let (tftp, tvs, https) = (port("tftp"), port("tvs"), port("https"));
        Lab { tftp, tvs, https, folder, _server: server }
    }

    /// A certificate of the state directory, such as `TVS.pem`.
    pub fn pem(&self, name: &str) -> PathBuf {
        self.folder.path().join("state/pub").join(name)
    }

    /// A file of the test.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A served file, fetched by our own client.
    pub fn file(&self, name: &str) -> Vec<u8> {
        fetch(self.tftp, name, Span::from_secs(4)).unwrap_or_else(|fault| panic!("{name}: {fault}"))
    }
}

/// A folder that goes with the value.
pub struct Tree {
    path: PathBuf,
    _folder: TempDir,
}

impl Tree {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The tree of a TFTP server with all that `phones` phones may ask for, as our `serve` writes it.
pub fn tree(phones: u32) -> Tree {
    let folder = tempfile::tempdir().unwrap();
    let mut serve = resetstorm();
    serve.args(["serve", SCENARIO, "--progress", "lines", "--set", ANY_PORTS, "--phones"]);
    serve.arg(phones.to_string()).arg("--write-files").arg(folder.path());
    let mut server = Running::start(&mut serve);
    line_with(&server.stderr(), &format!("files     {} in ", 7 + 3 * phones));
    // As the programs expect them, which serve what all may read.
    for path in fs::read_dir(folder.path().join("pub")).unwrap().map(|entry| entry.unwrap().path())
    {
        fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    }
    for path in [folder.path(), &folder.path().join("pub")] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    Tree { path: folder.path().join("pub"), _folder: folder }
}

/// Fetches a file with our own client machine over a plain blocking socket.
pub fn fetch(server: SocketAddr, file: &str, patience: Span) -> Result<Vec<u8>, String> {
    let begun = Instant::now();
    let now = || Time::ZERO + Span::from_nanos(begun.elapsed().as_nanos() as u64);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let request = DownloadRequest {
        file: file.into(),
        options: Options::default(),
        size_max: 1 << 20,
        timeout: patience,
        tries: 2,
    };
    let (mut out, mut buffer) = (Vec::new(), vec![0; 70_000]);
    let mut download = Download::start(request, now(), &mut out);
    loop {
        if !out.is_empty() {
            let port = download.peer_port().unwrap_or(server.port());
            // Nobody may listen yet: the next call says so, too.
            let _ = socket.send_to(&out, (server.ip(), port));
        }
        let wait = download.deadline().since(now()).as_duration().max(Duration::from_millis(1));
        socket.set_read_timeout(Some(wait)).unwrap();
        let progress = match socket.recv_from(&mut buffer) {
            Ok((length, peer)) => {
                download.on_datagram(&buffer[..length], peer.port(), now(), &mut out)
            }
            Err(_) => download.on_timeout(now(), &mut out),
        };
        if let Progress::Finished(outcome) = progress {
            if let (false, Some(port)) = (out.is_empty(), download.peer_port()) {
                socket.send_to(&out, (server.ip(), port)).unwrap();
            }
            return match outcome {
                DownloadOutcome::Complete(bytes) => Ok(bytes),
                other => Err(format!("{other:?}")),
            };
        }
    }
}

/// Waits until a TFTP server on this host serves `file`.
pub fn until_served(server: SocketAddr, file: &str) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(fault) = fetch(server, file, Span::from_millis(100)) {
        assert!(Instant::now() < deadline, "{server} does not serve {file}: {fault}");
    }
}

/// A network namespace of the test's own, with its loopback up.
pub struct Namespace(String);

impl Namespace {
    /// Makes one whose name ends in `what`.
    pub fn new(what: &str) -> Namespace {
        let name = format!("resetstorm-{}-{what}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]));
        let namespace = Namespace(name);
        run(namespace.command("ip").args(["link", "set", "lo", "up"]));
        namespace
    }

    /// A program inside.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0]).arg(program);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // What is left of it goes with the machine.
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// Addresses as `--target` wants them.
pub fn tftp_target(ip: impl Into<IpAddr>, port: u16) -> String {
    format!("tftp={}", SocketAddr::new(ip.into(), port))
}

/// `summary.json` of the newest run in `out`.
pub fn summary(out: &Path) -> Value {
    let path = out.join("latest/summary.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}
