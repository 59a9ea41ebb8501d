//! The state of a cluster in its database: it comes back as it was, whole after any kill, and answers
//! `run sql` with CUCM's tables and nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use resetstorm::base::{ClusterId, NodeId, Purpose, Span, Time, stream};
use resetstorm::cluster::operator::certificates::{
    DeleteCertificate, Import, Regenerate, RenewPeer,
};
use resetstorm::cluster::operator::ctl::UpdateCtl;
use resetstorm::cluster::operator::parameters::{Parameter, SetParameter};
use resetstorm::cluster::operator::recovery::{BackUp, Rebuild, Restore};
use resetstorm::cluster::operator::requests::RequestCertificate;
use resetstorm::cluster::{
    CertificateKind, Cluster, FileSignature, Genesis, Operation, SecurityMode, Stored, TrustStore,
};
use resetstorm::console::{Session, Sql, View};
use resetstorm::crypto::{Certificate, KeySource, sha256};
use resetstorm::listing::{hex, upper_hex};
use resetstorm::scenario::{Plan, load};
use resetstorm::vault::{self, KeptSql, MemorySql};

const PUB: NodeId = ClusterId::FIRST.node(0);
const SUB: NodeId = ClusterId::FIRST.node(1);

/// The query of the documents (CLI-13), as it stands there.
const DOCUMENTED: &str = "run sql select c.subjectname, c.serialnumber, c.ipv4address, t.name from \
    certificate as c, certificatetrustrolemap as r, typetrustrole as t where c.pkid = \
    r.fkcertificate and t.enum = r.tktrustrole";

/// What it prints of the cluster of these tests.
const GOLDEN: &str = "\
subjectname                                                     serialnumber                     ipv4address name
=============================================================== ================================ =========== ===================================
CN=pub,OU=TAC,O=resetstorm,L=Lab,ST=Simulation,C=US             6146fad5a3ca5d8762138bab31084989 127.0.0.1   System Administrator Security Token
CN=pub,OU=TAC,O=resetstorm,L=Lab,ST=Simulation,C=US             6146fad5a3ca5d8762138bab31084989 127.0.0.1   TFTP
CN=pub,OU=TAC,O=resetstorm,L=Lab,ST=Simulation,C=US             6146fad5a3ca5d8762138bab31084989 127.0.0.1   Authentication and Authorization
CN=CAPF-5cbf80d4,OU=TAC,O=resetstorm,L=Lab,ST=Simulation,C=US   430381193e59ddac8cc9816ee8946513 127.0.0.1   CAPF
CN=ITLRECOVERY_pub,OU=TAC,O=resetstorm,L=Lab,ST=Simulation,C=US 62b048467805c5945bca74f9d0db8e99 127.0.0.1   System Administrator Security Token
CN=pub,OU=TAC,O=resetstorm,L=Lab,ST=Simulation,C=US             55abfb77524f65057e59a21d5055c448 127.0.0.1   Authentication and Authorization
CN=pub,OU=TAC,O=resetstorm,L=Lab,ST=Simulation,C=US             40d2dad4975b78067e4060ebbf9e1aae 127.0.0.1   APPLICATION_SERVER
CN=pub,OU=TAC,O=resetstorm,L=Lab,ST=Simulation,C=US             70c431f1823c1ea52d2ee23b5e84a550 127.0.0.1   APPLICATION_SERVER
CN=sub,OU=TAC,O=resetstorm,L=Lab,ST=Simulation,C=US             4261a00f05277043fb0ae556d5dfdb62 127.0.0.2   System Administrator Security Token
CN=sub,OU=TAC,O=resetstorm,L=Lab,ST=Simulation,C=US             4261a00f05277043fb0ae556d5dfdb62 127.0.0.2   TFTP
CN=sub,OU=TAC,O=resetstorm,L=Lab,ST=Simulation,C=US             4261a00f05277043fb0ae556d5dfdb62 127.0.0.2   Authentication and Authorization
CN=CAPF-8752ed82,OU=TAC,O=resetstorm,L=Lab,ST=Simulation,C=US   7ae6208a67bd8b1c1002ad19b752ede1 127.0.0.2   CAPF
CN=sub,OU=TAC,O=resetstorm,L=Lab,ST=Simulation,C=US             52a22150fb0f39f259fc1f2428890999 127.0.0.2   Authentication and Authorization
CN=sub,OU=TAC,O=resetstorm,L=Lab,ST=Simulation,C=US             6182e802dfd1a73ecbb5efae9a32194d 127.0.0.2   APPLICATION_SERVER
CN=sub,OU=TAC,O=resetstorm,L=Lab,ST=Simulation,C=US             7f312792cc820917e673c6c9c33c9253 127.0.0.2   APPLICATION_SERVER
CN=CAP-RTP-001,O=Cisco Systems                                  5ff87b282b54dc8d42a315b568c90000 127.0.0.1   CAPF
CN=CAP-RTP-002,O=Cisco Systems                                  5ff87b282b54dc8d42a315b568c90001 127.0.0.1   CAPF
CN=Cisco Root CA 2048,O=Cisco Systems                           5ff87b282b54dc8d42a315b568c90002 127.0.0.1   CAPF
CN=Cisco Root CA M2,O=Cisco                                     5ff87b282b54dc8d42a315b568c90003 127.0.0.1   CAPF
CN=ACT2 SUDI CA,O=Cisco                                         5ff87b282b54dc8d42a315b568c90004 127.0.0.1   CAPF
CN=Cisco Manufacturing CA,O=Cisco Systems                       5ff87b282b54dc8d42a315b568c90005 127.0.0.1   CAPF
CN=Cisco Manufacturing CA SHA2,O=Cisco                          5ff87b282b54dc8d42a315b568c90006 127.0.0.1   CAPF
";

