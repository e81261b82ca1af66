//! Codex's stream: `codex exec --json`.
//!
//! A command, patch, search or MCP tool call is an item; its start and completion share the
//! item's id. An agent message is text. Reasoning is not stored.
//!
//! `turn.completed.usage` counts from the start of the *thread*, also after a resume, and includes
//! cached tokens in the input: a turn's usage is a difference. Codex reports no cost.
//!
//! `error` items are warnings. An `error` line is the reason of the `turn.failed` that follows it, or else a
//! retry of a turn that goes on.

use serde_json::{Value, json};

use crate::integrations::arguments::flag;
use crate::integrations::json_fields::{joined_text, number, result_text, text};
use crate::integrations::spec::{StreamFlags, StreamParser, StreamSpec};
use crate::integrations::task_builder::TaskBuilder;
use crate::integrations::usage::Usage;

pub(super) const SPEC: StreamSpec = StreamSpec {
    format: "codex-json",
    command: "codex exec --json",
    example: "codex exec …",
    binary: "codex",
    flags,
    prompt_flags: &[],
    switches: &[
        "--json",
        "--full-auto",
        "--yolo",
        "--last",
        "--skip-git-repo-check",
        "--dangerously-bypass-approvals-and-sandbox",
    ],
    parser: || Box::<Parser>::default(),
};

/// Returns the flags. They are inserted directly after the subcommand, which has to be first.
fn flags(given: &[String]) -> Result<StreamFlags, &'static str> {
    let Some(exec) = given.iter().position(|arg| arg == "exec" || arg == "e") else {
        return Err("interactive codex can't be recorded; use agenthub init");
    };
    let has_flag = flag(given, &["--json", "--experimental-json"]).is_some();
    Ok(StreamFlags {
        index: exec + 1,
        flags: if has_flag {
            Vec::new()
        } else {
            vec!["--json".to_owned()]
        },
    })
}

#[derive(Debug, Default)]
struct Parser {
    /// The progress of the plan (`done/all`) in the last status row.
    plan: String,
    /// The message of an `error` line, until the next line tells whether the turn goes on.
    error: Option<String>,
}

impl StreamParser for Parser {
    fn line(&mut self, line: &Value, task: &mut TaskBuilder) {
        let kind = text(line, "type");
        self.settle_error(kind, line, task);
        match kind {
            "thread.started" => task.begin_session(text(line, "thread_id"), "", ""),
            "turn.started" => task.turn_start(),
            // The query is known only when the search has completed.
            "item.started" | "item.updated" if text(&line["item"], "type") == "web_search" => {}
            "item.started" | "item.updated" => self.item(&line["item"], task),
            "item.completed" => {
                self.item(&line["item"], task);
                completed(&line["item"], task);
            }
            "turn.completed" => {
                set_usage(&line["usage"], task);
                task.complete();
            }
            "turn.failed" => task.fail(text(&line["error"], "message")),
            "error" => self.error = Some(text(line, "message").to_owned()),
            _ => return,
        }
        task.count_known_line();
    }

    fn end(&mut self, task: &mut TaskBuilder) {
        if let Some(message) = self.error.take() {
            task.error(&message);
        }
    }
}

impl Parser {
    /// Adds the row of the last `error` line, if there was one before this line: an error if the turn failed with
    /// another message, a remark if the turn goes on.
    fn settle_error(&mut self, kind: &str, line: &Value, task: &mut TaskBuilder) {
        let Some(message) = self.error.take() else { return };
        if kind != "turn.failed" {
            task.remark(&message);
        } else if message != text(&line["error"], "message") {
            task.error(&message);
        }
    }

    /// Handles an item that has started or changed: a call, or the plan.
    fn item(&mut self, item: &Value, task: &mut TaskBuilder) {
        if text(item, "type") == "todo_list" {
            let items = item["items"].as_array().map(Vec::as_slice).unwrap_or_default();
            let done = items
                .iter()
                .filter(|item| item["completed"] == Value::Bool(true))
                .count();
            let plan = format!("{done}/{}", items.len());
            if plan != self.plan {
                task.status("running", &plan);
                self.plan = plan;
            }
        } else if let Some((name, input)) = call(item)
            && !task.is_open_call(text(item, "id"))
        {
            task.tool_use(text(item, "id"), &name, &input.to_string(), "");
        }
    }
}

/// Returns the tool and its input, if the item is a call.
fn call(item: &Value) -> Option<(String, Value)> {
    Some(match text(item, "type") {
        "command_execution" => ("shell".to_owned(), json!({"command": item["command"]})),
        "file_change" => ("apply_patch".to_owned(), json!({"changes": item["changes"]})),
        "web_search" => ("web_search".to_owned(), json!({"query": item["query"]})),
        "mcp_tool_call" => (
            format!("mcp__{}__{}", text(item, "server"), text(item, "tool")),
            item["arguments"].clone(),
        ),
        "collab_tool_call" => (
            text(item, "tool").to_owned(),
            json!({"prompt": item["prompt"], "receiver_thread_ids": item["receiver_thread_ids"]}),
        ),
        _ => return None,
    })
}

fn completed(item: &Value, task: &mut TaskBuilder) {
    let id = text(item, "id");
    let status = text(item, "status");
    let failed = if matches!(status, "failed" | "declined") {
        status
    } else {
        ""
    };
    match text(item, "type") {
        "agent_message" => task.text(text(item, "text"), ""),
        "error" => task.remark(text(item, "message")),
        "command_execution" => {
            let error = match item["exit_code"].as_i64() {
                Some(0) | None => failed.to_owned(),
                Some(code) => format!("exit code {code}"),
            };
            task.tool_result(id, text(item, "aggregated_output"), &error, "");
        }
        "mcp_tool_call" => {
            let error = item["error"]["message"].as_str().unwrap_or(failed);
            task.tool_result(id, &result_text(&item["result"]["content"]), error, "");
        }
        "file_change" => task.tool_result(id, status, failed, ""),
        "web_search" => task.tool_result(id, "", failed, ""),
        "collab_tool_call" => task.tool_result(id, &joined_text(&item["agents_states"]), failed, ""),
        _ => {}
    }
}

/// Takes the thread's totals and subtracts its usage before this task. Totals smaller than that
/// come from a counter that was reset.
fn set_usage(usage: &Value, task: &mut TaskBuilder) {
    if usage.is_object() {
        // The totals of a thread are different after each turn.
        task.identify(&usage.to_string());
    }
    let now = thread_usage(usage);
    let before = task.previous_usage();
    let was_reset = now.tokens_in < before.tokens_in || now.tokens_out < before.tokens_out;
    let base = if was_reset { Usage::default() } else { before };
    let used = task.used_mut();
    used.tokens_in = now.tokens_in - base.tokens_in;
    used.tokens_out = now.tokens_out - base.tokens_out;
    used.tokens_cached = (now.tokens_cached - base.tokens_cached).max(0);
}

/// Returns the usage of a thread.
pub(super) fn thread_usage(usage: &Value) -> Usage {
    Usage {
        tokens_in: number(usage, "input_tokens"),
        tokens_out: number(usage, "output_tokens"),
        tokens_cached: number(usage, "cached_input_tokens"),
        ..Usage::default()
    }
}
