use std::collections::BTreeMap;

use crate::base::Span;
use crate::measure::LoadFault;
use crate::wire::tvs;

use super::generator::Generator;
use super::plan::{CapacityError, CapacityPlan, TrustCheck};
use super::workload::{Content, Expected, Failure, Got, Learnt, Op};

/// Up to so many requests are learnt twice, so that an answer that changes is seen (choice).
const TWICE_MAX: usize = 2_000;
/// Wrong answers and other findings that are kept in words, at most (choice).
const WORDS_MAX: usize = 10;

/// Keeps what is new among the first findings.
pub fn remember(words: &mut Vec<String>, new: &str) {
    if words.len() < WORDS_MAX && !words.iter().any(|known| known == new) {
        words.push(new.to_owned());
    }
}

/// Asks every request once, or twice where there are few, and takes what comes for the right
/// answer. Gives the number of references, too.
pub async fn learn(
    generator: &Generator,
    plan: &CapacityPlan,
    notes: &mut Vec<String>,
) -> Result<(Learnt, u64), CapacityError> {
    let ops = plan.workload.to_learn();
    let count = ops.len() as u64;
    let first = learn_once(generator, plan, &ops).await?;
    if ops.len() > TWICE_MAX {
        return Ok((first, count));
    }
    let second = learn_once(generator, plan, &ops).await?;
    let mut learnt = Learnt::new();
    for (name, expected) in first {
        if second.get(&name) == Some(&expected) {
            learnt.insert(name, expected);
        } else {
            notes.push(format!("{name}: two reference fetches differ, so it is not checked"));
            learnt.insert(name, Expected::Anything);
        }
    }
    notes.truncate(WORDS_MAX);
    Ok((learnt, count))
}

/// Asks until every request has an answer. Those that fail are asked again, at a rate that the
/// server has shown that it carries: it may refuse what is more.
async fn learn_once(
    generator: &Generator,
    plan: &CapacityPlan,
    ops: &[Op],
) -> Result<Learnt, CapacityError> {
    /// Rounds in a row without any answer that say that the server is not there (choice).
    const ROUNDS: usize = 3;
    let patience = plan.target.timeout.times(u64::from(plan.target.tries)) + Span::from_secs(1);
    let (mut learnt, mut left, mut rounds) = (BTreeMap::new(), ops.to_vec(), 0);
    let mut per_s = first_rate(left.len());
    while let Some(first) = left.first().map(|op| op.what.to_string()) {
        let (asked, mut failed) = (std::mem::take(&mut left), None);
        let mut answered = vec![false; asked.len()];
        for found in generator.learn(asked.clone(), per_s, patience, plan.trust.is_some()).await {
            let what = asked[found.index].what.to_string();
            match found.got {
                Ok(got) => {
                    answered[found.index] = true;
                    let expected = expected(&what, &got, plan.trust.as_ref())?;
                    learnt.insert(what, expected);
                }
                Err(why) => failed = failed.or(Some((what, why))),
            }
        }
        let (all, unanswered) = (asked.len(), asked.into_iter().zip(answered));
        left = unanswered.filter(|(_, answered)| !answered).map(|(op, _)| op).collect();
        rounds = if left.len() < all { 0 } else { rounds + 1 };
        per_s = next_rate(per_s, 1.0 - left.len() as f64 / all as f64);
        let nobody = failed.as_ref().is_some_and(|(_, why)| why.fault == LoadFault::Refused);
        if !left.is_empty() && (rounds == ROUNDS || nobody) {
            let (what, why) = failed.unwrap_or_else(|| (first, LoadFault::Silence.into()));
            return Err(unreachable(&what, why));
        }
    }
    Ok(learnt)
}

/// Requests per second while right answers to so many are learnt.
fn first_rate(count: usize) -> f64 {
    /// No load worth the name for most servers (choice).
    const PER_S: f64 = 100.0;
    /// Longest time of a large list, which is asked for faster (choice).
    const LENGTH_MAX_S: f64 = 60.0;
    PER_S.max(count as f64 / LENGTH_MAX_S)
}

/// The rate after a round in which this part had an answer.
fn next_rate(per_s: f64, answered: f64) -> f64 {
    /// Part of what was answered that is asked for next (choice).
    const PART: f64 = 0.8;
    /// Smallest rate, which any server carries (choice).
    const PER_S_MIN: f64 = 1.0;
    (per_s * answered * PART).max(PER_S_MIN).min(per_s)
}

/// The error of a request that has no answer, with its name and what the server said.
pub fn unreachable(what: &str, why: Failure) -> CapacityError {
    let said = why.said.map(|said| format!(" ({said})")).unwrap_or_default();
    CapacityError::Unreachable { what: what.escape_debug().to_string(), fault: why.fault, said }
}

fn expected(what: &str, got: &Got, trust: Option<&TrustCheck>) -> Result<Expected, CapacityError> {
    match got {
        Got::NoFile => Ok(Expected::Missing),
        Got::Enrolled(_) | Got::Registered => Ok(Expected::Anything),
        Got::File(Content { length, digest, bytes }) => {
            let judged = trust.map(|trust| match bytes {
                Some(bytes) => trust(what, bytes),
                None => Err(format!("{length} bytes are more than a phone takes")),
            });
            Ok(match judged {
                Some(Err(why)) => Expected::Untrusted(why),
                _ => Expected::File { length: *length, digest: *digest },
            })
        }
        Got::Answer(message) => {
            let unreadable = |error: crate::wire::WireError| {
                let said = Some(error.to_string());
                unreachable(what, Failure { fault: LoadFault::Protocol, said })
            };
            let response = tvs::Response::parse(message).map_err(unreadable)?;
            Ok(Expected::Tvs(response.known.map(|known| known.roles.to_vec())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_refuses_most_is_asked_at_the_rate_that_it_answers() {
        assert!((first_rate(20) - 100.0).abs() < 1e-9);
        assert!((first_rate(60_000) - 1_000.0).abs() < 1e-9, "a minute is long enough");
        assert!((next_rate(100.0, 0.25) - 20.0).abs() < 1e-9);
        assert!((next_rate(20.0, 0.0) - 1.0).abs() < 1e-9, "it is asked all the same");
    }
}
