use std::fmt::Write as _;

use crate::base::{DeviceName, NodeId, PhoneId, Time};
use crate::crypto::{Certificate, CertificateError, ChainFault, TlsEnd, date_text, manufacturers};

use super::kinds::{ServiceKind, TrustStore};
use super::state::Cluster;

/// Something beside phones that works or not by the certificates of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What is tried.
    pub kind: ProbeKind,
    /// At which node.
    pub node: NodeId,
    /// The other server that presents a certificate with this common name; `None`: it presents none.
    pub peer: Option<String>,
    /// By which of its stores the node must trust that; `None`: by that of the kind.
    pub store: Option<TrustStore>,
    /// The phone whose certificate a server judges, of the kinds where one does.
    pub phone: Option<PhoneId>,
    /// Whether that server takes the MIC of a phone without an LSC, too (CAPF-06).
    pub takes_mics: bool,
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
    /// A phone at a switch port, which a RADIUS server lets in by its LSC (CERT-21, CERT-27).
    Dot1x,
    /// The login of a phone at a VPN gateway by its LSC (CERT-21, CERT-27).
    PhoneVpnLsc,
    /// A phone at a phone proxy, by its LSC (CERT-21, CERT-27).
    PhoneProxy,
}

/// Every kind of probe.
pub const PROBE_KINDS: [ProbeKind; 9] = [
    ProbeKind::SipTrunk,
    ProbeKind::ConferenceBridge,
    ProbeKind::Axl,
    ProbeKind::UccxLogin,
    ProbeKind::PhoneVpn,
    ProbeKind::VisualVoicemail,
    ProbeKind::Dot1x,
    ProbeKind::PhoneVpnLsc,
    ProbeKind::PhoneProxy,
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
            ProbeKind::Dot1x => "802.1x",
            ProbeKind::PhoneVpnLsc => "phone-vpn-lsc",
            ProbeKind::PhoneProxy => "phone-proxy",
        }
    }

    /// Whether a server judges the certificate of a phone.
    pub const fn judges_phones(self) -> bool {
        matches!(self, ProbeKind::Dot1x | ProbeKind::PhoneVpnLsc | ProbeKind::PhoneProxy)
    }

    /// The service whose certificate the peer judges, or trusts as the CA of LSCs; `None`: the peer is a server, and its own
    /// certificate is what counts.
    pub const fn service(self) -> Option<ServiceKind> {
        match self {
            ProbeKind::SipTrunk | ProbeKind::ConferenceBridge => Some(ServiceKind::CallManager),
            ProbeKind::Axl | ProbeKind::UccxLogin => Some(ServiceKind::Tomcat),
            ProbeKind::Dot1x | ProbeKind::PhoneVpnLsc | ProbeKind::PhoneProxy => {
                Some(ServiceKind::Capf)
            }
            ProbeKind::PhoneVpn | ProbeKind::VisualVoicemail => None,
        }
    }

    /// The store by which the node trusts the peer, where it asks for a certificate of it.
    pub const fn store(self) -> Option<TrustStore> {
        match self {
            ProbeKind::SipTrunk | ProbeKind::ConferenceBridge => Some(TrustStore::CallManager),
            ProbeKind::Axl | ProbeKind::UccxLogin | ProbeKind::Dot1x | ProbeKind::PhoneProxy => {
                None
            }
            ProbeKind::PhoneVpn | ProbeKind::PhoneVpnLsc => Some(TrustStore::PhoneVpn),
            ProbeKind::VisualVoicemail => Some(TrustStore::Phone),
        }
    }

    /// The ends of the connection at which the node, and the other server, prove who they are: a
    /// trunk is opened from both sides, a bridge registers as a client, the others are servers.
    const fn ends(self) -> (&'static [TlsEnd], &'static [TlsEnd]) {
        const SERVER: &[TlsEnd] = &[TlsEnd::Server];
        match self {
            ProbeKind::SipTrunk => (&TlsEnd::BOTH, &TlsEnd::BOTH),
            ProbeKind::ConferenceBridge => (SERVER, &[TlsEnd::Client]),
            _ => (SERVER, SERVER),
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
    /// The MIC of the phone that is judged, if it has one.
    mic: Option<Certificate>,
}

impl PeerTrust {
    /// Nothing yet, of a server that judges a phone with this MIC.
    pub fn of_phone(mic: Option<Certificate>) -> PeerTrust {
        PeerTrust { mic, ..PeerTrust::default() }
    }
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
    /// The extensions of a certificate do not let it prove this.
    #[error(
        "{certificate} is not for a TLS {end} by its extensions (key usage, extended key usage); \
         have one issued that is"
    )]
    Purpose {
        /// Which one, in words.
        certificate: String,
        /// The end of the connection.
        end: &'static str,
    },
    /// A certificate has signed another one, and its extensions do not let it.
    #[error(
        "{certificate} is not for signing certificates by its extensions (basic constraints, key \
         usage); have a CA sign"
    )]
    NoCa {
        /// Which one, in words.
        certificate: String,
    },
    /// The peer does not know the certificate.
    #[error("{certificate} is not trusted by the peer; import it there")]
    Untrusted {
        /// Which one, in words.
        certificate: String,
    },
    /// The certificate has another name than the other end expects.
    #[error("{certificate} names {name}, and {who} expects {expected}; set its name there")]
    Name {
        /// Which one, in words.
        certificate: String,
        /// Its common name.
        name: String,
        /// Who judges it.
        who: String,
        /// What that one expects.
        expected: String,
    },
    /// The phone has nothing to show.
    #[error("{phone} has no LSC; roll-out-lsc installs one")]
    NoLsc {
        /// Name of the phone.
        phone: String,
    },
    /// What the phone shows was changed.
    #[error("{certificate} cannot be read; roll-out-lsc installs a new one")]
    Unreadable {
        /// Which one, in words.
        certificate: String,
    },
    /// Nobody vouches for what a phone shows.
    #[error(
        "{certificate} names {issuer} as its issuer, and the server trusts no such certificate, or \
         it has not signed this; import that of CAPF there, or install a new LSC"
    )]
    OtherIssuer {
        /// Which one, in words.
        certificate: String,
        /// The common name of the issuer.
        issuer: String,
    },
    /// The peer is nobody that has a certificate.
    #[error("{peer} presents no certificate; renew-peer makes one")]
    Silent {
        /// Name of the peer.
        peer: String,
    },
    /// The node trusts nothing of this name.
    #[error(
        "{store} on {node} has no certificate {peer}, and no CA that has signed the one that {peer} \
         presents; import-trust one of them"
    )]
    Missing {
        /// Name of the store.
        store: &'static str,
        /// Name of the node.
        node: String,
        /// Name of the peer.
        peer: String,
    },
    /// The node trusts another certificate of this name, by which the one that is presented is not
    /// signed.
    #[error(
        "{store} on {node} holds another certificate {peer} (serial {held}) than {peer} presents \
         (serial {presented}); import-trust the new one"
    )]
    Other {
        /// Name of the store.
        store: &'static str,
        /// Name of the node.
        node: String,
        /// Name of the peer.
        peer: String,
        /// Serial number of the certificate in the store, hexadecimal.
        held: String,
        /// Serial number of the presented one.
        presented: String,
    },
}

