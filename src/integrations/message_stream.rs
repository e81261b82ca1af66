//! The stream that Claude Code introduced and other tools adopted: `--output-format stream-json`.
//!
//! A message of the model consists of several lines, one per finished block; a new message is a new turn. Thinking
//! and partial messages are not stored: the whole block follows.
//!
//! The usage in a message's lines is provisional. The result counts everything since the start of the process,
//! subagents included, and has the cost. It replaces the provisional counts, and the last turn gets the difference.
//! Until then subagents' messages count too.
//!
//! Recent versions restore the counters of a session that is resumed: then the result counts from the start of the
//! session.
//!
//! Turns are the messages of the main thread. `num_turns` is not used: it is in the result, which a
//! truncated stream does not have, and it would differ from the numbers that the rows already have.
//! Messages of the program itself, such as API errors, are no turns.

use std::collections::HashMap;

use serde_json::Value;

use super::json_fields::{joined_text, number, result_text, text};
use super::spec::StreamParser;
use super::task_builder::TaskBuilder;
use super::usage::Usage;

/// What differs between the tools whose streams have this form.
#[derive(Debug)]
pub(super) struct Form {
    /// Which lines are one message.
    pub(super) extent: MessageExtent,
    /// Returns the usage of a message, or of a result that has none by model.
    pub(super) usage: fn(&Value) -> Usage,
    /// Returns the author of a line with the type `assistant`.
    pub(super) author: fn(&Value) -> Author,
}

/// Which lines with the type `assistant` are one message of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageExtent {
    /// Those with the same `message.id`.
    SharedId,
    /// Those up to the one with tokens, or up to a result of a tool. Each line has its own `message.id`.
    UntilUsage,
}

/// The author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Author {
    /// The model.
    Model,
    /// The program itself, with a text for the user.
    Program,
    /// The program itself, with an error. The result repeats its text.
    ProgramError,
}

/// A message of the model whose lines are arriving.
#[derive(Debug, Default)]
struct OpenMessage {
    id: String,
    /// The best figure of its usage that the lines have.
    usage: Usage,
    /// A result has counted it.
    is_counted: bool,
    /// The next line begins another message, whatever its id.
    is_complete: bool,
}

/// The parser of one stream.
#[derive(Debug)]
pub(super) struct Parser {
    form: &'static Form,
    /// The open message of the main thread (key "") and of each subagent (key: the call that started it).
    messages: HashMap<String, OpenMessage>,
    /// The process's totals in the last result.
    reported: Usage,
    /// The totals before `/clear` reset the process's counters.
    cleared: Usage,
    /// The usage of earlier processes in the results' totals; `None` before the first result.
    restored: Option<Usage>,
    /// The session that `reported` counts.
    session: String,
}

impl Parser {
    /// Creates a parser for a stream of this form.
    pub(super) fn new(form: &'static Form) -> Self {
        Self {
            form,
            messages: HashMap::new(),
            reported: Usage::default(),
            cleared: Usage::default(),
            restored: None,
            session: String::new(),
        }
    }
}

impl StreamParser for Parser {
    fn line(&mut self, line: &Value, task: &mut TaskBuilder) {
        let kind = text(line, "type");
        if !matches!(kind, "system" | "assistant" | "user" | "result" | "stream_event") {
            return;
        }
        self.begin_session(line, task);
        match kind {
            "system" => system(line, task),
            "assistant" => self.assistant(line, task),
            "user" => self.user(line, task),
            "stream_event" => self.partial_message(line),
            _ => self.result(line, task),
        }
        task.count_known_line();
    }

    fn end(&mut self, task: &mut TaskBuilder) {
        self.end_messages(task);
    }
}

impl Parser {
    /// Begins a session. The first line of a stream may be missing, so any line but those of hooks can name the
    /// session. The counters of another session in the same process begin at 0.
    fn begin_session(&mut self, line: &Value, task: &mut TaskBuilder) {
        let session = text(line, "session_id");
        let is_init = text(line, "subtype") == "init";
        if session.is_empty() || !is_init && text(line, "type") == "system" {
            return;
        }
        if self.session.is_empty() {
            session.clone_into(&mut self.session);
        } else if is_init && session != self.session {
            self.cleared = self.cleared.plus(self.reported);
            // Each duration is that of one result, so durations are added.
            self.reported = Usage {
                duration_sec: self.reported.duration_sec,
                ..Usage::default()
            };
            session.clone_into(&mut self.session);
        }
        task.begin_session(session, text(line, "model"), text(line, "cwd"));
    }

