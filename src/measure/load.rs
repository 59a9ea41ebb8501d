use std::collections::BTreeMap;
use std::fmt;

use crate::base::{Span, Time};

use super::row::{counts, join};
use super::times::Times;

/// Why a request of a capacity measurement has no good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LoadFault {
    /// Nothing came back before patience, or the load, ended.
    Silence,
    /// An answer had begun and was not complete when the load ended.
    Unfinished,
    /// Nobody listens on the port.
    Refused,
    /// The connection broke before the whole answer.
    Reset,
    /// A TFTP error with this number.
    TftpError(u16),
    /// An HTTP status that is neither 200 nor 404.
    HttpStatus(u16),
    /// What came back is not of the protocol.
    Protocol,
    /// The file is longer than a phone takes.
    TooLong,
    /// The server says that it has no such file, and it has.
    Missing,
    /// The server served a name that it cannot have.
    Unexpected,
    /// Length or digest differ from the reference.
    WrongBytes,
    /// The signature is not accepted by the given trust lists.
    WrongSignature,
    /// TVS says something other than the reference.
    WrongAnswer,
    /// The TLS server shows a certificate that is not the given one.
    OtherServer,
    /// This host had no descriptor left.
    NoDescriptor,
    /// This host had no port or address left.
    NoPort,
    /// CAPF tells the phone to come again: all of its places are taken. So does a registrar (503).
    Postponed,
    /// CAPF or a registrar has refused the phone.
    TurnedAway,
    /// No phone of the list is left, or CAPF has nothing to do for this one.
    NoPhone,
}

impl LoadFault {
    /// The words of all kinds, without the number that a server may choose.
    pub const KINDS: [&str; 19] = [
        "silence",
        "unfinished",
        "refused",
        "reset",
        "tftp error",
        "status",
        "protocol",
        "too long",
        "missing",
        "unexpected file",
        "wrong bytes",
        "wrong signature",
        "wrong answer",
        "other certificate",
        "no descriptor here",
        "no port here",
        "retry later",
        "turned away",
        "no phone with an operation",
    ];

    /// The kind of a fault that was written as words.
    pub fn kind_of(words: &str) -> &str {
        words.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end()
    }

    /// Whether this host or the list of phones is to blame and not the server.
    pub const fn is_ours(self) -> bool {
        matches!(self, LoadFault::NoDescriptor | LoadFault::NoPort | LoadFault::NoPhone)
    }

    /// Whether the server answered in time, and wrongly.
    pub const fn is_wrong_answer(self) -> bool {
        matches!(
            self,
            LoadFault::Missing
                | LoadFault::Unexpected
                | LoadFault::WrongBytes
                | LoadFault::WrongSignature
                | LoadFault::WrongAnswer
        )
    }
}

impl fmt::Display for LoadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadFault::Silence => f.write_str("silence"),
            LoadFault::Unfinished => f.write_str("unfinished"),
            LoadFault::Refused => f.write_str("refused"),
            LoadFault::Reset => f.write_str("reset"),
            LoadFault::TftpError(number) => write!(f, "tftp error {number}"),
            LoadFault::HttpStatus(status) => write!(f, "status {status}"),
            LoadFault::Protocol => f.write_str("protocol"),
            LoadFault::TooLong => f.write_str("too long"),
            LoadFault::Missing => f.write_str("missing"),
            LoadFault::Unexpected => f.write_str("unexpected file"),
            LoadFault::WrongBytes => f.write_str("wrong bytes"),
            LoadFault::WrongSignature => f.write_str("wrong signature"),
            LoadFault::WrongAnswer => f.write_str("wrong answer"),
            LoadFault::OtherServer => f.write_str("other certificate"),
            LoadFault::NoDescriptor => f.write_str("no descriptor here"),
            LoadFault::NoPort => f.write_str("no port here"),
            LoadFault::Postponed => f.write_str("retry later"),
            LoadFault::TurnedAway => f.write_str("turned away"),
            LoadFault::NoPhone => f.write_str("no phone with an operation"),
        }
    }
}

