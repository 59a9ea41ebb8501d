use std::net::IpAddr;

use crate::base::{DeviceName, PhoneId, Time};
use crate::measure::{Ledger, PhoneRecord, Registration, StepKind};
use crate::phone::{Failure, Outcome};
use crate::play::{Records, RollEntry, group_of};
use crate::scenario::Plan;

use super::table::{seconds_cell, to_csv};
use super::trace::unregistered;

/// Columns of `phones.csv`. Times are in seconds from the start of the run. What begins with a
/// condition of TOOL-01 is empty where the servers are not ours, and what is about registration where
/// phones do not register.
pub const PHONE_COLUMNS: [&str; 25] = [
    "phone",
    "model",
    "group",
    "site",
    "tftp",
    "planned_s",
    "started_s",
    "ready_s",
    "boot_s",
    "result",
    "cause",
    "retries",
    "slowest_step",
    "slowest_s",
    "shows_list_failed",
    "shows_failed",
    "config_frozen",
    "itl",
    "itl_differs",
    "tvs_differs",
    "no_backup",
    "scriptable",
    "registration",
    "registered_s",
    "registered_with",
];

/// So many of them, from the first on, a reader cannot do without; the others came later.
pub const PHONES_NEEDED: usize = 14;

/// Rows that are written of phones that are ready (choice): 120 MB.
const READY_MAX: usize = 1_000_000;

/// `phones.csv`: a row for each phone, in the order of their numbers. Of the largest fleets those
/// that are ready are not all there.
pub fn phones_csv(plan: &Plan, ledger: &Ledger, records: &Records) -> String {
    let (sizes, fleet) = (plan.topology.group_sizes(plan.fleet.phones), plan.fleet_spec());
    let mut ready = 0;
    let rows = (0..).map(PhoneId).zip(ledger.phones()).filter_map(|(phone, record)| {
        let is_ready = record.outcome == Some(Outcome::Ready);
        ready += usize::from(is_ready);
        if is_ready && ready > READY_MAX {
            return None;
        }
        let group = plan.topology.groups.get(group_of(&sizes, phone));
        let entry = records.roll.entries.get(phone.0 as usize);
        let own = [
            DeviceName::of_phone(phone).to_string(),
            fleet.model(phone).to_string(),
            group.map(|group| group.name.clone()).unwrap_or_default(),
            site(plan, phone),
            entry.map(|entry| tftp(plan, entry)).unwrap_or_default(),
        ];
        let cells = own.into_iter().chain(course(ledger, phone, record, records));
        let cells = cells.chain(found(records, record, entry));
        Some(cells.chain(registration(plan, record)).collect::<Vec<_>>())
    });
    to_csv(&PHONE_COLUMNS, rows)
}

fn site(plan: &Plan, phone: PhoneId) -> String {
    if plan.fleet.sites.is_empty() {
        return String::new();
    }
    plan.fleet.sites[plan.fleet.site_of(plan.seed, phone)].name.clone()
}

fn tftp(plan: &Plan, entry: &RollEntry) -> String {
    match plan.target {
        Some(_) => format!("target {}", entry.tftp.node + 1),
        None => plan.topology.node(entry.tftp).name.clone(),
    }
}

/// From its reset to what became of it.
fn course(ledger: &Ledger, phone: PhoneId, record: &PhoneRecord, records: &Records) -> [String; 9] {
    let note = records.journal.phone(phone).copied().unwrap_or_default();
    let at = |time: Time| Some(time.as_secs_f64());
    let was_reset = record.outcome.is_some() && note.started > Time::ZERO
        || record.outcome.is_some() && record.settled > Time::ZERO;
    let ready = record.ready();
    let boot = ready.map(|ready| ready.since(record.planned).as_secs_f64());
    let (result, cause) = match record.outcome {
        Some(Outcome::Ready) => ("ready", String::new()),
        Some(Outcome::Stuck) => ("stuck", "refused, and no TVS that it trusts".to_owned()),
        Some(Outcome::Failed(Failure::Stale)) => ("stale", ledger.words(Failure::Stale)),
        Some(Outcome::Failed(failure)) => ("failed", ledger.words(failure)),
        None => ("not-reset", String::new()),
    };
    let took = Some(f64::from(note.slowest_us) / 1e6).filter(|_| note.slowest.is_some());
    [
        seconds_cell(at(record.planned).filter(|_| was_reset)),
        seconds_cell(at(note.started).filter(|_| was_reset)),
        seconds_cell(ready.and_then(at)),
        seconds_cell(boot),
        result.to_owned(),
        cause,
        note.retries.to_string(),
        note.slowest.map(StepKind::name).unwrap_or_default().to_owned(),
        seconds_cell(took),
    ]
}

/// What its end has found of it.
fn found(records: &Records, record: &PhoneRecord, entry: Option<&RollEntry>) -> [String; 8] {
    let word = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let itl = entry.and_then(|entry| records.roll.itls.get(usize::from(entry.itl?)));
    let conditions = entry.and_then(|entry| entry.conditions);
    let condition = |yes: Option<bool>| yes.map(word).unwrap_or_default();
    [
        word(record.symptoms.list_failed),
        word(record.symptoms.failed),
        word(record.symptoms.config_frozen),
        itl.cloned().unwrap_or_default(),
        condition(conditions.map(|all| all.list_differs)),
        condition(conditions.map(|all| all.tvs_differs)),
        condition(conditions.map(|all| all.no_backup)),
        condition(entry.and_then(|entry| entry.scriptable)),
    ]
}

/// Whether it is registered, or why not; since when, and with which node.
fn registration(plan: &Plan, record: &PhoneRecord) -> [String; 3] {
    let (state, since) = match record.registration {
        Registration::Off => return Default::default(),
        Registration::UnderWay => ("registering", None),
        Registration::Since(at) | Registration::Leaving(at) => ("registered", Some(at)),
        Registration::Not(cause) => (unregistered(cause), None),
    };
    let server = record.registrar.filter(|_| since.is_some());
    let node = |address: IpAddr| {
        let mut nodes = plan.topology.nodes.iter();
        let known = nodes.find(|node| node.address == address && plan.target.is_none());
        known.map_or_else(|| address.to_string(), |node| node.name.clone())
    };
    let since = since.map(Time::as_secs_f64);
    [state.to_owned(), seconds_cell(since), server.map(node).unwrap_or_default()]
}
