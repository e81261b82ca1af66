//! Claude Code: `claude -p --output-format stream-json --verbose`.
//!
//! For: its stream and its hooks. A message of the model comes as several lines that share `message.id`,
//! one per finished block; a new id is a new turn.
//! Not for: thinking and partial messages, which are not stored: the whole block follows.
//!
//! Tokens in are `input_tokens` plus both cache counts. What a message's lines say of usage
//! is provisional; the result's `modelUsage` and `total_cost_usd` count everything, subagents
//! too, from the start of the process: they replace, and the last turn takes the difference.
//!
//! Turns are counted here, one for each message of the main thread, and `num_turns` is not
//! taken: it comes with the result alone, which a stream that is cut short does not have, and
//! the totals would say another number than the rows, whose turns are numbered as they come.

use std::path::PathBuf;

use serde_json::Value;

use super::hook::{Hook, Mail, Pace};
use super::setup::{Place, What};
use super::task::Task;
use super::{Usage, flag, number, text};

const fn hook(event: &'static str, pace: Pace, mail: Mail) -> Hook {
    Hook { event, pace, mail }
}

/// Its hooks. Context between two calls of the model comes with `PostToolBatch`: once,
/// where `PostToolUse` fires for every tool at the same time.
pub(super) const HOOKS: &[Hook] = &[
    hook("SessionStart", Pace::Waits, Mail::Again),
    hook("UserPromptSubmit", Pace::Waits, Mail::Context),
    hook("PreToolUse", Pace::GoesOn, Mail::No),
    hook("PostToolUse", Pace::GoesOn, Mail::No),
    hook("PostToolUseFailure", Pace::GoesOn, Mail::No),
    hook("PostToolBatch", Pace::Waits, Mail::Context),
    hook("PermissionRequest", Pace::GoesOn, Mail::No),
    hook("Notification", Pace::GoesOn, Mail::No),
    hook("Stop", Pace::Waits, Mail::Reason),
    hook("StopFailure", Pace::GoesOn, Mail::No),
    hook("SessionEnd", Pace::Waits, Mail::No),
];

/// The arguments of a stream.
pub(super) fn flags(given: &[String]) -> Result<Vec<String>, &'static str> {
    if flag(given, &["-p", "--print"]).is_none() {
        return Err("claude without -p has a screen of its own; agenthub init connects such sessions");
    }
    let mut missing: Vec<String> = Vec::new();
    match flag(given, &["--output-format"]) {
        None => missing.extend(["--output-format", "stream-json"].map(str::to_owned)),
        Some("stream-json") => {}
        Some(_) => return Err("another --output-format than stream-json tells nothing while it runs; leave it out"),
    }
    if flag(given, &["--verbose"]).is_none() {
        missing.push("--verbose".to_owned());
    }
    Ok(missing)
}

/// Its configuration files. A project's hooks go into the file that is not shared: the
/// program stands somewhere else on other machines.
pub(super) fn files(place: &Place) -> Vec<(PathBuf, What)> {
    let folder = place.folder("CLAUDE_CONFIG_DIR", ".claude");
    let (settings, servers) = match (&place.project, std::env::var_os("CLAUDE_CONFIG_DIR")) {
        (Some(project), _) => ("settings.local.json", project.join(".mcp.json")),
        (None, Some(set)) if !set.is_empty() => ("settings.json", folder.join(".claude.json")),
        (None, _) => ("settings.json", place.home.join(".claude.json")),
    };
    vec![(folder.join(settings), What::Hooks), (servers, What::McpJson)]
}

#[derive(Debug, Default)]
pub(super) struct Parser {
    /// The message of the main thread that is being told.
    message: String,
    /// Its usage, as its last line says.
    usage: Usage,
    /// The totals of the last result.
    reported: Usage,
    /// Totals of the process before `/clear` set them back.
    cleared: Usage,
    /// The session the totals are of.
    session: String,
}

impl Parser {
    pub(super) fn line(&mut self, line: &Value, task: &mut Task) {
        match text(line, "type") {
            "system" => {
                self.begin(line);
                system(line, task);
            }
            "assistant" => self.assistant(line, task),
            "user" => user(line, task),
            "result" => self.result(line, task),
            _ => return,
        }
        task.understood();
    }

