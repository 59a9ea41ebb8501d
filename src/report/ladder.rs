use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Paragraph, Row, Table, Widget};

use crate::base::Time;
use crate::base::words::{count, seconds, three_digits};
use crate::measure::{Ledger, Phones, StepKind, TrustPaths};

/// What a person sees of a live run while it lasts: a line for each step, as the tools of voice
/// engineers show calls, the phones by state, whom they trust, and the generator.
#[derive(Clone, Debug)]
pub struct Ladder {
    title: String,
    /// What the line about keys says.
    pub keys: KeysShown,
    /// How many of each step had ended, and when, a second ago or more.
    before: (Time, [u64; StepKind::ALL.len()]),
    /// Steps that ended in a second, by then.
    rates: [f64; StepKind::ALL.len()],
}

/// Which keys the ladder names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeysShown {
    /// Those that every program has: nobody reads others.
    #[default]
    None,
    /// Those of a run that goes by.
    Running,
    /// Those of one that is paused.
    Paused,
}

impl KeysShown {
    const fn words(self) -> &'static str {
        match self {
            KeysShown::None => "Ctrl-C ends the run and reports, twice leaves at once",
            KeysShown::Running => "p pauses the steps · d drains · q ends and reports",
            KeysShown::Paused => "PAUSED: p goes on · d drains · q ends and reports",
        }
    }
}

/// The ladder at one moment.
#[derive(Clone, Debug)]
struct Rungs {
    title: String,
    elapsed: String,
    ended: u64,
    phones: Phones,
    rows: Vec<[String; 8]>,
    /// Label and words of the lines below.
    below: Vec<(&'static str, String)>,
}

/// Seconds over which rates are taken at least.
const WINDOW_S: f64 = 1.0;
/// The columns of a step behind its name.
const HEAD: [&str; 8] = ["step", "in flight", "done", "/s", "p50", "p99", "again", "failed"];
/// Lines of a terminal that are left to others.
const SPARE: u16 = 2;

impl Ladder {
    /// A ladder with this title and these keys.
    pub fn new(title: String, keys: KeysShown) -> Ladder {
        let none = [0; StepKind::ALL.len()];
        Ladder { title, keys, before: (Time::ZERO, none), rates: none.map(|count| count as f64) }
    }

    /// The lines that a terminal of so many columns and lines shows of `ledger` at `now`.
    pub fn lines(
        &mut self,
        ledger: &Ledger,
        now: Time,
        (width, height): (u16, u16),
    ) -> Vec<String> {
        self.take_rates(ledger, now);
        let rungs = Rungs::of(self, ledger, now);
        let height = rungs.height().min(height.saturating_sub(SPARE)).max(1);
        let area = Rect::new(0, 0, width.max(1), height);
        let mut buffer = Buffer::empty(area);
        (&rungs).render(area, &mut buffer);
        let line = |y: u16| {
            let cells = (0..area.width).map(|x| buffer[(x, y)].symbol());
            cells.collect::<String>().trim_end().to_owned()
        };
        (0..height).map(line).collect()
    }

    fn take_rates(&mut self, ledger: &Ledger, now: Time) {
        let done = StepKind::ALL.map(|step| done(ledger, step));
        let (then, before) = self.before;
        let length = now.since(then).as_secs_f64();
        if length < WINDOW_S {
            return;
        }
        for (rate, (now, before)) in self.rates.iter_mut().zip(done.iter().zip(before)) {
            // The counts begin anew with the storm.
            *rate = now.checked_sub(before).unwrap_or(*now) as f64 / length;
        }
        self.before = (now, done);
    }
}

fn done(ledger: &Ledger, step: StepKind) -> u64 {
    let record = ledger.step_record(step);
    record.ok + record.not_found
}

impl Rungs {
    fn of(ladder: &Ladder, ledger: &Ledger, now: Time) -> Rungs {
        let Ladder { title, keys, rates, .. } = ladder;
        let phones = ledger.tallies();
        let elapsed = now.as_secs_f64() as u64;
        let row = |step: StepKind| {
            let record = ledger.step_record(step);
            let time = |quantile| seconds(record.response.at_s(quantile));
            [
                step.name().to_owned(),
                count(ledger.in_flight(step)),
                count(done(ledger, step)),
                three_digits(rates[step.index()]),
                time(0.5),
                time(0.99),
                count(record.retry),
                count(record.failed + record.stuck),
            ]
        };
        let is_shown = |step: &StepKind| {
            let record = ledger.step_record(*step);
            let any = done(ledger, *step) + record.failed + record.stuck + ledger.in_flight(*step);
            any > 0 || *step == StepKind::Boot
        };
        let counts = ledger.counts();
        let (tftp, http, tvs) = (&counts.tftp, &counts.http, &counts.tvs);
        let below = vec![
            ("lists", judged(&counts.itls)),
            ("configs", judged(&counts.configs)),
            (
                "servers",
                format!(
                    "TFTP {} files · HTTP {} files · TVS {} answers, {} failed",
                    count(tftp.transfers),
                    count(http.transfers + counts.https.transfers),
                    count(tvs.lookups),
                    count(tvs.failed)
                ),
            ),
            ("generator", format!("lag p99 {}", seconds(ledger.lag().at_s(0.99)))),
            ("keys", keys.words().to_owned()),
        ];
        Rungs {
            title: title.clone(),
            elapsed: format!("{:02}:{:02}", elapsed / 60, elapsed % 60),
            ended: phones.ready + phones.stuck + phones.failed,
            rows: StepKind::ALL.into_iter().filter(is_shown).map(row).collect(),
            phones,
            below,
        }
    }

