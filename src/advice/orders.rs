//! Other orders of a plan's steps: nothing that the plan does is left out, and what is added are
//! waits, restarts, resets, a backup, an update of the CTL, or the rollback parameter around all.

use std::collections::BTreeSet;

use crate::base::{NodeId, Span};
use crate::cluster::operator::certificates::{Import, Regenerate};
use crate::cluster::operator::ctl::UpdateCtl;
use crate::cluster::operator::hosts::Rename;
use crate::cluster::operator::parameters::{Parameter, SetParameter};
use crate::cluster::operator::phones::{EraseLists, ResetPhones};
use crate::cluster::operator::recovery::BackUp;
use crate::cluster::operator::requests::ImportOwn;
use crate::cluster::operator::services::{Change, Services};
use crate::cluster::{
    CertificateKind, OperatorAction, RESTART_ORDER, SecurityMode, ServiceKind, Topology,
};
use crate::scenario::{Plan, TimelineEntry, Trigger};

/// A plan with the same steps in a safer order, perhaps.
#[derive(Clone, Debug)]
pub(super) struct Order {
    /// What was changed, in words.
    pub(super) how: &'static str,
    pub(super) plan: Plan,
    /// Where each of its steps is in the plan that was given; `None` for those that were added.
    pub(super) origins: Vec<Option<usize>>,
}

/// Every order that is worth trying, those with the fewest changes first.
pub(super) fn orders(plan: &Plan) -> Vec<Order> {
    let given: Vec<Step> = (0..).zip(&plan.timeline).map(Step::given).collect();
    let draft = || Draft { plan, steps: given.clone() };
    let mut drafts: Vec<(&'static str, Draft<'_>)> = vec![
        ("waits for the phones", draft().waits()),
        ("waits for the phones, and restarts what is due", draft().waits().restarts()),
    ];
    let apart = [
        ("one type of certificate at a time", Apart::Kinds),
        ("one certificate at a time", Apart::Each),
    ];
    for (how, apart) in apart {
        drafts.push((how, draft().waits().split(apart, false).restarts()));
        if plan.topology.security.mode == SecurityMode::Mixed {
            drafts.push((how, draft().waits().split(apart, true).restarts()));
        }
    }
    drafts.extend(draft().sorted().map(|sorted| ("one type of certificate at a time", sorted)));
    drafts.extend(draft().in_rollback().map(|all| ("blank lists while they change", all)));
    let mixed = plan.topology.security.mode == SecurityMode::Mixed;
    let with_ctl = drafts.clone().into_iter().filter(|_| mixed);
    let with_ctl: Vec<_> = with_ctl.map(|(how, draft)| (how, draft.ends_with_ctl())).collect();
    drafts.extend(with_ctl);
    drafts.into_iter().map(|(how, draft)| draft.backed_up().finish(how)).collect()
}

/// What must not change between two resets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Apart {
    /// Certificates of two kinds.
    Kinds,
    /// Any two certificates.
    Each,
}

#[derive(Clone, Debug)]
struct Step {
    entry: TimelineEntry,
    origin: Option<usize>,
}

impl Step {
    fn given((at, entry): (usize, &TimelineEntry)) -> Step {
        Step { entry: entry.clone(), origin: Some(at) }
    }

    fn added(action: impl Into<OperatorAction>) -> Step {
        let trigger = Trigger::AfterPrevious { delay: Span::ZERO };
        let action = action.into();
        let entry = TimelineEntry { name: String::new(), trigger, action, then: None, typed: None };
        Step { entry, origin: None }
    }

    fn waiting(mut self) -> Step {
        self.entry.trigger = Trigger::FleetSettled;
        self
    }
}

#[derive(Clone, Debug)]
struct Draft<'a> {
    plan: &'a Plan,
    steps: Vec<Step>,
}

/// Within which time phones are reset where the plan resets none (choice).
const SPREAD: Span = Span::from_secs(30);

