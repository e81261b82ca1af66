//! One task on its way into rows: what all vendors' streams have in common.
//!
//! For: numbering turns, pairing a tool's result with its call, cutting what is too long,
//! keeping totals, and ending what was begun.
//! Not for: any vendor's field names.

use std::collections::HashMap;

use super::{About, Ended, Row, Usage, Vendor};
use crate::config;
use crate::protocol::TaskStreamEventType as Kind;
use crate::store::{NewTask, NewTelemetry};

/// Bytes of one text in a row. The file takes 1 MiB; a page or a terminal shows far less,
/// and what a tool printed is in the vendor's own transcript.
pub const MAX_TEXT: usize = 256 << 10;
/// Characters of the directive's short form.
const DIRECTIVE: usize = 200;

/// How the task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Completed,
    Failed,
}

/// A task and the rows not yet handed on.
#[derive(Debug)]
pub(super) struct Task {
    vendor: Vendor,
    about: About,
    session: Option<String>,
    model: String,
    state: State,
    turn: i64,
    in_turn: bool,
    /// The tool behind each call without a result so far.
    calls: HashMap<String, String>,
    /// What the session used before this task.
    earlier: Usage,
    /// What this task has used.
    used: Usage,
    /// What its `turn_end` rows say it used.
    told: Usage,
    /// What its telemetry rows say that the session used.
    totals: Usage,
    /// Some of it was used since the vendor last said what everything cost.
    unpriced: bool,
    /// Lines that meant something.
    understood: u64,
    /// The last status row says that the task runs.
    shown_running: bool,
    /// The directive stands in a row already.
    directed: bool,
    rows: Vec<Row>,
}

impl Task {
    pub(super) fn new(vendor: Vendor, about: About) -> Self {
        Self {
            vendor,
            about,
            session: None,
            model: String::new(),
            state: State::Running,
            turn: 0,
            in_turn: false,
            calls: HashMap::new(),
            earlier: Usage::default(),
            used: Usage::default(),
            told: Usage::default(),
            totals: Usage::default(),
            unpriced: false,
            understood: 0,
            shown_running: false,
            directed: false,
            rows: Vec::new(),
        }
    }

    pub(super) fn take(&mut self) -> Vec<Row> {
        std::mem::take(&mut self.rows)
    }

    pub(super) fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    pub(super) fn earlier(&mut self, used: Usage) {
        self.earlier = used;
        self.usage("running");
    }

    pub(super) fn earlier_usage(&self) -> Usage {
        self.earlier
    }

    /// What the task has used so far.
    pub(super) fn used(&mut self) -> &mut Usage {
        &mut self.used
    }

    /// What has been used is not in the vendor's costs as yet.
    pub(super) fn has_no_price(&mut self) {
        self.unpriced = true;
    }

    /// The vendor has said what everything up to here cost.
    pub(super) fn has_its_price(&mut self) {
        self.unpriced = false;
    }

    /// The stream has named its session: from here on rows have an agent.
    pub(super) fn begin_session(&mut self, id: &str, model: &str, workspace: &str) {
        if id.is_empty() || self.session.is_some() {
            return;
        }
        self.session = Some(id.to_owned());
        self.model = model.to_owned();
        if self.about.agent_id.is_empty() {
            self.about.agent_id = config::session_agent(self.vendor.name(), id);
        }
        if !workspace.is_empty() {
            workspace.clone_into(&mut self.about.workspace);
        }
        self.status("running", "");
    }

    /// What the task is, if nothing said so before.
    pub(super) fn directive(&mut self, text: &str) {
        if self.about.directive.is_empty() && !text.is_empty() {
            text.clone_into(&mut self.about.directive);
            self.status("running", "");
        }
    }

    pub(super) fn model(&mut self, model: &str) {
        if !model.is_empty() {
            model.clone_into(&mut self.model);
        }
    }

    /// The model begins to work; a turn still open ends first, its use unknown.
    pub(super) fn turn_start(&mut self) {
        self.turn_end();
        if self.state != State::Running {
            self.state = State::Running;
            self.status("running", "");
        }
        self.turn += 1;
        self.in_turn = true;
        self.used.turns += 1;
        let row = self.row(Kind::TURN_START);
        self.push(row);
    }

    /// Opens a turn where the stream does not mark them.
    pub(super) fn turn_start_if_none(&mut self) {
        if !self.in_turn {
            self.turn_start();
        }
    }

    /// The turn is over: what has been used since the last one ended is its use.
    pub(super) fn turn_end(&mut self) {
        if !self.in_turn {
            return;
        }
        self.in_turn = false;
        let row = NewTask {
            tokens_in: (self.used.tokens_in - self.told.tokens_in).max(0),
            tokens_out: (self.used.tokens_out - self.told.tokens_out).max(0),
            cost: (self.used.cost.unwrap_or(0.0) - self.told.cost.unwrap_or(0.0)).max(0.0),
            ..self.row(Kind::TURN_END)
        };
        self.told = self.used;
        self.push(row);
    }

    pub(super) fn text(&mut self, text: &str, parent: &str) {
        if !text.is_empty() {
            let row = NewTask {
                text: clip(text),
                parent_call_id: parent.to_owned(),
                ..self.row(Kind::TEXT)
            };
            self.push(row);
        }
    }

    pub(super) fn tool_use(&mut self, call: &str, name: &str, input: &str, parent: &str) {
        self.calls.insert(call.to_owned(), name.to_owned());
        let row = NewTask {
            tool_name: name.to_owned(),
            tool_input: clip(input),
            call_id: call.to_owned(),
            parent_call_id: parent.to_owned(),
            ..self.row(Kind::TOOL_USE)
        };
        self.push(row);
    }