    /// Lines of all of it: title, bar, phones, the head of the table and what stands apart.
    fn height(&self) -> u16 {
        (self.rows.len() + self.below.len() + 6) as u16
    }

    fn bar(&self, width: u16) -> String {
        let tail = format!(" {}/{}", count(self.ended), count(self.phones.total));
        let room = usize::from(width).saturating_sub(tail.chars().count() + 2);
        let full = room * self.ended as usize / self.phones.total.max(1) as usize;
        let full = full.min(room);
        format!("[{}{}]{tail}", "#".repeat(full), "-".repeat(room - full))
    }

    fn states(&self) -> String {
        let Phones { not_reset, booting, ready, stuck, failed, .. } = &self.phones;
        let parts = [
            ("not reset", not_reset),
            ("booting", booting),
            ("ready", ready),
            ("stuck", stuck),
            ("failed", failed),
        ];
        let part = |(name, phones): (&str, &u64)| format!("{name} {}", count(*phones));
        parts.map(part).join(" · ")
    }
}

/// By whom files were accepted, and how many were refused.
fn judged(paths: &TrustPaths) -> String {
    let parts = [
        ("unchecked", paths.accepted_first + paths.accepted_blank),
        ("by CTL", paths.accepted_by_ctl),
        ("by ITL", paths.accepted_by_itl),
        ("by TVS", paths.accepted_by_tvs + paths.accepted_by_tvs_cache),
        ("by HTTPS", paths.accepted_by_https),
    ];
    let taken = parts.iter().filter(|(_, files)| *files > 0);
    let taken = taken.map(|(by, files)| format!("{by} {}", count(*files)));
    let all: Vec<String> = taken.chain([format!("refused {}", count(paths.refused))]).collect();
    all.join(" · ")
}

impl Widget for &Rungs {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let lengths = [1, 1, 1, 1, self.rows.len() as u16 + 1, 1, self.below.len() as u16];
        let parts = Layout::vertical(lengths.map(Constraint::Length)).split(area);
        let width = area.width;
        let room = usize::from(width).saturating_sub(self.elapsed.len() + 1);
        let title: String = self.title.chars().take(room).collect();
        Paragraph::new(Line::raw(format!("{title:<room$} {}", self.elapsed)))
            .render(parts[0], buffer);
        Paragraph::new(Line::raw(self.bar(width))).render(parts[1], buffer);
        Paragraph::new(Line::raw(self.states())).render(parts[2], buffer);
        let cell = |(at, text): (usize, &str)| {
            let side = if at == 0 { Alignment::Left } else { Alignment::Right };
            Cell::new(Line::raw(text.to_owned()).alignment(side))
        };
        let row = |row: &[String; 8]| {
            Row::new(row.iter().enumerate().map(|(at, text)| cell((at, text))).collect::<Vec<_>>())
        };
        let head = Row::new(HEAD.into_iter().enumerate().map(cell).collect::<Vec<_>>());
        let widths = [10, 9, 10, 7, 8, 8, 8, 8].map(Constraint::Length);
        Table::new(self.rows.iter().map(row).collect::<Vec<_>>(), widths)
            .header(head)
            .column_spacing(1)
            .render(parts[4], buffer);
        let below: Vec<Line<'_>> = self
            .below
            .iter()
            .map(|(name, words)| Line::raw(format!("{name:<10}{words}")))
            .collect();
        Paragraph::new(below).render(parts[6], buffer);
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::base::{PhoneId, Span};
    use crate::measure::{Incident, Listen, Notice, Slice, StepEnd};
    use crate::phone::{AcceptPath, Fact, FileKind, Outcome};

