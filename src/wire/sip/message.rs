use std::borrow::Cow;

use crate::wire::framing::Framing;
use crate::wire::tlv::WireError;

use super::MESSAGE_MAX;

/// Longest head of a message in bytes, start line and headers.
const HEAD_MAX: usize = 8 * 1_024;
/// Most headers of a message.
const HEADERS_MAX: usize = 64;

/// A request or a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SipMessage<'a> {
    /// Its first line.
    pub start: StartLine<'a>,
    /// Headers in their order: full name as the standard writes it where it is known, and value
    /// without folds; `Content-Length` is not among them.
    pub headers: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// The body.
    pub body: &'a [u8],
}

/// The first line of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartLine<'a> {
    /// Of a request.
    Request {
        /// Such as `REGISTER`.
        method: &'a str,
        /// Whom it is for.
        uri: &'a str,
    },
    /// Of a response.
    Response {
        /// From 100 to 699.
        status: u16,
        /// In words.
        reason: &'a str,
    },
}

/// Compact names of headers (RFC 3261 section 7.3.3, RFC 3265, RFC 3515, RFC 3892).
const COMPACT: [(&str, &str); 14] = [
    ("i", "Call-ID"),
    ("m", "Contact"),
    ("e", "Content-Encoding"),
    ("l", "Content-Length"),
    ("c", "Content-Type"),
    ("f", "From"),
    ("s", "Subject"),
    ("k", "Supported"),
    ("t", "To"),
    ("v", "Via"),
    ("o", "Event"),
    ("u", "Allow-Events"),
    ("r", "Refer-To"),
    ("b", "Referred-By"),
];

/// How far the first message in these bytes is, keep-alives included. The head must end within
/// 8 KiB, the whole within [`MESSAGE_MAX`].
///
/// # Errors
/// If they are not the beginning of a message.
pub fn frame(bytes: &[u8]) -> Result<Framing, WireError> {
    if let Some(rest) = bytes.strip_prefix(b"\r\n") {
        return Ok(Framing::Whole(if rest.starts_with(b"\r\n") { 4 } else { 2 }));
    }
    if let Some(&first) = bytes.first()
        && !(first.is_ascii_graphic() || first == b'\r')
    {
        return Err(WireError::new("no SIP", 0, "a start line"));
    }
    let looked_at = &bytes[..bytes.len().min(HEAD_MAX)];
    let Some(at) = find(looked_at, b"\r\n\r\n") else {
        return if bytes.len() >= HEAD_MAX {
            Err(WireError::new("the head is too long", HEAD_MAX, "an empty line before"))
        } else {
            Ok(Framing::More(1))
        };
    };
    let head = text(&bytes[..at + 2])?;
    let length = at + 4 + content_length(head)?;
    if length > MESSAGE_MAX {
        return Err(WireError::new("the message is too long", at + 4, "at most 16 KiB"));
    }
    Ok(match length.checked_sub(bytes.len()) {
        None | Some(0) => Framing::Whole(length),
        Some(missing) => Framing::More(missing),
    })
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn text(bytes: &[u8]) -> Result<&str, WireError> {
    std::str::from_utf8(bytes)
        .map_err(|error| WireError::new("text is not UTF-8", error.valid_up_to(), "UTF-8"))
}

/// The length that a head announces; none without a header that does.
fn content_length(head: &str) -> Result<usize, WireError> {
    let (mut found, mut at) = (None, 0);
    for line in head.split_inclusive("\r\n").skip(1) {
        let offset = at + head.find("\r\n").unwrap_or(0) + 2;
        at += line.len();
        let Some((name, value)) = line.split_once(':') else { continue };
        if full_name(name.trim_end()) != "Content-Length" || line.starts_with([' ', '\t']) {
            continue;
        }
        let value = value.trim();
        let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        let length = value.parse().ok().filter(|_| digits);
        let length = length.ok_or(WireError::new("Content-Length", offset, "a number"))?;
        if found.replace(length).is_some_and(|before: usize| before != length) {
            return Err(WireError::new("Content-Length", offset, "the same length as before"));
        }
    }
    Ok(found.unwrap_or(0))
}

/// The name of a header as the standard writes it, if it is one of those that are looked at.
fn full_name(name: &str) -> &str {
    const KNOWN: [&str; 8] = [
        "CSeq",
        "Expires",
        "Max-Forwards",
        "Require",
        "Retry-After",
        "User-Agent",
        "Warning",
        "WWW-Authenticate",
    ];
    let compact = COMPACT.iter().find(|(short, _)| short.eq_ignore_ascii_case(name));
    if let Some(&(_, full)) = compact {
        return full;
    }
    let full = COMPACT.iter().map(|&(_, full)| full).chain(KNOWN);
    full.into_iter().find(|full| full.eq_ignore_ascii_case(name)).unwrap_or(name)
}

/// Whether every byte may stand in a token (RFC 3261 section 25.1).
fn is_token(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte);
    !text.is_empty() && text.bytes().all(fits)
}

