//! The consoles of a cluster that is served, on a Unix socket that is for its owner only.
//!
//! A client sends lines and gets a JSON document of one line for each. The first line names a node.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::console::{Answer, Session};
use crate::play::Entered;

use super::error::LiveError;

/// The name of the socket in the folder of `serve --state`.
pub const ADMIN_SOCKET: &str = "admin.sock";

/// Longest line in bytes; a longer one ends the session.
pub const LINE_MAX: usize = 4_096;

/// Sessions at a time (choice).
const SESSIONS_MAX: usize = 8;

/// What comes back for a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminReply {
    /// What the console prints.
    pub text: String,
    /// What stands before the next line.
    pub prompt: String,
    /// Whether the next line is not shown.
    pub hides: bool,
    /// Whether the session is over.
    pub is_over: bool,
    /// Whether the line was none that the console takes, or could not be carried out.
    pub is_refused: bool,
    /// What has come of it, in words.
    pub notes: Vec<String>,
}

impl AdminReply {
    /// The reply of a session to what it has `said`, with what has come of it.
    pub fn new(session: &Session, said: Answer, entered: Entered) -> AdminReply {
        let Answer { text, is_refused, .. } = said;
        let Entered { notes, refused } = entered;
        let failed = refused.map(|why| format!("Executed command unsuccessfully\n{why}\n"));
        AdminReply {
            is_refused: is_refused || failed.is_some(),
            text: failed.unwrap_or(text),
            prompt: session.prompt().to_owned(),
            hides: session.hides(),
            is_over: session.is_over(),
            notes,
        }
    }

    /// The end of a session that cannot go on.
    pub fn closed(why: &str) -> AdminReply {
        AdminReply {
            text: format!("{why}\n"),
            is_over: true,
            is_refused: true,
            ..AdminReply::default()
        }
    }
}

/// A line that waits for its answer.
#[derive(Debug)]
pub(super) struct Asked {
    /// Where it was typed; `None` for the name of a node that opens a session.
    pub(super) session: Option<Session>,
    /// The line.
    pub(super) line: String,
    /// Takes the session back, and what it says.
    pub(super) answer: oneshot::Sender<(Option<Session>, AdminReply)>,
}

/// The socket, and what is asked on it. Dropped, it closes and removes the socket.
#[derive(Debug)]
pub(super) struct Consoles {
    path: PathBuf,
    asked: mpsc::Receiver<Asked>,
    listening: AbortHandle,
}

impl Consoles {
    /// Opens the socket at `path`. One that a killed program has left gives way.
    pub(super) fn open(path: &Path) -> Result<Consoles, LiveError> {
        let failed = |cause| LiveError::Admin { path: path.to_owned(), cause };
        remove_dead(path).map_err(failed)?;
        let listener = UnixListener::bind(path).map_err(failed)?;
        // Whoever connects before this has its user checked like everybody else.
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
        let (sender, asked) = mpsc::channel(SESSIONS_MAX);
        let listening = tokio::spawn(listen(listener, sender)).abort_handle();
        Ok(Consoles { path: path.to_owned(), asked, listening })
    }

    /// The next line; waits for ever where there is no socket.
    pub(super) async fn next(consoles: &mut Option<Consoles>) -> Asked {
        if let Some(consoles) = consoles
            && let Some(asked) = consoles.asked.recv().await
        {
            return asked;
        }
        std::future::pending().await
    }
}

impl Drop for Consoles {
    fn drop(&mut self) {
        self.listening.abort();
        // The next `serve` removes it otherwise.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes a socket on which nobody listens; anything else stays.
fn remove_dead(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.file_type().is_socket() => Err(io::ErrorKind::AlreadyExists.into()),
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
            Err(error) => Err(error),
            Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        },
    }
}

async fn listen(listener: UnixListener, asked: mpsc::Sender<Asked>) {
    let places = Arc::new(Semaphore::new(SESSIONS_MAX));
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            // Descriptors are short: another session may end.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let peer = stream.peer_cred().ok().map(|peer| peer.uid());
        if !is_owner(peer, geteuid().as_raw()) {
            continue;
        }
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            let _ = send(&mut stream, &AdminReply::closed("too many sessions; close one")).await;
            continue;
        };
        let asked = asked.clone();
        tokio::spawn(async move {
            // A client that has gone is no fault of ours.
            let _ = converse(stream, &asked, place).await;
        });
    }
}

/// Whether whoever has connected is the user that we are; `None`: nobody knows who.
const fn is_owner(peer: Option<u32>, ours: u32) -> bool {
    matches!(peer, Some(peer) if peer == ours)
}

async fn converse(
    stream: UnixStream,
    asked: &mpsc::Sender<Asked>,
    place: OwnedSemaphorePermit,
) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    // Dropped before the stream: whoever sees the end of it finds the place free.
    let _place = place;
    let mut session = None;
    loop {
        let Some(line) = next_line(&mut reader).await? else { return Ok(()) };
        let Some(line) = line else {
            return send(&mut writer, &AdminReply::closed("the line is too long")).await;
        };
        let (answer, answered) = oneshot::channel();
        let gone = io::ErrorKind::ConnectionAborted;
        asked.send(Asked { session, line, answer }).await.map_err(|_| gone)?;
        let (next, reply) = answered.await.map_err(|_| gone)?;
        session = next;
        send(&mut writer, &reply).await?;
        if reply.is_over {
            return Ok(());
        }
    }
}

/// The next line without its end; an inner `None` for one that is too long, an outer one at the end.
async fn next_line(reader: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<Option<String>>> {
    let mut bytes = Vec::new();
    reader.take(LINE_MAX as u64 + 1).read_until(b'\n', &mut bytes).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.last() != Some(&b'\n') && bytes.len() > LINE_MAX {
        return Ok(Some(None));
    }
    let text = String::from_utf8_lossy(&bytes);
    Ok(Some(Some(text.trim_end_matches(['\r', '\n']).to_owned())))
}

async fn send(writer: &mut (impl AsyncWriteExt + Unpin), reply: &AdminReply) -> io::Result<()> {
    let document = serde_json::to_string(reply)?;
    writer.write_all(format!("{document}\n").as_bytes()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Root, too, has nothing to do on the console of somebody else.
    #[test]
    fn the_console_is_for_the_user_who_serves_and_for_nobody_else() {
        let (ours, other, root) = (1_000, 1_001, 0);
        assert!(is_owner(Some(ours), ours) && is_owner(Some(root), root));
        assert!(!is_owner(Some(other), ours) && !is_owner(Some(root), ours));
        assert!(!is_owner(Some(ours), root) && !is_owner(None, ours));
    }

    #[tokio::test]
    async fn a_peer_on_a_socket_is_known_by_its_user() {
        let (stream, _peer) = UnixStream::pair().unwrap();
        let known = stream.peer_cred().unwrap().uid();
        assert!(is_owner(Some(known), geteuid().as_raw()));
    }
}
