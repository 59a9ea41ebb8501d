use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;

use toml::Spanned;

use crate::base::{Home, IpMode, Model, ModelError, Span, parse_span};
use crate::cluster::{Registrar, Release, SecurityMode, SecurityProfile, ServiceKind, Topology};
use crate::phone::{
    BlockSizeRule, BootTime, FURTHER_FILES, FileKind, KeyTime, PhoneProfile, RegistrationRules,
    TRANSPORT_RULES, TransportRule, TvsSession, holds_lists,
};

use crate::wire::AuthMode;

use super::cluster_checks::{check_shares, topology};
use super::cost::CostModel;
use super::dates::dates;
use super::error::{Faults, Problem};
use super::event_checks::timeline;
use super::names::{Text, check_plain, check_unique, node_named, one_of, runs};
use super::network::{percent, sites};
use super::plan::{FleetPlan, FleetStart, Limits, Plan, STARTS, Target};
use super::probes::{probes, unknown_peers};
use super::quantity::positive;
use super::raw::{
    OneOrMany, RawBlockSize, RawGroup, RawPhone, RawRegistration, RawRun, RawScenario,
    RawSecurityProfile, RawTarget, RawThink, Servers,
};
use super::slo::{Slo, SloError, paths_of};
use super::uses::uses;

/// The plan of a scenario: every name resolved, every default filled in, every rule checked.
///
/// # Errors
/// Every fault that can be told: what is wrong with one part hides those that depend on it only.
pub(super) fn resolve(raw: &RawScenario, known_paths: &[String]) -> Result<Plan, Faults> {
    let mut faults = Faults::default();
    match collect(raw, known_paths, &mut faults) {
        Some(plan) if faults.0.is_empty() => Ok(plan),
        _ => Err(faults),
    }
}

fn collect(raw: &RawScenario, known_paths: &[String], faults: &mut Faults) -> Option<Plan> {
    let seed = raw.seed.unwrap_or(SEED);
    faults.take(check_schema(&raw.schema));
    faults.take(check_plain(&raw.name));
    let has_uses = !raw.fleet.uses.is_empty();
    let mut topology = topology(&raw.cluster, has_uses, faults);
    let (registrar, registration) = registration(raw.registration.as_ref(), faults);
    if let Some(topology) = &mut topology {
        topology.registrar = registrar;
    }
    let fleet = fleet(raw, topology.as_ref(), faults);
    let cost = faults.given(raw.cluster.cost.as_ref(), CostModel::default(), cost);
    let phone = phone(&raw.phone, registration, seed, faults);
    let homes = fleet.as_ref().map(|fleet| fleet.tftp.as_slice()).unwrap_or_default();
    let entries = topology.as_ref().map(|topology| timeline(&raw.event, topology, homes, faults));
    let topology_of = topology.as_ref();
    let phones_of = fleet.as_ref().map_or(0, |fleet| fleet.phones);
    let probes = topology_of.map(|topology| {
        let plans =
            probes(&raw.probe, topology, phones_of, entries.as_deref().unwrap_or_default(), faults);
        unknown_peers(&raw.event, &plans, faults);
        plans
    });
    // What the nodes of a broken cluster are called hides no other fault.
    let paths = topology_of.map(|topology| paths_of(known_paths, topology));
    let paths = paths.as_deref().unwrap_or(known_paths);
    let slos = raw.slo.iter().filter_map(|raw| faults.take(slo(&raw.expr, paths))).collect();
    let limits = limits(&raw.run, faults);
    let dates = dates(&raw.run, faults);
    faults.take(raw.cluster.tvs_cipher.as_ref().map_or(Ok(()), check_label));
    let tvs_cipher = raw.cluster.tvs_cipher.as_ref().map(|text| text.get_ref().clone());
    let target = raw.target.as_ref().and_then(|raw| faults.take(target(raw)));
    Some(Plan {
        name: raw.name.get_ref().clone(),
        about: raw.about.clone(),
        seed,
        fleet: fleet?,
        cost,
        phone,
        timeline: entries?,
        probes: probes?,
        dates,
        slos,
        limits,
        target,
        tvs_cipher: tvs_cipher.unwrap_or_else(|| {
            let release = topology.as_ref().map(|topology| topology.release);
            release.map_or("", Release::tvs_cipher).to_owned()
        }),
        topology: topology?,
    })
}

/// Longest label in bytes (choice).
const LABEL_MAX: usize = 64;

/// What stands in a line of a trace as it is.
fn check_label(text: &Text) -> Result<(), Problem> {
    let label = text.get_ref();
    if (1..=LABEL_MAX).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    let problem = Problem::new(text.span(), format!("`{}` is no label", label.escape_debug()));
    Err(problem.help("letters, digits and signs of ASCII, such as \"AES256-SHA\""))
}

