//! What differs between releases: who signs which list, the records and their order, and lists that
//! are those of the documents byte for byte.

use std::fmt::Write;
use std::path::PathBuf;

use resetstorm::base::{ClusterId, NodeId, Span, Time};
use resetstorm::cluster::operator::certificates::{DeleteCertificate, Regenerate};
use resetstorm::cluster::operator::ctl::UpdateCtl;
use resetstorm::cluster::operator::services::{ActivateCapf, Services};
use resetstorm::cluster::{
    CertificateKind, Cluster, CtlContent, CtlFile, CtlMethod, CtlNode, Effect, FleetSpec, Genesis,
    GroupSpec, Holders, ItlContent, NodeSpec, Operation, Ports, RELEASES, Release, Security,
    SecurityMode, ServiceChange, ServiceKind, SignCacheMode, Stored, Topology, TrustStore, Unit,
};
use resetstorm::crypto::{Certificate, Identity, KeySource};
use resetstorm::listing::{List, ListName, ShowOptions, Verdict, is_signer, show};
use resetstorm::phone::TrustList;
use resetstorm::vault;
use resetstorm::wire::{ROLE_SAST, Record, SignedFile};

const PUB: NodeId = ClusterId::FIRST.node(0);
const SUB: NodeId = ClusterId::FIRST.node(1);
const TOKENS: [&str; 2] = ["SAST-ADN0054f509", "SAST-ADN008580ef"];

/// A publisher with everything and a subscriber that serves files and TVS, in mixed mode.
fn genesis(release: Release, stored: Stored) -> Genesis {
    use ServiceKind::{CallManager, Capf, Tftp};
    let node = |name: &str, services: &[ServiceKind]| NodeSpec {
        name: name.into(),
        domain: None,
        address: "127.0.0.1".parse().unwrap(),
        services: services.to_vec(),
        ports: Ports::default(),
        expires: std::collections::BTreeMap::new(),
    };
    let etokens = if release.signs_ctl(CtlMethod::Tokenless) { &[][..] } else { &TOKENS };
    Genesis {
        topology: Topology {
            cluster: ClusterId::FIRST,
            release,
            sign_cache: SignCacheMode::Lazy,
            key_bits: 2048,
            file_signature: release.file_signature(),
            secured_urls: true,
            security: Security {
                mode: SecurityMode::Mixed,
                etokens: etokens.iter().map(|&name| name.to_owned()).collect(),
                auto_reset: Some(Span::ZERO),
                ..Security::default()
            },
            domain: None,
            faults: Vec::new(),
            replication_delay: Span::ZERO,
            registrar: None,
            nodes: vec![
                node("pub", &[CallManager, Capf, Tftp, ServiceKind::Tvs]),
                node("sub", &[CallManager, Tftp, ServiceKind::Tvs]),
            ],
            groups: vec![GroupSpec { name: "all".into(), members: vec![PUB], share: 1.0 }],
        },
        fleet: FleetSpec {
            phones: 1,
            models: vec![(8841.into(), 1.0)],
            seed: 1,
            ..FleetSpec::default()
        },
        source: KeySource::bank(1),
        epoch_s: 1_800_000_000,
        stored,
    }
}

fn cluster_with(release: Release, stored: Stored) -> Cluster {
    Cluster::new(genesis(release, stored))
}

fn cluster(release: Release) -> Cluster {
    cluster_with(release, Stored::default())
}

fn list_of(cluster: &Cluster, node: NodeId) -> Vec<u8> {
    cluster.tftp(node).unwrap().signed_list()
}

/// `CCM+TFTP pub/CallManager`: role and certificate of a record; a token has its name.
fn named(cluster: &Cluster, record: &Record<'_>) -> String {
    let role = match record.role.unwrap() {
        0 => "SAST",
        2 => "CCM+TFTP",
        3 => "TFTP",
        4 => "CAPF",
        21 => "TVS",
        other => panic!("role {other}"),
    };
    let owner = cluster.stores().identities().find_map(|(node, kind, own)| {
        let is_it = own.certificate().serial() == record.serial;
        is_it.then(|| format!("{}/{}", cluster.topology().node(node).name, kind.name()))
    });
    let token = || record.subject.split(';').next().unwrap().trim_start_matches("cn=").to_owned();
    format!("{role} {}", owner.unwrap_or_else(token))
}