    fn assistant(&mut self, line: &Value, task: &mut TaskBuilder) {
        let message = &line["message"];
        let parent = text(line, "parent_tool_use_id");
        let author = (self.form.author)(line);
        if author != Author::Model {
            of_program(line, author, task);
            return;
        }
        task.identify(&recording_key(line));
        self.begin_message(message, parent, task);
        for block in message["content"].as_array().into_iter().flatten() {
            content_block(block, parent, task);
        }
        match &line["error"] {
            Value::Null => {}
            Value::String(error) => task.error(error),
            error => task.error(&error.to_string()),
        }
    }

    /// Takes the usage of a message's line. A new id begins a message, and in the main thread a turn.
    fn begin_message(&mut self, message: &Value, parent: &str, task: &mut TaskBuilder) {
        let id = text(message, "id");
        if id.is_empty() {
            return;
        }
        let is_open = self.messages.get(parent).is_some_and(|open| match self.form.extent {
            MessageExtent::SharedId => open.id == id,
            MessageExtent::UntilUsage => !open.is_complete,
        });
        if !is_open {
            self.end_message(parent, task);
            if parent.is_empty() {
                task.set_model(text(message, "model"));
                task.turn_start();
            }
        }
        let open = self.messages.entry(parent.to_owned()).or_default();
        if !is_open {
            *open = OpenMessage {
                id: id.to_owned(),
                ..OpenMessage::default()
            };
        }
        open.usage = open.usage.max((self.form.usage)(&message["usage"]));
        open.is_complete = open.usage.tokens_in + open.usage.tokens_out > 0;
    }

    /// Takes the final usage of the open message from a partial message.
    fn partial_message(&mut self, line: &Value) {
        let event = &line["event"];
        if text(event, "type") == "message_delta"
            && let Some(open) = self.messages.get_mut(text(line, "parent_tool_use_id"))
        {
            open.usage = open.usage.max((self.form.usage)(&event["usage"]));
        }
    }

    /// Ends an open message. Its provisional usage counts until the result arrives.
    fn end_message(&mut self, parent: &str, task: &mut TaskBuilder) {
        let Some(message) = self.messages.remove(parent) else {
            return;
        };
        if message.is_counted {
            return;
        }
        let used = task.used_mut();
        *used = used.plus(message.usage);
        task.mark_unpriced();
        if parent.is_empty() {
            task.turn_end();
        }
        task.report_usage();
    }

    /// Ends all open messages, those of subagents first: the turn that is open includes their usage.
    fn end_messages(&mut self, task: &mut TaskBuilder) {
        let mut open: Vec<String> = self.messages.keys().cloned().collect();
        open.sort_unstable_by(|a, b| b.cmp(a));
        for parent in open {
            self.end_message(&parent, task);
        }
    }

