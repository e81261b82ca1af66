//! The keeper: a thread that keeps the write-ahead log short, and knows who is in the way.
//!
//! For: checkpointing for everybody. A hub is always there, so it can do it before any
//! agent has to in the middle of its own commit; and its SQLite has no checkpoint bug,
//! which that of many agents has.
//! Not for: writing rows (`writer`): a checkpoint waits for the disk, a row should not.
//!
//! 1. Every [`INTERVAL`], more often while much is written and less while nothing is: if the
//!    log has grown, move what can be moved into the database (PASSIVE: nobody waits).
//! 2. While rows keep coming that alone never lets the log start anew. From
//!    [`RESTART_FRAMES`] on writers and readers are held up for a moment (RESTART); a
//!    log that has become large on the disk is cut down as well (TRUNCATE).
//! 3. Whoever stands in the way for [`LONG`] is named, once; and once more when it is over.
//! 4. In quiet moments the index for full text, if there is one, is brought up to date.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::{Code, Error, Result};
use crate::protocol::now_ms;
use crate::store::connection::Writer;
use crate::store::lock_holders::{Holder, LockKind, holders};
use crate::store::maintenance::file_status::{Checkpoint, CheckpointMode, demand_room};

/// Time between looks at the log while there is something to do.
const INTERVAL: Duration = Duration::from_millis(250);
/// The same while much is written.
const BUSY_INTERVAL: Duration = Duration::from_millis(50);
/// The same while nothing is.
const QUIET_INTERVAL: Duration = Duration::from_secs(1);
/// Time between looks at who holds locks.
const LOCKS_INTERVAL: Duration = Duration::from_secs(1);
/// A checkpoint is due from this many changes or bytes on: about 512 pages, half of
/// SQLite's default for everybody else, so that agents rarely meet one in their own commits.
const DUE_CHANGES: i64 = 128;
const DUE_BYTES: u64 = 512 * 4096;
/// Frames (of a page each) from which the log is made to start anew.
const RESTART_FRAMES: i64 = 2048;
/// Bytes of the log on disk from which it is cut down when it starts anew.
const TRUNCATE_BYTES: u64 = 24 << 20;
/// How long somebody has to be out of the list to be out of the way: the system's list of
/// locks, read while it changes, leaves one out now and then.
const GONE: Duration = Duration::from_secs(3);
/// How long somebody has to be in the way to be named.
const LONG: Duration = Duration::from_secs(10);

/// Somebody who has been in the way for long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Blocker {
    /// Who, and what for.
    #[serde(flatten)]
    pub holder: Holder,
    /// Since when, Unix milliseconds.
    pub since: i64,
}

/// What keeps the keeper from its work: as a rule also agents from theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MaintenanceFailure {
    /// Its name, from [`crate::error`]'s table.
    pub code: &'static str,
    /// What it is and what to do about it.
    pub message: String,
    /// Since when, Unix milliseconds.
    pub since: i64,
}

/// What the keeper has done and seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MaintenanceStatus {
    /// Checkpoints by mode and by how they ended: complete, partial (a reader needs the
    /// rest), busy (somebody did not let go in time), failed.
    #[serde(skip)]
    pub checkpoints: BTreeMap<(&'static str, &'static str), u64>,
    /// Frames in the log at the last checkpoint.
    pub wal_frames: i64,
    /// Those of them that a reader keeps from moving into the database.
    pub wal_pinned_frames: i64,
    /// The longest that a checkpoint kept others from writing, in milliseconds.
    pub longest_hold_ms: u64,
    /// Who is in the way.
    pub blockers: Vec<Blocker>,
    /// What is wrong, if the log cannot be moved into the database or the disk is full.
    pub trouble: Option<MaintenanceFailure>,
}

/// What the thread is told.
enum Order {
    /// Keep this file from now on.
    Keep(Writer),
    /// Close the connection, leave the log alone, and say so.
    Abandon(SyncSender<()>),
}

/// The handle to the thread. The thread ends when this is dropped.
#[derive(Debug)]
pub(in crate::store) struct MaintenanceThread {
    orders: Option<Sender<Order>>,
    thread: Option<thread::JoinHandle<()>>,
    status: Arc<Mutex<MaintenanceStatus>>,
}

impl MaintenanceThread {
    pub(in crate::store) fn start(writer: Writer) -> Result<Self> {
        let (orders, inbox) = channel();
        let status = Arc::new(Mutex::default());
        let keeper = Worker::new(writer, Arc::clone(&status));
        let thread = thread::Builder::new()
            .name("agenthub-keeper".into())
            .spawn(move || run(keeper, &inbox))
            .map_err(|e| Error::new(Code::Internal, format!("cannot start the keeper thread: {e}")))?;
        Ok(Self {
            orders: Some(orders),
            thread: Some(thread),
            status,
        })
    }

