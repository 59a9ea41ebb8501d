use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use crate::base::{DeviceName, Model, NodeId, PhoneId, Purpose, stream};
use crate::crypto::envelope::{BLOCK, ContentKey, wrap_key};
use crate::crypto::{
    Certificate, DEVICES, FileIdentity, KeySource, POOL, certificate_hash, device, device_of,
    hash_text, pooled_rsa, sha256_of,
};
use crate::transfer::Content;
use crate::wire::{
    AuthMode, CapfServer, ConfigNode, ConfigTemplate, ConfigValues, Dialogue, FileName,
    FilledConfig, LOCALE, RING_LIST, Seal, ServiceUrls, stub_xml,
};

use super::devices::{DeviceTable, IssuedLsc, WrapKey};
use super::kinds::ServiceKind;
use super::services::path;
use super::topology::Topology;
use super::uploaded::UploadedFiles;

/// The phones that the cluster has configurations for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FleetSpec {
    /// Number of phones.
    pub phones: u32,
    /// Models and their shares, which add up to 1.
    pub models: Vec<(Model, f64)>,
    /// Seed of the run: decides which phone is of which model.
    pub seed: u64,
    /// Firmware loads of models for which the operator has named one (Device Defaults).
    pub loads: BTreeMap<Model, String>,
    /// Phone security profiles and their shares, which add up to 1; none if no phone has one of
    /// its own.
    pub profiles: Vec<SecurityProfile>,
    /// What is served beside the files of the phones.
    pub uploaded: UploadedFiles,
}

/// A phone security profile.
#[derive(Clone, Debug, PartialEq)]
pub struct SecurityProfile {
    /// Its name.
    pub name: String,
    /// The share of the phones that has it, 0..=1.
    pub share: f64,
    /// Device security mode: authenticated or encrypted, so that its phones register over TLS.
    pub secure: bool,
    /// "TFTP Encrypted Config" (TFTP-06).
    pub encrypted_config: bool,
    /// The share of its phones whose certificate in the database is not the one that they hold,
    /// 0..=1.
    pub stale_keys: f64,
    /// How its phones prove to CAPF who they are, whatever an operation wants (CAPF-27); nothing:
    /// as each operation wants it.
    pub auth_mode: Option<AuthMode>,
}

impl FleetSpec {
    /// The number of the device certificate that a phone's configuration is encrypted for, if it
    /// is encrypted; it may not be the one that the phone holds.
    pub fn encrypts_for(&self, phone: PhoneId) -> Option<usize> {
        let profile = self.profile(phone).filter(|profile| profile.encrypted_config)?;
        let drawn = || stream(self.seed, u64::from(phone.0), Purpose::StaleKey).unit();
        let is_stale = profile.stale_keys > 0.0 && drawn() < profile.stale_keys;
        Some((device_of(phone) + usize::from(is_stale)) % DEVICES)
    }

    /// The phone security profile of a phone, if phones have any.
    pub fn profile(&self, phone: PhoneId) -> Option<&SecurityProfile> {
        let drawn = || stream(self.seed, u64::from(phone.0), Purpose::SecurityProfile).unit();
        let draw = if self.profiles.len() > 1 { drawn() } else { 0.0 };
        let mut sum = 0.0;
        let mut reached = |profile: &&SecurityProfile| {
            sum += profile.share;
            draw < sum
        };
        self.profiles.iter().find(&mut reached).or(self.profiles.last())
    }

    /// Whether a phone registers over TLS.
    pub fn is_secure(&self, phone: PhoneId) -> bool {
        self.has_secure() && self.profile(phone).is_some_and(|profile| profile.secure)
    }

    /// Whether any phone registers over TLS.
    pub fn has_secure(&self) -> bool {
        self.profiles.iter().any(|profile| profile.secure)
    }

    /// Whether any phone's configuration is encrypted.
    pub(super) fn encrypts_any(&self) -> bool {
        self.profiles.iter().any(|profile| profile.encrypted_config)
    }

    /// The load that phones of a model are to run.
    pub fn load(&self, model: Model) -> String {
        let named = self.loads.get(&model).cloned();
        named.unwrap_or_else(|| format!("sip{model}.14-2-1-0001-125"))
    }

