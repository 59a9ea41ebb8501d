use std::collections::{BTreeMap, VecDeque};

use crate::base::{NodeId, Span, Time};
use crate::cluster::{FileSignature, Topology};
use crate::measure::CpuSeconds;
use crate::scenario::{CostModel, Plan};

use super::session::{Event, Job};
use super::station::Station;
use super::world::World;

/// Everything that works: nodes with their cores, or the one host of all, and the links of sites
/// whose rate is limited.
#[derive(Debug)]
pub(super) struct Machines {
    stations: Vec<Station<Job>>,
    nodes: usize,
    shared_host: bool,
    /// Core time of one signature and one handshake with keys of this cluster.
    sign: Span,
    handshake: Span,
    /// When the files of each node are built.
    built: Vec<Time>,
    /// Requests in service and TVS connections by node.
    pub(super) served: Vec<u32>,
    pub(super) tvs_open: Vec<u32>,
    /// What is worked on in the order of its arrival, by host. On a host of their own, servers let
    /// transfers share the cores among all of them.
    lines: Vec<[Line; Service::COUNT]>,
    cores: u32,
    /// Which share more work takes that finds a core idle, for private keys and for packets.
    idle: [f64; 2],
    /// Core time by service, of the servers and of the phones.
    server_work: [Span; Service::COUNT],
    phone_work: [Span; Service::COUNT],
    /// Core time of phones that check files.
    check_work: Span,
    /// Jobs, and those among them that found a core idle.
    jobs: u64,
    woke: u64,
    done: Vec<Job>,
}

/// What servers and phones work for; each has threads of its own in a live run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Sign,
    Tvs,
    Tftp,
    Http,
    /// The phones' part of a question to TVS, where it is not a delay of its own.
    Lookup,
}

impl Service {
    const COUNT: usize = 5;

    /// How many of its jobs are worked on at once, if that is limited: private keys by as many
    /// threads as there are cores. In a live run one thread pumps the files of a server and one
    /// those of its phones, and one thread asks TVS.
    fn threads(self, cores: u32, shared_host: bool) -> Option<u32> {
        match self {
            Service::Sign | Service::Tvs => Some(cores),
            Service::Tftp | Service::Http => shared_host.then_some(2),
            Service::Lookup => Some(1),
        }
    }
}

/// Jobs that are worked on in the order of their arrival.
#[derive(Debug, Default)]
struct Line {
    active: u32,
    waiting: VecDeque<(Work, Job)>,
}

/// How much longer a private-key operation takes with RSA-4096 than with RSA-2048
/// (`performance.md`: 318 against 2,240 a second).
const LARGE_KEY_FACTOR: u64 = 7;

impl Machines {
    pub(super) fn new(plan: &Plan) -> Machines {
        let (cost, nodes) = (&plan.cost, plan.topology.nodes.len());
        let hosts = if cost.shared_host { 1 } else { nodes };
        let mut stations: Vec<Station<Job>> =
            (0..hosts).map(|_| Station::new(cost.cores, cost.available)).collect();
        // A link carries one stream of bits, which its transfers share.
        stations.extend(plan.fleet.links().iter().map(|_| Station::new(1, 1.0)));
        let factor = key_factor(&plan.topology);
        Machines {
            stations,
            nodes,
            shared_host: cost.shared_host,
            sign: Span::from_nanos(
                cost.sign.times(factor * digest_tenths(&plan.topology)).as_nanos() / 10,
            ),
            handshake: cost.handshake.times(factor),
            built: vec![Time::ZERO; nodes],
            served: vec![0; nodes],
            tvs_open: vec![0; nodes],
            lines: (0..hosts).map(|_| Default::default()).collect(),
            cores: cost.cores.max(1),
            idle: [cost.idle_keys, cost.idle_packets],
            server_work: [Span::ZERO; Service::COUNT],
            phone_work: [Span::ZERO; Service::COUNT],
            check_work: Span::ZERO,
            jobs: 0,
            woke: 0,
            done: Vec::new(),
        }
    }

    /// Counts work that begins now; returns how much of it the host has to do. A core that was
    /// idle has to wake up and has cold caches, so that the same work takes longer there.
    fn account(&mut self, mut work: Work, wakes: bool) -> Span {
        self.jobs += 1;
        self.woke += u64::from(wakes);
        if wakes {
            let keys = !matches!(work.service, Service::Tftp | Service::Http);
            let factor = 1.0 + self.idle[usize::from(!keys)];
            work.server = work.server.scaled(factor);
            if self.shared_host {
                work.phone = work.phone.scaled(factor);
                work.check = work.check.scaled(factor);
            }
        }
        let service = work.service as usize;
        self.server_work[service] = self.server_work[service] + work.server;
        self.phone_work[service] = self.phone_work[service] + work.phone;
        self.check_work = self.check_work + work.check;
        if self.shared_host { work.server + work.phone + work.check } else { work.server }
    }