    /// Keeps another file from now on.
    pub(in crate::store) fn reopen(&self, writer: Writer) {
        self.order(Order::Keep(writer));
    }

    /// Closes its connection, leaves the log alone, and keeps nothing.
    pub(in crate::store) fn abandon(&self) {
        let (tx, rx) = sync_channel(1);
        self.order(Order::Abandon(tx));
        // Without a thread there is no connection either.
        let _ = rx.recv();
    }

    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // The thread lives as long as this handle.
            drop(orders.send(order));
        }
    }

    pub(in crate::store) fn status(&self) -> MaintenanceStatus {
        lock(&self.status).clone()
    }
}

impl Drop for MaintenanceThread {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed when it happened.
            drop(thread.join());
        }
    }
}

/// A lock that was seen, and since when.
struct Seen {
    since: Instant,
    last: Instant,
    /// `changes.seq` at the beginning.
    head: i64,
    named: bool,
}

struct Worker {
    writer: Writer,
    /// The log that the connection reads and writes.
    status: Arc<Mutex<MaintenanceStatus>>,
    /// `changes.seq` when everything was last moved, and at the last look.
    moved: i64,
    head: i64,
    /// Bytes of the log at the last checkpoint.
    bytes: u64,
    /// Frames in the log then.
    frames: i64,
    /// When everything in the log was last in the database.
    complete: Instant,
    seen: BTreeMap<Holder, Seen>,
    next_locks: Instant,
    search_behind: bool,
}

/// The thread: keeps one file after the other, or none.
fn run(keeper: Worker, orders: &Receiver<Order>) {
    let status = Arc::clone(&keeper.status);
    let mut keeper = Some(keeper);
    loop {
        let pause = keeper.as_ref().map_or(QUIET_INTERVAL, Worker::pause);
        match orders.recv_timeout(pause) {
            Ok(Order::Keep(writer)) => keeper = Some(Worker::new(writer, Arc::clone(&status))),
            Ok(Order::Abandon(done)) => {
                if let Some(keeper) = keeper.take() {
                    keeper.writer.abandon();
                }
                // Whoever asked may have given up waiting.
                let _ = done.send(());
            }
            // What is wrong with the file is named by whoever reads or writes it; the next
            // look tries again.
            Err(RecvTimeoutError::Timeout) => drop(keeper.as_mut().map(Worker::look)),
            Err(RecvTimeoutError::Disconnected) => {
                drop(keeper.map(|mut keeper| keeper.checkpoint(CheckpointMode::Passive)));
                return;
            }
        }
    }
}

impl Worker {
    fn new(writer: Writer, status: Arc<Mutex<MaintenanceStatus>>) -> Self {
        Self {
            writer,
            status,
            moved: 0,
            head: 0,
            bytes: 0,
            frames: 0,
            complete: Instant::now(),
            seen: BTreeMap::new(),
            next_locks: Instant::now() + LOCKS_INTERVAL,
            search_behind: true,
        }
    }

    fn pause(&self) -> Duration {
        if self.frames > RESTART_FRAMES / 2 {
            BUSY_INTERVAL
        } else if self.head == self.moved && !self.search_behind {
            QUIET_INTERVAL
        } else {
            INTERVAL
        }
    }

    fn look(&mut self) -> Result<()> {
        if Instant::now() >= self.next_locks {
            self.next_locks = Instant::now() + LOCKS_INTERVAL;
            self.look_at_locks();
            let room = demand_room(self.writer.path());
            if room.is_err() || self.is_full() {
                self.note(room);
            }
        }
        self.writer.release_expired_claims(now_ms())?;
        let head = self.writer.head()?.seq;
        let quiet = head == self.head;
        self.search_behind |= !quiet;
        self.head = head;
        let bytes = self.writer.file_status().wal_size;
        let grown = head - self.moved >= DUE_CHANGES || bytes >= self.bytes + DUE_BYTES;
        if head != self.moved && (grown || quiet) {
            self.keep_short()?;
        } else if quiet && self.search_behind {
            self.search_behind = self.writer.refresh_search()?;
        }
        Ok(())
    }

    /// Moves what it can; makes the log start anew if it is long.
    fn keep_short(&mut self) -> Result<()> {
        let done = self.checkpoint(CheckpointMode::Passive)?;
        // With a reader in the way writers would be held up for nothing.
        if done.frames > RESTART_FRAMES && done.moved == done.frames {
            self.checkpoint(if self.bytes > TRUNCATE_BYTES {
                CheckpointMode::Truncate
            } else {
                CheckpointMode::Restart
            })?;
        }
        Ok(())
    }

