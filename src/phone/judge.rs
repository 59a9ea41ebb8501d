use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::crypto::{SignatureFault, sha256_of, verify_file};
use crate::wire::{ROLE_CALLMANAGER_TFTP, ROLE_SAST, ROLE_TFTP, SignedFile};

use super::env::Shared;
use super::lists::{TrustLists, TrustState};

/// What a file is to a phone; decides which roles its signer needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// `CTL*.tlv`.
    Ctl,
    /// `ITL*.tlv`.
    Itl,
    /// `*.cnf.xml` and other content.
    Config,
}

impl FileKind {
    /// Roles that let a record of the ITL, or an answer of TVS, vouch for this kind.
    pub const fn roles(self) -> &'static [u16] {
        match self {
            FileKind::Ctl | FileKind::Itl => &[ROLE_SAST],
            FileKind::Config => &[ROLE_CALLMANAGER_TFTP, ROLE_TFTP],
        }
    }

    /// Roles that let a record of the CTL vouch for this kind: for an ITL CCM+TFTP as well
    /// (CTL-12).
    pub const fn ctl_roles(self) -> &'static [u16] {
        match self {
            FileKind::Ctl => &[ROLE_SAST],
            FileKind::Itl => &[ROLE_SAST, ROLE_CALLMANAGER_TFTP],
            FileKind::Config => &[ROLE_CALLMANAGER_TFTP, ROLE_TFTP],
        }
    }
}

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
    /// The digest or algorithm is not usable.
    UnsupportedDigest,
    /// The signer is known, the signature is wrong: no question to TVS (D in `domain.md` 7.2).
    WrongSignature,
    /// TVS says that the certificate is not valid or unknown.
    NotValid,
    /// TVS knows the certificate, but not for this use.
    WrongRole,
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
/// procedure steps 2 to 5).
pub fn judge(
    lists: &TrustLists,
    kind: FileKind,
    file: &SignedFile<'_>,
    verifier: &Verifier,
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

type Verdict = Result<(), SignatureFault>;

/// Verdicts that were given.
#[derive(Debug, Default)]
struct Verdicts {
    /// By the SHA-256 of file and key.
    files: HashMap<[u8; 32], Verdict>,
    /// On pinned files by their number.
    pinned: HashMap<u32, Vec<OfKey>>,
}

/// A key that a file was checked with, of which there are few, and the verdict.
type OfKey = (Box<[u8]>, Verdict);

/// Verifies signatures of files; belongs to one thread.
#[derive(Debug, Default)]
pub struct Verifier {
    scratch: RefCell<Vec<u8>>,
    /// Verdicts by (file, key): only in virtual time, where the same file is verified a million
    /// times and the answer cannot change.
    remembered: Option<RefCell<Verdicts>>,
    /// Whose pinned files are known by number instead of by their bytes.
    pins: Option<Arc<Shared>>,
    count: std::cell::Cell<u64>,
}

impl Verifier {
    /// A verifier that checks every signature every time: live runs.
    pub fn real() -> Verifier {
        Verifier::default()
    }

    /// A verifier that checks each (file, key) once and remembers the verdict: virtual time.
    pub fn remembering() -> Verifier {
        Verifier { remembered: Some(RefCell::default()), ..Verifier::default() }
    }

    /// Like [`Verifier::remembering`]; files that are pinned in `shared` are known without
    /// hashing their bytes.
    pub fn remembering_pinned(shared: Arc<Shared>) -> Verifier {
        Verifier { pins: Some(shared), ..Verifier::remembering() }
    }

    /// How many verdicts were asked for.
    pub fn count(&self) -> u64 {
        self.count.get()
    }

    /// Whether `file` is signed by the owner of `public_key` (PKCS#1 `RSAPublicKey`).
    ///
    /// # Errors
    /// The fault, if not.
    pub fn verify(&self, file: &SignedFile<'_>, public_key: &[u8]) -> Result<(), SignatureFault> {
        self.count.set(self.count.get() + 1);
        let check = || verify_file(file, public_key, &mut self.scratch.borrow_mut());
        let Some(remembered) = &self.remembered else { return check() };
        let Verdicts { files, pinned } = &mut *remembered.borrow_mut();
        let pins = self.pins.as_ref();
        let Some(number) = pins.and_then(|shared| shared.pinned_number(file.bytes())) else {
            let key = sha256_of(&[file.bytes(), public_key]);
            return *files.entry(key).or_insert_with(check);
        };
        let verdicts = pinned.entry(number).or_default();
        if let Some((_, verdict)) = verdicts.iter().find(|(key, _)| **key == *public_key) {
            return *verdict;
        }
        let verdict = check();
        verdicts.push((public_key.into(), verdict));
        verdict
    }
}
