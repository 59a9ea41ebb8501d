//! Rules of the documents that a plan breaks, each with what becomes of it by the mechanism.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::NodeId;
use crate::base::words::count;
use crate::cluster::operator::certificates::{Import, Regenerate};
use crate::cluster::operator::ctl::{ResetList, ResetLocalKey, UpdateCtl};
use crate::cluster::operator::hosts::Rename;
use crate::cluster::operator::lsc::RollOutLsc;
use crate::cluster::operator::parameters::{Parameter, SetParameter};
use crate::cluster::operator::recovery::{BackUp, Rebuild, Restore, RestoreTrustedItl};
use crate::cluster::operator::services::{ActivateCapf, Change, Services};
use crate::cluster::{
    CertificateKind, Defect, Holders, OperatorAction, SecurityMode, ServiceKind, Topology,
};
use crate::scenario::{AT_THE_START, Plan, ProbePlan, TimelineEntry};

/// A step as people speak of it.
pub(super) fn step(plan: &Plan, at: usize) -> String {
    format!("step {} ({})", at + 1, plan.timeline[at].name)
}

/// A rule of the documents that a plan breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenRule {
    /// The place of the step in the timeline, from 0, at which it shows; `None`: of the whole plan.
    pub at: Option<usize>,
    /// The rule and where it is broken, a sentence.
    pub what: String,
    /// What comes of it by the mechanism, told from certificates and groups alone.
    pub came_of_it: Option<String>,
    /// How to repair it.
    pub help: String,
}

impl std::fmt::Display for BrokenRule {
    /// One sentence, a new line and `help: …`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let came = self.came_of_it.as_ref().map_or(String::new(), |came| format!(", and {came}"));
        write!(f, "{}{came}\nhelp: {}", self.what, self.help)
    }
}

/// Rules that `plan` breaks, in the order in which they show.
pub fn broken_rules(plan: &Plan) -> Vec<BrokenRule> {
    if plan.target.is_some() {
        return Vec::new();
    }
    let mut rules = Rules::new(plan);
    rules.shape();
    for at in 0..plan.timeline.len() {
        let entry = &plan.timeline[at];
        rules.act(at, &entry.action);
        if let Some(then) = &entry.then {
            rules.act(at, &then.action);
        }
    }
    rules.end();
    rules.broken
}

/// What the certificates, services and parameters of a cluster have come to, step by step.
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
struct Rules<'a> {
    plan: &'a Plan,
    topology: &'a Topology,
    /// Certificates that have changed since the last reset.
    changed: BTreeMap<NodeId, BTreeSet<CertificateKind>>,
    /// Services to be restarted.
    due: BTreeSet<(NodeId, ServiceKind)>,
    /// The step that has set the rollback parameter.
    rollback: Option<usize>,
    /// Whether the phones hold a blank list and accept everything.
    are_blank: bool,
    /// Whether ITLRecovery has ever changed.
    has_new_recovery: bool,
    is_mixed: bool,
    /// Whether CAPF is active on the publisher.
    has_capf: bool,
    /// The first step that has made the CTL stale.
    stale_ctl: Option<usize>,
    /// The reset of the local key that no phone has seen yet.
    local_key: Option<usize>,
    /// The first step that has changed a certificate.
    first_change: Option<usize>,
    /// Backups that were made.
    backups: u32,
    broken: Vec<BrokenRule>,
}

/// Services that are called by name in a warning; more are counted.
const NAMED_MAX: usize = 6;

