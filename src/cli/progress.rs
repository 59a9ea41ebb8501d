use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use crate::base::{Span, Time};
use crate::live::{Observer, Wish};
use crate::measure::Ledger;
use crate::report::{KeysShown, Ladder, LiveLine};
use crate::scenario::Plan;

use super::args::{CliError, GlobalArgs, Progress};
use super::keys::Keys;
use super::output;

/// What a person sees on stderr while something lasts: a bar that is redrawn in place on a
/// terminal, a line every ten seconds elsewhere.
pub struct Console {
    bar: Option<ProgressBar>,
    lines: bool,
    quiet: bool,
    last_line: Time,
}

const LINE_EVERY: Span = Span::from_secs(10);

impl Console {
    /// A console as the flags want it, with a bar of this template.
    pub fn new(global: &GlobalArgs, length: Option<u64>, template: &str) -> Console {
        let progress = global.resolved_progress();
        let bar = (progress == Progress::Tui).then(|| {
            let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr_with_hz(4));
            let style = ProgressStyle::with_template(template).expect("the template is valid");
            bar.set_style(style.progress_chars("##-"));
            bar.enable_steady_tick(Duration::from_millis(500));
            bar
        });
        let (lines, quiet) = (progress == Progress::Lines, progress == Progress::None);
        Console { bar, lines, quiet, last_line: Time::ZERO }
    }

    /// Shows how things stand at `now`, unless it is too early for another line.
    pub fn show(&mut self, now: Time, text: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_message(text());
        } else if self.lines && now.since(self.last_line) >= LINE_EVERY {
            self.last_line = now;
            self.say(&text());
        }
    }

    /// Something else begins, whose time counts from its own start.
    pub fn begin(&mut self, text: &str) {
        self.last_line = Time::ZERO;
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
        }
    }

    /// Writes one line, above the bar if there is one.
    pub fn say(&self, line: &str) {
        match &self.bar {
            _ if self.quiet => {}
            Some(bar) => bar.println(line),
            None => output::message(line),
        }
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What is told of a live run while it lasts.
pub struct ProgressView {
    /// Where it is told.
    pub console: Console,
    line: LiveLine,
    /// What is redrawn in place on a terminal, if that is a ladder.
    ladder: Option<Ladder>,
    title: String,
    /// The keys of the terminal, while a ladder is on it.
    keys: Option<Keys>,
    /// Whether the last wish was a pause.
    is_paused: bool,
    /// Whether standard output gets the addresses of the servers as a document.
    pub announces: bool,
    /// Whether that could be printed.
    pub printed: Result<(), CliError>,
}

impl ProgressView {
    /// A view of a run of `plan` as the flags want it.
    pub fn new(global: &GlobalArgs, plan: &Plan) -> ProgressView {
        let template = "  boot [{bar:40}] {pos}/{len}  {elapsed_precise}\n  {msg}";
        ProgressView {
            console: Console::new(global, Some(plan.fleet.phones.into()), template),
            line: LiveLine::default(),
            ladder: None,
            keys: None,
            is_paused: false,
            title: format!(
                "resetstorm {} · live · scenario {} · seed {}",
                env!("CARGO_PKG_VERSION"),
                plan.name,
                plan.seed
            ),
            announces: false,
            printed: Ok(()),
        }
    }

    /// The same with a ladder, a line for each step, in place of a bar where that can be redrawn.
    #[must_use]
    pub fn with_ladder(mut self) -> ProgressView {
        if let Some(bar) = &self.console.bar {
            let style = ProgressStyle::with_template("{msg}").expect("the template is valid");
            bar.set_style(style);
            self.keys = Keys::of_terminal();
            self.ladder = Some(Ladder::new(self.title.clone(), KeysShown::None));
            self.show_keys();
        }
        self
    }

    fn show_keys(&mut self) {
        if let (Some(ladder), Some(_)) = (&mut self.ladder, &self.keys) {
            ladder.keys = if self.is_paused { KeysShown::Paused } else { KeysShown::Running };
        }
    }

    /// The run is over: the terminal is as before.
    pub fn close(&mut self) {
        self.keys = None;
        self.console.clear();
    }
}

/// Columns and lines of the terminal on stderr, or of an old one.
fn terminal() -> (u16, u16) {
    let size = terminal_size::terminal_size_of(std::io::stderr());
    size.map_or((80, 24), |(width, height)| (width.0, height.0))
}

impl Observer for ProgressView {
    fn started(&mut self, lines: &[String]) {
        self.console.say(&self.title);
        lines.iter().for_each(|line| self.console.say(&format!("  {line}")));
    }

    fn listening(&mut self, bound: &Value) {
        if self.announces {
            self.printed = output::print(format!("{bound:#}\n"));
        }
    }

    fn tick(&mut self, ledger: &Ledger, now: Time) {
        if let Some(ladder) = &mut self.ladder {
            return self.console.show(now, || ladder.lines(ledger, now, terminal()).join("\n"));
        }
        if let Some(bar) = &self.console.bar {
            let tallies = ledger.tallies();
            bar.set_position(tallies.ready + tallies.stuck + tallies.failed);
        }
        self.console.show(now, || self.line.lines(ledger, now).join("\n  "));
    }

    fn operator(&mut self, text: &str, now: Time) {
        self.told(&format!("operator: {text}"), now);
    }

    fn wish(&mut self) -> Option<Wish> {
        let wish = match self.keys.as_ref()?.next()?.to_ascii_lowercase() {
            b'p' | b' ' => Wish::Pause,
            b'd' => Wish::Drain,
            b'q' => Wish::Quit,
            _ => return None,
        };
        self.is_paused ^= wish == Wish::Pause;
        self.show_keys();
        Some(wish)
    }

    fn told(&mut self, text: &str, now: Time) {
        self.console.say(&format!("  {:>8.3}s  {text}", now.as_secs_f64()));
    }
}
