//! Writes a stream's rows while the tool runs, without blocking the tool.
//!
//! A thread receives lines, parses them, and commits the rows in one transaction per group.
//!
//! 1. Lines are sent through a channel that never blocks the thread that reads the tool's output.
//!    Up to 64 MiB of lines are queued, for example while a write waits for the lock.
//! 2. If the database cannot be written, up to 64 MiB of rows are buffered and the write is
//!    retried every second. The first failure is reported to the caller.
//! 3. A row that the database refuses is skipped: the others of its transaction are written.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::session_state::{self, SessionState};
use super::stream::{Stream, StreamSource};
use super::task_builder::{StreamEnd, StreamRow};
use super::unknown_content::UnknownContent;
use super::usage::{CountedBy, Recording, SessionHistory, Usage};
use crate::error::{Code, Error, Result};
use crate::process::ProcessId;
use crate::protocol::{TaskStreamEventType as Kind, now_ms};
use crate::store::{AgentState, NewTaskEvent, NewTelemetry, SessionEvent, Writer, run_process_key};
use crate::text::quantity::count;

/// Maximum bytes of rows that are buffered while the database cannot be written. Beyond that the
/// oldest are lost.
const MAX_BUFFERED: usize = 64 << 20;
/// Maximum bytes of lines in the channel. Beyond that new ones are lost.
const MAX_QUEUED: usize = 64 << 20;
/// Bytes of memory that a line in the channel takes besides its text.
const LINE_OVERHEAD: usize = 64;
/// Time between attempts to write.
const RETRY: Duration = Duration::from_secs(1);
/// Maximum lines that are parsed before their rows are committed.
const MAX_GROUP: usize = 256;

#[derive(Debug)]
enum RecorderMessage {
    Line(Vec<u8>),
    /// How the stream ended, and its duration in seconds.
    End(StreamEnd, i64),
}

/// The lines in the channel.
#[derive(Debug, Default)]
struct QueueSize {
    bytes: AtomicUsize,
    lost: AtomicUsize,
}

/// The handle of the thread.
#[derive(Debug)]
pub struct Recorder {
    sender: LineSender,
    thread: JoinHandle<RecorderEnd>,
}

/// How a recording ended.
#[derive(Debug)]
pub struct RecorderEnd {
    /// Why some rows could not be written.
    pub written: Result<()>,
    /// What the stream seems to be, if no line was understood.
    pub unknown: Option<UnknownContent>,
}

impl Recorder {
    /// Starts to record `stream`, which the process `pid` prints. `open` opens the database;
    /// `on_error` is called once, when opening or writing first fails.
    ///
    /// # Errors
    /// [`Code::Internal`] if the system cannot start a thread.
    pub fn start(
        mut stream: Stream,
        pid: Option<i64>,
        open: impl Fn() -> Result<Writer> + Send + 'static,
        on_error: impl FnOnce(&Error) + Send + 'static,
    ) -> Result<Self> {
        let (messages, receiver) = channel();
        let sender = LineSender {
            messages,
            queue: Arc::default(),
        };
        let queue = Arc::clone(&sender.queue);
        let thread = thread::Builder::new()
            .name("agenthub-recorder".into())
            .spawn(move || {
                let mut buffer = RowBuffer {
                    open: Box::new(open),
                    on_error: Some(Box::new(on_error)),
                    pid,
                    writer: None,
                    rows: VecDeque::new(),
                    recording: None,
                    bytes: 0,
                    lost: 0,
                    queue,
                    next_try: Instant::now(),
                };
                buffer.push(stream.begin());
                let written = record(&mut stream, &mut buffer, &receiver);
                RecorderEnd {
                    written,
                    unknown: stream.unknown_content().cloned(),
                }
            })
            .map_err(|e| Error::new(Code::Internal, format!("cannot start the recorder thread: {e}")))?;
        Ok(Self { sender, thread })
    }

    /// Returns a sender of lines.
    pub fn sender(&self) -> LineSender {
        self.sender.clone()
    }

    /// Ends the task, `seconds` after it began, and waits until all rows are written.
    pub fn end(self, end: StreamEnd, seconds: i64) -> RecorderEnd {
        drop(self.sender.messages.send(RecorderMessage::End(end, seconds)));
        self.thread.join().unwrap_or_else(|_| RecorderEnd {
            written: Err(Error::new(Code::Internal, "the recorder thread panicked")),
            unknown: None,
        })
    }
}

/// Sends lines to a [`Recorder`].
#[derive(Debug, Clone)]
pub struct LineSender {
    messages: Sender<RecorderMessage>,
    queue: Arc<QueueSize>,
}

