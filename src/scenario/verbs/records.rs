use crate::base::NodeId;
use crate::cluster::operator::records::{AddRecord, RemoveRecord};

use super::super::error::Problem;
use super::{Argument, Given, Reader, Verb};

pub(super) const VERBS: &[Verb] = &[
    Verb {
        key: "add-record",
        word: "add-record",
        takes: &[Argument::text("node")],
        read: |given, reader| {
            let (node, name) = record(given, reader)?;
            Ok(AddRecord { node, name }.into())
        },
        write: |entry, _| {
            let AddRecord { name, .. } = entry.action.get()?;
            Some(vec![("node", name.as_str().into())])
        },
    },
    Verb {
        key: "remove-record",
        word: "remove-record",
        takes: &[Argument::text("node")],
        read: |given, reader| {
            let (node, name) = record(given, reader)?;
            Ok(RemoveRecord { node, name }.into())
        },
        write: |entry, _| {
            let RemoveRecord { name, .. } = entry.action.get()?;
            Some(vec![("node", name.as_str().into())])
        },
    },
];

/// The node and the name, present or earlier, whose record is added or removed.
fn record(given: &Given, reader: &Reader<'_>) -> Result<(NodeId, String), Problem> {
    let text = given.text("node");
    let node = reader.node(text)?;
    if reader.topology.domain.is_none() {
        let problem = Problem::new(text.span(), "no phone resolves a name here");
        return Err(problem.help("set cluster.domain, so that configurations carry names"));
    }
    Ok((node, text.get_ref().clone()))
}
