//! Files of trust lists that somebody makes by hand.

use super::{Impact, Nodes, Operation};
use crate::base::Time;
use crate::cluster::{ActionError, Cluster, CtlMethod, Effect, Topology};

/// `utils ctl update CTLFile`, or a run of the CTL client: the CTL is made anew from the
/// certificates as they are now, and TFTP serves it from its next start on (CTL-10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateCtl {
    /// How it is signed from now on; `None`: as before.
    pub method: Option<CtlMethod>,
    /// The token that signs; `None`: the one that did before.
    pub token: Option<String>,
    /// Whether anybody knows the password of the token: without it nothing is signed (CTL-05).
    pub is_password_known: bool,
}

impl UpdateCtl {
    /// As ever: the method and the token stay what they were.
    pub const AS_EVER: UpdateCtl = UpdateCtl { method: None, token: None, is_password_known: true };
}

impl Operation for UpdateCtl {
    fn apply(&self, cluster: &mut Cluster, now: Time) -> Result<Vec<Effect>, ActionError> {
        cluster.update_ctl(self, now).map(|()| Vec::new())
    }

    fn words(&self, _: &Topology) -> String {
        match (&self.token, self.method) {
            _ if !self.is_password_known => {
                let token = self.token.as_deref().unwrap_or("a token");
                format!("update the CTL with {token}, whose password nobody knows")
            }
            (Some(token), _) => format!("update the CTL with token {token}"),
            (None, Some(method)) => format!("update the CTL, {} from now on", method.name()),
            (None, None) => "update the CTL".to_owned(),
        }
    }

    fn record(&self) -> String {
        let method = self.method.map_or("-", CtlMethod::name);
        let without = if self.is_password_known { "" } else { " without-password" };
        format!("update-ctl {method} {}{without}", self.token.as_deref().unwrap_or("-"))
    }

    fn impact(&self, _: &Topology) -> Impact {
        Impact::NOTHING
    }
}

/// `utils itl reset localkey`, or `utils ctl reset localkey` in mixed mode: the list is signed with
/// ITLRecovery, so that phones which hold that trust it, and is on all TFTP nodes at once. The next
/// start of TFTP signs an ITL as ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetLocalKey {
    /// Which list.
    pub list: ResetList,
}

/// A list that can be signed with the local key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetList {
    /// The ITL of every TFTP node.
    Itl,
    /// The CTL (CTL-17).
    Ctl,
}

impl ResetList {
    /// The word for it in commands.
    pub const fn name(self) -> &'static str {
        match self {
            ResetList::Itl => "itl",
            ResetList::Ctl => "ctl",
        }
    }
}

impl Operation for ResetLocalKey {
    fn apply(&self, cluster: &mut Cluster, now: Time) -> Result<Vec<Effect>, ActionError> {
        cluster.reset_local_key(self.list, now)
    }

    fn words(&self, _: &Topology) -> String {
        let list = self.list.name().to_uppercase();
        format!("sign the {list} with ITLRecovery (utils {} reset localkey)", self.list.name())
    }

    fn record(&self) -> String {
        format!("reset-localkey {}", self.list.name())
    }

    fn impact(&self, _: &Topology) -> Impact {
        Impact { signer: Some(Nodes::All), ..Impact::NOTHING }
    }
}
