//! Makes lists, signed and encrypted files, and the stub of an encrypted one.

use std::net::Ipv4Addr;

use crate::crypto::envelope::{ContentKey, content_digest, wrap_key};
use crate::crypto::md5;
use crate::crypto::{Certificate, Identity, KeySource};
use crate::listing::hex;
use crate::wire::{
    Encryption, HeaderOrder, HeaderSpec, ROLE_CAPF, ROLE_TVS, UnsignedHeader, put_element, put_text,
};
use crate::wire::{StubError, stub_xml};

/// Whose files are imitated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// CUCM: names `CN=..;OU=..`, subject, serial, issuer; TVS and CAPF records of an ITL carry a
    /// hash.
    Cucm,
    /// The free tools that serve phones: names `CN=..,O=..`, subject, issuer, serial; every record
    /// carries its certificate.
    Compact,
}

/// Key, certificate and manner of a signer.
#[derive(Debug)]
pub struct Signer {
    /// The certificate and its private key.
    pub identity: Identity,
    /// Whose files are imitated.
    pub style: Style,
    /// Digest id: 1 SHA-1, 3 SHA-512.
    pub digest: u8,
    /// Time in the header, Unix seconds.
    pub timestamp: u32,
}

/// Why a file cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MakeError {
    /// The certificate is not that of the key.
    #[error("the certificate of the signer does not belong to the key")]
    OtherKey,
    /// No key wrap is defined for EC keys.
    #[error("the device certificate has no RSA key: no key wrap is defined for it")]
    NoKeyWrap,
    /// The digest id is not 1 or 3.
    #[error("the digest is not SHA-1 or SHA-512")]
    Digest,
    /// The header names modulus sizes of 512, 1024, 2048 and 4096 bits only.
    #[error("a signer's key has 1024, 2048 or 4096 bits, not {0}")]
    KeySize(u32),
    /// A record or header would be longer than its length field.
    #[error("a {0} does not fit into 65535 bytes")]
    TooLong(&'static str),
    /// The stub cannot be made of this configuration.
    #[error(transparent)]
    Stub(#[from] StubError),
}

/// One record of a list.
#[derive(Clone, Debug)]
pub struct ListEntry {
    /// Role.
    pub role: u16,
    /// Certificate.
    pub certificate: Certificate,
    /// Tag 2; blank if `None`.
    pub dns_name: Option<String>,
    /// Tag 10; records of a CTL.
    pub address: Option<Ipv4Addr>,
}

/// What a list is made of.
#[derive(Debug)]
pub struct ListSpec<'a> {
    /// Whether it is a CTL.
    pub is_ctl: bool,
    /// Name in the header; `ITLFile.tlv` or `CTLFile.tlv` as a rule.
    pub file_name: &'a str,
    /// Signer version; `None` leaves it out.
    pub signer_version: Option<(u8, u8)>,
    /// The records in order.
    pub entries: &'a [ListEntry],
}

/// Makes a CTL or ITL.
///
/// # Errors
/// If certificate and key of the signer do not belong together, or something is too long.
pub fn make_list(spec: &ListSpec<'_>, signer: &Signer) -> Result<Vec<u8>, MakeError> {
    let mut records = Vec::new();
    for entry in spec.entries {
        put_record(entry, spec.is_ctl, signer.style, &mut records)?;
    }
    let header = signer.header((1, 2), spec.signer_version, spec.file_name, None)?;
    signer.sign(&header, &records)
}

/// Signs a file: header, then the content unchanged.
///
/// # Errors
/// As [`make_list`].
pub fn sign_file(content: &[u8], file_name: &str, signer: &Signer) -> Result<Vec<u8>, MakeError> {
    let header = signer.header((1, 0), None, file_name, None)?;
    signer.sign(&header, content)
}

/// Encrypts a configuration for the device with this certificate and signs it.
///
/// # Errors
/// As [`make_list`], and for devices with EC keys.
pub fn encrypt_file(
    content: &[u8],
    file_name: &str,
    device: &Certificate,
    signer: &Signer,
    source: &mut KeySource,
) -> Result<Vec<u8>, MakeError> {
    let content_key = ContentKey::random(source);
    let wrapped =
        wrap_key(device.public_key(), &content_key.key, source).ok_or(MakeError::NoKeyWrap)?;
    let (cipher, padding) = content_key.encrypt(content);
    let digest = content_digest(signer.digest, content).ok_or(MakeError::Digest)?;
    let encryption =
        Encryption::new(&content_key.iv, padding, &wrapped).with_digest(signer.digest, &digest);
    let header = signer.header((2, 0), None, file_name, Some(&encryption))?;
    signer.sign(&header, &cipher)
}

