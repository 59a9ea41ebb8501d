use std::sync::Arc;

use crate::crypto::{Certificate, FileIdentity, md5, sha1, sha256};
use crate::wire::{
    ROLE_CALLMANAGER_TFTP, ROLE_CAPF, ROLE_TFTP, ROLE_TVS, Record, Records, SignedFile, WireError,
    name_key,
};

/// A CTL or ITL as a phone holds it: parsed once, shared by all phones that hold the same bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct TrustList {
    records: Vec<TrustRecord>,
    identity: FileIdentity,
    signer_version: Option<(u8, u8)>,
    checksum: [u8; 16],
}

/// One entry of a list that names a certificate.
#[derive(Debug, PartialEq, Eq)]
pub struct TrustRecord {
    role: u16,
    issuer: String,
    issuer_key: String,
    serial: Vec<u8>,
    public_key: Vec<u8>,
    certificate: Option<HeldCertificate>,
    /// End of its validity in Unix seconds, if the record holds the certificate.
    not_after_s: Option<i64>,
}

/// Roles of the servers that provision phones over HTTPS (`spec/phone-boot.md` section 3).
pub const PROVISIONING_ROLES: &[u16] = &[ROLE_CALLMANAGER_TFTP, ROLE_TFTP];

/// The signer version from which on a cluster provisions over HTTPS (`spec/trust-list.md`
/// section 2).
const HTTPS_SIGNER_VERSION: (u8, u8) = (1, 1);

/// How a record pins its certificate.
#[derive(Debug, PartialEq, Eq)]
enum HeldCertificate {
    /// SHA-1 of the DER (CERTHASH).
    Sha1([u8; 20]),
    /// SHA-256 of the DER that stands in the record.
    Sha256([u8; 32]),
}

impl TrustList {
    /// Reads a whole list.
    pub fn parse(bytes: &[u8]) -> Result<TrustList, WireError> {
        TrustList::from_file(&SignedFile::parse(bytes)?)
    }

    /// Reads the records of a file whose header was parsed.
    pub fn from_file(file: &SignedFile<'_>) -> Result<TrustList, WireError> {
        let records = Records::new(file.body, usize::from(file.header.length))
            .filter_map(|record| record.map(|record| TrustRecord::new(&record)).transpose())
            .collect::<Result<Vec<_>, _>>()?;
        let signer_version = file.header.signer_version;
        let checksum = md5(file.bytes());
        Ok(TrustList { records, identity: FileIdentity::of(file), signer_version, checksum })
    }

    /// Which content this is and who signed it.
    pub const fn identity(&self) -> FileIdentity {
        self.identity
    }

    /// MD5 of the whole file, as `show itl` prints it (ITL-22).
    pub const fn checksum(&self) -> [u8; 16] {
        self.checksum
    }

    /// The first record with one of `roles` and this issuer and serial.
    pub fn find(&self, roles: &[u16], issuer: &str, serial: &[u8]) -> Option<&TrustRecord> {
        let mut fitting = self
            .records
            .iter()
            .filter(|record| roles.contains(&record.role) && same_serial(&record.serial, serial))
            .peekable();
        // The normal form is needed only for a name in another style.
        if fitting.peek()?.issuer == issuer {
            return fitting.next();
        }
        let key = name_key(issuer);
        fitting.find(|record| record.issuer == issuer || record.issuer_key == key)
    }

    /// Issuer and serial of every certificate that has one of `roles` here.
    pub fn named(&self, roles: &[u16]) -> impl Iterator<Item = (&str, &[u8])> {
        let of = self.records.iter().filter(move |record| roles.contains(&record.role));
        of.map(|record| (record.issuer.as_str(), &record.serial[..]))
    }

    /// Whether any record has one of `roles`.
    pub fn has_role(&self, roles: &[u16]) -> bool {
        self.records.iter().any(|record| roles.contains(&record.role))
    }

    /// Whether the list is blank: no record of a TFTP signer or TVS (rollback parameter, ITL-21).
    pub fn is_blank(&self) -> bool {
        !self.has_role(&[ROLE_CALLMANAGER_TFTP, ROLE_TFTP, ROLE_TVS])
    }

    /// Whether the cluster that signed this list provisions over HTTPS and the list names a
    /// server for it.
    fn offers_https(&self) -> bool {
        self.signer_version >= Some(HTTPS_SIGNER_VERSION) && self.has_role(PROVISIONING_ROLES)
    }

