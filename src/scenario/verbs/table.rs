use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

use serde_json::{Value, json};
use toml::Spanned;

use super::super::error::Problem;
use super::super::names::Text;
use super::super::network::percent;
use super::super::quantity::Length;
use super::super::raw::OneOrMany;
use super::Verb;

/// A value in the table behind a verb.
#[derive(Debug)]
pub(in crate::scenario) struct Argument {
    pub key: &'static str,
    kind: Kind,
    is_needed: bool,
}

#[derive(Debug)]
enum Kind {
    Text,
    /// A text that may stand alone in the place of the table.
    Name,
    /// A text, or `true` or `false` without quotes.
    Word,
    Length,
    /// A share of a whole, `"50%"` or `0.5`.
    Share,
    /// A whole number.
    Count,
    /// A name or a list of names.
    Names,
    /// A list of lines that may stand alone in the place of the table.
    Lines,
}

impl Argument {
    /// A text that there must be.
    pub const fn text(key: &'static str) -> Argument {
        Argument { key, kind: Kind::Text, is_needed: true }
    }

    /// A text that there must be; the table may be left out around it.
    pub const fn name(key: &'static str) -> Argument {
        Argument { key, kind: Kind::Name, is_needed: true }
    }

    /// A text, `true` or `false` that there must be.
    pub const fn word(key: &'static str) -> Argument {
        Argument { key, kind: Kind::Word, is_needed: true }
    }

    /// A length of time that there must be.
    pub const fn length(key: &'static str) -> Argument {
        Argument { key, kind: Kind::Length, is_needed: true }
    }

    /// A share of a whole.
    pub const fn share(key: &'static str) -> Argument {
        Argument { key, kind: Kind::Share, is_needed: true }
    }

    /// A whole number.
    pub const fn count(key: &'static str) -> Argument {
        Argument { key, kind: Kind::Count, is_needed: true }
    }

    /// A name or a list of names.
    pub const fn names(key: &'static str) -> Argument {
        Argument { key, kind: Kind::Names, is_needed: true }
    }

    /// A list of lines that there must be; the table may be left out around it.
    pub const fn lines(key: &'static str) -> Argument {
        Argument { key, kind: Kind::Lines, is_needed: true }
    }

    /// The same, which may be left out.
    pub const fn or_none(self) -> Argument {
        Argument { is_needed: false, ..self }
    }

    /// What stands for it where it is missing or wrong; `None` if it may be left out.
    pub fn stand_in(&self) -> Option<&'static str> {
        let text = match self.kind {
            Kind::Text | Kind::Name | Kind::Word => "'stand-in'",
            Kind::Length => "'1s'",
            Kind::Share => "1.0",
            Kind::Count => "1",
            Kind::Names => "[]",
            Kind::Lines => "['help']",
        };
        self.is_needed.then_some(text)
    }
}

impl Verb {
    /// The JSON schema of what stands behind it.
    pub fn schema(&self) -> Value {
        let (mut properties, mut required) = (serde_json::Map::new(), Vec::new());
        for argument in self.takes {
            properties.insert(argument.key.to_owned(), argument.kind.schema());
            if argument.is_needed {
                required.push(argument.key);
            }
        }
        let table = json!({ "type": "object", "properties": properties, "required": required,
            "additionalProperties": false });
        match self.takes.first().map(|argument| &argument.kind) {
            Some(Kind::Name) => json!({ "anyOf": [table, { "type": "string" }] }),
            Some(Kind::Lines) => json!({ "anyOf": [table, Kind::Lines.schema()] }),
            _ => table,
        }
    }

    /// What its table holds, for people; keys that may be left out in brackets.
    pub fn takes_words(&self) -> String {
        let word = |argument: &Argument| {
            if argument.is_needed { argument.key.to_owned() } else { format!("[{}]", argument.key) }
        };
        let words: Vec<String> = self.takes.iter().map(word).collect();
        if words.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", words.join(", ")) }
    }
}

impl Kind {
    fn schema(&self) -> Value {
        let text = json!({ "type": "string" });
        match self {
            Kind::Text | Kind::Name | Kind::Length => text,
            Kind::Word => json!({ "type": ["string", "boolean"] }),
            Kind::Share => json!({ "type": ["string", "number"] }),
            Kind::Count => json!({ "type": "integer", "minimum": 1 }),
            Kind::Names => json!({ "anyOf": [text, { "type": "array", "items": text }] }),
            Kind::Lines => json!({ "type": "array", "items": text }),
        }
    }
}

/// The table behind a verb: what it needs is there.
#[derive(Debug, Default)]
pub(in crate::scenario) struct Given {
    texts: BTreeMap<&'static str, Text>,
    lengths: BTreeMap<&'static str, Length>,
    shares: BTreeMap<&'static str, Spanned<Share>>,
    counts: BTreeMap<&'static str, Spanned<u32>>,
    names: BTreeMap<&'static str, Spanned<OneOrMany<String>>>,
    lines: BTreeMap<&'static str, Vec<Text>>,
}

impl Given {
    /// A text that the verb needs.
    pub fn text(&self, key: &str) -> &Text {
        &self.texts[key]
    }

    /// A text that may be left out.
    pub fn text_if(&self, key: &str) -> Option<&Text> {
        self.texts.get(key)
    }

    /// A length of time that may be left out.
    pub fn length_if(&self, key: &str) -> Option<&Length> {
        self.lengths.get(key)
    }

