use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// What is wrong with a scenario, where, and how to repair it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rendered}")]
pub struct ScenarioError {
    /// The file, or `--set` when an override is to blame.
    pub path: String,
    /// Line of the fault, from 1.
    pub line: u32,
    /// Column of the fault in characters, from 1.
    pub column: u32,
    /// One sentence in lower case.
    pub what: String,
    /// How to repair it.
    pub help: Option<Box<str>>,
    /// The whole message in plain text, with the line of the file and a mark below the fault; where
    /// there are more faults, they follow.
    pub rendered: Box<str>,
    /// The same with terminal colours.
    pub coloured: Box<str>,
    /// Further faults of the same file, in the order of their places.
    pub more: Box<[ScenarioError]>,
}

/// A fault in a text whose name is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// Where: bytes of the text.
    pub place: Range<usize>,
    /// One sentence in lower case.
    pub what: String,
    /// How to repair it.
    pub help: Option<String>,
}

impl Problem {
    /// A fault at `place` of the text.
    pub fn new(place: Range<usize>, what: impl Into<String>) -> Problem {
        Problem { place, what: what.into(), help: None }
    }

    /// The same fault with a line that says how to repair it.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Problem {
        Problem { help: Some(help.into()), ..self }
    }

    /// The name `given` is none of `known`; `noun` says what it should name, in the singular.
    pub fn unknown<'a>(
        place: Range<usize>,
        noun: &str,
        given: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Problem {
        let known: Vec<&str> = known.into_iter().collect();
        let help = suggestion(given, &known, &plural(noun));
        Problem { help, ..Problem::new(place, format!("unknown {noun} `{given}`")) }
    }
}

/// Faults that were found so far, in the order in which they were found.
#[derive(Debug, Default)]
pub(super) struct Faults(pub Vec<Problem>);

impl Faults {
    /// The value, or `None` and one more fault.
    pub fn take<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.0.push(problem)).ok()
    }

    /// What `read` makes of a value that may be left out; `default` if it is, or if it has a fault.
    pub fn given<R: ?Sized, T>(
        &mut self,
        raw: Option<&R>,
        default: T,
        read: impl FnOnce(&R) -> Result<T, Problem>,
    ) -> T {
        raw.and_then(|raw| self.take(read(raw))).unwrap_or(default)
    }
}

impl From<toml::de::Error> for Problem {
    fn from(error: toml::de::Error) -> Problem {
        let place = error.span().unwrap_or(0..0);
        let message = error.message();
        if let Some((what, help)) = message.split_once("\nhelp: ") {
            return Problem::new(place, what).help(help);
        }
        if let Some((noun, given, known)) = unknown_name(message) {
            let problem = Problem::unknown(place, noun, given, known.iter().copied());
            let here = |help: String| help.replace("fields:", "fields here:");
            let help = problem.help.map(here);
            return Problem { help, ..problem };
        }
        let missing = message.strip_prefix("missing field ");
        let help = missing.map(|name| format!("add {name} to this table"));
        let what = message.replace('\n', ": ");
        Problem { place, what, help }
    }
}

/// Takes serde's "unknown field `a`, expected one of `b`, `c`" apart.
pub(super) fn unknown_name(message: &str) -> Option<(&str, &str, Vec<&str>)> {
    let rest = message.strip_prefix("unknown ")?;
    let (noun, rest) = rest.split_once(" `")?;
    let (given, rest) = rest.split_once('`')?;
    let known = rest.split('`').skip(1).step_by(2).collect();
    ["field", "variant"].contains(&noun).then_some((noun, given, known))
}

/// The help line for a name that is not known: the nearest one, and all of them.
fn suggestion(given: &str, known: &[&str], nouns: &str) -> Option<String> {
    let list = known.join(", ");
    match (nearest(given, known), known) {
        (_, []) => None,
        (Some(near), _) => Some(format!("did you mean `{near}`? {nouns}: {list}")),
        (None, _) => Some(format!("{nouns}: {list}")),
    }
}

/// The known name that `given` is most likely a slip of, if any is near.
pub(super) fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    if !given.contains(char::is_alphabetic) {
        // A number that is wrong is meant: 13.7 is no slip of 11.5.
        return None;
    }
    let given = given.to_lowercase();
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&given, &name.to_lowercase()), *name))
        .filter(|(distance, name)| *distance <= SLIPS_MAX.min(name.len() / 2))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Edits after which a name no longer counts as a slip of another one (choice).
const SLIPS_MAX: usize = 3;

/// The plural of a noun of these messages.
fn plural(noun: &str) -> String {
    match noun.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{noun}s"),
    }
}

