use ring::digest::{Context, SHA256};

use crate::base::{NodeId, PhoneId, Time};
use crate::cluster::Operation;
use crate::listing::hex;
use crate::measure::{Incident, Listen};
use crate::phone::{Fact, Failure, HttpFault, LscEnd, LscFact, Outcome, PressEnd};
use crate::transfer::TransferFault;

/// SHA-256 over everything that happened, in its order: what the operator did, what the servers
/// served from then on, and every fact of every phone.
pub(super) struct FactDigest {
    context: Context,
    buffer: Vec<u8>,
}

/// Facts are hashed in pieces of this size in bytes.
const PIECE: usize = 16 * 1_024;

impl FactDigest {
    pub(super) fn new() -> FactDigest {
        FactDigest { context: Context::new(&SHA256), buffer: Vec::with_capacity(PIECE + 32) }
    }

    /// The operator carries out `action` at `now`.
    pub(super) fn operator(&mut self, now: Time, action: &dyn Operation) {
        self.entry(now, OPERATOR, action.record().as_bytes());
    }

    /// A service of `node` serves from `now` on what has this fingerprint.
    pub(super) fn served(&mut self, now: Time, node: NodeId, fingerprint: &[u8; 32]) {
        self.entry(now, SERVED - u32::from(node.node), fingerprint);
    }

    /// An entry that is no fact: numbers that no phone has stand for whose it is.
    fn entry(&mut self, now: Time, whose: u32, bytes: &[u8]) {
        self.buffer.extend_from_slice(&now.as_nanos().to_be_bytes());
        self.buffer.extend_from_slice(&whose.to_be_bytes());
        self.buffer.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.buffer.extend_from_slice(bytes);
    }

    /// The digest, hexadecimal.
    pub(super) fn finish(mut self) -> String {
        self.context.update(&self.buffer);
        hex(self.context.finish().as_ref())
    }
}

impl Listen for FactDigest {
    /// Facts only: what a driver saw of the way there is no part of what was decided.
    fn hear(&mut self, PhoneId(phone): PhoneId, now: Time, incident: &Incident<'_>) {
        let Incident::Phone(fact) = *incident else { return };
        self.buffer.extend_from_slice(&now.as_nanos().to_be_bytes());
        self.buffer.extend_from_slice(&phone.to_be_bytes());
        self.buffer.extend_from_slice(&code(fact));
        if self.buffer.len() >= PIECE {
            self.context.update(&self.buffer);
            self.buffer.clear();
        }
    }
}

/// The number of the operator.
const OPERATOR: u32 = u32::MAX;
/// The number of the first node; those of the others lie below it.
const SERVED: u32 = u32::MAX - 1;

