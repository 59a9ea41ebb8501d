//! Safe orders of steps by their names (`spec/domain.md` section 9.1): a scenario calls one, and what
//! is planned are its steps.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;

use crate::base::{NodeId, Span};
use crate::cluster::operator::certificates::Regenerate;
use crate::cluster::operator::ctl::UpdateCtl;
use crate::cluster::operator::parameters::{Parameter, SetParameter};
use crate::cluster::operator::phones::ResetPhones;
use crate::cluster::operator::services::Services;
use crate::cluster::{CertificateKind, OperatorAction, ServiceKind, Topology};

use super::super::error::Problem;
use super::super::names::{Text, check_unique, one_of, runs};
use super::super::plan::Trigger;
use super::certificates::certificate;
use super::{Argument, Given, Reader, Step, Verb};

pub(super) const VERBS: &[Verb] = &[Verb {
    key: PROCEDURE,
    word: PROCEDURE,
    takes: &[
        Argument::name("name"),
        Argument::names("nodes").or_none(),
        Argument::names("certificates").or_none(),
        Argument::length("spread").or_none(),
    ],
    read: procedure,
    // Its steps are written.
    write: |_, _| None,
}];

/// The key of the event.
pub(in crate::scenario) const PROCEDURE: &str = "procedure";

/// A safe order of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::scenario) enum Procedure {
    /// The recommended one (X-04, SAFE-04): a type of certificate on all nodes, a reset, the next.
    OneTypeAtATime,
    /// The second TFTP node serves while the first one changes, then the other way round (SAFE-02).
    TwoTftpOrder,
    /// The lists are blank while the certificates change (SAFE-05 to SAFE-08).
    Rollback,
}

/// Every procedure; the recommended one first.
const PROCEDURES: [Procedure; 3] =
    [Procedure::OneTypeAtATime, Procedure::TwoTftpOrder, Procedure::Rollback];

impl Procedure {
    const fn name(self) -> &'static str {
        match self {
            Procedure::OneTypeAtATime => "one-type-at-a-time",
            Procedure::TwoTftpOrder => "two-tftp-order",
            Procedure::Rollback => "rollback",
        }
    }

    /// The name of a procedure as a word for its steps, if there is one with this name.
    pub(in crate::scenario) fn word(name: &str) -> Option<&'static str> {
        PROCEDURES.into_iter().map(Procedure::name).find(|known| *known == name)
    }

    /// What it changes unless somebody says so.
    const fn certificates(self) -> &'static [CertificateKind] {
        use CertificateKind::{CallManager, Capf, Tvs};
        match self {
            Procedure::OneTypeAtATime => &[CallManager, Tvs, Capf],
            Procedure::TwoTftpOrder => &[CallManager],
            Procedure::Rollback => &[CallManager, Tvs],
        }
    }
}

/// Within which time phones are reset unless somebody says so (choice).
const SPREAD: Span = Span::from_secs(30);

fn procedure(given: &Given, reader: &mut Reader<'_>) -> Result<Step, Problem> {
    // A name without a table has no place of its own.
    let name =
        Spanned::new(place(given.text("name"), reader), given.text("name").get_ref().clone());
    let procedure = one_of(&name, "procedure", &PROCEDURES, Procedure::name)?;
    if procedure == Procedure::Rollback && reader.is_mixed {
        let what = "the rollback parameter does not help a cluster in mixed mode (SAFE-10)";
        let help = "it empties the ITL and never the CTL, by which phones judge first: \
                    one-type-at-a-time is the procedure for it";
        return Err(Problem::new(name.span(), what).help(help));
    }
    let nodes = nodes(procedure, given, reader, &name)?;
    let kinds = kinds(procedure, given)?;
    let spread = given.length_if("spread").map_or(SPREAD, |spread| spread.get_ref().0);
    let mut steps = Steps { topology: reader.topology, spread, waits: true, list: Vec::new() };
    match procedure {
        Procedure::OneTypeAtATime => kinds.iter().for_each(|&kind| steps.change(&[kind], &nodes)),
        Procedure::TwoTftpOrder => steps.two_tftp_order(&kinds, nodes[0], nodes[1]),
        Procedure::Rollback => steps.rollback(&kinds, &nodes),
    }
    if reader.is_mixed {
        steps.update_ctl();
    }
    let mut all = steps.list.into_iter();
    let (_, first) = all.next().expect("a procedure has steps");
    Ok(Step { rest: all.collect(), ..Step::of(first) })
}

fn place(text: &Text, reader: &Reader<'_>) -> Range<usize> {
    Some(text.span()).filter(|span| !span.is_empty()).unwrap_or_else(|| reader.place.clone())
}

