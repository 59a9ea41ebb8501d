//! The phones on real sockets: a few UDP sockets for all of them, an address for each (`net::fleet`),
//! HTTP on a connection per boot, TVS over TLS.
//!
//! Holds no rule of a phone: inputs go in, actions come out (`phone`). Never meets `sim`.

mod dialogue;
mod http;
mod turn;
mod watch;
mod worker;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{Semaphore, mpsc, oneshot};

pub use dialogue::{DialogueClient, DialogueJob, DialogueLimits, DialogueResult};
pub use turn::{Carried, Fault, Ticket, Turn};

use crate::base::{HostTable, NodeId, Span, Time};
use crate::measure::{Journal, Ledger, Slice, ThreadKind};
use crate::net::threads::{self, OwnRuntime, StartError};
use crate::net::{Clock, TlsClients};
use crate::phone::{Env, Phone, PhoneProfile, Shared as PhoneShared, Verifier};
use crate::play::{Homes, Visit};
use crate::scenario::UsePlan;
use crate::wire::Dialogue;
use http::HttpClient;
use watch::Watcher;
use worker::{Clients, Command, Results, Shared, Worker, WorkerPlan};

/// Where the phones of a swarm turn to, and its limits.
#[derive(Clone, Debug)]
pub struct SwarmPlan {
    /// Seed of the run.
    pub seed: u64,
    /// How phones behave.
    pub profile: PhoneProfile,
    /// Where the phones belong: there is a thread for each home that they take turns at.
    pub homes: Arc<Homes>,
    /// The TFTP nodes that homes may name.
    pub files: BTreeMap<NodeId, FileServer>,
    /// Servers that stand for every member in a dialogue; in others the members are asked.
    pub targets: BTreeMap<Dialogue, SocketAddr>,
    /// What people do with the phones.
    pub uses: Arc<[UsePlan]>,
    /// What the names of TVS servers lead to.
    pub hosts: Arc<HostTable>,
    /// Hosts outside loopback that may be connected to.
    pub allowed: Vec<IpAddr>,
    /// Transfers in flight in all.
    pub transfers_in_flight: usize,
    /// TVS lookups in flight in all.
    pub lookups_in_flight: usize,
    /// REGISTERs in flight in all.
    pub registrations_in_flight: usize,
    /// HTTP connections in all.
    pub connections_in_flight: usize,
}

/// Where a TFTP node serves files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileServer {
    /// Its TFTP port.
    pub tftp: SocketAddr,
    /// Its HTTP port: 6970 of the TFTP node on a real cluster.
    pub http: SocketAddr,
    /// Its HTTPS port: 6971.
    pub https: SocketAddr,
}

/// A fleet of phones that runs on threads of its own.
#[derive(Debug)]
pub struct Swarm {
    seed: u64,
    workers: Vec<Handle>,
    /// Runtimes of lookups and of HTTP.
    _runtimes: [OwnRuntime; 2],
}

#[derive(Debug)]
struct Handle {
    /// The phones that are its own.
    slice: Slice,
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
    /// The phones and what was recorded, when the worker has stopped.
    ended: oneshot::Receiver<(Vec<Phone>, Ledger, Journal)>,
}

impl Swarm {
    /// Starts the threads; the phones are at rest until a boot is planned. `phones` come in the
    /// order of their numbers, from 0 on.
    pub fn start(
        plan: &SwarmPlan,
        clock: Clock,
        shared: &Arc<PhoneShared>,
        phones: Vec<Phone>,
    ) -> Result<Swarm, StartError> {
        let lookups = OwnRuntime::with_threads(ThreadKind::SwarmTvs.name(), 1)?;
        let files = OwnRuntime::with_threads(ThreadKind::SwarmHttp.name(), 1)?;
        let connections = Arc::new(Semaphore::new(plan.connections_in_flight.max(1)));
        let client = DialogueClient::new(
            clock,
            DialogueLimits {
                lookups: plan.lookups_in_flight,
                registrations: plan.registrations_in_flight,
            },
            plan.profile.tvs_timeout,
            plan.targets.clone(),
            plan.allowed.clone(),
            Arc::clone(&plan.hosts),
        );
        let (workers, servers) = (plan.homes.turns() as u32, Arc::new(plan.files.clone()));
        let profile = Arc::new(plan.profile.clone());
        let mut parts: Vec<Vec<Phone>> = (0..workers).map(|_| Vec::new()).collect();
        let count = phones.len() as u32;
        for (number, phone) in (0u32..).zip(phones) {
            parts[(number % workers) as usize].push(phone);
        }
        let mut handles = Vec::new();
        for (index, phones) in (0u32..).zip(parts) {
            let worker = WorkerPlan {
                slice: Slice::dealt(index, workers, count),
                phones: count,
                seed: plan.seed,
                homes: Arc::clone(&plan.homes),
                files: Arc::clone(&servers),
                transfers_in_flight: plan.transfers_in_flight.div_ceil(workers as usize),
                uses: Arc::clone(&plan.uses),
                clock,
            };
            let env = Env {
                profile: Arc::clone(&profile),
                shared: Arc::clone(shared),
                verifier: Verifier::real(),
            };
            let (http_sender, http_results) = mpsc::unbounded_channel();
            let (lookup_sender, lookup_results) = mpsc::unbounded_channel();
            let (seen_sender, seen) = mpsc::unbounded_channel();
            let clients = Clients {
                lookups: client.clone(),
                lookup_runtime: lookups.handle().clone(),
                lookup_results: lookup_sender,
                watcher: Watcher {
                    client: client.clone(),
                    runtime: lookups.handle().clone(),
                    seen: seen_sender,
                },
                http: HttpClient {
                    tls: TlsClients::default(),
                    clock,
                    budget: Arc::clone(&connections),
                    timeout: plan.profile.http_timeout,
                    runtime: files.handle().clone(),
                    results: http_sender,
                },
            };
            let results = Results { lookups: lookup_results, http: http_results, seen };
            handles.push(start_worker(index, worker, env, phones, clients, results)?);
        }
        Ok(Swarm { seed: plan.seed, workers: handles, _runtimes: [lookups, files] })
    }

