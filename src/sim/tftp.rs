use std::sync::Arc;

use crate::base::{Span, Time};
use crate::measure::{Incident, Notice, StepKind};
use crate::phone::{ErrandFault, Transport};
use crate::transfer::TransferFault;

use super::event::{Event, Fetched, Job, Request};
use super::session::Waits;
use super::transfer::{Played, Transfer, first_arrival};
use super::world::World;

impl World {
    pub(super) fn fetch_tftp(&mut self, phone: u32, wanted: Time, file: Arc<str>) {
        self.hear(phone, Incident::Asked(Transport::Tftp));
        let request = self.begin_beside_session(phone, Waits::Tftp);
        self.sessions.of_mut(phone).wanted = wanted;
        self.watch_tftp(request);
        let (now, (timeout, tries)) = (self.engine.now(), self.patience());
        let arrival =
            self.network.there(request, |fates| first_arrival(timeout, tries, now, fates));
        if let Some((at, lost)) = arrival {
            self.sessions.of_mut(phone).lost_requests = lost;
            self.engine.push(at, Event::TftpAsked(request, file));
        }
    }

    /// How long a phone waits for an answer, and how often it asks.
    fn patience(&self) -> (Span, u8) {
        (self.fleet.profile().tftp_timeout, self.fleet.profile().tftp_tries)
    }

    /// A phone asks, or says its last word, as often as it does.
    fn watch_tftp(&mut self, request: Request) {
        let (timeout, tries) = self.patience();
        let length = timeout.times(u64::from(tries));
        self.sessions.watch(&mut self.engine, request, Waits::Tftp, length);
    }

    /// A request arrives at the server.
    pub(super) fn on_tftp_asked(&mut self, request: Request, file: Arc<str>) {
        let phone = request.phone;
        if !self.sessions.is_current(request) || self.sessions.of(phone).waits != Waits::Tftp {
            return;
        }
        let node = self.node_of(phone);
        if self.cluster().tftp(node).is_none() {
            return self.refuse(request, file);
        }
        let service = self.tftp_service(phone).filter(|_| !self.servers.is_full(node));
        let Some(service) = service else {
            return self.ask_again(request, file, self.engine.now());
        };
        self.servers.on_tftp();
        self.serve_file(&service, request, &file, false);
    }

    /// Nobody answers a request of `asked`: the phone sends it again, as often as it does.
    fn ask_again(&mut self, request: Request, file: Arc<str>, asked: Time) {
        let (timeout, tries) = self.patience();
        let at = (asked + timeout).max(self.engine.now());
        let lost = &mut self.sessions.of_mut(request.phone).lost_requests;
        if *lost + 1 < tries {
            *lost += 1;
            self.engine.push(at, Event::TftpAsked(request, file));
        }
    }

    /// Nobody listens: the host says so, unless that is lost as well.
    fn refuse(&mut self, request: Request, file: Arc<str>) {
        let now = self.engine.now();
        let session = self.sessions.of(request.phone);
        let (lost, step) = (session.lost_requests, session.step);
        // Each try has a fate of its own.
        let fate = self
            .network
            .back(request, |fates| (0..=lost).map(|_| fates.datagram()).last().flatten());
        let Some(way) = fate else { return self.ask_again(request, file, now) };
        self.sessions.of_mut(request.phone).waits = Waits::Nothing;
        self.sent_again(request.phone, step, u32::from(lost));
        self.begin_transfer();
        let outcome = failed(TransferFault::Refused);
        self.engine.push(now + way, Event::TftpEnded(request, outcome));
    }

    /// The server sends a file: its work first, then the way.
    pub(super) fn send_tftp(&mut self, request: Request, file: Arc<[u8]>) {
        let blocks = self.transfer_of(request.phone, Arc::clone(&file)).answers();
        let node = self.node_of(request.phone);
        self.work(node, self.machines.tftp(blocks), Job::Upload(node, request, file));
    }

    /// What a server begins to send to a phone now.
    fn transfer_of(&self, phone: u32, file: Arc<[u8]>) -> Transfer {
        let session = self.sessions.of(phone);
        Transfer {
            request: self.fleet.download(phone),
            file,
            started: session.started,
            lost_requests: session.lost_requests,
            begins: self.engine.now(),
        }
    }

