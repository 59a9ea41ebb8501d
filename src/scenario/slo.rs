use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;

use crate::base::{is_number_part, parse_span, split_number, words};
use crate::cluster::Topology;

use super::error::nearest;

/// One condition that must hold at the end of a run, such as `phones.stuck == 0`.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    /// The expression as it was written.
    pub text: String,
    /// Path of the observed number in `summary.json`.
    pub left: String,
    /// How the two sides are compared.
    pub op: Op,
    /// What the observed number is compared with.
    pub right: Operand,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// `==`
    Equal,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `!=`
    NotEqual,
}

/// The right side of an SLO.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A number: times are in seconds, percentages are ratios.
    Number(f64),
    /// A number of the summary times a factor, which is 1 for a path alone.
    Path {
        /// What the number is multiplied with.
        factor: f64,
        /// Path of the number in `summary.json`.
        path: String,
    },
}

/// What became of one SLO.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SloResult {
    /// The expression as it was written.
    pub expr: String,
    /// Whether it held.
    pub verdict: SloVerdict,
    /// The number on the left side, if there is one.
    pub observed: Option<f64>,
    /// The number on the right side, if there is one.
    pub bound: Option<f64>,
}

words! {
    /// The verdict on one SLO.
    #[derive(Hash)]
    pub enum SloVerdict {
        /// It was broken.
        Fail = "fail",
        /// Its numbers are in doubt ([`Doubt`]): what measured them lacked something.
        Inconclusive = "inconclusive",
        /// One of its numbers does not exist; never a pass.
        NoData = "no-data",
        /// It held.
        Pass = "pass",
    }
}

/// Which numbers of a run are in doubt, because whoever measured lacked something.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Doubt {
    /// Times say nothing.
    pub times: bool,
    /// Times were longer than on a quiet host: a bound that they keep they would keep there, too.
    pub broken_times: bool,
    /// Phones whose outcome is unknown. They are counted as failed.
    pub undecided: u64,
    /// Some attempts got no answer for reasons of this host: a count that is wrong says nothing.
    pub broken_counts: bool,
    /// What `capacity.knee` is at least, where the search ended below it.
    pub knee_min: Option<f64>,
}

/// Path of the number of which a measurement may know only what it is at least.
const KNEE: &str = "capacity.knee";

/// What is wrong with an SLO expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}\nhelp: {help}")]
pub struct SloError {
    /// Where: bytes of the expression.
    pub place: Range<usize>,
    /// One sentence in lower case.
    pub what: String,
    /// How to repair it.
    pub help: String,
}

impl Slo {
    /// Judges a finished run by its summary, as far as `doubt` lets it: a condition that would come
    /// out differently with other numbers that are possible, too, is inconclusive. Numbers are
    /// times if their path has a segment that ends in `_s`.
    pub fn evaluate(&self, summary: &Value, doubt: Doubt) -> SloResult {
        let find = |path: &str| {
            let found = find(summary, path);
            let at_least = doubt.knee_min.filter(|_| path == KNEE);
            Found { number: found.number.or(at_least), ..found }
        };
        let left = find(&self.left);
        let right = match &self.right {
            Operand::Number(number) => Found { number: Some(*number), is_time: false },
            Operand::Path { factor, path } => find(path).times(*factor),
        };
        let verdict = match (left.number, right.number) {
            (Some(observed), Some(bound)) => {
                let is_time = left.is_time || right.is_time;
                self.judge(observed, bound, is_time, &doubt.of(summary))
            }
            _ => SloVerdict::NoData,
        };
        SloResult { expr: self.text.clone(), observed: left.number, bound: right.number, verdict }
    }

    fn judge(&self, observed: f64, bound: f64, is_time: bool, doubt: &DoubtIn) -> SloVerdict {
        let held = self.holds(observed, bound);
        let Doubt { times, broken_times, undecided, broken_counts, knee_min } = doubt.doubt;
        let in_doubt = if is_time {
            times || !held && broken_times
        } else {
            (undecided > 0 || knee_min.is_some()) && !self.is_certain(observed, bound, doubt)
                || !held && broken_counts && !is_outcome(&self.left)
        };
        match (in_doubt, held) {
            (true, _) => SloVerdict::Inconclusive,
            (false, true) => SloVerdict::Pass,
            (false, false) => SloVerdict::Fail,
        }
    }

