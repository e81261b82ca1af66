//! The state of a running hub, shared by the change reader, the server and all clients.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::encoded_change::{EncodedChange, pos_text};
use super::health::{Attempt, Health, Operation, StoreFailure, UnreadableRowReport};
use super::latency_histogram::{LatencyHistogram, LatencySnapshot};
use super::pending_acks::PendingAcks;
use super::recent_changes::{RecentChanges, RecentLookup};
use super::unlogged_rows::UnloggedRows;
use super::wake_stats::WakeStats;
use crate::config::Limits;
use crate::error::{Code, Error, Result};
use crate::protocol::now_ms;
use crate::store::{Change, Position, Reader, Start, Store, ThreadOpening, ThreadPage, Writer};
use crate::watcher::{NotifyMethod, WakeHandle};

/// Maximum number of concurrent reads of the database. Further reads wait without a thread.
const MAX_READS: usize = 4;
/// Maximum number of changes passed to a session at once.
const FEED_ROWS: usize = 256;
/// Maximum number of bytes of rows read from the database for one client at once.
const FEED_BYTES: usize = 256 * 1024;
/// Time between two attempts to write while writing fails.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// Minimum time between two checks of a damaged database.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Minimum time between two such checks, in durations of one: a check reads the whole database.
const CHECK_PAUSE_FACTOR: u32 = 20;
/// Time between two requests to a running check to end.
const INTERRUPT_INTERVAL: Duration = Duration::from_millis(20);

/// The signal that clients' tasks wait for. After every change of it, a task asks its session for the
/// next action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Signal {
    /// Number of the newest change.
    pub head: i64,
    /// Number of replacements of the database. After an increase all positions are lost.
    pub generation: u64,
    /// Number of failures of the database so far.
    pub failures: u64,
}

/// The change log as far as the change reader has read it.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) recent: RecentChanges,
    pub(super) epoch: Arc<str>,
    /// As in [`Signal`].
    pub(super) generation: u64,
}

/// A hub: one database, its recent changes in memory, and its health.
#[derive(Debug)]
pub struct Hub {
    store: Store,
    limits: Limits,
    log: RwLock<Log>,
    signal: watch::Sender<Signal>,
    wake_handle: WakeHandle,
    reads: Arc<Semaphore>,
    /// Number of clients that wait for changes.
    listeners: Arc<AtomicUsize>,
    pub(super) acks: PendingAcks,
    health: Arc<Health>,
    pub(super) unlogged_rows: UnloggedRows,
    pub(super) wake_stats: WakeStats,
    delivery_latency: LatencyHistogram,
}

