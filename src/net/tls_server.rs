//! The TLS side of servers: TLS 1.2 and 1.3 without client certificates and without resumption.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};

use crate::crypto::Identity;

/// A configuration that presents `identity`.
///
/// No session is kept and no ticket is sent: a resumed session would skip the certificate check
/// of the phone, and with it the trust decision.
pub fn server_config(identity: &Identity) -> Result<Arc<ServerConfig>, rustls::Error> {
    let certificate = CertificateDer::from(identity.certificate.der().to_vec());
    let key = PrivatePkcs8KeyDer::from(identity.key.pkcs8().to_vec());
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key))?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{CertificateSpec, KeySource};

    #[test]
    fn every_identity_of_a_cluster_can_be_presented_without_resumption() {
        let spec =
            CertificateSpec { common_name: "pub", not_before_s: 1_700_000_000, key_bits: 2048 };
        let identity = Identity::self_signed(&spec, &mut KeySource::bank(1));
        let config = server_config(&identity).unwrap();
        assert_eq!(config.send_tls13_tickets, 0);
        assert!(!config.ticketer.enabled());
        assert!(!config.session_storage.can_cache());
    }
}
