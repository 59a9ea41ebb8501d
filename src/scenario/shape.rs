//! From a text to the shape of a scenario, with every fault that can be told: a faulty part is put
//! aside, and the rest is read on.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

use super::error::{Faults, Problem, nearest, unknown_name};
use super::lexical;
use super::raw::RawScenario;
use super::verbs;
use super::wording::{not_here, wrong_value};

/// Faults of a shape that are told at most (choice); each costs one more reading.
const FAULTS_MAX: usize = 50;

/// The shape of `text`, and what is wrong with it. Where a shape is there beside faults, something
/// harmless stands in the place of each faulty part.
pub(super) fn parse(text: &str) -> (Option<RawScenario>, Faults) {
    let (mut table, mut faults) = tree(text);
    if !faults.0.is_empty() {
        return (None, faults);
    }
    let mut seen = Vec::new();
    for _ in 0..FAULTS_MAX {
        let error = match RawScenario::deserialize(toml::Deserializer::from(table.clone())) {
            Ok(raw) => return (Some(raw), faults),
            Err(error) => error,
        };
        let place = error.span().unwrap_or(0..0);
        let is_new = !seen.contains(&place);
        let (problem, is_mended) = mend(table.get_mut(), &error, is_new);
        // A stand-in that does not fit either says nothing new.
        if is_new || !error.message().starts_with("invalid") {
            faults.0.push(problem);
        }
        seen.push(place);
        if !is_mended {
            break;
        }
    }
    (None, faults)
}

/// The tree of `text`, and what keeps it from being TOML.
fn tree(text: &str) -> (Spanned<DeTable<'_>>, Faults) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let lexical = lexical::faults(text);
    let line = |problem: &Problem| {
        let at = text.floor_char_boundary(problem.place.start);
        text[..at].matches('\n').count()
    };
    // What comes behind a string that is not closed says nothing.
    let until = lexical.iter().filter(|fault| fault.hides_the_rest).map(|f| f.problem.place.start);
    let until = until.min().unwrap_or(usize::MAX);
    let mut lines: Vec<usize> = lexical.iter().map(|fault| line(&fault.problem)).collect();
    let mut faults = Faults(lexical.into_iter().map(|fault| fault.problem).collect());
    for problem in errors.into_iter().map(Problem::from) {
        // One slip makes several errors in its line.
        if problem.place.start < until && !lines.contains(&line(&problem)) {
            lines.push(line(&problem));
            faults.0.push(problem);
        }
    }
    (table, faults)
}

/// Says what `error` is and puts its part aside; whether that could be done.
fn mend(table: &mut DeTable<'_>, error: &toml::de::Error, may_stand_in: bool) -> (Problem, bool) {
    let (place, message) = (error.span().unwrap_or(0..0), error.message());
    let plain = || Problem::from(error.clone());
    if let Some((_, given, known)) = unknown_name(message) {
        let problem = not_here(given)
            .map_or_else(plain, |(what, help)| Problem::new(place.clone(), what).help(help));
        return (problem, put_right(table, &place, &known));
    }
    if let Some(field) = message.strip_prefix("missing field `") {
        return (plain(), fill_in(table, &place, field.trim_end_matches('`')));
    }
    let Some(path) = path_to(table, &place, Part::Value) else { return (plain(), false) };
    let keys: Vec<&str> = path.iter().filter_map(Segment::key).collect();
    let other = stand_in(&keys, &place).filter(|_| may_stand_in);
    let key = match path.last() {
        Some(Segment::Key(key)) => key.clone(),
        _ => String::new(),
    };
    let Some(value) = value_at(table, &path) else { return (plain(), false) };
    let problem = wrong_value(&key, value.get_ref(), &place, message).unwrap_or_else(plain);
    match other {
        Some(other) => *value.get_mut() = other,
        None => drop(remove(table, &path)),
    }
    (problem, true)
}

/// Takes an unknown key away, or calls it as it was most likely meant.
fn put_right(table: &mut DeTable<'_>, place: &Range<usize>, known: &[&str]) -> bool {
    let Some(path) = path_to(table, place, Part::Key) else { return false };
    let Some((key, value)) = remove(table, &path) else { return false };
    let meant = nearest(key.get_ref(), known).map(str::to_owned);
    if let (Some(meant), Some(parent)) = (meant, table_at(table, &path[..path.len() - 1]))
        && !parent.contains_key(meant.as_str())
    {
        parent.insert(Spanned::new(key.span(), meant.into()), value);
    }
    true
}

