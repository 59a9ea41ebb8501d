use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::{PhoneId, Span, Time};
use crate::crypto::envelope::wrap_key;
use crate::crypto::{Certificate, KeySource, KeySpec, POOL, pooled_rsa};
use crate::wire::AuthMode;

use super::lsc_status::{LscCause, LscOperation, LscStatus};
use super::rollout_pace::{RolloutForecast, RolloutPace};

/// What the database knows of phones and their LSCs: written by the operator and by CAPF, while
/// services that run are immutable. Shared by all of them.
#[derive(Debug, Default)]
pub struct DeviceTable {
    phones: u32,
    /// Whether there ever was an operation or an LSC: most clusters ask for nothing else.
    is_used: AtomicBool,
    /// The date by which LSCs are judged that configurations are to be encrypted for, in Unix seconds.
    date_s: AtomicI64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By number; empty until there is anything to know.
    rows: Vec<Row>,
    /// How many phones have which status.
    statuses: BTreeMap<LscStatus, u64>,
    /// How many LSCs have which issuer.
    issuers: BTreeMap<IssuerId, u64>,
    /// How many LSCs end on which day since 1970.
    ends: BTreeMap<i64, u64>,
    pace: RolloutPace,
    marks: Marks,
    /// Phones that have found no place since they were asked to come again.
    waiting: u64,
    /// What is counted apart, once somebody has asked.
    divisions: Vec<Division>,
    /// How often the LSC of a phone has changed that somebody watches, and when last.
    watched: BTreeMap<PhoneId, (u64, Time)>,
    /// The ends of the CAPF certificates that are trusted.
    issuer_ends: BTreeMap<IssuerId, i64>,
}

/// An operation of one or many phones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LscJob {
    /// What is to be done.
    pub operation: LscOperation,
    /// How the phone is to prove who it is.
    pub mode: AuthMode,
    /// Which pair of keys it is to make.
    pub key: KeySpec,
    /// The authentication string, if the mode wants one.
    pub password: Option<String>,
    /// "Operation Completes By", in Unix seconds.
    pub completes_by_s: u64,
}

/// An LSC as the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedLsc {
    /// The certificate (DER), which phones may share in virtual time.
    pub der: Arc<[u8]>,
    /// Which CAPF certificate issued it.
    pub issuer: IssuerId,
    /// End of its validity, Unix seconds.
    pub not_after_s: i64,
    /// Whether a configuration can be encrypted for its key.
    pub wrap: WrapKey,
}

/// Whether a configuration can be encrypted for a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WrapKey {
    /// It cannot: no key wrap is defined for EC keys.
    #[default]
    None,
    /// For the RSA key with this number of the pool.
    Pooled(u8),
    /// For an RSA key of a phone that is not ours.
    Own,
}

impl WrapKey {
    fn of(certificate: &Certificate) -> WrapKey {
        let public_key = certificate.public_key();
        let pooled = (0..POOL).find(|&at| pooled_rsa(at).public_key() == public_key);
        if let Some(number) = pooled {
            return WrapKey::Pooled(number as u8);
        }
        let can = wrap_key(public_key, &[0; 16], &mut KeySource::bank(0)).is_some();
        if can { WrapKey::Own } else { WrapKey::None }
    }
}

/// Which certificate has issued an LSC: of the SHA-256 of its subject, which no two certificates of
/// CAPF share (CERT-10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IssuerId(pub u64);

impl IssuerId {
    /// The issuer with this name in CUCM's style.
    pub fn of(name: &str) -> IssuerId {
        let digest = crate::crypto::sha256(name.as_bytes());
        IssuerId(u64::from_be_bytes(digest[..8].try_into().expect("a digest has 32 bytes")))
    }
}

impl IssuedLsc {
    /// A certificate of a phone.
    pub fn new(certificate: &Certificate) -> IssuedLsc {
        IssuedLsc {
            der: certificate.shared_der(),
            issuer: IssuerId::of(certificate.issuer()),
            not_after_s: certificate.validity_s().1.unwrap_or(i64::MAX),
            wrap: WrapKey::of(certificate),
        }
    }
}

