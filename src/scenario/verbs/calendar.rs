use crate::base::parse_span;
use crate::cluster::operator::calendar::Advance;

use super::super::error::Problem;
use super::{Argument, Given, Reader, Step, Verb};

pub(super) const VERBS: &[Verb] = &[Verb {
    key: "advance",
    word: "advance",
    takes: &[Argument::name("by")],
    read: advance,
    write: |entry, _| {
        let Advance { by } = entry.action.get()?;
        Some(vec![("by", by.in_years_or_days().into())])
    },
}];

fn advance(given: &Given, _: &mut Reader<'_>) -> Result<Step, Problem> {
    let by = given.text("by");
    match parse_span(by.get_ref()) {
        Ok(span) if !span.is_zero() => Ok(Advance { by: span }.into()),
        Ok(_) => Err(Problem::new(by.span(), "no time at all").help("such as \"90d\" or \"4y\"")),
        Err(error) => {
            Err(Problem::new(by.span(), error.to_string()).help("such as \"90d\" or \"4y\""))
        }
    }
}
