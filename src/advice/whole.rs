//! When one phone of a kind does not stand for the others.

use crate::base::Span;
use crate::cluster::operator::phones::EraseLists;
use crate::scenario::{FleetStart, Plan, Trigger};

/// Above this share of lost datagrams luck decides whether a phone's last try comes through.
const LOSS_MAX: f64 = 0.01;

/// Why every phone must be played, if that is so: what becomes of a phone depends on when its turn
/// comes, or on its luck.
pub(super) fn why(plan: &Plan) -> Option<String> {
    let topology = &plan.topology;
    if plan.topology.replication_delay > Span::ZERO {
        return Some("certificates take time to replicate".to_owned());
    }
    if plan.cost.build_time > Span::ZERO {
        return Some("TFTP takes time to build its files".to_owned());
    }
    if plan.fleet.links().iter().any(|link| link.loss > LOSS_MAX) {
        return Some("links lose so much that luck decides".to_owned());
    }
    if plan.fleet.links().iter().any(|link| link.dns_failure > 0.0) {
        return Some("DNS queries get lost".to_owned());
    }
    // Phones boot, or a service is about to come back.
    let mut under_way = plan.fleet.start == FleetStart::Factory;
    for (at, entry) in plan.timeline.iter().enumerate() {
        if entry.trigger == Trigger::FleetSettled {
            under_way = false;
        }
        let step = || format!("step {} ({})", at + 1, entry.name);
        if under_way {
            return Some(format!("{} does not wait for what is under way before it", step()));
        }
        let visits = entry.action.get::<EraseLists>().map(|erase| erase.visits);
        if visits.is_some_and(|visits| visits.share < 1.0) {
            return Some(format!("{} visits a part of the phones", step()));
        }
        let comes_back = entry.then.as_ref().is_some_and(|then| !then.is_awaited);
        let wave = entry.action.impact(topology).wave.is_some();
        under_way = visits.is_some() || comes_back || wave;
    }
    None
}