/// One planned piece of load has ended, or was given up.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// When it was planned.
    pub planned: Time,
    /// When it began.
    pub started: Time,
    /// When it ended or was given up.
    pub ended: Time,
    /// Why it has no good answer, if it has none.
    pub fault: Option<LoadFault>,
}

counts! {
    /// Planned starts of a level of load.
    pub struct StartCounts {
        /// Planned starts that count.
        planned: u64,
        /// Those that began.
        started: u64,
        /// Those that had to wait for a place among those in flight.
        waited: u64,
        /// Those that ended with a good answer.
        ok: u64,
    }
}

counts! {
    /// What went to the servers for them.
    pub struct TrafficCounts {
        /// Single requests, of which a boot has several.
        requests: u64,
        /// Datagrams that were sent again.
        sent_again: u64,
        /// Most that were in flight at once; of several threads the sum, which bounds it.
        in_flight_max: u64,
    }
}

/// What one thread of the generator has seen of one level of load. Plain numbers: recording takes
/// no lock.
#[derive(Clone, Debug, Default)]
pub struct LoadRecorder {
    /// From here on planned starts count; what comes before warms the server up.
    from: Time,
    /// First planned start, counted or not.
    begun: Time,
    /// End of the planned starts that count.
    until: Time,
    /// Starts that count.
    pub starts: StartCounts,
    /// What they asked for.
    pub traffic: TrafficCounts,
    /// Good answers while the load was measured, to starts of the warm-up, too: what the server
    /// served in that time.
    ok_in_window: u64,
    /// Wrong answers that may have been those of an earlier transfer and were asked for again.
    pub doubtful: u64,
    /// Those without a good answer, by cause.
    pub faults: BTreeMap<LoadFault, u64>,
    /// The same of the warm-up, which do not count: they say whose fault it is when the guard stops
    /// a level in it.
    pub early_faults: BTreeMap<LoadFault, u64>,
    /// Good answers, those of the warm-up, too, that could be judged in part only.
    pub unchecked: u64,
    /// What was missing to judge them, each once.
    pub unchecked_for: Vec<String>,
    /// The first wrong answers in words.
    pub wrong: Vec<String>,
    /// What the server said about the others without a good answer, each once.
    pub said: Vec<String>,
    /// From the planned start; those given up count with their age.
    pub response: Times,
    /// From the actual start, in the same way.
    pub service: Times,
    /// How late the generator was.
    pub lag: Times,
    /// Response times of good answers.
    pub good: Times,
    /// Response times of those planned in the first and in the last third.
    first_third: Times,
    last_third: Times,
}

/// Wrong answers that are kept in words, at most (choice).
const WRONG_MAX: usize = 10;
/// Different things that the server said, or that were missing, that are kept, at most (choice).
const SAID_MAX: usize = 5;

impl LoadRecorder {
    /// A recorder of planned starts between `from` and `until`.
    pub fn new(from: Time, until: Time) -> LoadRecorder {
        LoadRecorder { from, begun: from, until, ..LoadRecorder::default() }
    }

    /// The same after a warm-up whose starts, from `begun` on, do not count.
    pub fn warmed_up(begun: Time, from: Time, until: Time) -> LoadRecorder {
        LoadRecorder { begun: begun.min(from), ..LoadRecorder::new(from, until) }
    }

    /// Whether what was planned for then counts.
    pub fn counts(&self, planned: Time) -> bool {
        planned >= self.from
    }

    /// The time in which planned starts count.
    pub fn length(&self) -> Span {
        self.until.since(self.from)
    }

    /// The load was stopped: nothing is planned behind `now`.
    pub fn cut(&mut self, now: Time) {
        self.until = self.until.min(now).max(self.from);
    }

    /// Something was planned that counts.
    pub fn plan(&mut self, planned: Time) {
        self.starts.planned += u64::from(self.counts(planned));
    }

