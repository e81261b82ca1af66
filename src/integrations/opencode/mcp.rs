//! The session of an MCP call: all sessions of a process share one MCP server.

use serde_json::{Map, Value};

use crate::integrations::spec::SESSION_ARGUMENT;

/// The client's name in OpenCode's calls.
const CLIENT: &str = "opencode";

/// Returns the session that the plugin has put into the call.
pub(super) fn session_of_call(meta: &Map<String, Value>, client: &str) -> Option<String> {
    let session = meta.get(SESSION_ARGUMENT).filter(|_| client == CLIENT)?;
    session.as_str().filter(|id| !id.is_empty()).map(str::to_owned)
}
