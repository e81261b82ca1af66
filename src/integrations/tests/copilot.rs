//! Copilot CLI: the end of its streams, work of subagents, and tokens from a record that is written late.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::copilot;
use super::super::hook_handler::{HookEnvironment, HookOutput, handle, record_late};
use super::super::spec::HookSpec;
use super::*;
use crate::store::{NetworkFs, TaskEventRow, Writer};

const COPILOT: &Integration = &copilot::INTEGRATION;

fn hooks() -> &'static HookSpec {
    COPILOT.hooks.as_ref().unwrap()
}

#[test]
fn refused_request_fails_the_task_with_one_error() {
    let (tasks, _) = parse(COPILOT, &data("copilot-error.jsonl"), StreamEnd::Exit(1));
    assert_eq!(
        kinds(&tasks),
        "status status turn_start turn_end error status status",
        "{tasks:?}"
    );
    assert_eq!(of(&tasks, &Kind::ERROR)[0].error_msg, "400 status 400 of the script");
    assert_eq!(last_status(&tasks), "failed");
}

#[test]
fn retry_is_a_remark() {
    let (tasks, usage) = parse(COPILOT, &data("copilot-retry.jsonl"), StreamEnd::Exit(0));
    assert_eq!(last_status(&tasks), "completed");
    assert!(of(&tasks, &Kind::ERROR).is_empty());
    let remarks: Vec<&str> = of(&tasks, &Kind::STATUS).iter().map(|t| t.text.as_str()).collect();
    assert!(remarks.iter().any(|remark| remark.contains("429")), "{remarks:?}");
    assert_eq!(usage.last().unwrap().tokens_in, Some(0));
}

#[test]
fn work_of_a_subagent_belongs_to_its_call_and_opens_no_turn() {
    let (tasks, _) = parse(COPILOT, &data("copilot-subagent.jsonl"), StreamEnd::Exit(0));
    assert_eq!(of(&tasks, &Kind::TURN_START).len(), 2);
    let calls: Vec<(&str, &str)> = of(&tasks, &Kind::TOOL_USE)
        .iter()
        .map(|t| (t.tool_name.as_str(), t.parent_call_id.as_str()))
        .collect();
    let outer = of(&tasks, &Kind::TOOL_USE)[0].call_id.as_str();
    assert_eq!(calls, [("task", ""), ("bash", outer)]);
    let texts: Vec<(&str, &str)> = of(&tasks, &Kind::TEXT)
        .iter()
        .map(|t| (t.text.as_str(), t.parent_call_id.as_str()))
        .collect();
    assert_eq!(texts, [("The subagent says hello.", outer), ("All is well.", "")]);
    let results: Vec<&str> = of(&tasks, &Kind::TOOL_RESULT)
        .iter()
        .map(|t| t.tool_output.as_str())
        .collect();
    assert_eq!(results, ["sub", "The subagent says hello."]);
    assert_eq!(of(&tasks, &Kind::STATUS)[1].directive, "Look around");
}

#[test]
fn its_own_record_of_a_session_is_read_as_a_stream_with_tokens() {
    let (tasks, usage) = parse(COPILOT, &data("copilot-record.jsonl"), StreamEnd::Eof);
    assert_eq!(last_status(&tasks), "completed");
    assert_eq!(tasks[1].workspace, "/home/ada/api");
    let failed: Vec<&str> = of(&tasks, &Kind::TOOL_RESULT)
        .iter()
        .map(|t| t.error_msg.as_str())
        .filter(|error| !error.is_empty())
        .collect();
    assert_eq!(failed, ["exit code 3"]);
    let ends: Vec<(i64, i64)> = of(&tasks, &Kind::TURN_END)
        .iter()
        .map(|t| (t.tokens_in, t.tokens_out))
        .collect();
    assert_eq!(ends, [(1000, 50), (1000, 50)]);
    let last = usage.last().unwrap();
    assert_eq!(
        (last.turns, last.tokens_in, last.tokens_cached, last.tokens_out),
        (Some(2), Some(2000), Some(800), Some(100))
    );
}

