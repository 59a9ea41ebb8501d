use std::collections::BTreeMap;

use crate::base::lines::{COLUMNS, paragraph, row};
use crate::base::words::count;
use crate::base::wrapped;

use super::lint::{Lint, Stranded, lost_words};
use super::prediction::Lost;

/// Rows of stranded phones that are shown of one step; kinds are told less finely before.
const ROWS_MAX: usize = 12;

/// Columns of the left one of two columns.
const LEFT: usize = 45;

impl Lint {
    /// What was found, for people, in 80 columns.
    pub fn text(&self) -> String {
        let mut out = String::new();
        paragraph(&mut out, "lint", &self.verdict());
        row(&mut out, "", &self.method());
        self.write_stranded(&mut out);
        self.write_rules(&mut out);
        for (at, note) in self.notes.iter().enumerate() {
            paragraph(&mut out, if at == 0 { "notes" } else { "" }, &note.what);
            if !note.help.is_empty() {
                paragraph(&mut out, "", &format!("help: {}", note.help));
            }
        }
        self.write_safer(&mut out);
        out
    }

    fn verdict(&self) -> String {
        if self.played == 0 {
            return format!("{}: not judged", self.scenario);
        }
        let phones = count(u64::from(self.phones));
        if self.is_safe {
            return format!("{}: safe, nobody of {phones} phones is lost", self.scenario);
        }
        let lost = lost_words(self.lost);
        format!("{}: UNSAFE, {lost} of {phones}", self.scenario)
    }

    fn method(&self) -> String {
        let kinds = |number: usize| if number == 1 { "kind" } else { "kinds" };
        match &self.whole {
            _ if self.played == 0 => "nothing was played".to_owned(),
            None => format!(
                "by playing a phone of each kind ({} {}); load is not judged",
                self.kinds,
                kinds(self.kinds)
            ),
            Some(_) if self.is_exact => {
                format!("by playing all {} phones", count(u64::from(self.played)))
            }
            Some(_) => format!(
                "by playing {} phones; those between are taken as their neighbours",
                count(u64::from(self.played))
            ),
        }
    }

    fn write_stranded(&self, out: &mut String) {
        if let Some(why) = &self.whole {
            paragraph(out, "", &format!("(not one of each kind: {why})"));
        }
        let mut steps: Vec<(Option<usize>, &str)> = Vec::new();
        for stranded in &self.stranded {
            if !steps.contains(&(stranded.step, stranded.outcome)) {
                steps.push((stranded.step, stranded.outcome));
            }
        }
        for (at, (step, outcome)) in steps.into_iter().enumerate() {
            let label = if at == 0 { "stranded" } else { "" };
            let rows: Vec<&Stranded> =
                self.stranded.iter().filter(|s| (s.step, s.outcome) == (step, outcome)).collect();
            write_step(out, label, &rows);
        }
    }

    fn write_rules(&self, out: &mut String) {
        if self.rules.is_empty() {
            return;
        }
        two_columns(out, "rules", "rule of the documents", "computed by playing");
        for rule in &self.rules {
            let step = rule.step.map_or(String::new(), |step| format!("step {step}"));
            two_columns(out, &step, &rule.rule, &rule.consequence);
            paragraph(out, "", &format!("help: {}", rule.help));
        }
    }

    fn write_safer(&self, out: &mut String) {
        let Some(safer) = &self.safer else {
            if !self.is_safe && self.played > 0 {
                let text = "no other order of these steps was found that loses fewer phones";
                paragraph(out, "safer", text);
            }
            return;
        };
        let (was, is) = (lost_words(self.lost), lost_words(safer.lost));
        paragraph(out, "safer", &format!("{}: {is}, by the order given {was}", safer.how));
        for (at, step) in safer.steps.iter().enumerate() {
            paragraph(out, "", &format!("{}. {step}", at + 1));
        }
        row(out, "", "(+ was added; the order was played in the same way)");
    }
}

/// The phones that one step strands.
fn write_step(out: &mut String, label: &str, rows: &[&Stranded]) {
    let Some(first) = rows.first() else { return };
    let phones: u64 = rows.iter().map(|row| row.phones).sum();
    let lost = lost_words(match first.outcome {
        "stuck" => Lost { stuck: phones, ..Lost::default() },
        "failed" => Lost { failed: phones, ..Lost::default() },
        _ => Lost { unregistered: phones, ..Lost::default() },
    });
    let step = match (first.step, &first.name) {
        (Some(number), Some(name)) => format!("by step {number} ({name}): {lost}"),
        _ => format!("by no reset: {lost}"),
    };
    paragraph(out, label, &step);
    let mut whys: Vec<&str> = rows.iter().map(|row| row.why.as_str()).collect();
    whys.sort_unstable();
    whys.dedup();
    whys.iter().for_each(|why| paragraph(out, "", &format!("why: {why}")));
    if !first.because.is_empty() {
        paragraph(out, "", &format!("changed: {}", first.because.join("; ")));
    }
    for (kind, phones) in told(rows) {
        paragraph(out, "", &format!("{:>7}  {kind}", count(phones)));
    }
}

/// Rows by as much of their kinds as can be shown.
fn told(rows: &[&Stranded]) -> Vec<(String, u64)> {
    let full = |row: &Stranded| {
        let site = if row.site.is_empty() { String::new() } else { format!(" · {}", row.site) };
        format!("{} · model {}{site}", coarse(row), row.model)
    };
    let model = |row: &Stranded| format!("{} · model {}", coarse(row), row.model);
    for words in [&full as &dyn Fn(&Stranded) -> String, &model, &coarse] {
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        rows.iter().for_each(|row| *sums.entry(words(row)).or_default() += row.phones);
        if sums.len() <= ROWS_MAX {
            return sums.into_iter().collect();
        }
    }
    let all: u64 = rows.iter().map(|row| row.phones).sum();
    vec![("of many groups and TFTP nodes (--format json has each)".to_owned(), all)]
}

fn coarse(row: &Stranded) -> String {
    format!("group {} · TFTP {}", row.group, row.tftp.join(", then "))
}

/// A label and two texts side by side.
fn two_columns(out: &mut String, label: &str, left: &str, right: &str) {
    const LABEL: usize = 14;
    let left = wrapped(left, LEFT - 2);
    let right = wrapped(right, COLUMNS - LABEL - LEFT);
    for at in 0..left.len().max(right.len()) {
        let cell = |lines: &[String]| lines.get(at).cloned().unwrap_or_default();
        let (label, left, right) = (if at == 0 { label } else { "" }, cell(&left), cell(&right));
        row(out, label, format!("{left:<LEFT$}{right}").trim_end());
    }
}
