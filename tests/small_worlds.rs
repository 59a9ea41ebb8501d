//! A thousand small worlds, each drawn from its number: cluster, fleet, links, what the operator
//! does and what fails. In every one of them no phone installs what its trust does not cover,
//! counts add up, and when the faults have ended each phone is ready or provably stuck.
//!
//! `RESETSTORM_WORLD=17 cargo test --test small_worlds` plays one of them and tells its story;
//! `RESETSTORM_WORLDS=20000` plays more.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rayon::prelude::*;
use resetstorm::base::{NodeId, PhoneId, Purpose, Stream, stream};
use resetstorm::cluster::{Cluster, Contents, ServiceKind};
use resetstorm::crypto::{Certificate, verify_file};
use resetstorm::phone::{
    AcceptPath, Fact, Failure, FileKind, Input, Outcome, PROVISIONING_ROLES, Phone, TrustLists,
    TrustState, TvsFault,
};
use resetstorm::scenario::{Plan, load};
use resetstorm::sim::{Seen, SimOptions, SimRun, World};
use resetstorm::transfer::TransferFault;
use resetstorm::wire::tvs::Response;
use resetstorm::wire::{ROLE_TVS, SignedFile, TvsMember};

/// A build without optimisation takes four times as long; `.ci/run` plays all with one.
const WORLDS: u64 = if cfg!(debug_assertions) { 250 } else { 1_000 };

/// Draws a world.
struct Dice(Stream);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0.next_u64() % end
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }
}

/// What a world consists of, as far as its operator must know.
struct Shape {
    /// Services of each node.
    services: Vec<Vec<&'static str>>,
    recovery: bool,
}

impl Shape {
    fn draw(dice: &mut Dice, recovery: bool) -> Shape {
        let nodes = 1 + dice.below(4) as usize;
        let mut services = Vec::new();
        for node in 0..nodes {
            let mut of_node = Vec::new();
            if node == 0 && dice.chance(80) {
                of_node.push("capf");
            }
            if node == 0 || dice.chance(40) {
                of_node.push("tftp");
            }
            if dice.chance(85) {
                of_node.push("tvs");
            }
            if dice.chance(70) {
                of_node.push("callmanager");
            }
            services.push(of_node);
        }
        // Somebody runs TVS: members of groups do.
        if services.iter().all(|of_node| !of_node.contains(&"tvs")) {
            services[0].push("tvs");
        }
        Shape { services, recovery }
    }

    fn nodes(&self) -> u64 {
        self.services.len() as u64
    }
}

/// The scenario of world number `seed`.
fn scenario(seed: u64) -> String {
    let mut dice = Dice(stream(seed, 0, Purpose::Network));
    let release = dice.pick(&["8.6", "11.5", "12.5", "14"]);
    let shape = Shape::draw(&mut dice, release != "8.6");
    let mut out = format!("schema = 1\nname = \"world\"\nseed = {seed}\n[cluster]\n");
    let cache = dice.pick(&["off", "lazy", "lazy", "prewarm"]);
    writeln!(out, "release = \"{release}\"\nsign-cache = \"{cache}\"").unwrap();
    // Draws of its own: the worlds without names stay what they were.
    let mut dns = Dice(stream(seed, 1, Purpose::Network));
    let dns = dns.chance(40).then_some(&mut dns);
    if dns.is_some() {
        out.push_str("domain = \"cucm.example\"\n");
    }
    write_costs(&mut out, &mut dice);
    for (node, services) in shape.services.iter().enumerate() {
        let http = dice.pick(&["", ", http = 6970", ", http = 6970, https = 6971"]);
        writeln!(
            out,
            "[[cluster.node]]\nname = \"n{node}\"\naddress = \"127.0.0.{}\"\n\
             services = {services:?}\nports = {{ tftp = 6969, tvs = 2445{http} }}",
            node + 1
        )
        .unwrap();
    }
    write_groups(&mut out, &mut dice, &shape);
    write_fleet(&mut out, &mut dice, &shape);
    write_operator(&mut out, &mut dice, &shape, dns);
    out.push_str("[run]\nmax-wall = \"10h\"\n");
    out
}