/// Gives the table at `place` the field that it lacks.
fn fill_in(table: &mut DeTable<'_>, place: &Range<usize>, field: &str) -> bool {
    let Some(value) = stand_in(&[field], place) else { return false };
    let path = path_to(table, place, Part::Value).unwrap_or_default();
    let Some(table) = table_at(table, &path) else { return false };
    let key = Spanned::new(place.clone(), field.to_owned().into());
    table.insert(key, Spanned::new(place.clone(), value)).is_none()
}

/// What stands at `place` where a value that there must be is missing or wrong, by the keys that
/// lead to it; `None` for one that may be left out.
fn stand_in(keys: &[&str], place: &Range<usize>) -> Option<DeValue<'static>> {
    let text = match keys {
        [.., "ports", _] => "0",
        ["target", "tftp"] => "'127.0.0.1:9'",
        [.., "name"] => "'stand-in'",
        [.., "address"] => "'127.255.255.254'",
        [.., "expr"] => "'phones.stuck == 0'",
        [.., "members"] => "['stand-in']",
        [.., "share"] | ["fleet", "models", _] => "nan",
        [.., "schema" | "phones"] => "1",
        [.., key] => verbs::stand_in(key)?,
        [] => return None,
    };
    match DeValue::parse(text).ok()?.into_inner() {
        DeValue::Array(elements) => {
            let here = |element: Spanned<_>| Spanned::new(place.clone(), element.into_inner());
            Some(DeValue::Array(elements.into_iter().map(here).collect()))
        }
        value => Some(value),
    }
}

/// A step on the way to a part of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Key(String),
    Element(usize),
}

impl Segment {
    fn key(&self) -> Option<&str> {
        match self {
            Segment::Key(key) => Some(key),
            Segment::Element(_) => None,
        }
    }
}

/// Which part of an entry has a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Key,
    Value,
}

/// The way to the key or the value that stands at `place`.
fn path_to(table: &DeTable<'_>, place: &Range<usize>, part: Part) -> Option<Vec<Segment>> {
    table.iter().find_map(|(key, value)| {
        let here = Segment::Key(key.get_ref().to_string());
        if part == Part::Key && key.span() == *place {
            return Some(vec![here]);
        }
        path_in(value, place, part).map(|rest| [vec![here], rest].concat())
    })
}

fn path_in(value: &Spanned<DeValue<'_>>, place: &Range<usize>, part: Part) -> Option<Vec<Segment>> {
    let deeper = match value.get_ref() {
        DeValue::Table(table) => path_to(table, place, part),
        DeValue::Array(elements) => elements.iter().enumerate().find_map(|(at, element)| {
            let rest = path_in(element, place, part)?;
            Some([vec![Segment::Element(at)], rest].concat())
        }),
        _ => None,
    };
    deeper.or_else(|| (part == Part::Value && value.span() == *place).then(Vec::new))
}

fn value_at<'t, 'i>(
    table: &'t mut DeTable<'i>,
    path: &[Segment],
) -> Option<&'t mut Spanned<DeValue<'i>>> {
    let (first, rest) = path.split_first()?;
    let mut here = table.get_mut(first.key()?)?;
    for segment in rest {
        here = match (here.get_mut(), segment) {
            (DeValue::Table(table), Segment::Key(key)) => table.get_mut(key.as_str())?,
            (DeValue::Array(elements), Segment::Element(at)) => elements.get_mut(*at)?,
            _ => return None,
        };
    }
    Some(here)
}

/// The table that `path` leads to: the root for the empty one.
fn table_at<'t, 'i>(table: &'t mut DeTable<'i>, path: &[Segment]) -> Option<&'t mut DeTable<'i>> {
    if path.is_empty() {
        return Some(table);
    }
    match value_at(table, path)?.get_mut() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

/// An entry of a table with the place of its key.
type Entry<'i> = (Spanned<DeString<'i>>, Spanned<DeValue<'i>>);

/// Takes the part at the end of `path` away; an element of an array leaves no entry behind.
fn remove<'i>(table: &mut DeTable<'i>, path: &[Segment]) -> Option<Entry<'i>> {
    let (last, parents) = path.split_last()?;
    match last {
        Segment::Key(key) => table_at(table, parents)?.remove_entry(key.as_str()),
        Segment::Element(at) => {
            if let DeValue::Array(elements) = value_at(table, parents)?.get_mut() {
                let mut kept = DeArray::new();
                let others = std::mem::replace(elements, DeArray::new()).into_iter().enumerate();
                others.filter(|(n, _)| n != at).for_each(|(_, element)| kept.push(element));
                *elements = kept;
            }
            None
        }
    }
}
