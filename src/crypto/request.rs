use rsa::pkcs1v15;
use x509_cert::Certificate as X509;
use x509_cert::builder::Builder;
use x509_cert::der::{Decode, Encode, pem};
use x509_cert::request::RequestBuilder;

use super::certificate::{Certificate, rsa_uses};
use super::keys::{CertificateSigner, SigningKey};

/// A request (PKCS#10, PEM) for a certificate with the subject of `own` and this key.
///
/// # Panics
/// Never: the subject was read before, and an RSA key signs.
pub fn certificate_request(own: &Certificate, key: &SigningKey) -> String {
    let known = X509::from_der(own.der()).expect("it was read before");
    let subject = known.tbs_certificate().subject().clone();
    let mut builder = RequestBuilder::new(subject).expect("a request can be begun");
    builder.add_extension(&rsa_uses()).expect("the uses of a key can be written");
    let signer = CertificateSigner(key);
    let request = builder.build::<_, pkcs1v15::Signature>(&signer).expect("an RSA key signs");
    let der = request.to_der().expect("a request can be written");
    pem::encode_string("CERTIFICATE REQUEST", pem::LineEnding::LF, &der)
        .expect("a request is far shorter than a PEM text may be")
}