impl LineSender {
    /// Sends a line. Does not block: if the queue is full, the line is dropped and counted. Lines
    /// after the end are ignored.
    pub fn send(&self, line: Vec<u8>) {
        let bytes = line.len() + LINE_OVERHEAD;
        let before = self.queue.bytes.fetch_add(bytes, Ordering::Relaxed);
        // An empty queue accepts a line of any length: its memory is allocated already.
        if before > 0 && before + bytes > MAX_QUEUED {
            self.queue.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.queue.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        drop(self.messages.send(RecorderMessage::Line(line)));
    }
}

fn record(stream: &mut Stream, buffer: &mut RowBuffer, receiver: &Receiver<RecorderMessage>) -> Result<()> {
    let mut has_session = false;
    loop {
        drop(buffer.write());
        let mut next = match receiver.recv_timeout(RETRY) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(RecorderMessage::End(StreamEnd::Eof, 0)),
        };
        let mut count = 0;
        while let Some(message) = next {
            match message {
                RecorderMessage::Line(line) => {
                    buffer
                        .queue
                        .bytes
                        .fetch_sub(line.len() + LINE_OVERHEAD, Ordering::Relaxed);
                    let mut rows = stream.line(&line);
                    if !has_session && let Some(session) = stream.session() {
                        has_session = true;
                        let history = buffer.history_of(session, stream);
                        // These totals do not include the earlier ones.
                        rows.retain(|row| matches!(row, StreamRow::Task(_)));
                        rows.extend(stream.set_history(history));
                    }
                    buffer.push(rows);
                    if let Some(recording) = stream.take_recording() {
                        buffer.recording = Some((stream.session_key(), recording));
                    }
                }
                RecorderMessage::End(end, seconds) => {
                    buffer.push(stream.end(end, seconds));
                    return buffer.close();
                }
            }
            count += 1;
            next = if count < MAX_GROUP {
                receiver.try_recv().ok()
            } else {
                None
            };
        }
    }
}

type ErrorCallback = Box<dyn FnOnce(&Error) + Send>;

/// The database, and the rows that are not written yet.
struct RowBuffer {
    open: Box<dyn Fn() -> Result<Writer> + Send>,
    on_error: Option<ErrorCallback>,
    pid: Option<i64>,
    writer: Option<Writer>,
    rows: VecDeque<StreamRow>,
    /// This recording and its session, if it is a new one that is not stored yet.
    recording: Option<(String, Recording)>,
    bytes: usize,
    lost: usize,
    queue: Arc<QueueSize>,
    next_try: Instant,
}

impl RowBuffer {
    fn push(&mut self, rows: Vec<StreamRow>) {
        for row in rows {
            self.bytes += size(&row);
            self.rows.push_back(row);
        }
        while self.bytes > MAX_BUFFERED
            && let Some(row) = self.rows.pop_front()
        {
            self.bytes -= size(&row);
            self.lost += 1;
        }
    }

    /// Writes the buffered rows, unless the last attempt failed less than [`RETRY`] ago.
    fn write(&mut self) -> Result<()> {
        if self.rows.is_empty() || Instant::now() < self.next_try {
            return Ok(());
        }
        let written = self.try_write();
        match &written {
            Ok(()) => {
                self.rows.clear();
                self.recording = None;
                self.bytes = 0;
            }
            Err(e) => {
                self.writer = None;
                self.next_try = Instant::now() + RETRY;
                if let Some(on_error) = self.on_error.take() {
                    on_error(e);
                }
            }
        }
        written
    }

    fn try_write(&mut self) -> Result<()> {
        if let Some(replaced) = self.writer.take_if(|writer| !writer.is_at_its_path()) {
            replaced.abandon();
        }
        let writer = match &self.writer {
            Some(writer) => writer,
            None => self.writer.insert((self.open)()?),
        };
        let (rows, recording, pid) = (&self.rows, &self.recording, self.pid);
        writer.atomically(|| {
            if let Some((session, recording)) = recording {
                session_state::add_recording(writer, session, recording)?;
            }
            rows.iter().try_for_each(|row| write_row(writer, row, pid))
        })
    }

    /// Makes the last attempt to write.
    fn close(&mut self) -> Result<()> {
        self.next_try = Instant::now();
        self.write()?;
        let lost = self.lost + self.queue.lost.load(Ordering::Relaxed);
        if lost > 0 {
            return Err(Error::new(
                Code::StoreUnavailable,
                format!(
                    "{} lost: the database could not be written for too long",
                    count(lost, "row")
                ),
            ));
        }
        Ok(())
    }