    /// Whether the server still works at a request; one that was stopped meanwhile knows nothing
    /// of it any more.
    fn is_served(&self, request: Request) -> bool {
        let session = self.sessions.of(request.phone);
        self.sessions.is_current(request) && session.waits == Waits::Tftp && session.served
    }

    /// The server's work on a file is done.
    pub(super) fn upload(&mut self, request: Request, file: Arc<[u8]>) {
        if self.is_served(request) {
            self.carry(request, file, false);
        }
    }

    /// Blocks and acknowledgements go to and fro.
    pub(super) fn transfer(&mut self, request: Request, file: Arc<[u8]>) {
        if !self.is_served(request) {
            return;
        }
        let phone = request.phone;
        let transfer = self.transfer_of(phone, file);
        let played = self.network.back(request, |fates| transfer.play(fates));
        let outcome = if played.complete {
            Fetched::File(transfer.file)
        } else {
            failed(TransferFault::Stalled)
        };
        let check = self.machines.phone_delay(self.plan.cost.phone_check);
        self.end_at(request, played, check, Waits::Transfer, outcome);
    }

    /// "File not found" is under way; if it is lost, the phone asks again.
    pub(super) fn answer_missing(&mut self, request: Request) {
        if !self.is_served(request) {
            return;
        }
        let transfer = self.transfer_of(request.phone, Arc::default());
        let played = self.network.back(request, |fates| transfer.play_missing(fates));
        if played.complete {
            self.end_at(request, played, Span::ZERO, Waits::Nothing, Fetched::Missing);
        } else {
            // Nothing arrives: the phone's own patience ends the wait.
            self.servers.sent(played.server_sent);
        }
    }

    /// It is known how a transfer goes; the phone has something to do when it has the file.
    fn end_at(
        &mut self,
        request: Request,
        played: Played,
        check: Span,
        waits: Waits,
        outcome: Fetched,
    ) {
        let step = self.sessions.of(request.phone).step;
        self.sent_again(request.phone, step, played.phone_again);
        self.servers.sent(played.server_sent);
        self.sessions.of_mut(request.phone).waits = waits;
        self.begin_transfer();
        self.engine.push(played.ended + check, Event::TftpEnded(request, outcome));
    }

    /// The next block never comes: the phone says its last word as often as it does.
    pub(super) fn stall(&mut self, phone: u32) {
        self.leave_server(phone);
        let request = self.sessions.renew(phone);
        let session = self.sessions.of_mut(phone);
        (session.waits, session.stalled) = (Waits::Tftp, true);
        self.watch_tftp(request);
    }

    /// The request is gone that the server had not answered yet; the phone repeats it in time.
    pub(super) fn forget_request(&mut self, phone: u32) {
        self.leave_server(phone);
        let file = self.file_name(phone);
        let session = self.sessions.of(phone);
        let tries = u64::from(session.lost_requests);
        let asked = session.started + self.patience().0.times(tries);
        self.ask_again(self.sessions.request(phone), file, asked);
    }

    fn begin_transfer(&mut self) {
        let transfers = self.servers.begin_transfer();
        self.note(Notice::TransfersInFlight(transfers));
    }

    fn sent_again(&mut self, phone: u32, step: StepKind, times: u32) {
        (0..times).for_each(|_| self.hear(phone, Incident::SentAgain(step)));
    }

    /// No answer to any try of a phone.
    pub(super) fn on_tftp_silence(&mut self, request: Request) {
        let session = self.sessions.of_mut(request.phone);
        session.waits = Waits::Nothing;
        let stalled = std::mem::take(&mut session.stalled);
        let step = session.step;
        let fault = if stalled { TransferFault::Stalled } else { TransferFault::TimedOut };
        let again = self.patience().1.saturating_sub(1);
        self.sent_again(request.phone, step, u32::from(again));
        self.begin_transfer();
        self.on_tftp_ended(request, &failed(fault));
    }

    pub(super) fn on_tftp_ended(&mut self, request: Request, outcome: &Fetched) {
        self.servers.end_transfer();
        if self.sessions.is_current(request) {
            self.fetched(request.phone, Transport::Tftp, outcome);
        }
    }
}

const fn failed(fault: TransferFault) -> Fetched {
    Fetched::Failed(ErrandFault::Tftp(fault))
}
