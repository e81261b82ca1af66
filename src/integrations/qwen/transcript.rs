//! Qwen Code's record of a session: `~/.qwen/projects/<directory>/chats/<session>.jsonl`.
//!
//! Each request to the model is a line `ui_telemetry` with its tokens, those of subagents and side requests (titles,
//! summaries) included.

use serde_json::Value;

use crate::integrations::json_fields::{number, text};
use crate::integrations::spec::{TranscriptEntry, TranscriptSpec};
use crate::integrations::usage::Usage;

pub(super) const SPEC: TranscriptSpec = TranscriptSpec {
    late: None,
    advice: "this is Qwen Code's own record of a session; record the output of \
             `qwen -p … --output-format stream-json` instead, or let its hooks record sessions (agenthub init)",
    further_files: |_| Vec::new(),
    marks: &["qwen-code.api_response"],
    entry,
    is_line: |line| line["sessionId"].is_string() && line["provenance"].is_string() && line["session_id"].is_null(),
};

fn entry(line: &Value) -> Option<TranscriptEntry> {
    let event = &line["systemPayload"]["uiEvent"];
    if text(event, "event.name") != "qwen-code.api_response" {
        return None;
    }
    if !event["input_token_count"].is_number() {
        return Some(TranscriptEntry::Missing);
    }
    // A request of the conversation has the session and a number; others name what they are for.
    let prompt = text(event, "prompt_id").strip_prefix(text(line, "sessionId"));
    let is_turn = prompt.is_some_and(|rest| rest.starts_with("########"));
    let tokens_in = number(event, "input_token_count");
    Some(TranscriptEntry::Message {
        id: text(line, "uuid").to_owned(),
        usage: Usage {
            turns: i64::from(is_turn),
            tokens_in,
            // Some providers do not count thoughts as output.
            tokens_out: number(event, "output_token_count").max(number(event, "total_token_count") - tokens_in),
            tokens_cached: number(event, "cached_content_token_count"),
            ..Usage::default()
        },
        model: text(event, "model").to_owned(),
    })
}
