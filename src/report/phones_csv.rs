use std::borrow::Cow;
use std::io::{self, Write};

use crate::base::{DeviceName, PhoneId, Time};
use crate::measure::{Ledger, PhoneRecord, Registration, StepKind};
use crate::phone::{Failure, Outcome};
use crate::play::{Records, RollEntry, group_of};
use crate::scenario::Plan;

use super::table::{Cells, TableWriter, whole_us};
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
    let mut out = TableWriter::new(out, &PHONE_COLUMNS)?;
    let mut ready = 0;
    for (phone, record) in (0..).map(PhoneId).zip(ledger.phones()) {
        let is_ready = record.outcome == Some(Outcome::Ready);
        ready += usize::from(is_ready);
        if is_ready && ready > READY_MAX {
            continue;
        }
        let group = plan.topology.groups.get(group_of(&sizes, phone));
        let entry = records.roll.entries.get(phone.0 as usize);
        out.row(|cells| {
            cells.shown(DeviceName::of_phone(phone));
            cells.shown(fleet.model(phone));
            cells.text(group.map(|group| group.name.as_str()).unwrap_or_default());
            cells.text(site(plan, phone));
            cells.text(&entry.map(|entry| tftp(plan, entry)).unwrap_or_default());
            course(ledger, phone, record, records, cells);
            found(records, record, entry).into_iter().for_each(|cell| cells.text(cell));
            registration(plan, record, cells);
        })?;
    }
    out.end()
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
    cells: &mut Cells,
) {
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
    for time in [record.planned, note.started] {
        cells.seconds(was_reset.then(|| since_start(time)));
    }
    cells.seconds(ready.map(since_start));
    cells.seconds(boot);
    cells.text(result);
    cells.text(&cause);
    cells.shown(note.retries);
    cells.text(note.slowest.map(StepKind::name).unwrap_or_default());
    cells.seconds(took);
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
fn registration(plan: &Plan, record: &PhoneRecord, cells: &mut Cells) {
    let (state, since) = match record.registration {
        Registration::Off => ("", None),
        Registration::UnderWay => ("registering", None),
        Registration::Since(at) | Registration::Leaving(at) => ("registered", Some(at)),
        Registration::Not(cause) => (unregistered(cause), None),
    };
    cells.text(state);
    cells.seconds(since.map(since_start));
    let Some(address) = record.registrar.filter(|_| since.is_some()) else {
        return cells.text("");
    };
    let mut nodes = plan.topology.nodes.iter();
    match nodes.find(|node| node.address == address && plan.target.is_none()) {
        Some(node) => cells.text(&node.name),
        None => cells.shown(address),
    }
}
