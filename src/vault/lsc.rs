//! What the database knows of phones and their LSCs.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, Row as SqlRow, params};

use crate::base::PhoneId;
use crate::cluster::operator::lsc::{KEYS, key_name};
use crate::cluster::{DeviceTable, IssuedLsc, LscCause, LscJob, LscOperation, LscStatus, Row};
use crate::crypto::Certificate;
use crate::wire::AuthMode;

/// Why something that was kept cannot be used: what, and the cause.
type Unusable = (String, String);

/// Writes all of it in the place of what was there.
pub(super) fn write(connection: &Connection, devices: &DeviceTable) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM lsc", [])?;
    let mut insert = connection.prepare("INSERT INTO lsc VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
    for (PhoneId(phone), row) in devices.rows() {
        let job = row.job.as_deref();
        insert.execute(params![
            phone,
            job.map(|job| job.operation.name()),
            job.map(|job| job.mode.name()),
            job.map(|job| key_name(job.key)),
            job.and_then(|job| job.password.as_deref()),
            job.map(|job| job.completes_by_s.cast_signed()),
            row.status.to_string(),
            row.told.name(),
            row.lsc.as_ref().map(|lsc| &lsc.der[..]),
        ])?;
    }
    Ok(())
}

/// A row as it stands in the file.
struct Raw {
    phone: u32,
    operation: Option<String>,
    mode: Option<String>,
    key: Option<String>,
    string: Option<String>,
    completes_by: Option<i64>,
    status: String,
    told: String,
    certificate: Option<Vec<u8>>,
}

impl Raw {
    fn of(row: &SqlRow<'_>) -> rusqlite::Result<Raw> {
        Ok(Raw {
            phone: row.get(0)?,
            operation: row.get(1)?,
            mode: row.get(2)?,
            key: row.get(3)?,
            string: row.get(4)?,
            completes_by: row.get(5)?,
            status: row.get(6)?,
            told: row.get(7)?,
            certificate: row.get(8)?,
        })
    }

    fn row(&self, jobs: &mut Jobs) -> Result<(PhoneId, Row), Unusable> {
        let bad = |cause: &str| (format!("the LSC of phone {}", self.phone), cause.to_owned());
        let mode = |name: &str| {
            let found = AuthMode::ALL.into_iter().find(|mode| mode.name() == name);
            found.ok_or_else(|| bad("its mode is not known"))
        };
        let status = statuses().find(|status| status.to_string() == self.status);
        let read = |der: &Vec<u8>| {
            let certificate =
                Certificate::from_der(der).map_err(|cause| bad(&cause.to_string()))?;
            Ok::<_, Unusable>(IssuedLsc::new(&certificate))
        };
        let row = Row {
            job: self.job(jobs, mode, bad)?,
            status: status.ok_or_else(|| bad("its status is not known"))?,
            told: mode(&self.told)?,
            lsc: self.certificate.as_ref().map(read).transpose()?,
            appointment: None,
            waits: false,
        };
        Ok((PhoneId(self.phone), row))
    }

    /// Its operation, which it shares with phones that have the same.
    fn job(
        &self,
        jobs: &mut Jobs,
        mode: impl Fn(&str) -> Result<AuthMode, Unusable>,
        bad: impl Fn(&str) -> Unusable,
    ) -> Result<Option<Arc<LscJob>>, Unusable> {
        let Some(operation) = &self.operation else { return Ok(None) };
        let operation = LscOperation::ALL.into_iter().find(|known| known.name() == operation);
        let key = KEYS.into_iter().find(|&known| self.key.as_deref() == Some(key_name(known)));
        let job = LscJob {
            operation: operation.ok_or_else(|| bad("its operation is not known"))?,
            mode: mode(self.mode.as_deref().unwrap_or_default())?,
            key: key.ok_or_else(|| bad("its kind of key is not known"))?,
            password: self.string.clone(),
            completes_by_s: self.completes_by.unwrap_or_default().cast_unsigned(),
        };
        let name = format!("{job:?}");
        Ok(Some(Arc::clone(jobs.entry(name).or_insert_with(|| Arc::new(job)))))
    }
}

type Jobs = BTreeMap<String, Arc<LscJob>>;

/// Every status that there is.
fn statuses() -> impl Iterator<Item = LscStatus> {
    let failed = |operation| LscCause::ALL.map(|cause| LscStatus::Failed(operation, cause));
    let ended = LscOperation::ALL.into_iter().flat_map(move |operation| {
        std::iter::once(LscStatus::Success(operation)).chain(failed(operation))
    });
    [LscStatus::None, LscStatus::Pending].into_iter().chain(ended)
}

/// Reads what was written.
pub(super) fn read(
    connection: &Connection,
) -> rusqlite::Result<Result<Vec<(PhoneId, Row)>, Unusable>> {
    let mut query = connection.prepare("SELECT * FROM lsc ORDER BY phone")?;
    let rows: Vec<Raw> = query.query_map([], Raw::of)?.collect::<rusqlite::Result<_>>()?;
    let mut jobs = Jobs::new();
    Ok(rows.iter().map(|row| row.row(&mut jobs)).collect())
}