/// The records of a list, the signer's SAST record behind a star.
fn records_of(cluster: &Cluster, bytes: &[u8]) -> String {
    let list = List::parse(bytes).unwrap();
    let mut text = String::new();
    for record in &list.records {
        let signs = record.role == Some(0) && is_signer(record, &list.file.header);
        let star = if signs { "*" } else { "" };
        let comma = if text.is_empty() { "" } else { ", " };
        write!(text, "{comma}{star}{}", named(cluster, record)).unwrap();
    }
    text
}

/// ITL of the subscriber and CTL of each family of releases.
const ITL_8: &str =
    "*SAST sub/CallManager, CCM+TFTP sub/CallManager, TVS pub/TVS, TVS sub/TVS, CAPF pub/CAPF";
const ITL_10: &str = "CAPF pub/CAPF, TVS pub/TVS, SAST pub/ITLRecovery, TVS sub/TVS, \
    *SAST sub/CallManager, TFTP sub/CallManager";
const ITL_11: &str = "CAPF pub/CAPF, TVS pub/TVS, SAST pub/ITLRecovery, TVS sub/TVS, \
    *SAST sub/CallManager, TFTP sub/CallManager, TFTP sub/CallManager-ECDSA";
const ITL_12: &str = "CAPF pub/CAPF, TVS pub/TVS, *SAST pub/ITLRecovery, TVS sub/TVS, \
    SAST sub/CallManager, TFTP sub/CallManager, TFTP sub/CallManager-ECDSA";
const CTL_8: &str = "*SAST SAST-ADN0054f509, SAST SAST-ADN008580ef, CCM+TFTP pub/CallManager, \
    CAPF pub/CAPF, CCM+TFTP sub/CallManager";
const CTL_10: &str = "*SAST pub/CallManager, CCM+TFTP pub/CallManager, CAPF pub/CAPF, \
    CCM+TFTP sub/CallManager";
const CTL_12: &str = "*SAST pub/ITLRecovery, CCM+TFTP pub/CallManager, CAPF pub/CAPF, \
    CCM+TFTP sub/CallManager";

