use std::ops::Range;
use std::sync::Arc;

use dashmap::DashMap;

use crate::base::{DeviceName, PhoneId};
use crate::crypto::envelope::content_digest as digest_of;
use crate::crypto::{FileIdentity, Identity, md5, sha256_of, verify_file};
use crate::transfer::Content;
use crate::wire::{
    Encryption, FileName, HeaderOrder, HeaderSpec, Seal, SignedFile, UnsignedHeader,
};

use super::catalogue::{Body, Catalogue, Envelope, config_name, content_digest};
use super::ctl::CtlFile;
use super::kinds::FileSignature;
use super::sign_cache::{CacheKey, Claim, SignCache, Waiter};

/// The TFTP service of one node from one start to the next: a regenerated certificate or a new
/// list comes with the next start (REG-28, TFTP-15).
#[derive(Debug)]
pub struct TftpService {
    signers: Signers,
    file_signer_id: u64,
    list_signer_id: u64,
    /// When the service started, Unix seconds: the time stamp of its files.
    started_s: u32,
    lists: Lists,
    /// Names the ITL in the cache.
    itl_digest: u128,
    catalogue: Arc<Catalogue>,
    cache: Arc<SignCache>,
    /// What a phone holds that has taken the list.
    list_identity: FileIdentity,
    /// The part of an identity that names who signs files.
    file_signer: u64,
    /// The headers of configurations that stand for many phones: signed once.
    shared_headers: Arc<SharedHeaders>,
}

/// The trust lists of a service.
#[derive(Clone, Debug)]
pub struct Lists {
    /// The records of the ITL, which the service signs itself.
    pub itl: Arc<[u8]>,
    /// The CTL as it came to the node, if the cluster has one.
    pub ctl: Option<Arc<CtlFile>>,
}

/// Signed headers by the digest of file name and content.
type SharedHeaders = DashMap<u128, Arc<[u8]>>;

/// Whose signatures a service makes, and how.
#[derive(Clone, Debug)]
pub struct Signers {
    /// Signs configurations: the CallManager certificate of the node, as the database has it, and its
    /// key.
    pub files: Identity,
    /// Proves the node's identity over HTTPS: its CallManager certificate.
    pub host: Identity,
    /// Signs the list: the CallManager certificate of the node, or ITLRecovery from 12.x.
    pub list: Identity,
    /// With which digest.
    pub signature: FileSignature,
    /// Header tag 28, major and minor; `None` leaves it out.
    pub signer_version: Option<(u8, u8)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SignedKind {
    List,
    File,
    Encrypted,
}

impl SignedKind {
    /// Header tag 1, major and minor.
    const fn version(self) -> (u8, u8) {
        match self {
            SignedKind::List => (1, 2),
            SignedKind::File => (1, 0),
            SignedKind::Encrypted => (2, 0),
        }
    }
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
    header: Option<Arc<[u8]>>,
    body: Body,
}

impl ServedFile {
    /// A file without a signed header.
    pub fn plain(body: Arc<[u8]>) -> ServedFile {
        ServedFile { header: None, body: Body::Whole(body) }
    }

    /// The whole file in one piece.
    pub fn to_bytes(&self) -> Vec<u8> {
        Content::to_bytes(self)
    }

    /// The whole file, without a copy if it has no header and lies in memory as a whole.
    pub fn into_body(self) -> Result<Arc<[u8]>, Vec<u8>> {
        match self {
            ServedFile { header: None, body: Body::Whole(body) } => Ok(body),
            file => Err(file.to_bytes()),
        }
    }

    /// Where header and body lie in memory, if all files with that body share it.
    pub fn place(&self) -> Option<(usize, usize)> {
        match &self.body {
            Body::Whole(body) => Some((self.header().as_ptr().addr(), body.as_ptr().addr())),
            Body::Filled(_) => None,
        }
    }

    fn header(&self) -> &[u8] {
        self.header.as_deref().unwrap_or_default()
    }
}

impl Content for ServedFile {
    fn length(&self) -> usize {
        self.header().len() + self.body.length()
    }

