use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::base::Span;
use crate::capacity::{
    Arrival, CapacityPlan, GuardLimits, Limits, MetricsPlan, Pace, Part, SearchPlan, Shape, Task,
};
use crate::scenario::Slo;

use super::super::args::{CliError, duration, slo};
use super::super::listen::MetricsArgs;
use super::load::LoadArgs;
use super::numbers::{percent, rate};
use super::target::TargetArgs;

/// Measure how much load a TFTP, HTTP or TVS server, CAPF or a registrar carries
///
/// The offered rate rises in steps until the server no longer carries it; bisection finds the
/// knee, and a run at 90 % of it confirms it. Starts are planned beforehand and never wait for the
/// server. Before any load every file and question is asked for once or twice, and each later
/// answer is compared with that. Servers outside this machine must be named twice: by
/// --allow-target and in the file of --targets.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = HELP)]
pub struct CapacityArgs {
    /// Whom to load.
    #[command(flatten)]
    pub target: TargetArgs,
    /// With what.
    #[command(flatten)]
    pub load: LoadArgs,
    /// How the levels follow each other.
    #[command(flatten)]
    pub levels: LevelArgs,
    /// When a level counts as carried, and when the load is stopped.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Add a condition on summary.json, such as 'capacity.knee >= 400'
    #[arg(long, value_name = "EXPR", value_parser = slo, help_heading = "Limits")]
    pub slo: Vec<Slo>,
    /// Where Prometheus may ask, and for how long.
    #[command(flatten)]
    pub metrics: MetricsArgs,
    /// Compare with this earlier run
    #[arg(long, value_name = "RUN")]
    pub baseline: Option<PathBuf>,
    /// Folder of run directories
    #[arg(long, value_name = "DIR", default_value = "runs", env = "RESETSTORM_OUT")]
    pub out: PathBuf,
    /// Name in the run directory
    #[arg(long, value_name = "TEXT", default_value = "capacity", value_parser = label)]
    pub label: String,
}

const HELP: &str = "\
Examples:
  resetstorm capacity --tftp 127.0.0.1:6969 --names names.txt
  resetstorm capacity --tvs 127.0.0.1:2445 --certificate tvs.pem --ask callmanager.pem
  resetstorm capacity --http 127.0.0.1:6970 --devices phones.csv --mix boot
  resetstorm capacity --capf 127.0.0.1:3804 --certificate capf.pem --devices phones.csv
  resetstorm capacity --sip 127.0.0.1:5060 --devices phones.csv
  resetstorm capacity --tftp 127.0.0.1:6969 --names names.txt --rate 400 --hold 30s
  resetstorm capacity --tftp 127.0.0.1:6969 --names names.txt --spike 2000

Parts of --mix: boot (all files of a phone's boot, needs --devices), known (a file of --names),
unknown (a file that no server has), verify and query (a certificate of --ask), random (a
certificate that nobody knows), enrol (a phone of --devices gets its LSC, each once), register (a
phone of --devices registers, in turns). Shares add up to 1: known=0.9,unknown=0.1.

Exit codes: 0 measured; 1 a condition of --slo failed, an answer was wrong, or
less is carried than in --baseline; 2 bad command line; 3 no knee of the server
(the generator was the limit, nothing was carried, or the server was unsteady),
a condition that cannot be judged, or a --baseline that cannot be compared; 4
the server was not there or was lost under load; 130, 143 interrupted, with
what was measured so far.";

/// How the levels follow each other.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Levels")]
pub struct LevelArgs {
    /// One fixed rate instead of a search, starts per second
    #[arg(long, value_name = "PER_S", allow_hyphen_values = true, value_parser = rate, conflicts_with = "spike")]
    pub rate: Option<f64>,
    /// All at once: N starts, or without N a search for how many
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "search", value_parser = spike)]
    pub spike: Option<SpikeArg>,
    /// Time of the level of --rate; in a search the shortest time of one level, which near the
    /// knee is longer where the percentile needs more samples
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub hold: Span,
    /// Longest time of one level of a search
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub hold_max: Span,
    /// Time at the start of each level that does not count
    #[arg(long, value_name = "DURATION", default_value = "500ms", value_parser = duration)]
    pub warm_up: Span,
    /// First level of the search [default: 50/s, or 25 at once]
    #[arg(long, value_name = "PER_S", allow_hyphen_values = true, value_parser = rate)]
    pub start: Option<f64>,
    /// Hard upper limit of what is offered [default: 20000/s, or 5000 at once]
    #[arg(long, value_name = "PER_S", allow_hyphen_values = true, value_parser = rate)]
    pub max_rate: Option<f64>,
    /// Each step of the ramp is so many times the one before [default: 1.5, at once 1.25]
    #[arg(long, value_name = "FACTOR", value_parser = factor)]
    pub growth: Option<f64>,
    /// How narrow the knee is to be known
    #[arg(long, value_name = "PERCENT", default_value = "2.5%", allow_hyphen_values = true, value_parser = percent)]
    pub resolution: f64,
    /// Measurements at both ends of the knee, of which the majority counts; odd
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=15))]
    pub repeats: u32,
    /// How starts follow each other
    #[arg(long, value_name = "HOW", value_enum, default_value = "constant")]
    pub arrival: ArrivalName,
    /// How the rate goes on within a level; its highest rate is the level
    #[arg(long, value_name = "NAME", value_enum, default_value = "constant")]
    pub profile: ProfileName,
    /// Seed of every choice
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: u64,
    /// Most starts in flight
    #[arg(long, value_name = "COUNT", default_value_t = 4_096, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub in_flight: u32,
    /// Threads of the generator
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub workers: u32,
}

