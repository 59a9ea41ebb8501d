//! Which certificates come to their end in a plan.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::base::{NodeId, Span};
use crate::cluster::operator::calendar::Advance;
use crate::cluster::operator::certificates::{Import, Regenerate};
use crate::cluster::operator::hosts::Rename;
use crate::cluster::{CERTIFICATES, CertificateKind, Holders, OperatorAction, Release};
use crate::scenario::Plan;

use super::rules::step;

/// How many days a certificate still lasts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DaysLeft {
    /// Which one.
    pub certificate: &'static str,
    /// Whose.
    pub node: String,
    /// Whole days at the start of the run.
    pub at_start: i64,
    /// Whole days after the last step; less than nothing if it has expired.
    pub at_end: i64,
}

type Own = (NodeId, CertificateKind);

/// The calendar of a plan, in seconds since its start.
struct Calendar {
    date_s: i64,
    release: Release,
    ends: BTreeMap<Own, i64>,
    /// Nodes that share a certificate, which one regeneration changes for all.
    shared: BTreeMap<Own, Vec<NodeId>>,
}

const DAY_S: i64 = 86_400;

impl Calendar {
    fn new(plan: &Plan) -> Calendar {
        let topology = &plan.topology;
        let publisher = topology.ids().next();
        let mut ends = BTreeMap::new();
        for node in topology.ids() {
            let held =
                CERTIFICATES.into_iter().filter(|&kind| match topology.release.holders(kind) {
                    Holders::Nobody => false,
                    Holders::Publisher => Some(node) == publisher,
                    Holders::EveryNode => true,
                });
            let life = |kind| topology.release.life_s(kind).cast_signed();
            let expires = &topology.node(node).expires;
            let left = |kind| expires.get(&kind).copied().map_or_else(|| life(kind), seconds);
            ends.extend(held.map(|kind| ((node, kind), left(kind))));
        }
        Calendar { date_s: 0, release: topology.release, ends, shared: BTreeMap::new() }
    }

    fn follow(&mut self, action: &OperatorAction) {
        if let Some(Advance { by }) = action.get() {
            self.date_s = self.date_s.saturating_add(seconds(*by));
        } else if let Some(Regenerate { certificate, node }) = action.get() {
            self.renew(*node, *certificate, self.life_s(*certificate));
        } else if let Some(Rename { node, .. }) = action.get() {
            for kind in CERTIFICATES {
                self.renew(*node, kind, self.life_s(kind));
            }
        } else if let Some(Import { certificate, nodes, valid, .. }) = action.get() {
            for &node in nodes {
                self.shared.insert((node, *certificate), nodes.clone());
            }
            self.renew(nodes[0], *certificate, seconds(*valid));
        }
    }

    fn renew(&mut self, node: NodeId, kind: CertificateKind, life_s: i64) {
        let nodes = self.shared.get(&(node, kind)).cloned().unwrap_or_else(|| vec![node]);
        for node in nodes {
            if let Some(end) = self.ends.get_mut(&(node, kind)) {
                *end = self.date_s.saturating_add(life_s);
            }
        }
    }

    /// How long a certificate lasts that its node makes.
    fn life_s(&self, kind: CertificateKind) -> i64 {
        self.release.life_s(kind).cast_signed()
    }

    fn days_left(&self, own: Own) -> i64 {
        self.ends.get(&own).map_or(0, |end| (end - self.date_s).div_euclid(DAY_S))
    }

    /// Certificates by which phones judge files and TVS, and whose time is over.
    fn over(&self) -> Vec<Own> {
        use CertificateKind::{CallManager, ItlRecovery, Tvs};
        let is_judged = |kind| matches!(kind, CallManager | ItlRecovery | Tvs);
        let over =
            |(own, end): (&Own, &i64)| (is_judged(own.1) && *end < self.date_s).then_some(*own);
        self.ends.iter().filter_map(over).collect()
    }
}

fn seconds(span: Span) -> i64 {
    i64::try_from(span.as_nanos() / 1_000_000_000).unwrap_or(i64::MAX)
}

