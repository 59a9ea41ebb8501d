//! Lines at the `admin:` console of a node, as its administrator types them.

use toml::Value;

use crate::base::{ClusterId, NodeId, Span, Time};
use crate::cluster::operator::parameters::{Parameter, SetParameter};
use crate::cluster::{OperatorAction, SecurityMode};
use crate::console::{Session, Typed, View};

use super::super::error::Problem;
use super::super::names::Text;
use super::super::plan::Trigger;
use super::{Argument, Given, Reader, Step, Verb, name_of};

pub(super) const VERBS: &[Verb] = &[Verb {
    key: CONSOLE,
    word: CONSOLE,
    takes: &[Argument::lines("lines"), Argument::text("node").or_none()],
    read: console,
    write: |entry, topology| {
        let Typed { node, lines } = entry.typed.as_ref()?;
        let lines = lines.iter().map(|line| Value::from(line.as_str())).collect();
        Some(vec![("lines", Value::Array(lines)), ("node", name_of(topology, *node))])
    },
}];

/// The key of the event.
pub(in crate::scenario) const CONSOLE: &str = "console";

/// Each command with the answers to its questions is a step.
fn console(given: &Given, reader: &mut Reader<'_>) -> Result<Step, Problem> {
    let node = given.text_if("node").map_or(Ok(PUBLISHER), |text| reader.node(text))?;
    let mut session = Session::new(node);
    let mut steps: Vec<(OperatorAction, Typed)> = Vec::new();
    let mut begun: Vec<&Text> = Vec::new();
    for line in given.lines("lines") {
        let action = typed(&mut session, line, reader)?;
        begun.push(line);
        if session.is_ready() || session.is_over() {
            let lines: Vec<String> = begun.drain(..).map(|line| line.get_ref().clone()).collect();
            let typed = Typed { node, lines };
            steps.push((action.unwrap_or_else(|| typed.look().into()), typed));
        }
    }
    if let Some(question) = begun.first() {
        let what = format!("`{}` asks `{}`", question.get_ref(), session.prompt().trim());
        let help = "the next line is the answer, such as \"yes\"";
        return Err(Problem::new(question.span(), what).help(help));
    }
    let (actions, typed): (Vec<_>, Vec<_>) = steps.into_iter().unzip();
    let mut actions = actions.into_iter();
    let Some(first) = actions.next() else {
        let problem = Problem::new(reader.place.clone(), "nothing is typed at the console");
        return Err(problem.help("such as console = [\"set cert regen CAPF\", \"yes\"]"));
    };
    let then = Trigger::AfterPrevious { delay: Span::ZERO };
    let rest = actions.map(|action| (then, action)).collect();
    Ok(Step { rest, typed, ..Step::of(first) })
}

/// Takes a line; a refused one is a fault of the scenario.
fn typed(
    session: &mut Session,
    line: &Text,
    reader: &mut Reader<'_>,
) -> Result<Option<OperatorAction>, Problem> {
    if session.is_over() {
        let problem = Problem::new(line.span(), "the session is over before this line");
        return Err(problem.help("`exit` and `quit` come last"));
    }
    let (topology, is_mixed) = (reader.topology, reader.is_mixed);
    let view = View { topology, is_mixed, cluster: None, now: Time::ZERO, sql: None };
    let answer = session.line(line.get_ref(), &view);
    if answer.is_refused {
        let said = answer.text.lines().last().unwrap_or_default();
        let what = format!("the console refuses `{}`: {said}", line.get_ref());
        return Err(Problem::new(line.span(), what).help("`help` at the console lists commands"));
    }
    let mode = answer.action.as_ref().and_then(|action| action.get());
    if let Some(SetParameter { parameter: Parameter::SecurityMode(mode), .. }) = mode {
        reader.is_mixed = *mode == SecurityMode::Mixed;
    }
    Ok(answer.action)
}

/// Where a session takes place unless somebody says so.
const PUBLISHER: NodeId = ClusterId::FIRST.node(0);
