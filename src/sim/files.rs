use std::sync::Arc;

use crate::base::{NodeId, PhoneId, Span, Time};
use crate::cluster::{Contents, FileReply, PendingFile, ServedFile, SignJob, TftpService, Waiter};
use crate::measure::{Incident, Notice, StepEnd};
use crate::phone::{Answer, ErrandFault, HttpFault, PROVISIONING_ROLES, Transport, Trust};
use crate::transfer::{DownloadRequest, TransferFault};
use crate::wire::tftp::BLOCK_SIZE_DEFAULT;

use super::machines::Work;
use super::session::{Event, HttpAnswer, Job, Parked, TftpEnd, Waits};
use super::tftp::{Transfer, first_arrival};
use super::world::World;

/// What a server does with a request for a file.
enum Found {
    File(Arc<[u8]>),
    Missing,
    /// It answers when the file is signed.
    Later,
}

impl World {
    pub(super) fn fetch_tftp(&mut self, phone: u32, wanted: Time, file: Arc<str>) {
        self.hear(phone, Incident::Asked(Transport::Tftp));
        let profile = Arc::clone(&self.env.profile);
        let generation = self.begin_request(phone, Waits::Tftp);
        let now = self.now;
        self.session(phone).wanted = wanted;
        let patience = profile.tftp_timeout.times(u64::from(profile.tftp_tries));
        self.watch(phone, generation, Waits::Tftp, patience);
        let mut fates = self.fates(phone, 0);
        let arrival = first_arrival(profile.tftp_timeout, profile.tftp_tries, now, &mut fates);
        self.draws += fates.draws;
        if let Some((at, lost)) = arrival {
            self.session(phone).lost_requests = lost;
            self.queue.push(at, Event::TftpAsked { phone, generation, file });
        }
    }

    /// A request arrives at the server.
    pub(super) fn on_tftp_asked(&mut self, phone: u32, generation: u32, file: Arc<str>) {
        if !self.is_current(phone, generation) || self.session(phone).waits != Waits::Tftp {
            return;
        }
        if self.cluster().tftp(self.node_of(phone)).is_none() {
            return self.refuse(phone, generation, file);
        }
        let Some(service) = self.tftp_service(phone).filter(|_| !self.is_full(phone)) else {
            return self.ask_again(phone, generation, file, self.now);
        };
        self.serve.tftp_requests += 1;
        match self.find(&service, phone, generation, &file, false) {
            Found::File(file) => self.send(phone, generation, file),
            Found::Missing => {
                let work = Work::tftp(&self.plan.cost, 0);
                let node = self.node_of(phone);
                self.work(node, work, Job::Missing { phone, generation });
            }
            Found::Later => {}
        }
    }

    /// Nobody answers a request of `asked`: the phone sends it again, as often as it does.
    fn ask_again(&mut self, phone: u32, generation: u32, file: Arc<str>, asked: Time) {
        let (timeout, tries) = (self.env.profile.tftp_timeout, self.env.profile.tftp_tries);
        let at = (asked + timeout).max(self.now);
        let session = self.session(phone);
        if session.lost_requests + 1 < tries {
            session.lost_requests += 1;
            self.queue.push(at, Event::TftpAsked { phone, generation, file });
        }
    }

    /// Nobody listens: the host says so, unless that is lost as well.
    fn refuse(&mut self, phone: u32, generation: u32, file: Arc<str>) {
        let mut fates = self.fates(phone, 1);
        let lost = self.session(phone).lost_requests;
        // Each try has a fate of its own.
        let fate = (0..=lost).map(|_| fates.datagram()).last().flatten();
        self.draws += fates.draws;
        let Some(way) = fate else { return self.ask_again(phone, generation, file, self.now) };
        let session = self.session(phone);
        session.waits = Waits::Nothing;
        let step = session.step;
        (0..lost).for_each(|_| self.hear(phone, Incident::SentAgain(step)));
        self.begin_transfer();
        let outcome = TftpEnd::Failed(TransferFault::Refused);
        self.queue.push(self.now + way, Event::TftpEnded { phone, generation, outcome });
    }