impl Probe {
    /// What it is in words, such as `phone-vpn of asa at pub`.
    pub fn words(&self, node: &str) -> String {
        let of = match (self.phone, &self.peer) {
            (Some(phone), Some(peer)) => format!(" of {} with {peer}", DeviceName::of_phone(phone)),
            (Some(phone), None) => format!(" of {}", DeviceName::of_phone(phone)),
            (None, peer) => peer.as_ref().map(|peer| format!(" of {peer}")).unwrap_or_default(),
        };
        let by = self.store.map(|store| format!(" by {}", store.name())).unwrap_or_default();
        format!("{}{of} at {node}{by}", self.kind.name())
    }

    /// The peer that presents a certificate, and the store by which the node must trust it.
    pub fn trusts(&self) -> Option<(&str, TrustStore)> {
        Some((self.peer.as_deref()?, self.store.or(self.kind.store())?))
    }

    /// The peer's administrator imports what vouches for the certificate that the node presents now:
    /// its CAs, or itself if it has none; and takes down its name.
    pub fn import(&self, cluster: &Cluster, peer: &mut PeerTrust, now: Time) {
        let presented = self.kind.service().and_then(|one| cluster.presented(self.node, one));
        let Some(presented) = presented else { return };
        let chain = self.offered(cluster, presented, now);
        let mut known = chain;
        // Phones send their own certificate only: the server needs that of CAPF itself.
        if known.is_empty() || self.kind.judges_phones() {
            known.push(presented.clone());
        }
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
        if let Some(service) = self.kind.needs() {
            let presented = self.presented(cluster, service)?;
            if !presented.is_valid_at(cluster.calendar().date_s(now)) {
                return Err(dates(&self.own(cluster, service), presented));
            }
        }
        match (self.phone, self.kind.service()) {
            (Some(phone), _) => self.judge_phone(cluster, phone, peer, now)?,
            (None, Some(service)) => self.judge_node(cluster, service, peer, now)?,
            (None, None) => {}
        }
        self.trusts().map_or(Ok(()), |(name, store)| self.judge_peer(cluster, name, store, now))
    }