    /// The machine on which a node's services run.
    fn host(&self, node: NodeId) -> u16 {
        if self.shared_host { 0 } else { u16::from(node.node) }
    }

    /// The link to a site.
    fn link(&self, site: usize) -> u16 {
        let hosts = if self.shared_host { 1 } else { self.nodes };
        (hosts + site) as u16
    }

    /// The files of `node` are there at `at`.
    pub(super) fn built(&mut self, node: NodeId, at: Time) {
        self.built[node.index()] = at;
    }

    /// Whether the files of `node` are there at `now`.
    pub(super) fn is_built(&self, node: NodeId, now: Time) -> bool {
        self.built[node.index()] <= now
    }

    /// The storm begins: what was worked before does not count.
    pub(super) fn begin_storm(&mut self) {
        self.server_work = [Span::ZERO; Service::COUNT];
        self.phone_work = [Span::ZERO; Service::COUNT];
        self.check_work = Span::ZERO;
        (self.jobs, self.woke) = (0, 0);
    }

    /// Core time of one handshake with keys of this cluster.
    pub(super) const fn handshake_work(&self) -> Span {
        self.handshake
    }

    /// Share of the jobs that found a core idle; 1 on a machine that had nothing to do.
    pub(super) fn woken(&self) -> f64 {
        if self.jobs == 0 { 1.0 } else { self.woke as f64 / self.jobs as f64 }
    }

    /// CPU time by side; that of the phones is known only where their work has a cost.
    pub(super) fn cpu_seconds(&self) -> CpuSeconds {
        let sum = |work: &[Span]| work.iter().map(|work| work.as_secs_f64()).sum::<f64>();
        let swarm = sum(&self.phone_work) + self.check_work.as_secs_f64();
        CpuSeconds { swarm: (swarm > 0.0).then_some(swarm), serve: Some(sum(&self.server_work)) }
    }

    /// The same by the kind of thread that does this work in a live run.
    pub(super) fn cpu_by_thread(&self) -> BTreeMap<String, f64> {
        use Service::{Http, Lookup, Sign, Tftp, Tvs};
        let server = |service: Service| self.server_work[service as usize].as_secs_f64();
        let phone = |service: Service| self.phone_work[service as usize].as_secs_f64();
        let kinds = [
            ("serve-sign", server(Sign)),
            ("serve-tvs", server(Tvs)),
            ("serve-tftp", server(Tftp)),
            ("serve-http", server(Http)),
            ("swarm-tvs", phone(Tvs) + phone(Lookup)),
            ("swarm-http", phone(Http)),
            ("swarm", self.cpu_seconds().swarm.unwrap_or_default()),
        ];
        kinds.into_iter().map(|(kind, seconds)| (kind.to_owned(), seconds)).collect()
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
    pub service: Service,
    pub server: Span,
    pub phone: Span,
    pub check: Span,
}

impl Work {
    /// No work yet.
    const fn none(service: Service) -> Work {
        Work { service, server: Span::ZERO, phone: Span::ZERO, check: Span::ZERO }
    }

    /// One TFTP request with `blocks` blocks in answer, none for "file not found".
    pub(super) fn tftp(cost: &CostModel, blocks: u64) -> Work {
        let further = blocks.saturating_sub(1);
        Work {
            service: Service::Tftp,
            server: cost.tftp_request + cost.tftp_block.times(further),
            phone: cost.phone_block.times(blocks.max(1)),
            check: if blocks > 0 { cost.phone_check } else { Span::ZERO },
        }
    }

    /// One HTTP request, on a new connection or not, with a file in answer or not.
    pub(super) fn http(cost: &CostModel, connects: bool, file: bool) -> Work {
        let connection = if connects { cost.http_connection } else { Span::ZERO };
        Work {
            service: Service::Http,
            server: cost.http_request + connection,
            phone: cost.phone_http,
            check: if file { cost.phone_check } else { Span::ZERO },
        }
    }
}

impl World {
    /// Lets the host of `node` work when those before it in its line are done; where phones have
    /// hosts of their own, their part is a delay that nobody shares.
    pub(super) fn work(&mut self, node: NodeId, work: Work, job: Job) {
        let machines = &mut self.machines;
        let host = machines.host(node);
        if let Some(threads) = work.service.threads(machines.cores, machines.shared_host) {
            let line = &mut machines.lines[usize::from(host)][work.service as usize];
            if line.active >= threads {
                return line.waiting.push_back((work, job));
            }
            line.active += 1;
        }
        let wakes = machines.stations[usize::from(host)].has_idle_core();
        let here = machines.account(work, wakes);
        self.submit(host, here, job);
    }

