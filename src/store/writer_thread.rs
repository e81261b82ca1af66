//! The writer thread: runs all writes of a hub on one connection, with group commit.
//!
//! 1. Wait for a job, then take the jobs that are already queued, up to [`MAX_GROUP`].
//! 2. `BEGIN IMMEDIATE`. Each job runs in its own savepoint, so that a failed job does not undo the
//!    others.
//! 3. `COMMIT`. Only then does each caller get its result.
//!
//! A panic of a job is an error of that job ([`Code::Internal`]): its savepoint is rolled back, and the
//! thread continues with the other jobs. If a savepoint cannot be rolled back, the transaction is.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread;
use std::time::Instant;

use super::connection::Writer;
use crate::error::{Code, Error, Result};
use crate::text::panic_text;

/// Maximum number of jobs in one transaction: limits how long other processes wait for the lock.
const MAX_GROUP: usize = 64;
/// Runs in the transaction, or gets the error if there is none. Returns the reply to the caller, and
/// the job's error.
type Job = Box<dyn FnOnce(std::result::Result<&Writer, &Error>) -> (Reply, Option<Error>) + Send>;
/// Sends the job's result to its caller. The argument is the error of the transaction, if it failed.
type Reply = Box<dyn FnOnce(Option<&Error>) + Send>;

enum Command {
    Run(Job),
    Reopen(Box<Writer>),
    Abandon(std::sync::mpsc::SyncSender<()>),
}

/// The handle of the thread. Dropping it ends the thread after the queued jobs.
#[derive(Debug)]
pub(super) struct WriterThread {
    commands: Option<Sender<Command>>,
    longest: Arc<AtomicU64>,
    thread: Option<thread::JoinHandle<()>>,
}

impl WriterThread {
    pub(super) fn start(writer: Writer) -> Result<Self> {
        let (sender, receiver) = channel();
        let longest = Arc::new(AtomicU64::new(0));
        let held = Arc::clone(&longest);
        let thread = thread::Builder::new()
            .name("agenthub-writer".into())
            .spawn(move || run(writer, &receiver, &held))
            .map_err(|e| Error::new(Code::Internal, format!("cannot start the writer thread: {e}")))?;
        Ok(Self {
            commands: Some(sender),
            longest,
            thread: Some(thread),
        })
    }

    /// Returns the longest time in milliseconds that one transaction held the write lock.
    pub(super) fn longest_hold_ms(&self) -> u64 {
        self.longest.load(Ordering::Relaxed)
    }

    /// Queues `f`. Calls `done` on the writer thread with the result, after the commit. A panic of `f` is
    /// an error with [`Code::Internal`].
    pub(super) fn submit<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Writer) -> Result<T> + Send + 'static,
        done: impl FnOnce(Result<T>) + Send + 'static,
    ) {
        self.send(Command::Run(Box::new(move |writer| {
            let result = writer.map_err(Error::again).and_then(|writer| in_savepoint(writer, f));
            let error = result.as_ref().err().map(Error::again);
            let reply: Reply = Box::new(move |failed| done(failed.map_or(result, |e| Err(e.again()))));
            (reply, error)
        })));
    }

    /// Replaces the thread's connection.
    pub(super) fn reopen(&self, writer: Writer) {
        self.send(Command::Reopen(Box::new(writer)));
    }

    /// Closes the connection without a checkpoint. Every job fails until [`WriterThread::reopen`].
    pub(super) fn abandon(&self) {
        let (tx, rx) = sync_channel(1);
        self.send(Command::Abandon(tx));
        // An error means that the thread has ended, and its connection is closed.
        let _ = rx.recv();
    }

    fn send(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // The thread lives as long as this handle.
            drop(commands.send(command));
        }
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed when it happened.
            drop(thread.join());
        }
    }
}