    /// Which of the models a phone is; drawn per phone, so that it depends on no other phone.
    pub fn model_index(&self, phone: PhoneId) -> usize {
        if self.models.len() == 1 {
            return 0;
        }
        let draw = stream(self.seed, u64::from(phone.0), Purpose::Model).unit();
        let mut sum = 0.0;
        let reached = |(_, share): &(Model, f64)| {
            sum += share;
            draw < sum
        };
        self.models.iter().position(reached).unwrap_or(self.models.len() - 1)
    }

    /// The model of a phone.
    pub fn model(&self, phone: PhoneId) -> Model {
        self.models[self.model_index(phone)].0
    }
}

/// How the configurations of phones of the same group and model differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Contents {
    /// By device name and directory number, as on a real cluster.
    #[default]
    OfEachPhone,
    /// Not at all: one phone of the group stands for all. For virtual time, where a million files
    /// need neither be rendered nor hashed nor signed; a phone reads nothing of what differs.
    OfEachModel,
}

/// The body of a file that is served.
#[derive(Clone, Debug)]
pub enum Body {
    /// Bytes that are kept and shared.
    Whole(Arc<[u8]>),
    /// The configuration of one phone: a transfer in flight keeps its few bytes, not the 7.6 kB.
    Filled(FilledConfig),
}

impl Content for Body {
    fn length(&self) -> usize {
        match self {
            Body::Whole(bytes) => bytes.len(),
            Body::Filled(config) => config.length(),
        }
    }

    fn copy(&self, range: Range<usize>, out: &mut Vec<u8>) {
        match self {
            Body::Whole(bytes) => bytes.copy(range, out),
            Body::Filled(config) => config.copy(range, out),
        }
    }
}

/// The configurations of all phones, rendered on demand: the same phone, the same bytes.
#[derive(Debug)]
pub struct Catalogue {
    fleet: FleetSpec,
    /// End of each group's range of phone numbers.
    group_ends: Vec<u32>,
    /// Templates by group, then model, then variant, then what a phone is told to do at CAPF.
    templates: Vec<Vec<Arc<ConfigTemplate>>>,
    /// For each of them what a phone is told in the clear whose configuration is encrypted.
    stubs: Vec<Vec<Arc<[u8]>>>,
    /// Variants of a template: without encryption, then for each device certificate; and all of
    /// them again for phones that register over TLS, if there are any.
    variants: usize,
    /// What phones can be told to do at CAPF: nothing, or each mode.
    modes: usize,
    devices: Arc<DeviceTable>,
    /// How many of them there are for either.
    of_security: usize,
    configs: Configs,
    /// For devices that are not in the database.
    default: Arc<[u8]>,
    /// The locale and the ring list.
    further: [Arc<[u8]>; 2],
}

#[derive(Debug)]
enum Configs {
    /// Digests of name and content by phone, computed once when first asked for: of the signed
    /// files, and of the encrypted ones if there are any.
    OfEachPhone([Vec<OnceLock<u128>>; 2]),
    /// Contents in the order of the templates, with their digests.
    OfEachModel(Vec<Vec<SharedConfig>>),
}

/// The configuration of all phones of a group, model and variant.
#[derive(Debug)]
struct SharedConfig {
    /// The phone whose configuration it is.
    phone: PhoneId,
    /// The whole of it, in the clear.
    whole: Arc<[u8]>,
    /// As it is served with a signature: the whole, or its stub.
    signed: SharedFile,
    encrypted: Option<SharedFile>,
}

/// A body that is served to many phones.
#[derive(Debug)]
struct SharedFile {
    body: Arc<[u8]>,
    digest: u128,
    content: u64,
}

impl SharedFile {
    fn new(name: FileName, body: Arc<[u8]>) -> SharedFile {
        let digest = content_digest(name, &body);
        let content = FileIdentity::unsigned(&body).content;
        SharedFile { body, digest, content }
    }
}