    fn copy(&self, range: Range<usize>, out: &mut Vec<u8>) {
        let (header, split) = (self.header(), self.header().len());
        out.extend_from_slice(&header[range.start.min(split)..range.end.min(split)]);
        self.body.copy(range.start.max(split) - split..range.end.max(split) - split, out);
    }
}

/// A file that waits for its header.
#[derive(Clone, Debug)]
pub struct PendingFile {
    body: Body,
}

impl PendingFile {
    /// The file with the header that was signed for it.
    pub fn with_header(self, header: Arc<[u8]>) -> ServedFile {
        ServedFile { header: Some(header), body: self.body }
    }
}

/// One signature to make, away from the threads that serve: with RSA-2048 0.45 ms of a core for
/// SHA-512 and 1.3 ms for SHA-1.
#[derive(Debug)]
pub struct SignJob {
    key: CacheKey,
    signature: FileSignature,
    header: Header,
    body: Body,
    signer: Identity,
    cache: Arc<SignCache>,
    waiter: Option<Waiter>,
    /// Where the header is kept if the file stands for many.
    shared: Option<(Arc<SharedHeaders>, u128)>,
}

/// What is left to do for a header.
#[derive(Debug)]
enum Header {
    /// Nothing: it was signed for another phone.
    Known(Arc<[u8]>),
    Unsigned(UnsignedHeader),
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
        let header = match &self.header {
            Header::Known(header) => return Arc::clone(header),
            Header::Unsigned(header) => header,
        };
        let mut message = header.to_be_signed(&[]);
        self.body.copy(0..self.body.length(), &mut message);
        let signature = self.signer.key.sign(self.signature.digest(), &message);
        let signature = signature.expect("keys sign with both digests");
        header.with_signature(&signature).into()
    }
}

/// What a request names, by its file name alone: there is no path to a file system.
struct Wanted {
    /// The name in the header.
    name: FileName,
    body: Body,
    /// Whose configuration it is, if it is one.
    phone: Option<PhoneId>,
    /// How it is signed, if it is, and the digest that names the content in the cache.
    signed: Option<(SignedKind, u128)>,
}

impl TftpService {
    /// A service that starts at `started_s` (Unix seconds), signs with `signers` and serves these
    /// lists and configurations.
    pub fn new(
        signers: Signers,
        started_s: u32,
        lists: Lists,
        catalogue: Arc<Catalogue>,
        cache: Arc<SignCache>,
    ) -> TftpService {
        let id = |signer: &Identity| {
            // A restored node may sign with another key than that of the certificate (BKP-05).
            let digest = sha256_of(&[signer.certificate.der(), signer.key.public_key()]);
            u64::from_be_bytes(digest[..8].try_into().expect("32 bytes"))
        };
        let identity = |signer: &Identity, body: &[u8]| {
            let certificate = &signer.certificate;
            FileIdentity::signed(body, certificate.issuer(), certificate.serial())
        };
        TftpService {
            list_identity: identity(&signers.list, &lists.itl),
            file_signer: identity(&signers.files, &[]).signer,
            shared_headers: Arc::default(),
            file_signer_id: id(&signers.files),
            list_signer_id: id(&signers.list),
            itl_digest: content_digest(FileName::Itl(None), &lists.itl),
            signers,
            started_s,
            lists,
            catalogue,
            cache,
        }
    }

    /// The same service with other configurations.
    #[must_use]
    pub fn with_catalogue(&self, catalogue: Arc<Catalogue>) -> TftpService {
        TftpService {
            signers: self.signers.clone(),
            lists: self.lists.clone(),
            catalogue,
            cache: Arc::clone(&self.cache),
            shared_headers: Arc::default(),
            ..*self
        }
    }

    /// Answers a request on behalf of `waiter`.
    pub fn request(&self, file: &str, waiter: Waiter) -> FileReply {
        let own = FileName::parse(file).map_or(FileReply::Missing, |file| self.reply(file, waiter));
        match own {
            FileReply::Missing => match self.catalogue.uploaded(file) {
                Some(content) => FileReply::Ready(ServedFile::plain(Arc::clone(content))),
                None => FileReply::Missing,
            },
            own => own,
        }
    }

