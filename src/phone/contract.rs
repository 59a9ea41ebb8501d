use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::base::{DeviceName, Lack, Time};
use crate::transfer::TransferFault;
use crate::wire::tvs::Command;
use crate::wire::{FileName, Seal, TvsMember};

use super::file_kind::FileKind;
use super::judge::{AcceptPath, Refusal};
use super::lists::TrustLists;
use super::transport::{HttpFault, Transport};

/// What happens to a phone.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Power on, or a reset by the cluster: the phone boots, whatever it was doing.
    Boot,
    /// The timer with this token fired.
    Timer {
        /// Token of the [`Action::SetTimer`].
        token: u32,
    },
    /// The file that was asked for has arrived.
    File {
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// The server has no such file.
    FileMissing,
    /// The file could not be fetched over TFTP.
    FileFailed {
        /// Why.
        fault: TransferFault,
    },
    /// The file could not be fetched over HTTP or HTTPS.
    HttpFailed {
        /// Why.
        fault: HttpFault,
    },
    /// The name of a TVS server was looked up.
    Resolved {
        /// Token of the [`Action::Resolve`].
        token: u32,
        /// Where it leads; `None` if there is no record, or no answer.
        address: Option<IpAddr>,
    },
    /// A TVS server answered.
    TvsAnswer {
        /// Token of the [`Action::AskTvs`].
        token: u32,
        /// The message.
        bytes: &'a [u8],
    },
    /// A TVS server gave no answer.
    TvsFailed {
        /// Token of the [`Action::AskTvs`].
        token: u32,
        /// Why.
        fault: TvsFault,
    },
    /// A person erases the lists: the phone is in state A again (TOOL-11).
    EraseLists,
}

/// Why a TVS server gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TvsFault {
    /// The phone refused the certificate that the server presented: it is not in its lists.
    CertificateRefused,
    /// No connection, no handshake, a closed or broken connection.
    Connection,
    /// The answer is no answer: malformed, of another session, or for another certificate.
    WrongAnswer,
    /// No answer in time.
    TimedOut,
    /// The name of the server has no address (`Failed to resolve Tvs Ipv4 Address with hostname`,
    /// TVS-17).
    Unresolved,
}

/// What a phone wants done.
#[derive(Clone, Debug)]
pub enum Action {
    /// Fetch this file from the phone's TFTP node; answered by one of the file inputs.
    Fetch {
        /// Which step of the boot it is.
        step: Step,
        /// Name of the file.
        file: Arc<str>,
        /// How it is asked for.
        transport: Transport,
    },
    /// Look up the name of a TVS server in the DNS; answered by [`Input::Resolved`].
    Resolve {
        /// The name, as it stands in the configuration.
        name: String,
        /// To be given back.
        token: u32,
    },
    /// Ask this TVS server; judge its certificate by `lists` during the handshake; answered by
    /// one of the TVS inputs with the same token.
    AskTvs {
        /// The servers of the phone.
        members: Arc<[TvsMember]>,
        /// Which of them.
        member: usize,
        /// Its address.
        address: IpAddr,
        /// To be given back.
        token: u32,
        /// The request.
        request: Vec<u8>,
        /// The lists that the phone holds now.
        lists: TrustLists,
    },
    /// Wake the phone at `at`.
    SetTimer {
        /// When.
        at: Time,
        /// To be given back.
        token: u32,
    },
}

/// A step of a boot that asks for a file (`spec/phone-boot.md` section 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// `CTLSEP<MAC>.tlv`.
    Ctl,
    /// `CTLFile.tlv`.
    CtlGeneric,
    /// `ITLSEP<MAC>.tlv`.
    Itl,
    /// `ITLFile.tlv`.
    ItlGeneric,
    /// `SEP<MAC>.cnf.xml`, with `.sgn` once a list is installed.
    Config,
    /// `XMLDefault.cnf.xml`, with `.sgn` once a list is installed.
    ConfigDefault,
}

impl Step {
    /// What kind of file is asked for.
    pub const fn kind(self) -> FileKind {
        match self {
            Step::Ctl | Step::CtlGeneric => FileKind::Ctl,
            Step::Itl | Step::ItlGeneric => FileKind::Itl,
            Step::Config | Step::ConfigDefault => FileKind::Config,
        }
    }

    /// The name that is asked for by `device`, which asks for signed files if `signed`.
    pub fn file_name(self, device: DeviceName, signed: bool) -> FileName {
        let seal = if signed { Seal::Signed } else { Seal::Plain };
        match self {
            Step::Ctl => FileName::Ctl(Some(device)),
            Step::CtlGeneric => FileName::Ctl(None),
            Step::Itl => FileName::Itl(Some(device)),
            Step::ItlGeneric => FileName::Itl(None),
            Step::Config => FileName::Config(Some(device), seal),
            Step::ConfigDefault => FileName::Config(None, seal),
        }
    }
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
    /// A TVS server's answer was received and used.
    TvsAnswered {
        /// The answer's command.
        command: Command,
    },
    /// An attempt ended without an answer.
    TvsAttemptFailed {
        /// Why.
        fault: TvsFault,
    },
    /// A later member of the group is asked.
    TvsFailover,
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
    /// An input that the phone did not wait for; it changed nothing.
    Unexpected,
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
            Failure::File(Refusal::Malformed) => f.write_str("malformed file"),
            Failure::File(Refusal::NotValid) => f.write_str("TVS said not valid"),
            Failure::File(Refusal::UnknownSigner) => f.write_str("unknown signer"),
            Failure::File(Refusal::UnsupportedDigest) => f.write_str("unsupported digest"),
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

impl Sink {
    pub(super) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(super) fn fact(&mut self, fact: Fact) {
        self.facts.push(fact);
    }
}
