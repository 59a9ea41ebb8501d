use std::collections::BTreeMap;

use serde::Serialize;

use crate::base::{Lack, Span, Time};
use crate::scenario::Doubt;
use crate::wire::Dialogue;

use super::host::{HostFacts, Pause};
use super::row::{Join, join};
use super::verdict::GeneratorState;

/// Where phones wait for their turn, because only so much is in flight at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Queue {
    /// HTTP connections (`run.connections-in-flight`).
    Connections,
    /// Lookups at TVS, and enrolments at CAPF (`run.lookups-in-flight`).
    Lookups,
    /// REGISTERs at `CallManagers` (`run.registrations-in-flight`).
    Registrations,
    /// TFTP transfers (`run.transfers-in-flight`).
    Transfers,
}

impl Queue {
    /// Every queue.
    pub const ALL: [Queue; 4] =
        [Queue::Connections, Queue::Lookups, Queue::Registrations, Queue::Transfers];

    /// Where those wait who want to say something in this dialogue.
    pub const fn of(dialogue: Dialogue) -> Queue {
        match dialogue {
            Dialogue::Tvs | Dialogue::Capf => Queue::Lookups,
            Dialogue::Sip | Dialogue::Sips => Queue::Registrations,
        }
    }

    /// The key of the scenario that bounds it.
    pub const fn key(self) -> &'static str {
        match self {
            Queue::Connections => "run.connections-in-flight",
            Queue::Lookups => "run.lookups-in-flight",
            Queue::Registrations => "run.registrations-in-flight",
            Queue::Transfers => "run.transfers-in-flight",
        }
    }

    /// What is in flight.
    pub const fn what(self) -> &'static str {
        match self {
            Queue::Connections => "HTTP connections",
            Queue::Lookups => "TVS lookups",
            Queue::Registrations => "registrations",
            Queue::Transfers => "TFTP transfers",
        }
    }
}

/// What a part of the generator counts about itself, beside its phones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GeneratorCounts {
    /// By queue.
    pub waits: BTreeMap<Queue, Waits>,
    /// How often the host refused something.
    pub lacks: BTreeMap<Lack, u64>,
    /// When the part as a whole did not come to its turn.
    pub stalls: Vec<Pause>,
}

/// Waits for a place that were longer than [`LAG_P99_MAX_S`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// How many.
    pub count: u64,
    /// The longest.
    pub longest: Span,
    /// Phones that still waited at the end.
    pub at_end: u64,
}

/// Lag above which times are not the server's: 100 ms (`decisions.md`, concurrency).
pub const LAG_P99_MAX_S: f64 = 0.1;
/// Stalls that are kept of each part.
const STALLS_MAX: usize = 10_000;

impl GeneratorCounts {
    /// Somebody waited for a place in this queue.
    pub fn waited(&mut self, queue: Queue, length: Span, at_end: bool) {
        if length.as_secs_f64() <= LAG_P99_MAX_S && !at_end {
            return;
        }
        let waits = self.waits.entry(queue).or_default();
        waits.count += 1;
        waits.longest = waits.longest.max(length);
        waits.at_end += u64::from(at_end);
    }

    /// The part did not come to its turn.
    pub fn stalled(&mut self, pause: Pause) {
        if self.stalls.len() < STALLS_MAX {
            self.stalls.push(pause);
        }
    }
}

impl Join for Waits {
    fn join(&mut self, other: &Waits) {
        join!(self, other; count, at_end);
        self.longest = self.longest.max(other.longest);
    }
}

impl Join for GeneratorCounts {
    fn join(&mut self, other: &GeneratorCounts) {
        join!(self, other; waits, lacks);
        other.stalls.iter().for_each(|&stall| self.stalled(stall));
    }
}

/// An attempt of a phone that brought no answer: it took at least [`SILENCE_MIN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// When it began.
    pub from: Time,
    /// When the phone gave up.
    pub to: Time,
}

/// An attempt that fails faster was refused and not unanswered (choice).
pub const SILENCE_MIN: Span = Span::from_secs(1);