/// Release, records of the ITL and of the CTL, name of the hash in listings, digest, signer
/// version, certificates that reset the phones.
type Row = (Release, &'static str, &'static str, &'static str, u8, Option<(u8, u8)>, usize);

const TABLE: [Row; 9] = [
    (Release::R8_0, ITL_8, CTL_8, "SHA-1", 1, None, 0),
    (Release::R8_6, ITL_8, CTL_8, "SHA-1", 1, None, 0),
    (Release::R9_1, ITL_8, CTL_8, "SHA-1", 1, None, 3),
    (Release::R10_5, ITL_10, CTL_10, "SHA-1", 1, None, 3),
    (Release::R11_5, ITL_11, CTL_10, "null", 1, None, 3),
    (Release::R12_0, ITL_12, CTL_12, "null", 1, Some((1, 0)), 3),
    (Release::R12_5, ITL_12, CTL_12, "null", 1, Some((1, 0)), 3),
    (Release::R14, ITL_12, CTL_12, "null", 3, Some((1, 1)), 3),
    (Release::R15, ITL_12, CTL_12, "null", 3, Some((1, 1)), 3),
];

#[test]
fn each_release_has_its_records_signers_hash_and_resets() {
    assert_eq!(TABLE.map(|row| row.0), RELEASES);
    for (release, itl, ctl, hash, digest, version, resets) in TABLE {
        let cluster = cluster(release);
        let list = list_of(&cluster, SUB);
        assert_eq!(records_of(&cluster, &list), itl, "{release}");
        let ctl_file = cluster.ctl().unwrap().bytes();
        let again = CtlFile::from_bytes(ctl_file.to_vec()).unwrap();
        assert_eq!(again.identity(), cluster.ctl().unwrap().identity(), "{release}");
        assert_eq!(records_of(&cluster, ctl_file), ctl, "{release}");
        for bytes in [&list, &ctl_file[..]] {
            let header = SignedFile::parse(bytes).unwrap().header;
            assert_eq!((header.digest, header.signer_version), (digest, version), "{release}");
        }
        let listing = shown(ListName::Itl, &list, "now").0;
        let names: Vec<&str> = listing
            .lines()
            .filter_map(|line| line.strip_prefix("12\tHASH ALGORITHM\t1\t"))
            .collect();
        assert_eq!(names, [hash; 3], "{release}: two TVS records and CAPF");
        let resetting = |&kind: &CertificateKind| cluster.topology().auto_reset(kind).is_some();
        let count = resetstorm::cluster::CERTIFICATES.iter().filter(|kind| resetting(kind)).count();
        assert_eq!(count, resets, "{release}");
    }
}

#[test]
fn capf_that_is_activated_later_is_in_a_list_when_tftp_of_that_node_has_started_again() {
    for release in [Release::R8_0, Release::R10_5, Release::R12_5] {
        for mode in [SecurityMode::NonSecure, SecurityMode::Mixed] {
            let mut start = genesis(release, Stored::default());
            start.topology.security.mode = mode;
            start.topology.nodes[0].services.retain(|&service| service != ServiceKind::Capf);
            let mut cluster = Cluster::new(start);
            let names_capf = |cluster: &Cluster, bytes: &[u8]| {
                records_of(cluster, bytes).contains("CAPF pub/CAPF")
            };
            let listed = |cluster: &Cluster| {
                [PUB, SUB].map(|node| names_capf(cluster, &list_of(cluster, node)))
            };
            let in_ctl =
                |cluster: &Cluster| cluster.ctl().map(|ctl| names_capf(cluster, ctl.bytes()));
            let apply = |cluster: &mut Cluster, action: &dyn Operation| {
                cluster.apply(action, Time::ZERO).unwrap()
            };
            assert_eq!(listed(&cluster), [false; 2], "{release} {mode:?}");
            assert!(apply(&mut cluster, &ActivateCapf).is_empty());
            assert_eq!(listed(&cluster), [false; 2], "{release} {mode:?}: nobody has started");
            let due: Vec<_> = cluster.restarts_due().collect();
            assert_eq!(due, [PUB, SUB].map(|node| (node, ServiceKind::Tftp)), "{release} {mode:?}");
            apply(&mut cluster, &Services::restart(PUB, Some(ServiceKind::Tftp)));
            assert_eq!(listed(&cluster), [true, false], "{release} {mode:?}");
            apply(&mut cluster, &Services::restart(SUB, Some(ServiceKind::Tftp)));
            assert_eq!(listed(&cluster), [true; 2], "{release} {mode:?}");
            assert_eq!(cluster.restarts_due().count(), 0, "{release} {mode:?}");
            if mode == SecurityMode::Mixed {
                assert_eq!(in_ctl(&cluster), Some(false), "{release}: made before");
                apply(&mut cluster, &UpdateCtl::AS_EVER);
                assert_eq!(in_ctl(&cluster), Some(true), "{release}");
            }
        }
    }
}

#[test]
fn methods_and_inventories_follow_the_release() {
    let methods = |release: Release| {
        [CtlMethod::Etoken, CtlMethod::Tokenless].map(|method| release.signs_ctl(method))
    };
    for release in RELEASES {
        let expected = if release < Release::R10_5 {
            [true, false]
        } else if release < Release::R14 {
            [true, true]
        } else {
            [false, true]
        };
        assert_eq!(methods(release), expected, "{release}");
        let count = |node| {
            cluster(release).stores().identities().filter(|(owner, ..)| *owner == node).count()
        };
        let (recovery, ec) = (release >= Release::R10_5, release >= Release::R11_5);
        let publisher = 5 + usize::from(recovery) + usize::from(ec);
        let subscriber = 4 + usize::from(ec) + usize::from(release < Release::R15);
        assert_eq!([count(PUB), count(SUB)], [publisher, subscriber], "{release}");
        let capf = release.holders(CertificateKind::Capf);
        assert_eq!(capf == Holders::EveryNode, release < Release::R15, "{release} (X-11)");
    }
}

#[test]
fn a_served_ec_record_has_the_fields_of_the_listing() {
    let cluster = cluster(Release::R11_5);
    let bytes = list_of(&cluster, SUB);
    let list = List::parse(&bytes).unwrap();
    let ec = list.records.last().unwrap();
    assert_eq!(ec.dns_name, "sub");
    assert!(ec.subject.starts_with("CN=sub-EC;"), "{}", ec.subject);
    assert_eq!((ec.role, ec.public_key.len(), ec.signature.len()), (Some(3), 97, 103));
    let certificate = Certificate::from_der(ec.certificate.unwrap()).unwrap();
    assert_eq!((certificate.key_algorithm(), certificate.public_key()), ("EC", ec.public_key));
    assert!(list.records.iter().rev().skip(1).all(|record| record.dns_name.is_empty()));
    let (listing, verdict) = shown(ListName::Itl, &bytes, "now");
    assert_eq!(verdict, Verdict::Valid);
    assert!(listing.contains("2\tDNSNAME\t\t4\tsub\n3\tSUBJECTNAME\t"), "{listing}");
    assert!(listing.contains("7\tPUBLICKEY\t97\n8\tSIGNATURE\t103\n"), "{listing}");
}

fn regenerate(cluster: &mut Cluster, certificate: CertificateKind) -> Vec<Effect> {
    cluster.apply(&Regenerate { certificate, node: SUB }, Time::ZERO).unwrap()
}

fn started(effects: &[Effect]) -> Vec<(NodeId, ServiceKind)> {
    let started = |effect: &Effect| match effect {
        Effect::Service(ServiceChange::Started { node, service }) => Some((*node, service.kind())),
        _ => None,
    };
    effects.iter().filter_map(started).collect()
}

#[test]
fn a_new_ec_certificate_changes_its_record_and_no_signature() {
    let mut cluster = cluster(Release::R11_5);
    let before = list_of(&cluster, SUB);
    assert!(regenerate(&mut cluster, CertificateKind::CallManagerEcdsa).is_empty());
    assert_eq!(list_of(&cluster, SUB), before, "until TFTP restarts");
    let restart = resetstorm::cluster::operator::services::Services::restart(SUB, None);
    cluster.apply(&restart, Time::ZERO).unwrap();
    let after = list_of(&cluster, SUB);
    assert_eq!(records_of(&cluster, &after), ITL_11);
    let [before, after] = [&before, &after].map(|bytes| List::parse(bytes).unwrap());
    let changed = |(one, other): (&Record<'_>, &Record<'_>)| one.serial != other.serial;
    let flags: Vec<bool> = before.records.iter().zip(&after.records).map(changed).collect();
    assert_eq!(flags, [false, false, false, false, false, false, true]);
}

#[test]
fn services_of_15_take_a_call_manager_certificate_by_themselves() {
    for (release, alone) in [(Release::R14, false), (Release::R15, true)] {
        let mut cluster = cluster(release);
        let signer = |cluster: &Cluster| cluster.tftp(SUB).unwrap().signer().certificate.clone();
        let before = signer(&cluster);
        let services = started(&regenerate(&mut cluster, CertificateKind::CallManagerEcdsa));
        let own = [(SUB, ServiceKind::Tftp), (SUB, ServiceKind::Tvs)];
        assert_eq!(services, if alone { &own[..] } else { &[] }, "{release}");
        assert_eq!(signer(&cluster), before, "{release}: EC signs nothing");
        assert_eq!(cluster.restarts_due().any(|(node, _)| node == SUB), !alone, "{release}");
        // Where phones are reset by themselves, every list is built anew, each once.
        let services = started(&regenerate(&mut cluster, CertificateKind::CallManager));
        let lists = [(PUB, ServiceKind::Tftp), (SUB, ServiceKind::Tftp), (SUB, ServiceKind::Tvs)];
        assert_eq!(services, lists[..if alone { 3 } else { 2 }], "{release}");
        assert_ne!(signer(&cluster), before, "{release}");
    }
}

#[test]
fn what_nodes_trust_is_kept_with_its_origins_and_what_was_deleted_stays_deleted() {
    let mut first = cluster(Release::R12_5);
    regenerate(&mut first, CertificateKind::Capf);
    let delete =
        DeleteCertificate { node: PUB, store: TrustStore::Capf, name: "CAP-RTP-001".into() };
    first.apply(&delete, Time::ZERO).unwrap();
    let dir = tempfile::tempdir().unwrap();
    vault::save_cluster(dir.path(), &first).unwrap();
    let loaded = vault::load_cluster(dir.path(), first.topology()).unwrap();
    let again = cluster_with(Release::R12_5, loaded);
    for node in [PUB, SUB] {
        let page = |cluster: &Cluster| cluster.stores().inventory(node, Time::ZERO);
        assert_eq!(page(&again), page(&first));
        assert!(page(&again).iter().all(|item| item.certificate.common_name() != "CAP-RTP-001"
            || item.unit != Unit::Trust(TrustStore::Capf)));
    }
}

#[test]
fn ec_identities_are_kept_and_used_again() {
    let first = cluster(Release::R12_5);
    let dir = tempfile::tempdir().unwrap();
    vault::save_cluster(dir.path(), &first).unwrap();
    let load = || vault::load_cluster(dir.path(), first.topology());
    let loaded = load().unwrap();
    assert_eq!(loaded.own.len(), first.stores().identities().count());
    assert_eq!(list_of(&cluster_with(Release::R12_5, loaded), SUB), list_of(&first, SUB));
    // The same as PEM files, as a user may put them there.
    let dir = tempfile::tempdir().unwrap();
    let load = || vault::load_cluster(dir.path(), first.topology());
    for (node, kind, own) in first.stores().identities() {
        let folder = dir.path().join(&first.topology().node(node).name);
        std::fs::create_dir_all(&folder).unwrap();
        let file = |extension| folder.join(format!("{}.{extension}", kind.name()));
        std::fs::write(file("pem"), own.certificate().to_pem()).unwrap();
        std::fs::write(file("key"), own.key_pem()).unwrap();
    }
    assert_eq!(load().unwrap().own.len(), first.stores().identities().count());
    let file = |name: &str| dir.path().join("sub").join(name);
    let (ec, rsa) = (file("CallManager-ECDSA.key"), file("CallManager.key"));
    let right = std::fs::read(&ec).unwrap();
    std::fs::copy(&rsa, &ec).unwrap();
    let error = load().unwrap_err().to_string();
    assert!(error.contains("CallManager-ECDSA.key: the private key cannot be read"), "{error}");
    std::fs::copy(dir.path().join("pub").join("CallManager-ECDSA.key"), &ec).unwrap();
    assert!(load().unwrap_err().to_string().contains("is not the key of"));
    std::fs::write(&ec, &right).unwrap();
    std::fs::copy(&ec, &rsa).unwrap();
    let error = load().unwrap_err().to_string();
    assert!(error.contains("CallManager.key: the private key is EC"), "{error}");
}

// ---- the lists of the documents ----

fn vector(name: &str) -> Vec<u8> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/cucm-layout");
    std::fs::read(root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn shown(list: ListName, bytes: &[u8], modified: &str) -> (String, Verdict) {
    let listing = show(Some(bytes), &ShowOptions { list, modified, checksum: true });
    (listing.text, listing.verdict)
}

/// The listing that belongs to a vector, and when its file was written.
fn golden(name: &str) -> (String, String) {
    let text = String::from_utf8(vector(&format!("{name}.show.txt"))).unwrap();
    let modified = text.lines().find_map(|line| line.split_once("last modified on ")).unwrap().1;
    (text.trim_end().to_owned(), modified.to_owned())
}

/// The certificate of each record; where the list holds but a hash, a stand-in with the same names,
/// serial number, key and signature.
fn certificates(bytes: &[u8]) -> Vec<Option<Certificate>> {
    let list = List::parse(bytes).unwrap();
    let read = |record: &Record<'_>| match record.certificate {
        Some(der) => Some(Certificate::from_der(der).unwrap()),
        None if record.subject.is_empty() => None,
        None => Some(Certificate::from_der(&stand_in(record)).unwrap()),
    };
    list.records.iter().map(read).collect()
}

fn stand_in(record: &Record<'_>) -> Vec<u8> {
    let bits = |bytes: &[u8]| der(0x03, &[&[0], bytes]);
    let algorithm = |arc: u8| {
        let oid = der(0x06, &[&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, arc]]);
        der(0x30, &[&oid, &der(0x05, &[])])
    };
    let date = der(0x17, &[b"240101000000Z"]);
    let key = der(0x30, &[&algorithm(1), &bits(record.public_key)]);
    let signed = der(
        0x30,
        &[
            &der(0x02, &[record.serial]),
            &algorithm(11),
            &name(record.issuer),
            &der(0x30, &[&date, &date]),
            &name(record.subject),
            &key,
        ],
    );
    der(0x30, &[&signed, &algorithm(11), &bits(record.signature)])
}

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = (content.len() as u16).to_be_bytes();
    [&[tag, 0x82][..], &length, &content].concat()
}

