use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::{Calendar, DeviceName, PhoneId, Span, Time};
use crate::cluster::capf_counts::{CapfCounts, SessionStage};
use crate::cluster::capf_settings::CapfSettings;
use crate::cluster::catalogue::FleetSpec;
use crate::cluster::devices::{DeviceTable, IssuedLsc, LscJob};
use crate::cluster::lsc_status::{LscCause, LscOperation, LscStatus};
use crate::crypto::proof::{ProofHash, device_proof_input, sudi_proof_input, verify_proof};
use crate::crypto::{
    Certificate, DeviceSpec, Identity, KeyKind, KeySpec, issue_to_device, sha256_of,
};
use crate::wire::capf::{Command, HashedProof, Message, Sudi, reason, tag, wrap_certificate};
use crate::wire::{AuthMode, WireError};

use super::capf_line::Line;
use super::capf_places::{Place, Places};
use super::dialogue::{Answering, Conversation, Peer, Said};

/// CAPF from one start to the next: a CA for the phones of the cluster (`spec/capf.md`).
#[derive(Debug)]
pub(in crate::cluster) struct Capf {
    /// What it presents.
    issuer: Identity,
    /// Signs LSCs: CAPF itself, or a CA in its place (CAPF-32).
    signer: Identity,
    /// CAPF-trust when it started: who may have issued what phones show.
    trusted: Vec<Certificate>,
    fleet: FleetSpec,
    /// Devices whose names are none of the fleet's.
    others: BTreeMap<String, PhoneId>,
    devices: Arc<DeviceTable>,
    calendar: Arc<Calendar>,
    counts: Arc<CapfCounts>,
    settings: CapfSettings,
    /// Certificates that stand for those of many phones, by key and hour; in virtual time only.
    stand_ins: Option<Mutex<StandIns>>,
    line: Mutex<Line>,
    next_session: AtomicU32,
    places: Arc<Places>,
    /// Operations that have failed by `CSCub62243`.
    broken: AtomicU32,
    /// It has stopped answering (`CSCub62243`).
    is_frozen: AtomicBool,
}

/// Certificates that stand for many, by the SHA-256 of their key and the hour from which they last.
type StandIns = BTreeMap<([u8; 32], u64), Certificate>;

/// What CAPF needs of its cluster when it starts.
#[derive(Debug)]
pub(in crate::cluster) struct CapfSetup {
    /// Who signs LSCs; nothing: CAPF itself.
    pub signer: Option<Identity>,
    pub trusted: Vec<Certificate>,
    pub fleet: FleetSpec,
    pub devices: Arc<DeviceTable>,
    pub calendar: Arc<Calendar>,
    pub counts: Arc<CapfCounts>,
    pub settings: CapfSettings,
    /// Whether one certificate stands for those of many phones.
    pub has_stand_ins: bool,
}

/// With `CSCub62243` every so many installations fail.
const BROKEN_EVERY: u32 = 40;
/// After so many of them it freezes.
const BROKEN_MAX: u32 = 5;

impl Capf {
    pub(in crate::cluster) fn new(issuer: Identity, setup: CapfSetup) -> Capf {
        let CapfSetup {
            signer,
            trusted,
            fleet,
            devices,
            calendar,
            counts,
            settings,
            has_stand_ins,
        } = setup;
        counts.restarted();
        Capf {
            signer: signer.unwrap_or_else(|| issuer.clone()),
            issuer,
            trusted,
            fleet,
            others: BTreeMap::new(),
            devices,
            calendar,
            counts,
            line: Mutex::new(Line::new(settings.sessions, settings.retry_delay)),
            settings,
            stand_ins: has_stand_ins.then(Mutex::default),
            next_session: AtomicU32::new(1),
            places: Arc::default(),
            broken: AtomicU32::new(0),
            is_frozen: AtomicBool::new(false),
        }
    }

    fn phone(&self, device_name: &str) -> Option<PhoneId> {
        let of_fleet = || device_name.parse::<DeviceName>().ok()?.phone();
        let found = self.others.get(device_name).copied().or_else(of_fleet)?;
        (found.0 < self.fleet.phones).then_some(found)
    }

    /// The certificate for a phone's new key; nothing if the key cannot stand in one, or if CAPF's
    /// own time is over (CERT-21).
    fn issue(&self, who: &Device, public_key_info: &[u8], now: Time) -> Option<Certificate> {
        let date_s = self.calendar.date_s(now);
        let are_valid = [&self.issuer, &self.signer].map(|one| one.certificate.is_valid_at(date_s));
        if are_valid.contains(&false) {
            return None;
        }
        let Some(stand_ins) = &self.stand_ins else {
            return self.sign(who, public_key_info, date_s);
        };
        let hour_s = date_s - date_s % 3_600;
        let key = (sha256_of(&[public_key_info]), hour_s);
        let mut stand_ins = stand_ins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = stand_ins.get(&key) {
            return Some(known.clone());
        }
        let made = self.sign(who, public_key_info, hour_s)?;
        stand_ins.insert(key, made.clone());
        Some(made)
    }

