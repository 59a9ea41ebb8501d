use crate::measure::Summary;

use super::text::aligned;

/// Columns of a comparison behind the values of the keys.
const COLUMNS: [&str; 9] = [
    "verdict",
    "ready",
    "stuck",
    "failed",
    "50 % ready",
    "90 % ready",
    "99 % ready",
    "last ready",
    "server CPU",
];

/// One row for each variant, in the order given: its values and what came of it. Times and CPU in
/// seconds; `-` where there is no number.
pub fn comparison_table(keys: &[&str], rows: &[(Vec<String>, &Summary)]) -> String {
    let mut table = vec![head(keys)];
    let seconds =
        |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2} s"));
    table.extend(rows.iter().map(|(values, summary)| cells(values, summary, &seconds)));
    aligned(&table)
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
    keys.iter().chain(&COLUMNS).map(|&name| name.to_owned()).collect()
}

fn cells(
    values: &[String],
    summary: &Summary,
    seconds: &dyn Fn(Option<f64>) -> String,
) -> Vec<String> {
    let (phones, ready) = (&summary.phones, &summary.fleet_ready_s);
    let mut cells = values.to_vec();
    cells.push(summary.verdict.clone());
    cells.extend([phones.ready, phones.stuck, phones.failed].map(|count| count.to_string()));
    cells.extend([ready.p50, ready.p90, ready.p99, ready.last, summary.cpu_s.serve].map(seconds));
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

    #[test]
    fn a_table_and_its_csv_have_one_line_for_each_variant() {
        let mut summary = Summary { verdict: "pass".into(), ..Summary::default() };
        summary.phones.ready = 40;
        summary.fleet_ready_s.p99 = Some(1.5);
        let rows = [(vec!["a,b".to_owned()], &summary)];
        let table = comparison_table(&["key"], &rows);
        assert_eq!(table.lines().count(), 2);
        assert!(table.contains("1.50 s") && table.contains("a,b"), "{table}");
        let csv = comparison_csv(&["key"], &rows);
        let expected = "key,verdict,ready,stuck,failed,50 % ready,90 % ready,99 % ready,last ready,\
                        server CPU\r\n\"a,b\",pass,40,0,0,,,1.500000,,\r\n";
        assert_eq!(csv, expected);
    }
}