    /// The service of a phone's TFTP node, if it runs and its files are built.
    fn tftp_service(&self, phone: u32) -> Option<Arc<TftpService>> {
        let node = self.node_of(phone);
        let service = self.cluster().tftp(node).map(Arc::clone);
        service.filter(|_| self.machines.is_built(node, self.now))
    }

    /// Whether the serving count of a phone's TFTP node is reached.
    fn is_full(&self, phone: u32) -> bool {
        let limit = self.plan.cost.serving_count;
        let node = self.node_of(phone).index();
        limit > 0 && self.machines.served[node] >= limit
    }

    fn find(
        &mut self,
        service: &TftpService,
        phone: u32,
        generation: u32,
        file: &str,
        http: bool,
    ) -> Found {
        let node = self.node_of(phone).index();
        self.machines.served[node] += 1;
        self.session(phone).served = true;
        let waiter = Waiter(self.next_waiter);
        self.next_waiter += 1;
        match service.request(file, waiter) {
            FileReply::Missing => Found::Missing,
            FileReply::Ready(file) => Found::File(self.whole(&file)),
            FileReply::Pending { file, job } => {
                self.park(waiter, Parked { phone, generation, file, http }, job);
                Found::Later
            }
        }
    }

    /// What a phone asked for is served, or is no longer wanted.
    pub(super) fn leave_server(&mut self, phone: u32) {
        let node = self.node_of(phone).index();
        if std::mem::take(&mut self.session(phone).served) {
            self.machines.served[node] -= 1;
        }
    }

    /// Lets a request wait for its signature, and has it made if nobody does.
    fn park(&mut self, waiter: Waiter, parked: Parked, job: Option<SignJob>) {
        let node = self.node_of(parked.phone);
        self.parked.insert(waiter.0, parked);
        if let Some(job) = job {
            self.sign(node, Job::Sign(node, Box::new(job)));
        }
    }

    pub(super) fn on_signed(&mut self, job: SignJob) {
        let signed = job.run();
        for waiter in signed.waiters {
            let Some(parked) = self.parked.remove(&waiter.0) else { continue };
            let Parked { phone, generation, file, http } = parked;
            if self.is_current(phone, generation) && self.session(phone).served {
                self.serve_signed(phone, generation, file, &signed.header, http);
            }
        }
    }

    fn serve_signed(
        &mut self,
        phone: u32,
        generation: u32,
        file: PendingFile,
        header: &Arc<[u8]>,
        http: bool,
    ) {
        let file = self.whole(&file.with_header(Arc::clone(header)));
        if http {
            self.send_http(phone, generation, HttpAnswer::File(file));
        } else {
            self.send(phone, generation, file);
        }
    }

    /// The whole file; one that stands for many phones is put together once and kept.
    fn whole(&mut self, file: &ServedFile) -> Arc<[u8]> {
        if self.cluster_contents() == Contents::OfEachPhone {
            return file.to_bytes().into();
        }
        let Some(key) = file.place() else { return file.to_bytes().into() };
        if let Some((_, whole)) = self.whole.get(&key) {
            return Arc::clone(whole);
        }
        let whole: Arc<[u8]> = file.to_bytes().into();
        self.env.shared.pin(&whole);
        self.whole.insert(key, (file.clone(), Arc::clone(&whole)));
        whole
    }

    /// The server sends a file over TFTP: its work first, then the way.
    fn send(&mut self, phone: u32, generation: u32, file: Arc<[u8]>) {
        let blocks = self.blocks(phone, file.len());
        let work = Work::tftp(&self.plan.cost, blocks);
        let node = self.node_of(phone);
        self.work(node, work, Job::Upload { phone, generation, file });
    }

