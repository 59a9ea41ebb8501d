use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cluster::operator::phones::effect_on_phones;
use crate::cluster::{Cluster, FleetSpec, Genesis, Stored, UploadedFiles};
use crate::crypto::KeySource;
use crate::measure::{Mode, ServeSummary};
use crate::net::{Clock, threads};
use crate::play::{Cue, Play};
use crate::scenario::Plan;
use crate::serve::{Bound, ServeSettings, Servers, read_files};
use crate::vault::{self, KeptSql, MemorySql};
use crate::wire::Dialogue;

use super::error::LiveError;
use super::options::LiveOptions;

/// A play on real sockets: our servers follow its cues.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) play: Play,
    /// None if the servers are not ours.
    pub(super) servers: Option<Servers>,
    /// Where certificates and keys are kept, if they are.
    state: Option<PathBuf>,
}

impl Stage {
    /// The stage of a plan; unless its target is somebody else's, with our cluster and servers.
    pub(super) async fn start(
        plan: &Plan,
        options: &LiveOptions,
        clock: Clock,
    ) -> Result<Stage, LiveError> {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (cluster, servers) = if plan.target.is_some() {
            (None, None)
        } else {
            let (cluster, servers) =
                ours(plan, options, clock, plan.dates.epoch_s.unwrap_or(epoch.as_secs())).await?;
            (Some(cluster), Some(servers))
        };
        let new = Play::new(plan, cluster, Mode::Live, clock.began_s());
        Ok(Stage {
            play: match &options.state {
                Some(dir) => new.with_sql(KeptSql { dir: dir.clone() }),
                None => new.with_sql(MemorySql),
            },
            servers,
            state: options.state.clone(),
        })
    }

    /// Lets the servers follow a cue; those that concern phones are somebody else's.
    pub(super) async fn follow(&mut self, cue: &Cue) -> Result<(), LiveError> {
        let Some(servers) = &self.servers else { return Ok(()) };
        match cue {
            Cue::Service(change) => servers.follow(change).await?,
            Cue::Acts { action, .. } if effect_on_phones(action).is_none() => {
                // What has changed is kept where the next run finds it.
                if let (Some(dir), Some(cluster)) = (&self.state, self.play.cluster()) {
                    vault::save_cluster(dir, cluster)?;
                }
            }
            Cue::BackedUp(backup) => {
                if let Some(dir) = self.state.clone() {
                    let backup = Arc::clone(backup);
                    threads::apart("backup", move || vault::save_backup(&dir, &backup)).await??;
                }
            }
            Cue::Acts { .. }
            | Cue::Boots { .. }
            | Cue::Visits(_)
            | Cue::Moved
            | Cue::Probed(_)
            | Cue::Warned(_) => {}
        }
        Ok(())
    }

    /// Keeps what has changed since the last action: CAPF writes into the database, too.
    pub(super) fn keep(&self) -> Result<(), LiveError> {
        let cluster = self.play.cluster().filter(|cluster| cluster.devices().is_used());
        match (&self.state, cluster) {
            (Some(dir), Some(cluster)) => Ok(vault::save_cluster(dir, cluster)?),
            _ => Ok(()),
        }
    }

    /// What our servers have counted.
    pub(super) fn serve_summary(&self) -> ServeSummary {
        let Some(servers) = &self.servers else { return ServeSummary::default() };
        let counts = servers.counts();
        let tvs = counts.dialogue(Dialogue::Tvs);
        ServeSummary {
            tftp_requests: counts.tftp.requests,
            tftp_datagrams_out: counts.tftp.datagrams_out,
            tftp_retransmits: counts.tftp.retransmits,
            http_requests: counts.http.requests,
            http_connections: counts.http.connections,
            https_requests: counts.https.requests,
            https_handshakes_ok: counts.https.handshakes_ok,
            https_handshakes_failed: counts.https.handshakes_not_completed(),
            page_requests: counts.web.iter().map(|web| web.requests).sum(),
            page_handshakes_ok: counts.web[1].handshakes_ok,
            page_handshakes_failed: counts.web[1].handshakes_not_completed(),
            tvs_handshakes_ok: tvs.handshakes_ok,
            tvs_handshakes_failed: tvs.handshakes_not_completed(),
            tvs_answers: tvs.answers,
        }
    }
}

/// Binds the sockets, makes or loads the certificates and starts the servers.
async fn ours(
    plan: &Plan,
    options: &LiveOptions,
    clock: Clock,
    epoch_s: u64,
) -> Result<(Cluster, Servers), LiveError> {
    let bound = Bound::bind(&plan.topology)?;
    let stored = match &options.state {
        Some(dir) => Stored {
            backups: vault::load_backups(dir, bound.topology())?,
            ..vault::load_cluster(dir, bound.topology())?
        },
        None => Stored::default(),
    };
    let uploaded = match options.files.clone() {
        Some(dir) => threads::apart("files", move || read_files(&dir)).await??,
        None => UploadedFiles::default(),
    };
    let genesis = Genesis {
        topology: bound.topology().clone(),
        fleet: FleetSpec { uploaded, ..plan.fleet_spec() },
        source: KeySource::System,
        epoch_s,
        stored,
    };
    let cluster = threads::apart("keys", move || Cluster::new(genesis)).await?;
    if let Some(dir) = &options.state {
        vault::save_cluster(dir, &cluster)?;
    }
    let servers = Servers::start(bound, &cluster, clock, ServeSettings::default()).await?;
    Ok((cluster, servers))
}
