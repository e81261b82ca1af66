//! Cursor's CLI: `cursor-agent -p --output-format stream-json`.
//!
//! For: its stream. It names no tokens and no cost, so there are none.
//! Not for: Cursor's hooks: it runs Claude's, and ours stand aside there.

use std::path::PathBuf;

use serde_json::Value;

use super::claude;
use super::setup::{Place, What};
use super::task::Task;
use super::{flag, number, text};

/// The arguments of a stream.
pub(super) fn flags(given: &[String]) -> Result<Vec<String>, &'static str> {
    if flag(given, &["-p", "--print"]).is_none() {
        return Err("cursor-agent without -p has a screen of its own; agenthub init connects such sessions");
    }
    match flag(given, &["--output-format"]) {
        None => Ok(["--output-format", "stream-json"].map(str::to_owned).to_vec()),
        Some("stream-json") => Ok(Vec::new()),
        Some(_) => Err("another --output-format than stream-json tells nothing while it runs; leave it out"),
    }
}

/// Its configuration file.
pub(super) fn files(place: &Place) -> Vec<(PathBuf, What)> {
    vec![(place.file(".cursor/mcp.json", ".cursor/mcp.json"), What::McpJson)]
}

#[derive(Debug, Default)]
pub(super) struct Parser {
    /// A tool has answered: what the model says next is a new turn.
    answered: bool,
}

/// What a result says went wrong: it is `{"success": …}`, or stands under another word.
fn failure(result: &Value) -> String {
    let Some((word, value)) = result.as_object().and_then(|kinds| kinds.iter().next()) else {
        return String::new();
    };
    match (word.as_str(), value["exitCode"].as_i64()) {
        ("success", None | Some(0)) => String::new(),
        ("success", Some(code)) => format!("exit code {code}"),
        (word, _) => format!("{word}: {}", claude::joined(value)),
    }
}

impl Parser {
    pub(super) fn line(&mut self, line: &Value, task: &mut Task) {
        match text(line, "type") {
            "system" => task.begin_session(text(line, "session_id"), text(line, "model"), text(line, "cwd")),
            "user" => task.directive(&claude::joined(&line["message"]["content"])),
            "assistant" => {
                self.speaks(task);
                task.text(&claude::joined(&line["message"]["content"]), "");
            }
            "tool_call" => self.tool_call(line, task),
            "result" => {
                task.used().duration_sec = number(line, "duration_ms") / 1000;
                if text(line, "subtype") == "success" && line["is_error"] != Value::Bool(true) {
                    task.complete();
                } else {
                    task.fail(text(line, "result"));
                }
            }
            _ => return,
        }
        task.understood();
    }

    fn tool_call(&mut self, line: &Value, task: &mut Task) {
        let Some((name, call)) = line["tool_call"].as_object().and_then(|calls| calls.iter().next()) else {
            return;
        };
        let id = text(line, "call_id");
        let name = name.strip_suffix("ToolCall").unwrap_or(name);
        if !task.is_called(id) {
            self.speaks(task);
            task.tool_use(id, name, &call["args"].to_string(), "");
        }
        if text(line, "subtype") == "completed" {
            self.answered = true;
            task.tool_result(id, &claude::joined(&call["result"]), &failure(&call["result"]), "");
        }
    }

    fn speaks(&mut self, task: &mut Task) {
        if std::mem::take(&mut self.answered) {
            task.turn_start();
        } else {
            task.turn_start_if_none();
        }
    }
}
