//! `resetstorm admin` on the socket of a running `serve`: the same texts and effects as in a scenario,
//! for its owner only, and safe from whatever is sent.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_resetstorm");

/// A scenario of one node with ports of the system.
const SCENARIO: &str = "schema=1\nname='lab'\n[cluster]\nrelease='10.5'\n\
    [[cluster.node]]\nname='pub'\nports={tftp=0,tvs=0}\nservices=['callmanager','capf','tftp','tvs']\n\
    [fleet]\nphones=3\nstart='itl-current'\n";

const FAR: Duration = Duration::from_secs(30);

struct Serve {
    child: Child,
    folder: tempfile::TempDir,
    bound: Value,
}

impl Serve {
    fn start() -> Serve {
        Serve::with(|_, _| ())
    }

    /// Serves with what `more` does to the folder and the command.
    fn with(more: impl FnOnce(&Path, &mut Command)) -> Serve {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("lab.toml"), SCENARIO).unwrap();
        let mut command = serve(folder.path());
        more(folder.path(), &mut command);
        let child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut serve = Serve { child, folder, bound: Value::Null };
        serve.bound = serve.document();
        serve
    }

    /// What it prints when it listens.
    fn document(&mut self) -> Value {
        let mut document = String::new();
        for line in BufReader::new(self.child.stdout.as_mut().unwrap()).lines() {
            document += &line.unwrap();
            if let Ok(bound) = serde_json::from_str(&document) {
                return bound;
            }
        }
        panic!("serve has ended: {document}");
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn socket(&self) -> PathBuf {
        self.state().join("admin.sock")
    }

    fn connect(&self) -> BufReader<UnixStream> {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(FAR)).unwrap();
        BufReader::new(stream)
    }

    fn end(mut self) -> tempfile::TempDir {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "told to end");
        self.folder
    }
}

fn serve(folder: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--quiet", "--format", "json", "--state"]);
    command.arg(folder.join("state")).arg(folder.join("lab.toml")).stdin(Stdio::null());
    command
}

/// Types lines at the console of `place`.
fn admin(place: &Path, lines: &[&str]) -> Output {
    let mut child = Command::new(PROGRAM)
        .arg("admin")
        .arg(place)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A console that is over reads no more.
    let _ = child.stdin.take().unwrap().write_all((lines.join("\n") + "\n").as_bytes());
    child.wait_with_output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn files_of_a_folder_are_served_beside_those_of_the_cluster() {
    let serve = Serve::with(|folder, command| {
        fs::create_dir_all(folder.join("uploads/load")).unwrap();
        fs::write(folder.join("uploads/load/sip88xx.bin"), vec![7; 1_000_000]).unwrap();
        command.arg("--files").arg(folder.join("uploads"));
    });
    let server = format!("127.0.0.1:{}", serve.bound["nodes"][0]["tftp"].as_u64().unwrap());
    let image = serve.folder.path().join("image");
    let mut get = Command::new(PROGRAM);
    get.args(["tftp", "get", &server, "load/sip88xx.bin", "--out"]).arg(&image);
    let fetched = get.output().unwrap();
    assert_eq!(fetched.status.code(), Some(0), "{fetched:?}");
    assert!(fs::read(&image).unwrap() == vec![7; 1_000_000]);
    let folder = serve.end();
    let mut command = self::serve(folder.path());
    let refused = command.arg("--files").arg(folder.path().join("none")).output().unwrap();
    assert_eq!(refused.status.code(), Some(4));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("none: ") && said.contains("check that the folder is there"), "{said}");
}

#[test]
fn a_session_prints_what_the_same_lines_print_in_a_scenario_and_does_the_same() {
    let lines = [
        "set cert regen TVS",
        "yes",
        "utils service restart Cisco Trust Verification Service",
        "utils ctl set-cluster mixed-mode",
        "y",
        "run sql select paramname,paramvalue from processconfig where paramname='ClusterSecurityMode'",
        "run sql select name, tkmodel from device",
        "utils itl reset localkey",
        "secret",
        "set cert delete CAPF Cisco_Manufacturing_CA.pem",
        "set cert regen tomcat",
        "yes",
        "utils service restart Cisco Tomcat",
        "show cert trust Cisco_Root_CA_M2.pem",
        "file list activelog syslog/",
        "file view activelog syslog/CiscoSyslog",
        "utils service stop Cisco Tftp",
        "utils service list",
    ];
    let serve = Serve::start();
    let certificate = serve.state().join("pub/TVS.pem");
    let before = fs::read(&certificate).unwrap();
    let served = admin(&serve.state(), &lines);
    assert_eq!(served.status.code(), Some(0));
    assert_ne!(fs::read(&certificate).unwrap(), before, "the new one is kept");
    assert!(stdout(&served).contains("\nClusterSecurityMode 1\n"), "{}", stdout(&served));
    let port = serve.bound["nodes"][0]["tftp"].as_u64().unwrap();
    let get = ["tftp", "get", &format!("127.0.0.1:{port}"), "ITLFile.tlv", "--timeout", "200ms"];
    let fetched = Command::new(PROGRAM).args(get).args(["--tries", "1"]).output().unwrap();
    assert_eq!(fetched.status.code(), Some(4), "TFTP has stopped: {fetched:?}");
    let notes = String::from_utf8_lossy(&served.stderr);
    for note in ["note: regenerate TVS on pub\n", "note: tftp on pub has stopped\n"] {
        assert!(notes.contains(note), "{notes}");
    }

    let folder = serve.end();
    let quoted: Vec<String> = lines.iter().map(|line| format!("{line:?}")).collect();
    let event = format!("[[event]]\nat='1s'\nconsole=[{}]\n", quoted.join(","));
    let scenario = folder.path().join("typed.toml");
    fs::write(&scenario, SCENARIO.to_owned() + &event).unwrap();
    let out = folder.path().join("runs");
    let mut sim = Command::new(PROGRAM);
    sim.args(["sim", "--quiet", "--out"]).arg(&out).arg(&scenario).output().unwrap();
    let transcript = fs::read_to_string(out.join("latest/console-pub.log")).unwrap();
    assert_eq!(stdout(&served), transcript);
    let scenario = folder.path().join("lab.toml");
    assert_eq!(stdout(&admin(&scenario, &lines)), transcript, "a cluster in memory");
}

