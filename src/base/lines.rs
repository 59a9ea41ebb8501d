//! Lines for people that fit a terminal.

use std::fmt::Write;

use super::wrapped;

/// Columns of a terminal that lines keep to.
pub const COLUMNS: usize = 80;

/// Columns of a label with the blanks behind it.
const LABEL: usize = 14;

/// One line `label   value`, as long as it is.
pub fn row(out: &mut String, label: &str, value: &str) {
    _ = writeln!(out, "{label:<LABEL$}{value}");
}

/// A `label   value` whose value goes on in lines below its beginning.
pub fn paragraph(out: &mut String, label: &str, value: &str) {
    if value.is_empty() {
        row(out, label, value);
    }
    for (at, line) in wrapped(value, COLUMNS - LABEL).iter().enumerate() {
        row(out, if at == 0 { label } else { "" }, line);
    }
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
