//! OpenCode's stream, and the usage that its plugin reports.

use serde_json::{Value, json};

use super::super::hook_handler::{HookEnvironment, handle};
use super::*;
use crate::store::{NetworkFs, Writer};

fn lines(lines: &[Value]) -> Vec<u8> {
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    lines.join("\n").into_bytes()
}

fn step_start(message: &str) -> Value {
    json!({"type": "step_start", "sessionID": "ses_1", "part": {"messageID": message, "type": "step-start"}})
}

fn step_finish(message: &str, reason: &str, cost: f64) -> Value {
    let tokens = json!({"input": 600, "output": 40, "reasoning": 10, "cache": {"read": 400, "write": 100}});
    let part = json!({"messageID": message, "reason": reason, "tokens": tokens, "cost": cost});
    json!({"type": "step_finish", "sessionID": "ses_1", "part": part})
}

#[test]
fn recorded_stream_becomes_rows() {
    let (tasks, usage) = parse(OPENCODE, &data("opencode.jsonl"), StreamEnd::Exit(0));
    assert_eq!(
        kinds(&tasks),
        "status status turn_start text tool_use tool_result tool_use tool_result turn_end turn_start tool_use tool_result \
         turn_end turn_start tool_use tool_result tool_use tool_result turn_end turn_start tool_use tool_result turn_end \
         turn_start text turn_end status"
    );
    assert_eq!(last_status(&tasks), "completed");
    let results = of(&tasks, &Kind::TOOL_RESULT);
    assert_eq!(
        (results[0].tool_output.as_str(), results[0].error_msg.as_str()),
        ("one\n", "")
    );
    assert_eq!(results[1].error_msg, "exit code 3");
    assert!(results[5].error_msg.starts_with("File not found"));
    let last = usage.last().unwrap();
    assert_eq!(
        (last.turns, last.tokens_in, last.tokens_out),
        (Some(5), Some(5000), Some(250))
    );
    assert_eq!(
        (last.tokens_cached, last.cost_source.as_deref()),
        (Some(2000), Some("reported"))
    );
    assert!((last.cost.unwrap() - 5.0 * 0.00114).abs() < 1e-9);
}

#[test]
fn error_of_the_stream_fails_the_task() {
    let (tasks, usage) = parse(OPENCODE, &data("opencode-error.jsonl"), StreamEnd::Exit(1));
    assert_eq!(last_status(&tasks), "failed");
    assert_eq!(of(&tasks, &Kind::ERROR)[0].error_msg, "bad key");
    assert_eq!(usage.last().unwrap().status.as_deref(), Some("error"));
}

#[test]
fn turn_after_the_last_step_reopens_the_task() {
    let stream = lines(&[
        step_start("m1"),
        step_finish("m1", "stop", 0.5),
        step_start("m2"),
        step_finish("m2", "stop", 0.5),
    ]);
    let (tasks, usage) = parse(OPENCODE, &stream, StreamEnd::Exit(0));
    assert_eq!(last_status(&tasks), "completed");
    let last = usage.last().unwrap();
    assert_eq!(
        (last.turns, last.tokens_in, last.cost),
        (Some(2), Some(2200), Some(1.0))
    );
}

#[test]
fn stream_that_ends_early_fails_the_task() {
    let stream = lines(&[step_start("m1"), step_finish("m1", "tool-calls", 0.5), step_start("m2")]);
    let (tasks, usage) = parse(OPENCODE, &stream, StreamEnd::Eof);
    assert_eq!(last_status(&tasks), "failed");
    assert_eq!(usage.last().unwrap().tokens_in, Some(1100));
}

#[test]
fn model_without_a_price_has_no_cost() {
    let stream = lines(&[step_start("m1"), step_finish("m1", "stop", 0.0)]);
    let (_, usage) = parse(OPENCODE, &stream, StreamEnd::Exit(0));
    let last = usage.last().unwrap();
    assert_eq!((last.cost, last.cost_source.as_deref()), (None, Some("unknown")));
}