fn write_costs(out: &mut String, dice: &mut Dice) {
    if dice.chance(60) {
        return;
    }
    writeln!(out, "[cluster.cost]\ncores = {}", 1 + dice.below(3)).unwrap();
    writeln!(out, "shared-host = {}", dice.chance(50)).unwrap();
    let lengths = ["0s", "2ms", "300ms"];
    writeln!(out, "sign = \"{}\"", dice.pick(&lengths)).unwrap();
    writeln!(out, "handshake = \"{}\"", dice.pick(&lengths)).unwrap();
    writeln!(out, "build-time = \"{}\"", dice.pick(&["0s", "0s", "5s"])).unwrap();
    writeln!(out, "resets-per-second = {:?}", dice.pick(&[0.0, 2.0])).unwrap();
    writeln!(out, "registrations-per-second = {:?}", dice.pick(&[0.0, 5.0])).unwrap();
}

fn write_groups(out: &mut String, dice: &mut Dice, shape: &Shape) {
    let groups = 1 + dice.below(3);
    let mut left = 100;
    for group in 0..groups {
        let part = if group + 1 == groups { left } else { dice.below(left + 1) };
        left -= part;
        let runs_tvs = |node: &u64| shape.services[*node as usize].contains(&"tvs");
        let mut members: Vec<u64> = (0..shape.nodes()).filter(runs_tvs).collect();
        let size = 1 + dice.below(members.len().min(3) as u64);
        for at in 0..members.len() {
            let other = at + dice.below((members.len() - at) as u64) as usize;
            members.swap(at, other);
        }
        let names: Vec<String> =
            members.iter().take(size as usize).map(|node| format!("n{node}")).collect();
        writeln!(
            out,
            "[[cluster.group]]\nname = \"g{group}\"\nmembers = {names:?}\nshare = {:?}",
            part as f64 / 100.0
        )
        .unwrap();
    }
}

fn write_fleet(out: &mut String, dice: &mut Dice, shape: &Shape) {
    let serves = |node: &u64| shape.services[*node as usize].contains(&"tftp");
    let tftp: Vec<u64> = (0..shape.nodes()).filter(serves).collect();
    let one = dice.pick(&tftp);
    let nodes = if dice.chance(70) {
        format!("\"n{one}\"")
    } else {
        format!("{:?}", tftp.iter().map(|node| format!("n{node}")).collect::<Vec<_>>())
    };
    writeln!(
        out,
        "[fleet]\nphones = {}\nmodels = {{ 8841 = 0.5, 7962 = 0.5 }}\ntftp = {}\n\
         start = \"{}\"\narrival = {{ within = \"{}\" }}",
        1 + dice.below(12),
        nodes,
        dice.pick(&["itl-current", "itl-current", "factory"]),
        dice.pick(&["0s", "3s", "40s"]),
    )
    .unwrap();
    for (name, share) in [("near", 0.5), ("far", 0.5)] {
        writeln!(
            out,
            "[[fleet.site]]\nname = \"{name}\"\nshare = {share:?}\n\
             link = {{ rtt = \"{}\", jitter = \"{}\", loss = \"{}\" }}",
            dice.pick(&["0s", "500us", "80ms", "700ms"]),
            dice.pick(&["0s", "3ms", "40ms"]),
            dice.pick(&["0%", "0%", "0.5%", "2%"]),
        )
        .unwrap();
    }
    writeln!(
        out,
        "[phone]\nboot-time = \"{}\"\nthink = \"{}\"\ntransport = \"{}\"",
        dice.pick(&["0s", "2s"]),
        dice.pick(&["0s", "100ms"]),
        dice.pick(&["tftp", "http", "model"]),
    )
    .unwrap();
    if dice.chance(30) {
        writeln!(out, "tftp-block-size = {}", dice.pick(&[64, 1_428])).unwrap();
    }
}

