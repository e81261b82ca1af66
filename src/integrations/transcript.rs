//! Reads the tokens of a session from the tool's own record of it, whose path is in the input of its hooks.
//!
//! 1. Each hook at the beginning or end of a turn reads the lines that were added since the last one, at most
//!    [`MAX_READ`] bytes. More is left to the next hook.
//! 2. A record that is longer than that when a hook first sees it is counted from its end: its earlier usage stays
//!    unknown. So is one of a session that `agenthub run` has recorded: telemetry has its usage.
//! 3. Only whole lines are read. The file is never written or locked. Anything but a regular file of this user
//!    is refused, and so is the database: closing it would drop SQLite's locks.
//! 4. The file is read before the transaction that stores its usage. If another hook has stored more in the
//!    meantime, this one stores nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use serde_json::Value;

use super::json_fields::text;
use super::session_state::{self, TranscriptState};
use super::spec::{EventKind, Integration, TranscriptEntry, TranscriptSpec};
use super::usage::Usage;
use crate::error::Result;
use crate::fs::beside::beside;
use crate::store::{Identity, NewTelemetry, TelemetryRow, TranscriptRow, Writer};
use crate::text::lenient_json;

/// Maximum bytes that one hook reads.
pub const MAX_READ: u64 = 4 << 20;
/// Messages whose usage is remembered. Those of parallel subagents alternate.
const MAX_MESSAGES: usize = 32;
/// Maximum bytes of the id of a message and of the name of a model.
const MAX_NAME: usize = 200;

/// The session of a hook.
#[derive(Debug, Clone, Copy)]
pub struct HookSession<'a> {
    /// The tool.
    pub tool: &'a Integration,
    /// `sessions.id`.
    pub id: &'a str,
    /// The tool's id of the session, `telemetry.instance_id`.
    pub instance: &'a str,
    /// The agent's name.
    pub agent: &'a str,
    /// The tool's process id.
    pub pid: Option<i64>,
}

/// The usage that a hook has found, not stored yet.
#[derive(Debug, Clone, PartialEq)]
pub struct NewUsage {
    session: String,
    path: String,
    /// The state when this hook began to read.
    before: Option<TranscriptState>,
    state: TranscriptState,
    telemetry: Option<NewTelemetry>,
    /// The usage of the turn that ends; zeros if none ends.
    turn: Usage,
}

impl NewUsage {
    /// Stores the usage, in the caller's transaction, and returns that of the turn that ends. Does nothing if another
    /// hook has stored more in the meantime.
    ///
    /// # Errors
    /// A `Store…` code.
    pub fn store(&self, writer: &Writer) -> Result<Usage> {
        let (row, mut stored) = session_state::load(writer, &self.session)?;
        if stored.transcript != self.before {
            return Ok(Usage::default());
        }
        stored.transcript = Some(self.state.clone());
        let path = self.path.clone();
        session_state::save(writer, TranscriptRow { path, ..row }, &stored)?;
        if let Some(telemetry) = &self.telemetry {
            writer.record_telemetry(telemetry)?;
        }
        Ok(self.turn)
    }
}

