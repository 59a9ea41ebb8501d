//! Lines for people that fit a terminal.

use std::fmt::Write;

/// Columns of a terminal that lines keep to.
pub(super) const COLUMNS: usize = 80;

/// Columns of a label with the blanks behind it.
const LABEL: usize = 14;

/// One line `label   value`, as long as it is.
pub(super) fn row(out: &mut String, label: &str, value: &str) {
    _ = writeln!(out, "{label:<LABEL$}{value}");
}

/// A `label   value` whose value goes on in lines below its beginning.
pub(super) fn paragraph(out: &mut String, label: &str, value: &str) {
    if value.is_empty() {
        row(out, label, value);
    }
    for (at, line) in wrapped(value, COLUMNS - LABEL).iter().enumerate() {
        row(out, if at == 0 { label } else { "" }, line);
    }
}

/// `text` in lines of up to `width` characters, broken at blanks: never within a number such as
/// `12 000`. A word that is longer stands alone.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_goes_on_below_its_beginning_and_no_number_is_torn() {
        let mut out = String::new();
        let value = format!("{} 12 000 in all", "word ".repeat(12).trim_end());
        paragraph(&mut out, "label", &value);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines.len(), 2, "{out}");
        assert!(lines.iter().all(|line| line.chars().count() <= COLUMNS), "{out}");
        assert!(
            lines[1].starts_with("              12 000") || lines[0].ends_with("12 000"),
            "{out}"
        );
        assert_eq!(wrapped("a    b", 80), ["a    b"], "blanks that set apart stay");
        assert_eq!(wrapped("abcdef gh", 4), ["abcdef", "gh"]);
    }
}
