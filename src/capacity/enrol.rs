use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::{DeviceName, Span};
use crate::crypto::{Certificate, DeviceKey, POOL, pooled_key};
use crate::measure::LoadFault;
use crate::net::TlsClients;
use crate::net::fleet::connect_from;
use crate::phone::asked_key;
use crate::toolbox::ServerPin;
use crate::wire::Dialogue;
use crate::wire::capf::{Command, Message, reason, tag};

use super::faults::{fault_of, fault_of_tls};
use super::workload::{Caller, Failure, Got};

/// CAPF that is loaded, and how phones enrol there.
#[derive(Clone, Debug)]
pub struct CapfTarget {
    /// Where it listens.
    pub address: SocketAddr,
    /// Who it must be.
    pub pin: ServerPin,
    /// How long each phone takes for its key.
    pub key_time: Span,
    /// Authentication string of every phone; empty is a null string.
    pub string: String,
    /// Who may sign LSCs besides the certificate that CAPF shows: its CA, or another one that CAPF
    /// asks to.
    pub issuers: Arc<[Certificate]>,
}

/// One enrolment at CAPF: the session as a phone has it, and the LSC judged.
pub(super) async fn enrol(
    tls: &TlsClients,
    capf: &CapfTarget,
    caller: Caller,
    source: Option<Ipv4Addr>,
) -> Result<Got, Failure> {
    let (name, is_known) = match caller {
        Caller::Phone(name) => (name, true),
        // A locally administered address, which no phone has.
        Caller::Stranger => (DeviceName::of_mac([2, 0, 0, 0, 0, 0]), false),
        Caller::Nobody => return Err(LoadFault::NoPhone.into()),
    };
    let connected = connect_from(capf.address, source).await;
    let stream = connected.map_err(|error| fault_of(&error))?;
    let shown: Arc<Mutex<Option<Vec<u8>>>> = Arc::default();
    let judge = {
        let (pin, shown) = (capf.pin.clone(), Arc::clone(&shown));
        Box::new(move |der: &[u8]| {
            *shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(der.to_vec());
            pin.admits(der)
        })
    };
    let talk = tls.talk(stream, judge, None, Dialogue::Capf.rules()).await;
    let mut talk = talk.map_err(|fault| fault_of_tls(&fault))?;
    let shown = shown.lock().unwrap_or_else(PoisonError::into_inner).take();
    let shown = shown.and_then(|der| Certificate::from_der(&der).ok());
    let issuers = shown.into_iter().chain(capf.issuers.iter().cloned()).collect();
    let mut session = Session {
        name,
        string: &capf.string,
        is_known,
        issuers,
        id: 0,
        said: Said::Nothing,
        unchecked: None,
    };
    let mut bytes = Vec::new();
    loop {
        let heard = talk.say(&bytes).await.map_err(|fault| fault_of_tls(&fault))?;
        match session.on(&heard)? {
            Next::Say(next) => bytes = next,
            Next::SayWithKey(next) => {
                tokio::time::sleep(capf.key_time.as_duration()).await;
                bytes = next;
            }
            Next::Over => {
                talk.close().await;
                return Ok(Got::Enrolled(session.unchecked));
            }
        }
    }
}

/// A session at CAPF without I/O.
struct Session<'a> {
    name: DeviceName,
    string: &'a str,
    is_known: bool,
    /// Those whose signature makes a certificate an LSC.
    issuers: Vec<Certificate>,
    id: u32,
    said: Said,
    /// What was missing to judge the signature of the LSC.
    unchecked: Option<String>,
}

/// What the phone has said last.
#[derive(Clone, Copy)]
enum Said {
    Nothing,
    Identity,
    Key(&'static DeviceKey),
    Stored,
}

/// What the phone does next.
enum Next {
    Say(Vec<u8>),
    /// Makes its key before it says this.
    SayWithKey(Vec<u8>),
    Over,
}

impl Session<'_> {
    fn on(&mut self, heard: &[u8]) -> Result<Next, Failure> {
        let broken = |said: String| Failure { fault: LoadFault::Protocol, said: Some(said) };
        let message = Message::parse(heard).map_err(|error| broken(error.to_string()))?;
        if matches!(self.said, Said::Nothing) {
            self.id = message.session_id;
        }
        if message.session_id != self.id {
            return Err(broken("another session".to_owned()));
        }
        match (message.command, self.said) {
            (Command::AuthRequest, Said::Nothing) => Ok(self.introduce()),
            (Command::KeyGenerateRequest, Said::Identity) => self.make_key(&message),
            (Command::StoreCertificateRequest, Said::Key(key)) => self.store(&message, key),
            // It is there and busy, which is all that a stranger asks.
            (Command::RetryLater | Command::EndSession, _) if !self.is_known => Ok(Next::Over),
            (Command::RetryLater, _) => Err(LoadFault::Postponed.into()),
            (Command::EndSession, said) => end(said, message.reason()),
            (command, _) => Err(broken(format!("{} out of turn", command.name()))),
        }
    }

