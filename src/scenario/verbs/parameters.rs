use crate::base::Span;
use crate::cluster::operator::parameters::{Parameter, SetParameter};
use crate::cluster::{FILE_SIGNATURES, FileSignature, SECURITY_MODES, SecurityMode};

use super::super::error::Problem;
use super::super::names::{Text, one_of, url_scheme};
use super::{Argument, Given, Reader, Step, Verb};

pub(super) const VERBS: &[Verb] = &[Verb {
    key: "set-parameter",
    word: "set-parameter",
    takes: &[Argument::text("name"), Argument::word("value"), Argument::length("spread").or_none()],
    read: set_parameter,
    write: |entry, _| {
        let SetParameter { parameter, spread } = entry.action.get()?;
        let mut written =
            vec![("name", parameter.name().into()), ("value", parameter.value().into())];
        if parameter.resets() {
            written.push(("spread", spread.to_string().into()));
        }
        Some(written)
    },
}];

fn set_parameter(given: &Given, reader: &mut Reader<'_>) -> Result<Step, Problem> {
    let (name, value) = (given.text("name"), given.text("value"));
    let parameter = parameter(name, value)?;
    if let Parameter::SecurityMode(mode) = parameter {
        reader.is_mixed = mode == SecurityMode::Mixed;
    }
    let spread = given.length_if("spread");
    if let (Some(spread), false) = (spread, parameter.resets()) {
        let what = format!("a change of {} resets nobody", parameter.name());
        return Err(Problem::new(spread.span(), what).help("leave `spread` out"));
    }
    let spread = spread.map_or(Span::ZERO, |spread| spread.get_ref().0);
    Ok(SetParameter { parameter, spread }.into())
}

fn parameter(name: &Text, value: &Text) -> Result<Parameter, Problem> {
    let truth = |value: &bool| if *value { "true" } else { "false" };
    match one_of(name, "parameter", &[0, 1, 2, 3], |at: usize| Parameter::NAMES[at])? {
        0 => one_of(value, "value", &[true, false], |value| truth(&value)).map(Parameter::Rollback),
        1 => one_of(value, "security mode", &SECURITY_MODES, SecurityMode::name)
            .map(Parameter::SecurityMode),
        2 => one_of(value, "digest", &FILE_SIGNATURES, FileSignature::name)
            .map(Parameter::FileSignature),
        _ => one_of(value, "value", &[true, false], url_scheme).map(Parameter::SecuredUrls),
    }
}
