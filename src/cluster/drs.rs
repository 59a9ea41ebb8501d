//! The disaster recovery system: what a backup holds, and what is left to repair after a restore.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::NodeId;
use crate::crypto::{Certificate, Credential, Identity};

use super::kinds::CertificateKind;
use super::stores::Stores;

/// A backup of a cluster (BKP-01).
#[derive(Clone, Debug)]
pub struct Backup {
    /// The first one of a cluster is number 1.
    pub number: u32,
    /// What it holds of each node.
    pub nodes: BTreeMap<NodeId, NodeBackup>,
}

/// A node in a backup.
#[derive(Clone, Debug)]
pub struct NodeBackup {
    /// Its host name then.
    pub name: String,
    /// Its certificates and keys, which are files of the platform (BKP-02); none with `CSCtn50405`.
    pub own: BTreeMap<CertificateKind, Credential>,
    /// The certificate with the role "Authentication and Authorization": CallManager.pem as the
    /// database has it, which is in every backup (BKP-06).
    pub recorded: Certificate,
}

/// A node whose CallManager.pem is not that of its database (BKP-06).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Which node.
    pub node: NodeId,
    /// What the database has for the role "Authentication and Authorization".
    pub recorded: Certificate,
    /// What stands on the OS page of the node.
    pub file: Certificate,
}

/// The backups of a cluster, and the nodes that a restore has left with another CallManager.pem than
/// their database has.
#[derive(Debug)]
pub(super) struct Drs {
    backups: Vec<Arc<Backup>>,
    /// What the database of such a node has.
    recorded: BTreeMap<NodeId, Certificate>,
    /// ITLs that nodes keep, with `CSCts01319`.
    kept: BTreeMap<NodeId, KeptItls>,
}

/// What is kept of a node's ITLs: the certificates that a list names as the node's own, with their
/// keys.
#[derive(Debug, Default)]
struct KeptItls {
    /// Of the list that is served.
    served: Named,
    /// Of the last one that another CallManager certificate vouched for.
    trusted: Option<Named>,
}

type Named = BTreeMap<CertificateKind, Credential>;

/// The certificates by which phones judge.
const JUDGED_BY: [CertificateKind; 3] =
    [CertificateKind::CallManager, CertificateKind::Tvs, CertificateKind::ItlRecovery];

impl Drs {
    /// The backups that an earlier run has left, and what it has left to repair.
    pub fn of(backups: Vec<Backup>, recorded: BTreeMap<NodeId, Certificate>) -> Drs {
        let backups = backups.into_iter().map(Arc::new).collect();
        Drs { backups, recorded, kept: BTreeMap::new() }
    }

    /// Makes a backup of these nodes, which have their names beside them.
    pub fn back_up(
        &mut self,
        nodes: impl Iterator<Item = (NodeId, String)>,
        stores: &Stores,
        lacks_certificates: bool,
    ) -> Arc<Backup> {
        let node = |(node, name): (NodeId, String)| {
            let own = stores.identities().filter(|&(owner, ..)| owner == node);
            let mut own: BTreeMap<CertificateKind, Credential> =
                own.map(|(_, kind, own)| (kind, own.clone())).collect();
            let file = own.get(&CertificateKind::CallManager)?.certificate().clone();
            let recorded = self.recorded.get(&node).cloned().unwrap_or(file);
            if lacks_certificates {
                own.clear();
            }
            Some((node, NodeBackup { name, own, recorded }))
        };
        let nodes = nodes.filter_map(node).collect();
        let number = self.backups.last().map_or(1, |last| last.number + 1);
        let backup = Arc::new(Backup { number, nodes });
        self.backups.push(Arc::clone(&backup));
        backup
    }

    /// A node has built its ITL: with another CallManager certificate the list before is kept.
    pub fn keep_itl(&mut self, node: NodeId, stores: &Stores) {
        let of = |kind| stores.own(node, kind).map(|own| (kind, own.clone()));
        let now: Named = JUDGED_BY.into_iter().filter_map(of).collect();
        let kept = self.kept.entry(node).or_default();
        let signer = |named: &Named| {
            named.get(&CertificateKind::CallManager).map(|own| own.certificate().clone())
        };
        let before = std::mem::replace(&mut kept.served, now);
        if !before.is_empty() && signer(&before) != signer(&kept.served) {
            kept.trusted = Some(before);
        }
    }

    /// The list that a node has kept, by what it names; nothing without `CSCts01319`.
    pub fn kept_itl(&self, node: NodeId) -> Option<&Named> {
        self.kept.get(&node)?.trusted.as_ref()
    }

    /// A node is installed anew, and keeps nothing.
    pub fn forget_itl(&mut self, node: NodeId) {
        self.kept.remove(&node);
    }

    /// All backups, in the order in which they were made.
    pub fn backups(&self) -> impl Iterator<Item = &Arc<Backup>> {
        self.backups.iter()
    }

    /// The backup with this number, or the last one.
    pub fn find(&self, number: Option<u32>) -> Option<Arc<Backup>> {
        let mut backups = self.backups.iter().rev();
        backups.find(|backup| number.is_none_or(|number| number == backup.number)).cloned()
    }

    /// The database of a node has this CallManager.pem from now on, whatever its file is; `None`: that
    /// of the file.
    pub fn record(&mut self, node: NodeId, certificate: Option<Certificate>) {
        match certificate {
            Some(certificate) => drop(self.recorded.insert(node, certificate)),
            None => drop(self.recorded.remove(&node)),
        }
    }

    /// What the database of a node has, if it is not its file.
    pub fn recorded(&self, node: NodeId, kind: CertificateKind) -> Option<&Certificate> {
        self.recorded.get(&node).filter(|_| kind == CertificateKind::CallManager)
    }

    /// The identity in whose name a node signs: its key signs, and the database names the certificate.
    pub fn signing(&self, node: NodeId, kind: CertificateKind, file: &Identity) -> Identity {
        let certificate = self.recorded(node, kind).unwrap_or(&file.certificate).clone();
        Identity { certificate, key: Arc::clone(&file.key) }
    }

    /// The nodes whose file is not that of their database.
    pub fn mismatches(&self, stores: &Stores) -> Vec<Mismatch> {
        let mismatch = |(&node, recorded): (&NodeId, &Certificate)| {
            let file = stores.own(node, CertificateKind::CallManager)?.certificate().clone();
            Some(Mismatch { node, recorded: recorded.clone(), file })
        };
        self.recorded.iter().filter_map(mismatch).collect()
    }
}
