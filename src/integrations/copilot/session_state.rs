//! The folder `~/.copilot/session-state/<id>` of a session. A process that has the session open has a file
//! `inuse.<pid>.lock` there, and `events.jsonl` is the record of the session.

use std::env;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde_json::Value;

use super::config::{DIRECTORY_VARIABLE, HOME_FOLDER};
use crate::config::home_directory;
use crate::integrations::spec::{ProcessSpec, RunningSession};
use crate::process::Process;

const FOLDER: &str = "session-state";
const RECORD: &str = "events.jsonl";
/// Bytes at the end of a record that have its last line, if that ends a turn.
const LAST_PART: u64 = 16 << 10;

pub(super) const PROCESSES: ProcessSpec = ProcessSpec {
    running_session,
    ..ProcessSpec::DEFAULT
};

/// Returns the record of a session of a program with the environment of this process.
pub(super) fn record(session: &str) -> Option<PathBuf> {
    let folder = match env::var_os(DIRECTORY_VARIABLE).filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => home_directory().ok()?.join(HOME_FOLDER),
    };
    let is_id = !session.is_empty() && session.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    is_id.then(|| folder.join(FOLDER).join(session).join(RECORD))
}

/// Returns the session that the process has open, if it is only one.
fn running_session(pid: u32) -> Option<RunningSession> {
    // The hub may have been started with other variables than the tool.
    let process = Process::read(pid);
    let of_process = |name: &str| Some(PathBuf::from(process.as_ref()?.variable(name)?));
    let folder = of_process(DIRECTORY_VARIABLE)
        .or_else(|| of_process("HOME").map(|home| home.join(HOME_FOLDER)))
        .or_else(|| Some(home_directory().ok()?.join(HOME_FOLDER)))?;
    session_in(&folder.join(FOLDER), pid)
}

fn session_in(folder: &Path, pid: u32) -> Option<RunningSession> {
    let lock = format!("inuse.{pid}.lock");
    let sessions = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut open = sessions.filter(|session| session.join(&lock).exists());
    let session = open.next().filter(|_| open.next().is_none())?;
    let end = end_of(&session.join(RECORD));
    Some(RunningSession {
        id: session.file_name()?.to_str()?.to_owned(),
        idle_since: end.as_ref().map(|(at, _)| *at),
        is_completed: false,
        error: end.and_then(|(_, error)| error),
    })
}

/// Returns when the last turn ended, in Unix milliseconds, and its error, if it ended without a hook.
fn end_of(record: &Path) -> Option<(i64, Option<String>)> {
    let mut file = File::open(record).ok()?;
    let about = file.metadata().ok()?;
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(about.len().saturating_sub(LAST_PART))).ok()?;
    file.take(LAST_PART).read_to_end(&mut bytes).ok()?;
    let last = String::from_utf8_lossy(&bytes);
    let last: Value = serde_json::from_str(last.lines().next_back()?).ok()?;
    let error = match last["type"].as_str()? {
        "abort" => None,
        "session.error" => Some(last["data"]["message"].as_str().unwrap_or("unknown error").to_owned()),
        _ => return None,
    };
    let written = about.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_millis();
    Some((i64::try_from(written).ok()?, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(folder: &Path, id: &str, pid: u32, record: &str) {
        let session = folder.join(id);
        fs::create_dir_all(&session).unwrap();
        fs::write(session.join(format!("inuse.{pid}.lock")), "").unwrap();
        fs::write(session.join(RECORD), record).unwrap();
    }

    #[test]
    fn session_whose_turn_ended_without_a_hook_is_idle() {
        let folder = tempfile::tempdir().unwrap();
        let long = format!("{{\"type\":\"system.message\",\"data\":\"{}\"}}\n", "x".repeat(20_000));
        for (record, is_idle, error) in [
            ("{\"type\":\"assistant.turn_end\"}\n{\"type\":\"abort\"}\n", true, None),
            (
                "{\"type\":\"session.error\",\"data\":{\"message\":\"400 no\"}}\n",
                true,
                Some("400 no"),
            ),
            ("{\"type\":\"abort\"}\n{\"type\":\"user.message\"}\n", false, None),
            ("{\"type\":\"abo", false, None),
            (&long, false, None),
            ("", false, None),
        ] {
            session(folder.path(), "s1", 7, record);
            let running = session_in(folder.path(), 7).unwrap();
            assert_eq!(
                (
                    running.id.as_str(),
                    running.idle_since.is_some(),
                    running.error.as_deref()
                ),
                ("s1", is_idle, error),
                "{record:.60}"
            );
        }
        assert_eq!(session_in(folder.path(), 8), None);
    }

    #[test]
    fn process_with_two_sessions_is_in_neither() {
        let folder = tempfile::tempdir().unwrap();
        session(folder.path(), "s1", 7, "");
        session(folder.path(), "s2", 7, "");
        assert_eq!(session_in(folder.path(), 7), None);
    }

    #[test]
    fn record_of_an_id_with_a_path_is_none() {
        assert_eq!(record("../../etc/passwd"), None);
        assert!(
            record("4cc25b53-5491")
                .unwrap()
                .ends_with("session-state/4cc25b53-5491/events.jsonl")
        );
    }
}