/// How phones are registered and how they register, if they do.
fn registration(
    raw: Option<&RawRegistration>,
    faults: &mut Faults,
) -> (Option<Registrar>, RegistrationRules) {
    let (node, own) = (Registrar::default(), RegistrationRules::default());
    let Some(raw) = raw else { return (None, own) };
    let expires = faults.given(raw.expires.as_ref(), own.expires, positive);
    let rate = |rate: &Spanned<f64>| match *rate.get_ref() {
        rate if rate.is_finite() && rate >= 0.0 => Ok(rate),
        _ => Err(Problem::new(rate.span(), "a rate that is negative or no number")
            .help("registrations per second; 0 is no limit")),
    };
    let registrar = Registrar {
        rate_per_node: faults.given(raw.rate_per_node.as_ref(), node.rate_per_node, rate),
        expires,
    };
    let rules = RegistrationRules {
        enabled: raw.enabled.unwrap_or(true),
        expires,
        monitor: faults.given(raw.monitor.as_ref(), own.monitor, positive),
        retry: faults.given(raw.retry.as_ref(), own.retry, positive),
    };
    if rules.enabled { (Some(registrar), rules) } else { (None, RegistrationRules::default()) }
}

/// Seed of a scenario that names none (choice).
const SEED: u64 = 42;

/// Phones at most: their names count the lower half of a MAC address (choice, below 2^24).
pub const PHONES_MAX: u32 = 16_000_000;

/// Model of a fleet that names none.
const MODEL: u16 = 8841;

/// Power-on wave of a fleet that names none (choice).
const ARRIVAL: Span = Span::from_secs(30);

/// Longest run of a scenario that names none (choice).
const MAX_WALL: Span = Span::from_secs(600);

/// Transfers in flight of a scenario that names none (choice).
const TRANSFERS: u32 = 2_000;

/// Lookups in flight of a scenario that names none: two descriptors each in one process
/// (`decisions.md`, concurrency).
const LOOKUPS: u32 = 900;

/// Registrations in flight of a scenario that names no number: as for lookups, and apart from them,
/// so that a wave of the ones holds up none of the others.
const REGISTRATIONS: u32 = 900;

/// HTTP connections of a scenario that names no number: as for lookups.
const CONNECTIONS: u32 = 900;

/// Block sizes that a TFTP client may ask for (RFC 2348).
const BLOCK_SIZES: std::ops::RangeInclusive<u16> = 8..=65_464;

fn check_schema(schema: &Spanned<i64>) -> Result<(), Problem> {
    if *schema.get_ref() == 1 {
        return Ok(());
    }
    let what = format!("schema {} is not known here", schema.get_ref());
    Err(Problem::new(schema.span(), what).help("this version reads schema = 1"))
}

fn fleet(all: &RawScenario, topology: Option<&Topology>, faults: &mut Faults) -> Option<FleetPlan> {
    let raw = &all.fleet;
    let phones = faults.take(phones(&raw.phones));
    let models = faults.take(models(&raw.models));
    let tftp = topology.and_then(|topology| faults.take(homes(raw.tftp.as_ref(), topology)));
    let tftp_of_groups = topology.map(|topology| homes_of(&all.cluster.group, topology, faults));
    let start = |text: &Text| start(text, topology);
    let start = faults.given(raw.start.as_ref(), FleetStart::ItlCurrent, start);
    let sites = faults.take(sites(&raw.site));
    let uses = faults.take(uses(&raw.uses));
    let models_in_plan = models.as_deref().unwrap_or_default();
    let raw_profiles = &all.cluster.phone_security_profile;
    let profiles = faults.take(profiles(raw_profiles, models_in_plan));
    let is_mixed = topology.is_none_or(|topology| topology.security.mode == SecurityMode::Mixed);
    let secure = profiles.iter().flatten().any(|profile| profile.secure);
    let mode = raw_profiles.iter().find_map(|raw| raw.device_security_mode.as_ref());
    if let (true, false, Some(mode)) = (secure, is_mixed, mode) {
        let what = "phones that register over TLS in a cluster that is not in mixed mode";
        let problem = Problem::new(mode.span(), what);
        faults.0.push(problem.help("security-mode = \"mixed\" under [cluster]"));
    }
    Some(FleetPlan {
        phones: phones?,
        models: models?,
        profiles: profiles?,
        tftp: tftp?,
        tftp_of_groups: tftp_of_groups?,
        start,
        arrival_within: raw.arrival.within.map_or(ARRIVAL, |within| within.0),
        sites: sites?,
        uses: uses?,
    })
}

fn start(text: &Text, topology: Option<&Topology>) -> Result<FleetStart, Problem> {
    let start = one_of(text, "start", &STARTS, FleetStart::name)?;
    let has_ctl = topology.is_none_or(|topology| topology.security.mode == SecurityMode::Mixed);
    if start == FleetStart::CtlOnly && !has_ctl {
        let problem = Problem::new(text.span(), "phones with a CTL of a cluster that has none");
        return Err(problem.help("security-mode = \"mixed\" under [cluster] gives it one"));
    }
    Ok(start)
}