    /// Whether this call waits for its result.
    pub(super) fn is_called(&self, call: &str) -> bool {
        self.calls.contains_key(call)
    }

    pub(super) fn tool_result(&mut self, call: &str, output: &str, error: &str, parent: &str) {
        let row = NewTask {
            tool_name: self.calls.remove(call).unwrap_or_default(),
            tool_output: clip(output),
            error_msg: clip(error),
            call_id: call.to_owned(),
            parent_call_id: parent.to_owned(),
            ..self.row(Kind::TOOL_RESULT)
        };
        self.push(row);
    }

    pub(super) fn error(&mut self, message: &str) {
        let row = NewTask {
            error_msg: clip(if message.is_empty() { "unknown error" } else { message }),
            ..self.row(Kind::ERROR)
        };
        self.push(row);
    }

    /// How the task stands, in the file's words, with a remark.
    pub(super) fn status(&mut self, status: &str, remark: &str) {
        // Once is enough: it may be long.
        let directive = if std::mem::replace(&mut self.directed, !self.about.directive.is_empty()) {
            String::new()
        } else {
            self.about.directive.clone()
        };
        self.shown_running = status == "running";
        let row = NewTask {
            status: status.to_owned(),
            text: clip(remark),
            directive: directive.chars().take(DIRECTIVE).collect(),
            directive_full: clip(&directive),
            workspace: self.about.workspace.clone(),
            ..self.row(Kind::STATUS)
        };
        self.push(row);
    }

    /// The session's totals as they are now. A row with less than the one before would say
    /// that the count began anew: what a correction or a broken stream takes back stays.
    pub(super) fn usage(&mut self, status: &str) {
        let Some(session) = &self.session else { return };
        self.totals = self.totals.raised_to(self.earlier.and(self.used));
        let totals = self.totals;
        // A cost is the price of all tokens beside it.
        let cost = totals.cost.filter(|_| !self.unpriced);
        self.rows.push(Row::Usage(Box::new(NewTelemetry {
            instance_id: session.clone(),
            pid: self.about.pid,
            turns: Some(totals.turns),
            tokens_in: Some(totals.tokens_in),
            tokens_out: Some(totals.tokens_out),
            cost,
            status: Some(status.to_owned()),
            duration_sec: Some(totals.duration_sec),
            agent_id: Some(self.about.agent_id.clone()),
            model: Some(self.model.clone()).filter(|m| !m.is_empty()),
            // A part of them, whatever the stream says.
            tokens_cached: Some(totals.tokens_cached.min(totals.tokens_in)),
            cost_source: Some(if cost.is_some() { "reported" } else { "unknown" }.to_owned()),
        })));
    }

    /// The vendor says that all went well.
    pub(super) fn complete(&mut self) {
        self.turn_end();
        self.settle(State::Completed);
    }

    /// The vendor, or the end of the stream, says that it did not.
    pub(super) fn fail(&mut self, why: &str) {
        self.turn_end();
        self.error(why);
        self.settle(State::Failed);
    }

    fn settle(&mut self, state: State) {
        self.state = state;
        let (task, usage) = match state {
            State::Running => ("running", "running"),
            State::Completed => ("completed", "completed"),
            State::Failed => ("failed", "error"),
        };
        self.status(task, "");
        self.usage(usage);
    }

    /// The stream is over. A task that its vendor has settled stays so, unless the process
    /// failed all the same.
    pub(super) fn end(&mut self, ended: Ended, seconds: i64) {
        let silent = self.understood == 0;
        let timed = self.used.duration_sec > 0;
        if !timed {
            self.used.duration_sec = seconds;
        }
        let mut unanswered: Vec<String> = self.calls.keys().cloned().collect();
        unanswered.sort_unstable();
        for call in unanswered {
            self.tool_result(&call, "", "no result came", "");
        }
        match (self.state, ended) {
            (State::Running, Ended::Exit(0)) if silent => self.settle(State::Completed),
            (State::Running, Ended::Exit(0)) => self.fail("it ended before its result"),
            (State::Running, Ended::Cut) => self.fail("the stream ended before its result"),
            (State::Running | State::Completed, Ended::Exit(code)) if code != 0 => {
                self.fail(&format!("it exited with code {code}"));
            }
            (State::Running | State::Completed, Ended::Signal(signal)) => {
                self.fail(&format!("signal {signal} ended it"));
            }
            (State::Completed, _) if !timed => self.usage("completed"),
            _ => {}
        }
        // A remark after the result does not open the task again.
        if self.shown_running {
            self.settle(self.state);
        }
    }

    fn push(&mut self, row: NewTask) {
        self.rows.push(Row::Task(Box::new(row)));
    }

    /// A line of the stream that meant something.
    pub(super) fn understood(&mut self) {
        self.understood += 1;
    }

    fn row(&self, stream_type: Kind) -> NewTask {
        NewTask {
            task_id: self.about.task_id.clone(),
            stream_type,
            turn_num: self.turn,
            agent_id: self.about.agent_id.clone(),
            source_type: self.vendor.name().to_owned(),
            model: self.model.clone(),
            ..NewTask::default()
        }
    }
}

/// `text`, cut to what a row should hold, saying so.
pub fn clip(text: &str) -> String {
    if text.len() <= MAX_TEXT {
        return text.to_owned();
    }
    let mut at = MAX_TEXT;
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    format!("{}\n… (cut: {} bytes in all)", &text[..at], text.len())
}
