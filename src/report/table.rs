//! Tables of a run as CSV (RFC 4180), and back.

use std::collections::HashMap;
use std::fmt::{Display, Write as _};
use std::io::{self, Read, Write};

use foldhash::fast::RandomState;

use crate::base::Span;

/// A table whose first row names its columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    columns: Columns,
    rows: Vec<csv::StringRecord>,
}

/// The places of columns by their names.
type Columns = HashMap<String, usize, RandomState>;

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
    let mut out = TableWriter::new(&mut bytes, head).expect("memory takes it");
    for row in rows {
        let write = |cells: &mut Cells| row.into_iter().for_each(|cell| cells.text(&cell));
        out.row(write).expect("memory takes it");
    }
    out.end().expect("memory takes it");
    drop(out);
    String::from_utf8(bytes).expect("cells are text")
}

/// Writes a table one row after the other.
pub(super) struct TableWriter<W: Write> {
    out: csv::Writer<W>,
    cells: Cells,
}

/// The cells of a row that is written.
#[derive(Default)]
pub(super) struct Cells {
    record: csv::ByteRecord,
    /// Room for one that is not text.
    room: String,
}

impl<W: Write> TableWriter<W> {
    /// Writes the names of the columns.
    ///
    /// # Errors
    /// What `out` said.
    pub(super) fn new(out: W, head: &[&str]) -> io::Result<TableWriter<W>> {
        let mut out = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
        out.write_record(head)?;
        Ok(TableWriter { out, cells: Cells::default() })
    }

    /// Writes a row; `write` says its cells, as many as there are columns.
    ///
    /// # Errors
    /// What the place said to which it is written.
    pub(super) fn row(&mut self, write: impl FnOnce(&mut Cells)) -> io::Result<()> {
        self.cells.record.clear();
        write(&mut self.cells);
        Ok(self.out.write_byte_record(&self.cells.record)?)
    }

    /// Nothing more comes.
    ///
    /// # Errors
    /// What the place said to which it is written.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Cells {
    /// A cell with this text.
    pub(super) fn text(&mut self, text: &str) {
        self.record.push_field(text.as_bytes());
    }

    /// A cell with what `value` shows.
    pub(super) fn shown(&mut self, value: impl Display) {
        self.room.clear();
        write!(self.room, "{value}").expect("a text takes it");
        self.record.push_field(self.room.as_bytes());
    }

    /// Microseconds as a number of seconds; empty if there are none.
    pub(super) fn seconds(&mut self, us: Option<u64>) {
        let mut room = [0; SECONDS_LENGTH];
        self.record.push_field(us.map_or(&[][..], |us| seconds_digits(us, &mut room)));
    }
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
    let digits = |us| String::from_utf8_lossy(seconds_digits(us, &mut [0; SECONDS_LENGTH])).into();
    us.map(digits).unwrap_or_default()
}

/// Digits of the largest number of microseconds, and a point.
const SECONDS_LENGTH: usize = 21;

/// The digits of a number of seconds with six behind the point, at the end of `room`: a table of a
/// million phones has five millions of them.
fn seconds_digits(us: u64, room: &mut [u8; SECONDS_LENGTH]) -> &[u8] {
    let (mut left, mut at) = (us, SECONDS_LENGTH);
    while left > 0 || SECONDS_LENGTH - at < 8 {
        at -= 1;
        if SECONDS_LENGTH - at == 7 {
            room[at] = b'.';
            continue;
        }
        room[at] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    &room[at..]
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
        let largest = format!("{}.{:06}", u64::MAX / 1_000_000, u64::MAX % 1_000_000);
        assert_eq!(seconds_cell(Some(u64::MAX)), largest);
        let small = [0, 9, 999_999, 1_000_000, 10_000_007].map(|us| seconds_cell(Some(us)));
        assert_eq!(small, ["0.000000", "0.000009", "0.999999", "1.000000", "10.000007"]);
        let cut = &text[..text.len() - 3];
        assert_eq!(Table::parse(cut, &[]), Err("it breaks off within a row".to_owned()));
    }
}
