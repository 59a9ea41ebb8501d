use std::sync::Arc;

use crate::base::{Model, PhoneId, Time};
use crate::crypto::{DeviceIdentity, FileIdentity};
use crate::wire::Config;

use super::contract::{Failure, Outcome};
use super::file_kind::{FURTHER_FILES, FileKind};
use super::lists::TrustLists;
use super::lsc::{HeldLsc, Precedence, Shown, shown};
use super::step::Step;
use super::vouched::VouchedSigner;

/// What a phone keeps from boot to boot.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) lists: TrustLists,
    pub(super) config: Option<StoredConfig>,
    /// Signers that TVS vouched for.
    pub(super) vouched: Vec<VouchedSigner>,
    /// What most phones have nothing of.
    rare: Option<Box<Rare>>,
}

/// What few phones hold.
#[derive(Debug, Default)]
struct Rare {
    /// Files beside lists and configuration, each in the place of its kind.
    further: [Option<FileIdentity>; FURTHER_FILES.len()],
    /// Names without a DNS record, each with the end of its negative time to live.
    unknown_names: Vec<(Box<str>, Time)>,
    lsc: Option<HeldLsc>,
    /// What it shows to servers that ask who it is, once one has asked.
    shows: Option<Arc<DeviceIdentity>>,
}

impl Held {
    /// How the phone's own configuration is asked for: encrypted, if the one in force says so.
    pub(super) fn config_step(&self) -> Step {
        match &self.config {
            Some(config) if config.content.is_encrypted => Step::ConfigEncrypted,
            _ => Step::Config,
        }
    }

    /// A further file of this kind is in force; of another kind nothing changes.
    pub(super) fn install_further(&mut self, kind: FileKind, identity: FileIdentity) {
        if let Some(at) = FURTHER_FILES.iter().position(|&further| further == kind) {
            self.rare.get_or_insert_default().further[at] = Some(identity);
        }
    }

    /// The further file of this kind that is in force.
    pub(super) fn further(&self, kind: FileKind) -> Option<FileIdentity> {
        let at = FURTHER_FILES.iter().position(|&further| further == kind)?;
        self.rare.as_ref()?.further[at]
    }

    /// The LSC that the phone has.
    pub(super) fn lsc(&self) -> Option<&HeldLsc> {
        self.rare.as_ref()?.lsc.as_ref()
    }

    /// The phone has this LSC from now on, or none.
    pub(super) fn keep_lsc(&mut self, lsc: Option<HeldLsc>) {
        if lsc.is_some() || self.rare.is_some() {
            let rare = self.rare.get_or_insert_default();
            (rare.lsc, rare.shows) = (lsc, None);
        }
    }

    /// The DNS has no record of `name`, and is not asked again until `end` (TVS-21).
    pub(super) fn learn_unknown(&mut self, name: &str, now: Time, end: Time) {
        if end > now {
            let known = &mut self.rare.get_or_insert_default().unknown_names;
            known.retain(|(_, end)| *end > now);
            known.push((name.into(), end));
        }
    }

    /// What the phone shows to a server that asks who it is: its LSC, or else the certificate of its
    /// manufacturer; nothing if it has neither.
    pub(super) fn shows(&mut self, id: PhoneId, model: Model) -> Option<Arc<DeviceIdentity>> {
        let Rare { lsc, shows, .. } = &mut **self.rare.get_or_insert_default();
        if shows.is_none() {
            let Shown { certificate, key, .. } = shown(lsc.as_ref(), id, model, Precedence::Lsc)?;
            *shows = Some(Arc::new(DeviceIdentity { certificate, key }));
        }
        shows.clone()
    }

    /// Whether `name` is known to have no record.
    pub(super) fn is_unknown(&self, name: &str, now: Time) -> bool {
        let is_it = |(unknown, end): &(Box<str>, Time)| **unknown == *name && *end > now;
        self.rare.as_ref().is_some_and(|rare| rare.unknown_names.iter().any(is_it))
    }
}

/// The configuration that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredConfig {
    /// What the phone uses of it, shared by all phones that were told the same.
    pub content: Arc<Config>,
    /// Which content it is and who signed it.
    pub identity: FileIdentity,
}

/// What was accepted of the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ConfigTaken {
    #[default]
    Nothing,
    /// A stub, which says that it is encrypted.
    Stub,
    /// The configuration.
    InForce,
}

/// What has happened in this boot.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Boot {
    /// HTTP or HTTPS was out of reach: files are asked for over TFTP until the next boot.
    pub(super) without_http: bool,
    /// Which TFTP node of its list the phone asks, from 0: each boot begins with the first.
    pub(super) server: u8,
    pub(super) config: ConfigTaken,
    /// It has been at CAPF and has reset itself: once is enough.
    pub(super) has_enrolled: bool,
    trouble: Option<Trouble>,
}

/// Why a boot does not end ready.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    Failed(Failure),
    /// Whatever else has happened.
    Stuck,
}

impl Boot {
    /// A boot after a phone has been at CAPF and has reset itself.
    pub(super) fn after_enrolment() -> Boot {
        Boot { has_enrolled: true, ..Boot::default() }
    }

    /// Remembers the first reason why this boot does not end ready.
    pub(super) fn fail(&mut self, failure: Failure) {
        self.trouble.get_or_insert(Trouble::Failed(failure));
    }

    /// What it has to take, it cannot trust: this outweighs every other reason.
    pub(super) fn stick(&mut self) {
        self.trouble = Some(Trouble::Stuck);
    }

    /// Whether its configuration was accepted.
    pub(super) const fn has_config(self) -> bool {
        matches!(self.config, ConfigTaken::InForce)
    }

    /// A refusal is final until the next reset: no back-off, no loop.
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Boot { trouble: Some(Trouble::Stuck), .. } => Outcome::Stuck,
            Boot { trouble: Some(Trouble::Failed(failure)), .. } => Outcome::Failed(failure),
            Boot { config: ConfigTaken::InForce, .. } => Outcome::Ready,
            Boot { .. } => Outcome::Failed(Failure::ConfigMissing),
        }
    }
}