    /// Returns what is known of a stream's session; nothing if the database cannot be read.
    fn history_of(&mut self, session: &str, stream: &Stream) -> SessionHistory {
        if self.writer.is_none() {
            self.writer = (self.open)().ok();
        }
        let Some(writer) = &self.writer else {
            return SessionHistory::default();
        };
        let state = session_state::load(writer, &stream.session_key())
            .map_or_else(|_| SessionState::default(), |(_, state)| state);
        let totals = match writer.totals(session) {
            Ok(Some(row)) => Usage::of_row(&row),
            _ => Usage::default(),
        };
        // The hooks of a program that `run` records count nothing.
        let has_count_of_hooks = state
            .transcript
            .is_some_and(|transcript| transcript.totals.tokens_in > 0);
        let counted_by = match stream.source() {
            StreamSource::Input if has_count_of_hooks => CountedBy::Hooks,
            _ => CountedBy::Streams,
        };
        SessionHistory {
            totals,
            recordings: state.recordings,
            counted_by,
        }
    }
}

/// Writes one row, or skips it if the database refuses it.
fn write_row(writer: &Writer, row: &StreamRow, pid: Option<i64>) -> Result<()> {
    let written = match row {
        StreamRow::Task(task) => writer
            .record_task_event(task)
            .map(drop)
            .and_then(|()| update_agent(writer, task, pid)),
        StreamRow::Usage(usage) => record_usage(writer, usage),
    };
    match written {
        Err(e) if e.code() == Code::Invalid => {
            tracing::debug!("skipped a row: {e}");
            Ok(())
        }
        written => written,
    }
}

/// Writes a session's totals. Those of another process that records the session may be larger: a hook's.
fn record_usage(writer: &Writer, usage: &NewTelemetry) -> Result<()> {
    let newest = writer.totals(&usage.instance_id)?.map(|row| Usage::of_row(&row));
    let newest = newest.unwrap_or_default();
    let totals = |own: Option<i64>, newest: i64| own.map(|own| own.max(newest));
    let tokens_in = totals(usage.tokens_in, newest.tokens_in);
    let tokens_out = totals(usage.tokens_out, newest.tokens_out);
    let is_own = (tokens_in, tokens_out) == (usage.tokens_in, usage.tokens_out);
    writer
        .record_telemetry(&NewTelemetry {
            turns: totals(usage.turns, newest.turns),
            tokens_in,
            tokens_out,
            tokens_cached: totals(usage.tokens_cached, newest.tokens_cached),
            cost: usage.cost.filter(|_| is_own),
            cost_source: usage
                .cost_source
                .clone()
                .map(|source| if is_own { source } else { "unknown".to_owned() }),
            ..usage.clone()
        })
        .map(drop)
}

/// Sets the agent's status to that of its task.
fn update_agent(writer: &Writer, task: &NewTaskEvent, pid: Option<i64>) -> Result<()> {
    if task.stream_type != Kind::STATUS {
        return Ok(());
    }
    record_sessions(writer, task, pid)?;
    if task.agent_id.is_empty() {
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

/// Records the processes that run the task: the tool's, whose shells and servers speak as its agent, and this one,
/// whose end ends the task. The session of the tool's own hooks has another id.
fn record_sessions(writer: &Writer, task: &NewTaskEvent, pid: Option<i64>) -> Result<()> {
    let Some(tool) = pid.and_then(|pid| u32::try_from(pid).ok()).map(ProcessId::of) else {
        return Ok(());
    };
    let (tool_key, own) = (run_process_key(&task.task_id), ProcessId::of(std::process::id()));
    let at = now_ms();
    let event = |id, process| SessionEvent {
        id,
        agent: &task.agent_id,
        process: Some(process),
        terminal: None,
        permission_mode: None,
        at,
    };
    writer.open_session(&event(&task.task_id, &own))?;
    // Does not end the session of the tool's hooks, which has the same process.
    writer.record_session_event(&event(&tool_key, &tool))?;
    if matches!(task.status.as_str(), "completed" | "failed") {
        writer.end_session(&task.task_id, at)?;
        writer.end_session(&tool_key, at)?;
    }
    Ok(())
}

/// Returns the approximate memory that a row takes, in bytes.
fn size(row: &StreamRow) -> usize {
    match row {
        StreamRow::Task(task) => {
            400 + task.text.len()
                + task.tool_input.len()
                + task.tool_output.len()
                + task.error_msg.len()
                + task.directive_full.len()
        }
        StreamRow::Usage(_) => 300,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_is_bounded_in_bytes() {
        let (messages, receiver) = channel();
        let sender = LineSender {
            messages,
            queue: Arc::default(),
        };
        for _ in 0..100 {
            sender.send(vec![b'x'; 1 << 20]);
        }
        let queued = receiver.try_iter().count();
        assert_eq!(queued, 63, "LINE_OVERHEAD counts too");
        assert_eq!(sender.queue.lost.load(Ordering::Relaxed), 100 - queued);
        // An empty queue accepts the longest line, and then no other.
        let sender = LineSender {
            messages: sender.messages,
            queue: Arc::default(),
        };
        sender.send(vec![b'x'; MAX_QUEUED]);
        sender.send(b"{}".to_vec());
        assert_eq!(receiver.try_iter().count(), 1);
    }
}
