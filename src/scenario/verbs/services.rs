use crate::base::NodeId;
use crate::cluster::operator::services::{ActivateCapf, Change, Services};
use crate::cluster::{IMPLIED_SERVICES, SERVICES, ServiceKind, Topology};

use super::super::error::Problem;
use super::super::names::{one_of, runs};
use super::super::plan::{FollowUp, TimelineEntry};
use super::super::quantity::positive;
use super::{Argument, Given, Reader, Step, Verb, Written, name_of};

pub(super) const VERBS: &[Verb] = &[
    Verb {
        key: "restart",
        word: "restart",
        takes: TAKES,
        read: |given, reader| read(Change::Restart, given, reader),
        write: |entry, topology| write(Change::Restart, entry, topology),
    },
    Verb {
        key: "start",
        word: "start",
        takes: TAKES,
        read: |given, reader| read(Change::Start, given, reader),
        write: |entry, topology| write(Change::Start, entry, topology),
    },
    Verb {
        key: "stop",
        word: "stop",
        takes: TAKES,
        read: |given, reader| read(Change::Stop, given, reader),
        write: |entry, topology| write(Change::Stop, entry, topology),
    },
    Verb {
        key: "activate",
        word: "activate",
        takes: &[Argument::text("service"), Argument::text("node")],
        read: activate,
        write: |entry, topology| {
            let ActivateCapf = entry.action.get()?;
            let publisher = topology.nodes[0].name.as_str().into();
            Some(vec![("service", ServiceKind::Capf.name().into()), ("node", publisher)])
        },
    },
];

const TAKES: &[Argument] = &[
    Argument::text("service").or_none(),
    Argument::text("node"),
    Argument::length("for").or_none(),
];

/// Other services than CAPF are where the scenario places them from the start.
fn activate(given: &Given, reader: &mut Reader<'_>) -> Result<Step, Problem> {
    let (service, node) = (given.text("service"), given.text("node"));
    one_of(service, "service", &[ServiceKind::Capf], ServiceKind::name)?;
    if reader.node(node)?.index() != 0 {
        let problem = Problem::new(node.span(), "CAPF is active on the publisher only");
        return Err(problem.help(format!("node = \"{}\"", reader.topology.nodes[0].name)));
    }
    if std::mem::replace(&mut reader.has_capf, true) {
        let problem = Problem::new(service.span(), "CAPF is active there already");
        return Err(problem.help("leave the step out, or \"capf\" out of the node's services"));
    }
    Ok(ActivateCapf.into())
}

/// A stop that lasts is a stop and, that much later, a start; that of a restart is waited for.
fn read(change: Change, given: &Given, reader: &Reader<'_>) -> Result<Step, Problem> {
    let (node, service) = services(given, reader)?;
    let Some(length) = given.length_if("for") else {
        return Ok(Services { change, node, service }.into());
    };
    if change == Change::Start {
        let problem = Problem::new(length.span(), "`for` does not go with `start`");
        return Err(problem.help("`stop` and `restart` take a `for`"));
    }
    let action = Services::start(node, service).into();
    let is_awaited = change == Change::Restart;
    let then = FollowUp { delay: positive(length)?, action, is_awaited };
    Ok(Step { then: Some(then), ..Services::stop(node, service).into() })
}

/// The node and the service that are started or stopped.
fn services(given: &Given, reader: &Reader<'_>) -> Result<(NodeId, Option<ServiceKind>), Problem> {
    let node = reader.node(given.text("node"))?;
    let Some(text) = given.text_if("service") else {
        return Ok((node, None));
    };
    let all = [&SERVICES[..], &IMPLIED_SERVICES].concat();
    let service = one_of(text, "service", &all, ServiceKind::name)?;
    let is_activated = service == ServiceKind::Capf && node.index() == 0 && reader.has_capf;
    if !is_activated {
        runs(reader.topology, node, service, given.text("node"))?;
    }
    Ok((node, Some(service)))
}

fn write(change: Change, entry: &TimelineEntry, topology: &Topology) -> Option<Written> {
    let action: &Services = entry.action.get()?;
    let read_as = match &entry.then {
        Some(then) if then.is_awaited => Change::Restart,
        _ => action.change,
    };
    let service = action.service.map(|service| ("service", service.name().into()));
    let length = entry.then.as_ref().map(|then| ("for", then.delay.to_string().into()));
    let node = ("node", name_of(topology, action.node));
    (read_as == change).then(|| service.into_iter().chain([node]).chain(length).collect())
}
