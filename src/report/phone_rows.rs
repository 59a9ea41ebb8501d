//! What a report wants of `phones.csv`, read row by row: a million phones are not kept.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use serde_json::{Value, json};

use super::phones_csv::{PHONE_COLUMNS, PHONES_NEEDED};
use super::table::{BREAKS_OFF, TableRow, each_row};

/// Phones that a report shows one by one (choice).
const WORST: usize = 20;
/// Columns of a phone that is shown.
const SHOWN: [&str; 8] =
    ["phone", "model", "group", "site", "tftp", "result", "cause", "slowest_step"];

/// The times of all phones in seconds from the start of the run, and the phones that came off worst.
#[derive(Clone, Debug, Default)]
pub struct PhoneRows {
    /// When each boot was planned.
    pub planned_s: Vec<f64>,
    /// When each phone was ready.
    pub ready_s: Vec<f64>,
    stranded: Worst,
    slow: Worst,
}

/// A phone that is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct PhoneRow {
    /// What stands in its row, by column.
    pub cells: Value,
    /// Seconds from planned start to ready.
    pub boot_s: Option<f64>,
    /// Seconds of its slowest step.
    pub slowest_s: Option<f64>,
    rank: u8,
    /// Number of its row.
    at: usize,
}

/// The worst of the phones so far, and some more.
#[derive(Clone, Debug, Default)]
struct Worst {
    count: usize,
    rows: Vec<PhoneRow>,
}

impl PhoneRow {
    fn of(row: TableRow<'_>, rank: u8, at: usize) -> PhoneRow {
        let mut cells = json!({ "retries": row.text("retries") });
        SHOWN.iter().for_each(|&column| cells[column] = row.text(column).into());
        let (boot_s, slowest_s) = (row.number("boot_s"), row.number("slowest_s"));
        PhoneRow { cells, boot_s, slowest_s, rank, at }
    }

    /// Worse ones first: by what became of them, then by the length of their boot, which of those
    /// that never got there has no end.
    fn before(&self, other: &PhoneRow) -> Ordering {
        let length = |row: &PhoneRow| row.boot_s.unwrap_or(f64::INFINITY);
        let by_rank = self.rank.cmp(&other.rank);
        by_rank.then(length(other).total_cmp(&length(self))).then(self.at.cmp(&other.at))
    }
}

impl Worst {
    fn add(&mut self, row: TableRow<'_>, rank: u8) {
        let at = self.count;
        self.count += 1;
        let boot_s = row.number("boot_s").unwrap_or(f64::INFINITY);
        let last = self.rows.get(WORST - 1).map(|last| (last.rank, last.boot_s));
        if last.is_some_and(|(worse, length)| {
            worse <= rank && length.unwrap_or(f64::INFINITY) >= boot_s
        }) {
            return;
        }
        let row = PhoneRow::of(row, rank, at);
        let place = self.rows.partition_point(|other| other.before(&row).is_lt());
        self.rows.insert(place, row);
        self.rows.truncate(WORST);
    }
}

impl PhoneRows {
    /// Reads the file.
    ///
    /// # Errors
    /// If it is no table of phones or has been cut off, in words.
    pub(super) fn read(path: &Path) -> Result<PhoneRows, String> {
        let opened = File::open(path).and_then(|mut file| {
            let is_whole = ends_in_a_line(&mut file)?;
            Ok((file, is_whole))
        });
        let (file, is_whole) = opened.map_err(|error| error.to_string())?;
        let mut phones = PhoneRows::default();
        let needed = &PHONE_COLUMNS[..PHONES_NEEDED];
        let read = each_row(BufReader::new(file), needed, |row| phones.add(row));
        read.and_then(|()| if is_whole { Ok(phones) } else { Err(BREAKS_OFF.to_owned()) })
    }

    fn add(&mut self, row: TableRow<'_>) {
        self.planned_s.extend(row.number("planned_s"));
        self.ready_s.extend(row.number("ready_s"));
        match row.text("result") {
            "stuck" => self.stranded.add(row, 0),
            "failed" => self.stranded.add(row, 1),
            "stale" => self.stranded.add(row, 2),
            "ready" => self.slow.add(row, 3),
            _ => self.stranded.add(row, 4),
        }
    }

    /// The phones with the worst end: stranded ones, half of them all at most, then the slowest.
    pub fn worst(&self) -> impl Iterator<Item = &PhoneRow> {
        let half = self.stranded.count.min(WORST / 2);
        self.stranded.rows.iter().take(half).chain(self.slow.rows.iter().take(WORST - half))
    }
}

/// Whether the last byte ends a line; reading begins at the first one.
fn ends_in_a_line(file: &mut File) -> io::Result<bool> {
    let mut last = [0];
    if file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    file.rewind()?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rows: &str) -> Result<PhoneRows, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("phones.csv");
        std::fs::write(&path, PHONE_COLUMNS[..PHONES_NEEDED].join(",") + "\r\n" + rows).unwrap();
        PhoneRows::read(&path)
    }

    fn row(name: usize, ready: &str, boot: &str, result: &str) -> String {
        format!("{name},8841,all,,pub,1.5,1.5,{ready},{boot},{result},,0,itl,0.5\r\n")
    }

    fn names(phones: &PhoneRows) -> Vec<&str> {
        phones.worst().map(|row| row.cells["phone"].as_str().unwrap()).collect()
    }

    #[test]
    fn the_worst_are_the_stranded_and_the_slowest_in_the_order_of_their_rows() {
        let mut rows: String = (0..50).map(|at| row(at, "9", &at.to_string(), "ready")).collect();
        rows += &row(90, "", "", "failed");
        rows += &(60..80).map(|at| row(at, "", "", "stuck")).collect::<String>();
        let phones = read(&rows).unwrap();
        let stuck = (60..70).chain((40..50).rev()).map(|name| name.to_string());
        assert_eq!(names(&phones), stuck.collect::<Vec<_>>());
        assert_eq!((phones.planned_s.len(), phones.ready_s.len()), (71, 50));
        let few = read(&(row(1, "", "", "not-reset") + &row(2, "4", "3", "ready"))).unwrap();
        assert_eq!(names(&few), ["1", "2"]);
    }

    #[test]
    fn equally_slow_ones_stand_in_the_order_of_their_rows() {
        let rows: String = (0..50).map(|at| row(at, "9", "7", "ready")).collect();
        let first: Vec<String> = (0..20).map(|name| name.to_string()).collect();
        assert_eq!(names(&read(&rows).unwrap()), first);
    }

    #[test]
    fn a_file_that_was_cut_off_is_refused() {
        let whole = row(1, "9", "7", "ready");
        assert_eq!(read(&whole[..whole.len() - 3]).unwrap_err(), BREAKS_OFF);
        assert!(read("1,2\r\n").is_err());
    }
}
