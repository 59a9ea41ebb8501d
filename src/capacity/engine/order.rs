use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::{mpsc, oneshot};

use crate::base::{Span, Time};
use crate::measure::LoadRecorder;
use crate::net::fleet::first_address;

use crate::capacity::schedule::Offer;
use crate::capacity::tcp::TcpClient;
use crate::capacity::workload::{Failure, Got, Op, Workload};

/// Whom the generator asks, and how patient it is.
#[derive(Clone, Debug)]
pub struct Target {
    /// TFTP server; files come from it if there is one, else over HTTP.
    pub tftp: Option<SocketAddr>,
    /// HTTP and TVS servers, CAPF and registrars.
    pub tcp: TcpClient,
    /// Where phones send from, if not from the loopback or one shared address.
    pub sources: Option<Sources>,
    /// Wait before a TFTP datagram is sent again.
    pub timeout: Span,
    /// How often a TFTP datagram is sent in all.
    pub tries: u8,
    /// Block size that is asked for; `None` asks for nothing, as phones do.
    pub block_size: Option<u16>,
}

/// Where the requests come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A load without end.
    Workload(Arc<Workload>),
    /// Each of these once.
    Each {
        ops: Arc<[Arc<Op>]>,
        /// Where what comes back is told.
        told: mpsc::UnboundedSender<Learning>,
        /// Whether the bytes of files are looked at.
        keep: bool,
    },
}

/// What came of a request whose right answer is to be learnt.
#[derive(Debug)]
pub struct Learning {
    /// Which request of the list.
    pub index: usize,
    /// What came.
    pub got: Result<Got, Failure>,
}

/// One level of load for one thread.
#[derive(Clone, Debug)]
pub struct Order {
    /// What is offered, warm-up included.
    pub offer: Offer,
    /// First planned start.
    pub from: Time,
    /// What is planned before this has passed does not count.
    pub warm_up: Span,
    /// How long to wait for answers after the last planned start.
    pub drain: Span,
    /// Most in flight of this thread.
    pub places: usize,
    /// Where the requests come from.
    pub source: Source,
    /// Seed of random starts.
    pub seed: u64,
    /// A response time above this is slow to the guard.
    pub slow: Span,
}

/// What the driver tells a thread.
#[derive(Debug)]
pub enum Command {
    /// Offer this; what was seen is sent back when all is over.
    Load(Order, oneshot::Sender<LoadRecorder>),
    /// Offer nothing more and give up soon what is in flight.
    Cut,
    /// Send probes from now on, or no longer.
    Probe(Option<Arc<Op>>),
}

/// What the driver may look at while a thread runs; all of it since the start of the program.
#[derive(Debug, Default)]
pub struct Gauge {
    /// Starts that have ended.
    pub ended: AtomicU64,
    /// Those without a good answer.
    pub failed: AtomicU64,
    /// Those with a slow answer.
    pub slow: AtomicU64,
    /// Starts in flight now.
    pub in_flight: AtomicU64,
    /// When the server was last heard, or the first request was sent after a rest; nanoseconds.
    pub heard_ns: AtomicU64,
    /// Probes that were answered rightly.
    pub probes_ok: AtomicU64,
    /// When the last probe or start was sent that was answered; nanoseconds.
    pub answered_ns: AtomicU64,
    /// How long the last answered probe took; nanoseconds.
    pub probe_took_ns: AtomicU64,
}

/// Addresses of this host for phones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sources {
    /// The first one.
    pub first: Ipv4Addr,
    /// How many there are.
    pub count: u32,
}

impl Target {
    /// The address of the first phone towards `server`; `None` where all share one.
    pub fn first_source(&self, server: SocketAddr) -> Option<Ipv4Addr> {
        match &self.sources {
            Some(sources) => server.is_ipv4().then_some(sources.first),
            None => first_address(server),
        }
    }

    /// The servers, each where it is asked.
    pub fn servers(&self) -> [Option<SocketAddr>; 5] {
        let TcpClient { http, tvs, capf, sip, .. } = &self.tcp;
        let (tvs, capf) = (tvs.as_ref().map(|tvs| tvs.0), capf.as_ref().map(|capf| capf.address));
        [self.tftp, *http, tvs, capf, sip.as_ref().map(|sip| sip.address)]
    }

    /// How many addresses of phones there are.
    pub fn addresses(&self) -> u32 {
        /// Of 127.0.0.0/8, whose first 65,536 are left to servers (choice): enough that a pair of
        /// address and port rests for minutes at any rate that this program reaches.
        const LOOPBACK: u32 = 8_000_000;
        self.sources.map_or(LOOPBACK, |sources| sources.count)
    }

    /// Whether each phone in flight has an address of its own towards all servers.
    pub fn has_addresses(&self) -> bool {
        self.servers().into_iter().flatten().all(|server| self.first_source(server).is_some())
    }
}
