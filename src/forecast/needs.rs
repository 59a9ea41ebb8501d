//! What a run needs of its host.

use std::collections::BTreeMap;

use super::waves::waves;
use crate::base::{NodeId, PhoneId};
use crate::cluster::ServiceKind;
use crate::cluster::operator::lsc::RollOutLsc;
use crate::measure::Queue;
use crate::phone::Transport;
use crate::scenario::{Plan, TimelineEntry};

/// Lookups in flight at most.
pub(super) fn lookups_in_flight(plan: &Plan) -> u64 {
    u64::from(plan.limits.lookups_in_flight.min(plan.fleet.phones))
}

/// Registrations in flight at most.
pub(super) fn registrations_in_flight(plan: &Plan) -> u64 {
    let registers = plan.phone.registration.enabled;
    let limit = u64::from(plan.limits.registrations_in_flight.min(plan.fleet.phones));
    if registers { limit } else { 0 }
}

/// HTTP connections in flight at most.
pub(super) fn connections_in_flight(plan: &Plan) -> u64 {
    let fleet = plan.fleet_spec();
    let asks =
        |&phone: &u32| plan.phone.transport.first(fleet.model(PhoneId(phone))) == Transport::Http;
    let limit = plan.limits.connections_in_flight as usize;
    let uses = !plan.fleet.uses.is_empty();
    (0..fleet.phones).filter(|phone| uses || asks(phone)).take(limit).count() as u64
}

/// Descriptors at most. An embedded lookup has two ends in this process, and so has an embedded
/// HTTP connection.
pub(super) fn descriptors(plan: &Plan) -> u64 {
    /// Standard streams, event queues, files, sockets of the phones, metrics listener (choice).
    const PROGRAM: u64 = 64;
    /// The listening socket of a TFTP service and its pool of transfer sockets.
    const TFTP: u64 = 9;
    let has_uses = !plan.fleet.uses.is_empty();
    let rolls_out = |entry: &TimelineEntry| entry.action.get::<RollOutLsc>().is_some();
    let enrols = plan.timeline.iter().any(rolls_out);
    let asks_tvs = has_uses || waves(plan).iter().any(|wave| wave.lookups.max > 0);
    let lookups = if asks_tvs || enrols { lookups_in_flight(plan) } else { 0 };
    let calls = lookups + registrations_in_flight(plan);
    if plan.target.is_some() {
        return PROGRAM + calls + connections_in_flight(plan);
    }
    let tftp = plan.topology.nodes_with(ServiceKind::Tftp).count() as u64;
    let tvs = plan.topology.nodes_with(ServiceKind::Tvs).count() as u64;
    let listeners = |node: NodeId| {
        let ports = plan.topology.node(node).ports;
        u64::from(ports.http.is_some()) + u64::from(ports.https.is_some())
    };
    let http: u64 = plan.topology.nodes_with(ServiceKind::Tftp).map(listeners).sum();
    let with_pages = plan.topology.nodes.iter().filter(|node| node.ports.web.is_some());
    let http = http + 2 * with_pages.count() as u64;
    let connections = connections_in_flight(plan);
    // Our server hears of a closed connection a moment later, when its place may be taken again.
    let server_ends = if http > 0 { connections + connections / 8 } else { 0 };
    let sip = call_manager_sockets(plan);
    PROGRAM + TFTP * tftp + http + tvs + sip + 2 * calls + connections + server_ends
}

/// Descriptors of the `CallManagers`: both ports of each, and both ends of the connection by which
/// each part of the swarm watches them.
fn call_manager_sockets(plan: &Plan) -> u64 {
    if !plan.phone.registration.enabled {
        return 0;
    }
    let nodes = plan.topology.nodes_with(ServiceKind::CallManager).count() as u64;
    nodes * 2 * (1 + 2 * plan.homes().len() as u64)
}

/// Memory at the height of a wave, about: measured on a 2-core virtual machine, 2026-11.
pub(super) fn memory(plan: &Plan) -> u64 {
    /// Program, keys and an empty cluster: 8 MB in virtual time, and as much again for threads and
    /// socket buffers (choice).
    const PROGRAM: u64 = 16_000_000;
    /// A phone with its records, digest and signed header: 1.8 kB in virtual time at 10,000 phones.
    const PHONE: u64 = 2_000;
    let bytes = place_bytes(plan);
    let transfers = u64::from(plan.limits.transfers_in_flight.min(plan.fleet.phones));
    PROGRAM
        + PHONE * u64::from(plan.fleet.phones)
        + bytes[&Queue::Lookups] * lookups_in_flight(plan)
        + bytes[&Queue::Registrations] * registrations_in_flight(plan)
        + bytes[&Queue::Connections] * connections_in_flight(plan)
        + bytes[&Queue::Transfers] * transfers
}

/// Memory of what is in flight in each queue, about: measured as above.
pub(super) fn place_bytes(plan: &Plan) -> BTreeMap<Queue, u64> {
    /// A live TLS connection of a phone: 13.0 to 15.1 kB.
    const LOOKUP: u64 = 15_000;
    /// The server's end of it: 8.1 to 12.3 kB.
    const LOOKUP_SERVED: u64 = 12_000;
    /// One end of an HTTP connection with its file: 12 kB for a silent one on the server, the same
    /// again for the file (choice).
    const CONNECTION: u64 = 25_000;
    /// A transfer in flight: the file as it arrives, and as it is served.
    const TRANSFER: u64 = 16_000;
    let is_ours = plan.target.is_none();
    let call = if is_ours { LOOKUP + LOOKUP_SERVED } else { LOOKUP };
    [
        (Queue::Connections, if is_ours { 2 * CONNECTION } else { CONNECTION }),
        (Queue::Lookups, call),
        (Queue::Registrations, call),
        (Queue::Transfers, TRANSFER),
    ]
    .into()
}
