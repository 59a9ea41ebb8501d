use std::sync::Arc;

use crate::base::{Span, Time};
use crate::measure::{Incident, StepEnd};
use crate::phone::{Answer, ErrandFault, HttpFault, PROVISIONING_ROLES, Transport, Trust};

use super::event::{Event, HttpAnswer, Job, Request};
use super::link::Fates;
use super::session::Waits;
use super::world::World;

impl World {
    /// A phone asks for a file over HTTP; without a connection it may have to wait for one.
    pub(super) fn fetch_http(&mut self, phone: u32, wanted: Time, file: Arc<str>, secure: bool) {
        self.hear(phone, Incident::Asked(Transport::over_http(secure)));
        let request = self.begin_request(phone, Waits::Nothing);
        let session = self.sessions.of_mut(phone);
        (session.wanted, session.http.secure) = (wanted, secure);
        if let Some(file) = self.sessions.connect(request, file) {
            self.begin_http(request, file);
        }
    }

    /// A phone gives up its connection: the next one that waits may connect.
    pub(super) fn drop_link(&mut self, phone: u32) {
        if let Some((request, file)) = self.sessions.disconnect(phone) {
            self.begin_http(request, file);
        }
    }

    /// Connecting takes one round trip, two more with TLS, and so does a request.
    fn begin_http(&mut self, request: Request, file: Arc<str>) {
        let (phone, now) = (request.phone, self.engine.now());
        let patience = self.fleet.profile().http_timeout;
        self.sessions.watch(&mut self.engine, request, Waits::Http, patience);
        let secure = self.sessions.of(phone).http.secure;
        let listens = self.listens_to_http(phone, secure);
        let http = &mut self.sessions.use_link(phone, now).http;
        let connects = http.connected != Some(secure);
        (http.connects, http.connected) = (connects, listens.then_some(secure));
        let way = self.network.there(request, |fates| {
            let connect = if connects { fates.connect() } else { Span::ZERO };
            let shakes = if secure && connects { 4 } else { 0 };
            let segments = if listens { shakes + 1 } else { 0 };
            (0..segments).fold(connect, |way, _| way + fates.segment())
        });
        if listens {
            let via = Transport::over_http(secure);
            self.hear(phone, Incident::Connected(via, u64::from(connects)));
            self.engine.push(now + way, Event::HttpAsked { request, file });
        } else {
            let answer = HttpAnswer::Refused(HttpFault::Connection);
            self.engine.push(now + way, Event::HttpAnswered { request, answer });
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
            let answer = HttpAnswer::Refused(HttpFault::Connection);
            return self.answer_http(request, answer);
        };
        let http = self.sessions.of(phone).http;
        if http.secure && http.connects {
            let trust = Trust { lists: self.fleet.lists(phone), roles: PROVISIONING_ROLES };
            if !self.fleet.accepts(&trust, &service.signer().certificate) {
                self.servers.https_refused();
                let answer = HttpAnswer::Refused(HttpFault::CertificateRefused);
                return self.send_http(request, answer);
            }
        }
        self.servers.on_http(http.secure, http.connects);
        if self.servers.is_full(self.node_of(phone)) {
            return self.send_http(request, HttpAnswer::Busy);
        }
        self.serve_file(&service, request, file, true);
    }

    pub(super) fn send_http(&mut self, request: Request, answer: HttpAnswer) {
        let http = self.sessions.of(request.phone).http;
        let file = matches!(answer, HttpAnswer::File(_));
        let work = self.machines.http(http.connects, http.secure, file);
        let node = self.node_of(request.phone);
        self.work(node, work, Job::Http { node, request, answer });
    }

    /// The server's work on an answer is done.
    pub(super) fn answer_http(&mut self, request: Request, answer: HttpAnswer) {
        match answer {
            _ if !self.sessions.is_current(request) => {}
            HttpAnswer::File(file) => self.carry(request, file, true),
            answer => self.answer_http_now(request, answer),
        }
    }

    pub(super) fn answer_http_now(&mut self, request: Request, answer: HttpAnswer) {
        self.sessions.of_mut(request.phone).http.answered = true;
        let way = self.network.back(request, Fates::segment);
        self.engine.push(self.engine.now() + way, Event::HttpAnswered { request, answer });
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
        self.answer_http_now(request, HttpAnswer::Refused(fault));
    }

    pub(super) fn on_http_answered(&mut self, request: Request, answer: &HttpAnswer) {
        let phone = request.phone;
        if !self.sessions.is_current(request) || self.sessions.of(phone).waits != Waits::Http {
            return;
        }
        match answer {
            HttpAnswer::Refused(fault) => self.fail_connection(phone, *fault),
            HttpAnswer::Busy => self.fail_http(phone, HttpFault::Status(503)),
            HttpAnswer::File(file) => {
                let via = self.end_http(phone, StepEnd::Ok);
                self.hear(phone, Incident::Arrived(via, file.len() as u64));
                self.answer(phone, Ok(Answer::File(file)));
            }
            HttpAnswer::Missing => {
                let via = self.end_http(phone, StepEnd::NotFound);
                self.hear(phone, Incident::Missing(via));
                self.answer(phone, Ok(Answer::NoFile));
            }
        }
    }

    /// The connection of a phone is of no more use to it.
    pub(super) fn fail_connection(&mut self, phone: u32, fault: HttpFault) {
        self.sessions.of_mut(phone).http.connected = None;
        self.fail_http(phone, fault);
    }

    fn fail_http(&mut self, phone: u32, fault: HttpFault) {
        self.leave_server(phone);
        let session = self.sessions.of_mut(phone);
        session.waits = Waits::Nothing;
        let (step, secure) = (session.step, session.http.secure);
        self.hear(phone, Incident::Failed(Transport::over_http(secure), step));
        self.answer(phone, Err(ErrandFault::Http(fault)));
    }

    /// A request was answered; over which transport.
    fn end_http(&mut self, phone: u32, end: StepEnd) -> Transport {
        self.leave_server(phone);
        let session = self.sessions.of_mut(phone);
        session.waits = Waits::Nothing;
        let (planned, started) = (session.wanted, session.started);
        let (step, secure) = (session.step, session.http.secure);
        self.hear(phone, Incident::Ended { step, end, planned, started });
        Transport::over_http(secure)
    }
}