    /// A job of a line is done: the next one begins.
    fn next_in_line(&mut self, node: NodeId, service: Service) {
        let machines = &mut self.machines;
        if service.threads(machines.cores, machines.shared_host).is_none() {
            return;
        }
        let host = machines.host(node);
        let line = &mut machines.lines[usize::from(host)][service as usize];
        match line.waiting.pop_front() {
            Some((work, job)) => {
                // It takes over the core of the job before it.
                let here = machines.account(work, false);
                self.submit(host, here, job);
            }
            None => line.active -= 1,
        }
    }

    /// One signature on `node`.
    pub(super) fn sign(&mut self, node: NodeId, job: Job) {
        let work = Work { server: self.machines.sign, ..Work::none(Service::Sign) };
        self.work(node, work, job);
    }

    /// The server's part of one handshake of TVS on `node`; the phone's, too, if that is a delay of
    /// its own.
    pub(super) fn handshake(&mut self, node: NodeId, job: Job) {
        let server = self.machines.handshake;
        let phone = self.phone_delay(self.plan.cost.phone_handshake);
        self.work(node, Work { server, phone, ..Work::none(Service::Tvs) }, job);
    }

    /// The phone's part of one handshake, on a host that it shares with the servers.
    pub(super) fn look_up(&mut self, node: NodeId, job: Job) {
        let phone = self.plan.cost.phone_handshake;
        self.work(node, Work { phone, ..Work::none(Service::Lookup) }, job);
    }

    /// Whether the phones' work is done by the host of the servers.
    pub(super) const fn has_shared_host(&self) -> bool {
        self.machines.shared_host
    }

    /// How long a phone's own part of a job takes beside the server's: on a shared host it is in
    /// the job.
    pub(super) fn phone_delay(&self, work: Span) -> Span {
        if self.machines.shared_host { Span::ZERO } else { work }
    }

    /// Sends `bytes` through the link of a site whose rate is limited; whether it is.
    pub(super) fn carry(&mut self, site: usize, bytes: usize, job: Job) -> Result<(), Job> {
        let Some(rate) = self.links[site].down else { return Err(job) };
        let nanos = bytes as u128 * 8 * 1_000_000_000 / u128::from(rate);
        let station = self.machines.link(site);
        self.submit(station, Span::from_nanos(nanos as u64), job);
        Ok(())
    }

    fn submit(&mut self, station: u16, work: Span, job: Job) {
        if work.is_zero() {
            return self.on_job(job);
        }
        let wake = self.machines.stations[usize::from(station)].submit(self.now, work, job);
        if let Some(at) = wake {
            self.queue.push(at, Event::StationDue { station });
        }
    }

    pub(super) fn on_station(&mut self, station: u16) {
        let mut done = std::mem::take(&mut self.machines.done);
        let wake = self.machines.stations[usize::from(station)].finished(self.now, &mut done);
        if let Some(at) = wake {
            self.queue.push(at, Event::StationDue { station });
        }
        done.drain(..).for_each(|job| self.on_job(job));
        self.machines.done = done;
    }

    fn on_job(&mut self, job: Job) {
        match job {
            Job::Http { phone, generation, answer } => {
                self.next_in_line(self.node_of(phone), Service::Http);
                self.answer_http(phone, generation, answer);
            }
            Job::Carried { phone, generation, file, http } => {
                self.carried(phone, generation, file, http);
            }
            Job::Lookup(call) => {
                self.next_in_line(call.node, Service::Lookup);
                self.judge_server(&call, Span::ZERO);
            }
            Job::Missing { phone, generation } => {
                self.next_in_line(self.node_of(phone), Service::Tftp);
                self.answer_missing(phone, generation);
            }
            Job::Sign(node, job) => {
                self.next_in_line(node, Service::Sign);
                self.on_signed(*job);
            }
            Job::Handshake(call) => {
                self.next_in_line(call.node, Service::Tvs);
                self.on_handshake(call);
            }
            Job::Upload { phone, generation, file } => {
                self.next_in_line(self.node_of(phone), Service::Tftp);
                self.upload(phone, generation, file);
            }
        }
    }
}
