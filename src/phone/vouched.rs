use std::sync::Arc;

use crate::base::Time;
use crate::crypto::Certificate;
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

/// A certificate and the roles that TVS named for it.
#[derive(Debug, PartialEq, Eq)]
pub struct Signer {
    certificate: Certificate,
    roles: Vec<u8>,
}

impl Signer {
    pub(super) fn new(certificate: Certificate, roles: &[u8]) -> Signer {
        Signer { certificate, roles: roles.to_vec() }
    }

    /// Whether TVS has named this certificate (DER) for these roles.
    pub(super) fn was_named(&self, roles: &[u8], der: &[u8]) -> bool {
        self.roles == roles && self.is_certificate(der)
    }

    /// Its key (PKCS#1 `RSAPublicKey` or the point of a curve).
    pub(super) fn public_key(&self) -> &[u8] {
        self.certificate.public_key()
    }

    /// Whether its time is over at this date, in Unix seconds.
    pub(super) fn is_over(&self, date_s: Option<u64>) -> bool {
        is_over(self.certificate.validity_s().1, date_s)
    }

    /// Whether this is the certificate (DER).
    pub(super) fn is_certificate(&self, der: &[u8]) -> bool {
        self.certificate.der() == der
    }

    /// Whether both have one issuer and serial: the newer one takes the place of the older.
    pub(super) fn is_like(&self, other: &Signer) -> bool {
        let (mine, theirs) = (&self.certificate, &other.certificate);
        same_serial(mine.serial(), theirs.serial()) && same_name(mine.issuer(), theirs.issuer())
    }

    /// Whether this is who signed `file`.
    pub(super) fn is(&self, file: &SignedFile<'_>) -> bool {
        let (mine, header) = (&self.certificate, &file.header);
        same_serial(mine.serial(), header.serial) && same_name(mine.issuer(), header.issuer)
    }

    /// Whether it may sign files of this kind.
    pub(super) fn fits(&self, kind: FileKind) -> bool {
        self.roles.iter().any(|&role| kind.roles().contains(&u16::from(role)))
    }
}
