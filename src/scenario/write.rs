use std::fmt::{self, Write};

use toml::Value;

use crate::base::{DeviceName, Model, NodeId, Span, Time};
use crate::cluster::{CertificateKind, NodeSpec, Probe, Security, SecurityProfile, Topology};
use crate::crypto::date_text;
use crate::phone::BlockSizeRule;
use crate::wire::Dialogue;

use super::names::url_scheme;
use super::network::{SitePlan, percent_text, rate_text};
use super::plan::{FleetPlan, Plan, ProbePlan, TimelineEntry, Trigger};
use super::uses::UsePlan;
use super::verbs::{CONSOLE, Verb, verbs};

/// The scenario of `plan` with every default written out; loading it gives an equal plan.
pub fn to_toml(plan: &Plan) -> String {
    let mut text = String::new();
    match write_plan(&mut text, plan) {
        Ok(()) => text,
        Err(fmt::Error) => unreachable!("writing to a String does not fail"),
    }
}

fn write_plan(out: &mut String, plan: &Plan) -> fmt::Result {
    writeln!(out, "schema = 1")?;
    writeln!(out, "name = {}", quoted(&plan.name))?;
    writeln!(out, "about = {}", quoted(&plan.about))?;
    writeln!(out, "seed = {}", plan.seed)?;
    write_cluster(out, plan)?;
    write!(out, "\n[cluster.cost]\n{}", plan.cost.to_toml())?;
    write_fleet(out, &plan.fleet, &plan.topology)?;
    write_phone(out, plan)?;
    write_registration(out, plan)?;
    for entry in &plan.timeline {
        write_entry(out, entry, &plan.topology)?;
    }
    for probe in &plan.probes {
        write_probe(out, probe, &plan.topology)?;
    }
    for slo in &plan.slos {
        write!(out, "\n[[slo]]\nexpr = {}\n", quoted(&slo.text))?;
    }
    write_run(out, plan)
}

fn write_probe(out: &mut String, plan: &ProbePlan, topology: &Topology) -> fmt::Result {
    let Probe { kind, node, peer, store, phone, takes_mics } = &plan.probe;
    out.push_str("\n[[probe]]\n");
    if plan.name != plan.probe.words(&topology.node(*node).name) {
        writeln!(out, "name = {}", quoted(&plan.name))?;
    }
    writeln!(out, "kind = {}", quoted(kind.name()))?;
    writeln!(out, "node = {}", node_name(topology, *node))?;
    if let Some(peer) = peer {
        writeln!(out, "peer = {}\ntrusted = {}", quoted(peer), plan.is_trusted)?;
    }
    if let Some(store) = store {
        writeln!(out, "unit = {}", quoted(store.name()))?;
    }
    if let Some(phone) = phone {
        let name = DeviceName::of_phone(*phone).to_string();
        writeln!(out, "phone = {}\nmics = {takes_mics}", quoted(&name))?;
    }
    if kind.service().is_none() {
        return Ok(());
    }
    let imports: Vec<_> = plan.imports.iter().map(|step| quoted(step)).collect();
    writeln!(out, "imports = [{}]", imports.join(", "))
}

fn write_registration(out: &mut String, plan: &Plan) -> fmt::Result {
    let Some(registrar) = &plan.topology.registrar else { return Ok(()) };
    let rules = &plan.phone.registration;
    writeln!(out, "\n[registration]")?;
    writeln!(out, "rate-per-node = {:?}", registrar.rate_per_node)?;
    writeln!(out, "expires = \"{}\"", rules.expires)?;
    writeln!(out, "monitor = \"{}\"", rules.monitor)?;
    writeln!(out, "retry = \"{}\"", rules.retry)
}

