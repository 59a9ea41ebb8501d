//! One file of `SQLite` for each cluster.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::cluster::{Cluster, Stored, Topology};

use super::error::StateError;
use super::files::{make_directory, make_private};
use super::{kept, pem, tables};

/// The file of the database in the directory of a state.
const DATABASE: &str = "cluster.db";

/// Marks files of `SQLite` as ours: `rstm`.
const APPLICATION: i32 = 0x7273_746D;

/// The layout of the tables. Files of earlier layouts are read, and get this one with the next save.
const LAYOUT: i32 = 2;

/// Who works with `SQLite`: one at a time, because the bound on the memory of a query holds for all
/// of the program, and nobody else is to lack what a query has taken.
static ALONE: Mutex<()> = Mutex::new(());

/// Waits until nobody else works with a database, at most as long as a query may take.
pub(super) fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the cluster below `dir` in one transaction: whoever is killed in between leaves what was
/// there before. Copies of the certificates lie beside the database as PEM files for other programs.
pub fn save_cluster(dir: &Path, cluster: &Cluster) -> Result<(), StateError> {
    make_directory(dir)?;
    let path = path_in(dir);
    make_private(&path)?;
    let _alone = alone();
    let mut connection = open(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let is_new = layout(&connection, &path)? == 0;
    write(&mut connection, cluster).map_err(|cause| StateError::Database {
        what: "write",
        path,
        cause,
    })?;
    pem::copy_certificates(dir, cluster)?;
    if is_new { pem::remove_migrated(dir, cluster.topology()) } else { Ok(()) }
}

/// Reads what was kept below `dir` for the nodes of `topology`; what was not is left out. Where
/// there is no database yet, PEM files with their keys are taken (see [`save_cluster`]).
pub fn load_cluster(dir: &Path, topology: &Topology) -> Result<Stored, StateError> {
    let path = path_in(dir);
    if !path.exists() {
        return pem::load(dir, topology);
    }
    let _alone = alone();
    // Whoever was killed may have left a journal, which is played back here.
    let connection = open(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let layout = layout(&connection, &path)?;
    if layout == 0 {
        return pem::load(dir, topology);
    }
    match kept::read(&connection, topology, layout) {
        Ok(Ok(stored)) => pem::settle(dir, topology, &stored).map(|()| stored),
        Ok(Err((what, cause))) => Err(StateError::Row { what, path, cause }),
        Err(cause) => Err(StateError::Database { what: "read", path, cause }),
    }
}

/// Where the database of a directory is. `SQLite` takes names that begin with `file:` for addresses.
pub(super) fn path_in(dir: &Path) -> PathBuf {
    std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned()).join(DATABASE)
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, StateError> {
    let connection = Connection::open_with_flags(path, flags);
    connection.map_err(|cause| StateError::Database { what: "open", path: path.to_owned(), cause })
}

/// The layout of an open database; 0 if nothing was ever written.
fn layout(connection: &Connection, path: &Path) -> Result<i32, StateError> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let all = || Ok((pragma("application_id")?, pragma("user_version")?, pragma("page_count")?));
    let all = all().map_err(|cause| StateError::Database {
        what: "read",
        path: path.to_owned(),
        cause,
    })?;
    let foreign = |what: &str| StateError::Foreign { path: path.to_owned(), what: what.into() };
    match all {
        (_, _, 0) => Ok(0),
        (APPLICATION, layout @ 1..=LAYOUT, _) => Ok(layout),
        (APPLICATION, ..) => Err(foreign("of a later version of resetstorm")),
        _ => Err(foreign("no database of resetstorm")),
    }
}

fn write(connection: &mut Connection, cluster: &Cluster) -> rusqlite::Result<()> {
    // The directory is synchronized, too; what was replaced is overwritten.
    connection.execute_batch(
        "PRAGMA journal_mode = DELETE; PRAGMA synchronous = EXTRA; PRAGMA secure_delete = ON;",
    )?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(kept::SCHEMA)?;
    transaction.execute_batch(tables::SCHEMA)?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", LAYOUT)?;
    kept::write(&transaction, cluster)?;
    tables::write(&transaction, cluster)?;
    tables::write_devices(&transaction, cluster)?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::scenario::load;

    /// Who read the state while a query had used up the memory of `SQLite` was told "out of memory".
    #[test]
    fn who_reads_the_state_waits_until_a_query_is_over() {
        const PLAN: &str = "schema=1\nname='t'\n[cluster]\n[[cluster.node]]\nname='pub'\n\
                            [fleet]\nphones=1\n";
        let topology = load(Path::new("t.toml"), PLAN, &[], &[]).unwrap().topology;
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(path_in(dir.path()), "").unwrap();
        let (sender, loaded) = mpsc::channel();
        let query = alone();
        std::thread::scope(|scope| {
            scope.spawn(|| sender.send(load_cluster(dir.path(), &topology).is_ok()));
            assert!(loaded.recv_timeout(Duration::from_millis(300)).is_err(), "it waits");
            drop(query);
            assert_eq!(loaded.recv(), Ok(true));
        });
    }
}
