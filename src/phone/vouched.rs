use std::sync::Arc;

use crate::base::Time;
use crate::crypto::{Certificate, sha256};
use crate::wire::{SignedFile, same_name};

use super::file_kind::FileKind;
use super::lists::{is_over, same_serial};

/// A signer that TVS vouched for, until `expires`; the signer itself is shared by all phones that
/// were told the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VouchedSigner {
    pub(super) signer: Arc<Signer>,
    pub(super) expires: Time,
}

/// A certificate and the roles that TVS named for it, as far as a phone uses them.
#[derive(Debug, PartialEq, Eq)]
pub struct Signer {
    issuer: String,
    serial: Vec<u8>,
    pub(super) public_key: Vec<u8>,
    roles: Vec<u8>,
    not_after_s: Option<i64>,
    /// SHA-256 of the whole certificate.
    fingerprint: [u8; 32],
}

impl Signer {
    pub(super) fn new(certificate: &Certificate, roles: &[u8]) -> Signer {
        Signer {
            issuer: certificate.issuer().to_owned(),
            serial: certificate.serial().to_vec(),
            public_key: certificate.public_key().to_vec(),
            roles: roles.to_vec(),
            not_after_s: certificate.validity_s().1,
            fingerprint: certificate.sha256(),
        }
    }

    /// Whether its time is over at this date, in Unix seconds.
    pub(super) fn is_over(&self, date_s: Option<u64>) -> bool {
        is_over(self.not_after_s, date_s)
    }

    /// Whether this is the certificate (DER).
    pub(super) fn is_certificate(&self, der: &[u8]) -> bool {
        self.fingerprint == sha256(der)
    }

    /// Whether both have one issuer and serial: the newer one takes the place of the older.
    pub(super) fn is_like(&self, other: &Signer) -> bool {
        same_serial(&self.serial, &other.serial) && same_name(&self.issuer, &other.issuer)
    }

    /// Whether this is who signed `file`.
    pub(super) fn is(&self, file: &SignedFile<'_>) -> bool {
        same_serial(&self.serial, file.header.serial) && same_name(&self.issuer, file.header.issuer)
    }

    /// Whether it may sign files of this kind.
    pub(super) fn fits(&self, kind: FileKind) -> bool {
        self.roles.iter().any(|&role| kind.roles().contains(&u16::from(role)))
    }
}
