use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::transfer::UploadCounts;
use crate::wire::Dialogue;

/// Declares counters that one thread or many raise, and the plain values that are read from them.
macro_rules! counters {
    ($(#[$about:meta])* $live:ident reads $read:ident { $($(#[$doc:meta])* $name:ident,)* }) => {
        #[derive(Debug, Default)]
        pub(super) struct $live { $(pub(super) $name: AtomicU64,)* }

        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $read { $($(#[$doc])* pub $name: u64,)* }

        impl $live {
            pub(super) fn read(&self) -> $read {
                $read { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }

        impl std::ops::Add for $read {
            type Output = $read;
            fn add(self, other: $read) -> $read {
                $read { $($name: self.$name + other.$name,)* }
            }
        }
    };
}

counters! {
    /// What TFTP servers have done since their start.
    TftpCounters reads TftpCounts {
        /// Read requests, repeated ones included.
        requests,
        /// Requests for a file that is not served.
        not_found,
        /// Transfers whose last block was acknowledged.
        transfers_done,
        /// Transfers that ended otherwise: the client fell silent, gave up or began another one,
        /// or the service stopped.
        transfers_dropped,
        /// Transfers that run now, those included that wait for a signature.
        transfers_in_flight,
        /// Most transfers that ran at the same time; of several nodes the sum of their maxima.
        transfers_in_flight_max,
        /// Datagrams received.
        datagrams_in,
        /// Datagrams sent.
        datagrams_out,
        /// Bytes of the datagrams sent, without IP and UDP headers.
        bytes_out,
        /// Datagrams sent again.
        retransmits,
        /// Datagrams that the host did not take for sending.
        send_failed,
        /// Datagrams that are no TFTP packet or had no place where they came.
        malformed,
        /// Requests that got no answer because too many transfers ran.
        refused_full,
        /// Transfers of clients that had not answered for a while, dropped to make room.
        crowded_out,
    }
}

counters! {
    /// What the servers of one kind over TCP have done since their start: HTTP, HTTPS or those of a
    /// dialogue.
    TcpCounters reads TcpCounts {
        /// Connections accepted, those refused for want of a place included.
        connections,
        /// Connections open now.
        connections_in_flight,
        /// TLS handshakes completed.
        handshakes_ok,
        /// TLS handshakes that ended otherwise than completed or refused by the peer, those
        /// included that passed their deadline.
        handshakes_failed,
        /// TLS handshakes that the peer ended with an alert: it did not trust the certificate.
        handshakes_refused_by_peer,
        /// Requests with a well-formed head.
        requests,
        /// Answers: replies to a message, or files.
        answers,
        /// Bytes of the files in them.
        bytes_out,
        /// Requests for a file that is not served, or for a name that is none.
        not_found,
        /// HTTP requests with another method than GET and HEAD.
        refused_method,
        /// HTTP requests answered 503: too many signatures wait, or one did not come in time.
        refused_busy,
        /// Requests that were malformed; their connections were closed without an answer.
        malformed,
        /// Connections closed because a deadline passed.
        timeouts,
        /// Connections closed at once because too many were open.
        refused_full,
        /// Connections that lingered in their handshake, closed to make room.
        crowded_out,
        /// Attempts to accept a connection that the host refused, for want of descriptors mostly.
        accept_failed,
        /// Those of them for want of a descriptor or of memory.
        accept_lacked,
    }
}

impl TcpCounts {
    /// TLS handshakes that were not completed, whoever was to blame.
    pub const fn handshakes_not_completed(&self) -> u64 {
        self.handshakes_failed + self.handshakes_refused_by_peer
    }
}

/// What all servers of a cluster have done since their start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServeCounts {
    /// TFTP, all nodes together.
    pub tftp: TftpCounts,
    /// HTTP, all nodes together.
    pub http: TcpCounts,
    /// HTTPS, all nodes together.
    pub https: TcpCounts,
    /// Tomcat over HTTP, and over HTTPS, all nodes together.
    pub web: [TcpCounts; 2],
    /// Dialogues, all nodes together.
    pub dialogues: BTreeMap<Dialogue, DialogueCounts>,
}

/// What the servers of a dialogue have done since their start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DialogueCounts {
    /// What they have done as servers over TCP.
    pub tcp: TcpCounts,
    /// Answers by the [question](crate::wire::DialogueRules::questions).
    pub questions: Vec<u64>,
}

impl ServeCounts {
    /// What the servers of a dialogue have done over TCP.
    pub fn dialogue(&self, dialogue: Dialogue) -> TcpCounts {
        self.dialogues.get(&dialogue).map(|counts| counts.tcp).unwrap_or_default()
    }

    /// The servers over TCP.
    pub fn tcp(&self) -> impl Iterator<Item = &TcpCounts> {
        let dialogues = self.dialogues.values().map(|counts| &counts.tcp);
        [&self.http, &self.https].into_iter().chain(&self.web).chain(dialogues)
    }
}

impl TftpCounters {
    /// Shows what the transfers of the one pump that has these counters came to.
    pub(super) fn show(&self, counts: &UploadCounts, in_flight: usize) {
        let UploadCounts { requests, not_found, done, dropped, .. } = *counts;
        let UploadCounts { in_flight_max, retransmits, malformed, .. } = *counts;
        let UploadCounts { refused_full, crowded_out, .. } = *counts;
        for (counter, value) in [
            (&self.requests, requests),
            (&self.not_found, not_found),
            (&self.transfers_done, done),
            (&self.transfers_dropped, dropped),
            (&self.transfers_in_flight, in_flight as u64),
            (&self.transfers_in_flight_max, in_flight_max),
            (&self.retransmits, retransmits),
            (&self.malformed, malformed),
            (&self.refused_full, refused_full),
            (&self.crowded_out, crowded_out),
        ] {
            counter.store(value, Ordering::Relaxed);
        }
    }
}

pub(super) fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(super) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

pub(super) fn lower(counter: &AtomicU64) {
    counter.fetch_sub(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_and_added_up() {
        let counters = TftpCounters::default();
        bump(&counters.requests);
        add(&counters.bytes_out, 516);
        bump(&counters.malformed);
        lower(&counters.malformed);
        let read = counters.read();
        assert_eq!((read.requests, read.bytes_out, read.malformed), (1, 516, 0));
        assert_eq!((read + read).bytes_out, 1_032);
    }
}
