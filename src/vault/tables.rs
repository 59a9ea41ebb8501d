//! The tables of CUCM's database that `run sql` reads, by the names of its data dictionary. Columns
//! and numbers are those that public traces and tools show; what they do not show is left out.

use rusqlite::{Connection, params};

use crate::base::{DeviceName, Model, NodeId, PhoneId};
use crate::cluster::{
    CERTIFICATES, CertificateKind, Cluster, SecurityMode, Source, TRUST_STORES, TrustStore, Unit,
};
use crate::crypto::{Certificate, sha256};
use crate::listing::{hex, role_text};

/// The tables.
pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS typetrustrole(enum INTEGER PRIMARY KEY, name TEXT, moniker TEXT);
    CREATE TABLE IF NOT EXISTS typecertificateservice(enum INTEGER PRIMARY KEY, name TEXT,
        moniker TEXT);
    CREATE TABLE IF NOT EXISTS typeprocessnoderole(enum INTEGER PRIMARY KEY, name TEXT);
    CREATE TABLE IF NOT EXISTS typemodel(enum INTEGER PRIMARY KEY, name TEXT);
    CREATE TABLE IF NOT EXISTS processnode(pkid TEXT PRIMARY KEY, name TEXT, mac TEXT,
        systemnode TEXT, description TEXT, isactive TEXT, nodeid INTEGER, tknodeusage INTEGER,
        ipv6name TEXT, fklbmhubgroup TEXT, tkprocessnoderole INTEGER, tkssomode INTEGER);
    CREATE TABLE IF NOT EXISTS certificate(pkid TEXT PRIMARY KEY, servername TEXT,
        subjectname TEXT, issuername TEXT, serialnumber TEXT, certificate TEXT, ipv4address TEXT,
        ipv6address TEXT, timetolive INTEGER, tkcertificatedistribution INTEGER);
    CREATE TABLE IF NOT EXISTS certificatetrustrolemap(pkid TEXT PRIMARY KEY, fkcertificate TEXT,
        tktrustrole INTEGER);
    CREATE TABLE IF NOT EXISTS certificateservicecertificatemap(pkid TEXT PRIMARY KEY,
        fkcertificate TEXT, tkcertificateservice INTEGER);
    CREATE TABLE IF NOT EXISTS certificateprocessnodemap(pkid TEXT PRIMARY KEY,
        fkcertificate TEXT, fkprocessnode TEXT);
    CREATE TABLE IF NOT EXISTS processconfig(pkid TEXT PRIMARY KEY, fkprocessnode TEXT,
        paramname TEXT, paramvalue TEXT);
    CREATE TABLE IF NOT EXISTS device(pkid TEXT PRIMARY KEY, name TEXT, description TEXT,
        tkmodel INTEGER, tkclass INTEGER);
    CREATE TABLE IF NOT EXISTS fleet(shape TEXT);
";

/// The tables that SQL sees.
pub(super) const VISIBLE: [&str; 11] = [
    "typetrustrole",
    "typecertificateservice",
    "typeprocessnoderole",
    "typemodel",
    "processnode",
    "certificate",
    "certificatetrustrolemap",
    "certificateservicecertificatemap",
    "certificateprocessnodemap",
    "processconfig",
    "device",
];

/// Roles of `typetrustrole` with the names that traces of the certificate service give them.
const ROLES: [(u8, &str); 17] = [
    (0, "TRUST_ROLES_SAST"),
    (1, "TRUST_ROLES_CALLMANAGER"),
    (2, "TRUST_ROLES_CALLMANAGER_TFTP"),
    (3, "TRUST_ROLES_TFTP"),
    (4, "TRUST_ROLES_CAPF"),
    (5, "TRUST_ROLES_SRST"),
    (6, "PHONE_TRUST_ROLES_FIREWALL"),
    (7, "ROLE_APPLICATION_SERVER"),
    (20, "ROLE_CERTIFICATE_AUTHORITY"),
    (AUTHENTICATION, "ROLE_AUTHENTICATION_AUTHORIZATION"),
    (22, "ROLE_SIGNALING_CALL_CONTROL"),
    (23, "TRUST_ROLE_PROVISIONING_SERVICE"),
    (24, "TRUST_ROLE_DATA_SERVICE"),
    (25, "TRUST_ROLE_NETWORK_ELEMENT"),
    (26, "TRUST_ROLE_VPN"),
    (27, "TRUST_ROLE_SERVICEABILITY"),
    (255, "TRUST_ROLES_UNKNOWN"),
];

