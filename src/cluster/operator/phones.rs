//! What is done to phones.

use std::sync::Arc;

use super::{Impact, Operation, OperatorAction};
use crate::base::{Home, Model, PhoneId, Span, Time};
use crate::cluster::{ActionError, Cluster, Effect, ServiceKind, Topology};

/// Resets every phone; each boots at its own planned instant within the spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetPhones {
    /// Length of the reset wave; zero resets all phones at once.
    pub spread: Span,
}

impl Operation for ResetPhones {
    fn apply(&self, _: &mut Cluster, _: Time) -> Result<Vec<Effect>, ActionError> {
        Ok(vec![Effect::ResetPhones { spread: self.spread }])
    }

    fn words(&self, _: &Topology) -> String {
        format!("reset phones within {}", self.spread)
    }

    fn plan_words(&self, _: &Topology) -> String {
        match self.spread {
            Span::ZERO => "reset all phones at once".to_owned(),
            spread => format!("reset all phones within {spread}"),
        }
    }

    fn record(&self) -> String {
        format!("reset-phones {}", self.spread.as_nanos())
    }

    fn impact(&self, _: &Topology) -> Impact {
        Impact { wave: Some(self.spread), ..Impact::NOTHING }
    }
}

/// Moves phones to other TFTP nodes, of which they learn when they boot next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovePhones {
    /// Which phones.
    pub phones: Arc<[PhoneId]>,
    /// Where they belong from now on.
    pub to: Home,
}

impl Operation for MovePhones {
    fn apply(&self, cluster: &mut Cluster, _: Time) -> Result<Vec<Effect>, ActionError> {
        for &node in &*self.to {
            cluster.services(node, Some(ServiceKind::Tftp))?;
        }
        Ok(vec![Effect::MovePhones(Arc::clone(&self.phones), Arc::clone(&self.to))])
    }

    fn words(&self, topology: &Topology) -> String {
        let names: Vec<&str> = self.to.iter().map(|&id| topology.node(id).name.as_str()).collect();
        format!("move {} phones to {}", self.phones.len(), names.join(", "))
    }

    fn record(&self) -> String {
        let numbers: Vec<String> = self.phones.iter().map(|phone| phone.0.to_string()).collect();
        let nodes: Vec<String> = self.to.iter().map(|id| id.node.to_string()).collect();
        format!("move-phones {} {}", numbers.join(","), nodes.join(","))
    }

    fn impact(&self, _: &Topology) -> Impact {
        Impact::NOTHING
    }
}

/// Names the firmware load of phones: TFTP serves configurations with it at once, and phones take
/// it when they accept theirs. The image itself is not transferred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeFirmware {
    /// The load, such as `sip8845_65.14-3-1-0001-23`.
    pub load: String,
    /// For phones of this model; `None` for all.
    pub model: Option<Model>,
}

impl Operation for UpgradeFirmware {
    fn apply(&self, cluster: &mut Cluster, now: Time) -> Result<Vec<Effect>, ActionError> {
        cluster.set_load(self.model, &self.load, now)
    }

    fn words(&self, _: &Topology) -> String {
        match self.model {
            Some(model) => format!("name the load {} for phones of model {model}", self.load),
            None => format!("name the load {} for all phones", self.load),
        }
    }

    fn record(&self) -> String {
        let model = self.model.map_or_else(|| "all".to_owned(), |model| model.to_string());
        format!("upgrade-firmware {model} {}", self.load)
    }

    fn impact(&self, _: &Topology) -> Impact {
        Impact::NOTHING
    }
}

/// People go from phone to phone and erase the lists by hand; each phone boots when it has been
/// visited.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EraseLists {
    /// Who goes where, and how long it takes.
    pub visits: Visits,
}

/// Visits of technicians to phones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Visits {
    /// Which phones.
    pub only: Visited,
    /// The share of them that is visited, 0..=1.
    pub share: f64,
    /// People at work at the same time, at least 1.
    pub technicians: u32,
    /// Time of one at a phone whose settings can be reached.
    pub per_phone: Span,
    /// Share of the phones whose Settings Access is Restricted or Disabled, 0..=1: they need a
    /// factory reset (BOOT-17).
    pub restricted: f64,
    /// Time of one at such a phone.
    pub per_restricted: Span,
    /// No technician comes: a mail asks the users, and each presses the keys at a random moment of
    /// this time. Nobody does it at a restricted phone (TOOL-10).
    pub users_within: Option<Span>,
}

/// Phones that are visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visited {
    /// Those that are stuck when the people set out.
    Stuck,
    /// Every phone.
    All,
}

/// Every choice of phones.
pub const VISITED: [Visited; 2] = [Visited::Stuck, Visited::All];

impl Visited {
    /// The name in scenario files.
    pub const fn name(self) -> &'static str {
        match self {
            Visited::Stuck => "stuck",
            Visited::All => "all",
        }
    }
}

impl Operation for EraseLists {
    fn apply(&self, _: &mut Cluster, _: Time) -> Result<Vec<Effect>, ActionError> {
        Ok(vec![Effect::Visits(self.visits)])
    }

    fn words(&self, _: &Topology) -> String {
        let Visits { only, share, technicians, per_phone, restricted, per_restricted, .. } =
            self.visits;
        let percent = |share: f64| format!("{} %", (share * 1e6).round() / 1e4);
        let share = if share < 1.0 { format!("{} of ", percent(share)) } else { String::new() };
        let phones = match only {
            Visited::Stuck => "the stuck phones",
            Visited::All => "all phones",
        };
        if let Some(within) = self.visits.users_within {
            let left = if restricted > 0.0 {
                format!(", nobody at the {} without settings access", percent(restricted))
            } else {
                String::new()
            };
            return format!(
                "ask the users of {share}{phones} by mail to erase the lists: within {within}{left}"
            );
        }
        let slow = if restricted > 0.0 {
            format!(", {per_restricted} at the {} without settings access", percent(restricted))
        } else {
            String::new()
        };
        let people = if technicians == 1 { "technician" } else { "technicians" };
        format!(
            "erase the lists of {share}{phones} by hand: {technicians} {people}, {per_phone} a \
             phone{slow}"
        )
    }

    fn record(&self) -> String {
        let Visits { only, share, technicians, per_phone, restricted, per_restricted, .. } =
            self.visits;
        if let Some(within) = self.visits.users_within {
            let (only, within) = (only.name(), within.as_nanos());
            return format!("erase-lists {only} {share} users {within} {restricted}");
        }
        let (only, per_phone, slow) =
            (only.name(), per_phone.as_nanos(), per_restricted.as_nanos());
        format!("erase-lists {only} {share} {technicians} {per_phone} {restricted} {slow}")
    }

    fn impact(&self, _: &Topology) -> Impact {
        Impact::NOTHING
    }
}

/// What an action means for phones that are ours even where the servers are not.
pub fn effect_on_phones(action: &OperatorAction) -> Option<Effect> {
    let reset = action.get().map(|&ResetPhones { spread }| Effect::ResetPhones { spread });
    reset.or_else(|| action.get().map(|erase: &EraseLists| Effect::Visits(erase.visits)))
}
