//! Distinguished names, as certificates hold them and as two kinds of tools write them
//! (`spec/trust-list.md` section 4).

use std::borrow::Cow;
use std::fmt::Write;

use super::attribute::{Decoded, Value, compact_key, cucm_place, hex, kind_of, latin1};
use super::ber::{Ber, BerReader, tag};
use super::tlv::WireError;

/// A distinguished name: its attributes in order.
///
/// Names are compared attribute by attribute, by [`Name::key`]: the same types, each with the same
/// values in the same order or in the reverse one. The order of types does not count, because CUCM
/// has an order of its own; nor does the direction, because RFC 4514 writes names from the end, nor
/// which attributes shared an RDN, because no list keeps that. Values are compared as OpenSSL does:
/// decoded from whatever string type they had, without the case of ASCII letters, outer blanks and
/// repeated blanks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Name {
    attributes: Vec<Attribute>,
    faults: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Attribute {
    /// Dotted OID; a word in upper case if nobody knows its OID.
    kind: Cow<'static, str>,
    value: Value,
}

impl Name {
    /// Reads the name of a certificate: a `SEQUENCE` of `SET`s of attributes.
    ///
    /// # Errors
    /// If the BER is broken. Values that are no text are no error: see [`Name::faults`].
    pub fn from_ber(name: &Ber<'_>) -> Result<Name, WireError> {
        let mut read = Name::default();
        let mut sets = name.inside();
        while !sets.is_empty() {
            let mut attributes = sets.need(tag::SET, "a set of attributes")?.inside();
            while !attributes.is_empty() {
                let attribute = attributes.need(tag::SEQUENCE, "an attribute")?;
                read.add(attribute.inside())?;
            }
        }
        Ok(read)
    }

    fn add(&mut self, mut attribute: BerReader<'_>) -> Result<(), WireError> {
        let kind = Cow::from(attribute.next("a type")?.oid()?);
        let Decoded { value, fault } = Value::of(&attribute.next("a value")?);
        self.faults.extend(fault.map(|fault| format!("{} {fault}", cucm_place(&kind).1)));
        self.attributes.push(Attribute { kind, value });
        Ok(())
    }

    /// Reads a name in either style: separated by `;`, or, without one, by `,`. `None` if the text
    /// does not begin with a key and `=`.
    ///
    /// A separator counts only in front of the next key, outside of quotes and escapes; so
    /// `O=Test, Inc` is one attribute. Quotes around a value may lack the last one, a known quirk.
    pub fn parse(text: &str) -> Option<Name> {
        if text.is_empty() {
            return Some(Name::default());
        }
        let (parts, split) = parts_of(text, b';')?;
        let parts = if split { parts } else { parts_of(text, b',')?.0 };
        let attribute = |(kind, raw)| Attribute { kind, value: value_of(raw) };
        Some(Name { attributes: parts.into_iter().map(attribute).collect(), faults: Vec::new() })
    }

    /// The name in CUCM's order of attributes, joined by `;`. How CUCM escapes is not known: values
    /// stand as they are, unless they would be read as something else.
    pub fn to_cucm(&self) -> String {
        let mut text = String::new();
        for (key, value) in self.in_cucm_order() {
            begin(&mut text, ';', key);
            value.write(is_ambiguous, &mut text);
        }
        text
    }

    /// Keys and values in CUCM's order.
    fn in_cucm_order(&self) -> impl Iterator<Item = (&str, &Value)> {
        let mut parts: Vec<_> =
            self.attributes.iter().map(|a| (cucm_place(&a.kind), &a.value)).collect();
        parts.sort_by_key(|part| part.0.0);
        parts.into_iter().map(|((_, key), value)| (key, value))
    }

    /// The name as the CTL client writes the subject of a token: CUCM's order with keys in lower
    /// case, values with a blank in quotes, the last quote missing (`spec/trust-list.md` section 4).
    pub fn to_token_subject(&self) -> String {
        let mut text = self.to_token(|value| format!("\"{value}\""));
        if text.ends_with('"') {
            text.pop();
        }
        text
    }

    /// The name as the CTL client writes the issuer of a token: without quotes.
    pub fn to_token_issuer(&self) -> String {
        self.to_token(|value| value)
    }

    /// The name in CUCM's order with keys in lower case; values with a blank go through `spaced`.
    fn to_token(&self, spaced: impl Fn(String) -> String) -> String {
        let mut text = String::new();
        for (key, value) in self.in_cucm_order() {
            let mut written = String::new();
            value.write(|_| false, &mut written);
            begin(&mut text, ';', &key.to_lowercase());
            text.push_str(&if written.contains(' ') { spaced(written) } else { written });
        }
        text
    }

