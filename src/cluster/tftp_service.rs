use std::sync::Arc;

use crate::base::{DeviceName, PhoneId};
use crate::crypto::{FileIdentity, Identity};
use crate::transfer::Content;
use crate::wire::{DIGEST_SHA512, HeaderOrder, HeaderSpec, UnsignedHeader};

use super::catalogue::{Catalogue, content_digest};
use super::sign_cache::{CacheKey, Lookup, SignCache, Waiter};

/// The TFTP service of one node from one start to the next: a regenerated certificate or a new
/// list comes with the next start (REG-28, TFTP-15).
#[derive(Debug)]
pub struct TftpService {
    signer: Identity,
    signer_id: u64,
    /// When the service started, Unix seconds: the time stamp of its files.
    started_s: u32,
    /// The records of the ITL.
    itl: Arc<[u8]>,
    catalogue: Arc<Catalogue>,
    cache: Arc<SignCache>,
}

/// What the service says to a request.
#[derive(Debug)]
pub enum FileReply {
    /// There is no such file.
    Missing,
    /// The file.
    Ready(ServedFile),
    /// The file is being signed; the waiter will be named when it is done.
    Pending {
        /// The file without its header.
        file: PendingFile,
        /// The signature to make, if nobody makes it yet.
        job: Option<SignJob>,
    },
}

/// A file as it is served: a header of its own and a body that may be shared.
#[derive(Clone, Debug)]
pub struct ServedFile {
    header: Arc<[u8]>,
    body: Arc<[u8]>,
}

impl ServedFile {
    /// A file without a signed header.
    pub fn plain(body: Arc<[u8]>) -> ServedFile {
        ServedFile { header: Arc::from(&[][..]), body }
    }

    /// The whole file in one piece.
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.header[..], &self.body[..]].concat()
    }
}

impl Content for ServedFile {
    fn pieces(&self) -> [&[u8]; 2] {
        [&self.header, &self.body]
    }
}

/// A file that waits for its header.
#[derive(Clone, Debug)]
pub struct PendingFile {
    body: Arc<[u8]>,
}

impl PendingFile {
    /// The file with the header that was signed for it.
    pub fn with_header(self, header: Arc<[u8]>) -> ServedFile {
        ServedFile { header, body: self.body }
    }
}

/// One signature to make: 0.45 ms of a core with RSA-2048, away from the threads that serve.
#[derive(Debug)]
pub struct SignJob {
    key: CacheKey,
    header: UnsignedHeader,
    body: Arc<[u8]>,
    signer: Identity,
    cache: Arc<SignCache>,
    waiter: Option<Waiter>,
}

/// A signature that was made.
#[derive(Debug)]
pub struct Signed {
    /// The header with its signature.
    pub header: Arc<[u8]>,
    /// Who waits for it.
    pub waiters: Vec<Waiter>,
}

impl SignJob {
    /// Makes the signature and puts it into the cache.
    pub fn run(self) -> Signed {
        let signature = self.signer.key.sign_sha512(&self.header.to_be_signed(&self.body));
        let header: Arc<[u8]> = self.header.with_signature(&signature).into();
        let mut waiters = self.cache.complete(self.key, &header);
        if let Some(waiter) = self.waiter.filter(|waiter| !waiters.contains(waiter)) {
            waiters.push(waiter);
        }
        Signed { header, waiters }
    }
}

/// What a request names, by its file name alone: there is no path to a file system.
enum Wanted {
    Itl,
    Config { phone: PhoneId, body: Arc<[u8]>, signed: bool },
    DefaultConfig { signed: bool },
}

const ITL_FILE_NAME: &str = "ITLFile.tlv";
const DEFAULT_CONFIG: &str = "XMLDefault.cnf.xml";

impl TftpService {
    /// A service that starts at `started_s` (Unix seconds), signs with `signer` and serves these
    /// ITL records and configurations.
    pub fn new(
        signer: Identity,
        started_s: u32,
        itl: Arc<[u8]>,
        catalogue: Arc<Catalogue>,
        cache: Arc<SignCache>,
    ) -> TftpService {
        let digest = signer.certificate.sha256();
        let signer_id = u64::from_be_bytes(digest[..8].try_into().expect("32 bytes"));
        TftpService { signer, signer_id, started_s, itl, catalogue, cache }
    }

    /// Answers a request on behalf of `waiter`.
    pub fn request(&self, file: &str, waiter: Waiter) -> FileReply {
        match self.wanted(file) {
            None => FileReply::Missing,
            Some(Wanted::Config { body, signed: false, .. }) => {
                FileReply::Ready(ServedFile::plain(body))
            }
            Some(Wanted::DefaultConfig { signed: false }) => {
                FileReply::Ready(ServedFile::plain(self.catalogue.default_config()))
            }
            Some(Wanted::Itl) => self.list(waiter),
            Some(Wanted::Config { phone, body, signed: true }) => {
                let digest = self.catalogue.digest(phone, &body);
                self.signed(file, (1, 0), digest, body, waiter)
            }
            Some(Wanted::DefaultConfig { signed: true }) => {
                let body = self.catalogue.default_config();
                let digest = content_digest(file, &body);
                self.signed(file, (1, 0), digest, body, waiter)
            }
        }
    }