    /// Whether the comparison comes out alike for all numbers that are possible.
    fn is_certain(&self, observed: f64, bound: f64, doubt: &DoubtIn) -> bool {
        let left = doubt.range(&self.left, observed);
        let right = match &self.right {
            Operand::Path { factor, path } if *factor > 0.0 => {
                let (least, most) = doubt.range(path, bound / factor);
                (least * factor, most * factor)
            }
            _ => (bound, bound),
        };
        match self.op {
            Op::Equal | Op::NotEqual => {
                let right = (self.whole_for(right.0), self.whole_for(right.1));
                let is_one_number = same(left.0, left.1) && same(right.0, right.1);
                is_one_number || left.1 < right.0 || right.1 < left.0
            }
            Op::Greater | Op::GreaterOrEqual | Op::Less | Op::LessOrEqual => {
                self.holds(left.0, right.1) == self.holds(left.1, right.0)
            }
        }
    }

    /// The paths into the summary on both sides.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let right = match &self.right {
            Operand::Number(_) => None,
            Operand::Path { path, .. } => Some(path.as_str()),
        };
        std::iter::once(self.left.as_str()).chain(right)
    }

    /// The first path that is none of `known` (`steps.tvs.response_time.p99` is written for
    /// `steps.tvs.response_time_s.p99`, too).
    fn unknown_path(&self, known: &[String]) -> Option<SloError> {
        let unknown = self.paths().find(|path| !known.iter().any(|name| names(path, name)))?;
        let start = if unknown == self.left {
            self.text.find(unknown).unwrap_or(0)
        } else {
            self.text.rfind(unknown).unwrap_or(0)
        };
        let place = start..start + unknown.len();
        let near = nearest(unknown, &known.iter().map(String::as_str).collect::<Vec<_>>());
        let help = match (near, beside(unknown, known)) {
            (Some(near), None) => format!("did you mean `{near}`?"),
            (Some(near), Some(all)) => format!("did you mean `{near}`? {all}"),
            (None, Some(all)) => all,
            (None, None) => WHERE.to_owned(),
        };
        Some(SloError { place, what: format!("the summary has no `{unknown}`"), help })
    }

    /// Checks paths and units against the paths of the summary that it will be judged by.
    ///
    /// # Errors
    /// What the summary does not have, or a number that is not of its kind.
    pub fn check(&self, known: &[String]) -> Result<(), SloError> {
        self.unknown_path(known).or_else(|| self.wrong_unit(known)).map_or(Ok(()), Err)
    }

    /// A right side that is no number of the kind on the left: a time without its unit, a length of
    /// time against a count, a percentage of nothing.
    fn wrong_unit(&self, known: &[String]) -> Option<SloError> {
        let real = |path: &str| known.iter().find(|name| names(path, name)).cloned();
        let kind = |path: &str| Kind::of(real(path).as_deref().unwrap_or(path));
        let (left, own) = (kind(&self.left), self.right_text());
        let place = own.clone();
        let given = &self.text[own];
        let problem =
            |what: String, help: String| Some(SloError { place: place.clone(), what, help });
        let left_name = &self.left;
        match &self.right {
            Operand::Path { path, .. } if (kind(path) == Kind::Time) != (left == Kind::Time) => {
                let what = format!(
                    "`{left_name}` is {}, `{path}` is {}",
                    left.words(),
                    kind(path).words()
                );
                problem(what, "compare two times, or two counts".to_owned())
            }
            Operand::Path { .. } => None,
            Operand::Number(_) => match (left, Written::of(given)) {
                (Kind::Time, Written::Plain) => problem(
                    format!("`{given}` has no unit"),
                    format!("`{left_name}` is a time, such as {given}s"),
                ),
                (Kind::Count, Written::Percent) => problem(
                    format!("`{left_name}` is a count, `{given}` a share"),
                    "a share of a count is written as 0.05 * phones.total".to_owned(),
                ),
                (Kind::Ratio, Written::Plain) => {
                    let share: f64 = given.replace('_', "").parse().unwrap_or(0.0);
                    let percent = (share * 1e11).round() / 1e9;
                    problem(
                        format!("`{given}` has no unit"),
                        format!("`{left_name}` is a ratio, such as {percent}%"),
                    )
                }
                (Kind::Time, Written::Time)
                | (Kind::Count, Written::Plain)
                | (Kind::Ratio, Written::Percent) => None,
                (Kind::Time, Written::Percent) | (_, Written::Time) => problem(
                    format!("`{left_name}` is {}, `{given}` is not", left.words()),
                    format!("such as {}", left.example()),
                ),
            },
        }
    }

    /// Where the right side stands in the text.
    fn right_text(&self) -> Range<usize> {
        let behind = |op: &str| self.text.find(op).map(|at| at + op.len());
        let start = ["==", "!=", "<=", ">=", "<", ">"].into_iter().find_map(behind).unwrap_or(0);
        let rest = &self.text[start..];
        let start = start + (rest.len() - rest.trim_start().len());
        start..start + rest.trim().len()
    }

    /// Whether the comparison is true. Numbers are compared exactly, except that a fraction of a
    /// count is rounded to a whole one before it must equal another: 0.1 of 257 phones are 26.
    fn holds(&self, observed: f64, bound: f64) -> bool {
        self.compares(observed, self.whole_for(bound))
    }

    /// Whether the comparison is true for two numbers as they are.
    pub fn compares(&self, observed: f64, bound: f64) -> bool {
        match self.op {
            Op::Equal => same(observed, bound),
            Op::NotEqual => !same(observed, bound),
            Op::Greater => observed > bound,
            Op::GreaterOrEqual => observed >= bound,
            Op::Less => observed < bound,
            Op::LessOrEqual => observed <= bound,
        }
    }

    /// `bound`, rounded when it is a part of a count that must equal another.
    fn whole_for(&self, bound: f64) -> f64 {
        let exact = matches!(self.op, Op::Equal | Op::NotEqual);
        match &self.right {
            Operand::Path { factor, path } if exact && !same(*factor, 1.0) && !is_time(path) => {
                bound.round()
            }
            _ => bound,
        }
    }
}