    /// Datagrams that bring a file of so many bytes.
    fn blocks(&self, phone: u32, length: usize) -> u64 {
        let asked = self.request_of(phone).options.block_size;
        let size = asked.unwrap_or(u64::from(BLOCK_SIZE_DEFAULT)).max(1);
        length as u64 / size + 1 + u64::from(asked.is_some())
    }

    /// How a phone asks for a file; here nobody reads its name.
    fn request_of(&self, phone: u32) -> DownloadRequest {
        self.phones[phone as usize].download(&self.env, Arc::clone(&self.no_name))
    }

    /// Whether the server still works at a phone's request over TFTP; one that was stopped
    /// meanwhile knows nothing of it any more.
    fn is_served(&mut self, phone: u32, generation: u32) -> bool {
        let is_current = self.is_current(phone, generation);
        let session = self.session(phone);
        is_current && session.waits == Waits::Tftp && session.served
    }

    pub(super) fn upload(&mut self, phone: u32, generation: u32, file: Arc<[u8]>) {
        if !self.is_served(phone, generation) {
            return;
        }
        let site = self.plan.fleet.site_of(self.plan.seed, PhoneId(phone));
        let (http, bytes) = (false, file.len());
        let job = Job::Carried { phone, generation, file, http };
        if let Err(Job::Carried { file, .. }) = self.carry(site, bytes, job) {
            self.carried(phone, generation, file, http);
        }
    }

    /// The rest of the way is round trips, which nobody else's transfers lengthen.
    pub(super) fn carried(&mut self, phone: u32, generation: u32, file: Arc<[u8]>, http: bool) {
        if !self.is_current(phone, generation) {
            return;
        }
        if http {
            return self.answer_http_now(phone, generation, HttpAnswer::File(file));
        }
        if !self.is_served(phone, generation) {
            return;
        }
        let request = self.request_of(phone);
        let session = &self.sessions[phone as usize];
        let transfer = Transfer {
            request,
            file,
            started: session.started,
            lost_requests: session.lost_requests,
            begins: self.now,
        };
        let step = session.step;
        let mut fates = self.fates(phone, 1);
        let played = transfer.play(&mut fates);
        self.draws += fates.draws;
        (0..played.phone_again).for_each(|_| self.hear(phone, Incident::SentAgain(step)));
        self.serve.tftp_datagrams_out += u64::from(played.server_sent);
        self.session(phone).waits = Waits::Transfer;
        self.begin_transfer();
        let outcome = if played.complete {
            TftpEnd::File(transfer.file)
        } else {
            TftpEnd::Failed(TransferFault::Stalled)
        };
        let check = self.phone_delay(self.plan.cost.phone_check);
        self.queue.push(played.ended + check, Event::TftpEnded { phone, generation, outcome });
    }

    /// A TFTP service has stopped: transfers in flight get no further, what it worked at is
    /// forgotten, and the phones notice.
    pub(super) fn stall_transfers(&mut self, node: NodeId) {
        for phone in 0..self.sessions.len() as u32 {
            if self.node_of(phone) != node {
                continue;
            }
            let session = self.session(phone);
            match (session.waits, session.served) {
                (Waits::Transfer, _) => self.stall(phone),
                (Waits::Tftp, true) => self.forget_request(phone),
                (Waits::Http, true) if !session.answered => self.cut_off(phone),
                _ => {}
            }
        }
    }

    /// The next block never comes: the phone says its last word as often as it does.
    fn stall(&mut self, phone: u32) {
        self.leave_server(phone);
        let profile = &self.env.profile;
        let patience = profile.tftp_timeout.times(u64::from(profile.tftp_tries));
        let session = self.session(phone);
        session.generation += 1;
        (session.waits, session.stalled) = (Waits::Tftp, true);
        let generation = session.generation;
        self.watch(phone, generation, Waits::Tftp, patience);
    }

    /// The request is gone that the server had not answered yet; the phone repeats it in time.
    fn forget_request(&mut self, phone: u32) {
        self.leave_server(phone);
        let file = self.file_name(phone);
        let session = &self.sessions[phone as usize];
        let tries = u64::from(session.lost_requests);
        let asked = session.started + self.env.profile.tftp_timeout.times(tries);
        self.ask_again(phone, session.generation, file, asked);
    }