impl<'a> SipMessage<'a> {
    /// Reads one whole message.
    ///
    /// # Errors
    /// What is wrong, where, and what should be there.
    pub fn parse(bytes: &'a [u8]) -> Result<SipMessage<'a>, WireError> {
        let end = find(&bytes[..bytes.len().min(HEAD_MAX)], b"\r\n\r\n");
        let end = end.ok_or(WireError::new("no end of the head", bytes.len(), "an empty line"))?;
        let head = text(&bytes[..end + 2])?;
        let body = &bytes[end + 4..];
        if content_length(head)? != body.len() {
            return Err(WireError::new(
                "the body",
                end + 4,
                "as many bytes as Content-Length says",
            ));
        }
        let (first, rest) = head.split_once("\r\n").expect("the head ends with a line");
        let start = StartLine::parse(first)?;
        let headers = headers(rest, first.len() + 2)?;
        Ok(SipMessage { start, headers, body })
    }

    /// The first value of a header by its full name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a header by its full name.
    pub fn all<'s>(&'s self, name: &str) -> impl Iterator<Item = &'s str> {
        let fits = move |(own, value): &'s (Cow<'a, str>, Cow<'a, str>)| {
            own.eq_ignore_ascii_case(name).then_some(&**value)
        };
        self.headers.iter().filter_map(fits)
    }

    /// The message as bytes, with its `Content-Length`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = match self.start {
            StartLine::Request { method, uri } => format!("{method} {uri} SIP/2.0\r\n"),
            StartLine::Response { status, reason } => format!("SIP/2.0 {status} {reason}\r\n"),
        };
        for (name, value) in &self.headers {
            out.extend([name, ": ", value, "\r\n"]);
        }
        out += &format!("Content-Length: {}\r\n\r\n", self.body.len());
        [out.as_bytes(), self.body].concat()
    }
}

impl<'a> StartLine<'a> {
    fn parse(line: &'a str) -> Result<StartLine<'a>, WireError> {
        let fault = |offset, expected| WireError::new("the start line", offset, expected);
        if let Some(rest) = line.strip_prefix("SIP/2.0 ") {
            let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
            let is_number = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
            let status = status.parse().ok().filter(|status| is_number && *status >= 100);
            let status = status.filter(|status| *status < 700);
            let status = status.ok_or(fault(8, "a status from 100 to 699"))?;
            return Ok(StartLine::Response { status, reason });
        }
        let (method, rest) = line.split_once(' ').ok_or(fault(0, "a method and a URI"))?;
        if !is_token(method) {
            return Err(fault(0, "a method"));
        }
        let at = method.len() + 1;
        let (uri, version) = rest.split_once(' ').ok_or(fault(at, "a URI and a version"))?;
        if uri.is_empty() {
            return Err(fault(at, "a URI"));
        }
        if version != "SIP/2.0" {
            return Err(fault(at + uri.len() + 1, "SIP/2.0"));
        }
        Ok(StartLine::Request { method, uri })
    }
}

type Headers<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// The headers in these lines, of which the first begins at `offset`.
fn headers(lines: &str, mut offset: usize) -> Result<Headers<'_>, WireError> {
    let mut headers: Headers<'_> = Vec::new();
    for line in lines.split_terminator("\r\n") {
        let fault = |expected| WireError::new("a header", offset, expected);
        if line.starts_with([' ', '\t']) {
            let (_, value) = headers.last_mut().ok_or(fault("a name"))?;
            let value = value.to_mut();
            if !value.is_empty() && !line.trim().is_empty() {
                value.push(' ');
            }
            value.push_str(line.trim());
        } else {
            let (name, value) = line.split_once(':').ok_or(fault("a name and a colon"))?;
            let name = name.trim_end();
            if !is_token(name) {
                return Err(fault("a name"));
            }
            if headers.len() == HEADERS_MAX {
                return Err(fault("at most 64 headers"));
            }
            headers.push((full_name(name).into(), value.trim().into()));
        }
        offset += line.len() + 2;
    }
    if headers.iter().any(|(_, value)| value.contains(['\r', '\n', '\0'])) {
        return Err(WireError::new("a header", offset, "no line breaks but CR LF"));
    }
    headers.retain(|(name, _)| name != "Content-Length");
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REGISTER: &[u8] = b"REGISTER sip:127.0.0.1 SIP/2.0\r\n\
        v: SIP/2.0/TCP a.invalid;branch=z9hG4bK1\r\nf: <sip:a@b>;tag=1\r\nTO:\r\n <sip:a@b>\r\n\
        i: 1@a\r\nCSeq: 101\r\n\tREGISTER\r\nl: 4\r\n\r\nbody";

