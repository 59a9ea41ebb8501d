use crate::base::{Lack, Span, Time};
use crate::transfer::TransferFault;
use crate::wire::AuthMode;
use crate::wire::tvs::Command;
use std::fmt;
use std::net::IpAddr;

use super::button::{Button, PressEnd};
use super::errand::{Answer, Errand, ErrandFault, Message, TvsFault};
use super::file_kind::FileKind;
use super::judge::{AcceptPath, Refusal};
use super::lsc::LscEnd;
use super::transport::{HttpFault, Transport};

/// What happens to a phone.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Power on, or a reset by the cluster: the phone boots, whatever it was doing.
    Boot,
    /// The timer with this token fired.
    Timer {
        /// Token of the [`Action::Wake`].
        token: u32,
    },
    /// An errand came back.
    Answered {
        /// Token of the [`Errand`].
        token: u32,
        /// With what.
        result: Result<Answer<'a>, ErrandFault>,
    },
    /// The connection to the server of its [`Watch`] has ended, or cannot be had.
    Lost,
    /// The server that its [`Watch`] awaits can be reached.
    Reachable,
    /// A person erases the lists: the phone is in state A again (TOOL-11).
    EraseLists,
    /// A person presses a button; nothing comes of it unless the phone is at rest.
    Press(Button),
}

/// What a phone wants done.
#[derive(Clone, Debug)]
pub enum Action {
    /// Run this errand.
    Do(Errand),
    /// Close the connection that the last message has left open, if it did.
    HangUp,
    /// Wake the phone at `at`.
    Wake {
        /// When.
        at: Time,
        /// To be given back.
        token: u32,
    },
    /// Watch these servers for the phone, instead of those before, until it boots.
    Watch(Box<Watch>),
}

/// Servers that a phone wants to be watched. A driver that plays many phones may watch a server
/// for all of them by one connection: it ends when theirs would.
#[derive(Clone, Debug)]
pub struct Watch {
    /// A message to the server with which the phone has a connection, to be said now and then so
    /// that it is not idle: its end is [`Input::Lost`], which ends the watch.
    pub holds: Option<Message>,
    /// A message to a server that the phone wants to reach: as soon as that answers, it is told
    /// [`Input::Reachable`], once.
    pub awaits: Option<Message>,
}

/// Why a phone is not registered, the more telling the later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unregistered {
    /// No configuration names a CallManager.
    NoConfig,
    /// No member has answered.
    NoAnswer,
    /// A member was full and did not say when to come again.
    Full,
    /// A member has refused the phone: it does not know it, or its certificate.
    Refused,
    /// The phone has refused the certificate of a member: it is in none of its lists.
    CertificateRefused,
}

/// Why a phone asks nodes to register it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// For the first time since it booted.
    Boot,
    /// It has lost the connection to the node before.
    Failover {
        /// How long ago, in microseconds; 71 minutes at most.
        us: u32,
    },
    /// An earlier member could be reached again; it was registered all the time.
    Fallback {
        /// Since when, in microseconds before now; 71 minutes at most.
        us: u32,
    },
}

/// What happened, for measuring and forensics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// A boot began.
    BootStarted,
    /// A file was accepted and is in force.
    FileAccepted {
        /// Which kind.
        kind: FileKind,
        /// Why.
        path: AcceptPath,
    },
    /// A file was refused; the old one is kept.
    FileRefused {
        /// Which kind.
        kind: FileKind,
        /// Why.
        refusal: Refusal,
    },
    /// The TVS cache vouched for a signer.
    TvsCacheHit,
    /// The phone knows that the name of a TVS server has no DNS record, and did not ask (TVS-21).
    NameFromCache,
    /// Nothing in the TVS cache vouches for a signer, and a server has to be asked (TVS-09).
    TvsCacheMiss,
    /// A TVS server's answer was received and used.
    TvsAnswered {
        /// The answer's command.
        command: Command,
        /// Whether the server has the certificate (TVS-10).
        is_found: bool,
    },
    /// An attempt ended without an answer.
    TvsAttemptFailed {
        /// Why.
        fault: TvsFault,
    },
    /// A later member of the group is asked.
    TvsFailover,
    /// A TFTP node of the phone's list was silent, and the next one was asked for the same file
    /// (BOOT-20).
    TftpFailover,
    /// The boot is over.
    Settled {
        /// How it ended.
        outcome: Outcome,
    },
    /// HTTP or HTTPS brought no file: TFTP is asked for the same file.
    TransportFellBack {
        /// Which of them.
        from: Transport,
        /// Why.
        fault: HttpFault,
    },
    /// The configuration that was accepted names another firmware load than the phone ran: it runs
    /// that one from now on.
    LoadTaken,
    /// It goes to CAPF, or has been there.
    Lsc(LscFact),
    /// Somebody has pressed a button, and this has come of it.
    Pressed {
        /// Which one.
        button: Button,
        /// What.
        end: PressEnd,
        /// Who was asked for the page, if anybody was.
        server: Option<IpAddr>,
    },
    /// The phone begins to register.
    Registering,
    /// It is registered.
    Registered {
        /// With which member of its group, from 0.
        member: u8,
        /// The address of that member.
        server: IpAddr,
        /// How it came to it.
        way: Way,
    },
    /// A member did not register it.
    RegistrationFailed {
        /// Why.
        cause: Unregistered,
        /// The address of that member; `None` if its name has none.
        server: Option<IpAddr>,
    },
    /// A member was full (503), with or without a time to come again.
    RegistrationFull {
        /// The address of that member.
        server: IpAddr,
    },
    /// The member that it is registered with has registered it anew, before its time was over.
    RegistrationRefreshed {
        /// The address of that member.
        server: IpAddr,
    },
    /// Another member is asked.
    RegistrationFailover {
        /// The address of the member before; `None` if its name has none.
        from: Option<IpAddr>,
    },
    /// The connection to the member that it was registered with has ended.
    RegistrationLost {
        /// The address of that member.
        server: IpAddr,
    },
    /// An earlier member can be reached again: the phone falls back to it after a while.
    FallbackDue,
    /// It has fallen back to an earlier member.
    FellBack {
        /// The address of that member.
        server: IpAddr,
    },
    /// It could not fall back, and stays where it is registered.
    FallbackFailed,
    /// Every member was asked once, and none has registered it. It goes on to ask them.
    Unregistered {
        /// The most telling of the reasons.
        cause: Unregistered,
        /// Why it has asked.
        way: Way,
    },
    /// An input that the phone did not wait for; it changed nothing.
    Unexpected,
}

