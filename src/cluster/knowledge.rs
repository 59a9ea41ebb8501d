use std::cell::LazyCell;

use dashmap::DashMap;

use crate::base::{NodeId, Span, Time};
use crate::crypto::Certificate;
use crate::wire::tvs::{Command, Known, Question, Request, Response};
use crate::wire::{WireError, name_key};

use super::change::Stay;
use super::kinds::{CertificateKind, TrustStore, Unit};
use super::release::Release;

/// The certificates that TVS answers for: an index of the pages of all nodes (CERT-30). A node
/// answers from its own page.
#[derive(Debug)]
pub struct Knowledge {
    release: Release,
    /// How long a change takes to the other nodes.
    delay: Span,
    /// By serial number.
    known: DashMap<Vec<u8>, Vec<Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    listed: Listed,
    /// The issuer in its normal form.
    issuer_key: String,
}

/// A certificate on pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub unit: Unit,
    pub certificate: Certificate,
    /// What it is for: that of a copy is for what the original is for.
    pub roles: &'static [u8],
    pub stay: Stay,
}

impl Listed {
    /// Whether it is on the page of a node: the certificates of a service are on that of theirs.
    pub fn is_on(&self, node: NodeId, now: Time, delay: Span) -> bool {
        let has_it = match self.unit {
            Unit::Service(_) => self.stay.since.nodes.contains(node),
            Unit::Trust(_) => true,
        };
        has_it && self.stay.covers(node, now, delay)
    }
}

/// How long a phone may keep an answer, seconds (TVS-08).
const TTL_S: u32 = 86_400;

impl Knowledge {
    /// The empty index of a cluster of this release whose changes take `delay` to other nodes.
    pub fn new(release: Release, delay: Span) -> Knowledge {
        Knowledge { release, delay, known: DashMap::new() }
    }

    /// The release of the cluster.
    pub(super) const fn release(&self) -> Release {
        self.release
    }

    /// How long a change takes to the other nodes.
    pub(super) const fn delay(&self) -> Span {
        self.delay
    }

    /// A certificate that stands on pages from now on.
    pub(super) fn add(&self, listed: Listed) {
        let issuer_key = name_key(listed.certificate.issuer());
        let serial = magnitude(listed.certificate.serial()).to_vec();
        self.known.entry(serial).or_default().push(Entry { listed, issuer_key });
    }

    /// A certificate that stands there for another time from now on, or no longer.
    pub(super) fn alter(&self, old: &Listed, stay: Option<Stay>) {
        let serial = magnitude(old.certificate.serial());
        self.known.alter(serial, |_, mut entries| {
            if let Some(at) = entries.iter().position(|entry| entry.listed == *old) {
                match stay {
                    Some(stay) => entries[at].listed.stay = stay,
                    None => drop(entries.remove(at)),
                }
            }
            entries
        });
        self.known.remove_if(serial, |_, entries| entries.is_empty());
    }

    /// What the TVS of a node answers to a request of a phone at `now`.
    ///
    /// # Errors
    /// If the bytes are no request: the server closes the connection without an answer.
    pub fn answer(
        &self,
        node: NodeId,
        now: Time,
        request: &[u8],
    ) -> Result<(Vec<u8>, Command), WireError> {
        let request = Request::parse(request)?;
        let (command, known) = match request.question {
            Question::Verify { certificate } => (
                Command::VerifyResponse,
                self.verify(node, now, certificate).map(|found| (None, found.1)),
            ),
            Question::Query { issuer, serial, .. } => (
                Command::QueryResponse,
                self.find(node, now, issuer, serial)
                    .map(|(certificate, roles)| (Some(certificate), roles)),
            ),
        };
        let known = known.as_ref().map(|(certificate, roles)| Known {
            certificate: certificate.as_ref().map(Certificate::der),
            roles,
            ttl_s: TTL_S,
        });
        let session_id = request.session_id;
        Ok((Response { command, session_id, known }.encode(), command))
    }

    /// VERIFY: the certificate must be known byte for byte.
    fn verify(&self, node: NodeId, now: Time, der: &[u8]) -> Option<(Certificate, Vec<u8>)> {
        let asked = Certificate::from_der(der).ok()?;
        self.find(node, now, asked.issuer(), asked.serial()).filter(|(known, _)| known.der() == der)
    }

    /// The certificate with this issuer and serial, and the union of its roles.
    pub(super) fn find(
        &self,
        node: NodeId,
        now: Time,
        issuer: &str,
        serial: &[u8],
    ) -> Option<(Certificate, Vec<u8>)> {
        let entries = self.known.get(magnitude(serial))?;
        // The normal form is needed only for a name in another style.
        let key = LazyCell::new(|| name_key(issuer));
        let is_asked =
            |entry: &Entry| entry.listed.certificate.issuer() == issuer || entry.issuer_key == *key;
        let asked: Vec<&Listed> = entries
            .iter()
            .filter(|entry| is_asked(entry) && entry.listed.is_on(node, now, self.delay))
            .map(|entry| &entry.listed)
            .collect();
        let mut roles: Vec<u8> =
            asked.iter().flat_map(|listed| listed.roles.iter().copied()).collect();
        roles.sort_unstable();
        roles.dedup();
        Some((asked.first()?.certificate.clone(), roles))
    }
}

