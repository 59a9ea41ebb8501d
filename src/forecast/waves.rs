//! Waves of boots that a plan causes.

use serde::Serialize;

use crate::base::lines::paragraph;
use crate::base::words::{bytes, count};
use crate::base::{PhoneId, Purpose, Span, stream};
use crate::cluster::operator::parameters::{Parameter, SetParameter};
use crate::cluster::operator::services::{Change, Services};
use crate::cluster::{CertificateKind, Holders, Nodes, SecurityMode, ServiceKind, Topology};
use crate::phone::{FileKind, holds_lists};
use crate::scenario::{FleetStart, Plan};
use crate::wire::{LOCALE, RING_LIST};

/// A wave of boots and what it costs the servers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Wave {
    /// `power on` or `reset`.
    pub cause: &'static str,
    /// Boots.
    pub boots: u32,
    /// Within which time they are planned, in seconds.
    pub within_s: f64,
    /// Most boots that are planned for one second.
    pub peak_boots_per_s: u64,
    /// Whether there is a CTL.
    #[serde(skip)]
    has_ctl: bool,
    /// Files that each phone asks for.
    pub requests_per_phone: Requests,
    /// Files that all phones ask for.
    pub requests: u64,
    /// Files that arrive: all but a CTL that is not there.
    pub transfers: u64,
    /// Bytes of files that arrive, about.
    pub bytes: u64,
    /// Answers of TVS that phones will use.
    pub lookups: Lookups,
}

/// Files that one boot asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// CTL files; a cluster that was never in mixed mode has none.
    pub ctl: u64,
    /// ITL files.
    pub itl: u64,
    /// Configurations.
    pub config: u64,
    /// Locales and ring lists.
    pub further: u64,
}

/// Answers of TVS that phones will use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lookups {
    /// At least.
    pub min: u64,
    /// At most.
    pub max: u64,
    /// Why.
    pub why: &'static str,
}

impl Wave {
    /// The wave for people.
    pub(super) fn write(&self, out: &mut String) {
        let within = if self.within_s > 0.0 {
            let peak = count(self.peak_boots_per_s);
            format!("within {} s, at most {peak} planned for one second", self.within_s)
        } else {
            "all at once".to_owned()
        };
        let boots = count(u64::from(self.boots));
        paragraph(out, self.cause, &format!("{boots} boots {within}"));
        let Requests { ctl, itl, config, further } = self.requests_per_phone;
        let none = if self.has_ctl { "" } else { " (there is none)" };
        let further = if further > 0 { format!(", {further} further") } else { String::new() };
        let files =
            format!("each phone asks for {ctl} CTL{none}, {itl} ITL, {config} config{further}");
        let (requests, arrive) = (count(self.requests), count(self.transfers));
        let size = bytes(self.bytes);
        let text = format!("{files}: {requests} requests, {arrive} files, about {size}");
        paragraph(out, "", &text);
        let Lookups { min, max, why } = &self.lookups;
        let range =
            if min == max { count(*min) } else { format!("{} to {}", count(*min), count(*max)) };
        paragraph(out, "", &format!("{range} TVS lookups: {why}"));
    }
}

/// The waves of a plan, in order.
pub(super) fn waves(plan: &Plan) -> Vec<Wave> {
    let mut waves = Vec::new();
    let mut has_ctl = plan.topology.security.mode == SecurityMode::Mixed && plan.target.is_none();
    if plan.fleet.start == FleetStart::Factory {
        waves.push(wave(plan, POWER_ON, plan.fleet.arrival_within, NONE_FIRST, has_ctl));
    }
    let mut lookups = NONE_KNOWN;
    if plan.target.is_some() {
        lookups = UNKNOWN;
    }
    let signs = |nodes| match nodes {
        Nodes::One(node) => plan.fleet.homes().any(|home| home.contains(&node)),
        Nodes::All => true,
    };
    for entry in &plan.timeline {
        let impact = entry.action.impact(&plan.topology);
        let turns_away = impact.services.is_some_and(|services| turns_away(plan, services));
        if turns_away && lookups.0 == 0 && plan.target.is_none() {
            lookups = TURNED_AWAY;
        }
        if impact.signer.is_some_and(signs) && plan.target.is_none() {
            lookups = CHANGED;
        }
        let set = entry.action.get::<SetParameter>().map(|set| set.parameter);
        has_ctl |= matches!(set, Some(Parameter::SecurityMode(_))) && plan.target.is_none();
        if let Some(spread) = impact.wave {
            waves.push(wave(plan, "reset", spread, lookups, has_ctl));
        }
    }
    waves
}

/// Whether these services keep phones from a TFTP server of their list that has another.
fn turns_away(plan: &Plan, services: Services) -> bool {
    let Services { change, node, service } = services;
    let stops = change == Change::Stop && service.is_none_or(|kind| kind == ServiceKind::Tftp);
    stops && plan.fleet.homes().any(|home| home.len() > 1 && home.contains(&node))
}

/// The cause of the first wave of phones from the factory.
const POWER_ON: &str = "power on";

