//! The maintenance thread: checkpoints the WAL, and reports processes that block others.
//!
//! A hub checkpoints for all processes, so that agents rarely have to in their own commits; and the
//! SQLite of many agents has a checkpoint bug, which the hub's does not have. The writer thread does
//! not checkpoint, because a checkpoint waits for the disk.
//!
//! 1. Every [`INTERVAL`] (more often under load, less often when idle): if the WAL has grown, run a
//!    PASSIVE checkpoint, for which no process waits.
//! 2. Under constant writes a PASSIVE checkpoint never resets the WAL. From [`RESTART_FRAMES`] on a
//!    RESTART checkpoint blocks writers and waits for readers for a moment. A WAL that is large on
//!    disk gets a TRUNCATE checkpoint instead.
//! 3. A process that holds a lock for [`BLOCKER_AGE`] is logged once as a blocker, and once more when
//!    it releases the lock.
//! 4. When nothing is written, the full-text index, if there is one, is updated.
//!
//! Each round also releases the claims whose lease has expired, notes the size of the file if a day has passed, and
//! runs one step of a prune, if the hub prunes (`serve --keep`). Every [`SESSIONS_INTERVAL`] it runs the check of
//! sessions that the hub has given.
//!
//! A job of a round that panics is reported, and the thread goes on: the failure stays until the same job
//! has succeeded. Damage that a job finds is passed to the store's observer.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::{Code, Error, Result};
use crate::protocol::now_ms;
use crate::store::connection::Writer;
use crate::store::damage::DamageObserver;
use crate::store::disk_space::require_disk_space;
use crate::store::lock_holders::{Holder, LockKind, holders};
use crate::store::maintenance::file_status::{Checkpoint, CheckpointMode};
use crate::store::maintenance::prune::{AGENTS_AGE, PruneRun, Retention, Unread};
use crate::text::panic_text;

/// Time between two rounds.
const INTERVAL: Duration = Duration::from_millis(250);
/// Time between two rounds while the WAL grows quickly.
const BUSY_INTERVAL: Duration = Duration::from_millis(50);
/// Time between two rounds while nothing is written.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);
/// Time between two checks of locks and disk space.
const LOCKS_INTERVAL: Duration = Duration::from_secs(1);
/// A checkpoint is due after this many changes, or this many bytes of WAL: about 512 pages, half of
/// SQLite's default for automatic checkpoints, so that agents rarely run one in their own commits.
const DUE_CHANGES: i64 = 128;
const DUE_BYTES: u64 = 512 * 4096;
/// Frames (of one page each) in the WAL from which a RESTART checkpoint resets it.
const RESTART_FRAMES: i64 = 2048;
/// Bytes of the `-wal` file from which a TRUNCATE checkpoint replaces RESTART.
const TRUNCATE_BYTES: u64 = 24 << 20;
/// Time after which a lock that is not listed any more counts as released. `/proc/locks` sometimes
/// leaves out a lock while the list changes.
const RELEASE_DELAY: Duration = Duration::from_secs(3);
/// Time between two prunes of a hub that prunes (`serve --keep`).
const PRUNE_INTERVAL: Duration = Duration::from_secs(3600);
/// Time between two notes of the size, at least: they are a day apart.
const NOTE_INTERVAL: Duration = Duration::from_secs(3600);
/// Time between two checks of the agents' sessions.
const SESSIONS_INTERVAL: Duration = Duration::from_secs(2);
/// Time after which the holder of a lock is a blocker.
const BLOCKER_AGE: Duration = Duration::from_secs(10);

/// A process that blocks others for longer than `BLOCKER_AGE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Blocker {
    /// The process and its lock.
    #[serde(flatten)]
    pub holder: Holder,
    /// When the hub first saw the lock, Unix milliseconds.
    pub since: i64,
}

/// The reason why maintenance fails. Usually agents cannot write either.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MaintenanceFailure {
    /// The name of its [`Code`].
    pub code: &'static str,
    /// The failure and what to do about it.
    pub message: String,
    /// When it began, Unix milliseconds.
    pub since: i64,
}

/// The status of the maintenance thread.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MaintenanceStatus {
    /// Number of checkpoints by mode and result: complete, partial (a reader still needs some
    /// frames), busy (another connection did not release its lock in time), failed.
    #[serde(skip)]
    pub checkpoints: BTreeMap<(&'static str, &'static str), u64>,
    /// Frames in the WAL at the last checkpoint.
    pub wal_frames: i64,
    /// Frames of these that could not be checkpointed because of a reader.
    pub wal_pinned_frames: i64,
    /// The longest time that a checkpoint blocked writers, in milliseconds.
    pub longest_hold_ms: u64,
    /// Number of jobs that panicked since the start: bugs of this program.
    pub panics: u64,
    /// The processes that block others.
    pub blockers: Vec<Blocker>,
    /// The failure, while checkpoints fail or the disk is full.
    #[serde(rename = "trouble")]
    pub failure: Option<MaintenanceFailure>,
}

