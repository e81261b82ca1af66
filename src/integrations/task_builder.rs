//! Builds the rows of one task. The parsers of all streams use it.
//!
//! It numbers turns, pairs a tool's result with its call, truncates long texts, keeps totals, and
//! closes open calls and turns when the stream ends.

use std::collections::{HashMap, HashSet};

use super::usage::{CountedBy, Recording, SessionHistory, Usage};
use super::{agent_name, prompt_text};
use crate::protocol::TaskStreamEventType as Kind;
use crate::store::{NewTaskEvent, NewTelemetry};

/// Maximum bytes of one text in a row. The database accepts 1 MiB, the page and a terminal show
/// far less, and the tool keeps the whole text in its own transcript.
pub const MAX_TEXT: usize = 256 << 10;
/// Maximum characters of the directive's short form.
pub(super) const MAX_SHORT_DIRECTIVE: usize = 200;

/// One row to write.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamRow {
    /// A step of the task.
    Task(Box<NewTaskEvent>),
    /// The session's totals.
    Usage(Box<NewTelemetry>),
}

/// The facts about a task that are known before the first line of its stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskInfo {
    /// The task's id.
    pub task_id: String,
    /// The agent's name; empty to derive it from the session.
    pub agent_id: String,
    /// The task's prompt.
    pub directive: String,
    /// The working directory.
    pub workspace: String,
    /// The process id.
    pub pid: Option<i64>,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// The process exited with this code.
    Exit(i32),
    /// This signal ended the process.
    Signal(i32),
    /// The input ended; there is no exit code.
    Eof,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Completed,
    Failed,
}

/// A task, and its rows that the caller has not taken yet.
#[derive(Debug)]
pub struct TaskBuilder {
    tool: &'static str,
    /// The tags in which the tool gives the model its own text.
    context_tags: &'static [&'static str],
    info: TaskInfo,
    session: Option<String>,
    model: String,
    state: State,
    turn: i64,
    in_turn: bool,
    /// The tool's name of each call without a result.
    open_calls: HashMap<String, String>,
    /// The open calls that the model's provider runs. Their result may be missing in the stream.
    hosted_calls: HashSet<String>,
    /// The session's usage before this task.
    previous: Usage,
    /// The earlier recordings of the session, once they are known.
    recordings: Option<Vec<Recording>>,
    /// Identifies this stream within its session, once the stream has said it.
    key: String,
    /// This recording, if it is a new one and the caller has not taken it yet.
    new_recording: Option<Recording>,
    /// The message of the last error row of this turn.
    last_error: String,
    /// This task's usage.
    used: Usage,
    /// The part of `used` that is in `turn_end` rows.
    in_turn_rows: Usage,
    /// The session's totals in the last telemetry row.
    recorded_totals: Usage,
    /// Some of the usage is more recent than the tool's last report of a cost.
    has_unpriced_use: bool,
    /// Lines of a known type.
    known_lines: u64,
    /// The status in the last status row is `running`.
    last_status_is_running: bool,
    /// A row contains the directive.
    is_directive_written: bool,
    rows: Vec<StreamRow>,
}

