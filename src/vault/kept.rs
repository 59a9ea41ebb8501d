//! What a cluster needs to go on, in tables that SQL does not see: keys as blobs, what nodes trust
//! and why, the CTL, and what was set.

use std::sync::Arc;

use rusqlite::{Connection, Row, params};

use crate::cluster::{
    CERTIFICATES, CTL_METHODS, CertificateKind, Cluster, CtlFile, FILE_SIGNATURES, KeptSettings,
    SECURITY_MODES, Settings, Stored, StoredTrust, TRUST_STORES, Topology,
};
use crate::crypto::{Certificate, CertificateError, Identity, KeyStore, SigningKey};

use super::lsc;
use super::origin::{source_of, source_text};
use super::pem::credential;

/// The tables.
pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS own(node TEXT, kind TEXT, certificate BLOB, key BLOB,
        PRIMARY KEY(node, kind));
    CREATE TABLE IF NOT EXISTS request(node TEXT, kind TEXT, key BLOB, PRIMARY KEY(node, kind));
    CREATE TABLE IF NOT EXISTS recorded(node TEXT PRIMARY KEY, certificate BLOB);
    CREATE TABLE IF NOT EXISTS etoken(name TEXT PRIMARY KEY, certificate BLOB, key BLOB);
    CREATE TABLE IF NOT EXISTS authority(name TEXT PRIMARY KEY, certificate BLOB, key BLOB);
    CREATE TABLE IF NOT EXISTS peer(name TEXT, place INTEGER, certificate BLOB,
        PRIMARY KEY(name, place));
    CREATE TABLE IF NOT EXISTS trust(place INTEGER PRIMARY KEY, store TEXT, source TEXT,
        certificate BLOB);
    CREATE TABLE IF NOT EXISTS ctl(file BLOB);
    CREATE TABLE IF NOT EXISTS lsc(phone INTEGER PRIMARY KEY, operation TEXT, mode TEXT, key TEXT,
        string TEXT, completes_by INTEGER, status TEXT, told TEXT, certificate BLOB);
    CREATE TABLE IF NOT EXISTS setting(name TEXT PRIMARY KEY, given TEXT, value TEXT);
";

/// The first layout with the certificates of other servers.
const LAYOUT_OF_PEERS: i32 = 2;

/// Why something that was kept cannot be used: what, and the cause.
pub(super) type Unusable = (String, String);

/// Writes all of it; certificates of nodes and tokens that this cluster does not have stay.
pub(super) fn write(connection: &Connection, cluster: &Cluster) -> rusqlite::Result<()> {
    let topology = cluster.topology();
    let name = |node| topology.node(node).name.as_str();
    let mut own = connection.prepare("INSERT OR REPLACE INTO own VALUES(?, ?, ?, ?)")?;
    for (node, kind, credential) in cluster.stores().identities() {
        let der = credential.certificate().der();
        own.execute(params![name(node), kind.name(), der, credential.key_pem().as_bytes()])?;
    }
    for table in ["request", "recorded"] {
        let mut forget = connection.prepare(&format!("DELETE FROM {table} WHERE node = ?"))?;
        for node in &topology.nodes {
            forget.execute([&node.name])?;
        }
    }
    let mut recorded = connection.prepare("INSERT INTO recorded VALUES(?, ?)")?;
    for mismatch in cluster.mismatches() {
        recorded.execute(params![name(mismatch.node), mismatch.recorded.der()])?;
    }
    let mut request = connection.prepare("INSERT INTO request VALUES(?, ?, ?)")?;
    for (node, kind, key) in cluster.requests() {
        request.execute(params![name(node), kind.name(), key.to_pem().as_bytes()])?;
    }
    for (name, token) in cluster.etokens() {
        write_identity(connection, "etoken", name, token)?;
    }
    for (name, authority) in cluster.authorities() {
        write_identity(connection, "authority", name, authority)?;
    }
    connection.execute_batch("DELETE FROM peer; DELETE FROM trust; DELETE FROM ctl;")?;
    let mut peer = connection.prepare("INSERT INTO peer VALUES(?, ?, ?)")?;
    for (name, presented) in cluster.peers() {
        for (place, certificate) in (0u32..).zip(presented) {
            peer.execute(params![name, place, certificate.der()])?;
        }
    }
    let mut trust = connection.prepare("INSERT INTO trust VALUES(NULL, ?, ?, ?)")?;
    for (store, certificate, source) in cluster.stores().settled() {
        trust.execute(params![store.name(), source_text(source, topology), certificate.der()])?;
    }
    if let Some(ctl) = cluster.ctl() {
        connection.execute("INSERT INTO ctl VALUES(?)", [&ctl.bytes()[..]])?;
    }
    lsc::write(connection, cluster.devices())?;
    write_settings(connection, &cluster.settings())
}

