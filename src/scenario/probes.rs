use crate::cluster::{PROBE_KINDS, Probe, ProbeKind, TRUST_STORES, Topology, TrustStore};

use super::error::{Faults, Problem};
use super::names::{Text, node_named, one_of, runs};
use super::plan::TimelineEntry;
use super::raw::RawProbe;

/// Something beside phones that is tried, and what its peer knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbePlan {
    /// What is tried.
    pub probe: Probe,
    /// When the peer imports what the node presents then: `start`, or behind the step of this name.
    pub imports: Vec<String>,
}

/// The import that a peer has made before the run.
pub const AT_THE_START: &str = "start";

/// Probes at most (choice): each is judged after every step.
const PROBES_MAX: usize = 1_000;

/// The probes of a scenario, checked.
pub(super) fn probes(
    raw: &[RawProbe],
    topology: &Topology,
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
    raw.iter().filter_map(|raw| faults.take(one_probe(raw, topology, steps))).collect()
}

fn one_probe(
    raw: &RawProbe,
    topology: &Topology,
    steps: &[TimelineEntry],
) -> Result<ProbePlan, Problem> {
    let kind = one_of(&raw.kind, "probe", &PROBE_KINDS, ProbeKind::name)?;
    let node = node_named(topology, &raw.node)?;
    if let Some(service) = kind.service() {
        runs(topology, node, service, &raw.node)?;
    }
    let named = raw.unit.as_ref();
    let store = named
        .map(|text| one_of(text, "trust store", &TRUST_STORES, TrustStore::name))
        .transpose()?;
    let peer = raw.peer.as_ref();
    match (peer, kind.store(), kind.service()) {
        (None, _, None) => {
            let what = format!("a probe {} needs its peer", kind.name());
            let help = "peer = \"…\": the common name of the certificate that import-trust brings";
            return Err(Problem::new(raw.kind.span(), what).help(help));
        }
        (Some(peer), None, _) => {
            let what = format!("a probe {} has no peer that the node trusts", kind.name());
            return Err(Problem::new(peer.span(), what).help("leave `peer` out"));
        }
        _ => {}
    }
    if let (Some(store), None) = (named, peer) {
        let what = "`unit` goes with `peer` only";
        return Err(Problem::new(store.span(), what).help("name the peer that it is to hold"));
    }
    if let (Some(imports), None) = (&raw.imports, kind.service()) {
        let what = format!("the peer of a probe {} imports nothing", kind.name());
        let place = imports.first().map_or_else(|| raw.kind.span(), Text::span);
        return Err(Problem::new(place, what).help("leave `imports` out"));
    }
    let import = |text: &Text| {
        let name = text.get_ref();
        let names = steps.iter().map(|step| step.name.as_str());
        if name == AT_THE_START || names.clone().any(|step| step == name) {
            return Ok(name.clone());
        }
        let known = std::iter::once(AT_THE_START).chain(names);
        Err(Problem::unknown(text.span(), "step", name, known))
    };
    let imports = match (&raw.imports, kind.service()) {
        (Some(imports), _) => imports.iter().map(import).collect::<Result<_, _>>()?,
        (None, Some(_)) => vec![AT_THE_START.to_owned()],
        (None, None) => Vec::new(),
    };
    let peer = peer.map(|text| text.get_ref().clone());
    Ok(ProbePlan { probe: Probe { kind, node, peer, store }, imports })
}
