use std::fmt;
use std::sync::Arc;

use crate::base::Time;
use crate::cluster::kinds::CertificateKind;
use crate::crypto::Identity;
use crate::wire::{Dialogue, WireError};

/// A service that is talked to over TLS, without the TLS.
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

/// Who answers in a dialogue.
pub trait Answering: fmt::Debug + Send + Sync {
    /// A new connection.
    fn open(self: Arc<Self>) -> Box<dyn Conversation>;
}

/// One connection of a dialogue without I/O: messages in, replies out.
pub trait Conversation: Send {
    /// The reply to a message that came at `now`.
    ///
    /// # Errors
    /// If the message is none of this dialogue: the server closes the connection without a reply.
    fn on(&mut self, message: &[u8], now: Time) -> Result<Said, WireError>;
}

/// What a service says to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The reply.
    pub reply: Vec<u8>,
    /// Which of the [`questions`](crate::wire::DialogueRules::questions) it answers.
    pub question: usize,
}

impl DialogueService {
    /// A new connection to the service.
    pub fn open(&self) -> Box<dyn Conversation> {
        Arc::clone(&self.answering).open()
    }
}
