//! Names of algorithms, for messages and to choose by.

use super::cipher::{CIPHERS, SCHEMES};
use super::hash::HASHES;

/// What a public key is for.
pub(super) fn key_algorithm(oid: &str) -> &'static str {
    match oid {
        "1.2.840.113549.1.1.1" => "RSA",
        "1.2.840.113549.1.1.7" => "RSA-OAEP",
        "1.2.840.113549.1.1.10" => "RSA-PSS",
        "1.2.840.10045.2.1" => "EC",
        "1.2.840.10040.4.1" | "1.3.14.3.2.12" => "DSA",
        "1.2.840.113549.1.3.1" | "1.2.840.10046.2.1" => "DH",
        "1.3.101.110" => "X25519",
        "1.3.101.111" => "X448",
        "1.3.101.112" => "Ed25519",
        "1.3.101.113" => "Ed448",
        _ => "unknown",
    }
}

/// Algorithms of key stores that are known by name, beside [`HASHES`], [`CIPHERS`] and [`SCHEMES`].
const NAMES: [(&str, &str); 40] = [
    (oid::PBES2, "PBES2"),
    (oid::PBKDF2, "PBKDF2"),
    (oid::PBMAC1, "PBMAC1"),
    (oid::SCRYPT, "scrypt"),
    ("1.2.840.113549.1.5.1", "pbeWithMD2AndDES-CBC"),
    ("1.2.840.113549.1.5.4", "pbeWithMD2AndRC2-CBC"),
    ("1.2.840.113549.3.2", "RC2-CBC"),
    ("1.2.840.113549.3.4", "RC4"),
    ("1.2.840.113549.3.9", "RC5-CBC"),
    ("1.2.840.113533.7.66.10", "CAST5-CBC"),
    ("1.3.6.1.4.1.188.7.1.1.2", "IDEA-CBC"),
    ("1.3.6.1.4.1.3029.1.2", "Blowfish-CBC"),
    ("2.16.840.1.101.3.4.1.3", "AES-128-OFB"),
    ("2.16.840.1.101.3.4.1.4", "AES-128-CFB"),
    ("2.16.840.1.101.3.4.1.6", "AES-128-GCM"),
    ("2.16.840.1.101.3.4.1.26", "AES-192-GCM"),
    ("2.16.840.1.101.3.4.1.43", "AES-256-OFB"),
    ("2.16.840.1.101.3.4.1.44", "AES-256-CFB"),
    ("2.16.840.1.101.3.4.1.46", "AES-256-GCM"),
    ("1.2.392.200011.61.1.1.1.2", "Camellia-128-CBC"),
    ("1.2.392.200011.61.1.1.1.3", "Camellia-192-CBC"),
    ("1.2.392.200011.61.1.1.1.4", "Camellia-256-CBC"),
    ("1.2.410.200046.1.1.2", "ARIA-128-CBC"),
    ("1.2.410.200046.1.1.7", "ARIA-192-CBC"),
    ("1.2.410.200046.1.1.12", "ARIA-256-CBC"),
    ("1.2.410.200004.1.4", "SEED-CBC"),
    ("1.2.156.10197.1.104.2", "SM4-CBC"),
    ("1.2.643.2.2.21", "GOST 28147-89"),
    ("1.2.643.7.1.1.2.2", "GOST R 34.11-2012 (256 bits)"),
    ("1.2.643.7.1.1.2.3", "GOST R 34.11-2012 (512 bits)"),
    ("1.2.156.10197.1.401", "SM3"),
    ("1.3.36.3.2.1", "RIPEMD-160"),
    ("1.2.840.113549.2.2", "MD2"),
    ("1.2.840.113549.2.4", "MD4"),
    ("2.16.840.1.101.3.4.2.7", "SHA3-224"),
    ("2.16.840.1.101.3.4.2.8", "SHA3-256"),
    ("2.16.840.1.101.3.4.2.9", "SHA3-384"),
    ("2.16.840.1.101.3.4.2.10", "SHA3-512"),
    ("1.2.840.113549.1.7.2", "signed data (public-key integrity)"),
    ("1.2.840.113549.1.7.3", "enveloped data (public-key encryption)"),
];

/// An algorithm as a message names it: by its name, if it has one, and its OID.
pub(super) fn named(oid: &str) -> String {
    let hashes = HASHES.iter().map(|hash| (hash.oid, hash.name));
    let ciphers = CIPHERS.iter().map(|cipher| (cipher.0, cipher.1));
    let schemes = SCHEMES.iter().map(|scheme| (scheme.0, scheme.1));
    let mut known = NAMES.into_iter().chain(hashes).chain(ciphers).chain(schemes);
    match known.find(|known| known.0 == oid) {
        Some((_, name)) => format!("{name} ({oid})"),
        None => format!("algorithm {oid}"),
    }
}

/// Object identifiers that are chosen by.
pub(super) mod oid {
    pub const PBES2: &str = "1.2.840.113549.1.5.13";
    pub const PBKDF2: &str = "1.2.840.113549.1.5.12";
    pub const PBMAC1: &str = "1.2.840.113549.1.5.14";
    pub const SCRYPT: &str = "1.3.6.1.4.1.11591.4.11";
}