/// An encrypted configuration and how it is opened.
#[derive(Debug)]
pub(super) struct Envelope {
    /// Its content before encryption.
    pub whole: Vec<u8>,
    /// The same behind encryption.
    pub cipher: Vec<u8>,
    /// Bytes of padding, 1 to 16.
    pub padding: u16,
    /// Key and IV.
    pub key: ContentKey,
    /// The public key that the content key is wrapped for: RSA PKCS#1 v1.5.
    public_key: Vec<u8>,
    /// Randomness of the key wrap.
    wrap_seed: u64,
}

impl Envelope {
    /// The content key, wrapped for the device.
    pub fn wrapped_key(&self) -> Vec<u8> {
        wrap_key(&self.public_key, &self.key.key, &mut KeySource::bank(self.wrap_seed))
            .expect("nothing is encrypted for another key than RSA")
    }
}

/// Keys that a configuration may be encrypted for have numbers: those of the device certificates
/// (MICs), and behind them those of the pool that phones have for LSCs.
fn public_key(number: usize) -> Vec<u8> {
    match number.checked_sub(DEVICES) {
        None => device(number).certificate.public_key().to_vec(),
        Some(pooled) => pooled_rsa(pooled).public_key().to_vec(),
    }
}

/// What a stub says of the key with this number: the hash of the device certificate, or of the key
/// where LSCs of many phones have it.
fn key_hash(number: usize) -> String {
    match number.checked_sub(DEVICES) {
        None => certificate_hash(device(number)),
        Some(pooled) => hash_text(pooled_rsa(pooled).public_key()),
    }
}

/// For whom a phone's configuration is encrypted.
struct Sealing {
    /// The number of the key.
    key: usize,
    /// The LSC whose key it is, and whether that is good.
    lsc: Option<(IssuedLsc, bool)>,
}

impl Catalogue {
    /// The configurations of `fleet` as the database of this topology has them now; what each phone
    /// is told to do at CAPF follows `devices`.
    pub fn new(
        topology: &Topology,
        fleet: &FleetSpec,
        contents: Contents,
        devices: &Arc<DeviceTable>,
    ) -> Catalogue {
        let mut end = 0;
        let group_ends = topology
            .group_sizes(fleet.phones)
            .into_iter()
            .map(|size| {
                end += size;
                end
            })
            .collect();
        let keys = if devices.is_used() { DEVICES + POOL } else { DEVICES };
        let of_security = if fleet.encrypts_any() { 1 + keys } else { 1 };
        let variants = of_security * if fleet.has_secure() { 2 } else { 1 };
        let modes = if devices.is_used() { AuthMode::ALL.len() } else { 1 };
        let templates = templates(topology, fleet, [variants, of_security, modes]);
        let auto = ConfigValues { device: "AUTO", line: 0 };
        let mut catalogue = Catalogue {
            default: templates[0][0].render(auto).into_bytes().into(),
            stubs: stubs(&templates, of_security, modes),
            variants,
            of_security,
            modes,
            devices: Arc::clone(devices),
            further: [LOCALE, RING_LIST].map(|text| text.as_bytes().into()),
            templates,
            fleet: fleet.clone(),
            group_ends,
            configs: Configs::OfEachModel(Vec::new()),
        };
        catalogue.configs = match contents {
            Contents::OfEachModel => Configs::OfEachModel(catalogue.shared_configs()),
            Contents::OfEachPhone => {
                let phones = fleet.phones as usize;
                let of = |phones| std::iter::repeat_with(OnceLock::new).take(phones).collect();
                let encrypted = if of_security > 1 { phones } else { 0 };
                Configs::OfEachPhone([of(phones), of(encrypted)])
            }
        };
        catalogue
    }

    /// The uploaded file of this name.
    pub(super) fn uploaded(&self, name: &str) -> Option<&Arc<[u8]>> {
        self.fleet.uploaded.get(name)
    }

