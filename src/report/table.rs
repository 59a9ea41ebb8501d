//! Tables of a run as CSV (RFC 4180), and back.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use crate::base::Span;

/// A table whose first row names its columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    columns: Columns,
    rows: Vec<csv::StringRecord>,
}

/// The places of columns by their names.
type Columns = BTreeMap<String, usize>;

/// A row of a table.
#[derive(Clone, Copy, Debug)]
pub struct TableRow<'a> {
    columns: &'a Columns,
    record: &'a csv::StringRecord,
}

/// Writes rows of cells as a text.
pub(super) fn to_csv<R, C>(head: &[&str], rows: R) -> String
where
    R: IntoIterator<Item = C>,
    C: IntoIterator<Item = String>,
{
    let mut bytes = Vec::new();
    let rows = rows.into_iter().map(|row| row.into_iter().map(Cow::Owned));
    write_csv(&mut bytes, head, rows).expect("memory takes it");
    String::from_utf8(bytes).expect("cells are text")
}

/// Writes rows of cells one after the other; each has the columns of the head.
///
/// # Errors
/// What `out` said.
pub(super) fn write_csv<'a, R, C>(out: impl Write, head: &[&str], rows: R) -> io::Result<()>
where
    R: IntoIterator<Item = C>,
    C: IntoIterator<Item = Cow<'a, str>>,
{
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
    writer.write_record(head)?;
    for row in rows {
        for cell in row {
            writer.write_field(cell.as_bytes())?;
        }
        writer.write_record(None::<&[u8]>)?;
    }
    writer.flush()
}

/// Reads a table that has these columns, and maybe more, one row after the other, and gives each to
/// `take`.
///
/// # Errors
/// Where it is none, in words.
pub(super) fn each_row(
    text: impl Read,
    needed: &[&str],
    mut take: impl FnMut(TableRow<'_>),
) -> Result<(), String> {
    let mut reader = csv::Reader::from_reader(text);
    let columns = columns(&mut reader, needed)?;
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(|error| error.to_string())? {
        take(TableRow { columns: &columns, record: &record });
    }
    Ok(())
}

fn columns(reader: &mut csv::Reader<impl Read>, needed: &[&str]) -> Result<Columns, String> {
    let head = reader.headers().map_err(|error| error.to_string())?;
    if let Some(lacks) = needed.iter().find(|name| head.iter().all(|cell| cell != **name)) {
        return Err(format!("it has no column {lacks}"));
    }
    Ok(head.iter().enumerate().map(|(at, name)| (name.to_owned(), at)).collect())
}

/// What is said of a table whose last row is not whole.
pub(super) const BREAKS_OFF: &str = "it breaks off within a row";

impl Table {
    /// Reads a table that has these columns, and maybe more.
    ///
    /// # Errors
    /// Where it is none, or has been cut off, in words.
    pub fn parse(text: &str, needed: &[&str]) -> Result<Table, String> {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let columns = columns(&mut reader, needed)?;
        if !text.ends_with('\n') {
            return Err(BREAKS_OFF.to_owned());
        }
        let rows = reader.into_records().collect::<Result<_, _>>();
        Ok(Table { columns, rows: rows.map_err(|error| error.to_string())? })
    }

    /// The rows in their order.
    pub fn rows(&self) -> impl Iterator<Item = TableRow<'_>> {
        self.rows.iter().map(|record| TableRow { columns: &self.columns, record })
    }
}

impl<'a> TableRow<'a> {
    /// What stands in a column; empty if there is no such column.
    pub fn text(self, column: &str) -> &'a str {
        let at = self.columns.get(column);
        at.and_then(|&at| self.record.get(at)).unwrap_or_default()
    }

    /// The number in a column, if there is one.
    pub fn number(self, column: &str) -> Option<f64> {
        self.text(column).parse().ok()
    }
}

/// Microseconds as a number of seconds; empty if there are none.
pub(super) fn seconds_cell(us: Option<u64>) -> String {
    us.map(|us| format!("{}.{:06}", us / 1_000_000, us % 1_000_000)).unwrap_or_default()
}

/// A span to the nearest microsecond.
pub(super) const fn whole_us(span: Span) -> u64 {
    span.as_nanos().saturating_add(500) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_by_the_names_of_its_columns() {
        let rows = [
            ["a,\"b\"".to_owned(), seconds_cell(Some(1_500_000))],
            ["c".to_owned(), String::new()],
        ];
        let text = to_csv(&["who", "when_s"], rows);
        assert_eq!(text, "who,when_s\r\n\"a,\"\"b\"\"\",1.500000\r\nc,\r\n");
        let table = Table::parse(&text, &["when_s", "who"]).unwrap();
        let first = table.rows().next().unwrap();
        assert_eq!((first.text("who"), first.number("when_s")), ("a,\"b\"", Some(1.5)));
        assert_eq!((first.text("no"), first.number("who")), ("", None));
        assert!(Table::parse("a,b\n1,2,3\n", &[]).is_err());
        assert_eq!(seconds_cell(Some(whole_us(Span::from_nanos(60_000_001_500)))), "60.000002");
        assert_eq!(Table::parse(&text, &["why"]), Err("it has no column why".to_owned()));
        let cut = &text[..text.len() - 3];
        assert_eq!(Table::parse(cut, &[]), Err("it breaks off within a row".to_owned()));
    }
}
