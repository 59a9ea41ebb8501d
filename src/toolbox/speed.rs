//! How fast this machine signs, verifies and shakes hands, as `openssl speed` tells it.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1,
    ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    EcdsaVerificationAlgorithm, KeyPair, UnparsedPublicKey,
};
use serde::Serialize;
use tokio_rustls::rustls::{ClientConnection, ServerConnection, pki_types::ServerName};

use crate::base::PhoneId;
use crate::cluster::{
    CacheKey, Claim, Cluster, FleetSpec, Genesis, SignCache, SignCacheMode, Stored, TftpService,
    Topology, UploadedFiles, Waiter,
};
use crate::crypto::{CertificateSpec, Identity, KeySource, Provider, SigningKey, verify_signature};
use crate::net::TlsClients;
use crate::net::tls_server::server_config;
use crate::wire::{DIGEST_SHA1, DIGEST_SHA512, FileName, Seal};

/// One thing that was done over and over.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SpeedRow {
    /// What was done: `sign`, `verify`, `handshake`, `cache` or `file`.
    pub what: &'static str,
    /// With which key and digest, or how.
    pub with: String,
    /// Times that it was done.
    pub count: u64,
    /// CPU seconds that all of it took.
    pub seconds: f64,
}

impl SpeedRow {
    /// How often in a second, on one core.
    pub fn per_second(&self) -> f64 {
        self.count as f64 / self.seconds
    }
}

/// About the size of a configuration.
const FILE_BYTES: usize = 8_192;

/// Key sizes of RSA in bits; 1024 is that of old manufacturing certificates.
const RSA_BITS: [u16; 4] = [1_024, 2_048, 3_072, 4_096];

/// A thing whose speed is told, ready to be done over and over.
pub struct SpeedWork {
    /// What is done, as in [`SpeedRow::what`].
    pub what: &'static str,
    /// With which key and digest, or how.
    pub with: String,
    once: Box<dyn FnMut()>,
}

impl SpeedWork {
    fn new(what: &'static str, with: impl Into<String>, once: impl FnMut() + 'static) -> SpeedWork {
        SpeedWork { what, with: with.into(), once: Box::new(once) }
    }

    /// Does it once.
    pub fn once(&mut self) {
        (self.once)();
    }

    /// Does it again and again for about `each`.
    fn measured(mut self, each: Duration) -> SpeedRow {
        // The first one may read a key.
        self.once();
        let (begun, before, mut count, mut batch) = (Instant::now(), cpu(), 0, 1);
        loop {
            (0..batch).for_each(|_| self.once());
            count += batch;
            let elapsed = begun.elapsed();
            if elapsed >= each {
                // What other programs take of the core is none of its work.
                let spent = cpu()
                    .zip(before)
                    .and_then(|(now, before)| now.checked_sub(before))
                    .unwrap_or(elapsed);
                let SpeedWork { what, with, .. } = self;
                return SpeedRow { what, with, count, seconds: spent.as_secs_f64() };
            }
            // The clock is looked at about a hundred times.
            batch = if elapsed < each / 100 { batch * 2 } else { batch };
        }
    }
}

/// Measures everything, each thing for about `each`, and tells `said` of each as it is done.
pub fn speed(
    each: Duration,
    topology: &Topology,
    mut said: impl FnMut(&SpeedRow),
) -> Vec<SpeedRow> {
    let measured = |work: SpeedWork| {
        let row = work.measured(each);
        said(&row);
        row
    };
    speed_works(topology).into_iter().map(measured).collect()
}

