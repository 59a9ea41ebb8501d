use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::wire::{DialogueRules, Framing};

/// Most bytes that one read takes beyond what a message is known to need.
const READ_MAX: usize = 4_096;

/// Why no message was read.
#[derive(Debug)]
pub enum ReadFault {
    /// The peer has left between two messages.
    Left,
    /// The connection broke within a message.
    Broken(io::Error),
    /// What came is no message, or longer than allowed.
    Malformed,
}

/// Reads one whole message of at most `length_max` bytes. `buffer` has what came before and keeps
/// what comes behind; a read that is given up loses nothing.
///
/// # Errors
/// [`ReadFault`]; the length is checked before the body is read.
pub async fn read_message(
    from: &mut (impl AsyncRead + Unpin + ?Sized),
    rules: &DialogueRules,
    length_max: usize,
    buffer: &mut Vec<u8>,
) -> Result<Vec<u8>, ReadFault> {
    loop {
        let missing = if buffer.is_empty() {
            1
        } else {
            match (rules.frame)(buffer) {
                Ok(Framing::Whole(length)) if length <= length_max.min(buffer.len()) => {
                    let rest = buffer.split_off(length);
                    return Ok(std::mem::replace(buffer, rest));
                }
                Ok(Framing::More(missing))
                    if missing <= length_max.saturating_sub(buffer.len()) =>
                {
                    missing.max(1)
                }
                Ok(_) | Err(_) => return Err(ReadFault::Malformed),
            }
        };
        let room = missing.max(READ_MAX);
        buffer.reserve(room);
        let read = (&mut *from).take(room as u64).read_buf(buffer).await;
        match read.map_err(ReadFault::Broken)? {
            0 if buffer.is_empty() => return Err(ReadFault::Left),
            0 => return Err(ReadFault::Broken(io::ErrorKind::UnexpectedEof.into())),
            _ => {}
        }
    }
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

    async fn read(from: &mut &[u8], buffer: &mut Vec<u8>) -> Result<Vec<u8>, ReadFault> {
        let rules = Dialogue::Tvs.rules();
        read_message(from, rules, rules.request_length_max, buffer).await
    }

    #[tokio::test]
    async fn whole_messages_are_read_one_by_one_and_what_is_behind_one_stays() {
        let two = [query(), query()].concat();
        let (mut rest, mut buffer) = (&two[..], Vec::new());
        for _ in 0..2 {
            assert_eq!(read(&mut rest, &mut buffer).await.unwrap(), query());
        }
        assert!(matches!(read(&mut rest, &mut buffer).await, Err(ReadFault::Left)));
    }

    #[tokio::test]
    async fn halves_break_and_lengths_out_of_range_are_malformed() {
        let whole = query();
        for length in [1, 9, 10, whole.len() - 1] {
            let fault = read(&mut &whole[..length], &mut Vec::new()).await;
            assert!(matches!(fault, Err(ReadFault::Broken(_))), "{length}");
        }
        let fault = read(&mut &b"GET / HTTP/1.1\r\n"[..], &mut Vec::new()).await;
        assert!(matches!(fault, Err(ReadFault::Malformed)));
        let mut long = whole.clone();
        long[8..10].copy_from_slice(&0xFFFFu16.to_be_bytes());
        long.resize(70_000, 0);
        let mut buffer = Vec::new();
        let fault = read(&mut &long[..], &mut buffer).await;
        assert!(matches!(fault, Err(ReadFault::Malformed)));
        assert!(buffer.len() <= HEADER_LENGTH.max(READ_MAX), "the body was not read");
    }
}