fn name(text: &str) -> Vec<u8> {
    let attribute = |part: &str| {
        let (key, value) = part.split_once('=').unwrap();
        let arc = [("CN", 3), ("C", 6), ("L", 7), ("ST", 8), ("O", 10), ("OU", 11)]
            .into_iter()
            .find_map(|(known, arc)| (known == key).then_some(arc));
        let kind = der(0x06, &[&[0x55, 0x04, arc.unwrap()]]);
        der(0x31, &[&der(0x30, &[&kind, &der(0x0C, &[value.as_bytes()])])])
    };
    der(0x30, &[&text.split(';').map(attribute).collect::<Vec<_>>().concat()])
}

/// A list of the header of a vector and records of ours. The hashes of stand-ins are not those of
/// the certificates that nobody has, so that those of the vector are put in their places.
fn with_header_and_hashes(vector: &[u8], records: &[u8]) -> Vec<u8> {
    let theirs = List::parse(vector).unwrap();
    let mut ours = vector[..usize::from(theirs.file.header.length)].to_vec();
    ours.extend_from_slice(records);
    let places: Vec<(usize, [u8; 20])> = {
        let list = List::parse(&ours).unwrap();
        let pairs = list.records.iter().zip(&theirs.records);
        // Tags 11 and 12 end such a record: 3 + 20 + 3 + 1 bytes.
        let place = |(record, other): (&Record<'_>, &Record<'_>)| {
            let end = record.offset + usize::from(record.length);
            other
                .certificate_hash
                .filter(|_| record.certificate_hash.is_some())
                .map(|h| (end - 24, h))
        };
        pairs.filter_map(place).collect()
    };
    for (at, hash) in places {
        ours[at..at + 20].copy_from_slice(&hash);
    }
    ours
}

