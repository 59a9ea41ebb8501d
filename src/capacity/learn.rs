use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::base::Span;
use crate::crypto::sha256;
use crate::measure::LoadFault;
use crate::wire::tvs;

use super::generator::Generator;
use super::run::{CapacityError, CapacityPlan};
use super::workload::{Expected, Got, Learnt, Op};

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

async fn learn_once(
    generator: &Generator,
    plan: &CapacityPlan,
    ops: &[Op],
) -> Result<Learnt, CapacityError> {
    let patience = plan.target.timeout.times(u64::from(plan.target.tries));
    // A server at rest: each request has all of its patience, one after the other.
    let drain = patience.times(ops.len() as u64) + Span::from_secs(1);
    let mut learnt = BTreeMap::new();
    for found in generator.learn(ops.to_vec(), drain).await {
        let what = ops[found.index].what.to_string();
        let got = match found.got {
            Ok(got) => got,
            Err(fault) => return Err(CapacityError::Unreachable { what, fault }),
        };
        let expected = expected(&what, &got, plan.trust.as_ref())?;
        learnt.insert(what, expected);
    }
    Ok(learnt)
}

fn expected(what: &str, got: &Got, trust: Option<&TrustCheck>) -> Result<Expected, CapacityError> {
    match got {
        Got::NoFile => Ok(Expected::Missing),
        Got::File(bytes) => Ok(match trust.map(|trust| (trust.0)(what, bytes)) {
            Some(Err(why)) => Expected::Untrusted(why),
            _ => Expected::File { length: bytes.len(), digest: sha256(bytes) },
        }),
        Got::Answer(message) => {
            let unreadable = |_| CapacityError::Unreachable {
                what: what.to_owned(),
                fault: LoadFault::Protocol,
            };
            let response = tvs::Response::parse(message).map_err(unreadable)?;
            Ok(Expected::Tvs(response.known.map(|known| known.roles.to_vec())))
        }
    }
}
