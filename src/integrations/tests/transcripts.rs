//! Tokens of interactive sessions: the tools' own records of sessions, read by hooks.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::hook_handler::{HookEnvironment, handle, record_late};
use super::super::session_state;
use super::super::spec::EventKind;
use super::super::transcript::{HookSession, MAX_READ, read};
use super::*;
use crate::store::{NetworkFs, TelemetryRow, Writer};

pub(super) struct Session {
    folder: tempfile::TempDir,
    writer: Writer,
    tool: &'static Integration,
}

impl Session {
    pub(super) fn new(tool: &'static Integration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open(&folder.path().join("hub.db"), NetworkFs::Refuse).unwrap();
        Self { folder, writer, tool }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("record.jsonl")
    }

    pub(super) fn append(&self, text: &str) {
        let file = fs::OpenOptions::new().create(true).append(true).open(self.path());
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn input(&self, event: &str, path: &Path) -> serde_json::Value {
        let path = path.to_str().unwrap();
        json!({"session_id": "s", "hook_event_name": event, "transcript_path": path, "cwd": "/w"})
    }

    pub(super) fn hook(&self, event: &str) {
        self.hook_with(event, &HookEnvironment::default());
    }

    fn hook_with(&self, event: &str, environment: &HookEnvironment) {
        let tool = (self.tool, self.tool.hooks.as_ref().unwrap());
        drop(handle(&self.writer, tool, &self.input(event, &self.path()), environment).unwrap());
    }

    fn totals(&self) -> Option<TelemetryRow> {
        self.writer.totals("s").unwrap()
    }

    pub(super) fn tokens(&self) -> (i64, i64, i64) {
        self.totals().map_or((0, 0, 0), |row| {
            (row.turns.unwrap(), row.tokens_in.unwrap(), row.tokens_out.unwrap())
        })
    }

    fn state(&self) -> session_state::TranscriptState {
        let id = format!("{}-s", self.tool.id);
        session_state::load(&self.writer, &id).unwrap().1.transcript.unwrap()
    }

    /// Returns the tokens of the turns that ended.
    fn turns(&self) -> Vec<(i64, i64)> {
        let rows = self
            .writer
            .task_events_after(&format!("{}-s", self.tool.id), 0, 100)
            .unwrap();
        rows.items
            .iter()
            .filter(|row| row.stream_type == Kind::TURN_END.as_str())
            .map(|row| (row.tokens_in.unwrap_or(0), row.tokens_out.unwrap_or(0)))
            .collect()
    }
}

/// Returns a line of Claude Code's record.
fn message(id: &str, tokens_in: i64, tokens_out: i64) -> String {
    format!(
        "{{\"type\":\"assistant\",\"sessionId\":\"s\",\"message\":{{\"id\":\"{id}\",\"model\":\"opus\",\"content\":[],\
         \"usage\":{{\"input_tokens\":{tokens_in},\"output_tokens\":{tokens_out}}}}}}}\n"
    )
}

/// Returns a line of Codex's record with the thread's totals and those of its last request.
fn token_count(total: i64, last: i64) -> String {
    format!(
        "{{\"timestamp\":\"t\",\"type\":\"event_msg\",\"payload\":{{\"type\":\"token_count\",\"info\":{{\
         \"total_token_usage\":{{\"input_tokens\":{total},\"cached_input_tokens\":0,\"output_tokens\":{total}}},\
         \"last_token_usage\":{{\"input_tokens\":{last},\"output_tokens\":{last}}}}}}}}}\n"
    )
}

#[test]
fn each_message_counts_once_and_turns_have_their_tokens() {
    let session = Session::new(CLAUDE);
    session.hook("SessionStart");
    session.append("{\"type\":\"user\",\"sessionId\":\"s\",\"message\":{\"content\":\"the \\\"assistant\\\"\"}}\n");
    session.hook("UserPromptSubmit");
    // A message has one line per block; a later line may have a more recent figure.
    session.append(&message("a", 100, 1));
    session.append(&message("a", 100, 30));
    session.append(&message("b", 50, 7));
    session.append("{\"type\":\"assistant\",\"sessionId\":\"s\",\"message\":{\"id\":\"x\",\"model\":\"<synthetic>\",\"usage\":{\"input_tokens\":9,\"output_tokens\":9}}}\n");
    session.hook("Stop");
    assert_eq!(session.tokens(), (2, 150, 37));
    assert_eq!(session.turns(), [(150, 37)]);
    let row = session.totals().unwrap();
    assert_eq!(
        (row.model.as_str(), row.status.as_str(), row.cost),
        ("opus", "completed", None)
    );
    assert_eq!(row.agent_id, "claude-s");
    // A line without an end is not read yet.
    let (begin, end) = {
        let line = message("c", 10, 2);
        (line[..40].to_owned(), line[40..].to_owned())
    };
    session.append(&begin);
    session.hook("UserPromptSubmit");
    assert_eq!(session.tokens(), (2, 150, 37));
    session.append(&end);
    // The turn is interrupted; its tokens are in the next turn that ends.
    session.hook("UserPromptSubmit");
    assert_eq!(session.tokens(), (3, 160, 39));
    session.append(&message("d", 5, 1));
    session.hook("Stop");
    session.hook("SessionEnd");
    assert_eq!(
        (session.tokens(), session.turns()),
        ((4, 165, 40), vec![(150, 37), (15, 3)])
    );
}

#[test]
fn subagents_in_files_of_their_own_count() {
    let session = Session::new(CLAUDE);
    let folder = session.folder.path().join("record/subagents");
    fs::create_dir_all(&folder).unwrap();
    let sub = |name: &str, text: &str| {
        let file = fs::OpenOptions::new().create(true).append(true).open(folder.join(name));
        file.unwrap().write_all(text.as_bytes()).unwrap();
    };
    let side = |id: &str| message(id, 100, 10).replace("\"assistant\",", "\"assistant\",\"isSidechain\":true,");
    session.hook("SessionStart");
    session.append(&message("a", 7, 3));
    sub("agent-1.jsonl", &side("x"));
    sub("agent-2.jsonl", &side("y"));
    sub("agent-2.meta.json", &side("no record"));
    session.hook("Stop");
    assert_eq!((session.tokens(), session.turns()), ((1, 207, 23), vec![(207, 23)]));
    // Totals of the session include the lines of subagents that were not read yet.
    sub("agent-1.jsonl", &side("z"));
    let totals = r#"{"type":"cost-state","sessionId":"s","totalCostUSD":0.5,"modelUsage":{"opus":{"inputTokens":307,"outputTokens":33}}}"#;
    session.append(&format!("{totals}\n"));
    session.hook("SessionEnd");
    session.hook("UserPromptSubmit");
    assert_eq!(session.tokens(), (1, 307, 33));
    assert_eq!(session.totals().unwrap().cost, Some(0.5));
    sub("agent-3.jsonl", &side("w"));
    session.hook("Stop");
    assert_eq!(
        (session.tokens(), session.turns()),
        ((1, 407, 43), vec![(207, 23), (200, 20)])
    );
    assert_eq!(session.state().further_files.len(), 3);
}

#[test]
fn cost_that_the_tool_reports_is_taken_until_more_is_used() {
    let session = Session::new(CLAUDE);
    session.hook("SessionStart");
    session.append(&message("a", 100, 30));
    session.append("{\"type\":\"cost-state\",\"sessionId\":\"s\",\"totalCostUSD\":0.25,\"modelUsage\":{\"opus\":{\"inputTokens\":150,\"outputTokens\":40}}}\n");
    session.hook("SessionEnd");
    let row = session.totals().unwrap();
    assert_eq!(
        (row.tokens_in, row.cost, row.cost_source.as_str()),
        (Some(150), Some(0.25), "reported")
    );
    session.append(&message("b", 10, 1));
    session.hook("Stop");
    let row = session.totals().unwrap();
    assert_eq!((row.tokens_in, row.cost), (Some(160), None));
}

#[test]
fn codex_thread_has_its_totals() {
    let session = Session::new(CODEX);
    session.hook("SessionStart");
    for total in [1000, 3000] {
        session.append("{\"timestamp\":\"t\",\"type\":\"event_msg\",\"payload\":{\"type\":\"task_started\"}}\n");
        session.append("{\"timestamp\":\"t\",\"type\":\"turn_context\",\"payload\":{\"model\":\"gpt-5.5\"}}\n");
        session.append(
            "{\"timestamp\":\"t\",\"type\":\"event_msg\",\"payload\":{\"type\":\"token_count\",\"info\":null}}\n",
        );
        session.append(&token_count(total, 500));
        session.hook("Stop");
    }
    assert_eq!(
        (session.tokens(), session.turns()),
        ((2, 3000, 3000), vec![(1000, 1000), (2000, 2000)])
    );
    assert_eq!(session.totals().unwrap().model, "gpt-5.5");
    assert_eq!(session.state().lines_without_usage, 0);
}

#[test]
fn gemini_message_that_is_replaced_counts_once() {
    let session = Session::new(GEMINI);
    let line = "{\"id\":\"a\",\"type\":\"gemini\",\"content\":\"\",\"tokens\":{\"input\":1000,\"output\":50,\"cached\":400,\"thoughts\":10,\"tool\":0,\"total\":1060},\"model\":\"gemini-3-pro\"}\n";
    session.append("{\"sessionId\":\"s\",\"projectHash\":\"p\",\"kind\":\"main\"}\n");
    session.append(line);
    session.append("{\"$set\":{\"lastUpdated\":\"t\"}}\n");
    session.append(line);
    let hook = HookSession {
        tool: GEMINI,
        id: "gemini-s",
        instance: "s",
        agent: "gemini-s",
        pid: None,
    };
    let usage = read(
        &session.writer,
        hook,
        EventKind::Stop,
        &session.input("AfterAgent", &session.path()),
    )
    .unwrap()
    .unwrap();
    let turn = usage.store(&session.writer).unwrap();
    assert_eq!(session.tokens(), (1, 1000, 60));
    assert_eq!((turn.tokens_in, turn.tokens_out), (1000, 60));
    // The same usage is not stored again: another hook was faster.
    assert_eq!(usage.store(&session.writer).unwrap(), Usage::default());
    assert_eq!(session.tokens(), (1, 1000, 60));
}

#[test]
fn session_that_run_records_is_not_counted_twice() {
    let session = Session::new(CLAUDE);
    session.append(&message("a", 100, 30));
    session.hook("Stop");
    // `run` resumes the session; its hooks record nothing.
    let environment = HookEnvironment {
        task: Some("run-1".into()),
        ..HookEnvironment::default()
    };
    session.append(&message("b", 1000, 300));
    session.hook_with("Stop", &environment);
    let by_run = NewTelemetry {
        instance_id: "s".into(),
        turns: Some(2),
        tokens_in: Some(1100),
        tokens_out: Some(330),
        cost: Some(0.5),
        ..NewTelemetry::default()
    };
    session.writer.record_telemetry(&by_run).unwrap();
    session.hook("SessionStart");
    session.append(&message("c", 10, 3));
    session.hook("Stop");
    assert_eq!(
        (session.tokens(), session.turns()),
        ((3, 1110, 333), vec![(100, 30), (10, 3)])
    );
}

#[test]
fn long_record_is_counted_from_its_end() {
    let session = Session::new(CODEX);
    let line = format!("{{\"payload\":{{\"text\":\"{}\"}}}}\n", "x".repeat(1 << 20));
    for _ in 0..5 {
        session.append(&line);
    }
    session.append(&token_count(9000, 100));
    session.append("{\"payload\":{\"text\":\"");
    session.hook("UserPromptSubmit");
    session.append(&token_count(7, 7));
    session.append(&token_count(9300, 300));
    session.hook("Stop");
    // The line that had begun is skipped. The totals are the thread's, the turn's are its own.
    assert_eq!((session.tokens(), session.turns()), ((0, 9300, 9300), vec![(300, 300)]));
}

#[test]
fn each_hook_reads_a_bounded_part() {
    let session = Session::new(CLAUDE);
    session.hook("SessionStart");
    let filler = format!(
        "{{\"type\":\"user\",\"content\":\"{}\"}}\n",
        "x".repeat((1 << 20) - 100)
    );
    for n in 0..9 {
        session.append(&message(&n.to_string(), 10, 1));
        session.append(&filler);
    }
    let mut positions = vec![0];
    for _ in 0..3 {
        session.hook("UserPromptSubmit");
        positions.push(session.state().file.bytes);
    }
    let length = fs::metadata(session.path()).unwrap().len();
    assert!(
        positions.windows(2).all(|pair| pair[1] - pair[0] <= MAX_READ),
        "{positions:?}"
    );
    assert_eq!((session.tokens(), positions[3]), ((9, 90, 9), length));
    // A line that is longer than a read is skipped as a whole.
    let before = session.tokens();
    session.append(&message("long", 1, 1).replace("[]", &format!("\"{}\"", "y".repeat(6 << 20))));
    session.append(&message("after", 10, 1));
    session.hook("UserPromptSubmit");
    session.hook("UserPromptSubmit");
    assert_eq!((before.1, session.tokens()), (90, (10, 100, 10)));
}

#[test]
fn refuses_anything_but_a_regular_file_of_this_user() {
    let session = Session::new(CLAUDE);
    session.append(&message("a", 100, 30));
    let hook = HookSession {
        tool: CLAUDE,
        id: "claude-s",
        instance: "s",
        agent: "claude-s",
        pid: None,
    };
    let folder = session.folder.path();
    let link = folder.join("link.jsonl");
    std::os::unix::fs::symlink(folder.join("hub.db"), &link).unwrap();
    let hard_link = folder.join("hard.jsonl");
    fs::hard_link(folder.join("hub.db"), &hard_link).unwrap();
    let fifo = folder.join("fifo.jsonl");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
    for path in [
        folder.to_path_buf(),
        folder.join("hub.db"),
        folder.join("hub.db-wal"),
        link,
        hard_link,
        fifo,
        PathBuf::from("/dev/zero"),
        PathBuf::from("record.jsonl"),
        folder.join("missing.jsonl"),
    ] {
        let usage = read(&session.writer, hook, EventKind::Stop, &session.input("Stop", &path))
            .unwrap()
            .unwrap();
        let turn = usage.store(&session.writer).unwrap();
        assert_eq!(turn, Usage::default(), "{}", path.display());
    }
    // A subagent's hooks, other events and late ones read nothing.
    let mut input = session.input("Stop", &session.path());
    input["agent_id"] = "sub".into();
    assert_eq!(read(&session.writer, hook, EventKind::Stop, &input).unwrap(), None);
    let input = session.input("PreToolUse", &session.path());
    assert_eq!(read(&session.writer, hook, EventKind::ToolUse, &input).unwrap(), None);
    let tool = (CLAUDE, CLAUDE.hooks.as_ref().unwrap());
    let input = session.input("Stop", &session.path());
    record_late(&session.writer, tool, &input, &HookEnvironment::default()).unwrap();
    assert_eq!(session.totals(), None);
}

#[test]
fn file_that_became_shorter_is_not_counted_again() {
    let session = Session::new(CLAUDE);
    session.append(&message("a", 100, 30));
    session.append(&message("b", 100, 30));
    session.hook("Stop");
    fs::write(session.path(), message("a", 100, 30)).unwrap();
    session.hook("UserPromptSubmit");
    session.append(&message("c", 1, 1));
    session.hook("Stop");
    assert_eq!(session.tokens(), (3, 201, 61));
}

#[test]
fn lines_without_usage_are_counted() {
    let session = Session::new(CLAUDE);
    for id in ["a", "b"] {
        session.append(&message(id, 100, 30).replace("usage", "consumption"));
    }
    session.append(&message("c", 1, 1));
    session.hook("Stop");
    let state = session.state();
    assert_eq!((state.lines_with_usage, state.lines_without_usage), (1, 2));
    assert!(state.is_format_unknown());
}

/// Rows and states are bounded, and the hook goes on.
#[test]
fn numbers_and_names_out_of_range_are_cut() {
    let session = Session::new(CLAUDE);
    session.append(&message(&"i".repeat(300), 10, 1));
    session.append(&message("a", 10, 1).replace("opus", &"m".repeat(300)));
    for n in 0..10_000 {
        session.append(&message(&n.to_string(), i64::MAX, i64::MAX));
    }
    session.hook("Stop");
    let row = session.totals().unwrap();
    assert_eq!(
        (row.tokens_in, row.model.as_str()),
        (Some(1_000_000_000_000_000), "opus")
    );
    let state = session.state();
    assert_eq!(state.lines_without_usage, 1);
    assert_eq!(session.turns(), [(1_000_000_000_000_000, 1_000_000_000_000_000)]);
}

/// Returns a line of Qwen Code's record: a request with this prompt id.
fn qwen_request(prompt: &str, tokens: &str) -> String {
    format!(
        "{{\"uuid\":\"{prompt}\",\"sessionId\":\"s\",\"type\":\"system\",\"provenance\":\"system\",\
         \"subtype\":\"ui_telemetry\",\"systemPayload\":{{\"uiEvent\":{{\"event.name\":\"qwen-code.api_response\",\
         \"model\":\"m\",{tokens}\"prompt_id\":\"{prompt}\"}}}}}}\n"
    )
}

#[test]
fn qwen_requests_of_subagents_and_summaries_are_no_turns() {
    let session = Session::new(QWEN);
    let tokens = "\"input_token_count\":1000,\"output_token_count\":40,\"total_token_count\":1050,";
    session.hook("SessionStart");
    session.append(&qwen_request("s########0", tokens));
    session.append(&qwen_request("s#general-purpose-1#0", tokens));
    session.append(&qwen_request("compress-1", tokens));
    session.hook("Stop");
    assert_eq!(session.tokens(), (1, 3000, 150));
    assert_eq!(session.state().lines_without_usage, 0);
    session.append(&qwen_request("s########1", ""));
    session.hook("Stop");
    assert_eq!(session.state().lines_without_usage, 1);
}
