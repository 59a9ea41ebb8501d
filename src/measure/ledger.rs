use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::base::{PhoneId, Time};
use crate::phone::{
    AcceptPath, Button, CertificatePath, Fact, Failure, FileKind, LscEnd, LscFact, Outcome,
    PressEnd, PressFault, Refusal, Transport, TvsFault, Unreached,
};
use crate::transfer::TransferFault;
use crate::wire::tvs::Command;

use super::finish::Finish;
use super::generator::{GeneratorCounts, SILENCE_MIN, Silence};
use super::incident::{Incident, Listen, Notice, StepEnd, StepKind};
use super::metrics::{
    Counts, HttpCounts, LscCounts, NodeRegistrations, Phones, PressCounts, PressEnds,
    PressesByButton, TrustPaths, TvsCounts,
};
use super::phones::{PhoneRecord, PhoneRecords, Registration, Slice, Symptoms};
use super::row::{Join, join};
use super::times::Times;

/// What was heard of some phones, counted. Plain numbers and histograms: hearing costs
/// nanoseconds and takes no lock. Ledgers of other phones are merged without loss.
#[derive(Clone, Debug)]
pub struct Ledger {
    counts: Counts,
    in_flight: BTreeMap<StepKind, u64>,
    steps: [StepRecord; StepKind::ALL.len()],
    lag: Times,
    generator: GeneratorCounts,
    phones: PhoneRecords,
    /// Start of the storm: its first reset, or the start of the run.
    storm: Time,
    /// Phones in a boot.
    booting: u64,
    /// Phones whose registration is under way.
    registering: u64,
    /// What a server said with a fault, first of its kind.
    remarks: BTreeMap<TransferFault, Box<str>>,
    /// By phone: the last attempt of its present boot that brought no answer, and the step it was
    /// made for. Beside the phones' records, because few of a million phones have one.
    silences: BTreeMap<PhoneId, (StepKind, Silence)>,
    /// ITLs at the end of the run.
    itls: Vec<ItlChecksum>,
    /// Presses by the server that was asked.
    servers: BTreeMap<IpAddr, PressEnds>,
    /// Registrations by the node that was asked.
    registrars: BTreeMap<IpAddr, NodeRegistrations>,
}

/// An ITL at the end of a run, by its checksum.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ItlChecksum {
    /// MD5 of the whole file, hexadecimal; `null` stands for phones that hold none.
    pub checksum: Option<String>,
    /// Phones that hold it.
    pub phones: u64,
    /// TFTP nodes that serve it.
    pub served_by: Vec<String>,
    /// Issuer and serial number of each TVS certificate in it (TOOL-04).
    pub tvs: Vec<String>,
}

/// Times and results of one step.
#[derive(Clone, Debug, Default)]
pub struct StepRecord {
    /// Ended with what was asked for.
    pub ok: u64,
    /// Ended with the answer that there is no such file.
    pub not_found: u64,
    /// Boots that ended stuck.
    pub stuck: u64,
    /// Sent again, or asked another server.
    pub retry: u64,
    /// Ended without an answer.
    pub failed: u64,
    /// From the actual start.
    pub service: Times,
    /// From the planned start.
    pub response: Times,
}

/// Servers of pages, and nodes that register, that are told apart at most (choice: nodes of a cluster).
const SERVERS_MAX: usize = 64;
/// Faults of which a remark is kept (choice): a server may send any of 65,536 error codes.
const REMARKS_MAX: usize = 16;

impl Join for StepRecord {
    fn join(&mut self, other: &StepRecord) {
        join!(self, other; ok, not_found, stuck, retry, failed, service, response);
    }
}

impl Ledger {
    /// A ledger of these phones.
    pub fn new(slice: Slice) -> Ledger {
        Ledger::of(PhoneRecords::new(slice), Time::ZERO)
    }

    fn of(phones: PhoneRecords, storm: Time) -> Ledger {
        Ledger {
            counts: Counts::default(),
            in_flight: BTreeMap::new(),
            steps: Default::default(),
            lag: Times::default(),
            generator: GeneratorCounts::default(),
            phones,
            storm,
            booting: 0,
            registering: 0,
            remarks: BTreeMap::new(),
            silences: BTreeMap::new(),
            itls: Vec::new(),
            servers: BTreeMap::new(),
            registrars: BTreeMap::new(),
        }
    }

    fn begin_boot(&mut self, phone: PhoneId, planned: Time) {
        let record = self.phones.of_mut(phone);
        (record.planned, record.outcome) = (planned, None);
        record.symptoms = Symptoms::default();
        let before = std::mem::take(&mut record.registration);
        self.registering -= u64::from(before.is_busy());
        self.booting += u64::from(!record.booting);
        record.booting = true;
        record.boots_before = record.boots_before.saturating_sub(1);
        self.silences.remove(&phone);
    }

