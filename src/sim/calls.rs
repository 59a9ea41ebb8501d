use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::base::{IpMode, NodeId, Span, Time};
use crate::cluster::{Peer, Said};
use crate::measure::{Incident, StepEnd};
use crate::phone::{Answer, ErrandFault, Message, TvsFault};
use crate::wire::{Dialogue, Security};

use super::event::{Call, Event, Job, OpenCall, Request};
use super::link::Fates;
use super::session::Waits;
use super::world::World;

impl World {
    /// A phone asks the DNS of its site for an address.
    pub(super) fn resolve(&mut self, phone: u32, name: &str, mode: IpMode) {
        let request = self.begin_beside_session(phone, Waits::Nothing);
        let (length, answered) = self.network.there(request, Fates::query);
        let address = self.cluster().hosts().resolve(name, mode);
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
        let suits =
            |open: &OpenCall| (open.dialogue, open.server) == (message.dialogue, message.server);
        // Who awaits the first word of a server opens a connection.
        let is_first = message.bytes.is_empty() && message.dialogue.rules().server_first;
        let open = self.calls.remove(&phone).filter(|open| suits(open) && !is_first);
        if let Some(open) = open {
            return self.go_on(phone, wanted, message, open);
        }
        let request = self.begin_request(phone, Waits::Nothing);
        self.drop_link(phone);
        self.sessions.of_mut(phone).wanted = wanted;
        if let Some(message) = self.sessions.call(request, message) {
            self.begin_call(request, message);
        }
    }

    /// A phone goes on on its open connection.
    fn go_on(&mut self, phone: u32, wanted: Time, message: Message, open: OpenCall) {
        let request = self.sessions.begin(phone, Waits::Reply, self.engine.now());
        self.sessions.of_mut(phone).wanted = wanted;
        let patience = self.fleet.profile().tvs_timeout;
        self.sessions.watch(&mut self.engine, request, Waits::Reply, patience);
        let way = self.network.there(request, Fates::segment);
        let OpenCall { node, service, conversation, .. } = open;
        let call = Call { node, request, message, service: Some(service), conversation };
        self.engine.push(self.engine.now() + way, Event::Told(Box::new(call)));
    }

    /// A call of a phone has ended, or is no longer wanted: the next one has its place.
    pub(super) fn leave_call(&mut self, phone: u32) {
        self.calls.remove(&phone);
        if let Some((request, message)) = self.sessions.hang_up(phone) {
            self.begin_call(request, message);
        }
    }

    /// A phone opens a connection to a server.
    fn begin_call(&mut self, request: Request, message: Message) {
        let now = self.engine.now();
        self.sessions.use_call(request.phone, message.dialogue, now);
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
        let call = Call { node, request, message, service: None, conversation: None };
        self.engine.push(arrives, Event::Called(Box::new(call)));
    }

