//! What is wrong with the file, if anything, and which rows could not be shown.
//!
//! For: one line in the log for each change of state, `/api/status`, and clients.
//! Not for: mending it. The hub goes on trying and notices when it works again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Hub;
use super::encoded_change::EncodedChange;
use crate::error::Error;
use crate::protocol::now_ms;
use crate::store::{Row, UnreadableRow};

/// Rejected rows kept for showing.
const SHOWN: usize = 20;
/// Time between two tries to write while writing fails.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Something wrong with the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// Its name, from [`crate::error`]'s table.
    pub code: &'static str,
    /// What it is and what to do about it.
    pub message: String,
    /// Since when, Unix milliseconds.
    pub since: i64,
}

/// A row that could not be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RejectedRow {
    /// The table.
    pub table: &'static str,
    /// The row's integer primary key.
    pub row: i64,
    /// The column and what is wrong with it.
    pub reason: String,
    /// When it was met, Unix milliseconds.
    pub at: i64,
}

/// The hub's notes on the file.
#[derive(Debug, Default)]
pub(super) struct Health {
    reading: Mutex<Option<Trouble>>,
    writing: Mutex<Option<Trouble>>,
    /// Whether there is trouble, for the many who only ask that.
    troubled: AtomicBool,
    degraded: AtomicU64,
    recoveries: AtomicU64,
    rejected: Mutex<Rejections>,
    writing_failed: Notify,
}

#[derive(Debug, Default)]
struct Rejections {
    by_table: BTreeMap<&'static str, u64>,
    last: VecDeque<RejectedRow>,
}

impl Health {
    /// Notes the odd rows among those just read.
    pub(super) fn inspect(&self, entries: &[Arc<EncodedChange>]) {
        for entry in entries {
            match entry.row() {
                Row::Message(row, _) if !row.degraded.is_empty() => self.degrade("messages", &row.degraded),
                Row::Inbox(row) if !row.degraded.is_empty() => self.degrade("inbox_messages", &row.degraded),
                Row::Unreadable(rejected) => self.reject(rejected),
                _ => {}
            }
        }
    }

    fn degrade(&self, table: &str, reason: &str) {
        self.degraded.fetch_add(1, Ordering::Relaxed);
        tracing::debug!("a row of {table} is delivered degraded: {reason}");
    }

    fn reject(&self, rejected: &UnreadableRow) {
        let mut rejections = lock(&self.rejected);
        let count = rejections.by_table.entry(rejected.table).or_default();
        *count += 1;
        if *count == 1 {
            tracing::warn!(
                "row {} of {} cannot be shown: {} (further ones are counted on /api/status)",
                rejected.row,
                rejected.table,
                rejected.reason
            );
        }
        if rejections.last.len() == SHOWN {
            rejections.last.pop_front();
        }
        rejections.last.push_back(RejectedRow {
            table: rejected.table,
            row: rejected.row,
            reason: rejected.reason.clone(),
            at: now_ms(),
        });
    }
}

impl Hub {
    /// The worst that is wrong with the file now.
    pub fn trouble(&self) -> Option<Trouble> {
        self.troubles().into_iter().next()
    }

    /// What is wrong with the file now: reading first, then writing.
    pub fn troubles(&self) -> Vec<Trouble> {
        if !self.health.troubled.load(Ordering::Acquire) {
            return Vec::new();
        }
        let both = [&self.health.reading, &self.health.writing];
        both.into_iter().filter_map(|which| lock(which).clone()).collect()
    }

    /// Messages and mail delivered although something in them could not be read.
    pub fn degraded(&self) -> u64 {
        self.health.degraded.load(Ordering::Relaxed)
    }

    /// Times the file could be used again.
    pub fn recoveries(&self) -> u64 {
        self.health.recoveries.load(Ordering::Relaxed)
    }

    /// Rows not shown: how many by table, and the last of them.
    pub fn rejected(&self) -> (BTreeMap<&'static str, u64>, Vec<RejectedRow>) {
        let rejections = lock(&self.health.rejected);
        (rejections.by_table.clone(), rejections.last.iter().cloned().collect())
    }

    pub(super) fn reading_fails(&self, error: &Error) {
        self.trouble_with(&self.health.reading, "read", error);
    }

    pub(super) fn reading_works(&self) {
        self.all_well_with(&self.health.reading, "read");
    }

    pub(super) fn writing_fails(&self, error: &Error) {
        self.trouble_with(&self.health.writing, "written", error);
        self.health.writing_failed.notify_one();
    }

    pub(super) fn writing_works(&self) {
        self.all_well_with(&self.health.writing, "written");
    }

    /// While writing fails, tries now and then whether it works again, until `stop`.
    pub async fn probe_writing(self: Arc<Self>, stop: CancellationToken) {
        let probes = async {
            loop {
                self.health.writing_failed.notified().await;
                while lock(&self.health.writing).is_some() {
                    tokio::time::sleep(PROBE_INTERVAL).await;
                    // The outcome is noted by `write` itself.
                    drop(self.write(|writer| writer.probe(now_ms())).await);
                }
            }
        };
        // Whatever is being tried then, nobody waits for it any more.
        let _: Option<()> = stop.run_until_cancelled(probes).await;
    }

    fn trouble_with(&self, which: &Mutex<Option<Trouble>>, verb: &str, error: &Error) {
        let code = error.code().name();
        let mut trouble = lock(which);
        if trouble.as_ref().is_some_and(|t| t.code == code) {
            return;
        }
        tracing::error!("the file cannot be {verb}: {code}: {error}");
        *trouble = Some(Trouble {
            code,
            message: error.message().to_owned(),
            since: now_ms(),
        });
        drop(trouble);
        self.health.troubled.store(true, Ordering::Release);
        self.signal.send_modify(|signal| signal.troubles += 1);
    }

    fn all_well_with(&self, which: &Mutex<Option<Trouble>>, verb: &str) {
        if !self.health.troubled.load(Ordering::Acquire) || lock(which).take().is_none() {
            return;
        }
        tracing::info!("the file can be {verb} again");
        self.health.recoveries.fetch_add(1, Ordering::Relaxed);
        let troubled = lock(&self.health.reading).is_some() || lock(&self.health.writing).is_some();
        self.health.troubled.store(troubled, Ordering::Release);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while one of these locks is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
