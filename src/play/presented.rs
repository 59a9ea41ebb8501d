use crate::base::{NodeId, Time};
use crate::cluster::{Cluster, Service, ServiceChange, ServiceKind};
use crate::crypto::Certificate;
use crate::listing::upper_hex;
use crate::measure::Presented;
use crate::wire::SignedFile;

/// What the services of a cluster have presented and signed with in the course of a run.
#[derive(Debug, Default)]
pub(super) struct Gallery {
    rows: Vec<Presented>,
    tvs: Vec<(NodeId, Certificate)>,
}

/// Rows that are kept at most (choice): a plan with more restarts is not read by people.
const ROWS_MAX: usize = 2_000;

impl Gallery {
    /// What runs at the start of a run.
    pub(super) fn of(cluster: &Cluster) -> Gallery {
        let mut gallery = Gallery::default();
        for node in cluster.topology().ids() {
            for service in cluster.services_of(node) {
                gallery.started(cluster, node, service, Time::ZERO);
            }
        }
        gallery
    }

    /// A service of `cluster` has started or stopped at `now`.
    pub(super) fn changed(&mut self, cluster: &Cluster, change: &ServiceChange, now: Time) {
        match change {
            ServiceChange::Started { node, service } => self.started(cluster, *node, service, now),
            ServiceChange::Stopped { node, service } => {
                let name = &cluster.topology().node(*node).name;
                self.add(Presented {
                    at_s: now.as_secs_f64(),
                    service: format!("{} on {name}", service.name()),
                    does: "has stopped",
                    ..Presented::default()
                });
            }
        }
    }

    /// Everything so far, in its order.
    pub(super) fn rows(&self) -> &[Presented] {
        &self.rows
    }

    /// Every TVS certificate that a node has presented, the first one first.
    pub(super) fn tvs(&self) -> &[(NodeId, Certificate)] {
        &self.tvs
    }

    fn started(&mut self, cluster: &Cluster, node: NodeId, service: &Service, now: Time) {
        let name = &cluster.topology().node(node).name;
        let words = format!("{} on {name}", service.kind().name());
        let mut row = |does, certificate: &Certificate, header_bytes: Option<u16>| {
            self.add(Presented {
                at_s: now.as_secs_f64(),
                service: words.clone(),
                does,
                certificate: Some(name_of(cluster, node, certificate)),
                serial: Some(upper_hex(certificate.serial(), "")),
                header_bytes: header_bytes.map(u64::from),
            });
        };
        match service {
            Service::Tftp(service) => {
                row("signs files", &service.signer().certificate, None);
                let list = service.list_apart();
                let header = SignedFile::parse(&list).ok().map(|list| list.header.length);
                row("signs the list", &service.list_signer().certificate, header);
            }
            Service::Web(service) => row("presents", &service.identity.certificate, None),
            Service::Dialogues(dialogues) => {
                let Some(service) = dialogues.all.first() else { return };
                let certificate = &service.identity.certificate;
                row("presents", certificate, None);
                if dialogues.kind == ServiceKind::Tvs && self.tvs.len() < ROWS_MAX {
                    self.tvs.push((node, certificate.clone()));
                }
            }
        }
    }

    fn add(&mut self, row: Presented) {
        if self.rows.len() < ROWS_MAX {
            self.rows.push(row);
        }
    }
}

/// What a certificate is called: its kind and its node, or its common name if no node has it.
fn name_of(cluster: &Cluster, node: NodeId, certificate: &Certificate) -> String {
    let is_it = |held: &Certificate| held.der() == certificate.der();
    let mut holders = cluster.stores().identities().filter(|(.., held)| is_it(held.certificate()));
    let first = holders.next();
    let own = first
        .filter(|(owner, ..)| *owner == node)
        .or_else(|| holders.find(|(owner, ..)| *owner == node).or(first));
    own.map_or_else(
        || certificate.common_name().to_owned(),
        |(owner, kind, _)| format!("{} of {}", kind.name(), cluster.topology().node(owner).name),
    )
}
