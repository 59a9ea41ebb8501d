use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::base::Time;
use crate::cluster::{Cluster, OperatorAction, ServiceKind};
use crate::console::Answer;
use crate::measure::{CpuSeconds, Ledger, Slice, encode_servers};
use crate::net::http::MetricsListener;
use crate::net::signals::Signals;
use crate::net::{Clock, limits, threads};
use crate::play::{Cue, Entered, Play};
use crate::scenario::Plan;
use crate::serve::{ServeCounts, write_files};

use super::admin::{AdminReply, Asked, Consoles};
use super::describe::{bound_document, describe_cluster};
use super::error::LiveError;
use super::options::{LiveOptions, Observer};
use super::post::Post;
use super::stage::Stage;

/// How often the metrics are rendered.
const RENDER_EVERY: Duration = Duration::from_secs(1);

/// Serves the cluster of a plan until a signal comes; the operator's timeline is not played, but
/// `commands` are carried out. What the cluster cannot do is told to the observer and changes
/// nothing.
pub async fn serve(
    plan: &Plan,
    options: &LiveOptions,
    mut commands: mpsc::Receiver<OperatorAction>,
    observer: &mut dyn Observer,
) -> Result<ServeCounts, LiveError> {
    let mut signals = Signals::new();
    // A host that refuses keeps its limit.
    let _ = limits::raise_descriptor_limit();
    let clock = Clock::start();
    let plan = Plan { timeline: Vec::new(), ..plan.clone() };
    let (mut stage, mut lines) = tokio::select! {
        begun = begin(&plan, options, clock) => begun?,
        _ = signals.next() => return Ok(ServeCounts::default()),
    };
    let mut consoles = options.admin.as_deref().map(Consoles::open).transpose()?;
    lines.extend(options.admin.as_ref().map(|path| format!("console   {}", path.display())));
    let metrics = match options.metrics {
        Some(address) => Some(MetricsListener::start(address, exposition(&stage)).await?),
        None => None,
    };
    lines.extend(metrics.as_ref().map(MetricsListener::line));
    observer.started(&lines);
    if let Some(cluster) = stage.play.cluster() {
        observer.listening(&bound_document(&plan.name, cluster));
    }
    observer.tick(&Ledger::new(Slice::whole(0)), clock.now());
    let mut post = options.mail.clone().map(Post::new);
    let mut renders = tokio::time::interval(RENDER_EVERY);
    loop {
        // First of all: what was due while the servers started has no further time to wait for.
        if let Some(post) = &mut post {
            post.send(&stage.play, clock);
        }
        tokio::select! {
            _ = signals.next() => break,
            told = Post::next(&mut post, &stage.play, clock) => {
                told.iter().for_each(|told| observer.told(told, clock.now()));
            }
            _ = renders.tick() => {
                // CAPF may have given a phone another LSC, which a probe judges.
                operate(&mut stage, clock, observer).await?;
                metrics.iter().for_each(|listener| listener.show(exposition(&stage)));
            }
            () = probes_due(&stage.play, clock) => {
                operate(&mut stage, clock, observer).await?;
            }
            Some(action) = commands.recv() => {
                stage.play.command(action);
                operate(&mut stage, clock, observer).await?;
            }
            asked = Consoles::next(&mut consoles) => {
                attend(&mut stage, clock, observer, asked).await?;
            }
        }
    }
    let Some(servers) = stage.servers else { return Ok(ServeCounts::default()) };
    Ok(servers.shutdown().await)
}

/// What Prometheus is told of servers whose phones are not ours.
fn exposition(stage: &Stage) -> String {
    let serve = limits::cpu_seconds_of("serve");
    let cpu_s = CpuSeconds { serve, swarm: None };
    encode_servers(&stage.play.info(stage.serve_summary(), cpu_s))
}

/// Waits until there may be something to tell though nobody does anything.
async fn probes_due(play: &Play, clock: Clock) {
    match play.next_change() {
        Time::NEVER => std::future::pending().await,
        at => tokio::time::sleep_until(clock.instant_at(at)).await,
    }
}

/// Answers a console, and carries out what was typed there.
async fn attend(
    stage: &mut Stage,
    clock: Clock,
    observer: &mut dyn Observer,
    Asked { session, line, answer }: Asked,
) -> Result<(), LiveError> {
    let said = match session {
        Some(mut session) => {
            let said = stage.play.typed(&mut session, &line, clock.now());
            let mut entered = operate(stage, clock, observer).await?;
            if said.action.is_some() {
                entered.notes.extend(stage.play.restart_note());
            }
            let reply = AdminReply::new(&session, said, entered);
            (Some(session), reply)
        }
        None => match stage.play.session(&line) {
            Ok(session) => {
                let reply = AdminReply::new(&session, Answer::default(), Entered::default());
                (Some(session), reply)
            }
            Err(what) => (None, AdminReply::closed(&what)),
        },
    };
    // Whoever asked may have gone.
    let _ = answer.send(said);
    Ok(())
}

/// Carries out what was entered and says what has become of it. There are no phones here: resets
/// reach nobody.
async fn operate(
    stage: &mut Stage,
    clock: Clock,
    observer: &mut dyn Observer,
) -> Result<Entered, LiveError> {
    let mut entered = Entered::default();
    loop {
        let now = clock.now();
        let cue = match stage.play.next(now, true) {
            Ok(Some(cue)) => cue,
            Ok(None) => return Ok(entered),
            Err(refused) => {
                observer.operator(&refused.to_string(), now);
                entered.refused = Some(refused);
                continue;
            }
        };
        entered.notes.extend(stage.play.tell_cue(&cue));
        match &cue {
            Cue::Acts { action, step } => {
                observer.operator(&stage.play.tell(action, step.as_ref()), now);
            }
            Cue::Probed(_) | Cue::Warned(_) => {
                stage.play.tell_cue(&cue).iter().for_each(|what| observer.told(what, now));
            }
            _ => {}
        }
        stage.follow(&cue).await?;
    }
}

/// Starts the servers and writes what they serve, with a line about each.
async fn begin(
    plan: &Plan,
    options: &LiveOptions,
    clock: Clock,
) -> Result<(Stage, Vec<String>), LiveError> {
    let stage = Stage::start(plan, options, clock).await?;
    let Some(cluster) = stage.play.cluster() else { return Ok((stage, Vec::new())) };
    let mut lines = describe_cluster(cluster);
    let uploaded = &cluster.fleet().uploaded;
    if uploaded.count() > 0 {
        let (count, megabytes) = (uploaded.count(), uploaded.length() as f64 / 1e6);
        lines.push(format!("beside    {count} files, {megabytes:.1} MB, on each TFTP node"));
    }
    if let Some(dir) = &options.written {
        lines.extend(write_trees(dir, cluster).await?);
    }
    Ok((stage, lines))
}

/// Writes what each TFTP node serves into a folder named like the node; a line about each.
async fn write_trees(dir: &Path, cluster: &Cluster) -> Result<Vec<String>, LiveError> {
    let topology = cluster.topology();
    let mut lines = Vec::new();
    for node in topology.nodes_with(ServiceKind::Tftp) {
        let Some(service) = cluster.tftp(node).map(Arc::clone) else { continue };
        let folder = dir.join(&topology.node(node).name);
        let line = folder.display().to_string();
        threads::start_pool()?;
        let count = threads::apart("files", move || write_files(&folder, &service)).await??;
        lines.push(format!("files     {count} in {line}"));
    }
    Ok(lines)
}
