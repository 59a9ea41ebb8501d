//! A thousand small worlds, each drawn from its number: cluster, fleet, links, what the operator
//! does and what fails. In every one of them no phone installs what its trust does not cover,
//! counts add up, and when the faults have ended each phone is ready or provably stuck.
//!
//! `RESETSTORM_WORLD=17 cargo test --test large small_worlds` plays one of them and tells its story;
//! `RESETSTORM_WORLDS=20000` plays more.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::worlds::scenario;
use rayon::prelude::*;
use resetstorm::base::{ClusterId, Home, NodeId, PhoneId};
use resetstorm::cluster::{Cluster, Contents, ServiceKind, TftpService};
use resetstorm::crypto::{Certificate, verify_file};
use resetstorm::measure::Section;
use resetstorm::phone::{
    AcceptPath, Answer, Fact, Failure, FileKind, Input, Outcome, PROVISIONING_ROLES, Phone,
    TrustLists, TrustState,
};
use resetstorm::scenario::{Plan, load};
use resetstorm::sim::{Seen, SimOptions, SimRun, World};
use resetstorm::transfer::TransferFault;
use resetstorm::wire::tvs::Response;
use resetstorm::wire::{Dialogue, ROLE_TVS, SignedFile, TvsMember};

/// A build without optimisation takes four times as long; `.ci/run` plays all with one.
const WORLDS: u64 = if cfg!(debug_assertions) { 250 } else { 1_000 };

/// Looks over the shoulder of every phone, with a judgement of its own.
#[derive(Default)]
struct Watcher {
    /// The lists of TFTP nodes of the phones, who take turns.
    tftp: Vec<Home>,
    /// The file that each phone was handed last.
    files: BTreeMap<PhoneId, Vec<u8>>,
    accepted: u64,
    refused: u64,
    settled: u64,
    faults: Vec<String>,
}

impl Watcher {
    fn see(&mut self, seen: &Seen<'_>) {
        let id = seen.phone.id();
        if let Input::Answered { result: Ok(Answer::File(bytes)), .. } = seen.input {
            self.files.insert(id, bytes.to_vec());
        }
        for fact in seen.facts {
            match fact {
                Fact::FileAccepted { kind, path } => {
                    self.accepted += 1;
                    let file = &self.files[&id];
                    let home = &self.tftp[id.0 as usize % self.tftp.len()];
                    if let Err(fault) = covered(seen, *kind, *path, file, home) {
                        let text =
                            format!("{id:?} took {kind:?} by {path:?} at {}: {fault}", seen.now);
                        self.faults.push(text);
                    }
                }
                Fact::FileRefused { .. } => self.refused += 1,
                Fact::Settled { .. } => self.settled += 1,
                Fact::Unexpected => {
                    self.faults.push(format!("{id:?}: unexpected {:?}", seen.input));
                }
                _ => {}
            }
        }
    }
}

/// Whether the trust that a phone had covers a file that it took.
fn covered(
    seen: &Seen<'_>,
    kind: FileKind,
    path: AcceptPath,
    bytes: &[u8],
    home: &[NodeId],
) -> Result<(), &'static str> {
    let state = seen.lists.state();
    match path {
        AcceptPath::First if state == TrustState::A => return Ok(()),
        AcceptPath::Blank if state == TrustState::ABlank => return Ok(()),
        AcceptPath::Https => return over_https(seen, kind, bytes, home),
        AcceptPath::First | AcceptPath::Blank => return Err("unchecked, although it has a list"),
        _ => {}
    }
    let file = SignedFile::parse(bytes).map_err(|_| "it does not parse")?;
    let (issuer, serial) = (file.header.issuer, file.header.serial);
    let list = match path {
        AcceptPath::Ctl => seen.lists.ctl.as_ref(),
        _ => seen.lists.itl.as_ref(),
    };
    let record = list.and_then(|list| list.find(kind.roles(), issuer, serial));
    match (path, record) {
        (AcceptPath::Ctl | AcceptPath::Itl, None) => Err("its signer is not in the list"),
        (AcceptPath::Ctl | AcceptPath::Itl, Some(record)) => {
            let verdict = verify_file(&file, record.public_key(), &mut Vec::new());
            verdict.map_err(|_| "its signature is wrong")
        }
        (_, Some(_)) => Err("TVS was asked, although the signer is in the list"),
        (AcceptPath::TvsCache, None) => Ok(()),
        (_, None) => vouched(seen, &file),
    }
}