    fn sign(&self, who: &Device, public_key_info: &[u8], from_s: u64) -> Option<Certificate> {
        let model = self.fleet.model(who.phone);
        let own = self.issuer.certificate.sha256();
        let digest =
            sha256_of(&[&own, who.name.as_bytes(), public_key_info, &from_s.to_be_bytes()]);
        let mut serial: [u8; 16] = digest[..16].try_into().expect("a digest has 32 bytes");
        serial[0] = 0x40 | (serial[0] & 0x3F);
        let spec = DeviceSpec {
            common_name: &format!("CP-{}-{}", model.short(), who.name),
            device_name: &who.name,
            public_key_info,
            serial,
            not_before_s: from_s,
            valid_s: u64::from(self.settings.valid_days) * 86_400,
        };
        issue_to_device(&spec, &self.signer).ok()
    }

    /// Whether `CSCub62243` strikes now.
    fn breaks(&self) -> bool {
        if !self.settings.is_flaky {
            return false;
        }
        let count = self.broken.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_multiple_of(BROKEN_EVERY) {
            if count / BROKEN_EVERY >= BROKEN_MAX {
                self.is_frozen.store(true, Ordering::Relaxed);
            }
            return true;
        }
        false
    }

    fn is_frozen(&self) -> bool {
        self.is_frozen.load(Ordering::Relaxed)
    }
}

impl Answering for Capf {
    fn open(self: Arc<Self>, _: &Peer) -> Box<dyn Conversation> {
        let id = self.next_session.fetch_add(1, Ordering::Relaxed);
        let counted = self.counts.opened();
        Box::new(Session { id, stage: Stage::Authentication, counted, place: None, capf: self })
    }
}

/// A connection to CAPF.
#[derive(Debug)]
struct Session {
    capf: Arc<Capf>,
    id: u32,
    stage: Stage,
    counted: SessionStage,
    place: Option<Place>,
}

/// Who is at the other end.
#[derive(Clone, Debug)]
struct Device {
    phone: PhoneId,
    name: String,
    /// Protocol version 2: no key type is said.
    is_old: bool,
}

/// What is awaited.
#[derive(Debug)]
enum Stage {
    Authentication,
    Key { who: Device, job: Arc<LscJob>, since: Time },
    Stored { who: Device, lsc: IssuedLsc },
    Fetched { who: Device },
    Deleted { who: Device },
    Over,
}

/// Questions that are counted apart, in the order of `wire/dialogue.rs`.
mod question {
    pub const AUTHENTICATE: usize = 0;
    pub const GENERATE: usize = 1;
    pub const STORE: usize = 2;
    pub const FETCH: usize = 3;
    pub const DELETE: usize = 4;
}

impl Conversation for Session {
    fn begin(&mut self, now: Time) -> Said {
        if self.capf.is_frozen() {
            return Said::silence();
        }
        let _ = now;
        let greeting = Message::new(Command::AuthRequest, self.id).with(tag::VERSION, &[3]);
        let greeting = if self.capf.settings.greets_with_type {
            greeting.with(tag::AUTH_TYPE, &[0])
        } else {
            greeting
        };
        Said::reply(greeting.encode(), question::AUTHENTICATE)
    }

    fn on(&mut self, message: &[u8], now: Time) -> Result<Said, WireError> {
        if self.capf.is_frozen() {
            return Ok(Said::silence());
        }
        let message = match Message::parse(message) {
            Ok(message) if message.session_id == self.id => message,
            _ => return Ok(self.broken_off()),
        };
        self.capf.counts.progress();
        self.place.iter().for_each(|place| place.heard(now));
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        let said = match (stage, message.command) {
            (Stage::Authentication, Command::AuthResponse) => self.authenticate(&message, now),
            (Stage::Key { who, job, since }, Command::RequestInProgress) => {
                self.wait_on(who, job, since, now)
            }
            (Stage::Key { who, job, since }, Command::KeyGenerateResponse) => {
                self.certify(who, &job, since, &message, now)
            }
            (Stage::Stored { who, lsc }, Command::StoreCertificateResponse) => {
                self.finish_store(&who, lsc, &message, now)
            }
            (Stage::Fetched { who }, Command::FetchCertificateResponse) => {
                self.finish_fetch(&who, &message, now)
            }
            (Stage::Deleted { who }, Command::DeleteCertificateResponse) => {
                // What is absent is deleted, too.
                self.capf.devices.deleted(who.phone, now);
                self.end(reason::DONE, question::DELETE)
            }
            (stage, _) => {
                self.stage = stage;
                self.broken_off()
            }
        };
        self.counted.is(self.stage.word());
        Ok(said)
    }

    fn stays(&self) -> bool {
        // Who has not said a name has nothing to do that takes long.
        !matches!(self.stage, Stage::Authentication)
    }

    fn signs(&self, message: &[u8]) -> bool {
        let is_key = message.get(1) == Some(&(Command::KeyGenerateResponse as u8));
        matches!(self.stage, Stage::Key { .. }) && is_key
    }

    fn signed(&mut self, length: Span) {
        self.capf.counts.signed(length);
    }
}

impl Stage {
    /// Its name among the stages that are counted.
    const fn word(&self) -> usize {
        match self {
            Stage::Authentication => 0,
            Stage::Key { .. } => 1,
            Stage::Stored { .. } => 2,
            Stage::Fetched { .. } | Stage::Deleted { .. } => 3,
            Stage::Over => 4,
        }
    }
}