/// What the operator does, then the end of all faults: everything runs, every certificate that is
/// in a store is presented, and all phones are reset.
fn write_operator(out: &mut String, dice: &mut Dice, shape: &Shape, mut dns: Option<&mut Dice>) {
    for step in 0..=dice.below(9) {
        let node = dice.below(shape.nodes());
        let Some(action) = action(dice, shape, node) else { continue };
        let first = step == 0 || !out.contains("[[event]]");
        match dice.below(if first { 5 } else { 10 }) {
            0..=4 => writeln!(out, "[[event]]\nwhen = \"fleet-settled\"").unwrap(),
            5..=7 => writeln!(out, "[[event]]\nafter = \"previous\"").unwrap(),
            _ => {
                let delay = dice.pick(&["50ms", "1s", "9s"]);
                writeln!(out, "[[event]]\nafter = \"previous\"\ndelay = \"{delay}\"").unwrap();
            }
        }
        writeln!(out, "{action}").unwrap();
        if let Some(dns) = &mut dns
            && dns.chance(70)
        {
            let node = dns.below(shape.nodes());
            let change = dns.pick(&["remove", "remove", "add"]);
            writeln!(out, "[[event]]\nafter = \"previous\"").unwrap();
            writeln!(out, "{change}-record = {{ node = \"n{node}\" }}").unwrap();
            if dns.chance(60) {
                let tftp = dns.below(shape.nodes());
                out.push_str("[[event]]\nafter = \"previous\"\n");
                writeln!(
                    out,
                    "regenerate = {{ certificate = \"CallManager\", node = \"n{tftp}\" }}\n\
                     [[event]]\nafter = \"previous\"\nrestart = {{ node = \"n{tftp}\" }}\n\
                     [[event]]\nafter = \"previous\"\nreset-phones = {{ spread = \"1s\" }}"
                )
                .unwrap();
            }
        }
    }
    for node in 0..shape.nodes() {
        let trigger = if node == 0 { "when = \"fleet-settled\"" } else { "after = \"previous\"" };
        writeln!(out, "[[event]]\n{trigger}\nrestart = {{ node = \"n{node}\" }}").unwrap();
    }
    // Lists are built when TFTP starts: the last word belongs to a cluster that knows all nodes.
    for node in 0..shape.nodes() {
        writeln!(out, "[[event]]\nafter = \"previous\"\nrestart = {{ node = \"n{node}\" }}")
            .unwrap();
    }
    for node in (0..shape.nodes()).filter(|_| dns.is_some()) {
        writeln!(out, "[[event]]\nafter = \"previous\"\nadd-record = {{ node = \"n{node}\" }}")
            .unwrap();
    }
    let spread = dice.pick(&["0s", "10s"]);
    writeln!(out, "[[event]]\nafter = \"previous\"\nreset-phones = {{ spread = \"{spread}\" }}")
        .unwrap();
}

fn action(dice: &mut Dice, shape: &Shape, node: u64) -> Option<String> {
    let services = &shape.services[node as usize];
    let service = (!services.is_empty()).then(|| dice.pick(services));
    Some(match dice.below(10) {
        0..=2 => {
            let mut kinds = vec!["CallManager", "CallManager", "TVS", "CAPF"];
            if shape.recovery && node == 0 {
                kinds.push("ITLRecovery");
            }
            let kind = dice.pick(&kinds);
            format!("regenerate = {{ certificate = \"{kind}\", node = \"n{node}\" }}")
        }
        3 | 4 => format!("restart = {{ service = \"{}\", node = \"n{node}\" }}", service?),
        5 => {
            let length = dice.pick(&["1s", "30s"]);
            let service = service?;
            format!("stop = {{ service = \"{service}\", node = \"n{node}\", for = \"{length}\" }}")
        }
        6 => format!("stop = {{ service = \"{}\", node = \"n{node}\" }}", service?),
        7 => format!("rename = {{ node = \"n{node}\", to = \"m{}\" }}", dice.below(1_000)),
        _ => format!("reset-phones = {{ spread = \"{}\" }}", dice.pick(&["0s", "5s"])),
    })
}

