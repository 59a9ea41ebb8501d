//! What a phone accepts and refuses: the decision vectors, forged files, hostile TVS answers.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use resetstorm::base::{ClusterId, IpMode, NodeId, PhoneId, Span, Time};
use resetstorm::cluster::operator::certificates::Regenerate;
use resetstorm::cluster::operator::services::Services;
use resetstorm::cluster::{
    CertificateKind, Cluster, FileReply, FleetSpec, Genesis, GroupSpec, Knowledge, NodeSpec, Ports,
    Release, SecurityProfile, ServiceKind, SignCacheMode, Topology, Waiter,
};
use resetstorm::crypto::{CertificateSpec, Identity, KeySource};
use resetstorm::phone::{
    AcceptPath, Action, Answer, Ask, BootTime, Env, Errand, ErrandFault, FURTHER_FILES, Fact,
    Failure, FileKind, FileRequest, HttpFault, Input, Judgement, ListFiles, Message, Outcome,
    Phone, PhoneProfile, Refusal, Shared, Sink, Transport, TransportRule, Trust, TrustList,
    TrustLists, TvsFault, Verifier, judge,
};
use resetstorm::transfer::{Breach, TransferFault};
use resetstorm::wire::tftp::ErrorCode;
use resetstorm::wire::tvs::{Command, Known, Request, Response};
use resetstorm::wire::{Dialogue, SignedFile};

fn vector(path: &str) -> Vec<u8> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    std::fs::read(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn decision_vectors_come_out_as_listed() {
    let cases: serde_json::Value = serde_json::from_slice(&vector("decisions.json")).unwrap();
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 15);
    for case in cases {
        let list = |key: &str| match case[key].as_str().unwrap() {
            "none" => None,
            path => Some(Arc::new(TrustList::parse(&vector(path)).unwrap())),
        };
        let lists = TrustLists { ctl: list("installed_ctl"), itl: list("installed_itl") };
        let kind = match case["new_kind"].as_str().unwrap() {
            "ctl" => FileKind::Ctl,
            "itl" => FileKind::Itl,
            "config" => FileKind::Config,
            other => panic!("{other}"),
        };
        let bytes = vector(case["new_file"].as_str().unwrap());
        let outcome = match SignedFile::parse(&bytes) {
            Err(_) => "reject",
            Ok(file) => match judge(&lists, kind, &file, &Verifier::real(), None) {
                Judgement::Accept(_) => "accept",
                Judgement::AskTvs => "ask-tvs",
                Judgement::Refuse(_) => "reject",
            },
        };
        assert_eq!(outcome, case["outcome"], "{case:#}");
    }
}

/// A cluster of one node, one phone that holds its files, and what the phone has said so far.
struct Bench {
    cluster: Cluster,
    phone: Phone,
    env: Env,
    now: Time,
}

const PUB: NodeId = ClusterId::FIRST.node(0);

impl Bench {
    fn new() -> Bench {
        Bench::of(Release::R8_6)
    }

    fn of(release: Release) -> Bench {
        Bench::with_profiles(release, Vec::new())
    }

    fn with_profiles(release: Release, profiles: Vec<SecurityProfile>) -> Bench {
        let node = NodeSpec {
            name: "pub".into(),
            domain: None,
            address: "127.0.0.1".parse().unwrap(),
            services: vec![
                ServiceKind::CallManager,
                ServiceKind::Capf,
                ServiceKind::Tftp,
                ServiceKind::Tvs,
            ],
            ports: Ports::default(),
            expires: std::collections::BTreeMap::new(),
        };
        let group = GroupSpec { name: "all".into(), members: vec![PUB], share: 1.0 };
        let cluster = Cluster::new(Genesis {
            topology: Topology {
                cluster: ClusterId::FIRST,
                release,
                sign_cache: SignCacheMode::Lazy,
                key_bits: 2048,
                file_signature: release.file_signature(),
                secured_urls: true,
                security: resetstorm::cluster::Security::default(),
                domain: None,
                faults: Vec::new(),
                replication_delay: Span::ZERO,
                registrar: None,
                nodes: vec![node],
                groups: vec![group],
            },
            fleet: FleetSpec {
                phones: 2,
                models: vec![(8841.into(), 1.0)],
                seed: 1,
                profiles,
                ..FleetSpec::default()
            },
            source: KeySource::bank(1),
            epoch_s: 1_800_000_000,
            stored: resetstorm::cluster::Stored::default(),
        });
        let env = Env {
            profile: Arc::new(PhoneProfile::default()),
            shared: Arc::new(Shared::default()),
            verifier: Verifier::real(),
        };
        let mut phone = Phone::new(PhoneId(0), 8841);
        let service = cluster.tftp(PUB).unwrap();
        let (config, identity) = service.config_of(PhoneId(0));
        phone
            .provision(
                &env,
                ListFiles { ctl: None, itl: Some(&service.signed_list()) },
                &config,
                identity,
            )
            .unwrap();
        Bench { cluster, phone, env, now: Time::ZERO }
    }

    fn regenerate(&mut self, certificate: CertificateKind) {
        self.cluster.apply(&Regenerate { certificate, node: PUB }, self.now).unwrap();
        self.cluster.apply(&Services::restart(PUB, None), self.now).unwrap();
    }

    fn feed(&mut self, input: Input<'_>) -> (Vec<Action>, Vec<Fact>) {
        let mut sink = Sink::default();
        self.phone.handle(&self.env, self.now, input, &mut sink);
        (sink.actions, sink.facts)
    }

    /// The file as the cluster serves it.
    fn file(&self, name: &str) -> Vec<u8> {
        match self.cluster.tftp(PUB).unwrap().request(name, Waiter(0)) {
            FileReply::Ready(file) => file.to_bytes(),
            FileReply::Pending { file, job } => {
                file.with_header(job.unwrap().run().header).to_bytes()
            }
            FileReply::Missing => panic!("{name} is not served"),
        }
    }

    fn list(&self) -> Vec<u8> {
        self.file("ITLFile.tlv")
    }

    fn config(&self) -> Vec<u8> {
        self.file("SEP0C75BD000000.cnf.xml.sgn")
    }

    /// The errand of the phone comes back.
    fn answered(&mut self, result: Result<Answer<'_>, ErrandFault>) -> (Vec<Action>, Vec<Fact>) {
        let token = self.phone.token();
        self.feed(Input::Answered { token, result })
    }

    /// The server has no such file.
    fn missing(&mut self) -> (Vec<Action>, Vec<Fact>) {
        self.answered(Ok(Answer::NoFile))
    }

    /// TVS replies to the question with this token.
    fn said(&mut self, token: u32, bytes: &[u8]) -> (Vec<Action>, Vec<Fact>) {
        self.feed(Input::Answered { token, result: Ok(Answer::Said(bytes)) })
    }

    /// TVS does not reply to the question with this token.
    fn silent(&mut self, token: u32, fault: TvsFault) -> (Vec<Action>, Vec<Fact>) {
        self.feed(Input::Answered { token, result: Err(ErrandFault::Dialogue(fault)) })
    }

    /// Boots up to the wait for the list.
    fn boot(&mut self) {
        self.feed(Input::Boot);
        self.no_ctl();
    }