/// Records the ends of sessions that no hook reports. Returns the number of open sessions that it has checked.
pub type SessionCheck = fn(&Writer) -> Result<usize>;

enum Command {
    /// Maintain the database of this connection.
    Reopen(Box<Writer>),
    /// Close the connection without a checkpoint, and confirm.
    Abandon(SyncSender<()>),
    /// From now on, delete rows older than this number of milliseconds.
    Keep(i64),
    /// From now on, run this check of the agents' sessions.
    CheckSessions(SessionCheck),
}

/// The handle of the thread. Dropping it ends the thread.
#[derive(Debug)]
pub(in crate::store) struct MaintenanceThread {
    commands: Option<Sender<Command>>,
    thread: Option<thread::JoinHandle<()>>,
    status: Arc<Mutex<MaintenanceStatus>>,
}

impl MaintenanceThread {
    pub(in crate::store) fn start(writer: Writer, damage: Arc<DamageObserver>) -> Result<Self> {
        let (sender, receiver) = channel();
        let status = Arc::new(Mutex::default());
        let worker = Worker::new(writer, Arc::clone(&status));
        let thread = thread::Builder::new()
            .name("agenthub-maint".into())
            .spawn(move || run(worker, &receiver, &damage))
            .map_err(|e| Error::new(Code::Internal, format!("cannot start the maintenance thread: {e}")))?;
        Ok(Self {
            commands: Some(sender),
            thread: Some(thread),
            status,
        })
    }

    /// Replaces the thread's connection.
    pub(in crate::store) fn reopen(&self, writer: Writer) {
        self.send(Command::Reopen(Box::new(writer)));
    }

    /// Closes the connection without a checkpoint. Nothing is maintained until
    /// [`MaintenanceThread::reopen`].
    pub(in crate::store) fn abandon(&self) {
        let (tx, rx) = sync_channel(1);
        self.send(Command::Abandon(tx));
        // An error means that the thread has ended, and its connection is closed.
        let _ = rx.recv();
    }

    /// Makes the thread delete rows older than `age` milliseconds, now and then every hour.
    pub(in crate::store) fn keep(&self, age: i64) {
        self.send(Command::Keep(age));
    }

    /// Makes the thread run `check` every [`SESSIONS_INTERVAL`] from now on.
    pub(in crate::store) fn check_sessions(&self, check: SessionCheck) {
        self.send(Command::CheckSessions(check));
    }

    fn send(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // The thread lives as long as this handle.
            drop(commands.send(command));
        }
    }

    pub(in crate::store) fn status(&self) -> MaintenanceStatus {
        lock(&self.status).clone()
    }
}

impl Drop for MaintenanceThread {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed when it happened.
            drop(thread.join());
        }
    }
}

/// A lock of another process.
struct ObservedLock {
    /// When it was first seen, or last made progress.
    since: Instant,
    last_seen: Instant,
    /// `changes.seq` at `since`.
    head: i64,
    /// Whether it was logged as a blocker.
    reported: bool,
}

/// A job of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Job {
    Locks,
    Claims,
    Sessions,
    Log,
    Size,
    Prune,
}

impl Job {
    /// Returns what the job does, for a message.
    fn name(self) -> &'static str {
        match self {
            Self::Locks => "checking locks and disk space",
            Self::Claims => "releasing expired claims",
            Self::Sessions => "checking which sessions have ended",
            Self::Log => "the checkpoint, or the update of the search index,",
            Self::Size => "noting the size of the database",
            Self::Prune => "deleting old rows",
        }
    }
}

struct Worker {
    writer: Writer,
    status: Arc<Mutex<MaintenanceStatus>>,
    /// `changes.seq` at the last complete checkpoint.
    checkpointed_head: i64,
    /// `changes.seq` in the last round.
    head: i64,
    /// Bytes of the `-wal` at the last checkpoint.
    wal_bytes: u64,
    /// Frames in the WAL at the last checkpoint.
    frames: i64,
    /// When a checkpoint was last complete.
    complete_at: Instant,
    locks: BTreeMap<Holder, ObservedLock>,
    next_lock_check: Instant,
    search_behind: bool,
    next_note: Instant,
    /// Maximum age of rows in milliseconds, if the hub prunes.
    keep: Option<i64>,
    next_prune: Instant,
    prune: Option<PruneRun>,
    session_check: Option<SessionCheck>,
    next_session_check: Instant,
    /// `changes.seq` before a check that found no open session.
    no_session_head: Option<i64>,
    /// The jobs that panicked and have not succeeded since.
    panicked: BTreeSet<Job>,
}