fn plan(settings: &str) -> Plan {
    let release = if settings.contains("release=") { "" } else { "release='10.5'" };
    let text = format!(
        "schema=1\nname='state'\nseed=7\n[cluster]\n{release}\n{settings}\n\
         [[cluster.node]]\nname='pub'\n[[cluster.node]]\nname='sub'\naddress='127.0.0.2'\n\
         [fleet]\nphones=6\nmodels={{8845=0.5,7965=0.5}}\n"
    );
    load(Path::new("state.toml"), &text, &[], &[]).unwrap()
}

fn cluster(settings: &str, stored: Stored) -> Cluster {
    let plan = plan(settings);
    Cluster::new(Genesis {
        topology: plan.topology.clone(),
        fleet: plan.fleet_spec(),
        source: KeySource::bank(7),
        epoch_s: 1_311_776_184,
        stored,
    })
}

fn fresh(settings: &str) -> Cluster {
    cluster(settings, Stored::default())
}

/// The cluster that another run finds below `dir`.
fn resumed(dir: &Path, settings: &str) -> Cluster {
    let stored = vault::load_cluster(dir, &plan(settings).topology).unwrap();
    cluster(settings, stored)
}

fn act(cluster: &mut Cluster, action: &dyn Operation) {
    cluster.apply(action, Time::ZERO).unwrap();
}

fn set(parameter: Parameter) -> SetParameter {
    SetParameter { parameter, spread: Span::ZERO }
}

/// All that must come back: certificates with their keys, what is trusted and why, the CTL, tokens,
/// requests and settings.
fn image(cluster: &Cluster) -> BTreeMap<String, String> {
    let own = cluster.stores().identities().map(|(node, kind, own)| {
        (format!("own {} {}", node.node, kind.name()), own.certificate().to_pem() + &own.key_pem())
    });
    let trust = cluster.stores().settled().enumerate().map(|(at, (store, certificate, source))| {
        (format!("trust {at}"), format!("{store:?} {source:?} {}", certificate.to_pem()))
    });
    let tokens = cluster.etokens().map(|(name, token)| {
        (format!("token {name}"), token.certificate.to_pem() + &token.key.to_pem())
    });
    let requests = cluster
        .requests()
        .map(|(node, kind, key)| (format!("request {} {}", node.node, kind.name()), key.to_pem()));
    let authorities = cluster.authorities().map(|(name, authority)| {
        (format!("authority {name}"), authority.certificate.to_pem() + &authority.key.to_pem())
    });
    let peers = cluster.peers().iter().map(|(name, presented)| {
        let all: String = presented.iter().map(Certificate::to_pem).collect();
        (format!("peer {name}"), all)
    });
    let ctl = cluster.ctl().map(|ctl| ("ctl".to_owned(), format!("{:?}", ctl.bytes())));
    let set = ("set".to_owned(), format!("{:?}", cluster.settings().set));
    let recorded = cluster
        .mismatches()
        .into_iter()
        .map(|mismatch| (format!("recorded {}", mismatch.node.node), mismatch.recorded.to_pem()));
    let all = own
        .chain(recorded)
        .chain(trust)
        .chain(tokens)
        .chain(requests)
        .chain(authorities)
        .chain(peers)
        .chain(ctl);
    all.chain([set]).map(|(name, value)| (name, hex(&sha256(value.as_bytes())[..8]))).collect()
}