/// All that [`speed`] measures, in the order in which it is told.
pub fn speed_works(topology: &Topology) -> Vec<SpeedWork> {
    let file: Arc<[u8]> = Arc::from(vec![0x5a; FILE_BYTES]);
    let mut source = KeySource::bank(1);
    let mut works = Vec::new();
    for bits in RSA_BITS {
        let key = Arc::new(source.signing_key(bits));
        for (name, digest) in [("sha1", DIGEST_SHA1), ("sha512", DIGEST_SHA512)] {
            works.extend(rsa_works(&format!("rsa {bits} {name}"), &key, digest, &file));
        }
    }
    let p256 = (&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P256_SHA256_ASN1);
    let p384 = (&ECDSA_P384_SHA384_ASN1_SIGNING, &ECDSA_P384_SHA384_ASN1);
    for (name, algorithms) in [("ecdsa p256 sha256", p256), ("ecdsa p384 sha384", p384)] {
        works.extend(ec_works(name, algorithms, &file));
    }
    for bits in [2_048, 4_096] {
        let spec =
            CertificateSpec { common_name: "pub", not_before_s: 1_700_000_000, key_bits: bits };
        works.push(handshake(bits, &Identity::self_signed(&spec, &mut source)));
    }
    works.extend(cache());
    works.extend(whole_files(topology));
    works
}

/// CPU time of this thread; `None` where the system does not tell.
fn cpu() -> Option<Duration> {
    let spent = nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).ok()?;
    Some(Duration::from(spent))
}

/// A signature of a file and its check, with the name of key and digest.
pub fn rsa_works(
    with: &str,
    key: &Arc<SigningKey>,
    digest: u8,
    file: &Arc<[u8]>,
) -> Vec<SpeedWork> {
    let Ok(signature) = key.sign(digest, file) else { return Vec::new() };
    let (own, signed, public) = (Arc::clone(key), Arc::clone(file), key.public_key().to_vec());
    let sign = move || drop(black_box(own.sign(digest, black_box(&signed))));
    let file = Arc::clone(file);
    let verify = move || {
        let verdict = verify_signature(&public, digest, black_box(&file), &signature);
        assert!(verdict.is_ok(), "a signature of our own is right");
    };
    vec![SpeedWork::new("sign", with, sign), SpeedWork::new("verify", with, verify)]
}

fn ec_works(
    with: &str,
    (signs, verifies): (&'static EcdsaSigningAlgorithm, &'static EcdsaVerificationAlgorithm),
    file: &Arc<[u8]>,
) -> Vec<SpeedWork> {
    let random = SystemRandom::new();
    let Ok(pkcs8) = EcdsaKeyPair::generate_pkcs8(signs, &random) else { return Vec::new() };
    let Ok(pair) = EcdsaKeyPair::from_pkcs8(signs, pkcs8.as_ref(), &random) else {
        return Vec::new();
    };
    let Ok(signature) = pair.sign(&random, file) else { return Vec::new() };
    let public = UnparsedPublicKey::new(verifies, pair.public_key().as_ref().to_vec());
    let (signed, file) = (Arc::clone(file), Arc::clone(file));
    let sign = move || {
        let _ = black_box(pair.sign(&random, black_box(&signed)));
    };
    let verify = move || {
        let verdict = public.verify(black_box(&file), signature.as_ref());
        assert!(verdict.is_ok(), "a signature of our own is right");
    };
    vec![SpeedWork::new("sign", with, sign), SpeedWork::new("verify", with, verify)]
}

/// Both sides of a TLS handshake in memory, as one of TVS: no session is resumed.
fn handshake(bits: u16, identity: &Identity) -> SpeedWork {
    let server = server_config(identity).expect("an identity of our own is fit for TLS");
    let clients = TlsClients::default();
    let name = ServerName::try_from("pub").expect("it is a name");
    SpeedWork::new("handshake", format!("tls, rsa {bits}, both sides"), move || {
        let (client, _) = clients.config(Box::new(|_| true));
        let mut client = ClientConnection::new(client, name.clone()).expect("it is our own");
        let mut server = ServerConnection::new(Arc::clone(&server)).expect("it is our own");
        while client.is_handshaking() || server.is_handshaking() {
            carry(&mut client, &mut server).expect("memory carries everything");
        }
    })
}

