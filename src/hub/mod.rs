//! The hub: what to tell whom.
//!
//! For: the live tail that all clients share, the file for those who are further behind,
//! acknowledgements on their way to the file, and what is wrong with the file if anything.
//! Not for: sockets and HTTP (`server`), SQL (`store`).
//!
//! Data travels one way: the looker draws new changes from the file and publishes them to
//! the tail; each client's task is woken, asks its [`session::Session`] what to do, and
//! takes from the tail or the file what it wants. A write through the hub commits a row
//! and is then seen like anybody else's.

mod acks;
mod change_reader;
pub mod connect_options;
pub mod encoded_change;
mod health;
mod latency_histogram;
mod latest_value_throttle;
mod recent_changes;
pub mod session;
mod stream_start;
pub mod token_bucket;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;

use tokio::sync::{Semaphore, oneshot, watch};

use crate::config::Limits;
use crate::error::{Code, Error, Result};
use crate::protocol::now_ms;
use crate::store::{Change, Position, Reader, Start, Store, ThreadOpening, ThreadPage, Writer};
use crate::watcher::{NotifyMethod, WakeHandle, Watch, WatchMode};

use acks::Acks;
use change_reader::{ChangeReader, Stats};
use encoded_change::EncodedChange;
use health::Health;
use latency_histogram::LatencyHistogram;
use recent_changes::{RecentChanges, RecentLookup};

pub use health::{RejectedRow, Trouble};
pub use latency_histogram::LatencySnapshot;
pub use stream_start::{ConnectSnapshot, StreamStart};

/// Reads of the file under way at a time; the others wait without a thread.
const READS: usize = 4;
/// Changes handed to a client at a time.
const FEED_ROWS: usize = 256;
/// Bytes of rows read from the file for one client at a time.
const FEED_BYTES: usize = 256 * 1024;

/// What clients' tasks wait for. Every difference means "ask your session again".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Signal {
    /// The number of the newest change.
    pub head: i64,
    /// Counts the files: a higher number means that all positions are lost.
    pub generation: u64,
    /// Counts the troubles with the file.
    pub troubles: u64,
}

/// The log as the hub has it now.
#[derive(Debug)]
struct Log {
    tail: RecentChanges,
    epoch: Arc<str>,
    /// As in [`Signal`].
    generation: u64,
}

/// The hub.
#[derive(Debug)]
pub struct Hub {
    store: Store,
    limits: Limits,
    log: RwLock<Log>,
    signal: watch::Sender<Signal>,
    poke: WakeHandle,
    reads: Arc<Semaphore>,
    /// Clients that want to hear of changes at once.
    listeners: Arc<AtomicUsize>,
    acks: Acks,
    health: Health,
    stats: Stats,
    ages: LatencyHistogram,
}

/// Says so if the looker breaks off: a hub that shows nothing new must not say that all is well.
struct Alarm(Arc<Hub>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let why = "the thread that looks at the file broke off; restart the hub, and report this";
            self.0.reading_fails(&Error::new(Code::Internal, why));
        }
    }
}

/// The hub's looker thread. [`ChangeReaderHandle::stop`] ends it.
#[derive(Debug)]
pub struct ChangeReaderHandle {
    thread: JoinHandle<()>,
    poke: WakeHandle,
}

impl ChangeReaderHandle {
    /// Ends the looker and waits for it.
    pub fn stop(self) {
        self.poke.stop();
        // A panic of the thread was printed when it happened.
        drop(self.thread.join());
    }
}

