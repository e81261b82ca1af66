//! Reads the tokens of a session from the tool's own record of it, whose path is in the input of its hooks, or from
//! that input itself.
//!
//! 1. Each hook at the beginning or end of a turn reads the lines that were added since the last one, at most
//!    [`MAX_READ`] bytes. More is left to the next hook.
//! 2. A record that is longer than that when a hook first sees it is counted from its end: its earlier usage stays
//!    unknown. So is one of a session that `agenthub run` has recorded: telemetry has its usage.
//! 3. A session may have further files: those of its subagents.
//! 4. Only whole lines are read. The file is never written or locked. Anything but a regular file of this user
//!    is refused, and so is the database: closing it would drop SQLite's locks.
//! 5. A tool may write the file while its hook runs: that hook waits for it, for a short time. The usage of a stream
//!    without any is read when the program has ended.
//! 6. The file is read before the transaction that stores its usage. If another hook has stored more in the
//!    meantime, this one stores nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use serde_json::Value;

use super::json_fields::text;
use super::session_state::{self, FilePosition, SessionState, TranscriptState};
use super::spec::{EventKind, Integration, LateTranscript, TranscriptEntry, TranscriptSpec};
use super::usage::Usage;
use crate::error::Result;
use crate::fs::beside::beside;
use crate::store::{Identity, NewTelemetry, TelemetryRow, TranscriptRow, Writer};
use crate::text::lenient_json;

/// Maximum bytes that one hook reads, of all files together.
pub const MAX_READ: u64 = 4 << 20;
/// Messages whose usage is remembered. Those of parallel subagents alternate.
const MAX_MESSAGES: usize = 32;
/// Further files of a session whose position is remembered. The usage of more is not counted.
const MAX_FILES: usize = 500;
/// Maximum bytes of the id of a message and of the name of a model or file.
const MAX_NAME: usize = 200;
/// Maximum time that a hook waits for a record that the tool writes late. The tool and the user wait during that time.
const MAX_WAIT: Duration = Duration::from_millis(200);
/// Time between two looks at such a record.
const CHECK: Duration = Duration::from_millis(5);
/// Bytes at the end of a record that show whether it is written.
const LAST_PART: u64 = 8 << 10;

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
    let is_read = ends_turn(event)
        || matches!(
            event,
            EventKind::SessionStart | EventKind::Prompt | EventKind::StopFailure | EventKind::SessionEnd
        );
    // A subagent's hooks name the record of the subagent.
    if !is_read || !text(input, "agent_id").is_empty() {
        return Ok(None);
    }
    let (row, stored) = session_state::load(writer, session.id)?;
    // Some hooks of a tool may not name the record.
    let named = text(input, "transcript_path");
    let path = match (named, row.path.as_str()) {
        ("", "") => found_record(session).unwrap_or_default(),
        ("", known) => known.to_owned(),
        _ => named.to_owned(),
    };
    let record = session.tool.transcript.as_ref().filter(|_| !path.is_empty());
    let usage = session.tool.hooks.as_ref().map(|hooks| hooks.fields.usage);
    let messages = usage.map_or_else(Vec::new, |usage| usage(input));
    if record.is_none() && messages.is_empty() {
        return Ok(None);
    }
    if let Some(late) = record
        .and_then(|record| record.late.as_ref())
        .filter(|_| event == EventKind::Stop)
    {
        wait_for_turn(late, Path::new(&path), writer.path());
    }
    let source = Source {
        record,
        path: &path,
        messages,
    };
    add_usage(writer, session, event, source, (row, stored))
}

/// Returns the record of a session of a tool whose hooks do not name it, if the tool has written it.
fn found_record(session: HookSession<'_>) -> Option<String> {
    let late = session.tool.transcript.as_ref()?.late.as_ref()?;
    let path = (late.of_session)(session.instance)?;
    path.is_file().then(|| path.to_str().map(str::to_owned))?
}

/// Where the usage is found.
struct Source<'a> {
    /// The form of the tool's own record, if the tool has one.
    record: Option<&'a TranscriptSpec>,
    /// Its path; empty without one.
    path: &'a str,
    /// What the input of the hook says.
    messages: Vec<TranscriptEntry>,
}

/// Reads the new part of the record at `path` of a session that has ended. Returns `None` if there is nothing to
/// store.
///
/// # Errors
/// A `Store…` code.
pub fn read_ended(writer: &Writer, session: HookSession<'_>, path: &Path) -> Result<Option<NewUsage>> {
    let (Some(spec), Some(path)) = (&session.tool.transcript, path.to_str()) else {
        return Ok(None);
    };
    let stored = session_state::load(writer, session.id)?;
    let source = Source {
        record: Some(spec),
        path,
        messages: Vec::new(),
    };
    add_usage(writer, session, EventKind::SessionEnd, source, stored)
}

