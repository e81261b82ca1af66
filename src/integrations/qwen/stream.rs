//! Qwen Code's stream: `qwen -p … --output-format stream-json`.
//!
//! Each line of a message has its own id, and only the last one has tokens. Input tokens include cached ones. The result
//! counts all requests since the session began, those of subagents included; there is no cost. An API error is a
//! separate message, and the result repeats it.

use serde_json::Value;

use crate::integrations::arguments::{flag, stream_json_flags};
use crate::integrations::json_fields::{joined_text, number};
use crate::integrations::message_stream::{Author, Form, MessageExtent, Parser};
use crate::integrations::spec::{StreamFlags, StreamSpec};
use crate::integrations::usage::Usage;

pub(super) const SPEC: StreamSpec = StreamSpec {
    format: "qwen-json",
    command: "qwen -p --output-format stream-json",
    example: "qwen -p …",
    binary: "qwen",
    flags,
    prompt_flags: &["-p", "--prompt"],
    switches: SWITCHES,
    parser: || Box::new(Parser::new(&FORM)),
};

const SWITCHES: &[&str] = &["-p", "-y", "--yolo", "-c", "--continue", "-d", "--debug"];

fn flags(given: &[String]) -> Result<StreamFlags, &'static str> {
    let is_interactive = flag(given, &["-i", "--prompt-interactive"]).is_some();
    let is_headless = flag(given, &["-p", "--prompt"]).is_some() || has_prompt(given);
    if is_interactive || !is_headless {
        return Err("interactive qwen can't be recorded; use agenthub init");
    }
    stream_json_flags(given, &["-o", "--output-format"])
}

/// Returns whether an argument is the prompt: it is no flag, and no flag before it may take it as its value.
fn has_prompt(given: &[String]) -> bool {
    let mut takes_no_value = true;
    for argument in given {
        let is_flag = argument.starts_with('-');
        if takes_no_value && !is_flag {
            return true;
        }
        takes_no_value =
            !is_flag || argument.contains('=') || argument == "--" || SWITCHES.contains(&argument.as_str());
    }
    false
}

static FORM: Form = Form {
    extent: MessageExtent::UntilUsage,
    usage,
    author,
};

fn usage(usage: &Value) -> Usage {
    let tokens_in = number(usage, "input_tokens");
    Usage {
        tokens_in,
        tokens_out: number(usage, "output_tokens").max(number(usage, "total_tokens") - tokens_in),
        tokens_cached: number(usage, "cache_read_input_tokens"),
        ..Usage::default()
    }
}

fn author(line: &Value) -> Author {
    let message = &line["message"];
    let is_error =
        usage(&message["usage"]) == Usage::default() && joined_text(&message["content"]).starts_with("[API Error: ");
    if is_error { Author::ProgramError } else { Author::Model }
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
        for line in [
            "-p Hello",
            "-y Hello",
            "Hello -m model",
            "--model=x Hello",
            "-m x Hello",
        ] {
            assert_eq!(flags(line).as_deref(), Ok(added), "{line}");
        }
        assert_eq!(flags("-o stream-json Hello").as_deref(), Ok(""));
        for line in ["", "-y", "-i Hello", "-m model", "--resume id", "-o json -p Hello"] {
            assert!(flags(line).is_err(), "{line}");
        }
    }
}
