use super::tlv::WireError;
use super::tvs;

/// A service that is talked to in messages over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialogue {
    /// Trust Verification Service (`spec/tvs.md`).
    Tvs,
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

/// What a reader has before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// The message is not whole: at least so many bytes are missing, at least 1.
    More(usize),
    /// One whole message of this length in bytes; what is behind it belongs to the next.
    Whole(usize),
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
    /// Whether a restart of its service ends the open connections, as it does on a real node;
    /// those of TVS are over in less time than a restart takes.
    pub ends_with_service: bool,
    /// The kinds of questions that are counted apart.
    pub questions: &'static [&'static str],
}

impl Dialogue {
    /// Every dialogue, in the order of the enum.
    pub const ALL: [Dialogue; 1] = [Dialogue::Tvs];

    /// What its messages look like.
    pub const fn rules(self) -> &'static DialogueRules {
        match self {
            Dialogue::Tvs => &TVS,
        }
    }
}

/// The framing of messages with a head of `N` bytes that says how long the whole is.
pub(super) fn frame_by_head<const N: usize>(
    bytes: &[u8],
    length: impl FnOnce(&[u8; N]) -> Result<usize, WireError>,
) -> Result<Framing, WireError> {
    let Some(head) = bytes.first_chunk() else { return Ok(Framing::More(N - bytes.len())) };
    let length = length(head)?.max(N);
    Ok(match length.checked_sub(bytes.len()) {
        None | Some(0) => Framing::Whole(length),
        Some(missing) => Framing::More(missing),
    })
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
    ends_with_service: false,
    questions: &["query", "verify"],
};
