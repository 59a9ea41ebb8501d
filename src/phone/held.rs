use std::sync::Arc;

use crate::base::Time;
use crate::crypto::FileIdentity;
use crate::wire::TvsMember;

use super::contract::{Failure, Outcome};
use super::lists::TrustLists;
use super::vouched::VouchedSigner;

/// What a phone keeps from boot to boot.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) lists: TrustLists,
    pub(super) config: Option<StoredConfig>,
    /// Signers that TVS vouched for.
    pub(super) vouched: Vec<VouchedSigner>,
    /// Names without a DNS record; most phones know none.
    unknown_names: Option<Box<UnknownNames>>,
}

/// Names, each with the end of its negative time to live.
#[derive(Debug, Default)]
struct UnknownNames(Vec<(Box<str>, Time)>);

impl Held {
    /// The DNS has no record of `name`, and is not asked again until `end` (TVS-21).
    pub(super) fn learn_unknown(&mut self, name: &str, now: Time, end: Time) {
        if end > now {
            let UnknownNames(known) = &mut **self.unknown_names.get_or_insert_default();
            known.retain(|(_, end)| *end > now);
            known.push((name.into(), end));
        }
    }

    /// Whether `name` is known to have no record.
    pub(super) fn is_unknown(&self, name: &str, now: Time) -> bool {
        let is_it = |(unknown, end): &(Box<str>, Time)| **unknown == *name && *end > now;
        self.unknown_names.as_ref().is_some_and(|known| known.0.iter().any(is_it))
    }
}

/// The configuration that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredConfig {
    /// TVS servers, first asked first.
    pub tvs: Arc<[TvsMember]>,
    /// Which content it is and who signed it.
    pub identity: FileIdentity,
}

/// What has happened in this boot.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Boot {
    /// HTTP or HTTPS was out of reach: files are asked for over TFTP until the next boot.
    pub(super) without_http: bool,
    /// Which TFTP node of its list the phone asks, from 0: each boot begins with the first.
    pub(super) server: u8,
    pub(super) config_accepted: bool,
    pub(super) stuck: bool,
    failure: Option<Failure>,
}

impl Boot {
    /// Remembers the first reason why this boot does not end ready.
    pub(super) fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }

    /// A refusal is final until the next reset: no back-off, no loop.
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Boot { stuck: true, .. } => Outcome::Stuck,
            Boot { failure: Some(failure), .. } => Outcome::Failed(failure),
            Boot { config_accepted: true, .. } => Outcome::Ready,
            Boot { .. } => Outcome::Failed(Failure::ConfigMissing),
        }
    }
}
