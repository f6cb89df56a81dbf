//! The database of a rule: the user's tables, and beside them what was done.
//!
//! Three tables of ours: `selvedge_done` (a row for each entry carried out, by position),
//! `selvedge_dead` (the dead letters), `selvedge_place` (how far the journals were followed).

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, TransactionBehavior, params};
use serde::Serialize;
use thiserror::Error;

use super::rule::{Transaction, Values};

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS selvedge_done (position TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS selvedge_dead (
        position TEXT PRIMARY KEY, bound TEXT NOT NULL, reason TEXT NOT NULL,
        tries INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS selvedge_place (one INTEGER PRIMARY KEY, place BLOB NOT NULL);
";

/// How long another process may hold the database's lock.
const LOCK_WITHIN: Duration = Duration::from_secs(5);

/// How no statement of a rule may begin: it would break the transaction that it stands in.
const OURS: [&str; 10] = [
    "BEGIN",
    "COMMIT",
    "END",
    "ROLLBACK",
    "SAVEPOINT",
    "RELEASE",
    "PRAGMA",
    "ATTACH",
    "DETACH",
    "VACUUM",
];

/// Dead letters of one answer; where there are so many, there may be more.
pub const LETTERS_MAX: usize = 1000;

/// Why a ledger cannot be opened or written.
#[derive(Debug, Error)]
#[error("{}: {what}: {source}", path.display())]
pub struct LedgerError {
    path: PathBuf,
    what: &'static str,
    source: rusqlite::Error,
}

/// An entry that could not be carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Letter {
    /// The entry, as `server/epoch/sequence`.
    pub position: String,
    /// The values that its statements took.
    pub values: serde_json::Value,
    /// Why not.
    pub reason: String,
    /// How often it was tried.
    pub tries: u64,
}

/// What became of a dead letter that was tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tried {
    /// It was carried out.
    Done,
    /// It failed again.
    Dead(String),
    /// There is no such letter.
    Unknown,
}

/// The database of a rule.
#[derive(Debug)]
pub struct Ledger {
    connection: Connection,
    path: PathBuf,
    run: String,
}

impl Ledger {
    /// Opens or makes the database, runs the rule's setup, and checks its statements.
    ///
    /// # Errors
    /// What the database says.
    pub fn open(path: &Path, rule: &Transaction) -> Result<Self, LedgerError> {
        let failed = |what| {
            let path = path.to_owned();
            move |source| LedgerError { path, what, source }
        };
        let connection = Connection::open(path).map_err(failed("cannot be opened"))?;
        let ready = || -> rusqlite::Result<()> {
            connection.busy_timeout(LOCK_WITHIN)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            // What is committed survives a crash of the host.
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.execute_batch(TABLES)
        };
        ready().map_err(failed("cannot be made ready"))?;
        let setup = connection.execute_batch(&rule.config.setup);
        setup.map_err(failed("setup"))?;
        let ledger = Self {
            connection,
            path: path.to_owned(),
            run: rule.config.run.clone(),
        };
        ledger.check(rule).map_err(failed("run"))?;
        Ok(ledger)
    }

