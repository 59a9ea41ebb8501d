//! What the nodes of a cluster run.

mod call_manager;
mod capf;
mod capf_line;
mod capf_places;
mod dialogue;
mod tvs;
mod web;

pub(super) use capf::CapfSetup;
pub use dialogue::{Answering, Conversation, DialogueService, Peer, PeerRefusal, Said};
pub use web::WebService;
pub(crate) use web::path;

use std::sync::Arc;

use crate::base::NodeId;
use crate::crypto::Identity;
use crate::wire::Dialogue;

pub(super) use call_manager::CallManager;
use call_manager::Port;

use super::kinds::{CertificateKind, ServiceKind};
use super::knowledge::Knowledge;
use super::tftp_service::TftpService;
use super::topology::{Topology, WebPorts};

/// A service of a node from one start to the next: an immutable value.
#[derive(Clone, Debug)]
pub enum Service {
    /// TFTP, and HTTP and HTTPS with it.
    Tftp(Arc<TftpService>),
    /// One that is talked to in messages, in one dialogue or more.
    Dialogues(Dialogues),
    /// Tomcat, which has pages for phones.
    Web(Arc<WebService>),
}

/// The dialogues of a service, at least one.
#[derive(Clone, Debug)]
pub struct Dialogues {
    /// Which service it is.
    pub kind: ServiceKind,
    /// One for each dialogue.
    pub all: Vec<Arc<DialogueService>>,
}

impl Service {
    /// Which service it is.
    pub fn kind(&self) -> ServiceKind {
        match self {
            Service::Tftp(_) => ServiceKind::Tftp,
            Service::Dialogues(dialogues) => dialogues.kind,
            Service::Web(_) => ServiceKind::Tomcat,
        }
    }

    /// What tells it from the same service after a change: whatever it serves or presents.
    pub fn fingerprint(&self) -> [u8; 32] {
        match self {
            Service::Tftp(service) => service.fingerprint(),
            Service::Dialogues(dialogues) => {
                // All of a service present one certificate.
                dialogues.all[0].identity.certificate.sha256()
            }
            Service::Web(service) => service.identity.certificate.sha256(),
        }
    }
}

/// The certificate that a service presents.
pub(super) const fn presents(dialogue: Dialogue) -> CertificateKind {
    match dialogue {
        Dialogue::Tvs => CertificateKind::Tvs,
        Dialogue::Capf => CertificateKind::Capf,
        Dialogue::Sip | Dialogue::Sips => CertificateKind::CallManager,
    }
}

/// Who answers in a dialogue on `node`, whose service starts now.
pub(super) fn dialogue_service(
    dialogue: Dialogue,
    node: NodeId,
    identity: Identity,
    knowledge: &Arc<Knowledge>,
    call_manager: Option<&Arc<CallManager>>,
    capf: impl FnOnce() -> CapfSetup,
) -> DialogueService {
    let answering: Arc<dyn Answering> = match dialogue {
        Dialogue::Tvs => Arc::new(tvs::Tvs { node, knowledge: Arc::clone(knowledge) }),
        Dialogue::Capf => Arc::new(capf::Capf::new(identity.clone(), capf())),
        Dialogue::Sip | Dialogue::Sips => {
            let call_manager = call_manager.expect("its ports open when a CallManager starts");
            let secure = dialogue == Dialogue::Sips;
            Arc::new(Port { call_manager: Arc::clone(call_manager), secure })
        }
    };
    DialogueService { dialogue, certificate: presents(dialogue), identity, answering }
}

/// Tomcat of a node, which starts now; `None` if it has no pages for phones.
pub(super) fn web_service(
    topology: &Topology,
    node: NodeId,
    identity: Identity,
) -> Option<WebService> {
    let WebPorts { http, https } = topology.node(node).ports.web?;
    let host = topology.web_host(node);
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let authorities = [http, https].map(|port| format!("{host}:{port}"));
    Some(WebService { identity, authorities })
}
