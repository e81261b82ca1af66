//! Gemini CLI's record of a session: `~/.gemini/tmp/<project>/chats/session-<time>-<id>.jsonl`.
//!
//! A message of the model is a line with its tokens; a line with the same id replaces it, for example when a tool
//! has returned its result. Versions that write one JSON document (`session-….json`) are not read.

use serde_json::Value;

use crate::integrations::json_fields::{number, text};
use crate::integrations::spec::{TranscriptEntry, TranscriptSpec};
use crate::integrations::usage::Usage;

pub(super) const SPEC: TranscriptSpec = TranscriptSpec {
    advice: "this is Gemini CLI's own record of a session; record the output of \
             `gemini -p … --output-format stream-json` instead",
    further_files: |_| Vec::new(),
    marks: &["\"gemini\""],
    entry,
    is_line: |line| {
        line["sessionId"].is_string() && line["projectHash"].is_string()
            || line["$set"].is_object()
            || line["id"].is_string() && matches!(text(line, "type"), "user" | "gemini" | "info" | "error" | "warning")
    },
    late: None,
};

fn entry(line: &Value) -> Option<TranscriptEntry> {
    if text(line, "type") != "gemini" {
        return None;
    }
    let (id, tokens) = (text(line, "id"), &line["tokens"]);
    if id.is_empty() || !tokens["input"].is_number() {
        return Some(TranscriptEntry::Missing);
    }
    let tokens_in = number(tokens, "input");
    Some(TranscriptEntry::Message {
        id: id.to_owned(),
        usage: Usage {
            turns: 1,
            tokens_in,
            // Thoughts are billed as output.
            tokens_out: (number(tokens, "output") + number(tokens, "thoughts"))
                .max(number(tokens, "total") - tokens_in),
            tokens_cached: number(tokens, "cached"),
            ..Usage::default()
        },
        model: text(line, "model").to_owned(),
    })
}
