use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::{NodeId, PhoneId};
use crate::cluster::{FleetSpec, TftpService};
use crate::phone::{Env, ListFiles, Phone, Shared};

use super::homes::Homes;

/// Makes the phones of a run, each with what it holds at the start.
#[derive(Debug)]
pub struct Cast {
    fleet: FleetSpec,
    homes: Arc<Homes>,
    /// What each node serves and its ITL, if the phones have accepted it before the run.
    held: BTreeMap<NodeId, (Arc<TftpService>, Arc<[u8]>)>,
    /// Whether they have accepted its CTL and its ITL.
    holds: (bool, bool),
    /// Whether a configuration stands for those of many phones.
    pins: bool,
}

impl Cast {
    /// Phones of `fleet` that hold what the services of `held` serve, and nothing if there is none;
    /// of the lists those that `holds` names: CTL, ITL.
    pub(super) fn new(
        fleet: FleetSpec,
        homes: Arc<Homes>,
        held: impl Iterator<Item = (NodeId, Arc<TftpService>)>,
        holds: (bool, bool),
    ) -> Cast {
        let listed = |(node, service): (NodeId, Arc<TftpService>)| {
            let list = service.signed_list().into();
            (node, (service, list))
        };
        Cast { fleet, homes, held: held.map(listed).collect(), holds, pins: false }
    }

    /// The same, for a fleet that shares lists and configurations: `shared` keeps them at their
    /// places, so that what is known of one is known of all.
    #[must_use]
    pub fn pinned(self, shared: &Shared, configs: bool) -> Cast {
        self.held.values().for_each(|(_, list)| shared.pin(list));
        Cast { pins: configs, ..self }
    }

    /// Phone number `id`; one of a run that is to end is asked for nothing, `ends` says so.
    pub fn phone(&self, env: &Env, id: PhoneId, ends: bool) -> Phone {
        let mut phone = Phone::new(id, self.fleet.model(id));
        let held = self.held.get(&self.homes.first(id)).filter(|_| !ends);
        if let Some((service, list)) = held {
            let (config, identity) = service.config_of(id);
            if self.pins {
                env.shared.pin(&config);
            }
            let (ctl, itl) = self.holds;
            let lists = ListFiles {
                ctl: service.ctl().filter(|_| ctl).map(|ctl| &**ctl.bytes()),
                itl: itl.then_some(list),
            };
            phone
                .provision(env, lists, &config, identity)
                .expect("the cluster's own files can be read");
        }
        phone
    }
}