    fn shared_configs(&self) -> Vec<Vec<SharedConfig>> {
        let first_of = |group: usize| if group == 0 { 0 } else { self.group_ends[group - 1] };
        let shared = |group: usize, at: usize| {
            let phone = PhoneId(first_of(group));
            let template = &self.templates[group][at];
            let whole: Arc<[u8]> = fill(phone, template).to_bytes().into();
            let variant = at / self.modes % self.of_security;
            let signed = match variant {
                0 => Arc::clone(&whole),
                _ => Arc::clone(&self.stubs[group][at]),
            };
            let key = variant.checked_sub(1);
            let encrypted = key.map(|key| {
                let cipher = self.seal(phone, &whole, public_key(key)).cipher;
                SharedFile::new(config_name(phone, Seal::Encrypted), cipher.into())
            });
            let signed = SharedFile::new(config_name(phone, Seal::Signed), signed);
            SharedConfig { phone, whole, signed, encrypted }
        };
        let of_group =
            |group: usize| (0..self.templates[group].len()).map(|at| shared(group, at)).collect();
        (0..self.templates.len()).map(of_group).collect()
    }

    /// Encrypts a configuration for a public key. The content key follows from seed, phone and
    /// content, so that the same configuration is the same bytes each time.
    fn seal(&self, phone: PhoneId, whole: &[u8], public_key: Vec<u8>) -> Envelope {
        let seed = self.fleet.seed ^ FileIdentity::unsigned(whole).content;
        let mut random = stream(seed, u64::from(phone.0), Purpose::ContentKey);
        let mut key = ContentKey { key: [0; BLOCK], iv: [0; BLOCK] };
        random.fill(&mut key.key);
        random.fill(&mut key.iv);
        let (cipher, padding) = key.encrypt(whole);
        let wrap_seed = random.next_u64();
        Envelope { whole: whole.to_vec(), cipher, padding, key, public_key, wrap_seed }
    }

    /// The encrypted configuration of a phone, if it is encrypted; where one stands for many, of
    /// that one.
    pub(super) fn envelope(&self, phone: PhoneId) -> Option<Envelope> {
        let Sealing { key, lsc } = self.sealing(phone)?;
        let owner = self.shared(phone).map_or(phone, |shared| shared.phone);
        let public_key = match lsc {
            Some((_, false)) => return None,
            Some((lsc, true)) if lsc.wrap == WrapKey::Own => {
                Certificate::from_der(&lsc.der).ok()?.public_key().to_vec()
            }
            _ => public_key(key),
        };
        Some(self.seal(owner, &self.render(phone), public_key))
    }

    /// For whom the configuration of a phone is encrypted, if it is: for its LSC, or else for its MIC.
    fn sealing(&self, phone: PhoneId) -> Option<Sealing> {
        let mic = self.fleet.encrypts_for(phone)?;
        let knows_lscs = self.of_security > 1 + DEVICES;
        let Some((lsc, is_good)) = knows_lscs.then(|| self.devices.wrapping(phone)).flatten()
        else {
            return Some(Sealing { key: mic, lsc: None });
        };
        let key = match lsc.wrap {
            WrapKey::Pooled(number) => DEVICES + usize::from(number),
            WrapKey::Own | WrapKey::None => mic,
        };
        Some(Sealing { key, lsc: Some((lsc, is_good)) })
    }

    /// The bytes of a configuration or stub with the hash of the phone's own LSC, if it is for that.
    fn with_own_hash(&self, phone: PhoneId, mut bytes: Vec<u8>) -> Vec<u8> {
        let Some(Sealing { key, lsc: Some((lsc, _)) }) = self.sealing(phone) else { return bytes };
        let (of_key, own) = (key_hash(key), hash_text(&lsc.der));
        if let Some(at) = bytes.windows(of_key.len()).position(|part| part == of_key.as_bytes()) {
            bytes[at..at + own.len()].copy_from_slice(own.as_bytes());
        }
        bytes
    }

