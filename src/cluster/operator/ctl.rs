//! The CTL file.

use super::{Impact, Operation};
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
}

impl Operation for UpdateCtl {
    fn apply(&self, cluster: &mut Cluster, now: Time) -> Result<Vec<Effect>, ActionError> {
        cluster.update_ctl(self.method, self.token.as_deref(), now).map(|()| Vec::new())
    }

    fn words(&self, _: &Topology) -> String {
        match (&self.token, self.method) {
            (Some(token), _) => format!("update the CTL with token {token}"),
            (None, Some(method)) => format!("update the CTL, {} from now on", method.name()),
            (None, None) => "update the CTL".to_owned(),
        }
    }

    fn record(&self) -> String {
        let method = self.method.map_or("-", CtlMethod::name);
        format!("update-ctl {method} {}", self.token.as_deref().unwrap_or("-"))
    }

    fn impact(&self, _: &Topology) -> Impact {
        Impact::NOTHING
    }
}
