//! LSCs of phones.

use std::sync::Arc;

use super::{Impact, Operation};
use crate::base::{Model, PhoneId, Span, Time};
use crate::cluster::{ActionError, Cluster, Effect, LscOperation, Topology};
use crate::crypto::KeySpec;
use crate::wire::AuthMode;

/// Sets an operation for many phones at once (Bulk Administration > Phones > Update Phones > Query,
/// CAPF-26) and applies their configurations, so that they reset.
#[derive(Clone, Debug, PartialEq)]
pub struct RollOutLsc {
    /// What is to be done.
    pub operation: LscOperation,
    /// How phones are to prove who they are.
    pub mode: AuthMode,
    /// Which pair of keys they are to make.
    pub key: KeySpec,
    /// The authentication string, where the mode wants one.
    pub string: Option<String>,
    /// "Operation Completes By": so long from now, at least an hour (CAPF-15).
    pub completes_in: Span,
    /// Which phones.
    pub phones: LscPhones,
    /// When they reset; `None`: saved without Apply Config, so that they go on until somebody
    /// resets them.
    pub pace: Option<LscPace>,
    /// Whether the operator looks at CAPF before and sets nothing where it cannot issue LSCs, or
    /// not for long (CAPF-07).
    pub checks_capf: bool,
}

/// Which phones an operation is set for.
#[derive(Clone, Debug, PartialEq)]
pub struct LscPhones {
    /// Those whose device names begin so; `None` for all.
    pub device: Option<String>,
    /// Those of this model; `None` for all.
    pub model: Option<Model>,
    /// Those of the `CallManager` group with this name; `None` for all.
    pub group: Option<String>,
    /// The share of them, 0..=1.
    pub share: f64,
    /// Only those whose LSC another certificate of CAPF has issued, or that have none.
    pub only_stale: bool,
}

impl LscPhones {
    /// Every phone.
    pub const ALL: LscPhones =
        LscPhones { device: None, model: None, group: None, share: 1.0, only_stale: false };
}

/// When phones are reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LscPace {
    /// Phones of a batch, at least 1; `None`: all at once.
    pub batch: Option<u32>,
    /// From the start of a batch to that of the next, within which its phones are spread.
    pub every: Span,
    /// The cluster resets nobody: as many people as a batch has phones go from phone to phone, unlock
    /// its settings (`**#`) and choose Update, which takes that time (CAPF-30).
    pub by_hand: bool,
}

impl LscPace {
    /// All phones within a time.
    pub const fn within(every: Span) -> LscPace {
        LscPace { batch: None, every, by_hand: false }
    }

    /// Batches of the cluster.
    pub const fn batches(batch: u32, every: Span) -> LscPace {
        LscPace { batch: Some(batch), every, by_hand: false }
    }

    /// So many people, each so long at a phone.
    pub const fn by_hand(people: u32, per_phone: Span) -> LscPace {
        LscPace { batch: Some(people), every: per_phone, by_hand: true }
    }
}

/// Time of one at a phone, unless said: Settings > Security Configuration > LSC, `**#`, Update,
/// Submit, and the way to the next one (choice).
pub const PER_PHONE: Span = Span::from_secs(180);

/// Resets of phones that a cluster orders, other than all at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resets {
    /// Which phones, in their order.
    pub phones: Arc<[PhoneId]>,
    /// When.
    pub pace: LscPace,
}

/// The name of a kind of keys in scenario files.
pub const fn key_name(key: KeySpec) -> &'static str {
    match key {
        KeySpec::Rsa(512) => "rsa-512",
        KeySpec::Rsa(1_024) => "rsa-1024",
        KeySpec::Rsa(2_048) => "rsa-2048",
        KeySpec::Rsa(3_072) => "rsa-3072",
        KeySpec::Rsa(_) => "rsa-4096",
        KeySpec::Ec(256) => "ec-256",
        KeySpec::Ec(384) => "ec-384",
        KeySpec::Ec(_) => "ec-521",
    }
}

/// The time of an operation that says none: ten days ("CAPF Operation Expires in (days)", a guess).
pub const COMPLETES_IN: Span = Span::from_secs(10 * 86_400);

/// Sooner than that no operation may end (CAPF-15).
pub const COMPLETES_IN_MIN: Span = Span::from_secs(3_600);

/// From one batch to the next, unless said (choice).
pub const EVERY: Span = Span::from_secs(600);