/// The nodes whose certificates change: of two TFTP nodes the primary first.
fn nodes(
    procedure: Procedure,
    given: &Given,
    reader: &Reader<'_>,
    name: &Text,
) -> Result<Vec<NodeId>, Problem> {
    let is_pair = procedure == Procedure::TwoTftpOrder;
    let Some(texts) = given.names_if("nodes") else {
        let mut nodes = reader.tftp_nodes();
        if is_pair {
            nodes.truncate(2);
        }
        return match nodes.len() {
            1 if is_pair => {
                let what = "the two-TFTP order needs two nodes with TFTP, and there is one";
                let help = "one-type-at-a-time goes with one node";
                Err(Problem::new(name.span(), what).help(help))
            }
            _ => Ok(nodes),
        };
    };
    let span = given.names_place("nodes");
    if is_pair && texts.len() != 2 {
        let what = format!("the two-TFTP order has two nodes, not {}", texts.len());
        return Err(Problem::new(span, what).help("nodes = [primary, secondary]"));
    }
    if texts.is_empty() {
        let problem = Problem::new(span, "a procedure without nodes");
        return Err(problem.help("name one at least, or leave `nodes` out: all TFTP nodes"));
    }
    check_unique("node", &texts)?;
    let node = |text: &Text| {
        let node = reader.node(text)?;
        if is_pair {
            runs(reader.topology, node, ServiceKind::Tftp, text)?;
        }
        Ok(node)
    };
    texts.iter().map(node).collect()
}

/// The certificates that change, in their order.
fn kinds(procedure: Procedure, given: &Given) -> Result<Vec<CertificateKind>, Problem> {
    let Some(texts) = given.names_if("certificates") else {
        return Ok(procedure.certificates().to_vec());
    };
    if texts.is_empty() {
        let problem = Problem::new(given.names_place("certificates"), "nothing changes");
        return Err(problem.help("name one certificate at least, or leave `certificates` out"));
    }
    check_unique("certificate", &texts)?;
    let kind = |text: &Text| match certificate(text)? {
        CertificateKind::ItlRecovery => {
            let problem = Problem::new(text.span(), "ITLRecovery is no certificate of a service");
            Err(problem.help("regenerate it in a step of its own"))
        }
        kind => Ok(kind),
    };
    texts.iter().map(kind).collect()
}

/// The steps of a procedure as they are laid down.
struct Steps<'a> {
    topology: &'a Topology,
    spread: Span,
    /// Whether the next step waits for the fleet.
    waits: bool,
    list: Vec<(Trigger, OperatorAction)>,
}

impl Steps<'_> {
    fn push(&mut self, action: impl Into<OperatorAction>) {
        let waits = std::mem::replace(&mut self.waits, false);
        let trigger = Trigger::AfterPrevious { delay: Span::ZERO };
        self.list.push((if waits { Trigger::FleetSettled } else { trigger }, action.into()));
    }

    /// The phones are reset, and the next step waits for them.
    fn reset(&mut self) {
        self.push(ResetPhones { spread: self.spread });
        self.waits = true;
    }

    fn regenerate(&mut self, kinds: &[CertificateKind], nodes: &[NodeId]) {
        for &certificate in kinds {
            nodes.iter().for_each(|&node| self.push(Regenerate { certificate, node }));
        }
    }

    /// Restarts all that these certificates want, but for the TFTP of a node that is stopped.
    fn restart(&mut self, kinds: &[CertificateKind], nodes: &[NodeId], stopped: Option<NodeId>) {
        let of = |&node: &NodeId| kinds.iter().map(move |&kind| (node, kind));
        let changed: Vec<(NodeId, CertificateKind)> = nodes.iter().flat_map(of).collect();
        for (node, service) in self.topology.restarts_for(&changed) {
            if service != ServiceKind::Tftp || stopped != Some(node) {
                self.push(Services::restart(node, Some(service)));
            }
        }
    }

    fn restart_all(&mut self, service: ServiceKind) {
        let nodes: Vec<NodeId> = self.topology.nodes_with(service).collect();
        nodes.into_iter().for_each(|node| self.push(Services::restart(node, Some(service))));
    }

    fn change(&mut self, kinds: &[CertificateKind], nodes: &[NodeId]) {
        self.regenerate(kinds, nodes);
        self.restart(kinds, nodes, None);
        self.reset();
    }

    fn two_tftp_order(&mut self, kinds: &[CertificateKind], first: NodeId, second: NodeId) {
        self.push(Services::stop(first, Some(ServiceKind::Tftp)));
        self.regenerate(kinds, &[first]);
        self.restart(kinds, &[first], Some(first));
        self.reset();
        self.push(Services::start(first, Some(ServiceKind::Tftp)));
        self.change(kinds, &[second]);
    }

    fn rollback(&mut self, kinds: &[CertificateKind], nodes: &[NodeId]) {
        self.set_rollback(true);
        self.regenerate(kinds, nodes);
        self.restart(kinds, nodes, None);
        self.set_rollback(false);
    }

    /// The change of the parameter resets the phones, too early for the list that TFTP makes when
    /// it starts again (SAFE-07, SAFE-08).
    fn set_rollback(&mut self, value: bool) {
        self.push(SetParameter { parameter: Parameter::Rollback(value), spread: self.spread });
        self.waits = true;
        self.restart_all(ServiceKind::Tftp);
        self.reset();
    }

    /// Mixed mode: a CTL is made by hand after all changes (CTL-02).
    fn update_ctl(&mut self) {
        self.push(UpdateCtl::AS_EVER);
        self.restart_all(ServiceKind::CallManager);
        self.restart_all(ServiceKind::Tftp);
        self.reset();
    }
}

impl Reader<'_> {
    /// The TFTP nodes: first those that phones ask, in their order.
    fn tftp_nodes(&self) -> Vec<NodeId> {
        let homes = self.homes.iter().flat_map(|home| home.iter().copied());
        let mut seen = BTreeSet::new();
        homes
            .chain(self.topology.nodes_with(ServiceKind::Tftp))
            .filter(|&id| seen.insert(id))
            .collect()
    }
}
