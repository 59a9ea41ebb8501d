use serde_json::{Value, json};

use crate::base::NodeId;
use crate::cluster::Cluster;
use crate::wire::Dialogue;

/// What listens where: each node with its address and the ports of the services that run.
pub(super) fn bound_document(scenario: &str, cluster: &Cluster) -> Value {
    let topology = cluster.topology();
    let of_node = |id: NodeId| {
        let node = topology.node(id);
        let (tftp, tvs) =
            (cluster.tftp(id).is_some(), cluster.dialogue(id, Dialogue::Tvs).is_some());
        json!({
            "node": node.name,
            "address": node.address,
            "tftp": tftp.then_some(node.ports.tftp),
            "http": node.ports.http.filter(|_| tftp),
            "https": node.ports.https.filter(|_| tftp),
            "tvs": tvs.then_some(node.ports.tvs),
        })
    };
    let nodes = topology.ids().map(of_node);
    json!({ "schema": 1, "scenario": scenario, "nodes": nodes.collect::<Vec<_>>() })
}

/// Lines that say which node serves what and where.
pub(super) fn describe_cluster(cluster: &Cluster) -> Vec<String> {
    let topology = cluster.topology();
    let of_node = |id: NodeId| {
        let node = topology.node(id);
        let mut line = format!("cluster   {} on {}", node.name, node.address);
        if cluster.tftp(id).is_some() {
            line += &format!(" · tftp {}", node.ports.tftp);
            for (name, port) in [("http", node.ports.http), ("https", node.ports.https)] {
                line += &port.map(|port| format!(" · {name} {port}")).unwrap_or_default();
            }
        }
        if cluster.dialogue(id, Dialogue::Tvs).is_some() {
            line += &format!(" · tvs {}", node.ports.tvs);
        }
        line
    };
    topology.ids().map(of_node).collect()
}
