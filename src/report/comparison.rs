use std::collections::BTreeSet;

use crate::base::lines::{COLUMNS, paragraph};
use crate::base::words::aligned;
use crate::measure::Summary;

/// Columns of a comparison behind the values of the keys.
pub(super) const RESULTS: [&str; 12] = [
    "verdict",
    "ready",
    "stuck",
    "failed",
    REGISTERED,
    "50 % ready",
    "90 % ready",
    "99 % ready",
    "last ready",
    "server CPU",
    "look-ups",
    "resets",
];

/// Phones that are registered, where the plan has `[registration]`.
const REGISTERED: &str = "registered";

/// The columns that fit a terminal where variants of one scenario are compared; the CSV has them
/// all.
const SHOWN: [&str; 8] =
    ["verdict", "ready", "stuck", "failed", REGISTERED, "50 % ready", "99 % ready", "server CPU"];

/// Those where orders of steps are compared: what each loses and what it costs.
const SHOWN_OF_ORDERS: [&str; 8] =
    ["verdict", "ready", "stuck", "failed", REGISTERED, "99 % ready", "look-ups", "resets"];

/// Longest key that stands above its own column.
const KEY_MAX: usize = 14;

/// One row for each variant, in the order given: its values and what came of it. Times and CPU in
/// seconds; `-` where there is no number. Long keys have letters in the table and stand above it.
pub fn comparison_table(keys: &[&str], rows: &[(Vec<String>, &Summary)]) -> String {
    table(keys, rows, &SHOWN)
}

/// Like [`comparison_table`], for orders of steps: with look-ups and resets instead of CPU.
pub fn comparison_of_orders(keys: &[&str], rows: &[(Vec<String>, &Summary)]) -> String {
    table(keys, rows, &SHOWN_OF_ORDERS)
}

fn table(keys: &[&str], rows: &[(Vec<String>, &Summary)], columns: &[&str]) -> String {
    let has_registration = rows.iter().any(|(_, summary)| summary.phones.has_registration());
    // There is room for one of them in 80 columns beside the name of an order.
    let left_out = if has_registration { "look-ups" } else { REGISTERED };
    let columns: Vec<&str> = columns.iter().copied().filter(|&name| name != left_out).collect();
    let letters: Vec<String> = ('a'..='z').map(String::from).take(keys.len()).collect();
    let is_long = keys.iter().any(|key| key.chars().count() > KEY_MAX);
    let lettered = is_long && letters.len() == keys.len();
    let mut out = String::new();
    let mut table = vec![Vec::new()];
    for (at, &key) in keys.iter().enumerate() {
        if lettered {
            paragraph(&mut out, &letters[at], key);
        }
        table[0].push(if lettered { letters[at].clone() } else { key.to_owned() });
    }
    let shown = |line: Vec<String>| -> Vec<String> {
        let all = head(keys).into_iter().zip(line).enumerate();
        let is_shown = |at: usize, name: &str| at < keys.len() || columns.contains(&name);
        all.filter(|(at, (name, _))| is_shown(*at, name)).map(|(_, (_, cell))| cell).collect()
    };
    table[0].extend(columns.iter().map(|name| name.trim_end_matches(" ready").to_owned()));
    table.extend(rows.iter().map(|(values, summary)| shown(cells(values, summary, &two_places))));
    let cut: BTreeSet<&str> = rows.iter().filter_map(|(_, summary)| summary.cut_by).collect();
    for by in cut {
        paragraph(&mut out, "cut", &format!("by {by}: not played to its end, without a rank"));
    }
    for (values, summary) in rows.iter().filter(|(_, summary)| summary.cluster.restarts_due > 0) {
        let due = summary.cluster.restarts_due;
        let what = format!("{}: {due} services still work with what was before", values.join(" "));
        paragraph(&mut out, "restarts", &what);
    }
    if rows.iter().any(|(_, summary)| summary.has_reset_nobody()) {
        let why = "what steps do to phones that nobody resets is not known yet: without a rank";
        paragraph(&mut out, "no resets", why);
    }
    let whole = aligned(&table);
    if whole.lines().all(|line| line.chars().count() <= COLUMNS) {
        return out + &whole;
    }
    for row in &table[1..] {
        let named = table[0].iter().zip(row).map(|(name, cell)| format!("{name} {cell}"));
        paragraph(&mut out, "", &named.collect::<Vec<_>>().join(" · "));
    }
    out
}