    /// A connection ends before its answer: a fault if it was opened for the request; a kept one
    /// may end at any time, and the phone opens another.
    fn cut_off(&mut self, phone: u32) {
        self.leave_server(phone);
        let file = self.file_name(phone);
        let session = self.session(phone);
        session.generation += 1;
        session.connected = None;
        let (generation, connects, secure) = (session.generation, session.connects, session.secure);
        if !connects {
            return self.begin_http(phone, generation, file);
        }
        // Of an HTTPS answer most is the handshake.
        let fault = if secure { HttpFault::Connection } else { HttpFault::Protocol };
        self.answer_http_now(phone, generation, HttpAnswer::Refused(fault));
    }

    /// The name of the file that a phone asks for.
    fn file_name(&self, phone: u32) -> Arc<str> {
        let session = &self.sessions[phone as usize];
        let phone = &self.phones[phone as usize];
        let step = session.file.expect("a request is for a file");
        step.file_name(phone.name(), phone.lists().any()).into()
    }

    fn begin_transfer(&mut self) {
        self.transfers += 1;
        self.note(Notice::TransfersInFlight(self.transfers));
    }

    /// "File not found" is under way; if it is lost, the phone asks again.
    pub(super) fn answer_missing(&mut self, phone: u32, generation: u32) {
        if !self.is_served(phone, generation) {
            return;
        }
        let (timeout, tries) = (self.env.profile.tftp_timeout, self.env.profile.tftp_tries);
        let mut fates = self.fates(phone, 1);
        let session = &self.sessions[phone as usize];
        let (mut at, mut asked) = (self.now, session.lost_requests);
        let step = session.step;
        let sent = |tries: u8| session.started + timeout.times(u64::from(tries));
        // The answer, or the next try and its answer, until one arrives.
        let arrived = loop {
            self.serve.tftp_datagrams_out += 1;
            if let Some(way) = fates.datagram() {
                break Some(at + way);
            }
            let next = loop {
                asked += 1;
                if asked >= tries {
                    break None;
                }
                if let Some(way) = fates.datagram() {
                    break Some(sent(asked) + way);
                }
            };
            match next {
                Some(again) => at = again.max(at),
                None => break None,
            }
        };
        self.draws += fates.draws;
        // Nothing arrives: the phone's own patience ends the wait.
        let Some(at) = arrived else { return };
        (0..asked).for_each(|_| self.hear(phone, Incident::SentAgain(step)));
        self.session(phone).waits = Waits::Nothing;
        self.begin_transfer();
        let outcome = TftpEnd::Missing;
        self.queue.push(at, Event::TftpEnded { phone, generation, outcome });
    }

    /// No answer to any try of a phone.
    pub(super) fn on_tftp_silence(&mut self, phone: u32) {
        let session = self.session(phone);
        session.waits = Waits::Nothing;
        let stalled = std::mem::take(&mut session.stalled);
        let fault = if stalled { TransferFault::Stalled } else { TransferFault::TimedOut };
        let (generation, step) = (session.generation, session.step);
        let again = self.env.profile.tftp_tries.saturating_sub(1);
        (0..again).for_each(|_| self.hear(phone, Incident::SentAgain(step)));
        self.begin_transfer();
        self.on_tftp_ended(phone, generation, &TftpEnd::Failed(fault));
    }