/// A fact as four bytes: which one, and its details.
fn code(fact: Fact) -> [u8; 4] {
    match fact {
        Fact::BootStarted => [1, 0, 0, 0],
        Fact::FileAccepted { kind, path } => [2, kind as u8, path as u8, 0],
        Fact::FileRefused { kind, refusal } => [3, kind as u8, refusal as u8, 0],
        Fact::TvsCacheHit => [4, 0, 0, 0],
        Fact::TvsAnswered { command, is_found } => [5, command as u8, u8::from(is_found), 0],
        Fact::TvsAttemptFailed { fault } => [6, fault as u8, 0, 0],
        Fact::TvsFailover => [7, 0, 0, 0],
        Fact::Settled { outcome: Outcome::Ready } => [8, 1, 0, 0],
        Fact::Settled { outcome: Outcome::Stuck } => [8, 2, 0, 0],
        Fact::Settled { outcome: Outcome::Failed(failure) } => {
            let [why, detail] = failure_code(failure);
            [8, 3, why, detail]
        }
        Fact::TransportFellBack { from, fault } => {
            let [why, high, low] = http_code(fault);
            [9 + 16 * from as u8, why, high, low]
        }
        Fact::Unexpected => [10, 0, 0, 0],
        Fact::TftpFailover => [11, 0, 0, 0],
        Fact::LoadTaken => [12, 0, 0, 0],
        Fact::NameFromCache => [13, 0, 0, 0],
        Fact::TvsCacheMiss => [14, 0, 0, 0],
        Fact::Lsc(LscFact::Began { mode }) => [25, 0, mode.number(), 0],
        Fact::Lsc(LscFact::Postponed) => [25, 1, 0, 0],
        Fact::Lsc(LscFact::KeyAsked { .. }) => [25, 2, 0, 0],
        Fact::Lsc(LscFact::Reset) => [25, 3, 0, 0],
        Fact::Lsc(LscFact::Ended(end)) => match end {
            LscEnd::NoServer => [25, 4, 0, 0],
            LscEnd::ConnectionFailed(why) => [25, 5, why as u8, 0],
            LscEnd::Failed => [25, 6, 0, 0],
            LscEnd::Installed => [25, 7, 0, 0],
            LscEnd::Deleted => [25, 8, 0, 0],
            LscEnd::Fetched => [25, 9, 0, 0],
            LscEnd::NothingToDo => [25, 10, 0, 0],
        },
        Fact::Registering => [15, 0, 0, 0],
        Fact::Registered { member, .. } => [16, member, 0, 0],
        Fact::RegistrationFailed { cause, .. } => [17, cause as u8, 0, 0],
        Fact::RegistrationFull { .. } => [18, 0, 0, 0],
        Fact::RegistrationFailover { .. } => [19, 0, 0, 0],
        Fact::RegistrationLost { .. } => [20, 0, 0, 0],
        Fact::FallbackDue => [21, 0, 0, 0],
        Fact::FellBack { .. } => [22, 0, 0, 0],
        Fact::FallbackFailed => [23, 0, 0, 0],
        Fact::Unregistered { cause, .. } => [24, cause as u8, 0, 0],
        Fact::RegistrationRefreshed { .. } => [26, 0, 0, 0],
        Fact::Pressed { button, end, .. } => {
            let [how, why] = press_code(end);
            [27, button as u8, how, why]
        }
    }
}

fn press_code(end: PressEnd) -> [u8; 2] {
    match end {
        PressEnd::Shown(path) => [1, path as u8],
        PressEnd::Failed(fault) => [2, fault as u8],
        PressEnd::Busy => [3, 0],
        PressEnd::Cancelled => [4, 0],
    }
}

fn failure_code(failure: Failure) -> [u8; 2] {
    match failure {
        Failure::ConfigMissing => [1, 0],
        Failure::File(refusal) => [2, refusal as u8],
        Failure::Stale => [3, 0],
        Failure::TimeLimit => [4, 0],
        Failure::Transfer(TransferFault::Error(code)) => [5, code.0 as u8],
        Failure::Transfer(TransferFault::Protocol(_)) => [6, 0],
        Failure::Transfer(TransferFault::Refused) => [7, 0],
        Failure::Transfer(TransferFault::Stalled | TransferFault::TimedOut) => [8, 0],
        Failure::Transfer(TransferFault::TooLarge) => [9, 0],
        Failure::TvsUnreachable => [10, 0],
        Failure::Generator(lack) => [11, lack as u8],
        Failure::Interrupted => [12, 0],
        Failure::EventLimit => [13, 0],
    }
}

fn http_code(fault: HttpFault) -> [u8; 3] {
    match fault {
        HttpFault::Connection => [1, 0, 0],
        HttpFault::Protocol => [2, 0, 0],
        HttpFault::Status(status) => [3, (status >> 8) as u8, status as u8],
        HttpFault::TimedOut => [4, 0, 0],
        HttpFault::TooLarge => [5, 0, 0],
        HttpFault::CertificateRefused => [6, 0, 0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phone::{Button, CertificatePath};
    use crate::wire::AuthMode;

    #[test]
    fn a_press_is_not_taken_for_the_begin_of_an_enrolment() {
        let end = PressEnd::Shown(CertificatePath::Ctl);
        let press = Fact::Pressed { button: Button::Directory, end, server: None };
        let begin = Fact::Lsc(LscFact::Began { mode: AuthMode::String });
        assert_ne!(code(press), code(begin));
        assert_eq!(code(press)[1..], code(begin)[1..], "but for the first byte they are alike");
    }
}
