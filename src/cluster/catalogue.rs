use std::ops::Range;
use std::sync::{Arc, OnceLock};

use crate::base::{DeviceName, Model, PhoneId, Purpose, stream};
use crate::crypto::{FileIdentity, sha256_of};
use crate::transfer::Content;
use crate::wire::{ConfigTemplate, ConfigValues, Dialogue, FileName, FilledConfig, Seal};

use super::kinds::ServiceKind;
use super::topology::Topology;

/// The phones that the cluster has configurations for.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetSpec {
    /// Number of phones.
    pub phones: u32,
    /// Models and their shares, which add up to 1.
    pub models: Vec<(Model, f64)>,
    /// Seed of the run: decides which phone is of which model.
    pub seed: u64,
}

impl FleetSpec {
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
    /// Templates by group, then model.
    templates: Vec<Vec<Arc<ConfigTemplate>>>,
    configs: Configs,
    /// For devices that are not in the database.
    default: Arc<[u8]>,
}

#[derive(Debug)]
enum Configs {
    /// Digests of name and content by phone, computed once when first asked for.
    OfEachPhone(Vec<OnceLock<u128>>),
    /// Contents by group, then model, with their digests.
    OfEachModel(Vec<Vec<SharedConfig>>),
}

/// The configuration of all phones of a group and model.
#[derive(Debug)]
struct SharedConfig {
    /// The phone whose configuration it is.
    phone: PhoneId,
    body: Arc<[u8]>,
    digest: u128,
    content: u64,
}

impl Catalogue {
    /// The configurations of `fleet` as the database of this topology has them now.
    pub fn new(topology: &Topology, fleet: &FleetSpec, contents: Contents) -> Catalogue {
        let mut end = 0;
        let group_ends = topology
            .group_sizes(fleet.phones)
            .into_iter()
            .map(|size| {
                end += size;
                end
            })
            .collect();
        let templates = templates(topology, fleet);
        let auto = ConfigValues { device: "AUTO", line: 0 };
        let mut catalogue = Catalogue {
            default: templates[0][0].render(auto).into_bytes().into(),
            templates,
            fleet: fleet.clone(),
            group_ends,
            configs: Configs::OfEachModel(Vec::new()),
        };
        catalogue.configs = match contents {
            Contents::OfEachModel => Configs::OfEachModel(catalogue.shared_configs()),
            Contents::OfEachPhone => {
                let mut digests = Vec::new();
                digests.resize_with(fleet.phones as usize, OnceLock::new);
                Configs::OfEachPhone(digests)
            }
        };
        catalogue
    }

    fn shared_configs(&self) -> Vec<Vec<SharedConfig>> {
        let first_of = |group: usize| if group == 0 { 0 } else { self.group_ends[group - 1] };
        let shared = |group: usize, model: usize| {
            let phone = PhoneId(first_of(group));
            let body: Arc<[u8]> = fill(phone, &self.templates[group][model]).to_bytes().into();
            let digest = content_digest(signed_config(phone), &body);
            let content = FileIdentity::unsigned(&body).content;
            SharedConfig { phone, body, digest, content }
        };
        (0..self.templates.len())
            .map(|group| (0..self.fleet.models.len()).map(|model| shared(group, model)).collect())
            .collect()
    }

    /// The configuration of a phone, if it is in the database.
    pub fn config(&self, device: DeviceName) -> Option<(PhoneId, Body)> {
        let phone = device.phone().filter(|phone| phone.0 < self.fleet.phones)?;
        Some((phone, self.body(phone)))
    }

    fn body(&self, phone: PhoneId) -> Body {
        match self.shared(phone) {
            Some(shared) => Body::Whole(Arc::clone(&shared.body)),
            None => fill(phone, self.template(phone)),
        }
    }

    /// The configuration of phone number `phone`, which is below the size of the fleet.
    pub fn render(&self, phone: PhoneId) -> Arc<[u8]> {
        match self.body(phone) {
            Body::Whole(bytes) => bytes,
            Body::Filled(_) => self.body(phone).to_bytes().into(),
        }
    }

    fn template(&self, phone: PhoneId) -> &Arc<ConfigTemplate> {
        &self.templates[self.group(phone)][self.fleet.model_index(phone)]
    }

    fn group(&self, phone: PhoneId) -> usize {
        self.group_ends.partition_point(|&end| end <= phone.0)
    }

    fn shared(&self, phone: PhoneId) -> Option<&SharedConfig> {
        match &self.configs {
            Configs::OfEachPhone(_) => None,
            Configs::OfEachModel(shared) => {
                Some(&shared[self.group(phone)][self.fleet.model_index(phone)])
            }
        }
    }

    /// Where one configuration stands for many phones: the phone whose it is, and its digest.
    pub fn stand_in(&self, phone: PhoneId) -> Option<(PhoneId, u128)> {
        self.shared(phone).map(|shared| (shared.phone, shared.digest))
    }

    /// The part of a [`FileIdentity`] that names the content of a phone's configuration.
    pub fn content_of(&self, phone: PhoneId) -> u64 {
        match self.shared(phone) {
            Some(shared) => shared.content,
            None => FileIdentity::unsigned(&self.render(phone)).content,
        }
    }