    /// The server has no CTL, neither for the phone nor for all.
    fn no_ctl(&mut self) -> (Vec<Action>, Vec<Fact>) {
        self.missing();
        self.missing()
    }

    /// Hands over a list; returns the facts.
    fn give(&mut self, bytes: &[u8]) -> (Vec<Action>, Vec<Fact>) {
        self.answered(Ok(Answer::File(bytes)))
    }
}

fn refused(kind: FileKind, refusal: Refusal) -> Fact {
    Fact::FileRefused { kind, refusal }
}

fn accepted(kind: FileKind, path: AcceptPath) -> Fact {
    Fact::FileAccepted { kind, path }
}

fn outcome(facts: &[Fact]) -> Option<Outcome> {
    facts.iter().find_map(|fact| match fact {
        Fact::Settled { outcome } => Some(*outcome),
        _ => None,
    })
}

#[test]
fn a_boot_asks_for_ctl_itl_and_signed_config_in_this_order() {
    let mut bench = Bench::new();
    let file = |actions: &[Action]| request(actions).file.to_string();
    assert_eq!(file(&bench.feed(Input::Boot).0), "CTLSEP0C75BD000000.tlv");
    assert_eq!(file(&bench.missing().0), "CTLFile.tlv");
    assert_eq!(file(&bench.missing().0), "ITLSEP0C75BD000000.tlv");
    assert_eq!(file(&bench.missing().0), "ITLFile.tlv");
    let list = bench.list();
    assert_eq!(file(&bench.give(&list).0), "SEP0C75BD000000.cnf.xml.sgn");
    assert_eq!(file(&bench.missing().0), "XMLDefault.cnf.xml.sgn");
    let (_, facts) = bench.missing();
    assert_eq!(outcome(&facts), Some(Outcome::Failed(Failure::ConfigMissing)));
}

/// A bench whose phone asks HTTP first.
fn http_bench() -> Bench {
    http_bench_of(Release::R8_6)
}

fn http_bench_of(release: Release) -> Bench {
    let mut bench = Bench::of(release);
    let transport = TransportRule::Model;
    bench.env.profile = Arc::new(PhoneProfile { transport, ..PhoneProfile::default() });
    bench
}

/// The file that is asked for, and nothing else.
fn request(actions: &[Action]) -> FileRequest {
    match actions {
        [Action::Do(Errand { ask: Ask::File(request), .. })] => request.clone(),
        other => panic!("{other:?}"),
    }
}

/// The question to TVS that is asked, and nothing else, with its token.
fn question(actions: &[Action]) -> (u32, Message) {
    match actions {
        [Action::Do(Errand { ask: Ask::Say(message), token, .. })] => (*token, message.clone()),
        other => panic!("{other:?}"),
    }
}

/// The name that is looked up, and nothing else, with its token.
fn lookup(actions: &[Action]) -> (u32, String) {
    match actions {
        [Action::Do(Errand { ask: Ask::Name(name, _), token, .. })] => (*token, name.clone()),
        other => panic!("{other:?}"),
    }
}

fn asked((actions, _): &(Vec<Action>, Vec<Fact>)) -> (String, Transport) {
    let request = request(actions);
    (request.file.to_string(), request.via)
}

#[test]
fn a_config_is_asked_for_over_https_only_if_a_list_says_that_its_cluster_offers_it() {
    for (release, transport) in [
        (Release::R8_6, Transport::Http),
        (Release::R11_5, Transport::Http),
        (Release::R12_5, Transport::Http),
        (Release::R14, Transport::Https),
    ] {
        let mut bench = http_bench_of(release);
        assert_eq!(asked(&bench.feed(Input::Boot)).1, Transport::Http, "lists sign themselves");
        assert_eq!(asked(&bench.no_ctl()).1, Transport::Http);
        let list = bench.list();
        let config = asked(&bench.give(&list));
        assert_eq!(config, ("SEP0C75BD000000.cnf.xml.sgn".into(), transport), "{release}");
    }
    // A phone that has no list has nobody to authenticate the server by.
    let mut bench = http_bench_of(Release::R14);
    bench.phone = Phone::new(PhoneId(0), 8841);
    bench.boot();
    assert_eq!(asked(&bench.missing()).1, Transport::Http);
    let config = asked(&bench.missing());
    assert_eq!(config, ("SEP0C75BD000000.cnf.xml".into(), Transport::Http));
}

#[test]
fn content_without_a_signature_counts_only_from_an_https_server_that_the_lists_hold() {
    let content = |bench: &Bench| bench.cluster.tftp(PUB).unwrap().config_of(PhoneId(0)).0;
    let mut bench = http_bench_of(Release::R14);
    bench.boot();
    let list = bench.list();
    assert_eq!(asked(&bench.give(&list)).1, Transport::Https);
    let (_, facts) = bench.give(&content(&bench));
    assert_eq!(facts[0], accepted(FileKind::Config, AcceptPath::Https));
    assert_eq!(outcome(&facts), Some(Outcome::Ready));

    // The same content over plain HTTP, or over TFTP after a refused handshake, is refused.
    let mut bench = http_bench_of(Release::R12_5);
    bench.boot();
    let list = bench.list();
    bench.give(&list);
    let (_, facts) = bench.give(&content(&bench));
    assert_eq!(facts[0], refused(FileKind::Config, Refusal::Malformed));
    let mut bench = http_bench_of(Release::R14);
    bench.boot();
    let list = bench.list();
    bench.give(&list);
    let fault = HttpFault::CertificateRefused;
    let fallen = bench.answered(Err(ErrandFault::Http(fault)));
    assert_eq!(fallen.1, [Fact::TransportFellBack { from: Transport::Https, fault }]);
    assert_eq!(asked(&fallen).1, Transport::Tftp);
    let (_, facts) = bench.give(&content(&bench));
    assert_eq!(facts[0], refused(FileKind::Config, Refusal::Malformed));
}

#[test]
fn a_signed_config_is_checked_over_https_as_well() {
    let mut bench = http_bench_of(Release::R14);
    bench.boot();
    let list = bench.list();
    bench.give(&list);
    let mut config = bench.config();
    let end = config.len() - 1;
    config[end] ^= 1;
    let (_, facts) = bench.give(&config);
    assert_eq!(facts[0], refused(FileKind::Config, Refusal::WrongSignature));
}

#[test]
fn from_12_on_a_regenerated_call_manager_costs_no_question_and_itl_recovery_does() {
    let mut bench = Bench::of(Release::R12_5);
    bench.regenerate(CertificateKind::CallManager);
    bench.boot();
    let list = bench.list();
    let (_, facts) = bench.give(&list);
    assert_eq!(facts[0], accepted(FileKind::Itl, AcceptPath::Itl), "ITLRecovery signs as before");
    let config = bench.config();
    let (_, facts) = bench.give(&config);
    assert_eq!(
        facts[0],
        accepted(FileKind::Config, AcceptPath::Itl),
        "the new list has its signer"
    );
    bench.regenerate(CertificateKind::ItlRecovery);
    bench.boot();
    let list = bench.list();
    let (actions, _) = bench.give(&list);
    question(&actions);
}

