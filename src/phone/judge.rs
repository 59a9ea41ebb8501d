use crate::crypto::SignatureFault;
use crate::wire::SignedFile;

use super::file_kind::FileKind;
use super::lists::{TrustLists, TrustState};
use super::verifier::Verifier;

/// Why a file was accepted (BOOT-14: CTL → ITL → TVS cache → TVS).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AcceptPath {
    /// No list at all: taken without a check.
    First,
    /// A blank ITL: taken whoever signed it.
    Blank,
    /// The signer is in the CTL.
    Ctl,
    /// The signer is in the ITL.
    Itl,
    /// The signer is in the TVS cache.
    TvsCache,
    /// TVS vouched for the signer.
    Tvs,
    /// No signature, but the lists vouch for the HTTPS server that sent it.
    Https,
}

/// Why a file was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// It does not parse.
    Malformed,
    /// The signer is in no list and nobody vouches for it.
    UnknownSigner,
    /// The time of the signer's certificate is over (CERT-18, TFTP-16).
    Expired,
    /// The digest or algorithm is not usable.
    UnsupportedDigest,
    /// The signer is known, the signature is wrong: no question to TVS (D in `domain.md` 7.2).
    WrongSignature,
    /// TVS says that the certificate is not valid or unknown.
    NotValid,
    /// TVS knows the certificate, but not for this use.
    WrongRole,
    /// The signature is right, but the content is encrypted for another key than the phone's
    /// (TFTP-05).
    Unreadable,
}

/// What a phone does with a file, before TVS has been asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Takes it.
    Accept(AcceptPath),
    /// Refuses it and keeps the old one.
    Refuse(Refusal),
    /// Must ask its TVS cache, then TVS.
    AskTvs,
}

/// Judges a parsed file by the lists that a phone holds (`spec/phone-boot.md` section 3,
/// procedure steps 2 to 5), at this date (Unix seconds; `None` where dates play no part).
pub fn judge(
    lists: &TrustLists,
    kind: FileKind,
    file: &SignedFile<'_>,
    verifier: &Verifier,
    date_s: Option<u64>,
) -> Judgement {
    match lists.state() {
        TrustState::A => return Judgement::Accept(AcceptPath::First),
        TrustState::ABlank => return Judgement::Accept(AcceptPath::Blank),
        TrustState::B | TrustState::C | TrustState::D => {}
    }
    let signer = &file.header;
    let holders = [
        (&lists.ctl, kind.ctl_roles(), AcceptPath::Ctl),
        (&lists.itl, kind.roles(), AcceptPath::Itl),
    ];
    for (list, roles, path) in holders {
        let record = list.as_ref().and_then(|l| l.find(roles, signer.issuer, signer.serial));
        if let Some(record) = record {
            if record.is_over(date_s) {
                return Judgement::Refuse(Refusal::Expired);
            }
            return match verifier.verify(file, record.public_key()) {
                Ok(()) => Judgement::Accept(path),
                Err(fault) => Judgement::Refuse(fault.into()),
            };
        }
    }
    if lists.state() == TrustState::B {
        return Judgement::Refuse(Refusal::UnknownSigner);
    }
    Judgement::AskTvs
}

impl From<SignatureFault> for Refusal {
    fn from(fault: SignatureFault) -> Refusal {
        match fault {
            SignatureFault::Unsupported => Refusal::UnsupportedDigest,
            SignatureFault::Wrong => Refusal::WrongSignature,
        }
    }
}