/// The certificates whose end the plan speaks of or comes near to, the first to end first; empty if
/// no time passes and none is old.
pub fn days_left(plan: &Plan) -> Vec<DaysLeft> {
    let mut calendar = Calendar::new(plan);
    let start = Calendar::new(plan);
    plan.timeline.iter().for_each(|entry| calendar.follow(&entry.action));
    let own_end = |own: &Own| calendar.ends[own] - calendar.date_s;
    let mut told: Vec<Own> = calendar.ends.keys().copied().collect();
    told.retain(|own| {
        let life_s = calendar.life_s(own.1);
        own_end(own) < life_s || start.ends[own] < life_s
    });
    told.sort_by_key(own_end);
    let row = |own: Own| DaysLeft {
        certificate: own.1.name(),
        node: plan.topology.node(own.0).name.clone(),
        at_start: start.days_left(own),
        at_end: calendar.days_left(own),
    };
    told.into_iter().map(row).collect()
}

/// Resets of phones while a certificate by which they judge has expired (CERT-18, CERT-23).
pub(super) fn resets_after_the_end(plan: &Plan) -> Vec<String> {
    if !plan.phone.checks_dates || plan.target.is_some() {
        return Vec::new();
    }
    let (mut calendar, mut warnings) = (Calendar::new(plan), Vec::new());
    for (at, entry) in plan.timeline.iter().enumerate() {
        calendar.follow(&entry.action);
        let over: Vec<String> =
            calendar.over().into_iter().map(|own| named(plan, &calendar, own)).collect();
        if entry.action.impact(&plan.topology).wave.is_some() && !over.is_empty() {
            warnings.push(format!(
                "{} resets phones after the end of {}: what it signs or presents is refused\n\
                 help: regenerate it and restart its services before the reset",
                step(plan, at),
                over.join(", "),
            ));
        }
    }
    warnings
}

fn named(plan: &Plan, calendar: &Calendar, own: Own) -> String {
    let days = -calendar.days_left(own);
    let days = if days == 1 { "1 day".to_owned() } else { format!("{days} days") };
    format!("{} on {} ({days} ago)", own.1.name(), plan.topology.node(own.0).name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::scenario::load;

    fn plan(overrides: &[&str]) -> Plan {
        let path = Path::new("scenarios/forty-seven-days.toml");
        let text = std::fs::read_to_string(path).unwrap();
        let overrides: Vec<String> = overrides.iter().map(|&one| one.to_owned()).collect();
        load(path, &text, &overrides, &[]).unwrap()
    }

    fn days(plan: &Plan) -> Vec<(&'static str, i64, i64)> {
        days_left(plan).into_iter().map(|row| (row.certificate, row.at_start, row.at_end)).collect()
    }

    #[test]
    fn the_days_of_each_certificate_are_told() {
        let late = 5 * 365 - 88;
        let told = days(&plan(&[]));
        assert_eq!(told[0], ("CallManager", 1_825, -1));
        assert!(told[1..].iter().all(|row| (row.1, row.2) == (1_825, late)), "{told:?}");
        let old = days(&plan(&["cluster.node.pub.expires={TVS='100d'}"]));
        assert_eq!(old[..2], [("CallManager", 1_825, -1), ("TVS", 100, 12)]);
        let none = "event=[{at='0s',reset-phones={spread='1s'}}]";
        assert_eq!(days(&plan(&[none])), [], "no time passes");
    }

    #[test]
    fn a_reset_after_the_end_is_warned_of() {
        let warned = resets_after_the_end(&plan(&[]));
        assert_eq!(warned.len(), 1, "{warned:?}");
        assert!(
            warned[0].contains("after the end of CallManager on pub (1 day ago)"),
            "{warned:?}"
        );
        assert_eq!(resets_after_the_end(&plan(&["phone.checks-dates=false"])), [""; 0]);
        assert_eq!(resets_after_the_end(&plan(&["event.advance-2.advance=46d"])), [""; 0]);
        let tvs = resets_after_the_end(&plan(&["cluster.node.pub.expires={TVS='41d'}"]));
        assert!(tvs.last().unwrap().contains("TVS on pub (47 days ago)"), "{tvs:?}");
    }
}
