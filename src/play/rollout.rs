use crate::base::{PhoneId, Span, Time};
use crate::cluster::{CapfTally, Cluster, Division, LscReport, LscStates, LscStatus};
use crate::measure::CapfNumbers;
use crate::scenario::Plan;

use super::roll::group_of;

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
        waiting: cluster.devices().waiting(),
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
    let [in_authentication, in_key, in_store, in_other, _] = tally.open;
    let mean = |all: Span, of: u64| (of > 0).then(|| all.as_secs_f64() / of as f64);
    CapfNumbers {
        sessions: tally.sessions,
        postponed: tally.postponed,
        malformed: tally.malformed,
        issued: tally.issued,
        in_authentication,
        in_key,
        in_store,
        in_other,
        key_mean_s: mean(tally.key_time, tally.keys),
        sign_mean_s: mean(tally.signing_time, tally.signatures),
        ..CapfNumbers::default()
    }
}

/// Sites and groups that are told apart at most (choice): labels are few.
const PARTS_MAX: usize = 20;
/// What the smallest ones are together, where there are more.
const OTHERS: &str = "others";
/// The only site of a plan that names none.
const ALL: &str = "all";

/// Phones by what has become of their operations, by site and by group; nothing as long as nobody
/// asked for a rollout.
pub(super) fn parts(cluster: &Cluster, plan: &Plan) -> [Vec<(String, LscStates)>; 2] {
    if !cluster.devices().is_used() {
        return Default::default();
    }
    let sites = plan.fleet.sites.iter().map(|site| (site.name.as_str(), site.share)).collect();
    let groups = plan.topology.groups.iter().map(|group| (group.name.as_str(), group.share));
    let [(sites, site_parts), (groups, group_parts)] =
        [sites, groups.collect()].map(|all: Vec<(&str, f64)>| largest(&all));
    let phones = plan.fleet.phones;
    let of_groups = plan.topology.group_sizes(phones);
    let divide = || {
        let site = |phone: PhoneId| site_parts[plan.fleet.site_of(plan.seed, phone)];
        let group = |phone: PhoneId| group_parts[group_of(&of_groups, phone)];
        vec![Division::new(phones, sites.len(), site), Division::new(phones, groups.len(), group)]
    };
    let states = cluster.devices().divided(divide);
    let mut named = [sites, groups].into_iter().zip(states);
    std::array::from_fn(|_| {
        named.next().map_or_else(Vec::new, |(names, of)| names.into_iter().zip(of).collect())
    })
}

/// The names of the largest of these, in their order, and the part of each one of all.
fn largest(all: &[(&str, f64)]) -> (Vec<String>, Vec<usize>) {
    let mut places: Vec<usize> = (0..all.len()).collect();
    if all.len() > PARTS_MAX {
        places.sort_by(|&one, &other| all[other].1.total_cmp(&all[one].1));
        places.truncate(PARTS_MAX - 1);
        places.sort_unstable();
    }
    let mut names: Vec<String> = places.iter().map(|&at| all[at].0.to_owned()).collect();
    let part = |at| places.iter().position(|&place| place == at).unwrap_or(places.len());
    let parts = if all.is_empty() { vec![0] } else { (0..all.len()).map(part).collect() };
    if names.len() < all.len() {
        names.push(OTHERS.to_owned());
    } else if all.is_empty() {
        names.push(ALL.to_owned());
    }
    (names, parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_sites_than_labels_are_the_largest_ones_and_the_others() {
        let names: Vec<String> = (0..30).map(|number| format!("site-{number}")).collect();
        let all: Vec<(&str, f64)> =
            names.iter().zip(0u32..).map(|(name, at)| (name.as_str(), f64::from(at))).collect();
        let (kept, parts) = largest(&all);
        assert_eq!(kept.len(), PARTS_MAX);
        assert_eq!(
            (kept[0].as_str(), kept[18].as_str(), kept[19].as_str()),
            ("site-11", "site-29", OTHERS)
        );
        assert_eq!((parts[0], parts[10], parts[11], parts[29]), (19, 19, 0, 18));
        assert_eq!(largest(&all[..20]).0, names[..20]);
        assert_eq!(largest(&[]), (vec![ALL.to_owned()], vec![0]));
    }
}