/// Runs the thread. There is no worker after [`Command::Abandon`].
fn run(worker: Worker, commands: &Receiver<Command>, damage: &DamageObserver) {
    let status = Arc::clone(&worker.status);
    let (mut worker, mut keep, mut session_check) = (Some(worker), None, None);
    loop {
        let pause = worker.as_ref().map_or(IDLE_INTERVAL, Worker::pause);
        match commands.recv_timeout(pause) {
            Ok(Command::Reopen(writer)) => {
                worker = Some(Worker {
                    keep,
                    session_check,
                    ..Worker::new(*writer, Arc::clone(&status))
                });
            }
            Ok(Command::Keep(age)) => {
                keep = Some(age);
                if let Some(worker) = &mut worker {
                    worker.keep = keep;
                }
            }
            Ok(Command::CheckSessions(check)) => {
                session_check = Some(check);
                if let Some(worker) = &mut worker {
                    worker.session_check = session_check;
                }
            }
            Ok(Command::Abandon(done)) => {
                if let Some(worker) = worker.take() {
                    worker.writer.abandon();
                }
                // The caller may have stopped waiting.
                let _ = done.send(());
            }
            // The threads that read and write report errors of the database, except damage. The next
            // round tries again.
            Err(RecvTimeoutError::Timeout) => {
                if let Some(worker) = &mut worker {
                    let outcome = worker.run_round();
                    if outcome.as_ref().is_err_and(|e| e.code() == Code::StoreCorrupt) {
                        worker.writer.drop_cached_pages();
                    }
                    damage.report(&outcome);
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                drop(worker.map(|mut worker| worker.checkpoint(CheckpointMode::Passive)));
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
            checkpointed_head: 0,
            head: 0,
            wal_bytes: 0,
            frames: 0,
            complete_at: Instant::now(),
            locks: BTreeMap::new(),
            next_lock_check: Instant::now() + LOCKS_INTERVAL,
            search_behind: true,
            next_note: Instant::now(),
            keep: None,
            next_prune: Instant::now(),
            prune: None,
            session_check: None,
            next_session_check: Instant::now(),
            no_session_head: None,
            panicked: BTreeSet::new(),
        }
    }

    fn pause(&self) -> Duration {
        if self.frames > RESTART_FRAMES / 2 || self.prune.is_some() {
            BUSY_INTERVAL
        } else if self.head == self.checkpointed_head && !self.search_behind {
            IDLE_INTERVAL
        } else {
            INTERVAL
        }
    }

    /// Runs the jobs that are due. An error ends the round, because the next job would usually fail in the
    /// same way; a panic does not.
    fn run_round(&mut self) -> Result<()> {
        if Instant::now() >= self.next_lock_check {
            self.next_lock_check = Instant::now() + LOCKS_INTERVAL;
            self.run_job(Job::Locks, |worker| {
                worker.check_locks();
                let space = require_disk_space(worker.writer.path());
                if space.is_err() || worker.has_failure(Code::StoreFull) {
                    worker.set_failure(space);
                }
                Ok(())
            })?;
        }
        self.run_job(Job::Claims, |worker| {
            worker.writer.release_expired_claims(now_ms()).map(drop)
        })?;
        if let Some(check) = self.session_check
            && Instant::now() >= self.next_session_check
        {
            self.next_session_check = Instant::now() + SESSIONS_INTERVAL;
            // A session begins with an event, which is in the change log.
            if self.no_session_head != Some(self.head) {
                self.run_job(Job::Sessions, |worker| {
                    let open = check(&worker.writer)?;
                    worker.no_session_head = (open == 0).then_some(worker.head);
                    Ok(())
                })?;
            }
        }
        self.run_job(Job::Log, Self::maintain_log)?;
        if Instant::now() >= self.next_note {
            self.next_note = Instant::now() + NOTE_INTERVAL;
            self.run_job(Job::Size, |worker| worker.writer.note_size(now_ms()))?;
        }
        self.run_job(Job::Prune, Self::prune_step)
    }

    /// Runs one step of a prune, which begins if it is due.
    fn prune_step(&mut self) -> Result<()> {
        let Some(keep) = self.keep else { return Ok(()) };
        let mut run = match self.prune.take() {
            Some(run) => run,
            None if Instant::now() < self.next_prune => return Ok(()),
            None => {
                self.next_prune = Instant::now() + PRUNE_INTERVAL;
                let now = now_ms();
                let retention = Retention {
                    before: now.saturating_sub(keep),
                    agents_before: now.saturating_sub(AGENTS_AGE),
                    now,
                    unread: Unread::Keep,
                };
                PruneRun::start(&self.writer, retention)?
            }
        };
        let outcome = run.step(&self.writer);
        if let Ok(None) = outcome {
            if run.pruned.rows() > 0 {
                tracing::info!("deleted {} old rows (--keep)", run.pruned.rows());
            }
        } else {
            // After an error, the next round continues.
            self.prune = Some(run);
        }
        outcome.map(drop)
    }

    /// Runs one job. After a panic, reports it and returns no error.
    fn run_job(&mut self, job: Job, f: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        // Unwind safe: the fields are independent numbers and times, of which a wrong one only moves the
        // next job. Unwinding ends the connection's statements, and `end_transaction` its transaction.
        match catch_unwind(AssertUnwindSafe(|| f(self))) {
            Ok(Ok(())) => {
                if self.panicked.remove(&job) && self.panicked.is_empty() && self.has_failure(Code::Internal) {
                    self.set_failure(Ok(()));
                }
                Ok(())
            }
            Ok(Err(error)) => Err(error),
            Err(panic) => {
                self.end_transaction();
                self.panicked.insert(job);
                lock(&self.status).panics += 1;
                self.set_failure(Err(Error::new(
                    Code::Internal,
                    format!(
                        "{} panicked: {}; it is tried again; report this bug",
                        job.name(),
                        panic_text::of(&*panic)
                    ),
                )));
                Ok(())
            }
        }
    }

    /// Rolls back a transaction that a panic has left open.
    fn end_transaction(&self) {
        if !self.writer.conn.is_autocommit() {
            // If this fails, the next job's statement reports the reason.
            drop(self.writer.conn.execute_batch("ROLLBACK"));
        }
    }

    fn maintain_log(&mut self) -> Result<()> {
        let head = self.writer.head()?.seq;
        let idle = head == self.head;
        self.search_behind |= !idle;
        self.head = head;
        let bytes = self.writer.file_status().wal_size;
        let grown = head - self.checkpointed_head >= DUE_CHANGES || bytes >= self.wal_bytes + DUE_BYTES;
        if head != self.checkpointed_head && (grown || idle) {
            self.shorten_wal()?;
        } else if idle && self.search_behind {
            self.search_behind = self.writer.refresh_search()?;
        }
        Ok(())
    }

    /// Runs a PASSIVE checkpoint, and resets the WAL if it is long.
    fn shorten_wal(&mut self) -> Result<()> {
        let done = self.checkpoint(CheckpointMode::Passive)?;
        // While a reader needs some frames, a reset would fail after blocking writers.
        if done.frames > RESTART_FRAMES && done.is_complete() {
            self.checkpoint(if self.wal_bytes > TRUNCATE_BYTES {
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
                "cannot checkpoint: the database or its write-ahead log was replaced",
            ));
        }
        let started = Instant::now();
        let outcome = self.writer.checkpoint(mode);
        let result = match &outcome {
            Ok(done) if done.busy || done.frames < 0 => "busy",
            Ok(done) if done.is_complete() => "complete",
            Ok(_) => "partial",
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
            Err(error) => return self.checkpoint_failed(error),
            Ok(done) if done.frames < 0 => return Ok(done),
            Ok(done) => done,
        };
        // Another job ends these.
        if !self.has_failure(Code::StoreFull) && self.panicked.is_empty() {
            self.set_failure(Ok(()));
        }
        let mut status = lock(&self.status);
        status.wal_frames = done.frames;
        status.wal_pinned_frames = done.frames - done.checkpointed;
        drop(status);
        self.frames = if result == "complete" && mode != CheckpointMode::Passive {
            0
        } else {
            done.frames
        };
        self.wal_bytes = self.writer.file_status().wal_size;
        if done.is_complete() {
            self.checkpointed_head = self.head;
            self.complete_at = Instant::now();
        }
        Ok(done)
    }

    fn checkpoint_failed(&self, error: Error) -> Result<Checkpoint> {
        // The holder of a lock is reported as a blocker.
        if error.code().is_store() && error.code() != Code::StoreLocked {
            self.set_failure(Err(error.again()));
        }
        Err(error)
    }

    /// Returns whether the current failure has this code. A full disk ends when the disk has space again,
    /// not when a checkpoint succeeds that needed none.
    fn has_failure(&self, code: Code) -> bool {
        let status = lock(&self.status);
        status
            .failure
            .as_ref()
            .is_some_and(|failure| failure.code == code.name())
    }

    /// Sets or clears the current failure. Logs its beginning and its end.
    fn set_failure(&self, outcome: Result<()>) {
        let mut status = lock(&self.status);
        match (outcome, &status.failure) {
            (Err(error), known) if known.as_ref().is_none_or(|t| t.code != error.code().name()) => {
                let code = error.code().name();
                tracing::error!("database maintenance fails: {code}: {error}");
                status.failure = Some(MaintenanceFailure {
                    code,
                    message: error.message().to_owned(),
                    since: now_ms(),
                });
            }
            (Ok(()), Some(_)) => {
                tracing::info!("database maintenance works again");
                status.failure = None;
            }
            _ => {}
        }
    }

    /// Updates the observed locks. Logs when a process becomes a blocker, and when it releases the
    /// lock.
    fn check_locks(&mut self) {
        let (now, head) = (Instant::now(), self.head);
        let held = holders(self.writer.path());
        self.locks.retain(|holder, lock| {
            let kept = held.contains(holder) || now.duration_since(lock.last_seen) < RELEASE_DELAY;
            if !kept && lock.reported {
                tracing::info!("process {} ({}) has released its lock", holder.pid, holder.name);
            }
            kept
        });
        for holder in held {
            let lock = self.locks.entry(holder.clone()).or_insert(ObservedLock {
                since: now,
                last_seen: now,
                head,
                reported: false,
            });
            lock.last_seen = now;
            // Two observations may be two locks: if others could write, or a checkpoint was
            // complete in between, the process does not block them.
            let released = match holder.hold {
                LockKind::Read => self.complete_at > lock.since,
                LockKind::Write | LockKind::Exclusive => head != lock.head,
            };
            if released && !lock.reported {
                (lock.since, lock.head) = (now, head);
            }
            if !lock.reported && now.duration_since(lock.since) >= BLOCKER_AGE {
                lock.reported = true;
                tracing::warn!("{}", holder.describe(self.writer.path()));
            }
        }
        let since = |lock: &ObservedLock| now_ms() - i64::try_from(lock.since.elapsed().as_millis()).unwrap_or(0);
        let reported = self.locks.iter().filter(|(_, lock)| lock.reported);
        lock(&self.status).blockers = reported
            .map(|(holder, lock)| Blocker {
                holder: holder.clone(),
                since: since(lock),
            })
            .collect();
    }
}

impl Holder {
    /// Describes what the process blocks, and what to do about it.
    pub fn describe(&self, db: &Path) -> String {
        let (pid, name) = (self.pid, &self.name);
        match self.hold {
            LockKind::Exclusive => format!(
                "process {pid} ({name}) has locked {} exclusively (locking_mode=EXCLUSIVE): no other process can read or \
                 write; end the process, or let it open the database after the hub",
                db.display()
            ),
            LockKind::Write => format!(
                "process {pid} ({name}) keeps a transaction open and holds the write lock: no other process can write; \
                 it must commit, or be ended"
            ),
            LockKind::Read => format!(
                "process {pid} ({name}) keeps a read open: the write-ahead log cannot be reset and grows; it must read \
                 its SELECT to the end, end its transaction, or be ended"
            ),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while the lock is held, so a poisoned status is still consistent.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::NewMessage;
    use crate::store::test_support::temp_database;

    #[test]
    fn a_panicking_job_is_reported_until_it_succeeds_and_the_other_jobs_run() {
        let (_dir, writer) = temp_database();
        let status = Arc::<Mutex<MaintenanceStatus>>::default();
        let mut worker = Worker::new(writer, Arc::clone(&status));
        let failure = || lock(&status).failure.as_ref().map(|failure| failure.code);
        worker
            .run_job(Job::Claims, |worker| {
                worker.writer.conn.execute_batch("BEGIN IMMEDIATE")?;
                panic!("a test's job")
            })
            .unwrap();
        assert_eq!(failure(), Some("INTERNAL"));
        let message = lock(&status).failure.as_ref().unwrap().message.clone();
        assert!(message.contains("a test's job"), "{message}");
        assert!(worker.writer.conn.is_autocommit(), "the transaction is rolled back");
        worker.writer.post_message(&NewMessage::new("t", "a", "x")).unwrap();
        // A checkpoint succeeds, but not the job that panicked.
        worker
            .run_job(Job::Log, |worker| worker.checkpoint(CheckpointMode::Passive).map(drop))
            .unwrap();
        assert_eq!(failure(), Some("INTERNAL"));
        worker.run_round().unwrap();
        assert_eq!((failure(), lock(&status).panics), (None, 1));
    }
}
