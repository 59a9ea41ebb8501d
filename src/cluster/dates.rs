//! What the date means for a cluster: certificates come to their end, and its monitor warns.

use jiff::tz::TimeZone;

use crate::base::{NodeId, Span, Time};

use super::kinds::CertificateKind;
use super::monitor::{Alarm, AlarmStyle, Monitor, Watched};
use super::state::{Cluster, Effect};
use super::stores::Origin;

impl Cluster {
    /// Lets time pass in which nothing happens.
    pub(super) fn advance(&mut self, by: Span, now: Time) -> Vec<Effect> {
        self.look(now);
        self.calendar().skip(by);
        self.look(now);
        Vec::new()
    }

    /// The monitor has seen everything up to now; what is in the stores may change then.
    pub(super) fn look(&mut self, now: Time) {
        self.monitor = self.monitor(now);
    }

    /// The Certificate Monitor of all nodes, with what it has to say up to `now`.
    pub fn monitor(&self, now: Time) -> Monitor {
        let (mut monitor, date_s) = (self.monitor.clone(), self.calendar().date_s(now));
        monitor.look(date_s, &self.watched(now));
        monitor
    }

    /// The alarms of the Certificate Monitor up to `now` with their nodes, in the order in which they
    /// were raised, each as `write` puts it down with the time of day of `zone`.
    pub fn alarms(
        &self,
        now: Time,
        zone: &TimeZone,
        write: fn(&Alarm, &AlarmStyle<'_>) -> String,
    ) -> Vec<(NodeId, String)> {
        let of_cluster = self.topology().domain.as_deref().unwrap_or("localdomain");
        let mut numbers = vec![0; self.topology().nodes.len()];
        let monitor = self.monitor(now);
        let texts = monitor.alarms().iter().map(|alarm| {
            let id = alarm.about.node;
            let node = self.topology().node(id);
            numbers[id.index()] += 1;
            let (host, address) = (node.name.as_str(), &*node.address.to_string());
            let number = numbers[id.index()];
            let domain = node.domain.as_deref().unwrap_or(of_cluster);
            (id, write(alarm, &AlarmStyle { host, address, domain, zone, number }))
        });
        texts.collect()
    }

    /// What the monitor may have to warn of by this date: certificates of the nodes and the copies
    /// in their trust stores (EXP-04).
    fn watched(&self, now: Time) -> Vec<Watched> {
        let date_s = self.calendar().date_s(now);
        let concerns = |end: Option<i64>| Monitor::concerns(u64::try_from(end?).ok()?, date_s);
        let mut all = Vec::new();
        for node in self.topology().ids() {
            for item in self.stores().inventory(node, now) {
                let Some(not_after_s) = concerns(item.certificate.validity_s().1) else { continue };
                let file = item.file_name();
                let stem = file.strip_suffix(".pem").unwrap_or(&file);
                all.push(Watched {
                    node,
                    unit: item.unit.name().to_owned(),
                    name: format!("{stem}.der"),
                    is_own: !matches!(item.origin, Some(Origin::Preloaded | Origin::Imported)),
                    not_after_s,
                });
            }
        }
        all
    }

    /// The nodes' own certificates and their ends in Unix seconds, the first to end first.
    pub fn ends(&self) -> Vec<(u64, NodeId, CertificateKind)> {
        let end = |(node, kind, own): (_, _, &crate::crypto::Credential)| {
            let end = own.certificate().validity_s().1?;
            Some((u64::try_from(end).ok()?, node, kind))
        };
        let mut ends: Vec<_> = self.stores().identities().filter_map(end).collect();
        ends.sort_unstable();
        ends
    }
}
