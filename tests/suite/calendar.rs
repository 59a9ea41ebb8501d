//! Certificates that come to their end: what phones, TVS and the Certificate Monitor do then
//! (CERT-18, CERT-23, EXP-01 to EXP-04).

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc;

use resetstorm::base::Time;
use resetstorm::cluster::operator::certificates::Regenerate;
use resetstorm::cluster::{CertificateKind, Cluster, Genesis, Stored};
use resetstorm::crypto::KeySource;
use resetstorm::live::{self, LiveOptions, Observer};
use resetstorm::measure::{Ledger, RunFacts, Summary, known_paths};
use resetstorm::net::mail::Mailing;
use resetstorm::scenario::{Plan, load, to_toml};
use resetstorm::sim::{SimOptions, SimRun, World};

const PHONES: u64 = 30;

/// One node, whose certificates end when `expires` says, and these steps.
fn plan(expires: &str, events: &str, more: &[&str]) -> Plan {
    let text = format!(
        "schema=1\nname='old'\n[cluster]\nrelease='8.6'\n\
         [[cluster.node]]\nname='pub'\naddress='127.0.0.1'\n\
         services=['callmanager','tftp','tvs','capf']\nports={{tftp=0,tvs=0,capf=0}}\n\
         expires={{{expires}}}\n[[cluster.group]]\nname='all'\nmembers=['pub']\nshare=1.0\n\
         [fleet]\nphones={PHONES}\ntftp='pub'\n[run]\nepoch='2026-11-28'\n{events}"
    );
    let overrides: Vec<String> = more.iter().map(|&one| one.to_owned()).collect();
    load(Path::new("old.toml"), &text, &overrides, &known_paths()).unwrap()
}

const FORTY_DAYS: &str = "[[event]]\nwhen='fleet-settled'\nadvance='40d'\n";
const RESET: &str = "[[event]]\nwhen='fleet-settled'\nreset-phones={spread='1s'}\n";
const RENEW: &str = "[[event]]\nwhen='fleet-settled'\n\
                     regenerate={certificate='CallManager',node='pub'}\n\
                     [[event]]\nafter='previous'\nrestart={service='tvs',node='pub'}\n\
                     [[event]]\nafter='previous'\nrestart={service='tftp',node='pub'}\n";

fn sim(plan: &Plan) -> (Summary, SimRun) {
    let run = World::new(plan, SimOptions::default()).run();
    (run.summary(plan), run)
}

/// Ready, stuck and failed phones.
fn phones(summary: &Summary) -> [u64; 3] {
    [summary.phones.ready, summary.phones.stuck, summary.phones.failed]
}

#[test]
fn nothing_that_an_expired_call_manager_signs_is_applied() {
    let steps = [FORTY_DAYS, RESET].concat();
    let (summary, _) = sim(&plan("CallManager='30d'", &steps, &[]));
    assert_eq!(phones(&summary), [0, 0, PHONES]);
    assert_eq!((summary.config.applied, summary.trust.configs.refused), (0, PHONES));
    assert_eq!(summary.trust.lists.refused, PHONES, "8.6: it signs the list, too");
    assert_eq!(summary.cluster.expired_certificates, 1);
    assert!(summary.notes.iter().any(|note| note.contains("CallManager on pub (since 2026-12-28")));
    let (summary, _) = sim(&plan("CallManager='50d'", &steps, &[]));
    assert_eq!(phones(&summary), [PHONES, 0, 0], "ten days are left");
    let never = ["phone.checks-dates=false"];
    let (summary, _) = sim(&plan("CallManager='30d'", &steps, &never));
    assert_eq!(phones(&summary), [PHONES, 0, 0], "phones that ask for no date");
}

#[test]
fn an_expired_certificate_can_be_regenerated_while_tvs_is_good_and_not_after() {
    let steps = [FORTY_DAYS, RENEW, RESET].concat();
    let (summary, _) = sim(&plan("CallManager='30d'", &steps, &[]));
    assert_eq!((phones(&summary), summary.tvs.lookups), ([PHONES, 0, 0], PHONES));
    assert_eq!(summary.cluster.expired_certificates, 0);
    let (summary, _) = sim(&plan("CallManager='30d', TVS='39d'", &steps, &[]));
    assert_eq!((phones(&summary), summary.tvs.lookups), ([0, PHONES, 0], 0), "nobody vouches");
}