    /// It began; `waited` for a place, which is not the generator's lag.
    pub fn start(&mut self, planned: Time, now: Time, waited: bool) {
        if !self.counts(planned) {
            return;
        }
        self.starts.started += 1;
        if waited {
            self.starts.waited += 1;
        } else {
            self.lag.record(now.since(planned));
        }
    }

    /// It ended; `words` say what was wrong with a wrong answer.
    pub fn end(&mut self, ended: &Ended, words: Option<String>) {
        if let Some(words) = words {
            let is_wrong = ended.fault.is_some_and(LoadFault::is_wrong_answer);
            if is_wrong && self.wrong.len() < WRONG_MAX {
                self.wrong.push(words);
            } else if !is_wrong && self.counts(ended.planned) {
                self.say(words);
            }
        }
        let in_window = ended.ended >= self.from && ended.ended <= self.until;
        self.ok_in_window += u64::from(ended.fault.is_none() && in_window);
        if !self.counts(ended.planned) {
            // A wrong answer counts whenever it comes.
            if let Some(fault) = ended.fault {
                let is_wrong = fault.is_wrong_answer();
                let faults = if is_wrong { &mut self.faults } else { &mut self.early_faults };
                *faults.entry(fault).or_default() += 1;
            }
            return;
        }
        let response = ended.ended.since(ended.planned);
        match ended.fault {
            None => {
                self.starts.ok += 1;
                self.good.record(response);
            }
            Some(fault) => *self.faults.entry(fault).or_default() += 1,
        }
        self.response.record(response);
        self.service.record(ended.ended.since(ended.started));
        let part = ended.planned.since(self.from).as_nanos() as f64;
        let whole = self.length().as_nanos().max(1) as f64;
        if part < whole / 3.0 {
            self.first_third.record(response);
        } else if part >= whole * 2.0 / 3.0 {
            self.last_third.record(response);
        }
    }

    fn say(&mut self, words: String) {
        keep_new(&mut self.said, words);
    }

    /// A good answer could be judged in part only, for want of this.
    pub fn leave_unchecked(&mut self, want: String) {
        self.unchecked += 1;
        keep_new(&mut self.unchecked_for, want);
    }

    /// So many are in flight now.
    pub fn in_flight(&mut self, now: u64) {
        let most = &mut self.traffic.in_flight_max;
        *most = (*most).max(now);
    }

    /// Those without a good answer.
    pub fn failed(&self) -> u64 {
        self.faults.values().sum()
    }

    /// Seconds by which response times grew per second of load: above zero the server falls
    /// behind, by this share of the offered rate. `None` without samples at both ends.
    pub fn drift(&self) -> Option<f64> {
        /// Samples at either end below which a median says nothing (choice).
        const SAMPLES_MIN: u64 = 5;
        let median = |times: &Times| times.at_s(0.5).filter(|_| times.len() >= SAMPLES_MIN);
        let growth = median(&self.last_third)? - median(&self.first_third)?;
        // The middles of the two thirds lie two thirds of the whole apart.
        let apart = self.length().as_secs_f64() * 2.0 / 3.0;
        (apart > 0.0).then(|| growth / apart)
    }

    /// Good answers per second while the load was measured; `None` of a load in one instant.
    pub fn served_per_s(&self) -> Option<f64> {
        let length_s = self.length().as_secs_f64();
        let warm_up_us = self.from.since(self.begun).as_micros();
        // Before the first answer of all can have come there is nothing to count.
        let fastest_us = if self.good.is_empty() { 0 } else { self.good.min() };
        let nothing_s = fastest_us.saturating_sub(warm_up_us) as f64 / 1e6;
        let counted_s = length_s - nothing_s.min(length_s / 2.0);
        (length_s > 0.0).then(|| self.ok_in_window as f64 / counted_s)
    }

