use std::cell::LazyCell;

use dashmap::DashMap;

use crate::crypto::Certificate;
use crate::wire::tvs::{Command, Known, Question, Request, Response};
use crate::wire::{WireError, name_key};

use super::kinds::CertificateKind;
use super::release::Release;

/// The certificates that TVS answers for: an index of the union of all stores of all nodes.
#[derive(Debug)]
pub struct Knowledge {
    release: Release,
    /// By serial number.
    known: DashMap<Vec<u8>, Vec<Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    certificate: Certificate,
    /// The issuer in its normal form.
    issuer_key: String,
    /// `None` for a token of the CTL, in phone-sast-trust.
    kind: Option<CertificateKind>,
}

/// How long a phone may keep an answer, seconds (TVS-08).
const TTL_S: u32 = 86_400;

impl Knowledge {
    /// An empty store of a cluster of this release.
    pub fn new(release: Release) -> Knowledge {
        Knowledge { release, known: DashMap::new() }
    }

    /// A certificate that no store holds any more.
    pub(super) fn remove(&self, kind: CertificateKind, certificate: &Certificate) {
        let serial = magnitude(certificate.serial());
        let is_other =
            |entry: &Entry| entry.kind != Some(kind) || entry.certificate != *certificate;
        self.known.alter(serial, |_, entries| entries.into_iter().filter(is_other).collect());
        self.known.remove_if(serial, |_, entries| entries.is_empty());
    }

    /// A certificate that is in a store from now on.
    pub(super) fn add(&self, kind: CertificateKind, certificate: &Certificate) {
        self.insert(Some(kind), certificate);
    }

    /// The certificate of a token that signs CTLs.
    pub(super) fn add_token(&self, certificate: &Certificate) {
        self.insert(None, certificate);
    }

    fn insert(&self, kind: Option<CertificateKind>, certificate: &Certificate) {
        let issuer_key = name_key(certificate.issuer());
        let entry = Entry { certificate: certificate.clone(), issuer_key, kind };
        let serial = magnitude(certificate.serial()).to_vec();
        self.known.entry(serial).or_default().push(entry);
    }