fn phones(raw: &Spanned<u64>) -> Result<u32, Problem> {
    let phones = *raw.get_ref();
    if let Ok(phones @ 1..=PHONES_MAX) = u32::try_from(phones) {
        return Ok(phones);
    }
    let problem = Problem::new(raw.span(), format!("a fleet of {phones} phones"));
    Err(problem.help("a whole number from 1 to 16_000_000"))
}

fn cost(raw: &Spanned<CostModel>) -> Result<CostModel, Problem> {
    match raw.get_ref().check() {
        Ok(()) => Ok(raw.get_ref().clone()),
        Err(what) => Err(Problem::new(raw.span(), what).help("cores of a node, rates per second")),
    }
}

fn profiles(
    raw: &[RawSecurityProfile],
    models: &[(Model, f64)],
) -> Result<Vec<SecurityProfile>, Problem> {
    if raw.is_empty() {
        return Ok(Vec::new());
    }
    check_unique("profile", raw.iter().map(|profile| &profile.name))?;
    check_shares(&raw.iter().map(|profile| &profile.share).collect::<Vec<_>>(), "profiles")?;
    raw.iter().map(|raw| profile(raw, models)).collect()
}

fn profile(raw: &RawSecurityProfile, models: &[(Model, f64)]) -> Result<SecurityProfile, Problem> {
    check_plain(&raw.name)?;
    let encrypted = raw.encrypted_config.as_ref();
    let unlisted = models.iter().find(|(model, _)| !holds_lists(*model));
    if let (Some(place), Some((model, _))) = (encrypted.filter(|on| *on.get_ref()), unlisted) {
        let what = format!("phones of model {model} hold no trust lists");
        let problem = Problem::new(place.span(), what);
        return Err(
            problem.help("leave the model out of fleet.models: it cannot ask for a signed file")
        );
    }
    Ok(SecurityProfile {
        name: raw.name.get_ref().clone(),
        share: *raw.share.get_ref(),
        secure: raw.device_security_mode.as_ref().map_or(Ok(false), device_security_mode)?,
        encrypted_config: encrypted.is_some_and(|on| *on.get_ref()),
        stale_keys: raw.stale_keys.as_ref().map_or(Ok(0.0), percent)?,
        auth_mode: raw.auth_mode.as_ref().map(auth_mode).transpose()?,
    })
}

fn auth_mode(text: &Text) -> Result<AuthMode, Problem> {
    one_of(text, "authentication mode", &AuthMode::OF_OPERATIONS, AuthMode::name)
}

/// Whether phones of this mode register over TLS.
fn device_security_mode(text: &Text) -> Result<bool, Problem> {
    const MODES: [&str; 3] = ["non-secure", "authenticated", "encrypted"];
    one_of(text, "device security mode", &MODES, |mode| mode).map(|mode| mode != MODES[0])
}

fn models(raw: &BTreeMap<Text, Spanned<f64>>) -> Result<Vec<(Model, f64)>, Problem> {
    if raw.is_empty() {
        return Ok(vec![(MODEL.into(), 1.0)]);
    }
    let model = |(name, share): (&Text, &Spanned<f64>)| {
        let model: Model = name.get_ref().parse().map_err(|error: ModelError| {
            let what = format!("`{}` is not a phone model", name.get_ref());
            Problem::new(name.span(), what).help(error.to_string())
        })?;
        Ok::<_, Problem>((model, *share.get_ref()))
    };
    let models = raw.iter().map(model).collect::<Result<_, _>>()?;
    check_shares(&raw.values().collect::<Vec<_>>(), "models")?;
    Ok(models)
}

/// TFTP servers of a phone at most (choice): phones take two addresses of option 150.
const SERVERS_MAX: usize = 2;

/// The homes that phones take turns at; without them the first TFTP node that there is.
fn homes(
    turns: Option<&Spanned<OneOrMany<Servers>>>,
    topology: &Topology,
) -> Result<Vec<Home>, Problem> {
    let Some(turns) = turns else {
        let first = topology.nodes_with(ServiceKind::Tftp).next();
        return first.map(|node| vec![Home::from([node])]).ok_or_else(|| {
            let what = "no node runs TFTP, so that phones have nobody to ask";
            Problem::new(0..0, what).help("add \"tftp\" to the services of a node")
        });
    };
    let (place, lists) = (turns.span(), &turns.get_ref().0);
    if lists.is_empty() {
        return Err(no_server(place));
    }
    let list = |list: &Servers| Spanned::new(place.clone(), list.0.join(", then "));
    let noun = if lists.iter().all(|list| list.0.len() == 1) { "node" } else { "list" };
    check_unique(noun, &lists.iter().map(list).collect::<Vec<_>>())?;
    lists.iter().map(|list| home(list, &place, topology)).collect()
}