/// What the number at the end of a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Count,
    Ratio,
    Time,
}

impl Kind {
    /// By the names of the summary: times end in `_s`, ratios in `_ratio`.
    fn of(path: &str) -> Kind {
        let last = path.rsplit('.').next().unwrap_or(path);
        if is_time(path) {
            Kind::Time
        } else if last.ends_with("_ratio") || RATIOS.contains(&last) {
            Kind::Ratio
        } else {
            Kind::Count
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Kind::Count => "a count",
            Kind::Ratio => "a ratio",
            Kind::Time => "a time",
        }
    }

    const fn example(self) -> &'static str {
        match self {
            Kind::Count => "100",
            Kind::Ratio => "0.5%",
            Kind::Time => "60s",
        }
    }
}

/// Ratios of the summary whose names do not say so.
const RATIOS: [&str; 3] = ["available", "percentile", "drift"];

/// How a number on the right side is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Percent,
    Plain,
    Time,
}

impl Written {
    fn of(text: &str) -> Written {
        match text.chars().last() {
            Some('%') => Written::Percent,
            Some(c) if c.is_alphabetic() => Written::Time,
            _ => Written::Plain,
        }
    }
}

/// A doubt about the numbers of a summary with so many phones.
struct DoubtIn {
    doubt: Doubt,
    total: f64,
}

impl Doubt {
    fn of(self, summary: &Value) -> DoubtIn {
        DoubtIn { doubt: self, total: find(summary, "phones.total").number.unwrap_or(0.0) }
    }
}

impl DoubtIn {
    /// Between which numbers the one at `path` may lie.
    fn range(&self, path: &str, number: f64) -> (f64, f64) {
        /// What does not hang on how phones fare.
        const CERTAIN: [&str; 5] = ["cpu_s", "generator", "machine", "schema", "seed"];
        const ALARMS: [&str; 2] = ["phones.list_alarms", "phones.config_alarms"];
        let undecided = self.doubt.undecided as f64;
        let begins = path.split('.').next().unwrap_or("");
        match path {
            KNEE if self.doubt.knee_min.is_some() => (number, f64::INFINITY),
            _ if self.doubt.undecided == 0 || path.is_empty() => (number, number),
            "phones.total" => (number, number),
            "phones.failed" => ((number - undecided).max(0.0), number),
            "phones.failed_ratio" => ((number - undecided / self.total.max(1.0)).max(0.0), number),
            // A phone that failed after a doubtful time-out may have refused a file for it alone.
            _ if ALARMS.contains(&path) || path.starts_with("phones.failures") => {
                ((number - undecided).max(0.0), number + undecided)
            }
            _ if begins == "phones" => (number, number + undecided),
            _ if CERTAIN.contains(&begins) => (number, number),
            _ => (f64::NEG_INFINITY, f64::INFINITY),
        }
    }
}

/// Whether a path leads to the outcomes of phones.
fn is_outcome(path: &str) -> bool {
    path.starts_with("phones.")
}

/// A number of the summary.
#[derive(Clone, Copy)]
struct Found {
    number: Option<f64>,
    is_time: bool,
}

impl Found {
    /// The number times `factor`. A product that misses a whole number only by what binary
    /// fractions lose (29 = 0.29 * 100) is that whole number.
    fn times(self, factor: f64) -> Found {
        let snapped = |product: f64| {
            let lost = (product - product.round()).abs();
            if lost <= product.abs() * 4.0 * f64::EPSILON { product.round() } else { product }
        };
        Found { number: self.number.map(|number| snapped(number * factor)), ..self }
    }
}

