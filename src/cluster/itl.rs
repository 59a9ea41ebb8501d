use std::slice;

use crate::crypto::Certificate;
use crate::wire::{ROLE_CAPF, ROLE_SAST, ROLE_TFTP, ROLE_TVS, RecordCertificate, RecordSpec};

use super::kinds::CertificateKind;
use super::release::{ItlPart, Release};

/// The certificates of one TFTP node's ITL (`decisions.md`: its own signer, one TVS record per TVS
/// node of the cluster, CAPF).
#[derive(Debug)]
pub struct ItlContent<'a> {
    /// Host name of the TFTP node.
    pub node: &'a str,
    /// Its CallManager certificate.
    pub call_manager: &'a Certificate,
    /// Its CallManager-ECDSA certificate, from 11.x.
    pub call_manager_ecdsa: Option<&'a Certificate>,
    /// TVS certificates of all TVS nodes, in the order of the nodes.
    pub tvs: Vec<&'a Certificate>,
    /// CAPF certificate of the publisher, if CAPF is active there.
    pub capf: Option<&'a Certificate>,
    /// ITLRecovery certificate of the cluster, from 10.x.
    pub itl_recovery: Option<&'a Certificate>,
}

impl ItlContent<'_> {
    /// The records in the order of the release (`spec/trust-list.md` section 7).
    pub fn encode(&self, release: Release) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 * 1024);
        let (first, others) = self.tvs.split_at(self.tvs.len().min(1));
        let rules = release.rules();
        for part in rules.itl {
            let (role, certificates) = match part {
                ItlPart::CallManager(role) => (*role, slice::from_ref(&self.call_manager)),
                ItlPart::CallManagerEcdsa => (ROLE_TFTP, self.call_manager_ecdsa.as_slice()),
                ItlPart::FirstTvs => (ROLE_TVS, first),
                ItlPart::OtherTvs => (ROLE_TVS, others),
                ItlPart::Capf => (ROLE_CAPF, self.capf.as_slice()),
                ItlPart::Recovery => (ROLE_SAST, self.itl_recovery.as_slice()),
            };
            // The record of the EC certificate alone has a name (ITL-11).
            let dns_name = Some(self.node).filter(|_| *part == ItlPart::CallManagerEcdsa);
            for certificate in certificates {
                let record = record(role, certificate, rules.hash_algorithm);
                RecordSpec { dns_name, ..record }.encode(&mut out);
            }
        }
        out
    }

    /// The records of a cluster that is prepared for a rollback to a release before 8.0: who signs
    /// the list and nobody else, so that the list trusts nobody's files (ITL-21; that its one
    /// record is the signer's is a choice, `spec/trust-list.md` section 7).
    pub fn encode_blank(&self, release: Release) -> Vec<u8> {
        let signer = match (release.rules().itl_signer, self.itl_recovery) {
            (CertificateKind::ItlRecovery, Some(recovery)) => recovery,
            _ => self.call_manager,
        };
        let mut out = Vec::with_capacity(2 * 1024);
        record(ROLE_SAST, signer, release.rules().hash_algorithm).encode(&mut out);
        out
    }
}

/// TVS and CAPF are named by their hash, all others by the whole certificate (ITL-08, ITL-09).
fn record(role: u16, certificate: &Certificate, hash_algorithm: u8) -> RecordSpec<'_> {
    let by_hash = role == ROLE_TVS || role == ROLE_CAPF;
    RecordSpec {
        dns_name: None,
        subject: certificate.subject(),
        role,
        issuer: certificate.issuer(),
        serial: certificate.serial(),
        public_key: certificate.public_key(),
        signature: Some(certificate.signature()),
        certificate: if by_hash {
            RecordCertificate::Hash { sha1: certificate.sha1(), algorithm: hash_algorithm }
        } else {
            RecordCertificate::Der(certificate.der())
        },
        address: None,
    }
}