    fn fact(&mut self, phone: PhoneId, now: Time, fact: Fact) {
        let counts = &mut self.counts;
        match fact {
            Fact::BootStarted => counts.phones.boots += 1,
            Fact::FileAccepted { kind, path } => counts.accepted(kind, path),
            // Nobody doubts its signature: no alarm, and no refusal of a signer.
            Fact::FileRefused { refusal: Refusal::Unreadable, .. } => {
                counts.config.unreadable += 1;
                self.phones.of_mut(phone).symptoms.config_frozen = true;
            }
            Fact::FileRefused { kind, .. } => {
                counts.files(kind).refused += 1;
                let record = self.phones.of_mut(phone);
                match kind {
                    FileKind::Ctl | FileKind::Itl => {
                        (record.list_alarm, record.symptoms.list_failed) = (true, true);
                    }
                    FileKind::Config => {
                        (record.config_alarm, record.symptoms.failed) = (true, true);
                        record.symptoms.config_frozen = true;
                    }
                    FileKind::Locale | FileKind::RingList => {}
                }
            }
            Fact::TvsCacheHit => counts.tvs.cache_hits += 1,
            Fact::NameFromCache => counts.tvs.names_from_cache += 1,
            Fact::TvsCacheMiss => counts.tvs.cache_misses += 1,
            Fact::TvsAnswered { command, is_found } => {
                counts.tvs.answered(command);
                counts.tvs.not_found += u64::from(!is_found);
                counts.presses.lookups += u64::from(command == Command::VerifyResponse);
            }
            Fact::TvsAttemptFailed { fault } => counts.tvs.not_answered(fault),
            Fact::TvsFailover => {
                counts.tvs.failovers += 1;
                self.step_mut(StepKind::TVS).retry += 1;
            }
            Fact::TftpFailover => counts.tftp.failovers += 1,
            Fact::LoadTaken => counts.firmware.taken += 1,
            Fact::Lsc(fact) => counts.lsc.hear(fact),
            Fact::Settled { outcome } => self.settle(phone, now, outcome),
            Fact::TransportFellBack { from: Transport::Https, .. } => counts.https.fallbacks += 1,
            Fact::TransportFellBack { .. } => counts.http.fallbacks += 1,
            Fact::Pressed { button, end, server } => self.pressed(phone, button, end, server),
            Fact::Unexpected => counts.unexpected += 1,
            Fact::Registering
            | Fact::Registered { .. }
            | Fact::RegistrationFailed { .. }
            | Fact::RegistrationFull { .. }
            | Fact::RegistrationRefreshed { .. }
            | Fact::RegistrationFailover { .. }
            | Fact::RegistrationLost { .. }
            | Fact::FallbackDue
            | Fact::FellBack { .. }
            | Fact::FallbackFailed
            | Fact::Unregistered { .. } => self.registration(phone, now, fact),
        }
    }

    fn pressed(&mut self, phone: PhoneId, button: Button, end: PressEnd, server: Option<IpAddr>) {
        let counts = &mut self.counts.presses;
        counts.total += 1;
        let is_shown = match end {
            PressEnd::Busy => return counts.busy += 1,
            PressEnd::Cancelled => return counts.cancelled += 1,
            PressEnd::Shown(path) => {
                *counts.by_path(path) += 1;
                true
            }
            PressEnd::Failed(fault) => {
                *counts.by_fault(fault) += 1;
                false
            }
        };
        let lost = matches!(end, PressEnd::Failed(fault) if fault.is_of_trust());
        self.phones.of_mut(phone).symptoms.services_lost = lost;
        let ended = PressEnds { shown: u64::from(is_shown), failed: u64::from(!is_shown) };
        (counts.shown, counts.failed) = (counts.shown + ended.shown, counts.failed + ended.failed);
        self.counts.buttons.of(button).join(&ended);
        if let Some(server) = server {
            let is_known = self.servers.contains_key(&server);
            if is_known || self.servers.len() < SERVERS_MAX {
                self.servers.entry(server).or_default().join(&ended);
            }
        }
    }

    fn registration(&mut self, phone: PhoneId, now: Time, fact: Fact) {
        self.registered_at_node(fact);
        let counts = &mut self.counts.registration;
        let record = self.phones.of_mut(phone);
        let before = record.registration;
        let ended = StepKind::of_registration(fact, record.planned, now);
        match fact {
            Fact::Registering => record.registration = Registration::UnderWay,
            Fact::Registered { member, server, .. } => {
                counts.accepted += 1;
                counts.by_later += u64::from(member > 0);
                record.registration = Registration::Since(before.since().unwrap_or(now));
                record.registrar = Some(server);
            }
            Fact::RegistrationFailed { cause, .. } => counts.failed(cause),
            Fact::RegistrationFull { .. } => counts.full += 1,
            Fact::RegistrationRefreshed { .. } => counts.refreshed += 1,
            Fact::RegistrationFailover { .. } => counts.failovers += 1,
            Fact::RegistrationLost { .. } => {
                counts.lost += 1;
                record.registration = Registration::UnderWay;
            }
            Fact::FallbackDue => {
                record.registration = Registration::Leaving(before.since().unwrap_or(now));
            }
            Fact::FellBack { .. } => counts.fallbacks += 1,
            Fact::FallbackFailed => {
                counts.fallbacks_failed += 1;
                record.registration = Registration::Since(before.since().unwrap_or(now));
            }
            Fact::Unregistered { cause, .. } => record.registration = Registration::Not(cause),
            _ => {}
        }
        let after = record.registration;
        self.registering -= u64::from(before.is_busy());
        self.registering += u64::from(after.is_busy());
        if let Some((step, end, began)) = ended {
            self.end_step(step, end, [began, began, now]);
        }
    }