/// Makes the signed stub that announces an encrypted configuration.
///
/// # Errors
/// As [`sign_file`], and if the configuration is no XML.
pub fn make_stub(
    content: &[u8],
    file_name: &str,
    device: &Certificate,
    signer: &Signer,
) -> Result<Vec<u8>, MakeError> {
    sign_file(stub_xml(content, &hex(&md5(device.der())))?.as_bytes(), file_name, signer)
}

impl Signer {
    fn header(
        &self,
        version: (u8, u8),
        signer_version: Option<(u8, u8)>,
        file_name: &str,
        encryption: Option<&Encryption<'_>>,
    ) -> Result<UnsignedHeader, MakeError> {
        const NAME_LENGTH_MAX: usize = 16_384;
        if self.identity.certificate.public_key() != self.identity.key.public_key() {
            return Err(MakeError::OtherKey);
        }
        let bits = u32::from(self.identity.key.signature_length()) * 8;
        if ![1024, 2048, 4096].contains(&bits) {
            return Err(MakeError::KeySize(bits));
        }
        let (subject, issuer) = names(&self.identity.certificate, self.style);
        if [subject, issuer, file_name].iter().any(|n| n.len() > NAME_LENGTH_MAX) {
            return Err(MakeError::TooLong("header"));
        }
        let spec = HeaderSpec {
            order: match self.style {
                Style::Cucm => HeaderOrder::Cucm,
                Style::Compact => HeaderOrder::IssuerFirst,
            },
            version,
            signer_version,
            signer_name: subject,
            serial: self.identity.certificate.serial(),
            issuer,
            digest: self.digest,
            signature_length: self.identity.key.signature_length(),
            file_name,
            timestamp: self.timestamp,
        };
        Ok(match encryption {
            Some(encryption) => spec.encode_encrypted(encryption),
            None => spec.encode(),
        })
    }

    fn sign(&self, header: &UnsignedHeader, body: &[u8]) -> Result<Vec<u8>, MakeError> {
        let signature = self.identity.key.sign(self.digest, &header.to_be_signed(body));
        let signature = signature.map_err(|_| MakeError::Digest)?;
        Ok([header.with_signature(&signature).as_slice(), body].concat())
    }
}

/// Subject and issuer of a certificate in one style.
fn names(certificate: &Certificate, style: Style) -> (&str, &str) {
    match style {
        Style::Cucm => (certificate.subject(), certificate.issuer()),
        Style::Compact => (certificate.subject_in_order(), certificate.issuer_in_order()),
    }
}