/// The same as CSV (RFC 4180); an empty cell where there is no number.
pub fn comparison_csv(keys: &[&str], rows: &[(Vec<String>, &Summary)]) -> String {
    let plain = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.6}"));
    let lines = rows.iter().map(|(values, summary)| cells(values, summary, &plain));
    let mut out = String::new();
    for line in std::iter::once(head(keys)).chain(lines) {
        let quoted: Vec<String> = line.iter().map(|cell| quoted(cell)).collect();
        out.push_str(&quoted.join(","));
        out.push_str("\r\n");
    }
    out
}

fn head(keys: &[&str]) -> Vec<String> {
    keys.iter().chain(&RESULTS).map(|&name| name.to_owned()).collect()
}

/// Seconds as the table has them.
pub(super) fn two_places(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.2} s"))
}

/// The values of a row, and behind them one cell for each of [`RESULTS`].
pub(super) fn cells(
    values: &[String],
    summary: &Summary,
    seconds: &dyn Fn(Option<f64>) -> String,
) -> Vec<String> {
    let (phones, ready) = (&summary.phones, &summary.fleet_ready_s);
    let mut cells = values.to_vec();
    cells.push(summary.cut_by.map_or(summary.verdict.name(), |_| "cut").to_owned());
    cells.extend([phones.ready, phones.stuck, phones.failed].map(|count| count.to_string()));
    let registered = phones.has_registration().then(|| phones.registered.to_string());
    cells.push(registered.unwrap_or_default());
    cells.extend([ready.p50, ready.p90, ready.p99, ready.last, summary.cpu_s.serve].map(seconds));
    cells.extend([summary.tvs.lookups, phones.counts.boots].map(|count| count.to_string()));
    cells
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", cell.replace('"', "\"\""));
    }
    cell.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Verdict;

    #[test]
    fn a_table_and_its_csv_have_one_line_for_each_variant() {
        let mut summary = Summary { verdict: Verdict::Pass, ..Summary::default() };
        summary.phones.ready = 40;
        summary.fleet_ready_s.p99 = Some(1.5);
        let rows = [(vec!["a,b".to_owned()], &summary)];
        let table = comparison_table(&["key"], &rows);
        assert_eq!(table.lines().count(), 2);
        assert!(table.contains("1.50 s") && table.contains("a,b"), "{table}");
        assert!(
            table.starts_with("key  verdict  ready  stuck  failed  50 %    99 %  server CPU\n")
        );
        let csv = comparison_csv(&["key"], &rows);
        let expected = "key,verdict,ready,stuck,failed,registered,50 % ready,90 % ready,99 % ready,last ready,\
                        server CPU,look-ups,resets\r\n\"a,b\",pass,40,0,0,,,,1.500000,,,0,0\r\n";
        assert_eq!(csv, expected);
    }

    #[test]
    fn a_comparison_keeps_to_80_columns_whatever_its_keys() {
        let mut summary = Summary { verdict: Verdict::Inconclusive, ..Summary::default() };
        summary.phones.ready = 16_000_000;
        summary.fleet_ready_s.p50 = Some(123_456.78);
        summary.fleet_ready_s.p99 = Some(123_456.78);
        let keys = ["event.reset-1.reset-phones.spread", "cluster.sign-cache"];
        for values in [["30s", "lazy"], ["a value that is really very long indeed", "prewarm"]] {
            let rows = [(values.map(str::to_owned).to_vec(), &summary)];
            let table = comparison_table(&keys, &rows);
            assert!(table.lines().all(|line| line.chars().count() <= COLUMNS), "{table}");
            assert!(table.contains(keys[0]) && table.contains(values[1]), "{table}");
        }
    }
}