    /// Counts for the node that it is about, if it is about one.
    fn registered_at_node(&mut self, fact: Fact) {
        let (server, raise): (_, fn(&mut NodeRegistrations)) = match fact {
            Fact::Registered { server, .. } => (server, |node| node.accepted += 1),
            Fact::RegistrationFull { server } => (server, |node| node.full += 1),
            Fact::RegistrationLost { server } => (server, |node| node.lost += 1),
            Fact::RegistrationRefreshed { server } => (server, |node| node.refreshed += 1),
            Fact::FellBack { server } => (server, |node| node.fallen_back += 1),
            Fact::RegistrationFailover { from: Some(server) } => {
                (server, |node| node.failed_over += 1)
            }
            Fact::RegistrationFailed { cause, server: Some(server) } => {
                return self.registrar(server).map_or((), |node| node.failed(cause));
            }
            _ => return,
        };
        if let Some(node) = self.registrar(server) {
            raise(node);
        }
    }

    /// The numbers of a node, of a bounded number of them.
    fn registrar(&mut self, server: IpAddr) -> Option<&mut NodeRegistrations> {
        let is_known = self.registrars.contains_key(&server);
        (is_known || self.registrars.len() < SERVERS_MAX)
            .then(|| self.registrars.entry(server).or_default())
    }

    fn settle(&mut self, phone: PhoneId, now: Time, outcome: Outcome) {
        let record = self.phones.of_mut(phone);
        (record.outcome, record.settled) = (Some(outcome), now);
        self.booting -= u64::from(record.booting);
        record.booting = false;
        let planned = record.planned;
        self.end_step(StepKind::Boot, outcome.into(), [planned, planned, now]);
    }

    /// A step ended: planned, begun and ended at these times. Times of answers only; a step
    /// without an answer has no time but is counted.
    fn end_step(&mut self, step: StepKind, end: StepEnd, [planned, started, now]: [Time; 3]) {
        let record = self.step_mut(step);
        match end {
            StepEnd::Failed => record.failed += 1,
            StepEnd::NotFound => record.not_found += 1,
            StepEnd::Ok => record.ok += 1,
            StepEnd::Stuck => record.stuck += 1,
        }
        if matches!(end, StepEnd::Failed | StepEnd::Stuck) {
            return;
        }
        record.service.record(now.since(started));
        record.response.record(now.since(planned));
    }

    /// The first remark on each fault is kept, of a bounded number of faults.
    fn remark(&mut self, fault: TransferFault, remark: &str) {
        if self.remarks.len() < REMARKS_MAX && !remark.is_empty() {
            self.remarks.entry(fault).or_insert_with(|| remark.into());
        }
    }

    /// A failure in words, with what a server said about it.
    pub fn words(&self, failure: Failure) -> String {
        let remark = match failure {
            Failure::Transfer(fault) => self.remarks.get(&fault),
            _ => None,
        };
        remark.map_or_else(|| failure.to_string(), |remark| format!("{failure}: {remark}"))
    }

    fn asked(&mut self, via: Transport) {
        match self.counts.http(via) {
            None => self.counts.tftp.requests += 1,
            Some(http) => http.requests += 1,
        }
    }

    fn arrived(&mut self, via: Transport, bytes: u64) {
        let counts = &mut self.counts;
        let (transfers, sum) = match via {
            Transport::Tftp => (&mut counts.tftp.transfers, &mut counts.tftp.bytes),
            Transport::Http => (&mut counts.http.transfers, &mut counts.http.bytes),
            Transport::Https => (&mut counts.https.transfers, &mut counts.https.bytes),
        };
        (*transfers, *sum) = (*transfers + 1, *sum + bytes);
    }

    fn missing(&mut self, via: Transport) {
        match self.counts.http(via) {
            None => self.counts.tftp.not_found += 1,
            Some(http) => http.not_found += 1,
        }
    }

    fn failed(&mut self, via: Transport, step: StepKind) {
        match self.counts.http(via) {
            None => self.counts.tftp.errors += 1,
            Some(http) => {
                http.errors += 1;
                self.step_mut(step).retry += 1;
            }
        }
    }

