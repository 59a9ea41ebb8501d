use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::base::{NodeId, PhoneId};
use crate::cluster::{Cluster, ServiceKind, Topology};
use crate::crypto::Certificate;
use crate::measure::Journal;
use crate::phone::{FileKind, PROVISIONING_ROLES, Phone, TrustLists};
use crate::wire::{Dialogue, FileName, ROLE_TVS};

use super::homes::Homes;

/// What the end of a run has found of each phone, in the order of their numbers.
#[derive(Clone, Debug, Default)]
pub struct Roll {
    /// One for each phone.
    pub entries: Vec<RollEntry>,
    /// The checksums of the ITLs that phones hold, hexadecimal.
    pub itls: Vec<String>,
}

/// What is kept of a run beside its sums.
#[derive(Clone, Debug)]
pub struct Records {
    /// Its course.
    pub journal: Journal,
    /// What its end has found.
    pub roll: Roll,
}

/// What the end of a run has found of a phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollEntry {
    /// The TFTP node that it asks first.
    pub tftp: NodeId,
    /// Its ITL by the place in [`Roll::itls`]; `None`: it holds none.
    pub itl: Option<u16>,
    /// What speaks for the deletion of its ITL; `None` where the servers are not ours.
    pub conditions: Option<Conditions>,
    /// Whether a script that pushes keys (SOAP, XML) could erase its lists: the phone asks its
    /// authentication URL who pushes, and over HTTPS somebody must vouch for that server (TOOL-09).
    /// `None` where it holds no list or the servers are not ours.
    pub scriptable: Option<bool>,
}

/// What must hold, all of it, before an ITL is deleted (TOOL-01). That it shows "Verification
/// Failed" is the third of the four; the phone's record knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// Its ITL is not the one that its TFTP nodes serve.
    pub list_differs: bool,
    /// No TVS server of its configuration presents a certificate that its lists hold.
    pub tvs_differs: bool,
    /// No backup has a key whose certificate its lists trust to sign files.
    pub no_backup: bool,
}

/// A backup that has what a phone trusts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Saved {
    /// Its number.
    pub(super) number: u32,
    /// The nodes whose keys have to come back from it: the TFTP servers of the phone that have
    /// others now, and the publisher if its ITLRecovery is another one.
    pub(super) nodes: Vec<NodeId>,
}

/// Judges phones by what their cluster runs and has in its backups; each question about the same
/// lists is answered once.
pub(super) struct Bench<'a> {
    cluster: &'a Cluster,
    homes: &'a Homes,
    trusts: BTreeMap<(usize, usize, usize), bool>,
    saved: BTreeMap<([usize; 2], Vec<NodeId>), Option<Saved>>,
    itls: BTreeMap<[u8; 16], u16>,
    entries: HashMap<Sight, RollEntry, RandomState>,
}

/// All that an entry depends on: where lists, configuration and home of a phone lie, which are one
/// for all that hold the same, and whether it holds lists.
type Sight = ([usize; 4], bool);