fn write_cluster(out: &mut String, plan: &Plan) -> fmt::Result {
    let topology = &plan.topology;
    writeln!(out, "\n[cluster]")?;
    writeln!(out, "release = {}", quoted(topology.release.name()))?;
    writeln!(out, "sign-cache = {}", quoted(topology.sign_cache.name()))?;
    writeln!(out, "key-bits = {}", topology.key_bits)?;
    writeln!(out, "file-signature = {}", quoted(topology.file_signature.name()))?;
    writeln!(out, "secured-phone-url = {}", quoted(url_scheme(topology.secured_urls)))?;
    writeln!(out, "tvs-cipher = {}", quoted(&plan.tvs_cipher))?;
    write_security(out, &topology.security)?;
    if let Some(domain) = &topology.domain {
        writeln!(out, "domain = {}", quoted(domain))?;
    }
    writeln!(out, "replication-delay = \"{}\"", topology.replication_delay)?;
    writeln!(out, "rollback-warning = \"{}\"", topology.security.rollback_warning)?;
    for fault in &topology.faults {
        writeln!(out, "\n[[cluster.fault]]\nid = {}", quoted(fault.name()))?;
    }
    for node in &topology.nodes {
        write_node(out, node, topology.registrar.is_some())?;
    }
    for (at, group) in topology.groups.iter().enumerate() {
        let members = group.members.iter().map(|&id| node_name(topology, id));
        writeln!(out, "\n[[cluster.group]]")?;
        writeln!(out, "name = {}", quoted(&group.name))?;
        writeln!(out, "members = [{}]", members.collect::<Vec<_>>().join(", "))?;
        writeln!(out, "share = {:?}", group.share)?;
        if let Some(home) = plan.fleet.tftp_of_groups.get(&at) {
            writeln!(out, "tftp = {}", servers(topology, home))?;
        }
    }
    write_profiles(out, &plan.fleet.profiles)?;
    write_capf(out, &topology.security)
}

fn write_capf(out: &mut String, Security { capf, lsc_issuer, .. }: &Security) -> fmt::Result {
    writeln!(out, "\n[cluster.capf]\nsessions = {}", capf.sessions)?;
    match capf.retry_delay {
        Some(delay) => writeln!(out, "retry-delay = \"{delay}\"")?,
        None => writeln!(out, "# no retry-delay: phones come again when it is their turn")?,
    }
    writeln!(out, "key-deadline = \"{}\"", capf.key_deadline)?;
    writeln!(out, "silence = \"{}\"", capf.silence)?;
    writeln!(out, "valid-days = {}", capf.valid_days)?;
    match lsc_issuer {
        Some(issuer) => writeln!(out, "issuer = {}", quoted(issuer)),
        None => writeln!(out, "# no issuer: CAPF signs LSCs itself"),
    }
}

fn write_profiles(out: &mut String, profiles: &[SecurityProfile]) -> fmt::Result {
    for profile in profiles {
        writeln!(out, "\n[[cluster.phone-security-profile]]")?;
        writeln!(out, "name = {}", quoted(&profile.name))?;
        writeln!(out, "share = {:?}", profile.share)?;
        if profile.secure {
            writeln!(out, "device-security-mode = \"encrypted\"")?;
        }
        writeln!(out, "encrypted-config = {}", profile.encrypted_config)?;
        writeln!(out, "stale-keys = \"{}\"", percent_text(profile.stale_keys))?;
        if let Some(mode) = profile.auth_mode {
            writeln!(out, "auth-mode = {}", quoted(mode.name()))?;
        }
    }
    Ok(())
}

fn write_security(out: &mut String, security: &Security) -> fmt::Result {
    writeln!(out, "security-mode = {}", quoted(security.mode.name()))?;
    if !security.etokens.is_empty() {
        let names: Vec<_> = security.etokens.iter().map(|name| quoted(name)).collect();
        writeln!(out, "etokens = [{}]", names.join(", "))?;
    }
    match security.auto_reset {
        Some(spread) => writeln!(out, "auto-reset = \"{spread}\""),
        None => Ok(()),
    }
}