/// What the database knows of one phone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The operation that is pending or was the last.
    pub job: Option<Arc<LscJob>>,
    /// What has come of it.
    pub status: LscStatus,
    /// What the phone's configuration tells it to do.
    pub told: AuthMode,
    /// Its LSC.
    pub lsc: Option<IssuedLsc>,
    /// When CAPF has asked it to come again, if it was busy.
    pub appointment: Option<Time>,
    /// Whether it has found no place since CAPF asked it to come again.
    pub waits: bool,
}

/// Phones by what has become of their operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LscStates {
    /// "Operation Pending".
    pub pending: u64,
    /// Carried out.
    pub done: u64,
    /// Failed.
    pub failed: u64,
}

impl LscStates {
    /// The place of a status; phones without an operation are in none.
    const fn of(&mut self, status: LscStatus) -> Option<&mut u64> {
        match status {
            LscStatus::None => None,
            LscStatus::Pending => Some(&mut self.pending),
            LscStatus::Success(_) => Some(&mut self.done),
            LscStatus::Failed(..) => Some(&mut self.failed),
        }
    }
}

/// Phones in parts that are counted apart, such as sites.
#[derive(Clone, Debug, Default)]
pub struct Division {
    /// The part of each phone, by its number.
    parts: Box<[u8]>,
    states: Vec<LscStates>,
}

impl Division {
    /// Most parts of a division.
    pub const PARTS_MAX: usize = u8::MAX as usize + 1;

    /// So many phones in so many parts, of which this is each phone's.
    pub fn new(phones: u32, parts: usize, part_of: impl Fn(PhoneId) -> usize) -> Division {
        let last = parts.clamp(1, Division::PARTS_MAX) - 1;
        let part = |phone| part_of(PhoneId(phone)).min(last) as u8;
        Division {
            parts: (0..phones).map(part).collect(),
            states: vec![LscStates::default(); last + 1],
        }
    }

    fn of(&mut self, phone: PhoneId, status: LscStatus) -> Option<&mut u64> {
        self.states[usize::from(self.parts[phone.0 as usize])].of(status)
    }
}

/// Instants of a rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Marks {
    /// When the operation of the first phone was set.
    pub began: Option<Time>,
    /// When the last success was.
    pub last: Option<Time>,
    /// The forecast at the first success that was ten minutes after the first one, and when.
    pub early: Option<(Time, RolloutForecast)>,
}

/// All phones together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LscReport {
    /// How many phones have which status; those without any operation are not among them.
    pub statuses: BTreeMap<LscStatus, u64>,
    /// LSCs in the database.
    pub installed: u64,
    /// Those of them that the CAPF certificate of now has not issued (CAPF-09).
    pub stale: u64,
    /// Those whose time is over, on this date or a day before (EXP-07).
    pub expired: u64,
    /// How many end on which day since 1970 (EXP-06).
    pub ends: BTreeMap<i64, u64>,
    /// Instants.
    pub marks: Marks,
    /// When the rest will be done.
    pub forecast: Option<RolloutForecast>,
}

impl LscReport {
    /// Phones with this status.
    pub fn count(&self, status: LscStatus) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }

    /// Phones whose operation has failed.
    pub fn failed(&self) -> u64 {
        let failed = |(status, _): &(&LscStatus, _)| matches!(status, LscStatus::Failed(..));
        self.statuses.iter().filter(failed).map(|(_, count)| count).sum()
    }

    /// Phones whose operation was carried out.
    pub fn succeeded(&self) -> u64 {
        let done = |(status, _): &(&LscStatus, _)| matches!(status, LscStatus::Success(_));
        self.statuses.iter().filter(done).map(|(_, count)| count).sum()
    }
}

/// Seconds of a day.
const DAY_S: i64 = 86_400;
/// A forecast this long after the first success is kept, to be held against what came of it.
const EARLY: Span = Span::from_secs(600);

