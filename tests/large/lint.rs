//! The linter is right: what it says of a plan by playing a phone of each kind is, phone by phone,
//! what becomes of the whole fleet; a plan that it calls safe loses nobody, and the order that it
//! proposes is never worse and leaves nothing out.
//!
//! `RESETSTORM_PLAN=17 cargo test --test large lint` looks at one plan; `RESETSTORM_PLANS=1000` at more.

use std::path::Path;

use rayon::prelude::*;
use resetstorm::advice::{End, Lint, Lost, Prediction};
use resetstorm::base::{PhoneId, Stop};
use resetstorm::measure::{PhoneRecord, Registration, known_paths};
use resetstorm::phone::Outcome;
use resetstorm::scenario::{Plan, load, to_toml};
use resetstorm::sim::{SimOptions, World};

/// A build without optimisation takes long; `.ci/run` looks at all of these with one.
const PLANS: u64 = if cfg!(debug_assertions) { 40 } else { 150 };

/// What became of each phone of the whole fleet.
fn played(plan: &Plan) -> Vec<End> {
    let run = World::new(plan, SimOptions::default()).run();
    let end = |record: &PhoneRecord| match (record.outcome, record.registration) {
        (Some(Outcome::Ready), Registration::Not(why)) => End::Unregistered(why),
        (Some(Outcome::Ready), _) => End::Ready,
        (Some(Outcome::Stuck), _) => End::Stuck,
        (Some(Outcome::Failed(why)), _) => End::Failed(why),
        (None, _) => End::Untouched,
    };
    run.ledger.phones().iter().map(end).collect()
}

/// Without the reasons: `ready`, `stuck`, `failed`, `unregistered` or `-`.
fn word(end: End) -> &'static str {
    match end {
        End::Ready => "ready",
        End::Stuck => "stuck",
        End::Failed(_) => "failed",
        End::Unregistered(_) => "unregistered",
        End::Untouched => "-",
    }
}

fn lost(ends: &[End]) -> Lost {
    let count = |name: &str| ends.iter().filter(|&&end| word(end) == name).count() as u64;
    let [stuck, failed, unregistered] = ["stuck", "failed", "unregistered"].map(count);
    Lost { stuck, failed, unregistered }
}

/// What was looked at.
#[derive(Debug, Default)]
struct Seen {
    by_kinds: u64,
    safe: u64,
    proposed: u64,
}

fn look(seed: u64) -> Result<Seen, String> {
    let text = crate::worlds::plan_scenario(seed);
    let plan = load(Path::new("plan.toml"), &text, &[], &known_paths())
        .map_err(|error| format!("plan {seed}: {error}\n{text}"))?;
    let told = |what: String| Err(format!("plan {seed}: {what}\n{text}"));
    let prediction = Prediction::of(&plan, &Stop::default()).expect("nobody stops it");
    let ends = played(&plan);
    for (phone, &end) in (0..).map(PhoneId).zip(&ends) {
        let predicted = prediction.fate(phone).end;
        if word(predicted) != word(end) {
            return told(format!("{phone:?} ends {end:?}, predicted was {predicted:?}"));
        }
    }
    let lint = Lint::of(&plan, &Stop::default()).expect("nobody stops it");
    let was = lost(&ends);
    if lint.lost != was || lint.is_safe != was.is_nobody() {
        return told(format!("{was:?} are lost, and the linter says {lint:?}"));
    }
    let stranded: u64 = lint.stranded.iter().map(|row| row.phones).sum();
    if stranded != was.stuck + was.failed + was.unregistered {
        return told(format!("{stranded} of {was:?} are told by kind"));
    }
    if let Some(safer) = &lint.safer {
        let is = lost(&played(&safer.plan));
        if is > was || is != safer.lost {
            let said = safer.lost;
            return told(format!("{}: {is:?} are lost, said {said:?}, was {was:?}", safer.how));
        }
        // Nothing that changes anything is left out.
        let mut steps: Vec<String> = records(&safer.plan);
        for record in records(&plan).into_iter().filter(|record| !is_repeatable(record)) {
            match steps.iter().position(|other| *other == record) {
                Some(at) => drop(steps.remove(at)),
                None => return told(format!("{}: {record} is left out", safer.how)),
            }
        }
        let written = to_toml(&safer.plan);
        let again = load(Path::new("safer.toml"), &written, &[], &known_paths());
        if again.as_ref().map_err(ToString::to_string) != Ok(&safer.plan) {
            return told(format!("the order does not survive being written: {again:?}\n{written}"));
        }
    }
    Ok(Seen {
        by_kinds: u64::from(prediction.whole.is_none()),
        safe: u64::from(lint.is_safe),
        proposed: u64::from(lint.safer.is_some()),
    })
}

fn records(plan: &Plan) -> Vec<String> {
    plan.timeline.iter().map(|entry| entry.action.record()).collect()
}

/// Restarts and resets come wherever they are needed.
fn is_repeatable(record: &str) -> bool {
    record.starts_with("restart ") || record.starts_with("reset-phones ")
}

#[test]
fn the_linter_says_of_each_phone_what_becomes_of_it_and_its_orders_are_never_worse() {
    let _turn = crate::TURN.blocking_lock();
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let plans = match number("RESETSTORM_PLAN") {
        Some(one) => one..one + 1,
        None => 0..number("RESETSTORM_PLANS").unwrap_or(PLANS),
    };
    let many = plans.end - plans.start >= 40;
    let results: Vec<Result<Seen, String>> = plans.clone().into_par_iter().map(look).collect();
    let faults: Vec<&String> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    let heads: Vec<&str> = faults.iter().filter_map(|fault| fault.lines().next()).collect();
    let first = faults.first().map(|fault| fault.as_str()).unwrap_or_default();
    assert!(faults.is_empty(), "{}\n{first}", heads.join("\n"));
    let seen = results.iter().flatten().fold(Seen::default(), |sum, seen| Seen {
        by_kinds: sum.by_kinds + seen.by_kinds,
        safe: sum.safe + seen.safe,
        proposed: sum.proposed + seen.proposed,
    });
    println!("{seen:?} of {plans:?}");
    // The plans are of all sorts: those of which one phone a kind is played, the safe and the bad.
    let enough = (plans.end - plans.start) / 12;
    assert!(
        !many || [seen.by_kinds, seen.safe, seen.proposed].iter().all(|&n| n > enough),
        "{seen:?}"
    );
}
