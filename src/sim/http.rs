use std::sync::Arc;

use crate::base::Time;
use crate::measure::Incident;
use crate::phone::{ErrandFault, HttpFault, PROVISIONING_ROLES, Transport};

use super::event::{Event, Fetched, Job, LinkWish, Request, failed};
use super::session::Waits;
use super::world::World;

impl World {
    /// A phone asks for a file over HTTP; without a connection it may have to wait for one.
    pub(super) fn fetch_http(&mut self, phone: u32, wanted: Time, file: Arc<str>, secure: bool) {
        self.hear(phone, Incident::Asked(Transport::over_http(secure)));
        let request = self.begin_request(phone, Waits::Nothing);
        let session = self.sessions.of_mut(phone);
        (session.wanted, session.http.secure) = (wanted, secure);
        if let Some(wish) = self.sessions.connect(request, LinkWish::File(file)) {
            self.begin_link(request, wish);
        }
    }

    /// A phone gives up its connection: the next one that waits may connect.
    pub(super) fn drop_link(&mut self, phone: u32) {
        if let Some((request, wish)) = self.sessions.disconnect(phone) {
            self.begin_link(request, wish);
        }
    }

    /// A phone has a place for a connection and asks for what it wanted one for.
    pub(super) fn begin_link(&mut self, request: Request, wish: LinkWish) {
        match wish {
            LinkWish::File(file) => self.begin_http(request, file),
            LinkWish::Page(page) => self.begin_page(request, page),
        }
    }

    /// Connecting takes one round trip, two more with TLS, and so does a request.
    fn begin_http(&mut self, request: Request, file: Arc<str>) {
        let (phone, now) = (request.phone, self.engine.now());
        let patience = self.fleet.profile().http_timeout;
        self.sessions.watch(&mut self.engine, request, Waits::Http, patience);
        let secure = self.sessions.of(phone).http.secure;
        let listens = self.listens_to_http(phone, secure);
        let way = self.way_of_http(request, phone, secure, listens);
        let connects = self.sessions.of(phone).http.connects;
        if listens {
            let via = Transport::over_http(secure);
            self.hear(phone, Incident::Connected(via, u64::from(connects)));
            self.engine.push(now + way, Event::HttpAsked(request, file));
        } else {
            let answer = failed(HttpFault::Connection);
            self.engine.push(now + way, Event::HttpAnswered(request, answer));
        }
    }

    /// Whether a phone's TFTP node answers HTTP, or HTTPS, now.
    fn listens_to_http(&self, phone: u32, secure: bool) -> bool {
        let ports = self.cluster().topology().node(self.node_of(phone)).ports;
        let port = if secure { ports.https } else { ports.http };
        port.is_some() && self.tftp_service(phone).is_some()
    }

    pub(super) fn on_http_asked(&mut self, request: Request, file: &str) {
        if !self.sessions.is_current(request) {
            return;
        }
        let phone = request.phone;
        let Some(service) = self.tftp_service(phone) else {
            return self.answer_http(request, failed(HttpFault::Connection));
        };
        let http = self.sessions.of(phone).http;
        if http.secure && http.connects {
            let trust = self.fleet.trust(phone, PROVISIONING_ROLES, self.engine.now());
            if !self.fleet.accepts(&trust, &service.host().certificate) {
                self.servers.https_refused();
                return self.send_http(request, failed(HttpFault::CertificateRefused));
            }
        }
        self.servers.on_http(http.secure, http.connects);
        if self.servers.is_full(self.node_of(phone)) {
            return self.send_http(request, failed(HttpFault::Status(503)));
        }
        self.serve_file(&service, request, file, true);
    }

    pub(super) fn send_http(&mut self, request: Request, answer: Fetched) {
        let http = self.sessions.of(request.phone).http;
        let file = matches!(answer, Fetched::File(_));
        let work = self.machines.http(http.connects, http.secure, file);
        let node = self.node_of(request.phone);
        self.work(node, work, Job::Http(node, request, answer));
    }

    /// The server's work on an answer is done.
    pub(super) fn answer_http(&mut self, request: Request, answer: Fetched) {
        match answer {
            _ if !self.sessions.is_current(request) => {}
            Fetched::File(file) => self.carry(request, file, true),
            answer => self.answer_http_now(request, answer),
        }
    }

    pub(super) fn answer_http_now(&mut self, request: Request, answer: Fetched) {
        self.sessions.of_mut(request.phone).http.answered = true;
        self.reply(request, Event::HttpAnswered(request, answer));
    }

    /// A connection ends before its answer: a fault if it was opened for the request; a kept one
    /// may end at any time, and the phone opens another.
    pub(super) fn cut_off(&mut self, phone: u32) {
        self.leave_server(phone);
        let file = self.file_name(phone);
        let request = self.sessions.renew(phone);
        let http = &mut self.sessions.of_mut(phone).http;
        http.connected = None;
        if !http.connects {
            return self.begin_http(request, file);
        }
        // Of an HTTPS answer most is the handshake.
        let fault = if http.secure { HttpFault::Connection } else { HttpFault::Protocol };
        self.answer_http_now(request, failed(fault));
    }

    pub(super) fn on_http_answered(&mut self, request: Request, answer: &Fetched) {
        let waits = self.sessions.of(request.phone).waits;
        if waits != Waits::Http || !self.sessions.is_current(request) {
            return;
        }
        let http = &mut self.sessions.of_mut(request.phone).http;
        let via = Transport::over_http(http.secure);
        // Behind an answer that says no the connection is as good as before.
        let is_no = matches!(answer, Fetched::Failed(ErrandFault::Http(HttpFault::Status(_))));
        if matches!(answer, Fetched::Failed(_)) && !is_no {
            http.connected = None;
        }
        self.fetched(request.phone, via, answer);
    }
}