    /// The peer judges what a phone shows: its LSC, or its MIC where it has none and the server takes
    /// that. Names play no part: certificates of phones may stand for those of others.
    fn judge_phone(
        &self,
        cluster: &Cluster,
        phone: PhoneId,
        peer: &PeerTrust,
        now: Time,
    ) -> Result<(), ProbeFault> {
        let name = DeviceName::of_phone(phone);
        let (what, shown) = self.shown(cluster, phone, peer);
        let what = format!("the {what} of {name}");
        let shown = match shown {
            Some(Ok(shown)) => shown,
            Some(Err(_)) => return Err(ProbeFault::Unreadable { certificate: what }),
            None => return Err(ProbeFault::NoLsc { phone: name.to_string() }),
        };
        let mut anchors = peer.anchors.clone();
        if self.takes_mics {
            anchors.extend(manufacturers().iter().map(|maker| maker.certificate.clone()));
        }
        match shown.judge_chain(&[], &anchors, cluster.calendar().date_s(now)) {
            Ok(()) => purposes(&shown, &what, &[TlsEnd::Client]),
            Err(ChainFault::NoCa(bad)) => Err(no_ca(&bad, &what)),
            Err(ChainFault::Dates(bad)) if bad == shown => Err(dates(&what, &bad)),
            Err(ChainFault::Dates(bad)) => Err(dates(&vouches(&bad, &what), &bad)),
            Err(ChainFault::Untrusted) => {
                let issuer = common_name(shown.issuer()).to_owned();
                Err(ProbeFault::OtherIssuer { certificate: what, issuer })
            }
        }
    }

    /// What a phone shows, and what it is.
    fn shown(
        &self,
        cluster: &Cluster,
        phone: PhoneId,
        peer: &PeerTrust,
    ) -> (&'static str, Option<Result<Certificate, CertificateError>>) {
        match cluster.devices().row(phone).and_then(|row| row.lsc) {
            Some(lsc) => ("LSC", Some(Certificate::from_der(&lsc.der))),
            None => ("MIC", peer.mic.clone().filter(|_| self.takes_mics).map(Ok)),
        }
    }

    /// The peer judges what the node presents.
    fn judge_node(
        &self,
        cluster: &Cluster,
        service: ServiceKind,
        peer: &PeerTrust,
        now: Time,
    ) -> Result<(), ProbeFault> {
        let date_s = cluster.calendar().date_s(now);
        let presented = self.presented(cluster, service)?;
        let own = self.own(cluster, service);
        let offered = self.offered(cluster, presented, now);
        match presented.judge_chain(&offered, &peer.anchors, date_s) {
            Ok(()) => {}
            Err(ChainFault::Dates(bad)) if bad == *presented => return Err(dates(&own, &bad)),
            Err(ChainFault::Dates(bad)) => return Err(dates(&vouches(&bad, &own), &bad)),
            Err(ChainFault::NoCa(bad)) => return Err(no_ca(&bad, &own)),
            Err(ChainFault::Untrusted) => return Err(ProbeFault::Untrusted { certificate: own }),
        }
        purposes(presented, &own, self.kind.ends().0)?;
        names(presented, own, "the peer", peer.name.as_deref())
    }

