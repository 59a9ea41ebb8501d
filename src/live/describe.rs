use serde_json::{Value, json};

use crate::base::NodeId;
use crate::cluster::Cluster;
use crate::wire::Dialogue;

/// What listens where: each node with its address and the ports of the services that run.
pub(super) fn bound_document(scenario: &str, cluster: &Cluster) -> Value {
    let topology = cluster.topology();
    let of_node = |id: NodeId| {
        let node = topology.node(id);
        let tftp = cluster.tftp(id).is_some();
        let mut document = json!({
            "node": node.name,
            "address": node.address,
            "tftp": tftp.then_some(node.ports.tftp),
            "http": node.ports.http.filter(|_| tftp),
            "https": node.ports.https.filter(|_| tftp),
        });
        for dialogue in Dialogue::ALL {
            let runs = cluster.dialogue(id, dialogue).is_some();
            if runs || dialogue == Dialogue::Tvs {
                document[dialogue.rules().name] = runs.then_some(node.ports.of(dialogue)).into();
            }
        }
        document
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
        let runs = |&dialogue: &Dialogue| cluster.dialogue(id, dialogue).is_some();
        for dialogue in Dialogue::ALL.into_iter().filter(runs) {
            line += &format!(" · {} {}", dialogue.rules().name, node.ports.of(dialogue));
        }
        if let Some(web) = node.ports.web.filter(|_| cluster.web(id).is_some()) {
            line += &format!(" · tomcat {} · tomcat-http {}", web.https, web.http);
        }
        line
    };
    topology.ids().map(of_node).collect()
}