/// Follows `path` into the summary. An array of objects is addressed by the `step` or the `name`
/// of an element; where a key is missing, the same key with `_s` (seconds) is taken.
fn find(summary: &Value, path: &str) -> Found {
    let mut here = Some(summary);
    let mut time = is_time(path);
    for segment in path.split('.') {
        let (value, in_seconds) = here.map_or((None, false), |value| enter(value, segment));
        here = value;
        time |= in_seconds;
    }
    Found { number: here.and_then(Value::as_f64), is_time: time }
}

/// One step of a path, and whether the key was found with `_s` added.
fn enter<'a>(value: &'a Value, segment: &str) -> (Option<&'a Value>, bool) {
    match value {
        Value::Object(fields) => match fields.get(segment) {
            Some(found) => (Some(found), false),
            None => (fields.get(&format!("{segment}{SECONDS}")), true),
        },
        Value::Array(elements) => {
            let named = |element: &&Value| {
                ["step", "name"].iter().any(|key| element.get(key).is_some_and(|v| v == segment))
            };
            (elements.iter().find(named), false)
        }
        _ => (None, false),
    }
}

/// What may stand in the place of the first segment that is wrong, below the first two.
fn beside(unknown: &str, known: &[String]) -> Option<String> {
    let segments: Vec<&str> = unknown.split('.').collect();
    let below = |depth: usize| {
        let parent = format!("{}.", segments.get(..depth)?.join("."));
        let under = known.iter().filter_map(|path| path.strip_prefix(&parent));
        let mut names: Vec<&str> = under.filter_map(|rest| rest.split('.').next()).collect();
        names.dedup();
        let parent = parent.trim_end_matches('.');
        (!names.is_empty()).then(|| format!("`{parent}` has {}", names.join(", ")))
    };
    (2..segments.len()).rev().find_map(below)
}

/// Stands in a path for the name of each node that is counted there.
pub const ANY: &str = "*";

/// The paths with the names of nodes where each of them may stand.
pub(super) fn paths_of(known: &[String], topology: &Topology) -> Vec<String> {
    let nodes = |section: &str| -> BTreeSet<&str> {
        match section {
            "registration.by_node" => {
                topology.registrars().map(|node| node.name.as_str()).collect()
            }
            _ => topology.page_nodes().map(|node| node.name.as_str()).collect(),
        }
    };
    let named = |path: &String| match path.split_once(&format!(".{ANY}.")) {
        Some((section, key)) => {
            nodes(section).iter().map(|node| format!("{section}.{node}.{key}")).collect()
        }
        None => vec![path.clone()],
    };
    known.iter().flat_map(named).collect()
}

/// Whether `path` may be written for the path `known` of the summary.
fn names(path: &str, known: &str) -> bool {
    let fits = |(written, real): (&str, &str)| {
        written == real || real.strip_suffix(SECONDS) == Some(written) || real == ANY
    };
    path.split('.').count() == known.split('.').count()
        && path.split('.').zip(known.split('.')).all(fits)
}

/// Whether a path says by itself that it leads to a time.
fn is_time(path: &str) -> bool {
    path.split('.').any(|segment| segment.ends_with(SECONDS))
}

/// Bit-exact equality, except that 0 equals -0: counts are whole numbers below 2^53.
#[expect(clippy::float_cmp, reason = "both sides are counts or the very number of the summary")]
fn same(a: f64, b: f64) -> bool {
    a == b
}

/// Where paths lead, if nothing is like the one that was written.
const WHERE: &str = "paths lead into summary.json, such as phones.stuck";

/// The end of a key of the summary whose number is a time in seconds.
const SECONDS: &str = "_s";

impl FromStr for Slo {
    type Err = SloError;

    /// Reads `path op number`, `path op path` or `path op number * path`.
    fn from_str(text: &str) -> Result<Slo, SloError> {
        let mut rest = Cursor { text, at: 0 };
        let left = rest.path()?;
        let op = rest.op()?;
        let right = rest.operand()?;
        rest.skip_spaces();
        if rest.at < text.len() {
            return Err(rest.error(text.len(), "the expression goes on after its end", EXAMPLE));
        }
        Ok(Slo { text: text.to_owned(), left, op, right })
    }
}

/// Help for an expression that is no comparison.
const EXAMPLE: &str = "an SLO is one comparison, such as `phones.stuck == 0`";

