use std::collections::BTreeMap;

use serde::Serialize;

use super::expiry::{DaysLeft, days_left};
use super::needs;
use super::warnings::{does_not_wait, longest_visits, warnings};
use super::waves::{Wave, waves};
use crate::base::lines::{paragraph, row};
use crate::base::words::{aligned_left, bytes, count};
use crate::base::{Home, Model, NodeId, PhoneId, Span};
use crate::cluster::{SecurityMode, ServiceKind, Topology};
use crate::console::Look;
use crate::measure::{COVERS, FaultSummary, Queue};
use crate::phone::{First, family_of};
use crate::play::Homes;
use crate::scenario::{Plan, Trigger};
use crate::wire::Dialogue;

/// What a plan will ask of servers and host, before anything runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Budget {
    /// Name of the scenario.
    pub scenario: String,
    /// One sentence about it; may be empty.
    pub about: String,
    /// What results cover.
    pub covers: &'static str,
    /// Seed of the run.
    pub seed: u64,
    /// Number of phones.
    pub phones: u32,
    /// What the phones hold at the start.
    pub start: &'static str,
    /// Phones by model, exactly as they will be drawn.
    pub models: Vec<ModelBudget>,
    /// Phones by `CallManager` group.
    pub groups: Vec<GroupBudget>,
    /// Phones by their lists of TFTP servers; empty where each has one and takes its turn.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tftp: Vec<HomeBudget>,
    /// Release of the cluster.
    pub release: &'static str,
    /// Size of its RSA keys.
    pub key_bits: u16,
    /// What becomes of signatures that were made.
    pub sign_cache: &'static str,
    /// How long certificates still last, if the plan lets time pass or has old ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<DaysLeft>,
    /// How the CTL is signed; `null` if the cluster is not in mixed mode when it starts.
    pub ctl: Option<&'static str>,
    /// Which transport the phones ask first: `tftp`, `http`, or `model` for their profiles.
    pub transport: &'static str,
    /// How long they boot: a length of time, or `model` for their profiles.
    pub boot_time: String,
    /// Known defects that it has, and what comes of each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultSummary>,
    /// The nodes of the cluster.
    pub nodes: Vec<NodeBudget>,
    /// Servers that are not ours, as `service address`.
    pub target: Vec<String>,
    /// What people do with the phones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<String>,
    /// The operator's steps in their order: name, when and what.
    pub timeline: Vec<String>,
    /// What is likely not meant, each with its repair.
    pub warnings: Vec<String>,
    /// The waves of boots that the plan causes, in order.
    pub waves: Vec<Wave>,
    /// Descriptors at most: sockets of the servers, what is in flight, and some for the program.
    pub descriptors: u64,
    /// TVS lookups in flight at most.
    pub lookups: u64,
    /// Registrations in flight at most; none where phones do not register.
    pub registrations: u64,
    /// HTTP connections in flight at most.
    pub connections: u64,
    /// Memory of the program at the height of a wave, about.
    pub memory_bytes: u64,
    /// What a place in each queue takes of it.
    #[serde(skip)]
    pub place_bytes: BTreeMap<Queue, u64>,
    /// What must hold at the end.
    pub slos: Vec<String>,
    /// The run ends after this time, in seconds, settled or not.
    pub max_wall_s: f64,
}

/// Phones of one model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelBudget {
    /// As the scenario names it.
    pub model: String,
    /// Which phones of the profile file it is one of, such as `88xx`.
    pub family: &'static str,
    /// Whether its profile asks HTTP first.
    pub http_first: bool,
    /// Block size that its profile asks for over TFTP, in bytes; 512 is not asked for.
    pub tftp_block: u16,
    /// Median of the time to boot by its profile, in seconds.
    pub boot_s: f64,
    /// Median of the time in which it makes a pair of keys by its profile, in seconds.
    pub key_generation_s: f64,
    /// Whether it holds trust lists.
    pub holds_lists: bool,
    /// Whether they verify signatures with SHA-1 only.
    pub sha1_only: bool,
    /// Number of phones.
    pub phones: u64,
}

/// Phones of one `CallManager` group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupBudget {
    /// Name of the group.
    pub group: String,
    /// Its nodes in the order in which phones ask their TVS.
    pub members: Vec<String>,
    /// Number of phones.
    pub phones: u32,
}

