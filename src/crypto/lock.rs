//! What a password opens: encrypted keys (PKCS#5, PKCS#8), the parts of a PKCS#12 store, and the
//! older encrypted PEM of OpenSSL.

use std::borrow::Cow;

use pkcs12::kdf::Pkcs12KeyType;

use super::algorithms::{named, oid};
use super::cipher::{Cipher, SCHEMES};
use super::hash::{Hash, MD5, Rounds, SHA1};
use crate::wire::WireError;
use crate::wire::ber::{Ber, tag};

/// More iterations than this are refused: a hostile file could ask for hours. OpenSSL, Java and
/// Windows use 2,000 to 600,000; chosen.
const ROUNDS_MAX: u32 = 10_000_000;
/// Most memory that scrypt may ask for, bytes; chosen.
const SCRYPT_BYTES_MAX: u64 = 256 << 20;

/// Why a lock does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockFault {
    /// The algorithm is not known here; names it.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// Nobody gave a password.
    #[error("it is encrypted and no password was given")]
    NoPassword,
    /// Nobody gave the password by which its integrity is protected.
    #[error("its integrity is protected by a password and no password was given")]
    NoMacPassword,
    /// The password does not fit.
    #[error("the password does not fit")]
    Password,
    /// The parameters are broken.
    #[error(transparent)]
    Malformed(#[from] WireError),
}

/// The plain bytes, or why there are none.
pub(super) type Opened = Result<Vec<u8>, LockFault>;

/// A password in the encodings that tools give it.
pub(super) struct Password<'a>(pub(super) &'a str);

impl Password<'_> {
    /// As PBES1 and PBES2 take it: UTF-8, as OpenSSL, Java and Windows do; then UTF-16, as NSS.
    fn bytes(&self) -> Vec<Vec<u8>> {
        let wide = utf16(self.0.encode_utf16());
        let mut forms = vec![self.0.as_bytes().to_vec(), wide.clone()];
        forms.push(wide[..wide.len() - 2].to_vec());
        forms
    }

    /// As PKCS#12 takes it: UTF-16 with two zero bytes; an empty one may also be no bytes at all;
    /// OpenSSL before 1.1 widened each byte of UTF-8.
    pub(super) fn wide(&self) -> Vec<Vec<u8>> {
        let mut forms = vec![utf16(self.0.encode_utf16())];
        if self.0.is_empty() {
            forms.push(Vec::new());
        } else if !self.0.is_ascii() {
            forms.push(utf16(self.0.bytes().map(u16::from)));
        }
        forms
    }

    /// What a password that opens nothing means.
    pub(super) fn fault(&self) -> LockFault {
        if self.0.is_empty() { LockFault::NoPassword } else { LockFault::Password }
    }
}

fn utf16(units: impl Iterator<Item = u16>) -> Vec<u8> {
    units.chain([0]).flat_map(u16::to_be_bytes).collect()
}

/// Decrypts what is encrypted by the algorithm of an `AlgorithmIdentifier`; what comes out must be
/// one whole BER value, or the password is not the right one.
pub(super) fn open(algorithm: &Ber<'_>, cipher: &[u8], password: &Password<'_>) -> Opened {
    let mut parts = algorithm.inside();
    let oid = parts.next("an algorithm")?.oid()?;
    let parameters = parts.next("parameters")?;
    if oid == oid::PBES2 {
        return open_pbes2(&parameters, cipher, password);
    }
    let scheme = SCHEMES.iter().find(|scheme| scheme.0 == oid);
    let (.., pbkdf1, scheme) = scheme.ok_or_else(|| LockFault::Unsupported(named(&oid)))?;
    let mut inside = parameters.inside();
    let salt = inside.next("a salt")?.octets()?;
    let rounds = Rounds { salt: &salt, rounds: rounds(&inside.next("a number of rounds")?)? };
    let plain = match pbkdf1 {
        Some(hash) => first_value(password.bytes().iter().map(|form| {
            let derived = hash.pbkdf1(form, &rounds);
            scheme.decrypt(&derived[..8], &derived[8..16], cipher)
        })),
        None => first_value(password.wide().iter().map(|form| {
            let derive = |purpose, length| SHA1.pkcs12(form, &rounds, purpose, length);
            let key = derive(Pkcs12KeyType::EncryptionKey, scheme.key_length);
            scheme.decrypt(&key, &derive(Pkcs12KeyType::Iv, 8), cipher)
        })),
    };
    plain.ok_or_else(|| password.fault())
}