#[test]
fn the_monitor_warns_on_each_node_of_each_copy_and_stops_with_the_renewal() {
    let alarms = |steps: &[&str]| {
        let (_, run) =
            sim(&plan("CallManager='30d'", &steps.concat(), &["run.time-zone='Asia/Tokyo'"]));
        run.facts
    };
    let raised = |facts: &RunFacts| facts.known.cluster.expiry_alarms;
    let late = alarms(&[FORTY_DAYS]);
    // Six days, the last day's hours and ten days' hours, of the certificate and its copy.
    assert_eq!(raised(&late), 2 * (6 + 24 + 10 * 24));
    assert_eq!(late.alarms.len() as u64, raised(&late));
    assert!(late.alarms[0].starts_with("At Mon Dec 21 09:00:56 JST 2026 on node 127.0.0.1, the"));
    let renewed = alarms(&[FORTY_DAYS, RENEW, FORTY_DAYS]);
    assert_eq!(raised(&renewed), raised(&late), "a renewed certificate is quiet");
    assert_eq!(raised(&alarms(&["[[event]]\nat='0s'\nadvance='22d'\n"])), 0);
    assert_eq!(raised(&alarms(&[FORTY_DAYS, FORTY_DAYS])), 2 * (6 + 24 + 50 * 24));
}

/// `spec/domain.md` section 4: five years each; from 14 on three, CAPF five and ITLRecovery twenty.
#[test]
fn certificates_last_as_long_as_their_release_makes_them() {
    use CertificateKind::{CallManager, CallManagerEcdsa, Capf, ItlRecovery, Tomcat, Tvs};
    for (release, services, recovery) in [("12.5", 5, 5), ("14", 3, 20), ("15", 3, 20)] {
        let settings = [format!("cluster.release='{release}'")];
        let more: Vec<&str> = settings.iter().map(String::as_str).collect();
        let plan = plan("TVS='30d'", "", &more);
        let mut cluster = Cluster::new(Genesis {
            topology: plan.topology.clone(),
            fleet: plan.fleet_spec(),
            source: KeySource::bank(7),
            epoch_s: plan.dates.epoch_s.unwrap(),
            stored: Stored::default(),
        });
        let node = plan.topology.ids().next().unwrap();
        let years = |cluster: &Cluster, kind| {
            let own = cluster.stores().own(node, kind).unwrap().certificate().validity_s();
            (own.1.unwrap() - own.0.unwrap()) / (365 * 86_400)
        };
        let all = [CallManager, CallManagerEcdsa, Tomcat, Tvs, Capf, ItlRecovery];
        let lives = [services, services, services, services, 5, recovery];
        assert_eq!(all.map(|kind| years(&cluster, kind)), lives, "{release}");
        let end = cluster.ends()[0];
        assert_eq!((end.0 - plan.dates.epoch_s.unwrap(), end.2), (30 * 86_400, Tvs), "{release}");
        for certificate in [Tvs, ItlRecovery] {
            cluster.apply(&Regenerate { certificate, node }, Time::ZERO).unwrap();
        }
        assert_eq!(all.map(|kind| years(&cluster, kind)), lives, "{release}, made anew");
    }
    let text = std::fs::read_to_string("scenarios/https-provisioning.toml").unwrap();
    let told = |left: &str| {
        let left = [format!("cluster.node.pub.expires={{{left}}}")];
        load(Path::new("old.toml"), &text, &left, &known_paths()).map_err(|error| error.to_string())
    };
    told("ITLRecovery='19y', CAPF='5y', TVS='3y'").unwrap();
    let refused = told("TVS='4y'").unwrap_err();
    assert!(refused.contains("a TVS certificate of release 14 lasts 3 years"), "{refused}");
}