    /// Another session in the same process counts from nothing.
    fn begin(&mut self, line: &Value) {
        let session = text(line, "session_id");
        if text(line, "subtype") == "init" && !session.is_empty() && session != self.session {
            self.cleared = self.cleared.and(self.reported);
            // Its time comes on top: a result states its own only.
            self.reported = Usage {
                duration_sec: self.reported.duration_sec,
                ..Usage::default()
            };
            session.clone_into(&mut self.session);
        }
    }

    fn assistant(&mut self, line: &Value, task: &mut Task) {
        let message = &line["message"];
        let parent = text(line, "parent_tool_use_id");
        if parent.is_empty() {
            let id = text(message, "id");
            if id != self.message {
                self.end_message(task);
                // A message of the program's own, such as an API error, is no model's.
                task.model(
                    Some(text(message, "model"))
                        .filter(|m| !m.starts_with('<'))
                        .unwrap_or_default(),
                );
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

    /// The message is told: its provisional usage counts until the result comes.
    pub(super) fn end_message(&mut self, task: &mut Task) {
        if std::mem::take(&mut self.message).is_empty() {
            return;
        }
        let usage = std::mem::take(&mut self.usage);
        let used = task.used();
        *used = used.and(usage);
        task.has_no_price();
        task.turn_end();
        task.usage("running");
    }

    fn result(&mut self, line: &Value, task: &mut Task) {
        if says_nothing_of_use(line) {
            self.end_message(task);
        } else {
            self.message.clear();
            self.usage = Usage::default();
            let turns = task.used().turns;
            *task.used() = Usage {
                turns,
                ..self.totals(line)
            };
            if line["total_cost_usd"].is_number() {
                task.has_its_price();
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
        let why = match (errors.is_empty(), text(line, "result")) {
            (false, _) => errors.join("; "),
            (true, "") => subtype.to_owned(),
            (true, result) => result.to_owned(),
        };
        task.fail(&why);
    }

    /// The process's totals by this result.
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
        // A result need not name a cost: then there is none to compare, and the last one stays.
        let cheaper = matches!((now.cost, self.reported.cost), (Some(now), Some(before)) if now < before);
        if now.tokens_in < self.reported.tokens_in || cheaper {
            self.cleared = self.cleared.and(self.reported);
        } else {
            now.cost = now.cost.or(self.reported.cost);
        }
        now.duration_sec += self.reported.duration_sec;
        self.reported = now;
        Usage {
            duration_sec: now.duration_sec,
            ..self.cleared.and(now)
        }
    }
}

/// A result of a process that broke off may have nothing but zeros.
fn says_nothing_of_use(line: &Value) -> bool {
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

fn system(line: &Value, task: &mut Task) {
    match text(line, "subtype") {
        "init" => task.begin_session(text(line, "session_id"), text(line, "model"), text(line, "cwd")),
        "api_retry" => task.error(&format!(
            "{}: trying again, {} of {}",
            line["error"].as_str().unwrap_or("the API failed"),
            number(line, "attempt"),
            number(line, "max_retries"),
        )),
        "permission_denied" => task.error(&format!("no permission for {}", text(line, "tool_name"))),
        "compact_boundary" => task.status("running", "context compacted"),
        _ => {}
    }
}

fn user(line: &Value, task: &mut Task) {
    let parent = text(line, "parent_tool_use_id");
    let content = &line["message"]["content"];
    if let (Some(prompt), true) = (
        content.as_str(),
        parent.is_empty() && line["isSynthetic"] != Value::Bool(true),
    ) {
        task.directive(prompt);
    }
    for block in content.as_array().into_iter().flatten() {
        if text(block, "type") == "tool_result" {
            let output = joined(&block["content"]);
            let (output, error) = if block["is_error"] == Value::Bool(true) {
                ("", output.as_str())
            } else {
                (output.as_str(), "")
            };
            task.tool_result(text(block, "tool_use_id"), output, error, parent);
        }
    }
}

/// A result's text: itself, or the texts of its blocks.
pub(super) fn joined(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts: Vec<&str> = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
            texts.join("\n")
        }
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
