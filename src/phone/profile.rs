use crate::base::{IpMode, Span};

use super::boot_time::BootTime;
use super::families::BlockSizeRule;
use super::file_kind::FileKind;
use super::key_time::KeyTime;
use super::transport::TransportRule;
use super::tvs_session::TvsSession;

/// How phones of one kind behave; the defaults are marked in `field-facts.md` as guesses where no
/// public source exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhoneProfile {
    /// From power on or reset to the first request.
    pub boot_time: BootTime,
    /// Between the end of one step and the next request.
    pub think: Span,
    /// Which transport is asked first for each file.
    pub transport: TransportRule,
    /// Longest wait for connection and whole answer of one HTTP request together (guess: 5 s).
    pub http_timeout: Span,
    /// How long a phone waits for the next TFTP datagram before it sends its last one again
    /// (guess: 4 s).
    pub tftp_timeout: Span,
    /// How often a TFTP datagram is sent in all before the transfer fails (guess: 5).
    pub tftp_tries: u8,
    /// Block size that is asked for over TFTP.
    pub tftp_block_size: BlockSizeRule,
    /// Longest wait for connect, handshake and answer of one TVS server together (guess: 10 s).
    pub tvs_timeout: Span,
    /// What a phone itself takes for a question to one TVS server, before it asks (TVS-15); default
    /// no time.
    pub tvs_think: Span,
    /// How long a phone remembers that a name has no DNS record (TVS-21; how long a real one does is
    /// not known); default not at all (choice).
    pub dns_negative_ttl: Span,
    /// In which ways of addressing servers are reached (BOOT-21); default both.
    pub ip_mode: IpMode,
    /// Whether a session with TVS is kept for the next file of a boot (TVS-19); default as phones of
    /// the model do.
    pub tvs_session: TvsSession,
    /// Whether `CTLFile.tlv` is asked for after a missing `CTLSEP<MAC>.tlv`; default yes, as the
    /// documents say (BOOT-18, CTFTP-01, X-25).
    pub ctl_generic: bool,
    /// Whether a certificate whose time is over counts as bad: default yes, as the documents say
    /// of CallManager.pem and TVS.pem (CERT-18, CERT-23). In logs of phones that load with valid
    /// certificates no date is looked at.
    pub checks_dates: bool,
    /// What is asked for beside lists and configuration, of
    /// [`FURTHER_FILES`](super::FURTHER_FILES) and in their order; default nothing.
    pub further_files: Vec<FileKind>,
    /// How long a phone takes to make a pair of keys; default no time.
    pub key_generation: KeyTime,
    /// The authentication string that people have typed in at their phones.
    pub capf_string: String,
    /// Registration, the last thing of a boot; default not at all.
    pub registration: RegistrationRules,
}

/// How phones register and stay registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistrationRules {
    /// Whether they do.
    pub enabled: bool,
    /// For how long they ask to be registered (choice: an hour).
    pub expires: Span,
    /// For how long an earlier member must have been reachable before a phone falls back to it
    /// (CUCM: connection monitor duration, 120 s).
    pub monitor: Span,
    /// From the end of a round through all members in vain to the next (guess: 60 s).
    pub retry: Span,
}

impl Default for RegistrationRules {
    fn default() -> RegistrationRules {
        RegistrationRules {
            enabled: false,
            expires: Span::from_secs(3_600),
            monitor: Span::from_secs(120),
            retry: Span::from_secs(60),
        }
    }
}

/// Largest file that a phone takes in bytes (TFTP-10: seen in a phone log).
pub const FILE_SIZE_MAX: usize = 550_001;

impl Default for PhoneProfile {
    fn default() -> PhoneProfile {
        PhoneProfile {
            boot_time: BootTime::Fixed(Span::ZERO),
            think: Span::ZERO,
            transport: TransportRule::Tftp,
            http_timeout: Span::from_secs(5),
            tftp_timeout: Span::from_secs(4),
            tftp_tries: 5,
            tftp_block_size: BlockSizeRule::Fixed(None),
            tvs_timeout: Span::from_secs(10),
            tvs_think: Span::ZERO,
            dns_negative_ttl: Span::ZERO,
            ip_mode: IpMode::Dual,
            tvs_session: TvsSession::Model,
            ctl_generic: true,
            checks_dates: true,
            further_files: Vec::new(),
            key_generation: KeyTime::Fixed(Span::ZERO),
            capf_string: String::new(),
            registration: RegistrationRules::default(),
        }
    }
}
