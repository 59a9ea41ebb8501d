use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::base::{Lack, Span, Time};
use crate::phone::{AcceptPath, Fact, Failure, FileKind, Outcome, Step, Transport, TvsFault};
use crate::transfer::TransferFault;
use crate::wire::tvs::Command;

use super::generator::{GeneratorCounts, Queue, SILENCE_MIN, Silence};
use super::host::Pause;
use super::summary::Finish;

/// A step of a boot that is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepKind {
    /// The whole boot, from planned start to ready.
    Boot,
    /// Fetch of the CTL.
    Ctl,
    /// Fetch of the ITL.
    Itl,
    /// Fetch of the configuration.
    Config,
    /// One attempt at one TVS server.
    Tvs,
}

impl StepKind {
    /// Every step, in the order of the summary.
    pub const ALL: [StepKind; 5] =
        [StepKind::Boot, StepKind::Ctl, StepKind::Itl, StepKind::Config, StepKind::Tvs];

    /// Whether it asks for a file.
    pub const fn is_file(self) -> bool {
        matches!(self, StepKind::Ctl | StepKind::Itl | StepKind::Config)
    }

    /// The name in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            StepKind::Boot => "boot",
            StepKind::Ctl => "ctl",
            StepKind::Itl => "itl",
            StepKind::Config => "config",
            StepKind::Tvs => "tvs",
        }
    }
}

impl From<Step> for StepKind {
    fn from(step: Step) -> StepKind {
        match step.kind() {
            FileKind::Ctl => StepKind::Ctl,
            FileKind::Itl => StepKind::Itl,
            FileKind::Config => StepKind::Config,
        }
    }
}

/// What one worker has seen of its phones. Plain numbers and histograms: recording costs
/// nanoseconds and takes no lock.
#[derive(Clone, Debug)]
pub struct Recorder {
    /// Sums over all phones.
    pub counts: Counts,
    /// Number of files and lookups in flight now.
    pub in_flight: BTreeMap<StepKind, u64>,
    steps: Vec<StepRecord>,
    lag: Histogram<u64>,
    generator: GeneratorCounts,
    phones: Vec<PhoneRecord>,
    /// Start of the storm: its first reset, or the start of the run.
    storm: Time,
    /// Phones in a boot.
    booting: u64,
    /// What a server said with a fault, first of its kind.
    remarks: BTreeMap<TransferFault, Box<str>>,
}

/// Sums over the phones of a worker since the storm's first reset (`decisions.md`, outcomes).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Boots that began.
    pub boots: u64,
    /// Files accepted, by kind and path.
    pub accepted: BTreeMap<(FileKind, AcceptPath), u64>,
    /// Files refused, by kind.
    pub refused: BTreeMap<FileKind, u64>,
    /// Answers of TVS that were received and used, by command.
    pub tvs_answers: BTreeMap<Command, u64>,
    /// Attempts at a TVS server without an answer, by fault.
    pub tvs_faults: BTreeMap<TvsFault, u64>,
    /// Attempts on a later member of a group.
    pub tvs_failovers: u64,
    /// Signers that a phone's TVS cache vouched for.
    pub tvs_cache_hits: u64,
    /// Signatures that phones verified.
    pub verified: u64,
    /// Inputs that a phone did not wait for.
    pub unexpected: u64,
    /// Files asked for over TFTP.
    pub tftp_requests: u64,
    /// Files that arrived whole over TFTP.
    pub tftp_transfers: u64,
    /// Bytes of files that arrived whole.
    pub tftp_bytes: u64,
    /// Datagrams that phones sent again.
    pub tftp_retransmits: u64,
    /// Requests answered with "file not found".
    pub tftp_not_found: u64,
    /// Transfers that failed otherwise.
    pub tftp_errors: u64,
    /// Most transfers that were in flight at once.
    pub tftp_in_flight_max: u64,
    /// Files over HTTP.
    pub http: HttpSums,
    /// Files over HTTPS.
    pub https: HttpSums,
}

