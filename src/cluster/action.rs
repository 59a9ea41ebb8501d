use crate::base::{NodeId, Span};

use super::topology::{CertificateKind, ServiceKind};

/// One step of the operator: plain data, the same for a scenario file, the console and a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperatorAction {
    /// Adds the DNS record of a node.
    AddRecord {
        /// The node to whose address it leads.
        node: NodeId,
        /// Host name without the domain: a present or earlier name of the node.
        name: String,
    },
    /// `set cert regen`: new key and certificate, active after the restart of its service.
    Regenerate {
        /// Which certificate.
        certificate: CertificateKind,
        /// On which node.
        node: NodeId,
    },
    /// Removes a DNS record: configurations that hold the name lead nowhere.
    RemoveRecord {
        /// Host name without the domain.
        name: String,
    },
    /// Changes the host name of a node: all its certificates are regenerated at once (HOST-01).
    Rename {
        /// The node; its address stays, and its old name still leads to it.
        node: NodeId,
        /// The new host name.
        to: String,
    },
    /// Resets every phone; each boots at its own planned instant within the spread.
    ResetPhones {
        /// Length of the reset wave; zero resets all phones at once.
        spread: Span,
    },
    /// Stops and starts services: regenerated certificates become active (REG-28).
    Restart {
        /// On which node.
        node: NodeId,
        /// Which service; `None` is every service of the node.
        service: Option<ServiceKind>,
    },
    /// Starts services that were stopped.
    Start {
        /// On which node.
        node: NodeId,
        /// Which service; `None` is every service of the node.
        service: Option<ServiceKind>,
    },
    /// Stops services: nobody answers on their ports.
    Stop {
        /// On which node.
        node: NodeId,
        /// Which service; `None` is every service of the node.
        service: Option<ServiceKind>,
    },
}
