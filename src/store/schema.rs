//! Creates and migrates the schema (`assets/schema.sql`), and refuses other databases.
//!
//! 1. `application_id` 0x41474842 ("AGHB") marks an agenthub database; `user_version` is the version
//!    of its schema.
//! 2. An empty database gets the schema. Any other database without the id, or with a newer version,
//!    is refused before anything in it is changed.
//! 3. A new version of the schema adds a step to [`MIGRATIONS`]. All steps run in one transaction.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::busy_retry::retry_while_busy;
use crate::error::{Code, Error, Result};

/// "AGHB": marks an agenthub database.
const APPLICATION_ID: i64 = 0x4147_4842;
/// The version of the schema that this program creates.
pub const SCHEMA_VERSION: i64 = 1;
/// The annotated schema, as `agenthub schema` prints it.
pub const SCHEMA_SQL: &str = include_str!("../../assets/schema.sql");
/// `MIGRATIONS[v - 1]` migrates version `v` to `v + 1`. The first version is 1.
const MIGRATIONS: &[&str] = &[];

/// The kind of a database that this program can use, by its header.
enum Kind {
    Empty,
    /// An agenthub database with this version of the schema.
    Agenthub(i64),
}

/// Creates the schema in an empty database, migrates an older one, and refuses others.
pub(super) fn create_or_check(conn: &Connection, path: &Path) -> Result<()> {
    match kind_of(conn, path)? {
        Kind::Agenthub(SCHEMA_VERSION) => ensure_wal(conn, path),
        Kind::Agenthub(_) => migrate(conn, path),
        Kind::Empty => {
            ensure_wal(conn, path)?;
            create(conn, path)
        }
    }
}

/// Refuses a database whose schema does not have this program's version.
pub(super) fn check(conn: &Connection, path: &Path) -> Result<()> {
    match kind_of(conn, path)? {
        Kind::Agenthub(SCHEMA_VERSION) => Ok(()),
        Kind::Agenthub(_) | Kind::Empty => Err(refusal(
            path,
            "its schema is missing or older than this program's; run agenthub path to create or migrate it",
        )),
    }
}

fn kind_of(conn: &Connection, path: &Path) -> Result<Kind> {
    let (id, version, objects) = header(conn).map_err(|e| {
        let error = Error::from(e);
        Error::new(
            error.code(),
            format!("cannot open {}: {}", path.display(), error.message()),
        )
    })?;
    if id == APPLICATION_ID {
        return match version {
            1..=SCHEMA_VERSION => Ok(Kind::Agenthub(version)),
            _ => Err(refusal(
                path,
                &format!(
                    "its schema has version {version}, this program supports up to {SCHEMA_VERSION}; install a newer agenthub"
                ),
            )),
        };
    }
    if id == 0 && version == 0 && objects == 0 {
        return Ok(Kind::Empty);
    }
    Err(refusal(
        path,
        "it is another program's database; choose another path with --db",
    ))
}

/// Returns `application_id`, `user_version`, and the number of schema objects. Reads them in one
/// transaction, because another process may be creating the schema.
fn header(conn: &Connection) -> rusqlite::Result<(i64, i64, i64)> {
    let transaction = if conn.is_autocommit() {
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
    // Rolls back, which loses nothing: only reads ran.
    drop(transaction);
    Ok(found)
}

fn refusal(path: &Path, reason: &str) -> Error {
    Error::new(
        Code::StoreForeign,
        format!("cannot use {}: {reason} (the file was left untouched)", path.display()),
    )
}

/// Switches the database to WAL mode, which persists in the file. Another program may have switched
/// it off.
fn ensure_wal(conn: &Connection, path: &Path) -> Result<()> {
    // Several processes that open a new database at once may switch the mode at the same time.
    let mode: String = retry_while_busy(|| conn.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0)))?;
    if mode.eq_ignore_ascii_case("wal") {
        return Ok(());
    }
    Err(Error::new(
        Code::StoreUnavailable,
        format!(
            "cannot switch {} to WAL mode (its journal mode is {mode}); close the program that has it open",
            path.display()
        ),
    ))
}

fn create(conn: &Connection, path: &Path) -> Result<()> {
    let transaction = rusqlite::Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    // Another process may have created the schema while this one waited for the lock.
    if matches!(kind_of(conn, path)?, Kind::Empty) {
        conn.execute_batch(SCHEMA_SQL)?;
        conn.pragma_update(None, "application_id", APPLICATION_ID)?;
        conn.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    transaction.commit()?;
    Ok(())
}

fn migrate(conn: &Connection, path: &Path) -> Result<()> {
    let transaction = rusqlite::Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    if let Kind::Agenthub(version) = kind_of(conn, path)? {
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

    /// While another process creates the schema, the database is either empty or complete.
    #[test]
    fn accepts_a_database_while_its_schema_is_being_created() {
        for _ in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("hub.db");
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
            let conn = connect(&path, flags).unwrap();
            ensure_wal(&conn, &path).unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| Writer::open(&path, NetworkFs::Refuse).unwrap());
                while matches!(kind_of(&conn, &path).unwrap(), Kind::Empty) {}
            });
        }
    }

    #[test]
    fn has_a_migration_for_each_version() {
        assert_eq!(i64::try_from(MIGRATIONS.len()).unwrap() + 1, SCHEMA_VERSION);
    }
}