/// Whether a phone may take a configuration without a signature: its lists vouch for its server.
fn over_https(
    seen: &Seen<'_>,
    kind: FileKind,
    bytes: &[u8],
    home: &[NodeId],
) -> Result<(), &'static str> {
    if kind != FileKind::Config || SignedFile::is_signed(bytes) {
        return Err("only a configuration without a signature is taken for its server's sake");
    }
    let mut services = home.iter().filter_map(|&node| seen.cluster.tftp(node));
    let trusted = |service: &Arc<TftpService>| {
        seen.lists.judge_server(PROVISIONING_ROLES, &service.signer().certificate)
    };
    if services.any(trusted) {
        Ok(())
    } else {
        Err("its lists do not hold the server's certificate")
    }
}

/// Whether an answer of TVS vouches for the signer, and whether the phone could trust who gave it.
fn vouched(seen: &Seen<'_>, file: &SignedFile<'_>) -> Result<(), &'static str> {
    let Input::Answered { result: Ok(Answer::Said(bytes)), .. } = seen.input else {
        return Err("without an answer");
    };
    let answer = Response::parse(bytes).map_err(|_| "the answer does not parse")?;
    let der = answer.known.and_then(|known| known.certificate).ok_or("TVS did not vouch")?;
    let certificate = Certificate::from_der(der).map_err(|_| "the certificate does not parse")?;
    verify_file(file, certificate.public_key(), &mut Vec::new())
        .map_err(|_| "the signature is not by the certificate of TVS")?;
    if !trusted_server(seen.lists, seen.members, seen.cluster) {
        return Err("no TVS server of its configuration presents what its list holds");
    }
    Ok(())
}

/// Whether any of these servers presents a certificate that the lists hold.
fn trusted_server(lists: &TrustLists, members: &[TvsMember], cluster: &Cluster) -> bool {
    serving(members, cluster).iter().flatten().any(|der| {
        let certificate = resetstorm::crypto::Certificate::from_der(der).unwrap();
        lists.judge_server(&[ROLE_TVS], &certificate)
    })
}

/// What each of these servers presents, where it runs TVS.
fn serving(members: &[TvsMember], cluster: &Cluster) -> Vec<Option<Vec<u8>>> {
    let topology = cluster.topology();
    let of_member = |member: &TvsMember| {
        let address = address_of(member, cluster);
        let at = |node: &&NodeId| Some(topology.node(**node).address) == address;
        let nodes: Vec<NodeId> = topology.ids().collect();
        let node = nodes.iter().find(at)?;
        Some(cluster.dialogue(*node, Dialogue::Tvs)?.identity.certificate.der().to_vec())
    };
    members.iter().take(3).map(of_member).collect()
}

/// Where a server is, whether or not its first name is in the DNS at the moment.
fn address_of(member: &TvsMember, cluster: &Cluster) -> Option<IpAddr> {
    let first_name = member.address.strip_prefix('n').and_then(|name| name.split('.').next());
    let node =
        first_name.and_then(|number| number.parse().ok()).map(|node| ClusterId::FIRST.node(node));
    match node {
        Some(node) => Some(cluster.topology().node(node).address),
        None => {
            member.address.parse().ok().or_else(|| {
                cluster.hosts().resolve(&member.address, resetstorm::base::IpMode::Dual)
            })
        }
    }
}

