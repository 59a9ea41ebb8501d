use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use crate::base::Time;
use crate::crypto::{SignatureFault, sha256_of, verify_file};
use crate::wire::SignedFile;

use super::profile::PhoneProfile;
use super::shared::Shared;

/// What phones share: lists, TVS member lists, the verifier of their thread and their profile.
#[derive(Debug)]
pub struct Env {
    /// How phones behave.
    pub profile: Arc<PhoneProfile>,
    /// Lists and member lists, shared by all threads.
    pub shared: Arc<Shared>,
    /// Checks signatures; of this thread.
    pub verifier: Verifier,
}

impl Env {
    /// The date by which phones judge certificates, in Unix seconds; `None` if they do not ask.
    pub fn date_s(&self, now: Time) -> Option<u64> {
        self.profile.checks_dates.then(|| self.shared.calendar().date_s(now))
    }
}

type Verdict = Result<(), SignatureFault>;

/// Verdicts that were given.
#[derive(Debug)]
struct Verdicts {
    /// By the SHA-256 of file and key.
    files: HashMap<[u8; 32], Verdict>,
    /// On pinned files by their number.
    pinned: HashMap<u32, Vec<OfKey>>,
    /// Whose pinned files are known by number instead of by their bytes.
    shared: Arc<Shared>,
}

/// A key that a file was checked with, of which there are few, and the verdict.
type OfKey = (Box<[u8]>, Verdict);

/// Verifies signatures of files; belongs to one thread.
#[derive(Debug, Default)]
pub struct Verifier {
    scratch: RefCell<Vec<u8>>,
    /// Only in virtual time, where the same file is verified a million times and the answer cannot
    /// change.
    remembered: Option<RefCell<Verdicts>>,
    count: Cell<u64>,
}

impl Verifier {
    /// A verifier that checks every signature every time: live runs.
    pub fn real() -> Verifier {
        Verifier::default()
    }

    /// A verifier that checks each (file, key) once and remembers the verdict: virtual time. Files
    /// that are pinned in `shared` are known without hashing their bytes.
    pub fn remembering(shared: Arc<Shared>) -> Verifier {
        let verdicts = Verdicts { files: HashMap::new(), pinned: HashMap::new(), shared };
        Verifier { remembered: Some(RefCell::new(verdicts)), ..Verifier::default() }
    }

    /// How many verdicts were asked for.
    pub fn count(&self) -> u64 {
        self.count.get()
    }

    /// Whether `file` is signed by the owner of `public_key` (PKCS#1 `RSAPublicKey`).
    pub fn verify(&self, file: &SignedFile<'_>, public_key: &[u8]) -> Result<(), SignatureFault> {
        self.count.set(self.count.get() + 1);
        let check = || verify_file(file, public_key, &mut self.scratch.borrow_mut());
        let Some(remembered) = &self.remembered else { return check() };
        let Verdicts { files, pinned, shared } = &mut *remembered.borrow_mut();
        let Some(number) = shared.pinned_number(file.bytes()) else {
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
