//! Kimi Code's stream: `kimi -p … --output-format stream-json`.
//!
//! A line is one answer of the model with its calls, or the result of a call. Only the last line names the session.
//! There are no tokens and no model. The text that a hook gives the model is a line of the model too.

use serde_json::Value;

use super::shell;
use crate::integrations::arguments::{flag, stream_json_flags};
use crate::integrations::json_fields::{joined_text, text};
use crate::integrations::spec::{StreamFlags, StreamParser, StreamSpec};
use crate::integrations::task_builder::TaskBuilder;

pub(super) const SPEC: StreamSpec = StreamSpec {
    format: "kimi-json",
    command: "kimi -p … --output-format stream-json",
    example: "kimi -p …",
    binary: "kimi",
    flags,
    prompt_flags: &["-p", "--prompt"],
    switches: &["-p", "-c", "--continue", "-C"],
    parser: || Box::<Parser>::default(),
};

fn flags(given: &[String]) -> Result<StreamFlags, &'static str> {
    if flag(given, &["-p", "--prompt"]).is_none() {
        return Err("interactive kimi can't be recorded; use agenthub init");
    }
    stream_json_flags(given, &["--output-format"])
}

#[derive(Debug, Default)]
struct Parser;

impl StreamParser for Parser {
    fn line(&mut self, line: &Value, task: &mut TaskBuilder) {
        match (text(line, "role"), text(line, "type")) {
            ("assistant", _) => assistant(line, task),
            ("tool", _) => {
                let result = joined_text(&line["content"]);
                let (output, error) = shell::split_failure(&result);
                task.tool_result(text(line, "tool_call_id"), output, error, "");
            }
            ("meta", "turn.step.retrying") => task.remark(text(line, "error_message")),
            ("meta", "session.resume_hint") => {
                task.begin_session(text(line, "session_id"), "", "");
                task.complete();
            }
            ("meta", "system.version") => {}
            _ => return,
        }
        task.count_known_line();
    }
}

fn assistant(line: &Value, task: &mut TaskBuilder) {
    let content = text(line, "content");
    match of_hook(content) {
        Some("") => return,
        Some(refusal) => return task.error(refusal),
        None => {}
    }
    task.turn_start();
    task.text(content, "");
    for call in line["tool_calls"].as_array().into_iter().flatten() {
        let function = &call["function"];
        task.tool_use(
            text(call, "id"),
            text(function, "name"),
            text(function, "arguments"),
            "",
        );
    }
}

/// Returns what a hook says about the prompt: "" if the prompt is not refused. `None` for a text of the model.
fn of_hook(content: &str) -> Option<&str> {
    let rest = content.strip_prefix("UserPromptSubmit hook")?;
    if let Some(reason) = rest.strip_prefix(" blocked\n\n") {
        return Some(reason);
    }
    rest.starts_with("\n\n").then_some("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_a_prompt_on_the_command_line() {
        let flags = |line: &str| {
            let given: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            flags(&given).map(|flags| flags.flags.join(" "))
        };
        let added = "--output-format stream-json";
        for line in ["-p Hello", "--prompt=Hello", "-m x -p Hello", "-S id -p Hello"] {
            assert_eq!(flags(line).as_deref(), Ok(added), "{line}");
        }
        assert_eq!(flags("--output-format stream-json -p Hello").as_deref(), Ok(""));
        for line in ["", "-y", "-c", "acp", "--output-format text -p Hello"] {
            assert!(flags(line).is_err(), "{line}");
        }
    }

    #[test]
    fn text_of_a_hook_is_not_the_models() {
        assert_eq!(of_hook("UserPromptSubmit hook\n\nYou are x on agenthub"), Some(""));
        assert_eq!(of_hook("UserPromptSubmit hook blocked\n\nNo."), Some("No."));
        assert_eq!(of_hook("UserPromptSubmit hooks are nice"), None);
        assert_eq!(of_hook("Hello"), None);
    }
}
