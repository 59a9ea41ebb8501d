use crate::cluster::operator::hosts::Rename;

use super::super::error::Problem;
use super::super::names::{Text, check_domain, check_host};
use super::{Argument, Given, Reader, Step, Verb, name_of};

pub(super) const VERBS: &[Verb] = &[Verb {
    key: "rename",
    word: "rename",
    takes: &[
        Argument::text("node"),
        Argument::text("to").or_none(),
        Argument::text("domain").or_none(),
    ],
    read: rename,
    write: |entry, topology| {
        let Rename { node, to, domain } = entry.action.get()?;
        let node = ("node", name_of(topology, *node));
        let rest = [("to", to), ("domain", domain)].into_iter();
        let rest = rest.filter_map(|(key, name)| Some((key, name.as_deref()?.into())));
        Some([node].into_iter().chain(rest).collect())
    },
}];

fn rename(given: &Given, reader: &mut Reader<'_>) -> Result<Step, Problem> {
    let node = reader.node(given.text("node"))?;
    let [to, domain] = ["to", "domain"].map(|key| given.text_if(key));
    to.map_or(Ok(()), check_host)?;
    domain.map_or(Ok(()), check_domain)?;
    if to.or(domain).is_none() {
        let problem = Problem::new(reader.place.clone(), "a rename without a new name");
        return Err(problem.help("to = \"NAME\", domain = \"DOMAIN\", or both"));
    }
    reader.rename(node, to, domain)?;
    let own = |text: Option<&Text>| text.map(|text| text.get_ref().clone());
    Ok(Rename { node, to: own(to), domain: own(domain) }.into())
}
