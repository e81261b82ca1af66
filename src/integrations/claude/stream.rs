//! Claude Code's stream: `claude -p --output-format stream-json --verbose`.
//!
//! The lines of a message share `message.id`. Input tokens are `input_tokens` plus both cache counts. The output
//! tokens of a message's lines are those of the message's start, unless partial messages contain the final count.
//! The result's `modelUsage` and `total_cost_usd` count everything.

use serde_json::Value;

use crate::integrations::arguments::{flag, stream_json_flags};
use crate::integrations::json_fields::{number, text};
use crate::integrations::message_stream::{Author, Form, MessageExtent, Parser};
use crate::integrations::spec::{StreamFlags, StreamSpec};
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
    parser: || Box::new(Parser::new(&FORM)),
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

static FORM: Form = Form {
    extent: MessageExtent::SharedId,
    usage: message_usage,
    author,
};

/// A message of the program itself, such as an API error, has the model `<synthetic>`.
fn author(line: &Value) -> Author {
    match text(&line["message"], "model").starts_with('<') {
        false => Author::Model,
        true if line["error"].is_null() => Author::Program,
        true => Author::ProgramError,
    }
}

/// Returns the usage of one message.
pub(super) fn message_usage(usage: &Value) -> Usage {
    let cached = number(usage, "cache_read_input_tokens");
    Usage {
        tokens_in: number(usage, "input_tokens") + cached + number(usage, "cache_creation_input_tokens"),
        tokens_out: number(usage, "output_tokens"),
        tokens_cached: cached,
        ..Usage::default()
    }
}