    /// Presses by the server that was asked; of 64 servers at most.
    pub const fn presses_by_server(&self) -> &BTreeMap<IpAddr, PressEnds> {
        &self.servers
    }

    /// Registrations by the node that was asked, with the phones that it has now; of 64 nodes at
    /// most.
    pub fn registrations_by_server(&self) -> BTreeMap<IpAddr, NodeRegistrations> {
        let mut nodes = self.registrars.clone();
        for phone in self.phones.all() {
            let server = phone.registrar.filter(|_| phone.registration.since().is_some());
            if let Some(node) = server.and_then(|server| nodes.get_mut(&server)) {
                node.registered += 1;
            }
        }
        nodes
    }

    /// What was looked up and not heard: signatures that the phones have verified since the storm
    /// began, and files and lookups in flight now.
    pub fn read(&mut self, verified: u64, in_flight: BTreeMap<StepKind, u64>) {
        (self.counts.verified, self.in_flight) = (verified, in_flight);
    }

    /// What the generator has counted about itself.
    pub const fn generator(&self) -> &GeneratorCounts {
        &self.generator
    }

    /// Sums over all phones.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Files and lookups in flight when this was [read](Ledger::read).
    pub fn in_flight(&self, step: StepKind) -> u64 {
        self.in_flight.get(&step).copied().unwrap_or(0)
    }

    /// So many phones hold a CTL that names other certificates than the cluster has.
    pub const fn found_stale_ctls(&mut self, phones: u64) {
        self.counts.phones.stale_ctl = phones;
    }

    /// What was found at the end: the ITLs of phones and nodes, and how many phones hold another one
    /// than is served to them.
    pub fn found_itls(&mut self, itls: Vec<ItlChecksum>, mismatches: u64) {
        (self.itls, self.counts.phones.itl_mismatch) = (itls, mismatches);
    }

    /// The ITLs that were [found](Ledger::found_itls).
    pub fn itls(&self) -> &[ItlChecksum] {
        &self.itls
    }

    /// So many phones run the load that an upgrade has named, and so many do not.
    pub const fn found_loads(&mut self, rolled_out: u64, behind: u64) {
        (self.counts.firmware.rolled_out, self.counts.firmware.behind) = (rolled_out, behind);
    }

    /// This phone has no configuration, so that it has no old one to go on with.
    pub fn found_without_config(&mut self, phone: PhoneId) {
        self.phones.of_mut(phone).symptoms.config_frozen = false;
    }

    /// The run is over: phones in a boot failed by what `finish` says has ended it, and phones of
    /// which `is_current` says that they hold what is no longer served are not ready. Nobody is
    /// blamed for a phone whose reset had not come: it is not reset, unless an earlier one has left
    /// it stuck or failed.
    pub fn close(&mut self, finish: Finish, is_current: impl Fn(PhoneId) -> bool) {
        let stale = |(phone, record): (PhoneId, &PhoneRecord)| {
            record.outcome == Some(Outcome::Ready) && !is_current(phone)
        };
        let stale: Vec<bool> = self.phones.iter().map(stale).collect();
        for (record, stale) in self.phones.all_mut().iter_mut().zip(stale) {
            let failure = match record.outcome {
                None if record.booting => Some(finish.of_unsettled()),
                _ if stale => Some(Failure::Stale).filter(|_| record.boots_before == 0),
                _ => continue,
            };
            record.outcome = failure.map(Outcome::Failed);
            self.booting -= u64::from(record.booting);
            record.booting = false;
        }
    }

    /// Phones in a boot.
    pub const fn booting(&self) -> u64 {
        self.booting
    }

    /// Phones in a boot, or whose registration is under way.
    pub const fn unsettled(&self) -> u64 {
        self.booting + self.registering
    }

    /// The records of the phones, in the order of their numbers.
    pub fn phones(&self) -> &[PhoneRecord] {
        self.phones.all()
    }

    /// The record of a phone, if this is a ledger of it.
    pub fn phone(&self, phone: PhoneId) -> Option<&PhoneRecord> {
        self.phones.of(phone)
    }

    /// Of each phone whose present boot had an attempt without an answer, the last one, and the
    /// step it was made for.
    pub fn silences(&self) -> impl Iterator<Item = (&PhoneRecord, StepKind, Silence)> {
        let of = |phone: &PhoneId| self.phones.of(*phone);
        self.silences
            .iter()
            .filter_map(move |(phone, &(step, last))| Some((of(phone)?, step, last)))
    }

    /// Times and results of a step.
    pub fn step_record(&self, step: StepKind) -> &StepRecord {
        &self.steps[step.index()]
    }

    fn step_mut(&mut self, step: StepKind) -> &mut StepRecord {
        &mut self.steps[step.index()]
    }

    /// When the storm began.
    pub const fn storm(&self) -> Time {
        self.storm
    }

    /// How late the generator itself was.
    pub const fn lag(&self) -> &Times {
        &self.lag
    }

