//! Types and values of the attributes of distinguished names.

use std::borrow::Cow;

use super::ber::Ber;

/// Known types: dotted OID, the key that is written, and other keys that are read (RFC 4514,
/// OpenSSL, Java; letters of either case).
const KINDS: [(&str, &str, &[&str]); 27] = [
    ("2.5.4.3", "CN", &["COMMONNAME"]),
    ("2.5.4.11", "OU", &["ORGANIZATIONALUNITNAME"]),
    ("2.5.4.10", "O", &["ORGANIZATIONNAME"]),
    ("2.5.4.7", "L", &["LOCALITYNAME"]),
    ("2.5.4.8", "ST", &["S", "STATEORPROVINCENAME"]),
    ("2.5.4.6", "C", &["COUNTRYNAME"]),
    ("0.9.2342.19200300.100.1.25", "DC", &["DOMAINCOMPONENT"]),
    ("0.9.2342.19200300.100.1.1", "UID", &["USERID"]),
    ("2.5.4.9", "STREET", &["STREETADDRESS"]),
    ("2.5.4.5", "SERIALNUMBER", &[]),
    ("1.2.840.113549.1.9.1", "EMAILADDRESS", &["E", "EMAIL"]),
    ("2.5.4.4", "SURNAME", &["SN"]),
    ("2.5.4.12", "TITLE", &["T"]),
    ("2.5.4.13", "DESCRIPTION", &[]),
    ("2.5.4.15", "BUSINESSCATEGORY", &[]),
    ("2.5.4.17", "POSTALCODE", &[]),
    ("2.5.4.20", "TELEPHONENUMBER", &[]),
    ("2.5.4.41", "NAME", &[]),
    ("2.5.4.42", "GIVENNAME", &["GN", "G"]),
    ("2.5.4.43", "INITIALS", &[]),
    ("2.5.4.44", "GENERATION", &["GENERATIONQUALIFIER"]),
    ("2.5.4.45", "X500UNIQUEIDENTIFIER", &[]),
    ("2.5.4.46", "DNQ", &["DNQUALIFIER"]),
    ("2.5.4.65", "PSEUDONYM", &[]),
    ("2.5.4.97", "ORGANIZATIONIDENTIFIER", &[]),
    ("1.2.840.113549.1.9.2", "UNSTRUCTUREDNAME", &[]),
    ("1.2.840.113549.1.9.8", "UNSTRUCTUREDADDRESS", &[]),
];

/// The place of a type in CUCM's order, and its key; types behind the table keep their order.
pub(super) fn cucm_place(oid: &str) -> (usize, &str) {
    const NAMED: usize = 11;
    match KINDS[..NAMED].iter().position(|kind| kind.0 == oid) {
        // Six types have a place of their own.
        Some(at) => (at.min(6), KINDS[at].1),
        None => (6, oid),
    }
}

/// The key of a type in files of usecallmanager.nz: nine short ones, else the OID.
pub(super) fn compact_key(oid: &str) -> &str {
    const NAMED: usize = 9;
    KINDS[..NAMED].iter().find(|kind| kind.0 == oid).map_or(oid, |kind| kind.1)
}

/// The dotted OID that a key stands for; a word that nobody knows in upper case; `None` if it can
/// be no key.
pub(super) fn kind_of(key: &str) -> Option<Cow<'static, str>> {
    let key = key.trim();
    let has_prefix = key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("OID."));
    let dotted = if has_prefix { &key[4..] } else { key };
    if is_dotted(dotted) {
        return Some(dotted.to_owned().into());
    }
    let is_word = key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !is_word || key.len() > 64 {
        return None;
    }
    let is_key = |known: &&str| known.eq_ignore_ascii_case(key);
    let kind = KINDS.iter().find(|kind| is_key(&kind.1) || kind.2.iter().any(is_key));
    Some(kind.map_or_else(|| key.to_ascii_uppercase().into(), |kind| kind.0.into()))
}

