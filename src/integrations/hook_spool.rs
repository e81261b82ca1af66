//! Events of hooks that could not be recorded in time: into the database's spool, and from there into
//! rows. Mail is not part of it: it stays unread, and a later hook delivers it.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::hook_handler::{self, HookEnvironment};
use super::registry;
use super::task_builder::MAX_TEXT;
use crate::error::{Code, Error, Result};
use crate::process::ProcessId;
use crate::store::{Spool, TakenEntries, Writer};

/// Maximum length of a spooled text in bytes: with its note, a row keeps all of it.
const MAX_SPOOLED_TEXT: usize = MAX_TEXT - 100;

/// An event in the spool.
#[derive(Debug, Serialize, Deserialize)]
struct SpooledEvent {
    /// The word after `agenthub hook`.
    tool: String,
    agent: Option<String>,
    pid: Option<i64>,
    #[serde(default)]
    process: Option<ProcessId>,
    #[serde(default)]
    terminal: Option<String>,
    /// When the event occurred, Unix milliseconds.
    at: i64,
    input: Value,
}

/// Returns whether the event of a failed hook can be recorded later: another process kept the lock, or the
/// disk is full.
pub fn is_recordable_later(code: Code) -> bool {
    matches!(code, Code::StoreLocked | Code::StoreFull | Code::StoreReplaced)
}

/// Adds an event to the spool of the database at `db`. Has no effect for a session that `agenthub run`
/// records.
///
/// # Errors
/// As [`Spool::add`].
pub fn add(db: &Path, tool: &str, mut input: Value, environment: &HookEnvironment) -> Result<()> {
    if environment.task.is_some() {
        return Ok(());
    }
    shorten(&mut input);
    let event = SpooledEvent {
        tool: tool.to_owned(),
        agent: environment.agent.clone(),
        pid: environment.pid,
        process: environment.process.clone(),
        terminal: environment.terminal.clone(),
        at: environment.now,
        input,
    };
    let json =
        serde_json::to_vec(&event).map_err(|e| Error::new(Code::Internal, "cannot encode the event").because(e))?;
    Spool::of(db).add(environment.now, &json)
}

/// Records all spooled events, in their order. Call [`TakenEntries::delete`] after the commit.
///
/// # Errors
/// A `Store…` code; nothing is recorded then.
pub fn take_in(writer: &Writer) -> Result<TakenEntries> {
    writer.take_spooled(|text| {
        let event: SpooledEvent =
            serde_json::from_str(text).map_err(|e| Error::new(Code::Invalid, format!("not an event: {e}")))?;
        let tool = registry::by_hook_word(&event.tool)
            .ok_or_else(|| Error::new(Code::Invalid, format!("unknown tool {:?}", event.tool)))?;
        let environment = HookEnvironment {
            agent: event.agent,
            pid: event.pid,
            process: event.process,
            terminal: event.terminal,
            now: event.at,
            ..HookEnvironment::default()
        };
        hook_handler::record_late(writer, tool, &event.input, &environment)
    })
}

/// As [`take_in`], for a command with other work to do: an error is only logged. The next writer tries
/// again, and doctor shows the spool.
pub fn take_in_first(writer: &Writer) {
    match take_in(writer) {
        Ok(taken) => taken.delete(),
        Err(error) => tracing::debug!("cannot take in the events of hooks: {error}"),
    }
}

/// Shortens all texts to what rows can keep of them.
fn shorten(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > MAX_SPOOLED_TEXT => {
            let note = format!("\n… (truncated, {} bytes in total)", text.len());
            text.truncate(text.floor_char_boundary(MAX_SPOOLED_TEXT));
            text.push_str(&note);
        }
        Value::Array(values) => values.iter_mut().for_each(shorten),
        Value::Object(fields) => fields.values_mut().for_each(shorten),
        _ => {}
    }
}
