use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use crate::base::Time;
use crate::crypto::{
    DEVICES, SignatureFault, device, envelope, pooled_rsa, sha256_of, verify_file,
};
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
    /// Contents of pinned files by number and device certificate.
    opened: HashMap<(u32, usize), Option<Arc<[u8]>>>,
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
        let (files, pinned, opened) = Default::default();
        let verdicts = Verdicts { files, pinned, opened, shared };
        Verifier { remembered: Some(RefCell::new(verdicts)), ..Verifier::default() }
    }

    /// How many verdicts were asked for.
    pub fn count(&self) -> u64 {
        self.count.get()
    }

    /// The content of an encrypted file whose signature was judged before, if the device
    /// certificate with this number opens it, or behind those the key with it of the pool for LSCs.
    pub(super) fn open(&self, file: &SignedFile<'_>, number: usize) -> Option<Arc<[u8]>> {
        let open = || {
            let key = match number.checked_sub(DEVICES) {
                None => &*device(number).key,
                Some(pooled) => pooled_rsa(pooled),
            };
            envelope::open(file, key).ok().map(Arc::from)
        };
        let Some(remembered) = &self.remembered else { return open() };
        let Verdicts { opened, shared, .. } = &mut *remembered.borrow_mut();
        let Some(pinned) = shared.pinned_number(file.bytes()) else { return open() };
        let opened = opened.entry((pinned, number)).or_insert_with(|| {
            let content: Option<Arc<[u8]>> = open();
            content.iter().for_each(|content| shared.pin(content));
            content
        });
        opened.clone()
    }

    /// Whether `file` is signed by the owner of `public_key` (PKCS#1 `RSAPublicKey`).
    pub fn verify(&self, file: &SignedFile<'_>, public_key: &[u8]) -> Result<(), SignatureFault> {
        self.count.set(self.count.get() + 1);
        let check = || verify_file(file, public_key, &mut self.scratch.borrow_mut());
        let Some(remembered) = &self.remembered else { return check() };
        let Verdicts { files, pinned, shared, .. } = &mut *remembered.borrow_mut();
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
