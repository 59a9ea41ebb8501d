use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::base::{ClusterId, Home, Model, PhoneId, Span, Time};
use crate::cluster::{FleetSpec, OperatorAction, Probe, SecurityProfile, Topology, UploadedFiles};
use crate::console::Typed;
use crate::phone::PhoneProfile;
use crate::wire::Dialogue;

use super::cost::CostModel;
use super::network::{Link, SitePlan, site_of};
use super::slo::{Slo, paths_of};
use super::uses::UsePlan;

/// A scenario that can be run: every reference resolved, every quantity in its type.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Name of the scenario: letters, digits and hyphens (it names the run directory).
    pub name: String,
    /// One sentence about it; may be empty.
    pub about: String,
    /// Decides every draw of the run.
    pub seed: u64,
    /// The cluster.
    pub topology: Topology,
    /// The phones.
    pub fleet: FleetPlan,
    /// What work costs in virtual time.
    pub cost: CostModel,
    /// What traces of TVS call the cipher suite of a session (TVS-11): a label. Ours are of TLS 1.2
    /// or 1.3, whatever stands here.
    pub tvs_cipher: String,
    /// How a phone behaves.
    pub phone: PhoneProfile,
    /// What the operator does, in the order of the file.
    pub timeline: Vec<TimelineEntry>,
    /// What else is tried that depends on certificates.
    pub probes: Vec<ProbePlan>,
    /// Which date it is, and where.
    pub dates: Dates,
    /// What must hold at the end.
    pub slos: Vec<Slo>,
    /// Limits of the run.
    pub limits: Limits,
    /// Servers that are not ours; `None` runs against the embedded cluster.
    pub target: Option<Target>,
}

/// The phones of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetPlan {
    /// Number of phones, 1..=16,000,000.
    pub phones: u32,
    /// Models and their shares, which add up to 1; sorted by model.
    pub models: Vec<(Model, f64)>,
    /// Phone security profiles and their shares; none if the scenario names none.
    pub profiles: Vec<SecurityProfile>,
    /// The homes that the phones take turns at, at least one (see [`Plan::homes`]).
    pub tftp: Vec<Home>,
    /// The homes of the phones of `CallManager` groups that have their own, by the place of the
    /// group.
    pub tftp_of_groups: BTreeMap<usize, Home>,
    /// What the phones hold when the run starts.
    pub start: FleetStart,
    /// Within which span the phones power on when they boot at the start of the run.
    pub arrival_within: Span,
    /// Where the phones are; empty: all in one LAN with the cluster. Virtual time only.
    pub sites: Vec<SitePlan>,
    /// What people do with the phones.
    pub uses: Vec<UsePlan>,
}

/// What a phone holds at the start of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FleetStart {
    /// Nothing: the phone powers on and takes its first list unchecked.
    Factory,
    /// The lists and the configuration that the cluster serves at the start: the ITL, in mixed mode
    /// the CTL, too.
    ItlCurrent,
    /// The same without a CTL: phones of a cluster that has just come to mixed mode.
    ItlOnly,
    /// The same without an ITL: phones of a mixed cluster from before 8.0 (CTL-12).
    CtlOnly,
}

/// Every start of a fleet.
pub(super) const STARTS: [FleetStart; 4] =
    [FleetStart::Factory, FleetStart::ItlCurrent, FleetStart::ItlOnly, FleetStart::CtlOnly];

impl FleetStart {
    /// The name in scenario files.
    pub const fn name(self) -> &'static str {
        match self {
            FleetStart::Factory => "factory",
            FleetStart::ItlCurrent => "itl-current",
            FleetStart::ItlOnly => "itl-only",
            FleetStart::CtlOnly => "ctl-only",
        }
    }

    /// Whether the phones hold the CTL that the cluster serves, if it serves one, and its ITL.
    pub const fn holds(self) -> (bool, bool) {
        match self {
            FleetStart::Factory => (false, false),
            FleetStart::ItlCurrent => (true, true),
            FleetStart::ItlOnly => (false, true),
            FleetStart::CtlOnly => (true, false),
        }
    }
}

/// Something beside phones that is tried, and what its peer knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbePlan {
    /// What it is called, such as `phone-vpn of asa at pub`; no two probes share a name.
    pub name: String,
    /// What is tried.
    pub probe: Probe,
    /// When the peer imports what the node presents then: `start`, or behind the step of this name.
    pub imports: Vec<String>,
    /// Whether the node trusts at the start what the peer presents then.
    pub is_trusted: bool,
}

/// The import that a peer has made before the run.
pub const AT_THE_START: &str = "start";

