//! The phone's question, `spec/phone-boot.md` section 3. One seam: [`TrustLists::decide`].

use super::verdict::check_file;
use super::{List, Verdict};
use crate::crypto::sha1;
use crate::wire::{ROLE_CALLMANAGER_TFTP, ROLE_SAST, ROLE_TFTP, ROLE_TVS, Record, SignedFile};

/// What a phone is asked to accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// A new CTL.
    Ctl,
    /// A new ITL.
    Itl,
    /// A configuration or any other signed file.
    File,
}

/// The lists that a phone holds.
#[derive(Clone, Debug, Default)]
pub struct TrustLists<'a> {
    /// Its CTL.
    pub ctl: Option<List<'a>>,
    /// Its ITL.
    pub itl: Option<List<'a>>,
}

/// Why a phone takes a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustPath {
    /// It holds no list: the first file is taken without a check.
    First,
    /// It holds a blank ITL and no CTL: everything is taken.
    Blank,
    /// The signer is this record of its CTL (counted from 1).
    Ctl(usize),
    /// The signer is this record of its ITL (counted from 1).
    Itl(usize),
}

/// Why a phone refuses a file without asking anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The signer is known, its signature is wrong.
    BadSignature(Verdict),
    /// The signer is in no list, and a phone with a CTL and no working ITL asks no TVS.
    UnknownSigner,
}

/// What a phone does with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Takes it.
    Accept(TrustPath),
    /// Asks a TVS server; takes it only if that knows the signer.
    AskTvs {
        /// TVS records in its lists: with none it can trust no TVS server.
        servers: usize,
    },
    /// Refuses it and keeps what it has.
    Reject(Refusal),
}

impl TrustLists<'_> {
    /// What a phone that holds these lists does with a well-formed file.
    pub fn decide(&self, object: Object, file: &SignedFile<'_>) -> Decision {
        let itl = self.itl.as_ref().filter(|list| !list.is_blank());
        match (&self.ctl, itl) {
            (None, None) if self.itl.is_some() => Decision::Accept(TrustPath::Blank),
            (None, None) => Decision::Accept(TrustPath::First),
            (ctl, itl) => self.judge(object, file, ctl.as_ref(), itl),
        }
    }

    fn judge(
        &self,
        object: Object,
        file: &SignedFile<'_>,
        ctl: Option<&List<'_>>,
        itl: Option<&List<'_>>,
    ) -> Decision {
        let roles = fitting_roles(object);
        let of_ctl = ctl.and_then(|list| list.find_signer(&file.header, roles.ctl));
        let of_list = itl.and_then(|list| list.find_signer(&file.header, roles.itl));
        let (record, path) = match (of_ctl, of_list) {
            (Some((index, record)), _) => (record, TrustPath::Ctl(index + 1)),
            (None, Some((index, record))) => (record, TrustPath::Itl(index + 1)),
            (None, None) if itl.is_none() => return Decision::Reject(Refusal::UnknownSigner),
            (None, None) => {
                return Decision::AskTvs { servers: self.tvs_records() };
            }
        };
        match check_file(file, record.public_key) {
            Verdict::Valid => Decision::Accept(path),
            wrong => Decision::Reject(Refusal::BadSignature(wrong)),
        }
    }

    /// SHA-1 of the certificates that the lists hold with this role, CTL first: how a phone knows
    /// a TVS or CAPF server.
    pub fn certificate_hashes(&self, role: u16) -> Vec<[u8; 20]> {
        let lists = [&self.ctl, &self.itl];
        let records = lists.into_iter().flatten().flat_map(|list| &list.records);
        let hash =
            |record: &Record<'_>| record.certificate_hash.or_else(|| record.certificate.map(sha1));
        records.filter(|record| record.role == Some(role)).filter_map(hash).collect()
    }

    fn tvs_records(&self) -> usize {
        let lists = [&self.ctl, &self.itl];
        let records = lists.into_iter().flatten().flat_map(|list| &list.records);
        records.filter(|record| record.role == Some(ROLE_TVS)).count()
    }
}

/// Roles that fit a signer.
struct FittingRoles {
    ctl: &'static [u16],
    itl: &'static [u16],
}

/// Roles that the signer of `object` must have in the CTL and in the ITL.
const fn fitting_roles(object: Object) -> FittingRoles {
    const SAST: &[u16] = &[ROLE_SAST];
    const SAST_OR_CCM_TFTP: &[u16] = &[ROLE_SAST, ROLE_CALLMANAGER_TFTP];
    const FILE_SIGNERS: &[u16] = &[ROLE_CALLMANAGER_TFTP, ROLE_TFTP];
    match object {
        Object::Ctl => FittingRoles { ctl: SAST, itl: SAST },
        Object::Itl => FittingRoles { ctl: SAST_OR_CCM_TFTP, itl: SAST },
        Object::File => FittingRoles { ctl: FILE_SIGNERS, itl: FILE_SIGNERS },
    }
}