    fn reply(&self, file: FileName, waiter: Waiter) -> FileReply {
        let Some(wanted) = self.wanted(file) else { return FileReply::Missing };
        let Some((kind, content)) = wanted.signed else {
            return FileReply::Ready(ServedFile { header: None, body: wanted.body });
        };
        let key = CacheKey { content, signer: self.signer_of(kind).1 };
        let job = match self.cache.claim(key, waiter) {
            Claim::Ready(header) => {
                return FileReply::Ready(ServedFile { header: Some(header), body: wanted.body });
            }
            Claim::Wait => None,
            Claim::Sign => self.job(&wanted, Some(waiter)),
        };
        FileReply::Pending { file: PendingFile { body: wanted.body }, job }
    }

    /// What a phone holds that has just taken this file, or `None` if the file is not served.
    pub fn identity_of(&self, file: FileName) -> Option<FileIdentity> {
        if let FileName::Ctl(_) = file {
            return self.ctl().map(CtlFile::identity);
        }
        let Wanted { name, body, signed, phone } = self.wanted(file)?;
        if let Some((SignedKind::List, _)) = signed {
            return Some(self.list_identity);
        }
        let content = match (name, phone) {
            (FileName::Config(_, seal), Some(phone)) => self.catalogue.content_of(phone, seal),
            _ => FileIdentity::unsigned(&body.to_bytes()).content,
        };
        Some(FileIdentity { content, signer: signed.map_or(0, |_| self.file_signer) })
    }

    /// A whole file as it is served, signed now if it is not in the cache.
    pub fn whole(&self, file: FileName) -> Option<Vec<u8>> {
        match self.reply(file, Waiter(u64::MAX)) {
            FileReply::Missing => None,
            FileReply::Ready(file) => Some(file.to_bytes()),
            FileReply::Pending { file: pending, job } => {
                // Another thread may be signing: sign for ourselves instead of waiting for it.
                let job = job.or_else(|| self.job(&self.wanted(file)?, None))?;
                Some(pending.with_header(job.run().header).to_bytes())
            }
        }
    }

    /// A digest of what this generation serves: its list, its configurations, who signs them and
    /// when it started. The same whether one configuration stands for many or not.
    pub fn fingerprint(&self) -> [u8; 32] {
        let ctl = self.ctl().map_or(&[][..], |ctl| ctl.bytes());
        sha256_of(&[
            &self.lists.itl,
            &self.signers.list.certificate.sha256(),
            &self.signers.files.certificate.sha256(),
            &self.started_s.to_be_bytes(),
            &self.catalogue.fingerprint(),
            ctl,
        ])
    }

    /// The whole list as it is served, signed now if it is not in the cache.
    pub fn signed_list(&self) -> Vec<u8> {
        self.whole(FileName::Itl(None)).expect("every service has a list")
    }

    /// Whether its list is signed by the certificate that it names: a broken one is not.
    pub fn list_fits_its_signer(&self) -> bool {
        let (bytes, key) = (self.list_apart(), self.signers.list.certificate.public_key());
        let file = SignedFile::parse(&bytes);
        file.is_ok_and(|file| verify_file(&file, key, &mut Vec::new()).is_ok())
    }

    /// MD5 of the list as it is served (ITL-22).
    pub fn list_checksum(&self) -> [u8; 16] {
        md5(&self.list_apart())
    }

    /// The list as it is served. Looks at no cache and counts no signature: who asks is no phone.
    pub fn list_apart(&self) -> Vec<u8> {
        let list = self.list();
        let job = self.job(&list, None).expect("lists are signed");
        ServedFile { header: Some(job.sign()), body: list.body }.to_bytes()
    }

    /// Whose signatures it makes.
    pub(super) const fn signers(&self) -> &Signers {
        &self.signers
    }

    /// Its trust lists.
    pub(super) const fn lists(&self) -> &Lists {
        &self.lists
    }

    /// The CTL, if the cluster had one when the service started.
    pub fn ctl(&self) -> Option<&CtlFile> {
        self.lists.ctl.as_deref()
    }