impl<'a> Rules<'a> {
    fn new(plan: &'a Plan) -> Rules<'a> {
        Rules {
            plan,
            topology: &plan.topology,
            changed: BTreeMap::new(),
            due: BTreeSet::new(),
            rollback: None,
            are_blank: false,
            has_new_recovery: false,
            is_mixed: plan.topology.security.mode == SecurityMode::Mixed,
            has_capf: plan.topology.nodes[0].services.contains(&ServiceKind::Capf),
            stale_ctl: None,
            local_key: None,
            first_change: None,
            backups: 0,
            broken: Vec::new(),
        }
    }

    fn say(&mut self, at: Option<usize>, what: &str, help: &str) {
        let (what, help) = (what.to_owned(), help.to_owned());
        self.broken.push(BrokenRule { at, what, came_of_it: None, help });
    }

    fn say_with(&mut self, at: usize, what: String, (came, help): (String, String)) {
        let came_of_it = Some(came);
        self.broken.push(BrokenRule { at: Some(at), what, came_of_it, help });
    }

    fn step(&self, at: usize) -> String {
        step(self.plan, at)
    }

    fn runs(&self, node: NodeId, service: ServiceKind) -> bool {
        self.topology.is_active(node, service)
    }

    fn names<'n>(&self, nodes: impl IntoIterator<Item = &'n NodeId>) -> String {
        let names = nodes.into_iter().map(|&node| self.topology.node(node).name.as_str());
        names.collect::<Vec<_>>().join(", ")
    }

    /// What the cluster is before anything happens.
    /// Probes that fail from the start, whatever the steps do.
    fn probes(&mut self) {
        let rolls_out = |entry: &TimelineEntry| entry.action.get::<RollOutLsc>().is_some();
        let has_rollout = self.plan.timeline.iter().any(rolls_out);
        for ProbePlan { name, probe, imports, is_trusted } in &self.plan.probes {
            let at_the_start = imports.iter().any(|when| when == AT_THE_START);
            let (why, help) = if probe.phone.is_some() && !probe.takes_mics && !has_rollout {
                ("no phone has an LSC and no step installs one", "roll-out-lsc = {}")
            } else if probe.kind.service().is_some() && !at_the_start {
                ("its peer imports nothing before the first step", "imports = [\"start\"]")
            } else if probe.trusts().is_some() && !is_trusted {
                ("the node does not trust its peer then", "trusted = true")
            } else {
                continue;
            };
            let help = format!("{help}, unless that is what is to be shown");
            self.say(None, &format!("probe `{name}` fails from the start: {why}"), &help);
        }
    }

    fn shape(&mut self) {
        self.probes();
        let topology = self.topology;
        let lacks = |node: &NodeId| {
            self.runs(*node, ServiceKind::CallManager) && !self.runs(*node, ServiceKind::Tvs)
        };
        let lacking: Vec<NodeId> = topology.ids().filter(lacks).collect();
        if !lacking.is_empty() {
            let names = self.names(&lacking);
            self.say(
                None,
                &format!(
                    "CallManager runs without TVS on {names}, where no phone can ask (TVS-03)"
                ),
                "add \"tvs\" to the services of every node with \"callmanager\"",
            );
        }
        let changes = |action: &OperatorAction| {
            action.get::<Regenerate>().is_some()
                || action.get::<Rename>().is_some()
                || action.get::<Import>().is_some()
        };
        let servers = topology.nodes_with(ServiceKind::Tvs).count();
        if servers < 2 || !self.plan.timeline.iter().any(|entry| changes(&entry.action)) {
            return;
        }
        for (group, size) in topology.groups.iter().zip(topology.group_sizes(self.phones())) {
            if let (&[only], 1..) = (group.members.as_slice(), size) {
                self.say(
                    None,
                    &format!(
                        "{} phones of group {} have no TVS but that of {} to ask when a \
                         certificate changes (SAFE-14)",
                        count(u64::from(size)),
                        group.name,
                        topology.node(only).name
                    ),
                    "give the group a second member, or leave that node for the end",
                );
            }
        }
    }

    fn phones(&self) -> u32 {
        self.plan.fleet.phones
    }

