use toml::Spanned;

use crate::base::{DeviceName, PhoneId};
use crate::cluster::{PROBE_KINDS, Probe, ProbeKind, TRUST_STORES, Topology, TrustStore};

use super::error::{Faults, Problem};
use super::names::{Text, check_host, check_plain, node_named, one_of, runs};
use super::plan::{AT_THE_START, ProbePlan, TimelineEntry};
use super::raw::{RawEvent, RawProbe};
use super::verbs::RENEW_PEER;

/// Probes at most (choice): each is judged after every step.
const PROBES_MAX: usize = 1_000;

/// The probes of a scenario, checked.
pub(super) fn probes(
    raw: &[RawProbe],
    topology: &Topology,
    phones: u32,
    steps: &[TimelineEntry],
    faults: &mut Faults,
) -> Vec<ProbePlan> {
    if let Some(first) = raw.get(PROBES_MAX) {
        faults.0.push(
            Problem::new(first.kind.span(), format!("more than {PROBES_MAX} probes"))
                .help("leave some out"),
        );
        return Vec::new();
    }
    let mut plans: Vec<ProbePlan> = Vec::new();
    for raw in raw {
        let plan = one_probe(raw, topology, phones, steps).and_then(|plan| {
            let is_taken = plans.iter().any(|other| other.name == plan.name);
            let twice = || {
                let what = format!("probe `{}` comes twice", plan.name);
                Problem::new(raw.kind.span(), what).help("give each a `name` of its own")
            };
            if is_taken { Err(twice()) } else { Ok(plan) }
        });
        plans.extend(faults.take(plan));
    }
    plans
}

/// Refuses steps that renew the certificate of a server which no probe asks.
pub(super) fn unknown_peers(raw: &[Spanned<RawEvent>], plans: &[ProbePlan], faults: &mut Faults) {
    let peers = || plans.iter().filter_map(|plan| Some(plan.probe.trusts()?.0));
    for event in raw {
        let renewals = event.get_ref().actions.iter().filter(|(verb, _)| verb.key == RENEW_PEER);
        for (_, given) in renewals {
            let peer = given.text("peer").get_ref();
            if !peers().any(|known| known == peer) {
                faults.0.push(Problem::unknown(event.span(), "peer", peer, peers()));
            }
        }
    }
}

fn one_probe(
    raw: &RawProbe,
    topology: &Topology,
    phones: u32,
    steps: &[TimelineEntry],
) -> Result<ProbePlan, Problem> {
    let kind = one_of(&raw.kind, "probe", &PROBE_KINDS, ProbeKind::name)?;
    let node = node_named(topology, &raw.node)?;
    if let Some(service) = kind.service() {
        runs(topology, node, service, &raw.node)?;
    }
    let peer = peer(raw, kind)?;
    let store = raw.unit.as_ref();
    let store = store
        .map(|text| one_of(text, "trust store", &TRUST_STORES, TrustStore::name))
        .transpose()?;
    let phone = phone(raw, kind, phones)?;
    let takes_mics = raw.mics.as_ref().is_some_and(|mics| *mics.get_ref());
    let probe = Probe { kind, node, peer, store, phone, takes_mics };
    if let Some(name) = &raw.name {
        check_plain(name)?;
    }
    let name = raw.name.as_ref().map(|name| name.get_ref().clone());
    Ok(ProbePlan {
        name: name.unwrap_or_else(|| probe.words(&topology.node(node).name)),
        is_trusted: probe.trusts().is_some() && raw.trusted.as_ref().is_none_or(|it| *it.get_ref()),
        probe,
        imports: imports(raw, kind, steps)?,
    })
}

/// The phone whose certificate a server judges, and nothing that only goes with one.
fn phone(raw: &RawProbe, kind: ProbeKind, phones: u32) -> Result<Option<PhoneId>, Problem> {
    let own = raw.phone.as_ref().map(|text| (text.span(), "phone"));
    let mics = raw.mics.as_ref().map(|mics| (mics.span(), "mics"));
    match (kind.judges_phones(), &raw.phone, own.or(mics)) {
        (false, _, Some((place, key))) => {
            let what =
                format!("a probe {} judges no phone, so that it has no `{key}`", kind.name());
            Err(Problem::new(place, what).help("leave it out"))
        }
        (false, ..) => Ok(None),
        (true, None, _) => Ok(Some(PhoneId(0))),
        (true, Some(name), _) => {
            let device = name.get_ref().parse::<DeviceName>().ok().and_then(DeviceName::phone);
            let found = device.filter(|phone| phone.0 < phones);
            let unknown = || {
                let last = DeviceName::of_phone(PhoneId(phones.saturating_sub(1)));
                let first = DeviceName::of_phone(PhoneId(0));
                Problem::new(name.span(), format!("no phone `{}`", name.get_ref()))
                    .help(format!("the phones of this fleet are {first} to {last}"))
            };
            found.map(Some).ok_or_else(unknown)
        }
    }
}

/// The other server, if there is one, and nothing that only goes with one.
fn peer(raw: &RawProbe, kind: ProbeKind) -> Result<Option<String>, Problem> {
    match (&raw.peer, kind.store(), kind.service()) {
        (None, _, None) => {
            let what = format!("a probe {} needs its peer", kind.name());
            let help = "peer = \"…\": the common name of the certificate that the other server has";
            return Err(Problem::new(raw.kind.span(), what).help(help));
        }
        (Some(peer), None, _) => {
            let what = format!("a probe {} has no peer that the node trusts", kind.name());
            return Err(Problem::new(peer.span(), what).help("leave `peer` out"));
        }
        (Some(peer), ..) => check_host(peer)?,
        (None, ..) => {}
    }
    let unit = raw.unit.as_ref().map(|text| (text.span(), "unit"));
    let trusted = raw.trusted.as_ref().map(|trusted| (trusted.span(), "trusted"));
    if let (None, Some((place, key))) = (&raw.peer, unit.or(trusted)) {
        let what = format!("`{key}` goes with `peer` only");
        return Err(Problem::new(place, what).help("name the peer that the node is to trust"));
    }
    Ok(raw.peer.as_ref().map(|text| text.get_ref().clone()))
}

/// When the peer imports what the node presents.
fn imports(
    raw: &RawProbe,
    kind: ProbeKind,
    steps: &[TimelineEntry],
) -> Result<Vec<String>, Problem> {
    let import = |text: &Text| {
        let name = text.get_ref();
        let names = steps.iter().map(|step| step.name.as_str());
        if name == AT_THE_START || names.clone().any(|step| step == name) {
            return Ok(name.clone());
        }
        let known = std::iter::once(AT_THE_START).chain(names);
        Err(Problem::unknown(text.span(), "step", name, known))
    };
    match (&raw.imports, kind.service()) {
        (Some(imports), Some(_)) => imports.iter().map(import).collect(),
        (None, Some(_)) => Ok(vec![AT_THE_START.to_owned()]),
        (None, None) => Ok(Vec::new()),
        (Some(imports), None) => {
            let what = format!("the peer of a probe {} imports nothing", kind.name());
            let place = imports.first().map_or_else(|| raw.kind.span(), Text::span);
            Err(Problem::new(place, what).help("leave `imports` out"))
        }
    }
}