impl Draft<'_> {
    fn topology(&self) -> &Topology {
        &self.plan.topology
    }

    fn boots(&self, entry: &TimelineEntry) -> bool {
        entry.action.impact(self.topology()).wave.is_some()
            || entry.action.get::<EraseLists>().is_some()
    }

    /// What follows on a reset, or on a service that is to come back, waits for it.
    fn waits(mut self) -> Self {
        let mut under_way = false;
        for at in 0..self.steps.len() {
            if under_way {
                self.steps[at].entry.trigger = Trigger::FleetSettled;
            }
            let entry = &self.steps[at].entry;
            under_way =
                self.boots(entry) || entry.then.as_ref().is_some_and(|then| !then.is_awaited);
        }
        self
    }

    fn reset(&self) -> Step {
        let mut resets = self.plan.timeline.iter();
        let spread = resets.find_map(|entry| entry.action.get::<ResetPhones>());
        Step::added(spread.copied().unwrap_or(ResetPhones { spread: SPREAD }))
    }

    /// What is due is restarted before each reset, and a reset ends the plan.
    fn restarts(self) -> Self {
        let mut state = State::default();
        let mut steps: Vec<Step> = Vec::new();
        let mut waits = false;
        for mut step in self.steps.iter().cloned() {
            let is_reset = step.entry.action.get::<ResetPhones>().is_some();
            if is_reset {
                let mut restarts = state.restarts(self.topology());
                if let Some(first) = restarts.first_mut() {
                    first.entry.trigger = step.entry.trigger;
                    step.entry.trigger = Trigger::AfterPrevious { delay: Span::ZERO };
                }
                steps.append(&mut restarts);
            }
            state.follow(&step.entry, self.topology());
            waits = self.boots(&step.entry);
            steps.push(step);
        }
        if !state.is_met() {
            let mut last = state.restarts(self.topology());
            last.push(self.reset());
            last[0].entry.trigger =
                if waits { Trigger::FleetSettled } else { last[0].entry.trigger };
            steps.append(&mut last);
        }
        Draft { steps, ..self }
    }

    /// Between changes that must be apart, all that is due is restarted and the phones are reset.
    fn split(self, apart: Apart, with_ctl: bool) -> Self {
        let mut state = State::default();
        let mut steps: Vec<Step> = Vec::new();
        for mut step in self.steps.iter().cloned() {
            let next = changes(&step.entry.action);
            let differs = |pending: &(NodeId, CertificateKind)| match apart {
                Apart::Each => true,
                Apart::Kinds => next.iter().any(|(_, kind)| *kind != pending.1),
            };
            if !next.is_empty() && state.changed.iter().any(differs) {
                let from = steps.len();
                steps.extend(state.restarts(self.topology()));
                if with_ctl {
                    steps.extend(self.update_ctl());
                }
                steps.push(self.reset());
                // The first of them comes when the change would have come.
                steps[from].entry.trigger = step.entry.trigger;
                step = step.waiting();
                state.met();
            }
            state.follow(&step.entry, self.topology());
            steps.push(step);
        }
        Draft { steps, ..self }
    }

    /// A new CTL and the restarts that serve it.
    fn update_ctl(&self) -> Vec<Step> {
        let restart = |service: ServiceKind| {
            let nodes = self.topology().nodes_with(service);
            nodes.map(move |node| Step::added(Services::restart(node, Some(service))))
        };
        let mut steps = vec![Step::added(UpdateCtl::AS_EVER)];
        steps.extend(restart(ServiceKind::CallManager).chain(restart(ServiceKind::Tftp)));
        steps
    }

    fn ends_with_ctl(mut self) -> Self {
        let mut last = self.update_ctl();
        last.push(self.reset());
        last[0].entry.trigger = Trigger::FleetSettled;
        self.steps.append(&mut last);
        self
    }

    /// All changes of one kind, then those of the next; only of plans that change, restart and
    /// reset and do nothing else.
    fn sorted(self) -> Option<Self> {
        let mut kinds: Vec<CertificateKind> = Vec::new();
        for step in &self.steps {
            let entry = &step.entry;
            let is_plain = entry.then.is_none() && entry.typed.is_none();
            let changed = changes(&entry.action);
            match changed.as_slice() {
                _ if !is_plain => return None,
                [] => {
                    let is_restart = entry
                        .action
                        .get()
                        .is_some_and(|services: &Services| services.change == Change::Restart);
                    let is_reset = entry.action.get::<ResetPhones>().is_some();
                    if !is_restart && !is_reset && entry.action.get::<BackUp>().is_none() {
                        return None;
                    }
                }
                [(_, kind), rest @ ..] if rest.iter().all(|(_, other)| other == kind) => {
                    if !kinds.contains(kind) {
                        kinds.push(*kind);
                    }
                }
                [..] => return None,
            }
        }
        kinds.sort_by_key(|kind| *kind == CertificateKind::Tvs);
        let pick = |is_it: &dyn Fn(&Step) -> bool| -> Vec<Step> {
            self.steps.iter().filter(|step| is_it(step)).cloned().collect()
        };
        let mut steps = pick(&|step| step.entry.action.get::<BackUp>().is_some());
        let mut state = State::default();
        for kind in kinds {
            let of_kind = |step: &Step| changes(&step.entry.action).iter().any(|(_, k)| *k == kind);
            for step in pick(&of_kind) {
                state.follow(&step.entry, self.topology());
                steps.push(Step { entry: plain(step.entry), ..step });
            }
            steps.extend(state.restarts(self.topology()));
            steps.push(self.reset());
            state.met();
        }
        // Restarts that nothing of this wants are kept for the end.
        let is_restarted = |step: &Step| {
            let Some(services) = step.entry.action.get::<Services>() else { return true };
            let is_it = |other: &Services| {
                other.node == services.node
                    && (services.service.is_none() || other.service == services.service)
            };
            steps.iter().filter_map(|step| step.entry.action.get()).any(is_it)
        };
        let left = pick(&|step| !is_restarted(step));
        if !left.is_empty() {
            return None;
        }
        Some(Draft { steps, plan: self.plan }.waits())
    }

    /// All of it while the phones hold blank lists; not in mixed mode, nor twice.
    fn in_rollback(self) -> Option<Self> {
        let sets = |entry: &TimelineEntry| entry.action.get::<SetParameter>().is_some();
        let mixed = self.topology().security.mode == SecurityMode::Mixed;
        if mixed || self.steps.iter().any(|step| sets(&step.entry)) {
            return None;
        }
        let mut steps = self.set_rollback(true);
        let inner = self.clone().waits().restarts().steps;
        steps.extend(inner);
        steps.extend(self.set_rollback(false));
        Some(Draft { steps, plan: self.plan }.waits())
    }

    fn set_rollback(&self, value: bool) -> Vec<Step> {
        let ResetPhones { spread } =
            *self.reset().entry.action.get::<ResetPhones>().expect("it is one");
        let set = SetParameter { parameter: Parameter::Rollback(value), spread };
        let nodes = self.topology().nodes_with(ServiceKind::Tftp);
        let restarts = nodes.map(|node| Services::restart(node, Some(ServiceKind::Tftp)));
        let mut steps = vec![Step::added(set).waiting()];
        steps.extend(restarts.map(Step::added));
        steps.push(self.reset());
        steps
    }

    /// A backup comes before the first change.
    fn backed_up(mut self) -> Self {
        let mut before =
            self.steps.iter().take_while(|step| changes(&step.entry.action).is_empty());
        let is_backed_up = before.any(|step| step.entry.action.get::<BackUp>().is_some());
        let changes_any = self.steps.iter().any(|step| !changes(&step.entry.action).is_empty());
        if changes_any && !is_backed_up {
            let mut backup = Step::added(BackUp);
            backup.entry.trigger = self.steps[0].entry.trigger;
            if let Trigger::At(_) | Trigger::FleetSettled = self.steps[0].entry.trigger {
                self.steps[0].entry = plain(self.steps[0].entry.clone());
            }
            self.steps.insert(0, backup);
        }
        self
    }

    /// The plan of it: each step has a name, and there is time for all of them.
    fn finish(self, how: &'static str) -> Order {
        /// By how much longer it may take than the plan that was given.
        const LONGER: u64 = 4;
        let mut plan = self.plan.clone();
        let origins = self.steps.iter().map(|step| step.origin).collect();
        let taken: BTreeSet<&str> =
            self.plan.timeline.iter().map(|entry| entry.name.as_str()).collect();
        let mut names = (1..).map(|number| format!("added-{number}"));
        let mut names = names.by_ref().filter(|name| !taken.contains(name.as_str()));
        plan.timeline = self
            .steps
            .into_iter()
            .map(|Step { mut entry, origin }| {
                if origin.is_none() {
                    entry.name = names.next().expect("there is no end of them");
                }
                entry
            })
            .collect();
        if let Some(first) = plan.timeline.first_mut()
            && matches!(first.trigger, Trigger::AfterPrevious { .. })
        {
            first.trigger = Trigger::FleetSettled;
        }
        if plan.limits.max_wall_is_set {
            plan.limits.max_wall = plan.limits.max_wall.times(LONGER);
        }
        Order { how, plan, origins }
    }
}

