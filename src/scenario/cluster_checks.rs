use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

use toml::Spanned;

use crate::base::{ClusterId, NodeId, Span, parse_span};
use crate::cluster::{
    CapfSettings, CertificateKind, CtlMethod, Defect, FILE_SIGNATURES, FileSignature, GroupSpec,
    NOT_PLAYED, NodeSpec, Ports, RELEASES, Release, SECURITY_MODES, SERVICES, SIGN_CACHE_MODES,
    Security, SecurityMode, ServiceKind, SignCacheMode, Topology, WebPorts,
};

use crate::wire::Dialogue;

use super::error::{Faults, Problem};
use super::names::{
    Text, check_domain, check_host, check_plain, check_unique, node_named, one_of, runs, url_scheme,
};
use super::quantity::{Length, positive};
use super::raw::{RawAutoReset, RawCapf, RawCluster, RawFault, RawGroup, RawNode, RawPorts};
use super::verbs::certificate;

/// The cluster of a scenario, checked; `None` if it has no node or no group. Where a part has a
/// fault, a default stands for it, so that the parts behind are checked, too.
pub(super) fn topology(raw: &RawCluster, has_uses: bool, faults: &mut Faults) -> Option<Topology> {
    let newest = RELEASES[RELEASES.len() - 1];
    let release = faults.take(release(raw.release.as_ref())).unwrap_or(newest);
    let sign_cache =
        |text: &Text| one_of(text, "cache mode", &SIGN_CACHE_MODES, SignCacheMode::name);
    let signature = |text: &Text| one_of(text, "digest", &FILE_SIGNATURES, FileSignature::name);
    let own_signature = release.file_signature();
    let mut topology = Topology {
        cluster: ClusterId::FIRST,
        release,
        sign_cache: faults.given(raw.sign_cache.as_ref(), SignCacheMode::Lazy, sign_cache),
        key_bits: faults.given(raw.key_bits.as_ref(), KEY_BITS, key_bits),
        file_signature: faults.given(raw.file_signature.as_ref(), own_signature, signature),
        secured_urls: faults.given(raw.secured_phone_url.as_ref(), true, |text| {
            one_of(text, "scheme", &[true, false], url_scheme)
        }),
        security: security(raw, release, faults),
        domain: raw
            .domain
            .as_ref()
            .and_then(|text| faults.take(check_domain(text).map(|()| text.get_ref().clone()))),
        faults: defects(&raw.fault, faults),
        replication_delay: raw
            .replication_delay
            .as_ref()
            .map_or(Span::ZERO, |delay| delay.get_ref().0),
        registrar: None,
        nodes: nodes(&raw.node, release, faults)?,
        groups: Vec::new(),
    };
    if has_uses {
        for node in &mut topology.nodes {
            node.ports.web.get_or_insert(WebPorts::USUAL);
        }
    }
    topology.groups = groups(&raw.group, &topology, faults)?;
    Some(topology)
}

/// Refuses shares that are no parts of one whole; `places` belong to `shares`.
pub(super) fn check_shares(shares: &[&Spanned<f64>], noun: &str) -> Result<(), Problem> {
    for share in shares {
        if !(0.0..=1.0).contains(share.get_ref()) {
            let what = format!("a share of {} is not between 0 and 1", share.get_ref());
            return Err(Problem::new(share.span(), what).help("1.0 is the whole fleet"));
        }
    }
    let sum: f64 = shares.iter().map(|share| *share.get_ref()).sum();
    match shares.last() {
        Some(last) if (sum - 1.0).abs() > SHARE_SLACK => {
            let what = format!("the shares of the {noun} add up to {sum}");
            Err(Problem::new(last.span(), what).help("shares add up to 1"))
        }
        _ => Ok(()),
    }
}

/// By how much a sum of shares may miss 1: what adding decimal fractions loses.
const SHARE_SLACK: f64 = 1e-9;

/// Size of the keys of a cluster that names none, in bits.
const KEY_BITS: u16 = 2048;

/// Nodes of a cluster at most (choice: numbers of nodes fit a 64-bit set).
const NODES_MAX: usize = 64;

/// Members of a `CallManager` group at most.
const MEMBERS_MAX: usize = 3;

