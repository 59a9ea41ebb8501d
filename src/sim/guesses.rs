use crate::phone::BootTime;
use crate::scenario::{CostModel, Plan};

/// A value that a result in virtual time rests on and no public source gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guess {
    /// Its key in the scenario, such as `phone.tvs-timeout`.
    pub key: &'static str,
    /// Its value in this plan, as it stands in the scenario.
    pub value: String,
    /// Half and double of it, as overrides; none where that makes no sense.
    pub variants: Vec<String>,
}

/// The guesses of a plan that can have acted on its result (`field-facts.md`, sections 3, 18, 19).
pub fn guesses(plan: &Plan) -> Vec<Guess> {
    let (phone, cost) = (&plan.phone, &plan.cost);
    let mut guesses = vec![
        boot_time(phone.boot_time),
        length("phone.think", phone.think.as_nanos()),
        length("phone.tftp-timeout", phone.tftp_timeout.as_nanos()),
        length("phone.tvs-timeout", phone.tvs_timeout.as_nanos()),
        number("phone.tftp-tries", u64::from(phone.tftp_tries)),
    ];
    if plan.topology.nodes.iter().any(|node| node.ports.http.is_some()) {
        guesses.push(length("phone.http-timeout", phone.http_timeout.as_nanos()));
    }
    guesses.push(number("cluster.cost.cores", u64::from(cost.cores)));
    guesses.extend(limits(cost));
    guesses.retain(|guess| !guess.value.is_empty());
    guesses
}

fn boot_time(boot_time: BootTime) -> Guess {
    match boot_time {
        BootTime::Fixed(time) => length("phone.boot-time", time.as_nanos()),
        BootTime::Model { .. } => {
            Guess { key: "phone.boot-time", value: "model".into(), variants: Vec::new() }
        }
    }
}

fn limits(cost: &CostModel) -> Vec<Guess> {
    let mut limits = Vec::new();
    if !cost.build_time.is_zero() {
        limits.push(length("cluster.cost.build-time", cost.build_time.as_nanos()));
    }
    let counts = [
        ("cluster.cost.serving-count", cost.serving_count),
        ("cluster.cost.tvs-connections", cost.tvs_connections),
    ];
    let set = counts.into_iter().filter(|(_, count)| *count > 0);
    limits.extend(set.map(|(key, count)| number(key, u64::from(count))));
    let rates = [
        ("cluster.cost.resets-per-second", cost.resets_per_second),
        ("cluster.cost.registrations-per-second", cost.registrations_per_second),
    ];
    for (key, rate) in rates.into_iter().filter(|(_, rate)| *rate > 0.0) {
        let variants = [rate / 2.0, rate * 2.0].map(|other| format!("{key}={other:?}"));
        limits.push(Guess { key, value: format!("{rate:?}"), variants: variants.into() });
    }
    limits
}

fn length(key: &'static str, nanos: u64) -> Guess {
    let text = |nanos: u64| crate::base::Span::from_nanos(nanos).to_string();
    let variants =
        [nanos / 2, nanos.saturating_mul(2)].map(|other| format!("{key}={}", text(other)));
    let variants = if nanos < 2 { Vec::new() } else { variants.into() };
    Guess { key, value: text(nanos), variants }
}

fn number(key: &'static str, value: u64) -> Guess {
    let others = [value.div_ceil(2), value * 2].into_iter().filter(|&other| other != value);
    let variants = others.map(|other| format!("{key}={other}")).collect();
    Guess { key, value: value.to_string(), variants }
}

/// What a reader of the numbers must know.
pub(super) fn notes(plan: &Plan) -> Vec<String> {
    let mut notes = vec![
        "ready means: list and config in force".to_owned(),
        "virtual time: outcomes and counts follow from bytes, signatures and lists as in a live \
         run; times and CPU seconds follow from [cluster.cost] and the links"
            .to_owned(),
    ];
    if plan.target.is_some() {
        notes.push("the target is left alone: this run played the cluster of the scenario".into());
    }
    if plan.fleet.sites.is_empty() {
        notes.push("all phones are in one LAN with the cluster (no [[fleet.site]])".into());
    }
    notes
}
