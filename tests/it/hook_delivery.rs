//! Mail that hooks deliver to a model: at which events, how often, to which session.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use super::hooks::{context, event};
use super::run_and_ingest::{LAST_STATUS, Sandbox, output_with_input};
use super::support::wait_for;

#[test]
fn delivers_mail_once_at_the_documented_events() {
    let sandbox = Sandbox::new();
    sandbox.hook("claude-code", &event("s", "SessionStart", ""));
    sandbox.send("one");
    let answer = sandbox.hook("claude-code", &event("s", "UserPromptSubmit", r#""prompt":"go""#));
    let shown = context(&answer, "UserPromptSubmit");
    assert!(
        shown.contains("\n| one\n") && shown.contains("from \"reviewer\"") && shown.contains("not from the user"),
        "{shown}"
    );
    assert_eq!(sandbox.receipts(), "1|offered|claude-code UserPromptSubmit");

    // A tool call may run while the model still writes: only the next batch shows that it has run.
    sandbox.send("two");
    assert!(sandbox.hook("claude-code", &event("s", "PreToolUse", "")).is_null());
    assert_eq!(sandbox.sql("SELECT status FROM inbox_messages WHERE n = 1"), "unread");
    // A subagent does not get the session's mail.
    assert!(
        sandbox
            .hook("claude-code", &event("s", "PostToolBatch", r#""agent_id":"sub""#))
            .is_null()
    );
    let answer = sandbox.hook("claude-code", &event("s", "PostToolBatch", ""));
    assert!(context(&answer, "PostToolBatch").contains("| two"));
    assert!(!context(&answer, "PostToolBatch").contains("| one"));
    assert_eq!(sandbox.sql("SELECT n, status FROM inbox_messages"), "1|read\n2|unread");
    assert!(sandbox.hook("claude-code", &event("s", "PostToolBatch", "")).is_null());
    assert_eq!(sandbox.sql("SELECT n, status FROM inbox_messages"), "1|read\n2|read");

    // Codex has other events.
    sandbox.send("three");
    let answer = sandbox.hook(
        "codex",
        &event("c", "PostToolUse", r#""tool_name":"shell","tool_response":"ok""#),
    );
    assert!(context(&answer, "PostToolUse").contains("| three"));
    assert!(sandbox.hook("codex", &event("c", "PreToolUse", "")).is_null());
    sandbox.send("four");
    let answer = sandbox.hook("codex", &event("c", "Stop", r#""stop_hook_active":false"#));
    assert_eq!(answer["decision"], "block");
    assert!(answer["reason"].as_str().unwrap().contains("| four"));
    assert_eq!(answer.as_object().unwrap().len(), 2, "{answer}");
}

#[test]
fn mail_missed_by_a_session_is_delivered_to_the_next() {
    let sandbox = Sandbox::new();
    sandbox.send("one");
    let answer = sandbox.hook("claude-code", &event("s1", "UserPromptSubmit", ""));
    assert!(context(&answer, "UserPromptSubmit").contains("| one"));
    // Session s1 ended before the model ran.
    let answer = sandbox.hook("claude-code", &event("s2", "SessionStart", ""));
    assert!(context(&answer, "SessionStart").contains("| one"));
    sandbox.hook("claude-code", &event("s2", "Stop", ""));
    let answer = sandbox.hook("claude-code", &event("s3", "SessionStart", ""));
    assert!(!context(&answer, "SessionStart").contains("| one"));
}

#[test]
fn hook_of_another_session_does_not_mark_mail_as_read() {
    let sandbox = Sandbox::new();
    sandbox.send("one");
    assert!(
        !sandbox
            .hook("claude-code", &event("s1", "UserPromptSubmit", ""))
            .is_null()
    );
    // Another session of the same agent continues.
    assert!(sandbox.hook("claude-code", &event("s2", "Stop", "")).is_null());
    let status = || sandbox.sql("SELECT status FROM inbox_messages");
    assert_eq!(status(), "unread");
    assert!(sandbox.hook("claude-code", &event("s1", "Stop", "")).is_null());
    assert_eq!(status(), "read");
}

#[test]
fn mail_that_was_not_printed_is_delivered_again() {
    let sandbox = Sandbox::new();
    sandbox.send("one");
    let mut unread = sandbox.command(&["hook", "claude-code"]);
    unread.env("AGENTHUB_AGENT", "planner").stdin(Stdio::piped());
    unread.stdout(fs::File::create("/dev/full").unwrap());
    let mut child = unread.spawn().unwrap();
    let prompt = event("s", "UserPromptSubmit", "");
    child.stdin.take().unwrap().write_all(&prompt).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(sandbox.receipts(), "1|offered|claude-code UserPromptSubmit");
    // A confirmed offer would count as seen at this event.
    let again = wait_for("the mail", || {
        let answer = sandbox.hook("claude-code", &prompt);
        (!answer.is_null()).then_some(answer)
    });
    assert!(context(&again, "UserPromptSubmit").contains("| one"));
    assert_eq!(sandbox.sql("SELECT status FROM inbox_messages"), "unread");
    sandbox.hook("claude-code", &event("s", "Stop", ""));
    assert_eq!(sandbox.sql("SELECT status FROM inbox_messages"), "read");
}

#[test]
fn sessions_get_mail_to_all_from_their_start_on() {
    let sandbox = Sandbox::new();
    let to_all = |text: &str| {
        sandbox.sql(&format!(
            "INSERT INTO inbox_messages(from_agent, to_inbox, payload) VALUES('boss', 'all', '{text}')"
        ))
    };
    let hook = |name: &str, event: &[u8]| {
        let mut command = sandbox.command(&["hook", "claude-code"]);
        command.env("AGENTHUB_AGENT", name);
        let output = output_with_input(command, event);
        String::from_utf8(output.stdout).unwrap()
    };
    sandbox.run(&["path"]);
    to_all("old");
    for name in ["a", "b"] {
        let start = hook(name, &event("s", "SessionStart", ""));
        assert!(start.contains("You are") && !start.contains("| old"), "{start}");
    }
    to_all("news");
    assert!(hook("a", &event("s", "UserPromptSubmit", "")).contains("| news"));
    assert!(!hook("a", &event("s", "UserPromptSubmit", "")).contains("| news"));
    // A session that starts later gets none of it, one that was there gets it once.
    assert!(!hook("c", &event("s", "SessionStart", "")).contains("| news"));
    assert!(hook("b", &event("s", "PostToolBatch", "")).contains("| news"));
    assert!(!hook("b", &event("s", "Stop", "")).contains("| news"));
}

#[test]
fn urgent_mail_reaches_the_model_first() {
    let sandbox = Sandbox::new();
    sandbox.hook("claude-code", &event("s", "SessionStart", ""));
    sandbox.sql(
        "WITH RECURSIVE i(n) AS (VALUES(0) UNION ALL SELECT n + 1 FROM i WHERE n < 199)
         INSERT INTO inbox_messages(from_agent, to_inbox, payload) SELECT 'boss', 'planner', 'note ' || n FROM i;
         INSERT INTO inbox_messages(from_agent, to_inbox, payload, priority) VALUES('boss', 'planner', 'STOP', 'urgent')",
    );
    let answer = sandbox.hook("claude-code", &event("s", "PostToolBatch", ""));
    let shown = context(&answer, "PostToolBatch");
    let texts: Vec<&str> = shown.lines().filter(|line| line.starts_with("| ")).collect();
    assert_eq!(texts, ["| STOP", "| note 0", "| note 1", "| note 2", "| note 3"]);
    assert!(
        shown.contains("(196 more messages wait; to read them now: agenthub"),
        "{shown}"
    );
}

#[test]
fn limits_how_often_mail_keeps_a_session_from_stopping() {
    let sandbox = Sandbox::new();
    let stop = |more: &str| sandbox.hook("claude-code", &event("s", "Stop", more));
    sandbox.send("one");
    assert!(
        stop(r#""stop_hook_active":true"#).is_null(),
        "it was kept from stopping a moment ago"
    );
    assert_eq!(
        sandbox.sql("SELECT count(*) FROM receipts"),
        "0",
        "the mail is not offered"
    );
    assert!(!stop("").is_null());
    assert!(stop("").is_null(), "the same mail keeps it only once");
    // A sender that writes without end must not keep the session running without end.
    let kept = (0..20)
        .filter(|i| {
            sandbox.send(&format!("again {i}"));
            !stop(r#""stop_hook_active":false"#).is_null()
        })
        .count();
    assert_eq!(kept, 5, "the maximum per hour, with the first one");
    assert_eq!(sandbox.sql(LAST_STATUS), "completed");
    let answer = sandbox.hook("claude-code", &event("s", "UserPromptSubmit", ""));
    assert_eq!(
        context(&answer, "UserPromptSubmit").matches("--- message").count(),
        5,
        "the maximum number of messages in one text"
    );
}

#[test]
fn concurrent_hooks_deliver_mail_once() {
    let sandbox = Sandbox::new();
    sandbox.send("one");
    let answers: Vec<serde_json::Value> = std::thread::scope(|scope| {
        let input = event("s", "PostToolUse", "");
        let runs: Vec<_> = (0..6)
            .map(|_| {
                let (sandbox, input) = (&sandbox, input.clone());
                let mut command = sandbox.command(&["hook", "codex"]);
                command.env("AGENTHUB_AGENT", "planner");
                scope.spawn(move || output_with_input(command, &input).stdout)
            })
            .collect();
        runs.into_iter()
            .map(|run| run.join().unwrap())
            .filter(|out| !out.is_empty())
            .map(|out| serde_json::from_slice(&out).unwrap())
            .collect()
    });
    assert_eq!(answers.len(), 1, "{answers:?}");
    // The event of a hook that waited too long for the lock is in the spool.
    let recorded: usize = sandbox
        .sql("SELECT count(*) FROM task_stream WHERE stream_type = 'tool_result'")
        .parse()
        .unwrap();
    assert!((1..=6).contains(&recorded), "{recorded}");
}

/// A receipt must not claim that a model has seen mail before it ran.
#[test]
fn mail_is_not_seen_until_the_model_runs() {
    let sandbox = Sandbox::new();
    sandbox.send("one");
    for name in ["SessionStart", "UserPromptSubmit", "StopFailure", "SessionEnd"] {
        sandbox.hook("claude-code", &event("s1", name, ""));
    }
    assert_eq!(sandbox.sql("SELECT status FROM inbox_messages"), "unread");
    let answer = sandbox.hook("claude-code", &event("s2", "SessionStart", ""));
    assert!(context(&answer, "SessionStart").contains("| one"));
    // Another program's hook keeps the session from stopping: it continues.
    sandbox.hook("claude-code", &event("s2", "Stop", ""));
    assert_eq!(sandbox.sql(LAST_STATUS), "completed");
    sandbox.hook("claude-code", &event("s2", "PreToolUse", r#""tool_name":"Bash""#));
    assert_eq!(sandbox.sql(LAST_STATUS), "running");
}