    /// What a step means for the rules.
    fn act(&mut self, at: usize, action: &OperatorAction) {
        let resets = action.impact(self.topology).wave.is_some();
        if let Some(Import { certificate, nodes, .. }) = action.get() {
            nodes.iter().for_each(|&node| self.change(at, node, *certificate));
        }
        if let Some(&Regenerate { certificate, node }) = action.get() {
            self.change(at, node, certificate);
            if resets {
                // TFTP starts by itself.
                self.due.retain(|&(_, service)| service != ServiceKind::Tftp);
            }
        } else if let Some(Rename { node, .. }) = action.get() {
            use CertificateKind::{CallManager, Capf, Ipsec, Tomcat, Tvs};
            [CallManager, Capf, Tvs, Tomcat, Ipsec]
                .iter()
                .for_each(|&kind| self.change(at, *node, kind));
        } else if let Some(&Rebuild { node }) = action.get() {
            self.rebuild(at, node);
        } else if let Some(&Restore { node, from }) = action.get() {
            self.restore(at, node, from);
        } else if let Some(&RestoreTrustedItl { node }) = action.get() {
            if self.topology.has(Defect::KeepsTrustedItl) {
                self.changed.remove(&node);
            }
            self.serve(at, Services::restart(node, None));
        } else if action.get::<BackUp>().is_some() {
            self.back_up(at);
        } else if let Some(services) = action.get() {
            self.serve(at, *services);
        } else if let Some(SetParameter { parameter, .. }) = action.get() {
            self.set(at, *parameter);
        } else if let Some(UpdateCtl { .. }) = action.get() {
            self.make_ctl(at);
        } else if let Some(ActivateCapf) = action.get() {
            self.activate_capf(at);
        } else if let Some(&ResetLocalKey { list }) = action.get() {
            match list {
                ResetList::Itl => self.local_key = Some(at),
                ResetList::Ctl => self.stale_ctl = None,
            }
        }
        if resets {
            self.reset(at);
        }
    }

    fn change(&mut self, at: usize, node: NodeId, kind: CertificateKind) {
        self.changed.entry(node).or_default().insert(kind);
        self.first_change.get_or_insert(at);
        self.has_new_recovery |= kind == CertificateKind::ItlRecovery;
        let (here, everywhere) = kind.restarts();
        for other in self.topology.ids() {
            let services = if other == node { here } else { everywhere };
            let due = services.iter().filter(|service| self.runs(other, **service));
            let due: Vec<_> = due.map(|&service| (other, service)).collect();
            self.due.extend(due);
        }
        let is_listed = match kind {
            CertificateKind::CallManager => self.topology.is_in_ctl(node),
            CertificateKind::Capf => self.has_capf && node.index() == 0,
            CertificateKind::ItlRecovery => true,
            CertificateKind::CallManagerEcdsa
            | CertificateKind::Tvs
            | CertificateKind::Tomcat
            | CertificateKind::Ipsec => false,
        };
        if self.is_mixed && is_listed {
            self.stale_ctl.get_or_insert(at);
        }
    }

    /// Lists name CAPF when TFTP has started again, a CTL when it is updated.
    fn activate_capf(&mut self, at: usize) {
        self.has_capf = true;
        self.require_tftp();
        if self.is_mixed {
            self.stale_ctl.get_or_insert(at);
        }
    }

    fn make_ctl(&mut self, at: usize) {
        self.stale_ctl = None;
        if !self.has_capf {
            let what = format!(
                "{} makes a CTL without a record of CAPF, which is not active on {} (CTL-19)",
                self.step(at),
                self.topology.nodes[0].name
            );
            self.say(
                Some(at),
                &what,
                "activate = { service = \"capf\", node = … } before it: without that record no \
                 phone trusts CAPF, and none can enrol for an LSC",
            );
        }
    }

    fn require_tftp(&mut self) {
        let nodes = self.topology.nodes_with(ServiceKind::Tftp);
        self.due.extend(nodes.map(|node| (node, ServiceKind::Tftp)));
    }

    fn serve(&mut self, at: usize, Services { change, node, service }: Services) {
        if change == Change::Stop {
            return;
        }
        let is_it = |of: NodeId, kind: ServiceKind| of == node && service.is_none_or(|s| s == kind);
        self.due.retain(|&(of, kind)| !is_it(of, kind));
        let starts_tftp = self.runs(node, ServiceKind::Tftp) && is_it(node, ServiceKind::Tftp);
        if let (true, Some(key)) = (starts_tftp, self.local_key) {
            let name = &self.topology.node(node).name;
            let what = format!(
                "{} starts TFTP on {name} before any reset, so that no phone meets the list of {}",
                self.step(at),
                self.step(key)
            );
            self.say(
                Some(at),
                &what,
                "reset the phones first: a start of TFTP signs its list as ever",
            );
            self.local_key = None;
        }
    }

