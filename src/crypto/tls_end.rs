use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::ext::pkix::KeyUsages;

/// The end of a TLS connection that shows a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsEnd {
    /// It proves who a server is.
    Server,
    /// It proves who a client is.
    Client,
}

/// TLS Web Server Authentication.
const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
/// TLS Web Client Authentication.
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

impl TlsEnd {
    /// Both ends.
    pub const BOTH: [TlsEnd; 2] = [TlsEnd::Server, TlsEnd::Client];

    /// The name in scenario files.
    pub const fn name(self) -> &'static str {
        match self {
            TlsEnd::Server => "server",
            TlsEnd::Client => "client",
        }
    }

    /// This end only, or both if it is `None`.
    pub const fn only(end: Option<TlsEnd>) -> &'static [TlsEnd] {
        match end {
            None => &TlsEnd::BOTH,
            Some(TlsEnd::Server) => &[TlsEnd::Server],
            Some(TlsEnd::Client) => &[TlsEnd::Client],
        }
    }

    pub(super) const fn extended(self) -> ObjectIdentifier {
        match self {
            TlsEnd::Server => SERVER_AUTH,
            TlsEnd::Client => CLIENT_AUTH,
        }
    }

    /// One of these is enough, as OpenSSL has it: a server may sign or decrypt.
    pub(super) fn uses(self) -> &'static [KeyUsages] {
        match self {
            TlsEnd::Server => {
                &[KeyUsages::DigitalSignature, KeyUsages::KeyEncipherment, KeyUsages::KeyAgreement]
            }
            TlsEnd::Client => &[KeyUsages::DigitalSignature, KeyUsages::KeyAgreement],
        }
    }
}