/// One entry of the operator's timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineEntry {
    /// What the step is called: unique, never a number.
    pub name: String,
    /// When it is due.
    pub trigger: Trigger,
    /// What is done.
    pub action: OperatorAction,
    /// What is done some time after `action`.
    pub then: Option<FollowUp>,
    /// What was typed at a console to have it done; `None` if it was done elsewhere.
    pub typed: Option<Typed>,
}

/// The second half of an entry, such as the start that ends `stop = { …, for = "8s" }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowUp {
    /// Wait, counted from the moment when the entry's action has been carried out.
    pub delay: Span,
    /// What is done then.
    pub action: OperatorAction,
    /// Whether the entries behind wait for it, as for the start that ends a `restart`; one that is
    /// due when the fleet has settled always does.
    pub is_awaited: bool,
}

/// When an entry of the timeline is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// As soon as the entry before it has been carried out, and `delay` later.
    AfterPrevious {
        /// Extra wait.
        delay: Span,
    },
    /// At this instant of the run.
    At(Time),
    /// When every entry before it has been carried out and every phone has settled.
    FleetSettled,
}

/// Limits of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A live run ends after this time, settled or not.
    pub max_wall: Span,
    /// Whether somebody has said so; if not, virtual time has no such end.
    pub max_wall_is_set: bool,
    /// Transfers in flight over the whole swarm.
    pub transfers_in_flight: u32,
    /// TVS lookups in flight over the whole swarm.
    pub lookups_in_flight: u32,
    /// REGISTERs in flight over the whole swarm.
    pub registrations_in_flight: u32,
    /// HTTP connections over the whole swarm.
    pub connections_in_flight: u32,
}

/// The calendar of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dates {
    /// Unix seconds at the start of the run; `None` is now, and in virtual time always the same.
    pub epoch_s: Option<u64>,
    /// The place whose time of day stands beside UTC in alarms, by its name in the IANA database.
    pub time_zone: String,
}

impl Default for Dates {
    fn default() -> Dates {
        Dates { epoch_s: None, time_zone: "UTC".to_owned() }
    }
}

/// Servers that are not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// TFTP servers of every phone, first asked first: at least one.
    pub tftp: Vec<SocketAddr>,
    /// TVS server that stands for every member of the phones' stored list; `None` asks the
    /// members themselves.
    pub tvs: Option<SocketAddr>,
    /// Registrar over TCP that stands for every member of the phones' stored group; `None` asks the
    /// members themselves.
    pub sip: Option<SocketAddr>,
    /// The same over TLS.
    pub sips: Option<SocketAddr>,
}

impl Target {
    /// The servers that stand for those of a configuration, by their dialogues.
    pub fn dialogues(&self) -> BTreeMap<Dialogue, SocketAddr> {
        let all =
            [(Dialogue::Tvs, self.tvs), (Dialogue::Sip, self.sip), (Dialogue::Sips, self.sips)];
        all.into_iter().filter_map(|(dialogue, server)| Some((dialogue, server?))).collect()
    }

    /// Every server.
    pub fn servers(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.tftp.iter().copied().chain(self.dialogues().into_values())
    }
}

impl Plan {
    /// The homes that the phones take turns at. Servers that are not ours are the nodes of a
    /// cluster, in their order.
    pub fn homes(&self) -> Vec<Home> {
        let Some(target) = &self.target else { return self.fleet.tftp.clone() };
        vec![(0u8..).zip(&target.tftp).map(|(node, _)| ClusterId::FIRST.node(node)).collect()]
    }

    /// Of the `known` paths into a summary those that this plan has, with the names of its nodes.
    pub fn paths(&self, known: &[String]) -> Vec<String> {
        paths_of(known, &self.topology)
    }

    /// The phones as their cluster knows them.
    pub fn fleet_spec(&self) -> FleetSpec {
        let FleetPlan { phones, models, profiles, .. } = &self.fleet;
        FleetSpec {
            phones: *phones,
            models: models.clone(),
            seed: self.seed,
            loads: BTreeMap::new(),
            profiles: profiles.clone(),
            uploaded: UploadedFiles::default(),
        }
    }
}

impl FleetPlan {
    /// Every home that the scenario names.
    pub fn homes(&self) -> impl Iterator<Item = &Home> {
        self.tftp.iter().chain(self.tftp_of_groups.values())
    }

    /// The site of a phone, as a position in `sites`; 0 if there are none.
    pub fn site_of(&self, seed: u64, phone: PhoneId) -> usize {
        site_of(&self.sites, seed, phone)
    }

    /// The link of each site; at least one.
    pub fn links(&self) -> Vec<Link> {
        if self.sites.is_empty() {
            return vec![Link::default()];
        }
        self.sites.iter().map(|site| site.link).collect()
    }
}