impl Session {
    fn say(&self, command: Command) -> Message<'static> {
        Message::new(command, self.id)
    }

    /// The end, and why.
    fn end(&mut self, reason: u8, question: usize) -> Said {
        self.stage = Stage::Over;
        self.place = None;
        let reply = self.say(Command::EndSession).with(tag::REASON, &[reason]).encode();
        Said { reply, question, ends: true }
    }

    /// What came is no message, of another session or out of turn.
    fn broken_off(&mut self) -> Said {
        // Anybody may have said so: the operation of the phone stays pending.
        self.capf.counts.malformed();
        self.end(reason::REFUSED, question::AUTHENTICATE)
    }

    fn refuse(&mut self, phone: PhoneId, cause: LscCause, question: usize) -> Said {
        self.capf.devices.fail(phone, cause);
        self.end(reason::REFUSED, question)
    }

    /// Not a word: the phone takes it for a failed connection, and its operation stays pending
    /// (S-14, CAPF-21).
    fn hang_up(&mut self) -> Said {
        self.stage = Stage::Over;
        self.place = None;
        Said { reply: Vec::new(), question: question::AUTHENTICATE, ends: true }
    }

    fn authenticate(&mut self, message: &Message<'_>, now: Time) -> Said {
        const QUESTION: usize = question::AUTHENTICATE;
        let Ok(Some(name)) = message.device_name() else { return self.broken_off() };
        let capf = Arc::clone(&self.capf);
        let found = capf.phone(name).and_then(|phone| Some((phone, capf.devices.row(phone)?)));
        let Some((phone, row)) = found else { return self.end(reason::UNKNOWN_DEVICE, QUESTION) };
        let is_old = message.find(tag::VERSION).is_some_and(|version| version.value < &[3][..]);
        let job = match row.job {
            Some(job) if row.status == LscStatus::Pending => job,
            // A soft client is told more sternly (seen on the wire).
            _ if is_old => return self.end(reason::REFUSED, QUESTION),
            _ => return self.end(reason::NO_ACTION, QUESTION),
        };
        if capf.calendar.date_s(now) > job.completes_by_s {
            return self.refuse(phone, LscCause::Late, QUESTION);
        }
        let Some(place) = self.take_place(now) else { return self.postpone(phone, now) };
        self.place = Some(place);
        capf.devices.admitted(phone);
        if row.told != job.mode {
            return self.hang_up();
        }
        let who = Device { phone, name: name.to_owned(), is_old };
        match capf.judge(&who, &job, message, self.id, now) {
            Verdict::Good => self.operate(who, &job, now),
            Verdict::Bad(cause) => self.refuse(phone, cause, QUESTION),
            Verdict::Mismatch => self.hang_up(),
        }
    }

    fn take_place(&self, now: Time) -> Option<Place> {
        let CapfSettings { sessions, silence, .. } = self.capf.settings;
        self.capf.places.take(self.id, now, sessions, silence)
    }

    /// All places are taken: the phone is to come again.
    fn postpone(&mut self, phone: PhoneId, now: Time) -> Said {
        let capf = &self.capf;
        capf.counts.postponed();
        let (waiting, line) = (capf.devices.pending(), &capf.line);
        let at = capf.devices.appoint(phone, now, || {
            line.lock().unwrap_or_else(PoisonError::into_inner).next(now, waiting)
        });
        let seconds = at.since(now).as_nanos().div_ceil(1_000_000_000).max(1);
        let seconds = u16::try_from(seconds).unwrap_or(u16::MAX);
        self.stage = Stage::Over;
        let retry = self.say(Command::RetryLater);
        let reply = retry.with(tag::RETRY_DELAY, &seconds.to_be_bytes()).encode();
        Said { reply, question: question::AUTHENTICATE, ends: true }
    }

    fn operate(&mut self, who: Device, job: &Arc<LscJob>, now: Time) -> Said {
        match job.operation {
            LscOperation::Install => {
                let reply = self.key_request(job.key, who.is_old);
                self.stage = Stage::Key { who, job: Arc::clone(job), since: now };
                Said::reply(reply, question::AUTHENTICATE)
            }
            LscOperation::Fetch => {
                self.stage = Stage::Fetched { who };
                let reply = self.say(Command::FetchCertificateRequest).encode();
                Said::reply(reply, question::AUTHENTICATE)
            }
            LscOperation::Delete => {
                self.stage = Stage::Deleted { who };
                let reply = self.say(Command::DeleteCertificateRequest).encode();
                Said::reply(reply, question::AUTHENTICATE)
            }
        }
    }

    fn key_request(&self, key: KeySpec, is_old: bool) -> Vec<u8> {
        let request = self.say(Command::KeyGenerateRequest);
        match key {
            KeySpec::Rsa(bits) if is_old => {
                request.with(tag::KEY_SIZE, &bits.to_be_bytes()).encode()
            }
            KeySpec::Rsa(bits) => {
                request.with(tag::KEY_SIZE, &bits.to_be_bytes()).with(tag::KEY_TYPE, &[0]).encode()
            }
            KeySpec::Ec(bits) => {
                let curve = match bits {
                    256 => 0,
                    384 => 1,
                    _ => 2,
                };
                request.with(tag::KEY_TYPE, &[1]).with(tag::CURVE, &[curve]).encode()
            }
        }
    }

    /// The phone needs time.
    fn wait_on(&mut self, who: Device, job: Arc<LscJob>, since: Time, now: Time) -> Said {
        if now.since(since) > self.capf.settings.key_deadline {
            let phone = who.phone;
            return self.refuse(phone, LscCause::KeyGenerationTimeout, question::GENERATE);
        }
        self.stage = Stage::Key { who, job, since };
        Said::silence()
    }

    /// The phone has made a key, or has not.
    fn certify(
        &mut self,
        who: Device,
        job: &LscJob,
        since: Time,
        message: &Message<'_>,
        now: Time,
    ) -> Said {
        const QUESTION: usize = question::GENERATE;
        let capf = Arc::clone(&self.capf);
        let phone = who.phone;
        if now.since(since) > capf.settings.key_deadline {
            return self.refuse(phone, LscCause::KeyGenerationTimeout, QUESTION);
        }
        let key = message.find(tag::PUBLIC_KEY).map(|element| element.value);
        let Some(key) = key.filter(|_| message.reason().is_none_or(|why| why == reason::DONE))
        else {
            return self.refuse(phone, LscCause::KeyGeneration, QUESTION);
        };
        capf.counts.key_made(now.since(since));
        if capf.breaks() {
            return self.refuse(phone, LscCause::Untold, QUESTION);
        }
        let certificate = capf.issue(&who, key, now);
        let kind = certificate.as_ref().and_then(|made| KeyKind::of(made.public_key()));
        let fits = match (kind, job.key) {
            (Some(KeyKind::Rsa(made)), KeySpec::Rsa(asked))
            | (Some(KeyKind::Ec(made)), KeySpec::Ec(asked)) => made == asked,
            (None, _) => return self.refuse(phone, LscCause::Untold, QUESTION),
            _ => false,
        };
        let Some(certificate) = certificate.filter(|_| fits) else {
            return self.refuse(phone, LscCause::KeyGeneration, QUESTION);
        };
        capf.counts.issued();
        let wrapped = wrap_certificate(certificate.der());
        let store = self.say(Command::StoreCertificateRequest).with(tag::CERTIFICATE_TYPE, &[1]);
        let reply = store.with(tag::CERTIFICATE, &wrapped).encode();
        self.stage = Stage::Stored { who, lsc: IssuedLsc::new(&certificate) };
        Said::reply(reply, QUESTION)
    }

    /// Only what the phone has stored is a success.
    fn finish_store(
        &mut self,
        who: &Device,
        lsc: IssuedLsc,
        message: &Message<'_>,
        now: Time,
    ) -> Said {
        const QUESTION: usize = question::STORE;
        if message.reason() != Some(reason::DONE) {
            return self.refuse(who.phone, LscCause::Untold, QUESTION);
        }
        if let Some(place) = &self.place {
            let mut line = self.capf.line.lock().unwrap_or_else(PoisonError::into_inner);
            line.took(now.since(place.since));
        }
        self.capf.devices.stored(who.phone, lsc, now);
        self.end(reason::DONE, QUESTION)
    }

    fn finish_fetch(&mut self, who: &Device, message: &Message<'_>, now: Time) -> Said {
        const QUESTION: usize = question::FETCH;
        let shown = message.certificate().ok().flatten();
        let shown = shown.and_then(|der| Certificate::from_der(der).ok());
        match shown.filter(|_| message.reason() == Some(reason::DONE)) {
            Some(shown) => self.capf.devices.fetched(who.phone, IssuedLsc::new(&shown), now),
            None => self.capf.devices.fail(who.phone, LscCause::Untold),
        }
        self.end(reason::NO_ACTION, QUESTION)
    }
}