    /// A node is installed anew: with every certificate another one, and running.
    fn rebuild(&mut self, at: usize, node: NodeId) {
        use CertificateKind::{CallManager, Capf, ItlRecovery, Tvs};
        if self.backups == 0 {
            let what = format!(
                "{} installs {} anew, and no step before makes a backup: a rule is broken (BKP-01)",
                self.step(at),
                self.topology.node(node).name
            );
            self.say(
                Some(at),
                &what,
                "begin with backup = {}; restore = { node = … } puts its keys back",
            );
        }
        let is_publisher = self.topology.ids().next() == Some(node);
        let has_recovery = self.topology.release.holders(ItlRecovery) != Holders::Nobody;
        [CallManager, Capf, Tvs].iter().for_each(|&kind| self.change(at, node, kind));
        if is_publisher && has_recovery {
            self.change(at, node, ItlRecovery);
        }
        self.serve(at, Services::restart(node, None));
    }

    /// A node has what a backup has of it, which may be no certificate at all.
    fn restore(&mut self, at: usize, node: NodeId, from: Option<u32>) {
        if self.backups == 0 || from.is_some_and(|number| number > self.backups) {
            let which = from.map_or("a backup".to_owned(), |number| format!("backup {number}"));
            let what = format!(
                "{} restores {} from {which}, which no step before makes",
                self.step(at),
                self.topology.node(node).name
            );
            self.say(Some(at), &what, "it fails unless the directory of --state holds that backup");
        }
        if !self.topology.has(Defect::BackupWithoutCertificates) {
            self.changed.remove(&node);
            self.has_new_recovery &= self.topology.ids().next() != Some(node);
        }
        self.serve(at, Services::restart(node, None));
    }

    fn back_up(&mut self, at: usize) {
        self.backups += 1;
        if let (1, Some(change)) = (self.backups, self.first_change) {
            let what = format!(
                "{} makes the first backup, and {} has changed certificates before: a rule is \
                 broken (SAFE-15)",
                self.step(at),
                self.step(change)
            );
            self.say(
                Some(at),
                &what,
                "back up first: the keys that the phones know are in no backup",
            );
        }
    }

    fn set(&mut self, at: usize, parameter: Parameter) {
        match parameter {
            Parameter::Rollback(value) => {
                if value && self.is_mixed {
                    let what = format!(
                        "{} prepares a cluster in mixed mode for a rollback, which does not help \
                         its phones: a rule is broken (SAFE-10)",
                        self.step(at)
                    );
                    self.say(
                        Some(at),
                        &what,
                        "the CTL is not emptied, and phones judge by it first; \
                         procedure = \"one-type-at-a-time\"",
                    );
                }
                self.rollback = value.then_some(at);
            }
            Parameter::SecurityMode(mode) => {
                (self.is_mixed, self.stale_ctl) = (mode == SecurityMode::Mixed, None);
                if self.is_mixed {
                    self.make_ctl(at);
                }
                return;
            }
            Parameter::SecuredUrls(_) => return,
            Parameter::FileSignature(_) => {}
        }
        self.require_tftp();
    }