    /// A share that may be left out, 0..=1.
    pub fn share_if(&self, key: &str) -> Result<Option<f64>, Problem> {
        let share = |share: &Spanned<Share>| match share.get_ref() {
            Share::Percent(text) => percent(&Spanned::new(share.span(), text.clone())),
            Share::Number(number) if (0.0..=1.0).contains(number) => Ok(*number),
            Share::Number(number) => {
                let what = format!("{number} is not a share of a whole");
                Err(Problem::new(share.span(), what).help("0 to 1, such as 0.5 or \"50%\""))
            }
        };
        self.shares.get(key).map(share).transpose()
    }

    /// A whole number that may be left out and cannot be 0.
    pub fn count_if(&self, key: &str) -> Result<Option<u32>, Problem> {
        let count = |count: &Spanned<u32>| match count.get_ref() {
            0 => {
                let problem = Problem::new(count.span(), format!("`{key}` cannot be 0"));
                Err(problem.help("a whole number from 1"))
            }
            count => Ok(*count),
        };
        self.counts.get(key).map(count).transpose()
    }

    /// Names that may be left out, each at the place of all.
    pub fn names_if(&self, key: &str) -> Option<Vec<Text>> {
        let names = self.names.get(key)?;
        let text = |name: &String| Spanned::new(names.span(), name.clone());
        Some(names.get_ref().0.iter().map(text).collect())
    }

    /// Lines that the verb needs, each at its place.
    pub fn lines(&self, key: &str) -> &[Text] {
        &self.lines[key]
    }

    /// Where such names stand.
    pub fn names_place(&self, key: &str) -> Range<usize> {
        self.names.get(key).map_or(0..0, Spanned::span)
    }

    fn has(&self, key: &str) -> bool {
        self.texts.contains_key(key)
            || self.lengths.contains_key(key)
            || self.shares.contains_key(key)
            || self.counts.contains_key(key)
            || self.names.contains_key(key)
            || self.lines.contains_key(key)
    }
}

/// What stands behind a key that takes a share.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a share, such as \"50%\" or 0.5")]
enum Share {
    Number(f64),
    Percent(String),
}

/// What stands behind a key that takes a text or a truth.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a text, true or false")]
enum Word {
    Truth(bool),
    Text(String),
}

impl Word {
    fn text(self) -> String {
        match self {
            Word::Truth(truth) => truth.to_string(),
            Word::Text(text) => text,
        }
    }
}

/// Reads the table behind a verb.
impl<'de> DeserializeSeed<'de> for &'static Verb {
    type Value = Given;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Given, D::Error> {
        deserializer.deserialize_any(TableVisitor(self.takes))
    }
}

struct TableVisitor(&'static [Argument]);

impl<'de> Visitor<'de> for TableVisitor {
    type Value = Given;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    /// A text alone is the value of the first key of a verb that is called by a name.
    fn visit_str<E: Error>(self, text: &str) -> Result<Given, E> {
        match self.0 {
            [Argument { key, kind: Kind::Name, .. }, ..] => {
                let text = Spanned::new(0..0, text.to_owned());
                Ok(Given { texts: [(*key, text)].into(), ..Given::default() })
            }
            _ => Err(E::invalid_type(Unexpected::Str(text), &self)),
        }
    }

    /// Lines alone are the value of the first key of a verb that takes them.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Given, A::Error> {
        let [Argument { key, kind: Kind::Lines, .. }, ..] = self.0 else {
            return Err(A::Error::invalid_type(Unexpected::Seq, &self));
        };
        let mut lines: Vec<Text> = Vec::new();
        while let Some(line) = seq.next_element()? {
            lines.push(line);
        }
        Ok(Given { lines: [(*key, lines)].into(), ..Given::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Given, A::Error> {
        let keys: Vec<&str> = self.0.iter().map(|argument| argument.key).collect();
        let mut given = Given::default();
        while let Some(at) = map.next_key_seed(KeyOf(&keys))? {
            let Argument { key, kind, .. } = &self.0[at];
            match kind {
                Kind::Text | Kind::Name => drop(given.texts.insert(key, map.next_value()?)),
                Kind::Word => {
                    let word: Spanned<Word> = map.next_value()?;
                    let text = Spanned::new(word.span(), word.into_inner().text());
                    given.texts.insert(key, text);
                }
                Kind::Length => drop(given.lengths.insert(key, map.next_value()?)),
                Kind::Share => drop(given.shares.insert(key, map.next_value()?)),
                Kind::Count => drop(given.counts.insert(key, map.next_value()?)),
                Kind::Names => drop(given.names.insert(key, map.next_value()?)),
                Kind::Lines => drop(given.lines.insert(key, map.next_value()?)),
            }
        }
        let missing = |argument: &&Argument| argument.is_needed && !given.has(argument.key);
        match self.0.iter().find(missing) {
            Some(argument) => Err(A::Error::missing_field(argument.key)),
            None => Ok(given),
        }
    }
}

/// One of these keys, as its place among them.
#[derive(Clone, Copy, Debug)]
pub(in crate::scenario) struct KeyOf<'a>(pub &'a [&'a str]);

impl<'de> DeserializeSeed<'de> for KeyOf<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        let given = String::deserialize(deserializer)?;
        self.0.iter().position(|key| *key == given).ok_or_else(|| {
            let known = self.0.join("`, `");
            D::Error::custom(format!("unknown field `{given}`, expected one of `{known}`"))
        })
    }
}
