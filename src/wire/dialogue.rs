use super::tlv::WireError;
use super::tvs;

/// A service that is talked to in messages over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialogue {
    /// Trust Verification Service (`spec/tvs.md`).
    Tvs,
}

/// What both ends of a dialogue must know of its messages.
#[derive(Debug)]
pub struct DialogueRules {
    /// Its name in scenario files and in outputs.
    pub name: &'static str,
    /// TCP port of its servers where a scenario does not say otherwise.
    pub port: u16,
    /// Length in bytes of the head of a message.
    pub head_length: usize,
    /// Length in bytes of the whole message that begins with this head.
    pub message_length: fn(&[u8]) -> Result<usize, WireError>,
    /// Longest request in bytes that a server reads.
    pub request_length_max: usize,
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

/// Longest request to TVS that a server reads: a certificate and names are far shorter (choice).
const TVS_REQUEST_LENGTH_MAX: usize = 16 * 1_024;

static TVS: DialogueRules = DialogueRules {
    name: "tvs",
    port: 2445,
    head_length: tvs::HEADER_LENGTH,
    message_length: |head| {
        let head = head.first_chunk();
        tvs::message_length(head.ok_or_else(|| WireError::new("short header", 0, "10 bytes"))?)
    },
    request_length_max: TVS_REQUEST_LENGTH_MAX,
    questions: &["query", "verify"],
};
