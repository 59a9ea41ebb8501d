//! `run sql`: one select over the tables of a cluster, with bounds on its work, its rows and its
//! width, and no way to change anything.

use std::path::PathBuf;

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, OpenFlags};

use crate::base::printable;
use crate::cluster::Cluster;
use crate::console::Sql;

use super::database::{alone, path_in};
use super::tables;

/// Answers from the database that `--state DIR` keeps.
#[derive(Clone, Debug)]
pub struct KeptSql {
    /// The directory.
    pub dir: PathBuf,
}

/// Answers from a database in memory, filled from the cluster for each query.
#[derive(Clone, Copy, Debug)]
pub struct MemorySql;

impl Sql for KeptSql {
    fn answer(&self, _: &Cluster, query: &str) -> Result<String, String> {
        let _alone = alone();
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path_in(&self.dir), flags);
        answer(&mut connection.map_err(|error| refused(&error))?, query)
    }
}

impl Sql for MemorySql {
    fn answer(&self, cluster: &Cluster, query: &str) -> Result<String, String> {
        let _alone = alone();
        let filled = || {
            let connection = Connection::open_in_memory()?;
            connection.execute_batch(tables::SCHEMA)?;
            tables::write(&connection, cluster)?;
            // Phones are many, and few ask for them.
            if query.to_ascii_lowercase().contains("device") {
                tables::write_devices(&connection, cluster)?;
            }
            Ok(connection)
        };
        answer(&mut filled().map_err(|error| refused(&error))?, query)
    }
}

/// Steps of `SQLite`'s machine for a query: some tenths of a second.
const STEPS_MAX: u32 = 10_000_000;
/// Steps between two looks at how many there were.
const STEPS_EACH: u32 = 1_000;
/// Longest output in bytes: every phone of a large cluster with a few columns.
const OUTPUT_MAX: usize = 8 * 1_024 * 1_024;
/// Memory of all databases of the program in bytes.
const MEMORY_MAX: i64 = 256 * 1_024 * 1_024;

/// Bounds of `SQLite` itself. No value is longer than a certificate in PEM, so that no function can
/// work long on one.
const LIMITS: [(Limit, i32); 10] = [
    (Limit::SQLITE_LIMIT_LENGTH, 8_192),
    (Limit::SQLITE_LIMIT_SQL_LENGTH, 8_192),
    (Limit::SQLITE_LIMIT_COLUMN, 200),
    (Limit::SQLITE_LIMIT_EXPR_DEPTH, 100),
    (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 20),
    (Limit::SQLITE_LIMIT_FUNCTION_ARG, 8),
    (Limit::SQLITE_LIMIT_ATTACHED, 0),
    (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 100),
    (Limit::SQLITE_LIMIT_VDBE_OP, 25_000),
    (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
];

/// Functions that Informix has, too, and that cost no more than the length of their arguments.
const FUNCTIONS: [&str; 20] = [
    "abs",
    "avg",
    "cast",
    "coalesce",
    "count",
    "ifnull",
    "length",
    "like",
    "lower",
    "ltrim",
    "max",
    "min",
    "nullif",
    "round",
    "rtrim",
    "substr",
    "substring",
    "sum",
    "trim",
    "upper",
];

/// Rows as the console prints them.
fn answer(connection: &mut Connection, query: &str) -> Result<String, String> {
    if !["select", "with"].contains(&first_word(query).as_str()) {
        return Err(not_a_select(query));
    }
    let table = guard(connection).and_then(|()| Table::read(connection, query));
    table.map_err(|error| refused(&error))?.ok_or_else(too_large).map(|table| table.text())
}

fn guard(connection: &mut Connection) -> rusqlite::Result<()> {
    for (limit, value) in LIMITS {
        connection.set_limit(limit, value)?;
    }
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // As in Informix.
    connection.pragma_update(None, "case_sensitive_like", true)?;
    connection.pragma_query_value(Some("main"), "user_version", |_| Ok(()))?;
    let heap = format!("PRAGMA hard_heap_limit = {MEMORY_MAX}");
    connection.query_row(&heap, [], |_| Ok(()))?;
    connection.authorizer(Some(permits))?;
    let mut left = STEPS_MAX / STEPS_EACH;
    let is_spent = move || {
        left = left.saturating_sub(1);
        left == 0
    };
    connection.progress_handler(STEPS_EACH.cast_signed(), Some(is_spent))
}

fn permits(context: AuthContext<'_>) -> Authorization {
    let is_permitted = match context.action {
        AuthAction::Select => true,
        AuthAction::Read { table_name, .. } => {
            tables::VISIBLE.iter().any(|known| known.eq_ignore_ascii_case(table_name))
        }
        AuthAction::Function { function_name } => {
            FUNCTIONS.iter().any(|known| known.eq_ignore_ascii_case(function_name))
        }
        _ => false,
    };
    if is_permitted { Authorization::Allow } else { Authorization::Deny }
}

/// What a select has found.
struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// `None` if it is longer than may be printed.
    fn read(connection: &Connection, query: &str) -> rusqlite::Result<Option<Table>> {
        let mut statement = connection.prepare(query)?;
        let columns: Vec<String> = statement.column_names().map(heading).collect();
        let (mut rows, mut length) = (Vec::new(), 0);
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let cells: rusqlite::Result<Vec<String>> =
                (0..columns.len()).map(|at| row.get_ref(at).map(cell)).collect();
            let cells = cells?;
            length += cells.iter().map(|cell| cell.len() + 1).sum::<usize>();
            if length > OUTPUT_MAX {
                return Ok(None);
            }
            rows.push(cells);
        }
        Ok(Some(Table { columns, rows }))
    }

    /// Columns as wide as their widest value, a line of `=` under each heading.
    fn text(&self) -> String {
        if self.rows.is_empty() {
            return "No records found\n".to_owned();
        }
        let width = |at: usize| {
            let cells = self.rows.iter().map(|row| &row[at]).chain([&self.columns[at]]);
            let lines = cells.flat_map(|cell| cell.lines());
            lines.map(|line| line.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let rules: Vec<String> = widths.iter().map(|&width| "=".repeat(width)).collect();
        let mut text = String::new();
        for cells in [&self.columns, &rules].into_iter().chain(&self.rows) {
            let mut line = String::new();
            for (cell, &width) in cells.iter().zip(&widths) {
                line += &format!("{cell:<width$} ");
            }
            text += line.trim_end_matches(' ');
            text.push('\n');
        }
        text
    }
}

/// The heading of a column: Informix calls what is computed after its function.
fn heading(name: &str) -> String {
    let Some((function, _)) = name.split_once('(') else { return printable(name) };
    let function = function.trim().to_ascii_lowercase();
    let is_aggregate = ["avg", "count", "max", "min", "sum"].contains(&function.as_str());
    format!("({})", if is_aggregate { function.as_str() } else { "expression" })
}

fn cell(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            let text = String::from_utf8_lossy(bytes);
            text.trim_end_matches('\n').split('\n').map(printable).collect::<Vec<_>>().join("\n")
        }
    }
}

