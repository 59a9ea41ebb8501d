//! What the calendar has done to certificates, for people.

use jiff::tz::TimeZone;

use crate::base::Time;
use crate::cluster::{AlarmStyle, Cluster, Monitor};
use crate::crypto::date_text;

/// The mails of the Certificate Monitor of all nodes, with the time of day of `zone` (EXP-08).
pub(super) fn mails(cluster: &Cluster, monitor: &Monitor, zone: &str) -> Vec<String> {
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    let topology = cluster.topology();
    let domain = topology.domain.as_deref().unwrap_or("localdomain");
    let mut numbers = vec![0; topology.nodes.len()];
    let mut mail = |alarm: &crate::cluster::Alarm| {
        let node = topology.node(alarm.about.node);
        let number = &mut numbers[alarm.about.node.index()];
        *number += 1;
        let (host, address) = (node.name.as_str(), &*node.address.to_string());
        alarm.mail(&AlarmStyle { host, address, domain, zone: &zone, number: *number })
    };
    monitor.alarms().iter().map(&mut mail).collect()
}

/// Certificates of nodes whose time is over, such as `CallManager on pub (since 2026-...)`.
pub(super) fn expired(cluster: &Cluster, now: Time) -> Vec<String> {
    let date_s = cluster.calendar().date_s(now);
    let over = cluster.ends().into_iter().take_while(|&(end_s, ..)| end_s < date_s);
    over.map(|(end_s, node, kind)| {
        let since = date_text(i64::try_from(end_s).unwrap_or(i64::MAX));
        format!("{} on {} (since {since})", kind.name(), cluster.topology().node(node).name)
    })
    .collect()
}