impl ScenarioError {
    /// The error that `problem` is in the text of the file `path`.
    pub(super) fn new(path: &str, text: &str, problem: &Problem) -> ScenarioError {
        let place = visible_place(text, &problem.place);
        let before = &text[..place.start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        ScenarioError {
            path: path.to_owned(),
            line: before.matches('\n').count() as u32 + 1,
            column: before[line_start..].chars().count() as u32 + 1,
            what: problem.what.clone(),
            help: problem.help.as_deref().map(Into::into),
            rendered: render(&Renderer::plain(), path, text, &place, problem).into(),
            coloured: render(&Renderer::styled(), path, text, &place, problem).into(),
            more: Box::default(),
        }
    }

    /// The error of a file that is not UTF-8: where its first other byte stands.
    pub fn not_utf8(path: &str, bytes: &[u8]) -> ScenarioError {
        let good = match std::str::from_utf8(bytes) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let text = String::from_utf8_lossy(bytes);
        let byte = bytes.get(good).copied().unwrap_or_default();
        let (what, help) = match bytes {
            [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => {
                ("the file is UTF-16, not UTF-8".to_owned(), "save it as UTF-8")
            }
            _ => (
                format!("the byte 0x{byte:02X} is no character of UTF-8"),
                "save the file as UTF-8; it looks like Latin-1 or Windows-1252",
            ),
        };
        let place = good..good + char::REPLACEMENT_CHARACTER.len_utf8();
        ScenarioError::new(path, &text, &Problem::new(place, what).help(help))
    }

    /// One error of all of them, in the order of their places; `None` if there are none.
    pub(super) fn of_all(mut errors: Vec<ScenarioError>) -> Option<ScenarioError> {
        errors.sort_by(|one, other| {
            let place = |e: &ScenarioError| (e.line, e.column);
            one.path.cmp(&other.path).then(place(one).cmp(&place(other)))
        });
        errors.dedup_by(|one, other| one.rendered == other.rendered);
        let joined = |text: fn(&ScenarioError) -> &str| {
            errors.iter().map(text).collect::<Vec<_>>().join("\n\n").into_boxed_str()
        };
        let (rendered, coloured) =
            (joined(|error| &error.rendered), joined(|error| &error.coloured));
        let mut errors = errors.into_iter();
        let first = errors.next()?;
        Some(ScenarioError { rendered, coloured, more: errors.collect(), ..first })
    }
}

/// `place` cut to its first line and to whole characters, so that the mark stays on one line.
fn visible_place(text: &str, place: &Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(place.start);
    let end = text.ceil_char_boundary(place.end.max(start));
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let visible = text[start..line_end.min(end)].trim_end();
    start..start + visible.len()
}

/// The message as `renderer` draws it.
fn render(
    renderer: &Renderer,
    path: &str,
    text: &str,
    place: &Range<usize>,
    problem: &Problem,
) -> String {
    let snippet =
        Snippet::source(text).path(path).annotation(AnnotationKind::Primary.span(place.clone()));
    let mut report = vec![Level::ERROR.primary_title(problem.what.as_str()).element(snippet)];
    if let Some(help) = &problem.help {
        report.push(Group::with_title(Level::HELP.secondary_title(help.as_str())));
    }
    renderer.render(&report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_near_and_another_word_is_not() {
        let known = ["phones", "models", "tftp"];
        assert_eq!(nearest("phonez", &known), Some("phones"));
        assert_eq!(nearest("PHONES", &known), Some("phones"));
        assert_eq!(nearest("tftpxx", &known), Some("tftp"));
        assert_eq!(nearest("tftpxxx", &known), None, "three edits are too many for four letters");
        assert_eq!(nearest("phonesabc", &known), Some("phones"));
        assert_eq!(nearest("phonesabcd", &known), None);
        assert_eq!(nearest("anything", &[]), None);
        assert_eq!(nearest("13.7", &["11.5", "12.5"]), None, "a number is no slip");
    }

    #[test]
    fn the_nearest_of_several_names_wins() {
        assert_eq!(nearest("sub2", &["sub11", "sub1", "sub3"]), Some("sub1"));
    }

    #[test]
    fn serdes_lists_of_names_are_taken_apart() {
        let names = |message| unknown_name(message).map(|(_, given, known)| (given, known));
        let one = "unknown field `a`, expected `b`";
        let two = "unknown field `a`, expected `b` or `c`";
        let three = "unknown variant `a`, expected one of `b`, `c`, `d`";
        assert_eq!(names(one), Some(("a", vec!["b"])));
        assert_eq!(names(two), Some(("a", vec!["b", "c"])));
        assert_eq!(names(three), Some(("a", vec!["b", "c", "d"])));
        assert_eq!(names("unknown field `a`, there are no fields"), Some(("a", vec![])));
        assert_eq!(names("missing field `a`"), None);
        assert_eq!(names("unknown thing `a`"), None);
    }

    #[test]
    fn nouns_have_their_plurals() {
        assert_eq!((plural("node"), plural("family")), ("nodes".into(), "families".into()));
    }

    #[test]
    fn a_mark_stays_on_the_first_line_of_its_place() {
        assert_eq!(visible_place("ab  \ncd", &(1..7)), 1..2);
        assert_eq!(visible_place("abcd", &(1..3)), 1..3);
        assert_eq!(visible_place("aüb", &(2..2)), 1..3, "whole characters");
        assert_eq!(visible_place("ab", &(5..9)), 2..2, "never behind the text");
        assert_eq!(visible_place("", &(0..0)), 0..0);
    }

    #[test]
    fn lines_and_columns_count_from_one() {
        let place = |start: usize| {
            let error = ScenarioError::new("f", "ab\ncde\n", &Problem::new(start..start, "x"));
            (error.line, error.column)
        };
        assert_eq!([place(0), place(1), place(3), place(5)], [(1, 1), (1, 2), (2, 1), (2, 3)]);
    }

    #[test]
    fn an_error_stays_small_enough_to_be_returned() {
        assert!(size_of::<ScenarioError>() < 128);
    }
}