#[test]
fn every_prefix_ends_its_task() {
    for name in ["copilot-error", "copilot-retry", "copilot-subagent", "copilot-record"] {
        let whole = data(&format!("{name}.jsonl"));
        for end in (0..whole.len()).step_by(211) {
            let (tasks, _) = parse(COPILOT, &whole[..end], StreamEnd::Signal(9));
            assert_eq!(last_status(&tasks), "failed", "{name} {end}");
            assert_eq!(
                of(&tasks, &Kind::TURN_START).len(),
                of(&tasks, &Kind::TURN_END).len(),
                "{name} {end}"
            );
        }
    }
}

#[test]
fn only_a_run_without_a_terminal_is_recorded() {
    let flags = |command: &str| {
        let given: Vec<String> = command.split(' ').map(str::to_owned).collect();
        (COPILOT.stream.as_ref().unwrap().flags)(&given).map(|flags| (flags.index, flags.flags.join(" ")))
    };
    assert_eq!(
        flags("--allow-all -p hi").unwrap(),
        (0, "--output-format json".to_owned())
    );
    assert_eq!(flags("-p hi --output-format json").unwrap(), (0, String::new()));
    assert!(flags("-p hi --output-format=text").is_err());
    assert!(flags("--allow-all").is_err());
}

/// Hooks of one session.
struct Session {
    folder: tempfile::TempDir,
    writer: Writer,
}

impl Session {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open(&folder.path().join("hub.db"), NetworkFs::Refuse).unwrap();
        Self { folder, writer }
    }

    fn record(&self) -> PathBuf {
        self.folder.path().join("events.jsonl")
    }

    fn hook(&self, event: &str, more: &Value) -> Option<HookOutput> {
        let mut input = json!({"hook_event_name": event, "session_id": "s", "cwd": "/w"});
        for (name, value) in more.as_object().unwrap() {
            input[name] = value.clone();
        }
        let environment = HookEnvironment {
            now: 1000,
            ..HookEnvironment::default()
        };
        handle(&self.writer, (COPILOT, hooks()), &input, &environment).unwrap()
    }

    fn begin(&self) {
        drop(self.hook("SessionStart", &json!({"source": "new", "initial_prompt": "Go"})));
        drop(self.hook("UserPromptSubmit", &json!({"prompt": "Go"})));
    }

    fn rows(&self) -> Vec<TaskEventRow> {
        self.writer.task_events_after("copilot-s", 0, 100).unwrap().items
    }

    fn kinds(&self) -> String {
        let kinds: Vec<String> = self.rows().into_iter().map(|row| row.stream_type).collect();
        kinds.join(" ")
    }
}

#[test]
fn hook_after_a_tool_records_the_call_too() {
    let session = Session::new();
    session.begin();
    let result = |text: &str| json!({"result_type": "success", "text_result_for_llm": text});
    let failed = result("two\n<shellId: 0 completed with exit code 3>");
    let input = json!({"command": "false"});
    drop(session.hook(
        "PostToolUse",
        &json!({"tool_name": "Bash", "tool_input": input, "tool_result": failed}),
    ));
    drop(session.hook(
        "PostToolUseFailure",
        &json!({"tool_name": "Read", "tool_input": {}, "error": "Path does not exist"}),
    ));
    assert_eq!(
        session.kinds(),
        "turn_start status tool_use tool_result tool_use tool_result"
    );
    let rows = session.rows();
    assert_eq!(rows[2].call_id, rows[3].call_id);
    assert_ne!(rows[2].call_id, rows[4].call_id);
    let shown = |row: &TaskEventRow| (row.tool_output.clone(), row.error_msg.clone());
    assert_eq!(shown(&rows[3]), ("two".to_owned(), "exit code 3".to_owned()));
    assert_eq!(shown(&rows[5]), (String::new(), "Path does not exist".to_owned()));
}