#[test]
fn everything_comes_back_that_an_administrator_has_done() {
    const TOKENS: &str = "security-mode='mixed'\netokens=['SAST-1','SAST-2']";
    let mut first = fresh(TOKENS);
    let import = Import {
        certificate: CertificateKind::CallManager,
        nodes: vec![PUB, SUB],
        issuer: "Lab Root".into(),
        intermediate: Some("Lab Issuing".into()),
        valid: Span::from_secs(86_400 * 365),
        only: None,
    };
    act(&mut first, &import);
    act(&mut first, &RenewPeer::by_itself("asa", Span::from_secs(86_400)));
    let issued = RenewPeer {
        issuer: Some("Public Root".into()),
        intermediate: Some("Public Issuing".into()),
        ..RenewPeer::by_itself("sbc", Span::from_secs(86_400))
    };
    act(&mut first, &issued);
    act(&mut first, &RequestCertificate { certificate: CertificateKind::Tomcat, node: SUB });
    act(&mut first, &Regenerate { certificate: CertificateKind::Capf, node: PUB });
    act(
        &mut first,
        &DeleteCertificate { node: PUB, store: TrustStore::Capf, name: "CAP-RTP-001".into() },
    );
    act(
        &mut first,
        &UpdateCtl { method: None, token: Some("SAST-2".into()), is_password_known: true },
    );
    act(&mut first, &set(Parameter::Rollback(true)));
    act(&mut first, &set(Parameter::FileSignature(FileSignature::Sha512)));
    let dir = tempfile::tempdir().unwrap();
    vault::save_cluster(dir.path(), &first).unwrap();
    let second = resumed(dir.path(), TOKENS);
    assert_eq!(image(&second), image(&first));
    assert_eq!([second.presented_by("asa").len(), second.presented_by("sbc").len()], [1, 2]);
    assert!(
        second.is_prepared_for_rollback()
            && second.certificate_request(SUB, CertificateKind::Tomcat).is_some()
    );
    assert_eq!(second.stores().sharing(PUB, CertificateKind::CallManager), [PUB, SUB]);
    vault::save_cluster(dir.path(), &second).unwrap();
    assert_eq!(image(&resumed(dir.path(), TOKENS)), image(&first), "nothing grows or fades");
}

#[test]
fn what_was_set_stays_until_the_scenario_says_something_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = fresh("");
    act(&mut first, &set(Parameter::SecurityMode(SecurityMode::Mixed)));
    let ctl = first.ctl().unwrap().bytes().clone();
    vault::save_cluster(dir.path(), &first).unwrap();
    let mut second = resumed(dir.path(), "");
    assert_eq!(
        (second.security_mode(), second.ctl().unwrap().bytes()),
        (SecurityMode::Mixed, &ctl)
    );
    act(&mut second, &set(Parameter::SecurityMode(SecurityMode::NonSecure)));
    let blank = second.ctl().unwrap().bytes().clone();
    vault::save_cluster(dir.path(), &second).unwrap();
    let third = resumed(dir.path(), "");
    assert_eq!(third.security_mode(), SecurityMode::NonSecure);
    assert_eq!(third.ctl().unwrap().bytes(), &blank, "the CTL stays when mixed mode is left");
    let fourth = resumed(dir.path(), "security-mode='mixed'");
    assert_eq!(fourth.security_mode(), SecurityMode::Mixed, "as the scenario says now");
}

