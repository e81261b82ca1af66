//! The hooks of a session that mail wakes: the watched file, the hook that fetches the prompt, and the prompt's own.

use std::fs;
use std::path::PathBuf;

use super::hooks::event;
use super::run_and_ingest::{Sandbox, output_with_input, stderr};
use super::support::person::run_as_person;

const AGENT: &[(&str, &str)] = &[("AGENTHUB_AGENT", "planner")];
const PROMPT: &str = "You have mail on agenthub.";

/// Begins an idle session of the agent `planner`. Returns the file that its tool watches.
fn idle_session(sandbox: &Sandbox) -> PathBuf {
    // Claude Code names the mode in later inputs only.
    let start = event("aaaa-1", "SessionStart", "\"permission_mode\":\"default\"");
    let start = sandbox.hook_with("claude-code", &start, AGENT);
    PathBuf::from(start["hookSpecificOutput"]["watchPaths"][0].as_str().unwrap())
}

/// Runs a command, which must succeed. Returns its output.
fn text(sandbox: &Sandbox, arguments: &[&str]) -> String {
    String::from_utf8(sandbox.run(arguments).stdout).unwrap()
}

/// Runs the hook of the changed file. Returns exit code, stdout and stderr.
fn changed(sandbox: &Sandbox, session: &str) -> (Option<i32>, String, String) {
    let mut command = sandbox.command(&["hook", "claude-code"]);
    command.envs(AGENT.iter().copied());
    let output = output_with_input(command, &event(session, "FileChanged", ""));
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    (output.status.code(), stdout, stderr(&output))
}

#[test]
fn mail_wakes_an_idle_session_once() {
    let sandbox = Sandbox::new();
    let file = idle_session(&sandbox);
    assert_eq!(fs::read(&file).unwrap(), b"");
    let quiet = (Some(0), String::new(), String::new());
    // The file changes for another reason.
    assert_eq!(changed(&sandbox, "aaaa-1"), quiet);

    // Without the person's decision mail wakes nothing.
    sandbox.run(&["send", "planner", "one", "--from", "reviewer", "--priority", "action"]);
    assert_eq!(fs::read(&file).unwrap(), b"");
    let trace = text(&sandbox, &["trace", "1"]);
    assert!(trace.contains("not woken: waking is off"), "{trace}");

    run_as_person(&sandbox.hub, &["wake", "important"]);
    sandbox.run(&["send", "planner", "two", "--from", "reviewer", "--priority", "action"]);
    assert_ne!(fs::read(&file).unwrap(), b"");
    assert_eq!(changed(&sandbox, "bbbb-2"), quiet);
    assert_eq!(
        changed(&sandbox, "aaaa-1"),
        (Some(2), String::new(), format!("{PROMPT}\n"))
    );
    assert_eq!(changed(&sandbox, "aaaa-1"), quiet);

    let prompt = format!("\"prompt\":\"{PROMPT}\"");
    let answer = sandbox.hook_with("claude-code", &event("aaaa-1", "UserPromptSubmit", &prompt), AGENT);
    let given = answer.to_string();
    assert!(given.contains("one") && given.contains("two"), "{given}");
    assert_eq!(
        sandbox.sql("SELECT mail, chain, state, via FROM wakes"),
        "2|2|woken|hook"
    );
    // The prompt is not the person's, and no title of a task.
    assert_eq!(
        sandbox.sql("SELECT count(*) FROM sessions WHERE prompted_at IS NOT NULL"),
        "0"
    );
    assert_eq!(
        sandbox.sql("SELECT count(*) FROM task_stream WHERE directive LIKE '%mail%'"),
        "0"
    );
    let trace = text(&sandbox, &["trace", "2"]);
    assert!(trace.contains("woken: planner began a turn after"), "{trace}");
    let json: serde_json::Value = serde_json::from_str(&text(&sandbox, &["trace", "2", "--json"])).unwrap();
    assert_eq!(
        (&json["wakes"][0]["state"], &json["not_woken"]),
        (&"woken".into(), &serde_json::Value::Null)
    );

    sandbox.hook_with(
        "claude-code",
        &event("aaaa-1", "UserPromptSubmit", "\"prompt\":\"go on\""),
        AGENT,
    );
    assert_eq!(sandbox.sql("SELECT count(*) FROM sessions WHERE prompted_at > 0"), "1");
    sandbox.hook_with("claude-code", &event("aaaa-1", "SessionEnd", ""), AGENT);
    assert!(!file.exists() && !file.parent().unwrap().exists());
}

#[test]
fn prompt_of_the_person_comes_first() {
    let sandbox = Sandbox::new();
    idle_session(&sandbox);
    run_as_person(&sandbox.hub, &["wake", "important"]);
    sandbox.run(&["send", "planner", "one", "--from", "reviewer", "--priority", "action"]);
    let prompt = event("aaaa-1", "UserPromptSubmit", "\"prompt\":\"go\"");
    let answer = sandbox.hook_with("claude-code", &prompt, AGENT).to_string();
    assert!(answer.contains("one"), "{answer}");
    let quiet = (Some(0), String::new(), String::new());
    assert_eq!(changed(&sandbox, "aaaa-1"), quiet);
    assert_eq!(
        sandbox.sql("SELECT state, reason FROM wakes"),
        "cancelled|another prompt came first"
    );
}