fn write_node(out: &mut String, node: &NodeSpec, registers: bool) -> fmt::Result {
    let services: Vec<_> = node.services.iter().map(|service| quoted(service.name())).collect();
    let ports = node.ports;
    writeln!(out, "\n[[cluster.node]]")?;
    writeln!(out, "name = {}", quoted(&node.name))?;
    writeln!(out, "address = \"{}\"", node.address)?;
    writeln!(out, "services = [{}]", services.join(", "))?;
    write!(
        out,
        "ports = {{ tftp = {}, tvs = {}, capf = {}",
        ports.tftp,
        ports.of(Dialogue::Tvs),
        ports.of(Dialogue::Capf)
    )?;
    let web = [ports.web.map(|web| web.https), ports.web.map(|web| web.http)];
    let names = ["http", "https", "tomcat", "tomcat-http"];
    for (name, port) in names.into_iter().zip([ports.http, ports.https, web[0], web[1]]) {
        if let Some(port) = port {
            write!(out, ", {name} = {port}")?;
        }
    }
    if registers {
        let (sip, sips) = (ports.of(Dialogue::Sip), ports.of(Dialogue::Sips));
        write!(out, ", sip = {sip}, sips = {sips}")?;
    }
    writeln!(out, " }}")?;
    let left = |(kind, left): (&CertificateKind, &Span)| {
        format!("{} = \"{}\"", kind.name(), left.in_years_or_days())
    };
    let expires: Vec<_> = node.expires.iter().map(left).collect();
    if expires.is_empty() {
        return Ok(());
    }
    writeln!(out, "expires = {{ {} }}", expires.join(", "))
}

fn write_fleet(out: &mut String, fleet: &FleetPlan, topology: &Topology) -> fmt::Result {
    let model = |(name, share): &(Model, f64)| format!("{} = {share:?}", quoted(name.as_str()));
    let models: Vec<_> = fleet.models.iter().map(model).collect();
    writeln!(out, "\n[fleet]")?;
    writeln!(out, "phones = {}", fleet.phones)?;
    writeln!(out, "models = {{ {} }}", models.join(", "))?;
    let tftp: Vec<_> = fleet.tftp.iter().map(|home| servers(topology, home)).collect();
    match fleet.tftp.as_slice() {
        [home] if home.len() == 1 => writeln!(out, "tftp = {}", tftp[0])?,
        _ => writeln!(out, "tftp = [{}]", tftp.join(", "))?,
    }
    writeln!(out, "start = {}", quoted(fleet.start.name()))?;
    writeln!(out, "arrival = {{ within = \"{}\" }}", fleet.arrival_within)?;
    fleet.sites.iter().try_for_each(|site| write_site(out, site))?;
    fleet.uses.iter().try_for_each(|of| write_use(out, of))
}

fn write_use(out: &mut String, of: &UsePlan) -> fmt::Result {
    writeln!(out, "\n[[fleet.use]]")?;
    writeln!(out, "kind = {}\nrate = \"{}\"", quoted(of.button.name()), of.rate)?;
    writeln!(out, "from = \"{}\"\nfor = \"{}\"", of.from, of.lasts)
}

fn write_site(out: &mut String, site: &SitePlan) -> fmt::Result {
    let link = site.link;
    writeln!(out, "\n[[fleet.site]]")?;
    writeln!(out, "name = {}\nshare = {:?}", quoted(&site.name), site.share)?;
    write!(out, "link = {{ rtt = \"{}\", jitter = \"{}\"", link.rtt, link.jitter)?;
    write!(out, ", loss = \"{}\"", percent_text(link.loss))?;
    write!(out, ", dns-failure = \"{}\"", percent_text(link.dns_failure))?;
    match link.down {
        Some(rate) => writeln!(out, ", down = \"{}\" }}", rate_text(rate)),
        None => writeln!(out, " }}"),
    }
}

fn write_phone(out: &mut String, plan: &Plan) -> fmt::Result {
    let phone = &plan.phone;
    writeln!(out, "\n[phone]")?;
    writeln!(out, "boot-time = \"{}\"", phone.boot_time)?;
    writeln!(out, "think = \"{}\"", phone.think)?;
    writeln!(out, "tvs-think = \"{}\"", phone.tvs_think)?;
    writeln!(out, "transport = {}", quoted(phone.transport.name()))?;
    writeln!(out, "http-timeout = \"{}\"", phone.http_timeout)?;
    writeln!(out, "tftp-timeout = \"{}\"", phone.tftp_timeout)?;
    writeln!(out, "tftp-tries = {}", phone.tftp_tries)?;
    match phone.tftp_block_size {
        BlockSizeRule::Fixed(Some(size)) => writeln!(out, "tftp-block-size = {size}")?,
        BlockSizeRule::Model { .. } => writeln!(out, "tftp-block-size = \"model\"")?,
        BlockSizeRule::Fixed(None) => {
            writeln!(out, "# no tftp-block-size: requests carry no options")?;
        }
    }
    writeln!(out, "tvs-timeout = \"{}\"", phone.tvs_timeout)?;
    writeln!(out, "dns-negative-ttl = \"{}\"", phone.dns_negative_ttl)?;
    writeln!(out, "ip-mode = \"{}\"", phone.ip_mode)?;
    writeln!(out, "tvs-session = \"{}\"", phone.tvs_session)?;
    writeln!(out, "ctl-generic = {}", phone.ctl_generic)?;
    writeln!(out, "checks-dates = {}", phone.checks_dates)?;
    let further: Vec<&str> = phone.further_files.iter().map(|kind| kind.name()).collect();
    writeln!(out, "further-files = {further:?}")?;
    writeln!(out, "key-generation = \"{}\"", phone.key_generation)?;
    match phone.capf_string.as_str() {
        "" => Ok(()),
        string => writeln!(out, "authentication-string = {}", quoted(string)),
    }
}

