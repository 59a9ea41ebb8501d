use std::collections::BTreeMap;

/// What a number is: a row of the table of numbers, all that is ever said about it.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its key in its section of `summary.json`.
    pub key: &'static str,
    /// What it counts or measures, as a sentence.
    pub about: &'static str,
    /// What it is a number of.
    pub unit: Unit,
    /// How it stands in the sentence about its section, if it does.
    pub said: Option<Said>,
    /// The Prometheus family that it is a sample of, if it is, and the values of its labels there.
    pub exposed: Option<(Family, Texts)>,
    /// What two runs of one scenario that should be alike are compared by.
    pub pair: Option<Pair>,
    /// What a change from one run to the next means, if they are compared by it.
    pub trend: Option<Trend>,
}

/// What a number is a number of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// Things that were counted.
    Count,
    /// Bytes that were counted.
    Bytes,
    /// A length of time in seconds.
    Seconds,
    /// A share of a whole, 0 to 1.
    Ratio,
}

/// A number in words.
#[derive(Clone, Copy, Debug)]
pub struct Said {
    /// Its place in the sentence.
    pub place: u8,
    /// The words with what joins them to those before; the number stands for `{}`.
    pub words: &'static str,
    /// Whether 0 is left out.
    pub if_any: bool,
}

/// Some texts.
type Texts = &'static [&'static str];

/// A label and its value.
pub type Label = (&'static str, &'static str);

/// A Prometheus family.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name without `resetstorm_`.
    pub name: &'static str,
    /// The names of the labels that tell its samples apart.
    pub labels: Texts,
    /// What it is; `None` if it is what its only row is about.
    pub help: Option<&'static str>,
    /// Whether it is a gauge and no counter.
    pub is_gauge: bool,
}

/// How a number of two runs of one scenario is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pair {
    /// They must agree.
    Judged,
    /// It is shown.
    Shown,
}

/// What is good for a number, in the order in which numbers of a section are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trend {
    /// It says how large the run is.
    Size,
    /// More of it.
    High,
    /// Less of it.
    Low,
    /// Neither: it is shown.
    Neither,
}

impl Family {
    pub(super) const fn counter(name: &'static str, labels: Texts, help: &'static str) -> Family {
        Family { name, labels, help: Some(help), is_gauge: false }
    }

    pub(super) const fn gauge(name: &'static str, labels: Texts, help: &'static str) -> Family {
        Family { name, labels, help: Some(help), is_gauge: true }
    }
}

impl Row {
    /// A row that says nothing but the unit.
    const fn new(unit: Unit) -> Row {
        let (said, exposed, pair, trend) = (None, None, None, None);
        Row { key: "", about: "", unit, said, exposed, pair, trend }
    }

    /// In text, at this place of its section's sentence.
    pub(super) const fn said(self, place: u8, words: &'static str) -> Row {
        Row { said: Some(Said { place, words, if_any: false }), ..self }
    }

    /// The same, unless it is 0.
    pub(super) const fn said_if_any(self, place: u8, words: &'static str) -> Row {
        Row { said: Some(Said { place, words, if_any: true }), ..self }
    }

    /// A Prometheus counter of its own.
    pub(super) const fn counter(self, name: &'static str) -> Row {
        self.part(Family { help: None, ..Family::counter(name, &[], "") }, &[])
    }

    /// One sample of a family.
    pub(super) const fn part(self, family: Family, labels: Texts) -> Row {
        Row { exposed: Some((family, labels)), ..self }
    }

    /// Two runs of one scenario are compared by it.
    pub(super) const fn pair(self, pair: Pair) -> Row {
        Row { pair: Some(pair), ..self }
    }

    /// A run is compared with an earlier one by it.
    pub(super) const fn trend(self, trend: Trend) -> Row {
        Row { trend: Some(trend), ..self }
    }
}

pub(super) const COUNT: Row = Row::new(Unit::Count);
pub(super) const BYTES: Row = Row::new(Unit::Bytes);
pub(super) const SECONDS: Row = Row::new(Unit::Seconds);
pub(super) const RATIO: Row = Row::new(Unit::Ratio);

/// Numbers that stand together in `summary.json`.
pub trait Section {
    /// The rows and what they are now, in the order of `summary.json`; `None` where there is none.
    fn numbers(&self) -> Vec<(Row, Option<f64>)>;
}

/// A field that is a number.
pub(super) trait Number {
    fn number(self) -> Option<f64>;
}

impl Number for u64 {
    fn number(self) -> Option<f64> {
        Some(self as f64)
    }
}

impl Number for Option<f64> {
    fn number(self) -> Option<f64> {
        self
    }
}

/// Counts of some phones, to which those of others are added.
pub(super) trait Join {
    fn join(&mut self, other: &Self);
}

impl Join for u64 {
    fn join(&mut self, other: &u64) {
        *self += other;
    }
}

impl<K: Ord + Copy, V: Join + Default> Join for BTreeMap<K, V> {
    fn join(&mut self, other: &BTreeMap<K, V>) {
        other.iter().for_each(|(key, theirs)| self.entry(*key).or_default().join(theirs));
    }
}

/// Adds these fields of the second to those of the first.
macro_rules! join {
    ($mine:expr, $theirs:expr; $($field:ident),*) => {
        $(super::row::Join::join(&mut $mine.$field, &$theirs.$field);)*
    };
}

/// Declares a section of `summary.json`: its fields, of which those with a row are numbers. The doc
/// of a field is the sentence of its row.
macro_rules! numbers {
    ($(#[$outer:meta])* pub struct $section:ident {
        $(#[doc = $about:literal] $(#[$meta:meta])* $field:ident: $kind:ty $(= $row:expr)?,)*
    }) => {
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
        $(#[$outer])*
        pub struct $section { $(#[doc = $about] $(#[$meta])* pub $field: $kind,)* }

        impl $crate::measure::Section for $section {
            fn numbers(&self) -> Vec<($crate::measure::Row, Option<f64>)> {
                vec![$($((
                    $crate::measure::Row { key: stringify!($field), about: $about, ..$row },
                    super::row::Number::number(self.$field),
                ),)?)*]
            }
        }
    };
}

/// The same for a section of nothing but counts: they are raised where a thing happens, and those
/// of other phones are added.
macro_rules! counts {
    ($(#[$outer:meta])* pub struct $section:ident {
        $(#[doc = $about:literal] $(#[$meta:meta])* $field:ident: $kind:ty $(= $row:expr)?,)*
    }) => {
        super::row::numbers! {
            $(#[$outer])*
            #[derive(Copy, Eq)]
            pub struct $section {
                $(#[doc = $about] $(#[$meta])* $field: $kind $(= $row)?,)*
            }
        }

        impl super::row::Join for $section {
            fn join(&mut self, other: &Self) {
                super::row::join!(self, other; $($field),*);
            }
        }
    };
}

pub(super) use {counts, join, numbers};
