//! Copilot CLI's stream: `copilot -p … --output-format json`. Only its last line names the session.
//!
//! It has no tokens. The tool's own record of a session has the same lines, with the usage of each call; it is read in
//! the same way.
//!
//! Lines of subagents have `agentId`, and the call that has started the subagent in `parentToolCallId`.

use serde_json::Value;

use super::shell;
use super::usage::{USAGE_RECORD, call_usage};
use crate::integrations::arguments::flag;
use crate::integrations::json_fields::{number, text};
use crate::integrations::spec::{StreamFlags, StreamParser, StreamSpec};
use crate::integrations::task_builder::TaskBuilder;

pub(super) const SPEC: StreamSpec = StreamSpec {
    format: "copilot-json",
    command: "copilot -p … --output-format json",
    example: "copilot -p …",
    binary: "copilot",
    flags,
    prompt_flags: &["-p", "--prompt"],
    switches: &[
        "-p",
        "-s",
        "--silent",
        "--allow-all",
        "--allow-all-tools",
        "--yolo",
        "--autopilot",
        "--experimental",
        "--no-ask-user",
    ],
    parser: || Box::<Parser>::default(),
};

/// Returns the flags. They are inserted first: after a prompt flag they could be parsed as the prompt.
fn flags(given: &[String]) -> Result<StreamFlags, &'static str> {
    if flag(given, &["-p", "--prompt"]).is_none() {
        return Err("interactive copilot can't be recorded; use agenthub init");
    }
    let flags = match flag(given, &["--output-format"]) {
        None => ["--output-format", "json"].map(str::to_owned).to_vec(),
        Some("json") => Vec::new(),
        Some(_) => return Err("only --output-format json can be recorded; leave it out"),
    };
    Ok(StreamFlags { index: 0, flags })
}

#[derive(Debug, Default)]
struct Parser {
    /// Why the last call of the model has failed, if it was not tried again yet.
    failure: String,
    /// The last error.
    error: String,
}

impl StreamParser for Parser {
    fn line(&mut self, line: &Value, task: &mut TaskBuilder) {
        let data = &line["data"];
        let parent = text(data, "parentToolCallId");
        let is_subagent = line["agentId"].is_string();
        match text(line, "type") {
            "session.start" => {
                task.begin_session(
                    text(data, "sessionId"),
                    text(data, "selectedModel"),
                    text(&data["context"], "cwd"),
                );
                task.identify(text(line, "timestamp"));
            }
            "user.message" if !is_subagent => task.set_directive(text(data, "content")),
            "assistant.turn_start" if !is_subagent => task.turn_start(),
            "assistant.message" => {
                if !is_subagent {
                    task.set_model(text(data, "model"));
                }
                task.text(text(data, "content"), parent);
            }
            "assistant.turn_end" if !is_subagent => task.turn_end(),
            "tool.execution_start" => {
                let input = data["arguments"].to_string();
                task.tool_use(text(data, "toolCallId"), &tool_name(data), &input, parent);
            }
            "tool.execution_complete" => {
                let (output, error) = tool_result(data);
                task.tool_result(text(data, "toolCallId"), &output, &error, parent);
            }
            "model.call_failure" => text(data, "errorMessage").clone_into(&mut self.failure),
            "assistant.turn_retry" => {
                let failure = std::mem::take(&mut self.failure);
                task.remark(if failure.is_empty() {
                    text(data, "reason")
                } else {
                    &failure
                });
            }
            "session.warning" => task.remark(text(data, "message")),
            "session.error" => {
                text(data, "message").clone_into(&mut self.error);
                task.error(&self.error);
            }
            USAGE_RECORD => {
                let used = task.used_mut();
                *used = used.plus(call_usage(&data["usage"]));
            }
            "session.shutdown" => self.shutdown(data, task),
            "result" => self.result(line, task),
            _ => return,
        }
        task.count_known_line();
    }
}

impl Parser {
    /// Ends the task at the end of the stream.
    fn result(&self, line: &Value, task: &mut TaskBuilder) {
        task.begin_session(text(line, "sessionId"), "", "");
        task.identify(text(line, "timestamp"));
        task.used_mut().duration_sec = number(&line["usage"], "sessionDurationMs") / 1000;
        match line["exitCode"].as_i64() {
            None | Some(0) => task.complete(),
            Some(code) => self.fail(&format!("exit code {code}"), task),
        }
    }

    /// Ends the task at the end of the tool's own record.
    fn shutdown(&self, data: &Value, task: &mut TaskBuilder) {
        match text(data, "shutdownType") {
            "error" => self.fail(text(data, "errorReason"), task),
            _ => task.complete(),
        }
    }

    fn fail(&self, reason: &str, task: &mut TaskBuilder) {
        task.fail(if self.error.is_empty() { reason } else { &self.error });
    }
}

/// Returns the tool's name. The name of an MCP server's tool has the form that other tools use.
fn tool_name(data: &Value) -> String {
    match (text(data, "mcpServerName"), text(data, "mcpToolName")) {
        ("", _) | (_, "") => text(data, "toolName").to_owned(),
        (server, tool) => format!("mcp__{server}__{tool}"),
    }
}

/// Returns a tool's output and its error. `content` is what the model gets, with the context of hooks.
fn tool_result(data: &Value) -> (String, String) {
    let result = &data["result"];
    let shown = text(result, "detailedContent");
    let shown = if shown.is_empty() {
        text(result, "content")
    } else {
        shown
    };
    let (output, failed) = shell::split_exit_code(shown);
    let error = match (data["success"].as_bool(), data["shellExecution"]["exitCode"].as_i64()) {
        (Some(false), _) => match text(&data["error"], "message") {
            "" => "error".to_owned(),
            message => message.to_owned(),
        },
        (_, None | Some(0)) => failed.to_owned(),
        (_, Some(code)) => format!("exit code {code}"),
    };
    (output.to_owned(), error)
}