/// Sums over the files that were asked for over HTTP, or over HTTPS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HttpSums {
    /// Files asked for.
    pub requests: u64,
    /// Connections that were opened for them.
    pub connections: u64,
    /// Files that arrived whole.
    pub transfers: u64,
    /// Bytes of files that arrived whole.
    pub bytes: u64,
    /// Requests answered with 404.
    pub not_found: u64,
    /// Files that a phone asked for over TFTP afterwards.
    pub fallbacks: u64,
    /// Requests that failed otherwise.
    pub errors: u64,
}

/// Times and results of one step.
#[derive(Clone, Debug)]
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
    /// From the actual start, microseconds.
    pub service_us: Histogram<u64>,
    /// From the planned start, microseconds.
    pub response_us: Histogram<u64>,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepEnd {
    /// Without an answer, or a boot that failed.
    Failed,
    /// With the answer that there is no such file.
    NotFound,
    /// With what was asked for.
    Ok,
    /// A boot that ended stuck.
    Stuck,
}

impl StepEnd {
    /// The end of a step that was answered or was not.
    pub const fn answered(ok: bool) -> StepEnd {
        if ok { StepEnd::Ok } else { StepEnd::Failed }
    }
}

impl From<Outcome> for StepEnd {
    fn from(outcome: Outcome) -> StepEnd {
        match outcome {
            Outcome::Ready => StepEnd::Ok,
            Outcome::Stuck => StepEnd::Stuck,
            Outcome::Failed(_) => StepEnd::Failed,
        }
    }
}

/// What is kept of each phone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhoneRecord {
    /// When its boot was planned.
    pub planned: Time,
    /// When it was ready, if it is.
    pub ready: Option<Time>,
    /// How its last boot ended; `None` while it boots, or if it never did.
    pub outcome: Option<Outcome>,
    /// It refused a list since the storm began ("Trust List Verification Failed").
    pub list_alarm: bool,
    /// It refused a configuration since the storm began ("Verification Failed").
    pub config_alarm: bool,
    /// Whether it boots.
    pub booting: bool,
    /// The last attempt of its present boot that brought no answer, and the step it was made for.
    pub silence: Option<(StepKind, Silence)>,
    /// Boots that are planned and have not begun.
    pub boots_before: u32,
}

/// How many phones are where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tallies {
    /// All phones.
    pub total: u64,
    /// List and configuration in force.
    pub ready: u64,
    /// Refused for ever.
    pub stuck: u64,
    /// Not ready for another reason.
    pub failed: u64,
    /// Booting now.
    pub booting: u64,
    /// Neither settled nor booting: nobody has reset them yet.
    pub not_reset: u64,
    /// Phones that refused a list.
    pub list_alarms: u64,
    /// Phones that refused a configuration.
    pub config_alarms: u64,
    /// Reasons of the failed phones.
    pub failures: BTreeMap<Failure, u64>,
}

/// Lateness of the generator itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GeneratorLag {
    /// Samples.
    pub samples: u64,
    /// 99th percentile in seconds, `None` without samples.
    pub p99_s: Option<f64>,
}

/// Faults of which a remark is kept (choice): a server may send any of 65,536 error codes.
const REMARKS_MAX: usize = 16;
/// Longest time that a histogram tells apart: one hour in microseconds.
const LONGEST_US: u64 = 3_600_000_000;

pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are valid")
}

impl StepRecord {
    fn new() -> StepRecord {
        StepRecord {
            ok: 0,
            not_found: 0,
            stuck: 0,
            retry: 0,
            failed: 0,
            service_us: histogram(),
            response_us: histogram(),
        }
    }

    fn merge(&mut self, other: &StepRecord) {
        self.ok += other.ok;
        self.not_found += other.not_found;
        self.stuck += other.stuck;
        self.retry += other.retry;
        self.failed += other.failed;
        self.service_us.add(&other.service_us).expect("all histograms have the same bounds");
        self.response_us.add(&other.response_us).expect("all histograms have the same bounds");
    }
}