#[test]
fn the_socket_is_its_owners_and_gone_at_the_end() {
    let serve = Serve::start();
    let socket = serve.socket();
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let second = self::serve(serve.folder.path()).output().unwrap();
    let error = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(4), "{error}");
    assert!(error.contains("cannot open the console"), "{error}");
    let folder = serve.end();
    assert!(!socket.exists());
    let gone = admin(&folder.path().join("state"), &["show itl"]);
    assert_eq!(gone.status.code(), Some(2), "{gone:?}");
    assert!(String::from_utf8_lossy(&gone.stderr).contains("nobody serves from this folder"));
}

#[test]
fn a_socket_that_a_killed_serve_has_left_gives_way() {
    let mut serve = Serve::start();
    serve.child.kill().unwrap();
    serve.child.wait().unwrap();
    assert!(serve.socket().exists());
    let mut child = self::serve(serve.folder.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    let listed = admin(&serve.state(), &["show cert list own"]);
    assert!(stdout(&listed).contains("\nTVS/TVS.pem: "), "{listed:?}");
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    child.wait().unwrap();
}

#[test]
fn whatever_is_sent_the_console_answers_and_serves_the_next_one() {
    let serve = Serve::start();
    let mut bytes: Vec<u8> = (0..=255).filter(|byte| *byte != b'\n').collect();
    bytes.push(b'\n');
    let mut session = serve.connect();
    ask(&mut session, b"pub\n");
    let reply = ask(&mut session, &bytes);
    assert_eq!(reply["is_refused"], true, "{reply}");
    assert!(!reply["text"].as_str().unwrap().contains('\u{1b}'), "{reply}");
    let reply = ask(&mut session, &[b'a'; 5_000]);
    assert_eq!(
        (&reply["is_over"], &reply["text"]),
        (&true.into(), &"the line is too long\n".into())
    );
    let mut stranger = serve.connect();
    let reply = ask(&mut stranger, b"nobody\n");
    assert_eq!(reply["text"], "there is no node `nobody`; nodes: pub\n");
    for mut over in [session, stranger] {
        // What was not read resets the connection: it is over, too.
        let _ = over.read_to_end(&mut Vec::new());
    }
    let mut all: Vec<_> = (0..8).map(|_| serve.connect()).collect();
    for session in &mut all {
        assert_eq!(ask(session, b"\n")["prompt"], "admin:");
    }
    let mut ninth = String::new();
    serve.connect().read_line(&mut ninth).unwrap();
    assert!(ninth.contains("too many sessions"), "{ninth}");
    assert_eq!(ask(&mut all[7], b"exit\n")["is_over"], true);
    drop(all);
    serve.end();
}

/// Sends bytes and reads the reply.
fn ask(session: &mut BufReader<UnixStream>, bytes: &[u8]) -> Value {
    session.get_mut().write_all(bytes).unwrap();
    let mut line = String::new();
    session.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn a_script_learns_that_a_line_was_refused() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("lab.toml");
    fs::write(&scenario, SCENARIO).unwrap();
    let refused = admin(&scenario, &["shoe itl", "show itl", "exit", "show ctl"]);
    assert_eq!(refused.status.code(), Some(1));
    let text = stdout(&refused);
    assert!(text.starts_with("admin:shoe itl\nExecuted command unsuccessfully\n"), "{text}");
    assert!(text.ends_with("\nThe ITL file was verified successfully.\nadmin:exit\n"), "{text}");
    let mut unknown = Command::new(PROGRAM);
    unknown.arg("admin").arg(&scenario).args(["--node", "nobody"]).stdin(Stdio::null());
    assert_eq!(unknown.output().unwrap().status.code(), Some(2));
}

#[test]
fn the_session_of_the_guide_is_what_is_printed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("src/cli/guide/console.md")).unwrap();
    let session = readme.split("$ resetstorm admin ").nth(1).unwrap();
    let (scenario, screen) = session.split("```").next().unwrap().split_once('\n').unwrap();
    let typed = |line: &str| {
        let answer = line.split_once("(yes|no)? ").map(|(_, answer)| answer.to_owned());
        answer.or_else(|| line.strip_prefix("admin:").map(str::to_owned))
    };
    let lines: Vec<String> = screen.lines().filter_map(typed).collect();
    assert!(lines.len() >= 4, "{lines:?}");
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(stdout(&admin(&root.join(scenario), &lines)), screen);
    let serve = Serve::start();
    let folder = serve.folder.path();
    fs::rename(serve.state(), folder.join("lab")).unwrap();
    let commands = readme.lines().filter_map(|line| line.strip_prefix("resetstorm admin lab"));
    let commands: Vec<&str> = commands.collect();
    assert!(commands.len() >= 2, "{commands:?}");
    for rest in commands {
        let mut command = Command::new(PROGRAM);
        command.current_dir(folder).args(["admin", "lab"]).args(rest.split_whitespace());
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{rest}: {output:?}");
    }
    serve.end();
}