/// A session whose hooks the plugin runs.
struct Session {
    _folder: tempfile::TempDir,
    writer: Writer,
}

impl Session {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open(&folder.path().join("hub.db"), NetworkFs::Allow).unwrap();
        Self {
            _folder: folder,
            writer,
        }
    }

    /// Runs a hook, and returns its output.
    fn hook(&self, event: &str, fields: &Value) -> Value {
        let mut input = json!({"hook_event_name": event, "session_id": "ses_1", "cwd": "/w"});
        let more = fields.as_object().unwrap().clone();
        input.as_object_mut().unwrap().extend(more);
        let environment = HookEnvironment {
            now: crate::protocol::now_ms(),
            ..HookEnvironment::default()
        };
        let tool = (OPENCODE, OPENCODE.hooks.as_ref().unwrap());
        let output = handle(&self.writer, tool, &input, &environment).unwrap();
        output.map_or(Value::Null, |output| {
            output.confirm_printed(&self.writer).unwrap();
            serde_json::from_str(&output.text).unwrap()
        })
    }

    fn begin(&self) {
        self.hook("SessionStart", &json!({"source": "startup"}));
        self.hook("UserPromptSubmit", &json!({"prompt": "Begin"}));
    }

    fn totals(&self) -> (i64, i64, i64, Option<f64>) {
        let row = self.writer.totals("ses_1").unwrap().unwrap();
        (
            row.turns.unwrap(),
            row.tokens_in.unwrap(),
            row.tokens_out.unwrap(),
            row.cost,
        )
    }
}

fn used(id: &str, tokens: i64, turns: i64, cost: f64) -> Value {
    json!({"id": id, "model": "lab-model", "tokens_in": tokens, "tokens_out": 50, "tokens_cached": 400, "cost": cost, "turns": turns})
}

#[test]
fn messages_in_hooks_count_once_and_have_a_cost() {
    let session = Session::new();
    session.begin();
    let first = [
        used("m1", 1000, 1, 0.5),
        used("m2", 1000, 1, 0.5),
        used("sub", 300, 0, 0.25),
    ];
    session.hook("Stop", &json!({"usage": first}));
    assert_eq!(session.totals(), (2, 2300, 150, Some(1.25)));
    session.hook("UserPromptSubmit", &json!({"prompt": "Go on"}));
    session.hook(
        "Stop",
        &json!({"usage": [used("m2", 1200, 1, 0.5), used("m3", 1000, 1, 0.5)]}),
    );
    assert_eq!(session.totals(), (3, 3500, 200, Some(1.75)));
    session.hook("RunEnd", &json!({"usage": [used("m4", 1000, 1, 0.0)]}));
    assert_eq!(session.totals(), (4, 4500, 250, None));
}

#[test]
fn mail_comes_with_the_prompt_a_result_and_the_last_text() {
    let session = Session::new();
    let start = session.hook("SessionStart", &json!({"source": "startup"}));
    assert_eq!(start["env"]["AGENTHUB_AGENT"], "opencode-ses_1");
    assert!(start["context"].as_str().unwrap().contains("You are opencode-ses_1"));
    let send = |text: &str| {
        let mail = crate::store::NewInboxMessage::new("tester", "opencode-ses_1", text.to_owned());
        session.writer.send(&mail).unwrap();
    };
    let cases = [
        ("UserPromptSubmit", "context", json!({"prompt": "Begin"})),
        (
            "PostToolUse",
            "context",
            json!({"tool_name": "bash", "tool_use_id": "c", "tool_response": "one"}),
        ),
        ("TextComplete", "continuation", json!({"text": "Done."})),
        ("Stop", "continuation", json!({"stop_hook_active": true})),
    ];
    for (event, field, fields) in cases {
        send(event);
        let output = session.hook(event, &fields);
        assert!(output[field].as_str().unwrap().contains(event), "{event}: {output}");
    }
    // The process ends with this turn.
    send("RunEnd");
    assert_eq!(session.hook("RunEnd", &json!({})), Value::Null);
}
