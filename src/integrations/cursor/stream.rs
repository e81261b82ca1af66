//! The stream of Cursor's command line program: `cursor-agent -p --output-format stream-json`. Its last line has
//! the tokens in recent versions; it contains no cost.
//!
//! With `--stream-partial-output` a message arrives in pieces, which have `timestamp_ms` and no `model_call_id`,
//! and then as a whole.
//!
//! `tool_call` is an open object: the tool's key (`shellToolCall`) is one of several, and so is the kind of a
//! result.

use serde_json::Value;

use crate::integrations::arguments::{flag, stream_json_flags};
use crate::integrations::json_fields::{joined_text, number, result_text, text};
use crate::integrations::spec::{StreamFlags, StreamParser, StreamSpec};
use crate::integrations::task_builder::TaskBuilder;

pub(super) const BINARY: &str = "cursor-agent";

pub(super) const SPEC: StreamSpec = StreamSpec {
    format: "cursor-json",
    command: "cursor-agent -p --output-format stream-json",
    example: "cursor-agent -p …",
    binary: BINARY,
    flags,
    prompt_flags: &["-p", "--print"],
    switches: &["-p", "--print", "-f", "--force", "--yolo"],
    parser: || Box::<Parser>::default(),
};

fn flags(given: &[String]) -> Result<StreamFlags, &'static str> {
    if flag(given, &["-p", "--print"]).is_none() {
        return Err("interactive cursor-agent can't be recorded; use agenthub init");
    }
    stream_json_flags(given, &["--output-format"])
}

/// The end of the key of a tool's call.
const CALL_SUFFIX: &str = "ToolCall";

#[derive(Debug, Default)]
struct Parser {
    /// A tool has returned a result: the model's next output begins a new turn.
    has_tool_result: bool,
    /// The pieces of a message whose whole has not arrived.
    pieces: String,
}

impl StreamParser for Parser {
    fn line(&mut self, line: &Value, task: &mut TaskBuilder) {
        let kind = text(line, "type");
        if !matches!(kind, "system" | "user" | "assistant" | "tool_call" | "result") {
            return;
        }
        // Each line names the session: the first one may be missing.
        task.begin_session(text(line, "session_id"), text(line, "model"), text(line, "cwd"));
        task.identify(&recording_key(line));
        if kind != "assistant" {
            self.end_pieces(task);
        }
        match kind {
            "user" => task.set_directive(&joined_text(&line["message"]["content"])),
            "assistant" => self.assistant(line, task),
            "tool_call" => self.tool_call(line, task),
            "result" => result(line, task),
            _ => {}
        }
        task.count_known_line();
    }

    fn end(&mut self, task: &mut TaskBuilder) {
        self.end_pieces(task);
    }
}

impl Parser {
    fn assistant(&mut self, line: &Value, task: &mut TaskBuilder) {
        self.model_output(task);
        let content = joined_text(&line["message"]["content"]);
        if line["timestamp_ms"].is_number() && line["model_call_id"].is_null() {
            self.pieces.push_str(&content);
            return;
        }
        if content.starts_with(&self.pieces) {
            self.pieces.clear();
        }
        self.end_pieces(task);
        task.text(&content, "");
    }

    /// Writes the pieces of a message whose whole does not follow.
    fn end_pieces(&mut self, task: &mut TaskBuilder) {
        task.text(&std::mem::take(&mut self.pieces), "");
    }

    fn tool_call(&mut self, line: &Value, task: &mut TaskBuilder) {
        let Some((name, call)) = called_tool(&line["tool_call"]) else {
            return;
        };
        let id = text(line, "call_id");
        if !task.is_open_call(id) {
            self.model_output(task);
            let input = if call["args"].is_null() {
                &call["arguments"]
            } else {
                &call["args"]
            };
            task.tool_use(id, name, &input.to_string(), "");
        }
        if text(line, "subtype") == "completed" {
            self.has_tool_result = true;
            let (output, error) = tool_result(&call["result"]);
            task.tool_result(id, &output, &error, "");
        }
    }

    /// Begins a turn, if the model's output needs one.
    fn model_output(&mut self, task: &mut TaskBuilder) {
        if std::mem::take(&mut self.has_tool_result) {
            task.turn_start();
        } else {
            task.ensure_turn();
        }
    }
}

/// Returns what identifies a stream within its session: the first of these fields.
fn recording_key(line: &Value) -> String {
    ["timestamp_ms", "model_call_id", "request_id"]
        .into_iter()
        .map(|key| &line[key])
        .find(|value| !value.is_null())
        .map_or_else(String::new, Value::to_string)
}

/// Returns the tool's name, and the object with its input and result.
fn called_tool(calls: &Value) -> Option<(&str, &Value)> {
    let calls = calls.as_object()?;
    if let Some((key, call)) = calls.iter().find(|(key, _)| key.ends_with(CALL_SUFFIX)) {
        return Some((key.strip_suffix(CALL_SUFFIX)?, call));
    }
    // Another form: {"function": {"name": …, "arguments": …}}.
    let (key, call) = calls
        .iter()
        .find(|(_, call)| call.is_object())
        .or_else(|| calls.iter().next())?;
    Some((call["name"].as_str().unwrap_or(key), call))
}

/// Returns a result's output and its error. A successful one has the key `success`; the key of any other result
/// names the kind of error. Flags of the result are its siblings.
fn tool_result(result: &Value) -> (String, String) {
    let Some(kinds) = result.as_object() else {
        return (result_text(result), String::new());
    };
    if let Some(success) = kinds.get("success") {
        let error = match success["exitCode"].as_i64() {
            None | Some(0) => String::new(),
            Some(code) => format!("exit code {code}"),
        };
        return (output(success), error);
    }
    let is_flag = |value: &Value| value.is_boolean() || value.is_number() || value.is_null();
    let failure = kinds
        .iter()
        .find(|(_, value)| !is_flag(value))
        .or_else(|| kinds.iter().next());
    match failure {
        Some((kind, value)) => (String::new(), format!("{kind}: {}", result_text(value))),
        None => (String::new(), String::new()),
    }
}

/// Returns the text of a successful result: what a command printed, a file's content, or its JSON.
fn output(success: &Value) -> String {
    let printed: Vec<&str> = ["stdout", "stderr"]
        .into_iter()
        .filter_map(|key| success[key].as_str())
        .collect();
    if !printed.is_empty() {
        let printed: Vec<&str> = printed.into_iter().filter(|text| !text.is_empty()).collect();
        return printed.join("\n");
    }
    match &success["content"] {
        Value::Null => result_text(success),
        content => result_text(content),
    }
}

fn result(line: &Value, task: &mut TaskBuilder) {
    let used = task.used_mut();
    used.duration_sec = number(line, "duration_ms") / 1000;
    let usage = &line["usage"];
    if usage.is_object() {
        used.tokens_in = number(usage, "inputTokens");
        used.tokens_out = number(usage, "outputTokens");
        used.tokens_cached = number(usage, "cacheReadTokens");
    }
    if text(line, "subtype") == "success" && line["is_error"] != Value::Bool(true) {
        task.complete();
    } else {
        task.fail(text(line, "result"));
    }
}