/// A serial number without leading zero bytes.
fn magnitude(serial: &[u8]) -> &[u8] {
    &serial[serial.iter().take_while(|&&byte| byte == 0).count()..]
}

/// Roles that TVS names for a certificate of each kind (`decisions.md`, mechanism).
pub(super) const fn roles_of_kind(kind: CertificateKind, release: Release) -> &'static [u8] {
    match kind {
        CertificateKind::CallManager => release.rules().call_manager_roles,
        // As its record of an ITL says.
        CertificateKind::CallManagerEcdsa => &[3],
        CertificateKind::Capf => &[4],
        CertificateKind::ItlRecovery => &[0],
        CertificateKind::Tvs => &[21],
        CertificateKind::Tomcat | CertificateKind::Ipsec => &[7],
    }
}

/// Roles of what stands in a trust store and is nobody's copy (`spec/trust-list.md` section 7).
pub(super) const fn roles_of_store(store: TrustStore, release: Release) -> &'static [u8] {
    match store {
        TrustStore::CallManager => release.rules().call_manager_roles,
        TrustStore::Capf => &[4],
        TrustStore::Tvs => &[21],
        TrustStore::PhoneSast => &[0, 3],
        TrustStore::PhoneVpn => &[26],
        TrustStore::Tomcat | TrustStore::Ipsec | TrustStore::Phone | TrustStore::PhoneCtl => &[7],
    }
}

#[cfg(test)]
mod tests {
    use super::super::change::Change;
    use super::*;
    use crate::base::ClusterId;
    use crate::crypto::{CertificateSpec, Identity, KeySource};

    fn certificate(name: &str, source: &mut KeySource) -> Certificate {
        let spec =
            CertificateSpec { common_name: name, not_before_s: 1_700_000_000, key_bits: 2048 };
        Identity::self_signed(&spec, source).certificate
    }

    const PUB: NodeId = ClusterId::FIRST.node(0);
    const SUB: NodeId = ClusterId::FIRST.node(1);

    fn knowledge(release: Release) -> Knowledge {
        Knowledge::new(release, Span::ZERO)
    }

    fn listed(kind: CertificateKind, certificate: &Certificate) -> Listed {
        Listed {
            unit: Unit::Service(kind),
            certificate: certificate.clone(),
            roles: roles_of_kind(kind, Release::R8_6),
            stay: Stay::from(Change::START),
        }
    }

    fn query(certificate: &Certificate) -> Vec<u8> {
        let question = Question::Query {
            subject: certificate.subject(),
            issuer: certificate.issuer(),
            serial: certificate.serial(),
        };
        Request { session_id: 1_001, device_name: "CP-8841-SEP0C75BD000001", question }.encode()
    }

    fn verify(der: &[u8]) -> Vec<u8> {
        let question = Question::Verify { certificate: der };
        Request { session_id: 7, device_name: "CP-8841-SEP0C75BD000001", question }.encode()
    }

    fn roles(knowledge: &Knowledge, request: &[u8]) -> Option<Vec<u8>> {
        let (answer, _) = knowledge.answer(PUB, Time::ZERO, request).unwrap();
        let answer = Response::parse(&answer).unwrap();
        answer.known.map(|known| known.roles.to_vec())
    }

    #[test]
    fn query_returns_certificate_roles_and_ttl_and_echoes_the_session() {
        let mut source = KeySource::bank(1);
        let call_manager = certificate("pub", &mut source);
        let knowledge = knowledge(Release::R8_6);
        knowledge.add(listed(CertificateKind::CallManager, &call_manager));
        let (bytes, command) = knowledge.answer(PUB, Time::ZERO, &query(&call_manager)).unwrap();
        let answer = Response::parse(&bytes).unwrap();
        assert_eq!((answer.session_id, command), (1_001, Command::QueryResponse));
        let known = answer.known.unwrap();
        assert_eq!(known.certificate, Some(call_manager.der()));
        assert_eq!((known.roles, known.ttl_s), (&[0, 2][..], 86_400));
    }

