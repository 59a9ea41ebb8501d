use std::borrow::Cow;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use crate::base::{DeviceName, Span};
use crate::wire::tlv::WireError;

use super::message::{SipMessage, StartLine};

/// What phones of CUCM say that they support.
const SUPPORTED: &str = "replaces,join,sdp-anat,norefersub,resource-priority,extended-refer,\
    X-cisco-callinfo,X-cisco-serviceuri,X-cisco-escapecodes,X-cisco-service-control,\
    X-cisco-srtp-fallback,X-cisco-monrec,X-cisco-config,X-cisco-sis-7.0.0,X-cisco-xsi-8.5.1";

/// A REGISTER as a CUCM phone writes it.
///
/// The phone does not know its own address and port: `Via` and `Contact` have a name below
/// `.invalid` instead, as clients write it that cannot know (RFC 7118 section 5), and `rport`
/// (RFC 3581); the answer comes on the connection of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registration<'a> {
    /// Whom it is for.
    pub server: SocketAddr,
    /// The device.
    pub device: DeviceName,
    /// Its model, such as `8841`.
    pub model: &'a str,
    /// The firmware load that it runs; empty if none is known.
    pub load: &'a str,
    /// Whether the connection is one over TLS.
    pub secure: bool,
    /// Tells this registration from the phone's earlier ones.
    pub number: u32,
    /// How long it is to hold; zero ends it.
    pub expires: Span,
}

/// What a server reads in a REGISTER of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Name of the device as it gives it, such as `SEP0C75BD000001`.
    pub device: String,
    /// How long it wants to be registered, in seconds, if it says so; 0 ends the registration.
    pub expires_s: Option<u32>,
}

/// What a server answers to a REGISTER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// It is registered for so many seconds.
    Ok {
        /// Seconds.
        expires_s: u32,
    },
    /// The server wants nothing of it: a status from 400, with the reason in words.
    No {
        /// From 400 to 699.
        status: u16,
        /// In words.
        reason: &'static str,
    },
    /// The server is full; in so many seconds it may not be.
    Later {
        /// Seconds.
        retry_after_s: u32,
    },
}

/// What a phone reads in the answer to its REGISTER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// `Retry-After` in seconds, if there is one.
    pub retry_after_s: Option<u32>,
    /// For how long it is registered in seconds, if the answer says so.
    pub expires_s: Option<u32>,
}

/// The instance of a device (`+sip.instance`): a UUID of its MAC address, as CUCM phones write it.
pub fn instance_of(device: DeviceName) -> String {
    let mac = device.mac().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    format!("urn:uuid:00000000-0000-0000-0000-{mac}")
}

impl Registration<'_> {
    /// The request as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let Registration { server, device, model, load, secure, number, expires } = *self;
        let transport = if secure { "TLS" } else { "TCP" };
        let (lower, host) = (transport.to_lowercase(), host(server.ip()));
        let expires = expires.as_nanos() / 1_000_000_000;
        let own = format!("{device}.invalid");
        let address = format!("<sip:{device}@{host}>");
        let contact = format!(
            "<sip:{device}@{own};transport={lower}>;+sip.instance=\"<{}>\";\
             +u.sip!devicename.ccm.cisco.com=\"{device}\";+u.sip!model.ccm.cisco.com=\"{model}\"",
            instance_of(device)
        );
        let branch = format!("z9hG4bK{device}{number}");
        let headers = [
            ("Via", format!("SIP/2.0/{transport} {own};branch={branch};rport")),
            ("From", format!("{address};tag={device}{number}")),
            ("To", address),
            ("Call-ID", format!("{number}@{own}")),
            ("Max-Forwards", "70".to_owned()),
            ("CSeq", format!("{number} REGISTER")),
            ("User-Agent", format!("Cisco-CP{model}/{}", version(load))),
            ("Contact", contact),
            ("Supported", SUPPORTED.to_owned()),
            ("Expires", expires.to_string()),
        ];
        let start = StartLine::Request { method: "REGISTER", uri: &format!("sip:{host}") };
        let headers = headers.into_iter().map(|(name, value)| (name.into(), Cow::Owned(value)));
        SipMessage { start, headers: headers.collect(), body: &[] }.encode()
    }
}

