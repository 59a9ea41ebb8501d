//! What is behind the console: a cluster in memory, or one that is served.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::base::{Span, Time};
use crate::cluster::{Cluster, Genesis, Stored};
use crate::console::{Answer, Session};
use crate::crypto::KeySource;
use crate::live::{ADMIN_SOCKET, AdminReply, LINE_MAX};
use crate::measure::Mode;
use crate::play::{Entered, Play};
use crate::scenario::Plan;

use super::super::args::CliError;
use super::AdminArgs;

/// The other end of a console.
pub(super) enum Desk {
    /// The cluster of a scenario in memory.
    Memory(Box<Memory>),
    /// One that is served.
    Served(Served),
}

impl Desk {
    /// Opens a session; what it says first.
    pub(super) fn open(args: &AdminArgs) -> Result<(Desk, AdminReply), CliError> {
        if let Some(socket) = socket(&args.place)? {
            let mut served = Served::connect(&socket)?;
            let opened = served.take(&args.node)?;
            return Ok((Desk::Served(served), opened));
        }
        let plan = args.flags.load(&args.place)?;
        let (memory, opened) = Memory::open(&plan, &args.node)?;
        Ok((Desk::Memory(Box::new(memory)), opened))
    }

    /// Takes a line.
    pub(super) fn take(&mut self, line: &str) -> Result<AdminReply, CliError> {
        match self {
            Desk::Memory(memory) => Ok(memory.take(line)),
            Desk::Served(served) => served.take(line),
        }
    }
}

/// The socket that is meant, if it is none of a scenario.
fn socket(place: &Path) -> Result<Option<PathBuf>, CliError> {
    let Ok(found) = fs::metadata(place) else { return Ok(None) };
    if found.file_type().is_socket() {
        return Ok(Some(place.to_owned()));
    }
    if !found.is_dir() {
        return Ok(None);
    }
    let socket = place.join(ADMIN_SOCKET);
    if socket.exists() {
        return Ok(Some(socket));
    }
    let place = place.display();
    let what = format!("{place}: nobody serves from this folder ({ADMIN_SOCKET} is not there)");
    let help = format!("start `resetstorm serve SCENARIO --state {place}`, or name a scenario");
    Err(CliError::usage(what, help))
}

/// A cluster in memory, on which lines act.
pub(super) struct Memory {
    play: Play,
    session: Session,
    begun: Instant,
}

impl Memory {
    fn open(scenario: &Plan, node: &str) -> Result<(Memory, AdminReply), CliError> {
        if scenario.target.is_some() {
            let what = "the servers of this scenario are not ours";
            return Err(CliError::usage(what, "leave the target out"));
        }
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let cluster = Cluster::new(Genesis {
            topology: scenario.topology.clone(),
            fleet: scenario.fleet_spec(),
            source: KeySource::bank(scenario.seed),
            epoch_s: scenario.dates.epoch_s.unwrap_or(epoch.as_secs()),
            stored: Stored::default(),
        });
        let without_steps = Plan { timeline: Vec::new(), ..scenario.clone() };
        let began_s = epoch.as_secs_f64();
        let play = Play::new(&without_steps, Some(cluster), Mode::Sim, began_s);
        let session = play.session(node).map_err(|what| {
            CliError::usage(format!("--node: {what}"), "leave it out for the publisher")
        })?;
        let opened = AdminReply::new(&session, Answer::default(), Entered::default());
        Ok((Memory { play, session, begun: Instant::now() }, opened))
    }

    fn take(&mut self, line: &str) -> AdminReply {
        let elapsed = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let now = Time::ZERO + Span::from_nanos(elapsed);
        let said = self.play.typed(&mut self.session, line, now);
        let mut entered = Entered::default();
        loop {
            match self.play.next(now, true) {
                Ok(Some(cue)) => entered.notes.extend(self.play.tell_cue(&cue)),
                Ok(None) => break,
                Err(refused) => entered.refused = Some(refused),
            }
        }
        if said.action.is_some() {
            entered.notes.extend(self.play.restart_note());
        }
        AdminReply::new(&self.session, said, entered)
    }
}

/// A session on the socket of a `serve`.
pub(super) struct Served {
    reader: BufReader<UnixStream>,
}

/// Longest reply that is read, in bytes.
const REPLY_MAX: u64 = 16 << 20;

impl Served {
    fn connect(socket: &Path) -> Result<Served, CliError> {
        let stream = UnixStream::connect(socket).map_err(|error| {
            let what = format!("{}: cannot connect: {error}", socket.display());
            CliError::environment(what, "is `serve` running there, and is it yours?")
        })?;
        Ok(Served { reader: BufReader::new(stream) })
    }

    fn take(&mut self, line: &str) -> Result<AdminReply, CliError> {
        if line.len() >= LINE_MAX {
            let what = format!("a line of {} bytes", line.len());
            return Err(CliError::usage(what, format!("at most {LINE_MAX} bytes")));
        }
        self.exchange(line).map_err(|error| {
            CliError::environment(format!("the console is gone: {error}"), "look at `serve`")
        })
    }

    fn exchange(&mut self, line: &str) -> io::Result<AdminReply> {
        let line = line.replace(['\r', '\n'], " ");
        self.reader.get_mut().write_all(format!("{line}\n").as_bytes())?;
        let mut bytes = Vec::new();
        self.reader.by_ref().take(REPLY_MAX).read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_slice(&bytes)?)
    }
}