impl DeviceTable {
    /// The table of so many phones, of which nothing is known.
    pub fn new(phones: u32) -> DeviceTable {
        DeviceTable { phones, ..DeviceTable::default() }
    }

    /// A table as it was kept from an earlier run.
    pub fn kept(phones: u32, rows: Vec<(PhoneId, Row)>) -> DeviceTable {
        let table = DeviceTable::new(phones);
        if !rows.is_empty() {
            let mut inner = table.used();
            for (phone, row) in rows.into_iter().filter(|(phone, _)| phone.0 < phones) {
                inner.change(phone, |known| *known = row);
            }
        }
        table
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is whole before the lock is given back.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn used(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.lock();
        if inner.rows.is_empty() {
            inner.rows = vec![Row::default(); self.phones as usize];
        }
        self.is_used.store(true, Ordering::Release);
        inner
    }

    /// Whether there ever was an operation or an LSC.
    pub fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Acquire)
    }

    /// Changes of the LSC of this phone are counted from now on.
    pub fn watch(&self, phone: PhoneId) {
        self.lock().watched.entry(phone).or_default();
    }

    /// How often the LSC of a phone has changed since it is watched, and when last.
    pub fn changes(&self, phone: PhoneId) -> (u64, Time) {
        self.lock().watched.get(&phone).copied().unwrap_or_default()
    }

    /// Sets an operation for phones; `told` is what the configuration of each tells it.
    pub fn schedule(
        &self,
        phones: impl Iterator<Item = PhoneId>,
        job: &Arc<LscJob>,
        told: impl Fn(PhoneId) -> AuthMode,
        now: Time,
    ) {
        let mut inner = self.used();
        inner.marks.began.get_or_insert(now);
        for phone in phones.filter(|phone| phone.0 < self.phones) {
            inner.change(phone, |row| {
                row.job = Some(Arc::clone(job));
                row.status = LscStatus::Pending;
                (row.told, row.appointment, row.waits) = (told(phone), None, false);
            });
        }
    }

    /// Phones by the parts of each division, which is made when somebody asks first: the others
    /// have nothing to pay for it.
    pub fn divided(&self, divisions: impl FnOnce() -> Vec<Division>) -> Vec<Vec<LscStates>> {
        let inner = &mut *self.lock();
        if inner.divisions.is_empty() {
            inner.divisions = divisions();
            for (phone, row) in (0..).map(PhoneId).zip(&inner.rows) {
                let all = inner.divisions.iter_mut();
                all.filter_map(|one| one.of(phone, row.status)).for_each(|count| *count += 1);
            }
        }
        inner.divisions.iter().map(|one| one.states.clone()).collect()
    }

    /// A phone has found a place.
    pub(super) fn admitted(&self, phone: PhoneId) {
        self.used().change(phone, |row| row.waits = false);
    }

    /// Phones that have found no place since CAPF asked them to come again.
    pub fn waiting(&self) -> u64 {
        self.lock().waiting
    }

    /// What a phone's configuration tells it to do.
    pub fn told(&self, phone: PhoneId) -> AuthMode {
        if !self.is_used() {
            return AuthMode::None;
        }
        self.lock().rows.get(phone.0 as usize).map_or(AuthMode::None, |row| row.told)
    }

    /// It is this date now.
    pub(super) fn dated(&self, date_s: u64) {
        self.date_s.store(date_s.cast_signed(), Ordering::Relaxed);
    }

    /// These CAPF certificates are trusted from now on.
    pub(super) fn trusts<'a>(&self, capf: impl Iterator<Item = &'a Certificate>) {
        let end = |one: &Certificate| one.validity_s().1.unwrap_or(i64::MAX);
        self.lock().issuer_ends = capf.map(|one| (IssuerId::of(one.subject()), end(one))).collect();
    }

    /// The LSC of a phone that its configuration is encrypted for, if it has one with such a key, and
    /// whether it is good: a CAPF certificate that is trusted has issued it, and neither time is over.
    pub(super) fn wrapping(&self, phone: PhoneId) -> Option<(IssuedLsc, bool)> {
        let inner = self.lock();
        let lsc = inner.rows.get(phone.0 as usize)?.lsc.clone()?;
        let end = inner.issuer_ends.get(&lsc.issuer).copied().unwrap_or(i64::MIN);
        let is_good = lsc.not_after_s.min(end) >= self.date_s.load(Ordering::Relaxed);
        (lsc.wrap != WrapKey::None).then_some((lsc, is_good))
    }

    /// Who issued the LSC of a phone, if it has one.
    pub fn issuer(&self, phone: PhoneId) -> Option<IssuerId> {
        let inner = self.lock();
        Some(inner.rows.get(phone.0 as usize)?.lsc.as_ref()?.issuer)
    }

    /// The configurations of phones that are told anything tell them this mode from now on.
    pub fn tell(&self, phones: &[PhoneId], mode: AuthMode) {
        let mut inner = self.lock();
        for phone in phones {
            if let Some(row) = inner.rows.get_mut(phone.0 as usize)
                && row.told != AuthMode::None
            {
                row.told = mode;
            }
        }
    }

    /// What is known of a phone, if it is in the database.
    pub fn row(&self, phone: PhoneId) -> Option<Row> {
        if phone.0 >= self.phones {
            return None;
        }
        Some(self.lock().rows.get(phone.0 as usize).cloned().unwrap_or_default())
    }

    /// Everything that is known, in the order of the numbers of the phones.
    pub fn rows(&self) -> Vec<(PhoneId, Row)> {
        let inner = self.lock();
        let rows = (0..).map(PhoneId).zip(inner.rows.iter().cloned());
        rows.filter(|(_, row)| *row != Row::default()).collect()
    }

    /// The operation of a phone has failed; its configuration goes on telling it, until somebody
    /// sets another operation.
    pub fn fail(&self, phone: PhoneId, cause: LscCause) {
        self.used().change(phone, |row| {
            if let Some(job) = &row.job {
                row.status = LscStatus::Failed(job.operation, cause);
            }
            row.waits = false;
        });
    }

    /// A phone has stored this LSC.
    pub fn stored(&self, phone: PhoneId, lsc: IssuedLsc, now: Time) {
        self.succeed(phone, now, |row| row.lsc = Some(lsc));
    }

    /// A phone has deleted its LSC.
    pub fn deleted(&self, phone: PhoneId, now: Time) {
        self.succeed(phone, now, |row| row.lsc = None);
    }

    /// A phone has shown its LSC: the database has what the phone has.
    pub fn fetched(&self, phone: PhoneId, lsc: IssuedLsc, now: Time) {
        self.succeed(phone, now, |row| row.lsc = Some(lsc));
    }

    fn succeed(&self, phone: PhoneId, now: Time, change: impl FnOnce(&mut Row)) {
        let mut inner = self.used();
        inner.change(phone, |row| {
            change(row);
            if let Some(job) = &row.job {
                row.status = LscStatus::Success(job.operation);
            }
            (row.told, row.appointment, row.waits) = (AuthMode::None, None, false);
        });
        if let Some((count, last)) = inner.watched.get_mut(&phone) {
            (*count, *last) = (*count + 1, now);
        }
        inner.pace.done(now);
        let left = inner.pending();
        let Marks { began, early, .. } = inner.marks;
        if early.is_none() && began.is_some_and(|began| now.since(began) >= EARLY) {
            let forecast = inner.pace.forecast(now, left);
            inner.marks.early = forecast.map(|forecast| (now, forecast));
        }
        inner.marks.last = Some(now);
    }

    /// CAPF asks a phone to come again then, unless it was asked to come at another time that has
    /// not come yet: that time then.
    pub fn appoint(&self, phone: PhoneId, now: Time, free: impl FnOnce() -> Time) -> Time {
        let mut inner = self.used();
        let Some(row) = inner.rows.get(phone.0 as usize) else { return now };
        let kept = row.appointment.filter(|&at| at > now);
        let at = kept.unwrap_or_else(free);
        inner.change(phone, |row| (row.appointment, row.waits) = (Some(at), true));
        at
    }

    /// Phones whose operation is pending.
    pub fn pending(&self) -> u64 {
        self.lock().pending()
    }

    /// All phones together at `now`, where this certificate of CAPF issues LSCs.
    pub fn report(&self, capf: Option<IssuerId>, now: Time, date_s: u64) -> LscReport {
        let inner = self.lock();
        let installed = inner.issuers.values().sum();
        let fresh = capf.and_then(|capf| inner.issuers.get(&capf)).copied().unwrap_or(0);
        LscReport {
            statuses: inner.statuses.clone(),
            installed,
            stale: installed - fresh,
            expired: inner.ends.range(..date_s.cast_signed() / DAY_S).map(|(_, count)| count).sum(),
            ends: inner.ends.clone(),
            marks: inner.marks,
            forecast: inner.pace.forecast(now, inner.pending()),
        }
    }
}