fn write_identity(
    connection: &Connection,
    table: &str,
    name: &str,
    identity: &Identity,
) -> rusqlite::Result<()> {
    let mut insert =
        connection.prepare_cached(&format!("INSERT OR REPLACE INTO {table} VALUES(?, ?, ?)"))?;
    let key = identity.key.to_pem();
    insert.execute(params![name, identity.certificate.der(), key.as_bytes()]).map(|_| ())
}

/// The names of settings, in the order of [`texts`].
const SETTINGS: [&str; 6] =
    ["security-mode", "rollback", "file-signature", "ctl-method", "ctl-token", "secured-phone-url"];

fn texts(settings: &Settings) -> [Option<&str>; 6] {
    [
        Some(settings.security_mode.name()),
        Some(if settings.rollback { "true" } else { "false" }),
        Some(settings.file_signature.name()),
        Some(settings.ctl_method.name()),
        settings.token.as_deref(),
        Some(if settings.secured_urls { "https" } else { "http" }),
    ]
}

fn settings_of(texts: &[Option<String>]) -> Option<Settings> {
    // A database of before has no URLs.
    let [mode, rollback, signature, method, token, urls @ ..] = texts else { return None };
    let is = |text: &Option<String>, name: &str| text.as_deref() == Some(name);
    Some(Settings {
        security_mode: SECURITY_MODES.into_iter().find(|known| is(mode, known.name()))?,
        rollback: is(rollback, "true"),
        file_signature: FILE_SIGNATURES.into_iter().find(|known| is(signature, known.name()))?,
        ctl_method: CTL_METHODS.into_iter().find(|known| is(method, known.name()))?,
        token: token.clone(),
        secured_urls: urls.first().is_none_or(|urls| is(urls, "https")),
    })
}

fn write_settings(connection: &Connection, kept: &KeptSettings) -> rusqlite::Result<()> {
    let mut insert = connection.prepare("INSERT OR REPLACE INTO setting VALUES(?, ?, ?)")?;
    let pairs = texts(&kept.given).into_iter().zip(texts(&kept.set));
    for (name, (given, value)) in SETTINGS.into_iter().zip(pairs) {
        insert.execute(params![name, given, value])?;
    }
    Ok(())
}