    /// The name in the order of the certificate, joined by `,`, with the escapes of RFC 4514: short
    /// keys for nine types, the dotted OID for any other.
    pub fn to_compact(&self) -> String {
        let mut text = String::new();
        for attribute in &self.attributes {
            begin(&mut text, ',', compact_key(&attribute.kind));
            attribute.value.write(|_| true, &mut text);
        }
        text
    }

    /// What makes names equal, as text: equal keys, equal names.
    pub fn key(&self) -> String {
        let mut parts: Vec<(&str, String)> =
            self.attributes.iter().map(|a| (&*a.kind, a.value.folded())).collect();
        parts.sort_by(|left, right| left.0.cmp(right.0));
        let forward = joined(&parts);
        if parts.windows(2).all(|pair| pair[0].0 != pair[1].0) {
            return forward;
        }
        parts.chunk_by_mut(|left, right| left.0 == right.0).for_each(<[_]>::reverse);
        forward.min(joined(&parts))
    }

    /// What is odd about the values of a certificate's name, each as `O is no UTF-8`.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }
}

/// Types and folded values as one text.
fn joined(parts: &[(&str, String)]) -> String {
    let mut key = String::with_capacity(parts.iter().map(|part| 32 + part.1.len()).sum());
    for (kind, value) in parts {
        // The length keeps a value from being read as the next attribute; writing cannot fail.
        let _ = write!(key, "{kind}={}:{value}", value.len());
    }
    key
}

/// Whether two distinguished names mean the same, whichever tool wrote them. A text that is no name
/// equals itself only.
pub fn same_name(left: &str, right: &str) -> bool {
    left == right || name_key(left) == name_key(right)
}

/// The key of a name as text ([`Name::key`]); a text that is no name is its own key.
pub fn name_key(text: &str) -> String {
    match Name::parse(text) {
        Some(name) => name.key(),
        None => format!("?{text}"),
    }
}

/// Begins an attribute behind those that `text` has already.
fn begin(text: &mut String, separator: char, key: &str) {
    if !text.is_empty() {
        text.push(separator);
    }
    text.push_str(key);
    text.push('=');
}

impl Value {
    /// Writes the value behind its key; with the escapes of RFC 4514 if `escape` says so.
    fn write(&self, escape: fn(&str) -> bool, out: &mut String) {
        match self {
            Value::Text(text) if escape(text) => escaped(text, out),
            Value::Text(text) => out.push_str(text),
            Value::Bytes(bytes) => {
                out.push('#');
                out.push_str(&hex(bytes));
            }
        }
    }
}

/// The escapes of RFC 4514 section 2.4.
fn escaped(value: &str, out: &mut String) {
    let last = value.chars().count().saturating_sub(1);
    for (at, c) in value.chars().enumerate() {
        match c {
            '\0' => out.push_str("\\00"),
            '\\' | '"' | '+' | ',' | ';' | '<' | '>' => out.extend(['\\', c]),
            '#' if at == 0 => out.push_str("\\#"),
            ' ' if at == 0 || at == last => out.push_str("\\ "),
            c => out.push(c),
        }
    }
}

/// Whether a value would not be read back as it stands.
fn is_ambiguous(value: &str) -> bool {
    let starts_another = |(at, _)| starts_attribute(&value[at + 1..]);
    value.contains(['\0', '\\', '"', ';'])
        || value.starts_with([' ', '#'])
        || value.ends_with(' ')
        || value.match_indices([',', '+']).any(starts_another)
}

/// Kind and raw value of each attribute.
type Parts<'a> = Vec<(Cow<'static, str>, &'a str)>;

/// The attributes of a text with this separator (and `+`), and whether the separator was met.
fn parts_of(text: &str, separator: u8) -> Option<(Parts<'_>, bool)> {
    let (mut parts, mut split, mut rest) = (Vec::new(), false, text);
    loop {
        let (key, behind) = rest.split_once('=')?;
        let end = value_end(behind, separator);
        parts.push((kind_of(key)?, &behind[..end]));
        let Some(met) = behind.as_bytes().get(end) else { return Some((parts, split)) };
        split |= *met == separator;
        rest = &behind[end + 1..];
    }
}

/// Where the value at the start of `text` ends: at a separator or at the end.
fn value_end(text: &str, separator: u8) -> usize {
    let is_end = |at: usize| {
        let byte = text.as_bytes()[at];
        (byte == separator || byte == b'+') && starts_attribute(&text[at + 1..])
    };
    let start = text.len() - text.trim_start_matches(' ').len();
    let closed = closing_quote(&text[start..]).map(|at| start + at + 1).filter(|&behind| {
        let next = text.len() - text[behind..].trim_start_matches(' ').len();
        next == text.len() || is_end(next)
    });
    let mut escaped = false;
    for at in closed.unwrap_or(start)..text.len() {
        match text.as_bytes()[at] {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b';' | b',' | b'+' if is_end(at) => return at,
            _ => {}
        }
    }
    text.len()
}

