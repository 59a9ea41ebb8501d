use std::ops::Range;

use toml::{Table, Value};

use super::error::{Problem, ScenarioError, nearest};
use super::steps::{action_in, names_in};
use super::verbs::verbs;

/// The scenario `text` of `file` after `--set` overrides, as TOML without its comments.
///
/// # Errors
/// A fault of an override, placed in the override itself.
pub(super) fn overridden(
    file: &str,
    text: &str,
    overrides: &[String],
) -> Result<String, ScenarioError> {
    let mut scenario = toml::from_str(text)
        .map(Value::Table)
        .map_err(|error| ScenarioError::new(file, text, &Problem::from(error)))?;
    for text in overrides {
        apply(&mut scenario, text)
            .map_err(|problem| ScenarioError::new("--set", text, &problem))?;
    }
    toml::to_string(&scenario).map_err(|error| {
        let problem = Problem::new(0..0, error.to_string());
        ScenarioError::new("--set", &overrides.join("\n"), &problem)
    })
}

/// Applies one `key=value`.
fn apply(scenario: &mut Value, text: &str) -> Result<(), Problem> {
    let Some((key, value)) = text.split_once('=') else {
        let problem = Problem::new(0..text.len(), "an override is written key=value");
        return Err(problem.help("such as fleet.phones=500"));
    };
    let segments = segments(key);
    if let Some((place, _)) = segments.iter().find(|(_, name)| name.is_empty()) {
        let problem = Problem::new(place.clone(), "a part of the key is empty");
        return Err(problem.help("such as cluster.node.pub.ports.tftp=0"));
    }
    let Some((last, parents)) = segments.split_last() else {
        return Ok(());
    };
    let owner = descend(scenario, parents, 0..0)?;
    assign(owner, last, value)
}

/// The parts of a dotted key, each with its place in the override.
fn segments(key: &str) -> Vec<(Range<usize>, &str)> {
    let mut start = 0;
    key.split('.')
        .map(|part| {
            let name = part.trim();
            let at = start + (part.len() - part.trim_start().len());
            start += part.len() + 1;
            (at..at + name.len(), name)
        })
        .collect()
}

/// Follows `path` from `here`, making tables that do not exist yet.
fn descend<'a>(
    here: &'a mut Value,
    path: &[(Range<usize>, &str)],
    place: Range<usize>,
) -> Result<&'a mut Value, Problem> {
    let Some(((next, name), rest)) = path.split_first() else {
        return match here {
            Value::Array(_) | Value::Table(_) => Ok(here),
            _ => Err(Problem::new(place, "this key has a value, not a table")),
        };
    };
    check_action(here, next, name)?;
    let inner = match here {
        Value::Table(table) => {
            table.entry(name.to_string()).or_insert_with(|| Value::Table(Table::new()))
        }
        Value::Array(elements) => element(elements, next, name)?,
        _ => return Err(Problem::new(place, "this key has a value, not a table")),
    };
    descend(inner, rest, next.clone())
}

/// Sets the last part of a key.
fn assign(owner: &mut Value, last: &(Range<usize>, &str), value: &str) -> Result<(), Problem> {
    let (place, name) = last;
    check_action(owner, place, name)?;
    match owner {
        Value::Table(table) => {
            let is_text = TEXT_KEYS.contains(name) || table.get(*name).is_some_and(Value::is_str);
            let value = parsed(value, is_text);
            table.insert((*name).to_owned(), value);
        }
        Value::Array(elements) => {
            let slot = element(elements, place, name)?;
            *slot = parsed(value, slot.is_str());
        }
        _ => {}
    }
    Ok(())
}

/// Refuses another action for a step that has one: a number that names the wrong step is seen here.
fn check_action(step: &Value, place: &Range<usize>, key: &str) -> Result<(), Problem> {
    let is_action = verbs().any(|verb| verb.key == key);
    match action_in(step) {
        Some(own) if is_action && own.key != key && step.get(key).is_none() => {
            let problem = Problem::new(place.clone(), format!("this step has no `{key}`"));
            Err(problem.help(format!(
                "it has `{}`; steps count from 1, and `check` shows their numbers and names",
                own.key
            )))
        }
        _ => Ok(()),
    }
}

