use crate::cluster::operator::hosts::Rename;

use super::super::names::check_host;
use super::{Argument, Verb, name_of};

pub(super) const VERBS: &[Verb] = &[Verb {
    key: "rename",
    word: "rename",
    takes: &[Argument::text("node"), Argument::text("to")],
    read: |given, reader| {
        let (node, to) = (reader.node(given.text("node"))?, given.text("to"));
        check_host(to)?;
        reader.rename(node, to)?;
        Ok(Rename { node, to: to.get_ref().clone() }.into())
    },
    write: |entry, topology| {
        let Rename { node, to } = entry.action.get()?;
        Some(vec![("node", name_of(topology, *node)), ("to", to.as_str().into())])
    },
}];
