//! Converts one tool's JSON stream, line by line, into rows.
//!
//! 1. Each line yields its rows at once. This module uses no clock, file or process.
//! 2. Lines that are not JSON objects, or of an unknown type, are skipped: tools add types with
//!    each version. [`Stream::end`] ends the task regardless of what the stream contained.
//! 3. Input tokens include cached ones, regardless of the tool's own definition. A cost is the one
//!    that the tool reports; agenthub computes none here.

use serde_json::Value;

use super::spec::{Integration, StreamParser, StreamSpec};
use super::task_builder::{StreamEnd, StreamRow, TaskBuilder, TaskInfo};
use super::usage::Usage;
use crate::text::lenient_json;

/// A stream that is being parsed.
#[derive(Debug)]
pub struct Stream {
    task: TaskBuilder,
    parser: Box<dyn StreamParser>,
}

impl Stream {
    /// Creates a parser for a stream of `tool`.
    pub fn new(tool: &'static Integration, spec: &StreamSpec, info: TaskInfo) -> Self {
        Self {
            task: TaskBuilder::new(tool.id, info),
            parser: (spec.parser)(),
        }
    }

    /// Returns the rows of a task that begins.
    pub fn begin(&mut self) -> Vec<StreamRow> {
        self.task.status("running", "");
        self.task.take_rows()
    }

    /// Returns the rows of one line, given without its line break.
    pub fn line(&mut self, line: &[u8]) -> Vec<StreamRow> {
        if let Some(value @ Value::Object(_)) = lenient_json::parse(line) {
            self.parser.line(&value, &mut self.task);
        }
        self.task.take_rows()
    }

    /// Returns the session's id, once the stream has named it.
    pub fn session(&self) -> Option<&str> {
        self.task.session()
    }

    /// Sets the session's usage before this stream began, for a resumed session. Called
    /// once, when the session is known: rows contain the session's totals from then on.
    pub fn set_previous_usage(&mut self, usage: Usage) -> Vec<StreamRow> {
        self.task.set_previous_usage(usage);
        self.task.take_rows()
    }

    /// Returns the rows that end the task, `seconds` after it began.
    pub fn end(&mut self, end: StreamEnd, seconds: i64) -> Vec<StreamRow> {
        self.parser.end(&mut self.task);
        self.task.end(end, seconds);
        self.task.take_rows()
    }
}
