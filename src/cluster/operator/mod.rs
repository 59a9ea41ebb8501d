//! What the operator does to a cluster, a file per group of actions. All that is known of an action
//! is its type: a new one implements [`Operation`], and a scenario reads it by a verb.

pub mod calendar;
pub mod certificates;
pub mod ctl;
pub mod hosts;
pub mod lsc;
pub mod parameters;
pub mod phones;
pub mod records;
pub mod recovery;
pub mod requests;
pub mod services;

use std::any::Any;
use std::fmt::Debug;
use std::ops::Deref;
use std::sync::Arc;

use crate::base::{NodeId, Span, Time};

use super::state::{ActionError, Cluster, Effect};
use super::topology::Topology;

use services::Services;

/// One step of the operator: plain data, the same for a scenario file, the console and a test.
#[derive(Clone, Debug)]
pub struct OperatorAction(Arc<dyn Operation>);

/// All that is known of one kind of action.
pub trait Operation: Any + Debug + Send + Sync {
    /// Carries it out; the effects are for the driver, in order.
    ///
    /// # Errors
    /// If it names a service or a certificate that the node does not have.
    fn apply(&self, cluster: &mut Cluster, now: Time) -> Result<Vec<Effect>, ActionError>;

    /// What it does, for people who watch it; nodes have their names of `topology`.
    fn words(&self, topology: &Topology) -> String;

    /// What it will do, for people who read a plan.
    fn plan_words(&self, topology: &Topology) -> String {
        self.words(topology)
    }

    /// All of it, in words that stay what they are whatever its fields are called: digests of
    /// virtual time are made of them.
    fn record(&self) -> String;

    /// What whoever looks ahead must know of it in a cluster of this topology.
    fn impact(&self, topology: &Topology) -> Impact;
}

/// What an action means for the phones, as far as it can be told before it is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Impact {
    /// All phones boot within this time.
    pub wave: Option<Span>,
    /// Another certificate may sign the files of these nodes.
    pub signer: Option<Nodes>,
    /// Services begin or cease to answer.
    pub services: Option<Services>,
}

/// Nodes of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nodes {
    /// One of them.
    One(NodeId),
    /// Every node.
    All,
}

impl Impact {
    /// Nothing that a phone would notice.
    pub const NOTHING: Impact = Impact { wave: None, signer: None, services: None };
}

impl OperatorAction {
    /// The action as what it is, if it is of this kind.
    pub fn get<T: Operation>(&self) -> Option<&T> {
        let action: &dyn Any = &*self.0;
        action.downcast_ref()
    }
}

impl<T: Operation> From<T> for OperatorAction {
    fn from(action: T) -> OperatorAction {
        OperatorAction(Arc::new(action))
    }
}

impl Deref for OperatorAction {
    type Target = dyn Operation;

    fn deref(&self) -> &(dyn Operation + 'static) {
        &*self.0
    }
}

/// Actions are the same if their records are.
impl PartialEq for OperatorAction {
    fn eq(&self, other: &OperatorAction) -> bool {
        self.record() == other.record()
    }
}

impl Eq for OperatorAction {}

impl<T: Operation + PartialEq> PartialEq<T> for OperatorAction {
    fn eq(&self, other: &T) -> bool {
        self.get() == Some(other)
    }
}

impl Cluster {
    /// Carries out one operator action; the effects are for the driver, in order.
    ///
    /// # Errors
    /// If the action names a service or certificate that the node does not have.
    pub fn apply(&mut self, action: &dyn Operation, now: Time) -> Result<Vec<Effect>, ActionError> {
        self.look(now);
        let done = action.apply(self, now);
        self.judge_lscs(now);
        done
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        CertificateKind, GroupSpec, NodeSpec, Ports, Release, ServiceKind, SignCacheMode,
    };
    use super::certificates::Regenerate;
    use super::hosts::Rename;
    use super::phones::{MovePhones, ResetPhones};
    use super::records::{AddRecord, RemoveRecord};
    use super::*;
    use crate::base::{ClusterId, PhoneId};

    const PUB: NodeId = ClusterId::FIRST.node(0);

    #[test]
    fn each_action_is_told_to_who_watches_who_plans_and_in_digests() {
        let (certificate, tvs) = (CertificateKind::Tvs, Some(ServiceKind::Tvs));
        let (at_once, spread) = (Span::ZERO, Span::from_secs(30));
        let (name, to) = ("old".to_owned(), "new".to_owned());
        let cases: [(OperatorAction, [&str; 3]); 10] = [
            (
                Regenerate { certificate, node: PUB }.into(),
                ["regenerate TVS on pub", "regenerate TVS on pub", "regenerate 0 TVS"],
            ),
            (
                Rename { node: PUB, to: Some(to), domain: None }.into(),
                ["rename pub to new", "rename pub to new", "rename 0 new"],
            ),
            (
                MovePhones { phones: Arc::new([PhoneId(4), PhoneId(2)]), to: Arc::new([PUB]) }
                    .into(),
                ["move 2 phones to pub", "move 2 phones to pub", "move-phones 4,2 0"],
            ),
            (
                ResetPhones { spread }.into(),
                [
                    "reset phones within 30s",
                    "reset all phones within 30s",
                    "reset-phones 30000000000",
                ],
            ),
            (
                ResetPhones { spread: at_once }.into(),
                ["reset phones within 0s", "reset all phones at once", "reset-phones 0"],
            ),
            (
                Services::restart(PUB, None).into(),
                ["restart all services on pub", "restart every service on pub", "restart 0 all"],
            ),
            (
                Services::start(PUB, tvs).into(),
                ["start tvs on pub", "start tvs on pub", "start 0 tvs"],
            ),
            (Services::stop(PUB, tvs).into(), ["stop tvs on pub", "stop tvs on pub", "stop 0 tvs"]),
            (
                AddRecord { node: PUB, name: name.clone() }.into(),
                ["add the DNS record of old", "add the DNS record of old", "add-record 0 old"],
            ),
            (
                RemoveRecord { node: PUB, name }.into(),
                [
                    "remove the DNS record of old",
                    "remove the DNS record of old",
                    "remove-record old",
                ],
            ),
        ];
        for (action, told) in cases {
            let words = [action.words(&topology()), action.plan_words(&topology())];
            let [words, plan_words] = words.each_ref().map(String::as_str);
            assert_eq!([words, plan_words, &action.record()], told, "{action:?}");
        }
    }

    #[test]
    fn actions_are_equal_if_kind_and_fields_are() {
        let stop = OperatorAction::from(Services::stop(PUB, None));
        assert_eq!(stop, OperatorAction::from(Services::stop(PUB, None)));
        assert_ne!(stop, OperatorAction::from(Services::start(PUB, None)));
        assert_ne!(stop, OperatorAction::from(ResetPhones { spread: Span::ZERO }));
        assert_eq!(stop.get(), Some(&Services::stop(PUB, None)));
        assert_eq!(stop.get::<ResetPhones>(), None);
    }

    fn topology() -> Topology {
        let node = NodeSpec {
            name: "pub".into(),
            domain: None,
            address: "127.0.0.1".parse().unwrap(),
            services: vec![ServiceKind::Tvs],
            ports: Ports::default(),
            expires: std::collections::BTreeMap::new(),
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
            replication_delay: Span::ZERO,
            registrar: None,
            nodes: vec![node],
            groups: vec![GroupSpec { name: "all".into(), members: vec![PUB], share: 1.0 }],
        }
    }
}
