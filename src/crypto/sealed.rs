//! Content that only a password opens: AES-256-GCM with a key from PBKDF2-HMAC-SHA-256.

use std::num::NonZeroU32;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::pbkdf2;

/// Why sealed content does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealFault {
    /// It is no sealed content, or one of a later version.
    #[error("it is no file of this kind")]
    Format,
    /// The password is another one, or a byte has changed: nobody can tell which.
    #[error("the password is another one, or the file was changed")]
    Password,
}

/// The first bytes of sealed content, and its version.
const MAGIC: &[u8; 8] = b"rsealed1";
const SALT: usize = 16;
const HEADER: usize = MAGIC.len() + SALT + NONCE_LEN;

/// Rounds of PBKDF2: about half a second of a core (choice; OWASP asks for 600,000).
const ROUNDS: NonZeroU32 = NonZeroU32::new(600_000).expect("it is not 0");

/// Seals `content`; `fresh` are random bytes that are never used again.
///
/// # Panics
/// Never: content of a backup is far below the 64 GiB of AES-GCM.
pub fn seal(password: &[u8], fresh: [u8; SALT + NONCE_LEN], content: &[u8]) -> Vec<u8> {
    let mut file = Vec::with_capacity(HEADER + content.len() + AES_256_GCM.tag_len());
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&fresh);
    let mut body = content.to_vec();
    let (key, nonce) = keys(password, &file);
    let sealed = key.seal_in_place_append_tag(nonce, Aad::from(&file), &mut body);
    sealed.expect("content is far below the limit");
    file.extend_from_slice(&body);
    file
}

/// Opens what was sealed with this password.
///
/// # Errors
/// For other content, another password, and any changed byte.
pub fn unseal(password: &[u8], file: &[u8]) -> Result<Vec<u8>, SealFault> {
    let (header, body) = file.split_at_checked(HEADER).ok_or(SealFault::Format)?;
    if !header.starts_with(MAGIC) {
        return Err(SealFault::Format);
    }
    let (key, nonce) = keys(password, header);
    let mut body = body.to_vec();
    let opened = key.open_in_place(nonce, Aad::from(header), &mut body);
    opened.map(|content| content.to_vec()).map_err(|_| SealFault::Password)
}

/// Key and nonce of a file with this header.
fn keys(password: &[u8], header: &[u8]) -> (LessSafeKey, Nonce) {
    let (salt, nonce) = header[MAGIC.len()..].split_at(SALT);
    let mut key = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, salt, password, &mut key);
    let key = UnboundKey::new(&AES_256_GCM, &key).expect("the key has 32 bytes");
    let nonce = Nonce::try_assume_unique_for_key(nonce).expect("the nonce has 12 bytes");
    (LessSafeKey::new(key), nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_with_its_password_only_and_not_if_a_byte_has_changed() {
        let file = seal(b"secret", [7; 28], b"keys of a cluster");
        assert_eq!(unseal(b"secret", &file).as_deref(), Ok(&b"keys of a cluster"[..]));
        assert_eq!(unseal(b"Secret", &file), Err(SealFault::Password));
        // Salt, nonce, content and tag are all under the seal.
        for at in [MAGIC.len(), MAGIC.len() + SALT, HEADER, file.len() - 1] {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert_eq!(unseal(b"secret", &changed), Err(SealFault::Password), "{at}");
        }
        assert_eq!(unseal(b"secret", &file[..file.len() - 1]), Err(SealFault::Password));
        assert_eq!(unseal(b"secret", &file[..HEADER - 1]), Err(SealFault::Format));
        assert_eq!(
            unseal(b"secret", &[&b"rsealed2"[..], &file[8..]].concat()),
            Err(SealFault::Format)
        );
    }

    #[test]
    fn other_fresh_bytes_make_another_file_that_hides_its_content() {
        let content = [0x55; 64];
        let [one, other] = [[1; 28], [2; 28]].map(|fresh| seal(b"p", fresh, &content));
        assert_ne!(one[HEADER..], other[HEADER..]);
        assert!(!one.windows(8).any(|window| window == &content[..8]));
        assert_eq!(one.len(), HEADER + 64 + 16);
    }
}
