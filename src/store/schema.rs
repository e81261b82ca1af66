//! The schema and its versions.
//!
//! For: making a new file, and refusing one that is not ours or is newer than this
//! program, before anything in it is touched.
//! Not for: the SQL itself, which is `assets/schema.sql`.
//!
//! 1. `application_id` 0x41474842 ("AGHB") says the file is ours; `user_version` is the
//!    schema's version.
//! 2. An empty database becomes ours. Anything else without the id is refused.
//! 3. A later version adds its step to [`MIGRATIONS`]; steps run in one transaction.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::busy_retry::retry_while_busy;
use crate::error::{Code, Error, Result};

/// "AGHB": whose file it is.
const APPLICATION_ID: i64 = 0x4147_4842;
/// The version of the schema this program writes.
pub const SCHEMA_VERSION: i64 = 1;
/// The whole schema with its explanation, as `agenthub schema` prints it.
pub const SCHEMA_SQL: &str = include_str!("../../assets/schema.sql");
/// `MIGRATIONS[v - 1]` turns version `v` into `v + 1`. Version 1 is the first.
const MIGRATIONS: &[&str] = &[];

/// Whose file this is, as far as its header tells.
enum State {
    Empty,
    Ours(i64),
}

/// Makes the schema in an empty file, brings an older one up to date, and refuses others.
pub(super) fn create_or_check(conn: &Connection, path: &Path) -> Result<()> {
    match state(conn, path)? {
        State::Ours(SCHEMA_VERSION) => ensure_wal(conn, path),
        State::Ours(_) => migrate(conn, path),
        State::Empty => {
            ensure_wal(conn, path)?;
            create(conn, path)
        }
    }
}

/// Refuses a file that is not at this program's version.
pub(super) fn check(conn: &Connection, path: &Path) -> Result<()> {
    match state(conn, path)? {
        State::Ours(SCHEMA_VERSION) => Ok(()),
        State::Ours(_) | State::Empty => Err(refusal(path, "it has no schema yet; run agenthub path to make it")),
    }
}

fn state(conn: &Connection, path: &Path) -> Result<State> {
    let (id, version, objects) = header(conn).map_err(|e| {
        let error = Error::from(e);
        Error::new(
            error.code(),
            format!("cannot open {}: {}", path.display(), error.message()),
        )
    })?;
    if id == APPLICATION_ID {
        return match version {
            1..=SCHEMA_VERSION => Ok(State::Ours(version)),
            _ => Err(refusal(
                path,
                &format!(
                    "its schema is version {version} and this program knows {SCHEMA_VERSION}; install a newer agenthub"
                ),
            )),
        };
    }
    if id == 0 && version == 0 && objects == 0 {
        return Ok(State::Empty);
    }
    Err(refusal(
        path,
        "it is another program's database; give another path with --db",
    ))
}

/// `application_id`, `user_version`, and how many tables and the like there are: at one moment,
/// because another process may be making the file.
fn header(conn: &Connection) -> rusqlite::Result<(i64, i64, i64)> {
    let view = if conn.is_autocommit() {
        Some(conn.unchecked_transaction()?)
    } else {
        None
    };
    let number = |sql: &str| conn.query_row(sql, [], |row| row.get(0));
    let found = (
        number("PRAGMA application_id")?,
        number("PRAGMA user_version")?,
        number("SELECT count(*) FROM sqlite_master")?,
    );
    // Nothing was written: ending the view cannot lose anything.
    drop(view);
    Ok(found)
}

fn refusal(path: &Path, why: &str) -> Error {
    Error::new(
        Code::StoreForeign,
        format!("cannot use {}: {why} (the file was left untouched)", path.display()),
    )
}

/// Write-ahead logging persists in the file; a file somebody took out of it is put back.
fn ensure_wal(conn: &Connection, path: &Path) -> Result<()> {
    // Another process may be at this switch as well, when several open a new file at once.
    let mode: String = retry_while_busy(|| conn.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0)))?;
    if mode.eq_ignore_ascii_case("wal") {
        return Ok(());
    }
    Err(Error::new(
        Code::StoreUnavailable,
        format!(
            "cannot switch {} to write-ahead logging (it stays in {mode}); close the program that has it open",
            path.display()
        ),
    ))
}

fn create(conn: &Connection, path: &Path) -> Result<()> {
    let transaction = rusqlite::Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    // Another process may have made it while this one waited for the lock.
    if matches!(state(conn, path)?, State::Empty) {
        conn.execute_batch(SCHEMA_SQL)?;
        conn.pragma_update(None, "application_id", APPLICATION_ID)?;
        conn.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    transaction.commit()?;
    Ok(())
}

fn migrate(conn: &Connection, path: &Path) -> Result<()> {
    let transaction = rusqlite::Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    if let State::Ours(version) = state(conn, path)? {
        let done = usize::try_from(version - 1).unwrap_or(MIGRATIONS.len());
        for step in MIGRATIONS.iter().skip(done) {
            conn.execute_batch(step)?;
        }
        conn.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::OpenFlags;

    use super::super::connection::connect;
    use super::super::{NetworkFs, Writer};
    use super::*;

    /// A file that is made while it is looked at is empty or ours, and nothing in between.
    #[test]
    fn a_file_that_is_made_meanwhile_is_no_foreign_one() {
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("hub.db");
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
            let conn = connect(&path, flags).unwrap();
            ensure_wal(&conn, &path).unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| Writer::open(&path, NetworkFs::Refuse).unwrap());
                while matches!(state(&conn, &path).unwrap(), State::Empty) {}
            });
        }
    }

    #[test]
    fn every_version_has_its_step() {
        assert_eq!(i64::try_from(MIGRATIONS.len()).unwrap() + 1, SCHEMA_VERSION);
    }
}