    /// Names of all files that phones may ask for: those that exist once, then those of each phone.
    pub fn names(&self) -> impl Iterator<Item = FileName> + '_ {
        let of_phone = |number| Some(DeviceName::of_phone(PhoneId(number)));
        let owners = std::iter::once(None).chain((0..self.catalogue.phones()).map(of_phone));
        let of_owners = owners.flat_map(|owner| {
            let config = |seal| FileName::Config(owner, seal);
            let ctl = self.ctl().map(|_| FileName::Ctl(owner));
            let others = [FileName::Itl(owner), config(Seal::Signed), config(Seal::Plain)];
            let seals = owner.and_then(DeviceName::phone).map(|phone| self.catalogue.seals(phone));
            let is_encrypted = seals.is_some_and(|seals| seals.contains(&Seal::Encrypted));
            let encrypted = is_encrypted.then(|| config(Seal::Encrypted));
            ctl.into_iter().chain(others).chain(encrypted)
        });
        let further = [FileName::Locale, FileName::RingList];
        let both = |name: fn(Seal) -> FileName| [Seal::Signed, Seal::Plain].map(name);
        further.into_iter().flat_map(both).chain(of_owners)
    }

    /// The content of a phone's configuration and what a phone holds that has accepted it.
    pub fn config_of(&self, phone: PhoneId) -> (Arc<[u8]>, FileIdentity) {
        let seal = self.catalogue.seals(phone).last().copied().unwrap_or(Seal::Signed);
        let content = self.catalogue.content_of(phone, seal);
        (self.catalogue.render(phone), FileIdentity { content, signer: self.file_signer })
    }

    /// The signatures of the list and of the configurations of all phones that are not in the
    /// cache, for prewarming.
    pub fn missing_signatures(&self) -> impl Iterator<Item = SignJob> + '_ {
        let list = self.job(&self.list(), None);
        let seals = |phone| self.catalogue.seals(phone).iter().map(move |&seal| (phone, seal));
        let configs = (0..self.catalogue.phones())
            .flat_map(move |number| seals(PhoneId(number)))
            .filter_map(|(phone, seal)| self.job(&self.wanted(config_name(phone, seal))?, None));
        list.into_iter().chain(configs).filter(|job| !self.cache.contains(job.key))
    }

    /// Name the keys of this service in the sign cache.
    pub const fn signer_ids(&self) -> [u64; 2] {
        [self.file_signer_id, self.list_signer_id]
    }

    /// Signs configurations.
    pub const fn signer(&self) -> &Identity {
        &self.signers.files
    }

    /// Proves the node's identity over HTTPS.
    pub const fn host(&self) -> &Identity {
        &self.signers.host
    }

    /// Signs the list.
    pub const fn list_signer(&self) -> &Identity {
        &self.signers.list
    }

    fn signer_of(&self, kind: SignedKind) -> (&Identity, u64) {
        match kind {
            SignedKind::List => (&self.signers.list, self.list_signer_id),
            SignedKind::File | SignedKind::Encrypted => (&self.signers.files, self.file_signer_id),
        }
    }

    fn wanted(&self, name: FileName) -> Option<Wanted> {
        let (body, phone, seal) = match name {
            // Every device gets the node's list under its own name (ITL-17).
            FileName::Itl(_) => return Some(self.list()),
            // It was signed when it was made, and so does the same for every device.
            FileName::Ctl(_) => {
                let body = Body::Whole(Arc::clone(self.ctl()?.bytes()));
                return Some(Wanted { name, body, phone: None, signed: None });
            }
            FileName::Config(None, Seal::Encrypted)
            | FileName::Locale(Seal::Encrypted)
            | FileName::RingList(Seal::Encrypted) => return None,
            FileName::Locale(seal) => (Body::Whole(self.catalogue.locale()), None, seal),
            FileName::RingList(seal) => (Body::Whole(self.catalogue.ring_list()), None, seal),
            FileName::Config(None, seal) => {
                (Body::Whole(self.catalogue.default_config()), None, seal)
            }
            FileName::Config(Some(device), seal) => {
                let (phone, body) = self.catalogue.config(device, seal)?;
                (body, Some(phone), seal)
            }
        };
        let digest = || match phone {
            Some(phone) => self.catalogue.digest(phone, seal),
            None => content_digest(name, &body.to_bytes()),
        };
        let signed = match seal {
            Seal::Plain => None,
            Seal::Signed => Some((SignedKind::File, digest())),
            Seal::Encrypted => Some((SignedKind::Encrypted, digest())),
        };
        Some(Wanted { name, body, phone, signed })
    }

    fn list(&self) -> Wanted {
        let signed = Some((SignedKind::List, self.itl_digest));
        let body = Body::Whole(Arc::clone(&self.lists.itl));
        Wanted { name: FileName::Itl(None), body, phone: None, signed }
    }

    /// The signature of a file, if it is signed.
    fn job(&self, file: &Wanted, waiter: Option<Waiter>) -> Option<SignJob> {
        let (kind, content) = file.signed?;
        let signature = self.signers.signature;
        let (signer, id) = self.signer_of(kind);
        let seal = if kind == SignedKind::Encrypted { Seal::Encrypted } else { Seal::Signed };
        let stand_in = file.phone.and_then(|phone| self.catalogue.stand_in(phone, seal));
        let known = stand_in.and_then(|(_, digest)| self.shared_headers.get(&digest));
        let header = match known {
            Some(header) => Header::Known(Arc::clone(&header)),
            None => Header::Unsigned(self.header(file, kind, signer, stand_in)),
        };
        Some(SignJob {
            key: CacheKey { content, signer: id },
            signature,
            header,
            body: file.body.clone(),
            signer: signer.clone(),
            cache: Arc::clone(&self.cache),
            waiter,
            shared: stand_in.map(|(_, digest)| (Arc::clone(&self.shared_headers), digest)),
        })
    }

    /// The header of a file before it is signed.
    fn header(
        &self,
        file: &Wanted,
        kind: SignedKind,
        signer: &Identity,
        stand_in: Option<(PhoneId, u128)>,
    ) -> UnsignedHeader {
        let Signers { signature, signer_version, .. } = self.signers;
        let certificate = &signer.certificate;
        let seal = if kind == SignedKind::Encrypted { Seal::Encrypted } else { Seal::Signed };
        let name = stand_in.map_or(file.name, |(owner, _)| config_name(owner, seal)).to_string();
        let spec = HeaderSpec {
            order: HeaderOrder::Cucm,
            version: kind.version(),
            signer_version,
            signer_name: certificate.subject(),
            serial: certificate.serial(),
            issuer: certificate.issuer(),
            digest: signature.digest(),
            signature_length: signer.key.signature_length(),
            file_name: &name,
            timestamp: self.started_s,
        };
        let encrypted = file.phone.filter(|_| kind == SignedKind::Encrypted);
        match encrypted.and_then(|phone| self.catalogue.envelope(phone)) {
            Some(envelope) => encode_encrypted(&spec, &envelope),
            None => spec.encode(),
        }
    }
}

