use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::base::{NodeId, Span};
use crate::crypto::Certificate;
use crate::measure::{Incident, StepEnd, StepKind};
use crate::phone::{Input, TrustList, TrustLists, TvsFault};
use crate::wire::ROLE_TVS;

use super::session::{Ask, Event, Job, Waits};
use super::world::World;

/// Verdicts on servers by the lists that judged them and the service that presented itself; what
/// they name is kept, so that no other list or service can have its place.
#[derive(Debug, Default)]
pub(super) struct Judged {
    verdicts: HashMap<[usize; 3], (TrustLists, Certificate, bool)>,
}

impl Judged {
    /// Whether a phone with these lists accepts this server.
    pub(super) fn judge(
        &mut self,
        lists: &TrustLists,
        roles: &'static [u16],
        presented: &Certificate,
    ) -> bool {
        let place = |list: &Option<Arc<TrustList>>| {
            list.as_ref().map_or(0, |list| Arc::as_ptr(list).addr())
        };
        // A certificate is of one kind: its place tells the roles, too.
        let key = [place(&lists.ctl), place(&lists.itl), presented.der().as_ptr().addr()];
        let judge = || {
            let verdict = lists.judge_server(roles, presented.der());
            (lists.clone(), presented.clone(), verdict)
        };
        self.verdicts.entry(key).or_insert_with(judge).2
    }

    /// Forgets everything: services may have changed.
    pub(super) fn clear(&mut self) {
        self.verdicts.clear();
    }
}

/// What a phone asks a TVS server, and with which lists it judges that server.
#[derive(Debug)]
pub(super) struct Question {
    pub server: SocketAddr,
    pub token: u32,
    pub request: Vec<u8>,
    pub lists: TrustLists,
}

impl World {
    /// A phone asks the DNS of its site for the address of a TVS server.
    pub(super) fn resolve(&mut self, phone: u32, name: &str, token: u32) {
        let generation = self.begin_request(phone, Waits::Nothing);
        let mut fates = self.fates(phone, 0);
        let (length, answered) = fates.query();
        self.draws += fates.draws;
        let address = self.cluster.hosts().resolve(name).filter(|_| answered);
        let event = Event::Resolved { phone, generation, token, address };
        self.queue.push(self.now + length, event);
    }

    pub(super) fn on_resolved(
        &mut self,
        phone: u32,
        generation: u32,
        token: u32,
        address: Option<IpAddr>,
    ) {
        if self.is_current(phone, generation) {
            self.step(phone, Input::Resolved { token, address });
        }
    }

    /// A phone wants to ask a TVS server. It closes its HTTP connection while it waits.
    pub(super) fn ask_tvs(&mut self, phone: u32, question: Question) {
        let generation = self.begin_request(phone, Waits::Nothing);
        self.drop_link(phone);
        self.session(phone).asked = self.now;
        if let Some(question) = self.lookups_in_flight.enter(phone, generation, question) {
            self.begin_lookup(phone, generation, question);
        }
    }

    /// A lookup of a phone has ended, or is no longer wanted: the next one has its place.
    pub(super) fn leave_lookup(&mut self, phone: u32) {
        if !std::mem::take(&mut self.session(phone).looks_up) {
            return;
        }
        if let Some((phone, generation, question)) = self.lookups_in_flight.leave(&self.sessions) {
            self.begin_lookup(phone, generation, question);
        }
    }

    /// A phone opens a connection to a TVS server.
    fn begin_lookup(&mut self, phone: u32, generation: u32, question: Question) {
        let Question { server, token, request, lists } = question;
        let now = self.now;
        let session = self.session(phone);
        (session.waits, session.started, session.looks_up) = (Waits::Tvs, now, true);
        self.watch(phone, generation, Waits::Tvs, self.env.profile.tvs_timeout);
        let mut fates = self.fates(phone, 0);
        // The hello arrives half a round trip after the connection is there.
        let connected = self.now + fates.connect();
        let arrives = connected + fates.segment();
        self.draws += fates.draws;
        let Some(node) = self.tvs_node(server) else {
            let fault = TvsFault::Connection;
            let event = Event::TvsFailed { phone, generation, token, fault };
            return self.queue.push(connected, event);
        };
        let ask = Ask { node, phone, generation, token, request, lists, service: None };
        self.queue.push(arrives, Event::TvsArrived(Box::new(ask)));
    }