    /// Answers, good or not, that are missing at the end of the load: how many, and as a part of
    /// those that a server gives that goes on as it began. `None` of a load in one instant.
    pub fn missing(&self) -> Option<(f64, f64)> {
        let length_s = self.length().as_secs_f64();
        if length_s <= 0.0 || self.starts.planned == 0 {
            return None;
        }
        let expected = self.starts.planned as f64 * (1.0 - self.edge_s() / length_s);
        let missing = expected - (self.ok_in_window + self.failed()) as f64;
        Some((missing, missing / expected.max(1.0)))
    }

    /// Seconds of the measured time in which there can be no answer yet, because the answers to
    /// the first starts of all take longer than the warm-up.
    fn edge_s(&self) -> f64 {
        /// The largest part of the measured time that is explained in this way (choice).
        const PART_MAX: f64 = 0.1;
        let warm_up_us = self.from.since(self.begun).as_micros();
        let late = |value: u64| value.saturating_sub(warm_up_us) as f64 / 1e6;
        let first = &self.first_third;
        let sum: f64 = first
            .iter_recorded()
            .map(|row| late(row.value_iterated_to()) * row.count_at_value() as f64)
            .sum();
        let mean_s = sum / (first.len().max(1) as f64);
        mean_s.min(self.length().as_secs_f64() * PART_MAX)
    }

    /// Part of the starts that began later than planned by more than this, 0 to 1.
    pub fn late_ratio(&self, than: Span) -> f64 {
        let lag = &self.lag;
        let late = lag.count_between(than.as_micros() + 1, u64::MAX);
        late as f64 / lag.len().max(1) as f64
    }

    /// Adds what another thread has seen of the same load.
    pub fn merge(&mut self, other: &LoadRecorder) {
        self.until = self.until.min(other.until);
        self.begun = self.begun.min(other.begun);
        join!(self, other; starts, traffic, ok_in_window, doubtful, faults, early_faults, unchecked);
        join!(self, other; response, service, lag, good, first_third, last_third);
        let room = WRONG_MAX.saturating_sub(self.wrong.len());
        self.wrong.extend(other.wrong.iter().take(room).cloned());
        other.said.iter().for_each(|words| self.say(words.clone()));
        let wants = other.unchecked_for.iter().cloned();
        wants.for_each(|want| keep_new(&mut self.unchecked_for, want));
    }
}

