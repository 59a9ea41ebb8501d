//! What cannot stand in a TOML text although it looks as if it could: pasted quotation marks and
//! blanks, and strings that nobody closes. A TOML reader notices them late and far away.

use super::error::Problem;

/// A fault of the characters of a text.
#[derive(Debug)]
pub(super) struct LexicalFault {
    /// What and where.
    pub problem: Problem,
    /// Whether everything behind it is read wrongly because of it.
    pub hides_the_rest: bool,
}

/// Every such fault of `text`, in order.
pub(super) fn faults(text: &str) -> Vec<LexicalFault> {
    let mut faults = Vec::new();
    let mut at = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len_utf8() } else { 0 };
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        at += match c {
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '"' | '\'' => match string(rest) {
                Ok(length) => length,
                Err(seen) => {
                    faults.push(not_closed(at, rest, seen));
                    match seen {
                        Unclosed::Line(length) => length,
                        Unclosed::Text => return faults,
                    }
                }
            },
            c if !c.is_ascii() => {
                faults.push(stranger(at, c));
                // One fault for a run of them.
                rest.find(|other: char| other.is_ascii()).unwrap_or(rest.len())
            }
            c => c.len_utf8(),
        };
    }
    faults
}

const BYTE_ORDER_MARK: char = '\u{feff}';

/// How much of a string was seen before it turned out that nothing closes it.
#[derive(Clone, Copy, Debug)]
enum Unclosed {
    /// Its line ends after so many bytes.
    Line(usize),
    /// The text ends.
    Text,
}

/// The length of the string that `rest` begins with, quotation marks included.
fn string(rest: &str) -> Result<usize, Unclosed> {
    let quote = &rest[..1];
    let triple = quote.repeat(3);
    let (open, close) = if rest.starts_with(&triple) { (3, triple.as_str()) } else { (1, quote) };
    let mut at = open;
    while at < rest.len() {
        let here = &rest[at..];
        if let Some(behind) = here.strip_prefix(close) {
            // Up to two quotation marks may stand before the closing ones.
            let more = behind.chars().take_while(|c| quote.starts_with(*c)).take(2);
            let extra = if open == 3 { more.count() } else { 0 };
            return Ok(at + close.len() + extra);
        }
        if open == 1 && here.starts_with('\n') {
            return Err(Unclosed::Line(at));
        }
        let escaped = quote == "\"" && here.starts_with('\\');
        at += here.chars().take(if escaped { 2 } else { 1 }).map(char::len_utf8).sum::<usize>();
    }
    Err(if open == 3 { Unclosed::Text } else { Unclosed::Line(rest.len()) })
}

fn not_closed(at: usize, rest: &str, seen: Unclosed) -> LexicalFault {
    let quote = &rest[..1];
    let (marks, place) = match seen {
        Unclosed::Line(_) => (quote.to_owned(), "in the same line"),
        Unclosed::Text => (quote.repeat(3), "at its end"),
    };
    let problem = Problem::new(at..at + marks.len(), "this text is not closed");
    LexicalFault {
        problem: problem.help(format!("it begins here; write {marks} {place}")),
        hides_the_rest: matches!(seen, Unclosed::Text),
    }
}

/// Quotation marks that word processors and web pages put in.
const TYPOGRAPHIC: [char; 14] =
    ['“', '”', '„', '‟', '«', '»', '‘', '’', '‚', '‛', '′', '″', '＂', '＇'];

/// What a character is that TOML knows in texts and comments only.
fn stranger(at: usize, c: char) -> LexicalFault {
    let is_blank = c.is_whitespace() || ['\u{200b}', '\u{feff}', '\u{2060}'].contains(&c);
    let (what, help) = match c {
        c if TYPOGRAPHIC.contains(&c) => {
            (format!("`{c}` is a typographic quotation mark"), "write plain ones: \" or '")
        }
        c if is_blank => (
            format!("U+{:04X} is a blank that TOML does not know", u32::from(c)),
            "write a plain blank; it was pasted from elsewhere",
        ),
        '–' | '—' | '−' | '‐' | '‑' => {
            (format!("`{c}` is no plain hyphen"), "write - instead")
        }
        _ => (
            format!("`{c}` can stand in texts and comments only"),
            "put the text into quotation marks",
        ),
    };
    let problem = Problem::new(at..at + c.len_utf8(), what).help(help);
    LexicalFault { problem, hides_the_rest: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &str) -> Vec<(usize, String)> {
        faults(text).into_iter().map(|f| (f.problem.place.start, f.problem.what)).collect()
    }

    #[test]
    fn typographic_quotes_are_called_so_and_fine_within_texts_and_comments() {
        let found = seen("name = “x”\n");
        assert_eq!(found[0], (7, "`“` is a typographic quotation mark".to_owned()));
        for good in ["a = \"“x”\" # “\n", "a = '’'\n", "a = \"\"\"\n“\n\"\"\"\n", "\u{feff}a = 1"]
        {
            assert!(seen(good).is_empty(), "{good}");
        }
    }

    #[test]
    fn a_text_that_is_not_closed_is_told_where_it_begins() {
        let text = "a = 'x'\nb = \"open\nc = \"closed\"\nd = ['p, 'q']\n";
        let places: Vec<usize> = seen(text).into_iter().map(|(at, _)| at).collect();
        assert_eq!(places, [12, 42], "{:?}", seen(text));
        assert_eq!(seen("a = 1\nb = \"\"\"\nmore\nc = 1\n")[0].0, 10);
        assert!(faults("b = '''\n")[0].hides_the_rest);
        let closed =
            [r#"a = "\"""#, r"a = '\'", "a = \"\"\"\"x\"\"\"\"\"\nb = 1", "a = \"\"", "a = ''"];
        for good in closed {
            assert!(seen(good).is_empty(), "{good}: {:?}", seen(good));
        }
    }

    #[test]
    fn blanks_and_dashes_that_were_pasted_are_named() {
        assert_eq!(seen("a =\u{a0}1")[0].1, "U+00A0 is a blank that TOML does not know");
        assert_eq!(seen("a = –1")[0].1, "`–` is no plain hyphen");
        assert_eq!(seen("größe = 1").len(), 1);
        assert!(seen("").is_empty() && seen("\"").len() == 1);
    }
}
