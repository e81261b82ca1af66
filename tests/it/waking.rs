//! Waking across commands: `doctor` reports and proves it, and a hub goes on with what another one has begun.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::hooks::event;
use super::run_and_ingest::{Sandbox, output_with_input, stderr};
use super::support::person::{in_terminal, run_as_person, shown};
use super::support::wait_for;

const AGENT: &[(&str, &str)] = &[("AGENTHUB_AGENT", "planner")];
const PROMPT: &str = "\"prompt\":\"You have mail on agenthub.\"";
const TEST_MAIL: &str = "agenthub doctor: test of waking; nothing to do";

/// A sandbox with Claude Code, which is connected.
fn connected() -> Sandbox {
    let sandbox = Sandbox::new();
    let bin = sandbox.hub.folder().join("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::write(bin.join("claude"), "#!/bin/sh\necho '2.1.330 (Claude Code)'\n").unwrap();
    fs::set_permissions(bin.join("claude"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = sandbox.command(&["init", "--yes", "--only", "claude"]);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output = command.env("PATH", path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    sandbox
}

/// Begins an idle session of the agent `planner`. Returns the file that its tool watches.
fn idle_session(sandbox: &Sandbox) -> PathBuf {
    let start = sandbox.hook_with(
        "claude-code",
        &event("aaaa-1", "SessionStart", r#""permission_mode":"default""#),
        AGENT,
    );
    PathBuf::from(start["hookSpecificOutput"]["watchPaths"][0].as_str().unwrap())
}

fn wait_for_change(file: &PathBuf) {
    wait_for("the watched file to change", || {
        (!fs::read(file).unwrap().is_empty()).then_some(())
    });
}

/// Runs the hook of the changed file. Returns its exit code: 2 if the session is to be woken.
fn changed(sandbox: &Sandbox) -> Option<i32> {
    let mut command = sandbox.command(&["hook", "claude-code"]);
    command.envs(AGENT.iter().copied());
    let output = output_with_input(command, &event("aaaa-1", "FileChanged", ""));
    output.status.code()
}

/// Returns `agenthub doctor --wake` in the terminal of a person who types `answer`.
fn doctor(sandbox: &Sandbox, answer: &str, more: &[&str]) -> Command {
    let mut command = in_terminal(&sandbox.hub, &[&["doctor", "--wake"], more].concat());
    command.env("TERMINAL_INPUT", answer);
    command
}

/// Runs `agenthub doctor --wake TOOL`, which finds a problem. Returns what it shows.
#[track_caller]
fn problem(sandbox: &Sandbox, tool: &str) -> String {
    let output = doctor(sandbox, "", &[tool]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    shown(&output)
}

/// Returns the finding about waking of a plain `agenthub doctor`.
fn finding(sandbox: &Sandbox) -> Value {
    let output: Output = sandbox.command(&["doctor", "--json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    findings
        .iter()
        .find(|finding| finding["check"] == "waking")
        .unwrap()
        .clone()
}

#[test]
fn doctor_wakes_an_idle_session_and_says_how_long_it_took() {
    let sandbox = connected();
    let file = idle_session(&sandbox);
    let doctor = doctor(&sandbox, "y\n", &[]).stdout(Stdio::piped()).spawn().unwrap();
    wait_for_change(&file);
    assert_eq!(changed(&sandbox), Some(2));
    let answer = sandbox.hook_with("claude-code", &event("aaaa-1", "UserPromptSubmit", PROMPT), AGENT);
    assert!(answer.to_string().contains(TEST_MAIL), "{answer}");
    let output = doctor.wait_with_output().unwrap();
    let text = shown(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains("Claude Code: works; planner began a turn with the mail after"),
        "{text}"
    );
    assert_eq!(
        sandbox.sql("SELECT from_agent, priority, expires_at > created_at, proof <> '' FROM inbox_messages"),
        "human|action|1|1"
    );
    assert_eq!(sandbox.sql("SELECT state, asked_by FROM wakes"), "woken|human");
}

#[test]
fn doctor_wakes_no_session_without_the_persons_consent() {
    let sandbox = connected();
    let file = idle_session(&sandbox);
    let output = doctor(&sandbox, "n\n", &[]).output().unwrap();
    let text = shown(&output);
    assert!(
        output.status.success() && text.contains("Claude Code: not tried"),
        "{text}"
    );
    let output = sandbox.command(&["doctor", "--wake"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("is not a terminal"), "{output:?}");
    assert_eq!(sandbox.sql("SELECT count(*) FROM inbox_messages"), "0");
    assert_eq!(fs::read(&file).unwrap(), b"");
}

#[test]
fn doctor_says_why_no_session_can_be_woken() {
    let sandbox = connected();
    let text = problem(&sandbox, "claude");
    assert!(text.contains("Claude Code: no session is open"), "{text}");
    let text = problem(&sandbox, "codex");
    assert!(
        text.contains("Codex: not connected") && text.contains("agenthub init --only codex"),
        "{text}"
    );
    let text = problem(&sandbox, "gemini");
    assert!(text.contains("Gemini CLI: cannot be woken: "), "{text}");
    let file = idle_session(&sandbox);
    sandbox.hook_with(
        "claude-code",
        &event("aaaa-1", "UserPromptSubmit", "\"prompt\":\"go\""),
        AGENT,
    );
    let text = problem(&sandbox, "claude");
    assert!(
        text.contains("planner: its session works") && text.contains("when the session waits"),
        "{text}"
    );
    sandbox.hook_with("claude-code", &event("aaaa-1", "Stop", ""), AGENT);
    fs::remove_file(file).unwrap();
    let text = problem(&sandbox, "claude");
    assert!(
        text.contains("planner: its session has begun without waking") && text.contains("start Claude Code again"),
        "{text}"
    );
    assert_eq!(sandbox.sql("SELECT count(*) FROM inbox_messages"), "0");
}

#[test]
fn doctor_reports_setting_and_failed_wakes() {
    let sandbox = connected();
    let found = finding(&sandbox);
    assert_eq!(found["state"], "ok", "{found}");
    let message = found["message"].as_str().unwrap();
    assert!(
        message.starts_with("off: ") && message.contains("can be woken: Claude Code"),
        "{message}"
    );
    run_as_person(&sandbox.hub, &["wake", "important"]);
    let fail = |session: &str, reason: &str, age: &str| {
        sandbox.sql(&format!(
            "INSERT INTO wakes(session, agent, mail, chain, state, reason, at, ended_at) \
             SELECT '{session}', 'planner', 1, 1, 'failed', '{reason}', now, now \
             FROM (SELECT CAST(unixepoch('now', '{age}') AS INTEGER) * 1000 AS now)"
        ));
    };
    fail("claude-aaaa-1", "long ago", "-2 days");
    let found = finding(&sandbox);
    assert_eq!(found["state"], "ok", "{found}");
    assert!(
        found["message"]
            .as_str()
            .unwrap()
            .starts_with("mail with priority action"),
        "{found}"
    );
    fail("claude-aaaa-1", "the tool did not react", "-1 hour");
    let found = finding(&sandbox);
    assert_eq!(found["state"], "bad", "{found}");
    let message = found["message"].as_str().unwrap();
    assert!(
        message.contains("failed in the last day: 1 wake: the tool did not react") && !message.contains("long ago"),
        "{message}"
    );
    assert!(
        found["advice"]
            .as_str()
            .unwrap()
            .contains("agenthub doctor --wake claude"),
        "{found}"
    );
}

/// A hub that is killed between the wake's row and the change of the file leaves the session asleep; and a session that has
/// just begun may not watch its file yet.
#[test]
fn a_hub_repeats_a_wake_until_it_is_fetched() {
    let mut sandbox = Sandbox::new();
    let file = idle_session(&sandbox);
    run_as_person(&sandbox.hub, &["wake", "important"]);
    sandbox.sql(
        "INSERT INTO inbox_messages(from_agent, to_inbox, payload, priority) VALUES('reviewer', 'planner', 'one', 'action');
         INSERT INTO wakes(session, agent, mail, chain, state, via, at)
         SELECT 'claude-aaaa-1', 'planner', n, n, 'begun', 'hook', created_at FROM inbox_messages",
    );
    sandbox.hub.launch();
    for _ in 0..2 {
        wait_for_change(&file);
        fs::write(&file, "").unwrap();
    }
    assert_eq!((changed(&sandbox), changed(&sandbox)), (Some(2), Some(0)));
    let answer = sandbox.hook_with("claude-code", &event("aaaa-1", "UserPromptSubmit", PROMPT), AGENT);
    assert!(answer.to_string().contains("one"), "{answer}");
    assert_eq!(sandbox.sql("SELECT state FROM wakes"), "woken");
}