#[test]
fn releases_sign_with_their_digest_and_say_their_signer_version() {
    for (release, digest, version) in [
        (Release::R8_6, 1, None),
        (Release::R11_5, 1, None),
        (Release::R12_5, 1, Some((1, 0))),
        (Release::R14, 3, Some((1, 1))),
    ] {
        let bench = Bench::of(release);
        for bytes in [bench.list(), bench.config()] {
            let header = SignedFile::parse(&bytes).unwrap().header;
            assert_eq!((header.digest, header.signer_version), (digest, version), "{release}");
        }
    }
}

#[test]
fn http_that_brings_no_file_is_followed_by_tftp_for_that_file() {
    for fault in [HttpFault::Status(503), HttpFault::Protocol, HttpFault::TooLarge] {
        let mut bench = http_bench();
        let ctl = "CTLSEP0C75BD000000.tlv".to_owned();
        assert_eq!(asked(&bench.feed(Input::Boot)), (ctl.clone(), Transport::Http));
        let step = bench.answered(Err(ErrandFault::Http(fault)));
        assert_eq!(step.1, [Fact::TransportFellBack { from: Transport::Http, fault }]);
        assert_eq!(asked(&step), (ctl, Transport::Tftp));
        let next = bench.missing();
        let generic = "CTLFile.tlv".to_owned();
        assert_eq!(asked(&next), (generic, Transport::Http), "the next file has its own chance");
        let missing = bench.missing();
        assert_eq!(asked(&missing).1, Transport::Http, "404 is an answer");
    }
}

#[test]
fn http_out_of_reach_is_left_alone_until_the_next_boot() {
    for fault in [HttpFault::Connection, HttpFault::TimedOut] {
        let mut bench = http_bench();
        bench.feed(Input::Boot);
        assert_eq!(asked(&bench.answered(Err(ErrandFault::Http(fault)))).1, Transport::Tftp);
        assert_eq!(asked(&bench.missing()).1, Transport::Tftp);
        let list = bench.list();
        assert_eq!(asked(&bench.give(&list)).1, Transport::Tftp);
        assert_eq!(asked(&bench.feed(Input::Boot)).1, Transport::Http);
    }
}

/// Which server is asked for which file, over what.
fn asked_of((actions, _): &(Vec<Action>, Vec<Fact>)) -> (u8, String, Transport) {
    let request = request(actions);
    (request.server, request.file.to_string(), request.via)
}

#[test]
fn a_silent_server_is_followed_by_the_next_for_the_same_file_and_for_the_rest_of_the_boot() {
    for fault in [TransferFault::Refused, TransferFault::TimedOut, TransferFault::Stalled] {
        let mut bench = Bench::new();
        let ctl = |server| (server, "CTLSEP0C75BD000000.tlv".to_owned(), Transport::Tftp);
        assert_eq!(asked_of(&bench.feed(Input::Boot)), ctl(0));
        let next = bench.answered(Err(ErrandFault::Tftp(fault)));
        assert_eq!(
            (asked_of(&next), next.1),
            (ctl(1), vec![]),
            "whether there is one is not known"
        );
        let missing = bench.missing();
        assert_eq!(missing.1, [Fact::TftpFailover], "{fault}: not found is an answer");
        assert_eq!(asked_of(&missing).0, 1);
        bench.missing();
        let list = bench.list();
        assert_eq!(asked_of(&bench.give(&list)).0, 1);
        let config = bench.config();
        assert_eq!(outcome(&bench.give(&config).1), Some(Outcome::Ready));
        assert_eq!(asked_of(&bench.feed(Input::Boot)), ctl(0), "a boot begins with the first");
    }
}

#[test]
fn a_server_that_says_an_error_or_has_too_long_a_file_has_answered() {
    for fault in [
        TransferFault::Error(ErrorCode(2)),
        TransferFault::Protocol(Breach::BlockNumber),
        TransferFault::TooLarge,
    ] {
        let mut bench = Bench::new();
        bench.feed(Input::Boot);
        let next = bench.answered(Err(ErrandFault::Tftp(fault)));
        assert_eq!((asked_of(&next).0, next.1), (0, vec![]), "{fault}");
    }
}

#[test]
fn at_the_end_of_the_list_the_file_has_failed_and_the_next_one_begins_at_the_first_server() {
    let mut bench = Bench::new();
    bench.feed(Input::Boot);
    for (fault, facts) in
        [(TransferFault::TimedOut, vec![]), (TransferFault::Refused, vec![Fact::TftpFailover])]
    {
        assert_eq!(bench.answered(Err(ErrandFault::Tftp(fault))).1, facts);
    }
    let next = bench.answered(Err(ErrandFault::NoServer));
    assert_eq!(next.1, [], "nobody else was asked");
    assert_eq!(asked_of(&next), (0, "ITLSEP0C75BD000000.tlv".to_owned(), Transport::Tftp));
    let list = bench.list();
    bench.give(&list);
    let config = bench.config();
    let failed = Outcome::Failed(Failure::Transfer(TransferFault::Refused));
    assert_eq!(outcome(&bench.give(&config).1), Some(failed), "the last word");
    bench.feed(Input::Boot);
    let answer = bench.answered(Err(ErrandFault::NoServer));
    assert_eq!(answer.1, [Fact::Unexpected], "a list has one server at least");
}

#[test]
fn the_next_server_has_its_own_chance_over_http() {
    let mut bench = http_bench();
    bench.feed(Input::Boot);
    let refused = |bench: &mut Bench| {
        bench.answered(Err(ErrandFault::Http(HttpFault::Connection)));
        bench.answered(Err(ErrandFault::Tftp(TransferFault::Refused)))
    };
    let next = refused(&mut bench);
    assert_eq!(asked_of(&next), (1, "CTLSEP0C75BD000000.tlv".to_owned(), Transport::Http));
    let missing = bench.missing();
    assert_eq!((asked_of(&missing).2, missing.1), (Transport::Http, vec![Fact::TftpFailover]));
    // Behind the end of the list nothing was learnt: the first is still out of reach over HTTP.
    let mut bench = http_bench();
    bench.feed(Input::Boot);
    refused(&mut bench);
    let next = bench.answered(Err(ErrandFault::NoServer));
    assert_eq!(asked_of(&next), (0, "ITLSEP0C75BD000000.tlv".to_owned(), Transport::Tftp));
}

#[test]
fn the_answer_of_the_other_transport_changes_nothing() {
    let mut bench = http_bench();
    bench.feed(Input::Boot);
    let fault = TransferFault::TimedOut;
    assert_eq!(bench.answered(Err(ErrandFault::Tftp(fault))).1, [Fact::Unexpected]);
    let fault = HttpFault::TimedOut;
    bench.answered(Err(ErrandFault::Http(fault)));
    assert_eq!(bench.answered(Err(ErrandFault::Http(fault))).1, [Fact::Unexpected]);
}