impl<'a> Bench<'a> {
    pub(super) fn new(cluster: &'a Cluster, homes: &'a Homes) -> Bench<'a> {
        let (trusts, saved, itls) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Bench { cluster, homes, trusts, saved, itls, entries: HashMap::default() }
    }

    pub(super) fn entry(&mut self, phone: &Phone, roll: &mut Roll) -> RollEntry {
        let [ctl, itl] = places(phone.lists());
        let config = phone.config().map_or(0, |config| Arc::as_ptr(&config.content).addr());
        let home = self.homes.of(phone.id()).as_ptr().addr();
        let sight = ([ctl, itl, config, home], phone.holds_lists());
        if let Some(known) = self.entries.get(&sight) {
            return *known;
        }
        let entry = self.fresh_entry(phone, roll);
        self.entries.insert(sight, entry);
        entry
    }

    fn fresh_entry(&mut self, phone: &Phone, roll: &mut Roll) -> RollEntry {
        let conditions = Conditions {
            list_differs: self.list_differs(phone),
            tvs_differs: !self.trusts_tvs(phone),
            no_backup: self.saved(phone).is_none(),
        };
        let itl = phone.itl_checksum().and_then(|checksum| self.itl(checksum, roll));
        let tftp = self.homes.first(phone.id());
        let scriptable = phone.holds_lists().then(|| self.is_scriptable(phone));
        RollEntry { tftp, itl, conditions: Some(conditions), scriptable }
    }

    fn is_scriptable(&mut self, phone: &Phone) -> bool {
        let Some(config) = phone.config() else { return false };
        let topology = self.cluster.topology();
        // A phone that is stuck goes on with the URLs of its old configuration; without pages of a
        // Tomcat they lead nowhere, and the parameter counts.
        let has_pages = topology.nodes.iter().any(|node| node.ports.web.is_some());
        let is_secured = if has_pages {
            config.content.urls.secure_services.starts_with("https:")
        } else {
            topology.secured_urls
        };
        !is_secured || self.trusts_tvs(phone)
    }

    /// The place of an ITL; fleets hold few of them.
    fn itl(&mut self, checksum: [u8; 16], roll: &mut Roll) -> Option<u16> {
        if let Some(&at) = self.itls.get(&checksum) {
            return Some(at);
        }
        let at = u16::try_from(roll.itls.len()).ok()?;
        roll.itls.push(crate::listing::hex(&checksum));
        self.itls.insert(checksum, at);
        Some(at)
    }

    /// Whether none of the phone's TFTP nodes that run serves the ITL that it holds.
    fn list_differs(&self, phone: &Phone) -> bool {
        let own = phone.lists().itl.as_ref().map(|itl| itl.identity());
        let home = self.homes.of(phone.id()).iter();
        let services = home.filter_map(|&node| self.cluster.tftp(node));
        let mut served = services.map(|one| one.identity_of(FileName::Itl(None))).peekable();
        phone.holds_lists() && served.peek().is_some() && served.all(|served| served != own)
    }

    /// Whether a TVS server of the phone's configuration that runs presents what its lists hold.
    pub(super) fn trusts_tvs(&mut self, phone: &Phone) -> bool {
        let Some(config) = phone.config() else { return false };
        let [ctl, itl] = places(phone.lists());
        let key = (ctl, itl, Arc::as_ptr(&config.content).addr());
        if let Some(&known) = self.trusts.get(&key) {
            return known;
        }
        let presents = |node: NodeId| {
            let tvs = self.cluster.dialogue(node, Dialogue::Tvs)?;
            Some(phone.lists().judge_server(&[ROLE_TVS], &tvs.identity.certificate))
        };
        let trusts =
            members(self.cluster.topology(), phone).any(|node| presents(node) == Some(true));
        self.trusts.insert(key, trusts);
        trusts
    }

    /// A TFTP node of the phone that keeps a list which the phone trusts to sign files (DEF-12).
    pub(super) fn kept(&self, phone: &Phone) -> Option<NodeId> {
        let home = self.homes.of(phone.id()).iter().copied();
        let trusts = |certificate| phone.lists().judge_server(PROVISIONING_ROLES, certificate);
        home.into_iter().find(|&node| self.cluster.kept_itl(node).any(trusts))
    }

    /// The backup with most of the keys whose certificates the phone trusts to sign files; the last
    /// one of several.
    pub(super) fn saved(&mut self, phone: &Phone) -> Option<Saved> {
        let key = (places(phone.lists()), self.homes.of(phone.id()).to_vec());
        if let Some(known) = self.saved.get(&key) {
            return known.clone();
        }
        let stores = self.cluster.stores();
        let trusts = |certificate: &Certificate| {
            phone.lists().judge_server(PROVISIONING_ROLES, certificate)
                || takes_lists_of(phone, certificate)
        };
        let publisher = self.cluster.publisher();
        let mut home = key.1.clone();
        home.extend((!home.contains(&publisher)).then_some(publisher));
        let mut found: Option<Saved> = None;
        for backup in self.cluster.backups() {
            let (mut has_any, mut nodes) = (false, Vec::new());
            for (&node, saved) in backup.nodes.iter().filter(|(node, _)| home.contains(node)) {
                let mut is_gone = false;
                for (&kind, own) in &saved.own {
                    if trusts(own.certificate()) {
                        has_any = true;
                        let now = stores.own(node, kind);
                        is_gone |= now.is_none_or(|now| now.certificate() != own.certificate());
                    }
                }
                nodes.extend(is_gone.then_some(node));
            }
            let is_better = |best: &Saved| nodes.len() >= best.nodes.len();
            if has_any && found.as_ref().is_none_or(is_better) {
                found = Some(Saved { number: backup.number, nodes });
            }
        }
        self.saved.insert(key, found.clone());
        found
    }
}

/// Whether a phone takes an ITL that the holder of this certificate has signed.
pub(super) fn takes_lists_of(phone: &Phone, signer: &Certificate) -> bool {
    let list = phone.lists().itl.as_ref();
    let record =
        list.and_then(|itl| itl.find(FileKind::Itl.roles(), signer.issuer(), signer.serial()));
    record.is_some()
}

/// The nodes that the phone's configuration names as TVS servers.
pub(super) fn members<'a>(
    topology: &'a Topology,
    phone: &'a Phone,
) -> impl Iterator<Item = NodeId> + 'a {
    let named = phone.config().into_iter().flat_map(|config| &config.content.tvs);
    named.filter_map(move |member| {
        topology.nodes_with(ServiceKind::Tvs).find(|&id| {
            let node = topology.node(id);
            let full = topology.full_name(node);
            node.name == member.address
                || node.address.to_string() == member.address
                || full.is_some_and(|full| full == member.address)
        })
    })
}

/// The lists of a phone by their places in memory; those of phones that hold the same are one.
fn places(lists: &TrustLists) -> [usize; 2] {
    [&lists.ctl, &lists.itl].map(|list| list.as_ref().map_or(0, |list| Arc::as_ptr(list).addr()))
}

/// The `CallManager` group of each phone: groups are ranges of numbers.
pub fn group_of(sizes: &[u32], phone: PhoneId) -> usize {
    let mut end = 0;
    let reached = sizes.iter().position(|size| {
        end += size;
        phone.0 < end
    });
    reached.unwrap_or(sizes.len().saturating_sub(1))
}
