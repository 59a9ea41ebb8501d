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
    let issuer = shown.and_then(|der| Certificate::from_der(&der).ok());
    let mut session =
        Session { name, string: &capf.string, is_known, issuer, id: 0, said: Said::Nothing };
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
                return Ok(Got::Enrolled);
            }
        }
    }
}

/// A session at CAPF without I/O.
struct Session<'a> {
    name: DeviceName,
    string: &'a str,
    is_known: bool,
    /// The certificate of CAPF.
    issuer: Option<Certificate>,
    id: u32,
    said: Said,
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
        // What another CA has issued is told by its name, and cannot be checked here.
        let issuer = self.issuer.as_ref().filter(|issuer| lsc.was_issued_by(issuer));
        if issuer.is_some_and(|issuer| !lsc.is_signed_by(issuer)) {
            return wrong("the LSC has no good signature of CAPF");
        }
        self.said = Said::Stored;
        let answer = Message::new(Command::StoreCertificateResponse, self.id);
        Ok(Next::Say(answer.with(tag::REASON, &[reason::DONE]).encode()))
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
