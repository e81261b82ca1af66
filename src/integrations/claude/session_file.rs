//! The file in which a process of Claude Code records the session that it runs now.
//!
//! The file has the new id as soon as `/clear` has begun another session. While Claude Code starts with
//! `--continue`, versions such as 2.1.197 record a preliminary id there, which no hook ever names.

use std::path::PathBuf;

use serde_json::Value;

use super::config::{DIRECTORY_VARIABLE, HOME_FOLDER};
use crate::config::home_directory;
use crate::integrations::spec::{ProcessSpec, RunningSession};
use crate::process::Process;

pub(super) const PROCESSES: ProcessSpec = ProcessSpec {
    running_session,
    begun_session,
    ..ProcessSpec::DEFAULT
};

fn running_session(pid: u32) -> Option<RunningSession> {
    // The hub may have been started with other variables than the tool.
    let process = Process::read(pid);
    let of_process = |name: &str| {
        process
            .as_ref()
            .and_then(|process| process.variable(name))
            .map(PathBuf::from)
    };
    let of_home = |home: PathBuf| home.join(HOME_FOLDER);
    let folder = of_process(DIRECTORY_VARIABLE)
        .or_else(|| of_process("HOME").map(of_home))
        .or_else(|| std::env::var_os(DIRECTORY_VARIABLE).map(PathBuf::from))
        .or_else(|| home_directory().ok().map(of_home))?;
    let text = std::fs::read_to_string(folder.join("sessions").join(format!("{pid}.json"))).ok()?;
    parse(&text, pid)
}

fn parse(text: &str, pid: u32) -> Option<RunningSession> {
    let file: Value = serde_json::from_str(text).ok()?;
    let id = file["sessionId"].as_str().filter(|id| !id.is_empty())?;
    let since = file["statusUpdatedAt"].as_i64().or_else(|| file["updatedAt"].as_i64());
    (file["pid"].as_u64() == Some(pid.into())).then(|| RunningSession {
        id: id.to_owned(),
        idle_since: since.filter(|_| file["status"] == "idle"),
        is_completed: false,
        error: None,
    })
}

/// A fork of a session (`--resume ID --fork-session`) is another session. In versions such as 2.1.197 its
/// first hook has the id of the original.
fn begun_session(input: &Value, process: &Process) -> Option<String> {
    let named = input["session_id"].as_str().map(str::to_owned);
    let is_fork = process.arguments.iter().any(|argument| argument == "--fork-session");
    if !is_fork || input["source"] != "resume" {
        return named;
    }
    let running = running_session(process.pid)?;
    Some(running.id).filter(|id| Some(id) != named.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_session_and_since_when_it_is_idle() {
        let file = r#"{"pid":42,"sessionId":"s","status":"idle","updatedAt":5,"statusUpdatedAt":7}"#;
        let running = parse(file, 42).unwrap();
        assert_eq!((running.id.as_str(), running.idle_since), ("s", Some(7)));
        assert_eq!(parse(&file.replace("idle", "busy"), 42).unwrap().idle_since, None);
        let older = file.replace(",\"statusUpdatedAt\":7", "");
        assert_eq!(parse(&older, 42).unwrap().idle_since, Some(5));
        for bad in [file.replace("42", "43"), file.replace("\"s\"", "\"\""), "{".to_owned()] {
            assert_eq!(parse(&bad, 42), None, "{bad}");
        }
    }

    #[test]
    fn fork_is_not_the_session_that_its_first_hook_names() {
        let input = |source: &str| serde_json::json!({"session_id": "original", "source": source});
        let begun = |source: &str, command: &str| {
            // No process has this number.
            begun_session(&input(source), &Process::new(u32::MAX, 1, &[]).running(command))
        };
        assert_eq!(begun("resume", "claude --resume original").as_deref(), Some("original"));
        assert_eq!(begun("fork", "claude --fork-session").as_deref(), Some("original"));
        assert_eq!(begun("resume", "claude --resume original --fork-session"), None);
    }
}
