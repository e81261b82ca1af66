//! Claude Code's stream: `claude -p --output-format stream-json --verbose`.
//!
//! A message of the model consists of several lines that share `message.id`, one per finished block;
//! a new id is a new turn. Thinking and partial messages are not stored: the whole block follows.
//!
//! Input tokens are `input_tokens` plus both cache counts. The usage in a message's lines is
//! provisional; the result's `modelUsage` and `total_cost_usd` count everything since the start of
//! the process, subagents included. They replace the provisional counts, and the last turn gets
//! the difference.
//!
//! Turns are the messages of the main thread. `num_turns` is not used: it is in the result, which a
//! truncated stream does not have, and it would differ from the numbers that the rows already have.

use serde_json::Value;

use crate::integrations::arguments::{flag, stream_json_flags};
use crate::integrations::json_fields::{joined_text, number, text};
use crate::integrations::spec::{StreamFlags, StreamParser, StreamSpec};
use crate::integrations::task_builder::TaskBuilder;
use crate::integrations::usage::Usage;

pub(super) const SPEC: StreamSpec = StreamSpec {
    format: "claude-stream-json",
    command: "claude -p --output-format stream-json --verbose",
    example: "claude -p …",
    binary: "claude",
    flags,
    prompt_flags: &["-p", "--print"],
    switches: &[
        "-p",
        "--print",
        "--verbose",
        "--continue",
        "--dangerously-skip-permissions",
    ],
    parser: || Box::<Parser>::default(),
};

fn flags(given: &[String]) -> Result<StreamFlags, &'static str> {
    if flag(given, &["-p", "--print"]).is_none() {
        return Err("interactive claude can't be recorded; use agenthub init");
    }
    let mut missing = stream_json_flags(given, &["--output-format"])?;
    if flag(given, &["--verbose"]).is_none() {
        missing.flags.push("--verbose".to_owned());
    }
    Ok(missing)
}

#[derive(Debug, Default)]
struct Parser {
    /// The id of the open message of the main thread.
    message: String,
    /// The provisional usage of that message.
    usage: Usage,
    /// The process's totals in the last result.
    reported: Usage,
    /// The totals before `/clear` reset the process's counters.
    cleared: Usage,
    /// The session that `reported` counts.
    session: String,
}