impl TaskBuilder {
    pub(super) fn new(tool: &'static str, context_tags: &'static [&'static str], info: TaskInfo) -> Self {
        Self {
            tool,
            context_tags,
            info,
            session: None,
            model: String::new(),
            state: State::Running,
            turn: 0,
            in_turn: false,
            open_calls: HashMap::new(),
            hosted_calls: HashSet::new(),
            previous: Usage::default(),
            recordings: None,
            key: String::new(),
            new_recording: None,
            last_error: String::new(),
            used: Usage::default(),
            in_turn_rows: Usage::default(),
            recorded_totals: Usage::default(),
            has_unpriced_use: false,
            known_lines: 0,
            last_status_is_running: false,
            is_directive_written: false,
            rows: Vec::new(),
        }
    }

    pub(super) fn take_rows(&mut self) -> Vec<StreamRow> {
        std::mem::take(&mut self.rows)
    }

    pub(super) fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    pub(super) fn agent(&self) -> &str {
        &self.info.agent_id
    }

    /// Sets what is known of the session.
    pub(super) fn set_history(&mut self, history: SessionHistory) {
        if history.counted_by == CountedBy::Streams {
            self.previous = history.totals;
        }
        self.recorded_totals = self.recorded_totals.max(history.totals);
        self.recordings = Some(history.recordings);
        self.find_recording();
        self.report_usage();
    }

    /// Sets the key that identifies this stream within its session, unless there is one. Called before the
    /// stream's first usage counts.
    pub(super) fn identify(&mut self, key: &str) {
        if self.key.is_empty() && !key.is_empty() {
            key.clone_into(&mut self.key);
            self.find_recording();
        }
    }

    /// Finds out whether this stream was recorded before. Its usage then counts from the same totals as before.
    fn find_recording(&mut self) {
        let Some(recordings) = self.recordings.as_ref().filter(|_| !self.key.is_empty()) else {
            return;
        };
        if let Some(earlier) = recordings.iter().find(|recording| recording.key == self.key) {
            self.previous = earlier.before;
        } else {
            self.new_recording = Some(Recording {
                key: self.key.clone(),
                before: self.previous,
            });
        }
    }

    /// Returns this recording, once, if the session has none with its key.
    pub(super) fn take_recording(&mut self) -> Option<Recording> {
        self.new_recording.take()
    }

    pub(super) fn previous_usage(&self) -> Usage {
        self.previous
    }

    /// Returns the task's usage so far.
    pub(super) fn used_mut(&mut self) -> &mut Usage {
        &mut self.used
    }

    /// Records that some usage is not included in the cost yet.
    pub(super) fn mark_unpriced(&mut self) {
        self.has_unpriced_use = true;
    }

    /// Records that the cost includes all usage so far.
    pub(super) fn mark_priced(&mut self) {
        self.has_unpriced_use = false;
    }

    /// Sets the session that the stream has named. Rows have an agent from here on.
    pub(super) fn begin_session(&mut self, id: &str, model: &str, workspace: &str) {
        if id.is_empty() {
            return;
        }
        if self.session.is_some() {
            self.complete_session(id, model, workspace);
            return;
        }
        self.session = Some(id.to_owned());
        self.model = model.to_owned();
        if self.info.agent_id.is_empty() {
            self.info.agent_id = agent_name::of_session(self.tool, id);
        }
        if !workspace.is_empty() {
            workspace.clone_into(&mut self.info.workspace);
        }
        self.status("running", "");
    }

    /// Adds what a later line says of the session: the first lines of a stream may be missing.
    fn complete_session(&mut self, id: &str, model: &str, workspace: &str) {
        if self.session.as_deref() != Some(id) {
            return;
        }
        if self.model.is_empty() {
            self.set_model(model);
        }
        if self.info.workspace.is_empty() && !workspace.is_empty() {
            workspace.clone_into(&mut self.info.workspace);
            self.status("running", "");
        }
    }

    /// Sets the directive, unless there is one.
    pub(super) fn set_directive(&mut self, text: &str) {
        if self.info.directive.is_empty() && !text.is_empty() {
            text.clone_into(&mut self.info.directive);
            self.status("running", "");
        }
    }

    pub(super) fn set_model(&mut self, model: &str) {
        if !model.is_empty() {
            model.clone_into(&mut self.model);
        }
    }

    /// Begins a turn. An open turn ends first, with the usage known so far.
    pub(super) fn turn_start(&mut self) {
        self.turn_end();
        if self.state != State::Running {
            self.state = State::Running;
            self.status("running", "");
        }
        self.turn += 1;
        self.in_turn = true;
        self.last_error.clear();
        self.used.turns += 1;
        let row = self.row(Kind::TURN_START);
        self.push(row);
    }

    /// Begins a turn unless one is open, for streams that do not mark turns.
    pub(super) fn ensure_turn(&mut self) {
        if !self.in_turn {
            self.turn_start();
        }
    }

    /// Ends the turn. Its usage is that since the last `turn_end` row.
    pub(super) fn turn_end(&mut self) {
        if !self.in_turn {
            return;
        }
        self.in_turn = false;
        let before = self.in_turn_rows;
        let row = NewTaskEvent {
            tokens_in: (self.used.tokens_in - before.tokens_in).max(0),
            tokens_out: (self.used.tokens_out - before.tokens_out).max(0),
            cost: (self.used.cost.unwrap_or(0.0) - before.cost.unwrap_or(0.0)).max(0.0),
            ..self.row(Kind::TURN_END)
        };
        self.in_turn_rows = self.used;
        self.push(row);
    }

    pub(super) fn text(&mut self, text: &str, parent: &str) {
        if !text.is_empty() {
            let row = NewTaskEvent {
                text: truncate(text),
                parent_call_id: parent.to_owned(),
                ..self.row(Kind::TEXT)
            };
            self.push(row);
        }
    }

    pub(super) fn tool_use(&mut self, call: &str, name: &str, input: &str, parent: &str) {
        self.open_calls.insert(call.to_owned(), name.to_owned());
        let row = NewTaskEvent {
            tool_name: name.to_owned(),
            tool_input: truncate(input),
            call_id: call.to_owned(),
            parent_call_id: parent.to_owned(),
            ..self.row(Kind::TOOL_USE)
        };
        self.push(row);
    }

    /// As [`TaskBuilder::tool_use`], for a call that the model's provider runs: a missing result is no error.
    pub(super) fn hosted_tool_use(&mut self, call: &str, name: &str, input: &str, parent: &str) {
        self.hosted_calls.insert(call.to_owned());
        self.tool_use(call, name, input, parent);
    }

    /// Returns whether the call has no result yet.
    pub(super) fn is_open_call(&self, call: &str) -> bool {
        self.open_calls.contains_key(call)
    }

    pub(super) fn tool_result(&mut self, call: &str, output: &str, error: &str, parent: &str) {
        self.hosted_calls.remove(call);
        let row = NewTaskEvent {
            tool_name: self.open_calls.remove(call).unwrap_or_default(),
            tool_output: truncate(output),
            error_msg: truncate(error),
            call_id: call.to_owned(),
            parent_call_id: parent.to_owned(),
            ..self.row(Kind::TOOL_RESULT)
        };
        self.push(row);
    }

    pub(super) fn error(&mut self, message: &str) {
        message.trim().clone_into(&mut self.last_error);
        let row = NewTaskEvent {
            error_msg: truncate(if message.is_empty() { "unknown error" } else { message }),
            ..self.row(Kind::ERROR)
        };
        self.push(row);
    }

    /// Adds a row with a remark: something that happened and is no error, such as a retry.
    pub(super) fn remark(&mut self, remark: &str) {
        self.status("running", remark);
    }

    /// Adds a status row with a remark.
    pub(super) fn status(&mut self, status: &str, remark: &str) {
        // Only one row contains the directive: it may be long.
        let was_written = std::mem::replace(&mut self.is_directive_written, !self.info.directive.is_empty());
        let directive = if was_written {
            String::new()
        } else {
            self.info.directive.clone()
        };
        self.last_status_is_running = status == "running";
        let row = NewTaskEvent {
            status: status.to_owned(),
            text: truncate(remark),
            directive: prompt_text::title(self.context_tags, &directive)
                .chars()
                .take(MAX_SHORT_DIRECTIVE)
                .collect(),
            directive_full: truncate(&directive),
            workspace: self.info.workspace.clone(),
            ..self.row(Kind::STATUS)
        };
        self.push(row);
    }

    /// Adds a row with the session's totals and the task's state. Totals never decrease, even if the tool corrects a
    /// number or its stream is broken: readers treat a smaller number as a counter that was reset.
    pub(super) fn report_usage(&mut self) {
        let Some(session) = &self.session else { return };
        let status = match self.state {
            State::Running => "running",
            State::Completed => "completed",
            State::Failed => "error",
        };
        let own = self.previous.plus(self.used);
        self.recorded_totals = self.recorded_totals.max(own);
        let totals = self.recorded_totals;
        // The cost of a row is the price of all tokens in it.
        let is_priced = !self.has_unpriced_use && own.tokens_in >= totals.tokens_in;
        let cost = totals.cost.filter(|_| is_priced);
        self.rows.push(StreamRow::Usage(Box::new(NewTelemetry {
            instance_id: session.clone(),
            pid: self.info.pid,
            turns: Some(totals.turns),
            tokens_in: Some(totals.tokens_in),
            tokens_out: Some(totals.tokens_out),
            cost,
            status: Some(status.to_owned()),
            duration_sec: Some(totals.duration_sec),
            agent_id: Some(self.info.agent_id.clone()),
            model: Some(self.model.clone()).filter(|m| !m.is_empty()),
            // A broken stream may report more cached tokens than tokens.
            tokens_cached: Some(totals.tokens_cached.min(totals.tokens_in)),
            cost_source: Some(if cost.is_some() { "reported" } else { "unknown" }.to_owned()),
            created_at: None,
        })));
    }

    /// Records that the tool reports success.
    pub(super) fn complete(&mut self) {
        self.turn_end();
        self.finish(State::Completed);
    }

    /// Records that the tool reports a failure, or that the end of the stream is one. A reason that the last
    /// error row has said is not repeated.
    pub(super) fn fail(&mut self, reason: &str) {
        let is_known = !reason.trim().is_empty() && reason.trim() == self.last_error;
        self.turn_end();
        if !is_known {
            self.error(reason);
        }
        self.finish(State::Failed);
    }

    fn finish(&mut self, state: State) {
        self.state = state;
        let task = match state {
            State::Running => "running",
            State::Completed => "completed",
            State::Failed => "failed",
        };
        self.status(task, "");
        self.report_usage();
    }

    /// Records that the stream has ended. The tool's own result stays, unless the process failed after
    /// it reported success.
    pub(super) fn end(&mut self, end: StreamEnd, seconds: i64) {
        let is_unknown_stream = self.known_lines == 0;
        let has_duration = self.used.duration_sec > 0;
        if !has_duration {
            self.used.duration_sec = seconds;
        }
        let mut open: Vec<String> = self.open_calls.keys().cloned().collect();
        open.retain(|call| !self.hosted_calls.contains(call));
        open.sort_unstable();
        for call in open {
            self.tool_result(&call, "", "no result", "");
        }
        match (self.state, end) {
            // Another program's output: only the exit code counts.
            (State::Running, StreamEnd::Exit(0)) if is_unknown_stream => self.finish(State::Completed),
            (State::Running, StreamEnd::Exit(0)) => self.fail("the program ended without a result"),
            (State::Running, StreamEnd::Eof) => self.fail("the stream ended without a result"),
            (State::Running | State::Completed, StreamEnd::Exit(code)) if code != 0 => {
                self.fail(&format!("exited with code {code}"));
            }
            (State::Running | State::Completed, StreamEnd::Signal(signal)) => {
                self.fail(&format!("ended by signal {signal}"));
            }
            (State::Completed, _) if !has_duration => self.report_usage(),
            _ => {}
        }
        // A status with a remark after the result must not reopen the task.
        if self.last_status_is_running {
            self.finish(self.state);
        }
    }

    fn push(&mut self, row: NewTaskEvent) {
        self.rows.push(StreamRow::Task(Box::new(row)));
    }

    /// Returns whether any line had a known type.
    pub(super) fn has_known_line(&self) -> bool {
        self.known_lines > 0
    }

    /// Counts a line of a known type.
    pub(super) fn count_known_line(&mut self) {
        self.known_lines += 1;
    }

    fn row(&self, stream_type: Kind) -> NewTaskEvent {
        NewTaskEvent {
            task_id: self.info.task_id.clone(),
            stream_type,
            turn_num: self.turn,
            agent_id: self.info.agent_id.clone(),
            source_type: self.tool.to_owned(),
            model: self.model.clone(),
            ..NewTaskEvent::default()
        }
    }
}

/// Returns `text`, truncated to [`MAX_TEXT`] bytes with a note.
pub fn truncate(text: &str) -> String {
    if text.len() <= MAX_TEXT {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(MAX_TEXT);
    format!("{}\n… (truncated, {} bytes in total)", &text[..end], text.len())
}
