//! What is likely not meant in a plan that can be run.

use std::collections::BTreeSet;

use crate::base::{NodeId, Purpose, Span, Time, stream};
use crate::cluster::ServiceKind;
use crate::cluster::operator::lsc::{LscPace, RollOutLsc};
use crate::cluster::operator::phones::{EraseLists, Visited};
use crate::cluster::operator::services::{Change, Services};
use crate::phone::{BootTime, family_of};
use crate::play::longest;
use crate::scenario::{FleetStart, Plan, TimelineEntry, Trigger};

use super::expiry::resets_after_the_end;
use super::rules::{broken_rules, step};

/// What is likely not meant in `plan`: each one sentence, a new line and `help: …`.
pub fn warnings(plan: &Plan) -> Vec<String> {
    let mut warnings = Vec::new();
    if !plan.timeline.iter().any(|entry| resets(plan, entry))
        && plan.fleet.start == FleetStart::ItlCurrent
        && plan.target.is_none()
        && plan.fleet.uses.is_empty()
    {
        warnings.push(
            "no step resets the phones, so that none of them does anything\n\
             help: end with reset-phones = { spread = \"30s\" }"
                .to_owned(),
        );
    }
    warnings.extend(foreign_faults(plan));
    warnings.extend(no_wait(plan));
    warnings.extend(services(plan));
    warnings.extend(broken_rules(plan).iter().map(ToString::to_string));
    warnings.extend(resets_after_the_end(plan));
    let (late, end) = Clock::new(plan).walk(plan);
    warnings.extend(late);
    warnings.extend(too_long(plan, end));
    warnings.extend(long_visits(plan));
    if plan.slos.is_empty() {
        warnings.push(
            "no SLO says what must come out, so that every outcome passes\n\
             help: add one, such as [[slo]] with expr = \"phones.stuck == 0\""
                .to_owned(),
        );
    }
    warnings
}

/// Defects that the release is not known to have.
fn foreign_faults(plan: &Plan) -> impl Iterator<Item = String> + '_ {
    let topology = &plan.topology;
    let foreign = topology.faults.iter().filter_map(|fault| fault.foreign_to(topology.release));
    foreign.map(|why| {
        format!("{why}\nhelp: it is played all the same; leave it out, or name another release")
    })
}

/// Whether phones boot because of it.
fn resets(plan: &Plan, entry: &TimelineEntry) -> bool {
    let rolls_out = |roll_out: &RollOutLsc| roll_out.pace.is_some();
    entry.action.impact(&plan.topology).wave.is_some()
        || entry.action.get::<EraseLists>().is_some()
        || entry.action.get().is_some_and(rolls_out)
}

/// How long the visits of step number `at`, from 0, take at most, if it is one: those to the whole
/// fleet.
pub(super) fn longest_visits(plan: &Plan, at: usize) -> Option<Span> {
    let action = &plan.timeline[at].action;
    if let Some(LscPace { batch: Some(batch), every, .. }) =
        action.get().and_then(|roll_out: &RollOutLsc| roll_out.pace)
    {
        let batches = u64::from(plan.fleet.phones.div_ceil(batch));
        return Some(Span::from_nanos(every.as_nanos().saturating_mul(batches)));
    }
    let EraseLists { visits } = action.get()?;
    Some(longest(visits, plan.seed, plan.fleet.phones))
}

/// Whether step number `at`, from 0, goes on while the phones of the reset before it boot.
pub(super) fn does_not_wait(plan: &Plan, at: usize) -> bool {
    let follows = matches!(plan.timeline[at].trigger, Trigger::AfterPrevious { .. });
    follows && at > 0 && resets(plan, &plan.timeline[at - 1])
}

fn no_wait(plan: &Plan) -> impl Iterator<Item = String> + '_ {
    (1..plan.timeline.len()).filter(|&at| does_not_wait(plan, at)).map(|at| {
        format!(
            "{} does not wait for the phones that {} resets\n\
             help: when = \"fleet-settled\" waits until every phone has settled",
            step(plan, at),
            step(plan, at - 1)
        )
    })
}

/// Starts of services that run, and stops of such that do not.
fn services(plan: &Plan) -> Vec<String> {
    let mut stopped: BTreeSet<(NodeId, ServiceKind)> = BTreeSet::new();
    let mut warnings = Vec::new();
    for (at, entry) in plan.timeline.iter().enumerate() {
        let services = entry.action.impact(&plan.topology).services;
        let Some(Services { change, node, service }) = services else { continue };
        if change == Change::Restart {
            stopped.retain(|&(of, kind)| of != node || service.is_some_and(|s| s != kind));
            continue;
        }
        let starts = change == Change::Start;
        let spec = plan.topology.node(node);
        let all = spec.services.iter().copied();
        let kinds: Vec<ServiceKind> =
            all.filter(|kind| service.is_none_or(|s| s == *kind)).collect();
        let changes = kinds.iter().any(|&kind| stopped.contains(&(node, kind)) == starts);
        if !changes {
            let what = service.map_or("every service", ServiceKind::name);
            let (verb, state) = if starts { ("starts", "runs") } else { ("stops", "is stopped") };
            warnings.push(format!(
                "{} {verb} {what} on {}, which {state} already\nhelp: leave the step out, or {}",
                step(plan, at),
                spec.name,
                if starts { "write restart" } else { "start it before" }
            ));
        }
        for kind in kinds {
            if starts || entry.then.is_some() {
                stopped.remove(&(node, kind));
            } else {
                stopped.insert((node, kind));
            }
        }
    }
    warnings
}

