use crate::wire::{SignedFile, name_key};

use super::sha256_of;

/// What a file contains and who signed it, in 16 bytes: enough to tell whether a phone holds what
/// is served now, whatever the time stamp in the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileIdentity {
    /// From the SHA-256 of the content.
    pub content: u64,
    /// From the SHA-256 of the signer's issuer and serial; 0 for a file without a signature.
    pub signer: u64,
}

impl FileIdentity {
    /// The identity of a parsed file.
    pub fn of(file: &SignedFile<'_>) -> FileIdentity {
        FileIdentity::signed(file.body, file.header.issuer, file.header.serial)
    }

    /// The identity of `body` signed by the certificate with this issuer and serial.
    pub fn signed(body: &[u8], issuer: &str, serial: &[u8]) -> FileIdentity {
        let zeros = serial.iter().take_while(|&&byte| byte == 0).count();
        let signer = head(sha256_of(&[name_key(issuer).as_bytes(), &[0], &serial[zeros..]]));
        FileIdentity { content: head(sha256_of(&[body])), signer }
    }

    /// The identity of a file that nobody signed.
    pub fn unsigned(body: &[u8]) -> FileIdentity {
        FileIdentity { content: head(sha256_of(&[body])), signer: 0 }
    }
}

fn head(digest: [u8; 32]) -> u64 {
    u64::from_be_bytes(digest[..8].try_into().expect("a digest has more than 8 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_tells_contents_and_signers_apart_and_nothing_else() {
        let base = FileIdentity::signed(b"body", "CN=ca;O=x", &[1]);
        assert_eq!(base, FileIdentity::signed(b"body", "CN=ca,O=x", &[1]), "either name style");
        assert_eq!(base, FileIdentity::signed(b"body", "CN=ca;O=x", &[0, 1]), "one number");
        assert_ne!(base, FileIdentity::signed(b"other", "CN=ca;O=x", &[1]));
        assert_ne!(base, FileIdentity::signed(b"body", "CN=cb;O=x", &[1]));
        assert_ne!(base, FileIdentity::signed(b"body", "CN=ca;O=x", &[2]));
        let unsigned = FileIdentity::unsigned(b"body");
        assert_eq!((unsigned.content, unsigned.signer), (base.content, 0));
    }
}