    /// How a phone's configuration is served signed: encrypted as well, or not.
    pub fn seals(&self, phone: PhoneId) -> &'static [Seal] {
        match self.sealing(phone) {
            Some(Sealing { lsc: None | Some((_, true)), .. }) => &[Seal::Signed, Seal::Encrypted],
            // Nothing is encrypted for an LSC that is over.
            Some(_) | None => &[Seal::Signed],
        }
    }

    /// The configuration of a phone as it is served in this way, if it is in the database and
    /// served so: in the clear the stub of an encrypted one.
    pub fn config(&self, device: DeviceName, seal: Seal) -> Option<(PhoneId, Body)> {
        let phone = device.phone().filter(|phone| phone.0 < self.fleet.phones)?;
        Some((phone, self.served(phone, seal)?))
    }

    fn served(&self, phone: PhoneId, seal: Seal) -> Option<Body> {
        if !self.seals(phone).contains(&seal) && seal == Seal::Encrypted {
            return None;
        }
        if let Some(shared) = self.shared_file(phone, seal) {
            return Some(Body::Whole(Arc::clone(&shared.body)));
        }
        match (self.fleet.encrypts_for(phone), seal) {
            (Some(_), Seal::Encrypted) => {
                self.envelope(phone).map(|envelope| Body::Whole(envelope.cipher.into()))
            }
            (Some(_), _) => {
                let stub = self.of(&self.stubs, phone).to_vec();
                Some(Body::Whole(self.with_own_hash(phone, stub).into()))
            }
            (None, Seal::Encrypted) => None,
            (None, _) => Some(fill(phone, self.of(&self.templates, phone))),
        }
    }

    /// What the configuration of a phone tells it to do at CAPF, if anything.
    fn told(&self, phone: PhoneId) -> Option<AuthMode> {
        let told = (self.modes > 1).then(|| self.devices.told(phone));
        told.filter(|&mode| mode != AuthMode::None)
    }

    /// What is kept for the group, model and variant of a phone.
    fn of<'a, T>(&self, kept: &'a [Vec<T>], phone: PhoneId) -> &'a T {
        let variant = self.sealing(phone).map_or(0, |sealing| 1 + sealing.key);
        let secure = if self.fleet.is_secure(phone) { self.of_security } else { 0 };
        let mode = self.told(phone).map_or(0, |mode| usize::from(mode.number()));
        let at = self.fleet.model_index(phone) * self.variants + variant + secure;
        &kept[self.group(phone)][at * self.modes + mode]
    }

    /// The whole configuration of phone number `phone`, which is below the size of the fleet, in
    /// the clear.
    pub fn render(&self, phone: PhoneId) -> Arc<[u8]> {
        if let Some(shared) = self.shared(phone) {
            return Arc::clone(&shared.whole);
        }
        let whole = fill(phone, self.of(&self.templates, phone)).to_bytes();
        self.with_own_hash(phone, whole).into()
    }

    fn group(&self, phone: PhoneId) -> usize {
        self.group_ends.partition_point(|&end| end <= phone.0)
    }

    fn shared(&self, phone: PhoneId) -> Option<&SharedConfig> {
        match &self.configs {
            Configs::OfEachPhone(_) => None,
            Configs::OfEachModel(shared) => Some(self.of(shared, phone)),
        }
    }

    fn shared_file(&self, phone: PhoneId, seal: Seal) -> Option<&SharedFile> {
        let shared = self.shared(phone)?;
        if seal == Seal::Encrypted { shared.encrypted.as_ref() } else { Some(&shared.signed) }
    }

    /// Where one configuration stands for many phones: the phone whose it is, and its digest.
    pub fn stand_in(&self, phone: PhoneId, seal: Seal) -> Option<(PhoneId, u128)> {
        let file = self.shared_file(phone, seal)?;
        Some((self.shared(phone)?.phone, file.digest))
    }

    /// The part of a [`FileIdentity`] that names the content of a phone's configuration as it is
    /// served in this way.
    pub fn content_of(&self, phone: PhoneId, seal: Seal) -> u64 {
        if let Some(shared) = self.shared_file(phone, seal) {
            return shared.content;
        }
        let body = self.served(phone, seal).map(|body| body.to_bytes());
        FileIdentity::unsigned(&body.unwrap_or_default()).content
    }

    /// The default configuration, for devices that are not in the database.
    pub fn default_config(&self) -> Arc<[u8]> {
        Arc::clone(&self.default)
    }

    /// The tones of the network locale, the same for all phones.
    pub fn locale(&self) -> Arc<[u8]> {
        Arc::clone(&self.further[0])
    }

    /// The ring list, the same for all phones.
    pub fn ring_list(&self) -> Arc<[u8]> {
        Arc::clone(&self.further[1])
    }

    /// The digest of a phone's signed configuration, encrypted or not: file name and content.
    pub fn digest(&self, phone: PhoneId, seal: Seal) -> u128 {
        let computed = || {
            let body = self.served(phone, seal).map(|body| body.to_bytes());
            content_digest(config_name(phone, seal), &body.unwrap_or_default())
        };
        match (&self.configs, self.shared_file(phone, seal)) {
            // Every phone has a signature of its own in the cache.
            (_, Some(shared)) => shared.digest ^ u128::from(phone.0).wrapping_mul(SPREAD),
            // It changes whenever somebody says so, and with each LSC.
            (Configs::OfEachPhone(_), None)
                if self.told(phone).is_some()
                    || self.sealing(phone).is_some_and(|sealing| sealing.lsc.is_some()) =>
            {
                computed()
            }
            (Configs::OfEachPhone(digests), None) => {
                let of_seal = &digests[usize::from(seal == Seal::Encrypted)];
                *of_seal[phone.0 as usize].get_or_init(computed)
            }
            (Configs::OfEachModel(_), None) => unreachable!("shared contents have every phone"),
        }
    }

    /// A digest of the contents of all configurations, whichever stand for others.
    pub fn fingerprint(&self) -> [u8; 32] {
        let values = ConfigValues { device: "AUTO", line: 0 };
        let plain = self.templates.iter().flat_map(|group| group.iter().step_by(self.modes));
        let texts: Vec<String> = plain.map(|template| template.render(values)).collect();
        sha256_of(&texts.iter().map(String::as_bytes).collect::<Vec<_>>())
    }

    /// Number of phones.
    pub const fn phones(&self) -> u32 {
        self.fleet.phones
    }
}

