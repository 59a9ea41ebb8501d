use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::Span;

/// What CAPF counts of itself, over all its starts.
#[derive(Debug, Default)]
pub struct CapfCounts {
    sessions: AtomicU64,
    /// Open sessions by stage.
    open: [AtomicU64; STAGES.len()],
    postponed: AtomicU64,
    malformed: AtomicU64,
    issued: AtomicU64,
    keys: AtomicU64,
    key_ns: AtomicU64,
    signatures: AtomicU64,
    signing_ns: AtomicU64,
    /// Sessions that were opened since a phone last said something that was understood.
    unanswered: AtomicU64,
}

/// Stages of a session: what is awaited.
pub const STAGES: [&str; 5] = ["authentication", "key", "stored", "other", "over"];

/// So many sessions in a row in which nobody has said anything are a reason to worry (choice):
/// twice the places for operations.
const UNANSWERED_MAX: u64 = 100;

/// The counts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapfTally {
    /// Sessions that were opened.
    pub sessions: u64,
    /// Open sessions by stage, in the order of [`STAGES`].
    pub open: [u64; STAGES.len()],
    /// Phones that found no place and were to come again.
    pub postponed: u64,
    /// Messages that broke the rules.
    pub malformed: u64,
    /// Certificates that were issued, stored or not.
    pub issued: u64,
    /// Keys that phones have made.
    pub keys: u64,
    /// How long they took for that, all together.
    pub key_time: Span,
    /// Certificates that CAPF has made or tried to make.
    pub signatures: u64,
    /// How long those took, waits for a core included, all together.
    pub signing_time: Span,
}

impl CapfCounts {
    /// A session begins; it is counted until what is given back is dropped.
    pub(super) fn opened(self: &Arc<Self>) -> SessionStage {
        self.sessions.fetch_add(1, Ordering::Relaxed);
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        self.open[0].fetch_add(1, Ordering::Relaxed);
        SessionStage { counts: Arc::clone(self), at: 0 }
    }

    pub(super) fn postponed(&self) {
        self.postponed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn malformed(&self) {
        self.malformed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn issued(&self) {
        self.issued.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn key_made(&self, length: Span) {
        self.keys.fetch_add(1, Ordering::Relaxed);
        self.key_ns.fetch_add(length.as_nanos(), Ordering::Relaxed);
    }

    pub(super) fn signed(&self, length: Span) {
        self.signatures.fetch_add(1, Ordering::Relaxed);
        self.signing_ns.fetch_add(length.as_nanos(), Ordering::Relaxed);
    }

    pub(super) fn progress(&self) {
        self.unanswered.store(0, Ordering::Relaxed);
    }

    /// A new process knows nothing of an earlier silence.
    pub(super) fn restarted(&self) {
        self.unanswered.store(0, Ordering::Relaxed);
    }

    /// The counts now.
    pub fn tally(&self) -> CapfTally {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        CapfTally {
            sessions: read(&self.sessions),
            open: self.open.each_ref().map(read),
            postponed: read(&self.postponed),
            malformed: read(&self.malformed),
            issued: read(&self.issued),
            keys: read(&self.keys),
            key_time: Span::from_nanos(read(&self.key_ns)),
            signatures: read(&self.signatures),
            signing_time: Span::from_nanos(read(&self.signing_ns)),
        }
    }

    /// Whether CAPF answers nobody although phones come (DEF-07).
    pub fn is_stalled(&self, pending: u64) -> bool {
        pending > 0 && self.unanswered.load(Ordering::Relaxed) > UNANSWERED_MAX
    }
}

/// Where one session is.
#[derive(Debug)]
pub(super) struct SessionStage {
    counts: Arc<CapfCounts>,
    at: usize,
}

impl SessionStage {
    /// It awaits this from now on.
    pub(super) fn is(&mut self, stage: usize) {
        self.counts.open[self.at].fetch_sub(1, Ordering::Relaxed);
        self.counts.open[stage].fetch_add(1, Ordering::Relaxed);
        self.at = stage;
    }
}

impl Drop for SessionStage {
    fn drop(&mut self) {
        self.counts.open[self.at].fetch_sub(1, Ordering::Relaxed);
    }
}
