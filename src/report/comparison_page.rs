use minijinja::AutoEscape;
use serde_json::{Value, json};

use crate::measure::{COVERS, Summary};

use super::comparison::{RESULTS, cells, two_places};
use super::page::render;
use super::plots::{self, GridAxis, GridCell};

/// Rows of the table of a page at most, and cells of all its maps (choice: a megabyte).
const ROWS_MAX: usize = 1_000;
const CELLS_MAX: usize = 2_000;

/// What is compared on a page.
#[derive(Clone, Copy, Debug)]
pub struct Compared<'a> {
    /// What stands above the page.
    pub title: &'a str,
    /// Names of the values of a row; the keys of `axes` are the last ones.
    pub keys: &'a [&'a str],
    /// The keys that vary and their values in the order typed; the first two span the maps.
    pub axes: &'a [(&'a str, &'a [String])],
    /// Variants that were to be played.
    pub planned: usize,
}

/// The comparison as one page of HTML, without network and script: the ranked rows and, where two
/// keys vary, a heat map of each number that is not the same everywhere.
pub fn comparison_html(compared: &Compared<'_>, rows: &[(Vec<String>, &Summary)]) -> String {
    let lines: Vec<Line> = rows.iter().map(|(values, summary)| Line::of(values, summary)).collect();
    let (maps, maps_left_out) = maps(compared, &lines);
    let row = |line: &Line| json!({ "values": line.values, "results": line.results });
    let context = json!({
        "title": compared.title,
        "version": env!("CARGO_PKG_VERSION"),
        "covers": COVERS,
        "keys": compared.keys,
        "results": RESULTS,
        "played": rows.len(),
        "planned": compared.planned,
        "rows": lines.iter().take(ROWS_MAX).map(row).collect::<Vec<_>>(),
        "rows_left_out": lines.len().saturating_sub(ROWS_MAX),
        "maps": maps,
        "maps_left_out": maps_left_out,
    });
    render(AutoEscape::Html, include_str!("whatif.html.j2"), &context)
}

/// A row as it is shown: the values of its keys, and what came of them.
struct Line {
    values: Vec<String>,
    results: Vec<String>,
    is_cut: bool,
}

impl Line {
    fn of(values: &[String], summary: &Summary) -> Line {
        let results = cells(&[], summary, &two_places);
        Line { values: values.to_vec(), results, is_cut: summary.cut_by.is_some() }
    }

    /// The number of a column, if it has one.
    fn number(&self, column: usize) -> Option<f64> {
        self.results[column].split(' ').next()?.parse().ok()
    }
}

/// The maps, and how many have found no room: one for each number and for each choice of what is on
/// neither axis.
fn maps(compared: &Compared<'_>, lines: &[Line]) -> (Vec<Value>, usize) {
    let [first, second, ..] = compared.axes else { return (Vec::new(), 0) };
    let at = compared.keys.len() - compared.axes.len();
    // The axis of fewer values goes across.
    let (y, x) = if first.1.len() < second.1.len() { (1, 0) } else { (0, 1) };
    let axis =
        |number: usize| GridAxis { key: compared.axes[number].0, names: compared.axes[number].1 };
    let others = |line: &Line| {
        let is_other = |place: usize| place != at && place != at + 1;
        let named = compared.keys.iter().zip(&line.values).enumerate();
        let named = named.filter(|(place, _)| is_other(*place));
        named.map(|(_, (key, value))| format!("{key} {value}")).collect::<Vec<_>>().join(", ")
    };
    let mut choices: Vec<String> = lines.iter().map(others).collect();
    choices.sort();
    choices.dedup();
    let (mut maps, mut room, mut left_out) = (Vec::new(), CELLS_MAX, 0);
    for choice in choices {
        let of: Vec<&Line> = lines.iter().filter(|line| others(line) == choice).collect();
        for (column, result) in RESULTS.into_iter().enumerate() {
            // Where nothing is stuck anywhere, that is what one wants to see.
            if result != "stuck" && !differs(&of, column) {
                continue;
            }
            let cells = map_cells(&of, column, (at + x, axis(x).names), (at + y, axis(y).names));
            if cells.len() > room {
                left_out += 1;
                continue;
            }
            room -= cells.len();
            let name = [result, &choice].join(": ");
            let name = name.trim_end_matches(": ");
            let svg = plots::grid(name, &axis(x), &axis(y), &cells);
            maps.push(json!({ "name": name, "svg": svg }));
        }
    }
    (maps, left_out)
}

/// Whether a column has numbers, not the same in all of the lines.
fn differs(lines: &[&Line], column: usize) -> bool {
    let is_number = lines.iter().any(|line| line.number(column).is_some());
    is_number && lines.iter().any(|line| line.results[column] != lines[0].results[column])
}

fn map_cells(
    lines: &[&Line],
    result: usize,
    (x_place, across): (usize, &[String]),
    (y_place, down): (usize, &[String]),
) -> Vec<GridCell> {
    let most = lines.iter().filter_map(|line| line.number(result)).fold(0.0, f64::max);
    let mut cells = Vec::new();
    for (row, y) in down.iter().enumerate() {
        for (column, x) in across.iter().enumerate() {
            let is_it = |line: &&&Line| line.values[x_place] == *x && line.values[y_place] == *y;
            // A variant that was not played has no cell.
            let Some(line) = lines.iter().find(is_it) else { continue };
            let shown = &line.results[result];
            let text = if line.is_cut { format!("{shown} (cut)") } else { shown.clone() };
            let share = line.number(result).map(|number| number / most.max(f64::MIN_POSITIVE));
            cells.push(GridCell { column, row, text, share });
        }
    }
    cells
}