    /// All phones are reset and meet what is in force now.
    fn reset(&mut self, at: usize) {
        // A certificate is in force when its service has started again.
        let in_force = |node: NodeId, kind: CertificateKind| match kind {
            CertificateKind::Tvs => !self.due.contains(&(node, ServiceKind::Tvs)),
            _ => !self.due.contains(&(node, ServiceKind::Tftp)),
        };
        let met = |kind: CertificateKind| -> BTreeSet<NodeId> {
            let changed = self.changed.iter().filter(|(_, kinds)| kinds.contains(&kind));
            changed.map(|(&node, _)| node).filter(|&node| in_force(node, kind)).collect()
        };
        let mut signers = met(CertificateKind::CallManager);
        signers.retain(|&node| self.runs(node, ServiceKind::Tftp));
        let servers = met(CertificateKind::Tvs);
        let mut left = self.changed.clone();
        left.iter_mut().for_each(|(&node, kinds)| kinds.retain(|&kind| !in_force(node, kind)));
        self.changed = left;
        if !self.are_blank {
            self.judge(at, &signers, &servers);
        }
        let tftp_due = self.due.iter().any(|&(_, service)| service == ServiceKind::Tftp);
        if !tftp_due {
            self.are_blank = self.rollback.is_some() && !self.is_mixed;
        }
        self.local_key = None;
    }

    fn judge(&mut self, at: usize, signers: &BTreeSet<NodeId>, servers: &BTreeSet<NodeId>) {
        let both: Vec<NodeId> = signers.intersection(servers).copied().collect();
        if both.is_empty() && signers.len() < 2 {
            return;
        }
        let outcome = self.outcome(signers, servers);
        let step = self.step(at);
        if !both.is_empty() {
            let names = self.names(&both);
            let what = format!(
                "{step} finds CallManager.pem and TVS.pem of {names} changed together: a rule is \
                 broken (REG-06)"
            );
            self.say_with(at, what, outcome.clone());
        }
        if signers.len() > 1 {
            let names = self.names(signers);
            let what = format!(
                "{step} finds CallManager.pem of the TFTP nodes {names} changed together: a rule \
                 is broken (SAFE-03)"
            );
            self.say_with(at, what, outcome);
        }
    }

    /// What becomes of the phones that meet these new signers and TVS servers, and what to do.
    fn outcome(&self, signers: &BTreeSet<NodeId>, servers: &BTreeSet<NodeId>) -> (String, String) {
        let stuck = self.stuck(signers, servers);
        if stuck == 0 && self.has_lists_of_recovery() {
            let help =
                "no repair is needed: lists are signed with ITLRecovery, which the phones know";
            return ("nobody is stuck by it".to_owned(), help.to_owned());
        }
        if stuck == 0 {
            let keep: Vec<NodeId> = self.topology.nodes_with(ServiceKind::Tvs).collect();
            let names = self.names(keep.iter().filter(|node| !servers.contains(node)));
            let recommended = if servers.is_empty() {
                "; one type at a time is the recommended order"
            } else {
                ""
            };
            let help = format!(
                "no repair is needed: TVS on {names} keeps the certificate that the phones know \
                 and vouches for the new signer{recommended}"
            );
            return ("nobody is stuck by it".to_owned(), help);
        }
        let came = format!("{} phones are stuck by it", count(stuck));
        let help = if self.is_mixed {
            "a reset between the two prevents it (procedure = \"one-type-at-a-time\"); it is \
             repaired by update-ctl if tokens sign the CTL, or by erase-lists"
        } else {
            "a reset between the two prevents it (procedure = \"one-type-at-a-time\"), or \
             procedure = \"rollback\"; it is repaired by erase-lists, or by a restore of the keys \
             from a backup of before"
        };
        (came, help.to_owned())
    }

    /// Phones whose node has a new signer and whose group has no TVS left that they know.
    fn stuck(&self, signers: &BTreeSet<NodeId>, servers: &BTreeSet<NodeId>) -> u64 {
        if self.has_lists_of_recovery() {
            return 0;
        }
        let homes = &self.plan.fleet.tftp;
        let mut first = 0;
        let mut stuck = 0;
        for (group, size) in
            self.topology.groups.iter().zip(self.topology.group_sizes(self.phones()))
        {
            let phones = first..first + size;
            first += size;
            if group.members.iter().all(|member| servers.contains(member)) {
                let meets =
                    |phone: &u32| signers.contains(&homes[*phone as usize % homes.len()][0]);
                stuck += phones.filter(meets).count() as u64;
            }
        }
        stuck
    }

