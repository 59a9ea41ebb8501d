use std::path::Path;

use super::choice::choose;
use super::error::{Problem, ScenarioError};
use super::overrides::overridden;
use super::plan::Plan;
use super::resolve::resolve;
use super::shape::parse;

/// Reads the scenario `text` of the file `path` and applies `--set` overrides to it.
///
/// Each override is `key=value` with a dotted key; an element of an array of tables is addressed
/// by its number or its `name` (`cluster.node.pub.ports.tftp=0`). Paths of SLOs must be among
/// `known_paths` unless that is empty.
///
/// # Errors
/// Every fault that can be told, each with its place. A fault of the file is reported at its line there, whatever
/// the overrides are, unless an override repairs it.
pub fn load(
    path: &Path,
    text: &str,
    overrides: &[String],
    known_paths: &[String],
) -> Result<Plan, ScenarioError> {
    let file = path.display().to_string();
    let as_written = read(text, known_paths);
    if overrides.is_empty() {
        return as_written.map_err(|problems| error(&file, text, &problems));
    }
    // What is no TOML cannot be changed.
    if let (Err(problems), (None, _)) = (&as_written, parse(text)) {
        return Err(error(&file, text, problems));
    }
    let changed = overridden(&file, text, overrides)?;
    read(&changed, known_paths).map_err(|problems| {
        let written = as_written.err().unwrap_or_default();
        let of_file = |problem: &Problem| written.iter().find(|first| first.what == problem.what);
        let with_set = format!("{file} with --set");
        let errors = problems.iter().map(|problem| match of_file(problem) {
            Some(first) => ScenarioError::new(&file, text, first),
            None => ScenarioError::new(&with_set, &changed, problem),
        });
        all(errors.collect())
    })
}

/// The plan of `text`, or everything that is wrong with it.
fn read(text: &str, known_paths: &[String]) -> Result<Plan, Vec<Problem>> {
    let (raw, faults) = parse(text);
    let mut problems: Vec<Problem> = faults.0;
    let Some(mut raw) = raw else { return Err(problems) };
    problems.extend(choose(&mut raw).0);
    let shapes = problems.len();
    match resolve(&raw, known_paths) {
        Ok(plan) if shapes == 0 => return Ok(plan),
        Ok(_) => {}
        Err(faults) => problems.extend(faults.0),
    }
    // What follows from a part with a wrong shape is no fault of its own.
    let (wrong, rest) = problems.split_at(shapes);
    let apart = |problem: &&Problem| {
        !wrong.iter().any(|w| {
            w.place.start < problem.place.end.max(problem.place.start + 1)
                && problem.place.start < w.place.end.max(w.place.start + 1)
        })
    };
    let rest: Vec<Problem> = rest.iter().filter(apart).cloned().collect();
    problems.truncate(shapes);
    problems.extend(rest);
    Err(problems)
}

fn error(path: &str, text: &str, problems: &[Problem]) -> ScenarioError {
    all(problems.iter().map(|problem| ScenarioError::new(path, text, problem)).collect())
}

fn all(errors: Vec<ScenarioError>) -> ScenarioError {
    ScenarioError::of_all(errors).expect("a scenario is refused for a reason")
}

#[cfg(test)]
mod tests {
    use super::super::to_toml;
    use super::*;

    #[test]
    fn an_unknown_field_is_shown_with_its_line_a_mark_and_the_nearest_name() {
        let text = SMALL.replace("phones = 3", "phonez = 3");
        let error = fault(&text, &[]);
        assert_eq!((error.line, error.column), (6, 1));
        let expected = "\
error: unknown field `phonez`
 --> scenarios/small.toml:6:1
  |
6 | phonez = 3
  | ^^^^^^
  |
help: did you mean `phones`? fields here: phones, models, tftp, start, arrival, site, use";
        assert_eq!(&*error.rendered, expected);
        assert_eq!(error.to_string(), expected);
        assert!(error.coloured.contains('\u{1b}') && !error.rendered.contains('\u{1b}'));
    }

    #[test]
    fn a_missing_field_and_broken_toml_have_a_place() {
        let error = fault(&SMALL.replace("phones = 3", ""), &[]);
        assert_eq!((error.what.as_str(), error.line), ("missing field `phones`", 5));
        assert_eq!(error.help.as_deref(), Some("add `phones` to this table"));
        let error = fault(&SMALL.replace("[fleet]", "[fleet"), &[]);
        assert_eq!(error.line, 5);
    }

    #[test]
    fn a_quantity_without_a_unit_says_how_to_write_it() {
        let error = fault(&format!("{SMALL}[phone]\nthink = \"30\"\n"), &[]);
        assert_eq!(error.what, "`30` has no unit");
        assert!(error.help.unwrap().ends_with("such as 30s"));
        let error = fault(&format!("{SMALL}[phone]\nthink = 30\n"), &[]);
        assert!(error.what.contains("a length of time with its unit"), "{}", error.what);
        assert_eq!((error.line, error.column), (8, 9));
    }

    #[test]
    fn an_override_changes_the_plan() {
        let plan = loaded(SMALL, &["fleet.phones=7", "seed=9", "phone.think=2s"]);
        assert_eq!((plan.fleet.phones, plan.seed), (7, 9));
        assert_eq!(plan.phone.think.to_string(), "2s");
    }

    #[test]
    fn an_override_that_makes_a_fault_is_named() {
        let error = fault(SMALL, &["fleet.phones=0"]);
        assert!(error.path.ends_with("small.toml with --set"), "{}", error.path);
        assert!(error.rendered.contains("phones = 0"), "{error}");
    }

    #[test]
    fn a_fault_of_the_file_keeps_its_line_under_overrides() {
        let text = SMALL.replace("phones = 3", "phones = 0");
        let error = fault(&text, &["seed=9"]);
        assert_eq!((error.path.as_str(), error.line), ("scenarios/small.toml", 6));
    }

    #[test]
    fn an_override_may_repair_a_fault_of_the_file() {
        let text = SMALL.replace("phones = 3", "phones = 0");
        assert_eq!(loaded(&text, &["fleet.phones=2"]).fleet.phones, 2);
    }

    #[test]
    fn columns_count_characters() {
        let text = SMALL.replace("name = \"small\"", "about = \"ü\"\nname = \"smäll\"");
        let error = fault(&text, &[]);
        assert_eq!((error.line, error.column), (3, 8));
        assert!(error.rendered.contains("small.toml:3:8"), "{error}");
    }

    #[test]
    fn the_resolved_text_gives_the_same_plan() {
        let plan = loaded(SMALL, &[]);
        assert_eq!(loaded(&to_toml(&plan), &[]), plan);
    }

    const SMALL: &str = "\
schema = 1
name = \"small\"
[[cluster.node]]
name = \"pub\"
[fleet]
phones = 3
";

    fn loaded(text: &str, overrides: &[&str]) -> Plan {
        run(text, overrides).unwrap_or_else(|error| panic!("{error}"))
    }

    fn fault(text: &str, overrides: &[&str]) -> ScenarioError {
        run(text, overrides).expect_err("a fault")
    }

    fn run(text: &str, overrides: &[&str]) -> Result<Plan, ScenarioError> {
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        load(Path::new("scenarios/small.toml"), text, &overrides, &[])
    }
}