/// The account of what the generator had and lacked, from which its one verdict follows: in a run
/// of phones, and on each level of `capacity`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    /// 99th percentile of its lateness in seconds.
    pub lag_p99_s: Option<f64>,
    /// Waits for a place, by queue.
    pub waits: BTreeMap<Queue, Waits>,
    /// Places of each queue.
    pub places: BTreeMap<Queue, u64>,
    /// In which queues the host permitted fewer places than the scenario asks for, in words.
    pub bounded: Vec<String>,
    /// All places are taken, and a server that is fast enough would need more.
    pub places_full: bool,
    /// How often the host refused something to the phones' side.
    pub lacks: BTreeMap<Lack, u64>,
    /// How often the host refused something to servers in the same process.
    pub server_lacks: u64,
    /// Phones that ended for what the generator lacked.
    pub given_up: BTreeMap<Lack, u64>,
    /// Starts that were planned and did not begin, of all that were planned.
    pub not_started: (u64, u64),
    /// CPU time that was used, as a part of what could be.
    pub cpu_ratio: Option<f64>,
    /// What the host gave.
    pub host: HostFacts,
    /// Phones that failed after a silence that the host may have caused.
    pub doubtful_phones: u64,
    /// All such silences, those of phones that were served in the end among them.
    pub doubtful_attempts: u64,
}

/// Where lateness and use of the CPU begin to matter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Largest lag p99 in seconds.
    pub lag_p99_s: f64,
    /// Largest part of the CPU time; infinite where servers share it.
    pub cpu_ratio: f64,
    /// Largest share of planned starts that may not begin.
    pub not_started: f64,
}

impl Bounds {
    /// Those of a run of phones: whoever is not started is given up one by one.
    pub const RUN: Bounds =
        Bounds { lag_p99_s: LAG_P99_MAX_S, cpu_ratio: f64::INFINITY, not_started: 0.0 };
}

/// What the generator's account comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GeneratorVerdict {
    /// Whether it did what was planned.
    pub state: GeneratorState,
    /// Why, in words, the weightiest first; empty if all is well.
    pub reasons: Vec<String>,
    /// What it means for conditions on the run's numbers.
    pub doubt: Doubt,
    /// Whether the host refused or bounded something that the run asks for: what came out is not
    /// what was to be rehearsed, even if it is good.
    pub lacks_host: bool,
}

/// Share of the CPU time that others may take before times of a run are in doubt (choice).
pub const OTHERS_MAX: f64 = 0.1;
/// Pauses of this length or longer move the times of a run (choice).
const PAUSE_MAX: Span = Span::from_secs(1);

impl Account {
    /// The one verdict.
    pub fn verdict(&self, bounds: Bounds) -> GeneratorVerdict {
        let lacked = [
            (!self.bounded.is_empty()).then(|| self.bounded.join("; ")),
            self.gave_up(),
            self.refused(),
            self.late(bounds),
            self.busy(bounds),
            self.places_full.then(|| "all places in flight are taken".to_owned()),
            self.unstarted(bounds),
        ];
        let mut reasons: Vec<String> = lacked.into_iter().flatten().collect();
        let is_saturated = !reasons.is_empty();
        if is_saturated {
            reasons.extend(self.waits());
        }
        let disturbances = self.disturbances();
        let is_disturbed = !disturbances.is_empty();
        reasons.extend(disturbances);
        let state = match (is_saturated, is_disturbed) {
            (true, _) => GeneratorState::Saturated,
            (false, true) => GeneratorState::Disturbed,
            (false, false) => GeneratorState::Ok,
        };
        let undecided = self.given_up.values().sum::<u64>() + self.doubtful_phones;
        let doubt = Doubt {
            times: is_saturated || undecided > 0 || self.host.longest_pause >= PAUSE_MAX,
            broken_times: is_disturbed,
            undecided,
            broken_counts: self.doubtful_attempts > 0,
            knee_min: None,
        };
        let lacks_host =
            !self.bounded.is_empty() || !self.lacks.is_empty() || self.server_lacks > 0;
        GeneratorVerdict { state, reasons, doubt, lacks_host }
    }

    fn gave_up(&self) -> Option<String> {
        let all: u64 = self.given_up.values().sum();
        let why: Vec<String> = self.given_up.keys().map(ToString::to_string).collect();
        (all > 0).then(|| {
            format!("{} were never let go or given up here: {}", phones(all), why.join(", "))
        })
    }

