use crate::measure::Recorder;
use crate::net::{Clock, limits};
use crate::scenario::Plan;

use super::run::{Embedded, LiveError, LiveOptions, Observer, describe_cluster};
use super::signals::{Signal, Signals};
use crate::serve::ServeCounts;

/// Serves the cluster of a plan until a signal comes; the operator's timeline is not played.
pub async fn serve(
    plan: &Plan,
    options: &LiveOptions,
    observer: &mut dyn Observer,
) -> Result<(ServeCounts, Signal), LiveError> {
    let mut signals = Signals::new().map_err(LiveError::Signals)?;
    // A host that refuses keeps its limit.
    let _ = limits::raise_descriptor_limit();
    let clock = Clock::start();
    let embedded = Embedded::start(plan, options, clock).await?;
    observer.started(&describe_cluster(&embedded.cluster));
    observer.tick(&Recorder::new(0), clock.now());
    let signal = signals.next().await;
    let counts = embedded.servers.counts();
    signals.leave_on_next(embedded.servers.shutdown()).await;
    Ok((counts, signal))
}