/// The version in the name of a load, such as `14-2-1` of `sip8841.14-2-1`.
fn version(load: &str) -> &str {
    let is_plain = load.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    let version = load.split_once('.').map_or(load, |(_, version)| version);
    if version.is_empty() || !is_plain { "0" } else { version }
}

/// A host as URIs have it.
fn host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

impl Contact {
    /// Which device a REGISTER is of.
    ///
    /// # Errors
    /// If it lacks what every request has, or names no device.
    pub fn of(request: &SipMessage<'_>) -> Result<Contact, WireError> {
        let missing = |header| WireError::new("no header", 0, header);
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            request.header(name).ok_or(missing(name))?;
        }
        let contact = request.header("Contact").ok_or(missing("Contact"))?;
        let device = parameter(contact, "+u.sip!devicename.ccm.cisco.com");
        let device = device.filter(|name| !name.is_empty() && name.len() <= 64);
        let device = device.ok_or(missing("a device name in Contact"))?.to_owned();
        let own = parameter(contact, "expires").or(request.header("Expires"));
        let number = |text: &str| text.trim().parse().map_err(|_| missing("Expires in seconds"));
        Ok(Contact { device, expires_s: own.map(number).transpose()? })
    }
}

/// The parameter of a header's value with this name, without its quotes. A URI in angle brackets
/// has parameters of its own.
fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let behind = value.find('>').map_or(value, |end| &value[end + 1..]);
    let mut quoted = false;
    let parts = behind.split(|letter| {
        quoted ^= letter == '"';
        !quoted && (letter == ';' || letter == ',')
    });
    let is_it = |part: &'a str| {
        let (own, value) = part.split_once('=')?;
        own.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    };
    parts.into_iter().find_map(is_it)
}

impl Registered {
    /// The answer to `request`, which came from `source`, as bytes.
    pub fn encode(self, request: &SipMessage<'_>, source: Option<IpAddr>) -> Vec<u8> {
        let (status, reason) = match self {
            Registered::Ok { .. } => (200, "OK"),
            Registered::No { status, reason } => (status, reason),
            Registered::Later { .. } => (503, "Service Unavailable"),
        };
        let mut headers: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
        for (at, via) in request.all("Via").enumerate() {
            // RFC 3261 section 18.2.1: the first one learns where the request came from.
            let received = source.filter(|_| at == 0).map(|ip| format!("{via};received={ip}"));
            headers.push(("Via".into(), received.map_or(Cow::Borrowed(via), Cow::Owned)));
        }
        for name in ["From", "To", "Call-ID", "CSeq"] {
            let Some(value) = request.header(name) else { continue };
            let needs_tag = name == "To" && parameter(value, "tag").is_none();
            let value = if needs_tag { format!("{value};tag=rs").into() } else { value.into() };
            headers.push((name.into(), value));
        }
        match self {
            Registered::Ok { expires_s } => {
                if let Some(contact) = request.header("Contact").filter(|_| expires_s > 0) {
                    let value = format!("{contact};expires={expires_s}");
                    headers.push(("Contact".into(), value.into()));
                }
                headers.push(("Expires".into(), expires_s.to_string().into()));
            }
            Registered::Later { retry_after_s } => {
                headers.push(("Retry-After".into(), retry_after_s.to_string().into()));
            }
            Registered::No { .. } => {}
        }
        SipMessage { start: StartLine::Response { status, reason }, headers, body: &[] }.encode()
    }
}

