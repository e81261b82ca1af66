//! What is remembered of a session between processes, in the column `sessions.transcript_state`: which streams of
//! it were recorded, and how far the tool's own record of it was read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::usage::{Recording, Usage};
use crate::error::{Code, Error, Result};
use crate::store::{Reader, TranscriptRow, Writer};

/// Maximum recordings of a session that are remembered. The oldest are forgotten.
const MAX_RECORDINGS: usize = 200;

/// The state of a session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionState {
    /// The streams of the session that were recorded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recordings: Vec<Recording>,
    /// How far the tool's own record was read, if hooks have named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transcript: Option<TranscriptState>,
}

/// How far the tool's own record of a session was read, and what it contained.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TranscriptState {
    /// The file.
    pub file: FilePosition,
    /// The further files of the session, by their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub further_files: BTreeMap<String, FilePosition>,
    /// The file had content before the first line that was read, so totals in it are those of other turns too.
    pub is_earlier_unknown: bool,
    /// The session's totals.
    pub totals: Usage,
    /// Some of the usage is not in the cost.
    pub has_unpriced_use: bool,
    /// The part of `totals` that is in `turn_end` rows.
    pub in_turn_rows: Usage,
    /// The totals in the last telemetry row.
    pub recorded: Usage,
    /// The last messages and their usage, the newest last: further lines of a message have the same usage.
    pub messages: Vec<(String, Usage)>,
    /// The model.
    pub model: String,
    /// Lines with usage.
    pub lines_with_usage: u64,
    /// Lines that should have usage and do not.
    pub lines_without_usage: u64,
    /// Turns that ended.
    pub ended_turns: u64,
}

/// How far a file was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FilePosition {
    /// Bytes that were read.
    pub bytes: u64,
    /// The line there is the rest of one that is not read.
    pub is_in_skipped_line: bool,
}

impl TranscriptState {
    /// Returns whether the format seems to have changed: most lines that should have usage have none, or several
    /// turns ended without any usage.
    pub fn is_format_unknown(&self) -> bool {
        self.lines_without_usage > self.lines_with_usage
            || self.lines_with_usage == 0 && self.ended_turns >= 3 && self.file.bytes > 0
    }
}

/// Returns a session's state and the row that it is stored in. A state of another version counts as none.
///
/// # Errors
/// A `Store…` code.
pub fn load(reader: &Reader, session: &str) -> Result<(TranscriptRow, SessionState)> {
    let row = reader.transcript(session)?.unwrap_or_else(|| TranscriptRow {
        session: session.to_owned(),
        ..TranscriptRow::default()
    });
    let state = serde_json::from_str(&row.state).unwrap_or_default();
    Ok((row, state))
}

/// Returns the sessions with a state and an event after `since` (Unix milliseconds), with their `sessions.id`: at most
/// 1000, the newest first.
///
/// # Errors
/// A `Store…` code.
pub fn list(reader: &Reader, since: i64) -> Result<Vec<(String, SessionState)>> {
    let rows = reader.transcripts(since)?.into_iter();
    let state = |row: TranscriptRow| Some((row.session, serde_json::from_str(&row.state).ok()?));
    Ok(rows.filter_map(state).collect())
}

/// Stores a session's state, in `row`.
///
/// # Errors
/// A `Store…` code.
pub fn save(writer: &Writer, row: TranscriptRow, state: &SessionState) -> Result<()> {
    let state =
        serde_json::to_string(state).map_err(|e| Error::new(Code::Internal, "cannot encode the state").because(e))?;
    writer.set_transcript(&TranscriptRow { state, ..row })
}

/// Adds a recording to a session's state, in the caller's transaction.
///
/// # Errors
/// A `Store…` code.
pub fn add_recording(writer: &Writer, session: &str, recording: &Recording) -> Result<()> {
    let (row, mut state) = load(writer, session)?;
    if state.recordings.iter().any(|known| known.key == recording.key) {
        return Ok(());
    }
    if state.recordings.len() >= MAX_RECORDINGS {
        state.recordings.remove(0);
    }
    state.recordings.push(recording.clone());
    save(writer, row, &state)
}
