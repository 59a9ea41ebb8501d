//! TFTP packets, configurations, names, certificates and keys.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resetstorm::crypto::{Certificate, KeyKind, KeyStore};
use resetstorm::wire::{Config, name_key, tftp};

fuzz_target!(|bytes: &[u8]| {
    let _ = tftp::Packet::parse(bytes);
    let _ = Config::parse(bytes);
    let _ = Certificate::from_der(bytes);
    let _ = KeyKind::of(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = name_key(text);
        let _ = KeyStore::from_pem(text);
    }
});