/// Whether this can be an authentication string: 4 to 10 digits.
pub fn is_authentication_string(text: &str) -> bool {
    (4..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Every kind of keys that CAPF can ask for.
pub const KEYS: [KeySpec; 8] = [
    KeySpec::Rsa(512),
    KeySpec::Rsa(1_024),
    KeySpec::Rsa(2_048),
    KeySpec::Rsa(3_072),
    KeySpec::Rsa(4_096),
    KeySpec::Ec(256),
    KeySpec::Ec(384),
    KeySpec::Ec(521),
];

impl RollOutLsc {
    fn of_whom(&self) -> String {
        let LscPhones { device, model, group, share, only_stale } = &self.phones;
        let share = if *share < 1.0 {
            format!("{} % of ", (share * 1e6).round() / 1e4)
        } else {
            String::new()
        };
        let stale = if *only_stale { " without an LSC of the present CAPF" } else { "" };
        let model = model.map(|model| format!(" of model {model}")).unwrap_or_default();
        let group = group.as_ref().map(|group| format!(" of group {group}")).unwrap_or_default();
        let device = device.as_ref().map(|device| format!(" {device}")).unwrap_or_default();
        let is_all = [&device, &model, &group].iter().all(|part| part.is_empty());
        let all = if is_all { "all phones" } else { "the phones" };
        format!("{share}{all}{device}{model}{group}{stale}")
    }
}

impl Operation for RollOutLsc {
    fn apply(&self, cluster: &mut Cluster, now: Time) -> Result<Vec<Effect>, ActionError> {
        cluster.roll_out_lsc(self, now)
    }

    fn words(&self, _: &Topology) -> String {
        let what = match self.operation {
            LscOperation::Install => "install LSCs on",
            LscOperation::Delete => "delete the LSCs of",
            LscOperation::Fetch => "fetch the LSCs of",
        };
        let key = match self.operation {
            LscOperation::Install => format!(" ({})", key_name(self.key)),
            LscOperation::Delete | LscOperation::Fetch => String::new(),
        };
        let pace = match self.pace {
            None => "; nobody resets them".to_owned(),
            Some(LscPace { batch: None, every, .. }) => format!("; they reset within {every}"),
            Some(LscPace { batch: Some(people), every, by_hand: true }) => {
                let people = if people == 1 {
                    "one technician chooses".to_owned()
                } else {
                    format!("{people} technicians choose")
                };
                format!("; {people} Update at each phone (**#), {every} a phone")
            }
            Some(LscPace { batch: Some(batch), every, by_hand: false }) => {
                format!("; {batch} reset every {every}")
            }
        };
        let (whom, mode, by) = (self.of_whom(), self.mode.words(), self.completes_in);
        format!("{what} {whom}{key}, {mode}, completes within {by}{pace}")
    }

    fn record(&self) -> String {
        let LscPhones { device, model, group, share, only_stale } = &self.phones;
        let device = device.as_ref().map(|device| format!(" {device}")).unwrap_or_default();
        let checks = if self.checks_capf { " checked" } else { "" };
        let model = model.map_or_else(|| "all".to_owned(), |model| model.to_string());
        let group = group.as_deref().unwrap_or("all");
        let pace = self.pace.map_or_else(
            || "none".to_owned(),
            |pace| {
                let by_hand = if pace.by_hand { " by-hand" } else { "" };
                format!("{} {}{by_hand}", pace.batch.unwrap_or(0), pace.every.as_nanos())
            },
        );
        format!(
            "roll-out-lsc {} {} {} {} {} {model} {group} {share} {only_stale} {pace}{device}{checks}",
            self.operation.name(),
            self.mode.name(),
            key_name(self.key),
            self.string.as_deref().unwrap_or("-"),
            self.completes_in.as_nanos(),
        )
    }

    fn impact(&self, _: &Topology) -> Impact {
        Impact::NOTHING
    }
}

/// Sets the authentication mode of a phone security profile; its members restart (CAPF-28).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetProfile {
    /// Name of the profile.
    pub name: String,
    /// The mode that its phones use at CAPF from now on.
    pub mode: AuthMode,
    /// Within which time its members restart.
    pub spread: Span,
}

impl Operation for SetProfile {
    fn apply(&self, cluster: &mut Cluster, _: Time) -> Result<Vec<Effect>, ActionError> {
        cluster.set_profile(self)
    }

    fn words(&self, _: &Topology) -> String {
        let SetProfile { name, mode, spread } = self;
        format!("set profile {name} to {}; its phones restart within {spread}", mode.words())
    }

    fn record(&self) -> String {
        format!("set-profile {} {} {}", self.name, self.mode.name(), self.spread.as_nanos())
    }

    fn impact(&self, _: &Topology) -> Impact {
        Impact::NOTHING
    }
}
