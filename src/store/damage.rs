//! Damage of the database: the observer of errors that show it, and the check that decides whether it is
//! still there.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};

use rusqlite::{Connection, InterruptHandle};

use super::connection::Reader;
use super::schema::SCHEMA_SQL;
use crate::error::{Code, Error, Result};

type Observer = Box<dyn Fn(&Error) + Send + Sync>;

/// Passes errors that show damage to an observer. Every read, write and maintenance job reports to it, so
/// that damage is known wherever it is found first.
#[derive(Default)]
pub(super) struct DamageObserver(OnceLock<Observer>);

impl fmt::Debug for DamageObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DamageObserver")
    }
}

impl DamageObserver {
    /// Sets the observer. Only the first call has an effect.
    pub(super) fn set(&self, observer: Observer) {
        // There is one hub for a store.
        drop(self.0.set(observer));
    }

    /// Passes the error of `result`, if it shows damage, to the observer.
    pub(super) fn report<T>(&self, result: &Result<T>) {
        if let Err(error) = result
            && error.code() == Code::StoreCorrupt
            && let Some(observer) = self.0.get()
        {
            observer(error);
        }
    }
}

/// The check that runs, so that it can be ended from another thread.
#[derive(Default)]
pub(super) struct RunningCheck(Mutex<Option<InterruptHandle>>);

impl fmt::Debug for RunningCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunningCheck")
    }
}

impl RunningCheck {
    /// Checks the database of `reader`.
    ///
    /// # Errors
    /// As [`Reader::check_structure`]; [`Code::Internal`] after [`RunningCheck::interrupt`].
    pub(super) fn run(&self, reader: &Reader) -> Result<()> {
        *self.handle() = Some(reader.conn.get_interrupt_handle());
        let result = reader.check_structure();
        *self.handle() = None;
        result
    }

    /// Ends the check that runs, if any.
    pub(super) fn interrupt(&self) {
        if let Some(handle) = &*self.handle() {
            handle.interrupt();
        }
    }

    fn handle(&self) -> std::sync::MutexGuard<'_, Option<InterruptHandle>> {
        // Nothing panics while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the error for damage that a check has found.
fn damaged(detail: &str) -> Error {
    Error::new(
        Code::StoreCorrupt,
        format!(
            "the database is damaged: {detail}; restore a backup with agenthub restore (agenthub doctor checks a file)"
        ),
    )
}

impl Reader {
    /// Checks that the pages form valid tables and indexes, and that all tables are there. Reads the whole
    /// database.
    ///
    /// # Errors
    /// [`Code::StoreCorrupt`] if the database is damaged; a `Store…` code.
    pub fn check_structure(&self) -> Result<()> {
        let found: String = self.conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if found != "ok" {
            return Err(damaged(&found.replace('\n', " ")));
        }
        self.require_tables()
    }

    /// Empties the page cache, which may contain damaged pages. Otherwise this connection would find the
    /// damage again after the file was repaired.
    pub fn drop_cached_pages(&self) {
        // If this fails, the next read reports the reason.
        drop(self.conn.execute_batch("PRAGMA shrink_memory"));
    }

    /// Checks that all tables of the schema exist. Reads only the list of tables.
    ///
    /// # Errors
    /// [`Code::StoreCorrupt`] if one is missing; a `Store…` code.
    pub fn require_tables(&self) -> Result<()> {
        static EXPECTED: OnceLock<BTreeSet<String>> = OnceLock::new();
        let expected = match EXPECTED.get() {
            Some(expected) => expected,
            None => {
                let schema = Connection::open_in_memory()?;
                schema.execute_batch(SCHEMA_SQL)?;
                let names = tables(&schema)?;
                EXPECTED.get_or_init(|| names)
            }
        };
        let actual = tables(&self.conn)?;
        match expected.difference(&actual).next() {
            Some(name) => Err(damaged(&format!("the table {name} is missing"))),
            None => Ok(()),
        }
    }
}

fn tables(conn: &Connection) -> Result<BTreeSet<String>> {
    let mut statement = conn.prepare_cached("SELECT name FROM sqlite_master WHERE type = 'table'")?;
    let names = statement.query_map([], |row| row.get(0))?;
    Ok(names.collect::<rusqlite::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::test_support::temp_database;
    use super::super::{NetworkFs, Store};
    use super::*;

    #[test]
    fn a_missing_table_is_damage() {
        let (_dir, writer) = temp_database();
        writer.check_structure().unwrap();
        writer.conn.execute_batch("DROP TABLE receipts").unwrap();
        let error = writer.check_structure().unwrap_err();
        assert_eq!(error.code(), Code::StoreCorrupt);
        assert!(error.message().contains("the table receipts is missing"), "{error}");
    }

    #[test]
    fn reads_and_writes_report_damage() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("hub.db"), NetworkFs::Refuse).unwrap();
        let found = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&found);
        store.on_damage(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
        });
        store.read(Reader::counts).unwrap();
        assert_eq!(found.load(Ordering::SeqCst), 0);
        store
            .write(|writer| Ok(writer.conn.execute_batch("DROP TABLE telemetry")?))
            .unwrap();
        assert_eq!(store.read(Reader::counts).unwrap_err().code(), Code::StoreCorrupt);
        assert_eq!(found.load(Ordering::SeqCst), 1);
        let write = store.write(|writer| {
            writer
                .record_telemetry(&super::super::NewTelemetry::default())
                .map(drop)
        });
        assert_eq!(write.unwrap_err().code(), Code::StoreCorrupt);
        assert_eq!(found.load(Ordering::SeqCst), 2);
        assert_eq!(store.check_structure().unwrap_err().code(), Code::StoreCorrupt);
    }
}
