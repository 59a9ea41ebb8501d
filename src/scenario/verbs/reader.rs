use std::ops::Range;

use crate::base::{ClusterId, Home, NodeId};
use crate::cluster::{SecurityMode, ServiceKind, Topology};

use super::super::error::Problem;
use super::super::names::Text;

/// What the steps of a timeline can speak of. They are read in order, because a rename gives later
/// steps one more name.
#[derive(Debug)]
pub(in crate::scenario) struct Reader<'a> {
    pub topology: &'a Topology,
    /// Where phones take their files; nothing if that is not known.
    pub homes: &'a [Home],
    /// Where the step stands in the file.
    pub place: Range<usize>,
    /// Whether the cluster is in mixed mode at this step.
    pub is_mixed: bool,
    /// Whether CAPF is active on the publisher at this step.
    pub has_capf: bool,
    /// Names of each node, the present one last.
    names: Vec<Vec<String>>,
    /// Names of each node with its domains, earlier ones too; they lead to it in the DNS.
    full_names: Vec<Vec<String>>,
}

impl Reader<'_> {
    /// A reader of the first step.
    pub fn new<'a>(topology: &'a Topology, homes: &'a [Home]) -> Reader<'a> {
        let names = topology.nodes.iter().map(|node| vec![node.name.clone()]).collect();
        let full_names = topology.nodes.iter().map(|node| topology.full_name(node));
        let full_names = full_names.map(|name| name.into_iter().collect()).collect();
        let is_mixed = topology.security.mode == SecurityMode::Mixed;
        let publisher = topology.nodes.first();
        let has_capf = publisher.is_some_and(|node| node.services.contains(&ServiceKind::Capf));
        Reader { topology, homes, place: 0..0, is_mixed, has_capf, names, full_names }
    }

    /// The node with this name, old or new.
    pub fn node(&self, text: &Text) -> Result<NodeId, Problem> {
        self.find(text.get_ref()).ok_or_else(|| {
            let names = self.names.iter().flatten().map(String::as_str);
            Problem::unknown(text.span(), "node", text.get_ref(), names)
        })
    }

    /// Calls a node `to`, in `domain`, from the next step on; what is not given stays.
    pub fn rename(
        &mut self,
        node: NodeId,
        to: Option<&Text>,
        domain: Option<&Text>,
    ) -> Result<(), Problem> {
        if let Some(to) = to {
            let name = to.get_ref();
            let own = &self.names[node.index()];
            let used = match self.find(name) {
                Some(owner) if owner == node => own.last().is_some_and(|now| same_host(now, name)),
                other => other.is_some(),
            };
            if used {
                let problem = Problem::new(to.span(), format!("the name `{name}` is in use"));
                return Err(problem.help("old names still lead to their nodes; take a new one"));
            }
            self.names[node.index()].push(name.clone());
        }
        let full = &self.full_names[node.index()];
        let now = full.last().and_then(|full| full.split_once('.'));
        let of_now = now.map(|(_, domain)| domain.to_owned());
        if let Some(domain) = domain.filter(|new| Some(new.get_ref()) == of_now.as_ref()) {
            let what = format!("the node is in the domain `{}` already", domain.get_ref());
            return Err(Problem::new(domain.span(), what));
        }
        let domain = domain.map(|domain| domain.get_ref().clone()).or(of_now);
        let host = self.names[node.index()].last();
        if let Some((host, domain)) = host.zip(domain) {
            self.full_names[node.index()].push(format!("{host}.{domain}"));
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Option<NodeId> {
        let owns = |names: &Vec<String>| names.iter().any(|own| same_host(own, name));
        let of_hosts = self.names.iter().position(owns);
        of_hosts
            .or_else(|| self.full_names.iter().position(owns))
            .map(|at| ClusterId::FIRST.node(at as u8))
    }
}

/// Host names know no case.
fn same_host(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}
