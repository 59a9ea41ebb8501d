use crate::base::{NodeId, Time};
use crate::crypto::{Certificate, ChainFault, date_text};

use super::kinds::{ServiceKind, TrustStore};
use super::state::Cluster;

/// Something beside phones that works or not by the certificates of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What is tried.
    pub kind: ProbeKind,
    /// At which node.
    pub node: NodeId,
    /// Common name of the certificate that the node must trust; `None`: it asks for none.
    pub peer: Option<String>,
    /// By which of its stores it must; `None`: by that of the kind.
    pub store: Option<TrustStore>,
}

/// What a probe tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// A SIP trunk over TLS (CERT-18).
    SipTrunk,
    /// A conference bridge, transcoder or MTP that registers over TLS (CERT-18).
    ConferenceBridge,
    /// A request of AXL (CERT-18).
    Axl,
    /// A login of an agent at Finesse of UCCX, which asks Tomcat of the node (CERT-20).
    UccxLogin,
    /// The HTTPS URL of phone VPN (CERT-24).
    PhoneVpn,
    /// Visual voicemail with Unity Connection (CERT-26).
    VisualVoicemail,
}

/// Every kind of probe.
pub const PROBE_KINDS: [ProbeKind; 6] = [
    ProbeKind::SipTrunk,
    ProbeKind::ConferenceBridge,
    ProbeKind::Axl,
    ProbeKind::UccxLogin,
    ProbeKind::PhoneVpn,
    ProbeKind::VisualVoicemail,
];

impl ProbeKind {
    /// The name in scenario files.
    pub const fn name(self) -> &'static str {
        match self {
            ProbeKind::SipTrunk => "sip-trunk",
            ProbeKind::ConferenceBridge => "conference-bridge",
            ProbeKind::Axl => "axl",
            ProbeKind::UccxLogin => "uccx-login",
            ProbeKind::PhoneVpn => "phone-vpn",
            ProbeKind::VisualVoicemail => "visual-voicemail",
        }
    }

    /// The service whose certificate the peer judges; `None`: the peer is a server, and its own
    /// certificate is what counts.
    pub const fn service(self) -> Option<ServiceKind> {
        match self {
            ProbeKind::SipTrunk | ProbeKind::ConferenceBridge => Some(ServiceKind::CallManager),
            ProbeKind::Axl | ProbeKind::UccxLogin => Some(ServiceKind::Tomcat),
            ProbeKind::PhoneVpn | ProbeKind::VisualVoicemail => None,
        }
    }

    /// The store by which the node trusts the peer, where it asks for a certificate of it.
    pub const fn store(self) -> Option<TrustStore> {
        match self {
            ProbeKind::SipTrunk | ProbeKind::ConferenceBridge => Some(TrustStore::CallManager),
            ProbeKind::Axl | ProbeKind::UccxLogin => None,
            ProbeKind::PhoneVpn => Some(TrustStore::PhoneVpn),
            ProbeKind::VisualVoicemail => Some(TrustStore::Phone),
        }
    }

    /// A service that must have a certificate in its time, too, whoever judges it: AXL requests fail
    /// with a bad CallManager.pem (CERT-18).
    const fn needs(self) -> Option<ServiceKind> {
        match self {
            ProbeKind::Axl => Some(ServiceKind::CallManager),
            _ => None,
        }
    }
}

/// What the peer of a probe trusts.
#[derive(Clone, Debug, Default)]
pub struct PeerTrust {
    anchors: Vec<Certificate>,
    /// The common name that it expects: that of what it has imported last.
    name: Option<String>,
}

/// Why a probe does not work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeFault {
    /// The service does not run.
    #[error("{service} on {node} does not run; start it")]
    Stopped {
        /// Name of the service.
        service: &'static str,
        /// Name of the node.
        node: String,
    },
    /// A certificate's time has not begun or is over.
    #[error("{certificate} is valid from {from} to {to} only; renew it")]
    Dates {
        /// Which one, in words.
        certificate: String,
        /// Start of its validity.
        from: String,
        /// Its end.
        to: String,
    },
    /// The peer does not know the certificate.
    #[error("{certificate} is not trusted by the peer; import it there")]
    Untrusted {
        /// Which one, in words.
        certificate: String,
    },
    /// The certificate has another name than the peer expects.
    #[error("{certificate} names {name}, and the peer expects {expected}; set its name there")]
    Name {
        /// Which one, in words.
        certificate: String,
        /// Its common name.
        name: String,
        /// What the peer expects.
        expected: String,
    },
    /// The node does not trust the peer.
    #[error("{store} on {node} has no certificate {peer}; import it")]
    Missing {
        /// Name of the store.
        store: &'static str,
        /// Name of the node.
        node: String,
        /// Common name of the peer's certificate.
        peer: String,
    },
}