    fn checkpoint(&mut self, mode: CheckpointMode) -> Result<Checkpoint> {
        if !self.writer.is_at_its_path() {
            return Err(Error::new(
                Code::StoreReplaced,
                "the file or its write-ahead log is another one now; what is left of the old log belongs to nobody",
            ));
        }
        let started = Instant::now();
        let outcome = self.writer.checkpoint(mode);
        let result = match &outcome {
            Ok(done) if done.busy || done.frames < 0 => "busy",
            Ok(done) if done.moved < done.frames => "partial",
            Ok(_) => "complete",
            Err(_) => "failed",
        };
        let mut status = lock(&self.status);
        *status.checkpoints.entry((mode.name(), result)).or_default() += 1;
        if mode != CheckpointMode::Passive {
            let held = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            status.longest_hold_ms = status.longest_hold_ms.max(held);
        }
        drop(status);
        let done = match outcome {
            Err(error) => return self.fails(error),
            Ok(done) if done.frames < 0 => return Ok(done),
            Ok(done) => done,
        };
        if !self.is_full() {
            self.note(Ok(()));
        }
        let mut status = lock(&self.status);
        status.wal_frames = done.frames;
        status.wal_pinned_frames = done.frames - done.moved;
        drop(status);
        self.frames = if result == "complete" && mode != CheckpointMode::Passive {
            0
        } else {
            done.frames
        };
        self.bytes = self.writer.file_status().wal_size;
        if done.moved == done.frames {
            self.moved = self.head;
            self.complete = Instant::now();
        }
        Ok(done)
    }

    fn fails(&self, error: Error) -> Result<Checkpoint> {
        // Whoever holds the lock is named as such.
        if error.code().is_store() && error.code() != Code::StoreLocked {
            self.note(Err(error.again()));
        }
        Err(error)
    }

    /// Whether the trouble is a full disk: it is over when there is room, not when some
    /// checkpoint needed none.
    fn is_full(&self) -> bool {
        let status = lock(&self.status);
        status
            .trouble
            .as_ref()
            .is_some_and(|t| t.code == Code::StoreFull.name())
    }

    /// Tells trouble when it begins, and when it is over.
    fn note(&self, outcome: Result<()>) {
        let mut status = lock(&self.status);
        match (outcome, &status.trouble) {
            (Err(error), known) if known.as_ref().is_none_or(|t| t.code != error.code().name()) => {
                let code = error.code().name();
                tracing::error!("the file cannot be kept: {code}: {error}");
                status.trouble = Some(MaintenanceFailure {
                    code,
                    message: error.message().to_owned(),
                    since: now_ms(),
                });
            }
            (Ok(()), Some(_)) => {
                tracing::info!("the file can be kept again");
                status.trouble = None;
            }
            _ => {}
        }
    }

    /// Names those who have been in the way for long, and tells when they are not any more.
    fn look_at_locks(&mut self) {
        let (now, head) = (Instant::now(), self.head);
        let held = holders(self.writer.path());
        self.seen.retain(|holder, seen| {
            let there = held.contains(holder) || now.duration_since(seen.last) < GONE;
            if !there && seen.named {
                tracing::info!("process {} ({}) is out of the way again", holder.pid, holder.name);
            }
            there
        });
        for holder in held {
            let seen = self.seen.entry(holder.clone()).or_insert(Seen {
                since: now,
                last: now,
                head,
                named: false,
            });
            seen.last = now;
            // A lock seen twice may be two: who lets others write, or the log be moved,
            // in between is not in the way.
            let let_go = match holder.hold {
                LockKind::Read => self.complete > seen.since,
                LockKind::Write | LockKind::Exclusive => head != seen.head,
            };
            if let_go && !seen.named {
                (seen.since, seen.head) = (now, head);
            }
            if !seen.named && now.duration_since(seen.since) >= LONG {
                seen.named = true;
                tracing::warn!("{}", holder.complaint(self.writer.path()));
            }
        }
        let since = |seen: &Seen| now_ms() - i64::try_from(seen.since.elapsed().as_millis()).unwrap_or(0);
        let named = self.seen.iter().filter(|(_, seen)| seen.named);
        lock(&self.status).blockers = named
            .map(|(holder, seen)| Blocker {
                holder: holder.clone(),
                since: since(seen),
            })
            .collect();
    }
}

impl Holder {
    /// What it does to others, and what to do about it.
    pub fn complaint(&self, db: &Path) -> String {
        let (pid, name) = (self.pid, &self.name);
        match self.hold {
            LockKind::Exclusive => format!(
                "process {pid} ({name}) has {} for itself (locking_mode=EXCLUSIVE): nobody else can read or write; end it, \
                 or have it open the file after the hub",
                db.display()
            ),
            LockKind::Write => format!(
                "process {pid} ({name}) has a transaction open and holds the write lock: nobody else can write; \
                 it has to commit, or be ended"
            ),
            LockKind::Read => format!(
                "process {pid} ({name}) has a read open: the write-ahead log cannot start anew and grows; it has to read \
                 its SELECT to the end, end its transaction, or be ended"
            ),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while the lock is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