/// What a phone's proof is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    Bad(LscCause),
    /// The operation wants another proof than the phone can give.
    Mismatch,
}

impl Capf {
    /// Whether a phone is who it says.
    fn judge(
        &self,
        who: &Device,
        job: &LscJob,
        message: &Message<'_>,
        session_id: u32,
        now: Time,
    ) -> Verdict {
        match job.mode {
            AuthMode::None | AuthMode::NullString => Verdict::Good,
            AuthMode::String => {
                let said = message.find(tag::PASSWORD).and_then(|element| element.text().ok());
                let is_right = said.is_some() && said == job.password.as_deref();
                if is_right { Verdict::Good } else { Verdict::Bad(LscCause::InvalidString) }
            }
            AuthMode::Lsc | AuthMode::Mic => {
                let Ok(Some(der)) = message.certificate() else {
                    return Verdict::Bad(LscCause::InvalidCredentials);
                };
                let Ok(shown) = Certificate::from_der(der) else {
                    return Verdict::Bad(LscCause::InvalidCredentials);
                };
                // Names of CAPF certificates are of one form (CERT-10).
                let is_lsc = self.is_of_capf(&shown);
                if job.mode == AuthMode::Lsc && !is_lsc && self.is_trusted(&shown, now) {
                    return Verdict::Mismatch;
                }
                let invalid = if is_lsc { LscCause::InvalidLsc } else { LscCause::InvalidMic };
                if !self.is_trusted(&shown, now) || !shown.names_device(&who.name) {
                    return Verdict::Bad(invalid);
                }
                if has_good_proofs(&shown, &who.name, message, session_id) {
                    Verdict::Good
                } else {
                    Verdict::Bad(LscCause::InvalidCredentials)
                }
            }
        }
    }