fn run(writer: Writer, commands: &Receiver<Command>, longest: &AtomicU64) {
    let mut writer = Some(writer);
    let mut next = None;
    while let Some(command) = next.take().or_else(|| commands.recv().ok()) {
        match command {
            Command::Run(job) => {
                let mut jobs = vec![job];
                while jobs.len() < MAX_GROUP && next.is_none() {
                    match commands.try_recv() {
                        Ok(Command::Run(job)) => jobs.push(job),
                        Ok(other) => next = Some(other),
                        Err(_) => break,
                    }
                }
                match &writer {
                    Some(writer) => run_group(writer, jobs, longest),
                    None => fail_all(jobs, &replaced()),
                }
            }
            Command::Reopen(opened) => writer = Some(*opened),
            Command::Abandon(done) => {
                if let Some(writer) = writer.take() {
                    writer.abandon();
                }
                let _ = done.send(());
            }
        }
    }
}

fn replaced() -> Error {
    Error::new(
        Code::StoreReplaced,
        "cannot write: the database or its write-ahead log was replaced; it is being reopened, try again",
    )
}

fn fail_all(jobs: Vec<Job>, error: &Error) {
    for job in jobs {
        send_reply(job(Err(error)).0, Some(error));
    }
}

/// Sends a reply. A panic of its caller's closure must not end the thread.
fn send_reply(reply: Reply, failed: Option<&Error>) {
    // Unwind safe: the closure is consumed, and the thread shares nothing else with it.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| reply(failed))) {
        tracing::error!(
            "handling the result of a write panicked: {}; this is a bug of agenthub, report it",
            panic_text::of(&*panic)
        );
    }
}

/// Runs `jobs` in one transaction, then sends their replies. All fail if the path leads to another
/// database or WAL after the commit: what was written is not in the new one.
fn run_group(writer: &Writer, jobs: Vec<Job>, longest: &AtomicU64) {
    let begun = rusqlite::Transaction::new_unchecked(&writer.conn, rusqlite::TransactionBehavior::Immediate);
    let (mut failed, mut found_damage) = (None, false);
    let mut replies: Vec<Reply> = Vec::with_capacity(jobs.len());
    match begun {
        Err(e) => {
            let error = Error::from(e);
            replies.extend(jobs.into_iter().map(|job| job(Err(&error)).0));
        }
        Ok(transaction) => {
            let begun = Instant::now();
            for job in jobs {
                let (reply, error) = job(failed.as_ref().map_or(Ok(writer), Err));
                replies.push(reply);
                found_damage |= error.as_ref().is_some_and(|e| e.code() == Code::StoreCorrupt);
                if failed.is_none() && writer.conn.is_autocommit() {
                    // SQLite rolls the transaction back by itself on errors such as a full disk or a
                    // damaged file. All jobs get the error of the job that caused it.
                    failed = Some(error.unwrap_or_else(rolled_back));
                }
            }
            if failed.is_none() {
                failed = transaction.commit().err().map(Error::from);
            }
            let held = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            longest.fetch_max(held, Ordering::Relaxed);
            if failed.is_none() && !writer.is_at_its_path() {
                failed = Some(replaced());
            }
        }
    }
    if found_damage {
        writer.drop_cached_pages();
    }
    for reply in replies {
        send_reply(reply, failed.as_ref());
    }
}

/// Returns the error of a transaction that a job's error rolled back, if the job did not return that
/// error.
fn rolled_back() -> Error {
    Error::new(
        Code::StoreUnavailable,
        "cannot write: SQLite rolled the transaction back; try again",
    )
}