fn release(text: Option<&Text>) -> Result<Release, Problem> {
    let Some(text) = text else { return Ok(Release::R8_6) };
    one_of(text, "release", &RELEASES, Release::name).map_err(|problem| {
        let names = RELEASES.map(Release::name).join(", ");
        let Some((major, minor)) = version(text.get_ref()) else { return problem };
        problem.help(match Release::playing(major, minor) {
            Some(played_by) => format!("write \"{played_by}\" for it; releases: {names}"),
            None => format!("phones have trust lists from 8.0 on; releases: {names}"),
        })
    })
}

/// The first two numbers of a release such as `13`, `10.0` or `12.5(1)SU3`.
fn version(text: &str) -> Option<(u8, u8)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let major = numbers.next()?.ok()?;
    Some((major, numbers.next().map_or(Ok(0), |minor| minor).unwrap_or(0)))
}

/// The known defects that the cluster has.
fn defects(raw: &[RawFault], faults: &mut Faults) -> Vec<Defect> {
    faults.take(check_unique("fault", raw.iter().map(|raw| &raw.id)));
    raw.iter().filter_map(|raw| faults.take(defect(&raw.id))).collect()
}

fn defect(id: &Text) -> Result<Defect, Problem> {
    let given = id.get_ref();
    if let Some((_, why)) = NOT_PLAYED.iter().find(|(known, _)| known == given) {
        let problem = Problem::new(id.span(), format!("`{given}` turns nothing on: {why}"));
        let ids = Defect::ALL.map(Defect::name).join(", ");
        return Err(problem.help(format!("faults that are played: {ids}")));
    }
    one_of(id, "fault", &Defect::ALL, Defect::name)
}

/// How the cluster is secured; where the CTL is signed with tokens that are not named, they are
/// two, as the CTL client wants them.
fn security(raw: &RawCluster, release: Release, faults: &mut Faults) -> Security {
    let mode = raw.security_mode.as_ref().map_or(Ok(SecurityMode::NonSecure), |text| {
        one_of(text, "security mode", &SECURITY_MODES, SecurityMode::name)
    });
    let mode = faults.take(mode).unwrap_or_default();
    let named = raw.etokens.as_ref().map(|names| faults.take(etokens(names, release)));
    let needs_tokens = mode == SecurityMode::Mixed && !release.signs_ctl(CtlMethod::Tokenless);
    let auto_reset = raw.auto_reset.as_ref().map(|raw| auto_reset(raw, release));
    Security {
        mode,
        etokens: match named {
            Some(named) => named.unwrap_or_default(),
            None if needs_tokens => ETOKENS.map(str::to_owned).to_vec(),
            None => Vec::new(),
        },
        auto_reset: auto_reset.and_then(|spread| faults.take(spread)).flatten(),
        rollback_warning: faults.given(
            raw.rollback_warning.as_ref(),
            Security::default().rollback_warning,
            positive,
        ),
        capf: capf(&raw.capf, faults),
        lsc_issuer: raw
            .capf
            .issuer
            .as_ref()
            .and_then(|name| faults.take(check_host(name).map(|()| name.get_ref().clone()))),
    }
}

/// How CAPF is set.
fn capf(raw: &RawCapf, faults: &mut Faults) -> CapfSettings {
    let own = CapfSettings::default();
    let sessions = |given: &Spanned<u32>| match given.get_ref() {
        0 => Err(Problem::new(given.span(), "CAPF without a session serves no phone")
            .help("1 or more; 50 unless said")),
        sessions => Ok(*sessions),
    };
    let days = |given: &Spanned<u16>| match given.get_ref() {
        days @ 1..=1_825 => Ok(*days),
        days => Err(Problem::new(given.span(), format!("LSCs of {days} days"))
            .help("\"Duration of Certificate Validity\" is 1 to 1825 days")),
    };
    CapfSettings {
        sessions: faults.given(raw.sessions.as_ref(), own.sessions, sessions),
        retry_delay: raw.retry_delay.as_ref().and_then(|delay| faults.take(positive(delay))),
        key_deadline: faults.given(raw.key_deadline.as_ref(), own.key_deadline, positive),
        silence: faults.given(raw.silence.as_ref(), own.silence, positive),
        valid_days: faults.given(raw.valid_days.as_ref(), own.valid_days, days),
        ..own
    }
}

/// Tokens of a cluster that names none: those of the documents (CTL-08).
const ETOKENS: [&str; 2] = ["SAST-ADN008580ef", "SAST-ADN0054f509"];