/// An odd factor that spreads phone numbers over all bits of a digest.
const SPREAD: u128 = 0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835;

fn fill(phone: PhoneId, template: &Arc<ConfigTemplate>) -> Body {
    let line = 2_000_000 + phone.0 % 8_000_000;
    Body::Filled(FilledConfig::new(Arc::clone(template), DeviceName::of_phone(phone), line))
}

/// The name of a phone's configuration.
pub(super) fn config_name(phone: PhoneId, seal: Seal) -> FileName {
    FileName::Config(Some(DeviceName::of_phone(phone)), seal)
}

/// The digest that names a signed file in the sign cache.
pub(super) fn content_digest(name: FileName, content: &[u8]) -> u128 {
    let digest = sha256_of(&[name.to_string().as_bytes(), &[0], content]);
    u128::from_be_bytes(digest[..16].try_into().expect("a digest has more than 16 bytes"))
}

fn templates(
    topology: &Topology,
    fleet: &FleetSpec,
    [variants, of_security, of_capf]: [usize; 3],
) -> Vec<Vec<Arc<ConfigTemplate>>> {
    let capf = topology.nodes_with(ServiceKind::Capf).next().map(|id| topology.node(id));
    let name = capf.map_or("", |node| node.name.as_str());
    // Who is told to go there is told how.
    let host =
        capf.map(|node| topology.full_name(node).unwrap_or_else(|| node.address.to_string()));
    let server = |mode| match (mode, capf, &host) {
        (AuthMode::None, _, _) | (_, None, _) | (_, _, None) => {
            CapfServer { mode, host: name, port: Dialogue::Capf.rules().port }
        }
        (_, Some(node), Some(host)) => {
            CapfServer { mode, host, port: node.ports.of(Dialogue::Capf) }
        }
    };
    let of_group = |group: &super::GroupSpec| {
        let members: Vec<ConfigNode> = group
            .members
            .iter()
            .map(|&id| {
                let node = topology.node(id);
                let full = topology.full_name(node);
                let address = full.clone().unwrap_or_else(|| node.address.to_string());
                let tvs = node.ports.of(Dialogue::Tvs);
                // A node that registers nobody has no port of its own there.
                let [sip, sips] =
                    [Dialogue::Sip, Dialogue::Sips].map(|of| match node.ports.of(of) {
                        0 => of.rules().port,
                        port => port,
                    });
                // Where nobody registers, the configuration says what it always said.
                let (name, sip) = match topology.registrar {
                    Some(_) => (address.clone(), (sip, sips)),
                    None => (full.unwrap_or_else(|| node.name.clone()), (5060, 5061)),
                };
                ConfigNode { name, address, tvs, sip }
            })
            .collect();
        let of_model = |(model, variant, mode): (Model, usize, AuthMode)| {
            let hash = (variant % of_security).checked_sub(1);
            let hash = hash.map(key_hash);
            let (load, secure) = (fleet.load(model), variant >= of_security);
            let urls = service_urls(topology, group.members[0]);
            let (hash, urls) = (hash.as_deref(), urls.as_ref());
            Arc::new(ConfigTemplate::new(&members, server(mode), &load, hash, secure, urls))
        };
        let models = fleet.models.iter().map(|&(model, _)| model);
        let variants = models.flat_map(|model| (0..variants).map(move |at| (model, at)));
        let told = |(model, at)| {
            AuthMode::ALL.into_iter().take(of_capf).map(move |mode| (model, at, mode))
        };
        variants.flat_map(told).map(of_model).collect()
    };
    topology.groups.iter().map(of_group).collect()
}