/// The element with this number, counted from 1, or with this name.
fn element<'a>(
    elements: &'a mut [Value],
    place: &Range<usize>,
    name: &str,
) -> Result<&'a mut Value, Problem> {
    let steps = names_in(elements);
    let names: Vec<Option<String>> = match steps.clone() {
        Some(steps) => steps.into_iter().map(Some).collect(),
        None => elements.iter().map(|element| named(element).map(str::to_owned)).collect(),
    };
    let by_name = names.iter().position(|own| own.as_deref() == Some(name));
    let number = name.parse::<usize>().ok();
    let by_number = || number?.checked_sub(1).filter(|&at| at < elements.len());
    if let Some(at) = by_name.or_else(by_number) {
        return Ok(&mut elements[at]);
    }
    let noun = if steps.is_some() { "step" } else { "element" };
    let names: Vec<&str> = names.iter().flatten().map(String::as_str).collect();
    let problem = Problem::new(place.clone(), format!("no {noun} `{name}` here"));
    let list = names.join(", ");
    Err(problem.help(match (nearest(name, &names), elements.len()) {
        (_, 0) => "the array is empty".to_owned(),
        (Some(near), _) => format!("did you mean `{near}`? {noun}s: {list}"),
        (None, count) if names.is_empty() => format!("numbers here go from 1 to {count}"),
        (None, count) if number.is_some() => format!("{noun}s count from 1 to {count}: {list}"),
        (None, _) => format!("{noun}s: {list}"),
    }))
}

/// The `name` of an array's element.
fn named(element: &Value) -> Option<&str> {
    element.get("name").and_then(Value::as_str)
}

/// Keys whose values are texts even where they look like numbers (`cluster.release=11.5`).
const TEXT_KEYS: [&str; 3] = ["about", "name", "release"];