    /// What a phone holds that has just taken this file, or `None` if the file is not served.
    pub fn identity_of(&self, file: &str) -> Option<FileIdentity> {
        let signed = |body: &[u8]| {
            let certificate = &self.signer.certificate;
            FileIdentity::signed(body, certificate.issuer(), certificate.serial())
        };
        Some(match self.wanted(file)? {
            Wanted::Itl => signed(&self.itl),
            Wanted::Config { body, signed: true, .. } => signed(&body),
            Wanted::Config { body, signed: false, .. } => FileIdentity::unsigned(&body),
            Wanted::DefaultConfig { signed: true } => signed(&self.catalogue.default_config()),
            Wanted::DefaultConfig { signed: false } => {
                FileIdentity::unsigned(&self.catalogue.default_config())
            }
        })
    }

    /// The whole list as it is served, signed now if it is not in the cache.
    pub fn signed_list(&self) -> Vec<u8> {
        match self.request(ITL_FILE_NAME, Waiter(u64::MAX)) {
            FileReply::Ready(file) => file.to_bytes(),
            FileReply::Pending { file, job: Some(job) } => {
                file.with_header(job.run().header).to_bytes()
            }
            FileReply::Pending { file, job: None } => {
                // Another thread is signing: sign for ourselves instead of waiting for it.
                let digest = self.list_digest();
                let job = self.job(ITL_FILE_NAME, (1, 2), digest, Arc::clone(&self.itl), None);
                file.with_header(job.run().header).to_bytes()
            }
            FileReply::Missing => unreachable!("every service has a list"),
        }
    }

    /// The content of a phone's configuration and what a phone holds that has accepted it.
    pub fn config_of(&self, phone: PhoneId) -> (Arc<[u8]>, FileIdentity) {
        let body = self.catalogue.render(phone);
        let certificate = &self.signer.certificate;
        let identity = FileIdentity::signed(&body, certificate.issuer(), certificate.serial());
        (body, identity)
    }

    /// The signatures of all files that are not in the cache, for prewarming.
    pub fn missing_signatures(&self) -> impl Iterator<Item = SignJob> + '_ {
        let list = self.job(ITL_FILE_NAME, (1, 2), self.list_digest(), Arc::clone(&self.itl), None);
        let configs = (0..self.catalogue.phones()).map(PhoneId).map(|phone| {
            let body = self.catalogue.render(phone);
            let digest = self.catalogue.digest(phone, &body);
            let name = format!("{}.cnf.xml.sgn", DeviceName::of_phone(phone));
            self.job(&name, (1, 0), digest, body, None)
        });
        std::iter::once(list).chain(configs).filter(|job| !self.cache.contains(job.key))
    }

    /// Names the key of this service in the sign cache.
    pub const fn signer_id(&self) -> u64 {
        self.signer_id
    }

    /// The certificate that signs.
    pub const fn signer(&self) -> &Identity {
        &self.signer
    }

    fn wanted(&self, file: &str) -> Option<Wanted> {
        if file == ITL_FILE_NAME {
            return Some(Wanted::Itl);
        }
        if let Some(name) = file.strip_prefix("ITL").and_then(|rest| rest.strip_suffix(".tlv")) {
            // Every device gets the node's list under its own name (ITL-17).
            return name.parse::<DeviceName>().ok().map(|_| Wanted::Itl);
        }
        let (name, signed) = match file.strip_suffix(".sgn") {
            Some(name) => (name, true),
            None => (file, false),
        };
        if name == DEFAULT_CONFIG {
            return Some(Wanted::DefaultConfig { signed });
        }
        let device = name.strip_suffix(".cnf.xml")?.parse().ok()?;
        let (phone, body) = self.catalogue.config(device)?;
        Some(Wanted::Config { phone, body, signed })
    }

    fn list(&self, waiter: Waiter) -> FileReply {
        let body = Arc::clone(&self.itl);
        self.signed(ITL_FILE_NAME, (1, 2), self.list_digest(), body, waiter)
    }

    fn list_digest(&self) -> u128 {
        content_digest(ITL_FILE_NAME, &self.itl)
    }

    fn signed(
        &self,
        file: &str,
        version: (u8, u8),
        content: u128,
        body: Arc<[u8]>,
        waiter: Waiter,
    ) -> FileReply {
        let key = CacheKey { content, signer: self.signer_id };
        let pending =
            |job| FileReply::Pending { file: PendingFile { body: Arc::clone(&body) }, job };
        match self.cache.lookup(key, waiter) {
            Lookup::Ready(header) => FileReply::Ready(ServedFile { header, body }),
            Lookup::Wait => pending(None),
            Lookup::Sign => {
                pending(Some(self.job(file, version, content, Arc::clone(&body), Some(waiter))))
            }
        }
    }

    fn job(
        &self,
        file: &str,
        version: (u8, u8),
        content: u128,
        body: Arc<[u8]>,
        waiter: Option<Waiter>,
    ) -> SignJob {
        let certificate = &self.signer.certificate;
        let header = HeaderSpec {
            order: HeaderOrder::Cucm,
            version,
            signer_version: None,
            signer_name: certificate.subject(),
            serial: certificate.serial(),
            issuer: certificate.issuer(),
            digest: DIGEST_SHA512,
            signature_length: self.signer.key.signature_length(),
            file_name: file,
            timestamp: self.started_s,
        };
        SignJob {
            key: CacheKey { content, signer: self.signer_id },
            header: header.encode(),
            body,
            signer: self.signer.clone(),
            cache: Arc::clone(&self.cache),
            waiter,
        }
    }
}