#[test]
fn a_directory_of_pem_files_is_taken_over_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = fresh("");
    act(&mut first, &Regenerate { certificate: CertificateKind::CallManager, node: SUB });
    let mut trust = String::new();
    for (node, kind, own) in first.stores().identities() {
        let folder = dir.path().join(&first.topology().node(node).name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{}.pem", kind.name())), own.certificate().to_pem()).unwrap();
        fs::write(folder.join(format!("{}.key", kind.name())), own.key_pem()).unwrap();
        if kind == CertificateKind::Tomcat {
            let name = &first.topology().node(node).name;
            trust += &format!("tomcat-trust copy tomcat {name}\n{}", own.certificate().to_pem());
        }
    }
    fs::write(dir.path().join("trust.pem"), trust.replacen("tomcat-trust", "cat-trust", 1))
        .unwrap();
    let error = vault::load_cluster(dir.path(), first.topology()).unwrap_err().to_string();
    assert!(error.contains("does not say where a certificate belongs"), "{error}");
    fs::write(dir.path().join("trust.pem"), &trust).unwrap();
    let second = resumed(dir.path(), "");
    let own = |cluster: &Cluster| {
        let all = cluster.stores().identities();
        all.map(|(_, _, own)| own.key_pem()).collect::<Vec<_>>()
    };
    assert_eq!(own(&second), own(&first));
    assert_eq!(second.stores().settled().count(), 2);
    vault::save_cluster(dir.path(), &second).unwrap();
    assert!(!dir.path().join("trust.pem").exists() && !dir.path().join("sub/TVS.key").exists());
    fs::write(dir.path().join("sub/TVS.pem"), "a copy that nobody reads").unwrap();
    assert_eq!(image(&resumed(dir.path(), "")), image(&second));
    // A key that was left by a kill in the middle goes; another one is nobody's to choose.
    let key = dir.path().join("sub/TVS.key");
    let tvs = first.stores().own(SUB, CertificateKind::Tvs).unwrap();
    fs::write(&key, tvs.key_pem()).unwrap();
    assert_eq!(image(&resumed(dir.path(), "")), image(&second));
    assert!(!key.exists());
    fs::write(&key, "a key of my own").unwrap();
    let error = vault::load_cluster(dir.path(), first.topology()).unwrap_err().to_string();
    assert!(error.contains("sub/TVS.key is another key than that in cluster.db"), "{error}");
    fs::remove_file(&key).unwrap();
    // Without its database it is a directory of copies, and the cluster is a new one.
    fs::remove_file(dir.path().join("cluster.db")).unwrap();
    assert!(vault::load_cluster(dir.path(), first.topology()).unwrap().own.is_empty());
}

#[test]
fn a_database_that_cannot_be_used_is_named_with_what_helps() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cluster.db");
    let topology = plan("").topology;
    let error = || vault::load_cluster(dir.path(), &topology).unwrap_err().to_string();
    fs::write(&file, "certainly no database, but a text that is long enough to be one".repeat(20))
        .unwrap();
    assert!(error().contains("cluster.db") && error().contains("take it away"), "{}", error());
    fs::remove_file(&file).unwrap();
    vault::save_cluster(dir.path(), &fresh("")).unwrap();
    let whole = fs::read(&file).unwrap();
    // The layout (user_version) of a later program.
    fs::write(&file, [&whole[..60], &[0, 0, 0, 9], &whole[64..]].concat()).unwrap();
    assert!(error().contains("of a later version of resetstorm"), "{}", error());
    fs::write(&file, [&whole[..68], b"else", &whole[72..]].concat()).unwrap();
    assert!(error().contains("no database of resetstorm"), "{}", error());
    // A damaged key is found when it is read.
    let at = whole.windows(27).position(|bytes| bytes == b"-----BEGIN PRIVATE KEY-----").unwrap();
    let mut damaged = whole.clone();
    damaged[at + 40..at + 60].fill(b'!');
    fs::write(&file, damaged).unwrap();
    assert!(error().contains("cannot use the key of "), "{}", error());
    fs::write(&file, &whole[..4_096]).unwrap();
    assert!(error().contains("cluster.db"), "{}", error());
    fs::write(&file, whole).unwrap();
    vault::load_cluster(dir.path(), &topology).unwrap();
}

#[test]
fn a_database_of_an_earlier_version_opens_and_gets_the_layout_of_today() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = fresh("");
    act(&mut cluster, &RenewPeer::by_itself("asa", Span::from_secs(86_400)));
    vault::save_cluster(dir.path(), &cluster).unwrap();
    let whole = image(&cluster);
    let without_peers: BTreeMap<_, _> =
        whole.iter().filter(|(name, _)| !name.starts_with("peer")).collect();
    let layout = |sql: &str| {
        let database = rusqlite::Connection::open(dir.path().join("cluster.db")).unwrap();
        database.execute_batch(sql).unwrap();
        database.pragma_query_value(None, "user_version", |row| row.get::<_, i32>(0)).unwrap()
    };
    // The layout before there were other servers in it.
    assert_eq!(layout("DROP TABLE peer; PRAGMA user_version = 1;"), 1);
    let earlier = resumed(dir.path(), "");
    assert_eq!(image(&earlier).iter().collect::<BTreeMap<_, _>>(), without_peers);
    assert_eq!(layout(""), 1, "reading changes nothing");
    vault::save_cluster(dir.path(), &cluster).unwrap();
    assert_eq!(layout(""), 2);
    assert_eq!(image(&resumed(dir.path(), "")), whole);
}