#[test]
fn a_signed_file_with_one_flipped_bit_is_refused_and_the_old_one_kept() {
    let good = Bench::new();
    let (list, config) = (good.list(), good.config());
    for at in [list.len() - 1, list.len() / 2, 300, 310] {
        let mut bench = Bench::new();
        let before = bench.phone.lists().clone();
        bench.boot();
        let mut flipped = list.clone();
        flipped[at] ^= 1;
        let (actions, facts) = bench.give(&flipped);
        assert_eq!(facts, [refused(FileKind::Itl, Refusal::WrongSignature)], "byte {at}");
        request(&actions);
        assert_eq!(*bench.phone.lists(), before);
    }
    let mut bench = Bench::new();
    bench.boot();
    bench.give(&list);
    let before = bench.phone.config().cloned();
    let mut flipped = config;
    *flipped.last_mut().unwrap() ^= 1;
    let (_, facts) = bench.give(&flipped);
    assert_eq!(facts[0], refused(FileKind::Config, Refusal::WrongSignature));
    assert_eq!(outcome(&facts), Some(Outcome::Failed(Failure::File(Refusal::WrongSignature))));
    assert_eq!(bench.phone.config().cloned(), before);
}

#[test]
fn a_list_signed_by_a_stranger_is_refused_when_tvs_does_not_know_the_stranger() {
    let mut stranger = Bench::new();
    stranger.cluster = {
        let mut other = Bench::new();
        other.regenerate(CertificateKind::CallManager);
        other.regenerate(CertificateKind::CallManager);
        other.cluster
    };
    let list = stranger.list();
    let mut bench = Bench::new();
    let before = bench.phone.lists().clone();
    bench.boot();
    let (actions, _) = bench.give(&list);
    let (token, message) = question(&actions);
    let (answer, command) =
        bench.cluster.knowledge().answer(PUB, bench.now, &message.bytes).unwrap();
    assert_eq!(command, Command::QueryResponse);
    let (_, facts) = bench.said(token, &answer);
    let command = Command::QueryResponse;
    let expected =
        [Fact::TvsAnswered { command, is_found: false }, refused(FileKind::Itl, Refusal::NotValid)];
    assert_eq!(facts, expected);
    assert_eq!(*bench.phone.lists(), before);
    let config = bench.config();
    let (_, facts) = bench.give(&config);
    assert_eq!(facts[0], accepted(FileKind::Config, AcceptPath::Itl));
    let failed = Outcome::Failed(Failure::File(Refusal::NotValid));
    assert_eq!(outcome(&facts), Some(failed), "TVS said no: not stuck, but not ready either");
}

#[test]
fn a_config_of_another_signer_is_refused_and_the_old_one_kept() {
    let mut other = Bench::new();
    other.regenerate(CertificateKind::CallManager);
    let foreign = other.config();
    let mut bench = Bench::new();
    bench.boot();
    let list = bench.list();
    bench.give(&list);
    let before = bench.phone.config().cloned();
    let (actions, _) = bench.give(&foreign);
    let (token, _) = question(&actions);
    let (_, facts) = bench.silent(token, TvsFault::CertificateRefused);
    assert!(facts.contains(&refused(FileKind::Config, Refusal::UnknownSigner)));
    assert_eq!(outcome(&facts), Some(Outcome::Stuck));
    assert_eq!(bench.phone.config().cloned(), before);
}

/// A phone whose configuration is encrypted, and one of the same number whose key the cluster
/// does not know.
#[test]
fn an_encrypted_config_is_judged_first_and_opened_then() {
    let of = |stale_keys: f64| {
        let profile = SecurityProfile {
            name: "secret".into(),
            share: 1.0,
            secure: false,
            encrypted_config: true,
            stale_keys,
            auth_mode: None,
        };
        Bench::with_profiles(Release::R8_6, vec![profile])
    };
    let name = "SEP0C75BD000000.cnf.xml.enc.sgn";
    let after_list = |bench: &mut Bench| {
        bench.boot();
        let list = bench.list();
        let next = bench.give(&list);
        assert_eq!(asked(&next).0, name);
    };
    let mut bench = of(0.0);
    after_list(&mut bench);
    let file = bench.file(name);
    assert_eq!(SignedFile::parse(&file).unwrap().header.version, (2, 0));
    let mut forged = file.clone();
    *forged.last_mut().unwrap() ^= 1;
    let (_, facts) = bench.give(&forged);
    assert!(facts.contains(&refused(FileKind::Config, Refusal::WrongSignature)), "judged first");
    after_list(&mut bench);
    let (_, facts) = bench.give(&file);
    assert_eq!(facts[0], accepted(FileKind::Config, AcceptPath::Itl));
    assert_eq!(outcome(&facts), Some(Outcome::Ready));
    let mut stale = of(1.0);
    let before = stale.phone.config().cloned();
    after_list(&mut stale);
    let file = stale.file(name);
    let (_, facts) = stale.give(&file);
    assert_eq!(facts[0], refused(FileKind::Config, Refusal::Unreadable));
    let why = Outcome::Failed(Failure::File(Refusal::Unreadable));
    assert_eq!((outcome(&facts), stale.phone.config().cloned()), (Some(why), before));
}

/// A stub that leads to no encrypted file ends the boot; it does not begin again.
#[test]
fn a_stub_is_followed_once_and_only_if_it_names_the_phones_certificate() {
    let profile = |stale_keys: f64| SecurityProfile {
        name: "secret".into(),
        share: 1.0,
        secure: false,
        encrypted_config: true,
        stale_keys,
        auth_mode: None,
    };
    let from_factory = |stale_keys: f64| {
        let mut bench = Bench::with_profiles(Release::R8_6, vec![profile(stale_keys)]);
        bench.phone = Phone::new(PhoneId(0), 8841);
        bench.boot();
        let list = bench.list();
        bench.give(&list);
        let stub = bench.config();
        let next = bench.give(&stub);
        (bench, stub, next)
    };
    let (_, _, (_, facts)) = from_factory(1.0);
    assert_eq!(facts[0], refused(FileKind::Config, Refusal::Unreadable), "another certHash");
    let (mut bench, stub, next) = from_factory(0.0);
    assert_eq!(asked(&next).0, "SEP0C75BD000000.cnf.xml.enc.sgn");
    let (_, facts) = bench.missing();
    assert_eq!(outcome(&facts), Some(Outcome::Failed(Failure::ConfigMissing)));
    // A server that sends the stub under the other name cannot have it followed for ever.
    let (mut bench, ..) = from_factory(0.0);
    let (actions, facts) = bench.give(&stub);
    assert!(actions.is_empty() && outcome(&facts).is_some(), "{facts:?}");
}

/// A phone that asks for locale and ring list, too, and holds those that are served.
fn with_further_files() -> Bench {
    let mut bench = Bench::new();
    let profile = PhoneProfile { further_files: FURTHER_FILES.to_vec(), ..PhoneProfile::default() };
    bench.env.profile = Arc::new(profile);
    bench.boot();
    let list = bench.list();
    bench.give(&list);
    let config = bench.config();
    let next = bench.give(&config);
    assert_eq!(asked(&next).0, "United_States/g3-tones.xml.sgn");
    let next = bench.give(&bench.file("United_States/g3-tones.xml.sgn"));
    assert_eq!(next.1, [accepted(FileKind::Locale, AcceptPath::Itl)]);
    assert_eq!(asked(&next).0, "Ringlist.xml.sgn");
    let (_, facts) = bench.give(&bench.file("Ringlist.xml.sgn"));
    assert_eq!(facts[0], accepted(FileKind::RingList, AcceptPath::Itl));
    assert_eq!(outcome(&facts), Some(Outcome::Ready));
    bench
}