    /// The default configuration, for devices that are not in the database.
    pub fn default_config(&self) -> Arc<[u8]> {
        Arc::clone(&self.default)
    }

    /// The digest of a phone's signed configuration: file name and content.
    pub fn digest(&self, phone: PhoneId) -> u128 {
        match (&self.configs, self.shared(phone)) {
            // Every phone has a signature of its own in the cache.
            (_, Some(shared)) => shared.digest ^ u128::from(phone.0).wrapping_mul(SPREAD),
            (Configs::OfEachPhone(digests), None) => *digests[phone.0 as usize]
                .get_or_init(|| content_digest(signed_config(phone), &self.render(phone))),
            (Configs::OfEachModel(_), None) => unreachable!("shared contents have every phone"),
        }
    }

    /// A digest of the contents of all configurations, whichever stand for others.
    pub fn fingerprint(&self) -> [u8; 32] {
        let values = ConfigValues { device: "AUTO", line: 0 };
        let texts: Vec<String> =
            self.templates.iter().flatten().map(|template| template.render(values)).collect();
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

/// The name of a phone's signed configuration.
pub(super) fn signed_config(phone: PhoneId) -> FileName {
    FileName::Config(Some(DeviceName::of_phone(phone)), Seal::Signed)
}

/// The digest that names a signed file in the sign cache.
pub(super) fn content_digest(name: FileName, content: &[u8]) -> u128 {
    let digest = sha256_of(&[name.to_string().as_bytes(), &[0], content]);
    u128::from_be_bytes(digest[..16].try_into().expect("a digest has more than 16 bytes"))
}

fn templates(topology: &Topology, fleet: &FleetSpec) -> Vec<Vec<Arc<ConfigTemplate>>> {
    let capf_node = topology.nodes_with(ServiceKind::Capf).next();
    let capf_name = capf_node.map_or("", |id| topology.node(id).name.as_str());
    let of_group = |group: &super::GroupSpec| {
        let members: Vec<(String, String, u16)> = group
            .members
            .iter()
            .map(|&id| {
                let node = topology.node(id);
                let full = topology.full_name(&node.name);
                let name = full.clone().unwrap_or_else(|| node.name.clone());
                let address = full.unwrap_or_else(|| node.address.to_string());
                (name, address, node.ports.of(Dialogue::Tvs))
            })
            .collect();
        let of_model = |(model, _): &(Model, f64)| {
            Arc::new(ConfigTemplate::new(&members, capf_name, model.as_str()))
        };
        fleet.models.iter().map(of_model).collect()
    };
    topology.groups.iter().map(of_group).collect()
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
            address: address.parse().unwrap(),
            services: vec![ServiceKind::TVS],
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
            security: crate::cluster::Security::default(),
            domain: None,
            faults: Vec::new(),
            nodes: vec![node("pub", "127.0.0.1"), node("sub", "127.0.0.2")],
            groups: vec![group(&[0, 1], 0.7), group(&[1], 0.3)],
        }
    }

    fn fleet(models: &[(u16, f64)]) -> FleetSpec {
        let models = models.iter().map(|&(model, share)| (model.into(), share)).collect();
        FleetSpec { phones: 10, models, seed: 42 }
    }

    fn catalogue() -> Catalogue {
        Catalogue::new(&topology(), &fleet(&[(8841, 1.0)]), Contents::OfEachPhone)
    }

    #[test]
    fn one_phone_of_a_group_and_model_stands_for_all_and_signatures_stay_apart() {
        let fleet = fleet(&[(8841, 0.5), (7962, 0.5)]);
        let shared = Catalogue::new(&topology(), &fleet, Contents::OfEachModel);
        let each = Catalogue::new(&topology(), &fleet, Contents::OfEachPhone);
        let mut digests = std::collections::BTreeSet::new();
        for number in 0..10 {
            let phone = PhoneId(number);
            let (body, own) = (shared.render(phone), each.render(phone));
            assert_eq!(body.len(), own.len(), "names and numbers have one length");
            assert_eq!(Config::parse(&body).unwrap(), Config::parse(&own).unwrap());
            assert!(digests.insert(shared.digest(phone)));
            assert_eq!(shared.content_of(phone), FileIdentity::unsigned(&body).content);
            assert_eq!(each.content_of(phone), FileIdentity::unsigned(&own).content);
            assert_eq!(each.stand_in(phone), None);
            let owner = PhoneId(if number < 7 { 0 } else { 7 });
            assert_eq!(shared.stand_in(phone).unwrap().0, owner);
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
        let catalogue = Catalogue::new(&named, &fleet, Contents::OfEachPhone);
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
        assert_ne!(catalogue.digest(PhoneId(0)), catalogue.digest(PhoneId(1)));
    }

    #[test]
    fn only_devices_of_the_fleet_are_in_the_database() {
        let catalogue = catalogue();
        let known = |number| catalogue.config(DeviceName::of_phone(PhoneId(number))).is_some();
        assert!(known(0) && known(9) && !known(10));
        assert!(catalogue.config("SEP001122334455".parse().unwrap()).is_none());
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
