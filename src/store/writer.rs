//! The writer thread: all of a hub's writes, one connection, one commit for many.
//!
//! For: taking the write lock once for everything that is waiting (group commit), and
//! telling each caller the outcome only when it is durable; and for checkpointing, since
//! a hub that is always there can do it before any agent has to.
//! Not for: what is written.
//!
//! 1. Wait for a job; take whatever else has come meanwhile, up to [`GROUP`].
//! 2. `BEGIN IMMEDIATE`; each job runs in a savepoint of its own, so that one that fails
//!    takes nothing of the others with it.
//! 3. `COMMIT`; then, and only then, every job's outcome is handed on.
//! 4. When the log has grown, or things have gone quiet: checkpoint. Claims that have run
//!    out are freed at the same looks.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::open::Writer;
use crate::error::{Code, Error, Result};
use crate::event::now_ms;

/// Jobs in one transaction at most: bounds how long others wait for the lock.
const GROUP: usize = 64;
/// Time between looks at the length of the log.
const KEEPER_INTERVAL: Duration = Duration::from_millis(250);
/// A checkpoint is due from this many changes or bytes on: about 512 pages, half of
/// SQLite's default for everybody else, so that agents rarely meet one in their own commits.
const CHECKPOINT_CHANGES: i64 = 128;
const CHECKPOINT_BYTES: u64 = 512 * 4096;
/// Frames from which those who read are waited for, briefly, so that the log can start anew.
const RESTART_FRAMES: i64 = 2048;

/// Runs within the transaction, or is told why there is none; returns what to do with the
/// commit's outcome.
type Job = Box<dyn FnOnce(std::result::Result<&Writer, &Error>) -> Answer + Send>;
type Answer = Box<dyn FnOnce(Option<&Error>) + Send>;

enum Order {
    Run(Job),
    Reopen(
        Box<dyn FnOnce() -> Result<Writer> + Send>,
        std::sync::mpsc::SyncSender<Result<()>>,
    ),
}

/// The handle to the thread. The thread ends, after its last job, when this is dropped.
#[derive(Debug)]
pub(super) struct WriterThread {
    orders: Option<Sender<Order>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl WriterThread {
    pub(super) fn start(writer: Writer) -> Result<Self> {
        let (orders, inbox) = channel();
        let thread = thread::Builder::new()
            .name("agenthub-writer".into())
            .spawn(move || run(writer, &inbox))
            .map_err(|e| Error::new(Code::Internal, format!("cannot start the writer thread: {e}")))?;
        Ok(Self {
            orders: Some(orders),
            thread: Some(thread),
        })
    }

    pub(super) fn submit<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Writer) -> Result<T> + Send + 'static,
        done: impl FnOnce(Result<T>) + Send + 'static,
    ) {
        self.order(Order::Run(Box::new(move |writer| {
            let outcome = writer.map_err(Error::again).and_then(|writer| in_savepoint(writer, f));
            Box::new(move |failed: Option<&Error>| done(failed.map_or(outcome, |e| Err(e.again()))))
        })));
    }

    pub(super) fn reopen(&self, open: impl FnOnce() -> Result<Writer> + Send + 'static) -> Result<()> {
        let (tx, rx) = sync_channel(1);
        self.order(Order::Reopen(Box::new(open), tx));
        rx.recv()
            .unwrap_or_else(|_| Err(Error::new(Code::Internal, "the writer thread is gone; restart the hub")))
    }

    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // The thread lives as long as this handle. Were it gone, the order's own
            // channel is dropped with it and whoever waits there is told.
            drop(orders.send(order));
        }
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed when it happened.
            drop(thread.join());
        }
    }
}