impl Hub {
    /// Creates the state for the database of `store`, whose newest change is `head`.
    pub(super) fn new(
        store: Store,
        limits: Limits,
        (head, epoch): (Position, String),
        wake_handle: WakeHandle,
        listeners: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            log: RwLock::new(Log {
                recent: RecentChanges::new(head, limits.max_lag_messages),
                epoch: epoch.into(),
                generation: 0,
            }),
            signal: watch::Sender::new(Signal {
                head: head.seq,
                ..Signal::default()
            }),
            store,
            limits,
            wake_handle,
            reads: Arc::new(Semaphore::new(MAX_READS)),
            listeners,
            acks: PendingAcks::default(),
            health: Arc::default(),
            unlogged_rows: UnloggedRows::default(),
            wake_stats: WakeStats::default(),
            delivery_latency: LatencyHistogram::default(),
        }
    }

    /// Returns the limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Returns the signal a client's task waits for.
    pub fn signal(&self) -> watch::Receiver<Signal> {
        self.signal.subscribe()
    }

    /// Adds a client that waits for changes. Returns the number of such clients.
    pub fn add_listener(&self) -> usize {
        let before = self.listeners.fetch_add(1, Ordering::Relaxed);
        if before == 0 {
            // Polling, if it is in use, runs only while there is a listener: start it now.
            self.wake_handle.wrote();
        }
        before + 1
    }

    /// Removes a client added by [`Hub::add_listener`].
    pub fn remove_listener(&self) {
        self.listeners.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns the number of clients that wait for changes.
    pub fn listeners(&self) -> usize {
        self.listeners.load(Ordering::Relaxed)
    }

    /// Returns how commits are detected.
    pub fn notify_method(&self) -> NotifyMethod {
        self.wake_stats.method()
    }

    /// Returns the change reader's wakes by source: name, wakes without and with new rows.
    pub fn wakes(&self) -> Vec<(&'static str, u64, u64)> {
        self.wake_stats.all().collect()
    }

    /// Returns the ages of new rows at the moment a client took them from memory.
    pub fn delivery_latency(&self) -> LatencySnapshot {
        self.delivery_latency.snapshot()
    }

    /// Returns the database's epoch and the position after the newest change read.
    pub fn head(&self) -> (Arc<str>, Position) {
        let log = self.log();
        (Arc::clone(&log.epoch), log.recent.head())
    }

    /// Returns the epoch, and the same position as clients see it.
    pub fn head_text(&self) -> (Arc<str>, String) {
        let (epoch, pos) = self.head();
        let text = pos_text(&epoch, pos, None);
        (epoch, text)
    }

    // ---- reading ------------------------------------------------------------------------

    /// Runs `f` with a reader on a blocking thread, at most four at a time.
    ///
    /// # Errors
    /// The error of `f`, or a `Store…` code.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        f: impl FnOnce(&Reader) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        // The semaphore is never closed.
        let permit = Arc::clone(&self.reads).acquire_owned().await.ok();
        let hub = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            // Released when the read ends, even if the caller was cancelled before.
            let _permit = permit;
            hub.store.read(f)
        });
        done.await
            .unwrap_or_else(|e| Err(Error::new(Code::Internal, "a read of the database panicked").because(e)))
    }

    /// Returns the changes after `pos`: from memory if it has them, otherwise from the database. With
    /// `skip_pruned`, they start with the oldest change kept if `pos` was pruned.
    ///
    /// # Errors
    /// [`Code::PositionLost`] if the change log does not contain `pos`; a `Store…` code.
    pub async fn changes_after(self: &Arc<Self>, pos: Position, skip_pruned: bool) -> Result<Vec<Arc<EncodedChange>>> {
        if let Some(entries) = self.changes_in_memory(pos) {
            return Ok(entries);
        }
        let (epoch, head) = self.head();
        let expected = Arc::clone(&epoch);
        let page = self
            .read(
                move |reader| match reader.log_after(&expected, pos, FEED_ROWS, FEED_BYTES) {
                    Err(error) if skip_pruned && error.code() == Code::PositionLost => {
                        reader.log_after_pruned(&expected, pos, head, FEED_ROWS, FEED_BYTES)
                    }
                    page => page,
                },
            )
            .await?;
        Ok(page
            .changes
            .into_iter()
            .map(|change| Arc::new(EncodedChange::new(change, &epoch)))
            .collect())
    }

    /// Returns the changes after `pos` from memory; `None` if `pos` is older than all of them.
    pub fn changes_in_memory(&self, pos: Position) -> Option<Vec<Arc<EncodedChange>>> {
        match self.log().recent.after(pos, FEED_ROWS, FEED_BYTES) {
            RecentLookup::Found(entries) => {
                let now = now_ms();
                for written_at in entries.iter().filter_map(|entry| entry.written_at()) {
                    self.delivery_latency.record(written_at, now);
                }
                Some(entries)
            }
            RecentLookup::TooOld => None,
        }
    }

    /// Returns messages of a thread after `after` if memory has all of them and the database is
    /// still that of `generation`: message numbers of another database are not comparable.
    pub fn page_in_memory(
        &self,
        generation: u64,
        thread_id: &str,
        after: i64,
        rows: usize,
        bytes: usize,
    ) -> Option<ThreadPage> {
        let log = self.log();
        (log.generation == generation)
            .then(|| log.recent.thread_page(thread_id, after, rows, bytes))
            .flatten()
    }

    /// Returns the number of replacements of the database, as [`Signal::generation`]. Unlike the
    /// signal, it is never behind the change log.
    pub fn generation(&self) -> u64 {
        self.log().generation
    }

    /// Returns where a subscription starts, and records the subscription in the database.
    ///
    /// # Errors
    /// [`Code::PositionLost`] if the database is being replaced; a `Store…` code.
    pub async fn open_thread(
        self: &Arc<Self>,
        instance: String,
        thread_id: String,
        start: Start,
    ) -> Result<ThreadOpening> {
        let anchor = self.head().1;
        let (name, thread) = (instance.clone(), thread_id.clone());
        let hub = Arc::clone(self);
        let opening = self
            .read(move |reader| {
                let start = match start {
                    // A pending ack counts although it is not in the database yet.
                    Start::LastAck => {
                        let pending = hub.acks.get(&name, &thread);
                        Start::After(reader.last_ack(&name, &thread)?.max(pending))
                    }
                    start => start,
                };
                reader.open_thread(&name, &thread, start, anchor)
            })
            .await?;
        // Only for programs that read the table: the client does not wait for it.
        let from_seq = opening.after;
        self.store.write_then(
            move |writer| writer.subscribe(&instance, &thread_id, from_seq, now_ms()),
            drop,
        );
        Ok(opening)
    }

    // ---- writing ------------------------------------------------------------------------

    /// Runs `f` on the writer thread and waits until its transaction is committed.
    ///
    /// # Errors
    /// The error of `f`, or of the commit.
    pub async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        f: impl FnOnce(&Writer) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (tx, rx) = oneshot::channel();
        let hub = Arc::clone(self);
        let attempt = self.health.begin();
        self.store.write_then(f, move |outcome| {
            match &outcome {
                Ok(_) => hub.health.recover(Operation::Write, attempt),
                // The change reader reports a replaced database.
                Err(error) if error.code().is_store() && error.code() != Code::StoreReplaced => {
                    hub.fail(Operation::Write, error);
                }
                Err(_) => {}
            }
            // The caller may have been cancelled.
            drop(tx.send(outcome));
        });
        let outcome = rx.await.unwrap_or_else(|_| {
            let error = Error::new(Code::Internal, "the writer thread has ended; restart the hub");
            self.fail(Operation::Write, &error);
            Err(error)
        });
        if outcome.is_ok() {
            self.wake_handle.wrote();
        }
        outcome
    }

    /// Tests once a second, while writing fails, whether it works again, until `stop`.
    pub async fn probe_writing(self: Arc<Self>, stop: CancellationToken) {
        let probes = async {
            loop {
                while self.health.is_write_failing() {
                    tokio::time::sleep(PROBE_INTERVAL).await;
                    // `write` records the result.
                    drop(self.write(|writer| writer.probe(now_ms())).await);
                }
                self.health.write_failed().await;
            }
        };
        let _: Option<()> = stop.run_until_cancelled(probes).await;
    }

    /// Checks the structure of a database in which damage was found, repeatedly until it is not damaged,
    /// until `stop`.
    pub async fn check_damage(self: Arc<Self>, stop: CancellationToken) {
        loop {
            while self.health.is_damaged() {
                let begun = tokio::time::Instant::now();
                if !self.check_structure(&stop).await {
                    return;
                }
                if !self.health.is_damaged() {
                    break;
                }
                let pause = (begun.elapsed() * CHECK_PAUSE_FACTOR).max(CHECK_INTERVAL);
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.health.check_needed() => {}
                    () = tokio::time::sleep(pause) => {}
                }
            }
            if stop.run_until_cancelled(self.health.check_needed()).await.is_none() {
                return;
            }
        }
    }

    /// Checks the structure of the database once. Returns `false` if `stop` ended the check.
    async fn check_structure(self: &Arc<Self>, stop: &CancellationToken) -> bool {
        let attempt = self.health.begin();
        let hub = Arc::clone(self);
        let mut check = tokio::task::spawn_blocking(move || hub.store.check_structure());
        let outcome = tokio::select! {
            outcome = &mut check => outcome,
            () = stop.cancelled() => {
                // The first request may come before the check begins.
                while tokio::time::timeout(INTERRUPT_INTERVAL, &mut check).await.is_err() {
                    self.store.interrupt_check();
                }
                return false;
            }
        };
        // After an error other than damage, such as a lock, the next check decides.
        if let Ok(Ok(())) = outcome {
            self.health.recover(Operation::Check, attempt);
        }
        true
    }

    // ---- health -------------------------------------------------------------------------

    /// Returns the most severe failure of the database, if any.
    pub fn failure(&self) -> Option<StoreFailure> {
        self.failures().into_iter().next()
    }

    /// Returns the current failures of the database: damage first, then reading, then writing.
    pub fn failures(&self) -> Vec<StoreFailure> {
        self.health.failures()
    }

    /// Returns the finding that rows are not in the change log, if there is one.
    pub fn unlogged_rows(&self) -> Option<StoreFailure> {
        self.unlogged_rows.get()
    }

    /// Returns the number of messages delivered although part of them could not be read.
    pub fn degraded(&self) -> u64 {
        self.health.degraded()
    }

    /// Returns how often the database became usable again.
    pub fn recoveries(&self) -> u64 {
        self.health.recoveries()
    }

    /// Returns the number of rows that cannot be shown, by table, and the last of them.
    pub fn unreadable_rows(&self) -> (BTreeMap<&'static str, u64>, Vec<UnreadableRowReport>) {
        self.health.unreadable()
    }

    // ---- for the change reader ----------------------------------------------------------

    /// Publishes new changes to all clients.
    pub(super) fn publish(&self, changes: Vec<Change>) {
        let epoch = Arc::clone(&self.log().epoch);
        let entries: Vec<_> = changes
            .into_iter()
            .map(|change| Arc::new(EncodedChange::new(change, &epoch)))
            .collect();
        self.health.inspect(&entries);
        let head = {
            let mut log = self.log.write().unwrap_or_else(PoisonError::into_inner);
            for entry in entries {
                log.recent.push(entry);
            }
            log.recent.head().seq
        };
        self.signal.send_modify(|signal| signal.head = head);
    }

    /// Switches to another database: the positions of all clients are lost.
    pub(super) fn replaced(&self, head: Position, epoch: &str) {
        {
            let mut log = self.log.write().unwrap_or_else(PoisonError::into_inner);
            *log = Log {
                recent: RecentChanges::new(head, self.limits.max_lag_messages),
                epoch: epoch.into(),
                generation: log.generation + 1,
            };
            // Under the lock: acks added after this belong to the new database.
            self.acks.clear();
        }
        self.signal.send_modify(|signal| {
            signal.head = head.seq;
            signal.generation += 1;
        });
    }

    /// Records that the file at the path was opened again.
    pub(super) fn reopened(&self) {
        self.health.request_check();
    }

    /// Records that reading or writing failed, and notifies all clients, unless it is a repeated
    /// failure with the same code.
    pub(super) fn fail(&self, operation: Operation, error: &Error) {
        if self.health.fail(operation, error) {
            self.signal.send_modify(|signal| signal.failures += 1);
        }
    }

    /// Records damage that a read, a write or maintenance finds, from now on.
    pub(super) fn observe_damage(&self) {
        // The store's threads must not own the hub, whose end joins them.
        let (health, signal) = (Arc::clone(&self.health), self.signal.clone());
        self.store.on_damage(move |error| {
            if health.fail(Operation::Check, error) {
                signal.send_modify(|signal| signal.failures += 1);
            }
        });
    }

    /// Begins an operation on the database, before it uses the database.
    pub(super) fn begin(&self) -> Attempt {
        self.health.begin()
    }

    /// Records that a read begun with `attempt` succeeded.
    pub(super) fn read_succeeded(&self, attempt: Attempt) {
        self.health.recover(Operation::Read, attempt);
    }

    pub(super) fn log(&self) -> RwLockReadGuard<'_, Log> {
        // Nothing panics while the lock is held.
        self.log.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the error for a client whose position is not in the database.
pub(super) fn position_lost() -> Error {
    Error::new(
        Code::PositionLost,
        "your position is not in the database: it was replaced, restored, or pruned beyond it; \
         start over with since=0 or without since",
    )
}
