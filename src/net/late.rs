use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream as Unwatched};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use nix::sys::socket::{MsgFlags, SockaddrStorage, recv, sendmsg};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// Accepts connections that no runtime watches before they have to wait.
#[derive(Debug)]
pub struct LateListener(AsyncFd<TcpListener>);

impl LateListener {
    /// Listens with this non-blocking socket in the runtime of the caller.
    ///
    /// # Errors
    /// If the runtime cannot watch it.
    pub fn from_std(socket: TcpListener) -> io::Result<LateListener> {
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for types whose descriptor changes"
        )]
        AsyncFd::with_interest(socket, Interest::READABLE).map(LateListener)
    }

    /// The next connection.
    ///
    /// # Errors
    /// What the host said.
    pub async fn accept(&self) -> io::Result<(LateStream, SocketAddr)> {
        let (stream, from) = self.0.async_io(Interest::READABLE, TcpListener::accept).await?;
        Ok((LateStream(Socket::Blocking { stream, has_read: false }), from))
    }
}

/// A connection that a runtime begins to watch when it has to wait: who has sent his request before
/// he is accepted, gets his answer and leaves costs no place in the event queue.
#[derive(Debug)]
pub struct LateStream(Socket);

#[derive(Debug)]
enum Socket {
    /// Not watched: the socket blocks, so each call says that it shall not.
    Blocking {
        stream: Unwatched,
        has_read: bool,
    },
    Watched(TcpStream),
    /// Could not be watched.
    Lost,
}

impl LateStream {
    fn watched(&mut self) -> io::Result<&mut TcpStream> {
        if let Socket::Blocking { .. } = self.0
            && let Socket::Blocking { stream, .. } = std::mem::replace(&mut self.0, Socket::Lost)
        {
            stream.set_nonblocking(true)?;
            self.0 = Socket::Watched(TcpStream::from_std(stream)?);
        }
        match &mut self.0 {
            Socket::Watched(stream) => Ok(stream),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl AsyncRead for LateStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Only once: who says more is watched, so that a runtime sees to it that all have a turn.
        if let Socket::Blocking { stream, has_read } = &mut self.0
            && !std::mem::replace(has_read, true)
        {
            match recv(stream.as_raw_fd(), buffer.initialize_unfilled(), MsgFlags::MSG_DONTWAIT) {
                Err(nix::Error::EAGAIN | nix::Error::EINTR) => {}
                read => {
                    buffer.advance(read?);
                    return Poll::Ready(Ok(()));
                }
            }
        }
        Pin::new(self.watched()?).poll_read(context, buffer)
    }
}

impl AsyncWrite for LateStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Socket::Blocking { stream, .. } = &self.0 {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match sendmsg::<SockaddrStorage>(stream.as_raw_fd(), pieces, &[], flags, None) {
                Err(nix::Error::EAGAIN | nix::Error::EINTR) => {}
                sent => return Poll::Ready(Ok(sent?)),
            }
        }
        Pin::new(self.watched()?).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Socket::Blocking { stream, .. } => Poll::Ready(stream.shutdown(Shutdown::Write)),
            Socket::Watched(stream) => Pin::new(stream).poll_shutdown(context),
            Socket::Lost => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::io::{Read, Write};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::net::listen;

    const WAIT: Duration = Duration::from_secs(20);

    async fn pair(says: &[u8]) -> (std::net::TcpStream, LateStream) {
        let socket = listen::tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        let listener = LateListener::from_std(socket).unwrap();
        let mut client = std::net::TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(WAIT)).unwrap();
        client.write_all(says).unwrap();
        let (stream, from) = tokio::time::timeout(WAIT, listener.accept()).await.unwrap().unwrap();
        assert_eq!(from, client.local_addr().unwrap());
        (client, stream)
    }

    fn is_watched(stream: &LateStream) -> bool {
        matches!(stream.0, Socket::Watched(_))
    }

    #[tokio::test]
    async fn who_asks_at_once_and_leaves_with_the_answer_is_never_watched() {
        let (mut client, mut stream) = pair(b"what").await;
        let mut asked = [0; 64];
        assert_eq!(stream.read(&mut asked).await.unwrap(), 4);
        let pieces = [IoSlice::new(b"this "), IoSlice::new(b"and that")];
        assert_eq!(stream.write_vectored(&pieces).await.unwrap(), 13);
        stream.shutdown().await.unwrap();
        assert!(!is_watched(&stream));
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!((&asked[..4], answer.as_str()), (&b"what"[..], "this and that"));
    }

    #[tokio::test]
    async fn who_says_nothing_or_more_is_watched_and_heard() {
        for first in [&b""[..], b"1"] {
            let (mut client, mut stream) = pair(first).await;
            let mut heard = vec![0; first.len()];
            stream.read_exact(&mut heard).await.unwrap();
            let said = async {
                let mut said = [0; 2];
                stream.read_exact(&mut said).await.unwrap();
                said
            };
            tokio::pin!(said);
            let silent = std::future::poll_fn(|context| {
                Poll::Ready(said.as_mut().poll(context).is_pending())
            });
            assert!(silent.await);
            client.write_all(b"23").unwrap();
            assert_eq!(&tokio::time::timeout(WAIT, said).await.unwrap(), b"23");
            assert!(is_watched(&stream));
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(stream.read(&mut [0; 2]).await.unwrap(), 0);
        }
    }

    #[tokio::test]
    async fn an_answer_that_fits_no_buffer_arrives_as_a_whole() {
        let (mut client, mut stream) = pair(b"!").await;
        // What nobody has read would reset the connection when it is closed.
        stream.read_exact(&mut [0]).await.unwrap();
        let answer: Vec<u8> = (0..16_000_000_u32).map(|number| (number % 251) as u8).collect();
        let read = std::thread::spawn(move || {
            let mut read = Vec::new();
            client.read_to_end(&mut read).unwrap();
            read
        });
        tokio::time::timeout(WAIT, stream.write_all(&answer)).await.unwrap().unwrap();
        stream.shutdown().await.unwrap();
        drop(stream);
        assert!(read.join().unwrap() == answer);
    }
}