impl Hub {
    /// Starts looking at `store`'s file.
    ///
    /// # Errors
    /// A `Store…` code if the file cannot be read or watched.
    pub fn start(store: Store, limits: Limits, mode: WatchMode) -> Result<(Arc<Self>, ChangeReaderHandle)> {
        let listeners = Arc::new(AtomicUsize::new(0));
        let reader = store.reader()?;
        // Watching begins before the first look, so that nothing falls in between.
        let (watch, poke) = Watch::start(store.path(), mode, limits.poll_interval, Arc::clone(&listeners))?;
        let (head, epoch) = (reader.head()?, reader.epoch()?);
        let hub = Arc::new(Self {
            log: RwLock::new(Log {
                tail: RecentChanges::new(head, limits.max_lag_messages),
                epoch: epoch.into(),
                generation: 0,
            }),
            signal: watch::Sender::new(Signal {
                head: head.seq,
                ..Signal::default()
            }),
            store,
            limits,
            poke: poke.clone(),
            reads: Arc::new(Semaphore::new(READS)),
            listeners,
            acks: Acks::default(),
            health: Health::default(),
            stats: Stats::default(),
            ages: LatencyHistogram::default(),
        });
        let looker = ChangeReader::new(Arc::clone(&hub), reader, watch, head);
        let thread = std::thread::Builder::new()
            .name("agenthub-looker".into())
            .spawn({
                let alarm = Alarm(Arc::clone(&hub));
                move || {
                    looker.run();
                    drop(alarm);
                }
            })
            .map_err(|e| Error::new(Code::Internal, format!("cannot start the looker thread: {e}")))?;
        Ok((hub, ChangeReaderHandle { thread, poke }))
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The file.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What a client's task waits for.
    pub fn signal(&self) -> watch::Receiver<Signal> {
        self.signal.subscribe()
    }

    /// One more, or one fewer, wants to hear of changes at once. Returns how many there are.
    pub fn listener_came(&self) -> usize {
        let before = self.listeners.fetch_add(1, Ordering::Relaxed);
        if before == 0 {
            // The poll, if there is one, runs for somebody from now on.
            self.poke.wrote();
        }
        before + 1
    }

    /// See [`Hub::listener_came`].
    pub fn listener_left(&self) {
        self.listeners.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many want to hear of changes at once.
    pub fn listeners(&self) -> usize {
        self.listeners.load(Ordering::Relaxed)
    }

    /// How commits are noticed.
    pub fn using(&self) -> NotifyMethod {
        self.stats.using()
    }

    /// Wakes by source: name, those in vain, those that brought something.
    pub fn wakes(&self) -> Vec<(&'static str, u64, u64)> {
        self.stats.wakes().collect()
    }

    /// How old new rows were when clients took them from memory.
    pub fn ages(&self) -> LatencySnapshot {
        self.ages.now()
    }

    /// The file's epoch and the position after the newest change seen.
    pub fn head(&self) -> (Arc<str>, Position) {
        let log = self.log();
        (Arc::clone(&log.epoch), log.tail.head())
    }

    /// The same, with the position as clients see it.
    pub fn head_text(&self) -> (Arc<str>, String) {
        let (epoch, pos) = self.head();
        let text = encoded_change::pos_text(&epoch, pos, None);
        (epoch, text)
    }

    // ---- reading ------------------------------------------------------------------------

    /// Runs `f` on a reader, off the runtime's threads.
    ///
    /// # Errors
    /// What `f` returns, or a `Store…` code.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        f: impl FnOnce(&Reader) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        // The semaphore is never closed.
        let permit = Arc::clone(&self.reads).acquire_owned().await.ok();
        let hub = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            // The read's own: whoever asked may be gone before it is done.
            let _permit = permit;
            hub.store.read(f)
        });
        done.await
            .unwrap_or_else(|e| Err(Error::new(Code::Internal, "a read of the file broke off").because(e)))
    }

    /// What the log has after `pos`: from memory if it is there, otherwise from the file.
    ///
    /// # Errors
    /// [`Code::PositionLost`] if the file's log does not have `pos`; a `Store…` code.
    pub async fn changes_after(self: &Arc<Self>, pos: Position) -> Result<Vec<Arc<EncodedChange>>> {
        if let Some(entries) = self.changes_in_memory(pos) {
            return Ok(entries);
        }
        let epoch = self.head().0;
        let page = self
            .read(move |reader| reader.log_after(pos, FEED_ROWS, FEED_BYTES))
            .await?;
        Ok(page
            .changes
            .into_iter()
            .map(|change| Arc::new(EncodedChange::new(change, &epoch)))
            .collect())
    }

    /// What the live tail has after `pos`; `None` if it does not reach back that far.
    pub fn changes_in_memory(&self, pos: Position) -> Option<Vec<Arc<EncodedChange>>> {
        match self.log().tail.after(pos, FEED_ROWS, FEED_BYTES) {
            RecentLookup::Here(entries) => {
                let now = now_ms();
                let times = entries.iter().filter_map(|entry| entry.written_at());
                times.for_each(|created_at| self.ages.note(created_at, now));
                Some(entries)
            }
            RecentLookup::Behind => None,
        }
    }

    /// Messages of a thread after `after`, if the live tail has all of them, and if the log
    /// is still that of this `generation`: numbers of another one mean nothing.
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
            .then(|| log.tail.thread_page(thread_id, after, rows, bytes))
            .flatten()
    }

    /// Counts the files, as [`Signal::generation`] does, but is never behind the log.
    pub fn generation(&self) -> u64 {
        self.log().generation
    }

    /// What a subscription starts from; and the file remembers that there is one.
    ///
    /// # Errors
    /// [`Code::PositionLost`] if the file is being replaced; a `Store…` code.
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
                    // What was acknowledged a moment ago counts, and need not be in the file for that.
                    Start::LastAck => {
                        let pending = hub.acks.of(&name, &thread);
                        Start::After(reader.last_ack(&name, &thread)?.max(pending))
                    }
                    start => start,
                };
                reader.open_thread(&name, &thread, start, anchor)
            })
            .await?;
        // For whoever looks at the table; nothing waits for it.
        let from_seq = opening.after;
        self.store.write_then(
            move |writer| writer.subscribe(&instance, &thread_id, from_seq, now_ms()),
            drop,
        );
        Ok(opening)
    }

    // ---- writing ------------------------------------------------------------------------

    /// Runs `f` on the writer thread and waits until what it wrote is committed.
    ///
    /// # Errors
    /// What `f` returns, or why the transaction could not be committed.
    pub async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        f: impl FnOnce(&Writer) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (tx, rx) = oneshot::channel();
        let hub = Arc::clone(self);
        self.store.write_then(f, move |outcome| {
            match &outcome {
                Ok(_) => hub.writing_works(),
                // (That it was replaced is the looker's to find out.)
                Err(error) if error.code().is_store() && error.code() != Code::StoreReplaced => {
                    hub.writing_fails(error);
                }
                Err(_) => {}
            }
            // Whoever asked may have gone.
            drop(tx.send(outcome));
        });
        let outcome = rx.await.unwrap_or_else(|_| {
            let error = Error::new(Code::Internal, "the writer thread is gone; restart the hub");
            self.writing_fails(&error);
            Err(error)
        });
        if outcome.is_ok() {
            self.poke.wrote();
        }
        outcome
    }

    // ---- the looker's side --------------------------------------------------------------

    /// Puts new changes where everybody can see them, and says so.
    fn publish(&self, changes: Vec<Change>) {
        let epoch = Arc::clone(&self.log().epoch);
        let entries: Vec<_> = changes
            .into_iter()
            .map(|change| Arc::new(EncodedChange::new(change, &epoch)))
            .collect();
        self.health.inspect(&entries);
        let head = {
            let mut log = self.log.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            for entry in entries {
                log.tail.push(entry);
            }
            log.tail.head().seq
        };
        self.signal.send_modify(|signal| signal.head = head);
    }

    /// The file is another one: nobody's position counts any more.
    fn replaced(&self, head: Position, epoch: &str) {
        {
            let mut log = self.log.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            *log = Log {
                tail: RecentChanges::new(head, self.limits.max_lag_messages),
                epoch: epoch.into(),
                generation: log.generation + 1,
            };
            // As long as nobody can see the new file: what is noted from now on is for that.
            self.acks.forget();
        }
        self.signal.send_modify(|signal| {
            signal.head = head.seq;
            signal.generation += 1;
        });
    }

    fn log(&self) -> std::sync::RwLockReadGuard<'_, Log> {
        // Nothing panics while the lock is held.
        self.log.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn position_lost() -> Error {
    Error::new(
        Code::PositionLost,
        "your position is not in the file: it was replaced, restored, or pruned beyond it; start anew with since=0 or without",
    )
}
