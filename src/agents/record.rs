//! Writing a stream's rows while it runs, without ever holding it up.
//!
//! For: a thread that takes lines, makes rows of them and commits those that are there in one
//! transaction.
//! Not for: where the lines come from (`cli::run`, `cli::ingest`).
//!
//! 1. Lines come through a channel that never blocks whoever reads the program's output. While
//!    an attempt to write waits for a lock, up to 64 MiB of them wait in it.
//! 2. If the file cannot be written, rows wait, up to 64 MiB, and another attempt is
//!    made every second; whoever started this is told once.
//! 3. A row that the file refuses is left out: the others must not suffer for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Ended, Row, Stream, Usage};
use crate::error::{Code, Error, Result};
use crate::protocol::TaskStreamEventType as Kind;
use crate::store::{AgentState, NewTask, Writer};

/// Bytes of rows that wait for a file that cannot be written; beyond, the oldest are lost.
const MAX_WAITING: usize = 64 << 20;
/// Bytes of lines on their way to the thread; what comes beyond is lost.
const MAX_QUEUED: usize = 64 << 20;
/// What a line in the channel takes beside its text.
const LINE: usize = 64;
/// Time between attempts to reach the file.
const RETRY: Duration = Duration::from_secs(1);
/// Lines turned into rows before these are committed.
const GROUP: usize = 256;

#[derive(Debug)]
enum Order {
    Line(Vec<u8>),
    End(Ended, i64),
}

/// What is in the channel.
#[derive(Debug, Default)]
struct Queue {
    bytes: AtomicUsize,
    lost: AtomicUsize,
}

/// The handle to the thread.
#[derive(Debug)]
pub struct Recorder {
    intake: Intake,
    thread: JoinHandle<Result<()>>,
}

impl Recorder {
    /// Starts to record `stream`, whose process is `pid`. `open` opens the file; `trouble` is
    /// called at most once, when that or writing fails for the first time.
    ///
    /// # Errors
    /// [`Code::Internal`] if the system gives no thread.
    pub fn start(
        mut stream: Stream,
        pid: Option<i64>,
        open: impl Fn() -> Result<Writer> + Send + 'static,
        trouble: impl FnOnce(&Error) + Send + 'static,
    ) -> Result<Self> {
        let (orders, inbox) = channel();
        let intake = Intake {
            orders,
            queue: Arc::default(),
        };
        let queue = Arc::clone(&intake.queue);
        let thread = thread::Builder::new()
            .name("agenthub-recorder".into())
            .spawn(move || {
                let mut book = Book {
                    open: Box::new(open),
                    trouble: Some(Box::new(trouble)),
                    pid,
                    writer: None,
                    waiting: VecDeque::new(),
                    bytes: 0,
                    lost: 0,
                    queue,
                    next_try: Instant::now(),
                };
                book.keep(stream.begin());
                record(&mut stream, &mut book, &inbox)
            })
            .map_err(|e| Error::new(Code::Internal, format!("cannot start the recorder thread: {e}")))?;
        Ok(Self { intake, thread })
    }

    /// Where lines go in.
    pub fn intake(&self) -> Intake {
        self.intake.clone()
    }

    /// Ends the task, `seconds` after it began, and waits until everything is written.
    ///
    /// # Errors
    /// Why some of it could not be.
    pub fn end(self, ended: Ended, seconds: i64) -> Result<()> {
        drop(self.intake.orders.send(Order::End(ended, seconds)));
        self.thread
            .join()
            .unwrap_or_else(|_| Err(Error::new(Code::Internal, "the recorder thread is gone")))
    }
}

/// Takes lines for a [`Recorder`].
#[derive(Debug, Clone)]
pub struct Intake {
    orders: Sender<Order>,
    queue: Arc<Queue>,
}

impl Intake {
    /// Takes a line. Does not block: if too much waits already, the line is lost, and counted.
    /// After the end nobody listens any more.
    pub fn line(&self, line: Vec<u8>) {
        let bytes = line.len() + LINE;
        let before = self.queue.bytes.fetch_add(bytes, Ordering::Relaxed);
        // A single line is taken whatever its length: the memory for it is there already.
        if before > 0 && before + bytes > MAX_QUEUED {
            self.queue.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.queue.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        drop(self.orders.send(Order::Line(line)));
    }
}

fn record(stream: &mut Stream, book: &mut Book, inbox: &Receiver<Order>) -> Result<()> {
    let mut known = false;
    loop {
        drop(book.write());
        let mut next = match inbox.recv_timeout(RETRY) {
            Ok(order) => Some(order),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Order::End(Ended::Cut, 0)),
        };
        let mut taken = 0;
        while let Some(order) = next {
            match order {
                Order::Line(line) => {
                    book.queue.bytes.fetch_sub(line.len() + LINE, Ordering::Relaxed);
                    book.keep(stream.line(&line));
                }
                Order::End(ended, seconds) => {
                    book.keep(stream.end(ended, seconds));
                    return book.close();
                }
            }
            if !known && let Some(session) = stream.session() {
                known = true;
                let used = book.used_by(session);
                book.keep(stream.earlier(used));
            }
            taken += 1;
            next = if taken < GROUP { inbox.try_recv().ok() } else { None };
        }
    }
}