    fn result(&mut self, line: &Value, task: &mut TaskBuilder) {
        if self.has_no_usage(line) {
            self.end_messages(task);
        } else {
            let restored = self.restored.unwrap_or_else(|| self.restored_usage(line, task));
            self.restored = Some(restored);
            self.messages.remove("");
            // A subagent may continue in the background, and its message have further lines.
            for message in self.messages.values_mut() {
                message.is_counted = true;
            }
            let turns = task.used_mut().turns;
            *task.used_mut() = Usage {
                turns,
                ..self.totals(line).minus(restored)
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
        let reason = [text(&line["error"], "message"), text(line, "result"), subtype]
            .into_iter()
            .find(|reason| !reason.is_empty());
        match errors.is_empty() {
            true => task.fail(reason.unwrap_or_default()),
            false => task.fail(&errors.join("; ")),
        }
    }

    /// Returns the part of the first result's totals that is the usage of earlier processes: all of it if the totals
    /// are large enough to include it and the messages of this process.
    fn restored_usage(&self, line: &Value, task: &mut TaskBuilder) -> Usage {
        let before = task.previous_usage();
        let now = self.result_usage(line);
        let own = self
            .messages
            .values()
            .filter(|message| !message.is_counted)
            .fold(*task.used_mut(), |sum, message| sum.plus(message.usage));
        let is_cheaper = matches!((cost(line), before.cost), (Some(now), Some(before)) if now < before);
        if now.tokens_in < before.tokens_in + own.tokens_in || now.tokens_out < before.tokens_out || is_cheaper {
            return Usage::default();
        }
        Usage {
            turns: 0,
            duration_sec: 0,
            ..before
        }
    }

    /// Returns the process's totals according to this result.
    fn totals(&mut self, line: &Value) -> Usage {
        let mut now = self.result_usage(line);
        now.cost = cost(line);
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

    /// Returns the tokens of a result: those of all models, or else its own.
    fn result_usage(&self, line: &Value) -> Usage {
        usage_of_models(&line["modelUsage"]).unwrap_or_else(|| (self.form.usage)(&line["usage"]))
    }

    /// Returns whether the result contains only zeros, as that of an aborted process may.
    fn has_no_usage(&self, line: &Value) -> bool {
        let usage = (self.form.usage)(&line["usage"]);
        let models = line["modelUsage"].as_object().is_some_and(|models| !models.is_empty());
        usage.tokens_in + usage.tokens_out == 0 && !models && line["total_cost_usd"].as_f64().unwrap_or(0.0) == 0.0
    }

    fn user(&mut self, line: &Value, task: &mut TaskBuilder) {
        let parent = text(line, "parent_tool_use_id");
        if let Some(open) = self.messages.get_mut(parent) {
            open.is_complete = true;
        }
        let content = &line["message"]["content"];
        if let (Some(prompt), true) = (
            content.as_str(),
            parent.is_empty() && line["isSynthetic"] != Value::Bool(true),
        ) {
            task.set_directive(prompt);
        }
        for block in content.as_array().into_iter().flatten() {
            // The text beside results is the program's, for the model.
            if text(block, "type").ends_with("tool_result") {
                content_block(block, parent, task);
            }
        }
    }
}

fn cost(line: &Value) -> Option<f64> {
    line["total_cost_usd"]
        .as_f64()
        .filter(|cost| (0.0..1e12).contains(cost))
}

/// Returns the sum of the usage of all models, or `None` if there are no models.
pub(super) fn usage_of_models(models: &Value) -> Option<Usage> {
    let models = models.as_object().filter(|models| !models.is_empty())?;
    let usage = models.values().map(|model| {
        let cached = number(model, "cacheReadInputTokens");
        Usage {
            tokens_in: number(model, "inputTokens") + cached + number(model, "cacheCreationInputTokens"),
            tokens_out: number(model, "outputTokens"),
            tokens_cached: cached,
            ..Usage::default()
        }
    });
    Some(usage.fold(Usage::default(), Usage::plus))
}

fn system(line: &Value, task: &mut TaskBuilder) {
    match text(line, "subtype") {
        "api_retry" => task.remark(&format!(
            "{}: retry {} of {}",
            line["error"].as_str().unwrap_or("API error"),
            number(line, "attempt"),
            number(line, "max_retries"),
        )),
        "permission_denied" => task.error(&format!("permission denied: {}", text(line, "tool_name"))),
        "retry" => task.remark("retries the request"),
        "compact_boundary" => task.status("running", "context compacted"),
        _ => {}
    }
}

/// Adds the row of a block of a message: text of the model, a call, or a result. The provider's own tools have
/// `server_tool_use` and `mcp_tool_use`, and results such as `web_search_tool_result` in the model's message.
fn content_block(block: &Value, parent: &str, task: &mut TaskBuilder) {
    let input = || block["input"].to_string();
    match text(block, "type") {
        "text" if block["text"].is_string() => task.text(text(block, "text"), parent),
        "tool_use" => task.tool_use(text(block, "id"), text(block, "name"), &input(), parent),
        "server_tool_use" => task.hosted_tool_use(text(block, "id"), text(block, "name"), &input(), parent),
        "mcp_tool_use" => {
            let name = format!("mcp__{}__{}", text(block, "server_name"), text(block, "name"));
            task.hosted_tool_use(text(block, "id"), &name, &input(), parent);
        }
        kind if kind.ends_with("tool_result") => tool_result(block, parent, task),
        _ => {}
    }
}

fn tool_result(block: &Value, parent: &str, task: &mut TaskBuilder) {
    let content = &block["content"];
    let error_code = text(content, "error_code");
    let output = result_text(content);
    let (output, error) = if block["is_error"] == Value::Bool(true) {
        ("", if output.is_empty() { "error" } else { output.as_str() })
    } else if error_code.is_empty() {
        (output.as_str(), "")
    } else {
        ("", error_code)
    };
    task.tool_result(text(block, "tool_use_id"), output, error, parent);
}

/// Adds the row of a message of the program itself. It is no turn, and its usage is not the model's.
fn of_program(line: &Value, author: Author, task: &mut TaskBuilder) {
    let message = joined_text(&line["message"]["content"]);
    match &line["error"] {
        _ if author == Author::Program => task.text(&message, text(line, "parent_tool_use_id")),
        _ if !message.is_empty() => task.error(&message),
        Value::String(error) => task.error(error),
        error => task.error(&error.to_string()),
    }
}

/// Returns what identifies a stream within its session: its first message of the model. A resumed session begins
/// with another one.
fn recording_key(line: &Value) -> String {
    let id = text(&line["message"], "id");
    if id.is_empty() {
        return String::new();
    }
    format!("{id} {}", text(line, "uuid"))
}
