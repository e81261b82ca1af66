//! Kimi Code: lines of its stream that a whole run rarely has, and tokens from its own record.

use serde_json::json;

use super::super::hook_handler::{HookEnvironment, handle};
use super::super::kimi;
use super::*;
use crate::store::{NetworkFs, NewInboxMessage, Writer};

const KIMI: &Integration = &kimi::INTEGRATION;

fn lines(values: &[serde_json::Value]) -> Vec<u8> {
    let lines: Vec<String> = values.iter().map(ToString::to_string).collect();
    lines.join("\n").into_bytes()
}

fn version() -> serde_json::Value {
    json!({"role": "meta", "type": "system.version", "version": "2.1.0"})
}

fn last_line() -> serde_json::Value {
    json!({"role": "meta", "type": "session.resume_hint", "session_id": "session_1", "command": "kimi -r session_1"})
}

#[test]
fn failed_run_has_no_last_line() {
    let (tasks, _) = parse(KIMI, &lines(&[version()]), StreamEnd::Exit(1));
    assert_eq!(last_status(&tasks), "failed");
    assert_eq!(of(&tasks, &Kind::ERROR)[0].error_msg, "exited with code 1");
}

#[test]
fn retry_is_a_remark() {
    let retry = json!({"role": "meta", "type": "turn.step.retrying", "failed_attempt": 1, "error_message": "429 slow"});
    let answer = json!({"role": "assistant", "content": "Here I am."});
    let (tasks, _) = parse(
        KIMI,
        &lines(&[version(), retry, answer, last_line()]),
        StreamEnd::Exit(0),
    );
    assert_eq!(last_status(&tasks), "completed");
    assert!(of(&tasks, &Kind::ERROR).is_empty());
    assert!(of(&tasks, &Kind::STATUS).iter().any(|row| row.text == "429 slow"));
    assert_eq!(of(&tasks, &Kind::TEXT)[0].text, "Here I am.");
}

#[test]
fn refusal_of_a_hook_is_an_error() {
    let refusal = json!({"role": "assistant", "content": "UserPromptSubmit hook blocked\n\nNot today."});
    let (tasks, _) = parse(KIMI, &lines(&[version(), refusal]), StreamEnd::Exit(1));
    assert!(of(&tasks, &Kind::TEXT).is_empty());
    assert_eq!(of(&tasks, &Kind::ERROR)[0].error_msg, "Not today.");
    assert_eq!(last_status(&tasks), "failed");
}

#[test]
fn agent_is_that_of_the_last_line() {
    let answer = json!({"role": "assistant", "content": "Hello"});
    let (tasks, _) = parse(KIMI, &lines(&[answer, last_line()]), StreamEnd::Exit(0));
    assert!(tasks.last().unwrap().agent_id.starts_with("kimi-"), "{tasks:?}");
}

#[test]
fn mail_keeps_a_turn_from_its_end_in_kimis_form() {
    let folder = tempfile::tempdir().unwrap();
    let writer = Writer::open(&folder.path().join("hub.db"), NetworkFs::Allow).unwrap();
    let hooks = KIMI.hooks.as_ref().unwrap();
    let environment = HookEnvironment {
        now: 1_790_000_000_000,
        ..HookEnvironment::default()
    };
    let call = |event: &str, more: serde_json::Value| {
        let mut input = json!({"hook_event_name": event, "session_id": "session_1", "cwd": "/home/ada/api"});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let output = handle(&writer, (KIMI, hooks), &input, &environment).unwrap();
        output.map(|output| serde_json::from_str::<serde_json::Value>(&output.text).unwrap())
    };
    assert_eq!(call("SessionStart", json!({"source": "startup"})), None);
    let prompt = json!([{"type": "text", "text": "Begin please"}]);
    let greeting = call("UserPromptSubmit", json!({"prompt": prompt})).unwrap();
    let name = writer.session("kimi-session_1").unwrap().unwrap().agent;
    assert!(
        greeting["message"]
            .as_str()
            .unwrap()
            .contains(&format!("You are {name}"))
    );
    assert_eq!(call("Stop", json!({"stop_hook_active": false})), None);
    writer
        .send(&NewInboxMessage::new("worker", &name, "Mail at the end."))
        .unwrap();
    let denial = call("Stop", json!({"stop_hook_active": false})).unwrap();
    assert_eq!(denial["hookSpecificOutput"]["permissionDecision"], "deny");
    let reason = denial["hookSpecificOutput"]["permissionDecisionReason"]
        .as_str()
        .unwrap();
    assert!(reason.contains("Mail at the end."), "{reason}");
}

/// A line of the record with the usage of one request.
fn usage(agent: &str, scope: &str, at: i64) -> String {
    let usage = json!({"inputOther": 600, "output": 50, "inputCacheRead": 400, "inputCacheCreation": 0});
    let line = json!({"type": "usage.record", "agentId": agent, "model": "lab", "usage": usage, "usageScope": scope, "time": at});
    format!("{line}\n")
}

#[test]
fn each_request_in_the_record_is_counted_once() {
    let session = transcripts::Session::new(KIMI);
    session.append(&usage("main", "turn", 1));
    session.append(&usage("main", "turn", 2));
    session.hook("Stop");
    assert_eq!(session.tokens(), (2, 2000, 100));
    // A summary is a request of the session, and no turn of the model.
    session.append(&usage("main", "session", 3));
    session.hook("Stop");
    assert_eq!(session.tokens(), (2, 3000, 150));
}
