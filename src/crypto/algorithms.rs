//! Names of algorithms, for messages and to choose by.

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

/// Ciphers, digests and schemes of key stores that are used, or at least known by name.
const NAMES: [(&str, &str); 61] = [
    (oid::PBES2, "PBES2"),
    (oid::PBKDF2, "PBKDF2"),
    (oid::PBMAC1, "PBMAC1"),
    (oid::SCRYPT, "scrypt"),
    (oid::PBE_MD2_DES, "pbeWithMD2AndDES-CBC"),
    (oid::PBE_MD2_RC2, "pbeWithMD2AndRC2-CBC"),
    (oid::PBE_MD5_DES, "pbeWithMD5AndDES-CBC"),
    (oid::PBE_MD5_RC2, "pbeWithMD5AndRC2-CBC"),
    (oid::PBE_SHA1_DES, "pbeWithSHA1AndDES-CBC"),
    (oid::PBE_SHA1_RC2, "pbeWithSHA1AndRC2-CBC"),
    (oid::PBE_RC4_128, "pbeWithSHAAnd128BitRC4"),
    (oid::PBE_RC4_40, "pbeWithSHAAnd40BitRC4"),
    (oid::PBE_3DES, "pbeWithSHAAnd3-KeyTripleDES-CBC"),
    (oid::PBE_2DES, "pbeWithSHAAnd2-KeyTripleDES-CBC"),
    (oid::PBE_RC2_128, "pbeWithSHAAnd128BitRC2-CBC"),
    (oid::PBE_RC2_40, "pbeWithSHAAnd40BitRC2-CBC"),
    (oid::DES_CBC, "DES-CBC"),
    (oid::DES_EDE3_CBC, "DES-EDE3-CBC"),
    ("1.2.840.113549.3.2", "RC2-CBC"),
    ("1.2.840.113549.3.4", "RC4"),
    ("1.2.840.113549.3.9", "RC5-CBC"),
    ("1.2.840.113533.7.66.10", "CAST5-CBC"),
    ("1.3.6.1.4.1.188.7.1.1.2", "IDEA-CBC"),
    ("1.3.6.1.4.1.3029.1.2", "Blowfish-CBC"),
    (oid::AES_128_CBC, "AES-128-CBC"),
    (oid::AES_192_CBC, "AES-192-CBC"),
    (oid::AES_256_CBC, "AES-256-CBC"),
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
    (oid::MD5, "MD5"),
    (oid::SHA1, "SHA-1"),
    (oid::SHA224, "SHA-224"),
    (oid::SHA256, "SHA-256"),
    (oid::SHA384, "SHA-384"),
    (oid::SHA512, "SHA-512"),
    ("2.16.840.1.101.3.4.2.7", "SHA3-224"),
    ("2.16.840.1.101.3.4.2.8", "SHA3-256"),
    ("2.16.840.1.101.3.4.2.9", "SHA3-384"),
    ("2.16.840.1.101.3.4.2.10", "SHA3-512"),
    ("1.2.840.113549.1.7.2", "signed data (public-key integrity)"),
    ("1.2.840.113549.1.7.3", "enveloped data (public-key encryption)"),
];

/// An algorithm as a message names it: by its name, if it has one, and its OID.
pub(super) fn named(oid: &str) -> String {
    match NAMES.iter().find(|known| known.0 == oid) {
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
    pub const PBE_MD2_DES: &str = "1.2.840.113549.1.5.1";
    pub const PBE_MD5_DES: &str = "1.2.840.113549.1.5.3";
    pub const PBE_MD2_RC2: &str = "1.2.840.113549.1.5.4";
    pub const PBE_MD5_RC2: &str = "1.2.840.113549.1.5.6";
    pub const PBE_SHA1_DES: &str = "1.2.840.113549.1.5.10";
    pub const PBE_SHA1_RC2: &str = "1.2.840.113549.1.5.11";
    pub const PBE_RC4_128: &str = "1.2.840.113549.1.12.1.1";
    pub const PBE_RC4_40: &str = "1.2.840.113549.1.12.1.2";
    pub const PBE_3DES: &str = "1.2.840.113549.1.12.1.3";
    pub const PBE_2DES: &str = "1.2.840.113549.1.12.1.4";
    pub const PBE_RC2_128: &str = "1.2.840.113549.1.12.1.5";
    pub const PBE_RC2_40: &str = "1.2.840.113549.1.12.1.6";
    pub const DES_CBC: &str = "1.3.14.3.2.7";
    pub const DES_EDE3_CBC: &str = "1.2.840.113549.3.7";
    pub const AES_128_CBC: &str = "2.16.840.1.101.3.4.1.2";
    pub const AES_192_CBC: &str = "2.16.840.1.101.3.4.1.22";
    pub const AES_256_CBC: &str = "2.16.840.1.101.3.4.1.42";
    pub const MD5: &str = "1.2.840.113549.2.5";
    pub const SHA1: &str = "1.3.14.3.2.26";
    pub const SHA224: &str = "2.16.840.1.101.3.4.2.4";
    pub const SHA256: &str = "2.16.840.1.101.3.4.2.1";
    pub const SHA384: &str = "2.16.840.1.101.3.4.2.2";
    pub const SHA512: &str = "2.16.840.1.101.3.4.2.3";
    pub const SHA512_224: &str = "2.16.840.1.101.3.4.2.5";
    pub const SHA512_256: &str = "2.16.840.1.101.3.4.2.6";
    pub const HMAC_MD5: &str = "1.2.840.113549.2.6";
    pub const HMAC_SHA1: &str = "1.2.840.113549.2.7";
    pub const HMAC_SHA224: &str = "1.2.840.113549.2.8";
    pub const HMAC_SHA256: &str = "1.2.840.113549.2.9";
    pub const HMAC_SHA384: &str = "1.2.840.113549.2.10";
    pub const HMAC_SHA512: &str = "1.2.840.113549.2.11";
    pub const HMAC_SHA512_224: &str = "1.2.840.113549.2.12";
    pub const HMAC_SHA512_256: &str = "1.2.840.113549.2.13";
}
