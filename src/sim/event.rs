use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::base::{NodeId, Time};
use crate::cluster::{Conversation, DialogueService, SignJob};
use crate::crypto::Certificate;
use crate::phone::{ErrandFault, HttpFault, Message, PageRequest, TvsFault};
use crate::wire::Dialogue;

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
    /// What was said before; nothing on a new connection.
    pub conversation: Option<Box<dyn Conversation>>,
}

/// A connection of a phone on which it goes on.
#[derive(Debug)]
pub(super) struct OpenCall {
    pub node: NodeId,
    pub dialogue: Dialogue,
    pub server: SocketAddr,
    pub service: Arc<DialogueService>,
    /// `None` if the server has ended it.
    pub conversation: Option<Box<dyn Conversation>>,
}

/// What comes of a request for a file.
#[derive(Clone, Debug)]
pub(super) enum Fetched {
    File(Arc<[u8]>),
    Missing,
    Failed(ErrandFault),
}

/// What comes of a request for a page.
#[derive(Debug)]
pub(super) enum Paged {
    /// A page, and over HTTPS what the server has presented.
    Page {
        certificate: Option<Certificate>,
        body: String,
    },
    Missing,
    /// The phone has refused this certificate.
    Presented(Certificate),
    Failed(ErrandFault),
}

/// What a connection is wanted for.
#[derive(Debug)]
pub(super) enum LinkWish {
    File(Arc<str>),
    Page(Box<PageRequest>),
}

/// An attempt over HTTP that brought nothing.
pub(super) const fn failed(fault: HttpFault) -> Fetched {
    Fetched::Failed(ErrandFault::Http(fault))
}

/// What a phone is told of a watch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Notice {
    pub phone: u32,
    pub number: u32,
    /// Whether the server that it waits for can be reached; else its connection has ended.
    pub reachable: bool,
}

/// What happens in virtual time.
#[derive(Debug)]
pub(super) enum Event {
    /// A phone boots.
    Boot(u32),
    /// Somebody has erased the lists of a phone, which boots.
    Visit(u32),
    HttpAnswered(Request, Fetched),
    HttpAsked(Request, Arc<str>),
    Operator,
    PageAnswered(Request, Paged),
    PageAsked(Request, NodeId, Box<PageRequest>),
    /// Somebody presses the button of this use.
    Press {
        phone: u32,
        of: u8,
    },
    Resolved(Request, Result<Option<IpAddr>, ErrandFault>),
    Said(Request, Result<Vec<u8>, TvsFault>),
    /// The hello of a phone arrives at the server.
    Called(Box<Call>),
    /// A phone notices what has become of a server that it watches.
    Noticed(Notice),
    /// A further message of a phone arrives at the server, or the first one without TLS.
    Told(Box<Call>),
    /// The certificate of the server arrives at the phone.
    Presented(Box<Call>),
    /// A host may have done some of its jobs.
    HostDue(u16),
    /// The link of a site may have carried some of its files.
    LinkDue(u16),
    TftpAsked(Request, Arc<str>),
    TftpEnded(Request, Fetched),
    Timer {
        phone: u32,
        token: u32,
    },
    /// The waits in this place of the watches may be over.
    WatchDue(u8),
}

/// What a host or a link works on, and what follows when it is done.
#[derive(Debug)]
pub(super) enum Job {
    /// Answer over HTTP.
    Http(NodeId, Request, Fetched),
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
    /// Answer with a page.
    Page(NodeId, Request, Paged),
    Sign(NodeId, Box<SignJob>),
    Handshake(Box<Call>),
    /// A message without TLS and its answer.
    Message(Box<Call>),
    /// An operation with a private key for the answer to a message.
    Turn(Box<Call>, Time),
    /// A file over TFTP.
    Upload(NodeId, Request, Arc<[u8]>),
}