/// Phones with one list of TFTP servers (option 150).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HomeBudget {
    /// The nodes in the order in which phones ask them.
    pub servers: Vec<String>,
    /// Number of phones.
    pub phones: u64,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeBudget {
    /// Host name.
    pub node: String,
    /// Address.
    pub address: String,
    /// Services that run with their ports, such as `tftp 6969/udp`.
    pub services: Vec<String>,
    /// Services that lend their certificates and listen nowhere.
    pub not_served: Vec<String>,
}

impl Budget {
    /// The budget of a plan.
    pub fn of(plan: &Plan) -> Budget {
        let topology = &plan.topology;
        Budget {
            scenario: plan.name.clone(),
            about: plan.about.clone(),
            covers: COVERS,
            seed: plan.seed,
            phones: plan.fleet.phones,
            start: plan.fleet.start.name(),
            models: models(plan),
            groups: groups(plan),
            tftp: tftp(plan),
            release: topology.release.name(),
            key_bits: topology.key_bits,
            sign_cache: topology.sign_cache.name(),
            ctl: (topology.security.mode == SecurityMode::Mixed)
                .then(|| topology.security.method().name()),
            transport: plan.phone.transport.name(),
            boot_time: plan.phone.boot_time.to_string(),
            faults: topology.faults.iter().map(|&fault| fault.into()).collect(),
            nodes: nodes(topology),
            target: target(plan),
            uses: plan.fleet.uses.iter().map(ToString::to_string).collect(),
            timeline: (0..plan.timeline.len()).map(|at| in_words(plan, at)).collect(),
            certificates: days_left(plan),
            warnings: warnings(plan),
            waves: waves(plan),
            descriptors: needs::descriptors(plan),
            lookups: needs::lookups_in_flight(plan),
            registrations: needs::registrations_in_flight(plan),
            connections: needs::connections_in_flight(plan),
            memory_bytes: needs::memory(plan),
            place_bytes: needs::place_bytes(plan),
            slos: plan.slos.iter().map(|slo| slo.text.clone()).collect(),
            max_wall_s: plan.limits.max_wall.as_secs_f64(),
        }
    }

    /// The budget for people; `descriptor_limit` is what this host permits.
    pub fn text(&self, descriptor_limit: Option<u64>) -> String {
        let mut out = String::new();
        row(&mut out, "scenario", &format!("{} · seed {}", self.scenario, self.seed));
        if !self.about.is_empty() {
            paragraph(&mut out, "", &self.about);
        }
        paragraph(&mut out, "covers", self.covers);
        self.write_phones(&mut out);
        self.write_cluster(&mut out);
        for (at, fault) in self.faults.iter().enumerate() {
            paragraph(&mut out, if at == 0 { "faults" } else { "" }, &fault.to_string());
        }
        for (at, one) in self.uses.iter().enumerate() {
            paragraph(&mut out, if at == 0 { "uses" } else { "" }, one);
        }
        for (at, step) in self.timeline.iter().enumerate() {
            let label = if at == 0 { "timeline" } else { "" };
            paragraph(&mut out, label, &format!("{}. {step}", at + 1));
        }
        for wave in &self.waves {
            wave.write(&mut out);
        }
        let limit = descriptor_limit.map_or_else(|| "-".to_owned(), count);
        row(&mut out, "descriptors", &format!("at most {} of {limit}", count(self.descriptors)));
        row(&mut out, "memory", &format!("about {}", bytes(self.memory_bytes)));
        row(&mut out, "ends", &format!("when settled, after {} s at the latest", self.max_wall_s));
        for (at, slo) in self.slos.iter().enumerate() {
            paragraph(&mut out, if at == 0 { "SLO" } else { "" }, slo);
        }
        out
    }

    /// What is wrong with running this on a host with such a limit, if anything.
    pub fn descriptor_warning(&self, limit: Option<u64>) -> Option<String> {
        let limit = limit.filter(|&limit| limit < self.descriptors)?;
        Some(format!(
            "{} needs {} descriptors and this host permits {limit}\n\
             help: raise the limit (ulimit -Hn, or LimitNOFILE= of the service), or --set \
             run.lookups-in-flight, run.registrations-in-flight or run.connections-in-flight \
             to less",
            self.scenario, self.descriptors
        ))
    }

