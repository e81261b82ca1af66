//! Settings from flags and the environment: the path of the database, the port and the limits. `cli` parses the
//! command line; `hub` and `server` apply the limits.

use std::borrow::Cow;
use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use directories::ProjectDirs;
use serde::{Serialize, Serializer};
use unicode_normalization::UnicodeNormalization as _;

use crate::error::{Code, Error, Result};
use crate::protocol;
use crate::text::safe_text::is_hidden;

/// The port of a hub, unless another is given.
pub const DEFAULT_PORT: u16 = 4820;

/// The limits of one hub. The defaults are those of AILANG's protocol ([`protocol`]), which has none
/// for the last five. Times are serialized in milliseconds.
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
    /// Maximum simultaneous connections, without those that have not sent an authenticated request yet.
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
/// has no home directory or a relative one.
pub fn db_path(given: Option<&Path>) -> Result<PathBuf> {
    let path = match given {
        Some(path) if path.as_os_str().is_empty() => {
            return Err(Error::new(
                Code::Usage,
                "the path of the database is empty; set it with --db or AGENTHUB_DB",
            ));
        }
        Some(path) => path.to_owned(),
        None => {
            let dirs = ProjectDirs::from("", "", "agenthub").ok_or_else(|| {
                Error::new(
                    Code::Usage,
                    "cannot find the home directory; set the path of the database with --db or AGENTHUB_DB",
                )
            })?;
            if dirs.data_dir().is_relative() {
                return Err(relative_home());
            }
            dirs.data_dir().join("hub.db")
        }
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
        // Such a path, printed or stored as text, would name another file.
        let message = format!(
            "cannot use {}: the path is not UTF-8; choose another one with --db",
            path.display()
        );
        return Err(Error::new(Code::Usage, message));
    }
    Ok(path)
}

/// Returns the user's home directory, from `HOME`.
///
/// # Errors
/// [`Code::Usage`] if `HOME` is not set, is relative, or is not an existing directory.
pub fn home_directory() -> Result<PathBuf> {
    let home = env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    if home.as_ref().is_some_and(|home| home.is_relative()) {
        return Err(relative_home());
    }
    home.filter(|home| home.is_dir()).ok_or_else(|| {
        Error::new(
            Code::Usage,
            "cannot find the home directory; set HOME to an existing one",
        )
    })
}

/// Returns the error for a `HOME` that names another directory in each working directory.
fn relative_home() -> Error {
    let home = env::var_os("HOME").unwrap_or_default();
    Error::new(
        Code::Usage,
        format!("HOME is {home:?}, which is not an absolute path; set HOME to the absolute path of the home directory"),
    )
}

/// Returns whether commands without `--db` use the database at `path`. `variable`: the value of `AGENTHUB_DB`.
pub fn is_default_db(path: &Path, variable: Option<&Path>) -> bool {
    db_path(variable).is_ok_and(|default| default == path)
}

/// The name of the user's inbox, and of the user as a sender.
pub const HUMAN: &str = "human";

/// Returns whether a name is `human` or looks like it: case, blanks around it and hidden characters do not
/// count.
pub fn is_human(name: &str) -> bool {
    let visible: String = name.chars().filter(|c| !is_hidden(*c)).collect();
    visible.trim().eq_ignore_ascii_case(HUMAN)
}

/// Returns `human` for a name that looks like it, and any other name [`composed`].
pub fn canonical(name: &str) -> String {
    if is_human(name) {
        HUMAN.to_owned()
    } else {
        composed(name)
    }
}

/// Returns a name in Unicode's composed form (NFC): keyboards and file systems write the same name in several
/// forms, of which SQLite compares the bytes. Every name that a command, a request or a tool call gives passes
/// through here, or through [`stored_name`](crate::store::Reader::stored_name) if rows may have it in another form.
pub fn composed(name: &str) -> String {
    name.nfc().collect()
}

/// Returns the `from_type` of a sender.
pub fn from_type(name: &str) -> &'static str {
    if is_human(name) { "human" } else { "agent" }
}

/// Returns a row's sender as users and models see it. `verified`: the row has the person's proof. Every place
/// that shows a sender uses this function.
pub fn sender_name(name: &str, verified: bool) -> Cow<'_, str> {
    match is_human(name) {
        true if verified => HUMAN.into(),
        true => format!("{HUMAN} (unverified)").into(),
        false => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_imitate_human_are_shown_as_unverified() {
        for name in ["human", "Human", " HUMAN\n", "hu\u{200b}man", "\u{a0}human"] {
            assert!(is_human(name), "{name:?}");
            assert_eq!(from_type(name), "human");
            assert_eq!(canonical(name), HUMAN);
            assert_eq!(sender_name(name, false), "human (unverified)");
            assert_eq!(sender_name(name, true), "human");
        }
        for name in ["", "humans", "the human", "planner"] {
            assert!(!is_human(name), "{name:?}");
            assert_eq!((from_type(name), sender_name(name, false)), ("agent", name.into()));
        }
    }
}
