/// Whether two distinguished names mean the same, whichever producer wrote them.
///
/// Both styles of `spec/trust-list.md` section 4 are understood; order of attributes, case of
/// keys and quotes do not count.
pub fn same_name(left: &str, right: &str) -> bool {
    left == right || name_key(left) == name_key(right)
}

/// The normal form of a distinguished name: sorted `key=value` pairs, keys in upper case, joined
/// by NUL. Equal keys mean equal names.
pub fn name_key(name: &str) -> String {
    let separator = if has_unquoted(name, b';') { b';' } else { b',' };
    let mut raw: Vec<(String, String)> = Vec::new();
    for part in split_unquoted(name, separator) {
        match (part.split_once('='), raw.last_mut()) {
            (Some((key, value)), _) => raw.push((attribute_key(key), value.to_owned())),
            // A separator inside a value that nobody escaped: the part belongs to the one before.
            (None, Some((_, value))) => {
                value.push(char::from(separator));
                value.push_str(part);
            }
            (None, None) => {}
        }
    }
    let mut pairs: Vec<String> =
        raw.iter().map(|(key, value)| format!("{key}={}", unescape(value))).collect();
    pairs.sort();
    pairs.join("\0")
}

/// The upper-case key of an attribute; dotted OIDs of common attributes get their name.
fn attribute_key(key: &str) -> String {
    match key.trim() {
        "2.5.4.3" => "CN".into(),
        "2.5.4.5" => "SERIALNUMBER".into(),
        "2.5.4.6" => "C".into(),
        "2.5.4.7" => "L".into(),
        "2.5.4.8" => "ST".into(),
        "2.5.4.10" => "O".into(),
        "2.5.4.11" => "OU".into(),
        other => other.to_ascii_uppercase(),
    }
}

/// Drops quotes (the last one may be missing, a known quirk), backslashes and outer white space.
fn unescape(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.extend(chars.next()),
            '"' => {}
            other => plain.push(other),
        }
    }
    plain.trim().to_owned()
}

fn has_unquoted(name: &str, separator: u8) -> bool {
    split_unquoted(name, separator).nth(1).is_some()
}

/// Splits at separators that stand neither behind a backslash nor between quotes.
fn split_unquoted(name: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(name);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut quoted, mut escaped) = (false, false);
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = !quoted,
                _ if byte == separator && !quoted => {
                    rest = Some(&text[at + 1..]);
                    return Some(&text[..at]);
                }
                _ => {}
            }
        }
        rest = None;
        Some(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_styles_and_any_order_are_the_same_name() {
        assert!(same_name("CN=pub;OU=TAC;O=Cisco", "CN=pub,O=Cisco,OU=TAC"));
        assert!(same_name("cn=pub;ou=TAC", "CN=pub;OU=TAC"));
        assert!(same_name("CN=pub;2.5.4.5=7", "SERIALNUMBER=7,CN=pub"));
        assert!(!same_name("CN=pub;OU=TAC", "CN=pub;OU=tac"), "values keep their case");
        assert!(!same_name("CN=pub", "CN=pub;OU=TAC"));
        assert!(!same_name("CN=pub;OU=sub", "CN=sub;OU=pub"));
    }

    #[test]
    fn quotes_and_escapes_do_not_count() {
        assert!(same_name(
            "cn=\"SAST-ADN0054f509        \";ou=IPCBU;o=\"Cisco Systems",
            "CN=SAST-ADN0054f509;OU=IPCBU;O=Cisco Systems"
        ));
        assert!(same_name("CN=a,O=Test\\, Inc", "CN=a;O=Test, Inc"));
        assert!(same_name("O=\"a;b\",CN=x", "CN=x;O=a\\;b"));
    }

    #[test]
    fn a_comma_without_a_key_belongs_to_the_value_before() {
        assert!(same_name("CN=a, b", "CN=a\\, b"));
    }

    #[test]
    fn a_separator_cannot_be_smuggled_into_another_attribute() {
        assert!(!same_name("CN=a\\,O=b", "CN=a,O=b"));
    }
}
