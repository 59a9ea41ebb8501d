//! Keys of an event that name an action of the operator, in the groups of `cluster::operator`: how
//! the table behind each is read and written. A new one is one more entry of its group.

mod calendar;
mod certificates;
mod console;
mod ctl;
mod hosts;
mod lsc;
mod parameters;
mod phones;
mod procedures;
mod reader;
mod records;
mod recovery;
mod services;
mod table;

use toml::Value;

use crate::base::NodeId;
use crate::cluster::{Operation, OperatorAction, Topology};
use crate::console::Typed;

use super::error::Problem;
use super::plan::{FollowUp, TimelineEntry, Trigger};

pub(super) use certificates::{RENEW_PEER, certificate};
pub(super) use console::CONSOLE;
pub(super) use procedures::{PROCEDURE, Procedure};
pub(super) use reader::Reader;
pub(super) use table::{Argument, Given, KeyOf};

/// A key of an event that names an action of the operator.
#[derive(Debug)]
pub(super) struct Verb {
    /// The key.
    pub key: &'static str,
    /// What its steps are called that have no name of their own: this word and a number.
    pub word: &'static str,
    /// What its table holds, in the order in which it is listed.
    pub takes: &'static [Argument],
    /// What such a table stands for.
    pub read: fn(&Given, &mut Reader<'_>) -> Result<Step, Problem>,
    /// The table of an entry, if it is one of this verb.
    pub write: fn(&TimelineEntry, &Topology) -> Option<Written>,
}

/// What an event has the operator do.
#[derive(Debug)]
pub(super) struct Step {
    pub action: OperatorAction,
    pub then: Option<FollowUp>,
    /// The further steps of a procedure or of a session, each with its own time.
    pub rest: Vec<(Trigger, OperatorAction)>,
    /// What was typed at a console for each of the steps; empty if they were done elsewhere.
    pub typed: Vec<Typed>,
}

/// Keys and values of a table, in their order.
pub(super) type Written = Vec<(&'static str, Value)>;

/// Every verb, in the order in which they are listed to users.
pub(super) fn verbs() -> impl Iterator<Item = &'static Verb> {
    let groups = [
        certificates::VERBS,
        calendar::VERBS,
        console::VERBS,
        ctl::VERBS,
        hosts::VERBS,
        lsc::VERBS,
        parameters::VERBS,
        phones::VERBS,
        procedures::VERBS,
        services::VERBS,
        records::VERBS,
        recovery::VERBS,
    ];
    groups.into_iter().flatten()
}

/// The word for the action of an entry.
pub(super) fn word_of(entry: &TimelineEntry, topology: &Topology) -> &'static str {
    verbs().find(|verb| (verb.write)(entry, topology).is_some()).map_or("step", |verb| verb.word)
}

/// What stands for a value with this key that a verb needs and that is missing or wrong.
pub(super) fn stand_in(key: &str) -> Option<&'static str> {
    let mut arguments = verbs().flat_map(|verb| verb.takes);
    arguments.find(|argument| argument.key == key)?.stand_in()
}

impl Step {
    /// One action and nothing else.
    fn of(action: OperatorAction) -> Step {
        Step { action, then: None, rest: Vec::new(), typed: Vec::new() }
    }
}

impl<T: Operation> From<T> for Step {
    fn from(action: T) -> Step {
        Step::of(action.into())
    }
}

/// A node by its first name, which leads to it whatever it was renamed to.
fn name_of(topology: &Topology, node: NodeId) -> Value {
    topology.node(node).name.as_str().into()
}
