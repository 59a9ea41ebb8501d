use std::path::Path;

use crate::base::{Span, Time};
use crate::capacity::{CapacityObserver, CapacityPlan, Task};
use crate::measure::{LevelKind, LoadStep};
use crate::report::{capacity_mix, capacity_step, capacity_target};

use super::super::args::GlobalArgs;
use super::super::progress::Console;

/// What is told of a measurement while it lasts.
pub struct View {
    /// Where it is told.
    pub console: Console,
    level: String,
}

/// Levels of a search of rates, about (measured).
const LEVELS: u64 = 12;

impl View {
    /// A view as the flags want it.
    pub fn new(global: &GlobalArgs) -> View {
        let console = Console::new(global, None, "  {elapsed_precise}  {msg}");
        View { console, level: String::new() }
    }

    /// Says what will be sent, before anything is sent.
    pub fn banner(&self, plan: &CapacityPlan, run: &Path) {
        let facts = plan.load_facts();
        let say = |line: &str| self.console.say(line);
        let version = env!("CARGO_PKG_VERSION");
        say(&format!("resetstorm {version} · capacity · seed {}", plan.seed));
        say(&format!("  target    {}", capacity_target(&facts)));
        say(&format!(
            "  load      {}: {} names, {} phones; {} source addresses",
            capacity_mix(&facts),
            facts.names,
            facts.devices,
            facts.addresses
        ));
        say(&format!("  will send {}", will_send(plan)));
        say(&format!(
            "  guard     stops at {:.0} % failures, answers above {}, {} of silence",
            plan.guard.errors * 100.0,
            plan.guard.slow,
            plan.guard.silence
        ));
        say(&format!("  output    {}", run.display()));
    }
}

fn will_send(plan: &CapacityPlan) -> String {
    let (unit, pace) = (plan.unit(), &plan.pace);
    match plan.task {
        Task::Search(search) if search.whole => format!(
            "from {} up to {} {unit}, at most {} in flight",
            search.start, search.max, plan.places
        ),
        Task::Search(search) => {
            let all = |hold: Span| {
                let level = pace.warm_up + hold + plan.limits.latency.scaled(1.25);
                Span::from_secs(level.times(LEVELS).as_secs_f64() as u64)
            };
            format!(
                "from {} up to {} {unit}, at most {} in flight; about {LEVELS} levels, in all {} \
                 where thousands a second are carried, up to {} below 30 a second",
                search.start,
                search.max,
                plan.places,
                all(pace.hold),
                all(pace.hold_max)
            )
        }
        Task::Rate(rate) => format!(
            "{rate} {unit} for {} after {} of warm-up; before that each name once or twice at \
             100 a second, behind it up to {} for the last answers",
            pace.hold,
            pace.warm_up,
            plan.target.timeout.times(u64::from(plan.target.tries))
        ),
        Task::Spike(count) => format!("{count} {unit}"),
    }
}

impl CapacityObserver for View {
    fn level(&mut self, kind: LevelKind, offered: f64, length: Span) {
        self.level = format!("{kind} {offered:.1} for {length}");
        self.console.begin(&self.level);
    }

    fn tick(&mut self, elapsed: Span, ended: u64, in_flight: u64) {
        let (level, seconds) = (&self.level, elapsed.as_secs_f64());
        self.console.show(Time::ZERO + elapsed, || {
            format!("{level}: t={seconds:.1}s ended={ended} inflight={in_flight}")
        });
    }

    fn step(&mut self, step: &LoadStep) {
        self.console.say(&format!("  {}", capacity_step(step)));
    }

    fn note(&mut self, text: &str) {
        self.console.say(&format!("  {text}"));
    }
}