fn put_record(
    entry: &ListEntry,
    is_ctl: bool,
    style: Style,
    out: &mut Vec<u8>,
) -> Result<(), MakeError> {
    let certificate = &entry.certificate;
    // Everything but the certificate stays far below the rest of the length field.
    if certificate.der().len() * 2 + entry.dns_name.as_ref().map_or(0, String::len) > 0xF000 {
        return Err(MakeError::TooLong("record"));
    }
    let start = out.len();
    put_element(out, 1, &[0, 0]);
    match style {
        Style::Cucm => put_cucm_record(entry, is_ctl, out),
        Style::Compact => put_compact_record(entry, out),
    }
    let length = u16::try_from(out.len() - start).map_err(|_| MakeError::TooLong("record"))?;
    out[start + 3..start + 5].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// Tags 2 3 4 5 6 7 8, then 9 (10 in a CTL), or 11 12.
fn put_cucm_record(entry: &ListEntry, is_ctl: bool, out: &mut Vec<u8>) {
    let certificate = &entry.certificate;
    let (subject, issuer) = names(certificate, Style::Cucm);
    put_text(out, 2, entry.dns_name.as_deref().unwrap_or(" "));
    put_text(out, 3, subject);
    put_element(out, 4, &entry.role.to_be_bytes());
    put_text(out, 5, issuer);
    put_element(out, 6, certificate.serial());
    put_element(out, 7, certificate.public_key());
    put_element(out, 8, certificate.signature());
    if !is_ctl && [ROLE_TVS, ROLE_CAPF].contains(&entry.role) {
        put_element(out, 11, &certificate.sha1());
        put_element(out, 12, &[1]);
    } else {
        put_element(out, 9, certificate.der());
    }
    if let Some(address) = entry.address {
        put_element(out, 10, &address.octets());
    }
}

/// Tags 3 5 6 4 7 8 9.
fn put_compact_record(entry: &ListEntry, out: &mut Vec<u8>) {
    let certificate = &entry.certificate;
    let (subject, issuer) = names(certificate, Style::Compact);
    put_text(out, 3, subject);
    put_text(out, 5, issuer);
    put_element(out, 6, certificate.serial());
    put_element(out, 4, &entry.role.to_be_bytes());
    put_element(out, 7, certificate.public_key());
    put_element(out, 8, certificate.signature());
    put_element(out, 9, certificate.der());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::CertificateSpec;
    use crate::listing::{List, Verdict, check_file, check_list, open_envelope};
    use crate::wire::{ROLE_SAST, SignedFile};

    fn identity(seed: u64, name: &str) -> Identity {
        let spec =
            CertificateSpec { common_name: name, not_before_s: 1_700_000_000, key_bits: 2048 };
        Identity::self_signed(&spec, &mut KeySource::bank(seed))
    }

    fn signer(identity: &Identity, style: Style, digest: u8) -> Signer {
        Signer { identity: identity.clone(), style, digest, timestamp: 9 }
    }

    fn entries(identity: &Identity) -> Vec<ListEntry> {
        let entry = |role| ListEntry {
            role,
            certificate: identity.certificate.clone(),
            dns_name: Some("pub".into()),
            address: Some(Ipv4Addr::new(10, 0, 0, 1)),
        };
        vec![entry(ROLE_SAST), entry(ROLE_TVS), entry(ROLE_CAPF)]
    }

    #[test]
    fn lists_of_both_styles_and_digests_are_valid() {
        let identity = identity(1, "pub.lab.test");
        let entries = entries(&identity);
        for (style, digest, is_ctl) in [
            (Style::Cucm, 1, false),
            (Style::Cucm, 3, true),
            (Style::Compact, 3, false),
            (Style::Compact, 1, true),
        ] {
            let spec = ListSpec {
                is_ctl,
                file_name: "ITLFile.tlv",
                signer_version: Some((1, 1)),
                entries: &entries,
            };
            let bytes = make_list(&spec, &signer(&identity, style, digest)).unwrap();
            let list = List::parse(&bytes).unwrap();
            assert_eq!(check_list(&list), (Verdict::Valid, Some(0)));
            let hashed = list.records.iter().filter(|r| r.certificate_hash.is_some()).count();
            assert_eq!(hashed, if style == Style::Cucm && !is_ctl { 2 } else { 0 });
            let addressed = list.records.iter().filter(|r| r.ip_address.is_some()).count();
            assert_eq!(addressed, if style == Style::Cucm { 3 } else { 0 });
        }
    }

    #[test]
    fn an_encrypted_file_opens_for_its_device() {
        let (tftp, device) = (identity(1, "tftp"), identity(2, "SEP001122334455"));
        let mut source = KeySource::bank(3);
        let signer = signer(&tftp, Style::Compact, 1);
        let name = "SEP001122334455.cnf.xml.enc.sgn";
        let bytes =
            encrypt_file(b"<device/>", name, &device.certificate, &signer, &mut source).unwrap();
        let file = SignedFile::parse(&bytes).unwrap();
        let public_key = tftp.certificate.public_key();
        assert_eq!(check_file(&file, public_key), Verdict::Valid);
        let (verdict, content) = open_envelope(&file, &device.key);
        assert_eq!((verdict, content.as_deref()), (Verdict::Valid, Some(&b"<device/>"[..])));
    }

    #[test]
    fn a_signer_needs_its_own_certificate_and_a_known_digest() {
        let (one, other) = (identity(1, "a"), identity(2, "b"));
        let mixed = Identity { certificate: one.certificate.clone(), key: other.key.clone() };
        let bad = sign_file(b"x", "x.sgn", &signer(&mixed, Style::Cucm, 1));
        // Both identities may come from the same bank key; then they do belong together.
        if one.key.public_key() != other.key.public_key() {
            assert_eq!(bad, Err(MakeError::OtherKey));
        }
        let bad = sign_file(b"x", "x.sgn", &signer(&one, Style::Cucm, 2));
        assert_eq!(bad, Err(MakeError::Digest));
        let good = sign_file(b"x", "x.sgn", &signer(&one, Style::Cucm, 1)).unwrap();
        let file = SignedFile::parse(&good).unwrap();
        assert_eq!(check_file(&file, one.certificate.public_key()), Verdict::Valid);
        assert_eq!(file.body, b"x");
    }
}