/// One event. Nodes have their first names, which lead to them whatever they were renamed to.
fn write_entry(out: &mut String, entry: &TimelineEntry, topology: &Topology) -> fmt::Result {
    writeln!(out, "\n[[event]]\nname = {}", quoted(&entry.name))?;
    match entry.trigger {
        Trigger::AfterPrevious { delay } => {
            writeln!(out, "after = \"previous\"\ndelay = \"{delay}\"")?;
        }
        Trigger::At(at) => writeln!(out, "at = \"{}\"", at.since(Time::ZERO))?,
        Trigger::FleetSettled => writeln!(out, "when = \"fleet-settled\"")?,
    }
    let written = |verb: &Verb| Some((verb.key, (verb.write)(entry, topology)?));
    // What was typed is written as it was typed.
    let mut verbs = verbs().filter(|verb| (verb.key == CONSOLE) == entry.typed.is_some());
    let (key, table) = verbs.find_map(written).expect("what was read by a verb is written by it");
    let values: Vec<String> = table.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    writeln!(out, "{key} = {{ {} }}", values.join(", "))
}

fn write_run(out: &mut String, plan: &Plan) -> fmt::Result {
    let limits = plan.limits;
    writeln!(out, "\n[run]")?;
    let said = if limits.max_wall_is_set { "" } else { "# unless said, for live runs only: " };
    writeln!(out, "{said}max-wall = \"{}\"", limits.max_wall)?;
    writeln!(out, "transfers-in-flight = {}", limits.transfers_in_flight)?;
    writeln!(out, "lookups-in-flight = {}", limits.lookups_in_flight)?;
    writeln!(out, "registrations-in-flight = {}", limits.registrations_in_flight)?;
    writeln!(out, "connections-in-flight = {}", limits.connections_in_flight)?;
    if let Some(epoch_s) = plan.dates.epoch_s {
        writeln!(out, "epoch = \"{}\"", date_text(epoch_s.cast_signed()))?;
    }
    writeln!(out, "time-zone = {}", quoted(&plan.dates.time_zone))?;
    if let Some(target) = &plan.target {
        let tftp: Vec<_> = target.tftp.iter().map(|tftp| format!("\"{tftp}\"")).collect();
        writeln!(out, "\n[target]\ntftp = {}", one_or_many(&tftp))?;
        for (key, server) in [("sip", target.sip), ("sips", target.sips)] {
            if let Some(server) = server {
                writeln!(out, "{key} = \"{server}\"")?;
            }
        }
        if let Some(tvs) = target.tvs {
            writeln!(out, "tvs = \"{tvs}\"")?;
        }
    }
    Ok(())
}

/// The TFTP servers of a phone.
fn servers(topology: &Topology, home: &[NodeId]) -> String {
    let names: Vec<String> = home.iter().map(|&node| node_name(topology, node)).collect();
    one_or_many(&names)
}

