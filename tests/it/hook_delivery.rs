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
fn each_tool_gets_mail_in_its_own_form() {
    let sandbox = Sandbox::new();
    sandbox.send("one");
    let answer = sandbox.hook("claude-code", &event("s", "Stop", r#""stop_hook_active":false"#));
    assert!(context(&answer, "Stop").contains("| one"), "not shown as an error");

    let gemini = |name: &str, more: &str| sandbox.hook("gemini", &event("g", name, more));
    sandbox.send("two");
    assert!(context(&gemini("BeforeAgent", r#""prompt":"go""#), "BeforeAgent").contains("| two"));
    sandbox.send("three");
    let tool = r#""tool_name":"read_file","tool_input":{},"tool_response":{"llmContent":"x"}"#;
    assert!(context(&gemini("AfterTool", tool), "AfterTool").contains("| three"));
    sandbox.send("four");
    let answer = gemini("AfterAgent", r#""prompt_response":"done","stop_hook_active":false"#);
    assert_eq!(answer["decision"], "deny");
    assert!(answer["reason"].as_str().unwrap().contains("| four"), "{answer}");
    assert_eq!(answer.as_object().unwrap().len(), 2, "{answer}");
    assert_eq!(sandbox.sql(LAST_STATUS), "running");
    assert_eq!(
        sandbox.sql("SELECT n, status FROM inbox_messages WHERE n BETWEEN 2 AND 3"),
        "2|read\n3|read",
        "the model has run since"
    );
    // Gemini CLI names all texts since the prompt.
    let again = r#""prompt_response":"done \nI see.","stop_hook_active":true"#;
    sandbox.send("five");
    assert_eq!(gemini("AfterAgent", again)["decision"], "deny");
    let again = again.replace("I see.", "I see. \\n\\nI see.");
    assert!(gemini("AfterAgent", &again).is_null());
    assert_eq!(sandbox.sql(LAST_STATUS), "completed");
    assert_eq!(
        sandbox
            .sql("SELECT group_concat(text, '|') FROM task_stream WHERE task_id = 'gemini-g' AND stream_type = 'text'"),
        "done|I see.|I see."
    );
}

#[test]
fn cursor_gets_mail_in_its_form_and_only_at_the_end_of_a_completed_turn() {
    let sandbox = Sandbox::new();
    let hook = |name: &str, more: &str| {
        let input = format!(r#"{{"conversation_id":"c","hook_event_name":"{name}","cursor_version":"3.7"{more}}}"#);
        sandbox.hook("cursor", input.as_bytes())
    };
    sandbox.send("one");
    let answer = hook("postToolUse", r#","tool_name":"Shell","tool_output":"ok""#);
    assert!(answer["additional_context"].as_str().unwrap().contains("| one"));
    assert_eq!(answer.as_object().unwrap().len(), 1, "{answer}");
    sandbox.send("two");
    for status in ["aborted", "error"] {
        assert!(hook("stop", &format!(r#","status":"{status}","loop_count":0"#)).is_null());
    }
    let stop = |loops: usize| hook("stop", &format!(r#","status":"completed","loop_count":{loops}"#));
    let answer = stop(0);
    assert!(answer["followup_message"].as_str().unwrap().contains("| two"));
    assert_eq!(answer.as_object().unwrap().len(), 1, "{answer}");
    // Cursor ignores the text after five in a row.
    let kept = (1..8).filter(|n| {
        sandbox.send(&format!("again {n}"));
        !stop(*n).is_null()
    });
    assert_eq!(kept.count(), 4);
}

/// Two sessions can talk without their persons, for as long as the limit allows.
#[test]
fn mail_that_comes_while_a_session_continues_is_delivered_up_to_a_limit() {
    const LAST: &str = "the last message that keeps you from stopping";
    let sandbox = Sandbox::new();
    let stop = |tool: &str, active: bool| {
        let answer = sandbox.hook(tool, &event("s", "Stop", &format!("\"stop_hook_active\":{active}")));
        let context = &answer["hookSpecificOutput"]["additionalContext"];
        let text = context.as_str().or_else(|| answer["reason"].as_str());
        text.map(|text| (text.contains("--- message"), text.contains(LAST)))
    };
    let talk = |tool: &str, times: usize| -> Vec<_> {
        (0..times)
            .map(|n| {
                sandbox.send(&format!("message {n}"));
                stop(tool, n > 0)
            })
            .collect()
    };
    // Claude Code ends a turn that hooks have continued eight times.
    let answers = talk("claude-code", 9);
    assert_eq!(answers[..7], [Some((true, false)); 7]);
    assert_eq!(answers[7..], [Some((true, true)), None]);
    assert_eq!(sandbox.sql(LAST_STATUS), "completed");
    // The mail that was not delivered waits for the next stop; without new mail nothing is delivered.
    assert_eq!(stop("claude-code", false), Some((true, false)));
    assert_eq!(stop("claude-code", true), None);
    // Codex has no limit: here ends what is allowed in an hour, for both sessions of this agent together.
    let answers = talk("codex", 12);
    assert_eq!(answers[..10], [Some((true, false)); 10]);
    assert_eq!(answers[10..], [Some((true, true)), None]);
    let answer = sandbox.hook("codex", &event("s", "UserPromptSubmit", ""));
    assert!(
        context(&answer, "UserPromptSubmit").contains("message 11"),
        "no mail is lost"
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
