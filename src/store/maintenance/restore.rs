//! Restore (`agenthub restore`): replaces the content of the database while other processes use it.
//!
//! 1. [`Restore::of_database`] or [`Restore::of_dump`] copies what to restore into a temporary file beside the
//!    database, checks the copy, migrates it, and gives it a new epoch, so that no position of the replaced
//!    content is valid any more.
//! 2. [`Restore::apply`] takes the write lock of the database. A second connection copies the last commit to
//!    `hub.db.before-restore-TIME`.
//! 3. Under the same lock, SQLite's backup API writes the pages of the temporary file over the database, in one
//!    transaction. No process commits between the two copies: each row is in the copy that is kept, or was
//!    written to the restored content.
//!
//! The database stays the same file with the same write-ahead log, so processes that have it open read the
//! restored content with their next transaction. Before the commit, an error or the end of the process
//! changes nothing.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;

use super::schema_differences::{missing_columns, schema_differences};
use super::sql_dump;
use crate::error::{Code, Error, Result};
use crate::fs::beside::beside;
use crate::store::busy_retry::with_migration_timeout;
use crate::store::connect::connect;
use crate::store::connection::{self, NetworkFs, Writer};
use crate::store::file_identity::Identity;
use crate::store::secrets::random_hex;
use crate::store::{migration_backup, online_copy, schema};

/// Pages written per step: 4 MiB.
const STEP_PAGES: i32 = 1024;
/// SQLite's page size for new databases, in bytes.
const DEFAULT_PAGE_SIZE: i64 = 4096;

/// A checked copy of what to restore, and the database whose content it replaces.
#[derive(Debug)]
pub struct Restore {
    path: PathBuf,
    /// The connection to the database that is replaced.
    database: Connection,
    /// The connection to the copy. Its file has no name any more, so it ends with the process.
    copy: Connection,
}

/// A completed restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestoreDone {
    /// Path of the database.
    pub path: String,
    /// Path of the copy of the replaced content.
    pub kept: String,
    /// Number of the newest change in the restored content.
    pub changes: i64,
    /// Number of the newest change in the replaced content; null if it could not be read.
    pub replaced_changes: Option<i64>,
    /// Differences between the restored schema and this program's.
    pub schema_differences: Vec<String>,
}

impl Restore {
    /// Prepares to replace the content of the database at `path` with that of the database `file`. Creates the
    /// database if there is none.
    ///
    /// # Errors
    /// [`Code::Conflict`] if `file` is the database itself; a `Store…` code if `file` is not an agenthub
    /// database, has a newer schema than this program's, or is damaged.
    pub fn of_database(path: &Path, network_fs: NetworkFs, file: &Path) -> Result<Self> {
        let identity = Identity::of(file);
        if identity.is_some() && identity == Identity::of(path) {
            let message = format!("{} is the database itself; name a copy of it", file.display());
            return Err(Error::new(Code::Conflict, message));
        }
        let unreadable = |e: std::io::Error| {
            let message = format!(
                "cannot read {}: {e}; name a file that agenthub backup has written",
                file.display()
            );
            Error::new(Code::StoreUnavailable, message).because(e)
        };
        fs::File::open(file).map_err(unreadable)?;
        let fill = |part: &Path| copy_database(file, part);
        Self::new(path, network_fs, &file.display().to_string(), fill)
    }

    /// Prepares to replace the content of the database at `path` with that of the SQL dump `sql`, which came
    /// from `name`. Creates the database if there is none.
    ///
    /// # Errors
    /// [`Code::Invalid`] if the dump cannot be loaded; as [`Restore::of_database`].
    pub fn of_dump(path: &Path, network_fs: NetworkFs, name: &str, sql: &str) -> Result<Self> {
        let fill = |part: &Path| {
            sql_dump::load(sql, part)?;
            let copy = open_copy(part)?;
            // A dump does not contain them.
            schema::mark(&copy)?;
            Ok(copy)
        };
        Self::new(path, network_fs, name, fill)
    }

    fn new(
        path: &Path,
        network_fs: NetworkFs,
        name: &str,
        fill: impl FnOnce(&Path) -> Result<Connection>,
    ) -> Result<Self> {
        let open = || {
            let database = connection::open_unchecked(path, network_fs)?;
            schema::check_header(&database, path)?;
            Ok::<_, Error>(database)
        };
        let is_new = fs::metadata(path).map_or(true, |file| file.len() == 0);
        let database = match is_new {
            true => {
                connection::create_directory_of(path)?;
                None
            }
            false => Some(open()?),
        };
        let page_size = match &database {
            Some(database) => database.query_row("PRAGMA page_size", [], |row| row.get(0))?,
            None => DEFAULT_PAGE_SIZE,
        };
        let part = beside(path, &format!(".restore.{}.part", std::process::id()));
        online_copy::create(&part).map_err(|e| {
            Error::new(
                Code::StoreUnavailable,
                format!(
                    "cannot write {}: {e}; make sure that this user can write to the directory",
                    part.display()
                ),
            )
            .because(e)
        })?;
        let copy = fill(&part).and_then(|copy| {
            check_and_adapt(&copy, &part, page_size)?;
            Ok(copy)
        });
        // The open connection keeps the file.
        online_copy::remove(&part);
        let copy = copy.map_err(|e| {
            let message = format!("cannot restore {name} (nothing was changed): {}", e.message());
            Error::new(e.code(), message).because(e)
        })?;
        // Created only now: a file that cannot be restored changes nothing.
        let database = match database {
            Some(database) => database,
            None => {
                drop(Writer::open(path, network_fs)?);
                open()?
            }
        };
        let path = path.to_owned();
        Ok(Self { path, database, copy })
    }

