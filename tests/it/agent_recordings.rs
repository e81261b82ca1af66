//! Streams and hook inputs that the real programs have sent to tests/agents, which records them with `--record`.
//! (Cursor's are written by hand: its program has no package.)

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::run_and_ingest::{LAST_STATUS, Sandbox, stderr};

fn recording(program: &str, file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/agents")
        .join(program)
        .join(file)
}

/// Records a program's stream as the task `t`.
#[track_caller]
fn ingest(program: &str, format: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let stream = fs::read(recording(program, "stream.jsonl")).unwrap();
    let output = sandbox.run_with_input(&["ingest", "--format", format, "--task", "t"], &stream);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(sandbox.sql(LAST_STATUS), "completed", "{program}");
    sandbox
}

const TEXTS: &str = "SELECT text FROM task_stream WHERE stream_type = 'text' ORDER BY id";
const CALLS: &str = "SELECT tool_name FROM task_stream WHERE stream_type = 'tool_use' ORDER BY tool_name";
const TOTALS: &str = "SELECT tokens_in, tokens_cached, tokens_out FROM telemetry ORDER BY id DESC LIMIT 1";

#[test]
fn recorded_streams_become_the_same_texts_and_calls() {
    let programs = [
        ("claude-before", "claude-stream-json", "Bash", "mcp__agenthub__", 3),
        ("claude", "claude-stream-json", "Bash", "mcp__agenthub__", 3),
        ("codex", "codex-json", "shell", "mcp__agenthub__", 3),
        // It asks first which model is to answer.
        ("gemini", "gemini-json", "run_shell_command", "mcp_agenthub_", 4),
        // Its stream has no tokens.
        ("copilot", "copilot-json", "bash", "mcp__agenthub__", 0),
        ("qwen", "qwen-json", "run_shell_command", "mcp__agenthub__", 3),
        ("opencode", "opencode-json", "bash", "agenthub_", 3),
    ];
    for (program, format, shell, hub, requests) in programs {
        let sandbox = ingest(program, format);
        assert_eq!(sandbox.sql(TEXTS), "I look around.\nAll is well.", "{program}");
        let mut calls = vec![shell.to_owned(), shell.to_owned()];
        calls.extend(["list_agents", "read_thread"].map(|tool| format!("{hub}{tool}")));
        calls.sort();
        assert_eq!(sandbox.sql(CALLS), calls.join("\n"), "{program}");
        let results = sandbox.sql("SELECT count(DISTINCT call_id) FROM task_stream WHERE stream_type = 'tool_result'");
        assert_eq!(results, "4", "{program}");
        let sent = format!("{}|{}|", 1000 * requests, 400 * requests);
        assert!(sandbox.sql(TOTALS).starts_with(&sent), "{program}");
    }
}

#[test]
fn recorded_stream_of_cursor_has_each_text_once_and_all_tools() {
    let sandbox = ingest("cursor", "cursor-json");
    assert_eq!(sandbox.sql(TEXTS), "I look around.\nAll is well.");
    assert_eq!(sandbox.sql(CALLS), "read\nshell\nshell\nupdateTodos");
    let failed = "SELECT count(*) FROM task_stream WHERE stream_type = 'tool_result' AND error_msg <> ''";
    assert_eq!(sandbox.sql(failed), "1");
    assert_eq!(sandbox.sql(TOTALS), "1200|900|80");
}

#[test]
fn recorded_hooks_become_a_finished_task() {
    let tools = [
        ("claude-before", "claude-code"),
        ("claude", "claude-code"),
        ("codex", "codex"),
        ("gemini", "gemini"),
        ("copilot", "copilot"),
        ("qwen", "qwen"),
        ("opencode", "opencode"),
    ];
    for (program, word) in tools {
        let sandbox = Sandbox::new();
        sandbox.send("Mail for the model.");
        let mut shown = String::new();
        for input in fs::read_to_string(recording(program, "hooks.jsonl")).unwrap().lines() {
            let event: Value = serde_json::from_str(input).unwrap();
            let answer = sandbox.hook(word, input.as_bytes());
            shown += &answer.to_string();
            assert!(event["session_id"].is_string(), "{program}: {input}");
        }
        assert!(
            shown.contains("You are planner") && shown.contains("Mail for the model."),
            "{program}: {shown}"
        );
        assert_eq!(sandbox.sql("SELECT status FROM inbox_messages"), "read", "{program}");
        let calls = sandbox.sql("SELECT count(*) FROM task_stream WHERE stream_type = 'tool_use'");
        assert_ne!(calls, "0", "{program}");
    }
}
