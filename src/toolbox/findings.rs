//! What an engineer should look at in a file that is well-formed.

use serde_json::{Value, json};

use crate::crypto::{Certificate, KeyKind, date_text};
use crate::listing::{List, Verdict, significant};
use crate::wire::{
    DIGEST_SHA1, Name, ROLE_CALLMANAGER_TFTP, ROLE_SAST, ROLE_TFTP, ROLE_TVS, Record, SignedFile,
    name_key, same_name,
};

/// Lists above this size are refused by phones (`spec/trust-list.md` section 7).
const LIST_BYTES_MAX: usize = 65_536;
/// Lists above this size get a warning: three more certificates may be too many.
const LIST_BYTES_NEAR: usize = LIST_BYTES_MAX - 6 * 1024;
/// Advice of the reference tool: more SAST records than two in a CTL.
const SAST_ADVISED_MAX: usize = 2;
/// Certificates that end within this time get a note.
const EXPIRY_NEAR_S: i64 = 90 * 86_400;

/// One remark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    level: &'static str,
    code: &'static str,
    text: String,
}

impl Finding {
    /// Something that stops phones, or will.
    pub(super) fn warning(code: &'static str, text: impl Into<String>) -> Finding {
        Finding { level: "warning", code, text: text.into() }
    }

    /// Something to know.
    pub(super) fn note(code: &'static str, text: impl Into<String>) -> Finding {
        Finding { level: "note", code, text: text.into() }
    }

    /// As `inspect` prints it.
    pub(super) fn to_json(&self) -> Value {
        json!({ "level": self.level, "code": self.code, "text": self.text })
    }
}

/// Remarks on a trust list.
pub(super) fn of_list(list: &List<'_>, verdict: Option<Verdict>, now_s: u64) -> Vec<Finding> {
    let mut found = of_header(&list.file);
    size(list.file.bytes().len(), &mut found);
    signers(list, verdict, &mut found);
    roles(list, &mut found);
    for (index, record) in list.records.iter().enumerate() {
        of_record(index + 1, record, now_s, &mut found);
    }
    found
}

/// Remarks on a signed file whose signer may be known.
pub(super) fn of_file(
    file: &SignedFile<'_>,
    now_s: u64,
    signer: Option<&Certificate>,
) -> Vec<Finding> {
    let mut found = of_header(file);
    let header = &file.header;
    if let Some(signer) = signer {
        let same = significant(signer.serial()) == significant(header.serial)
            && same_name(signer.issuer(), header.issuer);
        if !same {
            found.push(Finding::warning(
                "other-signer",
                format!("the header names another signer ({})", header.signer_name),
            ));
        }
        expiry("the signer's certificate", signer, now_s, &mut found);
    }
    found
}

/// Remarks on a certificate.
pub(super) fn of_certificate(certificate: &Certificate, now_s: u64) -> Vec<Finding> {
    let mut found = Vec::new();
    weak_key("the key", KeyKind::of(certificate.public_key()), &mut found);
    expiry("the certificate", certificate, now_s, &mut found);
    odd("the certificate", certificate, &mut found);
    found
}

fn of_header(file: &SignedFile<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let header = &file.header;
    if header.digest == DIGEST_SHA1 {
        found.push(Finding::note("weak-digest", "SHA-1 is weak; 79xx phones know nothing else"));
    }
    odd_name("the signer's name", header.signer_name, &mut found);
    odd_name("the signer's issuer", header.issuer, &mut found);
    let bits = header.signature.len() * 8;
    if bits < 2048 {
        found.push(Finding::note("weak-key", format!("the signer's RSA-{bits} key is weak")));
    }
    found
}

/// The size finding of a list of this length: how `make` warns.
pub fn size_warning(length: usize) -> Option<String> {
    let mut found = Vec::new();
    size(length, &mut found);
    found.pop().map(|finding| finding.text)
}

