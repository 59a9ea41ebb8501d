use std::fmt::Write;

/// Text from a file or a peer, fit for a terminal and for one line: what steers a terminal, breaks
/// the line or turns the direction of writing stands as `\u{1b}`.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            // Writing to a string cannot fail.
            let _ = write!(out, "{}", c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// JSON for a terminal: what [`printable`] escapes as `\u001b`, which means the same in JSON;
/// line ends between values stay.
pub fn printable_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && is_hidden(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// `text` in lines of up to `width` characters, broken at blanks: never within a number such as
/// `12 000`. A word that is longer stands alone.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in words(text) {
        let length = line.chars().count() + 1 + word.chars().count();
        if line.is_empty() {
            line.push_str(word);
        } else if length <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(line.trim_end().to_owned());
            // Blanks that set something apart are not needed at the beginning of a line.
            word.clone_into(&mut line);
        }
    }
    lines.push(line.trim_end().to_owned());
    lines.retain(|line| !line.is_empty());
    lines
}

/// The parts of a text between blanks at which it may be broken.
fn words(text: &str) -> Vec<&str> {
    let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let (mut words, mut start) = (Vec::new(), 0);
    for (at, _) in text.match_indices(' ') {
        let (before, behind) = (text[..at].chars().next_back(), text[at + 1..].chars().next());
        if !(is_digit(before) && is_digit(behind)) {
            words.push(&text[start..at]);
            start = at + 1;
        }
    }
    words.push(&text[start..]);
    words
}

/// Controls (C0, DEL, C1), line and paragraph separators, marks of direction, and characters that
/// cannot be seen.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{AD}'
                | '\u{61C}'
                | '\u{180E}'
                | '\u{200B}'..='\u{200F}'
                | '\u{2028}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}'
                | '\u{FEFF}'
                | '\u{FFF9}'..='\u{FFFB}'
                | '\u{E0000}'..='\u{E007F}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped_and_nothing_else() {
        assert_eq!(printable("Zürich \u{1F600} \\ \"x\""), "Zürich \u{1F600} \\ \"x\"");
        for c in "\0\n\r\t\x1b\x7f\u{85}\u{9b}\u{202e}\u{2066}\u{200f}\u{2028}\u{feff}".chars() {
            let code = u32::from(c);
            assert_eq!(printable(&format!("a{c}b")), format!("a\\u{{{code:x}}}b"));
        }
        assert_eq!(
            printable_json("{\n\"a\": \"\u{202e}\u{9b}\"}"),
            "{\n\"a\": \"\\u202e\\u009b\"}"
        );
        assert_eq!(printable_json("\u{E0001}"), "\\udb40\\udc01");
    }
}
