use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::cluster::{Conversation, DialogueService};
use crate::net::Clock;
use crate::wire::DialogueRules;

use super::counts::bump;
use super::listener::{Face, Hall, Shown};

/// Requests on one connection; phones send one.
const REQUESTS_MAX: usize = 16;
/// Longest wait for the peer to take our farewell.
const FAREWELL_DEADLINE: Duration = Duration::from_secs(1);

/// A service that is talked to in messages over TLS.
#[derive(Clone)]
pub(super) struct DialogueFace {
    pub(super) tls: TlsAcceptor,
    pub(super) service: Arc<DialogueService>,
    pub(super) clock: Clock,
    pub(super) request_deadline: Duration,
}

/// How a connection goes on after one request.
enum Next {
    Request,
    /// Say farewell: the peer is done, or has asked as often as it may.
    Close,
    /// Say nothing more.
    Drop,
}

impl Face for DialogueFace {
    fn tls(&self) -> Option<&TlsAcceptor> {
        Some(&self.tls)
    }

    async fn talk<S>(self, _shown: Shown<DialogueFace>, hall: Arc<Hall>, mut stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (mut conversation, mut buffer) = (self.service.open(), Vec::new());
        for round in 1..=REQUESTS_MAX {
            let next =
                self.request(&mut stream, &hall, &mut *conversation, &mut buffer, round).await;
            match next {
                Next::Request => {}
                Next::Close => break,
                Next::Drop => return,
            }
        }
        // The peer may be gone already.
        let _ = timeout(FAREWELL_DEADLINE, stream.shutdown()).await;
    }
}

impl DialogueFace {
    /// Reads one request and answers it. A peer that has been answered may fall silent or leave
    /// without a word.
    async fn request(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        hall: &Hall,
        conversation: &mut dyn Conversation,
        buffer: &mut Vec<u8>,
        round: usize,
    ) -> Next {
        let (counters, rules) = (&hall.counters, self.service.dialogue.rules());
        let read = read_request(stream, rules, buffer);
        let asked = match timeout(self.request_deadline, read).await {
            Ok(asked) => asked,
            Err(_) if round > 1 && buffer.is_empty() => return Next::Close,
            Err(_) => {
                bump(&counters.timeouts);
                return Next::Close;
            }
        };
        let said = match asked {
            Ok(()) => conversation.on(buffer, self.clock.now()).ok(),
            Err(ReadFault::Left) => return Next::Close,
            Err(ReadFault::Malformed) => None,
        };
        let Some(said) = said else {
            bump(&counters.malformed);
            return Next::Close;
        };
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
        bump(&counters.requests);
        bump(&counters.answers);
        if let Some(question) = hall.questions.get(said.question) {
            bump(question);
        }
        Next::Request
    }
}

/// Why no request was read.
#[derive(Debug, PartialEq, Eq)]
enum ReadFault {
    /// The peer has left between two requests; Python peers do so without `close_notify`.
    Left,
    Malformed,
}

/// Reads one whole message into `buffer`, which is empty while nothing has come; the length is
/// checked before the body is read.
async fn read_request(
    from: &mut (impl AsyncRead + Unpin),
    rules: &DialogueRules,
    buffer: &mut Vec<u8>,
) -> Result<(), ReadFault> {
    buffer.clear();
    let mut head = vec![0; rules.head_length];
    let first = from.read(&mut head).await.unwrap_or(0);
    if first == 0 {
        return Err(ReadFault::Left);
    }
    buffer.extend_from_slice(&head[..first]);
    from.read_exact(&mut head[first..]).await.map_err(|_| ReadFault::Malformed)?;
    let length = (rules.message_length)(&head).map_err(|_| ReadFault::Malformed)?;
    if length > rules.request_length_max {
        return Err(ReadFault::Malformed);
    }
    buffer.clear();
    buffer.extend_from_slice(&head);
    buffer.resize(length.max(head.len()), 0);
    let body = from.read_exact(&mut buffer[head.len()..]).await;
    body.map(|_| ()).map_err(|_| ReadFault::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Dialogue;
    use crate::wire::tvs::{HEADER_LENGTH, Question, Request};

    fn query() -> Vec<u8> {
        let question = Question::Query { subject: "CN=s", issuer: "CN=i", serial: &[1] };
        Request { session_id: 1, device_name: "CP-8841-SEP0C75BD000001", question }.encode()
    }

    async fn read(mut bytes: &[u8]) -> (Result<(), ReadFault>, Vec<u8>) {
        let mut buffer = b"left over".to_vec();
        let read = read_request(&mut bytes, Dialogue::Tvs.rules(), &mut buffer).await;
        (read, buffer)
    }

    #[tokio::test]
    async fn whole_messages_are_read_one_by_one() {
        let two = [query(), query()].concat();
        let mut rest = &two[..];
        let mut buffer = Vec::new();
        for _ in 0..2 {
            assert_eq!(read_request(&mut rest, Dialogue::Tvs.rules(), &mut buffer).await, Ok(()));
            assert_eq!(buffer, query());
        }
        assert_eq!(
            read_request(&mut rest, Dialogue::Tvs.rules(), &mut buffer).await,
            Err(ReadFault::Left)
        );
    }

    #[tokio::test]
    async fn halves_and_lengths_out_of_range_are_malformed() {
        let whole = query();
        for length in [1, 9, 10, whole.len() - 1] {
            assert_eq!(read(&whole[..length]).await.0, Err(ReadFault::Malformed), "{length}");
        }
        assert_eq!(read(b"GET / HTTP/1.1\r\n").await.0, Err(ReadFault::Malformed));
        let mut long = whole.clone();
        long[8..10].copy_from_slice(&0xFFFFu16.to_be_bytes());
        long.resize(70_000, 0);
        let (fault, buffer) = read(&long).await;
        assert_eq!(fault, Err(ReadFault::Malformed));
        assert!(buffer.len() <= HEADER_LENGTH, "the body was not read");
    }
}