    fn is_of_capf(&self, shown: &Certificate) -> bool {
        let is_it = |issuer: &Certificate| {
            issuer.common_name().starts_with("CAPF-") && shown.was_issued_by(issuer)
        };
        is_it(&self.issuer.certificate)
            || shown.was_issued_by(&self.issuer.certificate)
            || shown.was_issued_by(&self.signer.certificate)
            || self.trusted.iter().any(is_it)
    }

    /// Whether an issuer that CAPF knows, old ones included, has signed it, and both are in time
    /// (CERT-10, CAPF-10).
    fn is_trusted(&self, shown: &Certificate, now: Time) -> bool {
        let date_s = self.calendar.date_s(now);
        let is_good =
            |issuer: &&Certificate| shown.is_signed_by(issuer) && issuer.is_valid_at(date_s);
        let own = [&self.issuer.certificate, &self.signer.certificate].into_iter();
        shown.is_valid_at(date_s) && own.chain(&self.trusted).any(|issuer| is_good(&issuer))
    }
}

/// Both proofs of what is shown, and those of the MIC if they came.
fn has_good_proofs(
    shown: &Certificate,
    device_name: &str,
    message: &Message<'_>,
    session_id: u32,
) -> bool {
    let (Some(sha1), Some(sha2)) =
        (message.find(tag::SIGNED_DATA), message.find(tag::SHA2_SIGNED_DATA))
    else {
        return false;
    };
    let Ok(sha2) = HashedProof::parse(sha2) else { return false };
    let input = device_proof_input(device_name, shown.der());
    let key = shown.public_key();
    let is_proven = sha2.hash == 3
        && verify_proof(key, ProofHash::Sha1, &input, sha1.value).is_ok()
        && verify_proof(key, ProofHash::Sha512, &input, sha2.proof).is_ok();
    is_proven
        && message.find(tag::SUDI_DATA).is_none_or(|element| {
            Sudi::parse(element).is_ok_and(|sudi| is_good_sudi(&sudi, session_id))
        })
}

