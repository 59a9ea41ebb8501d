use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::base::NodeId;
use crate::forecast::Budget;
use crate::measure::Queue;
use crate::net::fleet::first_address;
use crate::net::{host, limits};
use crate::scenario::Plan;

use super::error::LiveError;

/// How many phones may be under way in each queue.
pub(super) type Places = BTreeMap<Queue, u64>;

/// Descriptors that are left to everything else: run directory, metrics, the host's counters.
const SPARED: u64 = 16;
/// Descriptors of a runtime without its sockets.
const RUNTIME: u64 = 3;
/// Sockets of a worker of the swarm whose phones have addresses of their own.
const WORKER_SOCKETS: u64 = 4;
/// Part of the free memory that phones may use (choice).
const MEMORY_SHARE: f64 = 0.8;

/// The places of a plan as far as this host permits them, and what to say about it. Called when
/// the servers of this process have started.
pub(super) fn permitted(plan: &Plan) -> Result<(Places, Vec<String>), LiveError> {
    let (mut places, mut notes) = (wanted(plan), Vec::new());
    let limit = limits::descriptor_limit().unwrap_or(u64::MAX);
    let swarm = 2 * RUNTIME + workers(plan) * (RUNTIME + WORKER_SOCKETS);
    let taken = limits::open_descriptors().unwrap_or(0) + swarm + SPARED;
    let costs = quarter_descriptors(plan);
    let free = limit.saturating_sub(taken).saturating_mul(4);
    let least: u64 = taken + costs.values().sum::<u64>().div_ceil(4);
    let fitted = fitted(&places, &costs, free).ok_or(LiveError::Descriptors { limit, least })?;
    notes.extend(told(&places, &fitted, &format!("{limit} descriptors")));
    places = fitted;
    if let Some(free) = host::available_bytes() {
        let budget = Budget::of(plan);
        let fixed = budget.memory_bytes.saturating_sub(need(&wanted(plan), &budget.place_bytes));
        let free = ((free as f64 * MEMORY_SHARE) as u64).saturating_sub(fixed);
        // Without room for one of each, the estimate is not worth a refusal.
        if let Some(fitted) = self::fitted(&places, &budget.place_bytes, free) {
            notes.extend(told(&places, &fitted, "the free memory"));
            places = fitted;
        }
    }
    Ok((places, notes))
}

/// What the scenario asks for, no more than there are phones to ask.
fn wanted(plan: &Plan) -> Places {
    let budget = Budget::of(plan);
    let transfers = u64::from(plan.limits.transfers_in_flight.min(plan.fleet.phones)).max(1);
    [
        (Queue::Connections, budget.connections),
        (Queue::Lookups, budget.lookups),
        (Queue::Registrations, budget.registrations),
        (Queue::Transfers, transfers),
    ]
    .into()
}

fn workers(plan: &Plan) -> u64 {
    plan.homes().len() as u64
}

/// What a place of each queue costs, in quarters of a descriptor. Where the servers are ours, the
/// other end of a connection has one, too, and is closed a moment later.
fn quarter_descriptors(plan: &Plan) -> Places {
    let ends = if plan.target.is_some() { 4 } else { 9 };
    let is_shared = |&server: &SocketAddr| first_address(server).is_none();
    let is_ipv6 = |&node: &NodeId| plan.topology.node(node).address.is_ipv6();
    let own = || plan.fleet.homes().flat_map(|home| home.iter()).any(is_ipv6);
    let target = plan.target.as_ref().map(|target| target.tftp.iter().any(is_shared));
    let socket = if target.unwrap_or_else(own) { 4 } else { 0 };
    [
        (Queue::Connections, ends),
        (Queue::Lookups, ends),
        (Queue::Registrations, ends),
        (Queue::Transfers, socket),
    ]
    .into()
}

fn need(places: &Places, costs: &Places) -> u64 {
    places.iter().map(|(queue, count)| count * costs.get(queue).copied().unwrap_or(0)).sum()
}

/// So many places that all of them together cost no more than is `free`, each queue with the same
/// share of what is wanted; `None` if there is not one for each.
fn fitted(wanted: &Places, costs: &Places, free: u64) -> Option<Places> {
    let all = need(wanted, costs);
    if all <= free {
        return Some(wanted.clone());
    }
    let share = free as f64 / all as f64;
    let bounded = |(&queue, &count): (&Queue, &u64)| {
        let costs_nothing = costs.get(&queue).copied().unwrap_or(0) == 0;
        let part = ((count as f64 * share) as u64).max(count.min(1));
        (queue, if costs_nothing { count } else { part })
    };
    let fitted: Places = wanted.iter().map(bounded).collect();
    (need(&fitted, costs) <= free).then_some(fitted)
}

fn told(wanted: &Places, fitted: &Places, why: &str) -> Option<String> {
    let less = |(queue, count): (&Queue, &u64)| {
        let now = fitted[queue];
        (now < *count).then(|| format!("{now} instead of {count} {}", queue.what()))
    };
    let bounded: Vec<String> = wanted.iter().filter_map(less).collect();
    let what = bounded.join(", ");
    (!bounded.is_empty()).then(|| format!("this host permits {what} in flight: {why}"))
}

/// The places that the swarm is given in a queue: one at least.
pub(super) fn of(places: &Places, queue: Queue) -> usize {
    places.get(&queue).copied().unwrap_or(1).max(1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(connections: u64, lookups: u64, transfers: u64) -> Places {
        [
            (Queue::Connections, connections),
            (Queue::Lookups, lookups),
            (Queue::Transfers, transfers),
        ]
        .into()
    }

    #[test]
    fn places_are_bounded_to_the_descriptors_of_the_host_and_said_so() {
        let (wanted, costs) = (places(0, 900, 2_000), places(9, 9, 0));
        assert_eq!(fitted(&wanted, &costs, 8_100), Some(wanted.clone()));
        let few = fitted(&wanted, &costs, 600).unwrap();
        assert_eq!(few, places(0, 66, 2_000), "transfers need none");
        assert_eq!(
            told(&wanted, &few, "200 descriptors").as_deref(),
            Some("this host permits 66 instead of 900 TVS lookups in flight: 200 descriptors")
        );
        assert_eq!(told(&wanted, &wanted, ""), None);
    }

    #[test]
    fn every_queue_keeps_a_place_or_nothing_runs() {
        let (wanted, costs) = (places(900, 900, 2_000), places(9, 9, 4));
        assert_eq!(fitted(&wanted, &costs, 22), Some(places(1, 1, 1)));
        assert_eq!(fitted(&wanted, &costs, 21), None);
        let both = fitted(&places(900, 300, 0), &costs, 1_080).unwrap();
        assert_eq!(both, places(90, 30, 0), "the same share of each");
    }
}
