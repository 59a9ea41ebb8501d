use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::base::{Span, Time};
use crate::measure::Ledger;
use crate::report::LiveLine;
use crate::scenario::Plan;

use super::args::{GlobalArgs, Progress};
use super::output;

/// What a person sees on stderr while a run lasts: a bar that is redrawn in place on a terminal,
/// a line every ten seconds elsewhere.
pub struct ProgressView {
    bar: Option<ProgressBar>,
    lines: bool,
    quiet: bool,
    line: LiveLine,
    last_line: Time,
    title: String,
}

const LINE_EVERY: Span = Span::from_secs(10);

impl ProgressView {
    /// A view of a run of `plan` as the flags want it.
    pub fn new(global: &GlobalArgs, plan: &Plan) -> ProgressView {
        let progress = global.resolved_progress();
        let bar = (progress == Progress::Tui).then(|| {
            let target = ProgressDrawTarget::stderr_with_hz(4);
            let bar = ProgressBar::with_draw_target(Some(u64::from(plan.fleet.phones)), target);
            let template = "  boot [{bar:40}] {pos}/{len}  {elapsed_precise}\n  {msg}";
            let style = ProgressStyle::with_template(template).expect("the template is valid");
            bar.set_style(style.progress_chars("##-"));
            bar.enable_steady_tick(Duration::from_millis(500));
            bar
        });
        ProgressView {
            bar,
            lines: progress == Progress::Lines,
            quiet: progress == Progress::None || global.quiet,
            line: LiveLine::default(),
            last_line: Time::ZERO,
            title: format!(
                "resetstorm {} · live · scenario {} · seed {}",
                env!("CARGO_PKG_VERSION"),
                plan.name,
                plan.seed
            ),
        }
    }

    /// Says what runs, before it runs.
    pub fn header(&mut self, lines: &[String]) {
        let title = self.title.clone();
        self.note(&title);
        lines.iter().for_each(|line| self.note(&format!("  {line}")));
    }

    /// Shows the fleet at `now`.
    pub fn show(&mut self, ledger: &Ledger, now: Time) {
        if let Some(bar) = &self.bar {
            let tallies = ledger.tallies();
            bar.set_position(tallies.ready + tallies.stuck + tallies.failed);
            bar.set_message(self.line.lines(ledger, now).join("\n  "));
        } else if self.lines && now.since(self.last_line) >= LINE_EVERY {
            self.last_line = now;
            let [first, second] = self.line.lines(ledger, now);
            self.note(&first);
            self.note(&format!("  {second}"));
        }
    }

    /// Says that the operator does something.
    pub fn event(&mut self, text: &str, now: Time) {
        self.note(&format!("  {:>8.3}s  operator: {text}", now.as_secs_f64()));
    }

    /// Writes one line, above the bar if there is one.
    pub fn note(&mut self, line: &str) {
        if self.quiet {
            return;
        }
        match &self.bar {
            Some(bar) => bar.println(line),
            None => output::message(line),
        }
    }

    /// Takes the bar away.
    pub fn clear(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