    fn introduce(&mut self) -> Next {
        let name = [self.name.to_string().as_bytes(), b"\0"].concat();
        let string = [self.string.as_bytes(), b"\0"].concat();
        let answer = Message::new(Command::AuthResponse, self.id)
            .with(tag::REASON, &[reason::DONE])
            .with(tag::VERSION, &[3])
            .with(tag::PASSWORD, &string)
            .with(tag::DEVICE_NAME, &name);
        self.said = Said::Identity;
        Next::Say(answer.encode())
    }

    /// Takes a key of the pool: its time is that of the target, not of this host.
    fn make_key(&mut self, message: &Message<'_>) -> Result<Next, Failure> {
        let [.., number] = self.name.mac();
        let key = asked_key(message).and_then(|spec| pooled_key(spec, usize::from(number) % POOL));
        let Some(key) = key else {
            let said = Some("asks for a kind of key that phones here do not make".to_owned());
            return Err(Failure { fault: LoadFault::Protocol, said });
        };
        self.said = Said::Key(key);
        let answer = Message::new(Command::KeyGenerateResponse, self.id);
        Ok(Next::SayWithKey(answer.with(tag::PUBLIC_KEY, &key.public_key_info()).encode()))
    }

    /// Stores the LSC if it is one: of the phone's own key and name, and signed.
    fn store(&mut self, message: &Message<'_>, key: &DeviceKey) -> Result<Next, Failure> {
        let wrong = |how: &str| {
            let said = Some(format!("enrolment of {}: {how}", self.name));
            Err(Failure { fault: LoadFault::WrongAnswer, said })
        };
        let der = message.certificate().ok().flatten();
        let Some(lsc) = der.and_then(|der| Certificate::from_der(der).ok()) else {
            return wrong("no certificate in the message that asks to store one");
        };
        if lsc.public_key() != key.public_key() {
            return wrong("the LSC is of another key");
        }
        if !lsc.names_device(&self.name.to_string()) {
            return wrong("the LSC is of another device");
        }
        match is_signed(&lsc, &self.issuers) {
            Ok(true) => {}
            Ok(false) => return wrong("the LSC has no good signature of its issuer"),
            Err(missing) => self.unchecked = Some(missing),
        }
        self.said = Said::Stored;
        let answer = Message::new(Command::StoreCertificateResponse, self.id);
        Ok(Next::Say(answer.with(tag::REASON, &[reason::DONE]).encode()))
    }
}

/// Whether one of the issuers has signed an LSC, or what is missing to say so.
fn is_signed(lsc: &Certificate, issuers: &[Certificate]) -> Result<bool, String> {
    /// Characters of a name that are shown, at most (choice).
    const NAME_MAX: usize = 100;
    let named: Vec<&Certificate> =
        issuers.iter().filter(|issuer| lsc.was_issued_by(issuer)).collect();
    let judged: Vec<Option<bool>> =
        named.iter().map(|issuer| lsc.has_signature_of(issuer)).collect();
    let name = || lsc.issuer().escape_debug().take(NAME_MAX).collect::<String>();
    if judged.contains(&Some(true)) {
        Ok(true)
    } else if judged.is_empty() {
        Err(format!("the certificate of their issuer, {}, is not in --certificate", name()))
    } else if judged.contains(&None) {
        Err(format!("{} signs in a way that is not read here", name()))
    } else {
        Ok(false)
    }
}

/// CAPF has ended the session of a phone.
fn end(said: Said, why: Option<u8>) -> Result<Next, Failure> {
    let told = |fault, said: String| Err(Failure { fault, said: Some(said) });
    match (said, why) {
        (Said::Stored, Some(reason::DONE)) => Ok(Next::Over),
        (_, Some(reason::NO_ACTION)) => {
            told(LoadFault::NoPhone, "nothing is to be done for this phone".to_owned())
        }
        (_, Some(reason::UNKNOWN_DEVICE)) => {
            told(LoadFault::NoPhone, "this device is unknown".to_owned())
        }
        (_, Some(why)) => told(LoadFault::TurnedAway, format!("end of session, reason {why}")),
        (_, None) => told(LoadFault::TurnedAway, "end of session without a reason".to_owned()),
    }
}
