use crate::cluster::{CERTIFICATES, NodeSet, Source, Topology};

/// How a certificate came into a trust store, in words such as `copy CallManager pub,sub`.
pub(super) fn source_text(source: Source, topology: &Topology) -> String {
    let names = |set: NodeSet| -> String {
        let nodes = topology.ids().filter(|&node| set.contains(node));
        nodes.map(|node| topology.node(node).name.as_str()).collect::<Vec<_>>().join(",")
    };
    match source {
        Source::Preloaded => "preloaded".to_owned(),
        Source::Copy(kind, nodes) => format!("copy {} {}", kind.name(), names(nodes)),
        Source::Imported(node) => format!("imported {}", topology.node(node).name),
    }
}

/// What [`source_text`] has written; `None` if it has not.
pub(super) fn source_of(text: &str, topology: &Topology) -> Option<Source> {
    let node = |name: &str| topology.node_named(name);
    // Of a node that is no longer there it is the certificate of another server.
    let elsewhere = Source::Imported(topology.cluster.node(0));
    let words: Vec<&str> = text.split(' ').collect();
    match words[..] {
        ["preloaded"] => Some(Source::Preloaded),
        ["imported", name] => Some(node(name).map_or(elsewhere, Source::Imported)),
        ["copy", kind, names] => {
            let kind = CERTIFICATES.into_iter().find(|known| known.name() == kind)?;
            let nodes: Vec<_> = names.split(',').filter_map(node).collect();
            let copy = Source::Copy(kind, NodeSet::of(&nodes));
            Some(if nodes.is_empty() { elsewhere } else { copy })
        }
        _ => None,
    }
}