    /// How many phones are where, and what they did.
    pub fn tallies(&self) -> Phones {
        let phones = self.phones.all();
        let (total, counts) = (phones.len() as u64, self.counts.phones);
        let mut tallies = Phones { total, counts, ..Phones::default() };
        for phone in phones {
            tallies.list_alarms += u64::from(phone.list_alarm);
            tallies.config_alarms += u64::from(phone.config_alarm);
            tallies.show_list_failed += u64::from(phone.symptoms.list_failed);
            tallies.show_failed += u64::from(phone.symptoms.failed);
            tallies.config_frozen += u64::from(phone.symptoms.config_frozen);
            tallies.services_lost += u64::from(phone.symptoms.services_lost);
            tallies.booting += u64::from(phone.booting);
            tallies.registration(phone);
            match phone.outcome {
                Some(Outcome::Ready) => tallies.ready += 1,
                Some(Outcome::Stuck) => tallies.stuck += 1,
                Some(Outcome::Failed(_)) => tallies.failed += 1,
                None => tallies.not_reset += u64::from(!phone.booting),
            }
        }
        tallies.failed_ratio = tallies.failed as f64 / total.max(1) as f64;
        let reasons = self.failures().into_iter();
        tallies.failures = reasons.map(|(why, count)| (self.words(why), count)).collect();
        tallies
    }

    /// How many phones failed for which reason.
    pub fn failures(&self) -> BTreeMap<Failure, u64> {
        let mut failures = BTreeMap::new();
        for phone in self.phones.all() {
            if let Some(Outcome::Failed(failure)) = phone.outcome {
                *failures.entry(failure).or_default() += 1;
            }
        }
        failures
    }

    /// Seconds from the start of the storm until each ready phone was ready, in order.
    pub fn ready_times_s(&self) -> Vec<f64> {
        let since = |ready: Time| ready.since(self.storm).as_secs_f64();
        let phones = self.phones.all().iter();
        let mut times: Vec<f64> = phones.filter_map(PhoneRecord::ready).map(since).collect();
        times.sort_unstable_by(f64::total_cmp);
        times
    }

    /// Seconds from the start of the storm until each phone was registered that is, in order.
    pub fn registered_times_s(&self) -> Vec<f64> {
        let since = |at: Time| at.since(self.storm).as_secs_f64();
        let phones = self.phones.all().iter();
        let mut times: Vec<f64> =
            phones.filter_map(|phone| phone.registration.since()).map(since).collect();
        times.sort_unstable_by(f64::total_cmp);
        times
    }

    /// Adds what was heard of other phones.
    pub fn merge(&mut self, other: &Ledger) {
        join!(self, other; counts, in_flight, lag, generator, booting, registering, servers, registrars);
        self.steps.iter_mut().zip(&other.steps).for_each(|(mine, theirs)| mine.join(theirs));
        self.phones.merge(&other.phones);
        self.silences.extend(&other.silences);
        self.storm = self.storm.max(other.storm);
        for (&fault, remark) in &other.remarks {
            self.remark(fault, remark);
        }
    }
}

impl LscCounts {
    fn hear(&mut self, fact: LscFact) {
        match fact {
            LscFact::Began { .. } => self.began += 1,
            LscFact::Postponed => self.postponed += 1,
            LscFact::KeyAsked { length, is_pooled: true } => {
                self.keys += 1;
                self.key_ms += length.as_nanos() / 1_000_000;
            }
            LscFact::KeyAsked { is_pooled: false, .. } => self.keys_refused += 1,
            LscFact::Reset => self.resets += 1,
            LscFact::Ended(end) => self.ended(end),
        }
    }

    fn ended(&mut self, end: LscEnd) {
        match end {
            LscEnd::NoServer => self.no_server += 1,
            LscEnd::Failed => self.failed += 1,
            LscEnd::Installed => self.installed += 1,
            LscEnd::Deleted => self.deleted += 1,
            LscEnd::Fetched => self.fetched += 1,
            LscEnd::NothingToDo => self.nothing_to_do += 1,
            LscEnd::ConnectionFailed(why) => {
                self.connection_failed += 1;
                match why {
                    Unreached::Certificate => self.certificate += 1,
                    Unreached::Name => self.name += 1,
                    Unreached::Connection => self.connection += 1,
                    Unreached::Answer => self.answer += 1,
                    Unreached::Busy => self.busy += 1,
                }
            }
        }
    }
}