/// "Authentication and Authorization": that of TVS, and in the database of CallManager, too
/// (BKP-06).
const AUTHENTICATION: u8 = 21;

/// Models of `typemodel`: the numbers of `loadInformation` elements.
const MODELS: [(u32, &str); 45] = [
    (7, "7960"),
    (8, "7940"),
    (9, "7935"),
    (115, "7941"),
    (119, "7971"),
    (302, "7985"),
    (307, "7911"),
    (348, "7931"),
    (365, "7921"),
    (369, "7906"),
    (404, "7962"),
    (431, "7937"),
    (434, "7942"),
    (435, "7945"),
    (436, "7965"),
    (437, "7975"),
    (484, "7925"),
    (493, "9971"),
    (495, "6921"),
    (496, "6941"),
    (497, "6961"),
    (537, "9951"),
    (540, "8961"),
    (547, "6901"),
    (548, "6911"),
    (564, "6945"),
    (577, "7926"),
    (585, "8945"),
    (586, "8941"),
    (621, "7821"),
    (622, "7841"),
    (623, "7861"),
    (683, "8841"),
    (684, "8851"),
    (685, "8861"),
    (30_006, "7970"),
    (30_018, "7961"),
    (30_019, "7936"),
    (36_213, "7811"),
    (36_216, "8821"),
    (36_217, "8811"),
    (36_224, "8845"),
    (36_225, "8865"),
    (36_247, "7832"),
    (36_258, "8832"),
];

/// `typeclass` of phones.
const CLASS_PHONE: u8 = 1;

/// The number of a place of certificates in `typecertificateservice`; those of the newer kinds are
/// not known.
const fn service_of(unit: Unit) -> Option<u8> {
    Some(match unit {
        Unit::Trust(TrustStore::Phone) => 1,
        Unit::Trust(TrustStore::PhoneVpn) => 2,
        Unit::Service(CertificateKind::CallManager) => 3,
        Unit::Trust(TrustStore::CallManager) => 4,
        Unit::Service(CertificateKind::Tomcat) => 5,
        Unit::Trust(TrustStore::Tomcat) => 6,
        Unit::Service(CertificateKind::Ipsec) => 7,
        Unit::Trust(TrustStore::Ipsec) => 8,
        Unit::Service(CertificateKind::Capf) => 9,
        Unit::Trust(TrustStore::Capf) => 10,
        Unit::Service(CertificateKind::Tvs) => 11,
        Unit::Trust(TrustStore::Tvs) => 12,
        Unit::Trust(TrustStore::PhoneSast) => 14,
        Unit::Trust(TrustStore::PhoneCtl) => 15,
        Unit::Service(CertificateKind::CallManagerEcdsa | CertificateKind::ItlRecovery) => {
            return None;
        }
    })
}

