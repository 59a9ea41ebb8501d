use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use crate::base::{NodeId, Time};
use crate::cluster::{DialogueService, PendingFile, SignJob};
use crate::measure::StepKind;
use crate::phone::{HttpFault, Message, Step, TvsFault};
use crate::transfer::TransferFault;

/// What goes on between a phone and the servers.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts; a million of these exist")]
pub(super) struct Session {
    /// Counts fetches and questions, so that what belongs to an earlier one is recognised.
    pub generation: u32,
    /// What the phone does.
    pub step: StepKind,
    /// The file that it asks for.
    pub file: Option<Step>,
    pub waits: Waits,
    /// When the request was sent.
    pub started: Time,
    /// Since when the phone wants what it waits for, whichever way was tried first.
    pub wanted: Time,
    /// Whether the phone has an HTTP connection, and whether that is one over TLS.
    pub connected: Option<bool>,
    /// Whether the file is asked for over HTTPS.
    pub secure: bool,
    /// Whether a connection was opened for the request.
    pub connects: bool,
    /// Whether a place of the server's serving count is taken.
    pub served: bool,
    /// Whether the answer of an HTTP server is on its way.
    pub answered: bool,
    /// Whether the server fell silent in mid-transfer.
    pub stalled: bool,
    /// Whether a place of a connection in flight is taken.
    pub has_link: bool,
    /// Whether a place of a lookup in flight is taken.
    pub looks_up: bool,
    /// Requests of TFTP that were lost on their way.
    pub lost_requests: u8,
}

/// What a phone waits for with a time-out of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Waits {
    /// For nothing, or for something that will come.
    #[default]
    Nothing,
    /// For the first answer of a TFTP server.
    Tftp,
    /// For an HTTP answer.
    Http,
    /// For the reply to a message.
    Reply,
    /// For the rest of a TFTP transfer that has begun; its end is known.
    Transfer,
}

impl Waits {
    /// The waits that are watched.
    pub(super) const KINDS: [Waits; 3] = [Waits::Tftp, Waits::Http, Waits::Reply];

    /// The place of a watched wait among them.
    pub(super) fn slot(self) -> usize {
        self as usize - Waits::KINDS[0] as usize
    }
}

/// Time-outs in the order in which they come; all of one kind are of one length.
#[derive(Debug, Default)]
pub(super) struct Watch {
    due: VecDeque<(Time, u32, u32)>,
    /// Whether the driver is going to look at it.
    armed: bool,
}

impl Watch {
    /// A wait begins that ends at `at`; whether the driver must look then.
    pub(super) fn add(&mut self, at: Time, phone: u32, generation: u32) -> bool {
        self.due.push_back((at, phone, generation));
        !std::mem::replace(&mut self.armed, true)
    }

    /// The first wait that `holds` says is still a wait, if it is over at `now`.
    pub(super) fn expired(
        &mut self,
        now: Time,
        holds: impl Fn(u32, u32) -> bool,
    ) -> Option<(u32, u32)> {
        while let Some(&(at, phone, generation)) = self.due.front() {
            if !holds(phone, generation) {
                self.due.pop_front();
            } else if at <= now {
                self.due.pop_front();
                return Some((phone, generation));
            } else {
                return None;
            }
        }
        None
    }

    /// The driver has looked: when it must look again, if it must.
    pub(super) fn rest(&mut self) -> Option<Time> {
        self.armed = !self.due.is_empty();
        self.due.front().map(|due| due.0)
    }
}

/// A request that waits for its signature.
#[derive(Debug)]
pub(super) struct Parked {
    pub phone: u32,
    pub generation: u32,
    pub file: PendingFile,
    pub http: bool,
}

/// A connection of a phone to a dialogue.
#[derive(Debug)]
pub(super) struct Call {
    pub node: NodeId,
    pub phone: u32,
    pub generation: u32,
    pub message: Message,
    /// Who answers: the service that ran when the handshake began.
    pub service: Option<Arc<DialogueService>>,
}

/// What comes of an HTTP request.
#[derive(Clone, Debug)]
pub(super) enum HttpAnswer {
    File(Arc<[u8]>),
    Missing,
    Busy,
    /// Nobody listens, or the phone does not trust who does.
    Refused(HttpFault),
}

/// What happens in virtual time.
#[derive(Debug)]
pub(super) enum Event {
    Boot {
        phone: u32,
    },
    HttpAnswered {
        phone: u32,
        generation: u32,
        answer: HttpAnswer,
    },
    HttpAsked {
        phone: u32,
        generation: u32,
        file: Arc<str>,
    },
    Operator,
    Resolved {
        phone: u32,
        generation: u32,
        address: Option<IpAddr>,
    },
    Said {
        phone: u32,
        generation: u32,
        result: Result<Vec<u8>, TvsFault>,
    },
    /// The hello of a phone arrives at the server.
    Called(Box<Call>),
    /// The certificate of the server arrives at the phone.
    Presented(Box<Call>),
    StationDue {
        station: u16,
    },
    TftpAsked {
        phone: u32,
        generation: u32,
        file: Arc<str>,
    },
    TftpEnded {
        phone: u32,
        generation: u32,
        outcome: TftpEnd,
    },
    Timer {
        phone: u32,
        token: u32,
    },
    WatchDue {
        kind: u8,
    },
}

/// How a TFTP transfer ended for the phone.
#[derive(Clone, Debug)]
pub(super) enum TftpEnd {
    File(Arc<[u8]>),
    Missing,
    Failed(TransferFault),
}

/// What a machine works on, and what follows when it is done.
#[derive(Debug)]
pub(super) enum Job {
    /// Answer over HTTP.
    Http {
        phone: u32,
        generation: u32,
        answer: HttpAnswer,
    },
    /// A site's link has carried a file that the server has sent.
    Carried {
        phone: u32,
        generation: u32,
        file: Arc<[u8]>,
        http: bool,
    },
    /// What a phone does for a handshake on the host of the server.
    Lookup(Box<Call>),
    /// "File not found" over TFTP.
    Missing {
        phone: u32,
        generation: u32,
    },
    Sign(NodeId, Box<SignJob>),
    Handshake(Box<Call>),
    /// A file over TFTP.
    Upload {
        phone: u32,
        generation: u32,
        file: Arc<[u8]>,
    },
}