/// Runs `f` in a savepoint, which is rolled back if `f` fails or panics.
fn in_savepoint<T>(writer: &Writer, f: impl FnOnce(&Writer) -> Result<T>) -> Result<T> {
    writer.conn.execute_batch("SAVEPOINT job")?;
    // Unwind safe: `f` is consumed. It can leave two things half changed, and both are undone or
    // harmless: rows, which the savepoint undoes, and the connection's statements, which unwinding resets.
    let result = catch_unwind(AssertUnwindSafe(|| f(writer))).unwrap_or_else(|panic| Err(panicked(&*panic)));
    if writer.conn.is_autocommit() {
        return result;
    }
    if result.is_ok() {
        writer.conn.execute_batch("RELEASE job")?;
    } else if let Err(e) = writer.conn.execute_batch("ROLLBACK TO job; RELEASE job") {
        // Without the savepoint's rollback, a commit would keep half of the job.
        tracing::error!("cannot roll back one write, so all writes of its transaction are rolled back: {e}");
        writer.conn.execute_batch("ROLLBACK")?;
    }
    result
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic_text::of(panic);
    tracing::error!("a write panicked: {text}; nothing of it was written; this is a bug of agenthub, report it");
    Error::new(
        Code::Internal,
        format!("the write panicked: {text}; nothing of it was written; report this bug"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::{NetworkFs, NewMessage};
    use super::*;

    #[test]
    fn all_jobs_get_the_error_that_rolled_the_transaction_back() {
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::open(&dir.path().join("hub.db"), NetworkFs::Refuse).unwrap();
        let (tx, rx) = channel();
        let job = |f: fn(&Writer) -> Result<()>| -> Job {
            let tx = tx.clone();
            Box::new(move |writer| {
                let result = writer.map_err(Error::again).and_then(|writer| in_savepoint(writer, f));
                let error = result.as_ref().err().map(Error::again);
                let reply: Reply = Box::new(move |failed| {
                    let result = failed.map_or(result, |e| Err(e.again()));
                    tx.send(result.map_err(|e| e.code())).unwrap();
                });
                (reply, error)
            })
        };
        let write = || job(|writer| writer.post_message(&NewMessage::new("t", "a", "x")).map(drop));
        let broken = job(|writer| {
            // SQLite does the same when a disk fails.
            writer.conn.execute_batch("ROLLBACK")?;
            Err(Error::new(
                Code::StoreCorrupt,
                "the database is damaged; restore a backup with agenthub restore",
            ))
        });
        run_group(&writer, vec![write(), broken, write()], &AtomicU64::new(0));
        let results: Vec<_> = rx.try_iter().collect();
        assert_eq!(results, [Err(Code::StoreCorrupt); 3]);
        assert_eq!(writer.counts().unwrap().messages, 0);
    }

    /// Writes a message and returns its number in the thread.
    fn post(writer: &Writer, content: &str) -> Result<i64> {
        let row = writer.post_message(&NewMessage::new("t", "a", content))?.into_row();
        Ok(row.message_seq)
    }

    #[test]
    fn a_panicking_job_fails_alone_and_later_jobs_work() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hub.db");
        let thread = WriterThread::start(Writer::open(&path, NetworkFs::Refuse).unwrap()).unwrap();
        let (tx, rx) = channel();
        let submit = |f: fn(&Writer) -> Result<i64>| {
            let tx = tx.clone();
            thread.submit(f, move |result| tx.send(result.map_err(|e| e.code())).unwrap());
        };
        // The first job holds the thread until all others are queued: they are one transaction.
        let (go, wait) = channel::<()>();
        thread.submit(move |_| Ok(wait.recv().is_ok()), |_| panic!("a test's reply"));
        submit(|writer| post(writer, "before"));
        submit(|writer| {
            post(writer, "half")?;
            panic!("a test's job")
        });
        submit(|writer| post(writer, "after"));
        go.send(()).unwrap();
        let results: Vec<_> = rx.iter().take(3).collect();
        assert_eq!(results, [Ok(1), Err(Code::Internal), Ok(2)]);
        submit(|writer| post(writer, "later"));
        assert_eq!(rx.recv().unwrap(), Ok(3));
        drop(thread);
        let writer = Writer::open(&path, NetworkFs::Refuse).unwrap();
        assert_eq!(writer.counts().unwrap().messages, 3);
    }

    #[test]
    fn a_job_that_cannot_be_rolled_back_rolls_the_transaction_back() {
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::open(&dir.path().join("hub.db"), NetworkFs::Refuse).unwrap();
        let transaction =
            rusqlite::Transaction::new_unchecked(&writer.conn, rusqlite::TransactionBehavior::Immediate).unwrap();
        let result = in_savepoint(&writer, |writer| {
            post(writer, "half")?;
            writer.conn.execute_batch("RELEASE job")?;
            Err::<(), _>(Error::new(Code::Invalid, "refused"))
        });
        assert_eq!(result.unwrap_err().code(), Code::Invalid);
        assert!(writer.conn.is_autocommit());
        drop(transaction);
        assert_eq!(writer.counts().unwrap().messages, 0);
    }
}
