use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::base::{NodeId, Span, Time};
use crate::cluster::ServiceKind;
use crate::crypto::Certificate;
use crate::measure::{Incident, StepEnd};
use crate::phone::{Answer, ErrandFault, Message, Trust, TrustList, TrustLists, TvsFault};
use crate::wire::Dialogue;

use super::session::{Call, Event, Job, Waits};
use super::world::World;

/// Verdicts on servers by the lists that judged them and the service that presented itself; what
/// they name is kept, so that no other list or service can have its place.
#[derive(Debug, Default)]
pub(super) struct Judged {
    verdicts: HashMap<[usize; 3], (TrustLists, Certificate, bool)>,
}

impl Judged {
    /// Whether a phone accepts this server.
    pub(super) fn judge(&mut self, trust: &Trust, presented: &Certificate) -> bool {
        let lists = &trust.lists;
        let place = |list: &Option<Arc<TrustList>>| {
            list.as_ref().map_or(0, |list| Arc::as_ptr(list).addr())
        };
        // A certificate is of one kind: its place tells the roles, too.
        let key = [place(&lists.ctl), place(&lists.itl), presented.der().as_ptr().addr()];
        let judge = || {
            let verdict = trust.accepts(presented.der());
            (lists.clone(), presented.clone(), verdict)
        };
        self.verdicts.entry(key).or_insert_with(judge).2
    }

    /// Forgets everything: services may have changed.
    pub(super) fn clear(&mut self) {
        self.verdicts.clear();
    }
}

impl World {
    /// A phone asks the DNS of its site for an address.
    pub(super) fn resolve(&mut self, phone: u32, name: &str) {
        let generation = self.begin_request(phone, Waits::Nothing);
        let mut fates = self.fates(phone, 0);
        let (length, answered) = fates.query();
        self.draws += fates.draws;
        let address = self.cluster().hosts().resolve(name).filter(|_| answered);
        let event = Event::Resolved { phone, generation, address };
        self.queue.push(self.now + length, event);
    }

    pub(super) fn on_resolved(&mut self, phone: u32, generation: u32, address: Option<IpAddr>) {
        if self.is_current(phone, generation) {
            self.answer(phone, Ok(Answer::Address(address)));
        }
    }

    /// A phone wants to say something. It closes its HTTP connection while it waits.
    pub(super) fn say(&mut self, phone: u32, wanted: Time, message: Message) {
        let generation = self.begin_request(phone, Waits::Nothing);
        self.drop_link(phone);
        self.session(phone).wanted = wanted;
        if let Some(message) = self.lookups_in_flight.enter(phone, generation, message) {
            self.begin_call(phone, generation, message);
        }
    }

    /// A call of a phone has ended, or is no longer wanted: the next one has its place.
    pub(super) fn leave_lookup(&mut self, phone: u32) {
        if !std::mem::take(&mut self.session(phone).looks_up) {
            return;
        }
        if let Some((phone, generation, message)) = self.lookups_in_flight.leave(&self.sessions) {
            self.begin_call(phone, generation, message);
        }
    }

    /// A phone opens a connection to a server.
    fn begin_call(&mut self, phone: u32, generation: u32, message: Message) {
        let now = self.now;
        let session = self.session(phone);
        (session.waits, session.started, session.looks_up) = (Waits::Reply, now, true);
        self.watch(phone, generation, Waits::Reply, self.env.profile.tvs_timeout);
        let mut fates = self.fates(phone, 0);
        // The hello arrives half a round trip after the connection is there.
        let connected = self.now + fates.connect();
        let arrives = connected + fates.segment();
        self.draws += fates.draws;
        let Some(node) = self.node_at(message.dialogue, message.server) else {
            let result = Err(TvsFault::Connection);
            return self.queue.push(connected, Event::Said { phone, generation, result });
        };
        let call = Call { node, phone, generation, message, service: None };
        self.queue.push(arrives, Event::Called(Box::new(call)));
    }

    /// The hello of a phone arrives: the server shakes hands, which is its main work.
    pub(super) fn on_called(&mut self, mut call: Box<Call>) {
        if !self.is_current(call.phone, call.generation) {
            return;
        }
        let node = call.node;
        let open = self.machines.tvs_open[node.index()];
        let limit = self.plan.cost.tvs_connections;
        let full = limit > 0 && open >= limit;
        let service = self.cluster().dialogue(node, call.message.dialogue);
        let Some(service) = service.filter(|_| !full) else {
            self.serve.tvs_handshakes_failed += 1;
            return self.fail_call(&call, TvsFault::Connection);
        };
        call.service = Some(Arc::clone(service));
        self.machines.tvs_open[node.index()] += 1;
        self.handshake(node, Job::Handshake(call));
    }