    /// Returns the number of the newest change in what is restored.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn changes(&self) -> Result<i64> {
        Ok(newest_change(&self.copy)?)
    }

    /// Returns the number of the newest change in the content that is replaced; `None` if it cannot be read,
    /// because the database is damaged.
    pub fn replaced_changes(&self) -> Option<i64> {
        newest_change(&self.database).ok()
    }

    /// Keeps a copy of the database and replaces its content. Writers wait meanwhile; readers do not.
    ///
    /// # Errors
    /// [`Code::StoreLocked`] if another process keeps the write lock, a `Store…` code. Nothing is changed then.
    pub fn apply(mut self) -> Result<RestoreDone> {
        let schema_differences = schema_differences(&self.copy)?;
        let changes = self.changes()?;
        let kept = with_migration_timeout(|| replace(&self.path, &mut self.database, &self.copy)).map_err(|e| {
            let message = format!(
                "cannot restore {} (nothing was changed): {}",
                self.path.display(),
                e.message()
            );
            Error::new(e.code(), message).because(e)
        })?;
        // Otherwise the next commit of an agent would wait for the checkpoint of the whole content. A hub
        // or a later commit runs it if it is not possible now.
        let checkpoint = self.database.query_row("PRAGMA wal_checkpoint", [], |_| Ok(()));
        if let Err(e) = checkpoint {
            tracing::debug!("no checkpoint after the restore: {e}");
        }
        let replaced = connect(&kept, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        Ok(RestoreDone {
            path: self.path.display().to_string(),
            kept: kept.display().to_string(),
            changes,
            replaced_changes: newest_change(&replaced).ok(),
            schema_differences,
        })
    }
}

/// Copies the last committed state of the database at `path` to a file beside it, and replaces the content by
/// that of `copy`. Returns the path of the file.
fn replace(path: &Path, database: &mut Connection, copy: &Connection) -> Result<PathBuf> {
    let backup = Backup::new(copy, database)?;
    // A step of no pages takes the write lock, which is held until the last step commits, or until `backup`
    // is dropped, which rolls back.
    require_lock(backup.step(0)?)?;
    let kept = migration_backup::copy_before_restore(path)?;
    let written = || -> Result<()> {
        while require_lock(backup.step(STEP_PAGES)?)? == StepResult::More {}
        Ok(())
    };
    written().inspect_err(|error| {
        // A full disk ends the transaction before its commit. After another error, the copy stays.
        if error.code() == Code::StoreFull {
            online_copy::remove(&kept);
        }
    })?;
    Ok(kept)
}

fn require_lock(result: StepResult) -> Result<StepResult> {
    match result {
        StepResult::Done | StepResult::More => Ok(result),
        _ => Err(Error::new(
            Code::StoreLocked,
            "another process keeps a transaction open (agenthub doctor shows which); end it, and try again",
        )),
    }
}

/// Copies the database `file` to the empty file `part`, and opens the copy.
fn copy_database(file: &Path, part: &Path) -> Result<Connection> {
    // SQLite opens a file that this user cannot write for reading only. A connection that can write removes
    // the -wal and -shm that it created.
    let source = connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let transaction = source.unchecked_transaction()?;
    schema::check_header(&source, file)?;
    // This read begins the snapshot, which does not change while `file` is in use.
    source.query_row("PRAGMA schema_version", [], |_| Ok(()))?;
    online_copy::copy(&source, part)?;
    // Rolls back, which loses nothing: only reads ran.
    drop(transaction);
    open_copy(part)
}

/// Opens the temporary file `part`, whose changes need no protection: it is deleted after an error.
fn open_copy(part: &Path) -> Result<Connection> {
    let copy = connect(part, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    copy.pragma_update(None, "synchronous", "OFF")?;
    // Ends WAL mode too: the connection needs no file beside the database from now on.
    copy.pragma_update_and_check(None, "journal_mode", "MEMORY", |_| Ok(()))?;
    Ok(copy)
}

/// Checks the structure of the copy at `part`, migrates it, and gives it a new epoch and this page size.
fn check_and_adapt(copy: &Connection, part: &Path, page_size: i64) -> Result<()> {
    let damage: String = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if damage != "ok" {
        return Err(Error::new(
            Code::StoreCorrupt,
            format!("it is damaged: {damage}; use another backup"),
        ));
    }
    let encoding: String = copy.query_row("PRAGMA encoding", [], |row| row.get(0))?;
    if encoding != "UTF-8" {
        // All connections of a process to a database use one encoding.
        let message = format!("its text is encoded as {encoding}, not as UTF-8; restore a dump of it with --from-sql");
        return Err(Error::new(Code::StoreForeign, message));
    }
    schema::check_header(copy, part)?;
    schema::migrate_copy(copy).map_err(|e| {
        // Most likely a dump of another program's database, whose version is a guess.
        let message = format!("it cannot be migrated to this version: {}", e.message());
        Error::new(Code::StoreForeign, message).because(e)
    })?;
    let missing = missing_columns(copy)?;
    if let Some(first) = missing.first() {
        let message = format!("it is not an agenthub database: {first} is missing");
        return Err(Error::new(Code::StoreForeign, message));
    }
    // The triggers protect the epoch of a database in use.
    copy.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    copy.execute("DELETE FROM hub WHERE key IN ('epoch', 'pruning')", [])?;
    copy.execute("INSERT INTO hub VALUES('epoch', ?1)", [random_hex::<16>()?])?;
    copy.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, true)?;
    let found: i64 = copy.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    if found != page_size {
        // The page size of a database in WAL mode cannot change.
        copy.execute_batch(&format!("PRAGMA page_size = {page_size}; VACUUM"))?;
    }
    Ok(())
}

fn newest_change(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("SELECT coalesce(max(seq), 0) FROM changes", [], |row| row.get(0))
}
