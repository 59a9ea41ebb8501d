use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::base::{NodeId, Span};
use crate::cluster::{FileSignature, Topology};
use crate::measure::{CpuSeconds, MachineSummary, ThreadKind};
use crate::scenario::{CostModel, Plan};

use super::engine::Engine;
use super::event::{Event, Job};
use super::station::Station;

/// Everything that works: nodes with their cores, or the one host of all.
#[derive(Debug)]
pub(super) struct Machines {
    plan: Arc<Plan>,
    hosts: Vec<Host>,
    /// Core time of one signature and one handshake with keys of this cluster.
    sign: Span,
    handshake: Span,
    account: Account,
}

/// A host and what is worked on there in the order of its arrival. On a host of their own, servers
/// let transfers share the cores among all of them.
#[derive(Debug)]
struct Host {
    station: Station<Job>,
    lines: [Line; WorkKind::COUNT],
}

/// Jobs that are worked on in the order of their arrival.
#[derive(Debug, Default)]
struct Line {
    active: u32,
    waiting: VecDeque<(Work, Job)>,
}

/// Who has worked how long since the storm began.
#[derive(Debug, Default)]
struct Account {
    /// Core time by kind, of the servers and of the phones.
    server: [Span; WorkKind::COUNT],
    phone: [Span; WorkKind::COUNT],
    /// Core time of phones that check files.
    check: Span,
    /// Jobs, and those among them that found a core idle.
    jobs: u64,
    woke: u64,
}

/// How much longer a private-key operation takes with RSA-4096 than with RSA-2048
/// (`performance.md`: 318 against 2,240 a second).
const LARGE_KEY_FACTOR: u64 = 7;

impl Machines {
    pub(super) fn new(plan: &Arc<Plan>) -> Machines {
        let (cost, topology) = (&plan.cost, &plan.topology);
        let host = || Host {
            station: Station::new(cost.cores, cost.available),
            lines: Default::default(),
        };
        let hosts = if cost.shared_host { 1 } else { topology.nodes.len() };
        let factor = key_factor(topology);
        let sign = cost.sign.times(factor * digest_tenths(topology));
        Machines {
            plan: Arc::clone(plan),
            hosts: (0..hosts).map(|_| host()).collect(),
            sign: Span::from_nanos(sign.as_nanos() / 10),
            handshake: cost.handshake.times(factor),
            account: Account::default(),
        }
    }

    /// Lets the host of `node` work when those before it in its line are done; where phones have
    /// hosts of their own, their part is a delay that nobody shares. Returns a job that is done at
    /// once.
    pub(super) fn work(
        &mut self,
        engine: &mut Engine,
        node: NodeId,
        work: Work,
        job: Job,
    ) -> Option<Job> {
        let threads = work.kind.threads(&self.plan.cost);
        let host = &mut self.hosts[host_of(&self.plan.cost, node)];
        if let Some(threads) = threads {
            let line = &mut host.lines[work.kind as usize];
            if line.active >= threads {
                line.waiting.push_back((work, job));
                return None;
            }
            line.active += 1;
        }
        let wakes = host.station.has_idle_core();
        self.submit(engine, node, (work, wakes), job)
    }

    /// A job of a line is done: the next one begins, and is returned if it is done at once.
    pub(super) fn next_in_line(
        &mut self,
        engine: &mut Engine,
        node: NodeId,
        kind: WorkKind,
    ) -> Option<Job> {
        kind.threads(&self.plan.cost)?;
        let host = &mut self.hosts[host_of(&self.plan.cost, node)];
        let line = &mut host.lines[kind as usize];
        let Some((work, job)) = line.waiting.pop_front() else {
            line.active -= 1;
            return None;
        };
        // It takes over the core of the job before it.
        self.submit(engine, node, (work, false), job)
    }

    fn submit(
        &mut self,
        engine: &mut Engine,
        node: NodeId,
        (work, wakes): (Work, bool),
        job: Job,
    ) -> Option<Job> {
        let work = self.account.enter(&self.plan.cost, work, wakes);
        if work.is_zero() {
            return Some(job);
        }
        let host = host_of(&self.plan.cost, node);
        if let Some(at) = self.hosts[host].station.submit(engine.now(), work, job) {
            engine.push(at, Event::HostDue(host as u16));
        }
        None
    }

