//! Gemini CLI's stream: `gemini -p … --output-format stream-json`.
//!
//! The stream contains the model's text in pieces, which are joined into one row. Turns are not marked:
//! a turn begins with the model's output after a tool result.
//!
//! `stats.input_tokens` includes cached tokens. There is no cost.

use serde_json::Value;

use crate::integrations::arguments::{flag, stream_json_flags};
use crate::integrations::json_fields::{number, text};
use crate::integrations::spec::{StreamFlags, StreamParser, StreamSpec};
use crate::integrations::task_builder::TaskBuilder;

/// Maximum bytes of buffered text; more is written as a row.
const MAX_BUFFERED_TEXT: usize = 4096;

pub(super) const SPEC: StreamSpec = StreamSpec {
    format: "gemini-json",
    command: "gemini -p --output-format stream-json",
    example: "gemini -p …",
    binary: "gemini",
    flags,
    prompt_flags: &["-p", "--prompt"],
    switches: &["-p", "-y", "--yolo"],
    parser: || Box::<Parser>::default(),
};

fn flags(given: &[String]) -> Result<StreamFlags, &'static str> {
    if flag(given, &["-p", "--prompt"]).is_none() {
        return Err("interactive gemini can't be recorded; use agenthub init");
    }
    stream_json_flags(given, &["-o", "--output-format"])
}

#[derive(Debug, Default)]
struct Parser {
    /// Text of the model that is not in a row yet.
    buffered: String,
    /// A tool has returned a result: the model's next output begins a new turn.
    has_tool_result: bool,
}

impl StreamParser for Parser {
    fn line(&mut self, line: &Value, task: &mut TaskBuilder) {
        let kind = text(line, "type");
        if !(kind == "message" && line["role"] == "assistant") {
            self.flush(task);
        }
        match kind {
            "init" => task.begin_session(text(line, "session_id"), text(line, "model"), ""),
            "message" => self.message(line, task),
            "tool_use" => {
                self.model_output(task);
                let (id, name) = (text(line, "tool_id"), text(line, "tool_name"));
                task.tool_use(id, name, &line["parameters"].to_string(), "");
            }
            "tool_result" => {
                self.has_tool_result = true;
                let failed = text(line, "status") == "error";
                let error = line["error"]["message"]
                    .as_str()
                    .unwrap_or(if failed { "error" } else { "" });
                task.tool_result(text(line, "tool_id"), text(line, "output"), error, "");
            }
            "error" => task.error(text(line, "message")),
            "result" => result(line, task),
            _ => return,
        }
        task.count_known_line();
    }

    fn end(&mut self, task: &mut TaskBuilder) {
        self.flush(task);
    }
}

impl Parser {
    fn message(&mut self, line: &Value, task: &mut TaskBuilder) {
        let content = text(line, "content");
        if line["role"] != "assistant" {
            task.set_directive(content);
            return;
        }
        self.model_output(task);
        self.buffered.push_str(content);
        if self.buffered.len() >= MAX_BUFFERED_TEXT || line["delta"] != Value::Bool(true) {
            self.flush(task);
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

    /// Turns the buffered text into a row.
    fn flush(&mut self, task: &mut TaskBuilder) {
        task.text(&std::mem::take(&mut self.buffered), "");
    }
}

fn result(line: &Value, task: &mut TaskBuilder) {
    let stats = &line["stats"];
    if stats.is_object() {
        let used = task.used_mut();
        used.tokens_in = number(stats, "input_tokens");
        used.tokens_out = number(stats, "output_tokens");
        used.tokens_cached = number(stats, "cached");
        used.duration_sec = number(stats, "duration_ms") / 1000;
    }
    if text(line, "status") == "success" {
        task.complete();
    } else {
        task.fail(text(&line["error"], "message"));
    }
}
