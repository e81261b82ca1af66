//! OpenCode's stream: `opencode run --format json`.
//!
//! A step is one call of the model. A tool's line comes when the tool has ended. The last step has a reason other
//! than `tool-calls`; no line follows it, unless a message has arrived in the meantime.
//!
//! `tokens.input` does not include cached tokens, `tokens.output` does not include reasoning. `cost` is 0 for a model
//! without a known price. The stream does not name the model.

use serde_json::Value;

use crate::integrations::arguments::flag;
use crate::integrations::json_fields::{number, result_text, text};
use crate::integrations::spec::{StreamFlags, StreamParser, StreamSpec};
use crate::integrations::task_builder::TaskBuilder;
use crate::integrations::usage::Usage;

pub(super) const BINARY: &str = "opencode";

pub(super) const SPEC: StreamSpec = StreamSpec {
    format: "opencode-json",
    command: "opencode run --format json",
    example: "opencode run …",
    binary: BINARY,
    flags,
    prompt_flags: &[],
    switches: &[
        "--auto",
        "--continue",
        "-c",
        "--fork",
        "--print-logs",
        "--pure",
        "--share",
        "--thinking",
    ],
    parser: || Box::<Parser>::default(),
};

/// Returns the flags. They are inserted directly after the subcommand.
fn flags(given: &[String]) -> Result<StreamFlags, &'static str> {
    let Some(run) = given.iter().position(|arg| arg == "run") else {
        return Err("interactive opencode can't be recorded; use agenthub init");
    };
    if flag(given, &["-i", "--interactive"]).is_some() {
        return Err("interactive opencode can't be recorded; leave out --interactive, or use agenthub init");
    }
    let flags = match flag(given, &["--format"]) {
        None => ["--format", "json"].map(str::to_owned).to_vec(),
        Some("json") => Vec::new(),
        Some(_) => return Err("only --format json can be recorded; leave it out"),
    };
    Ok(StreamFlags { index: run + 1, flags })
}

#[derive(Debug, Default)]
struct Parser;

impl StreamParser for Parser {
    fn line(&mut self, line: &Value, task: &mut TaskBuilder) {
        let kind = text(line, "type");
        if !matches!(
            kind,
            "step_start" | "text" | "reasoning" | "tool_use" | "step_finish" | "error"
        ) {
            return;
        }
        let part = &line["part"];
        // Each line names the session: the first one may be missing.
        task.begin_session(text(line, "sessionID"), "", "");
        task.identify(text(part, "messageID"));
        match kind {
            "step_start" => task.turn_start(),
            "text" => {
                task.ensure_turn();
                task.text(text(part, "text"), "");
            }
            "tool_use" => tool_use(part, task),
            "step_finish" => step_finish(part, task),
            "error" => task.fail(&message(&line["error"])),
            _ => {}
        }
        task.count_known_line();
    }
}

fn tool_use(part: &Value, task: &mut TaskBuilder) {
    task.ensure_turn();
    let (id, state) = (text(part, "callID"), &part["state"]);
    task.tool_use(id, text(part, "tool"), &state["input"].to_string(), "");
    let error = match number(&state["metadata"], "exit") {
        _ if text(state, "status") == "error" => state["error"].as_str().unwrap_or("error").to_owned(),
        0 => String::new(),
        code => format!("exit code {code}"),
    };
    task.tool_result(id, &result_text(&state["output"]), &error, "");
}

fn step_finish(part: &Value, task: &mut TaskBuilder) {
    let tokens = &part["tokens"];
    let cached = number(&tokens["cache"], "read");
    let step = Usage {
        tokens_in: number(tokens, "input") + cached + number(&tokens["cache"], "write"),
        tokens_out: number(tokens, "output") + number(tokens, "reasoning"),
        tokens_cached: cached,
        cost: part["cost"].as_f64().filter(|cost| *cost > 0.0),
        ..Usage::default()
    };
    if step.cost.is_none() && step.tokens_in + step.tokens_out > 0 {
        task.mark_unpriced();
    }
    let used = task.used_mut();
    *used = used.plus(step);
    match text(part, "reason") {
        "tool-calls" | "unknown" => {
            task.turn_end();
            task.report_usage();
        }
        _ => task.complete(),
    }
}

/// Returns the message of an error.
fn message(error: &Value) -> String {
    let of_data = error["data"]["message"].as_str();
    let message = of_data.or_else(|| error["message"].as_str()).or_else(|| error.as_str());
    message.unwrap_or_else(|| text(error, "name")).to_owned()
}
