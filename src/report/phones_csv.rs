use std::borrow::Cow;
use std::io::{self, Write};
use std::net::IpAddr;

use crate::base::{DeviceName, PhoneId, Time};
use crate::measure::{Ledger, PhoneRecord, Registration, StepKind};
use crate::phone::{Failure, Outcome};
use crate::play::{Records, RollEntry, group_of};
use crate::scenario::Plan;

use super::table::{seconds_cell, whole_us, write_csv};
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
///
/// # Errors
/// What `out` said.
pub fn phones_csv(
    plan: &Plan,
    ledger: &Ledger,
    records: &Records,
    out: impl Write,
) -> io::Result<()> {
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
            Cow::Owned(DeviceName::of_phone(phone).to_string()),
            Cow::Owned(fleet.model(phone).to_string()),
            Cow::Borrowed(group.map(|group| group.name.as_str()).unwrap_or_default()),
            Cow::Borrowed(site(plan, phone)),
            entry.map(|entry| tftp(plan, entry)).unwrap_or_default(),
        ];
        let cells = own.into_iter().chain(course(ledger, phone, record, records));
        let cells = cells.chain(found(records, record, entry).map(Cow::Borrowed));
        Some(cells.chain(registration(plan, record)))
    });
    write_csv(out, &PHONE_COLUMNS, rows)
}

fn site(plan: &Plan, phone: PhoneId) -> &str {
    if plan.fleet.sites.is_empty() {
        return "";
    }
    &plan.fleet.sites[plan.fleet.site_of(plan.seed, phone)].name
}

fn tftp<'a>(plan: &'a Plan, entry: &RollEntry) -> Cow<'a, str> {
    match plan.target {
        Some(_) => format!("target {}", entry.tftp.node + 1).into(),
        None => plan.topology.node(entry.tftp).name.as_str().into(),
    }
}

/// Microseconds from the start of the run.
fn since_start(time: Time) -> u64 {
    whole_us(time.since(Time::ZERO))
}

/// From its reset to what became of it.
fn course(
    ledger: &Ledger,
    phone: PhoneId,
    record: &PhoneRecord,
    records: &Records,
) -> [Cow<'static, str>; 9] {
    let note = records.journal.phone(phone).copied().unwrap_or_default();
    let was_reset = record.outcome.is_some() && note.started > Time::ZERO
        || record.outcome.is_some() && record.settled > Time::ZERO;
    let ready = record.ready();
    let boot = ready.map(|ready| whole_us(ready.since(record.planned)));
    let (result, cause) = match record.outcome {
        Some(Outcome::Ready) => ("ready", Cow::Borrowed("")),
        Some(Outcome::Stuck) => ("stuck", "refused, and no TVS that it trusts".into()),
        Some(Outcome::Failed(Failure::Stale)) => ("stale", ledger.words(Failure::Stale).into()),
        Some(Outcome::Failed(failure)) => ("failed", ledger.words(failure).into()),
        None => ("not-reset", Cow::Borrowed("")),
    };
    let took = Some(u64::from(note.slowest_us)).filter(|_| note.slowest.is_some());
    let reset_at = |time: Time| seconds_cell(was_reset.then(|| since_start(time)));
    [
        reset_at(record.planned).into(),
        reset_at(note.started).into(),
        seconds_cell(ready.map(since_start)).into(),
        seconds_cell(boot).into(),
        result.into(),
        cause,
        if note.retries == 0 { "0".into() } else { note.retries.to_string().into() },
        note.slowest.map(StepKind::name).unwrap_or_default().into(),
        seconds_cell(took).into(),
    ]
}

/// What its end has found of it.
fn found<'a>(
    records: &'a Records,
    record: &PhoneRecord,
    entry: Option<&RollEntry>,
) -> [&'a str; 8] {
    let word = |yes: bool| if yes { "yes" } else { "no" };
    let itl = entry.and_then(|entry| records.roll.itls.get(usize::from(entry.itl?)));
    let conditions = entry.and_then(|entry| entry.conditions);
    let condition = |yes: Option<bool>| yes.map(word).unwrap_or_default();
    [
        word(record.symptoms.list_failed),
        word(record.symptoms.failed),
        word(record.symptoms.config_frozen),
        itl.map(String::as_str).unwrap_or_default(),
        condition(conditions.map(|all| all.list_differs)),
        condition(conditions.map(|all| all.tvs_differs)),
        condition(conditions.map(|all| all.no_backup)),
        condition(entry.and_then(|entry| entry.scriptable)),
    ]
}

/// Whether it is registered, or why not; since when, and with which node.
fn registration<'a>(plan: &'a Plan, record: &PhoneRecord) -> [Cow<'a, str>; 3] {
    let (state, since) = match record.registration {
        Registration::Off => return Default::default(),
        Registration::UnderWay => ("registering", None),
        Registration::Since(at) | Registration::Leaving(at) => ("registered", Some(at)),
        Registration::Not(cause) => (unregistered(cause), None),
    };
    let node = |address: IpAddr| {
        let mut nodes = plan.topology.nodes.iter();
        let known = nodes.find(|node| node.address == address && plan.target.is_none());
        known.map_or_else(|| address.to_string().into(), |node| node.name.as_str().into())
    };
    let with = record.registrar.filter(|_| since.is_some()).map(node);
    [state.into(), seconds_cell(since.map(since_start)).into(), with.unwrap_or_default()]
}