    pub(super) fn on_tftp_ended(&mut self, phone: u32, generation: u32, outcome: &TftpEnd) {
        self.transfers -= 1;
        if !self.is_current(phone, generation) {
            return;
        }
        self.leave_server(phone);
        let session = self.session(phone);
        session.waits = Waits::Nothing;
        let step = session.step;
        let wanted = session.wanted;
        let end = match outcome {
            TftpEnd::File(_) => StepEnd::Ok,
            TftpEnd::Missing => StepEnd::NotFound,
            TftpEnd::Failed(_) => StepEnd::Failed,
        };
        self.hear(phone, Incident::Ended { step, end, planned: wanted, started: wanted });
        match outcome {
            TftpEnd::File(file) => {
                self.hear(phone, Incident::Arrived(Transport::Tftp, file.len() as u64));
                self.answer(phone, Ok(Answer::File(file)));
            }
            TftpEnd::Missing => {
                self.hear(phone, Incident::Missing(Transport::Tftp));
                self.answer(phone, Ok(Answer::NoFile));
            }
            TftpEnd::Failed(fault) => {
                self.hear(phone, Incident::Failed(Transport::Tftp, step));
                self.answer(phone, Err(ErrandFault::Tftp(*fault)));
            }
        }
    }

    /// A phone asks for a file over HTTP; without a connection it may have to wait for one.
    pub(super) fn fetch_http(&mut self, phone: u32, wanted: Time, file: Arc<str>, secure: bool) {
        self.hear(phone, Incident::Asked(Transport::over_http(secure)));
        let generation = self.begin_request(phone, Waits::Nothing);
        let session = self.session(phone);
        (session.wanted, session.secure) = (wanted, secure);
        let may_begin = if session.has_link {
            Some(file)
        } else {
            self.links_in_flight.enter(phone, generation, file)
        };
        if let Some(file) = may_begin {
            self.begin_http(phone, generation, file);
        }
    }

    /// A phone gives up its connection: the next one that waits may connect.
    pub(super) fn drop_link(&mut self, phone: u32) {
        let session = self.session(phone);
        session.connected = None;
        if !std::mem::take(&mut session.has_link) {
            return;
        }
        if let Some((phone, generation, file)) = self.links_in_flight.leave(&self.sessions) {
            self.begin_http(phone, generation, file);
        }
    }

    /// Connecting takes one round trip, two more with TLS, and so does a request.
    fn begin_http(&mut self, phone: u32, generation: u32, file: Arc<str>) {
        self.watch(phone, generation, Waits::Http, self.env.profile.http_timeout);
        let now = self.now;
        let session = self.session(phone);
        (session.waits, session.started, session.has_link) = (Waits::Http, now, true);
        let secure = session.secure;
        let connects = session.connected != Some(secure);
        session.connects = connects;
        let listens = self.listens_to_http(phone, secure);
        self.session(phone).connected = listens.then_some(secure);
        let mut fates = self.fates(phone, 0);
        let connect = if connects { fates.connect() } else { Span::ZERO };
        if !listens {
            self.draws += fates.draws;
            let answer = HttpAnswer::Refused(HttpFault::Connection);
            let event = Event::HttpAnswered { phone, generation, answer };
            return self.queue.push(now + connect, event);
        }
        let via = Transport::over_http(secure);
        self.hear(phone, Incident::Connected(via, u64::from(connects)));
        let mut at = now + connect;
        if secure && connects {
            at = (0..4).fold(at, |at, _| at + fates.segment());
        }
        let at = at + fates.segment();
        self.draws += fates.draws;
        self.queue.push(at, Event::HttpAsked { phone, generation, file });
    }

    /// Whether a phone's TFTP node answers HTTP, or HTTPS, now.
    fn listens_to_http(&self, phone: u32, secure: bool) -> bool {
        let ports = self.cluster().topology().node(self.node_of(phone)).ports;
        let port = if secure { ports.https } else { ports.http };
        port.is_some() && self.tftp_service(phone).is_some()
    }

