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

use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread;

use super::open::{Log, Writer};
use crate::error::{Code, Error, Result};

/// Jobs in one transaction at most: bounds how long others wait for the lock.
const GROUP: usize = 64;
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
    Abandon(std::sync::mpsc::SyncSender<()>),
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

fn run(writer: Writer, inbox: &Receiver<Order>) {
    let mut log = Log::of(writer.path());
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
                    Some(writer) => group(writer, log, jobs),
                    None => refuse(jobs, &abandoned()),
                }
            }
            Order::Reopen(open, done) => {
                let outcome = open().map(|opened| {
                    log = Log::of(opened.path());
                    writer = Some(opened);
                });
                // Whoever asked may have given up waiting.
                drop(done.send(outcome));
            }
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
        "cannot write: the write-ahead log was removed by other means than SQLite; the file is opened anew, try again",
    )
}

fn refuse(jobs: Vec<Job>, error: &Error) {
    for job in jobs {
        job(Err(error))(Some(error));
    }
}

/// One transaction for all `jobs`, then their answers. `log` is the one that the connection
/// writes to: if it is not beside the database any more, nobody will find what went into it.
fn group(writer: &Writer, log: Log, jobs: Vec<Job>) {
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
            if failed.is_none() && Log::of(writer.path()) != log {
                failed = Some(abandoned());
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
