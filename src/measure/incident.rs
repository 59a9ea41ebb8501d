use std::net::IpAddr;

use crate::base::{Lack, PhoneId, Span, Time};
use crate::phone::{Ask, Fact, FileKind, Outcome, Step, Transport, Way};
use crate::transfer::TransferFault;
use crate::wire::Dialogue;

use super::generator::Queue;
use super::host::Pause;

/// What happened to one phone: everything that is ever counted comes as one of these.
///
/// What a phone says itself is a [`Fact`]; the rest is what its driver saw between the phone and
/// the world. A small value without heap: hearing one allocates nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Incident<'a> {
    /// The phone said so.
    Phone(Fact),
    /// A boot of this phone alone is planned.
    BootPlanned,
    /// Somebody has erased its lists by hand.
    ListsErased,
    /// A boot begins that was planned for this time.
    BootBegan(Time),
    /// The boot cannot go on for what the generator lacks.
    GivenUp(Lack),
    /// The DNS is asked for the address of a name.
    NameAsked,
    /// A file is asked for.
    Asked(Transport),
    /// What is asked for next goes to the server at this address.
    Turned(IpAddr),
    /// So many connections were opened for a file.
    Connected(Transport, u64),
    /// A file of so many bytes arrived whole.
    Arrived(Transport, u64),
    /// The answer was that there is no such file.
    Missing(Transport),
    /// The file of this step did not come by this transport, nor the answer that there is none.
    /// The step itself goes on by another one if that was HTTP or HTTPS.
    Failed(Transport, StepKind),
    /// A datagram of this step was sent again.
    SentAgain(StepKind),
    /// A step ended.
    Ended {
        /// Which one.
        step: StepKind,
        /// How.
        end: StepEnd,
        /// When it was planned to begin.
        planned: Time,
        /// When it began.
        started: Time,
    },
    /// An attempt for this step, begun at `from`, has ended without an answer.
    Silent {
        /// The step.
        step: StepKind,
        /// When the attempt began.
        from: Time,
    },
    /// The phone got its place in a queue, or waits for it at the end of the run.
    Waited {
        /// Which queue.
        queue: Queue,
        /// How long after it wanted one.
        late: Span,
        /// Whether the run is over.
        at_end: bool,
    },
    /// The generator did something so long after it was planned.
    Late(Span),
    /// The host refused something.
    Lacked(Lack),
    /// A server said this with a fault.
    Said(TransferFault, &'a str),
}

/// What happened to a whole part of the fleet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Notice {
    /// The storm begins: what was before does not count.
    StormBegan,
    /// Every phone has a boot before it.
    BootsPlanned,
    /// Whoever plays the phones did not come to his turn.
    Stalled(Pause),
    /// So many transfers are in flight now.
    TransfersInFlight(u64),
}

/// Who is told of everything that happens.
pub trait Listen {
    /// `incident` happened to `phone` at `now`.
    fn hear(&mut self, phone: PhoneId, now: Time, incident: &Incident<'_>);

    /// `notice` is for all phones.
    fn note(&mut self, now: Time, notice: &Notice) {
        let _ = (now, notice);
    }
}

/// A step of a boot that is timed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepKind {
    /// The whole boot, from planned start to ready.
    #[default]
    Boot,
    /// Fetch of the CTL.
    Ctl,
    /// Fetch of the ITL.
    Itl,
    /// Fetch of the configuration.
    Config,
    /// Fetch of the file of the network locale.
    Locale,
    /// Fetch of the ring list.
    RingList,
    /// Fetch of a page of a service; no part of a boot.
    Page,
    /// One message of a dialogue to one server.
    Dialogue(Dialogue),
    /// From the planned start of a boot until a node has registered the phone.
    Registration,
    /// From the loss of the connection to a node until another one has registered the phone.
    Failover,
    /// From when an earlier member could be reached again until it has registered the phone.
    Fallback,
}

impl StepKind {
    /// One attempt at one TVS server.
    pub const TVS: StepKind = StepKind::Dialogue(Dialogue::Tvs);

    /// Every step, in the order of the enum and of the summary.
    pub const ALL: [StepKind; AFTER + 3] = {
        let mut all = [StepKind::Boot; AFTER + 3];
        (all[1], all[2], all[3]) = (StepKind::Ctl, StepKind::Itl, StepKind::Config);
        (all[4], all[5], all[6]) = (StepKind::Locale, StepKind::RingList, StepKind::Page);
        let mut at = 0;
        while at < Dialogue::ALL.len() {
            all[7 + at] = StepKind::Dialogue(Dialogue::ALL[at]);
            at += 1;
        }
        all[AFTER] = StepKind::Registration;
        (all[AFTER + 1], all[AFTER + 2]) = (StepKind::Failover, StepKind::Fallback);
        all
    };

