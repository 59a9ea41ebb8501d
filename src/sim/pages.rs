use crate::base::{NodeId, Span, Time};
use crate::crypto::Certificate;
use crate::measure::{Incident, StepEnd, StepKind};
use crate::phone::{Answer, ErrandFault, Fact, HttpFault, Input, PageRequest, PressEnd};
use crate::play::NextPress;

use super::event::{Event, Job, LinkWish, Paged, Request};
use super::session::Waits;
use super::world::World;

impl World {
    /// Plans the first press of every phone.
    pub(super) fn plan_presses(&mut self) {
        let first = self.presses.first();
        first.into_iter().for_each(|next| self.plan_press(next));
    }

    fn plan_press(&mut self, next: NextPress) {
        let NextPress { at, place, of } = next;
        self.pressing += 1;
        self.engine.push(at, Event::Press { phone: place as u32, of });
    }

    /// Somebody presses the button of a use.
    pub(super) fn on_press(&mut self, phone: u32, of: u8) {
        if let Some(next) = self.presses.next(phone as usize, of) {
            self.plan_press(next);
        }
        self.step(phone, Input::Press(self.presses.button(of)));
    }

    /// What a press means for the world, if a phone says that one has ended.
    pub(super) fn heed_press(&mut self, phone: u32, fact: Fact) {
        let Fact::Pressed { end, .. } = fact else { return };
        self.pressing -= 1;
        if end != PressEnd::Busy {
            self.drop_link(phone);
        }
    }

    /// A phone asks for a page; without a connection it may have to wait for a place for one.
    pub(super) fn fetch_page(&mut self, phone: u32, wanted: Time, page: Box<PageRequest>) {
        let request = self.begin_request(phone, Waits::Nothing);
        let session = self.sessions.of_mut(phone);
        (session.wanted, session.http.secure) = (wanted, page.trust.is_some());
        if let Some(wish) = self.sessions.connect(request, LinkWish::Page(page)) {
            self.begin_link(request, wish);
        }
    }

    /// Connecting takes as long as for a file. Pages of a menu are on the node of the menu.
    pub(super) fn begin_page(&mut self, request: Request, page: Box<PageRequest>) {
        let (phone, now) = (request.phone, self.engine.now());
        let patience = self.fleet.profile().http_timeout;
        self.sessions.watch(&mut self.engine, request, Waits::Http, patience);
        let secure = page.trust.is_some();
        let node = self.cluster().topology().web_at(page.server);
        // Who speaks TLS to a port of HTTP, or the reverse, gets no answer.
        let node = node.filter(|&(_, is_secure)| is_secure == secure).map(|(node, _)| node);
        let listens = node.filter(|&node| self.cluster().web(node).is_some());
        let way = self.way_of_http(request, phone, secure, listens.is_some());
        let event = if let Some(node) = listens {
            Event::PageAsked(request, node, page)
        } else {
            let answer = Paged::Failed(ErrandFault::Http(HttpFault::Connection));
            Event::PageAnswered(request, answer)
        };
        self.engine.push(now + way, event);
    }

    pub(super) fn on_page_asked(&mut self, request: Request, node: NodeId, page: &PageRequest) {
        if !self.sessions.is_current(request) {
            return;
        }
        let Some(service) = self.cluster().web(node).cloned() else {
            let answer = Paged::Failed(ErrandFault::Http(HttpFault::Connection));
            return self.answer_page(request, answer);
        };
        let http = self.sessions.of(request.phone).http;
        let certificate = page.trust.as_ref().map(|_| service.identity.certificate.clone());
        let is_refused = match (&page.trust, &certificate) {
            (Some(trust), Some(own)) if http.connects => !trust.accepts(own.der()),
            _ => false,
        };
        self.servers.on_page(http.secure, http.connects, is_refused);
        let answer = match certificate {
            Some(own) if is_refused => Paged::Presented(own),
            certificate => match service.page(&page.target, http.secure) {
                Some(body) => Paged::Page { certificate, body },
                None => Paged::Missing,
            },
        };
        let work = self.machines.http(http.connects, http.secure, false);
        self.work(node, work, Job::Page(node, request, answer));
    }

    /// The server's work on an answer is done.
    pub(super) fn answer_page(&mut self, request: Request, answer: Paged) {
        if self.sessions.is_current(request) {
            self.sessions.of_mut(request.phone).http.answered = true;
            self.reply(request, Event::PageAnswered(request, answer));
        }
    }

    pub(super) fn on_page_answered(&mut self, request: Request, answer: &Paged) {
        let session = self.sessions.of(request.phone);
        if session.waits != Waits::Http || !self.sessions.is_current(request) {
            return;
        }
        let phone = request.phone;
        let session = self.sessions.of_mut(phone);
        session.waits = Waits::Nothing;
        if matches!(answer, Paged::Presented(_) | Paged::Failed(_)) {
            session.http.connected = None;
        }
        let (planned, started) = (session.wanted, session.started);
        let result = match answer {
            Paged::Page { certificate, body } => Ok(Answer::Page {
                certificate: certificate.as_ref().map(Certificate::der),
                body: body.as_bytes(),
            }),
            Paged::Missing => Ok(Answer::NoFile),
            Paged::Presented(certificate) => Ok(Answer::Presented(certificate.der())),
            Paged::Failed(fault) => Err(*fault),
        };
        let end = StepEnd::answered(result.is_ok());
        let step = StepKind::Page;
        self.hear(phone, Incident::Ended { step, end, planned, started });
        self.answer(phone, result);
    }

    /// From the wish to connect, if there is no connection, until a request is at its server.
    pub(super) fn way_of_http(
        &mut self,
        request: Request,
        phone: u32,
        secure: bool,
        listens: bool,
    ) -> Span {
        let now = self.engine.now();
        let http = &mut self.sessions.use_link(phone, now).http;
        let connects = http.connected != Some(secure);
        (http.connects, http.connected) = (connects, listens.then_some(secure));
        self.network.there(request, |fates| {
            let connect = if connects { fates.connect() } else { Span::ZERO };
            let shakes = if secure && connects { 4 } else { 0 };
            let segments = if listens { shakes + 1 } else { 0 };
            (0..segments).fold(connect, |way, _| way + fates.segment())
        })
    }
}
