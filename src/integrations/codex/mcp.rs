//! The session of an MCP call: all sessions of Codex can share one MCP server.

use serde_json::{Map, Value};

/// The `_meta` key of each call. Its `session_id` is that of the hooks, for subagents too
/// (openai/codex#15190, #21329).
const TURN_METADATA: &str = "x-codex-turn-metadata";
/// The `_meta` key with the thread, for versions without [`TURN_METADATA`] (openai/codex#18093).
/// Other clients may use the same key for something else.
const THREAD: &str = "threadId";

pub(super) fn session_of_call(meta: &Map<String, Value>, client: &str) -> Option<String> {
    let session = meta.get(TURN_METADATA).and_then(|turn| turn.get("session_id"));
    let thread = || meta.get(THREAD).filter(|_| client.starts_with("codex"));
    session
        .or_else(thread)
        .and_then(Value::as_str)
        .filter(|session| !session.is_empty())
        .map(str::to_owned)
}