/// An identity that is known by its certificate only.
fn known_by(certificate: &Certificate) -> Identity {
    let key = KeySource::bank(1).signing_key(2048).into();
    Identity { certificate: certificate.clone(), key }
}

fn ctl_node(name: &'static str, last: u8) -> CtlNode<'static> {
    CtlNode { name, address: [10, 48, 47, last].into() }
}

fn assert_is_the_vector(list: ListName, name: &str, records: &[u8]) {
    let vector = vector(name);
    let ours = with_header_and_hashes(&vector, records);
    let at = ours.iter().zip(&vector).position(|(our, their)| our != their);
    assert_eq!((at, ours.len()), (None, vector.len()), "{name}");
    let (text, modified) = golden(name);
    let (listing, verdict) = shown(list, &ours, &modified);
    assert_eq!((listing.trim_end(), verdict), (text.as_str(), Verdict::Valid), "{name}");
}

#[test]
fn the_list_of_8_x_is_that_of_the_documents() {
    let name = "ITLFile-5438.tlv";
    let [call_manager, _, tvs, capf] = &certificates(&vector(name))[..] else { panic!("four") };
    for release in [Release::R8_0, Release::R8_6, Release::R9_1] {
        let content = ItlContent {
            node: "CUCM8-Publisher",
            call_manager: call_manager.as_ref().unwrap(),
            call_manager_ecdsa: None,
            tvs: tvs.iter().collect(),
            capf: capf.as_ref(),
            itl_recovery: None,
        };
        assert_is_the_vector(ListName::Itl, name, &content.encode(release));
    }
}

/// The vector has the listing of 11.5, but names the hash as 8.x does: the six records of 10.5 and
/// the last one of 11.5 are its own, and 11.5 differs in those names only.
#[test]
fn the_list_of_11_5_is_that_of_the_documents_but_for_the_name_of_the_hash() {
    let name = "ITLFile-7rec-ec.tlv";
    let vector = vector(name);
    let [capf, first, recovery, own, call_manager, _, ec] = &certificates(&vector)[..] else {
        panic!("seven")
    };
    let content = ItlContent {
        node: "ao115sub",
        call_manager: call_manager.as_ref().unwrap(),
        call_manager_ecdsa: ec.as_ref(),
        tvs: first.iter().chain(own).collect(),
        capf: capf.as_ref(),
        itl_recovery: recovery.as_ref(),
    };
    let (six, seven) = (content.encode(Release::R10_5), content.encode(Release::R11_5));
    assert_eq!((six.len(), seven.len()), (8_176 - 1_031, 8_176));
    assert_is_the_vector(ListName::Itl, name, &[&six, &seven[six.len()..]].concat());
    for release in [Release::R11_5, Release::R12_0, Release::R12_5, Release::R14, Release::R15] {
        assert_eq!(content.encode(release), seven, "{release}");
    }
    let ours = with_header_and_hashes(&vector, &seven);
    let differing = ours.iter().zip(&vector).filter(|(our, their)| our != their);
    assert_eq!(differing.collect::<Vec<_>>(), [(&0, &1); 3]);
    // What is printed between the checksums and the verdict, which are those of other bytes.
    let middle = |text: &str| {
        let (_, text) = text.split_once("Length of").unwrap();
        text.rsplit_once("\n\n").unwrap().0.to_owned()
    };
    let (text, modified) = golden(name);
    let (listing, _) = shown(ListName::Itl, &ours, &modified);
    assert_eq!(middle(listing.trim_end()), middle(&text).replace("\tSHA-1", "\tnull"));
}

#[test]
fn the_blank_list_is_that_of_the_vectors() {
    let name = "ITLFile-blank-sast-only.tlv";
    let [Some(call_manager)] = &certificates(&vector(name))[..] else { panic!("one") };
    let content = ItlContent {
        node: "ao115sub",
        call_manager,
        call_manager_ecdsa: None,
        tvs: Vec::new(),
        capf: None,
        itl_recovery: None,
    };
    assert_is_the_vector(ListName::Itl, name, &content.encode_blank(Release::R11_5));
}

#[test]
fn the_tokenless_list_is_that_of_the_documents() {
    let name = "CTLFile-tokenless-4947.tlv";
    let [signer, publisher, capf, subscriber] = &certificates(&vector(name))[..] else {
        panic!("four")
    };
    let nodes = [ctl_node("cucm-1051-a-pub", 153), ctl_node("cucm-1051-a-sub1", 154)];
    let content = CtlContent {
        signer: &known_by(signer.as_ref().unwrap()),
        signer_node: Some(nodes[0]),
        tokens: Vec::new(),
        nodes: vec![(nodes[0], publisher.as_ref()), (nodes[1], subscriber.as_ref())],
        capf: capf.as_ref(),
    };
    assert_is_the_vector(ListName::Ctl, name, &content.encode());
}

#[test]
fn the_list_that_tokens_leave_behind_is_that_of_the_documents() {
    let name = "CTLFile-nonsecure-3746.tlv";
    let [Some(signer), Some(token), None, capf, None] = &certificates(&vector(name))[..] else {
        panic!("two tokens, a node, CAPF, a node")
    };
    let content = CtlContent {
        signer: &known_by(signer),
        signer_node: None,
        tokens: vec![token],
        nodes: vec![(ctl_node("10.48.47.153", 153), None), (ctl_node("10.48.47.154", 154), None)],
        capf: capf.as_ref(),
    };
    assert_is_the_vector(ListName::Ctl, name, &content.encode());
}

#[test]
fn a_ctl_and_its_tokens_outlive_their_run_whatever_is_regenerated() {
    let mut first = cluster_with(Release::R8_6, Stored::default());
    let ctl = first.ctl().unwrap().clone();
    regenerate(&mut first, CertificateKind::CallManager);
    let dir = tempfile::tempdir().unwrap();
    vault::save_cluster(dir.path(), &first).unwrap();
    let loaded = vault::load_cluster(dir.path(), first.topology()).unwrap();
    let mut again = cluster_with(Release::R8_6, loaded);
    assert_eq!(again.ctl(), Some(&ctl), "the CTL that phones hold (CTL-03)");
    assert_ne!(again.next_ctl().unwrap().identity(), ctl.identity(), "and it is stale");
    again.apply(&UpdateCtl::AS_EVER, Time::ZERO).unwrap();
    let held = TrustList::parse(ctl.bytes()).unwrap();
    let next = SignedFile::parse(again.ctl().unwrap().bytes()).unwrap();
    let signer = held.find(&[ROLE_SAST], next.header.issuer, next.header.serial);
    assert!(signer.is_some(), "the next one is signed by a token of the first");
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("CTLFile.tlv"), "no list").unwrap();
    let error = vault::load_cluster(files.path(), first.topology()).unwrap_err().to_string();
    assert!(error.contains("CTLFile.tlv"), "{error}");
}

