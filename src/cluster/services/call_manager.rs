use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::{Calendar, DeviceName, PhoneId, Span, Time};
use crate::cluster::catalogue::FleetSpec;
use crate::cluster::devices::DeviceTable;
use crate::cluster::topology::Registrar;
use crate::crypto::Certificate;
use crate::wire::WireError;
use crate::wire::sip::{Contact, PING, PONG, Registered, SipMessage, StartLine};

use super::dialogue::{Answering, Conversation, Peer, PeerRefusal, Said};

/// How long after `at` nobody is refused again: a node takes the registrations of one second at
/// once (choice).
const BURST: Span = Span::from_secs(1);
/// Longest `Retry-After` in seconds (choice).
const RETRY_AFTER_MAX_S: u64 = 600;

/// The CallManager of a node from one start to the next: it registers the devices of the database
/// at a bounded rate. Its two ports share it.
#[derive(Debug)]
pub(in crate::cluster) struct CallManager {
    settings: Registrar,
    fleet: Arc<FleetSpec>,
    /// The certificates of CallManager-trust at its start.
    trusted: Vec<Certificate>,
    calendar: Arc<Calendar>,
    devices: Arc<DeviceTable>,
    gate: Mutex<Gate>,
}

/// Who is let in when: the generic cell rate algorithm, and who was told to come again when.
#[derive(Debug, Default)]
struct Gate {
    /// When the registrations that were taken are through.
    taken: Time,
    /// When those that were told to come again are through, too.
    promised: Time,
}

impl Gate {
    /// Takes one more registration at `now`, where one takes `gap`; or says after how long it may
    /// come again.
    fn admit(&mut self, now: Time, gap: Span) -> Result<(), Span> {
        let due = self.taken.max(now);
        if due.since(now) < BURST {
            self.taken = due + gap;
            return Ok(());
        }
        self.promised = self.promised.max(due) + gap;
        Err(self.promised.since(now))
    }
}

impl CallManager {
    pub(in crate::cluster) fn new(
        settings: Registrar,
        fleet: Arc<FleetSpec>,
        trusted: Vec<Certificate>,
        calendar: Arc<Calendar>,
        devices: Arc<DeviceTable>,
    ) -> CallManager {
        let gate = Mutex::new(Gate::default());
        CallManager { settings, fleet, trusted, calendar, devices, gate }
    }

    /// What becomes of the registration that a device asks for; `shown` is what it has shown over
    /// TLS.
    fn register(&self, contact: &Contact, shown: Option<&Shown>, now: Time) -> Registered {
        let no = |status, reason| Registered::No { status, reason };
        let device: Option<DeviceName> = contact.device.parse().ok();
        let known = device.and_then(DeviceName::phone);
        let Some(PhoneId(phone)) = known.filter(|phone| phone.0 < self.fleet.phones) else {
            return no(404, "Not Found");
        };
        if self.fleet.is_secure(PhoneId(phone)) != shown.is_some() {
            // Its security profile names the other port.
            return no(403, "Forbidden (device security mode)");
        }
        // In virtual time one LSC stands for those of many phones: it is the one of the database.
        let is_lsc = |der: &[u8]| {
            let lsc = self.devices.row(PhoneId(phone)).and_then(|row| row.lsc);
            lsc.is_some_and(|lsc| *lsc.der == *der)
        };
        if shown.is_some_and(|shown| !shown.is_of(&contact.device, is_lsc)) {
            return no(403, "Forbidden (certificate of another device)");
        }
        let expires_s = self.settings.expires.as_nanos() / 1_000_000_000;
        let wanted = contact.expires_s.map_or(expires_s, |own| u64::from(own).min(expires_s));
        if wanted == 0 {
            return Registered::Ok { expires_s: 0 };
        }
        match self.admit(now) {
            Ok(()) => Registered::Ok { expires_s: u32::try_from(wanted).unwrap_or(u32::MAX) },
            Err(wait) => {
                let seconds = wait.as_nanos().div_ceil(1_000_000_000).clamp(1, RETRY_AFTER_MAX_S);
                Registered::Later { retry_after_s: seconds as u32 }
            }
        }
    }