impl Inner {
    fn pending(&self) -> u64 {
        self.statuses.get(&LscStatus::Pending).copied().unwrap_or(0)
    }

    /// Changes a row and what is counted of all.
    fn change(&mut self, phone: PhoneId, change: impl FnOnce(&mut Row)) {
        let Some(row) = self.rows.get_mut(phone.0 as usize) else { return };
        let of = |row: &Row| {
            let lsc = row.lsc.as_ref();
            let day = |lsc: &IssuedLsc| lsc.not_after_s / DAY_S;
            (row.status, lsc.map(|lsc| lsc.issuer), lsc.map(day), u64::from(row.waits))
        };
        let before = of(row);
        change(row);
        let after = of(row);
        self.waiting = self.waiting + after.3 - before.3;
        if (before.0, before.1, before.2) == (after.0, after.1, after.2) {
            return;
        }
        count(&mut self.statuses, Some(before.0).filter(|&one| one != LscStatus::None), -1);
        count(&mut self.statuses, Some(after.0).filter(|&one| one != LscStatus::None), 1);
        count(&mut self.issuers, before.1, -1);
        count(&mut self.issuers, after.1, 1);
        count(&mut self.ends, before.2, -1);
        count(&mut self.ends, after.2, 1);
        for division in &mut self.divisions {
            division.of(phone, before.0).into_iter().for_each(|count| *count -= 1);
            division.of(phone, after.0).into_iter().for_each(|count| *count += 1);
        }
    }
}

