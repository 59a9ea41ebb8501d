use crate::crypto::{Certificate, KeyStore};

/// Stand-ins of the certificates that the manufacturer installs, with keys of ours.
const PEM: &str = include_str!("manufacturing.pem");

/// The certificates that every cluster trusts from its installation on, because phones come with
/// certificates that they have signed (CERT-07, CERT-08).
///
/// # Panics
/// Never: they are part of the program.
pub(super) fn manufacturing_certificates() -> impl Iterator<Item = Certificate> {
    const END: &str = "-----END CERTIFICATE-----";
    let blocks = PEM.split_inclusive(END).filter(|block| block.ends_with(END));
    blocks.map(|block| {
        let store = KeyStore::from_pem(block);
        let certificate = store.and_then(|store| store.first_certificate().cloned());
        certificate.expect("they are certificates")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::date_text;

    #[test]
    fn the_seven_have_their_names_and_last_until_2029() {
        let all: Vec<Certificate> = manufacturing_certificates().collect();
        let names: Vec<&str> = all.iter().map(Certificate::common_name).collect();
        let expected = [
            "CAP-RTP-001",
            "CAP-RTP-002",
            "Cisco Root CA 2048",
            "Cisco Root CA M2",
            "ACT2 SUDI CA",
            "Cisco Manufacturing CA",
            "Cisco Manufacturing CA SHA2",
        ];
        assert_eq!(names, expected);
        for certificate in &all {
            let end = date_text(certificate.validity_s().1.unwrap());
            assert!(end.contains("2029"), "{end}");
            assert!(all.iter().any(|issuer| certificate.was_issued_by(issuer)));
        }
    }
}