/// A reader of one expression.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// A path: segments of letters, digits, `_` and `-`, joined by points.
    fn path(&mut self) -> Result<String, SloError> {
        self.skip_spaces();
        let end = self.end_of(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
        let path = &self.text[self.at..end];
        let begins = path.starts_with(|c: char| c.is_ascii_alphabetic());
        if !begins || path.split('.').any(str::is_empty) {
            let what = "expected a path into the summary";
            return Err(self.error(end, what, EXAMPLE));
        }
        self.at = end;
        Ok(path.to_owned())
    }

    fn op(&mut self) -> Result<Op, SloError> {
        self.skip_spaces();
        let end = self.end_of(|c| "=!<>".contains(c));
        let op = match &self.text[self.at..end] {
            "==" => Op::Equal,
            "!=" => Op::NotEqual,
            ">" => Op::Greater,
            ">=" => Op::GreaterOrEqual,
            "<" => Op::Less,
            "<=" => Op::LessOrEqual,
            _ => {
                let help = "one of == != <= >= < >";
                return Err(self.error(end, "expected a comparison", help));
            }
        };
        self.at = end;
        Ok(op)
    }

    /// `5_000`, `0.5 %`, `90 ms`, `phones.total` or `2 * phones.total`.
    fn operand(&mut self) -> Result<Operand, SloError> {
        self.skip_spaces();
        if !self.rest().starts_with(is_number_part) {
            return Ok(Operand::Path { factor: 1.0, path: self.path()? });
        }
        let start = self.at;
        let number = self.number()?;
        self.skip_spaces();
        if self.rest().starts_with('*') {
            self.at += 1;
            return Ok(Operand::Path { factor: number, path: self.path()? });
        }
        let end = self.end_of(|c| c.is_ascii_alphabetic() || c == '%');
        let unit = &self.text[self.at..end];
        let value = match unit {
            "" => number,
            "%" => number / 100.0,
            _ => self.seconds(start, end)?,
        };
        self.at = end;
        Ok(Operand::Number(value))
    }

    fn number(&mut self) -> Result<f64, SloError> {
        let end = self.end_of(is_number_part);
        let number = split_number(&self.text[self.at..end])
            .and_then(|(whole, fraction)| format!("{whole}.{fraction}").parse().ok())
            .ok_or_else(|| self.error(end, "this is not a number", "such as 5_000 or 0.5"))?;
        self.at = end;
        Ok(number)
    }

    /// The length of time between `start` and `end` in seconds.
    fn seconds(&self, start: usize, end: usize) -> Result<f64, SloError> {
        parse_span(&self.text[start..end]).map(crate::base::Span::as_secs_f64).map_err(|error| {
            self.error(end, &error.to_string(), "units are %, ns, us, ms, s, m, h, d and y")
        })
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_spaces(&mut self) {
        self.at = self.end_of(char::is_whitespace);
    }

    /// The end of the run of characters of one kind that begins here.
    fn end_of(&self, kind: impl Fn(char) -> bool) -> usize {
        self.rest().find(|c| !kind(c)).map_or(self.text.len(), |length| self.at + length)
    }

    fn error(&self, end: usize, what: &str, help: &str) -> SloError {
        let end = end.max(self.at + 1).min(self.text.len());
        SloError { place: self.at..end, what: what.to_owned(), help: help.to_owned() }
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_comparison_with_a_number_is_read() {
        let slo = slo("phones.stuck == 0");
        assert_eq!((slo.left.as_str(), slo.op), ("phones.stuck", Op::Equal));
        assert_eq!(slo.right, Operand::Number(0.0));
        assert_eq!(slo.to_string(), "phones.stuck == 0");
    }

    #[test]
    fn every_comparison_is_read_and_judged_at_its_boundary() {
        let verdicts =
            |op: &str| [1, 2, 3].map(|n| holds(&format!("n {op} 2"), &json!({ "n": n })));
        assert_eq!(verdicts("=="), [false, true, false]);
        assert_eq!(verdicts("!="), [true, false, true]);
        assert_eq!(verdicts("<"), [true, false, false]);
        assert_eq!(verdicts("<="), [true, true, false]);
        assert_eq!(verdicts(">"), [false, false, true]);
        assert_eq!(verdicts(">="), [false, true, true]);
    }

    #[test]
    fn quantities_are_read_in_seconds_and_ratios() {
        let right = |text: &str| slo(&format!("a {text}")).right;
        assert_eq!(right("<= 5s"), Operand::Number(5.0));
        assert_eq!(right("<= 90 ms"), Operand::Number(0.09));
        assert_eq!(right("<=2m"), Operand::Number(120.0));
        assert_eq!(right("<= 0.5%"), Operand::Number(0.005));
        assert_eq!(right("<= 3 %"), Operand::Number(0.03));
        assert_eq!(right("<= 1_000_000"), Operand::Number(1e6));
        assert_eq!(right("< 2.5"), Operand::Number(2.5));
    }

    #[test]
    fn the_right_side_may_be_a_path_or_a_multiple_of_one() {
        let path = |factor| Operand::Path { factor, path: "phones.total".into() };
        assert_eq!(slo("a == phones.total").right, path(1.0));
        assert_eq!(slo("a == 2 * phones.total").right, path(2.0));
        assert_eq!(slo("a == 0.1*phones.total ").right, path(0.1));
    }

    #[test]
    fn a_broken_expression_says_where() {
        let place = |text: &str| text.parse::<Slo>().expect_err(text).place;
        assert_eq!(place("phones.stuck = 0"), 13..14);
        assert_eq!(place("phones.stuck =< 0"), 13..15);
        assert_eq!(place("== 0"), 0..1);
        assert_eq!(place("phones..stuck == 0"), 0..13);
        assert_eq!(place("phones.stuck == "), 16..16);
        assert_eq!(place("phones.stuck == 1.2.3"), 16..21);
        assert_eq!(place("phones.stuck == 5 parsecs"), 18..25);
        assert_eq!(place("phones.stuck == 0 or so"), 18..20);
        assert_eq!(place("phones.stuck == 0 == 1"), 18..22);
        assert_eq!(place("phones.stuck == 2 * 3"), 20..21);
    }

    #[test]
    fn arrays_are_addressed_by_step_or_name() {
        let summary = json!({
            "steps": [{ "step": "ctl", "done": 1 }, { "step": "tvs", "done": 2 }],
            "nodes": [{ "name": "pub", "signed": 3 }],
        });
        assert!(holds("steps.tvs.done == 2", &summary));
        assert!(holds("nodes.pub.signed == 3", &summary));
        assert_eq!(verdict("nodes.sub.signed == 3", &summary, false), SloVerdict::NoData);
    }

    #[test]
    fn a_missing_key_is_looked_up_with_seconds_added() {
        let summary = json!({ "boot_time_s": { "p99": 3.97 } });
        let result = slo("boot_time.p99 <= 5 s").evaluate(&summary, Doubt::default());
        assert_eq!((result.observed, result.bound), (Some(3.97), Some(5.0)));
        assert_eq!(result.verdict, SloVerdict::Pass);
    }

    #[test]
    fn missing_and_null_numbers_are_no_data_and_never_a_pass() {
        let summary = json!({ "a": null, "b": "text", "c": true, "d": 1 });
        for text in ["a == 0", "b == 0", "c == 1", "e != 0", "d == e", "d != a", "d.e == 1"] {
            assert_eq!(verdict(text, &summary, false), SloVerdict::NoData, "{text}");
        }
        assert_eq!(slo("d == e").evaluate(&summary, Doubt::default()).observed, Some(1.0));
    }

    #[test]
    fn times_are_inconclusive_when_the_generator_was_late_but_counts_stay_valid() {
        let summary = json!({
            "boot_time_s": { "p99": 9.0 }, "generator": { "lag_p99_s": 0.2 },
            "stuck": 0, "last_s": null,
        });
        assert_eq!(verdict("boot_time.p99 <= 5s", &summary, true), SloVerdict::Inconclusive);
        assert_eq!(verdict("boot_time_s.p99 <= 5s", &summary, true), SloVerdict::Inconclusive);
        assert_eq!(verdict("generator.lag_p99_s < 1s", &summary, true), SloVerdict::Inconclusive);
        assert_eq!(verdict("stuck <= boot_time.p99", &summary, true), SloVerdict::Inconclusive);
        assert_eq!(verdict("stuck == 0", &summary, true), SloVerdict::Pass);
        assert_eq!(verdict("stuck == 1", &summary, true), SloVerdict::Fail);
        assert_eq!(verdict("last <= 5s", &summary, true), SloVerdict::NoData);
        assert_eq!(verdict("boot_time.p99 <= 5s", &summary, false), SloVerdict::Fail);
    }

    #[test]
    fn a_knee_of_which_only_the_least_is_known_is_judged_by_all_that_it_may_be() {
        let summary = json!({ "capacity": { "knee": null, "at_least": 400.0 } });
        let doubt = Doubt { knee_min: Some(400.0), ..Doubt::default() };
        let judge = |text: &str| slo(text).evaluate(&summary, doubt);
        for (text, expected) in [
            ("capacity.knee >= 400", SloVerdict::Pass),
            ("capacity.knee > 399", SloVerdict::Pass),
            ("capacity.knee != 300", SloVerdict::Pass),
            ("capacity.knee >= 401", SloVerdict::Inconclusive),
            ("capacity.knee <= 500", SloVerdict::Inconclusive),
            ("capacity.knee == 400", SloVerdict::Inconclusive),
            ("capacity.knee < 400", SloVerdict::Fail),
            ("capacity.knee == 300", SloVerdict::Fail),
            ("capacity.at_least >= 400", SloVerdict::Pass),
        ] {
            let result = judge(text);
            assert_eq!((result.verdict, result.observed), (expected, Some(400.0)), "{text}");
        }
        let unknown = slo("capacity.knee >= 1").evaluate(&summary, Doubt::default());
        assert_eq!((unknown.verdict, unknown.observed), (SloVerdict::NoData, None));
    }

    fn phones(ready: u64, stuck: u64, failed: u64) -> Value {
        let total = ready + stuck + failed;
        let ratio = failed as f64 / total as f64;
        json!({
            "phones": {
                "total": total, "ready": ready, "stuck": stuck, "failed": failed,
                "failed_ratio": ratio,
            },
            "tvs": { "lookups": ready, "failed": 7 },
            "fleet_ready_s": { "p50": 3.0 },
            "generator": { "lag_p99_s": 0.0, "pauses": 1 },
        })
    }

    #[test]
    fn phones_that_the_generator_never_let_go_make_counts_inconclusive_that_hang_on_them() {
        let doubt = Doubt { times: true, undecided: 100, ..Doubt::default() };
        let some = phones(900, 0, 100);
        let judge = |text: &str, summary: &Value| slo(text).evaluate(summary, doubt).verdict;
        for text in [
            "phones.ready == phones.total",
            "phones.failed == 0",
            "phones.failed_ratio <= 5 %",
            "phones.stuck == 0",
            "phones.stuck < 100",
            "tvs.lookups == phones.total",
            "phones.ready >= 0.95 * phones.total",
            "fleet_ready.p50 < 1s",
        ] {
            assert_eq!(judge(text, &some), SloVerdict::Inconclusive, "{text}");
        }
        for text in ["phones.ready >= 900", "phones.stuck <= 100", "phones.failed <= 100"] {
            assert_eq!(judge(text, &some), SloVerdict::Pass, "{text}");
        }
        assert_eq!(judge("generator.pauses == 1", &some), SloVerdict::Pass);
    }

    #[test]
    fn what_is_broken_whatever_became_of_the_undecided_phones_is_broken() {
        let doubt = Doubt { undecided: 100, ..Doubt::default() };
        let judge = |text: &str, summary: &Value| slo(text).evaluate(summary, doubt).verdict;
        let more = phones(700, 100, 200);
        for text in [
            "phones.ready == phones.total",
            "phones.failed == 0",
            "phones.stuck == 0",
            "phones.failed_ratio <= 5 %",
        ] {
            assert_eq!(judge(text, &more), SloVerdict::Fail, "{text}");
        }
    }

    #[test]
    fn an_alarm_of_a_phone_that_failed_after_a_doubtful_time_out_breaks_nothing() {
        let doubt = Doubt { undecided: 7, ..Doubt::default() };
        let alarms = |count: u64| json!({ "phones": { "total": 1_500, "list_alarms": count } });
        let judge = |count| slo("phones.list_alarms == 0").evaluate(&alarms(count), doubt).verdict;
        assert_eq!(judge(7), SloVerdict::Inconclusive);
        assert_eq!(judge(8), SloVerdict::Fail, "one of them at least was decided");
    }

    #[test]
    fn a_slow_host_excuses_what_was_missed_and_never_makes_up_a_pass() {
        let doubt = Doubt { broken_times: true, broken_counts: true, ..Doubt::default() };
        let judge = |text: &str| slo(text).evaluate(&phones(1_000, 0, 0), doubt).verdict;
        assert_eq!(judge("fleet_ready.p50 < 1s"), SloVerdict::Inconclusive);
        assert_eq!(judge("fleet_ready.p50 < 5s"), SloVerdict::Pass);
        assert_eq!(judge("tvs.failed == 0"), SloVerdict::Inconclusive);
        assert_eq!(judge("tvs.failed <= 7"), SloVerdict::Pass);
        assert_eq!(judge("phones.ready < phones.total"), SloVerdict::Fail, "outcomes are known");
    }

    #[test]
    fn a_part_of_a_count_is_a_whole_count() {
        let summary = json!({ "total": 257, "stuck": 26, "ready": 231 });
        assert!(holds("stuck == 0.1 * total", &summary));
        assert!(holds("ready == 0.9 * total", &summary));
        assert!(!holds("stuck != 0.1 * total", &summary));
        assert!(!holds("stuck <= 0.1 * total", &summary), "an upper bound is not rounded up");
        assert!(holds("n >= 0.29 * total", &json!({ "total": 100, "n": 29 })));
        assert!(holds("n <= 0.29 * total", &json!({ "total": 100, "n": 29 })));
    }

    #[test]
    fn a_number_alone_and_a_time_are_never_rounded() {
        assert!(!holds("n == 0.5", &json!({ "n": 1 })));
        assert!(!holds("n == m", &json!({ "n": 1, "m": 0.5 })));
        assert!(!holds("n == 0.5 * m_s", &json!({ "n": 1, "m_s": 1.0 })));
    }

    #[test]
    fn a_bound_has_the_unit_of_what_it_bounds() {
        let known = ["phones.stuck", "phones.total", "phones.failed_ratio", "fleet_ready_s.p99"]
            .map(String::from);
        let fault = |text: &str| slo(text).wrong_unit(&known).map(|p| (p.place, p.what));
        for good in [
            "fleet_ready.p99 <= 60s",
            "fleet_ready_s.p99 <= 1.5 m",
            "phones.failed_ratio <= 0.5%",
            "phones.stuck == 0",
            "phones.stuck <= 0.05 * phones.total",
        ] {
            assert_eq!(fault(good), None, "{good}");
        }
        assert_eq!(fault("fleet_ready.p99 <= 60"), Some((19..21, "`60` has no unit".into())));
        assert_eq!(fault("fleet_ready_s.p99<0").unwrap().1, "`0` has no unit");
        let ratio = slo("phones.failed_ratio <= 0.005").wrong_unit(&known).unwrap();
        assert_eq!(ratio.what, "`0.005` has no unit", "it may be meant as 0.5 % or as 0.005 %");
        assert_eq!(ratio.help, "`phones.failed_ratio` is a ratio, such as 0.5%");
        for bad in [
            "fleet_ready.p99 <= 60%",
            "phones.failed_ratio <= 5s",
            "phones.stuck <= 5s",
            "phones.stuck <= 5%",
            "phones.stuck <= fleet_ready.p99",
            "fleet_ready.p99 <= 2 * phones.total",
        ] {
            assert!(fault(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn an_unknown_path_is_found_on_either_side_with_its_nearest_name() {
        let known = ["phones.stuck", "phones.total", "boot_time_s.p99"].map(String::from);
        let problem = |text: &str| slo(text).unknown_path(&known);
        assert_eq!(problem("phones.stuck == phones.total"), None);
        assert_eq!(problem("boot_time.p99 <= 5s"), None);
        assert_eq!(problem("boot_time_s.p99 <= 5s"), None);
        let left = problem("phones.stuk == 0").unwrap();
        assert_eq!((left.place, left.help.as_str()), (0..11, "did you mean `phones.stuck`?"));
        let right = problem("phones.stuck == 2 * phones.totl").unwrap();
        assert_eq!(right.place, 20..31);
        assert!(problem("phones == 0").is_some());
        assert_eq!(problem("elsewhere.x == 0").unwrap().help, WHERE);
        assert!(problem("phones.stuck.x == 0").is_some());
    }

    #[test]
    fn what_stands_in_the_place_of_an_unknown_segment_is_listed() {
        let of = |key: &str| format!("registration.by_node.{key}");
        let known = [of("sub1.accepted"), of("sub1.full"), of("sub2.accepted"), of("sub2.full")];
        let help = |text: &str| slo(text).unknown_path(&known).unwrap().help;
        let nodes = "`registration.by_node` has sub1, sub2";
        assert_eq!(help("registration.by_node.elsewhere.full == 0"), nodes);
        let near = help("registration.by_node.sub3.accepted == 0");
        assert!(near.starts_with("did you mean `registration.by_node.sub1.accepted`? `reg"));
        let keys = "`registration.by_node.sub1` has accepted, full";
        assert_eq!(help("registration.by_node.sub1.ready_at_last == 0"), keys);
        assert_eq!(slo("registration.by_node.sub1.full == 0").unknown_path(&known), None);
        let any = [of("*.full")];
        assert_eq!(slo("registration.by_node.sub1.full == 0").unknown_path(&any), None);
        assert!(slo("registration.by_node.sub1.empty == 0").unknown_path(&any).is_some());
    }

    fn slo(text: &str) -> Slo {
        text.parse().expect(text)
    }

    fn verdict(text: &str, summary: &Value, time_is_inconclusive: bool) -> SloVerdict {
        let doubt = Doubt { times: time_is_inconclusive, ..Doubt::default() };
        slo(text).evaluate(summary, doubt).verdict
    }

    fn holds(text: &str, summary: &Value) -> bool {
        verdict(text, summary, false) == SloVerdict::Pass
    }
}