#[test]
fn a_plan_with_dates_survives_being_written() {
    let plan = plan("CallManager='30d', TVS='26h'", FORTY_DAYS, &["run.time-zone='Europe/Berlin'"]);
    let text = to_toml(&plan);
    assert!(text.contains("advance = { by = \"40d\" }"), "{text}");
    assert!(text.contains("expires = { CallManager = \"30d\", TVS = \"26h\" }"), "{text}");
    assert!(text.contains("epoch = \"2026-11-28T00:00:00Z\""), "{text}");
    let again = load(Path::new("again.toml"), &text, &[], &known_paths()).unwrap();
    assert_eq!(again, plan);
}

/// Keeps what it is told.
struct Listening(tokio::sync::mpsc::UnboundedSender<String>);

impl Observer for Listening {
    fn started(&mut self, _: &[String]) {}
    fn tick(&mut self, _: &Ledger, _: Time) {}
    fn operator(&mut self, _: &str, _: Time) {}
    fn told(&mut self, text: &str, _: Time) {
        self.0.send(text.to_owned()).unwrap();
    }
}

/// Takes mails (RFC 5321) and hands out their lines.
fn mail_server() -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (sender, lines) = mpsc::channel();
    let address = listener.local_addr().unwrap();
    let take = move |mut stream: TcpStream| {
        let (peer, mut is_text) = (BufReader::new(stream.try_clone().unwrap()), false);
        stream.write_all(b"220 sink\r\n").unwrap();
        for line in peer.lines().map_while(Result::ok) {
            is_text &= line != ".";
            if is_text {
                sender.send(line).unwrap();
                continue;
            }
            is_text = line == "DATA";
            let code = if is_text { "354 go on" } else { "250 ok" };
            if stream.write_all(format!("{code}\r\n").as_bytes()).is_err() {
                return;
            }
        }
    };
    std::thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(take));
    (address, lines)
}

/// What a cluster says first that is served from a second before its monitors look, and mails here;
/// it may take longer to start.
async fn first_told(server: SocketAddr) -> String {
    let plan = plan("CallManager='3d'", "", &["run.epoch='2026-11-28T00:00:05Z'"]);
    let mail = Some(Mailing { server, to: "ops@example.com".parse().unwrap() });
    let options = LiveOptions { mail, ..LiveOptions::default() };
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    let (_operator, commands) = tokio::sync::mpsc::channel(1);
    let mut listening = Listening(sender);
    tokio::select! {
        ended = live::serve(&plan, &options, commands, &mut listening) => {
            panic!("nobody ends it: {ended:?}")
        }
        told = told.recv() => told.unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_served_mails_its_alarms_when_their_time_comes() {
    let (server, lines) = mail_server();
    let told = first_told(server).await;
    assert_eq!(told, "mailed 2 alarms to ops@example.com", "the certificate and its copy");
    let text: Vec<String> = lines.try_iter().collect();
    // Quoted-printable: a line that ends with `=` goes on.
    let text = text.join("\n").replace("=\n", "");
    assert_eq!(text.matches("Unit:CallManager").count(), 2, "{text}");
    assert!(text.contains("Nov 28 2026 00:00:06.433 UTC"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_server_that_is_not_there_is_told_of_and_the_cluster_goes_on() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let told = first_told(server).await;
    assert!(told.starts_with(&format!("warning: {server} did not take mail 1: ")), "{told}");
    assert!(told.contains("file view activelog syslog/CiscoSyslog"), "{told}");
}

struct Silent;

impl Observer for Silent {
    fn started(&mut self, _: &[String]) {}
    fn tick(&mut self, _: &Ledger, _: Time) {}
    fn operator(&mut self, _: &str, _: Time) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_phones_and_servers_keep_the_same_calendar() {
    for (expires, ends) in [("CallManager='30d'", [PHONES, 0, 0]), ("TVS='30d'", [0, PHONES, 0])] {
        let plan = plan(expires, &[FORTY_DAYS, RENEW, RESET].concat(), &[]);
        let run = Box::pin(live::run(&plan, &LiveOptions::default(), &mut Silent)).await.unwrap();
        let live = Summary::new(&run.ledger, run.facts, &plan.slos, run.finish);
        let (sim, _) = sim(&plan);
        assert_eq!((phones(&live), phones(&sim)), (ends, ends), "{expires}");
        let counts =
            |summary: &Summary| (summary.tvs.lookups, summary.trust.lists, summary.cluster);
        assert_eq!(counts(&live), counts(&sim), "{expires}");
    }
}
