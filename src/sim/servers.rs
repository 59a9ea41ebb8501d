use std::collections::HashMap;
use std::sync::Arc;

use crate::base::{NodeId, Time};
use crate::cluster::{Contents, FileReply, PendingFile, ServedFile, SignJob, TftpService, Waiter};
use crate::measure::ServeSummary;
use crate::phone::Shared;
use crate::scenario::Plan;
use crate::wire::Dialogue;

use super::event::Request;

/// What the services of all nodes are busy with, and what they have counted.
#[derive(Debug)]
pub(super) struct Servers {
    nodes: Vec<Node>,
    /// Most requests in service and TVS connections of a node; 0 is no limit.
    serving_count: u32,
    tvs_connections: u32,
    /// Requests that wait for a signature, by the number of the waiter.
    parked: HashMap<u64, Parked>,
    next_waiter: u64,
    whole: WholeFiles,
    counts: ServeSummary,
    /// TFTP transfers in flight.
    transfers: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Node {
    /// When its files are built.
    built: Time,
    /// Requests in service.
    served: u32,
    tvs_open: u32,
}

/// A request that waits for its signature.
#[derive(Debug)]
struct Parked {
    request: Request,
    file: PendingFile,
    http: bool,
}

/// What a server does with a request for a file.
pub(super) enum Found {
    File(Arc<[u8]>),
    Missing,
    /// It answers when the file is signed, which this does if nobody does yet.
    Later(Option<SignJob>),
}

impl Servers {
    pub(super) fn new(plan: &Plan, contents: Contents, shared: &Arc<Shared>) -> Servers {
        Servers {
            nodes: vec![Node::default(); plan.topology.nodes.len()],
            serving_count: plan.cost.serving_count,
            tvs_connections: plan.cost.tvs_connections,
            parked: HashMap::new(),
            next_waiter: 0,
            whole: WholeFiles { contents, shared: Arc::clone(shared), files: HashMap::new() },
            counts: ServeSummary::default(),
            transfers: 0,
        }
    }

    pub(super) const fn counts(&self) -> ServeSummary {
        self.counts
    }

    /// The files of `node` are there at `at`.
    pub(super) fn built(&mut self, node: NodeId, at: Time) {
        self.nodes[node.index()].built = at;
    }

    /// Whether the files of `node` are there at `now`.
    pub(super) fn is_built(&self, node: NodeId, now: Time) -> bool {
        self.nodes[node.index()].built <= now
    }

    /// Whether the serving count of a node is reached.
    pub(super) fn is_full(&self, node: NodeId) -> bool {
        self.serving_count > 0 && self.nodes[node.index()].served >= self.serving_count
    }

    /// A request over TFTP has arrived at a server that takes it.
    pub(super) fn on_tftp(&mut self) {
        self.counts.tftp_requests += 1;
    }

    /// Servers have sent so many datagrams.
    pub(super) fn sent(&mut self, datagrams: u32) {
        self.counts.tftp_datagrams_out += u64::from(datagrams);
    }

    /// A request over HTTP has arrived; over a new connection it `connects`.
    pub(super) fn on_http(&mut self, secure: bool, connects: bool) {
        let counts = &mut self.counts;
        if secure {
            counts.https_handshakes_ok += u64::from(connects);
            counts.https_requests += 1;
        } else {
            counts.http_connections += u64::from(connects);
            counts.http_requests += 1;
        }
    }

    /// A phone has refused the certificate of HTTPS.
    pub(super) fn https_refused(&mut self) {
        self.counts.https_handshakes_failed += 1;
    }

    /// A request for a page has arrived, unless the phone `refused` the certificate of Tomcat.
    pub(super) fn on_page(&mut self, secure: bool, connects: bool, refused: bool) {
        let (counts, shakes) = (&mut self.counts, u64::from(secure && connects));
        if refused {
            counts.page_handshakes_failed += shakes;
        } else {
            counts.page_handshakes_ok += shakes;
            counts.page_requests += 1;
        }
    }

    /// Looks for a file; the request is in service from now on.
    pub(super) fn find(
        &mut self,
        (node, service): (NodeId, &TftpService),
        request: Request,
        file: &str,
        http: bool,
    ) -> Found {
        self.nodes[node.index()].served += 1;
        let waiter = Waiter(self.next_waiter);
        self.next_waiter += 1;
        match service.request(file, waiter) {
            FileReply::Missing => Found::Missing,
            FileReply::Ready(file) => Found::File(self.whole.of(&file)),
            FileReply::Pending { file, job } => {
                self.parked.insert(waiter.0, Parked { request, file, http });
                Found::Later(job)
            }
        }
    }

    /// A request of `node` is no longer in service.
    pub(super) fn leave(&mut self, node: NodeId) {
        self.nodes[node.index()].served -= 1;
    }

    /// A file is signed: the request of a waiter, whether that is over HTTP, and its file if
    /// `wants` says that somebody still waits for it.
    pub(super) fn unpark(
        &mut self,
        waiter: Waiter,
        header: &Arc<[u8]>,
        wants: impl Fn(Request) -> bool,
    ) -> Option<(Request, bool, Arc<[u8]>)> {
        let Parked { request, file, http } = self.parked.remove(&waiter.0)?;
        let file = wants(request).then(|| file.with_header(Arc::clone(header)))?;
        Some((request, http, self.whole.of(&file)))
    }

    /// A transfer over TFTP begins; how many there are now.
    pub(super) fn begin_transfer(&mut self) -> u64 {
        self.transfers += 1;
        self.transfers
    }

    pub(super) fn end_transfer(&mut self) {
        self.transfers -= 1;
    }

    /// Opens a connection of TVS, if `node` has room for it.
    pub(super) fn open_tvs(&mut self, node: NodeId) -> bool {
        let open = &mut self.nodes[node.index()].tvs_open;
        let has_room = self.tvs_connections == 0 || *open < self.tvs_connections;
        *open += u32::from(has_room);
        has_room
    }

    pub(super) fn close_tvs(&mut self, node: NodeId) {
        let open = &mut self.nodes[node.index()].tvs_open;
        *open = open.saturating_sub(1);
    }

    /// A handshake of a dialogue has ended; the summary tells of TVS.
    pub(super) fn on_handshake(&mut self, dialogue: Dialogue, ok: bool) {
        let told = u64::from(dialogue == Dialogue::Tvs);
        self.counts.tvs_handshakes_ok += told * u64::from(ok);
        self.counts.tvs_handshakes_failed += told * u64::from(!ok);
    }

    /// A message of a dialogue was answered; the summary tells of TVS.
    pub(super) fn on_answered(&mut self, dialogue: Dialogue) {
        self.counts.tvs_answers += u64::from(dialogue == Dialogue::Tvs);
    }
}

/// Files in one piece; one that stands for many phones is put together once and kept.
#[derive(Debug)]
struct WholeFiles {
    contents: Contents,
    shared: Arc<Shared>,
    /// By the places of header and body, which are kept.
    files: HashMap<(usize, usize), Whole>,
}

/// A file that is served and the same in one piece.
type Whole = (ServedFile, Arc<[u8]>);

impl WholeFiles {
    fn of(&mut self, file: &ServedFile) -> Arc<[u8]> {
        let place = file.place().filter(|_| self.contents != Contents::OfEachPhone);
        let Some(place) = place else { return file.to_bytes().into() };
        if let Some((_, whole)) = self.files.get(&place) {
            return Arc::clone(whole);
        }
        let whole: Arc<[u8]> = file.to_bytes().into();
        self.shared.pin(&whole);
        self.files.insert(place, (file.clone(), Arc::clone(&whole)));
        whole
    }
}