/// Reads the new part of the session's record, if this event does. Returns `None` if there is nothing to store. A
/// file that cannot be read has no effect.
///
/// # Errors
/// A `Store…` code.
pub fn read(writer: &Writer, session: HookSession<'_>, event: EventKind, input: &Value) -> Result<Option<NewUsage>> {
    let Some(spec) = &session.tool.transcript else {
        return Ok(None);
    };
    let ends_turn = matches!(event, EventKind::Stop | EventKind::Interrupt);
    let is_read = ends_turn
        || matches!(
            event,
            EventKind::SessionStart | EventKind::Prompt | EventKind::StopFailure | EventKind::SessionEnd
        );
    let path = text(input, "transcript_path");
    // A subagent's hooks name the record of the subagent.
    if !is_read || path.is_empty() || !text(input, "agent_id").is_empty() {
        return Ok(None);
    }
    let (row, stored) = session_state::load(writer, session.id)?;
    let recorded = writer.totals(session.instance)?;
    let before = stored.transcript;
    let mut transcript = before.clone().unwrap_or_default();
    let is_same_file = row.path == path && before.is_some();
    let is_counted_elsewhere = recorded.as_ref().is_some_and(|row| is_other(row, &transcript));
    if let Some(mut file) = open(Path::new(path), writer.path()) {
        let length = file.metadata().map_or(0, |file| file.len());
        let starts_at_end = if is_same_file {
            length < transcript.position || is_counted_elsewhere
        } else {
            // The records of a session in two files may have the same lines.
            length > MAX_READ || before.is_some() || is_counted_elsewhere
        };
        if starts_at_end {
            start_at_end(&mut file, length, &mut transcript);
        } else if !is_same_file {
            transcript.position = 0;
        }
        read_lines(&mut file, spec, &mut transcript);
    }
    if is_counted_elsewhere {
        transcript.totals = transcript
            .totals
            .max(recorded.as_ref().map_or_else(Usage::default, Usage::of_row));
        transcript.in_turn_rows = transcript.totals;
        transcript.recorded = transcript.totals;
    }
    let mut turn = Usage::default();
    if ends_turn {
        turn = transcript.totals.minus(transcript.in_turn_rows);
        transcript.in_turn_rows = transcript.totals;
        transcript.ended_turns += 1;
    }
    let telemetry = (transcript.totals != transcript.recorded).then(|| {
        transcript.recorded = transcript.totals;
        let status = if event == EventKind::Prompt {
            "running"
        } else {
            "completed"
        };
        telemetry(session, &transcript, status)
    });
    if before.as_ref() == Some(&transcript) && is_same_file {
        return Ok(None);
    }
    Ok(Some(NewUsage {
        session: session.id.to_owned(),
        path: path.to_owned(),
        before,
        state: transcript,
        telemetry,
        turn,
    }))
}

/// Returns whether telemetry has other totals than those that hooks have stored: `agenthub run` has recorded the
/// session.
fn is_other(row: &TelemetryRow, transcript: &TranscriptState) -> bool {
    let (row, own) = (Usage::of_row(row), transcript.recorded);
    (row.tokens_in, row.tokens_out) != (own.tokens_in, own.tokens_out)
}

fn telemetry(session: HookSession<'_>, transcript: &TranscriptState, status: &str) -> NewTelemetry {
    let totals = transcript.totals;
    // The cost of a row is the price of all tokens in it.
    let cost = totals.cost.filter(|_| !transcript.has_unpriced_use);
    NewTelemetry {
        instance_id: session.instance.to_owned(),
        pid: session.pid,
        turns: Some(totals.turns),
        tokens_in: Some(totals.tokens_in),
        tokens_out: Some(totals.tokens_out),
        cost,
        status: Some(status.to_owned()),
        duration_sec: Some(totals.duration_sec).filter(|seconds| *seconds > 0),
        agent_id: Some(session.agent.to_owned()),
        model: Some(transcript.model.clone()).filter(|model| !model.is_empty()),
        tokens_cached: Some(totals.tokens_cached.min(totals.tokens_in)),
        cost_source: Some(if cost.is_some() { "reported" } else { "unknown" }.to_owned()),
    }
}

/// Opens a record, if it is a regular file of this user and not the database at `db`.
fn open(path: &Path, db: &Path) -> Option<File> {
    // Before it is opened: closing a file of the database would drop SQLite's locks.
    let identity = Identity::of(path)?;
    let is_database = ["", "-wal", "-shm", "-journal"]
        .into_iter()
        .any(|suffix| Identity::of(&beside(db, suffix)) == Some(identity));
    let is_usable = |file: &fs::Metadata| file.is_file() && file.uid() == rustix::process::geteuid().as_raw();
    if !path.is_absolute() || is_database || !is_usable(&fs::metadata(path).ok()?) {
        return None;
    }
    // A FIFO that replaces the file in the meantime must not block.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).ok()?)
        .open(path)
        .ok()?;
    let is_same = file.metadata().is_ok_and(|file| is_usable(&file)) && Identity::of(path) == Some(identity);
    is_same.then_some(file)
}