/// Tokens at most: lists with more than two signers are not advised (`spec/trust-list.md` section
/// 8), and nobody is known to own more than ten.
const ETOKENS_MAX: usize = 10;

fn etokens(raw: &Spanned<Vec<Text>>, release: Release) -> Result<Vec<String>, Problem> {
    let names = raw.get_ref();
    check_unique("token", names)?;
    names.iter().try_for_each(check_host)?;
    if !release.signs_ctl(CtlMethod::Etoken) && !names.is_empty() {
        let what = format!("release {release} knows no tokens");
        return Err(Problem::new(raw.span(), what).help("leave them out: its CTL is tokenless"));
    }
    if names.is_empty() && !release.signs_ctl(CtlMethod::Tokenless) {
        let what = format!("release {release} signs its CTL with tokens");
        return Err(Problem::new(raw.span(), what).help("name one at least"));
    }
    if names.len() > ETOKENS_MAX {
        let what = format!("{} tokens", names.len());
        return Err(Problem::new(raw.span(), what).help("10 at most"));
    }
    Ok(names.iter().map(|name| name.get_ref().clone()).collect())
}

fn auto_reset(raw: &Spanned<RawAutoReset>, release: Release) -> Result<Option<Span>, Problem> {
    let spread = match raw.get_ref() {
        RawAutoReset::Truth(false) => return Ok(None),
        RawAutoReset::Truth(true) => Span::ZERO,
        RawAutoReset::Spread(text) => parse_span(text).map_err(|error| {
            let help = "true, false, or within which time the phones boot, such as \"30s\"";
            Problem::new(raw.span(), error.to_string()).help(help)
        })?,
    };
    if release.rules().auto_reset.is_empty() {
        let what = format!("release {release} resets no phones by itself");
        let resets = |release: &Release| !release.rules().auto_reset.is_empty();
        let resetting = RELEASES.into_iter().find(resets);
        let help = format!("newer ones do, from {} on", resetting.map_or("none", Release::name));
        return Err(Problem::new(raw.span(), what).help(help));
    }
    Ok(Some(spread))
}

fn key_bits(raw: &Spanned<u16>) -> Result<u16, Problem> {
    let bits = *raw.get_ref();
    if [2048, 4096].contains(&bits) {
        return Ok(bits);
    }
    let problem = Problem::new(raw.span(), format!("keys of {bits} bits are not made here"));
    Err(problem.help("key-bits is 2048 or 4096"))
}

fn nodes(raw: &[RawNode], release: Release, faults: &mut Faults) -> Option<Vec<NodeSpec>> {
    if raw.is_empty() {
        let problem = Problem::new(0..0, "the cluster has no node");
        faults.0.push(problem.help("add a [[cluster.node]] with a name"));
        return None;
    }
    if let Some(extra) = raw.get(NODES_MAX) {
        let problem = Problem::new(extra.name.span(), format!("node number {}", NODES_MAX + 1));
        faults.0.push(problem.help(format!("a cluster has at most {NODES_MAX} nodes")));
        return None;
    }
    let before = faults.0.len();
    faults.take(check_unique("node", raw.iter().map(|node| &node.name)));
    let nodes: Vec<NodeSpec> =
        raw.iter().enumerate().map(|(at, raw)| node(raw, release, at == 0, faults)).collect();
    if faults.0.len() == before {
        faults.take(check_sockets(raw, &nodes));
    }
    Some(nodes)
}

/// One node; the first is the publisher, which alone may run CAPF.
fn node(raw: &RawNode, release: Release, publisher: bool, faults: &mut Faults) -> NodeSpec {
    faults.take(check_host(&raw.name));
    let all = SERVICES.into_iter().filter(|&s| publisher || s != ServiceKind::Capf).collect();
    NodeSpec {
        name: raw.name.get_ref().clone(),
        domain: None,
        address: faults.given(raw.address.as_ref(), Ipv4Addr::LOCALHOST.into(), address),
        services: faults.given(raw.services.as_ref(), all, |texts| services(texts, publisher)),
        ports: ports(&raw.ports),
        expires: expires(&raw.expires, release, faults),
    }
}