/// Where the buttons of phones lead whose first node this is, if its Tomcat has pages for them.
fn service_urls(topology: &Topology, first: NodeId) -> Option<ServiceUrls> {
    let web = topology.node(first).ports.web?;
    let host = topology.web_host(first);
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let plain = |path: &str| format!("http://{host}:{}{path}", web.http);
    let secure = |path: &str| {
        if topology.secured_urls {
            format!("https://{host}:{}{path}", web.https)
        } else {
            plain(path)
        }
    };
    Some(ServiceUrls {
        directory: plain(path::DIRECTORY),
        secure_directory: secure(path::DIRECTORY),
        services: plain(path::SERVICES),
        secure_services: secure(path::SERVICES),
    })
}

/// The stub of each template that is encrypted, an empty one of each other.
fn stubs(
    templates: &[Vec<Arc<ConfigTemplate>>],
    of_security: usize,
    of_capf: usize,
) -> Vec<Vec<Arc<[u8]>>> {
    let stub = |(at, template): (usize, &Arc<ConfigTemplate>)| -> Arc<[u8]> {
        let Some(number) = (at / of_capf % of_security).checked_sub(1) else {
            return Arc::default();
        };
        let whole = template.render(ConfigValues { device: "AUTO", line: 0 });
        let hash = key_hash(number);
        let stub = stub_xml(whole.as_bytes(), &hash).expect("templates are well-formed");
        stub.into_bytes().into()
    };
    templates.iter().map(|of_group| of_group.iter().enumerate().map(stub).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ClusterId;
    use crate::cluster::{GroupSpec, NodeSpec, Ports, Release, SignCacheMode};
    use crate::wire::Config;

    fn topology() -> Topology {
        let node = |name: &str, address: &str| NodeSpec {
            name: name.into(),
            domain: None,
            address: address.parse().unwrap(),
            services: vec![ServiceKind::Tvs],
            ports: Ports::default(),
            expires: std::collections::BTreeMap::new(),
        };
        let group = |members: &[u8], share| GroupSpec {
            name: "g".into(),
            members: members.iter().copied().map(|node| ClusterId::FIRST.node(node)).collect(),
            share,
        };
        Topology {
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
            nodes: vec![node("pub", "127.0.0.1"), node("sub", "127.0.0.2")],
            groups: vec![group(&[0, 1], 0.7), group(&[1], 0.3)],
        }
    }

    fn fleet(models: &[(u16, f64)]) -> FleetSpec {
        let models = models.iter().map(|&(model, share)| (model.into(), share)).collect();
        FleetSpec { phones: 10, models, seed: 42, ..FleetSpec::default() }
    }

    fn catalogue() -> Catalogue {
        Catalogue::new(&topology(), &fleet(&[(8841, 1.0)]), Contents::OfEachPhone, &Arc::default())
    }

    #[test]
    fn one_phone_of_a_group_and_model_stands_for_all_and_signatures_stay_apart() {
        let fleet = fleet(&[(8841, 0.5), (7962, 0.5)]);
        let shared = Catalogue::new(&topology(), &fleet, Contents::OfEachModel, &Arc::default());
        let each = Catalogue::new(&topology(), &fleet, Contents::OfEachPhone, &Arc::default());
        let mut digests = std::collections::BTreeSet::new();
        for number in 0..10 {
            let phone = PhoneId(number);
            let (body, own) = (shared.render(phone), each.render(phone));
            assert_eq!(body.len(), own.len(), "names and numbers have one length");
            assert_eq!(Config::parse(&body).unwrap(), Config::parse(&own).unwrap());
            assert!(digests.insert(shared.digest(phone, Seal::Signed)));
            assert_eq!(
                shared.content_of(phone, Seal::Signed),
                FileIdentity::unsigned(&body).content
            );
            assert_eq!(each.content_of(phone, Seal::Signed), FileIdentity::unsigned(&own).content);
            assert_eq!(each.stand_in(phone, Seal::Signed), None);
            let owner = PhoneId(if number < 7 { 0 } else { 7 });
            assert_eq!(shared.stand_in(phone, Seal::Signed).unwrap().0, owner);
        }
        assert!(Arc::ptr_eq(&shared.render(PhoneId(8)), &shared.render(PhoneId(8))));
    }

    #[test]
    fn each_phone_gets_the_tvs_servers_of_its_group_in_order() {
        let catalogue = catalogue();
        let addresses = |phone| {
            let config = Config::parse(&catalogue.render(PhoneId(phone))).unwrap();
            config.tvs.into_iter().map(|member| member.address).collect::<Vec<_>>()
        };
        for phone in 0..7 {
            assert_eq!(addresses(phone), ["127.0.0.1", "127.0.0.2"], "{phone}");
        }
        for phone in 7..10 {
            assert_eq!(addresses(phone), ["127.0.0.2"], "{phone}");
        }
    }

    #[test]
    fn a_cluster_with_a_domain_is_called_by_full_names() {
        let named = Topology { domain: Some("cucm.example".into()), ..topology() };
        let fleet = fleet(&[(8841, 1.0)]);
        let catalogue = Catalogue::new(&named, &fleet, Contents::OfEachPhone, &Arc::default());
        let body = catalogue.render(PhoneId(9));
        assert_eq!(Config::parse(&body).unwrap().tvs[0].address, "sub.cucm.example");
        assert!(!String::from_utf8(body.to_vec()).unwrap().contains("127.0.0."));
    }

    #[test]
    fn configurations_differ_by_phone_and_repeat_byte_for_byte() {
        let catalogue = catalogue();
        let (one, two) = (catalogue.render(PhoneId(0)), catalogue.render(PhoneId(1)));
        assert_ne!(one, two);
        assert_eq!(one, catalogue.render(PhoneId(0)));
        assert_ne!(
            catalogue.digest(PhoneId(0), Seal::Signed),
            catalogue.digest(PhoneId(1), Seal::Signed)
        );
    }

    #[test]
    fn only_devices_of_the_fleet_are_in_the_database() {
        let catalogue = catalogue();
        let known = |number| {
            catalogue.config(DeviceName::of_phone(PhoneId(number)), Seal::Signed).is_some()
        };
        assert!(known(0) && known(9) && !known(10));
        assert!(catalogue.config("SEP001122334455".parse().unwrap(), Seal::Signed).is_none());
    }

    #[test]
    fn models_are_drawn_by_share_and_depend_on_no_other_phone() {
        let fleet = FleetSpec { phones: 10_000, ..fleet(&[(8841, 0.8), (7962, 0.2)]) };
        let old = (0..10_000).filter(|&n| fleet.model(PhoneId(n)) == 7962.into()).count();
        assert!((1_850..2_150).contains(&old), "{old} of 10,000");
        let larger = FleetSpec { phones: 20_000, ..fleet.clone() };
        assert!((0..100).all(|n| fleet.model(PhoneId(n)) == larger.model(PhoneId(n))));
    }

    #[test]
    fn the_digest_names_file_and_content() {
        let [plain, signed] = [Seal::Plain, Seal::Signed].map(|seal| FileName::Config(None, seal));
        assert_ne!(content_digest(plain, b"x"), content_digest(FileName::Itl(None), b"x"));
        assert_ne!(content_digest(plain, b"x"), content_digest(plain, b"y"));
        assert_ne!(content_digest(plain, b".sgnx"), content_digest(signed, b"x"));
    }
}