fn is_dotted(text: &str) -> bool {
    let is_number = |arc: &str| !arc.is_empty() && arc.bytes().all(|byte| byte.is_ascii_digit());
    text.contains('.') && text.split('.').all(is_number)
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value {
    /// Text, whatever string type it had.
    Text(String),
    /// A value that is no text: its BER.
    Bytes(Vec<u8>),
}

/// What a string type said of its value.
pub(super) struct Decoded {
    pub(super) value: Value,
    /// What is wrong with it, if anything.
    pub(super) fault: Option<&'static str>,
}

impl Value {
    /// Decodes a value of any string type, as OpenSSL does: types of one byte are Latin-1, as is
    /// `TeletexString`.
    pub(super) fn of(ber: &Ber<'_>) -> Decoded {
        const NUMERIC: u8 = 0x12;
        const PRINTABLE: u8 = 0x13;
        const TELETEX: u8 = 0x14;
        const IA5: u8 = 0x16;
        const VISIBLE: u8 = 0x1A;
        const GENERAL: u8 = 0x1B;
        const UNIVERSAL: u8 = 0x1C;
        const BMP: u8 = 0x1E;
        const UTF8: u8 = 0x0C;
        let bytes = ber.content;
        let (text, fault) = match ber.tag {
            UTF8 => (String::from_utf8(bytes.to_vec()).ok(), "is no UTF-8"),
            BMP => (utf16(bytes), "is no UTF-16"),
            UNIVERSAL => (utf32(bytes), "is no UTF-32"),
            TELETEX | GENERAL => (Some(latin1(bytes)), ""),
            NUMERIC | PRINTABLE | IA5 | VISIBLE if bytes.is_ascii() => (Some(latin1(bytes)), ""),
            NUMERIC | PRINTABLE | IA5 | VISIBLE => {
                (Some(latin1(bytes)), "has characters that its string type does not have")
            }
            _ => (None, "is no text"),
        };
        let mut fault = Some(fault).filter(|fault| !fault.is_empty());
        let value = match text {
            Some(text) => {
                // Those three decode or do not; what decoded has no fault.
                if [UTF8, BMP, UNIVERSAL].contains(&ber.tag) {
                    fault = None;
                }
                if text.contains('\0') {
                    fault = Some("has a NUL in it");
                }
                Value::Text(text)
            }
            None => Value::Bytes(ber.whole.to_vec()),
        };
        Decoded { value, fault }
    }

    /// `#` and hex, as RFC 4514 writes a value by its BER.
    pub(super) fn of_hex(text: &str) -> Option<Value> {
        let digits = text.strip_prefix('#')?;
        let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
        if digits.is_empty() || !digits.len().is_multiple_of(2) {
            return None;
        }
        let pairs = digits.as_bytes().chunks_exact(2);
        let bytes: Vec<u8> = pairs
            .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
            .collect::<Option<_>>()?;
        let (ber, rest) = Ber::read(&bytes).ok()?;
        rest.is_empty().then(|| Value::of(&ber).value)
    }

    /// As OpenSSL compares values (and X.520's caseIgnoreMatch, but for letters beyond ASCII):
    /// without the case of ASCII letters, outer blanks and repeated blanks.
    pub(super) fn folded(&self) -> String {
        match self {
            Value::Text(text) => {
                let blank = |c: char| c.is_ascii_whitespace() || c == '\x0B';
                let words = text.split(blank).filter(|word| !word.is_empty());
                let mut folded = String::with_capacity(text.len() + 1);
                folded.push('t');
                for (at, word) in words.enumerate() {
                    folded.push_str(if at > 0 { " " } else { "" });
                    folded.push_str(word);
                }
                folded.make_ascii_lowercase();
                folded
            }
            Value::Bytes(bytes) => format!("b{}", hex(bytes)),
        }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

pub(super) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

fn utf16(bytes: &[u8]) -> Option<String> {
    let units = bytes.chunks_exact(2);
    let whole = units.remainder().is_empty();
    let units = units.map(|unit| u16::from_be_bytes([unit[0], unit[1]]));
    char::decode_utf16(units).collect::<Result<_, _>>().ok().filter(|_| whole)
}

fn utf32(bytes: &[u8]) -> Option<String> {
    let units = bytes.chunks_exact(4);
    let whole = units.remainder().is_empty();
    let code = |unit: &[u8]| u32::from_be_bytes([unit[0], unit[1], unit[2], unit[3]]);
    units.map(|unit| char::from_u32(code(unit))).collect::<Option<_>>().filter(|_| whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(tag: u8, content: &[u8]) -> (Value, Option<&'static str>) {
        let bytes = [&[tag, content.len() as u8], content].concat();
        let Decoded { value, fault } = Value::of(&Ber::read(&bytes).unwrap().0);
        (value, fault)
    }

    #[test]
    fn every_string_type_becomes_text() {
        let zurich = || (Value::Text("Zürich".into()), None);
        assert_eq!(decoded(0x0C, "Zürich".as_bytes()), zurich());
        assert_eq!(decoded(0x14, b"Z\xFCrich"), zurich());
        assert_eq!(decoded(0x1E, b"\0Z\0\xFC\0r\0i\0c\0h"), zurich());
        let wide: Vec<u8> = "Zürich".chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
        assert_eq!(decoded(0x1C, &wide), zurich());
        for ascii in [0x12, 0x13, 0x16, 0x1A, 0x1B] {
            assert_eq!(decoded(ascii, b"42"), (Value::Text("42".into()), None));
        }
        assert_eq!(decoded(0x1E, b"\xD8\x3D\xDE\x00").0, Value::Text("\u{1F600}".into()));
    }

    #[test]
    fn what_is_no_text_is_kept_and_said() {
        for (tag, content) in [
            (0x0C, &b"\xFF"[..]),
            (0x1E, b"\0a\0"),
            (0x1E, b"\xD8\0"),
            (0x1C, b"\0\0\0"),
            (0x1C, b"\xFF\xFF\xFF\xFF"),
            (0x02, b"\x07"),
        ] {
            let (value, fault) = decoded(tag, content);
            assert!(matches!(value, Value::Bytes(_)) && fault.is_some(), "{tag} {content:?}");
        }
        assert_eq!(decoded(0x0C, b"a\0b"), (Value::Text("a\0b".into()), Some("has a NUL in it")));
        let (value, fault) = decoded(0x13, b"\xFC");
        assert_eq!((value, fault.is_some()), (Value::Text("ü".into()), true));
    }

    #[test]
    fn keys_of_every_tool_are_one_type() {
        let same = |keys: &[&str]| {
            let kinds: Vec<_> = keys.iter().map(|key| kind_of(key).unwrap()).collect();
            assert!(kinds.iter().all(|kind| *kind == kinds[0]), "{kinds:?}");
        };
        same(&["CN", "cn", " commonName ", "2.5.4.3", "OID.2.5.4.3", "oid.2.5.4.3"]);
        same(&["E", "emailAddress", "EMAILADDRESS", "1.2.840.113549.1.9.1"]);
        same(&["S", "ST", "stateOrProvinceName"]);
        same(&["foo", "FOO"]);
        for none in ["", "1", "1.", ".1", "a b", "a.b", "-a", &"a".repeat(65)] {
            assert_eq!(kind_of(none), None, "{none}");
        }
    }
}
