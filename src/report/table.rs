//! Tables of a run as CSV (RFC 4180), and back.

use std::collections::BTreeMap;

/// A table whose first row names its columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    columns: BTreeMap<String, usize>,
    rows: Vec<csv::StringRecord>,
}

/// A row of a table.
#[derive(Clone, Copy, Debug)]
pub struct TableRow<'a> {
    table: &'a Table,
    record: &'a csv::StringRecord,
}

/// Writes rows of cells.
pub(super) fn to_csv<R, C>(head: &[&str], rows: R) -> String
where
    R: IntoIterator<Item = C>,
    C: IntoIterator<Item = String>,
{
    let mut writer =
        csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(head).expect("memory takes it");
    for row in rows {
        let cells: Vec<String> = row.into_iter().collect();
        writer.write_record(&cells).expect("each row has the columns of the first one");
    }
    let bytes = writer.into_inner().expect("memory takes it");
    String::from_utf8(bytes).expect("cells are text")
}

impl Table {
    /// Reads a table that has these columns, and maybe more.
    ///
    /// # Errors
    /// Where it is none, or has been cut off, in words.
    pub fn parse(text: &str, needed: &[&str]) -> Result<Table, String> {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let head = reader.headers().map_err(|error| error.to_string())?;
        if let Some(lacks) = needed.iter().find(|name| head.iter().all(|cell| cell != **name)) {
            return Err(format!("it has no column {lacks}"));
        }
        if !text.ends_with('\n') {
            return Err("it breaks off within a row".to_owned());
        }
        let columns = head.iter().enumerate().map(|(at, name)| (name.to_owned(), at)).collect();
        let rows = reader.into_records().collect::<Result<_, _>>();
        Ok(Table { columns, rows: rows.map_err(|error| error.to_string())? })
    }

    /// The rows in their order.
    pub fn rows(&self) -> impl Iterator<Item = TableRow<'_>> {
        self.rows.iter().map(|record| TableRow { table: self, record })
    }
}

impl<'a> TableRow<'a> {
    /// What stands in a column; empty if there is no such column.
    pub fn text(self, column: &str) -> &'a str {
        let at = self.table.columns.get(column);
        at.and_then(|&at| self.record.get(at)).unwrap_or_default()
    }

    /// The number in a column, if there is one.
    pub fn number(self, column: &str) -> Option<f64> {
        self.text(column).parse().ok()
    }
}

/// A number of seconds, to the microsecond; empty if there is none.
pub(super) fn seconds_cell(value: Option<f64>) -> String {
    value.map(|value| format!("{value:.6}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_by_the_names_of_its_columns() {
        let rows =
            [["a,\"b\"".to_owned(), seconds_cell(Some(1.5))], ["c".to_owned(), String::new()]];
        let text = to_csv(&["who", "when_s"], rows);
        assert_eq!(text, "who,when_s\r\n\"a,\"\"b\"\"\",1.500000\r\nc,\r\n");
        let table = Table::parse(&text, &["when_s", "who"]).unwrap();
        let first = table.rows().next().unwrap();
        assert_eq!((first.text("who"), first.number("when_s")), ("a,\"b\"", Some(1.5)));
        assert_eq!((first.text("no"), first.number("who")), ("", None));
        assert!(Table::parse("a,b\n1,2,3\n", &[]).is_err());
        assert_eq!(Table::parse(&text, &["why"]), Err("it has no column why".to_owned()));
        let cut = &text[..text.len() - 3];
        assert_eq!(Table::parse(cut, &[]), Err("it breaks off within a row".to_owned()));
    }
}
