use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};
use toml::Spanned;

use crate::base::{Span, parse_span};

use super::error::Problem;

/// A length of time as it stands in a scenario file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quantity(pub Span);

/// A length of time with its place.
pub(super) type Length = Spanned<Quantity>;

/// A length of time that is not zero.
pub(super) fn positive(length: &Length) -> Result<Span, Problem> {
    let span = length.get_ref().0;
    if span.is_zero() {
        let problem = Problem::new(length.span(), "this length of time cannot be zero");
        return Err(problem.help("such as \"10s\""));
    }
    Ok(span)
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Quantity, D::Error> {
        deserializer.deserialize_str(QuantityVisitor)
    }
}

/// Takes texts only, so that a bare number is refused with a sentence about units.
struct QuantityVisitor;

impl Visitor<'_> for QuantityVisitor {
    type Value = Quantity;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a length of time with its unit, such as \"30s\"")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Quantity, E> {
        parse_span(text).map(Quantity).map_err(|error| {
            E::custom(format!(
                "{error}\nhelp: a number and one of ns, us, ms, s, m, h, d, y, such as 30s"
            ))
        })
    }
}
