use std::collections::BTreeSet;

use crate::base::Time;
use crate::cluster::operator::certificates::{ImportTrust, RenewPeer, Upload};
use crate::cluster::{Cluster, PeerTrust, ProbeFault};
use crate::measure::{ProbeChange, ProbeSummary};
use crate::phone::{Precedence, shown};
use crate::scenario::{AT_THE_START, ProbePlan};

/// The probes of a run: what their peers know by now, and what came of them so far.
#[derive(Clone, Debug)]
pub(super) struct Probes {
    all: Vec<Trial>,
    /// When one of them may come out otherwise next though nobody does anything.
    next: Time,
}

#[derive(Clone, Debug)]
struct Trial {
    plan: ProbePlan,
    peer: PeerTrust,
    course: Vec<ProbeChange>,
    /// How often the LSC that it judges had changed when it was tried last.
    changes: u64,
    /// When it was tried last, and for how long it had failed until then.
    seen: Time,
    failed_s: f64,
    outages: u64,
}

/// Changes of a probe that are kept (choice): a plan with more is not read by people.
const CHANGES_MAX: usize = 2_000;

impl Probes {
    /// The probes of a cluster at the start of a run, and those that fail then, in words; their peers
    /// have certificates from then on. None where the servers are not ours.
    pub(super) fn new(plans: &[ProbePlan], cluster: Option<&mut Cluster>) -> (Probes, Vec<String>) {
        let mut probes = Probes { all: Vec::new(), next: Time::NEVER };
        let Some(cluster) = cluster else { return (probes, Vec::new()) };
        // What an earlier run has left of a server and of the trust in it is as it was left.
        let known: BTreeSet<String> = cluster.peers().keys().cloned().collect();
        for plan in plans {
            introduce(plan, cluster, &known);
            let phone = plan.probe.phone;
            let mic = phone.and_then(|phone| {
                shown(None, phone, cluster.fleet().model(phone), Precedence::Mic)
            });
            phone.iter().for_each(|&phone| cluster.devices().watch(phone));
            probes.all.push(Trial {
                plan: plan.clone(),
                peer: PeerTrust::of_phone(mic.map(|mic| mic.certificate)),
                course: Vec::new(),
                changes: 0,
                seen: Time::ZERO,
                failed_s: 0.0,
                outages: 0,
            });
        }
        let told = probes.look(cluster, Some(AT_THE_START), Time::ZERO);
        (probes, told)
    }

    /// The step of this name was carried out at `now`: peers import what they are to import behind it,
    /// and each probe is tried. What has changed, in words.
    pub(super) fn look(&mut self, cluster: &Cluster, step: Option<&str>, now: Time) -> Vec<String> {
        let told = self.all.iter_mut().filter_map(|tried| tried.look(cluster, step, now)).collect();
        let next = self.all.iter().map(|it| it.plan.probe.next_change(cluster, &it.peer, now));
        self.next = next.min().unwrap_or(Time::NEVER);
        told
    }

    /// Time has passed until `now`, in which nobody did anything: each probe is tried at every instant
    /// at which it may have come out otherwise. What has changed, in words.
    pub(super) fn pass(&mut self, cluster: &Cluster, now: Time) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(at) = self.due(cluster, now) {
            told.extend(self.look(cluster, None, at));
        }
        told
    }

    /// The next instant until `now` at which one may have come out otherwise.
    fn due(&self, cluster: &Cluster, now: Time) -> Option<Time> {
        let by_lsc = self.all.iter().filter_map(|it| it.other_lsc(cluster));
        by_lsc.chain([self.next]).min().filter(|at| *at <= now)
    }

    /// When one may come out otherwise next though nobody does anything.
    pub(super) const fn next_change(&self) -> Time {
        self.next
    }

    /// Whether each works, by name.
    pub(super) fn states(&self) -> Vec<(String, bool)> {
        let works = |it: &Trial| it.course.last().is_some_and(|last| last.works);
        self.all.iter().map(|it| (it.plan.name.clone(), works(it))).collect()
    }

    /// How often one was found not to work that had worked, or at the start.
    pub(super) fn outages(&self) -> u64 {
        self.all.iter().map(|it| it.outages).sum()
    }

    /// What has come of each until `now`.
    pub(super) fn found(&self, cluster: Option<&Cluster>, now: Time) -> Vec<ProbeSummary> {
        let Some(cluster) = cluster else { return Vec::new() };
        let mut all = self.clone();
        all.pass(cluster, now);
        all.look(cluster, None, now);
        let summary = |it: Trial| {
            let last = it.course.last().cloned().unwrap_or_default();
            ProbeSummary {
                probe: it.plan.name,
                works: last.works,
                cause: last.cause,
                outages: it.outages,
                failed_s: it.failed_s,
                course: it.course,
            }
        };
        all.all.into_iter().map(summary).collect()
    }
}

/// The peer of a probe gets a certificate, and the node trusts it if it is to, unless the peer is
/// `known` from an earlier run.
fn introduce(plan: &ProbePlan, cluster: &mut Cluster, known: &BTreeSet<String>) {
    let Some((peer, store)) = plan.probe.trusts() else { return };
    if known.contains(peer) {
        return;
    }
    let (node, name) = (plan.probe.node, peer.to_owned());
    if cluster.presented_by(peer).is_empty() {
        let new = RenewPeer::by_itself(peer, Upload::VALID);
        cluster.apply(&new, Time::ZERO).expect("any server may have a certificate");
    }
    if plan.is_trusted {
        let upload = Upload::Of { name, valid: None };
        let import = ImportTrust { node, store, upload };
        cluster.apply(&import, Time::ZERO).expect("any store takes any certificate");
    }
}

impl Trial {
    /// When the phone whose LSC it judges has got another one since it was tried last.
    fn other_lsc(&self, cluster: &Cluster) -> Option<Time> {
        let (changes, at) = cluster.devices().changes(self.plan.probe.phone?);
        (changes != self.changes).then_some(at.max(self.seen))
    }

    /// Tries it at `now`, behind this step if any; what has changed, in words.
    fn look(&mut self, cluster: &Cluster, step: Option<&str>, now: Time) -> Option<String> {
        if self.plan.imports.iter().any(|name| Some(name.as_str()) == step) {
            self.plan.probe.import(cluster, &mut self.peer, now);
        }
        let before = self.course.last().map(|last| last.works);
        if before == Some(false) {
            self.failed_s += now.since(self.seen).as_secs_f64();
        }
        self.seen = now;
        if let Some(phone) = self.plan.probe.phone {
            self.changes = cluster.devices().changes(phone).0;
        }
        let fault = self.plan.probe.judge(cluster, &self.peer, now).err();
        let cause = fault.as_ref().map(ProbeFault::to_string);
        if self.course.last().is_some_and(|last| last.cause == cause) {
            return None;
        }
        let works = cause.is_none();
        self.outages += u64::from(!works && before != Some(false));
        let name = &self.plan.name;
        let told = match &cause {
            Some(cause) => Some(format!("{name} FAILS: {cause}")),
            None => before.map(|_| format!("{name} works again")),
        };
        // The last one stays true.
        self.course.truncate(CHANGES_MAX - 1);
        self.course.push(ProbeChange { at_s: now.as_secs_f64(), works, cause });
        told
    }
}
