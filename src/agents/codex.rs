//! Codex: `codex exec --json`.
//!
//! For: its stream of items, and its hooks. A command, a patch, a search or a tool of an MCP server is a
//! call, paired by the item's id; an agent's message is text.
//! Not for: reasoning, which is not stored.
//!
//! `turn.completed.usage` counts from the start of the *thread*, resumed ones too, and cached
//! tokens are part of the input: a turn's use is a difference. Codex reports no cost, so
//! there is none.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::hook::{Hook, Mail, Pace};
use super::setup::{Place, What};
use super::task::Task;
use super::{Usage, claude, flag, number, text};

const fn hook(event: &'static str, mail: Mail) -> Hook {
    Hook {
        event,
        pace: Pace::Waits,
        mail,
    }
}

/// Its hooks. Codex asks once for trust in each, and again for any that changes.
pub(super) const HOOKS: &[Hook] = &[
    hook("SessionStart", Mail::Again),
    hook("UserPromptSubmit", Mail::Context),
    hook("PreToolUse", Mail::No),
    hook("PermissionRequest", Mail::No),
    hook("PostToolUse", Mail::Beside),
    hook("Stop", Mail::Reason),
];

/// The arguments of a stream.
pub(super) fn flags(given: &[String]) -> Result<Vec<String>, &'static str> {
    if !given.iter().any(|arg| arg == "exec" || arg == "e") {
        return Err("codex without exec has a screen of its own; agenthub init connects such sessions");
    }
    let has = flag(given, &["--json", "--experimental-json"]).is_some();
    Ok(if has { Vec::new() } else { vec!["--json".to_owned()] })
}

/// Its configuration files.
pub(super) fn files(place: &Place) -> Vec<(PathBuf, What)> {
    let folder = place.folder("CODEX_HOME", ".codex");
    vec![
        (folder.join("hooks.json"), What::Hooks),
        (folder.join("config.toml"), What::McpToml),
    ]
}

#[derive(Debug, Default)]
pub(super) struct Parser {
    /// What the last status said of the plan.
    plan: String,
}

impl Parser {
    pub(super) fn line(&mut self, line: &Value, task: &mut Task) {
        match text(line, "type") {
            "thread.started" => task.begin_session(text(line, "thread_id"), "", ""),
            "turn.started" => task.turn_start(),
            // What is searched for is told when it was.
            "item.started" | "item.updated" if text(&line["item"], "type") == "web_search" => {}
            "item.started" | "item.updated" => self.item(&line["item"], task),
            "item.completed" => {
                self.item(&line["item"], task);
                completed(&line["item"], task);
            }
            "turn.completed" => {
                total(&line["usage"], task);
                task.complete();
            }
            "turn.failed" => task.fail(text(&line["error"], "message")),
            "error" => task.error(text(line, "message")),
            _ => return,
        }
        task.understood();
    }

    /// An item that is there: a call that has begun, or the plan.
    fn item(&mut self, item: &Value, task: &mut Task) {
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
            && !task.is_called(text(item, "id"))
        {
            task.tool_use(text(item, "id"), &name, &input.to_string(), "");
        }
    }
}

/// The tool and its input, if the item is a call.
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

fn completed(item: &Value, task: &mut Task) {
    let id = text(item, "id");
    let status = text(item, "status");
    let failed = if matches!(status, "failed" | "declined") {
        status
    } else {
        ""
    };
    match text(item, "type") {
        "agent_message" => task.text(text(item, "text"), ""),
        "error" => task.error(text(item, "message")),
        "command_execution" => {
            let error = match item["exit_code"].as_i64() {
                Some(0) | None => failed.to_owned(),
                Some(code) => format!("exit code {code}"),
            };
            task.tool_result(id, text(item, "aggregated_output"), &error, "");
        }
        "mcp_tool_call" => {
            let error = item["error"]["message"].as_str().unwrap_or(failed);
            task.tool_result(id, &claude::joined(&item["result"]["content"]), error, "");
        }
        "file_change" => task.tool_result(id, status, failed, ""),
        "web_search" => task.tool_result(id, "", failed, ""),
        "collab_tool_call" => task.tool_result(id, &claude::joined(&item["agents_states"]), failed, ""),
        _ => {}
    }
}

/// The thread's totals. What it had used before this task is known, or 0; a count that went
/// back began anew.
fn total(usage: &Value, task: &mut Task) {
    let now = Usage {
        tokens_in: number(usage, "input_tokens"),
        tokens_out: number(usage, "output_tokens"),
        tokens_cached: number(usage, "cached_input_tokens"),
        ..Usage::default()
    };
    let before = task.earlier_usage();
    let anew = now.tokens_in < before.tokens_in || now.tokens_out < before.tokens_out;
    let base = if anew { Usage::default() } else { before };
    let used = task.used();
    used.tokens_in = now.tokens_in - base.tokens_in;
    used.tokens_out = now.tokens_out - base.tokens_out;
    used.tokens_cached = (now.tokens_cached - base.tokens_cached).max(0);
}