fn one_or_many(values: &[String]) -> String {
    match values {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

fn node_name(topology: &Topology, id: NodeId) -> String {
    quoted(&topology.node(id).name)
}

/// `text` as a TOML string.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::load;
    use super::*;

    #[test]
    fn the_text_of_a_small_plan_is_whole() {
        let plan = loaded(
            "schema=1\nname='t'\n[[cluster.node]]\nname='pub'\n[fleet]\nphones=5\n\
             [[event]]\nat='90s'\nstop={service='tvs',node='pub',for='8s'}",
        );
        assert_eq!(to_toml(&plan), SMALL);
    }

    #[test]
    fn odd_texts_survive() {
        let mut plan = loaded(SMALL);
        plan.about = "quotes \" ' \\ and\nlines \u{7} ü".into();
        plan.seed = u64::MAX;
        assert_eq!(loaded(&to_toml(&plan)), plan);
    }

    proptest! {
        #[test]
        fn any_scenario_survives_being_written(text in scenario()) {
            let plan = loaded(&text);
            let written = to_toml(&plan);
            prop_assert_eq!(loaded(&written), plan, "{}", written);
        }
    }

    /// A valid scenario with most of its settings drawn.
    fn scenario() -> impl Strategy<Value = String> {
        let head = (any::<u32>(), 0usize..4, 0usize..3, 1u32..16_000_000, 0.0..=1.0);
        let rest = (prop::collection::vec(event(), 0..6), phone(), 0usize..3, 0usize..4);
        (head, rest).prop_map(|((seed, release, cache, phones, share), rest)| {
            let (events, phone, target, tftp) = rest;
            let release = ["8.6", "11.5", "12.5'\nfile-signature='sha512", "15"][release];
            let cache = ["off", "lazy", "prewarm"][cache];
            let other = 1.0 - share;
            let target =
                ["", "[target]\ntftp='[::1]:69'\n", "[target]\ntftp=['[::1]:69','10.0.0.1:69']\nsip='[::1]:5060'\nsips='[::1]:5061'\n"]
                    [target];
            let (turns, of_group) = [
                ("'pub'", ""),
                ("['sub','pub']", "tftp='sub'\n"),
                ("[['sub','pub']]", "tftp=['pub','sub']\n"),
                ("[['sub','pub'],'sub']", ""),
            ][tftp];
            format!(
                "schema=1\nname='drawn'\nseed={seed}\n\
                 [cluster]\nrelease='{release}'\nsign-cache='{cache}'\ntvs-cipher='{cache}'\ndomain='cucm.example'\n\
                 [[cluster.fault]]\nid='CSCue55353'\n\
                 [[cluster.node]]\nname='pub'\n\
                 [[cluster.node]]\nname='sub'\naddress='::1'\nports={{tvs=0,http=0,https=0}}\n\
                 [[cluster.group]]\nname='a'\nmembers=['sub','pub']\nshare={share:?}\n\
                 [[cluster.group]]\nname='b'\nmembers=['pub']\nshare={other:?}\n{of_group}\
                 [[cluster.phone-security-profile]]\nname='p'\nshare={share:?}\n\
                 [[cluster.phone-security-profile]]\nname='q'\nshare={other:?}\nencrypted-config=true\nstale-keys='1.5%'\n\
                 [fleet]\nphones={phones}\nmodels={{8841={share:?},7841={other:?}}}\n\
                 tftp={turns}\n{phone}\
                 [[event]]\nat='0s'\nrename={{node='pub',to='pub-2'}}\n{}\
                 [[slo]]\nexpr='a.b <= 0.5 * c'\n{target}",
                events.concat()
            )
        })
    }

    fn event() -> impl Strategy<Value = String> {
        let trigger = prop_oneof![
            (0u64..u64::MAX / 2).prop_map(|at| format!("at='{at}ns'")),
            Just("when='fleet-settled'".to_owned()),
            (0u32..9_999).prop_map(|delay| format!("after='previous'\ndelay='{delay}ms'")),
        ];
        let action = prop::sample::select(vec![
            "regenerate={certificate='CAPF',node='pub-2'}",
            "regenerate={certificate='TVS',node='sub'}",
            "reset-phones={spread='1.5s'}",
            "remove-record={node='pub'}",
            "add-record={node='pub-2'}",
            "restart={service='tftp',node='pub'}",
            "restart={node='sub',for='3s'}",
            "start={node='sub'}",
            "stop={service='tvs',node='sub',for='250ms'}",
            "stop={node='pub-2'}",
            "console=['set cert regen CAPF','yes','show itl','','exit']",
            "console={node='sub',lines=['utils service stop Cisco Tftp']}",
            "erase-lists={}",
            "upgrade-firmware={load='sip88xx.1',model='8841'}",
            "erase-lists={only='all',share='12.34%',technicians=7,per-phone='90s'}",
            "erase-lists={users-within='8h',share='60%',restricted=0.3}",
            "erase-lists={share=0.123456789,restricted=1,per-restricted='1.5h'}",
            "procedure='rollback'",
            "procedure={name='two-tftp-order',nodes=['pub','sub'],spread='5s'}",
        ]);
        (trigger, action).prop_map(|(trigger, action)| format!("[[event]]\n{trigger}\n{action}\n"))
    }

    fn phone() -> impl Strategy<Value = String> {
        (any::<u32>(), 1u8.., prop::option::of(8u16..=65_464), any::<bool>()).prop_map(
            |(think, tries, size, generic)| {
                let blocks = match size {
                    Some(size) => format!("tftp-block-size={size}\n"),
                    None if generic => "tftp-block-size='model'\n".to_owned(),
                    None => String::new(),
                };
                let boot = if generic { "boot-time='model'\n" } else { "" };
                let loss = f64::from(tries) / 256.0;
                let place = format!(
                    "[[fleet.site]]\nname='far'\nshare=1.0\n\
                     link={{rtt='{think}us',loss='{loss:.4}%',dns-failure='{loss:.3}%',down='{tries}.5kbit/s'}}\n"
                );
                format!(
                    "{place}[phone]\n{boot}think='{think}us'\ntvs-think='{think}us'\ntransport='http'\nhttp-timeout='1s'\ntftp-tries={tries}\n{blocks}\
                     dns-negative-ttl='{tries}s'\nctl-generic={generic}\nchecks-dates={generic}\nfurther-files=['locale','ring-list']\n\
                     key-generation='{tries}s'\nauthentication-string='12{tries}'\n"
                )
            },
        )
    }

    const SMALL: &str = r#"schema = 1
name = "t"
about = ""
seed = 42

[cluster]
release = "8.6"
sign-cache = "lazy"
key-bits = 2048
file-signature = "sha1"
secured-phone-url = "https"
tvs-cipher = "AES256-SHA"
security-mode = "non-secure"
replication-delay = "0s"
rollback-warning = "24h"

[[cluster.node]]
name = "pub"
address = "127.0.0.1"
services = ["callmanager", "capf", "tftp", "tvs"]
ports = { tftp = 6969, tvs = 2445, capf = 3804 }

[[cluster.group]]
name = "all"
members = ["pub"]
share = 1.0

[cluster.capf]
sessions = 50
# no retry-delay: phones come again when it is their turn
key-deadline = "30m"
silence = "10m"
valid-days = 1825
# no issuer: CAPF signs LSCs itself

[cluster.cost]
cores = 4
shared-host = false
yardstick = "0s"
idle-yardstick = 0.0
available = 1.0
idle-keys = 0.0
idle-packets = 0.0
latency = "0s"
sign = "450us"
handshake = "600us"
tftp-request = "10us"
tftp-block = "3700ns"
http-connection = "20us"
http-request = "30us"
phone-block = "0s"
phone-http = "0s"
phone-handshake = "0s"
phone-check = "0s"
build-time = "0s"
serving-count = 0
tvs-connections = 0
resets-per-second = 0.0
registrations-per-second = 0.0

[fleet]
phones = 5
models = { "8841" = 1.0 }
tftp = "pub"
start = "itl-current"
arrival = { within = "30s" }

[phone]
boot-time = "0s"
think = "0s"
tvs-think = "0s"
transport = "tftp"
http-timeout = "5s"
tftp-timeout = "4s"
tftp-tries = 5
# no tftp-block-size: requests carry no options
tvs-timeout = "10s"
dns-negative-ttl = "0s"
ip-mode = "dual"
tvs-session = "model"
ctl-generic = true
checks-dates = true
further-files = []
key-generation = "0s"

[[event]]
name = "stop-1"
at = "90s"
stop = { service = "tvs", node = "pub", for = "8s" }

[run]
# unless said, for live runs only: max-wall = "10m"
transfers-in-flight = 2000
lookups-in-flight = 900
registrations-in-flight = 900
connections-in-flight = 900
time-zone = "UTC"
"#;

    fn loaded(text: &str) -> Plan {
        load(Path::new("t.toml"), text, &[], &[]).unwrap_or_else(|error| panic!("{error}"))
    }
}
