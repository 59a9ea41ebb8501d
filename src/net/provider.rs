//! Which cryptography TLS has.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

use crate::crypto::Provider;

/// The cryptography of TLS by the provider of this program.
pub fn tls_provider() -> Arc<CryptoProvider> {
    Arc::new(match Provider::chosen() {
        Provider::Ring => rustls::crypto::ring::default_provider(),
        #[cfg(feature = "aws-lc-rs")]
        Provider::AwsLc => rustls::crypto::aws_lc_rs::default_provider(),
    })
}