    /// Whether any record holds the certificate with these hashes (SHA-1, SHA-256).
    fn holds_hashed(&self, (sha1, sha256): ([u8; 20], [u8; 32])) -> bool {
        let is_it = |held: &HeldCertificate| match held {
            HeldCertificate::Sha1(hash) => *hash == sha1,
            HeldCertificate::Sha256(hash) => *hash == sha256,
        };
        self.records.iter().any(|record| record.certificate.as_ref().is_some_and(is_it))
    }

    /// Whether any record with one of `roles` holds this very certificate.
    fn holds(&self, roles: &[u16], der: &[u8]) -> bool {
        self.records.iter().any(|record| roles.contains(&record.role) && record.holds(der))
    }
}

impl TrustRecord {
    /// A record as far as a phone uses it; one that names no role or certificate is left out.
    fn new(record: &Record<'_>) -> Option<TrustRecord> {
        let certificate = record
            .certificate
            .map(|der| HeldCertificate::Sha256(sha256(der)))
            .or(record.certificate_hash.map(HeldCertificate::Sha1));
        let is_named = !record.serial.is_empty() || !record.issuer.is_empty();
        is_named.then_some(TrustRecord {
            role: record.role?,
            issuer: record.issuer.to_owned(),
            issuer_key: name_key(record.issuer),
            serial: record.serial.to_vec(),
            public_key: record.public_key.to_vec(),
            certificate,
            not_after_s: record.certificate.and_then(|der| {
                Certificate::from_der(der).ok().and_then(|held| held.validity_s().1)
            }),
        })
    }

    /// Whether the record says that its certificate's time is over at this date (Unix seconds).
    pub fn is_over(&self, date_s: Option<u64>) -> bool {
        is_over(self.not_after_s, date_s)
    }

    fn holds(&self, der: &[u8]) -> bool {
        self.certificate.as_ref().is_some_and(|held| held.matches(der))
    }

    /// The public key as it stands in the record.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }
}

impl HeldCertificate {
    fn matches(&self, der: &[u8]) -> bool {
        match self {
            HeldCertificate::Sha1(hash) => *hash == sha1(der),
            HeldCertificate::Sha256(hash) => *hash == sha256(der),
        }
    }
}

/// Whether a certificate with this end is of no use any more at this date; where either is not
/// known, it is.
pub(super) fn is_over(not_after_s: Option<i64>, date_s: Option<u64>) -> bool {
    let ended = |end: i64, date: u64| i64::try_from(date).is_ok_and(|date| date > end);
    not_after_s.zip(date_s).is_some_and(|(end, date)| ended(end, date))
}

/// Compares serial numbers without leading zero bytes (`spec/trust-list.md` section 5).
pub(super) fn same_serial(left: &[u8], right: &[u8]) -> bool {
    fn magnitude(serial: &[u8]) -> &[u8] {
        &serial[serial.iter().take_while(|&&byte| byte == 0).count()..]
    }
    magnitude(left) == magnitude(right)
}

/// The lists that a phone holds: cheap to clone, so that a TLS handshake elsewhere can be judged
/// by the lists of the phone that asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustLists {
    /// The CTL, in mixed mode only.
    pub ctl: Option<Arc<TrustList>>,
    /// The ITL.
    pub itl: Option<Arc<TrustList>>,
}

/// Where a phone stands (`spec/phone-boot.md` section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustState {
    /// No list: the next one is taken unchecked.
    A,
    /// A blank ITL and no CTL: everything is accepted.
    ABlank,
    /// A CTL and no usable ITL.
    B,
    /// An ITL only.
    C,
    /// Both lists.
    D,
}

impl TrustLists {
    /// The state that these lists put a phone in.
    pub fn state(&self) -> TrustState {
        let usable_itl = self.itl.as_ref().is_some_and(|itl| !itl.is_blank());
        match (&self.ctl, &self.itl) {
            (None, None) => TrustState::A,
            (None, Some(_)) if usable_itl => TrustState::C,
            (None, Some(_)) => TrustState::ABlank,
            (Some(_), _) if usable_itl => TrustState::D,
            (Some(_), _) => TrustState::B,
        }
    }