    /// The hello of a phone arrives: the server shakes hands, which is its main work.
    pub(super) fn on_tvs_arrived(&mut self, mut ask: Box<Ask>) {
        if !self.is_current(ask.phone, ask.generation) {
            return;
        }
        let node = ask.node;
        let open = self.machines.tvs_open[node.index()];
        let limit = self.plan.cost.tvs_connections;
        let full = limit > 0 && open >= limit;
        let Some(service) = self.cluster.tvs(node).filter(|_| !full) else {
            self.serve.tvs_handshakes_failed += 1;
            return self.fail_tvs(&ask, TvsFault::Connection);
        };
        ask.service = Some(Arc::clone(service));
        self.machines.tvs_open[node.index()] += 1;
        self.handshake(node, Job::Tvs(ask));
    }

    /// The server has signed its part of the handshake.
    pub(super) fn on_handshake(&mut self, ask: Box<Ask>) {
        let mut fates = self.fates(ask.phone, 1);
        let at = self.now + fates.segment();
        self.draws += fates.draws;
        self.queue.push(at, Event::TvsPresented(ask));
    }

    /// The certificate of a server arrives at a phone, whose part of the handshake begins.
    pub(super) fn on_tvs_presented(&mut self, ask: Box<Ask>) {
        let node = ask.node.index();
        self.machines.tvs_open[node] = self.machines.tvs_open[node].saturating_sub(1);
        if !self.is_current(ask.phone, ask.generation) {
            return;
        }
        if self.has_shared_host() {
            self.look_up(ask.node, Job::Lookup(ask));
        } else {
            self.judge_server(&ask, self.plan.cost.phone_handshake);
        }
    }

    /// A phone asks its question, after `computing`, if it trusts the certificate of the server.
    pub(super) fn judge_server(&mut self, ask: &Ask, computing: Span) {
        if !self.is_current(ask.phone, ask.generation) {
            return;
        }
        let service = ask.service.as_ref().expect("a handshake has a server");
        let (phone, generation, token) = (ask.phone, ask.generation, ask.token);
        if !self.judged.judge(&ask.lists, &[ROLE_TVS], &service.identity.certificate) {
            self.serve.tvs_handshakes_failed += 1;
            let fault = TvsFault::CertificateRefused;
            let event = Event::TvsFailed { phone, generation, token, fault };
            return self.queue.push(self.now + computing, event);
        }
        self.serve.tvs_handshakes_ok += 1;
        let Ok((bytes, _)) = service.knowledge.answer(&ask.request) else {
            return self.fail_tvs(ask, TvsFault::Connection);
        };
        self.serve.tvs_answers += 1;
        // Its fate continues behind the two segments of the handshake.
        let mut fates = self.fates(phone, 1);
        fates.segment();
        let before = fates.draws;
        let at = self.now + computing + fates.segment() + fates.segment();
        self.draws += fates.draws - before;
        self.queue.push(at, Event::TvsAnswered { phone, generation, token, bytes });
    }

    fn fail_tvs(&mut self, ask: &Ask, fault: TvsFault) {
        let (phone, generation, token) = (ask.phone, ask.generation, ask.token);
        let mut fates = self.fates(phone, 1);
        let at = self.now + fates.segment();
        self.draws += fates.draws;
        self.queue.push(at, Event::TvsFailed { phone, generation, token, fault });
    }

    pub(super) fn on_tvs_answered(
        &mut self,
        phone: u32,
        generation: u32,
        token: u32,
        bytes: &[u8],
    ) {
        if self.end_tvs(phone, generation, true) {
            self.step(phone, Input::TvsAnswer { token, bytes });
        }
    }

    pub(super) fn on_tvs_failed(
        &mut self,
        phone: u32,
        generation: u32,
        token: u32,
        fault: TvsFault,
    ) {
        if self.end_tvs(phone, generation, false) {
            self.step(phone, Input::TvsFailed { token, fault });
        }
    }

    /// Nobody has answered in time.
    pub(super) fn on_tvs_timeout(&mut self, phone: u32, generation: u32) {
        let token = self.token_of(phone);
        self.on_tvs_failed(phone, generation, token, TvsFault::TimedOut);
    }

    fn end_tvs(&mut self, phone: u32, generation: u32, ok: bool) -> bool {
        if !self.is_current(phone, generation) {
            return false;
        }
        let session = self.session(phone);
        session.waits = Waits::Nothing;
        let (planned, started) = (session.asked, session.started);
        let (step, end) = (StepKind::Tvs, StepEnd::answered(ok));
        self.hear(phone, Incident::Ended { step, end, planned, started });
        self.leave_lookup(phone);
        true
    }

    /// The node whose TVS service listens at this address.
    fn tvs_node(&self, server: SocketAddr) -> Option<NodeId> {
        let topology = self.cluster.topology();
        topology.ids().find(|&id| {
            let node = topology.node(id);
            node.address == server.ip()
                && node.ports.tvs == server.port()
                && self.cluster.tvs(id).is_some()
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
                (Some((phone, generation)), Waits::Tvs) => self.on_tvs_timeout(phone, generation),
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