/// Reads the answer to the REGISTER with this number.
///
/// # Errors
/// If it is no response, or to another request.
pub fn parse_answer(bytes: &[u8], number: u32) -> Result<Answered, WireError> {
    let message = SipMessage::parse(bytes)?;
    let StartLine::Response { status, .. } = message.start else {
        return Err(WireError::new("the start line", 0, "a response"));
    };
    let cseq = message.header("CSeq").unwrap_or_default();
    if cseq != format!("{number} REGISTER") {
        return Err(WireError::new("CSeq", 0, "that of the request"));
    }
    let seconds = |text: &str| {
        // A comment and parameters may follow (RFC 3261 section 20.33).
        text.split([';', '(', ' ']).next()?.trim().parse().ok()
    };
    let contact = message.header("Contact").and_then(|contact| parameter(contact, "expires"));
    Ok(Answered {
        status,
        retry_after_s: message.header("Retry-After").and_then(seconds),
        expires_s: contact.or(message.header("Expires")).and_then(seconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::PhoneId;

    fn registration() -> Registration<'static> {
        Registration {
            server: ([127, 0, 0, 2], 5060).into(),
            device: DeviceName::of_phone(PhoneId(7)),
            model: "8841",
            load: "sip8841.14-2-1-0001-125",
            secure: false,
            number: 1_003,
            expires: Span::from_secs(3_600),
        }
    }

    #[test]
    fn a_registration_names_its_device_and_instance() {
        let bytes = registration().encode();
        let message = SipMessage::parse(&bytes).unwrap();
        let contact = Contact::of(&message).unwrap();
        assert_eq!(contact.device, "SEP0C75BD000007");
        assert_eq!(contact.expires_s, Some(3_600));
        let text = String::from_utf8(bytes.clone()).unwrap();
        for part in [
            "REGISTER sip:127.0.0.2 SIP/2.0\r\n",
            "+sip.instance=\"<urn:uuid:00000000-0000-0000-0000-0c75bd000007>\"",
            "User-Agent: Cisco-CP8841/14-2-1-0001-125\r\n",
            "Supported: replaces,join,sdp-anat,norefersub,resource-priority,extended-refer,",
            "CSeq: 1003 REGISTER\r\n",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn answers_go_back_to_their_request() {
        let bytes = registration().encode();
        let request = SipMessage::parse(&bytes).unwrap();
        let source = Some([127, 1, 0, 7].into());
        let cases = [
            (Registered::Ok { expires_s: 120 }, (200, None, Some(120))),
            (Registered::Later { retry_after_s: 9 }, (503, Some(9), None)),
            (Registered::No { status: 404, reason: "Not Found" }, (404, None, None)),
        ];
        for (answer, (status, retry_after_s, expires_s)) in cases {
            let bytes = answer.encode(&request, source);
            let expected = Answered { status, retry_after_s, expires_s };
            assert_eq!(parse_answer(&bytes, 1_003), Ok(expected));
            assert!(parse_answer(&bytes, 1_004).is_err(), "another request");
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.contains(";rport;received=127.1.0.7\r\n"), "{text}");
            assert!(text.contains("To: <sip:SEP0C75BD000007@127.0.0.2>;tag=rs\r\n"), "{text}");
        }
    }

    #[test]
    fn parameters_are_those_of_the_header_and_not_of_the_uri() {
        let value = "<sip:a@b;expires=1>;+sip.instance=\"<urn:x;expires=2>\";Expires=3";
        assert_eq!(parameter(value, "expires"), Some("3"));
        assert_eq!(parameter("<sip:a@b>", "tag"), None);
        assert_eq!(parameter("sip:a@b;tag=1", "tag"), Some("1"));
    }

    #[test]
    fn a_registration_without_a_device_is_none() {
        let bytes = registration().encode();
        let text = String::from_utf8(bytes).unwrap();
        for (from, to) in [
            ("devicename", "x"),
            ("=\"SEP0C75BD000007\"", "=\"\""),
            ("Expires: 3600", "Expires: soon"),
            ("Call-ID", "X-Call-ID"),
        ] {
            let text = text.replace(from, to);
            assert!(Contact::of(&SipMessage::parse(text.as_bytes()).unwrap()).is_err(), "{from}");
        }
    }
}