    #[test]
    fn roles_depend_on_store_and_release() {
        let mut source = KeySource::bank(1);
        let knowledge = knowledge(Release::R11_5);
        let expected = [
            (CertificateKind::CallManager, vec![0, 3]),
            (CertificateKind::Tomcat, vec![7]),
            (CertificateKind::CallManagerEcdsa, vec![3]),
            (CertificateKind::Capf, vec![4]),
            (CertificateKind::ItlRecovery, vec![0]),
            (CertificateKind::Tvs, vec![21]),
        ];
        for (kind, wanted) in expected {
            let certificate = certificate(kind.name(), &mut source);
            let roles = roles_of_kind(kind, Release::R11_5);
            knowledge.add(Listed { roles, ..listed(kind, &certificate) });
            assert_eq!(self::roles(&knowledge, &query(&certificate)), Some(wanted), "{kind:?}");
        }
    }

    #[test]
    fn a_certificate_in_two_stores_has_the_roles_of_both() {
        let shared = certificate("pub", &mut KeySource::bank(1));
        let knowledge = knowledge(Release::R8_6);
        knowledge.add(listed(CertificateKind::CallManager, &shared));
        knowledge.add(listed(CertificateKind::Tvs, &shared));
        assert_eq!(roles(&knowledge, &query(&shared)), Some(vec![0, 2, 21]));
    }

    #[test]
    fn verify_wants_the_certificate_byte_for_byte() {
        let known = certificate("pub", &mut KeySource::bank(1));
        let knowledge = knowledge(Release::R8_6);
        knowledge.add(listed(CertificateKind::CallManager, &known));
        assert_eq!(roles(&knowledge, &verify(known.der())), Some(vec![0, 2]));
        let mut other = known.der().to_vec();
        *other.last_mut().unwrap() ^= 1;
        assert_eq!(roles(&knowledge, &verify(&other)), None);
        assert_eq!(roles(&knowledge, &verify(b"no certificate")), None);
    }

    #[test]
    fn a_certificate_that_was_removed_from_one_store_is_known_from_the_other() {
        let shared = certificate("pub", &mut KeySource::bank(1));
        let knowledge = knowledge(Release::R8_6);
        knowledge.add(listed(CertificateKind::CallManager, &shared));
        knowledge.add(listed(CertificateKind::Tvs, &shared));
        knowledge.alter(&listed(CertificateKind::CallManager, &shared), None);
        assert_eq!(roles(&knowledge, &query(&shared)), Some(vec![21]));
        knowledge.alter(&listed(CertificateKind::Tvs, &shared), None);
        assert_eq!(roles(&knowledge, &query(&shared)), None);
        assert!(knowledge.known.is_empty());
    }

    #[test]
    fn an_issuer_may_be_written_in_another_style_but_not_be_another() {
        let known = certificate("pub", &mut KeySource::bank(1));
        let knowledge = knowledge(Release::R8_6);
        knowledge.add(listed(CertificateKind::CallManager, &known));
        let asked = |issuer: &str| {
            let (subject, serial) = (known.subject(), known.serial());
            let question = Question::Query { subject, issuer, serial };
            let request = Request { session_id: 1, device_name: "SEP", question }.encode();
            roles(&knowledge, &request)
        };
        assert_ne!(known.issuer(), known.issuer_in_order());
        assert_eq!(asked(known.issuer_in_order()), Some(vec![0, 2]));
        assert_eq!(asked("CN=other"), None, "the serial number alone is no certificate");
    }

    #[test]
    fn each_node_answers_from_its_page_at_that_time() {
        let known = certificate("pub", &mut KeySource::bank(1));
        let knowledge = Knowledge::new(Release::R8_6, Span::from_secs(10));
        let at = |seconds| Time::ZERO + Span::from_secs(seconds);
        let copy = Listed {
            unit: Unit::Trust(TrustStore::CallManager),
            stay: Stay::from(Change::on(&[PUB], at(5))),
            ..listed(CertificateKind::CallManager, &known)
        };
        knowledge.add(copy.clone());
        let finds = |node, seconds| {
            knowledge.find(node, at(seconds), known.issuer(), known.serial()).is_some()
        };
        assert_eq!([4, 5].map(|s| finds(PUB, s)), [false, true]);
        assert_eq!([5, 14, 15].map(|s| finds(SUB, s)), [false, false, true]);
        let until = Some(Change::on(&[SUB], at(20)));
        knowledge.alter(&copy, Some(Stay { until, ..copy.stay }));
        assert_eq!([19, 20].map(|s| finds(SUB, s)), [true, false]);
        assert_eq!([20, 29, 30].map(|s| finds(PUB, s)), [true, true, false]);
        let own = Listed {
            stay: Stay::from(Change::on(&[PUB], at(40))),
            ..listed(CertificateKind::CallManager, &known)
        };
        knowledge.add(own);
        assert_eq!([PUB, SUB].map(|node| finds(node, 99)), [true, false], "one of its own");
    }

    #[test]
    fn what_is_no_request_gets_no_answer() {
        let knowledge = knowledge(Release::R8_6);
        assert!(knowledge.answer(PUB, Time::ZERO, b"GET / HTTP/1.1").is_err());
        assert!(knowledge.answer(PUB, Time::ZERO, &[]).is_err());
    }
}
