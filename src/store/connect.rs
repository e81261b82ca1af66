//! Opens a SQLite connection with the settings that all connections share.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use super::busy_retry;
use crate::error::{Error, Result};

/// Maximum size of a row that this process reads: more than all columns at the sizes the triggers
/// accept. Without a limit, a value of 300 MB in a database without triggers would be read into memory.
const MAX_ROW_BYTES: i32 = 32 << 20;
/// Prepared statements cached per connection: more than `store` has.
const STATEMENT_CACHE: usize = 96;

/// Opens a connection with the settings that all connections share.
pub(super) fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
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
