//! What a certificate may be used for, by its extensions (RFC 5280, 4.2.1).

use x509_cert::Certificate as X509;
use x509_cert::der::Decode;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages};

use super::{Certificate, TlsEnd};

/// Any use (RFC 5280, 4.2.1.12).
const ANY_USE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");

impl Certificate {
    /// Whether its extensions let it prove who this end is. What a certificate does not speak of is
    /// not restricted.
    pub fn is_for(&self, end: TlsEnd) -> bool {
        let Ok(known) = X509::from_der(self.der()) else { return true };
        let tbs = known.tbs_certificate();
        let extended = tbs.get_extension::<ExtendedKeyUsage>().ok().flatten();
        let is_named = extended
            .is_none_or(|(_, uses)| uses.0.contains(&end.extended()) || uses.0.contains(&ANY_USE));
        let plain = tbs.get_extension::<KeyUsage>().ok().flatten();
        let has_use = |(_, key): (bool, KeyUsage)| end.uses().iter().any(|&u| key.0.contains(u));
        is_named && plain.is_none_or(has_use)
    }

    /// Whether its extensions let it sign other certificates; old ones speak of nothing.
    pub fn is_for_signing(&self) -> bool {
        let Ok(known) = X509::from_der(self.der()) else { return true };
        let tbs = known.tbs_certificate();
        let basic = tbs.get_extension::<BasicConstraints>().ok().flatten();
        let plain = tbs.get_extension::<KeyUsage>().ok().flatten();
        basic.is_none_or(|(_, basic)| basic.ca)
            && plain.is_none_or(|(_, key)| key.0.contains(KeyUsages::KeyCertSign))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::PhoneId;
    use crate::crypto::{
        CertificateSpec, ChainFault, DeviceKey, DeviceSpec, FIVE_YEARS_S, Identity, KeySource,
        Manufacturer, issue_to_device, manufacturers, mic,
    };

    #[test]
    fn a_certificate_is_for_what_its_extensions_name() {
        let mut source = KeySource::bank(7);
        let spec = CertificateSpec { common_name: "sbc", not_before_s: 0, key_bits: 2048 };
        let mut of = |only| {
            let ends = TlsEnd::only(only);
            Identity::for_ends(&spec, FIVE_YEARS_S, None, ends, &mut source).certificate
        };
        let uses = |certificate: &Certificate| TlsEnd::BOTH.map(|end| certificate.is_for(end));
        assert_eq!(uses(&of(None)), [true, true]);
        assert_eq!(uses(&of(Some(TlsEnd::Server))), [true, false]);
        assert_eq!(uses(&of(Some(TlsEnd::Client))), [false, true]);
        assert!(of(Some(TlsEnd::Server)).is_for_signing());
    }

    #[test]
    fn phones_sign_no_certificates_and_their_makers_do() {
        let own = mic(PhoneId(7), 8841.into(), Manufacturer::ManufacturingCaSha2).0;
        assert!(own.is_for(TlsEnd::Client) && !own.is_for_signing());
        assert!(manufacturers().iter().all(|maker| maker.certificate.is_for_signing()));
    }

    #[test]
    fn a_phone_vouches_for_nobody_whatever_it_signs() {
        let (certificate, key) = mic(PhoneId(7), 8841.into(), Manufacturer::ManufacturingCaSha2);
        let DeviceKey::Rsa(signing) = &key else { panic!("phones have RSA keys") };
        let own = Identity { certificate, key: signing.clone() };
        let spec = DeviceSpec {
            common_name: "sbc",
            device_name: "sbc",
            public_key_info: &key.public_key_info(),
            serial: [1; 16],
            not_before_s: 0,
            valid_s: 2_000_000_000,
        };
        let signed = issue_to_device(&spec, &own).unwrap();
        assert!(signed.is_signed_by(&own.certificate));
        let anchors = [own.certificate.clone()];
        let judged = signed.judge_chain(&[], &anchors, 1_700_000_000);
        assert_eq!(judged, Err(ChainFault::NoCa(own.certificate)));
    }
}