/// Continues at the end of the file. What is before it is counted elsewhere, or not at all.
fn start_at_end(file: &mut File, length: u64, transcript: &mut TranscriptState) {
    transcript.position = length;
    transcript.is_in_skipped_line = length > 0 && last_byte(file, length) != Some(b'\n');
    transcript.is_earlier_unknown = length > 0;
    transcript.messages.clear();
}

fn last_byte(file: &mut File, length: u64) -> Option<u8> {
    let mut byte = [0];
    file.seek(SeekFrom::Start(length - 1)).ok()?;
    file.read_exact(&mut byte).ok()?;
    Some(byte[0])
}

/// Reads the lines after `position`.
fn read_lines(file: &mut File, spec: &TranscriptSpec, transcript: &mut TranscriptState) {
    let mut bytes = Vec::new();
    let read = file
        .seek(SeekFrom::Start(transcript.position))
        .and_then(|_| file.take(MAX_READ).read_to_end(&mut bytes));
    if read.is_err() {
        return;
    }
    let is_full = u64::try_from(bytes.len()).is_ok_and(|read| read == MAX_READ);
    let mut rest = &bytes[..];
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = &rest[..end];
        if !std::mem::take(&mut transcript.is_in_skipped_line) {
            count_line(line, spec, transcript);
        }
        rest = &rest[end + 1..];
    }
    let mut consumed = bytes.len() - rest.len();
    // A line without an end may be incomplete. One that is longer than a read is skipped.
    if transcript.is_in_skipped_line || consumed == 0 && is_full {
        transcript.is_in_skipped_line = true;
        consumed = bytes.len();
    }
    transcript.position += u64::try_from(consumed).unwrap_or(0);
}

fn count_line(line: &[u8], spec: &TranscriptSpec, transcript: &mut TranscriptState) {
    let line_text = String::from_utf8_lossy(line);
    if !spec.marks.iter().any(|mark| line_text.contains(mark)) {
        return;
    }
    let entry = lenient_json::parse(line).and_then(|line| (spec.entry)(&line));
    match entry {
        None => {}
        Some(TranscriptEntry::Missing) => transcript.lines_without_usage += 1,
        Some(TranscriptEntry::Turn) => transcript.totals.turns += 1,
        Some(TranscriptEntry::Model(model)) => set_model(&model, transcript),
        Some(TranscriptEntry::Totals { usage, last }) => count_totals(usage, last, transcript),
        Some(TranscriptEntry::Message { id, .. }) if id.len() > MAX_NAME => transcript.lines_without_usage += 1,
        Some(TranscriptEntry::Message { id, usage, model }) => {
            transcript.lines_with_usage += 1;
            if usage.turns > 0 {
                set_model(&model, transcript);
            }
            count_message(id, usage, transcript);
        }
    }
}

fn set_model(model: &str, transcript: &mut TranscriptState) {
    if (1..=MAX_NAME).contains(&model.len()) {
        model.clone_into(&mut transcript.model);
    }
}

/// Adds the usage of a message, without the part that an earlier line of it had.
fn count_message(id: String, usage: Usage, transcript: &mut TranscriptState) {
    let known = transcript.messages.iter().position(|(known, _)| *known == id);
    let before = known.map_or_else(Usage::default, |at| transcript.messages.remove(at).1);
    let usage = usage.max(before);
    let new = usage.minus(before);
    if new != Usage::default() {
        transcript.totals = transcript.totals.plus(new);
        transcript.has_unpriced_use = true;
    }
    if transcript.messages.len() >= MAX_MESSAGES {
        transcript.messages.remove(0);
    }
    transcript.messages.push((id, usage));
}

/// Takes the totals of the session. Totals that are smaller than those known are of a part of it.
fn count_totals(usage: Usage, last: Usage, transcript: &mut TranscriptState) {
    transcript.lines_with_usage += 1;
    let known = transcript.totals;
    if usage.tokens_in >= known.tokens_in && usage.tokens_out >= known.tokens_out {
        transcript.totals = Usage {
            turns: known.turns,
            duration_sec: known.duration_sec,
            ..usage
        };
        transcript.has_unpriced_use = usage.cost.is_none();
    }
    if std::mem::take(&mut transcript.is_earlier_unknown) {
        let earlier = transcript.totals.minus(last);
        transcript.in_turn_rows = transcript.in_turn_rows.max(earlier);
    }
}
