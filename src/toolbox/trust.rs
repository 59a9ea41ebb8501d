//! The phone's question (`spec/phone-boot.md` section 3), answered by the phone's own judgement.

use std::sync::Arc;

use crate::crypto::sha1;
use crate::listing::{List, Verdict, check_file};
use crate::phone::{self, AcceptPath, FileKind, Judgement, Verifier, judge};
use crate::wire::{ROLE_TVS, Record, SignedFile};

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
    /// What a phone that holds these lists does with a well-formed file: the very judgement of
    /// the virtual phones, told with the record that decided.
    pub fn decide(&self, kind: FileKind, file: &SignedFile<'_>) -> Decision {
        let record = |list: &Option<List<'_>>, roles| {
            let found = list.as_ref()?.find_signer(&file.header, roles)?;
            Some((found.0 + 1, found.1.public_key.to_vec()))
        };
        let ctl_record = record(&self.ctl, kind.ctl_roles());
        let itl_entry = record(&self.itl, kind.roles());
        let wrong = |found: &Option<(usize, Vec<u8>)>| {
            let key = found.as_ref().map(|(_, key)| check_file(file, key));
            key.unwrap_or(Verdict::InvalidSignature)
        };
        let number = |found: &Option<(usize, Vec<u8>)>| found.as_ref().map_or(0, |found| found.0);
        match judge(&self.as_held(), kind, file, &Verifier::real(), None) {
            Judgement::Accept(AcceptPath::First) => Decision::Accept(TrustPath::First),
            Judgement::Accept(AcceptPath::Blank) => Decision::Accept(TrustPath::Blank),
            Judgement::Accept(AcceptPath::Ctl) => {
                Decision::Accept(TrustPath::Ctl(number(&ctl_record)))
            }
            Judgement::Accept(_) => Decision::Accept(TrustPath::Itl(number(&itl_entry))),
            Judgement::AskTvs => Decision::AskTvs { servers: self.tvs_records() },
            Judgement::Refuse(phone::Refusal::UnknownSigner) => {
                Decision::Reject(Refusal::UnknownSigner)
            }
            Judgement::Refuse(_) => {
                let found = if ctl_record.is_some() { &ctl_record } else { &itl_entry };
                Decision::Reject(Refusal::BadSignature(wrong(found)))
            }
        }
    }

    /// The lists as a phone holds them.
    fn as_held(&self) -> phone::TrustLists {
        let held = |list: &Option<List<'_>>| {
            let list = list.as_ref().map(|list| phone::TrustList::from_file(&list.file));
            list.and_then(Result::ok).map(Arc::new)
        };
        phone::TrustLists { ctl: held(&self.ctl), itl: held(&self.itl) }
    }

    /// SHA-1 of the certificates that the lists hold with this role, CTL first: how a phone knows
    /// a TVS or CAPF server.
    pub fn certificate_hashes(&self, role: u16) -> Vec<[u8; 20]> {
        let hash =
            |record: &Record<'_>| record.certificate_hash.or_else(|| record.certificate.map(sha1));
        self.records(role).filter_map(hash).collect()
    }

    /// The serial numbers that the records with this role have, CTL first (TOOL-04).
    pub fn serials(&self, role: u16) -> Vec<Vec<u8>> {
        self.records(role).map(|record| record.serial.to_vec()).collect()
    }

    fn tvs_records(&self) -> usize {
        self.records(ROLE_TVS).count()
    }

    fn records(&self, role: u16) -> impl Iterator<Item = &Record<'_>> {
        let lists = [&self.ctl, &self.itl];
        let records = lists.into_iter().flatten().flat_map(|list| &list.records);
        records.filter(move |record| record.role == Some(role))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{CertificateSpec, Identity, KeySource};
    use crate::toolbox::{ListEntry, ListSpec, Signer, Style, make_list, sign_file};

    /// Two signers with keys of their own.
    fn identities() -> [Identity; 2] {
        let mut source = KeySource::bank(1);
        ["one", "two"].map(|common_name| {
            let spec = CertificateSpec { common_name, not_before_s: 1_700_000_000, key_bits: 2048 };
            Identity::self_signed(&spec, &mut source)
        })
    }

    fn signer(identity: &Identity) -> Signer {
        Signer { identity: identity.clone(), style: Style::Cucm, digest: 3, timestamp: 0 }
    }

    fn list(is_ctl: bool, by: &Identity, records: &[(u16, &Identity)]) -> Vec<u8> {
        let entry = |(role, identity): &(u16, &Identity)| ListEntry {
            role: *role,
            certificate: identity.certificate.clone(),
            dns_name: None,
            address: None,
        };
        let entries: Vec<ListEntry> = records.iter().map(entry).collect();
        let file_name = if is_ctl { "CTLFile.tlv" } else { "ITLFile.tlv" };
        let spec = ListSpec { is_ctl, file_name, signer_version: None, entries: &entries };
        make_list(&spec, &signer(by)).unwrap()
    }

    fn decide(ctl: Option<&[u8]>, itl: Option<&[u8]>, kind: FileKind, file: &[u8]) -> Decision {
        let lists = TrustLists {
            ctl: ctl.map(|bytes| List::parse(bytes).unwrap()),
            itl: itl.map(|bytes| List::parse(bytes).unwrap()),
        };
        lists.decide(kind, &SignedFile::parse(file).unwrap())
    }

    #[test]
    fn a_phone_without_lists_or_with_a_blank_one_takes_everything() {
        let [one, two] = identities();
        let new = list(false, &two, &[(0, &two), (21, &two)]);
        let blank = list(false, &one, &[(0, &one)]);
        let ask = |itl| decide(None, itl, FileKind::Itl, &new);
        assert_eq!(ask(None), Decision::Accept(TrustPath::First));
        assert_eq!(ask(Some(&blank)), Decision::Accept(TrustPath::Blank));
        let ctl = list(true, &one, &[(0, &one)]);
        let with_ctl = decide(Some(&ctl), Some(&blank), FileKind::Itl, &new);
        assert_eq!(with_ctl, Decision::Reject(Refusal::UnknownSigner), "the CTL stays in force");
    }

    #[test]
    fn the_role_must_fit_the_object() {
        let [one, two] = identities();
        let file = sign_file(b"x", "x.sgn", &signer(&two)).unwrap();
        let new = list(false, &two, &[(0, &two), (21, &two)]);
        for (role, lists, files) in [(0, true, false), (2, false, true), (3, false, true)] {
            let itl = list(false, &one, &[(21, &one), (role, &two)]);
            let asked = Decision::AskTvs { servers: 1 };
            let accepted = Decision::Accept(TrustPath::Itl(2));
            let expected = |fits| if fits { accepted } else { asked };
            assert_eq!(decide(None, Some(&itl), FileKind::Itl, &new), expected(lists), "{role}");
            assert_eq!(decide(None, Some(&itl), FileKind::Ctl, &new), expected(lists), "{role}");
            assert_eq!(
                decide(None, Some(&itl), FileKind::Config, &file),
                expected(files),
                "{role}"
            );
        }
    }

    #[test]
    fn a_ccm_tftp_record_of_the_ctl_may_sign_an_itl_but_no_ctl() {
        let [one, two] = identities();
        let ctl = list(true, &one, &[(0, &one), (2, &two)]);
        let new = list(false, &two, &[(0, &two), (21, &two)]);
        let accepted = Decision::Accept(TrustPath::Ctl(2));
        assert_eq!(decide(Some(&ctl), None, FileKind::Itl, &new), accepted);
        let refused = Decision::Reject(Refusal::UnknownSigner);
        assert_eq!(decide(Some(&ctl), None, FileKind::Ctl, &new), refused);
    }

    #[test]
    fn the_ctl_is_searched_first_and_a_bad_signature_is_final() {
        let [one, two] = identities();
        let ctl = list(true, &one, &[(3, &two)]);
        let itl = list(false, &one, &[(21, &one), (3, &two)]);
        let mut file = sign_file(b"x", "x.sgn", &signer(&two)).unwrap();
        let ask = |file: &[u8]| decide(Some(&ctl), Some(&itl), FileKind::Config, file);
        assert_eq!(ask(&file), Decision::Accept(TrustPath::Ctl(1)));
        *file.last_mut().unwrap() = b'y';
        let wrong = Refusal::BadSignature(Verdict::InvalidSignature);
        assert_eq!(ask(&file), Decision::Reject(wrong));
    }

    #[test]
    fn certificate_hashes_come_from_hashes_and_certificates() {
        let [one, two] = identities();
        let ctl = list(true, &one, &[(21, &one)]);
        let itl = list(false, &one, &[(21, &two), (4, &one)]);
        let lists = TrustLists {
            ctl: Some(List::parse(&ctl).unwrap()),
            itl: Some(List::parse(&itl).unwrap()),
        };
        let hashes = lists.certificate_hashes(ROLE_TVS);
        assert_eq!(hashes, [one.certificate.sha1(), two.certificate.sha1()]);
    }
}
