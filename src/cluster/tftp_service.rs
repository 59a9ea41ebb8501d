use std::sync::Arc;

use dashmap::DashMap;

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
    /// Names the list in the sign cache.
    list_digest: u128,
    /// What a phone holds that has taken the list.
    list_identity: FileIdentity,
    /// The headers of configurations that stand for many phones: signed once.
    shared_headers: Arc<SharedHeaders>,
}

/// Signed headers by the digest of file name and content.
type SharedHeaders = DashMap<u128, Arc<[u8]>>;

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
    /// Where the header is kept if the file stands for many.
    shared: Option<(Arc<SharedHeaders>, u128)>,
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
        let header = match &self.shared {
            Some((headers, digest)) => {
                Arc::clone(&headers.entry(*digest).or_insert_with(|| self.sign()))
            }
            None => self.sign(),
        };
        let mut waiters = self.cache.complete(self.key, &header);
        if let Some(waiter) = self.waiter.filter(|waiter| !waiters.contains(waiter)) {
            waiters.push(waiter);
        }
        Signed { header, waiters }
    }

    fn sign(&self) -> Arc<[u8]> {
        let signature = self.signer.key.sign_sha512(&self.header.to_be_signed(&self.body));
        self.header.with_signature(&signature).into()
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
        let certificate = &signer.certificate;
        let list_identity = FileIdentity::signed(&itl, certificate.issuer(), certificate.serial());
        TftpService {
            signer_id,
            started_s,
            list_digest: content_digest(ITL_FILE_NAME, &itl),
            list_identity,
            itl,
            catalogue,
            cache,
            signer,
            shared_headers: Arc::default(),
        }
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
        let signer = self.list_identity.signer;
        let of = |content: u64, signed: bool| FileIdentity {
            content,
            signer: if signed { signer } else { 0 },
        };
        Some(match self.wanted(file)? {
            Wanted::Itl => self.list_identity,
            Wanted::Config { phone, signed, .. } => of(self.catalogue.content_of(phone), signed),
            Wanted::DefaultConfig { signed } => {
                of(FileIdentity::unsigned(&self.catalogue.default_config()).content, signed)
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
                let digest = self.list_digest;
                let job = self.job(ITL_FILE_NAME, (1, 2), digest, Arc::clone(&self.itl), None);
                file.with_header(job.run().header).to_bytes()
            }
            FileReply::Missing => unreachable!("every service has a list"),
        }
    }

    /// The content of a phone's configuration and what a phone holds that has accepted it.
    pub fn config_of(&self, phone: PhoneId) -> (Arc<[u8]>, FileIdentity) {
        let signer = self.list_identity.signer;
        let content = self.catalogue.content_of(phone);
        (self.catalogue.render(phone), FileIdentity { content, signer })
    }

    /// The signatures of all files that are not in the cache, for prewarming.
    pub fn missing_signatures(&self) -> impl Iterator<Item = SignJob> + '_ {
        let list = self.job(ITL_FILE_NAME, (1, 2), self.list_digest, Arc::clone(&self.itl), None);
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
        self.signed(ITL_FILE_NAME, (1, 2), self.list_digest, body, waiter)
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

    /// The name of the file that is signed in place of `file`, and its digest, if one
    /// configuration stands for many.
    fn stand_in(&self, file: &str) -> Option<(String, u128)> {
        let device: DeviceName = file.strip_suffix(".cnf.xml.sgn")?.parse().ok()?;
        let (owner, digest) = self.catalogue.stand_in(device.phone()?)?;
        Some((format!("{}.cnf.xml.sgn", DeviceName::of_phone(owner)), digest))
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
        let stand_in = self.stand_in(file);
        let file = stand_in.as_ref().map_or(file, |(name, _)| name);
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
        let header = header.encode();
        let shared = stand_in.map(|(_, digest)| (Arc::clone(&self.shared_headers), digest));
        SignJob {
            key: CacheKey { content, signer: self.signer_id },
            header,
            body,
            signer: self.signer.clone(),
            cache: Arc::clone(&self.cache),
            waiter,
            shared,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::NodeId;
    use crate::cluster::{
        Cluster, FleetSpec, Genesis, GroupSpec, NodeSpec, Ports, Release, ServiceKind,
        SignCacheMode, Topology,
    };
    use crate::crypto::{KeySource, verify_file};
    use crate::wire::SignedFile;

    fn service() -> Arc<TftpService> {
        let node = NodeSpec {
            name: "pub".into(),
            address: "127.0.0.1".parse().unwrap(),
            services: vec![ServiceKind::Tftp, ServiceKind::Tvs],
            ports: Ports::default(),
        };
        let cluster = Cluster::new(Genesis {
            topology: Topology {
                release: Release::R8_6,
                sign_cache: SignCacheMode::Lazy,
                key_bits: 2048,
                nodes: vec![node],
                groups: vec![GroupSpec {
                    name: "all".into(),
                    members: vec![NodeId(0)],
                    share: 1.0,
                }],
            },
            fleet: FleetSpec { phones: 3, models: vec![(8841, 1.0)], seed: 1 },
            source: KeySource::bank(1),
            epoch_s: 1_800_000_000,
            stored: std::collections::BTreeMap::new(),
        });
        Arc::clone(cluster.tftp(NodeId(0)).unwrap())
    }

    fn fetch(service: &TftpService, name: &str) -> Option<Vec<u8>> {
        match service.request(name, Waiter(7)) {
            FileReply::Missing => None,
            FileReply::Ready(file) => Some(file.to_bytes()),
            FileReply::Pending { file, job } => {
                let signed = job.unwrap().run();
                assert_eq!(signed.waiters, [Waiter(7)]);
                Some(file.with_header(signed.header).to_bytes())
            }
        }
    }

    #[test]
    fn names_that_are_served_and_names_that_are_not() {
        let service = service();
        for name in [
            "ITLFile.tlv",
            "ITLSEP001122334455.tlv",
            "SEP0C75BD000000.cnf.xml",
            "SEP0C75BD000002.cnf.xml.sgn",
            "XMLDefault.cnf.xml",
            "XMLDefault.cnf.xml.sgn",
        ] {
            assert!(fetch(&service, name).is_some(), "{name}");
            assert!(service.identity_of(name).is_some(), "{name}");
        }
        for name in [
            "",
            "CTLSEP0C75BD000000.tlv",
            "CTLFile.tlv",
            "ITL.tlv",
            "ITLSEP00112233445.tlv",
            "ITLSEP001122334455.tlv.sgn",
            "SEP0C75BD000003.cnf.xml.sgn",
            "SEP001122334455.cnf.xml",
            "SEP0c75bd000000.cnf.xml",
            "../ITLFile.tlv",
            "/ITLFile.tlv",
            "SEP0C75BD000000.cnf.xml.sgn.sgn",
        ] {
            assert!(fetch(&service, name).is_none(), "{name}");
            assert!(service.identity_of(name).is_none(), "{name}");
        }
    }

    #[test]
    fn signed_files_verify_and_carry_their_names_versions_and_time() {
        let service = service();
        let expected = [
            ("ITLSEP0C75BD000000.tlv", "ITLFile.tlv", (1, 2)),
            ("SEP0C75BD000001.cnf.xml.sgn", "SEP0C75BD000001.cnf.xml.sgn", (1, 0)),
            ("XMLDefault.cnf.xml.sgn", "XMLDefault.cnf.xml.sgn", (1, 0)),
        ];
        for (name, inside, version) in expected {
            let bytes = fetch(&service, name).unwrap();
            let file = SignedFile::parse(&bytes).unwrap();
            assert_eq!((file.header.file_name, file.header.version), (inside, version));
            assert_eq!(file.header.timestamp, 1_800_000_000);
            let key = service.signer().certificate.public_key();
            assert_eq!(verify_file(&file, key, &mut Vec::new()), Ok(()), "{name}");
            assert_eq!(service.identity_of(name), Some(FileIdentity::of(&file)));
        }
    }

    #[test]
    fn an_unsigned_config_is_the_content_of_the_signed_one() {
        let service = service();
        let plain = fetch(&service, "SEP0C75BD000001.cnf.xml").unwrap();
        let signed = fetch(&service, "SEP0C75BD000001.cnf.xml.sgn").unwrap();
        assert_eq!(SignedFile::parse(&signed).unwrap().body, plain);
        assert_eq!(service.config_of(PhoneId(1)).0[..], plain[..]);
        let identity = service.identity_of("SEP0C75BD000001.cnf.xml").unwrap();
        assert_eq!(identity, FileIdentity::unsigned(&plain));
    }

    #[test]
    fn prewarming_makes_every_missing_signature_and_no_other() {
        let service = service();
        fetch(&service, "SEP0C75BD000001.cnf.xml.sgn");
        assert_eq!(service.missing_signatures().count(), 3, "the list and two configs");
        service.missing_signatures().for_each(|job| drop(job.run()));
        assert_eq!(service.missing_signatures().count(), 0);
        assert!(matches!(service.request("ITLFile.tlv", Waiter(1)), FileReply::Ready(_)));
    }

    #[test]
    fn the_second_request_waits_for_the_first_ones_signature() {
        let service = service();
        let FileReply::Pending { job: Some(job), .. } = service.request("ITLFile.tlv", Waiter(1))
        else {
            panic!("the first signs");
        };
        let second = service.request("ITLSEP0C75BD000000.tlv", Waiter(2));
        assert!(matches!(second, FileReply::Pending { job: None, .. }), "the same list");
        assert_eq!(job.run().waiters, [Waiter(1), Waiter(2)]);
    }
}
