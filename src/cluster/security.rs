use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::Span;
use crate::crypto::{CertificateSpec, FIVE_YEARS_S, Identity, KeySource};

use super::capf_settings::CapfSettings;
use super::ctl::{CtlFile, CtlMethod};

/// Whether phones may be secured beyond their ITL: the enterprise parameter "Cluster Security
/// Mode" (CTL-01).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SecurityMode {
    /// ITL only: security by default.
    #[default]
    NonSecure,
    /// CTL and ITL.
    Mixed,
}

/// Every mode, in the order of the parameter's values.
pub const SECURITY_MODES: [SecurityMode; 2] = [SecurityMode::NonSecure, SecurityMode::Mixed];

impl SecurityMode {
    /// The name in scenario files.
    pub const fn name(self) -> &'static str {
        match self {
            SecurityMode::NonSecure => "non-secure",
            SecurityMode::Mixed => "mixed",
        }
    }
}

/// How a cluster is secured when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Security {
    /// Its mode.
    pub mode: SecurityMode,
    /// Names of the tokens with which its CTL is signed (CTL-05); none: it is tokenless.
    pub etokens: Vec<String>,
    /// Within which time the phones boot that a regeneration resets by itself, in releases that
    /// do; `None`: nobody resets them.
    pub auto_reset: Option<Span>,
    /// How long the cluster may stay prepared for a rollback before that is told (SAFE-13).
    pub rollback_warning: Span,
    /// How CAPF is set.
    pub capf: CapfSettings,
    /// The CA of somebody else that signs LSCs in the place of CAPF, by its common name (CAPF-32).
    pub lsc_issuer: Option<String>,
}

/// The documents say not to leave a cluster prepared for a rollback, not for how long: a day (choice).
const ROLLBACK_WARNING: Span = Span::from_secs(86_400);

impl Default for Security {
    fn default() -> Security {
        Security {
            mode: SecurityMode::default(),
            etokens: Vec::new(),
            auto_reset: None,
            rollback_warning: ROLLBACK_WARNING,
            capf: CapfSettings::default(),
            lsc_issuer: None,
        }
    }
}

impl Security {
    /// How the CTL is signed.
    pub const fn method(&self) -> CtlMethod {
        if self.etokens.is_empty() { CtlMethod::Tokenless } else { CtlMethod::Etoken }
    }
}

/// The CTL of a cluster and who may sign the next one.
#[derive(Debug)]
pub(super) struct CtlKeeper {
    pub mode: SecurityMode,
    pub method: CtlMethod,
    /// The tokens by their names; no node holds their keys.
    pub tokens: Vec<(String, Identity)>,
    /// The token that signed last.
    pub at_hand: usize,
    /// What stands on the TFTP nodes.
    pub file: Option<Arc<CtlFile>>,
}

impl CtlKeeper {
    /// The keeper of a cluster that has no CTL yet; tokens that are not in `stored` are new.
    pub fn new(
        security: &Security,
        mut stored: BTreeMap<String, Identity>,
        epoch_s: u64,
        source: &mut KeySource,
    ) -> CtlKeeper {
        let mut tokens = Vec::new();
        if !security.etokens.is_empty() {
            // Tokens come with a certificate of the manufacturer (CTL-08).
            let issuer = Identity::self_signed(&spec("Cisco Manufacturing CA", epoch_s), source);
            for name in &security.etokens {
                let token = match stored.remove(name) {
                    Some(token) => token,
                    None => Identity::issued(&spec(name, epoch_s), FIVE_YEARS_S, &issuer, source),
                };
                tokens.push((name.clone(), token));
            }
        }
        let (mode, method) = (security.mode, security.method());
        CtlKeeper { mode, method, tokens, at_hand: 0, file: None }
    }

    /// Takes what was set in an earlier run; a token that is not there is none.
    pub fn set(&mut self, mode: SecurityMode, method: CtlMethod, token: Option<&str>) {
        (self.mode, self.method) = (mode, method);
        self.at_hand = token.and_then(|name| self.token(name)).unwrap_or(0);
    }

    /// The token with this name.
    pub fn token(&self, name: &str) -> Option<usize> {
        self.tokens.iter().position(|(token, _)| token == name)
    }
}

const fn spec(common_name: &str, not_before_s: u64) -> CertificateSpec<'_> {
    CertificateSpec { common_name, not_before_s, key_bits: 2048 }
}