/// One more or one less of a kind; none is no entry.
fn count<K: Ord>(counts: &mut BTreeMap<K, u64>, kind: Option<K>, by: i64) {
    let Some(kind) = kind else { return };
    let number = counts.entry(kind).or_default();
    *number = number.saturating_add_signed(by);
    counts.retain(|_, number| *number > 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(operation: LscOperation) -> Arc<LscJob> {
        let (mode, key) = (AuthMode::NullString, KeySpec::Ec(256));
        Arc::new(LscJob { operation, mode, key, password: None, completes_by_s: 9 })
    }

    fn lsc(issuer: &str) -> IssuedLsc {
        let (issuer, wrap) = (IssuerId::of(issuer), WrapKey::None);
        IssuedLsc { der: Arc::from([1, 2]), issuer, not_after_s: 5, wrap }
    }

    fn all(table: &DeviceTable, job: &Arc<LscJob>) {
        let phones = (0..4).map(PhoneId);
        table.schedule(phones, job, |_| AuthMode::NullString, Time::ZERO);
    }

    #[test]
    fn an_operation_is_pending_until_it_is_done_or_has_failed() {
        let table = DeviceTable::new(3);
        assert!(!table.is_used() && table.rows().is_empty());
        assert_eq!((table.told(PhoneId(1)), table.row(PhoneId(3))), (AuthMode::None, None));
        all(&table, &job(LscOperation::Install));
        assert_eq!((table.pending(), table.told(PhoneId(1))), (3, AuthMode::NullString));
        table.stored(PhoneId(0), lsc("old"), Time::ZERO);
        table.fail(PhoneId(1), LscCause::Late);
        let told = [0, 1, 2].map(|phone| table.told(PhoneId(phone)));
        assert_eq!(told, [AuthMode::None, AuthMode::NullString, AuthMode::NullString]);
        let report = table.report(Some(IssuerId::of("new")), Time::ZERO, 0);
        let late = LscStatus::Failed(LscOperation::Install, LscCause::Late);
        assert_eq!((report.succeeded(), report.failed(), report.count(late)), (1, 1, 1));
        assert_eq!((report.installed, report.stale, report.count(LscStatus::Pending)), (1, 1, 1));
        all(&table, &job(LscOperation::Delete));
        table.deleted(PhoneId(0), Time::ZERO);
        let report = table.report(None, Time::ZERO, 3 * 86_400);
        assert_eq!((report.installed, report.stale, report.count(LscStatus::Pending)), (0, 0, 2));
        assert_eq!(table.row(PhoneId(0)).unwrap().lsc, None);
    }

    #[test]
    fn what_was_kept_is_known_again() {
        let table = DeviceTable::new(3);
        all(&table, &job(LscOperation::Install));
        table.stored(PhoneId(2), lsc("capf"), Time::ZERO);
        let again = DeviceTable::kept(3, table.rows());
        assert_eq!(again.rows(), table.rows());
        let fresh = Some(IssuerId::of("capf"));
        let reports = [&table, &again].map(|table| table.report(fresh, Time::ZERO, 2 * 86_400));
        assert_eq!((reports[1].installed, reports[1].stale, reports[1].expired), (1, 0, 1));
        assert_eq!(reports[0].statuses, reports[1].statuses);
        assert_eq!(DeviceTable::kept(1, table.rows()).rows().len(), 1, "a smaller fleet");
    }

    #[test]
    fn phones_are_counted_by_the_parts_of_a_division_from_when_somebody_asks() {
        let table = DeviceTable::new(4);
        all(&table, &job(LscOperation::Install));
        table.stored(PhoneId(0), lsc("capf"), Time::ZERO);
        let divide = || vec![Division::new(4, 2, |phone| phone.0 as usize / 2)];
        let states = |pending, done, failed| LscStates { pending, done, failed };
        assert_eq!(table.divided(divide), [[states(1, 1, 0), states(2, 0, 0)]]);
        table.fail(PhoneId(2), LscCause::Late);
        table.stored(PhoneId(3), lsc("capf"), Time::ZERO);
        assert_eq!(table.divided(Vec::new), [[states(1, 1, 0), states(0, 1, 1)]], "made once");
    }

    #[test]
    fn a_phone_waits_from_when_it_is_asked_to_come_again_until_it_finds_a_place() {
        let table = DeviceTable::new(4);
        all(&table, &job(LscOperation::Install));
        for phone in [0, 1, 1, 2] {
            table.appoint(PhoneId(phone), Time::ZERO, || Time::ZERO + Span::from_secs(9));
        }
        assert_eq!(table.waiting(), 3);
        table.admitted(PhoneId(1));
        table.fail(PhoneId(2), LscCause::Late);
        assert_eq!(table.waiting(), 1);
        all(&table, &job(LscOperation::Delete));
        assert_eq!(table.waiting(), 0);
    }

    #[test]
    fn a_phone_keeps_its_appointment_until_it_is_over() {
        let table = DeviceTable::new(2);
        let at = |seconds| Time::ZERO + Span::from_secs(seconds);
        assert_eq!(table.appoint(PhoneId(0), at(0), || at(50)), at(50));
        assert_eq!(table.appoint(PhoneId(0), at(10), || at(90)), at(50), "the same");
        assert_eq!(table.appoint(PhoneId(0), at(50), || at(90)), at(90), "over");
        assert_eq!(table.appoint(PhoneId(7), at(50), || at(90)), at(50), "nobody");
    }
}
