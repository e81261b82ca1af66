//! Opens a SQLite connection with the settings that all connections share.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use super::busy_retry;
use crate::error::{Code, Error, Result};
use crate::fs::beside::beside;
use crate::fs::private_file::Owner;

/// Maximum size of a row that this process reads: more than all columns at the sizes the triggers
/// accept. Without a limit, a value of 300 MB in a database without triggers would be read into memory.
const MAX_ROW_BYTES: i32 = 32 << 20;
/// Prepared statements cached per connection: more than `store` has.
const STATEMENT_CACHE: usize = 96;

/// Opens a connection with the settings that all connections share.
///
/// # Errors
/// As [`refuse_files_of_others`]; a `Store…` code.
pub(super) fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
    refuse_files_of_others(path)?;
    // SQLITE_OPEN_NO_MUTEX: a connection never leaves the thread that uses it.
    #[expect(clippy::disallowed_methods, reason = "the only place that opens connections")]
    let mut conn = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(|e| {
        let error = Error::from(e);
        Error::new(
            error.code(),
            format!("cannot open {}: {}", path.display(), error.message()),
        )
    })?;
    conn.busy_handler(Some(busy_retry::busy_handler))?;
    conn.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_ROW_BYTES)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // Without this, SQLite prepares a statement again each time another value is bound to its
    // LIMIT, which would take most of the time of a poll.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    Ok(conn)
}

/// Checks the files that SQLite opens beside the database at `path`, by `stat` only. In a directory where another
/// user can write, that user could create them first: to read the rows that SQLite writes to them, or to add
/// pages to the database. A database that other users may open is not checked.
///
/// # Errors
/// [`Code::StoreUnavailable`] if one of them is a link or no regular file, or belongs to another user.
pub(super) fn refuse_files_of_others(path: &Path) -> Result<()> {
    let is_private = fs::metadata(path).map_or(true, |file| file.mode() & 0o077 == 0);
    let owner = Owner::of(path).uid();
    for suffix in ["-wal", "-shm", "-journal"] {
        let beside = beside(path, suffix);
        let Ok(found) = fs::symlink_metadata(&beside) else {
            continue;
        };
        let reason = if !found.is_file() {
            "is not a regular file".to_owned()
        } else if is_private && found.uid() != owner && found.uid() != 0 {
            format!("belongs to another user ({})", found.uid())
        } else {
            continue;
        };
        return Err(Error::new(
            Code::StoreUnavailable,
            format!(
                "cannot open {}: {} {reason}; delete it, or move the database to a directory where only you can write",
                path.display(),
                beside.display()
            ),
        ));
    }
    Ok(())
}