    fn write_phones(&self, out: &mut String) {
        let model = |m: &ModelBudget| format!("{} of model {}", count(m.phones), m.model);
        let models: Vec<String> = self.models.iter().map(model).collect();
        let phones = count(u64::from(self.phones));
        let text = format!("{phones} ({}), start {}", models.join(", "), self.start);
        paragraph(out, "phones", &text);
        for model in &self.models {
            paragraph(out, "", &model.profile());
        }
        let text = format!(
            "in force: transport {}, boot-time {} (\"model\" takes what the profiles say)",
            self.transport, self.boot_time
        );
        paragraph(out, "", &text);
        for group in &self.groups {
            let phones = count(u64::from(group.phones));
            let members = group.members.join(", then ");
            let text = format!("group {}: {phones} phones ask TVS of {members}", group.group);
            paragraph(out, "", &text);
        }
        for HomeBudget { servers, phones } in &self.tftp {
            let servers = servers.join(", then ");
            paragraph(out, "", &format!("{} phones ask TFTP of {servers}", count(*phones)));
        }
    }

    fn write_cluster(&self, out: &mut String) {
        let (release, bits, cache) = (self.release, self.key_bits, self.sign_cache);
        let ctl = self.ctl.map_or_else(String::new, |by| format!(", mixed mode, CTL {by}"));
        row(out, "cluster", &format!("release {release}, RSA-{bits}, sign cache {cache}{ctl}"));
        let node = |n: &NodeBudget| vec![n.node.clone(), n.address.clone(), n.services.join(", ")];
        let table: Vec<Vec<String>> = self.nodes.iter().map(node).collect();
        for line in aligned_left(&table).lines() {
            paragraph(out, "", line);
        }
        let lent = [ServiceKind::CallManager].map(ServiceKind::name);
        let on = |name: &str| {
            let has = |n: &&NodeBudget| n.not_served.iter().any(|other| other == name);
            let nodes: Vec<&str> = self.nodes.iter().filter(has).map(|n| n.node.as_str()).collect();
            (!nodes.is_empty()).then(|| format!("{name} on {}", nodes.join(", ")))
        };
        let lent: Vec<String> = lent.into_iter().filter_map(on).collect();
        if !lent.is_empty() {
            let text = format!("not served: {} (certificates only)", lent.join("; "));
            paragraph(out, "", &text);
        }
        for (at, days) in self.certificates.iter().enumerate() {
            let DaysLeft { certificate, node, at_start, at_end } = days;
            let text = format!("{certificate} on {node}: {at_start}, at the end {at_end}");
            paragraph(out, if at == 0 { "days left" } else { "" }, &text);
        }
        let capf = ServiceKind::Capf.name();
        let publisher = self.nodes.first().filter(|_| self.target.is_empty());
        if let Some(node) =
            publisher.filter(|node| !node.services.iter().any(|s| s.starts_with(capf)))
        {
            let text = format!("no list has a CAPF record: {capf} is not active on {}", node.node);
            paragraph(out, "", &text);
        }
        if !self.target.is_empty() {
            paragraph(out, "target", &self.target.join(", "));
        }
    }
}

impl ModelBudget {
    fn profile(&self) -> String {
        let first = if self.http_first { "HTTP first" } else { "TFTP only" };
        let lists = match (self.holds_lists, self.sha1_only) {
            (false, _) => "no trust lists, ",
            (true, true) => "SHA-1 only, ",
            (true, false) => "",
        };
        format!(
            "profile {} of model {}: {lists}{first}, blocks of {} bytes, boots in {} s, a key in {} s",
            self.family, self.model, self.tftp_block, self.boot_s, self.key_generation_s
        )
    }
}