    /// Its place among [`StepKind::ALL`].
    pub const fn index(self) -> usize {
        match self {
            StepKind::Boot => 0,
            StepKind::Ctl => 1,
            StepKind::Itl => 2,
            StepKind::Config => 3,
            StepKind::Locale => 4,
            StepKind::RingList => 5,
            StepKind::Page => 6,
            StepKind::Dialogue(dialogue) => 7 + dialogue as usize,
            StepKind::Registration => AFTER,
            StepKind::Failover => AFTER + 1,
            StepKind::Fallback => AFTER + 2,
        }
    }

    /// Whether it asks for a file.
    pub const fn is_file(self) -> bool {
        matches!(
            self,
            StepKind::Ctl
                | StepKind::Itl
                | StepKind::Config
                | StepKind::Locale
                | StepKind::RingList
        )
    }

    /// Whether it is there only where phones register.
    pub const fn is_of_registration(self) -> bool {
        matches!(
            self,
            StepKind::Dialogue(Dialogue::Sip | Dialogue::Sips)
                | StepKind::Registration
                | StepKind::Failover
                | StepKind::Fallback
        )
    }

    /// Whether it is there only where a scenario asks for it.
    pub const fn is_further(self) -> bool {
        matches!(self, StepKind::Locale | StepKind::RingList | StepKind::Page)
            || self.is_of_registration()
    }

    /// The name in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            StepKind::Boot => "boot",
            StepKind::Ctl => "ctl",
            StepKind::Itl => "itl",
            StepKind::Config => "config",
            StepKind::Locale => "locale",
            StepKind::RingList => "ring-list",
            StepKind::Page => "page",
            StepKind::Dialogue(dialogue) => dialogue.rules().name,
            StepKind::Registration => "registration",
            StepKind::Failover => "fail-over",
            StepKind::Fallback => "fall-back",
        }
    }
}

/// The number of the first step behind those of dialogues.
const AFTER: usize = 7 + Dialogue::ALL.len();

impl StepKind {
    /// The step that ends at `now` when a phone is registered, or every node was asked in vain, and
    /// when it began, in a boot that was planned for this time; nothing if this is none of that.
    pub(super) fn of_registration(
        fact: Fact,
        planned: Time,
        now: Time,
    ) -> Option<(StepKind, StepEnd, Time)> {
        let (way, end) = match fact {
            Fact::Registered { way, .. } => (way, StepEnd::Ok),
            Fact::Unregistered { way, .. } => (way, StepEnd::Failed),
            Fact::FallbackFailed => return Some((StepKind::Fallback, StepEnd::Failed, now)),
            _ => return None,
        };
        let (step, us) = match way {
            Way::Boot => return Some((StepKind::Registration, end, planned)),
            Way::Failover { us } => (StepKind::Failover, us),
            Way::Fallback { us } => (StepKind::Fallback, us),
        };
        let began = now.as_nanos().saturating_sub(u64::from(us) * 1_000);
        Some((step, end, Time::from_nanos(began)))
    }

    /// The step that an errand is part of; a name is looked up for the message that follows.
    pub fn of(ask: &Ask) -> StepKind {
        match ask {
            Ask::File(request) => request.step.into(),
            Ask::Name(..) => StepKind::TVS,
            Ask::Say(message) => StepKind::Dialogue(message.dialogue),
            Ask::Page(_) => StepKind::Page,
        }
    }
}

impl From<Step> for StepKind {
    fn from(step: Step) -> StepKind {
        match step.kind() {
            FileKind::Ctl => StepKind::Ctl,
            FileKind::Itl => StepKind::Itl,
            FileKind::Config => StepKind::Config,
            FileKind::Locale => StepKind::Locale,
            FileKind::RingList => StepKind::RingList,
        }
    }
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepEnd {
    /// Without an answer, or a boot that failed.
    Failed,
    /// With the answer that there is no such file.
    NotFound,
    /// With what was asked for.
    Ok,
    /// A boot that ended stuck.
    Stuck,
}

impl StepEnd {
    /// The end of a step that was answered or was not.
    pub const fn answered(ok: bool) -> StepEnd {
        if ok { StepEnd::Ok } else { StepEnd::Failed }
    }
}

impl From<Outcome> for StepEnd {
    fn from(outcome: Outcome) -> StepEnd {
        match outcome {
            Outcome::Ready => StepEnd::Ok,
            Outcome::Stuck => StepEnd::Stuck,
            Outcome::Failed(_) => StepEnd::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_steps_stand_in_the_order_of_their_numbers_and_incidents_are_small() {
        for (at, step) in StepKind::ALL.into_iter().enumerate() {
            assert_eq!(step.index(), at);
        }
        assert!(size_of::<Incident<'_>>() <= 32, "{}", size_of::<Incident<'_>>());
    }
}