fn size(length: usize, found: &mut Vec<Finding>) {
    if length > LIST_BYTES_MAX {
        found.push(Finding::warning(
            "too-large",
            format!("{length} bytes: phones refuse lists above {LIST_BYTES_MAX}"),
        ));
    } else if length > LIST_BYTES_NEAR {
        found.push(Finding::warning(
            "near-limit",
            format!("{length} bytes: near the limit of {LIST_BYTES_MAX} that phones take"),
        ));
    }
}

fn signers(list: &List<'_>, verdict: Option<Verdict>, found: &mut Vec<Finding>) {
    let sast: Vec<&Record<'_>> =
        list.records.iter().filter(|record| record.role == Some(ROLE_SAST)).collect();
    if verdict == Some(Verdict::NoSast) {
        let text = if sast.is_empty() {
            "no SAST record: a phone that takes this list cannot check the next one"
        } else {
            "no SAST record is the signer: a phone that takes this list refuses the next one"
        };
        found.push(Finding::warning("no-sast-is-signer", text));
    }
    if sast.len() > SAST_ADVISED_MAX {
        found.push(Finding::note("many-sast", format!("{} SAST records", sast.len())));
    }
    let mut seen = std::collections::BTreeMap::new();
    for record in sast {
        let key = (name_key(record.issuer), significant(record.serial));
        if let Some(first) = seen.insert(key, record.subject) {
            found.push(Finding::warning(
                "duplicate-signer",
                format!("two SAST records with one issuer and serial: {first}"),
            ));
        }
    }
}

fn roles(list: &List<'_>, found: &mut Vec<Finding>) {
    if list.is_blank() {
        found.push(Finding::note(
            "blank",
            "blank list (no CCM+TFTP, TFTP or TVS record): a phone with it takes everything",
        ));
        return;
    }
    let has = |roles: &[u16]| {
        list.records.iter().any(|record| record.role.is_some_and(|role| roles.contains(&role)))
    };
    let is_itl = !list.file.header.file_name.to_ascii_uppercase().starts_with("CTL");
    if is_itl && !has(&[ROLE_TVS]) {
        found.push(Finding::warning(
            "no-tvs",
            "no TVS record: after a change of the signer phones cannot ask and are stuck",
        ));
    }
    if !has(&[ROLE_TFTP, ROLE_CALLMANAGER_TFTP]) {
        found.push(Finding::warning(
            "no-file-signer",
            "no TFTP or CCM+TFTP record: configurations are accepted by TVS only",
        ));
    }
}

fn of_record(number: usize, record: &Record<'_>, now_s: u64, found: &mut Vec<Finding>) {
    let place = format!("record {number}");
    weak_key(&place, KeyKind::of(record.public_key), found);
    odd_name(&format!("{place}: the subject"), record.subject, found);
    odd_name(&format!("{place}: the issuer"), record.issuer, found);
    let Some(der) = record.certificate else { return };
    match Certificate::from_der(der) {
        Ok(certificate) => {
            expiry(&place, &certificate, now_s, found);
            odd(&place, &certificate, found);
            differences(&place, record, &certificate, found);
        }
        Err(error) => found.push(Finding::warning("bad-certificate", format!("{place}: {error}"))),
    }
}

/// A record that says other things than the certificate in it.
fn differences(
    place: &str,
    record: &Record<'_>,
    certificate: &Certificate,
    found: &mut Vec<Finding>,
) {
    let differs = [
        (significant(record.serial) != significant(certificate.serial()), "serial number"),
        (!same_name(record.issuer, certificate.issuer()), "issuer"),
        (!same_name(record.subject, certificate.subject()), "subject"),
        (record.public_key != certificate.public_key(), "public key"),
    ];
    for (_, what) in differs.iter().filter(|(differs, _)| *differs) {
        found.push(Finding::note(
            "record-differs",
            format!("{place}: the {what} is not that of the certificate in it"),
        ));
    }
}