    /// Takes what a host has done by now.
    pub(super) fn finished(&mut self, engine: &mut Engine, host: u16, done: &mut Vec<Job>) {
        if let Some(at) = self.hosts[usize::from(host)].station.finished(engine.now(), done) {
            engine.push(at, Event::HostDue(host));
        }
    }

    /// The storm begins: what was worked before does not count.
    pub(super) fn begin_storm(&mut self) {
        self.account = Account::default();
    }

    pub(super) const fn signature(&self) -> Work {
        Work { server: self.sign, ..Work::none(WorkKind::Sign) }
    }

    /// The server's part of one handshake of TVS; the phone's, too, if that is a delay of its own.
    pub(super) fn handshake(&self) -> Work {
        let phone = self.phone_delay(self.plan.cost.phone_handshake);
        Work { server: self.handshake, phone, ..Work::none(WorkKind::Tvs) }
    }

    /// The phone's part of one handshake, on a host that it shares with the servers.
    pub(super) fn lookup(&self) -> Work {
        Work { phone: self.plan.cost.phone_handshake, ..Work::none(WorkKind::Lookup) }
    }

    /// One message on a new connection without TLS, and its answer: as for HTTP.
    pub(super) fn message(&self) -> Work {
        let cost = &self.plan.cost;
        let server = cost.http_connection + cost.http_request;
        Work { server, phone: cost.phone_http, ..Work::none(WorkKind::Lookup) }
    }

    /// One TFTP request with `blocks` blocks in answer, none for "file not found".
    pub(super) fn tftp(&self, blocks: u64) -> Work {
        let cost = &self.plan.cost;
        let further = blocks.saturating_sub(1);
        Work {
            kind: WorkKind::Tftp,
            server: cost.tftp_request + cost.tftp_block.times(further),
            phone: cost.phone_block.times(blocks.max(1)),
            check: if blocks > 0 { cost.phone_check } else { Span::ZERO },
        }
    }

    /// One HTTP request, on a new connection or not and over TLS or not, with a file in answer or
    /// not.
    pub(super) fn http(&self, connects: bool, secure: bool, file: bool) -> Work {
        let cost = &self.plan.cost;
        let mut work = Work {
            kind: WorkKind::Http,
            server: cost.http_request,
            phone: cost.phone_http,
            check: if file { cost.phone_check } else { Span::ZERO },
        };
        if connects {
            work.server = work.server + cost.http_connection;
        }
        if connects && secure {
            work.server = work.server + self.handshake;
            work.phone = work.phone + cost.phone_handshake;
        }
        work
    }

    /// Whether the phones' work is done by the host of the servers.
    pub(super) fn has_shared_host(&self) -> bool {
        self.plan.cost.shared_host
    }

    /// How long a phone's own part of a job takes beside the server's: on a shared host it is in
    /// the job.
    pub(super) fn phone_delay(&self, work: Span) -> Span {
        if self.has_shared_host() { Span::ZERO } else { work }
    }

    /// What the machine was worth: the yardstick takes longer the more jobs found a core idle, and
    /// longest on a machine that had nothing to do.
    pub(super) fn summary(&self) -> MachineSummary {
        let (Account { jobs, woke, .. }, cost) = (&self.account, &self.plan.cost);
        let woken = if *jobs == 0 { 1.0 } else { *woke as f64 / *jobs as f64 };
        let slower = 1.0 + cost.idle_yardstick * woken;
        let yardstick_s = cost.yardstick.as_secs_f64() * slower;
        MachineSummary {
            yardstick_s: (!cost.yardstick.is_zero()).then_some(yardstick_s),
            available: Some(cost.available),
        }
    }

    /// CPU time by side; that of the phones is known only where their work has a cost.
    pub(super) fn cpu_seconds(&self) -> CpuSeconds {
        let sum = |work: &[Span]| work.iter().map(|work| work.as_secs_f64()).sum::<f64>();
        let swarm = sum(&self.account.phone) + self.account.check.as_secs_f64();
        let serve = sum(&self.account.server);
        CpuSeconds { swarm: (swarm > 0.0).then_some(swarm), serve: Some(serve) }
    }