impl Recorder {
    /// A recorder of `phones` phones, which are numbered from 0 within it.
    pub fn new(phones: usize) -> Recorder {
        Recorder {
            counts: Counts::default(),
            in_flight: BTreeMap::new(),
            steps: StepKind::ALL.iter().map(|_| StepRecord::new()).collect(),
            lag: histogram(),
            generator: GeneratorCounts::default(),
            phones: vec![PhoneRecord::default(); phones],
            storm: Time::ZERO,
            booting: 0,
            remarks: BTreeMap::new(),
        }
    }

    /// The storm begins: what was counted before does not count.
    pub fn begin_storm(&mut self, now: Time) {
        *self = Recorder { storm: now, ..Recorder::new(self.phones.len()) };
    }

    /// Every phone has a boot before it.
    pub fn plan_boots(&mut self) {
        self.phones.iter_mut().for_each(|phone| phone.boots_before += 1);
    }

    /// A boot of `phone` begins that was planned for `planned`.
    pub fn begin_boot(&mut self, phone: usize, planned: Time) {
        let record = &mut self.phones[phone];
        (record.planned, record.ready, record.outcome) = (planned, None, None);
        record.silence = None;
        self.booting += u64::from(!record.booting);
        record.booting = true;
        record.boots_before = record.boots_before.saturating_sub(1);
    }

    /// Records what happened to `phone`.
    pub fn fact(&mut self, phone: usize, now: Time, fact: &Fact) {
        let counts = &mut self.counts;
        match *fact {
            Fact::BootStarted => counts.boots += 1,
            Fact::FileAccepted { kind, path } => {
                *counts.accepted.entry((kind, path)).or_default() += 1;
            }
            Fact::FileRefused { kind, .. } => {
                *counts.refused.entry(kind).or_default() += 1;
                let record = &mut self.phones[phone];
                match kind {
                    FileKind::Ctl | FileKind::Itl => record.list_alarm = true,
                    FileKind::Config => record.config_alarm = true,
                }
            }
            Fact::TvsCacheHit => counts.tvs_cache_hits += 1,
            Fact::TvsAnswered { command } => {
                *counts.tvs_answers.entry(command).or_default() += 1;
            }
            Fact::TvsAttemptFailed { fault } => {
                *counts.tvs_faults.entry(fault).or_default() += 1;
            }
            Fact::TvsFailover => {
                counts.tvs_failovers += 1;
                self.step_mut(StepKind::Tvs).retry += 1;
            }
            Fact::Settled { outcome } => self.settle(phone, now, outcome),
            Fact::TransportFellBack { from: Transport::Https, .. } => counts.https.fallbacks += 1,
            Fact::TransportFellBack { .. } => counts.http.fallbacks += 1,
            Fact::Unexpected => counts.unexpected += 1,
        }
    }

    fn settle(&mut self, phone: usize, now: Time, outcome: Outcome) {
        let record = &mut self.phones[phone];
        record.outcome = Some(outcome);
        self.booting -= u64::from(record.booting);
        record.booting = false;
        let planned = record.planned;
        if outcome == Outcome::Ready {
            record.ready = Some(now);
        }
        self.step(StepKind::Boot, outcome.into(), planned, planned, now);
    }

    /// A step ended: planned at `planned`, begun at `started`. Times of answers only; a step
    /// without an answer has no time but is counted.
    pub fn step(&mut self, step: StepKind, end: StepEnd, planned: Time, started: Time, now: Time) {
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
        record.service_us.saturating_record(now.since(started).as_micros());
        record.response_us.saturating_record(now.since(planned).as_micros());
    }

    /// A datagram of this step was sent again.
    pub fn retry(&mut self, step: StepKind) {
        self.counts.tftp_retransmits += 1;
        self.step_mut(step).retry += 1;
    }

