//! The folder `~/.kimi-code/sessions/<directory>/<session>` of a session. The record of each of its agents is
//! `agents/<agent>/wire.jsonl`; the session's own agent is `main`.

use std::env;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde_json::Value;

use super::config::{DIRECTORY_VARIABLE, HOME_FOLDER};
use crate::config::home_directory;
use crate::integrations::json_fields::text;
use crate::integrations::spec::RunningSession;
use crate::process::Process;

const FOLDER: &str = "sessions";
const AGENTS: &str = "agents";
const MAIN_AGENT: &str = "main";
const RECORD: &str = "wire.jsonl";
/// Bytes at the end of a record that have the end of its last turn, if no turn has begun since.
const LAST_PART: u64 = 16 << 10;

/// Returns the record of a session of a program with the environment of this process.
pub(super) fn record(session: &str) -> Option<PathBuf> {
    let folder = match env::var_os(DIRECTORY_VARIABLE).filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => home_directory().ok()?.join(HOME_FOLDER),
    };
    record_in(&folder, session)
}

/// Returns the record of a session in Kimi Code's folder. The name of the directory between them has a hash.
fn record_in(folder: &Path, session: &str) -> Option<PathBuf> {
    let is_id = !session.is_empty() && session.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    let directories = fs::read_dir(folder.join(FOLDER)).ok().filter(|_| is_id)?;
    let mut records =
        directories.filter_map(|directory| Some(record_of(&directory.ok()?.path().join(session), MAIN_AGENT)));
    records.find(|record| record.exists())
}

fn record_of(session: &Path, agent: &str) -> PathBuf {
    session.join(AGENTS).join(agent).join(RECORD)
}

/// Returns the records of the subagents of a session.
pub(super) fn further_records(record: &Path) -> Vec<PathBuf> {
    let Some(agents) = record.parent().and_then(Path::parent) else {
        return Vec::new();
    };
    let agents = fs::read_dir(agents).into_iter().flatten().flatten();
    let records = agents.map(|agent| agent.path().join(RECORD));
    records.filter(|other| other != record && other.exists()).collect()
}

/// Returns what is recorded of a session in this process.
pub(super) fn recorded_session(pid: u32, session: &str) -> Option<RunningSession> {
    // The hub may have been started with other variables than the tool.
    let process = Process::read(pid);
    let of_process = |name: &str| Some(PathBuf::from(process.as_ref()?.variable(name)?));
    let folder = of_process(DIRECTORY_VARIABLE)
        .or_else(|| of_process("HOME").map(|home| home.join(HOME_FOLDER)))
        .or_else(|| Some(home_directory().ok()?.join(HOME_FOLDER)))?;
    session_of(&record_in(&folder, session)?, session)
}

fn session_of(record: &Path, session: &str) -> Option<RunningSession> {
    let mut file = File::open(record).ok()?;
    let about = file.metadata().ok()?;
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(about.len().saturating_sub(LAST_PART))).ok()?;
    file.take(LAST_PART).read_to_end(&mut bytes).ok()?;
    let last = String::from_utf8_lossy(&bytes);
    let is_of_turn = |line: &&str| line.starts_with("{\"type\":\"turn.");
    let turn = last.lines().rfind(is_of_turn);
    let end = turn
        .and_then(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| text(line, "type") == "turn.ended");
    let written = about.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_millis();
    Some(RunningSession {
        id: session.to_owned(),
        idle_since: end.as_ref().and(i64::try_from(written).ok()),
        is_completed: end.as_ref().is_some_and(|end| text(end, "reason") == "completed"),
        error: end.and_then(|end| Some(end["error"]["message"].as_str()?.to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "session_1";

    fn create(folder: &Path, agent: &str, text: &str) -> PathBuf {
        let record = record_of(&folder.join(FOLDER).join("wd_work_0a1b").join(SESSION), agent);
        fs::create_dir_all(record.parent().unwrap()).unwrap();
        fs::write(&record, text).unwrap();
        record
    }

    #[test]
    fn session_whose_turn_has_ended_is_idle() {
        let folder = tempfile::tempdir().unwrap();
        for (text, is_idle, is_completed, error) in [
            (
                "{\"type\":\"turn.ended\",\"reason\":\"completed\"}\n{\"type\":\"prompt.completed\"}\n",
                true,
                true,
                None,
            ),
            (
                "{\"type\":\"turn.ended\",\"reason\":\"failed\",\"error\":{\"message\":\"400 no\"}}\n",
                true,
                false,
                Some("400 no"),
            ),
            (
                "{\"type\":\"turn.ended\",\"reason\":\"completed\"}\n{\"type\":\"turn.prompt\"}\n",
                false,
                false,
                None,
            ),
            ("{\"type\":\"turn.end", false, false, None),
            ("", false, false, None),
        ] {
            let record = create(folder.path(), MAIN_AGENT, text);
            let running = session_of(&record, SESSION).unwrap();
            assert_eq!(
                (
                    running.idle_since.is_some(),
                    running.is_completed,
                    running.error.as_deref()
                ),
                (is_idle, is_completed, error),
                "{text}"
            );
        }
    }

    #[test]
    fn record_is_found_by_the_session() {
        let folder = tempfile::tempdir().unwrap();
        let record = create(folder.path(), MAIN_AGENT, "");
        let other = create(folder.path(), "agent-1", "");
        assert_eq!(record_in(folder.path(), SESSION), Some(record.clone()));
        assert_eq!(record_in(folder.path(), "session_2"), None);
        assert_eq!(record_in(folder.path(), "../wd_work_0a1b/session_1"), None);
        assert_eq!(further_records(&record), [other]);
    }
}