/// Plays world number `seed`; the faults that were found.
fn play(seed: u64) -> Vec<String> {
    let text = scenario(seed);
    let plan = match load(Path::new("world.toml"), &text, &[], &[]) {
        Ok(plan) => plan,
        Err(error) => return vec![format!("the scenario is none: {error}\n{text}")],
    };
    let tftp = plan.fleet.tftp.clone();
    let watcher = Arc::new(Mutex::new(Watcher { tftp, ..Watcher::default() }));
    let eyes = Arc::clone(&watcher);
    let contents =
        if seed.is_multiple_of(2) { Contents::OfEachPhone } else { Contents::OfEachModel };
    let world = World::new(&plan, SimOptions { contents, ..SimOptions::default() })
        .with_witness(Box::new(move |step| eyes.lock().unwrap().see(step)));
    let run = world.run();
    let watcher = watcher.lock().unwrap();
    let mut faults = watcher.faults.clone();
    faults.extend(sums(&plan, &run, &watcher));
    for phone in &run.phones {
        let outcome = run.ledger.phones()[phone.id().0 as usize].outcome;
        if let Some(fault) = end(&plan, &run, phone, outcome) {
            faults.push(format!("{:?} ended {outcome:?}: {fault}", phone.id()));
        }
    }
    faults
}

/// Counts that do not add up.
fn sums(plan: &Plan, run: &SimRun, watcher: &Watcher) -> Vec<String> {
    let tallies = run.ledger.tallies();
    let counts = &run.ledger.counts();
    let in_all = tallies.ready + tallies.stuck + tallies.failed + tallies.not_reset;
    let reasons: u64 = tallies.failures.values().sum();
    let files = [counts.ctls, counts.itls, counts.configs];
    let refused: u64 = files.iter().map(|files| files.refused).sum();
    let judged = files.iter().flat_map(Section::numbers).filter_map(|(_, count)| count);
    let accepted = judged.sum::<f64>() as u64 - refused;
    let lookups = run.facts.known.serve.tvs_answers;
    let mut faults = Vec::new();
    let mut check = |holds: bool, what: &str| {
        if !holds {
            faults.push(format!("{what}: {tallies:?} {counts:?}"));
        }
    };
    check(in_all == u64::from(plan.fleet.phones), "each phone has one outcome");
    check(tallies.booting == 0, "nobody boots any more");
    check(reasons == tallies.failed, "each failed phone has a reason");
    check(counts.phones.boots >= u64::from(plan.fleet.phones), "each phone has booted");
    // The ledger counts from the first reset on.
    check(accepted <= watcher.accepted && refused <= watcher.refused, "no file judged unseen");
    check(counts.tvs.lookups <= lookups, "no answer that nobody gave");
    check(counts.unexpected == 0, "nothing unexpected");
    check(tallies.list_alarms <= refused && tallies.config_alarms <= refused, "alarms have causes");
    check(run.facts.signed.made >= run.facts.signed_before.made, "signatures are not unmade");
    faults
}