/// When a level counts as carried, and when the load is stopped.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// Longest response time that counts as carried, at --percentile
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    pub latency: Span,
    /// Percentile that is judged; of few samples the highest one that they allow, 1-5/n
    #[arg(long, value_name = "PERCENT", default_value = "99%", allow_hyphen_values = true, value_parser = percent)]
    pub percentile: f64,
    /// Largest share of failures that counts as carried
    #[arg(long, value_name = "PERCENT", default_value = "1%", allow_hyphen_values = true, value_parser = percent)]
    pub errors: f64,
    /// Stop the load when so many fail within a second
    #[arg(long, value_name = "PERCENT", default_value = "50%", allow_hyphen_values = true, value_parser = percent)]
    pub guard_errors: f64,
    /// Stop the load when a tenth takes longer than this [default: three times --latency]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub guard_latency: Option<Span>,
    /// Stop the load when the server says nothing for so long
    #[arg(long, value_name = "DURATION", default_value = "1500ms", value_parser = duration)]
    pub guard_silence: Span,
    /// How long a server may take to come back after it was overloaded
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub recover: Span,
}

/// How many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpikeArg {
    /// As many as are carried.
    Search,
    /// So many.
    Count(u64),
}

/// How starts follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ArrivalName {
    /// At equal distances: the least noise
    Constant,
    /// As independent callers
    Poisson,
}

/// How the rate goes on within a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProfileName {
    /// The same throughout
    Constant,
    /// From nothing to the rate
    Ramp,
    /// From the rate down to a twentieth of it, as after a power cut
    Storm,
}

/// Share of slow answers within a second at which the guard stops the load (choice).
const GUARD_SLOW_SHARE: f64 = 0.1;
/// Part of the knee that the confirmation run offers.
const CONFIRM: f64 = 0.9;