/// Lookups for each phone at most, and why.
type PerPhone = (u64, &'static str);

const NONE_FIRST: PerPhone = (0, "the first list is taken unchecked and holds the signer");
const NONE_KNOWN: PerPhone = (0, "no step before it changes the signer of the phones' files");
const CHANGED: PerPhone = (2, "the signer changes; one per phone whose TVS is trusted, else none");
const TURNED_AWAY: PerPhone = (
    2,
    "a TFTP server stops; the list of the next one may have a signer that phones ask TVS about",
);
const UNKNOWN: PerPhone = (2, "what the target signs with is not known here");

fn wave(
    plan: &Plan,
    cause: &'static str,
    within: Span,
    (per_phone, why): PerPhone,
    has_ctl: bool,
) -> Wave {
    let (phones, listed) = (u64::from(plan.fleet.phones), with_lists(plan));
    let asks_again = plan.phone.ctl_generic && !has_ctl;
    let further = &plan.phone.further_files;
    let requests = Requests {
        ctl: 1 + u64::from(asks_again),
        itl: 1,
        config: 1,
        further: further.len() as u64,
    };
    let of_each = requests.config + requests.further;
    let encrypted = encrypted(plan);
    // Who knows nothing of encryption asks for the stub first.
    let stubs = if cause == POWER_ON { encrypted } else { 0 };
    let ctl_bytes = if has_ctl { bytes_of_ctl(&plan.topology) } else { 0 };
    Wave {
        cause,
        boots: plan.fleet.phones,
        within_s: within.as_secs_f64(),
        peak_boots_per_s: peak(plan, within),
        has_ctl,
        requests_per_phone: requests,
        requests: listed * (requests.ctl + requests.itl) + phones * of_each + stubs,
        transfers: listed * (u64::from(has_ctl) + requests.itl) + phones * of_each + stubs,
        bytes: listed * (bytes_per_phone(&plan.topology) + ctl_bytes)
            + (phones - listed) * CONFIG_BYTES
            + encrypted * ENVELOPE_BYTES
            + stubs * STUB_BYTES
            + phones * further.iter().map(|&kind| further_bytes(kind)).sum::<u64>(),
        lookups: Lookups { min: 0, max: listed * per_phone, why },
    }
}

/// Bytes of a configuration without a signature, about.
const CONFIG_BYTES: u64 = 7_400;

/// Bytes of a signed file beside lists and configuration, about.
const fn further_bytes(kind: FileKind) -> u64 {
    /// Header and signature.
    const HEADER: u64 = 420;
    let content = match kind {
        FileKind::Locale => LOCALE.len(),
        FileKind::RingList => RING_LIST.len(),
        FileKind::Ctl | FileKind::Itl | FileKind::Config => return 0,
    };
    HEADER + content as u64
}

/// By how much an encrypted configuration is longer, about: key, digest and padding.
const ENVELOPE_BYTES: u64 = 370;
/// Bytes of the signed stub of an encrypted configuration, about.
const STUB_BYTES: u64 = 870;

/// Phones whose configuration is encrypted.
fn encrypted(plan: &Plan) -> u64 {
    let fleet = plan.fleet_spec();
    if plan.target.is_some() || fleet.profiles.is_empty() {
        return 0;
    }
    (0..fleet.phones).filter(|&phone| fleet.encrypts_for(PhoneId(phone)).is_some()).count() as u64
}

/// Phones of models that hold trust lists.
fn with_lists(plan: &Plan) -> u64 {
    let fleet = plan.fleet_spec();
    if fleet.models.iter().all(|&(model, _)| holds_lists(model)) {
        return u64::from(fleet.phones);
    }
    let phones = (0..fleet.phones).map(PhoneId);
    phones.filter(|&phone| holds_lists(fleet.model(phone))).count() as u64
}

/// Most boots in one second, by the draws that plan them in a run.
fn peak(plan: &Plan, within: Span) -> u64 {
    let seconds = within.as_secs_f64().ceil() as usize;
    let mut boots = vec![0; seconds.max(1)];
    for phone in 0..plan.fleet.phones {
        let offset = stream(plan.seed, u64::from(phone), Purpose::Arrival).unit();
        boots[within.fraction(offset).as_secs_f64() as usize] += 1;
    }
    boots.into_iter().max().unwrap_or(0)
}

/// Bytes of a CTL, about: the signers, then each TFTP and `CallManager` node, and CAPF.
fn bytes_of_ctl(topology: &Topology) -> u64 {
    /// Header and signature.
    const HEADER: u64 = 470;
    /// A record with its certificate and a key of 2048 bits.
    const RECORD: u64 = 1_700;
    /// By how much one with 4096 bits is longer.
    const LONGER_RECORD: u64 = 1_024;
    let nodes = topology.ids().filter(|&id| topology.is_in_ctl(id)).count() as u64;
    let signers = topology.security.etokens.len().max(1) as u64;
    let longer = if topology.key_bits == 4_096 { LONGER_RECORD * (nodes + 1) } else { 0 };
    HEADER + RECORD * (signers + nodes + 1) + longer
}

/// Bytes of list and configuration of one phone, about: measured in virtual time (2026-11) with
/// one and three nodes, releases with and without each record and both key sizes; a test holds it against the scenarios.
fn bytes_per_phone(topology: &Topology) -> u64 {
    /// Config, header, signer's record, CAPF record.
    const BASE: u64 = 11_717;
    /// One TVS record of the ITL.
    const TVS: u64 = 1_200;
    /// The record of `ITLRecovery`.
    const RECOVERY: u64 = 1_644;
    /// That of `CallManager-ECDSA`, whatever size RSA keys have.
    const EC: u64 = 955;
    /// By how much a record with a 4096-bit key is longer: key and signature, in it and in its
    /// certificate.
    const LONGER_RECORD: u64 = 1_024;
    /// By how much a signature is longer.
    const LONGER_SIGNATURE: u64 = 256;
    let tvs = topology.nodes_with(ServiceKind::Tvs).count() as u64;
    let has = |kind| u64::from(topology.release.holders(kind) != Holders::Nobody);
    let recovery = has(CertificateKind::ItlRecovery);
    let ec = EC * has(CertificateKind::CallManagerEcdsa);
    let longer = if topology.key_bits == 4_096 {
        LONGER_RECORD * (2 + tvs + recovery) + 2 * LONGER_SIGNATURE
    } else {
        0
    };
    BASE + TVS * tvs + RECOVERY * recovery + ec + longer
}