    fn refused(&self) -> Option<String> {
        let of = |(lack, count): (&Lack, &u64)| format!("{lack} on this host, {count} times");
        let mut all: Vec<String> = self.lacks.iter().map(of).collect();
        if self.server_lacks > 0 {
            let count = self.server_lacks;
            all.push(format!("no descriptor left for our own servers, {count} times"));
        }
        (!all.is_empty()).then(|| all.join("; "))
    }

    fn late(&self, bounds: Bounds) -> Option<String> {
        let lag = self.lag_p99_s.filter(|lag| *lag > bounds.lag_p99_s)?;
        Some(if lag < 1.0 {
            format!("generator late, lag p99 {:.0} ms", lag * 1e3)
        } else {
            format!("generator late, lag p99 {lag:.1} s")
        })
    }

    fn unstarted(&self, bounds: Bounds) -> Option<String> {
        let (missing, planned) = self.not_started;
        let is_much = missing as f64 > planned as f64 * bounds.not_started;
        is_much.then(|| format!("{missing} of {planned} planned starts did not begin"))
    }

    fn busy(&self, bounds: Bounds) -> Option<String> {
        let cpu = self.cpu_ratio.filter(|cpu| *cpu > bounds.cpu_ratio)?;
        Some(format!("generator at {:.0} % of its CPU", cpu * 100.0))
    }

    fn waits(&self) -> impl Iterator<Item = String> + '_ {
        let of = |(queue, waits): (&Queue, &Waits)| {
            let places = self.places.get(queue).copied().unwrap_or(0);
            let (what, longest) = (queue.what(), waits.longest.as_secs_f64());
            let end = match waits.at_end {
                0 => String::new(),
                phones => format!(", {phones} phones still at the end"),
            };
            format!(
                "{} waits of up to {longest:.1} s for one of {places} places for {what}{end}; {}",
                waits.count,
                queue.key()
            )
        };
        self.waits.iter().filter(|(_, waits)| waits.count > 0).map(of)
    }

    fn disturbances(&self) -> Vec<String> {
        let host = &self.host;
        let mut all = Vec::new();
        if host.longest_pause >= PAUSE_MAX {
            let (paused, longest) = (host.paused.as_secs_f64(), host.longest_pause.as_secs_f64());
            all.push(format!("host paused this program for {paused:.1} s, {longest:.1} s at once"));
        }
        if host.others > OTHERS_MAX {
            let percent = host.others * 100.0;
            all.push(format!("host gave {percent:.0} % of its CPU time to others"));
        }
        if host.throttled > OTHERS_MAX {
            let percent = host.throttled * 100.0;
            all.push(format!("CPU quota of this program used up in {percent:.0} % of the time"));
        }
        if self.doubtful_attempts > 0 {
            let (attempts, phones_in_doubt) = (self.doubtful_attempts, self.doubtful_phones);
            all.push(format!(
                "{attempts} time-outs that this host may have caused, {} failed after one",
                phones(phones_in_doubt)
            ));
        }
        all
    }
}

