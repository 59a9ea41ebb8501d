use crate::base::{Purpose, Span, Stream, stream};
use crate::scenario::Link;

/// What a network does to the datagrams and segments of one fetch, drawn from the phone's own
/// stream: nobody else's fate depends on it.
#[derive(Clone, Debug)]
pub(super) struct Fates {
    link: Link,
    /// Added to each way: how long the hosts take to notice a datagram.
    latency: Span,
    stream: Stream,
    /// Numbers that were drawn.
    pub(super) draws: u64,
}

/// First wait of TCP for the answer to a SYN (RFC 6298).
const SYN_TIMEOUT: Span = Span::from_secs(1);
/// Shortest wait of TCP before it sends again (Linux).
const TCP_TIMEOUT: Span = Span::from_millis(200);
/// How often TCP sends a segment before the connection counts as lost; the phone's own time-out
/// comes first.
const TCP_TRIES: u32 = 7;

impl Fates {
    /// The fates of fetch number `fetch` of `phone`.
    pub(super) fn new(seed: u64, phone: u32, fetch: u32, link: Link, latency: Span) -> Fates {
        let owner = u64::from(phone) | u64::from(fetch) << 32;
        Fates { link, latency, stream: stream(seed, owner, Purpose::Network), draws: 0 }
    }

    /// How long the next datagram is under way; `None` if it is lost.
    pub(super) fn datagram(&mut self) -> Option<Span> {
        if self.link.loss > 0.0 && self.draw() < self.link.loss {
            return None;
        }
        Some(self.way())
    }

    /// The time that every datagram takes, if all take the same and none is lost.
    pub(super) fn constant(&self) -> Option<Span> {
        let even = self.link.loss <= 0.0 && self.link.jitter.is_zero();
        even.then(|| self.link.one_way() + self.latency)
    }

    /// A question to the DNS of the site and its answer: one round trip, and whether there is an
    /// answer.
    pub(super) fn query(&mut self) -> (Span, bool) {
        let answered = self.link.dns_failure <= 0.0 || self.draw() >= self.link.dns_failure;
        (self.way() + self.way(), answered)
    }

    /// One segment of TCP: one way, and the waits until it is sent often enough.
    pub(super) fn segment(&mut self) -> Span {
        self.tcp(TCP_TIMEOUT + self.link.rtt)
    }

    /// A segment that was played before, and its draws counted.
    pub(super) fn skip_segment(&mut self) {
        let before = self.draws;
        self.segment();
        self.draws = before;
    }

    /// Connecting: a SYN and its answer.
    pub(super) fn connect(&mut self) -> Span {
        self.tcp(SYN_TIMEOUT) + self.tcp(SYN_TIMEOUT)
    }

    fn tcp(&mut self, first_wait: Span) -> Span {
        let (mut waited, mut wait) = (Span::ZERO, first_wait);
        for _ in 1..TCP_TRIES {
            if let Some(way) = self.datagram() {
                return waited + way;
            }
            (waited, wait) = (waited + wait, wait.times(2));
        }
        waited + self.way()
    }

    fn way(&mut self) -> Span {
        let fixed = self.link.one_way() + self.latency;
        if self.link.jitter.is_zero() {
            return fixed;
        }
        let part = self.draw();
        fixed + self.link.jitter.fraction(part)
    }

    fn draw(&mut self) -> f64 {
        self.draws += 1;
        self.stream.unit()
    }
}