    /// Whether any list is installed, so that signed names are asked for.
    pub const fn any(&self) -> bool {
        self.ctl.is_some() || self.itl.is_some()
    }

    /// Whether any list holds a TVS certificate.
    pub fn holds_any_tvs(&self) -> bool {
        [&self.ctl, &self.itl].into_iter().flatten().any(|list| list.has_role(&[ROLE_TVS]))
    }

    /// Whether any list holds a CAPF certificate (ITL-09).
    pub fn holds_any_capf(&self) -> bool {
        [&self.ctl, &self.itl].into_iter().flatten().any(|list| list.has_role(&[ROLE_CAPF]))
    }

    /// Whether the configuration is asked for over HTTPS: a list says that its cluster offers it
    /// and names a server.
    pub fn offers_https(&self) -> bool {
        [&self.ctl, &self.itl].into_iter().flatten().any(|list| list.offers_https())
    }

    /// Whether CTL and ITL hold a certificate (DER) with whatever role.
    pub fn hold(&self, der: &[u8]) -> [bool; 2] {
        let hashes = (sha1(der), sha256(der));
        let holds = |list: &Option<Arc<TrustList>>| {
            list.as_ref().is_some_and(|list| list.holds_hashed(hashes))
        };
        [holds(&self.ctl), holds(&self.itl)]
    }