/// The header of an encrypted file before it is signed.
fn encode_encrypted(spec: &HeaderSpec<'_>, envelope: &Envelope) -> UnsignedHeader {
    let wrapped = envelope.wrapped_key();
    let digest =
        digest_of(spec.digest, &envelope.whole).expect("files are signed with both digests");
    let encryption = Encryption::new(&envelope.key.iv, envelope.padding, &wrapped)
        .with_digest(spec.digest, &digest);
    spec.encode_encrypted(&encryption)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ClusterId;
    use crate::cluster::{
        Cluster, FleetSpec, Genesis, GroupSpec, NodeSpec, Ports, Release, ServiceKind,
        SignCacheMode, Topology,
    };
    use crate::crypto::{KeySource, verify_file};
    use crate::wire::SignedFile;

    fn service() -> Arc<TftpService> {
        let node = NodeSpec {
            name: "pub".into(),
            domain: None,
            address: "127.0.0.1".parse().unwrap(),
            services: vec![ServiceKind::Tftp, ServiceKind::Tvs],
            ports: Ports::default(),
            expires: std::collections::BTreeMap::new(),
        };
        let cluster = Cluster::new(Genesis {
            topology: Topology {
                cluster: ClusterId::FIRST,
                release: Release::R8_6,
                sign_cache: SignCacheMode::Lazy,
                key_bits: 2048,
                file_signature: Release::R8_6.file_signature(),
                secured_urls: true,
                security: crate::cluster::Security::default(),
                domain: None,
                faults: Vec::new(),
                registrar: None,
                replication_delay: crate::base::Span::ZERO,
                nodes: vec![node],
                groups: vec![GroupSpec {
                    name: "all".into(),
                    members: vec![ClusterId::FIRST.node(0)],
                    share: 1.0,
                }],
            },
            fleet: FleetSpec {
                phones: 3,
                models: vec![(8841.into(), 1.0)],
                seed: 1,
                ..FleetSpec::default()
            },
            source: KeySource::bank(1),
            epoch_s: 1_800_000_000,
            stored: crate::cluster::Stored::default(),
        });
        Arc::clone(cluster.tftp(ClusterId::FIRST.node(0)).unwrap())
    }

    fn identity(service: &TftpService, name: &str) -> Option<FileIdentity> {
        service.identity_of(FileName::parse(name)?)
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
            "Ringlist.xml",
            "Ringlist.xml.sgn",
            "United_States/g3-tones.xml.sgn",
        ] {
            assert!(fetch(&service, name).is_some(), "{name}");
            assert!(identity(&service, name).is_some(), "{name}");
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
            "Ringlist.xml.enc.sgn",
            "SEP0C75BD000000.cnf.xml.sgn.sgn",
        ] {
            assert!(fetch(&service, name).is_none(), "{name}");
            assert!(identity(&service, name).is_none(), "{name}");
        }
    }

    #[test]
    fn signed_files_verify_and_carry_their_names_versions_and_time() {
        let service = service();
        let expected = [
            ("ITLSEP0C75BD000000.tlv", "ITLFile.tlv", (1, 2)),
            ("SEP0C75BD000001.cnf.xml.sgn", "SEP0C75BD000001.cnf.xml.sgn", (1, 0)),
            ("XMLDefault.cnf.xml.sgn", "XMLDefault.cnf.xml.sgn", (1, 0)),
            ("Ringlist.xml.sgn", "Ringlist.xml.sgn", (1, 0)),
            ("United_States/g3-tones.xml.sgn", "United_States/g3-tones.xml.sgn", (1, 0)),
        ];
        for (name, inside, version) in expected {
            let bytes = fetch(&service, name).unwrap();
            let file = SignedFile::parse(&bytes).unwrap();
            assert_eq!((file.header.file_name, file.header.version), (inside, version));
            assert_eq!(file.header.timestamp, 1_800_000_000);
            let key = service.signer().certificate.public_key();
            assert_eq!(verify_file(&file, key, &mut Vec::new()), Ok(()), "{name}");
            assert_eq!(identity(&service, name), Some(FileIdentity::of(&file)));
        }
    }

    #[test]
    fn an_unsigned_config_is_the_content_of_the_signed_one() {
        let service = service();
        let plain = fetch(&service, "SEP0C75BD000001.cnf.xml").unwrap();
        let signed = fetch(&service, "SEP0C75BD000001.cnf.xml.sgn").unwrap();
        assert_eq!(SignedFile::parse(&signed).unwrap().body, plain);
        assert_eq!(service.config_of(PhoneId(1)).0[..], plain[..]);
        let held = identity(&service, "SEP0C75BD000001.cnf.xml");
        assert_eq!(held, Some(FileIdentity::unsigned(&plain)));
    }

    #[test]
    fn a_served_file_is_its_header_and_its_body_in_parts_of_any_size() {
        let service = service();
        for name in ["SEP0C75BD000001.cnf.xml.sgn", "SEP0C75BD000001.cnf.xml", "ITLFile.tlv"] {
            let whole = service.whole(FileName::parse(name).unwrap()).unwrap();
            let FileReply::Ready(file) = service.request(name, Waiter(1)) else { panic!() };
            assert_eq!(file.length(), whole.len());
            for size in [1, 100, 512, 1_428, 20_000] {
                let mut all = Vec::new();
                for start in (0..whole.len()).step_by(size) {
                    file.copy(start..(start + size).min(whole.len()), &mut all);
                }
                assert_eq!(all, whole, "{name} in parts of {size}");
            }
        }
    }

    #[test]
    fn a_read_in_flight_keeps_less_than_a_hundred_bytes_of_its_phone() {
        let size = size_of::<ServedFile>();
        assert!(size <= 64, "{size} bytes, and no bytes of its own elsewhere");
        let service = service();
        let FileReply::Ready(file) = service.request("SEP0C75BD000001.cnf.xml", Waiter(1)) else {
            panic!()
        };
        assert!(matches!(file.body, Body::Filled(_)), "a template and what is filled in");
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