    /// Plans a boot of every phone within `spread` from `from`; `storm` starts the counting.
    pub async fn boot_all(&self, from: Time, spread: Span, storm: bool) {
        for worker in &self.workers {
            // Known here at once, so that nobody takes the fleet for settled meanwhile.
            worker.shared.commanded.fetch_add(1, Ordering::AcqRel);
            let command = Command::Boot { from, spread, storm };
            worker.commands.send(command).await.expect("workers run until they are stopped");
        }
    }

    /// Plans visits to phones, counted from `from`: each loses its lists then and boots.
    pub async fn visit(&self, from: Time, visits: &[Visit]) {
        for worker in &self.workers {
            worker.shared.commanded.fetch_add(1, Ordering::AcqRel);
            let visits = visits.iter().filter(|visit| worker.slice.place(visit.phone).is_some());
            let command = Command::Visit { from, visits: visits.copied().collect() };
            worker.commands.send(command).await.expect("workers run until they are stopped");
        }
    }

    /// Boots that were planned and have not begun are given up.
    pub async fn drain(&self) {
        for worker in &self.workers {
            let command = Command::Drain;
            worker.commands.send(command).await.expect("workers run until they are stopped");
        }
    }

    /// People begin to press buttons at `from`.
    pub async fn begin_use(&self, from: Time) {
        for worker in &self.workers {
            // Known here at once, so that nobody takes the phones for unused meanwhile.
            worker.shared.pressing.store(1, Ordering::Release);
            let command = Command::Use { from };
            worker.commands.send(command).await.expect("workers run until they are stopped");
        }
    }

    /// Whether nobody presses a button or will.
    pub fn is_at_rest(&self) -> bool {
        self.workers.iter().all(|worker| worker.shared.is_at_rest())
    }

    /// Phones that boot from now on learn that they belong where `homes` says.
    pub async fn move_phones(&self, homes: &Arc<Homes>) {
        for worker in &self.workers {
            let command = Command::Move(Arc::clone(homes));
            worker.commands.send(command).await.expect("workers run until they are stopped");
        }
    }

    /// Whether no phone boots or is about to.
    pub fn is_settled(&self) -> bool {
        self.workers.iter().all(|worker| worker.shared.is_settled())
    }

    /// Everything recorded up to a moment ago, half a second at most.
    pub fn snapshot(&self) -> Ledger {
        let mut merged = Ledger::new(Slice::whole(0));
        for worker in &self.workers {
            let published = &worker.shared.published;
            merged.merge(&published.lock().expect("workers do not panic while publishing"));
        }
        merged
    }

    /// Stops the threads; returns the phones in the order of their numbers, and what was heard of
    /// them.
    pub async fn stop(self) -> (Vec<Phone>, Ledger) {
        let (phones, ledger, _) = self.finish().await;
        (phones, ledger)
    }

    /// Like [`Swarm::stop`]; returns the course of the run, too.
    pub async fn finish(mut self) -> (Vec<Phone>, Ledger, Journal) {
        let (mut phones, mut journals) = (Vec::new(), Vec::new());
        let mut merged = Ledger::new(Slice::whole(0));
        for worker in &self.workers {
            // A worker that has ended already takes no command.
            let _ = worker.commands.send(Command::Stop).await;
        }
        for worker in self.workers.drain(..) {
            let (part, ledger, journal) =
                worker.ended.await.expect("a worker of the swarm panicked");
            phones.extend(part);
            merged.merge(&ledger);
            journals.push(journal);
        }
        phones.sort_unstable_by_key(Phone::id);
        let journal = Journal::gathered(self.seed, phones.len() as u32, &journals);
        (phones, merged, journal)
    }
}

/// Starts the thread of a worker. Its sockets belong to its runtime.
fn start_worker(
    index: u32,
    plan: WorkerPlan,
    env: Env,
    phones: Vec<Phone>,
    clients: Clients,
    results: Results,
) -> Result<Handle, StartError> {
    let slice = plan.slice;
    let name = ThreadKind::Swarm.numbered(index);
    let runtime = OwnRuntime::of_one_thread(&name)?;
    let worker = {
        let _inside = runtime.enter();
        let failed = |cause| StartError { thread: name.clone(), cause };
        Worker::new(plan, env, phones, clients).map_err(failed)?
    };
    let (shared, (commands, receiver)) = (worker.shared(), mpsc::channel(8));
    let (end, ended) = oneshot::channel();
    threads::spawn(&name, move || drop(end.send(runtime.block_on(worker.run(receiver, results)))))?;
    Ok(Handle { slice, commands, shared, ended })
}