/// Reads what was written for the nodes of `topology` in this layout.
pub(super) fn read(
    connection: &Connection,
    topology: &Topology,
    layout: i32,
) -> rusqlite::Result<Result<Stored, Unusable>> {
    let own = rows(connection, "SELECT node, kind, certificate, key FROM own", Pair::of)?;
    let requests = rows(connection, "SELECT node, kind, x'', key FROM request", Pair::of)?;
    let recorded = rows(connection, "SELECT node, certificate FROM recorded", |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    let etokens = rows(connection, "SELECT '', name, certificate, key FROM etoken", Pair::of)?;
    let authorities =
        rows(connection, "SELECT '', name, certificate, key FROM authority", Pair::of)?;
    let peers = if layout < LAYOUT_OF_PEERS {
        Vec::new()
    } else {
        rows(connection, "SELECT name, certificate FROM peer ORDER BY name, place", |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
    };
    let trust =
        rows(connection, "SELECT store, source, certificate FROM trust ORDER BY place", |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    let ctl = rows(connection, "SELECT file FROM ctl", |row| row.get(0))?;
    let settings = rows(connection, "SELECT name, given, value FROM setting", |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })?;
    let devices = lsc::read(connection)?;
    let raw = Raw { own, requests, recorded, etokens, authorities, peers, trust, ctl, settings };
    Ok(raw.stored(topology).and_then(|stored| Ok(Stored { devices: devices?, ..stored })))
}

fn rows<T>(
    connection: &Connection,
    query: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(query)?.query_map([], read)?.collect()
}

/// Rows as they stand in the file.
struct Raw {
    own: Vec<Pair>,
    requests: Vec<Pair>,
    recorded: Vec<(String, Vec<u8>)>,
    etokens: Vec<Pair>,
    authorities: Vec<Pair>,
    peers: Vec<(String, Vec<u8>)>,
    trust: Vec<(String, String, Vec<u8>)>,
    ctl: Vec<Vec<u8>>,
    settings: Vec<(String, Option<String>, Option<String>)>,
}

/// A certificate and its key, of an owner.
struct Pair {
    owner: String,
    name: String,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Raw {
    fn stored(&self, topology: &Topology) -> Result<Stored, Unusable> {
        let mut stored = Stored::default();
        for pair in &self.own {
            let Some(node) = topology.node_named(&pair.owner) else { continue };
            let kind = pair.kind()?;
            let own = credential(kind, pair.certificate()?, &pair.key_store()?);
            let own = own.map_err(|cause| pair.unusable(&cause))?;
            if own.certificate().public_key() != own.public_key() {
                return Err(pair.unusable(&"certificate and key do not belong together"));
            }
            stored.own.insert((node, kind), own);
        }
        for pair in &self.requests {
            let Some(node) = topology.node_named(&pair.owner) else { continue };
            stored.requests.insert((node, pair.kind()?), Arc::new(pair.signing_key()?));
        }
        for (node, der) in &self.recorded {
            let Some(id) = topology.node_named(node) else { continue };
            let certificate = Certificate::from_der(der);
            let bad = |cause: CertificateError| {
                (format!("the recorded CallManager of {node}"), cause.to_string())
            };
            stored.recorded.insert(id, certificate.map_err(bad)?);
        }
        for pair in self.etokens.iter().filter(|p| topology.security.etokens.contains(&p.name)) {
            stored.etokens.insert(pair.name.clone(), pair.identity()?);
        }
        for pair in &self.authorities {
            stored.authorities.insert(pair.name.clone(), pair.identity()?);
        }
        for (name, der) in &self.peers {
            let bad =
                |cause: CertificateError| (format!("a certificate of {name}"), cause.to_string());
            let certificate = Certificate::from_der(der).map_err(bad)?;
            stored.peers.entry(name.clone()).or_default().push(certificate);
        }
        if let Some(bytes) = self.ctl.first() {
            let file = CtlFile::from_bytes(bytes.clone());
            let bad = || ("the CTL".to_owned(), "it is no signed list".to_owned());
            stored.ctl = Some(file.ok_or_else(bad)?);
        }
        stored.trust = Some(self.trusted(topology)?);
        stored.settings = Some(self.settings()?);
        Ok(stored)
    }

    fn trusted(&self, topology: &Topology) -> Result<Vec<StoredTrust>, Unusable> {
        let read = |(store, source, der): &(String, String, Vec<u8>)| {
            let what = || format!("a certificate of {store}");
            let known = TRUST_STORES.into_iter().find(|known| known.name() == store);
            let known = known.ok_or_else(|| (what(), "there is no such store".to_owned()))?;
            let origin = source_of(source, topology);
            let origin = origin.ok_or_else(|| (what(), format!("its origin is {source:?}")))?;
            let certificate = Certificate::from_der(der).map_err(|e| (what(), e.to_string()))?;
            Ok((known, certificate, origin))
        };
        self.trust.iter().map(read).collect()
    }

    fn settings(&self) -> Result<KeptSettings, Unusable> {
        let find = |name: &str| self.settings.iter().find(|(known, ..)| known == name);
        let kept: Vec<_> = SETTINGS.iter().filter_map(|name| find(name)).collect();
        let given: Vec<_> = kept.iter().map(|(_, given, _)| given.clone()).collect();
        let set: Vec<_> = kept.iter().map(|(.., set)| set.clone()).collect();
        let both = settings_of(&given).zip(settings_of(&set));
        let bad = || ("table setting".to_owned(), "a value is missing or not known".to_owned());
        both.map(|(given, set)| KeptSettings { given, set }).ok_or_else(bad)
    }
}

impl Pair {
    fn of(row: &Row<'_>) -> rusqlite::Result<Pair> {
        Ok(Pair {
            owner: row.get(0)?,
            name: row.get(1)?,
            certificate: row.get(2)?,
            key: row.get(3)?,
        })
    }

    fn unusable(&self, cause: &impl ToString) -> Unusable {
        let on = if self.owner.is_empty() { "" } else { " on " };
        (format!("the key of {}{on}{}", self.name, self.owner), cause.to_string())
    }

    fn kind(&self) -> Result<CertificateKind, Unusable> {
        let kind = CERTIFICATES.into_iter().find(|known| known.name() == self.name);
        kind.ok_or_else(|| self.unusable(&"there is no such certificate"))
    }

    fn certificate(&self) -> Result<Certificate, Unusable> {
        Certificate::from_der(&self.certificate).map_err(|cause| self.unusable(&cause))
    }

    fn key_store(&self) -> Result<KeyStore, Unusable> {
        let text = std::str::from_utf8(&self.key).map_err(|cause| self.unusable(&cause))?;
        KeyStore::from_pem(text).map_err(|cause| self.unusable(&cause))
    }

    fn signing_key(&self) -> Result<SigningKey, Unusable> {
        self.key_store()?.signing_key().map_err(|cause| self.unusable(&cause))
    }

    fn identity(&self) -> Result<Identity, Unusable> {
        let (certificate, key) = (self.certificate()?, Arc::new(self.signing_key()?));
        if certificate.public_key() != key.public_key() {
            return Err(self.unusable(&"certificate and key do not belong together"));
        }
        Ok(Identity { certificate, key })
    }
}