/// The first plain text that is one whole BER value.
fn first_value(mut plain: impl Iterator<Item = Option<Vec<u8>>>) -> Option<Vec<u8>> {
    plain.find_map(|plain| {
        plain.filter(|plain| Ber::read(plain).is_ok_and(|(_, rest)| rest.is_empty()))
    })
}

/// Shortest key of a MAC in bytes (choice: a digest of SHA-1, as other readers have it).
const MAC_KEY_MIN: u32 = 20;

fn rounds(number: &Ber<'_>) -> Result<u32, LockFault> {
    match number.number() {
        Some(0) | None => {
            Err(WireError::new("number of rounds", number.offset, "1 or more").into())
        }
        Some(rounds @ 1..=ROUNDS_MAX) => Ok(rounds),
        Some(rounds) => Err(LockFault::Unsupported(format!("a key derivation of {rounds} rounds"))),
    }
}

fn open_pbes2(parameters: &Ber<'_>, cipher: &[u8], password: &Password<'_>) -> Opened {
    let mut parts = parameters.inside();
    let derivation = parts.next("a key derivation")?;
    let mut encryption = parts.next("a cipher")?.inside();
    let oid = encryption.next("a cipher")?.oid()?;
    let scheme = Cipher::of(&oid).ok_or_else(|| LockFault::Unsupported(named(&oid)))?;
    let iv = encryption.next("an initialisation vector")?.octets()?;
    let derivation = Derivation::read(&derivation)?;
    let forms = password.bytes();
    let plain = first_value(
        forms
            .iter()
            .map(|form| scheme.decrypt(&derivation.key(form, scheme.key_length)?, &iv, cipher)),
    );
    plain.ok_or_else(|| password.fault())
}

/// Opens an encrypted PKCS#8 key.
pub(super) fn open_key(value: &Ber<'_>, password: &Password<'_>) -> Opened {
    let mut parts = value.inside();
    let algorithm = parts.need(tag::SEQUENCE, "an algorithm")?;
    open(&algorithm, &parts.next("an encrypted key")?.octets()?, password)
}

/// How a key is derived from a password.
pub(super) enum Derivation<'a> {
    Pbkdf2 { salt: Cow<'a, [u8]>, rounds: u32, length: Option<u32>, hash: &'static Hash },
    Scrypt { salt: Cow<'a, [u8]>, parameters: scrypt::Params },
}

