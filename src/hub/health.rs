//! The health of the database: whether it can be read and written, and rows that cannot be shown.
//!
//! Each change of state is logged once, and shown on `/api/status` and to clients. The hub keeps
//! trying, and detects when the database works again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::Notify;

use super::encoded_change::EncodedChange;
use crate::error::Error;
use crate::protocol::now_ms;
use crate::store::{Row, UnreadableRow};

/// Number of unreadable rows kept for display.
const SHOWN_ROWS: usize = 20;

/// A reason why the database cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreFailure {
    /// Name from the table in [`crate::error`].
    pub code: &'static str,
    /// The failure and what to do about it.
    pub message: String,
    /// When it began, Unix milliseconds.
    pub since: i64,
}

/// A row that cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnreadableRowReport {
    /// The table.
    pub table: &'static str,
    /// The row's integer primary key.
    pub row: i64,
    /// The column and the reason why its value is invalid.
    pub reason: String,
    /// When the change reader found it, Unix milliseconds.
    pub at: i64,
}

/// An operation on the database that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Read,
    Write,
}

impl Operation {
    /// Returns the participle for log lines: "cannot be read", "cannot be written".
    fn participle(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "written",
        }
    }
}

/// The state of the database as the hub sees it.
#[derive(Debug, Default)]
pub(super) struct Health {
    failures: Mutex<Failures>,
    /// Whether there is a failure. Read without the lock, changed only while it is held.
    has_failure: AtomicBool,
    degraded: AtomicU64,
    recoveries: AtomicU64,
    unreadable: Mutex<UnreadableRows>,
    write_failed: Notify,
}

#[derive(Debug, Default)]
struct Failures {
    read: Option<StoreFailure>,
    write: Option<StoreFailure>,
}

impl Failures {
    fn slot(&mut self, operation: Operation) -> &mut Option<StoreFailure> {
        match operation {
            Operation::Read => &mut self.read,
            Operation::Write => &mut self.write,
        }
    }
}

#[derive(Debug, Default)]
struct UnreadableRows {
    count_by_table: BTreeMap<&'static str, u64>,
    last: VecDeque<UnreadableRowReport>,
}

impl Health {
    /// Counts the degraded and unreadable rows among new changes.
    pub(super) fn inspect(&self, entries: &[Arc<EncodedChange>]) {
        for entry in entries {
            match entry.row() {
                Row::Message(row, _) if !row.degraded.is_empty() => self.count_degraded("messages", &row.degraded),
                Row::Inbox(row) if !row.degraded.is_empty() => self.count_degraded("inbox_messages", &row.degraded),
                Row::Unreadable(row) => self.add_unreadable(row),
                _ => {}
            }
        }
    }

    fn count_degraded(&self, table: &str, reason: &str) {
        self.degraded.fetch_add(1, Ordering::Relaxed);
        tracing::debug!("a row of {table} is delivered degraded: {reason}");
    }

    fn add_unreadable(&self, row: &UnreadableRow) {
        let mut unreadable = lock(&self.unreadable);
        let count = unreadable.count_by_table.entry(row.table).or_default();
        *count += 1;
        if *count == 1 {
            tracing::warn!(
                "row {} of {} cannot be shown: {} (further ones are counted on /api/status)",
                row.row,
                row.table,
                row.reason
            );
        }
        if unreadable.last.len() == SHOWN_ROWS {
            unreadable.last.pop_front();
        }
        unreadable.last.push_back(UnreadableRowReport {
            table: row.table,
            row: row.row,
            reason: row.reason.clone(),
            at: now_ms(),
        });
    }

    /// Returns the current failures: reading first, then writing.
    pub(super) fn failures(&self) -> Vec<StoreFailure> {
        if !self.has_failure.load(Ordering::Acquire) {
            return Vec::new();
        }
        let failures = lock(&self.failures);
        [&failures.read, &failures.write]
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// Returns the number of messages delivered although part of them could not be read.
    pub(super) fn degraded(&self) -> u64 {
        self.degraded.load(Ordering::Relaxed)
    }

    /// Returns how often the database became usable again.
    pub(super) fn recoveries(&self) -> u64 {
        self.recoveries.load(Ordering::Relaxed)
    }

    /// Returns the number of unreadable rows by table, and the last of these rows.
    pub(super) fn unreadable(&self) -> (BTreeMap<&'static str, u64>, Vec<UnreadableRowReport>) {
        let unreadable = lock(&self.unreadable);
        (
            unreadable.count_by_table.clone(),
            unreadable.last.iter().cloned().collect(),
        )
    }

    /// Records that `operation` failed. Returns `false` for a repeated failure with the same code.
    pub(super) fn fail(&self, operation: Operation, error: &Error) -> bool {
        let code = error.code().name();
        {
            let mut failures = lock(&self.failures);
            let failure = failures.slot(operation);
            if failure.as_ref().is_some_and(|known| known.code == code) {
                return false;
            }
            tracing::error!("the database cannot be {}: {code}: {error}", operation.participle());
            *failure = Some(StoreFailure {
                code,
                message: error.message().to_owned(),
                since: now_ms(),
            });
            self.has_failure.store(true, Ordering::Release);
        }
        if operation == Operation::Write {
            self.write_failed.notify_one();
        }
        true
    }

    /// Records that `operation` succeeded.
    pub(super) fn recover(&self, operation: Operation) {
        if !self.has_failure.load(Ordering::Acquire) {
            return;
        }
        let mut failures = lock(&self.failures);
        if failures.slot(operation).take().is_none() {
            return;
        }
        tracing::info!("the database can be {} again", operation.participle());
        self.recoveries.fetch_add(1, Ordering::Relaxed);
        let has_failure = failures.read.is_some() || failures.write.is_some();
        self.has_failure.store(has_failure, Ordering::Release);
    }

    /// Waits until a write fails.
    pub(super) async fn write_failed(&self) {
        self.write_failed.notified().await;
    }

    /// Returns whether the last write failed.
    pub(super) fn is_write_failing(&self) -> bool {
        lock(&self.failures).write.is_some()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while one of these locks is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