fn weak_key(place: &str, kind: Option<KeyKind>, found: &mut Vec<Finding>) {
    if let Some(kind) = kind.filter(|kind| kind.is_weak()) {
        found.push(Finding::note(
            "weak-key",
            format!("{place}: {}-{} is weak", kind.name(), kind.bits()),
        ));
    }
}

fn expiry(place: &str, certificate: &Certificate, now_s: u64, found: &mut Vec<Finding>) {
    let (from, to) = certificate.validity_s();
    let now_s = i64::try_from(now_s).unwrap_or(i64::MAX);
    match to {
        Some(to) if to < now_s => found.push(Finding::warning(
            "expired",
            format!("{place}: expired on {}; phones do not look at it", date_text(to)),
        )),
        Some(to) if to - now_s < EXPIRY_NEAR_S => {
            found.push(Finding::note(
                "expires-soon",
                format!("{place}: expires on {}", date_text(to)),
            ));
        }
        _ => {}
    }
    if let Some(from) = from.filter(|&from| from > now_s) {
        let text = format!("{place}: valid from {}", date_text(from));
        found.push(Finding::note("not-yet-valid", text));
    }
}

/// What the issuer of a certificate should not have done.
fn odd(place: &str, certificate: &Certificate, found: &mut Vec<Finding>) {
    for oddity in certificate.oddities() {
        found.push(Finding::warning(oddity.code, format!("{place}: {}", oddity.text)));
    }
}