/// A parameter of the cluster strands phones whose loads know SHA-1 only (`spec/signed-file.md`).
#[test]
fn phones_that_know_sha_1_only_refuse_what_is_signed_with_sha_512() {
    use resetstorm::sim::{SimOptions, World};
    let world = |signature: &str| {
        let path = std::path::Path::new("scenarios/callmanager-regen.toml");
        let text = std::fs::read_to_string(path).unwrap();
        let set = format!(
            "event=[{{when='fleet-settled',set-parameter={{name='file-signature',value='{signature}'}}}},\
             {{after='previous',restart={{service='tftp',node='pub'}}}},\
             {{after='previous',reset-phones={{spread='1s'}}}}]"
        );
        let models = "fleet.models={'7970'=0.5,'8841'=0.5}".to_owned();
        let overrides = [set, models, "fleet.phones=20".to_owned(), "slo=[]".to_owned()];
        let plan = resetstorm::scenario::load(path, &text, &overrides, &[]).unwrap();
        let fleet = plan.fleet_spec();
        let old = (0..20)
            .filter(|&phone| fleet.model(resetstorm::base::PhoneId(phone)).to_string() == "7970");
        (World::new(&plan, SimOptions::default()).run().summary(&plan).phones, old.count() as u64)
    };
    let ((sha1, _), (sha512, old)) = (world("sha1"), world("sha512"));
    assert_eq!((sha1.ready, sha1.failed), (20, 0));
    assert!((1..20).contains(&old), "{old}");
    assert_eq!((sha512.ready, sha512.stuck, sha512.failed), (20 - old, 0, old));
}
