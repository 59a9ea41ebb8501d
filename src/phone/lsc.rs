use std::sync::Arc;

use crate::base::{Model, PhoneId};
use crate::crypto::{Certificate, DeviceKey, KeySpec, Manufacturer, mic, pooled_key};
use crate::wire::capf::{Message, tag};
use crate::wire::{AuthMode, Element};

/// The LSC of a phone and where its key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldLsc {
    /// The certificate, shared by phones with the same bytes.
    pub certificate: Arc<Certificate>,
    /// Of which kind its key is.
    pub spec: KeySpec,
    /// The number of its key in the pool.
    pub number: u8,
}

/// A certificate that a phone can show, and the key that proves it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The certificate.
    pub certificate: Certificate,
    /// Its key.
    pub key: DeviceKey,
    /// Whether CAPF issued it, or else the manufacturer.
    pub is_lsc: bool,
}

/// Which certificate comes first where a phone has both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precedence {
    /// The LSC.
    Lsc,
    /// The MIC.
    Mic,
}

impl Precedence {
    /// That of an authentication mode by certificate.
    pub const fn of(mode: AuthMode) -> Precedence {
        match mode {
            AuthMode::Mic => Precedence::Mic,
            _ => Precedence::Lsc,
        }
    }
}

impl HeldLsc {
    /// Its key.
    pub fn key(&self) -> Option<&'static DeviceKey> {
        pooled_key(self.spec, usize::from(self.number))
    }
}

/// What a phone shows of what it has; nothing if it has neither.
pub fn shown(
    lsc: Option<&HeldLsc>,
    phone: PhoneId,
    model: Model,
    precedence: Precedence,
) -> Option<Shown> {
    let of_lsc = || {
        let held = lsc?;
        let (certificate, key) = (Certificate::clone(&held.certificate), held.key()?.clone());
        Some(Shown { certificate, key, is_lsc: true })
    };
    let of_mic = || {
        let (certificate, key) = mic(phone, model, manufacturer(phone, &model)?);
        Some(Shown { certificate, key, is_lsc: false })
    };
    match precedence {
        Precedence::Lsc => of_lsc().or_else(of_mic),
        Precedence::Mic => of_mic().or_else(of_lsc),
    }
}

/// Which pair of keys CAPF asks for in a key generate request; `None` if there is no such kind.
pub fn asked_key(message: &Message<'_>) -> Option<KeySpec> {
    let byte = |element: &Element<'_>| element.value.first().copied();
    let kind = message.find(tag::KEY_TYPE).map_or(Some(0), byte)?;
    match kind {
        0 => {
            let size = message.find(tag::KEY_SIZE)?.fixed::<2>().ok()?;
            let bits = u16::from_be_bytes(size);
            [512, 1_024, 2_048, 3_072, 4_096].contains(&bits).then_some(KeySpec::Rsa(bits))
        }
        1 => match message.find(tag::CURVE).and_then(byte)? {
            0 => Some(KeySpec::Ec(256)),
            1 => Some(KeySpec::Ec(384)),
            2 => Some(KeySpec::Ec(521)),
            _ => None,
        },
        _ => None,
    }
}

/// Who has signed the MIC of a phone (CAPF-03); soft phones have none (CAPF-04).
pub fn manufacturer(PhoneId(phone): PhoneId, model: &Model) -> Option<Manufacturer> {
    const SOFT: [&str; 5] = ["CIPC", "JABBER", "CSF", "TCT", "BOT"];
    let short = model.short().to_ascii_uppercase();
    if SOFT.iter().any(|soft| short.starts_with(soft)) {
        return None;
    }
    Some(match model.digits() {
        // Which models have which is a guess.
        Some("7940" | "7960") if phone.is_multiple_of(2) => Manufacturer::CapRtp001,
        Some("7940" | "7960") => Manufacturer::CapRtp002,
        Some(digits) if digits.starts_with("79") => Manufacturer::ManufacturingCa,
        _ => Manufacturer::ManufacturingCaSha2,
    })
}

