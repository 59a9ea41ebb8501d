use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::base::{Span, Time};
use crate::cluster::kinds::CertificateKind;
use crate::crypto::Identity;
use crate::wire::{Dialogue, WireError};

/// A service that is talked to in messages, without the connections.
#[derive(Debug)]
pub struct DialogueService {
    /// Which dialogue it speaks.
    pub dialogue: Dialogue,
    /// Which certificate it presents in the handshake.
    pub certificate: CertificateKind,
    /// That certificate and its key.
    pub identity: Identity,
    pub(super) answering: Arc<dyn Answering>,
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its address; `None` in virtual time, which has none for phones.
    pub address: Option<IpAddr>,
    /// The certificate (DER) that it has shown and has the key of, where one is asked for.
    pub certificate: Option<Vec<u8>>,
}

/// Why a service refuses the certificate of a peer, while they shake hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerRefusal {
    /// It has shown none.
    Missing,
    /// What it has shown is no certificate.
    Malformed,
    /// Nobody whom the service trusts has signed it.
    UnknownCa,
    /// Its time is over, or that of whoever has signed it.
    Expired,
}

/// Who answers in a dialogue.
pub trait Answering: fmt::Debug + Send + Sync {
    /// Whether the handshake goes on with a peer that shows this certificate (DER), or none; asked
    /// where a certificate is asked for, and not again on the same connection.
    ///
    /// # Errors
    /// Why it does not.
    fn judge(&self, certificate: Option<&[u8]>, now: Time) -> Result<(), PeerRefusal> {
        let _ = (certificate, now);
        Ok(())
    }

    /// A new connection of `peer`.
    fn open(self: Arc<Self>, peer: &Peer) -> Box<dyn Conversation>;
}

/// One connection of a dialogue without I/O: messages in, replies out.
pub trait Conversation: fmt::Debug + Send {
    /// The first word of the server, where the server speaks first
    /// ([`server_first`](crate::wire::DialogueRules::server_first)).
    fn begin(&mut self, now: Time) -> Said {
        let _ = now;
        Said::silence()
    }

    /// The reply to a message that came at `now`.
    ///
    /// # Errors
    /// If the message is none of this dialogue: the server closes the connection without a reply.
    fn on(&mut self, message: &[u8], now: Time) -> Result<Said, WireError>;

    /// Whether its next message may take as long as the peers of this dialogue may be idle; otherwise
    /// it is waited for as for any request.
    fn stays(&self) -> bool {
        true
    }

    /// Whether the reply to this message costs an operation with a private key, which drivers do
    /// where it delays nobody else and for which virtual time has a price.
    fn signs(&self, message: &[u8]) -> bool {
        let _ = message;
        false
    }

    /// That operation has taken so long, waits for a thread or a core included.
    fn signed(&mut self, length: Span) {
        let _ = length;
    }
}

/// What a service says to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The reply; nothing is said if it is empty.
    pub reply: Vec<u8>,
    /// Which of the [`questions`](crate::wire::DialogueRules::questions) it answers.
    pub question: usize,
    /// Whether the server closes the connection after it.
    pub ends: bool,
}

impl Said {
    /// A reply to a question, after which the conversation goes on.
    pub const fn reply(reply: Vec<u8>, question: usize) -> Said {
        Said { reply, question, ends: false }
    }

    /// Nothing.
    pub const fn silence() -> Said {
        Said::reply(Vec::new(), 0)
    }
}

impl DialogueService {
    /// A new connection of `peer` to the service.
    pub fn open(&self, peer: &Peer) -> Box<dyn Conversation> {
        Arc::clone(&self.answering).open(peer)
    }

    /// Whether the handshake goes on with a peer that shows this certificate (DER), or none.
    ///
    /// # Errors
    /// Why it does not.
    pub fn judge(&self, certificate: Option<&[u8]>, now: Time) -> Result<(), PeerRefusal> {
        self.answering.judge(certificate, now)
    }

    /// A service with another who answers, to play a dialogue of one's own.
    pub fn new(
        dialogue: Dialogue,
        certificate: CertificateKind,
        identity: Identity,
        answering: Arc<dyn Answering>,
    ) -> DialogueService {
        DialogueService { dialogue, certificate, identity, answering }
    }
}
