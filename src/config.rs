//! Settings from flags and the environment: the path of the database, the identity of the caller,
//! and the limits. `cli` parses the command line; `hub` and `server` apply the limits.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use directories::ProjectDirs;
use serde::{Serialize, Serializer};

use crate::error::{Code, Error, Result};
use crate::protocol;

/// The limits of one hub. The defaults are those of AILANG's protocol ([`protocol`]); the protocol
/// has none for the last five. Times are serialized in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Maximum messages in one `batch`.
    pub max_batch_size: usize,
    /// Maximum `message` and `batch` frames per second and connection; 0 disables the limit.
    pub max_messages_per_second: u32,
    /// Changes kept in memory, and maximum unacknowledged messages per subscription.
    pub max_lag_messages: usize,
    /// Maximum time a client may take to accept a write.
    #[serde(rename = "write_wait_ms", serialize_with = "millis")]
    pub write_wait: Duration,
    /// Maximum time without a pong or message from a client.
    #[serde(rename = "pong_wait_ms", serialize_with = "millis")]
    pub pong_wait: Duration,
    /// Time between pings.
    #[serde(rename = "ping_period_ms", serialize_with = "millis")]
    pub ping_period: Duration,
    /// Maximum size of one message from a client, in bytes.
    pub max_message_size: usize,
    /// Time between checks of the database that need no file system event.
    #[serde(rename = "poll_interval_ms", serialize_with = "millis")]
    pub poll_interval: Duration,
    /// Maximum events per second from one client, with bursts of twice as many; 0 disables the limit.
    pub max_events_per_second: u32,
    /// Maximum telemetry events per second and instance.
    pub telemetry_per_second: u32,
    /// Maximum `thread_state` events per second and thread.
    pub thread_states_per_second: u32,
    /// Maximum array frames per second and connection.
    pub array_frames_per_second: u32,
    /// Maximum simultaneous connections.
    pub max_connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_batch_size: protocol::MAX_BATCH_SIZE,
            max_messages_per_second: protocol::MAX_MESSAGES_PER_SECOND,
            max_lag_messages: protocol::MAX_LAG_MESSAGES,
            write_wait: protocol::WRITE_WAIT,
            pong_wait: protocol::PONG_WAIT,
            ping_period: protocol::PING_PERIOD,
            max_message_size: protocol::MAX_MESSAGE_SIZE,
            poll_interval: protocol::POLL_INTERVAL,
            max_events_per_second: 100,
            telemetry_per_second: 4,
            thread_states_per_second: 10,
            array_frames_per_second: 20,
            max_connections: 1024,
        }
    }
}

fn millis<S: Serializer>(duration: &Duration, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// Returns the absolute path of the database: `given` (from `--db` or `AGENTHUB_DB`), or `hub.db` in
/// the user's data directory. The file need not exist.
///
/// # Errors
/// [`Code::Usage`] if `given` is empty, if the path is not UTF-8, or if nothing is given and the user
/// has no home directory.
pub fn db_path(given: Option<&Path>) -> Result<PathBuf> {
    let path = match given {
        Some(path) if path.as_os_str().is_empty() => {
            return Err(Error::new(
                Code::Usage,
                "the path of the database is empty; set it with --db or AGENTHUB_DB",
            ));
        }
        Some(path) => path.to_owned(),
        None => ProjectDirs::from("", "", "agenthub")
            .map(|dirs| dirs.data_dir().join("hub.db"))
            .ok_or_else(|| {
                Error::new(
                    Code::Usage,
                    "cannot find the home directory; set the path of the database with --db or AGENTHUB_DB",
                )
            })?,
    };
    let path = std::path::absolute(&path).map_err(|e| {
        Error::new(
            Code::Usage,
            format!("cannot resolve {}: {e}; set an absolute path with --db", path.display()),
        )
        .because(e)
    })?;
    // The paths of the log, the token and the serve lock are derived from this path, so every process must
    // use the same one, also through a symbolic link.
    let path = std::fs::canonicalize(&path).unwrap_or(path);
    if path.to_str().is_none() {
        // Printed and stored as text, it would name another file.
        let message = format!(
            "cannot use {}: the path is not UTF-8; choose another one with --db",
            path.display()
        );
        return Err(Error::new(Code::Usage, message));
    }
    Ok(path)
}

/// Returns whether commands without `--db` use the database at `path`.
pub fn is_default_db(path: &Path) -> bool {
    let default = env::var_os("AGENTHUB_DB").map(PathBuf::from);
    db_path(default.as_deref()).is_ok_and(|default| default == path)
}

/// The inbox of the person in front of the screen.
pub const HUMAN: &str = "human";

/// Session variables of the agents' own tools, in the order they are looked at: a process
/// started by such a tool speaks for that session unless told otherwise.
const SESSION_VARIABLES: &[(&str, &str)] = &[
    ("CLAUDE_CODE_SESSION_ID", "claude"),
    ("CODEX_THREAD_ID", "codex"),
    ("GEMINI_SESSION_ID", "gemini"),
];

/// The variables by which agents' tools tell the processes they start whose session it is.
pub fn session_variables() -> impl Iterator<Item = &'static str> {
    SESSION_VARIABLES.iter().map(|(name, _)| *name)
}