/// Keeps what is new among the first words.
fn keep_new(kept: &mut Vec<String>, words: String) {
    if kept.len() < SAID_MAX && !kept.contains(&words) {
        kept.push(words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::ZERO + Span::from_millis(millis)
    }

    fn recorder() -> LoadRecorder {
        LoadRecorder::new(at(1_000), at(4_000))
    }

    fn answered(planned: u64, ended: u64) -> Ended {
        Ended { planned: at(planned), started: at(planned), ended: at(ended), fault: None }
    }

    #[test]
    fn every_fault_is_of_a_known_kind_whatever_number_the_server_chose() {
        let numbered = [LoadFault::TftpError(65_535), LoadFault::HttpStatus(503)];
        let plain = [LoadFault::Silence, LoadFault::WrongBytes, LoadFault::NoPhone];
        for fault in numbered.into_iter().chain(plain) {
            let words = fault.to_string();
            assert!(LoadFault::KINDS.contains(&LoadFault::kind_of(&words)), "{words}");
        }
    }

    #[test]
    fn what_was_planned_before_the_measurement_counts_only_if_it_is_wrong() {
        let mut recorder = recorder();
        recorder.plan(at(999));
        recorder.start(at(999), at(999), false);
        recorder.end(&answered(999, 1_200), None);
        assert_eq!(
            (recorder.starts.planned, recorder.starts.started, recorder.starts.ok),
            (0, 0, 0)
        );
        let wrong = Ended { fault: Some(LoadFault::WrongBytes), ..answered(500, 600) };
        recorder.end(&wrong, Some("a: 3 bytes instead of 4".into()));
        assert_eq!(recorder.failed(), 1);
        assert_eq!(recorder.wrong, ["a: 3 bytes instead of 4"]);
        let silent = Ended { fault: Some(LoadFault::Silence), ..answered(500, 600) };
        recorder.end(&silent, None);
        assert_eq!(recorder.failed(), 1);
        assert_eq!(recorder.early_faults, [(LoadFault::Silence, 1)].into());
    }

    #[test]
    fn a_server_that_serves_four_fifths_of_what_is_offered_drifts_by_a_quarter() {
        let mut recorder = recorder();
        for planned in (1_000..4_000).step_by(10) {
            // Each answer comes 12.5 ms after the one before it.
            let ended = 1_000 + (planned - 1_000) * 5 / 4;
            recorder.end(&answered(planned, ended), None);
        }
        let drift = recorder.drift().unwrap();
        assert!((drift - 0.25).abs() < 0.01, "{drift}");
        let in_time = recorder.ok_in_window as f64 / recorder.starts.ok as f64;
        assert!((in_time - 0.8).abs() < 0.01, "{in_time}");
        recorder.starts.planned = 300;
        let (_, missing) = recorder.missing().unwrap();
        assert!((0.1..0.2).contains(&missing), "{missing}");
    }

    #[test]
    fn a_server_that_keeps_up_does_not_drift_and_few_samples_say_nothing() {
        let mut recorder = recorder();
        assert_eq!(recorder.drift(), None);
        for planned in (1_000..4_000).step_by(10) {
            recorder.end(&answered(planned, planned + 7), None);
        }
        assert!(recorder.drift().unwrap().abs() < 1e-9);
    }

    #[test]
    fn answers_to_the_warm_up_count_as_served_and_what_cannot_be_there_yet_is_not_missed() {
        let whole = |warm_up: u64, response: u64| {
            let mut recorder = LoadRecorder::warmed_up(at(1_000 - warm_up), at(1_000), at(4_000));
            for planned in (1_000 - warm_up..4_000).step_by(10) {
                recorder.plan(at(planned));
                recorder.end(&answered(planned, planned + response), None);
            }
            (recorder.served_per_s().unwrap(), recorder.missing().unwrap().0)
        };
        for (warm_up, response) in [(500, 200), (500, 7), (0, 200), (100, 300)] {
            let (served, missing) = whole(warm_up, response);
            assert!((served - 100.0).abs() < 0.7, "{warm_up} {response}: {served}");
            assert!(missing.abs() < 2.0, "{warm_up} {response}: {missing}");
        }
    }

    #[test]
    fn waiting_for_a_place_is_no_lag() {
        let mut recorder = recorder();
        recorder.start(at(1_000), at(1_900), true);
        assert_eq!((recorder.starts.waited, recorder.lag.at_s(0.99)), (1, None));
        recorder.start(at(1_000), at(1_002), false);
        assert!(recorder.lag.at_s(0.99).unwrap() >= 0.002);
        recorder.start(at(1_000), at(1_010), false);
        let late = |millis| recorder.late_ratio(Span::from_millis(millis));
        let parts = [late(1), late(5), late(20)].map(|part| (part * 100.0).round() as u32);
        assert_eq!(parts, [100, 50, 0]);
    }

    #[test]
    fn parts_of_two_threads_add_up() {
        let mut one = recorder();
        one.plan(at(1_000));
        one.end(&answered(1_000, 1_001), None);
        let mut two = recorder();
        two.plan(at(2_000));
        let failed = Ended { fault: Some(LoadFault::HttpStatus(503)), ..answered(2_000, 2_001) };
        two.end(&failed, None);
        two.cut(at(3_000));
        one.merge(&two);
        assert_eq!((one.starts.planned, one.starts.ok, one.failed()), (2, 1, 1));
        assert_eq!(one.length(), Span::from_secs(2));
        assert_eq!(one.faults.keys().next().unwrap().to_string(), "status 503");
    }
}
