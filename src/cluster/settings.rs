use super::ctl::CtlMethod;
use super::kinds::FileSignature;
use super::security::SecurityMode;
use super::topology::Topology;

/// What an administrator sets for the whole cluster and its database keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// "Cluster Security Mode".
    pub security_mode: SecurityMode,
    /// "Prepare Cluster for Rollback to pre 8.0".
    pub rollback: bool,
    /// "TFTP File Signature Algorithm".
    pub file_signature: FileSignature,
    /// Whether "Secured Phone URL Parameters" name HTTPS.
    pub secured_urls: bool,
    /// How the CTL is signed.
    pub ctl_method: CtlMethod,
    /// The token that signed the CTL last, if it has tokens.
    pub token: Option<String>,
}

impl Settings {
    /// Those of a new cluster of this shape.
    pub fn given(topology: &Topology) -> Settings {
        Settings {
            security_mode: topology.security.mode,
            rollback: false,
            file_signature: topology.file_signature,
            secured_urls: topology.secured_urls,
            ctl_method: topology.security.method(),
            token: topology.security.etokens.first().cloned(),
        }
    }

    /// Those of a cluster that was set earlier: what its scenario says differently since then is
    /// as the scenario says now.
    pub(super) fn resumed(self, earlier: &KeptSettings) -> Settings {
        fn later<T: PartialEq + Clone>(now: T, given: &T, set: &T) -> T {
            if now == *given { set.clone() } else { now }
        }
        let KeptSettings { given, set } = earlier;
        Settings {
            security_mode: later(self.security_mode, &given.security_mode, &set.security_mode),
            rollback: later(self.rollback, &given.rollback, &set.rollback),
            file_signature: later(self.file_signature, &given.file_signature, &set.file_signature),
            secured_urls: later(self.secured_urls, &given.secured_urls, &set.secured_urls),
            ctl_method: later(self.ctl_method, &given.ctl_method, &set.ctl_method),
            token: later(self.token, &given.token, &set.token),
        }
    }
}

/// Settings as they are kept from one run to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptSettings {
    /// What the scenario said.
    pub given: Settings,
    /// What was set in the end.
    pub set: Settings,
}