impl StreamParser for Parser {
    fn line(&mut self, line: &Value, task: &mut TaskBuilder) {
        match text(line, "type") {
            "system" => {
                self.begin_session(line);
                system(line, task);
            }
            "assistant" => self.assistant(line, task),
            "user" => user(line, task),
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
    /// Begins a session. The counters of another session in the same process begin at 0.
    fn begin_session(&mut self, line: &Value) {
        let session = text(line, "session_id");
        if text(line, "subtype") == "init" && !session.is_empty() && session != self.session {
            self.cleared = self.cleared.plus(self.reported);
            // Each duration is that of one result, so durations are added.
            self.reported = Usage {
                duration_sec: self.reported.duration_sec,
                ..Usage::default()
            };
            session.clone_into(&mut self.session);
        }
    }

    fn assistant(&mut self, line: &Value, task: &mut TaskBuilder) {
        let message = &line["message"];
        let parent = text(line, "parent_tool_use_id");
        if parent.is_empty() {
            let id = text(message, "id");
            if id != self.message {
                self.end_message(task);
                // A message of the program itself, such as an API error, has the model "<synthetic>".
                if !text(message, "model").starts_with('<') {
                    task.set_model(text(message, "model"));
                }
                task.turn_start();
                id.clone_into(&mut self.message);
            }
            if message["usage"].is_object() {
                self.usage = message_usage(&message["usage"]);
            }
        }
        for block in message["content"].as_array().into_iter().flatten() {
            match text(block, "type") {
                "text" => task.text(text(block, "text"), parent),
                "tool_use" => {
                    task.tool_use(
                        text(block, "id"),
                        text(block, "name"),
                        &block["input"].to_string(),
                        parent,
                    );
                }
                _ => {}
            }
        }
        match &line["error"] {
            Value::Null => {}
            Value::String(error) => task.error(error),
            error => task.error(&error.to_string()),
        }
    }

    /// Ends the open message. Its provisional usage counts until the result arrives.
    fn end_message(&mut self, task: &mut TaskBuilder) {
        if std::mem::take(&mut self.message).is_empty() {
            return;
        }
        let usage = std::mem::take(&mut self.usage);
        let used = task.used_mut();
        *used = used.plus(usage);
        task.mark_unpriced();
        task.turn_end();
        task.usage("running");
    }

    fn result(&mut self, line: &Value, task: &mut TaskBuilder) {
        if has_no_usage(line) {
            self.end_message(task);
        } else {
            self.message.clear();
            self.usage = Usage::default();
            let turns = task.used_mut().turns;
            *task.used_mut() = Usage {
                turns,
                ..self.totals(line)
            };
            if line["total_cost_usd"].is_number() {
                task.mark_priced();
            }
        }
        let subtype = text(line, "subtype");
        if subtype == "success" && line["is_error"] != Value::Bool(true) {
            task.complete();
            return;
        }
        let errors: Vec<&str> = line["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let reason = match (errors.is_empty(), text(line, "result")) {
            (false, _) => errors.join("; "),
            (true, "") => subtype.to_owned(),
            (true, result) => result.to_owned(),
        };
        task.fail(&reason);
    }

    /// Returns the process's totals according to this result.
    fn totals(&mut self, line: &Value) -> Usage {
        let mut now = message_usage(&line["usage"]);
        if let Some(models) = line["modelUsage"].as_object().filter(|models| !models.is_empty()) {
            now = Usage::default();
            for model in models.values() {
                let cached = number(model, "cacheReadInputTokens");
                now.tokens_in += number(model, "inputTokens") + cached + number(model, "cacheCreationInputTokens");
                now.tokens_out += number(model, "outputTokens");
                now.tokens_cached += cached;
            }
        }
        now.cost = line["total_cost_usd"]
            .as_f64()
            .filter(|cost| (0.0..1e12).contains(cost));
        now.duration_sec = number(line, "duration_ms") / 1000;
        // A result without a cost keeps the last one.
        let is_cheaper = matches!((now.cost, self.reported.cost), (Some(now), Some(before)) if now < before);
        if now.tokens_in < self.reported.tokens_in || is_cheaper {
            self.cleared = self.cleared.plus(self.reported);
        } else {
            now.cost = now.cost.or(self.reported.cost);
        }
        now.duration_sec += self.reported.duration_sec;
        self.reported = now;
        Usage {
            duration_sec: now.duration_sec,
            ..self.cleared.plus(now)
        }
    }
}

/// Returns whether the result contains only zeros, as that of an aborted process may.
fn has_no_usage(line: &Value) -> bool {
    let usage = message_usage(&line["usage"]);
    let models = line["modelUsage"].as_object().is_some_and(|models| !models.is_empty());
    usage.tokens_in + usage.tokens_out == 0 && !models && line["total_cost_usd"].as_f64().unwrap_or(0.0) == 0.0
}

fn message_usage(usage: &Value) -> Usage {
    let cached = number(usage, "cache_read_input_tokens");
    Usage {
        tokens_in: number(usage, "input_tokens") + cached + number(usage, "cache_creation_input_tokens"),
        tokens_out: number(usage, "output_tokens"),
        tokens_cached: cached,
        ..Usage::default()
    }
}

fn system(line: &Value, task: &mut TaskBuilder) {
    match text(line, "subtype") {
        "init" => task.begin_session(text(line, "session_id"), text(line, "model"), text(line, "cwd")),
        "api_retry" => task.error(&format!(
            "{}: retry {} of {}",
            line["error"].as_str().unwrap_or("API error"),
            number(line, "attempt"),
            number(line, "max_retries"),
        )),
        "permission_denied" => task.error(&format!("permission denied: {}", text(line, "tool_name"))),
        "compact_boundary" => task.status("running", "context compacted"),
        _ => {}
    }
}

fn user(line: &Value, task: &mut TaskBuilder) {
    let parent = text(line, "parent_tool_use_id");
    let content = &line["message"]["content"];
    if let (Some(prompt), true) = (
        content.as_str(),
        parent.is_empty() && line["isSynthetic"] != Value::Bool(true),
    ) {
        task.set_directive(prompt);
    }
    for block in content.as_array().into_iter().flatten() {
        if text(block, "type") == "tool_result" {
            let output = joined_text(&block["content"]);
            let (output, error) = if block["is_error"] == Value::Bool(true) {
                ("", output.as_str())
            } else {
                (output.as_str(), "")
            };
            task.tool_result(text(block, "tool_use_id"), output, error, parent);
        }
    }
}
