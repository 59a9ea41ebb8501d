//! Names of the operator's steps. A step has the name that the scenario gives it, or that of its
//! action and a number: `reset-1` is the first reset. Numbers of steps count from 1.

use toml::{Spanned, Value};

use super::error::Problem;
use super::names::{Text, check_plain};
use super::raw::RawEvent;
use super::verbs::{PROCEDURE, Procedure, Verb, verbs};

/// The word of `after`, which no step is called by.
pub(super) const PREVIOUS: &str = "previous";

/// The names of steps of which each has a name of its own or none, and a word for its action.
pub(super) fn named<'a>(steps: &[(Option<&'a str>, &'a str)]) -> Vec<String> {
    let given: Vec<&str> = steps.iter().filter_map(|(name, _)| *name).collect();
    let mut names: Vec<String> = Vec::with_capacity(steps.len());
    for (at, (name, word)) in steps.iter().enumerate() {
        let of_word = steps[..at].iter().filter(|(_, other)| other == word).count();
        let free = |name: &String| !given.contains(&name.as_str()) && !names.contains(name);
        let default =
            || (of_word + 1..=of_word + 1 + steps.len()).map(|n| format!("{word}-{n}")).find(free);
        names.push(name.map(str::to_owned).or_else(default).unwrap_or_default());
    }
    names
}

/// The names of the events of a scenario, in order.
pub(super) fn names(events: &[Spanned<RawEvent>]) -> Vec<String> {
    let steps: Vec<_> = events
        .iter()
        .map(Spanned::get_ref)
        .map(|event| (event.name.as_ref().map(|name| name.get_ref().as_str()), word(event)))
        .collect();
    named(&steps)
}

/// The names of the steps in an array of TOML tables; `None` if it is none of events.
pub(super) fn names_in(elements: &[Value]) -> Option<Vec<String>> {
    let name = |element: &'_ Value| element.get("name").and_then(Value::as_str).map(str::to_owned);
    elements.iter().find_map(action_in)?;
    let own: Vec<Option<String>> = elements.iter().map(name).collect();
    let words = elements.iter().map(|element| {
        let procedure = element.get(PROCEDURE);
        let called = procedure.and_then(|value| value.get("name").unwrap_or(value).as_str());
        let called = called.and_then(Procedure::word);
        called.or_else(|| action_in(element).map(|verb| verb.word)).unwrap_or("step")
    });
    let steps: Vec<_> = own.iter().map(Option::as_deref).zip(words).collect();
    Some(named(&steps))
}

/// The verb of an event in TOML.
pub(super) fn action_in(event: &Value) -> Option<&'static Verb> {
    verbs().find(|verb| event.get(verb.key).is_some())
}

/// Refuses names that cannot be told from numbers, and the second of two equal ones.
pub(super) fn check_names(events: &[Spanned<RawEvent>]) -> Vec<Problem> {
    let mut seen: Vec<&str> = Vec::new();
    let mut problems = Vec::new();
    for name in events.iter().filter_map(|event| event.get_ref().name.as_ref()) {
        problems.extend(check_name(name, &seen).err());
        seen.push(name.get_ref());
    }
    problems
}

fn check_name(name: &Text, seen: &[&str]) -> Result<(), Problem> {
    check_plain(name)?;
    let text = name.get_ref().as_str();
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let problem = Problem::new(name.span(), format!("`{text}` is a number, not a name"));
        return Err(problem.help("a name with a letter in it, such as \"reset-1\""));
    }
    if text == PREVIOUS {
        let problem = Problem::new(name.span(), "`previous` is the step before another");
        return Err(problem.help("another name, such as \"saturday\""));
    }
    if seen.contains(&text) {
        let problem = Problem::new(name.span(), format!("step `{text}` comes twice"));
        return Err(problem.help("every name comes once"));
    }
    Ok(())
}

/// The word for the action of an event, of a procedure its name; `step` if it has none.
fn word(event: &RawEvent) -> &'static str {
    let Some((verb, given)) = event.actions.first() else { return "step" };
    let called = (verb.key == PROCEDURE).then(|| Procedure::word(given.text("name").get_ref()));
    called.flatten().unwrap_or(verb.word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_without_a_name_are_called_by_their_action_and_its_number() {
        let steps = [(None, "regenerate"), (None, "restart"), (None, "restart"), (None, "reset")];
        assert_eq!(named(&steps), ["regenerate-1", "restart-1", "restart-2", "reset-1"]);
        let steps = [(Some("early"), "reset"), (None, "reset"), (Some("reset-3"), "stop")];
        assert_eq!(named(&steps), ["early", "reset-2", "reset-3"]);
        let taken = [(Some("reset-2"), "stop"), (None, "reset"), (None, "reset")];
        assert_eq!(named(&taken), ["reset-2", "reset-1", "reset-3"]);
    }

    #[test]
    fn an_array_of_other_tables_has_no_steps() {
        let table: toml::Table = toml::from_str("a=[{name='x'}]\nb=[{stop={}}]").unwrap();
        let names = |key: &str| names_in(table[key].as_array().unwrap());
        assert_eq!((names("a"), names("b")), (None, Some(vec!["stop-1".to_owned()])));
    }
}