/// How long certificates of a node still last.
fn expires(
    raw: &BTreeMap<Text, Length>,
    release: Release,
    faults: &mut Faults,
) -> BTreeMap<CertificateKind, Span> {
    let left = |kind: CertificateKind, length: &Length| {
        let (left, life_s) = (positive(length)?, release.life_s(kind));
        if left.as_nanos() / 1_000_000_000 > life_s {
            let years = life_s / (365 * 86_400);
            let name = kind.name();
            let what = format!("a {name} certificate of release {release} lasts {years} years");
            let help = format!("at most \"{years}y\"");
            return Err(Problem::new(length.span(), what).help(help));
        }
        Ok(left)
    };
    let one = |(name, length)| {
        let kind = faults.take(certificate(name))?;
        Some((kind, faults.take(left(kind, length))?))
    };
    raw.iter().filter_map(one).collect()
}

fn ports(raw: &RawPorts) -> Ports {
    let defaults = Ports::default();
    let port = |raw: &Option<Spanned<u16>>| raw.as_ref().map(|port| *port.get_ref());
    let tvs = port(&raw.tvs).unwrap_or(defaults.of(Dialogue::Tvs));
    // Who leaves the ports of a node to the system does not want one of them to be fixed.
    let capf = if tvs == 0 { 0 } else { defaults.of(Dialogue::Capf) };
    Ports {
        tftp: port(&raw.tftp).unwrap_or(defaults.tftp),
        http: port(&raw.http),
        https: port(&raw.https),
        web: (raw.tomcat.is_some() || raw.tomcat_http.is_some()).then(|| WebPorts {
            http: port(&raw.tomcat_http).unwrap_or(WebPorts::USUAL.http),
            https: port(&raw.tomcat).unwrap_or(WebPorts::USUAL.https),
        }),
        ..defaults
    }
    .with(Dialogue::Tvs, tvs)
    .with(Dialogue::Capf, port(&raw.capf).unwrap_or(capf))
    .with(Dialogue::Sip, port(&raw.sip).unwrap_or(defaults.of(Dialogue::Sip)))
    .with(Dialogue::Sips, port(&raw.sips).unwrap_or(defaults.of(Dialogue::Sips)))
}

fn address(raw: &Spanned<IpAddr>) -> Result<IpAddr, Problem> {
    let address = *raw.get_ref();
    if address.is_unspecified() {
        let what = format!("phones cannot reach a node at {address}");
        return Err(Problem::new(raw.span(), what).help("one address, such as 127.0.0.1"));
    }
    Ok(address)
}

fn services(texts: &[Text], publisher: bool) -> Result<Vec<ServiceKind>, Problem> {
    check_unique("service", texts)?;
    let service = |text: &Text| {
        let service = one_of(text, "service", &SERVICES, ServiceKind::name)?;
        if service == ServiceKind::Capf && !publisher {
            let problem = Problem::new(text.span(), "CAPF runs on the publisher only");
            return Err(problem.help("the first node is the publisher"));
        }
        Ok(service)
    };
    texts.iter().map(service).collect()
}

/// Refuses two services on the same address, transport and port; port 0 never collides.
fn check_sockets(raw: &[RawNode], nodes: &[NodeSpec]) -> Result<(), Problem> {
    let mut taken: Vec<((IpAddr, bool, u16), &str)> = Vec::new();
    for (raw, node) in raw.iter().zip(nodes) {
        for (name, service, port, udp, place) in sockets(raw, node) {
            let socket = (node.address, udp, port);
            if port == 0 || !node.services.contains(&service) {
                continue;
            }
            if let Some((_, owner)) = taken.iter().find(|(other, _)| *other == socket) {
                let what = format!("{name} of `{}` has the port {port} of `{owner}`", node.name);
                let help = "give the nodes other addresses or ports, or port 0 for any free one";
                return Err(Problem::new(place, what).help(help));
            }
            taken.push((socket, &node.name));
        }
    }
    Ok(())
}

