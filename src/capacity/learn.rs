use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::base::Span;
use crate::measure::LoadFault;
use crate::wire::tvs;

use super::generator::Generator;
use super::run::{CapacityError, CapacityPlan};
use super::workload::{Content, Expected, Failure, Got, Learnt, Op};

/// Judges a file by its name and content: whether a phone with certain lists accepts it.
#[derive(Clone)]
pub struct TrustCheck(pub Arc<Judgement>);

/// Says why a file is not accepted.
pub type Judgement = dyn Fn(&str, &[u8]) -> Result<(), String> + Send + Sync;

impl fmt::Debug for TrustCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrustCheck")
    }
}

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
///
/// # Errors
/// If a request has no answer at all: the server is not there.
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

/// Asks until every request has an answer: one that fails is asked again, a few times.
async fn learn_once(
    generator: &Generator,
    plan: &CapacityPlan,
    ops: &[Op],
) -> Result<Learnt, CapacityError> {
    /// Rounds after which a request that still has no answer says that the server is not there.
    const ROUNDS: usize = 3;
    let patience = plan.target.timeout.times(u64::from(plan.target.tries)) + Span::from_secs(1);
    let (mut learnt, mut left) = (BTreeMap::new(), ops.to_vec());
    for round in 1..=ROUNDS {
        let (asked, mut failed) = (std::mem::take(&mut left), None);
        let mut answered = vec![false; asked.len()];
        for found in generator.learn(asked.clone(), patience, plan.trust.is_some()).await {
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
        let unanswered = asked.into_iter().zip(answered).filter(|(_, answered)| !answered);
        left = unanswered.map(|(op, _)| op).collect();
        let Some(first) = left.first() else { return Ok(learnt) };
        let nobody = failed.as_ref().is_some_and(|(_, why)| why.fault == LoadFault::Refused);
        if round == ROUNDS || nobody {
            let silent = || (first.what.to_string(), LoadFault::Silence.into());
            let (what, why) = failed.unwrap_or_else(silent);
            return Err(unreachable(&what, why));
        }
    }
    Ok(learnt)
}

/// The error of a request that has no answer, with its name and what the server said.
pub fn unreachable(what: &str, why: Failure) -> CapacityError {
    let said = why.said.map(|said| format!(" ({said})")).unwrap_or_default();
    CapacityError::Unreachable { what: what.escape_debug().to_string(), fault: why.fault, said }
}

fn expected(what: &str, got: &Got, trust: Option<&TrustCheck>) -> Result<Expected, CapacityError> {
    match got {
        Got::NoFile => Ok(Expected::Missing),
        Got::File(Content { length, digest, bytes }) => {
            let judged = trust.map(|trust| match bytes {
                Some(bytes) => (trust.0)(what, bytes),
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
