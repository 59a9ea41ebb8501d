use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use crate::base::{DeviceName, Span};
use crate::crypto::{DeviceIdentity, mic};
use crate::measure::LoadFault;
use crate::net::TlsClients;
use crate::net::fleet::connect_from;
use crate::phone::manufacturer;
use crate::toolbox::ServerPin;
use crate::wire::Dialogue;
use crate::wire::sip::{Registration, parse_answer};

use super::faults::{fault_of, fault_of_tls};
use super::workload::{Device, Failure, Got};

/// A registrar that is loaded.
#[derive(Clone, Debug)]
pub struct SipTarget {
    /// Where it listens.
    pub address: SocketAddr,
    /// Who it must be, over TLS; `None` asks over TCP.
    pub pin: Option<ServerPin>,
    /// For how long phones ask to be registered.
    pub expires: Span,
    /// How many requests were made: no two have the same number.
    number: Arc<AtomicU32>,
    /// The certificates of phones, which take a while to make.
    made: Arc<Mutex<BTreeMap<DeviceName, Arc<DeviceIdentity>>>>,
}

/// Answers that say that the request is under way, at most (choice).
const PROVISIONAL_MAX: usize = 8;

impl SipTarget {
    /// A registrar at this address, over TLS if there is a pin.
    pub fn new(address: SocketAddr, pin: Option<ServerPin>, expires: Span) -> SipTarget {
        SipTarget { address, pin, expires, number: Arc::default(), made: Arc::default() }
    }

    /// Makes what the phones show over TLS, so that nothing of it is left to do under load: 0.6 ms
    /// of a core each, on the cores that there are. Over TCP they show nothing.
    pub(super) fn make(&self, devices: &[Device]) {
        if self.pin.is_some() {
            let own = |device: &Device| Some((device.name, identity(device)?));
            let made: Vec<_> = devices.par_iter().filter_map(own).collect();
            self.made.lock().unwrap_or_else(PoisonError::into_inner).extend(made);
        }
    }

    /// What a phone shows over TLS: the certificate of its manufacturer, if it is one of ours.
    fn shows(&self, device: &Device) -> Option<Arc<DeviceIdentity>> {
        let made = || self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let known = made().get(&device.name).cloned();
        known.or_else(|| {
            let own = identity(device)?;
            made().insert(device.name, Arc::clone(&own));
            Some(own)
        })
    }
}

fn identity(device: &Device) -> Option<Arc<DeviceIdentity>> {
    let (phone, model) = (device.name.phone()?, device.model.parse().ok()?);
    let (certificate, key) = mic(phone, model, manufacturer(phone, &model)?);
    Some(Arc::new(DeviceIdentity { certificate, key }))
}

/// One registration on a connection of its own, as a phone asks for it.
pub(super) async fn register(
    tls: &TlsClients,
    sip: &SipTarget,
    device: &Device,
    source: Option<Ipv4Addr>,
) -> Result<Got, Failure> {
    let number = sip.number.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    let secure = sip.pin.is_some();
    let registration = Registration {
        server: sip.address,
        device: device.name,
        model: &device.model,
        load: "",
        secure,
        number,
        expires: sip.expires,
    };
    let own = if secure { sip.shows(device) } else { None };
    let connected = connect_from(sip.address, source).await;
    let stream = connected.map_err(|error| fault_of(&error))?;
    let judge = {
        let pin = sip.pin.clone();
        Box::new(move |der: &[u8]| pin.as_ref().is_some_and(|pin| pin.admits(der)))
    };
    let dialogue = if secure { Dialogue::Sips } else { Dialogue::Sip };
    let talk = tls.talk(stream, judge, own.as_deref(), dialogue.rules()).await;
    let mut talk = talk.map_err(|fault| fault_of_tls(&fault))?;
    let mut bytes = registration.encode();
    for _ in 0..=PROVISIONAL_MAX {
        let heard = talk.say(&bytes).await.map_err(|fault| fault_of_tls(&fault))?;
        let answer = parse_answer(&heard, number).map_err(|error| Failure {
            fault: LoadFault::Protocol,
            said: Some(error.to_string()),
        })?;
        match answer.status {
            // It is under way: the next word of the registrar counts.
            100..=199 => bytes.clear(),
            200..=299 => {
                talk.close().await;
                return Ok(Got::Registered);
            }
            503 => return Err(LoadFault::Postponed.into()),
            status => {
                let said = Some(format!("registration of {}: {status}", device.name));
                return Err(Failure { fault: LoadFault::TurnedAway, said });
            }
        }
    }
    Err(LoadFault::Protocol.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_phones_show_is_made_before_the_load_and_not_again_under_it() {
        let device = |name: &str| Device { name: name.parse().unwrap(), model: "8841".to_owned() };
        let address = SocketAddr::from(([127, 0, 0, 1], 5061));
        let devices = ["SEP0C75BD000000", "SEP0C75BD000001", "SEP001122334455"].map(device);
        let tls = SipTarget::new(address, Some(ServerPin::Anybody), Span::from_secs(60));
        tls.make(&devices);
        let made = tls.made.lock().unwrap().clone();
        assert_eq!(made.len(), 2, "nobody has the key of a phone of others");
        for device in &devices[..2] {
            let shown = tls.shows(device).unwrap();
            assert!(Arc::ptr_eq(&shown, &made[&device.name]));
            let name = format!("CP-8841-{}", device.name);
            assert_eq!(shown.certificate.common_name(), name);
        }
        assert!(tls.shows(&devices[2]).is_none());
        let tcp = SipTarget::new(address, None, Span::from_secs(60));
        tcp.make(&devices);
        assert!(tcp.made.lock().unwrap().is_empty());
    }
}
