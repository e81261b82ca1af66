//! Kimi Code's record of an agent of a session: `wire.jsonl`. Each request to the model is a line `usage.record`. Its
//! `inputOther` does not include cached tokens.

use serde_json::Value;

use super::sessions;
use crate::integrations::json_fields::{number, text};
use crate::integrations::spec::{LateTranscript, TranscriptEntry, TranscriptSpec};
use crate::integrations::usage::Usage;

const USAGE_RECORD: &str = "usage.record";

pub(super) const SPEC: TranscriptSpec = TranscriptSpec {
    advice: "this is Kimi Code's own record of a session; record the output of \
             `kimi -p … --output-format stream-json` instead, or let its hooks record sessions (agenthub init)",
    further_files: sessions::further_records,
    marks: &["\"usage.record\""],
    entry,
    is_line: |line| line["time"].is_number() && line["type"].is_string() && line["role"].is_null(),
    late: Some(LateTranscript {
        of_session: sessions::record,
        has_turn,
    }),
};

/// Returns whether the usage of the last answer is written.
fn has_turn(end: &str) -> bool {
    let last = end
        .lines()
        .rfind(|line| line.starts_with("{\"type\":\"llm.request\"") || line.starts_with("{\"type\":\"usage.record\""));
    last.is_some_and(|line| line.contains(USAGE_RECORD))
}

fn entry(line: &Value) -> Option<TranscriptEntry> {
    if text(line, "type") != USAGE_RECORD {
        return None;
    }
    let usage = &line["usage"];
    if !usage["inputOther"].is_number() {
        return Some(TranscriptEntry::Missing);
    }
    let cached = number(usage, "inputCacheRead");
    let tokens_in = number(usage, "inputOther") + cached + number(usage, "inputCacheCreation");
    let tokens_out = number(usage, "output");
    let agent = text(line, "agentId");
    let is_turn = agent == "main" && text(line, "usageScope") == "turn";
    Some(TranscriptEntry::Message {
        // A line has no id.
        id: format!("{agent} {} {tokens_in} {tokens_out}", line["time"]),
        usage: Usage {
            turns: i64::from(is_turn),
            tokens_in,
            tokens_out,
            tokens_cached: cached,
            ..Usage::default()
        },
        model: text(line, "model").to_owned(),
    })
}