#[test]
fn locale_and_ring_list_are_signed_and_a_refused_one_leaves_the_old_one_and_the_phone_ready() {
    let mut bench = with_further_files();
    let held = bench.phone.further_file(FileKind::RingList);
    assert!(held.is_some() && bench.phone.further_file(FileKind::Locale).is_some());
    bench.boot();
    let (list, config) = (bench.list(), bench.config());
    bench.give(&list);
    bench.give(&config);
    // One is not there, which hurts nobody; the other was changed on its way.
    let (actions, _) = bench.missing();
    assert_eq!(request(&actions).step.kind(), FileKind::RingList);
    let mut forged = bench.file("Ringlist.xml.sgn");
    *forged.last_mut().unwrap() ^= 1;
    let (_, facts) = bench.give(&forged);
    assert_eq!(facts[0], refused(FileKind::RingList, Refusal::WrongSignature));
    assert_eq!(outcome(&facts), Some(Outcome::Ready), "lists and configuration are in force");
    assert_eq!(bench.phone.further_file(FileKind::RingList), held);
}

/// A phone that has asked TVS about the list of a regenerated CallManager.
fn asking() -> (Bench, u32, Vec<u8>) {
    let mut bench = Bench::new();
    bench.regenerate(CertificateKind::CallManager);
    bench.boot();
    let list = bench.list();
    let (actions, _) = bench.give(&list);
    let (token, message) = question(&actions);
    (bench, token, message.bytes)
}