fn models(plan: &Plan) -> Vec<ModelBudget> {
    let fleet = plan.fleet_spec();
    let mut phones = vec![0; plan.fleet.models.len()];
    (0..fleet.phones).for_each(|phone| phones[fleet.model_index(PhoneId(phone))] += 1);
    let model = |(&(model, _), phones): (&(Model, f64), u64)| {
        let family = family_of(model);
        ModelBudget {
            model: model.to_string(),
            family: &family.models,
            http_first: family.first == First::Http,
            tftp_block: family.tftp_block.size,
            boot_s: family.boot.median_s,
            key_generation_s: family.key_generation.median_s,
            holds_lists: family.without_lists.is_none(),
            sha1_only: family.sha1_only.is_some(),
            phones,
        }
    };
    fleet.models.iter().zip(phones).map(model).collect()
}

fn groups(plan: &Plan) -> Vec<GroupBudget> {
    let topology = &plan.topology;
    let name = |&id: &NodeId| topology.node(id).name.clone();
    let sizes = topology.group_sizes(plan.fleet.phones);
    let groups = topology.groups.iter().zip(sizes).map(|(group, phones)| GroupBudget {
        group: group.name.clone(),
        members: group.members.iter().map(name).collect(),
        phones,
    });
    groups.collect()
}

fn tftp(plan: &Plan) -> Vec<HomeBudget> {
    let has_lists = plan.fleet.homes().any(|home| home.len() > 1);
    let has_groups = !plan.fleet.tftp_of_groups.is_empty();
    if plan.target.is_some() || !(has_lists || has_groups) {
        return Vec::new();
    }
    let (homes, mut phones) = (Homes::of_plan(plan), BTreeMap::<&Home, u64>::new());
    for phone in 0..plan.fleet.phones {
        *phones.entry(homes.of(PhoneId(phone))).or_default() += 1;
    }
    let name = |&node: &NodeId| plan.topology.node(node).name.clone();
    let budget = |(home, phones): (&Home, u64)| HomeBudget {
        servers: home.iter().map(name).collect(),
        phones,
    };
    phones.into_iter().map(budget).collect()
}

fn nodes(topology: &Topology) -> Vec<NodeBudget> {
    let node = |node: &crate::cluster::NodeSpec| {
        let port = |port: u16, transport: &str| match port {
            0 => format!(" any free port/{transport}"),
            port => format!(" {port}/{transport}"),
        };
        let listens = |service: ServiceKind| {
            let tftp = (service == ServiceKind::Tftp)
                .then(|| format!("tftp{}", port(node.ports.tftp, "udp")));
            let dialogue = |&dialogue: &Dialogue| {
                let port = port(node.ports.of(dialogue), "tcp");
                format!("{}{port}", dialogue.rules().name)
            };
            tftp.into_iter().chain(topology.dialogues(service).iter().map(dialogue))
        };
        let http = node.ports.http.filter(|_| node.services.contains(&ServiceKind::Tftp));
        let http = http.map(|number| format!("http{}", port(number, "tcp")));
        let https = node.ports.https.filter(|_| node.services.contains(&ServiceKind::Tftp));
        let https = https.map(|number| format!("https{}", port(number, "tcp")));
        let services = node.services.iter().flat_map(|&s| listens(s));
        let web = node
            .ports
            .web
            .map(|web| format!("tomcat{},{}", port(web.https, "tcp"), port(web.http, "tcp")));
        let services = services.chain(http).chain(https).chain(web);
        let lent = node.services.iter().filter(|&&service| !topology.is_served(service));
        NodeBudget {
            node: node.name.clone(),
            address: node.address.to_string(),
            services: services.collect(),
            not_served: lent.map(|service| service.name().to_owned()).collect(),
        }
    };
    topology.nodes.iter().map(node).collect()
}

fn target(plan: &Plan) -> Vec<String> {
    let Some(target) = &plan.target else { return Vec::new() };
    let tvs = target.tvs.map(|tvs| format!("tvs {tvs}"));
    target.tftp.iter().map(|tftp| format!("tftp {tftp}")).chain(tvs).collect()
}

/// A length of time that people work, in their words.
fn duration(length: Span) -> String {
    let minutes = length.as_secs_f64() / 60.0;
    match minutes {
        ..10.0 => length.to_string(),
        ..120.0 => format!("{minutes:.0} min"),
        _ => format!("{:.1} h", minutes / 60.0),
    }
}