fn first_word(query: &str) -> String {
    query.split_whitespace().next().unwrap_or_default().to_ascii_lowercase()
}

const SYNTAX: &str = "A syntax error has occurred.";

fn too_large() -> String {
    format!("The result is longer than {OUTPUT_MAX} bytes; ask for fewer rows or columns.")
}

/// What the database says to somebody who may only read.
fn not_a_select(query: &str) -> String {
    match first_word(query).as_str() {
        word @ ("update" | "delete" | "insert") => {
            format!("No {} permission.", word.to_uppercase())
        }
        "create" | "drop" | "alter" => "No resource permission.".to_owned(),
        _ => SYNTAX.to_owned(),
    }
}

/// An error of `SQLite` in the words of Informix, where it has any.
fn refused(error: &Error) -> String {
    use rusqlite::ErrorCode::{OperationInterrupted, OutOfMemory, TooBig};
    let (code, message) = match error {
        Error::SqliteFailure(failure, message) => {
            (Some(failure.code), message.clone().unwrap_or_default())
        }
        Error::SqlInputError { error, msg, .. } => (Some(error.code), msg.clone()),
        _ => (None, String::new()),
    };
    if matches!(code, Some(OperationInterrupted | OutOfMemory | TooBig)) {
        return "The query is too expensive; ask for less.".to_owned();
    }
    let after = |start: &str| message.split_once(start).map(|(_, rest)| printable(rest));
    if let Some(table) = after("no such table: ") {
        return format!("The specified table ({table}) is not in the database.");
    }
    if let Some(hidden) = after("access to ").or_else(|| after("prohibited: ")) {
        let table = hidden.split('.').next().unwrap_or_default();
        return format!("The specified table ({table}) is not in the database.");
    }
    if let Some(column) = after("no such column: ") {
        return format!(
            "Column ({column}) not found in any table in the query (or SLV is undefined)."
        );
    }
    if let Some(column) = after("ambiguous column name: ") {
        return format!("Ambiguous column ({column}).");
    }
    let function =
        after("no such function: ").or_else(|| after("not authorized to use function: "));
    if let Some(function) = function {
        return format!("Routine ({function}) can not be resolved.");
    }
    SYNTAX.to_owned()
}