/// Writes everything but devices, in the place of what was there.
pub(super) fn write(connection: &Connection, cluster: &Cluster) -> rusqlite::Result<()> {
    for table in VISIBLE.iter().filter(|&&table| table != "device") {
        connection.execute(&format!("DELETE FROM {table}"), [])?;
    }
    write_types(connection)?;
    write_nodes(connection, cluster)?;
    write_parameters(connection, cluster)?;
    let (stores, all) = (cluster.stores(), cluster.stores().nodes());
    let mismatches = cluster.mismatches();
    for (node, kind, own) in stores.identities() {
        let unit = Unit::Service(kind);
        write_certificate(connection, cluster, node, own.certificate())?;
        map(connection, own.certificate(), unit, stores.own_roles(kind), &[node])?;
        if kind == CertificateKind::CallManager {
            // A restore may have left another one there than stands on the page.
            let mismatch = mismatches.iter().find(|mismatch| mismatch.node == node);
            let recorded = mismatch.map_or_else(|| own.certificate(), |found| &found.recorded);
            write_certificate(connection, cluster, node, recorded)?;
            map_role(connection, recorded, AUTHENTICATION)?;
        }
    }
    for (store, certificate, source) in stores.settled() {
        let first = |nodes: &dyn Fn(NodeId) -> bool| all.iter().copied().find(|&n| nodes(n));
        let of = match source {
            Source::Preloaded => None,
            Source::Copy(_, nodes) => first(&|node| nodes.contains(node)),
            Source::Imported(node) => Some(node),
        };
        write_certificate(connection, cluster, of.unwrap_or(all[0]), certificate)?;
        map(connection, certificate, Unit::Trust(store), stores.roles(store, source), all)?;
    }
    Ok(())
}

fn write_types(connection: &Connection) -> rusqlite::Result<()> {
    let mut role = connection.prepare("INSERT INTO typetrustrole VALUES(?, ?, ?)")?;
    for (number, moniker) in ROLES {
        let name = match number {
            AUTHENTICATION => "Authentication and Authorization".to_owned(),
            255 => "Unknown".to_owned(),
            _ => role_text(u16::from(number)),
        };
        role.execute(params![number, name, moniker])?;
    }
    let kinds = CERTIFICATES.map(Unit::Service);
    let units = kinds.into_iter().chain(TRUST_STORES.map(Unit::Trust));
    let mut service = connection.prepare("INSERT INTO typecertificateservice VALUES(?, ?, ?)")?;
    for (number, unit) in units.filter_map(|unit| Some((service_of(unit)?, unit))) {
        service.execute(params![number, unit.name(), unit.name()])?;
    }
    let mut model = connection.prepare("INSERT INTO typemodel VALUES(?, ?)")?;
    for (number, name) in MODELS {
        model.execute(params![number, format!("Cisco {name}")])?;
    }
    connection.execute_batch(
        "INSERT INTO typeprocessnoderole VALUES(1, 'CUCM Voice/Video'), \
         (2, 'CUCM IM and Presence');",
    )
}

/// The row that stands for the whole cluster.
const ENTERPRISE: &str = "00000000-1111-0000-0000-000000000000";

fn write_nodes(connection: &Connection, cluster: &Cluster) -> rusqlite::Result<()> {
    let topology = cluster.topology();
    let mut insert = connection
        .prepare("INSERT INTO processnode VALUES(?, ?, '', ?, ?, 't', ?, ?, '', NULL, 1, 0)")?;
    insert.execute(params![ENTERPRISE, "EnterpriseWideData", "t", "", 1, 1])?;
    for (at, (id, node)) in (0_u8..).zip(topology.ids().zip(&topology.nodes)) {
        // What *System > Server* holds.
        let name = topology.full_name(node).unwrap_or_else(|| node.address.to_string());
        let (node_id, usage) = (at + 2, u8::from(at > 0));
        insert.execute(params![node_key(id), name, "f", node.name, node_id, usage])?;
    }
    Ok(())
}

fn write_parameters(connection: &Connection, cluster: &Cluster) -> rusqlite::Result<()> {
    let is_mixed = cluster.security_mode() == SecurityMode::Mixed;
    let rollback = if cluster.is_prepared_for_rollback() { "T" } else { "F" };
    let rows = [
        ("ClusterSecurityMode", if is_mixed { "1" } else { "0" }),
        ("RollBackToPreGrayback", rollback),
    ];
    let mut insert = connection.prepare("INSERT INTO processconfig VALUES(?, ?, ?, ?)")?;
    for (name, value) in rows {
        insert.execute(params![key(&["processconfig", name]), ENTERPRISE, name, value])?;
    }
    Ok(())
}