impl Probe {
    /// What it is in words, such as `phone-vpn of asa at pub`.
    pub fn words(&self, node: &str) -> String {
        let of = self.peer.as_ref().map(|peer| format!(" of {peer}")).unwrap_or_default();
        format!("{}{of} at {node}", self.kind.name())
    }

    /// The peer's administrator imports what vouches for the certificate that the node presents now:
    /// its CAs, or itself if it has none; and takes down its name.
    pub fn import(&self, cluster: &Cluster, peer: &mut PeerTrust, now: Time) {
        let presented = self.kind.service().and_then(|one| cluster.presented(self.node, one));
        let Some(presented) = presented else { return };
        let chain = self.offered(cluster, presented, now);
        let known = if chain.is_empty() { vec![presented.clone()] } else { chain };
        let new = known.into_iter().filter(|one| !peer.anchors.contains(one));
        let new: Vec<Certificate> = new.collect();
        peer.anchors.extend(new);
        peer.name = Some(presented.common_name().to_owned());
    }

    /// Whether it works at `now`, judged as the two ends of a TLS connection would.
    ///
    /// # Errors
    /// If it does not: because of which certificate.
    pub fn judge(&self, cluster: &Cluster, peer: &PeerTrust, now: Time) -> Result<(), ProbeFault> {
        let date_s = cluster.calendar().date_s(now);
        if let Some(service) = self.kind.needs() {
            let presented = self.presented(cluster, service)?;
            if !presented.is_valid_at(date_s) {
                return Err(dates(&self.own(cluster, service), presented));
            }
        }
        if let Some(service) = self.kind.service() {
            let presented = self.presented(cluster, service)?;
            let own = self.own(cluster, service);
            let offered = self.offered(cluster, presented, now);
            match presented.judge_chain(&offered, &peer.anchors, date_s) {
                Ok(()) => {}
                Err(ChainFault::Dates(bad)) if bad == *presented => return Err(dates(&own, &bad)),
                Err(ChainFault::Dates(bad)) => {
                    let name = format!("{}, which vouches for {own},", bad.common_name());
                    return Err(dates(&name, &bad));
                }
                Err(ChainFault::Untrusted(_)) => {
                    return Err(ProbeFault::Untrusted { certificate: own });
                }
            }
            let name = presented.common_name();
            if let Some(expected) = peer.name.as_ref().filter(|expected| *expected != name) {
                return Err(ProbeFault::Name {
                    certificate: own,
                    name: name.to_owned(),
                    expected: expected.clone(),
                });
            }
        }
        let (Some(name), Some(store)) = (&self.peer, self.store.or(self.kind.store())) else {
            return Ok(());
        };
        let trusted = cluster.stores().all_trusted(self.node, store, now);
        let named: Vec<&Certificate> = trusted.filter(|one| one.common_name() == name).collect();
        let node = cluster.topology().node(self.node).name.clone();
        match named[..] {
            [] => Err(ProbeFault::Missing { store: store.name(), node, peer: name.clone() }),
            [first, ..] if !named.iter().any(|one| one.is_valid_at(date_s)) => {
                Err(dates(&format!("{name} in {} on {node}", store.name()), first))
            }
            _ => Ok(()),
        }
    }

    fn presented<'a>(
        &self,
        cluster: &'a Cluster,
        service: ServiceKind,
    ) -> Result<&'a Certificate, ProbeFault> {
        cluster.presented(self.node, service).ok_or_else(|| ProbeFault::Stopped {
            service: service.name(),
            node: cluster.topology().node(self.node).name.clone(),
        })
    }

    /// The certificates of CAs that the node sends with the one that it presents.
    fn offered(&self, cluster: &Cluster, presented: &Certificate, now: Time) -> Vec<Certificate> {
        let kind = self.kind.service().and_then(ServiceKind::certificate);
        let stores = kind.map(super::CertificateKind::copied_to).unwrap_or_default();
        let trusted =
            stores.iter().flat_map(|&one| cluster.stores().all_trusted(self.node, one, now));
        let trusted: Vec<Certificate> = trusted.cloned().collect();
        presented.issuers_among(&trusted).into_iter().cloned().collect()
    }

    /// What the certificate of a service is called.
    fn own(&self, cluster: &Cluster, service: ServiceKind) -> String {
        let what = service.certificate().map_or(service.name(), super::CertificateKind::name);
        format!("{what}.pem of {}", cluster.topology().node(self.node).name)
    }
}

fn dates(certificate: &str, bad: &Certificate) -> ProbeFault {
    let (from, to) = bad.validity_s();
    let text = |date: Option<i64>| date.map_or_else(|| "no date".to_owned(), date_text);
    ProbeFault::Dates { certificate: certificate.to_owned(), from: text(from), to: text(to) }
}