/// Who is speaking: `given` (from `--from` or `--as`), the [`name`] this process has been given,
/// the session of the agent's tool around it, or the human.
pub fn identity(given: Option<&str>) -> String {
    declared_identity(given).unwrap_or_else(|| HUMAN.to_owned())
}

/// As [`identity`], but `None` if nobody has said who is speaking.
pub fn declared_identity(given: Option<&str>) -> Option<String> {
    given.map(str::to_owned).or_else(name).or_else(session_around)
}

/// The name that this process has been given: `AGENTHUB_AGENT`, unless that is whom `agenthub
/// run` has started, and this process belongs to another tool that was started in turn.
pub fn name() -> Option<String> {
    variable("AGENTHUB_AGENT").filter(|_| session_within_run().is_none())
}

/// As [`name`], of a process that is known to belong to `tool`.
pub fn name_in(tool: &str) -> Option<String> {
    variable("AGENTHUB_AGENT").filter(|_| run_of().is_none_or(|of| of == tool))
}

/// Whose program `agenthub run` has started around this process, if it has.
pub fn run_of() -> Option<String> {
    variable("AGENTHUB_TASK_VENDOR")
}

/// The name of the session of the agent's tool around this process.
pub fn session_around() -> Option<String> {
    session_within_run()
        .or_else(|| sessions().next())
        .map(|(tool, session)| session_agent(tool, &session))
}

fn sessions() -> impl Iterator<Item = (&'static str, String)> {
    SESSION_VARIABLES
        .iter()
        .filter_map(|(name, tool)| Some((*tool, variable(name)?)))
}

/// The session of another tool than the one that `agenthub run` has started. (It starts that
/// without any session around it.)
fn session_within_run() -> Option<(&'static str, String)> {
    let of = run_of()?;
    sessions().find(|(tool, _)| *tool != of)
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The name of the agent in this session of `tool`, unless it has been given one.
pub fn session_agent(tool: &str, session: &str) -> String {
    format!("{tool}-{}", short_session(session))
}

/// Eight characters that tell a session from others: the first, but the last of an id that
/// begins with the time, as UUIDs of version 7 do. Theirs are the same for a minute.
fn short_session(session: &str) -> &str {
    let parts: Vec<&str> = session.split('-').collect();
    let by_time = parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]) && parts[2].starts_with('7');
    let mut ends = session.char_indices().map(|(at, _)| at);
    if by_time {
        let at = ends.nth_back(7).unwrap_or(0);
        return &session[at..];
    }
    let end = ends.nth(8).unwrap_or(session.len());
    &session[..end]
}

/// The `from_type` of somebody with this name.
pub fn from_type(name: &str) -> &'static str {
    if name == HUMAN { "human" } else { "agent" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_that_begin_together_have_names_of_their_own() {
        assert_eq!(
            session_agent("codex", "019ab3c4-0001-7d50-8000-00000000000a"),
            "codex-0000000a"
        );
        assert_eq!(
            session_agent("codex", "019ab3c4-9999-7d50-8000-00000000000b"),
            "codex-0000000b"
        );
        assert_eq!(
            session_agent("claude", "0f6c1c1e-0001-4d50-8000-00000000000a"),
            "claude-0f6c1c1e"
        );
        assert_eq!(session_agent("codex", "s"), "codex-s");
        assert_eq!(session_agent("codex", "ünïcode-ünïcode"), "codex-ünïcode-");
        assert_eq!(
            session_agent("codex", "éééé-9999-7d50-8000-000000üüü"),
            "codex-00000üüü"
        );
    }
}