/// What a phone and its status messages say of an enrolment when it has ended
/// (`spec/capf.md`, What the phone shows).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LscEnd {
    /// No list names a CAPF, or the configuration does not.
    NoServer,
    /// CAPF was not reached, or is another one than that of the lists, or hung up.
    ConnectionFailed(Unreached),
    /// CAPF has refused.
    Failed,
    /// A new LSC is stored.
    Installed,
    /// The LSC is deleted.
    Deleted,
    /// The LSC was shown.
    Fetched,
    /// CAPF had nothing to do for the phone.
    NothingToDo,
}

/// Why CAPF was not reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unreached {
    /// Its certificate is not that of the lists.
    Certificate,
    /// Its name has no address.
    Name,
    /// Nobody answers, or the connection has ended too soon.
    Connection,
    /// It has said what breaks the rules.
    Answer,
    /// It was busy too often.
    Busy,
}

impl LscEnd {
    /// The status message of the phone; empty if there is none.
    pub const fn text(self) -> &'static str {
        match self {
            LscEnd::NoServer => "No valid CAPF server",
            LscEnd::ConnectionFailed(_) => "LSC: Connection Failed",
            LscEnd::Failed => "LSC: Failed",
            // The wording of this one is not documented.
            LscEnd::Installed => "LSC: Installed",
            LscEnd::Deleted => "LSC: Not Installed",
            LscEnd::Fetched | LscEnd::NothingToDo => "",
        }
    }

    /// The lines of the console log, which spells one text in another way.
    pub const fn log(self) -> &'static [&'static str] {
        match self {
            LscEnd::ConnectionFailed(Unreached::Name) => &[
                "Sec create BIO - invalid parameter.",
                "CAPF operation failed, ret -7",
                "LSC: Connection failed",
            ],
            LscEnd::ConnectionFailed(_) => &["LSC: Connection failed"],
            _ => &[],
        }
    }

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            LscEnd::NoServer => "no-server",
            LscEnd::ConnectionFailed(_) => "connection-failed",
            LscEnd::Failed => "failed",
            LscEnd::Installed => "installed",
            LscEnd::Deleted => "deleted",
            LscEnd::Fetched => "fetched",
            LscEnd::NothingToDo => "nothing-to-do",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_and_the_status_message_spell_one_text_differently() {
        let failed = LscEnd::ConnectionFailed(Unreached::Name);
        assert_eq!(failed.text(), "LSC: Connection Failed");
        assert_eq!(failed.log()[1..], ["CAPF operation failed, ret -7", "LSC: Connection failed"]);
        assert_eq!(LscEnd::NoServer.text(), "No valid CAPF server");
    }

    #[test]
    fn soft_phones_have_no_mic_and_old_ones_have_old_issuers() {
        let by = |model: &str, phone| manufacturer(PhoneId(phone), &model.parse().unwrap());
        for soft in ["CIPC", "Jabber"] {
            assert_eq!(by(soft, 1), None);
            let model = soft.parse().unwrap();
            assert!(shown(None, PhoneId(1), model, Precedence::Mic).is_none());
        }
        let all = [("7960", 0), ("7960", 1), ("7962", 0), ("8861", 0)];
        let all: Vec<_> = all.map(|(model, phone)| by(model, phone).unwrap()).into();
        let expected = [
            Manufacturer::CapRtp001,
            Manufacturer::CapRtp002,
            Manufacturer::ManufacturingCa,
            Manufacturer::ManufacturingCaSha2,
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn the_lsc_comes_before_the_mic_or_behind_it() {
        let (phone, model) = (PhoneId(3), Model::from(8861));
        let (certificate, _) = mic(phone, 8861.into(), Manufacturer::CapRtp001);
        let lsc = HeldLsc { certificate: Arc::new(certificate), spec: KeySpec::Ec(256), number: 1 };
        let is_lsc = |lsc, order| shown(lsc, phone, model, order).unwrap().is_lsc;
        assert!(is_lsc(Some(&lsc), Precedence::Lsc) && !is_lsc(Some(&lsc), Precedence::Mic));
        assert!(!is_lsc(None, Precedence::Lsc));
    }
}