    #[test]
    fn compact_names_and_folded_lines_are_read() {
        let message = SipMessage::parse(REGISTER).unwrap();
        assert_eq!(message.start, StartLine::Request { method: "REGISTER", uri: "sip:127.0.0.1" });
        assert_eq!(message.header("From"), Some("<sip:a@b>;tag=1"));
        assert_eq!(message.header("to"), Some("<sip:a@b>"));
        assert_eq!(message.header("CSeq"), Some("101 REGISTER"));
        assert_eq!((message.header("Content-Length"), message.body), (None, &b"body"[..]));
    }

    #[test]
    fn a_message_is_framed_by_its_length_and_keep_alives_are_messages() {
        assert_eq!(frame(REGISTER), Ok(Framing::Whole(REGISTER.len())));
        let two = [REGISTER, b"REG"].concat();
        assert_eq!(frame(&two), Ok(Framing::Whole(REGISTER.len())));
        assert_eq!(frame(&REGISTER[..REGISTER.len() - 3]), Ok(Framing::More(3)));
        assert_eq!(frame(b"REGISTER sip"), Ok(Framing::More(1)));
        assert_eq!(frame(b"\r\n\r\nREG"), Ok(Framing::Whole(4)));
        assert_eq!(frame(b"\r\n"), Ok(Framing::Whole(2)));
        assert_eq!(frame(b"\r"), Ok(Framing::More(1)));
    }

    #[test]
    fn lengths_and_heads_out_of_range_are_refused_before_they_are_read() {
        assert!(frame(b"\x16\x03\x01").is_err(), "TLS at a plain port");
        assert!(frame(&[b'a'; HEAD_MAX]).is_err());
        for length in ["99999999999999999999", "-1", "+1", "x", "", "17000"] {
            let text = format!("REGISTER sip:a SIP/2.0\r\nContent-Length: {length}\r\n\r\n");
            assert!(frame(text.as_bytes()).is_err(), "{length}");
        }
        let text = "REGISTER sip:a SIP/2.0\r\nl: 1\r\nContent-Length: 2\r\n\r\n";
        assert_eq!(frame(text.as_bytes()).unwrap_err().offset, 30);
    }

    #[test]
    fn faults_say_where_they_are() {
        let offset = |text: &str| SipMessage::parse(text.as_bytes()).unwrap_err().offset;
        assert_eq!(offset("REGISTER sip:a SIP/3.0\r\n\r\n"), 15);
        assert_eq!(offset("SIP/2.0 99 x\r\n\r\n"), 8);
        assert_eq!(offset("REGISTER sip:a SIP/2.0\r\nFrom x\r\n\r\n"), 24);
        assert_eq!(offset("REGISTER sip:a SIP/2.0\r\nA: 1\r\nb c: 2\r\n\r\n"), 30);
        assert_eq!(offset("REGISTER sip:a SIP/2.0\r\nl: 1\r\n\r\n"), 32);
        let many = format!("OPTIONS sip:a SIP/2.0\r\n{}\r\n", "A: 1\r\n".repeat(65));
        assert_eq!(offset(&many), 23 + 64 * 6);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            method in "[A-Z]{1,9}", uri in "sip:[a-z@.;=]{1,40}", status in 100u16..700,
            reason in "[A-Za-z ]{0,20}", is_request: bool,
            headers in prop::collection::vec(("X-[A-Za-z-]{1,9}", "([!-~]([ -~]{0,20}[!-~])?)?"), 0..20),
            body in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let start = if is_request {
                StartLine::Request { method: &method, uri: &uri }
            } else {
                StartLine::Response { status, reason: &reason }
            };
            let headers = headers.iter();
            let headers = headers.map(|(name, value)| (name.into(), value.into())).collect();
            let message = SipMessage { start, headers, body: &body };
            let bytes = message.encode();
            prop_assert_eq!(frame(&bytes), Ok(Framing::Whole(bytes.len())));
            prop_assert_eq!(SipMessage::parse(&bytes), Ok(message));
        }

        #[test]
        fn no_bytes_are_too_much(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = (frame(&bytes), SipMessage::parse(&bytes));
        }
    }
}
