//! Services by their names in Serviceability.

use std::fmt::Write;

use crate::base::NodeId;
use crate::cluster::operator::services::Change;
use crate::cluster::{IMPLIED_SERVICES, SERVICES, ServiceKind};

use super::view::View;

/// The name of a service on the console.
pub(super) const fn cucm_name(service: ServiceKind) -> &'static str {
    match service {
        ServiceKind::CallManager => "Cisco CallManager",
        ServiceKind::Capf => "Cisco Certificate Authority Proxy Function",
        ServiceKind::Tftp => "Cisco Tftp",
        ServiceKind::Tvs => "Cisco Trust Verification Service",
        ServiceKind::CtiManager => "Cisco CTIManager",
        ServiceKind::Tomcat => "Cisco Tomcat",
        ServiceKind::DrfLocal => "Cisco DRF Local",
        ServiceKind::DrfMaster => "Cisco DRF Master",
        ServiceKind::CtlProvider => "Cisco CTL Provider",
    }
}

/// The services that the console knows.
pub(super) fn all() -> impl Iterator<Item = ServiceKind> {
    SERVICES.into_iter().chain(IMPLIED_SERVICES)
}

/// The service with this name, in any case.
pub(super) fn named(name: &str) -> Option<ServiceKind> {
    all().find(|&service| cucm_name(service).eq_ignore_ascii_case(name))
}

/// What `utils service list` prints.
pub(super) fn list(node: NodeId, view: &View<'_>) -> String {
    let mut text = "Requesting service status, please wait...\n".to_owned();
    for service in all() {
        let state = if !view.topology.is_active(node, service) {
            "[STOPPED]  Service Not Activated"
        } else if view.cluster.is_none_or(|cluster| cluster.runs(node, service)) {
            "[STARTED]"
        } else {
            "[STOPPED]  Commanded Out of Service"
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}{state}", cucm_name(service));
    }
    let is_publisher = node == view.topology.cluster.node(0);
    let _ = writeln!(text, "\nPrimary Node ={is_publisher}");
    text
}

/// What a change of a service prints.
pub(super) fn changed(change: Change, service: ServiceKind) -> String {
    let name = cucm_name(service);
    let stages: &[&str] = match change {
        Change::Restart => &["[STOPPING]", "[STOPPED]", "[STARTING]", "[STARTED]"],
        Change::Start => &["[STARTING]", "[STARTED]"],
        Change::Stop => &["[STOPPING]", "[STOPPED]  Commanded Out of Service"],
    };
    let head = match change {
        Change::Restart => {
            "Do not press Ctrl+C while the service is restarting. If the service has not restarted \
             properly, execute the same command again.\n"
        }
        Change::Start | Change::Stop => "",
    };
    let lines: Vec<String> = stages.iter().map(|stage| format!("{name}{stage}")).collect();
    format!("{head}Service Manager is running\n{}\n", lines.join("\n"))
}
