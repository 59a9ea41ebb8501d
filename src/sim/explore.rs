use rayon::prelude::*;

use crate::base::Stop;
use crate::measure::{Finish, GuessSummary, Summary, TriedValue};
use crate::scenario::Plan;

use super::guesses::{Guess, guesses};
use super::run::{SimOptions, SimRun};
use super::world::World;

/// One key of a scenario and the values that are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// The key, such as `cluster.sign-cache`.
    pub key: String,
    /// The values as they are typed.
    pub values: Vec<String>,
}

/// Every combination of the values of `axes`, the last axis fastest: overrides of a scenario.
pub fn combinations(axes: &[Axis]) -> Vec<Vec<String>> {
    axes.iter().fold(vec![Vec::new()], |rows, axis| {
        let extend = |row: Vec<String>| {
            axis.values.iter().map(move |value| {
                let mut row = row.clone();
                row.push(format!("{}={value}", axis.key));
                row
            })
        };
        rows.into_iter().flat_map(extend).collect()
    })
}

/// Plays all plans, several at once; the results are in the order of the plans and depend on the
/// number of threads in nothing. Plans of one seed share their draws (common random numbers): a
/// phone has the same luck in all of them, so that differences are those of the plans. When `stop`
/// is set, plans that have not been played to their end by then are `None`.
pub fn play_all(plans: &[Plan], stop: &Stop) -> Vec<Option<Summary>> {
    let play = |plan: &Plan| {
        if stop.is_set() {
            return None;
        }
        let run = World::until(plan, SimOptions::default(), stop).run();
        (run.finish != Finish::Interrupted).then(|| run.summary(plan))
    };
    plans.par_iter().map(play).collect()
}

/// What becomes of the result of `run` when each guess is halved, and when it is doubled: many
/// worlds, several at once. When `stop` is set, the rest is left untried.
pub fn try_guesses(plan: &Plan, run: &SimRun, stop: &Stop) -> Vec<GuessSummary> {
    let guesses = guesses(plan, &run.ledger, &run.facts);
    let turn = |(_, knob): &Guess| [false, true].map(|doubled| knob.turn(plan, doubled));
    let turned: Vec<[Option<(String, Plan)>; 2]> = guesses.iter().map(turn).collect();
    let plans: Vec<Plan> =
        turned.iter().flatten().flatten().map(|(_, plan)| plan.clone()).collect();
    let mut summaries = play_all(&plans, stop).into_iter();
    let mut tried = |turned: Option<(String, Plan)>| {
        let (value, _) = turned?;
        summaries.next().flatten().map(|summary| tried_value(value, &summary))
    };
    let summary = |((guess, _), [halved, doubled]): (Guess, [Option<(String, Plan)>; 2])| {
        GuessSummary { halved: tried(halved), doubled: tried(doubled), ..guess }
    };
    guesses.into_iter().zip(turned).map(summary).collect()
}

fn tried_value(value: String, summary: &Summary) -> TriedValue {
    TriedValue {
        value,
        fleet_ready_p99_s: summary.fleet_ready_s.p99,
        stuck: summary.phones.stuck,
        failed: summary.phones.failed,
    }
}