// ---- kills ----

/// Two states of a cluster that a child saves in turns.
fn two_states() -> [Cluster; 2] {
    let (first, mut second) = (fresh("security-mode='mixed'"), fresh("security-mode='mixed'"));
    for node in [PUB, SUB] {
        for certificate in
            [CertificateKind::CallManager, CertificateKind::Tvs, CertificateKind::Capf]
        {
            act(&mut second, &Regenerate { certificate, node });
        }
    }
    act(&mut second, &UpdateCtl { method: None, token: None, is_password_known: true });
    act(&mut second, &set(Parameter::Rollback(true)));
    [first, second]
}

/// Runs as a child of the test below, which kills it.
#[test]
#[ignore = "saves until it is killed"]
fn child_saves_for_ever() {
    let dir = std::env::var_os("RESETSTORM_STATE").expect("the parent names a directory");
    let states = two_states();
    vault::save_cluster(dir.as_ref(), &states[0]).unwrap();
    println!("\nsaved");
    for state in states.iter().cycle() {
        vault::save_cluster(dir.as_ref(), state).unwrap();
    }
}

fn start_child(dir: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "state::child_saves_for_ever", "--ignored", "--nocapture"])
        .env("RESETSTORM_STATE", dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "saved"), "the child saves");
    child
}