/// Where the quote ends with which `text` begins.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    let rest = text.strip_prefix('"')?;
    let end = rest.bytes().position(|byte| match byte {
        _ if escaped => {
            escaped = false;
            false
        }
        b'\\' => {
            escaped = true;
            false
        }
        byte => byte == b'"',
    });
    end.map(|at| at + 1)
}

/// Whether `text` begins with a key and `=`.
fn starts_attribute(text: &str) -> bool {
    const KEY_LENGTH_MAX: usize = 160;
    let end = text.bytes().take(KEY_LENGTH_MAX).position(|byte| byte == b'=');
    end.is_some_and(|end| kind_of(&text[..end]).is_some())
}

/// The value that stands behind a key.
fn value_of(raw: &str) -> Value {
    let raw = raw.trim_start_matches(' ');
    let bare = raw.trim_end_matches(' ');
    match closing_quote(bare) {
        Some(end) if end + 1 == bare.len() => return Value::Text(unescaped(&bare[1..end])),
        Some(_) => {}
        None => {
            if let Some(unclosed) = bare.strip_prefix('"') {
                return Value::Text(unescaped(unclosed));
            }
        }
    }
    if let Some(value) = Value::of_hex(bare) {
        return value;
    }
    // An escaped blank at the end belongs to the value.
    let backslashes = bare.bytes().rev().take_while(|&byte| byte == b'\\').count();
    let end = if backslashes % 2 == 1 { raw.len().min(bare.len() + 1) } else { bare.len() };
    Value::Text(unescaped(&raw[..end]))
}