/// The earliest times at which the steps of a plan can be due.
struct Clock {
    /// When the step before was carried out.
    previous: Time,
    /// When the phones that were planned to boot can have settled.
    settled: Time,
    /// Until the last phone of a wave boots, as a part of its spread.
    last_phone: f64,
    /// Shortest boot of the slowest phones.
    boot: Span,
}

impl Clock {
    fn new(plan: &Plan) -> Clock {
        let draw = |phone| stream(plan.seed, u64::from(phone), Purpose::Arrival).unit();
        let last_phone = (0..plan.fleet.phones).map(draw).fold(0.0, f64::max);
        let boots = |share: &f64| *share > 0.0;
        let boot = match plan.phone.boot_time {
            BootTime::Fixed(time) => time,
            BootTime::Model { .. } => {
                let models = plan.fleet.models.iter().filter(|(_, share)| boots(share));
                let medians = models.map(|(model, _)| family_of(*model).boot.median_s);
                Span::from_nanos((medians.fold(0.0, f64::max) * 1e9) as u64)
            }
        };
        let mut clock = Clock { previous: Time::ZERO, settled: Time::ZERO, last_phone, boot };
        if plan.fleet.start == FleetStart::Factory || plan.target.is_some() {
            clock.wave(Time::ZERO, plan.fleet.arrival_within);
        }
        clock
    }

    /// All phones are planned to boot within `spread` from `at` on.
    fn wave(&mut self, at: Time, spread: Span) {
        self.settled = self.settled.max(at + spread.fraction(self.last_phone) + self.boot);
    }

    /// Warnings of steps whose time has passed when their turn comes, and when the plan can end.
    fn walk(mut self, plan: &Plan) -> (Vec<String>, Time) {
        let (mut warnings, mut end) = (Vec::new(), Time::ZERO);
        for (at, entry) in plan.timeline.iter().enumerate() {
            let due = match entry.trigger {
                Trigger::At(time) => time.max(self.previous),
                Trigger::AfterPrevious { delay } => self.previous + delay,
                Trigger::FleetSettled => self.previous.max(self.settled).max(end),
            };
            if let (Trigger::At(time), true) = (entry.trigger, at > 0)
                && time < self.previous
            {
                warnings.push(format!(
                    "{} is due at {time} and comes after {}, which is carried out at {} at the \
                     earliest: it is late\nhelp: write the steps in the order of their times",
                    step(plan, at),
                    step(plan, at - 1),
                    self.previous
                ));
            }
            if let Some(spread) = entry.action.impact(&plan.topology).wave {
                self.wave(due, spread);
            }
            if entry.action.get().is_some_and(|e: &EraseLists| e.visits.only == Visited::All)
                && let Some(length) = longest_visits(plan, at)
            {
                self.settled = self.settled.max(due + length + self.boot);
            }
            self.previous = due;
            if let Some(then) = &entry.then {
                let second = due + then.delay;
                end = end.max(second);
                self.previous = if then.is_awaited { second } else { due };
            }
            end = end.max(self.previous);
        }
        (warnings, end.max(self.settled))
    }
}

/// Visits that may not end within the time limit.
fn long_visits(plan: &Plan) -> impl Iterator<Item = String> + '_ {
    let limit = plan.limits.max_wall;
    let run = if plan.limits.max_wall_is_set { "the run" } else { "a live run" };
    (0..plan.timeline.len()).filter_map(move |at| {
        let length = longest_visits(plan, at).filter(|&length| length > limit)?;
        Some(format!(
            "{} takes up to {:.0} s, and max-wall ends {run} after {limit}\n\
             help: more technicians, a longer max-wall, or scaled minutes such as \
             per-phone = \"1s\"",
            step(plan, at),
            length.as_secs_f64()
        ))
    })
}

