//! What a BER value is, told from its shape: labels of PEM blocks and endings of file names lie.

use crate::wire::ber::{Ber, tag};

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// X.509 certificate.
    Certificate,
    /// PKCS#7 or CMS signed data, the usual vessel of chains.
    SignedData,
    /// PKCS#12 store.
    Pkcs12,
    /// PKCS#8 private key.
    Pkcs8,
    /// PKCS#8 private key, encrypted.
    EncryptedPkcs8,
    /// PKCS#1 RSA private key.
    RsaKey,
    /// A private key of another kind, in the form of its own.
    OtherKey(&'static str),
    /// Something else that has a name.
    Other(&'static str),
    /// Nobody knows.
    Unknown,
}

impl Shape {
    /// The shape of a value.
    pub(super) fn of(value: &Ber<'_>) -> Shape {
        use tag::{BIT_STRING, INTEGER, OCTET_STRING, OID, SEQUENCE};
        let tags = tags_in(value);
        if value.tag != SEQUENCE {
            return Shape::Unknown;
        }
        match tags[..] {
            [SEQUENCE, SEQUENCE, BIT_STRING] => Shape::of_signed(value),
            [OID] | [OID, tag::CONTEXT_0_OF] => Shape::of_content(value),
            [INTEGER, SEQUENCE, OCTET_STRING, ..] => Shape::Pkcs8,
            [INTEGER, SEQUENCE, ..] => Shape::Pkcs12,
            [SEQUENCE, OCTET_STRING | 0x24] => Shape::EncryptedPkcs8,
            [SEQUENCE, BIT_STRING] => Shape::Other("a public key"),
            [INTEGER, INTEGER] => Shape::Other("an RSA public key or DH parameters"),
            [INTEGER, INTEGER, INTEGER] => Shape::Other("DSA parameters"),
            [INTEGER, OCTET_STRING, ..] => Shape::OtherKey("EC"),
            [INTEGER, INTEGER, INTEGER, INTEGER, INTEGER, INTEGER] => Shape::OtherKey("DSA"),
            [INTEGER, INTEGER, INTEGER, INTEGER, ..] if tags.len() >= 9 => Shape::RsaKey,
            _ => Shape::Unknown,
        }
    }

    /// Certificate, request or revocation list: by what is signed.
    fn of_signed(value: &Ber<'_>) -> Shape {
        use tag::{CONTEXT_0_OF, GENERALIZED_TIME, INTEGER, SEQUENCE, UTC_TIME};
        let Ok(signed) = value.inside().next("what is signed") else { return Shape::Unknown };
        match tags_in(&signed)[..] {
            [INTEGER, SEQUENCE, SEQUENCE, UTC_TIME | GENERALIZED_TIME, ..]
            | [SEQUENCE, SEQUENCE, UTC_TIME | GENERALIZED_TIME, ..] => {
                Shape::Other("a revocation list (CRL)")
            }
            [INTEGER, SEQUENCE, SEQUENCE] | [INTEGER, SEQUENCE, SEQUENCE, CONTEXT_0_OF] => {
                Shape::Other("a certificate request")
            }
            _ => Shape::Certificate,
        }
    }

    fn of_content(value: &Ber<'_>) -> Shape {
        let oid = value.inside().next("a type").and_then(|oid| oid.oid());
        match oid.as_deref() {
            Ok("1.2.840.113549.1.7.2") => Shape::SignedData,
            Ok("1.2.840.113549.1.7.3") => Shape::Other("PKCS7 enveloped data"),
            Ok("1.2.840.113549.1.7.6") => Shape::Other("PKCS7 encrypted data"),
            Ok(oid) if oid.starts_with("1.2.840.113549.1.7.") => Shape::Other("PKCS7 data"),
            Ok(_) => Shape::Other("EC parameters"),
            Err(_) => Shape::Unknown,
        }
    }
}

/// The tags of the first values inside.
fn tags_in(value: &Ber<'_>) -> Vec<u8> {
    let mut inside = value.inside();
    let tags = std::iter::from_fn(|| inside.next("a value").ok()).map(|value| value.tag);
    tags.take(10).collect()
}