    /// The node, or a phone with what the node has handed out, judges what the peer presents.
    fn judge_peer(
        &self,
        cluster: &Cluster,
        peer: &str,
        store: TrustStore,
        now: Time,
    ) -> Result<(), ProbeFault> {
        let Some((presented, offered)) = cluster.presented_by(peer).split_first() else {
            return Err(ProbeFault::Silent { peer: peer.to_owned() });
        };
        let trusted: Vec<Certificate> =
            cluster.stores().all_trusted(self.node, store, now).cloned().collect();
        let node = cluster.topology().node(self.node).name.clone();
        let own = format!("the certificate of {peer}");
        match presented.judge_chain(offered, &trusted, cluster.calendar().date_s(now)) {
            Ok(()) => {
                purposes(presented, &own, self.kind.ends().1)?;
                names(presented, own, &node, Some(peer))
            }
            Err(ChainFault::NoCa(bad)) => Err(no_ca(&bad, &own)),
            Err(ChainFault::Dates(bad)) if bad == *presented => Err(dates(&own, &bad)),
            Err(ChainFault::Dates(bad)) => Err(dates(&vouches(&bad, &own), &bad)),
            Err(ChainFault::Untrusted) => {
                let (store, peer) = (store.name(), peer.to_owned());
                let held = trusted.iter().find(|one| one.subject() == presented.subject());
                Err(match held {
                    None => ProbeFault::Missing { store, node, peer },
                    Some(held) => {
                        let [held, presented] = [held, presented].map(|one| hex(one.serial()));
                        ProbeFault::Other { store, node, peer, held, presented }
                    }
                })
            }
        }
    }

    /// When it may come out otherwise next after `now` though nobody does anything: a certificate
    /// comes to its end or its time begins, or a change of another node reaches this one.
    pub fn next_change(&self, cluster: &Cluster, peer: &PeerTrust, now: Time) -> Time {
        let date_s = cluster.calendar().date_s(now);
        let mut judged = peer.anchors.clone();
        for service in [self.kind.needs(), self.kind.service()].into_iter().flatten() {
            if let Some(presented) = cluster.presented(self.node, service) {
                judged.extend(self.offered(cluster, presented, now));
                judged.push(presented.clone());
            }
        }
        if let Some(phone) = self.phone {
            judged.extend(self.shown(cluster, phone, peer).1.and_then(Result::ok));
        }
        if let Some((name, store)) = self.trusts() {
            judged.extend_from_slice(cluster.presented_by(name));
            judged.extend(cluster.stores().all_trusted(self.node, store, now).cloned());
        }
        let edges = judged.iter().flat_map(|one| {
            let (from, to) = one.validity_s();
            [from, to.and_then(|end| end.checked_add(1))]
        });
        let edges = edges.flatten().filter_map(|edge| u64::try_from(edge).ok());
        let by_date = edges.filter(|edge| *edge > date_s).min();
        let by_date = by_date.map(|edge| cluster.calendar().when(edge));
        let by_replication = cluster.stores().next_change(self.node, now);
        by_date.into_iter().chain(by_replication).min().unwrap_or(Time::NEVER)
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

/// The common name in an issuer or subject.
fn common_name(name: &str) -> &str {
    name.split(';').find_map(|part| part.strip_prefix("CN=")).unwrap_or(name)
}

/// What a certificate is called that vouches for another.
fn vouches(ca: &Certificate, own: &str) -> String {
    format!("{}, which vouches for {own},", ca.common_name())
}

/// Refuses a certificate whose extensions do not let it prove who one of these ends is.
fn purposes(presented: &Certificate, own: &str, ends: &[TlsEnd]) -> Result<(), ProbeFault> {
    match ends.iter().find(|&&end| !presented.is_for(end)) {
        None => Ok(()),
        Some(end) => Err(ProbeFault::Purpose { certificate: own.to_owned(), end: end.name() }),
    }
}

fn no_ca(bad: &Certificate, own: &str) -> ProbeFault {
    ProbeFault::NoCa { certificate: vouches(bad, own) }
}

/// Refuses a certificate that has another common name than `who` expects.
fn names(
    presented: &Certificate,
    own: String,
    who: &str,
    expected: Option<&str>,
) -> Result<(), ProbeFault> {
    let name = presented.common_name();
    match expected.filter(|expected| *expected != name) {
        None => Ok(()),
        Some(expected) => Err(ProbeFault::Name {
            certificate: own,
            name: name.to_owned(),
            who: who.to_owned(),
            expected: expected.to_owned(),
        }),
    }
}

fn dates(certificate: &str, bad: &Certificate) -> ProbeFault {
    let (from, to) = bad.validity_s();
    let text = |date: Option<i64>| date.map_or_else(|| "no date".to_owned(), date_text);
    ProbeFault::Dates { certificate: certificate.to_owned(), from: text(from), to: text(to) }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02X}").expect("a text takes what is written");
    }
    text
}