type Trouble = Box<dyn FnOnce(&Error) + Send>;

/// The file, and the rows on their way into it.
struct Book {
    open: Box<dyn Fn() -> Result<Writer> + Send>,
    trouble: Option<Trouble>,
    pid: Option<i64>,
    writer: Option<Writer>,
    waiting: VecDeque<Row>,
    bytes: usize,
    lost: usize,
    queue: Arc<Queue>,
    next_try: Instant,
}

impl Book {
    fn keep(&mut self, rows: Vec<Row>) {
        for row in rows {
            self.bytes += weight(&row);
            self.waiting.push_back(row);
        }
        while self.bytes > MAX_WAITING
            && let Some(row) = self.waiting.pop_front()
        {
            self.bytes -= weight(&row);
            self.lost += 1;
        }
    }

    /// Writes what waits, unless the last attempt has only just failed.
    fn write(&mut self) -> Result<()> {
        if self.waiting.is_empty() || Instant::now() < self.next_try {
            return Ok(());
        }
        let written = self.try_write();
        match &written {
            Ok(()) => {
                self.waiting.clear();
                self.bytes = 0;
            }
            Err(e) => {
                self.writer = None;
                self.next_try = Instant::now() + RETRY;
                if let Some(trouble) = self.trouble.take() {
                    trouble(e);
                }
            }
        }
        written
    }

    fn try_write(&mut self) -> Result<()> {
        if let Some(gone) = self.writer.take_if(|writer| !writer.is_at_its_path()) {
            gone.abandon();
        }
        let writer = match &self.writer {
            Some(writer) => writer,
            None => self.writer.insert((self.open)()?),
        };
        let (rows, pid) = (&self.waiting, self.pid);
        writer.atomically(|| rows.iter().try_for_each(|row| put(writer, row, pid)))
    }

    /// The last attempt.
    fn close(&mut self) -> Result<()> {
        self.next_try = Instant::now();
        self.write()?;
        let lost = self.lost + self.queue.lost.load(Ordering::Relaxed);
        if lost > 0 {
            return Err(Error::new(
                Code::StoreUnavailable,
                format!("{lost} rows were lost: the file could not be written for too long"),
            ));
        }
        Ok(())
    }

    /// What a session had used before; nothing if that cannot be found out.
    fn used_by(&mut self, session: &str) -> Usage {
        if self.writer.is_none() {
            self.writer = (self.open)().ok();
        }
        let Some(Ok(Some(row))) = self.writer.as_ref().map(|writer| writer.totals(session)) else {
            return Usage::default();
        };
        Usage {
            turns: row.turns.unwrap_or(0),
            tokens_in: row.tokens_in.unwrap_or(0),
            tokens_out: row.tokens_out.unwrap_or(0),
            tokens_cached: row.tokens_cached.unwrap_or(0),
            cost: row.cost,
            duration_sec: row.duration_sec.unwrap_or(0),
        }
    }
}

/// Writes one row; one that the file refuses is passed over.
fn put(writer: &Writer, row: &Row, pid: Option<i64>) -> Result<()> {
    let written = match row {
        Row::Task(task) => writer
            .record_task_event(task)
            .map(drop)
            .and_then(|()| tell_agent(writer, task, pid)),
        Row::Usage(usage) => writer.record_telemetry(usage).map(drop),
    };
    match written {
        Err(e) if e.code() == Code::Invalid => {
            tracing::debug!("left out a row: {e}");
            Ok(())
        }
        written => written,
    }
}

/// A task's status is its agent's.
fn tell_agent(writer: &Writer, task: &NewTask, pid: Option<i64>) -> Result<()> {
    if task.stream_type != Kind::STATUS || task.agent_id.is_empty() {
        return Ok(());
    }
    let status = match task.status.as_str() {
        "completed" => "idle",
        "failed" => "error",
        _ => "running",
    };
    writer.set_agent(
        &task.agent_id,
        &AgentState {
            status: Some(status.to_owned()),
            workspace: Some(task.workspace.clone()).filter(|w| !w.is_empty()),
            pid,
            ..AgentState::default()
        },
    )
}

fn weight(row: &Row) -> usize {
    match row {
        Row::Task(task) => {
            400 + task.text.len()
                + task.tool_input.len()
                + task.tool_output.len()
                + task.error_msg.len()
                + task.directive_full.len()
        }
        Row::Usage(_) => 300,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_nobody_takes_do_not_fill_the_memory() {
        let (orders, inbox) = channel();
        let intake = Intake {
            orders,
            queue: Arc::default(),
        };
        for _ in 0..100 {
            intake.line(vec![b'x'; 1 << 20]);
        }
        let waiting = inbox.try_iter().count();
        assert_eq!(waiting, 63, "with what each takes beside its text");
        assert_eq!(intake.queue.lost.load(Ordering::Relaxed), 100 - waiting);
        // The longest line there is goes through alone.
        let intake = Intake {
            orders: intake.orders,
            queue: Arc::default(),
        };
        intake.line(vec![b'x'; MAX_QUEUED]);
        intake.line(b"{}".to_vec());
        assert_eq!(inbox.try_iter().count(), 1);
    }
}