fn run(mut writer: Writer, inbox: &Receiver<Order>) {
    let mut keeper = Keeper::default();
    let mut next_look = Instant::now() + KEEPER_INTERVAL;
    loop {
        let mut jobs = Vec::new();
        let mut reopen = None;
        match inbox.recv_timeout(next_look.saturating_duration_since(Instant::now())) {
            Ok(Order::Run(job)) => {
                jobs.push(job);
                while jobs.len() < GROUP {
                    match inbox.try_recv() {
                        Ok(Order::Run(job)) => jobs.push(job),
                        Ok(Order::Reopen(open, done)) => {
                            reopen = Some((open, done));
                            break;
                        }
                        Err(_) => break,
                    }
                }
            }
            Ok(Order::Reopen(open, done)) => reopen = Some((open, done)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if !jobs.is_empty() {
            group(&writer, jobs);
        }
        if let Some((open, done)) = reopen {
            let outcome = open().map(|opened| writer = opened);
            // Whoever asked may have given up waiting.
            drop(done.send(outcome));
        }
        if Instant::now() >= next_look {
            next_look = Instant::now() + KEEPER_INTERVAL;
            // A checkpoint that fails now is tried again at the next look; what is wrong
            // with the file is named by whoever reads or writes it.
            drop(keeper.look(&writer));
            drop(writer.free_claims(now_ms()));
        }
    }
}

/// One transaction for all `jobs`, then their answers.
fn group(writer: &Writer, jobs: Vec<Job>) {
    let begun = rusqlite::Transaction::new_unchecked(&writer.conn, rusqlite::TransactionBehavior::Immediate);
    let mut failed = None;
    let mut answers: Vec<Answer> = Vec::with_capacity(jobs.len());
    match begun {
        Err(e) => {
            let error = Error::from(e);
            answers.extend(jobs.into_iter().map(|job| job(Err(&error))));
        }
        Ok(transaction) => {
            for job in jobs {
                answers.push(match &failed {
                    None => job(Ok(writer)),
                    Some(error) => job(Err(error)),
                });
                if failed.is_none() && writer.conn.is_autocommit() {
                    // A full disk ends a transaction by itself, and all that was in it.
                    failed = Some(Error::new(
                        Code::StoreFull,
                        "cannot write: the disk is full; free some room",
                    ));
                }
            }
            if failed.is_none() {
                failed = transaction.commit().err().map(Error::from);
            }
        }
    }
    for answer in answers {
        answer(failed.as_ref());
    }
}

fn in_savepoint<T>(writer: &Writer, f: impl FnOnce(&Writer) -> Result<T>) -> Result<T> {
    writer.conn.execute_batch("SAVEPOINT job")?;
    let outcome = f(writer);
    let end = if outcome.is_ok() {
        "RELEASE job"
    } else {
        "ROLLBACK TO job; RELEASE job"
    };
    if !writer.conn.is_autocommit() {
        writer.conn.execute_batch(end)?;
    }
    outcome
}

/// Decides when to checkpoint.
///
/// The length of the log cannot be asked for without checkpointing, so it is estimated
/// from the number of changes, and from the file where rows are large.
#[derive(Debug, Default)]
struct Keeper {
    /// `changes.seq` when everything was last moved.
    moved: i64,
    /// `changes.seq` at the last look.
    seen: i64,
    /// Bytes of the log at the last checkpoint.
    bytes: u64,
}

impl Keeper {
    fn look(&mut self, writer: &Writer) -> Result<()> {
        let head = writer.head()?.seq;
        let quiet = head == self.seen;
        self.seen = head;
        let bytes = writer.file_status().wal_size;
        let grown = head - self.moved >= CHECKPOINT_CHANGES || bytes >= self.bytes + CHECKPOINT_BYTES;
        if head == self.moved || !(grown || quiet) {
            return Ok(());
        }
        let mut done = writer.checkpoint()?;
        if done.frames > RESTART_FRAMES {
            done = writer.restart_wal()?;
        }
        self.bytes = bytes;
        if done.moved >= done.frames {
            self.moved = head;
        }
        Ok(())
    }
}
