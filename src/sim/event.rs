use std::net::IpAddr;
use std::sync::Arc;

use crate::base::NodeId;
use crate::cluster::{DialogueService, SignJob};
use crate::phone::{HttpFault, Message, TvsFault};
use crate::transfer::TransferFault;

/// One request or question of a phone, told apart from its earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub phone: u32,
    pub generation: u32,
}

/// A connection of a phone to a dialogue.
#[derive(Debug)]
pub(super) struct Call {
    pub node: NodeId,
    pub request: Request,
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

/// How a TFTP transfer ended for the phone.
#[derive(Clone, Debug)]
pub(super) enum TftpEnd {
    File(Arc<[u8]>),
    Missing,
    Failed(TransferFault),
}

/// What happens in virtual time.
#[derive(Debug)]
pub(super) enum Event {
    Boot {
        phone: u32,
    },
    HttpAnswered {
        request: Request,
        answer: HttpAnswer,
    },
    HttpAsked {
        request: Request,
        file: Arc<str>,
    },
    Operator,
    Resolved {
        request: Request,
        address: Option<IpAddr>,
    },
    Said {
        request: Request,
        result: Result<Vec<u8>, TvsFault>,
    },
    /// The hello of a phone arrives at the server.
    Called(Box<Call>),
    /// The certificate of the server arrives at the phone.
    Presented(Box<Call>),
    /// A host may have done some of its jobs.
    HostDue {
        host: u16,
    },
    /// The link of a site may have carried some of its files.
    LinkDue {
        site: u16,
    },
    TftpAsked {
        request: Request,
        file: Arc<str>,
    },
    TftpEnded {
        request: Request,
        outcome: TftpEnd,
    },
    Timer {
        phone: u32,
        token: u32,
    },
    /// The waits in this place of the watches may be over.
    WatchDue {
        slot: u8,
    },
}

/// What a host or a link works on, and what follows when it is done.
#[derive(Debug)]
pub(super) enum Job {
    /// Answer over HTTP.
    Http {
        node: NodeId,
        request: Request,
        answer: HttpAnswer,
    },
    /// A site's link has carried a file that the server has sent.
    Carried {
        request: Request,
        file: Arc<[u8]>,
        http: bool,
    },
    /// What a phone does for a handshake on the host of the server.
    Lookup(Box<Call>),
    /// "File not found" over TFTP.
    Missing(NodeId, Request),
    Sign(NodeId, Box<SignJob>),
    Handshake(Box<Call>),
    /// A file over TFTP.
    Upload {
        node: NodeId,
        request: Request,
        file: Arc<[u8]>,
    },
}