fn ends_turn(event: EventKind) -> bool {
    matches!(event, EventKind::Stop | EventKind::Interrupt)
}

/// Waits until the tool has written the turn that ends into its record, at most [`MAX_WAIT`].
fn wait_for_turn(late: &LateTranscript, path: &Path, db: &Path) {
    let begun = Instant::now();
    while begun.elapsed() < MAX_WAIT {
        if open(path, db).is_some_and(|mut file| (late.has_turn)(&last_part(&mut file))) {
            return;
        }
        #[expect(clippy::disallowed_methods, reason = "a hook has nothing else to do meanwhile")]
        thread::sleep(CHECK);
    }
}

/// Returns the last part of the file, of at most [`LAST_PART`] bytes.
fn last_part(file: &mut File) -> String {
    let mut bytes = Vec::new();
    let begin = length_of(file).saturating_sub(LAST_PART);
    let read = file
        .seek(SeekFrom::Start(begin))
        .and_then(|_| file.take(LAST_PART).read_to_end(&mut bytes));
    read.map_or_else(|_| String::new(), |_| String::from_utf8_lossy(&bytes).into_owned())
}

/// Adds the usage in `source` to what `row` and `stored` say was found before.
fn add_usage(
    writer: &Writer,
    session: HookSession<'_>,
    event: EventKind,
    Source { record, path, messages }: Source<'_>,
    (row, stored): (TranscriptRow, SessionState),
) -> Result<Option<NewUsage>> {
    let recorded = writer.totals(session.instance)?;
    let before = stored.transcript;
    let mut transcript = before.clone().unwrap_or_default();
    let is_same_file = row.path == path && before.is_some();
    let is_counted_elsewhere = recorded.as_ref().is_some_and(|row| is_other(row, &transcript));
    // The records of a session in two files may have the same lines.
    let content = match &before {
        _ if is_counted_elsewhere => Content::Counted,
        None => Content::New,
        Some(_) if is_same_file => Content::Continued,
        Some(_) => Content::Counted,
    };
    if let Some(spec) = record {
        let files = Files {
            spec,
            path: Path::new(path),
            db: writer.path(),
        };
        files.read_new(&mut transcript, content);
    }
    if is_counted_elsewhere {
        transcript.totals = transcript
            .totals
            .max(recorded.as_ref().map_or_else(Usage::default, Usage::of_row));
        transcript.in_turn_rows = transcript.totals;
        transcript.recorded = transcript.totals;
    }
    for message in messages {
        count_entry(message, &mut transcript);
    }
    let mut turn = Usage::default();
    if ends_turn(event) {
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
        created_at: None,
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

/// What is known of the content of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// Nothing.
    New,
    /// The part before the position was read.
    Continued,
    /// It is counted already.
    Counted,
}

/// The files of a session.
#[derive(Debug, Clone, Copy)]
struct Files<'a> {
    spec: &'a TranscriptSpec,
    path: &'a Path,
    db: &'a Path,
}

impl Files<'_> {
    /// Counts the new lines of all files, the main one first; none if they are counted already, or if the main
    /// file was replaced or is long and new.
    fn read_new(self, transcript: &mut TranscriptState, content: Content) {
        let Some(mut file) = open(self.path, self.db) else {
            return;
        };
        let length = length_of(&file);
        let is_long = content == Content::New && length > MAX_READ;
        if content == Content::Counted || is_long || length < transcript.file.bytes {
            transcript.file = end_of(&mut file);
            transcript.is_earlier_unknown = length > 0;
            transcript.messages.clear();
            self.skip_further(transcript);
            return;
        }
        let mut left = MAX_READ;
        let mut at = transcript.file;
        let has_totals = read_lines(&mut file, self.spec, &mut left, &mut at, transcript);
        transcript.file = at;
        if has_totals {
            // The totals include them.
            self.skip_further(transcript);
        } else {
            self.read_further(&mut left, transcript);
        }
    }

    fn read_further(self, left: &mut u64, transcript: &mut TranscriptState) {
        for path in (self.spec.further_files)(self.path) {
            let Some(name) = file_name(&path) else { continue };
            let mut at = transcript.further_files.get(&name).copied().unwrap_or_default();
            let is_read = fs::metadata(&path).is_ok_and(|file| file.len() == at.bytes);
            let is_known = transcript.further_files.contains_key(&name);
            if is_read || *left == 0 || !is_known && transcript.further_files.len() >= MAX_FILES {
                continue;
            }
            if let Some(mut file) = open(&path, self.db) {
                read_lines(&mut file, self.spec, left, &mut at, transcript);
                transcript.further_files.insert(name, at);
            }
        }
    }

    fn skip_further(self, transcript: &mut TranscriptState) {
        for path in (self.spec.further_files)(self.path) {
            if let (Some(name), Some(mut file)) = (file_name(&path), open(&path, self.db))
                && transcript.further_files.len() < MAX_FILES
            {
                transcript.further_files.insert(name, end_of(&mut file));
            }
        }
    }
}