/// One step of the operator: its name, when, and what.
fn in_words(plan: &Plan, at: usize) -> String {
    let (entry, topology) = (&plan.timeline[at], &plan.topology);
    let unawaited = if does_not_wait(plan, at) { " (does not wait for the phones)" } else { "" };
    let when = match entry.trigger {
        Trigger::AfterPrevious { delay: Span::ZERO } => format!("then{unawaited}"),
        Trigger::AfterPrevious { delay } => format!("{delay} later{unawaited}"),
        Trigger::At(at) => format!("at {at}"),
        Trigger::FleetSettled => "when the fleet has settled".to_owned(),
    };
    let then = entry
        .then
        .as_ref()
        .map(|then| format!("; {} after that: {}", then.delay, then.action.plan_words(topology)));
    let visits = longest_visits(plan, at).map(|length| format!(" ({} at most)", duration(length)));
    let typed = entry.typed.as_ref().filter(|_| entry.action.get::<Look>().is_none());
    let typed = typed.map(|typed| format!("`{}`: ", typed.lines[0])).unwrap_or_default();
    let action = entry.action.plan_words(topology);
    format!(
        "{} · {when}: {typed}{action}{}{}",
        entry.name,
        visits.unwrap_or_default(),
        then.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::measure::known_paths;
    use crate::scenario::load;
    use crate::sim::{SimOptions, World};

    fn plan(name: &str, overrides: &[&str]) -> Plan {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("scenarios/{name}.toml"));
        let text = std::fs::read_to_string(&path).unwrap();
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        load(&path, &text, &overrides, &known_paths()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn budget(name: &str, overrides: &[&str]) -> Budget {
        Budget::of(&plan(name, overrides))
    }

    const SMALL: &str = "fleet.phones=20";

    #[test]
    fn transfers_bytes_and_lookups_are_those_of_a_run() {
        let release = "cluster.release=11.5";
        let recovery = "cluster.release=10.5";
        let cases: [(&str, &[&str]); 8] = [
            ("callmanager-regen", &[SMALL]),
            ("callmanager-regen", &[SMALL, recovery]),
            ("callmanager-regen", &[SMALL, release]),
            ("tvs-regen", &[SMALL]),
            ("callmanager-and-tvs", &[SMALL]),
            ("rename-one-of-three", &[SMALL]),
            ("single-member-group", &[SMALL]),
            ("mixed-fleet", &[SMALL]),
        ];
        for (name, overrides) in cases {
            let plan = plan(name, overrides);
            let counts = *World::new(&plan, SimOptions::default()).run().ledger.counts();
            let [wave] = Budget::of(&plan).waves.try_into().unwrap();
            assert_eq!(
                (wave.requests, wave.transfers),
                (
                    counts.tftp.requests + counts.http.requests + counts.https.requests,
                    counts.tftp.transfers + counts.http.transfers + counts.https.transfers
                ),
                "{name}"
            );
            let bytes = counts.tftp.bytes + counts.http.bytes + counts.https.bytes;
            let error = wave.bytes as f64 / bytes as f64 - 1.0;
            assert!(error.abs() < 0.01, "{name}: {} not {bytes}", wave.bytes);
            let range = wave.lookups.min..=wave.lookups.max;
            assert!(range.contains(&counts.tvs.lookups), "{name}: {range:?}");
        }
    }

    #[test]
    fn lookups_are_expected_only_after_the_signer_of_the_phones_files_has_changed() {
        let max = |name, overrides: &[&str]| budget(name, overrides).waves[0].lookups.max;
        assert_eq!(max("tvs-regen", &[SMALL]), 0);
        assert_eq!(max("callmanager-regen", &[SMALL]), 40);
        assert_eq!(max("rename-one-of-three", &[SMALL]), 40);
        assert_eq!(max("tvs-regen", &[SMALL, "target.tftp=127.0.0.1:69"]), 40);
    }

    #[test]
    fn longer_keys_make_longer_files() {
        let size = |bits| budget("callmanager-regen", &[SMALL, bits]).waves[0].bytes / 20;
        assert_eq!(
            (size("cluster.key-bits=2048"), size("cluster.key-bits=4096")),
            (12_917, 16_501)
        );
    }

    #[test]
    fn lists_of_tftp_servers_are_told_where_there_are_some() {
        let one = budget("callmanager-regen", &[SMALL]);
        assert!(one.tftp.is_empty() && !one.text(None).contains("ask TFTP"));
        let two = budget("two-tftp-order", &["fleet.phones=41"]);
        let list = |servers: [&str; 2], phones| HomeBudget {
            servers: servers.map(str::to_owned).to_vec(),
            phones,
        };
        assert_eq!(two.tftp, [list(["pub", "sub"], 41)]);
        assert!(two.text(None).contains("  41 phones ask TFTP of pub, then sub\n"), "{two:?}");
        let turns = "fleet.tftp=[['sub','pub'],['pub','sub']]";
        let turns = budget("two-tftp-order", &["fleet.phones=41", turns]).tftp;
        assert_eq!(turns, [list(["pub", "sub"], 20), list(["sub", "pub"], 21)]);
    }

    #[test]
    fn a_tftp_server_that_stops_may_cost_questions_where_there_is_another() {
        let stop = "event=[{when='fleet-settled',stop={service='tftp',node='pub'}},\
                    {after='previous',reset-phones={}}]";
        let lookups = |turns: &str| {
            let waves = budget("two-tftp-order", &["fleet.phones=10", "slo=[]", stop, turns]).waves;
            (waves[0].lookups.min, waves[0].lookups.max)
        };
        assert_eq!(lookups("fleet.tftp=[['pub','sub']]"), (0, 20));
        assert_eq!(lookups("fleet.tftp=['pub','sub']"), (0, 0));
    }

    #[test]
    fn phones_are_counted_by_model_and_group() {
        let budget = budget(
            "single-member-group",
            &["fleet.phones=300", "fleet.models={8841=0.7,7841=0.3}"],
        );
        assert_eq!(budget.models.iter().map(|model| model.phones).sum::<u64>(), 300);
        assert!((180..240).contains(&budget.models[1].phones), "{:?}", budget.models);
        assert_eq!(budget.groups.iter().map(|group| group.phones).sum::<u32>(), 300);
    }

    #[test]
    fn a_wave_has_the_peak_of_its_draws() {
        let peak = |spread: &str| {
            let set = format!("event.reset-1.reset-phones.spread={spread}");
            budget("callmanager-regen", &["fleet.phones=600", &set]).waves[0].peak_boots_per_s
        };
        assert_eq!(peak("0s"), 600);
        assert_eq!(peak("1s"), 600);
        assert!((20..45).contains(&peak("30s")), "{}", peak("30s"));
    }

    #[test]
    fn phones_from_the_factory_power_on_first() {
        let budget = budget("callmanager-regen", &[SMALL, "fleet.start=factory"]);
        let causes: Vec<&str> = budget.waves.iter().map(|wave| wave.cause).collect();
        assert_eq!(causes, ["power on", "reset"]);
        assert_eq!(budget.waves[0].lookups.max, 0);
    }

    #[test]
    fn an_embedded_lookup_costs_two_descriptors_and_two_ends() {
        let aim = ["target.tftp=127.0.0.1:69", "fleet.phones=20000"];
        let (own, aimed) =
            (budget("callmanager-regen", &aim[1..]), budget("callmanager-regen", &aim));
        assert_eq!((own.descriptors, aimed.descriptors), (64 + 9 + 1 + 1_800, 64 + 900));
        assert_eq!(own.memory_bytes - aimed.memory_bytes, 12_000 * 900);
        assert!((100_000_000..200_000_000).contains(&own.memory_bytes), "{}", own.memory_bytes);
        assert_eq!(budget("callmanager-regen", &[SMALL]).descriptors, 64 + 9 + 1 + 40);
        assert_eq!(budget("tvs-regen", &[SMALL]).descriptors, 64 + 9 + 1, "nobody asks TVS");
    }

    #[test]
    fn an_embedded_http_connection_costs_two_descriptors_as_well() {
        let descriptors = |overrides: &[&str]| budget("mixed-fleet", overrides).descriptors;
        let all = descriptors(&["fleet.phones=20000"]);
        assert_eq!(all, 64 + 9 + 1 + 1 + 2 * (900 + 900) + 112, "TFTP, HTTP, TVS, both ends");
        let few = ["fleet.phones=20", "phone.transport=http"];
        assert_eq!(descriptors(&few), 64 + 11 + 2 * (20 + 20) + 2);
        assert_eq!(descriptors(&["fleet.phones=20", "phone.transport=tftp"]), 64 + 11 + 40);
        let refused = [SMALL, "phone.transport=http"];
        let refused = budget("callmanager-regen", &refused).descriptors;
        assert_eq!(refused, 64 + 9 + 1 + 2 * 20 + 20, "no server of ours takes them");
    }

    #[test]
    fn registrations_have_places_of_their_own_and_two_descriptors_each() {
        let descriptors = |overrides: &[&str]| budget("node-failover", overrides).descriptors;
        let listening = 64 + 9 + 3 + 3 * 2 * (1 + 2);
        assert_eq!(descriptors(&["fleet.phones=20000"]), listening + 2 * 900, "nobody asks TVS");
        let few = ["fleet.phones=20000", "run.registrations-in-flight=50"];
        assert_eq!(descriptors(&few), listening + 2 * 50);
        assert_eq!(budget("callmanager-regen", &[SMALL]).registrations, 0);
    }

    #[test]
    fn a_host_with_too_few_descriptors_is_warned_about() {
        let budget = budget("callmanager-regen", &[SMALL]);
        assert_eq!(budget.descriptor_warning(Some(114)), None);
        assert_eq!(budget.descriptor_warning(None), None);
        let warning = budget.descriptor_warning(Some(113)).unwrap();
        assert!(warning.starts_with("callmanager-regen needs 114 descriptors"), "{warning}");
        assert!(warning.contains("\nhelp: raise the limit"), "{warning}");
    }

    #[test]
    fn the_timeline_is_told_in_words() {
        let steps = [
            "{at='12s', stop={service='tvs', node='pub', for='8s'}}",
            "{after='previous', delay='5s', restart={node='pub'}}",
            "{after='previous', reset-phones={}}",
            "{after='previous', rename={node='pub', to='new'}}",
        ];
        let set = format!("event=[{}]", steps.join(","));
        let words = budget("callmanager-regen", &[SMALL, &set]).timeline;
        assert_eq!(
            words,
            [
                "stop-1 · at 12.000s: stop tvs on pub; 8s after that: start tvs on pub",
                "restart-1 · 5s later: restart every service on pub",
                "reset-1 · then: reset all phones at once",
                "rename-1 · then (does not wait for the phones): rename pub to new",
            ]
        );
        let first = &budget("callmanager-regen", &[SMALL]).timeline[0];
        assert_eq!(
            first,
            "regenerate-1 · when the fleet has settled: regenerate CallManager on pub"
        );
    }

    #[test]
    fn the_text_has_every_part() {
        let text = budget("callmanager-regen", &[]).text(Some(20_000));
        for part in [
            "scenario      callmanager-regen · seed 42\n",
            "phones        2 000 (2 000 of model 8841), start itl-current\n",
            "profile 88xx of model 8841: HTTP first, blocks of 512 bytes, boots\n",
            "in force: transport tftp, boot-time 0s",
            "covers        trust lists (CTL, ITL), TVS, signed configurations, LSCs (CAPF),",
            "              group all: 2 000 phones ask TVS of pub\n",
            "cluster       release 8.6, RSA-2048, sign cache lazy\n",
            "pub  127.0.0.1  tftp 6969/udp, tvs 2445/tcp, capf 3804/tcp\n",
            "not served: callmanager on pub (certificates only)\n",
            "timeline      1. regenerate-1 · when the fleet has settled: regenerate",
            "              4. reset-1 · then: reset all phones within 30s\n",
            "reset         2 000 boots within 30 s, at most ",
            "8 000 requests, 4 000 files",
            "              0 to 4 000 TVS lookups: the signer changes; one per phone",
            "descriptors   at most 1 874 of 20 000\n",
            "SLO           phones.stuck == 0\n",
        ] {
            let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(words(&text).contains(&words(part)), "no {part:?} in\n{text}");
        }
        assert!(!text.contains("CAPF record"), "{text}");
        let bare = ["cluster.node.1.services=[\"callmanager\",\"tftp\",\"tvs\"]"];
        let text = budget("callmanager-regen", &bare).text(None);
        assert!(text.contains("no list has a CAPF record: capf is not active on pub\n"), "{text}");
    }
}