/// A name in a file that a phone may read differently, or not at all.
fn odd_name(place: &str, name: &str, found: &mut Vec<Finding>) {
    if let Some((seen, _)) = name.split_once('\0') {
        let text = format!("{place} has a NUL in it: a phone reads `{seen}` only");
        found.push(Finding::warning("odd-name", text));
    } else if Name::parse(name).is_none() {
        let text = format!("{place} is no name (`{name}`): it equals the same text only");
        found.push(Finding::warning("odd-name", text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{CertificateSpec, Identity, KeySource};

    fn codes(found: &[Finding]) -> Vec<&'static str> {
        found.iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn sizes_near_and_above_the_limit_are_named() {
        let of = |length| {
            let mut found = Vec::new();
            size(length, &mut found);
            codes(&found)
        };
        assert!(of(LIST_BYTES_NEAR).is_empty());
        assert_eq!(of(LIST_BYTES_NEAR + 1), ["near-limit"]);
        assert_eq!(of(LIST_BYTES_MAX), ["near-limit"]);
        assert_eq!(of(LIST_BYTES_MAX + 1), ["too-large"]);
    }

    #[test]
    fn validity_is_judged_at_both_ends() {
        let spec =
            CertificateSpec { common_name: "pub", not_before_s: 1_700_000_000, key_bits: 1024 };
        let identity = Identity::self_signed(&spec, &mut KeySource::bank(1));
        let (from, to) = identity.certificate.validity_s();
        let [from, to] = [from, to].map(|end| end.unwrap() as u64);
        let near = EXPIRY_NEAR_S as u64;
        let of = |now_s| codes(&of_certificate(&identity.certificate, now_s));
        assert_eq!(of(from), ["weak-key"]);
        assert_eq!(of(from - 1), ["weak-key", "not-yet-valid"]);
        assert_eq!(of(to - near), ["weak-key"]);
        assert_eq!(of(to - near + 1), ["weak-key", "expires-soon"]);
        assert_eq!(of(to), ["weak-key", "expires-soon"]);
        assert_eq!(of(to + 1), ["weak-key", "expired"]);
    }

    fn identity(source: &mut KeySource, common_name: &str) -> Identity {
        let spec = CertificateSpec { common_name, not_before_s: 1_700_000_000, key_bits: 2048 };
        Identity::self_signed(&spec, source)
    }

    /// Findings of an ITL by the first identity with these records.
    fn of_records(by: &Identity, records: &[(u16, &Identity)]) -> Vec<&'static str> {
        let entry = |(role, identity): &(u16, &Identity)| crate::toolbox::ListEntry {
            role: *role,
            certificate: identity.certificate.clone(),
            dns_name: None,
            address: None,
        };
        let entries: Vec<_> = records.iter().map(entry).collect();
        let spec = crate::toolbox::ListSpec {
            is_ctl: false,
            file_name: "ITLFile.tlv",
            signer_version: None,
            entries: &entries,
        };
        let signer = crate::toolbox::Signer {
            identity: by.clone(),
            style: crate::toolbox::Style::Cucm,
            digest: 3,
            timestamp: 0,
        };
        let bytes = crate::toolbox::make_list(&spec, &signer).unwrap();
        let list = List::parse(&bytes).unwrap();
        let (verdict, _) = crate::listing::check_list(&list);
        codes(&of_list(&list, Some(verdict), 1_700_000_001))
    }

    #[test]
    fn signers_and_roles_that_lead_to_trouble_are_named() {
        let mut source = KeySource::bank(1);
        let (one, two) = (identity(&mut source, "one"), identity(&mut source, "two"));
        let three = identity(&mut source, "three");
        assert!(of_records(&one, &[(0, &one), (3, &one), (21, &one)]).is_empty());
        assert_eq!(of_records(&one, &[(0, &one), (3, &one)]), ["no-tvs"]);
        assert_eq!(of_records(&one, &[(0, &one), (21, &one)]), ["no-file-signer"]);
        assert_eq!(of_records(&one, &[(0, &one), (4, &one)]), ["blank"]);
        let no_sast = ["no-sast-is-signer"];
        assert_eq!(of_records(&one, &[(3, &one), (21, &one)]), no_sast);
        assert_eq!(of_records(&one, &[(0, &two), (3, &one), (21, &one)]), no_sast);
        let twice = [(0, &one), (0, &one), (2, &one), (21, &one)];
        assert_eq!(of_records(&one, &twice), ["duplicate-signer"]);
        let many = [(0, &one), (0, &two), (0, &three), (2, &one), (21, &one)];
        assert_eq!(of_records(&one, &many), ["many-sast"]);
    }

    #[test]
    fn a_record_that_contradicts_its_certificate_is_named() {
        let certificate = identity(&mut KeySource::bank(1), "one").certificate;
        let record = Record {
            subject: certificate.subject(),
            issuer: certificate.issuer(),
            serial: certificate.serial(),
            public_key: certificate.public_key(),
            certificate: Some(certificate.der()),
            ..Record::default()
        };
        let count = |record: &Record<'_>| {
            let mut found = Vec::new();
            differences("record 1", record, &certificate, &mut found);
            found.len()
        };
        assert_eq!(count(&record), 0);
        assert_eq!(count(&Record { subject: "CN=x", ..record }), 1);
        assert_eq!(count(&Record { issuer: "CN=x", ..record }), 1);
        assert_eq!(count(&Record { serial: &[1], ..record }), 1);
        assert_eq!(count(&Record { public_key: &[1], ..record }), 1);
    }

    #[test]
    fn a_header_that_names_another_signer_is_pointed_out() {
        let mut source = KeySource::bank(1);
        let (one, two) = (identity(&mut source, "one"), identity(&mut source, "two"));
        let signer = crate::toolbox::Signer {
            identity: one.clone(),
            style: crate::toolbox::Style::Compact,
            digest: 1,
            timestamp: 0,
        };
        let bytes = crate::toolbox::sign_file(b"x", "x.sgn", &signer).unwrap();
        let file = SignedFile::parse(&bytes).unwrap();
        let of = |signer| codes(&of_file(&file, 1_700_000_001, signer));
        assert_eq!(of(None), ["weak-digest"]);
        assert_eq!(of(Some(&one.certificate)), ["weak-digest"]);
        assert_eq!(of(Some(&two.certificate)), ["weak-digest", "other-signer"]);
    }
}