    /// Prepares each statement, and looks whether its parameters have values.
    fn check(&self, rule: &Transaction) -> rusqlite::Result<()> {
        let mut batch = rusqlite::Batch::new(&self.connection, &self.run);
        while let Some(statement) = batch.next()? {
            let text = statement.expanded_sql().unwrap_or_default();
            let first = text.split_whitespace().next().unwrap_or_default();
            let first = first.trim_end_matches(';');
            if OURS.iter().any(|ours| first.eq_ignore_ascii_case(ours)) {
                let what = format!("{first}: the transaction is begun and ended for you");
                return Err(rusqlite::Error::InvalidParameterName(what));
            }
            for index in 1..=statement.parameter_count() {
                let name = statement.parameter_name(index).unwrap_or("?");
                let known = name
                    .strip_prefix(':')
                    .is_some_and(|name| name == "position" || rule.config.bind.contains_key(name));
                if !known {
                    return Err(rusqlite::Error::InvalidParameterName(format!(
                        "{name}: write it into bind"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Where to go on; `None` at the first start.
    ///
    /// # Errors
    /// What the database says.
    pub fn place(&self) -> Result<Option<Vec<u8>>, LedgerError> {
        self.connection
            .query_row("SELECT place FROM selvedge_place", [], |row| row.get(0))
            .optional()
            .map_err(|source| self.failed("cannot be read", source))
    }

    /// Carries out entries and notes the place, all in one transaction. Answers how many were
    /// done, and how many went to the dead letters; those that were there before are neither.
    ///
    /// # Errors
    /// What the machine refuses; nothing was done, and it may be called again.
    pub(crate) fn carry_out(
        &mut self,
        entries: &[(String, Values)],
        place: &[u8],
    ) -> Result<(u64, u64), LedgerError> {
        let run = self.run.clone();
        let carried = carry_out(&mut self.connection, &run, entries, place);
        carried.map_err(|source| self.failed("cannot be written", source))
    }

    /// The dead letters, by position, after `after`.
    ///
    /// # Errors
    /// What the database says.
    pub fn dead(&self, after: &str) -> Result<Vec<Letter>, LedgerError> {
        let list = || -> rusqlite::Result<Vec<Letter>> {
            let mut statement = self.connection.prepare_cached(
                "SELECT position, bound, reason, tries FROM selvedge_dead
                 WHERE position > ?1 ORDER BY position LIMIT ?2",
            )?;
            let rows = statement.query_map(params![after, LETTERS_MAX as i64], |row| {
                let bound: String = row.get(1)?;
                Ok(Letter {
                    position: row.get(0)?,
                    values: serde_json::from_str(&bound).unwrap_or_default(),
                    reason: row.get(2)?,
                    tries: row.get::<_, i64>(3)?.unsigned_abs(),
                })
            })?;
            rows.collect()
        };
        list().map_err(|source| self.failed("cannot be read", source))
    }

    /// How many entries were done, and how many are dead letters.
    ///
    /// # Errors
    /// What the database says.
    pub fn counts(&self) -> Result<(u64, u64), LedgerError> {
        let count = |sql| {
            let count = self
                .connection
                .query_row(sql, [], |row| row.get::<_, i64>(0));
            count.map(i64::unsigned_abs)
        };
        let both = || {
            Ok((
                count("SELECT count(*) FROM selvedge_done")?,
                count("SELECT count(*) FROM selvedge_dead")?,
            ))
        };
        both().map_err(|source| self.failed("cannot be read", source))
    }

    /// Tries a dead letter again.
    ///
    /// # Errors
    /// What the machine refuses.
    pub fn retry(&mut self, position: &str) -> Result<Tried, LedgerError> {
        let run = self.run.clone();
        let tried = retry(&mut self.connection, &run, position);
        tried.map_err(|source| self.failed("cannot be written", source))
    }

    fn failed(&self, what: &'static str, source: rusqlite::Error) -> LedgerError {
        LedgerError {
            path: self.path.clone(),
            what,
            source,
        }
    }
}

fn carry_out(
    connection: &mut Connection,
    run: &str,
    entries: &[(String, Values)],
    place: &[u8],
) -> rusqlite::Result<(u64, u64)> {
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (mut done, mut dead) = (0, 0);
    for (position, values) in entries {
        let known = {
            let mut known = transaction.prepare_cached(
                "SELECT 1 FROM selvedge_done WHERE position = ?1
                 UNION ALL SELECT 1 FROM selvedge_dead WHERE position = ?1",
            )?;
            known.exists([position])?
        };
        if known {
            continue;
        }
        match one(&mut transaction, run, position, values)? {
            None => done += 1,
            Some(reason) => {
                let bound = serde_json::to_string(values).unwrap_or_default();
                transaction.execute(
                    "INSERT INTO selvedge_dead VALUES (?1, ?2, ?3, 1)",
                    params![position, bound, reason],
                )?;
                dead += 1;
            }
        }
    }
    transaction.execute(
        "INSERT OR REPLACE INTO selvedge_place VALUES (1, ?1)",
        [place],
    )?;
    transaction.commit()?;
    Ok((done, dead))
}

fn retry(connection: &mut Connection, run: &str, position: &str) -> rusqlite::Result<Tried> {
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let bound: Option<String> = transaction
        .query_row(
            "SELECT bound FROM selvedge_dead WHERE position = ?1",
            [position],
            |row| row.get(0),
        )
        .optional()?;
    let Some(bound) = bound else {
        return Ok(Tried::Unknown);
    };
    let values: Values = serde_json::from_str(&bound).unwrap_or_default();
    let tried = match one(&mut transaction, run, position, &values)? {
        None => {
            transaction.execute("DELETE FROM selvedge_dead WHERE position = ?1", [position])?;
            Tried::Done
        }
        Some(reason) => {
            transaction.execute(
                "UPDATE selvedge_dead SET reason = ?2, tries = tries + 1 WHERE position = ?1",
                params![position, reason],
            )?;
            Tried::Dead(reason)
        }
    };
    transaction.commit()?;
    Ok(tried)
}

/// Runs the statements for one entry, and notes that it was done: both or neither. The answer is
/// why it cannot be done, if that is the entry's own fault.
fn one(
    transaction: &mut rusqlite::Transaction<'_>,
    run: &str,
    position: &str,
    values: &Values,
) -> rusqlite::Result<Option<String>> {
    let savepoint = transaction.savepoint()?;
    match statements(&savepoint, run, position, values) {
        Ok(()) => {
            savepoint.execute("INSERT INTO selvedge_done VALUES (?1)", [position])?;
            savepoint.commit()?;
            Ok(None)
        }
        // Dropped, the savepoint takes back what the statements did.
        Err(error) if is_the_machines(&error) => Err(error),
        Err(error) => Ok(Some(error.to_string())),
    }
}

fn statements(
    connection: &Connection,
    run: &str,
    position: &str,
    values: &Values,
) -> rusqlite::Result<()> {
    let mut batch = rusqlite::Batch::new(connection, run);
    while let Some(mut statement) = batch.next()? {
        for index in 1..=statement.parameter_count() {
            let name = statement.parameter_name(index).unwrap_or_default();
            match name.strip_prefix(':') {
                Some("position") => statement.raw_bind_parameter(index, position)?,
                name => {
                    let value = name.and_then(|name| values.get(name)?.as_deref());
                    statement.raw_bind_parameter(index, value)?;
                }
            }
        }
        let mut rows = statement.raw_query();
        while rows.next()?.is_some() {}
    }
    Ok(())
}

/// Whether an error says nothing about the entry: it may go better later.
fn is_the_machines(error: &rusqlite::Error) -> bool {
    let Some(code) = error.sqlite_error_code() else {
        return false;
    };
    matches!(
        code,
        ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::OutOfMemory
            | ErrorCode::ReadOnly
            | ErrorCode::OperationInterrupted
            | ErrorCode::SystemIoFailure
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::DiskFull
            | ErrorCode::CannotOpen
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::PermissionDenied
            | ErrorCode::NotADatabase
    )
}