impl Listen for Ledger {
    /// # Panics
    /// If this is no ledger of that phone.
    fn hear(&mut self, phone: PhoneId, now: Time, incident: &Incident<'_>) {
        match *incident {
            Incident::Phone(fact) => self.fact(phone, now, fact),
            Incident::BootPlanned => self.phones.of_mut(phone).boots_before += 1,
            Incident::ListsErased => self.counts.phones.erased += 1,
            Incident::BootBegan(planned) => self.begin_boot(phone, planned),
            Incident::GivenUp(lack) => {
                self.settle(phone, now, Outcome::Failed(Failure::Generator(lack)));
            }
            Incident::NameAsked => self.counts.tvs.names_asked += 1,
            Incident::Asked(via) => self.asked(via),
            Incident::Connected(via, connections) => {
                if let Some(http) = self.counts.http(via) {
                    http.connections += connections;
                }
            }
            Incident::Arrived(via, bytes) => self.arrived(via, bytes),
            Incident::Missing(via) => self.missing(via),
            Incident::Failed(via, step) => self.failed(via, step),
            Incident::SentAgain(step) => {
                self.counts.tftp.retransmits += 1;
                self.step_mut(step).retry += 1;
            }
            Incident::Ended { step, end, planned, started } => {
                self.end_step(step, end, [planned, started, now]);
            }
            // One that was refused at once is no silence.
            // Of a phone at rest it says nothing about a boot.
            Incident::Silent { step, from }
                if now.since(from) >= SILENCE_MIN
                    && self.phones.of(phone).is_some_and(|record| record.booting) =>
            {
                self.silences.insert(phone, (step, Silence { from, to: now }));
            }
            Incident::Silent { .. } | Incident::Turned(_) => {}
            Incident::Waited { queue, late, at_end } => {
                self.lag.record(late);
                self.generator.waited(queue, late, at_end);
            }
            Incident::Late(late) => self.lag.record(late),
            Incident::Lacked(lack) => *self.generator.lacks.entry(lack).or_default() += 1,
            Incident::Said(fault, remark) => self.remark(fault, remark),
        }
    }

    fn note(&mut self, now: Time, notice: &Notice) {
        match *notice {
            Notice::StormBegan => *self = Ledger::of(self.phones.cleared(), now),
            Notice::BootsPlanned => {
                self.phones.all_mut().iter_mut().for_each(|phone| phone.boots_before += 1);
            }
            Notice::Stalled(pause) => self.generator.stalled(pause),
            Notice::TransfersInFlight(transfers) => {
                let most = &mut self.counts.tftp.in_flight_max;
                *most = (*most).max(transfers);
            }
        }
    }
}

impl Counts {
    const fn files(&mut self, kind: FileKind) -> &mut TrustPaths {
        match kind {
            FileKind::Ctl => &mut self.ctls,
            FileKind::Itl => &mut self.itls,
            FileKind::Config => &mut self.configs,
            FileKind::Locale => &mut self.locales,
            FileKind::RingList => &mut self.ring_lists,
        }
    }

    fn accepted(&mut self, kind: FileKind, path: AcceptPath) {
        *self.files(kind).by(path) += 1;
        self.config.applied += u64::from(kind == FileKind::Config);
    }

    /// Files by a transport that is HTTP, with TLS or without.
    const fn http(&mut self, via: Transport) -> Option<&mut HttpCounts> {
        match via {
            Transport::Tftp => None,
            Transport::Http => Some(&mut self.http),
            Transport::Https => Some(&mut self.https),
        }
    }
}

impl TrustPaths {
    const fn by(&mut self, path: AcceptPath) -> &mut u64 {
        match path {
            AcceptPath::First => &mut self.accepted_first,
            AcceptPath::Blank => &mut self.accepted_blank,
            AcceptPath::Ctl => &mut self.accepted_by_ctl,
            AcceptPath::Itl => &mut self.accepted_by_itl,
            AcceptPath::TvsCache => &mut self.accepted_by_tvs_cache,
            AcceptPath::Tvs => &mut self.accepted_by_tvs,
            AcceptPath::Https => &mut self.accepted_by_https,
        }
    }
}

impl PressCounts {
    const fn by_path(&mut self, path: CertificatePath) -> &mut u64 {
        match path {
            CertificatePath::Ctl => &mut self.by_ctl,
            CertificatePath::Itl => &mut self.by_itl,
            CertificatePath::Cache => &mut self.by_cache,
            CertificatePath::Tvs => &mut self.by_tvs,
            CertificatePath::Unchecked => &mut self.unchecked,
        }
    }

    const fn by_fault(&mut self, fault: PressFault) -> &mut u64 {
        match fault {
            PressFault::NoUrl => &mut self.no_url,
            PressFault::Unreachable => &mut self.unreachable,
            PressFault::BadPage => &mut self.bad_page,
            PressFault::Expired => &mut self.expired,
            PressFault::NotVouched => &mut self.not_vouched,
            PressFault::NoTvs => &mut self.no_tvs,
            PressFault::TvsUnreachable => &mut self.tvs_unreachable,
            PressFault::Generator => &mut self.given_up,
        }
    }
}

impl PressesByButton {
    const fn of(&mut self, button: Button) -> &mut PressEnds {
        match button {
            Button::Directory => &mut self.directory,
            Button::ExtensionMobility => &mut self.extension_mobility,
            Button::Emcc => &mut self.emcc,
        }
    }
}

