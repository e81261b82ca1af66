//! Converts one tool's JSON stream, line by line, into rows.
//!
//! 1. Each line yields its rows at once. This module uses no clock, file or process.
//! 2. Lines that are not JSON objects, or of an unknown type, are skipped: tools add types with
//!    each version. [`Stream::end`] ends the task regardless of what the stream contained.
//! 3. Input tokens include cached ones, regardless of the tool's own definition. A cost is the one
//!    that the tool reports; agenthub computes none here.
//! 4. If no line was understood, [`Stream::unknown_content`] says what the stream seems to be.

use std::path::PathBuf;

use serde_json::Value;

use super::spec::{Integration, LateTranscript, StreamParser, StreamSpec};
use super::task_builder::{StreamEnd, StreamRow, TaskBuilder, TaskInfo};
use super::unknown_content::UnknownContent;
use super::usage::{Recording, SessionHistory};
use crate::text::lenient_json;

/// The source of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamSource {
    /// A program that runs. Its task is recorded even if no line of its output is understood.
    Program,
    /// Recorded output. Its task begins with the first line that is understood.
    Input,
}

/// A stream that is being parsed.
#[derive(Debug)]
pub struct Stream {
    source: StreamSource,
    tool: &'static Integration,
    task: TaskBuilder,
    parser: Box<dyn StreamParser>,
    unknown: UnknownContent,
}

impl Stream {
    /// Creates a parser for a stream of `tool`.
    pub fn new(tool: &'static Integration, spec: &StreamSpec, source: StreamSource, info: TaskInfo) -> Self {
        Self {
            source,
            tool,
            task: TaskBuilder::new(tool.id, tool.context_tags, info),
            parser: (spec.parser)(),
            unknown: UnknownContent::default(),
        }
    }

    /// Returns the rows of a task that begins.
    pub fn begin(&mut self) -> Vec<StreamRow> {
        self.task.status("running", "");
        self.rows()
    }

    /// Returns the rows of one line, given without its line break.
    pub fn line(&mut self, line: &[u8]) -> Vec<StreamRow> {
        let value = lenient_json::parse(line);
        if let Some(value @ Value::Object(_)) = &value
            && !self.is_of_transcript(value)
        {
            self.parser.line(value, &mut self.task);
        }
        if !self.task.has_known_line() {
            self.unknown.add(line, value.as_ref());
        }
        self.rows()
    }

    /// Returns the session's id, once the stream has named it.
    pub fn session(&self) -> Option<&str> {
        self.task.session()
    }

    /// Returns the source of the stream.
    pub fn source(&self) -> StreamSource {
        self.source
    }

    /// Returns `sessions.id` of the session; empty before the stream has named it.
    pub fn session_key(&self) -> String {
        self.session()
            .map_or_else(String::new, |session| format!("{}-{session}", self.tool.id))
    }

    /// Returns the tool of the stream.
    pub fn tool(&self) -> &'static Integration {
        self.tool
    }

    /// Returns the agent's name; empty before it is known.
    pub fn agent(&self) -> &str {
        self.task.agent()
    }

    /// Returns how to find the usage, if the stream has none.
    fn late_transcript(&self) -> Option<&'static LateTranscript> {
        self.tool.transcript.as_ref()?.late.as_ref()
    }

    /// Returns whether hooks may have counted the usage of this stream: that of recorded output, or if the stream has
    /// none.
    pub fn is_counted_by_hooks(&self) -> bool {
        self.source == StreamSource::Input || self.late_transcript().is_some()
    }

    /// Returns the tool's own record of the session of a program, if the stream has no usage.
    pub fn record_with_usage(&self) -> Option<PathBuf> {
        let late = self
            .late_transcript()
            .filter(|_| self.source == StreamSource::Program)?;
        (late.of_session)(self.session()?)
    }

    /// Sets what is known of the session. Called once, when the session is known: rows contain the session's
    /// totals from then on.
    pub fn set_history(&mut self, history: SessionHistory) -> Vec<StreamRow> {
        self.task.set_history(history);
        self.rows()
    }

    /// Returns what identifies this recording, once, if it is a new one of its session.
    pub fn take_recording(&mut self) -> Option<Recording> {
        self.task.take_recording()
    }

    /// Returns the rows that end the task, `seconds` after it began.
    pub fn end(&mut self, end: StreamEnd, seconds: i64) -> Vec<StreamRow> {
        self.parser.end(&mut self.task);
        self.task.end(end, seconds);
        self.rows()
    }

    /// Returns what the stream seems to be, if no line was understood.
    pub fn unknown_content(&self) -> Option<&UnknownContent> {
        (!self.task.has_known_line()).then_some(&self.unknown)
    }

    /// Returns whether the line is one of the tool's own record of a session, which has other totals than the
    /// stream.
    fn is_of_transcript(&self, line: &Value) -> bool {
        self.tool
            .transcript
            .as_ref()
            .is_some_and(|transcript| (transcript.is_line)(line))
    }

    fn rows(&mut self) -> Vec<StreamRow> {
        match self.source {
            StreamSource::Input if !self.task.has_known_line() => Vec::new(),
            _ => self.task.take_rows(),
        }
    }
}
