use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

use toml::Spanned;

use super::super::names::Text;
use super::super::quantity::Length;
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
    /// A text, or `true` or `false` without quotes.
    Word,
    Length,
}

impl Argument {
    /// A text that there must be.
    pub const fn text(key: &'static str) -> Argument {
        Argument { key, kind: Kind::Text, is_needed: true }
    }

    /// A text, `true` or `false` that there must be.
    pub const fn word(key: &'static str) -> Argument {
        Argument { key, kind: Kind::Word, is_needed: true }
    }

    /// A length of time that there must be.
    pub const fn length(key: &'static str) -> Argument {
        Argument { key, kind: Kind::Length, is_needed: true }
    }

    /// The same, which may be left out.
    pub const fn or_none(self) -> Argument {
        Argument { is_needed: false, ..self }
    }

    /// What stands for it where it is missing or wrong; `None` if it may be left out.
    pub fn stand_in(&self) -> Option<&'static str> {
        let text = match self.kind {
            Kind::Text | Kind::Word => "'stand-in'",
            Kind::Length => "'1s'",
        };
        self.is_needed.then_some(text)
    }
}

/// The table behind a verb: what it needs is there.
#[derive(Debug, Default)]
pub(in crate::scenario) struct Given {
    texts: BTreeMap<&'static str, Text>,
    lengths: BTreeMap<&'static str, Length>,
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

    fn has(&self, key: &str) -> bool {
        self.texts.contains_key(key) || self.lengths.contains_key(key)
    }
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
        deserializer.deserialize_map(TableVisitor(self.takes))
    }
}

struct TableVisitor(&'static [Argument]);

impl<'de> Visitor<'de> for TableVisitor {
    type Value = Given;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Given, A::Error> {
        let keys: Vec<&str> = self.0.iter().map(|argument| argument.key).collect();
        let mut given = Given::default();
        while let Some(at) = map.next_key_seed(KeyOf(&keys))? {
            let Argument { key, kind, .. } = &self.0[at];
            match kind {
                Kind::Text => drop(given.texts.insert(key, map.next_value()?)),
                Kind::Word => {
                    let word: Spanned<Word> = map.next_value()?;
                    let text = Spanned::new(word.span(), word.into_inner().text());
                    given.texts.insert(key, text);
                }
                Kind::Length => drop(given.lengths.insert(key, map.next_value()?)),
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
