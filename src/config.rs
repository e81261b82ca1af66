//! Flags and environment, checked: what was typed becomes what can be used.
//!
//! For: where the file is, and the limits in force.
//! Not for: parsing the command line (`cli`), or the meaning of a limit (`hub`, `server`).

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use directories::ProjectDirs;
use serde::{Serialize, Serializer};

use crate::error::{Code, Error, Result};
use crate::protocol;

/// The constants of the protocol as this hub applies them. The defaults are the seed's,
/// or, where the seed has none, the contract's. Times are in milliseconds when serialised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Messages in one `batch`.
    pub max_batch_size: usize,
    /// `message` and `batch` frames a second and connection; 0 is no limit.
    pub max_messages_per_second: u32,
    /// Changes in the live tail, and unacknowledged messages before a pause.
    pub max_lag_messages: usize,
    /// Time a peer may take to accept a write.
    #[serde(rename = "write_wait_ms", serialize_with = "millis")]
    pub write_wait: Duration,
    /// Time without a sign of life after which a peer is gone.
    #[serde(rename = "pong_wait_ms", serialize_with = "millis")]
    pub pong_wait: Duration,
    /// Time between pings.
    #[serde(rename = "ping_period_ms", serialize_with = "millis")]
    pub ping_period: Duration,
    /// Bytes of one message from a client.
    pub max_message_size: usize,
    /// The poll underneath every faster way of noticing a commit.
    #[serde(rename = "poll_interval_ms", serialize_with = "millis")]
    pub poll_interval: Duration,
    /// Events a second from one client; twice as many at once.
    pub max_events_per_second: u32,
    /// Telemetry events a second of one instance.
    pub telemetry_per_second: u32,
    /// `thread_state` events a second of one thread.
    pub thread_states_per_second: u32,
    /// Array frames a second.
    pub array_frames_per_second: u32,
    /// Connections at a time.
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

/// Where the file is: `given` (from `--db` or `AGENTHUB_DB`), or the user's data folder.
///
/// # Errors
/// [`Code::Usage`] if there is neither, which is a user without a home.
pub fn db_path(given: Option<&Path>) -> Result<PathBuf> {
    let path = match given {
        Some(path) if path.as_os_str().is_empty() => {
            return Err(Error::new(
                Code::Usage,
                "the path of the database is empty; give one with --db or AGENTHUB_DB",
            ));
        }
        Some(path) => path.to_owned(),
        None => ProjectDirs::from("", "", "agenthub")
            .map(|dirs| dirs.data_dir().join("hub.db"))
            .ok_or_else(|| {
                Error::new(
                    Code::Usage,
                    "cannot find this user's home; say where the database is with --db or AGENTHUB_DB",
                )
            })?,
    };
    let path = std::path::absolute(&path)
        .map_err(|e| Error::new(Code::Usage, format!("cannot make {} absolute: {e}", path.display())).because(e))?;
    // One file has one name: what lies beside it (its log, its token, who serves it) is found by that.
    let path = std::fs::canonicalize(&path).unwrap_or(path);
    if path.to_str().is_none() {
        // It could not be told to anybody: what is printed would be another file's name.
        let message = format!(
            "cannot use {}: its path is not UTF-8; give another one with --db",
            path.display()
        );
        return Err(Error::new(Code::Usage, message));
    }
    Ok(path)
}

/// Whether commands that are given no path come to this one.
pub fn is_found_unasked(path: &Path) -> bool {
    let unasked = env::var_os("AGENTHUB_DB").map(PathBuf::from);
    db_path(unasked.as_deref()).is_ok_and(|unasked| unasked == path)
}

/// The name of the person's inbox.
pub const HUMAN: &str = "human";

/// Returns the `from_type` of a sender.
pub fn from_type(name: &str) -> &'static str {
    if name == HUMAN { "human" } else { "agent" }
}
