use crate::base::Span;
use crate::cluster::operator::phones::ResetPhones;

use super::{Argument, Verb};

pub(super) const VERBS: &[Verb] = &[Verb {
    key: "reset-phones",
    word: "reset",
    takes: &[Argument::length("spread").or_none()],
    read: |given, _| {
        let spread = given.length_if("spread").map_or(Span::ZERO, |spread| spread.get_ref().0);
        Ok(ResetPhones { spread }.into())
    },
    write: |entry, _| {
        let ResetPhones { spread } = entry.action.get()?;
        Some(vec![("spread", spread.to_string().into())])
    },
}];