    fn at(ms: u64) -> Time {
        Time::ZERO + Span::from_millis(ms)
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::new(Slice::whole(2_000));
        ledger.note(at(0), &Notice::StormBegan);
        for phone in (0..1_500).map(PhoneId) {
            let planned = at(10);
            ledger.hear(phone, planned, &Incident::BootBegan(planned));
            let (step, end, started) = (StepKind::Itl, StepEnd::Ok, planned);
            ledger.hear(phone, at(15), &Incident::Ended { step, end, planned, started });
            let accepted = Fact::FileAccepted { kind: FileKind::Itl, path: AcceptPath::Tvs };
            ledger.hear(phone, at(16), &Incident::Phone(accepted));
            let outcome = if phone.0 < 1_400 { Outcome::Ready } else { Outcome::Stuck };
            ledger.hear(phone, at(30), &Incident::Phone(Fact::Settled { outcome }));
        }
        ledger
    }

    /// What a terminal of this size shows of the ladder.
    fn shown(width: u16, height: u16) -> Vec<String> {
        let mut ladder =
            Ladder::new("resetstorm 1.0 · live · scenario x · seed 42".into(), KeysShown::None);
        let ledger = ledger();
        ladder.take_rates(&ledger, at(2_000));
        let rungs = Rungs::of(&ladder, &ledger, at(2_000));
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| frame.render_widget(&rungs, frame.area())).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        let on_screen: Vec<String> = (0..height).map(|y| line(y).trim_end().to_owned()).collect();
        let lines = ladder.lines(&ledger, at(2_000), (width, height));
        assert_eq!(lines[..], on_screen[..lines.len()], "what is printed is what a screen shows");
        lines
    }

    #[test]
    fn a_small_and_a_large_terminal_show_all_of_it() {
        for (width, height) in [(80, 24), (200, 50)] {
            let lines = shown(width, height);
            assert!(lines.len() < usize::from(height), "{lines:#?}");
            assert!(lines.iter().all(|line| line.chars().count() <= usize::from(width)));
            let text = lines.join("\n");
            for part in [
                "resetstorm 1.0 · live · scenario x · seed 42",
                "00:02",
                " 1 500/2 000",
                "not reset 500 · booting 0 · ready 1 400 · stuck 100 · failed 0",
                "lists     by TVS 1 500 · refused 0",
                "generator lag p99",
                "Ctrl-C ends the run",
            ] {
                assert!(text.contains(part), "{part} in\n{text}");
            }
            let row = lines.iter().find(|line| line.starts_with("itl")).unwrap();
            let cells: Vec<&str> = row.split_whitespace().collect();
            assert_eq!(cells[..7], ["itl", "0", "1", "500", "750", "5.00", "ms"], "{row}");
            assert!(lines[1].starts_with("[####") && lines[1].contains("---]"), "{}", lines[1]);
        }
    }

    #[test]
    fn the_keys_that_are_read_are_named() {
        let mut ladder = Ladder::new("x".into(), KeysShown::Running);
        let keys = |ladder: &mut Ladder| {
            let lines = ladder.lines(&ledger(), at(2_000), (80, 24));
            lines.into_iter().find(|line| line.starts_with("keys")).unwrap()
        };
        assert_eq!(
            keys(&mut ladder),
            "keys      p pauses the steps · d drains · q ends and reports"
        );
        ladder.keys = KeysShown::Paused;
        assert!(keys(&mut ladder).starts_with("keys      PAUSED: p goes on"));
    }

    #[test]
    fn a_terminal_that_is_too_small_shows_its_beginning() {
        let mut ladder =
            Ladder::new("a title that is longer than the terminal".into(), KeysShown::Running);
        for size in [(1, 1), (20, 6), (40, 3)] {
            let lines = ladder.lines(&ledger(), at(2_000), size);
            assert!(lines.len() <= usize::from(size.1.max(1)), "{lines:?}");
            assert!(
                lines.iter().all(|line| line.chars().count() <= usize::from(size.0)),
                "{lines:?}"
            );
        }
    }
}