    fn admit(&self, now: Time) -> Result<(), Span> {
        let Some(gap) = self.settings.gap() else { return Ok(()) };
        self.gate.lock().unwrap_or_else(PoisonError::into_inner).admit(now, gap)
    }

    /// Whether a peer over TLS is let in with the certificate that it shows (CERT-27, CAPF-10).
    fn judge(&self, certificate: Option<&[u8]>, now: Time) -> Result<(), PeerRefusal> {
        let der = certificate.ok_or(PeerRefusal::Missing)?;
        let certificate = Certificate::from_der(der).map_err(|_| PeerRefusal::Malformed)?;
        let signs = |issuer: &&Certificate| certificate.is_signed_by(issuer);
        let mut issuers = self.trusted.iter().filter(signs).peekable();
        issuers.peek().ok_or(PeerRefusal::UnknownCa)?;
        let date_s = self.calendar.date_s(now);
        let is_in_time =
            certificate.is_valid_at(date_s) && issuers.any(|issuer| issuer.is_valid_at(date_s));
        is_in_time.then_some(()).ok_or(PeerRefusal::Expired)
    }
}

/// What a peer over TLS has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    /// The common name of its certificate.
    name: String,
    /// The certificate (DER).
    der: Arc<[u8]>,
}

impl Shown {
    fn of(peer: &Peer) -> Shown {
        let der = peer.certificate.as_deref().unwrap_or_default();
        let certificate = Certificate::from_der(der).ok();
        let name = certificate.map_or_else(String::new, |shown| shown.common_name().to_owned());
        Shown { name, der: der.into() }
    }

    /// Whether it proves that its owner is this device. MICs have the model before the name.
    fn is_of(&self, device: &str, is_lsc: impl Fn(&[u8]) -> bool) -> bool {
        let own = self.name.rsplit_once('-').map_or(self.name.as_str(), |(_, own)| own);
        own == device || is_lsc(&self.der)
    }
}

/// One port of a CallManager.
#[derive(Debug)]
pub(super) struct Port {
    pub call_manager: Arc<CallManager>,
    pub secure: bool,
}

impl Answering for Port {
    fn judge(&self, certificate: Option<&[u8]>, now: Time) -> Result<(), PeerRefusal> {
        if self.secure { self.call_manager.judge(certificate, now) } else { Ok(()) }
    }

    fn open(self: Arc<Self>, peer: &Peer) -> Box<dyn Conversation> {
        let shown = self.secure.then(|| Shown::of(peer));
        Box::new(Line { port: self, source: peer.address, shown, half_ping: false })
    }
}

/// A connection to a CallManager.
#[derive(Debug)]
struct Line {
    port: Arc<Port>,
    /// The address of the peer, where it has one.
    source: Option<IpAddr>,
    /// What the peer has shown over TLS.
    shown: Option<Shown>,
    /// Whether half of a keep-alive has come.
    half_ping: bool,
}

impl Conversation for Line {
    fn on(&mut self, message: &[u8], now: Time) -> Result<Said, WireError> {
        let is_half = message == PONG;
        if message == PING || (is_half && std::mem::take(&mut self.half_ping)) {
            return Ok(Said::reply(PONG.to_vec(), KEEP_ALIVE));
        }
        self.half_ping = is_half;
        if is_half {
            return Ok(Said::silence());
        }
        let request = SipMessage::parse(message)?;
        let StartLine::Request { method, .. } = request.start else {
            return Err(WireError::new("the start line", 0, "a request"));
        };
        let answer = match method {
            "REGISTER" => match Contact::of(&request) {
                Ok(contact) => self.port.call_manager.register(&contact, self.shown.as_ref(), now),
                Err(_) => Registered::No { status: 400, reason: "Bad Request" },
            },
            "OPTIONS" => Registered::Ok { expires_s: 0 },
            _ => Registered::No { status: 405, reason: "Method Not Allowed" },
        };
        Ok(Said::reply(answer.encode(&request, self.source), REGISTER))
    }
}

/// Places in the questions of the dialogue.
const REGISTER: usize = 0;
const KEEP_ALIVE: usize = 1;
