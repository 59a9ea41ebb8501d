//! Ciphers of key stores, and the schemes that name key derivation and cipher at once.

use aes::{Aes128, Aes192, Aes256};
use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, KeyIvInit, StreamCipher};
use des::{Des, TdesEde2, TdesEde3};
use rc2::Rc2;
use rc4::Rc4;

use super::hash::{Hash, MD5, SHA1};

/// A cipher with keys of one length, in CBC if it has blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cipher {
    /// In bytes.
    pub(super) key_length: usize,
    decrypt: Decrypt,
}

/// From key, vector and cipher text to plain text.
type Decrypt = fn(&[u8], &[u8], &[u8]) -> Option<Vec<u8>>;

/// Ciphers that stand by themselves: OID and name, which OpenSSL's older PEM uses, too.
pub(super) static CIPHERS: [(&str, &str, Cipher); 5] = [
    ("2.16.840.1.101.3.4.1.2", "AES-128-CBC", Cipher::new::<Decryptor<Aes128>>(16)),
    ("2.16.840.1.101.3.4.1.22", "AES-192-CBC", Cipher::new::<Decryptor<Aes192>>(24)),
    ("2.16.840.1.101.3.4.1.42", "AES-256-CBC", Cipher::new::<Decryptor<Aes256>>(32)),
    ("1.3.14.3.2.7", "DES-CBC", Cipher::new::<Decryptor<Des>>(8)),
    ("1.2.840.113549.3.7", "DES-EDE3-CBC", Cipher::new::<Decryptor<TdesEde3>>(24)),
];

/// Schemes: OID, name, the digest of PBKDF1 (those without derive keys as PKCS#12), cipher.
pub(super) static SCHEMES: [(&str, &str, Option<&Hash>, Cipher); 10] = [
    ("1.2.840.113549.1.5.3", "pbeWithMD5AndDES-CBC", Some(MD5), Cipher::new::<Decryptor<Des>>(8)),
    (
        "1.2.840.113549.1.5.10",
        "pbeWithSHA1AndDES-CBC",
        Some(SHA1),
        Cipher::new::<Decryptor<Des>>(8),
    ),
    ("1.2.840.113549.1.5.6", "pbeWithMD5AndRC2-CBC", Some(MD5), Cipher::new::<Decryptor<Rc2>>(8)),
    (
        "1.2.840.113549.1.5.11",
        "pbeWithSHA1AndRC2-CBC",
        Some(SHA1),
        Cipher::new::<Decryptor<Rc2>>(8),
    ),
    ("1.2.840.113549.1.12.1.1", "pbeWithSHAAnd128BitRC4", None, Cipher::rc4(16)),
    ("1.2.840.113549.1.12.1.2", "pbeWithSHAAnd40BitRC4", None, Cipher::rc4(5)),
    (
        "1.2.840.113549.1.12.1.3",
        "pbeWithSHAAnd3-KeyTripleDES-CBC",
        None,
        Cipher::new::<Decryptor<TdesEde3>>(24),
    ),
    (
        "1.2.840.113549.1.12.1.4",
        "pbeWithSHAAnd2-KeyTripleDES-CBC",
        None,
        Cipher::new::<Decryptor<TdesEde2>>(16),
    ),
    (
        "1.2.840.113549.1.12.1.5",
        "pbeWithSHAAnd128BitRC2-CBC",
        None,
        Cipher::new::<Decryptor<Rc2>>(16),
    ),
    (
        "1.2.840.113549.1.12.1.6",
        "pbeWithSHAAnd40BitRC2-CBC",
        None,
        Cipher::new::<Decryptor<Rc2>>(5),
    ),
];

impl Cipher {
    const fn new<M: KeyIvInit + BlockModeDecrypt>(key_length: usize) -> Cipher {
        Cipher { key_length, decrypt: unpadded::<M> }
    }

    const fn rc4(key_length: usize) -> Cipher {
        let decrypt = |key: &[u8], _: &[u8], cipher: &[u8]| {
            let mut plain = cipher.to_vec();
            let mut stream: Rc4 = rc4::KeyInit::new_from_slice(key).ok()?;
            stream.apply_keystream(&mut plain);
            Some(plain)
        };
        Cipher { key_length, decrypt }
    }

    /// The cipher with this OID.
    pub(super) fn of(oid: &str) -> Option<Cipher> {
        CIPHERS.iter().find(|known| known.0 == oid).map(|known| known.2)
    }

    /// By the name in a PEM header.
    pub(super) fn of_dek_info(name: &str) -> Option<Cipher> {
        CIPHERS.iter().find(|known| known.1 == name).map(|known| known.2)
    }

    /// The plain text without its padding; `None` if key, IV or padding do not fit.
    pub(super) fn decrypt(self, key: &[u8], iv: &[u8], cipher: &[u8]) -> Option<Vec<u8>> {
        (self.decrypt)(key, iv, cipher)
    }
}

fn unpadded<M: KeyIvInit + BlockModeDecrypt>(
    key: &[u8],
    iv: &[u8],
    cipher: &[u8],
) -> Option<Vec<u8>> {
    let mut plain = cipher.to_vec();
    let mode = M::new_from_slices(key, iv).ok()?;
    let length = mode.decrypt_padded::<Pkcs7>(&mut plain).ok()?.len();
    plain.truncate(length);
    Some(plain)
}