fn phones(count: u64) -> String {
    if count == 1 { "1 phone".to_owned() } else { format!("{count} phones") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(account: &Account) -> GeneratorVerdict {
        account.verdict(Bounds::RUN)
    }

    #[test]
    fn an_account_without_a_lack_is_ok_and_nothing_is_in_doubt() {
        let account = Account { lag_p99_s: Some(0.1), cpu_ratio: Some(1.0), ..Account::default() };
        let verdict = run(&account);
        assert_eq!((verdict.state, verdict.doubt), (GeneratorState::Ok, Doubt::default()));
        assert!(verdict.reasons.is_empty());
    }

    #[test]
    fn phones_that_waited_for_a_place_until_the_end_are_the_generators() {
        let mut counts = GeneratorCounts::default();
        for _ in 0..1_000 {
            counts.waited(Queue::Transfers, Span::from_secs(58), true);
        }
        counts.waited(Queue::Lookups, Span::from_millis(100), false);
        let account = Account {
            lag_p99_s: Some(0.01),
            waits: counts.waits,
            places: [(Queue::Transfers, 2_000)].into(),
            given_up: [(Lack::Place, 1_000)].into(),
            ..Account::default()
        };
        let verdict = run(&account);
        assert_eq!(verdict.state, GeneratorState::Saturated);
        assert!(verdict.doubt.times && verdict.doubt.undecided == 1_000);
        assert!(verdict.reasons[0].starts_with("1000 phones were never let go"), "{verdict:?}");
        let waits = "1000 waits of up to 58.0 s for one of 2000 places for TFTP transfers, \
                     1000 phones still at the end; run.transfers-in-flight";
        assert_eq!(verdict.reasons[1..], [waits]);
    }

    #[test]
    fn every_lack_of_the_host_saturates_the_generator_and_is_named() {
        for lack in Lack::ALL {
            let account = Account { lacks: [(lack, 3)].into(), ..Account::default() };
            let verdict = run(&account);
            assert_eq!(verdict.state, GeneratorState::Saturated, "{lack}");
            assert_eq!(verdict.reasons, [format!("{lack} on this host, 3 times")]);
        }
        let servers = run(&Account { server_lacks: 2, ..Account::default() });
        assert_eq!((servers.state, servers.reasons.len()), (GeneratorState::Saturated, 1));
    }

    #[test]
    fn lateness_cpu_and_missing_starts_count_from_their_bounds_on() {
        let bounds = Bounds { lag_p99_s: 0.05, cpu_ratio: 0.9, not_started: 0.01 };
        let word = |account: Account| account.verdict(bounds).state;
        let lag = |lag| Account { lag_p99_s: Some(lag), ..Account::default() };
        assert_eq!(
            (word(lag(0.05)), word(lag(0.06))),
            (GeneratorState::Ok, GeneratorState::Saturated)
        );
        let cpu = |cpu| Account { cpu_ratio: Some(cpu), ..Account::default() };
        assert_eq!(
            (word(cpu(0.9)), word(cpu(0.91))),
            (GeneratorState::Ok, GeneratorState::Saturated)
        );
        let missing = |missing| Account { not_started: (missing, 100), ..Account::default() };
        assert_eq!(
            (word(missing(1)), word(missing(2))),
            (GeneratorState::Ok, GeneratorState::Saturated)
        );
        assert_eq!(run(&cpu(1.0)).state, GeneratorState::Ok, "servers of ours use it, too");
    }

    #[test]
    fn a_host_that_was_taken_away_is_named_and_its_time_outs_are_in_doubt() {
        let host = HostFacts { others: 0.25, ..HostFacts::default() };
        let taken = Account { host, ..Account::default() };
        let quiet = run(&taken);
        assert_eq!((quiet.state, quiet.doubt.undecided), (GeneratorState::Disturbed, 0));
        assert!(quiet.doubt.broken_times && !quiet.doubt.times && !quiet.doubt.broken_counts);
        assert_eq!(quiet.reasons, ["host gave 25 % of its CPU time to others"]);
        let verdict = run(&Account { doubtful_phones: 173, doubtful_attempts: 180, ..taken });
        assert_eq!((verdict.state, verdict.doubt.undecided), (GeneratorState::Disturbed, 173));
        assert!(verdict.doubt.times && verdict.doubt.broken_counts);
        assert!(verdict.reasons[1].contains("180 time-outs"), "{verdict:?}");
    }

    #[test]
    fn a_pause_of_the_program_makes_its_times_inconclusive() {
        let pause = |seconds| {
            let length = Span::from_secs(seconds);
            let host = HostFacts { paused: length, longest_pause: length, ..HostFacts::default() };
            run(&Account { host, ..Account::default() })
        };
        assert!(pause(5).doubt.times);
        assert_eq!(pause(5).reasons, ["host paused this program for 5.0 s, 5.0 s at once"]);
        assert_eq!(pause(0).state, GeneratorState::Ok);
    }

    #[test]
    fn parts_are_merged() {
        let mut one = GeneratorCounts::default();
        one.waited(Queue::Lookups, Span::from_secs(2), false);
        *one.lacks.entry(Lack::Port).or_default() += 1;
        let mut both = one.clone();
        both.waited(Queue::Lookups, Span::from_secs(3), true);
        both.join(&one);
        let waits = Waits { count: 3, longest: Span::from_secs(3), at_end: 1 };
        assert_eq!(both.waits, [(Queue::Lookups, waits)].into());
        assert_eq!(both.lacks, [(Lack::Port, 2)].into());
    }
}