    /// The server has signed its part of the handshake.
    pub(super) fn on_handshake(&mut self, call: Box<Call>) {
        let mut fates = self.fates(call.phone, 1);
        let at = self.now + fates.segment();
        self.draws += fates.draws;
        self.queue.push(at, Event::Presented(call));
    }

    /// The certificate of a server arrives at a phone, whose part of the handshake begins.
    pub(super) fn on_presented(&mut self, call: Box<Call>) {
        let node = call.node.index();
        self.machines.tvs_open[node] = self.machines.tvs_open[node].saturating_sub(1);
        if !self.is_current(call.phone, call.generation) {
            return;
        }
        if self.has_shared_host() {
            self.look_up(call.node, Job::Lookup(call));
        } else {
            self.judge_server(&call, self.plan.cost.phone_handshake);
        }
    }

    /// A phone says its message, after `computing`, if it trusts the certificate of the server.
    pub(super) fn judge_server(&mut self, call: &Call, computing: Span) {
        if !self.is_current(call.phone, call.generation) {
            return;
        }
        let service = call.service.as_ref().expect("a handshake has a server");
        let (phone, generation) = (call.phone, call.generation);
        if !self.judged.judge(&call.message.trust, &service.identity.certificate) {
            self.serve.tvs_handshakes_failed += 1;
            let result = Err(TvsFault::CertificateRefused);
            let event = Event::Said { phone, generation, result };
            return self.queue.push(self.now + computing, event);
        }
        self.serve.tvs_handshakes_ok += 1;
        let Ok(said) = service.open().on(&call.message.bytes, self.now) else {
            return self.fail_call(call, TvsFault::Connection);
        };
        self.serve.tvs_answers += 1;
        // Its fate continues behind the two segments of the handshake.
        let mut fates = self.fates(phone, 1);
        fates.segment();
        let before = fates.draws;
        let at = self.now + computing + fates.segment() + fates.segment();
        self.draws += fates.draws - before;
        self.queue.push(at, Event::Said { phone, generation, result: Ok(said.reply) });
    }

    fn fail_call(&mut self, call: &Call, fault: TvsFault) {
        let (phone, generation) = (call.phone, call.generation);
        let mut fates = self.fates(phone, 1);
        let at = self.now + fates.segment();
        self.draws += fates.draws;
        self.queue.push(at, Event::Said { phone, generation, result: Err(fault) });
    }

    /// A call of a phone has ended.
    pub(super) fn on_said(&mut self, phone: u32, generation: u32, result: Result<&[u8], TvsFault>) {
        if !self.is_current(phone, generation) {
            return;
        }
        let session = self.session(phone);
        session.waits = Waits::Nothing;
        let (planned, started) = (session.wanted, session.started);
        let (step, end) = (session.step, StepEnd::answered(result.is_ok()));
        self.hear(phone, Incident::Ended { step, end, planned, started });
        self.leave_lookup(phone);
        self.answer(phone, result.map(Answer::Said).map_err(ErrandFault::Dialogue));
    }

    /// The node on which the service of this dialogue listens at this address.
    fn node_at(&self, dialogue: Dialogue, server: SocketAddr) -> Option<NodeId> {
        let topology = self.cluster().topology();
        topology.ids().find(|&id| {
            topology.socket(id, ServiceKind::Dialogue(dialogue)) == server
                && self.cluster().dialogue(id, dialogue).is_some()
        })
    }

    /// Begins a wait of a phone that ends after `length`.
    pub(super) fn watch(&mut self, phone: u32, generation: u32, kind: Waits, length: Span) {
        let at = self.now + length;
        let slot = kind.slot();
        if self.watches[slot].add(at, phone, generation) {
            self.queue.push(at, Event::WatchDue { kind: slot as u8 });
        }
    }

    /// Ends the waits of a kind that are over.
    pub(super) fn on_watch(&mut self, kind: Waits) {
        let slot = kind.slot();
        loop {
            let sessions = &self.sessions;
            let holds = |phone: u32, generation: u32| {
                let session = &sessions[phone as usize];
                session.generation == generation && session.waits == kind
            };
            let expired = self.watches[slot].expired(self.now, holds);
            match (expired, kind) {
                (None, _) => break,
                (Some((phone, _)), Waits::Tftp) => self.on_tftp_silence(phone),
                (Some((phone, generation)), Waits::Http) => self.on_http_timeout(phone, generation),
                (Some((phone, generation)), Waits::Reply) => {
                    self.on_said(phone, generation, Err(TvsFault::TimedOut));
                }
                (Some(_), Waits::Nothing | Waits::Transfer) => {
                    unreachable!("only waits with a time-out are watched")
                }
            }
        }
        if let Some(at) = self.watches[slot].rest() {
            self.queue.push(at, Event::WatchDue { kind: slot as u8 });
        }
    }
}
