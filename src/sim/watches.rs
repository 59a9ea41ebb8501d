use std::net::SocketAddr;

use crate::base::NodeId;
use crate::cluster::{ServiceChange, ServiceKind};
use crate::phone::{Input, Message, Watch};
use crate::wire::Dialogue;

use super::event::{Event, Notice};
use super::link::Fates;
use super::watching::Watching;
use super::world::World;

impl World {
    /// A phone wants these servers to be watched instead of those before.
    pub(super) fn watch(&mut self, phone: u32, watch: &Watch) {
        if self.watches.all.is_empty() {
            self.watches.all = vec![Watching::default(); self.plan.fleet.phones as usize];
        }
        let [holds, awaits] = [&watch.holds, &watch.awaits].map(|message| {
            let Message { dialogue, server, .. } = message.as_ref()?;
            Some((self.node_of_socket(*dialogue, *server)?, *dialogue))
        });
        let watching = &mut self.watches.all[phone as usize];
        let number = watching.number + 1;
        *watching = Watching { holds, awaits, number };
        let runs = |(node, dialogue): (NodeId, Dialogue)| {
            self.cluster().dialogue(node, dialogue).is_some()
        };
        let lost = watch.holds.is_some() && !holds.is_some_and(runs);
        let reachable = awaits.is_some_and(runs);
        for reachable in [lost.then_some(false), reachable.then_some(true)].into_iter().flatten() {
            self.notify(Notice { phone, number, reachable });
        }
    }

    /// A phone boots: nothing is watched for it.
    pub(super) fn forget_watch(&mut self, phone: u32) {
        if let Some(watching) = self.watches.all.get_mut(phone as usize) {
            *watching = Watching { number: watching.number + 1, ..Watching::default() };
        }
    }

    /// A service has started or stopped: connections with it have ended, and who waits for it can
    /// reach it.
    pub(super) fn notice(&mut self, change: &ServiceChange) {
        let (node, service, started) = match change {
            ServiceChange::Started { node, service } => (*node, service.kind(), true),
            ServiceChange::Stopped { node, service } => (*node, *service, false),
        };
        if !change.ends_connections() {
            return;
        }
        let is_it =
            |(at, dialogue): (NodeId, Dialogue)| at == node && ServiceKind::of(dialogue) == service;
        let told: Vec<Notice> = (0u32..)
            .zip(&self.watches.all)
            .filter_map(|(phone, watching)| {
                let lost = watching.holds.is_some_and(is_it);
                let reachable = started && watching.awaits.is_some_and(is_it);
                let number = watching.number;
                (lost || reachable).then_some(Notice { phone, number, reachable: !lost })
            })
            .collect();
        told.into_iter().for_each(|notice| self.notify(notice));
    }

    fn notify(&mut self, notice: Notice) {
        self.watches.told += 1;
        let request = self.sessions.request(notice.phone);
        let way = self.network.back(request, Fates::segment);
        self.engine.push(self.engine.now() + way, Event::Noticed(notice));
    }

    pub(super) fn on_noticed(&mut self, notice: Notice) {
        self.watches.told -= 1;
        let watching = &mut self.watches.all[notice.phone as usize];
        if watching.number != notice.number {
            return;
        }
        let input = if notice.reachable {
            watching.awaits = None;
            Input::Reachable
        } else {
            watching.holds = None;
            Input::Lost
        };
        self.step(notice.phone, input);
    }

    /// The node whose service of this dialogue is at this address, whether it runs or not.
    fn node_of_socket(&self, dialogue: Dialogue, server: SocketAddr) -> Option<NodeId> {
        let topology = self.cluster().topology();
        topology.nodes_in(dialogue).find(|&id| topology.dialogue_socket(id, dialogue) == server)
    }
}
