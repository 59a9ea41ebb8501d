use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::base::{Home, Model, PhoneId};
use crate::cluster::operator::phones::MovePhones;
use crate::crypto::{DEVICES, device_of};
use crate::play::Homes;
use crate::scenario::Plan;

/// Phones of which nothing but luck tells one from the other: one of them stands for all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// Their `CallManager` group, as a position in the topology.
    pub group: usize,
    /// Their model.
    pub model: Model,
    /// Their site, as a position in the fleet; 0 if there are none.
    pub site: usize,
    /// The TFTP nodes that they ask when the run starts.
    pub home: Home,
    /// Whether their configuration is encrypted, and whether for a key that they do not hold.
    pub encrypted: Option<bool>,
    /// Whether they register over TLS, where phones register.
    pub secure: bool,
    /// Whether each step that moves phones moves them, in the order of the plan.
    pub moved: Vec<bool>,
}

/// The kinds of a fleet, and of which kind each phone is.
#[derive(Clone, Debug)]
pub(super) struct Kinds {
    pub(super) all: Vec<Kind>,
    /// The kind of each phone, by number.
    pub(super) of: Vec<u32>,
}

impl Kinds {
    pub(super) fn of_plan(plan: &Plan) -> Kinds {
        let fleet = plan.fleet_spec();
        let homes = Homes::of_plan(plan);
        let moves: Vec<&MovePhones> =
            plan.timeline.iter().filter_map(|entry| entry.action.get()).collect();
        let encrypts = |phone: PhoneId| {
            let key = fleet.encrypts_for(phone)?;
            Some(key != device_of(phone) % DEVICES)
        };
        let registers = plan.topology.registrar.is_some();
        let mut numbers: BTreeMap<Kind, u32> = BTreeMap::new();
        let mut of = Vec::with_capacity(fleet.phones as usize);
        let mut ends = plan.topology.group_sizes(fleet.phones).into_iter();
        let (mut group, mut end) = (0, ends.next().unwrap_or(fleet.phones));
        for phone in (0..fleet.phones).map(PhoneId) {
            while phone.0 >= end {
                group += 1;
                end += ends.next().unwrap_or(fleet.phones);
            }
            let kind = Kind {
                group: group.min(plan.topology.groups.len() - 1),
                model: fleet.model(phone),
                site: plan.fleet.site_of(plan.seed, phone),
                home: homes.of(phone).clone(),
                encrypted: if fleet.profiles.is_empty() { None } else { encrypts(phone) },
                secure: registers && fleet.profile(phone).is_some_and(|profile| profile.secure),
                moved: moves.iter().map(|step| step.phones.contains(&phone)).collect(),
            };
            let next = numbers.len() as u32;
            of.push(match numbers.entry(kind) {
                Entry::Vacant(free) => *free.insert(next),
                Entry::Occupied(known) => *known.get(),
            });
        }
        let mut all: Vec<(u32, Kind)> =
            numbers.into_iter().map(|(kind, number)| (number, kind)).collect();
        all.sort_by_key(|(number, _)| *number);
        Kinds { all: all.into_iter().map(|(_, kind)| kind).collect(), of }
    }

    /// The first phone of each kind, ascending.
    pub(super) fn first_phones(&self) -> Vec<u32> {
        // Numbers are given in the order in which kinds are met.
        let mut firsts: Vec<u32> = Vec::with_capacity(self.all.len());
        for (phone, &kind) in (0..).zip(&self.of) {
            if kind as usize == firsts.len() {
                firsts.push(phone);
            }
        }
        firsts
    }
}