    pub(super) fn on_http_asked(&mut self, phone: u32, generation: u32, file: &str) {
        if !self.is_current(phone, generation) {
            return;
        }
        let Some(service) = self.tftp_service(phone) else {
            let answer = HttpAnswer::Refused(HttpFault::Connection);
            return self.answer_http(phone, generation, answer);
        };
        let (secure, connects) = (self.session(phone).secure, self.session(phone).connects);
        if secure && connects {
            let lists = self.phones[phone as usize].lists().clone();
            let trust = Trust { lists, roles: PROVISIONING_ROLES };
            let presented = &service.signer().certificate;
            if !self.judged.judge(&trust, presented) {
                self.serve.https_handshakes_failed += 1;
                let answer = HttpAnswer::Refused(HttpFault::CertificateRefused);
                return self.send_http(phone, generation, answer);
            }
            self.serve.https_handshakes_ok += 1;
        } else if connects {
            self.serve.http_connections += 1;
        }
        if secure {
            self.serve.https_requests += 1;
        } else {
            self.serve.http_requests += 1;
        }
        if self.is_full(phone) {
            return self.send_http(phone, generation, HttpAnswer::Busy);
        }
        match self.find(&service, phone, generation, file, true) {
            Found::File(file) => self.send_http(phone, generation, HttpAnswer::File(file)),
            Found::Missing => self.send_http(phone, generation, HttpAnswer::Missing),
            Found::Later => {}
        }
    }

    fn send_http(&mut self, phone: u32, generation: u32, answer: HttpAnswer) {
        let session = &self.sessions[phone as usize];
        let (connects, shakes) = (session.connects, session.connects && session.secure);
        let file = matches!(answer, HttpAnswer::File(_));
        let mut work = Work::http(&self.plan.cost, connects, file);
        if shakes {
            work.server = work.server + self.machines.handshake_work();
            work.phone = work.phone + self.plan.cost.phone_handshake;
        }
        let node = self.node_of(phone);
        self.work(node, work, Job::Http { phone, generation, answer });
    }

    /// The server's work on an answer is done.
    pub(super) fn answer_http(&mut self, phone: u32, generation: u32, answer: HttpAnswer) {
        if !self.is_current(phone, generation) {
            return;
        }
        let HttpAnswer::File(file) = answer else {
            return self.answer_http_now(phone, generation, answer);
        };
        let site = self.plan.fleet.site_of(self.plan.seed, PhoneId(phone));
        let (http, bytes) = (true, file.len());
        let job = Job::Carried { phone, generation, file, http };
        if let Err(Job::Carried { file, .. }) = self.carry(site, bytes, job) {
            self.answer_http_now(phone, generation, HttpAnswer::File(file));
        }
    }

    fn answer_http_now(&mut self, phone: u32, generation: u32, answer: HttpAnswer) {
        self.session(phone).answered = true;
        let mut fates = self.fates(phone, 1);
        let at = self.now + fates.segment();
        self.draws += fates.draws;
        self.queue.push(at, Event::HttpAnswered { phone, generation, answer });
    }

    pub(super) fn on_http_answered(&mut self, phone: u32, generation: u32, answer: &HttpAnswer) {
        if !self.is_current(phone, generation) || self.session(phone).waits != Waits::Http {
            return;
        }
        match answer {
            HttpAnswer::Refused(fault) => {
                self.session(phone).connected = None;
                self.fail_http(phone, *fault);
            }
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

    pub(super) fn on_http_timeout(&mut self, phone: u32, _generation: u32) {
        self.session(phone).connected = None;
        self.fail_http(phone, HttpFault::TimedOut);
    }

    fn fail_http(&mut self, phone: u32, fault: HttpFault) {
        self.leave_server(phone);
        let session = self.session(phone);
        session.waits = Waits::Nothing;
        let (step, secure) = (session.step, session.secure);
        self.hear(phone, Incident::Failed(Transport::over_http(secure), step));
        self.answer(phone, Err(ErrandFault::Http(fault)));
    }

    /// A request was answered; over which transport.
    fn end_http(&mut self, phone: u32, end: StepEnd) -> Transport {
        self.leave_server(phone);
        let session = self.session(phone);
        session.waits = Waits::Nothing;
        let (planned, started, secure) = (session.wanted, session.started, session.secure);
        let step = session.step;
        self.hear(phone, Incident::Ended { step, end, planned, started });
        Transport::over_http(secure)
    }
}