impl<'a> Derivation<'a> {
    /// Reads the `AlgorithmIdentifier` of PBKDF2 or scrypt.
    pub(super) fn read(algorithm: &Ber<'a>) -> Result<Derivation<'a>, LockFault> {
        let mut parts = algorithm.inside();
        let oid = parts.next("a key derivation")?.oid()?;
        match &*oid {
            oid::PBKDF2 => Derivation::read_pbkdf2(&parts.next("parameters")?),
            oid::SCRYPT => Derivation::read_scrypt(&parts.next("parameters")?),
            _ => Err(LockFault::Unsupported(named(&oid))),
        }
    }

    fn read_pbkdf2(parameters: &Ber<'a>) -> Result<Derivation<'a>, LockFault> {
        let mut parts = parameters.inside();
        let salt = parts.need(tag::OCTET_STRING, "a salt")?.octets()?;
        let rounds = rounds(&parts.next("a number of rounds")?)?;
        let length = parts.take_if(tag::INTEGER)?.and_then(|length| length.number());
        // RFC 8018: HMAC-SHA-1 where the field is left out.
        let hash = match parts.take_if(tag::SEQUENCE)? {
            None => SHA1,
            Some(algorithm) => hmac_of(&algorithm)?,
        };
        Ok(Derivation::Pbkdf2 { salt, rounds, length, hash })
    }

    fn read_scrypt(parameters: &Ber<'a>) -> Result<Derivation<'a>, LockFault> {
        let mut parts = parameters.inside();
        let salt = parts.need(tag::OCTET_STRING, "a salt")?.octets()?;
        let mut number = || Ok::<_, WireError>(parts.next("a number")?.number().unwrap_or(0));
        let (cost, block, parallel) = (number()?, number()?, number()?);
        let bytes = 128 * u64::from(cost) * u64::from(block) * u64::from(parallel.max(1));
        let power = cost.is_power_of_two() && bytes <= SCRYPT_BYTES_MAX;
        let parameters = scrypt::Params::new(cost.max(1).ilog2() as u8, block, parallel).ok();
        let parameters = parameters.filter(|_| power).ok_or_else(|| {
            LockFault::Unsupported(format!("scrypt with N={cost}, r={block}, p={parallel}"))
        })?;
        Ok(Derivation::Scrypt { salt, parameters })
    }

    /// A key of `length` bytes.
    pub(super) fn key(&self, password: &[u8], length: usize) -> Option<Vec<u8>> {
        match self {
            Derivation::Pbkdf2 { salt, rounds, hash, .. } => {
                Some(hash.pbkdf2(password, &Rounds { salt, rounds: *rounds }, length))
            }
            Derivation::Scrypt { salt, parameters } => {
                let mut key = vec![0; length];
                scrypt::scrypt(password, salt, parameters, &mut key).ok()?;
                Some(key)
            }
        }
    }
}

fn hmac_of(algorithm: &Ber<'_>) -> Result<&'static Hash, LockFault> {
    let oid = algorithm.inside().next("an HMAC")?.oid()?;
    Hash::of_hmac(&oid).ok_or_else(|| LockFault::Unsupported(named(&oid)))
}

/// Whether the MAC of a PKCS#12 store fits its content: `data` is `MacData`.
pub(super) fn mac_fits(
    data: &Ber<'_>,
    content: &[u8],
    password: &Password<'_>,
) -> Result<bool, LockFault> {
    let mut parts = data.inside();
    let mut info = parts.need(tag::SEQUENCE, "a MAC")?.inside();
    let mut algorithm = info.need(tag::SEQUENCE, "an algorithm")?.inside();
    let expected = info.next("a MAC")?.octets()?;
    let salt = parts.next("a salt")?.octets()?;
    let oid = algorithm.next("an algorithm")?.oid()?;
    if oid == oid::PBMAC1 {
        let mut parameters = algorithm.next("parameters")?.inside();
        let derivation = Derivation::read(&parameters.next("a key derivation")?)?;
        let hash = hmac_of(&parameters.next("an HMAC")?)?;
        // RFC 9579 section 4: the length must be there. With a key of a byte or two, one password
        // in some hundreds would fit.
        let length = match derivation {
            Derivation::Pbkdf2 { length: Some(length @ MAC_KEY_MIN..=256), .. } => length as usize,
            Derivation::Pbkdf2 { length, .. } => {
                let length = length.map_or("of unknown length".into(), |n| format!("of {n} bytes"));
                return Err(LockFault::Unsupported(format!("PBMAC1 with a key {length}")));
            }
            Derivation::Scrypt { .. } => hash.length(),
        };
        let keys = password.bytes().into_iter().filter_map(|form| derivation.key(&form, length));
        return Ok(keys.into_iter().any(|key| hash.hmac(&key, content) == *expected));
    }
    let hash = Hash::of_digest(&oid).ok_or_else(|| LockFault::Unsupported(named(&oid)))?;
    let rounds = parts.take_if(tag::INTEGER)?.map_or(Ok(1), |number| rounds(&number))?;
    let salt = Rounds { salt: &salt, rounds };
    Ok(password.wide().iter().any(|form| {
        let key = hash.pkcs12(form, &salt, Pkcs12KeyType::Mac, hash.length());
        hash.hmac(&key, content) == *expected
    }))
}

/// Decrypts a PEM block with a `DEK-Info` header: cipher and IV, the key by MD5 from password and
/// salt (OpenSSL's `EVP_BytesToKey`).
pub(super) fn open_pem(dek_info: &str, cipher: &[u8], password: &Password<'_>) -> Opened {
    let (name, iv) = dek_info.split_once(',').unwrap_or((dek_info, ""));
    let name = name.trim().to_ascii_uppercase();
    let scheme =
        Cipher::of_dek_info(&name).ok_or_else(|| LockFault::Unsupported(format!("`{name}`")))?;
    let digits = iv.trim().as_bytes().chunks(2);
    let byte = |pair| std::str::from_utf8(pair).ok().and_then(|p| u8::from_str_radix(p, 16).ok());
    let iv: Option<Vec<u8>> = digits.map(byte).collect();
    let iv = iv.filter(|iv| iv.len() >= 8);
    let iv = iv.ok_or_else(|| WireError::new("DEK-Info without its vector", 0, "hex digits"))?;
    let mut key = Vec::new();
    let mut last = Vec::new();
    while key.len() < scheme.key_length {
        last = MD5.digest(&[&last, password.0.as_bytes(), &iv[..8]].concat());
        key.extend_from_slice(&last);
    }
    key.truncate(scheme.key_length);
    first_value(std::iter::once(scheme.decrypt(&key, &iv, cipher))).ok_or_else(|| password.fault())
}