    /// A server said `remark` with a fault; the first remark on each fault is kept, of a bounded
    /// number of faults.
    pub fn remark(&mut self, fault: TransferFault, remark: &str) {
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

    /// HTTP, or HTTPS if `secure`, did not bring the file of this step; the step itself goes on
    /// over TFTP.
    pub fn http_failed(&mut self, step: StepKind, secure: bool) {
        self.counts.http_mut(secure).errors += 1;
        self.step_mut(step).retry += 1;
    }

    /// The generator did something `late` after it was planned.
    pub fn lag(&mut self, late: Span) {
        self.lag.saturating_record(late.as_micros());
    }

    /// A phone got its place in a queue, or still waits at the end, `late` after it wanted one.
    pub fn waited(&mut self, queue: Queue, late: Span, at_end: bool) {
        self.lag(late);
        self.generator.waited(queue, late, at_end);
    }

    /// The host refused something to the phones' side.
    pub fn lacked(&mut self, lack: Lack) {
        *self.generator.lacks.entry(lack).or_default() += 1;
    }

    /// The worker as a whole did not come to its turn.
    pub fn stalled(&mut self, pause: Pause) {
        self.generator.stalled(pause);
    }

    /// An attempt of `phone` for `step` ended without an answer; one that was refused at once is
    /// none.
    pub fn silence(&mut self, phone: usize, step: StepKind, from: Time, to: Time) {
        if to.since(from) >= SILENCE_MIN {
            self.phones[phone].silence = Some((step, Silence { from, to }));
        }
    }

    /// The boot of `phone` cannot go on for what the generator lacks.
    pub fn give_up(&mut self, phone: usize, now: Time, lack: Lack) {
        let outcome = Outcome::Failed(Failure::Generator(lack));
        self.fact(phone, now, &Fact::Settled { outcome });
    }

    /// What the generator has counted about itself.
    pub const fn generator(&self) -> &GeneratorCounts {
        &self.generator
    }

    /// The number of transfers in flight has changed.
    pub fn transfers_in_flight(&mut self, now: u64) {
        self.counts.tftp_in_flight_max = self.counts.tftp_in_flight_max.max(now);
    }

    /// The run is over: phones in a boot failed by what `finish` says has ended it, and phones of
    /// which `is_current` says that they hold what is no longer served are not ready. Nobody is
    /// blamed for a phone whose reset had not come: it is not reset, unless an earlier one has left
    /// it stuck or failed.
    pub fn close(&mut self, finish: Finish, is_current: impl Fn(usize) -> bool) {
        for phone in 0..self.phones.len() {
            let PhoneRecord { outcome, booting, boots_before, .. } = self.phones[phone];
            match outcome {
                None if booting => self.overrule(phone, Some(finish.of_unsettled())),
                Some(Outcome::Ready) if !is_current(phone) => {
                    self.overrule(phone, Some(Failure::Stale).filter(|_| boots_before == 0));
                }
                _ => {}
            }
        }
    }

    fn overrule(&mut self, phone: usize, failure: Option<Failure>) {
        let record = &mut self.phones[phone];
        record.outcome = failure.map(Outcome::Failed);
        self.booting -= u64::from(record.booting);
        (record.ready, record.booting) = (None, false);
    }

    /// Phones in a boot.
    pub const fn booting(&self) -> u64 {
        self.booting
    }

    /// The records of the phones.
    pub fn phones(&self) -> &[PhoneRecord] {
        &self.phones
    }

    /// Times and results of a step.
    pub fn step_record(&self, step: StepKind) -> &StepRecord {
        let at = StepKind::ALL.iter().position(|&kind| kind == step).expect("ALL has every step");
        &self.steps[at]
    }

    fn step_mut(&mut self, step: StepKind) -> &mut StepRecord {
        let at = StepKind::ALL.iter().position(|&kind| kind == step).expect("ALL has every step");
        &mut self.steps[at]
    }

    /// When the storm began.
    pub const fn storm(&self) -> Time {
        self.storm
    }

    /// Lateness of the generator.
    pub fn generator_lag(&self) -> GeneratorLag {
        let samples = self.lag.len();
        let p99 = || self.lag.value_at_quantile(0.99) as f64 / 1e6;
        GeneratorLag { samples, p99_s: (samples > 0).then(p99) }
    }

    /// How many phones are where.
    pub fn tallies(&self) -> Tallies {
        let mut tallies = Tallies { total: self.phones.len() as u64, ..Tallies::default() };
        for phone in &self.phones {
            tallies.list_alarms += u64::from(phone.list_alarm);
            tallies.config_alarms += u64::from(phone.config_alarm);
            tallies.booting += u64::from(phone.booting);
            match phone.outcome {
                Some(Outcome::Ready) => tallies.ready += 1,
                Some(Outcome::Stuck) => tallies.stuck += 1,
                Some(Outcome::Failed(failure)) => {
                    tallies.failed += 1;
                    *tallies.failures.entry(failure).or_default() += 1;
                }
                None => tallies.not_reset += u64::from(!phone.booting),
            }
        }
        tallies
    }

    /// Seconds from the start of the storm until each ready phone was ready, in order.
    pub fn ready_times_s(&self) -> Vec<f64> {
        let since = |ready: Time| ready.since(self.storm).as_secs_f64();
        let mut times: Vec<f64> =
            self.phones.iter().filter_map(|phone| phone.ready).map(since).collect();
        times.sort_by(f64::total_cmp);
        times
    }

    /// Adds what another worker has recorded; its phones come behind these.
    pub fn merge(&mut self, other: &Recorder) {
        self.counts.merge(&other.counts);
        for (&step, &count) in &other.in_flight {
            *self.in_flight.entry(step).or_default() += count;
        }
        for (mine, theirs) in self.steps.iter_mut().zip(&other.steps) {
            mine.merge(theirs);
        }
        self.lag.add(&other.lag).expect("all histograms have the same bounds");
        self.generator.merge(&other.generator);
        self.phones.extend_from_slice(&other.phones);
        self.storm = self.storm.max(other.storm);
        self.booting += other.booting;
        for (&fault, remark) in &other.remarks {
            self.remark(fault, remark);
        }
    }
}

impl HttpSums {
    fn add(&mut self, other: &HttpSums) {
        self.requests += other.requests;
        self.connections += other.connections;
        self.transfers += other.transfers;
        self.bytes += other.bytes;
        self.not_found += other.not_found;
        self.fallbacks += other.fallbacks;
        self.errors += other.errors;
    }
}

impl Counts {
    /// The sums of HTTPS if `secure`, else those of HTTP.
    pub const fn http_mut(&mut self, secure: bool) -> &mut HttpSums {
        if secure { &mut self.https } else { &mut self.http }
    }