type Change = Box<dyn FnOnce(&mut Response<'_>)>;

/// The true answer with something changed.
fn answer(bench: &Bench, request: &[u8], change: impl FnOnce(&mut Response<'_>)) -> Vec<u8> {
    let (bytes, _) = bench.cluster.knowledge().answer(PUB, bench.now, request).unwrap();
    let mut response = Response::parse(&bytes).unwrap();
    change(&mut response);
    response.encode()
}

#[test]
fn an_answer_of_tvs_installs_the_list_and_is_cached() {
    let (mut bench, token, request) = asking();
    let bytes = answer(&bench, &request, |_| {});
    let (_, facts) = bench.said(token, &bytes);
    let command = Command::QueryResponse;
    assert_eq!(
        facts,
        [Fact::TvsAnswered { command, is_found: true }, accepted(FileKind::Itl, AcceptPath::Tvs)]
    );
    let config = bench.config();
    let (_, facts) = bench.give(&config);
    assert_eq!(facts[0], accepted(FileKind::Config, AcceptPath::Itl));
    assert_eq!(outcome(&facts), Some(Outcome::Ready));
}

#[test]
fn the_cache_vouches_until_its_time_is_over_and_survives_a_reset_but_not_an_erasure() {
    let cached = |wait: Span, erase: bool| cached_after(wait, Span::ZERO, erase);
    let skipped = |skip: Span| cached_after(Span::ZERO, skip, false);
    let hit = [Fact::TvsCacheHit, accepted(FileKind::Config, AcceptPath::TvsCache)];
    assert_eq!(skipped(Span::from_secs(86_399))[..2], hit);
    assert!(!skipped(Span::from_secs(86_400)).contains(&Fact::TvsCacheHit), "skipped, it passed");
    assert_eq!(cached(Span::ZERO, false)[..2], hit);
    assert_eq!(cached(Span::from_secs(86_399), false)[..2], hit);
    assert!(!cached(Span::from_secs(86_400), false).contains(&Fact::TvsCacheHit));
    assert!(!cached(Span::ZERO, true).contains(&Fact::TvsCacheHit));
}

/// What a phone makes of a configuration whose signer only the cache of TVS answers knows, after a
/// wait and a leap of the calendar.
fn cached_after(wait: Span, skip: Span, erase: bool) -> Vec<Fact> {
    let (mut bench, token, request) = asking();
    // The list is refused for its role, so that only the cache knows the signer afterwards.
    let bytes = answer(&bench, &request, |response| {
        response.known.as_mut().unwrap().roles = &[2, 3];
    });
    let (_, facts) = bench.said(token, &bytes);
    assert!(facts.contains(&refused(FileKind::Itl, Refusal::WrongRole)));
    bench.now = bench.now + wait;
    bench.env.shared.calendar().skip(skip);
    if erase {
        bench.feed(Input::EraseLists);
    }
    let config = bench.config();
    bench.give(&config).1
}

#[test]
fn answers_for_another_certificate_session_or_command_count_as_no_answer() {
    let stranger = Identity::self_signed(
        &CertificateSpec { common_name: "evil", not_before_s: 1_800_000_000, key_bits: 2048 },
        &mut KeySource::bank(99),
    );
    let changes: [Change; 3] = [
        Box::new(|response| response.session_id += 1),
        Box::new(|response| response.command = Command::VerifyResponse),
        Box::new(|response| {
            response.known = Some(Known { certificate: None, roles: &[0], ttl_s: 1 });
        }),
    ];
    for change in changes {
        let (mut bench, token, request) = asking();
        let bytes = answer(&bench, &request, change);
        let (_, facts) = bench.said(token, &bytes);
        let fault = TvsFault::WrongAnswer;
        assert_eq!(facts[0], Fact::TvsAttemptFailed { fault });
        assert!(facts.contains(&refused(FileKind::Itl, Refusal::UnknownSigner)));
    }
    let (mut bench, token, request) = asking();
    let session_id = Request::parse(&request).unwrap().session_id;
    let der = stranger.certificate.der();
    let known = Some(Known { certificate: Some(der), roles: &[0], ttl_s: 86_400 });
    let bytes = Response { command: Command::QueryResponse, session_id, known }.encode();
    let (_, facts) = bench.said(token, &bytes);
    assert_eq!(facts[0], Fact::TvsAttemptFailed { fault: TvsFault::WrongAnswer });
    let (mut bench, token, _) = asking();
    let (_, facts) = bench.said(token, b"W garbage");
    assert_eq!(facts[0], Fact::TvsAttemptFailed { fault: TvsFault::WrongAnswer });
}

#[test]
fn an_answer_with_a_stale_token_changes_nothing() {
    let (mut bench, token, request) = asking();
    let bytes = answer(&bench, &request, |_| {});
    let (actions, facts) = bench.said(token + 1, &bytes);
    assert_eq!((actions.len(), facts), (0, vec![Fact::Unexpected]));
    bench.boot();
    let (actions, facts) = bench.said(token, &bytes);
    assert_eq!((actions.len(), facts), (0, vec![Fact::Unexpected]), "a reset ends the wait");
    let list = bench.list();
    let (token, message) = question(&bench.give(&list).0);
    assert_ne!(message.bytes, request, "another session");
    let bytes = answer(&bench, &message.bytes, |_| {});
    bench.said(token + 1, &bytes);
    let (_, facts) = bench.said(token, &bytes);
    assert_eq!(facts[1], accepted(FileKind::Itl, AcceptPath::Tvs), "it still waited");
}

#[test]
fn an_erased_phone_takes_the_next_list_unchecked() {
    let mut bench = Bench::new();
    bench.regenerate(CertificateKind::CallManager);
    bench.regenerate(CertificateKind::Tvs);
    bench.feed(Input::EraseLists);
    bench.boot();
    let list = bench.list();
    let (_, facts) = bench.give(&list);
    assert_eq!(facts, [accepted(FileKind::Itl, AcceptPath::First)]);
}

#[test]
fn an_empty_file_counts_as_no_file_and_garbage_as_malformed() {
    let mut bench = Bench::new();
    bench.boot();
    let (actions, facts) = bench.give(b"");
    assert!(facts.is_empty());
    assert_eq!(&*request(&actions).file, "ITLFile.tlv");
    let (_, facts) = bench.give(b"<html>");
    assert_eq!(facts, [refused(FileKind::Itl, Refusal::Malformed)]);
}

#[test]
fn a_server_is_judged_by_role_issuer_serial_and_hash() {
    let bench = Bench::new();
    let lists = bench.phone.lists();
    let tvs = bench.cluster.dialogue(PUB, Dialogue::Tvs).unwrap().identity.certificate.clone();
    let call_manager = bench.cluster.tftp(PUB).unwrap().signer().certificate.clone();
    let accepts = |lists: &TrustLists, roles, der: &[u8]| {
        Trust { lists: lists.clone(), roles, date_s: None }.accepts(der)
    };
    assert!(accepts(lists, &[21], tvs.der()));
    assert!(!accepts(lists, &[4], tvs.der()), "another role");
    assert!(!accepts(lists, &[21], call_manager.der()), "in the list with other roles only");
    assert!(accepts(lists, &[2], call_manager.der()));
    let mut other = tvs.der().to_vec();
    *other.last_mut().unwrap() ^= 1;
    assert!(!accepts(lists, &[21], &other), "same issuer and serial, other bytes");
    assert!(!accepts(lists, &[21], b"no certificate"));
    assert!(!accepts(&TrustLists::default(), &[21], tvs.der()));
    let end_s = tvs.validity_s().1.unwrap().cast_unsigned();
    let at = |date_s| {
        Trust { lists: lists.clone(), roles: &[21], date_s: Some(date_s) }.accepts(tvs.der())
    };
    assert_eq!([at(0), at(end_s), at(end_s + 1)], [true, true, false]);
}

#[test]
fn tvs_knows_a_regenerated_certificate_before_any_restart() {
    let mut bench = Bench::new();
    let presented =
        bench.cluster.dialogue(PUB, Dialogue::Tvs).unwrap().identity.certificate.clone();
    let signer = bench.cluster.tftp(PUB).unwrap().signer().certificate.clone();
    for certificate in [CertificateKind::CallManager, CertificateKind::Tvs] {
        let action = Regenerate { certificate, node: PUB };
        assert!(bench.cluster.apply(&action, bench.now).unwrap().is_empty());
    }
    let tvs = &bench.cluster.dialogue(PUB, Dialogue::Tvs).unwrap().identity.certificate;
    assert_eq!(*tvs, presented, "presented only after the restart of TVS");
    let tftp = &bench.cluster.tftp(PUB).unwrap().signer().certificate;
    assert_eq!(*tftp, signer, "signs only after the restart of TFTP");
    let knowledge: &Knowledge = bench.cluster.knowledge();
    let (_, _, new) = bench
        .cluster
        .stores()
        .identities()
        .find(|(_, kind, _)| *kind == CertificateKind::CallManager)
        .unwrap();
    let question = resetstorm::wire::tvs::Question::Query {
        subject: new.certificate().subject(),
        issuer: new.certificate().issuer(),
        serial: new.certificate().serial(),
    };
    let request = Request { session_id: 1, device_name: "CP-8841-SEP0C75BD000000", question };
    let (bytes, _) = knowledge.answer(PUB, bench.now, &request.encode()).unwrap();
    assert!(Response::parse(&bytes).unwrap().known.is_some());
}

#[test]
fn a_phone_at_rest_is_small() {
    assert!(size_of::<Phone>() <= 128, "{} bytes", size_of::<Phone>());
}

#[test]
fn boot_time_and_think_time_are_waited_for_by_timers() {
    let mut bench = Bench::new();
    bench.env.profile = Arc::new(PhoneProfile {
        boot_time: BootTime::Fixed(Span::from_secs(60)),
        think: Span::from_secs(2),
        ..PhoneProfile::default()
    });
    bench.now = Time::ZERO + Span::from_secs(10);
    let timer = |actions: &[Action]| match actions {
        [Action::Wake { at, token }] => (*at, *token),
        other => panic!("{other:?}"),
    };
    let (at, token) = timer(&bench.feed(Input::Boot).0);
    assert_eq!(at, Time::ZERO + Span::from_secs(70));
    let (actions, facts) = bench.feed(Input::Timer { token: token + 1 });
    assert_eq!((actions.len(), facts), (0, vec![Fact::Unexpected]), "another timer");
    let again = timer(&bench.feed(Input::Boot).0).1;
    let (actions, facts) = bench.feed(Input::Timer { token });
    assert_eq!((actions.len(), facts), (0, vec![]), "the timer of the boot before");
    let token = again;
    let (actions, _) = bench.feed(Input::Timer { token });
    assert!(request(&actions).file.starts_with("CTLSEP"));
    for next in ["CTLFile", "ITLSEP"] {
        let (at, token) = timer(&bench.missing().0);
        assert_eq!(at, bench.now + Span::from_secs(2));
        let (actions, _) = bench.feed(Input::Timer { token });
        assert!(request(&actions).file.starts_with(next));
    }
}

#[test]
fn a_profile_may_leave_the_generic_ctl_alone() {
    let mut bench = Bench::new();
    bench.env.profile = Arc::new(PhoneProfile { ctl_generic: false, ..PhoneProfile::default() });
    bench.feed(Input::Boot);
    let (actions, _) = bench.missing();
    assert!(request(&actions).file.starts_with("ITLSEP"));
}

/// A phone with this many TVS members in its stored configuration that has asked the first one.
fn asking_group(members: usize) -> (Bench, u32) {
    let mut bench = Bench::new();
    let member =
        |n: usize| format!("<member priority=\"{n}\"><address>127.0.0.{n}</address></member>");
    let members: String = (0..members).map(member).collect();
    let config = format!("<device><TVS><members>{members}</members></TVS></device>");
    let (list, identity) = (bench.list(), bench.cluster.tftp(PUB).unwrap().config_of(PhoneId(0)).1);
    bench
        .phone
        .provision(
            &bench.env,
            ListFiles { ctl: None, itl: Some(&list) },
            config.as_bytes(),
            identity,
        )
        .unwrap();
    bench.regenerate(CertificateKind::CallManager);
    bench.boot();
    let list = bench.list();
    let (actions, _) = bench.give(&list);
    let (token, message) = question(&actions);
    assert_eq!(message.server, "127.0.0.0:2445".parse().unwrap());
    (bench, token)
}

#[test]
fn at_most_three_members_are_asked_each_once_in_order() {
    let (mut bench, mut token) = asking_group(5);
    let fault = TvsFault::TimedOut;
    for next in [1, 2] {
        let (actions, facts) = bench.silent(token, fault);
        assert_eq!(facts, [Fact::TvsAttemptFailed { fault }, Fact::TvsFailover]);
        let (new, message) = question(&actions);
        assert_eq!(message.server.to_string(), format!("127.0.0.{next}:2445"));
        token = new;
    }
    let (_, facts) = bench.silent(token, fault);
    let unknown = refused(FileKind::Itl, Refusal::UnknownSigner);
    assert_eq!(facts, [Fact::TvsAttemptFailed { fault }, unknown]);
}

#[test]
fn stuck_needs_every_member_to_present_a_stranger() {
    use TvsFault::{CertificateRefused, Connection, TimedOut};
    let outcome_of = |faults: &[TvsFault]| {
        let (mut bench, mut token) = asking_group(faults.len());
        for (at, &fault) in faults.iter().enumerate() {
            let (actions, _) = bench.silent(token, fault);
            if at + 1 < faults.len() {
                token = question(&actions).0;
            }
        }
        // The config is refused for good reasons of its own.
        let (_, facts) = bench.give(b"no config");
        outcome(&facts).unwrap()
    };
    let unreachable = Outcome::Failed(Failure::TvsUnreachable);
    assert_eq!(outcome_of(&[CertificateRefused]), Outcome::Stuck);
    assert_eq!(outcome_of(&[CertificateRefused; 3]), Outcome::Stuck);
    assert_eq!(outcome_of(&[CertificateRefused, Connection]), unreachable);
    assert_eq!(outcome_of(&[TimedOut, CertificateRefused, CertificateRefused]), unreachable);
}

#[test]
fn a_timer_of_a_boot_that_a_reset_has_ended_fires_in_vain() {
    let mut bench = Bench::new();
    let think = resetstorm::base::Span::from_secs(1);
    bench.env.profile = Arc::new(PhoneProfile { think, ..PhoneProfile::default() });
    bench.feed(Input::Boot);
    let (actions, _) = bench.missing();
    let [Action::Wake { token, .. }] = &actions[..] else { panic!("{actions:?}") };
    bench.feed(Input::Boot);
    let (actions, facts) = bench.feed(Input::Timer { token: *token });
    assert_eq!((actions.len(), facts.len()), (0, 0), "it waits for its CTL");
    let (_, facts) = bench.feed(Input::Timer { token: token + 1 });
    assert_eq!(facts, [Fact::Unexpected], "nobody has set this one");
}

#[test]
fn a_member_by_name_is_resolved_first_and_one_that_is_not_found_is_out_of_reach() {
    let mut bench = Bench::new();
    let member = |name: &str| format!("<member><address>{name}</address></member>");
    let members = member("a.cucm.example") + &member("b.cucm.example");
    let config = format!("<device><TVS><members>{members}</members></TVS></device>");
    let (list, identity) = (bench.list(), bench.cluster.tftp(PUB).unwrap().config_of(PhoneId(0)).1);
    bench
        .phone
        .provision(
            &bench.env,
            ListFiles { ctl: None, itl: Some(&list) },
            config.as_bytes(),
            identity,
        )
        .unwrap();
    bench.regenerate(CertificateKind::CallManager);
    bench.boot();
    let list = bench.list();
    let (actions, _) = bench.give(&list);
    let (token, name) = lookup(&actions);
    assert_eq!(name, "a.cucm.example");
    let (actions, facts) = bench.answered(Ok(Answer::Address(None)));
    let fault = TvsFault::Unresolved;
    assert_eq!(facts, [Fact::TvsAttemptFailed { fault }, Fact::TvsFailover]);
    let (second, name) = lookup(&actions);
    assert_eq!(name, "b.cucm.example");
    let there = Some([127, 0, 0, 2].into());
    let result = Ok(Answer::Address(there));
    let (actions, facts) = bench.feed(Input::Answered { token, result });
    assert_eq!((actions.len(), facts), (0, vec![Fact::Unexpected]), "an earlier question");
    let (actions, _) = bench.feed(Input::Answered { token: second, result });
    let (token, message) = question(&actions);
    assert_eq!(Some(message.server.ip()), there);
    let fault = TvsFault::Connection;
    let (_, facts) = bench.silent(token, fault);
    let unknown = refused(FileKind::Itl, Refusal::UnknownSigner);
    assert_eq!(facts, [Fact::TvsAttemptFailed { fault }, unknown]);
    let (_, facts) = bench.give(b"no config");
    assert_eq!(outcome(&facts), Some(Outcome::Failed(Failure::TvsUnreachable)));
}

#[test]
fn a_name_without_a_record_is_not_asked_for_again_before_its_negative_time_to_live_is_over() {
    let mut bench = Bench::new();
    let (ttl, fault) = (Span::from_secs(60), TvsFault::Unresolved);
    bench.env.profile = Arc::new(PhoneProfile { dns_negative_ttl: ttl, ..PhoneProfile::default() });
    let config = "<device><TVS><members><member><address>a.cucm.example</address></member>\
        </members></TVS></device>";
    let list = bench.list();
    let identity = bench.cluster.tftp(PUB).unwrap().config_of(PhoneId(0)).1;
    let lists = ListFiles { ctl: None, itl: Some(&list) };
    bench.phone.provision(&bench.env, lists, config.as_bytes(), identity).unwrap();
    bench.regenerate(CertificateKind::CallManager);
    let list = bench.list();
    let attempt = Fact::TvsAttemptFailed { fault };
    let refused = refused(FileKind::Itl, Refusal::UnknownSigner);
    let asked = Time::ZERO + Span::from_secs(5);
    // An answer that does not come says nothing of the name.
    for (answer, at) in
        [(Err(ErrandFault::NameUnanswered), Time::ZERO), (Ok(Answer::Address(None)), asked)]
    {
        bench.now = at;
        bench.boot();
        let (actions, _) = bench.give(&list);
        assert_eq!(lookup(&actions).1, "a.cucm.example");
        let (_, facts) = bench.answered(answer);
        assert_eq!(facts, [attempt, refused]);
    }
    bench.now = asked + ttl - Span::from_nanos(1);
    bench.boot();
    let (actions, facts) = bench.give(&list);
    request(&actions);
    assert_eq!(
        facts,
        [Fact::TvsCacheMiss, Fact::NameFromCache, attempt, refused],
        "though its record may be back"
    );
    bench.now = asked + ttl;
    bench.boot();
    let (actions, _) = bench.give(&list);
    assert_eq!(lookup(&actions).1, "a.cucm.example");
}

#[test]
fn a_phone_without_a_stored_config_has_nobody_to_ask() {
    let mut bench = Bench::new();
    let lists = bench.phone.lists().clone();
    bench.phone.install(lists, None);
    bench.regenerate(CertificateKind::CallManager);
    bench.boot();
    let list = bench.list();
    let (actions, facts) = bench.give(&list);
    request(&actions);
    let alarm = refused(FileKind::Itl, Refusal::UnknownSigner);
    assert_eq!(facts, [Fact::TvsCacheMiss, alarm]);
    let config = bench.config();
    let (_, facts) = bench.give(&config);
    assert_eq!(outcome(&facts), Some(Outcome::Stuck));
}

#[test]
fn a_failed_transfer_goes_on_to_the_next_file_and_fails_the_boot() {
    let mut bench = Bench::new();
    bench.feed(Input::Boot);
    let fault = TransferFault::TimedOut;
    bench.answered(Err(ErrandFault::Tftp(fault)));
    let (actions, _) = bench.answered(Err(ErrandFault::NoServer));
    assert!(request(&actions).file.starts_with("ITLSEP"));
    let list = bench.list();
    bench.give(&list);
    let config = bench.config();
    let (_, facts) = bench.give(&config);
    assert_eq!(outcome(&facts), Some(Outcome::Failed(Failure::Transfer(fault))));
}

#[test]
fn a_wrong_signature_by_a_signer_that_only_the_ctl_holds_is_refused_without_asking_tvs() {
    let mut bench = Bench::new();
    let old = bench.list();
    let mut config = bench.config();
    bench.regenerate(CertificateKind::CallManager);
    let (new, mut list) = (bench.list(), bench.list());
    for bytes in [&mut config, &mut list] {
        let end = bytes.len() - 1;
        bytes[end] ^= 1;
    }
    // The CTL holds the signer of each file, the ITL does not; TVS servers are in both.
    let held = |bytes: &[u8]| Some(Arc::new(TrustList::parse(bytes).unwrap()));
    let verifier = Verifier::real();
    for (kind, bytes, ctl, itl) in
        [(FileKind::Itl, &list, &new, &old), (FileKind::Config, &config, &old, &new)]
    {
        let lists = TrustLists { ctl: held(ctl), itl: held(itl) };
        let file = SignedFile::parse(bytes).unwrap();
        let wrong = Judgement::Refuse(Refusal::WrongSignature);
        assert_eq!(judge(&lists, kind, &file, &verifier, None), wrong, "{kind:?}");
        let itl_only = TrustLists { ctl: None, itl: held(itl) };
        let asked = judge(&itl_only, kind, &file, &verifier, None);
        assert_eq!(asked, Judgement::AskTvs, "the ITL does not know the signer of this {kind:?}");
    }
    // The whole phone with both lists, a configuration and TVS servers: nothing goes out.
    let stored = bench.phone.config().cloned();
    assert!(stored.as_ref().is_some_and(|config| !config.content.tvs.is_empty()));
    bench.phone.install(TrustLists { ctl: held(&new), itl: held(&old) }, stored);
    bench.boot();
    let (actions, facts) = bench.give(&list);
    assert!(facts.contains(&refused(FileKind::Itl, Refusal::WrongSignature)), "{facts:?}");
    request(&actions);
}

#[test]
fn erased_lists_leave_nothing_in_the_cache_of_tvs() {
    let (mut bench, token, request) = asking();
    // The roles do not fit the list, so that the answer stays in the cache alone.
    let bytes = answer(&bench, &request, |response| {
        response.known.as_mut().unwrap().roles = &[2, 3];
    });
    bench.said(token, &bytes);
    let vouched_config = bench.config();
    let vouched_list = bench.list();
    bench.feed(Input::EraseLists);
    // A list of strangers is taken unchecked, as by any erased phone; it names no old signer.
    let mut strangers = Bench::new();
    strangers.regenerate(CertificateKind::CallManager);
    strangers.regenerate(CertificateKind::CallManager);
    let list = strangers.list();
    bench.boot();
    let (_, facts) = bench.give(&list);
    assert_eq!(facts[0], accepted(FileKind::Itl, AcceptPath::First));
    let (_, facts) = bench.give(&vouched_config);
    assert!(!facts.contains(&Fact::TvsCacheHit), "{facts:?}");
    assert!(!facts.iter().any(|fact| matches!(fact, Fact::FileAccepted { .. })), "{facts:?}");
    bench.boot();
    let (_, facts) = bench.give(&vouched_list);
    assert!(!facts.contains(&Fact::TvsCacheHit), "{facts:?}");
}

/// BOOT-21, X-18: `Phone in IPv4 only mode`.
#[test]
fn a_phone_in_ipv4_only_mode_passes_over_a_tvs_server_of_ipv6() {
    for (ip_mode, first) in [(IpMode::Ipv4, 1), (IpMode::Ipv6, 0), (IpMode::Dual, 0)] {
        let mut bench = Bench::new();
        bench.env.profile = Arc::new(PhoneProfile { ip_mode, ..PhoneProfile::default() });
        let member = |name: &str| format!("<member><address>{name}</address></member>");
        let members = member("2001:db8::1") + &member("192.0.2.2") + &member("c.cucm.example");
        let config = format!("<device><TVS><members>{members}</members></TVS></device>");
        let list = bench.list();
        let identity = bench.cluster.tftp(PUB).unwrap().config_of(PhoneId(0)).1;
        let lists = ListFiles { ctl: None, itl: Some(&list) };
        bench.phone.provision(&bench.env, lists, config.as_bytes(), identity).unwrap();
        bench.regenerate(CertificateKind::CallManager);
        bench.boot();
        let list = bench.list();
        let (actions, mut facts) = bench.give(&list);
        let (mut token, message) = question(&actions);
        let servers: [IpAddr; 2] = ["2001:db8::1", "192.0.2.2"].map(|text| text.parse().unwrap());
        assert_eq!(message.server.ip(), servers[first], "{ip_mode}");
        let unresolved = Fact::TvsAttemptFailed { fault: TvsFault::Unresolved };
        let skips = [unresolved, Fact::TvsFailover];
        assert_eq!(facts.split_off(1), &skips[..2 * first], "{ip_mode}");
        // The name is asked for a record of the mode.
        loop {
            let (actions, _) = bench.silent(token, TvsFault::TimedOut);
            if let [Action::Do(Errand { ask: Ask::Name(name, asked), .. })] = &actions[..] {
                assert_eq!((&**name, *asked), ("c.cucm.example", ip_mode));
                break;
            }
            (token, _) = question(&actions);
        }
    }
}

/// TVS-19: a 79xx opens a session with TVS only if it has none. Its certificate changes between the
/// files of one boot, so that two of them have to be vouched for.
#[test]
fn a_79xx_keeps_its_session_with_tvs_from_file_to_file() {
    let asked_twice = |model: u16| {
        let mut bench = Bench::new();
        bench.phone = Phone::new(PhoneId(0), model);
        let (config, identity) = bench.cluster.tftp(PUB).unwrap().config_of(PhoneId(0));
        let list = bench.list();
        let lists = ListFiles { ctl: None, itl: Some(&list) };
        bench.phone.provision(&bench.env, lists, &config, identity).unwrap();
        bench.boot();
        bench.regenerate(CertificateKind::CallManager);
        let list = bench.list();
        let (token, first) = question(&bench.give(&list).0);
        let bytes = answer(&bench, &first.bytes, |_| {});
        bench.said(token, &bytes);
        bench.regenerate(CertificateKind::CallManager);
        let config = bench.config();
        let (token, second) = question(&bench.give(&config).0);
        assert_eq!(first.server, second.server);
        (bench, token, [first.stays, second.stays])
    };
    let failed = Fact::TvsAttemptFailed { fault: TvsFault::Connection };
    for (model, keeps) in [(7962, true), (7970, true), (8841, false)] {
        let (mut bench, token, stays) = asked_twice(model);
        assert_eq!(stays, [keeps; 2], "{model}");
        assert_eq!(bench.silent(token, TvsFault::Connection).1[0], failed);
    }
}
