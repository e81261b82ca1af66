//! Gemini CLI: `gemini -p … --output-format stream-json`.
//!
//! For: its stream. The model's text comes in pieces, which are put together again: never a
//! row for a piece. Turns are not marked: one begins with what the model says after a
//! result.
//!
//! `stats.input_tokens` includes cached ones. There is no cost.

use std::path::PathBuf;

use serde_json::Value;

use super::setup::{Place, What};
use super::task::Task;
use super::{flag, number, text};

/// Bytes of text after which what there is becomes a row.
const PIECE: usize = 4096;

/// The arguments of a stream.
pub(super) fn flags(given: &[String]) -> Result<Vec<String>, &'static str> {
    if flag(given, &["-p", "--prompt"]).is_none() {
        return Err("gemini without -p has a screen of its own; agenthub init connects such sessions");
    }
    match flag(given, &["-o", "--output-format"]) {
        None => Ok(["--output-format", "stream-json"].map(str::to_owned).to_vec()),
        Some("stream-json") => Ok(Vec::new()),
        Some(_) => Err("another --output-format than stream-json tells nothing while it runs; leave it out"),
    }
}

/// Its configuration file.
pub(super) fn files(place: &Place) -> Vec<(PathBuf, What)> {
    vec![(
        place.file(".gemini/settings.json", ".gemini/settings.json"),
        What::McpJson,
    )]
}

#[derive(Debug, Default)]
pub(super) struct Parser {
    said: String,
    /// A tool has answered: what the model says next is a new turn.
    answered: bool,
}

impl Parser {
    pub(super) fn line(&mut self, line: &Value, task: &mut Task) {
        let kind = text(line, "type");
        if !(kind == "message" && line["role"] == "assistant") {
            self.flush(task);
        }
        match kind {
            "init" => task.begin_session(text(line, "session_id"), text(line, "model"), ""),
            "message" => self.message(line, task),
            "tool_use" => {
                self.speaks(task);
                let (id, name) = (text(line, "tool_id"), text(line, "tool_name"));
                task.tool_use(id, name, &line["parameters"].to_string(), "");
            }
            "tool_result" => {
                self.answered = true;
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
        task.understood();
    }

    fn message(&mut self, line: &Value, task: &mut Task) {
        let content = text(line, "content");
        if line["role"] != "assistant" {
            task.directive(content);
            return;
        }
        self.speaks(task);
        self.said.push_str(content);
        if self.said.len() >= PIECE || line["delta"] != Value::Bool(true) {
            self.flush(task);
        }
    }

    fn speaks(&mut self, task: &mut Task) {
        if std::mem::take(&mut self.answered) {
            task.turn_start();
        } else {
            task.turn_start_if_none();
        }
    }

    /// What has been said so far becomes a row.
    pub(super) fn flush(&mut self, task: &mut Task) {
        task.text(&std::mem::take(&mut self.said), "");
    }
}

fn result(line: &Value, task: &mut Task) {
    let stats = &line["stats"];
    if stats.is_object() {
        let used = task.used();
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
