use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::phone::{Message, Watch};
use crate::wire::Dialogue;

use super::dialogue::DialogueClient;

/// Keep-alives of one connection (field facts, phones).
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Between two attempts to reach a server that does not answer (choice).
const PROBE: Duration = Duration::from_secs(1);

/// A server that is watched.
type Server = (Dialogue, SocketAddr);

/// Watches servers for the phones of a worker, each by one connection: 20,000 phones cannot have a
/// descriptor each in one process, and the end of that one is the end of theirs.
#[derive(Debug, Default)]
pub(super) struct Watches {
    servers: BTreeMap<Server, Watched>,
    /// Counts the tasks, so that the last words of one that was ended are known as such.
    tasks: u64,
}

#[derive(Debug)]
struct Watched {
    /// Phones that have a connection with it, by their places.
    holding: BTreeSet<u32>,
    /// Phones that want to reach it.
    awaiting: BTreeSet<u32>,
    task: u64,
    handle: AbortHandle,
    /// Whether it answers, once that is known.
    answers: Option<bool>,
}

/// What the task of a server has seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    server: Server,
    task: u64,
    answers: bool,
}

/// Which phones are to be told something.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Their connection has ended.
    pub lost: BTreeSet<u32>,
    /// The server that they wait for can be reached.
    pub reachable: BTreeSet<u32>,
}

/// By which servers are watched.
#[derive(Clone, Debug)]
pub(super) struct Watcher {
    pub client: DialogueClient,
    pub runtime: Handle,
    pub seen: mpsc::UnboundedSender<Seen>,
}

impl Watches {
    /// A phone wants these servers to be watched from now on, instead of others.
    pub(super) fn set(&mut self, place: u32, watch: Watch, source: Ipv4Addr, by: &Watcher) -> Told {
        self.drop_phone(place);
        let mut told = Told::default();
        let Watch { holds, awaits } = watch;
        if let Some(message) = holds {
            self.watched(message, source, by).holding.insert(place);
        }
        if let Some(message) = awaits {
            let watched = self.watched(message, source, by);
            if watched.answers == Some(true) {
                told.reachable.insert(place);
            } else {
                watched.awaiting.insert(place);
            }
        }
        self.rest();
        told
    }

    /// The server of a message, which somebody watches from now on. That one did not answer says
    /// nothing about now.
    fn watched(&mut self, message: Message, source: Ipv4Addr, by: &Watcher) -> &mut Watched {
        let server = (message.dialogue, message.server);
        let stale = self.servers.get(&server).is_none_or(|known| known.answers == Some(false));
        if stale {
            self.tasks += 1;
            let task = self.tasks;
            let keep = keep(by.client.clone(), message, source, (server, task), by.seen.clone());
            let handle = by.runtime.spawn(keep).abort_handle();
            let before = self.servers.remove(&server);
            let (holding, awaiting) = before.map_or_else(Default::default, |before| {
                before.handle.abort();
                (before.holding, before.awaiting)
            });
            let watched = Watched { holding, awaiting, task, handle, answers: None };
            self.servers.insert(server, watched);
        }
        self.servers.get_mut(&server).expect("it is there")
    }

    /// A phone wants nothing to be watched any longer.
    pub(super) fn forget(&mut self, place: u32) {
        if !self.servers.is_empty() {
            self.drop_phone(place);
            self.rest();
        }
    }

    fn drop_phone(&mut self, place: u32) {
        for watched in self.servers.values_mut() {
            watched.holding.remove(&place);
            watched.awaiting.remove(&place);
        }
    }

    /// Servers that nobody asks for are not watched.
    fn rest(&mut self) {
        self.servers.retain(|_, watched| {
            let wanted = !watched.holding.is_empty() || !watched.awaiting.is_empty();
            if !wanted {
                watched.handle.abort();
            }
            wanted
        });
    }

    /// A task has seen something of its server.
    pub(super) fn on(&mut self, seen: Seen) -> Told {
        let known = self.servers.get_mut(&seen.server);
        let Some(watched) = known.filter(|watched| watched.task == seen.task) else {
            return Told::default();
        };
        watched.answers = Some(seen.answers);
        let mut told = Told::default();
        if seen.answers {
            told.reachable = std::mem::take(&mut watched.awaiting);
        } else {
            told.lost = std::mem::take(&mut watched.holding);
        }
        self.rest();
        told
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.servers.values().for_each(|watched| watched.handle.abort());
    }
}

/// Has a connection with a server for as long as there is one to be had, and says when it begins
/// and ends.
async fn keep(
    client: DialogueClient,
    message: Message,
    source: Ipv4Addr,
    (server, task): (Server, u64),
    results: mpsc::UnboundedSender<Seen>,
) {
    let limit = client.patience();
    loop {
        let opened = timeout(limit, client.open(&message, source)).await;
        if let Ok(Ok(mut talk)) = opened {
            let mut told = false;
            while let Ok(Ok(_)) = timeout(limit, talk.say(&message.bytes)).await {
                if !std::mem::replace(&mut told, true) {
                    // The worker is gone when the run is over.
                    let _ = results.send(Seen { server, task, answers: true });
                }
                if timeout(KEEP_ALIVE, talk.ended()).await.is_ok() {
                    break;
                }
            }
        }
        let _ = results.send(Seen { server, task, answers: false });
        tokio::time::sleep(PROBE).await;
    }
}