    /// The same by the kind of thread that does this work in a live run.
    pub(super) fn cpu_by_thread(&self) -> BTreeMap<String, f64> {
        use WorkKind::{Http, Lookup, Sign, Tftp, Tvs};
        let server = |kind: WorkKind| self.account.server[kind as usize].as_secs_f64();
        let phone = |kind: WorkKind| self.account.phone[kind as usize].as_secs_f64();
        let seconds = |kind: ThreadKind| match kind {
            ThreadKind::ServeSign => server(Sign),
            ThreadKind::ServeTvs => server(Tvs),
            ThreadKind::ServeTftp => server(Tftp),
            ThreadKind::ServeHttp => server(Http),
            ThreadKind::SwarmTvs => phone(Tvs) + phone(Lookup),
            ThreadKind::SwarmHttp => phone(Http),
            ThreadKind::Swarm => self.cpu_seconds().swarm.unwrap_or_default(),
            ThreadKind::ServeHttps | ThreadKind::ServeTomcat | ThreadKind::Load => 0.0,
        };
        ThreadKind::TOLD.into_iter().map(|kind| (kind.name().to_owned(), seconds(kind))).collect()
    }
}

/// The place of the host on which a node's services run.
fn host_of(cost: &CostModel, node: NodeId) -> usize {
    if cost.shared_host { 0 } else { node.index() }
}

impl Account {
    /// Counts work that begins now; returns how much of it the host has to do. A core that was
    /// idle has to wake up and has cold caches, so that the same work takes longer there.
    fn enter(&mut self, cost: &CostModel, mut work: Work, wakes: bool) -> Span {
        self.jobs += 1;
        self.woke += u64::from(wakes);
        if wakes {
            let packets = matches!(work.kind, WorkKind::Tftp | WorkKind::Http);
            let factor = 1.0 + if packets { cost.idle_packets } else { cost.idle_keys };
            work.server = work.server.scaled(factor);
            if cost.shared_host {
                work.phone = work.phone.scaled(factor);
                work.check = work.check.scaled(factor);
            }
        }
        let kind = work.kind as usize;
        self.server[kind] = self.server[kind] + work.server;
        self.phone[kind] = self.phone[kind] + work.phone;
        self.check = self.check + work.check;
        if cost.shared_host { work.server + work.phone + work.check } else { work.server }
    }
}

/// What servers and phones work for; each has threads of its own in a live run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WorkKind {
    Sign,
    Tvs,
    Tftp,
    Http,
    /// The phones' part of a question to TVS, where it is not a delay of its own.
    Lookup,
}

impl WorkKind {
    const COUNT: usize = 5;

    /// How many of its jobs are worked on at once, if that is limited: private keys by as many
    /// threads as there are cores. In a live run one thread pumps the files of a server and one
    /// those of its phones, and one thread asks TVS.
    fn threads(self, cost: &CostModel) -> Option<u32> {
        match self {
            WorkKind::Sign | WorkKind::Tvs => Some(cost.cores.max(1)),
            WorkKind::Tftp | WorkKind::Http => cost.shared_host.then_some(2),
            WorkKind::Lookup => Some(1),
        }
    }
}

/// How much longer a signature takes than one with SHA-512, in tenths: 1.3 ms against 0.45 ms for
/// SHA-1, which is made by another library.
fn digest_tenths(topology: &Topology) -> u64 {
    match topology.file_signature {
        FileSignature::Sha1 => 29,
        FileSignature::Sha512 => 10,
    }
}

fn key_factor(topology: &Topology) -> u64 {
    if topology.key_bits > 2048 { LARGE_KEY_FACTOR } else { 1 }
}

/// What a job takes: core time of the server, of the phone, and of the phone's check of what it
/// got.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    pub kind: WorkKind,
    pub server: Span,
    pub phone: Span,
    pub check: Span,
}

impl Work {
    const fn none(kind: WorkKind) -> Work {
        Work { kind, server: Span::ZERO, phone: Span::ZERO, check: Span::ZERO }
    }
}