/// `text` as a TOML value; bare text when it is none, or when a text belongs here.
fn parsed(text: &str, is_text: bool) -> Value {
    let text = text.trim();
    toml::from_str::<Table>(&format!("value = {text}"))
        .ok()
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("value"))
        .filter(|value| value.is_str() || value.is_array() || !is_text)
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_takes_the_place_of_a_text() {
        let two = after("fleet.tftp=['pub', 'sub']");
        assert_eq!(two["fleet"]["tftp"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn a_key_at_the_top_and_below_is_set() {
        assert_eq!(after("seed=7")["seed"].as_integer(), Some(7));
        assert_eq!(after("fleet.phones = 5_000")["fleet"]["phones"].as_integer(), Some(5_000));
        assert_eq!(after("fleet.models.8841=0.5")["fleet"]["models"]["8841"].as_float(), Some(0.5));
    }

    #[test]
    fn tables_that_are_missing_are_made() {
        assert_eq!(after("phone.think=2s")["phone"]["think"].as_str(), Some("2s"));
        assert_eq!(after("a.b.c=true")["a"]["b"]["c"].as_bool(), Some(true));
    }

    #[test]
    fn elements_are_addressed_by_name_or_number() {
        let port = |table: &Value| table["cluster"]["node"][1]["ports"]["tftp"].as_integer();
        assert_eq!(port(&after("cluster.node.sub.ports.tftp=0")), Some(0));
        assert_eq!(port(&after("cluster.node.2.ports.tftp=0")), Some(0));
        assert_eq!(after("slo.1.expr=a < 1")["slo"][0]["expr"].as_str(), Some("a < 1"));
    }

    #[test]
    fn an_array_can_be_emptied_and_an_element_replaced() {
        assert_eq!(after("slo=[]")["slo"].as_array().map(Vec::len), Some(0));
        let table = after("cluster.node.pub.services.1=tvs");
        assert_eq!(table["cluster"]["node"][0]["services"][0].as_str(), Some("tvs"));
    }

    #[test]
    fn a_text_stays_a_text() {
        assert_eq!(after("cluster.release=11.5")["cluster"]["release"].as_str(), Some("11.5"));
        assert_eq!(after("cluster.release=\"11.5\"")["cluster"]["release"].as_str(), Some("11.5"));
        assert_eq!(after("a.release=11.5")["a"]["release"].as_str(), Some("11.5"));
        assert_eq!(after("slo.1.expr=5")["slo"][0]["expr"].as_str(), Some("5"));
        assert_eq!(after("note=two words")["note"].as_str(), Some("two words"));
    }

    #[test]
    fn a_value_cannot_smuggle_a_second_key_in() {
        assert_eq!(after("seed=1\nname = \"x\"")["seed"].as_str(), Some("1\nname = \"x\""));
    }

    #[test]
    fn an_unknown_element_is_an_error_with_help() {
        let problem = fault("cluster.node.sup.ports.tftp=0");
        assert_eq!((problem.place, problem.what.as_str()), (13..16, "no element `sup` here"));
        assert_eq!(problem.help.unwrap(), "did you mean `sub`? elements: pub, sub");
        let problem = fault("slo.2.expr=a");
        assert_eq!(problem.help.unwrap(), "numbers here go from 1 to 1");
        assert_eq!(fault("cluster.node.3=1").what, "no element `3` here");
    }

    #[test]
    fn a_step_is_addressed_by_its_name_or_by_its_number_from_1() {
        let spread = |text: &str| {
            let table = after(text);
            table["event"][2]["reset-phones"]["spread"].as_str().unwrap().to_owned()
        };
        for key in ["event.reset-1", "event.3"] {
            assert_eq!(spread(&format!("{key}.reset-phones.spread=9s")), "9s");
        }
        let own = after("event.early.stop.node=sub");
        assert_eq!(own["event"][0]["stop"]["node"].as_str(), Some("sub"));
        let named = after("event.restart-1.name=later");
        assert_eq!(named["event"][1]["name"].as_str(), Some("later"));
    }

    #[test]
    fn the_number_of_another_step_is_refused_and_not_changed_silently() {
        let problem = fault("event.2.reset-phones.spread=9s");
        assert_eq!(
            (problem.place, problem.what.as_str()),
            (8..20, "this step has no `reset-phones`")
        );
        assert!(problem.help.unwrap().starts_with("it has `restart`; steps count from 1"));
        assert_eq!(fault("event.2.stop={}").what, "this step has no `stop`");
        for number in ["0", "4"] {
            let problem = fault(&format!("event.{number}.delay=9s"));
            assert_eq!(problem.what, format!("no step `{number}` here"));
            let help = problem.help.unwrap();
            assert_eq!(help, "steps count from 1 to 3: early, restart-1, reset-1");
        }
        let near = fault("event.reset-2.delay=9s").help.unwrap();
        assert!(near.starts_with("did you mean `reset-1`? steps: "), "{near}");
    }

    #[test]
    fn a_broken_override_is_an_error() {
        assert_eq!(fault("seed").what, "an override is written key=value");
        assert_eq!(fault("fleet..phones=1").place, 6..6);
        assert_eq!(fault("=1").what, "a part of the key is empty");
        let problem = fault("fleet.phones.x=1");
        assert_eq!(
            (problem.place, problem.what.as_str()),
            (6..12, "this key has a value, not a table")
        );
        assert_eq!(fault("seed.x=1").place, 0..4);
        assert_eq!(fault("seed.x.y=1").place, 0..4);
    }

    const TEXT: &str = r#"
seed = 1
cluster.release = "8.6"
fleet.phones = 1
slo = [{ expr = "b" }]
[[event]]
name = "early"
stop = { node = "pub" }
[[event]]
restart = { node = "pub" }
[[event]]
reset-phones = { spread = "1s" }
[[cluster.node]]
name = "pub"
services = ["tftp"]
[[cluster.node]]
name = "sub"
"#;

    fn after(text: &str) -> Value {
        let mut scenario = scenario();
        apply(&mut scenario, text).unwrap();
        scenario
    }

    fn fault(text: &str) -> Problem {
        apply(&mut scenario(), text).unwrap_err()
    }

    fn scenario() -> Value {
        Value::Table(toml::from_str(TEXT).unwrap())
    }
}