#[test]
fn events_of_a_subagent_are_those_of_its_parent_and_end_no_turn() {
    let session = Session::new();
    session.begin();
    let of_subagent = |more: &Value| {
        let mut fields = json!({"session_id": "sub", "agent_id": "sub", "parent_agent_id": "s"});
        fields
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        fields
    };
    drop(session.hook("UserPromptSubmit", &of_subagent(&json!({"prompt": "Look"}))));
    drop(session.hook(
        "PostToolUse",
        &of_subagent(&json!({"tool_name": "Bash", "tool_input": {}})),
    ));
    drop(session.hook("Stop", &of_subagent(&json!({"stop_hook_active": false}))));
    assert_eq!(session.kinds(), "turn_start status tool_use tool_result");
    assert!(session.writer.session("copilot-sub").unwrap().is_none());
    drop(session.hook("Stop", &json!({"stop_hook_active": false})));
    assert_eq!(
        session.kinds(),
        "turn_start status tool_use tool_result turn_end status"
    );
}

fn usage_record(id: &str, tokens: i64) -> String {
    let usage = json!({"model": "gpt-5.5", "inputTokens": tokens, "outputTokens": 5, "cacheReadTokens": 1});
    let line = json!({"type": "session.usage_record", "data": {"usage": usage}, "id": id});
    format!("{line}\n")
}

#[test]
fn turn_has_the_tokens_that_are_written_while_its_hook_runs() {
    let session = Session::new();
    session.begin();
    let record = session.record();
    fs::write(&record, usage_record("a", 100)).unwrap();
    let stop = || session.hook("Stop", &json!({"transcript_path": record}));
    thread::scope(|scope| {
        scope.spawn(|| {
            #[expect(clippy::disallowed_methods, reason = "the tool writes while its hook runs")]
            thread::sleep(Duration::from_millis(40));
            let begun = r#"{"type":"hook.start","data":{"hookType":"agentStop","input":{}}}"#;
            let whole = [usage_record("a", 100), usage_record("b", 10), format!("{begun}\n")].concat();
            fs::write(&record, whole).unwrap();
        });
        drop(stop());
    });
    let ends = |session: &Session| {
        let rows = session.rows().into_iter();
        let ends = rows.filter(|row| row.stream_type == Kind::TURN_END.as_str());
        ends.map(|row| row.tokens_in.unwrap_or(0)).collect::<Vec<_>>()
    };
    assert_eq!(ends(&session), [110]);
    // A record that is never completed delays the hook for a short time only.
    let more = [fs::read_to_string(&record).unwrap(), usage_record("c", 7)].concat();
    fs::write(&record, more).unwrap();
    drop(stop());
    assert_eq!(ends(&session), [110, 7]);
    // The end of the session names no record.
    let more = [fs::read_to_string(&record).unwrap(), usage_record("d", 3)].concat();
    fs::write(&record, more).unwrap();
    drop(session.hook("SessionEnd", &json!({"reason": "user_exit"})));
    assert_eq!(session.writer.totals("s").unwrap().unwrap().tokens_in, Some(120));
}

#[test]
fn only_an_extension_of_a_session_that_has_begun_gets_the_file_to_watch() {
    let session = Session::new();
    let watch = || session.hook("Watch", &json!({"permission_mode": "allow-all"}));
    assert_eq!(watch(), None);
    let greeting = session
        .hook("SessionStart", &json!({"source": "new", "initial_prompt": "Go"}))
        .unwrap();
    assert!(!greeting.text.contains("watch_file"), "{}", greeting.text);
    let answer: Value = serde_json::from_str(&watch().unwrap().text).unwrap();
    let file = PathBuf::from(answer["watch_file"].as_str().unwrap());
    assert!(file.exists());
    let row = session.writer.session("copilot-s").unwrap().unwrap();
    assert_eq!(row.permission_mode, "allow-all");
    // Nothing wakes it.
    assert_eq!(session.hook("Wake", &json!({})), None);
    drop(session.hook("SessionEnd", &json!({"reason": "user_exit"})));
    assert!(!file.exists());
    assert_eq!(watch(), None);
    let late = json!({"hook_event_name": "Watch", "session_id": "other"});
    let environment = HookEnvironment::default();
    record_late(&session.writer, (COPILOT, hooks()), &late, &environment).unwrap();
    assert!(session.writer.session("copilot-other").unwrap().is_none());
}