impl TvsCounts {
    const fn answered(&mut self, command: Command) {
        self.lookups += 1;
        match command {
            Command::QueryResponse => self.by_command.query += 1,
            Command::VerifyResponse => self.by_command.verify += 1,
            _ => {}
        }
    }

    const fn not_answered(&mut self, fault: TvsFault) {
        self.failed += 1;
        *match fault {
            TvsFault::CertificateRefused => &mut self.certificate_refused,
            // TVS asks for no certificate.
            TvsFault::Connection | TvsFault::TurnedAway => &mut self.connection,
            TvsFault::TimedOut => &mut self.timed_out,
            TvsFault::Unresolved => &mut self.unresolved,
            TvsFault::WrongAnswer => &mut self.wrong_answer,
        } += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Span;
    use crate::phone::Refusal;

    const SECOND: u64 = 1_000_000_000;

    fn at(seconds: u64) -> Time {
        Time::from_nanos(seconds * SECOND)
    }

    #[test]
    fn alarms_are_counted_in_phones_not_events() {
        let mut ledger = Ledger::new(Slice::whole(2));
        let refused = |kind| Fact::FileRefused { kind, refusal: Refusal::UnknownSigner };
        for fact in [refused(FileKind::Ctl), refused(FileKind::Itl), refused(FileKind::Config)] {
            ledger.fact(PhoneId(0), at(1), fact);
        }
        let tallies = ledger.tallies();
        assert_eq!((tallies.list_alarms, tallies.config_alarms), (1, 1));
        assert_eq!((ledger.counts.ctls.refused, ledger.counts.itls.refused), (1, 1));
    }

    #[test]
    fn ready_counts_from_the_start_of_the_storm_and_boot_from_its_plan() {
        let mut ledger = Ledger::new(Slice::whole(3));
        ledger.fact(PhoneId(2), at(1), Fact::TvsCacheHit);
        ledger.note(at(10), &Notice::StormBegan);
        assert_eq!(ledger.counts, Counts::default(), "what was before does not count");
        ledger.begin_boot(PhoneId(0), at(12));
        ledger.fact(PhoneId(0), at(15), Fact::Settled { outcome: Outcome::Ready });
        assert_eq!(ledger.ready_times_s(), [5.0]);
        let boot = ledger.step_record(StepKind::Boot);
        assert_eq!((boot.ok, boot.failed), (1, 0));
        let three_seconds = boot.response.value_at_quantile(0.5);
        assert!((2_990_000..3_010_000).contains(&three_seconds), "{three_seconds}");
    }

    #[test]
    fn a_new_boot_forgets_the_old_outcome_but_not_the_alarms() {
        let mut ledger = Ledger::new(Slice::whole(1));
        let refused = Fact::FileRefused { kind: FileKind::Itl, refusal: Refusal::UnknownSigner };
        ledger.begin_boot(PhoneId(0), at(1));
        ledger.fact(PhoneId(0), at(2), refused);
        ledger.fact(PhoneId(0), at(2), Fact::Settled { outcome: Outcome::Stuck });
        assert_eq!((ledger.tallies().stuck, ledger.tallies().booting), (1, 0));
        ledger.begin_boot(PhoneId(0), at(3));
        let tallies = ledger.tallies();
        assert_eq!((tallies.stuck, tallies.booting, tallies.list_alarms), (0, 1, 1));
    }

    #[test]
    fn at_the_end_stale_and_unsettled_phones_are_failed_and_the_others_stay() {
        let mut ledger = Ledger::new(Slice::whole(4));
        for (phone, outcome) in [(0, Outcome::Ready), (1, Outcome::Ready), (2, Outcome::Stuck)] {
            ledger.begin_boot(PhoneId(phone), at(1));
            ledger.fact(PhoneId(phone), at(2), Fact::Settled { outcome });
        }
        ledger.begin_boot(PhoneId(3), at(1));
        ledger.close(Finish::TimeLimit, |phone| phone == PhoneId(0));
        let tallies = ledger.tallies();
        assert_eq!((tallies.ready, tallies.stuck, tallies.failed), (1, 1, 2));
        let failures = ledger.failures();
        assert_eq!((failures[&Failure::Stale], failures[&Failure::TimeLimit]), (1, 1));
        assert_eq!((ledger.ready_times_s().len(), ledger.booting()), (1, 0));
    }

    #[test]
    fn a_silence_is_of_the_present_boot_and_stays_with_its_phone() {
        let mut one = Ledger::new(Slice::dealt(0, 2, 3));
        let mut two = Ledger::new(Slice::dealt(1, 2, 3));
        let silent = |ledger: &mut Ledger, phone: u32, step, from: u64, to: u64| {
            ledger.hear(PhoneId(phone), at(to), &Incident::Silent { step, from: at(from) });
        };
        silent(&mut one, 0, StepKind::Itl, 1, 1);
        silent(&mut one, 2, StepKind::TVS, 1, 3);
        one.begin_boot(PhoneId(2), at(4));
        silent(&mut one, 2, StepKind::Ctl, 5, 7);
        one.fact(PhoneId(2), at(8), Fact::Settled { outcome: Outcome::Stuck });
        two.merge(&one);
        let last = Silence { from: at(5), to: at(7) };
        let stuck = two.phone(PhoneId(2)).unwrap();
        assert_eq!(two.silences().collect::<Vec<_>>(), [(stuck, StepKind::Ctl, last)]);
        two.note(at(9), &Notice::StormBegan);
        assert_eq!(two.silences().count(), 0);
    }

    #[test]
    fn a_phone_in_flight_fails_by_what_has_ended_the_run() {
        let causes = [
            (Finish::EventLimit, "event limit"),
            (Finish::Interrupted, "interrupted"),
            (Finish::TimeLimit, "time limit"),
        ];
        for (finish, cause) in causes {
            let mut ledger = Ledger::new(Slice::whole(1));
            ledger.begin_boot(PhoneId(0), at(1));
            ledger.close(finish, |_| true);
            let tallies = ledger.tallies();
            assert_eq!((tallies.failed, tallies.failures), (1, [(cause.to_owned(), 1)].into()));
        }
    }

    #[test]
    fn a_missing_file_and_a_stuck_boot_are_neither_ok_nor_failed() {
        let mut ledger = Ledger::new(Slice::whole(1));
        ledger.end_step(StepKind::Ctl, StepEnd::NotFound, [at(0), at(0), at(1)]);
        ledger.begin_boot(PhoneId(0), at(0));
        ledger.fact(PhoneId(0), at(2), Fact::Settled { outcome: Outcome::Stuck });
        let counts = |step| {
            let record = ledger.step_record(step);
            (record.ok, record.not_found, record.stuck, record.failed, record.response.len())
        };
        assert_eq!(counts(StepKind::Ctl), (0, 1, 0, 0, 1), "an answer has a time");
        assert_eq!(counts(StepKind::Boot), (0, 0, 1, 0, 0));
    }

    #[test]
    fn a_phone_whose_reset_was_never_due_is_not_reset_and_nobody_is_blamed() {
        let mut ledger = Ledger::new(Slice::whole(5));
        ledger.note(at(1), &Notice::StormBegan);
        assert_eq!(ledger.tallies().not_reset, 5, "before their turn");
        ledger.note(at(1), &Notice::BootsPlanned);
        ledger.begin_boot(PhoneId(0), at(1));
        for (phone, outcome) in [(1, Outcome::Ready), (2, Outcome::Stuck), (3, Outcome::Ready)] {
            ledger.begin_boot(PhoneId(phone), at(1));
            ledger.fact(PhoneId(phone), at(2), Fact::Settled { outcome });
        }
        // A second reset that comes to nobody but the last of them.
        ledger.note(at(1), &Notice::BootsPlanned);
        ledger.begin_boot(PhoneId(3), at(3));
        ledger.fact(PhoneId(3), at(4), Fact::Settled { outcome: Outcome::Ready });
        ledger.close(Finish::TimeLimit, |_| false);
        let (tallies, failures) = (ledger.tallies(), ledger.failures());
        assert_eq!(failures[&Failure::TimeLimit], 1, "it was in a boot");
        assert_eq!(failures[&Failure::Stale], 1, "it was reset to the end");
        assert_eq!((tallies.stuck, tallies.failed, tallies.not_reset), (1, 2, 2));
        let in_all = tallies.ready + tallies.stuck + tallies.failed + tallies.not_reset;
        assert_eq!((in_all, tallies.booting), (tallies.total, 0));
    }

    #[test]
    fn merged_ledgers_add_up() {
        let mut one = Ledger::new(Slice::dealt(0, 2, 3));
        let mut two = Ledger::new(Slice::dealt(1, 2, 3));
        one.end_step(StepKind::TVS, StepEnd::Ok, [at(0), at(0), at(1)]);
        two.end_step(StepKind::TVS, StepEnd::Failed, [at(0), at(0), at(1)]);
        two.hear(PhoneId(1), at(1), &Incident::SentAgain(StepKind::Itl));
        two.lag.record(Span::from_millis(5));
        one.fact(PhoneId(0), at(1), Fact::TvsFailover);
        one.merge(&two);
        let tvs = one.step_record(StepKind::TVS);
        assert_eq!((tvs.ok, tvs.failed, tvs.retry), (1, 1, 1));
        assert_eq!(one.step_record(StepKind::Itl).retry, 1);
        assert_eq!((one.counts.tftp.retransmits, one.counts.tvs.failovers), (1, 1));
        assert_eq!((one.phones().len(), one.lag().len()), (3, 1));
    }

    #[test]
    fn lag_without_samples_is_no_number() {
        assert_eq!(Ledger::new(Slice::whole(1)).lag().at_s(0.99), None);
    }
}