/// One socket of a node: name of its port, service, port, whether it is UDP, and where the port
/// was written.
type Socket = (&'static str, ServiceKind, u16, bool, Range<usize>);

/// The sockets of a node; port 0 stands for one that is not opened as well.
fn sockets(raw: &RawNode, node: &NodeSpec) -> [Socket; 5] {
    let place = |port: &Option<Spanned<u16>>| {
        let address = raw.address.as_ref().map_or_else(|| raw.name.span(), Spanned::span);
        port.as_ref().map_or(address, Spanned::span)
    };
    let (written, ports) = (&raw.ports, &node.ports);
    [
        ("tftp", ServiceKind::Tftp, ports.tftp, true, place(&written.tftp)),
        ("http", ServiceKind::Tftp, ports.http.unwrap_or(0), false, place(&written.http)),
        ("https", ServiceKind::Tftp, ports.https.unwrap_or(0), false, place(&written.https)),
        ("tvs", ServiceKind::Tvs, ports.of(Dialogue::Tvs), false, place(&written.tvs)),
        ("capf", ServiceKind::Capf, ports.of(Dialogue::Capf), false, place(&written.capf)),
    ]
}

fn groups(raw: &[RawGroup], topology: &Topology, faults: &mut Faults) -> Option<Vec<GroupSpec>> {
    if raw.is_empty() {
        return faults.take(default_group(topology)).map(|group| vec![group]);
    }
    faults.take(check_unique("group", raw.iter().map(|group| &group.name)));
    let groups = raw.iter().filter_map(|raw| faults.take(group(raw, topology))).collect();
    faults.take(check_shares(&raw.iter().map(|group| &group.share).collect::<Vec<_>>(), "groups"));
    Some(groups)
}

/// The group of a scenario that names none: the first TVS nodes for the whole fleet.
fn default_group(topology: &Topology) -> Result<GroupSpec, Problem> {
    let members: Vec<NodeId> = topology.nodes_with(ServiceKind::Tvs).take(MEMBERS_MAX).collect();
    if members.is_empty() {
        let problem = Problem::new(0..0, "no node runs TVS, so that no group can be made");
        return Err(problem.help("add \"tvs\" to the services of a node"));
    }
    Ok(GroupSpec { name: "all".to_owned(), members, share: 1.0 })
}

fn group(raw: &RawGroup, topology: &Topology) -> Result<GroupSpec, Problem> {
    check_plain(&raw.name)?;
    let texts = raw.members.get_ref();
    if !(1..=MEMBERS_MAX).contains(&texts.len()) {
        let what = format!("a group of {} nodes", texts.len());
        let help = format!("a CallManager group has 1 to {MEMBERS_MAX} members");
        return Err(Problem::new(raw.members.span(), what).help(help));
    }
    check_unique("member", texts)?;
    let member = |text: &Text| {
        let id = node_named(topology, text)?;
        runs(topology, id, ServiceKind::Tvs, text)?;
        Ok::<NodeId, Problem>(id)
    };
    Ok(GroupSpec {
        name: raw.name.get_ref().clone(),
        members: texts.iter().map(member).collect::<Result<_, _>>()?,
        share: *raw.share.get_ref(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_with_a_name_only_gets_every_default() {
        let topology =
            good("[[node]]\nname = 'pub'\n[[node]]\nname = 'sub'\naddress = '127.0.0.2'");
        let publisher = &topology.nodes[0];
        assert_eq!(topology.release, Release::R8_6);
        assert_eq!(topology.sign_cache, SignCacheMode::Lazy);
        assert_eq!(topology.key_bits, 2048);
        assert_eq!(publisher.address.to_string(), "127.0.0.1");
        assert_eq!(publisher.services, SERVICES);
        assert_eq!(publisher.ports, Ports::default());
        assert!(!topology.nodes[1].services.contains(&ServiceKind::Capf));
        assert_eq!(topology.nodes[1].services.len(), 3);
    }

    #[test]
    fn the_default_group_holds_the_first_three_tvs_nodes() {
        let text =
            node(1, "['callmanager']") + &(2..=5).map(|at| node(at, "['tvs']")).collect::<String>();
        let topology = good(&text);
        let all = GroupSpec {
            name: "all".into(),
            members: vec![
                ClusterId::FIRST.node(1),
                ClusterId::FIRST.node(2),
                ClusterId::FIRST.node(3),
            ],
            share: 1.0,
        };
        assert_eq!(topology.groups, [all]);
    }

    #[test]
    fn every_setting_is_read() {
        let text = "release = '11.5'\nsign-cache = 'prewarm'\nkey-bits = 4096\n\
            [[node]]\nname = 'a'\nports = { tftp = 1, tvs = 2, capf = 3, http = 4 }";
        let topology = good(text);
        assert_eq!(topology.release, Release::R11_5);
        assert_eq!(topology.sign_cache, SignCacheMode::Prewarm);
        assert_eq!(topology.key_bits, 4096);
        assert_eq!(
            topology.nodes[0].ports,
            Ports { tftp: 1, http: Some(4), ..Ports::default() }
                .with(Dialogue::Tvs, 2)
                .with(Dialogue::Capf, 3)
        );
    }

    #[test]
    fn unknown_names_are_refused() {
        let one = node(1, "['tvs']");
        assert_eq!(fault(&format!("release = '8.5'\n{one}")), "unknown release `8.5`");
        for (release, played_by) in [
            ("8", "8.0"),
            ("9.0", "9.1"),
            ("10.0", "10.5"),
            ("11.0", "11.5"),
            ("12.5(1)SU3", "12.5"),
            ("13", "12.5"),
            ("14.0", "14"),
            ("14SU3", "14"),
            ("16", "15"),
        ] {
            let problem = read(&format!("release = '{release}'\n{one}")).unwrap_err();
            let help = problem.help.unwrap();
            assert!(
                help.starts_with(&format!("write \"{played_by}\" for it")),
                "{release}: {help}"
            );
        }
        let problem = read(&format!("release = '7'\n{one}")).unwrap_err();
        let help = problem.help.unwrap();
        assert!(help.starts_with("phones have trust lists from 8.0 on"), "{help}");
        let problem = read(&format!("release = 'new'\n{one}")).unwrap_err();
        assert!(problem.help.unwrap().contains("8.0, 8.6, 9.1, 10.5"));
        assert_eq!(fault(&format!("sign-cache = 'lasy'\n{one}")), "unknown cache mode `lasy`");
        assert_eq!(fault(&node(1, "['tvz']")), "unknown service `tvz`");
        assert_eq!(fault(&format!("{one}{}", group_of("'x'", 1.0))), "unknown node `x`");
    }

    #[test]
    fn every_release_is_known_by_its_name() {
        for release in RELEASES {
            let text = format!("release = '{release}'\n{}", node(1, "['tvs']"));
            assert_eq!(good(&text).release, release);
        }
    }

    #[test]
    fn keys_have_2048_or_4096_bits() {
        let text = format!("key-bits = 1024\n{}", node(1, "['tvs']"));
        assert_eq!(fault(&text), "keys of 1024 bits are not made here");
    }

    #[test]
    fn a_cluster_has_1_to_64_nodes() {
        assert_eq!(fault(""), "the cluster has no node");
        let many = |count| (1..=count).map(|at| node(at, "['tvs']")).collect::<String>();
        assert_eq!(good(&many(64)).nodes.len(), 64);
        assert_eq!(fault(&many(65)), "node number 65");
    }

    #[test]
    fn nodes_have_names_of_their_own_that_are_host_names() {
        assert_eq!(fault(&node(1, "['tvs']").repeat(2)), "node `n1` comes twice");
        assert_eq!(fault("[[node]]\nname = 'a.b'"), "`a.b` is not a host name");
    }

    #[test]
    fn a_node_has_one_address() {
        assert_eq!(
            fault("[[node]]\nname = 'a'\naddress = '0.0.0.0'"),
            "phones cannot reach a node at 0.0.0.0"
        );
    }

    #[test]
    fn services_come_once_and_capf_only_on_the_publisher() {
        assert_eq!(fault(&node(1, "['tvs', 'tvs']")), "service `tvs` comes twice");
        assert_eq!(good(&node(1, "['tvs', 'capf']")).nodes[0].services.len(), 2);
        let text = node(1, "['tvs']") + &node(2, "['capf']");
        assert_eq!(fault(&text), "CAPF runs on the publisher only");
    }

    #[test]
    fn two_services_cannot_share_a_socket() {
        let twins = |ports: &str, services: &str| {
            format!(
                "[[node]]\nname='a'\nservices=['tvs','tftp']\nports={{{ports}}}\n\
                 [[node]]\nname='b'\nservices={services}\nports={{{ports}}}"
            )
        };
        assert_eq!(fault(&twins("tvs=7,tftp=8", "['tvs']")), "tvs of `b` has the port 7 of `a`");
        assert_eq!(fault(&twins("tvs=7,tftp=8", "['tftp']")), "tftp of `b` has the port 8 of `a`");
        good(&twins("tvs=7,tftp=8", "['callmanager']"));
        good(&twins("tvs=0,tftp=0", "['tvs','tftp']"));
        good("[[node]]\nname='a'\nports={tvs=7,tftp=7}");
        assert_eq!(
            fault("[[node]]\nname='a'\nports={tvs=7,http=7}"),
            "tvs of `a` has the port 7 of `a`",
        );
        assert_eq!(
            fault("[[node]]\nname='a'\nports={tvs=7,capf=7}"),
            "capf of `a` has the port 7 of `a`",
        );
    }

    #[test]
    fn a_socket_conflict_is_placed_at_the_port_or_else_the_address() {
        let place = |text: &str| {
            let place = read(text).unwrap_err().place;
            text[place].to_owned()
        };
        let first = "[[node]]\nname='a'\n[[node]]\nname='b'\nservices=['tvs']\n";
        assert_eq!(place(first), "'b'");
        assert_eq!(place(&format!("{first}address='127.0.0.1'")), "'127.0.0.1'");
        assert_eq!(place(&format!("{first}ports.tvs = 2445")), "2445");
    }

    #[test]
    fn a_group_has_1_to_3_members_that_run_tvs() {
        let nodes =
            (1..=4).map(|at| node(at, "['tvs']")).collect::<String>() + &node(5, "['tftp']");
        let with = |members: &str| format!("{nodes}{}", group_of(members, 1.0));
        assert_eq!(good(&with("'n2'")).groups[0].members, [ClusterId::FIRST.node(1)]);
        assert_eq!(good(&with("'n3', 'n1', 'n2'")).groups[0].members.len(), 3);
        assert_eq!(fault(&with("")), "a group of 0 nodes");
        assert_eq!(fault(&with("'n1', 'n2', 'n3', 'n4'")), "a group of 4 nodes");
        assert_eq!(fault(&with("'n1', 'n1'")), "member `n1` comes twice");
        assert_eq!(fault(&with("'n5'")), "node `n5` does not run tvs");
    }

    #[test]
    fn groups_have_names_of_their_own() {
        let text = node(1, "['tvs']") + &group_of("'n1'", 0.5).repeat(2);
        assert_eq!(fault(&text), "group `g` comes twice");
        let text = node(1, "['tvs']") + &group_of("'n1'", 1.0).replace("'g'", "'G 1'");
        assert_eq!(fault(&text), "`G 1` cannot be a name here");
    }

    #[test]
    fn a_cluster_without_tvs_has_no_group() {
        assert!(fault(&node(1, "['tftp']")).starts_with("no node runs TVS"));
    }

    #[test]
    fn shares_add_up_to_one_within_a_billionth() {
        let check = |shares: &[f64]| {
            let shares: Vec<_> = shares.iter().map(|&share| Spanned::new(0..1, share)).collect();
            check_shares(&shares.iter().collect::<Vec<_>>(), "groups").map_err(|p| p.what)
        };
        assert_eq!(check(&[1.0]), Ok(()));
        assert_eq!(check(&[0.1; 10]), Ok(()));
        assert_eq!(check(&[0.0, 1.0]), Ok(()));
        assert_eq!(check(&[0.5, 0.5 - 0.9e-9]), Ok(()));
        assert!(check(&[0.5, 0.5 - 1.1e-9]).is_err());
        assert_eq!(check(&[0.5, 0.75]), Err("the shares of the groups add up to 1.25".into()));
        assert_eq!(check(&[-0.5, 1.5]), Err("a share of -0.5 is not between 0 and 1".into()));
        assert!(check(&[f64::NAN]).is_err());
    }

    fn node(at: u8, services: &str) -> String {
        format!("[[node]]\nname = 'n{at}'\naddress = '127.0.0.{at}'\nservices = {services}\n")
    }

    fn group_of(members: &str, share: f64) -> String {
        format!("[[group]]\nname = 'g'\nmembers = [{members}]\nshare = {share:?}\n")
    }

    fn good(text: &str) -> Topology {
        read(text).unwrap_or_else(|problem| panic!("{problem:?}"))
    }

    fn fault(text: &str) -> String {
        let problem = read(text).expect_err("a fault");
        assert!(problem.help.is_some(), "{problem:?}");
        problem.what
    }
    fn read(text: &str) -> Result<Topology, Problem> {
        let mut faults = Faults::default();
        let topology = topology(&toml::from_str(text).unwrap(), false, &mut faults);
        faults.0.first().map_or_else(|| Ok(topology.unwrap()), |first| Err(first.clone()))
    }
}