fn is_good_sudi(sudi: &Sudi<'_>, session_id: u32) -> bool {
    let Ok(mic) = Certificate::from_der(sudi.certificate) else { return false };
    let input = sudi_proof_input(session_id, sudi.certificate);
    let check = |hash, proof| verify_proof(mic.public_key(), hash, &input, proof).is_ok();
    // EC keys have no proof of this kind.
    !matches!(KeyKind::of(mic.public_key()), Some(KeyKind::Rsa(_)))
        || (check(ProofHash::Sha1, sudi.sha1_proof) && check(ProofHash::Sha512, sudi.sha512_proof))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::base::Span;
    use crate::crypto::{KeyStore, pooled_key};

    /// 1 December 2026: the vectors are of that autumn.
    const EPOCH_S: u64 = 1_796_083_200;
    const PHONE: PhoneId = PhoneId(3);

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
    }

    fn keys(name: &str) -> (Certificate, Option<crate::crypto::SigningKey>) {
        let pem = std::fs::read_to_string(folder().join("keys").join(name)).unwrap();
        let store = KeyStore::from_pem(&pem).unwrap();
        (store.first_certificate().unwrap().clone(), store.signing_key().ok())
    }

    fn capf(settings: CapfSettings, names: &[&str]) -> Arc<Capf> {
        let (certificate, key) = keys("capf.pem");
        let fleet =
            FleetSpec { phones: 8, models: vec![(8861.into(), 1.0)], ..FleetSpec::default() };
        let setup = CapfSetup {
            signer: None,
            trusted: vec![keys("mfgca.pem").0],
            fleet,
            devices: Arc::new(DeviceTable::new(8)),
            calendar: Arc::new(Calendar::new(EPOCH_S)),
            counts: Arc::default(),
            settings,
            has_stand_ins: false,
        };
        let mut capf = Capf::new(Identity { certificate, key: key.unwrap().into() }, setup);
        capf.others = names.iter().map(|name| ((*name).to_owned(), PHONE)).collect();
        Arc::new(capf)
    }

    fn job(mode: AuthMode, operation: LscOperation, key: KeySpec) -> Arc<LscJob> {
        let password = Some("123456".to_owned());
        Arc::new(LscJob { operation, mode, key, password, completes_by_s: EPOCH_S + 3_600 })
    }

    fn schedule(capf: &Capf, job: &Arc<LscJob>) {
        capf.devices.schedule([PHONE].into_iter(), job, |_| job.mode, Time::ZERO);
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    /// The messages of a session of the vectors, in order, with their directions.
    fn session(name: &str) -> Vec<(bool, Vec<u8>)> {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(folder().join("capf").join(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        let read = |path: &PathBuf| {
            let is_ours = path.to_string_lossy().contains("_s2c_");
            (is_ours, std::fs::read(path).unwrap())
        };
        paths.iter().map(read).collect()
    }

    /// The answers of `capf` to a session are those of the vectors, but for the certificate.
    fn replay(name: &str, capf: &Arc<Capf>) {
        let messages = session(name);
        let id = Message::parse(&messages[0].1).unwrap().session_id;
        capf.next_session.store(id, Ordering::Relaxed);
        let mut conversation = Arc::clone(capf).open(&Peer::default());
        let mut said = conversation.begin(at(1)).reply;
        for (at_message, (is_ours, bytes)) in messages.iter().enumerate() {
            if !is_ours {
                said = conversation.on(bytes, at(2)).unwrap().reply;
                continue;
            }
            let [ours, theirs] = [&said, bytes].map(|bytes| Message::parse(bytes).unwrap());
            if ours.command == Command::StoreCertificateRequest {
                assert_eq!(theirs.command, ours.command, "{name} {at_message}");
                let issued = ours.certificate().unwrap().unwrap();
                let issued = Certificate::from_der(issued).unwrap();
                assert!(issued.is_signed_by(&capf.issuer.certificate), "{name}");
                let theirs = Certificate::from_der(theirs.certificate().unwrap().unwrap()).unwrap();
                assert_eq!(issued.public_key(), theirs.public_key(), "{name}");
                assert_eq!(issued.issuer(), theirs.issuer(), "{name}");
            } else {
                assert_eq!(&said, bytes, "{name} {at_message}: {ours:?}");
            }
        }
    }

    const NAMES: [&str; 2] = ["SEP001122334455", "CSF123"];

    #[test]
    fn transcripts_of_a_real_pair_are_answered_as_its_server_did() {
        use AuthMode::{Lsc, Mic, NullString, String};
        use LscOperation::{Delete, Fetch, Install};
        const RSA: KeySpec = KeySpec::Rsa(2_048);
        let sessions = [
            ("install-rsa2048", NullString, Install, RSA, true),
            ("install-rsa1024", NullString, Install, KeySpec::Rsa(1_024), true),
            ("install-ec256", NullString, Install, KeySpec::Ec(256), true),
            ("install-ec384", NullString, Install, KeySpec::Ec(384), true),
            ("install-keygen-fails", NullString, Install, RSA, false),
            ("install-password-ok", String, Install, RSA, true),
            ("install-password-wrong", String, Install, RSA, false),
            ("install-password-missing", String, Install, RSA, false),
            ("certauth-lsc-rsa", Lsc, Install, RSA, true),
            ("certauth-lsc-rsa-mic-sudi", Lsc, Install, RSA, true),
            ("certauth-lsc-ec-mic-sudi", Lsc, Install, KeySpec::Ec(256), true),
            ("certauth-mic-only", Mic, Install, RSA, true),
            ("certauth-bad-signed-data", Lsc, Install, RSA, false),
            ("certauth-unknown-issuer", Lsc, Install, RSA, false),
            ("fetch-present", NullString, Fetch, RSA, true),
            ("fetch-absent", NullString, Fetch, RSA, false),
            ("delete-present", NullString, Delete, RSA, true),
            ("delete-absent", NullString, Delete, RSA, true),
        ];
        for (name, mode, operation, key, succeeds) in sessions {
            let mut capf = capf(CapfSettings::default(), &NAMES);
            if name == "certauth-unknown-issuer" {
                // Its client shows a MIC, and its server knows no manufacturer.
                Arc::get_mut(&mut capf).unwrap().trusted.clear();
            }
            let mut job = LscJob::clone(&job(mode, operation, key));
            job.password = Some(password());
            schedule(&capf, &Arc::new(job));
            replay(name, &capf);
            let status = capf.devices.row(PHONE).unwrap().status;
            assert_eq!(status == LscStatus::Success(operation), succeeds, "{name}: {status}");
            assert_ne!(status, LscStatus::Pending, "{name}");
        }
    }

    /// The authentication string of the vectors.
    fn password() -> String {
        let messages = session("install-password-ok");
        let message = Message::parse(&messages[1].1).unwrap();
        message.find(tag::PASSWORD).unwrap().text().unwrap().to_owned()
    }

    #[test]
    fn transcripts_without_an_operation_and_of_soft_clients_are_answered_alike() {
        replay("no-operation", &capf(CapfSettings::default(), &NAMES));
        replay("unknown-device", &capf(CapfSettings::default(), &[]));
        let soft = CapfSettings { greets_with_type: false, ..CapfSettings::default() };
        replay("v2-jabber-already-issued", &capf(soft, &NAMES));
        let installs = capf(soft, &NAMES);
        let rsa = KeySpec::Rsa(2_048);
        schedule(&installs, &job(AuthMode::NullString, LscOperation::Install, rsa));
        replay("v2-jabber-install", &installs);
        let retry_delay = Some(Span::from_secs(30));
        let busy = capf(CapfSettings { sessions: 0, retry_delay, ..soft }, &NAMES);
        schedule(&busy, &job(AuthMode::NullString, LscOperation::Install, rsa));
        replay("retry-later", &busy);
        assert_eq!(busy.devices.row(PHONE).unwrap().status, LscStatus::Pending);
        assert_eq!(busy.counts.tally().postponed, 1);
    }

    /// A client that does what it is told, as one may want to change it.
    struct Client {
        conversation: Box<dyn Conversation>,
        id: u32,
    }

    impl Client {
        fn new(capf: &Arc<Capf>) -> Client {
            let mut conversation = Arc::clone(capf).open(&Peer::default());
            let greeting = conversation.begin(at(0)).reply;
            let id = Message::parse(&greeting).unwrap().session_id;
            Client { conversation, id }
        }

        fn say(&mut self, message: &Message<'_>, now: Time) -> Said {
            self.conversation.on(&message.encode(), now).unwrap()
        }

        fn introduce(&mut self, name: &[u8]) -> Said {
            let message = Message::new(Command::AuthResponse, self.id)
                .with(tag::REASON, &[1])
                .with(tag::VERSION, &[3])
                .with(tag::DEVICE_NAME, name);
            self.say(&message, at(1))
        }
    }

    fn command(said: &Said) -> (Command, Option<u8>, bool) {
        let message = Message::parse(&said.reply).unwrap();
        (message.command, message.reason(), said.ends)
    }

    fn ready(settings: CapfSettings) -> Arc<Capf> {
        let capf = capf(settings, &NAMES);
        schedule(&capf, &job(AuthMode::NullString, LscOperation::Install, KeySpec::Ec(256)));
        capf
    }

    const NAME: &[u8] = b"SEP001122334455\0";
    const REFUSED: (Command, Option<u8>, bool) = (Command::EndSession, Some(reason::REFUSED), true);

    #[test]
    fn only_what_the_phone_has_stored_is_a_success() {
        let capf = ready(CapfSettings::default());
        let key = pooled_key(KeySpec::Ec(256), 0).unwrap().public_key_info();
        for (stored, status) in [
            (None, LscStatus::Pending),
            (Some(7), LscStatus::Failed(LscOperation::Install, LscCause::Untold)),
            (Some(1), LscStatus::Success(LscOperation::Install)),
        ] {
            schedule(&capf, &job(AuthMode::NullString, LscOperation::Install, KeySpec::Ec(256)));
            let mut client = Client::new(&capf);
            assert_eq!(command(&client.introduce(NAME)).0, Command::KeyGenerateRequest);
            let answer = Message::new(Command::KeyGenerateResponse, client.id);
            let answer = answer.with(tag::PUBLIC_KEY, &key);
            assert!(client.conversation.signs(&answer.encode()));
            let said = client.say(&answer, at(2));
            assert_eq!(command(&said).0, Command::StoreCertificateRequest);
            assert_eq!(capf.devices.row(PHONE).unwrap().status, LscStatus::Pending);
            if let Some(reason) = stored {
                let done = [reason];
                let answer = Message::new(Command::StoreCertificateResponse, client.id);
                client.say(&answer.with(tag::REASON, &done), at(3));
            }
            drop(client);
            assert_eq!(capf.devices.row(PHONE).unwrap().status, status);
        }
        assert_eq!(capf.places.taken(), 0, "every place is free again");
        assert_eq!(capf.counts.tally().open, [0; 5]);
    }

    #[test]
    fn an_operation_that_is_late_or_takes_too_long_fails_with_its_text() {
        let capf = ready(CapfSettings::default());
        let mut client = Client::new(&capf);
        client.introduce(NAME);
        let answer =
            Message::new(Command::KeyGenerateResponse, client.id).with(tag::PUBLIC_KEY, &[1]);
        assert_eq!(command(&client.say(&answer, at(1_900))), REFUSED);
        let status = capf.devices.row(PHONE).unwrap().status.to_string();
        assert_eq!(status, "Upgrade Failed: Key Generation Timeout");
        schedule(&capf, &job(AuthMode::NullString, LscOperation::Install, KeySpec::Ec(256)));
        capf.calendar.skip(Span::from_secs(7_200));
        assert_eq!(command(&Client::new(&capf).introduce(NAME)), REFUSED);
        let status = capf.devices.row(PHONE).unwrap().status.to_string();
        assert_eq!(status, "Upgrade Failed: User Initiated Request Late/Timedout");
        let nothing = (Command::EndSession, Some(reason::NO_ACTION), true);
        assert_eq!(command(&Client::new(&capf).introduce(NAME)), nothing, "it is over");
    }

    #[test]
    fn a_phone_that_proves_itself_otherwise_is_told_nothing_and_its_operation_stays() {
        let capf = capf(CapfSettings::default(), &NAMES);
        let wanted = job(AuthMode::NullString, LscOperation::Install, KeySpec::Ec(256));
        capf.devices.schedule([PHONE].into_iter(), &wanted, |_| AuthMode::Lsc, Time::ZERO);
        let said = Client::new(&capf).introduce(NAME);
        assert_eq!((said.reply.len(), said.ends), (0, true));
        assert_eq!(capf.devices.row(PHONE).unwrap().status, LscStatus::Pending);
    }

    #[test]
    fn whoever_breaks_the_rules_costs_the_phone_that_he_names_nothing() {
        let capf = ready(CapfSettings::default());
        let key = pooled_key(KeySpec::Ec(256), 0).unwrap().public_key_info();
        let other_key = pooled_key(KeySpec::Rsa(2_048), 0).unwrap().public_key_info();
        // Garbage, another session, a message out of turn, and one that goes the other way.
        let id = |client: &Client| client.id;
        let breaks: [fn(&mut Client) -> Vec<u8>; 4] = [
            |_| b"garbage that is no message".to_vec(),
            |client| Message::new(Command::RequestInProgress, client.id + 1).encode(),
            |client| Message::new(Command::StoreCertificateResponse, client.id).encode(),
            |client| Message::new(Command::EndSession, client.id).encode(),
        ];
        for bytes in breaks {
            for introduced in [false, true] {
                let mut client = Client::new(&capf);
                if introduced {
                    client.introduce(NAME);
                }
                let bytes = bytes(&mut client);
                let said = client.conversation.on(&bytes, at(2)).unwrap();
                assert_eq!(command(&said), REFUSED);
                let again = client.conversation.on(&bytes, at(2)).unwrap();
                assert!(again.ends, "nothing goes on");
            }
        }
        assert_eq!(capf.devices.row(PHONE).unwrap().status, LscStatus::Pending);
        // A key of another kind than was asked for is the phone's own fault.
        let mut client = Client::new(&capf);
        client.introduce(NAME);
        let answer = Message::new(Command::KeyGenerateResponse, id(&client));
        assert_eq!(command(&client.say(&answer.with(tag::PUBLIC_KEY, &other_key), at(2))), REFUSED);
        let status = capf.devices.row(PHONE).unwrap().status.to_string();
        assert_eq!(status, "Upgrade Failed: Key Generation Failed");
        // A recorded session is worth nothing in another one.
        schedule(&capf, &job(AuthMode::NullString, LscOperation::Install, KeySpec::Ec(256)));
        let mut first = Client::new(&capf);
        let replayed = Message::new(Command::KeyGenerateResponse, first.id);
        let replayed = replayed.with(tag::PUBLIC_KEY, &key).encode();
        first.introduce(NAME);
        drop(first);
        let mut second = Client::new(&capf);
        second.introduce(NAME);
        assert_eq!(command(&second.conversation.on(&replayed, at(2)).unwrap()), REFUSED);
        assert_eq!(capf.devices.row(PHONE).unwrap().status, LscStatus::Pending);
        assert_eq!(capf.places.taken(), 0);
    }

    #[test]
    fn a_capf_whose_time_is_over_issues_nothing() {
        let capf = ready(CapfSettings::default());
        let key = pooled_key(KeySpec::Ec(256), 0).unwrap().public_key_info();
        let who = Device { phone: PHONE, name: "SEP001122334455".into(), is_old: false };
        assert!(capf.issue(&who, &key, at(0)).is_some());
        capf.calendar.skip(Span::from_secs(20 * 365 * 86_400));
        assert!(capf.issue(&who, &key, at(0)).is_none());
    }

    #[test]
    fn an_lsc_with_a_changed_byte_of_another_phone_or_of_an_expired_issuer_proves_nothing() {
        let (lsc, key) = keys("lsc.pem");
        let key = crate::crypto::DeviceKey::Rsa(key.unwrap().into());
        let judge = |der: &[u8], name: &str, late: u64| {
            let capf = capf(CapfSettings::default(), &NAMES);
            capf.calendar.skip(Span::from_secs(late));
            let input = device_proof_input(name, der);
            let sha512 = key.prove(ProofHash::Sha512, &input);
            let (wrapped, sha1) = (wrap_certificate(der), key.prove(ProofHash::Sha1, &input));
            let sha512 = HashedProof { hash: 3, proof: &sha512 }.encode();
            let message = Message::new(Command::AuthResponse, 1)
                .with(tag::CERTIFICATE, &wrapped)
                .with(tag::SIGNED_DATA, &sha1)
                .with(tag::SHA2_SIGNED_DATA, &sha512);
            let bytes = message.encode();
            let who = Device { phone: PHONE, name: name.into(), is_old: false };
            let job = job(AuthMode::Lsc, LscOperation::Install, KeySpec::Ec(256));
            capf.judge(&who, &job, &Message::parse(&bytes).unwrap(), 1, at(0))
        };
        assert_eq!(judge(lsc.der(), "SEP001122334455", 0), Verdict::Good);
        let invalid = Verdict::Bad(LscCause::InvalidLsc);
        assert_eq!(judge(lsc.der(), "SEP001122334456", 0), invalid, "of another phone");
        assert_eq!(judge(lsc.der(), "SEP001122334455", 20 * 365 * 86_400), invalid, "expired");
        let mut changed = lsc.der().to_vec();
        let last = changed.len() - 9;
        changed[last] ^= 1;
        assert_eq!(judge(&changed, "SEP001122334455", 0), invalid, "changed");
    }

    #[test]
    fn with_its_defect_capf_fails_now_and_then_and_freezes() {
        let capf = ready(CapfSettings { is_flaky: true, ..CapfSettings::default() });
        let key = pooled_key(KeySpec::Ec(256), 0).unwrap().public_key_info();
        let mut failed = 0;
        for _ in 0..BROKEN_EVERY * BROKEN_MAX {
            assert!(!capf.is_frozen());
            schedule(&capf, &job(AuthMode::NullString, LscOperation::Install, KeySpec::Ec(256)));
            let mut client = Client::new(&capf);
            client.introduce(NAME);
            let answer = Message::new(Command::KeyGenerateResponse, client.id);
            let said = client.say(&answer.with(tag::PUBLIC_KEY, &key), at(2));
            failed += u32::from(command(&said) == REFUSED);
        }
        assert_eq!((failed, capf.is_frozen()), (BROKEN_MAX, true));
        assert!(!capf.counts.is_stalled(1), "nobody knows yet");
        for _ in 0..200 {
            let said = Arc::clone(&capf).open(&Peer::default()).begin(at(3));
            assert_eq!((said.reply.len(), said.ends), (0, false), "silence");
        }
        assert!(capf.counts.is_stalled(1) && !capf.counts.is_stalled(0));
    }
}
