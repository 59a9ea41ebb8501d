use std::fmt::Write;

/// Lower-case hex without separators.
pub fn hex(bytes: &[u8]) -> String {
    join(bytes, "", |text, byte| write!(text, "{byte:02x}"))
}

/// Upper-case hex with `separator` between bytes: serial numbers (`:`) and hashes (space) of
/// listings (`spec/trust-list.md` section 9).
pub fn upper_hex(bytes: &[u8], separator: &str) -> String {
    join(bytes, separator, |text, byte| write!(text, "{byte:02X}"))
}

/// Lower-case hex without leading zeros, two spaces between bytes: a line of a listed signature.
pub fn signature_line(bytes: &[u8]) -> String {
    join(bytes, "  ", |text, byte| write!(text, "{byte:x}"))
}

/// Reads hex; colons and white space between digits do not count. `None` for anything else.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let separator = |c: char| c == ':' || c.is_whitespace();
    let digits: Vec<u8> = text
        .chars()
        .filter(|&c| !separator(c))
        .map(|c| c.to_digit(16).map(|digit| digit as u8))
        .collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    Some(pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}

fn join(
    bytes: &[u8],
    separator: &str,
    one: impl Fn(&mut String, u8) -> std::fmt::Result,
) -> String {
    let mut text = String::with_capacity(bytes.len() * (2 + separator.len()));
    for (at, &byte) in bytes.iter().enumerate() {
        if at > 0 {
            text.push_str(separator);
        }
        one(&mut text, byte).expect("writing to a string cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_as_listings_show_them() {
        assert_eq!(hex(&[0x0A, 0xFF]), "0aff");
        assert_eq!(upper_hex(&[0x0A, 0xFF], ":"), "0A:FF");
        assert_eq!(upper_hex(&[0x0A], " "), "0A");
        assert_eq!(signature_line(&[0x91, 0x0A, 0]), "91  a  0");
    }

    #[test]
    fn hex_is_read_with_and_without_separators() {
        assert_eq!(unhex("0A:ff 00"), Some(vec![0x0A, 0xFF, 0]));
        assert_eq!(unhex(""), Some(vec![]));
        assert_eq!(unhex("0"), None);
        assert_eq!(unhex("0g"), None);
    }
}