    /// Answers a request of a phone.
    ///
    /// # Errors
    /// If the bytes are no request: the server closes the connection without an answer.
    pub fn answer(&self, request: &[u8]) -> Result<(Vec<u8>, Command), WireError> {
        let request = Request::parse(request)?;
        let (command, known) = match request.question {
            Question::Verify { certificate } => {
                (Command::VerifyResponse, self.verify(certificate).map(|found| (None, found.1)))
            }
            Question::Query { issuer, serial, .. } => (
                Command::QueryResponse,
                self.find(issuer, serial).map(|(certificate, roles)| (Some(certificate), roles)),
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
    fn verify(&self, der: &[u8]) -> Option<(Certificate, Vec<u8>)> {
        let asked = Certificate::from_der(der).ok()?;
        self.find(asked.issuer(), asked.serial()).filter(|(known, _)| known.der() == der)
    }

    /// The certificate with this issuer and serial, and the union of its roles.
    pub(super) fn find(&self, issuer: &str, serial: &[u8]) -> Option<(Certificate, Vec<u8>)> {
        let entries = self.known.get(magnitude(serial))?;
        // The normal form is needed only for a name in another style.
        let key = LazyCell::new(|| name_key(issuer));
        let asked: Vec<&Entry> = entries
            .iter()
            .filter(|entry| entry.certificate.issuer() == issuer || entry.issuer_key == *key)
            .collect();
        let mut roles: Vec<u8> = asked
            .iter()
            .flat_map(|entry| roles_of(entry.kind, self.release).iter().copied())
            .collect();
        roles.sort_unstable();
        roles.dedup();
        Some((asked.first()?.certificate.clone(), roles))
    }
}

/// A serial number without leading zero bytes.
fn magnitude(serial: &[u8]) -> &[u8] {
    &serial[serial.iter().take_while(|&&byte| byte == 0).count()..]
}

/// Roles that TVS names for a certificate of each store (`decisions.md`, mechanism).
const fn roles_of(kind: Option<CertificateKind>, release: Release) -> &'static [u8] {
    match kind {
        Some(CertificateKind::CallManager) => release.rules().call_manager_roles,
        // As its record of an ITL says.
        Some(CertificateKind::CallManagerEcdsa) => &[3],
        Some(CertificateKind::Capf) => &[4],
        Some(CertificateKind::ItlRecovery) => &[0],
        Some(CertificateKind::Tvs) => &[21],
        Some(CertificateKind::Tomcat | CertificateKind::Ipsec) => &[7],
        None => &[0, 3],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{CertificateSpec, Identity, KeySource};

    fn certificate(name: &str, source: &mut KeySource) -> Certificate {
        let spec =
            CertificateSpec { common_name: name, not_before_s: 1_700_000_000, key_bits: 2048 };
        Identity::self_signed(&spec, source).certificate
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
        let (answer, _) = knowledge.answer(request).unwrap();
        let answer = Response::parse(&answer).unwrap();
        answer.known.map(|known| known.roles.to_vec())
    }

    #[test]
    fn query_returns_certificate_roles_and_ttl_and_echoes_the_session() {
        let mut source = KeySource::bank(1);
        let call_manager = certificate("pub", &mut source);
        let knowledge = Knowledge::new(Release::R8_6);
        knowledge.add(CertificateKind::CallManager, &call_manager);
        let (bytes, command) = knowledge.answer(&query(&call_manager)).unwrap();
        let answer = Response::parse(&bytes).unwrap();
        assert_eq!((answer.session_id, command), (1_001, Command::QueryResponse));
        let known = answer.known.unwrap();
        assert_eq!(known.certificate, Some(call_manager.der()));
        assert_eq!((known.roles, known.ttl_s), (&[0, 2][..], 86_400));
    }

    #[test]
    fn roles_depend_on_store_and_release() {
        let mut source = KeySource::bank(1);
        let knowledge = Knowledge::new(Release::R11_5);
        let expected = [
            (CertificateKind::CallManager, vec![0, 3]),
            (CertificateKind::CallManagerEcdsa, vec![3]),
            (CertificateKind::Capf, vec![4]),
            (CertificateKind::ItlRecovery, vec![0]),
            (CertificateKind::Tvs, vec![21]),
        ];
        for (kind, wanted) in expected {
            let certificate = certificate(kind.name(), &mut source);
            knowledge.add(kind, &certificate);
            assert_eq!(roles(&knowledge, &query(&certificate)), Some(wanted), "{kind:?}");
        }
    }

    #[test]
    fn a_certificate_in_two_stores_has_the_roles_of_both() {
        let shared = certificate("pub", &mut KeySource::bank(1));
        let knowledge = Knowledge::new(Release::R8_6);
        knowledge.add(CertificateKind::CallManager, &shared);
        knowledge.add(CertificateKind::Tvs, &shared);
        assert_eq!(roles(&knowledge, &query(&shared)), Some(vec![0, 2, 21]));
    }

    #[test]
    fn verify_wants_the_certificate_byte_for_byte() {
        let known = certificate("pub", &mut KeySource::bank(1));
        let knowledge = Knowledge::new(Release::R8_6);
        knowledge.add(CertificateKind::CallManager, &known);
        assert_eq!(roles(&knowledge, &verify(known.der())), Some(vec![0, 2]));
        let mut other = known.der().to_vec();
        *other.last_mut().unwrap() ^= 1;
        assert_eq!(roles(&knowledge, &verify(&other)), None);
        assert_eq!(roles(&knowledge, &verify(b"no certificate")), None);
    }

    #[test]
    fn a_certificate_that_was_removed_from_one_store_is_known_from_the_other() {
        let shared = certificate("pub", &mut KeySource::bank(1));
        let knowledge = Knowledge::new(Release::R8_6);
        knowledge.add(CertificateKind::CallManager, &shared);
        knowledge.add(CertificateKind::Tvs, &shared);
        knowledge.remove(CertificateKind::CallManager, &shared);
        assert_eq!(roles(&knowledge, &query(&shared)), Some(vec![21]));
        knowledge.remove(CertificateKind::Tvs, &shared);
        assert_eq!(roles(&knowledge, &query(&shared)), None);
        assert!(knowledge.known.is_empty());
    }

    #[test]
    fn an_issuer_may_be_written_in_another_style_but_not_be_another() {
        let known = certificate("pub", &mut KeySource::bank(1));
        let knowledge = Knowledge::new(Release::R8_6);
        knowledge.add(CertificateKind::CallManager, &known);
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
    fn what_is_no_request_gets_no_answer() {
        let knowledge = Knowledge::new(Release::R8_6);
        assert!(knowledge.answer(b"GET / HTTP/1.1").is_err());
        assert!(knowledge.answer(&[]).is_err());
    }
}