    /// The hello of a phone arrives: the server shakes hands, which is its main work.
    pub(super) fn on_called(&mut self, mut call: Box<Call>) {
        if !self.sessions.is_current(call.request) {
            return;
        }
        let node = call.node;
        let service = self.cluster().dialogue(node, call.message.dialogue).map(Arc::clone);
        if call.message.dialogue.rules().security == Security::Plain {
            call.service = service;
            return match &call.service {
                Some(service) => {
                    call.conversation = Some(service.open(&Peer::default()));
                    self.work(node, self.machines.message(), Job::Message(call));
                }
                None => self.fail_call(call.request),
            };
        }
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
            self.judge_server(call, self.plan.cost.phone_handshake);
        }
    }

    /// A phone says its message, after `computing`, if it trusts the certificate of the server.
    pub(super) fn judge_server(&mut self, mut call: Box<Call>, computing: Span) {
        let request = call.request;
        if !self.sessions.is_current(request) {
            return;
        }
        let now = self.engine.now();
        let service = call.service.as_ref().expect("a handshake has a server");
        let is_trusted = self.fleet.accepts(&call.message.trust, &service.identity.certificate);
        if !is_trusted {
            self.servers.on_handshake(call.message.dialogue, false);
            let result = Err(TvsFault::CertificateRefused);
            return self.engine.push(now + computing, Event::Said(request, result));
        }
        let asks = call.message.dialogue.rules().security == Security::TlsWithClientCertificate;
        let own = call.message.shows.as_ref().filter(|_| asks);
        let certificate = own.map(|own| own.certificate.der().to_vec());
        let is_let_in = !asks || service.judge(certificate.as_deref(), now).is_ok();
        self.servers.on_handshake(call.message.dialogue, is_let_in);
        if !is_let_in {
            // Its certificate goes there, the alert comes back.
            let way = self.network.back(request, |fates| {
                fates.skip_segment();
                fates.segment() + fates.segment()
            });
            let result = Err(TvsFault::TurnedAway);
            return self.engine.push(now + computing + way, Event::Said(request, result));
        }
        let conversation = service.open(&Peer { address: None, certificate });
        let signs = conversation.signs(&call.message.bytes);
        call.conversation = Some(conversation);
        // Its fate continues behind the segment of the handshake.
        if signs {
            let way = self.network.back(request, |fates| {
                fates.skip_segment();
                fates.segment()
            });
            return self.engine.push(now + computing + way, Event::Told(call));
        }
        let way = self.network.back(request, |fates| {
            fates.skip_segment();
            fates.segment() + fates.segment()
        });
        self.reply_to(*call, computing, Some(way));
    }

    /// A message arrives at a server.
    pub(super) fn on_told(&mut self, call: Box<Call>) {
        if !self.sessions.is_current(call.request) {
            return;
        }
        let (node, dialogue) = (call.node, call.message.dialogue);
        let runs = self.cluster().dialogue(node, dialogue);
        let is_open = runs.zip(call.service.as_ref()).is_some_and(|(now, then)| {
            Arc::ptr_eq(now, then) || !dialogue.rules().ends_with_service
        });
        let Some(conversation) = call.conversation.as_ref().filter(|_| is_open) else {
            return self.fail_call(call.request);
        };
        if conversation.signs(&call.message.bytes) {
            return self.work(node, self.machines.signature(), Job::Turn(call, self.engine.now()));
        }
        self.reply_to(*call, Span::ZERO, None);
    }

    /// A server answers a message, which the phone hears after `computing` and the way; that of
    /// the next segment where nothing else is said.
    pub(super) fn reply_to(&mut self, mut call: Call, computing: Span, way: Option<Span>) {
        let (request, now) = (call.request, self.engine.now());
        if !self.sessions.is_current(request) {
            return;
        }
        let Some(mut conversation) = call.conversation.take() else { return };
        let (rules, bytes) = (call.message.dialogue.rules(), &call.message.bytes);
        // Who says nothing hears the first word of the server, if that speaks first.
        let said = match (bytes.is_empty(), rules.server_first) {
            (true, true) => Ok(conversation.begin(now)),
            (true, false) => Ok(Said::silence()),
            (false, _) => conversation.on(bytes, now),
        };
        let Ok(said) = said else { return self.fail_call(request) };
        if said.reply.is_empty() {
            // The phone waits for a word or for the end.
            if said.ends {
                self.fail_call(request);
            }
            return;
        }
        self.servers.on_answered(call.message.dialogue);
        if call.message.stays {
            let service = call.service.take().expect("a conversation has a service");
            let open = OpenCall {
                node: call.node,
                dialogue: call.message.dialogue,
                server: call.message.server,
                service,
                conversation: (!said.ends).then_some(conversation),
            };
            self.calls.insert(request.phone, open);
        }
        let way = way.unwrap_or_else(|| self.network.back(request, Fates::segment));
        self.engine.push(now + computing + way, Event::Said(request, Ok(said.reply)));
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
        if result.is_err() || !self.calls.contains_key(&phone) {
            self.leave_call(phone);
        }
        self.answer(phone, result.map(Answer::Said).map_err(ErrandFault::Dialogue));
    }

    /// The node on which the service of this dialogue listens at this address.
    fn node_at(&self, dialogue: Dialogue, server: SocketAddr) -> Option<NodeId> {
        let topology = self.cluster().topology();
        topology.ids().find(|&id| {
            topology.dialogue_socket(id, dialogue) == server
                && self.cluster().dialogue(id, dialogue).is_some()
        })
    }
}
