//! What the calendar has done to certificates, for people.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use crate::base::Time;
use crate::cluster::{Alarm, Cluster, Unit, impacts};
use crate::crypto::date_text;

/// The mails of the Certificate Monitor of all nodes, with the time of day of `zone` (EXP-08).
pub(super) fn mails(cluster: &Cluster, now: Time, zone: &str) -> Vec<String> {
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    let mails = cluster.alarms(now, &zone, Alarm::mail);
    mails.into_iter().map(|(_, mail)| mail).collect()
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

/// What does not work because a certificate is not valid now, own or trusted, a line for each with its
/// nodes (CERT-18 to CERT-26); the first [`HARMS_MAX`].
pub(super) fn harms(cluster: &Cluster, now: Time) -> Vec<String> {
    let date_s = i64::try_from(cluster.calendar().date_s(now)).unwrap_or(i64::MAX);
    let mut nodes: BTreeMap<(String, &str), Vec<&str>> = BTreeMap::new();
    for harm in impacts(cluster.stores(), now, date_s) {
        let what = match harm.item.unit {
            Unit::Service(kind) => format!("{}.pem", kind.name()),
            Unit::Trust(store) => format!("{} in {}", harm.item.file_name(), store.name()),
        };
        let of = nodes.entry((what, harm.consequence)).or_default();
        of.push(&cluster.topology().node(harm.node).name);
    }
    let line = |((what, consequence), nodes): (&(String, &str), &Vec<&str>)| {
        format!("{what} on {} is out of its time: {consequence}", nodes.join(", "))
    };
    nodes.iter().map(line).take(HARMS_MAX).collect()
}

/// Lines about certificates that are out of their time at most (choice).
const HARMS_MAX: usize = 50;