fn file_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    (name.len() <= MAX_NAME).then(|| name.to_owned())
}

fn length_of(file: &File) -> u64 {
    file.metadata().map_or(0, |file| file.len())
}

/// Returns the end of the file. The rest of a line that has begun is not read.
fn end_of(file: &mut File) -> FilePosition {
    let bytes = length_of(file);
    FilePosition {
        bytes,
        is_in_skipped_line: bytes > 0 && last_byte(file, bytes) != Some(b'\n'),
    }
}

fn last_byte(file: &mut File, length: u64) -> Option<u8> {
    let mut byte = [0];
    file.seek(SeekFrom::Start(length - 1)).ok()?;
    file.read_exact(&mut byte).ok()?;
    Some(byte[0])
}

/// Counts the lines after `at`, of at most `left` bytes. Returns whether one had the session's totals.
fn read_lines(
    file: &mut File,
    spec: &TranscriptSpec,
    left: &mut u64,
    at: &mut FilePosition,
    transcript: &mut TranscriptState,
) -> bool {
    let mut bytes = Vec::new();
    let read = file
        .seek(SeekFrom::Start(at.bytes))
        .and_then(|_| file.take(*left).read_to_end(&mut bytes));
    if read.is_err() {
        return false;
    }
    let length = u64::try_from(bytes.len()).unwrap_or(0);
    *left -= length.min(*left);
    let mut has_totals = false;
    let mut rest = &bytes[..];
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        if !std::mem::take(&mut at.is_in_skipped_line) {
            has_totals |= count_line(&rest[..end], spec, transcript);
        }
        rest = &rest[end + 1..];
    }
    let mut consumed = bytes.len() - rest.len();
    // A line without an end may be incomplete. One that is longer than a read is skipped.
    if at.is_in_skipped_line || consumed == 0 && length == MAX_READ {
        at.is_in_skipped_line = true;
        consumed = bytes.len();
    }
    at.bytes += u64::try_from(consumed).unwrap_or(0);
    has_totals
}

/// Counts a line. Returns whether it had the session's totals.
fn count_line(line: &[u8], spec: &TranscriptSpec, transcript: &mut TranscriptState) -> bool {
    let line_text = String::from_utf8_lossy(line);
    if !spec.marks.iter().any(|mark| line_text.contains(mark)) {
        return false;
    }
    let entry = lenient_json::parse(line).and_then(|line| (spec.entry)(&line));
    entry.is_some_and(|entry| count_entry(entry, transcript))
}

/// Counts an entry. Returns whether it had the session's totals.
fn count_entry(entry: TranscriptEntry, transcript: &mut TranscriptState) -> bool {
    match entry {
        TranscriptEntry::Missing => transcript.lines_without_usage += 1,
        TranscriptEntry::Turn => transcript.totals.turns += 1,
        TranscriptEntry::Model(model) => set_model(&model, transcript),
        TranscriptEntry::Totals { usage, last } => return count_totals(usage, last, transcript),
        TranscriptEntry::Message { id, .. } if id.len() > MAX_NAME => transcript.lines_without_usage += 1,
        TranscriptEntry::Message { id, usage, model } => {
            transcript.lines_with_usage += 1;
            if usage.turns > 0 {
                set_model(&model, transcript);
            }
            count_message(id, usage, transcript);
        }
    }
    false
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
        transcript.has_unpriced_use |= new.cost.is_none();
    }
    if transcript.messages.len() >= MAX_MESSAGES {
        transcript.messages.remove(0);
    }
    transcript.messages.push((id, usage));
}

/// Takes the totals of the session, and returns whether it did: totals that are smaller than those known are of a
/// part of it.
fn count_totals(usage: Usage, last: Usage, transcript: &mut TranscriptState) -> bool {
    transcript.lines_with_usage += 1;
    let known = transcript.totals;
    let is_whole = usage.tokens_in >= known.tokens_in && usage.tokens_out >= known.tokens_out;
    if is_whole {
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
    is_whole
}