/// The homes of the groups that have their own.
fn homes_of(
    groups: &[RawGroup],
    topology: &Topology,
    faults: &mut Faults,
) -> BTreeMap<usize, Home> {
    let named = |(group, raw): (usize, &RawGroup)| {
        let tftp = raw.tftp.as_ref()?;
        Some((group, faults.take(home(tftp.get_ref(), &tftp.span(), topology))?))
    };
    groups.iter().enumerate().filter_map(named).collect()
}

/// The TFTP servers of a phone (option 150); they are written at `place`.
fn home(names: &Servers, place: &Range<usize>, topology: &Topology) -> Result<Home, Problem> {
    let texts: Vec<Text> =
        names.0.iter().map(|name| Spanned::new(place.clone(), name.clone())).collect();
    if texts.is_empty() {
        return Err(no_server(place.clone()));
    }
    check_servers(texts.len(), place)?;
    check_unique("node", &texts)?;
    let node = |text: &Text| {
        let node = node_named(topology, text)?;
        runs(topology, node, ServiceKind::Tftp, text)?;
        Ok(node)
    };
    texts.iter().map(node).collect()
}

fn no_server(place: Range<usize>) -> Problem {
    Problem::new(place, "phones without a TFTP node").help("name one at least")
}

fn check_servers(count: usize, place: &Range<usize>) -> Result<(), Problem> {
    if count <= SERVERS_MAX {
        return Ok(());
    }
    let problem = Problem::new(place.clone(), format!("{count} TFTP servers of one phone"));
    Err(problem.help("a phone takes two of option 150: the primary and the secondary"))
}

fn phone(
    raw: &RawPhone,
    registration: RegistrationRules,
    seed: u64,
    faults: &mut Faults,
) -> PhoneProfile {
    let own = PhoneProfile::default();
    let transport = |text: &Text| one_of(text, "transport", &TRANSPORT_RULES, TransportRule::name);
    let ip_mode = |text: &Text| one_of(text, "mode", &IpMode::ALL, IpMode::name);
    let tvs_session = |text: &Text| one_of(text, "session", &TvsSession::ALL, TvsSession::name);
    PhoneProfile {
        boot_time: faults.given(raw.boot_time.as_ref(), own.boot_time, |t| boot_time(t, seed)),
        think: faults.given(raw.think.as_ref(), own.think, |given| think(given, DOCUMENTED_THINK)),
        transport: faults.given(raw.transport.as_ref(), own.transport, transport),
        http_timeout: faults.given(raw.http_timeout.as_ref(), own.http_timeout, positive),
        tftp_timeout: faults.given(raw.tftp_timeout.as_ref(), own.tftp_timeout, positive),
        tftp_tries: faults.given(raw.tftp_tries.as_ref(), own.tftp_tries, at_least_one),
        tftp_block_size: faults.given(
            raw.tftp_block_size.as_ref(),
            own.tftp_block_size,
            block_size,
        ),
        tvs_timeout: faults.given(raw.tvs_timeout.as_ref(), own.tvs_timeout, positive),
        tvs_think: faults.given(raw.tvs_think.as_ref(), own.tvs_think, |given| {
            think(given, DOCUMENTED_TVS_THINK)
        }),
        dns_negative_ttl: raw.dns_negative_ttl.map_or(own.dns_negative_ttl, |time| time.0),
        ip_mode: faults.given(raw.ip_mode.as_ref(), own.ip_mode, ip_mode),
        tvs_session: faults.given(raw.tvs_session.as_ref(), own.tvs_session, tvs_session),
        ctl_generic: raw.ctl_generic.unwrap_or(own.ctl_generic),
        checks_dates: raw.checks_dates.unwrap_or(own.checks_dates),
        registration,
        further_files: faults.given(raw.further_files.as_deref(), own.further_files, further_files),
        key_generation: faults.given(raw.key_generation.as_ref(), own.key_generation, |text| {
            key_generation(text, seed)
        }),
        capf_string: raw
            .authentication_string
            .as_ref()
            .map_or(own.capf_string, |text| text.get_ref().clone()),
    }
}

/// Each once, in the order of a boot.
fn further_files(given: &[Text]) -> Result<Vec<FileKind>, Problem> {
    let kind = |name: &Text| one_of(name, "file", &FURTHER_FILES, FileKind::name);
    let chosen = given.iter().map(kind).collect::<Result<Vec<_>, _>>()?;
    Ok(FURTHER_FILES.into_iter().filter(|kind| chosen.contains(kind)).collect())
}

/// Pause of the phone whose log the documents show: 1.1 s from the request for the CTL to the
/// verified configuration, of which the three files took 48 ms (BOOT-15).
const DOCUMENTED_THINK: Span = Span::from_millis(520);

/// What the phone whose log the documents show took itself for a question to TVS: 386 ms from its
/// socket to the cached answer, without the 36 ms from question to answer (TVS-15).
const DOCUMENTED_TVS_THINK: Span = Span::from_millis(350);

