use std::sync::Arc;

use crate::base::{NodeId, PhoneId, Purpose, Span, Time, stream};
use crate::cluster::{GroupSpec, ServiceKind};
use crate::measure::{FleetReady, Ledger, PhoneRecord};
use crate::phone::Outcome;
use crate::play::Visit;
use crate::scenario::Plan;

use super::engine::Engine;
use super::event::Event;

/// When phones boot, and at which pace the CallManager nodes send resets and accept registrations.
#[derive(Debug)]
pub(super) struct Pace {
    phones: u32,
    /// The phones that are played; `None`: all of them.
    played: Option<Arc<[u32]>>,
    seed: u64,
    /// Boots that are planned but have not begun.
    planned: u64,
    /// Random numbers that were drawn.
    draws: u64,
    /// Between two resets of one node, if that is limited.
    reset_gap: Option<Span>,
    /// Between two registrations at one node, if that step is played.
    registration_gap: Option<Span>,
    /// The node that resets and registers the phones of each group, as a position in `free`.
    node_of_group: Vec<usize>,
    group_ends: Vec<u32>,
    reset_free: Vec<Time>,
    registration_free: Vec<Time>,
    /// When each phone was registered; empty if that step is not played.
    registered: Vec<Time>,
}

impl Pace {
    pub(super) fn new(plan: &Plan, played: Option<Arc<[u32]>>) -> Pace {
        let topology = &plan.topology;
        let gap = |rate: f64| (rate > 0.0).then(|| Span::from_nanos((1e9 / rate) as u64));
        let registration_gap = gap(plan.cost.registrations_per_second);
        let mut end = 0;
        let sizes = topology.group_sizes(plan.fleet.phones).into_iter();
        let group_ends: Vec<u32> = sizes
            .map(|size| {
                end += size;
                end
            })
            .collect();
        // The first member that runs CallManager; a group without one has its first member.
        let runs = |id: &NodeId| topology.node(*id).services.contains(&ServiceKind::CallManager);
        let node = |group: &GroupSpec| {
            let found = group.members.iter().find(|id| runs(id)).unwrap_or(&group.members[0]);
            found.index()
        };
        let phones = if registration_gap.is_some() { plan.fleet.phones as usize } else { 0 };
        Pace {
            phones: plan.fleet.phones,
            played,
            seed: plan.seed,
            planned: 0,
            draws: 0,
            reset_gap: gap(plan.cost.resets_per_second),
            registration_gap,
            node_of_group: topology.groups.iter().map(node).collect(),
            group_ends,
            reset_free: vec![Time::ZERO; topology.nodes.len()],
            registration_free: vec![Time::ZERO; topology.nodes.len()],
            registered: vec![Time::NEVER; phones],
        }
    }

    /// Random numbers that were drawn.
    pub(super) const fn draws(&self) -> u64 {
        self.draws
    }

    /// Whether boots are planned that have not begun.
    pub(super) const fn has_planned(&self) -> bool {
        self.planned > 0
    }

    /// A boot that was planned begins.
    pub(super) fn boot_began(&mut self) {
        self.planned -= 1;
    }

    /// Plans a boot for every phone. Resets leave the cluster at its own pace, power does not.
    pub(super) fn plan_boots(&mut self, engine: &mut Engine, spread: Span, is_reset: bool) {
        let phones: Vec<u32> = match &self.played {
            Some(played) => played.to_vec(),
            None => (0..self.phones).collect(),
        };
        self.draws += phones.len() as u64;
        self.planned += phones.len() as u64;
        let (seed, now) = (self.seed, engine.now());
        let planned = |phone: u32| {
            let offset = stream(seed, u64::from(phone), Purpose::Arrival).unit();
            now + spread.fraction(offset)
        };
        let mut boots: Vec<(Time, u32)> = phones.into_iter().map(|n| (planned(n), n)).collect();
        if is_reset && self.reset_gap.is_some() {
            boots.sort_unstable();
            boots.iter_mut().for_each(|(at, phone)| *at = self.reset(*phone, *at));
        }
        engine.push_all(boots, Event::Boot);
    }

    /// Whether a phone is played.
    pub(super) fn plays(&self, PhoneId(phone): PhoneId) -> bool {
        self.played.as_ref().is_none_or(|played| played.binary_search(&phone).is_ok())
    }

    /// Plans a boot for each of these phones, when somebody has been there.
    pub(super) fn plan_visits(&mut self, engine: &mut Engine, visits: &[Visit]) {
        self.planned += visits.len() as u64;
        let now = engine.now();
        for &Visit { phone: PhoneId(phone), after, erases } in visits {
            let event = if erases { Event::Visit(phone) } else { Event::Boot(phone) };
            engine.push(now + after, event);
        }
    }

    fn node(&self, phone: PhoneId) -> usize {
        self.node_of_group[self.group_ends.partition_point(|&end| end <= phone.0)]
    }

    /// When the reset of a phone leaves its node that was asked for at `at`; calls come in the
    /// order of `at`.
    fn reset(&mut self, phone: u32, at: Time) -> Time {
        let Some(gap) = self.reset_gap else { return at };
        let node = self.node(PhoneId(phone));
        let sent = at.max(self.reset_free[node]);
        self.reset_free[node] = sent + gap;
        sent
    }

    /// A phone is ready at `now` and asks its node to be registered.
    pub(super) fn ready(&mut self, phone: u32, now: Time) {
        let Some(gap) = self.registration_gap else { return };
        let node = self.node(PhoneId(phone));
        let done = now.max(self.registration_free[node]) + gap;
        self.registration_free[node] = done;
        self.registered[phone as usize] = done;
    }

    /// From the storm until the phones that are ready at the end were registered.
    pub(super) fn registered(&self, ledger: &Ledger) -> FleetReady {
        let is_ready = |(_, phone): &(_, &PhoneRecord)| phone.outcome == Some(Outcome::Ready);
        let phones = self.registered.iter().zip(ledger.phones()).filter(is_ready);
        let mut times: Vec<Time> = phones.map(|(&at, _)| at).collect();
        times.sort_unstable();
        let since = |at: Time| at.since(ledger.storm()).as_secs_f64();
        let times: Vec<f64> = times.into_iter().map(since).collect();
        FleetReady::of(&times, ledger.phones().len())
    }
}
