use crate::base::Time;
use crate::cluster::{Cluster, PeerTrust, ProbeFault};
use crate::measure::{ProbeChange, ProbeSummary};
use crate::scenario::{AT_THE_START, ProbePlan};

/// The probes of a run: what their peers know by now, and what came of them so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Probes(Vec<Tried>);

#[derive(Clone, Debug)]
struct Tried {
    plan: ProbePlan,
    /// As the node was called at the start.
    words: String,
    peer: PeerTrust,
    course: Vec<ProbeChange>,
}

/// Changes of a probe that are kept (choice): a plan with more is not read by people.
const CHANGES_MAX: usize = 2_000;

impl Probes {
    /// The probes of a cluster at the start of a run; none where the servers are not ours.
    pub(super) fn new(plans: &[ProbePlan], cluster: Option<&Cluster>) -> Probes {
        let Some(cluster) = cluster else { return Probes::default() };
        let tried = |plan: &ProbePlan| Tried {
            words: plan.probe.words(&cluster.topology().node(plan.probe.node).name),
            plan: plan.clone(),
            peer: PeerTrust::default(),
            course: Vec::new(),
        };
        let mut probes = Probes(plans.iter().map(tried).collect());
        probes.look(cluster, Some(AT_THE_START), Time::ZERO);
        probes
    }

    /// The step of this name was carried out at `now`: peers import what they are to import behind it,
    /// and each probe is tried.
    pub(super) fn look(&mut self, cluster: &Cluster, step: Option<&str>, now: Time) {
        for tried in &mut self.0 {
            if tried.plan.imports.iter().any(|name| Some(name.as_str()) == step) {
                tried.plan.probe.import(cluster, &mut tried.peer, now);
            }
            tried.look(cluster, now);
        }
    }

    /// What has come of each, with what it comes to at `now`.
    pub(super) fn found(&self, cluster: Option<&Cluster>, now: Time) -> Vec<ProbeSummary> {
        let Some(cluster) = cluster else { return Vec::new() };
        let mut all = self.clone();
        all.look(cluster, None, now);
        let summary = |tried: Tried| {
            let last = tried.course.last().cloned().unwrap_or_default();
            let (probe, course) = (tried.words, tried.course);
            ProbeSummary { probe, works: last.works, cause: last.cause, course }
        };
        all.0.into_iter().map(summary).collect()
    }
}

impl Tried {
    fn look(&mut self, cluster: &Cluster, now: Time) {
        let fault = self.plan.probe.judge(cluster, &self.peer, now).err();
        let cause = fault.as_ref().map(ProbeFault::to_string);
        let is_same = self.course.last().is_some_and(|last| last.cause == cause);
        if !is_same {
            // The last one stays true.
            self.course.truncate(CHANGES_MAX - 1);
            self.course.push(ProbeChange {
                at_s: now.as_secs_f64(),
                works: cause.is_none(),
                cause,
            });
        }
    }
}