fn think(given: &Spanned<RawThink>, documented: Span) -> Result<Span, Problem> {
    let RawThink(text) = given.get_ref();
    if text == "documented" {
        return Ok(documented);
    }
    parse_span(text).map_err(|error| {
        let help = "\"documented\" for that of a real phone, or a length of time such as 30s";
        Problem::new(given.span(), error.to_string()).help(help)
    })
}

fn boot_time(text: &Text, seed: u64) -> Result<BootTime, Problem> {
    if text.get_ref() == "model" {
        return Ok(BootTime::Model { seed, varied: None });
    }
    parse_span(text.get_ref()).map(BootTime::Fixed).map_err(|error| {
        let help = "a length of time such as \"60s\", or \"model\" for that of each model";
        Problem::new(text.span(), error.to_string()).help(help)
    })
}

fn key_generation(text: &Text, seed: u64) -> Result<KeyTime, Problem> {
    if text.get_ref() == "model" {
        return Ok(KeyTime::Model { seed });
    }
    parse_span(text.get_ref()).map(KeyTime::Fixed).map_err(|error| {
        let help = "a length of time such as \"30s\", or \"model\" for that of each model";
        Problem::new(text.span(), error.to_string()).help(help)
    })
}

fn block_size(size: &Spanned<RawBlockSize>) -> Result<BlockSizeRule, Problem> {
    let what = match size.get_ref() {
        RawBlockSize::Bytes(bytes) => {
            match u16::try_from(*bytes).ok().filter(|size| BLOCK_SIZES.contains(size)) {
                size @ Some(_) => return Ok(BlockSizeRule::Fixed(size)),
                None => format!("blocks of {bytes} bytes"),
            }
        }
        RawBlockSize::Word(word) if word == "model" => {
            return Ok(BlockSizeRule::Model { varied: None });
        }
        RawBlockSize::Word(word) => format!("`{word}` is not a block size"),
    };
    let help = "8 to 65464 bytes (RFC 2348), or \"model\" for that of each model";
    Err(Problem::new(size.span(), what).help(help))
}

fn slo(text: &Text, known_paths: &[String]) -> Result<Slo, Problem> {
    let told = |SloError { place, what, help }: SloError| {
        // The text begins behind one quotation mark.
        let start = text.span().start + 1;
        Problem::new(start + place.start..start + place.end.max(place.start + 1), what).help(help)
    };
    let slo: Slo = text.get_ref().parse().map_err(told)?;
    if !known_paths.is_empty() {
        slo.check(known_paths).map_err(told)?;
    }
    Ok(slo)
}

fn limits(raw: &RawRun, faults: &mut Faults) -> Limits {
    let max_wall = faults.given(raw.max_wall.as_ref(), MAX_WALL, positive);
    let mut count =
        |raw: &Option<Spanned<u32>>, default| faults.given(raw.as_ref(), default, at_least_one);
    Limits {
        max_wall,
        max_wall_is_set: raw.max_wall.is_some(),
        transfers_in_flight: count(&raw.transfers_in_flight, TRANSFERS),
        lookups_in_flight: count(&raw.lookups_in_flight, LOOKUPS),
        registrations_in_flight: count(&raw.registrations_in_flight, REGISTRATIONS),
        connections_in_flight: count(&raw.connections_in_flight, CONNECTIONS),
    }
}

fn target(raw: &RawTarget) -> Result<Target, Problem> {
    let (place, tftp) = (raw.tftp.span(), &raw.tftp.get_ref().0);
    if tftp.is_empty() {
        return Err(no_server(place));
    }
    check_servers(tftp.len(), &place)?;
    let files = tftp.iter().map(|socket| (socket, place.clone()));
    let others = raw.tvs.iter().chain(&raw.sip).chain(&raw.sips);
    let others = others.map(|server| (server.get_ref(), server.span()));
    for (socket, place) in files.chain(others) {
        if socket.port() == 0 || socket.ip().is_unspecified() {
            let what = format!("nobody answers at {socket}");
            return Err(Problem::new(place, what).help("such as \"127.0.0.1:6969\""));
        }
    }
    if let [first, second] = tftp[..]
        && first == second
    {
        let what = format!("the server {first} comes twice");
        return Err(Problem::new(place, what).help("every server comes once"));
    }
    let server = |raw: &Option<Spanned<SocketAddr>>| raw.as_ref().map(|server| *server.get_ref());
    let [tvs, sip, sips] = [&raw.tvs, &raw.sip, &raw.sips].map(server);
    Ok(Target { tftp: tftp.clone(), tvs, sip, sips })
}

