//! Numbers and tables for people.

/// A number with its thousands apart: `20 000`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Seconds with three digits in the unit that suits them; `-` for none.
pub fn seconds(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(s) if s <= 0.0 => "0 s".to_owned(),
        Some(s) if s < 0.000_999_5 => format!("{} µs", three_digits(s * 1e6)),
        Some(s) if s < 0.999_5 => format!("{} ms", three_digits(s * 1e3)),
        Some(s) => format!("{} s", three_digits(s)),
    }
}

/// A number from 0 on with three digits, as far as it has that many before its point.
pub fn three_digits(number: f64) -> String {
    match number {
        n if n < 9.995 => format!("{n:.2}"),
        n if n < 99.95 => format!("{n:.1}"),
        n => format!("{n:.0}"),
    }
}

/// Bytes in the decimal unit that suits them.
pub fn bytes(number: u64) -> String {
    match number {
        0..1_000 => format!("{number} B"),
        1_000..1_000_000 => format!("{} kB", three_digits(number as f64 / 1e3)),
        1_000_000..1_000_000_000 => format!("{} MB", three_digits(number as f64 / 1e6)),
        _ => format!("{} GB", three_digits(number as f64 / 1e9)),
    }
}

/// A table: the first column to the left, numbers to the right.
pub fn aligned(table: &[Vec<String>]) -> String {
    let widths = widths(table);
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, &width))| match at {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ") + "\n"
    };
    table.iter().map(line).collect()
}

/// A table with every column to the left.
pub fn aligned_left(table: &[Vec<String>]) -> String {
    let widths = widths(table);
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    table.iter().map(line).collect()
}

fn widths(table: &[Vec<String>]) -> Vec<usize> {
    let columns = table.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| {
        let cells = table.iter().filter_map(|row| row.get(at));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    (0..columns).map(width).collect()
}
