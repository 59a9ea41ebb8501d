//! What the calendar has done to certificates, for people.

use jiff::tz::TimeZone;

use crate::base::Time;
use crate::cluster::{Alarm, Cluster};
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
