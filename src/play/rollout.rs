use crate::base::Time;
use crate::cluster::{CapfTally, Cluster, LscReport, LscStatus};
use crate::measure::CapfNumbers;

/// A rollout of LSCs in numbers; all are 0 as long as nobody asked for one.
pub(super) fn numbers(cluster: &Cluster, now: Time) -> CapfNumbers {
    let tally = cluster.capf_counts().tally();
    let of_service = of_service(&tally);
    let Some(report) = cluster.lsc_report(now) else { return of_service };
    let LscReport { marks, forecast, .. } = &report;
    let pending = report.count(LscStatus::Pending);
    let since = |at: Time| marks.began.map(|began| at.since(began).as_secs_f64());
    let early = marks.early.and_then(|(at, early)| Some(since(at)? + early.left_s));
    CapfNumbers {
        pending,
        done: report.succeeded(),
        failed: report.failed(),
        installed: report.installed,
        stale: report.stale,
        expired: report.expired,
        stalled: u64::from(cluster.capf_counts().is_stalled(pending)),
        took_s: marks.last.and_then(since),
        left_s: forecast.map(|forecast| forecast.left_s),
        left_low_s: forecast.map(|forecast| forecast.low_s),
        left_high_s: forecast.map(|forecast| forecast.high_s),
        forecast_early_s: early,
        statuses: report.statuses.iter().map(|(one, &n)| (one.to_string(), n)).collect(),
        ..of_service
    }
}

fn of_service(tally: &CapfTally) -> CapfNumbers {
    let [in_authentication, in_key, in_store, ..] = tally.open;
    let mean = tally.key_time.as_secs_f64() / tally.keys.max(1) as f64;
    CapfNumbers {
        sessions: tally.sessions,
        postponed: tally.postponed,
        malformed: tally.malformed,
        issued: tally.issued,
        in_authentication,
        in_key,
        in_store,
        key_mean_s: (tally.keys > 0).then_some(mean),
        ..CapfNumbers::default()
    }
}