    /// Whether phones learn of new certificates by lists whose signer they know all the same.
    fn has_lists_of_recovery(&self) -> bool {
        let recovery = CertificateKind::ItlRecovery;
        self.topology.release.rules().itl_signer == recovery && !self.has_new_recovery
    }

    /// What is left when the last step is done.
    fn end(&mut self) {
        // Of what lends its certificate only, phones notice nothing here; the summary names it.
        if self.due.iter().any(|&(_, service)| self.topology.is_served(service)) {
            let words = |&(node, service): &(NodeId, ServiceKind)| {
                format!("{} on {}", service.name(), self.topology.node(node).name)
            };
            let mut due: Vec<String> = self.due.iter().map(words).collect();
            let more = due.len().saturating_sub(NAMED_MAX);
            due.truncate(NAMED_MAX);
            if more > 0 {
                due.push(format!("{more} more"));
            }
            let what = format!(
                "the plan ends and restarts are still required (REG-10): {}",
                due.join(", ")
            );
            self.say(
                None,
                &what,
                "restart them before the last reset: until then what was is in force",
            );
        }
        if let Some(at) = self.rollback {
            let what = format!(
                "the plan ends with the cluster prepared for a rollback since {} (SAFE-13)",
                self.step(at)
            );
            self.say(
                None,
                &what,
                "phones with a blank list accept any file: set rollback-to-pre-8.0 to false, \
                 restart TFTP and reset the phones",
            );
        }
        if let Some(at) = self.stale_ctl {
            let what = format!(
                "the plan ends and the CTL is stale: {} changes a certificate that it names \
                 (CTL-02)",
                self.step(at)
            );
            self.say(
                None,
                &what,
                "end with update-ctl = {}, restarts of CallManager and TFTP, and a reset",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::measure::known_paths;
    use crate::scenario::load;
    use crate::sim::{SimOptions, World};

    const PHONES: u64 = 40;

    fn shipped(name: &str, overrides: &[&str]) -> Plan {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("scenarios/{name}.toml"));
        let text = std::fs::read_to_string(&path).unwrap();
        let phones = format!("fleet.phones={PHONES}");
        let all: Vec<String> =
            overrides.iter().map(|text| (*text).to_owned()).chain([phones]).collect();
        load(&path, &text, &all, &known_paths()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The plan of these events on two TFTP nodes.
    fn plan(cluster: &str, events: &[&str]) -> Plan {
        let events: Vec<String> = (0..)
            .zip(events)
            .map(|(at, event)| {
                let first = if at == 0 { "when='fleet-settled'" } else { "after='previous'" };
                let when = if event.starts_with("when") { "" } else { first };
                format!("[[event]]\n{when}\n{event}\n")
            })
            .collect();
        let text = format!(
            "schema=1\nname='t'\n[cluster]\n{cluster}\n[[cluster.node]]\nname='pub'\n\
             [[cluster.node]]\nname='sub'\naddress='127.0.0.2'\n\
             services=['callmanager','tftp','tvs']\n[fleet]\nphones={PHONES}\n\
             tftp=['pub','sub']\n{}",
            events.concat()
        );
        load(Path::new("t.toml"), &text, &[], &[]).unwrap_or_else(|error| panic!("{error}"))
    }

    fn told(plan: &Plan) -> Vec<String> {
        broken_rules(plan).iter().map(ToString::to_string).collect()
    }

    fn has(plan: &Plan, words: &[&str]) {
        let all = told(plan);
        let matches = |text: &&String| words.iter().all(|word| text.contains(word));
        let found = all.iter().filter(matches).count();
        assert_eq!(found, 1, "{words:?} in {all:#?}");
        assert!(all.iter().all(|text| text.contains("\nhelp: ")), "{all:?}");
    }

    fn lacks(plan: &Plan, word: &str) {
        let all = told(plan);
        assert!(!all.iter().any(|text| text.contains(word)), "{word} in {all:#?}");
    }

    const CM: &str = "regenerate={certificate='CallManager',node='pub'}";
    const CM_SUB: &str = "regenerate={certificate='CallManager',node='sub'}";
    const TVS: &str = "regenerate={certificate='TVS',node='pub'}";
    const TVS_SUB: &str = "regenerate={certificate='TVS',node='sub'}";
    const RESTART: &str = "restart={node='pub'}";
    const RESTART_SUB: &str = "restart={node='sub'}";
    const RESET: &str = "reset-phones={}";
    const WAIT: &str = "when='fleet-settled'\nreset-phones={}";
    const MIXED: &str = "release='11.5'\nsecurity-mode='mixed'";

    #[test]
    fn a_ctl_without_capf_is_told_and_an_activation_wants_tftp_to_start() {
        const ACTIVATE: &str = "activate={service='capf',node='pub'}";
        const TO_MIXED: &str = "set-parameter={name='security-mode',value='mixed'}";
        // The first node of these plans has every service unless it is told.
        let bare = |cluster: &str, events: &[&str]| {
            let nodes = "[[cluster.node]]\nname='pub'\nservices=['callmanager','tftp','tvs']\n";
            let texts = events.iter().map(|event| format!("[[event]]\nat='0s'\n{event}\n"));
            let text = format!(
                "schema=1\nname='t'\n[cluster]\n{cluster}\n{nodes}[fleet]\nphones=5\n{}",
                texts.collect::<String>()
            );
            load(Path::new("t.toml"), &text, &[], &[]).unwrap_or_else(|error| panic!("{error}"))
        };
        let early = ["step 1", "without a record of CAPF", "not active on pub (CTL-19)"];
        has(&bare("release='11.5'", &[TO_MIXED, RESTART, RESET]), &early);
        has(&bare(MIXED, &["update-ctl={}", RESTART, RESET]), &early);
        lacks(&plan(MIXED, &["update-ctl={}", RESTART, RESET]), "CTL-19");
        let in_order = bare("release='11.5'", &[ACTIVATE, TO_MIXED, RESTART, RESET]);
        assert!(broken_rules(&in_order).is_empty(), "{:?}", broken_rules(&in_order));
        has(&bare("release='8.6'", &[ACTIVATE, RESET]), &["(REG-10)", "tftp on pub"]);
        let stale = bare(MIXED, &[ACTIVATE, "restart={service='capf',node='pub'}", RESTART]);
        has(&stale, &["(CTL-02)", "step 1"]);
    }

    #[test]
    fn what_is_said_to_come_of_a_broken_rule_comes_of_it_in_virtual_time() {
        let later = ["cluster.release=12.5"];
        let cases: [(&str, &[&str], u64); 6] = [
            ("callmanager-and-tvs", &[], PHONES),
            ("callmanager-and-tvs", &later, 0),
            ("rename-one-of-three", &[], 0),
            ("rename-all-three", &[], PHONES),
            ("single-member-group", &[], PHONES / 10),
            ("one-type-at-a-time", &[], 0),
        ];
        for (name, overrides, stuck) in cases {
            let plan = shipped(name, overrides);
            let words = match stuck {
                0 => "nobody is stuck by it".to_owned(),
                stuck => format!("{stuck} phones are stuck by it"),
            };
            has(&plan, &["a rule is broken", &words]);
            let summary = World::new(&plan, SimOptions::default()).run().summary(&plan);
            assert_eq!(summary.phones.stuck, stuck, "{name} {overrides:?}");
        }
    }

    #[test]
    fn both_certificates_before_a_reset_break_a_rule_and_with_one_between_they_do_not() {
        let all = [CM, TVS, RESTART, RESTART_SUB, RESET];
        has(&plan("", &all), &["step 5 (reset-1)", "of pub changed together", "REG-06"]);
        has(&plan("", &all), &["TVS on sub keeps the certificate"]);
        let between = [CM, RESTART, RESTART_SUB, RESET, TVS, RESTART, RESTART_SUB, WAIT];
        lacks(&plan("", &between), "REG-06");
        // A reset before the restart changes nothing.
        let early = [CM, RESET, TVS, RESTART, RESTART_SUB, WAIT];
        has(&plan("", &early), &["step 6 (reset-2)", "REG-06"]);
        let all = [CM, TVS, CM_SUB, TVS_SUB, RESTART, RESTART_SUB, RESET];
        has(&plan("", &all), &["SAFE-03", "40 phones are stuck by it", "by erase-lists, or"]);
    }

    #[test]
    fn blank_lists_forgive_both_and_left_on_they_are_warned_about() {
        let on = "set-parameter={name='rollback-to-pre-8.0',value=true}";
        let change = [RESTART, RESTART_SUB, WAIT, CM, TVS, RESTART, RESTART_SUB, WAIT];
        let all = [&[on][..], &change].concat();
        lacks(&plan("", &all), "REG-06");
        has(
            &plan("", &all),
            &["prepared for a rollback since step 1 (set-parameter-1)", "SAFE-13"],
        );
        // Without the restart nobody holds a blank list.
        has(&plan("", &[on, WAIT, CM, TVS, RESTART, RESTART_SUB, RESET]), &["REG-06"]);
        has(&plan(MIXED, &[on]), &["step 1 (set-parameter-1)", "mixed mode", "SAFE-10"]);
        let named = "procedure='rollback'";
        assert_eq!(broken_rules(&plan("", &[named])), Vec::<BrokenRule>::new());
    }

    #[test]
    fn forgotten_restarts_and_updates_are_told_at_the_end() {
        has(&plan("", &[CM, RESET]), &["REG-10", "callmanager on pub, tftp on pub, tvs on pub"]);
        lacks(&plan("", &[CM, RESTART, RESET]), "REG-10");
        let served = ["tftp", "tvs"].map(|s| format!("restart={{node='pub',service='{s}'}}"));
        lacks(&plan("", &[CM, &served[0], &served[1], RESET]), "REG-10");
        let stopped = "stop={service='tftp',node='pub',for='3s'}";
        has(&plan("", &[CM, stopped, RESET]), &["REG-10", "callmanager on pub, tvs on pub"]);
        has(&plan(MIXED, &[CM, RESTART, RESET]), &["CTL is stale: step 1", "CTL-02"]);
        lacks(&plan(MIXED, &[CM, RESTART, "update-ctl={}", RESET]), "CTL-02");
        lacks(&plan(MIXED, &[TVS, RESTART, RESTART_SUB, RESET]), "CTL-02");
        lacks(&plan("", &[CM, RESTART, RESET]), "CTL-02");
        let long = [CM, TVS, CM_SUB, TVS_SUB, "regenerate={certificate='CAPF',node='pub'}", RESET];
        has(
            &plan("", &long),
            &["REG-10", "tvs on pub, ctimanager on pub, callmanager on sub, 3 more"],
        );
    }

    #[test]
    fn a_start_of_tftp_before_the_reset_wastes_a_reset_of_the_local_key() {
        let key = "reset-itl-localkey={}";
        let tftp = "restart={service='tftp',node='sub'}";
        let early = plan("release='11.5'", &[key, tftp, RESET]);
        has(&early, &["step 2 (restart-1) starts TFTP on sub", "step 1 (reset-itl-localkey-1)"]);
        let sound = plan("release='11.5'", &[key, RESET, tftp]);
        assert_eq!(broken_rules(&sound), Vec::<BrokenRule>::new());
    }

    #[test]
    fn nodes_and_groups_without_a_tvs_to_ask_are_told_with_their_phones() {
        let alone = "group=[{name='a',members=['pub'],share=0.25},\
                     {name='b',members=['pub','sub'],share=0.75}]";
        has(&plan(alone, &[CM, RESTART, RESET]), &["10 phones of group a", "pub", "SAFE-14"]);
        lacks(&plan(alone, &[RESET]), "SAFE-14");
        let bare = shipped("dns-record-missing", &[]);
        has(&bare, &["CallManager runs without TVS on pub", "TVS-03"]);
    }

    #[test]
    fn of_servers_that_are_not_ours_nothing_is_known() {
        let target = shipped("callmanager-and-tvs", &["target.tftp=127.0.0.1:69"]);
        assert_eq!(broken_rules(&target), Vec::<BrokenRule>::new());
    }
}