/// What happens to a phone that enrols for an LSC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LscFact {
    /// Its configuration tells it to go to CAPF, and it goes.
    Began {
        /// How it proves who it is.
        mode: AuthMode,
    },
    /// CAPF was busy and has asked it to come again.
    Postponed,
    /// It is to make a pair of keys, which takes so long.
    KeyAsked {
        /// How long.
        length: Span,
        /// Whether there is a pool of such keys, from which it takes one; else it makes none.
        is_pooled: bool,
    },
    /// It is done with CAPF.
    Ended(LscEnd),
    /// Its LSC has changed: it resets itself.
    Reset,
}

impl Fact {
    /// Whether the phone may have nothing before it any longer, or again have something.
    pub const fn may_settle(self) -> bool {
        matches!(
            self,
            Fact::Settled { .. }
                | Fact::Registering
                | Fact::Registered { .. }
                | Fact::RegistrationLost { .. }
                | Fact::FallbackDue
                | Fact::FallbackFailed
                | Fact::Unregistered { .. }
        )
    }
}

/// How a boot ended (`decisions.md`, outcomes of a phone).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// List and configuration that are served were accepted and are in force.
    Ready,
    /// Something was refused, its signer is in no list and no cache, and no TVS server of the
    /// stored configuration presents a certificate that the lists hold.
    Stuck,
    /// Not ready for another reason.
    Failed(Failure),
}

/// Why a phone is neither ready nor stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// The server has no configuration for the phone.
    ConfigMissing,
    /// The bound on the events of virtual time was reached before the phone had settled.
    EventLimit,
    /// A file does not parse or its signature is wrong.
    File(Refusal),
    /// Whoever plays the phone lacked something: neither the phone nor a server is to blame.
    Generator(Lack),
    /// A person or the system ended the run before the phone had settled.
    Interrupted,
    /// What was accepted is no longer what is served.
    Stale,
    /// The time limit of the run was reached before the phone had settled.
    TimeLimit,
    /// A file could not be fetched.
    Transfer(TransferFault),
    /// No TVS server that the phone could trust gave an answer.
    TvsUnreachable,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::ConfigMissing => f.write_str("no configuration on the server"),
            Failure::EventLimit => f.write_str("event limit"),
            Failure::File(Refusal::Expired) => f.write_str("certificate of the signer has expired"),
            Failure::File(Refusal::Malformed) => f.write_str("malformed file"),
            Failure::File(Refusal::NotValid) => f.write_str("TVS said not valid"),
            Failure::File(Refusal::UnknownSigner) => f.write_str("unknown signer"),
            Failure::File(Refusal::UnsupportedDigest) => f.write_str("unsupported digest"),
            Failure::File(Refusal::Unreadable) => f.write_str("encrypted for another key"),
            Failure::File(Refusal::WrongRole) => f.write_str("signer has another role"),
            Failure::File(Refusal::WrongSignature) => f.write_str("wrong signature"),
            Failure::Generator(lack) => write!(f, "generator: {lack}"),
            Failure::Interrupted => f.write_str("interrupted"),
            Failure::Stale => f.write_str("accepted an older list or configuration"),
            Failure::TimeLimit => f.write_str("time limit"),
            Failure::Transfer(fault) => write!(f, "transfer: {fault}"),
            Failure::TvsUnreachable => f.write_str("TVS unreachable"),
        }
    }
}

/// Collects what a phone wants and what happened; the driver owns and drains it.
#[derive(Debug, Default)]
pub struct Sink {
    /// What is to be done, in order.
    pub actions: Vec<Action>,
    /// What happened, in order.
    pub facts: Vec<Fact>,
}
