use std::path::Path;
use std::sync::Arc;

use crate::measure::{Ledger, Slice};
use crate::net::signals::Signals;
use crate::net::{Clock, limits, threads};
use crate::scenario::Plan;

use super::error::LiveError;
use super::run::{Embedded, LiveOptions, Observer, bound_document, describe_cluster};
use crate::cluster::ServiceKind;
use crate::serve::{ServeCounts, write_files};

/// Serves the cluster of a plan until a signal comes; the operator's timeline is not played.
pub async fn serve(
    plan: &Plan,
    options: &LiveOptions,
    observer: &mut dyn Observer,
) -> Result<ServeCounts, LiveError> {
    let mut signals = Signals::new();
    // A host that refuses keeps its limit.
    let _ = limits::raise_descriptor_limit();
    let clock = Clock::start();
    let (embedded, lines) = tokio::select! {
        begun = begin(plan, options, clock) => begun?,
        _ = signals.next() => return Ok(ServeCounts::default()),
    };
    observer.started(&lines);
    observer.listening(&bound_document(&plan.name, &embedded.cluster));
    observer.tick(&Ledger::new(Slice::whole(0)), clock.now());
    let _ = signals.next().await;
    let counts = embedded.servers.counts();
    embedded.servers.shutdown().await;
    Ok(counts)
}

/// Starts the servers and writes what they serve, with a line about each.
async fn begin(
    plan: &Plan,
    options: &LiveOptions,
    clock: Clock,
) -> Result<(Embedded, Vec<String>), LiveError> {
    let embedded = Embedded::start(plan, options, clock).await?;
    let mut lines = describe_cluster(&embedded.cluster);
    if let Some(dir) = &options.files {
        lines.extend(write_trees(dir, &embedded).await?);
    }
    Ok((embedded, lines))
}

/// Writes what each TFTP node serves into a folder named like the node; a line about each.
async fn write_trees(dir: &Path, embedded: &Embedded) -> Result<Vec<String>, LiveError> {
    let topology = embedded.cluster.topology();
    let mut lines = Vec::new();
    for node in topology.nodes_with(ServiceKind::Tftp) {
        let Some(service) = embedded.cluster.tftp(node).map(Arc::clone) else { continue };
        let folder = dir.join(&topology.node(node).name);
        let line = folder.display().to_string();
        threads::start_pool()?;
        let count = threads::apart("files", move || write_files(&folder, &service)).await??;
        lines.push(format!("files     {count} in {line}"));
    }
    Ok(lines)
}
