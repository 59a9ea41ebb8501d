use std::slice;

use crate::crypto::Certificate;
use crate::wire::{ROLE_CAPF, ROLE_SAST, ROLE_TVS, RecordCertificate, RecordSpec};

use super::kinds::CertificateKind;
use super::release::{ItlPart, Release};

/// The certificates of one TFTP node's ITL (`decisions.md`: its own signer, one TVS record per TVS
/// node of the cluster, CAPF).
#[derive(Debug)]
pub struct ItlContent<'a> {
    /// CallManager certificate of the TFTP node: it signs.
    pub call_manager: &'a Certificate,
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
        for part in release.rules().itl {
            let (role, certificates) = match part {
                ItlPart::CallManager(role) => (*role, slice::from_ref(&self.call_manager)),
                ItlPart::FirstTvs => (ROLE_TVS, first),
                ItlPart::OtherTvs => (ROLE_TVS, others),
                ItlPart::Capf => (ROLE_CAPF, self.capf.as_slice()),
                ItlPart::Recovery => (ROLE_SAST, self.itl_recovery.as_slice()),
            };
            certificates.iter().for_each(|certificate| put(&mut out, role, certificate));
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
        put(&mut out, ROLE_SAST, signer);
        out
    }
}

/// TVS and CAPF are named by their hash, all others by the whole certificate (ITL-08, ITL-09).
fn put(out: &mut Vec<u8>, role: u16, certificate: &Certificate) {
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
            RecordCertificate::Sha1(certificate.sha1())
        } else {
            RecordCertificate::Der(certificate.der())
        },
        address: None,
    }
    .encode(out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{CertificateSpec, Identity, KeySource};
    use crate::wire::Records;

    fn roles_and_names(release: Release) -> Vec<(u16, String, bool)> {
        let mut source = KeySource::bank(1);
        let mut make = |common_name| {
            let spec = CertificateSpec { common_name, not_before_s: 1_700_000_000, key_bits: 2048 };
            Identity::self_signed(&spec, &mut source).certificate
        };
        let (call_manager, first, second) = (make("cm"), make("tvs1"), make("tvs2"));
        let (capf, recovery) = (make("capf"), make("recovery"));
        let content = ItlContent {
            call_manager: &call_manager,
            tvs: vec![&first, &second],
            capf: Some(&capf),
            itl_recovery: release.has_itl_recovery().then_some(&recovery),
        };
        let bytes = content.encode(release);
        Records::new(&bytes, 0)
            .map(|record| {
                let record = record.unwrap();
                let name = record.subject[3..].split(';').next().unwrap().to_owned();
                (record.role.unwrap(), name, record.certificate.is_some())
            })
            .collect()
    }

    fn entry(role: u16, name: &str, whole: bool) -> (u16, String, bool) {
        (role, name.into(), whole)
    }

    #[test]
    fn list_of_8_6_has_sast_ccm_tftp_all_tvs_and_capf() {
        let expected = [
            entry(0, "cm", true),
            entry(2, "cm", true),
            entry(21, "tvs1", false),
            entry(21, "tvs2", false),
            entry(4, "capf", false),
        ];
        assert_eq!(roles_and_names(Release::R8_6), expected);
    }

    #[test]
    fn list_of_11_5_has_itl_recovery_and_role_tftp() {
        let expected = [
            entry(4, "capf", false),
            entry(21, "tvs1", false),
            entry(0, "recovery", true),
            entry(21, "tvs2", false),
            entry(0, "cm", true),
            entry(3, "cm", true),
        ];
        assert_eq!(roles_and_names(Release::R11_5), expected);
    }
}