/// A plan that cannot end within its time limit.
fn too_long(plan: &Plan, end: Time) -> Option<String> {
    let limit = plan.limits.max_wall;
    let length = end.since(Time::ZERO);
    let run = if plan.limits.max_wall_is_set { "the run" } else { "a live run" };
    (length > limit).then(|| {
        format!(
            "the plan cannot end in time: it takes {:.0} s at least, max-wall ends {run} after \
             {limit}, and phones whose turn has not come by then are not reset\n\
             help: --max-wall {:.0}s or more, or a shorter spread",
            length.as_secs_f64(),
            (length.as_secs_f64() * 1.5).ceil()
        )
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::scenario::load;

    fn plan(events: &[&str], more: &[&str]) -> Plan {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/callmanager-regen.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let set = [format!("event=[{}]", events.join(",")), "fleet.phones=300".to_owned()];
        let all: Vec<String> =
            set.into_iter().chain(more.iter().map(|&text| text.to_owned())).collect();
        load(&path, &text, &all, &[]).unwrap_or_else(|error| panic!("{error}"))
    }

    const RESET: &str = "{when='fleet-settled', reset-phones={spread='30s'}}";

    fn first(events: &[&str], more: &[&str]) -> String {
        let all = warnings(&plan(events, more));
        assert_eq!(all.len(), 1, "{all:?}");
        assert!(all[0].contains("\nhelp: "), "{all:?}");
        all[0].clone()
    }

    #[test]
    fn a_sound_plan_has_no_warning() {
        assert!(warnings(&plan(&[RESET], &[])).is_empty());
        let restart = "{when='fleet-settled', restart={node='pub', service='tvs', for='8s'}}";
        assert!(warnings(&plan(&[restart, RESET], &[])).is_empty());
    }

    #[test]
    fn a_step_behind_a_reset_that_does_not_wait_is_warned_about() {
        let next = "{after='previous', name='late', restart={node='pub', service='tvs'}}";
        let warning = first(&[RESET, next], &[]);
        assert!(
            warning.starts_with("step 2 (late) does not wait for the phones that step 1 (reset-1)")
        );
        let waits = "{when='fleet-settled', restart={node='pub', service='tvs'}}";
        assert!(warnings(&plan(&[RESET, waits], &[])).is_empty());
    }

    #[test]
    fn times_out_of_order_are_warned_about() {
        let at = |time: &str| format!("{{at='{time}', restart={{node='pub', service='tvs'}}}}");
        let warning = first(&[&at("50s"), &at("20s"), RESET], &[]);
        assert!(warning.starts_with("step 2 (restart-2) is due at 20"), "{warning}");
        assert!(warnings(&plan(&[&at("20s"), &at("50s"), RESET], &[])).is_empty());
    }

    #[test]
    fn a_plan_that_cannot_end_in_time_is_warned_about() {
        let warning = first(&[RESET], &["run.max-wall=5s"]);
        assert!(warning.starts_with("the plan cannot end in time: it takes 30 s"), "{warning}");
        let twice = [RESET, "{when='fleet-settled', reset-phones={spread='6m'}}", RESET];
        assert!(warnings(&plan(&twice, &["run.max-wall=8m"])).is_empty());
        assert!(first(&twice, &["run.max-wall=6m"]).contains("it takes 41"));
        let slow = ["run.max-wall=2m", "phone.boot-time=3m"];
        assert!(first(&[RESET], &slow).contains("it takes 210 s"));
        let late = "{at='11m', reset-phones={}}";
        assert!(first(&[late], &[]).contains("it takes 660 s"));
    }

    #[test]
    fn visits_that_take_too_long_or_are_not_waited_for_are_warned_about() {
        let erase = |keys: &str| format!("{{when='fleet-settled', erase-lists={{{keys}}}}}");
        let short = erase("technicians=300, per-phone='1s'");
        assert!(warnings(&plan(&[RESET, &short], &[])).is_empty());
        let warning = first(&[RESET, &erase("technicians=3")], &[]);
        let said = "step 2 (erase-lists-1) takes up to 30000 s, and max-wall ends the run after 5m";
        assert!(warning.starts_with(said), "{warning}");
        let next = "{after='previous', restart={node='pub', service='tvs'}}";
        assert!(first(&[RESET, &short, next], &[]).contains("does not wait for the phones"));
        // Visits to all phones cannot be shorter than that.
        let all = warnings(&plan(&[&erase("only='all', technicians=3")], &[]));
        assert!(all.iter().any(|text| text.contains("it takes 30000 s at least")), "{all:?}");
    }

    #[test]
    fn a_start_of_what_runs_no_reset_and_no_slo_are_warned_about() {
        let start = "{at='1s', start={node='pub', service='tvs'}}";
        assert!(first(&[start, RESET], &[]).contains("starts tvs on pub, which runs already"));
        let stop = "{at='1s', stop={node='pub', service='tvs'}}";
        let again = "{after='previous', start={node='pub', service='tvs'}}";
        assert!(warnings(&plan(&[stop, again, RESET], &[])).is_empty());
        assert!(first(&[stop, stop, RESET], &[]).contains("which is stopped already"));
        assert!(first(&[], &[]).starts_with("no step resets the phones"));
        assert!(first(&[RESET], &["slo=[]"]).starts_with("no SLO says what must come out"));
        assert!(warnings(&plan(&[], &["fleet.start=factory"])).is_empty());
    }
}
