use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::base::{NodeId, Span, Time};
use crate::cluster::ServiceKind;
use crate::measure::{Incident, StepEnd};
use crate::phone::{Answer, ErrandFault, Message, TvsFault};
use crate::wire::Dialogue;

use super::event::{Call, Event, Job, Request};
use super::link::Fates;
use super::session::Waits;
use super::world::World;

impl World {
    /// A phone asks the DNS of its site for an address.
    pub(super) fn resolve(&mut self, phone: u32, name: &str) {
        let request = self.begin_request(phone, Waits::Nothing);
        let (length, answered) = self.network.there(request, Fates::query);
        let address = self.cluster().hosts().resolve(name);
        let result = answered.then_some(address).ok_or(ErrandFault::NameUnanswered);
        self.hear(phone, Incident::NameAsked);
        self.engine.push(self.engine.now() + length, Event::Resolved(request, result));
    }

    pub(super) fn on_resolved(
        &mut self,
        request: Request,
        result: Result<Option<IpAddr>, ErrandFault>,
    ) {
        if self.sessions.is_current(request) {
            self.answer(request.phone, result.map(Answer::Address));
        }
    }

    /// A phone wants to say something. It closes its HTTP connection while it waits.
    pub(super) fn say(&mut self, phone: u32, wanted: Time, message: Message) {
        let request = self.begin_request(phone, Waits::Nothing);
        self.drop_link(phone);
        self.sessions.of_mut(phone).wanted = wanted;
        if let Some(message) = self.sessions.call(request, message) {
            self.begin_call(request, message);
        }
    }

    /// A call of a phone has ended, or is no longer wanted: the next one has its place.
    pub(super) fn leave_call(&mut self, phone: u32) {
        if let Some((request, message)) = self.sessions.hang_up(phone) {
            self.begin_call(request, message);
        }
    }

    /// A phone opens a connection to a server.
    fn begin_call(&mut self, request: Request, message: Message) {
        let now = self.engine.now();
        self.sessions.use_call(request.phone, now);
        let patience = self.fleet.profile().tvs_timeout;
        self.sessions.watch(&mut self.engine, request, Waits::Reply, patience);
        // The hello arrives half a round trip after the connection is there.
        let (connected, arrives) = self.network.there(request, |fates| {
            let connected = now + fates.connect();
            (connected, connected + fates.segment())
        });
        let Some(node) = self.node_at(message.dialogue, message.server) else {
            let result = Err(TvsFault::Connection);
            return self.engine.push(connected, Event::Said(request, result));
        };
        let call = Call { node, request, message, service: None };
        self.engine.push(arrives, Event::Called(Box::new(call)));
    }

    /// The hello of a phone arrives: the server shakes hands, which is its main work.
    pub(super) fn on_called(&mut self, mut call: Box<Call>) {
        if !self.sessions.is_current(call.request) {
            return;
        }
        let node = call.node;
        let service = self.cluster().dialogue(node, call.message.dialogue).map(Arc::clone);
        call.service = service.filter(|_| self.servers.open_tvs(node));
        if call.service.is_none() {
            self.servers.on_handshake(call.message.dialogue, false);
            return self.fail_call(call.request);
        }
        self.work(node, self.machines.handshake(), Job::Handshake(call));
    }

    /// The server has signed its part of the handshake.
    pub(super) fn on_handshake(&mut self, call: Box<Call>) {
        // A phone may want something else meanwhile: then this has the fate of that.
        let request = self.sessions.request(call.request.phone);
        self.reply(request, Event::Presented(call));
    }

    /// The certificate of a server arrives at a phone, whose part of the handshake begins.
    pub(super) fn on_presented(&mut self, call: Box<Call>) {
        self.servers.close_tvs(call.node);
        if !self.sessions.is_current(call.request) {
            return;
        }
        if self.machines.has_shared_host() {
            self.work(call.node, self.machines.lookup(), Job::Lookup(call));
        } else {
            self.judge_server(&call, self.plan.cost.phone_handshake);
        }
    }

    /// A phone says its message, after `computing`, if it trusts the certificate of the server.
    pub(super) fn judge_server(&mut self, call: &Call, computing: Span) {
        let request = call.request;
        if !self.sessions.is_current(request) {
            return;
        }
        let now = self.engine.now();
        let service = call.service.as_ref().expect("a handshake has a server");
        let is_trusted = self.fleet.accepts(&call.message.trust, &service.identity.certificate);
        self.servers.on_handshake(call.message.dialogue, is_trusted);
        if !is_trusted {
            let result = Err(TvsFault::CertificateRefused);
            return self.engine.push(now + computing, Event::Said(request, result));
        }
        let Ok(said) = service.open().on(&call.message.bytes, now) else {
            return self.fail_call(request);
        };
        self.servers.on_answered(call.message.dialogue);
        // Its fate continues behind the two segments of the handshake.
        let way = self.network.back(request, |fates| {
            fates.skip_segment();
            fates.segment() + fates.segment()
        });
        let result = Ok(said.reply);
        self.engine.push(now + computing + way, Event::Said(request, result));
    }

    fn fail_call(&mut self, request: Request) {
        self.reply(request, Event::Said(request, Err(TvsFault::Connection)));
    }

    /// A call of a phone has ended.
    pub(super) fn on_said(&mut self, request: Request, result: Result<&[u8], TvsFault>) {
        if !self.sessions.is_current(request) {
            return;
        }
        let phone = request.phone;
        let session = self.sessions.of_mut(phone);
        session.waits = Waits::Nothing;
        let (planned, started) = (session.wanted, session.started);
        let (step, end) = (session.step, StepEnd::answered(result.is_ok()));
        self.hear(phone, Incident::Ended { step, end, planned, started });
        self.leave_call(phone);
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
}