/// Looks over the shoulder of every phone, with a judgement of its own.
#[derive(Default)]
struct Watcher {
    /// The TFTP nodes of the phones, who take turns.
    tftp: Vec<NodeId>,
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
        if let Input::File { bytes } = seen.input {
            self.files.insert(id, bytes.to_vec());
        }
        for fact in seen.facts {
            match fact {
                Fact::FileAccepted { kind, path } => {
                    self.accepted += 1;
                    let file = &self.files[&id];
                    let node = self.tftp[id.0 as usize % self.tftp.len()];
                    if let Err(fault) = covered(seen, *kind, *path, file, node) {
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
    node: NodeId,
) -> Result<(), &'static str> {
    let state = seen.lists.state();
    match path {
        AcceptPath::First if state == TrustState::A => return Ok(()),
        AcceptPath::Blank if state == TrustState::ABlank => return Ok(()),
        AcceptPath::Https => return over_https(seen, kind, bytes, node),
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
    node: NodeId,
) -> Result<(), &'static str> {
    if kind != FileKind::Config || SignedFile::is_signed(bytes) {
        return Err("only a configuration without a signature is taken for its server's sake");
    }
    let service = seen.cluster.tftp(node).ok_or("nobody serves")?;
    let presented = service.signer().certificate.der();
    let trusted = seen.lists.judge_server(PROVISIONING_ROLES, presented);
    if trusted { Ok(()) } else { Err("its lists do not hold the server's certificate") }
}

/// Whether an answer of TVS vouches for the signer, and whether the phone could trust who gave it.
fn vouched(seen: &Seen<'_>, file: &SignedFile<'_>) -> Result<(), &'static str> {
    let Input::TvsAnswer { bytes, .. } = seen.input else { return Err("without an answer") };
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
    serving(members, cluster).iter().flatten().any(|der| lists.judge_server(&[ROLE_TVS], der))
}

/// What each of these servers presents, where it runs TVS.
fn serving(members: &[TvsMember], cluster: &Cluster) -> Vec<Option<Vec<u8>>> {
    let topology = cluster.topology();
    let of_member = |member: &TvsMember| {
        let address = address_of(member, cluster);
        let at = |node: &&NodeId| Some(topology.node(**node).address) == address;
        let nodes: Vec<NodeId> = (0..topology.nodes.len() as u8).map(NodeId).collect();
        let node = nodes.iter().find(at)?;
        Some(cluster.tvs(*node)?.identity.certificate.der().to_vec())
    };
    members.iter().take(3).map(of_member).collect()
}

/// Where a server is, whether or not its first name is in the DNS at the moment.
fn address_of(member: &TvsMember, cluster: &Cluster) -> Option<IpAddr> {
    let first_name = member.address.strip_prefix('n').and_then(|name| name.split('.').next());
    let node = first_name.and_then(|number| number.parse().ok()).map(NodeId);
    match node {
        Some(node) => Some(cluster.topology().node(node).address),
        None => member.address.parse().ok().or_else(|| cluster.hosts().resolve(&member.address)),
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
        let outcome = run.recorder.phones()[phone.id().0 as usize].outcome;
        if let Some(fault) = end(&plan, &run, phone, outcome) {
            faults.push(format!("{:?} ended {outcome:?}: {fault}", phone.id()));
        }
    }
    faults
}

/// Counts that do not add up.
fn sums(plan: &Plan, run: &SimRun, watcher: &Watcher) -> Vec<String> {
    let tallies = run.recorder.tallies();
    let counts = &run.recorder.counts;
    let in_all = tallies.ready + tallies.stuck + tallies.failed;
    let reasons: u64 = tallies.failures.values().sum();
    let accepted: u64 = counts.accepted.values().sum();
    let refused: u64 = counts.refused.values().sum();
    let lookups = run.serve.tvs_answers;
    let mut faults = Vec::new();
    let mut check = |holds: bool, what: &str| {
        if !holds {
            faults.push(format!("{what}: {tallies:?} {counts:?}"));
        }
    };
    check(in_all == u64::from(plan.fleet.phones), "each phone has one outcome");
    check(tallies.booting == 0, "nobody boots any more");
    check(reasons == tallies.failed, "each failed phone has a reason");
    check(counts.boots >= u64::from(plan.fleet.phones), "each phone has booted");
    // The recorder counts from the first reset on.
    check(accepted <= watcher.accepted && refused <= watcher.refused, "no file judged unseen");
    check(counts.tvs_lookups() <= lookups, "no answer that nobody gave");
    check(counts.unexpected == 0, "nothing unexpected");
    check(tallies.list_alarms <= refused && tallies.config_alarms <= refused, "alarms have causes");
    check(run.signed.made >= run.signed_before.made, "signatures are not unmade");
    faults
}

/// What is wrong with the end of a phone, when all faults have ended and all phones were reset.
fn end(plan: &Plan, run: &SimRun, phone: &Phone, outcome: Option<Outcome>) -> Option<String> {
    let service = run.cluster.tftp(plan.fleet.tftp_of(phone.id()))?;
    let current = phone.is_current(|file| service.identity_of(file));
    let holds = |kind: FileKind, signer: &Certificate| {
        let list = phone.lists().itl.as_ref();
        list.is_some_and(|list| list.find(kind.roles(), signer.issuer(), signer.serial()).is_some())
    };
    let knows_all = holds(FileKind::Itl, &service.list_signer().certificate)
        && holds(FileKind::Config, &service.signer().certificate);
    let members = phone.config().map(|config| config.tvs.to_vec()).unwrap_or_default();
    let helped = trusted_server(phone.lists(), &members, &run.cluster);
    let site = plan.fleet.site_of(plan.seed, phone.id());
    let lossy = plan.fleet.sites[site].link.loss > 0.0;
    match outcome {
        Some(Outcome::Ready) if current => None,
        Some(Outcome::Ready) => Some("what it holds is not what is served".to_owned()),
        Some(Outcome::Stuck) if knows_all => Some("its list holds the signers".to_owned()),
        Some(Outcome::Stuck) if helped => Some("a TVS server could help".to_owned()),
        Some(Outcome::Stuck) => None,
        // A network that loses is a fault that does not end: a server that was never heard from
        // holds a transfer for 5 s only, which is two acknowledgements of a phone.
        Some(Outcome::Failed(Failure::Transfer(TransferFault::TimedOut))) if lossy => None,
        other => Some(format!("neither ready nor stuck: {other:?}")),
    }
}

#[test]
fn a_thousand_small_worlds_are_safe_and_come_to_rest() {
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
                    "RESETSTORM_WORLD={seed} cargo test --test small_worlds -- --nocapture\n  {}",
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
    let outcomes: Vec<[bool; 4]> = (0..150)
        .into_par_iter()
        .map(|seed| {
            let plan = load(Path::new("world.toml"), &scenario(seed), &[], &[]).unwrap();
            let recorder = World::new(&plan, SimOptions::default()).run().recorder;
            let (tallies, faults) = (recorder.tallies(), &recorder.counts.tvs_faults);
            let lost = faults.contains_key(&TvsFault::Unresolved);
            [tallies.ready > 0, tallies.stuck > 0, tallies.list_alarms > 0, lost]
        })
        .collect();
    let least = [("ready", 15), ("stuck", 15), ("alarmed", 15), ("nameless", 3)];
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