/// Positions of summaries from the best to the worst: fewest stuck phones, then fewest that
/// failed, then fewest that nobody has registered, then fewest that nobody has reset, then fewest services that wait for a restart, then the shortest time until 99 % of the fleet are
/// ready; equals keep their order. What has reset nobody says nothing of its steps, and what was cut
/// short has no rank: they come behind all others.
pub fn ranked(summaries: &[Summary]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..summaries.len()).collect();
    order.sort_by(|&a, &b| {
        let rank = |at: usize| {
            let summary = &summaries[at];
            let phones = &summary.phones;
            let is_shown = [summary.cut_by.is_some(), summary.has_reset_nobody()];
            let lost = [
                phones.stuck,
                phones.failed,
                phones.unregistered(),
                phones.not_reset,
                summary.cluster.restarts_due,
            ];
            ((is_shown, lost), summary.fleet_ready_s.p99.unwrap_or(f64::INFINITY))
        };
        let (a, b) = (rank(a), rank(b));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    order
}

/// Points that are tried at once between a value that holds and one that does not.
const POINTS: u64 = 4;

/// The largest value between `low` and `high` (both included) that `holds`, to within `step`;
/// `None` if not even `low` does. `holds` judges several values at once and is asked for ever
/// closer ones; it must not hold again above a value where it does not.
pub fn largest<E>(
    low: u64,
    high: u64,
    step: u64,
    mut holds: impl FnMut(&[u64]) -> Result<Vec<bool>, E>,
) -> Result<Option<u64>, E> {
    let ends = holds(&[low, high])?;
    if !ends[0] {
        return Ok(None);
    }
    if ends[1] {
        return Ok(Some(high));
    }
    let (mut good, mut bad) = (low, high);
    while bad - good > step.max(1) {
        let between = |part: u64| good + (bad - good) * part / (POINTS + 1);
        let mut points: Vec<u64> = (1..=POINTS).map(between).collect();
        points.retain(|&point| point > good && point < bad);
        points.dedup();
        let verdicts = holds(&points)?;
        let first_bad = verdicts.iter().position(|held| !held).unwrap_or(points.len());
        if first_bad > 0 {
            good = points[first_bad - 1];
        }
        if first_bad < points.len() {
            bad = points[first_bad];
        }
    }
    Ok(Some(good))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn axes_make_a_grid() {
        let axis = |key: &str, values: &[&str]| Axis {
            key: key.into(),
            values: values.iter().map(|&value| value.to_owned()).collect(),
        };
        let rows = combinations(&[axis("a", &["1", "2"]), axis("b", &["x", "y", "z"])]);
        assert_eq!(rows.len(), 6);
        assert_eq!(
            (&rows[1][..], &rows[5][..]),
            (&["a=1".into(), "b=y".into()][..], &["a=2".into(), "b=z".into()][..])
        );
        assert_eq!(combinations(&[]), [Vec::<String>::new()]);
    }

    #[test]
    fn the_largest_value_that_holds_is_found() {
        for limit in [10, 11, 500, 99_999, 1_000_000] {
            let mut asked = 0;
            let holds = |points: &[u64]| {
                asked += points.len();
                Ok::<_, Infallible>(points.iter().map(|&point| point <= limit).collect())
            };
            assert_eq!(largest(10, 1_000_000, 1, holds).unwrap(), Some(limit));
            assert!(asked < 60, "{asked}");
        }
        let never = |points: &[u64]| Ok::<_, Infallible>(vec![false; points.len()]);
        assert_eq!(largest(1, 9, 1, never).unwrap(), None);
    }

    #[test]
    fn stuck_phones_weigh_more_than_time() {
        let summary = |stuck, failed, p99: Option<f64>| {
            let mut summary = Summary::default();
            (summary.phones.stuck, summary.phones.failed) = (stuck, failed);
            summary.fleet_ready_s.p99 = p99;
            summary
        };
        let all = [
            summary(1, 0, Some(1.0)),
            summary(0, 0, Some(9.0)),
            summary(0, 0, None),
            summary(0, 0, Some(2.0)),
            summary(0, 3, Some(1.0)),
        ];
        assert_eq!(ranked(&all), [3, 1, 2, 4, 0]);
        let mut cut = all.to_vec();
        cut[3].cut_by = Some("run.max-wall");
        assert_eq!(ranked(&cut), [1, 2, 4, 0, 3], "what was cut is no best and no failure");
        let mut partly = all.to_vec();
        (partly[3].phones.not_reset, partly[3].phones.ready) = (1, 9);
        assert_eq!(ranked(&partly), [1, 2, 3, 4, 0], "whom nobody has reset may yet be lost");
        let mut undone = all.to_vec();
        undone[3].cluster.restarts_due = 1;
        assert_eq!(ranked(&undone), [1, 2, 3, 4, 0], "what is renewed is not in force yet");
        let mut unseen = all.to_vec();
        unseen[3].phones.not_reset = 10;
        assert_eq!(ranked(&unseen), [1, 2, 4, 0, 3], "without a reset nothing is known");
    }
}