#[test]
fn old_wake_and_one_of_an_ended_session_wake_nothing() {
    let sandbox = Sandbox::new();
    idle_session(&sandbox);
    run_as_person(&sandbox.hub, &["wake", "important"]);
    let quiet = (Some(0), String::new(), String::new());
    let send = || sandbox.run(&["send", "planner", "text", "--from", "reviewer", "--priority", "action"]);
    send();
    sandbox.sql("UPDATE wakes SET at = at - 31000");
    assert_eq!(changed(&sandbox, "aaaa-1"), quiet);
    sandbox.sql("DELETE FROM wakes");
    send();
    sandbox.hook_with("claude-code", &event("aaaa-1", "SessionEnd", ""), AGENT);
    assert_eq!(
        sandbox.sql("SELECT state, reason FROM wakes"),
        "failed|the session has ended"
    );
    sandbox.hook_with(
        "claude-code",
        &event("aaaa-1", "SessionStart", "\"source\":\"resume\""),
        AGENT,
    );
    assert_eq!(changed(&sandbox, "aaaa-1"), quiet);
}

#[test]
fn prompt_that_quotes_the_constant_is_the_persons() {
    let sandbox = Sandbox::new();
    idle_session(&sandbox);
    let quoted = format!("\"prompt\":\"Rename the text {PROMPT} please\"");
    sandbox.hook_with("claude-code", &event("aaaa-1", "UserPromptSubmit", &quoted), AGENT);
    assert_eq!(
        sandbox.sql("SELECT count(*) FROM task_stream WHERE directive_full LIKE 'Rename%'"),
        "1"
    );
    assert_eq!(sandbox.sql("SELECT count(*) FROM sessions WHERE prompted_at > 0"), "1");
}

#[test]
fn mail_that_was_read_wakes_nothing() {
    let sandbox = Sandbox::new();
    idle_session(&sandbox);
    run_as_person(&sandbox.hub, &["wake", "important"]);
    sandbox.run(&["send", "planner", "one", "--from", "reviewer", "--priority", "action"]);
    sandbox.run(&["read", "1", "--as", "planner"]);
    let quiet = (Some(0), String::new(), String::new());
    assert_eq!(changed(&sandbox, "aaaa-1"), quiet);
    assert_eq!(
        sandbox.sql("SELECT state, reason FROM wakes"),
        "cancelled|the mail was read before"
    );
}

#[test]
fn nothing_is_woken_after_waking_was_turned_off() {
    let sandbox = Sandbox::new();
    let file = idle_session(&sandbox);
    run_as_person(&sandbox.hub, &["wake", "important"]);
    sandbox.run(&["send", "planner", "one", "--from", "reviewer", "--priority", "action"]);
    assert_ne!(fs::read(&file).unwrap(), b"");
    sandbox.run(&["wake", "off"]);
    assert_eq!(changed(&sandbox, "aaaa-1"), (Some(0), String::new(), String::new()));
    // Any program can write a row.
    sandbox.sql("INSERT INTO wakes(session, agent, mail, state) SELECT session, agent, 9, 'begun' FROM wakes");
    assert_eq!(changed(&sandbox, "aaaa-1"), (Some(0), String::new(), String::new()));
}

#[test]
fn session_that_works_is_not_woken() {
    let sandbox = Sandbox::new();
    let file = idle_session(&sandbox);
    run_as_person(&sandbox.hub, &["wake", "all"]);
    sandbox.hook_with(
        "claude-code",
        &event("aaaa-1", "UserPromptSubmit", "\"prompt\":\"go\""),
        AGENT,
    );
    sandbox.run(&["send", "planner", "one", "--from", "reviewer"]);
    assert_eq!(fs::read(&file).unwrap(), b"");
    let trace = text(&sandbox, &["trace", "1"]);
    assert!(trace.contains("not woken: its session works"), "{trace}");
    sandbox.hook_with("claude-code", &event("aaaa-1", "Stop", ""), AGENT);
    assert_eq!(sandbox.sql("SELECT count(*) FROM wakes"), "0");
}

#[test]
fn files_are_private_and_below_their_folder() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new();
    let file = idle_session(&sandbox);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    for session in ["../../x", "..", "a/b", "a\\nb"] {
        let start = sandbox.hook_with("claude-code", &event(session, "SessionStart", ""), AGENT);
        let watched = &start["hookSpecificOutput"]["watchPaths"];
        let is_below = watched[0]
            .as_str()
            .is_none_or(|path| PathBuf::from(path).parent().unwrap().parent() == file.parent().unwrap().parent());
        assert!(is_below, "{session}: {watched}");
    }
}

#[test]
fn only_the_person_turns_waking_on() {
    let sandbox = Sandbox::new();
    sandbox.run(&["path"]);
    for arguments in [
        &["wake", "all"][..],
        &["wake", "now", "planner"],
        &["wake", "off", "planner"],
    ] {
        let output = sandbox.command(arguments).output().unwrap();
        assert!(!output.status.success(), "{arguments:?}");
    }
    let shown = run_as_person(&sandbox.hub, &["wake", "important"]);
    assert!(shown.contains("priority action or urgent"), "{shown}");
    // A program changes the row.
    sandbox.sql("UPDATE hub SET value = replace(value, 'important', 'all') WHERE key = 'wake_rules'");
    let state: serde_json::Value = serde_json::from_str(&text(&sandbox, &["wake", "--json"])).unwrap();
    assert_eq!(state["default"], "off");
    run_as_person(&sandbox.hub, &["wake", "important"]);
    sandbox.run(&["wake", "off"]);
    let state: serde_json::Value = serde_json::from_str(&text(&sandbox, &["wake", "--json"])).unwrap();
    assert_eq!(state["default"], "off");
}