/// What is wrong with the end of a phone, when all faults have ended and all phones were reset.
fn end(plan: &Plan, run: &SimRun, phone: &Phone, outcome: Option<Outcome>) -> Option<String> {
    let tftp = &plan.fleet.tftp;
    let home = &tftp[phone.id().0 as usize % tftp.len()];
    let service = run.cluster.tftp(home[0])?;
    let mut services = home.iter().filter_map(|&node| run.cluster.tftp(node));
    let current = services.any(|service| phone.is_current(|file| service.identity_of(file)));
    let holds = |kind: FileKind, signer: &Certificate| {
        let list = phone.lists().itl.as_ref();
        list.is_some_and(|list| list.find(kind.roles(), signer.issuer(), signer.serial()).is_some())
    };
    let knows_all = holds(FileKind::Itl, &service.list_signer().certificate)
        && holds(FileKind::Config, &service.signer().certificate);
    let members = phone.config().map(|config| config.content.tvs.clone()).unwrap_or_default();
    let helped = trusted_server(phone.lists(), &members, &run.cluster);
    let site = plan.fleet.site_of(plan.seed, phone.id());
    let lossy = plan.fleet.sites[site].link.loss > 0.0;
    match outcome {
        Some(Outcome::Ready) if current => None,
        Some(Outcome::Ready) => Some("what it holds is not what is served".to_owned()),
        // One that has lost its way to the first server has refused the list of the second.
        Some(Outcome::Stuck) if knows_all && !(lossy && home.len() > 1) => {
            Some("its list holds the signers".to_owned())
        }
        Some(Outcome::Stuck) if helped => Some("a TVS server could help".to_owned()),
        Some(Outcome::Stuck) => None,
        // A network that loses is a fault that does not end: a server that was never heard from
        // holds a transfer for 5 s only, which is two acknowledgements of a phone.
        Some(Outcome::Failed(Failure::Transfer(
            TransferFault::Stalled | TransferFault::TimedOut,
        ))) if lossy => None,
        other => Some(format!("neither ready nor stuck: {other:?}")),
    }
}

#[test]
fn a_thousand_small_worlds_are_safe_and_come_to_rest() {
    let _turn = crate::TURN.blocking_lock();
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let Some(seed) = number("RESETSTORM_WORLD") {
        println!("{}", scenario(seed));
        let faults = play(seed);
        assert!(faults.is_empty(), "world {seed}\n{}", faults.join("\n"));
        return;
    }
    let worlds = number("RESETSTORM_WORLDS").unwrap_or(WORLDS);
    let failed: Vec<String> = (0..worlds)
        .into_par_iter()
        .filter_map(|seed| {
            let faults = play(seed);
            (!faults.is_empty()).then(|| {
                format!(
                    "RESETSTORM_WORLD={seed} cargo test --test large small_worlds -- --nocapture\n  {}",
                    faults.join("\n  ")
                )
            })
        })
        .collect();
    let shown: Vec<&str> = failed.iter().take(8).map(String::as_str).collect();
    assert!(failed.is_empty(), "{} of {worlds} worlds:\n{}", failed.len(), shown.join("\n"));
}

#[test]
fn worlds_differ_in_what_comes_of_them() {
    let outcomes: Vec<[bool; 5]> = (0..150)
        .into_par_iter()
        .map(|seed| {
            let plan = load(Path::new("world.toml"), &scenario(seed), &[], &[]).unwrap();
            let ledger = World::new(&plan, SimOptions::default()).run().ledger;
            let (tallies, counts) = (ledger.tallies(), ledger.counts());
            let (lost, elsewhere) = (counts.tvs.unresolved > 0, counts.tftp.failovers > 0);
            [tallies.ready > 0, tallies.stuck > 0, tallies.list_alarms > 0, lost, elsewhere]
        })
        .collect();
    let least = [("ready", 15), ("stuck", 15), ("alarmed", 15), ("nameless", 3), ("elsewhere", 3)];
    for (at, (what, least)) in least.into_iter().enumerate() {
        let count = outcomes.iter().filter(|outcome| outcome[at]).count();
        assert!((least..150).contains(&count), "{count} of 150 worlds have {what} phones");
    }
}

#[test]
fn tvs_runs_where_the_worlds_say_so() {
    // The generator itself: nodes without TVS exist, and so do nodes with every service.
    let shapes: Vec<Plan> = (0..40)
        .map(|seed| load(Path::new("world.toml"), &scenario(seed), &[], &[]).unwrap())
        .collect();
    let nodes = || shapes.iter().flat_map(|plan| &plan.topology.nodes);
    assert!(nodes().any(|node| !node.services.contains(&ServiceKind::Tvs)));
    assert!(nodes().any(|node| node.services.len() == 4));
}
