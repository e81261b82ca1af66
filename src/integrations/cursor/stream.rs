//! The stream of Cursor's command line program: `cursor-agent -p --output-format stream-json`. It
//! contains no tokens and no cost.

use serde_json::Value;

use crate::integrations::arguments::{flag, stream_json_flags};
use crate::integrations::json_fields::{joined_text, number, text};
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

#[derive(Debug, Default)]
struct Parser {
    /// A tool has returned a result: the model's next output begins a new turn.
    has_tool_result: bool,
}

/// Returns the error of a result. A successful one is `{"success": …}`; the key of any other result
/// names the kind of error.
fn failure(result: &Value) -> String {
    let Some((kind, value)) = result.as_object().and_then(|kinds| kinds.iter().next()) else {
        return String::new();
    };
    match (kind.as_str(), value["exitCode"].as_i64()) {
        ("success", None | Some(0)) => String::new(),
        ("success", Some(code)) => format!("exit code {code}"),
        (kind, _) => format!("{kind}: {}", joined_text(value)),
    }
}

impl StreamParser for Parser {
    fn line(&mut self, line: &Value, task: &mut TaskBuilder) {
        match text(line, "type") {
            "system" => task.begin_session(text(line, "session_id"), text(line, "model"), text(line, "cwd")),
            "user" => task.set_directive(&joined_text(&line["message"]["content"])),
            "assistant" => {
                self.model_output(task);
                task.text(&joined_text(&line["message"]["content"]), "");
            }
            "tool_call" => self.tool_call(line, task),
            "result" => {
                task.used_mut().duration_sec = number(line, "duration_ms") / 1000;
                if text(line, "subtype") == "success" && line["is_error"] != Value::Bool(true) {
                    task.complete();
                } else {
                    task.fail(text(line, "result"));
                }
            }
            _ => return,
        }
        task.count_known_line();
    }
}

impl Parser {
    fn tool_call(&mut self, line: &Value, task: &mut TaskBuilder) {
        let Some((name, call)) = line["tool_call"].as_object().and_then(|calls| calls.iter().next()) else {
            return;
        };
        let id = text(line, "call_id");
        let name = name.strip_suffix("ToolCall").unwrap_or(name);
        if !task.is_open_call(id) {
            self.model_output(task);
            task.tool_use(id, name, &call["args"].to_string(), "");
        }
        if text(line, "subtype") == "completed" {
            self.has_tool_result = true;
            task.tool_result(id, &joined_text(&call["result"]), &failure(&call["result"]), "");
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
