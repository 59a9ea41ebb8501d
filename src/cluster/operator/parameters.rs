//! Enterprise parameters.

use super::{Impact, Operation};
use crate::base::{Span, Time};
use crate::cluster::{ActionError, Cluster, Effect, FileSignature, SecurityMode, Topology};

/// Sets an enterprise parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetParameter {
    /// Which one, and to what.
    pub parameter: Parameter,
    /// Within which time the phones boot that the change resets by itself, if it does (SAFE-06).
    pub spread: Span,
}

/// An enterprise parameter and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// "Prepare Cluster for Rollback to pre 8.0".
    Rollback(bool),
    /// "Cluster Security Mode"; with mixed mode comes a CTL (CTL-01).
    SecurityMode(SecurityMode),
    /// "TFTP File Signature Algorithm" (TFTP-07).
    FileSignature(FileSignature),
    /// "Secured Phone URL Parameters": whether the buttons of phones lead to HTTPS (HTTPS-07).
    SecuredUrls(bool),
}

impl Parameter {
    /// The names of all parameters in scenario files.
    pub const NAMES: [&str; 4] =
        ["rollback-to-pre-8.0", "security-mode", "file-signature", "secured-phone-url"];

    /// The name in scenario files.
    pub const fn name(self) -> &'static str {
        match self {
            Parameter::Rollback(_) => Parameter::NAMES[0],
            Parameter::SecurityMode(_) => Parameter::NAMES[1],
            Parameter::FileSignature(_) => Parameter::NAMES[2],
            Parameter::SecuredUrls(_) => Parameter::NAMES[3],
        }
    }

    /// Its value in scenario files.
    pub const fn value(self) -> &'static str {
        match self {
            Parameter::Rollback(true) => "true",
            Parameter::Rollback(false) => "false",
            Parameter::SecurityMode(mode) => mode.name(),
            Parameter::FileSignature(signature) => signature.name(),
            Parameter::SecuredUrls(true) => "https",
            Parameter::SecuredUrls(false) => "http",
        }
    }

    /// Whether its change resets all phones by itself: that of the rollback does (SAFE-06).
    pub const fn resets(self) -> bool {
        matches!(self, Parameter::Rollback(_))
    }
}

impl Operation for SetParameter {
    fn apply(&self, cluster: &mut Cluster, now: Time) -> Result<Vec<Effect>, ActionError> {
        match self.parameter {
            Parameter::Rollback(rollback) => cluster.set_rollback(rollback),
            Parameter::SecurityMode(mode) => cluster.set_security_mode(mode, now),
            Parameter::FileSignature(signature) => cluster.set_file_signature(signature),
            Parameter::SecuredUrls(secured) => return Ok(cluster.set_secured_urls(secured, now)),
        }
        let reset = Effect::ResetPhones { spread: self.spread };
        Ok(self.parameter.resets().then_some(reset).into_iter().collect())
    }

    fn words(&self, _: &Topology) -> String {
        let (name, value) = (self.parameter.name(), self.parameter.value());
        if self.parameter.resets() {
            return format!(
                "set {name} to {value}, which resets all phones within {}",
                self.spread
            );
        }
        format!("set {name} to {value}")
    }

    fn record(&self) -> String {
        let (name, value) = (self.parameter.name(), self.parameter.value());
        format!("set-parameter {name} {value} {}", self.spread.as_nanos())
    }

    fn impact(&self, _: &Topology) -> Impact {
        let wave = self.parameter.resets().then_some(self.spread);
        Impact { wave, ..Impact::NOTHING }
    }
}
