//! File names in request targets of HTTP (RFC 3986 sections 2 and 3.3, RFC 9110 section 4).

/// The path that asks for a file: everything that may not stand in a segment is encoded, `/` is
/// kept.
pub fn encode_path(name: &str) -> String {
    let mut path = String::with_capacity(name.len() + 1);
    path.push('/');
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => path.push(char::from(byte)),
            _ if b"-._~!$&'()*+,;=:@/".contains(&byte) => path.push(char::from(byte)),
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}

/// The name that a path asks for, decoded once; `None` if an escape is none, or what it stands for
/// is no text or a control character.
pub fn decode_path(path: &str) -> Option<String> {
    let mut bytes = path.strip_prefix('/').unwrap_or(path).bytes();
    let mut name = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => hex_digit(bytes.next()?)? << 4 | hex_digit(bytes.next()?)?,
            byte => byte,
        };
        name.push(byte);
    }
    let name = String::from_utf8(name).ok()?;
    (!name.chars().any(char::is_control)).then_some(name)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_out_as_rfc_3986_writes_them_and_come_back() {
        let names = [
            ("ITLFile.tlv", "/ITLFile.tlv"),
            ("name with space.xml", "/name%20with%20space.xml"),
            ("a%20b", "/a%2520b"),
            ("q?x#y", "/q%3Fx%23y"),
            ("Gr\u{fc}n.xml", "/Gr%C3%BCn.xml"),
            ("dir/file+1(a);b=c@d:e", "/dir/file+1(a);b=c@d:e"),
            ("[\"<>\\^`{|}", "/%5B%22%3C%3E%5C%5E%60%7B%7C%7D"),
        ];
        for (name, path) in names {
            assert_eq!(encode_path(name), path);
            assert_eq!(decode_path(path).as_deref(), Some(name));
        }
    }

    #[test]
    fn nothing_is_decoded_twice_and_what_is_no_escape_is_refused() {
        assert_eq!(decode_path("/%2541").as_deref(), Some("%41"));
        assert_eq!(decode_path("/%49TLFile.tlv").as_deref(), Some("ITLFile.tlv"));
        assert_eq!(decode_path("/%2e%2E%2fx").as_deref(), Some("../x"), "a name, never a path");
        assert_eq!(decode_path("//x").as_deref(), Some("/x"));
        for path in ["/%", "/%4", "/%4g", "/%+1", "/a%00b", "/%0A", "/%7f", "/%FF", "/%C3"] {
            assert_eq!(decode_path(path), None, "{path}");
        }
    }
}