/// A certificate that came from this node; the first place counts.
fn write_certificate(
    connection: &Connection,
    cluster: &Cluster,
    node: NodeId,
    certificate: &Certificate,
) -> rusqlite::Result<()> {
    let node = cluster.topology().node(node);
    let mut insert = connection.prepare_cached(
        "INSERT OR IGNORE INTO certificate VALUES(?, ?, ?, ?, ?, ?, ?, ?, NULL, 1)",
    )?;
    let address = node.address.to_string();
    let (v4, v6) =
        if node.address.is_ipv4() { (address, String::new()) } else { (String::new(), address) };
    insert.execute(params![
        certificate_key(certificate),
        node.name,
        certificate.subject().replace(';', ","),
        certificate.issuer().replace(';', ","),
        hex(certificate.serial()),
        certificate.to_pem(),
        v4,
        v6
    ])?;
    Ok(())
}

/// What a certificate is for, and where it is.
fn map(
    connection: &Connection,
    certificate: &Certificate,
    unit: Unit,
    roles: &[u8],
    nodes: &[NodeId],
) -> rusqlite::Result<()> {
    for &role in roles {
        map_role(connection, certificate, role)?;
    }
    if let Some(service) = service_of(unit) {
        let name = service.to_string();
        put(connection, "certificateservicecertificatemap", certificate, &service, &name)?;
    }
    for &node in nodes {
        let node = node_key(node);
        put(connection, "certificateprocessnodemap", certificate, &node, &node)?;
    }
    Ok(())
}

fn map_role(connection: &Connection, certificate: &Certificate, role: u8) -> rusqlite::Result<()> {
    put(connection, "certificatetrustrolemap", certificate, &role, &role.to_string())
}

/// Puts a certificate beside something, whose name makes the row's `pkid`; once is enough.
fn put(
    connection: &Connection,
    table: &str,
    certificate: &Certificate,
    what: &dyn rusqlite::ToSql,
    name: &str,
) -> rusqlite::Result<()> {
    let certificate = certificate_key(certificate);
    let pkid = key(&[table, &certificate, name]);
    let insert = format!("INSERT OR IGNORE INTO {table} VALUES(?, ?, ?)");
    connection.prepare_cached(&insert)?.execute(params![pkid, certificate, what]).map(|_| ())
}

/// Writes the phones, if they are others than those that are there.
pub(super) fn write_devices(connection: &Connection, cluster: &Cluster) -> rusqlite::Result<()> {
    let fleet = cluster.fleet();
    let shape = format!("{} {} {:?}", fleet.phones, fleet.seed, fleet.models);
    let same = "SELECT count(*) FROM fleet WHERE shape = ?";
    if connection.query_row(same, [&shape], |row| row.get::<_, u32>(0))? > 0 {
        return Ok(());
    }
    connection.execute_batch("DELETE FROM device; DELETE FROM fleet;")?;
    connection.execute("INSERT INTO fleet VALUES(?)", [&shape])?;
    let mut insert = connection.prepare("INSERT INTO device VALUES(?, ?, ?, ?, ?)")?;
    for phone in (0..fleet.phones).map(PhoneId) {
        let (name, model) = (DeviceName::of_phone(phone).to_string(), fleet.model(phone));
        let pkid = key(&["device", &name]);
        insert.execute(params![pkid, name, name, model_number(model), CLASS_PHONE])?;
    }
    Ok(())
}

fn model_number(model: Model) -> Option<u32> {
    let digits = model.digits()?.to_owned();
    MODELS.iter().find(|(_, name)| *name == digits).map(|(number, _)| *number)
}

fn node_key(node: NodeId) -> String {
    key(&["processnode", &node.node.to_string()])
}

fn certificate_key(certificate: &Certificate) -> String {
    key(&["certificate", &hex(&certificate.sha256())])
}

/// A `pkid` in the form of CUCM's: the same for the same thing in every run.
fn key(parts: &[&str]) -> String {
    let digest = sha256(parts.join("\0").as_bytes());
    let digits = [0..4, 4..6, 6..8, 8..10, 10..16].map(|range| hex(&digest[range]));
    digits.join("-")
}
