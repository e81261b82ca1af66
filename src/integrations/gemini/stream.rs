//! Gemini CLI's stream: `gemini -p … --output-format stream-json`.
//!
//! The stream contains the model's text in pieces, which are joined into one row. Turns are not marked:
//! a turn begins with the model's output after a tool result.
//!
//! `stats.input_tokens` includes cached tokens. `stats.output_tokens` does not include the model's thoughts, which
//! are billed as output: they are the rest of `total_tokens`. There is no cost. An `init` line with the model "auto"
//! leaves the choice to the program; `stats.models` names the models that were used.

use serde_json::Value;

use crate::integrations::arguments::{flag, stream_json_flags};
use crate::integrations::json_fields::{number, result_text, text};
use crate::integrations::spec::{StreamFlags, StreamParser, StreamSpec};
use crate::integrations::task_builder::TaskBuilder;

/// Maximum bytes of text that are not in a row yet; more is written as a row.
const MAX_UNWRITTEN: usize = 4096;

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
    /// The text of the model's message so far.
    message: String,
    /// Bytes of `message` that are in rows.
    written: usize,
    /// The model is the program's choice.
    is_auto: bool,
    /// A tool has returned a result: the model's next output begins a new turn.
    has_tool_result: bool,
}

impl StreamParser for Parser {
    fn line(&mut self, line: &Value, task: &mut TaskBuilder) {
        let kind = text(line, "type");
        if !(kind == "message" && line["role"] == "assistant") {
            self.end_message(task);
        }
        match kind {
            "init" => {
                let model = text(line, "model");
                self.is_auto = model.starts_with("auto");
                task.begin_session(text(line, "session_id"), model, "");
                // A session that is resumed begins at another time.
                task.identify(text(line, "timestamp"));
            }
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
                task.tool_result(text(line, "tool_id"), &result_text(&line["output"]), error, "");
            }
            "error" if text(line, "severity") == "warning" => task.remark(text(line, "message")),
            "error" => task.error(text(line, "message")),
            "result" => self.result(line, task),
            _ => return,
        }
        task.count_known_line();
    }

    fn end(&mut self, task: &mut TaskBuilder) {
        self.end_message(task);
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
        let is_piece = line["delta"] == Value::Bool(true);
        // A whole message may follow its pieces.
        if is_piece || !content.starts_with(&self.message) {
            self.message.push_str(content);
        } else {
            content.clone_into(&mut self.message);
        }
        if self.message.len() - self.written >= MAX_UNWRITTEN {
            self.write(task);
        }
        if !is_piece {
            self.end_message(task);
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

    /// Turns the text that is in no row into one.
    fn write(&mut self, task: &mut TaskBuilder) {
        task.text(&self.message[self.written..], "");
        self.written = self.message.len();
    }

    fn end_message(&mut self, task: &mut TaskBuilder) {
        self.write(task);
        self.message.clear();
        self.written = 0;
    }

    fn result(&mut self, line: &Value, task: &mut TaskBuilder) {
        let stats = &line["stats"];
        if stats.is_object() {
            let used = task.used_mut();
            used.tokens_in = number(stats, "input_tokens");
            let rest = number(stats, "total_tokens") - used.tokens_in;
            used.tokens_out = number(stats, "output_tokens").max(rest);
            used.tokens_cached = number(stats, "cached");
            used.duration_sec = number(stats, "duration_ms") / 1000;
            if self.is_auto {
                task.set_model(&models(&stats["models"]));
            }
        }
        if text(line, "status") == "success" {
            task.complete();
        } else {
            task.fail(text(&line["error"], "message"));
        }
    }
}

/// Returns the names of the models that were used, the most used first.
fn models(stats: &Value) -> String {
    let mut models: Vec<(&String, i64)> = stats
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, stats)| (name, number(stats, "total_tokens")))
        .collect();
    models.sort_by_key(|(_, tokens)| -tokens);
    let names: Vec<&str> = models.iter().map(|(name, _)| name.as_str()).collect();
    names.join(", ")
}
