use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::cluster::{Conversation, DialogueService, Peer, Said};
use crate::net::{Clock, ReadFault, read_message};

use super::counts::bump;
use super::listener::{Face, Hall, Shown};

/// Longest wait for the peer to take our farewell.
const FAREWELL_DEADLINE: Duration = Duration::from_secs(1);

/// A service that is talked to in messages.
#[derive(Clone)]
pub(super) struct DialogueFace {
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) service: Arc<DialogueService>,
    pub(super) clock: Clock,
    pub(super) request_deadline: Duration,
}

/// How a connection goes on after a word.
enum Next {
    Request(Box<dyn Conversation>),
    /// Say farewell: the peer is done, or has asked as often as it may.
    Close,
    /// Say nothing more.
    Drop,
}

impl Face for DialogueFace {
    const HEARS_FIRST: bool = false;

    fn tls(&self) -> Option<&TlsAcceptor> {
        self.tls.as_ref()
    }

    async fn talk<S>(self, _shown: Shown<DialogueFace>, hall: Arc<Hall>, mut stream: S, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let rules = self.service.dialogue.rules();
        let (mut conversation, mut buffer) = (self.service.open(&peer), Vec::new());
        if rules.server_first {
            let said = conversation.begin(self.clock.now());
            match self.say(&mut stream, &hall, said, conversation).await {
                Next::Request(goes_on) => conversation = goes_on,
                Next::Close => return farewell(stream).await,
                Next::Drop => return,
            }
        }
        for round in 1..=rules.turns_max {
            match self.request(&mut stream, &hall, conversation, &mut buffer, round).await {
                Next::Request(goes_on) => conversation = goes_on,
                Next::Close => break,
                Next::Drop => return,
            }
        }
        farewell(stream).await;
    }
}

/// Takes leave of a peer, who may be gone already.
async fn farewell(mut stream: impl AsyncWrite + Unpin) {
    let _ = timeout(FAREWELL_DEADLINE, stream.shutdown()).await;
}

impl DialogueFace {
    /// Reads one request and answers it. A peer that has been answered may fall silent or leave
    /// without a word.
    async fn request(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        hall: &Hall,
        mut conversation: Box<dyn Conversation>,
        buffer: &mut Vec<u8>,
        round: usize,
    ) -> Next {
        let (counters, rules) = (&hall.counters, self.service.dialogue.rules());
        let read = read_message(stream, rules, rules.request_length_max, buffer);
        let idle_s = rules.idle_s.filter(|_| conversation.stays());
        let patience = idle_s.map_or(self.request_deadline, Duration::from_secs);
        let asked = match timeout(patience, read).await {
            Ok(asked) => asked,
            Err(_) if round > 1 && buffer.is_empty() => return Next::Close,
            Err(_) => {
                bump(&counters.timeouts);
                return Next::Close;
            }
        };
        let message = match asked {
            Ok(message) => message,
            // Python peers leave without `close_notify`.
            Err(ReadFault::Left) => return Next::Close,
            Err(ReadFault::Broken(_)) if buffer.is_empty() => return Next::Close,
            Err(ReadFault::Broken(_) | ReadFault::Malformed) => {
                bump(&counters.malformed);
                return Next::Close;
            }
        };
        let now = self.clock.now();
        let answered = if conversation.signs(&message) {
            // An operation with a private key delays nobody who only reads and writes.
            let clock = self.clock;
            let answer = spawn_blocking(move || {
                let said = conversation.on(&message, now);
                conversation.signed(clock.now().since(now));
                (said, conversation)
            });
            answer.await.ok()
        } else {
            Some((conversation.on(&message, now), conversation))
        };
        let Some((Ok(said), conversation)) = answered else {
            bump(&counters.malformed);
            return Next::Close;
        };
        bump(&counters.requests);
        self.say(stream, hall, said, conversation).await
    }

    /// Says a word of the server, unless it is silent.
    async fn say(
        &self,
        stream: &mut (impl AsyncWrite + Unpin),
        hall: &Hall,
        said: Said,
        conversation: Box<dyn Conversation>,
    ) -> Next {
        let counters = &hall.counters;
        let goes_on =
            |conversation| if said.ends { Next::Close } else { Next::Request(conversation) };
        if said.reply.is_empty() {
            return goes_on(conversation);
        }
        let write = async {
            stream.write_all(&said.reply).await?;
            stream.flush().await
        };
        match timeout(self.request_deadline, write).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Next::Drop,
            Err(_) => {
                bump(&counters.timeouts);
                return Next::Drop;
            }
        }
        bump(&counters.answers);
        if let Some(question) = hall.questions.get(said.question) {
            bump(question);
        }
        goes_on(conversation)
    }
}