/// Kills (SIGKILL) after this time: the moment itself, not a wait for anything.
fn kill_after(mut child: Child, after: Duration) {
    let at = Instant::now() + after;
    while Instant::now() < at {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

#[test]
fn a_hundred_kills_leave_the_state_before_or_after_and_never_between() {
    let dir = tempfile::tempdir().unwrap();
    let images = two_states().map(|state| image(&state));
    assert_ne!(images[0], images[1]);
    let mut draws = stream(13, 0, Purpose::Load);
    let (mut seen, mut journals) = ([0; 2], 0);
    for kill in 0..100 {
        kill_after(start_child(dir.path()), Duration::from_micros(draws.next_u64() % 150_000));
        journals += usize::from(dir.path().join("cluster.db-journal").exists());
        let found = image(&resumed(dir.path(), "security-mode='mixed'"));
        let which = images.iter().position(|image| *image == found);
        seen[which.unwrap_or_else(|| panic!("kill {kill}: neither of the two: {found:#?}"))] += 1;
    }
    println!("found {seen:?}, {journals} journals were played back");
    assert!(seen.iter().all(|&count| count > 0), "{seen:?}");
    assert!(journals > 0, "some kills hit a transaction");
}

/// `serve --state` of one node, its folder kept by the test.
fn serve(folder: &Path) -> Child {
    let scenario = folder.join("lab.toml");
    let text = "schema=1\nname='lab'\n[cluster]\nrelease='10.5'\n[[cluster.node]]\nname='pub'\n\
        ports={tftp=0,tvs=0}\n[fleet]\nphones=1\n";
    fs::write(&scenario, text).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_resetstorm"))
        .args(["serve", "--quiet", "--format", "json", "--state"])
        .arg(folder.join("state"))
        .arg(scenario)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().is_some_and(|line| line.is_ok()), "it listens");
    child
}

#[test]
fn a_server_that_is_killed_while_it_regenerates_has_the_old_certificate_or_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let topology = {
        let text = "schema=1\nname='lab'\n[[cluster.node]]\nname='pub'\n[fleet]\nphones=1\n";
        load(Path::new("lab.toml"), text, &[], &[]).unwrap().topology
    };
    let kept = || {
        let stored = vault::load_cluster(&state, &topology).unwrap();
        let own = &stored.own[&(PUB, CertificateKind::CallManager)];
        (own.certificate().clone(), stored.trust.unwrap())
    };
    let mut draws = stream(14, 0, Purpose::Load);
    let mut changed = 0;
    for round in 0..12 {
        let child = serve(folder.path());
        let (before, _) = kept();
        let mut socket = UnixStream::connect(state.join("admin.sock")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        socket.write_all(b"pub\nset cert regen CallManager\nyes\n").unwrap();
        let mut replies = BufReader::new(socket).lines();
        // The second reply is the question: from here on it makes a key and saves.
        assert!(replies.by_ref().take(2).all(|reply| reply.is_ok()));
        if round % 4 == 0 {
            assert!(replies.next().unwrap().unwrap().contains("Successfully Regenerated"));
        }
        kill_after(child, Duration::from_micros(draws.next_u64() % 400_000));
        let (after, trust) = kept();
        let copies = trust.iter().filter(|(store, certificate, _)| {
            *store == TrustStore::CallManager && *certificate == after
        });
        assert_eq!(copies.count(), 1, "round {round}: the copy of what the node presents");
        assert!(round % 4 > 0 || after != before, "what was answered is kept");
        changed += usize::from(after != before);
    }
    println!("{changed} of 12 kills came after the change");
}

// ---- run sql ----

fn screen(cluster: &Cluster, sql: &dyn Sql, line: &str) -> (String, bool) {
    let view = View { sql: Some(sql), ..View::of(cluster, Time::ZERO) };
    let answer = Session::new(PUB).line(line, &view);
    assert!(answer.action.is_none());
    (answer.text, answer.is_refused)
}

#[test]
fn the_documented_query_prints_each_certificate_with_its_roles() {
    let cluster = fresh("");
    let (text, is_refused) = screen(&cluster, &MemorySql, DOCUMENTED);
    assert!(!is_refused);
    assert_eq!(text, GOLDEN);
    let dir = tempfile::tempdir().unwrap();
    vault::save_cluster(dir.path(), &cluster).unwrap();
    let kept = KeptSql { dir: dir.path().to_owned() };
    assert_eq!(screen(&cluster, &kept, DOCUMENTED).0, GOLDEN, "the same from the file");
}

/// BKP-06: the CallManager.pem of role "Authentication and Authorization" is the one of the page,
/// and whoever compares it with `show itl` sees a list that is stale.
#[test]
fn the_callmanager_certificate_of_the_page_is_the_one_of_its_role_in_the_database() {
    let mut cluster = fresh("");
    let serial_of = |cluster: &Cluster| {
        let own = cluster.stores().own(PUB, CertificateKind::CallManager).unwrap();
        own.certificate().serial().to_vec()
    };
    let diagnosis = |cluster: &Cluster, serial: &[u8]| {
        let (rows, _) = screen(cluster, &MemorySql, DOCUMENTED);
        let (itl, _) = screen(cluster, &MemorySql, "show itl");
        let role = "Authentication and Authorization";
        let is_it = |line: &&str| line.contains(&hex(serial)) && line.ends_with(role);
        (rows.lines().filter(is_it).count(), itl.contains(&upper_hex(serial, ":")))
    };
    let old = serial_of(&cluster);
    assert_eq!(diagnosis(&cluster, &old), (1, true));
    act(&mut cluster, &Regenerate { certificate: CertificateKind::CallManager, node: PUB });
    let new = serial_of(&cluster);
    assert_eq!(diagnosis(&cluster, &new), (1, false), "until TFTP restarts");
    assert_eq!(diagnosis(&cluster, &old), (0, true));
}

/// BKP-06, BKP-05: a restore without certificates leaves the database with another one.
#[test]
fn after_a_restore_without_certificates_role_and_page_differ_and_the_next_run_knows() {
    const DEFECT: &str = "release='8.6'\n[[cluster.fault]]\nid='CSCtn50405'";
    let mut cluster = fresh(DEFECT);
    let of_page = |cluster: &Cluster| {
        let own = cluster.stores().own(PUB, CertificateKind::CallManager).unwrap();
        hex(own.certificate().serial())
    };
    let of_role = |cluster: &Cluster, sql: &dyn Sql, serial: &str| {
        let (text, _) = screen(cluster, sql, DOCUMENTED);
        let is_it = |line: &&str| {
            line.contains(serial) && line.ends_with("Authentication and Authorization")
        };
        text.lines().filter(is_it).count()
    };
    let old = of_page(&cluster);
    act(&mut cluster, &BackUp);
    act(&mut cluster, &Rebuild { node: PUB });
    act(&mut cluster, &Restore { node: PUB, from: None });
    let new = of_page(&cluster);
    assert_ne!(new, old);
    let dir = tempfile::tempdir().unwrap();
    vault::save_cluster(dir.path(), &cluster).unwrap();
    let kept = KeptSql { dir: dir.path().to_owned() };
    for sql in [&kept as &dyn Sql, &MemorySql] {
        let found = [&old, &new].map(|serial| of_role(&cluster, sql, serial));
        assert_eq!(found, [1, 0], "the role is that of the backup, the page has the new one");
    }
    let mut later = resumed(dir.path(), DEFECT);
    assert_eq!(image(&later), image(&cluster));
    act(&mut later, &Regenerate { certificate: CertificateKind::CallManager, node: PUB });
    assert_eq!(of_role(&later, &MemorySql, &of_page(&later)), 1, "a new one mends it");
}

#[test]
fn other_tables_have_cucms_names_and_follow_the_cluster() {
    let mut cluster = fresh("");
    let dir = tempfile::tempdir().unwrap();
    vault::save_cluster(dir.path(), &cluster).unwrap();
    let kept = KeptSql { dir: dir.path().to_owned() };
    let mode = "run sql select paramname,paramvalue from processconfig where \
        paramname='ClusterSecurityMode'";
    let shown = |value: u8| {
        format!(
            "paramname           paramvalue\n=================== ==========\n\
                 ClusterSecurityMode {value}\n"
        )
    };
    assert_eq!(screen(&cluster, &kept, mode), (shown(0), false));
    act(&mut cluster, &set(Parameter::SecurityMode(SecurityMode::Mixed)));
    act(&mut cluster, &set(Parameter::Rollback(true)));
    vault::save_cluster(dir.path(), &cluster).unwrap();
    let rows = [
        (mode, shown(1)),
        (
            "run sql select paramvalue from processconfig where paramname='RollBackToPreGrayback'",
            "paramvalue\n==========\nT\n".into(),
        ),
        (
            "run sql select name, description, nodeid from processnode where systemnode = 'f'",
            "name      description nodeid\n========= =========== ======\n\
             127.0.0.1 pub         2\n127.0.0.2 sub         3\n"
                .into(),
        ),
        (
            "run sql select m.name, count(*) from device d, typemodel m where m.enum = d.tkmodel \
             group by m.name order by m.name",
            "name       (count)\n========== =======\nCisco 7965 1\nCisco 8845 5\n".into(),
        ),
        (
            "run sql select count(*) from certificateprocessnodemap m, processnode n, certificate c \
             where m.fkprocessnode = n.pkid and m.fkcertificate = c.pkid and n.description = 'sub' \
             and c.servername = 'sub'",
            "(count)\n=======\n5\n".into(),
        ),
        (
            "run sql select t.name from certificateservicecertificatemap m, \
             typecertificateservice t, certificate c where m.tkcertificateservice = t.enum and \
             m.fkcertificate = c.pkid and c.subjectname like 'CN=CAP-RTP-001,%'",
            "name\n=================\nCallManager-trust\nCAPF-trust\n".into(),
        ),
        (
            "run sql select timetolive from certificate where servername = 'x'",
            "No records found\n".into(),
        ),
    ];
    for (query, expected) in rows {
        for sql in [&kept as &dyn Sql, &MemorySql] {
            assert_eq!(screen(&cluster, sql, query), (expected.clone(), false), "{query}");
        }
    }
}

#[test]
fn what_is_no_select_on_those_tables_is_refused_in_the_words_of_the_database() {
    let cluster = fresh("");
    let dir = tempfile::tempdir().unwrap();
    vault::save_cluster(dir.path(), &cluster).unwrap();
    let kept = KeptSql { dir: dir.path().to_owned() };
    let before = fs::read(dir.path().join("cluster.db")).unwrap();
    let table = |name: &str| format!("The specified table ({name}) is not in the database.\n");
    let syntax = "A syntax error has occurred.\n";
    let expensive = "The query is too expensive; ask for less.\n";
    let rows: [(&str, &str); 27] = [
        ("select * from own", &table("own")),
        ("select key from own", &table("own")),
        ("select d.name from device d, (select key from request) k", &table("request")),
        ("select * from sqlite_master", &table("sqlite_master")),
        ("select * from pragma_table_info('own')", &table("pragma_table_info")),
        ("select * from enduser", &table("enduser")),
        (
            "select key from device",
            "Column (key) not found in any table in the query (or SLV is undefined).\n",
        ),
        ("select pkid from device, processnode", "Ambiguous column (pkid).\n"),
        ("select load_extension('x')", "Routine (load_extension) can not be resolved.\n"),
        ("select randomblob(1000000000)", "Routine (randomblob) can not be resolved.\n"),
        ("select frobnicate(name) from device", "Routine (frobnicate) can not be resolved.\n"),
        ("update device set name='x'", "No UPDATE permission.\n"),
        ("DELETE FROM certificate", "No DELETE permission.\n"),
        ("insert into device values('a','b','c',1,1)", "No INSERT permission.\n"),
        ("drop table device", "No resource permission.\n"),
        ("select name from device; drop table device", syntax),
        ("with x as (select 1) delete from device", syntax),
        ("attach '/tmp/x' as x", syntax),
        ("pragma query_only = 0", syntax),
        ("vacuum into '/tmp/copy.db'", syntax),
        ("begin exclusive", syntax),
        ("explain select * from device", syntax),
        ("select * from device where name = ? or name = 'x'", syntax),
        ("selec name from device", syntax),
        ("with recursive x(n) as (select 1 union all select n+1 from x) select n from x", syntax),
        (
            "select count(*) from certificate a, certificate b, certificate c, certificate d, \
          certificate e, certificate f",
            expensive,
        ),
        (
            "select a.certificate from certificate a, certificate b, certificate c, certificate d, \
          certificate e, certificate f order by 1",
            expensive,
        ),
    ];
    for (query, expected) in rows {
        for sql in [&kept as &dyn Sql, &MemorySql] {
            let said = screen(&cluster, sql, &format!("run sql {query}"));
            assert_eq!(said, (expected.to_owned(), true), "{query}");
        }
    }
    assert_eq!(fs::read(dir.path().join("cluster.db")).unwrap(), before);
    let nothing = screen(&cluster, &kept, "run sql");
    assert_eq!(
        nothing.0,
        "Executed command unsuccessfully\nIncorrect number of parameters entered\n"
    );
}

/// Pieces of SQL that make sense in some order, and some that never do.
fn hostile() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "select",
        "with",
        "from",
        "where",
        "device",
        "own",
        "certificate",
        "*",
        ",",
        "(",
        ")",
        ";",
        "union",
        "join",
        "on",
        "name",
        "pkid",
        "key",
        "=",
        "'",
        "\"",
        "`",
        "--",
        "/*",
        "x'00'",
        "order by",
        "group by",
        "limit",
        "9e999",
        "like",
        "'%%%%'",
        "delete",
        "update",
        "insert into",
        "values",
        "drop table",
        "attach",
        "pragma",
        "as",
        "count(*)",
        "replace(name,'a','b')",
        "||",
        "zeroblob(99999999)",
        "printf('%9999999d',1)",
        "null",
        "not",
        "in",
        "exists",
        "case when",
        "then",
        "end",
        "over ()",
        "returning",
        "recursive",
        "sqlite_master",
        "\u{0}",
        "\u{1b}[2J",
        "?1",
    ]);
    let pieces = prop::collection::vec(word, 0..24).prop_map(|words| words.join(" "));
    prop_oneof![
        3 => pieces.clone().prop_map(|rest| format!("select {rest}")),
        1 => pieces,
        1 => ".{0,80}",
    ]
}

#[test]
fn hostile_sql_writes_nothing_and_steers_no_terminal() {
    let cluster = fresh("");
    let dir = tempfile::tempdir().unwrap();
    vault::save_cluster(dir.path(), &cluster).unwrap();
    let kept = KeptSql { dir: dir.path().to_owned() };
    let file = dir.path().join("cluster.db");
    let before = fs::read(&file).unwrap();
    let config = ProptestConfig { cases: 2_000, failure_persistence: None, ..Default::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner
        .run(&hostile(), |query| {
            let text = kept.answer(&cluster, &query).unwrap_or_else(|why| why);
            prop_assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
            prop_assert!(!text.contains("PRIVATE KEY"));
            Ok(())
        })
        .unwrap();
    assert_eq!(fs::read(&file).unwrap(), before);
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "the database and copies of certificates: {names:?}");
}