/// The same step right after the one before it.
fn plain(entry: TimelineEntry) -> TimelineEntry {
    TimelineEntry { trigger: Trigger::AfterPrevious { delay: Span::ZERO }, ..entry }
}

/// The certificates that an action changes.
pub(super) fn changes(action: &OperatorAction) -> Vec<(NodeId, CertificateKind)> {
    use CertificateKind::{CallManager, Capf, Ipsec, Tomcat, Tvs};
    if let Some(&Regenerate { certificate, node }) = action.get() {
        vec![(node, certificate)]
    } else if let Some(Import { certificate, nodes, .. }) = action.get() {
        nodes.iter().map(|&node| (node, *certificate)).collect()
    } else if let Some(ImportOwn { certificate, node, .. }) = action.get() {
        vec![(*node, *certificate)]
    } else if let Some(Rename { node, .. }) = action.get() {
        [CallManager, Tvs, Capf, Tomcat, Ipsec].iter().map(|&kind| (*node, kind)).collect()
    } else {
        Vec::new()
    }
}

/// What has changed and is not in force, or that phones have not met.
#[derive(Debug, Default)]
struct State {
    changed: Vec<(NodeId, CertificateKind)>,
    due: BTreeSet<(NodeId, ServiceKind)>,
    stopped: BTreeSet<(NodeId, ServiceKind)>,
    /// Whether anything has changed since the last reset.
    is_new: bool,
}