    /// Answers of TVS that were received and used.
    pub fn tvs_lookups(&self) -> u64 {
        self.tvs_answers.values().sum()
    }

    /// Attempts at a TVS server without an answer.
    pub fn tvs_failed(&self) -> u64 {
        self.tvs_faults.values().sum()
    }

    /// Files of these kinds that were accepted by this path.
    pub fn accepted_by(&self, kinds: &[FileKind], path: AcceptPath) -> u64 {
        kinds.iter().filter_map(|&kind| self.accepted.get(&(kind, path))).sum()
    }

    /// Files of these kinds that were refused.
    pub fn refused_of(&self, kinds: &[FileKind]) -> u64 {
        kinds.iter().filter_map(|kind| self.refused.get(kind)).sum()
    }

    fn merge(&mut self, other: &Counts) {
        fn add<K: Ord + Copy>(into: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
            for (&key, &count) in from {
                *into.entry(key).or_default() += count;
            }
        }
        add(&mut self.accepted, &other.accepted);
        add(&mut self.refused, &other.refused);
        add(&mut self.tvs_answers, &other.tvs_answers);
        add(&mut self.tvs_faults, &other.tvs_faults);
        self.boots += other.boots;
        self.tvs_failovers += other.tvs_failovers;
        self.tvs_cache_hits += other.tvs_cache_hits;
        self.verified += other.verified;
        self.unexpected += other.unexpected;
        self.tftp_requests += other.tftp_requests;
        self.tftp_transfers += other.tftp_transfers;
        self.tftp_bytes += other.tftp_bytes;
        self.tftp_retransmits += other.tftp_retransmits;
        self.tftp_not_found += other.tftp_not_found;
        self.tftp_errors += other.tftp_errors;
        self.http.add(&other.http);
        self.https.add(&other.https);
        // Each worker's peak is its own moment: the sum is an upper bound when there are several.
        self.tftp_in_flight_max += other.tftp_in_flight_max;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phone::Refusal;

    const SECOND: u64 = 1_000_000_000;

    fn at(seconds: u64) -> Time {
        Time::from_nanos(seconds * SECOND)
    }

    #[test]
    fn alarms_are_counted_in_phones_not_events() {
        let mut recorder = Recorder::new(2);
        let refused = |kind| Fact::FileRefused { kind, refusal: Refusal::UnknownSigner };
        for fact in [refused(FileKind::Ctl), refused(FileKind::Itl), refused(FileKind::Config)] {
            recorder.fact(0, at(1), &fact);
        }
        let tallies = recorder.tallies();
        assert_eq!((tallies.list_alarms, tallies.config_alarms), (1, 1));
        assert_eq!(recorder.counts.refused_of(&[FileKind::Ctl, FileKind::Itl]), 2);
    }

    #[test]
    fn ready_counts_from_the_start_of_the_storm_and_boot_from_its_plan() {
        let mut recorder = Recorder::new(3);
        recorder.fact(2, at(1), &Fact::TvsCacheHit);
        recorder.begin_storm(at(10));
        assert_eq!(recorder.counts, Counts::default(), "what was before does not count");
        recorder.begin_boot(0, at(12));
        recorder.fact(0, at(15), &Fact::Settled { outcome: Outcome::Ready });
        assert_eq!(recorder.ready_times_s(), [5.0]);
        let boot = recorder.step_record(StepKind::Boot);
        assert_eq!((boot.ok, boot.failed), (1, 0));
        let three_seconds = boot.response_us.value_at_quantile(0.5);
        assert!((2_990_000..3_010_000).contains(&three_seconds), "{three_seconds}");
    }

    #[test]
    fn a_new_boot_forgets_the_old_outcome_but_not_the_alarms() {
        let mut recorder = Recorder::new(1);
        let refused = Fact::FileRefused { kind: FileKind::Itl, refusal: Refusal::UnknownSigner };
        recorder.begin_boot(0, at(1));
        recorder.fact(0, at(2), &refused);
        recorder.fact(0, at(2), &Fact::Settled { outcome: Outcome::Stuck });
        assert_eq!((recorder.tallies().stuck, recorder.tallies().booting), (1, 0));
        recorder.begin_boot(0, at(3));
        let tallies = recorder.tallies();
        assert_eq!((tallies.stuck, tallies.booting, tallies.list_alarms), (0, 1, 1));
    }

    #[test]
    fn at_the_end_stale_and_unsettled_phones_are_failed_and_the_others_stay() {
        let mut recorder = Recorder::new(4);
        for (phone, outcome) in [(0, Outcome::Ready), (1, Outcome::Ready), (2, Outcome::Stuck)] {
            recorder.begin_boot(phone, at(1));
            recorder.fact(phone, at(2), &Fact::Settled { outcome });
        }
        recorder.begin_boot(3, at(1));
        recorder.close(Finish::TimeLimit, |phone| phone == 0);
        let tallies = recorder.tallies();
        assert_eq!((tallies.ready, tallies.stuck, tallies.failed), (1, 1, 2));
        assert_eq!(
            (tallies.failures[&Failure::Stale], tallies.failures[&Failure::TimeLimit]),
            (1, 1)
        );
        assert_eq!((recorder.ready_times_s().len(), recorder.booting()), (1, 0));
    }

    #[test]
    fn a_phone_in_flight_fails_by_what_has_ended_the_run() {
        let causes = [
            (Finish::EventLimit, "event limit"),
            (Finish::Interrupted, "interrupted"),
            (Finish::TimeLimit, "time limit"),
        ];
        for (finish, cause) in causes {
            let mut recorder = Recorder::new(1);
            recorder.begin_boot(0, at(1));
            recorder.close(finish, |_| true);
            let tallies = recorder.tallies();
            let failures: Vec<_> = tallies.failures.keys().map(ToString::to_string).collect();
            assert_eq!((tallies.failed, failures), (1, vec![cause.to_owned()]));
        }
    }

    #[test]
    fn a_missing_file_and_a_stuck_boot_are_neither_ok_nor_failed() {
        let mut recorder = Recorder::new(1);
        recorder.step(StepKind::Ctl, StepEnd::NotFound, at(0), at(0), at(1));
        recorder.begin_boot(0, at(0));
        recorder.fact(0, at(2), &Fact::Settled { outcome: Outcome::Stuck });
        let counts = |step| {
            let record = recorder.step_record(step);
            (record.ok, record.not_found, record.stuck, record.failed, record.response_us.len())
        };
        assert_eq!(counts(StepKind::Ctl), (0, 1, 0, 0, 1), "an answer has a time");
        assert_eq!(counts(StepKind::Boot), (0, 0, 1, 0, 0));
    }

    #[test]
    fn a_phone_whose_reset_was_never_due_is_not_reset_and_nobody_is_blamed() {
        let mut recorder = Recorder::new(5);
        recorder.begin_storm(at(1));
        assert_eq!(recorder.tallies().not_reset, 5, "before their turn");
        recorder.plan_boots();
        recorder.begin_boot(0, at(1));
        for (phone, outcome) in [(1, Outcome::Ready), (2, Outcome::Stuck), (3, Outcome::Ready)] {
            recorder.begin_boot(phone, at(1));
            recorder.fact(phone, at(2), &Fact::Settled { outcome });
        }
        // A second reset that comes to nobody but the last of them.
        recorder.plan_boots();
        recorder.begin_boot(3, at(3));
        recorder.fact(3, at(4), &Fact::Settled { outcome: Outcome::Ready });
        recorder.close(Finish::TimeLimit, |_| false);
        let tallies = recorder.tallies();
        assert_eq!(tallies.failures[&Failure::TimeLimit], 1, "it was in a boot");
        assert_eq!(tallies.failures[&Failure::Stale], 1, "it was reset to the end");
        assert_eq!((tallies.stuck, tallies.failed, tallies.not_reset), (1, 2, 2));
        let in_all = tallies.ready + tallies.stuck + tallies.failed + tallies.not_reset;
        assert_eq!((in_all, tallies.booting), (tallies.total, 0));
    }

    #[test]
    fn merged_recorders_add_up() {
        let mut one = Recorder::new(1);
        let mut two = Recorder::new(2);
        one.step(StepKind::Tvs, StepEnd::Ok, at(0), at(0), at(1));
        two.step(StepKind::Tvs, StepEnd::Failed, at(0), at(0), at(1));
        two.retry(StepKind::Itl);
        two.lag(Span::from_millis(5));
        one.fact(0, at(1), &Fact::TvsFailover);
        one.merge(&two);
        let tvs = one.step_record(StepKind::Tvs);
        assert_eq!((tvs.ok, tvs.failed, tvs.retry), (1, 1, 1));
        assert_eq!(one.step_record(StepKind::Itl).retry, 1);
        assert_eq!((one.counts.tftp_retransmits, one.counts.tvs_failovers), (1, 1));
        assert_eq!((one.phones().len(), one.generator_lag().samples), (3, 1));
    }

    #[test]
    fn lag_without_samples_is_no_number() {
        assert_eq!(Recorder::new(1).generator_lag().p99_s, None);
    }
}
