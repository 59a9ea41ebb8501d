use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::base::{Lack, Span, Time};
use crate::net::lack_of;

/// Whether something that was asked for has had its turn, seen by who asked for it while it is
/// under way elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Turn(Arc<AtomicU64>);

impl Turn {
    /// It waits for a place, or for what the host lacks.
    pub fn wait(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// It began at `now`.
    pub fn begin(&self, now: Time) {
        self.0.store(now.as_nanos().max(1), Ordering::Relaxed);
    }

    /// When it began; `None` while it waits.
    pub fn begun(&self) -> Option<Time> {
        Some(self.0.load(Ordering::Relaxed)).filter(|&at| at > 0).map(Time::from_nanos)
    }
}

/// Whose errand is carried elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    /// The phone, by its place in its worker.
    pub phone: usize,
    /// The phone's token.
    pub token: u32,
    /// When the phone wanted it.
    pub planned: Time,
}

/// What came of an errand that was carried elsewhere.
#[derive(Debug)]
pub struct Carried<T, F> {
    /// Whose it is.
    pub ticket: Ticket,
    /// The answer, or why there is none.
    pub answer: Result<T, Fault<F>>,
    /// When it began: there was a place for it, and the host had what it needed.
    pub started: Time,
    /// Times that the host lacked something before.
    pub lacks: Vec<Lack>,
    /// When it ended.
    pub ended: Time,
}

/// Why an answer is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault<F> {
    /// The server or the phone is to blame.
    Theirs(F),
    /// This host lacked something, for longer than is worth waiting for.
    Ours(Lack),
}

impl<F> Fault<F> {
    /// What an error of a socket means where a fault of the server would be `theirs`.
    pub fn of(error: &io::Error, theirs: F) -> Fault<F> {
        lack_of(error).map_or(Fault::Theirs(theirs), Fault::Ours)
    }
}

impl<F> From<F> for Fault<F> {
    fn from(theirs: F) -> Fault<F> {
        Fault::Theirs(theirs)
    }
}

/// Pause before something is tried again for which the host lacked something (choice).
pub const LACK_PAUSE: Duration = Duration::from_millis(50);
/// Longest time that this is tried: ports that were used come back after a minute.
pub const LACK_PATIENCE: Span = Span::from_secs(65);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_seen_by_who_asked() {
        let mine = Turn::default();
        let theirs = mine.clone();
        assert_eq!(mine.begun(), None);
        theirs.begin(Time::from_nanos(7));
        assert_eq!(mine.begun(), Some(Time::from_nanos(7)));
        theirs.wait();
        assert_eq!(mine.begun(), None);
    }

    #[test]
    fn a_socket_without_a_descriptor_is_not_the_servers_fault() {
        let fault = |code| Fault::of(&io::Error::from_raw_os_error(code), "theirs");
        assert_eq!(fault(nix::libc::EMFILE), Fault::Ours(Lack::Descriptor));
        assert_eq!(fault(nix::libc::ECONNREFUSED), Fault::Theirs("theirs"));
    }
}