impl State {
    fn follow(&mut self, entry: &TimelineEntry, topology: &Topology) {
        let changes = changes(&entry.action);
        self.is_new |= !changes.is_empty();
        self.due.extend(topology.restarts_for(&changes));
        self.changed.extend(changes);
        let second = entry.then.as_ref().map(|then| &then.action);
        for action in std::iter::once(&entry.action).chain(second) {
            if let Some(&Services { change, node, service }) = action.get() {
                self.serve(change, node, service, topology);
            }
        }
        if entry.action.get::<ResetPhones>().is_some() {
            self.met();
        }
    }

    fn serve(
        &mut self,
        change: Change,
        node: NodeId,
        service: Option<ServiceKind>,
        topology: &Topology,
    ) {
        let is_it = |kind: &ServiceKind| {
            topology.is_active(node, *kind) && service.is_none_or(|service| service == *kind)
        };
        for kind in RESTART_ORDER.into_iter().filter(is_it) {
            if change == Change::Stop {
                self.stopped.insert((node, kind));
            } else {
                self.stopped.remove(&(node, kind));
                self.due.remove(&(node, kind));
                self.is_new = true;
            }
        }
    }

    /// The phones have met what is in force.
    fn met(&mut self) {
        self.changed.clear();
        self.is_new = false;
    }

    fn is_met(&self) -> bool {
        !self.is_new && self.due.iter().all(|due| self.stopped.contains(due))
    }

    /// Restarts of all that is due and runs.
    fn restarts(&mut self, topology: &Topology) -> Vec<Step> {
        let mut steps = Vec::new();
        for service in RESTART_ORDER {
            for node in topology.ids() {
                let is_due = self.due.contains(&(node, service));
                if is_due && !self.stopped.contains(&(node, service)) {
                    self.due.remove(&(node, service));
                    steps.push(Step::added(Services::restart(node, Some(service))));
                }
            }
        }
        steps
    }
}
