//! The writer thread: all of a hub's writes, one connection, one commit for many.
//!
//! For: taking the write lock once for everything that is waiting (group commit), and
//! telling each caller the outcome only when it is durable.
//! Not for: what is written, or checkpoints (`keeper`).
//!
//! 1. Wait for a job; take whatever else has come meanwhile, up to [`GROUP`].
//! 2. `BEGIN IMMEDIATE`; each job runs in a savepoint of its own, so that one that fails
//!    takes nothing of the others with it.
//! 3. `COMMIT`; then, and only then, every job's outcome is handed on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread;
use std::time::Instant;

use super::connection::Writer;
use crate::error::{Code, Error, Result};

/// Jobs in one transaction at most: bounds how long others wait for the lock.
const GROUP: usize = 64;
/// Runs within the transaction, or is told why there is none; returns what to do with the
/// commit's outcome, and what went wrong with it.
type Job = Box<dyn FnOnce(std::result::Result<&Writer, &Error>) -> (Answer, Option<Error>) + Send>;
type Answer = Box<dyn FnOnce(Option<&Error>) + Send>;

enum Order {
    Run(Job),
    Reopen(Writer),
    Abandon(std::sync::mpsc::SyncSender<()>),
}

/// The handle to the thread. The thread ends, after its last job, when this is dropped.
#[derive(Debug)]
pub(super) struct WriterThread {
    orders: Option<Sender<Order>>,
    longest: Arc<AtomicU64>,
    thread: Option<thread::JoinHandle<()>>,
}

impl WriterThread {
    pub(super) fn start(writer: Writer) -> Result<Self> {
        let (orders, inbox) = channel();
        let longest = Arc::new(AtomicU64::new(0));
        let held = Arc::clone(&longest);
        let thread = thread::Builder::new()
            .name("agenthub-writer".into())
            .spawn(move || run(writer, &inbox, &held))
            .map_err(|e| Error::new(Code::Internal, format!("cannot start the writer thread: {e}")))?;
        Ok(Self {
            orders: Some(orders),
            longest,
            thread: Some(thread),
        })
    }

    /// The longest that one of its transactions kept others from writing, in milliseconds.
    pub(super) fn longest_hold_ms(&self) -> u64 {
        self.longest.load(Ordering::Relaxed)
    }

    pub(super) fn submit<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Writer) -> Result<T> + Send + 'static,
        done: impl FnOnce(Result<T>) + Send + 'static,
    ) {
        self.order(Order::Run(Box::new(move |writer| {
            let outcome = writer.map_err(Error::again).and_then(|writer| in_savepoint(writer, f));
            let failure = outcome.as_ref().err().map(Error::again);
            let answer: Answer = Box::new(move |failed| done(failed.map_or(outcome, |e| Err(e.again()))));
            (answer, failure)
        })));
    }

    /// Goes on with this connection.
    pub(super) fn reopen(&self, writer: Writer) {
        self.order(Order::Reopen(writer));
    }

    /// Closes the connection and leaves the log alone. Until [`WriterThread::reopen`] every job
    /// fails.
    pub(super) fn abandon(&self) {
        let (tx, rx) = sync_channel(1);
        self.order(Order::Abandon(tx));
        // Without a thread there is no connection either.
        let _ = rx.recv();
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

fn run(writer: Writer, inbox: &Receiver<Order>, longest: &AtomicU64) {
    let mut writer = Some(writer);
    let mut next = None;
    while let Some(order) = next.take().or_else(|| inbox.recv().ok()) {
        match order {
            Order::Run(job) => {
                let mut jobs = vec![job];
                while jobs.len() < GROUP && next.is_none() {
                    match inbox.try_recv() {
                        Ok(Order::Run(job)) => jobs.push(job),
                        Ok(other) => next = Some(other),
                        Err(_) => break,
                    }
                }
                match &writer {
                    Some(writer) => group(writer, jobs, longest),
                    None => refuse(jobs, &abandoned()),
                }
            }
            Order::Reopen(opened) => writer = Some(opened),
            Order::Abandon(done) => {
                if let Some(writer) = writer.take() {
                    writer.abandon();
                }
                let _ = done.send(());
            }
        }
    }
}

fn abandoned() -> Error {
    Error::new(
        Code::StoreReplaced,
        "cannot write: the file or its write-ahead log is another one now; it is opened anew, try again",
    )
}

fn refuse(jobs: Vec<Job>, error: &Error) {
    for job in jobs {
        (job(Err(error)).0)(Some(error));
    }
}

/// One transaction for all `jobs`, then their answers. If the path leads to another file or
/// log by then, nobody will find what went into this one.
fn group(writer: &Writer, jobs: Vec<Job>, longest: &AtomicU64) {
    let begun = rusqlite::Transaction::new_unchecked(&writer.conn, rusqlite::TransactionBehavior::Immediate);
    let mut failed = None;
    let mut answers: Vec<Answer> = Vec::with_capacity(jobs.len());
    match begun {
        Err(e) => {
            let error = Error::from(e);
            answers.extend(jobs.into_iter().map(|job| job(Err(&error)).0));
        }
        Ok(transaction) => {
            let begun = Instant::now();
            for job in jobs {
                let (answer, failure) = job(failed.as_ref().map_or(Ok(writer), Err));
                answers.push(answer);
                if failed.is_none() && writer.conn.is_autocommit() {
                    // A full disk, a damaged file and the like end a transaction by themselves,
                    // with all that was in it: everybody's failure is the one that did it.
                    failed = Some(failure.unwrap_or_else(ended));
                }
            }
            if failed.is_none() {
                failed = transaction.commit().err().map(Error::from);
            }
            let held = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            longest.fetch_max(held, Ordering::Relaxed);
            if failed.is_none() && !writer.is_at_its_path() {
                failed = Some(abandoned());
            }
        }
    }
    for answer in answers {
        answer(failed.as_ref());
    }
}

/// For a job that kept its failure to itself.
fn ended() -> Error {
    Error::new(
        Code::StoreUnavailable,
        "cannot write: the transaction ended before its time; try again",
    )
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

#[cfg(test)]
mod tests {
    use super::super::{NetworkFs, NewMessage};
    use super::*;

    #[test]
    fn a_transaction_that_ends_by_itself_is_everybodys_failure_by_its_own_name() {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open(&folder.path().join("hub.db"), NetworkFs::Refuse).unwrap();
        let (tx, rx) = channel();
        let job = |f: fn(&Writer) -> Result<()>| -> Job {
            let tx = tx.clone();
            Box::new(move |writer| {
                let outcome = writer.map_err(Error::again).and_then(|writer| in_savepoint(writer, f));
                let failure = outcome.as_ref().err().map(Error::again);
                let answer: Answer = Box::new(move |failed| {
                    let outcome = failed.map_or(outcome, |e| Err(e.again()));
                    tx.send(outcome.map_err(|e| e.code())).unwrap();
                });
                (answer, failure)
            })
        };
        let write = || job(|writer| writer.post_message(&NewMessage::new("t", "a", "x")).map(drop));
        let broken = job(|writer| {
            // What SQLite does when the disk fails under it.
            writer.conn.execute_batch("ROLLBACK")?;
            Err(Error::new(
                Code::StoreCorrupt,
                "the database is damaged; restore a backup",
            ))
        });
        group(&writer, vec![write(), broken, write()], &AtomicU64::new(0));
        let outcomes: Vec<_> = rx.try_iter().collect();
        assert_eq!(outcomes, [Err(Code::StoreCorrupt); 3]);
        assert_eq!(writer.counts().unwrap().messages, 0);
    }
}