/// Carries what both sides have to say to the other one.
fn carry(client: &mut ClientConnection, server: &mut ServerConnection) -> io::Result<()> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes)?;
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        server.read_tls(&mut rest)?;
        server.process_new_packets().map_err(io::Error::other)?;
    }
    let mut bytes = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut bytes)?;
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        client.read_tls(&mut rest)?;
        client.process_new_packets().map_err(io::Error::other)?;
    }
    Ok(())
}

/// Signatures in the cache that is hit, and misses until it begins anew.
const CACHED: u64 = 10_000;

/// The cache of signatures: one that is there, and one that is not and is brought.
fn cache() -> Vec<SpeedWork> {
    let header: Arc<[u8]> = Arc::from(vec![0x5a; 512]);
    let key = |content: u64| CacheKey { content: u128::from(content), signer: 7 };
    let full = SignCache::new(SignCacheMode::Lazy);
    for content in 0..CACHED {
        full.complete(key(content), &header);
    }
    let mut at = 0;
    let hit = move || {
        at = (at + 7_919) % CACHED;
        black_box(full.claim(key(at), Waiter(1)));
    };
    let (mut filling, mut next) = (SignCache::new(SignCacheMode::Lazy), 0);
    let miss = move || {
        if next == CACHED {
            (filling, next) = (SignCache::new(SignCacheMode::Lazy), 0);
        }
        next += 1;
        assert_eq!(filling.claim(key(next), Waiter(1)), Claim::Sign);
        black_box(filling.complete(key(next), &header));
    };
    vec![
        SpeedWork::new("cache", "hit of 10 000", hit),
        SpeedWork::new("cache", "miss, then brought", miss),
    ]
}

/// A configuration as TFTP serves it: rendered, with its header, signed or out of the cache.
fn whole_files(topology: &Topology) -> Vec<SpeedWork> {
    let of = |mode: SignCacheMode, with: &str| {
        let service = file_service(topology, mode, 1)?;
        let phone = crate::base::DeviceName::of_phone(PhoneId(0));
        let name = FileName::Config(Some(phone), Seal::Signed);
        Some(SpeedWork::new("file", with, move || drop(black_box(service.whole(name)))))
    };
    [of(SignCacheMode::Off, "signed each time"), of(SignCacheMode::Lazy, "out of the cache")]
        .into_iter()
        .flatten()
        .collect()
}

/// The first TFTP service of a new cluster with so many phones.
pub fn file_service(
    topology: &Topology,
    mode: SignCacheMode,
    phones: u32,
) -> Option<Arc<TftpService>> {
    let topology = Topology { sign_cache: mode, ..topology.clone() };
    let fleet = FleetSpec {
        phones,
        models: vec![(8_841.into(), 1.0)],
        seed: 1,
        loads: BTreeMap::new(),
        profiles: Vec::new(),
        uploaded: UploadedFiles::default(),
    };
    let source = KeySource::bank(1);
    let genesis =
        Genesis { topology, fleet, source, epoch_s: 1_800_000_000, stored: Stored::default() };
    let cluster = Cluster::new(genesis);
    let node = cluster.topology().ids().find(|&node| cluster.tftp(node).is_some())?;
    cluster.tftp(node).cloned()
}

/// The rows as `openssl speed` prints them: time of one and how many a second on one core.
pub fn speed_table(rows: &[SpeedRow]) -> String {
    let mut out = format!("provider {} · one core\n", Provider::chosen());
    out += &format!("{:<11}{:<34}{:>12}{:>14}\n", "", "", "one", "a second");
    for row in rows {
        let one = crate::base::words::seconds(Some(1.0 / row.per_second()));
        let line = format!("{:<11}{:<34}{one:>12}{:>14.1}\n", row.what, row.with, row.per_second());
        out += &line;
    }
    out
}