    /// Judges the certificate that a server presents: is it in these lists with one of
    /// `roles`, CTL first, then ITL? A server of files is found by its certificate; of any other
    /// the first record with its issuer and serial decides, by its hash (TVS-20). Chains play no
    /// part.
    pub fn judge_server(&self, roles: &[u16], certificate: &Certificate) -> bool {
        let mut lists = [&self.ctl, &self.itl].into_iter().flatten();
        if roles == PROVISIONING_ROLES {
            return lists.any(|list| list.holds(roles, certificate.der()));
        }
        let (issuer, serial) = (certificate.issuer(), certificate.serial());
        let found = lists.find_map(|list| list.find(roles, issuer, serial));
        found.is_some_and(|record| record.holds(certificate.der()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::crypto::{CertificateSpec, Identity, KeySource};

    fn list(roles: &[u16]) -> Arc<TrustList> {
        let record = |&role: &u16| TrustRecord {
            role,
            issuer: "CN=ca;O=x".into(),
            issuer_key: name_key("CN=ca;O=x"),
            serial: vec![role as u8 + 1],
            public_key: vec![role as u8],
            certificate: None,
            not_after_s: None,
        };
        let records = roles.iter().map(record).collect();
        let signer_version = None;
        let (identity, checksum) = (FileIdentity::default(), [0; 16]);
        Arc::new(TrustList { records, identity, signer_version, checksum })
    }

    fn lists(ctl: Option<&[u16]>, itl: Option<&[u16]>) -> TrustLists {
        TrustLists { ctl: ctl.map(list), itl: itl.map(list) }
    }

    #[test]
    fn the_state_follows_from_the_lists() {
        const BLANK: &[u16] = &[0, 4];
        const FULL: &[u16] = &[0, 3];
        let cases = [
            (None, None, TrustState::A),
            (None, Some(BLANK), TrustState::ABlank),
            (None, Some(FULL), TrustState::C),
            (Some(FULL), None, TrustState::B),
            (Some(FULL), Some(BLANK), TrustState::B),
            (Some(FULL), Some(FULL), TrustState::D),
        ];
        for (ctl, itl, state) in cases {
            assert_eq!(lists(ctl, itl).state(), state, "{ctl:?} {itl:?}");
            assert_eq!(lists(ctl, itl).any(), ctl.is_some() || itl.is_some());
        }
    }

    #[test]
    fn a_list_is_blank_without_signers_of_files_and_tvs() {
        for role in [0, 1, 4, 7] {
            assert!(list(&[role]).is_blank(), "{role}");
        }
        for role in [2, 3, 21] {
            assert!(!list(&[0, role]).is_blank(), "{role}");
        }
    }

    #[test]
    fn records_are_found_by_role_issuer_and_serial_together() {
        let list = list(&[0, 3, 21]);
        let key = |roles: &[u16], issuer, serial: &[u8]| {
            list.find(roles, issuer, serial).map(|record| record.public_key()[0])
        };
        assert_eq!(key(&[3], "CN=ca;O=x", &[4]), Some(3));
        assert_eq!(key(&[2, 3], "O=x,CN=ca", &[0, 4]), Some(3), "other style, leading zero");
        assert_eq!(key(&[0], "CN=ca;O=x", &[4]), None, "another role");
        assert_eq!(key(&[3], "CN=cb;O=x", &[4]), None, "another issuer");
        assert_eq!(key(&[3], "CN=ca;O=x", &[5]), None, "another serial");
    }

    #[test]
    fn tvs_records_are_seen_in_either_list() {
        assert!(lists(None, Some(&[0, 21])).holds_any_tvs());
        assert!(lists(Some(&[0, 21]), Some(&[0, 3])).holds_any_tvs());
        assert!(!lists(Some(&[0, 2]), Some(&[0, 3])).holds_any_tvs());
    }

    fn certificates() -> [Certificate; 2] {
        let mut source = KeySource::bank(1);
        ["pub", "pub"].map(|common_name| {
            let not_before_s = 1_700_000_000;
            let spec = CertificateSpec { common_name, not_before_s, key_bits: 2048 };
            Identity::self_signed(&spec, &mut source).certificate
        })
    }

    /// A list that holds this certificate in a role that no server of files has.
    pub(in crate::phone) fn any_role(held: &Certificate) -> Arc<TrustList> {
        holding(&[(ROLE_CAPF, held, held)])
    }

    /// A list of one record each: names one certificate by issuer and serial and holds another.
    fn holding(records: &[(u16, &Certificate, &Certificate)]) -> Arc<TrustList> {
        let record = |&(role, named, held): &(u16, &Certificate, &Certificate)| TrustRecord {
            role,
            issuer: named.issuer().to_owned(),
            issuer_key: name_key(named.issuer()),
            serial: named.serial().to_vec(),
            public_key: Vec::new(),
            certificate: Some(HeldCertificate::Sha1(held.sha1())),
            not_after_s: None,
        };
        let records = records.iter().map(record).collect();
        let identity = FileIdentity::default();
        Arc::new(TrustList { records, identity, signer_version: None, checksum: [0; 16] })
    }

    #[test]
    fn a_tvs_certificate_is_found_by_issuer_serial_and_role_and_then_judged_by_its_hash() {
        let [own, other] = &certificates();
        for role in [ROLE_TVS, ROLE_CAPF] {
            let is_accepted = |ctl, itl| TrustLists { ctl, itl }.judge_server(&[role], own);
            let right = || Some(holding(&[(role, own, own)]));
            let wrong = || Some(holding(&[(role, own, other)]));
            assert!(is_accepted(right(), None) && is_accepted(None, right()));
            assert!(!is_accepted(None, wrong()), "the hash is of another certificate");
            assert!(!is_accepted(None, Some(holding(&[(role, other, own)]))), "another serial");
            assert!(!is_accepted(None, Some(holding(&[(ROLE_TFTP, own, own)]))), "another role");
            assert!(is_accepted(right(), wrong()), "the CTL is first");
            assert!(!is_accepted(wrong(), right()), "what the CTL has found decides");
            assert!(is_accepted(Some(holding(&[(role, other, other)])), right()), "not in the CTL");
            let twice = Some(holding(&[(role, own, other), (role, own, own)]));
            assert!(!is_accepted(None, twice), "the first record that fits decides");
        }
    }

    #[test]
    fn an_https_certificate_is_found_by_itself_and_its_role() {
        let [own, other] = &certificates();
        let is_accepted = |ctl, itl| TrustLists { ctl, itl }.judge_server(PROVISIONING_ROLES, own);
        for role in [ROLE_CALLMANAGER_TFTP, ROLE_TFTP] {
            let right = || Some(holding(&[(role, own, own)]));
            let wrong = || Some(holding(&[(role, own, other)]));
            assert!(is_accepted(right(), None) && is_accepted(None, right()));
            assert!(!is_accepted(None, wrong()) && !is_accepted(None, None));
            assert!(is_accepted(wrong(), right()), "not in the CTL, but in the ITL");
            let twice = Some(holding(&[(role, own, other), (role, own, own)]));
            assert!(is_accepted(None, twice), "every record is looked at");
        }
        assert!(!is_accepted(None, Some(holding(&[(ROLE_TVS, own, own)]))), "another role");
    }
}