impl CapacityArgs {
    /// The plan of what was typed; reads the files that are named.
    pub(super) fn plan(&self) -> Result<CapacityPlan, CliError> {
        let metrics = MetricsPlan {
            listen: self.metrics.listen.permitted()?,
            linger: self.metrics.linger(),
            label: self.label.clone(),
        };
        let target = self.target.resolve(&self.load)?;
        let workload = self.load.workload(&target, self.levels.seed)?;
        let boots = workload.mix.iter().any(|(part, _)| *part == Part::Boot);
        let trust = self.load.trust_check(boots || !workload.names.is_empty())?;
        let (levels, limits) = (&self.levels, &self.limits);
        let task = levels.task()?;
        let places = match task {
            Task::Spike(count) => u64::from(levels.in_flight).max(count),
            Task::Search(plan) if plan.whole => u64::from(levels.in_flight).max(plan.max as u64),
            _ => u64::from(levels.in_flight),
        };
        // Enrolments take as long as a key and the answers of CAPF; only these are judged.
        let key_time = target.tcp.capf.as_ref().map_or(Span::ZERO, |capf| capf.key_time);
        let guard = GuardLimits {
            errors: limits.guard_errors,
            slow: limits.guard_latency.unwrap_or(limits.latency.times(3)) + key_time,
            slow_share: GUARD_SLOW_SHARE,
            silence: limits.guard_silence + key_time,
        };
        let judged = Limits {
            percentile: limits.percentile,
            latency: limits.latency + key_time,
            errors: limits.errors,
        };
        Ok(CapacityPlan {
            target,
            workload,
            trust,
            task,
            pace: Pace {
                hold: levels.hold,
                hold_max: levels.hold_max.max(levels.hold),
                // Until the first key is made, no place of CAPF is free again.
                warm_up: levels.warm_up + key_time,
            },
            arrival: match levels.arrival {
                ArrivalName::Constant => Arrival::Constant,
                ArrivalName::Poisson => Arrival::Poisson,
            },
            shape: match levels.profile {
                ProfileName::Constant => Shape::Constant,
                ProfileName::Ramp => Shape::Ramp,
                ProfileName::Storm => Shape::Storm,
            },
            limits: judged,
            guard,
            places: places as usize,
            workers: levels.workers,
            recover: limits.recover,
            seed: levels.seed,
            metrics,
        })
    }
}

impl LevelArgs {
    fn task(&self) -> Result<Task, CliError> {
        let whole = match (self.rate, self.spike) {
            (Some(rate), _) => return Ok(Task::Rate(rate)),
            (None, Some(SpikeArg::Count(count))) => return Ok(Task::Spike(count)),
            (None, spike) => spike.is_some(),
        };
        if self.repeats.is_multiple_of(2) {
            return Err(CliError::usage("an even number has no majority", "--repeats 3 or 5"));
        }
        // Somewhat finer where a server that does not survive can be beaten only once.
        let (start, max, growth) = if whole { (25.0, 5_000.0, 1.25) } else { (50.0, 2e4, 1.5) };
        Ok(Task::Search(SearchPlan {
            start: self.start.unwrap_or(start),
            max: self.max_rate.unwrap_or(max),
            growth: self.growth.unwrap_or(growth),
            resolution: self.resolution,
            repeats: self.repeats,
            confirm: CONFIRM,
            whole,
        }))
    }
}

/// Most starts at once that can be asked for: phones have so many addresses on the loopback.
const SPIKE_MAX: u64 = 1_000_000;

fn spike(text: &str) -> Result<SpikeArg, String> {
    match text {
        "search" => Ok(SpikeArg::Search),
        number => match number.replace('_', "").parse() {
            Ok(count @ 1..=SPIKE_MAX) => Ok(SpikeArg::Count(count)),
            _ => Err(format!("a number from 1 to {SPIKE_MAX}")),
        },
    }
}

fn factor(text: &str) -> Result<f64, String> {
    let factor: f64 = text.parse().map_err(|_| "a number, such as 1.5".to_owned())?;
    if (1.01..=10.0).contains(&factor) { Ok(factor) } else { Err("1.01 to 10".to_owned()) }
}

/// A part of a file name.
fn label(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
    let good = !text.is_empty() && text.len() <= 60 && text.chars().all(plain);
    if good { Ok(text.to_owned()) } else { Err("letters, digits, -, _ and . only".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_shares_are_read_with_and_without_units() {
        assert_eq!(
            (rate("400"), rate("1_500/s"), rate("0.5 /s")),
            (Ok(400.0), Ok(1_500.0), Ok(0.5))
        );
        for text in ["0", "-3", "fast", "inf", "NaN", "2000000"] {
            assert!(rate(text).is_err(), "{text}");
        }
        assert_eq!(
            (percent("1%"), percent("0.5 %"), percent("0.25")),
            (Ok(0.01), Ok(0.005), Ok(0.25))
        );
        for text in ["100%", "-1%", "much", "NaN"] {
            assert!(percent(text).is_err(), "{text}");
        }
        assert_eq!(percent("99"), Err("`%` is missing: 99%".to_owned()));
        assert!(label("../x").is_err() && label("tftpd-hpa_5.2").is_ok());
    }
}