/// Undoes the escapes of RFC 4514: a backslash before two hex digits or before any character.
fn unescaped(raw: &str) -> String {
    if !raw.contains('\\') {
        return raw.to_owned();
    }
    let mut plain = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    while let [first, behind @ ..] = rest {
        let (byte, used) = match (first, behind) {
            (b'\\', [high, low, ..]) if digit(*high).is_some() && digit(*low).is_some() => {
                (digit(*high).unwrap_or(0) << 4 | digit(*low).unwrap_or(0), 3)
            }
            (b'\\', [next, ..]) => (*next, 2),
            _ => (*first, 1),
        };
        plain.push(byte);
        rest = &rest[used..];
    }
    // Hex escapes of tools that do not know UTF-8 are Latin-1.
    String::from_utf8(plain).unwrap_or_else(|error| latin1(error.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_styles_and_any_order_are_the_same_name() {
        assert!(same_name("CN=pub;OU=TAC;O=Cisco", "CN=pub,O=Cisco,OU=TAC"));
        assert!(same_name("cn=pub;ou=TAC", "CN=pub;OU=TAC"));
        assert!(same_name("CN=pub;2.5.4.5=7", "SERIALNUMBER=7,CN=pub"));
        assert!(!same_name("CN=pub", "CN=pub;OU=TAC"));
        assert!(!same_name("CN=pub;OU=sub", "CN=sub;OU=pub"));
    }

    #[test]
    fn names_of_other_tools_are_the_same_name() {
        let name = "CN=EX-ISSUING-CA;DC=test;DC=example";
        for other in [
            "DC=test,DC=example,CN=EX-ISSUING-CA",
            "CN=EX-ISSUING-CA,DC=example,DC=test",
            "CN=EX-ISSUING-CA + DC=example, DC=test",
            "0.9.2342.19200300.100.1.25=test,0.9.2342.19200300.100.1.25=example,CN=EX-ISSUING-CA",
            "DC = test, DC = example, CN = EX-ISSUING-CA",
            "domainComponent=#160474657374,OID.0.9.2342.19200300.100.1.25=example,\
             CN=\"EX-ISSUING-CA\"",
        ] {
            assert!(same_name(name, other), "{other}");
        }
        assert!(same_name("CN=Z\\C3\\BCrich", "CN=Zürich"));
        assert!(same_name("CN=Z\\FCrich", "CN=Zürich"), "Latin-1 of tools that know no UTF-8");
        assert!(same_name("1.2.3.4=#0c03616263", "1.2.3.4=abc"));
        assert!(same_name("E=a@b,CN=x", "CN=x;EMAILADDRESS=a@b"));
        assert!(!same_name("DC=a,DC=b,DC=c", "DC=b,DC=a,DC=c"), "neither order nor its reverse");
        assert!(!same_name("DC=a,DC=b,OU=c,OU=d", "DC=a,DC=b,OU=d,OU=c"), "one half reversed");
    }

    #[test]
    fn letters_and_blanks_count_as_openssl_counts_them() {
        assert!(same_name("CN=pub;OU=TAC", "CN=PUB,OU=tac"));
        assert!(same_name("O=Cisco  Systems", "O= Cisco Systems "));
        assert!(same_name("O=\\ Cisco Systems\\ ", "O=Cisco Systems"));
        assert!(!same_name("O=CiscoSystems", "O=Cisco Systems"));
        assert!(!same_name("CN=Ü", "CN=ü"), "beyond ASCII the case counts");
    }

    #[test]
    fn tokens_are_written_as_the_documents_print_them() {
        let subject =
            Name::parse("CN=SAST-ADN0054f509       \\ ;OU=IPCBU;O=Cisco Systems").unwrap();
        let written = "cn=\"SAST-ADN0054f509        \";ou=IPCBU;o=\"Cisco Systems";
        assert_eq!(subject.to_token_subject(), written);
        assert_eq!(Name::parse(written).unwrap().to_token_subject(), written);
        let issuer = Name::parse("O=Cisco Systems,CN=Cisco Manufacturing CA").unwrap();
        let written = "cn=Cisco Manufacturing CA;o=Cisco Systems";
        assert_eq!(issuer.to_token_issuer(), written);
    }

    #[test]
    fn quotes_and_escapes_do_not_count() {
        assert!(same_name(
            "cn=\"SAST-ADN0054f509        \";ou=IPCBU;o=\"Cisco Systems",
            "CN=SAST-ADN0054f509;OU=IPCBU;O=Cisco Systems"
        ));
        assert!(same_name("CN=a,O=Test\\, Inc", "CN=a;O=Test, Inc"));
        assert!(same_name("O=\"a;b\",CN=x", "CN=x;O=a\\;b"));
        assert!(same_name("CN=pub \"main\";O=x", "CN=pub \\\"main\\\",O=x"));
        assert!(same_name("CN=\"a\\\"b,OU=c\",O=x", "O=x;CN=a\\\"b\\,OU=c"));
        assert!(same_name("cn=\"abc;ou=IPCBU", "CN=abc;OU=IPCBU"), "an open quote ends with it");
    }

    #[test]
    fn a_separator_without_a_key_belongs_to_the_value_before() {
        assert!(same_name("CN=a, b", "CN=a\\, b"));
        assert!(same_name("CN=a; b;O=x", "CN=a\\; b,O=x"));
        assert!(same_name("CN=a+b,O=x", "CN=a\\+b;O=x"));
    }

    #[test]
    fn a_value_cannot_be_smuggled_into_another_attribute() {
        for other in ["CN=a\\,O=b", "CN=a\\;O=b", "CN=\"a,O=b\"", "CN=\"a;O=b\"", "CN=a\\2CO=b"] {
            assert!(!same_name(other, "CN=a,O=b") && !same_name(other, "CN=a;O=b"), "{other}");
        }
        assert!(!same_name("CN=a\\00O=b", "CN=a,O=b"));
        assert!(!same_name("CN=#0c0161", "CN=\\#0c0161"));
    }

    #[test]
    fn a_text_that_is_no_name_equals_itself_only() {
        assert!(same_name("no name", "no name"));
        for other in ["no  name", "NO NAME", "", "CN=no name"] {
            assert!(!same_name("no name", other), "{other}");
        }
        assert_eq!(Name::parse("=x"), None);
        assert_eq!(Name::parse("a b=c"), None);
        assert_eq!(Name::parse("").map(|name| name.key()), Some(String::new()));
    }

    #[test]
    fn values_are_escaped_where_they_would_be_misread_only() {
        let name = |value: &str| {
            let value = Value::Text(value.into());
            Name { attributes: vec![Attribute { kind: "2.5.4.3".into(), value }], faults: vec![] }
        };
        for (value, cucm, compact) in [
            ("plain", "CN=plain", "CN=plain"),
            ("Test, Inc", "CN=Test, Inc", "CN=Test\\, Inc"),
            ("a,OU=b", "CN=a\\,OU=b", "CN=a\\,OU=b"),
            ("a;OU=b", "CN=a\\;OU=b", "CN=a\\;OU=b"),
            ("pub \"main\"", "CN=pub \\\"main\\\"", "CN=pub \\\"main\\\""),
            (" a b ", "CN=\\ a b\\ ", "CN=\\ a b\\ "),
            ("#a#", "CN=\\#a#", "CN=\\#a#"),
            ("a\0", "CN=a\\00", "CN=a\\00"),
            ("a\\", "CN=a\\\\", "CN=a\\\\"),
        ] {
            let name = name(value);
            assert_eq!((name.to_cucm(), name.to_compact()), (cucm.into(), compact.into()));
            assert_eq!((Name::parse(cucm), Name::parse(compact)), (Some(name.clone()), Some(name)));
        }
    }
}
