//! PKCS#12 stores (RFC 7292), as OpenSSL, Java, `GnuTLS`, NSS and Windows write them.

use super::algorithms::named;
use super::lock::{LockFault, Opened, Password, mac_fits, open, open_key};
use crate::wire::ber::{Ber, BerReader, tag};

const DATA: &str = "1.2.840.113549.1.7.1";
const ENCRYPTED_DATA: &str = "1.2.840.113549.1.7.6";
const X509_CERTIFICATE: &str = "1.2.840.113549.1.9.22.1";
/// Bags may hold bags so deep; chosen.
const DEPTH_MAX: usize = 8;

/// What a store holds.
pub(super) enum Held {
    /// A private key as PKCS#8 DER, or why it did not open.
    Key(Opened),
    /// A certificate as DER.
    Certificate(Vec<u8>),
    /// Something that is of no use here.
    Other(&'static str),
    /// A part that cannot be read.
    Unreadable(LockFault),
}

/// Everything that the store holds, in its order.
pub(super) fn read(pfx: &Ber<'_>, password: &Password<'_>) -> Result<Vec<Held>, LockFault> {
    let mut parts = pfx.inside();
    parts.need(tag::INTEGER, "a version")?;
    let mut safe = parts.need(tag::SEQUENCE, "the content")?.inside();
    let kind = safe.next("a type")?.oid()?;
    if kind != DATA {
        return Err(LockFault::Unsupported(named(&kind)));
    }
    let content = explicit(&mut safe)?.octets()?;
    if let Some(mac) = parts.take_if(tag::SEQUENCE)?
        && !mac_fits(&mac, &content, password)?
    {
        return Err(match password.fault() {
            LockFault::NoPassword => LockFault::NoMacPassword,
            fault => fault,
        });
    }
    let (mut held, mut contents) = (Vec::new(), Ber::read(&content)?.0.inside());
    while !contents.is_empty() {
        let part = contents.next("a part of the store")?;
        read_part(&part, password, &mut held)
            .unwrap_or_else(|fault| held.push(Held::Unreadable(fault)));
    }
    Ok(held)
}

type Outcome = Result<(), LockFault>;

/// The value inside an explicit `[0]`.
fn explicit<'a>(parts: &mut BerReader<'a>) -> Result<Ber<'a>, LockFault> {
    Ok(parts.need(tag::CONTEXT_0_OF, "a content")?.inside().next("a content")?)
}

/// One `ContentInfo`: bags, in the clear or encrypted.
fn read_part(part: &Ber<'_>, password: &Password<'_>, held: &mut Vec<Held>) -> Outcome {
    let mut inside = part.inside();
    let kind = inside.next("a type")?.oid()?;
    let bags = match &*kind {
        DATA => explicit(&mut inside)?.octets()?.into_owned(),
        ENCRYPTED_DATA => {
            let mut encrypted = explicit(&mut inside)?.inside();
            encrypted.need(tag::INTEGER, "a version")?;
            let mut info = encrypted.need(tag::SEQUENCE, "an encrypted content")?.inside();
            info.need(tag::OID, "a type")?;
            let algorithm = info.need(tag::SEQUENCE, "an algorithm")?;
            open(&algorithm, &info.next("the content")?.octets()?, password)?
        }
        _ => return Err(LockFault::Unsupported(named(&kind))),
    };
    read_bags(&Ber::read(&bags)?.0, password, held, 0)
}

fn read_bags(
    bags: &Ber<'_>,
    password: &Password<'_>,
    held: &mut Vec<Held>,
    depth: usize,
) -> Outcome {
    let mut bags = bags.inside();
    while !bags.is_empty() {
        let mut bag = bags.next("a bag")?.inside();
        let kind = bag.next("a kind of bag")?.oid()?;
        let value = explicit(&mut bag)?;
        match kind.strip_prefix("1.2.840.113549.1.12.10.1.") {
            Some("1") => held.push(Held::Key(Ok(value.whole.to_vec()))),
            Some("2") => held.push(Held::Key(open_key(&value, password))),
            Some("3") => held.push(read_certificate(&value)?),
            Some("4") => held.push(Held::Other("a revocation list (CRL)")),
            Some("5") => held.push(Held::Other("a secret")),
            Some("6") if depth < DEPTH_MAX => read_bags(&value, password, held, depth + 1)?,
            _ => held.push(Held::Other("a bag of an unknown kind")),
        }
    }
    Ok(())
}

fn read_certificate(bag: &Ber<'_>) -> Result<Held, LockFault> {
    let mut parts = bag.inside();
    let kind = parts.next("a kind of certificate")?.oid()?;
    let der = explicit(&mut parts)?.octets()?;
    Ok(if kind == X509_CERTIFICATE {
        Held::Certificate(der.into_owned())
    } else {
        Held::Other("a certificate that is not X.509")
    })
}
