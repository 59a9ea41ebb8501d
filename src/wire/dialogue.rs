use super::framing::{Framing, frame_by_head};
use super::sip;
use super::tlv::WireError;
use super::{capf, tvs};

/// A service that is talked to in messages over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialogue {
    /// Trust Verification Service (`spec/tvs.md`).
    Tvs,
    /// Certificate Authority Proxy Function (`spec/capf.md`).
    Capf,
    /// SIP over TCP, at a CallManager (RFC 3261).
    Sip,
    /// SIP over TLS, at a CallManager.
    Sips,
}

/// What protects a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Nothing: TCP.
    Plain,
    /// TLS; only the server proves who it is.
    Tls,
    /// TLS; a certificate of the client is asked for. The service judges it, or its absence.
    TlsWithClientCertificate,
}

/// What both ends of a dialogue must know of its messages.
#[derive(Debug)]
pub struct DialogueRules {
    /// Its name in scenario files and in outputs.
    pub name: &'static str,
    /// TCP port of its servers where a scenario does not say otherwise.
    pub port: u16,
    /// What protects its connections.
    pub security: Security,
    /// Whether the server speaks first.
    pub server_first: bool,
    /// How far the first message in these bytes is, which are not empty.
    pub frame: fn(&[u8]) -> Result<Framing, WireError>,
    /// Longest request in bytes that a server reads.
    pub request_length_max: usize,
    /// Longest answer in bytes that a client reads.
    pub answer_length_max: usize,
    /// Most messages that a server reads on one connection.
    pub turns_max: usize,
    /// How long a server waits for the next message, in seconds, where its peers are to stay;
    /// `None` for as long as it waits for any request.
    pub idle_s: Option<u64>,
    /// Whether a restart of its service ends the open connections, as it does on a real node;
    /// those of TVS are over in less time than a restart takes.
    pub ends_with_service: bool,
    /// The kinds of questions that are counted apart.
    pub questions: &'static [&'static str],
}

impl Dialogue {
    /// Every dialogue, in the order of the enum.
    pub const ALL: [Dialogue; 4] = [Dialogue::Tvs, Dialogue::Capf, Dialogue::Sip, Dialogue::Sips];

    /// What its messages look like.
    pub const fn rules(self) -> &'static DialogueRules {
        match self {
            Dialogue::Tvs => &TVS,
            Dialogue::Capf => &CAPF,
            Dialogue::Sip => &SIP,
            Dialogue::Sips => &SIPS,
        }
    }
}

/// Longest request to TVS that a server reads: a certificate and names are far shorter (choice).
const TVS_REQUEST_LENGTH_MAX: usize = 16 * 1_024;

static TVS: DialogueRules = DialogueRules {
    name: "tvs",
    port: 2445,
    security: Security::Tls,
    server_first: false,
    frame: |bytes| frame_by_head(bytes, tvs::message_length),
    request_length_max: TVS_REQUEST_LENGTH_MAX,
    answer_length_max: tvs::HEADER_LENGTH + u16::MAX as usize,
    // Phones send one.
    turns_max: 16,
    idle_s: None,
    ends_with_service: false,
    questions: &["query", "verify"],
};

/// Longest message to CAPF that a server reads: two certificates and proofs of RSA-4096 keys are
/// shorter (choice).
const CAPF_REQUEST_LENGTH_MAX: usize = 16 * 1_024;

static CAPF: DialogueRules = DialogueRules {
    name: "capf",
    port: 3804,
    security: Security::Tls,
    server_first: true,
    frame: |bytes| frame_by_head(bytes, capf::message_length),
    request_length_max: CAPF_REQUEST_LENGTH_MAX,
    answer_length_max: capf::MESSAGE_LENGTH_MAX,
    // Phones that make a key may say so as often as they like; once every ten seconds is 180 times
    // in half an hour.
    turns_max: 256,
    // "Maximum Allowable Time for Key Generation" is half an hour (guess).
    idle_s: Some(30 * 60 + 60),
    ends_with_service: true,
    questions: &["authenticate", "generate", "store", "fetch", "delete"],
};

static SIP: DialogueRules = DialogueRules {
    name: "sip",
    port: 5060,
    security: Security::Plain,
    server_first: false,
    frame: sip::frame,
    request_length_max: sip::MESSAGE_MAX,
    answer_length_max: sip::MESSAGE_MAX,
    turns_max: usize::MAX,
    // Peers send a keep-alive every 30 s and are lost after 3 misses (field facts, phones).
    idle_s: Some(90),
    ends_with_service: true,
    questions: &["register", "keep-alive"],
};

static SIPS: DialogueRules = DialogueRules {
    name: "sips",
    port: 5061,
    security: Security::TlsWithClientCertificate,
    server_first: false,
    frame: sip::frame,
    request_length_max: sip::MESSAGE_MAX,
    answer_length_max: sip::MESSAGE_MAX,
    turns_max: usize::MAX,
    idle_s: Some(90),
    ends_with_service: true,
    questions: &["register", "keep-alive"],
};