fn at_least_one<N: Copy + Default + PartialEq>(count: &Spanned<N>) -> Result<N, Problem> {
    if *count.get_ref() == N::default() {
        return Err(Problem::new(count.span(), "this cannot be 0").help("at least 1"));
    }
    Ok(*count.get_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ClusterId;

    #[test]
    fn a_short_scenario_gets_every_default() {
        let plan = good("");
        assert_eq!((plan.name.as_str(), plan.about.as_str(), plan.seed), ("t", "", 42));
        assert_eq!(plan.fleet.phones, 5);
        assert_eq!(plan.fleet.models, [(8841.into(), 1.0)]);
        assert_eq!(plan.fleet.tftp, [Home::from([ClusterId::FIRST.node(0)])]);
        assert_eq!(plan.fleet.start, FleetStart::ItlCurrent);
        assert_eq!(plan.fleet.arrival_within, Span::from_secs(30));
        assert_eq!(plan.phone, PhoneProfile::default());
        assert_eq!(plan.limits.max_wall, Span::from_secs(600));
        assert_eq!(plan.limits.transfers_in_flight, 2_000);
        assert_eq!(plan.limits.lookups_in_flight, 900);
        assert_eq!(plan.limits.connections_in_flight, 900);
        assert!(plan.target.is_none() && plan.slos.is_empty() && plan.timeline.is_empty());
    }

    #[test]
    fn every_setting_of_a_phone_is_read() {
        let text = "[phone]\nboot-time='1s'\nthink='2s'\ntftp-timeout='3s'\ntftp-tries=4\n\
            transport='model'\ntvs-think='9s'\nhttp-timeout='6s'\ntftp-block-size=1400\ntvs-timeout='5s'\n\
            dns-negative-ttl='7s'\nip-mode='ipv4'\ntvs-session='kept'\nctl-generic=true\n\
            checks-dates=false\n\
            further-files=['ring-list', 'locale', 'locale']\nkey-generation='8s'\n\
            authentication-string='12345'";
        let expected = PhoneProfile {
            registration: RegistrationRules::default(),
            boot_time: BootTime::Fixed(Span::from_secs(1)),
            think: Span::from_secs(2),
            tvs_think: Span::from_secs(9),
            transport: TransportRule::Model,
            http_timeout: Span::from_secs(6),
            tftp_timeout: Span::from_secs(3),
            tftp_tries: 4,
            tftp_block_size: BlockSizeRule::Fixed(Some(1_400)),
            tvs_timeout: Span::from_secs(5),
            dns_negative_ttl: Span::from_secs(7),
            ip_mode: IpMode::Ipv4,
            tvs_session: TvsSession::Kept,
            ctl_generic: true,
            checks_dates: false,
            further_files: FURTHER_FILES.to_vec(),
            key_generation: KeyTime::Fixed(Span::from_secs(8)),
            capf_string: "12345".to_owned(),
        };
        assert_eq!(good(text).phone, expected);
        let unknown = fault("[phone]\nfurther-files=['ringlist']");
        assert_eq!(unknown, "unknown file `ringlist`");
    }

    #[test]
    fn run_target_and_fleet_are_read() {
        let text = "[run]\nmax-wall='5m'\ntransfers-in-flight=1\nlookups-in-flight=2\n\
            [target]\ntftp='10.0.0.1:69'\ntvs='10.0.0.1:2445'";
        let plan = good(text);
        assert_eq!(plan.limits.max_wall, Span::from_secs(300));
        assert_eq!((plan.limits.transfers_in_flight, plan.limits.lookups_in_flight), (1, 2));
        let target = plan.target.unwrap();
        assert_eq!(target.tftp, ["10.0.0.1:69".parse().unwrap()]);
        assert_eq!(target.tvs.unwrap().to_string(), "10.0.0.1:2445");
        let text = "start='factory'\ntftp='sub'\nmodels={8845=0.7,7841=0.3}\narrival={within='9s'}";
        let fleet = good(text).fleet;
        assert_eq!(
            (fleet.start, fleet.tftp.clone()),
            (FleetStart::Factory, vec![Home::from([ClusterId::FIRST.node(1)])])
        );
        assert_eq!(fleet.models, [(7841.into(), 0.3), (8845.into(), 0.7)]);
        assert_eq!(fleet.arrival_within, Span::from_secs(9));
    }

    #[test]
    fn the_schema_is_1_and_the_name_is_plain() {
        let text = whole("");
        assert_eq!(
            whole_fault(&text.replace("schema=1", "schema=2")),
            "schema 2 is not known here"
        );
        assert_eq!(whole_fault(&text.replace("'t'", "'T 1'")), "`T 1` cannot be a name here");
    }

    #[test]
    fn a_fleet_has_1_to_16_million_phones() {
        let with = |phones: &str| whole("").replace("phones=5", &format!("phones={phones}"));
        assert_eq!(whole_fault(&with("0")), "a fleet of 0 phones");
        assert_eq!(whole_fault(&with("16_000_001")), "a fleet of 16000001 phones");
        assert_eq!(read(&with("16_000_000")).unwrap().fleet.phones, 16_000_000);
        assert_eq!(read(&with("1")).unwrap().fleet.phones, 1);
    }

    #[test]
    fn models_have_names_as_cisco_writes_them_and_shares_of_one() {
        assert_eq!(fault("models={'ATA 191'=1.0}"), "`ATA 191` is not a phone model");
        assert_eq!(fault("models={-7841=1.0}"), "`-7841` is not a phone model");
        let named = good("models={ATA191=0.25,CP-8832=0.25,DX80=0.5}").fleet.models;
        assert_eq!(named[1], ("CP-8832".parse().unwrap(), 0.25));
        assert_eq!(fault("models={8841=0.5,8845=0.25}"), "the shares of the models add up to 0.75");
    }

    #[test]
    fn the_tftp_node_exists_and_runs_tftp() {
        assert_eq!(fault("tftp='pup'"), "unknown node `pup`");
        let text = whole("tftp='pub'").replace("'tftp', ", "");
        assert_eq!(whole_fault(&text), "node `pub` does not run tftp");
        let text = whole("").replace("'tftp', ", "");
        assert_eq!(
            read(&text).unwrap().fleet.tftp,
            [Home::from([ClusterId::FIRST.node(1)])],
            "the first that runs it"
        );
        let text = text.replace("services=['tftp']", "services=[]");
        assert!(whole_fault(&text).starts_with("no node runs TFTP"));
    }

    #[test]
    fn phones_take_turns_at_nodes_or_at_lists_and_a_group_may_have_its_own() {
        let [one, two] = [0, 1].map(|node| ClusterId::FIRST.node(node));
        let homes = |text: &str| good(text).fleet.tftp;
        assert_eq!(homes("tftp=['sub','pub']"), [Home::from([two]), Home::from([one])]);
        assert_eq!(homes("tftp=[['sub','pub']]"), [Home::from([two, one])]);
        let both = homes("tftp=[['pub','sub'],['sub','pub']]");
        assert_eq!(both, [Home::from([one, two]), Home::from([two, one])]);
        assert_eq!(homes("tftp=['pub',['sub']]"), [Home::from([one]), Home::from([two])]);
        let own = |tftp: &str| {
            let group = format!(
                "[[cluster.group]]\nname='a'\nmembers=['pub']\nshare=0.5\n[[cluster.group]]\n\
                 name='b'\nmembers=['pub']\nshare=0.5\ntftp={tftp}\n[fleet]"
            );
            whole("").replace("[fleet]", &group)
        };
        let of_groups = |tftp| read(&own(tftp)).unwrap().fleet.tftp_of_groups;
        assert_eq!(of_groups("'sub'"), [(1, Home::from([two]))].into());
        assert_eq!(of_groups("['sub','pub']"), [(1, Home::from([two, one]))].into());
        assert_eq!(whole_fault(&own("['sub','sup']")), "unknown node `sup`");
        assert_eq!(whole_fault(&own("[]")), "phones without a TFTP node");
    }

    #[test]
    fn a_phone_has_one_or_two_tftp_servers_that_exist_and_differ() {
        assert_eq!(fault("tftp=[]"), "phones without a TFTP node");
        assert_eq!(fault("tftp=['pub',[]]"), "phones without a TFTP node");
        assert_eq!(fault("tftp=[['pub','pup']]"), "unknown node `pup`");
        assert_eq!(fault("tftp=[['pub','pub']]"), "node `pub` comes twice");
        assert_eq!(fault("tftp=['pub','pub']"), "node `pub` comes twice");
        let twice = "tftp=[['pub','sub'],['pub','sub']]";
        assert_eq!(fault(twice), "list `pub, then sub` comes twice");
        assert_eq!(fault("tftp=[['pub','sub','pub']]"), "3 TFTP servers of one phone");
        let text = whole("tftp=[['pub','pup']]");
        let problem = read(&text).unwrap_err();
        assert_eq!(&text[problem.place], "[['pub','pup']]");
    }

    #[test]
    fn a_start_has_a_known_name() {
        assert_eq!(fault("start='itl-stale'"), "unknown start `itl-stale`");
    }

    #[test]
    fn tries_and_limits_are_at_least_one() {
        for text in [
            "[phone]\ntftp-tries=0",
            "[run]\ntransfers-in-flight=0",
            "[run]\nlookups-in-flight=0",
            "[run]\nregistrations-in-flight=0",
            "[run]\nconnections-in-flight=0",
        ] {
            assert_eq!(fault(text), "this cannot be 0", "{text}");
        }
        assert_eq!(good("[phone]\ntftp-tries=1").phone.tftp_tries, 1);
    }

    #[test]
    fn time_limits_are_not_zero() {
        for text in [
            "[phone]\nhttp-timeout='0s'",
            "[phone]\ntftp-timeout='0s'",
            "[phone]\ntvs-timeout='0s'",
            "[run]\nmax-wall='0s'",
        ] {
            assert_eq!(fault(text), "this length of time cannot be zero", "{text}");
        }
    }

    #[test]
    fn a_transport_has_a_known_name() {
        assert_eq!(fault("[phone]\ntransport='htp'"), "unknown transport `htp`");
    }

    #[test]
    fn block_sizes_go_from_8_to_65464() {
        let size = |size: u32| format!("[phone]\ntftp-block-size={size}");
        assert_eq!(fault(&size(7)), "blocks of 7 bytes");
        assert_eq!(fault(&size(65_465)), "blocks of 65465 bytes");
        assert_eq!(fault(&size(700_000)), "blocks of 700000 bytes");
        assert_eq!(fault("[phone]\ntftp-block-size='models'"), "`models` is not a block size");
        let model = good("[phone]\ntftp-block-size='model'").phone.tftp_block_size;
        assert_eq!(model, BlockSizeRule::Model { varied: None });
        assert_eq!(good(&size(8)).phone.tftp_block_size, BlockSizeRule::Fixed(Some(8)));
        assert_eq!(good(&size(65_464)).phone.tftp_block_size, BlockSizeRule::Fixed(Some(65_464)));
    }

    #[test]
    fn a_target_has_one_or_two_tftp_servers() {
        let tftp = |text: &str| good(&format!("[target]\ntftp={text}")).target.unwrap().tftp;
        let [one, two] = ["10.0.0.1:69", "[::1]:69"].map(|text| text.parse().unwrap());
        assert_eq!(tftp("'10.0.0.1:69'"), [one]);
        assert_eq!(tftp("['10.0.0.1:69', '[::1]:69']"), [one, two]);
        let plan = good("[target]\ntftp=['10.0.0.1:69', '[::1]:69']");
        assert_eq!(plan.homes(), [Home::from([0, 1].map(|node| ClusterId::FIRST.node(node)))]);
        let fault = |text: &str| fault(&format!("[target]\ntftp={text}"));
        assert_eq!(fault("[]"), "phones without a TFTP node");
        assert_eq!(fault("['10.0.0.1:69', '10.0.0.2:0']"), "nobody answers at 10.0.0.2:0");
        assert_eq!(fault("['10.0.0.1:69', '10.0.0.1:69']"), "the server 10.0.0.1:69 comes twice");
        assert_eq!(fault("['1.1.1.1:1', '1.1.1.1:2', '1.1.1.1:3']"), "3 TFTP servers of one phone");
    }

    #[test]
    fn a_target_can_be_reached() {
        assert_eq!(fault("[target]\ntftp='10.0.0.1:0'"), "nobody answers at 10.0.0.1:0");
        assert_eq!(fault("[target]\ntftp='0.0.0.0:69'"), "nobody answers at 0.0.0.0:69");
        let text = "[target]\ntftp='10.0.0.1:69'\ntvs='10.0.0.1:0'";
        assert_eq!(fault(text), "nobody answers at 10.0.0.1:0");
    }

    #[test]
    fn a_broken_slo_is_placed_inside_its_text() {
        let text = whole("[[slo]]\nexpr = 'phones.stuck = 0'");
        let problem = read(&text).unwrap_err();
        assert_eq!(&text[problem.place], "=");
        assert_eq!(problem.what, "expected a comparison");
        assert!(problem.help.is_some());
    }

    #[test]
    fn paths_of_slos_are_checked_when_paths_are_known() {
        let text = whole("[[slo]]\nexpr = 'phones.stuk == 0'");
        let raw = toml::from_str(&text).unwrap();
        assert!(resolve(&raw, &[]).is_ok());
        let problem = first(resolve(&raw, &["phones.stuck".to_owned()])).unwrap_err();
        assert_eq!(&text[problem.place], "phones.stuk");
        assert_eq!(problem.what, "the summary has no `phones.stuk`");
        assert!(resolve(&raw, &["phones.stuk".to_owned()]).is_ok());
        let text = whole("[[slo]]\nexpr = 'fleet_ready.p99 <= 60'");
        let raw = toml::from_str(&text).unwrap();
        let problem = first(resolve(&raw, &["fleet_ready_s.p99".to_owned()])).unwrap_err();
        assert_eq!((&text[problem.place], problem.what.as_str()), ("60", "`60` has no unit"));
    }

    /// A scenario whose last table is `[fleet]`, and `more`.
    fn whole(more: &str) -> String {
        format!(
            "schema=1\nname='t'\n[[cluster.node]]\nname='pub'\nservices=['tftp', 'tvs']\n\
             [[cluster.node]]\nname='sub'\naddress='127.0.0.2'\nservices=['tftp']\n\
             [fleet]\nphones=5\n{more}\n"
        )
    }

    fn good(more: &str) -> Plan {
        read(&whole(more)).unwrap_or_else(|problem| panic!("{problem:?}"))
    }

    fn fault(more: &str) -> String {
        whole_fault(&whole(more))
    }

    fn whole_fault(text: &str) -> String {
        let problem = read(text).expect_err("a fault");
        assert!(problem.help.is_some(), "{problem:?}");
        problem.what
    }

    fn read(text: &str) -> Result<Plan, Problem> {
        first(resolve(&toml::from_str(text).unwrap(), &[]))
    }

    fn first(result: Result<Plan, Faults>) -> Result<Plan, Problem> {
        result.map_err(|faults| faults.0.first().unwrap().clone())
    }
}
