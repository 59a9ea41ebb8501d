use std::sync::Arc;

use crate::base::NodeId;
use crate::cluster::{SignJob, TftpService};
use crate::measure::{Incident, StepEnd};
use crate::phone::{Answer, Transport};

use super::event::{Fetched, Job, Request};
use super::servers::Found;
use super::session::Waits;
use super::world::World;

impl World {
    /// The service of a phone's TFTP node, if it runs and its files are built.
    pub(super) fn tftp_service(&self, phone: u32) -> Option<Arc<TftpService>> {
        let node = self.node_of(phone);
        let service = self.cluster().tftp(node).map(Arc::clone);
        service.filter(|_| self.servers.is_built(node, self.engine.now()))
    }

    /// A server takes a request for a file: it answers now, or when the file is signed.
    pub(super) fn serve_file(
        &mut self,
        service: &TftpService,
        request: Request,
        file: &str,
        http: bool,
    ) {
        let node = self.node_of(request.phone);
        self.sessions.of_mut(request.phone).served = true;
        self.cluster().date_lscs(self.engine.now());
        match self.servers.find((node, service), request, file, http) {
            Found::File(file) => self.send_file(request, file, http),
            Found::Missing if http => self.send_http(request, Fetched::Missing),
            Found::Missing => self.work(node, self.machines.tftp(0), Job::Missing(node, request)),
            Found::Later(Some(job)) => {
                self.work(node, self.machines.signature(), Job::Sign(node, Box::new(job)));
            }
            Found::Later(None) => {}
        }
    }

    fn send_file(&mut self, request: Request, file: Arc<[u8]>, http: bool) {
        if http {
            self.send_http(request, Fetched::File(file));
        } else {
            self.send_tftp(request, file);
        }
    }

    pub(super) fn on_signed(&mut self, job: SignJob) {
        let signed = job.run();
        for waiter in signed.waiters {
            let sessions = &self.sessions;
            let wants = |request: Request| {
                sessions.is_current(request) && sessions.of(request.phone).served
            };
            if let Some((request, http, file)) = self.servers.unpark(waiter, &signed.header, wants)
            {
                self.send_file(request, file, http);
            }
        }
    }

    /// What a phone asked for is served, or is no longer wanted.
    pub(super) fn leave_server(&mut self, phone: u32) {
        if std::mem::take(&mut self.sessions.of_mut(phone).served) {
            self.servers.leave(self.node_of(phone));
        }
    }

    /// Sends a file through the link of a phone's site.
    pub(super) fn carry(&mut self, request: Request, file: Arc<[u8]>, http: bool) {
        let bytes = file.len();
        let job = Job::Carried { request, file, http };
        if let Some(job) = self.network.carry(&mut self.engine, request.phone, bytes, job) {
            self.on_job(job);
        }
    }

    /// The rest of the way is round trips, which nobody else's transfers lengthen.
    pub(super) fn carried(&mut self, request: Request, file: Arc<[u8]>, http: bool) {
        if !self.sessions.is_current(request) {
            return;
        }
        if http {
            self.answer_http_now(request, Fetched::File(file));
        } else {
            self.transfer(request, file);
        }
    }

    /// What came of a phone's request for a file; HTTP is never the last word on it, so that an
    /// attempt that failed there is no end of the step.
    pub(super) fn fetched(&mut self, phone: u32, via: Transport, outcome: &Fetched) {
        self.leave_server(phone);
        let session = self.sessions.of_mut(phone);
        session.waits = Waits::Nothing;
        let (step, planned, mut started) = (session.step, session.wanted, session.started);
        if via == Transport::Tftp {
            started = planned;
        }
        let (incident, end, result) = match outcome {
            Fetched::File(file) => {
                let arrived = Incident::Arrived(via, file.len() as u64);
                (arrived, StepEnd::Ok, Ok(Answer::File(file)))
            }
            Fetched::Missing => (Incident::Missing(via), StepEnd::NotFound, Ok(Answer::NoFile)),
            Fetched::Failed(fault) => (Incident::Failed(via, step), StepEnd::Failed, Err(*fault)),
        };
        if via == Transport::Tftp || end != StepEnd::Failed {
            self.hear(phone, Incident::Ended { step, end, planned, started });
        }
        self.hear(phone, incident);
        self.answer(phone, result);
    }

    /// A TFTP service has stopped: transfers in flight get no further, what it worked at is
    /// forgotten, and the phones notice.
    pub(super) fn stall_transfers(&mut self, node: NodeId) {
        for phone in 0..self.plan.fleet.phones {
            if self.node_of(phone) != node {
                continue;
            }
            let session = self.sessions.of(phone);
            match (session.waits, session.served) {
                (Waits::Transfer, _) => self.stall(phone),
                (Waits::Tftp, true) => self.forget_request(phone),
                (Waits::Http, true) if !session.http.answered => self.cut_off(phone),
                _ => {}
            }
        }
    }

    /// The name of the file that a phone asks for.
    pub(super) fn file_name(&self, phone: u32) -> Arc<str> {
        let step = self.sessions.of(phone).file.expect("a request is for a file");
        self.fleet.file_name(phone, step)
    }
}
