use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::base::Span;
use crate::capacity::{CapacityObserver, CapacityPlan, Task};
use crate::measure::{LevelKind, LoadStep};
use crate::report::capacity_step;

use super::super::args::{GlobalArgs, Progress};
use super::super::output;

/// What a person sees on stderr while the load lasts.
pub struct View {
    bar: Option<ProgressBar>,
    lines: bool,
    quiet: bool,
    shown: Span,
    level: String,
}

/// Levels of a search of rates, about (measured).
const LEVELS: u64 = 12;
/// Distance of lines about a level that goes on.
const LINE_EVERY: Span = Span::from_secs(10);

impl View {
    /// A view as the flags want it.
    pub fn new(global: &GlobalArgs) -> View {
        let progress = global.resolved_progress();
        let bar = (progress == Progress::Tui).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(4));
            let style = ProgressStyle::with_template("  {elapsed_precise}  {msg}");
            bar.set_style(style.expect("the template is valid"));
            bar.enable_steady_tick(Duration::from_millis(500));
            bar
        });
        View {
            bar,
            lines: progress == Progress::Lines,
            quiet: progress == Progress::None || global.quiet,
            shown: Span::ZERO,
            level: String::new(),
        }
    }

    /// Says what will be sent, before anything is sent.
    pub fn banner(&mut self, plan: &CapacityPlan, run: &Path) {
        let facts = plan.load_facts();
        let servers = [("TFTP", facts.tftp), ("HTTP", facts.http), ("TVS", facts.tvs)];
        let servers: Vec<String> = servers
            .into_iter()
            .filter_map(|(name, server)| Some(format!("{name} {}", server?)))
            .collect();
        let mix: Vec<String> = facts
            .mix
            .iter()
            .map(|(part, share)| format!("{part} {:.0} %", share * 100.0))
            .collect();
        let version = env!("CARGO_PKG_VERSION");
        self.say(&format!("resetstorm {version} · capacity · seed {}", plan.seed));
        self.say(&format!("  target    {}", servers.join(" · ")));
        self.say(&format!(
            "  load      {}: {} names, {} phones; {} source addresses",
            mix.join(", "),
            facts.names,
            facts.devices,
            facts.addresses
        ));
        self.say(&format!("  will send {}", will_send(plan)));
        self.say(&format!(
            "  guard     stops at {:.0} % failures, answers above {}, {} of silence",
            plan.guard.errors * 100.0,
            plan.guard.slow,
            plan.guard.silence
        ));
        self.say(&format!("  output    {}", run.display()));
    }

    /// Takes the bar away.
    pub fn clear(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn say(&self, line: &str) {
        if self.quiet {
            return;
        }
        match &self.bar {
            Some(bar) => bar.println(line),
            None => output::message(line),
        }
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
        self.shown = Span::ZERO;
        self.level = format!("{kind} {offered:.1} for {length}");
        if let Some(bar) = &self.bar {
            bar.set_message(self.level.clone());
        }
    }

    fn tick(&mut self, elapsed: Span, ended: u64, in_flight: u64) {
        let seconds = elapsed.as_secs_f64();
        let line = format!("{}: t={seconds:.1}s ended={ended} inflight={in_flight}", self.level);
        if let Some(bar) = &self.bar {
            bar.set_message(line);
        } else if self.lines && elapsed.as_nanos() >= (self.shown + LINE_EVERY).as_nanos() {
            self.shown = elapsed;
            self.say(&line);
        }
    }

    fn step(&mut self, step: &LoadStep) {
        self.say(&format!("  {}", capacity_step(step)));
    }

    fn note(&mut self, text: &str) {
        self.say(&format!("  {text}"));
    }
}
